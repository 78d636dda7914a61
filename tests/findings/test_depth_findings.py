"""Findings of part 1-1 on made-up rows: trends over all depths, nets that miss the loss, and true sentences."""

import numpy as np
import pandas as pd
import pytest

from hw1 import nets
from hw1.findings import style
from hw1.findings.deep_vs_shallow import actual_task, simulate_function
from hw1.findings.verdict import HELD, INCOMPARABLE, NOT, OWN, SMALL
from hw1.statistics import Interval

SEEDS = range(5)
NOISE = np.array([-2, -1, 0, 1, 2]) / 1000  # one value per seed, around 0
SETTINGS = {"data": "a", "target_losses": [0.05], "dnns": list(nets.TASK_DNNS), "cnns": list(nets.TASK_CNNS)}


def trained(accuracies, data="a", kind="dnn", names=nets.TASK_DNNS, status="ok", seeds=SEEDS):
    """Two epochs of nets and where they stopped, with these test accuracies at the end."""
    rows = []
    for number, (name, accuracy) in enumerate(zip(names, accuracies, strict=True)):
        for seed in seeds:
            for epoch in (1.0, 2.0, 2.2 + seed):
                row = {"data": data, "kind": kind, "hidden": name, "seed": seed, "epoch": epoch, "status": status}
                row |= {"test_accuracy": accuracy + NOISE[seed] * (number - 1), "parameters": 100}
                rows.append(row | {"train_accuracy": 0.9, "train_loss": 0.2 / epoch, "test_loss": 1 - accuracy})
    return pd.DataFrame(rows)


def both(accuracies, **options):
    """The same for DNNs and CNNs."""
    cnns = trained(accuracies, kind="cnn", names=list(nets.TASK_CNNS), **options)
    return pd.concat([trained(accuracies, **options), cnns], ignore_index=True)


def test_the_slope_over_depths_is_that_of_a_line():
    """Accuracies on a line in log₂ of the depth give back its slope, whatever the order of the names."""
    depths = np.log2([5, 2, 1])
    rows = trained(0.8 + 0.01 * depths)
    ends = actual_task._ends(rows, "a", "dnn")
    expected = [np.polyfit(depths, ends[ends.seed == seed].test_accuracy, 1)[0] for seed in SEEDS]
    np.testing.assert_allclose(actual_task._slopes(ends, "test_accuracy"), expected, rtol=1e-9)
    assert actual_task._accuracy_trend(ends).value == pytest.approx(np.mean(expected))
    assert np.mean(expected) == pytest.approx(0.01, abs=1e-3)
    factor = np.exp(np.polyfit(depths, np.log(0.2 - 0.01 * depths), 1)[0])
    assert actual_task._loss_trend(ends).value == pytest.approx(factor)


def test_the_middle_net_counts():
    """A middle net far below both others pulls the trend down, though the two ends do not differ."""
    rows = trained([0.9, 0.8, 0.9])
    assert actual_task._accuracy_trend(actual_task._ends(rows, "a", "dnn")).value != pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ("accuracies", "verdict"), [([0.9, 0.85, 0.8], HELD), ([0.8, 0.85, 0.9], NOT), ([0.9, 0.9, 0.9], SMALL)]
)
def test_verdicts_follow_the_trend(accuracies, verdict):
    """Rising, falling, and less than half a point per doubling."""
    found = list(actual_task.claims(both(accuracies), SETTINGS))
    assert len(found) == 4
    assert {line.source for line in found} == {OWN}
    assert [line.verdict for line in found[::2]] == [verdict] * 2
    assert [line.nets for line in found[::2]] == ["a, dnn", "a, cnn"]


def test_nets_that_miss_the_loss_are_counted():
    """Every net once, though it has many rows; with most of them nothing is compared, nor if all diverged."""
    rows = both([0.9, 0.85, 0.8])
    rows.loc[(rows.hidden == "31") & (rows.seed < 2), "status"] = "target not reached"
    first, *_ = actual_task.claims(rows, SETTINGS)
    assert first.caveat == "2 of 15 nets did not come to their target"
    assert first.verdict == HELD
    missed = both([0.9, 0.85, 0.8], status="target not reached")
    assert {line.verdict for line in actual_task.claims(missed, SETTINGS)} == {INCOMPARABLE}
    assert "Of 15 nets 15 did not come down" in actual_task._paragraph(missed, SETTINGS, "a", "dnn")


