"""Figure, claims and text. Can a net fit random labels and random images, and how long does it take?

Reads the rows of `hw1.generalization.random_labels` (pixels, fraction, seed, epoch, losses, accuracies, status).

A net is judged where its training loss is lowest, and by the first epoch at which it has memorised its labels, never by
its last epoch, which may be a spike.
"""

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import ACCURACY, BLACK, BLUE, GREEN, LOSS, ORANGE, PURPLE, SETS, VERMILION
from hw1.findings.verdict import ACCURACY_EFFECT, Claim, claim
from hw1.findings.words import listed, net_on_images, part_of, plural, show, sign, span
from hw1.statistics import (
    NOTHING,
    Interval,
    geometric_mean,
    mean_interval,
    paired_difference,
    rank_correlation,
    weakest,
)

ZHANG = "Zhang et al., arXiv 1611.03530"
NEAR_CHANCE = 0.02  # how far above chance an accuracy may lie that counts as chance
MEMORISED = 0.99  # the training accuracy from which labels count as memorised
SMALL_FACTOR = 10  # "a small constant factor": less than an order of magnitude
KINDS = {"shuffled": "shuffled pixels", "random": "random pixels", "gaussian": "Gaussian images"}
LOOKS = {"shuffled": GREEN, "random": ORANGE, "gaussian": PURPLE}
DASHES = ("-", "-", (0, (3, 3)), "-", (0, (3, 3)))  # of the last loss: two pairs of curves lie on each other


def judged(rows, classes: int) -> pd.DataFrame:
    """One row per net: its values where its training loss is lowest, and when it began to fit and had memorised.

    Args:
        rows: of the question.
        classes: number of classes; uniform predictions have a loss of its logarithm.

    Returns:
        The columns of `rows`, *started*, the epochs until the training loss was half of that of uniform predictions,
        interpolated between evaluations, and *memorised*, the first evaluated epoch with a training accuracy of at
        least `MEMORISED`. They are NaN for nets that did not come there, and all is NaN for those that diverged.
    """
    found = []
    for _, net in rows.groupby(["pixels", "fraction", "seed"], sort=False):
        if (net.status == "diverged").any():
            found.append(net.iloc[-1].to_dict() | {"started": np.nan, "memorised": np.nan})
            continue
        fitted = net.epoch[net.train_accuracy >= MEMORISED]
        times = {"started": _started(net, math.log(classes)), "memorised": fitted.iloc[0] if len(fitted) else np.nan}
        found.append(net.loc[net.train_loss.idxmin()].to_dict() | times)
    return pd.DataFrame(found)


def _started(net, uniform) -> float:
    """The epochs until the training loss was half of `uniform`, from which it is taken to start."""
    epochs, losses = np.array([0, *net.epoch]), np.array([uniform, *net.train_loss])
    below = np.flatnonzero(losses <= uniform / 2)
    if not len(below):
        return np.nan
    last = below[0]
    share = (losses[last - 1] - uniform / 2) / (losses[last - 1] - losses[last])
    return float(epochs[last - 1] + share * (epochs[last] - epochs[last - 1]))


def _held(rows) -> pd.DataFrame:
    """The rows, where a net that stopped keeps its last values until the last of its kind stops: for means over seeds."""
    parts = []
    for _, nets in rows.groupby(["pixels", "fraction"], sort=False):
        epochs = sorted(nets.epoch.unique())
        for _, net in nets.groupby("seed", sort=False):
            parts.append(net.set_index("epoch").reindex(epochs).ffill().reset_index())
    return pd.concat(parts)


def _of(frame, pixels, fraction) -> pd.DataFrame:
    return frame[(frame.pixels == pixels) & (frame.fraction == fraction)]


def _labels(frame) -> pd.DataFrame:
    """The rows of nets on images as they are."""
    return frame[frame.pixels == "true"]


def _name(fraction) -> str:
    """What the labels are called of which a share is permuted."""
    return {0: "true labels", 1: "random labels"}.get(fraction, f"{fraction:.0%} of the labels permuted")


