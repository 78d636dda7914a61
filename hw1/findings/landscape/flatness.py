"""Figure, claims and text. Do five measures of flatness agree on one population of nets, and do flat nets generalise better?

Reads the rows of `hw1.landscape.flatness` (net, batch_size, learning_rate, seed, losses, accuracies, the five measures,
status) and its tables "radii" (batch_size, seed, epsilon, maximum, quadratic, linear) and "rescaling" (seed, alpha,
region, exponent, log_volume).
"""

import itertools
from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hw1.findings import style
from hw1.findings.style import BLACK, BLUE, COLOURS, ORANGE, PURPLE, TEST, TRAIN, VERMILION
from hw1.findings.verdict import ALIKE_WORSE, HOMEWORK, KESKAR, OWN, Claim, claim
from hw1.findings.words import listed, number, show, sign, training_loss
from hw1.statistics import (
    Interval,
    correlation_given,
    correlation_within,
    geometric_mean,
    mean_interval,
    rank_correlation,
    weakest,
)

CELL = ["batch_size", "learning_rate"]  # nets of one cell differ in their seed only

MARKERS = "osD^vP*X"
MEASURES = {  # column, larger for sharper minima → name in the figure, name in a sentence, source
    "spectral_norm": ("spectral norm", "the spectral norm", KESKAR),
    "trace": ("trace", "the trace", KESKAR),
    "ball_sharpness": ("L2 ball", "the ε-sharpness in the L2 ball", KESKAR),
    "subspace_sharpness": ("random subspace", "the sharpness in a random subspace", KESKAR),
    "minus_log_volume": (
        "− ln volume",
        "−ln of the ε-flat volume in a random section",
        "Hochreiter and Schmidhuber 1997",
    ),
}


def figure(rows, settings, radii, rescaling) -> Figure:
    """The population, each measure's correlation with test results, the volume under rescaling, the ball's limits.

    Points are single nets in the first panel, else means over seeds with 95 % intervals.
    """
    fig, ((first, second), (third, fourth)) = style.figure(2, 2, 4.8)
    course = _course(rows)
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


def _course(rows):
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
    axes.set(xlim=(-1.05, 1.05), ylim=(-1.9, len(MEASURES) - 0.5), xlabel="rank correlation")
    axes.set_yticks(places, [label for label, *_ in MEASURES.values()])
    axes.set_title("do sharper nets generalise worse?")
    axes.legend(loc="lower center", ncols=2)


def _rescaled_volumes(axes, rescaling):
    """The change of the volumes from α = 1, in which each net counts once; the line is the predicted growth."""
    base = rescaling[rescaling.alpha == 1].set_index(["seed", "region"]).log_volume
    keys = list(zip(rescaling.seed, rescaling.region, strict=True))
    rows = rescaling.assign(change=rescaling.log_volume - base.reindex(keys).to_numpy())
    regions = {"whole": ("all dimensions", BLUE), "section": ("section, 3 dimensions", PURPLE)}
    for region, (label, colour) in regions.items():
        style.curve(axes, rows[rows.region == region], "alpha", "change", color=colour, label=label, linestyle="")
    alphas, exponent = np.sort(rescaling.alpha.unique()), rescaling.exponent.max()
    axes.plot(alphas, exponent * np.log(alphas), color=BLACK, linewidth=0.8, label=f"{exponent} ln α")
    style.log_x(axes, "α")
    axes.set(ylabel="ln volume, change from α = 1", title="one function, (αθ₁, θ₂/α)")
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
    style.log_x(axes, "radius ε of the ball (units of the parameters)")
    axes.set(ylabel="approximation / maximum", title="the ball's maximum and its approximations")
    handles = [
        Line2D([], [], color=BLACK, linestyle=TRAIN, label="‖H‖₂ ε² / 2"),
        Line2D([], [], color=BLACK, linestyle=TEST, label="‖∇L‖ ε"),
    ]
    handles += [Line2D([], [], color=colour, label=f"batch size {size}") for size, colour in sizes.items()]
    axes.legend(handles=handles)


