"""Figure, claims and text. What does the loss look like around and along a training? Three views: t-SNE, single parameters, two planes.

Reads the rows of `hw1.optimization.error_surface` (view, seed, kind, index, u, v, loss).
"""

import itertools
from collections.abc import Iterator

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hw1.findings import style
from hw1.findings.style import BLACK, VERMILION
from hw1.findings.verdict import Claim
from hw1.findings.words import net, show, sign
from hw1.statistics import first_rows, geometric_mean, last_rows

VALLEY = 10  # factor between the rises along steep and along flat parameters from which there is a valley


def figure(rows, settings) -> Figure:
    """Trajectories and neighbours by t-SNE, one parameter moved at a time, and the loss on two planes."""
    fig, ((first, second), (third, fourth)) = style.figure(2, 2, 4.3)
    views = dict(iter(rows.groupby("view")))
    norm = LogNorm(rows.loss.min(), rows.loss.quantile(0.99))
    shades = _draw_embedding(first, views["t-SNE"], norm)
    _draw_perturbations(second, views["perturbation"], settings["hidden"])
    _draw_plane(third, views["start to end"], norm, "plane through start, end, farthest point")
    _draw_plane(fourth, views["random plane"], norm, "random plane, filter-normalised")
    fourth.set(xticks=(-1, -0.5, 0, 0.5, 1), yticks=(-1, -0.5, 0, 0.5, 1))
    for axes in (third, fourth):
        _draw_star(axes, 0, 0)
    fig.colorbar(shades, ax=[first, third, fourth, second], label="squared error", aspect=50, extend="both")
    looks = {
        "Adam": {"color": BLACK, "marker": "o", "markerfacecolor": "white"},
        "second-order steps": {"color": BLACK, "marker": "D", "markerfacecolor": VERMILION},
        "final point": {"color": BLACK, "marker": "*", "markerfacecolor": "white", "linestyle": "", "markersize": 10},
        "sampled neighbour": {"color": "#21918c", "marker": "o", "linestyle": "", "markersize": 2},
    }
    style.legend(fig, looks)
    return fig


def _draw_embedding(axes, rows, norm):
    """All trajectories and sampled neighbours in one embedding; returns the points, for the colour bar."""
    near = rows[rows.kind == "neighbour"]
    shades = axes.scatter(near.u, near.v, c=near.loss, s=4, norm=norm, cmap="viridis", linewidths=0)
    for _, path in rows[rows.kind != "neighbour"].groupby("seed"):
        _draw_events(axes, path, norm)
        _draw_star(axes, path.u.iloc[-1], path.v.iloc[-1])
    axes.set(xticks=[], yticks=[], title=f"t-SNE of {rows.seed.nunique()} trainings and sampled neighbours")
    return shades


def _draw_perturbations(axes, rows, hidden):
    """The loss of the first net against the shift of each of its parameters, coloured by layer."""
    axes.set_yscale("log")
    widths = [1, *hidden, 1]
    ends = np.cumsum([(a + 1) * b for a, b in itertools.pairwise(widths)])
    for index, curve in rows[rows.seed == rows.seed.min()].groupby("index"):
        layer = int(np.searchsorted(ends, index, side="right"))
        axes.plot(curve.u, curve.loss, color=style.COLOURS[layer], linewidth=0.6)
    axes.legend(
        [Line2D([], [], color=style.COLOURS[layer]) for layer in range(len(ends))],
        [f"layer {layer + 1}" for layer in range(len(ends))],
        loc="upper center",
    )
    axes.set(xlabel="shift of one parameter", ylabel="squared error", title="one parameter at a time")


def _draw_plane(axes, rows, norm, title):
    """The loss on a plane through the final point of the first net, and that net's events if there are any."""
    rows = rows[rows.seed == rows.seed.min()]
    surface = rows[rows.kind == "surface"].pivot(index="v", columns="u", values="loss")
    levels = np.geomspace(norm.vmin, norm.vmax, 25)
    axes.contourf(surface.columns, surface.index, surface, levels=levels, norm=norm, cmap="viridis", extend="both")
    _draw_events(axes, rows[rows.kind != "surface"], norm)
    axes.set(xlabel="first direction", ylabel="second direction", title=title)
    axes.grid(visible=False)


def _draw_star(axes, u, v):
    """A final point, above all other marks."""
    axes.plot(u, v, "*", color="white", markersize=10, markeredgecolor=BLACK, markeredgewidth=0.7, zorder=4)


