"""The benchmarks run; what they measure is not judged here."""

import functools

import pytest

from benchmarks import hessian, training
from hw1 import datasets


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    """A hundred images instead of five thousand."""
    monkeypatch.setattr(datasets, "load", functools.partial(datasets.load, train=100, test=100))


def test_the_trainer_beside_fit(monkeypatch):
    """Every row has its values, and stacked training ends where `fit` does."""
    monkeypatch.setattr(training, "EPOCHS", 1)
    rows = {row["what"]: row for row in training.run(repetitions=1, seeds=2, epochs=1)}
    assert all(len(row["values"]) == row["repetitions"] >= 1 for row in rows.values())
    fitted, stacked = (rows[f"training loss of {name} after 1 epochs"]["mean"] for name in ("fit", "train"))
    assert stacked == pytest.approx(fitted, rel=0.1)


def test_products_norms_and_spectra(monkeypatch):
    """Every row has its values, and the two ways to the course's sharpness agree."""
    monkeypatch.setattr(hessian, "SMALL", (2,))
    monkeypatch.setattr(hessian.models, "COURSE_HIDDEN", (3,))
    rows = {row["what"]: row for row in hessian.run(repetitions=1, nets=1)}
    assert all(len(row["values"]) == row["repetitions"] >= 1 for row in rows.values())
    assert rows["784-8-8-10: relative difference of the two"]["median"] < 1e-4
    assert max(next(row for what, row in rows.items() if "relative error" in what)["values"]) < 1e-5
