"""What the report says about part 1-3. Each function takes rows and settings and gives title, caption and comment.

Numbers are computed here from the rows; a sentence whose truth depends on a result is chosen by the result.
"""

import itertools

import numpy as np

from hw1.report.words import number, show, sign
from hw1.statistics import geometric_mean, mean_interval, nearest, over_seeds, paired_difference, rank_correlation


def random_labels(frame, settings) -> dict:
    """Comment on memorisation."""
    final = frame[frame.epoch == frame.groupby(["fraction", "seed"]).epoch.transform("max")]
    at = dict(iter(final.groupby("fraction")))
    least, most = min(at), max(at)
    train, test = (mean_interval(at[most][f"{part}_accuracy"]) for part in ("train", "test"))
    memorised, at_chance = train.value >= 0.99, abs(test.value - 1 / settings["classes"]) < 0.02
    text = (
        f"With {most:.0%} of the labels permuted the net ends at training accuracy {show(train)} and test accuracy "
        f"{show(test)}; chance is {1 / settings['classes']:.3g}. "
    )
    if memorised and at_chance:
        text += (
            "It has memorised labels that say nothing about the images. The same net, optimizer and number of epochs "
            f"reach test accuracy {show(mean_interval(at[least].test_accuracy))} with {least:.0%} permuted, so neither "
            "the size of a net nor its training accuracy tells whether it generalises. "
        )
    else:
        text += "It has not memorised the random labels in these epochs, or it is not at chance: train longer. "
    loss = mean_interval(at[most].test_loss)
    if loss.low > np.log(settings["classes"]):
        text += (
            f"With {most:.0%} permuted the test loss is {show(loss)} nats, more than the ln {settings['classes']} = "
            f"{np.log(settings['classes']):.2f} of a net that gives every class the same "
            "probability: what is memorised is believed firmly, and wrongly."
        )
    middle = [share for share in sorted(at) if least < share < most]
    second = ""
    if middle:
        falls = [at[share].test_accuracy.mean() for share in sorted(at)]
        monotone = all(a > b for a, b in itertools.pairwise(falls))
        accuracies = ", ".join(f"{at[share].test_accuracy.mean():.3f} at {share:.0%}" for share in sorted(at))
        lowest = min(at[share].train_accuracy.mean() for share in at)
        second = (
            f"Between the two ends test accuracy is {accuracies}: it {'falls' if monotone else 'does not always fall'} "
            f"with the share permuted, while training accuracy stays at or above {lowest:.3f} throughout."
        )
    return {
        "title": "Random labels: what a net can memorise",
        "method": "Labels are permuted once, before training; test labels stay true.",
        "caption": "Loss (left) and accuracy (middle) per epoch with true and with permuted labels; accuracy after "
        "the last epoch against the share of permuted labels (right).",
        "comment": [text, second],
    }


