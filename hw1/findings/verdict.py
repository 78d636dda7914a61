"""A claim of a source beside our own figure, and the verdict that follows from its interval."""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from hw1.statistics import Interval, geometric_mean, nearest

HOMEWORK = "MLDS 2018, homework"  # followed by the number of the part
KESKAR = "Keskar et al., arXiv 1609.04836"
NET = ("data", "net", "model", "remedy", "batch_size", "learning_rate", "seed")  # columns that tell nets apart
HELD, NOT, UNDECIDED = "held", "did not hold", "undecided"


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
        verdict: "held", "did not hold" or "undecided".
        above_target: how many of the nets behind the statistic ended above the target loss, such as "3 of 50"; empty
            where all came down to it or had none.
    """

    source: str
    claim: str
    published: str
    ours: float
    low: float
    high: float
    seeds: int
    verdict: str
    above_target: str = ""


def claim(
    source: str,
    sentence: str,
    interval: Interval,
    nets: pd.DataFrame | None = None,
    published: str = "",
    above: float | None = None,
    below: float | None = None,
    within: tuple[float, float] | None = None,
) -> Claim:
    """Makes a claim with its verdict; give one of `above`, `below` and `within`, what the source predicts.

    It *held* if the whole 95 % interval lies where the source says, *did not hold* if no part of it does, and is
    *undecided* otherwise, also where there is no interval or where most of the nets are not comparable.

    Args:
        source: where the claim was made.
        sentence: the claim, and in brackets the statistic that tests it.
        interval: our statistic with its interval and number of seeds.
        nets: rows of the nets behind it, where they were trained to one loss: the claim then says how many of them did
            not come down to it. If that is most of them, the claim is undecided.
        published: the source's own figures.
        above: the statistic is predicted to be larger than this.
        below: the statistic is predicted to be smaller than this.
        within: the statistic is predicted to lie between these two.
    """
    if sum(side is not None for side in (above, below, within)) != 1:
        raise ValueError("a claim predicts one of above, below and within")
    comparable, above_target = True, ""
    if nets is not None:
        nets = nets.drop_duplicates([column for column in NET if column in nets])
        short = (nets.status == "target not reached").sum()
        comparable = short <= len(nets) / 2
        above_target = f"{short} of {len(nets)}" if short else ""
    least, most = within or (above, below)
    least, most = (-float("inf") if least is None else least), (float("inf") if most is None else most)
    value, low, high, seeds = interval
    if not comparable:
        verdict = UNDECIDED
    elif low > least and high < most:
        verdict = HELD
    elif high <= least or low >= most:
        verdict = NOT
    else:
        verdict = UNDECIDED
    return Claim(source, sentence, published, float(value), float(low), float(high), seeds, verdict, above_target)


def steeper_beyond_the_large_batch(rows, net) -> Iterator[Claim]:
    """Keskar et al.'s lines, from rows of seed, α (0: small batch, 1: large) and train_loss, perhaps with a status."""
    losses = rows.pivot(index="seed", columns="alpha", values="train_loss")
    step, behind, beyond = outward_rises(losses)
    yield claim(
        KESKAR,
        f"On the line between two nets the loss rises faster beyond the large batch's: {net} (ratio of rises, {step:.2g} outward)",
        geometric_mean(beyond.clip(lower=1e-6) / behind.clip(lower=1e-6)),
        rows if "status" in rows else None,
        above=1,
    )


def outward_rises(losses: pd.DataFrame) -> tuple[float, pd.Series, pd.Series]:
    """How far the loss rises outside the two ends of a line, α = 0 and α = 1, one step away from each.

    Args:
        losses: a row per seed and a column per α.

    Returns:
        The step, about half the distance between the ends, as a share of that distance; the rise from α = 0 to −step
        and the rise from α = 1 to 1 + step, one number per seed.
    """
    step = min(losses.columns, key=lambda alpha: abs(alpha - 1.5)) - 1
    behind, start, end, beyond = (nearest(losses, alpha) for alpha in (-step, 0, 1, 1 + step))
    return step, behind - start, beyond - end
