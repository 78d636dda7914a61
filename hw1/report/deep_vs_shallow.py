"""What the report says about part 1-1. Each function takes rows and settings and gives title, caption and comment.

Numbers are computed here from the rows; a sentence whose truth depends on a result is chosen by the result.
"""

import itertools

from hw1.report.words import number, show, sign
from hw1.statistics import Interval, geometric_mean, mean_interval, paired_difference

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
        text = f"{FORMULAS[function]}: the best seed's mean squared error ends at "
        text += _list(f"{number(rows.loss.min(), 2)} ({hidden})" for hidden, rows in final.items()) + _known(
            final, KNOWN[function]
        )
        text += (
            "The geometric means over seeds are "
            + _list(show(geometric_mean(rows.loss), 2) for rows in final.values())
            + ". "
        )
        text += _against_shallow(final[nets[0]], final[nets[-1]], nets[0], nets[-1])
        means = [number(mean_interval(rows.test_loss).value, 2) for rows in final.values()]
        text += f"Midway between the training points the error is {_list(means)} on average"
        if function == "sign":
            text += ": no training point says on which side of a test point the function jumps"
        comments.append(f"{text}.")
    return {
        "title": "Learning a function",
        "method": "One input, one output; mean squared error; Adam with a learning rate that falls to zero along a cosine, the "
        "same for all nets. The known values come without a number of points: they are a guide.",
        "caption": "Mean squared error at the training points per epoch (left); the function in grey, and over it what each "
        "net predicts: the best seed as a line, all seeds from least to greatest as a band; above it the best seed's error.",
        "comment": comments,
    }


def _last(rows):
    """The row of each seed's last epoch."""
    return rows[rows.epoch == rows.groupby("seed").epoch.transform("max")].set_index("seed").sort_index()


def _known(final, known) -> str:
    """Says which of the course's nets end at or below the known errors."""
    shared = [hidden for hidden in final if hidden in known]
    if not shared:
        return ". "
    values = _list(number(known[hidden]) for hidden in shared)
    above = [hidden for hidden in shared if not final[hidden].loss.min() <= known[hidden]]
    said = f"above that stays {_list(above)}" if above else "every net is at or below that"
    return f"; known are {values}{'' if len(shared) == len(final) else f' for {_list(shared)}'}, and {said}. "


def _against_shallow(deep, shallow, deepest, shallowest) -> str:
    """Says whether depth helped, by the ratio of errors over seeds."""
    ratio = geometric_mean(shallow.loss / deep.loss)
    verdict = {1: "Depth helps", 0: "No effect of depth is measurable", -1: "Depth does not help"}
    return f"{verdict[sign(ratio, 1)]}: the error of {shallowest} is {show(ratio, 2)} times that of {deepest}. "


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
        text += _compare(deep.test_accuracy, shallow.test_accuracy, nets, "test accuracy")
        comments.append(text + _still_falling(rows))
    sizes = frame.groupby(["kind", "hidden"], sort=False).parameters.first()
    counts = [f"{KINDS[kind]} {hidden}: {size:,}" for (kind, hidden), size in sizes.items()]
    spread = sizes.max() / sizes.min() - 1
    return {
        "title": "Deep and shallow nets on images",
        "method": f"Parameters: {_list(counts)}, so the largest has {spread:.1%} more than the smallest. Adam with a constant "
        "learning rate; CNNs get few epochs because they cost most, so nets of one kind are compared after equally many updates.",
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


def _still_falling(rows) -> str:
    """A warning if the nets, on average, were still learning in the last epoch."""
    last = rows.groupby("epoch").train_loss.mean().iloc[-2:]
    fall = 1 - last.iloc[-1] / last.iloc[0]
    if fall < 0.02:
        return ""
    return f"In the last epoch the training loss still fell by {fall:.0%}: longer training may change the order."


def _list(parts) -> str:
    """The parts with commas between them, and "and" before the last."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


QUESTIONS = {"simulate_function": simulate_function, "actual_task": actual_task}
