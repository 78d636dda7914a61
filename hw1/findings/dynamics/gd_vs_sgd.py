"""Figure, claims and text. Does stochastic gradient descent generalise better than full-batch descent, and do momentum or noise close the gap?

Reads the rows of `hw1.dynamics.gd_vs_sgd` (net, method, seed, updates, losses, accuracies, accuracy on distorted test
images, status) and the table "curves".
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import BLUE, GREEN, ORANGE, PURPLE
from hw1.findings.verdict import OWN, Claim, claim
from hw1.findings.words import listed, net, number, parameters, plural, show, sign
from hw1.statistics import Interval, mean_interval, paired_difference

SAGUN = "Sagun, slides"  # 194 mistakes of 10,000 by the full batch, 174 by SGD; the two cures
BOURRELY = "Bourrely 1989, in Sagun's slides"
DENSE, SMALL = "dense", "small"
SGD, FULL, MOMENTUM, NOISE = "SGD", "full batch", "full batch, momentum", "full batch, noise"
CURES = (MOMENTUM, NOISE)
DISTORTIONS = {"shift": "shifted", "scale": "scaled", "rotation": "rotated", "noise": "noisy"}
LOOKS = {
    SGD: {"color": BLUE, "marker": "o", "linestyle": "-"},
    FULL: {"color": PURPLE, "marker": "s", "linestyle": "--"},
    MOMENTUM: {"color": GREEN, "marker": "D", "linestyle": "-."},
    NOISE: {"color": ORANGE, "marker": "^", "linestyle": ":"},
}
PUBLISHED = -0.002  # SGD less full batch, of the test error: 174 − 194 of 10,000
EFFECT = -PUBLISHED  # smaller than the half point that is an effect elsewhere, as the published difference is
NAMES = {DENSE: "dense net", SMALL: "400-5-10"}


def errors(rows, kind: str = "test_accuracy") -> pd.DataFrame:
    """Test errors of one net: a row per seed, a column per method; NaN where training diverged."""
    return 1 - rows.pivot(index="seed", columns="method", values=kind).reindex(columns=list(LOOKS))


def difference(rows, method: str, other: str, kind: str = "test_accuracy") -> Interval:
    """The test error of one method less that of another, over pairs of one seed."""
    table = errors(rows, kind)
    return paired_difference(table[method], table[other])


def _nets(rows, *methods) -> pd.DataFrame:
    """The nets of some methods, which the ledger tells apart as remedies."""
    return rows[rows.method.isin(methods)].rename(columns={"method": "remedy"})


def figure(rows, settings, curves) -> Figure:
    """Training loss of the first seed's nets against steps; test error of each method; error on distorted images."""
    fig, axes = style.figure(2, 2, 4.6)
    for (left, right), name in zip(axes, (DENSE, SMALL), strict=True):
        some = rows[rows.net == name]
        _descents(left, curves[curves.net == name], NAMES[name])
        _errors(right, some, NAMES[name])
    style.legend(fig, LOOKS)
    return fig


def _descents(axes, curves, name):
    """Training loss against steps of the first seed, on logarithmic axes."""
    axes.set_yscale("log")
    style.log_x(axes, "step")
    axes.set(ylabel=style.LOSS, title=f"training loss, {name}")
    first = curves[curves.seed == curves.seed.min()]
    for method, look in LOOKS.items():
        some = first[first.method == method]
        axes.plot(some.step, some.train_loss, **{**look, "marker": "."})
    style.log_ticks(axes.yaxis)


def _errors(axes, rows, name):
    """Error of each method less that of the full batch, on the test images as they are and with each distortion."""
    kinds, labels = {"test_accuracy": "as they are", **DISTORTIONS}, []
    for place, (kind, words) in enumerate(kinds.items()):
        table = 100 * errors(rows, kind)
        labels.append(f"{words}\n{table[FULL].mean():.1f} %")
        for number_of, (method, look) in enumerate(LOOKS.items()):
            if method == FULL:
                continue
            value, low, high = paired_difference(table[method], table[FULL])[:3]
            x = place + 0.16 * (number_of - 1.5)
            axes.plot([x], [value], color=look["color"], marker=look["marker"])
            axes.plot([x, x], [low, high], color=look["color"], linewidth=0.8)
    axes.axhline(0, color=LOOKS[FULL]["color"], linewidth=0.8, linestyle=LOOKS[FULL]["linestyle"])
    axes.set(xticks=range(len(kinds)), ylabel="test error − full batch (points)", title=f"test images, {name}")
    axes.set_xticklabels(labels)


def claims(rows, settings, curves) -> Iterator[Claim]:
    """SGD against the full batch and the cures, for both nets; then distorted images of Bourrely's net."""
    for name, source in ((DENSE, SAGUN), (SMALL, BOURRELY)):
        some = rows[rows.net == name]
        yield claim(
            source,
            f"SGD makes fewer mistakes than the full batch at equal training loss: {NAMES[name]} (difference in test error)",
            difference(some, SGD, FULL),
            _nets(some, SGD, FULL),
            published="174 / 194 of 10,000" if name == DENSE else "",
            below=0,
            effect=EFFECT,
        )
        for cure, words in zip(CURES, ("Momentum", "Noise of falling temperature"), strict=True):
            yield claim(
                SAGUN,
                f"{words} lowers the test error of the full batch: {NAMES[name]} (difference in test error)",
                difference(some, cure, FULL),
                _nets(some, cure, FULL),
                below=0,
                effect=EFFECT,
            )
    small = rows[rows.net == SMALL]
    for kind, word in DISTORTIONS.items():
        yield claim(
            OWN,
            f"On {word} test images too, SGD makes fewer mistakes than the full batch: {NAMES[SMALL]} (difference in test error)",
            difference(small, SGD, FULL, kind),
            _nets(small, SGD, FULL),
            below=0,
            effect=EFFECT,
        )


