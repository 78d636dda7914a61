"""Where is the gradient zero, and in how many directions does the loss rise there?

    python -m hw1.optimization.zero_gradient
    python -m hw1.optimization.zero_gradient --size=smoke    seconds

Nets in float64 learn sin(5πx)/(5πx) by full-batch Adam, whose learning rate falls to 0 along a cosine. Three methods
search for points of zero gradient (`hw1.measures.stationary`). Two start from the same hundred trained nets 1-10-10-1
(141 parameters), which have enough parameters to fit all points:

    gradient norm          minimises ‖∇L‖² by Adam
    Levenberg–Marquardt    takes damped second-order steps on the loss, with geodesic acceleration

The third finds critical points of several losses and indices, of nets with one hidden layer of 2, 3 or 4 units, which
cannot fit the points:

    Newton                 solves ∇L = 0 by damped Newton steps with geodesic acceleration, which do not care whether a
                           saddle or a minimum is near. It starts along 20 trainings of each net, at 12 steps from the
                           first to the last, from the net as it was then and from two others with noise added

At the end of each search these are measured; `step` and `noise` say where it began:

    gradient_norm             ‖∇L‖₂; start_gradient_norm: where the search began
    relative_gradient         ‖∇L‖ / (max |λ| ‖θ‖); rounding leaves 1e-16
    distance                  ‖H⁺∇L‖ / ‖θ‖: how far the critical point is, to first order, as a share of ‖θ‖
    slope                     ‖H∇L‖ / (max |λ| ‖∇L‖): near 0 where ‖∇L‖ is at a minimum, zero or not
    size                      ‖θ‖
    loss                      the mean squared error
    minimal_ratio             fraction of the eigenvalues of the exact Hessian that are positive, not zero (see below)
    minimal_ratio_jacobian    rank of the residuals' Jacobian J as a fraction of the parameters: the minimal ratio where
                              the residuals vanish
    minimal_ratio_sampled     fraction of random neighbours, all at the same distance, that have a higher loss
    index                     fraction of the eigenvalues that are negative
    negative, zero, positive  numbers of eigenvalues; zero means |λ| ≤ 1e-10 max |λ| (setting --zero)
    trained_loss              the loss at the end of the training

A point counts as critical (settings --near and --distance) if relative_gradient ≤ 1e-11 and distance ≤ 1e-6. The first
leaves rounding a factor of 10⁵. The second shuts out points where the gradient is small because the loss is flat: at an
eigenvalue of 1e-10 of the largest, rounding alone makes a distance of 1e-6. Neither shuts out units so steep that tanh
is ±1 at nearly all points: there the loss has no minimum at finite weights, and ∇L vanishes exponentially, until
rounding hides it. Such points have ‖θ‖ of 37 to 275 here, and the others of at most 15, so that 20 tells them apart
(setting --largest).

Where function and net agree to a residual of 1e-8, most eigenvalues cannot be counted from H: it is 2/n (JᵀJ + Σ
rᵢ∇²fᵢ), and the second term, some 1e-11 of the largest eigenvalue, drowns those of JᵀJ, which fall to far below that.
There the ratio is counted by the singular values of J, whose squares they are; rounding hides those below p ε ≈ 3e-14
of the largest. So it is a lower bound; the upper one is n / p, as J has n rows.

Source: MLDS 2018, homework 1-2; Transtrum and Sethna, arXiv 1201.5885, for the second-order steps; Dauphin et al.,
arXiv 1406.2572, for critical points near trainings; Frye et al., arXiv 2003.10397, on searches that stop elsewhere.

Deviations: the hidden activation is tanh. A ReLU net has kinks, at which its gradient does not vanish, and dead units,
for which it vanishes trivially: the slides' plateau at loss 0.087, the variance of the function on (0, 1], is a net
with constant output. Inputs are scaled from (0, 1] to (−5, 5]; without this, tanh is almost linear and every valley is
narrow. 50 points are enough for the four half-waves. Adam on ‖∇L‖² finds its own learning rate: at a fixed 1e-3 it left
most nets further from zero than they began. Dauphin et al. start along saddle-free Newton, on images, with noise of at
most 0.1; noise of 0.3 and 1 (chosen on pilot nets) finds more kinds of points here.
"""

