"""The loss convolved with an isotropic Gaussian of standard deviation Λ in parameter space, by Monte Carlo.

Two functions f of the loss are convolved, and f is undone afterwards, so that both results are in units of the loss:

    f(x) = x             L_Λ(θ) = E L(θ + Λz),                         z ~ N(0, I)
    f(x) = exp(−x/kT)    L_Λ(θ) = −kT ln E exp(−L(θ + Λz) / kT)

The first is the mean loss nearby. To the second the low losses contribute most: it is a local free energy, which tends
to the first for large kT and to the least loss for small kT. Closed forms in one dimension:

    L = hθ²/2      first   hθ²/2 + hΛ²/2
                   second  (hθ²/2) / s + (kT/2) ln s,  s = 1 + hΛ²/kT
    L = cos θ      first   exp(−Λ²/2) cos θ

**Common random numbers.** The same z serve at every θ and every Λ, so the estimate is a smooth function of both, and
the error of a difference between two points is much smaller than that of either. They come in pairs z, −z, which makes
the estimate exact for linear losses; its standard error is that of the mean over pairs.

**When to trust the second.** With the weights w = exp(−L/kT) of the draws, (Σw)² / Σw² is the effective sample size.
Where it is small, a few draws decide: those of low loss that matter most are missed, so that the value is mostly too
large and its standard error too small. It falls fast with the number of dimensions and with Λ. Below about 100 the
result means little.
"""

from typing import NamedTuple, Unpack

import numpy as np

from hw1 import evaluation, models
from hw1.evaluation import checks
from hw1.measures import points as at_points

_HELD = 2**22  # parameters of all points that are held at once
_MOST = 2**28  # numbers of all random vectors: 2 GB
_STEP = 1e-4  # of the differences of gradients, relative to 1 + |θ|


class Smoothed(NamedTuple):
    """A smoothed loss at some points.

    Attributes:
        value: L_Λ, shape [points]; in nats for cross-entropy. A float if it is of one point.
        standard_error: of the sampling, likewise.
        effective: the effective sample size, likewise; for f(x) = x the number of draws.
    """

    value: np.ndarray | float
    standard_error: np.ndarray | float
    effective: np.ndarray | float


