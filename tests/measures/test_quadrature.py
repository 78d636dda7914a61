"""The spectral density by stochastic Lanczos quadrature, of matrices whose spectra are known."""

import cases
import keras
import nets
import numpy as np
import pytest
import references
import spectra
from cases import Case

from hw1 import models
from hw1.measures import quadrature


def density(matrix, steps=100, probes=4, points=1000, width=0.01, seed=0):
    """The density of a matrix with the defaults of `hw1.measures.hessian.density`."""
    return quadrature.density(spectra.operator(matrix), steps, probes, points, width, seed)


def test_density_is_a_density():
    """It integrates to 1, is nowhere negative, and covers the spectrum; every probe's weights sum to 1."""
    matrix = Case("tanh").hessian
    found = density(matrix, steps=30, probes=5, points=2000)
    assert found.grid.shape == found.density.shape == (2000,)
    assert found.nodes.shape == found.weights.shape == (5, 30)
    # the margins of four standard deviations leave out 6e-5
    assert np.trapezoid(found.density, found.grid) == pytest.approx(1, abs=1e-4)
    assert found.density.min() >= 0
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, rtol=1e-12)
    spectrum = np.linalg.eigvalsh(matrix)
    assert found.grid[0] < spectrum[0] < spectrum[-1] < found.grid[-1]
    # the outermost Ritz values have converged long before thirty steps
    np.testing.assert_allclose(found.nodes.max(axis=1), spectrum[-1], atol=1e-6)
    np.testing.assert_allclose(found.nodes.min(axis=1), spectrum[0], atol=1e-6)


def test_moments_of_the_density():
    """Its mean is trace(H)/n, its second moment ‖H‖_F²/n, within four standard errors of 60 probes."""
    matrix = Case("tanh").hessian
    found = density(matrix, steps=5, probes=60)
    for power in (1, 2, 3):
        samples = (found.weights * found.nodes**power).sum(axis=1)
        assert cases.standard_errors(samples, np.trace(np.linalg.matrix_power(matrix, power)) / len(matrix)) < 4
        error = samples.std(ddof=1) / np.sqrt(len(samples))
        assert error < 0.3 * np.linalg.norm(matrix, 2) ** power  # small enough for the comparison to mean something
    smooth = np.trapezoid(found.density * found.grid, found.grid)
    assert smooth == pytest.approx((found.weights * found.nodes).sum(axis=1).mean(), abs=1e-4)


@pytest.mark.parametrize("name", spectra.HARD)
def test_hard_spectra(name):
    """Moments within four standard errors of 40 probes; no node lies outside the spectrum."""
    values = spectra.HARD[name].values
    found = density(spectra.matrix(values), steps=12, probes=40)
    for power in (1, 2, 3, 4):
        samples = (found.weights * found.nodes**power).sum(axis=1)
        assert cases.standard_errors(samples, np.mean(values**power)) < 4
    rounding = 1e-12 * np.abs(values).max()
    assert values.min() - rounding <= found.nodes.min() <= found.nodes.max() <= values.max() + rounding


@pytest.mark.parametrize("name", ["an outlier", "three steps"])
def test_a_repeated_eigenvalue_is_one_node(name):
    """Its weight is the number of times that it is repeated, over n, within four standard errors."""
    values, counts = np.unique(spectra.HARD[name].values, return_counts=True)
    found = density(spectra.matrix(spectra.HARD[name].values), steps=12, probes=40)
    nodes, weights = found.nodes[:, : len(values)], found.weights[:, : len(values)]
    np.testing.assert_allclose(nodes, np.tile(values, (40, 1)), atol=1e-11 * values.max())
    np.testing.assert_array_equal(found.weights[:, len(values) :], 0)
    for weight, count in zip(weights.T, counts, strict=True):
        assert cases.standard_errors(weight, count / counts.sum()) < 4


def test_all_steps_give_the_spectrum_itself():
    """As many Lanczos steps as parameters: the nodes are the eigenvalues, all of them, for every probe.

    A regression, whose Hessian has no null space: logits could all be shifted.
    """
    model = nets.perturbed(models.mlp((3,), "tanh", input_shape=(2,), classes=1, dtype="float64"), 1)
    x, y = nets.examples((2,))
    matrix = references.hessian(model, x, np.eye(3)[y][:, :1], keras.losses.mean_squared_error)
    found = density(matrix, steps=1000)
    assert len(matrix) == found.nodes.shape[1] == 13
    np.testing.assert_allclose(np.sort(found.nodes), np.tile(np.linalg.eigvalsh(matrix), (4, 1)), atol=1e-10)
    # an eigenvector's weight is the share of the starting vector in it: 1/n on average, and never 0
    assert 0.2 / 13 < found.weights.mean(axis=0).min() < found.weights.mean(axis=0).max() < 5 / 13


def test_lanczos_stops_where_the_space_is_exhausted():
    """A null space is one node: softmax regression on one example has the eigenvalues 0, a, b, and no others."""
    matrix = references.hessian(nets.softmax_regression(), *nets.examples(n=1))
    found = density(matrix, steps=10, probes=3)
    heavy = found.nodes[found.weights > 1e-12].reshape(3, 3)
    expected = [0, *np.linalg.eigvalsh(matrix)[-2:]]
    np.testing.assert_allclose(np.sort(heavy), np.tile(expected, (3, 1)), atol=1e-12)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1)


@pytest.mark.parametrize("name", ["steps", "probes", "points", "width"])
def test_unfit_numbers(name):
    """The message names the argument and the value."""
    with cases.refused(name, "0"):
        density(np.eye(3), **{name: 0})
