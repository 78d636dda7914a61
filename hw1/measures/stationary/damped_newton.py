"""Search for zero gradient by damped Newton steps with the exact Hessian and geodesic acceleration."""

from collections.abc import Sequence

import keras
import numpy as np

from hw1.measures.stationary.stack import TOLERANCE, Point, Stack, check_counts, check_positive

_LEAST_DAMPING, _MOST_DAMPING = 1e-16, 1e6  # shares of the largest |eigenvalue|
_AHEAD = 0.1  # share of the step at which the second derivative along it is taken


def newton(
    nets: Sequence[keras.Model],
    x,
    y,
    loss=None,
    iterations: int = 400,
    tolerance: float = TOLERANCE,
    starts: np.ndarray | None = None,
) -> list[Point]:
    """Solves ∇L = 0 by damped Newton steps with geodesic acceleration, which lead to saddles as well as to minima.

    With the Hessian H = QΛQᵀ, a step is s + a:

        s = −(H² + μ²I)⁻¹ H∇L = −Q diag(λ / (λ² + μ²)) Qᵀ∇L,    a = −½ (H² + μ²I)⁻¹ H∇L″.

    s is the step of Levenberg and Marquardt for the equations ∇L = 0, whose Jacobian is H: Newton's for μ = 0. The sign
    of λ does not matter, so that s leads to whatever critical point is near. a corrects it for the second derivative
    ∇L″ of the gradient along s, so that the step follows a curved valley of ‖∇L‖ (Transtrum and Sethna, arXiv
    1201.5885, for least squares). ∇L″ is a difference of ∇L at s / 10 and costs one gradient. A step is taken if it
    lowers ‖∇L‖ and 2‖a‖ < ¾‖s‖; then μ is divided by three, else multiplied by three; μ is relative to max |λ|.

    Without a, or with gradient descent on ‖∇L‖², nearly all searches stop where ∇L lies in the null space of H: at
    minima of ‖∇L‖ that are not stationary (Frye et al., arXiv 2003.10397). With a, fewer do. `nearness` tells the two
    apart: a small gradient alone is no proof.

    A try costs two gradients; a step that is taken costs p products and an eigendecomposition besides, for the new H.

    Args:
        nets: built Keras models of one architecture, in float64; they are not changed.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        iterations: steps that are tried, at most.
        tolerance: ‖∇L‖₂ at which a search is done.
        starts: where to start, shape [m, p], from as many points of one net; None for the nets' present parameters.

    Returns:
        One `Point` for each start.

    Raises:
        TypeError, ValueError: for models, examples or options that do not fit.
    """
    check_counts(iterations=iterations)
    check_positive(tolerance=tolerance)
    stack = Stack(nets, x, y, loss, starts)
    thetas, everyone = stack.thetas.copy(), np.arange(len(stack.thetas))
    slopes = stack.gradients(thetas, everyone)
    values, vectors = np.linalg.eigh(stack.hessians(thetas, everyone))
    norms = [[norm] for norm in np.linalg.norm(slopes, axis=1)]
    damping = np.full(len(thetas), 1e-2)
    for _ in range(iterations):
        least = np.array([each[-1] for each in norms])
        members = np.flatnonzero((least > tolerance) & (damping < _MOST_DAMPING))
        if not len(members):
            break
        step, curved = _accelerated(stack, thetas, members, slopes, values, vectors, damping)
        ahead = stack.gradients(thetas[members] + step, members)
        lengths = np.linalg.norm(ahead, axis=1)
        taken = ~curved & (lengths < least[members])  # False where the step led to infinity
        damping[members] = np.where(taken, np.maximum(damping[members] / 3, _LEAST_DAMPING), damping[members] * 3)
        if len(moved := members[taken]):
            thetas[moved] += step[taken]
            slopes[moved] = ahead[taken]
            values[moved], vectors[moved] = np.linalg.eigh(stack.hessians(thetas[moved], moved))
            for member, length in zip(moved, lengths[taken], strict=True):
                norms[member].append(length)
    return stack.points(thetas, [len(norm) - 1 for norm in norms], norms)


def _accelerated(stack, thetas, members, slopes, values, vectors, damping):
    """Each member's step s + a, and whether a is too large against s for the step to be trusted."""
    slope, value, vector = slopes[members], values[members], vectors[members]
    mu = damping[members] * np.abs(value).max(axis=1)
    inverse = value / (value**2 + mu[:, None] ** 2 + np.finfo(np.float64).tiny)

    def through(scales, direction):
        """Q diag(scales) Qᵀ times a direction, of each member."""
        return np.einsum("mij,mj->mi", vector, scales * np.einsum("mij,mi->mj", vector, direction))

    step = -through(inverse, slope)
    ahead = stack.gradients(thetas[members] + _AHEAD * step, members)
    second = (2 / _AHEAD) * ((ahead - slope) / _AHEAD - through(value, step))
    acceleration = -0.5 * through(inverse, second)
    curved = ~(2 * np.linalg.norm(acceleration, axis=1) < 0.75 * np.linalg.norm(step, axis=1))
    return step + acceleration, curved