import dataclasses
import functools
import sys

import keras
import numpy as np

from hw1 import command, datasets, models, nets, question, training
from hw1.measures import stationary

NORM, SECOND_ORDER, NEWTON = "gradient norm", "Levenberg–Marquardt", "Newton"
LOSS = keras.losses.mean_squared_error


@dataclasses.dataclass(frozen=True)
class Settings(question.Repeated):
    """Settings of the question; each field is a flag."""

    points: int = question.option(50, "training points, on (0, 1]")
    scale: float = question.option(5.0, "half the width to which inputs are scaled, from (0, 1] to (−scale, scale]")
    hidden: tuple[int, ...] = question.option((10, 10), "widths of the hidden layers", unique=False)
    activation: str = question.option(
        "tanh", "activation of the hidden layers; it must be smooth so that the Hessian exists", choices=nets.SMOOTH
    )
    epochs: int = question.option(2000, "epochs of training on the loss, one full-batch step each")
    learning_rate: float = question.option(1e-2, "initial learning rate of Adam on the loss (our choice)")
    norm_steps: int = question.option(1000, "steps of Adam on ‖∇L‖²")
    iterations: int = question.option(3000, "maximum number of second-order steps that are tried")
    tolerance: float = question.option(1e-9, "‖∇L‖₂ at which the second-order method stops")
    widths: tuple[int, ...] = question.option(
        (2, 3, 4), "widths of the hidden layer of nets for Newton's method, which searches critical points"
    )
    trainings: int = question.option(20, "trainings of each of these nets", at_most="seeds")
    moments: int = question.option(12, "steps of a training at which Newton's method starts, equal factors apart")
    noises: tuple[float, ...] = question.option(
        (0.0, 0.3, 1.0), "standard deviations of the noise that is added to the parameters at a start", minimum=0
    )
    newton_steps: int = question.option(300, "maximum number of Newton's steps that are tried")
    near: float = question.option(1e-11, "share of max |λ| ‖θ‖ up to which a gradient counts as zero")
    distance: float = question.option(1e-6, "largest distance from a critical point as a share of ‖θ‖")
    largest: float = question.option(
        20.0, "largest ‖θ‖ of a critical point, beyond which units are saturated and ∇L vanishes at infinity only"
    )
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
        "widths": (2,),
        "trainings": 3,
        "moments": 3,
        "newton_steps": 200,
        "samples": 100,
        "seeds": 4,
    },
    "report": {},
    "paper": {
        "epochs": 20000,
        "norm_steps": 20000,
        "iterations": 20000,
        "tolerance": 1e-10,
        "widths": (2, 3, 4, 5, 6),
        "trainings": 100,
        "newton_steps": 2000,
    },
}

