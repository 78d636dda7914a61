"""Figure, claims and text. Do small batches find flatter minima, and what does the course's formula measure? Sharpness against the batch size.

Reads the rows of `hw1.generalization.sharpness` (net, batch_size, seed, losses, accuracies, examples, scope, method,
norm, value, sharpness, gradient_norm, status).
"""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hw1.findings import style
from hw1.findings.style import BLUE, GREEN, PURPLE, VERMILION
from hw1.findings.verdict import ALIKE_WORSE, BATCH_SHARPNESS, HOMEWORK, KESKAR, OWN, SHARP_WORSE, Claim, check, claim
from hw1.findings.words import net_on_images, number, plural, show, sign, span, training_loss
from hw1.statistics import Interval, correlation_given, geometric_mean, mean_interval, rank_correlation


def figure(rows, settings) -> Figure:
    """The course's sharpness against the batch size, the spectral norm by scope and examples, and the wrong norm.

    Points are means over seeds with 95 % intervals, geometric ones on logarithmic axes.
    """
    fig, ((first, second), (third, fourth)) = style.figure(2, 2, 4.6)
    course, few = _course(rows), settings["examples"]
    style.with_batch_size((first, second), _measured(course, "lanczos", "block", few), "sharpness", "sharpness")
    kinds = {
        f"block, {few} examples": ("block", few, {"color": GREEN}),
        f"full, {few} examples": ("full", few, {"color": PURPLE}),
        f"full, all {settings['train']} examples": ("full", settings["train"], {"color": PURPLE, "linestyle": ":"}),
    }
    for scope, examples, look in kinds.values():
        style.curve(third, _measured(course, "lanczos", scope, examples), "batch_size", "value", **look)
    third.set_ylabel("spectral norm ‖H‖₂")
    third.legend([_line(look) for *_, look in kinds.values()], kinds, loc="upper left")
    fourth.set_yscale("log")
    norms = {
        r"$\Vert H \Vert_2$, as intended": ("lanczos", {"color": GREEN}),
        r"$\Vert H \Vert_F$, as tf.norm(A, 2) returns": ("hutch++", {"color": VERMILION}),
    }
    for method, look in norms.values():
        style.curve(fourth, _measured(course, method, "block", few), "batch_size", "sharpness", **look)
    fourth.set_ylabel("sharpness")
    fourth.legend([_line(look) for _, look in norms.values()], norms, loc="upper left")
    for axes, room in ((third, 1.35), (fourth, 4)):  # for the legends
        style.log_x(axes, "batch size")
        axes.set_ylim(top=axes.get_ylim()[1] * room)
    style.legend(fig, style.sets(BLUE) | {"sharpness ‖H‖₂ ε² / (2 (1 + L)), right axis": {"color": GREEN}})
    return fig


def _course(rows):
    """The rows of the course's net, without those that diverged."""
    return rows[(rows.net == "course") & (rows.status != "diverged")]


def _measured(rows, method, scope, examples):
    """The rows of one way to measure the Hessian's norm."""
    return rows[(rows.method == method) & (rows.scope == scope) & (rows.examples == examples)]


def _line(look):
    return Line2D([], [], **look)


def claims(rows, settings) -> Iterator[Claim]:
    """Large batches end in sharp minima, and sharp minima generalise worse; `tf.norm(A, 2)` is the spectral norm."""
    blocks, nets = _measured(_course(rows), "lanczos", "block", settings["examples"]), rows[rows.net == "course"]
    yield claim(
        KESKAR,
        "Larger batches end in sharper minima (Spearman's correlation of batch size and the course's sharpness)",
        rank_correlation(blocks, "batch_size", "sharpness"),
        nets,
        above=0,
        topic=BATCH_SHARPNESS,
    )
    sides = {"accuracy": {"below": 0}, "loss": {"above": 0}}
    for column, side in sides.items():
        yield claim(
            KESKAR,
            f"Sharper minima generalise worse (Spearman's correlation of the course's sharpness and test {column} over batch sizes)",
            rank_correlation(blocks, "sharpness", f"test_{column}"),
            nets,
            **side,
            topic=SHARP_WORSE,
        )
    for column, side in sides.items():
        yield claim(
            OWN,
            f"Of nets of one batch size the sharper ones generalise worse (Spearman's correlation of the course's sharpness and test {column}, both as deviations from the mean of their batch size)",
            correlation_given(blocks, "sharpness", f"test_{column}", "batch_size"),
            nets,
            **side,
            topic=ALIKE_WORSE,
        )
    yield check(
        f"{HOMEWORK} 1-3",
        "tf.norm(A, 2) is the 2-norm (its ratio to tf.norm(A, 2, axis=(-2, -1)) mean and range over the reference nets, 1 ± 0.01)",
        _as_printed(rows, settings),
        (0.99, 1.01),
        published="1",
    )


