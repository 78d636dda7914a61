"""What the report says about part 1-2. Each function takes rows and settings and gives title, caption and comment.

Numbers are computed here from the rows; a sentence whose truth depends on a result is chosen by the result.
"""

import numpy as np
import scipy.stats

from hw1.report.words import number, show, sign
from hw1.statistics import geometric_mean, mean_interval

NEAR = 1e-8  # ‖∇L‖₂ below which the gradient counts as zero
PLATEAU = 0.087  # the variance of sin(5πx)/(5πx) on (0, 1]: the least loss of a constant output


def trajectories(frame, settings) -> dict:
    """Comment on where the weights go."""
    frame = frame[frame.status != "diverged"]
    whole, layer = (frame[frame.scope == scope] for scope in ("whole model", "layer 1"))
    shares = {
        scope: rows[["first_explained", "second_explained"]].iloc[0].sum()
        for scope, rows in (("whole", whole), ("layer", layer))
    }
    ends, starts = (rows.set_index("seed")[["first", "second"]] for rows in (_last(whole), _first(whole)))
    lengths = np.linalg.norm(ends - starts, axis=1)
    steps = np.hypot(*(whole.groupby("seed")[name].diff() for name in ("first", "second")))
    paths = steps.groupby(whole.seed).sum().to_numpy()
    apart = [np.linalg.norm(a - b) for i, a in enumerate(ends.values) for b in ends.values[:i]]
    accuracy = mean_interval(_last(whole).train_accuracy)
    first = (
        f"The {whole.seed.nunique()} trainings end at training accuracy {show(accuracy)} and at as many different "
        f"places: in the plane of the whole model the final points are {number(np.mean(apart), 2)} apart on average, "
        f"while a training moves by {number(np.mean(lengths), 2)}. "
    )
    if np.mean(apart) > np.mean(lengths):
        first += "Different initial weights lead to different solutions of equal quality, not to one. "
    else:
        first += "The trainings end nearer to each other than they have moved. "
    first += (
        f"Two components hold {shares['whole']:.0%} of the variance of the whole model and {shares['layer']:.0%} of that "
        "of layer 1: the rest of the differences between the trainings is not seen here. Within a training the path "
        f"between the events is {show(mean_interval(paths / lengths), 4)} times as long as the straight line from its "
        "first to its last event in this plane."
    )
    return {
        "title": "Trajectories of the weights",
        "method": "One principal component analysis over all events of all trainings, for each panel.",
        "caption": f"All weights every {settings['every']} epochs, for the first layer (left) and the whole model (right). "
        "Colours are trainings; the figures at the first and last event are training accuracy in per cent.",
        "comment": [first],
    }


def gradient_norm(frame, settings) -> dict:
    """Comment on the gradient norm along training."""
    comments = []
    for task, name in (("sinc", "On the function"), ("images", "On images")):
        rows = frame[(frame.task == task) & (frame.status != "diverged")]
        early, late = (rows[(rows.step >= low) & (rows.step < high)] for low, high in _tenths(rows))
        norm, loss = (
            geometric_mean(late.groupby("seed")[column].mean() / early.groupby("seed")[column].mean())
            for column in ("gradient_norm", "loss")
        )
        verb = {-1: "falls", 0: "neither falls nor rises measurably", 1: "rises"}[sign(norm, 1)]
        comments.append(
            f"{name} the gradient norm {verb}: over the last tenth of the steps it is {show(norm, 2)} times that over the first "
            f"tenth, while the loss is {show(loss, 2)} times. "
        )
    comments[-1] += (
        "The batches differ, so the norm of one batch's gradient stays far from zero while the loss goes on falling: "
        "a small loss on mini-batches is not a point of zero gradient. The next section looks for such points."
    )
    return {
        "title": "Gradient norm along training",
        "method": "The norm of the gradient of the batch's loss over all parameters, before each update.",
        "caption": "Gradient norm (top) and loss (bottom) at every step, for the function (left) and for images (right).",
        "comment": [" ".join(comments)],
    }


def zero_gradient(frame, settings) -> dict:
    """Comment on the end points of both methods."""
    second_order, norm = (frame[frame.method == name] for name in ("Levenberg–Marquardt", "gradient norm"))
    near, near_norm = (int((rows.gradient_norm < NEAR).sum()) for rows in (second_order, norm))
    first = (
        f"From the same {len(norm)} trained nets, of median loss {number(norm.trained_loss.median(), 2)}, Levenberg–Marquardt "
        f"brings {near} below $norm(nabla L)_2 = {number(NEAR).strip('$')}$ (largest {number(second_order.gradient_norm.max(), 2)}), "
        f"Adam on $norm(nabla L)^2$ brings {near_norm} (median {number(norm.gradient_norm.median(), 2)}). The median losses "
        f"of the final points are {number(second_order.loss.median(), 2)} and {number(norm.loss.median(), 2)}. "
    )
    if norm.gradient_norm.median() > 10 * second_order.gradient_norm.median():
        first += "A first-order method crawls in the narrow valleys of the gradient's norm. "
    minima, saddles = (int(condition.sum()) for condition in (second_order.negative == 0, second_order.negative > 0))
    depth = -(second_order.smallest_eigenvalue / second_order.largest_eigenvalue).min()
    second = (
        f"Of the end points of Levenberg–Marquardt {minima} are minima as far as H tells, {saddles} saddles: their most "
        f"negative eigenvalue is at most {number(depth, 1)} of the largest, and up to {number(settings['zero'], 1)} counts as zero, "
        "for at that size stand the residuals' own curvature, which vanishes with them, and rounding. "
        f"Of the points where Adam on the norm stopped, {int((norm.negative > 0).sum())} have negative eigenvalues, but their "
        "gradient is not zero. "
    )
    on_plateau = int((np.abs(frame.loss - PLATEAU) < 0.1 * PLATEAU).sum())
    second += (
        f"{on_plateau or 'None'} of the end points {'lies' if on_plateau == 1 else 'lie'} on the slides' plateau at loss "
        f"{PLATEAU:g}, the variance of the function: there the output is constant, as of a net of dead units, which tanh "
        "does not have. "
    )
    return {
        "title": "Points of zero gradient",
        "method": f"Nets 1-{'-'.join(map(str, settings['hidden']))}-1 in float64; both methods start from the same trained nets.",
        "caption": "Loss of the final point against the minimal ratio by both definitions, a point per net, for both methods.",
        "comment": [first, second + _definitions(second_order, settings)],
    }


