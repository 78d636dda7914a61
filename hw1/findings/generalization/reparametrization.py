"""Figure, claims and text. Does flatness mean anything if a reparametrisation can change it at will? What changes, and what does not.

Reads the rows of `hw1.generalization.reparametrization` (transformation, seed, alpha, measure, value).
"""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import BLACK, BLUE, GREEN, LOSS, ORANGE, PURPLE, SKY
from hw1.findings.verdict import OWN, SAME_FUNCTION, Claim, check, claim
from hw1.findings.words import listed, net_on_images, number, show
from hw1.statistics import Interval, geometric_mean, mean_interval

DINH = "Dinh et al., arXiv 1703.04933"
KWON = "Kwon et al., arXiv 2102.11600"
TWO, MOST, LINE = "two-layer", "all but last", "line"  # transformations, and the line between two nets
MEASURES = {
    "spectral_norm": ("spectral norm", BLUE),
    "trace": ("trace", SKY),
    "box_sharpness": ("Keskar, box", ORANGE),
    "subspace_sharpness": ("Keskar, subspace", PURPLE),
    "adaptive_sharpness": ("scale-normalised", GREEN),
}
LOOKS = {"trace": {"linestyle": (0, (2, 2)), "marker": "s"}}  # it lies on the spectral norm
MARKERS, SHADES = "osD^v<>", (BLACK, BLUE, ORANGE, GREEN)  # of the nets: a marker each, then another colour
FAR = 10  # the factor above which a net counts as far sharper
ROUNDING = 1e-12  # relative deviations below this are rounding errors of float64
DECADES = 0.01  # of a determinant: the CSV has seven digits of numbers of some thousands
UNCHANGED = 1e-5  # likewise, of a measure relative to its value at α = 1


def figure(rows, settings) -> Figure:
    """Measures of sharpness, invariants and eigenvalues of the Hessian under rescalings that keep the function.

    The last panel is the loss on the line between two nets, in three coordinates.
    """
    fig, ((first, second, third), (fourth, fifth, sixth)) = style.figure(2, 3, 4.1)
    two, most, line = (rows[rows.transformation == name] for name in (TWO, MOST, LINE))
    _draw_measures(first, two, "layer 1 × α, layer 2 × 1/α")
    _draw_measures(second, most, "all layers but the last × α")
    _draw_deviations(third, two)
    for name, nets, dashes in (("two layers", two, "-"), ("all but last", most, "--")):
        count = nets[nets.measure == "eigenvalues_above"]
        style.curve(fourth, count, "alpha", "value", color=BLACK, linestyle=dashes, label=name)
    fourth.set(ylabel="eigenvalues above λ₁ at α = 1", title="large eigenvalues")
    fourth.legend(loc="upper right")
    _draw_determinants(fifth, two)
    for axes in (first, second, third, fourth, fifth):
        style.log_x(axes, "α")
    _draw_line(sixth, line[line.measure == "line_loss"])
    entries = {name: {"color": colour} | LOOKS.get(measure, {}) for measure, (name, colour) in MEASURES.items()}
    style.legend(fig, entries)
    return fig


def _draw_measures(axes, rows, title):
    """Each measure of sharpness against α, as a multiple of its value at α = 1."""
    axes.set_yscale("log")
    for measure, (_, colour) in MEASURES.items():
        values = rows[rows.measure == measure]
        base = values[values.alpha == 1].set_index("seed").value
        relative = values.assign(value=values.value / values.seed.map(base))
        style.curve(axes, relative, "alpha", "value", color=colour, **LOOKS.get(measure, {}))
    axes.set(ylabel="relative to α = 1", title=title)


def _draw_deviations(axes, rows):
    """The largest deviation, over seeds, of two quantities that a rescaling must leave unchanged."""
    rounding = np.finfo(float).eps
    axes.set_yscale("log")
    for measure, name, dashes in (("function_change", "f(x)", "-"), ("hessian_error", "H(Tθ) = D H D", "--")):
        largest = rows[rows.measure == measure].groupby("alpha", as_index=False).value.max()
        largest = largest[largest.value > 0]  # at α = 1 nothing is rescaled, and nothing deviates
        axes.plot(largest.alpha, largest.value, "o", linestyle=dashes, color=BLACK, label=name)
    axes.axhline(rounding, color="#888888", linewidth=0.8, linestyle=":")
    axes.text(0.97, rounding / 2.8, "float64 rounding", transform=axes.get_yaxis_transform(), fontsize=6.5, ha="right")
    axes.set(ylabel="largest relative deviation", ylim=(rounding / 8, 1e-12), title="invariants")
    axes.legend(loc="upper center")


