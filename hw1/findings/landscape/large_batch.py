"""Figure, claims and text. Do large batches end in sharp minima, and do these generalise worse? Keskar et al.'s figures and tables.

Reads the rows of `hw1.landscape.large_batch` (net, batch_size, seed, losses, accuracies, space, epsilon, value, status)
and its tables "line" (net, seed, alpha, losses, accuracies) and "convergence" (net, batch_size, seed, epoch, losses).
`value` is the sharpness φ in per cent.
"""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hw1.findings import style
from hw1.findings.style import BLACK, BLUE, GREEN, LOSS, PURPLE, SETS, VERMILION
from hw1.findings.verdict import KESKAR, Claim, claim, outward_rises, steeper_beyond_the_large_batch
from hw1.findings.words import by_sign, listed, show, sign, training_loss
from hw1.statistics import geometric_mean, paired_difference, rank_correlation

SPACES = {"full": "full space", "manifold": "random manifold"}
PUBLISHED = {"full": "F1: 205 / 1.23", "manifold": "F1: 9.22 / 0.11"}  # 5 × 512, batch normalisation, ε = 1e-3
MARKERS = "os^v"  # of the values of ε, the first of them filled


def figure(rows, settings, line, convergence) -> Figure:
    """For each net the line from small to large batch and the learning curves; below, sharpness φ.

    Points and lines are means over seeds with 95 % intervals, geometric ones on logarithmic axes.
    """
    nets, sizes, rows = settings["nets"], settings["batch_sizes"], rows[rows.status != "diverged"]
    looks = dict(zip(sizes, ({"color": GREEN}, {"color": PURPLE}), strict=True))
    fig, panels = style.figure(3, 3, 6.6)
    for axes in panels[:2, len(nets) :].flat:
        axes.set_visible(False)
    for net, (above, below) in zip(nets, panels[:2].T, strict=False):
        above.set_title(f"{net} net")
        style.line_between(above, line[line.net == net])
        above.set_xlabel(f"α (batch size {sizes[0]} at 0, {sizes[1]} at 1)")
        _learning_curves(below, convergence[convergence.net == net], looks)
    for axes, (space, title) in zip(panels[2], SPACES.items(), strict=False):
        _boxes(axes, rows[rows.space == space], settings, looks)
        axes.set_title(title)
    _against_batch_size(panels[2, 2], rows, settings)
    looks = {f"batch size {size}": look for size, look in looks.items()}
    style.legend(fig, {"loss": {"color": BLUE}, "accuracy": {"color": VERMILION}} | looks | style.sets(BLACK))
    return fig


def _learning_curves(axes, rows, looks):
    """Training and test loss against the epoch for both batch sizes, as far as every seed was trained."""
    axes.set_yscale("log")
    for size, look in looks.items():
        curves = rows[rows.batch_size == size]
        seeds = curves.groupby("epoch").seed.transform("nunique")
        common = curves[seeds == seeds.max()]  # every mean is over the same nets
        for part, stroke in SETS.items():
            style.curve(axes, common, "epoch", f"{part}_loss", band=True, linestyle=stroke, **look)
    style.log_x(axes, "epoch")
    axes.set_ylabel(LOSS)


def _boxes(axes, rows, settings, looks):
    """The sharpness of each net and batch size in boxes of each size ε."""
    axes.set_yscale("log")
    nets, epsilons = settings["nets"], settings["epsilons"]
    for place, net in enumerate(nets):
        for shift, (size, look) in zip((-0.15, 0.15), looks.items(), strict=True):
            for epsilon, marker in zip(epsilons, MARKERS, strict=False):
                found = rows[(rows.net == net) & (rows.batch_size == size) & (rows.epsilon == epsilon)]
                face = look["color"] if epsilon == epsilons[0] else "white"
                drawn = {"linestyle": "none", "marker": marker, "markerfacecolor": face, "zorder": 3}
                style.curve(axes, found.assign(place=place + shift), "place", "value", **drawn, **look)
    handles = []
    for epsilon, marker in zip(epsilons, MARKERS, strict=False):
        face = BLACK if epsilon == epsilons[0] else "white"
        label = f"ε = {epsilon:g}"
        handles.append(Line2D([], [], linestyle="none", marker=marker, color=BLACK, mfc=face, label=label))
    axes.set(xlim=(-0.5, len(nets) - 0.5), ylabel="sharpness φ (%)")
    axes.set_ylim(top=axes.get_ylim()[1] * 6)  # for the legend
    labels = ["\n" * (place % 2) + net for place, net in enumerate(nets)]  # staggered, because they are long
    axes.set_xticks(range(len(labels)), labels)
    axes.legend(handles=handles, loc="upper left", handletextpad=0.2)


