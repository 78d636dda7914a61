"""Does stochastic gradient descent generalise better than full-batch descent, and do momentum or noise close the gap?

    python -m hw1.dynamics.gd_vs_sgd
    python -m hw1.dynamics.gd_vs_sgd --size=smoke    seconds

Two nets are trained by each of four methods to one training loss, each method at its own step size:

    SGD                   batches from a shuffled epoch
    full batch            all training images in every step
    full batch, momentum  the same with momentum
    full batch, noise     every step adds √(2T/ε) z to the gradient, z ~ N(0, I): noise of the temperature T, which
                          halves every so many steps

The nets are a dense one ("dense") and that of Bourrely ("small"), with 400 inputs, 5 hidden units and 10 outputs, whose
images are resized to 20 × 20 grey pixels. All methods start at the same weights and see the same images. Each seed
tests on all images that it does not train on.

Columns "shift", "scale", "rotation" and "noise" have the accuracy on distorted test images: each image is shifted in a
random direction, enlarged or reduced, turned to the left or to the right, or gets Gaussian noise in every pixel. The
distortions of a seed are the same for all methods. Table "curves" has the losses along training.

Source: Sagun's slides (MNIST, about 450,000 parameters: 194 mistakes of 10,000 by the full batch, 174 by SGD; momentum
and noise of falling temperature as cures); Bourrely, Parallelization of a neural learning algorithm on a hypercube,
1989.

Deviations: 1,000 training images, and for the dense net images averaged over squares of 2 × 2 pixels and 17,590
parameters, so that full-batch descent takes seconds. Size paper has 443,610 parameters and all images. The slides state
neither step sizes nor when training stops. The sizes of the distortions are ours.

Chosen with the seeds 1000 and 1001, as the lowest test error at the target loss: the step sizes of SGD among 0.03 (for
the small net 0.01) to 0.6, of the full batch among 0.1 to 0.8 (small: 0.4), with momentum among 0.01 to 0.2, and the
temperature among 1e-6 to 3e-3. On the seeds 1000 to 1009, the dense net's full batch is worse again above 0.8 (at 1.2;
at 1.6 it is at the edge of stability and takes ten times the steps), SGD on both sides of 0.3, and momentum makes 1,110
to 1,170 mistakes of 10,000 at every step size from 0.005 to 0.32, against 1,000 of the full batch without it. The small
net's errors are equal, to 10 of 10,000, for momentum from 0.01 to 0.04.
"""

import dataclasses
import math
import sys

import keras
import numpy as np
import tensorflow as tf

from hw1 import command, datasets, evaluation, models, question, recipe
from hw1.training import directions

NETS = ("dense", "small")
SMALL_SIDE, SMALL_HIDDEN = 20, (5,)  # Bourrely's 400-5-10
METHODS = ("SGD", "full batch", "full batch, momentum", "full batch, noise")
DISTORTIONS = ("shift", "scale", "rotation", "noise")
LOOKS, EVERY = 5, 25  # evaluations in an epoch of SGD; steps between those of the full batch


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    seeds: int = question.option(20, "independent repetitions (initial weights, batch order and the split)")
    train: int = question.option(1000, "training examples")
    test: int = question.option(9000, "test examples")
    pool: int = question.option(
        2, "side of the squares of pixels that are averaged for the dense net; 1 keeps the images as they are"
    )
    hidden: tuple[int, ...] = question.option((80, 20), "widths of the hidden layers of the dense net", unique=False)
    batch_size: int = question.option(10, "examples per step of SGD", at_most="train")
    momentum: float = question.option(0.9, "momentum of the full batch", minimum=0, maximum=0.999)
    target_loss: float = question.option(0.05, "training loss in nats to which the dense net is trained")
    small_target: float = question.option(0.2, "the same of Bourrely's net")
    learning_rates: tuple[float, ...] = question.option(
        (0.3, 0.8, 0.01, 0.8),
        "step sizes of the dense net, one for each method (chosen with the seeds 1000 and 1001)",
        unique=False,
    )
    small_rates: tuple[float, ...] = question.option(
        (0.03, 0.2, 0.01, 0.2),
        "step sizes of Bourrely's net, one for each method (chosen with the seeds 1000 and 1001)",
        unique=False,
    )
    temperature: float = question.option(
        1e-5, "temperature of the noise at the start, in nats (chosen with the seeds 1000 and 1001)", minimum=0
    )
    half_life: int = question.option(100, "steps in which the temperature halves")
    updates: int = question.option(10000, "largest number of steps")
    shift: float = question.option(0.1, "length of the shift as a fraction of the side", minimum=0, maximum=1)
    scale: float = question.option(1.2, "factor by which images are enlarged or reduced", minimum=1)
    rotation: float = question.option(15.0, "angle of the rotation in degrees", minimum=0, maximum=180)
    noise: float = question.option(0.2, "standard deviation of the noise in the pixels", minimum=0)


SIZES = {
    "smoke": {
        "train": 200,
        "test": 200,
        "hidden": (16,),
        "target_loss": 0.5,
        "small_target": 1.0,
        "updates": 1000,
        "seeds": 2,
    },
    "report": {},
    "paper": {
        "data": "mnist",
        "train": 60000,
        "test": 10000,
        "pool": 1,
        "hidden": (500, 100),
        "updates": 200000,
    },
}

