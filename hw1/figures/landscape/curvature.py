"""The figures of spectra and of loss functions. Functions as in `hw1.figures.generalization`.

Points and lines are means over seeds, geometric ones on logarithmic axes; bars and bands are 95 % t-intervals of the
mean. Solid is training, dashed test.
"""

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter, MaxNLocator

from hw1.figures import style
from hw1.figures.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SETS, SKY, VERMILION


def spectrum(frame, settings, eigenvalues, density, layers, dimensions, **_):
    """The Hessian's spectrum against the batch size, its outliers, its density, and its layers and axes."""
    figure, ((first, second, third), (fourth, fifth, sixth)) = style.figure(2, 3, 4.7)
    sets = dict(zip(dict.fromkeys(frame.data), (BLUE, VERMILION, GREEN, PURPLE), strict=False))
    first.set_yscale("log")
    for name, colour in sets.items():
        rows = frame[frame.data == name]
        for part, line in SETS.items():
            style.curve(first, rows, "batch_size", f"{part}_largest", color=colour, linestyle=line)
            style.curve(second, rows, "batch_size", f"{part}_accuracy", color=colour, linestyle=line)
    first.set_ylabel("dominant eigenvalue λ₁")
    second.set_ylabel("accuracy")
    for axes in (first, second):
        style.log_x(axes, "batch size")
    name = next(iter(sets))
    ends = {min(settings["batch_sizes"]): SKY, max(settings["batch_sizes"]): ORANGE}
    _ranks(third, eigenvalues[(eigenvalues.data == name) & (eigenvalues.classes == eigenvalues.classes.max())], ends)
    third.set(xlabel="rank", ylabel="eigenvalue", title="largest eigenvalues")
    _smoothed(fourth, density[density.data == name], ends)
    _by_layer(fifth, layers[(layers.data == name) & (layers["rank"] == 1)], ends)
    _along_axes(sixth, dimensions[dimensions.data == name], ends)
    sizes = {f"{name}, batch {size}": {"color": colour} for size, colour in ends.items()}
    first.yaxis.set_major_formatter(LogFormatter())
    first.yaxis.set_minor_formatter(style.BetweenDecades())
    style.legend(figure, {name: {"color": colour} for name, colour in sets.items()} | style.sets(BLACK) | sizes)
    return figure


