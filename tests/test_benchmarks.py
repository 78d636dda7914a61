"""The benchmarks run; the times that they take are not judged here."""

import functools

import pytest

from benchmarks import hessian, timing, training
from hw1 import datasets, evaluation, models


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    """A hundred images instead of five thousand."""
    monkeypatch.setattr(datasets, "load", functools.partial(datasets.load, train=100, test=100))


def test_the_trainer_beside_fit(monkeypatch):
    """Stacked training ends where `fit` does, well below an untrained net."""
    monkeypatch.setattr(training, "EPOCHS", 1)
    monkeypatch.setattr(training, "MEMBERS", 2)
    monkeypatch.setattr(training, "SMALL_MEMBERS", 2)
    rows = {row["what"]: row for row in training.run(repetitions=1, seeds=2, epochs=20)}
    fitted, stacked = (rows[f"training loss of {name} after 20 epochs"]["mean"] for name in ("fit", "train"))
    data = datasets.load("mnist10k")
    untrained = evaluation.evaluate(models.mlp(), data.x_train, data.y_train)[0]
    assert stacked == pytest.approx(fitted, rel=0.3)
    assert max(stacked, fitted) < untrained / 1.5


def test_products_norms_and_spectra(monkeypatch):
    """The two ways to the course's sharpness agree, and λ₁ is what a float64 net gives."""
    monkeypatch.setattr(hessian, "SMALL", (2,))
    monkeypatch.setattr(hessian.models, "COURSE_HIDDEN", (3,))
    monkeypatch.setattr(hessian, "_memory", lambda: [timing.row("memory", [0.0], "GB")])  # a process of its own
    rows = {row["what"]: row for row in hessian.run(repetitions=1, nets=1)}
    assert rows["784-8-8-10: relative difference of the two"]["median"] < 1e-4
    assert max(next(row for what, row in rows.items() if "relative error" in what)["values"]) < 1e-5
