"""The statistics that findings share: intervals over seeds, rank correlations, numbers of outliers.

A seed is one repetition of an experiment. Every interval is at 95 % and counts a seed once, however many rows it has.
How often the intervals contain the true value, at 5 and at 10 seeds, is simulated in tests/test_statistics_coverage.py.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats


class Interval(NamedTuple):
    """A statistic with its 95 % interval.

    Attributes:
        value: the statistic, such as a mean.
        low: lower end of the interval; NaN where there is none.
        high: upper end of the interval.
        seeds: number of independent repetitions that have a value.
        missing: number of repetitions without one, such as those that diverged.
        scale: "linear", "log" for ratios, or "correlation".
    """

    value: float
    low: float
    high: float
    seeds: int = 0
    missing: int = 0
    scale: str = "linear"

    @property
    def exact(self) -> bool:
        """Whether several repetitions gave exactly one value, so that there is no spread to make an interval of."""
        return self.seeds > 1 and self.low == self.value == self.high

    def p_value(self, boundary: float) -> float:
        """The two-sided p-value of the hypothesis that the statistic is `boundary`.

        It belongs to the interval: p < 0.05 where the boundary lies outside. For a t-interval it is that of Student's t
        test; half of an asymmetric interval is measured on the side of the boundary. If all n repetitions agree
        exactly, it is that of the sign test, 2 · ½ⁿ. Without an interval it is NaN.
        """
        if self.exact:
            return 1.0 if boundary == self.value else 2 * 0.5**self.seeds
        value, low, high, boundary = (_scaled(part, self.scale) for part in (*self[:3], boundary))
        half = value - low if boundary < value else high - value
        if not np.isfinite(half) or self.seeds < 2:
            return np.nan
        freedom = self.seeds - 1
        return float(2 * scipy.stats.t.sf(scipy.stats.t.ppf(0.975, freedom) * abs(value - boundary) / half, freedom))


NOTHING = Interval(np.nan, np.nan, np.nan)  # of a statistic without a value


def _scaled(value, scale):
    """A number on its scale; the logarithm of 0 is −∞."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(value) if scale == "log" else value


def mean_interval(values) -> Interval:
    """The mean with its 95 % t-interval over independent repetitions.

    Args:
        values: one number per seed. Those that are not finite are counted as missing. If all are equal, the interval is
            that number (see `Interval.exact`). With a single value, low and high are NaN.
    """
    values = np.asarray(values, np.float64)
    found = values[np.isfinite(values)]
    counts = len(found), len(values) - len(found)
    if not len(found):
        return Interval(np.nan, np.nan, np.nan, *counts)
    if len(found) == 1:
        return Interval(float(found[0]), np.nan, np.nan, *counts)
    if found.min() == found.max():
        return Interval(*[float(found[0])] * 3, *counts)
    half = scipy.stats.t.ppf(0.975, len(found) - 1) * scipy.stats.sem(found)
    return Interval(found.mean(), found.mean() - half, found.mean() + half, *counts)


def geometric_mean(values) -> Interval:
    """The geometric mean of numbers that are not negative, with the interval of the mean logarithm.

    Args:
        values: one number per seed, as in `mean_interval`; a negative one counts as missing. If one of them is 0, so is
            the geometric mean, and there is no interval.
    """
    values = np.asarray(values, np.float64)
    values = np.where(values >= 0, values, np.nan)
    with np.errstate(divide="ignore"):
        of_logarithms = mean_interval(np.log(np.where(values == 0, np.nan, values)))
    zeros, missing = int((values == 0).sum()), int((~np.isfinite(values)).sum())
    if zeros:
        return Interval(0.0, np.nan, np.nan, len(values) - missing, missing, "log")
    ends = [float(values[np.isfinite(values)][0])] * 3 if of_logarithms.exact else np.exp(of_logarithms[:3])
    return Interval(*ends, of_logarithms.seeds, missing, "log")