def _ranks(axes, frame, ends):
    """Eigenvalues by their rank, for the smallest and the largest batch."""
    axes.set_yscale("log")
    for size, colour in ends.items():
        style.curve(
            axes, frame[(frame.batch_size == size) & (frame.eigenvalue > 0)], "rank", "eigenvalue", color=colour
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _smoothed(axes, frame, ends):
    """The density in units of λ₁, the nodes of each net smoothed by Gaussians of 1 % of λ₁; mean over the nets."""
    grid, width = np.linspace(-0.1, 1.1, 1201), 0.01
    for size, colour in ends.items():
        nets = []
        for _, net in frame[frame.batch_size == size].groupby("seed"):
            steps = (grid[:, None] - net.node.to_numpy() / net.node.max()) / width
            nets.append(np.exp(-(steps**2) / 2) @ net.weight.to_numpy() / (width * np.sqrt(2 * np.pi)))
        if nets:
            axes.semilogy(grid, np.mean(nets, axis=0), color=colour)
    axes.set(xlabel="λ / λ₁", ylabel="density", title="all eigenvalues", ylim=(1e-5, 200))


def _by_layer(axes, frame, ends):
    """The largest eigenvalue of each layer's block."""
    names = list(dict.fromkeys(frame.layer))
    axes.set_yscale("log")
    for shift, (size, colour) in zip((-0.1, 0.1), ends.items(), strict=False):
        rows = frame[frame.batch_size == size]
        rows = rows.assign(place=rows.layer.map(names.index) + shift)
        style.curve(axes, rows, "place", "eigenvalue", color=colour, linestyle="")
    axes.set_xticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.set(xlim=(-0.5, max(len(names), 1) - 0.5), ylabel="λ₁ of the layer's block", title="layers")


def _along_axes(axes, frame, ends):
    """All eigenvalues of the small net, and the curvatures along the axes, sorted; means over the nets."""
    for size, colour in ends.items():
        means = frame[frame.batch_size == size].groupby("rank")[["eigenvalue", "curvature"]].mean()
        axes.plot(means.index, means.eigenvalue, color=colour)
        axes.plot(means.index, means.curvature, color=colour, linestyle=":")
    axes.set(xscale="log", xlabel="rank", ylabel="curvature", title="small net")
    axes.set_yscale("symlog", linthresh=1e-3)
    handles = [Line2D([], [], color=BLACK), Line2D([], [], color=BLACK, linestyle=":")]
    axes.legend(handles, ("eigenvalues of H", "diagonal of H"), loc="lower left")


def loss_functions(frame, settings, spectrum, lines):
    """The norms of the Hessian's parts along training, the spectra at the end, and lines between solutions."""
    figure, ((*along, fourth), below) = style.figure(2, 4, 4.4)
    losses = dict(zip(dict.fromkeys(frame.loss), (BLUE, ORANGE, GREEN), strict=False))
    parts = {"hessian": ("‖H‖₂", BLACK), "gauss_newton": ("‖G‖₂", PURPLE), "residual": ("‖R‖₂", SKY)}
    for axes, name in zip(along, losses, strict=False):
        axes.set_xscale("symlog", linthresh=1)
        axes.set_yscale("log")
        for (part, (_, colour)), width in zip(parts.items(), (2.6, 1.2, 1.2), strict=True):
            rows = frame[(frame.loss == name) & (frame[part] > 0)]
            style.curve(axes, rows, "epoch", part, color=colour, linewidth=width)
        axes.set(xlabel="epoch", title=f"trained by {name}")
        axes.sharey(along[0])
    along[0].set_ylabel("spectral norm")
    _shares(fourth, frame, losses)
    for axes in (*along, fourth):
        axes.set_xticks(settings["epochs"], settings["epochs"])
    _end_spectra(below[:2], spectrum, losses)
    _solution_lines(below[2:], lines, losses)
    names = {f"solutions of {name}": {"color": colour} for name, colour in losses.items()}
    style.legend(figure, {name: {"color": colour} for name, colour in parts.values()} | names)
    return figure


def _shares(axes, frame, losses):
    """The residual's share of the Hessian's norm along training."""
    axes.set_xscale("symlog", linthresh=1)
    rows = frame.assign(share=frame.residual / frame.hessian)
    for name, colour in losses.items():
        style.curve(axes, rows[rows.loss == name], "epoch", "share", color=colour)
    axes.set(xlabel="epoch", title="‖R‖₂ / ‖H‖₂")


def _end_spectra(panels, spectrum, losses):
    """The largest eigenvalues at the end, of the own loss and of the nll."""
    values = spectrum[(spectrum.quantity == "eigenvalue") & (spectrum.value > 0)]
    own = values[values.measured == values.loss]
    for axes, rows, title in zip(
        panels, (own, values[values.measured == "nll"]), ("Hessian of the own loss", "Hessian of the nll"), strict=True
    ):
        axes.set_yscale("log")
        for name, colour in losses.items():
            style.curve(axes, rows[rows.loss == name], "rank", "value", color=colour)
        axes.set(xlabel="rank", title=title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylabel("eigenvalue at the end")


def _solution_lines(panels, lines, losses):
    """Training error along the lines to the next loss's solution and to another seed's."""
    rows = lines.assign(error=100 * (1 - lines.train_accuracy))
    for axes, kind, where in zip(panels, ("other loss", "other seed"), ("the next loss", "another seed"), strict=True):
        some = rows[rows.kind == kind]
        for name, colour in losses.items():
            style.curve(axes, some[some.loss == name], "alpha", "error", band=True, color=colour)
        axes.set(xlabel="α", title=f"line to {where}", ylim=(0, 100))
    panels[0].set_ylabel("training error (%)")


QUESTIONS = (
    spectrum,
    loss_functions,
)
