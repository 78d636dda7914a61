"""Sentences of the report on made-up rows: each result is answered with the sentence that is true of it."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings.generalization import interpolation, parameter_count, random_labels, sensitivity, sharpness

SEEDS = range(5)
NOISE = np.array([-2, -1, 0, 1, 2]) / 1000  # one value per seed, around 0


def of_sizes(**accuracies):
    """Rows of nets that fit the training set, parameters (n10, n100, ...) → test accuracy."""
    frames = [
        pd.DataFrame({"parameters": int(size[1:]), "seed": SEEDS, "test_accuracy": value + NOISE * i, "status": "ok"})
        for i, (size, value) in enumerate(accuracies.items())
    ]
    return pd.concat(frames).assign(test_loss=lambda rows: 1 - rows.test_accuracy)


def test_larger_nets_are_compared_with_the_smallest_that_fits():
    """Sizes that are better, worse and neither, and what holds for the largest."""
    rows = of_sizes(n10=0.5, n100=0.6, n1000=0.5, n10000=0.4)
    text = parameter_count._oversized(rows)
    assert "Of 3 larger sizes" in text
    assert "(10 parameters), test accuracy is measurably higher in 1, lower in 1 and not distinguishable in 1" in text
    assert "test loss is measurably higher in 1, lower in 1" in text
    assert "is measurably less accurate" in text
    assert "is not measurably less accurate" in parameter_count._oversized(of_sizes(n10=0.5, n100=0.6))
    assert parameter_count._oversized(rows.assign(status="target not reached")) == ""


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


def test_the_lowest_training_accuracy_is_that_of_the_rows():
    """Of the means and of single nets, not rounded up to more than there is."""
    nets = {
        share: pd.DataFrame({"train_accuracy": train, "test_accuracy": test})
        for share, train, test in ((0.0, [1.0, 1.0], 0.9), (0.5, [0.96, 0.98], 0.5), (1.0, [0.99, 0.99], 0.1))
    }
    text = random_labels._between(nets)
    assert "it falls as the share grows" in text
    assert "lowest at 50%, with 0.970; the lowest of a single net is 0.960" in text


def test_small_nets_that_missed_the_target_are_set_apart():
    """Their losses are not those of the nets of the figure."""
    rows = pd.DataFrame({"train_loss": [0.4, 0.7], "status": "target not reached"})
    assert "target of 0.05 was not reached" in sharpness._above(rows, {"target_loss": 0.05})
    assert sharpness._above(rows.assign(status="ok"), {"target_loss": 0.05}) == ""