@pytest.mark.parametrize("seeds", [range(1), SEEDS])
def test_diverged_nets_and_one_seed_leave_no_empty_panel(seeds):
    """Figure, comment and claims are made without an error; where nothing is left, the panel says so."""
    rows = both([0.9, 0.85, 0.8], seeds=seeds)
    lost = rows.copy()
    lost.loc[lost.kind == "cnn", "status"] = "diverged"
    lost.loc[lost.kind == "cnn", ["train_loss", "test_loss", "train_accuracy", "test_accuracy"]] = np.nan
    for frame in (rows, lost):
        figure = actual_task.figure(frame, SETTINGS)
        figure.draw_without_rendering()
        assert len(list(actual_task.claims(frame, SETTINGS))) == 4
        assert actual_task.comment(frame, SETTINGS)["comment"]
    one = len(seeds) == 1
    assert ("too few to tell" in actual_task.comment(rows, SETTINGS)["comment"][-1]) == one
    assert ("with this one seed" in actual_task._paragraph(rows, SETTINGS, "a", "dnn")) == one
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts == ["all nets diverged"] * 2
    assert "a, CNN: all nets diverged." in actual_task.comment(lost, SETTINGS)["comment"]


def test_means_go_as_far_as_all_seeds():
    """Later ones would be means over the slow nets only."""
    rows = trained([0.9], names=["31"])
    rows = pd.concat([rows, rows[rows.seed == 4].assign(epoch=3.0)])
    assert set(actual_task._all_training(rows).epoch) == {1.0, 2.0}


@pytest.mark.parametrize(
    ("accuracies", "said"),
    [
        ([0.9, 0.85, 0.8], "Deeper nets generalise better here"),
        ([0.8, 0.85, 0.9], "do not generalise better"),
    ],
)
def test_the_summary_follows_the_trends(accuracies, said):
    """What is said of depth in general is chosen by the results."""
    text = actual_task._summary(both(accuracies), [("a", "dnn"), ("a", "cnn")])
    assert said in text
    assert "DNNs on a and CNNs on a" in text
    mixed = pd.concat([trained(accuracies), trained(accuracies[::-1], kind="cnn", names=list(nets.TASK_CNNS))])
    summary = actual_task._summary(mixed, [("a", "dnn"), ("a", "cnn")])
    assert "depends on the task" in summary
    assert "Coming to that loss takes" in summary
    assert "nets stop at a training accuracy of 0.9 on a" in summary


@pytest.mark.parametrize("count", [1, 3, 7, 8, 20])
def test_every_net_has_a_look_of_its_own(count):
    """However many there are: none is left out, and no two are alike."""
    looks = style.of_depths(map(str, range(count)))
    assert list(looks) == [str(number) for number in range(count)]
    assert len({tuple(np.ravel(look)) for look in looks.values()}) == count


def of_functions(losses, seeds=SEEDS):
    """Rows and predictions of nets on both functions, net → errors of the seeds at the end."""
    rows, points = [], []
    for function in simulate_function.FORMULAS:
        for hidden, errors in losses.items():
            for seed, loss in zip(seeds, errors, strict=False):
                net = {"function": function, "hidden": hidden, "seed": seed}
                status = "ok" if np.isfinite(loss) else "diverged"
                rows += [net | {"epoch": e, "loss": loss, "test_loss": 2 * loss, "status": status} for e in (1, 2)]
                points += [net | {"x": x, "prediction": x, "target": x / 2} for x in (0.5, 1.0)]
    settings = {"functions": list(simulate_function.FORMULAS), "nets": list(losses), "points": 200}
    settings |= {"activation": "relu", "seeds": len(seeds)}
    return pd.DataFrame(rows), settings, pd.DataFrame(points)


def test_all_predictions_are_in_one_panel_too():
    """The panel of all nets has a line per net beside the function, each other panel one."""
    rows, settings, points = of_functions({"5-5": [1e-5] * 5, "10-4": [2e-5] * 5, "190": [1e-3] * 5})
    figure = simulate_function.figure(rows, settings, points)
    _, together, *alone = figure.axes[:5]
    drawn = {line.get_color() for line in together.lines} - {simulate_function.GREY["color"]}
    assert drawn == set(style.of_depths(settings["nets"]).values())
    assert [len({line.get_color() for line in axes.lines}) for axes in alone] == [2] * 3