def _against_batch_size(axes, rows, settings):
    """Sharpness in the full space, and test accuracy, of the net that was trained with more batch sizes."""
    axes.set_yscale("log")
    net = "plain" if "plain" in settings["nets"] else settings["nets"][0]
    swept = _full(rows[rows.net == net], settings)
    style.curve(axes, swept, "batch_size", "value", color=BLACK)
    style.colour_axis(axes, BLACK, f"φ (%), ε = {settings['epsilons'][0]:g}")
    style.curve(style.twin(axes, VERMILION, "test accuracy"), swept, "batch_size", "test_accuracy", color=VERMILION)
    style.log_x(axes, "batch size")
    axes.set_title(f"{net} net, full space")


def _first_epsilon(rows, settings):
    """The rows of the first value of ε."""
    return rows[np.isclose(rows.epsilon, settings["epsilons"][0])]


def _full(rows, settings):
    """The rows of the full space and the first value of ε: one row per net and batch size."""
    return _first_epsilon(rows, settings)[lambda some: some.space == "full"]


def _pairs(rows, settings, column):
    """A column as two series over the seeds: of the small and of the large batch."""
    values = rows.pivot(index="seed", columns="batch_size", values=column)
    return [values.reindex(columns=settings["batch_sizes"])[size] for size in settings["batch_sizes"]]


def claims(rows, settings, line, **_) -> Iterator[Claim]:
    """Small against large batch at one training loss, pairs of one seed; then all batch sizes of the plain net."""
    rows = _first_epsilon(rows[rows.status != "diverged"], settings)
    for net in settings["nets"]:
        nets = rows[rows.net == net]
        compared = nets[nets.batch_size.isin(settings["batch_sizes"])]
        for space, name in SPACES.items():
            small, large = _pairs(nets[nets.space == space], settings, "value")
            yield claim(
                KESKAR,
                f"Large batches end in sharper minima: {net} net, {name} (geometric mean of φ of the large batch / φ of the small batch)",
                geometric_mean(large / small),
                compared,
                published=PUBLISHED[space] if net == "normalised" else "",
                above=1,
            )
        small, large = _pairs(nets[nets.space == "full"], settings, "test_accuracy")
        yield claim(
            KESKAR,
            f"Large batches generalise worse: {net} net (difference in test accuracy, large − small batch)",
            paired_difference(large, small),
            compared,
            below=0,
        )
        if (line.net == net).any():
            yield from steeper_beyond_the_large_batch(line[line.net == net], f"{net} net")
    swept = rows[(rows.net == "plain") & (rows.space == "full")]
    if swept.empty:
        return
    for column, name, side in (("value", "φ rises", {"above": 0}), ("test_accuracy", "accuracy falls", {"below": 0})):
        yield claim(
            KESKAR,
            f"With the batch size {name}: plain net, full space (Spearman's correlation)",
            rank_correlation(swept, "batch_size", column),
            swept,
            **side,
        )


def comment(rows, settings, line, **_) -> dict:
    """Whether large batches end sharper, whether they generalise worse, and whether the one goes with the other."""
    rows = rows[rows.status != "diverged"]
    full = _full(rows, settings)
    small, large = settings["batch_sizes"]
    return {
        "title": "Large batches",
        "method": f"Nets of one seed start from the same weights and differ in the batch size, {small} or {large}. {training_loss(rows, settings)} φ is the largest rise of the training loss in a box around the weights, as a percentage of 1 + loss, found by L-BFGS-B from {settings['starts']} starting points; the search gives a lower bound.",
        "caption": f"Top: loss (blue, left axis) and accuracy (orange, right axis) on the straight line between the two solutions of each net, the small batch's at α = 0 and the large batch's at α = 1. Middle: loss along training. Bottom: sharpness φ of both batch sizes in boxes of two sizes ε, in the full space (left) and on a random manifold of {settings['manifold']} dimensions (middle); φ and test accuracy of one net against the batch size (right).",
        "comment": [_sharper(full, settings), _on_the_line(line, settings), _generalisation(full, settings)],
    }


def _ratios(full, settings) -> dict:
    """Net → φ of the large batch over φ of the small one."""
    ratios = {}
    for net in full.net.unique():
        small, large = _pairs(full[full.net == net], settings, "value")
        ratios[net] = geometric_mean(large / small)
    return ratios


def _sharper(full, settings) -> str:
    """How φ differs between the batch sizes, and how it goes with the batch size."""
    small, large = settings["batch_sizes"]
    ratios = _ratios(full, settings)
    values = listed(f"{show(ratio)} ({net})" for net, ratio in ratios.items())
    clauses = {
        1: "the large batch ends in the sharper minimum",
        0: "neither batch size ends in a measurably sharper minimum",
        -1: "the large batch ends in the flatter minimum",
    }
    verdict = by_sign({net: sign(ratio, 1) for net, ratio in ratios.items()}, clauses, "net", "nets")
    text = f"In the full space, at ε = {settings['epsilons'][0]:g}, the φ of batch size {large} is {values} times that of batch size {small}: {verdict}."
    plain = full[full.net == "plain"]
    if plain.batch_size.nunique() < 3:
        return text
    trend = rank_correlation(plain, "batch_size", "value")
    verb = {1: "rises with", -1: "falls with", 0: "has no clear trend with"}[sign(trend)]
    return f"{text} Over {plain.batch_size.nunique()} batch sizes of the plain net, φ {verb} the batch size (Spearman's correlation {show(trend, 2)})."


