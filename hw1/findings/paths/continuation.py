"""Figure, claims and text. Does a small batch leave the basin in which a large batch ended? Lines, flatness, accuracy.

Reads the rows of `hw1.paths.continuation` (learning_rate, net, at, seed, losses, accuracies, sharpness φ, spectral_norm
λ₁, distance, highest, status) and its tables "barriers" (line, at, part, loss_barrier, error_barrier), "lines" (line,
alpha, losses) and "training" (net, updates, losses).
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import BLUE, GREEN, ORANGE, VERMILION
from hw1.findings.verdict import ACCURACY_EFFECT, BATCH_SHARPNESS, BATCH_WORSE, KESKAR, OWN, Claim, claim
from hw1.findings.words import listed, net_on_images, number, part_of, show, sign, span
from hw1.statistics import Interval, geometric_mean, mean_interval, paired_difference

SAGUN = "Sagun et al., arXiv 1706.04454"
FIRST, SMALL, LARGE = "first phase", "small batch", "large batch"
EQUAL_LOSS, BEFORE_DECAY, END = "equal loss", "before decay", "end"
TO_SMALL, TO_LARGE, BETWEEN, INDEPENDENT = "A to small", "A to large", "small to large", "independent"
PATH = "A to small, path"
NO_BARRIER = 0.005  # share of the examples: half a point of error
GREY = "#888888"


def barriers_of(
    rows, barriers, rate, line, at: str = END, part: str = "train", column: str = "error_barrier"
) -> pd.Series:
    """The barrier on one kind of line at one learning rate, by seed; NaN where there is no line."""
    table = barriers[barriers.learning_rate.eq(rate) & barriers.line.eq(line) & barriers["at"].eq(at)]
    return table[table.part == part].set_index("seed")[column].reindex(_seeds(rows))


def values(rows, rate, net, column, at: str = END) -> pd.Series:
    """A column of one kind of net at one learning rate, by seed; NaN where it diverged or is not at the equal loss."""
    nets = rows[rows.learning_rate.eq(rate) & rows.net.eq(net) & rows["at"].eq(at)]
    return nets.set_index("seed")[column].where(nets.set_index("seed").status == "ok").reindex(_seeds(rows))


def ratio(rows, rate, column, first=LARGE, second=SMALL, at: str = EQUAL_LOSS) -> Interval:
    """The geometric mean of a quantity of one net over that of the other, pairs of one seed."""
    return geometric_mean(values(rows, rate, first, column, at) / values(rows, rate, second, column, at))


def gain(rows, rate) -> Interval:
    """Test accuracy of the small batch less that of the large one at the end, pairs of one seed."""
    return paired_difference(*(values(rows, rate, net, "test_accuracy") for net in (SMALL, LARGE)))


def climb(rows, rate) -> pd.Series:
    """The highest training loss on the way of the small batch over that at A, by seed."""
    return values(rows, rate, SMALL, "highest") / values(rows, rate, FIRST, "train_loss")


def way_to_line(rows, barriers, rate) -> pd.Series:
    """The highest training loss on the way of the small batch over that on the line from A to its end, by seed."""
    ends = pd.concat([values(rows, rate, net, "train_loss") for net in (FIRST, SMALL)], axis=1).max(
        axis=1, skipna=False
    )
    rise = barriers_of(rows, barriers, rate, TO_SMALL, column="loss_barrier")
    return values(rows, rate, SMALL, "highest") / (ends + rise)


def _seeds(rows):
    return sorted(rows.seed.unique())


def figure(rows, settings, barriers, lines, training) -> Figure:
    """Above: training loss along both phases and on two kinds of line. Below: barriers, flatness, test accuracy."""
    fig, (above, below) = style.figure(2, 3, 4.6)
    rates = settings["learning_rates"]
    shades = dict(zip(rates, (BLUE, VERMILION, GREEN, ORANGE) * len(rates), strict=False))
    _trainings(above[0], training, settings, shades)
    for axes, line, label in (
        (above[1], TO_SMALL, "A (0) to small batch (1)"),
        (above[2], BETWEEN, "small (0) to large batch (1)"),
    ):
        axes.set(yscale="log", xlabel=f"α, {label}", ylabel="training loss (nats)")
        for name, look in {line: {}, INDEPENDENT: {"color": GREY, "linestyle": "--"}}.items():
            for rate, found in lines[lines.line == name].groupby("learning_rate"):
                style.curve(axes, found, "alpha", "train_loss", band=True, **({"color": shades[rate]} | look))
        for end in (0, 1):
            axes.axvline(end, color=GREY, linewidth=0.8, linestyle=":")
    _barriers(below[0], rows, barriers, settings, shades)
    for column, name, marker, colour in (("sharpness", "φ", "o", BLUE), ("spectral_norm", "λ₁", "s", VERMILION)):
        _by_rate(below[1], rates, [ratio(rows, rate, column) for rate in rates], marker, colour, name)
    below[1].set(yscale="log", ylabel="large / small batch at equal loss")
    below[1].axhline(1, color=GREY, linewidth=0.8, linestyle="--")
    style.log_ticks(below[1].yaxis)
    below[1].legend(loc="best")
    _by_rate(below[2], rates, [gain(rows, rate) for rate in rates], "o", BLUE, None)
    below[2].axhline(0, color=GREY, linewidth=0.8, linestyle="--")
    below[2].set_ylabel("test accuracy: small − large")
    looks = {f"learning rate {rates[0]:g}": {"color": shades[rates[0]]}} | {
        f"{r:g}": {"color": shades[r]} for r in rates[1:]
    }
    looks |= {"large batch": {"color": GREY}, "independent starts": {"color": GREY, "linestyle": "--"}}
    style.legend(fig, looks)
    return fig


def _trainings(axes, training, settings, shades):
    """The first phase and the large batch in grey, the small batch in the colours of its learning rates."""
    axes.set(yscale="log", xlabel="optimizer steps", ylabel="training loss (nats)")
    for rate, colour in shades.items():
        for net, look in ((FIRST, GREY), (LARGE, GREY), (SMALL, colour)):
            if net == SMALL or rate == settings["first_rate"]:
                nets = training[(training.net == net) & (training.learning_rate == rate)]
                nets = nets.assign(updates=nets.updates + settings["first_updates"] * (net != FIRST))
                style.curve(axes, nets, "updates", "train_loss", band=True, color=look)
    axes.axvline(settings["first_updates"], color=GREY, linewidth=0.8, linestyle=":")


def _barriers(axes, rows, barriers, settings, shades):
    """The error barrier of every seed on each line, and its mean."""
    cells = [(line, rate) for line in (TO_LARGE, TO_SMALL, BETWEEN) for rate in shades]
    cells += [(PATH, settings["first_rate"]), (INDEPENDENT, settings["first_rate"])]
    for place, (line, rate) in enumerate(cells):
        found = 100 * barriers_of(rows, barriers, rate, line).dropna()
        colour = GREY if line == INDEPENDENT else shades[rate]
        axes.plot(np.full(len(found), place), found, linestyle="", marker="o", color=colour, alpha=0.35)
        axes.plot([place + 0.3], [mean_interval(found).value], linestyle="", marker="_", color=colour, markersize=8)
    axes.axhline(100 * NO_BARRIER, color=GREY, linewidth=0.8, linestyle="--")
    axes.set_yscale("symlog", linthresh=0.5)
    axes.set_yticks([0, 0.5, 5, 50], ["0", "0.5", "5", "50"])
    axes.set(ylabel="barrier (points of training error)", ylim=(-0.08, 70))
    count = len(shades)
    axes.set_xticks(
        [*((count - 1) / 2 + count * i for i in range(3)), 3 * count, 3 * count + 1],
        ["A–\nlarge", "A–\nsmall", "small–\nlarge", "path", "\nindep."],
        fontsize=6.5,
    )


def _by_rate(axes, rates, intervals, marker, colour, label):
    """Intervals side by side, one for each learning rate."""
    for place, found in enumerate(intervals):
        axes.plot([place], [found.value], linestyle="", marker=marker, color=colour, label=None if place else label)
        axes.plot([place, place], [found.low, found.high], color=colour, linewidth=0.8)
    axes.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    axes.set(xlabel="learning rate", xlim=(-0.5, len(rates) - 0.5))


def claims(rows, settings, barriers, **_) -> Iterator[Claim]:
    """Barriers, the way against the line, and Keskar et al.'s claims where only the batch size changes."""
    rate, rates = settings["first_rate"], settings["learning_rates"]
    at_rate, small = f"learning rate {rate:g}", rows[rows.net == SMALL]
    both = rows[rows.net.isin([SMALL, LARGE]) & (rows.learning_rate == rate)]
    at_loss, at_end = both[both["at"] == EQUAL_LOSS], both[both["at"] == END]
    error = "largest error on the line less that of the worse end, training set; 0.005 is half a point"
    for each in rates:
        kept = "as before A" if each == rate else f"{rate:g} before A"
        yield claim(
            SAGUN,
            f"There is no barrier on the straight line from A to the end of the small batch, learning rate {each:g}, {kept} ({error})",
            mean_interval(barriers_of(rows, barriers, each, TO_SMALL)),
            small[small.learning_rate.eq(each) & small["at"].eq(END)],
            below=NO_BARRIER,
        )
    yield claim(
        SAGUN,
        f"There is no barrier on the straight line from the end of the small batch to that of the large one, {at_rate} ({error})",
        mean_interval(barriers_of(rows, barriers, rate, BETWEEN)),
        at_end,
        below=NO_BARRIER,
    )
    yield claim(
        SAGUN,
        f"A and the end of the small batch lie in one basin: a path without a barrier joins them, {at_rate} ({error.replace('line', 'path')})",
        mean_interval(barriers_of(rows, barriers, rate, PATH)),
        at_end,
        below=NO_BARRIER,
    )
    yield claim(
        SAGUN,
        f"After the change to the small batch the training loss climbs before it falls (highest loss on the way over that at A, {at_rate})",
        geometric_mean(climb(rows, rate)),
        at_end,
        above=1,
    )
    yield claim(
        SAGUN,
        f"The way of the small batch is higher than the straight line between its ends (ratio of the highest training losses, {at_rate})",
        geometric_mean(way_to_line(rows, barriers, rate)),
        at_end,
        above=1,
    )
    least, most = min(rates), max(rates)
    if least < most:
        yield claim(
            OWN,
            f"Whether a barrier parts the end of the small batch from A depends on the learning rate (difference of the error barriers on the straight line, learning rate {most:g} less {least:g})",
            paired_difference(*(barriers_of(rows, barriers, each, TO_SMALL) for each in (most, least))),
            small[small.learning_rate.isin([least, most]) & small["at"].eq(END)],
            above=0,
            effect=NO_BARRIER,
        )
    yield claim(
        OWN,
        f"A barrier parts two nets that the large batch found from independent initial weights, on the straight line ({error})",
        mean_interval(barriers_of(rows, barriers, rate, INDEPENDENT)),
        rows[(rows.net == FIRST) & (rows.learning_rate == rate)],
        above=NO_BARRIER,
    )
    for column, name in (("sharpness", "φ"), ("spectral_norm", "λ₁")):
        yield claim(
            KESKAR,
            f"From one point the small batch comes to flatter places than the large one (ratio of {name}, large / small batch, at equal training loss, {at_rate})",
            ratio(rows, rate, column),
            at_loss,
            above=1,
            topic=BATCH_SHARPNESS,
        )
    yield claim(
        KESKAR,
        f"The small batch ends farther away (ratio of distances from A, small / large batch, {at_rate})",
        ratio(rows, rate, "distance", SMALL, LARGE, END),
        at_end,
        above=1,
    )
    yield claim(
        KESKAR,
        f"Going on with the small batch generalises better (difference in test accuracy, small − large batch, {at_rate})",
        gain(rows, rate),
        at_end,
        above=0,
        effect=ACCURACY_EFFECT,
        topic=BATCH_WORSE,
    )


