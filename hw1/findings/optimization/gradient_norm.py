"""Figure, claims and text. How does the gradient norm change while the loss falls? Both at every step, on a function and on images.

Reads the rows of `hw1.optimization.gradient_norm` (task, seed, step, loss, gradient_norm, status) and its table
"accuracy" (task, seed, step, losses and accuracies).
"""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import BLUE, GREEN, VERMILION
from hw1.findings.verdict import OWN, Claim, claim
from hw1.findings.words import net, net_on_images, number, show, sign
from hw1.statistics import Interval, geometric_mean, last_rows, mean_interval, rank_correlation

BOOK = "Goodfellow, Bengio and Courville, Deep Learning, figure 8.1"
TASKS = {"sinc": ("sinc function", "squared error"), "images": ("images", style.LOSS)}
SMOOTHED_OVER = 50  # steps
START, LATE = 0.01, 0.5  # the start of training, its first hundredth; its late part, the second half
END = 50  # steps at the end of training
PARTS = 20  # equal parts of the training whose means are ranked


def figure(rows, settings, accuracy) -> Figure:
    """Gradient norm and loss at every step, one net (thin) and the smoothed geometric mean over seeds; test accuracy."""
    fig, panels = style.figure(2, 2, 2.9, sharex="col")
    for (above, below), (task, (name, loss)) in zip(panels.T, TASKS.items(), strict=True):
        _draw_steps(above, _of(rows, task), "gradient_norm", VERMILION)
        _draw_steps(below, _of(rows, task), "loss", BLUE)
        above.set(title=name, ylabel="‖∇L‖₂ of the batch")
        below.set(xlabel="step", ylabel=loss)
    right = style.twin(panels[1, 1], GREEN, "test accuracy")
    style.curve(right, accuracy, "step", "test_accuracy", band=True, color=GREEN)
    right.set_ylim(0, 1.03)
    looks = {
        "one net": {"color": "#777777", "linewidth": 0.5},
        f"geometric mean over {SMOOTHED_OVER} steps and all nets": {"color": "#333333"},
        "test accuracy": {"color": GREEN},
    }
    style.legend(fig, looks)
    return fig


def _of(rows, task):
    """The rows of the nets on one task, without those that diverged."""
    return rows[(rows.task == task) & (rows.status != "diverged")]


def _draw_steps(axes, nets, quantity, colour):
    """A quantity at every step on a logarithmic axis: the first net, and the smoothed mean over all nets."""
    axes.set_yscale("log")
    axes.grid(axis="x", visible=False)
    if nets.empty:
        axes.text(0.5, 0.5, "all nets diverged", transform=axes.transAxes, ha="center")
        return
    table = nets.pivot(index="step", columns="seed", values=quantity)
    axes.plot(table.iloc[:, 0], color=colour, linewidth=0.4, alpha=0.45)
    style.curve(axes, _smoothed(table, quantity), "step", quantity, band=True, color=colour)


def _smoothed(table, quantity):
    """The running geometric mean of each column (a seed), as rows of step, seed and value."""
    smooth = np.exp(np.log(table).rolling(SMOOTHED_OVER, center=True, min_periods=1).mean())
    return smooth.stack().rename(quantity).reset_index()


def claims(rows, settings, accuracy) -> Iterator[Claim]:
    """Whether the gradient norm grows on images, over the whole training and against its start; and on the function."""
    steps, all_nets = settings["steps"], {task: rows[rows.task == task] for task in TASKS}
    trained = _successful(_of(rows, "images"), accuracy, settings)
    while_ = f"while training on images succeeds, for {steps:,} steps"
    yield claim(
        BOOK,
        f"The gradient norm grows over the whole training {while_} (Spearman's correlation of time and the means over {PARTS} equal parts)",
        _trend(trained, steps),
        all_nets["images"],
        above=0,
    )
    yield claim(
        BOOK,
        f"The gradient norm is larger than at the start {while_} (ratio of means, second half to first hundredth)",
        _ratio(trained, "gradient_norm", steps),
        all_nets["images"],
        above=1,
    )
    yield claim(
        OWN,
        f"The gradient norm on the function falls with the loss, for {steps:,} steps (ratio of means, second half to first hundredth)",
        _ratio(_of(rows, "sinc"), "gradient_norm", steps),
        all_nets["sinc"],
        below=1,
    )


def _successful(nets, accuracy, settings):
    """The steps of the nets, without values where the training did not succeed: there is nothing to judge then."""
    final = last_rows(accuracy).set_index("seed").test_accuracy
    succeeded = nets.seed.map(final).to_numpy(np.float64) > (settings["chance"] + 1) / 2
    return nets.assign(gradient_norm=nets.gradient_norm.where(succeeded))


def _parts(nets, steps):
    """The mean gradient norm of each seed over each part of the training, as rows of seed, part and gradient_norm."""
    parts = nets.step * PARTS // steps
    return nets.groupby(["seed", parts.rename("part")]).gradient_norm.mean().reset_index()


