"""Figure, claims and text. What does the number of parameters change, and when is a net over-parametrised?

Reads the rows of `hw1.generalization.parameter_count` (part, loss, examples, noise, parameters, seed, losses,
accuracies, status). What is a threshold is decided on training errors alone; what is the best of several sizes is
decided by the other seeds, never by the one that it is judged by.
"""

import math
from collections.abc import Iterator

import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import ACCURACY, BLUE, GREEN, LOSS, PURPLE, TEST, TRAIN, VERMILION
from hw1.findings.verdict import ACCURACY_EFFECT, OWN, Claim, claim
from hw1.findings.words import listed, number, show, sign
from hw1.statistics import NOTHING, Interval, geometric_mean, jackknife, mean_interval, paired_difference

NEYSHABUR = "Neyshabur et al., arXiv 1412.6614"
BELKIN = "Belkin et al., arXiv 1812.11118"
NAKKIRAN = "Nakkiran et al., arXiv 1912.02292"
FITTED = 0.01  # the training error at and below which a net fits its training set
NAMES = {"nll": "cross-entropy", "squared": "squared error"}
LOOKS = {"nll": {"color": GREEN, "marker": "o"}, "squared": {"color": PURPLE, "marker": "s"}}


def _sizes(rows) -> pd.DataFrame:
    """The nets of the first part: all sizes, true labels."""
    return rows[rows.part == "size"]


def _dense(rows, loss, noise, examples) -> pd.DataFrame:
    """The nets around one threshold, with their errors; those that diverged have none."""
    nets = rows[(rows.part == "threshold") & (rows.loss == loss) & (rows.noise == noise) & (rows.examples == examples)]
    return nets.assign(train_error=1 - nets.train_accuracy, test_error=1 - nets.test_accuracy)


def _errors(rows, loss, noise, examples, part="test") -> pd.DataFrame:
    """A row per seed and a column per number of parameters, ascending."""
    return _dense(rows, loss, noise, examples).pivot(index="seed", columns="parameters", values=f"{part}_error")


def conditions(loss: str, examples: int, settings) -> int:
    """How many conditions a net that fits must meet: one per example, with the squared error one per output too."""
    return examples * (settings["classes"] if loss == "squared" else 1)


def threshold(errors: pd.Series, fitted: float = FITTED) -> float:
    """The number of parameters from which on a net fits, interpolated between the sizes on both sides of it.

    Args:
        errors: the training errors of one seed, by number of parameters, ascending.
        fitted: the training error at and below which a net fits.

    Returns:
        Where the training error is `fitted`, on a logarithmic scale. NaN if the largest net does not fit or the
        smallest does, as then the threshold is not among the sizes.
    """
    misses = np.flatnonzero(~(errors.to_numpy() <= fitted))
    if not len(misses) or misses[-1] == len(errors) - 1:
        return np.nan
    below, above = errors.iloc[misses[-1]], errors.iloc[misses[-1] + 1]
    ends = np.log(errors.index[misses[-1] : misses[-1] + 2])
    return float(np.exp(ends[0] + (below - fitted) / (below - above) * (ends[1] - ends[0])))


def thresholds(rows, loss, noise, settings, fitted: float = FITTED) -> pd.DataFrame:
    """The threshold of each seed (index) for each number of training examples (columns)."""
    errors = {count: _errors(rows, loss, noise, count, "train") for count in sorted(settings["examples"])}
    return pd.DataFrame({count: table.apply(threshold, axis=1, fitted=fitted) for count, table in errors.items()})


def exponent(table: pd.DataFrame) -> Interval:
    """The exponent in threshold ∝ examples^exponent, a fit through all seeds; seeds without a threshold are missing."""
    whole = table.dropna()
    if len(whole) < 1 or table.shape[1] < 2:
        return NOTHING._replace(missing=len(table))
    counts = np.log(table.columns.to_numpy(float))
    found = jackknife(lambda logs: np.polyfit(counts, logs.mean(axis=0), 1)[0], np.log(whole.to_numpy()))
    return found._replace(missing=len(table) - len(whole))


def peak(rows, loss, noise, settings) -> tuple[pd.DataFrame, float] | None:
    """Test errors with the most examples (seed, parameters), and the size at the threshold; None where there is none.

    That size is the one nearest to the geometric mean of the seeds' thresholds.
    """
    errors = _errors(rows, loss, noise, max(settings["examples"]))
    found = geometric_mean(thresholds(rows, loss, noise, settings)[max(settings["examples"])]).value
    if not np.isfinite(found):
        return None
    return errors, errors.columns[abs(np.log(errors.columns / found)).argmin()]


