"""Figure, claims and text. How do loss and accuracy depend on the number of parameters? Final values of nets of one hidden layer.

Reads the rows of `hw1.generalization.parameter_count` (parameters, seed, losses, accuracies, status).
"""

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import ACCURACY, BLUE, LOSS, TEST, TRAIN, VERMILION
from hw1.findings.verdict import Claim, claim
from hw1.findings.words import plural, show, sign
from hw1.statistics import Interval, mean_interval, paired_difference

NEYSHABUR = "Neyshabur et al., arXiv 1412.6614"


def figure(rows, settings) -> Figure:
    """Final loss and accuracy against the number of parameters, means over seeds with 95 % intervals."""
    fig, (left, right) = style.figure(1, 2, 2.5)
    left.set_yscale("log")
    training, test = {"color": BLUE, "linestyle": TRAIN}, {"color": VERMILION, "linestyle": TEST}
    for axes, quantity, label in ((left, "loss", LOSS), (right, "accuracy", ACCURACY)):
        style.curve(axes, rows, "parameters", f"train_{quantity}", **training)
        style.curve(axes, rows, "parameters", f"test_{quantity}", **test)
        style.log_x(axes, "parameters")
        axes.set_ylabel(label)
    target = settings["target_loss"]
    left.axhline(target, color="#888888", linewidth=0.8, linestyle=":")
    left.text(0.02, target * 1.08, "target", transform=left.get_yaxis_transform(), fontsize=6.5)
    style.legend(fig, {"training": training, "test": test})
    return fig


def claims(rows, settings) -> Iterator[Claim]:
    """Parameters beyond those that fit the training set still raise test accuracy."""
    accuracy = rows.pivot(index="seed", columns="parameters", values="test_accuracy")
    fits = _fitting(rows)
    gain = Interval(np.nan, np.nan, np.nan)
    if len(fits) > 1:
        gain = paired_difference(accuracy[fits[-1]], accuracy[fits[0]])
    yield claim(
        NEYSHABUR,
        "Beyond the size that fits the training set, more parameters still raise test accuracy (difference, largest net − smallest that fits)",
        gain,
        above=0,
    )


def _fitting(rows) -> list[int]:
    """The sizes at which every seed reaches the target loss, ascending."""
    return [size for size, nets in rows.groupby("parameters") if (nets.status == "ok").all()]


def comment(rows, settings) -> dict:
    """From which size on nets fit the training set, and what more parameters change."""
    narrowest, widest, pool = settings["widths"][0], settings["widths"][-1], settings["pool"]
    shape = settings.get("shape")
    inputs = f" from {math.prod(shape) // pool**2} inputs" if shape else ""
    return {
        "title": "Number of parameters",
        "method": f"Nets with one hidden layer of {narrowest:,} to {widest:,} units (ReLU){inputs} are trained by Adam with a constant step size. The images are averaged over squares of {pool} × {pool} pixels, so that nets of very different size can be trained in minutes.",
        "caption": "Final loss (left) and accuracy (right) against the number of parameters. Training stops at the target training loss (dotted) or after the last epoch.",
        "comment": [_fit(rows, settings) + _test_accuracy(rows) + _test_loss(rows), _oversized(rows)],
    }


def _oversized(rows) -> str:
    """In how many sizes beyond the smallest that fits the training set a net is measurably better or worse."""
    fits = _fitting(rows)
    if len(fits) < 2:
        return ""
    smallest, *larger = fits
    text = f"Of {plural(len(larger), 'larger size')} that fit the training set, compared with the smallest that does ({smallest:,} parameters), "
    parts = []
    for column, quantity in (("test_accuracy", "test accuracy"), ("test_loss", "test loss")):
        base = _of(rows, smallest, column)
        signs = Counter(sign(paired_difference(_of(rows, size, column), base)) for size in larger)
        parts.append(
            f"{quantity} is measurably higher in {signs[1]}, lower in {signs[-1]} and not distinguishable in {signs[0]}"
        )
    worse = sign(paired_difference(_of(rows, larger[-1], "test_accuracy"), _of(rows, smallest, "test_accuracy"))) < 0
    verdict = "is" if worse else "is not"
    return f"{text}{'; '.join(parts)}. The largest of them {verdict} measurably less accurate on the test set than the smallest."


def _of(rows, size, column):
    """A column of the nets of one size, by seed."""
    return rows[rows.parameters == size].set_index("seed")[column]


def _fit(rows, settings) -> str:
    """How many nets there are, and which of them fit the training set."""
    sizes, fits = sorted(rows.parameters.unique()), _fitting(rows)
    text = f"The {len(sizes)} nets have {sizes[0]:,} to {sizes[-1]:,} parameters. "
    if fits:
        text += f"From {fits[0]:,} parameters on, every seed reaches the training loss {settings['target_loss']:g}; "
    else:
        text += "No net reaches the target training loss; "
    smallest = mean_interval(_of(rows, sizes[0], "train_accuracy"))
    return f"{text}the smallest net ends at training accuracy {show(smallest)}. "


def _test_accuracy(rows) -> str:
    """The size with the highest test accuracy, and how far below it the largest net is."""
    means = rows.groupby("parameters").test_accuracy.mean()
    best, largest = means.idxmax(), means.index[-1]
    drop = paired_difference(_of(rows, best, "test_accuracy"), _of(rows, largest, "test_accuracy"))
    text = (
        f"Test accuracy is highest with {best:,} parameters, {show(mean_interval(_of(rows, best, 'test_accuracy')))}, "
    )
    if best == largest:
        return f"{text}the largest net: more parameters do not lower test accuracy here. "
    if sign(drop) > 0:
        return f"{text}and lower by {show(drop, 2)} in the largest net. "
    return f"{text}and not measurably lower in the largest net (difference {show(drop, 2)}). "


def _test_loss(rows) -> str:
    """The size with the lowest test loss, and whether there is a peak beyond it."""
    means = rows.groupby("parameters").test_loss.mean()
    best, largest = means.idxmin(), means.index[-1]
    rise = paired_difference(_of(rows, largest, "test_loss"), _of(rows, best, "test_loss"))
    text = f"Test loss is lowest with {best:,} parameters, {show(mean_interval(_of(rows, best, 'test_loss')))}"
    text += f", and higher by {show(rise, 2)} in the largest net. " if sign(rise) > 0 else ". "
    between = means[(means.index > best) & (means.index < largest)]
    if len(between) and between.max() > 1.05 * means[largest]:
        text += f"Between the two it peaks at {between.max():.3g} ({between.idxmax():,} parameters) and falls again for wider nets."
    return text