def _as_printed(rows, settings) -> Interval:
    """The norm of the slides' recipe, as printed there, over the spectral norm: mean and range over the reference nets."""
    printed, spectral = (_values(_exact(rows, settings, norm)) for norm in ("tf.norm", "spectral"))
    ratios = printed / spectral
    return Interval(ratios.mean(), ratios.min(), ratios.max(), len(ratios))


def _exact(rows, settings, norm):
    """The rows of the reference nets that were measured by tf.hessians, with one norm."""
    exact = _measured(rows[rows.net == "reference"], "tf.hessians", "block", settings["examples"])
    return exact[exact.norm == norm]


def _values(rows):
    """The values of one way of measuring, by batch size and seed."""
    return rows.set_index(["batch_size", "seed"]).value


def _ratio(a, b):
    """The ratio of two ways of measuring, each seed's mean over the batch sizes, with its interval over seeds."""
    return mean_interval((_values(a) / _values(b)).groupby("seed").mean())


def comment(rows, settings) -> dict:
    """How sharpness goes with batch size and generalisation, what the formula measures, and how exact our norms are."""
    course, few = _course(rows), settings["examples"]
    blocks = _measured(course, "lanczos", "block", few)
    paragraphs = ["All nets diverged."]
    if len(blocks):
        paragraphs = [
            f"{_batch_size(blocks)} {_within(blocks)}".strip(),
            f"{_formula(course, few, settings)} {_slope(blocks, settings)}",
        ]
    return {
        "title": "Sharpness (bonus)",
        "method": _method(course, settings),
        "caption": f"Top: sharpness by the block-diagonal Hessian on {few} training examples, with loss and accuracy. Bottom: the spectral norm of the largest block or of the full Hessian, by number of examples (left); what the wrong norm changes (right).",
        "comment": [*paragraphs, _exactness(rows, settings)],
    }


def _method(course, settings) -> str:
    """Nets, the course's formula, and how its parts are computed."""
    text = f"The net {net_on_images(settings)} is trained by Adam with a constant step size of {settings['learning_rate']:g}. {training_loss(course, settings, 'Each net of the figure')} "
    text += f"$H$ is the Hessian of the loss $L$ with respect to the parameters. The course's formula for the sharpness, $norm(H)_2 epsilon^2 \\/ (2 (1 + L))$ with $epsilon$ = {number(settings['epsilon'], 1)}, omits the gradient. "
    return f"{text}A block of $H$ belongs to one kernel or bias; tf.hessians returns the blocks only, without the entries between them. $norm(H)_2$ is computed by Lanczos on Hessian-vector products, $norm(H)_F$ is estimated by Hutch++."


def _batch_size(blocks) -> str:
    """How sharpness goes with the batch size, and with generalisation."""
    smallest, largest = blocks.batch_size.min(), blocks.batch_size.max()
    first, last = (mean_interval(blocks[blocks.batch_size == size].sharpness) for size in (smallest, largest))
    with_batch = rank_correlation(blocks, "batch_size", "sharpness")
    with_loss = rank_correlation(blocks, "sharpness", "test_loss")
    with_accuracy = rank_correlation(blocks, "sharpness", "test_accuracy")
    verdicts = {
        1: "At equal training loss, nets trained with small batches are flatter.",
        -1: "At equal training loss, nets trained with small batches are sharper.",
        0: "At equal training loss, the batch size has no clear effect.",
    }
    text = f"Sharpness is {show(first)} at batch size {smallest} and {show(last)} at {largest}"
    if not np.isfinite(with_batch.value):
        return f"{text}; there are too few batch sizes for rank correlations."
    text += f"; its rank correlation with the batch size is {show(with_batch, 2)}. {verdicts[sign(with_batch)]} The rank correlation of sharpness is {show(with_loss, 2)} with test loss and {show(with_accuracy, 2)} with test accuracy: "
    verdicts = {
        (-1, 1): "flatter nets generalise better here, by both measures.",
        (-1, -1): "flatter nets have the higher test accuracy here, but also the higher test loss.",
        (-1, 0): "flatter nets have the higher test accuracy here, but not a measurably lower test loss.",
        (0, 1): "flatter nets have the lower test loss here, but not a measurably higher test accuracy.",
    }
    neither = "these runs do not show that flatter nets generalise better."
    return text + verdicts.get((sign(with_accuracy), sign(with_loss)), neither)


