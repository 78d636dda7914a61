"""Trace and Frobenius norm of a symmetric operator by Hutch++ (Meyer, Musco, Musco and Woodruff, arXiv 2010.09649).

Hutchinson's estimator of trace(A) is vᵀAv with independent signs ±1 as entries of v. It is unbiased, because
E[vvᵀ] = I and so E[vᵀAv] = trace(A E[vvᵀ]) = trace(A). Its variance is 2 Σ_{i≠j} A_ij², at most 2 ‖A‖_F²; the standard
error of m samples falls as 1/√m.

Hutch++ treats the dominant directions exactly and samples the rest. With an orthonormal basis Q of the range of AS, S a
matrix of random signs,

    trace(A) = trace(QᵀAQ) + trace((I − QQᵀ) A (I − QQᵀ)),

and only the second term is estimated, with probes (I − QQᵀ)v. It stays unbiased, because the probes are independent of
Q. The variance is that of the second term: small if few eigenvalues carry most of the norm, as in Hessians of trained
nets. For matrices without negative eigenvalues a relative error of ε takes O(1/ε) products instead of O(1/ε²).

For m products, a third each go to AS, to AQ and to the probes.
"""

import numpy as np


class Estimate(float):
    """A stochastic estimate: a float, with the standard error of its sampling as ``.standard_error``."""

    standard_error: float

    def __new__(cls, value: float, standard_error: float):
        """Makes the float and attaches its standard error."""
        estimate = super().__new__(cls, value)
        estimate.standard_error = float(standard_error)
        return estimate


def trace(operator, probes: int, seed: int) -> Estimate:
    """The sum of the eigenvalues of a symmetric operator A by Hutch++.

    It is trace(QᵀAQ) plus the mean of vᵀAv over the projected probes v.

    Args:
        operator: symmetric, a `scipy.sparse.linalg.LinearOperator`.
        probes: number of products, at least 6.
        seed: of the random signs.

    Returns:
        The trace with the standard error of the mean over the probes.

    Raises:
        ValueError: for fewer than 6 probes.
    """
    basis, image, rest = _sketch(operator, probes, seed)
    return _estimate(np.sum(basis * image), [v @ operator.matvec(v) for v in rest])


def frobenius_norm(operator, probes: int, seed: int) -> Estimate:
    """The Frobenius norm of a symmetric operator A, from ‖A‖_F² = trace(A²) by Hutch++ on A².

    No product with A² is needed: trace(QᵀA²Q) = ‖AQ‖_F², and vᵀA²v = ‖Av‖². The square is unbiased; the norm, its root,
    is too small on average by about (standard error)² / (2 ‖A‖_F).

    Args:
        operator: symmetric, a `scipy.sparse.linalg.LinearOperator`.
        probes: number of products, at least 6.
        seed: of the random signs.

    Returns:
        The norm with its standard error, that of the square divided by 2 ‖A‖_F.

    Raises:
        ValueError: for fewer than 6 probes.
    """
    _, image, rest = _sketch(operator, probes, seed)
    square = _estimate(np.sum(image**2), [np.sum(operator.matvec(v) ** 2) for v in rest])
    value = np.sqrt(max(square, 0.0))
    return Estimate(value, square.standard_error / (2 * value) if value else 0.0)


def _sketch(operator, probes, seed):
    """An orthonormal basis Q of the range of AS, shape [size, third]; AQ; and sign probes projected off Q, as rows."""
    if probes < 6:
        raise ValueError(f"probes must be at least 6, not {probes!r}")
    rng, size, third = np.random.default_rng(seed), operator.shape[0], probes // 3
    signs = rng.choice([-1.0, 1.0], (size, min(third, size)))
    basis = np.linalg.qr(operator.matmat(signs))[0]
    rest = rng.choice([-1.0, 1.0], (third, size))
    rest -= (rest @ basis) @ basis.T
    return basis, operator.matmat(basis), rest


def _estimate(exact: float, samples: list[float]) -> Estimate:
    """The exact part plus the mean of the samples, with the standard error of that mean."""
    return Estimate(exact + np.mean(samples), np.std(samples, ddof=1) / np.sqrt(len(samples)))
