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
from hw1.findings.verdict import ALIKE_WORSE, HOMEWORK, OWN, Claim, check, claim
from hw1.findings.words import listed, number, part_of, show, sign, training_loss
from hw1.statistics import (
    Interval,
    correlation_given,
    correlation_within,
    geometric_mean,
    mean_interval,
    rank_correlation,
    weakest,
)

DINH = "Dinh et al., arXiv 1703.04933"
CELL = ["batch_size", "learning_rate"]  # nets of one cell differ in their seed only
AGREEMENT = 0.5  # the rank correlation above which two measures count as ordering nets alike
GROWTH = 0.2  # how far the fitted power of α may be from the known one: it rests on few rays
FEW_RAYS = 10  # effective rays below which a volume is a rough estimate

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


def claims(rows, settings, radii, rescaling) -> Iterator[Claim]:
    """Whether sharper nets of equal settings generalise worse, five measures agree, and how far the quadratic reaches."""
    course, nets = _course(rows), rows[rows.net == "course"]
    for column, what, side in (
        ("test_loss", "test loss", {"above": 0}),
        ("test_accuracy", "test accuracy", {"below": 0}),
    ):
        for measure, (_, name) in MEASURES.items():
            yield claim(
                OWN,
                f"Of nets of one batch size and learning rate the sharper ones generalise worse (Spearman's correlation of {name} and {what}, both as deviations from the mean of their batch size and learning rate)",
                correlation_given(course, measure, column, CELL),
                nets,
                **side,
                topic=ALIKE_WORSE,
            )
    for how, correlation, given in (
        ("nets of all batch sizes and learning rates", rank_correlation, ""),
        (
            "nets of one batch size and learning rate",
            _given,
            " as deviations from the mean of their batch size and rate",
        ),
    ):
        yield claim(
            OWN,
            f"Five measures of flatness order {how} alike (least of Spearman's correlations of two of them{given}, above {AGREEMENT:g})",
            _least_agreement(course, correlation),
            nets,
            above=AGREEMENT,
            effect=np.nan,
        )
    if rescaling.alpha.nunique() > 1:
        power, exponent = _power(rescaling)
        yield check(
            DINH,
            f"The volume of a region that is rescaled with the net grows by the known power of α, here by construction (fitted power, {exponent} ± {GROWTH:g})",
            power,
            within=(exponent - GROWTH, exponent + GROWTH),
        )
    for epsilon in sorted({radii.epsilon.min(), radii.epsilon.max()} if len(radii) else ()):
        yield claim(
            f"{HOMEWORK} 1-3",
            f"‖H‖₂ r² / (2 (1 + L)) is the largest rise within the radius r = {epsilon:g} (ratio of the two, 1 ± 0.1)",
            _approximated(radii, "quadratic", epsilon),
            within=(0.9, 1.1),
        )


def _given(course, a, b) -> Interval:
    """The rank correlation of two columns among nets of equal batch size and learning rate."""
    return correlation_given(course, a, b, CELL)


def _least_agreement(course, correlation) -> Interval:
    """The least rank correlation of two measures, whichever pair it is."""
    return weakest(correlation(course, *pair) for pair in itertools.combinations(MEASURES, 2))


def _power(rescaling) -> tuple[Interval, int]:
    """The fitted power of α of the volume in all dimensions, and the power by which it must grow."""
    whole = rescaling[rescaling.region == "whole"]
    slopes = [np.polyfit(np.log(net.alpha), net.log_volume, 1)[0] for _, net in whole.groupby("seed")]
    return mean_interval(slopes), int(whole.exponent.max())


def _approximated(radii, column, epsilon) -> Interval:
    """An approximation of the maximum in the ball over the maximum, its geometric mean for each seed."""
    rows = radii[radii.epsilon == epsilon]
    ratio = np.log(rows[column] / rows.maximum).groupby(rows.seed).mean()
    return geometric_mean(np.exp(ratio))


def comment(rows, settings, radii, rescaling) -> dict:
    """Whether the measures agree, whether flat nets generalise better by them, and what they do not measure."""
    course = _course(rows)
    sizes, rates = (listed(f"{value:,g}" for value in settings[name]) for name in ("batch_sizes", "learning_rates"))
    return {
        "title": "Flatness",
        "method": f"{training_loss(course, settings)} The nets differ in batch size ({sizes}) and in the learning rate of Adam ({rates}). The five measures use the first {settings['examples']:,} training images: the spectral norm ‖H‖₂ of the Hessian; its trace; the largest rise of the loss L in the L2 ball of radius r = {settings['radius']:g}; Keskar et al.’s φ, the largest rise in a box of size ε = {settings['epsilon']:g} in a random subspace of {settings['manifold']} dimensions; both rises as percentages of 1 + L. Last, −ln of the volume of the region around the net in which the loss rises by less than δ = {settings['rise']:g} nats (the δ-flat region), cut by a random subspace of {settings['dimension']} dimensions and as far as straight lines from the net see it.",
        "caption": "Top: gap between test and training loss against the spectral norm, one point a net (left); rank correlation of each measure with test loss and test error, positive where sharper nets are worse: as deviations from the mean of the nets of equal batch size and rate (filled), and over all nets of a seed (hollow) (right). Bottom: change of the δ-flat volume of a small net when its layers are rescaled without changing its function, in all dimensions with the growth that the rescaling of the region implies (line) and in a random subspace of three dimensions (left); quadratic and linear approximations of the largest rise in a ball, relative to it (right).",
        "comment": [
            f"{_agreement(course)}{_rough(course, settings)}",
            f"{_within(course)} {_pooled(course)}".strip(),
            f"{_rescaling(rescaling, settings)} {_reach(radii)}".strip(),
        ],
    }


