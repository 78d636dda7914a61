"""Figure, claims and text. How does a redundant parameter change the loss surface: w² against (w₁w₂)², the same function with w = w₁w₂?

Reads the rows of `hw1.landscape.redundancy` (part, seed, step, first, second, loss, largest_eigenvalue,
smallest_eigenvalue). Part "valley" has points along a valley, the other parts are methods of descent.
"""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import BLACK, BLUE, GREEN, ORANGE, VERMILION
from hw1.findings.verdict import OWN, Claim, check, claim
from hw1.findings.words import number, show, sign
from hw1.statistics import Interval, mean_interval, paired_difference

DU = "Du et al., arXiv 1806.00900"  # theorem 2.1: gradient flow conserves the difference of squared norms of layers
METHODS = {"descent": BLACK, "label noise": BLUE, "parameter noise": VERMILION}
SHOWN = 4  # paths of each method
QUIET = 0.9  # the fraction of the steps after which the noise ends
SMALL_DRIFT = 0.05  # of w₁² − w₂², left for the finite steps
CURVATURE = 2  # of w² at its minimum


def figure(rows, settings) -> Figure:
    """The valley of (w₁w₂)² with paths in it, its curvature, and the curvature in time: median and quartiles."""
    fig, (first, second, third) = style.figure(1, 3, 2.6)
    _paths(first, rows, settings)
    _valley(second, rows[rows.part == "valley"])
    for method, colour in METHODS.items():
        steps = rows[rows.part == method].groupby("step").largest_eigenvalue
        low, middle, high = (steps.quantile(share) for share in (0.25, 0.5, 0.75))
        third.plot(middle, color=colour)
        third.fill_between(middle.index, low, high, color=colour, alpha=0.18, linewidth=0)
    third.set(xlabel="step", ylabel="λ₁", title="curvature in time", ylim=(0, None))
    end = QUIET * settings["steps"]
    third.axvline(end, color="#888888", linewidth=0.8, linestyle=":")
    place = end - 0.01 * settings["steps"]
    third.text(place, third.get_ylim()[1], "noise ends", fontsize=6.5, ha="right", va="top")
    style.legend(fig, {name: {"color": colour} for name, colour in METHODS.items()})
    return fig


def _paths(axes, rows, settings):
    """Contours of (w₁w₂)², some paths of each method, and the ends of all."""
    reach = 1.25 * settings["reach"]
    side = np.linspace(-reach, reach, 201)
    axes.contour(side, side, np.outer(side, side) ** 2, np.geomspace(0.01, 10, 7), colors="#bbbbbb", linewidths=0.6)
    for method, colour in METHODS.items():
        runs = rows[rows.part == method]
        for seed in runs.seed.unique()[:SHOWN]:
            one = runs[runs.seed == seed]
            axes.plot(one["first"], one.second, color=colour, linewidth=0.5, alpha=0.6)
        ends = runs[runs.step == settings["steps"]]
        axes.plot(ends["first"], ends.second, "o", color=colour, markersize=2.5)
    axes.set(xlabel="w₁", ylabel="w₂", title="(w₁w₂)²: where runs end", xlim=(-reach, reach), ylim=(-reach, reach))
    axes.set_aspect("equal")


def _valley(axes, valley):
    """Both eigenvalues along the valley beside the curvature of w²."""
    t = np.linspace(valley["first"].min(), valley["first"].max(), 101)
    axes.plot(t, 2 * t**2, color="#888888", linewidth=0.8, label="2t²")
    axes.plot(valley["first"], valley.largest_eigenvalue, "o", color=BLUE, label="λ₁ at (t, 0)")
    axes.plot(valley["first"], valley.smallest_eigenvalue, "o", color=ORANGE, label="λ₂")
    axes.axhline(CURVATURE, color=GREEN, label="of w²")
    axes.set(xlabel="t", ylabel="eigenvalue of the Hessian", title="curvature along the valley")
    axes.set_ylim(top=1.7 * axes.get_ylim()[1])
    axes.legend(loc="upper center", ncols=2)


