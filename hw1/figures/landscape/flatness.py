"""The figures of flat regions, of lines and of valleys. Functions as in `hw1.figures.generalization`.

Points and lines are means over seeds, geometric ones on logarithmic axes; bars and bands are 95 % t-intervals of the
mean. Solid is training, dashed test.
"""

import numpy as np
from matplotlib.lines import Line2D

from hw1 import statistics
from hw1.figures import style
from hw1.figures.style import BLACK, BLUE, COLOURS, GREEN, LOSS, ORANGE, PURPLE, TEST, TRAIN, VERMILION


def straight_line(frame, settings, training):
    """Loss on the line from start to end, per epoch, and on the line between two solutions; a colour a net."""
    figure, (first, second, third) = style.figure(1, 3, 2.5, sharey=True)
    colours = dict(zip(settings["nets"], (BLUE, VERMILION, GREEN), strict=False))
    panels = {
        "start to end": (first, "alpha", "start (0) to end (1) of training"),
        "training": (second, "epoch", "training"),
        "end to end": (third, "alpha", "one solution (0) to another (1)"),
    }
    for name, (axes, by, title) in panels.items():
        axes.set_yscale("log")
        rows = training if name == "training" else frame[(frame.line == name) & (frame.status != "diverged")]
        for net, colour in colours.items():
            for part, line in (("train_loss", TRAIN), ("test_loss", TEST)):
                style.curve(axes, rows[rows.net == net], by, part, band=True, color=colour, linestyle=line)
        axes.set(xlabel="epoch" if by == "epoch" else "α", title=title)
        for end in (0, 1) if by == "alpha" else ():
            axes.axvline(end, color="#888888", linewidth=0.8, linestyle=":")
    first.set_ylabel(LOSS)
    sets = style.sets(BLACK)
    style.legend(figure, {net: {"color": colour} for net, colour in colours.items()} | sets)
    return figure


FLATNESS = {  # column → name, and the sign that makes it larger for sharper minima
    "spectral_norm": ("spectral norm", 1),
    "trace": ("trace", 1),
    "ball_sharpness": ("L2 ball", 1),
    "subspace_sharpness": ("random subspace", 1),
    "log_volume": ("− ln volume", -1),
}


def flatness(frame, settings, radii, rescaling):
    """The population, each measure's correlation with test results, the volume under rescaling, the ball's limits."""
    figure, ((first, second), (third, fourth)) = style.figure(2, 2, 4.8)
    course = frame[(frame.net == "course") & (frame.status != "diverged")]
    course = course.assign(loss_gap=course.test_loss - course.train_loss, test_error=1 - course.test_accuracy)
    markers = dict(zip(settings["batch_sizes"], "osD^vP*X", strict=False))
    style.log_x(first, "spectral norm ‖H‖₂")
    for colour, rate in zip(COLOURS, settings["learning_rates"], strict=False):
        for size, marker in markers.items():
            rows = course[(course.batch_size == size) & (course.learning_rate == rate)]
            first.plot(rows.spectral_norm, rows.loss_gap, marker, color=colour, markersize=3.5, alpha=0.8)
    first.set(ylabel="test loss − training loss (nats)", yscale="log", title="one point a net")
    first.yaxis.set_major_formatter("{x:g}")
    first.yaxis.set_minor_formatter(style.BetweenDecades())
    rates = zip(COLOURS, settings["learning_rates"], strict=False)
    looks = {f"step size {rate:g}": {"color": colour} for colour, rate in rates}
    looks |= {f"B = {size}": {"color": BLACK, "marker": m, "linestyle": ""} for size, m in markers.items()}
    style.legend(figure, looks)
    _correlations(second, course)
    _rescaled_volumes(third, rescaling)
    fourth.set_yscale("log")
    for size, colour in zip((min(markers), max(markers)), (BLUE, VERMILION), strict=True):
        rows = radii[radii.batch_size == size]
        for column, line in (("quadratic", TRAIN), ("linear", TEST)):
            ratio = rows.assign(value=rows[column] / rows.maximum)
            style.curve(fourth, ratio, "epsilon", "value", color=colour, linestyle=line)
    fourth.axhline(1, color="#888888", linewidth=0.8, linestyle=":")
    style.log_x(fourth, "radius ε of the ball (units of the parameters)")
    fourth.set(ylabel="approximation / maximum", title="the ball's maximum and its approximations")
    handles = [
        Line2D([], [], color=BLACK, linestyle=TRAIN, label="‖H‖₂ ε² / 2"),
        Line2D([], [], color=BLACK, linestyle=TEST, label="‖∇L‖ ε"),
    ]
    handles += [Line2D([], [], color=c, label=f"B = {s}") for s, c in ((min(markers), BLUE), (max(markers), VERMILION))]
    fourth.legend(handles=handles)
    return figure


