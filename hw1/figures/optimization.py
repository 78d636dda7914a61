"""The figures of part 1-2. Each function takes the rows and the settings of a question and gives a figure."""

import itertools

import numpy as np
from matplotlib import patheffects
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D

from hw1.figures import style
from hw1.figures.style import BLACK, BLUE, VERMILION

TASKS = {"sinc": ("sin(5πx) / (5πx)", "squared error"), "images": ("images", "cross-entropy (nats)")}
SMOOTHED_OVER = 50  # steps
PLATEAU = 0.087  # the variance of sin(5πx) / (5πx) on (0, 1]
METHODS = {"gradient norm": "o", "Levenberg–Marquardt": "D"}
RATIOS = {
    "minimal_ratio": "minimal ratio: share of eigenvalues above zero",
    "minimal_ratio_sampled": "sampled: share of neighbours with higher loss",
}


def trajectories(frame, settings):
    """Events of all trainings on two principal components, marked with training accuracy."""
    figure, panels = style.figure(1, 2, 3.0)
    for axes, (scope, rows) in zip(panels, frame.groupby("scope", sort=False), strict=True):
        for number, (_, event) in enumerate(rows.groupby("seed")):
            colour = (*style.COLOURS, "#999999")[number % 8]
            axes.plot(event["first"], event.second, "-", color=colour, linewidth=0.6, alpha=0.6)
            axes.scatter(event["first"], event.second, s=5, color=colour)
            for place, row in zip(("first", "last"), (event.iloc[0], event.iloc[-1]), strict=True):
                axes.annotate(
                    f"{100 * row.train_accuracy:.1f}",
                    (row["first"], row.second),
                    xytext=(0, -6 if place == "first" else 3),
                    textcoords="offset points",
                    fontsize=5.5,
                    ha="center",
                    color=colour,
                    path_effects=[patheffects.withStroke(linewidth=1.5, foreground="white")],
                )
        shares = rows[["first_explained", "second_explained"]].iloc[0]
        axes.set(
            xlabel=f"first component ({shares.iloc[0]:.0%} of the variance)",
            ylabel=f"second component ({shares.iloc[1]:.0%})",
            title=scope,
        )
        axes.margins(0.08)
    return figure


def gradient_norm(frame, settings):
    """Gradient norm and loss at every step: one net as it is, thin, and the smoothed mean over seeds."""
    figure, panels = style.figure(2, 2, 3.1, sharex="col")
    for column, (task, (name, loss)) in zip(panels.T, TASKS.items(), strict=True):
        rows = frame[(frame.task == task) & (frame.status != "diverged")]
        for axes, quantity, label, colour in zip(
            column, ("gradient_norm", "loss"), ("‖∇L‖₂ of the batch", loss), (VERMILION, BLUE), strict=True
        ):
            axes.set_yscale("log")
            table = rows.pivot(index="step", columns="seed", values=quantity)
            for seed in table.columns[:1]:
                axes.plot(table[seed], color=colour, linewidth=0.4, alpha=0.45)
            style.curve(axes, _smoothed(table, quantity), "step", quantity, band=True, color=colour)
            axes.set_ylabel(label)
        column[0].set_title(name)
        column[1].set_xlabel("step")
    for axes in panels.flat:
        axes.grid(axis="x", visible=False)
    steps = f"mean over {SMOOTHED_OVER} steps and all nets"
    style.legend(
        figure, {"one net": {"color": "#777777", "linewidth": 0.5}, f"geometric {steps}": {"color": "#333333"}}
    )
    return figure


def _smoothed(table, quantity):
    """The running geometric mean of each column (a seed), as rows of step, seed and value."""
    smooth = np.exp(np.log(table).rolling(SMOOTHED_OVER, center=True, min_periods=1).mean())
    return smooth.stack().rename(quantity).reset_index()


def zero_gradient(frame, settings):
    """Loss against the minimal ratio by both definitions, a point per net in the colour of its gradient's norm."""
    figure, panels = style.figure(1, 2, 2.5, sharey=True)
    colours = LogNorm(frame.gradient_norm.min(), frame.gradient_norm.max())
    for axes, (ratio, label) in zip(panels, RATIOS.items(), strict=True):
        axes.set(yscale="log", xlim=(-0.03, 1.03), xlabel=label)
        for method, marker in METHODS.items():
            rows = frame[frame.method == method]
            look = {"s": 12, "norm": colours, "cmap": "viridis", "linewidths": 0.2, "edgecolors": "white"}
            dots = axes.scatter(rows[ratio], rows.loss, c=rows.gradient_norm, marker=marker, zorder=2, **look)
        axes.axhline(PLATEAU, color="#888888", linewidth=0.8, linestyle=":")
    panels[0].set_ylabel("loss (mean squared error)")
    panels[0].text(0.0, PLATEAU / 2, "plateau of the slides", fontsize=6, color="#666666", va="top")
    figure.colorbar(dots, ax=panels, label="‖∇L‖₂ reached", pad=0.01)
    names = {"gradient norm": "Adam on ‖∇L‖²"}
    look = {"color": "#777777", "linestyle": ""}
    style.legend(figure, {names.get(m, m): look | {"marker": marker} for m, marker in METHODS.items()})
    return figure


