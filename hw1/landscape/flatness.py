"""Do five measures of flatness agree on one population of nets, and do flat nets generalise better?

    python -m hw1.landscape.flatness
    python -m hw1.landscape.flatness --size=smoke    seconds

The net 784-30-20-10 is trained with every combination of batch size and learning rate to one training loss. The nets of
one combination differ in their seed only. These are measured for each net on the first 500 images of its training set:

    log_volume           ln of the volume of {L < L(θ) + δ} in a random subspace, of the part that is visible from θ
    ball_sharpness       100 · (max_{‖Δ‖ ≤ r} L(θ + Δ) − L) / (1 + L), the sharpness of the L2 ball
    subspace_sharpness   Keskar's measure φ in a random subspace, a box of size ε
    spectral_norm        ‖H‖₂ of the full Hessian
    trace                of the full Hessian

A point is visible from θ if the straight line from θ to the point stays inside the region.

Table "radii" compares the maximum in the ball with its approximations ‖H‖₂ r² / (2 (1 + L)) and ‖g‖ r / (1 + L), g =
∇L, in float64 for several r. The nets are those with the first learning rate and the smallest or the largest batch.

Table "rescaling" has a small net, 4-2-2 without biases in float64, that separates two classes by the squared error of
its outputs. The map (θ₁, θ₂) → (αθ₁, θ₂/α) does not change its function. Region "whole" is the visible volume of its
δ-flat region in all n₁ + n₂ dimensions. It grows as α^(n₁ − n₂). All these θ lie in one connected flat region, so the
volume of that region is infinite. The rays are drawn anew at every α, through an ellipsoid that is computed from H at α
= 1 and rescaled with the net. The region has long thin arms, so few rays carry the volume (column effective) and its
level is underestimated. Its growth is not, because the lengths of the rays have one distribution at all α. Region
"section" is its volume in a random subspace of 3 dimensions, the same subspace for all α.

Source: Dinh et al., arXiv 1703.04933, definitions 1 and 2, theorem 2; Hochreiter and Schmidhuber, Neural Computation
1997; Keskar et al., arXiv 1609.04836; MLDS 2018, homework 1-3.

Deviations: nets are compared at one training loss, and measured on 500 examples. The volume is that in a random
subspace, because no Monte Carlo method estimates a volume in 24,380 dimensions, and of the visible, star-shaped part,
which is a lower bound. The small net has leaky ReLUs, so that no unit is dead.
"""

import dataclasses
import sys

import keras
import numpy as np

from hw1 import command, datasets, evaluation, models, question, recipe
from hw1.evaluation.losses import squared_error
from hw1.measures import hessian
from hw1.measures.sharpness import ball_sharpness, keskar_sharpness
from hw1.measures.volume import log_volume


@dataclasses.dataclass(frozen=True)
class Settings(question.OneLoss):
    """Settings of the question; each field is a flag."""

    batch_sizes: tuple[int, ...] = question.option((20, 100, 500, 2500), "batch sizes to compare", at_most="train")
    learning_rates: tuple[float, ...] = question.option(
        (1e-3, 3e-3), "step sizes of Adam to compare (the usual default and three times as much)"
    )
    examples: int = question.option(500, "training examples on which the measures are computed", at_most="train")
    rise: float = question.option(
        0.05, "rise δ of the loss in nats that bounds the volume (our choice: it doubles the training loss)"
    )
    dimension: int = question.option(10, "dimension of the random subspace of the volume")
    rays: int = question.option(50, "rays per estimate of the volume", minimum=2)
    radius: float = question.option(0.1, "radius r of the L2 ball in parameter space")
    epsilon: float = question.option(1e-3, "size ε of the box of Keskar's measure")
    manifold: int = question.option(100, "dimension of the random subspace of Keskar's measure")
    radii: tuple[float, ...] = question.option(
        (1e-4, 1e-3, 1e-2, 0.1, 1.0), "radii r at which the maximum in the ball is compared with its approximations"
    )
    pool: int = question.option(14, "side of the squares of pixels that are averaged for the small net")
    small_learning_rate: float = question.option(1e-2, "step size of Adam of the small net")
    small_updates: int = question.option(2000, "number of optimizer steps of the small net")
    small_rays: int = question.option(300, "rays per estimate of a volume of the small net", minimum=2)
    alphas: tuple[float, ...] = question.option(
        (0.01, 0.1, 1.0, 10.0, 100.0), "factors α of the small net; they must contain 1"
    )
    seeds: int = question.option(30, "independent repetitions (initial weights, batch order and split of the images)")


SIZES = {
    "smoke": {
        "train": 200,
        "test": 200,
        "hidden": (8,),
        "target_loss": 0.3,
        "updates": 300,
        "batch_sizes": (20, 50, 100),
        "learning_rates": (1e-2,),
        "examples": 100,
        "dimension": 3,
        "rays": 5,
        "manifold": 3,
        "radii": (0.01, 1.0),
        "small_updates": 300,
        "small_rays": 100,
        "alphas": (0.1, 1.0, 10.0),
        "seeds": 2,
    },
    "report": {},
    "paper": {
        "data": "mnist",
        "train": 60000,
        "test": 10000,
        "updates": 200000,
        "batch_sizes": (20, 64, 256, 1024, 6000),
        "examples": 5000,
        "rays": 500,
        "small_rays": 5000,
    },
}

