"""Extreme eigenvalues of a symmetric operator H, from products with H alone, by Lanczos with deflation.

A Krylov space (`hw1.measures.krylov`) contains one eigenvector of each eigenvalue, however often that is repeated. The
search therefore goes in runs. Each run grows such a space from a new random vector, in the complement of the
eigenvectors found so far, and joins both by Rayleigh–Ritz. A run stops in one of two cases:

- All Ritz values among the k outermost have converged, and some lie farther out than the k-th. These may be repeated,
  so another run follows.
- The space excludes that the complement has an eigenvalue farther out than the k-th found. The search is complete.

For k = 1 the first run is the last: further copies of the eigenvalue do not matter.

For a Ritz pair (θ, u) with ‖u‖ = 1 and the residual r = Hu − θu, the nearest eigenvalue is within ‖r‖ of θ, and within
‖r‖² / gap, where gap is the distance from θ to the rest of the spectrum (Parlett, The Symmetric Eigenvalue Problem,
1980).

Why not ARPACK (`scipy.sparse.linalg.eigsh`)? It also sees each eigenvalue once, it stops at small residuals, which do
not show that nothing was missed, and it tests for convergence at restarts only, which costs products.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse.linalg

from hw1.evaluation import checks
from hw1.measures import krylov

_FLOOR = 0.01  # eigenvalues below this share of ‖H‖₂ have the absolute precision of those at it
_NOISE = 1e-5  # residuals below this share of ‖H‖₂ may be the rounding of products in float32
_NOISE_OF_GUESS, _LEAST_FROM_GUESS = 0.1, 6  # length of what is random beside the guess; products
_DENSE_BELOW = 16  # up to this size the matrix is formed from its products and solved exactly
_DENSE_UP_TO = 2048  # up to this size, too, once Lanczos has taken as many products as the matrix has rows
_MOST_PRODUCTS = 10_000  # for larger operators


class Eigenpairs(NamedTuple):
    """Eigenvalues with their eigenvectors, and how far they can be trusted.

    Attributes:
        values: descending, shape [k].
        vectors: orthonormal columns, shape [size, k].
        residuals: ‖Hv − λv‖ of each, shape [k], computed from the products already taken.
        converged: whether each met the tolerance and the search for missed ones is complete, shape [k].
        products: number of products with H.
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    converged: np.ndarray
    products: int


def linear_operator(multiply) -> scipy.sparse.linalg.LinearOperator:
    """Products, as `hw1.measures.hessian.product` returns them, as scipy's linear operator.

    Args:
        multiply: function from v to Hv, both of shape [size], with the attribute ``size``, and perhaps with ``many``
            for several vectors, both as `hw1.measures.products.product` explains them.

    Returns:
        An operator of shape [size, size]. Vectors are float64; the products are computed in the dtype of `multiply`.
    """

    def checked(image):
        if not np.isfinite(image).all():
            raise ValueError("a product with the Hessian is not finite: weights, inputs or the loss are too large")
        return image

    many = getattr(multiply, "many", None)
    return scipy.sparse.linalg.LinearOperator(
        (multiply.size,) * 2,
        lambda vector: checked(multiply(np.ravel(vector))),
        matmat=many and (lambda vectors: checked(many(vectors))),
        dtype=np.float64,
    )


def matrix(operator) -> np.ndarray:
    """The matrix of a symmetric operator from one product per row, made exactly symmetric; float64 [size, size]."""
    rows = _rows(operator)
    return (rows + rows.T) / 2


def _rows(operator):
    """The products with the unit vectors."""
    return krylov.check_finite(operator.matmat(np.eye(operator.shape[0])).T)


def eigenvalues(operator, k: int, which: str, tolerance: float, vectors: bool = False):
    """The k extreme eigenvalues of a symmetric operator; `eigenpairs` explains the arguments and the promise.

    Returns:
        The eigenvalues, shape [k], descending; with `vectors` also the eigenvectors, shape [size, k].

    Raises:
        ValueError: as `eigenpairs`.
        RuntimeError: if some have not converged.
    """
    found = eigenpairs(operator, k, which, tolerance)
    if not found.converged.all():
        raise RuntimeError(
            f"{k - found.converged.sum()} of {k} eigenvalues have not converged to tolerance={tolerance} after "
            f"{found.products} products; their residuals are up to {found.residuals[~found.converged].max():.1e}"
        )
    return (found.values, found.vectors) if vectors else found.values


