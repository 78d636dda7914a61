"""Which remedies help a large batch to generalise, and do they make its minima flat?

    python -m hw1.landscape.remedies                 about 2½ minutes of one core
    python -m hw1.landscape.remedies --size=smoke    seconds

A dense net is trained with a small and a large batch as they are, and with the large batch and each remedy:

    data augmentation      each image in 20 random versions, rotated by up to 10° and shifted by up to 0.2 of the side
    conservative training  each mini-batch B gets three steps of Adam on f_B(θ) + λ/2 ‖θ − θ_k‖², θ_k where B found θ
    robust training        half of each example's loss at x + ε sign(∂ℓ/∂x), the fast gradient sign method
    growing batches        some epochs with the small batch, then the large one, with a fresh optimizer

All are trained to one loss on the training set as it is, in inference mode. Augmentation and robust training come down
slowly and end after 1,200 mini-batches, wherever they are: the loss reached is recorded, and a net above the target has
the status "target not reached". φ is measured on the training set as it is, at the larger ε of the source.

Source: Keskar et al., arXiv 1609.04836, section 4 (and Goodfellow et al., arXiv 1412.6572, for robust training).

Deviations: 5,000 training images and a dense net instead of the source's convolutional ones. No horizontal flips, which
make no sense for digits; shifts by whole pixels; the versions of an image are made once, not anew in every step. Adam
keeps its moments from one mini-batch to the next; the source does not say. Two ε of robust training, since the source
gives none: Goodfellow's 0.25 and a smaller one.
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
    """What can be changed; every field is a flag."""

    hidden: tuple[int, ...] = question.option((30,) * 5, "widths of the hidden layers", unique=False)
    batch_sizes: tuple[int, ...] = question.option((25, 500), "small and large batch", at_most="train")
    target_loss: float = question.option(0.02, "loss on the training set to which every net is trained, in nats")
    updates: int = question.option(20000, "mini-batches, at most")
    slow_updates: int = question.option(1200, "mini-batches of augmentation, and of robust training at most")
    copies: int = question.option(20, "versions of each image in training with augmentation")
    learning_rate: float = question.option(1e-3, "step size of Adam (the source's optimizer; the default of both)")
    rotation: float = question.option(10.0, "largest rotation of augmentation, in degrees; the source's", maximum=180)
    shift: float = question.option(0.2, "largest shift of augmentation, share of the side; the source's", maximum=1)
    inner_steps: int = question.option(3, "steps of conservative training on each mini-batch, the source's", minimum=2)
    proximal: float = question.option(1e-3, "λ of conservative training, the source's")
    attacks: tuple[float, ...] = question.option((0.1, 0.25), "ε of robust training, in units of the pixels")
    warm_epochs: int = question.option(2, "epochs with the small batch, of growing batches (our choice)")
    epsilon: float = question.option(1e-3, "size of the box of φ, the source's larger one")
    starts: int = question.option(2, "of L-BFGS-B: one along the gradient, the others in random corners")
    manifold: int = question.option(100, "dimensions of the random manifold, as in the source")


SIZES = {
    "smoke": {"train": 200, "test": 200, "hidden": (16,), "batch_sizes": (10, 100), "target_loss": 0.3, "seeds": 2}
    | {"updates": 300, "slow_updates": 40, "copies": 2, "attacks": (0.1,), "manifold": 5},
    "report": {},
    "paper": {"data": "mnist", "train": 60000, "test": 10000, "hidden": (512,) * 5, "batch_sizes": (256, 6000)}
    | {"updates": 200000, "slow_updates": 20000, "copies": 10},
}


COLUMNS = {
    "rows": ["remedy", "seed", "updates", *question.FOUR, "space", "value", "loss", "largest", "status"],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per way of training."""
    if len(settings.batch_sizes) != 2 or settings.batch_sizes[0] > settings.batch_sizes[1]:
        raise ValueError(f"--batch_sizes takes two values, the smaller first, not {settings.batch_sizes}")
    remedies = ["data augmentation", "conservative training", *_robust(settings), "growing batches"]
    return [{"remedy": name} for name in ("small batch", "large batch", *remedies)]


def run(settings: Settings, data, remedy: str):
    """Yields a row per seed and space of φ."""
    for member in _trained(settings, data, remedy):
        for space, manifold in (("full", None), ("manifold", settings.manifold)):
            row = {**member.row, "space": space}
            if member.status != "diverged":
                options = {"starts": settings.starts, "seed": member.seed}
                images = data.of(member.seed)  # as they are, also where training saw others
                found = keskar_sharpness(
                    member.model, images.x_train, images.y_train, settings.epsilon, manifold, **options
                )
                row |= {"value": found.value, "loss": found.loss, "largest": found.largest}
            yield row


def augment(settings: Settings, data):
    """The data with `settings.copies` versions of each training image instead of it, each rotated and shifted anew.

    Args:
        settings: with `copies`, `rotation` and `shift`.
        data: as `hw1.datasets.load_splits` gives it.
    """
    layers, options, shape = keras.layers, {"fill_mode": "constant"}, data.shape  # zeros, the background
    rotate = layers.RandomRotation(settings.rotation / 360, seed=0, **options)
    shift = layers.RandomTranslation(settings.shift, settings.shift, interpolation="nearest", seed=1, **options)
    used = np.unique(np.concatenate([data.rows(seed)[0] for seed in settings.all_seeds]))  # of training by some seed
    images = data.x[used].reshape(-1, *shape[:2], math.prod(shape[2:]))  # one channel for grey images
    moved = [np.asarray(shift(rotate(images, training=True), training=True)) for _ in range(settings.copies)]
    begins = len(data.y) + len(used) * np.arange(settings.copies)  # of each version, behind the images as they are

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
    """The objective of robust training: half the loss at x, half at x + ε sign(∂ℓ/∂x).

    Args:
        net: gives outputs of shape [n, classes].
        x: inputs, shape [n, ...].
        y: labels, shape [n].
        loss: a function (y, outputs) -> [n].
        epsilon: ε, in units of the inputs.

    Returns:
        A value per example, shape [n]. The moved inputs count as data: their dependence on θ is not differentiated.
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
    """The trained members of a unit."""
    small, large = settings.batch_sizes
    train = functools.partial(recipe.train, settings, data)
    if remedy == "small batch":
        return train(small)
    if remedy == "data augmentation":
        return _train_augmented(settings, data, large)
    if remedy == "conservative training":
        steps = {"inner_steps": settings.inner_steps, "proximal": settings.proximal}
        looks = -(-recipe.LOOK_EVERY // settings.inner_steps)  # after as many steps
        return train(large, **steps, evaluate_updates=looks)
    if remedy == "growing batches":
        return _grow(train, train(small, epochs=settings.warm_epochs), large)
    if remedy == "large batch":
        return train(large)
    objective = functools.partial(robust, epsilon=_robust(settings)[remedy])
    return train(large, objective=objective, updates=settings.slow_updates)


def _train_augmented(settings, data, batch_size):
    """Members that were trained on moved images; their histories end with the loss on the images as they are."""
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
    """Goes on from the members that did not diverge; their updates count both parts."""
    warm = {member.seed: member for member in begun if member.status != "diverged"}

    def copy(seed):
        return models.with_parameters(warm[seed].model, models.flat_parameters(warm[seed].model))

    grown = train(batch_size, copy, seeds=warm) if warm else []
    for member in grown:
        member.updates += warm[member.seed].updates
    return sorted([*grown, *(m for m in begun if m.seed not in warm)], key=lambda member: member.seed)


if __name__ == "__main__":
    command.main(sys.modules[__name__])