def claims(rows, settings) -> Iterator[Claim]:
    """Where descent ends in the valley of (w₁w₂)², and that noise of the labels ends where it is flatter."""
    drift = _drifts(rows, settings)
    yield check(
        DU,
        "Gradient flow conserves w₁² − w₂², so descent with small steps nearly does (largest relative change at the end)",
        Interval(drift.max(), np.nan, np.nan, drift.notna().sum()),
        within=(0, SMALL_DRIFT),
    )
    yield claim(
        OWN,
        "With noisy labels descent ends where the valley is flatter (difference in λ₁ to descent without noise)",
        _flattening(rows, settings, "label noise"),
        below=0,
    )


def _at(rows, method, step):
    """The points of one method at a step, by seed."""
    return rows[(rows.part == method) & (rows.step == step)].set_index("seed").sort_index()


def _drifts(rows, settings):
    """The relative change of w₁² − w₂² from start to end of gradient descent, by seed."""
    points = (_at(rows, "descent", step) for step in (0, settings["steps"]))
    start, end = (some["first"] ** 2 - some.second**2 for some in points)
    return (end / start - 1).abs()


def _flattening(rows, settings, method) -> Interval:
    """The difference in λ₁ at the end to descent without noise, over pairs of one start."""
    noisy, quiet = (_at(rows, name, settings["steps"]).largest_eigenvalue for name in (method, "descent"))
    return paired_difference(noisy, quiet)


def comment(rows, settings) -> dict:
    """What a redundant parameter does to curvature, and where noise leads in the valley."""
    return {
        "title": "Redundancy",
        "method": f"Descent on (w₁w₂)² takes {settings['steps']:,} steps of size {settings['learning_rate']:g} from random starts; every method has the same starts. Label noise has standard deviation {settings['label_noise']:g}, parameter noise temperature {settings['temperature']:g}; the last tenth of the steps has no noise.",
        "caption": f"Level lines of (w₁w₂)² with the paths of {SHOWN} starts of each method and the end points of all (left); eigenvalues of the Hessian along the valley w₂ = 0, with the curvature of w² (middle); largest eigenvalue along the runs, median and quartiles (right).",
        "comment": [_curvatures(rows), _noise(rows, settings), _conclusion(rows, settings)],
    }


def _curvatures(rows) -> str:
    """How the curvature varies over minima that are all the same function."""
    valley = rows[rows.part == "valley"]
    low, high = number(valley.largest_eigenvalue.min()), number(valley.largest_eigenvalue.max())
    other = valley.smallest_eigenvalue.abs().max()
    flat = "is 0" if other == 0 else f"is at most {number(other, 2)} in size"
    return f"The minimum of w² has the curvature {CURVATURE}. Written as (w₁w₂)², the same function has a valley of minima, along which the largest eigenvalue of the Hessian goes from {low} to {high} over the measured part, while the other {flat}."


def _noise(rows, settings) -> str:
    """Where the three methods end in the valley."""
    ends = {method: mean_interval(_at(rows, method, settings["steps"]).largest_eigenvalue) for method in METHODS}
    drift = mean_interval(_drifts(rows, settings))
    text = f"Descent without noise changes w₁² − w₂² by {show(drift, 2)} of its value at the start, and ends at λ₁ = {show(ends['descent'])} on average{': the start decides how flat its minimum is' if sign(drift, SMALL_DRIFT) < 0 else ''}. "
    verdicts = {
        -1: "it ends in flatter minima",
        0: "its minima are not measurably flatter or sharper",
        1: "it ends in sharper minima",
    }
    for method in ("label noise", "parameter noise"):
        change = _flattening(rows, settings, method)
        text += f"With {method} it is {show(ends[method])} (difference from the same starts {show(change, 2)}): {verdicts[sign(change)]}. "
    return text.strip()


def _conclusion(rows, settings) -> str:
    """What the example says of flat minima."""
    text = "All points of the valley are the same function of the input, so flat and sharp ones generalise equally: here flatness is a property of the parameters, not of the function."
    if sign(_flattening(rows, settings, "label noise")) < 0:
        return f"{text} Noise can thus lead descent to flat minima without any gain in generalisation; that an optimizer ends in a flat minimum is no evidence that flatness is of use."
    return text
