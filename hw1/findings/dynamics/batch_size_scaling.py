"""Figure, claims and text. Which batch size generalises best, and how does it scale?

Reads the rows of `hw1.dynamics.batch_size_scaling` (examples, varied, value, learning_rate, momentum, batch_size, seed,
losses, accuracies, status), the tables "optimum" (varied, value, best_batch_size, low, high, censored) and "resamples"
(varied, value, resample, best_batch_size), and "gap" (batch_size, seed, updates, losses, accuracies, status).
"""

import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import ACCURACY, LOSS
from hw1.findings.verdict import ACCURACY_EFFECT, OWN, Claim, claim
from hw1.findings.words import listed, net_on_images, number, part_of, show, sign
from hw1.statistics import NOTHING, Interval, bootstrap, jackknife, mean_interval, paired_difference, weakest

SMITH = "Smith & Le, arXiv 1710.06451"
QUANTITIES = {"learning_rate": "learning rate", "examples": "training examples", "momentum": "momentum"}
SCALES = {  # as what the source has the best batch size proportional to
    "learning_rate": "the learning rate",
    "examples": "the number of training examples",
    "momentum": "1 / (1 − momentum)",
}
SYMBOLS = {"learning_rate": "ε", "examples": "N", "momentum": "1/(1 − m)"}
LOOKS = style.looks(QUANTITIES, by="marker")
COLOURS = dict(zip(QUANTITIES, style.COLOURS, strict=False))
PREDICTED = (0.5, 1.5)  # an exponent between these is called 1; fixed beforehand
SHOWN = 0.06  # of test accuracy below the highest mean; nets that do not fit the training set lie far below


def _factor(varied: str, values):
    """The values of what is varied as the source's law has them: 1/(1 − m) for momenta."""
    return 1 / (1 - np.asarray(values, float)) if varied == "momentum" else np.asarray(values, float)


def _inside(optimum, varied) -> pd.DataFrame:
    """The best batch sizes that are not censored, for each value of what is varied, ascending."""
    return optimum[(optimum.varied == varied) & (optimum.censored == 0)].sort_values("value")


def exponent(optimum, resamples, varied: str, seeds: int) -> Interval:
    """The exponent b in B* ∝ x^b, x being the learning rate, the number of examples or 1/(1 − m).

    A straight line through ln B* against ln x, for all values whose B* is not censored. The interval is that of the
    bootstrap: each resample of seeds and images has its own B* at every value, and so its own exponent.
    """
    found = _inside(optimum, varied)
    if len(found) < 2:
        return NOTHING
    x = np.log(_factor(varied, found.value))
    table = resamples[resamples.varied == varied].pivot(index="resample", columns="value", values="best_batch_size")
    slope = np.polyfit(x, np.log(found.best_batch_size), 1)[0]
    return bootstrap(float(slope), np.polyfit(x, np.log(table[found.value].to_numpy().T), 1)[0], seeds)


def _base(rows, settings) -> pd.DataFrame:
    """The nets at the base values, one row per batch size and seed."""
    return rows[(rows.varied == "examples") & (rows.value == settings["base_examples"])]


def _with_noise(rows, settings) -> pd.DataFrame:
    """The nets of the base number of examples, each once, with the noise scale g = ε (N/B − 1) / (1 − m)."""
    nets = rows[rows.examples == settings["base_examples"]]
    nets = nets.drop_duplicates(["learning_rate", "momentum", "batch_size", "seed"])
    return nets.assign(noise=nets.learning_rate * (nets.examples / nets.batch_size - 1) / (1 - nets.momentum))


def mismatch(curves: np.ndarray, noises: np.ndarray) -> float:
    """How far curves lie apart at equal noise, as a ratio to how far they lie apart at equal batch size.

    Each point of each curve is compared with every other curve that reaches the point's noise: at equal noise, where the
    other one is interpolated in ln g, and at equal batch size. Both are root mean squares over the same points.

    Args:
        curves: test accuracies, NaN where there is none, shape [curves, batch sizes], the batch sizes ascending.
        noises: g of each point, shape [curves, batch sizes].

    Returns:
        The ratio; NaN where no two curves overlap.
    """
    logs, squares = np.log(noises), np.zeros(2)
    for here, there in itertools.permutations(range(len(curves)), 2):
        known = np.isfinite(curves[there])
        if not known.any():
            continue
        x, y = logs[there][known][::-1], curves[there][known][::-1]  # noise falls with the batch size
        both = np.isfinite(curves[here]) & known & (logs[here] >= x[0]) & (logs[here] <= x[-1])
        at_noise = curves[here][both] - np.interp(logs[here][both], x, y)
        at_size = curves[here][both] - curves[there][both]
        squares += (at_noise**2).sum(), (at_size**2).sum()
    return float(np.sqrt(squares[0] / squares[1])) if squares[1] else np.nan


