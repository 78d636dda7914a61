"""Figure, claims and text. Where is the gradient zero, and in what share of the directions does the loss rise there? Loss and minimal ratio.

Reads the rows of `hw1.optimization.zero_gradient` (seed, method, gradient_norm, loss, the minimal ratios, the extreme
eigenvalues and numbers of eigenvalues, trained_loss).
"""

from collections.abc import Iterator

import numpy as np
import scipy.stats
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.verdict import HOMEWORK, Claim, claim
from hw1.findings.words import net, number, part_of, plural, span
from hw1.statistics import mean_interval, rank_correlation

SECOND_ORDER, NORM = "Levenberg–Marquardt", "gradient norm"  # the two methods
ZERO_LOSS = 1e-3  # below which a loss counts as zero: far below the plateau
ZERO_GRADIENT = 1e-8  # ‖∇L‖₂ below which a gradient counts as zero
PLATEAU = 0.087  # the variance of sin(5πx)/(5πx) over (0, 1]: the least loss of a constant output
RATIOS = {
    "minimal_ratio": "minimal ratio: share of eigenvalues above zero",
    "minimal_ratio_sampled": "sampled: share of neighbours with higher loss",
}


def figure(rows, settings) -> Figure:
    """Loss against the minimal ratio by both definitions, one point per net and method, coloured by the gradient norm."""
    fig, panels = style.figure(1, 2, 2.5, sharey=True)
    markers = {NORM: "o", SECOND_ORDER: "D"}
    look = {
        "s": 12,
        "norm": LogNorm(rows.gradient_norm.min(), rows.gradient_norm.max()),
        "cmap": "viridis",
        "linewidths": 0.2,
        "edgecolors": "white",
        "zorder": 2,
    }
    for axes, (ratio, label) in zip(panels, RATIOS.items(), strict=True):
        axes.set(yscale="log", xlim=(-0.03, 1.03), xlabel=label)
        for method, marker in markers.items():
            points = rows[rows.method == method]
            dots = axes.scatter(points[ratio], points.loss, c=points.gradient_norm, marker=marker, **look)
        axes.axhline(PLATEAU, color="#888888", linewidth=0.8, linestyle=":")
    panels[0].set_ylabel("loss (mean squared error)")
    panels[0].text(0.0, PLATEAU / 2, "plateau on the slides", fontsize=6, color="#666666", va="top")
    fig.colorbar(dots, ax=panels, label="final ‖∇L‖₂", pad=0.01)
    grey = {"color": "#777777", "linestyle": ""}
    looks = {
        "Adam on ‖∇L‖²": {**grey, "marker": markers[NORM]},
        SECOND_ORDER: {**grey, "marker": markers[SECOND_ORDER]},
    }
    style.legend(fig, looks)
    return fig


def claims(rows, settings) -> Iterator[Claim]:
    """The minimal ratio at points of zero gradient, and whether it goes with the loss."""
    points = rows[(rows.method == SECOND_ORDER) & (rows.gradient_norm < 1e-6)]
    near = points[points.loss < ZERO_LOSS]
    counts = {
        "minimal_ratio": f"|λ| ≤ {settings['zero']:g} max |λ| counts as zero",
        "minimal_ratio_computed": "every λ > 0 counts as positive",
    }
    for column, what in counts.items():
        yield claim(
            f"{HOMEWORK} 1-2",
            f"Where gradient and loss (< {ZERO_LOSS:g}) vanish, a third to a half of the eigenvalues are positive (mean minimal ratio; {what})",
            mean_interval(near[column]),
            published="0.3 to 0.57",
            within=(0.3, 0.57),
        )
    yield claim(
        f"{HOMEWORK} 1-2",
        "The lower the loss, the higher the minimal ratio (Spearman's correlation over nets)",
        rank_correlation(points, "loss", "minimal_ratio", by=None),
        published="loss 0.087 at 0 to 0.25, near 0 at 0.3 to 0.57",
        below=0,
    )


def comment(rows, settings) -> dict:
    """How close each method comes to zero gradient, and what kind of points it finds."""
    second_order, norm = rows[rows.method == SECOND_ORDER], rows[rows.method == NORM]
    return {
        "title": "Points of zero gradient",
        "method": _method(settings, len(second_order)),
        "caption": "Loss of the final point against the minimal ratio by both definitions, one point per net and method.",
        "comment": [
            _reached(second_order, norm),
            _kinds(second_order, norm, settings)
            + _plateau(rows)
            + _share_of_positive(second_order, settings)
            + _definitions(second_order),
        ],
    }


