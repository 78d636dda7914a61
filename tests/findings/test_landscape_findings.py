"""Findings of part landscape on made-up rows whose verdicts are known, and on rows of nets that diverged."""

import numpy as np
import pandas as pd
import pytest

from hw1 import catalogue, records
from hw1.findings.landscape import loss_functions
from hw1.findings.paths import straight_line


def test_evaluation_of_a_barrier():
    """Interior maximum of the error less the larger end, which can be negative; a seed without a line has none."""
    accuracy = {0: (0.9, 0.5, 0.8), 1: (0.9, 0.95, 0.8)}
    rows = [(s, a, v) for s, values in accuracy.items() for a, v in zip((0, 0.5, 1), values, strict=True)]
    lines = pd.DataFrame(rows, columns=["seed", "alpha", "train_accuracy"])
    found = loss_functions._barriers(lines, {"first_seed": 0, "seeds": 3})
    np.testing.assert_allclose(found, [0.3, -0.15, np.nan])


def test_the_largest_rise_of_a_curve():
    """Above the lowest point before it, wherever on the curve; 0 where it only falls."""
    assert straight_line._largest_rise(np.array([5.0, 3, 2, 2, 1])) == 0
    assert straight_line._largest_rise(np.array([5.0, 1, 4, 0, 2])) == 3


@pytest.mark.parametrize("name", ["evidence", "adversarial"])
def test_diverged_nets_are_left_out(at_smoke_size, name):
    """A net whose loss is not finite is a row of NaNs; figure and claims are made of the others."""
    folder, finding = at_smoke_size(name), catalogue.finding(name)
    frame, settings = records.read(folder, name), records.settings(folder, name)
    nets = frame[frame.batch_size == settings["batch_sizes"][0]]
    lost = frame.copy()
    columns = frame.columns.difference(["model", "labels", "attack", "batch_size", "seed", "status"])
    lost.loc[nets.index, columns] = np.nan
    lost.loc[nets.index, "status"] = "diverged"
    finding.figure(lost, settings).draw_without_rendering()
    assert len(list(finding.claims(lost, settings))) == len(list(finding.claims(frame, settings)))
