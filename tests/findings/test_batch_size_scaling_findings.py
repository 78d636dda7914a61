"""Findings about the best batch size on made-up rows whose exponents and verdicts are known."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings.dynamics import batch_size_scaling as finding
from hw1.findings.verdict import HELD, INCOMPARABLE, NOT

SETTINGS = {
    "learning_rates": [0.05, 0.1, 0.2],
    "examples": [500, 1000, 2000],
    "momenta": [0.0, 0.5, 0.9],
    "base_learning_rate": 0.1,
    "base_examples": 1000,
    "base_momentum": 0.9,
    "hidden": [50],
    "pool": 2,
    "shape": [28, 28],
    "classes": 10,
    "small_batch": 30,
    "updates": 300,
    "reach": 2.0,
    "depth": 0.01,
    "seeds": 5,
}
VALUES = {"learning_rate": [0.05, 0.1, 0.2], "examples": [500, 1000, 2000], "momentum": [0.0, 0.5, 0.9]}
SIZES = 2.0 ** np.arange(1, 9)


def made(power=1.0, seeds=5, noise=0.001, cut=None, gap=0.02):
    """Rows, optima, resamples and gap, of nets whose best batch size is 16 at the base and goes with x^power.

    Args:
        power: the exponent of all three quantities.
        seeds: number of seeds.
        noise: standard deviation of the test accuracies.
        cut: (varied, value) of a peak that is censored.
        gap: test accuracy of the small batch less that of the full one.
    """
    rng, rows, optimum, resamples = np.random.default_rng(0), [], [], []
    for varied, values in VALUES.items():
        for value in values:
            cell = {"learning_rate": 0.1, "examples": 1000, "momentum": 0.9} | {varied: value}
            x = finding._factor(varied, value) / finding._factor(varied, SETTINGS[f"base_{varied}"])
            best = 16 * float(x) ** power
            for size in SIZES:
                for seed in range(seeds):
                    # the same nets wherever they stand
                    key = [seed, int(size), *(round(1000 * part) for part in cell.values())]
                    error = noise * np.random.default_rng(key).normal()
                    accuracy = 0.9 - 0.01 * np.log(size / best) ** 2 / (1 + 0.05 * np.log(size / best) ** 2) + error
                    losses = {"train_loss": 0.1, "test_loss": 0.4, "train_accuracy": 1.0, "test_accuracy": accuracy}
                    labels = {"varied": varied, "value": value, "batch_size": int(size), "seed": seed}
                    rows.append(cell | labels | losses | {"status": "ok"})
            censored = int((varied, value) == cut)
            ends = {"best_batch_size": best, "low": best / 1.1, "high": best * 1.1, "censored": censored}
            optimum.append({"varied": varied, "value": value, **ends})
            drawn = best * np.exp(0.1 * rng.normal(size=50))
            resamples += [
                {"varied": varied, "value": value, "resample": r, "best_batch_size": each}
                for r, each in enumerate(drawn)
            ]
    followed = [
        {"batch_size": size, "seed": seed, "updates": updates, "train_loss": 1 / updates, "test_loss": loss}
        | {"train_accuracy": 1.0, "test_accuracy": accuracy + 0.001 * seed, "status": "ok"}
        for size, accuracy, loss in ((30, 0.9, 0.4), (1000, 0.9 - gap, 0.5))
        for seed in range(seeds)
        for updates in (100, 300)
    ]
    return pd.DataFrame(rows), pd.DataFrame(optimum), pd.DataFrame(resamples), pd.DataFrame(followed)


def judged(tables, **changes):
    """Claim up to its bracket → claim."""
    rows, optimum, resamples, gap = tables
    return {
        line.claim.split(" (")[0]: line for line in finding.claims(rows, SETTINGS | changes, optimum, resamples, gap)
    }


@pytest.mark.parametrize(("power", "verdict"), [(1.0, HELD), (0.0, NOT)])
def test_exponents_are_judged_against_one(power, verdict):
    """Each of the three is what the rows were made with."""
    found = [line for name, line in judged(made(power)).items() if "proportional" in name]
    assert len(found) == 3
    for line in found:
        assert line.ours == pytest.approx(power, abs=1e-6)
        assert line.low < power < line.high
        assert line.verdict == verdict


def test_a_censored_peak_is_left_out_and_said_so():
    """Of the fit, the claim and the text."""
    tables = made(cut=("learning_rate", 0.05))
    line = next(line for name, line in judged(tables).items() if "learning rate" in name and "proportional" in name)
    assert "1 of 3 peaks" in line.claim
    assert line.ours == pytest.approx(1)
    rows, optimum, resamples, gap = tables
    text = " ".join(finding.comment(rows, SETTINGS, optimum, resamples, gap)["comment"])
    assert "1 of the 9 peaks" in text


def test_without_two_peaks_there_is_no_exponent():
    """Nothing is claimed of it."""
    rows, optimum, resamples, gap = made()
    optimum = optimum.assign(censored=1)
    assert np.isnan(finding.exponent(optimum, resamples, "examples", 5).value)
    lines = judged((rows, optimum, resamples, gap))
    assert all(line.verdict == INCOMPARABLE for name, line in lines.items() if "proportional" in name)
    text = " ".join(finding.comment(rows, SETTINGS, optimum, resamples, gap)["comment"])
    assert "has no highest value" in text
    assert finding.figure(rows, SETTINGS, optimum, resamples, gap)


def test_curves_of_one_noise_scale_collapse():
    """Curves that depend on g alone lie together at equal g, those that depend on B alone lie together at equal B."""
    sizes, rates = 2.0 ** np.arange(1, 9), np.array([[0.05], [0.1], [0.2]])
    noises = rates * (1000 / sizes - 1)
    of_noise, of_size = 0.9 - 0.01 * np.log(noises / 3) ** 2, np.tile(0.9 - 0.01 * np.log(sizes / 16) ** 2, (3, 1))
    assert finding.mismatch(of_noise, noises) < 0.15  # what linear interpolation leaves
    of_size[1:] += 1e-9 * np.arange(1, 3)[:, None]
    assert finding.mismatch(of_size, noises) > 1e3
    assert np.isnan(finding.mismatch(of_noise, rates**20 * (1000 / sizes - 1)))  # no overlap


def test_the_mismatch_is_that_of_a_loop():
    """Two curves of three points by hand, one of them without its last point."""
    noises = np.exp([[3.0, 2.0, 1.0], [3.5, 2.5, 1.5]])
    curves = np.array([[1.0, 2.0, 4.0], [0.0, 3.0, np.nan]])
    # point 0 of the first curve has the noise between the points of the second: 1.5 there, 0 at equal size;
    # its point 1 lies below the second curve's noises; point 1 of the second lies between points 0 and 1 of the first.
    at_noise, at_size = (1 - 1.5) ** 2 + (3 - 1.5) ** 2, 1.0**2 + (3 - 2.0) ** 2
    assert finding.mismatch(curves, noises) == pytest.approx(np.sqrt(at_noise / at_size))


def test_collapse_and_peak_are_claimed():
    """Both hold of rows that were made from the noise scale."""
    lines = judged(made())
    noise = next(line for name, line in lines.items() if "noise scale" in name)
    assert noise.verdict == HELD
    assert noise.high < 0.5
    assert next(line for name, line in lines.items() if "highest" in name).verdict == HELD


@pytest.mark.parametrize(("gap", "said"), [(0.02, "better than"), (-0.02, "worse than")])
def test_the_gap_is_said_as_it_is(gap, said):
    """Small against full batch, at the end."""
    rows, optimum, resamples, followed = made(gap=gap)
    text = finding.comment(rows, SETTINGS, optimum, resamples, followed)["comment"][-1]
    assert f"a batch of 30 is {said} the full batch" in text
    assert text.startswith("All 280 nets classify all training images correctly. After")


def test_nets_that_do_not_fit_are_counted_on_their_side_of_the_peak():
    """Each net once, though the base stands for three values."""
    rows, optimum, resamples, gap = made()
    rows.loc[(rows.learning_rate == 0.1) & (rows.momentum != 0) & (rows.batch_size == 2), "train_accuracy"] = 0.9
    text = finding.comment(rows, SETTINGS, optimum, resamples, gap)["comment"][-1]
    assert "260 of the 280 nets" in text
    assert "all 20 have a smaller batch than the best one: on this side" in text


@pytest.mark.parametrize("lost", [False, True])
def test_one_seed_and_diverged_nets_have_a_figure_and_text(lost):
    """Nothing is said of what has no value."""
    rows, optimum, resamples, gap = made(seeds=1)
    optimum = optimum.assign(low=np.nan, high=np.nan)
    if lost:
        rows.loc[rows.value == 0.2, ["train_loss", "test_loss", "train_accuracy", "test_accuracy"]] = np.nan
        rows.loc[rows.value == 0.2, "status"] = "diverged"
        optimum.loc[optimum.value == 0.2, ["best_batch_size", "censored"]] = np.nan, 1
        gap = gap.assign(test_accuracy=np.nan, test_loss=np.nan, train_loss=np.nan, status="diverged")
    settings = SETTINGS | {"seeds": 1}
    found = finding.comment(rows, settings, optimum, resamples, gap)
    assert "nan" not in " ".join(found["comment"])
    assert "nan" not in " ".join(line.claim for line in finding.claims(rows, settings, optimum, resamples, gap))
    assert len(finding.figure(rows, settings, optimum, resamples, gap).axes) == 6
    rows = rows.assign(test_accuracy=np.nan)
    assert finding.figure(rows, settings, optimum, resamples, gap)
