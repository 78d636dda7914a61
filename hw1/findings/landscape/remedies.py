"""Figure, claims and text. Which remedies help a large batch to generalise, and do they lead to flat minima? One line of each panel per remedy.

Reads the rows of `hw1.landscape.remedies` (remedy, seed, losses, accuracies, objective, value, status). `value` is the
sharpness φ in per cent, of the unmodified training images.
"""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import BLUE, GREEN, PURPLE
from hw1.findings.verdict import ACCURACY_EFFECT, KESKAR, OWN, Claim, claim
from hw1.findings.words import listed, net_on_images, number, part_of, show, sign
from hw1.statistics import geometric_mean, mean_interval, paired_difference

SMALL, LARGE = "small batch", "large batch"
AUGMENTED_SMALL, AUGMENTED = "augmented small batch", "data augmentation"
BASELINES = (SMALL, LARGE, AUGMENTED_SMALL)
ROBUST, WARM = "robust training", "warm start"  # the beginnings of their names


def figure(rows, settings) -> Figure:
    """Test accuracy, sharpness and the training loss reached, of each way of training.

    Points are means over seeds with 95 % intervals, geometric ones on logarithmic axes.
    """
    fig, (first, second, third) = style.figure(1, 3, 2.9, sharey=True)
    names, rows = list(rows.remedy.unique()), rows[rows.status != "diverged"]
    style.log_x(second, f"sharpness φ (%), ε = {settings['epsilon']:g}")
    style.log_x(third, "training loss reached (nats)")
    for axes, column in ((first, "test_accuracy"), (second, "value"), (third, "train_loss")):
        for place, name in enumerate(names):
            colour = {SMALL: GREEN, AUGMENTED_SMALL: GREEN, LARGE: PURPLE}.get(name, BLUE)
            _across(axes, rows[rows.remedy == name][column], place, colour)
    first.set(xlabel="test accuracy", yticks=range(len(names)), yticklabels=names)
    first.invert_yaxis()
    return fig


def _across(axes, values, place, colour):
    """A mean with its horizontal interval; those of the logarithms on a logarithmic axis."""
    mean = geometric_mean if axes.get_xscale() == "log" else mean_interval
    value, low, high = mean(values)[:3]
    axes.plot([value], [place], "o", color=colour)
    axes.plot([low, high], [place, place], color=colour, linewidth=0.8)


def _table(rows, column):
    """A column as a table: a row per seed, a column per way of training; NaN where a net diverged."""
    return rows.pivot(index="seed", columns="remedy", values=column).reindex(columns=rows.remedy.unique())


def _remedies(rows):
    """The names of the remedies, in the order of the rows."""
    return [name for name in rows.remedy.unique() if name not in BASELINES]


def claims(rows, settings) -> Iterator[Claim]:
    """Each remedy against the large batch alone and against the small batch, pairs of one seed."""
    accuracy, sharpness = _table(rows, "test_accuracy"), _table(rows, "value")
    few = _few(rows)
    for name in _remedies(rows):
        nets = rows[rows.remedy == name]
        gain = paired_difference(accuracy[name], accuracy[LARGE])
        to_large, to_small = (geometric_mean(sharpness[name] / sharpness[other]) for other in (LARGE, SMALL))
        if name == few or name.startswith(ROBUST):  # of these the source says that they do not help
            yield claim(
                KESKAR,
                f"A large batch gains less than half a point with {name} (difference in test accuracy to the large batch alone)",
                gain,
                nets,
                published="no improvement",
                below=ACCURACY_EFFECT,
                effect=ACCURACY_EFFECT,
            )
        else:
            yield claim(
                KESKAR,
                f"A large batch generalises better with {name} (difference in test accuracy to the large batch alone)",
                gain,
                nets,
                above=0,
                effect=ACCURACY_EFFECT,
            )
        if name == AUGMENTED:
            yield claim(
                OWN,
                "Augmented large batches generalise worse than augmented small ones (difference in test accuracy)",
                paired_difference(accuracy[name], accuracy[AUGMENTED_SMALL]),
                rows[rows.remedy.isin([AUGMENTED, AUGMENTED_SMALL])],
                below=0,
                effect=ACCURACY_EFFECT,
            )
        yield claim(
            KESKAR if name.startswith(WARM) and name != few else OWN,
            f"The minima of a large batch are less sharp with {name} (geometric mean of φ / φ of the large batch alone)",
            to_large,
            nets,
            below=1,
        )
        if not name.startswith((ROBUST, WARM)) and name != "growing batches":
            yield claim(
                KESKAR,
                f"With {name} its minima stay sharper than those of small batches (geometric mean of φ / φ of the small batch)",
                to_small,
                nets,
                above=1,
            )


def _few(rows):
    """The warm start with the fewest epochs; None if there is but one."""
    warm = sorted((int(name.split()[2]), name) for name in _remedies(rows) if name.startswith(WARM))
    return warm[0][1] if len(warm) > 1 else None


def comment(rows, settings) -> dict:
    """Which remedies raise the test accuracy of a large batch, and how sharp their minima are."""
    small, large = settings["batch_sizes"]
    accuracy, sharpness = _table(rows, "test_accuracy"), _table(rows, "value")
    parts = ["All nets of the large batch diverged, so that there is nothing to compare."]
    if accuracy[LARGE].notna().any():
        parts = [_accuracy(accuracy), _augmented(rows, accuracy), _sharpness(sharpness, accuracy)]
    return {
        "title": "Remedies",
        "method": f"The net {net_on_images(settings)} is trained from the same weights with batch size {small}, with batch size {large}, and with {large} and each remedy. What minimises the training loss ends when that is at or below {settings['target_loss']:g} nats. Augmented and robust training minimise another objective and end at its plateau: averaged over windows of {settings['window']:,} images, it has not fallen by more than {100 * settings['fall']:g} % over two windows. {_missed(rows)}φ is that of the unmodified training images, for every net in the same box, ε = {settings['epsilon']:g}.",
        "caption": f"Test accuracy (left), sharpness φ in the full space (middle) and loss on the unmodified training images (right), means over {settings['seeds']} seeds with 95 % intervals, of small batches (green), of the large batch (purple) and of the large batch with each remedy (blue).",
        "comment": [part for part in parts if part],
    }