def figure(rows, settings) -> Figure:
    """Above the labels: loss, accuracy, final accuracy; below the images: loss per step, epochs, test accuracy.

    Lines are means over seeds with 95 % intervals, geometric ones for the loss. Solid is training, dashed test.
    """
    fig, panels = style.figure(2, 3, 4.0)
    held, nets = _held(rows), judged(rows, settings["classes"])
    shares, kinds = sorted(_labels(rows).fraction.unique()), [kind for kind in KINDS if (rows.pixels == kind).any()]
    ends = dict(zip((shares[0], shares[-1]), (BLUE, VERMILION), strict=True))
    for axes, quantity in ((panels[0, 0], "loss"), (panels[0, 1], "accuracy")):
        axes.set_yscale("log" if quantity == "loss" else "linear")
        for share, colour in ends.items():
            for part, line in SETS.items():
                chosen = _of(held, "true", share)
                style.curve(axes, chosen, "epoch", f"{part}_{quantity}", band=True, color=colour, linestyle=line)
        axes.set(xlabel="epoch", ylabel=LOSS if quantity == "loss" else ACCURACY)
    for part, line in SETS.items():
        style.curve(panels[0, 2], _labels(nets), "fraction", f"{part}_accuracy", color=BLACK, linestyle=line)
    panels[0, 2].set(xlabel="share of labels permuted", ylabel="accuracy after training")
    steps = held.assign(step=held.epoch * math.ceil(settings["train"] / settings["batch_size"]))
    panels[1, 0].set_yscale("log")
    looks = {(_name(share)): ("true", share, colour) for share, colour in ends.items()}
    looks |= {KINDS[kind]: (kind, 0.0, LOOKS[kind]) for kind in kinds}
    for place, (pixels, share, colour) in enumerate(looks.values()):
        look = {"color": colour, "linestyle": DASHES[place]}
        style.curve(panels[1, 0], _of(steps, pixels, share), "step", "train_loss", band=True, **look)
        ones = _of(nets, pixels, share).assign(place=place)
        style.curve(panels[1, 2], ones, "place", "test_accuracy", color=colour, linestyle="none")
    style.curve(panels[1, 1], _labels(nets), "fraction", "memorised", color=BLACK)
    panels[1, 0].set(xlabel="step", ylabel="training cross-entropy (nats)")
    panels[1, 1].set(xlabel="share of labels permuted", ylabel="epochs until memorised", ylim=(0, None))
    panels[1, 2].set(ylabel="test accuracy", xlim=(-0.6, len(looks) - 0.4))
    panels[1, 2].set_xticks(range(len(looks)), list(looks), fontsize=6, rotation=25, ha="right")
    for axes in (panels[0, 1], panels[0, 2], panels[1, 2]):
        axes.set_ylim(0, 1.03)
        axes.axhline(settings["chance"] or np.nan, color="#888888", linewidth=0.8, linestyle=":")
    if nets.memorised.isna().all():
        panels[1, 1].text(0.5, 0.5, "none memorised", transform=panels[1, 1].transAxes, ha="center", fontsize=7)
    lines = [panels[0, 2].plot([], [], label=label, **look)[0] for label, look in style.sets(BLACK).items()]
    panels[0, 2].legend(handles=lines, loc="lower left", bbox_to_anchor=(0, 0.12))
    style.legend(fig, {name: {"color": colour} for name, (_, _, colour) in looks.items()})
    return fig


