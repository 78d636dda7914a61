"""Extreme eigenvalues of a symmetric operator by the implicitly restarted Lanczos method of ARPACK.

Lanczos builds an orthonormal basis of the Krylov space span{v, Hv, H²v, …} from products with H alone. The eigenvalues
of H restricted to this space, the Ritz values, converge to the ends of the spectrum first. Restarts keep the basis
small (Lehoucq, Sorensen and Yang, ARPACK Users' Guide, 1998; `scipy.sparse.linalg.eigsh`). In exact arithmetic the
space contains only one eigenvector of a repeated eigenvalue. The others enter through rounding; the tests check that
repeated eigenvalues are found as often as they are repeated.

For a Ritz pair (θ, u) with ‖u‖ = 1 and the residual r = Hu − θu, the nearest eigenvalue is within ‖r‖ of θ, and within
‖r‖² / gap, where gap is the distance from θ to the rest of the spectrum (Parlett, The Symmetric Eigenvalue Problem,
1980).
"""

import numpy as np
import scipy.sparse.linalg

_DENSE_BELOW = 16  # up to this size the matrix is formed from its products and solved exactly
_FLOOR = 0.01  # eigenvalues below this share of ‖H‖₂ have the absolute precision of those at it


def linear_operator(multiply) -> scipy.sparse.linalg.LinearOperator:
    """Products, as `hw1.measures.hessian.product` returns them, as scipy's linear operator.

    Args:
        multiply: function from v to Hv, both of shape [size], with the attribute ``size``.

    Returns:
        An operator of shape [size, size]. Vectors are float64; the products are computed in the dtype of `multiply`.
    """
    return scipy.sparse.linalg.LinearOperator((multiply.size,) * 2, lambda v: multiply(np.ravel(v)), dtype=np.float64)


def matrix(operator) -> np.ndarray:
    """The matrix of a symmetric operator from one product per row, made exactly symmetric; float64 [size, size]."""
    rows = np.stack([operator.matvec(unit) for unit in np.eye(operator.shape[0])])
    return (rows + rows.T) / 2


def eigenvalues(operator, k: int, which: str, tolerance: float, vectors: bool = False):
    """The k extreme eigenvalues of a symmetric operator.

    Small operators, of size at most 16 or the size of the Lanczos basis, are solved as matrices, at one product per
    row. For all others but the one eigenvalue of largest magnitude, ‖H‖₂ is estimated first, to 10 %.

    Args:
        operator: symmetric, as `linear_operator` makes it.
        k: how many, from 1 to the operator's size.
        which: "LM" largest magnitude, "LA" largest, "SA" smallest (most negative).
        tolerance: residual ‖Hv − λv‖ / |λ| at which Lanczos stops. For |λ| < ‖H‖₂ / 100 it is 100 ‖Hv − λv‖ / ‖H‖₂.
        vectors: return the eigenvectors too.

    Returns:
        The eigenvalues, shape [k], descending; with `vectors` also the eigenvectors, shape [size, k].

    Raises:
        ValueError: for another `k` or `which`.
    """
    size = operator.shape[0]
    if which not in ("LM", "LA", "SA"):
        raise ValueError(f"which must be 'LM' (largest magnitude), 'LA' (largest) or 'SA' (smallest), not {which!r}")
    if isinstance(k, bool) or not hasattr(k, "__index__") or not 1 <= k <= size:
        raise ValueError(f"k must be an integer from 1 to {size}, not {k!r}")
    # For the largest eigenvalues 8 Lanczos vectors take half the products of scipy's default of 20. The smallest ones
    # lie close together: there 21 vectors take a third of the products of 8.
    basis = max(2 * k + 1, k + (20 if which == "SA" else 7))
    if size <= max(_DENSE_BELOW, basis):
        values, directions = _solve_dense(operator, k, which)
    elif which == "LM" and k == 1:
        values, directions = _arpack(operator, k, which, tolerance, basis)
    else:
        norm = abs(_arpack(operator, 1, "LM", 0.1, 8)[0][0])
        values, directions = _arpack(operator, k, which, tolerance, basis, norm)
    order = np.argsort(values)[::-1]
    return (values[order], directions[:, order]) if vectors else values[order]


def _solve_dense(operator, k, which):
    """Eigenvalues and eigenvectors from the operator's matrix."""
    values, directions = np.linalg.eigh(matrix(operator))
    rank = {"LM": -np.abs(values), "LA": -values, "SA": values}[which]
    chosen = np.argsort(rank, kind="stable")[:k]
    return values[chosen], directions[:, chosen]


def _arpack(operator, k, which, tolerance, basis, norm=None):
    """Eigenvalues and eigenvectors by scipy's `eigsh`, in its order.

    ARPACK stops at residuals of tolerance · max(|λ|, u) with u = (machine precision)^⅔. An eigenvalue near 0 would need
    far more precision than the products have, and would never converge. Therefore, given ‖H‖₂, H is scaled such that u
    corresponds to _FLOOR · ‖H‖₂. ARPACK also starts from Hv, which has no component in the null space. Therefore H is
    shifted by the same amount, away from the end of the spectrum that is sought.
    """
    size = operator.shape[0]
    start = np.random.default_rng(0).standard_normal(size)
    unit = np.finfo(np.float64).eps ** (2 / 3)
    scale = unit / (_FLOOR * norm) if norm else 1.0
    shift = {"LM": 0.0, "LA": unit, "SA": -unit}[which] if norm else 0.0
    scaled = scipy.sparse.linalg.LinearOperator(
        operator.shape, lambda v: operator.matvec(v) * scale + shift * v, dtype=np.float64
    )
    try:
        values, directions = scipy.sparse.linalg.eigsh(
            scaled, k, which=which, ncv=basis, tol=tolerance, v0=start, maxiter=1000
        )
    except scipy.sparse.linalg.ArpackError:  # raised for H = 0, such as the block of a layer without effect
        if np.any(operator.matvec(start)):
            raise
        return np.zeros(k), np.eye(size, k)
    return (values - shift) / scale, directions