COLUMNS = {
    "rows": [
        "net",
        "batch_size",
        "learning_rate",
        "seed",
        "updates",
        *question.LOSSES_AND_ACCURACIES,
        "log_volume",
        "log_volume_error",
        "capped",
        "effective",
        "ball_sharpness",
        "subspace_sharpness",
        "spectral_norm",
        "trace",
        "status",
    ],
    "radii": ["net", "batch_size", "learning_rate", "seed", "epsilon", "maximum", "quadratic", "linear"],
    "rescaling": [
        "net",
        "batch_size",
        "learning_rate",
        "seed",
        "alpha",
        "region",
        "exponent",
        "log_volume",
        "log_volume_error",
        "capped",
        "effective",
    ],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per batch size and learning rate, and one for the small net."""
    if 1.0 not in settings.alphas or len(settings.alphas) < 2:
        raise ValueError(
            f"--alphas must contain 1, the untransformed net, and another value; they are {settings.alphas}"
        )
    course = [
        {"net": "course", "batch_size": size, "learning_rate": rate}
        for rate in settings.learning_rates
        for size in settings.batch_sizes
    ]
    small = {"net": "small", "batch_size": min(settings.batch_sizes), "learning_rate": settings.small_learning_rate}
    return [*course, small]


def run(settings: Settings, data, net: str, batch_size: int, learning_rate: float):
    """Yields a row per seed, and the rows of the other tables."""
    # Made by every unit, so that a pool or classes that do not fit the images are an error of the first one.
    two_classes, loss = datasets.first_classes(datasets.average_pool(data, settings.pool), 2), None
    if net == "small":
        data, loss, batch_size = two_classes, squared_error, min(batch_size, two_classes.train)
    members = _train(settings, data, net, batch_size, learning_rate)
    ends = settings.learning_rates[0], (min(settings.batch_sizes), max(settings.batch_sizes))
    for member in members:
        if member.lost:
            yield {"seed": member.seed, "updates": member.updates, "status": "diverged"}
            continue
        images = member.data
        x, y = images.x_train[: settings.examples], images.y_train[: settings.examples]
        yield member.row | _measures(settings, member.model, x, y, loss)
        if net == "small":
            yield from _rescaled(settings, member, x, y)
        elif learning_rate == ends[0] and batch_size in ends[1]:
            yield from _in_balls(settings, member, x, y)


def _train(settings, data, net, batch_size, learning_rate):
    options = {"optimizer": lambda: keras.optimizers.Adam(learning_rate)}
    if net == "course":
        return recipe.train(settings, data, batch_size, **options)

    def build(seed):
        shape = {"input_shape": data.shape, "classes": data.classes, "dtype": "float64"}
        return models.mlp((2,), "leaky_relu", use_bias=False, seed=seed, **shape)

    options |= {"updates": settings.small_updates, "evaluate_updates": settings.small_updates, "target_loss": None}
    return recipe.train(settings, data, batch_size, build, loss=squared_error, **options)


def _measures(settings, model, x, y, loss) -> dict[str, float]:
    volume = log_volume(model, x, y, settings.rise, settings.dimension, settings.rays, loss=loss)
    manifold = min(settings.manifold, model.count_params())
    return {
        "log_volume": volume.log,
        "log_volume_error": volume.log.standard_error,
        "capped": volume.capped,
        "effective": volume.effective,
        "ball_sharpness": ball_sharpness(model, x, y, settings.radius, loss=loss).value,
        "subspace_sharpness": keskar_sharpness(model, x, y, settings.epsilon, manifold, loss=loss).value,
        "spectral_norm": hessian.spectral_norm(model, x, y, loss=loss),
        "trace": hessian.trace(model, x, y, loss=loss),
    }


def _in_balls(settings, member, x, y):
    """Yields the rows of the table "radii": maximum and both approximations, all divided by 1 + L."""
    model = models.with_dtype(member.model, "float64")
    value, gradient = evaluation.objective(model, x, y)(models.flat_parameters(model))
    norm, slope = hessian.spectral_norm(model, x, y), np.linalg.norm(gradient)
    for epsilon in settings.radii:
        yield {
            "table": "radii",
            "seed": member.seed,
            "epsilon": epsilon,
            "maximum": ball_sharpness(model, x, y, epsilon).value / 100,
            "quadratic": norm * epsilon**2 / (2 * (1 + value)),
            "linear": slope * epsilon / (1 + value),
        }


def _rescaled(settings, member, x, y):
    """Yields the rows of the table "rescaling"."""
    theta = models.flat_parameters(member.model)
    first, second = (weights.size for weights in member.model.get_weights())
    values, vectors = np.linalg.eigh(hessian.dense(member.model, x, y, squared_error))
    ellipsoid = vectors / np.sqrt(np.maximum(values, 0.03 * np.abs(values).mean()))  # bounded along flat directions
    for number, alpha in enumerate(settings.alphas):
        scale = models.rescaling(member.model, (alpha, 1 / alpha))
        model = models.with_parameters(member.model, theta * scale)
        for region, directions in (("whole", scale[:, None] * ellipsoid), ("section", min(3, len(theta)))):
            seed = number if region == "whole" else 0
            volume = log_volume(
                model, x, y, settings.rise, directions, settings.small_rays, loss=squared_error, seed=seed
            )
            yield {
                "table": "rescaling",
                "seed": member.seed,
                "alpha": alpha,
                "region": region,
                "exponent": first - second,
                "log_volume": volume.log,
                "log_volume_error": volume.log.standard_error,
                "capped": volume.capped,
                "effective": volume.effective,
            }


if __name__ == "__main__":
    command.main(sys.modules[__name__])