def parameter_count(frame, settings) -> dict:
    """Comment on loss and accuracy against the number of parameters."""
    means = frame.groupby("parameters")[["train_loss", "test_loss", "train_accuracy", "test_accuracy"]].mean()
    sizes = means.index.to_numpy()
    reached = [size for size, rows in frame.groupby("parameters") if (rows.status == "ok").all()]
    best_loss, best_accuracy = means.test_loss.idxmin(), means.test_accuracy.idxmax()

    def on(size, column):
        return frame[frame.parameters == size].set_index("seed")[column]

    largest = sizes[-1]
    drop = paired_difference(on(best_accuracy, "test_accuracy"), on(largest, "test_accuracy"))
    rise = paired_difference(on(largest, "test_loss"), on(best_loss, "test_loss"))
    text = (
        f"{len(sizes)} nets from {sizes[0]:,} to {largest:,} parameters. "
        + (
            f"From {reached[0]:,} parameters on every seed reaches the training loss {settings['target_loss']:g}; "
            if reached
            else "No net reaches the target training loss; "
        )
        + f"the smallest net stays at training accuracy {show(mean_interval(on(sizes[0], 'train_accuracy')))}. "
        f"Test accuracy is best with {best_accuracy:,} parameters, {show(mean_interval(on(best_accuracy, 'test_accuracy')))}, "
    )
    if best_accuracy == largest:
        text += "the largest net: more parameters never hurt here, though the training set could long be fitted. "
    elif sign(drop) > 0:
        text += f"and the largest net is below it by {show(drop, 2)}. "
    else:
        text += f"and the largest net is not measurably below it (difference {show(drop, 2)}). "
    text += f"Test loss is least with {best_loss:,} parameters, {show(mean_interval(on(best_loss, 'test_loss')))}" + (
        f", and higher by {show(rise, 2)} in the largest. " if sign(rise) > 0 else ". "
    )
    middle = means[(means.index > best_loss) & (means.index < largest)]
    if len(middle) and middle.test_loss.max() > 1.05 * means.test_loss[largest]:
        text += (
            f"In between it peaks at {middle.test_loss.max():.3g} ({middle.test_loss.idxmax():,} parameters) and falls "
            "again as nets grow wider."
        )
    return {
        "title": "Number of parameters",
        "method": f"One hidden layer of {settings['widths'][0]:,} to {settings['widths'][-1]:,} units; images averaged "
        f"over squares of {settings['pool']} × {settings['pool']} pixels, so that the sizes span four decades in minutes.",
        "caption": "Final loss (left) and accuracy (right) against the number of parameters. A net stops at the target "
        "training loss (dotted) or after the last epoch.",
        "comment": [text],
    }


def interpolation(frame, settings) -> dict:
    """Comment on the lines between two nets."""
    comments = []
    names = {"batch size": "batch_sizes", "learning rate": "learning_rates"}
    for pair, setting in names.items():
        rows = frame[(frame.pair == pair) & (frame.status != "diverged")]
        small, large = settings[setting]
        if rows.empty:
            comments.append(f"{pair.capitalize()} {small:g} against {large:g}: all nets diverged.")
            continue
        losses = rows.pivot(index="seed", columns="alpha", values="train_loss")
        inside = losses[[alpha for alpha in losses if 0 < alpha < 1]]
        barrier = mean_interval(inside.max(axis=1) - losses[[0, 1]].max(axis=1))
        text = f"{pair.capitalize()} {small:g} against {large:g}: "
        if sign(barrier) > 0:
            text += f"between the two nets lies a barrier of {show(barrier)} nats of training loss. "
        else:
            text += f"no barrier of training loss lies between the two nets ({show(barrier)} nats). "
        step = min(losses.columns, key=lambda alpha: abs(alpha - 1.5)) - 1
        ahead = nearest(losses, 1 + step) - losses[1]
        behind = nearest(losses, -step) - losses[0]
        steeper = paired_difference(np.log(ahead.clip(lower=1e-6)), np.log(behind.clip(lower=1e-6)))
        text += (
            f"Going outward by {step:.2g} of their distance the loss rises by {show(mean_interval(behind))} behind the "
            f"net of {pair} {small:g} and by {show(mean_interval(ahead))} beyond that of {large:g}"
        )
        if sign(steeper):
            text += f": along this line the net of {pair} {large if sign(steeper) > 0 else small:g} is the sharper one."
        else:
            text += ": along this line neither end is measurably the sharper one."
        comments.append(text)
    comments.append(
        "Width along one line is not sharpness: the line is one direction of thousands, and its scale is the distance "
        "of the two nets. The next two sections measure all directions."
    )
    return {
        "title": "On the line between two solutions",
        "method": "Both nets start from the same weights and are trained to a training loss at or below "
        f"{settings['target_loss']:g}. The learning rates "
        f"are compared at batch size {settings['batch_sizes'][0]}, the batch sizes at learning rate "
        f"{settings['learning_rates'][0]:g}.",
        "caption": "Loss (blue, left axis, logarithmic) and accuracy (red, right axis) at $theta_alpha = (1 - alpha) theta_1 + alpha theta_2$. "
        "Dotted lines mark the two trained nets.",
        "comment": comments,
    }


