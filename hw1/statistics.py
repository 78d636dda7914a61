"""The statistics that findings share: means with intervals, rank correlations, numbers of outliers."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats


class Interval(NamedTuple):
    """A statistic with its 95 % interval.

    Attributes:
        value: the statistic, such as a mean.
        low: lower end of the interval.
        high: upper end of the interval.
        seeds: number of independent repetitions.
    """

    value: float
    low: float
    high: float
    seeds: int = 0


def mean_interval(values) -> Interval:
    """The mean with its 95 % t-interval over independent repetitions.

    Args:
        values: one number per seed. Values that are not finite are left out and not counted as seeds. With a single
            value, low and high are NaN.
    """
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return Interval(float(values.mean()) if len(values) else np.nan, np.nan, np.nan, len(values))
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return Interval(values.mean(), values.mean() - half, values.mean() + half, len(values))


def geometric_mean(values) -> Interval:
    """The geometric mean of positive numbers, one per seed, with the 95 % interval of the logarithms' mean."""
    *logarithms, seeds = mean_interval(np.log(np.asarray(values, np.float64)))
    return Interval(*np.exp(logarithms), seeds)


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
        geometric: whether to take geometric means (for positive values on a logarithmic axis).

    Returns:
        A frame with columns `by`, value, low, high, seeds.
    """
    rows = []
    for key, group in frame.groupby(by, sort=True):
        values = group[value].to_numpy(np.float64)
        rows.append((key, *(geometric_mean(values) if geometric else mean_interval(values))))
    return pd.DataFrame(rows, columns=[by, *Interval._fields])


def over_seeds(frame: pd.DataFrame, value: str | pd.Series, by: str = "seed") -> Interval:
    """The mean of a value per row, with the 95 % t-interval over seeds, each of which counts once.

    Args:
        frame: rows, several per seed.
        value: name of a column, or a series with the index of `frame`.
        by: column of the independent repetitions.
    """
    values = frame[value] if isinstance(value, str) else value
    return mean_interval(values.groupby(frame[by]).mean())


def rank_correlation(frame: pd.DataFrame, a: str, b: str, by: str | None = "seed") -> Interval:
    """Spearman's rank correlation of two columns, computed for each seed and averaged, with its 95 % t-interval.

    The rows of a seed differ in the quantity that is compared, such as the batch size; the seeds are the independent
    repetitions. If every row is an independent repetition, there is one correlation r of all n rows, with an interval
    from Fisher's z and the standard error √((1 + r²/2) / (n − 3)) (Bonett and Wright 2000).

    Args:
        frame: rows.
        a: one column.
        b: the other column.
        by: column of the independent repetitions; None if every row is one.
    """
    if by is None:
        rows = frame.dropna(subset=[a, b])
        value = _spearman(rows[a], rows[b]) if len(rows) > 3 else np.nan
        half = scipy.stats.norm.ppf(0.975) * np.sqrt((1 + value**2 / 2) / max(len(rows) - 3, 1))
        z = np.arctanh(np.clip(value, -1 + 1e-15, 1 - 1e-15))
        return Interval(value, np.tanh(z - half), np.tanh(z + half), len(rows))
    rows = frame.dropna(subset=[a, b]).groupby(by)
    value, low, high, seeds = mean_interval([_spearman(part[a], part[b]) for _, part in rows if len(part) > 2])
    return Interval(value, max(low, -1.0), min(high, 1.0), seeds)


def _spearman(a, b) -> float:
    """Spearman's rank correlation; 0 if one of the two is constant."""
    return float(scipy.stats.spearmanr(a, b)[0]) if a.nunique() > 1 and b.nunique() > 1 else 0.0


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
