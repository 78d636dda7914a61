"""Which remedies help a large batch to generalise, and do they lead to flat minima?

    python -m hw1.landscape.remedies
    python -m hw1.landscape.remedies --size=smoke    seconds

A dense net is trained with a small and with a large batch, and with the large batch and each of these remedies:

    data augmentation      random versions of each image, rotated by up to 10° and shifted by up to 0.05 of the side
    conservative training  three steps of Adam per mini-batch B on f_B(θ) + λ/2 ‖θ − θ_k‖², θ_k being θ before B
    robust training        half of each example's loss is taken at x + δ sign(∂ℓ/∂x), the fast gradient sign method
    warm start             few or many epochs with the small batch, then the large one
    growing batches        the batch size doubles from the small to the large one (dynamic sampling)

The small batch is trained with augmentation too. Each way of training ends at a gate of its own. What minimises the
training loss ends when that is at or below one target. Augmented and robust training minimise another objective and
cannot be held to that target: they end at their plateau. Their objective is averaged over windows of 50,000 images; the
plateau is reached when no mean of the last two windows is more than 10 % below the lowest one before, so that it falls
by less than 0.5 % an epoch. A net that is not there after its last mini-batch has the status "target not reached".
Column "objective" has the objective's mean over the last window, or the training loss. Losses, accuracies and the
sharpness φ are of the unmodified images, in inference mode, φ at the larger ε of the source.

Source: Keskar et al., arXiv 1609.04836, sections 3 (warm starts) and 4, appendix E (and Goodfellow et al., arXiv
1412.6572, for robust training). Of robust training the source says two things: its section 4.3 reports no improvement,
while its conclusion counts it among the strategies that help generalisation but still lead to relatively sharp minima.
Its gain is tested against the former, its sharpness against the latter.

Deviations: 5,000 training images, and a dense net instead of the source's convolutional ones. No horizontal flips,
which make no sense for digits. Shifts are by whole pixels, and smaller than the source's 0.2 of the side: the digits
are centred, and of the pilot seeds 1000 and 1001 that lowered the test accuracy of the dense net by 0.04, where 0.05
raised it by 0.03. The versions of an image are made once, not anew in every step. The step size of Adam, which the
source does not state, is the best of the same pilot seeds for both batch sizes. Adam keeps its moments from one
mini-batch to the next, which the source does not specify, and begins anew where the batch size changes. Robust training
has two attack sizes δ, since the source gives none: 0.25 as in Goodfellow et al., and a smaller one. The source names
growing batches as a prospect but does not try them; the schedule, and what we expect of it, are ours.
"""

import dataclasses
import functools
import itertools
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
    augmented_updates: tuple[int, ...] = question.option(
        (26000, 2000), "maximum number of mini-batches with augmentation, small and large batch"
    )
    robust_updates: int = question.option(1400, "maximum number of mini-batches in robust training")
    window: int = question.option(50000, "images over which an objective is averaged in the search for its plateau")
    fall: float = question.option(
        0.1, "relative fall over two windows that counts as a plateau of the objective", maximum=1
    )
    copies: int = question.option(10, "versions of each image with augmentation")
    seeds: int = question.option(10, "independent repetitions (initial weights, batch order and, of images, the split)")
    learning_rate: float = question.option(3e-3, "step size of Adam (for both batch sizes the best of pilot seeds)")
    rotation: float = question.option(
        10.0, "largest rotation of augmentation in degrees (as in the source)", maximum=180
    )
    shift: float = question.option(0.05, "largest shift of augmentation as a fraction of the side", maximum=1)
    inner_steps: int = question.option(
        3, "steps of conservative training on each mini-batch (as in the source)", minimum=2
    )
    proximal: float = question.option(1e-3, "λ of conservative training (as in the source)")
    attacks: tuple[float, ...] = question.option(
        (0.1, 0.25), "sizes δ of the attack in robust training (pixels are in [0, 1])"
    )
    warm_epochs: tuple[int, ...] = question.option(
        (1, 10), "warm start: few and many epochs with the small batch (our choice; the source goes from 1 to 100)"
    )
    growing_epochs: int = question.option(2, "growing batches: epochs with each batch size (our choice)")
    epsilon: float = question.option(1e-3, "size ε of the box of the sharpness φ (the larger one of the source)")
    starts: int = question.option(
        1, "starts of L-BFGS-B, the first along the signs of the gradient and others towards random corners"
    )


SIZES = {
    "smoke": {
        "train": 200,
        "test": 200,
        "hidden": (16,),
        "batch_sizes": (10, 100),
        "target_loss": 0.3,
        "updates": 300,
        "augmented_updates": (400, 40),
        "robust_updates": 40,
        "window": 1000,
        "copies": 2,
        "attacks": (0.1,),
        "warm_epochs": (1, 2),
        "growing_epochs": 1,
        "seeds": 2,
    },
    "report": {},
    "paper": {
        "data": "mnist",
        "train": 60000,
        "test": 10000,
        "hidden": (512,) * 5,
        "batch_sizes": (256, 6000),
        "learning_rate": 1e-3,
        "shift": 0.2,
        "updates": 200000,
        "augmented_updates": (400000, 20000),
        "robust_updates": 20000,
        "window": 600000,
        "warm_epochs": (2, 50),
    },
}

