"""Do large batches help when most labels are noisy?

    python -m hw1.dynamics.label_noise
    python -m hw1.dynamics.label_noise --size=smoke    seconds

To each training image with its true label, α copies of the image are *added* whose labels are drawn uniformly from all
classes, the true one included: of 10 classes and α = 20, a share of (1 + α/10) / (1 + α) = 14 % of all labels is true.
The training set grows to (1 + α) times its size. The copies of a smaller α are among those of a larger one.

A net is trained by plain SGD with a small and with a large batch. Of about evenly spaced evaluations, the one with the
highest accuracy on clean validation images counts, and all else is measured there. Validation images are taken from the
training images, never from the test images. Losses and accuracies on the training set are those on the noisy one. The
large batch sees more examples than the small one, so that what it lacks is not training. Columns stopped, the updates
until the evaluation that counts, and last_test_accuracy, at the very end, tell whether the updates suffice.

Large batches average over more random labels, but so does a smaller learning rate with small batches. So there are two
learning rates for each batch size: "kept" is the best one without noise, used for every α; "tuned" is the best one for
each α. The question is the interaction: the difference in test accuracy between large and small batches with noise,
less that without.

Rates of 0.015 to 0.25 (small batch) and 0.25 to 2 (large batch), in steps of about 2, were tried with the seeds 1000 to
1003, and those of the highest mean validation accuracy taken. Without noise the choice is not sharp: from 0.06 to 0.25
and from 0.5 to 2 it lies within 0.002. With noise, twice the best rate costs up to 0.01.

Source: Rolnick, Veit, Belongie and Shavit, arXiv 1705.10694 (uniform label noise on MNIST, and the size of batches).

Deviations: a fully connected net with one hidden layer, 4,000 training images averaged to 7 × 7 pixels and α of at
most 20, where the source has convolutional nets, the 60,000 of MNIST and α of up to 100. Size paper has a larger net
and all images, at 14 × 14 pixels: each is kept with each of the labels, which takes memory.
"""

import dataclasses
import sys

import keras
import numpy as np

from hw1 import command, datasets, evaluation, models, question, training

KEPT, TUNED = "kept", "tuned"


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    seeds: int = question.option(
        8, "independent repetitions (initial weights, batch order, noisy labels and the split)"
    )
    train: int = question.option(5000, "training images with true labels, those for validation included")
    test: int = question.option(5000, "test examples")
    validation: int = question.option(1000, "training images that are kept for validation", at_most="train")
    pool: int = question.option(4, "side of the squares of pixels that are averaged; 1 keeps the images as they are")
    hidden: tuple[int, ...] = question.option((64,), "widths of the hidden layers", unique=False)
    alphas: tuple[int, ...] = question.option((0, 1, 5, 10, 20), "noisy labels α for each true one, 0 first", minimum=0)
    batch_sizes: tuple[int, ...] = question.option((16, 256), "small and large batch size", at_most="train")
    updates: tuple[int, ...] = question.option(
        (96000, 10000), "optimizer steps with the small and the large batch", unique=False
    )
    evaluations: int = question.option(20, "about evenly spaced evaluations on the validation images")
    small_rates: tuple[float, ...] = question.option(
        (0.06, 0.06, 0.03, 0.03, 0.03),
        "learning rate of the small batch for each α (chosen with the seeds 1000 to 1003)",
        unique=False,
    )
    large_rates: tuple[float, ...] = question.option(
        (1.0, 0.25, 0.5, 0.5, 0.5),
        "learning rate of the large batch for each α (chosen with the seeds 1000 to 1003)",
        unique=False,
    )


SIZES = {
    "smoke": {
        "train": 300,
        "test": 200,
        "validation": 100,
        "hidden": (16,),
        "alphas": (0, 2),
        "batch_sizes": (8, 100),
        "updates": (300, 60),
        "evaluations": 6,
        "small_rates": (0.1, 0.03),
        "large_rates": (0.5, 0.3),
        "seeds": 2,
    },
    "report": {},
    "paper": {
        "data": "mnist",
        "train": 60000,
        "test": 10000,
        "validation": 5000,
        "pool": 2,
        "hidden": (512, 512, 512),
        "updates": (320000, 20000),
    },
}

