"""The figures of large and small batches. Functions as in `hw1.figures.generalization`.

Points and lines are means over seeds, geometric ones on logarithmic axes; bars and bands are 95 % t-intervals of the
mean. Solid is training, dashed test.
"""

import numpy as np
from matplotlib.lines import Line2D

from hw1.figures import style
from hw1.figures.style import BLACK, BLUE, GREEN, LOSS, PURPLE, SETS, VERMILION
from hw1.statistics import geometric_mean, mean_interval


def large_batch(frame, settings, line, convergence):
    """Per net the line from small to large batch and the convergence; sharpness of both, and against batch size."""
    nets, sizes, frame = settings["nets"], settings["batch_sizes"], frame[frame.status != "diverged"]
    looks = dict(zip(sizes, ({"color": GREEN}, {"color": PURPLE}), strict=True))
    figure, panels = style.figure(3, 3, 6.6)
    for axes in (*panels[0, len(nets) :], *panels[1, len(nets) :]):
        axes.set_visible(False)
    for number, net in enumerate(nets):
        above, below = panels[:2, number]
        above.set_title(f"{net} net")
        style.line_between(above, line[line.net == net])
        above.set_xlabel(f"α (batch size {sizes[0]} at 0, {sizes[1]} at 1)")
        below.set_yscale("log")
        for size, look in looks.items():
            rows = convergence[(convergence.net == net) & (convergence.batch_size == size)]
            for part, stroke in SETS.items():
                style.curve(below, _by_all(rows), "epoch", f"{part}_loss", band=True, linestyle=stroke, **look)
        style.log_x(below, "epoch")
        below.set_ylabel(LOSS)
    for axes, space, title in zip(panels[2], ("full", "manifold"), ("full space", "random manifold"), strict=False):
        _boxes(axes, frame[frame.space == space], settings, looks)
        axes.set_title(title)
    last, first = panels[2, 2], (frame.space == "full") & np.isclose(frame.epsilon, settings["epsilons"][0])
    last.set_yscale("log")
    net = "plain" if "plain" in nets else nets[0]
    swept = frame[first & (frame.net == net)]
    style.curve(last, swept, "batch_size", "value", color=BLACK)
    style.colour_axis(last, BLACK, f"φ (%), ε = {settings['epsilons'][0]:g}")
    style.curve(style.twin(last, VERMILION, "test accuracy"), swept, "batch_size", "test_accuracy", color=VERMILION)
    style.log_x(last, "batch size")
    last.set_title(f"{net} net, full space")
    names = {f"batch size {size}": look for size, look in looks.items()}
    style.legend(figure, {"loss": {"color": BLUE}, "accuracy": {"color": VERMILION}} | names | style.sets(BLACK))
    return figure


def _by_all(rows):
    """Only the epochs to which every seed came, so that the mean is always over the same nets."""
    seeds = rows.groupby("epoch").seed.transform("nunique")
    return rows[seeds == seeds.max()]


def _boxes(axes, rows, settings, looks):
    """The sharpness of each net and batch size; a full marker is the larger box."""
    axes.set_yscale("log")
    for i, net in enumerate(settings["nets"]):
        for j, (size, look) in enumerate(looks.items()):
            for epsilon, marker, face in zip(settings["epsilons"], "os^v", (None, *["white"] * 3), strict=False):
                found = rows[(rows.net == net) & (rows.batch_size == size) & (rows.epsilon == epsilon)]
                found = found.assign(place=i + 0.3 * (j - 0.5))
                more = {} if face is None else {"markerfacecolor": face}
                style.curve(axes, found, "place", "value", linestyle="none", marker=marker, zorder=3, **look, **more)
    handles = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=marker,
            color=BLACK,
            mfc="white" if number else BLACK,
            label=f"ε = {epsilon:g}",
        )
        for number, (epsilon, marker) in enumerate(zip(settings["epsilons"], "os^v", strict=False))
    ]
    axes.set(xlim=(-0.5, len(settings["nets"]) - 0.5), ylabel="sharpness φ (%)")
    axes.set_ylim(top=axes.get_ylim()[1] * 6)  # for the legend
    labels = ["\n" * (number % 2) + net for number, net in enumerate(settings["nets"])]  # staggered: they are long
    axes.set_xticks(range(len(labels)), labels)
    axes.legend(handles=handles, loc="upper left", handletextpad=0.2)


def remedies(frame, settings):
    """Test accuracy, sharpness in both spaces and the training loss reached, one line of each panel per remedy."""
    figure, (first, second, third) = style.figure(1, 3, 2.6, sharey=True)
    names, frame = list(dict.fromkeys(frame.remedy)), frame[frame.status != "diverged"]
    colours = dict.fromkeys(names, BLUE) | {"small batch": GREEN, "large batch": PURPLE}
    style.log_x(second, f"sharpness φ (%), ε = {settings['epsilon']:g}")
    style.log_x(third, "training loss reached (nats)")
    panels = (
        (first, "full", "test_accuracy", "o"),
        (second, "full", "value", "o"),
        (second, "manifold", "value", "s"),
        (third, "full", "train_loss", "o"),
    )
    for axes, space, column, marker in panels:
        for place, name in enumerate(names):
            values = frame[(frame.remedy == name) & (frame.space == space)][column]
            _across(axes, values, place + 0.15 * (space == "manifold"), marker, colours[name])
    first.set(xlabel="test accuracy", yticks=range(len(names)), yticklabels=names)
    first.invert_yaxis()
    spaces = {"mean with 95 % interval": "o", f"φ on a manifold of {settings['manifold']}": "s"}
    style.legend(figure, {n: {"color": BLACK, "marker": marker, "linestyle": "none"} for n, marker in spaces.items()})
    return figure


def _across(axes, values, place, marker, colour):
    """A mean with its interval, lying; of the logarithms on a logarithmic axis."""
    mean = geometric_mean if axes.get_xscale() == "log" else mean_interval
    value, low, high, _ = mean(values)
    axes.plot([value], [place], marker, color=colour)
    axes.plot([low, high], [place, place], color=colour, linewidth=0.8)


QUESTIONS = (
    large_batch,
    remedies,
)
