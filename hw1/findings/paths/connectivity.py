"""Figure, claims and text. Is there a path without a barrier between two solutions, and from which width on?

Reads the rows of `hw1.paths.connectivity` (method, width, path, seed, parameters, barriers, length, segments, status) and
its tables "nets" (method, width, end, seed, losses, accuracies, status), "along" (path, position, losses, u, v) and
"plane" (u, v, losses).
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from hw1.findings.paths.connectivity_figure import (
    ACTIVATIONS,
    BEZIER,
    DOUBLED,
    LINE,
    POINTS,
    STRING,
    WEIGHTS,
    figure,
    of_method,
)
from hw1.findings.verdict import ACCURACY_EFFECT, OWN, Claim, claim
from hw1.findings.words import listed, net_on_images, number, part_of, show, sign
from hw1.statistics import (
    NOTHING,
    Interval,
    geometric_mean,
    jackknife,
    mean_interval,
    paired_difference,
    rank_correlation,
)

__all__ = ["claims", "comment", "figure"]  # the figure has a file of its own

FREEMAN = "Freeman and Bruna, arXiv 1611.01540"
DRAXLER = "Draxler et al., arXiv 1803.00885"
GARIPOV = "Garipov et al., arXiv 1802.10026"
ENTEZARI = "Entezari et al., arXiv 2110.06296"
AINSWORTH = "Ainsworth et al., arXiv 2209.04836"
SAGUN = "Sagun, slides"
BAD = 0.1  # of the training images misclassified by the worse net: the barrier of such pairs means little
FITTED = 0.005  # the same: such nets have learnt their training images
NOISE = 0.01  # nats: a lower barrier of the loss is none that a slope can be fitted to
NO_BARRIER = {"below": ACCURACY_EFFECT}  # share of the examples, fixed beforehand


def _cell(rows, path: str, width: int | None = None) -> pd.DataFrame:
    """The pairs of a path and a width, or of all widths, told apart as nets by their width."""
    rows = rows[(rows.path == path) & ((rows.width == width) | (width is None))]
    return rows.assign(net=[f"width {each}" for each in rows.width])


def _barriers(rows, path, width, column="error_barrier") -> pd.Series:
    """A barrier of a path at a width, by seed."""
    return _cell(rows, path, width).set_index("seed")[column]


def worse_errors(nets, settings) -> pd.Series:
    """The training error of the worse net of a pair, mean over pairs, by width."""
    worse = of_method(nets, settings).groupby(["width", "seed"]).train_accuracy.min()
    return (1 - worse).groupby("width").mean().dropna()


def _widths(nets, settings, most) -> list[int]:
    """The widths at which the worse net misclassifies less than a share of its training images on average."""
    errors = worse_errors(nets, settings)
    return [int(width) for width, error in errors.items() if error < most]


def free_from(rows, widths) -> np.ndarray:
    """The least width from which on the lower of string and curve has no barrier, for each pair.

    A pair with a barrier at the largest width has none, and counts with twice the largest.

    Args:
        rows: of one way of training.
        widths: ascending.
    """
    found = []
    for _, pair in rows[rows.path.isin([STRING, BEZIER])].groupby("seed"):
        lowest = pair.groupby("width").error_barrier.min().reindex(widths)
        barred = np.flatnonzero(~(lowest.to_numpy() <= ACCURACY_EFFECT))
        found.append([*widths, 2 * widths[-1]][barred[-1] + 1 if len(barred) else 0])
    return np.array(found)


def slope(rows, path, widths) -> tuple[Interval, list[int]]:
    """The slope of the logarithm of the mean barrier of the loss against that of the parameters, and its widths.

    Only widths count where that mean lies above the noise; of fewer than three there is no slope.

    Args:
        rows: of one way of training.
        path: the kind of path.
        widths: among which to look.
    """
    cells = {width: _barriers(rows, path, width, "loss_barrier") for width in widths}
    above = [width for width, values in cells.items() if values.mean() > NOISE]
    if len(above) < 3:
        return NOTHING, above
    values = pd.DataFrame({width: cells[width] for width in above}).dropna().to_numpy()
    sizes = [np.log(_cell(rows, path, width).parameters.iloc[0]) for width in above]
    return jackknife(lambda pairs: np.polyfit(sizes, np.log(pairs.mean(axis=0)), 1)[0], values), above


def claims(rows, settings, nets, along, plane) -> Iterator[Claim]:
    """No barrier on paths, a barrier on lines, what permutations and the width change, and whether searches suffice."""
    main, widest = of_method(rows, settings), max(settings["widths"])
    counted, fitted = (_widths(nets, settings, most) for most in (BAD, FITTED))
    at = f"width {widest}"
    yield claim(
        FREEMAN,
        "Wide nets have no barrier between them: there is a width from which on the better of string and curve has none (geometric mean of the least such width; a pair with a barrier at the largest counts with twice that)",
        geometric_mean(free_from(main, counted)) if counted else NOTHING,
        pd.concat([_cell(main, STRING, width) for width in counted]) if counted else _cell(main, STRING),
        below=2 * widest,
    )
    for source, path, name in ((DRAXLER, STRING, "string method"), (GARIPOV, BEZIER, "Bézier curve")):
        for column, part in (("error_barrier", "training"), ("test_error_barrier", "test")):
            yield claim(
                source,
                f"There is a path without a barrier between two solutions: {name} ({part} error on the path above the worse end, {at})",
                mean_interval(_barriers(main, path, widest, column)),
                _cell(main, path, widest),
                **NO_BARRIER,
            )
    yield claim(
        DRAXLER,
        f"On the straight line between two solutions there is a barrier (training error on the line above the worse end, {at})",
        mean_interval(_barriers(main, LINE, widest)),
        _cell(main, LINE, widest),
        above=ACCURACY_EFFECT,
    )
    for source, path, name in ((AINSWORTH, WEIGHTS, "weights"), (ENTEZARI, ACTIVATIONS, "activations")):
        yield claim(
            source,
            f"After a permutation of hidden units that matches their {name} the straight line has no barrier (training error above the worse end, {at})",
            mean_interval(_barriers(main, path, widest)),
            _cell(main, path, widest),
            **NO_BARRIER,
        )
        yield claim(
            source,
            f"The permutation that matches {name} lowers the barrier on the line (difference of error barriers, {at})",
            paired_difference(_barriers(main, path, widest), _barriers(main, LINE, widest)),
            _cell(main, path, widest),
            below=0,
            effect=ACCURACY_EFFECT,
        )
    yield claim(
        ENTEZARI,
        "Where nets fit their training images, wider ones have a lower barrier on the line (rank correlation of width and error barrier)",
        rank_correlation(_cell(main[main.width.isin(fitted)], LINE), "width", "error_barrier"),
        _cell(main[main.width.isin(fitted)], LINE),
        below=0,
    )
    for path, among, name in (
        (STRING, settings["widths"], "string"),
        (WEIGHTS, fitted, "line after weights are matched"),
    ):
        found, above = slope(main, path, among)
        yield claim(
            OWN,
            f"The barrier of the loss is of the order 1/M of the number of parameters: {name} (log-log slope over {_named(above)})",
            found,
            pd.concat([_cell(main, path, width) for width in above]) if above else None,
            within=(-1.5, -0.5),
        )
    for width in settings["doubled"]:
        yield claim(
            OWN,
            f"Twice as many pivots and steps leave the barrier on the string as it is (difference of error barriers, width {width})",
            paired_difference(_barriers(main, DOUBLED, width), _barriers(main, STRING, width)),
            within=(-ACCURACY_EFFECT, ACCURACY_EFFECT),
        )
    for width in settings["compared"]:
        for method in settings["methods"][1:]:
            nets_of = _cell(rows[rows.method == method], STRING, width)
            yield claim(
                SAGUN,
                f"There is a path without a barrier between solutions whatever the way of training: {method} (training error on the string above the worse end, width {width})",
                mean_interval(nets_of.error_barrier),
                nets_of,
                **NO_BARRIER,
            )


def _named(widths) -> str:
    """The widths of a fit in words."""
    if len(widths) > 2:
        return f"the widths {listed(map(str, widths))}"
    return f"widths whose barrier is above {NOISE:g} nats, of which there are {len(widths) or 'none'}"


def comment(rows, settings, nets, along, plane) -> dict:
    """From which width on there is no barrier, what permutations do, and how far the searches can be trusted."""
    main = of_method(rows, settings)
    pooled = f" averaged over squares of {settings['pool']} × {settings['pool']} pixels" if settings["pool"] > 1 else ""
    paragraphs = (part(rows, main, settings, nets) for part in (_headline, _lines, _orders, _trust, _methods))
    return {
        "title": "Paths between solutions",
        "method": f"Nets with one hidden layer, from {net_on_images(settings, settings['widths'][:1])} to {net_on_images(settings, settings['widths'][-1:])}, are trained in pairs from independent weights on the same {settings['train']:,} images{pooled}, until the training loss is {settings['target_loss']:g} nats or at a plateau of its own. {_missed(nets)}Between the two nets of each of {settings['seeds']} pairs a path is sought by the string method ({settings['pivots']} pivots at first, {settings['cycles']} cycles of {settings['steps']} steps) and as a Bézier curve of two control points ({settings['curve_steps']} steps), beside the straight line, before and after hidden units are permuted. The barrier is the largest value on a path less that of the worse end, over all training images and at {settings['points']} points of each segment or more; 0.5 points of error were fixed beforehand as none. It is an upper bound: a search that fails proves nothing.",
        "caption": f"Above: barriers of loss and error against the number of parameters, and of the error by way of training; means over {settings['seeds']} pairs with 95 % intervals, dashed 0.5 points. Below: one pair of width {settings['drawn']}, loss and error along its paths, and the loss in the plane through both nets and the middle of the string, on which the other points of the paths are projected.",
        "comment": [text for text in paragraphs if text],
    }


def _missed(nets) -> str:
    """How many nets were still getting better, or diverged; empty if none."""
    parts = []
    for status, what in (("target not reached", "did neither"), ("diverged", "diverged")):
        missed = nets[nets.status == status]
        if len(missed):
            where = listed(f"{width:,}" for width in sorted(missed.width.unique()))
            parts.append(f"{part_of(len(missed), len(nets)).capitalize()} nets {what} (at width {where}). ")
    return "".join(parts)


def _headline(rows, main, settings, nets) -> str:
    """The width from which on there is no barrier."""
    errors, counted = worse_errors(nets, settings), _widths(nets, settings, BAD)
    if not counted:
        return f"At no width does the worse net of a pair classify {1 - BAD:.0%} of its training images rightly, so a barrier would mean little."
    text = f"At widths of {counted[0]} and more the worse net of a pair misclassifies less than {BAD:.0%} of its training images on average"
    bad = [f"{100 * errors[width]:.0f} points at width {width}" for width in errors.index if width not in counted]
    text += f" ({listed(bad)}, where a path need not be good to be no worse). " if bad else ". "
    found = free_from(main, counted)
    barred = int((found > counted[-1]).sum())
    if barred < len(found):
        text += f"Among these, pairs have no barrier on the better of string and curve from width {show(geometric_mean(found), 2)} on (geometric mean)"
        text += f" ({part_of(barred, len(found))} pairs have one at the largest width)." if barred else "."
    else:
        text += "Among these there is no width from which on a pair has no barrier."
    means = 100 * main.dropna(subset=["error_barrier"]).groupby(["width", "path"]).error_barrier.mean().unstack()
    rises = [
        f"{number(pair[STRING], 2)} and {number(pair[BEZIER], 2)} at width {width}" for width, pair in means.iterrows()
    ]
    return f"{text} On average the error rises on string and curve by {listed(rises)}, in points."


def _lines(rows, main, settings, nets) -> str:
    """The barrier on the straight line, where it is highest and at the largest width, and the order 1/M."""
    heights = main[main.path == LINE].groupby("width").loss_barrier.mean().dropna()
    if heights.empty:
        return ""
    widest = max(settings["widths"])
    text = f"On the straight line the barrier is highest at width {heights.idxmax()}, {number(heights.max(), 2)} nats on average, and at width {widest} {show(mean_interval(_barriers(main, LINE, widest, 'loss_barrier')), 2)} nats or {show(mean_interval(100 * _barriers(main, LINE, widest)), 2)} points."
    found, above = slope(main, STRING, settings["widths"])
    if np.isfinite(found.value):
        return f"{text} The barrier of the loss on the string goes with the number of parameters as the power {show(found, 2)}, over {_named(above)}."
    return f"{text} The string's barrier of the loss is above {NOISE:g} nats at {len(above) or 'none'} of the widths: too few for a power of the number of parameters."


def _orders(rows, main, settings, nets) -> str:
    """What permuted units do to the line."""
    widest, parts = max(settings["widths"]), []
    for path in (WEIGHTS, ACTIVATIONS):
        found = mean_interval(100 * _barriers(main, path, widest))
        if np.isfinite(found.value):
            parts.append(f"{show(found, 2)} points when {path} are matched")
    if not parts:
        return ""
    fitted = _widths(nets, settings, FITTED)
    text = (
        f"Once the hidden units of one net are permuted, the barrier on the line at width {widest} is {listed(parts)}."
    )
    power, above = slope(main, WEIGHTS, fitted)
    if np.isfinite(power.value):
        text += f" Where the nets fit their images, that of the loss goes with the number of parameters as the power {show(power, 2)} ({_named(above)}, weights matched)."
    return text


def _trust(rows, main, settings, nets) -> str:
    """What twice as many pivots and steps change, and where that is less than half a point."""
    parts, settled = [], []
    for width in settings["doubled"]:
        change = mean_interval(100 * (_barriers(main, DOUBLED, width) - _barriers(main, STRING, width)))
        if np.isfinite(change.value):
            parts.append(f"{show(change, 2)} at width {width}")
        if change.low > -POINTS and change.high < POINTS:
            settled.append(f"{width}")
    if not parts:
        return ""
    text = f"Twice as many pivots and steps change the string's error barrier by {listed(parts)}, in points."
    if len(settled) == len(settings["doubled"]):
        return f"{text} These are less than half a point."
    where = f"at width {listed(settled)} only" if settled else "at none of these widths"
    return f"{text} The interval lies within half a point {where}; elsewhere a longer search may find lower paths."


def _methods(rows, main, settings, nets) -> str:
    """Whether strings have no barrier after other ways of training."""
    width, parts, signs = settings["compared"][0], [], {}
    for method in settings["methods"][1:]:
        found = mean_interval(_barriers(rows[rows.method == method], STRING, width))
        if np.isfinite(found.value):
            signs[method] = sign(found, ACCURACY_EFFECT)
            parts.append(f"{number(100 * found.value, 2)} ({method})")
    if not parts:
        return ""
    text = (
        f"In other ways of training, the error rises on strings at width {width} by {listed(parts)} points on average."
    )
    free = [method for method, found in signs.items() if found < 0]
    if free:
        text += f" {part_of(len(free), len(signs)).capitalize()} are without a barrier: their intervals lie below half a point."
    return text
