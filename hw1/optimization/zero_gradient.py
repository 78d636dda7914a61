"""Where is the gradient zero, and in how many directions does the loss rise there?

    python -m hw1.optimization.zero_gradient                 about 100 seconds of one core
    python -m hw1.optimization.zero_gradient --size=smoke    seconds

A hundred nets 1-10-10-1 (141 parameters, float64) learn sin(5πx)/(5πx) by Adam with all points in each step, its step
size falling to 0 along a cosine. From the trained nets two methods look for points of zero gradient: "gradient norm"
minimises ‖∇L‖² by Adam, "newton" takes damped second-order steps (`hw1.measures.stationary`). At the end of each:

    gradient_norm           ‖∇L‖₂, and the loss there, the mean squared error
    minimal_ratio           share of the eigenvalues of the exact Hessian that are positive
    minimal_ratio_sampled   share of random neighbours, all at one distance, with a higher loss
    negative, zero, positive   numbers of eigenvalues; |λ| ≤ 1e-13 max |λ|, a few times the rounding of H, is zero
    trained_loss            before the method

Source: MLDS 2018, homework 1-2.

Deviations: the hidden activation is tanh, because a net of ReLUs has kinks where its gradient never vanishes, and dead
units that make it vanish for no other reason. The slides' plateau at loss 0.087, the variance of the function on
(0, 1], is such a net of constant output. Inputs are scaled from (0, 1] to (−5, 5], without which tanh is all but linear
and every valley narrow; 50 points are enough for the four half-waves.
"""

import dataclasses
import sys

import keras
import numpy as np

from hw1 import datasets, models, question, training
from hw1.measures import stationary

LOSS = keras.losses.mean_squared_error


@dataclasses.dataclass(frozen=True)
class Settings:
    """What can be changed; every field is a flag."""

    points: int = question.option(50, "training points on (0, 1]")
    scale: float = question.option(5.0, "inputs are scaled from (0, 1] to (−scale, scale]")
    hidden: tuple[int, ...] = question.option((10, 10), "widths of the hidden layers", unique=False)
    activation: str = question.option("tanh", "of the hidden layers; a smooth one, for H to exist")
    epochs: int = question.option(2000, "passes over the points, one step each, on the loss")
    learning_rate: float = question.option(1e-2, "first step size of Adam on the loss (our choice)")
    norm_steps: int = question.option(500, "steps of Adam on ‖∇L‖²")
    norm_rate: float = question.option(1e-3, "first step size of Adam on ‖∇L‖² (its default in Keras)")
    descent: int = question.option(190, "second-order steps down the loss", minimum=0)
    iterations: int = question.option(20, "second-order steps down ‖∇L‖ after them", minimum=0)
    radius: float = question.option(1e-3, "distance of the sampled neighbours, in units of the parameters")
    samples: int = question.option(1000, "sampled neighbours")
    seeds: int = question.option(100, "trainings", minimum=2)


SIZES = {
    "smoke": {"points": 12, "hidden": (4,), "epochs": 200, "norm_steps": 100, "descent": 20, "iterations": 10}
    | {"samples": 100, "seeds": 4},
    "report": {},
    "paper": {"epochs": 20000, "norm_steps": 20000, "descent": 1000, "iterations": 200},
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per method."""
    return [{"method": method} for method in ("gradient norm", "newton")]


def run(settings: Settings, data, method: str):
    """Yields a row per seed."""
    data = datasets.function("sinc", settings.points)
    scale = settings.scale
    data = dataclasses.replace(data, x_train=scale * (2 * data.x_train - 1), x_test=scale * (2 * data.x_test - 1))
    members = training.train(
        lambda seed: models.mlp(
            settings.hidden, settings.activation, input_shape=(1,), classes=1, seed=seed, dtype="float64"
        ),
        data,
        batch_size=settings.points,
        epochs=settings.epochs,
        evaluate_every=settings.epochs,
        optimizer=lambda: keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.epochs)
        ),
        seeds=settings.seeds,
        loss=LOSS,
        progress=f"trained for {method}",
    )
    nets = [member.model for member in members]
    points = _search(settings, nets, data, method)
    ends = [models.with_parameters(net, point.parameters) for net, point in zip(nets, points, strict=True)]
    matrices = stationary.hessians(ends, data.x_train, data.y_train, LOSS)
    for member, end, point, matrix in zip(members, ends, points, matrices, strict=True):
        yield {"seed": member.seed, "trained_loss": member.final["train_loss"]} | _row(
            settings, data, end, point, np.linalg.eigvalsh(matrix)
        )


def _search(settings, nets, data, method) -> list[stationary.Point]:
    if method == "newton":
        options = {"descent": settings.descent, "iterations": settings.iterations}
        return stationary.newton(nets, data.x_train, data.y_train, LOSS, **options)
    return stationary.descend(nets, data.x_train, data.y_train, LOSS, settings.norm_steps, settings.norm_rate)


def _row(settings, data, end, point, eigenvalues) -> dict:
    """What is measured at an end point."""
    negative, zero, positive = stationary.signs(eigenvalues)
    return {
        "gradient_norm": point.gradient_norm,
        "loss": point.loss,
        "minimal_ratio": stationary.minimal_ratio(eigenvalues),
        "minimal_ratio_sampled": stationary.sampled_minimal_ratio(
            end, data.x_train, data.y_train, settings.radius, settings.samples, loss=LOSS
        ),
        "smallest_eigenvalue": eigenvalues[0],
        "largest_eigenvalue": eigenvalues[-1],
        "negative": negative,
        "zero": zero,
        "positive": positive,
        "iterations": point.iterations,
    }


if __name__ == "__main__":
    question.main(sys.modules[__name__])
