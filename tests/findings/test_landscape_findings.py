"""Findings of part landscape on made-up rows whose verdicts are known, and on rows of nets that diverged."""

import numpy as np
import pandas as pd
import pytest

from hw1 import catalogue, records
from hw1.findings.landscape import flatness, loss_functions, spectrum, straight_line


def ranked(shares, seeds=5):
    """Rows of the spectrum whose λ₁ rises with the batch size, and its tables with given shares near zero."""
    rng, sizes = np.random.default_rng(0), (10, 100, 1000)
    nets = [{"data": "a", "batch_size": size, "seed": seed} for size in sizes for seed in range(seeds)]
    rows = [net | {"train_largest": net["batch_size"] + rng.random(), "status": "ok"} for net in nets]
    rows = [row | {"test_largest": -row["train_largest"], "test_accuracy": 1 / row["train_largest"]} for row in rows]
    rows = [row | {"test_loss": 1 / row["train_largest"]} for row in rows]
    whole = [net | {"outliers": 9 + net["seed"] % 2, "largest_ratio": 2 + net["seed"] % 2} for net in nets]
    density = [
        net | {"node": node, "weight": weight + 1e-3 * (-1) ** net["seed"] * (1 - 2 * node)}
        for net in nets
        for node, weight in ((0.0, shares), (1.0, 1 - shares))
    ]
    net = {"data": "a", "batch_size": 100}
    values = [
        net | {"classes": classes, "seed": seed, "rank": rank, "eigenvalue": 10.0 if rank < classes else 0.01 / rank}
        for classes in (2, 4, 10)
        for seed in range(seeds)
        for rank in range(1, 21)
    ]
    tables = {"nets": whole, "eigenvalues": values, "density": density, "layers": [], "dimensions": []}
    return pd.DataFrame(rows), {name: pd.DataFrame(table) for name, table in tables.items()}


@pytest.mark.parametrize(("share", "bulk"), [(0.99, "held"), (0.5, "did not hold")])
def test_verdicts_follow_the_rows(share, bulk):
    """Made-up rows with known verdicts: λ₁ rises on train and falls on test, 9.4 outliers, and one by the ratio."""
    frame, tables = ranked(share)
    settings = {"data": "a, b", "seeds": 5, "classes": 10, "resolution": 0.01, "class_batch_size": 100}
    found = {c.claim.partition(" (")[0]: c.verdict for c in spectrum.claims(frame, settings, **tables)}
    assert found["a: larger batches end at a larger λ₁ of the training loss"] == "held"
    assert found["a: larger batches end at a larger λ₁ of the test loss"] == "did not hold"
    assert found["a: nets of larger λ₁ have the lower test accuracy"] == "held"
    assert found["a: nets of larger λ₁ have the higher test loss"] == "did not hold"
    assert found["The bulk of the spectrum is near zero"] == bulk
    counts = [c.verdict for c in spectrum.claims(frame, settings, **tables) if "outliers" in c.claim]
    assert counts == ["held", "did not hold", "held", "held"]  # number by the gap and by the ratio, then the trends


def test_evaluation_of_a_barrier():
    """Interior maximum of the error less the larger end, which can be negative; a seed without a line has none."""
    accuracy = {0: (0.9, 0.5, 0.8), 1: (0.9, 0.95, 0.8)}
    rows = [(s, a, v) for s, values in accuracy.items() for a, v in zip((0, 0.5, 1), values, strict=True)]
    lines = pd.DataFrame(rows, columns=["seed", "alpha", "train_accuracy"])
    found = loss_functions._barriers(lines, {"first_seed": 0, "seeds": 3})
    np.testing.assert_allclose(found, [0.3, -0.15, np.nan])


def test_flat_claims_follow_the_rows():
    """A made-up population in which sharper nets have the higher test loss, but the higher test accuracy too."""
    rng = np.random.default_rng(0)
    sharp, seed = rng.random(60), np.repeat(np.arange(5), 12)
    columns = ("spectral_norm", "trace", "ball_sharpness", "subspace_sharpness")
    frame = pd.DataFrame({"net": "course", "status": "ok", "seed": seed, "train_loss": 0.05, "test_loss": sharp + 1})
    frame = frame.assign(**dict.fromkeys(columns, sharp**2), log_volume=-sharp, train_accuracy=1.0)
    frame = frame.assign(test_accuracy=sharp / 2)
    radii = pd.DataFrame({"seed": [0, 1] * 2, "epsilon": [0.1] * 2 + [1.0] * 2, "maximum": 2.0, "quadratic": 2.0})
    radii.loc[2:, "quadratic"] = 6.0, 8.0
    claims = list(flatness.claims(frame, {"seeds": 5}, radii))
    assert [claim.ours for claim in claims] == pytest.approx([1] * 5 + [1] * 5 + [1] + [1, np.sqrt(12)])
    assert [claim.verdict for claim in claims[:11]] == ["held"] * 5 + ["did not hold"] * 5 + ["held"]
    opposite = list(flatness.claims(frame.assign(test_loss=1 - sharp), {"seeds": 5}, radii))
    assert [claim.ours for claim in opposite[:5]] == pytest.approx([-1] * 5)
    assert {claim.verdict for claim in opposite[:5]} == {"did not hold"}


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
