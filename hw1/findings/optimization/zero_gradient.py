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
from hw1.findings.words import listed, net, number, part_of, plural, show, span
from hw1.statistics import Interval, mean_interval

SECOND_ORDER, NORM, NEWTON = "Levenberg–Marquardt", "gradient norm", "Newton"  # the methods
DAUPHIN = "Dauphin et al., arXiv 1406.2572"
ZERO_LOSS = 1e-12  # below which a loss counts as zero: a residual of 1e-6
ZERO_GRADIENT = 1e-8  # ‖∇L‖₂ below which a gradient counts as zero
FLAT = 0.05  # slope below which ‖∇L‖ counts as being at a minimum
PLATEAU = 0.087  # the slides' plateau, the variance of the function over (0, 1]: the least loss of a constant output
PUBLISHED, AT_PLATEAU = (0.3, 0.57), (0.0, 0.25)  # minimal ratios on the slides, near loss zero and at the plateau
READING = 0.03  # to which a ratio can be read from the slides' plot
WIDTH_COLOURS = (BLUE, GREEN, PURPLE, SKY, ORANGE)


def figure(rows, settings) -> Figure:
    """Loss against the minimal ratio: critical points of small nets, trained nets, and all by the sampled definition.

    The second and the third panel share their axis of the loss.
    """
    fig, (small, large, sampled) = style.figure(1, 3, 2.7)
    sampled.sharey(large)
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
    ends = _vanished(rows, settings)
    large.scatter(ends.minimal_ratio, ends.loss, s=10, linewidths=0.7, facecolors="none", edgecolors=BLACK, marker="D")
    for column, name in (("minimal_ratio", "by H"), ("minimal_ratio_jacobian", "by J")):
        if len(ends):
            large.text(ends[column].mean(), 8 * ends.loss.max(), name, fontsize=7, ha="center")
    looks["at infinity"] = {"color": "#888888", "marker": "x", "linestyle": ""}
    looks["Adam on ‖∇L‖²"] = {"color": VERMILION, "marker": "o", "markerfacecolor": "none", "linestyle": ""}
    looks[SECOND_ORDER] = {"color": BLACK, "marker": "D", "linestyle": ""}
    for axes in (small, large):
        axes.set(yscale="log", xlim=(-0.03, 1.03), xlabel="minimal ratio", ylabel="loss")
    sampled.set(xlabel="share of higher neighbours")
    sampled.tick_params(labelleft=False)
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
        f"Where gradient and loss (< {ZERO_LOSS:g}) vanish, 0.3 to 0.57 of the eigenvalues are positive (mean minimal ratio by the Jacobian of the residuals, in the slides' range with their reading error)",
        mean_interval(_vanished(rows, settings).minimal_ratio_jacobian),
        published=f"0.3 to 0.57, read from a plot to ± {READING:g}",
        within=(PUBLISHED[0] - READING, PUBLISHED[1] + READING),
    )
    points = _different(_finite(_distinct(rows, settings), settings))
    over = f"Spearman's correlation over {len(points)} different points, mean over nets with {listed(map(str, settings['widths']))} units"
    alike = "no interval, as all seeds find the same points"
    yield claim(
        f"{HOMEWORK} 1-2",
        f"The lower the loss of a critical point, the higher its minimal ratio ({over})",
        _correlation(points, "minimal_ratio"),
        published="loss 0.087 at 0 to 0.25, near 0 at 0.3 to 0.57",
        below=0,
    )._replace(caveat=alike)
    yield claim(
        DAUPHIN,
        f"The higher the loss of a critical point, the larger its index, the share of negative eigenvalues ({over})",
        _correlation(points, "index"),
        above=0,
    )._replace(caveat=alike)


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


def _different(points):
    """Each critical point of a net once, whichever trainings led to it: those of one loss and one index are one.

    Symmetric ones, such as those with two units exchanged, count as one, and so does a valley of them.
    """
    return points.drop_duplicates(["hidden", "loss", "negative", "zero", "positive"])


def _correlation(points, column) -> Interval:
    """Spearman's correlation of the loss and a column over the different points of one net, averaged over nets.

    The loss is one function for all seeds, which only choose where searches start. So there is nothing to repeat, and
    no interval.
    """
    found = [
        scipy.stats.spearmanr(own.loss, own[column])[0]
        for _, own in _different(points).groupby("hidden")
        if len(own) > 2 and min(own.loss.nunique(), own[column].nunique()) > 1
    ]
    value = round(float(np.mean(found)), 12) if found else np.nan  # ±1 in full
    return Interval(value, np.nan, np.nan, int(bool(found)), scale="correlation")


