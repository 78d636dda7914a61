"""Verdicts and sentences on random labels, from made-up rows in which each result is known."""

import math

import numpy as np
import pandas as pd
import pytest

from hw1.findings.generalization import random_labels
from hw1.findings.verdict import HELD, INCOMPARABLE, NOT

SETTINGS = {
    "classes": 10,
    "chance": 0.11,
    "train": 1000,
    "batch_size": 100,
    "hidden": [8],
    "shape": [2, 2],
    "target_loss": 0.005,
    "epochs": 40,
}
UNIFORM = math.log(10)


def net(pixels, fraction, seed, epochs, test=0.1, train=1.0, status="ok", spike=False):
    """A net whose training accuracy is `train` from that epoch on; with a spike, not in the last epoch."""
    last = int(epochs) + 2
    rows = [
        {
            "pixels": pixels,
            "fraction": fraction,
            "seed": seed,
            "epoch": epoch,
            "train_loss": UNIFORM * 0.5 ** (6 * epoch / epochs),
            "test_loss": 5.0,
            "train_accuracy": train if epoch >= epochs else 0.5,
            "test_accuracy": test + seed / 1000,
            "status": status,
        }
        for epoch in range(1, last + 1)
    ]
    if spike:
        rows[-1] |= {"train_loss": 3.0, "train_accuracy": 0.4, "test_accuracy": 0.9}
    if status == "diverged":
        rows[-1] |= dict.fromkeys(("train_loss", "test_loss", "train_accuracy", "test_accuracy"), np.nan)
    return rows


def run(seeds=3, **changes):
    """Rows of true and of random labels, which take 4 and 12 epochs, of 50 % of the labels, and of the other images."""
    rows = []
    for seed in range(seeds):
        rows += net("true", 0.0, seed, 4 + seed % 2, 0.9)
        rows += net("true", 0.5, seed, 9 + seed % 2, 0.5)
        rows += net("true", 1.0, seed, 12 + seed % 2, **changes)
        for kind in random_labels.KINDS:
            rows += net(kind, 0.0, seed, 3 + seed % 2, 0.9 if kind == "shuffled" else 0.1)
    return pd.DataFrame(rows)


def verdicts(rows, settings=SETTINGS):
    """The verdicts in order."""
    return [found.verdict for found in random_labels.claims(rows, settings)]


def test_all_hold_where_all_is_as_the_source_says():
    """Each claim, and the sentences that go with them; two shares above 0 have no correlation."""
    rows = run()
    assert verdicts(rows) == [HELD] * 7 + [INCOMPARABLE, HELD]
    text = " ".join(random_labels.comment(rows, SETTINGS)["comment"])
    assert "all 3 nets memorise them" in text
    assert "knows nothing of test images" in text
    assert "more than the ln 10 = 2.30 nats" in text
    assert "it falls as the share grows" in text
    assert "Memorising takes 4.33 epochs at 0%, and 9.33 to 12.3 at the other shares. " in text


def test_no_verdict_hangs_on_the_last_epoch():
    """A spike after the labels were memorised changes nothing."""
    assert verdicts(run(spike=True)) == verdicts(run())
    judged = random_labels.judged(run(spike=True), 10)
    assert (judged.train_accuracy == 1).all()
    assert judged.test_accuracy.max() < 0.91
    assert list(judged[(judged.pixels == "true") & (judged.fraction == 1)].memorised) == [12, 13, 12]


def test_labels_that_are_not_fitted_are_said_not_to_be():
    """The claim fails; that the net is at chance is then compared with nothing."""
    rows = run(train=0.9, status="target not reached")
    found = verdicts(rows)
    assert found[0] == NOT
    assert found[2] == found[3] == INCOMPARABLE
    text = " ".join(random_labels.comment(rows, SETTINGS)["comment"])
    assert "none of the 3 nets memorise them" in text
    assert "knows nothing of test images" not in text
    assert "3 nets of 9 did not memorise" in text


