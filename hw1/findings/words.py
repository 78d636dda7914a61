"""How the report writes numbers with intervals, and what an interval lets it say. Texts are Typst markup."""

import itertools
import math

from hw1.findings.verdict import NET
from hw1.statistics import Interval

ACTIVATIONS = {"relu": "ReLU", "leaky_relu": "leaky ReLU"}  # names in Keras → names in the text, where they differ


def number(value: float, digits: int = 3) -> str:
    """A number to so many significant digits; powers of ten where it is very large or small."""
    rounded = float(f"{value:.{digits}g}")
    if rounded == 0 or 1e-3 <= abs(rounded) < 1e5 or not math.isfinite(value):
        return f"{rounded:,.{max(digits, 6)}g}".replace("-", "−")
    mantissa, exponent = f"{rounded:.{digits - 1}e}".split("e")
    mantissa = f"{float(mantissa):g}"
    return f"$10^({int(exponent)})$" if mantissa == "1" else f"${mantissa} dot 10^({int(exponent)})$"


def show(interval: Interval, digits: int = 3) -> str:
    """A number with its 95 % interval, to so many significant digits; where all seeds agree, with their number.

    More digits are given where rounding would move the ends by more than a few per cent of the interval. If it contains
    0, all three have the decimal places of the end that is farther from it.
    """
    parts, width = interval[:3], interval.high - interval.low
    if math.isfinite(width) and width > 0:
        largest = math.floor(math.log10(max(map(abs, parts))))
        digits = min(max(digits, largest - math.floor(math.log10(width / 2)) + 1), 6)
        if interval.low < 0 < interval.high:
            parts = (round(part, digits - 1 - largest) + 0.0 for part in parts)  # no −0
    value, low, high = (number(part, digits) for part in parts)
    if interval.exact:
        return f"{value} ({interval.seeds} of {interval.seeds})"
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


def span(values, digits: int = 2) -> str:
    """The least and the largest of some values, or the one number where both are written alike."""
    low, high = number(min(values), digits), number(max(values), digits)
    return low if low == high else f"{low} to {high}"


def part_of(count: int, total: int) -> str:
    """How many of so many: "all 100", "none of the 100", "3 of the 100"."""
    return f"all {total}" if count == total else f"{count or 'none'} of the {total}"


def plural(count: int, noun: str) -> str:
    """A number with its noun, such as "1 net" and "5 nets"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def parameters(widths) -> int:
    """The number of weights and biases of a fully connected net, from the widths of all layers, input and output too."""
    return sum((before + 1) * after for before, after in itertools.pairwise(widths))


def net(widths, activation: str = "relu") -> str:
    """A fully connected net by all its widths, its activation and its size: "1-190-1 (leaky ReLU, 571 parameters)"."""
    return f"{_widths(widths)} ({ACTIVATIONS.get(activation, activation)}, {parameters(widths):,} parameters)"


def net_on_images(settings, hidden=None, activation: str = "relu") -> str:
    """The net of a question on images, as `net` writes it; without inputs and size if the record has no "shape".

    Args:
        settings: of the run; images are averaged over squares of "pool" pixels if there is such a setting.
        hidden: widths of the hidden layers. None: the setting of that name.
        activation: of the hidden layers, a name in Keras.
    """
    hidden = settings["hidden"] if hidden is None else hidden
    if not settings.get("shape"):
        return f"with hidden layers {_widths(hidden)} ({ACTIVATIONS.get(activation, activation)})"
    inputs = math.prod(settings["shape"]) // settings.get("pool", 1) ** 2
    return net([inputs, *hidden, settings["classes"]], activation)


def _widths(widths) -> str:
    return "-".join(map(str, widths))


def training_loss(rows, settings, nets: str = "Each net") -> str:
    """The training loss at which nets are compared, the range of losses that they reached, and how many missed it."""
    low, high = number(rows.train_loss.min()), number(rows.train_loss.max())
    each = rows.drop_duplicates([column for column in NET if column in rows])
    missed = int((each.status == "target not reached").sum())
    text = f"{nets} is trained until its loss on the whole training set is at or below {settings['target_loss']:g} nats, for at most {settings['updates']:,} steps; the final losses lie between {low} and {high}"
    return f"{text}, as {missed} of {len(each)} nets did not come down to it." if missed else f"{text}."