def _missed(rows) -> str:
    """How many nets came neither to the target loss nor to their plateau; empty if all did."""
    missed = rows[rows.status == "target not reached"]
    if missed.empty:
        return ""
    return f"{part_of(len(missed), len(rows)).capitalize()} nets did not come there ({listed(map(_named, missed.remedy.unique()))}). "


def _named(name) -> str:
    """A remedy's name inside a sentence: without a comma."""
    name, _, strength = name.partition(", ")
    return f"{name} ({strength})" if strength else name


def _values(intervals) -> str:
    """The intervals of some ways of training in a row."""
    return listed(f"{show(interval, 2)} for {_named(name)}" for name, interval in intervals.items())


def _effects(intervals, zero=0) -> str:
    """Which remedies raise, lower or do not measurably change a quantity."""
    effects = []
    for wanted, verb in ((1, "raised by"), (-1, "lowered by"), (0, "not measurably changed by")):
        found = [_named(name) for name, interval in intervals.items() if sign(interval, zero) == wanted]
        effects += [f"{verb} {listed(found)}"] if found else []
    return f"it is {listed(effects)}"


def _against(table, other, statistic) -> dict:
    """Name → a statistic of each remedy and another way of training, for the remedies that have nets."""
    found = {name: statistic(table[name], table[other]) for name in table if name not in BASELINES}
    return {name: interval for name, interval in found.items() if np.isfinite(interval.value)}


def _ratio(a, b):
    return geometric_mean(a / b)


def _accuracy(accuracy) -> str:
    """What each remedy does to the test accuracy of a large batch."""
    gap = paired_difference(accuracy[SMALL], accuracy[LARGE])
    verdicts = {1: "higher", 0: "not measurably different", -1: "lower"}
    text = f"Without a remedy, test accuracy is {show(mean_interval(accuracy[LARGE]))} with the large batch and {show(mean_interval(accuracy[SMALL]))} with the small batch ({verdicts[sign(gap)]}; difference {show(gap, 2)})."
    gains = _against(accuracy, LARGE, paired_difference)
    if not gains:
        return text
    text += f" The remedies change the accuracy of the large batch by {_values(gains)}: {_effects(gains)}."
    left = {name: sign(interval) for name, interval in _against(accuracy, SMALL, paired_difference).items()}
    closed = [_named(name) for name, found in left.items() if found >= 0]
    if sign(gap) > 0:
        text += f" The small batch stays measurably better than {part_of(len(left) - len(closed), len(left))}"
        text += f", but not than {listed(closed)}." if closed else "."
    return text


def _augmented(rows, accuracy) -> str:
    """Augmented large batches beside augmented small ones; empty if there are no such nets."""
    if not {AUGMENTED, AUGMENTED_SMALL} <= set(accuracy):
        return ""
    gap = paired_difference(accuracy[AUGMENTED], accuracy[AUGMENTED_SMALL])
    if not np.isfinite(gap.value):
        return ""
    said = {1: "better than", 0: "not measurably different from", -1: "worse than"}[sign(gap)]
    both = rows[rows.remedy.isin([AUGMENTED, AUGMENTED_SMALL])]
    where = "both at their plateaus" if (both.status == "ok").all() else "not all of them at their plateaus"
    losses = [number(rows[rows.remedy == name].train_loss.mean(), 2) for name in (AUGMENTED, AUGMENTED_SMALL)]
    return f"With augmentation the large batch is {said} the small one (difference in test accuracy {show(gap, 2)}), {where}, where the loss on the unmodified training images is {losses[0]} and {losses[1]} nats."


def _sharpness(sharpness, accuracy) -> str:
    """How sharp the minima are beside those of the small and of the large batch, and whether accuracy goes with it."""
    to_small, to_large = (_against(sharpness, other, _ratio) for other in (SMALL, LARGE))
    alone = _ratio(sharpness[LARGE], sharpness[SMALL])
    if not to_small:
        return ""
    text = f"φ, in units of that of the small batch, is {show(alone, 2)} for the large batch alone, and {_values(to_small)}. Compared with the large batch alone, {_effects(to_large, 1)}. "
    flat = [_named(name) for name, interval in to_small.items() if sign(interval, 1) <= 0]
    if not flat:
        text += "With every remedy the minima stay sharper than those of the small batch. "
    elif len(flat) == len(to_small):
        text += "With no remedy are the minima measurably sharper than those of the small batch. "
    else:
        text += f"With {listed(flat)} the minima are not measurably sharper than those of the small batch; with the other remedies they are. "
    gains = _against(accuracy, LARGE, paired_difference)
    both = [name for name in gains if name in to_large and sign(gains[name]) and sign(to_large[name], 1)]
    against = [_named(name) for name in both if sign(gains[name]) == sign(to_large[name], 1)]
    if both:
        text += f"Both accuracy and φ are measurably changed by {len(both)}: {part_of(len(both) - len(against), len(both))} make the net flatter and better, or sharper and worse"
        text += (
            f"; {listed(against)} {'does' if len(against) == 1 else 'do'} not: a flatter minimum need not generalise better."
            if against
            else "."
        )
    return text.rstrip()