def _draw_determinants(axes, rows):
    """The determinant of each net against α, divided by the known power of α."""
    table = _table(rows).reset_index()
    for order, (seed, net) in enumerate(table.groupby("seed")):
        net = net.dropna(subset=["log10_determinant"])
        known = net.log10_det_predicted - net[net.alpha == 1].log10_det_predicted.sum()
        look = {"marker": MARKERS[order % len(MARKERS)], "color": SHADES[order // len(MARKERS) % len(SHADES)]}
        name = f"{seed}{': singular' if net.empty else ''}"
        axes.plot(net.alpha, net.log10_determinant - known, linewidth=0.8, label=name, **look)
    axes.set(ylabel="log₁₀ |det H|, reduced H", title="determinant / known factor")
    axes.legend(
        title="net", fontsize=6, loc="center left", bbox_to_anchor=(0.98, 0.5), handlelength=1, handletextpad=0.4
    )


def _table(rows):
    """A column per measure; NaN where a measure was left out, as the determinant of a singular net."""
    table = rows.pivot(index=["transformation", "seed", "alpha"], columns="measure", values="value")
    return table.reindex(columns=table.columns.union(["log10_determinant", "log10_det_predicted", "least_growth"]))


def _draw_line(axes, line):
    """The loss between two solutions in the coordinates η = (t² + b)^a t / (1 + b)^a (Dinh et al., section 5)."""
    for (a, b), dashes in zip(((0, 0), (-0.3, 0.01), (0.6, 0.01)), ("-", "--", ":"), strict=True):
        t = line.alpha.to_numpy()
        scale = (1 + b) ** a  # of the second solution at t = 1, so that both stay at 0 and 1
        eta = (t**2 + b) ** a * t / scale if a else t
        axes.plot(
            eta,
            line.value,
            color=BLACK,
            linestyle=dashes,
            label="η = t" if a == 0 else f"a = {a:g}, b = {b:g}".replace("-", "−"),
        )
    axes.set(
        xlabel="η (minima at 0 and 1)",
        ylabel=LOSS,
        yscale="log",
        xlim=(-0.6, 1.6),
        title="line between two minima",
    )
    axes.set_ylim(top=30 * line.value.max())
    axes.legend(loc="upper center")


def claims(rows, settings) -> Iterator[Claim]:
    """What must stay does, and rescalings change the sharpness of a function at will."""
    both = _table(rows[rows.transformation != LINE])
    least = both.index.get_level_values("alpha").min()
    yield check(
        DINH,
        "A rescaling leaves the function unchanged (largest change of an output relative to the largest output)",
        _largest(both.function_change),
        within=(0, ROUNDING),
    )
    yield check(
        DINH,
        "The Hessian of the rescaled net is H(Tθ) = D H(θ) D (largest relative deviation)",
        _largest(both.hessian_error),
        within=(0, ROUNDING),
    )
    names = {
        "spectral_norm": (DINH, "The same function can be far sharper", "the spectral norm"),
        "box_sharpness": (DINH, "The same function can be far sharper", "Keskar's sharpness"),
        "subspace_sharpness": (
            OWN,
            "The same function can be far sharper in a random subspace too",
            "Keskar's sharpness",
        ),
    }
    for measure, (source, sentence, name) in names.items():
        interval = _factor(both, TWO, measure, least, settings)
        yield claim(
            source,
            f"{sentence} (factor of {name} at α = {least:g}, above {FAR:g})",
            interval,
            above=FAR,
            effect=np.nan,
            topic=SAME_FUNCTION,
        )
    yield claim(
        DINH,
        f"All layers but the last: their eigenvalues grow at will (least factor of the r − n eigenvalues that theorem 5 names, of r positive ones and n parameters of the last layer, at α = {least:g}, above {FAR:g})",
        geometric_mean(_of_all(both.least_growth.get(MOST), least, settings)),
        above=FAR,
        effect=np.nan,
    )
    yield check(
        DINH,
        "The determinant of H changes by the known power of α only, which is the same for every net (largest deviation in decades, nets with regular H)",
        _largest(_deviations(both)),
        within=(0, DECADES),
    )
    yield check(
        DINH,
        "So the order of nets by determinant is kept (share of pairs of nets with regular H)",
        _pairs_in_order(both.log10_determinant),
        within=(1, 1),
    )
    adaptive = both.adaptive_sharpness.unstack("alpha")
    yield check(
        KWON,
        "Sharpness normalised by the scale of the weights does not change (largest relative change)",
        _largest(adaptive.div(adaptive[1.0], axis=0).sub(1).abs().stack()),
        within=(0, UNCHANGED),
    )


def _largest(values) -> Interval:
    """The largest of some values over transformations, nets and α, with the number of nets that have one."""
    values = values.dropna()
    return Interval(values.max(), np.nan, np.nan, values.index.get_level_values("seed").nunique())


def _of_all(values, alpha, settings):
    """The values at one α of all seeds, NaN of those that diverged."""
    first = settings["first_seed"]
    seeds = range(first, first + settings["seeds"])
    return values.xs(alpha, level="alpha").reindex(seeds)


def _factor(both, transformation, measure, alpha, settings) -> Interval:
    """A measure of sharpness at one α as a multiple of its value at α = 1."""
    values = both.loc[transformation][measure]
    return geometric_mean(_of_all(values, alpha, settings) / _of_all(values, 1.0, settings))


def _deviations(both):
    """How far determinants are from their known change, in decades."""
    return (both.log10_determinant - both.log10_det_predicted).abs()


def _pairs_in_order(determinants) -> Interval:
    """The share of pairs of nets whose order by determinant at every α is that at α = 1."""
    kept, seeds = [], 0
    for _, of_kind in determinants.dropna().groupby("transformation"):
        values = of_kind.droplevel("transformation").unstack("alpha")
        seeds, (first, second) = len(values), np.triu_indices(len(values), 1)
        signs = np.sign(values.to_numpy()[first] - values.to_numpy()[second])
        kept.extend(
            (signs == np.sign(values[1.0].to_numpy()[first] - values[1.0].to_numpy()[second])[:, None]).all(axis=1)
        )
    return Interval(float(np.mean(kept)) if kept else np.nan, np.nan, np.nan, seeds)


def comment(rows, settings) -> dict:
    """How far rescaling changes each measure, and what it cannot change."""
    pool = settings["pool"]
    images = f"The images are averaged over squares of {pool} × {pool} pixels. " if pool > 1 else ""
    return {
        "title": "Reparametrisation (more bonus)",
        "method": f'{images}The net {net_on_images(settings, activation=settings["activation"])} is trained by Adam with a constant learning rate, in float64. It is small enough for its full Hessian $H$ to be formed, here on {settings["examples"]} training examples. A transformation $T$ multiplies the parameter $theta_i$ by $d_i$, and $D = op("diag")(1 \\/ d_i)$. The determinant leaves out, for all nets alike, the parameters that cannot change the loss of one of them (zero rows of $H$) and the output weights of the first class (a constant added to all outputs changes nothing): with them it would be 0. Keskar\'s sharpness is the largest rise of the loss in a box around the weights, over all parameters or over a random subspace of dimension {settings["manifold"]}.',
        "caption": "Rescalings that do not change the function of a ReLU net. Top: measures relative to α = 1, for two layers (left) and for all but the last (middle); for two layers, largest deviations over seeds of the outputs and of $H(T theta) = D H(theta) D$ (right). Bottom: number of eigenvalues above $lambda_1$, the largest at α = 1 (left); for two layers, determinant of each net (reduced $H$: without the parameters that are left out), divided by the known power of α (middle); loss on the line between two nets trained on the same images, in the coordinate $eta = (t^2 + b)^a t \\/ (1 + b)^a$ (right): a minimum looks sharp or flat depending on the coordinate.",
        "comment": [_growth(rows, settings), _unmoved(rows, settings)],
    }


def _at(rows, measure, alpha):
    """The values of a measure at one α, by seed."""
    return rows[(rows.measure == measure) & (rows.alpha == alpha)].set_index("seed").value


def _growth(rows, settings) -> str:
    """How far the measures of sharpness change while the function stays the same."""
    two, both = rows[rows.transformation == TWO], rows[rows.transformation != LINE]
    low, high = min(settings["alphas"]), max(settings["alphas"])

    def factor(measure, alpha):
        return show(geometric_mean(_at(two, measure, alpha) / _at(two, measure, 1.0)), 2)

    outputs, identity = (both[both.measure == name].value.max() for name in ("function_change", "hessian_error"))
    text = f"For α from {low:g} to {high:g} the outputs change by at most {number(outputs, 2)} of the largest, and $H(T theta) = D H(theta) D$ holds to {number(identity, 2)}{', both of the size of rounding errors' if max(outputs, identity) < ROUNDING else ''}. "
    text += f"At α = {low:g} the spectral norm is {factor('spectral_norm', low)} times its value at α = 1, the trace {factor('trace', low)}, Keskar's box sharpness {factor('box_sharpness', low)} and subspace sharpness {factor('subspace_sharpness', low)} times; at α = {high:g} they are {factor('spectral_norm', high)}, {factor('trace', high)}, {factor('box_sharpness', high)} and {factor('subspace_sharpness', high)} times. "
    return text


def _unmoved(rows, settings) -> str:
    """How many directions can be made sharp, how the determinant changes, and which measure does not."""
    two, most = (rows[rows.transformation == name] for name in (TWO, MOST))
    both, low = rows[rows.transformation != LINE], min(settings["alphas"])
    table = _table(both)
    base = table.xs(1.0, level="alpha").adaptive_sharpness
    adaptive = max((table.adaptive_sharpness / base - 1).abs().max(), 1e-7)
    growth = geometric_mean(_of_all(table.least_growth.get(MOST), low, settings))
    last = (settings["hidden"][-1] + 1) * settings["classes"]  # parameters of the last layer
    text = f"With all layers but the last multiplied by α = {low:g}, {show(mean_interval(_at(most, 'eigenvalues_above', low)))} eigenvalues exceed the largest one at α = 1"
    text += (
        f"; each of the $r - {last}$ that theorem 5 of Dinh et al. lets grow at will, of $r$ positive ones, is at least {show(growth, 2)} times as large. "
        if growth.seeds
        else ". "
    )
    text += f"{_determinants(table)} The order of the nets by spectral norm {_order(two, 'spectral_norm')} with α. "
    text += (
        f"The relative change of sharpness normalised by the scale of each weight is at most {number(adaptive, 1)}. "
    )
    return f"{text}On the line between two nets (bottom right) either minimum looks sharp or flat, as the coordinate is chosen."


def _determinants(table) -> str:
    """How far the determinants follow the predicted factor, apart from those of singular nets."""
    deviations = _deviations(table).groupby("seed").max()
    singular, kept = deviations[deviations.isna()].index, deviations.dropna()
    text = ""
    if len(singular):
        of = f"the net {singular[0]}" if len(singular) == 1 else f"the nets {listed(map(str, singular))}"
        text = f"Even the reduced Hessian of {of} is singular; its determinant, a product of rounding errors, is left out. "
    if kept.empty:
        return text.strip()
    # The CSV has seven digits, so a deviation below the last one is read as zero.
    largest = max(kept.max(), 1e-3)
    share = _pairs_in_order(table.log10_determinant)
    order = "does not change" if share.value == 1 else "changes"
    order = (
        f", so the order of {'the other' if len(singular) else 'these'} nets by determinant {order} with α"
        if len(kept) > 1
        else ""
    )
    return f"{text}The determinant {'of the others ' if len(singular) else ''}changes by the predicted factor to within {largest:.1g} decades, the same for every net{order}."


def _order(rows, measure) -> str:
    """Says whether the order of the nets by a measure is the same at every α."""
    values = rows[rows.measure == measure]
    orders = {tuple(nets.sort_values("value").seed) for _, nets in values.groupby("alpha")}
    return "does not change" if len(orders) == 1 else "changes"
