"""The loss on lines and planes in parameter space.

Lines: θ_α = (1 − α) θ_a + α θ_b (Goodfellow et al., arXiv 1412.6544). Planes: θ + u d₁ + v d₂, through three points or
in random directions whose filters have the norms of the net's own filters (Li et al., arXiv 1712.09913). A point of
either costs a forward pass over the examples, and one more over the training set for the statistics of batch
normalisation, if the model has any.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import keras
import numpy as np

from hw1 import evaluation
from hw1.measures.directions import filter_normalised, through  # noqa: F401 - they belong to the names given here


def rows(model_a, model_b, alphas: Sequence[float], data) -> Iterator[dict[str, float]]:
    """Measures loss and accuracy on both sets along a line, as `line` does, one α at a time.

    Args:
        model_a: a built Keras model, α = 0.
        model_b: another of the same architecture, α = 1.
        alphas: finite numbers.
        data: as `hw1.datasets.load` gives it; statistics of batch normalisation are those of its training set.

    Yields:
        For each α a dict: alpha, train_loss, train_accuracy, test_loss, test_accuracy.

    Raises:
        TypeError, ValueError: as `line`.
    """
    sets = {"train": (data.x_train, data.y_train), "test": (data.x_test, data.y_test)}
    examples = {part: _check_ends(model_a, model_b, *examples) for part, examples in sets.items()}
    for alpha, parameters, state in _points(model_a, model_b, alphas, data.x_train):
        row = {"alpha": alpha}
        for part, example in examples.items():
            values = evaluation.evaluate_at(parameters, state, model_a, example)
            row[f"{part}_loss"], row[f"{part}_accuracy"] = values
        yield row


class Line(NamedTuple):
    """Loss and accuracy along a line.

    Attributes:
        loss: mean loss at each α, shape [alphas]; in nats for cross-entropy.
        accuracy: share of correct examples at each α, shape [alphas]; NaN where it is not defined.
    """

    loss: np.ndarray
    accuracy: np.ndarray


def line(model_a, model_b, alphas: Sequence[float], x, y, loss=None, statistics_x=None) -> Line:
    """Loss and accuracy at (1 − α) θ_a + α θ_b for every α, in inference mode.

    Batch normalisation: interpolated statistics would not be those of the interpolated net. In a model with
    BatchNormalization layers they are therefore recomputed at every α, as the exact means and variances over
    `statistics_x`. At α = 0 and α = 1 the nets keep their own, so that both ends are exactly the trained nets.
    (A frozen BatchNormalization layer is a fixed affine map in training too, and keeps its stored statistics.)
    Other variables that are not trained are interpolated if they are floating point, and else those of model_a.

    Args:
        model_a: a built Keras model, α = 0.
        model_b: another of the same architecture, α = 1.
        alphas: finite numbers; outside [0, 1] the line is continued.
        x: inputs to evaluate on, shape [n, ...].
        y: targets, shape [n].
        loss: None for softmax cross-entropy of logits, else a function (y, outputs) -> [n].
        statistics_x: inputs for the statistics of batch normalisation, usually the training set; None for x.

    Returns:
        A `Line`; neither model is changed.

    Raises:
        TypeError, ValueError: if the models differ in architecture or the input does not fit.
    """
    example = _check_ends(model_a, model_b, x, y, loss)
    if statistics_x is not None:
        evaluation.check(model_a, statistics_x, loss=loss)
    points = _points(model_a, model_b, alphas, x if statistics_x is None else statistics_x)
    results = [evaluation.evaluate_at(*point, model_a, example, loss) for _, *point in points]
    return Line(*np.array(results).T)


def _check_ends(model_a, model_b, x, y, loss=None) -> evaluation.Example:
    """The checked examples of a line between two models, which must be of one architecture."""
    example = evaluation.check(model_a, x, y, loss)
    evaluation.check(model_b, x, y, loss)
    _check_same_architecture(model_a, model_b, example.x[:32])
    return example


def _points(model_a, model_b, alphas, statistics_x):
    """Yields every α with the parameters and the state there."""
    recompute = statistics(model_a, statistics_x)
    (parameters_a, state_a), (parameters_b, state_b) = evaluation.variables(model_a), evaluation.variables(model_b)
    for alpha in _coordinates("alphas", alphas):
        parameters = [_between(a, b, alpha) for a, b in zip(parameters_a, parameters_b, strict=True)]
        state = [_between(a, b, alpha) for a, b in zip(state_a, state_b, strict=True)]
        if recompute is not None and alpha not in (0, 1):
            state = recompute(parameters, state)
        yield alpha, parameters, state


class Plane(NamedTuple):
    """Loss and accuracy on a grid.

    Attributes:
        loss: mean loss, shape [len(v), len(u)]; in nats for cross-entropy.
        accuracy: share of correct examples, shape [len(v), len(u)]; NaN where it is not defined.
    """

    loss: np.ndarray
    accuracy: np.ndarray


def plane(model, first, second, u: Sequence[float], v: Sequence[float], x, y, loss=None, statistics_x=None) -> Plane:
    """Loss and accuracy at θ + u d₁ + v d₂ for every u and v, in inference mode.

    Args:
        model: a built Keras model; its parameters are the origin θ.
        first: d₁, shape [parameters], in the order of ``model.trainable_variables``.
        second: d₂, likewise.
        u: finite numbers, the coordinates along d₁.
        v: finite numbers, the coordinates along d₂.
        x: inputs to evaluate on, shape [n, ...].
        y: targets, shape [n].
        loss: None for softmax cross-entropy of logits, else a function (y, outputs) -> [n].
        statistics_x: inputs for the statistics of batch normalisation as for `line`; the origin keeps its own.

    Returns:
        A `Plane`; the model is not changed.

    Raises:
        TypeError, ValueError: if directions, coordinates or examples do not fit.
    """
    example = evaluation.check(model, x, y, loss)
    if statistics_x is not None:
        evaluation.check(model, statistics_x, loss=loss)
    parameters, state = evaluation.variables(model)
    origin = evaluation.flatten(parameters).numpy()
    first, second = (_direction(direction, len(origin)) for direction in (first, second))
    u, v = (_coordinates(name, values) for name, values in (("u", u), ("v", v)))
    recompute = statistics(model, x if statistics_x is None else statistics_x)

    def at(step):
        moved = evaluation.unflatten((origin + step).astype(origin.dtype), parameters)
        here = recompute(moved, state) if recompute is not None and step.any() else state
        return evaluation.evaluate_at(moved, here, model, example, loss)

    values = np.array([[at(i * first + j * second) for i in u] for j in v])
    return Plane(values[..., 0], values[..., 1])


def _direction(direction, size) -> np.ndarray:
    """A direction as float64; ValueError unless it is finite and of the right shape."""
    direction = np.asarray(direction, np.float64)
    if direction.shape != (size,) or not np.isfinite(direction).all():
        raise ValueError(f"a direction must be finite, of shape [{size}], not {list(direction.shape)}")
    return direction


def _coordinates(name, values) -> np.ndarray:
    """Coordinates as a float64 vector; ValueError unless they are finite."""
    values = np.atleast_1d(np.asarray(values, np.float64))
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"{name} must be one or more finite numbers")
    return values


def _between(a, b, alpha):
    """(1 − α) a + α b; exactly a and b at the ends, and a if it is not floating point."""
    if alpha == 1:
        return b
    if alpha == 0 or not a.dtype.is_floating:
        return a
    return (1 - alpha) * a + alpha * b


def _check_same_architecture(model_a, model_b, x) -> None:
    """Raises ValueError unless the variables have equal shapes, and model_a with model_b's variables is model_b."""
    shapes = [
        [[tuple(v.shape) for v in part] for part in (model.trainable_variables, model.non_trainable_variables)]
        for model in (model_a, model_b)
    ]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"the models differ in architecture: {model_a.name!r} has variables (trainable, others) of shapes "
            f"{shapes[0]}, {model_b.name!r} of {shapes[1]}; a line needs equal ones"
        )
    outputs = np.asarray(model_b(x, training=False))
    with_a = np.asarray(model_a.stateless_call(*evaluation.variables(model_b), x, training=False)[0])
    if not np.allclose(with_a, outputs, rtol=1e-3, atol=1e-3 * np.abs(outputs).max(), equal_nan=True):
        raise ValueError(
            f"the models differ in architecture: {model_a.name!r} with the weights of {model_b.name!r} computes "
            "another function than that (other activations?); a line needs equal ones"
        )


