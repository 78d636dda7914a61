"""Figure, claims and text. Does a method that seeks flat minima generalise better? One line of each panel per method.

Reads the rows of `hw1.dynamics.flat_seeking` (method, seed, losses, accuracies, objective, value, trace, largest,
adaptive, status). `value` is the sharpness φ in per cent. All comparisons are of one seed with plain training.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import COLOURS
from hw1.findings.verdict import ACCURACY_EFFECT, FLATTENED_BETTER, KESKAR, OWN, RATIO_EFFECT, Claim, claim
from hw1.findings.words import listed, number, part_of, plural, show, sign
from hw1.statistics import Interval, geometric_mean, mean_interval, paired_difference, weakest

PLAIN, LONGER = "plain", "plain, twice as long"
SOURCES = {
    "SAM": "Foret et al., arXiv 2010.01412",
    "Entropy-SGD": "Chaudhari et al., arXiv 1611.01838",
    "weight averaging": "Izmailov et al., arXiv 1803.05407",
    "skip connections": "Li et al., arXiv 1712.09913",
}
MEASURES = {  # column → its name in a sentence, its axis
    "value": ("φ", "φ / φ of plain"),
    "trace": ("the trace of the Hessian", "trace / trace of plain"),
    "adaptive": ("the adaptive sharpness", "adaptive / that of plain"),
}


def figure(rows, settings) -> Figure:
    """Change in test accuracy and three ratios of sharpness, each method against plain training of the same seed.

    Points are means over seeds with 95 % intervals, geometric ones of the ratios.
    """
    fig, panels = style.figure(1, 1 + len(MEASURES), 2.5, sharey=True)
    methods = _methods(rows)
    looks = style.looks(methods, COLOURS, by="marker")
    gains = {method: _gain(rows, method) for method in methods}
    _column(panels[0], gains, looks, "gain in test accuracy (points)", 0, 100)
    for axes, (measure, (_, label)) in zip(panels[1:], MEASURES.items(), strict=True):
        style.log_x(axes, label)
        _column(axes, {method: _ratio(rows, method, measure) for method in methods}, looks, label, 1)
    panels[0].set(yticks=range(len(methods)), yticklabels=methods)
    panels[0].set_ylim(len(methods) - 0.5, -0.5)
    return fig


def _column(axes, intervals, looks, label, neutral, scale=1) -> None:
    """One panel: a point and an interval for each method, and a line where nothing changes."""
    for place, (method, interval) in enumerate(intervals.items()):
        style.across(axes, scale * np.array(interval[:3]), place, **looks[method], markersize=4)
    axes.axvline(neutral, color="#888888", linewidth=0.8, linestyle=":")
    axes.set_xlabel(label)


def _methods(rows) -> list[str]:
    """All methods but plain training, in the order of the rows."""
    return [method for method in rows.method.unique() if method != PLAIN]


def _table(rows, column) -> pd.DataFrame:
    """A column as a table: a row per seed, a column per method; NaN where a net diverged."""
    return rows.pivot(index="seed", columns="method", values=column)


def _gain(rows, method) -> Interval:
    """Test accuracy less that of plain training."""
    table = _table(rows, "test_accuracy")
    return paired_difference(table[method], table[PLAIN])


def _ratio(rows, method, measure) -> Interval:
    """A measure of sharpness over that of plain training, geometric mean; a measure that is not positive is missing."""
    table = _table(rows, measure)
    table = table.where(table > 0)
    return geometric_mean(table[method] / table[PLAIN])


def flattening(rows, method) -> Interval:
    """The least reduction of the measures of sharpness, as a mean logarithm of plain over the method."""
    found = [_ratio(rows, method, measure) for measure in MEASURES]
    reductions = [Interval(*-np.log([part.value, part.high, part.low]), part.seeds, part.missing) for part in found]
    return weakest(reductions)


def both(rows, method) -> Interval:
    """The lesser of flattening and gain, each in units of the effect fixed beforehand: above 0 if there are both."""
    gain, less = _gain(rows, method), flattening(rows, method)
    gain = gain._replace(**{part: getattr(gain, part) / ACCURACY_EFFECT for part in ("value", "low", "high")})
    less = less._replace(**{part: getattr(less, part) / np.log(RATIO_EFFECT) for part in ("value", "low", "high")})
    return weakest([gain, less])


def claims(rows, settings) -> Iterator[Claim]:
    """For each method: is it flatter, is it better, is it both? And was plain training at its plateau?"""
    for method in _methods(rows):
        nets = rows[rows.method.isin([PLAIN, method])]
        if method == LONGER:
            yield claim(
                OWN,
                "Twice as many steps change plain training by less than half a point (difference in test accuracy)",
                _gain(rows, method),
                nets,
                within=(-ACCURACY_EFFECT, ACCURACY_EFFECT),
            )
            continue
        source = SOURCES[method]
        for measure, (name, _) in MEASURES.items():
            yield claim(
                source if measure != "adaptive" else OWN,
                f"Minima are flatter with {method} than with plain training by {name} (geometric mean of the ratio)",
                _ratio(rows, method, measure),
                nets,
                below=1,
            )
        yield claim(
            source,
            f"Nets generalise better with {method} than with plain training (difference in test accuracy)",
            _gain(rows, method),
            nets,
            above=0,
            effect=ACCURACY_EFFECT,
        )
        yield claim(
            KESKAR,
            f"Flattening improves generalisation: {method} is flatter by all measures and better (the lesser of the gain in half points and the least reduction of sharpness in factors of {RATIO_EFFECT:g})",
            both(rows, method),
            nets,
            above=0,
            effect=1,
            topic=FLATTENED_BETTER if flattening(rows, method).low > 0 else "",
        )


def comment(rows, settings) -> dict:
    """What each method does to sharpness and to test accuracy."""
    net = f"of {2 + 2 * settings['blocks']} dense layers with {settings['width']} hidden units each"
    parts = ["All nets of plain training diverged, so that there is nothing to compare."]
    if rows[(rows.method == PLAIN) & (rows.status != "diverged")].size:
        parts = [_control(rows), *(_method(rows, method) for method in _methods(rows) if method != LONGER)]
        parts = [" ".join(filter(None, parts)), _answer(rows)]
    return {
        "title": "Seeking flat minima",
        "method": f"A net {net} is trained from the same weights, on the same images, by plain SGD (rate {settings['learning_rate']:g}, momentum {settings['momentum']:g}, batch size {settings['batch_size']}) and by methods that are meant to find flat minima: SAM (ρ = {settings['radius']:g}), Entropy-SGD ({settings['inner_steps']} Langevin steps of size {settings['inner_rate']:g}, γ = {settings['scope']:g}), weight averaging over the last {100 * (1 - settings['constant']):.0f} % of the epochs, and skip connections around each pair of layers. All minimise the cross-entropy plus {settings['penalty']:g}/2 ‖θ‖² for {settings['epochs']} epochs, {100 * settings['constant']:.0f} % of them at a constant rate, where each comes to a plateau of its own. {_missed(rows)}Sharpness is that of the cross-entropy on training images.",
        "caption": f"Difference in test accuracy, and ratios of Keskar's φ, of the trace of the Hessian and of the adaptive sharpness ‖diag|θ| H diag|θ|‖₂, of each method and plain training of the same seed; means over {plural(settings['seeds'], 'seed')} with 95 % intervals, geometric ones of ratios.",
        "comment": [part for part in parts if part],
    }


def _missed(rows) -> str:
    """How many nets were not at a plateau; empty if all were."""
    missed = rows[rows.status == "target not reached"]
    if missed.empty:
        return ""
    return f"{part_of(len(missed), len(rows)).capitalize()} nets were still getting better there ({listed(map(_named, missed.method.unique()))}). "


def _named(method) -> str:
    """A method's name inside a sentence: without a comma."""
    return method.replace(",", " trained")


