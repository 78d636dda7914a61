"""Which batch size generalises best, and is it proportional to learning rate, training set size and 1/(1 − momentum)?

    python -m hw1.dynamics.batch_size_scaling
    python -m hw1.dynamics.batch_size_scaling --size=smoke    seconds

Nets with one hidden layer are trained by SGD with momentum m and a constant learning rate ε on N images, with batch
sizes B from 2 to N/4, all for the same number of updates. One of ε, N and m is varied at a time, the others stay at
their base. SGD's noise is said to have the scale g = ε (N/B − 1) / (1 − m). If there is a best g, the best batch size
B* is proportional to ε, to N and to 1/(1 − m). Batches are drawn with replacement: those of a shuffled epoch are
correlated, and their noise cancels within the epoch.

Table "optimum" has B*: the vertex of a parabola in ln B, fitted to the test accuracies, which are averaged over seeds.
Below B*, accuracy falls by tens of points within a factor of 2, where the noise keeps nets from fitting the training
set. A parabola through all batch sizes would follow that fall, and its vertex would depend on the grid. So the fit is
local: to batch sizes within a factor of 2 of the one of highest accuracy, and accuracies more than 1 point below it
are set to 1 point below (see `vertex`). A vertex at an end of the grid is censored. The interval is a bootstrap over
seeds and test images through the whole fit (see `accuracies`). Table "resamples" has B* of each resample, which draws
the same seeds and images for all nets, so that exponents can be fitted to each.

Table "gap" follows nets with a small batch and with the full batch (all N images in each update: exact gradient
descent) at the base: losses and accuracies against the number of updates.

Source: Smith & Le, arXiv 1710.06451, section 4 and 5.

Pilots on the seeds 1000 to 1003, N = 1000 and 2 to 128 images per batch: with m = 0.9 accuracy is highest at B of about
5, 9, 18, 37 and 75 for ε of 0.02, 0.05, 0.1, 0.2 and 0.4, and with m = 0 and ε = 0.2 at about 6. So ε = 0.2 is the base
with which all peaks lie inside the grid. All nets of B* and larger batches classify all training images correctly. The
fit was chosen among 28 that differ in what is near and how far accuracies are followed down, for its spread under
resampled seeds, 0.06 in ln B*. With these the exponents were 0.96 to 1.08 for ε (but for two fits, with 1.25) and 0.78
to 0.91 for 1/(1 − m); with a parabola through accuracies as they are, within a factor of 8, it was 0.5.

Deviations: images of 28 × 28 pixels are averaged to 14 × 14 pixels, and the hidden layer has 50 units instead of 800,
so that thousands of nets can be trained in minutes (size paper: the source's net). The source does not say whether it
draws with replacement; then, the variance of a batch goes with N/B instead of N/B − 1, which differ by at most a third.
The source takes the batch size of highest accuracy and draws a line of slope 1 beside it.
"""

import dataclasses
import itertools
import sys

import keras
import numpy as np

from hw1 import command, datasets, models, question, statistics, training

