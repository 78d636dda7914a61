"""Is there a path between two solutions on which the loss does not rise, and from which width on?

    python -m hw1.paths.connectivity
    python -m hw1.paths.connectivity --size=smoke    seconds

Pairs of nets with one hidden layer are trained from independent initial weights on the same images. Between the two
nets of a pair lie these paths:

    line           the straight line
    weights        the line after the hidden units of one net are put into the order that brings its weights nearest
    activations    the same by the correlations of the units' activations on the training images
    string         a path of pivots by the string method, with pivots inserted where the loss between two is high
    doubled        the same with twice as many pivots at first and twice as many steps, at some widths, as a check
    Bézier         a trained cubic Bézier curve, which has two control points

The barrier on a path is the largest loss on it less that of the worse end; likewise of the error, the share of images
that are classified wrongly. Both are taken over the whole training set, at `points` points of each segment or more, and
once more over the test set. A barrier of at most 0.5 points of error was fixed beforehand as none. Each is an upper
bound of the lowest barrier between the two nets: that a search finds no low path does not prove that there is none.

A net is trained until its training loss is at the target, where it classifies nearly all its images rightly, or comes
to a plateau of its own (`hw1.recipe.at_plateau`): the step size is constant for a part of training, at which the
plateau is judged, and then falls to 0 by a cosine. A net that did neither has the status "target not reached", and so
has its pair. Where the worse net of a pair is bad, a path that does not rise above it is easy to find: widths whose
worse nets misclassify a tenth of their images or more on average are measured and drawn, but the width from which on
there is no barrier is not looked for among them.

At the widths `compared`, pairs are trained in other ways too: SGD with momentum, descent of the whole training set with
momentum, the squared error (losses and barriers of which are in its own unit, Σ_k (f_k − [k = y])²), and images less
their mean image and divided by their standard deviation. Of "Adam and SGD" the first net is trained by Adam, the second
by SGD.

Table "nets" has losses and accuracies of each net, "along" the losses along the paths of one pair, with the coordinates
of the points in the plane through the two nets and the middle of the string, and "plane" the loss in this plane.

Freeman and Bruna bound the barrier between nets with one hidden layer by a quantity that goes to zero as the width
grows (theorem 2.4 and corollary 2.5, for the squared error with a penalty on the weights). That the barrier is of the
order 1/M of the number of parameters M is not among their results; it is our hypothesis, tested as a log-log slope of
−1 over the widths whose mean barrier of the loss is above 0.01 nats.

Source: Freeman and Bruna, arXiv 1611.01540; Draxler et al., arXiv 1803.00885; Garipov et al., arXiv 1802.10026;
Entezari et al., arXiv 2110.06296 and Ainsworth et al., arXiv 2209.04836 (permutations of units).

Deviations: nets of one hidden layer and at most some thousand parameters, on 2,500 images averaged to 7 × 7 pixels,
in place of deep nets on CIFAR; the nets of Entezari et al. and Ainsworth et al. are wider. Garipov et al. train their
curve with one control point by SGD; here it has two, and Adam. Freeman and Bruna insert pivots and train each alone;
here all move together, as a string.

Chosen with the seeds 1000 to 1004: the step size of Adam among 0.003, 0.01 and 0.02, of SGD among 0.02, 0.05 and 0.1,
of exact descent among 0.1, 0.3, 1 and 2, at which some nets failed; those of the searches at the widths 2, 4, 16 and 64
among 0.03, 0.06 and 0.1, of strings with the squared error at width 32 among 0.006, 0.02 and 0.06. (With 5,000 images
and nets of width 16, a string had an error barrier of 2.4 points at 0.01 and of 0.1 at 0.1, after equally many steps.)
Where nets of width 16 had been trained to losses of 0.06 to 0.14 only, strings found no barrier; trained to the target,
they have one. Two settings were changed after first runs with the seeds 0 to 4: 30,000 steps, after which most pairs of
the widths 8 and 16 were not at their plateau, and strings at 0.06 with the squared error, with a barrier of 4.8 points.
So were, likewise, the widths of the doubled search, which had been 4 and 16, and the rule of the slope over widths: it
had asked for intervals, not means, above the noise, and only of nets that are not bad. Fresh seeds must decide these.
"""

import dataclasses
import sys

import keras
import numpy as np

