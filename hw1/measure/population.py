"""Where a net stands among the nets of this project's own results, measure by measure."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from hw1 import records

NETS = "784-30-20-10 on MNIST, trained on 5,000 images to a loss of 0.05"
_SHARPNESS = "100 with batches of 10 to 5,000 (sharpness)"
_SENSITIVITY = "100 with batches of 10 to 5,000 (sensitivity)"
_FLATNESS = "240 with batches of 20 to 2,500 (flatness)"
_SPECTRUM = "24 with batches of 10 to 5,000 (spectrum)"


class Source(NamedTuple):
    """Which committed rows hold a measure.

    Attributes:
        file: name of the CSV.
        column: of the values.
        rows: column → the value that a row must have.
        nets: how many, with which batches, and of which question's rows; all are `NETS`.
    """

    file: str
    column: str
    rows: dict
    nets: str


def _of_norm(scope, column="value", method="lanczos", norm="spectral"):
    rows = {"net": "course", "scope": scope, "method": method, "norm": norm, "examples": 500, "status": "ok"}
    return Source("sharpness.csv", column, rows, _SHARPNESS)


_COURSE, _OK = {"net": "course", "status": "ok"}, {"status": "ok"}
SOURCES = {
    "spectral_norm_full": _of_norm("full"),
    "spectral_norm_block": _of_norm("block"),
    "hessian_sharpness": _of_norm("block", "sharpness"),
    "trace": Source("flatness.csv", "trace", _COURSE, _FLATNESS),
    "keskar_subspace": Source("flatness.csv", "subspace_sharpness", _COURSE, _FLATNESS),
    "loss_gradient_norm": Source("sensitivity.csv", "loss_gradient_norm", _OK, _SENSITIVITY),
    "jacobian_norm": Source("sensitivity.csv", "jacobian_norm", _OK, _SENSITIVITY),
    "test_accuracy": Source("sensitivity.csv", "test_accuracy", _OK, _SENSITIVITY),
    "outliers": Source("spectrum.nets.csv", "outliers", {"data": "mnist10k"}, _SPECTRUM),
}


def values(measure: str) -> np.ndarray:
    """The values of a measure in the population, ascending."""
    source = SOURCES[measure]
    rows = pd.read_csv(records.COMMITTED / source.file)
    for column, wanted in source.rows.items():
        rows = rows[rows[column] == wanted]
    return np.sort(rows[source.column].dropna().to_numpy())


def percentiles(card) -> dict[str, float]:
    """Measure → the share of the population's nets, in per cent, that have a smaller value; ties count half.

    Keskar's sharpness and the course's depend on ε, derivatives in the input on its unit, and the Hessian's on the
    loss: they are compared only if the settings and the loss are those of the population. Nets of what is no image are
    not compared at all; `other` says why.
    """
    settings, found = card.settings, {}
    is_unit = settings.pixels == 1
    is_same = {
        "hessian_sharpness": settings.epsilon == 1e-4,
        "keskar_subspace": settings.keskar_epsilon == 1e-3 and settings.manifold == 100,
        "loss_gradient_norm": is_unit,
        "jacobian_norm": is_unit,
    }
    if other(card):
        return {}
    for row in card.rows:
        if row.measure in SOURCES and is_same.get(row.measure, True):
            there = values(row.measure)
            found[row.measure] = float(100 * (np.mean(there < row.value) + np.mean(there == row.value) / 2))
    return found


def other(card) -> str:
    """Why a net is not compared with the population, in a sentence; empty if it is."""
    why = "" if card.work.is_image else "its inputs are no images from black to white"
    why = why or ("" if card.loss == "crossentropy" else f"its loss is {card.loss}, theirs the cross-entropy")
    return f"{card.name} has no percentiles among this project's nets, which are {NETS}: {why}." if why else ""
