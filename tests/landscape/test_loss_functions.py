"""Question loss_functions: the losses by hand, and what the rows must satisfy at smoke size."""

import numpy as np
import pytest
import tensorflow as tf

from hw1 import claims, question, records
from hw1.findings import drawing
from hw1.findings.verdict import INCOMPARABLE
from hw1.landscape import loss_functions


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with the question at smoke size."""
    return at_smoke_size("loss_functions")


def test_losses_against_plain_loops():
    """Squared error and hinge, example by example in NumPy; the hinge is 0 beyond the margin."""
    outputs, y = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) % 4
    outputs[0] = [3, 1, 0, 1.5]  # its label 0 wins by 1.5
    squares = [np.sum((f - np.eye(4)[k]) ** 2) / 2 for f, k in zip(outputs, y, strict=True)]
    margins = [max(0, 1 + max(np.delete(f, k)) - f[k]) for f, k in zip(outputs, y, strict=True)]
    arguments = tf.constant(y), tf.constant(outputs)
    np.testing.assert_allclose(loss_functions.half_squared_error(*arguments), squares, rtol=1e-12)
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


def test_hessians_are_measured_of_the_first_seeds(runs):
    """Of as many as are asked for; the lines are of all."""
    frame, settings = records.read(runs, "loss_functions"), records.settings(runs, "loss_functions")
    assert set(frame.seed) == set(range(settings["measured"])) < set(range(settings["seeds"]))


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
    assert set(lines.seed) == {0, 1, 2}
    known = lines[(lines.alpha == 0) | (lines.alpha == 1) & (lines.kind == "other loss")]
    known = known[known.seed.isin(frame.seed)]
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


@pytest.mark.slow
def test_nets_that_diverge_are_rows(tmp_path):
    """Every net diverges: a row per net with its status, a figure, and claims of which nothing can be said."""
    settings = question.make_settings(loss_functions, "smoke", learning_rate=1e38, losses=("nll", "squared"))
    question.run_units(loss_functions, settings, tmp_path)
    frame = records.read(tmp_path, "loss_functions")
    assert (frame.status == "diverged").all()
    assert len(frame) == len(loss_functions.units(settings)) * settings.seeds
    ledger = claims.judge(tmp_path, ["loss_functions"])
    assert len(ledger)
    assert set(ledger.verdict) == {INCOMPARABLE}
    assert all(path.exists() for path in drawing.draw("loss_functions", tmp_path))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"epochs": (3, 1)}, ["epochs", "ascend"]),
        ({"losses": ("nll", "mse")}, ["losses", "squared", "hinge"]),
    ],
)
def test_unfit_settings(overrides, words):
    """The message names the flag and what would be right, before anything is trained."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        loss_functions.units(question.make_settings(loss_functions, "smoke", **overrides))
    assert all(word in str(caught.value) for word in words), caught.value
