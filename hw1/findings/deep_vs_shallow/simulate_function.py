"""Figure, claims and text. Do deep nets learn a function better than shallow ones of equally many parameters? Errors and predictions.

Reads the rows of `hw1.deep_vs_shallow.simulate_function` (function, hidden, seed, epoch, loss, test_loss) and its table
`predictions` (function, hidden, seed, x, prediction, target).
"""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.verdict import HOMEWORK, OWN, Claim, claim
from hw1.findings.words import listed, net, number, plural, show, sign
from hw1.statistics import geometric_mean, last_rows

NAMES = {"sinc": "sinc function", "sign": "sign function"}
FORMULAS = {"sinc": "sin(5πx) / (5πx)", "sign": "sgn(sin(5πx))"}
# Final mean squared errors on the course's slides, which do not give the number of points.
KNOWN = {
    "sinc": {"5-10-10-10-10-10-5": 2.9e-6, "10-18-15-4": 3.5e-6, "190": 1.8e-5},
    "sign": {"5-10-10-10-10-10-5": 0.0095, "10-18-15-4": 0.0117, "190": 0.0655},
}
GREY = {"color": "#bbbbbb", "linewidth": 4}  # of the function


def figure(rows, settings, predictions) -> Figure:
    """The loss per epoch, the predictions of all nets in one panel and of each in its own; a row per function.

    Losses are geometric means over seeds with 95 % intervals. Predictions are those of the best seed, with the range
    of all seeds as a band; the functions are drawn with their jumps. Uses the table `predictions`.
    """
    functions, nets = settings["functions"], style.of_depths(settings["nets"])
    ratios = [1.5, 1.5] + [1] * len(nets)
    fig, panels = style.figure(len(functions), 2 + len(nets), 1.75 * len(functions), squeeze=False, width_ratios=ratios)
    for (left, together, *alone), function in zip(panels, functions, strict=True):
        left.set(yscale="log", xlabel="epoch", ylabel="mean squared error", title=NAMES[function])
        left.tick_params(axis="x", labelrotation=30)
        together.set_title("all nets, best seeds")
        widths = np.linspace(2.6, 0.8, len(nets))  # each net can be seen behind those that are drawn later
        for axes, (hidden, colour), width in zip(alone, nets.items(), widths, strict=True):
            net = _of(rows, function, hidden)
            style.curve(left, net, "epoch", "loss", band=True, color=colour, linewidth=0.8)
            final = last_rows(net[net.status != "diverged"]).set_index("seed").loss
            if final.empty:
                axes.set_title("all diverged")
                continue
            points = _of(predictions, function, hidden)
            points = points[points.seed.isin(final.index)]
            best = points[points.seed == final.idxmin()]
            for panel, thickness in ((together, width), (axes, 1)):
                panel.plot(*_function(function), zorder=1, **GREY)
                panel.plot(best.x, best.prediction, color=colour, linewidth=thickness)
            at_x = points.groupby("x").prediction
            axes.fill_between(at_x.min().index, at_x.min(), at_x.max(), color=colour, alpha=0.25, linewidth=0)
            axes.set_title(f"best: {final.min():.2g}")
        together.set_ylabel("output")
        for axes in (together, *alone):
            axes.set(xlabel="x", xlim=(-0.03, 1.03), xticks=(0, 0.5, 1))
            axes.sharey(together)
        for axes in alone:
            axes.tick_params(labelleft=False)
        _limits(together, predictions[predictions.function == function].target)
    style.legend(fig, {"function": GREY} | {hidden: {"color": colour} for hidden, colour in nets.items()})
    return fig


def _function(name) -> tuple[np.ndarray, np.ndarray]:
    """x, at 2,000 places between 0 and 1 of which none is a jump, and the function there."""
    x = (np.arange(2000) + 0.5) / 2000
    return x, np.sinc(5 * x) if name == "sinc" else np.sign(np.sin(5 * np.pi * x))


def _limits(axes, target):
    """A y axis around the function, whatever a net predicts."""
    room = 0.15 * (target.max() - target.min())
    axes.set_ylim(target.min() - room, target.max() + room)


def _of(rows, function, hidden):
    """The rows of one net on one function; a name such as 190 may have been read as a number."""
    return rows[(rows.function == function) & (rows.hidden.astype(str) == hidden)]


def claims(rows, settings, **_) -> Iterator[Claim]:
    """Depth helps to learn a function, for each function; the smooth one also between the training points."""
    deep, *others = settings["nets"]
    if not others:
        return
    for function in settings["functions"]:
        shallow, known = others[-1], KNOWN[function]
        yield claim(
            f"{HOMEWORK} 1-1",
            f"With equally many parameters, deep {deep} learns the {NAMES[function]} better than shallow {shallow} (ratio of errors at the training points, shallow to deep)",
            _ratio(rows, function, shallow, deep),
            _nets(rows, function, (deep, shallow)),
            published=f"{known[deep]:g} against {known[shallow]:g}" if {deep, shallow} <= known.keys() else "",
            above=1,
        )
        if function == "sinc":
            yield claim(
                OWN,
                f"With equally many parameters, deep {deep} gives the {NAMES[function]} better than shallow {shallow} between the training points too (ratio of errors midway between them, shallow to deep)",
                _ratio(rows, function, shallow, deep, "test_loss"),
                _nets(rows, function, (deep, shallow)),
                above=1,
            )


def _nets(rows, function, names):
    """The last rows of some nets on one function, the diverged ones included."""
    of_function = rows[(rows.function == function) & rows.hidden.astype(str).isin(names)]
    last = last_rows(of_function, ["hidden", "seed"])
    return last.assign(net=last.hidden.astype(str), data=function)


