"""Findings on sharpness and what goes with it: correlations within batch sizes, small runs, and nets that diverged."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings.generalization import sensitivity, sharpness
from hw1.findings.landscape import adversarial

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
