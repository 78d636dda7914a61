"""Figure, claims and text. Do large batches end in sharp minima, and do these generalise worse? Keskar et al.'s figures and tables.

Reads the rows of `hw1.landscape.large_batch` (net, batch_size, seed, losses, accuracies, distance, space, epsilon, φ in per
cent as value, status) and its tables "line" (net, seed, alpha, losses, accuracies) and "convergence" (…, epoch, losses).
"""

from collections.abc import Iterator

import numpy as np

from hw1.findings.landscape.large_batch_figure import SPACES, figure, full_space, in_box
from hw1.findings.verdict import (
    ACCURACY_EFFECT,
    ALIKE_WORSE,
    BATCH_SHARPNESS,
    BATCH_WORSE,
    KESKAR,
    OWN,
    SHARP_WORSE,
    Claim,
    claim,
    outward_growth,
    steeper_beyond_the_large_batch,
)
from hw1.findings.words import by_sign, listed, number, part_of, show, sign, training_loss
from hw1.statistics import correlation_given, geometric_mean, mean_interval, paired_difference, rank_correlation

__all__ = ["claims", "comment", "figure", "table"]  # the figure has a file of its own

# Tables 2 to 4 of the source for its net F1 (5 × 512, batch normalisation, MNIST), and section 3 for all of its nets.
PUBLISHED = {  # space and ε → φ of the large and of the small batch
    ("full", 1e-3): (205, 1.23),
    ("full", 5e-4): (42.9, 0.61),
    ("manifold", 1e-3): (9.22, 0.11),
    ("manifold", 5e-4): (9.17, 0.05),
}
PUBLISHED_ACCURACY = (0.9781, 0.9803)  # of the large and of the small batch
PUBLISHED_DISTANCE = (0.1, 0.33)  # of the large batch over that of the small one: from and to


def _pairs(rows, settings, column):
    """A column as two series over the seeds: of the small and of the large batch; NaN where a net diverged."""
    values = rows.pivot(index="seed", columns="batch_size", values=column)
    return [values.reindex(columns=settings["batch_sizes"])[size] for size in settings["batch_sizes"]]


def _ratio(rows, settings, column):
    """A column of the large batch over that of the small one, as an interval."""
    small, large = _pairs(rows, settings, column)
    return geometric_mean(large / small)


def _gain(rows, settings):
    """Test accuracy of the large batch less that of the small one, as an interval."""
    return paired_difference(*reversed(_pairs(rows, settings, "test_accuracy")))


def _loss_ratio(rows, settings):
    """Test loss of the large batch over that of the small one, as an interval."""
    return _ratio(rows, settings, "test_loss")


def _barrier(line, seeds, column):
    """The highest value of a column between the two nets less the higher one of theirs, as an interval."""
    values = line.pivot(index="seed", columns="alpha", values=column).reindex(seeds)
    return mean_interval(values.loc[:, 0:1].iloc[:, 1:-1].max(axis=1) - values[[0, 1]].max(axis=1))


def claims(rows, settings, line, **_) -> Iterator[Claim]:
    """Small against large batch at one training loss, pairs of one seed; then all batch sizes of the plain net."""
    for net in settings["nets"]:
        nets = rows[rows.net == net]
        yield from _claims_of_pairs(nets[nets.batch_size.isin(settings["batch_sizes"])], settings, net)
        if (line.net == net).any():
            yield from _claims_of_the_line(line[line.net == net], full_space(nets, settings), settings, net)
    plain = full_space(rows[rows.net == "plain"], settings)
    if plain.empty:
        return
    for column, name, side in (
        ("value", "φ rises", {"above": 0, "topic": BATCH_SHARPNESS}),
        ("test_accuracy", "test accuracy falls", {"below": 0, "topic": BATCH_WORSE}),
        ("test_loss", "test loss rises", {"above": 0, "topic": BATCH_WORSE}),
    ):
        yield claim(
            KESKAR,
            f"With the batch size {name}: plain net, full space (Spearman's correlation)",
            rank_correlation(plain, "batch_size", column),
            plain,
            **side,
        )
    if plain.batch_size.nunique() < 3:
        return
    for column, name, side in (
        ("test_accuracy", "test accuracy", {"below": 0}),
        ("test_loss", "test loss", {"above": 0}),
    ):
        yield claim(
            KESKAR,
            f"Sharper minima generalise worse: plain net (Spearman's correlation of φ and {name} over batch sizes)",
            rank_correlation(plain, "value", column),
            plain,
            topic=SHARP_WORSE,
            **side,
        )
        yield claim(
            OWN,
            f"Of plain nets of one batch size the sharper ones generalise worse (Spearman's correlation of φ and {name}, both as deviations from the mean of their batch size)",
            correlation_given(plain, "value", column, "batch_size"),
            plain,
            topic=ALIKE_WORSE,
            **side,
        )


