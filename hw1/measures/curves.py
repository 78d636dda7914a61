"""Paths between two points, and searches for paths on which a function stays low: the string method, Bézier curves.

Nothing here knows of nets: a function is given by its values and slopes at several points. `hw1.measures.paths` gives
the loss of a net.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hw1.evaluation import checks

STANDS_UP = 0.1  # share of the range of losses on the path; our choice (see `string`)
_PER_SEGMENT = 10  # parts of a segment at whose ends the function is looked at between cycles, as in AutoNEB
_JITTER = 1e-3  # of the first path, as a share of the distance between the ends


@dataclasses.dataclass(frozen=True, eq=False)
class Path:
    """A path between two points: straight lines through pivots, or a Bézier curve.

    The Bézier curve of the points P₀ … P_m is B(t) = Σᵢ C(m, i) tⁱ (1 − t)^(m − i) Pᵢ for t in [0, 1]. It starts in P₀
    and ends in P_m; the others, its control points, pull it towards them.

    Attributes:
        points: pivots, or end points and control points; shape [points, parameters], at least two.
        bezier: whether they make a Bézier curve.
    """

    points: np.ndarray
    bezier: bool = False

    def __post_init__(self):
        """Checks the points."""
        shape = np.shape(self.points)
        if not (isinstance(self.points, np.ndarray) and len(shape) == 2 and shape[0] > 1):
            raise ValueError(f"points must be an array of shape [points, parameters], two points or more, not {shape}")

    @functools.cached_property
    def _arc(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of points (or values of t) and the length of the path up to there."""
        steps = np.diff(np.asarray(self.points, np.float64), axis=0)
        if not self.bezier:
            return np.arange(len(self.points)), np.append(0, np.cumsum(np.linalg.norm(steps, axis=1)))
        t = np.linspace(0, 1, 2001)
        weights = len(steps) * bernstein(len(steps) - 1, t)  # the derivative is Σ weights · steps
        speed = np.sqrt(np.maximum(np.einsum("ti,ij,tj->t", weights, steps @ steps.T, weights), 0))
        return t, np.append(0, np.cumsum((speed[1:] + speed[:-1]) / 2 * np.diff(t)))

    @property
    def length(self) -> float:
        """Of the path, in units of the parameters."""
        return float(self._arc[1][-1])

    def positions(self, per_segment: int = _PER_SEGMENT) -> np.ndarray:
        """Positions along the path that divide each segment into equal parts, the ends of segments among them.

        Args:
            per_segment: parts of a segment. Segments lie between pivots; a Bézier curve of m + 1 points counts as m of
                equal length.

        Returns:
            Shares of the length from 0 to 1, increasing, shape [segments · per_segment + 1].
        """
        segments = len(self.points) - 1
        numbers = np.arange(segments * per_segment + 1) / per_segment
        if self.bezier or not self.length:
            return numbers / segments
        return np.interp(numbers, self._arc[0], self._arc[1] / self.length)

    def at(self, position: float) -> np.ndarray:
        """The point at a position along the path.

        Args:
            position: share of the length, from 0 to 1.

        Returns:
            Shape [parameters], float64; at 0 and 1 the ends exactly.

        Raises:
            ValueError: if the position is not between 0 and 1.
        """
        if not 0 <= position <= 1:
            raise ValueError(f"a position on a path is from 0 to 1, not {position!r}")
        points, (places, arc) = self.points, self._arc
        if position in (0, 1):
            return points[-int(position)].astype(np.float64)
        place = np.interp(position * arc[-1], arc, places)
        if self.bezier:
            return bernstein(len(points) - 1, np.array([place]))[0] @ points.astype(np.float64)
        number = min(int(place), len(points) - 2)
        share = place - number
        return (1 - share) * points[number].astype(np.float64) + share * points[number + 1].astype(np.float64)


def bernstein(degree: int, t) -> np.ndarray:
    """The Bernstein polynomials C(m, i) tⁱ (1 − t)^(m − i), shape [len(t), degree + 1]."""
    t, i = np.asarray(t, np.float64)[:, None], np.arange(degree + 1)
    return np.array([math.comb(degree, k) for k in i]) * t**i * (1 - t) ** (degree - i)


