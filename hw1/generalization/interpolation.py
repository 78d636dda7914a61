"""What happens to loss and accuracy on the straight line between two solutions that were trained differently?

    python -m hw1.generalization.interpolation
    python -m hw1.generalization.interpolation --size=smoke    seconds

Two nets start from the same initial weights and are trained on the same images, with different batch sizes or with
different learning rates, to the same training loss. Loss and accuracy on the whole training and test set are measured
at θ_α = (1 − α) θ₁ + α θ₂, where θ₁ (α = 0) was trained with the smaller batch size or learning rate, and θ₂ (α = 1)
with the larger.

Source: MLDS 2018, homework 1-3; Goodfellow et al., arXiv 1412.6544; Keskar et al., arXiv 1609.04836, figure 3.

Deviations: both nets are trained to one training loss, not for the same number of epochs, so that the net with the
large batch is not merely undertrained.
"""

import dataclasses
import sys

import keras
import numpy as np

from hw1 import command, evaluation, question, recipe
from hw1.measures.interpolation import rows


@dataclasses.dataclass(frozen=True)
class Settings(question.OneLoss):
    """Settings of the question; each field is a flag."""

    batch_sizes: tuple[int, ...] = question.option(
        (64, 1024), "the two batch sizes, at the smaller learning rate", at_most="train", ascending=True
    )
    learning_rates: tuple[float, ...] = question.option(
        (1e-3, 1e-2), "the two learning rates of Adam, at the smaller batch size", ascending=True
    )
    points: int = question.option(61, "number of values of α from −1 to 2, including both ends", minimum=7)
    seeds: int = question.option(10, "independent repetitions (initial weights, batch order and split of the data)")


SIZES = {
    "smoke": {
        "train": 200,
        "test": 200,
        "hidden": (16,),
        "target_loss": 0.3,
        "updates": 300,
        "batch_sizes": (20, 100),
        "points": 7,
        "seeds": 2,
    },
    "report": {},
    "paper": {"data": "mnist", "train": 60000, "test": 10000, "points": 121, "updates": 200000},
}

BY_SEED = True
COLUMNS = {
    "rows": ["pair", "seed", "alpha", *question.LOSSES_AND_ACCURACIES, "status"],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per pair: two batch sizes, or two learning rates."""
    for name in ("batch_sizes", "learning_rates"):
        values = getattr(settings, name)
        if len(values) != 2 or values[0] > values[1]:
            raise ValueError(f"--{name}={question.write(values)}: must be two values, the smaller first")
    if settings.points % 3 != 1:
        raise ValueError(f"--points={settings.points}: must be 3k + 1, such as 61, so that α = 0 and 1 are among them")
    return [{"pair": "batch size"}, {"pair": "learning rate"}]


def run(settings: Settings, data, pair: str):
    """Yields a row per seed and α."""
    (small_batch, large_batch), (small_rate, large_rate) = settings.batch_sizes, settings.learning_rates
    first = _train(settings, data, small_batch, small_rate)
    if pair == "batch size":
        second = _train(settings, data, large_batch, small_rate)
    else:
        second = _train(settings, data, small_batch, large_rate)
    alphas = np.round(np.linspace(-1, 2, settings.points), 10)
    for a, b in zip(first, second, strict=True):
        status = next((s for s in ("diverged", "target not reached") if s in (a.status, b.status)), "ok")
        if status == "diverged":
            yield {"seed": a.seed, "status": status}
            continue
        for row in rows(a.model, b.model, alphas, a.data):
            yield {"seed": a.seed, **row, "status": status}


def _train(settings, data, batch_size, learning_rate):
    """The nets of one batch size and learning rate; those that both pairs have are trained once."""

    def train():
        return recipe.train(settings, data, batch_size, optimizer=lambda: keras.optimizers.Adam(learning_rate))

    return evaluation.remember((_train, settings, batch_size, learning_rate, data.sha256), train)


if __name__ == "__main__":
    command.main(sys.modules[__name__])
