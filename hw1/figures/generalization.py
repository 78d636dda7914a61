"""The figures of part 1-3. Each function takes the rows and the settings of a question and gives a figure.

Points and lines are means over seeds; bars and bands are 95 % t-intervals of the mean. Solid is training, dashed test.
"""

import numpy as np
from matplotlib.lines import Line2D

from hw1.figures import style
from hw1.figures.style import ACCURACY, BLACK, BLUE, GREEN, LOSS, ORANGE, PURPLE, SETS, SKY, TEST, TRAIN, VERMILION


def random_labels(frame, settings):
    """Loss and accuracy per epoch with true and with random labels, and at the end against the share permuted."""
    figure, (left, middle, right) = style.figure(1, 3, 2.4)
    shares = dict(zip(_ends(frame.fraction), (BLUE, VERMILION), strict=False))
    left.set_yscale("log")
    for axes, quantity, label in ((left, "loss", LOSS), (middle, "accuracy", ACCURACY)):
        for share, colour in shares.items():
            for part, line in SETS.items():
                rows = frame[frame.fraction == share]
                style.curve(axes, rows, "epoch", f"{part}_{quantity}", band=True, color=colour, linestyle=line)
        axes.set(xlabel="epoch", ylabel=label)
    final = frame[frame.epoch == frame.groupby(["fraction", "seed"]).epoch.transform("max")]
    for part, line in SETS.items():
        style.curve(right, final, "fraction", f"{part}_accuracy", color=BLACK, linestyle=line)
    right.set(xlabel="share of labels permuted", ylabel="accuracy after training")
    for axes in (middle, right):
        axes.axhline(1 / settings["classes"], color="#888888", linewidth=0.8, linestyle=":")
        axes.set_ylim(0, 1.03)
    right.text(
        0.02,
        0.01 + 1 / settings["classes"],
        "chance",
        transform=right.get_yaxis_transform(),
        fontsize=6.5,
        color="#666666",
    )
    names = {f"{share:.0%} of the labels permuted": {"color": colour} for share, colour in shares.items()}
    style.legend(figure, names | style.sets(BLACK))
    return figure


def parameter_count(frame, settings):
    """Final loss and accuracy against the number of parameters."""
    figure, (left, right) = style.figure(1, 2, 2.5)
    left.set_yscale("log")
    looks = {"training": {"color": BLUE, "linestyle": TRAIN}, "test": {"color": VERMILION, "linestyle": TEST}}
    for axes, quantity, label in ((left, "loss", LOSS), (right, "accuracy", ACCURACY)):
        for part, look in zip(SETS, looks.values(), strict=True):
            style.curve(axes, frame, "parameters", f"{part}_{quantity}", **look)
        style.log_x(axes, "parameters")
        axes.set_ylabel(label)
    left.axhline(settings["target_loss"], color="#888888", linewidth=0.8, linestyle=":")
    left.text(0.02, settings["target_loss"] * 1.08, "target", transform=left.get_yaxis_transform(), fontsize=6.5)
    style.legend(figure, looks)
    return figure


def interpolation(frame, settings):
    """Loss (blue, left) and accuracy (red, right) along the line between two nets, one panel per pair."""
    figure, panels = style.figure(1, 2, 2.7)
    pairs = {"batch size": "batch_sizes", "learning rate": "learning_rates"}
    for axes, (pair, setting) in zip(panels, pairs.items(), strict=True):
        rows = frame[(frame.pair == pair) & (frame.status != "diverged")]
        style.line_between(axes, rows)
        for end, value in zip((0, 1), settings[setting], strict=True):
            axes.text(end, 1.01, f"{value:g}", transform=axes.get_xaxis_transform(), ha="center", fontsize=7)
        axes.set(xlabel="α")
        axes.set_title(f"{pair}", pad=12)
    quantities = {"loss (left axis)": {"color": BLUE}, "accuracy (right axis)": {"color": VERMILION}}
    style.legend(figure, quantities | style.sets(BLACK))
    return figure


