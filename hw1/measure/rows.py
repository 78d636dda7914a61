"""One measured value with its errors, and the table of them."""

from typing import NamedTuple

import numpy as np

from hw1 import command

MOST_LAYERS = 20  # in a table
WANTED = 0.05  # relative error, for which `Row.examples_for_5_percent` says how many examples it would take


class Row(NamedTuple):
    """One measured value.

    Attributes:
        measure: name of the measure.
        value: the number.
        standard_error: all errors that follow, as the root of the sum of their squares; None if there are none.
        estimate_error: of random probes or draws; None for a measure without.
        residual: bound of the error that Lanczos leaves; None for a measure without.
        sampling_error: by the choice of examples; None for a measure that needs none.
        examples: number of examples on which it was measured; None if it needs none.
        examples_for_5_percent: number of examples with which the sampling error would be 5 % of the value.
        unit: its unit, with a short description.
    """

    measure: str
    value: float | int
    standard_error: float | None
    estimate_error: float | None
    residual: float | None
    sampling_error: float | None
    examples: int | None
    examples_for_5_percent: int | None
    unit: str


def row(measure: str, value, unit: str, n: int | None = None, *, estimate=None, residual=None, sampling=None) -> Row:
    """Makes a row, with its total error.

    Args:
        measure: see `Row`; so are value and unit.
        value: see there.
        unit: see there.
        n: number of examples.
        estimate: error of probes or draws.
        residual: of Lanczos.
        sampling: a `hw1.measures.sampling.Sampling`.
    """
    by_examples = None if sampling is None else float(sampling.error)
    parts = [float(each) for each in (estimate, residual, by_examples) if each is not None]
    total = float(np.sqrt(np.sum(np.square(parts)))) if parts else None
    more = None
    if sampling is not None and value and np.isfinite([value, by_examples]).all():
        more = sampling.examples(n, WANTED * abs(value))
    value = value if isinstance(value, int) else float(value)
    estimate, residual = (None if each is None else float(each) for each in (estimate, residual))
    return Row(measure, value, total, estimate, residual, by_examples, n, more, unit)


def shown(value, error) -> str:
    """A value to five digits, with its error to two."""
    text = str(value) if isinstance(value, int) else f"{value:.5g}"
    if error is None:
        return text
    return f"{text} ± {error:.2g}" if np.isfinite(error) else f"{text} ± ?"


def cells(found: Row) -> tuple[str, ...]:
    """What the table says of a row: measure, value ± error, examples, examples for 5 %, unit."""
    number = found.examples_for_5_percent
    more = "" if number is None else str(number) if number < 1e6 else f"{number:.0e}"
    return found.measure, shown(found.value, found.standard_error), str(found.examples or ""), more, found.unit


def brief(names: list[str], values: list[float]) -> tuple[set[str], str]:
    """Which measures a table shows: of a deep net the layers with the largest values only.

    Args:
        names: of all measures.
        values: by whose size the layers are chosen.

    Returns:
        The names to show; and a sentence about the others, empty if there are none.
    """
    kept, more = set(names), 0
    for kind in ("layer_trace", "layer_norm"):
        layers = [(abs(value), name) for name, value in zip(names, values, strict=True) if name.startswith(kind)]
        dropped = {name for _, name in sorted(layers, reverse=True)[MOST_LAYERS:]}
        kept, more = kept - dropped, max(more, len(dropped))
    return kept, f"{more} layers with smaller values are in card.csv only" if more else ""


HEADINGS = ("measure", "value", "examples", "for ± 5 %", "unit")


def table(rows: list[Row]) -> str:
    """Formats the rows as aligned text."""
    kept, note = brief([row.measure for row in rows], [row.value for row in rows])
    text = command.aligned([HEADINGS, *(cells(row) for row in rows if row.measure in kept)])
    return text + (f"\n{note}" if note else "")
