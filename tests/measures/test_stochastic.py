"""Trace, Frobenius norm and spectral density from random probes, against the matrix and by their own standard errors.

Also for quadratics whose spectra hurt such estimators: an outlier, slow and fast decay, steps, both signs, clusters.
"""

import cases
import keras
import nets
import numpy as np
import pytest
import references
from cases import Case

from hw1 import models
from hw1.measures import hessian


def standard_deviations(estimates, expected):
    """The error of the mean of independent estimates, in its own standard deviations."""
    errors = np.asarray(estimates) - expected
    return abs(errors.mean()) / (errors.std(ddof=1) / np.sqrt(len(errors)))


# Probes for every direction


@pytest.mark.parametrize(
    "case",
    [Case("tanh"), Case("normalised"), Case("frozen layer"), *cases.OTHER_LOSSES, Case("relu", dtype="float32")],
    ids=str,
)
def test_full_probes_are_exact(case):
    """With probes for every direction nothing is left to estimate."""
    probes = 3 * len(case.hessian)
    trace = case.measure(hessian.trace, probes=probes)
    norm = case.measure(hessian.frobenius_norm, probes=probes)
    assert trace == pytest.approx(np.trace(case.hessian), rel=case.bound(1e-11))
    assert norm == pytest.approx(np.linalg.norm(case.hessian), rel=case.bound(1e-11))
    for estimate in (trace, norm):
        assert isinstance(estimate, float)
        assert estimate.standard_error < case.bound(1e-11)


@pytest.mark.parametrize("case", [Case("tanh"), Case("normalised"), Case("frozen layer")], ids=str)
def test_full_probes_are_exact_for_blocks(case):
    """The norm of the block-diagonal matrix."""
    found = case.measure(hessian.frobenius_norm, scope="block", probes=3 * len(case.hessian))
    assert found == pytest.approx(np.sqrt(sum(np.sum(block**2) for block in case.blocks)), rel=1e-11)
    assert found.standard_error < 1e-11


# Few probes


@pytest.mark.parametrize(
    ("measure", "options", "truth"),
    [
        (hessian.trace, {"probes": 30}, lambda blocks, h: np.trace(h)),
        (hessian.frobenius_norm, {"probes": 30}, lambda blocks, h: np.linalg.norm(h)),
        (hessian.frobenius_norm, {"probes": 30, "scope": "block"}, lambda blocks, h: np.linalg.norm(np.hstack(blocks))),
    ],
    ids=["trace", "Frobenius", "Frobenius of the blocks"],
)
def test_the_standard_error_is_honest(measure, options, truth):
    """Over 40 seeds: no bias, and errors as large as the standard errors say.

    The mean error lies within 3 of its own standard errors. The mean squared error is the mean squared standard error
    up to a factor of 2.5: over thousands of seeds the two are equal to 10 %, over 40 at a time they differ by up to 2.
    Two standard errors, from ten samples each, hold the truth for 9 of 10 seeds; 40 seeds give at least 30.
    """
    case = Case("tanh")
    expected = truth([block.reshape(1, -1) for block in case.blocks], case.hessian)
    estimates = [case.measure(measure, seed=seed, **options) for seed in range(40)]
    errors = np.array(estimates) - expected
    assert len(set(estimates)) == 40
    assert standard_deviations(estimates, expected) < 3
    standard = np.array([e.standard_error for e in estimates])
    assert 0.4 < np.mean(errors**2) / np.mean(standard**2) < 2.5
    assert np.sum(np.abs(errors) < 2 * standard) >= 30
    assert standard.mean() < 0.1 * expected


def test_more_probes_err_less_than_hutchinson():
    """Hutch++ with 60 products errs less than Hutchinson's plain estimator, whose variance is 2 Σ_{i≠j} H_ij²."""
    case = Case("tanh")
    errors = [case.measure(hessian.trace, probes=60, seed=seed) - np.trace(case.hessian) for seed in range(20)]
    plain = np.sqrt(2 * np.sum((case.hessian - np.diag(np.diag(case.hessian))) ** 2) / 60)
    assert np.sqrt(np.mean(np.square(errors))) < plain / 2


