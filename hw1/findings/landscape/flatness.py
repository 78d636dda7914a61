"""Figure, claims and text. Do five measures of flatness agree on one population of nets, and do flat nets generalise better?

Reads the rows of `hw1.landscape.flatness` (net, batch_size, learning_rate, seed, losses, accuracies, the five measures,
status) and its tables "radii" (batch_size, seed, epsilon, maximum, quadratic, linear) and "rescaling" (seed, alpha,
region, exponent, log_volume).
"""

import itertools
from collections.abc import Iterator

import numpy as np

from hw1.findings.landscape.flatness_figure import CELL, MEASURES, course_nets, figure
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

__all__ = ["claims", "comment", "figure"]  # the figure has a file of its own

DINH = "Dinh et al., arXiv 1703.04933"
AGREEMENT = 0.5  # the rank correlation above which two measures count as ordering nets alike
GROWTH = 0.2  # how far the fitted power of α may be from the known one: it rests on few rays
FEW_RAYS = 10  # effective rays below which a volume is a rough estimate


def claims(rows, settings, radii, rescaling) -> Iterator[Claim]:
    """Whether sharper nets of equal settings generalise worse, five measures agree, and how far the quadratic reaches."""
    course, nets = course_nets(rows), rows[rows.net == "course"]
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
    course = course_nets(rows)
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
    text = f"The quadratic approximation of the course’s formula, ‖H‖₂ r² / 2, is {show(quadratic)} times the largest rise within r = {small:g} and {show(_approximated(radii, 'quadratic', large))} times that within r = {large:g}."
    if quadratic.value < 0.5 and abs(linear.value - 1) < 0.1:
        text += f" At r = {small:g} the gradient alone gives {show(linear)} times the rise: the nets are not exactly at minima, and close to them the slope outweighs the curvature."
    return text
