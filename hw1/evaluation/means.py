"""Means over all examples: loss, accuracy, and the gradient of the loss.

Each is the sum over chunks of examples, divided by the number of examples, so that it does not depend on the size of
the chunks beyond rounding.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from hw1.evaluation.examples import Example, check, chunks
from hw1.evaluation.functional import compiled, flatten, unflatten, variables


def totals(forward, loss):
    """The program of the total loss and the number of correct examples (−1 where accuracy is not defined)."""

    def run(parameters, state, x, y):
        outputs = forward(parameters, state, x)
        if y.dtype.is_integer and y.shape.rank == 1 and outputs.shape.rank == 2 and outputs.shape[1] > 1:
            correct = tf.reduce_sum(tf.cast(tf.argmax(outputs, axis=-1) == tf.cast(y, tf.int64), tf.int32))
        else:
            correct = tf.constant(-1)
        return tf.reduce_sum(loss(y, outputs)), correct

    return run


def evaluate(model, x, y, loss=None) -> tuple[float, float]:
    """Mean loss and accuracy over all examples, in inference mode.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: as for `hw1.evaluation.per_example`.

    Returns:
        (loss, accuracy). The accuracy is the share of examples whose largest output is that of the label; NaN unless y
        holds integer labels, shape [n], of two or more classes.

    Raises:
        TypeError, ValueError: for a model or examples that do not fit, see `hw1.evaluation.check`.
    """
    example = check(model, x, y, loss)
    return evaluate_at(*variables(model), model, example, loss)


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


def evaluate_at(parameters, state, model, example: Example, loss=None) -> tuple[float, float]:
    """As `evaluate`, for given values of the model's variables and examples that are already checked.

    Args:
        parameters: values of the trainable variables, a list of tensors as `hw1.evaluation.variables` gives it.
        state: values of the other variables, likewise.
        model: a built Keras model; its own values play no part.
        example: from `hw1.evaluation.check`.
        loss: as for `hw1.evaluation.per_example`.
    """
    run, n = compiled(totals, model, loss), len(example.x)
    sums = np.array([[float(v) for v in run(parameters, state, *part)] for part in chunks(example)])
    total_loss, correct = sums.sum(axis=0)
    return total_loss / n, correct / n if correct >= 0 else float("nan")


def value_and_gradient(forward, loss):
    """The program of the total loss and its gradient as one vector, shape [parameters]."""

    def run(parameters, state, x, y):
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            total = tf.reduce_sum(loss(y, forward(parameters, state, x)))
        return total, flatten(tape.gradient(total, parameters, unconnected_gradients="zero"))

    return run


def objective(model, x, y, loss=None) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """The mean loss and its gradient as a function of the flat parameter vector, in the form that scipy minimises.

    Args:
        model: a built Keras model; it is not changed.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: as for `hw1.evaluation.per_example`.

    Returns:
        A function from θ, shape [parameters], to (L(θ), ∇L(θ)). Both are computed in the model's dtype; the sums over
        chunks are float64.

    Raises:
        TypeError, ValueError: for a model or examples that do not fit, see `hw1.evaluation.check`.
    """
    example = check(model, x, y, loss)
    parameters, state = variables(model)
    run, parts = compiled(value_and_gradient, model, loss), list(chunks(example))

    def at(theta):
        tensors = unflatten(tf.constant(theta, parameters[0].dtype), parameters)
        value, gradient = 0.0, 0.0
        for x_part, y_part in parts:
            total, slope = run(tensors, state, x_part, y_part)
            value, gradient = value + float(total), gradient + slope.numpy().astype(np.float64)
        return value / len(example.x), gradient / len(example.x)

    return at
