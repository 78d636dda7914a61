"""Figure, claims and text. What do momentum, weight decay, preprocessing and the schedule each give a residual net?

Reads the rows of `hw1.dynamics.ingredients` (removed, rate, learning_rate, seed, losses, accuracies, status). The drop of
an ablation is the test accuracy of the full set-up less its own, of the same seed, in points.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import scipy.stats
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import BLACK, BLUE, VERMILION
from hw1.findings.verdict import ACCURACY_EFFECT, OWN, Claim, claim
from hw1.findings.words import listed, number, part_of, plural, show, sign
from hw1.statistics import Interval, mean_interval, paired_difference, rank_correlation

SAGUN = "Sagun, talk"
NOTHING, EVERYTHING = "nothing", "everything"
PUBLISHED = {"momentum": 1.5, "weight decay": 3.2, "preprocessing": 6.3, EVERYTHING: 12.5}  # points, in their order
RATES = {"fixed": {"color": BLUE, "marker": "o"}, "retuned": {"color": VERMILION, "marker": "s"}}
ALL = "all four"  # what EVERYTHING is called in a text
NAMES = {"fixed": "rate of the full set-up", "retuned": "rate of its own"}
POINTS = 100 * ACCURACY_EFFECT  # the effect fixed beforehand, in points


def figure(rows, settings) -> Figure:
    """Drop in test accuracy of each ablation with its interval, beside the published ones; training accuracy."""
    fig, (first, second) = style.figure(1, 2, 2.7, sharey=True, width_ratios=(3, 2))
    removed = _removed(rows)
    for side, (rate, look) in zip((-0.13, 0.13), RATES.items(), strict=True):
        for place, name in enumerate(removed):
            style.across(first, mean_interval(drops(rows, name, rate)), place + side, **look, markersize=4)
            training = mean_interval(_accuracy(rows, name, rate, "train"))
            style.across(second, training, place + side, **look, markersize=4)
    shown = [name for name in removed if name in PUBLISHED]
    first.plot(
        [PUBLISHED[name] for name in shown],
        [removed.index(name) for name in shown],
        marker="D",
        linestyle="",
        color=BLACK,
        markerfacecolor="white",
    )
    first.axvline(0, color="#888888", linewidth=0.8, linestyle=":")
    first.set(xlabel="drop in test accuracy (points)", yticks=range(len(removed)))
    first.set_yticklabels([f"without {_called(name)}" for name in removed])
    first.set_ylim(len(removed) - 0.5, -0.5)
    whole = mean_interval(_accuracy(rows, NOTHING, "fixed", "train")).value
    if np.isfinite(whole):
        second.axvline(whole, color="#888888", linewidth=0.8, linestyle=":")
    second.set(xlabel="training accuracy (dotted: full set-up)")
    looks = {NAMES[rate]: look | {"linestyle": ""} for rate, look in RATES.items()}
    published = {"color": BLACK, "marker": "D", "linestyle": "", "markerfacecolor": "white"}
    style.legend(fig, looks | {"published, ResNet-56 on CIFAR-10": published})
    return fig


def _removed(rows) -> list[str]:
    """What was removed, in the order of the rows."""
    return [name for name in rows.removed.unique() if name != NOTHING]


def _accuracy(rows, removed, rate, part="test") -> pd.Series:
    """The accuracy of each seed; NaN where the net diverged."""
    nets = rows[(rows.removed == removed) & (rows.rate == rate)]
    return nets.set_index("seed")[f"{part}_accuracy"]


def _called(name) -> str:
    """What was removed, in a text."""
    return ALL if name == EVERYTHING else name


def drops(rows, removed: str, rate: str) -> pd.Series:
    """The test accuracy of the full set-up less that without an ingredient, of each seed, in points."""
    return 100 * (_accuracy(rows, NOTHING, "fixed") - _accuracy(rows, removed, rate))


def order(rows, rate: str) -> tuple[Interval, float]:
    """Whether the drops have the published order: from the least to the largest of those that are published.

    Returns:
        Spearman's correlation of the drops with the published order, mean over seeds; and the one-sided p-value of
        Page's test, whose statistic is a linear function of that mean. NaN with fewer than two seeds or three drops.
    """
    names = [name for name in PUBLISHED if name in _removed(rows)]
    table = pd.DataFrame({name: drops(rows, name, rate) for name in names})
    long = table.reset_index(names="seed").melt("seed", var_name="removed", value_name="drop")
    long["place"] = long.removed.map({name: place for place, name in enumerate(names)})
    whole = table.dropna().to_numpy()
    p = scipy.stats.page_trend_test(whole).pvalue if len(whole) > 1 and len(names) > 2 else np.nan
    return rank_correlation(long, "place", "drop"), float(p)


def claims(rows, settings) -> Iterator[Claim]:
    """Each drop against 0, at the fixed rate and at its own, and the order of the published drops."""
    full = rows[rows.removed == NOTHING]
    for rate, said in NAMES.items():
        for name in _removed(rows):
            nets = rows[(rows.removed == name) & (rows.rate == rate)]
            yield claim(
                SAGUN if name in PUBLISHED and rate == "fixed" else OWN,
                f"Test accuracy falls without {_called(name)}, {said} (drop in points)",
                mean_interval(drops(rows, name, rate)),
                nets,
                published=f"{PUBLISHED[name]:g} points" if name in PUBLISHED and rate == "fixed" else "",
                above=0,
                effect=POINTS,
            )
        found, p = order(rows, rate)
        yield claim(
            SAGUN if rate == "fixed" else OWN,
            f"The drops have the published order, {said}: {listed(map(_called, PUBLISHED))} (Spearman's correlation with that order, mean over seeds; p of Page's test)",
            found,
            pd.concat([full, rows[rows.rate == rate]]),
            published="1.5, 3.2, 6.3 and 12.5 points" if rate == "fixed" else "",
            above=0,
        )._replace(p=min(1.0, 2 * p))


def comment(rows, settings) -> dict:
    """How well the full set-up is trained, what each ingredient gives, and in which order."""
    depth = 2 + 2 * len(settings["filters"]) * settings["blocks"]
    pooled = (
        f", averaged over squares of {settings['pool']} × {settings['pool']} pixels" if settings["pool"] > 1 else ""
    )
    parts = ["All nets of the full set-up diverged, so that there is nothing to compare."]
    if _accuracy(rows, NOTHING, "fixed").notna().any():
        parts = [_full(rows), _drops(rows, "fixed"), _drops(rows, "retuned"), _orders(rows)]
    return {
        "title": "The ingredients of a residual net",
        "method": f"A residual net of {depth} layers ({'-'.join(map(str, settings['filters']))} channels) is trained on {settings['train']:,} images of {settings['data']}{pooled}, for {settings['updates']:,} steps with batch size {settings['batch_size']}, by SGD with momentum {settings['momentum']:g}, weight decay {settings['weight_decay']:g}, preprocessing (normalised pixels, shifts by up to {plural(settings['shift'], 'pixel')}, flips) and a learning rate of {settings['learning_rate']:g} that is divided by 10 twice; then without each of these, and without all four, with that rate and with a rate of its own ({_rates(rows)}).",
        "caption": f"Drop in test accuracy against the full set-up (left) and training accuracy (right) without each ingredient and without all; means over {plural(settings['seeds'], 'seed')} with 95 % intervals. The published drops are those of another net on other images.",
        "comment": [" ".join(filter(None, parts))],
    }


def _rates(rows) -> str:
    """The retuned rates."""
    own = rows[rows.rate == "retuned"].drop_duplicates("removed").dropna(subset=["learning_rate"])
    return (
        listed(f"{row.learning_rate:g} without {_called(row.removed)}" for row in own.itertuples())
        if len(own)
        else "none"
    )


def _full(rows) -> str:
    """The accuracy of the full set-up."""
    train, test = (mean_interval(_accuracy(rows, NOTHING, "fixed", part)) for part in ("train", "test"))
    text = f"With all four ingredients the net has a training accuracy of {show(train)} and a test accuracy of {show(test)}."
    without = [name for name in _removed(rows) if sign(_more_fitted(rows, name)) > 0]
    return (
        f"{text} It fits its training images less well than without {listed(map(_called, without))}."
        if without
        else text
    )


def _more_fitted(rows, name) -> Interval:
    """How much higher the training accuracy is without an ingredient, at the rate of the full set-up."""
    return paired_difference(_accuracy(rows, name, "fixed", "train"), _accuracy(rows, NOTHING, "fixed", "train"))


def _drops(rows, rate) -> str:
    """The drop of each ablation."""
    found = {name: mean_interval(drops(rows, name, rate)) for name in _removed(rows)}
    found = {name: interval for name, interval in found.items() if np.isfinite(interval.value)}
    if not found:
        return f"With the {NAMES[rate]}, all nets diverged."
    text = "At the rate of the full set-up" if rate == "fixed" else "With a rate of its own for each"
    text += f", accuracy drops by {listed(f'{show(interval, 2)} points without {_called(name)}' for name, interval in found.items())}."
    open_ones = [name for name, interval in found.items() if sign(interval) <= 0 and np.isfinite(interval.low)]
    if open_ones:
        text += f" No drop is shown without {listed(map(_called, open_ones))}."
    lost = [name for name in found if found[name].missing]
    if lost:
        text += f" Some nets diverged without {listed(map(_called, lost))}."
    return text


def _orders(rows) -> str:
    """Whether the drops come in the published order."""
    found = {said: order(rows, rate) for rate, said in NAMES.items()}
    if not all(np.isfinite(p) for _, p in found.values()):
        return ""
    shown = [said for said, (_, p) in found.items() if p < 0.05]
    text = f"The published order of the drops, {listed(map(_called, PUBLISHED))}, is {f'shown with the {listed(shown)}' if shown else 'not shown'}: Spearman's correlation with it is "
    text += f"{listed(f'{show(correlation, 2)} with the {said} (p of Page’s test {number(p, 1)})' for said, (correlation, p) in found.items())}."
    change = {name: mean_interval(drops(rows, name, "fixed") - drops(rows, name, "retuned")) for name in _removed(rows)}
    smaller = [name for name, interval in change.items() if sign(interval) > 0]
    if smaller:
        text += f" A part of the drop without {listed(map(_called, smaller))} is the fault of the rate, not of the missing ingredient: with a rate of its own it is measurably smaller ({part_of(len(smaller), len(change))} ablations)."
    return text
