"""Figure, claims and text. Where is the gradient zero, and in what share of the directions does the loss rise there? Loss and minimal ratio.

Reads the rows of `hw1.optimization.zero_gradient` (seed, method, hidden, step, noise, gradient norms, nearness, loss,
the minimal ratios, index, the extreme eigenvalues and numbers of eigenvalues, trained_loss).
"""

from collections.abc import Iterator

import numpy as np
import scipy.stats
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from hw1.findings.verdict import HOMEWORK, Claim, claim
from hw1.findings.words import listed, net, number, part_of, plural, show, sign, span
from hw1.statistics import Interval, jackknife, mean_interval

SECOND_ORDER, NORM, NEWTON = "Levenberg–Marquardt", "gradient norm", "Newton"  # the methods
DAUPHIN = "Dauphin et al., arXiv 1406.2572"
ZERO_LOSS = 1e-12  # below which a loss counts as zero: a residual of 1e-6
ZERO_GRADIENT = 1e-8  # ‖∇L‖₂ below which a gradient counts as zero
FLAT = 0.05  # slope below which ‖∇L‖ counts as being at a minimum
PLATEAU = 0.087  # the variance of sin(5πx)/(5πx) over (0, 1]: the least loss of a constant output
PUBLISHED, AT_PLATEAU = (0.3, 0.57), (0.0, 0.25)  # minimal ratios on the slides, near loss zero and at the plateau
READING = 0.03  # to which a ratio can be read from the slides' plot
WIDTH_COLOURS = (BLUE, GREEN, PURPLE, SKY, ORANGE)


