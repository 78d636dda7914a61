"""Findings of memorization on made-up rows whose verdicts are known."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings.dynamics import memorization
from hw1.findings.verdict import FAILED, HELD, INCOMPARABLE, NOISY, NOT, PASSED

SETTINGS = {
    "losses": ["nll", "squared", "hinge"],
    "learning_rates": [0.05, 0.02, 0.02],
    "multiples": [1, 2, 4],
    "hidden": [30, 20],
    "train": 1000,
    "batch_size": 50,
    "epochs": 100,
    "momentum": 0.9,
    "near": 0.02,
    "seeds": 4,
    "shape": [28, 28],
    "classes": 10,
}
# What each quantity does per doubling of time: exponents.
NLL = {"train_loss": -1, "norm": 0.3, "normalised_margin": 0.2, "test_loss": 0.2, "largest_eigenvalue": -1}
STAYS = dict.fromkeys(NLL, 0)


def trained(exponents, losses=("nll",), seeds=4, data="digits", status="ok", multiples=(1, 2, 4)):
    """Rows of nets whose quantities are powers of time with a little noise that differs from seed to seed."""
    rows = []
    for loss in losses:
        for seed in range(seeds):
            for multiple in multiples:
                noise = 1 + 0.02 * np.sin(7 * seed + multiple)
                values = {name: multiple**power * noise for name, power in exponents.items()}
                keys = {"data": data, "loss": loss, "seed": seed, "multiple": multiple, "epoch": multiple}
                four = {"train_accuracy": 1.0, "test_accuracy": 0.9 + 1e-4 * seed * multiple, "margin": 1.0}
                rows.append({**keys, **four, **values, "status": status})
    return pd.DataFrame(rows)


def duplicates(conflicts=0, data="digits"):
    """The table of one data set with so many groups of two labels."""
    row = {"data": data, "images": 100, "duplicates": 5, "conflicts": conflicts, "ceiling": 1 - conflicts / 100}
    row |= {"near_duplicates": 7, "near_conflicts": conflicts, "near_ceiling": 1 - conflicts / 100}
    row |= {"nearest": 0.1, "neighbour_error": 0.05, "least_distance": 0.08}
    return pd.DataFrame([row | {"part": part} for part in ("train", "test", "all")])


def verdicts(rows, table=None, **changes):
    """Claim → verdict."""
    found = memorization.claims(rows, SETTINGS | changes, duplicates() if table is None else table)
    return {claim.claim: claim.verdict for claim in found}


def starting(found, start):
    """The verdict of the one claim that begins so."""
    (verdict,) = [verdict for claim, verdict in found.items() if claim.startswith(start)]
    return verdict


@pytest.mark.parametrize(("data", "conflicts", "verdict"), [("digits", 0, PASSED), ("digits", 2, FAILED)])
def test_a_ceiling_is_a_check(data, conflicts, verdict):
    """It passes if no label contradicts another."""
    found = verdicts(trained(NLL), duplicates(conflicts, data))
    assert starting(found, f"The images of {data} can be memorised") == verdict


@pytest.mark.parametrize(("conflicts", "verdict"), [(9, PASSED), (8, FAILED)])
def test_the_published_count_is_checked(conflicts, verdict):
    """Nine in CIFAR-100."""
    found = verdicts(trained(NLL), duplicates(conflicts, "cifar100"))
    assert starting(found, "cifar100 has 9") == verdict


def test_the_exponent_of_the_loss_is_recovered():
    """From the last two measurements, whatever came before."""
    rows = trained(NLL | {"train_loss": -1.3})
    rows.loc[rows.multiple == 1, "train_loss"] = 100
    assert memorization.slope(rows, SETTINGS, "digits", "nll").value == pytest.approx(-1.3, abs=0.05)


def test_what_the_sources_say_holds_of_rows_made_so():
    """And fails where nothing moves."""
    held = verdicts(trained(NLL, SETTINGS["losses"]))
    still = verdicts(trained(STAYS, SETTINGS["losses"]))
    for start, elsewhere in (
        ("Beyond training accuracy 1 the loss falls as 1/t", NOT),
        ("Beyond training accuracy 1 the norm of the weights goes on growing", NOISY),
        ("Beyond training accuracy 1 the normalised margin grows", NOISY),
        ("Beyond training accuracy 1 the test loss rises", NOISY),
    ):
        assert starting(held, start) == HELD
        assert starting(still, start) in (elsewhere, NOT, "smaller than the effect")
    assert starting(held, "Beyond training accuracy 1 the test accuracy does not fall") == HELD
    assert starting(held, "Beyond training accuracy 1 λ₁ stays") == NOT
    assert starting(still, "Beyond training accuracy 1 λ₁ stays") == HELD


def test_a_hinge_loss_that_ends():
    """Exactly 0 in all nets, or in none."""
    rows = trained(STAYS, SETTINGS["losses"])
    start = "The loss becomes exactly 0"
    assert starting(verdicts(rows), start) == NOT
    rows.loc[(rows.loss == "hinge") & (rows.multiple == 4), ["train_loss", "largest_eigenvalue"]] = 0
    assert starting(verdicts(rows), start) == HELD
    text = " ".join(memorization.comment(rows, SETTINGS, duplicates())["comment"])
    assert "exactly 0 in all nets" in text
    memorization.figure(rows, SETTINGS, duplicates())


def test_nets_that_never_fit_are_counted_and_not_compared():
    """Their rows, with the multiple 0, enter no statistic."""
    rows = trained(NLL)
    missed = rows[rows.seed > 0].drop_duplicates("seed").assign(multiple=0, status="target not reached", train_loss=9.0)
    mixed = pd.concat([rows[rows.seed == 0], missed])
    assert memorization.growth(mixed, SETTINGS, "digits", "nll", "norm")[3:5] == (1, 3)
    assert starting(verdicts(mixed, losses=["nll"]), "Beyond training accuracy 1 λ₁ falls") == INCOMPARABLE
    settings = SETTINGS | {"losses": ["nll"], "learning_rates": [0.1]}
    text = " ".join(memorization.comment(mixed, settings, duplicates())["comment"])
    assert "1 of the 4 nets came to training accuracy 1" in text


def test_diverged_and_single_seeds_are_drawn_and_told():
    """One seed; a seed that diverged; a data set in which all diverged; one multiple."""
    lost = pd.DataFrame({"data": "digits", "loss": "nll", "seed": range(4), "multiple": np.nan, "status": "diverged"})
    lost = lost.reindex(columns=trained(NLL).columns)
    for rows, changes in (
        (trained(NLL, seeds=1), {"losses": ["nll"], "learning_rates": [0.1], "seeds": 1}),
        (pd.concat([trained(NLL, seeds=3), lost.tail(1)]), {"losses": ["nll"], "learning_rates": [0.1]}),
        (lost, {"losses": ["nll"], "learning_rates": [0.1]}),
        (trained(NLL, multiples=(1,)), {"losses": ["nll"], "learning_rates": [0.1], "multiples": [1]}),
    ):
        settings = SETTINGS | changes
        memorization.figure(rows, settings, duplicates())
        found = memorization.comment(rows, settings, duplicates())
        assert "nan" not in " ".join(found["comment"])
        list(memorization.claims(rows, settings, duplicates()))


def test_a_ceiling_below_1_is_never_written_as_1():
    """One image of 70,000, and of ten million."""
    assert memorization._ceiling(1.0) == "1"
    assert memorization._ceiling(1 - 1 / 70000) == "0.99999"
    assert memorization._ceiling(1 - 1e-7) == "0.99999"
    lines = memorization.table(trained(NLL), SETTINGS, duplicates(1))["lines"]
    assert {len(line) for line in lines} == {10}
