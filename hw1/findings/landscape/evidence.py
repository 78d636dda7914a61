"""Figure, claims and text. Does the Bayesian evidence distinguish memorising from learning, and sharp minima from flat ones?

Reads the rows of `hw1.landscape.evidence` (model, labels, batch_size, seed, grid, regularization, losses, accuracies,
log_evidence_ratio, log_occam, standard_error, status).
"""

import itertools
from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hw1.findings import style
from hw1.findings.style import BLACK, BLUE, GREEN, SETS, VERMILION
from hw1.findings.verdict import BATCH_SHARPNESS, OWN, SHARP_WORSE, Claim, claim
from hw1.findings.words import number, part_of, show, sign, training_loss
from hw1.statistics import (
    Interval,
    correlation_within,
    jackknife,
    mean_interval,
    paired_difference,
    rank_correlation,
    weakest,
)

MENTION = 1  # nats: less evidence is "not worth more than a bare mention" (Kass and Raftery, JASA 1995, after Jeffreys)
MEMORISED = 0.99  # the training accuracy from which labels count as memorised
OPTIMA = ("log_evidence_ratio", "test_loss")
SMITH = "Smith & Le, arXiv 1710.06451"


def figure(rows, settings) -> Figure:
    """Accuracy, cross-entropy and evidence of regressions against λ; Occam factors of nets (below: one point a net).

    Lines and points are means over seeds with 95 % intervals, geometric ones on logarithmic axes.
    """
    fig, panels = style.figure(2, 3, 4.6)
    for (above, below), labels in zip(panels.T, ("true", "random"), strict=False):
        _regression(above, below, _regressions(rows, labels))
        above.set_title(f"regression, {labels} labels")
    nets, (above, below) = _nets(rows), panels[:, 2]
    nets = nets.assign(cost_of_width=-nets.log_occam)
    style.curve(above, nets, "batch_size", "cost_of_width", color=GREEN)
    style.log_x(above, "batch size")
    above.set(ylabel="½ Σ ln(λᵢ/λ)", title=f"nets, λ = {settings['net_regularization']:g}")
    shades = style.shades(settings["batch_sizes"])
    looks = dict(zip(shades, itertools.cycle("osD^v"), strict=False))
    for size, colour in shades.items():
        some = nets[nets.batch_size == size]
        below.plot(some.cost_of_width, some.test_accuracy, looks[size], color=colour)
    below.set(xlabel="½ Σ ln(λᵢ/λ)", ylabel="test accuracy")
    dots = {size: Line2D([], [], marker=looks[size], linestyle="", color=colour) for size, colour in shades.items()}
    names = style.named("batch", {size: {} for size in shades})
    where = {"loc": "upper center", "bbox_to_anchor": (0.4, -0.27), "ncols": 3}
    below.legend(dots.values(), names, handletextpad=0.1, columnspacing=0.8, **where)
    looks = {"accuracy": {"color": BLUE}, "cross-entropy": {"color": VERMILION}} | style.sets(BLACK)
    style.legend(fig, looks | {"E, right axis: negative for the regression, positive for chance": {"color": GREEN}})
    return fig


def _regression(above, below, rows):
    """Accuracy above, cross-entropy and evidence below, against λ."""
    below.set_yscale("log")
    for part, line in SETS.items():
        style.curve(above, rows, "regularization", f"{part}_accuracy", band=True, color=BLUE, linestyle=line)
        style.curve(below, rows, "regularization", f"{part}_loss", band=True, color=VERMILION, linestyle=line)
    least = min(rows[f"{part}_accuracy"].min() for part in SETS)
    above.set(ylabel="accuracy", ylim=(0.95, 1.002) if least > 0.95 else (0.4, 1.03))
    style.colour_axis(below, VERMILION, "cross-entropy (nats)")
    right = style.twin(below, GREEN, "log evidence ratio E (nats)")
    style.curve(right, rows, "regularization", "log_evidence_ratio", band=True, color=GREEN)
    right.axhline(0, color=GREEN, linewidth=0.8, linestyle=":")
    style.log_ticks(below.yaxis)
    for axes in (above, below):
        style.log_x(axes, "λ")


