"""Extreme eigenvalues by Lanczos, of matrices whose spectra are known."""

import cases
import numpy as np
import pytest
import scipy.sparse.linalg
import spectra
from cases import close
from hypothesis import given, settings
from hypothesis import strategies as st

from hw1.measures import krylov, lanczos

ENDS = ("LM", "LA", "SA")


def end(values, k, which):
    """The k eigenvalues that are asked for, descending."""
    outward = {"LM": np.abs(values), "LA": values, "SA": -values}[which]
    return np.sort(values[np.argsort(-outward, kind="stable")[:k]])[::-1]


def diagonal(values, dtype="float64"):
    """The operator with these eigenvalues along the axes, at the price of a vector; and the list of what it was given.

    For an algorithm with random starts the axes are as good as any other basis.
    """
    taken, values = [], np.asarray(values)

    def multiply(vector):
        taken.append(vector)
        return (values.astype(dtype) * np.ravel(vector).astype(dtype)).astype("float64")

    return scipy.sparse.linalg.LinearOperator((len(values),) * 2, multiply, dtype=np.float64), taken


def check(found, operator, values, k, which, tolerance, noise=1e-13):
    """Asserts what `eigenpairs` promises. Equal magnitudes of both signs are interchangeable."""
    norm = np.abs(values).max()
    expected = end(values, k, which)
    bound = tolerance * np.maximum(np.abs(expected), norm / 100) + noise * norm
    assert found.converged.all()
    assert (np.diff(found.values) <= 0).all()
    magnitude = np.abs if which == "LM" else np.asarray
    order, wanted = np.argsort(magnitude(found.values)), np.argsort(magnitude(expected))
    assert (np.abs(magnitude(found.values[order]) - magnitude(expected[wanted])) <= bound[wanted]).all()
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(k), atol=1e-12)
    images = np.stack([operator.matvec(vector) for vector in found.vectors.T], axis=1)
    residuals = np.linalg.norm(images - found.vectors * found.values, axis=0)
    np.testing.assert_allclose(found.residuals, residuals, atol=noise * norm)
    assert (residuals <= bound).all()


@pytest.mark.parametrize("which", ENDS)
@pytest.mark.parametrize("name", spectra.EXTREME)
def test_eigenpairs_keep_their_promise(name, which):
    """Repeated, clustered, of both signs, zero: none missed, errors and residuals below the tolerance."""
    values = spectra.EXTREME[name]
    operator = spectra.operator(spectra.matrix(values))
    for k in {1, min(2, len(values)), min(12, len(values)), min(50, len(values))}:
        for tolerance in (1e-3, 1e-8):
            found = lanczos.eigenpairs(operator, k, which, tolerance)
            check(found, operator, values, k, which, tolerance)


@pytest.mark.parametrize("which", ENDS)
@pytest.mark.parametrize("name", [*spectra.EXTREME][:: 1 if cases.EVERY_CASE else 3])
def test_products_in_single_precision(name, which):
    """Their rounding, some 1e-7 of the norm, neither hides eigenvalues nor keeps the search from its end."""
    values = spectra.EXTREME[name]
    matrix = spectra.matrix(values).astype("float32")
    operator = scipy.sparse.linalg.LinearOperator(
        matrix.shape, lambda v: (matrix @ np.ravel(v).astype("float32")).astype("float64"), dtype=np.float64
    )
    for k in {1, min(12, len(values))}:
        for tolerance in (1e-3, 1e-7):
            found = lanczos.eigenpairs(operator, k, which, tolerance)
            check(found, operator, values, k, which, tolerance, noise=3e-6)


@given(
    levels=st.lists(st.tuples(st.integers(-20, 20), st.integers(1, 9)), min_size=1, max_size=12),
    spread=st.sampled_from([0, 1e-6, 1e-2]),
    k=st.integers(1, 20),
    which=st.sampled_from(ENDS),
)
@settings(max_examples=60, derandomize=True)
def test_random_levels_with_multiplicities(levels, spread, k, which):
    """Up to nine copies of a level, or a cluster there, in any order."""
    values = np.concatenate([np.full(copies, level / 7) for level, copies in levels])
    values = values + spread * np.random.default_rng(0).uniform(-1, 1, len(values))
    k = min(k, len(values))
    operator, taken = diagonal(values)
    found = lanczos.eigenpairs(operator, k, which, 1e-3)
    assert found.products == len(taken) <= 2 * len(values)
    check(found, operator, values, k, which, 1e-3)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", ["nearly a pair", "nearly repeated"])
def test_starts_that_hardly_see_the_outermost(name, sign):
    """Each axis in turn gets it. At most 1 % of the starts may miss it; with ARPACK 10 % and 2.5 % do."""
    values = sign * spectra.EXTREME[name]
    turned = [np.roll(values, shift) for shift in range(len(values))]
    found = np.array([lanczos.eigenvalues(diagonal(values)[0], 1, "LM", 1e-3)[0] for values in turned])
    assert (np.abs(found - sign) > 1e-3).mean() <= 0.01