def _agreement(course) -> str:
    """Whether the measures order the nets alike, over all settings and at equal ones."""
    over, given = (_least_agreement(course, correlation) for correlation in (rank_correlation, _given))
    if not np.isfinite(over.value):
        return "There are too few nets of one seed for rank correlations. "
    verdicts = {
        1: "they order these nets alike",
        0: "it remains open whether they order these nets alike",
        -1: "they do not order these nets alike",
    }
    text = f"Over batch sizes and learning rates, the smallest rank correlation between two of the five measures is {show(over, 2)}: {verdicts[sign(over, AGREEMENT)]}. "
    trends = [rank_correlation(course, measure, "batch_size") for measure in MEASURES]
    if all(sign(trend) > 0 for trend in trends):
        text += f"By all of them, larger batches end in sharper minima (rank correlations {_range(trends)}). "
    if not np.isfinite(given.low):
        return text
    pairs = {pair: _given(course, *pair) for pair in itertools.combinations(MEASURES, 2)}
    high = sum(sign(found, AGREEMENT) > 0 for found in pairs.values())
    least = min(pairs, key=lambda pair: pairs[pair].value)
    text += f"Among nets of one batch size and learning rate it is {show(given, 2)} ({listed(MEASURES[name][0] for name in least)}), and {part_of(high, len(pairs))} pairs are measurably above {AGREEMENT:g}: {verdicts[sign(given, AGREEMENT)]}. "
    if sign(over, AGREEMENT) > 0 > sign(given, AGREEMENT):
        text += "So the measures agree on what batch size and learning rate do, and much less on which of several nets that were trained alike is the flattest. "
    return text


def _rough(course, settings) -> str:
    """How many of the volumes rest on few rays; empty if none does."""
    few = int((course.effective < FEW_RAYS).sum())
    if not few:
        return ""
    return f"The volumes are rough: a few long rays carry most of a volume, and for {part_of(few, len(course))} nets the {settings['rays']} rays are worth fewer than {FEW_RAYS} equal ones, which lowers all correlations with the volume."


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


def _rescaling(rescaling, settings) -> str:
    """How the volume of a net changes when it is rescaled without changing its function."""
    if rescaling.alpha.nunique() < 2:
        return ""
    power, exponent = _power(rescaling)
    whole, section = (rescaling[rescaling.region == region] for region in ("whole", "section"))
    text = f"When the layers of a small net are rescaled by α and 1/α, its function stays the same. Its δ-flat region is rescaled with it, so the region’s volume grows as α to the power {exponent}. The estimate does so by construction, as its rays are drawn in proportion to the rescaled region (fitted power {show(power)}); the {settings['small_rays']} rays are worth only {number(whole.effective.median(), 2)} equal ones (median), so that its level is uncertain. "
    if len(section):
        table = section.pivot(index="seed", columns="alpha", values="log_volume")
        ends = {alpha: mean_interval(table[alpha] - table[1.0]) for alpha in (table.columns.min(), table.columns.max())}
        changes = listed(
            f"{show(change, 2)} at α = {alpha:g}" for alpha, change in ends.items() if alpha != 1 and len(table)
        )
        text += f"In a random subspace of three dimensions, as for the larger nets, no power is known; ln volume changes by {changes}. "
    return f"{text}A volume in the units of the parameters therefore does not belong to the function alone."


def _reach(radii) -> str:
    """How far the quadratic approximation of the course's formula reaches."""
    if radii.empty:
        return ""
    small, large = radii.epsilon.min(), radii.epsilon.max()
    quadratic, linear = _approximated(radii, "quadratic", small), _approximated(radii, "linear", small)
    text = f"The quadratic approximation of the course’s formula, ‖H‖₂ r² / 2, is {_apart(quadratic)} times the largest rise within r = {small:g} and {_apart(_approximated(radii, 'quadratic', large))} times that within r = {large:g}."
    if quadratic.value < 0.5 and abs(linear.value - 1) < 0.1:
        text += f" At r = {small:g} the gradient alone gives {_apart(linear)} times the rise: the nets are not exactly at minima, and close to them the slope outweighs the curvature."
    return text


def _apart(ratio) -> str:
    """A ratio with so many digits that rounding hides on which side of 1 neither it nor an end of its interval lies."""
    for digits in range(2, 7):
        if all(float(f"{part:.{digits}g}") != 1 or part == 1 for part in ratio[:3]):
            break
    return show(ratio, digits)
