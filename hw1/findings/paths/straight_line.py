"""Figure, claims and text. Are there obstacles on the straight line from start to end of training, and between two solutions? Loss along both.

Reads the rows of `hw1.paths.straight_line` (net, line, seed, alpha, losses, accuracies, status) and its table
"training" (net, seed, epoch, losses).
"""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import BLACK, BLUE, GREEN, LOSS, SETS, VERMILION
from hw1.findings.verdict import Claim, claim
from hw1.findings.words import by_sign, listed, number, show, sign
from hw1.statistics import geometric_mean, mean_interval

GOODFELLOW = "Goodfellow et al., arXiv 1412.6544"
LOOKS = {"relu": BLUE, "tanh": VERMILION, "maxout": GREEN}
SMALL_RISE = 0.01  # of the loss at the start: a smaller rise along the line counts as none
SIDES = {"inner": ((0.0, 1), (1.0, -1)), "outer": ((0.0, -1), (1.0, 1))}  # of the two solutions, as end and direction
FROM_START, BETWEEN = "start to end", "end to end"  # the two lines


def figure(rows, settings, training) -> Figure:
    """Loss on the line from start to end, along training, and on the line between two solutions; a colour a net.

    Lines are geometric means over seeds with 95 % intervals. Solid is training, dashed test.
    """
    fig, (first, second, third) = style.figure(1, 3, 2.5, sharey=True)
    colours = {net: LOOKS[net] for net in settings["nets"]}
    first.set_title("start (0) to end (1) of training")
    second.set_title("training")
    third.set_title("one solution (0) to another (1)")
    _draw(first, _on_line(rows, FROM_START), "alpha", colours)
    _draw(second, training, "epoch", colours)
    _draw(third, _on_line(rows, BETWEEN), "alpha", colours)
    second.set_xlabel("epoch")
    first.set_ylabel(LOSS)
    for axes in (first, second, third):
        if not axes.lines:  # no net is left
            axes.text(0.5, 0.5, "all nets diverged", transform=axes.transAxes, ha="center")
    for axes in (first, third):
        axes.set_xlabel("α")
        for end in (0, 1):
            axes.axvline(end, color="#888888", linewidth=0.8, linestyle=":")
    style.legend(fig, {net: {"color": colour} for net, colour in colours.items()} | style.sets(BLACK))
    return fig


def _on_line(rows, line):
    """The rows of one kind of line, without those of nets that diverged."""
    return rows[(rows.line == line) & (rows.status != "diverged")]


def _draw(axes, rows, by, colours):
    """Training and test loss of every net."""
    axes.set_yscale("log")
    for net, colour in colours.items():
        for part, line in SETS.items():
            style.curve(axes, rows[rows.net == net], by, f"{part}_loss", band=True, color=colour, linestyle=line)


def claims(rows, settings, **_) -> Iterator[Claim]:
    """No significant obstacle on the line from start to end of training, but a rise between two solutions."""
    for net in settings["nets"]:
        nets = rows[rows.net == net]
        yield claim(
            GOODFELLOW,
            f"On the line from start to end of training the loss meets no obstacle: {net} net (largest rise of the training loss as a fraction of that at the start, below {SMALL_RISE:g})",
            _rise(nets),
            nets,
            below=SMALL_RISE,
        )
        yield claim(
            GOODFELLOW,
            f"On the line between two solutions the loss rises above both: {net} net (rise of the training loss above the worse end, nats)",
            _barrier(nets),
            nets,
            above=0,
        )
        yield claim(
            GOODFELLOW,
            f"The loss on that line has a minimum at each solution: {net} net (least of the four ratios of the training loss one point beside a solution to that at it)",
            _least_ratio(nets),
            nets,
            above=1,
        )


def _losses(rows, line):
    """Training loss between the ends of one kind of line: a row per seed (NaN if it diverged), a column per α in [0, 1]."""
    inside = _on_line(rows, line)
    losses = inside[inside.alpha.between(0, 1)].pivot(index="seed", columns="alpha", values="train_loss")
    return losses.reindex(rows.seed.unique())


def _rise(rows):
    """The largest rise of the training loss from start to end of training, as a fraction of the loss at the start."""
    return _over_seeds(_losses(rows, FROM_START), lambda curve: _largest_rise(curve) / curve[0])


def _largest_rise(losses) -> float:
    """How far a curve rises above the lowest point before it."""
    return float(np.max(losses - np.minimum.accumulate(losses)))


def _barrier(rows):
    """How far the training loss between two solutions rises above that of the worse one, in nats."""
    return _over_seeds(_losses(rows, BETWEEN), lambda curve: curve[1:-1].max() - max(curve[0], curve[-1]))


def _least_ratio(rows, sides=("inner", "outer")):
    """The least ratio, over both solutions and some sides, of the loss one point of the line away to that at a solution."""
    wanted = [place for side in sides for place in SIDES[side]]
    whole = _on_line(rows, BETWEEN).pivot(index="seed", columns="alpha", values="train_loss")
    ratios = []
    for _, curve in whole.reindex(rows.seed.unique()).iterrows():
        beside = [_beside(curve, end, side) for end, side in wanted]
        ratios.append(min(beside) if np.isfinite(beside).all() else np.nan)
    return geometric_mean(ratios)


def _beside(curve, end, side):
    """The loss at the next point of the line on one side of a solution, over that at the solution; NaN if there is none."""
    places = np.sort(curve.index)
    beside = places[places > end][:1] if side > 0 else places[places < end][-1:]
    return curve[beside[0]] / curve[end] if len(beside) and end in curve.index else np.nan


