"""Do deeper nets learn an image classification task better than shallow nets with about as many parameters?

    python -m hw1.deep_vs_shallow.actual_task
    python -m hw1.deep_vs_shallow.actual_task --size=smoke    seconds

Six nets are trained on MNIST and on Fashion-MNIST: fully connected nets (DNN) with five, two and one hidden layers, and
convolutional nets (CNN) with three, two and one convolutions. All have 24,244 to 24,655 parameters. Loss and accuracy
on the training and the test set are recorded after every epoch.

Source: MLDS 2018, homework 1-1. It asks for at least three nets of nearly equal size, DNN or CNN; using both, and a
second task, is its bonus.

Deviations: 5,000 training images instead of 60,000. The CNNs are trained for few epochs because they cost most. Nets of
one kind are compared after equally many updates, not at convergence; the report says where the training loss was still
falling. `--size=paper` takes all images and more epochs.
"""

import dataclasses
import sys

import keras

from hw1 import command, models, nets, question, training


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    data: tuple[str, ...] = question.option(
        ("mnist10k", "fashion10k"),
        "data sets: names of hw1.datasets or paths; the nets are of equal size for 28 × 28 pixels",
    )
    dnns: tuple[str, ...] = question.option(
        nets.TASK_DNNS, "DNNs, given by the widths of their hidden layers, such as 30-20"
    )
    cnns: tuple[str, ...] = question.option(
        tuple(nets.TASK_CNNS), "CNNs, given by their names in hw1.nets", choices=nets.TASK_CNNS
    )
    dnn_epochs: int = question.option(20, "passes over the training set for a DNN")
    cnn_epochs: int = question.option(8, "passes over the training set for a CNN")
    batch_size: int = question.option(
        25, "examples per step (our choice: an epoch of a CNN takes hardly longer than with 100)", at_most="train"
    )
    learning_rate: float = question.option(1e-3, "step size of Adam (the default of Keras)")


SIZES = {
    "smoke": {
        "train": 200,
        "test": 200,
        "dnns": ("12-12", "16"),
        "cnns": ("2 convolutions", "1 convolution"),
        "dnn_epochs": 3,
        "cnn_epochs": 2,
        "seeds": 2,
    },
    "report": {},
    "paper": {"data": ("mnist", "fashion_mnist"), "train": 60000, "test": 10000, "dnn_epochs": 100, "cnn_epochs": 50},
}

COLUMNS = {
    "rows": ["data", "kind", "hidden", "parameters", "seed", "epoch", *question.LOSSES_AND_ACCURACIES, "status"],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per data set and net."""
    for hidden in settings.dnns:
        models.widths(hidden)  # raises for an unreadable net before anything is trained
    nets = [("dnn", hidden) for hidden in settings.dnns] + [("cnn", hidden) for hidden in settings.cnns]
    return [
        {"data": data, "kind": kind, "hidden": hidden}
        for data in map(question.label, settings.data)
        for kind, hidden in nets
    ]


def run(settings: Settings, sets: dict, data: str, kind: str, hidden: str):
    """Yields a row per seed and epoch."""
    images = sets[data]
    members = training.train(
        lambda seed: build(kind, hidden, images.shape, images.classes, seed),
        images,
        batch_size=settings.batch_size,
        epochs=settings.dnn_epochs if kind == "dnn" else settings.cnn_epochs,
        optimizer=lambda: keras.optimizers.Adam(settings.learning_rate),
        seeds=settings.all_seeds,
        progress=f"{data} by {kind} {hidden}",
    )
    for member in members:
        parameters = member.model.count_params()
        for at_epoch in member.curve:
            yield {"parameters": parameters, "seed": member.seed, **at_epoch, "status": member.status}


def build(kind: str, hidden: str, input_shape=(28, 28), classes: int = 10, seed: int = 0) -> keras.Model:
    """Builds a DNN from the widths of its hidden layers, or a CNN from its name in `hw1.nets.TASK_CNNS`.

    Args:
        kind: "dnn" or "cnn".
        hidden: widths, such as "30-20", or the name of the CNN.
        input_shape: shape of one image.
        classes: number of outputs.
        seed: of the initial weights.
    """
    if kind == "dnn":
        return models.mlp(models.widths(hidden), input_shape=input_shape, classes=classes, seed=seed)
    return models.cnn(**nets.TASK_CNNS[hidden], input_shape=input_shape, classes=classes, seed=seed)


if __name__ == "__main__":
    command.main(sys.modules[__name__])
