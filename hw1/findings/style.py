"""What all figures share: sizes, colours, and lines with intervals."""

import math

import matplotlib
import matplotlib.lines
import matplotlib.ticker
import numpy as np
from matplotlib.figure import Figure

from hw1 import statistics

WIDTH = 6.8  # inches: the text width of the report, so that fonts are printed at their size
# Okabe and Ito's palette, which people with colour-blindness can tell apart.
BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
SKY = "#56B4E9"
BLACK = "#222222"
COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK)
DEPTH_COLOURS = (BLUE, GREEN, VERMILION, *COLOURS)  # of nets of different depth, the deepest first
TRAIN, TEST = "-", "--"  # line styles
SETS = {"train": TRAIN, "test": TEST}
LINES = [{"linestyle": line} for line in ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 4)))]
MARKERS = [{"marker": marker} for marker in "osD^vP*X<>"]
ASIDE = 1.08  # factor
LOSS, ACCURACY = "cross-entropy (nats)", "accuracy"

matplotlib.rcParams.update(
    {
        "font.size": 8,
        "axes.labelsize": 8,
        "axes.titlesize": 8.5,
        "legend.fontsize": 7,
        "legend.frameon": False,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "lines.linewidth": 1.2,
        "lines.markersize": 3,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#dddddd",
        "grid.linewidth": 0.5,
        "pdf.fonttype": 42,
        "savefig.dpi": 200,
    }
)


def looks(names, colours=COLOURS, by: str = "color") -> dict:
    """Name → a look of its own, however many names there are: colours in turn, then other line styles and markers.

    Args:
        names: what is drawn, in order.
        colours: of the first names.
        by: "color" for lines, which differ in colour first and then in line style; "marker" for points, which differ in
            marker first and then in colour.
    """
    shades = [{"color": colour} for colour in dict.fromkeys(colours)]
    first, second = (shades, LINES) if by == "color" else (MARKERS, shades)
    return {name: first[i % len(first)] | second[i // len(first) % len(second)] for i, name in enumerate(names)}


def figure(rows: int, columns: int, height: float, **options):
    """A figure of the report's width with rows × columns panels of the given total height in inches."""
    fig = Figure(figsize=(WIDTH, height), layout="constrained")
    return fig, fig.subplots(rows, columns, **options)


def curve(axes, rows, by: str, value: str, band: bool = False, **style) -> None:
    """Draws the mean of `value` against `by` with its 95 % interval, as bars or as a band.

    Set the scale of the y axis first: on a logarithmic one mean and interval are those of the logarithm, except where a
    value is 0 or below, whose mean is the arithmetic one.
    """
    logarithmic = axes.get_yscale() == "log"
    means = statistics.summary(rows.dropna(subset=[value]), by, value, geometric=logarithmic)
    if means.empty:  # every net diverged
        return
    style.setdefault("marker", "" if band else "o")
    (line,) = axes.plot(means[by], means.value, **style)
    low, high = means.low.fillna(means.value), means.high.fillna(means.value)
    if band:
        axes.fill_between(means[by], low, high, color=line.get_color(), alpha=0.18, linewidth=0)
    else:
        bars = [means.value - low, high - means.value]
        axes.errorbar(means[by], means.value, bars, fmt="none", ecolor=line.get_color(), elinewidth=0.8, capsize=1.5)


def across(axes, interval, place: float, **look) -> None:
    """A point at the height `place` with its 95 % interval along x; nothing where there is no value."""
    value, low, high = interval[:3]
    axes.plot([value], [place], linestyle="", **look)
    axes.plot([low, high], [place, place], color=look["color"], linewidth=0.8)


def twin(axes, colour: str, label: str):
    """A second y axis on the right in its own colour."""
    right = axes.twinx()
    right.grid(visible=False)
    colour_axis(right, colour, label, side="right")
    return right


def colour_axis(axes, colour: str, label: str, side: str = "left") -> None:
    """Colours a y axis and its label like the curves that belong to it."""
    axes.set_ylabel(label, color=colour)
    axes.tick_params(axis="y", which="both", colors=colour)
    axes.spines[side].set_color(colour)
    axes.spines["right"].set_visible(side == "right")


def legend(figure, entries: dict[str, dict]) -> None:
    """A legend above all panels, made of label → line style."""
    handles = [matplotlib.lines.Line2D([], [], label=label, **style) for label, style in entries.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))


def sets(colour: str) -> dict[str, dict]:
    """The legend's entries of training and test lines."""
    return {"training": {"color": colour, "linestyle": TRAIN}, "test": {"color": colour, "linestyle": TEST}}


def of_depths(nets) -> dict[str, object]:
    """Net → its colour, from the deepest to the shallowest; as many different ones as there are nets."""
    nets, colours = list(nets), list(dict.fromkeys(DEPTH_COLOURS))
    if len(nets) > len(colours):
        colours = matplotlib.colormaps["turbo"](np.linspace(0.02, 0.98, len(nets)))
    return dict(zip(nets, colours[: len(nets)], strict=True))


def shades(batch_sizes) -> dict[int, tuple]:
    """Batch size → colour, from dark to light."""
    sizes = sorted(batch_sizes)
    return dict(zip(sizes, matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(sizes))), strict=True))


