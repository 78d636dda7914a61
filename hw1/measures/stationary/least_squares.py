"""Search for the minimum of a squared error by Levenberg and Marquardt's method with geodesic acceleration."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from hw1 import evaluation
from hw1.measures.stationary.stack import TOLERANCE, Point, Stack, check_counts, check_positive

_LEAST_DAMPING, _MOST_DAMPING = 1e-20, 1e12  # relative to the mean of the diagonal of JJᵀ
_AHEAD = 0.1  # share of the step at which the second derivative along it is taken (as in the source)


def _residuals(net):
    """The program of outputs − targets, shape [members, n · outputs]."""

    def run(like, thetas, state, x, targets):
        def one(member):
            theta, own = member
            return tf.reshape(net.outputs(evaluation.unflatten(theta, like), own, x) - targets[0], [-1])

        return (tf.vectorized_map(one, (thetas, state)),)

    return run


def _jacobians(net):
    """The program of the residuals and of their Jacobians, shape [members, n · outputs, p].

    Each example has its own copy of θ, so that one backward pass for each output gives the rows of all examples.
    """

    def run(like, thetas, state, x, targets):
        members, n = thetas.shape[0], x.shape[0]
        copies, states = tf.repeat(thetas, n, axis=0), [tf.repeat(value, n, axis=0) for value in state]

        def one(example):
            theta, own, row = example
            return net.outputs(evaluation.unflatten(theta, like), own, row[None])[0]

        with tf.GradientTape(persistent=True) as tape:
            tape.watch(copies)
            outputs = tf.vectorized_map(one, (copies, states, tf.concat([x] * members, axis=0)))
            columns = tf.unstack(outputs, axis=-1)
        rows = tf.stack([tape.gradient(column, copies) for column in columns], axis=1)
        residuals = outputs - tf.concat([targets[0]] * members, axis=0)
        return tf.reshape(residuals, [members, -1]), tf.reshape(rows, [members, -1, thetas.shape[1]])

    return run


def singular_values(nets: Sequence[keras.Model], x, y, thetas=None) -> np.ndarray:
    """The singular values of the Jacobian J of all residuals, outputs − targets, for several nets.

    The Hessian of the mean squared error of N residuals r is (2/N)(JᵀJ + Σ rᵢ∇²rᵢ). Where the residuals vanish, its
    eigenvalues are (2/N)σ² and zeros. From H they are known to about 1e-14 of the largest in float64, from J to 1e-28,
    as σ is known to 1e-14 of the largest σ.

    Args:
        nets: built Keras models of one architecture, in float64; they are not changed.
        x: inputs, shape [n, ...].
        y: targets, of the shape of the outputs, [n, outputs].
        thetas: the points, shape [m, p], as parameters of one net; None for the nets' present parameters.

    Returns:
        Array of shape [m, min(n · outputs, p)], descending.

    Raises:
        TypeError, ValueError: for models or examples that do not fit.
    """
    _check_targets(y)
    stack = Stack(nets, x, y, keras.losses.mean_squared_error, thetas)
    _, jacobians = stack.calls(_jacobians, stack.thetas, np.arange(len(stack.thetas)))
    return np.linalg.svd(jacobians, compute_uv=False)


def levenberg_marquardt(
    nets: Sequence[keras.Model], x, y, iterations: int = 2000, tolerance: float = TOLERANCE
) -> list[Point]:
    """Minimises the mean squared error by Levenberg and Marquardt's method with geodesic acceleration.

    With the residuals r = outputs − targets and their Jacobian J, a step is s + a:

        s = −(JᵀJ + μI)⁻¹ Jᵀr,    a = −½ (JᵀJ + μI)⁻¹ Jᵀr″.

    s is the damped Gauss–Newton step, which takes r as linear. a corrects it for the second derivative r″ of the
    residuals along s, so that the step follows a curved valley (Transtrum and Sethna, arXiv 1201.5885). r″ is a
    difference of r at s / 10 and costs one forward pass. Without a the same valleys take hundreds of times as many
    steps. A step is taken if it lowers the error and 2‖a‖ < ¾‖s‖; then μ is divided by three, else multiplied by three.
    μ is relative to the mean of the diagonal of JJᵀ. A step costs a backward pass for each output, and the inverse of a
    matrix of the smaller of J's two sizes.

    Args:
        nets: built Keras models of one architecture, in float64; they are not changed.
        x: inputs, shape [n, ...].
        y: targets, of the shape of the outputs, [n, outputs].
        iterations: steps that are tried, at most.
        tolerance: ‖∇L‖₂ at which a net is done.

    Returns:
        One `Point` for each net; its `norms` are those after each step that was taken.

    Raises:
        TypeError, ValueError: for models, examples or options that do not fit.
    """
    check_counts(iterations=iterations)
    check_positive(tolerance=tolerance)
    _check_targets(y)
    stack = Stack(nets, x, y, keras.losses.mean_squared_error)
    thetas, everyone = stack.thetas.copy(), np.arange(len(nets))
    residuals, jacobians = stack.calls(_jacobians, thetas, everyone)
    gradients = _pull(jacobians, residuals) * (2 / residuals.shape[1])
    norms = [[norm] for norm in np.linalg.norm(gradients, axis=1)]
    damping = np.full(len(nets), 1e-2)
    for _ in range(iterations):
        going = np.array([each[-1] > tolerance for each in norms]) & (damping < _MOST_DAMPING)
        if not going.any():
            break
        members = np.flatnonzero(going)
        trial, curved = _accelerated(stack, thetas, members, residuals, jacobians, damping)
        errors = np.sum(stack.calls(_residuals, trial, members)[0] ** 2, axis=1)
        taken = ~curved & (errors < np.sum(residuals[members] ** 2, axis=1))
        damping[members] = np.where(taken, np.maximum(damping[members] / 3, _LEAST_DAMPING), damping[members] * 3)
        if len(moved := members[taken]):
            thetas[moved] = trial[taken]
            residuals[moved], jacobians[moved] = stack.calls(_jacobians, thetas[moved], moved)
            gradients = _pull(jacobians[moved], residuals[moved]) * (2 / residuals.shape[1])
            for member, norm in zip(moved, np.linalg.norm(gradients, axis=1), strict=True):
                norms[member].append(norm)
    return stack.points(thetas, [len(norm) - 1 for norm in norms], norms)


def _check_targets(y):
    """Raises ValueError for targets that are no matrix."""
    if np.ndim(y) != 2:
        raise ValueError(f"y must be targets of shape [n, outputs], not {list(np.shape(y))}")


def _pull(jacobians, vectors):
    """Jᵀv of each member."""
    return np.einsum("mrp,mr->mp", jacobians, vectors)


def _accelerated(stack, thetas, members, residuals, jacobians, damping):
    """Where each member's step s + a leads, and whether a is too large against s for the step to be trusted."""
    theta, residual, jacobian = thetas[members], residuals[members], jacobians[members]
    rows, size = jacobian.shape[1:]
    # (JᵀJ + μI)⁻¹Jᵀ = Jᵀ(JJᵀ + μI)⁻¹: the smaller matrix is inverted.
    wide = rows <= size
    gram = jacobian @ jacobian.transpose(0, 2, 1) if wide else jacobian.transpose(0, 2, 1) @ jacobian
    mu = damping[members] * np.einsum("mrp,mrp->m", jacobian, jacobian) / rows
    inverse = np.linalg.inv(gram + (mu + np.finfo(np.float64).tiny)[:, None, None] * np.eye(gram.shape[1]))

    def solve(vectors):
        if wide:
            return _pull(jacobian, np.einsum("mij,mj->mi", inverse, vectors))
        return np.einsum("mij,mj->mi", inverse, _pull(jacobian, vectors))

    step = -solve(residual)
    ahead = stack.calls(_residuals, theta + _AHEAD * step, members)[0]
    slope = np.einsum("mrp,mp->mr", jacobian, step)
    acceleration = -0.5 * solve((2 / _AHEAD) * ((ahead - residual) / _AHEAD - slope))
    curved = 2 * np.linalg.norm(acceleration, axis=1) >= 0.75 * np.linalg.norm(step, axis=1)
    return theta + step + acceleration, curved