def comment(rows, settings, barriers, lines, training) -> dict:
    """One basin or two, by the learning rate; then what the small batch gains."""
    (small, large), rates = settings["batch_sizes"], settings["learning_rates"]
    pool = settings["pool"]
    pooled = f", averaged over squares of {pool} × {pool} pixels," if pool > 1 else ""
    parts = [
        _of_lines(rows, settings, barriers),
        _of_way(rows, settings, barriers),
        _of_flatness(rows, settings),
        _of_accuracy(rows, settings),
    ]
    return {
        "title": "Going on with a small batch",
        "method": f"The net {net_on_images(settings)} is trained on {settings['train']:,} images{pooled} by plain SGD with batches of {large:,} and learning rate {settings['first_rate']:g} for {settings['first_updates']:,} steps. From that point, A, it goes on for {settings['updates']:,} steps with batches of {small:,} and, for comparison, of {large:,}, with a learning rate of {listed(f'{r:g}' for r in rates)} that falls to 0 over the last {settings['decay']:.0%} of them. Loss and error are measured at {settings['points'] + 1} points of the straight lines between A and the two ends. The barrier is their largest value less that of the worse end; less than {100 * NO_BARRIER:g} points of error counts as none. The string method looks for a path from A to the end of the small batch too. For contrast, a line joins A with a net that the large batch found from other initial weights on the same images. Flatness is compared at a training loss of {settings['target_loss']:g} nats, because the curvature of the cross-entropy falls with the loss: from both ends the large batch goes on to it, with momentum.",
        "caption": f"Above: training loss along both phases (grey: large batch, learning rate {settings['first_rate']:g}; dotted: change of the batch size), on the line from A to the end of the small batch, and on that from there to the end of the large one; dashed: between independent starts. Below: barrier of each seed on the straight lines, and on a path from A to the end of the small batch, with means, on a scale that is linear below 0.5 points (dashed); sharpness φ and largest eigenvalue λ₁ at equal training loss; difference in test accuracy at the end. Means over {settings['seeds']} seeds with 95 % intervals.",
        "comment": [part for part in parts if part],
    }


