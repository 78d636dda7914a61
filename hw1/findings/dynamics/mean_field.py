"""Figure, claims and text. Do stochastic and exact gradient descent follow one curve as a two-layer net becomes wider?

Reads the rows of `hw1.dynamics.mean_field` (width, schedule, seed, time, gap, loss_gap, fluctuation, losses) and the
table "batches", which has a rule instead of a schedule.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import BLACK, BLUE, GREEN, PURPLE, VERMILION
from hw1.findings.verdict import Claim, claim
from hw1.findings.words import number, plural, show
from hw1.statistics import NOTHING, Interval, geometric_mean, jackknife, mean_interval

MEI = "Mei et al., arXiv 1804.06561"  # theorem 3: the error is of order √(1/N) + √ε
CENTRAL_LIMIT = "Sirignano & Spiliopoulos, arXiv 1808.09372"  # the central limit theorem of their mean-field limit
ROTSKOFF = "Rotskoff & Vanden-Eijnden, arXiv 1805.00915"
SAGUN = "Sagun, slides"  # as N grows, both descents follow the same loss curve
FIXED, SHRINKING = "fixed", "1/N"
LOOKS = {
    FIXED: {"color": VERMILION, "marker": "s", "linestyle": "--"},
    SHRINKING: {"color": BLUE, "marker": "o", "linestyle": "-"},
    "N": {"color": PURPLE, "marker": "D", "linestyle": "-."},
    "N²": {"color": GREEN, "marker": "^", "linestyle": "-"},
}
NAMES = {FIXED: "ε fixed", SHRINKING: "ε = c/N"}
LARGEST = 3  # widths over which powers of the gap are fitted: the laws are of large N
POWER = 0.15  # how far a fitted power of N may lie from a predicted one between 0 and −½, fixed before any run
VARIANCE_POWER = 0.25  # the same for powers that differ by 1
SAME_CURVE = 0.02  # a difference in loss, as a share of the loss, that is none


def largest_gaps(rows, column: str = "gap") -> pd.DataFrame:
    """The largest value of a column over the recorded times; a row per seed, a column per width; NaN where diverged."""
    tops = rows.groupby(["seed", "width"])[column].agg(lambda values: values.max(skipna=False))
    return tops.unstack("width")


def at_end(rows, column: str) -> pd.DataFrame:
    """A column at the last recorded time; a row per seed, a column per width."""
    return rows[rows.time == rows.time.max()].pivot(index="seed", columns="width", values=column)


def slope(*tables: pd.DataFrame, widths: int | None = None) -> Interval:
    """The power of the width in the mean over seeds: the slope of its logarithm against log N.

    Args:
        tables: a row per seed and a column per width; of a second table, the power is subtracted.
        widths: use so many of the largest widths only.

    Returns:
        The slope with a jackknife interval over seeds; no number where there are fewer than two widths.
    """
    columns = list(tables[0].columns)[-(widths or len(tables[0].columns)) :]
    values = np.stack([table[columns].to_numpy(np.float64) for table in tables], axis=2)  # seed, width, table
    whole = np.isfinite(values).all(axis=(1, 2))
    if len(columns) < 2 or not whole.any() or (values[whole].mean(axis=0) <= 0).any():
        return NOTHING._replace(missing=int((~whole).sum()))

    def fit(some):
        powers = np.polyfit(np.log(columns), np.log(some.mean(axis=0)), 1)[0]
        return powers[0] - powers[1:].sum()

    return jackknife(fit, values[whole])._replace(missing=int((~whole).sum()))


def _of(rows, schedule) -> pd.DataFrame:
    return rows[rows.schedule == schedule]


def loss_difference(rows) -> Interval:
    """The largest difference of the two losses over the recorded times, as a share of the loss, of the widest nets."""
    widest = rows[rows.width == rows.width.max()]
    shares = widest.assign(share=widest.loss_gap / widest.descent_loss)
    return geometric_mean(largest_gaps(shares, "share").iloc[:, 0])


def figure(rows, settings, batches) -> Figure:
    """Loss curves; the largest gap and the variance at the end against N; the gap with batches that grow with N."""
    fig, ((curves, gaps), (variances, growing)) = style.figure(2, 2, 4.8)
    _curves(curves, _of(rows, SHRINKING))
    for axes in (gaps, variances, growing):
        axes.set_yscale("log")
        style.log_x(axes, "hidden units N")
    for schedule in (FIXED, SHRINKING):
        some = _of(rows, schedule)
        _against_width(gaps, largest_gaps(some), label=NAMES[schedule], **LOOKS[schedule])
        _against_width(variances, at_end(some, "fluctuation"), label=f"SGD, {NAMES[schedule]}", **LOOKS[schedule])
    exact = at_end(_of(rows, FIXED), "descent_fluctuation")
    _against_width(variances, exact, label="exact descent", color=BLACK, marker="x", linestyle=":")
    few = largest_gaps(_of(rows, FIXED))
    _against_width(growing, few, label=f"B = {settings['batch_size']}", **LOOKS[FIXED])
    for rule, some in batches.groupby("rule"):
        power = f"N/{settings['divisor']:g}"
        label = f"P = {power}" if rule == "N" else f"P = ({power})²"
        _against_width(growing, largest_gaps(some), label=label, **LOOKS[rule])
    _guide(gaps, largest_gaps(_of(rows, SHRINKING)), -0.5, "∝ 1/√N")
    _guide(variances, exact, -1, "∝ 1/N")
    gaps.set_ylabel("largest gap SGD − exact")
    variances.set_ylabel("variance of f at the end")
    growing.set_ylabel("largest gap, ε fixed")
    for axes in (gaps, variances, growing):
        axes.set_xlim(min(settings["widths"]) / 1.5, max(settings["widths"]) * 1.5)
        style.log_ticks(axes.yaxis)
        axes.legend(loc="lower left")
        axes.set_ylim(bottom=axes.get_ylim()[0] / 4)  # room for the legend
    return fig


def _against_width(axes, table, **look):
    """Means of a table's columns against the width, with 95 % intervals."""
    label = look.pop("label")
    style.curve(axes, table.melt(var_name="width", value_name="value"), "width", "value", **look)
    axes.plot([], [], label=label, **look)