def _draw_events(axes, path, norm):
    """A trajectory with its recorded points, coloured by their loss; second-order steps are diamonds."""
    axes.plot(path.u, path.v, "-", color=BLACK, linewidth=0.5)
    look = {"s": 12, "norm": norm, "cmap": "viridis", "linewidths": 0.6, "zorder": 3}
    for kind, marker, edge in (("gradient descent", "o", "white"), ("second order", "D", VERMILION)):
        events = path[path.kind == kind]
        axes.scatter(events.u, events.v, c=events.loss, marker=marker, edgecolors=edge, **look)


def claims(rows, settings) -> Iterator[Claim]:
    """Yields nothing: the course makes no claim here."""
    return iter(())


def comment(rows, settings) -> dict:
    """How the loss rises around the final points, and how the trajectory runs."""
    events = rows[(rows.view == "start to end") & (rows.kind != "surface")]
    end = last_rows(events).set_index("seed").loss
    return {
        "title": "Error surface (bonus)",
        "method": f"The net {net([1, *settings['hidden'], 1], settings['activation'])} learns the sinc function sin(5πx) / (5πx) from {settings['points']} points in float64, first by full-batch Adam with a constant learning rate, then by Levenberg–Marquardt steps (see the section before). One plane goes through start, end and the recorded point farthest from the line between them; the other along two random directions in which the weights of each unit have the norm that they have in the net (filter normalisation, Li et al., arXiv 1712.09913), so that 1 is a change as large as the weights. Planes and curves show the first training; numbers are over all trainings.",
        "caption": "Top left: t-SNE of all recorded points, coloured by loss, and of sampled neighbours; it keeps neighbourhoods, not distances. Top right: the loss while one parameter moves. Bottom: the loss on two planes through the final point.",
        "comment": [
            _about_the_end(rows, settings, events, end),
            _along_the_path(rows, events, end) + _meaning(rows, events, end),
        ],
    }


def _about_the_end(rows, settings, events, end) -> str:
    """What the second-order steps gain, and how the loss rises around the final points."""
    descent = last_rows(events[events.kind == "gradient descent"]).set_index("seed").loss
    gain = geometric_mean(descent / end)
    near = rows[(rows.view == "t-SNE") & (rows.kind == "neighbour")]
    near = near[near["index"] == near["index"].max()]
    rise = geometric_mean(near.groupby("seed").loss.mean() / end)
    flat, steep = _moved(rows[rows.view == "perturbation"], end)
    return f"After Adam, the second-order steps lower the loss by a further factor of {show(gain, 2)}. Neighbours in random directions, at {settings['radius']:.0%} of the norm of the final weights, have {show(rise, 2)} times the final loss. Single parameters differ widely: a shift by {settings['shift']:g} multiplies the loss by less than {show(flat, 2)} for the flattest tenth of them and by more than {show(steep, 2)} for the steepest tenth."


def _moved(rows, end):
    """The 10 % and 90 % quantiles over parameters of the loss at the largest shift, as multiples of the final loss."""
    largest = rows[rows.u.abs() == rows.u.abs().max()]
    by_parameter = largest.groupby(["seed", "index"]).loss.mean().div(end, level="seed")
    return [geometric_mean(by_parameter.groupby("seed").quantile(share)) for share in (0.1, 0.9)]


def _along_the_path(rows, events, end) -> str:
    """How the trajectory runs, and whether the random plane shows any lower loss."""
    start = first_rows(events).set_index("seed").loss
    plane = rows[rows.view == "random plane"]
    lower = (plane.loss < end[plane.seed.iloc[0]]).mean()
    share = "no point of the grid has" if lower == 0 else f"{lower:.0%} of the grid points have"
    return f"The loss falls from {show(geometric_mean(start), 2)} at the start to {show(geometric_mean(end), 2)} at the end (geometric means). The points of a trajectory are projected, so their colour (their own loss) may differ from that of the surface. On the random plane {share} a lower loss than the final point."


def _meaning(rows, events, end) -> str:
    """What the views say of the landscape: whether it is a valley, and whether second-order steps follow it further."""
    flat, steep = _moved(rows[rows.view == "perturbation"], end)
    descent = last_rows(events[events.kind == "gradient descent"]).set_index("seed").loss
    text = ""
    if steep.value > VALLEY * flat.value:
        text += " So the surroundings of a final point are a narrow valley: steep along some parameters, nearly flat along others."
        if sign(geometric_mean(descent / end), 1) > 0:
            text += " In it Adam makes little progress, and steps that are scaled by the curvature come further."
    if events.seed.nunique() > 1:
        text += f" In the embedding each of the {events.seed.nunique()} trainings ends in a region of its own; a plane shows only one of them."
    return text
