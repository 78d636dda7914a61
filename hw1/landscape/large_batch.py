"""Do large batches lead to sharp minima, and do these generalise worse?

    python -m hw1.landscape.large_batch
    python -m hw1.landscape.large_batch --size=smoke    seconds

Three nets (dense with batch normalisation, dense without, convolutional with) are trained with a small batch (SB) and a
large batch (LB) from the same initial weights to the same training loss. At both solutions the sharpness is measured on
the whole training set,

    φ(ε, A) = 100 · (max_{z ∈ C} f(θ + Az) − f(θ)) / (1 + f(θ)),  C = {z : |z_i| ≤ ε (|(A⁺θ)_i| + 1)},

in the full space (A = I) and in a random subspace of 100 dimensions (the source: random manifold), each with two values
of ε (`hw1.measures.sharpness`). SB and LB of one seed share A. Column "distance" has ‖θ − θ₀‖, θ₀ the initial weights.
Table "line" has f at θ_α = (1 − α) θ_SB + α θ_LB, table "convergence" the learning curve of each training. The plain
dense net is trained with more batch sizes, for φ against batch size.

Source: Keskar et al., arXiv 1609.04836: tables 2 to 4, figures 2, 3 and 4, section 3 (distance from the start).

Deviations: 5,000 training images instead of 60,000, so the small batch is 25 instead of 256; the large batch is still
10 % of the data and about 20 times the small one. The nets are narrower (30 units a layer instead of 512), and the
convolutional net is our own and takes images averaged to 14 × 14. All nets are trained to one training loss, so that
the net with the large batch is not merely undertrained. The step size of Adam, which the source does not state, is
chosen for each net and batch size: of 3e-4, 1e-3, 3e-3 and 1e-2 the one with the highest mean test accuracy of the
pilot seeds 1000 and 1001, which are used for nothing else. It is 3e-3 (or within 0.001 of the best) for both batch
sizes of all nets, and 1e-2 for the normalised net with the large batch. The further batch sizes of the plain net have
3e-3 as well; with 2,500, accuracy was higher by 0.002 at 1e-3. φ falls with the step size, so at 1e-3, the usual step
size, it is larger, most of all with the large batch. The moving averages of batch normalisation have momentum 0.9
instead of 0.99, because the large batch takes few steps; f uses the moving averages. A has independent N(0, 1) entries,
which the source does not specify: a corner of the subspace's box is farther from θ than a corner of the box in the full
space, so φ is larger in the subspace, not smaller as in the source. L-BFGS-B starts once, halfway to the corner that
the signs of the gradient point to: a second start, towards a random corner, raised φ in the full space for 8 of 34
pilot nets, by 4 % at most. In the subspace it raised 3 of 6 by up to 18 %, and eight starts one of them by 81 %: there
φ is a weaker bound.
"""

import dataclasses
import sys

import keras
import numpy as np

from hw1 import command, datasets, models, nets, question, recipe
from hw1.measures.interpolation import rows
from hw1.measures.sharpness import keskar_sharpness

NETS = ("normalised", "plain", "convolutional")
LOOK_EVERY = 20  # steps between evaluations, which cost as much as the steps of the nets that are trained one by one
LOOK_EXAMPLES = 5000  # at least


@dataclasses.dataclass(frozen=True)
class Settings(question.OneLoss):
    """Settings of the question; each field is a flag."""

    nets: tuple[str, ...] = question.option(NETS, "nets to train", choices=NETS)
    hidden: tuple[int, ...] = question.option((30,) * 5, "widths of the dense nets' hidden layers", unique=False)
    filters: int = question.option(
        6, "filters of the convolutional net, of size 5 × 5 and before a dense layer of 32 units"
    )
    pool: int = question.option(
        2, "side of the squares of pixels that are averaged for the convolutional net; 1 keeps the images as they are"
    )
    batch_sizes: tuple[int, ...] = question.option(
        (25, 500), "small and large batch size", at_most="train", ascending=True
    )
    sweep: tuple[int, ...] = question.option(
        (50, 100, 1000, 2500), "further batch sizes of the plain net", at_most="train"
    )
    target_loss: float = question.option(0.02, "training loss in nats to which every net is trained")
    seeds: int = question.option(10, "independent repetitions (initial weights, batch order and, of images, the split)")
    learning_rate: float = question.option(3e-3, "step size of Adam (the best of pilot seeds)")
    normalised_rate: float = question.option(1e-2, "step size of Adam of the normalised net with the large batch")
    epsilons: tuple[float, ...] = question.option((1e-3, 5e-4), "sizes ε of the box, as in the source")
    manifold: int = question.option(100, "dimension of the random subspace, as in the source")
    iterations: int = question.option(10, "iterations of L-BFGS-B from each start, as in the source")
    starts: int = question.option(
        1, "starts of L-BFGS-B, the first along the signs of the gradient and others towards random corners"
    )
    inner: int = question.option(9, "number of values of α between the two solutions", minimum=1)
    outer: int = question.option(2, "number of values of α beyond each solution, up to −1 and 2")


SIZES = {
    "smoke": {
        "train": 200,
        "test": 200,
        "hidden": (16, 16),
        "filters": 2,
        "batch_sizes": (10, 100),
        "sweep": (50,),
        "target_loss": 0.3,
        "updates": 300,
        "manifold": 5,
        "iterations": 3,
        "inner": 1,
        "seeds": 2,
    },
    "report": {},
    "paper": {
        "data": "mnist",
        "train": 60000,
        "test": 10000,
        "hidden": (512,) * 5,
        "filters": 16,
        "learning_rate": 1e-3,
        "normalised_rate": 1e-3,
        "pool": 1,
        "batch_sizes": (256, 6000),
        "sweep": (64, 128, 512, 1000, 2000, 15000),
        "updates": 200000,
        "inner": 19,
        "outer": 20,
    },
}

