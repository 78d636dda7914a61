"""Findings on large batches and their remedies, on made-up rows whose verdicts are known."""

import re

import numpy as np
import pandas as pd
import pytest

from hw1.findings.generalization import interpolation
from hw1.findings.landscape import large_batch, large_batch_figure, remedies
from hw1.findings.verdict import outward_growth, steeper_beyond_the_large_batch

SEEDS = 6
NOISE = np.linspace(-1, 1, SEEDS) * 1e-3  # one value per seed, around 0
SETTINGS = {
    "nets": ("normalised",),
    "batch_sizes": (25, 500),
    "epsilons": (1e-3, 5e-4),
    "starts": 1,
    "manifold": 100,
    "target_loss": 0.02,
    "updates": 100,
    "learning_rate": 3e-3,
    "normalised_rate": 1e-2,
}


def lines(**losses):
    """Lines of all seeds through these training losses (at_0, at_m1 for −1, ...), net "normalised"."""
    alphas = {"m1": -1.0, "m05": -0.5, "0": 0.0, "05": 0.5, "1": 1.0, "15": 1.5, "2": 2.0}
    return pd.DataFrame(
        {
            "net": "normalised",
            "seed": seed,
            "alpha": alphas[name[3:]],
            "train_loss": loss * (1 + NOISE[seed]),
            "train_accuracy": 0.99 - loss / 100 + NOISE[seed] * (name == "at_05"),
        }
        for seed in range(SEEDS)
        for name, loss in losses.items()
    )


def nets(sharper=1.0, better=0.0, farther=1.0, net="normalised"):
    """Rows in all boxes: φ and distance of the large batch as multiples of the small one's, its gain in accuracy."""
    rows = []
    for seed in range(SEEDS):
        for size, factor, gain, distance in ((25, 1.0, 0.0, 1.0), (500, sharper, better, farther)):
            each = {"net": net, "batch_size": size, "seed": seed, "train_loss": 0.02, "status": "ok"}
            each |= {"test_accuracy": 0.9 + gain + NOISE[seed] * (size == 25), "distance": 5 * distance}
            each |= {"test_loss": 0.5 - gain + NOISE[seed] * (size == 25)}
            for space in ("full", "manifold"):
                for epsilon in (1e-3, 5e-4):
                    value = 1000 * epsilon * factor * (1 + NOISE[seed] * (size == 25))
                    rows.append(each | {"space": space, "epsilon": epsilon, "value": value})
    return pd.DataFrame(rows)


def verdicts(claims):
    """The first words of each claim → its verdict."""
    return {claim.claim.partition(" (")[0]: claim.verdict for claim in claims}


# The line between two nets


def test_growth_is_a_factor_also_where_the_loss_falls():
    """At ±0.5 beyond the ends, over the loss of the end: 3 and 0.5, and 6 times as much on one side."""
    line = lines(at_m1=9, at_m05=0.5, at_0=1, at_1=2, at_15=6, at_2=1)
    step, behind, beyond = outward_growth(line.pivot(index="seed", columns="alpha", values="train_loss"))
    assert step == 0.5
    np.testing.assert_allclose(behind, 0.5)
    np.testing.assert_allclose(beyond, 3)
    (claim,) = steeper_beyond_the_large_batch(line, "made-up net", nets())
    assert claim.ours == pytest.approx(6)
    assert claim.verdict == "held"


@pytest.mark.parametrize(("beyond", "verdict"), [(3, "held"), (1.2, "did not hold"), (2.0, "smaller than the effect")])
def test_the_steeper_side_is_told(beyond, verdict):
    """Twice the loss behind the small batch, and more, less or as much beyond the large one; noise in one seed."""
    line = lines(at_m05=2, at_0=1, at_1=1, at_15=beyond)
    line.loc[(line.seed == 0) & (line.alpha == 1.5), "train_loss"] *= 1.001
    (claim,) = steeper_beyond_the_large_batch(line, "made-up net", nets())
    assert claim.verdict == verdict


def test_seeds_without_a_line_are_missing():
    """One of six is named, four of six make the claim not comparable, and so does a run without lines."""
    line = lines(at_m05=2, at_0=1, at_1=1, at_15=3)
    line["train_loss"] *= np.random.default_rng(0).uniform(0.99, 1, len(line))
    (claim,) = steeper_beyond_the_large_batch(line[line.seed > 0], "net", nets())
    assert (claim.verdict, claim.seeds, claim.caveat) == ("held", 5, "1 of 6 seeds have no value")
    for few in (line[line.seed > 3], line.head(0)):
        (claim,) = steeper_beyond_the_large_batch(few, "net", nets())
        assert claim.verdict == "not comparable"


