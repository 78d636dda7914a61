"""The questions `spectrum` and `loss_functions` at smoke size: what their rows must satisfy, whatever the nets."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from hw1 import claims, datasets, question, records
from hw1.landscape import loss_functions, spectrum
from hw1.ledger.landscape import curvature as ledger


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with both questions at smoke size."""
    return at_smoke_size("spectrum", "loss_functions")


NET = ["data", "batch_size", "seed"]


def test_every_net_has_its_eigenvalues(runs):
    """They descend from λ₁, the count of outliers follows from them, and the trace is near what they sum to."""
    frame, tables = records.read(runs, "spectrum").set_index(NET), records.tables(runs, "spectrum")
    values, whole = tables["eigenvalues"], tables["nets"].set_index(NET)
    values = values[values.classes == 10].set_index(NET)
    assert len(values) == 12 * len(whole) == 12 * 2 * 2
    assert len(frame) == 2 * 2 * 2
    for key, net in whole.iterrows():
        found = values.loc[key].sort_values("rank").eigenvalue.to_numpy()
        assert (np.diff(found) <= 0).all()
        assert max(found[0], net.smallest, key=abs) == pytest.approx(frame.train_largest[key], rel=1e-4)
        assert (found[:-1] - found[1:] > 0.01 * found[0])[int(net.outliers) - 1]
        assert not (found[:-1] - found[1:] > 0.01 * found[0])[int(net.outliers) :].any()
        assert net.smallest <= found[-1]
        assert abs(net.trace - found.sum()) < 0.5 * found.sum() + 4 * net.trace_error


def test_the_density_holds_the_extremes(runs):
    """Weights sum to 1; the outermost nodes are ARPACK's largest eigenvalue and the smallest that is recorded."""
    tables = records.tables(runs, "spectrum")
    frame = tables["nets"].set_index(NET)
    top = tables["eigenvalues"].query("classes == 10 and rank == 1").set_index(NET).eigenvalue
    nets = tables["density"].groupby(NET)
    np.testing.assert_allclose(nets.weight.sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(nets.node.min(), frame.smallest.loc[list(nets.groups)], rtol=1e-6)
    np.testing.assert_allclose(nets.node.max(), top.loc[list(nets.groups)], rtol=1e-2)  # ten steps


def test_no_block_is_sharper_than_the_whole(runs):
    """Cauchy's interlacing: a diagonal block's largest eigenvalue is at most H's; so is an axis's curvature."""
    tables = records.tables(runs, "spectrum")
    top = tables["eigenvalues"].query("classes == 10 and rank == 1").set_index(NET).eigenvalue
    layers = tables["layers"]
    assert set(layers.layer) == {"hidden_1", "logits"}
    largest = layers[layers["rank"] == 1].groupby(NET).eigenvalue.max()
    assert (largest <= 1.0001 * top.loc[largest.index]).all()
    axes = tables["dimensions"]
    assert (axes.groupby(NET).size() == 16 * 2 + 2 + 2 * 10 + 10).all()
    sums = axes.groupby(NET)[["eigenvalue", "curvature"]].agg(["sum", "max", "min"])
    np.testing.assert_allclose(sums.eigenvalue["sum"], sums.curvature["sum"], rtol=1e-4)  # the trace, both ways
    assert (sums.curvature["max"] < sums.eigenvalue["max"]).all()
    assert (sums.curvature["min"] > sums.eigenvalue["min"]).all()


def test_nets_of_fewer_classes_see_those_alone():
    """The labels below the number, in the order they had, on both sets."""
    images = datasets.load("mnist10k", train=300, test=200)
    few = spectrum._first_classes(images, 3)
    assert few.classes == 3
    assert set(few.y_train) == set(few.y_test) == {0, 1, 2}
    np.testing.assert_array_equal(few.x_train, images.x_train[np.isin(images.y_train, (0, 1, 2))])


def test_losses_against_plain_loops():
    """Squared error and hinge, example by example in NumPy; the hinge is 0 beyond the margin."""
    outputs, y = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) % 4
    outputs[0] = [3, 1, 0, 1.5]  # its label 0 wins by 1.5
    squares = [np.sum((f - np.eye(4)[k]) ** 2) / 2 for f, k in zip(outputs, y, strict=True)]
    margins = [max(0, 1 + max(np.delete(f, k)) - f[k]) for f, k in zip(outputs, y, strict=True)]
    arguments = tf.constant(y), tf.constant(outputs)
    np.testing.assert_allclose(loss_functions.squared(*arguments), squares, rtol=1e-12)
    np.testing.assert_allclose(loss_functions.hinge(*arguments), margins, rtol=1e-12)
    assert margins[0] == 0 < margins[1]