def test_depth_is_judged_by_the_ratio_of_errors():
    """At the training points for both functions, and between them for the smooth one; a tie is no effect."""
    errors = np.array([1.0, 1.1, 0.9, 1.05, 0.95])
    for deep, verdict in ((1e-5 * errors, HELD), (1e-1 * errors, NOT), (1e-3 * errors, SMALL)):
        losses = {"5-5-5": deep, "10-4": 1e-9 * errors, "190": 1e-3 * errors[::-1]}
        rows, settings, _ = of_functions(losses)
        found = list(simulate_function.claims(rows, settings))
        assert [line.verdict for line in found] == [verdict] * 3
        assert ["midway" in line.claim for line in found] == [False, True, False]


def test_errors_are_compared_in_one_kind_of_mean():
    """Geometric means, at the training points and between them."""
    errors = [1e-6, 1e-4, 1e-5, 1e-5, 1e-5]
    rows, settings, points = of_functions({"5-5": errors, "190": errors})
    text = simulate_function._paragraph(rows, settings["nets"], "sinc")
    assert "$10^(-5)$ [" in text
    assert "$2 dot 10^(-5)$ [" in text
    method = simulate_function.comment(rows, settings, points)["method"]
    assert "training target of the sign function is 0 where x is a multiple of 0.2" in method


@pytest.mark.parametrize("errors", [[1e-5], [np.nan], [1e-5, np.nan]])
def test_functions_with_one_seed_or_diverged_nets(errors):
    """Figure, claims and comment are made of what is left."""
    rows, settings, points = of_functions({"5-5": errors, "190": [1e-3] * len(errors)}, range(len(errors)))
    simulate_function.figure(rows, settings, points).draw_without_rendering()
    assert len(list(simulate_function.claims(rows, settings))) == 3
    first = simulate_function.comment(rows, settings, points)["comment"][0]
    assert "no measurable effect" not in first
    assert ("With one seed: the error" in first) == bool(np.isfinite(errors[0]))


def test_errors_on_the_slides_are_compared_seed_by_seed():
    """How many seeds are at or below them."""
    final = {"190": pd.DataFrame({"loss": [1e-5, 1.8e-5, 2e-5]})}
    text = simulate_function._known(final, {"190": 1.8e-5})
    assert "1.8 dot 10^(-5)$, which 2 of 3 seeds reach" in text
    assert simulate_function._known(final, {"10-4": 1.0}) == ""
    assert "; all 3 seeds reach them" in simulate_function._known(final, {"190": 1.0})


def test_a_gain_at_the_training_points_only_is_said_to_be_one():
    """Where the ratio of errors between the points is smaller, and not where it is the same."""
    errors = np.array([1.0, 1.1, 0.9, 1.05, 0.95])
    rows, settings, _ = of_functions({"5-5-5": 1e-5 * errors, "10-4": 1e-5 * errors[::-1], "190": 1e-3 * errors[::-1]})
    assert "times, which is no measurable difference" in simulate_function._depth(rows, "sign", settings["nets"])
    assert "training points only" not in simulate_function._between(rows, "sign", settings["nets"])
    rows.loc[rows.hidden == "190", "test_loss"] /= 50
    text = simulate_function._between(rows, "sign", settings["nets"])
    assert "So most of the gain is at the training points only." in text
    assert "position of a jump" in text
    assert "position of a jump" not in simulate_function._between(rows, "sinc", settings["nets"])


def test_an_interval_is_written_on_its_side_of_one():
    """With more digits where two would round its end to 1."""
    assert simulate_function._show(Interval(7.491, 1.0041, 55.89, 5)) == "7.491 [1.004, 55.89]"
    assert simulate_function._show(Interval(1.446, 0.9497, 2.2026, 5)) == "1.4 [0.95, 2.2]"


def test_the_drawn_functions_are_those_that_are_learned():
    """And the sign function has no value but 1 and −1."""
    x, sign = simulate_function._function("sign")
    assert set(sign) == {-1.0, 1.0}
    np.testing.assert_array_equal(sign, 1 - 2 * (np.floor(5 * x) % 2))
    x, sinc = simulate_function._function("sinc")
    np.testing.assert_allclose(sinc, np.sin(5 * np.pi * x) / (5 * np.pi * x))
