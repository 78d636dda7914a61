"""Extreme eigenvalues by Lanczos, of matrices whose spectra are known."""

import cases
import numpy as np
import pytest
import spectra
from cases import close

from hw1.measures import lanczos

ENDS = ("LM", "LA", "SA")


def end(values, k, which):
    """The k eigenvalues that are asked for, descending."""
    values = np.sort(values)
    if which == "LM":
        values = values[np.argsort(-np.abs(values), kind="stable")[:k]]
    return np.sort(values[:k] if which == "SA" else values[-k:])[::-1]


@pytest.mark.parametrize("which", ENDS)
@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("name", spectra.HARD)
def test_eigenvalues_of_hard_spectra(name, k, which):
    """Repeated ones as often as they are repeated, and those of a cluster of width 1e-4."""
    values = spectra.HARD[name].values
    operator = spectra.operator(spectra.matrix(values))
    expected = end(values, k, which)
    close(lanczos.eigenvalues(operator, k, which, tolerance=1e-3), expected, 1e-4, scale=values)
    if np.abs(expected).min() > 1e-3 * np.abs(values).max():  # else no Lanczos converges to more
        close(lanczos.eigenvalues(operator, k, which, tolerance=1e-9), expected, 1e-9, scale=values)


@pytest.mark.parametrize("which", ENDS)
@pytest.mark.parametrize("name", spectra.HARD)
def test_eigenvectors_of_hard_spectra(name, which):
    """Orthonormal, with residuals below the tolerance."""
    matrix = spectra.matrix(spectra.HARD[name].values)
    norm = np.linalg.norm(matrix, 2)
    values, vectors = lanczos.eigenvalues(spectra.operator(matrix), 4, which, tolerance=1e-3, vectors=True)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(4), atol=1e-8)
    assert np.linalg.norm(matrix @ vectors - vectors * values, axis=0).max() < 1e-3 * norm


def test_few_products_for_an_outlier():
    """As Hessians have them: the basis of eight vectors suffices."""
    taken, matrix = [], spectra.matrix(spectra.HARD["an outlier"].values)

    def multiply(vector):
        taken.append(vector)
        return matrix @ vector

    multiply.size = len(matrix)
    (found,) = lanczos.eigenvalues(lanczos.linear_operator(multiply), 1, "LM", tolerance=1e-3)
    assert found == pytest.approx(100, rel=1e-12)
    assert len(taken) <= 16


@pytest.mark.parametrize("size", [1, 5, 16, 17])
@pytest.mark.parametrize("which", ENDS)
def test_small_matrices(which, size):
    """Also all of the eigenvalues of them."""
    values = np.random.default_rng(size).normal(size=size)
    operator = spectra.operator(spectra.matrix(values))
    for k in {1, (size + 1) // 2, size}:
        close(lanczos.eigenvalues(operator, k, which, tolerance=1e-10), end(values, k, which), scale=values)


def test_the_matrix_of_an_operator_is_symmetric():
    """To the last bit."""
    matrix = spectra.matrix(spectra.HARD["both signs"].values)
    found = lanczos.matrix(spectra.operator(matrix))
    np.testing.assert_array_equal(found, found.T)
    close(found, matrix, 1e-15)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"which": "largest"}, ["which", "LM", "largest"]),
        ({"k": 0}, ["k must", "60", "0"]),
        ({"k": 61}, ["k must", "60", "61"]),
        ({"k": 1.5}, ["k must", "1.5"]),
        ({"k": True}, ["k must", "True"]),
    ],
    ids=str,
)
def test_unfit_numbers_and_ends(options, words):
    """The message names the argument, the value and what would be right."""
    operator = spectra.operator(spectra.matrix(spectra.HARD["slow decay"].values))
    with cases.refused(*words):
        lanczos.eigenvalues(operator, **{"k": 1, "which": "LM", "tolerance": 1e-3} | options)
