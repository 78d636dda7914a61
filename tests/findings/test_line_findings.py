"""Findings about lines and rescalings on made-up rows whose verdicts are known."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings.generalization import interpolation, reparametrization
from hw1.findings.landscape import loss_functions, redundancy
from hw1.findings.paths import straight_line
from hw1.findings.verdict import FAILED, HELD, INCOMPARABLE, NOISY, NOT, PASSED

SEEDS = range(5)


def test_the_share_of_barriers_has_the_exact_interval():
    """Clopper and Pearson's of 10 of 10 ends at 0.025^(1/10), of 5 of 10 it is symmetric; a missing line is counted."""
    ten = pd.Series([0.006] * 9 + [0.5])
    share = loss_functions._share_of_barriers(ten)
    assert share[:3] == pytest.approx((1, 0.025**0.1, 1))
    half = loss_functions._share_of_barriers(pd.Series([0.006, 0.004] * 5))
    assert half.value == 0.5
    assert half.low == pytest.approx(1 - half.high)
    assert loss_functions._share_of_barriers(pd.Series([0.006, np.nan])).missing == 1
    assert not loss_functions._share_of_barriers(pd.Series([np.nan])).seeds


def lines_of(other, same, loss="nll", partner="squared"):
    """Lines of three points whose training error rises by so much above that of the ends, which is 0.1."""
    rows = [
        {"loss": loss, "kind": kind, "other": name, "seed": seed, "alpha": alpha, "train_accuracy": 0.9 - rise}
        for kind, name, rises in (("other loss", partner, other), ("other seed", loss, same))
        for seed, most in enumerate(rises)
        for alpha, rise in ((0.0, 0.0), (0.5, most), (1.0, 0.0))
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("rises", "verdict", "said"),
    [
        ([0.02] * 9 + [0.7], HELD, "all 10"),
        ([0.02, 0.001] * 5, NOISY, "5 of the 10"),
        ([0.001] * 10, NOT, "none of the 10"),
    ],
)
def test_barriers_are_judged_by_how_many_lines_have_one(rises, verdict, said):
    """One large barrier neither makes nor hides the verdict."""
    rows = pd.DataFrame({"loss": "nll", "seed": range(10), "status": "ok", "epoch": 1, "residual": 1.0, "hessian": 2.0})
    settings = {"epochs": [1], "losses": ["nll", "squared"], "first_seed": 0, "seeds": 10}
    lines = lines_of(rises, [0.6] * 10)
    found = {line.claim.split(" (")[0]: line.verdict for line in loss_functions.claims(rows, settings, lines)}
    assert found["Most lines from a solution of cross-entropy to one of squared error cross a barrier"] == verdict
    text = loss_functions._barrier_text(lines, ["nll"], settings)
    assert f"on {said} lines from cross-entropy to squared error" in text


def on_lines(curves, net="relu", status="ok"):
    """Rows of both kinds of line: line → training losses of a seed at α = 0, ½ and 1."""
    rows = [
        {"net": net, "line": line, "seed": seed, "alpha": alpha, "train_loss": loss * (1 + seed / 100)}
        for line, losses in curves.items()
        for seed in SEEDS
        for alpha, loss in zip((0.0, 0.5, 1.0), losses, strict=True)
    ]
    return pd.DataFrame(rows).assign(test_loss=1.0, train_accuracy=0.9, test_accuracy=0.9, status=status)


def test_lines_say_only_what_is_seen():
    """No basin is claimed; where nothing rises from start to end, all seeds agree on 0."""
    rows = on_lines({"start to end": (2, 1, 0.1), "end to end": (0.1, 1, 0.1)})
    settings = {"nets": ["relu"], "points": 5, "hidden": [3], "epochs": 1, "batch_size": 5}
    down, between, minimum = straight_line.claims(rows, settings)
    assert minimum.verdict == INCOMPARABLE  # these lines end at the solutions
    assert (down.ours, down.low, down.high, down.verdict) == (0, 0, 0, HELD)
    assert (between.ours, between.verdict) == (pytest.approx(0.9 * 1.02), HELD)
    text = " ".join(straight_line.comment(rows, settings, None)["comment"])
    assert "a path around it may exist" in text
    assert "basin" not in text


@pytest.mark.parametrize(("outer", "verdict"), [(0.3, HELD), (0.05, NOT)])
def test_a_minimum_at_each_solution_needs_a_rise_on_all_sides(outer, verdict):
    """The loss rises between the solutions, and beyond one of them it rises or falls."""
    places = (-0.5, 0.0, 0.5, 1.0, 1.5)
    rows = [
        {
            "line": "end to end",
            "net": "relu",
            "seed": seed,
            "alpha": alpha,
            "train_loss": loss * (1 + seed * alpha / 100),
        }
        for seed in SEEDS
        for alpha, loss in zip(places, (0.2, 0.1, 1.0, 0.1, outer), strict=True)
    ]
    rows = pd.DataFrame(rows).assign(status="ok")
    settings = {"nets": ["relu"]}
    *_, minimum = straight_line.claims(rows, settings)
    assert minimum.verdict == verdict
    assert minimum.ours == pytest.approx(min(2, outer / 0.1), rel=0.02)
    assert ("falls further on the outer one" in straight_line._minima(rows, settings)) == (verdict == NOT)