def sensitivity(frame, settings):
    """Loss, accuracy and three sensitivities against the batch size."""
    figure, (*panels, last) = style.figure(1, 3, 2.5)
    _with_batch_size(panels, frame, "loss_gradient_norm", "mean ‖∂ℓ/∂x‖ (nats per pixel)")
    last.set_yscale("log")
    scaled = frame.assign(whole_loss_gradient_norm=frame.whole_loss_gradient_norm * np.sqrt(settings["test"]))
    measures = {
        "loss_gradient_norm": ("mean ‖∂ℓ/∂x‖", GREEN),
        "whole_loss_gradient_norm": ("‖∂L/∂X‖ √n", ORANGE),
        "jacobian_norm": ("mean ‖∂p/∂x‖", PURPLE),
    }
    for column, (_, colour) in measures.items():
        style.curve(last, scaled, "batch_size", column, color=colour)
    style.log_x(last, "batch size")
    last.set_ylabel("sensitivity (per pixel)")
    style.legend(figure, style.sets(BLUE) | {name: {"color": colour} for name, colour in measures.values()})
    return figure


def sharpness(frame, settings):
    """The course's sharpness against the batch size, how it depends on what is measured, and what the slip does."""
    figure, ((first, second), (third, fourth)) = style.figure(2, 2, 4.6)
    course, few = frame[(frame.net == "course") & (frame.status != "diverged")], settings["examples"]
    _with_batch_size((first, second), _measured(course, few, "block", "lanczos"), "sharpness", "sharpness")
    kinds = {
        f"block, {few} examples": (few, "block", {"color": GREEN}),
        f"full, {few} examples": (few, "full", {"color": PURPLE}),
        f"full, all {settings['train']} examples": (settings["train"], "full", {"color": PURPLE, "linestyle": ":"}),
    }
    for examples, scope, look in kinds.values():
        style.curve(third, _measured(course, examples, scope, "lanczos"), "batch_size", "value", **look)
    third.set_ylabel("spectral norm ‖H‖₂")
    third.legend([_line(look) for *_, look in kinds.values()], kinds, loc="upper left")
    fourth.set_yscale("log")
    norms = {
        r"$\Vert H \Vert_2$, as meant": ("lanczos", GREEN),
        r"$\Vert H \Vert_F$, as tf.norm(A, 2) gives": ("hutch++", VERMILION),
    }
    for method, colour in norms.values():
        style.curve(fourth, _measured(course, few, "block", method), "batch_size", "sharpness", color=colour)
    fourth.set_ylabel("sharpness")
    fourth.legend([_line({"color": colour}) for _, colour in norms.values()], norms, loc="upper left")
    for axes, room in ((third, 1.35), (fourth, 4)):  # for the legends
        style.log_x(axes, "batch size")
        axes.set_ylim(top=axes.get_ylim()[1] * room)
    style.legend(figure, style.sets(BLUE) | {"sharpness ‖H‖₂ ε² / (2 (1 + L)), right axis": {"color": GREEN}})
    return figure


def reparametrization(frame, settings):
    """What grows, what stays and what the Hessian does under rescalings that leave the function unchanged."""
    figure, ((first, second, third), (fourth, fifth, sixth)) = style.figure(2, 3, 4.6)
    two, most = (frame[frame.transformation == name] for name in ("two-layer", "all but last"))
    measures = {
        "spectral_norm": ("spectral norm", BLUE),
        "trace": ("trace", SKY),
        "box_sharpness": ("Keskar, box", ORANGE),
        "subspace_sharpness": ("Keskar, subspace", PURPLE),
        "adaptive_sharpness": ("scale-normalised", BLACK),
    }
    for axes, rows in ((first, two), (second, most)):
        axes.set_yscale("log")
        for measure, (_, colour) in measures.items():
            style.curve(axes, _relative(rows, measure), "alpha", "value", color=colour)
        axes.set_ylabel("relative to α = 1")
    first.set_title("layer 1 × α, layer 2 × 1/α")
    second.set_title("all layers but the last × α")
    _deviations(third, two)
    for name, rows, colour in (("two layers", two, GREEN), ("all but last", most, VERMILION)):
        count = rows[rows.measure == "eigenvalues_above"]
        style.curve(fourth, count, "alpha", "value", color=colour, label=name)
    fourth.set(ylabel="eigenvalues above λ₁ at α = 1", title="how many become large")
    fourth.legend(loc="upper right")
    determinants = two.pivot(index=["seed", "alpha"], columns="measure", values="value").reset_index()
    for number, (seed, rows) in enumerate(determinants.groupby("seed")):
        colour = style.COLOURS[number % len(style.COLOURS)]
        known = rows.log10_det_predicted - rows[rows.alpha == 1].log10_det_predicted.item()
        fifth.plot(rows.alpha, rows.log10_determinant - known, "o-", color=colour, label=f"net {seed}")
    fifth.set(ylabel="log₁₀ |det H|", title="determinant, known factor taken out")
    fifth.legend(loc="center left", bbox_to_anchor=(1, 0.5), handlelength=1)
    for axes in (first, second, third, fourth, fifth):
        style.log_x(axes, "α")
    _reparametrized_line(sixth, frame[frame.measure == "line_loss"])
    style.legend(figure, {name: {"color": colour} for name, colour in measures.values()})
    return figure


