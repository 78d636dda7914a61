"""Do stochastic and exact gradient descent follow one curve as a two-layer net becomes wider?

    python -m hw1.dynamics.mean_field
    python -m hw1.dynamics.mean_field --size=smoke    seconds

The net is f(x) = (1/N) Σ cᵢ σ(wᵢ · x), where wᵢ · x includes a bias and cᵢ is a vector with an entry for each class.
The loss is ½ ‖y − f(x)‖² against one-hot labels y. A unit's gradient is O(1/N), so the step size of gradient descent is
εN, and k steps take the time t = kε. All wᵢ and cᵢ start as independent standard normal numbers, whatever N is; the
start of a wide net contains that of a narrow one. The training images are the population: stochastic descent draws B of
them with replacement in each step, exact descent takes the mean over all. The images are averaged over squares of
pixels, their mean is subtracted, and they are scaled to a mean ‖x‖² that is a setting.

Rows compare the two descents of one start at one time and step size, for two schedules:

    fixed    ε is the same for all N. The noise of the batches remains, of order √(ε/B), however wide the net is.
    1/N      ε = c/N, equal to that of "fixed" for the smallest N. The noise falls as 1/√N.

"gap" is the root mean square over images of ‖f_SGD(x) − f_GD(x)‖, "loss_gap" the absolute difference of the losses
over the population. Each seed has two starts with an order of batches each; a row has the means of their gaps, losses
and accuracies. "fluctuation" is half the mean square over images of ‖f(x) − f'(x)‖, f and f' the nets of the two
starts: an unbiased estimate of the variance of f over starts and orders for one population. "descent_fluctuation" is
that of exact descent. As f is a mean of N units that are nearly independent, it is predicted to be ∝ 1/N.

Table "batches" has, at fixed ε, batches that grow with N: P = N/a and P = (N/a)², for the widths whose batches are not
larger than the population. The noise is then of order √(ε/P).

Where exact descent takes m steps of size ε/m for one of "fixed", two gradients give all m at once:
θ ← θ − ε [(1 − w) g(θ) + w g(θ − ε g(θ))] with w = (1 − 1/m)/2 differs from them by O(ε³), and for m = 1 not at all.
At size report that changes f by at most 0.0007, where the least gap is 0.01 (N = 100, against a quarter of ε).

Chosen with the seeds 1000 and 1001: of the times 15 and 25, in both of which the gap is largest early, the shorter one,
at which three of four images are classified rightly; ε, with which exact descent is stable at every N; and a mean ‖x‖²
of 4, as 10 does not make descent learn faster.

Source: Mei et al., arXiv 1804.06561; Sirignano & Spiliopoulos, arXiv 1805.01053 and 1808.09372; Rotskoff &
Vanden-Eijnden, arXiv 1805.00915; Sagun's slides (the loss curves of both descents agree as N grows).

Deviations: the theorems are of one output and one pass over fresh examples; here there is an output for each class, and
the population are 5,000 images. Rotskoff & Vanden-Eijnden learn another function, the 3-spin energy on a sphere, and
look at times at which exact descent has converged.
"""

import dataclasses
import math
import sys

import keras
import numpy as np
import tensorflow as tf

from hw1 import command, datasets, question, training
from hw1.evaluation.losses import half_squared_error

STARTS = 2  # of each seed; a member's number is its seed + STRIDE · its start
STRIDE = 100_000
RULES = {"N": 1, "N²": 2}  # batches that grow with the width: the power of N/a
TOGETHER = 4000  # units of all nets in one stack, at most, unless one seed has more: bounds the memory


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    seeds: int = question.option(
        10, "independent repetitions (the population, and two starts with an order of batches each)"
    )
    train: int = question.option(5000, "training examples, which are the population")
    test: int = question.option(1000, "test examples")
    pool: int = question.option(4, "side of the squares of pixels that are averaged; 1 keeps the images as they are")
    scale: float = question.option(4.0, "mean square length of an input")
    activation: str = question.option("tanh", "activation σ of the units", choices=("tanh", "sigmoid", "linear"))
    widths: tuple[int, ...] = question.option(
        (10, 30, 100, 300, 1000), "numbers N of hidden units, multiples of the first, ascending"
    )
    learning_rate: float = question.option(
        0.5, "step size ε of all widths, and of the smallest with ε = c/N (chosen with the seeds 1000 and 1001)"
    )
    steps: int = question.option(30, "steps of that size, of exact descent (chosen with the seeds 1000 and 1001)")
    times: int = question.option(10, "recorded times, at equal distances", at_most="steps")
    batch_size: int = question.option(10, "examples B of a step", at_most="train")
    divisor: float = question.option(5.0, "a of the batches that grow, P = N/a and (N/a)²")
    probes: int = question.option(1000, "images of the population on which functions are compared", at_most="train")


