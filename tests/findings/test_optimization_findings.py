"""Sentences, verdicts and figures of part 1-2 that depend on the result, on made-up rows."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings import verdict
from hw1.findings.optimization import error_surface, gradient_norm, trajectories, zero_gradient
from hw1.findings.words import show
from hw1.statistics import Interval

SETTINGS = {
    "points": 5,
    "hidden": [4],
    "activation": "tanh",
    "scale": 5.0,
    "epochs": 100,
    "zero": 1e-10,
    "radius": 1e-3,
}
SETTINGS |= {"samples": 100, "widths": [2, 3], "trainings": 10, "moments": 4, "near": 1e-11, "distance": 1e-6}
SETTINGS |= {"largest": 20.0}


def searched(method=zero_gradient.SECOND_ORDER, **changes):
    """End points of ten searches, all of them minima at loss zero unless changed."""
    columns = {"method": method, "hidden": "4", "gradient_norm": 1e-10, "start_gradient_norm": 1e-3, "slope": 0.5}
    columns |= {"relative_gradient": 1e-13, "distance": 1e-9, "size": 5.0, "loss": 1e-16, "trained_loss": 1e-4}
    columns |= {"negative": 0, "positive": 4, "zero": 6, "index": 0.0, "minimal_ratio": 0.2}
    columns |= {"minimal_ratio_jacobian": 0.4, "minimal_ratio_sampled": 1.0}
    return pd.DataFrame({"seed": range(10)} | columns | changes)


def critical(seed_noise=0.0, **changes):
    """Three critical points of each of ten trainings and two widths: the lower the loss, the higher the ratio."""
    rng = np.random.default_rng(0)
    parts = [
        searched(
            zero_gradient.NEWTON,
            hidden=str(width),
            loss=loss + 10 * width,
            negative=negative,
            minimal_ratio=0.9 - loss / 10 + seed_noise * rng.standard_normal(10),
            index=loss / 10,
        )
        for width in (2, 3)
        for loss, negative in ((1.0, 0), (2.0, 1), (3.0, 2))
    ]
    return pd.concat(parts, ignore_index=True).assign(**changes)


def everything(newton):
    """Rows of all methods."""
    stuck = searched(zero_gradient.NORM, gradient_norm=9e-4, relative_gradient=1e-5, loss=1e-4, negative=3, slope=0.01)
    return pd.concat([searched(), stuck, newton], ignore_index=True)


def test_points_of_zero_gradient_are_counted():
    """All, some or none; a search that found nothing smaller is said to have done so, and one that is stuck why."""
    moved, stuck = searched(), searched(gradient_norm=[1e-3] * 4 + [9e-4] * 6, negative=3, slope=0.01)
    text = zero_gradient._reached(moved, stuck)
    assert "from all 10 nets" in text
    assert "from none of the 10" in text
    assert "From 4 of the 10 nets Adam found no smaller gradient" in text
    assert "directions of almost no curvature" in text
    assert "no smaller gradient" not in zero_gradient._reached(moved, moved)
    assert "no curvature" not in zero_gradient._reached(moved, moved)
    kinds = zero_gradient._kinds(moved, stuck)
    assert "none of the 10 are saddles" in kinds
    assert "all 10 have negative eigenvalues" in kinds
    assert "count as minima" not in zero_gradient._kinds(searched(negative=1), stuck)


def test_the_share_of_neighbours_is_a_range_only_if_it_is_one():
    """All neighbours, or from the least to the largest share."""
    assert "All sampled neighbours have a higher loss: " in zero_gradient._definitions(searched())
    assert zero_gradient._definitions(searched(minimal_ratio=0.9)) == "All sampled neighbours have a higher loss. "
    rows = searched(minimal_ratio_sampled=np.linspace(0.1, 1, 10))
    assert "with a higher loss is 0.1 to 1" in zero_gradient._definitions(rows)


def test_the_ratio_at_zero_loss_is_that_of_critical_points_only():
    """Where the loss or the gradient has not vanished, singular values are no eigenvalues."""
    rows = searched(minimal_ratio_jacobian=[0.9] * 2 + [0.4] * 8, loss=[1e-3, 1e-16] + [1e-16] * 8)
    rows.loc[1, "relative_gradient"] = 1e-3
    (found, *_) = zero_gradient.claims(rows, SETTINGS)
    assert (found.ours, found.seeds, found.verdict) == (0.4, 8, verdict.HELD)
    assert "lies in the range" in zero_gradient._at_zero_loss(rows, SETTINGS)
    assert "lies outside" in zero_gradient._at_zero_loss(searched(minimal_ratio_jacobian=0.7), SETTINGS)
    assert "from no net" in zero_gradient._at_zero_loss(searched(loss=1e-3), SETTINGS)


def test_the_same_points_found_again_are_no_repetitions():
    """Points of a net count once, however many seeds find them, so no verdict follows; a wider net is another net."""
    for rows in (critical(), critical()[lambda rows: rows.seed < 2]):
        _, ratio, index = zero_gradient.claims(rows, SETTINGS)
        assert (ratio.ours, index.ours) == (-1, 1)
        assert ratio.verdict == index.verdict == verdict.NOISY
        assert "over 6 different points" in ratio.claim
        assert np.isnan([ratio.low, ratio.high, ratio.p]).all()
        assert "no interval" in ratio.caveat
    confounded = critical()
    confounded["minimal_ratio"] += confounded.hidden.astype(int)
    assert zero_gradient._correlation(zero_gradient._distinct(confounded, SETTINGS), "minimal_ratio").value == -1
    text = zero_gradient._many_losses(critical(), SETTINGS)
    assert "6 different points (3 and 3 of the nets with 2 and 3 units) of 6 losses" in text
    assert "In each net their minimal ratio falls as the loss rises" in text
    mixed = critical()
    mixed.loc[mixed.loss == 21.0, "minimal_ratio"] = 0.1
    assert "Spearman's correlation of their minimal ratio and loss is −0.25" in zero_gradient._many_losses(
        mixed, SETTINGS
    )


def test_the_plateau_is_compared_with_that_of_the_slides():
    """Only where a point has the loss of a constant output, which is the variance of the targets."""
    assert zero_gradient._plateau(critical(), SETTINGS) == ""
    x = np.arange(1, 51) / 50
    flat = float(np.var(np.sin(5 * np.pi * x) / (5 * np.pi * x)))
    assert flat == pytest.approx(0.0791, abs=1e-4)
    text = zero_gradient._plateau(critical(loss=flat, minimal_ratio=0.4), SETTINGS | {"points": 50})
    assert (
        "The minimal ratio there is 0.4, on the slides 0 to 0.25: this cluster of the slides is not reproduced." in text
    )
    assert "not reproduced" not in zero_gradient._plateau(
        critical(loss=flat, minimal_ratio=0.2), SETTINGS | {"points": 50}
    )


@pytest.mark.parametrize(
    "changes",
    [{"relative_gradient": 1e-8}, {"distance": 1e-3}, {"size": 50.0}],
    ids=lambda changes: next(iter(changes)),
)
def test_points_without_zero_gradient_are_not_judged(changes):
    """Where ∇L is small but not zero, where the critical point is far, and where it is at infinity."""
    _, ratio, index = zero_gradient.claims(critical(**changes), SETTINGS)
    assert ratio.verdict == index.verdict == verdict.INCOMPARABLE
    text = zero_gradient._many_losses(critical(**changes), SETTINGS)
    assert ("60 of them at infinity" in text) if "size" in changes else ("0 ended at a critical point" in text)


def test_a_point_that_several_searches_reach_counts_once_for_a_training():
    """Twice the same end adds nothing."""
    once = critical()
    twice = pd.concat([once, once.assign(loss=once.loss * (1 + 1e-7))], ignore_index=True)
    assert len(zero_gradient._distinct(twice, SETTINGS)) == len(once)


def test_losses_of_narrower_nets_are_recognised():
    """All, or none, of the wider net's points."""
    assert "Of the 30 points of wider nets, 0 have" in zero_gradient._embedded(critical())
    same = critical()
    same["loss"] -= 10 * same.hidden.astype(int)
    assert "Of the 30 points of wider nets, 30 have" in zero_gradient._embedded(same)
    assert zero_gradient._embedded(same[same.hidden == "2"]) == ""


