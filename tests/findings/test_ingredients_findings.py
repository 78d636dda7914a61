"""Findings of ingredients on made-up rows whose verdicts are known."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from hw1.findings.dynamics import ingredients
from hw1.findings.verdict import HELD, NOT

SETTINGS = {
    "data": "fashion10k",
    "filters": [8, 16],
    "blocks": 1,
    "train": 2000,
    "pool": 2,
    "updates": 1000,
    "batch_size": 50,
    "momentum": 0.9,
    "weight_decay": 1e-3,
    "shift": 1,
    "learning_rate": 0.05,
    "seeds": 5,
}
ORDERED = {"momentum": 1.5, "weight decay": 3.0, "preprocessing": 6.0, "schedule": 1.0, "everything": 12.0}


def nets(fixed, retuned=None, seeds=5):
    """Rows of the full set-up, 90 %, and of ablations with these drops in points."""
    rows = []
    for name, rate, drop in (
        ("nothing", "fixed", 0.0),
        *((name, "fixed", drop) for name, drop in fixed.items()),
        *((name, "retuned", drop) for name, drop in (retuned or fixed).items()),
    ):
        for seed in range(seeds):
            noise = 0.2 * math.sin(3 * seed + len(name) + len(rate))
            accuracy = 0.9 + 0.01 * seed - (drop + noise * (name != "nothing")) / 100
            row = {"removed": name, "rate": rate, "learning_rate": 0.1, "seed": seed, "updates": 10, "status": "ok"}
            rows.append(row | {"test_accuracy": accuracy, "train_accuracy": accuracy + 0.05})
    return pd.DataFrame(rows)


def page_by_hand(table):
    """Page's L of a table of seeds and treatments in the predicted order, and its exact p by all permutations."""
    ranks = scipy.stats.rankdata(table, axis=1)
    weights = np.arange(1, table.shape[1] + 1)
    observed = (ranks * weights).sum()
    sums = {0.0: 1}
    single = [float(np.dot(order, weights)) for order in itertools.permutations(weights)]
    for _ in table:
        following = {}
        for total, count in sums.items():
            for value in single:
                following[total + value] = following.get(total + value, 0) + count
        sums = following
    return sum(count for total, count in sums.items() if total >= observed) / sum(sums.values())


def test_the_order_is_that_of_pages_test():
    """The p-value is the share of permutations within seeds with an L at least as large."""
    rows = nets(ORDERED | {"weight decay": 1.4, "momentum": 1.6})
    names = list(ingredients.PUBLISHED)
    table = np.stack([ingredients.drops(rows, name, "fixed") for name in names], axis=1)
    assert ingredients.order(rows, "fixed")[1] == pytest.approx(page_by_hand(table))


def test_drops_and_their_order_are_judged():
    """As published, or the other way round."""
    reverse = {"momentum": 12.0, "weight decay": 6.0, "preprocessing": 3.0, "schedule": 1.0, "everything": -1.5}
    found = {line.claim.split(" (")[0]: line for line in ingredients.claims(nets(ORDERED, reverse), SETTINGS)}
    order = "The drops have the published order, {}: momentum, weight decay, preprocessing and all four"
    assert found[order.format("rate of the full set-up")].verdict == HELD
    assert found[order.format("rate of the full set-up")].p < 0.001
    assert found[order.format("rate of its own")].verdict == NOT
    assert found["Test accuracy falls without momentum, rate of the full set-up"].verdict == HELD
    assert found["Test accuracy falls without momentum, rate of the full set-up"].published == "1.5 points"
    assert found["Test accuracy falls without all four, rate of its own"].verdict == NOT
    assert found["Test accuracy falls without schedule, rate of the full set-up"].source == "our hypothesis"


def test_drops_are_paired_by_seed():
    """What the nets of one seed share does not widen the interval."""
    drops = ingredients.drops(nets(ORDERED), "momentum", "fixed")
    assert drops.mean() == pytest.approx(1.5, abs=0.2)
    assert drops.std() < 0.3


def test_what_the_rate_is_to_blame_for_is_told():
    """A drop that becomes smaller with a rate of its own."""
    text = ingredients.comment(nets(ORDERED, ORDERED | {"momentum": 0.2}), SETTINGS)["comment"][0]
    assert "A part of the drop without momentum is the fault of the rate" in text
    assert "(1 of the 5 ablations)" in text


def test_single_seeds_and_diverged_nets_are_drawn_and_told():
    """One seed; an ablation that diverged; a full set-up that did; fewer published ablations than Page's test needs."""
    lost = nets(ORDERED)
    lost.loc[lost.removed == "momentum", ["test_accuracy", "train_accuracy", "updates"]] = np.nan
    lost.loc[lost.removed == "momentum", "status"] = "diverged"
    none = nets(ORDERED)
    none.loc[none.removed == "nothing", ["test_accuracy", "train_accuracy"]] = np.nan
    for rows in (nets(ORDERED, seeds=1), lost, none, nets({"momentum": 1.0, "schedule": 1.0})):
        ingredients.figure(rows, SETTINGS)
        found = ingredients.comment(rows, SETTINGS)
        assert found["comment"][0]
        assert "nan" not in found["comment"][0]
        list(ingredients.claims(rows, SETTINGS))
