"""Findings on sharpness and what goes with it: correlations within batch sizes, small runs, and nets that diverged."""

import cases
import numpy as np
import pandas as pd
import pytest

from hw1 import catalogue, records
from hw1.findings.generalization import sensitivity, sharpness
from hw1.findings.landscape import adversarial, evidence

FAMILY = ("sharpness", "sensitivity", "flatness", "spectrum", "adversarial", "evidence")
SIZES, SEEDS = (10, 100, 1000), 8


def nets(within, between, column, result):
    """A net per batch size and seed; the result moves by `within` inside and by `between` across batch sizes."""
    own = np.random.default_rng(0).random((len(SIZES), SEEDS))
    rows = [
        {"batch_size": size, "seed": seed, column: place + 1 + own[place, seed]}
        | {result: between * place + within * own[place, seed], "status": "ok"}
        for place, size in enumerate(SIZES)
        for seed in range(SEEDS)
    ]
    return pd.DataFrame(rows)


def course(within, between):
    """Rows of `sharpness` whose test results move as in `nets`, and two reference nets."""
    base = nets(within, between, "sharpness", "test_loss").assign(net="course")
    base = base.assign(test_accuracy=-base.test_loss, train_loss=0.05, scope="block", examples=500, gradient_norm=0.03)
    base = base.assign(value=2 * base.sharpness)
    parts = [base.assign(method="lanczos", norm="spectral"), base.assign(method="hutch++", norm="frobenius")]
    parts[1]["value"] *= 3
    reference = base[base.batch_size == 10].head(2).assign(net="reference")
    parts += [reference.assign(method="lanczos", norm="spectral"), reference.assign(method="hutch++", norm="frobenius")]
    parts += [reference.assign(method="tf.hessians", norm=norm, value=value) for norm, value in NORMS.items()]
    return pd.concat(parts, ignore_index=True)


NORMS = {"spectral": 2.0, "tf.norm": 5.0}
SETTINGS = {"examples": 500, "train": 5000, "epsilon": 1e-4, "target_loss": 0.05}


@pytest.mark.parametrize(("within", "over", "inside"), [(1, "held", "held"), (-1, "held", "did not hold")])
def test_sharpness_is_judged_over_and_within_batch_sizes(within, over, inside):
    """Each by its own statistic, with opposite results where the rows have them."""
    frame = course(within, 9)
    _, *found, _ = sharpness.claims(frame, SETTINGS)
    assert [line.verdict for line in found] == [over] * 2 + [inside] * 2
    assert [line.source == "our hypothesis" for line in found] == [False] * 2 + [True] * 2
    assert {line.seeds for line in found} == {SEEDS}
    text = sharpness._within(sharpness._measured(frame[frame.net == "course"], "lanczos", "block", 500))
    assert ("flatter nets generalise better" in text) == (within > 0)
    assert ("flatter nets generalise worse" in text) == (within < 0)


def test_the_norm_as_printed_is_a_check():
    """It is made of the rows of tf.hessians on the reference nets, and it fails unless both norms agree."""
    frame = course(1, 9)
    *_, line = sharpness.claims(frame, SETTINGS)
    assert (line.kind, line.verdict, line.ours) == ("check", "failed", 2.5)
    frame.loc[frame.norm == "tf.norm", "value"] = 2.0
    *_, line = sharpness.claims(frame, SETTINGS)
    assert line.verdict == "passed"


@pytest.mark.parametrize(
    ("between", "accuracy", "said"),
    [(9, 1, "better here, by both"), (9, 0, "lower test loss here, but not a"), (-9, 1, "do not show that flatter")],
)
def test_sharpness_over_batch_sizes_in_words(between, accuracy, said):
    """By both signs: an accuracy that says nothing does not hide a loss that does."""
    blocks = course(0, between).query("net == 'course' and method == 'lanczos'")
    noise = np.random.default_rng(3).random(len(blocks))
    text = sharpness._batch_size(blocks.assign(test_accuracy=blocks.test_accuracy if accuracy else noise))
    assert said in text


@pytest.mark.parametrize(("gradient", "said"), [(0.03, True), (1e-6, False)])
def test_the_slope_is_compared_with_the_curvature(gradient, said):
    """‖∇L‖ ε over ‖H‖₂ ε² / 2; the formula is said to miss the rise only where it does."""
    blocks = course(1, 9).query("net == 'course' and method == 'lanczos'").assign(value=2.0, gradient_norm=gradient)
    text = sharpness._slope(blocks, SETTINGS)
    assert f"{sharpness.number(gradient / 1e-4, 2)} [" in text or f"{sharpness.number(gradient / 1e-4, 2)} (" in text
    assert ("not how far the loss rises" in text) == said


@pytest.mark.parametrize(
    ("within", "verdict", "said"),
    [(1, "held", "too, the more sensitive nets generalise worse"), (-1, "did not hold", "nets generalise better")],
)
def test_sensitivity_within_batch_sizes(within, verdict, said):
    """The Jacobian of nets that differ in their seed only."""
    frame = nets(within, 9, "jacobian_norm", "test_loss").assign(test_accuracy=lambda rows: -rows.test_loss)
    lines = list(sensitivity.claims(frame, {}))
    assert [line.verdict for line in lines] == ["held", "held", verdict, verdict]
    assert said in sensitivity._within(frame)


