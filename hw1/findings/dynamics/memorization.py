"""Figure, claims and text. Can the training set always be memorised, and what happens to the loss once it has been?

Reads the rows of `hw1.dynamics.memorization` (data, loss, seed, multiple, losses, accuracies, norm, margin,
normalised_margin, largest_eigenvalue, status) and its table "duplicates" (data, part, images, duplicates, conflicts,
ceiling, and near_duplicates, near_conflicts, near_ceiling, nearest, neighbour_error, least_distance).
"""

import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import BLUE, GREEN, VERMILION
from hw1.findings.verdict import ACCURACY_EFFECT, OWN, RATIO_EFFECT, Claim, check, claim
from hw1.findings.words import listed, net_on_images, number, part_of, plural, show, sign
from hw1.statistics import Interval, geometric_mean, mean_interval, paired_difference

SAGUN = "Sagun, talk"
SOUDRY = "Soudry et al., arXiv 1710.10345"
LYU = "Lyu and Li, arXiv 1906.05890"
NAMES = {"nll": "cross-entropy", "squared": "squared error", "hinge": "hinge loss"}
LOOKS = {
    "nll": {"color": GREEN, "marker": "o"},
    "squared": {"color": BLUE, "marker": "s"},
    "hinge": {"color": VERMILION, "marker": "D"},
}
PUBLISHED = {"cifar100": 9}  # groups of identical images with different labels
PANELS = (
    ("train_loss", "training loss (own units)", "log"),
    ("norm", "norm of the weights ‖θ‖₂", "linear"),
    ("normalised_margin", "normalised margin", "log"),
    ("largest_eigenvalue", "λ₁ of the training loss", "log"),
)


def figure(rows, settings, duplicates) -> Figure:
    """Loss, norm, normalised margin and λ₁ from the time of training accuracy 1 on, means with 95 % intervals.

    On a logarithmic axis there are no means where some net has the value 0, such as the hinge loss that has ended.
    """
    fig, panels = style.figure(2, 2, 4.6)
    nets, lines = _fitted(rows), dict(zip(_sets(rows), itertools.cycle(style.LINES), strict=False))
    for axes, (column, label, scale) in zip(panels.ravel(), PANELS, strict=True):
        axes.set(ylabel=label, yscale=scale)
        if scale == "log":
            style.log_ticks(axes.yaxis)
        style.log_x(axes, "time / time of training accuracy 1")
        for data, line in lines.items():
            for loss, look in LOOKS.items():
                drawn = nets[(nets.data == data) & (nets.loss == loss)]
                if scale == "log":
                    drawn = drawn[drawn.groupby("multiple")[column].transform("min") > 0]
                style.curve(axes, drawn, "multiple", column, **look, **line)
    named = {NAMES[loss]: LOOKS[loss] for loss in settings["losses"]}
    sets = {data: {"color": style.BLACK, **line} for data, line in lines.items()}
    style.legend(fig, named | (sets if len(sets) > 1 else {}))
    return fig


def _sets(rows) -> list[str]:
    """The data sets in the order of the rows."""
    return list(rows.data.unique())


def _fitted(rows) -> pd.DataFrame:
    """The rows of the nets that came to training accuracy 1."""
    return rows[rows.status == "ok"]


def _table(rows, data, loss, column) -> pd.DataFrame:
    """A column as a table: a row for each seed and a column for each multiple; NaN where there is no value."""
    nets = rows[(rows.data == data) & (rows.loss == loss)]
    return _fitted(nets).pivot(index="seed", columns="multiple", values=column).reindex(sorted(nets.seed.unique()))


def _ends(rows, settings, data, loss, column) -> tuple[pd.Series, pd.Series]:
    """Of each seed the value at training accuracy 1 and at the last multiple of that time; NaN where there is none."""
    table = _table(rows, data, loss, column).reindex(columns=sorted(settings["multiples"]))
    return table.iloc[:, 0], table.iloc[:, -1]


def growth(rows, settings, data, loss, column) -> Interval:
    """The value at the last multiple over that at training accuracy 1, geometric mean over seeds."""
    first, last = _ends(rows, settings, data, loss, column)
    return geometric_mean(last / first)


def slope(rows, settings, data, loss) -> Interval:
    """The exponent in loss ∝ time^exponent between the last two multiples, mean over seeds."""
    multiples = sorted(settings["multiples"])
    table = _table(rows, data, loss, "train_loss").reindex(columns=multiples)
    if len(multiples) < 2:
        return mean_interval(np.full(len(table), np.nan))
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(table.iloc[:, -2:].to_numpy(float))
        return mean_interval((logs[:, 1] - logs[:, 0]) / np.log(multiples[-1] / multiples[-2]))