from hw1 import command, datasets, models, question, recipe, training
from hw1.evaluation.losses import squared_error
from hw1.measures import alignment, directions, interpolation, paths

LINE, WEIGHTS, ACTIVATIONS, STRING, DOUBLED, BEZIER = "line", "weights", "activations", "string", "doubled", "Bézier"
ADAM, SGD, FULL, SQUARED, STANDARDISED = "Adam", "SGD", "full batch", "squared error", "standardised"
METHODS = (ADAM, SGD, FULL, SQUARED, STANDARDISED, f"{ADAM} and {SGD}")
MARGIN = 0.2  # of the plane around the paths, as a share of their extent


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    seeds: int = question.option(
        5, "pairs of nets (two initial weights and batch orders, one split of the images each)"
    )
    train: int = question.option(2500, "training examples")
    test: int = question.option(2500, "test examples")
    pool: int = question.option(4, "side of the squares of pixels that are averaged; 1 keeps the images as they are")
    widths: tuple[int, ...] = question.option((2, 4, 8, 16, 32, 64, 128), "widths of the hidden layer, ascending")
    methods: tuple[str, ...] = question.option(
        METHODS, "ways of training, the first one at all widths", choices=METHODS
    )
    compared: tuple[int, ...] = question.option((32,), "widths at which the other ways of training are compared")
    doubled: tuple[int, ...] = question.option(
        (8, 16, 32), "widths at which pivots and steps of the string are doubled"
    )
    drawn: int = question.option(32, "width of the net whose paths are drawn")
    batch_size: int = question.option(50, "examples per step of Adam and SGD", at_most="train")
    updates: int = question.option(50000, "most steps of Adam and SGD", minimum=8)
    learning_rate: float = question.option(0.01, "step size of Adam, at first")
    sgd_rate: float = question.option(0.1, "step size of SGD, at first")
    full_rate: float = question.option(1.0, "step size of the descent of the whole training set, at first")
    full_updates: int = question.option(2000, "most steps of the descent of the whole training set", minimum=8)
    momentum: float = question.option(0.9, "momentum of SGD and of this descent", minimum=0, maximum=0.999)
    target_loss: float = question.option(0.01, "training loss in nats at which a net has learnt its images")
    constant: float = question.option(0.7, "share of the steps at the first step size", minimum=0.5, maximum=0.99)
    fall: float = question.option(0.1, "relative fall of the loss that counts as none", maximum=1)
    pivots: int = question.option(8, "pivots of the string at first")
    steps: int = question.option(200, "steps of the string in each cycle")
    cycles: int = question.option(4, "cycles of the string, between which pivots are inserted")
    string_rate: float = question.option(0.06, "step size of Adam for the string")
    squared_rate: float = question.option(0.02, "the same with the squared error")
    curve_steps: int = question.option(600, "steps of the Bézier curve")
    curve_rate: float = question.option(0.1, "step size of Adam for the Bézier curve")
    search_batch: int = question.option(250, "examples per step of string and curve", at_most="train")
    points: int = question.option(10, "points of a segment at which the loss is measured", minimum=10)
    grid: int = question.option(21, "points along each side of the plane", minimum=2)


SIZES = {
    "smoke": {
        "train": 100,
        "test": 100,
        "widths": (2, 8),
        "methods": (ADAM, SQUARED, f"{ADAM} and {SGD}"),
        "compared": (8,),
        "doubled": (8,),
        "drawn": 8,
        "batch_size": 20,
        "updates": 60,
        "pivots": 2,
        "steps": 5,
        "cycles": 2,
        "curve_steps": 5,
        "search_batch": 50,
        "grid": 3,
        "seeds": 2,
    },
    "report": {},
    "paper": {
        "data": "mnist",
        "train": 60000,
        "test": 10000,
        "pool": 1,
        "batch_size": 100,
        "updates": 200000,
        "full_updates": 20000,
        "widths": (2, 4, 8, 16, 32, 64, 128, 256, 512),
        "doubled": (2, 4, 8, 16, 32, 64, 128, 256, 512),
        "compared": (32, 512),
        "steps": 2000,
        "curve_steps": 8000,
        "search_batch": 1000,
        "grid": 61,
        "seeds": 10,
    },
}