def eigenpairs(operator, k: int, which: str, tolerance: float, guess: np.ndarray | None = None) -> Eigenpairs:
    """The k extreme eigenvalues of a symmetric operator, with eigenvectors and residuals.

    The promise: each λ has an error of at most tolerance · |λ|, appears as often as it is repeated, and none is missed.
    Where |λ| < ‖H‖₂ / 100, the error is at most tolerance · ‖H‖₂ / 100. Eigenvalues closer than this, or with "LM"
    magnitudes, count as equal. An eigenvalue can be missed only if a random start has almost no component along its
    eigenvector, with a probability below 1 %. Products in float32 add errors of about 1e-6 ‖H‖₂.

    Operators of size at most 16 or 3 k are solved as matrices, at one product per row; so are those of size at most
    2048 if Lanczos has taken that many products. Results are the same in each call.

    Args:
        operator: symmetric, as `linear_operator` makes it.
        k: how many, from 1 to the operator's size.
        which: "LM" largest magnitude, "LA" largest, "SA" smallest (most negative).
        tolerance: the promised relative error, at least 1e-13. Residuals ‖Hv − λv‖ / |λ| are below it, too, and most
            errors are of the order of their squares.
        guess: for k = 1 an approximate eigenvector to start from, shape [size], such as that of a similar operator. The
            search then ends with a small residual, after 6 products at least, and does not exclude that an eigenvalue
            farther out was missed; a tenth of the start stays random, so that it can come in. This takes 6 to 8
            products where the promise takes 10 to 12. (With the promise a guess saves nothing: the exclusion needs a
            random start.)

    Returns:
        `Eigenpairs`. They have not converged if 10,000 products were too few.

    Raises:
        ValueError: for another `k`, `which` or `tolerance`, or if a product is not finite.
    """
    size = operator.shape[0]
    if which not in ("LM", "LA", "SA"):
        raise ValueError(f"which must be 'LM' (largest magnitude), 'LA' (largest) or 'SA' (smallest), not {which!r}")
    checks.whole("k", k, 1, size)
    if not isinstance(tolerance, int | float | np.floating) or not 1e-13 <= tolerance <= 1:
        raise ValueError(f"tolerance must be a number from 1e-13 to 1, not {tolerance!r}")
    if size <= max(_DENSE_BELOW, 3 * k):
        return _dense(operator, k, which)
    space, rng = krylov.Space(operator, min(size, 3 * k + 60)), np.random.default_rng(0)
    limit, complete = size if size <= _DENSE_UP_TO else _MOST_PRODUCTS, False
    if guess is not None and k > 1:
        raise ValueError("a guess is one eigenvector: it needs k=1")
    guess = guess / np.linalg.norm(guess) if guess is not None and np.any(guess) else None
    while not complete and space.products < limit:
        noise = rng.standard_normal(size)
        space.begin(noise if guess is None else guess + _NOISE_OF_GUESS * noise / np.linalg.norm(noise))
        complete = _run(space, k, which, tolerance, limit, guess is None)
        values = space.rayleigh_ritz(lambda values: _outermost(values, which)[:k])
    if not complete and size <= _DENSE_UP_TO:
        return _dense(operator, k, which, space.products)
    order = np.argsort(values)[::-1]
    values, vectors = values[order], space.basis[order].T
    residuals = np.linalg.norm(space.images[order].T - vectors * values, axis=0)
    met = residuals <= np.maximum(_margin(values, space.norm, tolerance), _NOISE * space.norm)
    return Eigenpairs(values, vectors, residuals, complete & met, space.products)


def _dense(operator, k, which, products=0):
    """The eigenpairs from the operator's matrix, after so many other products."""
    rows = _rows(operator)
    values, vectors = scipy.linalg.eigh((rows + rows.T) / 2)
    chosen = np.sort(_outermost(values, which)[:k])[::-1]
    values, vectors = values[chosen], vectors[:, chosen]
    residuals = np.linalg.norm(rows.T @ vectors - vectors * values, axis=0)
    return Eigenpairs(values, vectors, residuals, np.full(k, True), products + len(rows))


def _run(space, k, which, tolerance, limit, is_proved=True):
    """Grows a Krylov space until it is finished, and returns whether the search is complete, or ends without proof."""
    known = np.diag(space.projected)[: space.known].copy()
    while True:
        space.grow()
        dimension, full = space.size - space.known, space.size == len(space.basis)
        if space.outside and not full and dimension % (1 + dimension // 20):
            continue  # the Ritz values of a large space cost more than a product: they are computed now and then
        values, vectors, residuals = space.ritz()
        if space.size == space.basis.shape[1]:
            return True
        together = np.concatenate([known, values])
        wanted = _outermost(together, which)[:k]
        new = wanted[wanted >= space.known] - space.known
        if len(wanted) == k and (residuals[new] <= _margin(values[new], space.norm, tolerance) / 2).all():
            if not is_proved and dimension >= _LEAST_FROM_GUESS:
                return True
            last = together[wanted[-1]]
            bound = _outward(last, which) + _margin(last, space.norm, tolerance)
            if _outward(values, which).max() > bound:
                return False
            ends = {"LM": (1, -1), "LA": (1,), "SA": (-1,)}[which]
            if is_proved and all(space.excludes(end * bound, values) for end in ends):
                return True
        if not space.outside or space.products >= limit:
            return False
        if full:
            order = _outermost(values, which)
            space.restart(vectors[:, order[: dimension // 2]], values[order[dimension // 2 :]])


def _margin(values, norm, tolerance):
    """The errors, or residuals, that eigenvalues may have."""
    return tolerance * np.maximum(np.abs(values), _FLOOR * norm)


def _outward(values, which):
    """How far out eigenvalues lie, at the end that is asked for."""
    return {"LM": np.abs(values), "LA": values, "SA": -values}[which]


def _outermost(values, which):
    """The indices of eigenvalues, from the outermost inwards."""
    return np.argsort(-_outward(values, which), kind="stable")