class Objective(NamedTuple):
    """A function to go around the heights of.

    Attributes:
        slopes: (points, places, number) -> the gradient at each point, a tensor of the shape of the points, [k,
            parameters]. The places, shape [k], say how far along the path the points are, from 0 to 1; the number is
            that of the step, by which mini-batches may be chosen.
        values: (path, positions) -> the values there, an array of shape [positions].
    """

    slopes: Callable
    values: Callable

    @classmethod
    def of(cls, function) -> "Objective":
        """The objective of a function of TensorFlow from points, shape [k, parameters], to values, shape [k]."""

        @tf.function(reduce_retracing=True)
        def slopes(points):
            with tf.GradientTape() as tape:
                tape.watch(points)
                total = tf.reduce_sum(function(points))
            return tape.gradient(total, points)

        def values(path, positions):
            points = np.stack([path.at(position) for position in positions]).astype(path.points.dtype)
            return np.asarray(function(tf.constant(points)), np.float64)

        return cls(lambda points, places, number: slopes(points), values)


def string(objective, start, end, pivots, steps, cycles, learning_rate, seed, progress=None) -> Path:
    """A path of low values by the string method; see `hw1.measures.paths.string`.

    Args:
        objective: an `Objective`.
        start: where it begins, shape [parameters]; its dtype is that of the search.
        end: where it ends, likewise.
        pivots: number between the ends at first.
        steps: of each cycle.
        cycles: between which pivots are inserted.
        learning_rate: of Adam in the first step of a cycle.
        seed: of the first path's distance from the straight line.
        progress: label of a progress bar; None for no bar.

    Returns:
        A `Path` of pivots. Its largest value at 10 points a segment is at most that of the straight line.

    Raises:
        ValueError: if the search diverges.
    """
    places = np.linspace(0, 1, pivots + 2)
    best = Path(np.stack([start, end]))
    lowest = objective.values(best, np.linspace(0, 1, _PER_SEGMENT * (pivots + 1) + 1)).max()  # as finely as the others
    points = _first(start, end, places, seed)
    with _bar(cycles * steps, progress) as bar:
        for cycle in range(cycles):
            kept = tf.constant(places, points.dtype)
            first = second = tf.zeros_like(points[1:-1])
            for number in range(steps):
                slopes = objective.slopes(points[1:-1], kept[1:-1], cycle * steps + number)
                rate = _rate(learning_rate, number, steps, points.dtype)
                points, first, second = _move_string(points, kept, slopes, first, second, *rate)
                bar.update()
            path = Path(points.numpy())
            positions = path.positions()
            values = _finite(objective.values(path, positions))
            if not values.max() >= lowest:  # which is not a number if the line's values are none
                best, lowest = path, values.max()
            if cycle < cycles - 1:
                places, points = _inserted(places, path, positions, values)
    return best


def _first(start, end, places, seed) -> tf.Tensor:
    """The straight line with pivots a little beside it, so that none stays on a ridge that the line runs along."""
    start, end, dtype = start.astype(np.float64), end.astype(np.float64), start.dtype
    points = start + places[:, None] * (end - start)
    size = _JITTER * np.linalg.norm(end - start) / np.sqrt(len(start))
    points[1:-1] += size * checks.generator(seed).standard_normal(points[1:-1].shape)
    points[-1] = end  # which rounding may have missed
    return tf.constant(points.astype(dtype))


def _inserted(places, path, positions, values):
    """Places and points with a new pivot where the path stands up highest within a segment, in each that does."""
    points, values = path.points, values.reshape(-1)
    inner = np.stack([values[i : len(values) - _PER_SEGMENT + i : _PER_SEGMENT] for i in range(_PER_SEGMENT)], axis=1)
    ends = np.stack([values[:-1:_PER_SEGMENT], values[_PER_SEGMENT::_PER_SEGMENT]], axis=1)
    share = np.arange(_PER_SEGMENT) / _PER_SEGMENT
    excess = inner - (ends[:, :1] * (1 - share) + ends[:, 1:] * share)
    high = np.flatnonzero(excess.max(axis=1) > STANDS_UP * np.ptp(values))
    share = share[excess[high].argmax(axis=1)]
    added = [path.at(positions[_PER_SEGMENT * i + round(_PER_SEGMENT * s)]) for i, s in zip(high, share, strict=True)]
    if added:
        points = np.insert(points, high + 1, np.array(added, points.dtype), axis=0)
        places = np.insert(places, high + 1, places[high] * (1 - share) + places[high + 1] * share)
    return places, tf.constant(points)


