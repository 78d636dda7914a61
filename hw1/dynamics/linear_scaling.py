"""Up to which batch size does a learning rate proportional to the batch size keep the test accuracy?

    python -m hw1.dynamics.linear_scaling
    python -m hw1.dynamics.linear_scaling --size=smoke    seconds

Nets are trained by SGD with momentum for equally many epochs, with batch sizes B in steps of 2 from a base B₀ and these
learning rates:

    constant   ε₀, whatever the batch size
    scaled     ε₀ B/B₀, the linear scaling rule
    warm-up    the same, but in the first epochs the rate rises by equal amounts per step from ε₀ to ε₀ B/B₀

All of them are divided by 10 at the milestones, as in the source. The nets of batch size B₀ are the same under all
rules. Test accuracy is compared with theirs, pairs of one seed; equal means within half a point. With larger batches
there are fewer updates: table "training" has losses and accuracies along training, which tell what is undertrained.

Source: Goyal et al., arXiv 1706.02677, sections 2 and 5.1.

The schedule is the source's: 90 epochs, warm-up over 5, milestones after 30, 60 and 80. Of the learning rates 0.01,
0.02 and 0.04, the last had the best test accuracy at B₀ = 20 on the seeds 1000 and 1001 (0.938, 0.940 and 0.946; with
36 epochs, 0.08 was better than 0.04 by 0.001).

Deviations: a dense net on small images, averaged to 14 × 14 pixels, instead of ResNet-50 on ImageNet; no weight decay,
no augmentation. The source repeats training on one division of the images, here every seed divides them anew.
"""

import dataclasses
import sys

import keras
import numpy as np

from hw1 import command, datasets, models, question, training

CONSTANT, SCALED, WARM = "constant", "scaled", "warm-up"
RULES = (CONSTANT, SCALED, WARM)


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    pool: int = question.option(2, "side of the squares of pixels that are averaged; 1 keeps the images as they are")
    hidden: tuple[int, ...] = question.option((50,), "widths of the hidden layers", unique=False)
    batch_sizes: tuple[int, ...] = question.option(
        (20, 40, 80, 160, 320, 640, 1280, 2560), "batch sizes, the base first", at_most="train"
    )
    factor: float = question.option(
        32.0, "batch size at which the rules are judged, in units of the base (the source's 8,192 / 256)"
    )
    learning_rate: float = question.option(
        0.04, "learning rate of the base batch size (chosen with the seeds 1000 and 1001)"
    )
    momentum: float = question.option(0.9, "momentum", minimum=0, maximum=0.999)
    epochs: int = question.option(90, "passes over the training set")
    warmup: int = question.option(5, "epochs of the warm-up", at_most="epochs")
    milestones: tuple[int, ...] = question.option((30, 60, 80), "epochs after which the learning rate is divided by 10")
    evaluate_every: int = question.option(10, "epochs between evaluations", at_most="epochs")
    seeds: int = question.option(10, "independent repetitions (initial weights, batch order and split of the images)")


SIZES = {
    "smoke": {
        "train": 200,
        "test": 200,
        "hidden": (8,),
        "batch_sizes": (10, 20, 40),
        "factor": 2.0,
        "epochs": 6,
        "warmup": 1,
        "milestones": (4,),
        "evaluate_every": 2,
        "seeds": 2,
    },
    "report": {},
    "paper": {
        "data": "mnist",
        "train": 60000,
        "test": 10000,
        "pool": 1,
        "hidden": (800,),
        "batch_sizes": (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384),
    },
}

BY_SEED = True
COLUMNS = {
    "rows": ["batch_size", "rule", "learning_rate", "seed", "updates", *question.LOSSES_AND_ACCURACIES, "status"],
    "training": ["batch_size", "rule", "seed", "epoch", *question.LOSSES_AND_ACCURACIES],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per batch size."""
    sizes = settings.batch_sizes
    if len(sizes) < 2 or min(sizes) != sizes[0]:
        raise ValueError(f"--batch_sizes={question.write(sizes)}: must be two or more, the smallest first")
    if settings.factor <= 1 or round(settings.factor * sizes[0]) not in sizes:
        raise ValueError(
            f"--factor={settings.factor:g}: {settings.factor:g} times the base {sizes[0]} must be another one of "
            f"--batch_sizes={question.write(sizes)}"
        )
    if max(settings.milestones) >= settings.epochs or list(settings.milestones) != sorted(settings.milestones):
        raise ValueError(
            f"--milestones={question.write(settings.milestones)}: must rise and be below --epochs={settings.epochs}"
        )
    return [{"batch_size": size} for size in sizes]


def rates(settings: Settings, batch_size: int, rule: str, passed) -> np.ndarray:
    """The learning rate of a rule after so many epochs.

    Args:
        settings: of the question.
        batch_size: B.
        rule: one of `RULES`.
        passed: epochs, whole or not, shape [n].

    Returns:
        Shape [n].
    """
    factor = 1 if rule == CONSTANT else batch_size / settings.batch_sizes[0]
    warmed = np.minimum(1, np.asarray(passed) / settings.warmup) if rule == WARM else np.ones(len(passed))
    drops = np.searchsorted(settings.milestones, np.asarray(passed) + 1e-9, side="right")
    return settings.learning_rate * (1 + (factor - 1) * warmed) * 0.1**drops


def run(settings: Settings, data, batch_size: int):
    """Yields a row per rule and seed, and the evaluations along training."""
    data = datasets.average_pool(data, settings.pool)
    is_base = batch_size == settings.batch_sizes[0]
    rules = RULES[:1] if is_base else RULES  # all rules are one at the base

    def build(seed):
        return models.mlp(settings.hidden, input_shape=data.shape, classes=data.classes, seed=seed)

    members = training.train(
        build,
        data,
        batch_size=batch_size,
        epochs=settings.epochs,
        evaluate_every=settings.evaluate_every,
        learning_rate=lambda passed: (
            np.repeat([rates(settings, batch_size, rule, passed) for rule in rules], settings.seeds, axis=0).T
        ),
        momentum=settings.momentum,
        optimizer=keras.optimizers.SGD,
        seeds=[seed for _ in rules for seed in settings.all_seeds],
        progress=f"batch size {batch_size}",
    )
    for number, rule in enumerate(RULES):
        begin = 0 if is_base else number * settings.seeds
        scale = 1 if rule == CONSTANT else batch_size / settings.batch_sizes[0]
        for member in members[begin : begin + settings.seeds]:
            yield {"rule": rule, "learning_rate": settings.learning_rate * scale, **member.row}
            yield from ({"table": "training", "rule": rule, "seed": member.seed, **values} for values in member.curve)


if __name__ == "__main__":
    command.main(sys.modules[__name__])