def _definitions(rows, settings) -> str:
    """What the two definitions of the minimal ratio say, and how they go with the loss."""
    low, high = rows.minimal_ratio.min(), rows.minimal_ratio.max()
    sampled, text = rows.minimal_ratio_sampled, ""
    if rows.minimal_ratio.nunique() > 1 and rows.loss.nunique() > 1:
        rank, chance = scipy.stats.spearmanr(rows.minimal_ratio, rows.loss)
        trend = (
            "no rank correlation with the loss can be told from 0" if chance > 0.05 else "ratio and loss go together"
        )
        if chance <= 0.05 and rank < 0:
            trend = "the ratio is the higher the lower the loss"
        text = f" ({trend}; Spearman {number(rank, 2)}, p = {number(chance, 2)})"
    computed, directions = rows.minimal_ratio_computed, rows.negative + rows.zero + rows.positive
    text = f"The share of positive eigenvalues is {low:.2f} to {high:.2f}{text}. It depends on what counts as zero: with every computed eigenvalue above 0 it is {computed.min():.2f} to {computed.max():.2f}, though where the residuals vanish H has at most as many positive eigenvalues as there are points, {settings['points']} of {directions.iloc[0]} (a share of {settings['points'] / directions.iloc[0]:.2f}), and the others owe their sign to rounding. Of the sampled neighbours {sampled.min():.2f} to {sampled.max():.2f} have a higher loss. "
    if np.median(sampled) > np.median(rows.minimal_ratio) + 0.2:
        text += (
            "The definitions disagree because one counts directions and the other weighs them by curvature: a few steep "
            "directions decide what happens to a random neighbour."
        )
    elif np.abs(sampled - rows.minimal_ratio).max() < 0.1:
        text += "The definitions agree."
    return text


def error_surface(frame, settings) -> dict:
    """Comment on the three views of the loss."""
    events = frame[(frame.view == "start to end") & (frame.kind != "surface")]
    last_descent = _last(events[events.kind == "gradient descent"]).set_index("seed").loss
    last = _last(events).set_index("seed").loss
    gain = geometric_mean(last_descent / last)
    near = frame[(frame.view == "t-SNE") & (frame.kind == "neighbour")]
    final = near["index"] == near["index"].max()
    rise = geometric_mean(near[final].groupby("seed").loss.mean() / last)
    moved = frame[frame.view == "perturbation"]
    moved = moved[moved.u.abs() == moved.u.abs().max()]
    by_parameter = moved.groupby(["seed", "index"]).loss.mean().div(last, level="seed")
    spread = by_parameter.groupby("seed").quantile([0.1, 0.9]).unstack()
    flat, steep = (geometric_mean(spread[share]) for share in (0.1, 0.9))
    first = (
        f"The second-order steps lower the loss by a factor of {show(gain, 2)} below what gradient descent reached. "
        f"Neighbours at {settings['radius']:.0%} of the norm of the final weights have {show(rise, 2)} times its loss, in "
        "directions drawn at random. Single parameters differ widely: moved by "
        f"{settings['shift']:g}, the flattest tenth of them give less than {show(flat, 2)} times the loss, the steepest "
        f"tenth more than {show(steep, 2)} times. "
    )
    plane = frame[frame.view == "random plane"]
    lower = (plane.loss < last[plane.seed.iloc[0]]).mean()
    start = _first(events).set_index("seed").loss
    second = (
        f"From the start, at loss {show(geometric_mean(start), 2)}, the trajectory runs down a curved valley to "
        f"{show(geometric_mean(last), 2)} (geometric means); the events are projected on the plane, so their own "
        "losses, their colours, may differ from the surface under them. On the random plane "
        f"{'no point of the grid is' if lower == 0 else f'{lower:.0%} of the grid are'} below the final point: two random "
        "directions of several dozen hardly meet the valley."
    )
    return {
        "title": "Error surface (bonus)",
        "method": f"A net with hidden layers {'-'.join(map(str, settings['hidden']))} on sin(5πx) / (5πx), in float64; "
        "second-order steps by Levenberg and Marquardt. Planes and curves are those of the first net, "
        "numbers are over all.",
        "caption": "t-SNE of all events, coloured by loss, with sampled neighbours (top left); the loss while one "
        "parameter moves (top right); the loss on two planes through the final point (bottom).",
        "comment": [first, second],
    }


def _tenths(rows):
    """The first and the last tenth of the steps."""
    count = rows.step.max() + 1
    return (0, count / 10), (count * 9 / 10, count)


def _last(rows):
    return rows.groupby("seed", as_index=False).tail(1)


def _first(rows):
    return rows.groupby("seed", as_index=False).head(1)


QUESTIONS = {
    "trajectories": trajectories,
    "gradient_norm": gradient_norm,
    "zero_gradient": zero_gradient,
    "error_surface": error_surface,
}