def ended(rows, settings, data) -> Interval:
    """The share of the nets whose hinge loss on the training set is exactly 0 at the last multiple."""
    _, last = _ends(rows, settings, data, "hinge", "train_loss")
    return mean_interval(np.where(last.isna(), np.nan, last == 0))


def claims(rows, settings, duplicates) -> Iterator[Claim]:
    """Whether every image can be learned, and what each loss, norm, margin and λ₁ do beyond training accuracy 1."""
    for row in duplicates[duplicates.part == "all"].itertuples():
        if row.data in PUBLISHED:
            known = PUBLISHED[row.data]
            yield check(
                SAGUN,
                f"{row.data} has {known} identical inputs with different labels (groups of identical images with more than one label)",
                Interval(*[float(row.conflicts)] * 3, 1),
                (known, known),
                published=str(known),
            )
        else:
            yield check(
                SAGUN,
                f"The images of {row.data} can be memorised: identical ones have one label (largest possible accuracy)",
                Interval(*[row.ceiling] * 3, 1),
                (1, 1),
            )
    for data in _sets(rows):
        for loss in settings["losses"]:
            yield from _of_loss(rows, settings, data, loss)


def _of_loss(rows, settings, data, loss) -> Iterator[Claim]:
    """The claims on one loss and data set."""
    nets = rows[(rows.data == data) & (rows.loss == loss)]
    factor, where = f"factor from then to {max(settings['multiples'])} times that time", f"{data}, {NAMES[loss]}"

    def grows(column):
        return growth(rows, settings, data, loss, column)

    if loss == "nll":
        yield claim(
            SOUDRY,
            f"Beyond training accuracy 1 the loss falls as 1/t: {where} (exponent of time between the last two measurements)",
            slope(rows, settings, data, loss),
            nets,
            published="−1",
            within=(-1.5, -0.5),
        )
        for source, what, column, side in (
            (SOUDRY, "the norm of the weights goes on growing", "norm", {"above": 1}),
            (LYU, "the normalised margin grows", "normalised_margin", {"above": 1}),
            (SOUDRY, "the test loss rises", "test_loss", {"above": 1}),
            (OWN, "λ₁ falls", "largest_eigenvalue", {"below": 1}),
        ):
            yield claim(source, f"Beyond training accuracy 1 {what}: {where} ({factor})", grows(column), nets, **side)
        first, last = _ends(rows, settings, data, loss, "test_accuracy")
        yield claim(
            SOUDRY,
            f"Beyond training accuracy 1 the test accuracy does not fall: {where} (change by {max(settings['multiples'])} times that time)",
            paired_difference(last, first),
            nets,
            above=-ACCURACY_EFFECT,
            effect=ACCURACY_EFFECT,
        )
    if loss == "squared":
        yield claim(
            OWN,
            f"Beyond training accuracy 1 λ₁ stays within a factor of {RATIO_EFFECT:g}, as the curvature of the loss in the outputs does not vanish: {where} ({factor})",
            grows("largest_eigenvalue"),
            nets,
            within=(1 / RATIO_EFFECT, RATIO_EFFECT),
        )
    if loss == "hinge":
        yield claim(
            OWN,
            f"The loss becomes exactly 0, and training ends: {where} (share of the nets at {max(settings['multiples'])} times the time of training accuracy 1)",
            ended(rows, settings, data),
            nets,
            above=0.5,
        )
    if loss != "nll" and "nll" in settings["losses"]:
        others = [_ends(rows, settings, data, name, "norm") for name in ("nll", loss)]
        yield claim(
            OWN,
            f"Beyond training accuracy 1 the norm grows more with the cross-entropy: {data}, than with the {NAMES[loss]} (ratio of the two factors)",
            geometric_mean((others[0][1] / others[0][0]) / (others[1][1] / others[1][0])),
            rows[(rows.data == data) & rows.loss.isin(["nll", loss])],
            above=1,
        )


def table(rows, settings, duplicates) -> dict:
    """Duplicates and near duplicates of every data set."""
    head = ["data set", "part", "images", "duplicates", "with two labels", "ceiling"]
    head += ["near duplicates", "with two labels", "ceiling", "1-NN error"]
    lines = [
        [
            row.data,
            row.part,
            *(f"{count:,}" for count in (row.images, row.duplicates, row.conflicts)),
            _ceiling(row.ceiling),
            *(f"{count:,}" for count in (row.near_duplicates, row.near_conflicts)),
            _ceiling(row.near_ceiling),
            f"{row.neighbour_error:.3f}",
        ]
        for row in duplicates.itertuples()
    ]
    caption = f"Identical images, and images within a root mean square difference of {settings['near']:g} per pixel of each other: those beyond the first of each group, the groups with more than one label, and the largest accuracy of a function that gives all of a group one answer. Last column: share of images whose nearest neighbour has another label."
    return {"caption": caption, "lines": [head, *lines]}


