"""Findings of flat_seeking on made-up rows whose verdicts are known."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings.dynamics import flat_seeking
from hw1.findings.verdict import HELD, NOISY, NOT, SMALL

SETTINGS = {
    "width": 30,
    "blocks": 3,
    "learning_rate": 0.05,
    "momentum": 0.9,
    "batch_size": 50,
    "radius": 0.1,
    "inner_steps": 10,
    "inner_rate": 0.2,
    "scope": 0.1,
    "constant": 0.6,
    "penalty": 5e-4,
    "epochs": 100,
    "seeds": 6,
}


def nets(seeds=6, **methods):
    """Rows of plain training and of methods, each given as (gain in accuracy, ratio of all measures of sharpness)."""
    rows = []
    for name, (gain, ratio) in {"plain": (0, 1), **methods}.items():
        for seed in range(seeds):
            own = 1 + 0.1 * seed  # what a seed's nets share cancels in pairs
            noise = (1 + 0.03 * np.sin(5 * seed + len(name))) if name != "plain" else 1
            row = {"method": name.replace("_", " "), "seed": seed, "train_loss": 0.01, "status": "ok"}
            row |= {"test_accuracy": 0.9 + 0.01 * seed + gain + 0.02 * (noise - 1)}
            rows.append(row | dict.fromkeys(flat_seeking.MEASURES, ratio * own * noise))
    return pd.DataFrame(rows)


def verdicts(rows):
    """Of each claim whether it is on flatness by φ, on accuracy or on both → verdict."""
    found = {}
    for line in flat_seeking.claims(rows, SETTINGS):
        for start, name in (
            ("Minima are flatter with SAM than with plain training by φ", "flatter"),
            ("Nets generalise better with SAM", "better"),
            ("Flattening improves generalisation: SAM", "both"),
            ("Twice as many steps", "longer"),
        ):
            if line.claim.startswith(start):
                found[name] = line.verdict
    return found


@pytest.mark.parametrize(
    ("gain", "ratio", "flatter", "better", "both"),
    [
        (0.02, 0.5, HELD, HELD, HELD),
        (0.0, 0.5, HELD, SMALL, SMALL),
        (-0.02, 0.5, HELD, NOT, NOT),
        (0.02, 2.0, NOT, HELD, NOT),
        (0.02, 1.0, SMALL, HELD, SMALL),
    ],
)
def test_both_needs_both(gain, ratio, flatter, better, both):
    """A method that only flattens, or is only better, does not show that flattening improves generalisation."""
    assert verdicts(nets(SAM=(gain, ratio))) == {"flatter": flatter, "better": better, "both": both}


def test_one_measure_that_rises_is_not_flatter():
    """All measures of sharpness must fall."""
    rows = nets(SAM=(0.02, 0.5))
    rows.loc[rows.method == "SAM", "adaptive"] *= 4
    assert verdicts(rows)["both"] == NOT
    assert "flatter by φ and the trace of the Hessian and sharper by the adaptive sharpness" in flat_seeking._method(
        rows, "SAM"
    )


def test_the_control_is_a_claim_of_its_own():
    """Training that changes by less than half a point is at its plateau."""
    rows = nets(longer=(0.0, 1.0))
    rows.method = rows.method.replace("longer", flat_seeking.LONGER)
    assert verdicts(rows) == {"longer": HELD}
    rows.loc[rows.method == flat_seeking.LONGER, "test_accuracy"] += 0.01
    assert verdicts(rows) == {"longer": NOT}


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ({"SAM": (0.02, 0.5), "weight_averaging": (0.02, 0.5)}, "come together"),
        ({"SAM": (0.02, 0.5), "weight_averaging": (0.02, 1.0)}, "All that flatten by every measure are better"),
        ({"SAM": (0.0, 0.5), "weight_averaging": (0.02, 0.5)}, "flattening alone does not improve"),
        ({"SAM": (0.02, 2.0)}, "something else must make it so"),
        ({"SAM": (0.0, 1.0)}, "cannot say what flattening does"),
    ],
)
def test_the_answer_follows_from_all_methods(methods, said):
    """From which are flatter and which are better."""
    assert said in flat_seeking._answer(nets(**methods))


def test_diverged_nets_and_single_seeds_are_drawn_and_told():
    """One seed, a method that diverged, plain training that diverged, a trace that is not positive."""
    lost = nets(SAM=(0.02, 0.5))
    lost.loc[lost.method == "SAM", ["test_accuracy", "train_loss", *flat_seeking.MEASURES]] = np.nan
    lost.loc[lost.method == "SAM", "status"] = "diverged"
    none = lost.assign(status="diverged")
    none[["test_accuracy", "train_loss", *flat_seeking.MEASURES]] = np.nan
    negative = nets(SAM=(0.02, 0.5))
    negative.loc[0, "trace"] = -1.0
    for rows in (nets(seeds=1, SAM=(0.02, 0.5)), lost, none, negative):
        flat_seeking.figure(rows, SETTINGS)
        text = " ".join(flat_seeking.comment(rows, SETTINGS)["comment"])
        assert text
        assert "nan" not in text
        list(flat_seeking.claims(rows, SETTINGS))
    assert flat_seeking._ratio(negative, "SAM", "trace").missing == 1


def test_nets_short_of_their_plateau_are_told():
    """By method, and in the claims."""
    rows = nets(SAM=(0.02, 0.5))
    rows.loc[rows.method == "SAM", "status"] = "target not reached"
    assert "6 of the 12 nets were still getting better there (SAM)" in flat_seeking.comment(rows, SETTINGS)["method"]
    assert NOISY not in verdicts(rows).values()