BY_SEED = True
COLUMNS = {
    "rows": ["net", "method", "seed", "updates", *question.LOSSES_AND_ACCURACIES, *DISTORTIONS, "status"],
    "curves": ["net", "method", "seed", "step", *question.LOSSES_AND_ACCURACIES],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per net and method."""
    for name in ("learning_rates", "small_rates"):
        rates = getattr(settings, name)
        if len(rates) != len(METHODS):
            raise ValueError(f"--{name}={question.write(rates)}: must be {len(METHODS)} numbers, one for each method")
    return [{"net": net, "method": method} for net in NETS for method in METHODS]


def run(settings: Settings, data, net: str, method: str):
    """Yields a row per seed, and those of the table "curves"."""
    data = resized(data, SMALL_SIDE) if net == "small" else datasets.average_pool(data, settings.pool)
    for member in train(settings, data, net, method):
        row = member.row
        if member.status != "diverged":
            images = member.data
            for kind in DISTORTIONS:
                moved = distorted(images.x_test, kind, getattr(settings, kind), member.seed)
                row[kind] = evaluation.evaluate(member.model, moved, images.y_test)[1]
        yield row
        for step, values in zip(member.evaluated, member.curve, strict=True):
            if np.isfinite(values["train_loss"]):
                del values["epoch"]
                yield {"table": "curves", "seed": member.seed, "step": step, **values}


def train(settings: Settings, data, net: str, method: str):
    """Trains a net of each seed by a method, to the training loss of the settings.

    Args:
        settings: of the run.
        data: the images that the net sees, `hw1.datasets.Splits`.
        net: one of `NETS`.
        method: one of `METHODS`.

    Returns:
        A `hw1.training.Member` per seed.
    """
    small, number = net == "small", METHODS.index(method)
    rate = (settings.small_rates if small else settings.learning_rates)[number]
    hidden, activation = (SMALL_HIDDEN, "tanh") if small else (settings.hidden, "relu")
    batch_size = _batch_size(settings, data, method)
    return recipe.train(
        settings,
        data,
        batch_size,
        lambda seed: models.mlp(hidden, activation, input_shape=data.shape, classes=data.classes, seed=seed),
        optimizer=lambda: keras.optimizers.SGD(rate, settings.momentum if method == "full batch, momentum" else 0.0),
        target_loss=settings.small_target if small else settings.target_loss,
        evaluate_updates=max(1, data.train // batch_size // LOOKS) if method == "SGD" else EVERY,
        direction=cooling(settings.temperature, settings.half_life, rate) if method == "full batch, noise" else None,
        progress=f"{net}, {method}",
    )


def _batch_size(settings, data, method) -> int:
    return settings.batch_size if method == "SGD" else data.train


def cooling(temperature: float, half_life: float, rate: float):
    """The direction of Langevin dynamics whose temperature halves every `half_life` steps.

    Args:
        temperature: T at the start.
        half_life: in steps.
        rate: step size ε, for which the standard deviation √(2T/ε) of the gradient's noise is meant.
    """

    def scale(step):
        return math.sqrt(2 * temperature / rate) * 0.5 ** (tf.cast(step, tf.float32) / (2 * half_life))

    return directions.gaussian_noise(scale)


def resized(data: datasets.Splits, side: int) -> datasets.Splits:
    """The same data with grey images of side × side pixels, each the mean over the area that it covers and channels."""
    images = data.x.reshape(*data.x.shape[:3], -1).mean(axis=3, keepdims=True)
    small = tf.image.resize(images, (side, side), method="area").numpy()
    return dataclasses.replace(data, x=small.reshape(len(small), side, side))


def distorted(images: np.ndarray, kind: str, amount: float, seed: int) -> np.ndarray:
    """Distorted images.

    Args:
        images: shape [n, height, width] or [n, height, width, channels].
        kind: one of `DISTORTIONS`.
        amount: a shift as a fraction of the side, a factor, an angle in degrees, or a standard deviation.
        seed: of the directions and of the noise.

    Returns:
        Images of the same shape and dtype; what comes from outside is 0.
    """
    rng = np.random.default_rng([seed, 7, DISTORTIONS.index(kind)])
    if kind == "noise":
        return images + amount * rng.standard_normal(images.shape, dtype=np.float32)
    n, height, width = images.shape[:3]
    sign, direction = rng.choice([-1, 1], n), rng.uniform(0, 2 * np.pi, n)
    angle = np.radians(amount) * sign * (kind == "rotation")
    shrink = float(amount) ** -sign if kind == "scale" else np.ones(n)
    length = amount * np.array([width, height]) * (kind == "shift")
    # A pixel of the result at p has the value of the image at M (p − centre) + centre − shift.
    matrix = shrink[:, None, None] * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]).T
    centre = np.array([width - 1, height - 1]) / 2
    offset = centre - matrix @ centre - length * np.stack([np.cos(direction), np.sin(direction)], axis=1)
    rows = np.concatenate([matrix, offset[:, :, None]], axis=2).reshape(n, 6)
    transforms = np.pad(rows, ((0, 0), (0, 2))).astype(np.float32)
    moved = keras.ops.image.affine_transform(images.reshape(n, height, width, -1), transforms, fill_mode="constant")
    return np.asarray(moved).reshape(images.shape)


if __name__ == "__main__":
    command.main(sys.modules[__name__])
