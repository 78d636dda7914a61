"""From the end of a training with a large batch, does a small batch leave the basin?

    python -m hw1.paths.continuation
    python -m hw1.paths.continuation --size=smoke    seconds

A net is trained by plain SGD with a large batch until its loss falls slowly and its test accuracy no longer rises. From
its end point A it is trained on for equally many updates in two ways, with a small batch and with the large one. Only
the batch size differs: both have the same learning rate, which falls linearly to 0 over the last part of the updates,
so that the noise of the last batches does not decide where a net ends. Units differ in the learning rate of this second
phase; the first phase is the same in all of them.

Straight lines join A with both ends ("A to small", "A to large") and these with each other ("small to large"). For
contrast, "independent" joins A with the end of a first phase from other initial weights on the same images. "A to
small, path" is a path of low loss by the string method (`hw1.measures.paths.string`). These two belong to the unit in
which only the batch size changes. Tables:

    rows      A, and both nets at the end and at "equal loss": losses, accuracies, φ and λ₁ (spectral norm of the
              Hessian) on the training set, the distance from A (of A itself, from its initial weights), and the highest
              training loss at any evaluation of the phase
    barriers  of each line, and the path, the largest loss and error at equally spaced points less that of the worse end
              (`hw1.measures.interpolation.barrier`): on training and test set at the end, and on the training set
              "before decay" of the learning rate
    lines     losses and accuracies on each line at the end, extended beyond both ends
    training  losses and accuracies along both phases; steps count from the beginning of each phase

A line without a barrier shows one basin, as far as points on a line can. A line with a barrier does not show two: a
path around it may exist. The curvature of the cross-entropy falls with the loss, so φ and λ₁ are compared at equal
loss: from both ends a descent with the large batch and momentum, the same for both, goes on to one target loss.

Source: Sagun et al., arXiv 1706.04454, whose abstract says that descent with small and with large batches appears to
come to different basins, while the two are connected through a flat region and so lie in one basin; another version of
it says that descent appears to climb first and fall then between two points of one basin. Keskar et al., arXiv
1609.04836: small batches end farther away, in flatter minima that generalise better.

Deviations: a dense net with one hidden layer, on images averaged to 14 × 14 pixels. The source states no threshold: "no
barrier" is 0.5 points of error, fixed before any run.

Learning rates were tried with the seeds 1000 and 1001, 2,000 steps from the initial weights. Of 0.2, 0.4, 0.8 and 1.6,
0.8 has the best test accuracy with a batch of 25 (0.924; with 1.6 the nets do not train), and 0.8 and 1.6 have it with
a batch of 250 (0.916). So 0.8 is the rate of the first phase, and that at which only the batch size changes. A net that
fits its images has no minimum of the cross-entropy, so a plateau is where little happens: at the end of the first phase
(seeds 1000 to 1009) the training loss, 0.008 nats, falls by 0.9 % an epoch, and the test accuracy has risen by 0.001
over the last 1,000 steps. Continued with a batch of 25, nets stayed near A with 0.2 and 0.4, left it with 0.8, and with
1.2 left it for a loss of 0.06 nats behind barriers as high as between independent starts. Of 10 seeds at 0.8, barriers
were between 0 and 11 points; a run of the seeds 0 to 9 left the claim about their mean undecided (p = 0.06), so there
are 16, and sixteen fresh seeds gave the same verdicts. Where the small batch itself first comes to a loss, its noise
makes φ the slope there: φ was as high as that of the large batch with 0.8 and twice as high with 0.4, though λ₁ was
not. So the nets are compared after a common descent. 20 iterations of L-BFGS-B found four fifths of the φ that 100
found, alike for both batch sizes. The rates of size paper were not tried.
"""

import dataclasses
import itertools
import math
import sys

import keras
import numpy as np

from hw1 import command, datasets, models, question, training
from hw1.measures import hessian, paths
from hw1.measures.interpolation import barrier
from hw1.measures.interpolation import rows as line_rows
from hw1.measures.sharpness import keskar_sharpness