def test_the_flatter_net_of_an_interpolation_is_named():
    """The one beyond which the loss grows less, with both factors."""
    line = lines(at_m05=2, at_0=1, at_05=1.5, at_1=1, at_15=3).assign(pair="batch size", status="ok")
    line = line.assign(test_loss=line.train_loss, test_accuracy=0.9)
    line["train_loss"] *= np.random.default_rng(0).uniform(0.999, 1, len(line))
    text = interpolation._paragraph(line, "batch size", 64, 1024)
    assert re.search(r"the loss grows by a factor of (1\.99|2)[.\d]* \[", text)
    assert re.search(r"and of (2\.99|3)[.\d]* \[", text)
    assert "the net of batch size 64 is the flatter one" in text
    (claim,) = interpolation.claims(line, {})
    assert claim.verdict == "held"
    lost = line.assign(status="diverged", train_loss=np.nan, alpha=np.nan)
    (claim,) = interpolation.claims(lost, {})
    assert claim.verdict == "not comparable"


# Large batches


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (nets(sharper=3, better=-0.02, farther=0.5), ["held", "held", "held"]),
        (nets(sharper=0.3, better=0.02, farther=2), ["did not hold"] * 3),
        (
            nets(sharper=1, better=0, farther=1.1),
            ["smaller than the effect", "smaller than the effect", "did not hold"],
        ),
    ],
)
def test_large_batches_are_judged_by_the_rows(rows, found):
    """Sharper in all four boxes, worse, and nearer to the start; a difference within half a point is small."""
    line = lines(at_m05=2, at_0=1, at_05=1.5, at_1=1, at_15=3)
    said = verdicts(large_batch.claims(rows, SETTINGS, line))
    sharper = [verdict for claim, verdict in said.items() if "sharper minima" in claim]
    assert sharper == [found[0]] * 4
    assert said["Large batches generalise worse: normalised net"] == found[1]
    assert said["Large batches end nearer their start: normalised net"] == found[2]


@pytest.mark.parametrize(("middle", "verdict"), [(2, "held"), (0.5, "did not hold"), (1.02, "smaller than the effect")])
def test_a_barrier_is_what_stands_above_the_worse_end(middle, verdict):
    """By a hundredth of the error, below both ends, or by less than half a point; the ends differ in loss and error."""
    line = lines(at_m05=2, at_0=1, at_05=middle, at_1=0.9, at_15=3)
    claims = [c for c in large_batch.claims(nets(), SETTINGS, line) if "barrier" in c.claim]
    assert [c.verdict for c in claims] == [verdict]
    assert claims[0].ours == pytest.approx((middle - 1) / 100, abs=1e-6)


def test_published_figures_stand_beside_the_net_and_the_box_that_they_are_of():
    """Of the source's 5 × 512 with batch normalisation, each box its own."""
    line = lines(at_m05=2, at_0=1, at_05=1, at_1=1, at_15=3)
    claims = list(large_batch.claims(nets(), SETTINGS, line))
    published = [c.published for c in claims if "sharper minima" in c.claim]
    assert published == ["F1: 205 / 1.23", "F1: 42.9 / 0.61", "F1: 9.22 / 0.11", "F1: 9.17 / 0.05"]
    other = large_batch.claims(nets(net="plain"), SETTINGS | {"nets": ("plain",)}, line.assign(net="plain"))
    assert not any(c.published for c in other if "sharper minima" in c.claim)


def test_sharpness_within_one_batch_size_is_no_matter_of_the_batch_size():
    """Large batches are sharper and worse, but of one size the sharper nets are the better ones: Simpson's paradox."""
    rows = nets(sharper=10, better=-0.05, net="plain")
    rows = pd.concat([rows, rows[rows.batch_size == 500].assign(batch_size=100)], ignore_index=True)
    own = np.random.default_rng(0).random((SEEDS, 501))[rows.seed, rows.batch_size] / 100
    rows["value"] = 5 * np.log(rows.batch_size) + own
    rows["test_accuracy"] = 1 - rows.value / 100 + 0.02 * own
    rows["test_loss"] = 1 - rows.test_accuracy
    settings = SETTINGS | {"nets": ("plain",)}
    line = lines(at_m05=2, at_0=1, at_05=1, at_1=1, at_15=3).assign(net="plain")
    said = verdicts(large_batch.claims(rows, settings, line))
    assert said["Large batches generalise worse: plain net"] == "held"
    assert said["With the batch size test loss rises: plain net, full space"] == "held"
    by_words = [line for line in large_batch.claims(rows, settings, line) if "plain net" in line.claim]
    assert [line.verdict for line in by_words if "Sharper minima" in line.claim] == ["held"] * 2
    alike = [line for line in by_words if "Of plain nets" in line.claim]
    assert [(line.verdict, line.source) for line in alike] == [("did not hold", "our hypothesis")] * 2
    assert "there the sharper nets are better" in large_batch._with_sharpness(large_batch.full_space(rows, settings))