@pytest.mark.parametrize("newton", [critical(), critical(size=50.0), critical(distance=1.0), critical()[:0]])
def test_zero_gradient_is_drawn_and_said_whatever_was_found(newton):
    """Critical points, only such at infinity, none, and no search at all."""
    rows = everything(newton)
    assert zero_gradient.figure(rows, SETTINGS).axes
    assert all("nan" not in paragraph for paragraph in zero_gradient.comment(rows, SETTINGS)["comment"])


NORMS = {"steps": 200, "train": 100, "batch_size": 10, "chance": 0.1, "points": 40, "function_hidden": [8]}
NORMS |= {"hidden": [16], "function_batch_size": 20, "shape": [28, 28], "classes": 10}


def trained(images, final=0.9, status="ok"):
    """Rows of five nets on either task, with these gradient norms on images, and their accuracies."""
    steps = np.arange(200)
    noise = np.random.default_rng(0).normal(1, 0.01, (5, 200))
    rows = [
        pd.DataFrame({"task": task, "seed": seed, "step": steps, "loss": 1 / (1 + steps), "status": status}).assign(
            gradient_norm=values * noise[seed]
        )
        for task, values in (("sinc", np.linspace(2, 0.1, 200)), ("images", images))
        for seed in range(5)
    ]
    accuracy = [
        {"task": "images", "seed": s, "step": at, "test_accuracy": a}
        for s in range(5)
        for at, a in ((100, 0.2), (200, final))
    ]
    return pd.concat(rows, ignore_index=True), pd.DataFrame(accuracy)


