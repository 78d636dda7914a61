"""What a card takes for classes, for pixels and for an activation that it knows."""

import keras
import nets
import numpy as np
import pytest
import references

from hw1 import measure
from hw1.measure import work
from hw1.measures import hessian, products

N = 40  # examples


def dense(outputs, **options):
    """A net of one layer."""
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(outputs, **options)])


def test_one_probability_is_right_above_a_half():
    """A loss of probabilities, by name, has other borders than one of logits, and no margins."""
    x, y = np.random.default_rng(0).normal(size=(N, 2)), np.arange(N) % 2
    model = dense(1, activation="sigmoid", use_bias=False)
    model.set_weights([np.array([[1.0], [-2.0]])])
    found = measure.card(model, (np.float32(x), y), tell=None, loss="binary_crossentropy", minutes=1e-9)
    assert found["train_accuracy"].value == pytest.approx(np.mean((x @ [1.0, -2.0] > 0) == y))
    assert "margin_median" not in [row.measure for row in found.rows]


@pytest.mark.parametrize("as_table", [lambda y: y.astype(float), lambda y: y == 1, lambda y: y[:, None]])
def test_classes_of_any_type_are_labels(as_table):
    """Whole floats, booleans and columns count as the integers that they are, for one output and for several."""
    x, y = np.random.default_rng(0).normal(size=(N, 2)), np.arange(N) % 2
    for model in (nets.linear([1.0, -2.0]), dense(2)):
        wanted, found = (measure.card(model, (x, each), tell=None, minutes=1e-9) for each in (y, as_table(y)))
        names = [row.measure for row in found.rows]
        assert names == [row.measure for row in wanted.rows]
        assert {"train_accuracy", "margin_median"} < {*names}
        assert [row.value for row in found.rows] == [row.value for row in wanted.rows]


@pytest.mark.parametrize("y", [np.linspace(0, 3000, N), np.arange(N) % 2 + 1, np.where(np.arange(N) % 2, 1, -1)])
def test_other_targets_of_one_output_are_no_classes(y):
    """Their cross-entropy would be a number below 0; the flag that helps is named."""
    with pytest.raises(ValueError, match=r"targets from 0 to 1.*--loss=mse"):
        measure.card(nets.linear([1.0, -2.0]), (np.random.default_rng(0).normal(size=(N, 2)), y), tell=None)


def test_a_regression_of_shares_is_no_classification():
    """Targets between 0 and 1 do not tell: the loss must be given, and is then the one that was given."""
    x, y = np.random.default_rng(0).normal(size=(N, 2)), np.linspace(0, 1, N)
    with pytest.raises(ValueError, match=r"--loss=mse.*--loss=binary"):
        measure.card(nets.linear([1.0, -2.0]), (x, y), tell=None)
    logits = x @ [1.0, -2.0]
    losses = {"mse": (logits - y) ** 2, "binary": np.log1p(np.exp(logits)) - y * logits}
    for loss, each in losses.items():
        found = measure.card(nets.linear([1.0, -2.0]), (np.float32(x), y), tell=None, loss=loss, minutes=1e-9)
        assert found["train_loss"].value == pytest.approx(each.mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("y", "loss", "said"),
    [
        (np.random.default_rng(1).normal(size=(N, 3)), None, "--loss=mse"),
        (np.ones((N, 3)), None, "--loss=binary"),
        (np.resize([-1, 1], (N, 3)), "binary", "targets from 0 to 1"),
    ],
)
def test_targets_of_several_outputs_that_do_not_fit_the_loss(y, loss, said):
    """The loss that fits regressions and several labels at once is named; signs are no probabilities."""
    model = dense(3)
    with pytest.raises(ValueError, match=said):
        measure.card(model, (np.ones((N, 2), np.float32), y), tell=None, loss=loss, minutes=1e-9)


def test_bytes_for_a_net_of_pixels_up_to_one_are_noticed():
    """Of a net without a bias they change no answer, but the loss."""
    x = np.repeat(np.eye(3)[:, :, None], 3, axis=2)[np.arange(N) % 3]  # a row of each image is white
    model = keras.Sequential([keras.Input((3, 3)), keras.layers.Flatten(), keras.layers.Dense(3, use_bias=False)])
    model.set_weights([np.repeat(1.5 * np.eye(3), 3, axis=0)])
    y = np.arange(N) % 3
    y[:4] = 0  # some are wrong, which costs much if all logits are large
    with pytest.raises(ValueError, match="from 0 to 1"):
        measure.card(model, (np.uint8(255 * x), y), tell=None)
    assert measure.card(model, (np.float32(x), y), tell=None, minutes=1e-9).rows


def test_relu6_is_measured_without_a_trial(monkeypatch):
    """Its second derivatives are right; a trial by differences fails at the many kinks of a deep net."""
    monkeypatch.setattr(products, "_verify", lambda problem, doubt: pytest.fail(f"{doubt} is tried"))
    rng = np.random.default_rng(0)
    parts = [keras.Input((3,)), keras.layers.Dense(4, activation="relu6"), keras.layers.Dense(3)]
    model = nets.with_random_weights(keras.Sequential(parts), rng)
    x, y = np.float32(6 * rng.normal(size=(N, 3))), np.arange(N) % 3
    value = hessian.eigenvalues(model, x, y, k=1)[0]
    assert value == pytest.approx(np.linalg.eigvalsh(references.hessian(model, x, y))[-1], rel=1e-4)


def test_a_loss_is_known_by_what_it_computes():
    """Whatever name of its own it was given: labels stay labels for a sparse loss, and a binary one has an accuracy."""
    losses, y = keras.losses, np.array([0, 2, 1])
    named = losses.SparseCategoricalCrossentropy(from_logits=True, name="mine")
    assert work.targets_for(named, y, (None, 3)) is y
    dense = losses.CategoricalCrossentropy(from_logits=True, name="sparse")
    np.testing.assert_array_equal(work.targets_for(dense, y, (None, 3)), np.eye(3)[y])
    assert work.is_binary(losses.BinaryCrossentropy(from_logits=True, name="mine"))
    assert not work.is_binary(losses.MeanSquaredError(name="binary_crossentropy"))
