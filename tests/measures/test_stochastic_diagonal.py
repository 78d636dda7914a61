"""The diagonal and the traces of blocks from random signs, against matrices, definitions and their standard errors."""

import functools

import cases
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse.linalg
import spectra
from cases import Case

from hw1.evaluation.layers import layers
from hw1.measures import stochastic
from hw1.measures.stochastic_diagonal import diagonal, partial_traces

GROUPS = {"last": np.arange(40, 60), "one": [0], "odd": np.arange(1, 40, 2), "even": np.arange(2, 40, 2)[::-1]}
MEASURES = {
    "Hutchinson's diagonal": (diagonal, "hutchinson"),
    "XDiag": (diagonal, "xdiag"),
    "blocks by Hutch++": (partial_traces, "hutch++"),
    "blocks by XTrace": (partial_traces, "xtrace"),
}
DEFLATED = [name for name in MEASURES if name != "Hutchinson's diagonal"]
METHOD = pytest.mark.parametrize("method", ["hutch++", "xtrace"])


def measured(name, operator, probes, seed=0, groups=GROUPS):
    """Values and standard errors, each as an array."""
    measure, method = MEASURES[name]
    if measure is diagonal:
        return diagonal(operator, probes, seed, method)
    found = partial_traces(operator, groups, probes, seed, method)
    return np.array(list(found.values())), np.array([estimate.standard_error for estimate in found.values()])


def truth(name, matrix, groups=GROUPS):
    """The values without an error."""
    entries = np.diag(matrix)
    return entries if MEASURES[name][0] is diagonal else np.array([entries[rows].sum() for rows in groups.values()])


def over_seeds(seeds, *arguments):
    """Values and standard errors, each of shape [seeds, values]."""
    name, operator, probes, *groups = arguments
    found = [measured(name, operator, probes, seed, *groups) for seed in range(seeds)]
    return map(np.array, zip(*found, strict=True))


@pytest.mark.parametrize("name", MEASURES)
def test_probes_for_every_row_are_exact(name):
    """Nothing is left to estimate, and no more products are made than there are rows."""
    matrix = spectra.matrix(spectra.HARD["both signs"].values)
    for probes in (60, 200):
        operator, multiplied = spectra.recorded(matrix)
        values, standard = measured(name, operator, probes)
        assert values == pytest.approx(truth(name, matrix), rel=1e-12)
        assert not standard.any()
        assert len(multiplied) == 60


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("probes", [6, 7, 8, 31, 59])
def test_the_cost(probes, name):
    """Never more products than asked for, and at most two fewer."""
    operator, multiplied = spectra.recorded(spectra.matrix(spectra.HARD["slow decay"].values))
    measured(name, operator, probes)
    assert probes - 2 <= len(multiplied) <= probes


@pytest.mark.parametrize("name", DEFLATED)
@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize("probes", [6, 31, 59])
def test_low_rank_is_exact(probes, rank, name):
    """All directions are found: by a third of the products, or by half of them without any one."""
    matrix = spectra.matrix(np.r_[[3.0, -2.0][:rank], np.zeros(60 - rank)])
    values, standard = measured(name, spectra.operator(matrix), probes)
    assert values == pytest.approx(truth(name, matrix), abs=1e-12)
    assert standard.max() < 1e-12


def test_hutchinson_is_exact_for_a_diagonal_matrix():
    """As the squares of signs are 1."""
    entries = spectra.HARD["both signs"].values
    values, standard = diagonal(spectra.operator(np.diag(entries)), 6, 0, "hutchinson")
    assert values == pytest.approx(entries, rel=1e-12)
    assert standard.max() < 1e-12


def test_hutchinson_errs_as_its_rows_say():
    """The variance is that of the formula, Σ_{j≠i} A_ij² / probes: over 200 seeds and 60 rows, to 10 %."""
    matrix = spectra.matrix(spectra.HARD["slow decay"].values)
    values, _ = over_seeds(200, "Hutchinson's diagonal", spectra.operator(matrix), 10)
    expected = np.sum((matrix - np.diag(np.diag(matrix))) ** 2, axis=1) / 10
    assert np.mean((values - np.diag(matrix)) ** 2 / expected) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("spectrum", [None, "an outlier", "slow decay", "three steps", "both signs"])
def test_the_standard_errors_are_honest(spectrum, name):
    """On a net's Hessian and on hard spectra, over 100 seeds: no bias, and errors as large as the standard errors say.

    Each mean lies within 5 of its own standard errors: a false alarm in 1 of 5,000 cases for sixty values. The mean
    squared error is the mean squared standard error up to a factor of 1.5, three standard deviations of their ratio.
    The samples of XDiag are correlated for flat spectra, and their squared standard errors too small by up to one half.
    """
    if spectrum:
        matrix, groups = spectra.matrix(spectra.HARD[spectrum].values), GROUPS
    else:
        matrix, groups = Case("tanh").hessian, layers(Case("tanh").model)
    values, standard = over_seeds(100, name, spectra.operator(matrix), 20, groups)
    errors = values - truth(name, matrix, groups)
    assert np.all(np.abs(errors.mean(axis=0)) < 5 * values.std(axis=0, ddof=1) / 10)
    assert 0.5 < np.mean(errors**2) / np.mean(standard**2) < (2.5 if name == "XDiag" and spectrum else 1.5)


