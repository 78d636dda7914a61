"""What is claimed about part 1-2. Functions as in `hw1.ledger.generalization`."""

from collections.abc import Iterator

from hw1.ledger.verdict import Claim, claim
from hw1.statistics import geometric_mean, mean_interval, rank_correlation

COURSE = "MLDS 2018, homework 1-2"
BOOK = "Goodfellow, Bengio and Courville, Deep Learning, figure 8.1"
NEAR_ZERO = 1e-3  # of the loss: far below the function's variance of 0.087


def gradient_norm(frame, settings) -> Iterator[Claim]:
    """The gradient grows while the loss falls."""
    steps = frame.step.max() + 1
    for task, rows in frame[frame.status != "diverged"].groupby("task", sort=False):
        first, last = (
            part.groupby("seed").gradient_norm.mean()
            for part in (rows[rows.step < steps / 100], rows[rows.step >= 0.9 * steps])
        )
        yield claim(
            BOOK,
            f"The gradient's norm grows while training on {task} succeeds (ratio, last tenth to first hundredth of the "
            "steps)",
            geometric_mean(last / first),
            above=1,
        )


def zero_gradient(frame, settings) -> Iterator[Claim]:
    """What the minimal ratio says of a point without gradient."""
    rows = frame[(frame.method == "Levenberg–Marquardt") & (frame.gradient_norm < 1e-6)]
    near = rows[rows.loss < NEAR_ZERO]
    counts = {
        "minimal_ratio": f"|λ| ≤ {settings['zero']:g} λ₁ counts as zero",
        "minimal_ratio_computed": "all λ > 0 count",
    }
    for column, what in counts.items():
        yield claim(
            COURSE,
            f"Where gradient and loss (< {NEAR_ZERO:g}) vanish, a third to a half of the curvatures are positive "
            f"(mean minimal ratio; {what})",
            mean_interval(near[column]),
            published="0.3 to 0.57",
            within=(0.3, 0.57),
        )
    yield claim(
        COURSE,
        "The lower the loss, the higher the minimal ratio (Spearman's correlation over nets)",
        rank_correlation(rows, "loss", "minimal_ratio", by=None),
        published="0.087 at 0 to 0.25, near 0 at 0.3 to 0.57",
        below=0,
    )


QUESTIONS = (gradient_norm, zero_gradient)
