"""What do momentum, weight decay, preprocessing and the learning-rate schedule each give a residual net?

    python -m hw1.dynamics.ingredients
    python -m hw1.dynamics.ingredients --size=smoke    seconds

A small residual net is trained with all four ingredients, without each of them, and without all:

    momentum         0.9, else 0
    weight decay     λ/2 ‖w‖² of all kernels in the objective, else no such term
    preprocessing    the mean image is subtracted and the pixels are divided by their standard deviation; each time an
                     image is seen it is shifted by some pixels, zeros filling the gap, and flipped from left to right
                     or not; else pixels in [0, 1], always the same
    schedule         the learning rate is divided by 10 after half and after three quarters of the steps, else constant

What an ingredient gives depends on the learning rate: without momentum m, plain SGD moves 1 / (1 − m) times less per
step. So each ablation is trained twice: with the rate of the full set-up ("fixed"), and with a rate of its own
("retuned"). All take equally many steps, from the same initial weights, on the same images. The *drop* is the test
accuracy of the full set-up less that of the ablation, of the same seed.

Source: Sagun's talk: ResNet-56 on CIFAR-10 has 93.1 % and loses 1.5 points without momentum, 3.2 without weight decay,
6.3 without preprocessing, and 12.5 without all three. The net is that of He et al., arXiv 1512.03385.

Deviations: a net of 6 layers on 500 greyscale images of clothes, averaged over squares of 4 × 4 pixels, and 80 passes
over them, by which a net without preprocessing classifies all of them correctly. Mean image and standard deviation are
those of all images, so that seeds share them. The shortcuts that change the number of channels are 1 × 1 convolutions
(option B of He et al.). The source does not say whether it retuned rates; the schedule as an ingredient is ours, and
"everything" removes it too.

The rates are those of the highest mean test accuracy on the seeds 1000 to 1002, in steps of 2: of 0.05 to 0.2 for the
full set-up (0.738, 0.742, 0.740) and without weight decay, 0.2 to 0.8 without momentum, 0.05 to 0.4 without
preprocessing, 0.006 to 0.05 without schedule, and 0.05 to 0.8 without everything.

On the seeds 1000 and 1001 preprocessing lowered the test accuracy of this net, by 4.1 points. So did each of its parts
alone (normalised pixels by 1.7, shifts by 1.5, flips by 0.2), four times as many steps, by which the training accuracy
is 1 (3.5 points), images of 14 × 14 pixels (2.3 points), and 2,000 training images (6 points). The clothes lie in the
middle of black images, all upright and of one size: there is nothing that shifts could teach.
"""

import dataclasses
import functools
import sys

import keras
import numpy as np

from hw1 import command, datasets, question, training

INGREDIENTS = ("momentum", "weight decay", "preprocessing", "schedule")
NOTHING, EVERYTHING = "nothing", "everything"
REMOVED = (*INGREDIENTS, EVERYTHING)
MILESTONES = (0.5, 0.75)  # of the steps, as in He et al.: 32,000 and 48,000 of 64,000


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    data: str = question.option("fashion10k", "data set: a name of hw1.datasets or a path")
    train: int = question.option(500, "training examples")
    pool: int = question.option(4, "side of the squares of pixels that are averaged; 1 keeps the images as they are")
    filters: tuple[int, ...] = question.option((16, 32), "channels of each stage of the net", unique=False)
    blocks: int = question.option(1, "residual blocks, of two convolutions each, in a stage")
    batch_size: int = question.option(50, "examples per step", at_most="train")
    updates: int = question.option(800, "number of optimizer steps", minimum=4)
    learning_rate: float = question.option(
        0.1, "first step size of SGD of the full set-up (chosen with the seeds 1000 to 1002)"
    )
    tuned_rates: tuple[float, ...] = question.option(
        (0.4, 0.2, 0.2, 0.0125, 0.4),
        "first step sizes without momentum, weight decay, preprocessing, schedule and everything (chosen with "
        "the seeds 1000 to 1002)",
        unique=False,
    )
    momentum: float = question.option(0.9, "momentum of SGD", maximum=0.999)
    weight_decay: float = question.option(2e-3, "λ of weight decay")
    seeds: int = question.option(8, "independent repetitions (initial weights, batch order and split of the images)")
    shift: int = question.option(1, "largest shift of preprocessing in pixels (1 of 7; He et al.: 4 of 32)")


SIZES = {
    "smoke": {
        "train": 100,
        "test": 200,
        "pool": 4,
        "filters": (4,),
        "batch_size": 20,
        "updates": 10,
        "seeds": 2,
        "tuned_rates": (0.2, *(0.1,) * 4),
    },
    "report": {},
    "paper": {
        "data": "cifar10",
        "train": 50000,
        "test": 10000,
        "pool": 1,
        "filters": (16, 32, 64),
        "blocks": 9,
        "batch_size": 128,
        "updates": 64000,
        "learning_rate": 0.1,
        "tuned_rates": (1.0, 0.1, 0.1, 0.01, 0.1),
        "weight_decay": 1e-4,
        "shift": 4,
    },
}

