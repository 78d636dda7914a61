"""How does the norm of the gradient change while the loss falls?

    python -m hw1.optimization.gradient_norm
    python -m hw1.optimization.gradient_norm --size=smoke    seconds

Nets are trained by mini-batches on two tasks: the function sin(5πx) / (5πx), and images. At every step, before the
update, the loss of the mini-batch and the norm of its gradient over all parameters, √Σ‖∂L/∂p‖₂², are recorded. The
table `accuracy` holds loss and accuracy on the whole training and test set of images, some 8 times along the training:
did it succeed?

Source: MLDS 2018, homework 1-2; Goodfellow, Bengio and Courville, Deep Learning, figure 8.1, for images.

Deviations: the slides leave nets and optimizers open. The book's figure is of a convolutional net that detects objects,
over some 250 epochs; here a fully connected net classifies images for 1,000 steps of 64 images, 13 epochs of the 5,000.
"""

import dataclasses
import sys

import keras

from hw1 import command, datasets, models, question, training

LOOKS = 8  # evaluations on the whole sets: as dear as the steps


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    points: int = question.option(200, "training points of the function")
    function_hidden: tuple[int, ...] = question.option(
        (10, 18, 15, 4), "widths of the hidden layers for the function", unique=False
    )
    hidden: tuple[int, ...] = question.option(
        models.COURSE_HIDDEN, "widths of the hidden layers for the images", unique=False
    )
    steps: int = question.option(1000, "optimizer steps on each task")
    function_batch_size: int = question.option(50, "points per step", at_most="points")
    batch_size: int = question.option(64, "images per step", at_most="train")
    function_learning_rate: float = question.option(1e-2, "learning rate of Adam for the function (our choice)")
    learning_rate: float = question.option(1e-3, "learning rate of Adam for the images (the default of Keras)")
    seeds: int = question.option(15, "independent repetitions (initial weights, batch order and, of images, the split)")


SIZES = {
    "smoke": {
        "train": 200,
        "test": 200,
        "points": 40,
        "function_hidden": (8,),
        "hidden": (16,),
        "steps": 60,
        "function_batch_size": 20,
        "batch_size": 20,
        "seeds": 2,
    },
    "report": {},
    "paper": {"data": "mnist", "train": 60000, "test": 10000, "points": 1000, "steps": 20000},
}

BY_SEED = True
COLUMNS = {
    "rows": ["task", "seed", "step", "loss", "gradient_norm", "status"],
    "accuracy": ["task", "seed", "step", *question.LOSSES_AND_ACCURACIES],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per task."""
    return [{"task": "sinc"}, {"task": "images"}]


def run(settings: Settings, data, task: str):
    """Yields a row per seed and step, and one per seed and evaluation of the images."""
    if task == "sinc":
        data, loss = datasets.function("sinc", settings.points), keras.losses.mean_squared_error
        hidden, activation = settings.function_hidden, "tanh"
        batch_size, rate = settings.function_batch_size, settings.function_learning_rate
    else:
        loss, hidden, activation = None, settings.hidden, "relu"
        batch_size, rate = settings.batch_size, settings.learning_rate
    shape, classes = data.shape, data.classes
    members = training.train(
        lambda seed: models.mlp(hidden, activation, input_shape=shape, classes=classes, seed=seed),
        data,
        batch_size=batch_size,
        updates=settings.steps,
        evaluate_updates=max(1, settings.steps // LOOKS),
        optimizer=lambda: keras.optimizers.Adam(rate),
        seeds=settings.all_seeds,
        loss=loss,
        record=["steps"],
        progress=task,
    )
    for member in members:
        steps = zip(member.steps["loss"], member.steps["gradient_norm"], strict=True)
        for step, (value, norm) in enumerate(steps):
            yield {"seed": member.seed, "step": step, "loss": value, "gradient_norm": norm, "status": member.status}
        if task == "images":
            yield from _evaluations(member)


def _evaluations(member):
    """The rows of the table "accuracy"."""
    for step, row in zip(member.evaluated, member.curve, strict=True):
        values = {name: row[name] for name in question.LOSSES_AND_ACCURACIES}
        yield {"table": "accuracy", "seed": member.seed, "step": step, **values}


if __name__ == "__main__":
    command.main(sys.modules[__name__])
