"""Figure, claims and text. What lies on the straight line between two nets that were trained differently? Loss and accuracy along it.

Reads the rows of `hw1.generalization.interpolation` (pair, seed, alpha, losses, accuracies, status).
"""

from collections.abc import Iterator

from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import BLACK, BLUE, VERMILION
from hw1.findings.verdict import Claim, outward_growth, steeper_beyond_the_large_batch
from hw1.findings.words import net_on_images, show, sign
from hw1.statistics import geometric_mean, mean_interval, paired_difference

PAIRS = {"batch size": "batch_sizes", "learning rate": "learning_rates"}  # what differs → its setting


def figure(rows, settings) -> Figure:
    """Loss (blue, left) and accuracy (orange, right) along the line between two nets, one panel per pair.

    Lines are means over seeds with 95 % intervals, geometric ones for the loss. Solid is training, dashed test.
    """
    fig, panels = style.figure(1, 2, 2.7)
    for axes, (pair, setting) in zip(panels, PAIRS.items(), strict=True):
        lines = _of(rows, pair)
        style.line_between(axes, lines)
        if lines.empty:
            axes.text(0.5, 0.5, "all nets diverged", transform=axes.transAxes, ha="center")
        for end, value in zip((0, 1), settings[setting], strict=True):
            axes.text(end, 1.01, f"{value:g}", transform=axes.get_xaxis_transform(), ha="center", fontsize=7)
        axes.set(xlabel="α")
        axes.set_title(pair, pad=12)
    quantities = {"loss (left axis)": {"color": BLUE}, "accuracy (right axis)": {"color": VERMILION}}
    style.legend(fig, quantities | style.sets(BLACK))
    return fig


def _of(rows, pair):
    """The lines of one pair, without those between nets that diverged."""
    return rows[(rows.pair == pair) & (rows.status != "diverged")]


def claims(rows, settings) -> Iterator[Claim]:
    """The minimum of the large batch is the sharper one on the line between a small and a large batch."""
    lines = rows[rows.pair == "batch size"]
    if len(lines):
        yield from steeper_beyond_the_large_batch(lines, "course net", lines)


def comment(rows, settings) -> dict:
    """Whether the loss rises between the two nets, and on which side of the line it rises more beyond them."""
    paragraphs = [_paragraph(_of(rows, pair), pair, *settings[setting]) for pair, setting in PAIRS.items()]
    closing = "The loss along one line does not measure sharpness: the line is one direction out of thousands, and its unit is the distance between the two nets, so that “flatter” on it depends on the scale of the weights."
    return {
        "title": "On the line between two solutions",
        "method": f"The two nets of a pair have the architecture {net_on_images(settings)}. They start from the same weights and are trained by Adam with a constant learning rate until the training loss is at or below {settings['target_loss']:g} nats. Learning rates are compared at batch size {settings['batch_sizes'][0]}, batch sizes at learning rate {settings['learning_rates'][0]:g}.",
        "caption": "Loss (blue, left axis, logarithmic) and accuracy (orange, right axis) at $theta_alpha = (1 - alpha) theta_1 + alpha theta_2$. Dotted lines mark the two nets.",
        "comment": [*paragraphs, closing],
    }


def _paragraph(lines, pair, small, large) -> str:
    """How the loss goes on the line of one pair, between the two nets and beyond them."""
    text = f"{pair.capitalize()} {small:g} against {large:g}: "
    if lines.empty:
        return f"{text}all nets diverged."
    losses = lines.pivot(index="seed", columns="alpha", values="train_loss")
    inside = losses[[alpha for alpha in losses if 0 < alpha < 1]]
    rise = mean_interval(inside.max(axis=1) - losses[[0, 1]].max(axis=1))
    if sign(rise) > 0:
        text += f"between the two nets the training loss rises above that of the worse one, by {show(rise)} nats. "
    else:
        text += f"between the two nets the training loss does not measurably rise above that of the worse one ({show(rise)} nats). "
    step, behind, beyond = outward_growth(losses)
    text += f"Further out on the line, by {step:.2g} of their distance, the loss grows by a factor of {show(geometric_mean(behind))} beyond the net of {pair} {small:g} and of {show(geometric_mean(beyond))} beyond that of {large:g}"
    steeper = sign(geometric_mean(beyond / behind), 1)
    if steeper:
        text += f": on this one line the net of {pair} {small if steeper > 0 else large:g} is the flatter one. "
    else:
        text += ": on this line neither net is measurably flatter. "
    return text + _generalisation(lines, pair, small, large, steeper)


def _generalisation(lines, pair, small, large, steeper) -> str:
    """Which of the two nets has the lower test loss and the higher test accuracy, and whether it is the flatter one."""
    ends = (lines[lines.alpha == end].set_index("seed") for end in (0, 1))
    first, second = ends
    loss, accuracy = (paired_difference(second[column], first[column]) for column in ("test_loss", "test_accuracy"))
    text = f"From the net of {pair} {small:g} to that of {large:g}, test loss changes by {show(loss, 2)} and test accuracy by {show(accuracy, 2)}. "
    if not steeper:
        return f"{text}So this pair does not show whether the flatter net generalises better."
    flatter = [-sign(loss) * -steeper, sign(accuracy) * -steeper]  # +1 where the flatter net is the better one
    said = {1: "better", -1: "worse", 0: "not measurably different"}
    return f"{text}By test loss the flatter net is {said[flatter[0]]}, by test accuracy {said[flatter[1]]}."