def jackknife(statistic: Callable[[np.ndarray], float], values: np.ndarray) -> Interval:
    """A statistic of all seeds together, such as a fit through their means, with a 95 % jackknife interval.

    With θ from all n seeds and θ₋ᵢ from all but the i-th, the variance of θ is (n − 1) / n · Σ (θ₋ᵢ − θ̄)², θ̄ the mean
    of the θ₋ᵢ, and the interval that of Student's t with n − 1 degrees of freedom (Tukey 1958; Efron, Annals of
    Statistics 1979). For a mean it is the t-interval. The statistic must change smoothly with each seed: it is none for
    a median or a maximum.

    Args:
        statistic: takes values of some of the seeds, returns a number.
        values: an array whose first axis is the seed.
    """
    n, value = len(values), float(statistic(values))
    if n < 3 or not np.isfinite(value):
        return Interval(value, np.nan, np.nan, n if np.isfinite(value) else 0)
    without = np.array([statistic(np.delete(values, seed, axis=0)) for seed in range(n)])
    half = scipy.stats.t.ppf(0.975, n - 1) * np.sqrt((n - 1) * without.var())
    return Interval(value, value - half, value + half, n)


def bootstrap(value: float, resampled, seeds: int) -> Interval:
    """A statistic of all seeds with the 95 % interval of its bootstrap, widened for a small number of seeds.

    The quantiles of the resamples are moved from the value by the factor that makes the interval of a mean the
    t-interval: resampling n seeds gives a variance too small by (n − 1) / n, and Student's t has longer tails.

    Args:
        value: the statistic.
        resampled: the statistic of each resample of the seeds, shape [R].
        seeds: n; with fewer than two there is no interval.
    """
    if seeds < 2 or not np.isfinite(value):
        return Interval(value, np.nan, np.nan, seeds if np.isfinite(value) else 0)
    wider = scipy.stats.t.ppf(0.975, seeds - 1) / scipy.stats.norm.ppf(0.975) * np.sqrt(seeds / (seeds - 1))
    low, high = value + wider * (np.quantile(resampled, [0.025, 0.975]) - value)
    return Interval(value, float(min(low, value)), float(max(high, value)), seeds)


def paired_difference(a, b) -> Interval:
    """The mean of a − b with its 95 % t-interval; two series are paired by their index."""
    return mean_interval(a - b)


def nearest(table: pd.DataFrame, value: float) -> pd.Series:
    """The column of `table` whose name is the number nearest to `value`."""
    return table.iloc[:, abs(table.columns - value).argmin()]


def first_rows(rows: pd.DataFrame, by: str | list[str] = "seed") -> pd.DataFrame:
    """The first row of each seed, or of each group of the columns `by`."""
    return rows.groupby(by).head(1)


def last_rows(rows: pd.DataFrame, by: str | list[str] = "seed") -> pd.DataFrame:
    """The last row of each seed, or of each group of the columns `by`: the end of each training."""
    return rows.groupby(by).tail(1)


def summary(frame: pd.DataFrame, by: str, value: str, geometric: bool = False) -> pd.DataFrame:
    """Mean and 95 % interval of column `value` for every value of column `by`.

    Args:
        frame: one row per seed and value of `by`.
        by: column to group by; the result is sorted by it.
        value: column to average.
        geometric: whether to take geometric means, for a logarithmic axis. Where a value is not positive, it is the
            arithmetic mean: the geometric one would be 0.

    Returns:
        A frame with columns `by` and those of `Interval`.
    """
    rows = []
    for key, group in frame.groupby(by, sort=True):
        values = group[value].to_numpy(np.float64)
        log = geometric and not (values <= 0).any()
        rows.append((key, *(geometric_mean(values) if log else mean_interval(values))))
    return pd.DataFrame(rows, columns=[by, *Interval._fields])


def over_seeds(frame: pd.DataFrame, value: str | pd.Series, by: str = "seed") -> Interval:
    """The mean of a value per row, with the 95 % t-interval over seeds, each of which counts once.

    Args:
        frame: rows, several per seed. A seed with a row that has no value is missing.
        value: name of a column, or a series with the index of `frame`.
        by: column of the independent repetitions.
    """
    values = frame[value] if isinstance(value, str) else value
    return mean_interval(values.groupby(frame[by]).agg(lambda rows: rows.mean(skipna=False)))


