"""Figure, claims and text. Does growing the batch size do the same as decaying the learning rate?

Reads the rows of `hw1.dynamics.batch_growth` (schedule, seed, epoch, updates, losses, accuracies, status), one per
epoch. Schedules are compared per epoch, always with the decaying rate, and pairs have one seed.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import ACCURACY, BLACK, BLUE, LOSS, PURPLE, VERMILION
from hw1.findings.verdict import ACCURACY_EFFECT, OWN, RATIO_EFFECT, Claim, check, claim
from hw1.findings.words import listed, net_on_images, number, part_of, plural, show, sign
from hw1.statistics import Interval, geometric_mean, last_rows, mean_interval, paired_difference, weakest

SMITH = "Smith, Kindermans et al., arXiv 1711.00489"
DECAYING, GROWING, HYBRID, CONSTANT = "decaying rate", "growing batch", "hybrid", "constant"
OTHERS = (GROWING, HYBRID)  # should do the same as the decaying rate
LOOKS = style.looks((DECAYING, GROWING, HYBRID, CONSTANT), (BLUE, VERMILION, PURPLE, BLACK))
LOOKS = {
    name: look | {"linestyle": line["linestyle"]}
    for (name, look), line in zip(LOOKS.items(), style.LINES, strict=False)
}
SETS = {"train_loss": "training loss", "test_loss": "test loss"}


def ratios(rows, name: str, column: str) -> pd.DataFrame:
    """A loss over that of the decaying rate: a row per seed and a column per epoch; NaN where a net diverged."""
    tables = [
        rows[rows.schedule == schedule].pivot(index="seed", columns="epoch", values=column)
        for schedule in (name, DECAYING)
    ]
    return tables[0] / tables[1]


def largest_gap(table: pd.DataFrame) -> Interval:
    """The largest factor between two curves, the larger over the smaller one, over all epochs.

    At each epoch the factor is the geometric mean over seeds. The ends are the largest of all lower and of all upper
    ends, so that every epoch's interval lies below the upper one.

    Args:
        table: ratios, a row per seed and a column per epoch.
    """
    if table.empty:
        return Interval(np.nan, np.nan, np.nan)
    epochs = [table[epoch] for epoch in table]
    least = weakest(geometric_mean(ratio) for column in epochs for ratio in (column, 1 / column))
    return least._replace(value=1 / least.value, low=1 / least.high, high=1 / least.low)


def accuracies(rows) -> pd.DataFrame:
    """Test accuracy after the last epoch: a row per seed and a column per schedule; NaN where a net diverged."""
    return last_rows(rows, ["schedule", "seed"]).pivot(index="seed", columns="schedule", values="test_accuracy")


def updates(rows) -> dict[str, int]:
    """Schedule → updates in all epochs, of a net that did not diverge; those without one are left out."""
    whole = rows[rows.status != "diverged"]
    return whole.groupby("schedule", sort=False).updates.max().astype(int).to_dict()


def figure(rows, settings) -> Figure:
    """Training loss per epoch and per update, its ratio to that of the decaying rate, and test accuracy per epoch.

    Lines are means over seeds, geometric ones of losses, with 95 % intervals as bands.
    """
    fig, ((first, second), (third, fourth)) = style.figure(2, 2, 4.6)
    rows = rows[rows.status != "diverged"]
    for axes in (first, second, third):
        axes.set_yscale("log")
    for name, look in LOOKS.items():
        nets = rows[rows.schedule == name]
        style.curve(first, nets, "epoch", "train_loss", band=True, **look)
        style.curve(second, nets, "updates", "train_loss", band=True, **look)
        style.curve(fourth, nets, "epoch", "test_accuracy", band=True, **look)
        if name in OTHERS:
            ratio = ratios(rows, name, "train_loss").melt(ignore_index=False, value_name="ratio").reset_index()
            style.curve(third, ratio, "epoch", "ratio", band=True, **look)
    for bound in (1 / RATIO_EFFECT, 1, RATIO_EFFECT):
        third.axhline(bound, color="#888888", linewidth=0.8, linestyle=":")
    low, high = third.get_ylim()
    third.set_ylim(min(low, 0.75), max(high, 1.35))
    for axes in (first, third, fourth):
        axes.set_xlabel("epoch")
        for milestone in settings["milestones"]:
            axes.axvline(milestone, color="#888888", linewidth=0.8, linestyle="--")
    for axes in (first, second):
        axes.set_ylabel(f"training {LOSS}")
        style.log_ticks(axes.yaxis)
    second.set_xlabel("updates")
    third.set_yticks((1 / RATIO_EFFECT, 1, RATIO_EFFECT), [f"{1 / RATIO_EFFECT:g}", "1", f"{RATIO_EFFECT:g}"])
    third.yaxis.set_minor_formatter("")
    third.set_ylabel("training loss, relative to decay")
    fourth.set_ylabel(f"test {ACCURACY}")
    style.legend(fig, LOOKS)
    return fig


def claims(rows, settings) -> Iterator[Claim]:
    """Growing batch and hybrid beside the decaying rate: curves, accuracy, updates; then all three beside the control."""
    final, ends = accuracies(rows), last_rows(rows, ["schedule", "seed"])
    ends = ends.assign(net=ends.schedule)
    for name in OTHERS:
        nets = ends[ends.schedule.isin([name, DECAYING])]
        for column, what in SETS.items():
            yield claim(
                SMITH,
                f"The {what} per epoch is that of a decaying rate: {name} (largest factor between the two curves)",
                largest_gap(ratios(rows, name, column)),
                nets,
                published="the same curve",
                below=RATIO_EFFECT,
                effect=np.nan,
            )
        yield claim(
            SMITH,
            f"After equally many epochs, test accuracy is within half a point of that of a decaying rate: {name} (difference)",
            paired_difference(final[name], final[DECAYING]),
            nets,
            published="equivalent",
            within=(-ACCURACY_EFFECT, ACCURACY_EFFECT),
        )
    for name in (DECAYING, *OTHERS):
        yield claim(
            OWN,
            f"Less noise towards the end raises test accuracy: {name} (difference to constant rate and batch size)",
            paired_difference(final[name], final[CONSTANT]),
            ends[ends.schedule.isin([name, CONSTANT])],
            above=0,
            effect=ACCURACY_EFFECT,
        )
    steps = ends[ends.status != "diverged"].pivot(index="seed", columns="schedule", values="updates")
    for name in OTHERS:
        share = steps[name] / steps[DECAYING] if {name, DECAYING} <= set(steps) else pd.Series(dtype=float)
        yield check(
            SMITH,
            f"Equally many epochs take fewer updates: {name} (updates / those of a decaying rate)",
            mean_interval(share),
            within=(0, np.nextafter(1, 0)),
        )


def comment(rows, settings) -> dict:
    """Whether the curves and the final accuracies are the same, and how many updates each schedule takes."""
    size, factor, milestones = settings["batch_size"], settings["factor"], settings["milestones"]
    largest = size * factor ** len(milestones)
    parts = [_curves(rows), _accuracy(rows), _updates(rows)]
    return {
        "title": "Growing batches",
        "method": f"The net {net_on_images(settings)} is trained for {settings['epochs']} epochs on {settings['train']:,} images by SGD with momentum {settings['momentum']:g}, batch size {size} and learning rate {settings['learning_rate']:g}. After {listed(map(str, milestones))} epochs either the rate is divided by {factor}, or the batch size is multiplied by {factor} (up to {largest}, {100 * largest / settings['train']:.2g} % of the images); the hybrid grows the batch first and then lowers the rate; the control keeps both.",
        "caption": f"Training loss per epoch and per update (above), its ratio to that of the decaying rate (dotted: factor {RATIO_EFFECT:g}) and test accuracy per epoch (below); means over {plural(settings['seeds'], 'seed')} with 95 % intervals. Dashed: the milestones.",
        "comment": [part for part in parts if part] or ["All nets diverged, so that there is nothing to compare."],
    }


def _curves(rows) -> str:
    """How far apart the curves are, and whether the factor that was fixed beforehand is kept."""
    found = {name: largest_gap(ratios(rows, name, "train_loss")) for name in OTHERS}
    found = {name: gap for name, gap in found.items() if np.isfinite(gap.value)}
    if not found:
        return ""
    gaps = listed(f"{show(gap, 3)} for the {_named(name)}" for name, gap in found.items())
    text = f"Per epoch, the training loss differs from that of the decaying rate by at most a factor of {gaps}. "
    signs = {name: sign(gap, RATIO_EFFECT) for name, gap in found.items()}
    if all(found == -1 for found in signs.values()):
        text += f"So the curves are the same within the factor of {RATIO_EFFECT:g} that was fixed beforehand: a larger batch and a smaller rate act alike because they lower the same noise."
    else:
        apart = [_named(name) for name, found in signs.items() if found == 1]
        text += (
            f"With the {listed(apart)} the curves part by more than the factor of {RATIO_EFFECT:g} that was fixed beforehand."
            if apart
            else f"Whether that is within the factor of {RATIO_EFFECT:g} fixed beforehand cannot be told for all of them."
        )
    return text


def _accuracy(rows) -> str:
    """The final test accuracies beside each other and beside that of the control."""
    final = accuracies(rows)
    means = {name: mean_interval(final[name]) for name in LOOKS if name in final}
    means = {name: mean for name, mean in means.items() if np.isfinite(mean.value)}
    if not means:
        return ""
    text = f"At the end, test accuracy is {listed(f'{show(mean)} with the {_named(name)}' for name, mean in means.items())}. "
    for name in OTHERS:
        gap = paired_difference(final[name], final[DECAYING])
        if not np.isfinite(gap.value):
            continue
        if gap.low > -ACCURACY_EFFECT and gap.high < ACCURACY_EFFECT:
            said = "is within half a point of"
        else:
            said = {1: "is higher than", -1: "is lower than", 0: "does not measurably differ from"}[sign(gap)]
        text += f"With the {_named(name)} it {said} that with the decaying rate (difference {show(gap, 2)}). "
    gains = {name: paired_difference(final[name], final[CONSTANT]) for name in (DECAYING, *OTHERS)}
    gains = {name: gain for name, gain in gains.items() if np.isfinite(gain.value)}
    if gains:
        better = [name for name, gain in gains.items() if sign(gain) > 0]
        text += f"{part_of(len(better), len(gains)).capitalize()} schedules are better than the control ({listed(f'{show(gain, 2)} for the {_named(name)}' for name, gain in gains.items())})"
        text += ": it matters that the noise falls, not by which of the two." if len(better) == len(gains) else "."
    return text + _control(rows)


def _control(rows) -> str:
    """Whether the control merely lags behind in training loss; empty without such nets."""
    losses = last_rows(rows, ["schedule", "seed"]).pivot(index="seed", columns="schedule", values="train_loss")
    ratio = geometric_mean(losses[CONSTANT] / losses[DECAYING])
    if not np.isfinite(ratio.value):
        return ""
    said = {1: "is higher than", -1: "is lower than", 0: "does not measurably differ from"}[sign(ratio, 1)]
    return f" The training loss of the control {said} that with the decaying rate at the end (ratio {show(ratio)})."


def _updates(rows) -> str:
    """How many updates each schedule takes for the same epochs."""
    counts = updates(rows)
    fewer = {name: count for name, count in counts.items() if name in OTHERS}
    if not fewer or DECAYING not in counts:
        return ""
    shares = listed(
        f"{count:,} with the {_named(name)} ({number(count / counts[DECAYING], 2)} times as many)"
        for name, count in fewer.items()
    )
    return f"The same number of epochs takes {counts[DECAYING]:,} updates with the decaying rate, {shares}. Larger batches can be computed in parallel, so that is where time is saved."


def _named(name) -> str:
    """A schedule's name inside a sentence."""
    return {CONSTANT: "constant rate and batch size"}.get(name, name)