@tf.function(reduce_retracing=True)
def _move_string(points, places, slopes, first, second, rate, number):
    """A step of Adam across the path for all pivots, after which they slide along it back to their places."""
    forward = tf.math.l2_normalize(points[2:] - points[1:-1], axis=1)
    tangents = tf.math.l2_normalize(forward + tf.math.l2_normalize(points[1:-1] - points[:-2], axis=1), axis=1)

    def across(vectors):
        return vectors - tf.reduce_sum(vectors * tangents, axis=1, keepdims=True) * tangents

    step, first, second = _adam(across(slopes), first, second, rate, number)
    moved = tf.concat([points[:1], points[1:-1] - across(step), points[-1:]], axis=0)
    return _spread(moved, places), first, second


def _spread(points, places):
    """The points at given shares of the length of the straight lines through `points`; the ends stay."""
    lengths = tf.norm(points[1:] - points[:-1], axis=1)
    arc = tf.concat([tf.zeros_like(lengths[:1]), tf.cumsum(lengths)], axis=0)
    wanted = places[1:-1] * arc[-1]
    number = tf.clip_by_value(tf.searchsorted(arc, wanted, side="right") - 1, 0, tf.shape(points)[0] - 2)
    share = tf.math.divide_no_nan(wanted - tf.gather(arc, number), tf.gather(lengths, number))[:, None]
    inner = (1 - share) * tf.gather(points, number) + share * tf.gather(points, number + 1)
    return tf.concat([points[:1], inner, points[-1:]], axis=0)


def bezier(objective, start, end, controls, steps, samples, learning_rate, seed, progress=None) -> Path:
    """A path of low mean value among the Bézier curves; see `hw1.measures.paths.bezier`.

    Args:
        objective: an `Objective`.
        start: where it begins, shape [parameters]; its dtype is that of the search.
        end: where it ends, likewise.
        controls: number of control points.
        steps: of Adam.
        samples: points of the curve at which each step takes the gradient.
        learning_rate: of Adam in the first step.
        seed: of the points of the curve, and of the first curve's distance from the straight line.
        progress: label of a progress bar; None for no bar.

    Returns:
        A `Path` of `controls` + 2 points.

    Raises:
        ValueError: if the search diverges.
    """
    points = _first(start, end, np.linspace(0, 1, controls + 2), seed)
    rng, first = checks.generator(seed), tf.zeros_like(points[1:-1])
    second = first
    with _bar(steps, progress) as bar:
        for number in range(steps):
            t = (np.arange(samples) + rng.random(samples)) / samples
            weights = tf.constant(bernstein(controls + 1, t), points.dtype)
            slopes = objective.slopes(weights @ points, tf.constant(t, points.dtype), number)
            rate = _rate(learning_rate, number, steps, points.dtype)
            points, first, second = _move_controls(points, weights, slopes, first, second, *rate)
            bar.update()
    path = Path(points.numpy(), bezier=True)
    _finite(path.points)
    return path


@tf.function(reduce_retracing=True)
def _move_controls(points, weights, slopes, first, second, rate, number):
    """A step of Adam for the control points, by the chain rule: ∂B(t)/∂Pᵢ is the Bernstein polynomial at t."""
    gradient = tf.matmul(weights[:, 1:-1], slopes, transpose_a=True) / tf.cast(tf.shape(weights)[0], points.dtype)
    step, first, second = _adam(gradient, first, second, rate, number)
    return tf.concat([points[:1], points[1:-1] - step, points[-1:]], axis=0), first, second


def _adam(gradient, first, second, rate, number):
    """The step of Adam (arXiv 1412.6980) with its usual constants, and its moments."""
    first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
    scale = tf.sqrt(second / (1 - 0.999**number)) + 1e-8
    return rate * first / (1 - 0.9**number) / scale, first, second


def _rate(most, number, steps, dtype) -> tuple[tf.Tensor, tf.Tensor]:
    """The learning rate of a step, which falls to 0 as a cosine, and the step's number from 1, as tensors."""
    rate = most * (1 + math.cos(math.pi * number / steps)) / 2
    return tf.constant(rate, dtype), tf.constant(number + 1, dtype)


def _finite(values):
    if not np.isfinite(values).all():
        raise ValueError("the search for a path diverged: give a smaller learning_rate")
    return values


def _bar(steps, progress) -> tqdm:
    return tqdm(total=steps, desc=progress, unit="step", disable=None if progress else True, leave=False)