def statistics(model, x):
    """A function that recomputes the statistics of batch normalisation for given parameters.

    It runs a copy of the model in which these layers normalise with the mean and variance of the batch and, with
    momentum 0, store them. The batch is all of x, so they are exact. Dropout stays off.

    Args:
        model: a built Sequential or Functional Keras model.
        x: inputs, shape [n, ...]; all are taken in one call.

    Returns:
        None if `model` has no BatchNormalization layers; else a function (parameters, state) -> state on lists of
        tensors as `hw1.evaluation.variables` gives them.

    Raises:
        ValueError: if a subclassed model has BatchNormalization layers.
    """
    normalised = [layer for layer in evaluation.all_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    if not normalised:
        return None
    if any(layer not in getattr(model, "layers", []) for layer in normalised) or not hasattr(model, "inputs"):
        raise ValueError(
            f"model {model.name!r} hides its BatchNormalization layers; recomputing their statistics needs a "
            "Sequential or Functional model"
        )
    twin, x = evaluation.clone(model, _with_batch_statistics), np.asarray(x)

    def recompute(parameters, state):
        return twin.stateless_call(parameters, state, x, training=False)[1]

    return recompute


class _BatchStatistics(keras.layers.BatchNormalization):
    """Normalises with the statistics of the batch also in inference mode."""

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=True, mask=mask)


def _with_batch_statistics(layer):
    """A copy of `layer`; batch normalisation uses the statistics of the batch and stores them alone."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return _BatchStatistics.from_config(layer.get_config() | {"momentum": 0.0})
    return layer.__class__.from_config(layer.get_config())