def named(quantity: str, looks: dict) -> dict[str, dict]:
    """A legend's entries of value → line style, of which only the first names the quantity: "batch size 10", "50"."""
    labels = [f"{value:g}" for value in looks]
    labels[0] = f"{quantity} {labels[0]}"
    return dict(zip(labels, looks.values(), strict=True))


def line_between(axes, rows) -> None:
    """Loss (blue, left, logarithmic) and accuracy (orange, right) against α on the line between two nets, at 0 and 1."""
    axes.set_yscale("log")
    right = twin(axes, VERMILION, ACCURACY)
    colour_axis(axes, BLUE, LOSS)
    for part, line in SETS.items():
        curve(axes, rows, "alpha", f"{part}_loss", band=True, color=BLUE, linestyle=line)
        curve(right, rows, "alpha", f"{part}_accuracy", band=True, color=VERMILION, linestyle=line)
    right.set_ylim(0, 1.03)
    for end in (0, 1):
        axes.axvline(end, color="#888888", linewidth=0.8, linestyle=":")


def with_batch_size(panels, rows, column: str, label: str) -> None:
    """Loss and accuracy on the left axes of two panels, a measure on their right axes, against the batch size.

    What belongs to the right axis is drawn `ASIDE` to the right, so that error bars do not cover each other.
    """
    measured = rows.assign(batch_size=rows.batch_size * ASIDE)
    for axes, quantity, name in zip(panels, ("loss", "accuracy"), (LOSS, ACCURACY), strict=True):
        for part, line in SETS.items():
            curve(axes, rows, "batch_size", f"{part}_{quantity}", color=BLUE, linestyle=line)
        log_x(axes, "batch size")
        colour_axis(axes, BLUE, name)
        right = twin(axes, GREEN, label)
        curve(right, measured, "batch_size", column, color=GREEN)


def log_x(axes, label: str) -> None:
    """A logarithmic x axis that labels the powers of ten, and what is between them where it shows few of those."""
    axes.set(xscale="log", xlabel=label)
    log_ticks(axes.xaxis)
    low, high = axes.dataLim.intervalx
    if 0 < low <= high < 1.01 * low:  # one value, around which Matplotlib would show nothing
        axes.set(xlim=(low / 3, 3 * low), xticks=[low], xticklabels=[f"{low:g}"])
        axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())


def log_ticks(axis) -> None:
    """Labels a logarithmic axis in one format: by powers of ten, or by plain numbers where it shows few of those."""
    axis.set_major_formatter(Decades())
    axis.set_minor_formatter(BetweenDecades())


def _decades(axis) -> float:
    """How many decades an axis shows."""
    low, high = axis.get_view_interval()
    return math.log10(high / low)


def _plain(value) -> str:
    """A tick's number as it is, or with a power of ten where it is very small or large."""
    if 1e-3 <= value < 1e5:
        return f"{value:g}"
    mantissa, exponent = f"{value:.0e}".split("e")
    return rf"${mantissa} \cdot 10^{{{int(exponent)}}}$"


class Decades(matplotlib.ticker.LogFormatterMathtext):
    """Labels the powers of ten: plainly on an axis of less than some two decades, else as powers."""

    def __call__(self, value, position=None):
        """The label of a major tick."""
        return _plain(value) if _decades(self.axis) < 2 else super().__call__(value, position)


class BetweenDecades(matplotlib.ticker.Formatter):
    """Labels 2 and 5 times a power of ten on an axis of less than some two decades, all on less than half a one."""

    def __call__(self, value, position=None):
        """The label of a minor tick."""
        digit, decades = round(value / 10 ** math.floor(math.log10(value))), _decades(self.axis)
        return _plain(value) if decades < 0.5 or (decades < 2 and digit in (2, 5)) else ""