@pytest.mark.parametrize(
    ("images", "trend", "against_start", "said"),
    [
        (np.linspace(1, 2, 200), verdict.HELD, verdict.HELD, "it tends to rise"),
        (np.linspace(2, 1, 200), verdict.NOT, verdict.NOT, "It tends to fall over the whole training"),
        (np.r_[np.linspace(1, 3, 20), np.linspace(3, 2, 180)], verdict.NOT, verdict.HELD, "largest around step"),
    ],
)
def test_the_gradient_norm_is_judged_over_time_and_against_its_start(images, trend, against_start, said):
    """It may rise, fall, or rise first and fall then: larger than at the start, but not growing."""
    rows, accuracy = trained(images)
    over_time, ratio, function = gradient_norm.claims(rows, NORMS, accuracy)
    assert (over_time.verdict, ratio.verdict, function.verdict) == (trend, against_start, verdict.HELD)
    assert function.source == verdict.OWN
    text = gradient_norm.comment(rows, NORMS, accuracy)["comment"][0]
    assert said in text.split("On images")[1]
    assert show(Interval(ratio.ours, ratio.low, ratio.high, ratio.seeds), 2) in text.split("On images")[1]
    assert "succeeds: after 20 epochs" in text
    confirmed = {(verdict.HELD, verdict.HELD): "That is confirmed", (verdict.NOT, verdict.HELD): "half confirmed"}
    assert confirmed.get((trend, against_start), "That is not confirmed") in text


def test_the_gradient_norm_of_a_training_that_fails_is_not_judged():
    """At chance there is nothing to say of a successful training."""
    rows, accuracy = trained(np.linspace(1, 2, 200), final=0.12)
    over_time, ratio, _ = gradient_norm.claims(rows, NORMS, accuracy)
    assert over_time.verdict == ratio.verdict == verdict.INCOMPARABLE
    assert "does not succeed" in gradient_norm.comment(rows, NORMS, accuracy)["comment"][0]


def test_nets_that_diverged_are_counted_and_drawn():
    """One: it is named in the ledger. All: no verdict, and a panel that says so."""
    rows, accuracy = trained(np.linspace(1, 2, 200))
    some = rows.assign(status=np.where(rows.seed == 3, "diverged", "ok"))
    assert "1 of 5 nets diverged" in next(gradient_norm.claims(some, NORMS, accuracy)).caveat
    lost, accuracy = rows.assign(status="diverged"), accuracy.assign(test_accuracy=np.nan)
    assert {found.verdict for found in gradient_norm.claims(lost, NORMS, accuracy)} == {verdict.INCOMPARABLE}
    assert "On images all nets diverged." in gradient_norm.comment(lost, NORMS, accuracy)["comment"][0]
    assert "all nets diverged" in [
        text.get_text() for text in gradient_norm.figure(lost, NORMS, accuracy).axes[0].texts
    ]


PATHS = {"hidden": [30, 20], "shape": [28, 28], "classes": 10, "seeds": 2, "every": 3}


def test_trajectories_are_said_to_end_apart():
    """With the distances in the plane, and why both panels look alike."""
    rows = pd.DataFrame(
        {"scope": scope, "seed": seed, "epoch": epoch, "first": (2 * seed - 1) * epoch, "second": 0.0}
        | {"first_explained": 0.2, "second_explained": 0.1, "train_accuracy": 0.9 + epoch / 100, "status": "ok"}
        for scope in ("layer 1", "whole model")
        for seed in range(2)
        for epoch in (3, 6, 9)
    )
    (text,) = trajectories.comment(rows, PATHS)["comment"]
    assert "end at training accuracies of 0.99 in different places" in text
    assert (
        "last points are 18 apart on average, their first recorded ones (after epoch 3) 6, and a training moves by 6"
        in text
    )
    assert "a path is 1 times as long" in text
    assert "layer 1 has 23,550 of the 24,380 parameters" in text
    assert trajectories._alike(PATHS | {"shape": None}) == trajectories._alike(PATHS | {"hidden": [30, 900]}) == ""
    assert len(trajectories.figure(rows, PATHS).axes) == 2


@pytest.mark.parametrize("stretch", [1, 100])
def test_a_valley_is_said_to_be_one(stretch):
    """Where the steepest tenth of the parameters raises the loss far more than the flattest."""
    shifted = [
        {"view": "perturbation", "seed": seed, "kind": "parameter", "index": index, "u": u, "v": 0.0}
        | {"loss": 1e-4 * (1 + u**2 * stretch**index)}
        for seed in range(3)
        for index in range(4)
        for u in (-1.0, 0.0, 1.0)
    ]
    kinds = [("gradient descent", 1e-2), ("second order", 1e-4)]
    events = [
        {"view": "start to end", "seed": s, "kind": kind, "index": i, "u": 0.0, "v": 0.0, "loss": loss * (1 + s / 10)}
        for s in range(3)
        for i, (kind, loss) in enumerate(kinds)
    ]
    rows, events = pd.DataFrame(shifted), pd.DataFrame(events)
    end = events[events.kind == "second order"].set_index("seed").loss
    text = error_surface._meaning(rows, events, end)
    assert ("narrow valley" in text) == ("Adam makes little progress" in text) == (stretch > 1)
    assert "each of the 3 trainings" in text