FIRST, SMALL, LARGE = "first phase", "small batch", "large batch"
EQUAL_LOSS, BEFORE_DECAY, END = "equal loss", "before decay", "end"
LINES = {"A to small": (FIRST, SMALL), "A to large": (FIRST, LARGE), "small to large": (SMALL, LARGE)}
INDEPENDENT = "independent"
PATH = "A to small, path"
CYCLES = 3  # of the string method
MOMENTUM = 0.9  # of the descent to the equal loss


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    seeds: int = question.option(16, "independent repetitions (initial weights, batch order and split of the images)")
    train: int = question.option(2500, "training examples")
    pool: int = question.option(2, "side of the squares of pixels that are averaged; 1 keeps the images as they are")
    hidden: tuple[int, ...] = question.option((30,), "widths of the hidden layers", unique=False)
    batch_sizes: tuple[int, ...] = question.option((25, 250), "small and large batch size", at_most="train")
    first_rate: float = question.option(0.8, "learning rate of the first phase (chosen with the seeds 1000 and 1001)")
    first_updates: int = question.option(2000, "optimizer steps of the first phase")
    learning_rates: tuple[float, ...] = question.option(
        (0.4, 0.8), "learning rates of the second phase, --first_rate among them"
    )
    updates: int = question.option(3000, "optimizer steps of the second phase")
    decay: float = question.option(0.2, "share of these in which the learning rate falls to 0", maximum=0.9)
    every: int = question.option(100, "optimizer steps between evaluations", at_most="updates")
    target_loss: float = question.option(8e-4, "training loss in nats at which flatness is compared")
    target_rate: float = question.option(0.4, "learning rate of the descent to that loss, which has momentum 0.9")
    target_updates: int = question.option(4000, "largest number of optimizer steps of that descent")
    iterations: int = question.option(20, "iterations of L-BFGS-B in the search for φ")
    epsilon: float = question.option(1e-3, "size ε of the box of the sharpness φ (the larger one of Keskar et al.)")
    points: int = question.option(20, "parts of a line between whose ends a barrier is sought", minimum=10)
    path_steps: int = question.option(200, "steps of the string method in each of its three cycles")
    spacing: float = question.option(0.1, "distance of the points of a line that are drawn, in units of α", maximum=0.5)
    beyond: float = question.option(0.3, "how far a drawn line goes beyond its ends, in units of α", maximum=1)


SIZES = {
    "smoke": {
        "train": 200,
        "test": 200,
        "hidden": (8,),
        "batch_sizes": (10, 50),
        "first_rate": 0.4,
        "first_updates": 60,
        "learning_rates": (0.2, 0.4),
        "updates": 100,
        "every": 5,
        "target_loss": 0.1,
        "target_rate": 0.1,
        "target_updates": 300,
        "iterations": 3,
        "points": 10,
        "path_steps": 5,
        "spacing": 0.25,
        "beyond": 0.25,
        "seeds": 2,
    },
    "report": {},
    "paper": {
        "data": "mnist",
        "train": 60000,
        "test": 10000,
        "pool": 1,
        "hidden": (100,),
        "batch_sizes": (256, 6000),
        "first_rate": 0.4,
        "learning_rates": (0.2, 0.4, 0.8),
        "first_updates": 5000,
        "updates": 10000,
        "target_updates": 40000,
        "points": 40,
        "spacing": 0.05,
    },
}

