"""The figure of question `large_batch`: Keskar et al.'s figures 2, 3 and 4."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hw1.findings import style
from hw1.findings.style import BLACK, BLUE, GREEN, LOSS, PURPLE, SETS, VERMILION

SPACES = {"full": "full space", "manifold": "random subspace"}


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
        style.log_ticks(above.yaxis)
        above.set_xticks([-1, 0, 1, 2])
        above.set_xlabel(f"α (batch size {sizes[0]} at 0, {sizes[1]} at 1)")
        _learning_curves(below, convergence[convergence.net == net], looks)
    if len(convergence):
        for axes in panels[1, : len(nets)]:
            axes.set_xlim(0.95 * convergence.epoch.min(), 1.05 * convergence.epoch.max())
    for axes, (space, title) in zip(panels[2], SPACES.items(), strict=False):
        _boxes(axes, rows[rows.space == space], settings, looks)
        axes.set_title(title)
    _against_batch_size(panels[2, 2], rows, settings)
    looks = {"loss": {"color": BLUE}, "accuracy": {"color": VERMILION}} | {f"batch size {n}": looks[n] for n in looks}
    style.legend(fig, looks | style.sets(BLACK))
    return fig


def _learning_curves(axes, rows, looks):
    """Training and test loss against the epoch for both batch sizes, to the end of the longest training."""
    axes.set_yscale("log")
    for size, look in looks.items():
        curves = _held(rows[rows.batch_size == size])
        for part, stroke in SETS.items():
            style.curve(axes, curves, "epoch", f"{part}_loss", band=True, linestyle=stroke, **look)
    style.log_x(axes, "epoch")
    style.log_ticks(axes.yaxis)
    axes.set_ylabel(LOSS)


def _held(curves):
    """Learning curves in which a net that has stopped keeps its last values: every mean is over the same nets."""
    epochs = sorted(curves.epoch.unique())
    parts = [net.set_index("epoch").reindex(epochs).ffill().reset_index() for _, net in curves.groupby("seed")]
    return pd.concat(parts) if parts else curves


def _boxes(axes, rows, settings, looks):
    """The sharpness of each net and batch size in boxes of each size ε."""
    axes.set_yscale("log")
    nets, epsilons = settings["nets"], settings["epsilons"]
    markers = style.looks(epsilons, by="marker")
    for place, net in enumerate(nets):
        for shift, (size, look) in zip((-0.15, 0.15), looks.items(), strict=True):
            for epsilon, marker in markers.items():
                found = rows[(rows.net == net) & (rows.batch_size == size) & (rows.epsilon == epsilon)]
                face = look["color"] if epsilon == epsilons[0] else "white"
                drawn = marker | {"linestyle": "none", "markerfacecolor": face, "zorder": 3}
                style.curve(axes, found.assign(place=place + shift), "place", "value", **(drawn | look))
    faces = {epsilon: BLACK if epsilon == epsilons[0] else "white" for epsilon in epsilons}
    looks = {epsilon: marker | {"linestyle": "none", "color": BLACK} for epsilon, marker in markers.items()}
    handles = [Line2D([], [], mfc=faces[epsilon], label=f"ε = {epsilon:g}", **look) for epsilon, look in looks.items()]
    axes.set(xlim=(-0.5, len(nets) - 0.5), ylabel="sharpness φ (%)")
    axes.set_ylim(top=axes.get_ylim()[1] * 6)  # for the legend
    axes.set_xticks(range(len(nets)), nets, rotation=15)
    style.log_ticks(axes.yaxis)
    axes.legend(handles=handles, loc="upper left", handletextpad=0.2)


def _against_batch_size(axes, rows, settings):
    """Sharpness in the full space, and test accuracy, of the net that was trained with more batch sizes."""
    axes.set_yscale("log")
    net = "plain" if "plain" in settings["nets"] else settings["nets"][0]
    swept = full_space(rows[rows.net == net], settings)
    style.curve(axes, swept, "batch_size", "value", color=BLACK, marker="s")
    style.colour_axis(axes, BLACK, f"φ (%), ε = {settings['epsilons'][0]:g}")
    style.curve(style.twin(axes, VERMILION, "test accuracy"), swept, "batch_size", "test_accuracy", color=VERMILION)
    style.log_x(axes, "batch size")
    style.log_ticks(axes.yaxis)
    axes.set_title(f"{net} net, full space")


def in_box(rows, space, epsilon):
    """The rows of one box, one per net, batch size and seed."""
    return rows[(rows.space == space) & np.isclose(rows.epsilon, epsilon)]


def full_space(rows, settings):
    """The rows of the full space and the first value of ε: one row per net, batch size and seed."""
    return in_box(rows, "full", settings["epsilons"][0])
