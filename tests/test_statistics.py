"""Intervals and correlations against closed forms and simulation, and the number of outliers."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from hw1 import statistics


def test_the_interval_of_the_mean_is_scipys():
    """The t-interval equals scipy's, and NaNs are left out, also of the number of seeds."""
    values = np.array([1.0, 2.5, 2.0, np.nan, 4.0])
    kept = values[np.isfinite(values)]
    expected = scipy.stats.t.interval(0.95, len(kept) - 1, kept.mean(), scipy.stats.sem(kept))
    assert statistics.mean_interval(values)[:5] == pytest.approx((kept.mean(), *expected, 4, 1))


def test_one_value_has_no_interval():
    """A single repetition gives its value and no interval; none at all gives NaN."""
    one, none = statistics.mean_interval([3.0]), statistics.mean_interval([])
    assert one.value == 3
    assert np.isnan([one.low, one.high, *none[:3]]).all()
    assert (one.seeds, none.seeds) == (1, 0)


def test_geometric_means_are_those_of_the_logarithm():
    """On a logarithmic axis the mean of 1 and 100 is 10."""
    frame = pd.DataFrame({"by": [1, 1], "x": [1.0, 100.0]})
    assert statistics.summary(frame, "by", "x", geometric=True).value[0] == pytest.approx(10)
    assert statistics.summary(frame, "by", "x").value[0] == pytest.approx(50.5)


def test_zeros_and_diverged_seeds_do_not_vanish():
    """The geometric mean with a 0 is 0, without an interval; what has no value is counted as missing."""
    value, low, high, seeds, missing, _ = statistics.geometric_mean([0, 2, 2, 2.1])
    assert (value, seeds, missing) == (0, 4, 0)
    assert np.isnan([low, high]).all()
    assert statistics.geometric_mean([2, np.nan, 8, np.inf, -1])[3:5] == (2, 3)
    assert statistics.geometric_mean([2, np.nan, 8]).value == pytest.approx(4)
    assert statistics.geometric_mean([3, 3, 3]) == (3, 3, 3, 3, 0, "log")
    assert statistics.mean_interval([1, np.nan, 2])[3:5] == (2, 1)
    frame = pd.DataFrame({"by": [1, 1], "x": [0.0, 2.0]})
    assert statistics.summary(frame, "by", "x", geometric=True).value[0] == 1  # drawn as the arithmetic mean
    rows = pd.DataFrame({"seed": [0, 0, 1, 1], "x": [1, np.nan, 2, 4]})
    assert statistics.over_seeds(rows, "x")[0::3] == (3, 1)


def test_seeds_that_agree_exactly_have_no_width():
    """They say so, and are not mistaken for an interval."""
    assert statistics.mean_interval([2, 2, 2]).exact
    assert not statistics.mean_interval([2.0]).exact
    assert not statistics.mean_interval([2, 2, 3]).exact