def sensitivity(frame, settings) -> dict:
    """Comment on sensitivity against batch size."""
    measures = {
        "loss_gradient_norm": "the mean norm of the loss gradient",
        "jacobian_norm": "the norm of the Jacobian of the class probabilities",
    }
    frame = frame[frame.status != "diverged"]
    text = "".join(_trend(frame, column, name) for column, name in measures.items())
    with_loss = rank_correlation(frame, "loss_gradient_norm", "test_loss")
    jacobian = {part: rank_correlation(frame, "jacobian_norm", f"test_{part}") for part in ("loss", "accuracy")}
    text += (
        f"With test loss the norm of the loss gradient has a rank correlation of {show(with_loss, 2)} over batch sizes, but "
        "it grows with the loss by its own factor p − y. The Jacobian, which knows no labels, has "
        f"{show(jacobian['loss'], 2)} with test loss and {show(jacobian['accuracy'], 2)} with test accuracy"
    )
    verdicts = sign(jacobian["loss"]), sign(jacobian["accuracy"])
    text += {
        (1, -1): ": the more sensitive net generalises worse.",
        (-1, 1): ": the more sensitive net generalises better.",
        (0, -1): ": the more sensitive net errs more often, but not measurably at a higher loss.",
    }.get(verdicts, ".")
    ends = [frame[frame.batch_size == size] for size in (frame.batch_size.min(), frame.batch_size.max())]
    ratio = over_seeds(frame, frame.loss_gradient_norm / frame.whole_loss_gradient_norm)
    second = (
        f"From batch size {ends[0].batch_size.iloc[0]} to {ends[1].batch_size.iloc[0]} the mean norm goes from "
        f"{show(mean_interval(ends[0].loss_gradient_norm))} to {show(mean_interval(ends[1].loss_gradient_norm))}. The "
        f"slides' literal quantity, the gradient of the mean loss over the whole set, is smaller by a factor of "
        f"{show(ratio, 2)}, √n = {settings['test'] ** 0.5:.0f} times the ratio of mean to root mean square: measured on a training batch instead of "
        "one fixed set, it would fall with the batch size by definition."
    )
    return {
        "title": "Sensitivity",
        "method": f"{_training_loss(frame, settings)} They are measured on the whole test set.",
        "caption": "Loss (left) and accuracy (middle) with sensitivity on the right axis, against the batch size; the "
        "three definitions of sensitivity (right).",
        "comment": [text, second],
    }


def _trend(frame, column, name) -> str:
    """A sentence on how a column depends on the batch size: with least value inside, or up, or down, or not at all."""
    means = frame.groupby("batch_size")[column].mean()
    least, ends = means.idxmin(), (means.index[0], means.index[-1])

    def at(size):
        return frame[frame.batch_size == size].set_index("seed")[column]

    correlation = rank_correlation(frame, "batch_size", column)
    rises = [paired_difference(at(end), at(least)) for end in ends]
    name = name[0].upper() + name[1:]
    if least not in ends and all(sign(rise) > 0 for rise in rises):
        return (
            f"{name} is least at batch size {least} and higher at both ends, by {show(rises[0], 2)} at {ends[0]} and by "
            f"{show(rises[1], 2)} at {ends[1]} (Spearman with the batch size {show(correlation, 2)}). "
        )
    verb = {1: "rises with", -1: "falls with", 0: "shows no clear trend with"}[sign(correlation)]
    return f"{name} {verb} the batch size (Spearman {show(correlation, 2)}). "


def _training_loss(frame, settings) -> str:
    """How equal the training losses are at which nets are compared."""
    low, high = (number(bound) for bound in (frame.train_loss.min(), frame.train_loss.max()))
    return (
        f"Every net is trained until its loss over the training set is at or below "
        f"{settings['target_loss']:g}; the losses reached lie between {low} and {high}."
    )


