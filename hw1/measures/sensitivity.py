"""Sensitivity to the input: norms of the loss's gradient and of the Jacobian of the class probabilities.

Both are first derivatives with respect to the input, exact up to rounding, in inference mode. There the examples of a
batch do not affect each other: ∂(Σ_j ℓ_j)/∂x_i = ∂ℓ_i/∂x_i, so that one backward pass gives the gradients of all
examples.
"""

import numpy as np
import tensorflow as tf

from hw1 import evaluation

AGGREGATES = ("mean", "whole")


def _squared_gradient_norms(forward, loss):
    """The program of ‖∂ℓ_i/∂x_i‖² of each example, shape [n]."""

    def run(parameters, state, x, y):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(loss(y, forward(parameters, state, x)))
        gradient = tape.gradient(total, x)
        return tf.reduce_sum(tf.reshape(gradient, [tf.shape(x)[0], -1]) ** 2, axis=1)

    return run


def loss_gradient_norm(model, x, y, aggregate: str = "mean", loss=None) -> float:
    """Frobenius norm of ∂ℓ/∂x, the loss's gradient with respect to the input.

    It costs one gradient. With aggregate "mean" it is (1/n) Σ_i ‖∂ℓ_i/∂x_i‖_F, an average that does not depend on n but
    for sampling. With "whole" it is ‖∂L/∂X‖_F = (1/n) √(Σ_i ‖∂ℓ_i/∂x_i‖_F²), with the mean loss L and all inputs X, the
    literal reading of the course's slides. The second falls as 1/√n.

    Args:
        model: a built Keras model.
        x: inputs, floating point, shape [n, ...]. The norm is per unit of input; images here have pixels in [0, 1].
        y: targets, shape [n].
        aggregate: "mean" or "whole".
        loss: None for softmax cross-entropy of logits, else a function (y, outputs) -> [n].

    Returns:
        The norm, in units of loss per unit of input.

    Raises:
        TypeError, ValueError: for a model or examples that do not fit, or another aggregate.
    """
    if aggregate not in AGGREGATES:
        raise ValueError(f"aggregate must be one of {AGGREGATES}, not {aggregate!r}")
    example = _floating(evaluation.check(model, x, y, loss))
    run, variables = evaluation.compiled(_squared_gradient_norms, model, loss), evaluation.variables(model)
    squares = np.concatenate([run(*variables, *part).numpy() for part in evaluation.chunks(example)])
    squares = squares.astype(np.float64)
    return float(np.sqrt(squares).mean() if aggregate == "mean" else np.sqrt(squares.sum()) / len(squares))


def _squared_jacobian_norms(forward, loss):
    """The program of ‖∂p/∂x‖_F² of each example, shape [n], by a backward pass for each class probability."""

    def run(parameters, state, x):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            probabilities = tf.unstack(tf.nn.softmax(forward(parameters, state, x)), axis=1)
        rows = [tf.reshape(tape.gradient(p, x), [tf.shape(x)[0], -1]) for p in probabilities]
        return tf.add_n([tf.reduce_sum(row**2, axis=1) for row in rows])

    return run


def jacobian_norm(model, x) -> float:
    """Mean Frobenius norm of the Jacobian of the class probabilities with respect to the input.

    The sensitivity of Novak et al. (arXiv 1802.08760), with the logits f:

        (1/n) Σ_i ‖∂ softmax(f(x_i)) / ∂x_i‖_F.

    The Jacobian is computed row by row, exactly: it costs a backward pass for each class.

    Args:
        model: a built Keras model that outputs logits.
        x: inputs, floating point, shape [n, ...].

    Returns:
        The norm, per unit of input.

    Raises:
        TypeError, ValueError: for a model or inputs that do not fit.
    """
    example = _floating(evaluation.check(model, x))
    run, variables = evaluation.compiled(_squared_jacobian_norms, model), evaluation.variables(model)
    squares = np.concatenate([run(*variables, part).numpy() for part, _ in evaluation.chunks(example)])
    return float(np.sqrt(squares.astype(np.float64)).mean())


def _floating(example: evaluation.Example) -> evaluation.Example:
    """The examples; TypeError unless their inputs are floating point."""
    if not np.issubdtype(example.x.dtype, np.floating):
        raise TypeError(f"x must be floating point to be differentiated, not {example.x.dtype}; divide images by 255")
    return example
