"""Figure, claims and text. Do deep nets learn a function better than shallow ones of equally many parameters? Errors and predictions.

Reads the rows of `hw1.deep_vs_shallow.simulate_function` (function, hidden, seed, epoch, loss, test_loss) and its table
`predictions` (function, hidden, seed, x, prediction, target).
"""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import DEPTH_COLOURS
from hw1.findings.verdict import HOMEWORK, Claim, claim
from hw1.findings.words import listed, net, number, show, sign
from hw1.statistics import geometric_mean, last_rows, mean_interval

FORMULAS = {"sinc": "sin(5πx) / (5πx)", "sign": "sgn(sin(5πx))"}
# Final mean squared errors on the course's slides, which do not give the number of points.
KNOWN = {
    "sinc": {"5-10-10-10-10-10-5": 2.9e-6, "10-18-15-4": 3.5e-6, "190": 1.8e-5},
    "sign": {"5-10-10-10-10-10-5": 0.0095, "10-18-15-4": 0.0117, "190": 0.0655},
}


def figure(rows, settings, predictions) -> Figure:
    """The loss per epoch and the predictions of each net, one row of panels per function.

    Losses are geometric means over seeds with 95 % intervals. Predictions are those of the best seed, with the range
    of all seeds as a band. Uses the table `predictions`.
    """
    functions, nets = settings["functions"], settings["nets"]
    ratios = [1.5] + [1] * len(nets)
    fig, panels = style.figure(len(functions), 1 + len(nets), 2.1 * len(functions), squeeze=False, width_ratios=ratios)
    for (left, *right), function in zip(panels, functions, strict=True):
        left.set(yscale="log", xlabel="epoch", ylabel="mean squared error", title=FORMULAS[function])
        for axes, hidden, colour in zip(right, nets, DEPTH_COLOURS, strict=False):
            net = _of(rows, function, hidden)
            style.curve(left, net, "epoch", "loss", band=True, color=colour, linewidth=0.8)
            final = last_rows(net).set_index("seed").loss.fillna(np.inf)
            _draw_predictions(axes, _of(predictions, function, hidden), final.idxmin(), colour)
            axes.set_title(f"best seed: {final.min():.2g}")
        right[0].set_ylabel("output")
        for axes in right[1:]:
            axes.tick_params(labelleft=False)
    looks = {"function": {"color": "#bbbbbb", "linewidth": 3}}
    for hidden, colour in zip(nets, DEPTH_COLOURS, strict=False):
        looks[hidden] = {"color": colour}
    style.legend(fig, looks)
    return fig


def _draw_predictions(axes, predictions, best, colour):
    """The function in grey, the predictions of the best seed as a line, the range of all seeds as a band."""
    at_x = predictions.groupby("x").prediction
    net = predictions[predictions.seed == best]
    axes.plot(net.x, net.target, color="#bbbbbb", linewidth=3)
    axes.plot(net.x, net.prediction, color=colour, linewidth=1)
    axes.fill_between(net.x, at_x.min(), at_x.max(), color=colour, alpha=0.25, linewidth=0)
    low, high = net.target.min(), net.target.max()
    room = 0.15 * (high - low)
    axes.set(xlabel="x", xlim=(-0.03, 1.03), xticks=(0, 0.5, 1), ylim=(low - room, high + room))


def _of(rows, function, hidden):
    """The rows of one net on one function; a name such as 190 may have been read as a number."""
    return rows[(rows.function == function) & (rows.hidden.astype(str) == hidden)]


def claims(rows, settings, **_) -> Iterator[Claim]:
    """Depth helps to learn a function: the deepest net against the shallowest, for each function."""
    deep, shallow = settings["nets"][0], settings["nets"][-1]
    for function in settings["functions"]:
        losses = {hidden: _final(rows, function, hidden).loss for hidden in (deep, shallow)}
        known = KNOWN[function]
        yield claim(
            f"{HOMEWORK} 1-1",
            f"With equally many parameters, deep {deep} learns {FORMULAS[function]} better than shallow {shallow} (ratio of errors, shallow to deep)",
            geometric_mean(losses[shallow] / losses[deep]),
            published=f"{known[deep]:g} against {known[shallow]:g}" if {deep, shallow} <= known.keys() else "",
            above=1,
        )


def _final(rows, function, hidden):
    """The last row of each seed of a net, by seed."""
    return last_rows(_of(rows, function, hidden)).set_index("seed").sort_index()


def comment(rows, settings, predictions) -> dict:
    """The errors of all nets, compared with those on the slides, and whether depth helps."""
    nets = listed(net([1, *map(int, hidden.split("-")), 1], settings["activation"]) for hidden in settings["nets"])
    drawn = predictions.groupby("function").x.nunique().max()
    return {
        "title": "Learning a function",
        "method": f"The nets {nets} minimise the mean squared error by Adam. The learning rate falls to zero along a cosine, in the same way for all nets. The slides do not give the number of training points behind their errors, which are therefore only a guide.",
        "caption": f"Left: mean squared error at the training points per epoch. Right: the function (grey) and the predictions of each net at {drawn} of the training points, the best seed as a line and the range of all seeds as a band; the error of the best seed is given above each panel.",
        "comment": [_paragraph(rows, settings["nets"], function) for function in settings["functions"]],
    }


def _paragraph(rows, nets, function) -> str:
    """The errors on one function: at the training points, and midway between them."""
    final = {hidden: _final(rows, function, hidden) for hidden in nets}
    best = listed(f"{number(net.loss.min(), 2)} ({hidden})" for hidden, net in final.items())
    means = listed(show(geometric_mean(net.loss), 2) for net in final.values())
    between = listed(number(mean_interval(net.test_loss).value, 2) for net in final.values())
    text = (
        f"{FORMULAS[function]}: the best seed reaches a mean squared error of {best}{_known(final, KNOWN[function])}. "
    )
    text += f"The geometric means over seeds are {means}. {_depth(final, nets[0], nets[-1])} "
    text += f"Midway between the training points the error is {between} on average."
    if function == "sign":
        text += " The training points do not determine where between them the function jumps."
    return text


def _known(final, known) -> str:
    """Says which nets reach the errors on the slides."""
    shared = [hidden for hidden in final if hidden in known]
    if not shared:
        return ""
    values = listed(number(known[hidden]) for hidden in shared)
    whose = "" if len(shared) == len(final) else f" for {listed(shared)}"
    reached = listed(f"{(final[hidden].loss <= known[hidden]).sum()}" for hidden in shared)
    return f"; the slides give {values}{whose}, which {reached} of {len(final[shared[0]])} seeds reach"


def _depth(final, deepest, shallowest) -> str:
    """Says whether depth helped, by the ratio of errors over seeds."""
    ratio = geometric_mean(final[shallowest].loss / final[deepest].loss)
    verdicts = {1: "Depth helps", 0: "Depth has no measurable effect", -1: "Depth does not help"}
    return f"{verdicts[sign(ratio, 1)]}: the error of {shallowest} is {show(ratio, 2)} times that of {deepest}."