def _control(rows) -> str:
    """Plain training, and what twice as many steps do."""
    accuracy = mean_interval(_table(rows, "test_accuracy")[PLAIN])
    loss = mean_interval(_table(rows, "train_loss")[PLAIN])
    text = f"Plain training has a test accuracy of {show(accuracy)} at a training loss of {number(loss.value, 2)} nats."
    if LONGER not in _methods(rows):
        return text
    gain = _gain(rows, LONGER)
    if gain.low > -ACCURACY_EFFECT and gain.high < ACCURACY_EFFECT:
        return f"{text} Twice as many steps change it by {show(gain, 2)}, less than half a point, so the gains below are not those of more computation."
    return f"{text} Twice as many steps change it by {show(gain, 2)}, which must be kept in mind where a method takes more gradients."


def _flatter(rows, method) -> list[int]:
    """+1 for each measure by which the method is flatter, −1 by which it is sharper, 0 where neither is shown."""
    return [-sign(_ratio(rows, method, measure), 1) for measure in MEASURES]


def _method(rows, method) -> str:
    """One method's sharpness and accuracy against plain training."""
    gain = _gain(rows, method)
    ratios = [f"{show(_ratio(rows, method, measure), 2)} for {name}" for measure, (name, _) in MEASURES.items()]
    better = {1: "better", 0: "not measurably better or worse", -1: "worse"}[sign(gain)]
    marks = _flatter(rows, method)
    if not np.isfinite(gain.value):
        return f"With {method}, no net can be compared with plain training."
    if len(set(marks)) == 1:
        flat = {1: "flatter by all measures", 0: "not measurably flatter or sharper", -1: "sharper by all measures"}[
            marks[0]
        ]
    else:
        names = [name for name, _ in MEASURES.values()]
        said = {1: "flatter by", -1: "sharper by", 0: "not measurably changed by"}
        flat = listed(
            f"{text} {listed(name for name, mark in zip(names, marks, strict=True) if mark == wanted)}"
            for wanted, text in said.items()
            if wanted in marks
        )
    return f"With {method} the minima are {flat} (in units of plain training {listed(ratios)}), and the nets are {better} (test accuracy {show(gain, 2)})."


def _answer(rows) -> str:
    """Whether flattening improves generalisation, from all methods together."""
    methods = [method for method in _methods(rows) if method != LONGER and np.isfinite(_gain(rows, method).low)]
    flat = [method for method in methods if min(_flatter(rows, method)) > 0]
    better = [method for method in methods if sign(_gain(rows, method)) > 0]
    if not methods:
        return "With one seed there are no intervals, and so no answer."
    text = f"{part_of(len(flat), len(methods)).capitalize()} methods flatten by every measure{f' ({listed(flat)})' if flat else ''}, {part_of(len(better), len(methods))} improve test accuracy{f' ({listed(better)})' if better else ''}. "
    if flat and set(flat) == set(better) and len(flat) == len(methods):
        return f"{text}So in these runs flattening and better generalisation come together."
    if flat and set(flat) <= set(better):
        return f"{text}All that flatten by every measure are better."
    if flat:
        alone = [method for method in flat if method not in better]
        return f"{text}With {listed(alone)} the minima are flatter without a measurable gain: flattening alone does not improve generalisation."
    return (
        f"{text}No method flattens by every measure, so these runs cannot say what flattening does; where a method is better, something else must make it so."
        if better
        else f"{text}So these runs cannot say what flattening does."
    )
