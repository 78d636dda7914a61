"""What is claimed about evidence and attacks. Functions as in `hw1.ledger.generalization`."""

from collections.abc import Iterator

import numpy as np

from hw1.ledger.verdict import Claim, claim
from hw1.statistics import mean_interval, rank_correlation

SMITH = "Smith & Le, arXiv 1710.06451"
YAO = "Yao et al., arXiv 1802.08241"


def adversarial(frame, settings) -> Iterator[Claim]:
    """Robustness against the batch size used in training, and against curvature."""
    frame = frame[frame.status != "diverged"]
    causes = {
        "Nets trained with larger batches are less robust": ("batch_size", "batch size", "seed"),
        "Of nets of one batch size those of larger λ₁ are less robust": ("largest_eigenvalue", "λ₁", "batch_size"),
    }
    for sentence, (column, name, by) in causes.items():
        for attack, epsilons in (("FGSM", settings["sign_epsilons"]), ("L2", settings["l2_epsilons"])):
            middle = epsilons[len(epsilons) // 2]
            rows = frame[(frame.attack == attack) & np.isclose(frame.epsilon, middle)]
            yield claim(
                YAO,
                f"{sentence} (Spearman's correlation of {name} and test accuracy under {attack}, ε = {middle:g})",
                rank_correlation(rows, column, "attacked_accuracy", by),
                rows,
                below=0,
            )


def evidence(frame, settings) -> Iterator[Claim]:
    """What the evidence says of regressions with true and random labels, and of nets."""
    regressions = frame[frame.model == "logistic regression"]
    random, true = (
        regressions[regressions.labels == labels].set_index("regularization") for labels in ("random", "true")
    )
    best = true.groupby("seed")[["log_evidence_ratio", "test_loss"]].idxmin()
    there = random.set_index("seed", append=True).log_evidence_ratio
    yield claim(
        SMITH,
        "Random labels: the evidence is for the null model (E at the λ that is best with true labels, nats)",
        mean_interval([there[at, seed] for seed, at in best.log_evidence_ratio.items()]),
        above=0,
    )
    yield claim(
        SMITH,
        "True labels: the evidence is for the model at the best λ (smallest E over λ, nats)",
        mean_interval(true.groupby("seed").log_evidence_ratio.min()),
        below=0,
    )
    yield claim(
        SMITH,
        "The λ of most evidence is near that of least test loss, true labels (difference of log₁₀ λ)",
        mean_interval(np.log10(best.log_evidence_ratio / best.test_loss)),
        within=(-1, 1),
    )
    yield claim(
        SMITH,
        "Evidence goes with test loss as λ changes, true labels (Spearman's correlation of E and test loss)",
        rank_correlation(true, "log_evidence_ratio", "test_loss"),
        above=0,
    )
    yield claim(
        SMITH,
        "A weakly regularised regression learns random labels by heart (training accuracy at the smallest λ)",
        mean_interval(random[random.index == random.index.min()].train_accuracy),
        above=0.99,
    )
    nets = frame[(frame.model == "net") & (frame.status != "diverged")]
    yield claim(
        SMITH,
        "Small batches end in minima of larger Occam factors (Spearman's correlation of batch size and Occam factor)",
        rank_correlation(nets, "batch_size", "log_occam"),
        nets,
        below=0,
    )
    for column, side in (("accuracy", {"above": 0}), ("loss", {"below": 0})):
        yield claim(
            SMITH,
            f"Larger Occam factors go with better generalisation (Spearman's correlation of it and test {column})",
            rank_correlation(nets, "log_occam", f"test_{column}"),
            nets,
            **side,
        )


QUESTIONS = (
    adversarial,
    evidence,
)