def collapse(rows, settings) -> Interval:
    """`mismatch` of the curves of all learning rates and momenta, averaged over seeds; jackknife of its logarithm."""
    nets = _with_noise(rows, settings)
    cells = nets.groupby(["learning_rate", "momentum"], sort=True)
    if len(cells) < 2:
        return NOTHING
    tables = [part.pivot(index="seed", columns="batch_size", values="test_accuracy") for _, part in cells]
    noises = np.stack([part.drop_duplicates("batch_size").sort_values("batch_size").noise for _, part in cells])
    values = np.stack(tables, axis=1)  # seed, cell, batch size
    found = jackknife(lambda seeds: np.log(mismatch(seeds.mean(axis=0), noises)), values)
    return Interval(*np.exp(found[:3]), found.seeds, 0, "log")


def peak(rows, settings) -> tuple[Interval, Interval]:
    """How much higher the test accuracy of the best batch size is than that of the smallest and of the largest one.

    The best batch size of each seed is the one of the highest mean accuracy of the other seeds.
    """
    table = _base(rows, settings).pivot(index="seed", columns="batch_size", values="test_accuracy")
    if len(table) < 2:
        return NOTHING, NOTHING
    best = [table.loc[seed, table.drop(index=seed).mean(skipna=False).fillna(-1).idxmax()] for seed in table.index]
    return tuple(mean_interval(best - table[end]) for end in (table.columns[0], table.columns[-1]))


def ends(gap, column: str) -> tuple[pd.Series, pd.Series]:
    """A column at the end of training, for the small batch and for the full one, a value per seed."""
    last = gap.groupby(["batch_size", "seed"]).tail(1).pivot(index="seed", columns="batch_size", values=column)
    return last.iloc[:, 0], last.iloc[:, -1]


def figure(rows, settings, optimum, resamples, gap) -> Figure:
    """Test accuracy against batch size; the best batch size; test accuracy against noise; small and full batch."""
    fig, (curves, (scaling, noise, losses)) = style.figure(2, 3, 4.7)
    for axes, (varied, name) in zip(curves, QUANTITIES.items(), strict=True):
        nets = rows[rows.varied == varied]
        values = sorted(nets.value.unique())
        shades, best = style.shades(values), _inside(optimum, varied).set_index("value").best_batch_size
        for (value, colour), marker in zip(shades.items(), itertools.cycle(style.MARKERS)):
            here = nets[nets.value == value]
            label = f"{name} {value:g}" if value == values[0] else f"{value:g}"
            style.curve(axes, here, "batch_size", "test_accuracy", color=colour, label=label, **marker)
            if value in best.index:
                axes.axvline(best[value], ymax=0.7, color=colour, linewidth=0.8, linestyle=":")  # below the legend
        style.log_x(axes, "batch size")
        _limit(axes, rows)
        _legend(axes, "upper left")
    curves[0].set_ylabel(f"test {ACCURACY}")
    _draw_optima(scaling, settings, optimum)
    _draw_noise(noise, rows, settings)
    losses.set_yscale("log")
    for number_, (size, nets) in enumerate(gap.groupby("batch_size")):
        name = "full batch" if size == settings["base_examples"] else f"batch size {size}"
        for part, line in style.SETS.items():
            label = f"{name}, {'training' if part == 'train' else 'test'}"
            look = {"color": style.COLOURS[number_], "linestyle": line, "label": label}
            style.curve(losses, nets, "updates", f"{part}_loss", band=True, **look)
    losses.set(xlabel="updates", ylabel=LOSS)
    _legend(losses, "upper right", bbox_to_anchor=(1, 0.9))  # between test and training losses
    return fig


def _draw_optima(axes, settings, optimum) -> None:
    """The best batch size against what is varied, in units of its base, with the predicted line of slope 1."""
    axes.set_yscale("log")
    drawn = [np.ones(1)]
    for varied, symbol in SYMBOLS.items():
        found = _inside(optimum, varied)
        if found.empty:
            continue
        x = _factor(varied, found.value) / _factor(varied, settings[f"base_{varied}"])
        low, high = (found[end].fillna(found.best_batch_size) for end in ("low", "high"))
        bars = [found.best_batch_size - low, high - found.best_batch_size]
        look = LOOKS[varied] | {"color": COLOURS[varied]}
        axes.errorbar(x, found.best_batch_size, bars, label=symbol, elinewidth=0.8, capsize=1.5, **look)
        drawn.append(x)
    base = _inside(optimum, "examples")
    base = base[base.value == settings["base_examples"]].best_batch_size
    if len(base):
        x = np.array([np.concatenate(drawn).min(), np.concatenate(drawn).max()])
        axes.plot(x, base.iloc[0] * x, color="#888888", linewidth=0.8, linestyle="--", label="slope 1")
    style.log_x(axes, "ε, N or 1 / (1 − m), over its base")
    style.log_ticks(axes.yaxis)
    axes.set_ylabel("best batch size")
    _legend(axes, "best")


