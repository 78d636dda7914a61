"""Figure, claims and text. Does SGD walk through a valley from wall to wall, by learning rate and batch size?

Reads the rows of `hw1.paths.walk` (batch_size, learning_rate, seed, floor, inside, convex, barrier, height, cosine,
distance, losses, accuracies, status) and the table "stages" of the same columns along training.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.verdict import Claim, claim
from hw1.findings.words import listed, net_on_images, number, part_of, show, sign, span
from hw1.statistics import Interval, geometric_mean, mean_interval, over_seeds, paired_difference, rank_correlation

XING = "Xing et al., arXiv 1802.08770"
MARKS = ("o", "s", "^", "D", "v", "P")


def _cell(rows, size: int | None = None, rate: float | None = None) -> pd.DataFrame:
    """The nets of a batch size and a learning rate, of all where none is given."""
    chosen = pd.Series(True, rows.index)
    if size is not None:
        chosen &= rows.batch_size == size
    if rate is not None:
        chosen &= rows.learning_rate == rate
    return rows[chosen]


def _of(rows, settings, column) -> pd.Series:
    """A column of the nets at the batch size and learning rate of the comparisons, by seed."""
    return _cell(rows, settings["batch_size"], settings["learning_rate"]).set_index("seed")[column]


def mini_batches(rows, settings) -> pd.DataFrame:
    """The nets that were not trained by the whole training set."""
    return rows[rows.batch_size < settings["train"]]


def _against_rate(rows, settings, column) -> Interval:
    """Rank correlation of a column with the learning rate at the batch size of the comparisons."""
    return rank_correlation(_cell(rows, settings["batch_size"]), "learning_rate", column)


def _against_size(rows, settings, column) -> Interval:
    """Rank correlation of a column with the batch size at the learning rate of the comparisons, mini-batches only."""
    return rank_correlation(_cell(mini_batches(rows, settings), rate=settings["learning_rate"]), "batch_size", column)


def _to_descent(rows, settings, column, rate: float | None = None) -> tuple[pd.Series, pd.Series]:
    """A column at the batch size of the comparisons and of exact descent, at one learning rate, by seed."""
    rate = settings["learning_rate"] if rate is None else rate
    ours, whole = (
        _cell(rows, size, rate).set_index("seed")[column] for size in (settings["batch_size"], settings["train"])
    )
    return ours, whole


def figure(rows, settings, stages) -> Figure:
    """Above: against the learning rate, a line per batch size. Below: the same along training."""
    fig, (above, below) = style.figure(2, 4, 4.4)
    sizes = sorted(rows.batch_size.unique())
    shades = style.shades(sizes)
    looks = {size: {"color": shades[size], "marker": MARKS[i % len(MARKS)]} for i, size in enumerate(sizes)}
    quantities = {
        "floor": "steps over a floor (share)",
        "height": "height above floor (nats)",
        "cosine": "cosine of two gradients",
        "distance": "distance from the start",
    }
    along = stages[stages.learning_rate == settings["learning_rate"]]
    for (column, label), upper, lower in zip(quantities.items(), above, below, strict=True):
        if column in ("height", "distance"):
            upper.set_yscale("log")
        if column == "height":
            lower.set_yscale("log")
        for number_, (size, look) in enumerate(looks.items()):
            aside = 1.04 ** (number_ - (len(looks) - 1) / 2)
            nets = _cell(rows, size)
            style.curve(upper, nets.assign(learning_rate=nets.learning_rate * aside), "learning_rate", column, **look)
            style.curve(lower, along[along.batch_size == size], "updates", column, band=True, **(look | {"marker": ""}))
        if column == "distance":
            style.log_ticks(upper.yaxis)
        rates = settings["learning_rates"]
        upper.set(xscale="log", xlabel="learning rate", xlim=(min(rates) / 1.25, 1.25 * max(rates)))
        upper.set_xticks(rates, [f"{rate:g}" for rate in rates])
        upper.set_xticks([], minor=True)
        lower.set(xlabel="steps")
        for axes in (upper, lower):
            axes.set_ylabel(label)
    names = [f"batch size {sizes[0]}", *map(str, sizes[1:-1]), f"all {sizes[-1]:,}"]
    style.legend(fig, dict(zip(names, looks.values(), strict=True)))
    return fig


def claims(rows, settings, stages) -> Iterator[Claim]:
    """Floors and barriers, what the learning rate does, what the batch size does, against exact descent."""
    size, rate = settings["batch_size"], settings["learning_rate"]
    at = f"batch size {size}, learning rate {rate:g}"
    reference, batches = _cell(rows, size, rate), mini_batches(rows, settings)
    yield claim(
        XING,
        f"For most of the training a step passes over a floor: the segment is roughly convex with its minimum inside (share of steps, {at})",
        mean_interval(reference.floor),
        reference,
        published="most of the training",
        above=0.5,
    )
    yield claim(
        XING,
        "The segments between consecutive iterates are roughly convex (share of steps, mini-batches of all sizes and rates)",
        over_seeds(batches, "convex"),
        batches,
        published="roughly convex",
        above=0.95,
    )
    yield claim(
        XING,
        "A step of SGD crosses no barrier (share of steps with an inner point above both ends, mini-batches of all sizes and rates)",
        over_seeds(batches, "barrier"),
        batches,
        below=0.01,
    )
    rates, sizes = _cell(rows, size), _cell(batches, rate=rate)
    for sentence, column in (
        ("A larger learning rate keeps a larger height above the floor", "height"),
        ("A larger learning rate travels farther from the start", "distance"),
    ):
        yield claim(
            XING,
            f"{sentence} (rank correlation with the learning rate, batch size {size})",
            _against_rate(rows, settings, column),
            rates,
            above=0,
        )
    yield claim(
        XING,
        f"A smaller batch travels farther from the start in as many steps (rank correlation with the batch size, learning rate {rate:g})",
        _against_size(rows, settings, "distance"),
        sizes,
        below=0,
    )
    both = pd.concat([reference, _cell(rows, settings["train"], rate)])
    ours, whole = _to_descent(rows, settings, "distance")
    yield claim(
        XING,
        f"SGD travels farther from the start than exact descent in as many steps (ratio of distances, {at})",
        geometric_mean(ours / whole),
        both,
        above=1,
    )
    largest = max(settings["learning_rates"])
    yield claim(
        XING,
        f"Successive gradients of exact descent point against each other more than those of SGD (difference of cosines, SGD less exact descent, batch size {size}, learning rate {largest:g})",
        paired_difference(*_to_descent(rows, settings, "cosine", largest)),
        rows[rows.batch_size.isin([size, settings["train"]]) & (rows.learning_rate == largest)],
        above=0,
        effect=0.1,
    )


def comment(rows, settings, stages) -> dict:
    """What the segments look like, and what learning rate and batch size change."""
    rate, train = settings["learning_rate"], settings["train"]
    pooled = (
        f", on images averaged over squares of {settings['pool']} × {settings['pool']} pixels,"
        if settings["pool"] > 1
        else ""
    )
    return {
        "title": "A walk with SGD",
        "method": f"The net {net_on_images(settings)}{pooled} is trained by plain SGD on {train:,} images for {settings['updates']:,} steps, with batches of {listed(f'{b:,}' for b in settings['batch_sizes'])} and of all {train:,} images and learning rates of {listed(f'{r:g}' for r in settings['learning_rates'])}. At every {settings['every']} steps the training loss is measured at {settings['points']} points of the segment between the parameters before and after the step. A step passes over a floor if the segment is roughly convex with its minimum inside; the height is the mean loss of its two ends less the least loss on it. As there is no momentum, the angle between two steps is that between their mini-batch gradients.",
        "caption": f"Share of steps that pass over a floor, height above the floor, cosine of successive gradients and distance from the start. Above: against the learning rate, means over the training (distance: at its end). Below: along training at learning rate {rate:g}. Means over {settings['seeds']} seeds with 95 % intervals.",
        "comment": [
            part for part in (_of_floors(rows, settings), _of_both(rows, settings), _of_descent(rows, settings)) if part
        ],
    }


def _of_floors(rows, settings) -> str:
    """How many steps pass over a floor, and how many cross a barrier."""
    size, rate = settings["batch_size"], settings["learning_rate"]
    batches = mini_batches(rows, settings)
    means = batches.groupby(["batch_size", "learning_rate"]).floor.mean().dropna()
    if means.empty:
        return f"{part_of(len(rows), len(rows)).capitalize()} nets diverged."
    share, barrier = mean_interval(_of(rows, settings, "floor")), over_seeds(batches.dropna(), "barrier")
    least, most = means.idxmin(), means.idxmax()
    text = (
        f"With batch size {size} and learning rate {rate:g} a share of {show(share)} of the steps passes over a floor. "
    )
    if not np.isfinite(share.value):
        text = f"With batch size {size} and learning rate {rate:g} all nets diverged. "
    text += f"Over all mini-batches the share goes from {number(means.min(), 2)} (batch size {least[0]:,}, learning rate {least[1]:g}) to {number(means.max(), 2)} (batch size {most[0]:,}, learning rate {most[1]:g}). A share of {number(over_seeds(batches.dropna(), 'convex').value)} of the segments is roughly convex; on a share of {number(barrier.value, 2)} the loss rises above both ends."
    lost = rows[rows.status == "diverged"]
    if len(lost):
        text += (
            f" {part_of(len(lost), len(rows)).capitalize()} nets diverged (learning rates {span(lost.learning_rate)})."
        )
    return text


def _of_both(rows, settings) -> str:
    """What learning rate and batch size do to height and distance."""
    size, rate = settings["batch_size"], settings["learning_rate"]
    parts = []
    for name, found, at in (
        (
            "learning rate",
            {c: _against_rate(rows, settings, c) for c in ("height", "distance")},
            f"at batch size {size}",
        ),
        (
            "batch size",
            {c: _against_size(rows, settings, c) for c in ("height", "distance")},
            f"at learning rate {rate:g}",
        ),
    ):
        found = {column: part for column, part in found.items() if np.isfinite(part.value)}
        if not found:
            continue
        verbs = {1: "rises", 0: "does not change measurably", -1: "falls"}
        said = listed(
            f"the {column} {verbs[sign(part)]} (rank correlation {show(part, 2)})" for column, part in found.items()
        )
        parts.append(f"With the {name}, {at}, {said}.")
    cells = {"low": min(settings["learning_rates"]), "high": max(settings["learning_rates"])}
    heights = {key: geometric_mean(_cell(rows, size, value).height) for key, value in cells.items()}
    if all(np.isfinite(part.value) for part in heights.values()):
        parts.append(
            f"The height is {show(heights['low'], 2)} nats at learning rate {cells['low']:g} and {show(heights['high'], 2)} at {cells['high']:g}."
        )
    return " ".join(parts)


def _of_descent(rows, settings) -> str:
    """SGD beside exact descent at one learning rate."""
    ours, whole = _to_descent(rows, settings, "cosine")
    if ours.dropna().empty or whole.dropna().empty:
        return ""
    far = geometric_mean(np.divide(*_to_descent(rows, settings, "distance")))
    floors, losses = _to_descent(rows, settings, "floor"), _to_descent(rows, settings, "train_loss")
    text = f"At learning rate {settings['learning_rate']:g} the cosine of successive gradients is {show(mean_interval(ours), 2)} for batches of {settings['batch_size']} and {show(mean_interval(whole), 2)} for the whole training set, and the share of steps over a floor {number(floors[0].mean(), 2)} and {number(floors[1].mean(), 2)}. SGD ends {show(far)} times as far from the start, at a training loss of {number(losses[0].mean(), 2)} nats against {number(losses[1].mean(), 2)}."
    if floors[1].mean() < 0.5:
        text += (
            " In most of its steps exact descent has no floor to pass over there: it is below the edge of stability."
        )
    largest = max(settings["learning_rates"])
    ours, whole = _to_descent(rows, settings, "cosine", largest)
    if largest > settings["learning_rate"] and np.isfinite([ours.mean(), whole.mean()]).all():
        crossed = _to_descent(rows, settings, "floor", largest)[1]
        text += f" At {largest:g} exact descent passes over a floor in a share of {number(crossed.mean(), 2)} of its steps, with a cosine of {show(mean_interval(whole), 2)} against {show(mean_interval(ours), 2)} of SGD."
        if sign(mean_interval(whole)) < 0:
            text += " So it swings between the walls of a valley."
    return text