BY_SEED = True
COLUMNS = {
    "rows": [
        "alpha",
        "batch_size",
        "rate",
        "learning_rate",
        "seed",
        "stopped",
        "updates",
        *question.LOSSES_AND_ACCURACIES,
        "validation_accuracy",
        "last_test_accuracy",
        "status",
    ],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per α and batch size."""
    alphas, sizes = settings.alphas, settings.batch_sizes
    if alphas[0] != 0 or len(alphas) < 2 or list(alphas) != sorted(alphas):
        raise ValueError(f"--alphas={question.write(alphas)}: must begin with 0 and rise, such as 0,5,20")
    if len(sizes) != 2 or sizes[0] > sizes[1]:
        raise ValueError(f"--batch_sizes={question.write(sizes)}: must be two sizes, the smaller first")
    clean = settings.train - settings.validation
    if sizes[1] > clean:
        raise ValueError(
            f"--batch_sizes={question.write(sizes)}: must be at most the {clean} training images that "
            f"--train={settings.train} and --validation={settings.validation} leave"
        )
    for name, count, of in (
        ("updates", 2, "one for each batch size"),
        ("small_rates", len(alphas), "one for each of --alphas"),
        ("large_rates", len(alphas), "one for each of --alphas"),
    ):
        value = getattr(settings, name)
        if len(value) != count:
            raise ValueError(f"--{name}={question.write(value)}: must be {count} numbers, {of}")
    if settings.evaluations > min(settings.updates):
        raise ValueError(f"--evaluations={settings.evaluations}: must be at most --updates={min(settings.updates)}")
    return [{"alpha": alpha, "batch_size": size} for alpha in alphas for size in sizes]


def run(settings: Settings, data, alpha: int, batch_size: int):
    """Yields a row per kind of learning rate and seed."""
    data = datasets.average_pool(data, settings.pool)
    large = settings.batch_sizes.index(batch_size)
    rates = (settings.small_rates, settings.large_rates)[large]
    kinds = {KEPT: rates[0], TUNED: rates[settings.alphas.index(alpha)]}
    cells = [(rate, seed) for rate in dict.fromkeys(kinds.values()) for seed in settings.all_seeds]
    updates = settings.updates[large]
    members = training.train(
        lambda seed: models.mlp(settings.hidden, input_shape=data.shape, classes=data.classes, seed=seed),
        diluted(data, alpha, settings.validation),
        batch_size=batch_size,
        updates=updates,
        evaluate_updates=-(-updates // settings.evaluations),
        optimizer=lambda: keras.optimizers.SGD(1.0),
        learning_rate=[rate for rate, _ in cells],
        seeds=[seed for _, seed in cells],
        record=("weights",),
        progress=f"α = {alpha}, batch size {batch_size}",
    )
    found = {cell: _stopped(member, data.of(member.seed)) for cell, member in zip(cells, members, strict=True)}
    for kind, rate in kinds.items():
        for seed in settings.all_seeds:
            yield {"rate": kind, "learning_rate": rate, "seed": seed, **found[rate, seed]}


def diluted(data: datasets.Splits, alpha: int, validation: int) -> datasets.Splits:
    """Adds noisy copies to each training set; the test sets become the validation images.

    Every image is there once with each label, in the order of `data`, so the memory needed does not depend on α.

    Args:
        data: splits of N images of K classes.
        alpha: copies with a label drawn uniformly from all classes, for each training image.
        validation: how many of a seed's training images, the last ones, are its validation images instead.

    Returns:
        `hw1.datasets.Splits` of the N · K pairs of an image and a label. A training set has the true pairs first.
    """
    classes = data.classes

    def divide(seed):
        images, _ = data.rows(seed)
        pairs = images * classes + data.y[images]
        clean = images[: len(images) - validation]
        labels = np.random.default_rng([seed, 6]).integers(classes, size=(alpha, len(clean)))
        noisy = (clean * classes + labels).ravel()
        return np.concatenate([pairs[: len(clean)], noisy]), pairs[len(clean) :]

    return dataclasses.replace(
        data,
        x=np.repeat(data.x, classes, axis=0),
        y=np.tile(np.arange(classes, dtype=data.y.dtype), len(data.y)),
        train=(data.train - validation) * (1 + alpha),
        test=validation,
        divide=divide,
    )


def best(accuracies) -> int:
    """The index of the highest validation accuracy, the first one of several."""
    return int(np.argmax(accuracies))


def _stopped(member, images) -> dict:
    """What is measured of a member where its validation accuracy is highest."""
    if member.status == "diverged":
        return {"status": member.status}
    history, unseen = member.history, (images.x_test, images.y_test)
    place = best(history["test_accuracy"])  # the "test set" of `diluted`: for validation
    tested = evaluation.evaluate(models.with_parameters(member.model, member.weights[place]), *unseen)
    return {
        "stopped": member.evaluated[place],
        "updates": member.updates,
        "train_loss": history["train_loss"][place],
        "train_accuracy": history["train_accuracy"][place],
        "test_loss": tested[0],
        "test_accuracy": tested[1],
        "validation_accuracy": history["test_accuracy"][place],
        "last_test_accuracy": evaluation.evaluate(member.model, *unseen)[1],
        "status": member.status,
    }


if __name__ == "__main__":
    command.main(sys.modules[__name__])
