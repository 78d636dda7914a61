"""Do deeper nets fit a function better than shallow nets with about as many parameters?

    python -m hw1.deep_vs_shallow.simulate_function
    python -m hw1.deep_vs_shallow.simulate_function --size=smoke    seconds

Three fully connected nets with one input, one output and 571 or 572 parameters learn sin(5πx) / (5πx) and sgn(sin(5πx))
on (0, 1] by mean squared error. They have seven, four and one hidden layers. All six trainings use the same optimizer
settings: Adam with a learning rate that falls to zero along a cosine, so that every loss has settled by the end.
The training points are x = 1/n, 2/n, ..., 1. Recorded are the mean squared error at the training points (`loss`), the
mean squared error at the midpoints between them (`test_loss`), and the predictions of each trained net at about a
hundred of the training points. Where x is a multiple of 0.2, sin(5πx) is 0 and so is the target of the sign function:
these training points lie on its jumps.

Source: MLDS 2018, homework 1-1. The widths and the 20,000 epochs are those of its slides.

Deviations: activation, optimizer and number of points are our choice, so errors reported elsewhere for the course are
not directly comparable. The activation is a leaky ReLU: with ReLU, nets with layers this narrow died for some seeds,
and a single layer of 190 tanh units learned slowly.
"""

import dataclasses
import sys

import keras

from hw1 import command, datasets, models, question, training
from hw1.nets import ACTIVATIONS, FUNCTION_NETS


@dataclasses.dataclass(frozen=True)
class Settings(question.Repeated):
    """Settings of the question; each field is a flag."""

    functions: tuple[str, ...] = question.option(("sinc", "sign"), "functions to learn", choices=datasets.FUNCTIONS)
    nets: tuple[str, ...] = question.option(
        FUNCTION_NETS, "nets, given by the widths of their hidden layers, such as 10-18-4"
    )
    points: int = question.option(
        200, "training points; they lie on (0, 1], and the test points are the midpoints between them"
    )
    activation: str = question.option(
        "leaky_relu", "activation of the hidden layers, a name in Keras", choices=ACTIVATIONS
    )
    epochs: int = question.option(20_000, "epochs")
    evaluate_every: int = question.option(250, "epochs between evaluations")
    batch_size: int = question.option(100, "points per step", at_most="points")
    learning_rate: float = question.option(0.02, "initial learning rate of Adam; it falls to zero along a cosine")
    seeds: int = question.option(10, "independent repetitions (initial weights and batch order)")


SIZES = {
    "smoke": {
        "nets": ("10-8-5", "24"),
        "points": 40,
        "batch_size": 20,
        "epochs": 400,
        "evaluate_every": 50,
        "seeds": 2,
    },
    "report": {},
    "paper": {"points": 1000, "evaluate_every": 100},
}

COLUMNS = {
    "rows": ["function", "hidden", "seed", "epoch", "loss", "test_loss", "status"],
    "predictions": ["function", "hidden", "seed", "x", "prediction", "target"],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per function and net."""
    models.check_widths("nets", settings.nets)
    return [{"function": function, "hidden": hidden} for function in settings.functions for hidden in settings.nets]


def run(settings: Settings, data, function: str, hidden: str):
    """Yields a row per seed and epoch, and the predictions of each trained net; `data` is not used."""
    data = datasets.function(function, settings.points)
    members = training.train(
        lambda seed: models.mlp(
            models.widths(hidden), settings.activation, input_shape=data.shape, classes=1, seed=seed
        ),
        data,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        evaluate_every=settings.evaluate_every,
        optimizer=lambda: keras.optimizers.Adam(_falling(settings)),
        seeds=settings.all_seeds,
        loss=keras.losses.mean_squared_error,
        progress=f"{function} by {hidden}",
    )
    for member in members:
        for at_epoch in member.curve:
            yield {"seed": member.seed, "loss": at_epoch.pop("train_loss"), **at_epoch, "status": member.status}
        yield from _predictions(member, data)


def _falling(settings):
    """The schedule of the learning rate: half a cosine, from its initial value to zero after the last epoch."""
    steps = settings.epochs * -(-settings.points // settings.batch_size)
    return keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)


def _predictions(member, data):
    """Yields the rows of the table "predictions", at up to 199 evenly spaced training points."""
    every = max(1, len(data.x_train) // 100)
    x, y = data.x_train[every - 1 :: every], data.y_train[every - 1 :: every]
    outputs = keras.ops.convert_to_numpy(member.model(x))
    for at, target, prediction in zip(x[:, 0], y[:, 0], outputs[:, 0], strict=True):
        values = {"x": at, "prediction": prediction, "target": target}
        yield {"table": "predictions", "seed": member.seed, **values}


if __name__ == "__main__":
    command.main(sys.modules[__name__])