class Convolution:
    """A smoothed loss as a function of the parameters and of Λ, for one set of random numbers.

    Example:
        smooth = Convolution(model, x, y, draws=200)
        smooth(points, width=0.1).value
        smooth.value_and_gradient(points[0], width=0.1)
    """

    def __init__(
        self,
        model,
        x,
        y=None,
        temperature: float | None = None,
        directions=None,
        draws: int = 1000,
        loss=None,
        seed: int = 0,
        **options: Unpack[evaluation.Options],
    ):
        """Checks everything and draws the random numbers.

        Args:
            model: a built Keras model; float64 for differences of nearby points.
            x: inputs, shape [n, ...].
            y: targets, shape [n].
            temperature: kT, in units of the loss. None: f(x) = x.
            directions: A, shape [parameters, d], to convolve within a section only, with θ + ΛAz; orthonormal columns
                keep Λ a length. None: the whole space.
            draws: number of random vectors, even.
            loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
            seed: of the random vectors.
            options: see `hw1.evaluation.Options`.

        Raises:
            TypeError, ValueError: for a model, examples or options that do not fit.
        """
        self.draws = checks.whole("draws", draws, 4)
        if draws % 2:
            raise ValueError(f"draws must be even, as random vectors come in pairs z, −z, not {draws}")
        self.temperature = None if temperature is None else checks.positive("temperature", temperature)
        self.problem = evaluation.Problem(model, x, y, loss, **options)
        self.parameters = models.flat_parameters(model).astype(np.float64)
        size = len(self.parameters)
        matrix = None if directions is None else np.asarray(directions, np.float64)
        if matrix is not None and not (matrix.ndim == 2 and len(matrix) == size and np.isfinite(matrix).all()):
            raise ValueError(f"directions must be finite, of shape [{size}, d], not {list(matrix.shape)}")
        if draws * size > _MOST:
            most = _MOST // size
            raise ValueError(f"{draws} draws of {size} parameters take more than 2 GB: give at most {most} draws")
        half = checks.generator(seed).standard_normal((draws // 2, size if matrix is None else matrix.shape[1]))
        half = half if matrix is None else half @ matrix.T
        self.offsets = np.concatenate([half, -half])
        self._losses = at_points.losses_at(self.problem, max(draws, _HELD // size))
        self._gradients = at_points.gradients_at(self.problem, draws)

    def __call__(self, points, width: float) -> Smoothed:
        """The smoothed loss.

        Args:
            points: parameters, shape [points, parameters].
            width: Λ, at least 0.

        Returns:
            A `Smoothed` of arrays.

        Raises:
            ValueError: for points or a width that do not fit, and if a loss is not finite.
        """
        points, width = self._points(points), _width(width)
        if width == 0:
            values = _finite(self._losses(points))
            return Smoothed(values, np.zeros(len(values)), np.full(len(values), float(self.draws)))
        at_once, found = max(1, _HELD // self.offsets.size), []
        for start in range(0, len(points), at_once):
            moved = points[start : start + at_once, None] + width * self.offsets
            losses = self._losses(moved.reshape(-1, moved.shape[-1])).reshape(moved.shape[:2])
            found.append(self._average(_finite(losses)))
        return Smoothed(*np.concatenate(found, axis=1))

    def value_and_gradient(self, point, width: float) -> tuple[float, np.ndarray, float]:
        """The smoothed loss of these random numbers at one point, its exact gradient, and the effective sample size.

        Args:
            point: parameters, shape [parameters].
            width: Λ, at least 0.

        Returns:
            Value, gradient of shape [parameters], and effective sample size.
        """
        (point,), width = self._points(np.asarray(point)[None]), _width(width)
        losses, slopes = self._gradients(point + width * (self.offsets if width else self.offsets[:1]))
        losses = np.broadcast_to(_finite(losses), self.draws)
        value, _, effective = self._average(losses[None])[:, 0]
        weights = self._weights(losses[None])[0]
        return float(value), slopes[0] if not width else weights @ slopes / weights.sum(), float(effective)

    def gradients(self, points) -> np.ndarray:
        """The gradients of the loss itself, not smoothed, at some points; both have the shape [points, parameters]."""
        return self._gradients(self._points(points))[1]

    def hessian(self, point, width: float) -> np.ndarray:
        """The Hessian of the smoothed loss at one point, by central differences of its gradient.

        Args:
            point: parameters, shape [parameters].
            width: Λ, at least 0.

        Returns:
            Shape [parameters, parameters], symmetric.
        """
        point, rows = np.asarray(point, np.float64), []
        for unit, step in zip(np.eye(len(point)), _STEP * (1 + np.abs(point)), strict=True):
            ahead, behind = (self.value_and_gradient(point + sign * step * unit, width)[1] for sign in (1, -1))
            rows.append((ahead - behind) / (2 * step))
        return (np.array(rows) + np.array(rows).T) / 2

    def _points(self, points) -> np.ndarray:
        points, size = np.asarray(points, np.float64), len(self.parameters)
        if points.ndim != 2 or points.shape[1] != size or not len(points) or not np.isfinite(points).all():
            raise ValueError(f"points must be finite, of shape [points, {size}], not {list(points.shape)}")
        return points

    def _weights(self, losses) -> np.ndarray:
        """What each draw counts, up to a factor; shape [points, draws]."""
        if self.temperature is None:
            return np.ones_like(losses)
        return np.exp((losses.min(axis=1, keepdims=True) - losses) / self.temperature)

    def _average(self, losses) -> np.ndarray:
        """Value, standard error and effective sample size of losses of shape [points, draws]; shape [3, points]."""
        weights = self._weights(losses)
        effective = weights.sum(axis=1) ** 2 / (weights**2).sum(axis=1)
        pairs = (losses if self.temperature is None else weights).reshape(len(losses), 2, -1).mean(axis=1)
        mean, error = pairs.mean(axis=1), pairs.std(axis=1, ddof=1) / np.sqrt(pairs.shape[1])
        if self.temperature is None:
            return np.stack([mean, error, effective])
        value = losses.min(axis=1) - self.temperature * np.log(mean)
        return np.stack([value, self.temperature * error / mean, effective])


def convolve(
    model,
    x,
    y=None,
    width: float = 0.1,
    temperature: float | None = None,
    points=None,
    directions=None,
    draws: int = 1000,
    loss=None,
    seed: int = 0,
    **options: Unpack[evaluation.Options],
) -> Smoothed:
    """The loss convolved with a Gaussian in parameter space, at the model's parameters or at other points.

    Args:
        model: a built Keras model; it is not changed.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        width: Λ, the standard deviation in each direction, at least 0. The typical distance of a draw is Λ√d.
        temperature: kT of f(x) = exp(−x/kT), in units of the loss. None: f(x) = x.
        points: parameters, shape [points, parameters]. None: those of the model, as one point.
        directions: see `Convolution`.
        draws: number of random vectors, even. A draw costs a forward pass.
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        seed: of the random vectors; the same ones serve at all points and, in other calls, at all widths.
        options: see `hw1.evaluation.Options`.

    Returns:
        A `Smoothed`, of floats where points is None.

    Raises:
        TypeError, ValueError: for a model, examples or options that do not fit, and if a loss is not finite.
    """
    smooth = Convolution(model, x, y, temperature, directions, draws, loss, seed, **options)
    found = smooth(smooth.parameters[None] if points is None else points, width)
    return Smoothed(*(float(part[0]) for part in found)) if points is None else found


def _width(width) -> float:
    return 0.0 if width == 0 else checks.positive("width", width)


def _finite(losses) -> np.ndarray:
    if not np.isfinite(losses).all():
        raise ValueError("the loss is not finite at some of the points: their parameters are too large")
    return losses