RESAMPLED = 50  # resamples whose images are counted at once


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    train: int = question.option(4000, "images of which the first ones are training examples")
    test: int = question.option(6000, "test examples")
    pool: int = question.option(2, "side of the squares of pixels that are averaged; 1 keeps the images as they are")
    hidden: tuple[int, ...] = question.option((50,), "widths of the hidden layers", unique=False)
    learning_rates: tuple[float, ...] = question.option(
        (0.05, 0.1, 0.2, 0.4), "learning rates (chosen with the seeds 1000 to 1003)"
    )
    examples: tuple[int, ...] = question.option(
        (500, 1000, 2000, 4000), "numbers of training examples", at_most="train"
    )
    momenta: tuple[float, ...] = question.option((0.0, 0.5, 0.9), "momenta", minimum=0, maximum=0.999)
    base_learning_rate: float = question.option(
        0.2, "learning rate where another quantity is varied (chosen with the seeds 1000 to 1003)"
    )
    base_examples: int = question.option(
        1000, "training examples where another quantity is varied", minimum=8, at_most="train"
    )
    base_momentum: float = question.option(0.9, "momentum where another quantity is varied", minimum=0)
    smallest: int = question.option(2, "smallest batch size")
    share: float = question.option(0.25, "largest batch size, as a share of the training examples", maximum=1)
    ratio: float = question.option(2**0.5, "ratio of neighbouring batch sizes, at least 1.1", minimum=1.1)
    reach: float = question.option(
        2.0, "factor around the highest test accuracy within which batch sizes are fitted", minimum=1.1
    )
    depth: float = question.option(0.01, "test accuracies are part of the fit down to so much below the highest one")
    updates: int = question.option(3000, "optimizer steps of every net")
    resamples: int = question.option(400, "resamples of the bootstrap", minimum=20)
    small_batch: int = question.option(30, "batch size that is compared with the full batch", at_most="base_examples")
    looks: int = question.option(20, "evaluations of the nets that are compared")
    seeds: int = question.option(8, "independent repetitions (initial weights, batch order and split of the images)")


SIZES = {
    "smoke": {
        "train": 80,
        "test": 200,
        "hidden": (8,),
        "learning_rates": (0.05, 0.1),
        "examples": (40, 80),
        "momenta": (0.0, 0.5),
        "base_learning_rate": 0.1,
        "base_examples": 40,
        "base_momentum": 0.5,
        "ratio": 2.0,
        "updates": 30,
        "resamples": 20,
        "small_batch": 10,
        "looks": 3,
        "seeds": 2,
    },
    "report": {},
    "paper": {
        "data": "mnist",
        "train": 10000,
        "test": 10000,
        "pool": 1,
        "hidden": (800,),
        "examples": (500, 1000, 2000, 5000, 10000),
        "momenta": (0.0, 0.5, 0.8, 0.9, 0.95),
        "updates": 10000,
    },
}

