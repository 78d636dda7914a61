"""The figures of part 1-1. Each function takes the rows and the settings of a question and gives a figure.

Lines are means over seeds and bands 95 % t-intervals of the mean, but for the predictions of `simulate_function`.
Solid is training, dashed test. Nets come deepest first.
"""

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from hw1.figures import style
from hw1.figures.style import ACCURACY, BLACK, BLUE, GREEN, LOSS, TEST, TRAIN, VERMILION

LINES = {"training": TRAIN, "test": TEST}
FORMULAS = {"sinc": "sin(5πx) / (5πx)", "sign": "sgn(sin(5πx))"}
COLOURS = (BLUE, GREEN, VERMILION, *style.COLOURS)  # of nets, deepest first


def simulate_function(frame, settings, predictions):
    """Loss per epoch, and each net's predictions over the function, one row of panels per function."""
    functions, nets = settings["functions"], settings["nets"]
    ratios = {"width_ratios": [1.5, *(1 for _ in nets)]}
    figure, panels = style.figure(len(functions), 1 + len(nets), 2.1 * len(functions), squeeze=False, **ratios)
    frame, predictions = (rows.assign(hidden=rows.hidden.astype(str)) for rows in (frame, predictions))
    for (left, *right), function in zip(panels, functions, strict=True):
        left.set(yscale="log", xlabel="epoch", ylabel="mean squared error", title=FORMULAS[function])
        for axes, hidden, colour in zip(right, nets, COLOURS, strict=False):
            rows = _of(frame, function, hidden)
            style.curve(left, rows, "epoch", "loss", band=True, color=colour, linewidth=0.8)
            final = rows[rows.epoch == rows.epoch.max()].set_index("seed").loss.fillna(np.inf)
            _draw_predictions(axes, _of(predictions, function, hidden), final.idxmin(), colour)
            axes.set_title(f"best seed: {final.min():.2g}")
        for axes in right[1:]:
            axes.tick_params(labelleft=False)
    names = {hidden: {"color": colour} for hidden, colour in zip(nets, COLOURS, strict=False)}
    style.legend(figure, {"function": {"color": "#bbbbbb", "linewidth": 3}} | names)
    return figure


def actual_task(frame, settings):
    """Loss and accuracy per epoch of DNNs and CNNs, one row of panels per data set."""
    sets, kinds = frame.data.unique(), {"dnn": "DNN", "cnn": "CNN"}
    figure, panels = style.figure(len(sets), 4, 2.2 * len(sets), squeeze=False)
    for row, name in zip(panels, sets, strict=True):
        for (left, right), kind in zip((row[:2], row[2:]), kinds, strict=True):
            rows = frame[(frame.data == name) & (frame.kind == kind)]
            _log_loss(left)
            for axes, quantity, label in ((left, "loss", LOSS), (right, "accuracy", ACCURACY)):
                _draw_nets(axes, rows, quantity)
                axes.set(xlabel="epoch", ylabel=label, title=f"{name}, {kinds[kind]}")
                axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=(1, 2, 5, 10)))
    for axes, kind in ((panels[0][1], "dnn"), (panels[0][3], "cnn")):
        names = frame[frame.kind == kind].hidden.unique()
        handles = [Line2D([], [], color=colour) for _, colour in zip(names, COLOURS, strict=False)]
        axes.legend(handles, names, loc="lower right", fontsize=6)
    style.legend(figure, {part: {"color": BLACK, "linestyle": line} for part, line in LINES.items()})
    return figure


def _draw_predictions(axes, rows, best, colour):
    """The function in grey, the best seed's predictions as a line, all seeds' from least to greatest as a band."""
    seeds = rows.groupby("x").prediction
    rows = rows[rows.seed == best]
    axes.plot(rows.x, rows.target, color="#bbbbbb", linewidth=3)
    axes.plot(rows.x, rows.prediction, color=colour, linewidth=1)
    axes.fill_between(rows.x, seeds.min(), seeds.max(), color=colour, alpha=0.25, linewidth=0)
    room = 0.15 * (rows.target.max() - rows.target.min())
    axes.set(
        xlabel="x", xlim=(-0.03, 1.03), xticks=(0, 0.5, 1), ylim=(rows.target.min() - room, rows.target.max() + room)
    )


def _log_loss(axes):
    """A logarithmic y axis with plain numbers at 1, 2 and 5 times the powers of ten."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw_nets(axes, rows, quantity):
    """Training and test curves of every net in its colour."""
    for hidden, colour in zip(rows.hidden.unique(), COLOURS, strict=False):
        for part, line in (("train", TRAIN), ("test", TEST)):
            curves = rows[rows.hidden == hidden]
            style.curve(axes, curves, "epoch", f"{part}_{quantity}", band=True, color=colour, linestyle=line)


def _of(frame, function, hidden):
    return frame[(frame.function == function) & (frame.hidden == hidden)]


QUESTIONS = (simulate_function, actual_task)
