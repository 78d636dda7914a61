"""How the report writes numbers with intervals, and what an interval lets it say. Texts are Typst markup."""

import math

from hw1.statistics import Interval


def number(value: float, digits: int = 3) -> str:
    """A number to so many significant digits; powers of ten where it is very large or small."""
    rounded = float(f"{value:.{digits}g}")
    if rounded == 0 or 1e-3 <= abs(rounded) < 1e5 or not math.isfinite(value):
        return f"{rounded:,.{max(digits, 6)}g}".replace("-", "−")
    mantissa, exponent = f"{rounded:.{digits - 1}e}".split("e")
    mantissa = f"{float(mantissa):g}"
    return f"$10^({int(exponent)})$" if mantissa == "1" else f"${mantissa} dot 10^({int(exponent)})$"


def show(interval: Interval, digits: int = 3) -> str:
    """A number with its 95 % interval, to so many significant digits."""
    value, low, high = (number(part, digits) for part in interval[:3])
    return f"{value} [{low}, {high}]" if math.isfinite(interval.low) else value


def sign(interval: Interval, zero: float = 0.0) -> int:
    """+1 or −1 if the interval lies above or below `zero` (1 for a ratio), else 0."""
    return int(interval.low > zero) - int(interval.high < zero)


def listed(parts) -> str:
    """The parts with commas between them, and "and" before the last."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def by_sign(signs: dict[str, int], clauses: dict[int, str], noun: str, plural: str) -> str:
    """One clause per sign that occurs, each after the names that it holds for, such as "for the relu and tanh nets …".

    Args:
        signs: name → +1, 0 or −1.
        clauses: what to say of the names of each sign.
        noun: what the names are.
        plural: the same for several.
    """
    parts = []
    for wanted, clause in clauses.items():
        names = [name for name, found in signs.items() if found == wanted]
        if len(names) == 1:
            parts.append(f"for the {names[0]} {noun} {clause}")
        elif names:
            every = "both" if len(names) == 2 else f"all {len(names)}"
            parts.append(f"for {every if len(names) == len(signs) else f'the {listed(names)}'} {plural} {clause}")
    return "; ".join(parts)


def training_loss(rows, settings) -> str:
    """The training loss at which nets are compared, and the range of losses that they reached."""
    low, high = number(rows.train_loss.min()), number(rows.train_loss.max())
    short = ", because not every net reached it" if rows.train_loss.max() > settings["target_loss"] else ""
    return f"Every net is trained until its loss on the training set is at or below {settings['target_loss']:g}; the final losses lie between {low} and {high}{short}."