def claims(rows, settings) -> Iterator[Claim]:
    """What Zhang et al. say of labels and of images, in the order of their section 2."""
    nets = judged(rows, settings["classes"])
    random = _of(nets, "true", 1.0)
    yield claim(
        ZHANG,
        f"A net fits random labels (training accuracy, above {MEMORISED:g})",
        mean_interval(random.train_accuracy),
        published="0.99 to 1 (fully connected nets, CIFAR-10)",
        above=MEMORISED,
    )
    yield claim(
        ZHANG,
        f"A net fits images that are no images: shuffled pixels, random pixels, Gaussian (lowest training accuracy, above {MEMORISED:g})",
        _weakest([mean_interval(nets[nets.pixels == kind].train_accuracy) for kind in KINDS]),
        published="1",
        above=MEMORISED,
    )
    yield claim(
        ZHANG,
        f"A net that fits random labels is at chance on test images (test accuracy − share of the largest class, below {NEAR_CHANCE:g})",
        _above_chance(random, settings),
        random,
        published="test error 0.9",
        below=NEAR_CHANCE,
    )
    yield claim(
        ZHANG,
        f"Random labels take only a small constant factor more training than true ones (ratio of epochs, below {SMALL_FACTOR})",
        slowdown(nets, "memorised"),
        published="“small constant factor”",
        below=SMALL_FACTOR,
        effect=np.nan,
    )
    yield claim(
        ZHANG,
        "Random pixels and Gaussian images start to be fitted sooner than random labels (lower ratio of epochs until half the loss of uniform predictions)",
        _weakest([slowdown(nets, "started", kind) for kind in ("random", "gaussian")]),
        published="faster",
        above=1,
    )
    yield claim(
        ZHANG,
        "Images that are no images are memorised sooner than random labels (lowest of three ratios of epochs)",
        _weakest([slowdown(nets, "memorised", kind) for kind in KINDS]),
        published="faster",
        above=1,
    )
    labels = _labels(nets)
    for which, some in (("true labels included", labels), ("shares above 0 only", labels[labels.fraction > 0])):
        yield claim(
            ZHANG,
            f"The more labels are permuted, the longer a net takes to memorise them (rank correlation, {which})",
            rank_correlation(some, "fraction", "memorised"),
            published="slower",
            above=0,
        )
    yield claim(
        ZHANG,
        "The more labels are permuted, the lower the test accuracy (rank correlation)",
        rank_correlation(labels, "fraction", "test_accuracy"),
        published="steadily lower",
        below=0,
    )


def slowdown(nets, column: str, kind: str = "true") -> Interval:
    """How many times as many epochs random labels take as true labels with images of this kind: geometric mean."""
    slow, fast = (_of(nets, *key).set_index("seed")[column] for key in (("true", 1.0), (kind, 0.0)))
    return geometric_mean(slow / fast) if len(slow) and len(fast) else NOTHING


def _weakest(intervals) -> Interval:
    """The least of several, or nothing if one of them has no value."""
    return weakest(intervals) if all(np.isfinite(part.value) for part in intervals) else NOTHING


def _above_chance(nets, settings) -> Interval:
    """How far above the share of the largest class the test accuracy is."""
    return mean_interval(nets.test_accuracy - (settings["chance"] or np.nan)) if len(nets) else NOTHING


def comment(rows, settings) -> dict:
    """Whether random labels and images are memorised, how long it takes, and what the net then knows."""
    nets = judged(rows, settings["classes"])
    parts = [_memorised(nets, settings), _images(nets, settings), _between(nets)]
    return {
        "title": "Random labels: what a net can memorise",
        "method": f"The net {net_on_images(settings)} is trained by Adam with a constant learning rate until its training loss is at or below {settings['target_loss']:g} nats, which takes a training accuracy of at least {1 - settings['target_loss'] / math.log(2):.3f}, or for {settings['epochs']} epochs. Each seed permutes a share of its training labels once, before training; the test labels stay true. Or the labels are true and the images are not: pixels shuffled by one permutation (shuffled pixels), by one for each image (random pixels), or Gaussian noise.",
        "caption": "Above: loss and accuracy per epoch, and accuracy after training against the share of permuted labels. Below: training loss per step, first epoch with a training accuracy of 0.99, and test accuracy. Solid: training, dashed: test, dotted: share of the largest class. A net that has stopped keeps its last values. Dashed in the loss per step: curves that lie on another one.",
        "comment": [part for part in parts if part],
    }


def _memorised(nets, settings) -> str:
    """Says whether the largest share of permuted labels is memorised, and what the net then knows of test images."""
    labels = _labels(nets)
    least, most = labels.fraction.min(), labels.fraction.max()
    these = _of(nets, "true", most)
    test = mean_interval(these.test_accuracy)
    if not np.isfinite(test.value):
        return f"With {most:.0%} of the labels permuted, all nets diverged. "
    done, chance = int(these.memorised.notna().sum()), settings["chance"] or np.nan
    text = f"With {most:.0%} of the labels permuted, {part_of(done, len(these))} nets memorise them (training accuracy of at least {MEMORISED:g}). Test accuracy is {show(test)}; the largest class is {chance:.3g} of all images. "
    above = _above_chance(these, settings)
    if most == 1 and done == len(these) and above.high < NEAR_CHANCE:
        text += "These labels carry no information about the images, and the net knows nothing of test images: its accuracy is about what guessing by class frequency would give, Σ p², which is at most the largest share p. "
        true = _of(nets, "true", least)
        if least == 0 and true.memorised.notna().all():
            text += f"With true labels the same training gives test accuracy {show(mean_interval(true.test_accuracy))}. So neither the size of this net nor its training accuracy tells whether it generalises. "
    elif most == 1 and done == len(these):
        text += f"Whether that is within {NEAR_CHANCE:g} of chance is not shown. "
    loss, uniform = mean_interval(these.test_loss), math.log(settings["classes"])
    if loss.low > uniform:
        text += f"The test loss is {show(loss)} nats, more than the ln {settings['classes']} = {uniform:.2f} nats of uniform predictions: the net is sure of its wrong answers."
    return text


