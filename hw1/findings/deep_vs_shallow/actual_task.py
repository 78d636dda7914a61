"""Figure, claims and text. Do deep nets learn images better than shallow ones of equal size? Loss and accuracy per epoch of DNNs and CNNs.

Reads the rows of `hw1.deep_vs_shallow.actual_task` (data, kind, hidden, parameters, seed, epoch, losses, accuracies,
status). The last row of each net is where it stopped, at the training loss at which the nets are compared.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from hw1 import nets as architectures
from hw1.findings import style
from hw1.findings.style import ACCURACY, BLACK, LOSS, SETS
from hw1.findings.verdict import ACCURACY_EFFECT, OWN, Claim, claim
from hw1.findings.words import listed, number, plural, show, sign
from hw1.statistics import Interval, geometric_mean, last_rows, mean_interval

KINDS = {"dnn": "DNN", "cnn": "CNN"}
MARKERS = "os^Dv"  # of the nets, beside their colours


def figure(rows, settings) -> Figure:
    """Loss and accuracy per epoch of DNNs and CNNs, a row of panels per data set.

    Lines are means over seeds with 95 % intervals, geometric ones for the loss, as far as no net has stopped; a dot is
    where a net stopped. Solid is training, dashed test. A dotted line is the training loss at which they stop.
    """
    rows, sets = _of_nets(rows), rows.data.unique()
    fig, panels = style.figure(len(sets), 4, 1.9 * len(sets), squeeze=False)
    for row, name in zip(panels, sets, strict=True):
        for (left, right), kind in zip((row[:2], row[2:]), KINDS, strict=True):
            nets = rows[(rows.data == name) & (rows.kind == kind)]
            _log_loss(left)
            left.axhline(_target(settings, name), color="#888888", linewidth=0.8, linestyle=":")
            for axes, quantity, label in ((left, "loss", LOSS), (right, "accuracy", ACCURACY)):
                _draw_nets(axes, nets, quantity)
                axes.set(xlabel="epoch", ylabel=label, title=f"{name}, {KINDS[kind]}")
                axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=(1, 2, 5, 10)))
    for axes, kind in ((panels[0][1], "dnn"), (panels[0][3], "cnn")):
        looks = _looks(rows[rows.kind == kind].hidden.unique())
        handles = [Line2D([], [], label=hidden, **look) for hidden, look in looks.items()]
        axes.legend(handles=handles, loc="lower right", fontsize=6)
    stopped = {"a net stops": {"color": BLACK, "linestyle": "", "marker": "o", "markerfacecolor": "none"}}
    style.legend(fig, style.sets(BLACK) | stopped)
    return fig


def _looks(nets) -> dict[str, dict]:
    """Net → its colour and marker."""
    colours = style.of_depths(nets).items()
    return {
        net: {"color": colour, "marker": MARKERS[place % len(MARKERS)]} for place, (net, colour) in enumerate(colours)
    }


def _of_nets(rows):
    """The rows with the nets' names as text: one such as 31 may have been read as a number."""
    return rows.astype({"hidden": str})


def _target(settings, data) -> float:
    """The training loss at which the nets of a data set stop."""
    names = [name.strip() for name in settings["data"].split(",")]
    return settings["target_losses"][names.index(data) if len(settings["target_losses"]) > 1 else 0]