def test_rank_correlation_finds_order_and_its_absence():
    """A monotone relation gives 1 in every seed; independent columns an interval around 0."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"seed": np.repeat(range(8), 20), "a": rng.random(160)})
    frame["b"], frame["c"] = np.exp(frame.a), rng.random(160)
    assert statistics.rank_correlation(frame, "a", "b") == (1, 1, 1, 8, 0, "correlation")
    independent = statistics.rank_correlation(frame, "a", "c")
    assert independent.low < 0 < independent.high
    each = [scipy.stats.spearmanr(rows.a, rows.c)[0] for _, rows in frame.groupby("seed")]
    assert independent.value == pytest.approx(np.tanh(np.mean(np.arctanh(each))), rel=1e-2)


def test_a_trend_of_some_seeds_is_not_one_of_all():
    """Where half of the seeds rise and half fall, no sign is claimed, however many rows there are."""
    frame = pd.DataFrame({"seed": np.repeat(range(6), 50), "a": np.tile(np.arange(50.0), 6)})
    frame["b"] = frame.a * np.where(frame.seed < 3, 1, -1)
    correlation = statistics.rank_correlation(frame, "a", "b")
    assert correlation.low < 0 < correlation.high
    assert statistics.over_seeds(frame, "b").low < 0 < statistics.over_seeds(frame, "b").high


def test_pairs_are_those_of_one_index():
    """Two series that lack a seed each are compared over the seeds that both have."""
    a, b = pd.Series([1.0, 2.0, 3.0], [0, 1, 2]), pd.Series([9.0, 1.0, 1.5], [3, 2, 1])
    assert statistics.paired_difference(a, b)[::3] == (1.25, 2)


def test_the_nearest_column():
    """By its name as a number."""
    table = pd.DataFrame({-0.3333333: [1], 1.3333333: [2]})
    assert statistics.nearest(table, 1 + 1 / 3)[0] == 2


def test_paired_differences_remove_what_pairs_share():
    """What a seed adds to both members of a pair cancels."""
    base = np.array([0.0, 10.0, 20.0])
    difference = statistics.paired_difference(base + np.array([1.0, 1.1, 0.9]), base)
    assert difference.value == pytest.approx(1)
    assert difference.high - difference.low < 1


def test_a_constant_column_has_no_correlation():
    """A seed in which nothing changes has no correlation; it is missing, and no number is made up for it."""
    frame = pd.DataFrame({"seed": np.repeat(range(5), 4), "a": np.tile(range(4), 5), "b": 1.0})
    constant = statistics.rank_correlation(frame, "a", "b")
    assert np.isnan(constant.value)
    assert constant[3:5] == (0, 5)
    frame.loc[frame.seed > 2, "b"] = frame.a
    assert statistics.rank_correlation(frame, "a", "b") == (1, 1, 1, 2, 3, "correlation")
    assert np.isnan(statistics.rank_correlation(frame.assign(b=1.0), "a", "b", by=None).value)


def test_correlations_within_cells_are_free_of_simpsons_paradox():
    """Over all nets the two columns rise together, in every cell one falls with the other."""
    rng, cells, seeds = np.random.default_rng(0), 6, 8
    frame = pd.DataFrame({"seed": np.tile(range(seeds), cells), "cell": np.repeat(range(cells), seeds)})
    noise = rng.standard_normal(len(frame))
    frame["a"], frame["b"] = 10 * frame.cell + noise, 10 * frame.cell - noise + 0.1 * rng.standard_normal(len(frame))
    assert statistics.rank_correlation(frame, "a", "b").low > 0
    within = statistics.correlation_within(frame, "a", "b", "cell")
    assert within.high < 0
    taus = [scipy.stats.kendalltau(rows.a, rows.b)[0] for _, rows in frame.groupby("cell")]
    assert within.value == pytest.approx(np.mean(taus))
    lost = statistics.correlation_within(frame[1:], "a", "b", "cell")
    assert (lost.seeds, lost.missing) == (seeds - 1, 1)


def test_what_the_images_of_a_seed_do_is_left_out():
    """Hard images raise both columns of all nets of a seed: that alone is no correlation, and hides none."""
    rng = np.random.default_rng(1)
    rows = [(size, seed, *rng.random(2)) for size in range(10, 22) for seed in range(10)]
    frame = pd.DataFrame(rows, columns=["size", "seed", "a", "b"])
    hard = frame.assign(a=frame.a + 9 * frame.seed + 50 * frame["size"], b=frame.b + 9 * frame.seed - frame["size"])
    found = statistics.correlation_given(hard, "a", "b", "size")
    assert found.low < 0 < found.high
    assert abs(found.value) < 0.3
    assert statistics.correlation_within(hard, "a", "b", "size").low > 0.9
    hidden = hard.assign(b=9 * frame.seed - frame.a)
    assert statistics.correlation_given(hidden, "a", "b", "size").high < -0.9
    assert np.isnan(statistics.correlation_given(hidden[hidden.seed < 3], "a", "b", "size").low)


def test_deviations_that_are_equal_stay_equal():
    """Those of two seeds are all ±1/√2, so no last bit and no order of rows may tell them apart."""
    values = np.random.default_rng(2).random((2, 9, 2))
    rows = [(cell, seed, *values[seed, cell]) for cell in range(9) for seed in (0, 1)]
    frame = pd.DataFrame(rows, columns=["size", "seed", "a", "b"])
    signs = np.sign(values[1] - values[0])
    exact = scipy.stats.spearmanr(*signs.T)[0]
    for rows in (frame, frame.sort_values("seed"), frame[::-1]):
        assert statistics.correlation_given(rows, "a", "b", "size").value == pytest.approx(exact)


def test_the_jackknife_of_a_mean_is_its_t_interval():
    """And two seeds are too few for it."""
    values = np.array([1.0, 2.5, 2.0, 4.0])
    assert statistics.jackknife(np.mean, values)[:4] == pytest.approx(statistics.mean_interval(values)[:4])
    assert np.isnan(statistics.jackknife(np.mean, values[:2]).low)


def test_the_weakest_of_several_is_above_if_all_are():
    """Its ends are the least ones."""
    parts = [statistics.Interval(2, 1, 5, 5), statistics.Interval(3, 0.5, 4, 6, 1)]
    assert statistics.weakest(parts) == (2, 0.5, 4, 5, 1, "linear")


def test_benjamini_and_hochbergs_example():
    """The fifteen p-values of their paper: four discoveries at 5 %; what has no p-value is no test."""
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.324,
        0.4262,
        0.5719,
        0.6528,
        0.759,
        1,
    ]
    assert statistics.benjamini_hochberg([np.nan, *p]).tolist() == [False] + [True] * 4 + [False] * 11


def test_a_correlation_of_independent_rows_covers_the_true_one():
    """Of 1,000 samples of 40 normal pairs 95 % of the intervals hold their true rank correlation; 3 s.e. are 2 %."""
    rng, true = np.random.default_rng(0), 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's of a normal pair with r = 0.6
    held = []
    for _ in range(1000):
        a, b = rng.standard_normal((2, 40))
        value, low, high, *_ = statistics.rank_correlation(
            pd.DataFrame({"a": a, "b": 0.6 * a + 0.8 * b}), "a", "b", by=None
        )
        assert low < value < high
        held.append(low <= true <= high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(
    ("values", "by_gap", "by_ratio"),
    [
        ([10, 9, 8, 0.5, 0.45, 0.42], 3, 3),
        ([10, 9, 8, 0.5, 0.1, 0.01], 4, 3),  # 0.4 of 10 is a gap; of the ratios 8 / 0.5 is larger than 0.1 / 0.01
        ([10, 9.95, 9.9, 5, 4.95, 4.9], 3, 3),  # a gap above counts, however close what lies above it
        ([10, 3, -1, -2], 3, 1),  # negative ones have no ratio
        ([1, 1, 1], 0, 1),
    ],
)
def test_outliers_are_counted_by_gap_and_by_ratio(values, by_gap, by_ratio):
    """The last gap wider than 1 % of the largest; the place of the largest ratio."""
    assert statistics.outliers(values) == by_gap
    assert statistics.largest_ratio(values) == by_ratio