def rank_correlation(frame: pd.DataFrame, a: str, b: str, by: str | None = "seed") -> Interval:
    """Spearman's rank correlation of two columns, averaged over seeds on Fisher's scale.

    The m rows of a seed differ in the quantity that is compared, such as the batch size; the seeds are the independent
    repetitions. On Fisher's scale, z = artanh(c · ρ), the spread of a correlation does not depend on its size, so the
    t-interval of the mean z, carried back, holds near ±1 as well. c = 1 − 6 / (m³ − m), half the least possible step
    below 1, keeps z finite.

    If every row is an independent repetition, there is one correlation ρ of all n rows, with an interval from Fisher's
    z and the standard error √((1 + ρ²/2) / (n − 3)) (Bonett and Wright 2000).

    Args:
        frame: rows. Those that lack one of the two are left out. A seed with fewer than three rows, or in which one of
            the two is constant, has no correlation and is missing.
        a: one column.
        b: the other column.
        by: column of the independent repetitions; None if every row is one.
    """
    rows = frame.dropna(subset=[a, b])
    if by is None:
        value = _spearman(rows[a], rows[b]) if len(rows) > 3 else np.nan
        half = scipy.stats.norm.ppf(0.975) * np.sqrt((1 + value**2 / 2) / max(len(rows) - 3, 1))
        z = np.arctanh(np.clip(value, -1 + 1e-15, 1 - 1e-15))
        return Interval(value, np.tanh(z - half), np.tanh(z + half), len(rows), scale="correlation")
    groups = [rows[rows[by] == seed] for seed in sorted(frame[by].unique())]
    most = max(3, *map(len, groups), 3)
    shrink = 1 - 6 / (most**3 - most)
    mean = mean_interval([np.arctanh(shrink * _spearman(part[a], part[b])) for part in groups])
    ends = np.clip(np.tanh(mean[:3]) / shrink, -1, 1)
    if mean.exact:
        ends = [float(np.round(ends[0], 12))] * 3  # the same number three times, and ±1 in full
    return Interval(*ends, mean.seeds, mean.missing, "correlation")


def _spearman(a, b) -> float:
    """Spearman's rank correlation; NaN if one of the two is constant or there are fewer than three rows."""
    return float(scipy.stats.spearmanr(a, b)[0]) if min(a.nunique(), b.nunique()) > 1 and len(a) > 2 else np.nan


def correlation_within(frame: pd.DataFrame, a: str, b: str, cells: str | list[str], by: str = "seed") -> Interval:
    """The granulated rank correlation: Kendall's τ of the seeds of one cell, averaged over cells.

    The nets of a cell share all settings, such as batch size and learning rate, and differ in their seed only. So what
    both columns owe to the settings cannot make them correlate (Jiang et al., arXiv 1912.02178, who average over cells
    that differ in one setting). Pooled over cells, the sign may even be the opposite one: Simpson's paradox. The
    interval is a jackknife over seeds, each of which is left out of all cells at once.

    Args:
        frame: one row per cell and seed. A seed that lacks a cell is missing.
        a: one column.
        b: the other column.
        cells: the columns that make a cell.
        by: column of the independent repetitions.
    """
    tables = [frame.pivot(index=by, columns=cells, values=column) for column in (a, b)]
    values = np.stack([table.to_numpy(np.float64) for table in tables], axis=2)  # seed, cell, column
    whole = np.isfinite(values).all(axis=(1, 2))
    found = jackknife(_mean_tau, values[whole])
    low, high = np.clip(found[1:3], -1, 1)
    return Interval(found.value, low, high, int(whole.sum()), int((~whole).sum()), "correlation")


