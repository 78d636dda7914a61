"""Figure, claims and text. Shape and size of the noise of mini-batches, and what descent with noise of each shape finds.

Reads the rows of `hw1.dynamics.gradient_noise` (net, at, seed, losses, accuracies, trace, spectral_norm, status) and its
tables `noise`, `eigenvalues` and `batches`, all three of SGD's nets.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import BLUE, GREEN, ORANGE, PURPLE, VERMILION
from hw1.findings.verdict import ACCURACY_EFFECT, OWN, RATIO_EFFECT, Claim, check, claim
from hw1.findings.words import listed, net_on_images, number, part_of, show, sign, span
from hw1.statistics import Interval, first_rows, geometric_mean, last_rows, mean_interval, paired_difference

SMITH = "Smith & Le, arXiv 1710.06451"
ZHU = "Zhu et al., arXiv 1803.00195"
WU = "Wu et al., arXiv 1906.07405"
SGD, FULL, ISOTROPIC, SHAPED = "SGD", "full batch", "isotropic noise", "noise of covariance C"
NAMES = {  # of the ways of training, inside a sentence
    SGD: "SGD",
    FULL: "the full batch",
    ISOTROPIC: "the full batch with isotropic noise of equal trace",
    SHAPED: "the full batch with Gaussian noise of covariance C",
}
PAIRS = ((ZHU, SGD, FULL), (ZHU, SGD, ISOTROPIC), (WU, SHAPED, SGD))  # the first is flatter and better; the last equal
EQUAL_LOSS, EQUAL_UPDATES = "equal loss", "equal updates"
WITH, WITHOUT = "with", "without"  # replacement
FAR = 0.1  # noise with less than this share of the participation ratio of isotropic noise is far from isotropic
LAW = 0.05  # by how much a measured exponent or ratio may differ from 1
GREY = "#888888"


def isotropic_ratio(parameters: float, examples: int) -> float:
    """The participation ratio of the covariance of so many examples whose gradients are isotropic and Gaussian.

    With E (tr C²) = σ⁴ p (1 + (p + 1)/n) it is p / (1 + (p + 1)/n): below p, because C has rank n − 1 at most.
    """
    return parameters / (1 + (parameters + 1) / examples)


def isotropic_edge(parameters: float, examples: int) -> float:
    """The largest eigenvalue of such a covariance over the mean one, (1 + √(p/n))² (Marchenko and Pastur 1967)."""
    return (1 + np.sqrt(parameters / examples)) ** 2


def _shape(noise, settings) -> pd.DataFrame:
    """The table "noise" with its quantities in units of what isotropic noise or a random subspace would give.

    A column "place" puts the start, at 0 steps, on a logarithmic axis.
    """
    random, later = settings["directions"] / noise.parameters, noise.updates[noise.updates > 0]
    return noise.sort_values(["seed", "updates"]).assign(
        random=random,
        participation=noise.participation_ratio / isotropic_ratio(noise.parameters, settings["train"]),
        share_to_random=noise["share"] / random,
        overlap_to_random=noise.overlap / random,
        to_gradient=noise.trace / noise.squared_gradient,
        place=noise.updates.where(noise.updates > 0, later.min() / 5 if len(later) else 1),
    )


def _extreme(shape, column, which) -> Interval:
    """The geometric mean over seeds of the largest or least value along each training."""
    return geometric_mean(shape.groupby("seed")[column].agg(which))


def _with_factor(batches, replacement, **fixed) -> pd.DataFrame:
    """Some of the batches, with the factor 1/B, without replacement 1/B − 1/n, in a column."""
    found = batches[batches.replacement == replacement]
    for column, value in fixed.items():
        found = found[found[column] == value]
    return found.assign(factor=1 / found.batch_size - (0 if replacement == WITH else 1 / found.examples))


def by_batch_size(batches, replacement, settings) -> pd.DataFrame:
    """The batches drawn from the whole training set."""
    return _with_factor(batches, replacement, examples=settings["train"])


def by_examples(batches, settings) -> pd.DataFrame:
    """The batches of one size drawn without replacement from different numbers of examples."""
    return _with_factor(batches, WITHOUT, batch_size=settings["fixed_batch"])


def exponent(rows) -> Interval:
    """The exponent in measured noise ∝ factor^exponent: one fit for each seed, mean over seeds."""
    if rows.factor.nunique() < 2:
        return mean_interval([])
    fits = [np.polyfit(np.log(part.factor), np.log(part.drawn), 1)[0] for _, part in rows.groupby("seed")]
    return mean_interval(fits)


def measured_to_predicted(batches) -> Interval:
    """The measured noise of drawn batches over its prediction; geometric mean over all sizes, then over seeds."""
    return geometric_mean(np.exp(np.log(batches.drawn / batches.predicted).groupby(batches.seed).mean()))


def _table(rows, at, column) -> pd.DataFrame:
    """A row per seed and a column per way of training; NaN where a net diverged or is not at the equal loss."""
    part = rows[rows["at"] == at]
    values = part.assign(value=part[column].where(part.status == "ok"))
    return values.pivot(index="seed", columns="net", values="value").reindex(columns=list(NAMES))


def ratio(rows, at, column, first, second) -> Interval:
    """The geometric mean of a quantity of one way of training over that of another, pairs of one seed."""
    table = _table(rows, at, column)
    return geometric_mean(table[first] / table[second])


def gain(rows, at, first, second) -> Interval:
    """Test accuracy of one way of training less that of another, pairs of one seed."""
    table = _table(rows, at, "test_accuracy")
    return paired_difference(table[first], table[second])


def figure(rows, settings, noise, eigenvalues, batches) -> Figure:
    """Above: shape of the noise along SGD's training. Below: its size, and where four ways of training end."""
    fig, (above, below) = style.figure(2, 3, 5.2)
    shape, k = _shape(noise, settings), settings["directions"]
    sizes = {
        "trace": ("tr C", {"color": BLUE, "marker": "o"}),
        "squared_gradient": ("‖mean gradient‖²", {"color": ORANGE, "marker": "s", "linestyle": "--"}),
        "train_loss": ("training loss (nats)", {"color": GREY, "marker": "", "linestyle": ":"}),
    }
    shares = {
        "own_share": (f"tr C in the top {k} of C", {"color": GREEN, "marker": "^", "linestyle": ":"}),
        "share": (f"tr C in the top {k} of H", {"color": BLUE, "marker": "o"}),
        "overlap": ("overlap of C and H", {"color": PURPLE, "marker": "D", "linestyle": "-."}),
        "random": ("random space", {"color": GREY, "marker": "", "linestyle": "--"}),
    }
    ticks = shape.drop_duplicates("updates")
    for axes, curves, label in ((above[0], sizes, "squared gradient, loss"), (above[1], shares, "share, overlap")):
        axes.set(xscale="log", yscale="log", xlabel="optimizer steps of SGD", ylabel=label)
        for column, (name, look) in curves.items():
            style.curve(axes, shape, "place", column, label=name, **look)
        axes.set_xticks(ticks.place, [f"{step:,}" for step in ticks.updates])
        axes.minorticks_off()
        _legend(axes)
    _spectrum(above[2], eigenvalues, shape, settings)
    _sizes(below[0], batches, settings)
    curvature = {(EQUAL_LOSS, "trace"): "trace", (EQUAL_LOSS, "spectral_norm"): "λ₁"}
    accuracy = {(at, "test_accuracy"): at for at in (EQUAL_LOSS, EQUAL_UPDATES)}
    below[1].set_xscale("log")
    _nets(below[1], rows, curvature, "curvature of the loss at equal loss")
    _nets(below[2], rows, accuracy, "test accuracy − that of SGD")
    below[2].axvline(0, color=GREY, linewidth=0.8, linestyle="--")
    below[2].set_yticklabels([])
    below[2].locator_params(axis="x", nbins=4)
    style.log_ticks(below[1].xaxis)
    return fig


