"""Does SGD walk through a valley from wall to wall, and what do learning rate and batch size do to its walk?

    python -m hw1.paths.walk
    python -m hw1.paths.walk --size=smoke    seconds

Nets are trained by plain SGD, batches from shuffled epochs, for equally many steps, with several batch sizes and
learning rates; the largest batch is the whole training set. From step to step the parameters go from θ to θ − εg. The
loss over the whole training set is measured at equal distances on the segment between the two, ends included, in
float64. Of each measured segment:

    inside     the least of these losses is at neither end
    convex     roughly: no second difference is below −1 % of the difference between the largest and the least loss
    floor      both: the segment is convex with its minimum, the valley's floor, inside
    barrier    the largest of these losses is at neither end
    height     mean loss of the two ends less the least loss on the segment, in nats
    cosine     of the angle between this mini-batch gradient and the next one, which is that between the two steps

Rows have the means over all measured steps of a training, and the distance ‖θ − θ₀‖ from the start at the end. Table
"stages" has the means of each stage, equal parts of the training, with the distance and losses at its end.

Near a minimum with curvature h in the only direction that counts, SGD is an autoregression, θ ← (1 − εh) θ + noise.
Then a share arccos(1 − εh)/π of the steps crosses the minimum: half at εh = 1, all at the edge of stability, εh = 2.
For εh < 1 exact descent never crosses it. The tests compare this question's measures with such closed forms.

Source: Xing et al., arXiv 1802.08770.

Deviations: a small dense net on images averaged to 7 × 7 pixels instead of deep convolutional nets on CIFAR-10; only
every few steps are measured. Walks are compared after equally many steps.

Of the learning rates 0.1, 0.4, 0.8 and 1.6, tried with the seeds 1000 and 1001, 0.8 is the largest with which batches
of 10 still train (training loss 0.4 after 400 steps, 2 with 1.6); with 1.6 larger batches train best (0.2). With 0.1
and 0.4 exact descent crosses no floor, with 1.6 it is at the edge of stability. Only there does it swing from wall to
wall, so successive gradients are judged at the largest learning rate. (A first ledger judged them at 0.8 as well, where
exact descent comes to the edge late or not at all within 400 steps, and where the claim did not hold.)
"""

import dataclasses
import itertools
import sys

import keras
import numpy as np

from hw1 import command, datasets, evaluation, models, question, training
from hw1.measures import points

ROUGHLY = 0.01  # of the range of losses: how far a second difference may be below 0 on a convex segment
ROUNDING = 1e-12  # of a loss in float64
HELD = 2**27  # parameters of all recorded iterates of a group of nets, at most, unless one net has more
MEASURES = ("floor", "inside", "convex", "barrier", "height", "cosine")


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    seeds: int = question.option(10, "independent repetitions (initial weights, batch order and split of the images)")
    train: int = question.option(1000, "training examples")
    test: int = question.option(1000, "test examples")
    pool: int = question.option(4, "side of the squares of pixels that are averaged; 1 keeps the images as they are")
    hidden: tuple[int, ...] = question.option((30,), "widths of the hidden layers", unique=False)
    batch_sizes: tuple[int, ...] = question.option(
        (10, 50, 250), "batch sizes, beside the whole training set", at_most="train"
    )
    learning_rates: tuple[float, ...] = question.option(
        (0.2, 0.4, 0.8, 1.6), "learning rates (chosen with the seeds 1000 and 1001)"
    )
    batch_size: int = question.option(50, "batch size at which learning rates are compared, one of --batch_sizes")
    learning_rate: float = question.option(
        0.8, "learning rate at which batch sizes are compared, one of --learning_rates"
    )
    updates: int = question.option(400, "number of optimizer steps")
    every: int = question.option(8, "steps from one measured segment to the next", at_most="updates")
    stages: int = question.option(10, "equal parts of the training whose means are recorded", at_most="updates")
    points: int = question.option(
        11, "points of a segment at which the loss is measured, both ends included", minimum=5
    )


SIZES = {
    "smoke": {
        "train": 100,
        "test": 100,
        "hidden": (8,),
        "batch_sizes": (10, 50),
        "learning_rates": (0.1, 0.4),
        "learning_rate": 0.4,
        "updates": 20,
        "every": 2,
        "stages": 2,
        "seeds": 2,
    },
    "report": {},
    "paper": {
        "data": "mnist",
        "train": 60000,
        "test": 10000,
        "pool": 1,
        "hidden": (100,),
        "batch_sizes": (50, 100, 1000),
        "batch_size": 100,
        "updates": 6000,
        "every": 20,
    },
}

