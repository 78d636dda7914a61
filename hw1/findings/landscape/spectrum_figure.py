"""The figure of question `spectrum`: λ₁, accuracy, outliers, density, layers and axes."""

import itertools

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hw1.findings import style
from hw1.findings.style import BLACK, BLUE, COLOURS, GREEN, ORANGE, SETS, SKY, VERMILION

NAMES = {"mnist10k": "MNIST", "fashion10k": "Fashion-MNIST", "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}


def figure(rows, settings, eigenvalues, density, layers, dimensions, **_) -> Figure:
    """The Hessian's largest eigenvalue against the batch size, its outliers, its density, and its layers and axes.

    Points are means over seeds with 95 % intervals, geometric ones on logarithmic axes.
    """
    fig, ((first, second, third), (fourth, fifth, sixth)) = style.figure(2, 3, 4.7)
    names = list(rows.data.unique())
    colours = itertools.cycle(dict.fromkeys((BLUE, VERMILION, GREEN, *COLOURS)))
    sets = dict(zip(names, itertools.islice(colours, len(names)), strict=True))
    first.set_yscale("log")
    for name, colour in sets.items():
        one = rows[rows.data == name]
        for part, line in SETS.items():
            style.curve(first, one, "batch_size", f"{part}_largest", color=colour, linestyle=line)
            style.curve(second, one, "batch_size", f"{part}_accuracy", color=colour, linestyle=line)
    first.set_ylabel("largest eigenvalue λ₁")
    second.set_ylabel("accuracy")
    for axes in (first, second):
        style.log_x(axes, "batch size")
    name = next(iter(sets))
    ends = {min(settings["batch_sizes"]): SKY, max(settings["batch_sizes"]): ORANGE}
    _ranks(third, eigenvalues[(eigenvalues.data == name) & (eigenvalues.classes == eigenvalues.classes.max())], ends)
    _smoothed(fourth, density[density.data == name], ends)
    style.log_ticks(third.yaxis)
    _by_layer(fifth, layers[(layers.data == name) & (layers["rank"] == 1)], ends)
    _along_axes(sixth, dimensions[dimensions.data == name], ends)
    for axes in (first, fifth):
        style.log_ticks(axes.yaxis)
    sizes = {f"{called(name)}, batch size {size}": {"color": colour} for size, colour in ends.items()}
    sets = {called(name): {"color": colour} for name, colour in sets.items()}
    style.legend(fig, sets | style.sets(BLACK) | sizes)
    return fig


def called(name) -> str:
    """A data set's name in the text."""
    return NAMES.get(name, name)


def _ranks(axes, rows, ends):
    """Eigenvalues by their rank, for the smallest and the largest batch size."""
    axes.set_yscale("log")
    for size, colour in ends.items():
        positive = rows[(rows.batch_size == size) & (rows.eigenvalue > 0)]
        style.curve(axes, positive, "rank", "eigenvalue", color=colour)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="rank", ylabel="eigenvalue", title="largest eigenvalues")


def _smoothed(axes, rows, ends):
    """The density in units of λ₁, the nodes of each net smoothed by Gaussians of 1 % of λ₁; mean over the nets."""
    grid, width = np.linspace(-0.1, 1.1, 1201), 0.01
    for size, colour in ends.items():
        nets = []
        for _, net in rows[rows.batch_size == size].groupby("seed"):
            steps = (grid[:, None] - net.node.to_numpy() / net.node.max()) / width
            nets.append(np.exp(-(steps**2) / 2) @ net.weight.to_numpy() / (width * np.sqrt(2 * np.pi)))
        if nets:
            axes.semilogy(grid, np.mean(nets, axis=0), color=colour)
    axes.set(xlabel="λ / λ₁", ylabel="density", title="all eigenvalues", ylim=(1e-5, 200))


def _by_layer(axes, rows, ends):
    """The largest eigenvalue of each layer's block."""
    names = list(rows.layer.unique())
    axes.set_yscale("log")
    for shift, (size, colour) in zip((-0.1, 0.1), ends.items(), strict=False):
        blocks = rows[rows.batch_size == size]
        blocks = blocks.assign(place=[names.index(layer) + shift for layer in blocks.layer])
        style.curve(axes, blocks, "place", "eigenvalue", color=colour, linestyle="")
    axes.set_xticks(range(len(names)), ["output" if name == "logits" else name.replace("_", " ") for name in names])
    axes.set(xlim=(-0.5, max(len(names), 1) - 0.5), ylabel="λ₁ of the layer's block", title="layers")


def _along_axes(axes, rows, ends):
    """All eigenvalues of the small net, and the curvatures along the parameter axes, sorted; means over the nets."""
    for size, colour in ends.items():
        means = rows[rows.batch_size == size].groupby("rank")[["eigenvalue", "curvature"]].mean()
        width = 2.8 if size == min(ends) else 1.2  # the curves of both sizes nearly coincide
        axes.plot(means.index, means.eigenvalue, color=colour, linewidth=width)
        axes.plot(means.index, means.curvature, color=colour, linewidth=width, linestyle=":")
    axes.set(xscale="log", xlabel="rank", ylabel="curvature", title="small net")
    axes.set_yscale("symlog", linthresh=1e-3)
    handles = [Line2D([], [], color=BLACK), Line2D([], [], color=BLACK, linestyle=":")]
    axes.legend(handles, ("eigenvalues of H", "diagonal of H"), loc="lower left")