def _guide(axes, table, power, label):
    """A grey line of a predicted power above the points, if there are several widths."""
    means = table.mean().dropna()
    if len(means) < 2 or (means <= 0).any():
        return
    widths = means.index.to_numpy(float)
    line = 1.8 * means.iloc[-1] * (widths / widths[-1]) ** power
    axes.plot(widths, line, color="#888888", linewidth=0.8)
    middle = len(widths) // 2
    axes.text(widths[middle], line[middle] * 1.25, label, fontsize=6.5, color="#666666")


def _curves(axes, rows):
    """Loss over the population against time, of the narrowest and the widest nets."""
    axes.set(xlabel="time t = kε", ylabel="loss ½‖y − f‖²")
    looks = {rows.width.min(): (VERMILION, "s", "--"), rows.width.max(): (BLUE, "o", "-")}
    for width, (colour, marker, line) in reversed(looks.items()):
        some = rows[rows.width == width]
        style.curve(axes, some, "time", "descent_loss", band=True, color=colour, linestyle=line)
        style.curve(axes, some, "time", "train_loss", color=colour, linestyle="", marker=marker)
        axes.plot([], [], color=colour, linestyle=line, label=f"exact, N = {width:,}")
        axes.plot([], [], color=colour, linestyle="", marker=marker, label=f"SGD, N = {width:,}")
    axes.legend()


