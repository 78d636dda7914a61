"""How near a point is to a critical one, in units that say whether its gradient is zero."""

from typing import NamedTuple

import numpy as np

from hw1.measures.stationary.ratio import ZERO


class Nearness(NamedTuple):
    """How near a point θ is to one with ∇L = 0, by its gradient and its Hessian H with eigenvalues λ.

    Attributes:
        gradient: ‖∇L‖ / (max |λ| ‖θ‖). If each parameter is rounded, ∇L changes by about 1e-16 of max |λ| ‖θ‖ in
            float64, so this is at best some 1e-16.
        distance: ‖H⁺∇L‖ / ‖θ‖, the length of Newton's step along the eigenvalues that are not zero: how far the
            critical point is, to first order. If an eigenvalue is 1e-10 of the largest, rounding alone leaves 1e-6.
        slope: ‖H∇L‖ / (max |λ| ‖∇L‖), from 0 to 1. The slope of ‖∇L‖ is ‖H∇L‖ / ‖∇L‖, so where this is near 0, a search
            that lowers ‖∇L‖ stops, whether or not ∇L is zero.
    """

    gradient: float
    distance: float
    slope: float


def nearness(parameters, gradient, hessian, zero: float = ZERO) -> Nearness:
    """How near a point is to a critical one.

    A point is taken for a critical one if `gradient` *and* `distance` are near what rounding leaves. The gradient alone
    can be small where the loss is flat and falls for ever, and the distance alone where ∇L lies along eigenvalues that
    count as zero.

    Args:
        parameters: θ, shape [p].
        gradient: ∇L(θ), shape [p].
        hessian: H(θ), shape [p, p], symmetric.
        zero: share of max |λ| up to which an eigenvalue counts as zero, as for `signs`.

    Returns:
        Numbers of at least 0. Of a gradient of exactly zero all are 0; for H = 0 or θ = 0 what is divided by it is ∞.
    """
    values, vectors = np.linalg.eigh(hessian)
    most, size, length = np.abs(values).max(), np.linalg.norm(parameters), np.linalg.norm(gradient)
    if length == 0:
        return Nearness(0.0, 0.0, 0.0)
    along, counted = vectors.T @ gradient, np.abs(values) > zero * most
    step = np.linalg.norm(along[counted] / values[counted])
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = length / (most * size), step / size, np.linalg.norm(values * along) / (most * length)
    return Nearness(*(float(share) if share == share else np.inf for share in shares))
