"""Figure, claims and text. Do deep nets learn images better than shallow ones of equal size? Loss and accuracy per epoch of DNNs and CNNs.

Reads the rows of `hw1.deep_vs_shallow.actual_task` (data, kind, hidden, parameters, seed, epoch, losses, accuracies).
"""

import itertools
from collections import Counter
from collections.abc import Iterator

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from hw1 import nets as architectures
from hw1.findings import style
from hw1.findings.style import ACCURACY, BLACK, DEPTH_COLOURS, LOSS, SETS
from hw1.findings.verdict import HOMEWORK, Claim, claim
from hw1.findings.words import listed, plural, show, sign
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
    dense = listed(f"{hidden} ({size:,} parameters)" for hidden, size in sizes["dnn"].items())
    convolutional = "; ".join(
        f"{hidden} ({size:,} parameters): {_layers(hidden)}" for hidden, size in sizes["cnn"].items()
    )
    spread = sizes.max() / sizes.min() - 1
    pairs = list(itertools.product(rows.data.unique(), KINDS))
    return {
        "title": "Deep and shallow nets on images",
        "method": f"DNNs, by the widths of their hidden layers: {dense}. CNNs: {convolutional}. The largest net has {spread:.1%} more parameters than the smallest. All nets have ReLU activations and are trained by Adam with a constant learning rate. The CNNs cost most and are trained for few epochs: nets of one kind are compared after the same number of updates, not at convergence.",
        "caption": "Loss and accuracy per epoch of nets of equal size and different depth, on each data set: DNNs (left two columns), labelled by the widths of their hidden layers, and CNNs (right two columns).",
        "comment": [*(_paragraph(rows, *pair) for pair in pairs), _summary(rows, pairs)],
    }


def _layers(name) -> str:
    """The layers of a CNN in words."""
    net = architectures.TASK_CNNS[name]
    shapes = zip(net["filters"], net["kernel_sizes"], net["pools"], strict=True)
    convolutions = listed(f"{count} filters of {side} × {side}{_pooled(pool)}" for count, side, pool in shapes)
    return f"{convolutions}, then a dense layer of {listed(map(str, net['dense']))} units"


def _pooled(pool) -> str:
    return f" with {pool} × {pool} maximum pooling" if pool > 1 else ""


def _ends(rows, data, kind):
    """The last rows of the deepest and of the shallowest net of one kind on one data set, by seed."""
    rows = rows[(rows.data == data) & (rows.kind == kind)]
    final, nets = last_rows(rows, ["hidden", "seed"]).set_index(["hidden", "seed"]), rows.hidden.unique()
    return final.loc[nets[0]], final.loc[nets[-1]]


def _summary(rows, pairs) -> str:
    """In how many of the comparisons the deepest net has the higher test accuracy."""
    ends = [_ends(rows, *pair) for pair in pairs]
    signs = Counter(sign(paired_difference(deep.test_accuracy, shallow.test_accuracy)) for deep, shallow in ends)
    return f"In {plural(len(pairs), 'comparison')} of the deepest net with the shallowest, the test accuracy of the deepest is measurably higher in {signs[1]}, measurably lower in {signs[-1]} and not distinguishable in {signs[0]}."


def _paragraph(rows, data, kind) -> str:
    """The nets of one kind on one data set."""
    rows = rows[(rows.data == data) & (rows.kind == kind)]
    nets = rows.hidden.unique()
    final = last_rows(rows, ["hidden", "seed"]).set_index(["hidden", "seed"])
    accuracies = listed(f"{show(mean_interval(final.loc[hidden].test_accuracy))} ({hidden})" for hidden in nets)
    deep, shallow = final.loc[nets[0]], final.loc[nets[-1]]
    text = f"{data}, {KINDS[kind]}: after {rows.epoch.max()} epochs test accuracy is {accuracies}. "
    for column, quantity in (("train_loss", "training loss"), ("test_accuracy", "test accuracy")):
        text += _compare(paired_difference(deep[column], shallow[column]), nets, quantity)
    return text + _still_falling(rows)


def _compare(difference, nets, quantity) -> str:
    """Says whether a quantity of the deepest net is above or below that of the shallowest, and by how much."""
    pair = f"The {quantity} of {nets[0]}", f"that of {nets[-1]}"
    if sign(difference) > 0:
        return f"{pair[0]} is higher than {pair[1]} by {show(difference, 2)}. "
    if sign(difference) < 0:
        less = Interval(-difference.value, -difference.high, -difference.low)
        return f"{pair[0]} is lower than {pair[1]} by {show(less, 2)}. "
    return f"{pair[0]} is not measurably different from {pair[1]} (difference {show(difference, 2)}). "


def _still_falling(rows) -> str:
    """A warning if the nets, on average, were still learning in the last epoch."""
    last = rows.groupby("epoch").train_loss.mean().iloc[-2:]
    fall = 1 - last.iloc[-1] / last.iloc[0]
    if fall < 0.02:
        return ""
    return f"In the last epoch the training loss still fell by {fall:.0%}, so longer training may change the order."