def _regressions(rows, labels):
    """The rows of the regressions with one kind of labels."""
    return rows[(rows.model == "logistic regression") & (rows.labels == labels)]


def _nets(rows):
    """The rows of the nets that did not diverge."""
    return rows[(rows.model == "net") & (rows.status != "diverged")]


def claims(rows, settings) -> Iterator[Claim]:
    """What the evidence says of regressions with true and random labels, and of nets."""
    random, true = _regressions(rows, "random"), _regressions(rows, "true")
    yield claim(
        SMITH,
        "Random labels: at no λ is the evidence for the regression (least of the means of E at each λ in nats, above 0)",
        _least_with_random_labels(random),
        above=0,
        effect=MENTION,
    )
    yield claim(
        SMITH,
        "True labels: the evidence is for the model at the best λ (smallest E over λ in nats, below 0)",
        mean_interval(true.groupby("seed").log_evidence_ratio.min()),
        below=0,
    )
    yield claim(
        SMITH,
        "The λ of most evidence is near that of least test loss, true labels (difference of log₁₀ λ where the means over seeds are least, 0 ± 1)",
        _distance_of_optima(true),
        within=(-1, 1),
    )
    yield claim(
        SMITH,
        "Evidence goes with test loss as λ changes, true labels (Spearman's correlation of E and test loss)",
        _evidence_and_loss(true),
        above=0,
    )
    yield claim(
        SMITH,
        f"A weakly regularised regression memorises random labels (training accuracy at the smallest λ, above {MEMORISED:g})",
        mean_interval(_weakest(random).train_accuracy),
        above=MEMORISED,
    )
    nets, all_nets = _nets(rows), rows[rows.model == "net"]
    yield claim(
        SMITH,
        "Small batches end in minima of larger Occam factors (Spearman's correlation of batch size and Occam factor)",
        rank_correlation(nets, "batch_size", "log_occam"),
        all_nets,
        below=0,
        topic=BATCH_SHARPNESS,
    )
    for column, side in (("accuracy", {"above": 0}), ("loss", {"below": 0})):
        yield claim(
            OWN,
            f"Larger Occam factors go with better generalisation (Spearman's correlation of Occam factor and test {column} over batch sizes)",
            rank_correlation(nets, "log_occam", f"test_{column}"),
            all_nets,
            **side,
            topic=SHARP_WORSE,
        )


def _best(rows, column):
    """Seed → the λ at which a column is smallest."""
    return rows.set_index("regularization").groupby("seed")[column].idxmin()


def _least_with_random_labels(random) -> Interval:
    """The least E over λ. It is nearly 0 at the largest λ, where the prior leaves no model but the null model."""
    return weakest(mean_interval(rows.log_evidence_ratio) for _, rows in random.groupby("regularization"))


def _with_random_labels(rows) -> Interval:
    """E with random labels, for each seed at the λ of most evidence with true labels."""
    random = _regressions(rows, "random").set_index(["regularization", "seed"]).log_evidence_ratio
    best = _best(_coarse(_regressions(rows, "true")), "log_evidence_ratio")
    return mean_interval([random[at, seed] for seed, at in best.items()])


def _coarse(rows):
    """The rows of the λ that are evenly spaced, which both kinds of labels have."""
    return rows[rows.grid == "coarse"]


def _evidence_and_loss(true) -> Interval:
    """How E goes with the test loss over the evenly spaced λ, rank correlation."""
    return rank_correlation(_coarse(true), "log_evidence_ratio", "test_loss")


def _optimum(true, column) -> Interval:
    """log₁₀ of the λ at which the mean of a column over all seeds is least; interval by jackknife."""
    table = true.pivot(index="seed", columns="regularization", values=column)
    places = np.log10(table.columns.to_numpy(np.float64))
    return jackknife(lambda rows: _vertex(places, rows.mean(axis=0)), table.to_numpy())