def _correlations(axes, course):
    """Spearman's correlation of each measure with test loss and test error, with intervals over seeds."""
    results = {"test_loss": ("test loss", BLUE, 0.12), "test_error": ("test error", ORANGE, -0.12)}
    places = np.arange(len(FLATNESS))[::-1]
    for result, (label, colour, shift) in results.items():
        signed = [course.assign(measure=sign * course[column]) for column, (_, sign) in FLATNESS.items()]
        values, lows, highs, _ = np.array([statistics.rank_correlation(rows, "measure", result) for rows in signed]).T
        bars = np.nan_to_num([values - lows, highs - values])
        axes.errorbar(values, places + shift, xerr=bars, fmt="o", color=colour, capsize=2, label=label)
    axes.axvline(0, color="#888888", linewidth=0.8, linestyle=":")
    axes.set(xlim=(-1.05, 1.05), ylim=(-1.3, len(FLATNESS) - 0.5), xlabel="Spearman's rank correlation")
    axes.set_yticks(places, [name for name, _ in FLATNESS.values()])
    axes.set_title("do sharper nets generalise worse?")
    axes.legend(loc="lower center", ncols=2)


def _rescaled_volumes(axes, rescaling):
    """Volumes relative to α = 1, so that each net counts once; the line is the predicted growth."""
    base = rescaling[rescaling.alpha == 1].set_index(["seed", "region"]).log_volume
    keys = list(zip(rescaling.seed, rescaling.region, strict=True))
    rows = rescaling.assign(change=rescaling.log_volume - base.loc[keys].to_numpy())
    regions = {"whole": ("all dimensions", BLUE), "section": ("section, 3 dimensions", PURPLE)}
    for region, (label, colour) in regions.items():
        style.curve(axes, rows[rows.region == region], "alpha", "change", color=colour, label=label, linestyle="")
    alphas, exponent = np.sort(rescaling.alpha.unique()), rescaling.exponent.max()
    axes.plot(alphas, exponent * np.log(alphas), color=BLACK, linewidth=0.8, label=f"{exponent} ln α")
    style.log_x(axes, "α")
    axes.set(ylabel="ln volume, change from α = 1", title="one function, (αθ₁, θ₂/α)")
    axes.legend(loc="upper left")


def redundancy(frame, settings):
    """The valley of (w₁w₂)² with paths in it, its curvature, and the curvature in time: median and quartiles."""
    figure, (first, second, third) = style.figure(1, 3, 2.6)
    reach, looks = 1.25 * settings["reach"], {"descent": BLACK, "label noise": BLUE, "parameter noise": VERMILION}
    side = np.linspace(-reach, reach, 201)
    first.contour(side, side, np.outer(side, side) ** 2, np.geomspace(0.01, 10, 7), colors="#bbbbbb", linewidths=0.6)
    for method, colour in looks.items():
        rows = frame[frame.part == method]
        for seed in range(min(4, settings["seeds"])):
            one = rows[rows.seed == seed]
            first.plot(one["first"], one.second, color=colour, linewidth=0.5, alpha=0.6)
        ends = rows[rows.step == settings["steps"]]
        first.plot(ends["first"], ends.second, "o", color=colour, markersize=2.5)
        low, middle, high = (rows.groupby("step").largest_eigenvalue.quantile(q) for q in (0.25, 0.5, 0.75))
        third.plot(middle, color=colour)
        third.fill_between(middle.index, low, high, color=colour, alpha=0.18, linewidth=0)
    first.set(xlabel="w₁", ylabel="w₂", title="(w₁w₂)²: where runs end", xlim=(-reach, reach), ylim=(-reach, reach))
    first.set_aspect("equal")
    valley = frame[frame.part == "valley"]
    t = np.linspace(valley["first"].min(), valley["first"].max(), 101)
    second.plot(t, 2 * t**2, color="#888888", linewidth=0.8, label="2t²")
    second.plot(valley["first"], valley.largest_eigenvalue, "o", color=BLUE, label="λ₁ at (t, 0)")
    second.plot(valley["first"], valley.smallest_eigenvalue, "o", color=ORANGE, label="λ₂")
    second.axhline(2, color=GREEN, label="of w²")
    second.set(xlabel="t", ylabel="eigenvalue of the Hessian", title="curvature along the valley")
    second.set_ylim(top=1.7 * second.get_ylim()[1])
    second.legend(loc="upper center", ncols=2)
    third.set(xlabel="step", ylabel="λ₁", title="curvature in time", ylim=(0, None))
    third.axvline(0.9 * settings["steps"], color="#888888", linewidth=0.8, linestyle=":")
    third.text(0.89 * settings["steps"], third.get_ylim()[1], "noise ends", fontsize=6.5, ha="right", va="top")
    style.legend(figure, {name: {"color": colour} for name, colour in looks.items()})
    return figure


QUESTIONS = (
    straight_line,
    flatness,
    redundancy,
)
