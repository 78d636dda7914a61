"""Question adversarial: what its rows must satisfy at smoke size, and rows of nets that diverge."""

import numpy as np
import pytest

from hw1 import datasets, question, records
from hw1.generalization import sensitivity, sharpness
from hw1.landscape import adversarial, evidence


@pytest.fixture(scope="module")
def answer(at_smoke_size):
    """Rows and settings at smoke size."""
    folder = at_smoke_size("adversarial")
    return records.read(folder, "adversarial"), records.settings(folder, "adversarial")


def test_attacks_harm_the_more_the_larger_they_are(answer):
    """No net's loss falls with ε, and the four are those of the net at every ε."""
    frame, settings = answer
    nets = len(settings["batch_sizes"]) * settings["seeds"]
    assert frame.groupby(["attack", "epsilon"]).size().eq(nets).all()
    assert (
        frame.groupby(["batch_size", "seed"])[[*question.LOSSES_AND_ACCURACIES, "largest_eigenvalue"]]
        .nunique()
        .eq(1)
        .all()
        .all()
    )
    for _, each in frame.sort_values("epsilon").groupby(["batch_size", "seed", "attack"]):
        assert (np.diff([each.test_loss.iloc[0], *each.attacked_loss]) > 0).all()
        assert each.attacked_accuracy.iloc[-1] < each.test_accuracy.iloc[-1]


UNITS = {
    adversarial: {"batch_size": 20},
    sharpness: {"net": "course", "batch_size": 20},
    sensitivity: {"batch_size": 20},
}


def test_a_learning_rate_for_all_batch_sizes_diverges_likewise():
    """The nets of question evidence."""
    settings = question.make_settings(evidence, "smoke", seeds=1, learning_rate=1e30)
    data = datasets.load_splits("mnist10k", train=200, test=200)
    (row,) = evidence.run(settings, data, evidence.NET, "true", 20)
    assert (row["status"], row["seed"], row["grid"]) == ("diverged", 0, "one")


def test_a_learning_rate_that_diverges_gives_such_rows():
    """Through the questions' own code."""
    data = datasets.load_splits("mnist10k", train=200, test=200)
    for module, unit in UNITS.items():
        settings = question.make_settings(module, "smoke", train=200, test=200, seeds=1, learning_rate=1e30)
        found = list(module.run(settings, data, **unit))
        assert [row["status"] for row in found] == ["diverged"]
        columns = module.COLUMNS["rows"]
        line = dict(zip(columns, records._line(question.name_of(module), columns, unit, found[0]), strict=True))
        assert (line["seed"], line["status"], line["test_accuracy"]) == ("0", "diverged", "nan")
