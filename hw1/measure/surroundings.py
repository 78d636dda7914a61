"""The loss around a net, for the pictures: slices along directions, a plane, lines to other nets."""

from collections.abc import Iterator

import numpy as np

from hw1 import evaluation
from hw1.measure.rows import Row
from hw1.measure.work import is_binary
from hw1.measures import directions, interpolation, points

SLICE, PLANE, LINE = 41, 17, 41  # points of a slice, of a side of the plane, of a line
RANDOM = 3  # directions of the slices
_AT_ONCE = 8


def _along(work, start, steps, direction):
    """The mean loss at θ + start + step · direction, for each step; batch normalisation keeps its statistics."""
    losses = points.losses_at(evaluation.Problem(work.model, *work.first, work.loss), _AT_ONCE)
    found = [
        losses(work.theta + start + np.outer(steps[i : i + _AT_ONCE], direction))
        for i in range(0, len(steps), _AT_ONCE)
    ]
    return np.concatenate(found)


def eigenvector_slice(work) -> Iterator[Row]:
    """The loss along the top eigenvector, so far that the quadratic's curvature raises it by 1, and that quadratic.

    A loss that is no cross-entropy, such as a squared error, may have any unit: there the rise is the loss itself.
    """
    if work.top is None:
        raise ValueError("the top eigenvector is not known")
    vector, value = work.top
    if not value:
        raise ValueError("the largest eigenvalue is 0")
    loss, gradient = evaluation.objective(work.model, *work.first, work.loss)(work.theta)
    rise = abs(float(loss)) or 1.0 if work.loss is not None and not is_binary(work.loss) else 1.0
    steps = np.linspace(-1, 1, SLICE) * np.sqrt(2 * rise / abs(value))
    found = _along(work, 0.0, steps, vector)
    quadratic = found[SLICE // 2] + (gradient @ vector) * steps + value * steps**2 / 2
    work.pictures["eigenvector"] = {"steps": steps, "loss": found, "quadratic": quadratic}
    return iter(())


def _direction(work, number):
    """A random direction whose filters have the norms of the net's; ValueError if a layer's filters are not known."""
    try:
        return directions.filter_normalised(work.model, number)
    except ValueError as error:
        reason, *remedy = str(error).split(": say which axes")
        if not remedy:
            raise
        raise ValueError(
            f"{reason}; in Python hw1.measures.directions.filter_normalised(model, axes=…) is told, and "
            "hw1.measures.interpolation measures along what it gives"
        ) from error


def random_slices(work) -> Iterator[Row]:
    """The loss along random directions whose filters have the norms of the net's."""
    steps = np.linspace(-1, 1, SLICE)
    found = [_along(work, 0.0, steps, _direction(work, number + 1)) for number in range(RANDOM)]
    work.pictures["random"] = {"steps": steps, "loss": np.array(found)}
    return iter(())


def plane(work) -> Iterator[Row]:
    """The loss in the plane of two random directions whose filters have the norms of the net's."""
    first, second = (_direction(work, number) for number in (1, 2))
    steps = np.linspace(-1, 1, PLANE)
    found = np.stack([_along(work, step * second, steps, first) for step in steps])
    work.pictures["plane"] = {"steps": steps, "loss": found}
    return iter(())


def line(work, other) -> dict | None:
    """Loss on the straight line between two nets of one architecture, on the examples of the Hessian.

    Args:
        work: of the net at 0.
        other: that of the net at 1.

    Returns:
        "alphas", "loss", and the "barrier" of the loss above the worse end; None for nets of two architectures.
    """
    alphas = np.linspace(0, 1, LINE)
    try:
        found = interpolation.line(work.model, other.model, alphas, *work.first, work.loss)
    except ValueError:
        return None
    loss = np.asarray(found.loss)
    return {"alphas": alphas, "loss": loss, "barrier": float(loss.max() - max(loss[0], loss[-1]))}