def _claims_of_pairs(nets, settings, net) -> Iterator[Claim]:
    """Sharpness in every box, test accuracy and distance from the start of one net."""
    for space, name in SPACES.items():
        for epsilon in settings["epsilons"]:
            yield claim(
                KESKAR,
                f"Large batches end in sharper minima: {net} net, {name}, ε = {epsilon:g} (geometric mean of φ of the large batch / φ of the small batch)",
                _ratio(in_box(nets, space, epsilon), settings, "value"),
                nets,
                published=_published(space, epsilon) if net == "normalised" else "",
                above=1,
                topic=BATCH_SHARPNESS,
            )
    each = full_space(nets, settings)
    yield claim(
        KESKAR,
        f"Large batches generalise worse: {net} net (difference in test accuracy, large − small batch)",
        _gain(each, settings),
        nets,
        published="F1: {} − {}".format(*PUBLISHED_ACCURACY) if net == "normalised" else "",
        below=0,
        effect=ACCURACY_EFFECT,
        topic=BATCH_WORSE,
    )
    yield claim(
        KESKAR,
        f"Large batches have the higher test loss: {net} net (geometric mean of the test loss of the large / of the small batch)",
        _loss_ratio(each, settings),
        nets,
        above=1,
        topic=BATCH_WORSE,
    )
    yield claim(
        KESKAR,
        f"Large batches end nearer their start: {net} net (geometric mean of the distance from the initial weights, large / small batch)",
        _ratio(each, settings, "distance"),
        nets,
        published="{} to {}".format(*PUBLISHED_DISTANCE),
        below=1,
    )


def _published(space, epsilon) -> str:
    """The source's φ of large and small batch in a box; empty if it has none."""
    return "F1: {} / {}".format(*PUBLISHED[space, epsilon]) if (space, epsilon) in PUBLISHED else ""


def _claims_of_the_line(line, nets, settings, net) -> Iterator[Claim]:
    """On which side the line between the two solutions of one net is steeper, and whether it has a barrier."""
    compared = nets[nets.batch_size.isin(settings["batch_sizes"])]
    yield from steeper_beyond_the_large_batch(line, f"{net} net", compared)
    yield claim(
        OWN,
        f"A barrier lies on the line between small and large batch: {net} net (highest training error between the nets less the higher one of theirs)",
        _barrier(line.assign(error=1 - line.train_accuracy), sorted(compared.seed.unique()), "error"),
        compared,
        above=0,
        effect=ACCURACY_EFFECT,
    )


def comment(rows, settings, line, **_) -> dict:
    """Whether large batches end sharper, whether they generalise worse, and whether the one goes with the other."""
    trained, full = rows[rows.status != "diverged"], full_space(rows, settings)
    small, large = settings["batch_sizes"]
    reached = "All nets diverged." if trained.empty else training_loss(trained, settings)
    starts = settings["starts"]
    starts = f"{starts} starting points" if starts > 1 else "a start along the signs of the gradient"
    parts = ["Of no net were both batch sizes trained without diverging, so that there is nothing to compare."]
    if _by_net(full, settings, _ratio, "value"):
        parts = [_sharper(rows, settings), _on_the_line(line), _distance(full, settings), _worse(full, settings)]
    return {
        "title": "Large batches",
        "method": f"Nets of one seed start from the same weights and differ in the batch size, {small} or {large}. The step size of Adam is {settings['learning_rate']:g}, and {settings['normalised_rate']:g} for the normalised net with the large batch. {reached} φ is the largest rise of the training loss for any step $z$ within the box $|z_i| <= epsilon (|x_i| + 1)$ around the weights $x$, in per cent of 1 + loss; in a random subspace, $z$ and $x$ are coordinates in it. It is found by L-BFGS-B from {starts}; the search gives a lower bound.",
        "caption": f"Top: loss (blue, left axis) and accuracy (orange, right axis) on the straight line between the two solutions of each net, the small batch's at α = 0 and the large batch's at α = 1. Middle: loss along training; a net that has come to its target keeps its last values. Bottom: sharpness φ of both batch sizes in boxes of two sizes ε, in the full space (left) and in a random subspace of {settings['manifold']} dimensions (middle); φ (black squares) and test accuracy (orange circles, right axis) of one net against the batch size (right).",
        "comment": parts,
    }


def _by_net(full, settings, statistic, *column) -> dict:
    """Net → a statistic of the pairs of small and large batch, for the nets that have such pairs."""
    found = {net: statistic(full[full.net == net], settings, *column) for net in settings["nets"]}
    return {net: interval for net, interval in found.items() if np.isfinite(interval.value)}