BY_SEED = True
COLUMNS = {
    "rows": ["removed", "rate", "learning_rate", "seed", "updates", *question.LOSSES_AND_ACCURACIES, "status"],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work for the full set-up, and one for each ablation."""
    if len(settings.tuned_rates) != len(REMOVED):
        raise ValueError(
            f"--tuned_rates={question.write(settings.tuned_rates)}: must be {len(REMOVED)} numbers, for the net "
            f"without {', without '.join(REMOVED)}"
        )
    return [{"removed": name} for name in (NOTHING, *REMOVED)]


def run(settings: Settings, data, removed: str):
    """Yields a row per rate, fixed or retuned, and seed; equal rates are trained once."""
    data = datasets.average_pool(data, settings.pool)
    height, width = data.shape[:2]
    if settings.shift >= min(height, width):
        raise ValueError(f"--shift={settings.shift}: must be below the side of the images of {height} × {width} pixels")
    rates = {"fixed": settings.learning_rate}
    if removed != NOTHING:
        rates["retuned"] = settings.tuned_rates[REMOVED.index(removed)]
    members = {rate: _train(settings, data, removed, rate) for rate in dict.fromkeys(rates.values())}
    for name, rate in rates.items():
        for member in members[rate]:
            yield {"rate": name, "learning_rate": rate, **member.row}


def resnet(
    shape, classes: int, filters, blocks: int, seed: int, weight_decay: float = 0.0, shift: int = 0, flip: bool = False
) -> keras.Model:
    """A residual net of 2 + 2 · stages · blocks layers with batch normalisation (He et al., arXiv 1512.03385).

    A 3 × 3 convolution, stages of residual blocks, each stage after the first at half the resolution, the mean over
    all pixels, and a dense layer.

    Args:
        shape: of an image, (height, width) or (height, width, channels).
        classes: number of outputs (logits).
        filters: channels of each stage.
        blocks: residual blocks in a stage.
        seed: of the initial weights (He normal), the shifts and the flips.
        weight_decay: λ of the term λ/2 ‖w‖² of all kernels.
        shift: largest shift in pixels in training, in both directions.
        flip: whether images are flipped at random in training.
    """
    layers, rng = keras.layers, np.random.default_rng(seed)
    decay = keras.regularizers.L2(weight_decay / 2) if weight_decay else None

    def drawn():
        return int(rng.integers(2**31))

    def convolved(x, channels, side, stride, name):
        x = layers.Conv2D(
            channels,
            side,
            stride,
            "same",
            use_bias=False,
            kernel_initializer=keras.initializers.HeNormal(seed=drawn()),
            kernel_regularizer=decay,
            name=name,
        )(x)
        return layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)

    images = keras.Input(shape, name="images")
    x = images if len(shape) == 3 else layers.Reshape((*shape, 1), name="channel")(images)
    if shift:
        share = shift / shape[0], shift / shape[1]
        seeds = {"seed": seed + 1, "name": "shift"}
        x = layers.RandomTranslation(*share, fill_mode="constant", interpolation="nearest", **seeds)(x)
    if flip:
        x = layers.RandomFlip("horizontal", seed=seed + 2, name="flip")(x)
    x = layers.Activation("relu", name="first_activation")(convolved(x, filters[0], 3, 1, "first"))
    for stage, channels in enumerate(filters, start=1):
        for block in range(1, blocks + 1):
            name, stride = f"stage_{stage}_block_{block}", 2 if stage > 1 and block == 1 else 1
            inside = convolved(x, channels, 3, stride, f"{name}_first")
            inside = layers.Activation("relu", name=f"{name}_first_activation")(inside)
            inside = convolved(inside, channels, 3, 1, f"{name}_second")
            if stride > 1 or x.shape[-1] != channels:
                x = convolved(x, channels, 1, stride, f"{name}_shortcut")
            x = layers.Add(name=f"{name}_sum")([x, inside])
            x = layers.Activation("relu", name=f"{name}_second_activation")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    initial = keras.initializers.GlorotUniform(seed=drawn())
    logits = layers.Dense(classes, kernel_initializer=initial, kernel_regularizer=decay, name="logits")(x)
    return keras.Model(images, logits, name="resnet")


def normalised(data: datasets.Splits) -> datasets.Splits:
    """The images less their mean image, divided by the standard deviation of their pixels, both over all images."""
    centred = data.x - data.x.mean(axis=0)
    return dataclasses.replace(data, x=centred / (centred.std() or 1.0))


def stepped(passed, steps_per_epoch: int, updates: int):
    """The learning rate as a share of the first one: divided by 10 at each milestone.

    Args:
        passed: epochs passed before each step, shape [steps].
        steps_per_epoch: steps of an epoch.
        updates: all steps.
    """
    begins = np.ceil(np.array(MILESTONES) * updates)
    return 0.1 ** np.searchsorted(begins, np.rint(passed * steps_per_epoch), side="right")


def _train(settings, data, removed, rate):
    """The members of an ablation with a learning rate."""
    kept = {name: removed not in (name, EVERYTHING) for name in INGREDIENTS}
    if kept["preprocessing"]:
        data = normalised(data)
    share = functools.partial(stepped, steps_per_epoch=-(-data.train // settings.batch_size), updates=settings.updates)
    return training.train(
        lambda seed: resnet(
            data.shape,
            data.classes,
            settings.filters,
            settings.blocks,
            seed,
            weight_decay=settings.weight_decay * kept["weight decay"],
            shift=settings.shift * kept["preprocessing"],
            flip=kept["preprocessing"],
        ),
        data,
        batch_size=settings.batch_size,
        updates=settings.updates,
        evaluate_updates=settings.updates,
        optimizer=lambda: keras.optimizers.SGD(momentum=settings.momentum * kept["momentum"]),
        learning_rate=(lambda passed: rate * share(passed)) if kept["schedule"] else rate,
        seeds=settings.all_seeds,
        progress=f"without {removed}",
    )


if __name__ == "__main__":
    command.main(sys.modules[__name__])
