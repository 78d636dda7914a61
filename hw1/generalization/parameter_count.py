"""How do loss and accuracy depend on the number of parameters, and when is a net over-parametrised?

    python -m hw1.generalization.parameter_count
    python -m hw1.generalization.parameter_count --size=smoke    seconds

Nets with one hidden layer are trained in two parts.

*size*: 1 to 12,000 hidden units, true labels, cross-entropy. Loss and accuracy after training, over four decades of
parameters.

*threshold*: sizes dense around the one that first fits the training set, with a few hundred training examples, with
cross-entropy ("nll") and with the squared error against one-hot labels, summed over classes, and with 0 and 20 % of the
training labels permuted. A net of P parameters meets N conditions with nll (the right class has the highest output) and
N · K with the squared error, for N examples of K classes (every output has its value). The sizes are P = m · N and
P = m · N · K for the multiples m of the settings, as far as there are such widths. Is the threshold proportional to N?
Is the test error highest there, and does it fall again (double descent)?

A net stops when its training loss is at or below 0.001, past zero training error: a wrong example costs at least ln 2
nats or a squared error of ½. Or it stops when its optimizer steps are used up. Nothing stops early by a look at test
images. The learning rate falls along a cosine to 0 within those steps, so that nets near the threshold are not kept
from fitting by the noise of the steps, and the first learning rate of nets above 200 units is smaller, ∝ 1 / √width.
The threshold is that of this training (Nakkiran et al.: effective model complexity): with more steps, smaller nets fit.

Source: MLDS 2018, homework 1-3 (at least 10 nets of one structure); Neyshabur et al., arXiv 1412.6614; Sagun, *when is
a model over-parametrised?*; Belkin et al., arXiv 1812.11118; Nakkiran et al., arXiv 1912.02292.

Deviations: images are averaged over squares of 4 × 4 pixels, which leaves 7 × 7 pixels, so that nets over four decades
of size (70 to 720,010 parameters) can be trained in minutes, and there are 1,000 training examples (threshold: 150 to
600; Belkin et al. took 4,000 of 28 × 28 pixels). Size paper keeps the full images. Inputs are
standardised: the mean training image is subtracted and all pixels are divided by their standard deviation, which makes
small nets fit in fewer steps. Belkin et al. start wide nets at trained
narrow ones; here every net starts anew. The learning rate was chosen for low training loss on the seeds 1000 and 1001.

Nets of neighbouring widths are trained in one stack: the units that a narrow one lacks have weights and biases 0. Their
gradient is 0, so they stay 0, and the net is the narrow one to rounding.
"""

import dataclasses
import itertools
import math
import sys

import keras
import numpy as np

from hw1 import command, datasets, models, question, training
from hw1.evaluation.losses import squared_error

STRIDE = 100_000  # a member's number is its seed + STRIDE · its cell, a width with a share of permuted labels
NEIGHBOURS = 3  # widths within this factor are trained in one stack
ALONE = 200  # nets wider than this are trained without others: padding them costs more than a program for each


LOSSES = {"nll": None, "squared": squared_error}


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    seeds: int = question.option(
        8, "independent repetitions (initial weights, batch order, noisy labels and the split)"
    )
    train: int = question.option(1000, "training examples of the size part")
    test: int = question.option(2500, "test examples")
    pool: int = question.option(4, "side of the squares of pixels that are averaged; 1 keeps the images as they are")
    widths: tuple[int, ...] = question.option(
        (1, 2, 3, 5, 8, 14, 25, 45, 80, 150, 300, 600, 1500, 4000, 12000), "widths of the hidden layer in the size part"
    )
    losses: tuple[str, ...] = question.option(
        tuple(LOSSES), "losses that are minimised in the threshold part", choices=LOSSES
    )
    examples: tuple[int, ...] = question.option(
        (150, 300, 600), "numbers of training examples of the threshold part", at_most="train"
    )
    noises: tuple[float, ...] = question.option(
        (0.0, 0.2), "shares of the training labels permuted in the threshold part", minimum=0, maximum=1
    )
    multiples: tuple[float, ...] = question.option(
        (0.125, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0, 8.0),
        "numbers of parameters as multiples of the number of conditions (threshold)",
    )
    narrowest: int = question.option(3, "narrowest hidden layer of the threshold part", at_most="widest")
    widest: int = question.option(400, "widest hidden layer of the threshold part")
    updates: int = question.option(4000, "largest number of optimizer steps")
    target_loss: float = question.option(1e-3, "training loss, past zero training error, at which training stops")
    batch_size: int = question.option(50, "examples per step, or all if there are fewer")
    learning_rate: float = question.option(1e-2, "first learning rate of Adam for at most 200 hidden units")


SIZES = {
    "smoke": {
        "train": 150,
        "test": 200,
        "widths": (1, 16, 64),
        "examples": (30, 60),
        "multiples": (0.5, 4.0, 12.0),
        "widest": 64,
        "updates": 900,
        "batch_size": 30,
        "seeds": 2,
    },
    "report": {},
    "paper": {
        "data": "mnist",
        "train": 60000,
        "test": 10000,
        "pool": 1,
        "examples": (1000, 2000, 4000),
        "widest": 1000,
        "updates": 100000,
    },
}

