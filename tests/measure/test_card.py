"""The card of a net: its rows against slow truths, its errors, nets and losses of all kinds."""

import re

import cases
import keras
import nets
import numpy as np
import pytest
import references

from hw1 import measure
from hw1.measure import cards, rows, steps
from hw1.measures import gauss_newton, sampling, sharpness

N = 40  # examples of each part


def data_of(kind, n=N):
    """Examples for a net of `nets`, for training and for testing, in float64."""
    shape = nets.case(kind).x.shape[1:]
    return *nets.examples(shape, n, seed=0), *nets.examples(shape, n, seed=1)


def card_of(kind, **options):
    """The card of a net in float64, on 30 examples for the Hessian."""
    return measure.card(nets.case(kind).model, data_of(kind), tell=None, examples=30, manifold=4, seed=3, **options)


@pytest.fixture(scope="module")
def found():
    """The card of the tanh net, which stays as it was."""
    with nets.unchanged(nets.case("tanh").model):
        return card_of("tanh")


def test_values_are_those_of_brute_force(found):
    """Hessian and Gauss–Newton matrix row by row, losses and gradients one by one."""
    model, (x, y, x_test, y_test) = nets.case("tanh").model, data_of("tanh")
    first = x[:30], y[:30]
    hessian = references.hessian(model, *first)
    theta = references.flat(model.trainable_variables)
    scaled = hessian * np.outer(theta, theta)
    blocks = references.block_diagonal(model, hessian)
    block = max(np.abs(np.linalg.eigvalsh(each)).max() for each in blocks)
    input_norms = np.linalg.norm(references.input_gradients(model, x_test, y_test).reshape(N, -1), axis=1)
    truths = {
        "parameters": len(hessian),
        "spectral_norm_full": np.abs(np.linalg.eigvalsh(hessian)).max(),
        "spectral_norm_block": block,
        "hessian_sharpness": block * 1e-8 / 2 / (1 + references.losses(model, *first).mean()),
        "frobenius_norm": np.linalg.norm(hessian),
        "gauss_newton_norm": np.linalg.eigvalsh(gauss_newton.dense(model, *first)).max(),
        "adaptive_norm": np.abs(np.linalg.eigvalsh(scaled)).max(),
        "smallest_eigenvalue": np.linalg.eigvalsh(hessian).min(),
        "loss_gradient_norm": input_norms.mean(),
        "whole_loss_gradient_norm": np.sqrt(np.sum(input_norms**2)) / N,
        "train_loss": references.losses(model, x, y).mean(),
        "test_loss": references.losses(model, x_test, y_test).mean(),
        "train_accuracy": references.accuracy(model, x, y),
        "test_accuracy": references.accuracy(model, x_test, y_test),
        "keskar_subspace": sharpness.keskar_sharpness(model, x, y, manifold=4, seed=3).value,
    }
    for name, truth in truths.items():
        assert found[name].value == pytest.approx(truth, rel=1e-4), name
    for name, truth in {"trace": np.trace(hessian), "adaptive_trace": np.trace(scaled)}.items():
        assert found[name].value == pytest.approx(truth, abs=5 * found[name].estimate_error + 1e-9), name


def test_layers_are_those_of_the_hessians_blocks(found):
    """Largest eigenvalue and trace of each."""
    model, (x, y, *_) = nets.case("tanh").model, data_of("tanh")
    hessian, start = references.hessian(model, x[:30], y[:30]), 0
    for layer in ("hidden_1", "logits"):
        size = sum(int(np.prod(v.shape)) for v in model.get_layer(layer).trainable_variables)
        block = hessian[start : start + size, start : start + size]
        start += size
        norm, trace = found[f"layer_norm/{layer}"], found[f"layer_trace/{layer}"]
        assert norm.value == pytest.approx(np.abs(np.linalg.eigvalsh(block)).max(), rel=1e-4)
        assert trace.value == pytest.approx(np.trace(block), abs=5 * trace.estimate_error + 1e-9)


