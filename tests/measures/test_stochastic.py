"""Trace and Frobenius norm from random probes, against matrices and by their own standard errors."""

import cases
import numpy as np
import pytest
import scipy.linalg
import spectra
from cases import Case

from hw1.measures import stochastic

MEASURES = {"trace": (stochastic.trace, np.trace), "Frobenius norm": (stochastic.frobenius_norm, np.linalg.norm)}
MEASURE = pytest.mark.parametrize("name", MEASURES)


def hutchinson(matrix, probes):
    """The standard deviation of Hutchinson's plain estimator of the trace, the root of 2 Σ_{i≠j} A_ij² / probes."""
    return np.sqrt(2 * np.sum((matrix - np.diag(np.diag(matrix))) ** 2) / probes)


def root_mean_square(values):
    """Of errors."""
    return np.sqrt(np.mean(np.square(values)))


@MEASURE
@pytest.mark.parametrize("spectrum", spectra.HARD)
def test_probes_for_every_direction_are_exact(spectrum, name):
    """Nothing is left to estimate."""
    measure, truth = MEASURES[name]
    matrix = spectra.matrix(spectra.HARD[spectrum].values)
    found = measure(spectra.operator(matrix), probes=3 * len(matrix), seed=0)
    assert found == pytest.approx(truth(matrix), rel=1e-12)
    assert found.standard_error < 1e-12 * np.abs(matrix).max()
    assert isinstance(found, float)


@MEASURE
@pytest.mark.parametrize("part", ["full", "blocks"])
def test_the_standard_error_is_honest(part, name):
    """On a net's Hessian, over 40 seeds: no bias, and errors as large as the standard errors say.

    The mean error lies within 3 of its own standard errors. The mean squared error is the mean squared standard error
    up to a factor of 2.5: over thousands of seeds the two are equal to 10 %, over 40 at a time they differ by up to 2.
    Two standard errors, from ten samples each, hold the truth for 9 of 10 seeds; 40 seeds give at least 30.
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


def test_hutch_plus_plus_errs_less_than_hutchinson():
    """On a net's Hessian with 60 products, by half."""
    matrix = Case("tanh").hessian
    estimates = [stochastic.trace(spectra.operator(matrix), 60, seed) for seed in range(20)]
    assert root_mean_square(np.array(estimates) - np.trace(matrix)) < hutchinson(matrix, 60) / 2


@pytest.mark.parametrize("name", spectra.HARD)
def test_trace_of_hard_spectra(name):
    """No bias over 100 seeds, and the error that the table gives."""
    spectrum = spectra.HARD[name]
    matrix, expected = spectra.matrix(spectrum.values), spectrum.values.sum()
    estimates = [stochastic.trace(spectra.operator(matrix), 30, seed) for seed in range(100)]
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
def test_too_few_probes(name):
    """The message names the least number and the one that was given."""
    operator = spectra.operator(spectra.matrix(spectra.HARD["slow decay"].values))
    with cases.refused("probes", "6", "5"):
        MEASURES[name][0](operator, 5, 0)
