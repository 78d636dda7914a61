"""Finding batch_growth on made-up curves: the same ones, others, few seeds, nets that diverged."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings.dynamics import batch_growth
from hw1.findings.verdict import HELD, INCOMPARABLE, NOISY, NOT, PASSED

SETTINGS = {
    "seeds": 8,
    "epochs": 6,
    "milestones": (2, 4),
    "batch_size": 20,
    "factor": 3,
    "train": 4500,
    "learning_rate": 0.1,
    "momentum": 0.9,
    "hidden": (50,),
    "shape": (28, 28),
    "classes": 10,
}
UPDATES = {"decaying rate": 225, "growing batch": 100, "hybrid": 120, "constant": 225}


def curves(factor=1.0, accuracy=0.0, control=-0.02, noise=0.01, seeds=8):
    """Losses that halve per epoch; growing's and hybrid's are `factor` times as high from epoch 3 on.

    Their final accuracy lies `accuracy` above that of the decaying rate, that of the control `control`.
    """
    rng, rows = np.random.default_rng(0), []
    for schedule, per_epoch in UPDATES.items():
        other = schedule in ("growing batch", "hybrid")
        shift = accuracy if other else control if schedule == "constant" else 0.0
        for seed in range(seeds):
            for epoch in range(1, 7):
                loss = 0.5**epoch
                if epoch > 2:
                    loss *= np.exp(noise * rng.standard_normal()) * (factor if other else 1)
                final = 0.9 + shift + 0.1 * noise * rng.standard_normal()
                rows.append((schedule, seed, epoch, per_epoch * epoch, loss, 2 * loss, 0.9, final))
    columns = ["schedule", "seed", "epoch", "updates", "train_loss", "test_loss", "train_accuracy", "test_accuracy"]
    return pd.DataFrame(rows, columns=columns).assign(status="ok")


def verdicts(rows):
    """The verdicts in order: six of curves and accuracy, three beside the control, two checks."""
    return [line.verdict for line in batch_growth.claims(rows, SETTINGS)]


def text(rows):
    """The paragraphs as one string."""
    return "\n".join(batch_growth.comment(rows, SETTINGS)["comment"])


def test_the_same_curves():
    """All claims hold, and the text says so."""
    assert verdicts(curves()) == [HELD] * 9 + [PASSED] * 2
    said = text(curves())
    assert "So the curves are the same within the factor of 1.25" in said
    assert "The training loss of the control" in said
    assert said.count("is within half a point of that with the decaying rate") == 2
    assert "All 3 schedules are better than the control" in said
    assert "takes 1,350 updates with the decaying rate, 600 with the growing batch (0.44 times as many)" in said


@pytest.mark.parametrize("factor", [1.6, 1 / 1.6])
def test_other_curves(factor):
    """In whichever direction: the largest gap is that of one epoch."""
    rows = curves(factor, accuracy=0.02, control=0.0)
    assert verdicts(rows) == [NOT] * 6 + ["smaller than the effect", HELD, HELD] + [PASSED] * 2
    gap = batch_growth.largest_gap(batch_growth.ratios(rows, "hybrid", "train_loss"))
    assert gap.value == pytest.approx(1.6, rel=0.03)
    assert gap.low < gap.value < gap.high
    said = text(rows)
    assert "the curves part by more than the factor of 1.25" in said
    assert "With the growing batch it is higher than that with the decaying rate" in said
    assert "2 of the 3 schedules are better than the control" in said


def test_the_largest_gap_by_hand():
    """Over and under: factors of 1.5 and of 1/2, without spread."""
    table = pd.DataFrame({1: [1.0] * 3, 2: [1.5] * 3, 3: [0.5] * 3})
    gap = batch_growth.largest_gap(table)
    assert gap[:4] == pytest.approx((2, 2, 2, 3))
    assert batch_growth.largest_gap(table[[1]])[:3] == (1, 1, 1)


def test_every_epoch_counts_for_the_upper_end():
    """An epoch with a smaller factor but a wide interval decides that the curves may part."""
    table = pd.DataFrame({1: [1.1, 1.1001, 1.0999], 2: [0.7, 1.0, 1.5]})
    gap = batch_growth.largest_gap(table)
    assert gap.value == pytest.approx(1.1, rel=1e-3)
    assert gap.high > 1.5


def test_noise_decides_nothing():
    """Curves that differ from seed to seed by a third."""
    assert verdicts(curves(noise=0.3))[0] == NOISY


def test_one_seed_has_no_intervals():
    """Figure, text and claims are made all the same."""
    rows = curves(seeds=1)
    assert verdicts(rows)[0] == NOISY
    assert "at most a factor of" in text(rows)
    assert batch_growth.figure(rows, SETTINGS)


def test_nets_that_diverged_are_missing():
    """One of each schedule is left out of its pairs; if all are lost, nothing is compared."""
    rows = curves()
    rows.loc[rows.seed == 0, "status"] = "diverged"
    ends = (rows.seed == 0) & (rows.epoch == 3)
    rows.loc[ends, ["train_loss", "test_loss", "train_accuracy", "test_accuracy"]] = np.nan
    rows = rows[(rows.seed > 0) | (rows.epoch <= 3)]
    lines = list(batch_growth.claims(rows, SETTINGS))
    assert [line.verdict for line in lines] == [HELD] * 9 + [PASSED] * 2
    assert "2 of 16 nets diverged; 1 of 8 seeds have no value" in lines[2].caveat
    assert lines[2].seeds == 7
    lost = (
        curves()
        .query("epoch == 1")
        .assign(status="diverged", train_loss=np.nan, test_loss=np.nan, test_accuracy=np.nan)
    )
    assert set(verdicts(lost)) == {INCOMPARABLE}
    assert text(lost) == "All nets diverged, so that there is nothing to compare."
    assert batch_growth.figure(lost, SETTINGS)