def chosen_by_others(values: pd.DataFrame) -> pd.Series:
    """The value of each seed (rows) at the size (columns) with the lowest mean over the *other* seeds."""
    found = {}
    for seed in values.index:
        means = values.drop(index=seed).mean().dropna()
        found[seed] = values.loc[seed, means.idxmin()] if len(means) else np.nan
    return pd.Series(found)


def _rises(rows, loss, noise, settings) -> pd.Series | None:
    """Of each seed, the test error at the threshold less that of the best smaller size; None if there is none."""
    found = peak(rows, loss, noise, settings)
    if found is None or found[1] == found[0].columns[0]:
        return None
    errors, size = found
    return errors[size] - chosen_by_others(errors.loc[:, errors.columns < size])


def rise(rows, loss, noise, settings) -> Interval:
    """Test error at the threshold less that of the best smaller size, which the other seeds choose."""
    found = _rises(rows, loss, noise, settings)
    return NOTHING if found is None else mean_interval(found)


def fall(rows, loss, noise, settings) -> Interval:
    """Test error at the threshold less that of the largest net."""
    found = peak(rows, loss, noise, settings)
    if found is None or found[1] == found[0].columns[-1]:
        return NOTHING
    errors, size = found
    return paired_difference(errors[size], errors.iloc[:, -1])


def noise_effect(rows, loss, settings) -> Interval:
    """How much more the test error rises up to the threshold with the most noise than with the least."""
    noises = sorted(settings["noises"])
    with_noise, without = (_rises(rows, loss, noise, settings) for noise in (noises[-1], noises[0]))
    if len(noises) < 2 or with_noise is None or without is None:
        return NOTHING
    return paired_difference(with_noise, without)


def fitting(nets) -> list[int]:
    """The sizes at which every seed fits its training set, ascending."""
    return [size for size, found in nets.groupby("parameters").train_accuracy if (found >= 1 - FITTED).all()]


def slope(nets, column: str, sizes: list[int] | None = None) -> Interval:
    """The slope of a column against log10 of the number of parameters, over all sizes that fit; mean over seeds."""
    sizes = fitting(nets) if sizes is None else sizes
    if len(sizes) < 2:
        return NOTHING
    table = nets.pivot(index="seed", columns="parameters", values=column)[sizes]
    return mean_interval(np.polyfit(np.log10(sizes), table.to_numpy().T, 1)[0])


def figure(rows, settings) -> Figure:
    """Loss and accuracy against size; test error around the threshold; the threshold against the number of examples."""
    fig, ((left, right), (descent, scaling)) = style.figure(2, 2, 4.6)
    sizes, target = _sizes(rows), settings["target_loss"]
    left.set_yscale("log")
    sets = {"training": {"color": BLUE, "linestyle": TRAIN}, "test": {"color": VERMILION, "linestyle": TEST}}
    for axes, quantity, label in ((left, "loss", LOSS), (right, "accuracy", ACCURACY)):
        for part, look in zip(("train", "test"), sets.values(), strict=True):
            style.curve(axes, sizes, "parameters", f"{part}_{quantity}", **look)
        style.log_x(axes, "parameters")
        axes.set_ylabel(label)
    left.axhline(target, color="#888888", linewidth=0.8, linestyle=":")
    left.text(0.02, target * 1.15, "target", transform=left.get_yaxis_transform(), fontsize=6.5)
    handles = [right.plot([], [], label=label, **look)[0] for label, look in sets.items()]
    right.legend(handles=handles, loc="lower right")
    scaling.set_yscale("log")
    noises, most, entries = sorted(settings["noises"]), max(settings["examples"]), []
    for loss in settings["losses"]:
        for noise in noises:
            dotted = {"linestyle": ":", "markerfacecolor": "white"} if noise != noises[-1] else {"linestyle": "-"}
            look = LOOKS[loss] | dotted
            entries.append(descent.plot([], [], label=f"{NAMES[loss]}, {noise:.0%} noise", **look)[0])
            nets = _dense(rows, loss, noise, most)
            nets = nets.assign(multiple=nets.parameters / conditions(loss, most, settings))
            style.curve(descent, nets, "multiple", "test_error", **look)
            table = thresholds(rows, loss, noise, settings)
            known = table.dropna(axis=1)  # the mean over the seeds that have one would be that of other seeds
            style.curve(scaling, known.melt(var_name="examples", value_name="size"), "examples", "size", **look)
            middle = geometric_mean(table[most]).value / conditions(loss, most, settings)
            if noise == noises[-1] and np.isfinite(middle):
                descent.axvline(middle, color=look["color"], linewidth=0.8, linestyle="--")
    counts = np.array(sorted(settings["examples"]))
    labels = ("nll", "one per example", "top", 0.85), ("squared", "one per output", "bottom", 1.5)
    for loss, label, side, far in labels:
        if loss in settings["losses"]:
            wanted = [conditions(loss, count, settings) for count in counts]
            scaling.plot(counts, wanted, color="#888888", linewidth=0.8, linestyle="-.")
            scaling.text(counts[0], wanted[0] * far, label, fontsize=6.5, color="#666666", va=side)
    style.log_x(descent, f"parameters / conditions ({most:,} examples)")
    descent.set(ylabel="test error")
    scaling.set(xscale="log", ylim=(min(counts) / 2.5, None))
    scaling.set(xlabel="training examples", ylabel="parameters needed to fit")
    scaling.set_xticks(counts, [f"{count:,}" for count in counts])
    scaling.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    style.log_ticks(scaling.yaxis)
    fig.legend(handles=entries, loc="outside lower center", ncols=len(entries))
    return fig


