"""Where is the gradient zero, and in what share of the directions does the loss rise there? Loss and minimal ratio.

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
from hw1.findings.words import number
from hw1.statistics import mean_interval, rank_correlation

SECOND_ORDER, NORM = "Levenberg–Marquardt", "gradient norm"  # the two methods
ZERO_LOSS = 1e-3  # below which a loss counts as zero: far below the plateau
ZERO_GRADIENT = 1e-8  # ‖∇L‖₂ below which a gradient counts as zero
PLATEAU = 0.087  # the variance of sin(5πx)/(5πx) on (0, 1]: the least loss of a constant output
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
        "minimal_ratio": f"|λ| ≤ {settings['zero']:g} λ₁ counts as zero",
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
        "method": f"Nets 1-{'-'.join(map(str, settings['hidden']))}-1 in float64. Both methods start from the same trained nets.",
        "caption": "Loss of the final point against the minimal ratio by both definitions, one point per net and method.",
        "comment": [
            _reached(second_order, norm),
            _kinds(second_order, norm, settings)
            + _plateau(rows)
            + _share_of_positive(second_order, settings)
            + _definitions(second_order),
        ],
    }


def _reached(second_order, norm) -> str:
    """The gradient norms and the losses that both methods reach."""
    near, near_norm = (int((points.gradient_norm < ZERO_GRADIENT).sum()) for points in (second_order, norm))
    text = f"Both methods start from the same {len(norm)} trained nets, whose median loss is {number(norm.trained_loss.median(), 2)}. Levenberg–Marquardt brings {near} of them below $norm(nabla L)_2 = {number(ZERO_GRADIENT).strip('$')}$ (largest {number(second_order.gradient_norm.max(), 2)}), Adam on $norm(nabla L)^2$ brings {near_norm} of them (median {number(norm.gradient_norm.median(), 2)}). The median losses at the final points are {number(second_order.loss.median(), 2)} and {number(norm.loss.median(), 2)}. "
    if norm.gradient_norm.median() > 10 * second_order.gradient_norm.median():
        text += "A first-order method makes slow progress in the narrow valleys of the gradient norm. "
    return text


def _kinds(second_order, norm, settings) -> str:
    """How many minima and saddles there are."""
    minima, saddles = int((second_order.negative == 0).sum()), int((second_order.negative > 0).sum())
    depth = -(second_order.smallest_eigenvalue / second_order.largest_eigenvalue).min()
    text = f"Judged by the eigenvalues of H, {minima} of the end points of Levenberg–Marquardt are minima and {saddles} are saddles. The most negative eigenvalue is at most {number(depth, 1)} of the largest; up to {number(settings['zero'], 1)} of the largest counts as zero, because rounding and the curvature term of the vanishing residuals are of that size. "
    return f"{text}Of the points where Adam on the gradient norm stopped, {int((norm.negative > 0).sum())} have negative eigenvalues, but their gradient is not zero. "


def _plateau(rows) -> str:
    """How many nets end on the plateau that the slides show."""
    count = int((np.abs(rows.loss - PLATEAU) < 0.1 * PLATEAU).sum())
    verb = "lies" if count == 1 else "lie"
    return f"{count or 'None'} of the end points {verb} on the slides' plateau at loss {PLATEAU:g}, the variance of the function. There the output is constant, as in a net of dead units, which tanh does not have. "


def _share_of_positive(points, settings) -> str:
    """The minimal ratio, whether it goes with the loss, and how it depends on what counts as zero."""
    ratio, computed, sampled = points.minimal_ratio, points.minimal_ratio_computed, points.minimal_ratio_sampled
    directions = (points.negative + points.zero + points.positive).iloc[0]
    text = f"The share of positive eigenvalues is {ratio.min():.2f} to {ratio.max():.2f}{_with_loss(points)}. "
    text += f"It depends on what counts as zero: if every computed eigenvalue above 0 counts as positive, it is {computed.min():.2f} to {computed.max():.2f}. Where the residuals vanish, however, H has at most as many positive eigenvalues as there are training points, {settings['points']} of {directions} (a share of {settings['points'] / directions:.2f}); the sign of the others is due to rounding. "
    return f"{text}Of the sampled neighbours a share of {sampled.min():.2f} to {sampled.max():.2f} has a higher loss. "


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
        return "The two definitions disagree because one counts directions and the other weights them by curvature: a few steep directions determine the loss of a random neighbour."
    return "The two definitions agree." if np.abs(sampled - ratio).max() < 0.1 else ""