def claims(rows, settings, radii, **_) -> Iterator[Claim]:
    """Whether sharper nets of equal settings generalise worse, five measures agree, and how far the quadratic reaches."""
    course, nets = _course(rows), rows[rows.net == "course"]
    for column, what, side in (
        ("test_loss", "test loss", {"above": 0}),
        ("test_accuracy", "test accuracy", {"below": 0}),
    ):
        for measure, (_, name, source) in MEASURES.items():
            yield claim(
                source,
                f"Sharper minima generalise worse (Spearman's correlation of {name} and {what}, both as deviations from the mean of their batch size and learning rate)",
                correlation_given(course, measure, column, CELL),
                nets,
                **side,
                topic=ALIKE_WORSE,
            )
    yield claim(
        OWN,
        "Five measures of flatness order nets alike (least of Spearman's correlations of two of them, above 0.5)",
        _least_agreement(course),
        nets,
        above=0.5,
    )
    for epsilon in sorted({radii.epsilon.min(), radii.epsilon.max()} if len(radii) else ()):
        yield claim(
            f"{HOMEWORK} 1-3",
            f"‖H‖₂ ε² / (2 (1 + L)) is the largest rise within ε = {epsilon:g} (ratio of the two, 1 ± 0.1)",
            _approximated(radii, "quadratic", epsilon),
            within=(0.9, 1.1),
        )


def _least_agreement(course) -> Interval:
    """The least rank correlation of two measures, whichever pair it is."""
    return weakest(rank_correlation(course, *pair) for pair in itertools.combinations(MEASURES, 2))


def _approximated(radii, column, epsilon) -> Interval:
    """An approximation of the maximum in the ball over the maximum, its geometric mean for each seed."""
    rows = radii[radii.epsilon == epsilon]
    ratio = np.log(rows[column] / rows.maximum).groupby(rows.seed).mean()
    return geometric_mean(np.exp(ratio))


def comment(rows, settings, radii, rescaling) -> dict:
    """Whether the measures agree, whether flat nets generalise better by them, and what they do not measure."""
    course = _course(rows)
    sizes, rates = (listed(f"{value:g}" for value in settings[name]) for name in ("batch_sizes", "learning_rates"))
    return {
        "title": "Flatness",
        "method": f"{training_loss(course, settings)} The nets differ in batch size ({sizes}) and in the learning rate of Adam ({rates}). All measures use the first {settings['examples']} training images.",
        "caption": "Top: gap between test and training loss against the spectral norm, one point a net (left); rank correlation of each measure with test loss and test error, positive where sharper nets are worse: as deviations from the mean of the nets of equal batch size and rate (filled), and over all nets of a seed (hollow) (right). Bottom: change of the ε-flat volume of a small net when its layers are rescaled without changing its function, with the predicted growth (left); quadratic and linear approximations of the largest rise in a ball, relative to it (right).",
        "comment": [
            f"{_agreement(course)}{_within(course)} {_pooled(course)}".strip(),
            f"{_rescaling(rescaling)} {_reach(radii)}".strip(),
        ],
    }


def _agreement(course) -> str:
    """Whether the measures order the nets alike."""
    least = _least_agreement(course)
    trends = [rank_correlation(course, measure, "batch_size") for measure in MEASURES]
    if not np.isfinite(least.value):
        return "There are too few nets of one seed for rank correlations. "
    verdicts = {
        1: "they order the nets alike",
        0: "it remains open whether they order the nets alike",
        -1: "they do not order the nets alike",
    }
    text = f"The smallest rank correlation between two of the five measures is {show(least, 2)}: {verdicts[sign(least, 0.5)]}. "
    if all(sign(trend) > 0 for trend in trends):
        text += f"By all of them, larger batches end in sharper minima (rank correlations {_range(trends)}). "
    return text


def _range(intervals) -> str:
    """The smallest and the largest of several statistics."""
    values = [interval.value for interval in intervals]
    return f"{number(min(values), 2)} to {number(max(values), 2)}"


