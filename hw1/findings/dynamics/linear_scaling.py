"""Figure, claims and text. Up to which batch size does a learning rate proportional to it keep the test accuracy?

Reads the rows of `hw1.dynamics.linear_scaling` (batch_size, rule, seed, losses, accuracies, status) and the table
"training" (batch_size, rule, seed, epoch, losses, accuracies).
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import BLUE, GREEN, LOSS, VERMILION
from hw1.findings.verdict import ACCURACY_EFFECT, Claim, claim
from hw1.findings.words import listed, net_on_images, number, part_of, show, sign
from hw1.statistics import Interval, mean_interval, paired_difference

GOYAL = "Goyal et al., arXiv 1706.02677"
CONSTANT, SCALED, WARM = "constant", "scaled", "warm-up"
NAMES = {CONSTANT: "a constant rate", SCALED: "a scaled rate", WARM: "a scaled rate and warm-up"}
LOOKS = {
    CONSTANT: {"color": GREEN, "marker": "s", "linestyle": ":"},
    SCALED: {"color": VERMILION, "marker": "^", "linestyle": "--"},
    WARM: {"color": BLUE, "marker": "o", "linestyle": "-"},
}
EQUAL = (-ACCURACY_EFFECT, ACCURACY_EFFECT)


def _sizes(settings) -> tuple[int, int]:
    """The base batch size, and the one at which the rules are judged."""
    base = settings["batch_sizes"][0]
    return base, round(settings["factor"] * base)


def _accuracies(rows, rule: str) -> pd.DataFrame:
    """Test accuracies of a rule, a row per seed and a column per batch size, ascending."""
    return rows[rows.rule == rule].pivot(index="seed", columns="batch_size", values="test_accuracy")


def loss_of_accuracy(rows, settings, rule: str) -> dict[int, Interval]:
    """Batch size → test accuracy less that of the base batch size, pairs of one seed, for all but the base."""
    table, (base, _) = _accuracies(rows, rule), _sizes(settings)
    return {size: paired_difference(table[size], table[base]) for size in table.columns if size != base}


def largest_equal(differences: dict[int, Interval]) -> int | None:
    """The largest batch size up to which every interval lies within half a point of 0; None if the first does not."""
    found = None
    for size, interval in sorted(differences.items()):
        if not (EQUAL[0] < interval.low and interval.high < EQUAL[1]):
            break
        found = size
    return found


def figure(rows, settings, training) -> Figure:
    """Test accuracy less that of the base and training loss, against batch size; training loss along training."""
    fig, (left, middle, right) = style.figure(1, 3, 2.7)
    base, judged = _sizes(settings)
    middle.set_yscale("log")
    right.set_yscale("log")
    table = _accuracies(rows, CONSTANT)[base]
    changed = rows.assign(change=100 * (rows.test_accuracy - rows.seed.map(table)))
    left.axhspan(100 * EQUAL[0], 100 * EQUAL[1], color="#dddddd", linewidth=0)
    for number_, (rule, look) in enumerate(LOOKS.items()):
        aside = 1.06 ** (number_ - 1)
        nets = changed[changed.rule == rule]
        nets = nets.assign(batch_size=nets.batch_size * aside)
        style.curve(left, nets[nets.batch_size > base * 1.5], "batch_size", "change", **look)
        style.curve(middle, nets, "batch_size", "train_loss", **look)
        steps = training[(training.rule == rule) & (training.batch_size == judged)]
        style.curve(right, steps, "epoch", "train_loss", band=True, **(look | {"marker": ""}))
    steps = training[(training.rule == CONSTANT) & (training.batch_size == base)]
    base_look = {"color": style.BLACK, "linestyle": "-.", "marker": ""}
    style.curve(right, steps, "epoch", "train_loss", band=True, **base_look)
    for axes in (left, middle):
        style.log_x(axes, "batch size")
    _limit(left, changed)
    left.set_ylabel("change of test accuracy (points)")
    middle.set_ylabel(f"training {LOSS}")
    right.set(xlabel="epochs", ylabel=f"training {LOSS}", title=f"batch size {judged:,}")
    style.legend(fig, LOOKS | {f"batch size {base}": base_look})
    return fig


def _limit(axes, rows) -> None:
    """Leaves means that are far below out of sight, so that half a point can be seen."""
    means = rows.groupby(["rule", "batch_size"]).change.mean()
    if means.min() < -8:
        axes.set_ylim(-8, max(1.5, means.max() + 0.5))


def claims(rows, settings, training) -> Iterator[Claim]:
    """The linear scaling rule at the source's factor with and without warm-up, against a constant rate, and its end."""
    base, judged = _sizes(settings)
    factor = f"{settings['factor']:g} times the base batch size"
    tables = {rule: _accuracies(rows, rule) for rule in NAMES}
    nets = rows[rows.batch_size.isin([base, judged])]
    kept = {rule: loss_of_accuracy(rows, settings, rule)[judged] for rule in NAMES}
    yield claim(
        GOYAL,
        f"With a learning rate proportional to the batch size and warm-up, {factor} gives the same test accuracy (difference to the base)",
        kept[WARM],
        nets[nets.rule == WARM],
        published="23.74 against 23.60 % error",
        within=EQUAL,
    )
    yield claim(
        GOYAL,
        f"Without warm-up the test accuracy is lower at {factor} (difference to warm-up)",
        paired_difference(tables[SCALED][judged], tables[WARM][judged]),
        nets[nets.rule == SCALED],
        published="24.84 against 23.74 % error",
        below=0,
        effect=ACCURACY_EFFECT,
    )
    yield claim(
        GOYAL,
        f"With a constant learning rate the test accuracy is lower at {factor} (difference to the scaled rate with warm-up)",
        paired_difference(tables[CONSTANT][judged], tables[WARM][judged]),
        nets[nets.rule == CONSTANT],
        below=0,
        effect=ACCURACY_EFFECT,
    )
    largest = rows.batch_size.max()
    if largest > judged:
        yield claim(
            GOYAL,
            f"Beyond some batch size the rule fails even with warm-up (difference of {largest / base:g} times the base to the base)",
            loss_of_accuracy(rows, settings, WARM)[largest],
            rows[(rows.rule == WARM) & (rows.batch_size == largest)],
            below=0,
            effect=ACCURACY_EFFECT,
        )