def _method(settings, nets) -> str:
    """Function, net, training, search, and the two definitions of the minimal ratio."""
    scale, what = settings["scale"], net([1, *settings["hidden"], 1], settings["activation"])
    text = f"{plural(nets, 'net')} {what} in float64 learn sin(5πx) / (5πx) from {settings['points']} points on (0, 1\\], which are scaled to (−{scale:g}, {scale:g}\\]. They are trained by full-batch Adam for {settings['epochs']:,} epochs; the step size falls to zero along a cosine. From each trained net two methods search for a point of zero gradient: Adam on $norm(nabla L)^2$, and Levenberg–Marquardt, damped second-order steps on the loss. "
    return f"{text}The minimal ratio is defined in two ways: as the share of the eigenvalues of the Hessian $H$ of the loss that are positive, where up to {number(settings['zero'], 1)} of the largest counts as zero; and as the share of {settings['samples']:,} random neighbours at distance {number(settings['radius'], 1)} that have a higher loss (sampled)."


def _reached(second_order, norm) -> str:
    """The gradient norms and the losses that both methods reach."""
    near, near_norm = (int((points.gradient_norm < ZERO_GRADIENT).sum()) for points in (second_order, norm))
    text = f"The median loss of the trained nets is {number(norm.trained_loss.median(), 2)}. Levenberg–Marquardt comes below $norm(nabla L)_2 = {number(ZERO_GRADIENT).strip('$')}$ from {part_of(near, len(second_order))} nets (largest {number(second_order.gradient_norm.max(), 2)}), Adam on $norm(nabla L)^2$ from {part_of(near_norm, len(norm))} (median {number(norm.gradient_norm.median(), 2)}). "
    unmoved = int((norm.loss == norm.trained_loss).sum())
    if unmoved:
        text += f"From {part_of(unmoved, len(norm))} nets the search by Adam returned the trained net itself: no later point at which it measured the gradient had a smaller norm. "
    return f"{text}The median losses at the final points are {number(second_order.loss.median(), 2)} and {number(norm.loss.median(), 2)}. "


def _kinds(second_order, norm, settings) -> str:
    """How many minima and saddles there are."""
    saddles, stopped = int((second_order.negative > 0).sum()), int((norm.negative > 0).sum())
    depth = (second_order.smallest_eigenvalue / second_order.largest_eigenvalue).min()
    text = f"Of the end points of Levenberg–Marquardt, {part_of(saddles, len(second_order))} are saddles (have negative eigenvalues). "
    if depth < 0:
        text += f"The most negative eigenvalue as computed is −{number(-depth, 1)} of the largest. "
    if not saddles:
        text += "Without a negative eigenvalue they count as minima; with eigenvalues that are zero, the Hessian alone does not prove it. "
    return f"{text}Of the points where Adam on the gradient norm stopped, {part_of(stopped, len(norm))} have negative eigenvalues. "


def _plateau(rows) -> str:
    """How many nets end on the plateau that the slides show."""
    count = int((np.abs(rows.loss - PLATEAU) < 0.1 * PLATEAU).sum())
    return f"The slides show a plateau at loss {PLATEAU:g}, the variance of the function over (0, 1\\] and so the least loss of a constant output. Of the end points of both methods, {part_of(count, len(rows))} have a loss within 10 % of it. "


def _share_of_positive(points, settings) -> str:
    """The minimal ratio, whether it goes with the loss, and how it depends on what counts as zero."""
    ratio, computed, sampled = points.minimal_ratio, points.minimal_ratio_computed, points.minimal_ratio_sampled
    directions = (points.negative + points.zero + points.positive).iloc[0]
    text = f"At the end points of Levenberg–Marquardt the share of positive eigenvalues is {span(ratio)}{_with_loss(points)}. "
    text += f"If every eigenvalue that is computed to be above 0 counts as positive, it is {span(computed)}. For a loss of exactly zero, $H$ has at most as many positive eigenvalues as there are training points, {settings['points']} of {directions} (a share of {settings['points'] / directions:.2f}). "
    if sampled.min() == 1:
        return f"{text}All sampled neighbours have a higher loss. "
    return f"{text}The share of sampled neighbours with a higher loss is {span(sampled)}. "


def _with_loss(points) -> str:
    """Says whether the minimal ratio goes with the loss, in brackets."""
    if points.minimal_ratio.nunique() < 2 or points.loss.nunique() < 2:
        return ""
    rank, chance = scipy.stats.spearmanr(points.minimal_ratio, points.loss)
    if chance > 0.05:
        trend = "no significant rank correlation with the loss"
    elif rank < 0:
        trend = "the lower the loss, the higher the ratio"
    else:
        trend = "the lower the loss, the lower the ratio"
    return f" ({trend}; Spearman {number(rank, 2)}, p = {number(chance, 2)})"


def _definitions(points) -> str:
    """Says whether the two definitions of the minimal ratio agree."""
    ratio, sampled = points.minimal_ratio, points.minimal_ratio_sampled
    if sampled.median() > ratio.median() + 0.2:
        return "The second definition gives the larger values: the first counts every direction alike, while the loss of a random neighbour depends most on the directions of largest curvature."
    return "The two definitions agree." if np.abs(sampled - ratio).max() < 0.1 else ""
