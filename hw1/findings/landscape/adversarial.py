"""Figure, claims and text. Are nets that were trained with large batches, or that lie in sharp minima, less robust to adversarial examples?

Reads the rows of `hw1.landscape.adversarial` (batch_size, seed, losses, accuracies, largest_eigenvalue, attack, epsilon,
attacked_accuracy, status).
"""

import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hw1.findings import style
from hw1.findings.style import BLACK, BLUE, GREEN, TEST, VERMILION
from hw1.findings.verdict import OWN, Claim, claim
from hw1.findings.words import show, sign, training_loss
from hw1.statistics import correlation_given, first_rows, mean_interval, paired_difference, rank_correlation

YAO = "Yao et al., arXiv 1802.08241"
ATTACKS = {"FGSM": "sign_epsilons", "L2": "l2_epsilons"}  # attack → the setting of its sizes


def figure(rows, settings) -> Figure:
    """Accuracy against the size of each attack, and at its middle size against batch size and λ₁ (a point a net).

    Points are means over seeds with 95 % intervals.
    """
    fig, ((first, second), (third, fourth)) = style.figure(2, 2, 4.8)
    rows, shades = rows[rows.status != "diverged"], _looks(settings["batch_sizes"])
    first.set(xlabel="ε, largest change of each pixel", title="one signed step (FGSM)")
    second.set(xlabel="ε, largest L2 norm of the change", title=f"{settings['steps']} steps in the L2 ball")
    for axes, attack in ((first, "FGSM"), (second, "L2")):
        _against_size(axes, rows[rows.attack == attack], shades)
    fig.get_layout_engine().set(wspace=0.08)  # for the axis labels between the panels
    looks = {"no attack": {"color": BLACK, "linestyle": TEST}}
    nets = first_rows(rows, ["batch_size", "seed"])  # each net has a row per attack
    style.curve(third, nets, "batch_size", "test_accuracy", **looks["no attack"])
    for attack, colour in (("FGSM", BLUE), ("L2", VERMILION)):
        attacked = _middle(rows, settings, attack)
        looks[f"{attack}, ε = {_middle_size(settings, attack):g}"] = {"color": colour}
        style.curve(third, attacked, "batch_size", "attacked_accuracy", color=colour)
        fourth.plot(attacked.largest_eigenvalue, attacked.attacked_accuracy, "o", color=colour)
    right = style.twin(third, GREEN, "λ₁ of the training loss (right axis)")
    style.curve(right, nets, "batch_size", "largest_eigenvalue", color=GREEN)
    style.log_x(third, "batch size")
    third.set(ylabel="test accuracy", ylim=(0, 1))
    fourth.set(xlabel="λ₁ of the training loss", ylabel="test accuracy under attack", ylim=(0, 1))
    fourth.legend([Line2D([], [], **look) for look in looks.values()], looks, loc="upper center", ncols=2)
    style.legend(fig, style.named("batch size", shades))
    return fig


def _looks(sizes) -> dict:
    """Batch size → a colour from dark to light, a marker and a line style, by which neighbouring sizes differ."""
    others = zip(itertools.cycle(style.MARKERS), itertools.cycle(style.LINES), strict=False)
    return {
        size: {"color": colour} | marker | line
        for (size, colour), (marker, line) in zip(style.shades(sizes).items(), others, strict=False)
    }


