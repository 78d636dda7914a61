"""The loss on lines and planes in parameter space.

Lines: θ_α = (1 − α) θ_a + α θ_b (Goodfellow et al., arXiv 1412.6544). Planes: θ + u d₁ + v d₂, through three points or
in random directions whose filters have the norms of the net's own filters (Li et al., arXiv 1712.09913). A point of
either costs a forward pass over the examples, and one more over the training set for the statistics of batch
normalisation, if the model has any.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Unpack

import numpy as np

from hw1 import evaluation
from hw1.evaluation import checks
from hw1.evaluation.statistics import statistics
from hw1.measures.directions import filter_normalised, through

__all__ = ["Line", "Plane", "filter_normalised", "line", "plane", "rows", "through"]


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
    problems = {part: _between_models(model_a, model_b, *examples) for part, examples in sets.items()}
    for alpha, parameters, state in _points(problems["train"], model_b, alphas, problems["train"]):
        row = {"alpha": alpha}
        for part, problem in problems.items():
            values = evaluation.evaluate_at(problem, parameters, state)
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


def line(
    model_a,
    model_b,
    alphas: Sequence[float],
    x,
    y=None,
    loss=None,
    statistics_x=None,
    **options: Unpack[evaluation.Options],
) -> Line:
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
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        statistics_x: inputs for the statistics of batch normalisation, usually the training set; None for x.
        options: see `hw1.evaluation.Options`.

    Returns:
        A `Line`; neither model is changed.

    Raises:
        TypeError, ValueError: if the models differ in architecture or the input does not fit.
    """
    problem = _between_models(model_a, model_b, x, y, loss, **options)
    points = _points(problem, model_b, alphas, _averaged_over(problem, statistics_x, options.get("chunk_size")))
    results = [evaluation.evaluate_at(problem, *point) for _, *point in points]
    return Line(*np.array(results).T)


def _between_models(model_a, model_b, x, y, loss=None, **options) -> evaluation.Problem:
    """The problem of model_a on the examples; ValueError unless model_b is of the same architecture."""
    problem = evaluation.Problem(model_a, x, y, loss, **options)
    other = evaluation.Problem(model_b, x, y, loss, **options)
    _check_same_architecture(problem, other)
    return problem


def _averaged_over(problem, x, chunk_size=None) -> evaluation.Problem:
    """The problem over whose inputs statistics are taken: these inputs, or those of the problem."""
    if x is None:
        return problem
    return evaluation.Problem(problem.model, x, loss=problem.loss, chunk_size=chunk_size, targets=False)


def _points(problem, model_b, alphas, averaged):
    """Yields every α with the parameters and the state there."""
    recompute = statistics(averaged)
    parameters_b, state_b = evaluation.variables(model_b)
    for alpha in _coordinates("alphas", alphas):
        parameters = [_between(a, b, alpha) for a, b in zip(problem.parameters, parameters_b, strict=True)]
        state = [_between(a, b, alpha) for a, b in zip(problem.state, state_b, strict=True)]
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


def plane(
    model,
    first,
    second,
    u: Sequence[float],
    v: Sequence[float],
    x,
    y=None,
    loss=None,
    statistics_x=None,
    **options: Unpack[evaluation.Options],
) -> Plane:
    """Loss and accuracy at θ + u d₁ + v d₂ for every u and v, in inference mode.

    Args:
        model: a built Keras model; its parameters are the origin θ.
        first: d₁, shape [parameters], in the order of ``model.trainable_variables``.
        second: d₂, likewise.
        u: finite numbers, the coordinates along d₁.
        v: finite numbers, the coordinates along d₂.
        x: inputs to evaluate on, shape [n, ...].
        y: targets, shape [n].
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        statistics_x: inputs for the statistics of batch normalisation as for `line`; the origin keeps its own.
        options: see `hw1.evaluation.Options`.

    Returns:
        A `Plane`; the model is not changed.

    Raises:
        TypeError, ValueError: if directions, coordinates or examples do not fit.
    """
    problem = evaluation.Problem(model, x, y, loss, **options)
    origin = evaluation.flatten(problem.parameters).numpy()
    first, second = (_direction(direction, len(origin)) for direction in (first, second))
    u, v = (_coordinates(name, values) for name, values in (("u", u), ("v", v)))
    recompute = statistics(_averaged_over(problem, statistics_x, options.get("chunk_size")))

    def at(step):
        moved = evaluation.unflatten((origin + step).astype(origin.dtype), problem.parameters)
        state = recompute(moved, problem.state) if recompute is not None and step.any() else None
        return evaluation.evaluate_at(problem, moved, state)

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


def _check_same_architecture(problem, other) -> None:
    """Raises ValueError unless variables have equal shapes, and one model with the other's variables is the other."""
    model = problem.model
    shapes = [[[tuple(v.shape) for v in part] for part in (each.parameters, each.state)] for each in (problem, other)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"the models differ in architecture: {model.name!r} has variables (trainable, others) of shapes "
            f"{shapes[0]}, {other.model.name!r} of {shapes[1]}; a line needs equal ones"
        )
    theirs = problem.all_outputs(other.parameters, other.state)
    for ours, own in zip(theirs, other.all_outputs(), strict=True):
        if not checks.same_outputs(ours, own):
            raise ValueError(
                f"the models differ in architecture: {model.name!r} with the weights of {other.model.name!r} computes "
                "another function than that (other activations?); a line needs equal ones"
            )
