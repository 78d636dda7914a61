"""Which remedies help a large batch to generalise, and do they lead to flat minima?

    python -m hw1.landscape.remedies
    python -m hw1.landscape.remedies --size=smoke    seconds

A dense net is trained with a small and with a large batch, and with the large batch and each of these remedies:

    data augmentation      20 random versions of each image, rotated by up to 10° and shifted by up to 0.2 of the side
    conservative training  three steps of Adam per mini-batch B on f_B(θ) + λ/2 ‖θ − θ_k‖², θ_k being θ before B
    robust training        half of each example's loss is taken at x + ε sign(∂ℓ/∂x), the fast gradient sign method
    growing batches        some epochs with the small batch, then the large batch with a fresh optimizer

All nets are trained to one loss on the unmodified training set, in inference mode. With augmentation and robust
training the loss falls slowly, so training ends after at most 1,200 mini-batches. The loss reached is recorded, and a
net above the target has the status "target not reached". The sharpness φ is measured on the unmodified training set, at
the larger ε of the source.

Source: Keskar et al., arXiv 1609.04836, section 4 (and Goodfellow et al., arXiv 1412.6572, for robust training).

Deviations: 5,000 training images, and a dense net instead of the source's convolutional ones. No horizontal flips,
which make no sense for digits. Shifts are by whole pixels. The versions of an image are made once, not anew in every
step. Adam keeps its moments from one mini-batch to the next, which the source does not specify. Robust training has two
values of ε, since the source gives none: 0.25 as in Goodfellow et al., and a smaller one.
"""

import dataclasses
import functools
import math
import sys

import keras
import numpy as np
import tensorflow as tf

from hw1 import command, evaluation, models, question, recipe
from hw1.measures.sharpness import keskar_sharpness


@dataclasses.dataclass(frozen=True)
class Settings(question.OneLoss):
    """Settings of the question; each field is a flag."""

    hidden: tuple[int, ...] = question.option((30,) * 5, "widths of the hidden layers", unique=False)
    batch_sizes: tuple[int, ...] = question.option((25, 500), "small and large batch size", at_most="train")
    target_loss: float = question.option(0.02, "training loss in nats to which every net is trained")
    updates: int = question.option(20000, "maximum number of mini-batches")
    slow_updates: int = question.option(1200, "mini-batches with augmentation and at most in robust training")
    copies: int = question.option(20, "versions of each image with augmentation")
    learning_rate: float = question.option(
        1e-3, "step size of Adam (optimizer and step size of the source; the default of Keras)"
    )
    rotation: float = question.option(
        10.0, "largest rotation of augmentation in degrees (as in the source)", maximum=180
    )
    shift: float = question.option(
        0.2, "largest shift of augmentation as a fraction of the side (as in the source)", maximum=1
    )
    inner_steps: int = question.option(
        3, "steps of conservative training on each mini-batch (as in the source)", minimum=2
    )
    proximal: float = question.option(1e-3, "λ of conservative training (as in the source)")
    attacks: tuple[float, ...] = question.option((0.1, 0.25), "values of ε of robust training (pixels are in [0, 1])")
    warm_epochs: int = question.option(2, "growing batches: epochs with the small batch (our choice)")
    epsilon: float = question.option(1e-3, "size ε of the box of φ (the larger one of the source)")
    starts: int = question.option(2, "starts of L-BFGS-B, one along the gradient and the others in random corners")
    manifold: int = question.option(100, "dimension of the random manifold, as in the source")


SIZES = {
    "smoke": {
        "train": 200,
        "test": 200,
        "hidden": (16,),
        "batch_sizes": (10, 100),
        "target_loss": 0.3,
        "updates": 300,
        "slow_updates": 40,
        "copies": 2,
        "attacks": (0.1,),
        "manifold": 5,
        "seeds": 2,
    },
    "report": {},
    "paper": {
        "data": "mnist",
        "train": 60000,
        "test": 10000,
        "hidden": (512,) * 5,
        "batch_sizes": (256, 6000),
        "updates": 200000,
        "slow_updates": 20000,
        "copies": 10,
    },
}

