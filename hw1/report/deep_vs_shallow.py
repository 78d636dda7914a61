"""What the report says about part 1-1. Each function takes rows and settings and gives title, caption and comment.

Numbers are computed here from the rows; a sentence whose truth depends on a result is chosen by the result.
"""

import itertools

import numpy as np

from hw1.report.words import show, sign
from hw1.statistics import Interval, mean_interval, paired_difference

FORMULAS = {"sinc": "sin(5πx) / (5πx)", "sign": "sgn(sin(5πx))"}
# Final mean squared errors that the specification gives for comparison.
KNOWN = {
    "sinc": {"5-10-10-10-10-10-5": 2.9e-6, "10-18-15-4": 3.5e-6, "190": 1.8e-5},
    "sign": {"5-10-10-10-10-10-5": 0.0095, "10-18-15-4": 0.0117, "190": 0.0655},
}
KINDS = {"dnn": "DNN", "cnn": "CNN"}


def simulate_function(frame, settings, predictions) -> dict:
    """Comment on functions learned by deep and by shallow nets."""
    frame = frame.assign(hidden=frame.hidden.astype(str))
    nets, comments = settings["nets"], []
    for function in settings["functions"]:
        rows = frame[frame.function == function]
        final = {hidden: _last(rows[rows.hidden == hidden]) for hidden in nets}
        text = f"{FORMULAS[function]}: the mean squared error ends at {_errors(final)}. "
        text += _against_known(final, KNOWN[function])
        text += _against_shallow(final[nets[0]], final[nets[-1]], nets[0], nets[-1])
        beyond = {hidden: mean_interval(final[hidden].test_loss).value for hidden in nets}
        text += "Between the training points the mean error is " + _list(f"{beyond[h]:.2g} ({h})" for h in nets)
        if function == "sign":
            text += ": where the function jumps, no training point says on which side of a test point it does"
        comments.append(f"{text}.")
    return {
        "title": "Learning a function",
        "method": f"Nets of {_list(nets)}; one input, one output; mean squared error; Adam with a learning rate that falls "
        "to zero along a cosine, the same for all nets. The known values come without a number of points: they are a guide.",
        "caption": "Mean squared error at the training points per epoch (left); the function in grey, and over it what each "
        "net predicts: the best seed as a line, all seeds from least to greatest as a band; above it the best seed's error.",
        "comment": comments,
    }


def _last(rows):
    """The rows of the last epoch, by seed."""
    return rows[rows.epoch == rows.epoch.max()].set_index("seed").sort_index()


def _errors(final) -> str:
    return _list(
        f"{rows.loss.min():.2g} for {hidden} (best seed; geometric mean {_geometric(np.log(rows.loss))})"
        for hidden, rows in final.items()
    )


def _geometric(logarithms) -> str:
    return show(Interval(*np.exp(mean_interval(logarithms))), 2)


def _against_known(final, known) -> str:
    """Says which of the nets of the slides end at or below the known errors."""
    shared = [hidden for hidden in final if hidden in known]
    if not shared:
        return ""
    above = [hidden for hidden in shared if final[hidden].loss.min() > known[hidden]]
    values = _list(f"{known[hidden]:.2g} ({hidden})" for hidden in shared)
    if not above:
        return f"The known values are {values}: every net's best seed is at or below its own. "
    return f"The known values are {values}; above them stays the best seed of {_list(above)}. "


def _against_shallow(deep, shallow, deepest, shallowest) -> str:
    """Says whether depth helped, by the ratio of errors over seeds."""
    ratio = paired_difference(np.log(shallow.loss), np.log(deep.loss))
    factor = show(Interval(*np.exp(ratio)), 2)
    if sign(ratio) > 0:
        return f"Depth helps: the error of {shallowest} is {factor} times that of {deepest}. "
    if sign(ratio) < 0:
        return f"Depth does not help: the error of {shallowest} is only {factor} times that of {deepest}. "
    return f"No effect of depth is measurable: the error of {shallowest} is {factor} times that of {deepest}. "


def actual_task(frame, settings) -> dict:
    """Comment on deep and shallow nets of equal size on images."""
    comments = []
    for data, kind in itertools.product(frame.data.unique(), KINDS):
        rows = frame[(frame.data == data) & (frame.kind == kind)]
        nets = list(rows.hidden.unique())
        final = {hidden: _last(rows[rows.hidden == hidden]) for hidden in nets}
        deep, shallow = final[nets[0]], final[nets[-1]]
        text = f"{data}, {KINDS[kind]}: after {rows.epoch.max()} epochs test accuracy is "
        text += _list(f"{show(mean_interval(final[hidden].test_accuracy))} ({hidden})" for hidden in nets) + ". "
        text += _compare(deep.train_loss, shallow.train_loss, nets, "training loss", lower_is_better=True)
        comments.append(text + _compare(deep.test_accuracy, shallow.test_accuracy, nets, "test accuracy"))
    sizes = frame.groupby(["kind", "hidden"], sort=False).parameters.first()
    counts = [f"{KINDS[kind]} {hidden}: {size:,}" for (kind, hidden), size in sizes.items()]
    spread = sizes.max() / sizes.min() - 1
    return {
        "title": "Deep and shallow nets on images",
        "method": f"Parameters: {_list(counts)}, so the largest has {spread:.1%} more than the smallest. Adam with a constant "
        "learning rate; CNNs get few epochs because they cost most, so nets are compared at equal numbers of updates.",
        "caption": "Loss and accuracy per epoch of nets of equal size and different depth, on each data set: DNNs (left "
        "two columns), named by the widths of their hidden layers, and CNNs (right two).",
        "comment": comments,
    }


def _compare(deep, shallow, nets, quantity, lower_is_better=False) -> str:
    """Says whether the deepest net is better than the shallowest, and by how much."""
    gain = paired_difference(shallow, deep) if lower_is_better else paired_difference(deep, shallow)
    better = {1: "better", -1: "worse"}.get(sign(gain))
    if better is None:
        return (
            f"The {quantity} of {nets[0]} is not measurably different from that of {nets[-1]} (gain {show(gain, 2)}). "
        )
    size = gain if better == "better" else Interval(-gain.value, -gain.high, -gain.low)
    return f"The {quantity} of {nets[0]} is {better} than that of {nets[-1]} by {show(size, 2)}. "


def _list(parts) -> str:
    """The parts with commas between them, and "and" before the last."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


QUESTIONS = {"simulate_function": simulate_function, "actual_task": actual_task}