COLUMNS = {
    "rows": [
        "remedy",
        "seed",
        "updates",
        *question.LOSSES_AND_ACCURACIES,
        "objective",
        "value",
        "loss",
        "largest",
        "status",
    ],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per way of training."""
    if len(settings.batch_sizes) != 2 or settings.batch_sizes[0] > settings.batch_sizes[1]:
        raise ValueError(f"--batch_sizes={question.write(settings.batch_sizes)}: must be two values, the smaller first")
    if len(settings.augmented_updates) != 2:
        raise ValueError(
            "--augmented_updates takes two values, of the small and the large batch; "
            f"not {question.write(settings.augmented_updates)}"
        )
    remedies = [*_augmented(settings), "conservative training", *_robust(settings), *_warm(settings), "growing batches"]
    return [{"remedy": name} for name in ("small batch", "large batch", *remedies)]


def run(settings: Settings, data, remedy: str):
    """Yields a row per seed."""
    for member in _trained(settings, data, remedy):
        row = {"objective": member.final["train_loss"], **member.row}
        if member.status != "diverged":
            images = data.of(member.seed)  # unmodified, also if training saw other versions
            options = {"starts": settings.starts, "seed": member.seed}
            found = keskar_sharpness(member.model, images.x_train, images.y_train, settings.epsilon, **options)
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


def plateau(means, fall: float) -> int | None:
    """Where a curve has stopped falling: at the first value that is, like the one before it, above a bound.

    The bound lies the share `fall` below the lowest of all values before these two.

    Args:
        means: the means of an objective over successive windows.
        fall: the relative fall that counts as none.

    Returns:
        The index of the value, at least 2; None if the curve falls to its end.
    """
    for place in range(2, len(means)):
        if min(means[place - 1 : place + 1]) > (1 - fall) * min(means[: place - 1]):
            return place
    return None


def _augmented(settings):
    """Name → batch size and most mini-batches of each training with augmentation."""
    budgets = zip(settings.batch_sizes, settings.augmented_updates, strict=True)
    return dict(zip(("augmented small batch", "data augmentation"), budgets, strict=True))


def _robust(settings):
    """Name → ε of each kind of robust training."""
    return {f"robust training, ε = {epsilon:g}": epsilon for epsilon in settings.attacks}


def _warm(settings):
    """Name → number of epochs with the small batch of each warm start."""
    return {f"warm start, {epochs} epoch{'s' * (epochs > 1)}": epochs for epochs in settings.warm_epochs}


def _trained(settings, data, remedy):
    """Trains the members of a unit."""
    small, large = settings.batch_sizes
    train = functools.partial(recipe.train, settings, data)
    if remedy in ("small batch", "large batch"):
        return train(small if remedy == "small batch" else large)
    if remedy == "conservative training":
        steps = {"inner_steps": settings.inner_steps, "proximal": settings.proximal}
        looks = -(-recipe.LOOK_EVERY // settings.inner_steps)  # the same number of steps between evaluations
        return train(large, **steps, evaluate_updates=looks)
    if remedy in _warm(settings):
        return _in_stages(train, [(small, _warm(settings)[remedy]), (large, None)])
    if remedy == "growing batches":
        sizes = [small * 2**power for power in range((large - 1).bit_length()) if small * 2**power < large]
        return _in_stages(train, [*((size, settings.growing_epochs) for size in sizes), (large, None)])
    if remedy in _augmented(settings):
        return _to_plateau(settings, data, augment(settings, data), *_augmented(settings)[remedy])
    objective = functools.partial(robust, epsilon=_robust(settings)[remedy])
    return _to_plateau(settings, data, data, large, settings.robust_updates, objective=objective)


def _to_plateau(settings, data, seen, batch_size, updates, **options):
    """Trains members on the images `seen`, and takes each back to where its objective came to its plateau.

    Their histories keep that one evaluation, of the unmodified images of `data`, and the objective there.
    """
    options |= {"updates": updates, "evaluate_updates": max(1, settings.window // batch_size), "target_loss": None}
    members = recipe.train(settings, seen, batch_size, record=("weights", "steps"), **options)
    for member in members:
        if member.status == "diverged":
            continue
        windows = itertools.pairwise([0, *member.evaluated])
        means = [member.steps["loss"][begin:end].mean() for begin, end in windows]
        place = plateau(means, settings.fall)
        member.status = "target not reached" if place is None else "ok"
        place = len(means) - 1 if place is None else place
        member.updates, images = int(member.evaluated[place]), data.of(member.seed)
        member.evaluated = member.evaluated[[place]]
        member.model = models.with_parameters(member.model, member.weights[place])
        member.history = {name: values[[place]] for name, values in member.history.items()}
        loss, accuracy = evaluation.evaluate(member.model, images.x_train, images.y_train)
        member.history |= {"train_loss": np.array([loss]), "train_accuracy": np.array([accuracy])}
        member.history |= {"objective": means[place : place + 1]}
    return members


def _in_stages(train, stages):
    """Trains members with one batch size after the other, each with a fresh optimizer.

    Args:
        train: takes a batch size and options of `hw1.recipe.train`.
        stages: batch sizes with their numbers of epochs; None trains on to the target.

    Returns:
        The members; their updates count all stages. Those that came to the target or diverged took no further ones.
    """
    members = {}
    for batch_size, epochs in stages:
        build = functools.partial(_copy, members) if members else None
        going = [seed for seed, member in members.items() if member.status == "target not reached"]
        if members and not going:
            break
        options = {"seeds": going} if members else {}
        before = {seed: members[seed].updates for seed in going}
        for member in train(batch_size, build, epochs=epochs, **options):
            member.updates += before.get(member.seed, 0)
            members[member.seed] = member
    return [members[seed] for seed in sorted(members)]


def _copy(members, seed):
    """A copy of the net of a seed, as the start of its next stage."""
    return models.with_parameters(members[seed].model, models.flat_parameters(members[seed].model))


if __name__ == "__main__":
    command.main(sys.modules[__name__])
