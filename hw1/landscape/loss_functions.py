"""Which part of the Hessian does each loss leave, do their solutions differ in spectrum, and do they connect?

    python -m hw1.landscape.loss_functions                 about 1½ minutes of one core
    python -m hw1.landscape.loss_functions --size=smoke    seconds

The net 784-30-20-10 with outputs f is trained by three losses from the same initial weights, in the same order of
batches and for the same number of updates:

- nll, the negative log-likelihood: ℓ = log Σ_k exp f_k − f_y;
- squared: ℓ = ½ Σ_k (f_k − [k = y])²;
- hinge, the multi-class one of Crammer and Singer: ℓ = max(0, 1 + max_{k≠y} f_k − f_y).

Before training and along it the spectral norms of H, of its Gauss–Newton part G = mean Jᵀ (∂²ℓ/∂f²) J and of the
residual R = H − G are measured, of the net's own loss on a part of the training set. The hinge is linear in its pieces:
∂²ℓ/∂f² = 0 almost everywhere, so G = 0 and H = R, which the rows show. At the end follow the largest eigenvalues of its
own loss and of the nll, whose size depends on the scale of the outputs: squared error keeps them near 0 and 1.

Straight lines θ_α = (1 − α) θ₁ + α θ₂ go from each solution to that of the next loss and the same seed, and to that of
the same loss and a further seed (other initial weights), a partner for each. Error and nll are measured on both sets.

Source: Sagun et al., arXiv 1611.07476 and 1706.04454 (the two parts, and losses); LeCun et al., Efficient BackProp
(1998).

Deviations: equal numbers of updates, not equal losses, whose units differ; the training accuracies reached are
recorded. The hinge's generalised second derivatives at its kinks are left aside.
"""

import dataclasses
import functools
import sys

import keras
import numpy as np
import tensorflow as tf

from hw1 import command, evaluation, models, question, training
from hw1.measures import gauss_newton, hessian
from hw1.measures.interpolation import rows


def squared(y, outputs):
    """½ Σ_k (f_k − [k = y])² per example, of integer labels y, shape [n]."""
    return tf.reduce_sum((outputs - _one_hot(y, outputs)) ** 2, axis=1) / 2


def hinge(y, outputs):
    """max(0, 1 + max_{k≠y} f_k − f_y) per example (Crammer and Singer), of integer labels y, shape [n]."""
    own = _one_hot(y, outputs)
    others = tf.reduce_max(tf.where(own > 0, outputs.dtype.min, outputs), axis=1)
    return tf.nn.relu(1 + others - tf.reduce_sum(own * outputs, axis=1))


def _one_hot(y, outputs):
    return tf.one_hot(y, outputs.shape[1], dtype=outputs.dtype)


LOSSES = {"nll": None, "squared": squared, "hinge": hinge}


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """What can be changed; every field is a flag."""

    hidden: tuple[int, ...] = question.option(models.COURSE_HIDDEN, "widths of the hidden layers", unique=False)
    losses: tuple[str, ...] = question.option(tuple(LOSSES), "losses to train with", choices=LOSSES)
    epochs: tuple[int, ...] = question.option(
        (0, 1, 3, 10, 30), "passes over the training set after which to measure; the last ends the training", minimum=0
    )
    batch_size: int = question.option(100, "examples per step", at_most="train")
    learning_rate: float = question.option(1e-3, "step size of Adam (its default in Keras)")
    examples: int = question.option(1000, "training examples for norms and spectra", at_most="train")
    top: int = question.option(20, "largest eigenvalues at the end")
    probes: int = question.option(30, "Hessian-vector products for the trace", minimum=6)
    points: int = question.option(21, "values of α from 0 to 1, both ends included", minimum=3)
    seeds: int = question.option(5, "independent repetitions (initial weights and batch order)", minimum=2)


SIZES = {
    "smoke": {"train": 200, "test": 200, "hidden": (12,), "epochs": (0, 8), "batch_size": 20, "examples": 200}
    | {"top": 3, "probes": 6, "points": 5, "seeds": 2},
    "report": {},
    "paper": {"data": "mnist", "train": 60000, "test": 10000, "epochs": (0, 1, 3, 10, 30, 100), "points": 101}
    | {"examples": 60000},
}


