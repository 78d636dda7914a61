"""How the report writes numbers with intervals, and what an interval lets it say."""

import numpy as np

from hw1.statistics import Interval


def show(interval: Interval, digits: int = 3) -> str:
    """A number with its 95 % interval, to so many significant digits."""
    value, low, high = (f"{number:.{digits}g}" for number in interval)
    return f"{value} [{low}, {high}]" if np.isfinite(interval.low) else value


def sign(interval: Interval) -> int:
    """+1 or −1 if the interval lies above or below zero, else 0."""
    return int(interval.low > 0) - int(interval.high < 0)