@pytest.mark.parametrize("name", ["XDiag", "blocks by XTrace"])
def test_rows_of_zeros_cause_no_bias(name):
    """With three rows that are not zero, several of the sign vectors have the same product.

    Over 400 seeds the mean of their sum is within 4 standard errors, a false alarm in 1 of 10,000 cases. With a basis
    that holds a direction for each vector, and so any directions for such products, it is 7 standard errors too large.
    """
    operator = spectra.operator(scipy.linalg.block_diag([[2, 1, 0.5], [1, 3, 0.2], [0.5, 0.2, 1]], np.zeros((57, 57))))
    values, _ = over_seeds(400, name, operator, 12, {"first": [0, 1, 2]})
    assert cases.standard_errors(values[:, :3].sum(axis=1), 6) < 4
    assert np.all(np.abs(values[:, 3:]) < 1e-12)


def leave_one_out(matrix, vectors, i, without=None):
    """Sample i of the diagonal from its definition: a basis from all vectors but this one (and one more)."""
    others = [matrix @ v for j, v in enumerate(vectors) if j not in (i, without)]
    basis = scipy.linalg.orth(np.transpose(others))
    rest = np.eye(len(matrix)) - basis @ basis.T
    deflated = rest @ matrix @ rest
    return np.diag(matrix - deflated) + vectors[i] * (deflated @ vectors[i])


@pytest.mark.parametrize("spectrum", spectra.HARD)
def test_xdiag_is_its_definition(spectrum):
    """With a projector of its own for each sample."""
    matrix, count = spectra.matrix(spectra.HARD[spectrum].values), 6
    operator, multiplied = spectra.recorded(matrix)
    values, standard = diagonal(operator, 2 * count, 3, "xdiag")
    vectors = multiplied[:count]
    assert np.all(np.abs(vectors) == 1)
    samples = np.array([leave_one_out(matrix, vectors, i) for i in range(count)])
    cases.close(values, samples.mean(axis=0), 1e-10)
    cases.close(standard, samples.std(axis=0, ddof=1) / np.sqrt(count), 1e-7)


@pytest.mark.parametrize("spectrum", spectra.HARD)
def test_xtrace_of_blocks_is_its_definition(spectrum):
    """Sums of that diagonal, with a standard error that takes the covariance from all pairs of samples."""
    matrix, count = spectra.matrix(spectra.HARD[spectrum].values), 6
    operator, multiplied = spectra.recorded(matrix)
    found = partial_traces(operator, GROUPS, 2 * count, 3, "xtrace")
    vectors = multiplied[:count]
    samples = np.array([leave_one_out(matrix, vectors, i) for i in range(count)])
    less = np.array([[leave_one_out(matrix, vectors, i, j) for j in range(count)] for i in range(count)])
    for name, rows in GROUPS.items():
        sums = samples[:, rows].sum(axis=1)
        change = sums[:, None] - less[:, :, rows].sum(axis=2)
        variance = sums.var(ddof=1) / count
        covariance = np.clip(np.sum(change * change.T) / (count * (count - 1)), 0, 3 * variance)
        assert found[name] == pytest.approx(sums.mean(), rel=1e-8)
        assert found[name].standard_error ** 2 == pytest.approx(variance + covariance, rel=1e-5)


@METHOD
def test_blocks_are_parts_of_the_trace(method):
    """All of them sum up to the trace, each is what it is without the others, and the names keep their order."""
    operator = spectra.operator(spectra.matrix(spectra.HARD["slow decay"].values))
    found = partial_traces(operator, GROUPS, 31, 4, method)
    assert list(found) == list(GROUPS)
    whole = partial_traces(operator, {"all": np.arange(60)}, 31, 4, method)["all"]
    assert sum(found.values()) == pytest.approx(whole, rel=1e-12)
    alone = partial_traces(operator, {"odd": GROUPS["odd"]}, 31, 4, method)["odd"]
    assert alone == pytest.approx(found["odd"], rel=1e-12)
    assert alone.standard_error == pytest.approx(found["odd"].standard_error, rel=1e-9)
    if method == "hutch++":
        trace = stochastic.trace(operator, 31, 4)
        assert whole == pytest.approx(trace, rel=1e-12)
        assert whole.standard_error == pytest.approx(trace.standard_error, rel=1e-9)


def test_blocks_of_one_row_are_the_diagonal():
    """By XTrace those of XDiag."""
    operator = spectra.operator(spectra.matrix(spectra.HARD["slow decay"].values))
    found = partial_traces(operator, {row: [row] for row in range(60)}, 12, 4, "xtrace")
    cases.close(np.array(list(found.values())), diagonal(operator, 12, 4).values, 1e-10)


@METHOD
def test_groups_without_rows(method):
    """No group gives no trace, and a group without rows the trace 0."""
    operator = spectra.operator(spectra.matrix(spectra.HARD["slow decay"].values))
    assert partial_traces(operator, {}, 6, 0, method) == {}
    found = partial_traces(operator, {"none": np.arange(0)}, 6, 0, method)["none"]
    assert (found, found.standard_error) == (0, 0)


@pytest.mark.parametrize("name", MEASURES)
def test_too_few_probes(name):
    """The message names the least number and the one that was given."""
    with cases.refused("probes", "6", "5"):
        measured(name, spectra.operator(np.eye(60)), 5)


@pytest.mark.parametrize("rows", [[-1], [60], [3, 3], [1.0], [True], ["a"]])
def test_rows_that_are_none(rows):
    """The message names the group and what it may hold."""
    with cases.refused("'odd'", "different integers", "59"):
        partial_traces(spectra.operator(np.eye(60)), {"even": [0, 2], "odd": rows}, 30, 0)


@pytest.mark.parametrize("measure", [diagonal, functools.partial(partial_traces, groups=GROUPS)])
def test_another_method(measure):
    """The message names the methods."""
    with cases.refused(" or ", "'lanczos'"):
        measure(spectra.operator(np.eye(60)), probes=6, seed=0, method="lanczos")
