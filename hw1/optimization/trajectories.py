"""Which paths do the weights of one net take in several trainings?

    python -m hw1.optimization.trajectories
    python -m hw1.optimization.trajectories --size=smoke    seconds

The same net is trained eight times from different initial weights. All weights are recorded every third epoch. A
principal component analysis of all recorded weights together projects them onto two dimensions, once for the first
layer (kernel and bias) and once for the whole model.

All trainings use the same training set, so that their paths belong to the landscape of one loss. A seed therefore draws
initial weights and batch order only.

Source: MLDS 2018, homework 1-2.

Deviations: none; the slides leave the net open.
"""

import dataclasses
import sys

import keras
import numpy as np
from sklearn.decomposition import PCA

from hw1 import command, models, question, training


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    hidden: tuple[int, ...] = question.option(models.COURSE_HIDDEN, "widths of the hidden layers", unique=False)
    epochs: int = question.option(45, "epochs of training")
    every: int = question.option(3, "epochs between recorded weights", at_most="epochs")
    batch_size: int = question.option(100, "examples per step", at_most="train")
    learning_rate: float = question.option(1e-3, "learning rate of Adam (the default of Keras)")
    splits: str = question.option(
        "fixed",
        "division into training and test set, only fixed: all trainings share one training set, and so one loss",
        choices=("fixed",),
    )
    seeds: int = question.option(8, "number of trainings (initial weights and batch order)", minimum=2)


SIZES = {
    "smoke": {"train": 200, "test": 200, "hidden": (16,), "epochs": 6, "batch_size": 50, "seeds": 3},
    "report": {},
    "paper": {"data": "mnist", "train": 60000, "test": 10000, "epochs": 90},
}

COLUMNS = {
    "rows": [
        "scope",
        "seed",
        "epoch",
        "first",
        "second",
        "first_explained",
        "second_explained",
        *question.LOSSES_AND_ACCURACIES,
        "status",
    ],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per scope, whose recorded weights are analysed together."""
    return [{"scope": "layer 1"}, {"scope": "whole model"}]


def run(settings: Settings, data, scope: str):
    """Yields a row per seed and recorded epoch."""
    members = training.train(
        lambda seed: models.mlp(settings.hidden, input_shape=data.shape, classes=data.classes, seed=seed),
        data,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        evaluate_every=settings.every,
        optimizer=lambda: keras.optimizers.Adam(settings.learning_rate),
        seeds=settings.all_seeds,
        record=["weights"],
        progress=scope,
    )
    weights = np.concatenate([member.weights for member in training.measurable(members)]).astype(np.float64)
    if scope == "layer 1":
        layer = next(layer for layer in members[0].model.layers if layer.weights)
        weights = weights[:, : layer.count_params()]
    analysis = PCA(2, svd_solver="full")
    points = iter(analysis.fit_transform(weights))
    shares = dict(zip(("first_explained", "second_explained"), analysis.explained_variance_ratio_, strict=True))
    for member in members:
        for at_epoch in member.curve:
            first, second = (np.nan, np.nan) if member.status == "diverged" else next(points)
            where = {"first": first, "second": second, **shares}
            yield {"seed": member.seed, **where, **at_epoch, "status": member.status}


if __name__ == "__main__":
    command.main(sys.modules[__name__])
