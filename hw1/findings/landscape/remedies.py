"""Figure, claims and text. Which remedies help a large batch to generalise, and do they lead to flat minima? One line of each panel per remedy.

Reads the rows of `hw1.landscape.remedies` (remedy, seed, losses, accuracies, space, value, status). `value` is the
sharpness φ in per cent.
"""

from collections.abc import Iterator

from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import BLACK, BLUE, GREEN, PURPLE
from hw1.findings.verdict import KESKAR, OWN, Claim, claim
from hw1.findings.words import listed, number, show, sign
from hw1.statistics import geometric_mean, mean_interval, paired_difference, rank_correlation

SMALL, LARGE = "small batch", "large batch"
GROWING = "growing batches"  # the remedy that is not in the source


def figure(rows, settings) -> Figure:
    """Test accuracy, sharpness in both spaces and the training loss reached, of each way of training.

    Points are means over seeds with 95 % intervals, geometric ones on logarithmic axes.
    """
    fig, (first, second, third) = style.figure(1, 3, 2.6, sharey=True)
    names, rows = list(rows.remedy.unique()), rows[rows.status != "diverged"]
    style.log_x(second, f"sharpness φ (%), ε = {settings['epsilon']:g}")
    style.log_x(third, "training loss reached (nats)")
    panels = (
        (first, "full", "test_accuracy", "o"),
        (second, "full", "value", "o"),
        (second, "manifold", "value", "s"),
        (third, "full", "train_loss", "o"),
    )
    for axes, space, column, marker in panels:
        for place, name in enumerate(names):
            values = rows[(rows.remedy == name) & (rows.space == space)][column]
            colour = {SMALL: GREEN, LARGE: PURPLE}.get(name, BLUE)
            _across(axes, values, place + 0.15 * (space == "manifold"), marker, colour)
    first.set(xlabel="test accuracy", yticks=range(len(names)), yticklabels=names)
    first.invert_yaxis()
    spaces = {
        "mean over seeds (φ: in the full space)": "o",
        f"φ on a manifold of {settings['manifold']} dimensions": "s",
    }
    style.legend(fig, {n: {"color": BLACK, "marker": marker, "linestyle": "none"} for n, marker in spaces.items()})
    return fig


def _across(axes, values, place, marker, colour):
    """A mean with its horizontal interval; those of the logarithms on a logarithmic axis."""
    mean = geometric_mean if axes.get_xscale() == "log" else mean_interval
    value, low, high, _ = mean(values)
    axes.plot([value], [place], marker, color=colour)
    axes.plot([low, high], [place, place], color=colour, linewidth=0.8)


def _full(rows):
    """The rows of φ in the full space, one per net, without the nets that diverged."""
    return rows[(rows.space == "full") & (rows.status != "diverged")]


def _by_remedy(rows, column, names):
    """A column as a table: a row per seed, a column per way of training."""
    return rows.pivot(index="seed", columns="remedy", values=column).reindex(columns=names)


def claims(rows, settings) -> Iterator[Claim]:
    """Each remedy against the large batch alone and against the small batch, pairs of one seed."""
    names, full = rows.remedy.unique(), _full(rows)
    accuracy, sharpness = (_by_remedy(full, column, names) for column in ("test_accuracy", "value"))
    for name in names:
        if name in (SMALL, LARGE):
            continue
        source = OWN if name == GROWING else KESKAR
        nets = full[full.remedy == name]
        yield claim(
            source,
            f"A large batch generalises better with {name} (difference in test accuracy to the large batch alone)",
            paired_difference(accuracy[name], accuracy[LARGE]),
            nets,
            above=0,
        )
        yield claim(
            source,
            f"With {name} its minima stay sharper than those of small batches (geometric mean of φ / φ of the small batch)",
            geometric_mean(sharpness[name] / sharpness[SMALL]),
            nets,
            above=1,
        )


def comment(rows, settings) -> dict:
    """Which remedies raise the test accuracy of a large batch, and how sharp their minima are."""
    names, full = list(rows.remedy.unique()), _full(rows)
    accuracy, sharpness = (_by_remedy(full, column, names) for column in ("test_accuracy", "value"))
    small, large = settings["batch_sizes"]
    return {
        "title": "Remedies",
        "method": f"A dense net is trained from the same weights with batch size {small}, with batch size {large}, and with {large} and each remedy, until the loss on the unmodified training set is at or below {settings['target_loss']:g} or its steps run out. φ is measured on the unmodified training set, for every net in the same box, ε = {settings['epsilon']:g}.",
        "caption": f"Test accuracy (left), sharpness φ in the full space and on a random manifold (middle) and training loss reached (right), means with 95 % intervals, of the small batch (green), of the large batch (purple) and of the large batch with each remedy (blue). {_above_target(full, names)}",
        "comment": [_accuracy(accuracy, full, settings), _sharpness(sharpness, accuracy), _conclusion(full)],
    }


def _remedies(table):
    """The names of the remedies among the columns."""
    return [name for name in table if name not in (SMALL, LARGE)]


