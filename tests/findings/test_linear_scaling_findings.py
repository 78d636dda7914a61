"""Findings about the linear scaling rule on made-up rows whose verdicts are known."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings.dynamics import linear_scaling as finding
from hw1.findings.verdict import HELD, INCOMPARABLE, NOT, SMALL

SIZES = (20, 160, 640, 2560)
SETTINGS = {
    "batch_sizes": list(SIZES),
    "factor": 32.0,
    "learning_rate": 0.02,
    "momentum": 0.9,
    "hidden": [50],
    "pool": 2,
    "shape": [28, 28],
    "classes": 10,
    "epochs": 36,
    "warmup": 2,
    "milestones": [12, 24],
    "seeds": 5,
}
FALLS = {"constant": (0, 0.001, 0.02, 0.05), "scaled": (0, 0, 0.01, 0.3), "warm-up": (0, 0, 0.001, 0.03)}


def made(falls=FALLS, seeds=5):
    """Rows and evaluations whose test accuracies are below that of the base by so much."""
    rows = [
        {"batch_size": size, "rule": rule, "learning_rate": 0.02, "seed": seed, "updates": 100, "status": "ok"}
        | {"train_loss": 0.01 + fall, "test_loss": 0.2, "train_accuracy": 1.0}
        | {"test_accuracy": 0.95 + 0.01 * seed - fall + (fall > 0) * 1e-4 * seed}
        for rule, below in falls.items()
        for size, fall in zip(SIZES, below, strict=True)
        for seed in range(seeds)
    ]
    frame = pd.DataFrame(rows)
    training = pd.concat([frame.assign(epoch=epoch, train_loss=frame.train_loss + 1 / epoch) for epoch in (4, 36)])
    return frame, training


def judged(rows, training):
    """The verdicts in order: warm-up, without it, constant rate, the largest batch."""
    return [line.verdict for line in finding.claims(rows, SETTINGS, training)]


def said(rows, training):
    """The text of the comment."""
    return " ".join(finding.comment(rows, SETTINGS, training)["comment"])


def test_what_the_source_says_holds_of_such_rows():
    """The rule with warm-up at 32 times the base, both alternatives worse, and its end."""
    rows, training = made()
    assert judged(rows, training) == [HELD] * 4
    text = said(rows, training)
    assert (
        "with a constant rate up to 160, with a scaled rate up to 160 and with a scaled rate and warm-up up to 640"
        in text
    )
    assert "undertrained" in text
    assert "Warm-up raises" in text


def test_what_does_not_hold_is_said():
    """No rule keeps the accuracy, warm-up changes nothing, the largest batch is as good as any."""
    falls = {"constant": (0, 0.01, -0.02, 0), "scaled": (0, 0.01, 0.01, 0), "warm-up": (0, 0.01, 0.01, -0.01)}
    rows, training = made(falls)
    assert judged(rows, training) == [NOT, NOT, NOT, NOT]
    text = said(rows, training)
    assert "at none of the larger batch sizes" in text
    assert "undertrained" not in text
    assert "Warm-up does not measurably change" in text


def test_the_largest_equal_size_is_the_last_without_a_gap():
    """One that is equal again further on does not count, and one with an interval that is too wide is not equal."""
    rows, _ = made(FALLS | {"warm-up": (0, 0.02, 0, 0)})
    assert finding.largest_equal(finding.loss_of_accuracy(rows, SETTINGS, "warm-up")) is None
    assert finding.largest_equal({40: finding.Interval(0, -0.004, 0.004), 80: finding.Interval(0, -0.006, 0.001)}) == 40


def test_a_difference_within_half_a_point_is_small():
    """Warm-up that gains a tenth of a point."""
    rows, training = made(FALLS | {"scaled": (0, 0, 0.002, 0.3)})
    rows.loc[(rows.rule == "scaled") & (rows.batch_size == 640), "test_accuracy"] += 0.002 * (rows.seed % 2)
    assert judged(rows, training)[1] == SMALL


def test_diverged_nets_are_counted():
    """And where most of them did, nothing is compared."""
    rows, training = made()
    lost = (rows.rule == "scaled") & (rows.batch_size == 640)
    columns = ["train_loss", "test_loss", "train_accuracy", "test_accuracy"]
    rows.loc[lost, columns], rows.loc[lost, "status"] = np.nan, "diverged"
    assert judged(rows, training)[1] == INCOMPARABLE
    text = said(rows, training)
    assert "5 of the 60 nets diverged (from batch size 640 on)" in text
    assert "nan" not in text
    assert finding.figure(rows, SETTINGS, training)
    rows.loc[rows.batch_size == 640, columns], rows.loc[rows.batch_size == 640, "status"] = np.nan, "diverged"
    assert "all nets diverged" in said(rows, training)


def test_one_seed_has_a_figure_and_text():
    """Without intervals."""
    rows, training = made(seeds=1)
    text = said(rows, training)
    assert "nan" not in text
    assert finding.figure(rows, SETTINGS, training)
    assert len(judged(rows, training)) == 4


@pytest.mark.parametrize("factor", [32.0, 128.0])
def test_the_end_is_claimed_beyond_the_factor_only(factor):
    """At the largest batch there is no larger one."""
    rows, training = made()
    found = list(finding.claims(rows, SETTINGS | {"factor": factor}, training))
    assert len(found) == (4 if factor == 32 else 3)
