"""The finding on wide nets, on made-up rows whose powers of N are known."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings.dynamics import mean_field

SEEDS, WIDTHS = 6, (10, 30, 100, 300, 1000)
NOISE = np.linspace(-1, 1, SEEDS) * 0.02  # one value per seed, around 0
SETTINGS = {
    "widths": WIDTHS,
    "learning_rate": 0.5,
    "steps": 50,
    "batch_size": 10,
    "divisor": 5.0,
    "train": 5000,
    "pool": 4,
    "activation": "tanh",
    "seeds": SEEDS,
}


def power_laws(names, key, gap, variance, widths=WIDTHS, exact=-1.0, share=0.01):
    """Rows of two times; the gap is largest at the first, and gap and variance are powers of N of each name."""
    rows = []
    for name, of_gap, of_variance in zip(names, gap, variance, strict=True):
        for width in widths:
            for seed in range(SEEDS):
                scale = width / 10
                factor = 1 + NOISE[seed] * np.cos(width + len(name))
                row = {"width": width, key: name, "seed": seed, "status": "ok", "descent_loss": 0.4}
                row |= {"train_loss": 0.4, "loss_gap": 0.4 * share * factor}
                row |= {"fluctuation": 0.2 * scale**of_variance * factor, "descent_fluctuation": 0.1 * scale**exact}
                rows += [row | {"time": 1.0, "gap": 0.2 * scale**of_gap * factor}, row | {"time": 2.0, "gap": 0.01}]
    return pd.DataFrame(rows)


def answer(fixed=0.0, shrinking=-0.5, variance=-1.0, linear=-1.0, quadratic=-1.0, constant=-0.2, share=0.01):
    """Rows and table of a whole run."""
    rows = power_laws(("fixed", "1/N"), "schedule", (fixed, shrinking), (constant, variance), share=share)
    batches = power_laws(("N", "N²"), "rule", (-0.5, -1.0), (linear, quadratic), widths=WIDTHS[:4])
    return rows, batches


def verdicts(rows, batches):
    """The first words of each claim → its verdict."""
    return {claim.claim.partition(":")[0]: claim.verdict for claim in mean_field.claims(rows, SETTINGS, batches)}


def test_powers_are_those_of_the_rows():
    """Of the largest value over time, not that at the end; and differences of powers."""
    rows, batches = answer(fixed=0.0, shrinking=-0.5)
    tops = mean_field.largest_gaps(rows[rows.schedule == "1/N"])
    assert list(tops.columns) == list(WIDTHS)
    assert tops[10].mean() == pytest.approx(0.2, rel=0.01)
    assert mean_field.slope(tops).value == pytest.approx(-0.5, abs=0.01)
    assert mean_field.slope(tops, widths=2).value == pytest.approx(-0.5, abs=0.02)
    some = batches[batches.rule == "N²"]
    assert mean_field.excess(some).value == pytest.approx(0, abs=0.01)
    assert mean_field.excess(rows[rows.schedule == "fixed"]).value == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(
    ("powers", "found"),
    [
        ({}, ["held", "held", "held", "held", "held", "held", "held", "held", "held", "did not hold"]),
        ({"linear": -0.5}, ["held"] * 10),
        ({"shrinking": 0.0, "fixed": -0.5, "variance": -0.5}, ["did not hold"] * 2 + ["held"] * 2 + ["did not hold"]),
        ({"share": 0.05}, ["held"] * 2 + ["did not hold"] * 2),
        ({"quadratic": -0.4, "constant": -1.0}, ["held"] * 7 + ["did not hold"] * 2),
    ],
)
def test_verdicts_follow_the_powers(powers, found):
    """One claim after the other, in the order of the ledger."""
    claims = list(mean_field.claims(*answer(**powers)[:1], SETTINGS, answer(**powers)[1]))
    assert len(claims) == 10
    assert [claim.verdict for claim in claims][: len(found)] == found


def test_sentences_say_what_the_powers_mean():
    """The batches do not average over units; and P ∝ N suffices where the starts' variance is ∝ 1/N too."""
    text = " ".join(mean_field.comment(*answer()[:1], SETTINGS, answer()[1])["comment"])
    assert "The batches are the same for all units" in text
    assert "P ∝ N keeps the scaling too" in text
    assert "is 1.02 per cent of the loss" in text or "is 1 [" in text
    other = answer(fixed=-0.5, linear=-0.2)
    text = " ".join(mean_field.comment(other[0], SETTINGS, other[1])["comment"])
    assert "The batches are the same" not in text
    assert "P ∝ N keeps" not in text


@pytest.mark.parametrize("case", ["one seed", "one width", "no batches", "all diverged", "one seed diverged"])
def test_few_rows_are_no_reason_to_crash(case):
    """Figure, claims and text, without a "nan" in a sentence."""
    rows, batches = answer()
    settings = dict(SETTINGS)
    measured = ["gap", "loss_gap", "fluctuation", "descent_fluctuation", "train_loss", "descent_loss"]
    if case == "one seed":
        rows, batches = rows[rows.seed == 0], batches[batches.seed == 0]
        settings["seeds"] = 1
    if case == "one width":
        rows, batches = rows[rows.width == 10], batches[batches.width == 10]
        settings["widths"] = (10,)
    if case == "no batches":
        batches = batches.head(0)
    if case == "all diverged":
        rows = rows.assign(status="diverged", **dict.fromkeys(measured, np.nan))
        batches = batches.assign(status="diverged", **dict.fromkeys(measured, np.nan))
    if case == "one seed diverged":
        for part in (rows, batches):
            part.loc[part.seed == 0, measured] = np.nan
    figure = mean_field.figure(rows, settings, batches)
    figure.draw_without_rendering()
    found = list(mean_field.claims(rows, settings, batches))
    text = mean_field.comment(rows, settings, batches)
    assert text["comment"]
    assert "nan" not in " ".join([text["method"], *text["comment"]])
    if case in ("one width", "all diverged"):
        assert {claim.verdict for claim in found if "power" in claim.claim} == {"not comparable"}
    if case == "one seed diverged":
        assert found[0].verdict == "held"
        assert found[0].seeds == SEEDS - 1
        assert found[0].caveat == "1 of 6 seeds have no value"