@pytest.mark.parametrize("rows", [12, 60])
def test_what_a_krylov_space_excludes(rows):
    """Only eigenvalues of which the start has less than 1 % of its usual component; with and without restarts."""
    values, excluded = spectra.EXTREME["one above a crowd"], 0
    for seed in range(20):
        start = np.random.default_rng(seed).standard_normal(len(values))
        hidden = np.abs(start) < 0.01 * np.sqrt(np.mean(start**2))
        space = krylov.Space(diagonal(values)[0], rows)
        space.begin(start)
        for _ in range(40):
            space.grow()
            ritz, vectors, _ = space.ritz()
            for point in (1.1, 1.001, 0.9999, 0.99, -0.0999, -0.101, -0.2):
                outside = values >= point if point > 0 else values <= point
                if not ritz[0] <= point <= ritz[-1] and space.excludes(point, ritz):
                    assert hidden[outside].all(), (seed, space.products, point)
                    excluded += 1
            if space.size == rows:
                space.restart(vectors[:, -6:], ritz[:-6])
    assert excluded > 20 * 40  # and it does exclude


@pytest.mark.parametrize(("k", "most"), [(1, 11), (10, 24), (20, 107)])
def test_products_for_a_net(k, most):
    """3,000 parameters. ARPACK, which does not know whether it missed some, takes 9, 31 and 84."""
    values = spectra.net_like(3000)
    operator, taken = diagonal(values)
    found = lanczos.eigenpairs(operator, k, "LA", 1e-3)
    assert found.products == len(taken) <= most
    check(found, operator, values, k, "LA", 1e-3)


def test_the_same_in_each_call():
    """To the last bit, whatever was computed between."""
    operator = spectra.operator(spectra.matrix(spectra.EXTREME["ninefold"]))
    first = lanczos.eigenpairs(operator, 12, "LA", 1e-3)
    lanczos.eigenvalues(operator, 2, "SA", 1e-3)
    for one, other in zip(first, lanczos.eigenpairs(operator, 12, "LA", 1e-3), strict=True):
        np.testing.assert_array_equal(one, other)


def test_too_few_products(monkeypatch):
    """The values are reported as not converged, and refused where nothing else is reported."""
    monkeypatch.setattr(lanczos, "_MOST_PRODUCTS", 30)
    operator, taken = diagonal(np.linspace(0, 1, 3000))
    found = lanczos.eigenpairs(operator, 2, "LA", 1e-6)
    assert not found.converged.any()
    assert found.products == len(taken) < 35
    with cases.refused("2 of 2", "1e-06", "products", kind=RuntimeError):
        lanczos.eigenvalues(operator, 2, "LA", 1e-6)


@pytest.mark.parametrize("size", [10, 100])
def test_products_that_are_not_finite(size):
    """As those of a net that has diverged."""
    with cases.refused("finite"):
        lanczos.eigenvalues(diagonal(np.full(size, np.nan))[0], 2, "LM", 1e-3)


def test_eigenvalues_are_those_of_the_pairs():
    """Alone, or with their vectors."""
    operator = spectra.operator(spectra.matrix(spectra.EXTREME["repeated"]))
    pairs, found = (f(operator, 5, "LM", 1e-3) for f in (lanczos.eigenpairs, lanczos.eigenvalues))
    np.testing.assert_array_equal(found, pairs.values)
    values, directions = lanczos.eigenvalues(operator, 5, "LM", 1e-3, vectors=True)
    np.testing.assert_array_equal(values, pairs.values)
    np.testing.assert_array_equal(directions, pairs.vectors)


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
        ({"tolerance": 0}, ["tolerance must", "1e-13", "0"]),
        ({"tolerance": float("nan")}, ["tolerance must", "nan"]),
    ],
    ids=str,
)
def test_unfit_arguments(options, words):
    """The message names the argument, the value and what would be right."""
    operator = spectra.operator(spectra.matrix(spectra.HARD["slow decay"].values))
    with cases.refused(*words):
        lanczos.eigenvalues(operator, **{"k": 1, "which": "LM", "tolerance": 1e-3} | options)


# From a guess


def spread_out(size=3000, top=(5.0, 3.0, 2.0)):
    """A diagonal operator with some large eigenvalues above a bulk."""
    values = np.concatenate([top, np.linspace(-0.2, 0.5, size - len(top))])
    return scipy.sparse.linalg.LinearOperator((size, size), lambda v: values * v.ravel(), dtype=float), np.eye(size)


def test_a_good_guess_saves_products():
    """The same eigenvalue to the tolerance, from the eigenvector of a slightly different matrix."""
    operator, units = spread_out()
    guess = units[0] + 0.01 * np.random.default_rng(0).normal(size=3000) / np.sqrt(3000)
    cold, warm = (lanczos.eigenpairs(operator, 1, "LA", 1e-3, each) for each in (None, guess))
    assert warm.values[0] == pytest.approx(5.0, rel=1e-5)
    assert warm.converged.all()
    assert 6 <= warm.products < cold.products


def test_a_wrong_guess_does_not_hide_an_eigenvalue_that_is_half_as_large_again():
    """The guess is the eigenvector of the second; what is random in the start brings in the first."""
    operator, units = spread_out()
    assert lanczos.eigenpairs(operator, 1, "LA", 1e-2, units[1]).values[0] == pytest.approx(5.0, rel=1e-2)


def test_a_guess_is_for_one_eigenvalue():
    """More are refused; a guess of zeros is none."""
    operator, units = spread_out()
    with pytest.raises(ValueError, match="k=1"):
        lanczos.eigenpairs(operator, 2, "LA", 1e-3, units[0])
    found = lanczos.eigenpairs(operator, 1, "LA", 1e-3, np.zeros(3000))
    assert found.values[0] == pytest.approx(5.0)
