"""How does the norm of the gradient go while the loss falls?

    python -m hw1.optimization.gradient_norm                 about 5 seconds of one core
    python -m hw1.optimization.gradient_norm --size=smoke    seconds

Two tasks, the function sin(5πx) / (5πx) and images, are trained on by mini-batches. At every step the loss of the batch
and the norm of its gradient over all parameters, √Σ‖∂L/∂p‖₂², are recorded before the update.

Source: MLDS 2018, homework 1-2.

Deviations: none; the slides leave nets and optimizers open.
"""

import dataclasses
import sys

import keras

from hw1 import command, datasets, models, question, training


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """What can be changed; every field is a flag."""

    points: int = question.option(200, "training points of the function")
    function_hidden: tuple[int, ...] = question.option((10, 18, 15, 4), "hidden layers for the function", unique=False)
    hidden: tuple[int, ...] = question.option(models.COURSE_HIDDEN, "hidden layers for the images", unique=False)
    steps: int = question.option(1000, "optimizer steps of each task")
    function_batch_size: int = question.option(50, "points per step", at_most="points")
    batch_size: int = question.option(64, "images per step", at_most="train")
    function_learning_rate: float = question.option(1e-2, "step size of Adam for the function (our choice)")
    learning_rate: float = question.option(1e-3, "step size of Adam for the images (its default in Keras)")


SIZES = {
    "smoke": {"train": 200, "test": 200, "points": 40, "steps": 60, "hidden": (16,), "function_hidden": (8,)}
    | {"batch_size": 20, "function_batch_size": 20, "seeds": 2},
    "report": {},
    "paper": {"data": "mnist", "train": 60000, "test": 10000, "points": 1000, "steps": 20000, "seeds": 8},
}


COLUMNS = {
    "rows": ["task", "seed", "step", "loss", "gradient_norm", "status"],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per task."""
    return [{"task": "sinc"}, {"task": "images"}]


def run(settings: Settings, data, task: str):
    """Yields a row per seed and step."""
    hidden, batch_size, rate = settings.hidden, settings.batch_size, settings.learning_rate
    activation, loss = "relu", None
    if task == "sinc":
        data, loss, activation = datasets.function("sinc", settings.points), keras.losses.mean_squared_error, "tanh"
        hidden, batch_size = settings.function_hidden, settings.function_batch_size
        rate = settings.function_learning_rate
    shape, classes = data.shape, data.classes
    members = training.train(
        lambda seed: models.mlp(hidden, activation, input_shape=shape, classes=classes, seed=seed),
        data,
        batch_size=batch_size,
        updates=settings.steps,
        evaluate_updates=settings.steps,
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


if __name__ == "__main__":
    command.main(sys.modules[__name__])
