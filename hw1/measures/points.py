"""The mean loss, and its gradient, at many points of parameter space.

Small nets are computed side by side, many points in one compiled call, because a call for each would cost more than the
net. Larger nets are computed one after the other within the call.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from hw1 import evaluation

_AT_ONCE = 2**22  # total number of parameters of the nets in one compiled call
_SIDE_BY_SIDE = 2**20  # parameters × examples of the nets that are computed side by side; more no longer fit the cache
_FEW = 4  # nets side by side are not worth it


def _total(net, parameters, state, x, targets):
    """The function from flat parameters to the total loss of the examples."""

    def total(theta):
        return tf.reduce_sum(net.losses(evaluation.unflatten(theta, parameters), state, x, targets))

    return total


def _losses_in_turn(net):
    """The program of the total loss at each of the first `count` rows of `points`."""

    def run(parameters, state, x, targets, points, count):
        total = _total(net, parameters, state, x, targets)
        return tf.map_fn(lambda number: total(points[number]), tf.range(count), fn_output_signature=points.dtype)

    return run


def _losses_together(net):
    """The program of the total loss at each row of `points`."""

    def run(parameters, state, x, targets, points, count):
        return tf.vectorized_map(_total(net, parameters, state, x, targets), points)[:count]

    return run


def _gradients_in_turn(net):
    """The program of total loss and gradient at each of the first `count` rows of `points`, [count, 1 + parameters]."""

    def run(parameters, state, x, targets, points, count):
        total = _total(net, parameters, state, x, targets)

        def both(number):
            theta = points[number]
            with tf.GradientTape() as tape:
                tape.watch(theta)
                value = total(theta)
            slope = tape.gradient(value, theta, unconnected_gradients="zero")
            return tf.concat([value[None], slope], axis=0)

        return tf.map_fn(both, tf.range(count), fn_output_signature=points.dtype)

    return run


def _gradients_together(net):
    """The program of total loss and gradient at each row of `points`, shape [count, 1 + parameters].

    The points do not interact, so the gradient of the sum of their losses holds each one's gradient as a row.
    """

    def run(parameters, state, x, targets, points, count):
        with tf.GradientTape() as tape:
            tape.watch(points)
            values = tf.vectorized_map(_total(net, parameters, state, x, targets), points)
        slopes = tape.gradient(values, points, unconnected_gradients="zero")
        return tf.concat([values[:, None], slopes], axis=1)[:count]

    return run


def losses_at(problem: evaluation.Problem, most: int) -> Callable[[np.ndarray], np.ndarray]:
    """The mean loss as a function of parameter vectors.

    A compiled call takes up to `most` points. Their array keeps one shape, so that the program is compiled once.

    Args:
        problem: model, examples and loss.
        most: the largest number of points in one compiled call; fewer if the net is large.

    Returns:
        A function [points, parameters] -> [points], float64.
    """
    return _means(problem, most, _losses_together, _losses_in_turn)


def gradients_at(problem: evaluation.Problem, most: int) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The mean loss and its gradient as a function of parameter vectors.

    Args:
        problem: model, examples and loss.
        most: the largest number of points in one compiled call; fewer if the net is large.

    Returns:
        A function [points, parameters] -> losses, shape [points], and gradients, shape [points, parameters], float64.
    """
    means = _means(problem, most, _gradients_together, _gradients_in_turn)

    def both(points):
        found = means(points)
        return found[:, 0], found[:, 1:]

    return both


def _means(problem, most, together, in_turn):
    """A function from points to the results of a program at each of them, divided by the number of examples."""
    side_by_side = _SIDE_BY_SIDE // (problem.size * min(problem.n, problem.chunk_size))
    at_once = min(most, max(1, _AT_ONCE // problem.size))
    is_small = problem.is_dense and side_by_side >= _FEW and at_once > 1
    if is_small:
        at_once = min(at_once, side_by_side)
    run, parts = problem.compile(together if is_small else in_turn), list(problem.chunks())
    held = np.zeros((at_once, problem.size), problem.dtype)
    variables = problem.parameters, problem.state

    def means(points):
        values = []
        for start in range(0, len(points), at_once):
            piece = points[start : start + at_once]
            held[: len(piece)] = piece
            values.append(sum(run(*variables, *part, held, tf.constant(len(piece))).numpy() for part in parts))
        return np.concatenate(values).astype(np.float64) / problem.n

    return means
