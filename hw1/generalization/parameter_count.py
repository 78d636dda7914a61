"""How do loss and accuracy depend on the number of parameters?

    python -m hw1.generalization.parameter_count
    python -m hw1.generalization.parameter_count --size=smoke    seconds

Nets with one hidden layer of 1 to 12,000 units are trained until the training loss reaches a target, or for a maximum
number of epochs. Wide nets reach the target within a few epochs, narrow ones never. The final loss and accuracy on the
training and the test set are recorded.

Source: MLDS 2018, homework 1-3 (at least 10 nets of one structure).

Deviations: images are averaged over squares of 4 × 4 pixels, which leaves 7 × 7 pixels, so that nets over four decades
of size (70 to 720,010 parameters) can be trained in minutes. `--pool=1` keeps the full images, as `--size=paper` does.
"""

import dataclasses
import sys

import keras

from hw1 import command, datasets, models, question, training


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    pool: int = question.option(4, "side of the squares of pixels that are averaged; 1 keeps the images as they are")
    widths: tuple[int, ...] = question.option(
        (1, 2, 3, 5, 8, 14, 25, 45, 80, 150, 300, 700, 1700, 4500, 12000), "widths of the hidden layer"
    )
    epochs: int = question.option(50, "maximum number of passes over the training set")
    target_loss: float = question.option(0.05, "training loss in nats at which training stops")
    batch_size: int = question.option(100, "examples per step", at_most="train")
    learning_rate: float = question.option(3e-3, "step size of Adam (our choice: three times the default of Keras)")


SIZES = {
    "smoke": {"train": 200, "test": 200, "widths": (1, 8, 64), "epochs": 10, "seeds": 2, "batch_size": 50},
    "report": {},
    "paper": {"data": "mnist", "train": 60000, "test": 10000, "pool": 1, "epochs": 200},
}

COLUMNS = {
    "rows": ["hidden", "parameters", "seed", "epoch", *question.LOSSES_AND_ACCURACIES, "status"],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per width."""
    return [{"hidden": width} for width in settings.widths]


def run(settings: Settings, data, hidden: int):
    """Yields a row per seed."""
    data = datasets.average_pool(data, settings.pool)
    members = training.train(
        lambda seed: models.mlp((hidden,), input_shape=data.shape, classes=data.classes, seed=seed),
        data,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        target_loss=settings.target_loss,
        optimizer=lambda: keras.optimizers.Adam(settings.learning_rate),
        seeds=settings.all_seeds,
        progress=f"{hidden} hidden units",
    )
    for member in members:
        yield {
            "parameters": member.model.count_params(),
            "seed": member.seed,
            "epoch": member.history["epoch"][-1],
            **member.final,
            "status": member.status,
        }


if __name__ == "__main__":
    command.main(sys.modules[__name__])
