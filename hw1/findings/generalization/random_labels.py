"""Figure, claims and text. Can a net fit random labels? Training with true and with permuted labels, and final accuracy for each share.

Reads the rows of `hw1.generalization.random_labels` (fraction, seed, epoch, losses, accuracies).
"""

import itertools
from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import ACCURACY, BLACK, BLUE, LOSS, SETS, VERMILION
from hw1.findings.verdict import Claim, claim
from hw1.findings.words import net_on_images, show
from hw1.statistics import last_rows, mean_interval

ZHANG = "Zhang et al., arXiv 1611.03530"
NEAR_CHANCE = 0.02  # the largest distance from chance at which an accuracy counts as chance
MEMORISED = 0.99  # the training accuracy from which labels count as fitted


def figure(rows, settings) -> Figure:
    """Loss and accuracy per epoch with true and with permuted labels, and final accuracy against the share permuted.

    Lines are means over seeds with 95 % intervals, geometric ones for the loss. Solid is training, dashed test.
    """
    fig, (left, middle, right) = style.figure(1, 3, 2.4)
    left.set_yscale("log")
    shares, looks = sorted({rows.fraction.min(), rows.fraction.max()}), {}
    for share, colour in zip(shares, (BLUE, VERMILION), strict=False):
        looks[f"{share:.0%} of the labels permuted"] = {"color": colour}
        nets = rows[rows.fraction == share]
        for axes, quantity in ((left, "loss"), (middle, "accuracy")):
            for part, line in SETS.items():
                style.curve(axes, nets, "epoch", f"{part}_{quantity}", band=True, color=colour, linestyle=line)
    for part, line in SETS.items():
        style.curve(right, _final(rows), "fraction", f"{part}_accuracy", color=BLACK, linestyle=line)
    left.set(xlabel="epoch", ylabel=LOSS)
    middle.set(xlabel="epoch", ylabel=ACCURACY)
    right.set(xlabel="share of labels permuted", ylabel="accuracy after training")
    chance = 1 / settings["classes"]
    for axes in (middle, right):
        axes.axhline(chance, color="#888888", linewidth=0.8, linestyle=":")
        axes.set_ylim(0, 1.03)
    look = {"transform": right.get_yaxis_transform(), "fontsize": 6.5, "color": "#666666"}
    right.text(0.02, 0.01 + chance, "chance", **look)
    style.legend(fig, looks | style.sets(BLACK))
    return fig


def _final(rows):
    """The last row of every net."""
    return last_rows(rows, ["fraction", "seed"])


def claims(rows, settings) -> Iterator[Claim]:
    """A net fits random labels, and is then at chance on the test set."""
    final = _final(rows)
    random = final[final.fraction == final.fraction.max()]
    chance = 1 / settings["classes"]
    yield claim(
        ZHANG,
        "A net fits random labels (training accuracy)",
        mean_interval(random.train_accuracy),
        published="1",
        above=MEMORISED,
    )
    yield claim(
        ZHANG,
        f"A net that fits random labels is at chance on test images (test accuracy, chance ± {NEAR_CHANCE:g})",
        mean_interval(random.test_accuracy),
        published="chance",
        within=(chance - NEAR_CHANCE, chance + NEAR_CHANCE),
    )


def comment(rows, settings) -> dict:
    """Whether the random labels are memorised, and how test accuracy falls with the share permuted."""
    nets = dict(iter(_final(rows).groupby("fraction")))
    return {
        "title": "Random labels: what a net can memorise",
        "method": f"The net {net_on_images(settings)} is trained by Adam with a constant step size. A share of the training labels is permuted once, before training; the test labels stay true.",
        "caption": "Loss (left) and accuracy (middle) per epoch with true and with permuted labels; accuracy after the last epoch against the share of permuted labels (right).",
        "comment": [_memorised(nets, settings["classes"]), _between(nets)],
    }


def _memorised(nets, classes) -> str:
    """Says whether the net has memorised the largest share of permuted labels, and how high its test loss is."""
    least, most = min(nets), max(nets)
    train, test = mean_interval(nets[most].train_accuracy), mean_interval(nets[most].test_accuracy)
    text = f"With {most:.0%} of the labels permuted, the net ends at training accuracy {show(train)} and test accuracy {show(test)}; chance is {1 / classes:.3g}. "
    true = mean_interval(nets[least].train_accuracy)
    if train.value >= MEMORISED and abs(test.value - 1 / classes) < NEAR_CHANCE:
        text += f"It has memorised labels that are unrelated to the images. With {least:.0%} permuted, the same training gives training accuracy {show(true)} and test accuracy {show(mean_interval(nets[least].test_accuracy))}. "
        if true.value >= MEMORISED:
            text += "So neither the size of this net nor its training accuracy tells whether it generalises. "
    else:
        text += f"It has not memorised the labels (training accuracy of at least {MEMORISED:g}), or its test accuracy is not at chance. "
    loss = mean_interval(nets[most].test_loss)
    if loss.low > np.log(classes):
        text += f"With {most:.0%} permuted, the test loss is {show(loss)} nats, more than the ln {classes} = {np.log(classes):.2f} nats of uniform predictions: to the true classes the net gives lower probabilities than these do, in the geometric mean."
    return text


def _between(nets) -> str:
    """How test accuracy falls between the smallest and the largest share; empty if there are only these two."""
    if len(nets) < 3:
        return ""
    means = {share: nets[share].test_accuracy.mean() for share in sorted(nets)}
    falls = all(a > b for a, b in itertools.pairwise(means.values()))
    accuracies = ", ".join(f"{mean:.3f} at {share:.0%}" for share, mean in means.items())
    fitted = {share: net.train_accuracy.mean() for share, net in nets.items()}
    lowest = min(fitted, key=fitted.get)
    text = f"Over the shares of permuted labels, mean test accuracy is {accuracies}: it {'falls' if falls else 'does not always fall'} as the share grows. "
    return f"{text}Mean training accuracy is lowest at {lowest:.0%}, with {fitted[lowest]:.3f}; the lowest of a single net is {min(net.train_accuracy.min() for net in nets.values()):.3f}."
