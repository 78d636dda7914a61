"""The finding on full-batch descent and SGD, on made-up rows whose verdicts are known."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings.dynamics import gd_vs_sgd
from hw1.findings.dynamics.gd_vs_sgd import DISTORTIONS, FULL, LOOKS, MOMENTUM, NOISE, SGD

SEEDS = 8
SPREAD = np.linspace(-1, 1, SEEDS) * 5e-4  # one value per seed, around 0
SETTINGS = {
    "train": 1000,
    "test": 9000,
    "pool": 2,
    "shape": [28, 28],
    "classes": 10,
    "hidden": [80, 20],
    "batch_size": 10,
    "momentum": 0.9,
    "target_loss": 0.05,
    "small_target": 0.2,
    "half_life": 100,
    "learning_rates": [0.1, 0.5, 0.2, 0.5],
    "small_rates": [0.1, 0.5, 0.2, 0.4],
    "shift": 0.1,
    "scale": 1.2,
    "rotation": 15.0,
    "noise": 0.2,
    "seeds": SEEDS,
}
MEASURED = ["train_loss", "test_loss", "train_accuracy", "test_accuracy", *DISTORTIONS]


def answer(sgd=-0.002, momentum=0.0, noise=0.0, moved=0.0):
    """Rows and curves: test errors of each method less that of the full batch, and of SGD on distorted images."""
    rows, curves = [], []
    for net in ("dense", "small"):
        for method in LOOKS:
            change = {SGD: sgd, FULL: 0.0, MOMENTUM: momentum, NOISE: noise}[method]
            for seed in range(SEEDS):
                row = {"net": net, "method": method, "seed": seed, "updates": 100, "train_loss": 0.05, "status": "ok"}
                row |= {"test_loss": 0.3, "train_accuracy": 0.99}
                row["test_accuracy"] = 0.9 - change + SPREAD[seed] * (method != FULL)
                row |= dict.fromkeys(DISTORTIONS, 0.7 - moved * (method == SGD) + SPREAD[seed] * (method == SGD))
                rows.append(row)
                curves += [row | {"step": step, "train_loss": 1 / step} for step in (1, 10, 20)]
    return pd.DataFrame(rows), pd.DataFrame(curves)


def verdicts(rows, curves):
    """The verdicts in the order of the ledger: three for each net, then the distortions."""
    return [claim.verdict for claim in gd_vs_sgd.claims(rows, SETTINGS, curves)]


def test_verdicts_follow_the_differences():
    """Twenty mistakes fewer than the full batch of 10,000; a difference within that is smaller than the effect."""
    assert (
        verdicts(*answer(-0.002, -0.002, 0.003))
        == ["held", "held", "did not hold"] * 2 + ["smaller than the effect"] * 4
    )
    assert (
        verdicts(*answer(0.004, 0.0, 0.0, -0.01))
        == [
            "did not hold",
            "smaller than the effect",
            "smaller than the effect",
        ]
        * 2
        + ["held"] * 4
    )


def test_the_published_figure_stands_beside_the_dense_net():
    """In mistakes of 10,000; ours is the difference in test error."""
    first, *others = gd_vs_sgd.claims(*[answer()[0], SETTINGS, answer()[1]])
    assert first.published == "174 / 194 of 10,000"
    assert first.ours == pytest.approx(-0.002)
    assert {claim.published for claim in others} == {""}


def test_sentences_count_mistakes():
    """Per 10,000 images, with the verdict in words."""
    rows, curves = answer(-0.002, 0.0, 0.002, -0.01)
    text = " ".join(gd_vs_sgd.comment(rows, SETTINGS, curves)["comment"])
    assert "SGD makes fewer mistakes than the full batch (difference −20 [" in text
    assert "The published difference of −20 lies inside this interval" in text
    assert "Momentum does not measurably change" in text
    assert "Noise raises" in text
    assert "SGD is better on shifted, scaled, rotated and noisy ones" in text
    rows, curves = answer(0.002, 0.0, 0.0, 0.01)
    text = " ".join(gd_vs_sgd.comment(rows, SETTINGS, curves)["comment"])
    assert "SGD makes more mistakes than the full batch" in text
    assert "−20 lies outside this interval" in text
    assert "SGD is worse on shifted" in text
    assert "none of it measurable" in " ".join(gd_vs_sgd.comment(*[answer()[0], SETTINGS, curves])["comment"])


def test_nets_that_missed_the_target_are_counted():
    """By method; a claim of which most nets missed it is not comparable."""
    rows, curves = answer()
    assert "did not come" not in gd_vs_sgd.comment(rows, SETTINGS, curves)["method"]
    rows.loc[rows.method == FULL, "status"] = "target not reached"
    rows.loc[(rows.method == SGD) & (rows.seed == 0), "status"] = "target not reached"
    method = gd_vs_sgd.comment(rows, SETTINGS, curves)["method"]
    assert f"{2 * SEEDS + 2} of {8 * SEEDS} nets did not come to that loss (SGD and full batch)" in method


@pytest.mark.parametrize("case", ["one seed", "all diverged", "one net diverged", "no shape"])
def test_few_nets_are_no_reason_to_crash(case):
    """Figure, claims and text, without a "nan" in a sentence."""
    rows, curves = answer()
    settings = dict(SETTINGS)
    if case == "one seed":
        rows, curves = rows[rows.seed == 0], curves[curves.seed == 0]
        settings["seeds"] = 1
    if case == "all diverged":
        rows = rows.assign(status="diverged", **dict.fromkeys(MEASURED, np.nan))
        curves = curves.head(0)
    if case == "one net diverged":
        one = (rows.method == SGD) & (rows.seed == 1)
        rows.loc[one, MEASURED] = np.nan
        rows.loc[one, "status"] = "diverged"
    if case == "no shape":
        settings["shape"] = None
    gd_vs_sgd.figure(rows, settings, curves).draw_without_rendering()
    found = list(gd_vs_sgd.claims(rows, settings, curves))
    text = gd_vs_sgd.comment(rows, settings, curves)
    assert "nan" not in " ".join([text["method"], *text["comment"]])
    if case == "all diverged":
        assert {claim.verdict for claim in found} == {"not comparable"}
        assert "can be compared" in text["comment"][0]
    if case == "one net diverged":
        assert found[0].seeds == SEEDS - 1
        assert found[0].caveat == f"1 of {2 * SEEDS} nets diverged; 1 of {SEEDS} seeds have no value"