def claims(rows, settings, batches) -> Iterator[Claim]:
    """The powers of N in the gap, in the loss curves, in the variance, and with batches that grow."""
    shrinking, fixed = _of(rows, SHRINKING), _of(rows, FIXED)
    yield claim(
        MEI,
        "With ε = c/N, the largest gap between the functions of stochastic and exact descent falls as 1/√N (power of N over the three largest N)",
        slope(largest_gaps(shrinking), widths=LARGEST),
        published="−½",
        within=(-0.5 - POWER, -0.5 + POWER),
    )
    yield claim(
        MEI,
        "With ε fixed, the gap does not vanish as N grows (power of N over the three largest N)",
        slope(largest_gaps(fixed), widths=LARGEST),
        published="0",
        within=(-POWER, POWER),
    )
    yield claim(
        SAGUN,
        f"At the largest N, both descents follow the same loss curve, to {SAME_CURVE:.0%} of the loss, if ε = c/N (largest difference as a share of the loss)",
        loss_difference(shrinking),
        below=SAME_CURVE,
    )
    yield claim(
        SAGUN,
        f"The same with ε fixed, to {SAME_CURVE:.0%} of the loss (largest difference as a share of the loss)",
        loss_difference(fixed),
        below=SAME_CURVE,
    )
    yield claim(
        CENTRAL_LIMIT,
        "The variance of f at the end, over starts and orders, is ∝ 1/N if ε = c/N (power of N)",
        slope(at_end(shrinking, "fluctuation")),
        published="−1",
        within=(-1 - VARIANCE_POWER, -1 + VARIANCE_POWER),
    )
    yield from _growing(fixed, settings, batches)


def excess(rows) -> Interval:
    """The power of N in the variance of stochastic descent at the end, less that of exact descent."""
    return slope(at_end(rows, "fluctuation"), at_end(rows, "descent_fluctuation"))


def _rule(batches, rule) -> pd.DataFrame:
    return batches[batches.rule == rule]


def _growing(fixed, settings, batches) -> Iterator[Claim]:
    """Rotskoff & Vanden-Eijnden: P ∝ N² suffices for the scaling of exact descent, less does not."""
    kept = fixed[fixed.width.isin(batches.width.unique())]
    for rule, power in (("N", 0.5), ("N²", 1)):
        some = _rule(batches, rule)
        if some.width.nunique() < 2:
            continue
        yield claim(
            ROTSKOFF,
            f"The noise is ∝ 1/√P: with batches P ∝ {rule} and ε fixed, the largest gap falls as {'1/N' if power == 1 else '1/√N'} times that with constant B (difference of the powers of N)",
            slope(largest_gaps(some), largest_gaps(kept)),
            published="−1" if power == 1 else "−½",
            within=(-power - POWER, -power + POWER),
        )
    if kept.width.nunique() < 2:
        return
    yield claim(
        ROTSKOFF,
        "With batches P ∝ N², the variance at the end scales with N as that of exact descent does (difference of the powers)",
        excess(_rule(batches, "N²")),
        published="0",
        within=(-VARIANCE_POWER, VARIANCE_POWER),
    )
    for name, some in ((f"B = {settings['batch_size']}", fixed), ("P ∝ N", _rule(batches, "N"))):
        yield claim(
            ROTSKOFF,
            f"With smaller batches, {name}, the variance falls more slowly than that of exact descent (difference of the powers)",
            excess(some),
            above=VARIANCE_POWER,
        )