def comment(rows, settings) -> dict:
    """How close each method comes to zero gradient, and what kind of points it finds."""
    second_order, norm = rows[rows.method == SECOND_ORDER], rows[rows.method == NORM]
    return {
        "title": "Points of zero gradient",
        "method": _method(settings, len(second_order)),
        "caption": "Loss of the final point against its minimal ratio: critical points of the small nets by $H$ (left; area: number of trainings; crosses: points at infinity), trained nets (middle; Adam's by $H$, Levenberg–Marquardt's by $J$ and by $H$), and all by the sampled definition (right, with the axis of the middle panel). Grey: the slides.",
        "comment": [
            _reached(second_order, norm),
            _kinds(second_order, norm) + _at_zero_loss(rows, settings) + _definitions(second_order),
            _many_losses(rows, settings),
        ],
    }


def _method(settings, nets) -> str:
    """Function, nets, training, searches, and the three definitions of the minimal ratio."""
    scale, what = settings["scale"], net([1, *settings["hidden"], 1], settings["activation"])
    widths = listed(map(str, settings["widths"]))
    text = f"{plural(nets, 'net')} {what} in float64 learn the sinc function sin(5πx) / (5πx) from {settings['points']} points on (0, 1\\], which are scaled to (−{scale:g}, {scale:g}\\]. They are trained by full-batch Adam for {settings['epochs']:,} epochs; the learning rate falls to zero along a cosine. From each trained net two methods search for a point of zero gradient: Adam on $norm(nabla L)^2$, whose learning rate each net finds for itself, and Levenberg–Marquardt on the loss: with the residuals $r$ and their Jacobian $J$, a step is $s = -(J^top J + mu I)^(-1) J^top r$ and an acceleration for the second derivative $r''$ of $r$ along $s$, $-1/2 (J^top J + mu I)^(-1) J^top r''$. μ is divided by 3 after a step that lowers the loss, else multiplied by 3 and the step is not taken. "
    text += f"For critical points of several losses, nets with one hidden layer of {widths} units, too few to fit the points, are trained {settings['trainings']} times each. From {plural(settings['moments'], 'point')} along each training, with and without noise, Newton's method solves $nabla L = 0$ with the Hessian $H$ of the loss by steps $-(H^2 + mu^2 I)^(-1) H nabla L$, damped and accelerated likewise. A point counts as critical if gradient and distance to the exact point are as near zero as rounding allows, and as one at infinity if $norm(theta)_2 > {settings['largest']:g}$: there units are saturated, and the loss has no minimum at finite weights. "
    return f"{text}The minimal ratio is counted in three ways: by $H$, the share of eigenvalues above {number(settings['zero'], 1)} of the largest (small nets, Adam's end points); by $J$, its rank (singular values above rounding) as a share of the parameters, as $H = 2 \\/ n J^top J$ where loss and gradient vanish (Levenberg–Marquardt); sampled, the share of {settings['samples']:,} random neighbours at distance {number(settings['radius'], 1)} that have a higher loss."


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
        text += f"It stops where the gradient lies along directions of almost no curvature: $norm(H nabla L)$ is {number(norm.slope.median(), 2)} of the largest eigenvalue times $norm(nabla L)$ (median). So the norm is almost at a minimum, but not zero. "
    return f"{text}The median losses at the end are {number(second_order.loss.median(), 2)} and {number(norm.loss.median(), 2)}. "


def _kinds(second_order, norm) -> str:
    """How many minima and saddles there are."""
    saddles, stopped = int((second_order.negative > 0).sum()), int((norm.negative > 0).sum())
    text = f"Of the end points of Levenberg–Marquardt, {part_of(saddles, len(second_order))} are saddles (have negative eigenvalues). "
    if not saddles:
        text += "So they count as minima, though with eigenvalues that are zero the Hessian alone does not prove it. "
    return f"{text}Of the points where Adam on the gradient norm stopped, {part_of(stopped, len(norm))} have negative eigenvalues; {span(norm.minimal_ratio)} of the eigenvalues are positive. "