def error_surface(frame, settings):
    """Trajectories and neighbours by t-SNE, one parameter moved at a time, and the loss on two planes."""
    figure, ((first, second), (third, fourth)) = style.figure(2, 2, 5.0)
    views = dict(iter(frame.groupby("view")))
    norm = LogNorm(frame.loss.min(), frame.loss.quantile(0.99))
    embedded = views["t-SNE"]
    near = embedded[embedded.kind == "neighbour"]
    shades = first.scatter(near.u, near.v, c=near.loss, s=4, norm=norm, cmap="viridis", linewidths=0)
    for _, path in embedded[embedded.kind != "neighbour"].groupby("seed"):
        _events(first, path, norm)
    first.set(xticks=[], yticks=[], title=f"t-SNE of {embedded.seed.nunique()} trainings and their neighbours")
    _perturbations(second, views["perturbation"], settings["hidden"])
    for axes, view, title in (
        (third, "start to end", "plane through start, end and a third event"),
        (fourth, "random plane", "random plane, filter-normalised"),
    ):
        rows = views[view]
        rows = rows[rows.seed == rows.seed.min()]
        surface = rows[rows.kind == "surface"].pivot(index="v", columns="u", values="loss")
        levels = np.geomspace(norm.vmin, norm.vmax, 25)
        axes.contourf(surface.columns, surface.index, surface, levels=levels, norm=norm, cmap="viridis", extend="both")
        _events(axes, rows[rows.kind != "surface"], norm)
        axes.plot(0, 0, "*", color="white", markersize=8, markeredgecolor=BLACK, markeredgewidth=0.6)
        axes.set(xlabel="first direction", ylabel="second direction", title=title)
        axes.grid(visible=False)
    fourth.set(xticks=(-1, -0.5, 0, 0.5, 1), yticks=(-1, -0.5, 0, 0.5, 1))
    figure.colorbar(shades, ax=[first, third, fourth, second], label="squared error", aspect=50, extend="both")
    kinds = {
        "gradient descent": {"color": BLACK, "marker": "o", "markerfacecolor": "white"},
        "second-order steps": {"color": BLACK, "marker": "D", "markerfacecolor": VERMILION},
        "final point": {"color": BLACK, "marker": "*", "markerfacecolor": "white", "linestyle": "", "markersize": 8},
    }
    style.legend(figure, kinds)
    return figure


def _events(axes, path, norm):
    """A trajectory, its events filled with the colour of their loss; second-order steps are diamonds."""
    axes.plot(path.u, path.v, "-", color=BLACK, linewidth=0.5)
    for kind, marker, edge in (("gradient descent", "o", "white"), ("second order", "D", VERMILION)):
        rows = path[path.kind == kind]
        look = {"s": 12, "norm": norm, "cmap": "viridis", "linewidths": 0.6}
        axes.scatter(rows.u, rows.v, c=rows.loss, marker=marker, edgecolors=edge, zorder=3, **look)


def _perturbations(axes, frame, hidden):
    """Loss against the shift of each parameter of the first net, coloured by layer."""
    axes.set_yscale("log")
    widths = [1, *hidden, 1]
    ends = np.cumsum([(a + 1) * b for a, b in itertools.pairwise(widths)])
    rows = frame[frame.seed == frame.seed.min()]
    for index, curve in rows.groupby("index"):
        layer = int(np.searchsorted(ends, index, side="right"))
        axes.plot(curve.u, curve.loss, color=style.COLOURS[layer], linewidth=0.6)
    axes.legend(
        [Line2D([], [], color=style.COLOURS[layer]) for layer in range(len(ends))],
        [f"layer {layer + 1}" for layer in range(len(ends))],
        loc="upper center",
    )
    axes.set(xlabel="shift of one parameter", ylabel="squared error", title="one parameter at a time")


QUESTIONS = (trajectories, gradient_norm, zero_gradient, error_surface)
