"""Figure, claims and text. Does flatness mean anything if a reparametrisation can change it at will? What changes, and what does not.

Reads the rows of `hw1.generalization.reparametrization` (transformation, seed, alpha, measure, value).
"""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from hw1.findings import style
from hw1.findings.style import BLACK, BLUE, GREEN, LOSS, ORANGE, PURPLE, SKY
from hw1.findings.verdict import Claim, claim
from hw1.findings.words import net_on_images, number, show
from hw1.statistics import geometric_mean, mean_interval

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
MARKERS = "osD^v<>"  # of the nets
ROUNDING = 1e-12  # relative deviations below this are rounding errors of float64
ROUNDED = 0.1  # decades of deviation beyond which rounding decides a determinant


def figure(rows, settings) -> Figure:
    """Measures of sharpness, invariants and eigenvalues of the Hessian under rescalings that keep the function.

    The last panel is the loss on the line between two nets, in three coordinates.
    """
    fig, ((first, second, third), (fourth, fifth, sixth)) = style.figure(2, 3, 4.6)
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
    _draw_line(sixth, line[line.measure == "line_loss"], _ends(line, two))
    style.legend(fig, {name: {"color": colour} for name, colour in MEASURES.values()})
    return fig


def _draw_measures(axes, rows, title):
    """Each measure of sharpness against α, as a multiple of its value at α = 1."""
    axes.set_yscale("log")
    for measure, (_, colour) in MEASURES.items():
        values = rows[rows.measure == measure]
        base = values[values.alpha == 1].set_index("seed").value
        relative = values.assign(value=values.value / values.seed.map(base))
        style.curve(axes, relative, "alpha", "value", color=colour)
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
    table = rows.pivot(index=["seed", "alpha"], columns="measure", values="value").reset_index()
    for order, (seed, net) in enumerate(table.groupby("seed")):
        known = net.log10_det_predicted - net[net.alpha == 1].log10_det_predicted.item()
        marker = MARKERS[order % len(MARKERS)]
        axes.plot(
            net.alpha, net.log10_determinant - known, f"{marker}-", color=BLACK, linewidth=0.8, label=f"net {seed}"
        )
    axes.set(ylabel="log₁₀ |det H|", title="determinant / known factor")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), handlelength=1)


def _ends(line, two) -> tuple[int, int]:
    """The seeds of the two nets on whose line the loss is drawn."""
    return line.seed.min(), two.seed.max()


def _draw_line(axes, line, ends):
    """The loss between two solutions in the coordinates η = (t² + b)^a t about the first (Dinh et al., section 5)."""
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
        xlabel="η (nets at 0 and 1)",
        ylabel=LOSS,
        yscale="log",
        xlim=(-0.6, 1.6),
        title=f"line from net {ends[0]} to {ends[1]}",
    )
    axes.set_ylim(top=30 * line.value.max())
    axes.legend(loc="upper center")


def claims(rows, settings) -> Iterator[Claim]:
    """Rescalings change the sharpness of a function at will, but not its scale-normalised sharpness."""
    two = rows[rows.transformation == TWO].set_index(["measure", "alpha", "seed"]).value.sort_index()
    least = two.index.get_level_values("alpha").min()
    names = {"spectral_norm": "the spectral norm", "box_sharpness": "Keskar's sharpness"}
    for measure, name in names.items():
        yield claim(
            DINH,
            f"A net with the same function can be far sharper (factor of {name} at α = {least:g})",
            geometric_mean(two[measure, least] / two[measure, 1.0]),
            above=10,
        )
    scaled = two["adaptive_sharpness"].unstack("alpha")
    yield claim(
        KWON,
        "Sharpness normalised by the scale of the weights does not change (largest relative change)",
        mean_interval(scaled.div(scaled[1.0], axis=0).sub(1).abs().max(axis=1)),
        below=1e-4,
    )


def comment(rows, settings) -> dict:
    """How far rescaling changes each measure, and what it cannot change."""
    pool = settings["pool"]
    images = f"The images are averaged over squares of {pool} × {pool} pixels. " if pool > 1 else ""
    return {
        "title": "Reparametrisation (more bonus)",
        "method": f'{images}The net {net_on_images(settings, activation=settings["activation"])} is trained by Adam with a constant step size, in float64. It is small enough for its full Hessian $H$ to be formed, here on {settings["examples"]} training examples. A transformation $T$ multiplies the parameter $theta_i$ by $d_i$, and $D = op("diag")(1 \\/ d_i)$. Keskar\'s sharpness is the largest rise of the loss in a box around the weights, over all parameters or over a random subspace of dimension {settings["manifold"]}.',
        "caption": "Rescalings that do not change the function of a ReLU net. Top: measures relative to α = 1, for two layers (left) and for all but the last (middle); deviations of the outputs and of $H(T theta) = D H(theta) D$ (right). Bottom: number of eigenvalues above $lambda_1$, the largest at α = 1 (left); determinant of each net, divided by the known power of α (middle); loss on the line between two nets, in the coordinate $eta = (t^2 + b)^a t$ (right).",
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
    table = both.pivot(index=["transformation", "seed", "alpha"], columns="measure", values="value")
    base = table.xs(1.0, level="alpha").adaptive_sharpness
    adaptive = max((table.adaptive_sharpness / base - 1).abs().max(), 1e-7)
    text = f"With all layers but the last multiplied by α = {low:g}, {show(mean_interval(_at(most, 'eigenvalues_above', low)))} eigenvalues exceed the largest one at α = 1. "
    text += (
        f"{_determinants(table, two)} The order of the nets by spectral norm {_order(two, 'spectral_norm')} with α. "
    )
    text += (
        f"The relative change of sharpness normalised by the scale of each weight is at most {number(adaptive, 1)}. "
    )
    first, last = _ends(rows[rows.transformation == LINE], two)
    return f"{text}The line (bottom right) is that between the nets of the seeds {first} and {last}, drawn in three coordinates."


def _determinants(table, two) -> str:
    """How far the determinants follow the predicted factor, apart from those that rounding decides."""
    deviations = (table.log10_determinant - table.log10_det_predicted).abs().groupby("seed").max()
    lost = deviations[deviations > ROUNDED]
    kept, text = deviations.drop(lost.index), ""
    if len(lost):
        text = f"For {len(lost)} of the {len(deviations)} nets the computed determinant deviates by up to {number(lost.max(), 2)} decades from the predicted factor. This is rounding, since the factor is exact. "
    if kept.empty:
        return text.strip()
    # The CSV has seven digits, so a deviation below the last one is read as zero.
    largest, others = (
        max(kept.max(), 1e-3),
        "The determinants of the others change" if len(lost) else "The determinant changes",
    )
    order = _order(two[two.seed.isin(kept.index)], "log10_determinant")
    return f"{text}{others} by the predicted factor to within {largest:.1g} decades, the same for every net, so the order of these nets by determinant {order} with α."


def _order(rows, measure) -> str:
    """Says whether the order of the nets by a measure is the same at every α."""
    values = rows[rows.measure == measure]
    orders = {tuple(nets.sort_values("value").seed) for _, nets in values.groupby("alpha")}
    return "does not change" if len(orders) == 1 else "changes"
