"""What is claimed about large and small batches. Functions as in `hw1.ledger.generalization`."""

from collections.abc import Iterator

import numpy as np

from hw1.ledger.generalization import steeper_beyond_the_large_batch
from hw1.ledger.verdict import Claim, claim
from hw1.statistics import geometric_mean, paired_difference, rank_correlation

KESKAR = "Keskar et al., arXiv 1609.04836"
F1 = {"full": "F1: 205 / 1.23", "manifold": "F1: 9.22 / 0.11"}  # of 5 × 512 with batch normalisation, ε = 1e-3


def large_batch(frame, settings, line, **_) -> Iterator[Claim]:
    """Small against large batch at one training loss, pairs of one seed; then all batch sizes."""
    small, large = settings["batch_sizes"]
    frame = frame[np.isclose(frame.epsilon, settings["epsilons"][0])]
    for net in settings["nets"]:
        rows = frame[frame.net == net]
        compared = rows[rows.batch_size.isin([small, large])]
        for space in ("full", "manifold"):
            values = rows[rows.space == space].pivot(index="seed", columns="batch_size", values="value")
            yield claim(
                KESKAR,
                f"Large batches end in sharper minima: {net} net, {space} (geometric mean of φ large / φ small)",
                geometric_mean(values[large] / values[small]),
                compared,
                published=F1[space] if net == "normalised" else "",
                above=1,
            )
        accuracy = rows[rows.space == "full"].pivot(index="seed", columns="batch_size", values="test_accuracy")
        yield claim(
            KESKAR,
            f"Large batches generalise worse: {net} net (difference in test accuracy, large − small)",
            paired_difference(accuracy[large], accuracy[small]),
            compared,
            below=0,
        )
        if (line.net == net).any():
            yield from steeper_beyond_the_large_batch(line[line.net == net], f"{net} net")
    swept = frame[(frame.net == "plain") & (frame.space == "full")]
    if swept.empty:
        return
    for column, name, side in (("value", "φ rises", {"above": 0}), ("test_accuracy", "accuracy falls", {"below": 0})):
        yield claim(
            KESKAR,
            f"With the batch size {name}: plain net, full space (Spearman's correlation)",
            rank_correlation(swept, "batch_size", column),
            swept,
            **side,
        )


def remedies(frame, settings) -> Iterator[Claim]:
    """Each remedy against the plain large batch, pairs of one seed."""
    full = frame[frame.space == "full"]
    accuracy, sharpness = (
        full.pivot(index="seed", columns="remedy", values=name) for name in ("test_accuracy", "value")
    )
    for name in dict.fromkeys(frame.remedy):
        if name in ("small batch", "large batch"):
            continue
        nets = full[full.remedy == name]
        yield claim(
            "our hypothesis" if name == "growing batches" else KESKAR,
            f"A large batch generalises better with {name} (difference in test accuracy to the large batch alone)",
            paired_difference(accuracy[name], accuracy["large batch"]),
            nets,
            above=0,
        )
        yield claim(
            "our hypothesis" if name == "growing batches" else KESKAR,
            f"With {name} its minima stay sharper than those of small batches (geometric mean of φ / φ small)",
            geometric_mean(sharpness[name] / sharpness["small batch"]),
            nets,
            above=1,
        )


QUESTIONS = (
    large_batch,
    remedies,
)
