"""The loss on lines, paths and planes in parameter space.

Lines: θ_α = (1 − α) θ_a + α θ_b (Goodfellow et al., arXiv 1412.6544). Paths: those of `hw1.measures.paths`, with the
barrier on them. Planes: θ + u d₁ + v d₂, through three points or in random directions whose filters have the norms of
the net's own filters (Li et al., arXiv 1712.09913). A point of any of them costs a forward pass over the examples, and
one more over the training set for the statistics of batch normalisation, if the model has any.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Unpack

import numpy as np
from tqdm import tqdm

from hw1 import evaluation
from hw1.evaluation import checks
from hw1.evaluation.statistics import statistics
from hw1.measures.curves import Path
from hw1.measures.directions import filter_normalised, through

__all__ = ["Barrier", "Line", "Plane", "barrier", "filter_normalised", "line", "plane", "rows", "through"]


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
    problems = {part: between_models(model_a, model_b, *examples) for part, examples in sets.items()}
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
    problem = between_models(model_a, model_b, x, y, loss, **options)
    points = _points(problem, model_b, alphas, averaged_over(problem, statistics_x, options.get("chunk_size")))
    return Line(*evaluation.evaluate_all(problem, (point for _, *point in points)).T)


class Barrier(NamedTuple):
    """The barrier on a path between two nets, and loss and accuracy along it.

    Attributes:
        loss_barrier: largest loss on the path less that of the worse end; in nats for cross-entropy, never negative.
        error_barrier: the same of the error, 1 − accuracy, as a share of the examples (0.005 is half a point); NaN
            where accuracy is not defined.
        arc_length: of each point from model_a, in units of the parameters, shape [points].
        loss: mean loss at each point, shape [points].
        accuracy: share of correct examples at each point, shape [points]; NaN where it is not defined.
    """

    loss_barrier: float
    error_barrier: float
    arc_length: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray


def barrier(
    model_a,
    model_b,
    x,
    y=None,
    loss=None,
    path: Path | None = None,
    per_segment: int = 20,
    statistics_x=None,
    progress: str | None = None,
    **options: Unpack[evaluation.Options],
) -> Barrier:
    """How far loss and error rise on a path between two nets above the worse of its ends, in inference mode.

    With L the loss, γ(s) the path and the worse end the one with the larger loss,

        barrier = max_s L(γ(s)) − max(L(θ_a), L(θ_b)),

    and likewise for the error, whose worse end may be the other one. The maximum is taken over the ends of all segments
    and points between them. This matters: a search presses the loss down at the pivots, so that the pivots alone hide
    a barrier between them, and a mean along the path hides it too. Points are finitely many, so the value is a lower
    bound of the barrier on this path. The barrier on any one path is an upper bound of the lowest one of all paths.

    Batch normalisation: statistics are recomputed at every point, as for `line`, and here at both ends too. Stored
    averages lag behind the weights. Were they used at the ends only, a rise of the loss that comes from the lag would
    be taken off the barrier.

    Args:
        model_a: a built Keras model, where the path begins.
        model_b: another of the same architecture, where it ends.
        x: inputs to evaluate on, shape [n, ...].
        y: targets, shape [n].
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        path: between the two, from `hw1.measures.paths`; None for the straight line.
        per_segment: parts of each segment, at least 10. (The straight line is one segment. A Bézier curve of m + 1
            points counts as m.)
        statistics_x: inputs for the statistics of batch normalisation, usually the training set; None for x.
        progress: label of a progress bar; None for no bar.
        options: see `hw1.evaluation.Options`.

    Returns:
        A `Barrier`; neither model is changed.

    Raises:
        TypeError, ValueError: if the models differ in architecture, the path leads between other nets, or the input
            does not fit.
    """
    checks.whole("per_segment", per_segment, 10)
    problem = between_models(model_a, model_b, x, y, loss, **options)
    parameters_b, state_b = evaluation.variables(model_b)
    ends = np.stack([evaluation.flatten(each).numpy() for each in (problem.parameters, parameters_b)])
    path = Path(ends) if path is None else path
    if not isinstance(path, Path):
        raise TypeError(f"path must be a Path from hw1.measures.paths, not {type(path).__name__}")
    if path.points.shape[1:] != ends.shape[1:] or not np.array_equal(path.points[[0, -1]], ends):
        raise ValueError("the path leads between other nets: its ends must be the parameters of model_a and model_b")
    positions = path.positions(per_segment)
    averaged = averaged_over(problem, statistics_x, options.get("chunk_size"))
    bar = tqdm(positions, desc=progress, unit="point", disable=None if progress else True, leave=False)
    losses, accuracy = along(problem, state_b, path, bar, averaged).T
    rises = [values.max() - max(values[0], values[-1]) for values in (losses, 1 - accuracy)]
    return Barrier(*map(float, rises), positions * path.length, losses, accuracy)


def along(problem, state_b, path: Path, positions, averaged) -> np.ndarray:
    """Loss and accuracy at positions on a path, with the statistics of batch normalisation recomputed at each.

    Args:
        problem: of the model where the path begins, an `hw1.evaluation.Problem`.
        state_b: variables that are not trained of the model where it ends, a list of tensors.
        path: between the two.
        positions: shares of the path's length, from 0 to 1.
        averaged: the problem over whose inputs the statistics are taken, from `averaged_over`.

    Returns:
        Shape [positions, 2].
    """
    recompute = statistics(averaged)

    def points():
        for position in positions:
            parameters = evaluation.unflatten(path.at(position).astype(problem.dtype), problem.parameters)
            yield parameters, _state(problem, state_b, position, parameters, recompute)

    return evaluation.evaluate_all(problem, points())


def between_models(model_a, model_b, x, y, loss=None, **options) -> evaluation.Problem:
    """The problem of model_a on the examples; ValueError unless model_b is of the same architecture."""
    problem = evaluation.Problem(model_a, x, y, loss, **options)
    read = problem.examples  # once, as a data set may have another order when it is read again
    other = evaluation.Problem(model_b, read.x, read.y, loss, **options | {"sample_weight": read.weight})
    _check_same_architecture(problem, other)
    return problem


def averaged_over(problem, x, chunk_size=None) -> evaluation.Problem:
    """The problem over whose inputs statistics are taken: these inputs, or those of the problem."""
    if x is None:
        return problem
    return evaluation.Problem(problem.model, x, loss=problem.loss, chunk_size=chunk_size, targets=False)


def _points(problem, model_b, alphas, averaged):
    """Yields every α with the parameters and the state there; at 0 and 1 those of the nets."""
    recompute = statistics(averaged)
    parameters_b, state_b = evaluation.variables(model_b)
    for alpha in _coordinates("alphas", alphas):
        parameters = [_between(a, b, alpha) for a, b in zip(problem.parameters, parameters_b, strict=True)]
        yield alpha, parameters, _state(problem, state_b, alpha, parameters, None if alpha in (0, 1) else recompute)


def _state(problem, state_b, alpha, parameters, recompute):
    """The variables that are not trained: between those of the nets, but for statistics, which are recomputed."""
    state = [_between(a, b, alpha) for a, b in zip(problem.state, state_b, strict=True)]
    return state if recompute is None else recompute(parameters, state)


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
    recompute = statistics(averaged_over(problem, statistics_x, options.get("chunk_size")))

    def points():
        for step in (i * first + j * second for j in v for i in u):
            moved = evaluation.unflatten((origin + step).astype(origin.dtype), problem.parameters)
            yield moved, recompute(moved, problem.state) if recompute is not None and step.any() else None

    values = evaluation.evaluate_all(problem, points())
    return Plane(*np.moveaxis(values.reshape(len(v), len(u), 2), -1, 0))


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
            f"{shapes[0]}, {other.model.name!r} of {shapes[1]}; lines and paths need equal ones"
        )
    theirs = problem.all_outputs(other.parameters, other.state)
    for ours, own in zip(theirs, other.all_outputs(), strict=True):
        if not checks.same_outputs(ours, own):
            raise ValueError(
                f"the models differ in architecture: {model.name!r} with the weights of {other.model.name!r} computes "
                "another function than that (other activations?); lines and paths need equal ones"
            )