COLUMNS = {
    "rows": [
        "part",
        "loss",
        "examples",
        "noise",
        "hidden",
        "parameters",
        "seed",
        "updates",
        *question.LOSSES_AND_ACCURACIES,
        "status",
    ],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work for the nets of all sizes, and one per loss and number of training examples."""
    dense = itertools.product(settings.losses, settings.examples)
    first = {"part": "size", "loss": "nll", "examples": settings.train}
    return [first, *({"part": "threshold", "loss": loss, "examples": count} for loss, count in dense)]


def run(settings: Settings, data, part: str, loss: str, examples: int):
    """Yields a row per width, share of permuted labels and seed."""
    data = datasets.average_pool(data, settings.pool)
    widths, noises = settings.widths, (0.0,)
    if part == "threshold":
        conditions = examples * (data.classes if loss == "squared" else 1)
        wanted = [width_of(multiple * conditions, data) for multiple in settings.multiples]
        kept = [width for width in wanted if settings.narrowest <= width <= settings.widest]
        widths, noises = kept or [settings.widest], settings.noises
    for group in groups(widths):
        yield from _train(settings, data, loss, examples, group, noises)


def parameters(width: int, data) -> int:
    """The number of weights and biases of a net with one hidden layer."""
    return width * (math.prod(data.shape) + 1) + (width + 1) * data.classes


def width_of(count: float, data) -> int:
    """The width of the net whose number of parameters is nearest to `count`; at least 1."""
    return max(1, round((count - data.classes) / (parameters(1, data) - data.classes)))


def groups(widths) -> list[list[int]]:
    """Different widths in ascending order, in lists of those that are trained in one stack."""
    found = []
    for width in sorted(set(widths)):
        if not found or width > min(ALONE, NEIGHBOURS * found[-1][0]):
            found.append([])
        found[-1].append(width)
    return found


def _train(settings, data, loss, examples, widths, noises):
    """Trains the nets of some widths, on labels with each share of noise, in one stack; yields their rows."""
    cells = list(itertools.product(widths, range(len(noises))))
    splits = datasets.Splits.stacked(
        {
            seed + STRIDE * number: _prepared(data.of(seed), examples, noise, seed)
            for number, noise in enumerate(noises)
            for seed in settings.all_seeds
        }
    )
    scale = min(1, ALONE / max(widths)) ** 0.5
    rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate * scale, settings.updates)

    def build(member):
        width, _ = cells[member // STRIDE]
        return padded(width, max(widths), data.shape, data.classes, member % STRIDE)

    members = training.train(
        build,
        splits.sharing(lambda member: member % STRIDE + STRIDE * cells[member // STRIDE][1]),
        batch_size=min(settings.batch_size, examples),
        updates=settings.updates,
        evaluate_updates=max(1, round(settings.updates / 6 * scale**0.5)),
        target_loss=settings.target_loss,
        loss=LOSSES[loss],
        optimizer=lambda: keras.optimizers.Adam(rate),
        seeds=[seed + STRIDE * cell for cell in range(len(cells)) for seed in settings.all_seeds],
        progress=f"{loss}, {examples} examples, up to {max(widths)} hidden units",
    )
    for member in members:
        width, noise = cells[member.seed // STRIDE]
        size = {"hidden": width, "parameters": parameters(width, data)}
        yield {"noise": noises[noise], **size, **member.row, "seed": member.seed % STRIDE}


def _prepared(split, examples, noise, seed):
    """The first training examples of a split with part of their labels permuted; the mean training image is subtracted.

    All images are divided by the standard deviation of the pixels of the training images.
    """
    x, y = split.x_train[:examples], split.y_train[:examples]
    mean, deviation = x.mean(axis=0), x.std() or 1.0
    return dataclasses.replace(
        split,
        x_train=(x - mean) / deviation,
        x_test=(split.x_test - mean) / deviation,
        y_train=datasets.shuffle_labels(y, noise, seed),
    )


def padded(width: int, widest: int, shape, classes: int, seed: int) -> keras.Model:
    """A net with `width` hidden units in arrays of `widest` units; the weights of the others are 0 and stay so.

    A unit without weights has output 0 and, as the slope of ReLU at 0 is 0, no gradient. So Adam leaves it as it is.
    The initial weights are those of Glorot and Bengio for a net of that width (uniform), drawn from seed and width.
    """
    rng, sizes = np.random.default_rng([seed, width]), (math.prod(shape), width, classes)
    first, second = (rng.uniform(-1, 1, pair) * math.sqrt(6 / sum(pair)) for pair in itertools.pairwise(sizes))
    model = models.mlp((widest,), input_shape=shape, classes=classes, seed=seed)
    missing = (0, widest - width)
    kernels = np.pad(first, ((0, 0), missing)), np.pad(second, (missing, (0, 0)))
    model.set_weights([kernels[0], np.zeros(widest), kernels[1], np.zeros(classes)])
    return model


if __name__ == "__main__":
    command.main(sys.modules[__name__])
