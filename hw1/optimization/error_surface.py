"""What does the loss look like around a training trajectory and along it?

    python -m hw1.optimization.error_surface
    python -m hw1.optimization.error_surface --size=smoke    seconds

A net with fewer than 50 parameters learns sin(5πx) / (5πx), first by Adam and then by the second-order method of
Levenberg and Marquardt. An *event* is a recorded vector of all parameters. Four views are computed:

    t-SNE          all events of all trainings, with sampled neighbours of each, embedded together in two dimensions
    perturbation   the loss while one parameter at a time is moved away from the final point
    start to end   the plane through the initial point, the final point and the event farthest from their line
    random plane   the plane through the final point along two random directions, normalised filter by filter

Surfaces are computed for the first training; events, neighbours and perturbations for all trainings. In the CSV, u and
v are coordinates in the plane or the embedding. For a perturbation, u is the shift and `index` the parameter. For an
event, `index` is its number.

Source: MLDS 2018, homework 1-2 (bonus); Li et al., arXiv 1712.09913, for the random plane.

Deviations: none.
"""

import dataclasses
import functools
import sys

import keras
import numpy as np
from sklearn.manifold import TSNE

from hw1 import command, datasets, evaluation, models, nets, question, training
from hw1.measures import interpolation, stationary

LOSS = keras.losses.mean_squared_error


@dataclasses.dataclass(frozen=True)
class Settings(question.Repeated):
    """Settings of the question; each field is a flag."""

    hidden: tuple[int, ...] = question.option((5, 4), "widths of the hidden layers", unique=False)
    activation: str = question.option(
        "tanh", "activation of the hidden layers; it must be smooth for the second-order steps", choices=nets.SMOOTH
    )
    points: int = question.option(100, "training points of the function")
    epochs: int = question.option(3000, "epochs of Adam, one full-batch step each")
    every: int = question.option(100, "epochs of Adam between recorded points, or events", at_most="epochs")
    learning_rate: float = question.option(1e-2, "learning rate of Adam (our choice)")
    second_order: int = question.option(15, "recorded points of the second-order method")
    trials: int = question.option(3, "second-order steps tried between two recorded points")
    neighbours: int = question.option(4, "sampled neighbours of each recorded point")
    radius: float = question.option(0.05, "distance of the neighbours as a fraction of the norm of the parameters")
    perplexity: float = question.option(30.0, "perplexity of t-SNE (the default of scikit-learn)")
    shift: float = question.option(1.0, "largest perturbation of a parameter")
    shifts: int = question.option(21, "number of shifts of each parameter, including both ends", minimum=3)
    grid: int = question.option(31, "points along each axis of a plane", minimum=3)
    seeds: int = question.option(5, "independent trainings (initial weights)")


SIZES = {
    "smoke": {
        "points": 20,
        "epochs": 60,
        "every": 20,
        "second_order": 3,
        "neighbours": 2,
        "perplexity": 5.0,
        "shifts": 5,
        "grid": 5,
        "seeds": 2,
    },
    "report": {},
    "paper": {"epochs": 20000, "every": 200, "second_order": 100, "points": 1000, "shifts": 101, "grid": 101},
}

