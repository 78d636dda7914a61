"""Search for zero gradient by damped Newton steps with the exact Hessian."""

from collections.abc import Sequence

import keras
import numpy as np

from hw1.measures.stationary.stack import TOLERANCE, Point, Stack, check_counts, check_positive, gradient_program

DAMPINGS = 10.0 ** -np.arange(1, 14)  # as shares of the largest |eigenvalue|


def newton(
    nets: Sequence[keras.Model], x, y, loss=None, iterations: int = 50, tolerance: float = TOLERANCE
) -> list[Point]:
    """Solves ∇L = 0 from the nets' present parameters by damped steps with the exact Hessian H = QΛQᵀ.

    The steps are those of Levenberg and Marquardt for the equations ∇L = 0, whose Jacobian is H:

        −(H² + μ²I)⁻¹ H∇L = −Q diag(λ_i / (λ_i² + μ²)) Qᵀ∇L.

    For μ = 0 this is Newton's step −H⁻¹∇L; a large μ shortens it along small eigenvalues. In every iteration each μ in
    `DAMPINGS` times the largest |λ| is tried, and the step with the smallest ‖∇L‖ after it is taken. The sign of λ_i
    does not matter for convergence, so the steps lead to saddles as well as to minima, whichever is near. An iteration
    costs p products and an eigendecomposition for H, and one gradient for each damping. Near a stationary point with a
    regular H the error is squared in each step.

    A net is done when its gradient is below `tolerance`, or when no step lowers ‖∇L‖: at a minimum of ‖∇L‖ that is not
    stationary, or at the limit of rounding.

    Args:
        nets: built Keras models of one architecture, in float64; they are not changed.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        iterations: steps at most.
        tolerance: ‖∇L‖₂ at which a net is done.

    Returns:
        One `Point` for each net.

    Raises:
        TypeError, ValueError: for models, examples or options that do not fit.
    """
    check_counts(iterations=iterations)
    check_positive(tolerance=tolerance)
    stack = Stack(nets, x, y, loss)
    thetas, left = stack.thetas.copy(), np.full(len(nets), iterations)
    norms = [[norm] for norm in stack.gradient_norms(thetas, np.arange(len(nets)))]
    while len(members := np.flatnonzero((left > 0) & np.array([each[-1] > tolerance for each in norms]))):
        thetas[members], lengths = _damped_steps(stack, thetas[members], members)
        for member, length in zip(members, lengths, strict=True):
            if length < norms[member][-1]:
                norms[member].append(length)
                left[member] -= 1
            else:
                left[member] = 0
    return stack.points(thetas, [len(norm) - 1 for norm in norms], norms)


def _damped_steps(stack, thetas, members):
    """The best step of each net, if any lowers ‖∇L‖: the new parameters, and ‖∇L‖ there."""
    values, vectors = np.linalg.eigh(stack.hessians(thetas, members))
    _, slopes = stack.means(gradient_program, thetas, members)
    along = np.einsum("mij,mi->mj", vectors, slopes)
    least, found = np.linalg.norm(slopes, axis=1), thetas.copy()
    for damping in DAMPINGS:
        mu = damping * np.abs(values).max(axis=1, keepdims=True) + np.finfo(np.float64).tiny
        trial = thetas - np.einsum("mij,mj->mi", vectors, values / (values**2 + mu**2) * along)
        norms = stack.gradient_norms(trial, members)
        better = norms < least  # False where the step led to infinity
        least[better], found[better] = norms[better], trial[better]
    return found, least
