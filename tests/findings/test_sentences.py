"""Sentences of the report on made-up rows: each result is answered with the sentence that is true of it."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings.generalization import interpolation, sensitivity, sharpness

SEEDS = range(5)
NOISE = np.array([-2, -1, 0, 1, 2]) / 1000  # one value per seed, around 0


@pytest.mark.parametrize(
    ("steeper", "loss", "accuracy", "said"),
    [
        (1, 0.1, -0.1, "By test loss the flatter net is better, by test accuracy better."),  # the flatter net: α = 0
        (-1, 0.1, -0.1, "By test loss the flatter net is worse, by test accuracy worse."),
        (-1, -0.1, 0, "By test loss the flatter net is better, by test accuracy not measurably different."),
        (0, 0.1, -0.1, "does not show whether the flatter net generalises better"),
    ],
)
def test_flatness_on_the_line_is_compared_with_generalisation(steeper, loss, accuracy, said):
    """By the paired differences of the two ends."""
    first = pd.DataFrame({"alpha": 0.0, "seed": SEEDS, "test_loss": 0.5, "test_accuracy": 0.5})
    second = first.assign(alpha=1.0, test_loss=0.5 + loss + NOISE, test_accuracy=0.5 + accuracy + NOISE)
    text = interpolation._generalisation(pd.concat([first, second]), "batch size", 64, 1024, steeper)
    assert said in text


def test_a_minimum_inside_the_range_is_named():
    """With how much higher both ends are; where an end is lowest, nothing is."""
    values = {10: 1.2, 50: 1.0, 100: 1.5, 500: 2.0}
    nets = pd.concat(pd.DataFrame({"batch_size": b, "seed": SEEDS, "norm": v + NOISE}) for b, v in values.items())
    text = sensitivity._trend(nets, "norm", "The norm")
    assert "rises with the batch size" in text
    assert "lowest at batch size 50; it is higher by 0.2" in text
    assert "lowest" not in sensitivity._trend(nets[nets.batch_size > 10], "norm", "The norm")


def test_small_nets_that_missed_the_target_are_set_apart():
    """Their losses are not those of the nets of the figure."""
    rows = pd.DataFrame({"train_loss": [0.4, 0.7], "status": "target not reached"})
    assert "target of 0.05 was not reached" in sharpness._above(rows, {"target_loss": 0.05})
    assert sharpness._above(rows.assign(status="ok"), {"target_loss": 0.05}) == ""
