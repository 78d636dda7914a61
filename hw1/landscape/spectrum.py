"""What does the spectrum of the Hessian look like, and how does it change with the batch size?

    python -m hw1.landscape.spectrum
    python -m hw1.landscape.spectrum --size=smoke    seconds

The net 784-30-20-10 is trained with six batch sizes to one training loss, on two data sets. H is the full Hessian,
accessed through Hessian-vector products, of the mean loss over all examples of a set:

- λ₁, the eigenvalue of largest magnitude, for the training and for the test loss, by the Lanczos method.

On the first data set, these are also measured at the smallest and the largest batch size and at 100, for the mean loss
over the first 1,000 training examples:

- The 20 largest eigenvalues. *Outliers* are the eigenvalues above the last gap λᵢ − λᵢ₊₁ that is wider than 1 % of λ₁.
  These are the eigenvalues that stand apart from the bulk in a histogram with a hundred bins. A second rule counts the
  eigenvalues above the largest ratio λᵢ / λᵢ₊₁. Nets for fewer classes (the first C digits, batch size 100) show
  whether the number of outliers follows the number of classes.
- The trace by Hutch++, with its standard error, and the most negative eigenvalue, approximated from above by 50 steps
  of the plain Lanczos method.
- For the smallest and the largest batch size: the spectral density by stochastic Lanczos quadrature with these steps
  (nodes λ, and their weights, the fraction of all eigenvalues that each node represents), and the five largest
  eigenvalues of each layer's block.
- For these two batch sizes, also a small net (49-10-10, 610 parameters, images averaged to 7 × 7): all eigenvalues, and
  the curvature ∂²L/∂θᵢ² along each parameter axis. Both are computed from the full matrix and sorted.

The learning rate was chosen for each of eight batch sizes by the test losses of the seeds 1000 to 1002, as the largest
of 0.0003, 0.001, 0.003 and 0.01 that is not measurably worse than a smaller one on the two data sets together. It is
0.001 for all of them. With 0.003 the smallest batches lose most: on MNIST, batches of 10 end at a test loss of 0.295
instead of 0.265. The small net is trained with 0.003.

Source: Yao et al., arXiv 1802.08241 (λ₁ against the batch size); Sagun et al., arXiv 1611.07476 and 1706.04454 (bulk
and outliers); Gur-Ari et al., arXiv 1812.04754 (as many outliers as classes); Ghorbani et al., arXiv 1901.10159
(density). That nets of larger λ₁ generalise worse is our hypothesis, not a claim of Yao et al.

Deviations: a smaller net and smaller sets than those of Yao et al. Batch sizes are compared at one training loss, not
after the same number of epochs. The small net is trained to a higher loss, because it cannot reach that of the large
net. Sagun et al. identify outliers by eye.
"""

import dataclasses
import sys

import numpy as np

from hw1 import command, datasets, models, question, recipe, statistics
from hw1.measures import hessian


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    data: tuple[str, ...] = question.option(("mnist10k", "fashion10k"), "data sets: names of hw1.datasets or paths")
    hidden: tuple[int, ...] = question.option(models.COURSE_HIDDEN, "widths of the hidden layers", unique=False)
    batch_sizes: tuple[int, ...] = question.option(
        (10, 30, 100, 300, 1000, 5000), "batch sizes to compare", at_most="train"
    )
    target_losses: tuple[float, ...] = question.option(
        (0.05, 0.2),
        "training losses in nats to which every net is trained, one for each data set or one for all",
        unique=False,
        one_for="data",
    )
    updates: int = question.option(20000, "maximum number of optimizer steps")
    learning_rate: float = question.option(1e-3, "step size of Adam (chosen with the seeds 1000 to 1002)")
    examples: int = question.option(
        1000, "training examples on which everything except λ₁ is computed", at_most="train"
    )
    top: int = question.option(20, "number of largest eigenvalues to compute (twice the number of classes)", minimum=2)
    resolution: float = question.option(
        0.01, "smallest gap below an outlier as a fraction of λ₁ (as the width of the density's kernel)"
    )
    tolerance: float = question.option(
        0.01, "relative residual at which the search for λ₁ on all examples stops (its error is about the square)"
    )
    probes: int = question.option(30, "Hessian-vector products to estimate the trace", minimum=6)
    steps: int = question.option(50, "Lanczos steps for the density and the smallest eigenvalue")
    layer_top: int = question.option(5, "number of largest eigenvalues of each layer's block")
    class_counts: tuple[int, ...] = question.option(
        (2, 5), "numbers of classes of the nets for fewer classes", minimum=2
    )
    class_batch_size: int = question.option(100, "batch size of the nets for fewer classes, one of batch_sizes")
    pool: int = question.option(4, "side of the squares of pixels that are averaged for the small net")
    small_hidden: tuple[int, ...] = question.option((10,), "widths of the hidden layers of the small net", unique=False)
    small_learning_rate: float = question.option(3e-3, "step size of Adam of the small net")
    small_target_loss: float = question.option(0.4, "training loss in nats to which the small net is trained")
    seeds: int = question.option(8, "independent repetitions (initial weights, batch order and split of the images)")


