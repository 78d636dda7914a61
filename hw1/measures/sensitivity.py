"""Sensitivity to the input: norms of the loss's gradient and of the Jacobian of the class probabilities.

Both are first derivatives with respect to the input, exact up to rounding, in inference mode. There the examples of a
batch do not affect each other: ∂(Σ_j ℓ_j)/∂x_i = ∂ℓ_i/∂x_i, so that one backward pass gives the gradients of all
examples.
"""

from typing import Unpack

import numpy as np
import tensorflow as tf

from hw1 import evaluation

AGGREGATES = ("mean", "whole")


def _squared_gradient_norms(net):
    """The program of ‖∂ℓ_i/∂x_i‖² of each example, shape [n]."""

    def run(parameters, state, x, targets):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(net.loss(targets, net.outputs(parameters, state, x)))
        return _squares(tape.gradient(total, x), x)

    return run


def _squares(gradients, x):
    """The squared norm of each example's gradient, over all inputs, shape [n]; an input that is not used adds 0."""
    found = [
        tf.zeros_like(array) if part is None else part
        for part, array in zip(tf.nest.flatten(gradients), tf.nest.flatten(x), strict=True)
    ]
    if all(part is None for part in tf.nest.flatten(gradients)):
        raise ValueError("the outputs have no derivative with respect to x, as where an Embedding looks up its tokens")
    parts = [tf.reshape(part, [tf.shape(part)[0], -1]) for part in found]
    return tf.add_n([tf.reduce_sum(part**2, axis=1) for part in parts])


def loss_gradient_norm(
    model, x, y=None, aggregate: str = "mean", loss=None, **options: Unpack[evaluation.Options]
) -> float:
    """Frobenius norm of ∂ℓ/∂x, the loss's gradient with respect to the input.

    It costs one gradient. With aggregate "mean" it is (1/n) Σ_i ‖∂ℓ_i/∂x_i‖_F, an average that does not depend on n but
    for sampling. With "whole" it is ‖∂L/∂X‖_F = (1/n) √(Σ_i ‖∂ℓ_i/∂x_i‖_F²), with the mean loss L and all inputs X, the
    literal reading of the course's slides. The second falls as 1/√n.

    Args:
        model: a built Keras model.
        x: inputs, floating point, shape [n, ...]. The norm is per unit of input; images here have pixels in [0, 1].
        y: targets, shape [n].
        aggregate: "mean" or "whole".
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        options: see `hw1.evaluation.Options`; the model's own losses are left out.

    Returns:
        The norm, in units of loss per unit of input.

    Raises:
        TypeError, ValueError: for a model or examples that do not fit, or another aggregate.
    """
    if aggregate not in AGGREGATES:
        raise ValueError(f"aggregate must be one of {AGGREGATES}, not {aggregate!r}")
    norms = loss_gradient_norms(model, x, y, loss, **options)
    return float(norms.mean() if aggregate == "mean" else np.sqrt(np.sum(norms**2)) / len(norms))


def loss_gradient_norms(model, x, y=None, loss=None, **options: Unpack[evaluation.Options]) -> np.ndarray:
    """‖∂ℓ_i/∂x_i‖_F of each example, float64, shape [n]; arguments and errors as for `loss_gradient_norm`."""
    problem = _differentiable(evaluation.Problem(model, x, y, loss, **options))
    return np.sqrt(_each(problem, _squared_gradient_norms))


def _squared_jacobian_norms(net):
    """The program of ‖∂p/∂x‖_F² of each example, shape [n], by a backward pass for each class probability."""

    def run(parameters, state, x, _):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            probabilities = tf.unstack(tf.nn.softmax(net.outputs(parameters, state, x)), axis=1)
        return tf.add_n([_squares(tape.gradient(p, x), x) for p in probabilities])

    return run


def jacobian_norm(model, x, chunk_size: int | None = None) -> float:
    """Mean Frobenius norm of the Jacobian of the class probabilities with respect to the input.

    The sensitivity of Novak et al. (arXiv 1802.08760), with the logits f:

        (1/n) Σ_i ‖∂ softmax(f(x_i)) / ∂x_i‖_F.

    The Jacobian is computed row by row, exactly: it costs a backward pass for each class.

    Args:
        model: a built Keras model that outputs logits.
        x: inputs, floating point, shape [n, ...].
        chunk_size: examples in one compiled call; None chooses.

    Returns:
        The norm, per unit of input.

    Raises:
        TypeError, ValueError: for a model or inputs that do not fit.
    """
    return float(jacobian_norms(model, x, chunk_size).mean())


def jacobian_norms(model, x, chunk_size: int | None = None) -> np.ndarray:
    """‖∂p/∂x_i‖_F of each example, float64, shape [n]; arguments and errors as for `jacobian_norm`."""
    problem = _differentiable(evaluation.Problem(model, x, chunk_size=chunk_size, targets=False))
    if problem.outputs.ndim != 2:
        raise ValueError("the Jacobian of the class probabilities needs logits of shape [n, classes]")
    return np.sqrt(_each(problem, _squared_jacobian_norms))


def _each(problem, program) -> np.ndarray:
    """The values of a program for each example, float64, shape [n]."""
    run = problem.compile(program)
    found = [run(problem.parameters, problem.state, *chunk).numpy() for chunk in problem.chunks()]
    return np.concatenate(found).astype(np.float64)


def _differentiable(problem: evaluation.Problem) -> evaluation.Problem:
    """The problem; TypeError unless its inputs are floating point."""
    for array in tf.nest.flatten(problem.examples.x):
        if not np.issubdtype(array.dtype, np.floating):
            raise TypeError(
                f"x must be floating point to be differentiated, not {array.dtype}; divide images by 255 (in tokens "
                "there is no derivative)"
            )
    return problem
