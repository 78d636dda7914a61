"""Where is the gradient zero, and in how many directions does the loss rise there?

    python -m hw1.optimization.zero_gradient
    python -m hw1.optimization.zero_gradient --size=smoke    seconds

A hundred nets 1-10-10-1 (141 parameters, float64) learn sin(5πx)/(5πx) by full-batch Adam, whose step size falls to 0
along a cosine. From the trained nets, two methods search for points of zero gradient: "gradient norm" minimises ‖∇L‖²
by Adam, "Levenberg–Marquardt" takes damped second-order steps (`hw1.measures.stationary`). At the end of each search
these are measured:

    gradient_norm             ‖∇L‖₂
    loss                      the mean squared error
    minimal_ratio             fraction of the eigenvalues of the exact Hessian that are positive, not zero (see below)
    minimal_ratio_computed    fraction of the eigenvalues that are above 0 as computed, including rounding errors
    minimal_ratio_sampled     fraction of random neighbours, all at the same distance, that have a higher loss
    negative, zero, positive  numbers of eigenvalues; zero means |λ| ≤ 1e-10 max |λ| (setting --zero)
    trained_loss              the loss before the search

The threshold of 1e-10: the Hessian is H = 2/n (JᵀJ + Σ rᵢ∇²fᵢ). Where the function is fitted to a residual of 1e-8,
only the second term can make eigenvalues negative, and it vanishes with the residuals rᵢ. Such eigenvalues are about
1e-11 of the largest one, and the rounding error of H is 3e-14, so values below 1e-10 cannot be told apart from 0. Where
the residuals vanish, H has the rank of J, so it has at most as many positive eigenvalues as there are points.

Source: MLDS 2018, homework 1-2; Transtrum and Sethna, arXiv 1201.5885, for the second-order steps.

Deviations: the hidden activation is tanh. A ReLU net has kinks, at which its gradient does not vanish, and dead units,
for which it vanishes trivially: the slides' plateau at loss 0.087, the variance of the function on (0, 1], is a net
with constant output. Inputs are scaled from (0, 1] to (−5, 5]; without this, tanh is almost linear and every valley is
narrow. 50 points are enough for the four half-waves.
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
    """Settings of the question; each field is a flag."""

    points: int = question.option(50, "training points, on (0, 1]")
    scale: float = question.option(5.0, "half the width to which inputs are scaled, from (0, 1] to (−scale, scale]")
    hidden: tuple[int, ...] = question.option((10, 10), "widths of the hidden layers", unique=False)
    activation: str = question.option(
        "tanh", "activation of the hidden layers; it must be smooth so that the Hessian exists"
    )
    epochs: int = question.option(2000, "epochs of training on the loss, one full-batch step each")
    learning_rate: float = question.option(1e-2, "initial step size of Adam on the loss (our choice)")
    norm_steps: int = question.option(500, "steps of Adam on ‖∇L‖²")
    norm_rate: float = question.option(1e-3, "initial step size of Adam on ‖∇L‖² (the default of Keras)")
    iterations: int = question.option(3000, "maximum number of second-order steps that are tried")
    tolerance: float = question.option(1e-9, "‖∇L‖₂ at which the second-order method stops")
    zero: float = question.option(
        1e-10, "fraction of the largest |eigenvalue| up to which an eigenvalue counts as zero", maximum=0.1
    )
    radius: float = question.option(1e-3, "distance of the sampled neighbours, in parameter space")
    samples: int = question.option(1000, "number of sampled neighbours")
    seeds: int = question.option(100, "number of trainings (initial weights)", minimum=2)


SIZES = {
    "smoke": {
        "points": 12,
        "hidden": (4,),
        "epochs": 200,
        "norm_steps": 100,
        "iterations": 100,
        "samples": 100,
        "seeds": 4,
    },
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


@functools.lru_cache(maxsize=1)  # both methods start from the same nets and leave them unchanged
def _trained(settings):
    """Returns the data and the members trained on the loss, without those that diverged."""
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
    """The values that are measured at an end point."""
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
