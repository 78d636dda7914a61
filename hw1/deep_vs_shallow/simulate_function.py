"""Does depth help when nets of equal size learn a function?

    python -m hw1.deep_vs_shallow.simulate_function                 about 1¼ minutes of one core
    python -m hw1.deep_vs_shallow.simulate_function --size=smoke    seconds

Three fully connected nets with one input, one output and 571 or 572 parameters, of seven, four and one hidden layers,
learn sin(5πx) / (5πx) and sgn(sin(5πx)) on (0, 1] by mean squared error. All six trainings follow one recipe: Adam
with a learning rate that falls to zero along a cosine, so that every net has come to rest at the end. Recorded are
the mean squared error at the training points (`loss`) and in the middle between them (`test_loss`), and each trained
net's predictions at about a hundred of the training points.

Source: MLDS 2018, homework 1-1 (the widths and the 20,000 epochs are those of its slides).

Deviations: activation, optimizer and number of points are our choice, so the errors known from the course are a guide,
not a match. The activation is a leaky ReLU, because some seeds of ReLU nets with layers this narrow died, and because
one layer of 190 tanh units learned slowly.
"""

import dataclasses
import sys

import keras

from hw1 import command, datasets, models, question, training


@dataclasses.dataclass(frozen=True)
class Settings(question.Repeated):
    """What can be changed; every field is a flag."""

    functions: tuple[str, ...] = question.option(("sinc", "sign"), "functions to learn", choices=datasets.FUNCTIONS)
    nets: tuple[str, ...] = question.option(models.FUNCTION_NETS, "nets, widths of their hidden layers as in 10-18-4")
    points: int = question.option(200, "training points on (0, 1]; as many test points lie between them")
    activation: str = question.option("leaky_relu", "of the hidden layers, as Keras names it")
    epochs: int = question.option(20_000, "passes over the training points")
    evaluate_every: int = question.option(250, "epochs between evaluations")
    batch_size: int = question.option(100, "points per step", at_most="points")
    learning_rate: float = question.option(0.02, "first step size of Adam; it falls to zero along a cosine")
    seeds: int = question.option(8, "independent repetitions (initial weights and batch order)")


SIZES = {
    "smoke": {"nets": ("10-8-5", "24"), "points": 40, "batch_size": 20, "epochs": 400, "evaluate_every": 50}
    | {"seeds": 2},
    "report": {},
    "paper": {"points": 1000, "evaluate_every": 100},
}


COLUMNS = {
    "rows": ["function", "hidden", "seed", "epoch", "loss", "test_loss", "status"],
    "predictions": ["function", "hidden", "seed", "x", "prediction", "target"],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per function and net."""
    for hidden in settings.nets:
        models.widths(hidden)  # a net that cannot be read is an error before anything is trained
    return [{"function": function, "hidden": hidden} for function in settings.functions for hidden in settings.nets]


def run(settings: Settings, data, function: str, hidden: str):
    """Yields a row per seed and epoch, and the predictions of each seed's trained net; `data` is not used."""
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
    """The learning rate of each step: half a cosine from the first one to zero after the last epoch."""
    steps = settings.epochs * -(-settings.points // settings.batch_size)
    return keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)


def _predictions(member, data):
    """Yields the rows of the table `predictions`: at most 199 training points, evenly spaced."""
    every = max(1, len(data.x_train) // 100)
    x, y = data.x_train[every - 1 :: every], data.y_train[every - 1 :: every]
    outputs = keras.ops.convert_to_numpy(member.model(x))
    for at, target, prediction in zip(x[:, 0], y[:, 0], outputs[:, 0], strict=True):
        values = {"x": at, "prediction": prediction, "target": target}
        yield {"table": "predictions", "seed": member.seed, **values}


if __name__ == "__main__":
    command.main(sys.modules[__name__])