COLUMNS = {
    "rows": [
        "method",
        "width",
        "path",
        "seed",
        "parameters",
        "loss_barrier",
        "error_barrier",
        "test_loss_barrier",
        "test_error_barrier",
        "length",
        "segments",
        "status",
    ],
    "nets": ["method", "width", "end", "seed", "updates", *question.LOSSES_AND_ACCURACIES, "status"],
    "along": ["method", "width", "path", "seed", "position", "train_loss", "train_accuracy", "u", "v"],
    "plane": ["method", "width", "seed", "u", "v", "train_loss", "train_accuracy"],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per width for the first way of training, and per width of the comparison for each other one."""
    if list(settings.widths) != sorted(settings.widths):
        raise ValueError(f"--widths={question.write(settings.widths)}: must ascend")
    for name in ("compared", "doubled", "drawn"):
        wanted = getattr(settings, name)
        if not {*np.atleast_1d(wanted).tolist()} <= {*settings.widths}:
            raise ValueError(
                f"--{name}={question.write(wanted)}: must be among --widths={question.write(settings.widths)}"
            )
    first, *others = settings.methods
    return [
        *({"method": first, "width": width} for width in settings.widths),
        *({"method": method, "width": width} for method in others for width in settings.compared),
    ]


def run(settings: Settings, data, method: str, width: int):
    """Yields a row per seed and path, and the rows of the other tables."""
    data = datasets.average_pool(data, settings.pool)
    # The second half of the members are partners of the first: other initial weights, the same images.
    data = data.sharing(lambda seed: settings.first_seed + (seed - settings.first_seed) % settings.seeds)
    data = standardised(data) if method == STANDARDISED else data
    loss = squared_error if method == SQUARED else None
    whole = method == settings.methods[0]
    for first, second in zip(*_pairs(settings, data, method, width), strict=True):
        for end, member in (("first", first), ("second", second)):
            yield {"table": "nets", "end": end, **member.row, "seed": first.seed}
        status = max(first.status, second.status, key=("ok", "target not reached", "diverged").index)
        about = {"seed": first.seed, "parameters": first.model.count_params(), "status": status}
        if status == "diverged":
            yield from (about | {"path": name} for name in _names(settings, whole, width))
            continue
        found = _between(settings, first, second.model, loss, _names(settings, whole, width))
        measured = {name: _measured(settings, first, *ends, loss) for name, ends in found.items()}
        for name, (row, _) in measured.items():
            yield about | {"path": name} | row
        if whole and width == settings.drawn and first.seed == settings.first_seed:
            yield from _drawn(
                settings, first, second.model, found, {name: along for name, (_, along) in measured.items()}
            )


def standardised(data: datasets.Splits) -> datasets.Splits:
    """The images less their mean image, divided by the standard deviation of their pixels, both over all images."""
    centred = data.x - data.x.mean(axis=0)
    return dataclasses.replace(data, x=centred / (centred.std() or 1.0))


def _pairs(settings, data, method, width):
    """The first and the second nets of all pairs, trained in one stack if they are trained alike."""
    first, *other = method.split(" and ")
    seeds = np.arange(settings.first_seed, settings.first_seed + 2 * settings.seeds)
    if other:
        halves = zip((first, *other), np.split(seeds, 2), strict=True)
        return [_train(settings, data, way, width, own) for way, own in halves]
    members = _train(settings, data, method, width, seeds)
    return members[: settings.seeds], members[settings.seeds :]


def _train(settings, data, way, width, seeds):
    """The members of some seeds; the status of those that came to a plateau is "ok"."""
    batch_size, updates = settings.batch_size, settings.updates
    if way == FULL:
        batch_size, updates = settings.train, settings.full_updates
    rate = {SGD: settings.sgd_rate, FULL: settings.full_rate}.get(way, settings.learning_rate)
    epochs = updates / -(-settings.train // batch_size)
    members = training.train(
        lambda seed: models.mlp((width,), input_shape=data.shape, classes=data.classes, seed=seed),
        data,
        batch_size=batch_size,
        updates=updates,
        target_loss=settings.target_loss,
        evaluate_updates=max(1, updates // 50),
        optimizer=lambda: (
            keras.optimizers.SGD(momentum=settings.momentum) if way in (SGD, FULL) else keras.optimizers.Adam()
        ),
        learning_rate=lambda passed: rate * recipe.schedule(passed, epochs, settings.constant),
        loss=squared_error if way == SQUARED else None,
        seeds=seeds,
        record=("steps",),
        progress=f"{way}, width {width}",
    )
    for member in members:
        if member.status == "target not reached" and recipe.at_plateau(
            member.steps["loss"], settings.constant, settings.fall
        ):
            member.status = "ok"
    return members


def _names(settings, whole, width):
    """The paths that are measured: all of them for the first way of training."""
    return (LINE, STRING, WEIGHTS, ACTIVATIONS, BEZIER, *([DOUBLED] * (width in settings.doubled)))[
        : None if whole else 2
    ]


def _between(settings, first, second, loss, names):
    """Name → the net where the path ends and the path, None for a straight line."""
    model, images = first.model, (first.data.x_train, first.data.y_train)
    options = {"batch_size": settings.search_batch, "seed": first.seed}

    def string(times):
        return paths.string(
            model,
            second,
            *images,
            loss,
            pivots=times * settings.pivots,
            steps=times * settings.steps,
            cycles=settings.cycles,
            learning_rate=settings.squared_rate if loss else settings.string_rate,
            **options,
        )

    def bezier():
        rates = {"steps": settings.curve_steps, "learning_rate": settings.curve_rate}
        return paths.bezier(model, second, *images, loss, **rates, **options)

    make = {
        LINE: lambda: (second, None),
        WEIGHTS: lambda: (alignment.match(model, second), None),
        ACTIVATIONS: lambda: (alignment.match(model, second, images[0], by="activations"), None),
        STRING: lambda: (second, string(1)),
        DOUBLED: lambda: (second, string(2)),
        BEZIER: lambda: (second, bezier()),
    }
    return {name: make[name]() for name in names}


def _measured(settings, first, second, path, loss):
    """The row of a path, and the barrier on the training set.

    Lines and curves, which have fewer segments, are measured at half as many points as the string has at first.
    """
    segments = len(path.points) - 1 if path else 1
    parts = max(settings.points, settings.points * (settings.pivots + 1) // (2 * segments))
    images, row = first.data, {"segments": segments}
    for part in ("test", "train"):
        arrays = getattr(images, f"x_{part}"), getattr(images, f"y_{part}")
        found = interpolation.barrier(first.model, second, *arrays, loss, path=path, per_segment=parts)
        prefix = "test_" if part == "test" else ""
        row |= {f"{prefix}loss_barrier": found.loss_barrier, f"{prefix}error_barrier": found.error_barrier}
    ends = [models.flat_parameters(model).astype(np.float64) for model in (first.model, second)]
    return row | {"length": found.arc_length[-1] / np.linalg.norm(ends[1] - ends[0])}, found


def _drawn(settings, first, second, found, along):
    """Yields the rows of the tables "along" and "plane"."""
    origin, end = (models.flat_parameters(model).astype(np.float64) for model in (first.model, second))
    string = found[STRING][1]
    bent = string if len(string.points) > 2 else found[BEZIER][1]  # the search may have found nothing below the line
    axes = directions.through(origin, end, bent.at(0.5))
    about, extent = {"seed": first.seed}, []
    for name, (model, path) in found.items():
        path = path or paths.Path(np.stack([models.flat_parameters(each) for each in (first.model, model)]))
        length = along[name].arc_length[-1] or 1.0
        for arc, loss, accuracy in zip(along[name].arc_length, along[name].loss, along[name].accuracy, strict=True):
            u, v = ((path.at(min(arc / length, 1.0)) - origin) @ axis for axis in axes)
            place = {"path": name, "position": arc, "train_loss": loss, "train_accuracy": accuracy, "u": u, "v": v}
            yield {"table": "along", **about, **place}
            extent += [(u, v)] * (model is second)
    low, high = np.min(extent, axis=0), np.max(extent, axis=0)
    margin = MARGIN * (high - low)
    u, v = np.linspace(low - margin, high + margin, settings.grid).T
    plane = interpolation.plane(first.model, *axes, u, v, first.data.x_train, first.data.y_train)
    for row, losses, accuracies in zip(v, plane.loss, plane.accuracy, strict=True):
        for column, loss, accuracy in zip(u, losses, accuracies, strict=True):
            yield {"table": "plane", **about, "u": column, "v": row, "train_loss": loss, "train_accuracy": accuracy}


if __name__ == "__main__":
    command.main(sys.modules[__name__])