def _legend(axes, place, **options) -> None:
    """A small legend, if there is anything to explain."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc=place, fontsize=6, labelspacing=0.2, **options)


def _draw_noise(axes, rows, settings) -> None:
    """Test accuracy against the noise scale, a curve for each learning rate and momentum."""
    nets = _with_noise(rows, settings)
    cells = list(nets.groupby(["learning_rate", "momentum"]))
    for ((rate, momentum), part), look in zip(cells, style.looks(range(len(cells))).values(), strict=True):
        marker = {"marker": "o" if momentum == settings["base_momentum"] else "^"}
        style.curve(axes, part, "noise", "test_accuracy", label=f"ε {rate:g}, m {momentum:g}", **look | marker)
    style.log_x(axes, "noise scale g")
    _limit(axes, rows)
    axes.set_ylabel(f"test {ACCURACY}")
    _legend(axes, "upper left")


def _limit(axes, rows) -> None:
    """Shows the highest test accuracies, where the peaks are, in all panels alike."""
    means = rows.groupby(["varied", "value", "batch_size"]).test_accuracy.mean()
    if means.notna().any():
        axes.set_ylim(means.max() - SHOWN, means.max() + SHOWN / 6)


def claims(rows, settings, optimum, resamples, gap) -> Iterator[Claim]:
    """The peak, the three exponents, the collapse on the noise scale, and the gap between small and full batch."""
    nets = _base(rows, settings)
    yield claim(
        SMITH,
        "The test accuracy is highest at a batch size between the smallest and the largest (lesser one of the differences to both)",
        weakest(peak(rows, settings)),
        nets,
        above=0,
        effect=ACCURACY_EFFECT,
    )
    for varied, scale in SCALES.items():
        values, found = optimum[optimum.varied == varied], _inside(optimum, varied)
        left = f"; {len(values) - len(found)} of {len(values)} peaks are not between the batch sizes and left out"
        yield claim(
            SMITH,
            f"The best batch size is proportional to {scale} (exponent{left if len(found) < len(values) else ''})",
            exponent(optimum, resamples, varied, settings["seeds"]),
            rows[rows.varied == varied],
            published="1",
            within=PREDICTED,
        )
    yield claim(
        SMITH,
        "Learning rate, momentum and batch size change the test accuracy through the noise scale (distance of the curves at equal noise / at equal batch size)",
        collapse(rows, settings),
        _with_noise(rows, settings),
        below=1,
    )
    small, full = ends(gap, "test_accuracy")
    yield claim(
        SMITH,
        f"A batch of {settings['small_batch']} generalises better than the full batch after equally many updates (difference in test accuracy)",
        paired_difference(small, full),
        gap,
        above=0,
        effect=ACCURACY_EFFECT,
    )
    small, full = ends(gap, "test_loss")
    yield claim(
        OWN,
        f"A batch of {settings['small_batch']} ends at a lower test loss than the full batch (difference in nats)",
        paired_difference(small, full),
        gap,
        below=0,
    )


def comment(rows, settings, optimum, resamples, gap) -> dict:
    """Where the best batch size is, how it scales, whether noise explains it, and what the full batch loses."""
    base = f"ε = {settings['base_learning_rate']:g}, N = {settings['base_examples']:,} and m = {settings['base_momentum']:g}"
    fitted = number(settings["reach"])
    return {
        "title": "The best batch size",
        "method": f"The net {net_on_images(settings)} is trained by SGD with constant learning rate ε and momentum m on N images, drawn with replacement, for {settings['updates']:,} updates. One of the three is varied around {base}. The best batch size is the vertex of a parabola in the logarithm of the batch size, through the test accuracies within a factor of {fitted} of the highest one; accuracies more than {100 * settings['depth']:g} {'point' if settings['depth'] == 0.01 else 'points'} below that count as so much below, as accuracy breaks down at small batches. Its interval is a bootstrap over seeds and test images. The noise scale is g = ε (N/B − 1) / (1 − m).",
        "caption": f"Above: test accuracy against batch size (dotted: the best one), means over {settings['seeds']} seeds with 95 % intervals; what lies more than {100 * SHOWN:.0f} points below the highest mean, as with few images, is not shown. Below: the best batch size against learning rate, training examples and 1 / (1 − m), each in units of its base, with the predicted slope (left); test accuracy against the noise scale (middle); loss against updates of small and full batch (right).",
        "comment": [
            part
            for part in (
                _scaling(rows, settings, optimum, resamples),
                _noise(rows, settings),
                f"{_fitted(rows, optimum)} {_gap(settings, gap)}".strip(),
            )
            if part
        ],
    }


def _scaling(rows, settings, optimum, resamples) -> str:
    """Where the best batch size is and how it scales."""
    base = optimum[(optimum.varied == "examples") & (optimum.value == settings["base_examples"])].iloc[0]
    sizes = sorted(_base(rows, settings).batch_size.unique())
    if base.censored:
        text = (
            f"At the base, the test accuracy has no highest value between the batch sizes {sizes[0]} and {sizes[-1]}. "
        )
    else:
        above = weakest(peak(rows, settings))
        text = f"At the base, the test accuracy is highest at batch size {show(Interval(base.best_batch_size, base.low, base.high), 2)}"
        text += f", at least {show(above, 2)} above that of both ends of the batch sizes. " if above.seeds else ". "
    found = {name: exponent(optimum, resamples, name, settings["seeds"]) for name in SCALES}
    known = {name: interval for name, interval in found.items() if np.isfinite(interval.value)}
    if known:
        exponents = [f"{show(interval, 2)} for {SCALES[name]}" for name, interval in known.items()]
        text += f"The exponents of the best batch size, which theory has as 1, are {listed(exponents)}. If the noise of a single update decided, which goes with ε / (B (1 − m)) whatever N is, they would be 1, 0 and 1. "
        off = [SCALES[name] for name, interval in known.items() if not interval.low <= 1 <= interval.high]
        text += f"1 is not in the interval for {listed(off)}. " if off else ""
    censored = int(optimum.censored.sum())
    if censored:
        text += f"{part_of(censored, len(optimum)).capitalize()} peaks are at an end of the batch sizes or beyond, and are left out of the fits. "
    return text.rstrip()


def _noise(rows, settings) -> str:
    """Whether the curves of all learning rates and momenta are one curve of the noise scale."""
    found = collapse(rows, settings)
    if not np.isfinite(found.value):
        return ""
    said = {
        -1: "closer together at equal noise scale than at equal batch size",
        0: "not measurably closer together at equal noise scale than at equal batch size",
        1: "farther apart at equal noise scale than at equal batch size",
    }[sign(found, 1)]
    text = f"The curves of all learning rates and momenta lie {said}: the ratio of their distances is {show(found, 2)}"
    return f"{text}; it would be 0 if noise explained everything."


def _fitted(rows, optimum) -> str:
    """How many nets fit the training set, and whether those that do not have smaller batches than the best one."""
    nets = rows.merge(optimum[["varied", "value", "best_batch_size"]], on=["varied", "value"])
    nets = nets.drop_duplicates(["examples", "learning_rate", "momentum", "batch_size", "seed"])
    missed, diverged = nets[~(nets.train_accuracy == 1)], int((nets.status == "diverged").sum())
    text = f"{part_of(len(nets) - len(missed), len(nets)).capitalize()} nets classify all training images correctly."
    if diverged:
        text += f" {part_of(diverged, len(nets)).capitalize()} diverged."
    below = int((missed.batch_size < missed.best_batch_size).sum())
    if len(missed) and below:
        text += f" Of those that do not, {part_of(below, len(missed))} have a smaller batch than the best one"
        if below > 0.9 * len(missed):
            text += ": on this side of the peak the noise keeps nets from fitting the training set at all, so the peak lies close to where training breaks down"
        text += "."
    return text


def _gap(settings, gap) -> str:
    """What the full batch loses against the small one after equally many updates; empty if there are no nets of both."""
    difference = paired_difference(*ends(gap, "test_accuracy"))
    if not np.isfinite(difference.value):
        return ""
    said = {1: "better than", 0: "not measurably different from", -1: "worse than"}[sign(difference)]
    losses = [show(mean_interval(part), 2) for part in ends(gap, "test_loss")]
    trained = [number(part.mean(), 2) for part in ends(gap, "train_loss")]
    return f"After {settings['updates']:,} updates a batch of {settings['small_batch']} is {said} the full batch (difference in test accuracy {show(difference, 2)}), at training losses of {trained[0]} and {trained[1]} nats and test losses of {losses[0]} and {losses[1]} nats."
