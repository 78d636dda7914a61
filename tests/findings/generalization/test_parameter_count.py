"""Verdicts and sentences on the number of parameters, from made-up rows with known thresholds and peaks."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings.generalization import parameter_count
from hw1.findings.verdict import HELD, INCOMPARABLE, NOT

SETTINGS = {
    "classes": 10,
    "shape": [4, 4],
    "pool": 2,
    "train": 1000,
    "examples": [100, 200, 400],
    "noises": [0.0, 0.2],
    "losses": ["nll", "squared"],
    "widths": [1, 10, 1000],
    "target_loss": 0.001,
    "updates": 100,
}
SEEDS = range(4)
NOISE = np.array([-2, -1, 1, 2]) / 2000  # one value per seed, around 0


def sizes(accuracy, status="ok"):
    """Rows of the first part: size → test accuracy."""
    return pd.DataFrame(
        {
            "part": "size",
            "loss": "nll",
            "examples": 1000,
            "noise": 0.0,
            "parameters": size,
            "seed": seed,
            "train_loss": 0.001,
            "test_loss": 1 - value,
            "train_accuracy": 1.0,
            "test_accuracy": value + NOISE[seed] * (1 + place),
            "status": status,
        }
        for place, (size, value) in enumerate(accuracy.items())
        for seed in SEEDS
    )


def dense(power=1.0, height=0.1, noisy_only=False):
    """Rows around thresholds at twice the conditions ^ power, with a peak of the test error there."""
    rows = []
    for loss in SETTINGS["losses"]:
        for count in SETTINGS["examples"]:
            first = 2 * parameter_count.conditions(loss, count, SETTINGS) ** power
            for multiple in (0.25, 0.5, 2**-0.5, 2**0.5, 2, 4):
                for noise in SETTINGS["noises"]:
                    for seed in SEEDS:
                        # 1 % nearer to the first size that fits, at which the test error is highest
                        top = height * (noise > 0 or not noisy_only) * (multiple == 2**0.5)
                        rows.append(
                            {
                                "part": "threshold",
                                "loss": loss,
                                "examples": count,
                                "noise": noise,
                                "parameters": first * multiple,
                                "seed": seed,
                                "train_loss": 0.01,
                                "test_loss": 1.0,
                                "train_accuracy": 1 - (0.05 if multiple < 1 else 0.0),
                                "test_accuracy": 0.7 - top + NOISE[seed] * multiple,
                                "status": "ok",
                            }
                        )
    return pd.DataFrame(rows)


def run(**changes):
    """Rows of both parts."""
    return pd.concat([sizes({100: 0.8, 1000: 0.85, 10000: 0.9}), dense(**changes)], ignore_index=True)


def verdicts(rows, settings=SETTINGS):
    """Verdicts by the part of the sentence that tells the claims of a loss apart."""
    return [found.verdict for found in parameter_count.claims(rows, settings)]


def test_a_threshold_lies_between_the_last_size_that_misses_and_the_next():
    """On a logarithmic scale; sizes that fit by luck below one that misses do not count."""
    errors = pd.Series({10: 0.5, 100: 0.03, 10000: 0.0})
    assert parameter_count.threshold(errors) == pytest.approx(100 * 100 ** (2 / 3))
    assert parameter_count.threshold(pd.Series({10: 0.0, 100: 0.02, 1000: 0.0})) == pytest.approx(100 * 10**0.5)
    for unknown in ({10: 0.0, 100: 0.0}, {10: 0.5, 100: 0.02}, {10: 0.5, 100: np.nan}, {10: np.nan, 100: 0.0}):
        assert np.isnan(parameter_count.threshold(pd.Series(unknown)))


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_is_that_of_the_threshold(power):
    """For both losses."""
    rows = dense(power)
    for loss in SETTINGS["losses"]:
        found = parameter_count.exponent(parameter_count.thresholds(rows, loss, 0.2, SETTINGS))
        assert found.value == pytest.approx(power)


def test_seeds_without_a_threshold_are_missing():
    """From the exponent of all seeds."""
    rows = dense()
    rows.loc[(rows.seed == 1) & (rows.examples == 200), "train_accuracy"] = 0.5
    found = parameter_count.exponent(parameter_count.thresholds(rows, "nll", 0.2, SETTINGS))
    assert (found.seeds, found.missing) == (3, 1)
    rows["train_accuracy"] = 0.5
    assert parameter_count.exponent(parameter_count.thresholds(rows, "nll", 0.2, SETTINGS)).missing == len(SEEDS)


def test_all_hold_where_the_test_error_peaks_at_the_threshold():
    """With 20 % noise and not without it; with 1.6 parameters per condition."""
    rows = run(noisy_only=True)
    rows.loc[rows.part == "threshold", "parameters"] /= 1.5
    by_sentence = {found.claim: found.verdict for found in parameter_count.claims(rows, SETTINGS)}
    noisy = [verdict for sentence, verdict in by_sentence.items() if "20%" in sentence]
    assert noisy == [HELD] * 8
    peaks = [sentence for sentence in by_sentence if "0% noisy" in sentence and "than with fewer" in sentence]
    assert [by_sentence[sentence] == HELD for sentence in peaks] == [False, True] * 2
    text = " ".join(parameter_count.comment(rows, SETTINGS)["comment"])
    assert text.count("has a peak near it: double descent") == 2
    assert "N to the power 1" in text
    assert "1.6 per condition" in text


def test_without_a_peak_nothing_is_claimed_to_hold():
    """Neither a rise to the threshold nor a fall behind it, and no effect of noise."""
    by_sentence = {found.claim: found.verdict for found in parameter_count.claims(run(height=0), SETTINGS)}
    peaks = [verdict for sentence, verdict in by_sentence.items() if "test error" in sentence]
    assert len(peaks) == 10
    assert HELD not in peaks
    falling = {found.claim: found.verdict for found in parameter_count.claims(run(height=-0.1), SETTINGS)}
    assert all(verdict == NOT for sentence, verdict in falling.items() if "difference" in sentence)
    # As the peak is as high without noise, noise does not make it higher.
    assert verdicts(run())[-1] != HELD


def test_the_best_size_is_chosen_without_the_seed_that_it_is_judged_by():
    """Of sizes of equal quality the luckiest would look better; by the other seeds' choice it does not."""
    values = pd.DataFrame(np.random.default_rng(0).normal(size=(400, 5)))
    small = [parameter_count.chosen_by_others(values.iloc[start : start + 4]).mean() for start in range(0, 400, 4)]
    lucky = [values.iloc[start : start + 4].mean().min() for start in range(0, 400, 4)]
    assert np.mean(lucky) < -0.4
    # Its expectation is 0: the standard deviation of the mean of 400 values is 0.05.
    assert abs(np.mean(small)) < 0.2
    clear = pd.DataFrame({10: [1.0, 1.1], 20: [0.5, 0.6]})
    assert list(parameter_count.chosen_by_others(clear)) == [0.5, 0.6]
    assert parameter_count.chosen_by_others(clear.iloc[:1]).isna().all()


