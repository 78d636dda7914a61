"""Finding flatness on made-up populations: within cells, over all nets, and Simpson's paradox between the two."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings.landscape import flatness

RADII = pd.DataFrame({"seed": [0, 1] * 2, "epsilon": [0.1] * 2 + [1.0] * 2, "maximum": 2.0, "quadratic": 2.0})
RADII.loc[2:, "quadratic"] = 6.0, 8.0
SETTINGS = {"seeds": 8}
SEEDS = 8


def population(within, between, noise=0.0):
    """Nets of six cells; test loss moves by `within` with a net's sharpness in its cell, by `between` with the cell's.

    Their sharpness is that of the cell, 0 to 5, plus something below 1 that differs from seed to seed.
    """
    rng, rows = np.random.default_rng(0), []
    for cell, (size, rate) in enumerate((size, rate) for size in (20, 200, 2000) for rate in (1e-3, 1e-2)):
        for seed in range(SEEDS):
            own = rng.random()
            loss = 1 + between * cell + within * own + noise * rng.standard_normal()
            rows.append((size, rate, seed, cell + own, loss))
    frame = pd.DataFrame(rows, columns=["batch_size", "learning_rate", "seed", "sharp", "test_loss"])
    columns = ("spectral_norm", "trace", "ball_sharpness", "subspace_sharpness")
    frame = frame.assign(net="course", status="ok", train_loss=0.05, train_accuracy=1.0, log_volume=-frame.sharp)
    return frame.assign(**dict.fromkeys(columns, frame.sharp), test_accuracy=1 - frame.test_loss / 10)


@pytest.mark.parametrize(("within", "between"), [(-0.1, 1.0), (0.1, -1.0)])
def test_simpsons_paradox(within, between):
    """Over all nets the opposite of what holds at equal settings: the verdicts follow the latter, the text says so."""
    frame = population(within, between)
    lines = list(flatness.claims(frame, SETTINGS, RADII))
    assert [line.ours for line in lines[:10]] == pytest.approx([np.sign(within)] * 5 + [-np.sign(within)] * 5)
    assert {line.verdict for line in lines[:10]} == {"held" if within > 0 else "did not hold"}
    course = flatness._course(frame)
    pooled = flatness.rank_correlation(course, "trace", "test_loss")
    assert np.sign(pooled.value) == np.sign(between)
    text = flatness._pooled(course)
    assert "Simpson's paradox: batch size and learning rate move both quantities" in text
    assert all(f"{measure[0]} and test loss" in text for measure in flatness.MEASURES.values())


def test_no_paradox_where_both_agree():
    """Nor is one invented where neither shows anything."""
    assert flatness._pooled(flatness._course(population(0.1, 1.0))).endswith(
        "So they agree with those at fixed settings."
    )
    noise = flatness._course(population(0.0, 0.0, noise=1.0))
    assert "opposite" not in flatness._pooled(noise)
    assert "by none of the five" in flatness._within(noise)
    assert "do not show that flat nets reliably generalise better" in flatness._within(noise)


def test_sentences_follow_the_sign_within_cells():
    """Better or worse by every measure."""
    assert "flat nets generalise better by every measure" in flatness._within(flatness._course(population(0.1, 0.0)))
    assert "flat nets generalise worse by every measure" in flatness._within(flatness._course(population(-0.1, 0.0)))


def test_other_claims_follow_the_rows():
    """Measures that agree, and the quadratic over the maximum at the smallest and the largest radius."""
    *_, agreement, small, large = flatness.claims(population(0.1, 1.0), SETTINGS, RADII)
    assert (agreement.ours, agreement.verdict) == (pytest.approx(1), "held")
    assert [small.ours, large.ours] == pytest.approx([1, np.sqrt(12)])
    one = population(0.1, 1.0).assign(trace=lambda rows: -rows.trace)
    assert list(flatness.claims(one, SETTINGS, RADII))[10].verdict == "did not hold"


def test_few_seeds_and_diverged_nets_leave_text_and_claims():
    """One seed, and no net at all: no crash, and no verdict that needs more."""
    one = population(0.1, 1.0).query("seed == 0")
    lines = list(flatness.claims(one, SETTINGS, RADII.iloc[:0]))
    assert {line.verdict for line in lines[:10]} == {"not comparable"}
    assert "cannot be compared" in flatness._within(flatness._course(one))
    lost = population(0.1, 1.0).assign(status="diverged")
    assert {line.verdict for line in list(flatness.claims(lost, SETTINGS, RADII))[:11]} == {"not comparable"}
    assert flatness._agreement(flatness._course(lost)).startswith("There are too few nets")