def comment(rows, settings, curves) -> dict:
    """How many mistakes each method makes, whether the cures help, and what distortions change."""
    shape, rates = settings.get("shape"), [settings["learning_rates"], settings["small_rates"]]
    inputs = np.prod(shape) // settings["pool"] ** 2 if shape else None
    dense = f"a dense net with hidden layers {'-'.join(map(str, settings['hidden']))} (ReLU"
    if inputs:
        dense += f", {parameters([int(inputs), *settings['hidden'], settings['classes']]):,} parameters"
    small = net([400, 5, settings.get("classes", 10)], "tanh")
    steps = [listed(f"{rate:g} ({method})" for method, rate in zip(LOOKS, some, strict=True)) for some in rates]
    return {
        "title": "Full batch and SGD",
        "method": f"Two nets, {dense}) and Bourrely's {small} on images resized to 20 × 20 pixels, are trained on {settings['train']:,} images by SGD with batch size {settings['batch_size']}, by full-batch descent, by full-batch descent with momentum {settings['momentum']:g}, and by full-batch descent with Gaussian noise whose temperature halves every {plural(settings['half_life'], 'step')}. All stop at a training loss of {settings['target_loss']:g} (dense) and {settings['small_target']:g} (400-5-10). The step sizes were chosen on other seeds: {steps[0]} for the dense net; {steps[1]} for 400-5-10. {_missed(rows)}Each net is tested on {settings['test']:,} images.",
        "caption": f"Training loss against steps of one seed (left), and test error less that of the full batch, of which the number below is the mean, on the images as they are and on distorted ones (right): shifted by {settings['shift']:g} of the side, scaled by {settings['scale']:g}, rotated by {settings['rotation']:g}°, with noise of {settings['noise']:g}. Means over {plural(settings['seeds'], 'seed')} with 95 % intervals.",
        "comment": [
            *(_mistakes(rows[rows.net == name], NAMES[name]) for name in (DENSE, SMALL)),
            _distortions(rows[rows.net == SMALL]),
        ],
    }


def _missed(rows) -> str:
    """How many nets did not come to their target or diverged; empty if all did."""
    parts = []
    for status, words in (("target not reached", "did not come to that loss"), ("diverged", "diverged")):
        found = rows[rows.status == status]
        if len(found):
            parts.append(f"{len(found)} of {len(rows)} nets {words} ({listed(map(_named, found.method.unique()))}). ")
    return "".join(parts)


def _named(method) -> str:
    """A method's name inside a sentence: without a comma."""
    return {MOMENTUM: "full batch with momentum", NOISE: "full batch with noise"}.get(method, method)


def _per_10000(interval) -> str:
    """An interval of errors as mistakes per 10,000 images."""
    return show(Interval(*(1e4 * np.array(interval[:3])), *interval[3:]), 3)


def _mistakes(rows, name) -> str:
    """Mistakes of each method, and the differences that matter."""
    table = errors(rows)
    if table[[SGD, FULL]].dropna().empty:
        return f"Of the {name}, no pair of nets by SGD and by the full batch can be compared."
    gap = difference(rows, SGD, FULL)
    said = {-1: "fewer mistakes than", 1: "more mistakes than", 0: "not measurably fewer or more mistakes than"}
    text = f"Per 10,000 test images, the {name} makes {_per_10000(mean_interval(table[SGD]))} mistakes after SGD and {_per_10000(mean_interval(table[FULL]))} after full-batch descent: SGD makes {said[sign(gap)]} the full batch (difference {_per_10000(gap)}). "
    if name == NAMES[DENSE] and np.isfinite(gap.low):
        inside = gap.low <= PUBLISHED <= gap.high
        text += f"The published difference of {number(1e4 * PUBLISHED)} lies {'inside' if inside else 'outside'} this interval. "
    for cure, words in zip(CURES, ("Momentum", "Noise"), strict=True):
        change = difference(rows, cure, FULL)
        if np.isfinite(change.value):
            does = {-1: "lowers", 1: "raises", 0: "does not measurably change"}[sign(change)]
            text += f"{words} {does} the mistakes of the full batch ({_per_10000(change)}). "
    updates = rows.groupby("method").updates.mean()
    return f"{text}SGD takes {number(updates[SGD])} steps on average, the full batch {number(updates[FULL])}, with momentum {number(updates[MOMENTUM])}."


def _distortions(rows) -> str:
    """What SGD gains on distorted images."""
    gaps = {word: difference(rows, SGD, FULL, kind) for kind, word in DISTORTIONS.items()}
    gaps = {word: gap for word, gap in gaps.items() if np.isfinite(gap.value)}
    if not gaps:
        return ""
    found = listed(f"{_per_10000(gap)} on {word} images" for word, gap in gaps.items())
    better = [word for word, gap in gaps.items() if sign(gap) < 0]
    worse = [word for word, gap in gaps.items() if sign(gap) > 0]
    text = f"On distorted images the {NAMES[SMALL]} makes more mistakes after every method; the difference between SGD and the full batch is {found}: "
    parts = [f"SGD is better on {listed(better)} ones"] if better else []
    parts += [f"worse on {listed(worse)} ones" if better else f"SGD is worse on {listed(worse)} ones"] if worse else []
    return text + (", ".join(parts) if parts else "none of it measurable") + "."
