"""Figure, claims and text. Which remedies help a large batch to generalise, and do they lead to flat minima? One line of each panel per remedy.

Reads the rows of `hw1.landscape.remedies` (remedy, seed, losses, accuracies, objective, value, status). `value` is the
sharpness φ in per cent, of the unmodified training images.
"""

import itertools
from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import BLUE, GREEN, PURPLE
from hw1.findings.verdict import ACCURACY_EFFECT, KESKAR, OWN, RATIO_EFFECT, Claim, claim
from hw1.findings.words import listed, net_on_images, number, part_of, show, sign
from hw1.statistics import geometric_mean, mean_interval, paired_difference

SMALL, LARGE = "small batch", "large batch"
AUGMENTED_SMALL, AUGMENTED = "augmented small batch", "data augmentation"
BASELINES = (SMALL, LARGE, AUGMENTED_SMALL)
ROBUST, WARM = "robust training", "warm start"  # the beginnings of their names
GROWING = "growing batches"  # which the source names as a prospect only


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
    first.set(xlabel="test accuracy", yticks=range(len(names)), yticklabels=map(_shown, names))
    first.invert_yaxis()
    return fig


def _across(axes, values, place, colour):
    """A mean with its horizontal interval; those of the logarithms on a logarithmic axis."""
    mean = geometric_mean if axes.get_xscale() == "log" else mean_interval
    style.across(axes, mean(values), place, marker="o", color=colour)


def _table(rows, column):
    """A column as a table: a row per seed, a column per way of training; NaN where a net diverged."""
    return rows.pivot(index="seed", columns="remedy", values=column).reindex(columns=rows.remedy.unique())


def _remedies(rows):
    """The names of the remedies, in the order of the rows."""
    return [name for name in rows.remedy.unique() if name not in BASELINES]


def claims(rows, settings) -> Iterator[Claim]:
    """Each remedy against the large batch alone and against the small batch, pairs of one seed."""
    few = _few(rows)
    for name in _remedies(rows):
        yield from _claims_of_accuracy(rows, name, few)
        yield from _claims_of_sharpness(rows, name, few)


