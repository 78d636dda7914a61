"""Figure, claims and text. Do nets trained with small batches react less to their input? Three sensitivities against the batch size.

Reads the rows of `hw1.generalization.sensitivity` (batch_size, seed, losses, accuracies, loss_gradient_norm,
whole_loss_gradient_norm, jacobian_norm, status).
"""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import BLUE, GREEN, ORANGE, PURPLE
from hw1.findings.verdict import ALIKE_SENSITIVE, OWN, Claim, claim
from hw1.findings.words import net_on_images, show, sign, training_loss
from hw1.statistics import correlation_given, mean_interval, over_seeds, paired_difference, rank_correlation

NOVAK = "Novak et al., arXiv 1802.08760"


def figure(rows, settings) -> Figure:
    """Loss, accuracy and three sensitivities against the batch size, means over seeds with 95 % intervals."""
    fig, (left, middle, right) = style.figure(1, 3, 2.5)
    style.with_batch_size((left, middle), rows, "loss_gradient_norm", "mean ‖∂ℓ/∂x‖\n(nats per unit of pixel value)")
    right.set_yscale("log")
    scaled = rows.assign(whole_loss_gradient_norm=rows.whole_loss_gradient_norm * np.sqrt(settings["test"]))
    looks = style.sets(BLUE)
    for column, name, colour in (
        ("loss_gradient_norm", "mean ‖∂ℓ/∂x‖", GREEN),
        ("whole_loss_gradient_norm", "‖∂L/∂X‖ √n", ORANGE),
        ("jacobian_norm", "mean ‖∂p/∂x‖", PURPLE),
    ):
        style.curve(right, scaled, "batch_size", column, color=colour)
        looks[name] = {"color": colour}
    style.log_x(right, "batch size")
    style.log_ticks(right.yaxis)
    right.set_ylabel("sensitivity\n(per unit of pixel value)")
    style.legend(fig, looks)
    return fig


def claims(rows, settings) -> Iterator[Claim]:
    """Nets that are more sensitive to their input generalise worse, over batch sizes and at one batch size."""
    nets, sides = rows[rows.status != "diverged"], {"accuracy": {"below": 0}, "loss": {"above": 0}}
    for column, side in sides.items():
        yield claim(
            NOVAK,
            f"The larger the Jacobian of the class probabilities, the worse a net generalises (Spearman's correlation with test {column} over batch sizes)",
            rank_correlation(nets, "jacobian_norm", f"test_{column}"),
            rows,
            **side,
        )
    for column, side in sides.items():
        yield claim(
            OWN,
            f"Of nets of one batch size those with the larger Jacobian generalise worse (Spearman's correlation with test {column}, both as deviations from the mean of their batch size)",
            correlation_given(nets, "jacobian_norm", f"test_{column}", "batch_size"),
            rows,
            topic=ALIKE_SENSITIVE,
            **side,
        )


def comment(rows, settings) -> dict:
    """How sensitivity depends on the batch size, and how it goes with generalisation."""
    nets = rows[rows.status != "diverged"]
    text = ["All nets diverged."]
    if len(nets):
        text = [f"{_trends(nets)}{_generalisation(nets)} {_within(nets)}".strip(), _whole_set(nets, settings)]
    return {
        "title": "Sensitivity",
        "method": f"The net {net_on_images(settings)} is trained by Adam with a constant step size of {settings['learning_rate']:g}. {training_loss(nets, settings)} Sensitivity is measured on the whole test set.",
        "caption": f"Loss (left) and accuracy (middle) against the batch size, with the sensitivity on the right axis; the three definitions of sensitivity (right). $ell$ is the loss of one image $x$, $L$ the mean loss over the set $X$ of all {settings['test']:,} test images, $p$ the vector of class probabilities of an image, $n$ the number of images.",
        "comment": text,
    }


def _trends(nets) -> str:
    """How two sensitivities depend on the batch size."""
    text = _trend(nets, "loss_gradient_norm", "The mean norm of the loss gradient")
    return text + _trend(nets, "jacobian_norm", "The norm of the Jacobian of the class probabilities")