@pytest.mark.parametrize(
    ("accuracies", "verdict", "said"),
    [
        ({100: 0.8, 1000: 0.85, 10000: 0.9}, HELD, "test accuracy rises"),
        ({100: 0.9, 1000: 0.85, 10000: 0.8}, NOT, "test accuracy falls"),
        # The ends alone would say that it rises.
        ({100: 0.8, 1000: 0.9, 10000: 0.9, 100000: 0.81, 1000000: 0.6}, NOT, "test accuracy falls"),
    ],
)
def test_all_sizes_that_fit_are_in_the_slope(accuracies, verdict, said):
    """Per decade."""
    rows = pd.concat([sizes(accuracies), dense()], ignore_index=True)
    assert verdicts(rows)[0] == verdict
    assert said in parameter_count._beyond(rows)
    if len(accuracies) == 3:
        assert abs(parameter_count.slope(rows[rows.part == "size"], "test_accuracy").value) == pytest.approx(0.05)


def test_sizes_that_do_not_fit_are_not_in_the_slope():
    """If one seed does not; the target loss, at which all stop, decides nothing."""
    rows = sizes({100: 0.5, 1000: 0.85, 10000: 0.9})
    rows.loc[(rows.parameters == 100) & (rows.seed == 2), "train_accuracy"] = 0.98
    rows.loc[rows.parameters == 1000, "status"] = "target not reached"
    assert parameter_count.fitting(rows) == [1000, 10000]
    assert parameter_count.slope(rows, "test_accuracy").value == pytest.approx(0.05)
    assert "From 1,000 parameters on, every seed fits" in parameter_count._fit(rows)


def alone(rows):
    """The rows of the first seed."""
    return rows[rows.seed == 0]


@pytest.mark.parametrize(
    "rows",
    [
        alone(run()),
        run().assign(
            status="diverged", train_accuracy=np.nan, test_accuracy=np.nan, train_loss=np.nan, test_loss=np.nan
        ),
        run().assign(train_accuracy=0.5, status="target not reached"),
        run().assign(train_accuracy=1.0),
    ],
    ids=["one seed", "all diverged", "none fits", "all fit"],
)
def test_any_rows_are_drawn_judged_and_described(rows):
    """One seed, no net that trained, and thresholds beyond the sizes: nothing is held then."""
    assert len(parameter_count.figure(rows, SETTINGS).axes) == 4
    found = verdicts(rows)
    assert len(found) == 15
    if rows.train_accuracy.nunique() < 2:
        assert set(found[1:]) == {INCOMPARABLE}
    paragraphs = parameter_count.comment(rows, SETTINGS)["comment"]
    assert "nan" not in "".join(paragraphs)
    if rows.seed.nunique() > 1 and rows.train_accuracy.nunique() < 2:
        assert "is not among the sizes" in "".join(paragraphs)


def test_where_the_threshold_is_the_largest_size_nothing_is_said_of_what_lies_beyond():
    """A difference of a net to itself is no result."""
    rows = run()
    nll = (rows.part == "threshold") & (rows.loss == "nll") & (rows.examples == 400)
    _, size = parameter_count.peak(rows, "nll", 0.2, SETTINGS)
    assert parameter_count.fall(rows, "nll", 0.2, SETTINGS).value == pytest.approx(0.1, abs=0.01)
    cut = rows[~nll | (rows.parameters <= size)]
    assert np.isnan(parameter_count.fall(cut, "nll", 0.2, SETTINGS).value)
    assert np.isfinite(parameter_count.rise(cut, "nll", 0.2, SETTINGS).value)
    low = rows[~nll | (rows.parameters >= 0.9 * size / 2)]
    assert np.isfinite(parameter_count.rise(low, "nll", 0.2, SETTINGS).value)


def test_noise_is_compared_each_with_its_own_threshold():
    """A peak of 0.1 with noise and none without it."""
    found = parameter_count.noise_effect(run(noisy_only=True), "squared", SETTINGS)
    assert found.value == pytest.approx(0.1, abs=0.01)
    one = SETTINGS | {"noises": [0.2]}
    assert np.isnan(parameter_count.noise_effect(run(), "squared", one).value)