def _claims_of_accuracy(rows, name, few) -> Iterator[Claim]:
    """Whether a remedy helps, or, of those of which the source says that they do not, whether it does not."""
    accuracy, nets, shown = _table(rows, "test_accuracy"), rows[rows.remedy == name], _shown(name)
    gain = paired_difference(accuracy[name], accuracy[LARGE])
    if name == few or name.startswith(ROBUST):
        yield claim(
            KESKAR,
            f"A large batch gains less than half a point with {shown} (difference in test accuracy to the large batch alone, below {ACCURACY_EFFECT:g})",
            gain,
            nets,
            published="no improvement" if name == few else "no improvement (section 4.3)",
            below=ACCURACY_EFFECT,
            effect=np.nan,
        )
    else:
        yield claim(
            OWN if name == GROWING else KESKAR,
            f"A large batch generalises better with {shown} (difference in test accuracy to the large batch alone)",
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


def _claims_of_sharpness(rows, name, few) -> Iterator[Claim]:
    """Whether a remedy makes minima flatter, and whether they stay sharper than those of small batches."""
    sharpness, nets, shown = _table(rows, "value"), rows[rows.remedy == name], _shown(name)
    to_large = geometric_mean(sharpness[name] / sharpness[LARGE])
    if name == few:
        yield claim(
            KESKAR,
            f"The sharpness of a large batch stays high with {shown} (geometric mean of φ / φ of the large batch alone, above {1 / RATIO_EFFECT:g})",
            to_large,
            nets,
            published="stays high",
            above=1 / RATIO_EFFECT,
            effect=np.nan,
        )
    else:
        yield claim(
            KESKAR if name.startswith(WARM) else OWN,
            f"The minima of a large batch are less sharp with {shown} (geometric mean of φ / φ of the large batch alone)",
            to_large,
            nets,
            below=1,
        )
    if (name.startswith(WARM) and name != few) or name == GROWING:
        return  # of these the source does not say that they stay sharp
    like = _like(name)
    published = {name == few: "stays high", name.startswith(ROBUST): "still relatively sharp (conclusion)"}.get(
        True, ""
    )
    yield claim(
        KESKAR,
        f"With {shown} the minima of a large batch stay sharper than those of {'augmented ' * (like == AUGMENTED_SMALL)}small batches (geometric mean of φ / φ of the {like})",
        geometric_mean(sharpness[name] / sharpness[like]),
        rows[rows.remedy.isin([name, like])] if like == AUGMENTED_SMALL else nets,
        published=published,
        above=1,
    )


def _like(name) -> str:
    """The small batch with which a remedy is to be compared: one with augmentation for augmentation."""
    return AUGMENTED_SMALL if name == AUGMENTED else SMALL


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
        parts = [
            _accuracy(accuracy),
            _augmented(rows, accuracy, sharpness),
            _sharpness(sharpness),
            _conclusion(sharpness, accuracy),
        ]
    return {
        "title": "Remedies",
        "method": f"The net {net_on_images(settings)} is trained from the same weights with batch size {small}, with batch size {large}, and with {large} and each remedy. What minimises the training loss ends when that is at or below {settings['target_loss']:g} nats. Augmented and robust training minimise another objective and end at its plateau: averaged over windows of {settings['window']:,} images, it has not fallen by more than {100 * settings['fall']:g} % over two windows. {_missed(rows)}φ is the largest rise of the loss on the unmodified training images in a box of size ε = {settings['epsilon']:g} around the weights, in per cent of 1 + loss, for every net; δ is the size of the attack in robust training.",
        "caption": f"Test accuracy (left), sharpness φ in the full space (middle) and loss on the unmodified training images (right), means over {settings['seeds']} seeds with 95 % intervals, of small batches (green), of the large batch (purple) and of the large batch with each remedy (blue).",
        "comment": [part for part in parts if part],
    }


def _missed(rows) -> str:
    """How many nets came neither to the target loss nor to their plateau; empty if all did."""
    missed = rows[rows.status == "target not reached"]
    if missed.empty:
        return ""
    return f"{part_of(len(missed), len(rows)).capitalize()} nets did not come there ({listed(map(_named, missed.remedy.unique()))}). "


def _shown(name) -> str:
    """A remedy's name, with δ for the size of an attack: ε is the size of the box of φ."""
    return name.replace("ε", "δ")


def _named(name) -> str:
    """A remedy's name inside a sentence: without a comma."""
    name, _, strength = _shown(name).partition(", ")
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


def _augmented(rows, accuracy, sharpness) -> str:
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
    ratio = _ratio(sharpness[AUGMENTED], sharpness[AUGMENTED_SMALL])
    sharper = {1: "are sharper", 0: "are not measurably sharper or flatter", -1: "are flatter"}[sign(ratio, 1)]
    return f"With augmentation the large batch is {said} the small one (difference in test accuracy {show(gap, 2)}), {where}, where the loss on the unmodified training images is {losses[0]} and {losses[1]} nats. Its minima {sharper}: φ is {show(ratio, 2)} times that of the augmented small batch."


def _sharpness(sharpness) -> str:
    """How sharp the minima are beside those of the small and of the large batch."""
    to_small, to_large = (_against(sharpness, other, _ratio) for other in (SMALL, LARGE))
    alone = _ratio(sharpness[LARGE], sharpness[SMALL])
    if not to_small:
        return ""
    text = f"φ, in units of that of the small batch, is {show(alone, 2)} for the large batch alone, and {_values(to_small)}. Compared with the large batch alone, {_effects(to_large, 1)}. "
    like = {name: _ratio(sharpness[name], sharpness[_like(name)]) for name in to_small}
    flat = [_named(name) for name, interval in like.items() if sign(interval, 1) <= 0]
    small = "those of the small batch" + " (with augmentation, of the augmented small batch)" * (AUGMENTED in like)
    if not flat:
        return f"{text}With every remedy the minima stay sharper than {small}."
    if len(flat) == len(like):
        return f"{text}With no remedy are the minima measurably sharper than {small}."
    return f"{text}With {listed(flat)} the minima are not measurably sharper than {small}; with the other remedies they are."


def _conclusion(sharpness, accuracy) -> str:
    """Whether the flatter of two ways of training is the more accurate one, over all pairs, and what follows."""
    ways = [name for name in accuracy if accuracy[name].notna().any() and sharpness[name].notna().any()]
    pairs = {}
    for first, second in itertools.combinations(ways, 2):
        sharper = sign(_ratio(sharpness[first], sharpness[second]), 1)
        better = sign(paired_difference(accuracy[first], accuracy[second]))
        if sharper and better:
            pairs[first, second] = sharper != better  # whether the flatter one is the better one
    if not pairs:
        return "No two of these ways of training differ measurably in both accuracy and φ."
    against = len(pairs) - sum(pairs.values())
    text = f"Of the pairs of ways of training, {len(pairs)} differ measurably in both accuracy and φ; in {part_of(len(pairs) - against, len(pairs))} the flatter one is the more accurate one"
    text += f", in {against} the sharper one. " if against else ". "
    flattest = min(ways, key=lambda name: geometric_mean(sharpness[name]).value)
    best = max(ways, key=lambda name: accuracy[name].mean())
    if flattest == best:
        return f"{text}The flattest nets, those with {_shown(best)}, are also the most accurate ones."
    ratio, gain = (
        _ratio(sharpness[best], sharpness[flattest]),
        paired_difference(accuracy[best], accuracy[flattest]),
    )
    text += f"The most accurate nets ({_shown(best)}) have {show(ratio, 2)} times the φ of the flattest ones ({_shown(flattest)}), and an accuracy that is higher by {show(gain, 2)}. "
    if sign(gain) > 0 and sign(ratio, 1) > 0:
        return f"{text}So a remedy can raise the accuracy by more than the flattest minimum does, without leading to a flat one: φ alone does not tell which remedy helps."
    return f"{text}Whether a remedy can raise the accuracy by more than the flattest minimum does is not decided."