def sharpness(frame, settings) -> dict:
    """Comment on sharpness against batch size, and on the ways of measuring it."""
    course = frame[(frame.net == "course") & (frame.status != "diverged")]

    def measured(method, scope, examples, rows=course):
        rows = rows[(rows.method == method) & (rows.scope == scope) & (rows.examples == examples)]
        return rows.set_index(["batch_size", "seed"]).sort_index()

    few, everything = settings["examples"], settings["train"]
    recipe = measured("lanczos", "block", few)
    flat = recipe.reset_index()
    with_batch = rank_correlation(flat, "batch_size", "sharpness")
    with_loss, with_accuracy = (rank_correlation(flat, "sharpness", f"test_{q}") for q in ("loss", "accuracy"))
    within = rank_correlation(flat, "sharpness", "test_accuracy", by="batch_size")
    smallest, largest = flat.batch_size.min(), flat.batch_size.max()
    ends = [mean_interval(flat[flat.batch_size == size].sharpness) for size in (smallest, largest)]
    first = (
        f"Sharpness is {show(ends[0])} at batch size {smallest} and {show(ends[1])} at {largest}; its rank correlation "
        f"with the batch size is {show(with_batch, 2)}. "
        + {
            1: "At equal training loss small batches end in flatter minima. ",
            -1: "At equal training loss small batches end in sharper minima. ",
            0: "At equal training loss the batch size has no clear influence. ",
        }[sign(with_batch)]
        + f"With test loss sharpness correlates at {show(with_loss, 2)}, with test accuracy at {show(with_accuracy, 2)}: "
    )
    if sign(with_accuracy) < 0 and sign(with_loss) > 0:
        first += "flatter nets generalise better here, in both quantities."
    elif sign(with_accuracy) < 0:
        first += "flatter nets have the better test accuracy here, but not measurably the lower test loss."
        if sign(with_loss) < 0:
            first = first.replace("but not measurably the lower test loss", "and yet the higher test loss")
    else:
        first += "these runs do not show that flatter nets generalise better."
    first += f" Among nets of one batch size the correlation with test accuracy is {show(within, 2)}" + (
        ": there, too, the flatter net is the better one."
        if sign(within) < 0
        else ": there no such relation is measurable; both go with the batch size."
    )
    slip = measured("hutch++", "block", few).value / recipe.value
    full = measured("lanczos", "full", few).value / recipe.value
    all_examples = measured("lanczos", "full", everything).value / measured("lanczos", "full", few).value
    slip_trend = rank_correlation(measured("hutch++", "block", few).reset_index(), "batch_size", "sharpness")
    second = (
        f"What the recipe measures: tf.norm(A, 2) without axis is the Frobenius norm, here {show(over_seeds(slip.reset_index(), 'value'))} times "
        f"the spectral norm ({slip.min():.2f} to {slip.max():.2f}); with it the correlation with the batch size becomes "
        f"{show(slip_trend, 2)}. The full Hessian's norm is {show(over_seeds(full.reset_index(), 'value'))} times that of the largest block. On all "
        f"{everything} training examples the norm is {show(over_seeds(all_examples.reset_index(), 'value'))} times that on {few}."
    )
    reference = frame[frame.net == "reference"]
    exact = measured("tf.hessians", "block", few, reference)
    ours = measured("lanczos", "block", few, reference).value
    frobenius = measured("hutch++", "block", few, reference).value
    error = max((ours / exact[exact.norm == "spectral"].value - 1).abs().max(), 1e-7)  # of seven digits
    frobenius_error = (frobenius / exact[exact.norm == "frobenius"].value - 1).abs().max()
    hidden = "-".join(map(str, settings["reference_hidden"]))
    third = (
        f"On {len(ours)} nets with hidden layers {hidden}, where tf.hessians fits easily, Lanczos deviates from the exact spectral "
        f"norm by at most {number(error, 1)} and Hutch++ from the exact Frobenius norm by at most {number(frobenius_error, 2)}, relatively."
    )
    return {
        "title": "Sharpness (bonus)",
        "method": f"{_training_loss(course, settings)} The recipe leaves the gradient out. $norm(H)_2$ by Hessian-vector products and Lanczos, $norm(H)_F$ by "
        "Hutch++.",
        "caption": f"Sharpness on {few} training examples, block-diagonal Hessian, beside loss and accuracy (top); the "
        "spectral norm by scope and number of examples (bottom left); what the wrong norm changes (bottom right).",
        "comment": [first, second, third],
    }