def _trend(nets, steps) -> Interval:
    """The rank correlation of time and gradient norm, over all parts of the training."""
    return rank_correlation(_parts(nets, steps), "part", "gradient_norm")


def _ratio(nets, quantity, steps, since: int | None = None) -> Interval:
    """The mean of a quantity from step `since` on, by default over the second half, divided by its mean at the start."""
    first = nets[nets.step < max(1, steps * START)].groupby("seed")[quantity].mean()
    last = nets[nets.step >= (steps * LATE if since is None else since)].groupby("seed")[quantity].mean()
    return geometric_mean(last / first)


def comment(rows, settings, accuracy) -> dict:
    """How gradient norm and loss change from the start to the second half of the training, and in between."""
    steps = settings["steps"]
    text = _sentence(_of(rows, "sinc"), "On the function", steps) + _sentence(_of(rows, "images"), "On images", steps)
    text += _success(accuracy, settings) + _book(_successful(_of(rows, "images"), accuracy, settings), steps)
    text += "The gradient of one batch does not vanish at a minimum of the mean loss either."
    function = net([1, *settings["function_hidden"], 1], "tanh")
    images = net_on_images(settings)
    return {
        "title": "Gradient norm along training",
        "method": f"On the sinc function, sin(5πx) / (5πx), the net {function} minimises the squared error with batches of {settings['function_batch_size']} points, on images the net {images} the cross-entropy with batches of {settings['batch_size']}, both for {steps:,} steps of Adam with a constant learning rate. Loss and gradient norm are those of the batch, over all parameters, before each update.",
        "caption": "Gradient norm (top) and loss (bottom) at every step, for the function (left) and for images (right, with the test accuracy).",
        "comment": [text],
    }


def _sentence(nets, where, steps) -> str:
    """Says whether the gradient norm falls or rises on a task, from its start and over the whole training."""
    if nets.empty:
        return f"{where} all nets diverged. "
    norm, loss = (_ratio(nets, quantity, steps) for quantity in ("gradient_norm", "loss"))
    verb = {-1: "smaller than", 0: "not measurably different from that", 1: "larger than"}[sign(norm, 1)]
    text = f"{where} the gradient norm in the second half of the training is {verb} at the start: its mean is {show(norm, 2)} times that over the first hundredth of the steps, and the mean loss {show(loss, 2)} times that over these steps. "
    means = _parts(nets, steps).groupby("part").gradient_norm.apply(lambda values: geometric_mean(values).value)
    if len(means) < 2:
        return text
    most = means.idxmax()
    peak = f"largest around step {int((most + 0.5) * steps / PARTS):,}"
    return f"{text}{_course(sign(_trend(nets, steps)), peak, most, means)} "


def _course(trend, peak, most, means) -> str:
    """Says how the gradient norm goes over the whole training."""
    last = means.index.max()
    if trend > 0:
        return f"Over the whole training it tends to rise, and is {peak}."
    if most == means.index.min():
        return "It tends to fall over the whole training." if trend < 0 else "It has no clear trend."
    fall = f"at the end it is {number(means[last] / means[most], 2)} times that"
    tends = "tends to fall over the whole training" if trend < 0 else "has no clear trend over the whole training"
    return f"It is {peak}; {fall}, and it {tends}."


def _book(trained, steps) -> str:
    """Whether the norm grows as in the book's figure; empty where the training did not succeed."""
    late, trend = _ratio(trained, "gradient_norm", steps), _trend(trained, steps)
    end = _ratio(trained, "gradient_norm", steps, max(0, steps - END))
    if not (np.isfinite(late.low) and np.isfinite(trend.low)):
        return ""
    text = f"Over the last {min(END, steps)} steps the norm is {show(end)} times that at the start. In the figure of Goodfellow et al. it grows throughout a successful training. "
    larger, grows = sign(late, 1) > 0, sign(trend) > 0
    if larger != grows:
        half = "the norm is larger in the second half" if larger else "it tends to rise"
        other = "it does not keep growing" if larger else "it is not larger in the second half"
        return f"{text}That is half confirmed: {half}, but {other}. "
    return f"{text}That is {'confirmed' if larger else 'not confirmed'}. "


def _success(accuracy, settings) -> str:
    """Says whether the training on images succeeds: whether it comes at least halfway from chance to accuracy 1."""
    final = mean_interval(last_rows(accuracy).test_accuracy)
    if not np.isfinite(final.value):
        return ""
    epochs = number(settings["steps"] / -(-settings["train"] // settings["batch_size"]), 2)
    chance, succeeds = settings["chance"], final.value > (settings["chance"] + 1) / 2
    return f"Training on images {'succeeds' if succeeds else 'does not succeed'}: after {epochs} epochs the test accuracy is {show(final)}, against {number(chance)} for the largest class. "
