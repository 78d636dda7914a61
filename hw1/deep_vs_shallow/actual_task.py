"""Does depth help on a real task, with as many parameters?

    python -m hw1.deep_vs_shallow.actual_task                 about 2¾ minutes of one core
    python -m hw1.deep_vs_shallow.actual_task --size=smoke    seconds

Fully connected nets (DNN) of five, two and one hidden layers and convolutional nets (CNN) of three, two and one
convolutions, all with 24,244 to 24,655 parameters, learn MNIST and Fashion-MNIST. Loss and accuracy on both sets are
recorded after every epoch.

Source: MLDS 2018, homework 1-1 (at least three nets of nearly equal size, DNN or CNN; both, and a second task, are
its bonus).

Deviations: 5,000 training images instead of 60,000. The CNNs are trained for few epochs, because they cost most: the
nets of one kind are compared after equally many updates, not at convergence, and the report says where the training
loss was still falling. `--size=paper` takes all images and more epochs.
"""

import dataclasses
import sys

import keras

from hw1 import command, models, question, training


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """What can be changed; every field is a flag."""

    data: tuple[str, ...] = question.option(
        ("mnist10k", "fashion10k"), "data sets: names of hw1.datasets or paths; sizes are for images of 28 × 28 pixels"
    )
    dnns: tuple[str, ...] = question.option(models.TASK_DNNS, "DNNs, widths of their hidden layers as in 30-20")
    cnns: tuple[str, ...] = question.option(
        tuple(models.TASK_CNNS), "CNNs, by their names in hw1.models", choices=models.TASK_CNNS
    )
    dnn_epochs: int = question.option(20, "passes over the training set by a DNN")
    cnn_epochs: int = question.option(8, "passes over the training set by a CNN")
    batch_size: int = question.option(
        25, "examples per step (our choice: a CNN takes hardly longer than with 100)", at_most="train"
    )
    learning_rate: float = question.option(1e-3, "step size of Adam (its default in Keras)")


SIZES = {
    "smoke": {"train": 200, "test": 200, "dnns": ("12-12", "16"), "cnns": ("2 convolutions", "1 convolution")}
    | {"dnn_epochs": 3, "cnn_epochs": 2, "seeds": 2},
    "report": {},
    "paper": {"data": ("mnist", "fashion_mnist"), "train": 60000, "test": 10000, "dnn_epochs": 100, "cnn_epochs": 50},
}


COLUMNS = {
    "rows": ["data", "kind", "hidden", "parameters", "seed", "epoch", *question.FOUR, "status"],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per data set and net."""
    for hidden in settings.dnns:
        models.widths(hidden)  # a net that cannot be read is an error before anything is trained
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
    """The net of a unit: a DNN by its widths, a CNN by its name in `models.TASK_CNNS`."""
    if kind == "dnn":
        return models.mlp(models.widths(hidden), input_shape=input_shape, classes=classes, seed=seed)
    return models.cnn(**models.TASK_CNNS[hidden], input_shape=input_shape, classes=classes, seed=seed)


if __name__ == "__main__":
    command.main(sys.modules[__name__])
