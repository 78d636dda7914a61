"""Finding flatness on made-up populations: within cells, over all nets, and Simpson's paradox between the two."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings.landscape import flatness

RADII = pd.DataFrame({"seed": [0, 1] * 2, "epsilon": [0.1] * 2 + [1.0] * 2, "maximum": 2.0, "quadratic": 2.0})
RADII.loc[2:, "quadratic"] = 6.0, 8.0
SETTINGS = {"seeds": 8, "rays": 50, "small_rays": 300}
SEEDS = 8
RESCALED = pd.DataFrame(
    [
        {"seed": seed, "alpha": alpha, "region": region, "exponent": 4, "effective": 3.0, "log_volume": volume}
        for seed in (0, 1, 2)
        for alpha in (0.1, 1.0, 10.0)
        for region, volume in (
            ("whole", (4 + 0.01 * seed) * np.log(alpha)),
            ("section", -abs(np.log(alpha)) * (1 + 0.01 * seed)),
        )
    ]
)


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
    lines = list(flatness.claims(frame, SETTINGS, RADII, RESCALED))
    assert [line.ours for line in lines[:10]] == pytest.approx([np.sign(within)] * 5 + [-np.sign(within)] * 5)
    assert {line.verdict for line in lines[:10]} == {"held" if within > 0 else "did not hold"}
    course = flatness.course_nets(frame)
    pooled = flatness.rank_correlation(course, "trace", "test_loss")
    assert np.sign(pooled.value) == np.sign(between)
    text = flatness._pooled(course)
    assert "Simpson's paradox: batch size and learning rate move both quantities" in text
    assert all(f"{measure[0]} and test loss" in text for measure in flatness.MEASURES.values())


def test_no_paradox_where_both_agree():
    """Nor is one invented where neither shows anything."""
    assert flatness._pooled(flatness.course_nets(population(0.1, 1.0))).endswith(
        "So they agree with those at fixed settings."
    )
    noise = flatness.course_nets(population(0.0, 0.0, noise=1.0))
    assert "opposite" not in flatness._pooled(noise)
    assert "by none of the five" in flatness._within(noise)
    assert "do not show that flat nets reliably generalise better" in flatness._within(noise)


def test_sentences_follow_the_sign_within_cells():
    """Better or worse by every measure."""
    assert "flat nets generalise better by every measure" in flatness._within(
        flatness.course_nets(population(0.1, 0.0))
    )
    assert "flat nets generalise worse by every measure" in flatness._within(
        flatness.course_nets(population(-0.1, 0.0))
    )


def test_other_claims_follow_the_rows():
    """Measures that agree, and the quadratic over the maximum at the smallest and the largest radius."""
    *_, agreement, alike, growth, small, large = flatness.claims(population(0.1, 1.0), SETTINGS, RADII, RESCALED)
    for line in (agreement, alike):
        assert (line.ours, line.verdict) == (pytest.approx(1), "held")
    assert (growth.kind, growth.verdict, growth.ours) == ("check", "passed", pytest.approx(4.01))
    assert [small.ours, large.ours] == pytest.approx([1, np.sqrt(12)])
    one = population(0.1, 1.0).assign(trace=lambda rows: -rows.trace)
    assert list(flatness.claims(one, SETTINGS, RADII, RESCALED))[10].verdict == "did not hold"


def test_few_seeds_and_diverged_nets_leave_text_and_claims():
    """One seed, and no net at all: no crash, and no verdict that needs more."""
    one = population(0.1, 1.0).query("seed == 0")
    lines = list(flatness.claims(one, SETTINGS, RADII.iloc[:0], RESCALED))
    assert {line.verdict for line in lines[:10]} == {"not comparable"}
    assert "cannot be compared" in flatness._within(flatness.course_nets(one))
    lost = population(0.1, 1.0).assign(status="diverged")
    assert {line.verdict for line in list(flatness.claims(lost, SETTINGS, RADII, RESCALED))[:12]} == {"not comparable"}
    assert flatness._agreement(flatness.course_nets(lost)).startswith("There are too few nets")


def test_measures_can_agree_on_settings_only():
    """All follow the cell; within one, each has noise of its own: they agree over all nets, not at equal settings."""
    rng, frame = np.random.default_rng(1), population(0.1, 1.0)
    cells = np.floor(frame.sharp)
    for column in ("spectral_norm", "trace", "ball_sharpness", "subspace_sharpness"):
        frame[column] = cells + rng.random(len(frame))
    over, alike = list(flatness.claims(frame, SETTINGS, RADII, RESCALED))[10:12]
    assert (over.verdict, alike.verdict) == ("held", "did not hold")
    text = flatness._agreement(flatness.course_nets(frame))
    assert "they order these nets alike" in text
    assert "much less on which of several nets that were trained alike is the flattest" in text
    assert "much less" not in flatness._agreement(flatness.course_nets(population(0.1, 1.0)))


def test_rough_volumes_are_counted():
    """Nets whose rays are worth fewer than ten equal ones; nothing is said where there are none."""
    frame = population(0.1, 1.0).assign(effective=20.0)
    assert flatness._rough(flatness.course_nets(frame), SETTINGS) == ""
    frame.loc[:2, "effective"] = 3.0
    assert "for 3 of the 48 nets the 50 rays" in flatness._rough(flatness.course_nets(frame), SETTINGS)


def test_the_rescaling_says_what_is_by_construction():
    """The power, that it is no finding, how few rays carry it, and what the subspace does."""
    text = flatness._rescaling(RESCALED, SETTINGS)
    assert "by construction" in text
    assert "worth only 3 equal ones" in text
    assert "ln volume changes by −2.3" in text
    assert flatness._rescaling(RESCALED[RESCALED.alpha == 1], SETTINGS) == ""
