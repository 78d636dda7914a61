"""Figure, claims and text. How do Hessian, spectrum and connecting lines differ between nets trained with different loss functions?

Reads the rows of `hw1.landscape.loss_functions` (loss, seed, epoch, losses, accuracies, hessian, gauss_newton, residual,
status) and its tables "spectrum" (loss, seed, measured, quantity, rank, value) and "lines" (loss, kind, other, seed,
alpha, losses, accuracies).
"""

from collections.abc import Iterator

import numpy as np
import scipy.stats
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hw1.findings import style
from hw1.findings.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY
from hw1.findings.verdict import ACCURACY_EFFECT, OWN, Claim, claim
from hw1.findings.words import listed, number, part_of, show, sign
from hw1.statistics import Interval, mean_interval, paired_difference

SAGUN = "Sagun et al., arXiv 1611.07476 and 1706.04454"

NAMES = {"nll": "cross-entropy", "squared": "squared error", "hinge": "hinge loss"}  # loss → its name in the text
SMOOTH = ("nll", "squared")  # the losses whose Gauss–Newton part is not 0 by definition
LOOKS = {"nll": BLUE, "squared": ORANGE, "hinge": GREEN}
OTHER_LOSS, OTHER_SEED = "other loss", "other seed"  # the kinds of lines
BARRIER = ACCURACY_EFFECT  # a rise of the training error above the worse end that counts as a barrier, fixed beforehand


def figure(rows, settings, spectrum, lines) -> Figure:
    """The norms of the Hessian's parts along training, the spectra at the end, and lines between solutions.

    Points and lines are means over seeds with 95 % intervals, geometric ones on logarithmic axes.
    """
    fig, (above, below) = style.figure(2, 4, 4.4)
    losses = {name: LOOKS[name] for name in rows.loss.unique()}
    parts = {"hessian": ("‖H‖₂", BLACK), "gauss_newton": ("‖G‖₂", PURPLE), "residual": ("‖R‖₂", SKY)}
    for axes, name in zip(above[: len(losses)], losses, strict=True):
        _norms(axes, rows[rows.loss == name], parts)
        axes.set(xlabel="epoch", title=NAMES[name])
        axes.sharey(above[0])
    above[0].set_ylabel("spectral norm")
    for axes in above[len(losses) : 3]:
        axes.set_visible(False)
    _shares(above[3], rows, losses)
    for axes in above:
        axes.set_xticks(settings["epochs"], settings["epochs"])
    _end_spectra(below[:2], spectrum, losses)
    _solution_lines(below[2:], lines, losses)
    names = {f"nets of {NAMES[name]}": {"color": colour} for name, colour in losses.items()}
    style.legend(fig, {name: {"color": colour} for name, colour in parts.values()} | names)
    for axes in (*above, *below):
        if not axes.has_data():  # no net of this panel is left
            axes.text(0.5, 0.5, "all nets diverged", transform=axes.transAxes, ha="center")
    return fig


def _norms(axes, rows, parts):
    """The spectral norms of H, G and R along training, H as a broad line behind the others."""
    axes.set_xscale("symlog", linthresh=1)
    axes.set_yscale("log")
    for part, (_, colour) in parts.items():
        width = 2.6 if part == "hessian" else 1.2
        style.curve(axes, rows[rows[part] > 0], "epoch", part, color=colour, linewidth=width)


def _shares(axes, rows, losses):
    """The residual's share of the Hessian's norm along training."""
    axes.set_xscale("symlog", linthresh=1)
    rows = rows.assign(share=rows.residual / rows.hessian)
    for name, colour in losses.items():
        style.curve(axes, rows[rows.loss == name], "epoch", "share", color=colour)
    axes.set(xlabel="epoch", title="‖R‖₂ / ‖H‖₂")


