"""How often the 95 % intervals contain the true value, by simulation at 5 and at 10 seeds."""

import cases
import numpy as np
import pandas as pd
import pytest

from hw1 import statistics

SAMPLES = 1000  # three standard errors of a share of 0.95 are 0.02
CLOSE = {"abs": 0.021}


def coverage(intervals, true):
    """The share of the intervals that contain the true value; those in which all seeds agree have no width."""
    intervals = [interval for interval in intervals if not interval.exact]
    return np.mean([interval.low <= true <= interval.high for interval in intervals])


def ranks(values):
    """Ranks along the last axis."""
    return values.argsort(-1).argsort(-1)


@pytest.mark.parametrize("seeds", [5, 10])
def test_means_of_normal_numbers(seeds):
    """The t-interval of a mean."""
    samples = np.random.default_rng(0).normal(3, 2, (SAMPLES, seeds))
    assert coverage(map(statistics.mean_interval, samples), 3) == pytest.approx(0.95, **CLOSE)


@pytest.mark.parametrize("seeds", [5, 10])
@pytest.mark.parametrize("spread", [0.3, 2.0])
def test_ratios_whose_logarithm_is_normal(seeds, spread):
    """The geometric mean of ratios, also where they differ by orders of magnitude, where a t-interval fails."""
    samples = np.exp(np.random.default_rng(1).normal(0.5, spread, (SAMPLES, seeds)))
    assert coverage(map(statistics.geometric_mean, samples), np.exp(0.5)) == pytest.approx(0.95, **CLOSE)
    if spread > 1:
        assert coverage(map(statistics.mean_interval, samples), np.exp(0.5 + spread**2 / 2)) < 0.85


@pytest.mark.parametrize(("points", "correlation", "seeds"), cases.some([(8, 0.99, 5), (8, 0.0, 5), (10, 0.97, 10)], 1))
def test_rank_correlations_up_to_one(seeds, points, correlation):
    """Spearman's correlation averaged on Fisher's scale, near ±1 too, where the t-interval of the mean covers 90 %."""
    rng, columns = np.random.default_rng(2), {"seed": np.repeat(range(seeds), points)}

    def draw(samples):
        a, noise = rng.standard_normal((2, samples, seeds, points))
        return a, correlation * a + np.sqrt(1 - correlation**2) * noise

    a, b = draw(40_000)
    rho = 1 - 6 * ((ranks(a) - ranks(b)) ** 2).sum(-1) / (points**3 - points)
    shrink = 1 - 6 / (points**3 - points)
    true = np.tanh(np.arctanh(shrink * rho).mean()) / shrink
    frames = (pd.DataFrame(columns | {"a": x.ravel(), "b": y.ravel()}) for x, y in zip(*draw(SAMPLES), strict=True))
    found = [statistics.rank_correlation(frame, "a", "b") for frame in frames]
    assert coverage(found, true) == pytest.approx(0.95, **CLOSE)


@pytest.mark.parametrize("seeds", cases.some([5, 10], 1))
@pytest.mark.parametrize("shared", cases.some([0.7, 0.0], 1))
def test_correlations_within_cells(seeds, shared):
    """Kendall's τ within cells: what a seed shares over its cells makes the cells dependent, the interval covers.

    It is a little wide where the cells are independent: 95 to 98 %.
    """
    rng, cells = np.random.default_rng(3), 8
    columns = {"seed": np.repeat(range(seeds), cells), "cell": np.tile(range(cells), seeds)}

    def draw(samples):
        a, noise = (
            np.sqrt(shared) * rng.standard_normal((samples, seeds, 1))
            + np.sqrt(1 - shared) * rng.standard_normal((samples, seeds, cells))
            for _ in range(2)
        )
        return a + 10 * np.arange(cells), 0.6 * a + 0.8 * noise - 10 * np.arange(cells)

    a, b = draw(20_000)
    first, second = np.triu_indices(seeds, 1)
    true = (np.sign(a[:, first] - a[:, second]) * np.sign(b[:, first] - b[:, second])).mean()
    assert true > 0.3
    frames = (pd.DataFrame(columns | {"a": x.ravel(), "b": y.ravel()}) for x, y in zip(*draw(SAMPLES), strict=True))
    share = coverage([statistics.correlation_within(frame, "a", "b", "cell") for frame in frames], true)
    assert 0.93 <= share <= 0.985