def _final(rows, function, hidden):
    """The last row of each seed of a net, by seed."""
    return last_rows(_of(rows, function, hidden)).set_index("seed").sort_index()


def _ratio(rows, function, one, other, column="loss"):
    """The error of one net as a multiple of that of another, seed by seed."""
    return geometric_mean(_final(rows, function, one)[column] / _final(rows, function, other)[column])


def comment(rows, settings, predictions) -> dict:
    """The errors of all nets, compared with those on the slides, and whether depth helps."""
    functions = listed(f"the {NAMES[name]} {FORMULAS[name]}" for name in settings["functions"])
    nets = listed(net([1, *map(int, hidden.split("-")), 1], settings["activation"]) for hidden in settings["nets"])
    drawn = predictions.groupby("function").x.nunique().max()
    points, seeds = settings["points"], settings["seeds"]
    zeros = "The training target of the sign function is 0 where x is a multiple of 0.2, as sin(5πx) is 0 there. "
    zeros = zeros if "sign" in settings["functions"] and points % 5 == 0 else ""
    return {
        "title": "Learning a function",
        "method": f"The nets {nets} learn {functions}: Adam minimises the mean squared error at the {points} training points x = 1/{points}, 2/{points}, …, 1. The learning rate falls to zero along a cosine, in the same way for all nets. {zeros}Errors are geometric means over seeds. The error midway between the training points is measured too. The slides do not give the number of training points behind their errors, which are therefore only a guide.",
        "caption": f"Left: mean squared error at the training points per epoch, geometric mean over {plural(seeds, 'seed')}. Then the function (grey) and the predictions at {drawn} of the training points, joined by lines: of the best of the {plural(seeds, 'seed')} of each net in one panel, and of each net in a panel of its own, with the error of the best seed above it. Bands are the range of all seeds; mostly it is narrower than the line.",
        "comment": [_paragraph(rows, settings["nets"], function) for function in settings["functions"]],
    }


def _paragraph(rows, nets, function) -> str:
    """The errors on one function: at the training points, and midway between them."""
    final = {hidden: _final(rows, function, hidden) for hidden in nets}
    final = {hidden: net for hidden, net in final.items() if net.loss.notna().any()}
    name = NAMES[function].capitalize()
    if not final:
        return f"{name}: all nets diverged."
    means = listed(f"{show(geometric_mean(net.loss), 2)} ({hidden})" for hidden, net in final.items())
    between = listed(show(geometric_mean(net.test_loss), 2) for net in final.values())
    text = f"{name}: the mean squared error at the training points is {means}{_known(final, KNOWN[function])}. "
    compared = len(final) == len(nets) > 1
    if compared:
        text += f"{_depth(rows, function, nets)} "
    text += f"Midway between the training points the error is {between}"
    return f"{text}{_between(rows, function, nets) if compared else '.'}"


def _known(final, known) -> str:
    """Says how many seeds reach the errors on the slides,."""
    shared = [hidden for hidden in final if hidden in known]
    if not shared:
        return ""
    values = listed(number(known[hidden]) for hidden in shared)
    whose = "" if len(shared) == len(final) else f" for {listed(shared)}"
    counts, seeds = [int((final[hidden].loss <= known[hidden]).sum()) for hidden in shared], len(final[shared[0]])
    reached = f", which {listed(map(str, counts))} of {plural(seeds, 'seed')} reach"
    if set(counts) == {seeds} and seeds > 1:
        reached = f"; all {seeds} seeds {'of each net ' if len(shared) > 1 else ''}reach them"
    return f"; the slides give {values}{whose}{reached}"


def _depth(rows, function, nets) -> str:
    """Says whether depth helped, by the ratio of errors over seeds, of the shallowest net and of those between."""
    verdicts = {1: "Depth helps", 0: "Depth has no measurable effect", -1: "Depth does not help"}
    deepest, *between, shallowest = nets
    ratio = _ratio(rows, function, shallowest, deepest)
    verdict = verdicts[sign(ratio, 1)] if np.isfinite(ratio.low) else "With one seed"
    text = f"{verdict}: the error of {shallowest} is {_show(ratio)} times that of {deepest}"
    for hidden in between:
        ratio = _ratio(rows, function, hidden, deepest)
        alike = np.isfinite(ratio.low) and not sign(ratio, 1)
        text += f", that of {hidden} {_show(ratio)} times{', which is no measurable difference' if alike else ''}"
    return f"{text}."


def _show(ratio) -> str:
    """A ratio to so many digits that its interval, as written, is on the same side of 1 as it is."""
    written = (ratio._replace(low=float(f"{ratio.low:.{n}g}"), high=float(f"{ratio.high:.{n}g}")) for n in (2, 3, 4))
    return show(ratio, next((n for n, it in zip((2, 3, 4), written, strict=True) if sign(it, 1) == sign(ratio, 1)), 5))


def _between(rows, function, nets) -> str:
    """The ratios of the errors midway between the training points, and whether the gain is one at these points only."""
    deepest, *others = nets
    ratios = {hidden: _ratio(rows, function, hidden, deepest, "test_loss") for hidden in others}
    text = f"; this is {listed(f'{_show(ratio)} times ({hidden})' for hidden, ratio in ratios.items())} the error of {deepest}."
    if _ratio(rows, function, others[-1], deepest).low > ratios[others[-1]].high:
        text += " So most of the gain is at the training points only."
    return (
        f"{text} Between two training points the position of a jump is not determined." if function == "sign" else text
    )
