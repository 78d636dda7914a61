"""Question straight_line: rows at smoke size, and the maxout units."""

import numpy as np
import pytest

from hw1 import datasets, question, records
from hw1.paths import straight_line


@pytest.fixture(scope="module")
def lines(at_smoke_size):
    """Rows, settings and tables at smoke size."""
    folder, name = at_smoke_size("straight_line"), "straight_line"
    return records.read(folder, name), records.settings(folder, name), records.tables(folder, name)


def test_lines_begin_and_end_where_training_did(lines):
    """α = 0 and 1 of the first line are the first and last row of the learning curve; α = 0 of the second the last."""
    frame, settings, tables = lines
    curves = tables["training"].set_index(["net", "seed", "epoch"])
    rows = frame.set_index(["line", "net", "seed", "alpha"])
    for net in settings["nets"]:
        for seed in range(settings["seeds"]):
            for line, alpha, epoch in (
                ("start to end", 0, 0),
                ("start to end", 1, settings["epochs"]),
                ("end to end", 0, settings["epochs"]),
            ):
                for column in question.LOSSES_AND_ACCURACIES:
                    expected = curves.loc[(net, seed, epoch), column]
                    assert rows.loc[(line, net, seed, alpha), column] == pytest.approx(expected, rel=1e-4)


def test_a_maxout_unit_gives_the_larger_of_its_pieces():
    """By hand in NumPy, of two layers; another seed has other weights."""
    data = datasets.load("mnist10k", train=20, test=20)
    model, other = (straight_line._build("maxout", (4, 3), data, seed) for seed in (0, 1))
    values = data.x_train.reshape(20, -1)
    weights = model.get_weights()
    for kernel_a, bias_a, kernel_b, bias_b in (weights[:4], weights[4:8]):
        values = np.maximum(values @ kernel_a + bias_a, values @ kernel_b + bias_b)
    np.testing.assert_allclose(model(data.x_train), values @ weights[8] + weights[9], rtol=1e-4, atol=1e-5)
    assert not np.allclose(weights[0], weights[2])
    assert not np.allclose(weights[0], other.get_weights()[0])