def correlation_given(frame: pd.DataFrame, a: str, b: str, cells: str | list[str], by: str = "seed") -> Interval:
    """Spearman's correlation of what two columns do beyond the mean of their cell, averaged over seeds.

    In each cell, such as a batch size, both columns are replaced by their deviations from the cell's mean over seeds,
    in standard deviations. These contain nothing of what both columns owe to the settings. The correlation is that of
    the cells of one seed, so what both owe to the seed's images and initial weights has no part in it either:
    `correlation_within` removes the first only.

    The deviations of n seeds add up to 0, so those of one seed depend on the others'. This narrows the spread of the
    correlations by about √(1 − 1/n), by which the t-interval is widened.

    Args:
        frame: one row per cell and seed.
        a: one column.
        b: the other column.
        cells: the columns that make a cell.
        by: column of the independent repetitions; with fewer than four there is no interval.
    """
    groups = frame.groupby(cells)[[a, b]]
    deviations = (frame[[a, b]] - groups.transform("mean")) / groups.transform("std")
    deviations = deviations.round(9)  # equal ones stay equal, such as those of two seeds, which are ±1/√2
    found = rank_correlation(frame.assign(**deviations), a, b, by)
    if found.seeds < 4:
        return found._replace(low=np.nan, high=np.nan)
    ends = np.arctanh(np.clip(found[:3], -1 + 1e-9, 1 - 1e-9))
    low, high = np.tanh(ends[0] + (ends[1:] - ends[0]) / np.sqrt(1 - 1 / found.seeds))
    return found._replace(low=float(low), high=float(high))


def _mean_tau(values) -> float:
    """The mean over cells of the share of pairs of seeds in one order less the share in the opposite one."""
    first, second = np.triu_indices(len(values), 1)
    signs = np.sign(values[first] - values[second])  # pair, cell, column
    return float(signs.prod(axis=2).mean()) if len(first) else np.nan


def weakest(intervals) -> Interval:
    """The least of several statistics, for the claim that all of them are above a boundary.

    Its ends are the least of all lower ends and the least of all upper ends: all are above the boundary if every one of
    them is (intersection–union test), and the choice of the least one after the fact costs no coverage on that side.

    Args:
        intervals: one for each statistic.
    """
    intervals = list(intervals)
    ends = np.min([part[:3] for part in intervals], axis=0)
    seeds, missing = min(part.seeds for part in intervals), max(part.missing for part in intervals)
    return Interval(*ends, seeds, missing, intervals[0].scale)


def benjamini_hochberg(p_values, rate: float = 0.05) -> np.ndarray:
    """Which of several tests remain significant if at most a share `rate` of those named may be false on average.

    Of m p-values in ascending order, the first k are named, k the largest with p₍ₖ₎ ≤ rate · k / m (Benjamini and
    Hochberg 1995; it holds for independent and for positively dependent tests).

    Args:
        p_values: NaN where there is no test; those are not counted.
        rate: the false discovery rate.

    Returns:
        A bool for each.
    """
    p_values = np.asarray(p_values, np.float64)
    valid = np.isfinite(p_values)
    named = np.zeros(len(p_values), bool)
    if valid.any():
        named[valid] = scipy.stats.false_discovery_control(p_values[valid]) <= rate
    return named


def outliers(values, resolution: float = 0.01) -> int:
    """The number of outliers: eigenvalues above the last gap wider than `resolution` times the largest eigenvalue.

    In a histogram with bins of this width, the outliers are separated from the bulk by an empty space.

    Args:
        values: the largest eigenvalues, descending, more than the number of outliers that is expected.
        resolution: the width of the gap as a fraction of the largest eigenvalue.
    """
    values = np.asarray(values, np.float64)
    wide = np.flatnonzero(values[:-1] - values[1:] > resolution * values[0])
    return int(wide[-1]) + 1 if len(wide) else 0


def largest_ratio(values) -> int:
    """The number of eigenvalues above the largest ratio of neighbouring eigenvalues, among the positive ones.

    Args:
        values: the largest eigenvalues, descending, more than the number of outliers that is expected.
    """
    values = np.asarray(values, np.float64)
    logarithms = np.log(values[values > 0])
    return int(np.argmax(logarithms[:-1] - logarithms[1:])) + 1 if len(logarithms) > 1 else 0
