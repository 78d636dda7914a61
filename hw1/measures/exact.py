"""The Hessian's entries: its diagonal blocks, the whole matrix, its diagonal.

All are exact up to rounding and cost about one gradient or product per row. They are for small nets, and the truth
that matrix-free methods are tested against.
"""

from typing import Unpack

import numpy as np
import tensorflow as tf

from hw1 import evaluation
from hw1.measures.products import along, check_second_derivative, gradients


def _tf_hessians(net):
    """The program of the diagonal blocks through `tf.hessians`."""

    def run(parameters, state, x, targets):
        total = tf.reduce_sum(net.losses(parameters, state, x, targets))
        # tf.hessians fails where L does not depend on a variable, or only linearly: a zero makes it depend on all.
        return tf.hessians(total + tf.add_n([tf.reduce_sum(0 * p**2) for p in parameters]), parameters)

    return run


def _rows(net):
    """The program of all rows of H: one gradient of the loss, differentiated once for each unit vector."""

    def run(parameters, state, x, targets):
        slopes, tape = gradients(net, parameters, state, x, targets)
        units = tf.eye(evaluation.flatten(parameters).shape[0], dtype=parameters[0].dtype)
        return tf.map_fn(lambda unit: along(unit, slopes, parameters, tape), units)

    return run


def _diagonal(net):
    """The program of the diagonal H_ii = e_i · He_i, with the unit vectors e_i."""

    def run(parameters, state, x, targets):
        slopes, tape = gradients(net, parameters, state, x, targets)
        size, dtype = evaluation.flatten(parameters).shape[0], parameters[0].dtype

        def entry(number):
            return along(tf.one_hot(number, size, dtype=dtype), slopes, parameters, tape)[number]

        return tf.map_fn(entry, tf.range(size), fn_output_signature=dtype)

    return run


def blocks(model, x, y=None, loss=None, **options: Unpack[evaluation.Options]) -> list[np.ndarray]:
    """The diagonal blocks of H by `tf.hessians`: the second derivatives with respect to each trainable variable.

    A variable with n_i entries costs n_i gradients and n_i² numbers: a 784 × 30 kernel takes 2.2 GB and 17 s.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        options: see `hw1.evaluation.Options`.

    Returns:
        List of arrays [n_i, n_i], in the order of ``model.trainable_variables``.

    Raises:
        TypeError, ValueError: as `hw1.measures.hessian.product`.
    """
    return blocks_of(evaluation.Problem(model, x, y, loss, **options))


def blocks_of(problem: evaluation.Problem) -> list[np.ndarray]:
    """As `blocks`, for a problem that is already checked."""
    if tf.config.functions_run_eagerly():
        raise ValueError("tf.hessians needs graphs: call tf.config.run_functions_eagerly(False) first")
    check_second_derivative(problem)
    totals = problem.mean(problem.compile(_tf_hessians))
    return [total.reshape(2 * [p.shape.num_elements()]) for total, p in zip(totals, problem.parameters, strict=True)]


def dense(model, x, y=None, loss=None, **options: Unpack[evaluation.Options]) -> np.ndarray:
    """The whole Hessian: row i is the product He_i with the i-th unit vector.

    It costs as many products as there are parameters p, and p² numbers: 2.4 GB in float32 for the course's net with
    24,380 parameters. Rounding leaves H slightly asymmetric; (H + Hᵀ)/2 is returned.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: as for `blocks`.
        options: see `hw1.evaluation.Options`.

    Returns:
        The symmetric matrix, shape [parameters, parameters], in the model's dtype.

    Raises:
        TypeError, ValueError: as `hw1.measures.hessian.product`.
    """
    matrix = _mean(_rows, model, x, y, loss, options)
    return (matrix + matrix.T) / 2


def diagonal(model, x, y=None, loss=None, **options: Unpack[evaluation.Options]) -> np.ndarray:
    """The diagonal of H: the second derivatives of L along the axis of each parameter.

    It costs as many products as `dense`, but no memory for the matrix.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: as for `blocks`.
        options: see `hw1.evaluation.Options`.

    Returns:
        Array of shape [parameters], in the model's dtype.

    Raises:
        TypeError, ValueError: as `hw1.measures.hessian.product`.
    """
    return _mean(_diagonal, model, x, y, loss, options)


def _mean(program, model, x, y, loss, options):
    """The mean over all examples of a program that sums over those of a chunk."""
    problem = evaluation.Problem(model, x, y, loss, **options)
    check_second_derivative(problem)
    return problem.mean(problem.compile(program))