def _distance_of_optima(true) -> Interval:
    """log₁₀ of the λ of most evidence over that of least test loss, each from the mean over all seeds."""
    tables = [true.pivot(index="seed", columns="regularization", values=column) for column in OPTIMA]
    places, both = np.log10(tables[0].columns.to_numpy(np.float64)), np.stack(tables, axis=1)

    def distance(rows):
        evidence, loss = (_vertex(places, curve) for curve in rows.mean(axis=0))
        return evidence - loss

    return jackknife(distance, both)


def _vertex(places, values) -> float:
    """Where the parabola through the least value and its neighbours is least; NaN if it is at an end of the grid."""
    least = int(np.argmin(values))
    if not 0 < least < len(values) - 1:
        return np.nan
    near = slice(least - 1, least + 2)
    square, slope, _ = np.polyfit(places[near] - places[least], values[near], 2)
    return float(places[least] - slope / (2 * square))


def _weakest(rows):
    """The rows of the smallest λ."""
    return rows[rows.regularization == rows.regularization.min()]


def comment(rows, settings) -> dict:
    """Whether the evidence tells learning from memorising, and whether Occam factors go with generalisation."""
    nets = _nets(rows)
    return {
        "title": "Evidence",
        "method": f"A logistic regression learns to tell {_classes(settings)} apart from {settings['images']} images, with true and with permuted labels, at {settings['points']} strengths λ of the prior; E is the log evidence ratio of chance to the regression, negative where the evidence is for the regression. {training_loss(nets, settings)} They were trained without the prior, so only their Occam factors are compared, at λ = {settings['net_regularization']:g}.",
        "caption": "Left and middle: accuracy (top), cross-entropy and E (bottom; green, right axis) of the regression against λ, with true and with random labels. Right: the negative logarithm of the Occam factor, ½ Σ ln(λᵢ/λ), of nets against the batch size (top), and test accuracy against it, one point a net, a colour and a marker per batch size (bottom). It is larger for sharper minima.",
        "comment": [_memorising(rows), _choice_of_prior(_regressions(rows, "true")), _occam(nets, settings)],
    }


def _memorising(rows) -> str:
    """Whether the evidence tells true from random labels, where the training accuracy does not."""
    true, random = _regressions(rows, "true"), _regressions(rows, "random")
    fitted, tested = (mean_interval(_weakest(random)[f"{part}_accuracy"]) for part in ("train", "test"))
    best, same = mean_interval(true.groupby("seed").log_evidence_ratio.min()), _with_random_labels(rows)
    text = f"At the smallest λ, the regression reaches training accuracy {show(fitted)} on random labels, with test accuracy {show(tested)}"
    text += ": it memorises them. " if fitted.value > MEMORISED else ". "
    text += f"With true labels, E is {show(best)} nats at the λ of most evidence; with random labels, at the same λ, it is {show(same)} nats. "
    if sign(best) < 0 < sign(same):
        text += "The evidence is for the regression with true labels and against it with random ones: it distinguishes learning from memorising, which the training accuracy at small λ does not. "
    else:
        text += "These runs do not show that the evidence distinguishes learning from memorising. "
    least = _least_with_random_labels(random)
    seeds = random.groupby("seed").log_evidence_ratio.min()
    if least.low > 0:
        text += "In the mean over seeds, E with random labels is positive at every λ, so at no λ does the evidence favour the regression. "
    elif least.low > -MENTION:
        text += f"In the mean over seeds, there is no λ at which the evidence with random labels favours the regression by more than {MENTION} nat. "
    below = int((seeds < 0).sum())
    if below and least.low > -MENTION:
        text += f"In {part_of(below, len(seeds))} seeds it falls below 0 at some λ, to {number(seeds.min(), 2)} nats at the least."
    return text.strip()


