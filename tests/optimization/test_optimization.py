"""Part 1-2: what the rows must satisfy at smoke size."""

import numpy as np
import pytest

from hw1 import question, records


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with all four questions at smoke size."""
    return at_smoke_size("trajectories", "gradient_norm", "error_surface", "zero_gradient")


def test_trajectories_share_one_analysis(runs):
    """Centred together, with the larger component first; both scopes are events of the same trainings."""
    frame = records.read(runs, "trajectories")
    assert frame.groupby("scope")[["first", "second"]].mean().abs().to_numpy().max() < 1e-4
    spread = frame.groupby("scope")[["first", "second"]].std()
    assert (spread["first"] > spread.second).all()
    layer, whole = (frame[frame.scope == scope].reset_index(drop=True) for scope in ("layer 1", "whole model"))
    assert layer[["seed", "epoch", *question.LOSSES_AND_ACCURACIES]].equals(
        whole[["seed", "epoch", *question.LOSSES_AND_ACCURACIES]]
    )


def test_gradient_norms_are_there_for_every_step(runs):
    """A row per task, seed and step, and none of them zero."""
    frame, settings = records.read(runs, "gradient_norm"), records.settings(runs, "gradient_norm")
    assert len(frame) == 2 * settings["seeds"] * settings["steps"]
    assert (frame.gradient_norm > 0).all()


def test_the_surface_holds_the_final_point(runs):
    """Shift 0 and the middle of the random plane are the final point, with its loss."""
    frame, settings = records.read(runs, "error_surface"), records.settings(runs, "error_surface")
    for seed, rows in frame.groupby("seed"):
        final = rows[(rows.view == "start to end") & (rows.kind != "surface")].iloc[-1]
        assert (final.u, final.v) == pytest.approx((0, 0), abs=1e-6)
        unmoved = rows[(rows.view == "perturbation") & (rows.u == 0)]
        assert len(unmoved) == 39, seed  # parameters of 1-5-4-1
        middle = rows[(rows.view == "random plane") & (rows.u == 0) & (rows.v == 0)]
        assert np.allclose([*unmoved.loss, *middle.loss], final.loss, rtol=1e-6)
    assert len(frame[(frame.view == "random plane")]) == settings["grid"] ** 2


def test_zero_gradient_comes_nearer_to_zero_with_newton(runs):
    """Second-order steps end nearer to a zero gradient than they began, at no higher loss; the counts are of all."""
    frame = records.read(runs, "zero_gradient")
    settings = records.settings(runs, "zero_gradient")
    newton, norm = (
        frame[frame.method == name].sort_values("seed") for name in ("Levenberg–Marquardt", "gradient norm")
    )
    assert newton.gradient_norm.median() < norm.gradient_norm.median() / 10
    assert (newton.loss <= newton.trained_loss).all()
    assert np.array_equal(newton.trained_loss, norm.trained_loss)
    assert (norm.gradient_norm < norm.start_gradient_norm).all()
    total = frame.negative + frame.zero + frame.positive
    assert (total.groupby(frame.hidden.astype(str)).nunique() == 1).all()
    assert np.allclose(frame.minimal_ratio, frame.positive / total, atol=1e-6)
    assert np.allclose(frame["index"], frame.negative / total, atol=1e-6)
    along = frame[frame.method == "Newton"]
    counts = along.groupby(["hidden", "seed"])[["step", "noise"]].nunique()
    assert (counts.step == settings["moments"]).all()
    assert (counts.noise == len(settings["noises"])).all()
    assert set(along.step) >= {0, settings["epochs"]}
    critical = (along.relative_gradient <= settings["near"]) & (along.distance <= settings["distance"])
    assert critical.any()
    assert (along.gradient_norm[critical] < 1e-6 * along.start_gradient_norm[critical]).all()


def test_the_gradient_norms_are_of_a_training_whose_accuracy_is_known(runs):
    """From the first evaluation to the last step, for each net on images."""
    accuracy, settings = records.tables(runs, "gradient_norm")["accuracy"], records.settings(runs, "gradient_norm")
    assert accuracy.seed.nunique() == settings["seeds"]
    assert (accuracy.groupby("seed").step.max() == settings["steps"]).all()
    assert (accuracy.groupby("seed").step.diff().dropna() > 0).all()
