"""What is claimed about spectra and loss functions. Functions as in `hw1.ledger.generalization`."""

from collections.abc import Iterator

import pandas as pd

from hw1.ledger.verdict import Claim, claim
from hw1.statistics import (
    largest_ratio,
    mean_interval,
    outliers,
    over_seeds,
    paired_difference,
    rank_correlation,
)

SAGUN = "Sagun et al., arXiv 1611.07476 and 1706.04454"
YAO = "Yao et al., arXiv 1802.08241"
OWN = "our hypothesis"
KINDS = ("other loss", "other seed")  # of the lines of loss_functions


def spectrum(frame, settings, nets, eigenvalues, density, **_) -> Iterator[Claim]:
    """The whole Hessian: its largest eigenvalue against the batch size, its outliers and its bulk."""
    classes = eigenvalues.classes.max()  # of the first data set, whose nets these are
    rules = {"outliers": f"gap of {settings['resolution']:.0%} of λ₁", "largest_ratio": "largest ratio"}
    for name, rows in frame[frame.status != "diverged"].groupby("data", sort=False):
        for part, what in (("train", "training"), ("test", "test")):
            yield claim(
                YAO,
                f"{name}: larger batches end at a larger λ₁ of the {what} loss (Spearman's correlation)",
                rank_correlation(rows, "batch_size", f"{part}_largest"),
                rows,
                above=0,
            )
        for column, what, side in (("accuracy", "lower", {"below": 0}), ("loss", "higher", {"above": 0})):
            yield claim(
                YAO,
                f"{name}: nets of larger λ₁ have the {what} test {column} (Spearman's correlation over batch sizes)",
                rank_correlation(rows, "train_largest", f"test_{column}"),
                rows,
                **side,
            )
    for column, rule in rules.items():
        yield claim(
            SAGUN,
            f"There are about as many outliers as classes (mean number by the rule of the {rule}, {classes} ± 20 %)",
            over_seeds(nets, column),
            within=(0.8 * classes, 1.2 * classes),
        )
    counts = _outliers(eigenvalues, settings)
    for column, rule in rules.items():
        yield claim(
            SAGUN,
            "The number of outliers follows that of the classes (Spearman's correlation of the two, rule of the "
            f"{rule})",
            rank_correlation(counts, "classes", column),
            above=0,
        )
    largest = density.groupby(["batch_size", "seed"]).node.transform("max")
    near = density.weight * (density.node.abs() <= 0.01 * largest)
    share = near.groupby([density.batch_size, density.seed]).sum().groupby("seed").mean()
    yield claim(
        SAGUN,
        "The bulk of the spectrum is near zero (share of the eigenvalues within 1 % of λ₁)",
        mean_interval(share),
        above=0.9,
    )


def _outliers(eigenvalues, settings):
    """Seed, classes and number of outliers by both rules, of the nets that differ in their classes."""
    nets = eigenvalues[eigenvalues.batch_size == settings["class_batch_size"]].sort_values("rank")
    values = nets.groupby(["seed", "classes"]).eigenvalue
    rules = {"outliers": values.apply(outliers, settings["resolution"]), "largest_ratio": values.apply(largest_ratio)}
    return pd.DataFrame(rules).reset_index()


def loss_functions(frame, settings, lines, **_) -> Iterator[Claim]:
    """What the Hessian is made of under each loss, and whether the losses' solutions differ and connect."""
    rows = frame[frame.status != "diverged"]
    rows = rows.assign(share=rows.residual / rows.hessian)
    for name in [name for name in ("nll", "squared") if name in settings["losses"]]:
        shares = rows[rows.loss == name].pivot(index="seed", columns="epoch", values="share")
        first, last = (shares.reindex(columns=settings["epochs"])[settings["epochs"][end]] for end in (0, -1))
        yield claim(
            SAGUN,
            f"{name}: at the end the Gauss–Newton part makes the Hessian (‖R‖₂ / ‖H‖₂, below 0.5)",
            mean_interval(last),
            below=0.5,
        )
        if settings["epochs"][0]:  # nothing was measured before training
            continue
        yield claim(
            SAGUN,
            f"{name}: the residual's share falls (difference of ‖R‖₂ / ‖H‖₂, end to start)",
            paired_difference(last, first),
            below=0,
        )
    for name in settings["losses"]:
        other, same = (_barriers(lines[(lines.loss == name) & (lines.kind == kind)]) for kind in KINDS)
        if not other.empty:
            partner = lines[(lines.loss == name) & (lines.kind == KINDS[0])].other.iloc[0]
            yield claim(
                OWN,
                f"The line from a solution of {name} to one of {partner} crosses a barrier (rise of training error)",
                mean_interval(other),
                above=0,
            )
            yield claim(
                OWN,
                f"From one initialisation, the barrier from {name} to {partner} is lower than that between two seeds "
                f"of {name} (difference of the rises)",
                paired_difference(other, same),
                below=0,
            )


def _barriers(lines):
    """Seed → the largest training error strictly between the ends of a line, less the larger of those at the ends."""
    error = (1 - lines.train_accuracy).where(lines.alpha.between(0, 1, inclusive="neither"))
    ends = (1 - lines.train_accuracy).where(lines.alpha.isin([0, 1]))
    return error.groupby(lines.seed).max() - ends.groupby(lines.seed).max()


QUESTIONS = (
    spectrum,
    loss_functions,
)