def _deviations(axes, frame):
    """The largest deviation, over seeds, of what a reparametrisation must not change."""
    rounding = np.finfo(float).eps
    axes.set_yscale("log")
    for measure, name, colour in (("function_change", "f(x)", GREEN), ("hessian_error", "H(Tθ) = D H D", VERMILION)):
        rows = frame[frame.measure == measure].groupby("alpha", as_index=False).value.max()
        rows = rows[rows.value > 0]  # at α = 1 nothing is rescaled, and nothing deviates
        axes.plot(rows.alpha, rows.value, "o-", color=colour, label=name)
    axes.axhline(rounding, color="#888888", linewidth=0.8, linestyle=":")
    axes.text(0.97, rounding / 2.8, "float64 rounding", transform=axes.get_yaxis_transform(), fontsize=6.5, ha="right")
    axes.set(ylabel="largest relative deviation", ylim=(rounding / 8, 1e-12), title="what must not change")
    axes.legend(loc="upper center")


def _reparametrized_line(axes, line):
    """The loss between two solutions in the coordinates η = (t² + b)^a t about the first (Dinh et al., section 5)."""
    for (a, b), colour in zip(((0, 0), (-0.3, 0.01), (0.6, 0.01)), (BLACK, BLUE, VERMILION), strict=True):
        t = line.alpha.to_numpy()
        scale = (1 + b) ** a  # of the second solution at t = 1, so that both stay at 0 and 1
        eta = (t**2 + b) ** a * t / scale if a else t
        axes.plot(eta, line.value, color=colour, label="η = t" if a == 0 else f"a = {a:g}, b = {b:g}")
    axes.set(xlabel="η (first net at 0, second at 1)", ylabel=LOSS, yscale="log", xlim=(-0.6, 1.6))
    axes.set_title("one line, three coordinates")
    axes.set_ylim(top=30 * line.value.max())
    axes.legend(loc="upper center")


def _relative(frame, measure):
    """The values of a measure divided by those at α = 1, per seed."""
    rows = frame[frame.measure == measure]
    base = rows[rows.alpha == 1].set_index("seed").value
    return rows.assign(value=rows.value / rows.seed.map(base))


def _measured(frame, examples, scope, method):
    return frame[(frame.examples == examples) & (frame.scope == scope) & (frame.method == method)]


def _with_batch_size(panels, frame, column, label):
    """Loss and accuracy on the left axes of two panels, a measure on their right axes, against the batch size."""
    for axes, quantity, name in zip(panels, ("loss", "accuracy"), (LOSS, ACCURACY), strict=True):
        for part, line in SETS.items():
            style.curve(axes, frame, "batch_size", f"{part}_{quantity}", color=BLUE, linestyle=line)
        style.log_x(axes, "batch size")
        style.colour_axis(axes, BLUE, name)
        right = style.twin(axes, GREEN, label)
        style.curve(right, frame, "batch_size", column, color=GREEN)


def _ends(values):
    return sorted({values.min(), values.max()})


def _line(look):
    return Line2D([], [], **look)


QUESTIONS = (random_labels, parameter_count, interpolation, sensitivity, sharpness, reparametrization)
