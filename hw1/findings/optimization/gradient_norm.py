"""Figure, claims and text. How does the gradient norm change while the loss falls? Both at every step, on a function and on images.

Reads the rows of `hw1.optimization.gradient_norm` (task, seed, step, loss, gradient_norm, status).
"""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import BLUE, VERMILION
from hw1.findings.verdict import Claim, claim
from hw1.findings.words import net, net_on_images, show, sign
from hw1.statistics import Interval, geometric_mean

BOOK = "Goodfellow, Bengio and Courville, Deep Learning, figure 8.1"
TASKS = {"sinc": ("sin(5πx) / (5πx)", "squared error"), "images": ("images", style.LOSS)}
SMOOTHED_OVER = 50  # steps


def figure(rows, settings) -> Figure:
    """Gradient norm and loss at every step: one net (thin) and the smoothed geometric mean over seeds."""
    fig, panels = style.figure(2, 2, 3.1, sharex="col")
    for (above, below), (task, (name, loss)) in zip(panels.T, TASKS.items(), strict=True):
        _draw_steps(above, _of(rows, task), "gradient_norm", VERMILION)
        _draw_steps(below, _of(rows, task), "loss", BLUE)
        above.set(title=name, ylabel="‖∇L‖₂ of the batch")
        below.set(xlabel="step", ylabel=loss)
    looks = {
        "one net": {"color": "#777777", "linewidth": 0.5},
        f"geometric mean over {SMOOTHED_OVER} steps and all nets": {"color": "#333333"},
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
    table = nets.pivot(index="step", columns="seed", values=quantity)
    for seed in table.columns[:1]:
        axes.plot(table[seed], color=colour, linewidth=0.4, alpha=0.45)
    style.curve(axes, _smoothed(table, quantity), "step", quantity, band=True, color=colour)


def _smoothed(table, quantity):
    """The running geometric mean of each column (a seed), as rows of step, seed and value."""
    smooth = np.exp(np.log(table).rolling(SMOOTHED_OVER, center=True, min_periods=1).mean())
    return smooth.stack().rename(quantity).reset_index()


def claims(rows, settings) -> Iterator[Claim]:
    """The gradient norm grows while the loss falls, on each task."""
    steps = rows.step.max() + 1
    for task in rows[rows.status != "diverged"].task.unique():
        yield claim(
            BOOK,
            f"The gradient norm grows while training on {task} succeeds (ratio, last tenth to first hundredth of the steps)",
            _ratio(_of(rows, task), "gradient_norm", steps / 100, steps * 9 / 10),
            above=1,
        )


def _ratio(nets, quantity, early, late) -> Interval:
    """The mean of a quantity over the steps from `late` on, divided by its mean over the steps before `early`."""
    first = nets[nets.step < early].groupby("seed")[quantity].mean()
    last = nets[nets.step >= late].groupby("seed")[quantity].mean()
    return geometric_mean(last / first)


def comment(rows, settings) -> dict:
    """How gradient norm and loss change from the first to the last tenth of the steps."""
    text = _sentence(_of(rows, "sinc"), "On the function") + _sentence(_of(rows, "images"), "On images")
    ends = [show(_last_norm(_of(rows, task)), 2) for task in TASKS]
    text += f"Over the last tenth of the steps the gradient norm of a batch is {ends[0]} on the function and {ends[1]} on images. The gradient on the whole training set was not recorded. The next section looks for points where it is zero."
    function = net([1, *settings["function_hidden"], 1], "tanh")
    images = net_on_images(settings)
    return {
        "title": "Gradient norm along training",
        "method": f"On the function the net {function} minimises the squared error with batches of {settings['function_batch_size']} points, on images the net {images} the cross-entropy with batches of {settings['batch_size']}, both by Adam with a constant step size. Loss and gradient norm are those of the batch, over all parameters, before each update.",
        "caption": "Gradient norm (top) and loss (bottom) at every step, for the function (left) and for images (right).",
        "comment": [text],
    }


def _last_norm(nets) -> Interval:
    """The mean gradient norm over the last tenth of the steps, as a geometric mean over seeds."""
    last = nets[nets.step >= (nets.step.max() + 1) * 9 / 10]
    return geometric_mean(last.groupby("seed").gradient_norm.mean())


def _sentence(nets, where) -> str:
    """Says whether the gradient norm falls or rises on a task."""
    steps = nets.step.max() + 1
    norm, loss = (_ratio(nets, quantity, steps / 10, steps * 9 / 10) for quantity in ("gradient_norm", "loss"))
    verb = {-1: "falls", 0: "does not change measurably", 1: "rises"}[sign(norm, 1)]
    return f"{where} the gradient norm {verb}: its mean over the last tenth of the steps is {show(norm, 2)} times that over the first tenth; the mean loss is {show(loss, 2)} times as large. "
