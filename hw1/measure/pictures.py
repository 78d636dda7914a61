"""The figures of a card, of one net or of several: each is told apart by line style and marker as well as by colour."""

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.measure import population

SIZE = (3.4, 2.5)  # inches
MOST_LAYERS = 20  # of the bars
MOST_PLANES = 4
WIDEST = 50  # characters that fit above a figure
_LOOKS = [{"color": colour, **line} for colour, line in zip(style.COLOURS, style.LINES, strict=False)]


class Picture:
    """A figure and what it shows, in words.

    Attributes:
        figure: of matplotlib.
        name: a short title.
        text: what is drawn.
        alternative: what a reader who does not see it is told.
    """

    def __init__(self, name: str, text: str, alternative: str, size=SIZE):
        """An empty figure."""
        self.figure = Figure(figsize=size, layout="constrained")
        self.name, self.text, self.alternative = name, text, alternative


def draw(cards, lines) -> list[Picture]:
    """All pictures that the cards have data for.

    Args:
        cards: a list of `hw1.measure.cards.Card`.
        lines: (name, name) → what `hw1.measure.surroundings.line` gives.
    """
    looks = dict(zip((card.name for card in cards), _LOOKS * len(cards), strict=False))
    markers = dict(zip(looks, (each["marker"] for each in style.MARKERS * len(cards)), strict=False))
    drawn = [
        _spectrum(cards, looks),
        _layers(cards, looks),
        _eigenvector(cards, looks),
        _random(cards, looks),
        *_planes(cards),
        _population(cards, looks, markers),
        _lines(lines),
    ]
    drawn = [picture for picture in drawn if picture]
    if len(cards) > 1:
        for picture in drawn:
            _legend(picture)
    return drawn


def _having(cards, name):
    return [card for card in cards if name in card.pictures]


def _numbers(pairs) -> str:
    return "; ".join(f"{name}: {text}" for name, text in pairs)


def _spectrum(cards, looks):
    """The density on a logarithmic axis, with the largest eigenvalues as ticks."""
    cards = _having(cards, "density")
    if not cards:
        return None
    told = [
        (card.name, f"λ from {card.pictures['density'][0].min():.3g} to {card.pictures['density'][0].max():.3g}")
        for card in cards
    ]
    text = (
        "Spectral density of the Hessian (Lanczos quadrature, smoothed by 1 % of the range; per unit of λ), and the "
        "largest eigenvalues as ticks."
    )
    picture = Picture("Spectrum", text, f"Density of the eigenvalues. {_numbers(told)}.")
    axes = picture.figure.subplots()
    for number, card in enumerate(cards):
        nodes, weights = card.pictures["density"]
        width = 0.01 * max(np.ptp(nodes), 1e-12)
        grid = np.linspace(nodes.min() - 3 * width, nodes.max() + 3 * width, 600)
        bumps = np.exp(-((grid[:, None] - nodes.ravel()) ** 2) / (2 * width**2)) / (width * np.sqrt(2 * np.pi))
        axes.semilogy(
            grid, np.maximum(bumps @ weights.ravel() / len(nodes), 1e-12), label=card.name, **looks[card.name]
        )
        if "eigenvalues" in card.pictures:
            values = card.pictures["eigenvalues"]
            axes.plot(values, np.full(len(values), 2e-7 * 3**number), "|", color=looks[card.name]["color"], ms=6)
    axes.set(xlabel="eigenvalue λ of H", ylabel="density", ylim=(1e-7, None))
    return picture