def test_seeds_without_a_line_are_counted():
    """Those that diverged; with all of them nothing can be said, and the figure says so."""
    rows = on_lines({"start to end": (2, 1, 0.1), "end to end": (0.1, 1, 0.1)})
    lost = rows.copy()
    lost.loc[lost.seed < 2, ["alpha", "train_loss", "status"]] = np.nan, np.nan, "diverged"
    settings = {"nets": ["relu"], "points": 5, "hidden": [3], "epochs": 1, "batch_size": 5}
    for line in list(straight_line.claims(lost, settings))[:2]:
        assert (line.seeds, line.verdict) == (3, HELD)
        assert "2 of 5 seeds have no value" in line.caveat
    gone = rows.assign(alpha=np.nan, train_loss=np.nan, status="diverged")
    assert {line.verdict for line in straight_line.claims(gone, settings)} == {INCOMPARABLE}
    training = pd.DataFrame({"net": "relu", "seed": [0], "epoch": 0, "train_loss": np.nan, "test_loss": np.nan})
    figure = straight_line.figure(gone, settings, training)
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["all nets diverged"] * 3
    assert straight_line.comment(gone, settings, training)["comment"] == ["All nets diverged."]


@pytest.mark.parametrize(("behind", "beyond", "said"), [(8, 2, "of learning rate 0.01 is"), (2, 8, "0.001 is")])
def test_the_flatter_side_of_a_line_is_told_by_the_loss_there(behind, beyond, said):
    """By the ratio of the losses, also where the loss falls outward on one side."""
    losses = {-1.0: 9, -0.5: behind, 0.0: 4, 0.5: 3, 1.0: 4, 1.5: beyond, 2.0: 9}
    rows = [{"alpha": a, "seed": s, "train_loss": v * (1 + s / 100)} for a, v in losses.items() for s in SEEDS]
    lines = pd.DataFrame(rows).assign(test_loss=0.5, test_accuracy=0.9)
    text = interpolation._paragraph(lines, "learning rate", 0.001, 0.01)
    assert (
        f"on this one line the net {'' if said.startswith('of') else 'of learning rate '}{said} the flatter one" in text
    )
    assert "does not measurably rise" in text


def rescaled(change=0.0, deviation=0.0, singular=()):
    """Measures of two transformations at three α whose sharpness is α⁻², with relative changes of what must stay."""
    rows = []
    for transformation in ("two-layer", "all but last"):
        for seed in SEEDS:
            for alpha in (0.1, 1.0, 10.0):
                values = dict.fromkeys(("spectral_norm", "trace", "box_sharpness", "subspace_sharpness"), alpha**-2)
                values |= {"function_change": change, "hessian_error": change, "eigenvalues_above": 3}
                values |= {"adaptive_sharpness": 1 + change * alpha, "least_growth": alpha**-2}
                if seed not in singular:
                    values |= {"log10_det_predicted": -9.0 - seed, "log10_determinant": -9.0 - seed + deviation * seed}
                about = {"transformation": transformation, "seed": seed, "alpha": alpha}
                rows += [about | {"measure": measure, "value": value} for measure, value in values.items()]
    line = {"transformation": "line", "seed": 0, "measure": "line_loss"}
    rows += [line | {"alpha": alpha, "value": 1.0} for alpha in (0.0, 0.5, 1.0)]
    return pd.DataFrame(rows)


def judged(rows):
    """Kind and verdict of each line of the ledger."""
    settings = {"alphas": [0.1, 1.0, 10.0], "first_seed": 0, "seeds": 5}
    return [(line.kind, line.verdict) for line in reparametrization.claims(rows, settings)]


def test_identities_are_checks_and_growth_is_claimed():
    """Four claims that hold and five checks that pass; with changes that are no rounding the checks fail."""
    assert judged(rescaled()).count(("claim", HELD)) == 4
    assert judged(rescaled()).count(("check", PASSED)) == 5
    assert judged(rescaled(change=0.1, deviation=2.0)).count(("check", FAILED)) == 4
    swapped = rescaled()
    last = (swapped.alpha == 10) & (swapped.measure == "log10_determinant")
    swapped.loc[last, "value"] = -swapped[last].value
    assert judged(swapped).count(("check", FAILED)) == 2


@pytest.mark.parametrize("singular", [(2,), SEEDS])
def test_determinants_of_singular_nets_are_not_drawn(singular):
    """The legend marks them, the comment names them, and the checks are of the others."""
    rows = rescaled(singular=singular)
    settings = {"alphas": [0.1, 1.0, 10.0], "first_seed": 0, "seeds": 5, "shape": None, "hidden": [3], "classes": 10}
    figure = reparametrization.figure(rows, settings)
    lines = figure.axes[4].lines
    assert [bool(len(line.get_xdata())) for line in lines] == [seed not in singular for seed in SEEDS]
    assert [line.get_label().endswith("singular") for line in lines] == [seed in singular for seed in SEEDS]
    text = reparametrization._unmoved(rows, settings)
    assert ("of the net 2 is singular" in text) == (singular == (2,))
    checks = [line for line in reparametrization.claims(rows, settings) if "determinant" in line.claim]
    assert {line.verdict for line in checks} == {PASSED if len(singular) == 1 else INCOMPARABLE}
    assert [line.seeds for line in checks] == [5 - len(singular)] * 2


def test_conservation_is_a_check_of_every_start():
    """One start whose difference of squares changes is enough for it to fail."""
    rows = [
        {"part": part, "seed": seed, "step": step, "first": 2.0 - step / 100, "second": 1.0, "largest_eigenvalue": 2.0}
        for part in redundancy.METHODS
        for seed in SEEDS
        for step in (0, 1)
    ]
    rows = pd.DataFrame(rows)
    first, _ = redundancy.claims(rows, {"steps": 1})
    assert (first.kind, first.verdict) == ("check", PASSED)
    assert first.ours == pytest.approx(0.0399 / 3)
    rows.loc[(rows.seed == 3) & (rows.step == 1), "first"] = 1.9
    assert next(redundancy.claims(rows, {"steps": 1})).verdict == FAILED