COLUMNS = {
    "rows": ["loss", "seed", "epoch", *question.FOUR, "hessian", "gauss_newton", "residual", "status"],
    "spectrum": ["loss", "seed", "measured", "quantity", "rank", "value"],
    "lines": ["loss", "kind", "other", "seed", "alpha", *question.FOUR],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per loss."""
    if list(settings.epochs) != sorted(settings.epochs) or settings.epochs[-1] < 1:
        raise ValueError(f"--epochs={settings.epochs}: must ascend, and the last be at least 1")
    return [{"loss": loss} for loss in settings.losses]


def run(settings: Settings, data, loss: str):
    """Yields a row per seed and epoch, and those of the other tables."""
    trained = _train(settings, data, loss)
    members, others = trained[: settings.seeds], trained[settings.seeds :]
    for member in members:
        if member.status == "diverged":
            yield {"seed": member.seed, "status": member.status}
        else:
            yield from _along_training(settings, loss, member)
            yield from _at_the_end(settings, loss, member)
    other = settings.losses[(settings.losses.index(loss) + 1) % len(settings.losses)]
    pairs = {("other seed", loss): others}
    if other != loss:
        pairs["other loss", other] = _train(settings, data, other)[: settings.seeds]
    for (kind, name), partners in pairs.items():
        for first, second in zip(members, partners, strict=True):
            if "diverged" not in (first.status, second.status):
                yield from _line(settings, kind, name, first, second)


def _along_training(settings, loss, member):
    """Yields loss and accuracy by the net's own loss, and the norms of the parts, at each of the epochs."""
    own, data = LOSSES[loss], member.data
    for epoch in settings.epochs:
        model = _build(settings, data, member.seed)
        if epoch:
            model = models.with_parameters(model, member.weights[epoch - 1])
        norms = {
            part.replace("-", "_"): gauss_newton.spectral_norm(model, *_measured(settings, data), own, part)
            for part in gauss_newton.PARTS
        }
        four = evaluation.evaluate_sets(model, data, own)
        yield {"seed": member.seed, "epoch": epoch, **four, **norms, "status": member.status}


def _at_the_end(settings, loss, member):
    """Yields the largest eigenvalues and the trace of the Hessian, of the net's own loss and of the nll."""
    for measured in dict.fromkeys((loss, "nll")):
        arguments = member.model, *_measured(settings, member.data)
        row = {"table": "spectrum", "seed": member.seed, "measured": measured}
        trace = hessian.trace(*arguments, LOSSES[measured], settings.probes)
        yield row | {"rank": 0, "quantity": "trace", "value": trace}
        values = hessian.eigenvalues(*arguments, settings.top, "LA", LOSSES[measured])
        for rank, value in enumerate(values, start=1):
            yield row | {"rank": rank, "quantity": "eigenvalue", "value": value}


def _measured(settings, data):
    return data.x_train[: settings.examples], data.y_train[: settings.examples]


def _line(settings, kind, other, first, second):
    """Yields a row per α: nll and accuracy on both sets."""
    alphas = np.linspace(0, 1, settings.points)
    for row in rows(first.model, second.model, alphas, first.data):
        yield {"table": "lines", "kind": kind, "other": other, "seed": first.seed, **row}


def _build(settings, data, seed):
    return models.mlp(settings.hidden, input_shape=data.shape, classes=data.classes, seed=seed)


def _train(settings, data, loss):
    """Two members per repetition, on the same images: one to be measured, one for the other end of its line."""
    data = data.sharing(lambda seed: settings.first_seed + (seed - settings.first_seed) % settings.seeds)
    train = functools.partial(
        training.train,
        lambda seed: _build(settings, data, seed),
        data,
        batch_size=settings.batch_size,
        epochs=settings.epochs[-1],
        optimizer=lambda: keras.optimizers.Adam(settings.learning_rate),
        seeds=range(settings.first_seed, settings.first_seed + 2 * settings.seeds),
        loss=LOSSES[loss],
        record=["weights"],
        progress=loss,
    )
    return evaluation.remember((_train, settings, loss, data.sha256), train)


if __name__ == "__main__":
    command.main(sys.modules[__name__])