def _layers(cards, looks):
    """Largest eigenvalue and trace of each layer, as bars with their errors."""
    found = {}
    for card in cards:
        for kind in ("layer_norm/", "layer_trace/"):
            for row in card.rows:
                if row.measure.startswith(kind):
                    found.setdefault(kind, {}).setdefault(row.measure.removeprefix(kind), {})[card.name] = row
    if "layer_trace/" not in found:
        return None
    traces = found["layer_trace/"]
    order = sorted(traces, key=lambda layer: -max(abs(row.value) for row in traces[layer].values()))[:MOST_LAYERS]
    order = [layer for layer in traces if layer in order]
    more = f" The {MOST_LAYERS} layers of largest trace of {len(traces)}." if len(traces) > len(order) else ""
    kinds = {"layer_trace/": "trace"} | ({"layer_norm/": "largest |λ|"} if "layer_norm/" in found else {})
    what = "Trace and largest eigenvalue" if len(kinds) > 1 else "Trace"
    text = f"{what} of each layer's block of the Hessian, with standard errors.{more}"
    told = [(layer, ", ".join(f"{row.value:.3g}" for row in traces[layer].values())) for layer in order]
    height = max(SIZE[1], 0.6 + 0.16 * len(order) * max(1, len(cards)))
    picture = Picture("Layers", text, f"Traces by layer. {_numbers(told)}.", (SIZE[0], height))
    panels = picture.figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    hatches = ["", "//", "..", "xx", "\\\\", "++"]
    for axes, (kind, label) in zip(panels, kinds.items(), strict=True):
        for number, card in enumerate(cards):
            rows = [found.get(kind, {}).get(layer, {}).get(card.name) for layer in order]
            places = np.arange(len(order)) + (number - (len(cards) - 1) / 2) * 0.8 / len(cards)
            values = [np.nan if row is None else row.value for row in rows]
            errors = [
                np.nan if row is None or not np.isfinite(row.standard_error or 0) else row.standard_error or 0
                for row in rows
            ]
            axes.barh(
                places,
                values,
                0.8 / len(cards),
                xerr=errors,
                color=looks[card.name]["color"],
                hatch=hatches[number % len(hatches)],
                edgecolor="white",
                error_kw={"elinewidth": 0.8},
                label=card.name,
            )
        axes.set_xlabel(label)
        axes.locator_params(axis="x", nbins=3)
        axes.ticklabel_format(axis="x", scilimits=(-3, 4))
    panels[0].set_yticks(range(len(order)), [layer if len(layer) < 22 else f"…{layer[-20:]}" for layer in order])
    panels[0].invert_yaxis()
    return picture


def _eigenvector(cards, looks):
    """The slice along the top eigenvector, with its quadratic."""
    cards = _having(cards, "eigenvector")
    if not cards:
        return None
    text = (
        "The loss along the eigenvector of the largest |λ|, and the quadratic of gradient and curvature (dotted), up "
        "to where the curvature alone raises a cross-entropy by 1, or doubles any other loss."
    )
    told = [
        (
            card.name,
            f"{card.pictures['eigenvector']['loss'].min():.3g} to {card.pictures['eigenvector']['loss'].max():.3g}",
        )
        for card in cards
    ]
    picture = Picture("Top eigenvector", text, f"Loss along the top eigenvector. {_numbers(told)}.")
    axes = picture.figure.subplots()
    for card in cards:
        found = card.pictures["eigenvector"]
        axes.plot(found["steps"], found["loss"], label=card.name, **looks[card.name])
        axes.plot(found["steps"], found["quadratic"], color=looks[card.name]["color"], linestyle=":", linewidth=0.8)
    axes.set(xlabel="‖Δθ‖ along the eigenvector", ylabel="loss")
    return picture


def _random(cards, looks):
    """Slices along random directions."""
    cards = _having(cards, "random")
    if not cards:
        return None
    text = (
        "The loss along three random directions whose filters have the norms of the net's own (Li et al.); 1 moves "
        "each filter by its own norm. Batch normalisation keeps its statistics."
    )
    ends = [(card.name, f"{card.pictures['random']['loss'][:, [0, -1]].mean():.3g} at the ends") for card in cards]
    picture = Picture("Random directions", text, f"Loss along random directions. {_numbers(ends)}.")
    axes = picture.figure.subplots()
    for card in cards:
        found = card.pictures["random"]
        for number, loss in enumerate(found["loss"]):
            axes.plot(found["steps"], loss, label=card.name if not number else None, **looks[card.name])
    axes.set(xlabel="step", ylabel="loss", xticks=(-1, -0.5, 0, 0.5, 1))
    return picture