def _within(blocks) -> str:
    """How sharpness goes with generalisation at one batch size."""
    accuracy, loss = (
        correlation_given(blocks, "sharpness", f"test_{what}", "batch_size") for what in ("accuracy", "loss")
    )
    if not np.isfinite(accuracy.low):
        return ""
    text = f"As deviations from the mean of their batch size, the correlation of sharpness is {show(accuracy, 2)} with test accuracy and {show(loss, 2)} with test loss: "
    verdicts = {
        (-1, 1): "at one batch size, too, flatter nets generalise better.",
        (1, -1): "at one batch size flatter nets generalise worse.",
        (
            0,
            0,
        ): "at one batch size these runs do not show whether sharpness tells which net generalises better, so the batch size may be behind both.",
    }
    mixed = "at one batch size the two disagree, so the batch size may be behind the correlations above."
    return text + verdicts.get((sign(accuracy), sign(loss)), mixed)


def _formula(course, few, settings) -> str:
    """What the wrong norm, the blocks and the number of examples change."""
    block, full = (_measured(course, "lanczos", scope, few) for scope in ("block", "full"))
    frobenius = _measured(course, "hutch++", "block", few)
    ratios = _values(frobenius) / _values(block)
    trend = rank_correlation(frobenius, "batch_size", "sharpness")
    with_it = (
        f"; with it, the correlation of sharpness with the batch size is {show(trend, 2)}"
        if np.isfinite(trend.value)
        else ""
    )
    text = f"Without axis, tf.norm(A, 2) returns the Frobenius norm, here {show(_ratio(frobenius, block))} times the spectral norm ({span(ratios, 3)} for single nets){with_it}. The spectral norm of the full Hessian is {show(_ratio(full, block))} times that of its largest block."
    everything = settings["train"]
    all_examples = _measured(course, "lanczos", "full", everything)
    if everything == few or all_examples.empty:
        return text
    return f"{text} On all {everything} training examples it is {show(_ratio(all_examples, full))} times that on {few}."


def _slope(blocks, settings) -> str:
    """How the rise by the gradient, which the formula omits, compares with the rise by the curvature."""
    epsilon = settings["epsilon"]
    ratio = 2 * blocks.gradient_norm / (blocks.value * epsilon)
    mean = geometric_mean(np.exp(np.log(ratio).groupby(blocks.seed).mean()))
    text = f"The nets are not exactly at minima: within $epsilon$ = {number(epsilon, 1)} the gradient raises the loss by $norm(nabla L)_2 epsilon$, which is {show(mean, 2)} times the $norm(H)_2 epsilon^2 \\/ 2$ of the formula"
    if mean.value > 2:
        return f"{text}. So the formula measures the curvature, but not how far the loss rises within $epsilon$."
    return f"{text}."


def _exactness(rows, settings) -> str:
    """How far the matrix-free norms are from the exact ones, on small nets, and what the recipe as printed gives."""
    few, small = settings["examples"], net_on_images(settings, settings["reference_hidden"])
    reference = rows[(rows.net == "reference") & (rows.status != "diverged")]
    if reference.empty:
        return ""
    printed, exact = (_exact(rows, settings, norm) for norm in ("tf.norm", "spectral"))
    lanczos, hutch = (_values(_measured(reference, method, "block", few)) for method in ("lanczos", "hutch++"))
    error = max((lanczos / _values(exact) - 1).abs().max(), 1e-7)  # the CSV has seven digits
    hutch_error = (hutch / _values(printed) - 1).abs().max()
    text = f"The norms are tested on {plural(len(lanczos), 'reference net')} {small}, small enough for tf.hessians, at training loss {span(reference.train_loss, 3)}{_above(reference, settings)}. "
    text += f"There the recipe as the slides print it, tf.hessians and tf.norm(A, 2), gives sharpness {span(printed.sharpness, 3)}; with axis=(−2, −1) it is {span(exact.sharpness, 3)}. "
    return f"{text}The relative error of Lanczos is at most {number(error, 1)} for the spectral norm, that of Hutch++ at most {number(hutch_error, 2)} for the Frobenius norm."


def _above(reference, settings) -> str:
    """Says of the small nets, if so, that they did not come down to the target of the others."""
    missed = (reference.status == "target not reached").any()
    return f" (the target of {settings['target_loss']:g} was not reached)" if missed else ""