@pytest.mark.parametrize(("test", "verdict"), [(0.02, HELD), (0.128, NOT), (0.2, NOT)])
def test_only_more_than_chance_speaks_against_chance(test, verdict):
    """By the share of the largest class, plus 0.02: 0.13 with these settings, where 1/classes plus 0.02 is 0.12."""
    rows = run(test=test if verdict == HELD else test + 0.01)
    assert verdicts(rows)[2] == verdict
    assert verdicts(run(test=0.122))[2] == HELD


def test_the_time_at_which_fitting_starts_is_interpolated():
    """Half the loss of uniform predictions: here after a sixth of the epochs until memorised, on the first segment."""
    found = random_labels.judged(pd.DataFrame(net("true", 0.0, 0, 6)), 10).iloc[0]
    assert found.started == pytest.approx(1)
    between = random_labels.judged(pd.DataFrame(net("true", 0.0, 0, 3)), 10).iloc[0]
    assert between.started == pytest.approx(0.5 / 0.75)  # linear from ln 10 to a quarter of it


def test_slowdown_is_a_ratio_of_epochs_of_one_seed():
    """A net that did not memorise is missing."""
    nets = random_labels.judged(run(seeds=2), 10)
    assert random_labels.slowdown(nets, "memorised").value == pytest.approx(math.sqrt(12 / 4 * 13 / 5))
    nets.loc[(nets.fraction == 1) & (nets.seed == 0), "memorised"] = np.nan
    found = random_labels.slowdown(nets, "memorised")
    assert found.value == pytest.approx(13 / 5)
    assert (found.seeds, found.missing) == (1, 1)


def test_a_stopped_net_keeps_its_values_in_means():
    """Else the mean at late epochs would be that of the slow seeds."""
    rows = pd.DataFrame(net("true", 0.0, 0, 4) + net("true", 0.0, 1, 9))
    held = random_labels._held(rows)
    assert list(held.groupby("epoch").seed.nunique()) == [2] * 11
    first = held[held.seed == 0].set_index("epoch").train_loss
    assert first[11] == first[6] < first[5]


@pytest.mark.parametrize(("last", "said"), [(16, False), (9, True)])
def test_the_step_from_true_labels_does_not_decide_the_other_shares(last, said):
    """Shares above 0 are judged without it, and where the time does not grow on, the text says so."""
    epochs = {0.0: 4, 0.2: 8, 0.4: 12, 0.6: 11 if said else 13, 0.8: 10 if said else 14, 1.0: last + 1}
    rows = [row for share, at in epochs.items() for s in range(4) for row in net("true", share, s, at + s % 2)]
    rows += [row for kind in random_labels.KINDS for s in range(4) for row in net(kind, 0.0, s, 3)]
    found = [line for line in random_labels.claims(pd.DataFrame(rows), SETTINGS) if "the longer" in line.claim]
    assert [("above 0" in line.claim) for line in found] == [False, True]
    assert found[0].ours > found[1].ours or not said
    text = " ".join(random_labels.comment(pd.DataFrame(rows), SETTINGS)["comment"])
    assert ("where more permuted labels are not shown to take longer" in text) == said
    assert "from 20% on and " in text
    assert "from 40% on" in text


@pytest.mark.parametrize(
    "rows",
    [
        run(seeds=1),
        run(seeds=2, status="diverged"),
        run()[lambda rows: (rows.pixels == "true") & (rows.fraction == 0.5)],
        run().assign(status="diverged"),
    ],
    ids=["one seed", "random labels diverged", "one share", "all diverged"],
)
def test_any_rows_are_drawn_judged_and_described(rows):
    """One seed, diverged nets, one share of labels and no other images."""
    figure = random_labels.figure(rows, SETTINGS)
    assert all(axes.lines or axes.texts for axes in figure.axes)
    assert len(verdicts(rows)) == 9
    assert "".join(random_labels.comment(rows, SETTINGS)["comment"])
    assert "nan" not in "".join(random_labels.comment(rows, SETTINGS)["comment"])
