"""Means over all examples: loss, accuracy, and the gradient of the loss.

Each is the sum over chunks of examples, divided by the number of examples, so that it does not depend on the size of
the chunks beyond rounding.
"""

import itertools
from collections.abc import Callable, Iterable
from typing import Unpack

import numpy as np
import tensorflow as tf

from hw1.evaluation.functional import flatten, unflatten
from hw1.evaluation.problem import Options, Problem

_SIDE_BY_SIDE = 10  # nets in one compiled call


def totals(net):
    """The program of the total loss and the total of the examples' accuracies (NaN where accuracy is not defined)."""

    def run(parameters, state, x, targets):
        outputs = net.outputs(parameters, state, x)
        losses = net.loss(targets, outputs)
        if net.penalty is not None:
            losses += net.penalty(parameters, state, x)
        return tf.reduce_sum(losses), _hits(targets[0], outputs)

    return run


def _hits(y, outputs):
    """The sum over the examples of the share of their labels that are right; NaN if y holds no labels."""
    labelled = tf.is_tensor(y) and tf.is_tensor(outputs) and y.dtype.is_integer
    if not labelled or outputs.shape.rank != y.shape.rank + 1 or outputs.shape[-1] < 2:
        return tf.constant(np.nan, tf.float64)
    hits = tf.cast(tf.argmax(outputs, axis=-1) == tf.cast(y, tf.int64), tf.float64)
    return tf.reduce_sum(hits) / (tf.size(hits, tf.int64) / tf.shape(hits, tf.int64)[0])


def evaluate(model, x, y=None, loss=None, **options: Unpack[Options]) -> tuple[float, float]:
    """Mean loss and accuracy over all examples, in inference mode.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: as for `hw1.evaluation.per_example`.
        options: see `hw1.evaluation.Options`.

    Returns:
        (loss, accuracy). The accuracy is the share of examples whose largest output is that of the label; NaN unless y
        holds integer labels, shape [n], of two or more classes. (Of several labels per example, their mean share.)

    Raises:
        TypeError, ValueError: for a model or examples that do not fit, see `hw1.evaluation.Problem`.
    """
    return evaluate_at(Problem(model, x, y, loss, **options))


def evaluate_sets(model, data, loss=None) -> dict[str, float]:
    """Mean loss and accuracy on the training and the test set of `data`.

    Args:
        model: a built Keras model.
        data: with ``x_train``, ``y_train``, ``x_test`` and ``y_test``, as `hw1.datasets.load` gives it.
        loss: as for `hw1.evaluation.per_example`.

    Returns:
        train_loss, train_accuracy, test_loss, test_accuracy by name.
    """
    found = {}
    for part in ("train", "test"):
        values = evaluate(model, getattr(data, f"x_{part}"), getattr(data, f"y_{part}"), loss)
        found[f"{part}_loss"], found[f"{part}_accuracy"] = values
    return found


def evaluate_at(problem: Problem, parameters=None, state=None) -> tuple[float, float]:
    """As `evaluate`, for given values of the model's variables.

    Args:
        problem: the model and its examples.
        parameters: values of the trainable variables, a list of tensors; None takes those of the model.
        state: values of the other variables, likewise.
    """
    loss, correct = problem.mean(problem.compile(totals), parameters=parameters, state=state)
    return float(loss), float(correct)


def evaluate_all(problem: Problem, points: Iterable) -> np.ndarray:
    """As `evaluate`, for many values of the model's variables.

    Ten nets of dense layers share a compiled call, in which they lie side by side. The results are those of
    `evaluate_at` up to rounding.

    Args:
        problem: the model and its examples.
        points: yields pairs of parameters and state, lists of tensors; None for the state takes that of the model.
            Integers in the state, such as seeds of dropout, must be the same everywhere.

    Returns:
        Loss and accuracy at each point, shape [points, 2].
    """
    # Other numbers in the state may differ from net to net, and own losses may depend on the chunk.
    is_known = problem.key is not None and not problem.regularization
    is_shared = is_known and not any(value.dtype.is_floating for value in problem.state)
    size = _SIDE_BY_SIDE if problem.is_dense and is_shared else 1
    run, found, points = problem.compile(_totals_of_several), [], iter(points)
    while group := list(itertools.islice(points, size)):
        if 1 < len(group) == size:
            stacked = [tf.stack(values) for values in zip(*(parameters for parameters, _ in group), strict=True)]
            found += zip(*problem.mean(run, parameters=stacked, state=group[0][1], copies=size), strict=True)
        else:
            found += [evaluate_at(problem, *point) for point in group]
    return np.array(found, np.float64)


def _totals_of_several(net):
    """The program of `totals` for several nets, whose parameters are stacked along a new first axis."""
    run = totals(net)

    def several(parameters, *arguments):
        return tf.vectorized_map(lambda own: run(own, *arguments), parameters)

    return several


def value_and_gradient(net):
    """The program of the total loss and its gradient as one vector, shape [parameters]."""

    def run(parameters, state, x, targets):
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            total = tf.reduce_sum(net.losses(parameters, state, x, targets))
        return total, flatten(tape.gradient(total, parameters, unconnected_gradients="zero"))

    return run


def objective(
    model, x, y=None, loss=None, **options: Unpack[Options]
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """The mean loss and its gradient as a function of the flat parameter vector, in the form that scipy minimises.

    Args:
        model: a built Keras model; it is not changed.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: as for `hw1.evaluation.per_example`.
        options: see `hw1.evaluation.Options`.

    Returns:
        A function from θ, shape [parameters], to (L(θ), ∇L(θ)). Both are computed in the model's dtype; the sums over
        chunks are float64.

    Raises:
        TypeError, ValueError: for a model or examples that do not fit, see `hw1.evaluation.Problem`.
    """
    return objective_of(Problem(model, x, y, loss, **options))


def objective_of(problem: Problem) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """As `objective`, for a problem that is already checked."""
    run, parts = problem.compile(value_and_gradient), list(problem.chunks())
    problem.trace(run, parts)

    def at(theta):
        tensors = unflatten(tf.constant(theta, problem.dtype), problem.parameters)
        value, gradient = 0.0, 0.0
        for part in parts:
            total, slope = run(tensors, problem.state, *part)
            value, gradient = value + float(total), gradient + slope.numpy().astype(np.float64)
        return value / problem.n, gradient / problem.n

    return at
