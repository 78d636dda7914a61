"""Where is the gradient zero, and in how many directions does the loss rise there?

    python -m hw1.optimization.zero_gradient                 about a minute of one core
    python -m hw1.optimization.zero_gradient --size=smoke    seconds

A hundred nets 1-10-10-1 (141 parameters, float64) learn sin(5πx)/(5πx) by Adam with all points in each step, its step
size falling to 0 along a cosine. From the trained nets two methods look for points of zero gradient: "gradient norm"
minimises ‖∇L‖² by Adam, "Levenberg–Marquardt" takes damped second-order steps (`hw1.measures.stationary`). At the end
of each:

    gradient_norm           ‖∇L‖₂, and the loss there, the mean squared error
    minimal_ratio           share of the eigenvalues of the exact Hessian that are positive, more than zero (see below)
    minimal_ratio_computed  share of them that are above 0 as computed, rounding and all
    minimal_ratio_sampled   share of random neighbours, all at one distance, with a higher loss
    negative, zero, positive   numbers of eigenvalues, where zero is |λ| ≤ 1e-10 max |λ| (see the flag --zero)
    trained_loss            before the method

Where the error is fitted to a residual of 1e-8, H = 2/n (JᵀJ + Σ rᵢ∇²fᵢ) has no negative eigenvalues but those of its
second part, which vanish with the residuals rᵢ: they are some 1e-11 of the largest, the rounding of H is 3e-14. So zero
stands for 1e-10, within which neither can be told from 0. Where the residuals vanish H has the rank of J, so no more
positive eigenvalues than there are points.

Source: MLDS 2018, homework 1-2; Transtrum and Sethna, arXiv 1201.5885, for the second-order steps.

Deviations: the hidden activation is tanh, because a net of ReLUs has kinks where its gradient never vanishes, and dead
units that make it vanish for no other reason. The slides' plateau at loss 0.087, the variance of the function on
(0, 1], is such a net of constant output. Inputs are scaled from (0, 1] to (−5, 5], without which tanh is all but linear
and every valley narrow; 50 points are enough for the four half-waves.
"""

import dataclasses
import functools
import sys

import keras
import numpy as np

from hw1 import command, datasets, models, question, training
from hw1.measures import stationary

METHODS = ("gradient norm", "Levenberg–Marquardt")
LOSS = keras.losses.mean_squared_error


@dataclasses.dataclass(frozen=True)
class Settings(question.Repeated):
    """What can be changed; every field is a flag."""

    points: int = question.option(50, "training points on (0, 1]")
    scale: float = question.option(5.0, "inputs are scaled from (0, 1] to (−scale, scale]")
    hidden: tuple[int, ...] = question.option((10, 10), "widths of the hidden layers", unique=False)
    activation: str = question.option("tanh", "of the hidden layers; a smooth one, for H to exist")
    epochs: int = question.option(2000, "passes over the points, one step each, on the loss")
    learning_rate: float = question.option(1e-2, "first step size of Adam on the loss (our choice)")
    norm_steps: int = question.option(500, "steps of Adam on ‖∇L‖²")
    norm_rate: float = question.option(1e-3, "first step size of Adam on ‖∇L‖² (its default in Keras)")
    iterations: int = question.option(3000, "second-order steps that are tried, at most")
    tolerance: float = question.option(1e-9, "‖∇L‖₂ at which the second-order method stops")
    zero: float = question.option(
        1e-10, "share of the largest |eigenvalue| up to which one counts as zero", maximum=0.1
    )
    radius: float = question.option(1e-3, "distance of the sampled neighbours, in units of the parameters")
    samples: int = question.option(1000, "sampled neighbours")
    seeds: int = question.option(100, "trainings", minimum=2)


SIZES = {
    "smoke": {"points": 12, "hidden": (4,), "epochs": 200, "norm_steps": 100, "iterations": 100}
    | {"samples": 100, "seeds": 4},
    "report": {},
    "paper": {"epochs": 20000, "norm_steps": 20000, "iterations": 20000, "tolerance": 1e-10},
}


COLUMNS = {
    "rows": [
        "seed",
        "method",
        "gradient_norm",
        "loss",
        "minimal_ratio",
        "minimal_ratio_computed",
        "minimal_ratio_sampled",
        "smallest_eigenvalue",
        "largest_eigenvalue",
        "negative",
        "zero",
        "positive",
        "iterations",
        "trained_loss",
    ],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per method."""
    return [{"method": method} for method in METHODS]


def run(settings: Settings, data, method: str):
    """Yields a row per seed."""
    data, members = _trained(settings)
    nets = [member.model for member in members]
    points = _search(settings, nets, data, method)
    ends = [models.with_parameters(net, point.parameters) for net, point in zip(nets, points, strict=True)]
    matrices = stationary.hessians(ends, data.x_train, data.y_train, LOSS)
    for member, end, point, matrix in zip(members, ends, points, matrices, strict=True):
        yield {"seed": member.seed, "trained_loss": member.final["train_loss"]} | _row(
            settings, data, end, point, np.linalg.eigvalsh(matrix)
        )


@functools.lru_cache(maxsize=1)  # both methods start from the same nets, which they do not change
def _trained(settings):
    """The data and the members that are trained on the loss, without those that diverged."""
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
        seeds=settings.all_seeds,
        loss=LOSS,
        progress="zero_gradient",
    )
    return data, training.measurable(members)


def _search(settings, nets, data, method) -> list[stationary.Point]:
    if method == "gradient norm":
        return stationary.descend(nets, data.x_train, data.y_train, LOSS, settings.norm_steps, settings.norm_rate)
    return stationary.levenberg_marquardt(nets, data.x_train, data.y_train, settings.iterations, settings.tolerance)


def _row(settings, data, end, point, eigenvalues) -> dict:
    """What is measured at an end point."""
    negative, zero, positive = stationary.signs(eigenvalues, settings.zero)
    return {
        "gradient_norm": point.gradient_norm,
        "loss": point.loss,
        "minimal_ratio": stationary.minimal_ratio(eigenvalues, settings.zero),
        "minimal_ratio_computed": np.mean(eigenvalues > 0),
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
    command.main(sys.modules[__name__])