def _at_zero_loss(rows, settings) -> str:
    """The share of positive eigenvalues at zero loss, and how far it can be known."""
    ends = _vanished(rows, settings)
    if ends.empty:
        return "Levenberg–Marquardt reached a loss of zero from no net. "
    parameters = int((ends.negative + ends.zero + ends.positive).iloc[0])
    most, ratio = min(1, settings["points"] / parameters), mean_interval(ends.minimal_ratio_jacobian)
    text = f"Where loss and gradient vanish, the minimal ratio depends on the cut: {number(ends.minimal_ratio.mean(), 2)} of the eigenvalues are above {number(settings['zero'], 1)} of the largest, {show(ratio)} are positive by the singular values of $J$ above rounding, and {number(most)} can be, as $J$ has {settings['points']} rows and {parameters} columns. "
    low, high = PUBLISHED
    fits = "lies in" if low <= ratio.value <= high else "lies outside"
    return f"{text}The second number {fits} the range of the slides, {low:g} to {high:g}{'' if low <= ends.minimal_ratio.mean() <= high else '; the first does not'}. "


def _definitions(points) -> str:
    """Says whether the sampled definition of the minimal ratio agrees with that by H."""
    if points.empty:
        return ""
    ratio, sampled = points.minimal_ratio, points.minimal_ratio_sampled
    higher = "All sampled neighbours have a higher loss"
    if sampled.min() < 1:
        higher = f"The share of sampled neighbours with a higher loss is {span(sampled)}"
    if sampled.median() > ratio.median() + 0.2:
        return f"{higher}: this definition weighs directions by their curvature, the others count them alike. "
    return f"{higher}. "


def _many_losses(rows, settings) -> str:
    """The critical points of the small nets: how many, of which losses, and what goes with the loss."""
    tried, points = rows[rows.method == NEWTON], _distinct(rows, settings)
    found = len(_critical(tried, settings))
    text = f"Of {len(tried):,} searches along the trainings of the small nets, {found} ended at a critical point. "
    if len(tried) > found:
        others = tried[~tried.index.isin(_critical(tried, settings).index)]
        stuck = int((others.slope < FLAT).sum())
        text += f"At the other {len(others):,} end points the gradient is not zero (median norm {number(others.gradient_norm.median(), 2)}); at {stuck:,} of them it lies along directions of almost no curvature. "
    if points.empty:
        return text
    finite = _different(_finite(points, settings))
    lost = len(points) - len(_finite(points, settings))
    text += f"Counted once for each training, there are {len(points)} points, {lost} of them at infinity. "
    if finite.empty:
        return text
    saddles, degenerate = int((finite.negative > 0).sum()), int((finite.zero > 0).sum())
    each = listed(str(len(finite[finite.hidden == str(width)])) for width in settings["widths"])
    text += f"The others are {plural(len(finite), 'different point')} ({each} of the nets with {listed(map(str, settings['widths']))} units) of {finite.loss.nunique()} losses, {span(finite.loss)}; {saddles} of them are saddles, and {degenerate} have eigenvalues that are zero. {_embedded(finite)}"
    return text + _trends(finite, points) + _plateau(finite, settings)


def _trends(finite, everywhere) -> str:
    """What goes with the loss over different critical points, and whether those at infinity change it."""
    ratio, index = (_correlation(finite, column) for column in ("minimal_ratio", "index"))
    if not np.isfinite(ratio.value):
        return ""
    text = "In each net their minimal ratio falls as the loss rises"
    if ratio.value > -1:
        text = (
            f"Spearman's correlation of their minimal ratio and loss is {number(ratio.value, 2)} in the mean over nets"
        )
    text += f" (with the points at infinity the correlation is {number(_correlation(everywhere, 'minimal_ratio').value, 2)})"
    if np.isfinite(index.value):
        text += f", and the correlation of loss and share of negative eigenvalues is {number(index.value, 2)}"
    return f"{text}. So few points allow no test, and more seeds find the same ones. "


def _plateau(finite, settings) -> str:
    """The minimal ratio where the output is constant, beside that of the slides; empty if no such point was found."""
    count = settings["points"]
    variance = np.sinc(5 * np.arange(1, count + 1) / count).var()
    there = finite[np.isclose(finite.loss, variance, rtol=1e-4)]
    if there.empty:
        return ""
    low, high = AT_PLATEAU
    text = f"The loss {number(variance)} is the variance of the {count} targets, that of a constant output: the counterpart of the slides' plateau at {PLATEAU:g}. The minimal ratio there is {span(there.minimal_ratio)}, on the slides {low:g} to {high:g}"
    inside = there.minimal_ratio.between(low, high).all()
    return f"{text}." if inside else f"{text}: this cluster of the slides is not reproduced."


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
    return f"Of the {len(wider)} points of wider nets, {sum(narrower)} have the loss of a critical point of a narrower one: units that are constant or alike add no new values of the loss. "
