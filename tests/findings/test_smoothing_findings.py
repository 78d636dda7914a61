"""Findings about smoothed losses on made-up rows whose verdicts are known."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings.paths import smoothing as finding
from hw1.findings.verdict import HELD, INCOMPARABLE, NOT

WIDTHS = (0.0, 0.2, 0.4)
SETTINGS = {
    "widths": list(WIDTHS),
    "hidden": [5],
    "points": 40,
    "draws": 200,
    "temperature": 0.3,
    "effective": 100.0,
    "grid": 21,
    "steps": 400,
    "tracked": 1.6,
    "tracks": 2,
    "seeds": 5,
}


def made(falls=1.0, tracked=0.5, best=0.1, seeds=5, enough=True):
    """Rows and ends: what smoothing removes of all three quantities, and the losses relative to one descent."""
    rows = [
        {"f": f, "width": width, "seed": seed, "minima": 5 - falls * 10 * width + seed % 2 * (width > 0)}
        | {
            "curvature": 10 * np.exp(-falls * width * (5 + 0.1 * seed)),
            "barrier": 0.5 - falls * width + 0.01 * seed * width,
        }
        | {"effective": 200 - 300 * width - (0 if enough else 100) * (width > 0), "effective_plane": 200 - 200 * width}
        for f in finding.LOOKS
        for width in WIDTHS
        for seed in range(seeds)
    ]
    ends = [
        {
            "f": f,
            "seed": seed,
            "start": start,
            "single": 0.1,
            "track": 0.1 * tracked * 1.05**seed,
            "restarts": 0.1 * best,
        }
        | {"effective": 150.0, "begun": 1.6}
        for f in finding.LOOKS
        for seed in range(seeds)
        for start in (0, 1)
    ]
    return pd.DataFrame(rows), pd.DataFrame(ends)


def judged(rows, tracking):
    """The verdicts in order."""
    return [line.verdict for line in finding.claims(rows, SETTINGS, tracking)]


def said(rows, tracking):
    """The text of the comment."""
    return " ".join(finding.comment(rows, SETTINGS, tracking)["comment"])


def test_what_the_source_says_holds_of_such_rows():
    """Both functions remove minima, curvature and barriers, and tracks beat descents but not restarts."""
    rows, tracking = made()
    assert judged(rows, tracking) == [HELD] * 10
    text = said(rows, tracking)
    assert "the number of minima in the plane falls" in text
    assert "lower than that of plain descent" in text
    assert "0 of 5 seeds for f(x) = x" in text
    assert "nan" not in text


def test_what_does_not_hold_is_said():
    """Smoothing that makes all of it larger, and tracks that beat the restarts only."""
    rows, tracking = made(falls=-1.0, tracked=1.5, best=2.0)
    assert judged(rows, tracking) == [NOT] * 10
    text = said(rows, tracking)
    assert "the barrier rises" in text
    assert "higher than that of plain descent" in text
    assert "5 of 5 seeds" in text


def test_the_exponential_counts_where_enough_draws_do():
    """Its widest Λ is where all seeds have them; in the plane more of them count."""
    rows, tracking = made()
    assert finding.widest(rows, SETTINGS, finding.MEAN, "barrier") == 0.4
    assert finding.widest(rows, SETTINGS, finding.ENERGY, "barrier") == 0.2
    assert finding.widest(rows, SETTINGS, finding.ENERGY, "minima") == 0.4
    names = [line.claim for line in finding.claims(rows, SETTINGS, tracking)]
    assert "Λ = 0.2 against none, f(x) = exp" in names[5]


def test_where_too_few_draws_count_nothing_is_judged():
    """Neither curvature nor barrier of the exponential."""
    rows, tracking = made(enough=False)
    assert judged(rows, tracking)[:6] == [HELD] * 4 + [INCOMPARABLE] * 2
    text = said(rows, tracking)
    assert "the barrier cannot be told at any Λ" in text
    assert "nan" not in text
    assert finding.figure(rows, SETTINGS, tracking)


def test_a_curvature_that_becomes_negative_is_a_difference():
    """A ratio of both signs means nothing."""
    rows, tracking = made()
    rows.loc[rows.width == 0.4, "curvature"] *= -1
    found = finding.change(rows, SETTINGS, finding.MEAN, "curvature")
    assert found.scale == "linear"
    assert found.value < 0
    assert judged(rows, tracking)[1] == HELD
    assert finding.figure(rows, SETTINGS, tracking)


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_have_a_figure_and_text(seeds):
    """With or without intervals."""
    rows, tracking = made(seeds=seeds)
    assert "nan" not in said(rows, tracking)
    assert finding.figure(rows, SETTINGS, tracking)
    assert len(judged(rows, tracking)) == 10
