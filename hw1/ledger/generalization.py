"""What is claimed about part 1-3. Each function takes rows, settings and other tables and yields claims."""

from collections.abc import Iterator

import numpy as np

from hw1.ledger.verdict import Claim, claim
from hw1.statistics import Interval, geometric_mean, mean_interval, nearest, paired_difference, rank_correlation

ZHANG = "Zhang et al., arXiv 1611.03530"
NEYSHABUR = "Neyshabur et al., arXiv 1412.6614"
KESKAR = "Keskar et al., arXiv 1609.04836"
NOVAK = "Novak et al., arXiv 1802.08760"
COURSE = "MLDS 2018, homework 1-3"
DINH = "Dinh et al., arXiv 1703.04933"
KWON = "Kwon et al., arXiv 2102.11600"


def random_labels(frame, settings) -> Iterator[Claim]:
    """Nets memorise what cannot be learned."""
    last = frame[(frame.epoch == frame.groupby(["fraction", "seed"]).epoch.transform("max"))]
    random = last[last.fraction == last.fraction.max()]
    chance = 1 / settings["classes"]
    yield claim(
        ZHANG,
        "A net fits random labels (training accuracy)",
        mean_interval(random.train_accuracy),
        published="1",
        above=0.99,
    )
    yield claim(
        ZHANG,
        "What it fits there says nothing of test images (test accuracy, chance ± 0.02)",
        mean_interval(random.test_accuracy),
        published="chance",
        within=(chance - 0.02, chance + 0.02),
    )


def parameter_count(frame, settings) -> Iterator[Claim]:
    """More parameters than it takes to fit."""
    accuracy = frame.pivot(index="seed", columns="parameters", values="test_accuracy")
    fits = [size for size, rows in frame.groupby("parameters") if (rows.status == "ok").all()]
    gain = paired_difference(accuracy[fits[-1]], accuracy[fits[0]]) if len(fits) > 1 else Interval(*[np.nan] * 3)
    yield claim(
        NEYSHABUR,
        "Beyond the size that fits the training set, more parameters still raise test accuracy (largest net less the "
        "first that fits)",
        gain,
        above=0,
    )


def interpolation(frame, settings) -> Iterator[Claim]:
    """The ends of the line between a small and a large batch."""
    rows = frame[(frame.pair == "batch size") & (frame.status != "diverged")]
    if len(rows):
        yield from steeper_beyond_the_large_batch(rows, "course net")


def steeper_beyond_the_large_batch(rows, net) -> Iterator[Claim]:
    """Keskar et al.'s lines, from rows of seed, α (0: small batch, 1: large) and train_loss, perhaps with a status."""
    losses = rows.pivot(index="seed", columns="alpha", values="train_loss")
    step = min(losses.columns, key=lambda alpha: abs(alpha - 1.5)) - 1
    behind, start, end, beyond = (nearest(losses, alpha) for alpha in (-step, 0, 1, 1 + step))
    yield claim(
        KESKAR,
        f"On a line of nets the loss rises faster beyond the large batch's: {net} (ratio of rises, {step:.2g} outward)",
        geometric_mean((beyond - end).clip(lower=1e-6) / (behind - start).clip(lower=1e-6)),
        rows if "status" in rows else None,
        above=1,
    )


def sensitivity(frame, settings) -> Iterator[Claim]:
    """Sensitive nets generalise worse."""
    rows = frame[frame.status != "diverged"]
    for column, side in (("accuracy", {"below": 0}), ("loss", {"above": 0})):
        yield claim(
            NOVAK,
            "The larger the Jacobian of the class probabilities, the worse a net generalises (Spearman's correlation "
            f"with test {column} over batch sizes)",
            rank_correlation(rows, "jacobian_norm", f"test_{column}"),
            rows,
            **side,
        )


def sharpness(frame, settings) -> Iterator[Claim]:
    """Small batches, flat minima and generalisation, as the course's recipe measures them."""
    course = frame[(frame.net == "course") & (frame.status != "diverged")]
    few = course[(course.scope == "block") & (course.examples == settings["examples"])]
    recipe, slip = (few[few.method == method] for method in ("lanczos", "hutch++"))
    yield claim(
        KESKAR,
        "Larger batches end in sharper minima (Spearman's correlation of batch size and the course's sharpness)",
        rank_correlation(recipe, "batch_size", "sharpness"),
        recipe,
        above=0,
    )
    for column, side in (("accuracy", {"below": 0}), ("loss", {"above": 0})):
        yield claim(
            KESKAR,
            f"Sharper minima generalise worse (Spearman's correlation of the course's sharpness and test {column})",
            rank_correlation(recipe, "sharpness", f"test_{column}"),
            recipe,
            **side,
        )
    keys = ["batch_size", "seed"]
    ratio = slip.set_index(keys).value / recipe.set_index(keys).value
    yield claim(
        COURSE,
        "tf.norm(A, 2) is the 2-norm (its ratio to the spectral norm, 1 ± 0.01)",
        mean_interval(ratio.groupby("seed").mean()),
        published="1",
        within=(0.99, 1.01),
    )


def reparametrization(frame, settings) -> Iterator[Claim]:
    """The same function, as sharp as one likes."""
    rows = frame[frame.transformation == "two-layer"].set_index(["measure", "alpha", "seed"]).value.sort_index()
    least = rows.index.get_level_values("alpha").min()
    names = {"spectral_norm": "the spectral norm", "box_sharpness": "Keskar's sharpness"}
    for measure, name in names.items():
        yield claim(
            DINH,
            f"A net of the same function is far sharper (factor of {name} at α = {least:g})",
            geometric_mean(rows[measure, least] / rows[measure, 1.0]),
            above=10,
        )
    scaled = rows["adaptive_sharpness"].unstack("alpha")
    yield claim(
        KWON,
        "Sharpness normalised by the scale of the weights does not move (largest relative change)",
        mean_interval(scaled.div(scaled[1.0], axis=0).sub(1).abs().max(axis=1)),
        below=1e-4,
    )


QUESTIONS = (random_labels, parameter_count, interpolation, sensitivity, sharpness, reparametrization)