def _choice_of_prior(true) -> str:
    """Whether the λ of most evidence is also that of the least test loss."""
    distance, trend = _distance_of_optima(true), _evidence_and_loss(true)
    verdicts = {
        1: "the evidence, which needs no test data, prefers the values of λ with low test loss",
        0: "the evidence does not measurably go with the test loss",
        -1: "the evidence misleads: it is largest where the test loss is high",
    }
    text = f"Over all λ, E with true labels has a rank correlation of {show(trend, 2)} with test loss: {verdicts[sign(trend)]}."
    if not np.isfinite(distance.value):
        return f"{text} One of the two is least at an end of the range of λ."
    evidence, loss = (number(10 ** _optimum(true, column).value, 2) for column in OPTIMA)
    text += f" In the mean over seeds, the evidence is largest at λ = {evidence} and the test loss least at {loss} (difference of $log_10 λ$ {show(distance, 2)}). "
    bests = np.log10(_best(true, "test_loss"))
    return (
        f"{text}For a single split, the λ of least test loss varies by {number(bests.max() - bests.min(), 2)} decades."
    )


def _errors(nets) -> str:
    """How large the standard error of an Occam factor is beside the spread between nets; empty without nets."""
    spread = nets.groupby("batch_size").log_occam.var().mean() ** 0.5
    if not np.isfinite(spread):
        return ""
    error = (nets.standard_error**2).mean() ** 0.5
    return f"The random probes give it a standard error of {number(error, 2)} for each net (a part of which all nets share, as they have the same probes), beside a standard deviation of {number(spread, 2)} between nets of one batch size."


def _occam(nets, settings) -> str:
    """How the Occam factors of nets go with the batch size and with generalisation, and what follows."""
    if nets.empty:
        return "All nets diverged."
    ends = [min(settings["batch_sizes"]), max(settings["batch_sizes"])]
    if ends[0] == ends[1]:
        return f"For nets, trained with batches of {ends[0]}, the negative logarithm of the Occam factor is {show(mean_interval(-nets.log_occam))}."
    values = (
        nets.assign(cost=-nets.log_occam).pivot(index="seed", columns="batch_size", values="cost").reindex(columns=ends)
    )
    first, last = (mean_interval(values[size]) for size in ends)
    trend, difference = (
        rank_correlation(nets, "batch_size", "log_occam"),
        paired_difference(values[ends[1]], values[ends[0]]),
    )
    text = f"For nets, the negative logarithm of the Occam factor is {show(first)} at batch size {ends[0]:,} and {show(last)} at {ends[1]:,} (difference {show(difference)})"
    verdicts = {
        1: "larger batches end in sharper minima",
        0: "no clear trend with the batch size",
        -1: "larger batches end in flatter minima",
    }
    if not np.isfinite(trend.value):
        return f"{text}: {verdicts[sign(difference)]}. There are too few batch sizes for a rank correlation with test results."
    text += (
        f"; the Occam factor has a rank correlation of {show(trend, 2)} with the batch size: {verdicts[-sign(trend)]}. "
    )
    accuracy, loss = (rank_correlation(nets, "log_occam", f"test_{what}") for what in ("accuracy", "loss"))
    text += f"Its rank correlation is {show(accuracy, 2)} with test accuracy and {show(loss, 2)} with test loss: "
    verdicts = {
        (1, -1): "flatter nets generalise better, by both measures. ",
        (1, 0): "flatter nets have the higher test accuracy, but not a measurably lower test loss. ",
        (1, 1): "flatter nets have the higher test accuracy, but also the higher test loss. ",
        (0, -1): "flatter nets have the lower test loss, but not a measurably higher test accuracy. ",
    }
    text += verdicts.get((sign(accuracy), sign(loss)), "these runs do not show that flatter nets generalise better. ")
    within = correlation_within(nets, "log_occam", "test_accuracy", "batch_size")
    if not np.isfinite(within.low):
        return text.strip()
    text += f"Among nets of one batch size, which differ in their seed only, Kendall's τ with test accuracy is {show(within, 2)}"
    verdicts = {
        1: "there flatter nets are better.",
        0: "there flatter nets are not measurably better, so the Occam factor may say no more than the batch size, or its estimate may be too rough.",
        -1: "there flatter nets are worse.",
    }
    return f"{text}: {verdicts[sign(within)]} {_errors(nets)}".strip()


def _classes(settings) -> str:
    """The two classes of the regression."""
    return "the digits 0 and 1" if settings["data"] in ("mnist", "mnist10k") else "the first two classes"
