"""Can the training set always be memorised, and what happens to the loss once it has been?

    python -m hw1.dynamics.memorization
    python -m hw1.dynamics.memorization --size=smoke    seconds

Two parts, for each data set.

*Duplicates.* A net computes a function of its input, so identical inputs with different labels cannot all be classified
rightly. Identical images are found by a hash of their bytes. If the images of a group get the commonest label of the
group, the accuracy is as high as it can be: the ceiling. Near duplicates are images that are connected by steps of a
root mean square difference of at most `near` per pixel. Their ceiling is that of a function that cannot tell them
apart. Counted in the training set, in the test set and in both together, of the whole data set whatever --train is.
Column `nearest` is the median distance to the nearest other image, `neighbour_error` the share of images whose nearest
neighbour has another label, and `least_distance` the least distance of two images with different labels: as long as it
is above 0, the set can be memorised. No random number enters this part.

*Beyond zero training error.* A net without biases is trained by SGD at a constant rate until its training accuracy is
1, and for many times as long again. It is measured at multiples of the epoch at which the accuracy first was 1, for
three losses of the outputs f:

- nll, the negative log-likelihood: ℓ = log Σ_k exp f_k − f_y;
- squared, the squared error: ℓ = ½ Σ_k (f_k − [k = y])²;
- hinge, the multi-class hinge loss of Crammer and Singer: ℓ = max(0, 1 + max_{k≠y} f_k − f_y).

Columns: losses (each net's own loss) and accuracies, the norm ‖θ‖₂ of all weights, the margin min_i (f_y − max_{k≠y}
f_k) over the training set, the normalised margin, which is the margin / ‖θ‖₂^L for L layers (a net without biases is
homogeneous of degree L), and λ₁, the largest eigenvalue of the Hessian of the training loss. The row of a net that
never came to training accuracy 1 is that of its end, with the multiple 0 and the status "target not reached".

Source: Sagun's talk (is the training set always memorisable? CIFAR-100 has 9 identical inputs with different labels;
what happens to the loss at training accuracy 1?); Soudry et al., arXiv 1710.10345 (the loss of separable data falls as
1/t, the norm grows without bound); Lyu and Li, arXiv 1906.05890 (homogeneous nets: the normalised margin grows).

Deviations: the sources on losses beyond zero error treat full-batch descent; here it is SGD with momentum 0.9. Three
hundred training images, averaged over squares of 2 × 2 pixels, so that all nets come to accuracy 1 early; the mean of
all images is subtracted, without which the squared error takes several times as long. Learning rates, one for each
loss, were chosen on the seeds 1000 and 1001: of 0.03 and 0.1 for the squared error and the hinge loss the smaller one,
as at 0.1 some nets did not come to accuracy 1; for nll all of 0.02 to 0.1 did.
"""

import dataclasses
import hashlib
import sys

import keras
import numpy as np
import scipy.sparse.csgraph

from hw1 import command, datasets, models, question, training
from hw1.evaluation.losses import half_squared_error, hinge
from hw1.measures import hessian

LOSSES = ("nll", "squared", "hinge")
AT_ONCE = 2000  # images whose distances to all others are in memory at once
ROUNDING = 1e-4  # of squared distances in float32; what is nearer than this to the bound is computed anew in float64


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    data: tuple[str, ...] = question.option(("mnist10k", "fashion10k"), "data sets: names of hw1.datasets or paths")
    train: int = question.option(300, "training examples of the nets")
    test: int = question.option(1000, "test examples of the nets")
    near: float = question.option(
        0.05, "largest distance of near duplicates, root mean square per pixel (our choice: 13 of 255 grey levels)"
    )
    pool: int = question.option(2, "side of the squares of pixels that are averaged for the nets; 1 for none")
    losses: tuple[str, ...] = question.option(LOSSES, "losses to train with", choices=LOSSES)
    hidden: tuple[int, ...] = question.option((100,), "widths of the hidden layers", unique=False)
    batch_size: int = question.option(50, "examples per step", at_most="train")
    epochs: int = question.option(1000, "passes over the training set")
    every: int = question.option(5, "passes between evaluations", at_most="epochs")
    learning_rates: tuple[float, ...] = question.option(
        (0.05, 0.03, 0.03), "step sizes of SGD, one for each loss (chosen with the seeds 1000 and 1001)", unique=False
    )
    momentum: float = question.option(0.9, "momentum of SGD", minimum=0, maximum=0.999)
    multiples: tuple[int, ...] = question.option(
        (1, 2, 4, 8), "when to measure, as multiples of the epoch at which training accuracy first was 1"
    )
    seeds: int = question.option(10, "independent repetitions (initial weights, batch order and split of the images)")


