"""What becomes of minima, curvature and barriers when the loss is smoothed, and does following it down help?

    python -m hw1.paths.smoothing
    python -m hw1.paths.smoothing --size=smoke    seconds

Nets 1-5-1 with tanh units (16 parameters, float64) learn sin(5πx)/(5πx). A seed draws the training points, x uniform on
(0, 1] and then scaled to (−5, 5], the starts and the random vectors z. The loss L, the mean squared error, is convolved
with a Gaussian of standard deviation Λ in parameter space (`hw1.measures.smoothing`), for two functions f of the loss:

    x             L_Λ(θ) = E L(θ + Λz)
    exp(−x/kT)    L_Λ(θ) = −kT ln E exp(−L(θ + Λz) / kT)

Solutions are where Adam ends from standard normal parameters on the loss itself. For each Λ a row has

    minima       points of a grid that are lower than their eight neighbours, in the plane through three solutions;
                 the loss is smoothed within the plane only there; the edge is left out
    curvature    largest eigenvalue of the Hessian of L_Λ at a solution, mean over two solutions
    barrier      largest L_Λ on the line between these two, less the larger end
    effective    the effective sample size of the draws, the least one along that line; of f(x) = x their number
    effective_plane    the same on the grid, its median

Table "tracking": Adam follows the minimum of L_Λ while Λ falls linearly to 0 over the first part of its steps (setting
--falling), from the first few starts of a seed. Where the effective sample size is at or below a setting, Λ is divided
by √2 for the rest of the run and no step is taken. "single" is plain descent from the same start with equally many
steps. A step of the track costs as many gradients as there are draws, so for one track there are as many plain descents
from random starts; "restarts" is the best of these. From where each of the three ends, plain descent takes as many
steps once more, so that what is compared is the minimum and not how far a search had come down to it. (Before that,
tracks with f(x) = x were behind single descents by a factor of 8 with the seeds 1000 to 1005, after it by 1.0.) All
losses are those of the training points.

Source: Pardalos, Shalloway & Xue, Optimization methods for computing global minima of nonconvex potential energy
functions, J. Global Optimization 4 (1994); Sagun's slides (f(x) = x and e^(−x/kT), the minimum tracked as Λ → 0).

Deviations: the source smooths energies of molecules, analytically; here the integrals are sampled, with common random
numbers.

kT and learning rate were chosen with the seeds 1000 and 1001. Of kT = 0.3 and 1, the larger has an effective sample
size above half of the draws up to larger Λ (in one seed nowhere and up to 0.1, in the other up to 0.4 with kT = 1).
With learning rates of 0.05 and 0.1 plain descents ended at median losses of 0.0014 and 0.0006 after 400 steps.
"""

import dataclasses
import functools
import itertools
import sys
from typing import NamedTuple

import keras
import numpy as np

from hw1 import command, datasets, models, question
from hw1.measures import directions
from hw1.measures.smoothing import Convolution

MEAN, ENERGY = "x", "exp(−x/kT)"
LOSS = keras.losses.mean_squared_error


@dataclasses.dataclass(frozen=True)
class Settings(question.Repeated):
    """Settings of the question; each field is a flag."""

    seeds: int = question.option(10, "independent repetitions (training points, starts and random vectors)")
    points: int = question.option(40, "training points, on (0, 1]", minimum=2)
    scale: float = question.option(5.0, "half the width to which inputs are scaled, from (0, 1] to (−scale, scale]")
    hidden: tuple[int, ...] = question.option((5,), "widths of the hidden layers", unique=False)
    widths: tuple[float, ...] = question.option(
        (0.0, 0.1, 0.2, 0.4, 0.8, 1.6), "standard deviations Λ of the Gaussian, ascending from 0", minimum=0
    )
    temperature: float = question.option(1.0, "temperature kT, in units of the loss")
    draws: int = question.option(400, "random vectors", minimum=4)
    effective: float = question.option(100.0, "effective sample size that exp(−x/kT) must exceed")
    grid: int = question.option(21, "points along each side of the plane", minimum=3)
    reach: float = question.option(0.5, "how far the plane reaches beyond the solutions, as a share of their distance")
    line: int = question.option(21, "points on the line between two solutions", minimum=3)
    steps: int = question.option(800, "steps of Adam", minimum=2)
    learning_rate: float = question.option(0.1, "initial learning rate of Adam, which falls to 0 along a cosine")
    falling: float = question.option(0.5, "share of the steps in which Λ falls to 0", maximum=1)
    tracked: float = question.option(1.6, "Λ at which the minimum begins to be tracked")
    tracks: int = question.option(4, "starts of a seed from which the minimum is tracked", at_most="draws")


