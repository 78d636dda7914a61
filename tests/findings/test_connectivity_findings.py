"""Findings about paths between solutions on made-up rows whose verdicts are known."""

import numpy as np
import pandas as pd
import pytest

from hw1.findings.paths import connectivity as finding
from hw1.findings.verdict import HELD, INCOMPARABLE, NOISY, NOT

WIDTHS = (2, 4, 8, 16, 32)
METHODS = ("Adam", "SGD", "squared error")
PATHS = ("line", "weights", "activations", "string", "Bézier", "doubled")
SETTINGS = {
    "train": 1000,
    "pool": 4,
    "shape": [28, 28],
    "classes": 10,
    "widths": list(WIDTHS),
    "methods": list(METHODS),
    "compared": [16],
    "doubled": [8, 16],
    "drawn": 16,
    "target_loss": 0.01,
    "pivots": 8,
    "cycles": 4,
    "steps": 200,
    "curve_steps": 600,
    "points": 10,
    "seeds": 5,
}
COLUMNS = ["loss_barrier", "error_barrier", "test_loss_barrier", "test_error_barrier"]


def made(seeds=5, **barriers):
    """Rows and tables: barriers of the loss by path, c · M^power; the error's are a tenth of them.

    Nets are bad up to width 4 and have learnt their images from width 8 on.
    """
    scales = {"line": (3000, -1.0), "weights": (60, -1.0), "activations": (3, -1.0), "string": (3, -1.0)}
    scales |= {"Bézier": scales["string"], "doubled": scales["string"]} | barriers
    rows, nets = [], []
    for method in METHODS:
        for width in WIDTHS if method == "Adam" else (16,):
            for seed in range(seeds):
                parameters = 60 * width + 10
                about = {"method": method, "width": width, "seed": seed, "status": "ok"}
                for path in PATHS if method == "Adam" else ("line", "string"):
                    scale, power = scales[path]
                    height = scale * parameters**power * (1 + 0.01 * seed)
                    rows.append(about | {"path": path, "parameters": parameters, "length": 1.0, "segments": 1})
                    rows[-1] |= dict(zip(COLUMNS, (height, height / 10, height, height / 10), strict=True))
                accuracy = 0.7 if width < 8 else 0.999
                nets += [
                    about | {"end": end, "train_accuracy": accuracy, "train_loss": 0.1} for end in ("first", "second")
                ]
    along = pd.DataFrame(
        [
            {"path": p, "position": x, "train_loss": 0.1 + x, "train_accuracy": 0.9, "u": x, "v": x}
            for p in PATHS
            for x in (0, 1)
        ]
    )
    plane = pd.DataFrame([{"u": u, "v": v, "train_loss": 0.1 + u + v} for u in (0, 1) for v in (0, 1)])
    return pd.DataFrame(rows), SETTINGS, pd.DataFrame(nets), along, plane


def judged(*given):
    """The beginnings of the claims with their verdicts, and all of both."""
    return {line.claim: line for line in finding.claims(*given)}


def verdicts(given, words):
    """The verdicts of the claims that contain some words."""
    return [line.verdict for sentence, line in judged(*given).items() if words in sentence]


def said(*given):
    """The text of the comment."""
    return " ".join(finding.comment(*given)["comment"])


def test_what_the_sources_say_holds_of_such_rows():
    """A barrier on the line only, of the order 1/M after matching; that of the string is below the noise."""
    given = made()
    found = [line.verdict for line in judged(*given).values()]
    assert found.count(INCOMPARABLE) == 1  # the order 1/M of the string
    assert verdicts(given, "1/M of the number of parameters: string") == [INCOMPARABLE]
    assert set(found) == {HELD, INCOMPARABLE}
    assert "nan" not in said(*given)
    assert "from width 8 (5 of 5) on (geometric mean)." in said(*given)
    assert "All 2 are without a barrier" in said(*given)
    assert "These are less than half a point." in said(*given)


def test_barriers_everywhere():
    """On paths as on lines, also where units are matched; the search is not at its end."""
    high = dict.fromkeys(("weights", "activations", "string", "Bézier"), (3000, -0.01))
    given = made(**high, line=(300, -0.01), doubled=(1500, -0.01))
    assert verdicts(given, "There is a path without a barrier between two") == [NOT] * 4
    assert verdicts(given, "a width from which on") == [NOT]
    assert verdicts(given, "has no barrier") == [NOT] * 2
    assert verdicts(given, "lowers the barrier") == [NOT] * 2
    assert verdicts(given, "Twice as many") == [NOT] * 2
    assert verdicts(given, "order 1/M") == [NOT] * 2
    assert verdicts(given, "whatever the way") == [NOT] * 2
    assert "no width from which on" in said(*given)
    assert "at none of these widths; elsewhere a longer search" in said(*given)


