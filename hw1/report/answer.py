"""The answer to the title, from the ledger: do flat minima generalise?"""

import pandas as pd

from hw1.findings import words
from hw1.findings.verdict import ALIKE_WORSE, BATCH_SHARPNESS, BATCH_WORSE, HELD, NOT, SAME_FUNCTION, SHARP_WORSE, SMALL

ASKED = {  # topic → the question as a clause
    BATCH_SHARPNESS: "that larger batches end in sharper minima",
    BATCH_WORSE: "that larger batches generalise worse",
    SHARP_WORSE: "that sharper minima generalise worse, over batch sizes",
    ALIKE_WORSE: "that of nets trained alike the sharper ones generalise worse",
    SAME_FUNCTION: "that the sharpness of a net can change though its function does not",
}


def paragraphs(ledger: pd.DataFrame) -> list[str]:
    """What the claims on each topic say together, and what follows; Typst markup.

    Args:
        ledger: as `hw1.claims.judge` gives it.
    """
    counts = {topic: _counts(ledger[ledger.topic == topic]) for topic in ASKED}
    said = [
        f"Of {_several(sum(counts[topic].values()))} {clause}, {_listed(counts[topic])}."
        for topic, clause in ASKED.items()
        if counts[topic]
    ]
    return [" ".join(said), _conclusion(counts)] if said else []


def _counts(lines) -> dict[str, int]:
    """How many claims held, did not, were too small to matter, and could not be decided."""
    kinds = lines.verdict.map({HELD: "held", NOT: "did not hold", SMALL: "found less than the effect fixed beforehand"})
    counts = kinds.fillna("could not be decided").value_counts()
    order = ["held", "did not hold", "found less than the effect fixed beforehand", "could not be decided"]
    return {kind: int(counts[kind]) for kind in order if kind in counts}


def _several(count) -> str:
    return "the one claim" if count == 1 else f"{count} claims"


def _listed(counts) -> str:
    return words.listed(f"{count} {kind}" for kind, count in counts.items())


def _share(counts) -> float | None:
    """The share of the claims that held, of those that have a result; None if there are none."""
    known = sum(count for kind, count in counts.items() if kind != "could not be decided")
    return counts.get("held", 0) / known if known else None


def _conclusion(counts) -> str:
    """What follows for the title."""
    shares = {topic: _share(count) for topic, count in counts.items()}
    over, alike = (_mostly(counts[topic]) for topic in (SHARP_WORSE, ALIKE_WORSE))
    answers = {
        (
            1,
            1,
        ): "Yes, on these nets and images: nets in flatter minima mostly have the better test results, also among nets that were trained alike.",
        (
            1,
            0,
        ): "Over batch sizes they do: on these nets and images the flatter nets mostly have the better test results. But the batch size changes more than the sharpness, and among nets that were trained alike no such relation can be shown. So flat minima go with good generalisation here; that they are its cause is not shown.",
        (
            1,
            -1,
        ): "Over batch sizes they do, but among nets that were trained alike they do not: on these nets and images sharpness and generalisation go together because the batch size changes both.",
        (0, 0): "These runs do not tell: the claims are divided, or could not be decided.",
        (0, 1): "Among nets that were trained alike they do; over batch sizes the claims are divided.",
        (
            0,
            -1,
        ): "Not as such: among nets that were trained alike the flatter ones do not have the better test results, and over batch sizes the claims are divided.",
        (-1, -1): "Not as such: on these nets and images a flatter minimum does not mean better test results.",
        (-1, 0): "Not over batch sizes: there a flatter minimum mostly does not mean better test results.",
        (-1, 1): "Among nets that were trained alike they do, but not over batch sizes.",
    }
    text = f"*So do flat minima generalise?* {answers[over, alike]}"
    if (shares[BATCH_SHARPNESS] or 0) > 2 / 3:
        text += " That larger batches end in sharper minima is well supported, at equal training loss."
    if (shares[SAME_FUNCTION] or 0) > 2 / 3:
        text += " And rescaling the weights changes every measure of sharpness that is not normalised by their scale, while the function stays: such a measure can only compare nets that were trained alike, or nearly so."
    return text


def _mostly(counts) -> int:
    """+1 if most of the claims held, −1 if most did not or found less than the effect, else 0."""
    held, total = counts.get("held", 0), sum(counts.values())
    against = total - held - counts.get("could not be decided", 0)
    return int(held > total / 2) - int(against > total / 2)
