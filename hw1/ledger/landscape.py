"""What the papers claim about curvature, and whether it holds here. Functions as in `hw1.ledger.generalization`."""

from collections.abc import Iterator

import numpy as np

from hw1 import statistics
from hw1.ledger.verdict import Claim, claim

# large_batch

# remedies

# straight_line

# spectrum

# adversarial

# loss_functions

# evidence


# flatness
def flatness(frame, settings, radii, rescaling) -> Iterator[Claim]:
    """Whether sharper nets generalise worse, by five measures; what rescaling does; how far the quadratic reaches."""
    course = frame[(frame.net == "course") & (frame.status != "diverged")]
    course = course.assign(gap=course.test_loss - course.train_loss, minus_log_volume=-course.log_volume)
    measures = {
        "spectral_norm": ("Keskar et al., arXiv 1609.04836", "the spectral norm"),
        "trace": ("Keskar et al., arXiv 1609.04836", "the trace"),
        "ball_sharpness": ("Keskar et al., arXiv 1609.04836", "the ε-sharpness in the L2 ball"),
        "subspace_sharpness": ("Keskar et al., arXiv 1609.04836", "the sharpness in a random subspace"),
        "minus_log_volume": ("Hochreiter and Schmidhuber 1997", "minus the log volume of the ε-flat region"),
    }
    for column, (source, name) in measures.items():
        yield claim(
            source,
            f"Sharper minima generalise worse, over batch sizes and step sizes at one training loss (Spearman's "
            f"correlation of {name} with test loss − training loss)",
            statistics.rank_correlation(course, column, "gap"),
            settings["seeds"],
            above=0,
        )
    whole = rescaling[rescaling.region == "whole"]
    exponent = int(whole.exponent.max())
    slopes = [np.polyfit(np.log(rows.alpha), rows.log_volume, 1)[0] for _, rows in whole.groupby("seed")]
    yield claim(
        "Dinh et al., arXiv 1703.04933",
        "(αθ₁, θ₂/α) is the same function with α^(n₁ − n₂) times the flat volume that θ sees, without bound "
        f"(slope of the log volume against ln α, within 0.5 of n₁ − n₂ = {exponent})",
        statistics.mean_interval(slopes),
        len(slopes),
        published=f"{exponent}",
        within=(exponent - 0.5, exponent + 0.5),
    )
    for epsilon in (radii.epsilon.min(), radii.epsilon.max()):
        rows = radii[radii.epsilon == epsilon].assign(ratio=lambda r: np.log(r.quadratic / r.maximum))
        interval = statistics.over_seeds(rows, "ratio")
        yield claim(
            "MLDS 2018, homework 1-3",
            f"‖H‖₂ ε² / (2 (1 + L)) is the largest rise within ε = {epsilon:g} (geometric mean of their ratio, 1 ± 0.1)",
            statistics.Interval(*np.exp(interval)),
            rows.seed.nunique(),
            within=(0.9, 1.1),
        )


# redundancy

QUESTIONS = (
    # large_batch
    # remedies
    # straight_line
    # spectrum
    # adversarial
    # loss_functions
    # evidence
    flatness,
    # redundancy
)