@pytest.mark.parametrize(
    ("within", "verdict", "said"),
    [
        (-1, "held", "too, the nets in sharper minima are less robust"),
        (1, "did not hold", "nets in sharper minima are more robust"),
    ],
)
def test_robustness_within_batch_sizes(within, verdict, said):
    """Larger batches are less robust and sharper; at one batch size the rows decide."""
    one = nets(within, -9, "largest_eigenvalue", "attacked_accuracy")
    frame = pd.concat([one.assign(attack="FGSM", epsilon=0.1), one.assign(attack="L2", epsilon=1.0)])
    settings = {"sign_epsilons": [0.1], "l2_epsilons": [1.0], "batch_sizes": SIZES}
    assert [line.verdict for line in adversarial.claims(frame, settings)] == ["held"] * 4 + [verdict] * 2
    text = adversarial._sharpness(frame, settings)
    assert "cannot be told apart" in text
    assert said in text


# The evidence


def regressions(shift=0.0, random=1.0):
    """E least at λ = 1 and the test loss at 10^shift, in the mean over seeds; E with random labels."""
    rows = [
        {"labels": labels, "seed": seed, "regularization": 10.0**place, "grid": grid, "model": "logistic regression"}
        | {"log_evidence_ratio": place**2 - 50 if labels == "true" else random + 0.1 * seed}
        | {"test_loss": (place - shift - 0.01 * (seed - 2)) ** 2, "train_accuracy": 1.0, "status": "ok"}
        for labels in ("true", "random")
        for seed in range(5)
        for grid, places in (("coarse", np.arange(-4, 4.5, 0.5)), ("fine", np.arange(-0.4, 0.5, 0.1)))
        if grid == "coarse" or labels == "true"
        for place in (places if grid == "coarse" else places[abs(places) > 0.01])
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("shift", "verdict"), [(0.3, "held"), (-0.3, "held"), (2.0, "did not hold")])
def test_the_best_regularisations_are_compared(shift, verdict):
    """By parabolas through the least values of the means and their neighbours, whatever the spacing."""
    found = evidence._distance_of_optima(regressions(shift).query("labels == 'true'"))
    assert found.value == pytest.approx(-shift, abs=1e-6)
    assert found.seeds == 5
    assert found.high - found.low == pytest.approx(2 * 2.776 * 0.01 * np.sqrt(2.5 / 5), rel=0.01)
    line = next(line for line in evidence.claims(regressions(shift), {}) if line.claim.startswith("The λ of most"))
    assert line.verdict == verdict


def test_an_optimum_at_the_end_of_the_range_is_no_optimum():
    """There is no number then."""
    assert np.isnan(evidence._distance_of_optima(regressions(9.0).query("labels == 'true'")).value)
    assert "at an end of the range" in evidence._choice_of_prior(regressions(9.0).query("labels == 'true'"))


@pytest.mark.parametrize(
    ("least", "verdict", "said"),
    [
        (1.0, "held", "E with random labels is positive at every λ"),
        (-0.9, "did not hold", "by more than 1 nat"),
        (-3.0, "did not hold", None),
    ],
)
def test_random_labels_are_judged_at_every_regularisation(least, verdict, said):
    """One λ at which the evidence is for the regression is enough against the claim."""
    frame = regressions()
    at = (frame.labels == "random") & np.isclose(frame.regularization, 100)
    frame.loc[at, "log_evidence_ratio"] += least - 1
    line = next(iter(evidence.claims(frame, {})))
    assert (line.verdict, line.ours) == (verdict, pytest.approx(least + 0.2))
    text = evidence._memorising(frame.assign(test_accuracy=0.5))
    assert said in text if said else "at no λ" not in text and "there is no λ" not in text


# Small runs, and runs that went wrong


def one_seed(frame):
    """The rows of the first seed."""
    return frame[frame.seed == 0]


def one_batch_size(frame):
    """The rows of the smallest batch size; of the regressions, all."""
    kept = frame.model != "net" if "model" in frame else False
    return frame[kept | (frame.batch_size == 20)] if "batch_size" in frame else frame


def diverged(frame):
    """All nets of the rows diverged: no value is left."""
    if "status" not in frame:
        return frame.iloc[:0]
    lost = frame.net != "small" if "net" in frame else frame.model == "net" if "model" in frame else frame.seed >= 0
    keys = ("data", "net", "model", "labels", "batch_size", "learning_rate", "seed", "grid", "regularization")
    frame = frame.astype({name: float for name in frame.columns if frame[name].dtype.kind in "iu" and name not in keys})
    frame.loc[lost, frame.columns.difference([*keys, "status"])] = np.nan
    return frame.assign(status=np.where(lost, "diverged", frame.status))


@pytest.mark.parametrize("reduce", [one_seed, one_batch_size, diverged])
@pytest.mark.parametrize("name", cases.some(FAMILY, 3))
def test_small_runs_and_diverged_nets(at_smoke_size, name, reduce):
    """Figure, claims and comment exist, and none of them holds a number that is none."""
    folder, finding = at_smoke_size(name), catalogue.finding(name)
    settings = dict(records.settings(folder, name))
    rows = reduce(records.read(folder, name))
    tables = {table: reduce(frame) for table, frame in records.tables(folder, name).items()}
    if reduce is one_batch_size:
        settings["batch_sizes"] = [20]
    finding.figure(rows, settings, **tables).draw_without_rendering()
    lines = list(finding.claims(rows, settings, **tables))
    assert len(lines) >= len(list(finding.claims(records.read(folder, name), settings, **tables))) - 2
    comment = finding.comment(rows, settings, **tables)
    assert "".join(comment["comment"]).strip()
    assert "nan" not in " ".join(comment["comment"])
