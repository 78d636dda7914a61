"""Part 1-3: what the rows must satisfy at smoke size."""

import numpy as np
import pytest

from hw1 import records


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with the questions whose rows are known at smoke size."""
    return at_smoke_size("interpolation", "sharpness", "reparametrization")


def test_line_ends_are_trained_nets(runs):
    """At α = 0 and 1 the training loss is at or below the target to which the nets were trained."""
    frame, settings = records.read(runs, "interpolation"), records.settings(runs, "interpolation")
    ends = frame[frame.alpha.isin([0, 1])]
    assert len(ends) == 2 * 2 * settings["seeds"]
    assert (ends.train_loss <= settings["target_loss"] + 1e-6).all()


def test_lanczos_agrees_with_tf_hessians_and_the_slip_is_larger(runs):
    """On the reference net both ways give one spectral norm; the recipe as printed gives the Frobenius norm."""
    frame = records.read(runs, "sharpness")
    rows = frame[frame.net == "reference"].set_index(["method", "norm", "scope"]).value
    exact = rows["tf.hessians", "spectral", "block"]
    assert rows["lanczos", "spectral", "block"] == pytest.approx(exact, rel=1e-4)
    assert rows["tf.hessians", "tf.norm", "block"] > 1.05 * exact
    assert rows["tf.hessians", "tf.norm", "block"] == pytest.approx(rows["hutch++", "frobenius", "block"], rel=0.05)


def test_the_gradient_is_that_of_the_examples(runs):
    """One norm for all measurements of a net on the same examples, another on all of them; none of them zero."""
    frame = records.read(runs, "sharpness")
    norms = frame.groupby(["net", "batch_size", "seed", "examples"]).gradient_norm
    assert (norms.nunique() == 1).all()
    assert (norms.first() > 1e-3).all()
    assert norms.first().nunique() == norms.ngroups


def test_reparametrisation_keeps_what_it_must(runs):
    """The function and the scale-normalised sharpness stay; the identity of the Hessian and the determinant hold."""
    frame = records.read(runs, "reparametrization")
    frame = frame[frame.transformation != "line"]
    wide = frame.pivot(index=["transformation", "seed", "alpha"], columns="measure", values="value")
    assert (wide.function_change < 1e-12).all()
    assert (wide.hessian_error < 1e-12).all()
    # The CSV holds 7 digits of numbers of some hundreds.
    assert np.allclose(wide.log10_determinant, wide.log10_det_predicted, atol=1e-3)
    base = wide.xs(1.0, level="alpha").adaptive_sharpness
    assert np.allclose(wide.adaptive_sharpness / base, 1, rtol=1e-5)
    assert (wide.xs(0.1, level="alpha").spectral_norm > wide.xs(1.0, level="alpha").spectral_norm).all()