SIZES = {
    "smoke": {
        "data": ("fashion10k",),
        "train": 60,
        "test": 200,
        "hidden": (30,),
        "pool": 4,
        "batch_size": 20,
        "learning_rates": (0.05, 0.1, 0.05),
        "epochs": 400,
        "every": 5,
        "multiples": (1, 2, 4),
        "seeds": 2,
    },
    "report": {},
    "paper": {
        "data": ("mnist", "fashion_mnist", "cifar10", "cifar100"),
        "train": 5000,
        "test": 10000,
        "hidden": (256, 256),
        "pool": 1,
        "epochs": 5000,
        "every": 10,
        "multiples": (1, 2, 4, 8, 16, 32),
    },
}

COLUMNS = {
    "rows": [
        "data",
        "loss",
        "seed",
        "multiple",
        "epoch",
        *question.LOSSES_AND_ACCURACIES,
        "norm",
        "margin",
        "normalised_margin",
        "largest_eigenvalue",
        "status",
    ],
    "duplicates": [
        "data",
        "part",
        "images",
        "duplicates",
        "conflicts",
        "ceiling",
        "near_duplicates",
        "near_conflicts",
        "near_ceiling",
        "nearest",
        "neighbour_error",
        "least_distance",
    ],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per data set."""
    if len(settings.learning_rates) != len(settings.losses):
        raise ValueError(
            f"--learning_rates={question.write(settings.learning_rates)}: must be one for each of --losses="
            f"{question.write(settings.losses)}"
        )
    if settings.multiples[0] != 1 or list(settings.multiples) != sorted(settings.multiples):
        raise ValueError(f"--multiples={question.write(settings.multiples)}: must begin at 1 and ascend")
    return [{"data": question.label(name)} for name in settings.data]


def run(settings: Settings, splits, data: str):
    """Yields a row per loss, seed and multiple, and the rows of the table of duplicates."""
    images = datasets.average_pool(splits[data], settings.pool)
    images = dataclasses.replace(images, x=images.x - images.x.mean(axis=0))
    whole = datasets.load(splits[data].name, pixels=settings.pixels)
    yield from ({"table": "duplicates", **row} for row in duplicates(whole, settings.near))
    for loss, rate in zip(settings.losses, settings.learning_rates, strict=True):
        for member in _train(settings, images, loss, rate):
            for row in _beyond(settings, loss, member):
                yield {"loss": loss, "seed": member.seed, **row}


def duplicates(data: datasets.Dataset, near: float):
    """Yields a row of the table "duplicates" for the training set, the test set and both together."""
    both = [np.concatenate([getattr(data, f"{name}_{part}") for part in ("train", "test")]) for name in "xy"]
    for part, x, y in (
        ("train", data.x_train, data.y_train),
        ("test", data.x_test, data.y_test),
        ("all", *both),
    ):
        surroundings = neighbours(x, y, near)
        identical, alike = count(identical_groups(x), y), count(surroundings.pop("groups"), y)
        yield {
            "part": part,
            "images": len(y),
            **identical,
            **{f"near_{name}": value for name, value in alike.items()},
            **surroundings,
        }


def identical_groups(x: np.ndarray) -> np.ndarray:
    """A number for each image, equal for images of identical pixels; int [n], from 0.

    Args:
        x: images, shape [n, ...]. −0 counts as 0.
    """
    hashes = [hashlib.sha256(image.tobytes()).digest() for image in np.ascontiguousarray(x) + x.dtype.type(0)]
    return np.unique(np.array(hashes), return_inverse=True)[1]


def count(groups: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """How many images a function that is constant on each group must classify wrongly.

    Args:
        groups: number of each image's group, int [n].
        y: labels, int [n].

    Returns:
        `duplicates`, the images beyond the first of each group; `conflicts`, the groups with more than one label; and
        `ceiling`, the largest possible accuracy: the share of images that have the commonest label of their group.
    """
    _, groups = np.unique(groups, return_inverse=True)
    pairs, numbers = np.unique(np.stack([groups, y]), axis=1, return_counts=True)
    commonest = np.zeros(groups.max() + 1, int)
    np.maximum.at(commonest, pairs[0], numbers)
    return {
        "duplicates": len(y) - len(commonest),
        "conflicts": int((np.bincount(pairs[0]) > 1).sum()),
        "ceiling": float(commonest.sum() / len(y)),
    }


def neighbours(x: np.ndarray, y: np.ndarray, near: float) -> dict:
    """Distances between images, as root mean square differences of their pixels.

    Args:
        x: images, shape [n, ...].
        y: labels, shape [n].
        near: largest distance of two images that are linked.

    Returns:
        `groups`, a number for each image, equal for images that a chain of links connects; `nearest`, the median
        distance to the nearest other image; `neighbour_error`, the share of images whose nearest neighbour has another
        label; `least_distance`, the least distance of two images with different labels, NaN if all labels are equal.
    """
    flat = x.reshape(len(x), -1).astype(np.float32)
    pixels, norms = flat.shape[1], np.square(flat, dtype=np.float64).sum(axis=1)
    centred = flat - flat.mean(axis=0)  # differences stay, and rounding of the products becomes smaller
    squares = np.square(centred).sum(axis=1)
    bound = pixels * near**2

    def distances(first, second):
        """Exact distances of pairs of images."""
        parts = np.array_split(np.stack([first, second]), -(-len(first) // AT_ONCE) or 1, axis=1)
        return np.sqrt(np.concatenate([np.square(flat[a].astype(np.float64) - flat[b]).mean(axis=1) for a, b in parts]))

    nearest, other, links = np.empty(len(x), int), np.full(len(x), -1), []
    for begin in range(0, len(x), AT_ONCE):
        rows = np.arange(begin, min(begin + AT_ONCE, len(x)))
        table = squares[rows, None] + squares - 2 * (centred[rows] @ centred.T)
        table[np.arange(len(rows)), rows] = np.inf
        nearest[rows] = table.argmin(axis=1)
        first, second = np.nonzero(table <= bound + ROUNDING * (1 + norms.max()))
        links.append(np.stack([rows[first], second]))
        table[y[rows, None] == y] = np.inf
        other[rows] = np.where(np.isfinite(table.min(axis=1)), table.argmin(axis=1), -1)
    first, second = np.concatenate(links, axis=1)
    kept = distances(first, second) <= near
    graph = scipy.sparse.coo_matrix((np.ones(kept.sum()), (first[kept], second[kept])), (len(x), len(x)))
    between = np.flatnonzero(other >= 0)
    return {
        "groups": scipy.sparse.csgraph.connected_components(graph, directed=False)[1],
        "nearest": float(np.median(distances(np.arange(len(x)), nearest))),
        "neighbour_error": float((y[nearest] != y).mean()),
        "least_distance": float(distances(between, other[between]).min()) if len(between) else np.nan,
    }


def _train(settings, data, loss, rate):
    """One net per seed, with its weights at every evaluation."""
    return training.train(
        lambda seed: models.mlp(
            settings.hidden, use_bias=False, input_shape=data.shape, classes=data.classes, seed=seed
        ),
        data,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        evaluate_every=settings.every,
        optimizer=lambda: keras.optimizers.SGD(rate, momentum=settings.momentum),
        seeds=settings.all_seeds,
        loss=_function(loss),
        record=["weights"],
        progress=f"{data.name}, {loss}",
    )


def _beyond(settings, loss, member):
    """Yields what is measured of one net, at each multiple of the epoch at which its training accuracy first was 1."""
    if member.lost:
        yield {"multiple": 0, "status": "diverged"}
        return
    data, epochs = member.data, member.history["epoch"]
    fitted = np.flatnonzero(member.history["train_accuracy"] == 1)
    places, status = {0: len(epochs) - 1}, "target not reached"
    if len(fitted):
        wanted, status = {multiple: multiple * epochs[fitted[0]] for multiple in settings.multiples}, "ok"
        places = {
            multiple: int(abs(epochs - epoch).argmin()) for multiple, epoch in wanted.items() if epoch <= epochs[-1]
        }
    for multiple, place in places.items():
        model = models.with_parameters(member.model, member.weights[place])
        norm = float(np.linalg.norm(member.weights[place]))
        margin = float(margins(model(data.x_train).numpy(), data.y_train).min())
        (largest,) = hessian.eigenvalues(model, data.x_train, data.y_train, 1, "LA", _function(loss))
        yield {
            "multiple": multiple,
            **{name: values[place] for name, values in member.history.items()},
            "norm": norm,
            "margin": margin,
            "normalised_margin": margin / norm ** len(model.weights),
            "largest_eigenvalue": largest,
            "status": status,
        }


def margins(outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
    """By how much the output of the right class exceeds the largest other one, shape [n].

    Args:
        outputs: shape [n, classes].
        y: labels, shape [n].
    """
    own = np.arange(outputs.shape[1]) == y[:, None]
    return outputs[own] - np.where(own, -np.inf, outputs).max(axis=1)


def _function(loss):
    """The function (y, outputs) → [n] of a loss; None for the nll, the default of training and measures."""
    return {"nll": None, "squared": half_squared_error, "hinge": hinge}[loss]


if __name__ == "__main__":
    command.main(sys.modules[__name__])