def _of_lines(rows, settings, barriers) -> str:
    """The barriers by learning rate, with the number of seeds that have one."""
    found = {rate: barriers_of(rows, barriers, rate, TO_SMALL).dropna() for rate in settings["learning_rates"]}
    found = {rate: each for rate, each in found.items() if len(each)}
    if not found:
        return "All nets diverged, so that there is no line."
    said = {-1: "no barrier", 0: "undecided", 1: "a barrier"}
    parts = [
        f"{show(_points(each), 2)} points with learning rate {rate:g} ({said[sign(_points(each), 100 * NO_BARRIER)]}; above {100 * NO_BARRIER:g} points in {part_of(int((each > NO_BARRIER).sum()), len(each))} seeds)"
        for rate, each in found.items()
    ]
    text = f"On the line from A to the end of the small batch the training error rises above that of the worse end by {listed(parts)}."
    large = pd.concat([barriers_of(rows, barriers, rate, TO_LARGE).dropna() for rate in found])
    alone = barriers_of(rows, barriers, settings["first_rate"], INDEPENDENT).dropna()
    if len(large):
        text += f" To the end of the large batch it rises by at most {number(100 * large.max(), 2)} points."
    if len(alone):
        text += f" Between independent starts it is {show(_points(alone), 2)} points."
    shifts = [
        abs(barriers_of(rows, barriers, rate, TO_SMALL, BEFORE_DECAY) - each).max() for rate, each in found.items()
    ]
    text += f" From before the decay of the learning rate to the end a barrier changes by at most {number(100 * max(shifts), 2)} points."
    around = barriers_of(rows, barriers, settings["first_rate"], PATH).dropna()
    if len(around):
        text += f" A barrier on a straight line does not show two basins. On a path that the string method found from A to the end of the small batch, learning rate {settings['first_rate']:g}, the error rises by {show(_points(around), 2)} points (above {100 * NO_BARRIER:g} points in {part_of(int((around > NO_BARRIER).sum()), len(around))} seeds)."
        if sign(_points(around), 100 * NO_BARRIER) < 0:
            text += " So both lie in one basin, even where the straight line between them leaves it."
    return text