COLUMNS = {
    "rows": [
        "learning_rate",
        "net",
        "at",
        "seed",
        "updates",
        *question.LOSSES_AND_ACCURACIES,
        "sharpness",
        "spectral_norm",
        "distance",
        "highest",
        "status",
    ],
    "barriers": ["learning_rate", "line", "at", "part", "seed", "loss_barrier", "error_barrier", "length"],
    "lines": ["learning_rate", "line", "seed", "alpha", *question.LOSSES_AND_ACCURACIES],
    "training": ["learning_rate", "net", "seed", "updates", *question.LOSSES_AND_ACCURACIES],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per learning rate of the second phase."""
    if len(settings.batch_sizes) != 2 or settings.batch_sizes[0] >= settings.batch_sizes[1]:
        raise ValueError(f"--batch_sizes={question.write(settings.batch_sizes)}: must be two values, the smaller first")
    if settings.first_rate not in settings.learning_rates:
        raise ValueError(
            f"--first_rate={settings.first_rate}: must be one of --learning_rates="
            f"{question.write(settings.learning_rates)}, so that in one unit only the batch size changes"
        )
    if settings.every > (1 - settings.decay) * settings.updates:
        raise ValueError(
            f"--every={settings.every}: must be at most (1 − decay) · updates = "
            f"{(1 - settings.decay) * settings.updates:g}, so that there is an evaluation before the decay"
        )
    return [{"learning_rate": rate} for rate in settings.learning_rates]


def run(settings: Settings, data, learning_rate: float):
    """Yields the rows of all tables at one learning rate of the second phase."""
    # Of a seed and the one `settings.seeds` above it, its partner, the images are the same.
    data = datasets.average_pool(data, settings.pool)
    data = data.sharing(lambda seed: settings.first_seed + (seed - settings.first_seed) % settings.seeds)
    starts, partners = _first_phase(settings, data, settings.all_seeds), {}
    if learning_rate == settings.first_rate:
        others = _first_phase(settings, data, [seed + settings.seeds for seed in settings.all_seeds])
        partners = {seed - settings.seeds: member for seed, member in others.items()}
    nets = {FIRST: starts}
    alive = {seed: member for seed, member in starts.items() if not member.lost}
    for name, size in zip((SMALL, LARGE), settings.batch_sizes, strict=True):
        nets[name] = _continue(settings, data, alive, size, learning_rate, name)
    for name, members in nets.items():
        settled = {} if name == FIRST else _to_the_target(settings, data, members, name)
        for seed in settings.all_seeds:
            yield from _measured(settings, name, members.get(seed, starts[seed]), starts[seed], settled.get(seed))
    for seed in settings.all_seeds:
        ends = {name: members[seed] for name, members in nets.items() if seed in members}
        yield from _between(settings, ends, partners.get(seed))


def decayed(passed, whole: float, share: float):
    """The factor of the learning rate: 1, and over the last part of a training linearly down to 0.

    Args:
        passed: epochs passed before each step, shape [steps].
        whole: epochs in all.
        share: of them in the last part, above 0.
    """
    return np.minimum(1, (whole - np.asarray(passed)) / (share * whole))


def _first_phase(settings, data, seeds):
    """Trains with the large batch; seed → member."""
    members = training.train(
        lambda seed: models.mlp(settings.hidden, input_shape=data.shape, classes=data.classes, seed=seed),
        data,
        batch_size=settings.batch_sizes[1],
        updates=settings.first_updates,
        evaluate_updates=settings.every,
        optimizer=lambda: keras.optimizers.SGD(settings.first_rate),
        seeds=seeds,
        progress=FIRST,
    )
    return {member.seed: member for member in members}


def _continue(settings, data, starts, batch_size, rate, name):
    """Trains on from the end of the first phase with a batch size; seed → member."""
    whole = settings.updates / math.ceil(settings.train / batch_size)  # epochs
    return _train_on(
        data,
        starts,
        batch_size=batch_size,
        updates=settings.updates,
        evaluate_updates=settings.every,
        learning_rate=lambda passed: rate * decayed(passed, whole, settings.decay),
        optimizer=keras.optimizers.SGD,
        record=("weights",),
        progress=f"{name}, learning rate {rate:g}",
    )


def _to_the_target(settings, data, members, name):
    """Takes nets to the loss at which flatness is compared; seed → member, without nets that are lost."""
    return _train_on(
        data,
        {seed: member for seed, member in members.items() if not member.lost},
        batch_size=settings.batch_sizes[1],
        updates=settings.target_updates,
        evaluate_updates=settings.every,
        target_loss=settings.target_loss,
        optimizer=lambda: keras.optimizers.SGD(settings.target_rate, MOMENTUM),
        progress=f"{name} to equal loss",
    )


def _train_on(data, starts, **options):
    """Trains copies of nets; seed → member."""
    if not starts:
        return {}
    members = training.train(
        lambda seed: models.with_parameters(starts[seed].model, models.flat_parameters(starts[seed].model)),
        data,
        seeds=list(starts),
        **options,
    )
    return {member.seed: member for member in members}


def _measured(settings, net, member, start, settled):
    """Yields the rows of a net and of its training; of one that is lost, or whose start is, only its status."""
    for at, found in ((END, member), (EQUAL_LOSS, settled or member)):
        if at == EQUAL_LOSS and net == FIRST:
            continue
        row = {"net": net, "at": at, **found.row}
        if found.lost:
            yield row | {"status": "diverged"}
            continue
        if at == EQUAL_LOSS and member.final["train_loss"] <= settings.target_loss:
            row["status"] = "below the target"
        seen = found.data.x_train, found.data.y_train
        box = {"epsilon": settings.epsilon, "iterations": settings.iterations, "starts": 1}
        origin = _initial(settings, member) if net == FIRST else models.flat_parameters(start.model)
        yield row | {
            "sharpness": keskar_sharpness(found.model, *seen, **box).value,
            "spectral_norm": hessian.spectral_norm(found.model, *seen),
            "distance": float(np.linalg.norm(models.flat_parameters(found.model) - origin)),
            "highest": float(found.history["train_loss"].max()),
        }
    if not member.lost:
        for updates, at_evaluation in zip(member.evaluated, member.curve, strict=True):
            losses = {name: at_evaluation[name] for name in question.LOSSES_AND_ACCURACIES}
            yield {"table": "training", "net": net, "seed": member.seed, "updates": int(updates), **losses}


def _initial(settings, member):
    """The parameters of a net before its first phase."""
    shape = {"input_shape": member.data.x_train.shape[1:], "classes": member.data.classes}
    return models.flat_parameters(models.mlp(settings.hidden, seed=member.seed, **shape))


def _between(settings, ends, partner):
    """Yields the rows of the lines between the nets of one seed; lines to nets that are lost are left out.

    Where there is a partner, a net from other initial weights, a path joins A and the end of the small batch too.
    """
    pairs = [(line, at, *(ends.get(net) for net in nets)) for line, nets in LINES.items() for at in (END, BEFORE_DECAY)]
    pairs.append((INDEPENDENT, END, ends[FIRST], partner))
    for line, at, *members in pairs:
        if any(member is None or member.lost for member in members):
            continue
        images, seed = members[0].data, members[0].seed
        nets = [each.model if at == END or each is ends[FIRST] else _earlier(settings, each) for each in members]
        curves = {line: None}
        if line == "A to small" and at == END and partner is not None:
            search = {"steps": settings.path_steps, "cycles": CYCLES, "batch_size": settings.batch_sizes[1]}
            curves[PATH] = paths.string(*nets, images.x_train, images.y_train, **search, progress="path")
        for (name, path), part in itertools.product(curves.items(), ("train", "test") if at == END else ("train",)):
            examples = getattr(images, f"x_{part}"), getattr(images, f"y_{part}")
            found = barrier(*nets, *examples, path=path, per_segment=settings.points)
            yield {
                "table": "barriers",
                "line": name,
                "at": at,
                "part": part,
                "seed": seed,
                "loss_barrier": found.loss_barrier,
                "error_barrier": found.error_barrier,
                "length": float(found.arc_length[-1]),
            }
        if at == END:
            for row in line_rows(*nets, alphas(settings), images):
                yield {"table": "lines", "line": line, "seed": seed, **row}


def alphas(settings: Settings) -> np.ndarray:
    """The α of a drawn line: both ends, what is between them, and beyond."""
    inside = np.linspace(0, 1, round(1 / settings.spacing) + 1)
    outside = np.arange(1, round(settings.beyond / settings.spacing) + 1) * settings.spacing
    return np.round([*-outside[::-1], *inside, *1 + outside], 10)


def _earlier(settings, member):
    """A net as it was at the last evaluation before its learning rate began to fall."""
    place = np.flatnonzero(member.evaluated <= (1 - settings.decay) * settings.updates)[-1]
    return models.with_parameters(member.model, member.weights[place])


if __name__ == "__main__":
    command.main(sys.modules[__name__])