@pytest.mark.parametrize("name", cases.SPECTRA)
def test_trace_of_a_prescribed_spectrum(name):
    """No bias over 20 seeds, and an error that is the given share of Hutchinson's with as many products."""
    spectrum, share, _ = cases.SPECTRA[name]
    (*data, loss), matrix = nets.with_spectrum(spectrum)
    estimates = [hessian.trace(*data, loss, probes=30, seed=seed) for seed in range(20)]
    plain = np.sqrt(2 * np.sum((matrix - np.diag(np.diag(matrix))) ** 2) / 30)
    assert standard_deviations(estimates, spectrum.sum()) < 4
    assert np.sqrt(np.mean((np.array(estimates) - spectrum.sum()) ** 2)) < share * plain


@pytest.mark.parametrize("name", cases.SPECTRA)
def test_frobenius_norm_of_a_prescribed_spectrum(name):
    """The given relative error with 30 products."""
    spectrum, _, error = cases.SPECTRA[name]
    (*data, loss), _ = nets.with_spectrum(spectrum)
    expected = np.linalg.norm(spectrum)
    estimates = [hessian.frobenius_norm(*data, loss=loss, probes=30, seed=seed) for seed in range(10)]
    assert np.sqrt(np.mean((np.array(estimates) / expected - 1) ** 2)) < error


# The density


def test_density_is_a_density():
    """It integrates to 1, is nowhere negative, and covers the spectrum; every probe's weights sum to 1."""
    case = Case("tanh")
    found = case.measure(hessian.density, steps=30, probes=5, points=2000)
    assert found.grid.shape == found.density.shape == (2000,)
    assert found.nodes.shape == found.weights.shape == (5, 30)
    # the margins of four standard deviations leave out 6e-5
    assert np.trapezoid(found.density, found.grid) == pytest.approx(1, abs=1e-4)
    assert found.density.min() >= 0
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, rtol=1e-12)
    spectrum = np.linalg.eigvalsh(case.hessian)
    assert found.grid[0] < spectrum[0] < spectrum[-1] < found.grid[-1]
    # the outermost Ritz values have converged long before thirty steps
    np.testing.assert_allclose(found.nodes.max(axis=1), spectrum[-1], atol=1e-6)
    np.testing.assert_allclose(found.nodes.min(axis=1), spectrum[0], atol=1e-6)


def test_moments_of_the_density():
    """Its mean is trace(H)/n, its second moment ‖H‖_F²/n, within four standard errors of 60 probes."""
    truth = Case("tanh").hessian
    found = Case("tanh").measure(hessian.density, steps=5, probes=60)
    for power in (1, 2, 3):
        samples = (found.weights * found.nodes**power).sum(axis=1)
        assert standard_deviations(samples, np.trace(np.linalg.matrix_power(truth, power)) / len(truth)) < 4
        error = samples.std(ddof=1) / np.sqrt(len(samples))
        assert error < 0.3 * np.linalg.norm(truth, 2) ** power  # small enough for the comparison to mean something
    smooth = np.trapezoid(found.density * found.grid, found.grid)
    assert smooth == pytest.approx((found.weights * found.nodes).sum(axis=1).mean(), abs=1e-4)


@pytest.mark.parametrize("case", cases.OTHER_LOSSES, ids=str)
def test_the_largest_node_is_the_largest_eigenvalue(case):
    """Of other losses too, with the default settings."""
    spectrum = np.linalg.eigvalsh(case.hessian)
    nodes = case.measure(hessian.density).nodes
    assert nodes.max() == pytest.approx(spectrum[-1], rel=1e-6)
    assert nodes.min() == pytest.approx(spectrum[0], rel=1e-6, abs=1e-6 * spectrum[-1])