def _within(course) -> str:
    """By how many measures the sharper nets of equal settings generalise worse."""
    text, signs, taus = "", set(), []
    for column, what, worse in (("test_accuracy", "test accuracy", -1), ("test_loss", "test loss", 1)):
        found = {measure: correlation_given(course, measure, column, CELL) for measure in MEASURES}
        if not all(np.isfinite(interval.low) for interval in found.values()):
            return "With so few seeds, nets of equal settings cannot be compared."
        marks = {MEASURES[measure][0]: worse * sign(interval) for measure, interval in found.items()}
        signs |= set(marks.values())
        text += (
            "As deviations from the mean of their batch size and learning rate, the measures have"
            if not text
            else "They have"
        )
        text += f" rank correlations of {_range(found.values())} with {what}: {_judged(marks)}. "
        within = [correlation_within(course, measure, column, CELL) for measure in MEASURES]
        taus.append(f"{_range(within)} with {what} ({sum(sign(tau) != 0 for tau in within)} of 5 measurably)")
    text += f"Kendall's τ of the seeds of one batch size and rate, which also contains how hard the images of each seed are, is {' and '.join(taus)}. "
    verdicts = {
        (1,): "At fixed settings flat nets generalise better by every measure.",
        (-1,): "At fixed settings flat nets generalise worse by every measure.",
    }
    return text + verdicts.get(
        tuple(signs),
        "So these runs, at fixed settings and one training loss, do not show that flat nets reliably generalise better, however flatness is measured.",
    )


def _judged(marks) -> str:
    """By which measures sharper nets are worse (1), and by which better (−1)."""
    names = {side: [name for name, mark in marks.items() if mark == side] for side in (1, -1)}
    text = f"sharper nets are measurably worse by {_measures(names[1])}"
    return f"{text} and measurably better by {_measures(names[-1])}" if names[-1] else text


def _pooled(course) -> str:
    """What the correlations over all nets of a seed say, and how they can have the other sign."""
    parts, other, signs = [], [], []
    for column, what in (("test_accuracy", "test accuracy"), ("test_loss", "test loss")):
        pooled = {measure: rank_correlation(course, measure, column) for measure in MEASURES}
        if not all(np.isfinite(interval.value) for interval in pooled.values()):
            return ""
        parts.append(f"{_range(pooled.values())} with {what}")
        for measure, interval in pooled.items():
            signs.append((sign(interval), sign(correlation_given(course, measure, column, CELL))))
            if np.prod(signs[-1]) < 0:
                other.append(f"{MEASURES[measure][0]} and {what}")
    text = f"Over all nets of a seed, Spearman's correlations are {' and '.join(parts)}. "
    if other:
        return f"{text}For {listed(other)} the sign is the opposite of that at fixed settings, which is Simpson's paradox: batch size and learning rate move both quantities, so that over all nets one sees what the settings do, not what sharpness does."
    if all(over_all == at_fixed for over_all, at_fixed in signs):
        return f"{text}So they agree with those at fixed settings."
    return f"{text}They also contain what batch size and learning rate do to both quantities, so they can differ from those at fixed settings, even in sign (Simpson's paradox)."


def _measures(names) -> str:
    """How many of the measures, and which."""
    if len(names) == len(MEASURES):
        return "all five measures"
    return f"{len(names)} of 5 ({listed(names)})" if names else "none of the five"


def _rescaling(rescaling) -> str:
    """How the volume of a net changes when it is rescaled without changing its function."""
    whole = rescaling[rescaling.region == "whole"]
    if whole.alpha.nunique() < 2:
        return ""
    slopes = [np.polyfit(np.log(net.alpha), net.log_volume, 1)[0] for _, net in whole.groupby("seed")]
    slope, exponent = mean_interval(slopes), whole.exponent.max()
    text = f"When the layers of a small net are rescaled by α and 1/α, its function stays the same, but the estimated volume of its ε-flat region grows as α to the power {show(slope)}; theory predicts {exponent}"
    agrees = slope.low <= exponent <= slope.high
    text += ", within the interval. " if agrees else ". "
    return f"{text}A volume in the units of the parameters therefore does not belong to the function alone."


def _reach(radii) -> str:
    """How far the quadratic approximation of the course's formula reaches."""
    if radii.empty:
        return ""
    small, large = radii.epsilon.min(), radii.epsilon.max()
    quadratic, linear = _approximated(radii, "quadratic", small), _approximated(radii, "linear", small)
    text = f"The quadratic approximation of the course's formula, ‖H‖₂ ε² / 2, is {show(quadratic, 2)} times the largest rise within ε = {small:g} and {show(_approximated(radii, 'quadratic', large), 2)} times that within ε = {large:g}."
    if quadratic.value < 0.5 and abs(linear.value - 1) < 0.1:
        text += f" At ε = {small:g} the gradient alone gives {show(linear, 2)} times the rise: the nets are not exactly at minima, and close to them the slope outweighs the curvature."
    return text