COLUMNS = {
    "rows": ["view", "seed", "kind", "index", "u", "v", "loss"],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per view."""
    return [{"view": view} for view in VIEWS]


def run(settings: Settings, data, view: str):
    """Yields a row per seed and point."""
    yield from VIEWS[view](settings, _paths(settings))


@functools.lru_cache(maxsize=1)  # all views use the same trainings
def _paths(settings) -> list["_Path"]:
    data = datasets.function("sinc", settings.points)
    members = training.train(
        lambda seed: _net(settings, seed),
        data,
        batch_size=settings.points,
        epochs=settings.epochs,
        evaluate_every=settings.every,
        optimizer=lambda: keras.optimizers.Adam(settings.learning_rate),
        seeds=settings.all_seeds,
        loss=LOSS,
        record=["weights"],
        progress="error_surface",
    )
    members = training.measurable(members)
    nets = [member.model for member in members]
    steps = [[models.flat_parameters(_net(settings, member.seed)), *member.weights] for member in members]
    for _ in range(settings.second_order):
        points = stationary.levenberg_marquardt(nets, data.x_train, data.y_train, iterations=settings.trials)
        nets = [models.with_parameters(net, point.parameters) for net, point in zip(nets, points, strict=True)]
        for events, point in zip(steps, points, strict=True):
            events.append(point.parameters)
    kinds = ["gradient descent"] * (len(steps[0]) - settings.second_order) + ["second order"] * settings.second_order
    return [
        _Path(member.seed, net, kinds, np.array(events), data)
        for member, net, events in zip(members, nets, steps, strict=True)
    ]


def _net(settings, seed):
    return models.mlp(settings.hidden, settings.activation, input_shape=(1,), classes=1, seed=seed, dtype="float64")


class _Path:
    """The events of one training: flat parameters from the initial to the final point, their kinds and losses."""

    def __init__(self, seed, model, kinds, events, data):
        self.seed, self.model, self.kinds, self.events = seed, model, kinds, events
        self.x, self.y = data.x_train, data.y_train
        self.losses = self.losses_at(events)

    def losses_at(self, points) -> np.ndarray:
        """The loss at each flat parameter vector: [n, parameters] → [n]."""
        loss = evaluation.objective(self.model, self.x, self.y, LOSS)
        return np.array([loss(point)[0] for point in points])

    def row(self, kind, index, u, v, loss) -> dict:
        """A row of the CSV."""
        return {"seed": self.seed, "kind": kind, "index": index, "u": u, "v": v, "loss": loss}

    def on(self, first, second, origin):
        """Yields the rows of all events, projected onto a plane."""
        for number, (kind, event, loss) in enumerate(zip(self.kinds, self.events, self.losses, strict=True)):
            yield self.row(kind, number, (event - origin) @ first, (event - origin) @ second, loss)

    def surface(self, first, second, u, v):
        """Yields the rows of the loss on a grid around the final point."""
        losses = interpolation.plane(self.model, first, second, u, v, self.x, self.y, LOSS).loss
        for j, i in np.ndindex(losses.shape):
            yield self.row("surface", j * len(u) + i, u[i], v[j], losses[j, i])


def _tsne(settings, paths):
    """Yields all events and neighbours in one embedding."""
    points, about = [], []
    for path in paths:
        rng = np.random.default_rng(path.seed)
        for number, (kind, event, loss) in enumerate(zip(path.kinds, path.events, path.losses, strict=True)):
            offsets = rng.standard_normal((settings.neighbours, len(event)))
            offsets *= settings.radius * np.linalg.norm(event) / np.linalg.norm(offsets, axis=1, keepdims=True)
            near = event + offsets
            points += [event, *near]
            about += [(path, kind, number, loss)]
            about += [(path, "neighbour", number, value) for value in path.losses_at(near)]
    perplexity = min(settings.perplexity, (len(points) - 1) / 3)
    embedded = TSNE(perplexity=perplexity, init="pca", random_state=0, n_jobs=1).fit_transform(np.array(points))
    for (path, kind, number, loss), (u, v) in zip(about, embedded, strict=True):
        yield path.row(kind, number, u, v, loss)


def _perturbation(settings, paths):
    """Yields the loss while one parameter moves."""
    shifts = np.linspace(-settings.shift, settings.shift, settings.shifts)
    for path in paths:
        for index, unit in enumerate(np.eye(path.events.shape[1])):
            losses = path.losses_at(path.events[-1] + shifts[:, None] * unit)
            for shift, loss in zip(shifts, losses, strict=True):
                yield path.row("parameter", index, shift, 0.0, loss)


def _start_to_end(settings, paths):
    """Yields the plane through start, end and the event farthest from their line, with the trajectory."""
    for path in paths:
        start, end = path.events[0], path.events[-1]
        along = (start - end) / np.linalg.norm(start - end)
        steps = path.events - end
        off = np.linalg.norm(steps - np.outer(steps @ along, along), axis=1)
        first, second = interpolation.through(end, start, path.events[off.argmax()])
        coordinates = steps @ np.stack([first, second], axis=1)
        low, high = coordinates.min(axis=0), coordinates.max(axis=0)
        margin = 0.25 * (high - low)
        if path is paths[0]:
            yield from path.surface(first, second, *np.linspace(low - margin, high + margin, settings.grid).T)
        yield from path.on(first, second, end)


def _random_plane(settings, paths):
    """Yields the plane along two random directions, normalised filter by filter."""
    directions = (interpolation.filter_normalised(paths[0].model, seed) for seed in (0, 1))
    u = np.linspace(-1, 1, settings.grid)
    yield from paths[0].surface(*directions, u, u)


VIEWS = {
    "t-SNE": _tsne,
    "perturbation": _perturbation,
    "start to end": _start_to_end,
    "random plane": _random_plane,
}


if __name__ == "__main__":
    command.main(sys.modules[__name__])