def test_the_width_from_which_on_there_is_none():
    """By the lower of string and curve, beyond the last barrier, and not among nets that are bad."""
    rows, settings, nets, *rest = made()
    main = rows[rows.method == "Adam"].copy()
    barred = main.path.isin(["string", "Bézier"]) & (main.width == 16) & (main.seed < 2)
    main.loc[barred, "error_barrier"] = 0.006
    assert finding._widths(nets, settings, finding.BAD) == [8, 16, 32]
    assert finding.free_from(main, [8, 16, 32]).tolist() == [32, 32, 8, 8, 8]
    main.loc[barred & (main.path == "Bézier"), "error_barrier"] = 0.005  # at most half a point is none
    assert finding.free_from(main, [8, 16, 32]).tolist() == [8] * 5
    main.loc[(main.width == 32) & (main.seed == 4), "error_barrier"] = 0.1
    assert finding.free_from(main, [8, 16, 32]).tolist() == [8, 8, 8, 8, 64]
    assert "1 of the 5 pairs have one at the largest width" in said(main, settings, nets, *rest)


def test_the_order_of_the_barrier():
    """The slope of the means, over the widths above the noise, with the jackknife's interval."""
    rows, *_ = made(string=(290, -1.5))
    main = rows[rows.method == "Adam"]
    found, above = finding.slope(main, "string", list(WIDTHS))
    assert above == [2, 4, 8]  # at width 16, with 970 parameters, the mean is 0.0098
    assert found.value == pytest.approx(-1.5)
    rows.loc[(rows.path == "string") & (rows.seed == 0), "loss_barrier"] *= 1.5
    found, above = finding.slope(rows[rows.method == "Adam"], "string", [2, 4, 8])
    assert found.low <= -1.5 <= found.high
    assert finding.slope(main, "string", [2, 4])[1] == [2, 4]
    assert np.isnan(finding.slope(main, "string", [2, 4])[0].value)


def test_a_barrier_around_half_a_point_is_undecided():
    """However narrow the interval: the threshold is the only one, and a barrier of 0.9 points is not a small one."""
    for spread in (0.002, 0.02):
        given = made()
        rows = given[0]
        rows["error_barrier"] = 0.005 + spread * np.where(rows.seed % 2 == 0, 1, -1)
        assert verdicts(given, "string method (training error") == [NOISY]


def test_missed_and_diverged_nets_are_told():
    """And where most missed their targets, nothing is compared."""
    rows, settings, nets, *rest = made()
    for frame in (rows, nets):
        frame.loc[(frame.width == 32) & (frame.method == "Adam"), "status"] = "target not reached"
    lost = (rows.width == 4) & (rows.seed == 0)
    rows.loc[lost, COLUMNS], rows.loc[lost, "status"] = np.nan, "diverged"
    lost = (nets.width == 4) & (nets.seed == 0)
    nets.loc[lost, "train_accuracy"], nets.loc[lost, "status"] = np.nan, "diverged"
    given = rows, settings, nets, *rest
    assert "10 of the 70 nets did neither (at width 32)" in finding.comment(*given)["method"]
    assert "2 of the 70 nets diverged (at width 4)" in finding.comment(*given)["method"]
    assert verdicts(given, "There is a path without a barrier between two") == [INCOMPARABLE] * 4
    assert "nan" not in said(*given)
    assert finding.figure(*given)


def test_all_nets_diverged():
    """There is a figure and a text still."""
    rows, settings, nets, along, plane = made()
    rows[COLUMNS], rows["status"] = np.nan, "diverged"
    nets["train_accuracy"], nets["status"] = np.nan, "diverged"
    given = rows, settings, nets, along[:0], plane[:0]
    assert finding.figure(*given)
    assert "nan" not in said(*given)
    assert {line.verdict for line in judged(*given).values()} == {INCOMPARABLE}


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_have_a_figure_and_text(seeds):
    """With or without intervals."""
    given = made(seeds=seeds)
    assert finding.figure(*given)
    assert "nan" not in said(*given)
    assert len(judged(*given)) == 17