def _on_the_line(line, settings) -> str:
    """On which side of the line between the two solutions the loss rises faster; empty if there is no line."""
    ratios = {}
    for net, rows in line.groupby("net", sort=False):
        step, behind, beyond = outward_rises(rows.pivot(index="seed", columns="alpha", values="train_loss"))
        ratios[net] = geometric_mean(beyond.clip(lower=1e-6) / behind.clip(lower=1e-6))
    if not ratios:
        return ""
    values = listed(f"{show(ratio)} ({net})" for net, ratio in ratios.items())
    clauses = {
        1: "the loss rises faster on the large batch's side",
        0: "neither side is measurably steeper",
        -1: "it rises faster on the small batch's side",
    }
    verdict = by_sign({net: sign(ratio, 1) for net, ratio in ratios.items()}, clauses, "net", "nets")
    return f"On the line through both solutions, {step:.2g} of their distance further out, the training loss rises beyond the large batch's solution by {values} times as much as beyond the small batch's: {verdict}. This is one direction out of thousands, and so weaker evidence than φ."


def _generalisation(full, settings) -> str:
    """Whether the large batch generalises worse, whether that goes with φ, and what follows."""
    differences = {}
    for net in full.net.unique():
        small, large = _pairs(full[full.net == net], settings, "test_accuracy")
        differences[net] = paired_difference(large, small)
    values = listed(f"{show(difference)} ({net})" for net, difference in differences.items())
    clauses = {
        -1: "the large batch generalises worse",
        0: "the two are not measurably different",
        1: "the large batch generalises better",
    }
    signs = {net: sign(difference) for net, difference in differences.items()}
    text = f"The test accuracy of the large batch differs from that of the small one by {values}: {by_sign(signs, clauses, 'net', 'nets')}. "
    plain = full[full.net == "plain"]
    if plain.batch_size.nunique() > 2:
        trend = rank_correlation(plain, "batch_size", "test_accuracy")
        verb = {1: "rises with", -1: "falls with", 0: "has no clear trend with"}[sign(trend)]
        text += f"Over all batch sizes of the plain net, test accuracy {verb} the batch size (Spearman's correlation {show(trend, 2)}). "
    return text + _within_one_size(full) + _conclusion(signs, _ratios(full, settings))


def _within_one_size(full) -> str:
    """Whether the sharper nets are the worse ones among plain nets of one batch size."""
    plain = full[full.net == "plain"]
    within = rank_correlation(plain, "value", "test_accuracy", by="batch_size")
    if not np.isfinite(within.low):
        return ""
    verdicts = {
        -1: "there the sharper nets are worse",
        0: "there the sharper nets are not measurably worse",
        1: "there the sharper nets are better",
    }
    return f"Among plain nets of one batch size, which differ in the seed only, φ has a rank correlation of {show(within, 2)} with test accuracy (interval over the batch sizes): {verdicts[sign(within)]}. "


def _conclusion(signs, ratios) -> str:
    """What the comparison of the batch sizes says of flat minima."""
    sharper = [net for net, ratio in ratios.items() if sign(ratio, 1) > 0]
    worse = [net for net in sharper if signs[net] < 0]
    if not sharper:
        return "A large batch does not measurably lead to a sharper minimum here, so this comparison cannot tell whether flat minima generalise better."
    if len(worse) == len(sharper):
        return "Wherever the large batch ends in a sharper minimum, it also generalises worse, as the source says; both follow the batch size, so this alone does not show that the one causes the other."
    if worse:
        return f"Of the {len(sharper)} nets whose large batch ends in a sharper minimum, only the {listed(worse)} {'net generalises' if len(worse) == 1 else 'nets generalise'} measurably worse with it: a much larger φ need not cost a measurable amount of accuracy. Where both change, both follow the batch size, so this alone does not show that the one causes the other."
    return "The large batch ends in a sharper minimum, but its test accuracy is not measurably lower: these runs do not show that flat minima generalise better."


def table(rows, settings, **_) -> dict:
    """Keskar et al.'s tables 3 and 4: φ of both batch sizes in each box, and their ratio."""
    sizes = settings["batch_sizes"]
    lines = [["net", "space", "ε", *(f"φ (%), batch {size}" for size in sizes), "ratio of the two"]]
    for (net, space, epsilon), box in rows.groupby(["net", "space", "epsilon"], sort=False):
        small, large = _pairs(box, settings, "value")
        measured = [show(geometric_mean(values)) for values in (small, large, large / small)]
        lines.append([net, space, f"{epsilon:g}", *measured])
    return {"caption": "Sharpness φ of small and large batches (geometric means over seeds).", "lines": lines}
