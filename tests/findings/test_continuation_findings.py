"""Findings about going on with a small batch on made-up rows whose verdicts are known."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings.paths import continuation as finding
from hw1.findings.verdict import BATCH_SHARPNESS, BATCH_WORSE, HELD, INCOMPARABLE, NOT

RATES = (0.4, 0.8)
SETTINGS = {
    "train": 2500,
    "pool": 2,
    "hidden": [30],
    "shape": [28, 28],
    "classes": 10,
    "batch_sizes": [25, 250],
    "first_rate": 0.8,
    "first_updates": 2000,
    "learning_rates": list(RATES),
    "updates": 3000,
    "decay": 0.2,
    "points": 20,
    "target_loss": 8e-4,
    "seeds": 5,
}
LINES = (finding.TO_SMALL, finding.TO_LARGE, finding.BETWEEN, finding.PATH, finding.INDEPENDENT)


def made(barrier=0.05, around=0.0, independent=0.3, flatter=2.0, gain=0.01, highest=1.0, seeds=5, settled=True):
    """Rows and tables; the barrier to the small batch is there at the larger rate only, and differs by seed."""
    rows, barriers, lines, trainings = [], [], [], []
    for rate in RATES:
        for seed in range(seeds):
            jitter = 1 + 0.01 * seed
            for net, at in (
                ("first phase", "end"),
                *((n, a) for n in ("small batch", "large batch") for a in ("equal loss", "end")),
            ):
                small = net == "small batch"
                rows.append(
                    {"learning_rate": rate, "net": net, "at": at, "seed": seed, "updates": 3000, "status": "ok"}
                    | {"train_loss": 0.008 if net == "first phase" else 0.004, "test_loss": 0.4, "train_accuracy": 1.0}
                    | {"test_accuracy": 0.91 + (gain * jitter if small else 0)}
                    | {
                        "sharpness": 0.1 * jitter / (flatter if small else 1),
                        "distance": 9.0 * jitter if small else 3.0,
                    }
                    | {"spectral_norm": jitter / (flatter**jitter if small else 1)}
                    | {"highest": (highest if rate == 0.8 else 0.02) * jitter if small else 0.008}
                )
                trainings.append(rows[-1] | {"updates": 100})
            sizes = dict(zip(LINES, (barrier, 0.0, barrier, around, independent), strict=True))
            for line, size in sizes.items():
                for at, part in (("end", "train"), ("end", "test"), ("before decay", "train")):
                    height = size * jitter * (rate == 0.8) * (1 if settled or at == "end" else 2)
                    barriers.append(
                        {"learning_rate": rate, "line": line, "at": at, "part": part, "seed": seed, "length": 5.0}
                        | {"loss_barrier": 2 * height, "error_barrier": height}
                    )
                for alpha in (0, 0.5, 1):
                    lines.append(
                        {"learning_rate": rate, "line": line, "seed": seed, "alpha": alpha, "train_loss": 0.01}
                    )
    return [pd.DataFrame(part) for part in (rows, barriers, lines, trainings)]


def judged(tables):
    """The verdicts in order."""
    rows, barriers, lines, training = tables
    return [line.verdict for line in finding.claims(rows, SETTINGS, barriers=barriers, lines=lines, training=training)]


def said(tables):
    """The text of the comment, without which a figure and its parts are of no use."""
    rows, *rest = tables
    assert finding.figure(rows, SETTINGS, *rest)
    return " ".join(finding.comment(rows, SETTINGS, *rest)["comment"])


def test_one_basin():
    """No barrier anywhere but between independent starts; a way that climbs; a flatter, better net farther away."""
    tables = made(barrier=0.0)
    verdicts = judged(tables)
    assert verdicts[:6] == [HELD] * 6
    assert verdicts[6] == NOT
    assert verdicts[7:] == [HELD] * 5
    text = said(tables)
    assert "0 (5 of 5) points with learning rate 0.8 (no barrier; above 0.5 points in none of the 5 seeds)" in text
    assert "to the end a barrier changes by at most 0 points" in text


def test_the_answer_to_the_title_counts_what_only_the_batch_size_changes():
    """Sharpness at equal loss and test accuracy of small against large batch; these nets have one vote of each kind."""
    rows, barriers, lines, training = made()
    claims = list(finding.claims(rows, SETTINGS, barriers=barriers, lines=lines, training=training))
    counted = [line.topic for line in claims if line.topic]
    assert counted == [BATCH_SHARPNESS, BATCH_SHARPNESS, BATCH_WORSE]
    assert {line.nets for line in claims if line.topic} == {""}


def test_a_barrier_at_the_larger_rate_only():
    """The claims differ by the rate; the text names the rate with the barrier and what it does not show."""
    tables = made()
    verdicts = judged(tables)
    assert verdicts[:3] == [HELD, NOT, NOT]
    assert verdicts[3:] == [HELD] * 9
    text = said(tables)
    assert "with learning rate 0.8 (a barrier; above 0.5 points in all 5 seeds)" in text
    assert "does not show two basins" in text
    assert "So both lie in one basin" in text


def test_a_barrier_on_the_path_is_no_single_basin():
    """The path decides the claim about basins, and the text does not say one basin then."""
    tables = made(around=0.1)
    assert judged(tables)[3] == NOT
    text = said(tables)
    assert "the error rises by 10" in text
    assert "one basin" not in text


def test_what_does_not_hold_is_said():
    """A way without a climb below its line, no contrast, a sharper and worse small batch."""
    tables = made(highest=0.001, independent=0.0, flatter=0.5, gain=-0.02)
    verdicts = judged(tables)
    assert verdicts[4:6] == [NOT, NOT]
    assert verdicts[7:10] == [NOT] * 3
    assert verdicts[11] == NOT
    text = said(tables)
    assert "the large batch is flatter" in text
    assert "worse)" in text


def test_a_decay_that_matters_is_said():
    """Barriers that are twice as high before it, 5.2 points of the last seed."""
    assert "to the end a barrier changes by at most 5.2 points" in said(made(settled=False))


@pytest.mark.parametrize("status", ["target not reached", "below the target"])
def test_nets_that_missed_the_equal_loss_are_not_compared(status):
    """And those that diverged have neither lines nor values."""
    rows, *rest = made()
    missed = rows["at"].eq("equal loss") & rows.net.eq("small batch")
    rows.loc[missed, "status"] = status
    verdicts = judged([rows, *rest])
    assert verdicts[8:10] == [INCOMPARABLE] * 2
    text = said([rows, *rest])
    assert "All 10 nets of the small batch did not come down to that loss" in text
    assert "At equal training loss" not in text


def test_all_nets_diverged():
    """Nothing is left but to say so."""
    rows, *rest = made()
    rows["status"] = "diverged"
    rows.loc[:, ["train_loss", "test_accuracy", "sharpness", "spectral_norm", "distance", "highest"]] = np.nan
    empty = [table.iloc[:0] for table in rest]
    assert set(judged([rows, *empty])) == {INCOMPARABLE}
    text = said([rows, *empty])
    assert "All nets diverged" in text
    assert "nan" not in text


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_have_a_figure_and_text(seeds):
    """With or without intervals."""
    tables = made(seeds=seeds)
    assert "nan" not in said(tables)
    assert len(judged(tables)) == 12
