"""Can a net fit random labels, and random images?

    python -m hw1.generalization.random_labels
    python -m hw1.generalization.random_labels --size=smoke    seconds

Before training, a fraction of the training labels is permuted, which leaves the number of labels of each class
unchanged. The test labels stay true. At 100 % the net can only memorise. Or the labels stay true and the images,
training and test images alike, are made unlike images, in the three ways of the source: *shuffled* pixels (one
permutation for all images), *random* pixels (a permutation for each image), and *Gaussian* noise with mean and variance
of the pixels of the training images.

A net with three hidden layers of 256 units is trained until its loss on the whole training set is at or below 0.005
nats. An example that is classified wrongly costs at least ln 2 nats, as another class then has a higher probability
than its own. So at that loss at least 99.3 % of the labels are fitted: the net has *memorised* them, whatever the last
epoch brings. A net that does not come there stops after the largest number of epochs. Loss and accuracy on training and
test set are recorded after every epoch.

Each seed draws its permutation of labels, its permutations of pixels and its noise, also with `--splits=fixed`.

Source: MLDS 2018, homework 1-3; Zhang et al., arXiv 1611.03530, section 2.1 and figure 1.

Deviations from the homework: 1,500 training images instead of 60,000; size paper takes them all. From Zhang et al.:
MNIST and a fully connected net instead of CIFAR-10 and convolutional ones; Adam at a constant rate; labels permuted,
not drawn anew for each image, so that classes keep their sizes.
"""

import dataclasses
import sys

import keras

from hw1 import command, datasets, models, question, training
from hw1.datasets import transform

PIXELS = ("shuffled", "random", "gaussian")


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    seeds: int = question.option(
        10, "independent repetitions (initial weights, batch order, permutations and the split)"
    )
    train: int = question.option(1500, "training examples")
    test: int = question.option(2000, "test examples")
    fractions: tuple[float, ...] = question.option(
        (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), "fractions of the training labels that are permuted", minimum=0, maximum=1
    )
    images: tuple[str, ...] = question.option(
        PIXELS, "what is put in place of the images while labels stay true", choices=PIXELS
    )
    hidden: tuple[int, ...] = question.option(models.RANDOM_LABEL_HIDDEN, "widths of the hidden layers", unique=False)
    epochs: int = question.option(80, "largest number of epochs")
    target_loss: float = question.option(0.005, "training loss in nats at which the labels count as memorised")
    batch_size: int = question.option(100, "examples per step", at_most="train")
    learning_rate: float = question.option(1e-3, "learning rate of Adam (the default of Keras)")


SIZES = {
    "smoke": {
        "train": 200,
        "test": 200,
        "fractions": (0.0, 1.0),
        "hidden": (32, 32),
        "epochs": 60,
        "batch_size": 50,
        "learning_rate": 1e-2,
        "seeds": 2,
    },
    "report": {},
    "paper": {"data": "mnist", "train": 60000, "test": 10000, "epochs": 400, "batch_size": 250},
}

BY_SEED = True
COLUMNS = {
    "rows": ["pixels", "fraction", "seed", "epoch", *question.LOSSES_AND_ACCURACIES, "status"],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per fraction of permuted labels, and one per way of making images unlike images."""
    labels = [{"pixels": "true", "fraction": fraction} for fraction in settings.fractions]
    return labels + [{"pixels": pixels, "fraction": 0.0} for pixels in settings.images]


def run(settings: Settings, data, pixels: str, fraction: float):
    """Yields a row per seed and epoch."""
    changed = {seed: _changed(data.of(seed), seed, pixels, fraction) for seed in settings.all_seeds}
    members = training.train(
        lambda seed: models.mlp(settings.hidden, input_shape=data.shape, classes=data.classes, seed=seed),
        datasets.Splits.stacked(changed),
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        target_loss=settings.target_loss,
        optimizer=lambda: keras.optimizers.Adam(settings.learning_rate),
        seeds=settings.all_seeds,
        progress=f"{pixels} pixels, {fraction:.0%} random labels",
    )
    for member in members:
        for at_epoch in member.curve:
            yield {"seed": member.seed, **at_epoch, "status": member.status}


def _changed(split, seed, pixels, fraction):
    """A split with part of its training labels permuted, or with other images."""
    split = dataclasses.replace(split, y_train=datasets.shuffle_labels(split.y_train, fraction, seed))
    if pixels == "gaussian":
        return transform.gaussian_images(split, seed)
    return split if pixels == "true" else transform.shuffle_pixels(split, seed, each=pixels == "random")


if __name__ == "__main__":
    command.main(sys.modules[__name__])