def _short(full):
    """The remedies of whose nets at least half ended above the target loss."""
    return [name for name, nets in full.groupby("remedy", sort=False) if (nets.status != "ok").mean() >= 0.5]


def _above_target(full, names) -> str:
    """Says which ways of training ended above the target loss."""
    short = [name for name in names if name in _short(full)]
    return f"Most nets of {listed(map(_named, short))} ended above the target loss." if short else ""


def _named(name) -> str:
    """A remedy's name inside a sentence: without a comma."""
    name, _, strength = name.partition(", ")
    return f"{name} ({strength})" if strength else name


def _accuracy(accuracy, full, settings) -> str:
    """What each remedy does to the test accuracy of a large batch, first of those whose nets reached the target loss."""
    gap = paired_difference(accuracy[SMALL], accuracy[LARGE])
    verdicts = {1: "higher", 0: "not measurably different", -1: "lower"}
    text = f"Without a remedy, test accuracy is {show(mean_interval(accuracy[LARGE]))} with the large batch and {show(mean_interval(accuracy[SMALL]))} with the small batch ({verdicts[sign(gap)]}; difference {show(gap, 2)}). "
    short = [name for name in _remedies(accuracy) if name in _short(full)]
    reached = [name for name in _remedies(accuracy) if name not in short]
    changes = {name: paired_difference(accuracy[name], accuracy[LARGE]) for name in reached + short}
    if reached:
        text += f"At the target loss, the remedies change the accuracy of the large batch by {_values(changes, reached)}: {_effects(changes, reached)}. "
    if short:
        losses = full[full.remedy.isin(short)].groupby("remedy").train_loss.mean()
        text += f"Nets of {listed(map(_named, short))} mostly stay above the target loss, at a mean training loss of {number(losses.min())} to {number(losses.max())} instead of {settings['target_loss']:g}, so that they differ in more than the remedy. Their accuracy differs from that of the large batch by {_values(changes, short)}: compared with the large batch alone, {_effects(changes, short)}."
    return text.rstrip()


def _values(intervals, names) -> str:
    """The intervals of some remedies in a row."""
    return listed(f"{show(intervals[name], 2)} for {_named(name)}" for name in names)


def _effects(intervals, names, zero=0) -> str:
    """Which remedies raise, lower or do not measurably change a quantity."""
    effects = []
    for wanted, verb in ((1, "raised by"), (-1, "lowered by"), (0, "not measurably changed by")):
        found = [_named(name) for name in names if sign(intervals[name], zero) == wanted]
        effects += [f"{verb} {listed(found)}"] if found else []
    return f"it is {listed(effects)}"


def _sharpness(sharpness, accuracy) -> str:
    """How sharp the minima are beside those of the small and of the large batch."""
    remedies = _remedies(sharpness)
    to_small = {name: geometric_mean(sharpness[name] / sharpness[SMALL]) for name in [LARGE, *remedies]}
    to_large = {name: geometric_mean(sharpness[name] / sharpness[LARGE]) for name in remedies}
    text = f"φ in the full space, in units of that of the small batch, is {show(to_small[LARGE])} for the large batch alone, and {_values(to_small, remedies)}. "
    flat = [name for name in remedies if sign(to_small[name], 1) <= 0]
    if len(flat) == len(remedies):
        text += "With no remedy are the minima measurably sharper than those of the small batch. "
    elif flat:
        text += f"With {listed(map(_named, flat))} the minima are not measurably sharper than those of the small batch; with the other remedies they are. "
    else:
        text += "With every remedy the minima stay sharper than those of the small batch. "
    text += f"Compared with the large batch alone, {_effects(to_large, remedies, 1)}."
    gains = {name: paired_difference(accuracy[name], accuracy[SMALL]) for name in remedies}
    better = [name for name in remedies if sign(gains[name]) > 0 and sign(to_small[name], 1) > 0]
    if better:
        text += f" With {listed(map(_named, better))} the nets generalise better than those of the small batch (difference in test accuracy {listed(show(gains[name], 2) for name in better)}), although their minima are sharper: a flat minimum is not the only way to generalise well."
    return text


def _conclusion(full) -> str:
    """Whether φ and test accuracy go together over the ways of training."""
    verdicts = {
        -1: "the sharper nets are worse",
        0: "φ does not measurably go with accuracy",
        1: "the sharper nets are better",
    }
    trend = rank_correlation(full, "value", "test_accuracy")
    text = f"Over all ways of training, φ has a rank correlation of {show(trend, 2)} with test accuracy: {verdicts[sign(trend)]}."
    comparable = full[~full.remedy.isin(_short(full))]
    if len(comparable) == len(full):
        return text
    if comparable.remedy.nunique() < 3:
        return f"{text} These nets were not all trained to the same loss, so this is no test of flatness alone."
    equal = rank_correlation(comparable, "value", "test_accuracy")
    return f"{text} These nets were not all trained to the same loss; over the {comparable.remedy.nunique()} ways that reached it, the correlation is {show(equal, 2)}: {verdicts[sign(equal)]}. A correlation over so few ways of training does not show that sharpness is the cause."
