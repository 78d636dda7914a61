"""Findings about walks of SGD on made-up rows whose verdicts are known."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings.paths import walk as finding
from hw1.findings.verdict import HELD, INCOMPARABLE, NOT, SMALL

SIZES, RATES = (10, 50, 250, 1000), (0.1, 0.2, 0.4, 0.8)
SETTINGS = {
    "train": 1000,
    "pool": 4,
    "hidden": [30],
    "shape": [28, 28],
    "classes": 10,
    "batch_sizes": [10, 50, 250],
    "learning_rates": list(RATES),
    "batch_size": 50,
    "learning_rate": 0.4,
    "updates": 500,
    "every": 5,
    "points": 11,
    "seeds": 5,
}
LOSSES = ["train_loss", "test_loss", "train_accuracy", "test_accuracy"]


def made(floor=0.8, height=1.0, by_size=-0.2, cosine=-0.3, whole_cosine=-0.9, barrier=0.0, seeds=5):
    """Rows and stages: the height and distance go with powers of the learning rate and the batch size."""
    rows = [
        {"batch_size": size, "learning_rate": rate, "seed": seed, "updates": 500, "status": "ok"}
        | {"floor": floor + 0.01 * seed, "inside": 0.9, "convex": 0.99 + 0.001 * seed, "barrier": barrier}
        | {"height": 0.1 * rate**height * (1 + 0.001 * seed)}
        | {"distance": rate**height * size**by_size * (1 + 0.001 * seed)}
        | {"cosine": (whole_cosine if size == 1000 else cosine) + 0.001 * seed * (size < 1000)}
        | dict.fromkeys(LOSSES[:2], 0.3)
        | dict.fromkeys(LOSSES[2:], 0.9)
        for size in SIZES
        for rate in RATES
        for seed in range(seeds)
    ]
    frame = pd.DataFrame(rows)
    return frame, pd.concat([frame.assign(updates=step) for step in (50, 500)])


def judged(rows, stages):
    """The verdicts in order."""
    return [line.verdict for line in finding.claims(rows, SETTINGS, stages)]


def said(rows, stages):
    """The text of the comment."""
    return " ".join(finding.comment(rows, SETTINGS, stages)["comment"])


def test_what_the_source_says_holds_of_such_rows():
    """All claims, and what the text says of them."""
    rows, stages = made()
    assert judged(rows, stages) == [HELD] * 8
    text = said(rows, stages)
    assert "With the learning rate, at batch size 50, the height rises" in text
    assert "With the batch size, at learning rate 0.4, the distance falls" in text
    assert "nan" not in text
    assert "below the edge" not in text


def test_what_does_not_hold_is_said():
    """Few floors, barriers, heights and distances the other way round, descent that turns less than SGD."""
    rows, stages = made(floor=0.1, height=-1, by_size=0.2, cosine=-0.9, whole_cosine=0.5, barrier=0.2)
    rows["convex"] = 0.5
    assert judged(rows, stages) == [NOT] * 8
    assert "the height falls" in said(rows, stages)
    assert "it is below the edge of stability" in said(rows, stages)


def test_cosines_that_differ_little_are_small():
    """A tenth is the least difference that counts."""
    rows, stages = made(cosine=-0.3, whole_cosine=-0.3)
    rows["cosine"] += 0.02 * np.where((rows.seed % 2 == 0) & (rows.batch_size < 1000), 1, -1)
    assert judged(rows, stages)[-1] == SMALL


def test_diverged_nets_are_counted():
    """And where the whole learning rate diverged, nothing is compared at it."""
    rows, stages = made()
    columns = [*LOSSES, "floor", "inside", "convex", "barrier", "height", "cosine", "distance"]
    lost = (rows.learning_rate == 0.8) & (rows.batch_size == 10)
    rows.loc[lost, columns], rows.loc[lost, "status"] = np.nan, "diverged"
    text = said(rows, stages)
    assert "5 of the 80 nets diverged (learning rates 0.8)" in text
    assert "nan" not in text
    assert judged(rows, stages)[0] == HELD
    lost = rows.learning_rate == 0.4
    rows.loc[lost, columns], rows.loc[lost, "status"] = np.nan, "diverged"
    assert judged(rows, stages)[0] == INCOMPARABLE
    assert finding.figure(rows, SETTINGS, stages)
    assert "nan" not in said(rows, stages)


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_have_a_figure_and_text(seeds):
    """With or without intervals."""
    rows, stages = made(seeds=seeds)
    assert "nan" not in said(rows, stages)
    assert finding.figure(rows, SETTINGS, stages)
    assert len(judged(rows, stages)) == 8