COLUMNS = {
    "rows": [
        "examples",
        "varied",
        "value",
        "learning_rate",
        "momentum",
        "batch_size",
        "seed",
        "updates",
        *question.LOSSES_AND_ACCURACIES,
        "status",
    ],
    "optimum": ["examples", "varied", "value", "best_batch_size", "low", "high", "censored"],
    "resamples": ["examples", "varied", "value", "resample", "best_batch_size"],
    "gap": ["examples", "batch_size", "seed", "updates", *question.LOSSES_AND_ACCURACIES, "status"],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per number of training examples."""
    for base, several in (
        ("base_learning_rate", "learning_rates"),
        ("base_examples", "examples"),
        ("base_momentum", "momenta"),
    ):
        value, values = getattr(settings, base), getattr(settings, several)
        if value not in values:
            raise ValueError(f"--{base}={value}: must be one of --{several}={question.write(values)}")
    for count in settings.examples:
        if len(batch_sizes(settings, count)) < 3:
            raise ValueError(
                f"--examples={question.write(settings.examples)}: with {count} training examples there are fewer than "
                f"three batch sizes from --smallest={settings.smallest} to --share={settings.share:g} of them"
            )
    return [{"examples": count} for count in settings.examples]


def batch_sizes(settings: Settings, examples: int) -> list[int]:
    """The batch sizes in geometric progression, from the smallest to the largest share of the training examples."""
    steps = np.log(settings.share * examples / settings.smallest) / np.log(settings.ratio) + 1e-9
    sizes = settings.smallest * settings.ratio ** np.arange(max(0, int(steps) + 1))
    return list(dict.fromkeys(round(size) for size in sizes))


def cells(settings: Settings, examples: int) -> dict[tuple[float, float], list[tuple[str, float]]]:
    """What is trained with so many examples: (learning rate, momentum) → each (varied, value) that it belongs to."""
    rate, momentum, found = settings.base_learning_rate, settings.base_momentum, {}
    wanted = [((rate, momentum), ("examples", examples))]
    if examples == settings.base_examples:
        wanted += [((value, momentum), ("learning_rate", value)) for value in settings.learning_rates]
        wanted += [((rate, value), ("momentum", value)) for value in settings.momenta]
    for cell, name in wanted:
        found.setdefault(cell, []).append(name)
    return found


def run(settings: Settings, data, examples: int):
    """Yields a row per net, the optima, their resamples and, at the base, the nets of small and full batch."""
    data = datasets.average_pool(data, settings.pool)
    found, sizes = cells(settings, examples), batch_sizes(settings, examples)
    keys = list(itertools.product(found, sizes, settings.all_seeds))
    members = _train(
        settings,
        data,
        examples,
        batch_size=[size for _, size, _ in keys],
        learning_rate=[rate for (rate, _), *_ in keys],
        momentum=[momentum for (_, momentum), *_ in keys],
        seeds=[seed for *_, seed in keys],
        replacement=True,
        evaluate_updates=settings.updates,
        progress=f"{examples} examples",
    )
    for ((rate, momentum), size, _), member in zip(keys, members, strict=True):
        cell = {"learning_rate": rate, "momentum": momentum, "batch_size": size}
        for varied, value in found[rate, momentum]:
            yield {"varied": varied, "value": value, **cell, **member.row}
    shape = (len(found), len(sizes), settings.seeds)
    correct = np.reshape([_correct(member, data) for member in members], (*shape, data.test))
    lost = np.reshape([member.status == "diverged" for member in members], shape)
    tests = np.stack([data.rows(seed)[1] for seed in settings.all_seeds])
    plain, resampled = accuracies(correct, tests, len(data.y), settings.resamples)
    for cell, names in enumerate(found.values()):
        whole = ~lost[cell].any(axis=1)  # without a seed, a mean would be that of other seeds
        yield from _optimum(settings, np.array(sizes)[whole], plain[cell, whole], resampled[cell, whole], names)
    if examples == settings.base_examples:
        yield from _gap(settings, data)


def _train(settings, data, examples, **options):
    """Trains members by SGD for the updates of the settings, on the first training examples of their splits."""

    def build(seed):
        return models.mlp(settings.hidden, input_shape=data.shape, classes=data.classes, seed=seed)

    return training.train(
        build,
        data,
        examples=[examples] * len(options["seeds"]),
        updates=settings.updates,
        optimizer=keras.optimizers.SGD,
        **options,
    )


def _gap(settings, data):
    """Yields evaluations of nets with the small batch, drawn with replacement, and with all examples in each update."""
    seeds = list(settings.all_seeds)
    for size, replacement in ((settings.small_batch, True), (settings.base_examples, False)):
        members = _train(
            settings,
            data,
            settings.base_examples,
            batch_size=size,
            learning_rate=settings.base_learning_rate,
            momentum=settings.base_momentum,
            seeds=seeds,
            replacement=replacement,
            evaluate_updates=max(1, settings.updates // settings.looks),
            progress=f"batch size {size}",
        )
        for member in members:
            for step, values in zip(member.evaluated, member.curve, strict=True):
                kept = {name: value for name, value in values.items() if name != "epoch"}
                status = {"status": member.status}
                yield {"table": "gap", "batch_size": size, "seed": member.seed, "updates": step} | kept | status


def _correct(member, data) -> np.ndarray:
    """Whether the net classifies each test image of its split correctly, shape [test]; never, if it diverged."""
    if member.status == "diverged":
        return np.zeros(data.test, bool)
    rows = data.rows(member.seed)[1]
    return np.argmax(member.model(data.x[rows], training=False), axis=1) == data.y[rows]


def accuracies(correct, tests, images: int, resamples: int) -> tuple[np.ndarray, np.ndarray]:
    """Test accuracies averaged over seeds, as they are and of resampled seeds and test images.

    Each resample draws as many seeds as there are and as many images as there are, with replacement, the same ones for
    all nets and in every call with the same numbers. An image is in the test sets of several seeds, so it is drawn for
    all of them.

    Args:
        correct: bool, shape [..., seeds, test].
        tests: the images in the test set of each seed, integers below `images`, shape [seeds, test].
        images: number of all images.
        resamples: R.

    Returns:
        Arrays of shapes [...] and [..., R].
    """
    seeds = len(tests)
    shape = correct.shape[:-2]
    flat = np.moveaxis(correct.reshape(-1, *correct.shape[-2:]), 1, 0).astype(np.float32)  # seed, net, image
    found = np.empty((flat.shape[1], resamples))
    rng = np.random.default_rng([seeds, images])
    for begin in range(0, resamples, RESAMPLED):
        end = min(begin + RESAMPLED, resamples)
        drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLED)[: end - begin].T / seeds
        counts = rng.multinomial(images, np.full(images, 1 / images), RESAMPLED)[: end - begin].T.astype(np.float32)
        of_seeds = np.stack(
            [part @ counts[rows] / counts[rows].sum(axis=0) for part, rows in zip(flat, tests, strict=True)]
        )
        found[:, begin:end] = np.einsum("snr,sr->nr", of_seeds, drawn)
    return flat.mean(axis=(0, 2), dtype=np.float64).reshape(shape), found.reshape(*shape, resamples)


def vertex(sizes, accuracies, reach: float, depth: float = np.inf) -> tuple[float, bool]:
    """The batch size of the highest accuracy, by a parabola in ln B through the accuracies near it.

    Accuracies are first raised to at least the highest one less `depth`. The parabola is fitted to the sizes within the
    factor `reach` of the one of highest accuracy, and its vertex taken within this factor. A curve that is the same but
    shifted along ln B, on a grid that is shifted with it, has a vertex shifted by as much, whatever its shape.

    Args:
        sizes: batch sizes B, ascending, shape [n].
        accuracies: shape [n].
        reach: a factor. At least three sizes are always part of the fit.
        depth: a difference of accuracies.

    Returns:
        The vertex, and whether it is censored: it is at or beyond an end of the sizes, and set to that end. If the
        parabola opens upwards, it is the size of highest accuracy. NaN and true with fewer than three sizes.
    """
    if len(sizes) < 3:
        return np.nan, True
    logs, accuracies = np.log(sizes), np.maximum(accuracies, np.max(accuracies) - depth)
    highest = logs[np.argmax(accuracies)]
    distances = abs(logs - highest)
    near = distances <= max(np.log(reach) + 1e-9, np.sort(distances)[2])
    curvature, slope, _ = np.polyfit(logs[near] - highest, accuracies[near], 2)
    moved = -slope / (2 * curvature) if curvature < 0 else 0.0
    place = highest + np.clip(moved, -np.log(reach), np.log(reach))
    is_censored = not logs[0] < place < logs[-1]
    return float(np.exp(np.clip(place, logs[0], logs[-1]))), is_censored


def _optimum(settings, sizes, plain, resampled, names):
    """Yields the best batch size of a cell and that of each resample, for each quantity that the cell is a value of."""
    best, censored = vertex(sizes, plain, settings.reach, settings.depth)
    logs = np.log([vertex(sizes, one, settings.reach, settings.depth)[0] for one in resampled.T])
    found = statistics.bootstrap(np.log(best), logs, settings.seeds)
    ends = dict(zip(("low", "high"), np.exp(found[1:3]), strict=True))
    if len(sizes):  # what few seeds add to the interval may lie beyond the sizes
        ends = {end: np.clip(value, sizes[0], sizes[-1]) for end, value in ends.items()}
    for varied, value in names:
        cell = {"varied": varied, "value": value}
        yield {"table": "optimum", **cell, "best_batch_size": best, **ends, "censored": int(censored)}
        for number, log in enumerate(logs):
            yield {"table": "resamples", **cell, "resample": number, "best_batch_size": np.exp(log)}


if __name__ == "__main__":
    command.main(sys.modules[__name__])