def test_sampling_errors_are_those_of_the_jackknife_by_brute_force(found):
    """Hessians without ten chunks of three examples each, one after the other."""
    model, (x, y, *_) = nets.case("tanh").model, data_of("tanh")
    parts = [references.hessian(model, x[i : i + 3], y[i : i + 3]) for i in range(0, 30, 3)]
    losses = [references.losses(model, x[i : i + 3], y[i : i + 3]).mean() for i in range(0, 30, 3)]
    measures = {
        "spectral_norm_full": (lambda h, _: np.abs(np.linalg.eigvalsh(h)).max(), 0.05),
        "hessian_sharpness": (
            lambda h, loss: (
                max(np.abs(np.linalg.eigvalsh(b)).max() for b in references.block_diagonal(model, h))
                * 1e-8
                / (2 + 2 * loss)
            ),
            0.05,
        ),
        "frobenius_norm": (lambda h, _: np.linalg.norm(h), 0.05),
        "trace": (lambda h, _: np.trace(h), 0.5),  # by few probes: their noise enlarges it
    }
    for name, (function, tolerance) in measures.items():
        whole = function(np.mean(parts, axis=0), np.mean(losses))
        left_out = [function(np.mean(np.delete(parts, j, 0), axis=0), np.mean(np.delete(losses, j))) for j in range(10)]
        truth = sampling.jackknife(whole, left_out, np.full(10, 3)).error
        assert found[name].sampling_error == pytest.approx(truth, rel=tolerance), name
    x_test, y_test = data_of("tanh")[2:]
    each = references.losses(model, x_test, y_test)
    assert found["test_loss"].sampling_error == pytest.approx(np.std(each, ddof=1) / np.sqrt(N))


def test_the_error_of_keskars_sharpness_is_that_of_its_ratio(found):
    """By the jackknife over single examples at the maximum that was found."""
    model, (x, y, *_) = nets.case("tanh").model, data_of("tanh")
    maximum = sharpness.keskar_sharpness(model, x, y, manifold=4, seed=3)
    own = references.losses(model, x, y)
    with references.moved(model, references.flat(model.trainable_variables) + maximum.step):
        there = references.losses(model, x, y)
    left_out = [
        100 * (np.delete(there, i).mean() - np.delete(own, i).mean()) / (1 + np.delete(own, i).mean()) for i in range(N)
    ]
    truth = sampling.jackknife(maximum.value, left_out, np.ones(N)).standard_error
    assert found["keskar_subspace"].sampling_error == pytest.approx(truth, rel=0.02)


def test_total_errors_and_examples_for_five_per_cent(found):
    """The root of the sum of squares; the sampling error alone decides how many examples it would take."""
    for row in found.rows:
        parts = [each for each in (row.estimate_error, row.residual, row.sampling_error) if each is not None]
        assert row.standard_error == (pytest.approx(np.linalg.norm(parts)) if parts else None)
    row = rows.row("x", 10.0, "", 500, estimate=3.0, sampling=sampling.Sampling(1.0, 0.0))
    assert row.standard_error == pytest.approx(np.sqrt(10))
    assert row.examples_for_5_percent == 500 * (1.0 / 0.5) ** 2
    assert rows.shown(3.14159, np.inf) == "3.1416 ± ?"


def test_every_row_is_explained(found):
    """The page that --help prints has each name of a row, and a card has all of them."""
    names = {row.measure.split("/")[0] for row in found.rows}
    for name in names:
        assert name in measure.__doc__
    assert found.left_out == {}
    assert names >= {"adaptive_average", "adaptive_worst", "pac_bayes_sigma", "margin_median", "outliers"} - (
        {"outliers"} if found["parameters"].value < 9 else set()
    )


@pytest.mark.parametrize("kind", cases.some(["convolutional, normalised", "subclassed"], 1))
def test_other_nets(kind, only):
    """Their Hessian's norm is that of brute force; what is left out is named."""
    if not cases.EVERY_CASE:
        only("spectral_norm_full", "slices along random directions", "plane")
    found = card_of(kind)
    model, (x, y, *_) = nets.case(kind).model, data_of(kind)
    hessian = references.hessian(model, x[:30], y[:30])
    assert found["spectral_norm_full"].value == pytest.approx(np.abs(np.linalg.eigvalsh(hessian)).max(), rel=1e-4)
    assert set(found.left_out) <= {"slices along random directions", "plane"}