def _planes(cards):
    """The loss in a plane, a picture a net."""
    for card in _having(cards, "plane")[:MOST_PLANES]:
        found = card.pictures["plane"]
        loss, steps = found["loss"], found["steps"]
        text = f"{card.name}: the loss in the plane of two such directions. The cross is the net."
        told = f"from {loss.min():.3g} to {loss.max():.3g}"
        picture = Picture(f"Landscape of {card.name}", text, f"Loss in a plane around {card.name}, {told}.")
        axes = picture.figure.subplots()
        is_positive = loss.min() > 0 and np.isfinite(loss).all()
        levels = np.geomspace(loss.min(), loss.max(), 10) if is_positive and loss.max() > loss.min() else 10
        shades = axes.contourf(steps, steps, loss, levels, cmap="cividis", norm=LogNorm() if is_positive else None)
        lines = axes.contour(steps, steps, loss, levels, colors="white", linewidths=0.5)
        axes.clabel(lines, fmt="%.2g", fontsize=6)
        axes.plot(0, 0, "x", color="white", markersize=6, markeredgewidth=1.5)
        axes.set(xlabel="step along direction 1", ylabel="step along direction 2")
        axes.grid(visible=False)
        picture.figure.colorbar(shades, label="loss", format="%.2g")
        yield picture


def _population(cards, looks, markers):
    """The percentile of each measure among the project's nets."""
    found = {card.name: card.percentiles for card in cards if card.percentiles}
    if not found:
        return None
    measures = [name for name in population.SOURCES if any(name in each for each in found.values())]
    nets = dict.fromkeys(population.SOURCES[name].nets for name in measures)
    text = (
        f"The share of this project's nets that have a smaller value, in per cent. They are {population.NETS}: "
        + "; ".join(nets)
        + "."
    )
    told = [
        (name, ", ".join(f"{measure} {value:.0f}" for measure, value in each.items())) for name, each in found.items()
    ]
    picture = Picture("Among other nets", text, f"Percentiles. {_numbers(told)}.")
    axes = picture.figure.subplots()
    for number, (name, each) in enumerate(found.items()):
        shift = (number - (len(found) - 1) / 2) * 0.6 / len(found)  # equal percentiles side by side
        places = [place + shift for place, measure in enumerate(measures) if measure in each]
        percents = [each[measure] for measure in measures if measure in each]
        axes.plot(percents, places, markers[name], color=looks[name]["color"], markersize=5, label=name, clip_on=False)
    axes.set_yticks(range(len(measures)), measures)
    axes.invert_yaxis()
    axes.set(xlabel="percentile", xlim=(0, 100))
    return picture


def _lines(lines):
    """The loss on the straight lines between nets."""
    if not lines:
        return None
    told = [(" to ".join(pair), f"barrier {found['barrier']:.3g}") for pair, found in lines.items()]
    text = "The loss on the straight line between nets of one architecture. " + _numbers(told) + "."
    picture = Picture("Between the nets", text, text)
    axes = picture.figure.subplots()
    for (pair, found), look in zip(lines.items(), style.looks(lines).values(), strict=True):
        axes.plot(found["alphas"], found["loss"], label=" → ".join(pair), **look)
    axes.set(xlabel="α", ylabel="loss")
    return picture


def _legend(picture):
    """Names the nets above the panels, where nothing is drawn that it would hide or be taken for."""
    handles, names = picture.figure.axes[0].get_legend_handles_labels()
    if names:
        columns = min(len(names), max(1, WIDEST // (max(map(len, names)) + 6)))
        picture.figure.legend(handles, names, loc="outside upper center", ncols=columns)
