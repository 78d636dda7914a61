"""The figure of question `flatness`: the population, correlations, volumes and approximations."""

import itertools

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hw1.findings import style
from hw1.findings.style import BLACK, BLUE, COLOURS, ORANGE, PURPLE, TEST, TRAIN, VERMILION
from hw1.statistics import (
    correlation_given,
    rank_correlation,
)

CELL = ["batch_size", "learning_rate"]  # nets of one cell differ in their seed only
MARKERS = "osD^vP*X"
MEASURES = {  # column, larger for sharper minima → name in the figure, name in a sentence
    "spectral_norm": ("spectral norm", "the spectral norm"),
    "trace": ("trace", "the trace"),
    "ball_sharpness": ("L2 ball", "the sharpness of the L2 ball"),
    "subspace_sharpness": ("random subspace", "the sharpness φ in a random subspace"),
    "minus_log_volume": ("− ln volume", "−ln of the δ-flat volume in a random subspace"),
}


def figure(rows, settings, radii, rescaling) -> Figure:
    """The population, each measure's correlation with test results, the volume under rescaling, the ball's limits.

    Points are single nets in the first panel, else means over seeds with 95 % intervals.
    """
    fig, ((first, second), (third, fourth)) = style.figure(2, 2, 4.8)
    course = course_nets(rows)
    markers, rates = _looks(settings["batch_sizes"], MARKERS), _looks(settings["learning_rates"], COLOURS)
    _population(first, course, rates, markers)
    colours = {rate: {"color": colour} for rate, colour in rates.items()}
    shapes = {size: {"color": BLACK, "marker": marker, "linestyle": ""} for size, marker in markers.items()}
    style.legend(fig, style.named("rate", colours) | style.named("batch", shapes))
    _correlations(second, course)
    _rescaled_volumes(third, rescaling)
    _approximations(fourth, radii, {min(markers): BLUE, max(markers): VERMILION})
    return fig


def _looks(values, looks) -> dict:
    """Value → its look; if there are more values than looks, they are used again."""
    return dict(zip(values, itertools.islice(itertools.cycle(looks), len(values)), strict=True))


def course_nets(rows):
    """The course's nets that did not diverge, with a column for each measure."""
    course = rows[(rows.net == "course") & (rows.status != "diverged")]
    return course.assign(minus_log_volume=-course.log_volume)


def _population(axes, course, rates, markers):
    """The gap between test and training loss against the spectral norm, one point a net."""
    style.log_x(axes, "spectral norm ‖H‖₂")
    for rate, colour in rates.items():
        for size, marker in markers.items():
            nets = course[(course.batch_size == size) & (course.learning_rate == rate)]
            gap = nets.test_loss - nets.train_loss
            axes.plot(nets.spectral_norm, gap, marker, color=colour, markersize=3.5, alpha=0.8)
    axes.set(ylabel="test loss − training loss (nats)", yscale="log", title="one point per net")
    axes.yaxis.set_major_formatter("{x:g}")
    style.log_ticks(axes.yaxis)


def _correlations(axes, course):
    """Correlation of each measure with test loss and test error at equal settings, and over all nets of a seed (hollow)."""
    course = course.assign(test_error=1 - course.test_accuracy)
    results = {"test_loss": ("test loss", BLUE, 0.12), "test_error": ("test error", ORANGE, -0.12)}
    places = np.arange(len(MEASURES))[::-1]
    for result, (label, colour, shift) in results.items():
        within = [correlation_given(course, column, result, CELL) for column in MEASURES]
        pooled = [rank_correlation(course, column, result) for column in MEASURES]
        for kind, found, place, look in (
            ("equal settings", within, shift, {"fmt": "o"}),
            ("all nets", pooled, 2.5 * shift, {"fmt": "D", "markerfacecolor": "white"}),
        ):
            values, lows, highs = np.array([part[:3] for part in found]).T
            bars = np.nan_to_num([values - lows, highs - values])
            axes.errorbar(values, places + place, xerr=bars, color=colour, capsize=2, label=f"{label}, {kind}", **look)
    axes.axvline(0, color="#888888", linewidth=0.8, linestyle=":")
    axes.set(xlim=(-1.05, 1.05), ylim=(-0.5, len(MEASURES) - 0.5), xlabel="rank correlation")
    axes.set_yticks(places, [label for label, *_ in MEASURES.values()])
    axes.set_title("do sharper nets generalise worse?")
    axes.legend(loc="upper center", bbox_to_anchor=(0.3, -0.2), ncols=2, columnspacing=1)


def _rescaled_volumes(axes, rescaling):
    """The change of the volumes from α = 1, in which each net counts once; the line is the predicted growth."""
    base = rescaling[rescaling.alpha == 1].set_index(["seed", "region"]).log_volume
    keys = list(zip(rescaling.seed, rescaling.region, strict=True))
    rows = rescaling.assign(change=rescaling.log_volume - base.reindex(keys).to_numpy())
    regions = {"whole": ("all dimensions", BLUE, "o"), "section": ("random subspace, 3 dimensions", PURPLE, "s")}
    for region, (label, colour, marker) in regions.items():
        look = {"color": colour, "marker": marker, "linestyle": "", "label": label}
        style.curve(axes, rows[rows.region == region], "alpha", "change", **look)
    alphas, exponent = np.sort(rescaling.alpha.unique()), rescaling.exponent.max()
    axes.plot(alphas, exponent * np.log(alphas), color=BLACK, linewidth=0.8, label=f"{exponent} ln α")
    style.log_x(axes, "α")
    axes.set(ylabel="ln volume, change from α = 1", title="one function, (αθ₁, θ₂/α)")
    axes.set_ylim(top=1.6 * axes.get_ylim()[1])  # for the legend
    axes.legend(loc="upper left")


def _approximations(axes, radii, sizes):
    """The quadratic and the linear approximation over the maximum in the ball, against its radius."""
    axes.set_yscale("log")
    for size, colour in sizes.items():
        nets = radii[radii.batch_size == size]
        for column, line in (("quadratic", TRAIN), ("linear", TEST)):
            ratio = nets.assign(value=nets[column] / nets.maximum)
            style.curve(axes, ratio, "epsilon", "value", color=colour, linestyle=line)
    axes.axhline(1, color="#888888", linewidth=0.8, linestyle=":")
    style.log_x(axes, "radius r of the ball (units of the parameters)")
    style.log_ticks(axes.yaxis)
    axes.set(ylabel="approximation / maximum", title="the ball's maximum and its approximations")
    handles = [
        Line2D([], [], color=BLACK, linestyle=TRAIN, label="‖H‖₂ r² / 2"),
        Line2D([], [], color=BLACK, linestyle=TEST, label="‖∇L‖ r"),
    ]
    handles += [Line2D([], [], color=colour, label=f"batch size {size:,}") for size, colour in sizes.items()]
    axes.set_ylim(bottom=axes.get_ylim()[0] / 10)  # for the legend
    axes.legend(handles=handles, loc="lower center", ncols=2)