def _points(shares) -> Interval:
    """The mean of shares of examples, in points."""
    return mean_interval(100 * shares)


def _of_way(rows, settings, barriers) -> str:
    """How far the loss climbs after the change of the batch size, and where the line lies."""
    rates = [rate for rate in settings["learning_rates"] if climb(rows, rate).notna().any()]
    if not rates:
        return ""
    climbs = listed(f"{show(geometric_mean(climb(rows, rate)), 2)} ({rate:g})" for rate in rates)
    ways = listed(f"{show(geometric_mean(way_to_line(rows, barriers, rate)), 2)} ({rate:g})" for rate in rates)
    far = listed(f"{show(ratio(rows, rate, 'distance', SMALL, LARGE, END), 2)} ({rate:g})" for rate in rates)
    return f"After the change to the small batch the highest training loss is {climbs} times that at A, the learning rate in brackets, and {ways} times the highest one on the straight line. The small batch ends {far} times as far from A as the large one."


def _of_flatness(rows, settings) -> str:
    """Sharpness and curvature of the two continuations at equal loss."""
    parts = []
    for rate in settings["learning_rates"]:
        found = [ratio(rows, rate, column) for column in ("sharpness", "spectral_norm")]
        if np.isfinite(found[0].value):
            said = {1: "the small batch is flatter", -1: "the large batch is flatter", 0: "not measurably different"}
            parts.append(
                f"{show(found[0], 2)} and {show(found[1], 2)} with learning rate {rate:g} (by λ₁ {said[sign(found[1], 1)]})"
            )
    small = rows[rows["at"].eq(EQUAL_LOSS) & rows.net.eq(SMALL)]
    missed = small[small.status != "ok"]
    text = ""
    if parts:
        losses = rows[rows["at"].eq(EQUAL_LOSS) & rows.status.eq("ok")].train_loss
        text = f"At equal training loss ({span(losses)} nats) φ and λ₁ of the large batch are, in units of those of the small one, {listed(parts)}. "
    if len(missed):
        text += f"{part_of(len(missed), len(small)).capitalize()} nets of the small batch did not come down to that loss, or had ended below it (learning rates {span(missed.learning_rate)})."
    return text.strip()


def _of_accuracy(rows, settings) -> str:
    """Test accuracies at the end."""
    parts = []
    for rate in settings["learning_rates"]:
        small, large = (mean_interval(values(rows, rate, net, "test_accuracy")).value for net in (SMALL, LARGE))
        found, said = gain(rows, rate), {1: "better", -1: "worse", 0: "not measurably different"}
        if np.isfinite(found.value):
            parts.append(
                f"{number(small)} against {number(large)} with learning rate {rate:g} (difference {show(found, 2)}, {said[sign(found)]})"
            )
    start = mean_interval(values(rows, settings["first_rate"], FIRST, "test_accuracy"))
    return (
        f"Test accuracy, {number(start.value)} at A, is at the end of the small and of the large batch {listed(parts)}."
        if parts
        else ""
    )