def test_the_parts_make_the_hessian(runs):
    """‖H‖ ≤ ‖G‖ + ‖R‖ and ‖G‖ ≤ ‖H‖ + ‖R‖; for the hinge G is exactly 0 and R is H."""
    frame = records.read(runs, "loss_functions")
    assert (frame.hessian <= 1.001 * (frame.gauss_newton + frame.residual)).all()
    assert (frame.gauss_newton <= 1.001 * (frame.hessian + frame.residual)).all()
    piecewise = frame[frame.loss == "hinge"]
    assert (piecewise.gauss_newton == 0).all()
    np.testing.assert_allclose(piecewise.residual, piecewise.hessian, rtol=1e-4)
    assert (frame[frame.loss != "hinge"].gauss_newton > 0).all()


def test_losses_start_from_the_same_weights_and_are_learned(runs):
    """One accuracy per seed before training; afterwards each loss has fallen."""
    frame = records.read(runs, "loss_functions").set_index(["loss", "seed", "epoch"])
    before, after = (frame.xs(epoch, level="epoch") for epoch in (0, 8))
    assert (before.groupby("seed").train_accuracy.nunique() == 1).all()
    assert (after.train_loss < 0.9 * before.train_loss).all()
    assert (after.train_accuracy > before.train_accuracy).all()


def test_lines_join_the_solutions(runs):
    """Their ends have the solutions' accuracies, and those of the nll its loss."""
    frame, tables = records.read(runs, "loss_functions"), records.tables(runs, "loss_functions")
    end = frame[frame.epoch == 8].set_index(["loss", "seed"])
    lines = tables["lines"]
    assert set(lines.kind) == {"other loss", "other seed"}
    known = lines[(lines.alpha == 0) | (lines.alpha == 1) & (lines.kind == "other loss")]
    assert len(known) == 3 * 2 * 3
    for row in known.itertuples():
        net = end.loc[(row.loss if row.alpha == 0 else row.other, row.seed)]
        assert (row.train_accuracy, row.test_accuracy) == (net.train_accuracy, net.test_accuracy)
        if net.name[0] == "nll":
            assert row.train_loss == pytest.approx(net.train_loss, rel=1e-5)


def test_spectra_are_of_the_own_loss_and_of_the_nll(runs):
    """λ₁ of the own loss is the norm along training where it dominates; each net also has that of the nll."""
    frame, table = records.read(runs, "loss_functions"), records.tables(runs, "loss_functions")["spectrum"]
    norms = frame[frame.epoch == 8].set_index(["loss", "seed"]).hessian
    first = table[table["rank"] == 1].set_index(["loss", "seed"])
    own = first[first.measured == first.index.get_level_values("loss")].value
    assert (own <= 1.0001 * norms.loc[own.index]).all()
    smooth = [key for key in own.index if key[0] != "hinge"]  # whose largest eigenvalue may be negative
    np.testing.assert_allclose(own.loc[smooth], norms.loc[smooth], rtol=1e-4)
    assert set(first[first.measured == "nll"].index) == set(norms.index)


ONE_SET = {"data": ("mnist10k",), "target_losses": (0.1,), "small_target_loss": 1.0, "batch_sizes": (20,)}


@pytest.mark.parametrize(("module", "fewer"), [(spectrum, ONE_SET), (loss_functions, {"losses": ("nll", "squared")})])
def test_nets_that_diverge_are_rows(module, fewer, tmp_path):
    """Every net diverges: a row per net with its status, a figure and claims that stay undecided."""
    settings = question.make_settings(module, "smoke", learning_rate=1e38, **fewer)
    question.answer(module, settings, tmp_path)
    name = question.name_of(module)
    frame = records.read(tmp_path, name)
    assert (frame.status == "diverged").all()
    assert len(frame) == len(module.units(settings)) * settings.seeds
    assert set(claims.judge(tmp_path, None).verdict) <= {"undecided"}


