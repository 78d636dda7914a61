"""Can a net fit random labels?

    python -m hw1.generalization.random_labels
    python -m hw1.generalization.random_labels --size=smoke    seconds

Before training, a fraction of the training labels is permuted, which leaves the number of labels of each class
unchanged. The test labels stay true. A net with three hidden layers of 256 units is trained, and loss and accuracy on
the training and the test set are recorded every second epoch. At 100 % the net can only memorise: if it fits the
labels, its training accuracy is near 1 and its test accuracy at chance.

Each seed permutes the labels of its own split of the data. With `--splits=fixed` the labels are permuted once, and the
seeds differ in initial weights and batch order only.

Source: MLDS 2018, homework 1-3; Zhang et al., arXiv 1611.03530, figure 1.

Deviations: 2,500 training images instead of 60,000; `--size=paper` takes them all.
"""

import dataclasses
import sys

import keras

from hw1 import command, datasets, models, question, training


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    train: int = question.option(2500, "training examples")
    fractions: tuple[float, ...] = question.option(
        (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), "fractions of the training labels that are permuted", minimum=0, maximum=1
    )
    hidden: tuple[int, ...] = question.option(models.RANDOM_LABEL_HIDDEN, "widths of the hidden layers", unique=False)
    epochs: int = question.option(40, "passes over the training set")
    evaluate_every: int = question.option(2, "epochs between evaluations")
    batch_size: int = question.option(
        125, "examples per step (our choice: random labels are fitted in 40 epochs)", at_most="train"
    )
    learning_rate: float = question.option(1e-3, "step size of Adam (the default of Keras)")


SIZES = {
    "smoke": {
        "train": 200,
        "test": 200,
        "fractions": (0.0, 1.0),
        "hidden": (32, 32),
        "epochs": 30,
        "batch_size": 50,
        "learning_rate": 1e-2,
        "seeds": 2,
    },
    "report": {},
    "paper": {"data": "mnist", "train": 60000, "test": 10000, "epochs": 400, "batch_size": 250, "evaluate_every": 1},
}

COLUMNS = {
    "rows": ["fraction", "seed", "epoch", *question.LOSSES_AND_ACCURACIES, "status"],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per fraction of permuted labels."""
    return [{"fraction": fraction} for fraction in settings.fractions]


def run(settings: Settings, data, fraction: float):
    """Yields a row per seed and epoch."""
    noisy = datasets.Splits.stacked({seed: _noisy(data, seed, fraction) for seed in settings.all_seeds})
    members = training.train(
        lambda seed: models.mlp(settings.hidden, input_shape=data.shape, classes=data.classes, seed=seed),
        noisy,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        evaluate_every=settings.evaluate_every,
        optimizer=lambda: keras.optimizers.Adam(settings.learning_rate),
        seeds=settings.all_seeds,
        progress=f"{fraction:.0%} random labels",
    )
    for member in members:
        for at_epoch in member.curve:
            yield {"seed": member.seed, **at_epoch, "status": member.status}


def _noisy(data, seed, fraction):
    """The split of a seed with part of its training labels permuted."""
    split = data.of(seed)
    return dataclasses.replace(split, y_train=datasets.shuffle_labels(split.y_train, fraction, data.key(seed)))


if __name__ == "__main__":
    command.main(sys.modules[__name__])