def _images(nets, settings) -> str:
    """How long labels and images take, and what of the class is left in images without order."""
    random = slowdown(nets, "memorised")
    text = ""
    if np.isfinite(random.value):
        text = f"Random labels take {show(random)} times as many epochs as true ones. "
    ratios = {KINDS[kind]: slowdown(nets, "memorised", kind) for kind in KINDS}
    ratios = {name: ratio for name, ratio in ratios.items() if np.isfinite(ratio.value)}
    if ratios:
        said = listed([f"{show(ratio)} times as many as {name}" for name, ratio in ratios.items()])
        text += f"They take {said}. "
    shuffled, random, noise = (nets[nets.pixels == kind].set_index("seed").test_accuracy for kind in KINDS)
    true = _of(nets, "true", 0.0).set_index("seed").test_accuracy
    difference = paired_difference(shuffled, true) if len(shuffled) and len(true) else NOTHING
    if np.isfinite(difference.value):
        apart = {0: "not measurably different from", 1: "higher than", -1: "lower than"}[sign(difference)]
        text += f"A fully connected net does not know which pixels are neighbours: with one permutation for all images its test accuracy is {apart} that with images (difference {show(difference, 2)}). "
    for name, accuracy, why in (
        (
            "random pixels",
            random,
            "the values of the pixels, without their places, still carry some information about the class",
        ),
        ("Gaussian images", noise, "that is luck, as noise carries no information about the class"),
    ):
        above = mean_interval(accuracy - (settings["chance"] or np.nan)) if len(accuracy) else NOTHING
        if np.isfinite(above.value):
            so = why if above.low > ACCURACY_EFFECT else "it has memorised and knows nothing of other images"
            text += f"With {name} test accuracy is {show(mean_interval(accuracy))}: {so}. "
    return text


def _between(nets) -> str:
    """How time and test accuracy change between the smallest and the largest share; empty if there are only these two."""
    labels = _labels(nets)
    if labels.dropna(subset="test_accuracy").fraction.nunique() < 3:
        return ""
    means = labels.groupby("fraction")[["test_accuracy", "memorised"]].mean().dropna(subset="test_accuracy")
    falls = all(a > b for a, b in itertools.pairwise(means.test_accuracy))
    accuracies = ", ".join(f"{mean:.3f} at {share:.0%}" for share, mean in means.test_accuracy.items())
    text = f"Over the shares of permuted labels, mean test accuracy is {accuracies}: it {'falls' if falls else 'does not always fall'} as the share grows. "
    times = means.memorised.dropna()
    if len(times):
        text += f"Memorising takes {times.iloc[0]:.3g} epochs at {times.index[0]:.0%}, and {span(times.iloc[1:], 3)} at the other shares. "
        text += _more(labels[labels.fraction > 0], times)
    missed = int(labels.memorised.isna().sum())
    return text + (f"{plural(missed, 'net')} of {len(labels)} did not memorise their labels." if missed else "")


def _more(labels, times) -> str:
    """Whether more permuted labels take longer once some are permuted: over all such shares, and without the least."""
    shares = [share for share in times.index if share > 0]
    if len(shares) < 4:
        return ""
    found = [rank_correlation(labels[labels.fraction >= least], "fraction", "memorised") for least in shares[:2]]
    if not all(np.isfinite(part.low) for part in found):
        return ""
    said = listed(f"{show(part, 2)} from {least:.0%} on" for part, least in zip(found, shares[:2], strict=True))
    text = f"The rank correlation of share and epochs is {said}"
    return f"{text}. " if sign(found[1]) > 0 else f"{text}, where more permuted labels are not shown to take longer. "