def _values(intervals, digits=2) -> str:
    """The intervals of all nets in a row."""
    return listed(f"{show(interval, digits)} ({net})" for net, interval in intervals.items())


def _said(intervals, zero, more, same, less) -> str:
    """One of three clauses for the nets whose interval lies above, around or below `zero`."""
    signs = {net: sign(interval, zero) for net, interval in intervals.items()}
    return by_sign(signs, {1: more, 0: same, -1: less}, "net", "nets")


def _trend(plain, column) -> tuple[str, str]:
    """How a column goes with the batch size, in words, and Spearman's correlation."""
    trend = rank_correlation(plain, "batch_size", column)
    return {1: "rises with", -1: "falls with", 0: "has no clear trend with"}[sign(trend)], show(trend, 2)


def _sharper(rows, settings) -> str:
    """How φ differs between the batch sizes in every box, and how it goes with the batch size."""
    (small, large), full = settings["batch_sizes"], full_space(rows, settings)
    ratios = _by_net(full, settings, _ratio, "value")
    verdict = _said(ratios, 1, "the large batch is sharper", "neither is measurably sharper", "it is flatter")
    text = f"In the full space, at ε = {settings['epsilons'][0]:g}, the φ of batch size {large} is {_values(ratios)} times that of batch size {small}: {verdict}."
    boxes = [(space, epsilon) for space in SPACES for epsilon in settings["epsilons"]][1:]
    others = [_by_net(in_box(rows, *box), settings, _ratio, "value") for box in boxes]
    agree = [sign(found[net], 1) == sign(ratios[net], 1) for found in others for net in ratios]
    text += _beside_the_source(rows, settings)
    text += f" In the other boxes, {part_of(sum(agree), len(agree))} comparisons come out in the same way."
    plain = full[full.net == "plain"]
    if plain.batch_size.nunique() < 3:
        return text
    verb, trend = _trend(plain, "value")
    return f"{text} Over {plain.batch_size.nunique()} batch sizes of the plain net, φ {verb} the batch size (Spearman's correlation {trend})."


def _beside_the_source(rows, settings) -> str:
    """The ratio of φ in the first box beside that of the source's net; empty where there is none."""
    box = ("full", settings["epsilons"][0])
    ours = _ratio(in_box(rows[rows.net == "normalised"], *box), settings, "value")
    if box not in PUBLISHED or not np.isfinite(ours.value):
        return ""
    large, small = PUBLISHED[box]
    return f" For the source’s own, wider net with batch normalisation on all of MNIST the ratio is {number(large / small)}; that of our normalised net has {_compared(ours.value - 1, large / small - 1, ours.value, large / small)}."


def _compared(ours, published, size, size_published) -> str:
    """Whether an effect has the published direction, and how many times smaller or larger it is."""
    if ours * published <= 0:
        return "the opposite direction"
    factor = size_published / size
    return f"the published direction, but {number(max(factor, 1 / factor), 2)} times {'smaller' if factor > 1 else 'larger'}"


def _on_the_line(line) -> str:
    """On which side of the line between the two solutions the loss rises faster, and whether it has a barrier."""
    ratios, barriers = {}, {}
    for net, rows in line.groupby("net", sort=False):
        step, behind, beyond = outward_growth(rows.pivot(index="seed", columns="alpha", values="train_loss"))
        ratios[net], barriers[net] = geometric_mean(beyond / behind), _barrier(rows, rows.seed.unique(), "train_loss")
    steeper = _said(ratios, 1, "that side is steeper", "neither side is measurably steeper", "that side is flatter")
    between = _said(barriers, 0, "a barrier lies there", "no barrier is measurable", "the loss stays below")
    return f"On the line through both solutions, {step:.2g} of their distance further out, the factor by which the training loss grows beyond the large batch’s solution is, in multiples of that beyond the small batch’s, {_values(ratios)}: {steeper}. This is one direction out of thousands, and so weaker evidence than φ. Between the two, the loss stands {_values(barriers)} nats above the worse one: {between}. A barrier on the straight line does not exclude a way around it."


def _distance(full, settings) -> str:
    """Which batch size ends nearer the initial weights."""
    ratios = _by_net(full, settings, _ratio, "distance")
    verdict = _said(ratios, 1, "it ends farther away", "neither ends measurably nearer", "it ends nearer")
    text = f"From the initial weights the large batch moves {_values(ratios)} times as far as the small: {verdict}."
    values = [ratio.value for ratio in ratios.values()]
    if max(values) >= 1:
        return text
    least, most = PUBLISHED_DISTANCE
    size = "the difference is smaller" if min(values) > most else "the size is similar"
    return f"{text} The source gives {least:g} to {most:g}: the direction is the same, {'but' if min(values) > most else 'and'} {size}."