def claims(rows, settings) -> Iterator[Claim]:
    """More parameters beyond fitting; then threshold and double descent, for each loss and share of noisy labels."""
    yield claim(
        NEYSHABUR,
        "Beyond the size that fits the training set, more parameters still raise test accuracy (slope per decade of parameters, over all sizes that fit)",
        slope(_sizes(rows), "test_accuracy"),
        above=0,
        effect=ACCURACY_EFFECT,
    )
    for loss in settings["losses"]:
        for noise in sorted(settings["noises"]):
            yield from _descents(rows, loss, noise, settings)
        yield claim(
            NAKKIRAN,
            f"Noisy labels make the peak of the test error higher: {NAMES[loss]} (rise up to it, {max(settings['noises']):.0%} − {min(settings['noises']):.0%} noise)",
            noise_effect(rows, loss, settings),
            above=0,
            effect=ACCURACY_EFFECT,
        )


def _descents(rows, loss, noise, settings) -> Iterator[Claim]:
    """Threshold and double descent with one loss and share of noisy labels.

    Belkin et al. have true labels and squared error, Nakkiran et al. noisy labels; all else is our hypothesis.
    """
    table, most = thresholds(rows, loss, noise, settings), max(settings["examples"])
    name = f"{NAMES[loss]}, {noise:.0%} noisy labels"
    theirs = BELKIN if loss == "squared" and noise == 0 else OWN
    fits = f"training error of at most {FITTED:.0%}"
    if loss == "squared":
        yield claim(
            theirs,
            f"The size that first fits the training set is proportional to the number of examples: {name} (exponent, {fits}; predicted 1, from 0.5 to 1.5)",
            exponent(table),
            published="1" if theirs == BELKIN else "",
            within=(0.5, 1.5),
        )
        yield claim(
            theirs,
            f"The first net that fits has as many parameters as there are examples times classes: {name} (ratio, {fits}; predicted 1, from 0.5 to 2)",
            geometric_mean(table[most] / conditions(loss, most, settings)),
            published="1" if theirs == BELKIN else "",
            within=(0.5, 2),
        )
    for statistic, sentence, than in (
        (rise, "The test error at this size is higher than with fewer parameters", "best smaller size"),
        (fall, "The test error falls again beyond this size", "largest net"),
    ):
        yield claim(
            NAKKIRAN if noise else theirs,
            f"{sentence}: {name} (difference to the {than})",
            statistic(rows, loss, noise, settings),
            above=0,
            effect=ACCURACY_EFFECT,
        )


def comment(rows, settings) -> dict:
    """From which size on nets fit the training set, what more parameters change, and what happens in between."""
    narrowest, widest, pool = min(settings["widths"]), max(settings["widths"]), settings["pool"]
    shape, counts = settings.get("shape"), [f"{count:,}" for count in sorted(settings["examples"])]
    inputs = f" from {math.prod(shape) // pool**2} inputs" if shape else ""
    noises = listed([f"{noise:.0%}" for noise in sorted(settings["noises"])])
    dense = [_descent(rows, loss, settings) for loss in settings["losses"]]
    return {
        "title": "Number of parameters",
        "method": f"Nets with one hidden layer of {narrowest:,} to {widest:,} units (ReLU){inputs} are trained on {settings['train']:,} images by Adam, until the training loss is at or below {settings['target_loss']:g}, past zero training error, or for {settings['updates']:,} steps in which the learning rate falls to 0 along a cosine; of more than 200 units, it starts in proportion to 1/√width. The images are averaged over squares of {pool} × {pool} pixels, so that nets of very different size can be trained in minutes, and standardised (mean training image subtracted, pixels divided by their standard deviation). Sizes around the one that first fits the training set are trained on {listed(counts)} images, with {noises} of the labels permuted, with cross-entropy (one condition per example) and squared error (one per output).",
        "caption": f"Above: loss and accuracy after training against the number of parameters, {settings['train']:,} true labels. Below: test error around the size that first fits (training error of at most {FITTED:.0%}; vertical lines: that size with the most noise, in the colour of its loss), and that size against the number of examples.",
        "comment": [part for part in (_fit(rows) + _beyond(rows), "".join(dense)) if part],
    }