SIZES = {
    "smoke": {
        "train": 200,
        "test": 200,
        "hidden": (16,),
        "batch_sizes": (20, 100),
        "learning_rate": 3e-3,
        "target_losses": (0.3, 0.5),
        "updates": 300,
        "examples": 200,
        "top": 12,
        "probes": 6,
        "steps": 10,
        "layer_top": 2,
        "class_counts": (3,),
        "class_batch_size": 20,
        "pool": 7,
        "small_hidden": (2,),
        "small_target_loss": 1.5,
        "seeds": 2,
    },
    "report": {},
    "paper": {
        "data": ("mnist", "fashion_mnist"),
        "train": 60000,
        "test": 10000,
        "updates": 200000,
        "examples": 60000,
        "probes": 90,
    },
}

BY_SEED = True
COLUMNS = {
    "rows": [
        "data",
        "batch_size",
        "seed",
        "updates",
        *question.LOSSES_AND_ACCURACIES,
        "train_largest",
        "test_largest",
        "status",
    ],
    "nets": ["data", "batch_size", "seed", "smallest", "trace", "trace_error", "outliers", "largest_ratio"],
    "eigenvalues": ["data", "batch_size", "classes", "seed", "rank", "eigenvalue"],
    "density": ["data", "batch_size", "seed", "node", "weight"],
    "layers": ["data", "batch_size", "seed", "layer", "rank", "eigenvalue"],
    "dimensions": ["data", "batch_size", "seed", "rank", "eigenvalue", "curvature"],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per data set and batch size."""
    if len(settings.target_losses) not in (1, len(settings.data)):
        raise ValueError(
            f"--target_losses={question.write(settings.target_losses)}: must be one number, or one for each of "
            f"--data={question.write(settings.data)}"
        )
    if settings.class_batch_size not in settings.batch_sizes:
        raise ValueError(f"--class_batch_size={settings.class_batch_size}: must be one of {settings.batch_sizes}")
    return [{"data": data, "batch_size": size} for data in _labels(settings) for size in settings.batch_sizes]


def suited(settings: Settings, sets: dict) -> dict:
    """Values for the number of classes of the first data set, of settings whose defaults are made for ten."""
    classes = sets[_labels(settings)[0]].classes
    found = {}
    if settings.top <= classes:
        found["top"] = 2 * classes, f"it must be above {classes}, the number of classes and expected outliers"
    if max(settings.class_counts) >= classes > 2:
        fewer = tuple(count for count in settings.class_counts if count < classes) or (2,)
        found["class_counts"] = fewer, f"numbers of fewer classes must be below {classes}, the number of all"
    return found


def run(settings: Settings, sets: dict, data: str, batch_size: int):
    """Yields a row per seed, and the rows of the other tables."""
    images, place = sets[data], _labels(settings).index(data)
    first, target = place == 0, settings.target_losses[place if len(settings.target_losses) > 1 else 0]
    if first:
        _check(settings, images)
    extreme = first and batch_size in (min(settings.batch_sizes), max(settings.batch_sizes))
    for member in _train(settings, images, settings.hidden, batch_size, target):
        if member.status == "diverged":
            yield member.row
            continue
        own = member.data
        (on_train,), (on_test,) = (
            hessian.eigenvalues(member.model, x, y, tolerance=settings.tolerance)
            for x, y in ((own.x_train, own.y_train), (own.x_test, own.y_test))
        )
        yield member.row | {"train_largest": on_train, "test_largest": on_test}
        if extreme or (first and batch_size == settings.class_batch_size):
            yield from _whole(settings, member, extreme)
    if first and batch_size == settings.class_batch_size:
        for classes in (count for count in settings.class_counts if count < images.classes):
            few = datasets.first_classes(images, classes)
            for member in _measurable(_train(settings, few, settings.hidden, batch_size, target)):
                values = hessian.eigenvalues(*_measured(settings, member), settings.top, "LA")
                yield from _eigenvalues(values, member.seed, classes)
    if extreme:
        yield from _dimensions(settings, datasets.average_pool(images, settings.pool), batch_size)


def _labels(settings):
    return [question.label(data) for data in settings.data]


def _check(settings, images):
    """Raises ValueError for settings that do not fit the first data set, before anything is trained."""
    if settings.top <= images.classes:
        raise ValueError(
            f"--top={settings.top}: must be above {images.classes}, the number of classes and expected outliers"
        )
    if max(settings.class_counts) >= images.classes > 2:  # of two classes there are no fewer
        raise ValueError(
            f"--class_counts={settings.class_counts}: must be below {images.classes}, the number of all classes"
        )
    datasets.first_classes(images, min(settings.class_counts))
    datasets.average_pool(images, settings.pool)


def _measured(settings, member):
    """The net and the examples on which everything except λ₁ is computed."""
    return member.model, member.data.x_train[: settings.examples], member.data.y_train[: settings.examples]


def _whole(settings, member, extreme):
    """Yields trace, outliers and extreme eigenvalues of a net, and for an extreme batch size density and layers."""
    model, x, y = _measured(settings, member)
    density = hessian.density(model, x, y, steps=settings.steps, probes=1, seed=member.seed)
    values = hessian.eigenvalues(model, x, y, settings.top, "LA")
    trace = hessian.trace(model, x, y, probes=settings.probes)
    yield {
        "table": "nets",
        "seed": member.seed,
        "smallest": density.nodes.min(),
        "trace": trace,
        "trace_error": trace.standard_error,
        "outliers": statistics.outliers(values, settings.resolution),
        "largest_ratio": statistics.largest_ratio(values),
    }
    yield from _eigenvalues(values, member.seed, member.data.classes)
    if extreme:
        yield from _parts(settings, x, y, member, density)


def _eigenvalues(values, seed, classes):
    """Yields the rows of the table "eigenvalues" for one net."""
    for rank, value in enumerate(values, start=1):
        yield {"table": "eigenvalues", "classes": classes, "seed": seed, "rank": rank, "eigenvalue": value}


def _parts(settings, x, y, member, density):
    """Yields the nodes of the density and the eigenvalues of the layers of a net."""
    for node, weight in zip(density.nodes[0], density.weights[0], strict=True):
        yield {"table": "density", "seed": member.seed, "node": node, "weight": weight}
    found = hessian.layer_eigenvalues(member.model, x, y, settings.layer_top, "LA")
    for layer, values in found.items():
        for rank, value in enumerate(values, start=1):
            name = layer.rpartition("/")[2]
            yield {"table": "layers", "seed": member.seed, "layer": name, "rank": rank, "eigenvalue": value}


def _dimensions(settings, images, batch_size):
    """Yields all eigenvalues of the small nets, and the curvatures along their parameter axes."""
    settings = dataclasses.replace(settings, learning_rate=settings.small_learning_rate)
    members = _train(settings, images, settings.small_hidden, batch_size, settings.small_target_loss)
    for member in _measurable(members):
        matrix = hessian.dense(member.model, member.data.x_train, member.data.y_train)
        spectra = zip(np.linalg.eigvalsh(matrix)[::-1], np.sort(np.diag(matrix))[::-1], strict=True)
        for rank, (value, curvature) in enumerate(spectra, start=1):
            row = {"table": "dimensions", "seed": member.seed, "rank": rank}
            yield row | {"eigenvalue": value, "curvature": curvature}


def _train(settings, images, hidden, batch_size, target_loss):
    settings = dataclasses.replace(settings, hidden=hidden)
    return recipe.train(settings, images, min(batch_size, images.train), target_loss=target_loss)


def _measurable(members):
    return [member for member in members if member.status != "diverged"]


if __name__ == "__main__":
    command.main(sys.modules[__name__])
