"""Finding gradient_noise on made-up rows: laws that are recovered, verdicts and sentences by sign, edge cases."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings.dynamics import gradient_noise
from hw1.findings.dynamics.gradient_noise import FULL, ISOTROPIC, NAMES, SGD, SHAPED

SETTINGS = {
    "seeds": 6,
    "train": 500,
    "pool": 4,
    "hidden": (30,),
    "shape": (28, 28),
    "classes": 10,
    "batch_size": 10,
    "learning_rate": 0.1,
    "updates": 5000,
    "target_loss": 0.02,
    "directions": 10,
    "fixed_batch": 40,
    "draws": 200,
}
STEPS, PARAMETERS = (0, 50, 5000), 1810


def trained(traces=None, accuracies=None, seeds=6):
    """Nets of all four ways; per way the factor of the trace and the test accuracy, with some spread over seeds."""
    traces, accuracies = {SGD: 1.0} | (traces or {}), {SGD: 0.9} | (accuracies or {})
    rng, rows = np.random.default_rng(0), []
    for net in NAMES:
        for seed in range(seeds):
            own = np.random.default_rng(seed).normal()
            for at in ("equal loss", "equal updates"):
                trace = 20 * np.exp(0.3 * own + 0.02 * rng.normal()) * traces.get(net, 1.0)
                accuracy = accuracies.get(net, 0.9) + 0.01 * own + 0.001 * rng.normal()
                rows.append((net, at, seed, trace, trace / 4, accuracy, 0.02))
    columns = ["net", "at", "seed", "trace", "spectral_norm", "test_accuracy", "train_loss"]
    return pd.DataFrame(rows, columns=columns).assign(status="ok", updates=5000)


def along(participation=20.0, share=0.6, overlap=0.5, seeds=6):
    """The table "noise"."""
    rng = np.random.default_rng(1)
    rows = [
        {
            "net": SGD, "updates": step, "seed": seed, "parameters": PARAMETERS, "train_loss": 1.0,
            "trace": 3.0 + rng.random(), "squared_gradient": 1.0, "own_share": 0.8, "overlap": overlap,
            "participation_ratio": participation * (1 + 0.1 * rng.random()), "share": share * (1 + 0.1 * rng.random()),
        }
        for seed in range(seeds)
        for step in STEPS
    ]  # fmt: skip
    return pd.DataFrame(rows)


def values(seeds=6):
    """The table "eigenvalues"."""
    rows = [(SGD, step, seed, k, 2.0**-k, 3.0**-k) for seed in range(seeds) for step in STEPS for k in range(1, 11)]
    return pd.DataFrame(rows, columns=["net", "updates", "seed", "number", "noise", "hessian"])


def drawn(power=1.0, of_n=0.0, seeds=6):
    """The table "batches": noise ∝ factor^power, whose tr C is ∝ n^of_n, and 5 % of scatter."""
    rng, rows = np.random.default_rng(2), []
    cases = [(500, size) for size in (5, 20, 100)] + [(n, 40) for n in (50, 100, 500)]
    for seed in range(seeds):
        for n, size in cases:
            for replacement in ("with", "without"):
                factor = 1 / size - (1 / n if replacement == "without" else 0)
                predicted, trace = 7.0 * factor, 7.0 * (n / 500) ** of_n
                found = trace * factor**power * np.exp(0.05 * rng.normal())
                rows.append((SGD, 50, seed, n, size, replacement, trace, found, predicted))
    columns = ["net", "updates", "seed", "examples", "batch_size", "replacement", "trace", "drawn", "predicted"]
    return pd.DataFrame(rows, columns=columns)


def judge(rows, noise=None, batches=None):
    """The claims."""
    tables = along() if noise is None else noise, values(), drawn() if batches is None else batches
    return list(gradient_noise.claims(rows, SETTINGS, *tables))


def test_isotropic_gradients():
    """Participation ratio and largest eigenvalue of Gaussian gradients, by simulation, for n below and above p."""
    rng = np.random.default_rng(0)
    for p, n in ((200, 50), (50, 400)):
        rows = rng.standard_normal((n, p))
        spectrum = np.linalg.eigvalsh(np.cov(rows.T, bias=True))
        expected = spectrum.sum() ** 2 / np.sum(spectrum**2)
        assert gradient_noise.isotropic_ratio(p, n) == pytest.approx(expected, rel=0.05)
        edge = spectrum.max() / spectrum.mean()
        assert gradient_noise.isotropic_edge(p, n) == pytest.approx(edge, rel=0.1)


@pytest.mark.parametrize(("power", "verdict"), [(1.0, "passed"), (0.8, "failed")])
def test_exponents_are_recovered(power, verdict):
    """With known ones in the rows; the checks follow them."""
    batches = drawn(power)
    for replacement in ("with", "without"):
        found = gradient_noise.exponent(gradient_noise.by_batch_size(batches, replacement, SETTINGS))
        assert found.value == pytest.approx(power, abs=0.03)
        assert found.low < power < found.high
    checks = [line for line in judge(trained(), batches=batches) if line.kind == "check"]
    assert [line.verdict for line in checks[:2]] == [verdict] * 2


def test_a_covariance_that_depends_on_n_is_no_law():
    """If tr C grows as √n, the exponent in n is not 1, while the laws in B still are."""
    lines = judge(trained(), batches=drawn(of_n=0.5))
    (with_n,) = [line for line in lines if "With n examples" in line.claim]
    assert with_n.verdict == "did not hold"
    assert [line.verdict for line in lines if line.kind == "check"][:2] == ["passed"] * 2


def test_the_shape_is_judged_against_isotropic_noise():
    """Far from isotropic and along the curvature; then the reverse."""
    lines = judge(trained())
    assert [line.verdict for line in lines[:4]] == ["held"] * 4
    assert lines[0].ours == pytest.approx(21 / gradient_noise.isotropic_ratio(PARAMETERS, 500), rel=0.06)
    assert lines[1].ours == pytest.approx(0.61 * PARAMETERS / 10, rel=0.05)
    isotropic = along(participation=390, share=0.003, overlap=0.002)
    assert [line.verdict for line in judge(trained(), isotropic)[:4]] == ["did not hold"] * 4


CASES = [
    ({FULL: 2.0, ISOTROPIC: 1.8, SHAPED: 1.0}, ["held"] * 3, "it is the shape of the noise and not its strength"),
    ({FULL: 2.0, ISOTROPIC: 0.9, SHAPED: 1.0}, ["held", "did not hold", "held"], "whatever its shape"),
    ({FULL: 0.5, ISOTROPIC: 0.5, SHAPED: 2.0}, ["did not hold"] * 3, "no flatter minima than exact descent"),
]


@pytest.mark.parametrize(("traces", "verdicts", "said"), CASES)
def test_flatness_by_sign(traces, verdicts, said):
    """Verdicts and the sentence follow the ratios at equal loss."""
    rows = trained(traces)
    lines = [line for line in judge(rows) if "equal training loss" in line.claim]
    assert [line.verdict for line in lines] == verdicts
    assert said in gradient_noise._of_flatness(rows)


def test_accuracy_by_sign():
    """Differences of pairs, whatever a seed's split does to all of them."""
    rows = trained(accuracies={FULL: 0.88, ISOTROPIC: 0.92, SHAPED: 0.9})
    lines = [line for line in judge(rows) if "test accuracy" in line.claim]
    assert [line.verdict for line in lines] == ["held", "did not hold", "held"]
    assert [line.ours for line in lines] == pytest.approx([0.02, -0.02, 0.0], abs=1e-3)
    text = gradient_noise._of_accuracy(rows)
    assert "the full batch (worse)" in text
    assert "isotropic noise of equal trace (better)" in text


