"""Where do the weights go in several trainings of one net? Their paths on two principal components.

Reads the rows of `hw1.optimization.trajectories` (scope, seed, epoch, first, second, first_explained, second_explained,
train_accuracy, status).
"""

from collections.abc import Iterator

import numpy as np
from matplotlib import patheffects
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.verdict import Claim
from hw1.findings.words import number, show
from hw1.statistics import first_rows, last_rows, mean_interval

COLOURS = (*style.COLOURS, "#999999")


def figure(rows, settings) -> Figure:
    """The recorded weights of all trainings on two principal components, for the first layer and for the whole model.

    The numbers at the first and the last point of a training are its training accuracy in per cent.
    """
    fig, panels = style.figure(1, 2, 3.0)
    for axes, (scope, events) in zip(panels, rows.groupby("scope", sort=False), strict=True):
        for order, (_, path) in enumerate(events.groupby("seed")):
            colour = COLOURS[order % len(COLOURS)]
            axes.plot(path["first"], path.second, "-", color=colour, linewidth=0.6, alpha=0.6)
            axes.scatter(path["first"], path.second, s=5, color=colour)
            first, last = path.iloc[0], path.iloc[-1]
            upper, lower = (first, last) if first.second > last.second else (last, first)
            _label_accuracy(axes, upper, colour, above=3)
            _label_accuracy(axes, lower, colour, above=-6)
        axes.set(
            xlabel=f"first component ({events.first_explained.iloc[0]:.0%} of the variance)",
            ylabel=f"second component ({events.second_explained.iloc[0]:.0%})",
            title=scope,
        )
        axes.margins(0.08)
    return fig


def _label_accuracy(axes, event, colour, above):
    """Writes the training accuracy beside an event, shifted up by `above` points."""
    axes.annotate(
        f"{100 * event.train_accuracy:.1f}",
        (event["first"], event.second),
        xytext=(0, above),
        textcoords="offset points",
        fontsize=5.5,
        ha="center",
        color=colour,
        path_effects=[patheffects.withStroke(linewidth=1.5, foreground="white")],
    )


def claims(rows, settings) -> Iterator[Claim]:
    """Yields nothing: the course makes no claim here."""
    return iter(())


def comment(rows, settings) -> dict:
    """How far the trainings go, how far apart they end, and how much of it the plane shows."""
    rows = rows[rows.status != "diverged"]
    whole = rows[rows.scope == "whole model"]
    ends = last_rows(whole).set_index("seed")[["first", "second"]]
    starts = first_rows(whole).set_index("seed")[["first", "second"]]
    moved = np.linalg.norm(ends - starts, axis=1)
    apart = np.mean([np.linalg.norm(a - b) for i, a in enumerate(ends.values) for b in ends.values[:i]])
    accuracy = mean_interval(last_rows(whole).train_accuracy)
    text = f"The {whole.seed.nunique()} trainings reach a training accuracy of {show(accuracy)} at different points: in the plane of the whole model the final points are {number(apart, 2)} apart on average, while a training moves by {number(np.mean(moved), 2)}. "
    if apart > np.mean(moved):
        text += "Different initial weights lead to different solutions of equal quality. "
    else:
        text += "The final points are closer to each other than to their starting points. "
    detour = mean_interval(_lengths(whole) / moved)
    text += f"Two components explain {_explained(whole):.0%} of the variance of the whole model and {_explained(rows[rows.scope == 'layer 1']):.0%} of that of layer 1; the remaining differences between the trainings are not visible here. In the plane, the path of a training is {show(detour, 4)} times as long as the straight line from its first to its last point."
    return {
        "title": "Trajectories of the weights",
        "method": "One principal component analysis per panel, over all recorded points of all trainings.",
        "caption": f"Weights recorded every {settings['every']} epochs, projected on two principal components, for the first layer (left) and the whole model (right). Each colour is one training; the numbers at its first and last point are training accuracies in per cent.",
        "comment": [text],
    }


def _lengths(events):
    """The length of each training's path from event to event in the plane, in the order of the seeds."""
    steps = events.groupby("seed")[["first", "second"]].diff()
    return np.hypot(steps["first"], steps.second).groupby(events.seed).sum().to_numpy()


def _explained(events) -> float:
    """The share of the variance that the two components explain together."""
    return events.first_explained.iloc[0] + events.second_explained.iloc[0]