@pytest.mark.parametrize("seeds", [0, 1])
def test_few_nets_are_no_reason_to_crash(seeds):
    """With one seed nothing is decided; where all nets diverged, nothing is said of them."""
    rows, line = nets(sharper=3), lines(at_m05=2, at_0=1, at_05=1.5, at_1=1, at_15=3)
    line = line.assign(test_loss=1.0, test_accuracy=0.9)
    rows, line = rows[rows.seed < max(seeds, 1)], line[line.seed < seeds]
    if not seeds:
        rows = rows.assign(
            status="diverged", **dict.fromkeys(("value", "distance", "test_accuracy", "test_loss"), np.nan)
        )
    curves = pd.DataFrame(columns=["net", "batch_size", "seed", "epoch", "train_loss", "test_loss"])
    large_batch.figure(rows, SETTINGS, line, curves).draw_without_rendering()
    found = {c.verdict for c in large_batch.claims(rows, SETTINGS, line)}
    assert found == {"too noisy" if seeds else "not comparable"}
    text = " ".join(large_batch.comment(rows, SETTINGS, line)["comment"])
    assert "nan" not in text
    assert ("nothing to compare" in text) == (not seeds)


def test_published_figures_are_compared_in_the_text():
    """By direction and size: 167 times as sharp in the source, three or a third times here; distances 0.1 to 0.33."""
    for sharper, said in ((3, "the published direction, but 56 times smaller"), (0.3, "the opposite direction")):
        assert said in large_batch._beside_the_source(nets(sharper=sharper), SETTINGS)
    assert large_batch._beside_the_source(nets(net="plain"), SETTINGS) == ""
    near, far = (large_batch._distance(large_batch.full_space(nets(farther=x), SETTINGS), SETTINGS) for x in (0.5, 2))
    assert "the direction is the same, but the difference is smaller" in near
    assert "the direction" not in far


def test_learning_curves_keep_their_last_values():
    """Of a net that stops at epoch 1 beside one that stops at 3."""
    curves = pd.DataFrame({"seed": [0, 1, 1], "epoch": [1, 1, 3], "train_loss": [0.1, 0.5, 0.3]})
    held = large_batch_figure._held(curves)
    assert held[held.epoch == 3].train_loss.tolist() == [0.1, 0.3]
    assert large_batch_figure._held(curves.head(0)).empty


def test_a_sharper_net_that_is_not_worse_is_named_with_its_factor():
    """Two nets are sharper, one of them worse: the other's φ need not cost accuracy."""
    ratios = {name: large_batch.geometric_mean(np.array([2.9, 3.0, 3.1])) for name in ("plain", "convolutional")}
    text = large_batch._conclusion({"plain": -1, "convolutional": 0}, ratios)
    assert "a φ that is 3 times as large (convolutional) need not cost a measurable amount" in text


# Remedies

WAYS = (
    "small batch",
    "large batch",
    "augmented small batch",
    "data augmentation",
    "conservative training",
    "robust training, ε = 0.1",
    "warm start, 1 epoch",
    "warm start, 10 epochs",
    "growing batches",
)
REMEDY_SETTINGS = {
    "batch_sizes": (25, 500),
    "hidden": (30,),
    "classes": 10,
    "shape": None,
    "target_loss": 0.02,
    "window": 50000,
    "fall": 0.1,
    "epsilon": 1e-3,
    "seeds": SEEDS,
}


def trained(gain, sharper):
    """Rows of all ways: a gain in accuracy over the large batch, and φ as a multiple of the large batch's."""
    rows = []
    for way in WAYS:
        remedy = way not in remedies.BASELINES
        for seed in range(SEEDS):
            net = {"remedy": way, "seed": seed, "train_loss": 0.02, "objective": 0.02, "status": "ok"}
            accuracy = 0.9 + remedy * (gain + NOISE[seed] / 10) + 0.02 * (way == "small batch")
            value = 10 * (sharper * (1 + NOISE[seed]) if remedy else 1.0) / (10 if way == "small batch" else 1)
            rows.append(net | {"test_accuracy": accuracy, "value": value})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("gain", "helps", "fails"), [(0.03, "held", "did not hold"), (0.0, "smaller than the effect", "held")]
)
def test_the_source_expects_some_remedies_to_help_and_others_not(gain, helps, fails):
    """Robust training and a short warm start must gain less than half a point, the others anything at all."""
    said = verdicts(remedies.claims(trained(gain, 0.5), REMEDY_SETTINGS))
    sources = {c.claim.partition(" (")[0]: c.source for c in remedies.claims(trained(gain, 0.5), REMEDY_SETTINGS)}
    assert sources["A large batch generalises better with growing batches"] == "our hypothesis"
    for way in ("data augmentation", "conservative training", "warm start, 10 epochs", "growing batches"):
        assert said[f"A large batch generalises better with {way}"] == helps
    for way in ("robust training, δ = 0.1", "warm start, 1 epoch"):
        assert said[f"A large batch gains less than half a point with {way}"] == fails


