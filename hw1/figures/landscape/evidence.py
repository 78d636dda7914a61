"""The figures of evidence and attacks. Functions as in `hw1.figures.generalization`.

Points and lines are means over seeds, geometric ones on logarithmic axes; bars and bands are 95 % t-intervals of the
mean. Solid is training, dashed test.
"""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hw1.figures import style
from hw1.figures.style import BLACK, BLUE, GREEN, SETS, TEST, VERMILION


def adversarial(frame, settings):
    """Accuracy against the size of each attack, and at its middle size against batch size and λ₁ (a point a net)."""
    figure, ((first, second), (third, fourth)) = style.figure(2, 2, 4.8)
    frame, shades = frame[frame.status != "diverged"], _shades(settings)
    attacks = {"FGSM": (settings["sign_epsilons"], BLUE), "L2": (settings["l2_epsilons"], VERMILION)}
    for axes, attack, unit in ((first, "FGSM", "of each pixel"), (second, "L2", "of the image, L2")):
        rows = frame[frame.attack == attack]
        clean = rows.drop_duplicates(["batch_size", "seed"])
        clean = clean.assign(epsilon=0.0, attacked_accuracy=clean.test_accuracy)
        for size, colour in shades.items():
            both = pd.concat([part[part.batch_size == size] for part in (clean, rows)])
            style.curve(axes, both, "epsilon", "attacked_accuracy", color=colour)
        axes.set(xlabel=f"ε, largest change {unit}", ylabel="test accuracy under attack", ylim=(0, 1))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_title({"FGSM": "one signed step (FGSM)", "L2": f"{settings['steps']} steps in the L2 ball"}[attack])
    looks = {"no attack": {"color": BLACK, "linestyle": TEST}}
    style.curve(third, frame, "batch_size", "test_accuracy", **looks["no attack"])
    for attack, (epsilons, colour) in attacks.items():
        middle = epsilons[len(epsilons) // 2]
        rows = frame[(frame.attack == attack) & np.isclose(frame.epsilon, middle)]
        looks[f"{attack}, ε = {middle:g}"] = {"color": colour}
        style.curve(third, rows, "batch_size", "attacked_accuracy", color=colour)
        fourth.plot(rows.largest_eigenvalue, rows.attacked_accuracy, "o", color=colour)
    looks["λ₁, right axis"] = {"color": GREEN}
    right = style.twin(third, GREEN, "λ₁ of the training loss")
    style.curve(right, frame, "batch_size", "largest_eigenvalue", color=GREEN)
    style.log_x(third, "batch size")
    third.set(ylabel="test accuracy", ylim=(0, 1))
    fourth.set(xlabel="λ₁ of the training loss", ylabel="test accuracy under attack", ylim=(0, 1))
    fourth.legend([Line2D([], [], **look) for look in looks.values()], looks, loc="upper center", ncols=2)
    style.legend(figure, _named(shades))
    return figure


def evidence(frame, settings):
    """Accuracy, cross-entropy and evidence of regressions against λ; nets' Occam factors (below: one a point)."""
    figure, panels = style.figure(2, 3, 4.6)
    regressions = frame[frame.model == "logistic regression"]
    for (above, below), labels in zip(panels.T, ("true", "random"), strict=False):
        rows = regressions[regressions.labels == labels]
        below.set_yscale("log")
        for part, line in SETS.items():
            style.curve(above, rows, "regularization", f"{part}_accuracy", band=True, color=BLUE, linestyle=line)
            style.curve(below, rows, "regularization", f"{part}_loss", band=True, color=VERMILION, linestyle=line)
        above.set(ylabel="accuracy", ylim=(0.4, 1.03), title=f"regression, {labels} labels")
        style.colour_axis(below, VERMILION, "cross-entropy (nats)")
        right = style.twin(below, GREEN, "log evidence ratio E (nats)")
        style.curve(right, rows, "regularization", "log_evidence_ratio", band=True, color=GREEN)
        right.axhline(0, color=GREEN, linewidth=0.8, linestyle=":")
        for axes in (above, below):
            style.log_x(axes, "λ")
    nets, shades = frame[(frame.model == "net") & (frame.status != "diverged")], _shades(settings)
    nets = nets.assign(cost_of_width=-nets.log_occam)
    above, below = panels[:, 2]
    style.curve(above, nets, "batch_size", "cost_of_width", color=GREEN)
    style.log_x(above, "batch size")
    above.set(ylabel="½ Σ ln(λᵢ/λ)", title=f"nets, λ = {settings['net_regularization']:g}")
    for size, colour in shades.items():
        rows = nets[nets.batch_size == size]
        below.plot(rows.cost_of_width, rows.test_accuracy, "o", color=colour)
    below.set(xlabel="½ Σ ln(λᵢ/λ)", ylabel="test accuracy")
    ends = {
        f"B = {size}": Line2D([], [], marker="o", linestyle="", color=shades[size])
        for size in (min(shades), max(shades))
    }
    below.legend(ends.values(), ends, loc="lower left", handletextpad=0.1)
    looks = {"accuracy": {"color": BLUE}, "cross-entropy": {"color": VERMILION}} | style.sets(BLACK)
    style.legend(figure, looks | {"E, right axis: below 0 for the model, above 0 for chance": {"color": GREEN}})
    return figure


def _shades(settings):
    """Batch size → colour, from dark to light."""
    sizes = sorted(settings["batch_sizes"])
    return dict(zip(sizes, matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(sizes))), strict=True))


def _named(shades):
    """Label → line style, of which the first label says that these are batch sizes."""
    return {
        f"{'' if number else 'batch size '}{size}": {"color": colour}
        for number, (size, colour) in enumerate(shades.items())
    }


QUESTIONS = (
    adversarial,
    evidence,
)