BY_SEED = True
COLUMNS = {
    "rows": [
        "batch_size",
        "learning_rate",
        "seed",
        "updates",
        *MEASURES,
        "distance",
        *question.LOSSES_AND_ACCURACIES,
        "status",
    ],
    "stages": [
        "batch_size",
        "learning_rate",
        "seed",
        "updates",
        *MEASURES,
        "distance",
        *question.LOSSES_AND_ACCURACIES,
    ],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per batch size, the whole training set last."""
    if settings.train in settings.batch_sizes:
        raise ValueError(
            f"--batch_sizes={question.write(settings.batch_sizes)}: must be below --train={settings.train}, which is a "
            "batch size of its own"
        )
    for one, several in (("batch_size", "batch_sizes"), ("learning_rate", "learning_rates")):
        if getattr(settings, one) not in getattr(settings, several):
            raise ValueError(
                f"--{one}={getattr(settings, one)}: must be one of --{several}="
                f"{question.write(getattr(settings, several))}"
            )
    if settings.updates // settings.stages < settings.every:
        raise ValueError(
            f"--every={settings.every}: must be at most --updates / --stages = {settings.updates // settings.stages}, "
            "so that every stage has a measured segment"
        )
    return [{"batch_size": size} for size in (*settings.batch_sizes, settings.train)]


def run(settings: Settings, data, batch_size: int):
    """Yields a row per learning rate and seed, and the rows of the stages."""
    data = datasets.average_pool(data, settings.pool)

    def build(seed):
        return models.mlp(settings.hidden, input_shape=data.shape, classes=data.classes, seed=seed)

    pairs = [(rate, seed) for rate in settings.learning_rates for seed in settings.all_seeds]
    together = max(1, HELD // (settings.updates * build(0).count_params()))
    losses = {}  # of each seed, whose training set all its nets share
    for begin in range(0, len(pairs), together):
        rates, seeds = zip(*pairs[begin : begin + together], strict=True)
        members = training.train(
            build,
            data,
            batch_size=batch_size,
            updates=settings.updates,
            evaluate_updates=1,
            learning_rate=list(rates),
            optimizer=keras.optimizers.SGD,
            seeds=seeds,
            record=("weights",),
            progress=f"batch size {batch_size}",
        )
        for rate, member in zip(rates, members, strict=True):
            if member.status == "diverged":
                yield {"learning_rate": rate, "seed": member.seed, "updates": member.updates, "status": "diverged"}
                continue
            if member.seed not in losses:
                losses[member.seed] = training_losses(member, settings.points)
            iterates = np.stack([models.flat_parameters(build(member.seed)), *member.weights])
            yield from _rows(settings, member, losses[member.seed], iterates, {"learning_rate": rate})


def training_losses(member, most: int):
    """The loss over a member's training set in float64: a function [points, parameters] -> [points].

    Args:
        member: of a training.
        most: points in one compiled call.
    """
    model, images = models.with_dtype(member.model, "float64"), member.data
    return points.losses_at(evaluation.Problem(model, images.x_train, images.y_train), most)


def _rows(settings, member, losses, iterates, about):
    """Yields the row of a net and those of its stages."""
    steps = np.arange(0, settings.updates - 1, settings.every)  # the last one has no next gradient
    found = measure(losses, iterates, steps, settings.points)
    distance = np.linalg.norm(iterates - iterates[0], axis=1)
    means = {name: float(np.mean(values)) for name, values in found.items()}
    yield about | member.row | means | {"distance": distance[-1]}
    ends = np.linspace(0, settings.updates, settings.stages + 1).round().astype(int)
    for begin, end in itertools.pairwise(ends):
        among = (steps >= begin) & (steps < end)
        yield {
            "table": "stages",
            **about,
            "seed": member.seed,
            "updates": int(end),
            **{name: float(np.mean(values[among])) for name, values in found.items()},
            "distance": distance[end],
            **{name: member.history[name][end - 1] for name in question.LOSSES_AND_ACCURACIES},
        }


def measure(losses, iterates: np.ndarray, steps, count: int) -> dict[str, np.ndarray]:
    """What is measured of some steps of a walk.

    Args:
        losses: a function from parameters, shape [points, parameters], to losses, shape [points].
        iterates: parameters before the first step and after each, shape [steps + 1, parameters].
        steps: numbers of the steps that are measured; each has a next one.
        count: points of a segment, both ends included.

    Returns:
        The entries of `describe`, and cosine, one value per measured step.
    """
    iterates, steps = np.asarray(iterates, np.float64), np.asarray(steps)
    begins, moves = iterates[steps], iterates[steps + 1] - iterates[steps]
    places = np.linspace(0, 1, count)[:, None]
    curves = np.stack([losses(begin + places * move) for begin, move in zip(begins, moves, strict=True)])
    return describe(curves) | {"cosine": cosines(moves, iterates[steps + 2] - iterates[steps + 1])}


def describe(curves: np.ndarray) -> dict[str, np.ndarray]:
    """What the losses on segments look like.

    Args:
        curves: losses at equal distances, both ends included, shape [segments, points].

    Returns:
        inside, convex, floor, barrier (bool) and height, as the module defines them, each of shape [segments].
    """
    ends = curves[:, [0, -1]]
    low, high = curves.min(axis=1), curves.max(axis=1)
    rounding = ROUNDING * np.abs(high)
    inside = low < ends.min(axis=1) - rounding
    convex = np.diff(curves, 2, axis=1).min(axis=1) >= -ROUGHLY * (high - low) - rounding
    return {
        "floor": inside & convex,
        "inside": inside,
        "convex": convex,
        "barrier": high > ends.max(axis=1) + rounding,
        "height": ends.mean(axis=1) - low,
    }


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosines of the angles between the rows of two arrays; 0 where one of the two is 0."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.sum(first * second, axis=1) / np.where(lengths > 0, lengths, 1.0)


if __name__ == "__main__":
    command.main(sys.modules[__name__])
