"""Figure, claims and text. Where do the weights go in several trainings of one net? Their paths on two principal components.

Reads the rows of `hw1.optimization.trajectories` (scope, seed, epoch, first, second, first_explained, second_explained,
train_accuracy, status).
"""

import itertools
import math
from collections.abc import Iterator

import numpy as np
from matplotlib import patheffects
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.verdict import Claim
from hw1.findings.words import net_on_images, number, parameters, span
from hw1.statistics import first_rows, last_rows

COLOURS = (*style.COLOURS, "#999999")
MARKERS = "os^vDP*X"  # of the trainings, beside their colours


def figure(rows, settings) -> Figure:
    """The recorded weights of all trainings on two principal components, for the first layer and for the whole model.

    The numbers at the first and the last point of a training are its training accuracy in per cent.
    """
    fig, panels = style.figure(1, 2, 2.7)
    for axes, (scope, events) in zip(panels, rows.groupby("scope", sort=False), strict=True):
        for order, (_, path) in enumerate(events.groupby("seed")):
            colour = COLOURS[order % len(COLOURS)]
            axes.plot(path["first"], path.second, "-", color=colour, linewidth=0.6, alpha=0.6)
            marker = MARKERS[order % len(MARKERS)]
            axes.scatter(path["first"], path.second, s=9, color=colour, marker=marker, linewidths=0)
        axes.set(
            xlabel=f"first component ({events.first_explained.iloc[0]:.0%} of the variance)",
            ylabel=f"second component ({events.second_explained.iloc[0]:.0%})",
            title=scope,
        )
        axes.margins(0.12)
    fig.draw_without_rendering()  # the labels need the scale of the axes
    for axes, (_, events) in zip(panels, rows.groupby("scope", sort=False), strict=True):
        _label_ends(axes, events.dropna(subset=["first", "second"]))
    return fig


def _label_ends(axes, events):
    """Writes the training accuracy beside the first and the last point of each training, where there is most room."""
    taken = axes.transData.transform(events[["first", "second"]])  # places of points and labels, in pixels
    pixels = axes.figure.dpi / 72
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    places = np.stack([15 * np.cos(angles), 9 * np.sin(angles)], axis=1)  # about the point, in units of 1/72 inch
    for order, (_, path) in enumerate(events.groupby("seed")):
        for event in (path.iloc[0], path.iloc[-1]):
            centres = axes.transData.transform((event["first"], event.second)) + pixels * places
            stretched = (centres[:, None] - taken) / (1.8, 1)  # labels are wider than high
            best = np.linalg.norm(stretched, axis=2).min(axis=1).argmax()
            taken = np.vstack([taken, centres[best]])
            _write_accuracy(axes, event, places[best], COLOURS[order % len(COLOURS)])


def _write_accuracy(axes, event, place, colour):
    """Writes the training accuracy of an event at a place relative to it."""
    axes.annotate(
        f"{100 * event.train_accuracy:.1f}",
        (event["first"], event.second),
        xytext=place,
        textcoords="offset points",
        fontsize=7,
        ha="center",
        va="center",
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
    count, accuracies = whole.seed.nunique(), span(last_rows(whole).train_accuracy, 3)
    text = f"The {count} trainings end at training accuracies of {accuracies} in different places: in the plane of the whole model their last points are {number(_apart(ends), 2)} apart on average, their first recorded ones (after epoch {first_rows(whole).epoch.min():g}) {number(_apart(starts), 2)}, and a training moves by {number(np.mean(moved), 2)}. So the net has many solutions, though some may differ by the order of the hidden units only. "
    text += _alike(settings)
    text += f"Directions and straightness (a path is {span(_lengths(whole) / moved, 4)} times as long as the line between its ends) hold in this projection only, which shows {_explained(whole):.0%} of the variance of the recorded weights."
    trained = f"The net {net_on_images(settings)} is trained by Adam with a constant learning rate, {settings['seeds']} times on the same training set."
    return {
        "title": "Trajectories of the weights",
        "method": f"{trained} There is one principal component analysis per panel, over all recorded points of all trainings.",
        "caption": f"Weights recorded every {settings['every']} epochs, projected on two principal components, for the first layer (left) and the whole model (right). Each colour and marker is one training; the numbers at its first and last point are training accuracies in per cent.",
        "comment": [text],
    }


def _alike(settings) -> str:
    """Why both panels look alike, if most of the parameters are those of layer 1."""
    if not settings.get("shape"):
        return ""
    inputs, hidden = math.prod(settings["shape"]), settings["hidden"]
    first, total = parameters([inputs, hidden[0]]), parameters([inputs, *hidden, settings["classes"]])
    return (
        f"Both panels look alike, as layer 1 has {first:,} of the {total:,} parameters. " if first > 0.9 * total else ""
    )


def _apart(points) -> float:
    """The mean distance of two points."""
    return np.mean([np.linalg.norm(a - b) for a, b in itertools.combinations(points.to_numpy(), 2)])


def _lengths(events):
    """The length of each training's path from event to event in the plane, in the order of the seeds."""
    steps = events.groupby("seed")[["first", "second"]].diff()
    return np.hypot(steps["first"], steps.second).groupby(events.seed).sum().to_numpy()


def _explained(events) -> float:
    """The share of the variance that the two components explain together."""
    return events.first_explained.iloc[0] + events.second_explained.iloc[0]
