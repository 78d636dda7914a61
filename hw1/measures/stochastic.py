"""Trace and Frobenius norm of a symmetric operator from products with random vectors: Hutch++ and XTrace.

**Hutchinson's** estimator of trace(A) is vᵀAv with independent signs ±1 as entries of v. It is unbiased, because
E[vvᵀ] = I and so E[vᵀAv] = trace(A E[vvᵀ]) = trace(A). Its variance is 2 Σ_{i≠j} A_ij², at most 2 ‖A‖_F²; the standard
error of m samples falls as 1/√m.

**Hutch++** (Meyer, Musco, Musco and Woodruff, arXiv 2010.09649) treats the dominant directions exactly and samples the
rest. With an orthonormal basis Q of the range of AS, S a matrix of random signs,

    trace(A) = trace(QᵀAQ) + trace((I − QQᵀ) A (I − QQᵀ)),

and only the second term is estimated, with probes (I − QQᵀ)v. It stays unbiased, because the probes are independent of
Q. The variance is that of the second term: small if few eigenvalues carry most of the norm, as in Hessians of trained
nets. For matrices without negative eigenvalues a relative error of ε takes O(1/ε) products instead of O(1/ε²).

For m products, a third each go to AS, to AQ and to the probes.

**XTrace** (Epperly, Tropp and Webber, arXiv 2301.07825) uses each vector twice: to find dominant directions, and as a
probe. With k = m/2 vectors v_i and an orthonormal basis Q_i of the range of all products Av_j but Av_i,

    t_i = trace(Q_iᵀAQ_i) + v_iᵀ (I − Q_iQ_iᵀ) A (I − Q_iQ_iᵀ) v_i

is unbiased, because v_i is independent of Q_i, and so is the mean of all t_i. It has m/2 − 1 directions and m/2
samples. Half of the products go to the v_i, half to AQ with a basis Q of the range of all Av_i, which holds all Q_i.

*Its standard error.* The t_i share vectors and are correlated, so that their standard deviation by √k, which the paper
takes, is too small: by up to 40 % on the spectra below. Their covariance can be estimated without further products. Let
t_i⁻ʲ be t_i without v_j in Q_i. Given all other vectors, t_i and t_i⁻ʲ are unbiased over v_i, and t_i⁻ʲ does not depend
on v_j. Therefore (t_i − t_i⁻ʲ)(t_j − t_j⁻ⁱ) has the expectation Cov(t_i, t_j): the other three products of deviations
average to zero. For fast decay this is a small mean of large numbers; it is kept between 0 and 3/k of the variance of
the t_i. On these spectra it is 2/k of it at most.

**Which when.** Root-mean-square errors of 30 products in per cent of Σ|λ|, for 200 eigenvalues with random eigenvectors
and for Hessians of nets with 1,738 parameters:

    eigenvalues                      Hutchinson   Hutch++       XTrace
    λ_i = 2⁻ⁱ                        15           0.05          0.003
    λ_i = 1/i                        5.2          2.6           1.9
    20 of 10, the others 0.01        5.2          6.9           6.8
    evenly spaced from 1 to 3        0.5          1.1           0.8
    trained nets                     5.2 to 8.1   1.8 to 2.4    0.8 to 1.7
    a net before training            2.5          2.7           2.5

XTrace errs less than Hutch++, up to half as much on trained nets. The worst case found is an error 12 % larger, if the
number of equal eigenvalues is slightly above half the products. Flat spectra are best left to Hutchinson's estimator.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg

from hw1.evaluation import checks
from hw1.measures import krylov, lanczos


class Estimate(float):
    """A stochastic estimate: a float, with the standard error of its sampling as ``.standard_error``."""

    standard_error: float

    def __new__(cls, value: float, standard_error: float):
        """Makes the float and attaches its standard error."""
        estimate = super().__new__(cls, value)
        estimate.standard_error = float(standard_error)
        return estimate


def trace(operator, probes: int, seed: int, method: str = "hutch++") -> Estimate:
    """The sum of the eigenvalues of a symmetric operator A, without bias.

    Two standard errors hold the truth in 79 to 87 % of all cases with 12 products by Hutch++ (4 samples), in 87 to 93 %
    with 30, and in 89 to 97 % with 90. By XTrace it is 82 to 92 %, 89 to 95 % and 92 to 98 %.

    With as many products as rows the matrix is formed instead, from one product per row, and the trace is exact.

    Args:
        operator: symmetric, a `scipy.sparse.linalg.LinearOperator` of shape [size, size].
        probes: number of products, at least 6. The vectors of all are held in memory.
        seed: of the random vectors.
        method: "hutch++" or "xtrace"; the module says which when.

    Returns:
        The trace with its standard error.

    Raises:
        ValueError: for fewer than 6 probes, or another method.
    """
    check(probes)
    estimate = choose(method, _TRACES)
    if probes >= operator.shape[0]:
        return Estimate(np.trace(lanczos.matrix(operator)), 0.0)
    return estimate(operator, probes, seed)


def frobenius_norm(operator, probes: int, seed: int) -> Estimate:
    """The Frobenius norm of a symmetric operator A, from ‖A‖_F² = trace(A²) by Hutch++ on A².

    No product with A² is needed: trace(QᵀA²Q) = ‖AQ‖_F², and vᵀA²v = ‖Av‖². The square is unbiased; the norm, its root,
    is too small on average by about (standard error)² / (2 ‖A‖_F). With as many products as rows it is exact.

    Args:
        operator: symmetric, a `scipy.sparse.linalg.LinearOperator` of shape [size, size].
        probes: number of products, at least 6.
        seed: of the random signs.

    Returns:
        The norm with its standard error, that of the square divided by 2 ‖A‖_F.

    Raises:
        ValueError: for fewer than 6 probes.
    """
    check(probes)
    if probes >= operator.shape[0]:
        return Estimate(np.linalg.norm(krylov.check_size(lanczos.matrix(operator))), 0.0)
    found = deflate(operator, probes, seed)
    square = average(np.sum(found.image**2), np.sum(found.rest_image**2, axis=0))
    value = np.sqrt(max(square, 0.0))
    return Estimate(value, square.standard_error / (2 * value) if value else 0.0)


def check(probes):
    """Refuses too few products."""
    checks.whole("probes", probes, 6)


def choose(method, methods):
    """The function of this name."""
    if method not in methods:
        raise ValueError(f"method must be {' or '.join(map(repr, methods))}, not {method!r}")
    return methods[method]


def average(exact: float, samples) -> Estimate:
    """The exact part plus the mean of independent samples, with the standard error of that mean."""
    return Estimate(exact + np.mean(samples), np.std(samples, ddof=1) / np.sqrt(len(samples)))


class Deflated(NamedTuple):
    """The products of Hutch++, a third of them for each of its parts.

    Attributes:
        basis: Q, an orthonormal basis of the range of AS, shape [size, third].
        image: AQ, shape [size, third].
        signs: v, independent of Q, as columns, shape [size, third].
        rest_image: A (I − QQᵀ) v, shape [size, third].
    """

    basis: np.ndarray
    image: np.ndarray
    signs: np.ndarray
    rest_image: np.ndarray


def deflate(operator, probes: int, seed: int) -> Deflated:
    """The products of Hutch++ with random signs."""
    rng, size, third = checks.generator(seed), operator.shape[0], probes // 3
    basis = orthonormal(krylov.check_size(operator.matmat(rng.choice([-1.0, 1.0], (size, third)))))
    signs = rng.choice([-1.0, 1.0], (third, size)).T
    return Deflated(basis, operator.matmat(basis), signs, operator.matmat(signs - basis @ (basis.T @ signs)))


def orthonormal(columns) -> np.ndarray:
    """An orthonormal basis of a space that contains these columns, of the same shape."""
    # Of 15 long columns it takes a fifth of the time of numpy.linalg.qr.
    return scipy.linalg.qr(columns, mode="economic", check_finite=False)[0]


def _hutch_plus_plus(operator, probes, seed):
    """trace(QᵀAQ) plus the mean of vᵀ (I − QQᵀ) A (I − QQᵀ) v."""
    basis, image, signs, rest_image = deflate(operator, probes, seed)
    return average(np.sum(basis * image), np.sum(signs * (rest_image - basis @ (basis.T @ rest_image)), axis=0))


def _xtrace(operator, probes, seed):
    """XTrace with vectors of length √size whose direction is uniformly distributed."""
    vectors = checks.generator(seed).standard_normal((operator.shape[0], probes // 2))
    vectors *= np.sqrt(operator.shape[0]) / np.linalg.norm(vectors, axis=0)
    return leave_one_out(operator, vectors, [slice(None)], uniform=True)[0]


_TRACES = {"hutch++": _hutch_plus_plus, "xtrace": _xtrace}


def leave_one_out(operator, vectors, blocks, uniform: bool = False) -> list[Estimate]:
    """The traces of diagonal blocks by XTrace.

    With P_i = Q_iQ_iᵀ, t_i is the trace of P_iA + AP_i − P_iAP_i plus v_iᵀ (I − P_i) A (I − P_i) v_i; for a block, each
    of the two sums over its rows only. After 2k products and a few of [size, k] matrices, the t_i and t_i⁻ʲ follow in
    the coordinates of Q, from [k, k] matrices: O(k² size + k⁴) operations in all.

    Args:
        operator: A, symmetric, of shape [size, size].
        vectors: the v_i as columns, independent, of length √size and with E[v_iv_iᵀ] = I; shape [size, k].
        blocks: the rows of each block, as indices or as a slice.
        uniform: the directions of v_i are uniformly distributed, and the only block is A. That of (I − P_i) v_i is then
            uniform too, and its length adds nothing but noise: it is replaced by its root mean square, as in the paper.

    Returns:
        An estimate for each block.
    """
    size, count = vectors.shape
    products = krylov.check_size(operator.matmat(vectors))
    basis = orthonormal(products)
    image = operator.matmat(basis)

    def within(left, right):
        """leftᵀ right in the rows of each block, shape [blocks, k, k]."""
        return np.stack([left[rows].T @ right[rows] for rows in blocks])

    shared = basis.T @ image, within(basis, basis), within(basis, image)
    quadratic = np.diagonal(within(vectors, products), axis1=1, axis2=2)
    coordinates = basis.T @ vectors, basis.T @ products, within(image, vectors), within(basis, vectors)

    def estimates(chosen):
        """The t_i of the chosen vectors if there are no others, shape [blocks, chosen]."""
        span, lost = left_out(coordinates[1][:, chosen])
        core, inner, outer = (span.T @ part @ span for part in shared)
        held, mixed, by_image, by_basis = (span.T @ part[..., chosen] for part in coordinates)
        held = without(lost, held)  # Q_iᵀv_i
        rest = quadratic[:, chosen] - np.sum(by_image * held + by_basis * without(lost, mixed - core @ held), axis=1)
        if uniform:
            rest *= (size - len(lost) + np.sum(lost**2, axis=0)) / (size - np.sum(held**2, axis=0))
        # The trace of PA + AP − PAP, less what the lost direction held of it.
        inside = inner @ core
        across = 2 * (outer - inside)
        all_held = np.trace(inside + across, axis1=1, axis2=2)[:, None]
        return all_held - forms(across, lost) - forms(inner, lost) * forms(core, lost) + rest

    found = estimates(np.arange(count))
    change = np.zeros((len(blocks), count, count))  # t_j − t_j⁻ⁱ
    for i in range(count):
        others = np.delete(np.arange(count), i)
        change[:, i, others] = found[:, others] - estimates(others)
    covariance = np.sum(change * np.swapaxes(change, 1, 2), axis=(1, 2)) / (count * (count - 1))
    variance = np.var(found, axis=1, ddof=1) / count
    variance += np.clip(covariance, 0, 3 * variance)
    return [Estimate(*pair) for pair in zip(found.mean(axis=1), np.sqrt(variance), strict=True)]


def left_out(columns) -> tuple[np.ndarray, np.ndarray]:
    """What the span of the columns of Y loses without one of them.

    Let Y = UΣVᵀ, without singular values of rounding size. Column i is a combination of the others unless row i of V
    has length 1. Then the span loses one direction without it: the unit vector orthogonal to all others, which is the
    i-th column of UΣ⁻¹Vᵀ, normalised, because (UΣ⁻¹Vᵀ)ᵀ Y = VVᵀ has the unit vector e_i as row i.

    No other direction may be added to the span, even if A vanishes there: whether it is free to be added depends on
    v_i, and t_i would be biased.

    Args:
        columns: Y, shape [rows, k], with at least as many rows as columns.

    Returns:
        An orthonormal basis U of the span, shape [rows, rank]; and the lost directions s_i in its coordinates as
        columns, shape [rank, k], zero where none is lost. The other columns span the range of U (I − s_is_iᵀ) Uᵀ.
    """
    if not np.isfinite(columns).all():  # the SVD would fail; so the estimates are not finite either
        return columns[:, :1] * np.nan, columns[:1] * np.nan
    basis, values, right = np.linalg.svd(columns, full_matrices=False)
    floor = 1e-12 * values[0] or 1.0
    rank = max(1, np.sum(values > floor))
    lost = right[:rank] * (floor / np.maximum(values[:rank, None], floor))
    needed = np.sum(right[:rank] ** 2, axis=0) > 1 - 1e-6
    return basis[:, :rank], lost / np.where(needed, np.linalg.norm(lost, axis=0), np.inf)


def without(lost, coordinates) -> np.ndarray:
    """(I − ssᵀ) x for each column x and the column s of `lost` in the same place."""
    return coordinates - lost * np.sum(lost * coordinates, axis=-2, keepdims=True)


def forms(matrix, columns) -> np.ndarray:
    """sᵀMs for each column s."""
    return np.sum(columns * (matrix @ columns), axis=-2)
