"""Does growing the batch size do the same as decaying the learning rate?

    python -m hw1.dynamics.batch_growth
    python -m hw1.dynamics.batch_growth --size=smoke    seconds

A net is trained by SGD with momentum, from the same weights and with the same images, by four schedules. The noise of
SGD is ε (N/B − 1) / (1 − m), about εN / (B (1 − m)) for B far below N: it falls by the same factor whether ε is divided
or B is multiplied by that factor. At each milestone

    decaying rate     ε is divided by the factor
    growing batch     B is multiplied by the factor
    hybrid            B is multiplied at the first milestone, then ε is divided
    constant          nothing happens, the control

Losses and accuracies are recorded after every epoch, with the number of updates until then. Until the first milestone
the four trainings are one and the same, to rounding. Are the curves the same per epoch after it too? Are test
accuracies at the end equal within half a point, and above those of the control?

Source: Smith, Kindermans, Ying and Le, arXiv 1711.00489 (simulated annealing in a wide ResNet).

Deviations: 4,500 images and a fully connected net without batch normalisation instead of a wide ResNet on CIFAR-10; no
weight decay; ε and B change by a factor of 3, not 5, so that B stays at or below a tenth of N. 4,500 is a multiple of
all three batch sizes, so that no step has a smaller batch. The control is ours. Of the rates 0.01, 0.03 and 0.06, that
of the highest test accuracy with a decaying rate was taken (0.850, 0.843 and 0.823 on the seeds 1000 to 1002).
"""

import dataclasses
import sys

import keras

from hw1 import command, models, question, training

DECAYING, GROWING, HYBRID, CONSTANT = "decaying rate", "growing batch", "hybrid", "constant"
SCHEDULES = (DECAYING, GROWING, HYBRID, CONSTANT)


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    data: str = question.option("fashion10k", "data set: a name of hw1.datasets or a path")
    train: int = question.option(4500, "training examples")
    test: int = question.option(5500, "test examples")
    seeds: int = question.option(20, "independent repetitions (initial weights, batch order and, of images, the split)")
    hidden: tuple[int, ...] = question.option((50,), "widths of the hidden layers", unique=False)
    epochs: int = question.option(30, "passes over the training set")
    milestones: tuple[int, ...] = question.option((12, 21), "epochs after which a schedule changes, rising")
    factor: int = question.option(3, "factor by which the rate falls or the batch grows", minimum=2)
    batch_size: int = question.option(20, "examples per step at the start", at_most="train")
    learning_rate: float = question.option(0.01, "learning rate at the start (chosen with the seeds 1000 to 1002)")
    momentum: float = question.option(0.9, "momentum (as in the source)", minimum=0, maximum=0.999)


SIZES = {
    "smoke": {
        "train": 180,
        "test": 200,
        "hidden": (16,),
        "batch_size": 2,
        "epochs": 6,
        "milestones": (2, 4),
        "seeds": 2,
    },
    "report": {},
    "paper": {
        "data": "fashion_mnist",
        "train": 54000,
        "test": 10000,
        "hidden": (512, 512),
        "batch_size": 120,
        "factor": 5,
        "epochs": 160,
        "milestones": (60, 120),
    },
}

BY_SEED = True
COLUMNS = {"rows": ["schedule", "seed", "epoch", "updates", *question.LOSSES_AND_ACCURACIES, "status"]}


def units(settings: Settings) -> list[dict]:
    """One unit of work per schedule."""
    milestones = settings.milestones
    written = question.write(milestones)
    if list(milestones) != sorted(milestones):
        raise ValueError(f"--milestones={written}: must be rising numbers of epochs, such as 12,21")
    if milestones[-1] >= settings.epochs:
        raise ValueError(f"--milestones={written}: must lie before the end, --epochs={settings.epochs}")
    largest = settings.batch_size * settings.factor ** len(milestones)
    if largest > settings.train:
        raise ValueError(
            f"--batch_size={settings.batch_size}: grows to {largest}, but must stay at most --train={settings.train}; "
            "give a smaller batch, a smaller --factor or fewer --milestones"
        )
    return [{"schedule": name} for name in SCHEDULES]


def run(settings: Settings, data, schedule: str):
    """Yields a row per seed and epoch."""
    plan = schedules(settings)[schedule]
    members = training.train(
        lambda seed: models.mlp(settings.hidden, input_shape=data.shape, classes=data.classes, seed=seed),
        data,
        **plan,
        epochs=settings.epochs,
        optimizer=lambda: keras.optimizers.SGD(settings.learning_rate, momentum=settings.momentum),
        seeds=settings.all_seeds,
        progress=schedule,
    )
    for member in members:
        for updates, at_epoch in zip(member.evaluated, member.curve, strict=True):
            yield {"seed": member.seed, "updates": updates, **at_epoch, "status": member.status}


def schedules(settings: Settings) -> dict[str, dict[str, dict[int, float]]]:
    """Name → batch_size and learning_rate, dicts from the epoch at which a value begins to the value."""
    begins, factor = (0, *settings.milestones), settings.factor

    def schedule(growths):
        """With so many of the milestones, the first ones, taken by the batch size and the others by the rate."""
        sizes = {epoch: settings.batch_size * factor ** min(done, growths) for done, epoch in enumerate(begins)}
        rates = {epoch: settings.learning_rate / factor ** max(0, done - growths) for done, epoch in enumerate(begins)}
        return {"batch_size": sizes, "learning_rate": rates}

    return {
        DECAYING: schedule(0),
        GROWING: schedule(len(begins)),
        HYBRID: schedule(1),
        CONSTANT: {"batch_size": {0: settings.batch_size}, "learning_rate": {0: settings.learning_rate}},
    }


if __name__ == "__main__":
    command.main(sys.modules[__name__])