def _worse(full, settings) -> str:
    """Whether the large batch generalises worse, whether that goes with φ, and what follows."""
    differences = _by_net(full, settings, _gain)
    verdict = _said(
        differences,
        0,
        "the large batch generalises better",
        "the two are not measurably different",
        "the large batch generalises worse",
    )
    text = f"The test accuracy of the large batch differs from that of the small one by {_values(differences)}: {verdict}. "
    if "normalised" in differences:
        large, small = PUBLISHED_ACCURACY
        ours, published = differences["normalised"].value, large - small
        text += f"For the source’s net the difference is {number(published, 2)}; that of our normalised net has {_compared(ours, published, abs(ours), abs(published))}. "
    losses = _by_net(full, settings, _loss_ratio)
    higher = _said(losses, 1, "it is higher", "there is no measurable difference", "it is lower")
    text += f"The test loss of the large batch is {_values(losses, 3)} times that of the small one: {higher}. "
    plain = full[full.net == "plain"]
    if plain.batch_size.nunique() > 2:
        trends = {what: _trend(plain, f"test_{what}") for what in ("accuracy", "loss")}
        said = [f"test {what} {verb} the batch size ({trend})" for what, (verb, trend) in trends.items()]
        text += f"Over all batch sizes of the plain net, {listed(said)} (Spearman’s correlations). "
        text += _with_sharpness(plain)
    signs = {net: sign(difference) for net, difference in differences.items()}
    return text + _conclusion(signs, _by_net(full, settings, _ratio, "value"))


def _with_sharpness(plain) -> str:
    """Whether the sharper plain nets are the worse ones, over batch sizes and among those of one."""
    columns = {"test_accuracy": "test accuracy", "test_loss": "test loss"}
    over = [rank_correlation(plain, "value", column) for column in columns]
    text = f"Over batch sizes, φ has a rank correlation of {_with_tests(columns, over)}. "
    given = [correlation_given(plain, "value", column, "batch_size") for column in columns]
    if not all(np.isfinite(interval.low) for interval in given):
        return text
    worse = [-sign(given[0]), sign(given[1])]
    verdict = {
        (1, 1): "there, too, the sharper nets are worse",
        (0, 0): "there the sharper nets are not measurably worse",
        (-1, -1): "there the sharper nets are better",
    }.get(tuple(worse), "there the two tests do not agree that the sharper nets are worse")
    return f"{text}As deviations from the mean of their batch size, the correlation is {_with_tests(columns, given)}: {verdict}. "


def _with_tests(columns, found) -> str:
    """A correlation with each test result."""
    return listed(f"{show(one, 2)} with {name}" for one, name in zip(found, columns.values(), strict=True))


def _conclusion(signs, ratios) -> str:
    """What the comparison of the batch sizes says of flat minima."""
    sharper = [net for net, ratio in ratios.items() if sign(ratio, 1) > 0]
    worse = [net for net in sharper if signs[net] < 0]
    if not sharper:
        return "A large batch does not measurably lead to a sharper minimum here, so this comparison cannot tell whether flat minima generalise better."
    if len(worse) == len(sharper):
        return "Wherever the large batch ends in a sharper minimum, it also generalises worse, as the source says; both follow the batch size, so this alone does not show that the one causes the other."
    if worse:
        least = {net: ratio for net, ratio in ratios.items() if net in sharper and net not in worse}
        return f"Of the {len(sharper)} nets whose large batch ends in a sharper minimum, only the {listed(worse)} {'net generalises' if len(worse) == 1 else 'nets generalise'} measurably worse with it: {listed(f'a φ that is {number(ratio.value, 2)} times as large ({net})' for net, ratio in least.items())} need not cost a measurable amount of accuracy. Where both change, both follow the batch size, so this alone does not show that the one causes the other."
    return "The large batch ends in a sharper minimum, but its test accuracy is not measurably lower: these runs do not show that flat minima generalise better."


def table(rows, settings, **_) -> dict:
    """Keskar et al.'s tables 3 and 4: φ of both batch sizes in each box, and their ratio."""
    sizes = settings["batch_sizes"]
    lines = [["net", "space", "ε", *(f"φ (%), batch {size}" for size in sizes), "ratio of the two"]]
    for (net, space, epsilon), box in rows.groupby(["net", "space", "epsilon"], sort=False):
        small, large = _pairs(box, settings, "value")
        measured = [show(geometric_mean(values)) for values in (small, large, large / small)]
        lines.append([net, SPACES[space], f"{epsilon:g}", *measured])
    return {"caption": "Sharpness φ of small and large batches (geometric means over seeds).", "lines": lines}