@pytest.mark.parametrize("name", cases.SPECTRA)
def test_density_of_a_prescribed_spectrum(name):
    """Moments within four standard errors of 20 probes; no node lies outside the spectrum."""
    spectrum = cases.SPECTRA[name].values
    (*data, loss), _ = nets.with_spectrum(spectrum)
    found = hessian.density(*data, steps=12, probes=20, loss=loss)
    for power in (1, 2, 3, 4):
        samples = (found.weights * found.nodes**power).sum(axis=1)
        assert standard_deviations(samples, np.mean(spectrum**power)) < 4
    rounding = 1e-12 * np.abs(spectrum).max()
    assert spectrum.min() - rounding <= found.nodes.min() <= found.nodes.max() <= spectrum.max() + rounding


@pytest.mark.parametrize("name", ["an outlier", "three steps"])
def test_an_eigenvalue_that_is_repeated_is_one_node(name):
    """Its weight is the number of times that it is repeated, over n, within four standard errors."""
    values, counts = np.unique(cases.SPECTRA[name].values, return_counts=True)
    (*data, loss), _ = nets.with_spectrum(cases.SPECTRA[name].values)
    found = hessian.density(*data, steps=12, probes=20, loss=loss)
    heavy = found.weights[:, : len(values)]
    np.testing.assert_allclose(found.nodes[:, : len(values)], np.tile(values, (20, 1)), atol=1e-11 * values.max())
    np.testing.assert_array_equal(found.weights[:, len(values) :], 0)
    for weights, count in zip(heavy.T, counts, strict=True):
        assert standard_deviations(weights, count / counts.sum()) < 4


def test_all_steps_give_the_spectrum_itself():
    """As many Lanczos steps as parameters: the nodes are the eigenvalues, all of them, for every probe.

    A regression, whose Hessian has no null space: logits could all be shifted.
    """
    model = nets.perturbed(models.mlp((3,), "tanh", input_shape=(2,), classes=1, dtype="float64"), 1)
    x, y = nets.examples((2,))
    targets = np.eye(3)[y][:, :1]
    truth = np.linalg.eigvalsh(references.hessian(model, x, targets, references.mean_squared_error))
    found = hessian.density(model, x, targets, steps=1000, loss=keras.losses.mean_squared_error)
    assert len(truth) == found.nodes.shape[1] == 13
    np.testing.assert_allclose(np.sort(found.nodes), np.tile(truth, (4, 1)), atol=1e-10)
    # an eigenvector's weight is the share of the starting vector in it: 1/n on average, and never 0
    assert 0.2 / 13 < found.weights.mean(axis=0).min() < found.weights.mean(axis=0).max() < 5 / 13


def test_lanczos_stops_where_the_space_is_exhausted():
    """A null space is one node: softmax regression on one example has the eigenvalues 0, a, b, and no others."""
    model, (x, y) = nets.softmax_regression(), nets.examples(n=1)
    truth = np.linalg.eigvalsh(references.hessian(model, x, y))
    found = hessian.density(model, x, y, steps=10, probes=3)
    heavy = found.nodes[found.weights > 1e-12].reshape(3, 3)
    np.testing.assert_allclose(np.sort(heavy), np.tile([0, *truth[-2:]], (3, 1)), atol=1e-12)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1)


# What is refused


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (lambda *c: hessian.frobenius_norm(*c, scope="layer"), ["scope", "layer"]),
        (lambda *c: hessian.trace(*c, probes=5), ["probes", "6", "5"]),
        (lambda *c: hessian.frobenius_norm(*c, probes=5), ["probes", "6", "5"]),
        (lambda *c: hessian.density(*c, steps=0), ["steps", "0"]),
        (lambda *c: hessian.density(*c, probes=0), ["probes", "0"]),
        (lambda *c: hessian.density(*c, points=0), ["points", "0"]),
        (lambda *c: hessian.density(*c, width=0), ["width", "0"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_unfit_probes_and_steps(measure, words):
    """The message names the argument, the value and what would be right."""
    with cases.refused(*words):
        measure(*Case("tanh").data)