def _legend(axes):
    """A legend above the panel, which covers no data; none where nothing is drawn."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), fontsize=6, borderaxespad=0.2)


def _spectrum(axes, eigenvalues, shape, settings):
    """The top eigenvalues of C at the first and the last checkpoint, in units of the mean eigenvalue."""
    axes.set(yscale="log", xlabel="number of the eigenvalue", ylabel="eigenvalue of C / mean eigenvalue")
    both = eigenvalues.merge(shape[["seed", "updates", "trace", "parameters"]], on=["seed", "updates"])
    both = both.assign(relative=both.noise * both.parameters / both.trace)
    looks = {"color": ORANGE, "marker": "s", "linestyle": "--"}, {"color": BLUE, "marker": "o"}
    steps = sorted(both.updates.unique())
    for step, look in zip(dict.fromkeys(steps[:1] + steps[-1:]), looks, strict=False):
        style.curve(axes, both[both.updates == step], "number", "relative", label=f"after {step:,} steps", **look)
    for parameters in shape.parameters[:1]:
        edge = isotropic_edge(parameters, settings["train"])
        axes.axhline(edge, color=GREY, linewidth=1, linestyle="--", label="largest, isotropic gradients")
    axes.set_xticks(sorted({1, *range(5, settings["directions"] + 1, 5)}))
    _legend(axes)


def _sizes(axes, batches, settings):
    """The measured noise of drawn batches against the predicted factor, beside the prediction."""
    axes.set(xscale="log", yscale="log", xlabel="1/B, or 1/B − 1/n", ylabel="measured noise of batches / tr C")
    whole = batches[batches.examples == settings["train"]].groupby("seed").trace.first()
    cases = {
        "with replacement": (by_batch_size(batches, WITH, settings), "o", BLUE),
        "without replacement": (by_batch_size(batches, WITHOUT, settings), "s", VERMILION),
        f"without, B = {settings['fixed_batch']}, first n images": (by_examples(batches, settings), "^", GREEN),
    }
    for name, (found, marker, colour) in cases.items():
        scaled = found.assign(scaled=found.drawn / found.seed.map(whole))
        look = {"marker": marker, "color": colour, "linestyle": "", "markerfacecolor": "none"}
        style.curve(axes, scaled, "factor", "scaled", label=name, **look)
    ends = pd.concat([found.factor for found, *_ in cases.values()]).agg(["min", "max"])
    axes.plot(ends, ends, color=GREY, linewidth=0.8, linestyle="--", label="predicted")
    _legend(axes)


def _nets(axes, rows, quantities, label):
    """Means with intervals of two quantities of each way of training, one line for each way.

    On a linear axis they are differences to SGD, pairs of one seed: what a split does to all four is not in them.
    """
    mean = geometric_mean if axes.get_xscale() == "log" else mean_interval
    for (at, column), offset, marker, colour in zip(quantities, (-0.12, 0.12), "os", (BLUE, VERMILION), strict=True):
        table = _table(rows, at, column)
        table = table.sub(table[SGD], axis=0) if mean is mean_interval else table
        for place, values in enumerate(table.to_numpy().T):
            name = quantities[at, column] if place == 0 else None
            style.across(axes, mean(values), place + offset, marker=marker, color=colour, label=name)
    axes.set(xlabel=label, ylim=(len(NAMES) - 0.5, -0.5))
    axes.set_yticks(range(len(NAMES)), [SGD, FULL, "isotropic\nnoise", "noise of\ncovariance C"])
    _legend(axes)


def claims(rows, settings, noise, eigenvalues, batches) -> Iterator[Claim]:
    """Shape of the noise, its size, then the four ways of training in pairs of one seed."""
    shape, k = _shape(noise, settings), settings["directions"]
    yield claim(
        ZHU,
        "The noise of mini-batches is far from isotropic (participation ratio of C over that of isotropic gradients, the largest along each training)",
        _extreme(shape, "participation", "max"),
        below=FAR,
    )
    for sentence, column in (
        (f"The noise lies in the top {k} eigenvectors of the Hessian (share of tr C", "share_to_random"),
        (f"The top {k} eigenvectors of C are those of the Hessian (overlap of the two spaces", "overlap_to_random"),
    ):
        sentence += " over that of a random space, the least along each training)"
        yield claim(ZHU, sentence, _extreme(shape, column, "min"), above=1)
    yield claim(
        OWN,
        f"At the end of training the top {k} eigenvectors of the Hessian hold more than half of the noise (share of tr C)",
        mean_interval(last_rows(shape)["share"]),
        above=0.5,
    )
    for replacement, law in ((WITH, "1/B"), (WITHOUT, "1/B − 1/N")):
        sentence = f"The noise of batches drawn {replacement} replacement is proportional to {law} (exponent)"
        found = exponent(by_batch_size(batches, replacement, settings))
        yield check(SMITH, sentence, found, (1 - LAW, 1 + LAW), published="1")
    sentence = "The trace of C predicts the noise of batches of all sizes (measured on drawn batches over predicted)"
    yield check(SMITH, sentence, measured_to_predicted(batches), (1 - LAW, 1 + LAW), published="1")
    sentence = "With n examples the noise of batches of one size is proportional to 1/B − 1/n (exponent)"
    yield claim(SMITH, sentence, exponent(by_examples(batches, settings)), published="1", within=(0.8, 1.2))
    for source, first, second in PAIRS:
        equal = first == SHAPED
        yield claim(
            source,
            f"{NAMES[first][0].upper() + NAMES[first][1:]} ends {'as flat as' if equal else 'flatter than'} {NAMES[second]} (ratio of the traces of the Hessian at equal training loss)",
            ratio(rows, EQUAL_LOSS, "trace", first, second),
            rows[(rows["at"] == EQUAL_LOSS) & rows.net.isin([first, second])],
            **({"within": (1 / RATIO_EFFECT, RATIO_EFFECT)} if equal else {"below": 1}),
        )
    for source, first, second in PAIRS:
        equal = first == SHAPED
        yield claim(
            source,
            f"{NAMES[first][0].upper() + NAMES[first][1:]} generalises {'as well as' if equal else 'better than'} {NAMES[second]} (difference in test accuracy after equal numbers of updates)",
            gain(rows, EQUAL_UPDATES, first, second),
            rows[(rows["at"] == EQUAL_UPDATES) & rows.net.isin([first, second])],
            **({"within": (-ACCURACY_EFFECT, ACCURACY_EFFECT)} if equal else {"above": 0, "effect": ACCURACY_EFFECT}),
        )


def comment(rows, settings, noise, eigenvalues, batches) -> dict:
    """What the noise looks like, how large it is, and what its shape is good for."""
    k, pool, shape = settings["directions"], settings["pool"], _shape(noise, settings)
    parts = ["All nets of SGD diverged, so that there is no noise to measure."]
    if len(shape):
        parts = [_of_shape(shape, settings), _of_size(batches, settings)]
    parts += [_of_flatness(rows), _of_accuracy(rows)]
    nets = rows[rows["at"] == EQUAL_LOSS]
    late, missed = nets[nets.status != "ok"].net, ""
    if len(late):
        missed = f"; {part_of(len(late), len(nets))} nets did not come there ({listed(late.unique())})"
    pooled = f", averaged over squares of {pool} × {pool} pixels" if pool > 1 else ""
    return {
        "title": "The noise of mini-batches",
        "method": f"The net {net_on_images(settings)} is trained on {settings['train']:,} images{pooled}, from the same start in four ways, all with learning rate {settings['learning_rate']:g} and {settings['updates']:,} updates: SGD with batches of B = {settings['batch_size']} drawn with replacement; descent with the full batch; and descent with the full batch and Gaussian noise, either of the covariance C/B that mini-batches have at that point, or isotropic with the same trace. C is the covariance of the gradients of single examples. Flatness is compared where the training loss first is at or below {settings['target_loss']:g} nats, because the curvature of the cross-entropy falls with the loss{missed}.",
        "caption": f"Above, along SGD's training: the trace of C beside the squared mean gradient and the loss; the share of tr C in the space of the top {k} eigenvectors of C and of the Hessian H, and the overlap of the two spaces; the top eigenvalues of C. Below: the noise of drawn mini-batches against its prediction; trace and largest eigenvalue λ₁ of the Hessian at equal training loss; test accuracy less that of SGD with the same seed. Means over {settings['seeds']} seeds with 95 % intervals.",
        "comment": [part for part in parts if part],
    }


def _of_shape(shape, settings) -> str:
    """Whether the noise is isotropic, where it lies, and how large it is beside the mean gradient."""
    first, last, k, size = first_rows(shape), last_rows(shape), settings["directions"], int(shape.parameters.iloc[0])
    ratios, to_gradient = (
        [show(geometric_mean(part[column]), 2) for part in (first, last)]
        for column in ("participation_ratio", "to_gradient")
    )
    shares = [show(mean_interval(part["share"]), 2) for part in (first, last)]
    far = {1: "is not far from isotropic", -1: "is far from isotropic", 0: "may or may not be far from isotropic"}
    follows = {1: "follows the curvature", -1: "avoids the curvature", 0: "does not measurably follow the curvature"}
    least, overlap = (_extreme(shape, column, "min") for column in ("share_to_random", "overlap_to_random"))
    text = f"The noise {far[sign(_extreme(shape, 'participation', 'max'), FAR)]}. Its participation ratio, the number of directions over which it is spread, is {ratios[0]} at the start of training and {ratios[1]} at the end, of {size:,} parameters; isotropic gradients of {settings['train']:,} examples would give {number(isotropic_ratio(size, settings['train']), 2)}. "
    text += f"It {follows[sign(least, 1)]}: the top {k} eigenvectors of the Hessian hold {shares[0]} of its trace at the start and {shares[1]} at the end, where a random space would hold {number(k / size, 2)}, and the best one of this dimension holds {show(mean_interval(last.own_share), 2)}. The overlap of the top {k} eigenvectors of C and of the Hessian is {show(mean_interval(last.overlap), 2)} at the end, and along the whole training at least {show(overlap, 2)} times that of random spaces. "
    return f"{text}The trace of C is {to_gradient[0]} times the squared norm of the mean gradient at the start of training and {to_gradient[1]} times at the end."


def _of_size(batches, settings) -> str:
    """The exponents of the noise of drawn batches."""
    found = [show(exponent(by_batch_size(batches, replacement, settings))) for replacement in (WITH, WITHOUT)]
    examples = exponent(by_examples(batches, settings))
    fits = {0: "as predicted", 1: "faster than predicted", -1: "more slowly than predicted"}[sign(examples, 1)]
    text = f"Measured on {settings['draws']} drawn batches of each size, after {int(batches.updates.iloc[0]):,} steps of SGD, the noise is proportional to 1/B to the power {found[0]} with replacement, and to 1/B − 1/N to the power {found[1]} without; it is {show(measured_to_predicted(batches))} times the predicted one. These laws are identities of sampling, which hold for every net: a deviation would be an error of the measurement. "
    return f"{text}The noise of batches of {settings['fixed_batch']} that are drawn from the first n images grows with n as 1/B − 1/n to the power {show(examples, 2)}, {fits}. This is no identity: it needs a covariance C that does not depend on n."


def _of_flatness(rows) -> str:
    """Trace and largest eigenvalue of the Hessian at equal loss, relative to SGD."""
    columns, others = ("trace", "spectral_norm"), (FULL, ISOTROPIC, SHAPED)
    found = {name: [ratio(rows, EQUAL_LOSS, column, name, SGD) for column in columns] for name in others}
    found = {name: pair for name, pair in found.items() if np.isfinite(pair[0].value)}
    if not found:
        return "SGD and another way of training did not both come to the equal loss: flatness cannot be compared."
    signs = {name: sign(trace, 1) for name, (trace, _) in found.items()}
    said = {1: "sharper than SGD", -1: "flatter than SGD", 0: "not measurably different from SGD"}
    parts = [f"{show(a, 2)} and {show(b, 2)} for {NAMES[name]} ({said[signs[name]]})" for name, (a, b) in found.items()]
    losses = rows[(rows["at"] == EQUAL_LOSS) & (rows.status == "ok")].train_loss
    text = f"At equal training loss (all nets: {span(losses)} nats), trace and largest eigenvalue of the Hessian in units of those of SGD are {listed(parts)}. "
    if len(signs) == 3 and signs[FULL] > 0:
        if signs[ISOTROPIC] > 0 and signs[SHAPED] <= 0:
            text += "So it is the shape of the noise and not its strength alone that leads to flatter minima."
        elif signs[ISOTROPIC] <= 0:
            text += "So noise of this strength leads to flatter minima whatever its shape."
    elif FULL in signs and signs[FULL] <= 0:
        text += "So the noise of mini-batches leads to no flatter minima than exact descent here."
    return text.rstrip()


def _of_accuracy(rows) -> str:
    """Test accuracies after equal updates, and the differences to SGD."""
    tables = [_table(rows, EQUAL_UPDATES, column) for column in ("test_accuracy", "train_loss")]
    kept = [name for name in NAMES if tables[0][name].notna().any()]
    if not kept:
        return "All nets diverged: accuracies cannot be compared."
    means = [show(mean_interval(tables[0][name])) for name in kept]
    losses = [number(geometric_mean(tables[1][name]).value, 2) for name in kept]
    parts = [
        f"{mean} for {NAMES[name]} (training loss {loss})" for mean, loss, name in zip(means, losses, kept, strict=True)
    ]
    text = f"After equal numbers of updates, test accuracy is {listed(parts)}."
    said = {1: "better", -1: "worse", 0: "not measurably different"}
    gains = {name: gain(rows, EQUAL_UPDATES, name, SGD) for name in kept if name != SGD and SGD in kept}
    parts = [f"{show(found, 2)} for {NAMES[name]} ({said[sign(found)]})" for name, found in gains.items()]
    return f"{text} The difference to SGD is {listed(parts)}." if parts else text