def test_nets_beside_the_target_are_not_compared_in_flatness():
    """They have no value at equal loss, and the text says how many there are; their accuracy counts."""
    rows = trained({FULL: 2.0})
    late = (rows.net == FULL) & (rows["at"] == "equal loss")
    rows.loc[late, "status"] = "target not reached"
    lines = [line for line in judge(rows) if "the full batch (ratio" in line.claim]
    assert [line.verdict for line in lines] == ["not comparable"]
    found = gradient_noise.comment(rows, SETTINGS, along(), values(), drawn())
    assert "6 of the 24 nets did not come there (full batch)" in found["method"]
    assert "not comparable" not in [line.verdict for line in judge(rows) if "test accuracy" in line.claim]


def test_one_seed_and_diverged_nets_leave_figure_text_and_claims():
    """No crash, no empty text, and no verdict that needs more."""
    one = trained(seeds=1), SETTINGS | {"seeds": 1}, along(seeds=1), values(1), drawn(seeds=1)
    lost = trained().assign(status="diverged", trace=np.nan, spectral_norm=np.nan, test_accuracy=np.nan)
    gone = lost, SETTINGS, along().iloc[:0], values().iloc[:0], drawn().iloc[:0]
    without = trained()
    without.loc[without.net == SGD, ["trace", "spectral_norm", "test_accuracy"]] = np.nan
    without.loc[without.net == SGD, "status"] = "diverged"
    for case in (one, gone, (without, *gone[1:])):
        gradient_noise.figure(*case).canvas.draw()
        text = gradient_noise.comment(*case)
        assert all(text["comment"])
        assert "nan" not in " ".join(text["comment"])
        assert {line.verdict for line in gradient_noise.claims(*case) if line.kind == "claim"} <= {
            "not comparable", "too noisy", "held", "did not hold"
        }  # fmt: skip
    assert {line.verdict for line in gradient_noise.claims(*gone)} == {"not comparable"}


def test_the_figure_has_six_panels_with_labels(tmp_path):
    """All axes are labelled, and each panel has a legend outside its data."""
    fig = gradient_noise.figure(trained({FULL: 2.0}), SETTINGS, along(), values(), drawn())
    assert len(fig.axes) == 6
    assert all(axes.get_xlabel() for axes in fig.axes)
    assert all(axes.get_legend() for axes in fig.axes)
    fig.savefig(tmp_path / "figure.png")