def test_minima_are_compared_with_those_of_both_batch_sizes():
    """Half as sharp as the large batch alone, five times as sharp as the small one; or sharper than both."""
    flatter, sharper = (verdicts(remedies.claims(trained(0, factor), REMEDY_SETTINGS)) for factor in (0.5, 2))
    for way in ("data augmentation", "conservative training"):
        assert flatter[f"The minima of a large batch are less sharp with {way}"] == "held"
        assert sharper[f"The minima of a large batch are less sharp with {way}"] == "did not hold"
        small = "augmented small batches" if way == "data augmentation" else "small batches"
        verdict = "did not hold" if way == "data augmentation" else "held"  # augmented ones are as sharp as the large
        assert flatter[f"With {way} the minima of a large batch stay sharper than those of {small}"] == verdict


@pytest.mark.parametrize(("factor", "high", "small"), [(0.5, "did not hold", "held"), (0.9, "held", "held")])
def test_a_short_warm_start_is_expected_to_stay_sharp(factor, high, small):
    """By at most a factor of 1.25 below the large batch alone, and above the small batch."""
    said = verdicts(remedies.claims(trained(0, factor), REMEDY_SETTINGS))
    assert said["The sharpness of a large batch stays high with warm start, 1 epoch"] == high
    way = "With warm start, 1 epoch the minima of a large batch stay sharper than those of small batches"
    assert said[way] == small
    assert said[
        "With robust training, δ = 0.1 the minima of a large batch stay sharper than those of small batches"
    ] == ("held")


def conclusion(changes):
    """The concluding sentences where some ways have other accuracies and φ."""
    rows = trained(0, 0.5)
    for way, (accuracy, value) in changes.items():
        own = rows.remedy == way
        rows.loc[own, "test_accuracy"] = accuracy + NOISE[rows[own].seed] / 10
        rows.loc[own, "value"] = value * (1 + NOISE[rows[own].seed])
    return remedies._conclusion(remedies._table(rows, "value"), remedies._table(rows, "test_accuracy"))


def test_the_conclusion_names_the_most_accurate_and_the_flattest_way():
    """Where the sharper one is more accurate, where the flattest is the best, and the pairs that contradict."""
    text = conclusion({"data augmentation": (0.95, 9.0), "warm start, 10 epochs": (0.93, 0.5)})
    assert "The most accurate nets (data augmentation) have 18" in text
    assert "the φ of the flattest ones (warm start, 10 epochs)" in text
    assert "φ alone does not tell which remedy helps" in text
    assert ", in " in text
    text = conclusion({"warm start, 10 epochs": (0.95, 0.5)})
    assert text.endswith("The flattest nets, those with warm start, 10 epochs, are also the most accurate ones.")
    same = trained(0, 1).query("remedy in ['large batch', 'data augmentation']")
    tables = (remedies._table(same, column) for column in ("value", "test_accuracy"))
    assert remedies._conclusion(*tables).startswith("No two of these ways")


def test_augmented_nets_are_compared_with_augmented_nets():
    """Twice as sharp as the augmented small batch, which is as sharp as the large batch alone."""
    rows = trained(0.01, 2)
    text = remedies._augmented(rows, remedies._table(rows, "test_accuracy"), remedies._table(rows, "value"))
    assert re.search(r"Its minima are sharper: φ is [\d.]+ \[[\d., ]+\] times that of the augmented small batch", text)


def test_nets_short_of_their_gate_are_counted():
    """By name, and none where all came there."""
    rows = trained(0, 1)
    assert "did not come there" not in remedies.comment(rows, REMEDY_SETTINGS)["method"]
    rows.loc[(rows.remedy == "robust training, ε = 0.1") & (rows.seed < 2), "status"] = "target not reached"
    method = remedies.comment(rows, REMEDY_SETTINGS)["method"]
    assert "2 of the 54 nets did not come there (robust training (δ = 0.1))" in method