def comment(rows, settings, training) -> dict:
    """Up to which batch size each rule keeps the test accuracy, what happens at the source's factor, and why."""
    base, judged = _sizes(settings)
    milestones = listed(f"{epoch:,}" for epoch in settings["milestones"])
    epochs = "epoch" if settings["warmup"] == 1 else "epochs"
    return {
        "title": "Linear scaling",
        "method": f"The net {net_on_images(settings)} is trained by SGD with momentum {settings['momentum']:g} for {settings['epochs']:,} epochs with batch sizes from {base:,} to {max(settings['batch_sizes']):,}. The learning rate is constant ({settings['learning_rate']:g}), or proportional to the batch size, with or without a warm-up in which it rises over the first {settings['warmup']} {epochs}. It is divided by 10 after {milestones} epochs. Equal means within half a point of the test accuracy of batch size {base}, pairs of one seed.",
        "caption": f"Left: test accuracy less that of batch size {base} (grey: within half a point). Middle: training loss at the end. Right: training loss along training at batch size {judged:,}. Means over {settings['seeds']} seeds with 95 % intervals.",
        "comment": [part for part in (_kept(rows, settings), _judged(rows, settings)) if part],
    }


def _kept(rows, settings) -> str:
    """Up to which batch size each rule keeps the test accuracy of the base."""
    base, _ = _sizes(settings)
    parts = []
    for rule, name in NAMES.items():
        found = largest_equal(loss_of_accuracy(rows, settings, rule))
        parts.append(f"with {name} {f'up to {found:,}' if found else 'at none of the larger batch sizes'}")
    accuracy = mean_interval(_accuracies(rows, CONSTANT)[base])
    text = f"Batch size {base} reaches a test accuracy of {show(accuracy)}. The test accuracy stays within half a point of it {listed(parts)}."
    diverged = rows[rows.status == "diverged"]
    if len(diverged):
        trained = f"from batch size {diverged.batch_size.min():,} on"
        text += f" {part_of(len(diverged), len(rows)).capitalize()} nets diverged ({trained})."
    return text


def _judged(rows, settings) -> str:
    """The three rules at the source's factor, and the training losses that they come to."""
    base, judged = _sizes(settings)
    kept = {rule: loss_of_accuracy(rows, settings, rule)[judged] for rule in NAMES}
    known = {rule: interval for rule, interval in kept.items() if np.isfinite(interval.value)}
    if not known:
        return f"At batch size {judged:,} all nets diverged."
    changes = listed(f"{show(interval, 2)} with {NAMES[rule]}" for rule, interval in known.items())
    losses = rows[rows.batch_size == judged].groupby("rule").train_loss.mean()
    reached = listed(f"{number(losses[rule], 2)} with {NAMES[rule]}" for rule in known)
    own = number(rows[rows.batch_size == base].train_loss.mean(), 2)
    text = f"At batch size {judged:,}, {settings['factor']:g} times the base, the test accuracy differs from that of the base by {changes}. The training loss ends at {reached}, against {own} nats at the base"
    if CONSTANT in known and sign(known[CONSTANT]) < 0:
        text += ": with a constant rate the larger batch takes as small steps but fewer of them, and is undertrained"
    warm = paired_difference(_accuracies(rows, WARM)[judged], _accuracies(rows, SCALED)[judged])
    if np.isfinite(warm.value):
        helps = {1: "raises", 0: "does not measurably change", -1: "lowers"}[sign(warm)]
        text += f". Warm-up {helps} the test accuracy of the scaled rate there ({show(warm, 2)})"
    return f"{text}."