def comment(rows, settings, batches) -> dict:
    """Where stochastic descent follows exact descent, and what remains of its noise in a wide net."""
    widths, rate, size = sorted(settings["widths"]), settings["learning_rate"], settings["batch_size"]
    return {
        "title": "Mean field",
        "method": f"Nets f(x) = (1/N) Σ cᵢ σ(wᵢ · x) with N = {widths[0]:,} to {widths[-1]:,} units ({settings['activation']}) learn one-hot labels by the squared error, with the step size εN. The population are {settings['train']:,} images, averaged over squares of {settings['pool']} × {settings['pool']} pixels. Stochastic descent draws B = {size} of them with replacement, exact descent takes the mean over all. Both start at the same independent standard normal parameters and are compared at equal times t = kε up to {rate * settings['steps']:g}; ε is {rate:g} for every N (fixed) or only for the smallest ({NAMES[SHRINKING]}). Each of {plural(settings['seeds'], 'seed')} has a population and two starts with an order of batches each.",
        "caption": f"Loss over the population of the narrowest and the widest nets, {NAMES[SHRINKING]} (top left); the largest root mean square difference over t of the functions of both descents (top right); variance of f at the last time over starts and orders (bottom left); the largest difference with ε fixed and batches that grow with N (bottom right). Means over seeds with 95 % intervals.",
        "comment": [part for part in (_gap(rows, settings), _loss(rows), _variance(rows, batches)) if part],
    }


def _power(interval) -> str:
    return f"N to the power {show(interval, 2)}"


def _gap(rows, settings) -> str:
    """How the gap scales with N in both schedules."""
    shrinking, fixed = (largest_gaps(_of(rows, schedule)) for schedule in (SHRINKING, FIXED))
    falls, stays, over_all = slope(shrinking, widths=LARGEST), slope(fixed, widths=LARGEST), slope(shrinking)
    if not (np.isfinite(falls.value) and np.isfinite(stays.value)):
        return "There are too few widths, or too few nets that did not diverge, for a power of N."
    level = mean_interval(fixed.iloc[:, -1])
    noise = np.sqrt(settings["learning_rate"] / settings["batch_size"])
    text = f"With ε = c/N, the largest gap between the functions of both descents scales as {_power(falls)} over the three largest N ({show(over_all, 2)} over all). With ε fixed, it scales as {_power(stays)}, and is {show(level, 3)} at the largest N, {number(level.value / noise, 2)} times √(ε/B). "
    if stays.low > -POWER and falls.high < -0.5 + POWER:
        text += "The batches are the same for all units, so a larger number of units does not average their noise: it vanishes because the steps become smaller, and only then."
    return text.rstrip()


def _loss(rows) -> str:
    """How far apart the loss curves of the widest nets are."""
    found = {schedule: loss_difference(_of(rows, schedule)) for schedule in (SHRINKING, FIXED)}
    if not all(np.isfinite(each.value) for each in found.values()):
        return ""
    low, high = (show(Interval(*(100 * np.array(each[:3])), *each[3:]), 2) for each in found.values())
    return f"At the largest N, the largest difference of the two loss curves is {low} per cent of the loss with ε = c/N, and {high} per cent with ε fixed."


def _variance(rows, batches) -> str:
    """How the variance over starts and orders scales, and which batches keep the scaling of exact descent."""
    shrinking, exact = _of(rows, SHRINKING), _of(rows, FIXED)
    powers = [slope(at_end(shrinking, "fluctuation")), slope(at_end(exact, "descent_fluctuation"))]
    if not all(np.isfinite(each.value) for each in powers):
        return ""
    text = f"The variance of f at the end scales as {_power(powers[0])} with ε = c/N; that of exact descent, which is due to the starts alone, as {_power(powers[1])}. "
    if batches.width.nunique() > 1:
        linear, quadratic = (excess(_rule(batches, rule)) for rule in ("N", "N²"))
        text += f"Noise of a constant batch size changes the latter power by {show(excess(exact), 2)}, if ε is fixed, that of batches P ∝ N by {show(linear, 2)}, and that of batches P ∝ N² by {show(quadratic, 2)}. "
        if linear.high < VARIANCE_POWER:
            text += "At these times the variance of the starts is itself ∝ 1/N, as is the noise of batches P ∝ N. So P ∝ N keeps the scaling too; P ∝ N² is needed where exact descent has converged so far that its variance falls faster than 1/N."
    return text.rstrip()