def _log_loss(axes):
    """A logarithmic y axis with plain numbers at 1, 2 and 5 times the powers of ten."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw_nets(axes, nets, quantity):
    """Training and test curves of every net in its colour, and where each seed stopped."""
    for hidden, look in _looks(nets.hidden.unique()).items():
        net = nets[(nets.hidden == hidden) & (nets.status != "diverged")]
        ends = last_rows(net)
        for part, line in SETS.items():
            column = f"{part}_{quantity}"
            drawn = look | {"linestyle": line, "markersize": 2.5, "markevery": 2}
            style.curve(axes, _all_training(net), "epoch", column, band=True, **drawn)
            axes.plot(
                ends.epoch, ends[column], linestyle="", **look | {"markerfacecolor": "none", "markeredgewidth": 0.7}
            )
    if (nets.status == "diverged").all():
        axes.text(0.5, 0.5, "all nets diverged", transform=axes.transAxes, ha="center")


def _all_training(net):
    """The rows after whole epochs up to the last one that all seeds of a net have: a mean over some would mislead."""
    whole = net[net.epoch == net.epoch.round()]
    return whole[whole.epoch <= whole.groupby("seed").epoch.max().min()]


def claims(rows, settings) -> Iterator[Claim]:
    """Depth helps on images at one training loss: accuracy and loss against depth, for each data set and kind."""
    for data, kind in itertools.product(rows.data.unique(), KINDS):
        ends = _ends(rows, data, kind)
        if len({_depth(kind, hidden) for hidden in ends.hidden}) < 2:
            continue
        nets = ends.rename(columns={"hidden": "net", "kind": "model"})
        yield claim(
            OWN,
            f"Of nets of equal size and training loss, the deeper {KINDS[kind]} has the higher test accuracy on {data} (gain per doubling of depth)",
            _accuracy_trend(ends),
            nets,
            above=0,
            effect=ACCURACY_EFFECT,
        )
        yield claim(
            OWN,
            f"Of nets of equal size and training loss, the deeper {KINDS[kind]} has the lower test loss on {data} (factor per doubling of depth)",
            _loss_trend(ends),
            nets,
            below=1,
        )


def _ends(rows, data, kind) -> pd.DataFrame:
    """The last row of every net of one kind on one data set, the diverged ones included."""
    return last_rows(_of_nets(rows[(rows.data == data) & (rows.kind == kind)]), ["hidden", "seed"])


def _depth(kind, hidden) -> int:
    """The number of hidden layers of a DNN, or of convolutions of a CNN."""
    return hidden.count("-") + 1 if kind == "dnn" else len(architectures.TASK_CNNS[hidden]["filters"])


def _slopes(ends, column) -> np.ndarray:
    """For each seed the least-squares slope of a column against log₂ of the depth; NaN where a net has no value."""
    table = ends.pivot(index="seed", columns="hidden", values=column)
    depth = np.log2([_depth(ends.kind.iloc[0], hidden) for hidden in table.columns])
    centred = depth - depth.mean()
    return table.to_numpy(np.float64) @ centred / (centred @ centred)


def _accuracy_trend(ends) -> Interval:
    """By how much the test accuracy rises with each doubling of the depth, over all nets."""
    return mean_interval(_slopes(ends, "test_accuracy"))


def _loss_trend(ends) -> Interval:
    """By what factor the test loss changes with each doubling of the depth, over all nets."""
    return _factor(ends, "test_loss")


def _factor(ends, column) -> Interval:
    """By what factor a column changes with each doubling of the depth, over all nets."""
    return geometric_mean(np.exp(_slopes(ends.assign(logarithm=np.log(ends[column])), "logarithm")))


def comment(rows, settings) -> dict:
    """Whether deeper nets of each kind are better at one training loss, on each data set."""
    rows = _of_nets(rows)
    sizes = rows.groupby(["kind", "hidden"], sort=False).parameters.first()
    dense = listed(f"{hidden} ({size:,} parameters)" for hidden, size in sizes["dnn"].items())
    convolutional = "; ".join(
        f"{hidden} ({size:,} parameters): {_layers(hidden, settings)}" for hidden, size in sizes["cnn"].items()
    )
    spread = sizes.max() / sizes.min() - 1
    targets = listed(f"{_target(settings, data):g} ({data})" for data in rows.data.unique())
    pairs = list(itertools.product(rows.data.unique(), KINDS))
    return {
        "title": "Deep and shallow nets on images",
        "method": f"DNNs, by the widths of their hidden layers: {dense}. CNNs: {convolutional}. The largest net has {spread:.1%} more parameters than the smallest. Convolutions have stride 1 and no padding (“valid”). All nets have ReLU activations and are trained by Adam with a constant learning rate. After equally many epochs a net that learns slowly would look as if it generalised badly. So each stops when its loss on the whole training set is at or below {targets} nats, and test accuracies are compared there.",
        "caption": "Loss and accuracy per epoch of nets of equal size and different depth, on each data set: DNNs (left two columns), labelled by the widths of their hidden layers, and CNNs (right two columns). Lines are means over the seeds as long as none has stopped; open markers show where each net stopped, on the training and on the test set. The dotted line is the training loss at which they stop.",
        "comment": [*(_paragraph(rows, settings, *pair) for pair in pairs), _summary(rows, pairs)],
    }


def _layers(name, settings) -> str:
    """The layers of a CNN in words."""
    net = architectures.task_cnn(name, settings.get("shape") or (28, 28))
    shapes = zip(net["filters"], net["kernel_sizes"], net["pools"], strict=True)
    convolutions = listed(f"{count} filters of {side} × {side}{_pooled(pool)}" for count, side, pool in shapes)
    return f"{convolutions}, then a dense layer of {listed(map(str, net['dense']))} units"


def _pooled(pool) -> str:
    return f" with {pool} × {pool} maximum pooling" if pool > 1 else ""


def _paragraph(rows, settings, data, kind) -> str:
    """The nets of one kind on one data set: how long they took, how well they generalise, and how depth changes it."""
    ends = _ends(rows, data, kind)
    name, nets = f"{data}, {KINDS[kind]}", list(ends.hidden.unique())
    if (ends.status == "diverged").all():
        return f"{name}: all nets diverged."
    of = {hidden: ends[(ends.hidden == hidden)] for hidden in nets}
    epochs = listed(number(net.epoch.mean(), 2) for net in of.values())
    accuracies = listed(f"{show(mean_interval(net.test_accuracy))} ({hidden})" for hidden, net in of.items())
    reached = listed(number(net.train_loss.mean(), 2) for net in of.values())
    text = f"{name}, stopped at a training loss of {_target(settings, data):g} nats (at {reached} on average, after {epochs} epochs): test accuracy is {accuracies}. "
    if len({_depth(kind, hidden) for hidden in nets}) > 1:
        accuracy, loss, epochs = _accuracy_trend(ends), _loss_trend(ends), _factor(ends, "epoch")
        text += f"With each doubling of depth the number of epochs {_multiplied(epochs)}, the accuracy {_change(accuracy)} and the test loss {_multiplied(loss)}. "
    for status, what in (("target not reached", "did not come down to this loss"), ("diverged", "diverged")):
        missed = int((ends.status == status).sum())
        text += f"Of {plural(len(ends), 'net')} {missed} {what}. " if missed else ""
    return text.strip()


def _change(trend) -> str:
    """Says whether the accuracy rises, falls or neither, and by how much."""
    if not np.isfinite(trend.low):
        return f"changes by {number(trend.value, 2)} with this one seed"
    if sign(trend):
        return f"{'rises' if sign(trend) > 0 else 'falls'} by {show(trend if trend.value > 0 else _negative(trend), 2)}"
    return f"does not measurably change ({show(trend, 2)})"


def _multiplied(factor) -> str:
    """Says by what factor something changes, or that it does not measurably change."""
    if sign(factor, 1) or not np.isfinite(factor.low):
        return f"is multiplied by {show(factor)}"
    return f"does not measurably change (factor {show(factor)})"


def _negative(interval) -> Interval:
    return interval._replace(value=-interval.value, low=-interval.high, high=-interval.low)


def _summary(rows, pairs) -> str:
    """For which nets and data test accuracy and training time change with depth, and what that means."""
    accuracy, epochs = {}, {}
    for data, kind in pairs:
        ends = _ends(rows, data, kind)
        if len({_depth(kind, hidden) for hidden in ends.hidden}) > 1:
            trend, name = _accuracy_trend(ends), f"{KINDS[kind]}s on {data}"
            if np.isfinite(trend.low):
                accuracy[name], epochs[name] = sign(trend), sign(_factor(ends, "epoch"), 1)
    if not accuracy:
        return "These nets are too few to tell what depth changes."
    falls = (1, "rises with depth for"), (-1, "falls with depth for"), (0, "does not measurably change for")
    sooner = (-1, "fewer epochs with depth for"), (1, "more for"), (0, "no measurably different number for")
    text = f"At equal size and nearly equal training loss the test accuracy {_by_sign(accuracy, falls)}. "
    if set(accuracy.values()) == {1}:
        text += "Deeper nets generalise better here, and not only because they fit the training set sooner. "
    elif 1 in accuracy.values():
        text += "So whether depth helps depends on the task and on the kind of layer. "
    else:
        text += "So these deeper nets do not generalise better. "
    text += f"Coming to that loss takes {_by_sign(epochs, sooner)}. "
    ends = last_rows(_of_nets(rows), ["data", "kind", "hidden", "seed"])
    fitted = listed(
        f"{number(nets.train_accuracy.mean(), 2)} on {data}" for data, nets in ends.groupby("data", sort=False)
    )
    text += f"Two caveats: nets stop at a training accuracy of {fitted}"
    return f"{text}, and the CNNs differ in filter size, pooling and dense layer too."


def _by_sign(signs, clauses) -> str:
    """A clause for each sign that occurs, with the names that have it."""
    names = {wanted: [name for name, found in signs.items() if found == wanted] for wanted, _ in clauses}
    return listed(f"{what} {listed(names[wanted])}" for wanted, what in clauses if names[wanted])