SIZES = {
    "smoke": {"train": 200, "test": 200, "widths": (10, 40), "steps": 4, "times": 2, "probes": 50, "seeds": 2},
    "report": {},
    "paper": {
        "data": "mnist",
        "train": 60000,
        "test": 10000,
        "pool": 1,
        "widths": (10, 30, 100, 300, 1000, 3000),
        "steps": 200,
        "seeds": 20,
    },
}

_MEASURED = ["gap", "loss_gap", "fluctuation", "descent_fluctuation", *question.LOSSES_AND_ACCURACIES, "descent_loss"]
BY_SEED = True
COLUMNS = {
    "rows": ["width", "schedule", "seed", "time", "learning_rate", "batch_size", *_MEASURED, "status"],
    "batches": ["width", "rule", "seed", "time", "learning_rate", "batch_size", *_MEASURED, "status"],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per width."""
    first, *others = settings.widths
    if any(width % first for width in others) or list(settings.widths) != sorted(settings.widths):
        raise ValueError(
            f"--widths={question.write(settings.widths)}: must ascend and be multiples of the first, so that steps of "
            "size c/N meet the recorded times"
        )
    if settings.steps % settings.times:
        raise ValueError(f"--steps={settings.steps}: must be a multiple of --times={settings.times}")
    return [{"width": width} for width in settings.widths]


def run(settings: Settings, data, width: int):
    """Yields a row per schedule, seed and time, and those of the table "batches"."""
    data, seeds = datasets.average_pool(data, settings.pool), list(settings.all_seeds)
    at_once = max(1, TOGETHER // (width * STARTS))
    for begin in range(0, len(seeds), at_once):
        yield from _of_seeds(settings, data, seeds[begin : begin + at_once], width)


def _of_seeds(settings, data, seeds, width):
    """Yields the rows of some seeds."""
    data, count = prepared(settings, data, seeds), width // settings.widths[0]
    exact = descend(settings, data, seeds, width, 1, None)
    stochastic = descend(settings, data, seeds, width, 1, settings.batch_size)
    common = {"learning_rate": settings.learning_rate, "batch_size": settings.batch_size}
    yield from _compared(settings, data, stochastic, exact, {"schedule": "fixed"} | common)
    for rule, size in batches(settings, width).items():
        members = stochastic if size == settings.batch_size else descend(settings, data, seeds, width, 1, size)
        about = {"table": "batches", "rule": rule} | common | {"batch_size": size}
        yield from _compared(settings, data, members, exact, about)
    if count > 1:
        exact = descend(settings, data, seeds, width, count, None)
        stochastic = descend(settings, data, seeds, width, count, settings.batch_size)
    common["learning_rate"] /= count
    yield from _compared(settings, data, stochastic, exact, {"schedule": "1/N"} | common)


def batches(settings: Settings, width: int) -> dict[str, int]:
    """Rule → size of the batches that grow with the width; none where one is larger than the population."""
    sizes = {rule: max(1, round((width / settings.divisor) ** power)) for rule, power in RULES.items()}
    return sizes if max(sizes.values()) <= settings.train else {}


def prepared(settings: Settings, data, seeds) -> datasets.Splits:
    """The images of some seeds, for members numbered seed + STRIDE · start.

    The mean image of the population is subtracted, and the images are scaled to the mean square length of the settings.
    """

    def of(seed):
        split = data.of(seed)
        mean = split.x_train.mean(axis=0)
        length = math.sqrt(((split.x_train - mean) ** 2).sum() / len(split.x_train)) or 1.0
        factor = math.sqrt(settings.scale) / length
        return dataclasses.replace(
            split, x_train=(split.x_train - mean) * factor, x_test=(split.x_test - mean) * factor
        )

    return datasets.Splits.stacked({seed: of(seed) for seed in seeds}).sharing(lambda member: member % STRIDE)


def net(width: int, activation: str, shape, classes: int, seed: int) -> keras.Model:
    """Builds f(x) = (1/N) Σ cᵢ σ(wᵢ · x) with standard normal wᵢ, biases and cᵢ.

    Args:
        width: N.
        activation: σ, a name in Keras.
        shape: of one input.
        classes: number of outputs.
        seed: of the start. The first units of a wide net are those of a narrow one.
    """
    inputs = math.prod(shape)
    model = keras.Sequential(
        [
            keras.Input(shape, name="images"),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(width, activation, name="units"),
            keras.layers.Dense(classes, use_bias=False, name="sum"),
            keras.layers.Rescaling(1 / width, name="mean"),
        ],
        name="mean_field",
    )
    drawn = np.random.default_rng([seed, 6]).standard_normal((width, inputs + 1 + classes))
    model.set_weights([drawn[:, :inputs].T, drawn[:, inputs], drawn[:, inputs + 1 :]])
    return model


def at_once(count: int, rate: float):
    """A direction with which one step of size count · rate is `count` steps of size rate, up to O((count · rate)³).

    Two Euler steps, θ − hg and beyond, show how the gradient changes; Heun's rule would weigh their gradients equally,
    which is the limit of many small steps. `count` steps weigh the second by (1 − 1/count)/2.

    Args:
        count: number of steps; 1 gives the gradient itself.
        rate: size of each.
    """
    if count == 1:
        return None
    weight = (1 - 1 / count) / 2

    def direction(batch):
        start = batch.values()
        batch.assign([value - count * rate * slope for value, slope in zip(start, batch.slope, strict=True)])
        ahead = batch.gradients()
        batch.assign(start)
        return [(1 - weight) * here + weight * there for here, there in zip(batch.slope, ahead, strict=True)]

    return direction


def descend(settings: Settings, data, seeds, width: int, count: int, batch_size: int | None) -> list[training.Member]:
    """Trains the two starts of each seed for steps · count steps of size ε/count.

    Args:
        settings: of the run.
        data: as `prepared` gives them.
        seeds: their seeds.
        width: N.
        count: how many steps take the time ε.
        batch_size: examples drawn with replacement. None: exact descent, `count` steps at once.

    Returns:
        Members with their weights at the recorded times; those of all first starts come before those of the second.
    """
    exact, rate = batch_size is None, settings.learning_rate / count
    each = 1 if exact else count  # updates that take the time ε
    return training.train(
        lambda member: net(width, settings.activation, data.shape, data.classes, member),
        data,
        batch_size=data.train if exact else batch_size,
        replacement=not exact,
        updates=settings.steps * each,
        evaluate_updates=settings.steps // settings.times * each,
        optimizer=lambda: keras.optimizers.SGD((settings.learning_rate if exact else rate) * width),
        direction=at_once(count, rate * width) if exact else None,
        loss=half_squared_error,
        seeds=[seed + STRIDE * start for start in range(STARTS) for seed in seeds],
        record=("weights",),
        progress=f"N = {width}, batch size {'all' if exact else batch_size}, step size {rate:.2g} N",
    )


def functions(settings: Settings, width: int, weights, x) -> np.ndarray:
    """The outputs of nets of `net`, from their flat parameters.

    Args:
        settings: give the activation.
        width: N.
        weights: shape [nets, parameters].
        x: inputs, shape [n, ...].

    Returns:
        Shape [nets, n, classes].
    """
    x, activation = tf.constant(np.reshape(x, (len(x), -1))), keras.activations.get(settings.activation)
    inputs, found = x.shape[1], []
    for flat in weights:
        kernel, bias, sums = np.split(flat, [inputs * width, (inputs + 1) * width])
        units = activation(x @ kernel.reshape(inputs, width) + bias)
        found.append((units @ sums.reshape(width, -1) / width).numpy())
    return np.stack(found)


def _compared(settings, data, stochastic, exact, about):
    """Yields a row per seed and time that compares two descents from the same starts."""
    seeds = len(exact) // STARTS
    step = settings.learning_rate * settings.steps / settings.times
    for number in range(seeds):
        pairs = [descents[number::seeds] for descents in (stochastic, exact)]
        row = about | {"seed": exact[number].seed, "status": "ok"}
        if any(member.status == "diverged" for pair in pairs for member in pair):
            row["status"], measured = "diverged", [{}] * settings.times
        else:
            measured = _measured(settings, data.of(row["seed"]).x_train[: settings.probes], *pairs)
        for place, values in enumerate(measured, start=1):
            yield row | {"time": step * place} | values


def _measured(settings, x, stochastic, exact):
    """Yields for each recorded time the columns that compare the descents of the starts of one seed."""
    width = stochastic[0].model.get_layer("units").units
    outputs = [[functions(settings, width, member.weights, x) for member in pair] for pair in (stochastic, exact)]
    fluctuations = [_square(*pair) / 2 for pair in outputs]
    gaps = np.mean([np.sqrt(_square(*both)) for both in zip(*outputs, strict=True)], axis=0)  # mean of the starts
    for place, gap in enumerate(gaps):
        now = {name: [member.history[name][place] for member in stochastic] for name in question.LOSSES_AND_ACCURACIES}
        losses = [member.history["train_loss"][place] for member in exact]
        yield {
            "gap": gap,
            "loss_gap": np.mean(np.abs(np.subtract(now["train_loss"], losses))),
            "fluctuation": fluctuations[0][place],
            "descent_fluctuation": fluctuations[1][place],
            **{name: np.mean(values) for name, values in now.items()},
            "descent_loss": np.mean(losses),
        }


def _square(a, b) -> np.ndarray:
    """The mean over images of ‖a(x) − b(x)‖² at each time, from outputs of shape [times, images, classes]."""
    return ((a - b) ** 2).sum(axis=2, dtype=np.float64).mean(axis=1)


if __name__ == "__main__":
    command.main(sys.modules[__name__])
