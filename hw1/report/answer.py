"""The answer to the title, from the ledger: do flat minima generalise?"""

import pandas as pd

from hw1.findings import words
from hw1.findings.verdict import BATCH_SHARPNESS, BATCH_WORSE, HELD, NOT, SAME_FUNCTION, SHARP_WORSE, SMALL

ASKED = {  # topic → the question as a clause
    BATCH_SHARPNESS: "that larger batches end in sharper minima",
    BATCH_WORSE: "that larger batches generalise worse",
    SHARP_WORSE: "that sharper minima generalise worse",
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
    worse, sharper = shares[SHARP_WORSE], shares[BATCH_SHARPNESS]
    if worse is None:
        return "*So do flat minima generalise?* These runs do not tell."
    if worse > 2 / 3:
        text = "*So do flat minima generalise?* Yes, on these nets and images: nets in flatter minima mostly have the better test results."
    elif worse < 1 / 3:
        text = "*So do flat minima generalise?* Not as such: on these nets and images a flatter minimum mostly does not mean better test results."
    else:
        text = "*So do flat minima generalise?* It depends on the measure of sharpness, on what counts as generalisation, and on what is held fixed: the claims are divided."
    if sharper is not None and sharper > 2 / 3:
        text += " That larger batches end in sharper minima is well supported, at equal training loss."
        text += " Sharpness goes with the batch size, so whatever else the batch size changes goes with sharpness too."
    if (shares[SAME_FUNCTION] or 0) > 2 / 3:
        text += " And since rescaling the weights changes every measure that is not normalised by their scale, while the function stays, such a measure can compare nets that were trained alike at most."
    return text