def _trend(nets, column, name) -> str:
    """How a column depends on the batch size: it rises, falls, or shows no trend; and its minimum, if inside the range."""
    means = nets.groupby("batch_size")[column].mean()
    least, first, last = means.idxmin(), means.index[0], means.index[-1]
    if first == last:
        return f"{name} is {show(mean_interval(nets[column]))} at batch size {first}. "
    correlation = rank_correlation(nets, "batch_size", column)
    values = nets.pivot(index="seed", columns="batch_size", values=column)
    rises = [paired_difference(values[end], values[least]) for end in (first, last)]
    if not np.isfinite(correlation.value):
        ends = [show(mean_interval(values[size])) for size in (first, last)]
        return f"{name} is {ends[0]} at batch size {first} and {ends[1]} at {last}. "
    verb = {1: "rises with", -1: "falls with", 0: "shows no clear trend with"}[sign(correlation)]
    text = f"{name} {verb} the batch size (Spearman correlation {show(correlation, 2)}). "
    if least in (first, last):
        return text
    return f"{text}Its mean is lowest at batch size {least}; it is higher by {show(rises[0], 2)} at {first} and by {show(rises[1], 2)} at {last}. "


def _generalisation(nets) -> str:
    """Says whether the more sensitive nets generalise worse."""
    gradient = rank_correlation(nets, "loss_gradient_norm", "test_loss")
    loss, accuracy = (rank_correlation(nets, "jacobian_norm", f"test_{quantity}") for quantity in ("loss", "accuracy"))
    if not np.isfinite(loss.value):  # there are fewer than three batch sizes
        return ""
    verdicts = {
        (1, -1): ": the more sensitive nets generalise worse.",
        (-1, 1): ": the more sensitive nets generalise better.",
        (0, -1): ": the more sensitive nets make more errors, but their test loss is not measurably higher.",
    }
    text = f"Over batch sizes, the norm of the loss gradient has a rank correlation of {show(gradient, 2)} with test loss, but it contains the factor $p - y$, the difference of the class probabilities and the one-hot label, and so grows with the loss by definition. The Jacobian does not depend on the labels; its correlation is {show(loss, 2)} with test loss and {show(accuracy, 2)} with test accuracy"
    return text + verdicts.get((sign(loss), sign(accuracy)), ".")


def _within(nets) -> str:
    """Says whether the more sensitive of the nets of one batch size generalise worse."""
    loss, accuracy = (
        correlation_given(nets, "jacobian_norm", f"test_{what}", "batch_size") for what in ("loss", "accuracy")
    )
    if not np.isfinite(loss.low):
        return ""
    text = f"As deviations from the mean of their batch size, the Jacobian has a rank correlation of {show(loss, 2)} with test loss and {show(accuracy, 2)} with test accuracy: "
    verdicts = {
        (1, -1): "at one batch size, too, the more sensitive nets generalise worse.",
        (
            1,
            0,
        ): "at one batch size, too, the more sensitive nets have the higher test loss, though not measurably more errors.",
        (
            0,
            -1,
        ): "at one batch size, too, the more sensitive nets make more errors, though their test loss is not measurably higher.",
        (
            0,
            0,
        ): "at one batch size these runs do not show whether the Jacobian tells which net generalises better, so the batch size may be behind both.",
        (-1, 1): "at one batch size the more sensitive nets generalise better.",
    }
    return text + verdicts.get((sign(loss), sign(accuracy)), "at one batch size the two disagree.")


def _whole_set(nets, settings) -> str:
    """How the gradient of the mean loss over the whole set compares, as the slides define it literally."""
    smallest, largest = nets.batch_size.min(), nets.batch_size.max()
    first, last = (mean_interval(nets[nets.batch_size == size].loss_gradient_norm) for size in (smallest, largest))
    ratio = over_seeds(nets, nets.loss_gradient_norm / nets.whole_loss_gradient_norm)
    return f"From batch size {smallest} to {largest} the mean norm changes from {show(first)} to {show(last)}. The slides' literal definition, the norm of the gradient of the mean loss over the whole set, gives a value smaller by a factor of {show(ratio, 2)}, which is √n = {settings['test'] ** 0.5:.0f} times the ratio of mean to root mean square. Measured on a training batch instead of one fixed set, it would fall with the batch size by definition."