def _fit(rows) -> str:
    """How many sizes there are, and from which one on all larger nets fit the training set."""
    nets = _sizes(rows)
    sizes, fits = sorted(nets.parameters.unique()), fitting(nets)
    text = f"The {len(sizes)} nets have {sizes[0]:,} to {sizes[-1]:,} parameters. "
    missed = [size for size in sizes if size not in fits]
    first = next((size for size in fits if not missed or size > missed[-1]), None)
    if first:
        text += (
            f"From {first:,} parameters on, every seed fits the training set (training error of at most {FITTED:g}); "
        )
    else:
        text += "The largest nets do not all fit the training set; "
    smallest = mean_interval(nets[nets.parameters == sizes[0]].train_accuracy)
    ends = f"ends at training accuracy {show(smallest)}" if smallest.seeds else "diverged"
    return f"{text}the smallest net {ends}. "


def _beyond(rows) -> str:
    """What more parameters change over all sizes that fit, and how a size chosen on other seeds compares."""
    nets, text = _sizes(rows), ""
    sizes = fitting(nets)
    for column, quantity in (("test_accuracy", "test accuracy"), ("test_loss", "test loss")):
        found = slope(nets, column)
        if np.isfinite(found.value):
            moves = {1: "rises", -1: "falls", 0: "does not measurably change"}[sign(found)]
            text += f"Over the {len(sizes)} sizes that fit, {quantity} {moves} with the number of parameters ({show(found, 2)} per decade). "
        upper = sizes[len(sizes) // 2 :]
        last = slope(nets, column, upper) if len(upper) > 2 else NOTHING
        if sign(found) and np.isfinite(last.low) and not sign(last):
            text += f"Most of this comes from the smaller of them: from {upper[0]:,} parameters on, no change can be measured ({show(last, 2)}). "
    table = 1 - nets.pivot(index="seed", columns="parameters", values="test_accuracy")
    gap = paired_difference(table.iloc[:, -1], chosen_by_others(table))
    if np.isfinite(gap.value):
        apart = {1: "less accurate than", -1: "more accurate than", 0: "not measurably different from"}[sign(gap)]
        more = f"is {apart} the size that the other seeds find best (difference of test error {show(gap, 2)})"
        text += f"The largest net {'has the lowest mean test error' if gap.exact and gap.value == 0 else more}."
    return text


def _descent(rows, loss, settings) -> str:
    """Where the threshold of a loss is, how it grows with the number of examples, and what the test error does there."""
    noises, most, name, text = sorted(settings["noises"], reverse=True), max(settings["examples"]), NAMES[loss], ""
    for noise in noises:
        table, labels = thresholds(rows, loss, noise, settings), f"{noise:.0%} noise" if noise else "true labels"
        size = geometric_mean(table[most])
        if not np.isfinite(size.value):
            text += f"With {name} and {labels}, the size that first fits {most:,} examples is not among the sizes. "
            continue
        ratio, growth = number(size.value / conditions(loss, most, settings), 2), exponent(table)
        text += f"With {name} and {labels}, nets fit {most:,} examples from {show(size)} parameters on, {ratio} per condition"
        text += f"; with N examples that size grows as N to the power {show(growth, 2)}. " if growth.seeds else ". "
        text += _around(rise(rows, loss, noise, settings), fall(rows, loss, noise, settings))
    return text + _criterion(rows, loss, settings)


def _around(up, down) -> str:
    """What the test error does around the threshold."""
    if not (np.isfinite(up.value) and np.isfinite(down.value)):
        return ""
    where = {(1, 1): "has a peak near it: double descent", (1, 0): "is higher there than before"}
    where |= {(0, 1): "falls beyond it", (-1, 1): "falls up to it and beyond it: no peak"}
    said = where.get((sign(up), sign(down)), "has no peak there that could be measured")
    return f"The test error {said} ({show(up, 2)} above the best smaller size, {show(down, 2)} above the largest). "


def _criterion(rows, loss, settings) -> str:
    """How the exponent depends on the training error that counts as a fit."""
    noise, others = max(settings["noises"]), (FITTED / 3, 5 * FITTED)
    powers = [exponent(thresholds(rows, loss, noise, settings, fitted)) for fitted in others]
    if not all(power.seeds for power in powers):
        return ""
    found = [f"{show(power, 2)} at {100 * fitted:.1g}%" for power, fitted in zip(powers, others, strict=True)]
    return f"The power depends on the training error that counts as a fit, here {FITTED:.0%}: with {noise:.0%} noise it is {listed(found)}. "