def test_own_losses_are_measured_too(only):
    """A net with weight decay has its rows twice."""
    only("trace")
    layers = [keras.layers.Flatten(), keras.layers.Dense(3, kernel_regularizer="l2", dtype="float64")]
    model = keras.Sequential([keras.Input(nets.SHAPE, dtype="float64"), *layers])
    model.dtype_policy = "float64"
    found = measure.card(model, data_of("tanh"), tell=None, examples=20)
    penalty = float(sum(model.losses))
    assert found["train_loss_regularized"].value == pytest.approx(found["train_loss"].value + penalty)
    rise = found["trace_regularized"].value - found["trace"].value
    assert rise == pytest.approx(2 * 0.01 * 27, abs=3 * found["trace"].estimate_error + 1e-6)


# Losses


def test_one_hot_targets_give_what_labels_give():
    """Accuracy and margins too."""
    x, y, *_ = data_of("tanh")
    found, other = (
        measure.card(nets.case("tanh").model, (x, target), tell=None, minutes=1e-9) for target in (y, np.eye(3)[y])
    )
    assert [row.measure for row in found.rows] == [row.measure for row in other.rows]
    assert [row.value for row in found.rows] == pytest.approx([row.value for row in other.rows])
    assert found["margin_median"].value


def test_probabilities_are_refused_with_what_helps():
    """The function that takes the softmax off."""
    layers = [keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    model = keras.Sequential([keras.Input(nets.SHAPE), *layers])
    x, y = nets.examples(nets.SHAPE, N)
    with pytest.raises(ValueError, match=r"hw1\.measure\.logits"):
        measure.card(model, (np.float32(x), y), tell=None)
    assert measure.card(measure.logits(model), (np.float32(x), y), tell=None, minutes=1e-9).rows


def test_mean_squared_error_on_labels(only):
    """Targets are one-hot; the largest eigenvalue is that of brute force."""
    only("spectral_norm_full", "sensitivity")
    net, (x, y, *_) = nets.case("tanh"), data_of("tanh")
    found = card_of("tanh", loss="mse")
    target = np.eye(3)[y]
    hessian = references.hessian(net.model, x[:30], target[:30], references.mean_squared_error)
    assert found["spectral_norm_full"].value == pytest.approx(np.abs(np.linalg.eigvalsh(hessian)).max(), rel=1e-4)
    assert found["train_accuracy"].value == pytest.approx(references.accuracy(net.model, x, y))
    assert "jacobian_norm" not in [row.measure for row in found.rows]


def test_one_logit_is_measured_with_the_binary_loss(only):
    """Loss, accuracy and margins by hand."""
    only("spectral_norm_full")
    rng = np.random.default_rng(0)
    model, x = nets.linear([1.0, -2.0]), rng.normal(size=(N, 2))
    y = (x @ [1.0, -1.0] > 0).astype(int)
    found = measure.card(model, (x, y), tell=None)
    logits = x @ [1.0, -2.0]
    losses = np.log1p(np.exp(-np.where(y == 1, 1, -1) * logits))
    assert found["train_loss"].value == pytest.approx(losses.mean(), rel=1e-6)
    assert found["train_accuracy"].value == pytest.approx(np.mean((logits > 0) == y))
    assert found["margin_median"].value == pytest.approx(np.median(np.where(y == 1, 1, -1) * logits))
    p = 1 / (1 + np.exp(-logits))
    hessian = np.einsum("n,ni,nj->ij", p * (1 - p), x, x) / N
    assert found["spectral_norm_full"].value == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-5)
    assert "test_loss" not in [row.measure for row in found.rows]


def test_regression_has_no_accuracy():
    """Nor margins, whatever the numbers look like."""
    rng = np.random.default_rng(0)
    found = measure.card(
        nets.linear([1.0, -2.0]),
        (rng.normal(size=(N, 2)), rng.integers(0, 5, N)),
        loss="mse",
        tell=None,
        minutes=1e-9,  # which leaves out only what follows them
    )
    names = [row.measure for row in found.rows]
    assert "train_loss" in names
    assert not {"train_accuracy", "margin_median"} & set(names)


# What does not fit


@pytest.mark.parametrize(
    ("options", "said"),
    [({"minutes": 0}, "minutes"), ({"examples": 1}, "examples"), ({"seed": -1}, "seed"), ({"rise": np.nan}, "rise")],
)
def test_wrong_settings_are_refused(options, said):
    """By name, before anything is measured."""
    with pytest.raises(ValueError, match=said):
        measure.card(nets.case("tanh").model, data_of("tanh"), tell=None, **options)


