"""Finding spectrum on made-up rows whose verdicts are known."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings.landscape import spectrum

SETTINGS = {"data": "a, b", "seeds": 5, "classes": 10, "resolution": 0.01, "class_batch_size": 100}


def ranked(shares, seeds=5, slope=1.0):
    """Rows whose λ₁ rises with the batch size, and tables with given shares near zero and outliers per class."""
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
        net | {"classes": classes, "seed": seed, "rank": rank, "eigenvalue": 10.0 if rank <= last else 0.01 / rank}
        for classes in (2, 4, 10)
        for seed in range(seeds)
        for last in [round(slope * classes) + seed % 2]
        for rank in range(1, 21)
    ]
    tables = {"nets": whole, "eigenvalues": values, "density": density, "layers": [], "dimensions": []}
    return pd.DataFrame(rows), {name: pd.DataFrame(table) for name, table in tables.items()}


@pytest.mark.parametrize(("share", "bulk"), [(0.99, "held"), (0.5, "did not hold")])
def test_verdicts_follow_the_rows(share, bulk):
    """λ₁ rises on train and falls on test, there are 9.4 outliers, and two by the ratio."""
    frame, tables = ranked(share)
    found = {c.claim.partition(" (")[0]: c for c in spectrum.claims(frame, SETTINGS, **tables)}
    verdicts = {claim: line.verdict for claim, line in found.items()}
    assert verdicts["a: larger batches end at a larger λ₁ of the training loss"] == "held"
    assert verdicts["a: larger batches end at a larger λ₁ of the test loss"] == "did not hold"
    assert verdicts["a: nets of larger λ₁ have the lower test accuracy"] == "held"
    assert verdicts["a: nets of larger λ₁ have the higher test loss"] == "did not hold"
    assert found["a: nets of larger λ₁ have the higher test loss"].source == "our hypothesis"
    assert verdicts["The bulk of the spectrum is near zero"] == bulk
    counts = [c.verdict for c in spectrum.claims(frame, SETTINGS, **tables) if "about as many outliers" in c.claim]
    assert counts == ["held", "too noisy", "too noisy", "did not hold", "too noisy", "too noisy"]  # of 10, 4, 2 classes
    fewer = [c for c in spectrum.claims(frame, SETTINGS, **tables) if "one outlier fewer" in c.claim]
    assert [(c.source, c.verdict) for c in fewer] == [("our hypothesis", "did not hold")] * 2


@pytest.mark.parametrize(("slope", "verdict"), [(1.0, "held"), (0.3, "did not hold"), (1.7, "did not hold")])
def test_outliers_follow_classes_by_the_slope(slope, verdict):
    """A rank correlation of 1 is not enough: the number must grow by about one per class."""
    frame, tables = ranked(0.99, slope=slope)
    lines = [c for c in spectrum.claims(frame, SETTINGS, **tables) if "follows the number of classes" in c.claim]
    assert [line.verdict for line in lines] == [verdict] * 2
    assert lines[0].ours == pytest.approx(slope, abs=0.1)
    assert lines[0].seeds == 5


def test_nets_that_diverged_are_counted():
    """They are in the caveat, and the others give the verdict."""
    frame, tables = ranked(0.99)
    lost = frame.seed == 4
    frame = frame.assign(status=np.where(lost, "diverged", "ok"))
    frame.loc[lost, ["train_largest", "test_largest", "test_loss", "test_accuracy"]] = np.nan
    first = next(iter(spectrum.claims(frame, SETTINGS, **tables)))
    assert (first.seeds, first.verdict, first.caveat) == (4, "held", "3 of 15 nets diverged")


def test_one_outlier_fewer_than_classes_is_seen():
    """By both rules at every number of classes."""
    frame, tables = ranked(0.99)
    values = tables["eigenvalues"]
    values["eigenvalue"] = np.where(values["rank"] < values.classes, 10.0, 0.01 / values["rank"])
    fewer = [c for c in spectrum.claims(frame, SETTINGS, **tables) if "one outlier fewer" in c.claim]
    assert [(c.ours, c.verdict) for c in fewer] == [(0, "held")] * 2


@pytest.mark.parametrize(("second", "said"), [(1.0, "2 [1.9, 2.1] times that of the hidden layer 1"), (2.0, "or of")])
def test_layers_are_told_apart_by_their_seeds(second, said):
    """A layer is named alone only where its block's eigenvalue is measurably the largest."""
    noise = np.linspace(-0.1, 0.1, 5)
    blocks = pd.DataFrame({"hidden_1": second + noise[::-1] / 10, "logits": 2 + noise / 10})
    blocks["hidden_1"] = second * (1 + noise / 4)
    blocks["logits"] = 2 * (1 + noise[[2, 0, 4, 1, 3]] / 4)
    text = spectrum._steepest(blocks, 5000)
    assert text.startswith("At batch size 5,000 the largest eigenvalue of a layer’s block is that of the")
    assert said.split(" [")[0] in text
