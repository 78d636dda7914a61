"""Finding label_noise on made-up accuracies: an interaction, none, few seeds, nets that diverged."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings.dynamics import label_noise
from hw1.findings.verdict import HELD, INCOMPARABLE, NOT, SMALL

SETTINGS = {
    "seeds": 8,
    "train": 3000,
    "validation": 1000,
    "pool": 2,
    "hidden": (32,),
    "shape": (28, 28),
    "classes": 10,
    "chance": 0.1,
    "alphas": (0, 1, 20),
    "batch_sizes": (8, 128),
    "updates": (16000, 2000),
    "evaluations": 20,
}


def nets(kept=0.0, tuned=0.0, base=0.9, fall=0.005, seeds=8, noise=0.001, better=0.01):
    """Accuracies that fall by `fall` per unit of α; with noise large batches gain `kept` and `tuned` on small ones.

    Without noise large batches are better by `better`.
    """
    rng, rows = np.random.default_rng(0), []
    for alpha in SETTINGS["alphas"]:
        for size in SETTINGS["batch_sizes"]:
            for rate, gain in (("kept", kept), ("tuned", tuned)):
                for seed in range(seeds):
                    accuracy = base - fall * alpha + noise * rng.standard_normal()
                    accuracy += (better + gain * (alpha > 0)) * (size > 8)
                    rows.append((alpha, size, rate, seed, accuracy))
    frame = pd.DataFrame(rows, columns=["alpha", "batch_size", "rate", "seed", "test_accuracy"])
    frame = frame.assign(learning_rate=0.1, stopped=500, updates=1000, status="ok")
    return frame.assign(last_test_accuracy=frame.test_accuracy - 0.1)


def verdicts(rows):
    """Two of learning, then two of each kind of rate, kept before tuned."""
    return [line.verdict for line in label_noise.claims(rows, SETTINGS)]


def text(rows):
    """The paragraphs as one string."""
    return "\n".join(label_noise.comment(rows, SETTINGS)["comment"])


def test_the_interaction_by_hand():
    """With noise 0.03, without 0.01 of advantage: 0.02 more, at each α and over all."""
    rows = nets(tuned=0.02, noise=0.0)
    for alphas in ([1, 20], [20]):
        found = label_noise.interaction(rows, "tuned", SETTINGS, alphas)
        assert found[:3] == pytest.approx((0.02,) * 3)
        assert label_noise.interaction(rows, "kept", SETTINGS, alphas).value == pytest.approx(0, abs=1e-12)


def test_an_advantage_without_noise_is_no_interaction():
    """Large batches that are always better by a point are not favoured by noise."""
    assert verdicts(nets()) == [HELD] * 2 + [SMALL] * 4
    assert "a change of less than half a point" in text(nets())


def test_noise_that_favours_large_batches_until_the_rate_is_tuned():
    """Only the kept rate has the interaction."""
    rows = nets(kept=0.05)
    assert verdicts(rows) == [HELD] * 2 + [HELD] * 2 + [SMALL] * 2
    kept, tuned = text(rows).split("\n")[1:3]
    assert kept.startswith("With the rate that is best without noise")
    assert "noise favours large batches" in kept
    assert "for neither side" in tuned
    assert verdicts(nets(tuned=-0.05))[4:] == [NOT] * 2


def test_nets_that_do_not_learn():
    """At chance with the most noise."""
    lines = list(label_noise.claims(nets(fall=0.04), SETTINGS))
    assert [line.verdict for line in lines[:2]] == [NOT] * 2
    assert lines[0].published == "above 0.9 at α = 100"


def test_too_few_updates_are_said():
    """Where the best evaluation is the last one."""
    rows = nets()
    assert "the best evaluation is the last one in none of the 16 nets; at the very end test accuracy is 0.1" in text(
        rows
    )
    rows.loc[rows.alpha == 20, "stopped"] = 1000
    assert "the last one in all 16 nets" in text(rows)


def test_one_seed_and_one_noise_level():
    """No intervals, and one claim where one α is all."""
    settings = SETTINGS | {"alphas": (0, 20), "seeds": 1}
    rows = nets(seeds=1).query("alpha != 1")
    assert len(list(label_noise.claims(rows, settings))) == 4
    assert label_noise.figure(rows, settings)
    assert label_noise.comment(rows, settings)["comment"]


def test_nets_that_diverged_are_missing():
    """One is left out of its pair; if all are lost, nothing is compared."""
    rows = nets(kept=0.05)
    measured = ["test_accuracy", "last_test_accuracy", "stopped", "updates"]
    gone = (rows.seed == 0) & (rows.alpha == 20) & (rows.batch_size == 8)
    rows.loc[gone, "status"] = "diverged"
    rows.loc[gone, measured] = np.nan
    lines = list(label_noise.claims(rows, SETTINGS))
    assert [line.verdict for line in lines] == [HELD] * 2 + [HELD] * 2 + [SMALL] * 2
    assert lines[0].caveat == "1 of 8 nets diverged; 1 of 8 seeds have no value"
    assert lines[2].seeds == 7
    assert label_noise.figure(rows, SETTINGS)
    lost = rows.assign(status="diverged", **dict.fromkeys(measured, np.nan))
    assert set(verdicts(lost)) == {INCOMPARABLE}
    assert text(lost) == "All nets diverged, so that there is nothing to compare."
    assert label_noise.figure(lost, SETTINGS)
