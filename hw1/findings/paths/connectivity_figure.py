"""The figure of question `connectivity`: barriers against parameters, ways of training, one pair's paths."""

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.verdict import ACCURACY_EFFECT
from hw1.statistics import mean_interval

LINE, WEIGHTS, ACTIVATIONS, STRING, DOUBLED, BEZIER = "line", "weights", "activations", "string", "doubled", "Bézier"
LOOKS = {  # path → name in the figure, look
    LINE: ("straight line", {"color": style.BLACK, "marker": "o"}),
    WEIGHTS: ("weights matched", {"color": style.ORANGE, "marker": "s"}),
    ACTIVATIONS: ("activations matched", {"color": style.VERMILION, "marker": "D", "linestyle": ":"}),
    STRING: ("string", {"color": style.BLUE, "marker": "^"}),
    BEZIER: ("Bézier curve", {"color": style.GREEN, "marker": "v"}),
}
THRESHOLD = {"color": "#888888", "linestyle": "--", "linewidth": 0.9}
POINTS = 100 * ACCURACY_EFFECT  # the barrier that was fixed beforehand as none, in points


def figure(rows, settings, nets, along, plane) -> Figure:
    """Above: loss and error barriers against parameters, and by way of training. Below: the paths of one pair."""
    fig, ((first, second, third), (fourth, fifth, sixth)) = style.figure(2, 3, 4.6)
    main = of_method(rows, settings).dropna(subset=["error_barrier"])
    main = main.assign(error_barrier=100 * main.error_barrier)
    _against_parameters(first, main, "loss_barrier", "loss barrier (nats)", 1e-3)
    _against_parameters(second, main, "error_barrier", "error barrier (points)", 0.1)
    _by_method(third, rows, settings)
    _along(fourth, along, along.train_loss, "training loss (nats)", 1e-3)
    _along(fifth, along, 100 * (1 - along.train_accuracy), "training error (points)", 0.1)
    _in_the_plane(sixth, along, plane)
    style.legend(fig, dict(LOOKS.values()))
    return fig


def of_method(rows, settings):
    """The rows of the first way of training, that of all widths."""
    return rows[rows.method == settings["methods"][0]]


def _symmetric(axes, linear, axis="y"):
    """A logarithmic axis that holds 0: it is linear up to `linear`."""
    getattr(axes, f"set_{axis}scale")("symlog", linthresh=linear, linscale=0.4)
    getattr(axes, f"set_{axis}lim")(0, None)


def _against_parameters(axes, rows, column, label, linear):
    """The barrier on each kind of path against the number of parameters."""
    style.log_x(axes, "parameters")
    for number, (path, (_, look)) in enumerate(LOOKS.items()):
        part = rows[rows.path == path]
        style.curve(axes, part.assign(parameters=part.parameters * 1.06 ** (number - 2)), "parameters", column, **look)
    if rows.parameters.nunique() == 1:  # an axis that shows the points as of one width
        axes.set_xlim(rows.parameters.iloc[0] / 3, 3 * rows.parameters.iloc[0])
    _symmetric(axes, linear)
    axes.set_ylabel(label)
    if column == "error_barrier":
        axes.axhline(POINTS, **THRESHOLD)


def _by_method(axes, rows, settings):
    """The error barrier on line and string for each way of training at the first width of the comparison."""
    width = settings["compared"][0]
    methods = settings["methods"][::-1]
    for place, method in enumerate(methods):
        for path in (LINE, STRING):
            cell = rows[(rows.method == method) & (rows.width == width) & (rows.path == path)]
            style.across(axes, mean_interval(100 * cell.error_barrier), place, **LOOKS[path][1])
    axes.axvline(POINTS, **THRESHOLD)
    axes.set(
        yticks=range(len(methods)), xlabel=f"error barrier (points), width {width}", ylim=(-0.5, len(methods) - 0.5)
    )
    axes.set_yticklabels([method.replace(" and ", "\nand ") for method in methods])
    _symmetric(axes, 0.1, "x")


def _along(axes, along, values, label, linear):
    """Loss or error along the paths of one pair."""
    for path, (_, look) in LOOKS.items():
        part = along.path == path
        axes.plot(along.position[part], values[part], **(look | {"marker": "", "linewidth": 0.9}))
    _symmetric(axes, linear)
    axes.set(xlabel="arc length", ylabel=label)


def _in_the_plane(axes, along, plane):
    """The loss in the plane through both nets and the middle of the string, with the paths' projections on it."""
    axes.set(xlabel="u", ylabel="v")
    if plane.empty:  # the pair diverged
        return
    losses = plane.pivot(index="v", columns="u", values="train_loss")
    levels = np.geomspace(losses.to_numpy().min(), losses.to_numpy().max(), 13)
    if levels[0] < levels[-1]:
        shades = axes.contourf(losses.columns, losses.index, losses, levels, norm=LogNorm(), cmap="Greys", alpha=0.7)
        bar = axes.figure.colorbar(shades, ax=axes, format="%.1g")
        bar.set_label("training loss (nats)")
    for path in (LINE, STRING, BEZIER):
        part = along[along.path == path]
        axes.plot(part.u, part.v, **(LOOKS[path][1] | {"marker": "", "linewidth": 1}))
    ends = along[along.path == LINE].iloc[[0, -1]]
    axes.plot(ends.u, ends.v, linestyle="", marker="o", markersize=4, color=style.BLACK)
    axes.grid(visible=False)