def _end_spectra(panels, spectrum, losses):
    """The largest eigenvalues at the end of training, of the net's own loss and of the cross-entropy."""
    values = spectrum[(spectrum.quantity == "eigenvalue") & (spectrum.value > 0)]
    measured = {
        "H of the net’s own loss": values[values.measured == values.loss],
        "H of the cross-entropy": values[values.measured == "nll"],
    }
    for axes, (title, rows) in zip(panels, measured.items(), strict=True):
        axes.set_yscale("log")
        for name, colour in losses.items():
            style.curve(axes, rows[rows.loss == name], "rank", "value", color=colour)
        axes.set(xlabel="rank", title=title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylabel("eigenvalue at the end")


def _solution_lines(panels, lines, losses):
    """Training error along the lines to another loss's solution, which a legend names, and to another seed's."""
    some_pairs = lines[lines.kind == OTHER_LOSS][["loss", "other"]].drop_duplicates().itertuples(index=False)
    some_pairs = [(loss, other) for loss, other in some_pairs if loss in losses]
    rows = lines.assign(error=100 * (1 - lines.train_accuracy))
    ends = {OTHER_LOSS: "another loss", OTHER_SEED: "another seed"}
    for axes, (kind, end) in zip(panels, ends.items(), strict=True):
        some = rows[rows.kind == kind]
        axes.set_visible(kind == OTHER_SEED or len(losses) > 1)
        for name, colour in losses.items():
            style.curve(axes, some[some.loss == name], "alpha", "error", band=True, color=colour)
        axes.set(xlabel="α", title=f"line to {end}")
        axes.set_ylim(bottom=0, top=None if kind == OTHER_LOSS else 100)
    for name, other in some_pairs:
        panels[0].plot([], [], color=losses[name], label=f"to {NAMES[other]}")
    if some_pairs:
        panels[0].set_ylim(top=1.6 * panels[0].get_ylim()[1])
        panels[0].legend(loc="upper left", fontsize=6)
    panels[0].set_ylabel("training error (%)")


def claims(rows, settings, lines, **_) -> Iterator[Claim]:
    """What the Hessian is made of under each loss, and whether the losses' solutions differ and connect."""
    first, last = settings["epochs"][0], settings["epochs"][-1]
    for name in SMOOTH:
        if name not in settings["losses"]:
            continue
        shares = _residual_shares(rows, name, settings)
        yield claim(
            SAGUN,
            f"{_begin(name)}: at the end the Gauss–Newton part makes up the Hessian (‖R‖₂ / ‖H‖₂, below 0.5)",
            mean_interval(shares[last]),
            below=0.5,
        )
        if first == 0:  # measured before training, too
            yield claim(
                SAGUN,
                f"{_begin(name)}: the residual's share falls (difference of ‖R‖₂ / ‖H‖₂, end − start)",
                paired_difference(shares[last], shares[first]),
                below=0,
            )
    for name in settings["losses"]:
        partner = _partner(settings, name)
        if partner is None:
            continue
        other, same = (_barriers(_lines(lines, name, kind), settings) for kind in (OTHER_LOSS, OTHER_SEED))
        yield claim(
            OWN,
            f"Most lines from a solution of {NAMES[name]} to one of {NAMES[partner]} cross a barrier (share of lines on which the training error rises by more than {100 * BARRIER:g} points above the worse end, above 0.5)",
            _share_of_barriers(other),
            above=0.5,
        )
        yield claim(
            OWN,
            f"From one initialisation, the barrier from {NAMES[name]} to {NAMES[partner]} is lower than that between two seeds of {NAMES[name]} (difference of the rises of the training error)",
            paired_difference(other, same),
            below=0,
            effect=ACCURACY_EFFECT,
        )


def _begin(name) -> str:
    """A loss's name at the beginning of a sentence."""
    return NAMES[name][0].upper() + NAMES[name][1:]


def _residual_shares(rows, loss, settings):
    """‖R‖₂ / ‖H‖₂ of the nets of one loss: a row per seed, NaN if it diverged, and a column per epoch."""
    of_loss = rows[rows.loss == loss]
    nets = of_loss[of_loss.status != "diverged"]
    shares = nets.assign(share=nets.residual / nets.hessian).pivot(index="seed", columns="epoch", values="share")
    return shares.reindex(index=of_loss.seed.unique(), columns=settings["epochs"])


def _lines(lines, loss, kind):
    """The rows of one kind of line from the solutions of one loss."""
    return lines[(lines.loss == loss) & (lines.kind == kind)]


def _partner(settings, loss) -> str | None:
    """The loss to whose solutions lines lead from those of another one: the next; None if there is only one."""
    losses = settings["losses"]
    return losses[(losses.index(loss) + 1) % len(losses)] if len(losses) > 1 else None


def _barriers(lines, settings):
    """Seed → the largest training error strictly between the ends of a line − the larger of those at the ends.

    A seed of which an end diverged has NaN.
    """
    error = (1 - lines.train_accuracy).where(lines.alpha.between(0, 1, inclusive="neither"))
    ends = (1 - lines.train_accuracy).where(lines.alpha.isin([0, 1]))
    rises = error.groupby(lines.seed).max() - ends.groupby(lines.seed).max()
    first = settings["first_seed"]
    return rises.reindex(range(first, first + settings["seeds"]))


def _share_of_barriers(rises) -> Interval:
    """The share of lines that cross a barrier, with Clopper and Pearson's exact 95 % interval of a proportion.

    Rises are positive and skew: a mean over few lines hangs on the largest of them, the share does not.
    """
    found = rises.dropna()
    crossed, lines, missing = int((found > BARRIER).sum()), len(found), int(rises.isna().sum())
    if not lines:
        return Interval(np.nan, np.nan, np.nan, 0, missing)
    low, high = scipy.stats.binomtest(crossed, lines).proportion_ci(method="exact")
    return Interval(crossed / lines, low, high, lines, missing)


def comment(rows, settings, spectrum, lines) -> dict:
    """What the Hessian is made of, how the losses' solutions compare, and whether barriers lie between them."""
    rows = rows[rows.status != "diverged"]
    names = [name for name in settings["losses"] if name in set(rows.loss)]
    paragraphs = [
        _parts(rows, names, settings),
        _curvature(rows, spectrum, names, settings),
        _barrier_text(lines, names, settings),
    ]
    return {
        "title": "Loss functions",
        "method": f"Nets are trained with each loss for {settings['epochs'][-1]} epochs from the same initial weights; they are compared after equally many updates, not at equal losses. The squared error is that to the one-hot labels, the hinge loss the multi-class one. Norms and spectra are computed on {settings['examples']:,} training images. G is the Gauss–Newton part of the Hessian H, R = H − G the residual.",
        "caption": "Top: spectral norms of the Hessian H, of its Gauss–Newton part G and of the residual R = H − G along training, one panel for each loss of training, and the residual’s share of the norm. Bottom: the largest eigenvalues at the end, of each net’s own loss and of the cross-entropy; training error on the lines to a solution of another loss (named in the panel; same initial weights) and to one of another seed, on axes of their own.",
        "comment": paragraphs if names else ["All nets diverged."],
    }


def _parts(rows, names, settings) -> str:
    """Which part of the Hessian dominates at the end of training."""
    first, last = settings["epochs"][0], settings["epochs"][-1]
    texts = []
    for name in [name for name in names if name in SMOOTH]:
        shares = _residual_shares(rows, name, settings)
        end = mean_interval(shares[last])
        start = f" ({show(mean_interval(shares[first]), 2)} before training)" if first == 0 else ""
        verdicts = {
            -1: "the Gauss–Newton part makes up the Hessian",
            0: "it remains open which part dominates",
            1: "the residual is more than half of the Hessian",
        }
        texts.append(
            f"With {NAMES[name]}, ‖R‖₂ / ‖H‖₂ is {show(end, 2)} at the end{start}: {verdicts[sign(end, 0.5)]}."
        )
    if "hinge" in names:
        texts.append("The hinge loss is piecewise linear in the outputs, so its Gauss–Newton part is 0 and H = R.")
    return " ".join(texts)


def _largest(spectrum, name, measured) -> Interval:
    """The largest eigenvalue at the end of training with one loss, of the Hessian of the measured loss."""
    values = spectrum[(spectrum.loss == name) & (spectrum.measured == measured) & (spectrum["rank"] == 1)]
    return mean_interval(values.value)


def _curvature(rows, spectrum, names, settings) -> str:
    """How sharp the solutions are by both Hessians, and which of them generalise best."""
    if not names:
        return ""
    end = rows[rows.epoch == settings["epochs"][-1]]
    accuracy = {name: mean_interval(end[end.loss == name].test_accuracy) for name in names}
    own = listed(f"{show(_largest(spectrum, name, name), 2)} ({NAMES[name]})" for name in names)
    nll = {name: _largest(spectrum, name, "nll") for name in names}
    text = f"At the end the largest eigenvalue of the Hessian is {own} for the loss of training, which have different units, and {listed(f'{show(value, 2)} ({NAMES[name]})' for name, value in nll.items())} for the cross-entropy. Test accuracy is {listed(f'{show(value)} ({NAMES[name]})' for name, value in accuracy.items())}"
    train = listed(f"{end[end.loss == name].train_accuracy.mean():.3f} ({NAMES[name]})" for name in names)
    text += f", training accuracy {train}. "
    if len(names) < 2:
        return text.strip()
    flattest, best = (pick(nets, key=lambda name: nets[name].value) for pick, nets in ((min, nll), (max, accuracy)))
    if flattest == best:
        text += f"The nets trained with {NAMES[best]} are the flattest by the cross-entropy and have the highest mean test accuracy. "
    else:
        gap = paired_difference(*(end[end.loss == name].set_index("seed").test_accuracy for name in (best, flattest)))
        how = "differ in test accuracy by" if sign(gap) else "do not measurably differ in test accuracy:"
        text += f"The nets trained with {NAMES[flattest]} are the flattest by the cross-entropy, those trained with {NAMES[best]} have the highest mean test accuracy; the two {how} {show(gap, 2)}. "
    return f"{text}The eigenvalues of the cross-entropy depend on the scale of the outputs, which each loss sets differently, so how flat a solution is depends on the loss that measures it: a comparison of flatness between loss functions says little about generalisation."


def _barrier_text(lines, names, settings) -> str:
    """Whether barriers lie between the solutions of two losses and of two seeds."""
    same = {name: _barriers(_lines(lines, name, OTHER_SEED), settings) for name in names}
    same = {name: rises for name, rises in same.items() if rises.notna().any()}
    other = {name: _barriers(_lines(lines, name, OTHER_LOSS), settings) for name in names}
    other = {name: rises for name, rises in other.items() if rises.notna().any()}
    text = ""
    if same:
        text = f"Between solutions of two seeds, the training error rises above the worse end by {listed(f'{show(mean_interval(rises), 2)} ({NAMES[name]})' for name, rises in same.items())}. "
    if not other:
        return text.strip()
    pairs = {name: f"{NAMES[name]} to {NAMES[_partner(settings, name)]}" for name in other}
    texts = [_crossed(pairs[name], rises) for name, rises in other.items()]
    text += f"Between solutions of two losses from the same initial weights, it rises by more than {100 * BARRIER:g} points on {listed(texts)}. "
    shares = {pairs[name]: sign(_share_of_barriers(rises), 0.5) for name, rises in other.items()}
    undecided = [pair for pair, found in shares.items() if found == 0]
    if undecided:
        text += f"Whether most lines do so remains open from {listed(undecided)}. "
    differences = [paired_difference(rises, same[name]) for name, rises in other.items() if name in same]
    if differences and all(sign(difference) < 0 for difference in differences):
        text += "In every case the rise is smaller than between two seeds: along lines, the initial weights separate solutions more than the loss does. "
    return f"{text}A rise on the straight line does not show that no other path is free of one."


def _crossed(pair, rises) -> str:
    """How many lines of a pair cross a barrier, and the median rise."""
    found = rises.dropna()
    count = part_of(int((found > BARRIER).sum()), len(found))
    return f"{count} lines from {pair} (median rise {number(found.median(), 2)})"
