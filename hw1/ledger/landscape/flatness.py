"""What is claimed about flat regions, lines and valleys. Functions as in `hw1.ledger.generalization`."""

import itertools
from collections.abc import Iterator

import numpy as np

from hw1 import statistics
from hw1.ledger.verdict import Claim, claim


def straight_line(frame, settings, training) -> Iterator[Claim]:
    """No obstacle from start to end of training, but one between two solutions."""
    inside = frame[(frame.status != "diverged") & frame.alpha.between(0, 1)].sort_values("alpha")
    for net in settings["nets"]:
        lines = inside[inside.net == net].groupby(["line", "seed"]).train_loss
        rises = {key: _largest_rise(losses.to_numpy()) for key, losses in lines}
        barriers = {key: losses.iloc[1:-1].max() - max(losses.iloc[0], losses.iloc[-1]) for key, losses in lines}
        starts = {key: losses.iloc[0] for key, losses in lines}
        from_start = [key for key in rises if key[0] == "start to end"]
        yield claim(
            "Goodfellow et al., arXiv 1412.6544",
            f"From start to end the training loss falls all the way, {net} net (largest rise by share of the start's)",
            statistics.mean_interval([rises[key] / starts[key] for key in from_start]),
            below=0.01,
        )
        between = [barriers[key] for key in barriers if key[0] == "end to end"]
        yield claim(
            "Goodfellow et al., arXiv 1412.6544",
            f"Between two solutions lies a barrier, {net} net (rise of the training loss over the worse end, nats)",
            statistics.mean_interval(between),
            above=0,
        )


def _largest_rise(losses) -> float:
    """How far a curve climbs above the lowest point before it."""
    return float(np.max(losses - np.minimum.accumulate(losses)))


def flatness(frame, settings, radii, **_) -> Iterator[Claim]:
    """Whether five measures agree, and sharper nets generalise worse by them; how far the quadratic reaches."""
    course = frame[(frame.net == "course") & (frame.status != "diverged")]
    course = course.assign(minus_log_volume=-course.log_volume)
    measures = {
        "spectral_norm": ("Keskar et al., arXiv 1609.04836", "the spectral norm"),
        "trace": ("Keskar et al., arXiv 1609.04836", "the trace"),
        "ball_sharpness": ("Keskar et al., arXiv 1609.04836", "the ε-sharpness in the L2 ball"),
        "subspace_sharpness": ("Keskar et al., arXiv 1609.04836", "the sharpness in a random subspace"),
        "minus_log_volume": ("Hochreiter and Schmidhuber 1997", "−ln of the ε-flat volume in a random section"),
    }
    sides = {"test_loss": ("test loss", {"above": 0}), "test_accuracy": ("test accuracy", {"below": 0})}
    for (result, (what, side)), (column, (source, name)) in itertools.product(sides.items(), measures.items()):
        yield claim(
            source,
            f"Sharper minima generalise worse (Spearman's correlation of {name} and {what})",
            statistics.rank_correlation(course, column, result),
            course,
            **side,
        )
    pairs = [statistics.rank_correlation(course, *pair) for pair in itertools.combinations(measures, 2)]
    yield claim(
        "our hypothesis",
        "Five measures of flatness order nets alike (least Spearman's correlation of two of them, above 0.5)",
        min(pairs),
        course,
        above=0.5,
    )
    for epsilon in (radii.epsilon.min(), radii.epsilon.max()):
        rows = radii[radii.epsilon == epsilon]
        ratio = np.log(rows.quadratic / rows.maximum).groupby(rows.seed).mean()
        yield claim(
            "MLDS 2018, homework 1-3",
            f"‖H‖₂ ε² / (2 (1 + L)) is the largest rise within ε = {epsilon:g} (ratio of the two, 1 ± 0.1)",
            statistics.geometric_mean(np.exp(ratio)),
            within=(0.9, 1.1),
        )


def redundancy(frame, settings) -> Iterator[Claim]:
    """Where descent ends in the valley of (w₁w₂)², and that noise of the labels ends where it is flatter."""
    source = "our hypothesis"
    ends, starts = (
        frame[frame.step == step].set_index(["part", "seed"]).sort_index() for step in (settings["steps"], 0)
    )
    first, last = (rows["first"] ** 2 - rows.second**2 for rows in (starts.loc["descent"], ends.loc["descent"]))
    yield claim(
        source,
        "Gradient descent keeps w₁² − w₂² of its start (relative change at the end, below 0.05)",
        statistics.mean_interval((last / first - 1).abs()),
        below=0.05,
    )
    curvature = ends.largest_eigenvalue
    yield claim(
        source,
        "With noisy labels descent ends where the valley is flatter (difference in λ₁ to descent without)",
        statistics.paired_difference(curvature["label noise"], curvature["descent"]),
        below=0,
    )


QUESTIONS = (
    straight_line,
    flatness,
    redundancy,
)