def _over_seeds(losses, statistic):
    """The mean of a statistic of each seed's curve; a seed that diverged has no value."""
    return mean_interval([statistic(curve) if curve.size else np.nan for curve in losses.to_numpy()])


def comment(rows, settings, training) -> dict:
    """Whether the loss falls on the line from start to end, and whether it rises between two solutions."""
    layers = "-".join(map(str, settings["hidden"]))
    paragraphs = (part(rows, settings) for part in (_from_start, _between, _conclusion))
    return {
        "title": "Straight lines",
        "method": f"Nets with hidden layers {layers} are trained by gradient descent with momentum for {settings['epochs']} epochs at batch size {settings['batch_size']}. Loss is measured at {settings['points']} points of each line, so that a rise narrower than their spacing would be missed. The two solutions have different initial weights and saw the same images.",
        "caption": "Training loss (solid) and test loss (dashed) on the line from the initial weights (α = 0) to the trained weights (α = 1) (left), along training (middle), and on the line between two solutions (right). Geometric means over seeds with 95 % intervals; dotted lines mark the ends.",
        "comment": [text for text in paragraphs if text],
    }


def _from_start(rows, settings) -> str:
    """Whether the training loss falls all the way from start to end."""
    rises = {net: _rise(rows[rows.net == net]) for net in _on_line(rows, FROM_START).net.unique()}
    if not rises:
        return ""
    values = listed(f"{show(rise, 2)} ({net})" for net, rise in rises.items())
    clauses = {
        -1: f"the loss falls all the way, but for rises below {SMALL_RISE:.0%}",
        0: f"it remains open whether the loss rises by more than {SMALL_RISE:.0%}",
        1: "the loss does not fall all the way",
    }
    signs = {net: sign(rise, SMALL_RISE) for net, rise in rises.items()}
    if all(rise.value == 0 for rise in rises.values()):
        return f"On the line from the initial weights to the trained weights, the training loss never rises from one of the {settings['points'] // 2 + 1} points to the next, in any run of the {listed(rises)} nets."
    return f"On the line from the initial weights to the trained weights, the largest rise of the training loss is, as a fraction of the loss at the start, {values}: {by_sign(signs, clauses, 'net', 'nets')}."


def _measured(rows, settings):
    """The nets of which at least one did not diverge."""
    return [net for net in settings["nets"] if net in set(rows[rows.status != "diverged"].net)]


def _between(rows, settings) -> str:
    """Whether the loss rises on the line between two solutions, and the accuracy falls."""
    between = _on_line(rows, BETWEEN)
    if between.empty:
        return ""
    barriers = {net: _barrier(rows[rows.net == net]) for net in between.net.unique()}
    values = listed(f"{show(barrier)} ({net})" for net, barrier in barriers.items())
    clauses = {
        1: "the loss on the line rises above both",
        0: "no rise is measurable",
        -1: "there is no rise: every point of the line has a lower loss than the worse solution",
    }
    signs = {net: sign(barrier) for net, barrier in barriers.items()}
    inside = between[between.alpha.between(0, 1, inclusive="neither")].groupby(["net", "seed"]).train_accuracy.min()
    ends = between[between.alpha.isin([0, 1])]
    return f"On the line between two solutions the training loss rises above that of the worse one by {values} nats: {by_sign(signs, clauses, 'net', 'nets')}. Training accuracy, {number(ends.train_accuracy.mean())} on average at the ends, has a mean minimum of {number(inside.mean())} between them.{_minima(rows, settings)}"


def _minima(rows, settings) -> str:
    """Whether the loss has a minimum at each of the two solutions."""
    ratios = {net: _least_ratio(rows[rows.net == net]) for net in _measured(rows, settings)}
    ratios = {net: ratio for net, ratio in ratios.items() if np.isfinite(ratio.value)}
    if not ratios:
        return ""
    values = listed(f"{show(ratio, 2)} ({net})" for net, ratio in ratios.items())
    clauses = {
        1: "each solution is a minimum on the line",
        0: "a minimum at each solution is neither shown nor excluded, as the interval contains 1",
        -1: "not every solution is a minimum on the line",
    }
    signs = {net: sign(ratio, 1) for net, ratio in ratios.items()}
    text = f" The least ratio of the training loss at a neighbouring point of the line to that at a solution, over both sides of both solutions, is {values}: {by_sign(signs, clauses, 'net', 'nets')}."
    falls = [net for net, found in signs.items() if found < 0]
    if falls and all(sign(_least_ratio(rows[rows.net == net], ["inner"]), 1) > 0 for net in falls):
        text += " There the loss rises on the inner side and falls further on the outer one. The cross-entropy of images that are classified correctly falls as the outputs grow, so it need not be least where training ended."
    return text


def _conclusion(rows, settings) -> str:
    """What the lines say of the shape of the surface, and what they do not."""
    nets = {net: rows[rows.net == net] for net in _measured(rows, settings)}
    if not nets:
        return "All nets diverged."
    smooth = all(sign(_rise(net), SMALL_RISE) < 0 for net in nets.values())
    rises = all(sign(_barrier(net)) > 0 for net in nets.values())
    across = "A line tells nothing of the directions across it, so neither shows how flat a minimum is."
    if not (smooth and rises):
        return across
    return f"The line to a solution is free of obstacles, as the source says. The line from one solution to another is not. That shows no more than a rise on this line: a path around it may exist, and nets that differ only in the order of their hidden units compute the same function and still lie far apart. {across}"