def figure(rows, settings) -> Figure:
    """Loss against the minimal ratio: critical points of small nets, trained nets, and all by the sampled definition."""
    fig, (small, large, sampled) = style.figure(1, 3, 2.7)
    everywhere = _distinct(rows, settings)
    points, infinite = _finite(everywhere, settings), everywhere[everywhere["size"] > settings["largest"]]
    looks = {}
    for place, width in enumerate(settings["widths"]):
        colour = WIDTH_COLOURS[place % len(WIDTH_COLOURS)]
        look = {"color": colour, "marker": "osv^P"[place // len(WIDTH_COLOURS) % 5]}
        looks[f"{width} units" if place else f"Newton, {width} units"] = look | {"linestyle": ""}
        own = points[points.hidden == str(width)]
        count = own.groupby(["minimal_ratio", "loss"]).seed.nunique().reset_index()
        small.scatter(count.minimal_ratio, count.loss, s=5 + 3 * count.seed, alpha=0.6, linewidths=0, **look)
        sampled.scatter(own.minimal_ratio_sampled, own.loss, s=8, alpha=0.6, linewidths=0, **look)
    small.scatter(infinite.minimal_ratio, infinite.loss, s=9, color="#888888", marker="x", linewidths=0.6, zorder=1)
    for ends, ratio, look in (
        (rows[rows.method == NORM], "minimal_ratio", {"facecolors": "none", "edgecolors": VERMILION}),
        (_vanished(rows, settings), "minimal_ratio_jacobian", {"color": BLACK, "marker": "D"}),
    ):
        for axes, column in ((large, ratio), (sampled, "minimal_ratio_sampled")):
            axes.scatter(ends[column], ends.loss, s=10, linewidths=0.7, zorder=2, **look)
    looks["at infinity"] = {"color": "#888888", "marker": "x", "linestyle": ""}
    looks["Adam on ‖∇L‖²"] = {"color": VERMILION, "marker": "o", "markerfacecolor": "none", "linestyle": ""}
    looks[SECOND_ORDER] = {"color": BLACK, "marker": "D", "linestyle": ""}
    for axes in (small, large, sampled):
        axes.set(yscale="log", xlim=(-0.03, 1.03), xlabel="minimal ratio", ylabel="loss")
    sampled.set_xlabel("share of higher neighbours")
    small.set(ylabel="loss (mean squared error)", title="critical points, small nets")
    small.margins(y=0.15)
    large.set_title(f"trained nets {'-'.join(map(str, [1, *settings['hidden'], 1]))}")
    sampled.set_title("all, sampled definition")
    _draw_published(small, large)
    style.legend(fig, looks)
    return fig


def _draw_published(small, large):
    """The ranges of the slides' plot."""
    small.plot(AT_PLATEAU, [PLATEAU] * 2, color="#888888", linewidth=4, alpha=0.5, solid_capstyle="butt")
    small.text(AT_PLATEAU[0], PLATEAU * 1.2, "slides", fontsize=6, color="#666666", va="bottom")
    large.axvspan(*PUBLISHED, color="#888888", alpha=0.15, linewidth=0)
    large.text(
        np.mean(PUBLISHED),
        0.5,
        "slides,\nloss near 0",
        fontsize=6,
        color="#666666",
        ha="center",
        va="center",
        transform=large.get_xaxis_transform(),
    )


def claims(rows, settings) -> Iterator[Claim]:
    """The minimal ratio at points of zero gradient and loss, and how ratio and index go with the loss."""
    yield claim(
        f"{HOMEWORK} 1-2",
        f"Where gradient and loss (< {ZERO_LOSS:g}) vanish, a third to a half of the eigenvalues are positive (mean minimal ratio, by the singular values of the residuals' Jacobian, in the slides' range with their reading error)",
        mean_interval(_vanished(rows, settings).minimal_ratio_jacobian),
        published=f"0.3 to 0.57, read from a plot to ± {READING:g}",
        within=(PUBLISHED[0] - READING, PUBLISHED[1] + READING),
    )
    points, nets = (
        _finite(_distinct(rows, settings), settings),
        f"nets with {listed(map(str, settings['widths']))} hidden units",
    )
    yield claim(
        f"{HOMEWORK} 1-2",
        f"The lower the loss of a critical point, the higher its minimal ratio (Spearman's correlation over the points of one net with ‖θ‖ ≤ {settings['largest']:g}, mean over {nets})",
        _correlation(points, "minimal_ratio"),
        published="loss 0.087 at 0 to 0.25, near 0 at 0.3 to 0.57",
        below=0,
    )
    yield claim(
        DAUPHIN,
        f"The higher the loss of a critical point, the larger its index, the share of negative eigenvalues (Spearman's correlation over the points of one net with ‖θ‖ ≤ {settings['largest']:g}, mean over {nets})",
        _correlation(points, "index"),
        above=0,
    )


def _critical(rows, settings):
    """The ends of searches whose gradient is zero, as far as the Hessian and rounding allow."""
    return rows[(rows.relative_gradient <= settings["near"]) & (rows.distance <= settings["distance"])]


def _vanished(rows, settings):
    """The ends of second-order steps on the loss where gradient and loss are zero."""
    ends = _critical(rows[rows.method == SECOND_ORDER], settings)
    return ends[ends.loss < ZERO_LOSS]


def _distinct(rows, settings):
    """The critical points that Newton's method found, each once for each training that led to it."""
    found = _critical(rows[rows.method == NEWTON], settings)
    found = found.assign(hidden=found.hidden.astype(str), loss=[float(f"{loss:.5g}") for loss in found.loss])
    return found.drop_duplicates(["seed", "hidden", "loss", "negative", "zero", "positive"])


def _finite(points, settings):
    """Those at which no unit is so steep that the gradient vanishes at infinity only."""
    return points[points["size"] <= settings["largest"]]


def _correlation(points, column) -> Interval:
    """Spearman's correlation of the loss and a column over the points of one net, averaged over nets.

    The points of all trainings of a net are points of one loss function. The interval is a jackknife over seeds, each
    of which is left out with all its trainings: the points of one training are not independent.
    """
    seeds = np.sort(points.seed.unique())

    def statistic(left):
        some = points[points.seed.isin(left)]
        found = [
            scipy.stats.spearmanr(own.loss, own[column])[0]
            for _, own in some.groupby("hidden")
            if len(own) > 2 and min(own.loss.nunique(), own[column].nunique()) > 1
        ]
        return float(np.mean(found)) if found else np.nan

    found = jackknife(statistic, seeds) if len(seeds) else Interval(np.nan, np.nan, np.nan)
    value, low, high = np.round(np.clip(found[:3], -1, 1), 12)  # ±1 in full
    return found._replace(value=float(value), low=float(low), high=float(high), scale="correlation")


def comment(rows, settings) -> dict:
    """How close each method comes to zero gradient, and what kind of points it finds."""
    second_order, norm = rows[rows.method == SECOND_ORDER], rows[rows.method == NORM]
    return {
        "title": "Points of zero gradient",
        "method": _method(settings, len(second_order)),
        "caption": "Loss of the final point against its minimal ratio: critical points of the small nets (left; area: number of trainings; crosses: points at infinity), trained nets (middle; for Levenberg–Marquardt by singular values), and both by the sampled definition (right). Grey: the slides.",
        "comment": [
            _reached(second_order, norm),
            _kinds(second_order, norm, settings) + _at_zero_loss(rows, settings) + _definitions(second_order),
            _many_losses(rows, settings),
        ],
    }


def _method(settings, nets) -> str:
    """Function, nets, training, searches, and the two definitions of the minimal ratio."""
    scale, what = settings["scale"], net([1, *settings["hidden"], 1], settings["activation"])
    widths = listed(map(str, settings["widths"]))
    text = f"{plural(nets, 'net')} {what} in float64 learn sin(5πx) / (5πx) from {settings['points']} points on (0, 1\\], which are scaled to (−{scale:g}, {scale:g}\\]. They are trained by full-batch Adam for {settings['epochs']:,} epochs; the step size falls to zero along a cosine. From each trained net two methods search for a point of zero gradient: Adam on $norm(nabla L)^2$, whose step size each net finds for itself, and Levenberg–Marquardt, damped second-order steps on the loss. "
    text += f"For critical points of many losses, nets with one hidden layer of {widths} units, too few to fit the points, are trained {settings['trainings']} times each. Newton's method, with damping, solves $nabla L = 0$ from {plural(settings['moments'], 'point')} along each training, with and without noise; a point counts as critical if gradient and distance to the exact point are as near zero as rounding allows, and as one at infinity if $norm(theta)_2 > {settings['largest']:g}$: there units are saturated, and the loss falls for ever. "
    return f"{text}The minimal ratio is the share of the eigenvalues of the Hessian $H$ of the loss that are positive, where up to {number(settings['zero'], 1)} of the largest counts as zero; or the share of {settings['samples']:,} random neighbours at distance {number(settings['radius'], 1)} that have a higher loss (sampled)."


def _reached(second_order, norm) -> str:
    """The gradient norms and the losses that both methods reach from the trained nets."""
    if norm.empty or second_order.empty:
        return ""
    near, near_norm = (int((points.gradient_norm < ZERO_GRADIENT).sum()) for points in (second_order, norm))
    text = f"The median loss of the trained nets is {number(norm.trained_loss.median(), 2)}, their median gradient norm {number(norm.start_gradient_norm.median(), 2)}. Levenberg–Marquardt comes below $norm(nabla L)_2 = {number(ZERO_GRADIENT).strip('$')}$ from {part_of(near, len(second_order))} nets (largest {number(second_order.gradient_norm.max(), 2)}), Adam on $norm(nabla L)^2$ from {part_of(near_norm, len(norm))} (median {number(norm.gradient_norm.median(), 2)}). "
    unmoved = int((norm.gradient_norm >= norm.start_gradient_norm).sum())
    if unmoved:
        text += f"From {part_of(unmoved, len(norm))} nets Adam found no smaller gradient than that of the trained net. "
    if near_norm < len(norm) and norm.slope.median() < FLAT:
        text += f"It stops where the gradient lies along directions of almost no curvature: $norm(H nabla L)$ is {number(norm.slope.median(), 2)} of the largest eigenvalue times $norm(nabla L)$ (median). There the norm is almost at a minimum, though it is not zero. "
    return f"{text}The median losses at the final points are {number(second_order.loss.median(), 2)} and {number(norm.loss.median(), 2)}. "


def _kinds(second_order, norm, settings) -> str:
    """How many minima and saddles there are."""
    saddles, stopped = int((second_order.negative > 0).sum()), int((norm.negative > 0).sum())
    text = f"Of the end points of Levenberg–Marquardt, {part_of(saddles, len(second_order))} are saddles (have negative eigenvalues). "
    if not saddles:
        text += "Without a negative eigenvalue they count as minima; with eigenvalues that are zero, the Hessian alone does not prove it. "
    return f"{text}Of the points where Adam on the gradient norm stopped, {part_of(stopped, len(norm))} have negative eigenvalues; {span(norm.minimal_ratio)} of the eigenvalues are positive. "


def _at_zero_loss(rows, settings) -> str:
    """The share of positive eigenvalues at zero loss, and how far it can be known."""
    ends = _vanished(rows, settings)
    if ends.empty:
        return "Levenberg–Marquardt reached a loss of zero from no net. "
    parameters = int((ends.negative + ends.zero + ends.positive).iloc[0])
    most, ratio = min(1, settings["points"] / parameters), mean_interval(ends.minimal_ratio_jacobian)
    text = f"Where loss and gradient vanish, $H$ is $2 \\/ n J^top J$ with the Jacobian $J$ of the residuals. In the mean {show(ratio)} of the eigenvalues count as positive by the singular values of $J$ ({span(ends.minimal_ratio_jacobian)}). Rounding hides the smaller ones, so that is a lower bound; the upper one is {number(most)}, {settings['points']} points for {parameters} parameters. "
    low, high = PUBLISHED
    fits = "lies in" if low <= ratio.value <= high else "lies outside"
    return f"{text}The mean {fits} the range of the slides, {low:g} to {high:g}. From $H$ itself only {span(ends.minimal_ratio)} can be told from zero: signs of smaller eigenvalues are rounding. "


def _definitions(points) -> str:
    """Says whether the two definitions of the minimal ratio agree."""
    if points.empty:
        return ""
    ratio, sampled = points.minimal_ratio, points.minimal_ratio_sampled
    higher = "All sampled neighbours have a higher loss"
    if sampled.min() < 1:
        higher = f"The share of sampled neighbours with a higher loss is {span(sampled)}"
    if sampled.median() > ratio.median() + 0.2:
        return f"{higher}: the loss of a random neighbour depends most on the few directions of large curvature, while the first definition counts every direction alike. "
    return f"{higher}. "


def _many_losses(rows, settings) -> str:
    """The critical points of the small nets: how many, of which losses, and what goes with the loss."""
    tried, points = rows[rows.method == NEWTON], _distinct(rows, settings)
    found = len(_critical(tried, settings))
    text = f"Of {len(tried):,} searches along the trainings of the small nets, {found} ended at a critical point. "
    if len(tried) > found:
        others = tried[~tried.index.isin(_critical(tried, settings).index)]
        text += f"The others ran out of steps or stopped where the norm of the gradient has a minimum (median {number(others.gradient_norm.median(), 2)}). "
    if points.empty:
        return text
    finite = _finite(points, settings)
    saddles, degenerate = int((finite.negative > 0).sum()), int((finite.zero > 0).sum())
    text += f"Counted once for each training, there are {len(points)} points, {len(points) - len(finite)} of them at infinity. "
    if finite.empty:
        return text
    text += f"The other {len(finite)} have losses of {span(finite.loss)}; {saddles} of them are saddles, and {degenerate} have eigenvalues that are zero. {_embedded(finite)}"
    return text + _trends(finite, points)


def _trends(finite, everywhere) -> str:
    """What goes with the loss over critical points, and whether those at infinity change it."""
    ratio, index = (_correlation(finite, column) for column in ("minimal_ratio", "index"))
    text, more = "", _correlation(everywhere, "minimal_ratio")
    if np.isfinite(ratio.value):
        trend = {-1: "is higher the lower the loss", 0: "shows no clear trend", 1: "is lower the lower the loss"}
        text += f"The minimal ratio {trend[sign(ratio)]} (Spearman's correlation with the loss {show(ratio, 2)}; with the points at infinity {show(more, 2)}). "
    if np.isfinite(index.value):
        trend = {1: "grows with the loss", 0: "shows no clear trend", -1: "falls with the loss"}[sign(index)]
        text += f"The share of negative eigenvalues {trend} ({show(index, 2)}). "
    return text


def _embedded(points) -> str:
    """How many critical points have the loss of one of a narrower net, whose other units are constant or alike."""
    by_width = {int(width): set(own.loss) for width, own in points.groupby("hidden")}
    if len(by_width) < 2:
        return ""
    wider = points[points.hidden.astype(int) > min(by_width)]
    narrower = [
        any(loss in losses for other, losses in by_width.items() if other < int(width))
        for width, loss in zip(wider.hidden, wider.loss, strict=True)
    ]
    return f"Of the {len(wider)} points of wider nets, {sum(narrower)} have the loss of a critical point of a narrower one: units that are constant or alike add saddles, not losses. "
