"""Means with intervals and rank correlations: the few statistics that figures and report share."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats


class Interval(NamedTuple):
    """A mean or another statistic with its 95 % interval, and how many independent repetitions are behind them."""

    value: float
    low: float
    high: float
    seeds: int = 0


def mean_interval(values) -> Interval:
    """The mean with its 95 % t-interval over independent repetitions.

    Args:
        values: one number per seed. One alone has no interval: low and high are NaN. What is not finite is left out,
            and not counted among the seeds.
    """
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return Interval(float(values.mean()) if len(values) else np.nan, np.nan, np.nan, len(values))
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return Interval(values.mean(), values.mean() - half, values.mean() + half, len(values))


def geometric_mean(values) -> Interval:
    """The geometric mean of positive numbers, one per seed, with its 95 % interval: those of the logarithms."""
    *logarithms, seeds = mean_interval(np.log(np.asarray(values, np.float64)))
    return Interval(*np.exp(logarithms), seeds)


def paired_difference(a, b) -> Interval:
    """The mean of a − b over pairs with its 95 % t-interval; of two series those are pairs that have one index."""
    return mean_interval(a - b)


def nearest(table: pd.DataFrame, value: float) -> pd.Series:
    """The column of `table` whose name, a number, is nearest to `value`."""
    return table.iloc[:, abs(table.columns - value).argmin()]


def first_rows(rows: pd.DataFrame, by: str | list[str] = "seed") -> pd.DataFrame:
    """The first row of each seed, or of each group of the columns `by`."""
    return rows.groupby(by).head(1)


def last_rows(rows: pd.DataFrame, by: str | list[str] = "seed") -> pd.DataFrame:
    """The last row of each seed, or of each group of the columns `by`: what a training ended with."""
    return rows.groupby(by).tail(1)


def summary(frame: pd.DataFrame, by: str, value: str, geometric: bool = False) -> pd.DataFrame:
    """Mean and 95 % interval of column `value` for every value of column `by`.

    Args:
        frame: rows, one per seed and value of `by`.
        by: column to group by, sorted.
        value: column to average.
        geometric: take mean and interval of the logarithm (for positive values on a log axis).

    Returns:
        A frame with columns `by`, value, low, high, seeds.
    """
    rows = []
    for key, group in frame.groupby(by, sort=True):
        values = group[value].to_numpy(np.float64)
        rows.append((key, *(geometric_mean(values) if geometric else mean_interval(values))))
    return pd.DataFrame(rows, columns=[by, *Interval._fields])


def over_seeds(frame: pd.DataFrame, value: str | pd.Series, by: str = "seed") -> Interval:
    """The mean of a column or of one value per row, with the interval over seeds: each seed counts once.

    Args:
        frame: rows, several of each seed.
        value: a column, or a series with the index of `frame`.
        by: column of the independent repetitions.
    """
    values = frame[value] if isinstance(value, str) else value
    return mean_interval(values.groupby(frame[by]).mean())


def rank_correlation(frame: pd.DataFrame, a: str, b: str, by: str | None = "seed") -> Interval:
    """Spearman's rank correlation of two columns: the mean over seeds of each seed's own, with its 95 % t-interval.

    Within a seed the rows differ in what is compared (batch size, say); between seeds lie the independent repetitions.
    Where every row is a repetition of its own there is one correlation, with the interval of Fisher's z at the
    standard error √((1 + r²/2) / (n − 3)) (Bonett and Wright 2000).

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
    """Spearman's rank correlation; 0 where one of the two never changes, for then it does not go with the other."""
    return float(scipy.stats.spearmanr(a, b)[0]) if a.nunique() > 1 and b.nunique() > 1 else 0.0


def outliers(values, resolution: float = 0.01) -> int:
    """How many eigenvalues stand above the last gap that is wider than `resolution` times the largest of them.

    So many stand alone in a histogram of that resolution, and the bulk begins below them.

    Args:
        values: the largest eigenvalues, descending, more of them than outliers are expected.
        resolution: a share of the largest eigenvalue.
    """
    values = np.asarray(values, np.float64)
    wide = np.flatnonzero(values[:-1] - values[1:] > resolution * values[0])
    return int(wide[-1]) + 1 if len(wide) else 0


def largest_ratio(values) -> int:
    """How many eigenvalues stand above the largest ratio of neighbours, among the positive ones of them.

    Args:
        values: the largest eigenvalues, descending, more of them than outliers are expected.
    """
    values = np.asarray(values, np.float64)
    logarithms = np.log(values[values > 0])
    return int(np.argmax(logarithms[:-1] - logarithms[1:])) + 1 if len(logarithms) > 1 else 0
