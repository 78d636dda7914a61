"""A claim of a source beside our own figure, and the verdict that follows from its interval."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from hw1.statistics import Interval, geometric_mean, nearest

HOMEWORK = "MLDS 2018, homework"  # followed by the number of the part
KESKAR = "Keskar et al., arXiv 1609.04836"
OWN = "our hypothesis"
NET = ("data", "net", "model", "remedy", "batch_size", "learning_rate", "seed")  # columns that tell nets apart

HELD, NOT = "held", "did not hold"
SMALL = "smaller than the effect"  # the interval contains the boundary and lies within the effect fixed beforehand
NOISY = "too noisy"  # the interval contains the boundary and larger effects as well
INCOMPARABLE = "not comparable"  # most nets fell short of the target loss, or nothing was measured
PASSED, FAILED = "passed", "failed"  # of a check

# What a claim says of flat minima, for the answer to the title.
BATCH_SHARPNESS = "larger batches end in sharper minima"
SHARP_WORSE = "sharper minima generalise worse, over batch sizes"
ALIKE_WORSE = "of nets that were trained alike, the sharper ones generalise worse"
BATCH_WORSE = "larger batches generalise worse"
ALIKE_SENSITIVE = "of nets that were trained alike, those more sensitive to their input generalise worse"
SAME_FUNCTION = "sharpness changes though the function does not"
FLATTENED_BETTER = "a method that flattens minima makes nets generalise better"
TOPICS = (
    BATCH_SHARPNESS,
    BATCH_WORSE,
    SHARP_WORSE,
    ALIKE_WORSE,
    ALIKE_SENSITIVE,
    FLATTENED_BETTER,
    SAME_FUNCTION,
)

# Effects fixed before any run: an interval that lies within them is evidence that there is nothing of interest.
ACCURACY_EFFECT = 0.005  # half a point of accuracy
CORRELATION_EFFECT = 0.3
RATIO_EFFECT = 1.25  # a factor


class Claim(NamedTuple):
    """One line of the ledger.

    Attributes:
        source: where the claim was made.
        claim: the claim in one sentence, and in brackets the statistic that tests it.
        published: the source's own figures, where there are any.
        ours: that statistic in our runs.
        low: lower end of its 95 % interval.
        high: upper end.
        seeds: independent repetitions behind the interval.
        effect: the effect fixed beforehand, a difference or, for ratios, a factor; NaN where none is.
        verdict: one of the verdicts of this module.
        p: the p-value of the hypothesis that the statistic lies on the boundary, the nearer one, of what the source
            predicts.
        kind: "claim", or "check" for an identity, which holds or does not whatever the seeds.
        nets: which of the question's nets the statistic is of; claims of the same nets are not independent.
        caveat: how many nets did not come to their target loss, and how many seeds have no value; empty where none.
        topic: one of `TOPICS`, which the answer to the title counts; empty for all others.
    """

    source: str
    claim: str
    published: str
    ours: float
    low: float
    high: float
    seeds: int
    effect: float
    verdict: str
    p: float
    kind: str = "claim"
    nets: str = ""
    caveat: str = ""
    topic: str = ""


def claim(
    source: str,
    sentence: str,
    interval: Interval,
    nets: pd.DataFrame | None = None,
    published: str = "",
    above: float | None = None,
    below: float | None = None,
    within: tuple[float, float] | None = None,
    effect: float | None = None,
    topic: str = "",
) -> Claim:
    """Makes a claim with its verdict; give one of `above`, `below` and `within`, what the source predicts.

    It *held* if the whole 95 % interval lies where the source says and *did not hold* if no part of it does. Otherwise
    it is *smaller than the effect* if the interval lies within the effect around the boundary, and *too noisy* if it
    does not. It is *not comparable* if most of the nets missed the target loss or had no value.

    Args:
        source: where the claim was made.
        sentence: the claim, and in brackets the statistic that tests it.
        interval: our statistic with its interval and number of seeds.
        nets: rows of the nets behind it, those that diverged included, where they were trained to one loss: the claim
            then says how many of them did not come down to it.
        published: the source's own figures.
        above: the statistic is predicted to be larger than this.
        below: the statistic is predicted to be smaller than this.
        within: the statistic is predicted to lie between these two.
        effect: the least difference from the boundary that matters; for a ratio, the least factor. None: those of this
            module for ratios and correlations, none for others.
        topic: one of `TOPICS`, if the claim is of that kind.
    """
    if sum(side is not None for side in (above, below, within)) != 1:
        raise ValueError("a claim predicts one of above, below and within")
    least, most = within or (above, below)
    least, most = (-np.inf if least is None else least), (np.inf if most is None else most)
    sides = [side for side in (least, most) if np.isfinite(side)]
    if effect is None:
        effects = {"log": RATIO_EFFECT, "correlation": CORRELATION_EFFECT}
        effect = effects.get(interval.scale, np.nan) if within is None else np.nan
    comparable, caveat = _caveat(interval, nets)
    inside = interval.low > least and interval.high < most
    if not comparable or not np.isfinite(interval.value):
        verdict = INCOMPARABLE
    elif inside:
        verdict = HELD
    elif interval.high <= least or interval.low >= most:
        verdict = NOT
    else:
        verdict = SMALL if any(_within_effect(interval, side, effect) for side in sides) else NOISY
    p = [interval.p_value(side) for side in sides]
    numbers = [float(part) for part in interval[:3]]
    return Claim(
        source,
        sentence,
        published,
        *numbers,
        interval.seeds,
        effect,
        verdict,
        np.nan if verdict == INCOMPARABLE else max(p),
        nets=_label(nets),
        caveat=caveat,
        topic=topic,
    )


def check(source: str, sentence: str, interval: Interval, within: tuple[float, float], published: str = "") -> Claim:
    """Makes a check: an identity, such as a function that a rescaling leaves unchanged, which seeds cannot decide.

    It *passed* if the whole interval of the statistic lies within the two numbers, both included, and *failed* if not.

    Args:
        source: where the identity was stated.
        sentence: the identity, and in brackets the statistic that shows it.
        interval: our statistic.
        within: where it must lie; rounding must be allowed for.
        published: the source's own figures.
    """
    low, high = (interval.low, interval.high) if np.isfinite(interval.low) else (interval.value, interval.value)
    verdict = PASSED if within[0] <= low and high <= within[1] else FAILED
    if not np.isfinite(interval.value):
        verdict = INCOMPARABLE
    numbers = [float(part) for part in interval[:3]]
    return Claim(source, sentence, published, *numbers, interval.seeds, np.nan, verdict, np.nan, "check")


def _caveat(interval, nets) -> tuple[bool, str]:
    """Whether enough nets are comparable, and which are not."""
    comparable, parts = True, []
    if nets is not None and "status" in nets:
        nets = nets.drop_duplicates([column for column in NET if column in nets])
        short, lost = ((nets.status == status).sum() for status in ("target not reached", "diverged"))
        comparable = short + lost <= len(nets) / 2
        parts += [f"{short} of {len(nets)} nets did not come to their target"] if short else []
        parts += [f"{lost} of {len(nets)} nets diverged"] if lost else []
    if interval.missing:
        total = interval.seeds + interval.missing
        comparable = comparable and interval.missing <= total / 2
        parts.append(f"{interval.missing} of {total} seeds have no value")
    return comparable, "; ".join(parts)


def _within_effect(interval, boundary, effect) -> bool:
    """Whether the interval differs from the boundary by less than the effect."""
    if interval.scale == "log":
        return boundary / effect < interval.low and interval.high < boundary * effect
    return boundary - effect < interval.low and interval.high < boundary + effect


def _label(nets) -> str:
    """What the nets have in common of data set, net and model."""
    if nets is None:
        return ""
    found = [nets[column].unique() for column in ("data", "net", "model", "remedy") if column in nets]
    return ", ".join(str(values[0]) for values in found if len(values) == 1)


def steeper_beyond_the_large_batch(line: pd.DataFrame, net: str, nets: pd.DataFrame) -> Iterator[Claim]:
    """Keskar et al.'s lines: the loss grows more beyond the net of the large batch than beyond that of the small one.

    Args:
        line: rows of seed, alpha (0: small batch, 1: large batch) and train_loss.
        net: what the claim calls the nets.
        nets: rows of both nets of each seed, those that diverged included; seeds without a line are missing.
    """
    line = line.dropna(subset=["alpha", "train_loss"])
    step, behind, beyond = outward_growth(line.pivot(index="seed", columns="alpha", values="train_loss"))
    yield claim(
        KESKAR,
        f"On the line between two nets the loss grows more beyond the large batch's: {net} (ratio of the factors of growth, {step:.2g} outward)",
        geometric_mean((beyond / behind).reindex(sorted(nets.seed.unique()))),
        nets,
        above=1,
    )


def outward_growth(losses: pd.DataFrame) -> tuple[float, pd.Series, pd.Series]:
    """By which factor the loss grows outside the two ends of a line, α = 0 and α = 1, one step away from each.

    A factor is positive also where the loss falls, so that the ratio of two of them always exists.

    Args:
        losses: a row per seed and a column per α; it may be empty.

    Returns:
        The step, about half the distance between the ends, as a share of that distance; the loss at −step over that at
        α = 0 and the loss at 1 + step over that at α = 1, one number per seed.
    """
    if losses.empty:
        return 0.5, *[pd.Series(dtype=float)] * 2
    step = min(losses.columns, key=lambda alpha: abs(alpha - 1.5)) - 1
    behind, start, end, beyond = (nearest(losses, alpha) for alpha in (-step, 0, 1, 1 + step))
    return step, behind / start, beyond / end
