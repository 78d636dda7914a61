"""Trace and Frobenius norm from random probes, against matrices, definitions and their own standard errors."""

import functools

import cases
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse.linalg
import spectra
from cases import Case

from hw1.measures import stochastic

MEASURES = {
    "trace by Hutch++": (stochastic.trace, np.trace),
    "trace by XTrace": (functools.partial(stochastic.trace, method="xtrace"), np.trace),
    "Frobenius norm": (stochastic.frobenius_norm, np.linalg.norm),
}
MEASURE = pytest.mark.parametrize("name", MEASURES)
METHOD = pytest.mark.parametrize("method", ["hutch++", "xtrace"])


def hutchinson(matrix, probes):
    """The standard deviation of Hutchinson's plain estimator of the trace, the root of 2 Σ_{i≠j} A_ij² / probes."""
    return np.sqrt(2 * np.sum((matrix - np.diag(np.diag(matrix))) ** 2) / probes)


def root_mean_square(values):
    """Of errors."""
    return np.sqrt(np.mean(np.square(values)))


@MEASURE
@pytest.mark.parametrize("spectrum", spectra.HARD)
def test_probes_for_every_row_are_exact(spectrum, name):
    """Nothing is left to estimate."""
    measure, truth = MEASURES[name]
    matrix = spectra.matrix(spectra.HARD[spectrum].values)
    for probes in (len(matrix), 3 * len(matrix)):
        found = measure(spectra.operator(matrix), probes=probes, seed=0)
        assert found == pytest.approx(truth(matrix), rel=1e-12)
        assert found.standard_error == 0
        assert isinstance(found, float)


@MEASURE
@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize("probes", [6, 31, 59])
def test_low_rank_is_exact(probes, rank, name):
    """All directions are found: by a third of the products, or by half of them without any one."""
    measure, truth = MEASURES[name]
    matrix = spectra.matrix(np.r_[[3.0, -2.0][:rank], np.zeros(60 - rank)])
    found = measure(spectra.operator(matrix), probes=probes, seed=0)
    assert found == pytest.approx(truth(matrix), abs=1e-12)
    assert found.standard_error < 1e-12


@MEASURE
@pytest.mark.parametrize("probes", [6, 7, 8, 31, 59, 60, 100])
def test_the_cost(probes, name):
    """Never more products than asked for, and at most two fewer; nor more than rows."""
    operator, vectors = spectra.recorded(spectra.matrix(spectra.HARD["slow decay"].values))
    MEASURES[name][0](operator, probes, 0)
    assert min(probes, 60) - 2 <= len(vectors) <= min(probes, 60)


@MEASURE
def test_products_that_are_not_finite_show(name):
    """As an estimate that is not a number."""
    found = MEASURES[name][0](spectra.operator(np.full((60, 60), np.nan)), 30, 0)
    assert np.isnan(found)
    assert np.isnan(found.standard_error)


def leave_one_out(matrix, vectors, i, without=None):
    """Sample i of XTrace from its definition: a basis from all vectors but this one (and one more)."""
    others = [matrix @ v for j, v in enumerate(vectors) if j not in (i, without)]
    basis = scipy.linalg.orth(np.transpose(others))
    probe = vectors[i] - basis @ (basis.T @ vectors[i])
    probe *= np.sqrt(len(matrix) - basis.shape[1]) / np.linalg.norm(probe)
    return np.trace(basis.T @ matrix @ basis) + probe @ matrix @ probe


@pytest.mark.parametrize("spectrum", spectra.HARD)
def test_xtrace_is_its_definition(spectrum):
    """With a basis of its own for each sample, and for each pair that the covariance takes."""
    matrix, count = spectra.matrix(spectra.HARD[spectrum].values), 6
    operator, multiplied = spectra.recorded(matrix)
    found = stochastic.trace(operator, 2 * count, 3, "xtrace")
    vectors = multiplied[:count]
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.sqrt(60))
    samples = np.array([leave_one_out(matrix, vectors, i) for i in range(count)])
    less = np.array([[leave_one_out(matrix, vectors, i, j) for j in range(count)] for i in range(count)])
    change = samples[:, None] - less  # zero where i = j
    variance = samples.var(ddof=1) / count
    covariance = np.clip(np.sum(change * change.T) / (count * (count - 1)), 0, 3 * variance)
    assert found == pytest.approx(samples.mean(), rel=1e-9)
    assert found.standard_error**2 == pytest.approx(variance + covariance, rel=1e-6)


