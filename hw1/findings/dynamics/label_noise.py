"""Figure, claims and text. Do large batches help when most labels are noisy?

Reads the rows of `hw1.dynamics.label_noise` (α, batch size, kind of rate, seed, the updates after which the validation
accuracy is highest, losses and accuracies there, status). All pairs have one seed.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import ACCURACY, BLUE, VERMILION
from hw1.findings.verdict import ACCURACY_EFFECT, Claim, claim
from hw1.findings.words import net_on_images, part_of, plural, show, sign
from hw1.statistics import Interval, mean_interval, over_seeds, paired_difference

ROLNICK = "Rolnick et al., arXiv 1705.10694"
KEPT, TUNED = "kept", "tuned"
RATES = {KEPT: "the rate that is best without noise", TUNED: "the rate tuned at each α"}
CHANCES = 5  # accuracy above so many times chance is far above it; fixed before any run


def accuracies(rows, kind: str, column: str = "test_accuracy") -> pd.DataFrame:
    """An accuracy of one kind of rate: a row per seed, columns by α and batch size; NaN where a net diverged."""
    return rows[rows.rate == kind].pivot(index="seed", columns=["alpha", "batch_size"], values=column)


def advantages(rows, kind: str, settings) -> pd.DataFrame:
    """Test accuracy with the large less that with the small batch: a row per seed and a column per α."""
    small, large = settings["batch_sizes"]
    table = accuracies(rows, kind)
    return pd.DataFrame({alpha: table[alpha, large] - table[alpha, small] for alpha in settings["alphas"]})


def interaction(rows, kind: str, settings, alphas) -> Interval:
    """The advantage of large batches with noise, averaged over some α, less that without noise."""
    table = advantages(rows, kind, settings)
    return paired_difference(table[list(alphas)].mean(axis=1, skipna=False), table[0])


def figure(rows, settings) -> Figure:
    """Test accuracy, advantage of the large batch, and where training stops, against α.

    Points are means over seeds with 95 % intervals, drawn side by side where they would cover each other.
    """
    fig, (first, second, third) = style.figure(1, 3, 2.7)
    small, large = settings["batch_sizes"]
    places = {alpha: place for place, alpha in enumerate(settings["alphas"])}
    rows = rows[rows.status != "diverged"]
    rows = rows.assign(place=rows.alpha.map(places), share=rows.stopped / rows.updates)
    entries = {}
    for number_, (size, colour, marker) in enumerate(((small, BLUE, "o"), (large, VERMILION, "s"))):
        for kind, line in ((TUNED, style.TRAIN), (KEPT, style.TEST)):
            face = colour if kind == TUNED else "white"
            look = {"color": colour, "marker": marker, "linestyle": line, "markerfacecolor": face}
            entries[f"batch size {size}, rate {kind}"] = look
            nets = rows[(rows.batch_size == size) & (rows.rate == kind)]
            nets = nets.assign(place=nets.place + 0.06 * (2 * number_ - 1) + 0.03 * (kind == KEPT))
            style.curve(first, nets, "place", "test_accuracy", **look)
            style.curve(third, nets, "place", "share", **look)
    for kind, line, marker, shift in ((TUNED, style.TRAIN, "D", -0.05), (KEPT, style.TEST, "v", 0.05)):
        table = advantages(rows, kind, settings) if len(rows) else pd.DataFrame()
        points = table.rename(columns=places).melt(var_name="place", value_name="gap", ignore_index=False)
        points = points.assign(place=points.place.astype(float) + shift)
        face = style.GREEN if kind == TUNED else "white"
        look = {"color": style.GREEN, "marker": marker, "linestyle": line, "markerfacecolor": face}
        style.curve(second, points, "place", "gap", label=f"rate {kind}", **look)
    second.axhline(0, color="#888888", linewidth=0.8, linestyle=":")
    if len(rows):
        second.margins(y=0.3)
        second.legend(loc="upper left")
    for axes, label in (
        (first, f"test {ACCURACY}"),
        (second, f"{ACCURACY}, large − small batch"),
        (third, "best evaluation (share of updates)"),
    ):
        axes.set(xlabel="noisy labels per true label, α", ylabel=label)
        axes.set_xticks(list(places.values()), [f"{alpha:g}" for alpha in places])
    third.set_ylim(0, 1.03)
    style.legend(fig, entries)
    return fig


def claims(rows, settings) -> Iterator[Claim]:
    """Learning with the most noise, then what noise does to the advantage of large batches, for both kinds of rate."""
    small, large = settings["batch_sizes"]
    *_, most = noisy = [alpha for alpha in settings["alphas"] if alpha]
    rows = rows.assign(net=[f"α = {alpha}" for alpha in rows.alpha])  # tells the nets of each α apart
    chance = settings["chance"]
    for size in (small, large):
        nets = rows[(rows.rate == TUNED) & (rows.alpha == most) & (rows.batch_size == size)]
        yield claim(
            ROLNICK,
            f"With {most} random labels for each true one, nets still learn: batch size {size} (test accuracy, beside {CHANCES} times chance)",
            mean_interval(nets.test_accuracy),
            nets,
            published="above 0.9 at α = 100" if most < 100 else "above 0.9",
            above=min(CHANCES * chance, (1 + chance) / 2),
        )
    for kind, rate in RATES.items():
        nets = rows[rows.rate == kind]
        for alphas, where in ((noisy, "all α"), ([most], f"α = {most}"))[: len(noisy)]:
            yield claim(
                ROLNICK,
                f"Noisy labels favour large batches, with {rate} (large − small batch in test accuracy, with noise less without; {where})",
                interaction(rows, kind, settings, alphas),
                nets,
                published="large batches are better with noise",
                above=0,
                effect=ACCURACY_EFFECT,
            )


def comment(rows, settings) -> dict:
    """Whether nets learn from noisy labels, and whether large batches help with it once the rate is tuned."""
    small, large = settings["batch_sizes"]
    clean, pool = settings["train"] - settings["validation"], settings["pool"]
    averaged = f" (averaged over squares of {pool} × {pool} pixels)" if pool > 1 else ""
    alive = rows[rows.status != "diverged"]
    parts = ["All nets diverged, so that there is nothing to compare."]
    if len(alive):
        parts = [
            _learning(rows, settings),
            *(_batches(rows, kind, settings) for kind in RATES),
            _enough(alive, settings),
        ]
    return {
        "title": "Noisy labels",
        "method": f"To {clean:,} images with true labels{averaged}, α copies of each are added whose labels are drawn uniformly from all classes. The net {net_on_images(settings)} is trained by SGD with batch size {small} ({settings['updates'][0]:,} updates) and {large} ({settings['updates'][1]:,} updates). What counts is the evaluation with the highest accuracy on {settings['validation']:,} other images with true labels, of {settings['evaluations']}. The learning rate is the best one without noise, kept for all α, or the best one for each α; both were chosen on other seeds, for each batch size.",
        "caption": f"Test accuracy (left), its difference between large and small batches (middle), and where the validation accuracy is highest (right), against the number of noisy labels per true one; means over {plural(settings['seeds'], 'seed')} with 95 % intervals.",
        "comment": [part for part in parts if part],
    }


def _learning(rows, settings) -> str:
    """Test accuracy without and with the most noise, beside the share of true labels."""
    most = max(settings["alphas"])
    found = []
    for alpha in (0, most):
        nets = rows[(rows.rate == TUNED) & (rows.alpha == alpha)]
        found.append(over_seeds(nets, "test_accuracy"))
    if not all(np.isfinite(part.value) for part in found):
        return ""
    true = (1 + most / settings["classes"]) / (1 + most) if settings.get("classes") else None
    share = f", where {100 * true:.2g} % of the labels are true" if true else ""
    return f"With the tuned rate, averaged over batch sizes, test accuracy is {show(found[0])} without noise and {show(found[1])} at α = {most}{share}. Random labels do not agree on any wrong class, so the true one is still the most frequent."


def _batches(rows, kind, settings) -> str:
    """The advantage of large batches without and with noise, and whether noise changes it."""
    table = advantages(rows, kind, settings)
    noisy = [alpha for alpha in settings["alphas"] if alpha]
    without, most = mean_interval(table[0]), mean_interval(table[noisy[-1]])
    change = interaction(rows, kind, settings, noisy)
    if not np.isfinite(change.value):
        return ""
    said = {1: "favours large batches", -1: "favours small batches", 0: "changes this measurably for neither side"}
    small_effect = change.low > -ACCURACY_EFFECT and change.high < ACCURACY_EFFECT
    size = ", a change of less than half a point" if small_effect else ""
    return f"With {RATES[kind]}, large batches differ from small ones in test accuracy by {show(without, 2)} without noise and by {show(most, 2)} at α = {noisy[-1]}. Over all α, noise {said[sign(change)]}{size} (interaction {show(change, 2)})."


def _enough(rows, settings) -> str:
    """Whether training went on past its best evaluation with the most noise, and what stopping there saves."""
    most = max(settings["alphas"])
    nets = rows[(rows.rate == TUNED) & (rows.alpha == most)]
    loss = over_seeds(nets, nets.test_accuracy - nets.last_test_accuracy)
    if not np.isfinite(loss.value):
        return ""
    late = int((nets.stopped == nets.updates).sum())
    text = f"At α = {most} the best evaluation is the last one in {part_of(late, len(nets))} nets"
    if sign(loss) > 0:
        text += (
            f"; at the very end test accuracy is {show(loss, 2)} lower than there, as nets begin to fit random labels"
        )
    return f"{text}."