SIZES = {
    "smoke": {
        "points": 10,
        "hidden": (2,),
        "widths": (0.0, 0.3, 1.0),
        "draws": 20,
        "effective": 10.0,
        "grid": 5,
        "line": 5,
        "steps": 10,
        "tracks": 1,
        "seeds": 2,
    },
    "report": {},
    "paper": {
        "widths": (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2),
        "draws": 2000,
        "grid": 61,
        "line": 61,
        "steps": 4000,
        "tracks": 10,
        "seeds": 20,
    },
}

COLUMNS = {
    "rows": ["f", "width", "seed", "minima", "curvature", "barrier", "effective", "effective_plane"],
    "tracking": ["f", "seed", "start", "track", "single", "restarts", "effective", "begun"],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per function of the loss."""
    if settings.widths[0] != 0 or list(settings.widths) != sorted(settings.widths) or len(settings.widths) < 2:
        raise ValueError(f"--widths={question.write(settings.widths)}: must be two values or more that ascend from 0")
    if settings.draws % 2:
        raise ValueError(f"--draws={settings.draws}: must be even, as random vectors come in pairs z, −z")
    if settings.effective >= settings.draws:
        raise ValueError(f"--effective={settings.effective:g}: must be below --draws={settings.draws}")
    sizes = [1, *settings.hidden, 1]
    parameters = sum((before + 1) * after for before, after in itertools.pairwise(sizes))
    if parameters >= 50:
        raise ValueError(
            f"--hidden={question.write(settings.hidden)}: makes {parameters} parameters; at 50 or more too few draws "
            "count (see --effective)"
        )
    return [{"f": f} for f in (MEAN, ENERGY)]


class Case(NamedTuple):
    """What belongs to a seed.

    Attributes:
        model: a net of the architecture.
        data: the training points, x and y.
        starts: standard normal parameters, shape [draws, parameters].
        ends: where plain descent ends from each, likewise.
        losses: the loss at each of these, shape [draws].
    """

    model: keras.Model
    data: tuple[np.ndarray, np.ndarray]
    starts: np.ndarray
    ends: np.ndarray
    losses: np.ndarray

    def smooth(self, settings, seed, f, **options) -> Convolution:
        """The convolution with a Gaussian for a function f, with the random vectors of the seed."""
        kt = settings.temperature if f == ENERGY else None
        return Convolution(self.model, *self.data, kt, draws=settings.draws, loss=LOSS, seed=1000 + seed, **options)


def run(settings: Settings, data, f: str):
    """Yields a row per seed and width, and the rows of the table "tracking"."""
    for seed in settings.all_seeds:
        case = solved(settings, seed)
        yield from _landscape(settings, case, seed, f)
        yield from _tracking(settings, case, seed, f)


@functools.lru_cache(maxsize=100)  # both functions of the loss have the same solutions
def solved(settings: Settings, seed: int) -> Case:
    """The training points, starts and solutions of a seed."""
    rng = np.random.default_rng([seed, 4])
    x = 1 - rng.random((settings.points, 1))
    points = settings.scale * (2 * x - 1), datasets.FUNCTIONS["sinc"](x)
    model = models.mlp(settings.hidden, "tanh", input_shape=(1,), classes=1, dtype="float64")
    starts = rng.standard_normal((settings.draws, model.count_params()))
    plain = Convolution(model, *points, draws=settings.draws, loss=LOSS)
    ends = descend(settings, starts, lambda thetas, step: plain.gradients(thetas))
    return Case(model, points, starts, ends, plain(ends, 0).value)


def descend(settings: Settings, starts: np.ndarray, slope) -> np.ndarray:
    """Minimises by Adam (Kingma & Ba, arXiv 1412.6980), whose learning rate falls to 0 along a cosine.

    Args:
        settings: gives steps and learning_rate.
        starts: parameters, of any shape; each row is a descent of its own.
        slope: (parameters, number of the step) -> gradient, or None to leave out the step.

    Returns:
        Where it ends, shaped as `starts`.
    """
    theta, first, second, taken = np.array(starts), np.zeros_like(starts), np.zeros_like(starts), 0
    for step in range(settings.steps):
        gradient = slope(theta, step)
        if gradient is None:
            continue
        taken += 1
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        rate = settings.learning_rate * (1 + np.cos(np.pi * step / settings.steps)) / 2
        theta = theta - rate * first / (1 - 0.9**taken) / (np.sqrt(second / (1 - 0.999**taken)) + 1e-7)
    return theta


def _landscape(settings, case, seed, f):
    """Yields a row per width."""
    one, other, third = case.ends[:3]
    smooth = case.smooth(settings, seed, f)
    places = np.linspace(0, 1, settings.line)[:, None]
    line = (1 - places) * one + places * other
    axes = directions.through(one, other, third)
    plane, within = grid(settings, case.ends[:3], axes), case.smooth(settings, seed, f, directions=np.array(axes).T)
    for width in settings.widths:
        between, across = smooth(line, width), within(plane, width)
        curvatures = [np.linalg.eigvalsh(smooth.hessian(theta, width))[-1] for theta in (one, other)]
        yield {
            "width": width,
            "seed": seed,
            "minima": minima(across.value.reshape(settings.grid, settings.grid)),
            "curvature": np.mean(curvatures),
            "barrier": between.value.max() - between.value[[0, -1]].max(),
            "effective": between.effective.min(),
            "effective_plane": np.median(across.effective),
        }


def grid(settings: Settings, solutions: np.ndarray, axes) -> np.ndarray:
    """The points of a grid in the plane through three solutions, shape [grid², parameters].

    It is the rectangle along the two axes that holds the three, and reaches beyond them on each side.
    """
    axes = np.array(axes)
    coordinates = (solutions - solutions[0]) @ axes.T
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    margin = settings.reach * (high - low)
    u, v = np.linspace(low - margin, high + margin, settings.grid).T
    return solutions[0] + (u[:, None, None] * axes[0] + v[:, None] * axes[1]).reshape(-1, axes.shape[1])


def minima(values: np.ndarray) -> int:
    """The number of inner points of a grid that are lower than all their eight neighbours.

    Args:
        values: shape [rows, columns].
    """
    inner = values[1:-1, 1:-1]
    rows, columns = values.shape
    around = [
        values[1 + i : rows - 1 + i, 1 + j : columns - 1 + j]
        for i in (-1, 0, 1)
        for j in (-1, 0, 1)
        if (i, j) != (0, 0)
    ]
    return int((inner < np.min(around, axis=0)).sum())


def _tracking(settings, case, seed, f):
    """Yields a row per start."""
    smooth = case.smooth(settings, seed, f)
    for start in range(settings.tracks):
        end, effective, begun = track(settings, smooth, case.starts[start])
        ends = np.stack([end, case.ends[start], case.ends[case.losses.argmin()]])
        found = descend(settings, ends, lambda thetas, step: smooth.gradients(thetas))
        losses = dict(zip(("track", "single", "restarts"), smooth(found, 0).value, strict=True))
        yield {"table": "tracking", "seed": seed, "start": start, **losses, "effective": effective, "begun": begun}


def track(settings: Settings, smooth: Convolution, start: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Follows the minimum of the smoothed loss while Λ falls to 0.

    Args:
        settings: gives tracked, falling, effective, steps and learning_rate.
        smooth: the smoothed loss.
        start: parameters, shape [parameters].

    Returns:
        Where it ends; the least effective sample size of the steps that were taken; their largest Λ.
    """
    cap, sizes, used = settings.tracked, [], []

    def slope(theta, step):
        nonlocal cap
        width = min(cap, settings.tracked * max(0.0, 1 - step / (settings.falling * settings.steps)))
        _, gradient, effective = smooth.value_and_gradient(theta, width)
        if effective <= settings.effective:
            cap = width / np.sqrt(2)
            return None
        sizes.append(effective)
        used.append(width)
        return gradient

    return descend(settings, start, slope), min(sizes, default=0.0), max(used, default=0.0)


if __name__ == "__main__":
    command.main(sys.modules[__name__])