COLUMNS = {
    "rows": [
        "remedy",
        "seed",
        "updates",
        *question.LOSSES_AND_ACCURACIES,
        "space",
        "value",
        "loss",
        "largest",
        "status",
    ],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per way of training."""
    if len(settings.batch_sizes) != 2 or settings.batch_sizes[0] > settings.batch_sizes[1]:
        raise ValueError(f"--batch_sizes takes two values, the smaller first; not {settings.batch_sizes}")
    remedies = ["data augmentation", "conservative training", *_robust(settings), "growing batches"]
    return [{"remedy": name} for name in ("small batch", "large batch", *remedies)]


def run(settings: Settings, data, remedy: str):
    """Yields a row per seed and space of φ."""
    for member in _trained(settings, data, remedy):
        for space, manifold in (("full", None), ("manifold", settings.manifold)):
            row = {**member.row, "space": space}
            if member.status != "diverged":
                options = {"starts": settings.starts, "seed": member.seed}
                images = data.of(member.seed)  # unmodified, also if training saw other versions
                found = keskar_sharpness(
                    member.model, images.x_train, images.y_train, settings.epsilon, manifold, **options
                )
                row |= {"value": found.value, "loss": found.loss, "largest": found.largest}
            yield row


def augment(settings: Settings, data):
    """Replaces each training image by `settings.copies` versions, each rotated and shifted at random.

    Args:
        settings: gives `copies`, `rotation`, `shift` and `all_seeds`.
        data: `hw1.datasets.Splits`.

    Returns:
        `hw1.datasets.Splits` with `settings.copies` times as many training images; the test sets are unchanged.
    """
    layers, options, shape = keras.layers, {"fill_mode": "constant"}, data.shape  # the background is 0
    rotate = layers.RandomRotation(settings.rotation / 360, seed=0, **options)
    shift = layers.RandomTranslation(settings.shift, settings.shift, interpolation="nearest", seed=1, **options)
    used = np.unique(
        np.concatenate([data.rows(seed)[0] for seed in settings.all_seeds])
    )  # in the training set of some seed
    images = data.x[used].reshape(-1, *shape[:2], math.prod(shape[2:]))  # greyscale images get one channel
    moved = [np.asarray(shift(rotate(images, training=True), training=True)) for _ in range(settings.copies)]
    begins = len(data.y) + len(used) * np.arange(
        settings.copies
    )  # first row of each version, after the unmodified images

    def divide(seed):
        train, test = data.rows(seed)
        return np.add.outer(begins, np.searchsorted(used, train)).ravel(), test

    return dataclasses.replace(
        data,
        x=np.concatenate([data.x, *(version.reshape(-1, *shape) for version in moved)]),
        y=np.concatenate([data.y, np.tile(data.y[used], settings.copies)]),
        train=data.train * settings.copies,
        divide=divide,
    )


def robust(net, x, y, loss, epsilon: float):
    """The objective of robust training: the mean of the losses at x and at x + ε sign(∂ℓ/∂x).

    Args:
        net: a function of the inputs that returns outputs of shape [n, classes].
        x: inputs, shape [n, ...].
        y: labels, shape [n].
        loss: a function (y, outputs) -> [n].
        epsilon: ε, in units of the inputs.

    Returns:
        A value per example, shape [n]. The perturbed inputs are treated as constants: no gradient flows through them.
    """
    with tf.GradientTape() as tape:
        tape.watch(x)
        plain = loss(y, net(x, training=True))
    moved = tf.stop_gradient(x + epsilon * tf.sign(tape.gradient(plain, x)))
    return (plain + loss(y, net(moved, training=True))) / 2


def _robust(settings):
    """Name → ε of each kind of robust training."""
    return {f"robust training, ε = {epsilon:g}": epsilon for epsilon in settings.attacks}


def _trained(settings, data, remedy):
    """Trains the members of a unit."""
    small, large = settings.batch_sizes
    train = functools.partial(recipe.train, settings, data)
    if remedy == "small batch":
        return train(small)
    if remedy == "data augmentation":
        return _train_augmented(settings, data, large)
    if remedy == "conservative training":
        steps = {"inner_steps": settings.inner_steps, "proximal": settings.proximal}
        looks = -(-recipe.LOOK_EVERY // settings.inner_steps)  # the same number of steps between evaluations
        return train(large, **steps, evaluate_updates=looks)
    if remedy == "growing batches":
        return _grow(train, train(small, epochs=settings.warm_epochs), large)
    if remedy == "large batch":
        return train(large)
    objective = functools.partial(robust, epsilon=_robust(settings)[remedy])
    return train(large, objective=objective, updates=settings.slow_updates)


def _train_augmented(settings, data, batch_size):
    """Trains members on augmented images; their histories end with loss and accuracy on the unmodified images."""
    updates = settings.slow_updates
    options = {"updates": updates, "evaluate_updates": updates, "target_loss": None}
    members = recipe.train(settings, augment(settings, data), batch_size, **options)
    for member in members:
        if member.status != "diverged":
            images = data.of(member.seed)
            loss, accuracy = evaluation.evaluate(member.model, images.x_train, images.y_train)
            member.history |= {"train_loss": np.array([loss]), "train_accuracy": np.array([accuracy])}
            member.status = "ok" if loss <= settings.target_loss else "target not reached"
    return members


def _grow(train, begun, batch_size):
    """Continues training from the members that did not diverge; their updates count both parts."""
    warm = {member.seed: member for member in begun if member.status != "diverged"}

    def copy(seed):
        return models.with_parameters(warm[seed].model, models.flat_parameters(warm[seed].model))

    grown = train(batch_size, copy, seeds=warm) if warm else []
    for member in grown:
        member.updates += warm[member.seed].updates
    return sorted([*grown, *(m for m in begun if m.seed not in warm)], key=lambda member: member.seed)


if __name__ == "__main__":
    command.main(sys.modules[__name__])