def test_wrong_data_are_refused():
    """By what would be right."""
    with pytest.raises(TypeError, match=r"hw1.datasets.load returns, \(x, y\)"):
        measure.card(nets.case("tanh").model, [1, 2, 3], tell=None)


def test_pixels_of_the_other_range_are_noticed():
    """The flag that helps is named, for a layer that divides by 255 too."""
    x, y = nets.examples((3, 3), N)
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((3, 3)), *layers])
    with pytest.raises(ValueError, match="--pixels=255"):
        measure.card(model, (np.float32(x), y), tell=None)
    assert measure.card(model, (np.float32(x), y), tell=None, pixels=255.0, minutes=1e-9).rows
    ending = keras.Sequential([model, keras.layers.Softmax()])
    ending.build((None, 3, 3))
    with pytest.raises(ValueError, match=r"pixels=255.*gives probabilities.*hw1\.measure\.logits"):
        measure.card(ending, (np.float32(x), y), tell=None)


def test_a_slow_net_takes_fewer_examples_and_says_so(monkeypatch):
    """As many of 500, 200, 100, 50 and 20 as the time allows, unless a number is given."""
    x, y = nets.examples((3, 3), 600)
    model = nets.case("tanh").model

    def slow(given):
        clock = iter(np.arange(0, 1e6, 0.2))  # a chunk of 50 seems to take 0.2 s
        monkeypatch.setattr("hw1.measure.work.time.perf_counter", lambda: next(clock))
        monkeypatch.setattr(cards, "_rest", lambda work: [])
        return measure.card(model, (x, y), tell=None, examples=given, minutes=5.0)

    found = slow(None)
    assert found.n == 100
    assert "100 of 500" in found.left_out["examples of the Hessian"]
    assert slow(500).n == 500


def test_a_step_that_meets_its_end_of_time_is_left_out(monkeypatch, only):
    """It was expected to be faster; what was measured before stays."""
    only("trace", "layer_norm")
    after = steps.after

    def late(work):
        work.deadline = -np.inf
        return after(work)

    monkeypatch.setattr(steps, "after", late)
    monkeypatch.setattr(steps.Step, "seconds", lambda *_: -np.inf)
    found = measure.card(nets.case("tanh").model, data_of("tanh"), tell=None, examples=30)
    assert found.left_out["trace"] == "not finished within --minutes=15"
    assert found.left_out["layer_norm"] == "0 of 2 layers fitted into --minutes=15"
    assert found["train_loss"].value > 0


def test_what_cannot_be_measured_is_left_out_with_the_reason(only):
    """A net without second derivative: the losses remain, and what needs none."""
    only("trace", "pac_bayes_sigma")

    class Sign(keras.layers.Layer):
        def call(self, x):
            return keras.ops.stop_gradient(keras.ops.sign(x) - x) + x

    model = keras.Sequential([keras.Input((9,)), keras.layers.Dense(4), Sign(), keras.layers.Dense(3)])
    x, y = nets.examples((9,), N)
    found = measure.card(model, (np.float32(x), y), tell=None)
    assert "not the derivative of what the model computes" in found.left_out["second derivatives"]
    assert "trace" not in found.left_out
    assert found["train_loss"].value > 0
    assert found["pac_bayes_sigma"].value > 0


def test_slices_of_a_layer_with_unknown_filters_are_left_out_with_what_can_be_done(only):
    """A card has no way to say which axes count filters; the function has."""
    only("slices along random directions", "plane")

    class Own(keras.layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=(1, shape[-1]), name="scale")

        def call(self, x):
            return x * self.scale

    model = keras.Sequential([keras.Input((3, 3)), keras.layers.Flatten(), Own(), keras.layers.Dense(3)])
    x, y = nets.examples((3, 3), 20)
    found = measure.card(model, (np.float32(x), y), tell=None, examples=20)
    for name in ("slices along random directions", "plane"):
        assert re.search(r"Own is no layer of Keras .*filter_normalised\(model, axes=…\)", found.left_out[name])
        assert "say which axes" not in found.left_out[name]