def ranked(shares, seeds=5):
    """Rows of the spectrum whose λ₁ rises with the batch size, and its tables with given shares near zero."""
    rng, sizes = np.random.default_rng(0), (10, 100, 1000)
    nets = [{"data": "a", "batch_size": size, "seed": seed} for size in sizes for seed in range(seeds)]
    rows = [net | {"train_largest": net["batch_size"] + rng.random(), "status": "ok"} for net in nets]
    rows = [row | {"test_largest": -row["train_largest"], "test_accuracy": 1 / row["train_largest"]} for row in rows]
    rows = [row | {"test_loss": 1 / row["train_largest"]} for row in rows]
    whole = [net | {"outliers": 9 + net["seed"] % 2, "largest_ratio": 2 + net["seed"] % 2} for net in nets]
    density = [
        net | {"node": node, "weight": weight + 1e-3 * (-1) ** net["seed"] * (1 - 2 * node)}
        for net in nets
        for node, weight in ((0.0, shares), (1.0, 1 - shares))
    ]
    net = {"data": "a", "batch_size": 100}
    values = [
        net | {"classes": classes, "seed": seed, "rank": rank, "eigenvalue": 10.0 if rank < classes else 0.01 / rank}
        for classes in (2, 4, 10)
        for seed in range(seeds)
        for rank in range(1, 21)
    ]
    tables = {"nets": whole, "eigenvalues": values, "density": density, "layers": [], "dimensions": []}
    return pd.DataFrame(rows), {name: pd.DataFrame(table) for name, table in tables.items()}


@pytest.mark.parametrize(("share", "bulk"), [(0.99, "held"), (0.5, "did not hold")])
def test_verdicts_follow_the_rows(share, bulk):
    """Made-up rows with known verdicts: λ₁ rises on train and falls on test, 9.4 outliers, and one by the ratio."""
    frame, tables = ranked(share)
    settings = {"data": "a, b", "seeds": 5, "classes": 10, "resolution": 0.01, "class_batch_size": 100}
    found = {c.claim.partition(" (")[0]: c.verdict for c in ledger.spectrum(frame, settings, **tables)}
    assert found["a: larger batches end at a larger λ₁ of the training loss"] == "held"
    assert found["a: larger batches end at a larger λ₁ of the test loss"] == "did not hold"
    assert found["a: nets of larger λ₁ have the lower test accuracy"] == "held"
    assert found["a: nets of larger λ₁ have the higher test loss"] == "did not hold"
    assert found["The bulk of the spectrum is near zero"] == bulk
    counts = [c.verdict for c in ledger.spectrum(frame, settings, **tables) if "outliers" in c.claim]
    assert counts == ["held", "did not hold", "held", "held"]  # number by the gap and by the ratio, then the trends


def test_evaluation_of_a_barrier():
    """Interior maximum of the error less the larger end, which can be negative."""
    accuracy = {0: (0.9, 0.5, 0.8), 1: (0.9, 0.95, 0.8)}
    rows = [(s, a, v) for s, values in accuracy.items() for a, v in zip((0, 0.5, 1), values, strict=True)]
    found = ledger._barriers(pd.DataFrame(rows, columns=["seed", "alpha", "train_accuracy"]))
    np.testing.assert_allclose(found, [0.3, -0.15])


@pytest.mark.parametrize(
    ("module", "overrides", "words"),
    [
        (spectrum, {"target_losses": (0.1,)}, ["target_losses", "per data set", "2"]),
        (spectrum, {"class_batch_size": 50}, ["class_batch_size=50", "one of (20, 100)"]),
        (loss_functions, {"epochs": (3, 1)}, ["epochs", "ascend"]),
        (loss_functions, {"losses": ("nll", "mse")}, ["losses", "squared", "hinge"]),
    ],
)
def test_unfit_settings(module, overrides, words):
    """The message names the flag and what would be right, before anything is trained."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        module.units(question.make_settings(module, "smoke", **overrides))
    assert all(word in str(caught.value) for word in words), caught.value