def _against_size(axes, rows, shades):
    """Accuracy under one attack against its size, from 0, a line per batch size."""
    clean = first_rows(rows, ["batch_size", "seed"])
    clean = clean.assign(epsilon=0.0, attacked_accuracy=clean.test_accuracy)
    for size, look in shades.items():
        both = pd.concat([part[part.batch_size == size] for part in (clean, rows)])
        style.curve(axes, both, "epsilon", "attacked_accuracy", **look)
    axes.set(ylabel="test accuracy under attack", ylim=(0, 1))
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _middle_size(settings, attack):
    """The middle one of the sizes of an attack."""
    sizes = settings[ATTACKS[attack]]
    return sizes[len(sizes) // 2]


def _middle(rows, settings, attack):
    """The rows of an attack of its middle size, one per net."""
    return rows[(rows.attack == attack) & np.isclose(rows.epsilon, _middle_size(settings, attack))]


def claims(rows, settings) -> Iterator[Claim]:
    """Robustness against the batch size used in training, and against λ₁, over batch sizes and at one of them."""
    nets = rows[rows.status != "diverged"]
    over, given = "Spearman's correlation", "both as deviations from the mean of their batch size"
    kinds = (
        (YAO, "Nets trained with larger batches are less robust", "batch_size", "batch size", ""),
        (YAO, "Nets of larger λ₁ are less robust", "largest_eigenvalue", "λ₁", ", over batch sizes"),
        (OWN, "Of nets of one batch size those of larger λ₁ are less robust", "largest_eigenvalue", "λ₁", f", {given}"),
    )
    for source, sentence, column, name, how in kinds:
        for attack in ATTACKS:
            some = _middle(nets, settings, attack)
            yield claim(
                source,
                f"{sentence} ({over} of {name} and test accuracy under {attack}, ε = {_middle_size(settings, attack):g}{how})",
                correlation_given(some, column, "attacked_accuracy", "batch_size")
                if source == OWN
                else rank_correlation(some, column, "attacked_accuracy"),
                rows,
                below=0,
            )


def comment(rows, settings) -> dict:
    """Whether nets trained with larger batches are less robust, and whether that is due to sharper minima."""
    rows = rows[rows.status != "diverged"]
    return {
        "title": "Adversarial examples",
        "method": f"{training_loss(rows, settings)} The attacks perturb every test image; each net is attacked with its own gradients. λ₁ is the largest eigenvalue of the Hessian of the training loss.",
        "caption": "Top: test accuracy against the size of the attack, one signed step (left) and gradient ascent in an L2 ball (right), one line per batch size. Bottom: test accuracy without attack and under attacks of the middle size, with λ₁ (green, right axis), against the batch size (left); accuracy under these attacks against λ₁, one point a net (right).",
        "comment": [_batch_size(rows, settings), _sharpness(rows, settings)] if len(rows) else ["All nets diverged."],
    }


def _batch_size(rows, settings) -> str:
    """How accuracy without and under attack goes with the batch size."""
    ends = [min(settings["batch_sizes"]), max(settings["batch_sizes"])]
    clean = first_rows(rows, ["batch_size", "seed"])
    if clean.batch_size.nunique() == 1:
        text = f"Without attack, test accuracy is {show(mean_interval(clean.test_accuracy))}"
        for attack in ATTACKS:
            accuracy = mean_interval(_middle(rows, settings, attack).attacked_accuracy)
            text += f"; under {attack}, ε = {_middle_size(settings, attack):g}, it is {show(accuracy)}"
        return f"{text}."
    text = f"From batch size {ends[0]:,} to {ends[1]:,}, test accuracy without attack changes by {show(_difference(clean, ends, 'test_accuracy'), 2)}. "
    trends = {attack: _trend(_middle(rows, settings, attack), ends) for attack in ATTACKS}
    for attack, trend in trends.items():
        nets = _middle(rows, settings, attack)
        first, last = (mean_interval(nets[nets.batch_size == size].attacked_accuracy) for size in ends)
        text += f"Under {attack}, ε = {_middle_size(settings, attack):g}, it is {show(first)} at batch size {ends[0]:,} and {show(last)} at {ends[1]:,} ({trend[0]}). "
    signs = [found for _, found in trends.values()]
    if all(found < 0 for found in signs):
        return f"{text}Nets trained with larger batches are less robust to both attacks."
    if all(found > 0 for found in signs):
        return f"{text}Nets trained with larger batches are more robust to both attacks."
    return f"{text}That robustness falls with the batch size is not shown for both attacks."


def _difference(rows, ends, column):
    """The difference of a column between the largest and the smallest batch size, over pairs of one seed."""
    values = rows.pivot(index="seed", columns="batch_size", values=column).reindex(columns=ends)
    return paired_difference(values[ends[1]], values[ends[0]])


def _trend(nets, ends):
    """How accuracy under attack goes with the batch size, in words and as a sign."""
    difference, trend = (
        _difference(nets, ends, "attacked_accuracy"),
        rank_correlation(nets, "batch_size", "attacked_accuracy"),
    )
    text = f"difference {show(difference, 2)}"
    if not np.isfinite(trend.value):  # there are only two batch sizes
        return text, sign(difference)
    return f"{text}, rank correlation {show(trend, 2)}", sign(trend)


def _sharpness(rows, settings) -> str:
    """Whether the nets of larger λ₁ are less robust, over batch sizes and at one of them, and what follows."""
    found = {attack: _middle(rows, settings, attack) for attack in ATTACKS}
    over = {attack: rank_correlation(nets, "largest_eigenvalue", "attacked_accuracy") for attack, nets in found.items()}
    within = {
        attack: correlation_given(nets, "largest_eigenvalue", "attacked_accuracy", "batch_size")
        for attack, nets in found.items()
    }
    text = ""
    if all(np.isfinite(interval.value) for interval in over.values()):
        text += (
            f"Over batch sizes, λ₁ has a rank correlation of {_with_attacks(over)} with test accuracy under attack. "
        )
        with_batch = rank_correlation(first_rows(rows, ["batch_size", "seed"]), "batch_size", "largest_eigenvalue")
        if sign(with_batch) > 0:
            text += f"But λ₁ also rises with the batch size ({show(with_batch, 2)}), so the effects of the two cannot be told apart there. "
    if not all(np.isfinite(interval.low) for interval in within.values()):
        return f"{text}There are too few nets of one batch size to tell whether those of larger λ₁ are less robust."
    text += f"As deviations from the mean of their batch size, the correlation is {_with_attacks(within)}: "
    signs = [sign(interval) for interval in within.values()]
    if all(mark < 0 for mark in signs):
        return f"{text}at one batch size, too, the nets in sharper minima are less robust."
    if any(mark < 0 for mark in signs):
        return f"{text}at one batch size the nets in sharper minima are less robust to one attack only."
    if any(mark > 0 for mark in signs):
        return f"{text}at one batch size the nets in sharper minima are more robust, so that sharpness alone does not make a net vulnerable."
    return f"{text}at one batch size, flatter minima are not measurably more robust, so these runs do not show that sharpness makes a net vulnerable."


def _with_attacks(intervals) -> str:
    """A statistic under each attack."""
    return " and ".join(f"{show(interval, 2)} under {attack}" for attack, interval in intervals.items())