def reparametrization(frame, settings) -> dict:
    """Comment on what a reparametrisation moves."""
    two, most = (frame[frame.transformation == name] for name in ("two-layer", "all but last"))
    both = frame[frame.transformation != "line"]

    def at(rows, measure, alpha):
        return rows[(rows.measure == measure) & (rows.alpha == alpha)].set_index("seed").value

    low, high = min(settings["alphas"]), max(settings["alphas"])

    def largest(measure):
        return both[both.measure == measure].value.max()

    def growth(measure, alpha, rows=two):
        return show(geometric_mean(at(rows, measure, alpha) / at(rows, measure, 1.0)), 2)

    errors = both.pivot(index=["transformation", "seed", "alpha"], columns="measure", values="value")
    # The CSV holds seven digits: a deviation below the last one shows as zero.
    determinant = max((errors.log10_determinant - errors.log10_det_predicted).abs().max(), 1e-3)
    base = errors.xs(1.0, level="alpha").adaptive_sharpness
    adaptive = max((errors.adaptive_sharpness / base - 1).abs().max(), 1e-7)
    orders = {
        tuple(rows.sort_values("value").seed) for _, rows in two[two.measure == "log10_determinant"].groupby("alpha")
    }
    spectra = {
        tuple(rows.sort_values("value").seed) for _, rows in two[two.measure == "spectral_norm"].groupby("alpha")
    }
    first = (
        f"Over α from {low:g} to {high:g} the outputs change by at most {number(largest('function_change'), 2)} of the largest, and "
        f"$H(T theta) = D H(theta) D$ holds to {number(largest('hessian_error'), 2)}: both are rounding. Yet at α = {low:g} the spectral norm is "
        f"{growth('spectral_norm', low)} times that at α = 1, the trace {growth('trace', low)}, Keskar's box sharpness "
        f"{growth('box_sharpness', low)} and the subspace sharpness {growth('subspace_sharpness', low)}; at α = {high:g} they are "
        f"{growth('spectral_norm', high)}, {growth('trace', high)}, {growth('box_sharpness', high)} and "
        f"{growth('subspace_sharpness', high)} times. A net of any sharpness stands for the same function."
    )
    count = mean_interval(at(most, "eigenvalues_above", low))
    second = (
        f"With all layers but the last multiplied by α = {low:g}, {show(count)} eigenvalues exceed what was the largest one: not "
        "only one direction can be made sharp. The determinant follows the predicted factor to within "
        f"{determinant:.1g} decades, the same for every net, so the order of nets by determinant "
        f"{'stays' if len(orders) == 1 else 'changes'} with α (that by spectral norm {'stays' if len(spectra) == 1 else 'changes'}). "
        f"Sharpness normalised by the scale of each weight moves by {number(adaptive, 1)} at most, relatively. Bottom right: along one "
        "line, a change of coordinate alone makes either solution the sharper one. Sharpness without a stated "
        "parametrisation says nothing, and training alone need not give all nets one scale of weights."
    )
    return {
        "title": "Reparametrisation (more bonus)",
        "method": "The images are averaged to 7 × 7 pixels and the net computes in float64, so that the whole Hessian is formed."
        if settings["pool"] == 4
        else "The net computes in float64, so that the whole Hessian is formed.",
        "caption": "Rescalings that leave a ReLU net's function unchanged: measures relative to α = 1, for two layers and for "
        "all but the last; deviations of outputs and of $H(T theta) = D H(theta) D$; eigenvalues above the former largest; the "
        "determinant of each net, divided by the known power of α; the loss on the line between two nets in the coordinate $eta = (t^2 + b)^a t$.",
        "comment": [first, second],
    }


QUESTIONS = {
    "random_labels": random_labels,
    "parameter_count": parameter_count,
    "interpolation": interpolation,
    "sensitivity": sensitivity,
    "sharpness": sharpness,
    "reparametrization": reparametrization,
}