COLUMNS = {
    "rows": [
        "seed",
        "method",
        "hidden",
        "step",
        "noise",
        "gradient_norm",
        "start_gradient_norm",
        "relative_gradient",
        "distance",
        "slope",
        "size",
        "loss",
        "minimal_ratio",
        "minimal_ratio_jacobian",
        "minimal_ratio_sampled",
        "index",
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
    """One unit of work per method and net."""
    hidden = "-".join(map(str, settings.hidden))
    pairs = [(NORM, hidden), (SECOND_ORDER, hidden), *((NEWTON, str(width)) for width in settings.widths)]
    return [{"method": method, "hidden": hidden} for method, hidden in pairs]


def run(settings: Settings, data, method: str, hidden: str):
    """Yields a row per search."""
    if method == NEWTON:
        yield from _along_trainings(settings, int(hidden))
        return
    data, members = _trained(settings)
    nets = [member.model for member in members]
    if method == NORM:
        points = stationary.descend(nets, data.x_train, data.y_train, LOSS, settings.norm_steps)
    else:
        points = stationary.levenberg_marquardt(
            nets, data.x_train, data.y_train, settings.iterations, settings.tolerance
        )
    starts = [{**_of(member), "step": settings.epochs, "noise": 0.0} for member in members]
    yield from _rows(settings, data, nets[0], starts, points)


def _along_trainings(settings, width):
    """Yields a row per search by Newton's method."""
    data, seeds = _data(settings), settings.all_seeds[: settings.trainings]
    every = max(1, settings.epochs // 400)  # weights are kept so often
    members = training.measurable(_train(settings, data, (width,), seeds, every, record=["weights"]))
    starts, thetas = [], []
    for member in members:
        rng = np.random.default_rng([member.seed, width])
        initial = models.flat_parameters(_build(settings, (width,), member.seed))
        epochs, weights = np.array([0, *member.history["epoch"]]), np.stack([initial, *member.weights])
        moments = np.geomspace(every, settings.epochs, max(1, settings.moments - 1))
        for at in np.unique(np.searchsorted(epochs, [0, *moments[: settings.moments - 1].round()], side="right") - 1):
            for noise in settings.noises:
                thetas.append(weights[at] + noise * rng.standard_normal(len(initial)))
                starts.append({**_of(member), "step": int(epochs[at]), "noise": noise})
    points = stationary.newton(
        [members[0].model],
        data.x_train,
        data.y_train,
        LOSS,
        settings.newton_steps,
        tolerance=1e-15,
        starts=np.stack(thetas),
    )
    yield from _rows(settings, data, members[0].model, starts, points)


@functools.lru_cache(maxsize=1)  # two methods start from the same nets and leave them unchanged
def _trained(settings):
    """Returns the data and the members trained on the loss, without those that diverged."""
    data = _data(settings)
    return data, training.measurable(_train(settings, data, settings.hidden, settings.all_seeds, settings.epochs))


def _data(settings):
    """The function, with scaled inputs."""
    data, scale = datasets.function("sinc", settings.points), settings.scale
    return dataclasses.replace(data, x_train=scale * (2 * data.x_train - 1), x_test=scale * (2 * data.x_test - 1))


def _train(settings, data, hidden, seeds, every, record=()):
    """Trains nets with these hidden layers, evaluated after each so many epochs."""
    return training.train(
        lambda seed: _build(settings, hidden, seed),
        data,
        batch_size=settings.points,
        epochs=settings.epochs,
        evaluate_every=every,
        optimizer=lambda: keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.epochs)
        ),
        seeds=seeds,
        loss=LOSS,
        record=record,
        progress="zero_gradient",
    )


def _build(settings, hidden, seed):
    """The net of a seed, with its initial weights."""
    return models.mlp(hidden, settings.activation, input_shape=(1,), classes=1, seed=seed, dtype="float64")


def _of(member) -> dict:
    """The columns of a training."""
    return {"seed": member.seed, "trained_loss": member.final["train_loss"]}


def _rows(settings, data, net, starts, points):
    """Yields the values that are measured at the ends of searches, as parameters of a net."""
    where = {"x": data.x_train, "y": data.y_train, "thetas": np.stack([point.parameters for point in points])}
    expansion = stationary.expansions([net], loss=LOSS, **where)
    singular = stationary.singular_values([net], **where)
    sampled = stationary.sampled_minimal_ratios(
        [net], radius=settings.radius, samples=settings.samples, loss=LOSS, **where
    )
    for at, (start, point) in enumerate(zip(starts, points, strict=True)):
        matrix = expansion.hessians[at]
        near = stationary.nearness(point.parameters, expansion.gradients[at], matrix, settings.zero)
        eigenvalues = np.linalg.eigvalsh(matrix)
        negative, zero, positive = stationary.signs(eigenvalues, settings.zero)
        yield start | {
            "gradient_norm": point.gradient_norm,
            "start_gradient_norm": point.norms[0],
            "relative_gradient": near.gradient,
            "distance": near.distance,
            "slope": near.slope,
            "size": np.linalg.norm(point.parameters),
            "loss": point.loss,
            "minimal_ratio": stationary.minimal_ratio(eigenvalues, settings.zero),
            "minimal_ratio_jacobian": stationary.rank_ratio(singular[at], len(eigenvalues)),
            "minimal_ratio_sampled": sampled[at],
            "index": negative / len(eigenvalues),
            "smallest_eigenvalue": eigenvalues[0],
            "largest_eigenvalue": eigenvalues[-1],
            "negative": negative,
            "zero": zero,
            "positive": positive,
            "iterations": point.iterations,
        }


if __name__ == "__main__":
    command.main(sys.modules[__name__])