def _ceiling(share) -> str:
    """A ceiling with so many digits that it is 1 only if no image must be wrong."""
    return "1" if share == 1 else f"{min(share, 0.99999):.5f}"


def comment(rows, settings, duplicates) -> dict:
    """Whether the sets can be memorised, and what goes on once they are."""
    rates = listed(
        f"{rate:g} ({NAMES[loss]})" for loss, rate in zip(settings["losses"], settings["learning_rates"], strict=True)
    )
    return {
        "title": "Memorisation",
        "method": f"Identical images are found by a hash of their bytes, near duplicates by their distance. A net {net_on_images(settings | {'shape': None})} and no biases is trained on {settings['train']:,} images of {listed(_sets(rows))} by SGD with momentum {settings['momentum']:g}, batch size {settings['batch_size']} and a constant rate of {rates} for {settings['epochs']:,} epochs, and measured at multiples of the time at which its training accuracy first was 1.",
        "caption": f"Training loss, norm of the weights, margin divided by the power of the norm that the net is homogeneous of, and largest eigenvalue of the Hessian of the training loss, from the time of training accuracy 1 on; means over {plural(settings['seeds'], 'seed')} with 95 % intervals. There is no point where some net has the value 0, as with the hinge loss.",
        "comment": [
            _memorisable(duplicates, settings),
            *filter(None, (_beyond(rows, settings, data) for data in _sets(rows))),
        ],
    }


def _memorisable(duplicates, settings) -> str:
    """Which data sets have images that no net can learn."""
    whole, sentences = duplicates[duplicates.part == "all"], []
    clear = whole[whole.conflicts == 0]
    if len(clear):
        sentences.append(
            f"In {listed(clear.data)} no two identical images have different labels, so every label can be learned."
        )
    for row in whole[whole.conflicts > 0].itertuples():
        sentences.append(
            f"In {row.data} {plural(row.conflicts, 'group')} of identical images {'has' if row.conflicts == 1 else 'have'} more than one label: no function of the image is more than {_ceiling(row.ceiling)} accurate on all of them."
        )
    for row in whole.itertuples():
        least = (
            f"the nearest two images of different classes differ by {number(row.least_distance, 2)}"
            if np.isfinite(row.least_distance)
            else "all images are of one class"
        )
        sentences.append(
            f"In {row.data}, {plural(row.duplicates, 'image')} {'repeats' if row.duplicates == 1 else 'repeat'} another exactly and {row.near_duplicates:,} nearly (within {settings['near']:g} per pixel; ceiling {_ceiling(row.near_ceiling)}); {least}, the median image differs from its nearest neighbour by {number(row.nearest, 2)}, and {number(100 * row.neighbour_error, 2)} % of the images have a nearest neighbour of another class."
        )
    return " ".join(sentences)


def _beyond(rows, settings, data) -> str:
    """What happens beyond training accuracy 1 on one data set."""
    last, parts = max(settings["multiples"]), []
    for loss in settings["losses"]:
        nets = rows[(rows.data == data) & (rows.loss == loss)]
        seeds, fitted = nets.seed.nunique(), _fitted(nets).seed.nunique()
        if fitted < seeds:
            parts.append(f"With the {NAMES[loss]} {part_of(fitted, seeds)} nets came to training accuracy 1.")
        found = {
            column: growth(rows, settings, data, loss, column)
            for column in ("train_loss", "norm", "normalised_margin", "test_loss", "largest_eigenvalue")
        }
        if not np.isfinite(found["norm"].value):
            continue
        text = f"With the {NAMES[loss]}, from the time of training accuracy 1 to {last} times that time, "
        stopped = ended(rows, settings, data) if loss == "hinge" else None
        if stopped and stopped.value == 1:
            text += "the loss becomes exactly 0 in all nets, after which no gradient is left"
        else:
            text += f"the training loss changes by a factor of {show(found['train_loss'], 2)}"
        text += f"; the norm of the weights {_moves(found['norm'])}, the normalised margin {_moves(found['normalised_margin'])}, the test loss {_moves(found['test_loss'])}"
        if found["largest_eigenvalue"].value > 0:
            text += f" and λ₁ {_moves(found['largest_eigenvalue'])}"
        accuracy = paired_difference(*reversed(_ends(rows, settings, data, loss, "test_accuracy")))
        parts.append(f"{text}. Test accuracy changes by {show(accuracy, 2)}.")
    return f"On {data}. {' '.join(parts)}" if parts else ""


def _moves(interval) -> str:
    """How a quantity changes, as a verb with its factor."""
    verb = {1: "grows", 0: "does not measurably change", -1: "falls"}[sign(interval, 1)]
    return f"{verb} (factor {show(interval, 3)})"
