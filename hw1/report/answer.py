"""The answer to the title, from the ledger: do flat minima generalise?"""

import pandas as pd

from hw1.findings.verdict import (
    ALIKE_SENSITIVE,
    ALIKE_WORSE,
    BATCH_SHARPNESS,
    BATCH_WORSE,
    FLATTENED_BETTER,
    HELD,
    NOT,
    SAME_FUNCTION,
    SHARP_WORSE,
    SMALL,
)
from hw1.findings.words import plural

ASKED = {  # topic → what is claimed
    BATCH_SHARPNESS: "Larger batches end in sharper minima",
    BATCH_WORSE: "Larger batches generalise worse",
    SHARP_WORSE: "Over batch sizes, sharper minima generalise worse",
    ALIKE_WORSE: "Of nets that were trained alike, the sharper ones generalise worse",
    ALIKE_SENSITIVE: "Of nets that were trained alike, those more sensitive to their input generalise worse",
    FLATTENED_BETTER: "What makes minima flatter in training makes nets generalise better",
    SAME_FUNCTION: "The sharpness of a net changes though its function does not",
}
SUPPORTED, AGAINST, LITTLE, OPEN = "held", "did not hold", "the effect is too small to matter", "it cannot be decided"
KINDS = {HELD: SUPPORTED, NOT: AGAINST, SMALL: LITTLE}  # verdict → what is said of it


def paragraphs(ledger: pd.DataFrame) -> list[str]:
    """What the claims on each topic say together, and what follows; Typst markup.

    Claims that rest on the same nets are not independent: the claims of one set of nets have one vote, what most of
    them say; if none is in the majority, they cannot decide.

    Args:
        ledger: as `hw1.claims.judge` gives it.
    """
    counts = {topic: _counts(ledger[ledger.topic == topic]) for topic in ASKED}
    said = [f"{sentence}: {_said(counts[topic])}." for topic, sentence in ASKED.items() if counts[topic]]
    if not said:
        return []
    how = "Claims about the same nets count once, by what most of them say. "
    return [how + " ".join(said), _conclusion(counts)]


def _counts(lines) -> dict[str, int]:
    """In how many sets of nets the claim held, did not, was too small to matter, or cannot be decided."""
    counts = dict.fromkeys((SUPPORTED, AGAINST, LITTLE, OPEN), 0)
    for _, own in lines.groupby("nets"):
        kinds = own.verdict.map(KINDS).fillna(OPEN).value_counts()
        counts[kinds.index[0] if kinds.iloc[0] > len(own) / 2 else OPEN] += 1
    return {kind: count for kind, count in counts.items() if count}


def _said(counts) -> str:
    """The counts in words, such as "held in 2 of 3 sets of nets; in 1 the effect is too small to matter"."""
    total = sum(counts.values())
    (first, count), *others = counts.items()
    sets = "the one set of nets" if total == 1 else f"{count} of {total} sets of nets"
    start = f"{first} in {sets}" if first in (SUPPORTED, AGAINST) else f"in {sets} {first}"
    return "; ".join(
        [
            start,
            *(
                f"{kind} in {number}" if kind in (SUPPORTED, AGAINST) else f"in {number} {kind}"
                for kind, number in others
            ),
        ]
    )


def _share(counts) -> float | None:
    """The share of the sets of nets in which the claim held, of those with a result; None if there are none."""
    known = sum(count for kind, count in counts.items() if kind != OPEN)
    return counts.get(SUPPORTED, 0) / known if known else None


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
        ): "Over batch sizes they do: on these nets and images the flatter nets mostly have the better test results. But a batch size changes more about a net than its sharpness, and among nets that were trained alike the claims are divided or could not be decided. So flat minima go with good generalisation here; that they are its cause is not shown.",
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
    if (shares[ALIKE_SENSITIVE] or 0) > 2 / 3:
        text += " Sensitivity to the input, a property of the function and not of its parameters, does tell nets trained alike apart."
    methods, better = sum(counts[FLATTENED_BETTER].values()), counts[FLATTENED_BETTER].get(SUPPORTED, 0)
    if methods:
        text += f" Methods that flatten say more than a relation: of {plural(methods, 'method')} that made minima flatter, {better or 'none'} made the nets measurably better."
        text += " So flattening alone is not enough." if better < methods else ""
    if (shares[SAME_FUNCTION] or 0) > 2 / 3:
        text += " As rescaling the weights changes sharpness at will and leaves the function as it is, sharpness alone does not determine how a net generalises: what holds over batch sizes is an observation on nets that training finds."
    return text


def _mostly(counts) -> int:
    """+1 if most of the claims held, −1 if most did not or found less than the effect, else 0."""
    held, total = counts.get(SUPPORTED, 0), sum(counts.values())
    against = total - held - counts.get(OPEN, 0)
    return int(held > total / 2) - int(against > total / 2)
