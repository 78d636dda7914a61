"""Figure, claims and text. What does the spectrum of the Hessian look like, and how does it change with the batch size?

Reads the rows of `hw1.landscape.spectrum` (data, batch_size, seed, losses, accuracies, train_largest, test_largest,
status) and its tables "nets" (trace, smallest eigenvalue, number of outliers by two rules), "eigenvalues" (the largest
ones, also of nets for fewer classes), "density" (nodes and weights), "layers" and "dimensions" (the small net).
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from hw1.findings.landscape.spectrum_figure import called, figure
from hw1.findings.verdict import BATCH_SHARPNESS, OWN, SHARP_WORSE, Claim, claim
from hw1.findings.words import listed, show, sign
from hw1.statistics import (
    correlation_within,
    geometric_mean,
    largest_ratio,
    mean_interval,
    outliers,
    over_seeds,
    rank_correlation,
)

__all__ = ["claims", "comment", "figure", "table"]  # the figure has a file of its own

SAGUN = "Sagun et al., arXiv 1611.07476 and 1706.04454"
GUR_ARI = "Gur-Ari et al., arXiv 1812.04754"
YAO = "Yao et al., arXiv 1802.08241"
RULES = ["outliers", "largest_ratio"]  # columns with the number of outliers
NEAR_ZERO = 0.01  # eigenvalues within this fraction of λ₁ belong to the bulk
BULK = 0.9  # the share of eigenvalues near zero above which the bulk is there
COLUMNS = {  # of the table: column → head
    "train_accuracy": "training accuracy",
    "test_accuracy": "test accuracy",
    "train_largest": "λ₁, training loss",
    "test_largest": "λ₁, test loss",
    "outliers": "outliers by gap",
    "largest_ratio": "by ratio",
    "trace": "trace",
}


def claims(rows, settings, nets, eigenvalues, density, **_) -> Iterator[Claim]:
    """The largest eigenvalue against batch size and generalisation; then outliers and bulk of the spectrum."""
    for name, one in rows.groupby("data", sort=False):
        yield from _claims_of_data(name, one)
    yield from _claims_of_outliers(nets, eigenvalues, settings)
    yield claim(
        SAGUN,
        f"The bulk of the spectrum is near zero (share of the eigenvalues within {100 * NEAR_ZERO:g} % of λ₁, above {BULK:g})",
        _near_zero(density),
        above=BULK,
    )


def _claims_of_data(name, rows) -> Iterator[Claim]:
    """λ₁ against the batch size, and against generalisation, on one data set."""
    nets = rows[rows.status != "diverged"]
    for part, what in (("train", "training"), ("test", "test")):
        yield claim(
            YAO,
            f"{called(name)}: larger batches end at a larger λ₁ of the {what} loss (Spearman's correlation)",
            rank_correlation(nets, "batch_size", f"{part}_largest"),
            rows,
            above=0,
            topic=BATCH_SHARPNESS,
        )
    for column, what, side in (("accuracy", "lower", {"below": 0}), ("loss", "higher", {"above": 0})):
        yield claim(
            OWN,
            f"{called(name)}: nets of larger λ₁ have the {what} test {column} (Spearman's correlation over batch sizes)",
            rank_correlation(nets, "train_largest", f"test_{column}"),
            rows,
            topic=SHARP_WORSE,
            **side,
        )


def _claims_of_outliers(nets, eigenvalues, settings) -> Iterator[Claim]:
    """The number of outliers beside the number of classes, by both rules."""
    most = eigenvalues.classes.max()  # of the first data set, to which the nets of table "nets" belong
    counts = _outliers(eigenvalues, settings)
    for column, rule in _rules(settings).items():
        for classes in sorted(eigenvalues.classes.unique(), reverse=True):
            some = nets if classes == most else counts[counts.classes == classes]
            yield claim(
                GUR_ARI,
                f"There are about as many outliers as classes, {classes} (mean number by the {rule}, {classes} ± 20 %)",
                over_seeds(some, column),
                within=(0.8 * classes, 1.2 * classes),
            )
    slopes = _slopes(counts)
    for column, rule in _rules(settings).items():
        yield claim(
            GUR_ARI,
            f"The number of outliers follows the number of classes (slope of outliers against classes by the {rule}; predicted 1, judged by 1 ± 0.5)",
            mean_interval(slopes[column]),
            within=(0.5, 1.5),
        )
    if counts.empty:
        return
    several = listed(map(str, sorted(counts.classes.unique())))
    for column, rule in _rules(settings).items():
        yield claim(
            OWN,
            f"There is one outlier fewer than classes (mean distance from that number by the {rule} over nets for {several} classes, below 0.5)",
            over_seeds(counts, (counts[column] - counts.classes + 1).abs()),
            below=0.5,
        )


def _slopes(counts):
    """The slope of the number of outliers against that of classes, by either rule; a row per seed."""
    rows = []
    for _, nets in counts.groupby("seed"):
        known = nets.classes.nunique() > 1
        rows.append([np.polyfit(nets.classes, nets[rule], 1)[0] if known else np.nan for rule in RULES])
    return pd.DataFrame(rows, columns=RULES, dtype=np.float64)


def _rules(settings):
    """Column → rule by which outliers are counted."""
    return dict(
        zip(RULES, (f"last gap wider than {100 * settings['resolution']:g} % of λ₁", "largest ratio"), strict=True)
    )


def _outliers(eigenvalues, settings):
    """Seed, classes and number of outliers by both rules, of the nets that differ in their number of classes."""
    nets = eigenvalues[eigenvalues.batch_size == settings["class_batch_size"]].sort_values("rank")
    rows = []
    for (seed, classes), net in nets.groupby(["seed", "classes"]):
        values = net.eigenvalue
        rows.append((seed, classes, outliers(values, settings["resolution"]), largest_ratio(values)))
    return pd.DataFrame(rows, columns=["seed", "classes", *RULES])


def _near_zero(density):
    """The share of the eigenvalues near zero, for the smallest and the largest batch size, with interval over seeds."""
    largest = density.groupby(["batch_size", "seed"]).node.transform("max")
    near = density.weight * (density.node.abs() <= NEAR_ZERO * largest)
    return mean_interval(near.groupby([density.batch_size, density.seed]).sum().groupby("seed").mean())


def comment(rows, settings, nets, eigenvalues, density, layers, dimensions) -> dict:
    """How λ₁ goes with batch size and generalisation, and what the rest of the spectrum looks like."""
    names, ends = list(rows.data.unique()), (min(settings["batch_sizes"]), max(settings["batch_sizes"]))
    rows = rows[rows.status != "diverged"]
    targets = listed(f"{target:g}" for target in settings["target_losses"])
    measured = sorted({*ends, settings["class_batch_size"]})
    return {
        "title": "Spectrum",
        "method": f"Nets are trained until the loss on the training set is at or below {targets} nats ({listed(map(called, names))}). λ₁ is computed on the whole training and test set, everything else on {settings['examples']:,} training images of {called(names[0])}, at batch sizes {listed(f'{size:,}' for size in measured)}.",
        "caption": f"Top: λ₁ and accuracy against the batch size; the largest eigenvalues by their rank. Bottom, for batch sizes {ends[0]:,} and {ends[1]:,}: the density of all eigenvalues in units of λ₁, as the nodes of the Lanczos method, each smoothed with a width of {100 * settings['resolution']:g} % of λ₁, which makes the ripples; λ₁ of each layer's block; all eigenvalues of a small net, with the curvatures along its parameter axes (dotted); both batch sizes nearly coincide there, the smaller one is drawn broad.",
        "comment": [
            *(_of_data(rows, ends) if len(rows) else ["All nets diverged."]),
            f"{_shape(nets, eigenvalues, density, settings)} {_parts(layers, dimensions, ends)}".strip(),
        ],
    }


def _of_data(rows, ends) -> list[str]:
    """λ₁ against the batch size and against generalisation, on each data set."""
    sets = {called(name): one for name, one in rows.groupby("data", sort=False)}
    with_batch = " ".join(_batch_size(name, one, ends) for name, one in sets.items())
    with_tests = " ".join(_generalisation(name, one) for name, one in sets.items())
    return [with_batch, f"{with_tests} {_conclusion(rows)}"]


def _batch_size(name, rows, ends) -> str:
    """How λ₁ of the training loss goes with the batch size on one data set."""
    if ends[0] == ends[1]:
        return (
            f"On {name}, λ₁ of the training loss is {show(mean_interval(rows.train_largest))} at batch size {ends[0]}."
        )
    values = rows.pivot(index="seed", columns="batch_size", values="train_largest").reindex(columns=ends)
    first, last = (mean_interval(values[size]) for size in ends)
    ratio = geometric_mean(values[ends[1]] / values[ends[0]])
    trend = rank_correlation(rows, "batch_size", "train_largest")
    text = f"On {name}, λ₁ of the training loss is {show(first)} at batch size {ends[0]:,} and {show(last)} at {ends[1]:,}, {show(ratio, 2)} times as large"
    if np.isfinite(trend.value):
        text += f" (rank correlation with the batch size {show(trend, 2)})"
    verdicts = {
        1: "larger batches end at a larger λ₁",
        0: "there is no clear trend",
        -1: "larger batches end at a smaller λ₁",
    }
    return f"{text}: {verdicts[sign(trend) if np.isfinite(trend.value) else sign(ratio, 1)]}."


def _generalisation(name, rows) -> str:
    """How λ₁ goes with test accuracy and test loss on one data set, over batch sizes and within one of them."""
    accuracy, loss = (rank_correlation(rows, "train_largest", f"test_{what}") for what in ("accuracy", "loss"))
    if not np.isfinite(accuracy.value):
        return f"On {name} there are too few batch sizes for a rank correlation of λ₁ with test results."
    within = correlation_within(rows, "train_largest", "test_accuracy", "batch_size")
    text = f"On {name}, over batch sizes, λ₁ has a rank correlation of {show(accuracy, 2)} with test accuracy and of {show(loss, 2)} with test loss"
    if not np.isfinite(within.low):
        return f"{text}."
    verdicts = {
        -1: "there nets of smaller λ₁ are better",
        0: "there nets of smaller λ₁ are not measurably better",
        1: "there nets of smaller λ₁ are worse",
    }
    return f"{text}; among nets of one batch size, Kendall's τ with test accuracy is {show(within, 2)}: {verdicts[sign(within)]}."


def _conclusion(rows) -> str:
    """What the correlations of all data sets say of flat minima."""
    signs = {}
    for name, one in rows.groupby("data", sort=False):
        name = called(name)
        signs[f"test accuracy on {name}"] = -sign(rank_correlation(one, "train_largest", "test_accuracy"))
        signs[f"test loss on {name}"] = sign(rank_correlation(one, "train_largest", "test_loss"))
    better, unclear, worse = ([what for what, found in signs.items() if found == side] for side in (1, 0, -1))
    parts = [f"better by {listed(better)}"] if better else []
    parts += [f"worse by {listed(worse)}"] if worse else []
    if not parts:
        return "Nets of smaller λ₁ do not measurably generalise better or worse."
    text = f"Over batch sizes, nets of smaller λ₁ generalise {listed(parts)}"
    text += f"; by {listed(unclear)} there is no clear trend." if unclear else "."
    if worse or unclear:
        text += " So a smaller λ₁ alone does not reliably tell which net generalises better."
    return text


def _shape(nets, eigenvalues, density, settings) -> str:
    """Outliers and bulk: how many directions are curved at all."""
    if nets.empty or density.empty:
        return ""
    classes, counts = eigenvalues.classes.max(), _outliers(eigenvalues, settings)
    slopes = _slopes(counts)
    by_gap, by_ratio = (over_seeds(nets, rule) for rule in _rules(settings))
    near, sizes = _near_zero(density), (min(settings["batch_sizes"]), max(settings["batch_sizes"]))
    text = f"At batch sizes {sizes[0]:,} and {sizes[1]:,}, a share of {show(near)} of all eigenvalues lies within {100 * NEAR_ZERO:g} % of λ₁ around zero"
    text += ": beside the steepest directions, almost all are flat. " if near.value > BULK else ". "
    traces = nets.pivot(index="seed", columns="batch_size", values="trace").reindex(columns=sizes)
    text += f"The trace at batch size {sizes[1]:,} is {show(geometric_mean(traces[sizes[1]] / traces[sizes[0]]), 2)} times that at {sizes[0]:,}. By the last gap wider than {100 * settings['resolution']:g} % of λ₁, {show(by_gap)} eigenvalues lie outside the bulk, by the largest ratio {show(by_ratio)}, for {classes} classes."
    if counts.classes.nunique() > 2:
        means = counts.groupby("classes")[["outliers", "largest_ratio"]].mean()
        text += f" For {listed(means.index.astype(str))} classes there are {listed(f'{mean:.1f}' for mean in means.outliers)} by the gap and {listed(f'{mean:.1f}' for mean in means.largest_ratio)} by the ratio: {show(mean_interval(slopes.outliers), 2)} and {show(mean_interval(slopes.largest_ratio), 2)} more for each class."
        exact = [
            name
            for name, rule in (("gap", "outliers"), ("ratio", "largest_ratio"))
            if (counts[rule] == counts.classes - 1).all()
        ]
        if exact:
            text += (
                f" By the {listed(exact)} there is exactly one outlier fewer than classes in every one of these nets."
            )
    negative = over_seeds(nets, nets.smallest.abs() / _first(nets, eigenvalues))
    return f"{text} The most negative eigenvalue is {show(negative, 2)} of λ₁ in size."


def _first(nets, eigenvalues):
    """λ₁ of each row of the table "nets", on the same examples."""
    largest = eigenvalues[(eigenvalues["rank"] == 1) & (eigenvalues.classes == eigenvalues.classes.max())]
    largest = largest.set_index(["batch_size", "seed"]).eigenvalue
    return largest.loc[list(zip(nets.batch_size, nets.seed, strict=True))].to_numpy()


def _parts(layers, dimensions, ends) -> str:
    """In which layer the curvature is largest, and how the parameter axes compare with the eigenvectors."""
    text = ""
    for size in ends if len(layers) else ():
        blocks = layers[(layers["rank"] == 1) & (layers.batch_size == size)]
        text += _steepest(blocks.pivot(index="seed", columns="layer", values="eigenvalue"), size)
    if len(dimensions):
        largest = dimensions.groupby(["batch_size", "seed"])[["eigenvalue", "curvature"]].max()
        ratio = mean_interval((largest.eigenvalue / largest.curvature).groupby("seed").mean())
        text += f"In the small net, λ₁ is {show(ratio, 2)} times the largest curvature along any parameter axis: the steepest direction combines several parameters."
    return text.strip()


def _steepest(blocks, size) -> str:
    """Which layer's block has the largest eigenvalue, if that can be told from the next one; a row per seed."""
    order = blocks.mean().sort_values(ascending=False).index
    if len(order) < 2:
        return ""
    first, second = (_layer(name) for name in order[:2])
    ratio = geometric_mean(blocks[order[0]] / blocks[order[1]])
    text = f"At batch size {size:,} the largest eigenvalue of a layer’s block is "
    if sign(ratio, 1) > 0:
        return f"{text}that of {first}, {show(ratio, 2)} times that of {second}. "
    return f"{text}that of {first} or of {second}, which are not measurably different (ratio {show(ratio)}). "


def _layer(name) -> str:
    """A layer's name in the text."""
    return "the output layer" if name == "logits" else f"the {name.replace('_', ' layer ')}"


def table(rows, settings, nets, **_) -> dict:
    """Yao et al.'s table: accuracies and λ₁ of both losses for each batch size; outliers and trace beside it."""
    lines = [["data", "batch", *COLUMNS.values()]]
    both = rows.merge(nets, on=["data", "batch_size", "seed"], how="left")
    for (data, size), part in both.groupby(["data", "batch_size"], sort=False):
        found = [show(mean_interval(part[name])) if part[name].notna().any() else "–" for name in COLUMNS]
        lines.append([called(data), f"{size:,}", *found])
    caption = f"Accuracies, largest eigenvalues, outliers and trace against the batch size (–: not measured; outliers and trace are those of {called(rows.data.iloc[0])} at the batch sizes of the method)."
    return {"caption": caption, "lines": lines}
