"""Do deep nets learn images better than shallow ones of equal size? Loss and accuracy per epoch of DNNs and CNNs.

Reads the rows of `hw1.deep_vs_shallow.actual_task` (data, kind, hidden, parameters, seed, epoch, losses, accuracies).
"""

import itertools
from collections.abc import Iterator

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from hw1.findings import style
from hw1.findings.style import ACCURACY, BLACK, DEPTH_COLOURS, LOSS, SETS
from hw1.findings.verdict import HOMEWORK, Claim, claim
from hw1.findings.words import listed, show, sign
from hw1.statistics import Interval, last_rows, mean_interval, paired_difference

KINDS = {"dnn": "DNN", "cnn": "CNN"}


def figure(rows, settings) -> Figure:
    """Loss and accuracy per epoch of DNNs and CNNs, a row of panels per data set.

    Lines are means over seeds with 95 % intervals, geometric ones for the loss. Solid is training, dashed test.
    """
    sets = rows.data.unique()
    fig, panels = style.figure(len(sets), 4, 2.2 * len(sets), squeeze=False)
    for row, name in zip(panels, sets, strict=True):
        for (left, right), kind in zip((row[:2], row[2:]), KINDS, strict=True):
            nets = rows[(rows.data == name) & (rows.kind == kind)]
            _log_loss(left)
            for axes, quantity, label in ((left, "loss", LOSS), (right, "accuracy", ACCURACY)):
                _draw_nets(axes, nets, quantity)
                axes.set(xlabel="epoch", ylabel=label, title=f"{name}, {KINDS[kind]}")
                axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=(1, 2, 5, 10)))
    for axes, kind in ((panels[0][1], "dnn"), (panels[0][3], "cnn")):
        names = rows[rows.kind == kind].hidden.unique()
        handles = [Line2D([], [], color=colour) for _, colour in zip(names, DEPTH_COLOURS, strict=False)]
        axes.legend(handles, names, loc="lower right", fontsize=6)
    style.legend(fig, style.sets(BLACK))
    return fig


def _log_loss(axes):
    """A logarithmic y axis with plain numbers at 1, 2 and 5 times the powers of ten."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw_nets(axes, nets, quantity):
    """Training and test curves of every net in its colour."""
    for hidden, colour in zip(nets.hidden.unique(), DEPTH_COLOURS, strict=False):
        for part, line in SETS.items():
            net = nets[nets.hidden == hidden]
            style.curve(axes, net, "epoch", f"{part}_{quantity}", band=True, color=colour, linestyle=line)


def claims(rows, settings) -> Iterator[Claim]:
    """Depth helps on images: test accuracy of the deepest net against the shallowest, for each data set and kind."""
    last = last_rows(rows, ["data", "kind", "hidden", "seed"])
    for data, kind in itertools.product(rows.data.unique(), KINDS):
        nets = last[(last.data == data) & (last.kind == kind)]
        names = [str(name) for name in settings[f"{kind}s"]]
        accuracy = nets.astype({"hidden": str}).pivot(index="seed", columns="hidden", values="test_accuracy")
        accuracy = accuracy.reindex(columns=names)  # a net of which all diverged is missing
        yield claim(
            f"{HOMEWORK} 1-1",
            f"Among nets of equal size the deepest {KINDS[kind]} generalises best on {data} (difference in test accuracy, deepest − shallowest)",
            paired_difference(accuracy[names[0]], accuracy[names[-1]]),
            above=0,
        )


def comment(rows, settings) -> dict:
    """Whether the deepest net of each kind is better than the shallowest, on each data set."""
    sizes = rows.groupby(["kind", "hidden"], sort=False).parameters.first()
    counts = listed(f"{KINDS[kind]} {hidden}: {size:,}" for (kind, hidden), size in sizes.items())
    spread = sizes.max() / sizes.min() - 1
    return {
        "title": "Deep and shallow nets on images",
        "method": f"Numbers of parameters: {counts}; the largest net has {spread:.1%} more than the smallest. All nets are trained by Adam with a constant learning rate. The CNNs cost most and are trained for few epochs: nets of one kind are compared after the same number of updates, not at convergence.",
        "caption": "Loss and accuracy per epoch of nets of equal size and different depth, on each data set: DNNs (left two columns), labelled by the widths of their hidden layers, and CNNs (right two columns).",
        "comment": [_paragraph(rows, data, kind) for data, kind in itertools.product(rows.data.unique(), KINDS)],
    }


def _paragraph(rows, data, kind) -> str:
    """The nets of one kind on one data set."""
    rows = rows[(rows.data == data) & (rows.kind == kind)]
    nets = rows.hidden.unique()
    final = last_rows(rows, ["hidden", "seed"]).set_index(["hidden", "seed"])
    accuracies = listed(f"{show(mean_interval(final.loc[hidden].test_accuracy))} ({hidden})" for hidden in nets)
    deep, shallow = final.loc[nets[0]], final.loc[nets[-1]]
    loss = paired_difference(shallow.train_loss, deep.train_loss)
    accuracy = paired_difference(deep.test_accuracy, shallow.test_accuracy)
    text = f"{data}, {KINDS[kind]}: after {rows.epoch.max()} epochs test accuracy is {accuracies}. "
    text += _compare(loss, nets, "training loss", "lower", "higher")
    text += _compare(accuracy, nets, "test accuracy", "higher", "lower")
    return text + _still_falling(rows)


def _compare(gain, nets, quantity, better, worse) -> str:
    """Says whether the deepest net is better than the shallowest, and by how much."""
    if sign(gain) > 0:
        return f"The {quantity} of {nets[0]} is {better} than that of {nets[-1]} by {show(gain, 2)}. "
    if sign(gain) < 0:
        loss = Interval(-gain.value, -gain.high, -gain.low)
        return f"The {quantity} of {nets[0]} is {worse} than that of {nets[-1]} by {show(loss, 2)}. "
    return f"The {quantity} of {nets[0]} is not measurably different from that of {nets[-1]} (gain {show(gain, 2)}). "


def _still_falling(rows) -> str:
    """A warning if the nets, on average, were still learning in the last epoch."""
    last = rows.groupby("epoch").train_loss.mean().iloc[-2:]
    fall = 1 - last.iloc[-1] / last.iloc[0]
    if fall < 0.02:
        return ""
    return f"In the last epoch the training loss still fell by {fall:.0%}, so longer training may change the order."