@pytest.mark.parametrize(("seeds", "cells", "correlation"), cases.some([(5, 10, 0.0), (10, 10, 0.3), (5, 12, 0.0)], 1))
def test_correlations_given_the_cell(seeds, cells, correlation):
    """Beyond what cell and seed do, also where a seed's images move both columns of all its nets."""
    rng = np.random.default_rng(7)
    columns = {"seed": np.repeat(range(seeds), cells), "cell": np.tile(range(cells), seeds)}

    def draw(samples, seeds):
        a, noise = rng.standard_normal((2, samples, seeds, cells))
        b = correlation * a + np.sqrt(1 - correlation**2) * noise
        return [part + 0.7 * rng.standard_normal((samples, seeds, 1)) for part in (a, b)]

    many = pd.DataFrame({"seed": np.repeat(range(3000), cells), "cell": np.tile(range(cells), 3000)})
    a, b = draw(1, 3000)
    true = statistics.correlation_given(many.assign(a=a.ravel(), b=b.ravel()), "a", "b", "cell").value
    frames = (pd.DataFrame(columns | {"a": x.ravel(), "b": y.ravel()}) for x, y in zip(*draw(400, seeds), strict=True))
    share = coverage([statistics.correlation_given(frame, "a", "b", "cell") for frame in frames], true)
    assert share == pytest.approx(0.95, abs=0.033)  # three standard errors of 400 samples


@pytest.mark.parametrize("seeds", [5, 10])
def test_exponents_of_a_fit_through_the_means(seeds):
    """The jackknife of a slope on logarithmic axes, fitted once through the geometric means of all seeds.

    Seeds differ in height and in slope, as those of a threshold against the number of examples do.
    """
    rng, x = np.random.default_rng(4), np.log([250.0, 500.0, 1000.0, 2000.0])

    def slope(values):
        return np.polyfit(x, values.mean(axis=0), 1)[0]

    found = []
    for _ in range(SAMPLES):
        slopes, heights = 0.8 + 0.3 * rng.standard_normal((seeds, 1)), rng.standard_normal((seeds, 1))
        found.append(statistics.jackknife(slope, heights + slopes * x + 0.2 * rng.standard_normal((seeds, 4))))
    assert coverage(found, 0.8) == pytest.approx(0.95, **CLOSE)


@pytest.mark.parametrize("seeds", [5, 10])
def test_ratios_of_means(seeds):
    """The jackknife of the logarithm of a ratio of two means, a statistic that is no mean of seeds' values."""
    samples = np.random.default_rng(5).gamma(8, size=(SAMPLES, seeds, 2)) * [3, 1]
    found = [statistics.jackknife(lambda pairs: np.log(np.divide(*pairs.mean(axis=0))), pairs) for pairs in samples]
    assert coverage(found, np.log(3)) == pytest.approx(0.95, **CLOSE)


def test_discoveries_are_rarely_false():
    """Of 40 tests with 30 true hypotheses, at most 5 % of the discoveries are false on average; without it, 40 %."""
    rng, rates, naive = np.random.default_rng(6), [], []
    for _ in range(200):
        values = rng.standard_normal((40, 5))
        values[30:] += 2.5
        p = np.array([statistics.mean_interval(sample).p_value(0) for sample in values])
        named = statistics.benjamini_hochberg(p)
        rates.append(named[:30].sum() / max(named.sum(), 1))
        naive.append((p[:30] < 0.05).sum() / max((p < 0.05).sum(), 1))
    assert np.mean(rates) < 0.05 < np.mean(naive)