BY_SEED = True
COLUMNS = {
    "rows": [
        "net",
        "batch_size",
        "seed",
        "updates",
        *question.LOSSES_AND_ACCURACIES,
        "distance",
        "space",
        "epsilon",
        "value",
        "loss",
        "largest",
        "iterations",
        "message",
        "status",
    ],
    "line": ["net", "seed", "alpha", *question.LOSSES_AND_ACCURACIES],
    "convergence": ["net", "batch_size", "seed", "epoch", *question.LOSSES_AND_ACCURACIES],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per net."""
    if len(settings.batch_sizes) != 2 or settings.batch_sizes[0] > settings.batch_sizes[1]:
        raise ValueError(f"--batch_sizes={question.write(settings.batch_sizes)}: must be two values, the smaller first")
    if settings.outer % 2:
        raise ValueError(f"--outer={settings.outer}: must be even, so that α = −0.5 and 1.5 are among them")
    return [{"net": net} for net in settings.nets]


def run(settings: Settings, data, net: str):
    """Yields a row per batch size, seed and box, and the rows of the other tables."""
    pooled = (
        "convolutional" in settings.nets
    )  # checked by every unit, so that a pool that does not fit is an error of the first one
    averaged = datasets.average_pool(data, settings.pool) if pooled else data
    data = averaged if net == "convolutional" else data
    ends = [_train(settings, data, net, size) for size in settings.batch_sizes]
    boxes = [(space, epsilon) for space in ("full", "manifold") for epsilon in settings.epsilons]
    for size, members in zip(settings.batch_sizes, ends, strict=True):
        for member in members:
            yield from _measured(settings, net, size, member, boxes)
            yield from _convergence(size, member)
    for small, large in zip(*ends, strict=True):
        yield from _line(settings, small, large)
    for size in sorted(set(settings.sweep) - set(settings.batch_sizes)) if net == "plain" else ():
        for member in _train(settings, data, net, size):
            yield from _measured(settings, net, size, member, boxes[:1])


def build(settings: Settings, net: str, data, seed: int) -> keras.Model:
    """Builds a net by its name.

    Args:
        settings: gives `hidden` and `filters`.
        net: one of `NETS`.
        data: gives shape of the inputs and number of classes.
        seed: of the initial weights.
    """
    common = {"input_shape": data.shape, "classes": data.classes, "seed": seed}
    if net == "convolutional":
        kernels, pools = nets.fitting((5,), (2,), data.shape)
        model = models.cnn((settings.filters,), kernels, (32,), pools=pools, batch_normalization=True, **common)
    else:
        model = models.mlp(settings.hidden, batch_normalization=net == "normalised", **common)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9
    return model


def _train(settings, data, net, batch_size):
    special = net == "normalised" and batch_size == settings.batch_sizes[1]
    rate = settings.normalised_rate if special else settings.learning_rate
    return recipe.train(
        settings,
        data,
        batch_size,
        lambda seed: build(settings, net, data, seed),
        optimizer=lambda: keras.optimizers.Adam(rate),
        evaluate_updates=max(LOOK_EVERY, LOOK_EXAMPLES // batch_size),
    )


def _measured(settings, net, batch_size, member, boxes):
    """Yields a row per box, given as (space, ε)."""
    start = build(settings, net, member.data, member.seed)
    distance = np.linalg.norm(models.flat_parameters(member.model) - models.flat_parameters(start))
    for space, epsilon in boxes:
        row = {"batch_size": batch_size, **member.row, "space": space, "epsilon": epsilon, "message": member.status}
        if member.status != "diverged":
            found = keskar_sharpness(
                member.model,
                member.data.x_train,
                member.data.y_train,
                epsilon,
                manifold=settings.manifold if space == "manifold" else None,
                iterations=settings.iterations,
                starts=settings.starts,
                seed=member.seed,
            )
            row |= {
                "distance": float(distance),
                **{name: getattr(found, name) for name in ("value", "loss", "largest")},
                "iterations": sum(found.iterations),
                "message": "; ".join(sorted({message.partition(":")[0].lower() for message in found.messages})),
            }
        yield row


def _convergence(batch_size, member):
    """Yields a row per whole epoch, and the last evaluation; evaluations that are not finite are left out."""
    *before, last = member.curve
    for at_epoch in (*(each for each in before if each["epoch"] == round(each["epoch"])), last):
        if np.isfinite(list(at_epoch.values())).all():
            yield {"table": "convergence", "batch_size": batch_size, "seed": member.seed, **at_epoch}


def _line(settings, small, large):
    """Yields a row per α, or none if one of the two nets diverged."""
    if "diverged" in (small.status, large.status):
        return
    inside, outside = np.linspace(0, 1, settings.inner + 2), np.linspace(0, 1, settings.outer + 1)[1:]
    alphas = np.round([*-outside[::-1], *inside, *1 + outside], 10)
    for row in rows(small.model, large.model, alphas, small.data):
        yield {"table": "line", "seed": small.seed, **row}


if __name__ == "__main__":
    command.main(sys.modules[__name__])
