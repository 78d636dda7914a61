"""What is claimed about part 1-3. Each function takes rows, settings and other tables and yields claims."""

from collections.abc import Iterator

from hw1.ledger.verdict import Claim, claim
from hw1.statistics import rank_correlation

KESKAR = "Keskar et al., arXiv 1609.04836"


def sharpness(frame, settings) -> Iterator[Claim]:
    """Small batches and flat minima, as the course's recipe measures them."""
    course = frame[(frame.net == "course") & (frame.status != "diverged")]
    recipe = course[
        (course.method == "lanczos") & (course.scope == "block") & (course.examples == settings["examples"])
    ]
    yield claim(
        KESKAR,
        "Larger batches end in sharper minima (Spearman's correlation of batch size and sharpness)",
        rank_correlation(recipe, "batch_size", "sharpness"),
        settings["seeds"],
        above=0,
    )


QUESTIONS = (sharpness,)
