"""Figure, claims and text. What smoothing does to minima, curvature and barriers, and whether tracking helps.

Reads the rows of `hw1.paths.smoothing` (f, width, seed, minima, curvature, barrier, effective, effective_plane) and the
table "tracking" (f, seed, start, track, single, restarts, effective, begun).
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import BLUE, GREEN, ORANGE, VERMILION
from hw1.findings.verdict import OWN, Claim, claim
from hw1.findings.words import listed, net, number, plural, show, sign
from hw1.statistics import NOTHING, Interval, geometric_mean, mean_interval, paired_difference

PARDALOS = "Pardalos et al., J. Global Optimization 4 (1994)"
MEAN, ENERGY = "x", "exp(−x/kT)"
LOOKS = {
    MEAN: {"color": BLUE, "marker": "o", "linestyle": "-"},
    ENERGY: {"color": VERMILION, "marker": "s", "linestyle": "--"},
}
IN_PLANE = "effective_plane"
QUANTITIES = {"minima": IN_PLANE, "curvature": "effective", "barrier": "effective"}  # what decides whether it counts


def by_width(rows, settings, f: str, quantity: str) -> pd.DataFrame:
    """A quantity by seed and Λ; NaN where too few draws count. Λ at which no seed has enough are left out."""
    part = rows[rows.f == f]
    enough = (f == MEAN) | (part[QUANTITIES[quantity]] > settings["effective"]) | (part.width == 0)
    values = part.assign(value=part[quantity].where(enough))
    return values.pivot(index="seed", columns="width", values="value").dropna(axis=1, how="all")


def widest(rows, settings, f: str, quantity: str) -> float:
    """The largest Λ at which all seeds have enough draws; 0 where there is none."""
    return float(by_width(rows, settings, f, quantity).dropna(axis=1).columns.max())


def change(rows, settings, f: str, quantity: str) -> Interval:
    """What a quantity is at the widest Λ, less what it is without smoothing; of curvature the ratio."""
    found = by_width(rows, settings, f, quantity)
    last = widest(rows, settings, f, quantity)
    if last == 0:
        return NOTHING
    if quantity == "curvature" and (found[[0, last]] > 0).all(axis=None):
        return geometric_mean(found[last] / found[0])
    return paired_difference(found[last], found[0])


def of_seeds(tracking, f: str) -> pd.DataFrame:
    """By seed: the geometric mean of the losses over the starts of tracked and single descents, and the best restart.

    "best" is the least loss of all the tracks of a seed.
    """
    part = tracking[tracking.f == f]
    found = part.groupby("seed")[["track", "single", "restarts"]].agg(lambda values: np.exp(np.log(values).mean()))
    return found.assign(best=part.groupby("seed").track.min())


def figure(rows, settings, tracking) -> Figure:
    """Number of minima, curvature and barrier against Λ; the losses that tracking and restarts end with."""
    fig, axes = style.figure(1, 4, 2.5)
    labels = ("minima in a plane", "largest eigenvalue", "barrier on a line")
    axes[1].set_yscale("log")
    least = min(width for width in settings["widths"] if width > 0)
    for panel, quantity, label in zip(axes, QUANTITIES, labels, strict=False):
        for number_, (f, look) in enumerate(LOOKS.items()):
            found = by_width(rows, settings, f, quantity).melt(ignore_index=False).dropna()
            found["width"] = found["width"].replace(0.0, least / 2) * 1.05 ** (2 * number_ - 1)
            style.curve(panel, found[found.value > 0] if quantity == "curvature" else found, "width", "value", **look)
        panel.set(xscale="log", xlabel="width Λ", ylabel=label)
        ticks = [least / 2, *[width for width in settings["widths"] if width > 0]]
        panel.set_xticks(ticks, ["0", *[f"{width:g}" for width in ticks[1:]]], rotation=45)
        panel.minorticks_off()
    _ends(axes[3], tracking)
    style.legend(fig, {f"f(x) = {f}": look for f, look in LOOKS.items()})
    return fig


def _ends(axes, tracking):
    """Final losses, a point a seed, and their geometric means."""
    axes.set_yscale("log")
    places = {(MEAN, "track"): 0, (ENERGY, "track"): 1, (MEAN, "single"): 2, (MEAN, "restarts"): 3}
    for (f, way), place in places.items():
        values = of_seeds(tracking, f)[way]
        colour = LOOKS[f]["color"] if way == "track" else {"single": ORANGE, "restarts": GREEN}[way]
        axes.plot(np.full(len(values), place), values, linestyle="", marker="o", color=colour, alpha=0.35)
        axes.plot([place + 0.25], [geometric_mean(values).value], linestyle="", marker="_", color=colour, markersize=9)
    axes.set_xticks(range(4), ["tracked, x", "tracked, exp", "one descent", "restarts"], rotation=45, fontsize=6)
    axes.set(ylabel="loss at the end", xlim=(-0.5, 3.6))


def claims(rows, settings, tracking) -> Iterator[Claim]:
    """Smoothing removes minima, curvature and barriers; tracking beats one descent, and restarts of equal cost."""
    said = {
        "minima": "Smoothing leaves fewer minima (number in a plane",
        "curvature": "Smoothing lowers the largest eigenvalue of the Hessian at solutions (ratio",
        "barrier": "Smoothing lowers the barrier between two solutions (difference",
    }
    for f in LOOKS:
        for quantity, sentence in said.items():
            found, last = change(rows, settings, f, quantity), widest(rows, settings, f, quantity)
            yield claim(
                PARDALOS,
                f"{sentence}, Λ = {last:g} against none, f(x) = {f})",
                found,
                below=1 if found.scale == "log" else 0,
            )
    for f in LOOKS:
        ends = of_seeds(tracking, f)
        yield claim(
            PARDALOS,
            f"Tracking the minimum as Λ → 0 ends lower than descent from the same start (ratio of losses, f(x) = {f})",
            geometric_mean(ends.track / ends.single),
            below=1,
        )
        yield claim(
            OWN,
            f"One tracked descent does not end lower than the best of restarts at equal evaluations (ratio of losses, f(x) = {f})",
            geometric_mean(ends.track / ends.restarts),
            above=1,
        )


def comment(rows, settings, tracking) -> dict:
    """What smoothing changes, where e^(−x/kT) can be computed, and what tracking is good for."""
    widths = [1, *settings["hidden"], 1]
    starts = "start" if settings["tracks"] == 1 else "starts"
    return {
        "title": "Smoothed losses",
        "method": f"Nets {net(widths, 'tanh')} learn sin(5πx)/(5πx) from {settings['points']} points. Their loss is convolved with an isotropic Gaussian of standard deviation Λ in parameter space, by {settings['draws']} common random vectors, for f(x) = x (the mean loss nearby) and f(x) = exp(−x/kT), kT = {settings['temperature']:g} (minus kT times the logarithm of the mean of f). The second counts only where the effective sample size is above {settings['effective']:g}. Minima are counted on a grid of {settings['grid']} × {settings['grid']} points in the plane through three solutions, smoothed within the plane. To track the minimum, Adam takes {settings['steps']:,} steps while Λ falls from {settings['tracked']:g} to 0, from {settings['tracks']} {starts} of each seed; {settings['draws']} plain descents cost as much. From the end of each search plain descent takes {settings['steps']:,} steps more.",
        "caption": f"Number of minima in a plane, largest eigenvalue of the Hessian at solutions, and barrier on the line between two of them, against Λ, of exp(−x/kT) for the seeds whose effective sample size is above {settings['effective']:g}; losses at the end of tracked descents, plain descents from the same starts, and the best of {settings['draws']} restarts. Means over {settings['seeds']} seeds with 95 % intervals; right, a point a seed.",
        "comment": [_of_smoothing(rows, settings, f) for f in LOOKS] + [_of_tracking(settings, tracking)],
    }


def _of_smoothing(rows, settings, f) -> str:
    """Minima, curvature and barrier without smoothing and at the widest Λ that counts."""
    nouns = {"minima": "number of minima in the plane", "curvature": "largest eigenvalue", "barrier": "barrier"}
    parts = []
    for quantity, noun in nouns.items():
        found, last = by_width(rows, settings, f, quantity), widest(rows, settings, f, quantity)
        verb = {1: "rises", 0: "does not change measurably", -1: "falls"}
        if last == 0:
            parts.append(f"the {noun} cannot be told at any Λ, as too few draws count")
            continue
        moved = change(rows, settings, f, quantity)
        way = verb[sign(moved, 1.0 if moved.scale == "log" else 0.0)]
        before, after = (show(mean_interval(found[width]), 2) for width in (0, last))
        parts.append(f"the {noun} {way} from {before} to {after} at Λ = {last:g}")
    text = f"With f(x) = {f}, {listed(parts)}."
    if f == ENERGY:
        part = rows[(rows.f == f) & (rows.width > 0)]
        sizes = part.groupby("width")[["effective", IN_PLANE]].mean()
        text += f" The effective sample size falls from {number(sizes.effective.iloc[0], 2)} of {settings['draws']} draws at Λ = {sizes.index[0]:g} to {number(sizes.effective.iloc[-1], 2)} at Λ = {sizes.index[-1]:g}."
    return text


def _of_tracking(settings, tracking) -> str:
    """The losses that tracking, one descent and restarts end with."""
    parts = []
    for f in LOOKS:
        ends = of_seeds(tracking, f)
        ratio = geometric_mean(ends.track / ends.single)
        how = {1: "higher than", 0: "not measurably different from", -1: "lower than"}[sign(ratio, 1.0)]
        begun = tracking[tracking.f == f].begun.mean()
        parts.append(
            f"Tracked with f(x) = {f}, from Λ = {number(begun, 2)} on average, descent ends at a loss of {show(geometric_mean(ends.track), 2)}, {how} that of plain descent from the same start ({show(ratio, 2)} times its loss)."
        )
    ends = of_seeds(tracking, MEAN)
    better = {f: int((of_seeds(tracking, f).best < of_seeds(tracking, f).restarts).sum()) for f in LOOKS}
    counts = listed(f"{found} of {plural(len(ends), 'seed')} for f(x) = {f}" for f, found in better.items())
    parts.append(
        f"The best of {settings['draws']} restarts, which cost as much as one track, ends at {show(geometric_mean(ends.restarts), 2)}; the best track of a seed is below it in {counts}."
    )
    return " ".join(parts)