@MEASURE
@pytest.mark.parametrize("part", ["full", "blocks"])
def test_the_standard_error_is_honest(part, name):
    """On a net's Hessian, over 40 seeds: no bias, and errors as large as the standard errors say.

    The mean error lies within 3 of its own standard errors. The mean squared error is the mean squared standard error
    up to a factor of 2.5: over thousands of seeds the two are equal to 10 %, over 40 at a time they differ by up to 2.
    Two standard errors, from ten samples or more, hold the truth for 9 of 10 seeds; 40 seeds give at least 30.
    """
    measure, truth = MEASURES[name]
    case = Case("tanh")
    matrix = case.hessian if part == "full" else scipy.linalg.block_diag(*case.blocks)
    expected = truth(matrix)
    estimates = [measure(spectra.operator(matrix), probes=30, seed=seed) for seed in range(40)]
    errors = np.array(estimates) - expected
    assert len(set(estimates)) == 40
    assert cases.standard_errors(estimates, expected) < 3
    standard = np.array([e.standard_error for e in estimates])
    assert 0.4 < np.mean(errors**2) / np.mean(standard**2) < 2.5
    assert np.sum(np.abs(errors) < 2 * standard) >= 30
    assert standard.mean() < 0.1 * expected


@pytest.mark.parametrize("spectrum", ["slow decay", "three steps"])
def test_xtrace_knows_of_the_covariance_of_its_samples(spectrum):
    """Over 200 seeds the mean squared error is the mean squared standard error up to a factor of 1.5.

    That is four standard deviations of their ratio. Without the covariance it is 1.8 or more.
    """
    matrix = spectra.matrix(spectra.HARD[spectrum].values)
    estimates = [stochastic.trace(spectra.operator(matrix), 30, seed, "xtrace") for seed in range(200)]
    errors = np.array(estimates) - np.trace(matrix)
    standard = np.array([e.standard_error for e in estimates])
    assert 0.66 < np.mean(errors**2) / np.mean(standard**2) < 1.5


@pytest.mark.parametrize(("method", "share"), [("hutch++", 0.5), ("xtrace", 0.25)])
def test_both_methods_err_less_than_hutchinson(method, share):
    """On a net's Hessian with 30 products: by a factor of 2 and of 4, over hundreds of seeds of 3.8 and 6.5."""
    matrix = Case("tanh").hessian
    estimates = [stochastic.trace(spectra.operator(matrix), 30, seed, method) for seed in range(40)]
    assert root_mean_square(np.array(estimates) - np.trace(matrix)) < share * hutchinson(matrix, 30)


@METHOD
@pytest.mark.parametrize("name", spectra.HARD)
def test_trace_of_hard_spectra(name, method):
    """No bias over 100 seeds (a false alarm in 1 of 10,000 cases), and the error that the table gives for Hutch++."""
    spectrum = spectra.HARD[name]
    matrix, expected = spectra.matrix(spectrum.values), spectrum.values.sum()
    estimates = [stochastic.trace(spectra.operator(matrix), 30, seed, method) for seed in range(100)]
    assert cases.standard_errors(estimates, expected) < 4
    assert root_mean_square(np.array(estimates) - expected) < spectrum.trace_error * hutchinson(matrix, 30)


@pytest.mark.parametrize("name", spectra.HARD)
def test_frobenius_norm_of_hard_spectra(name):
    """The error that the table gives."""
    spectrum = spectra.HARD[name]
    operator, expected = spectra.operator(spectra.matrix(spectrum.values)), np.linalg.norm(spectrum.values)
    estimates = [stochastic.frobenius_norm(operator, 30, seed) for seed in range(100)]
    assert root_mean_square(np.array(estimates) / expected - 1) < spectrum.norm_error


@MEASURE
@pytest.mark.parametrize("probes", [5, 12.0, None])
def test_too_few_probes(probes, name):
    """The message names the least number and the one that was given."""
    operator = spectra.operator(spectra.matrix(spectra.HARD["slow decay"].values))
    with cases.refused("probes", "whole number", "6", str(probes)):
        MEASURES[name][0](operator, probes, 0)


def test_another_method():
    """The message names the methods."""
    operator = spectra.operator(spectra.matrix(spectra.HARD["slow decay"].values))
    with cases.refused("'hutch++' or 'xtrace'", "'hutchinson'"):
        stochastic.trace(operator, 30, 0, "hutchinson")
