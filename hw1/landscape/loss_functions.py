"""How do Hessian, spectrum and connecting lines differ between nets trained with different loss functions?

    python -m hw1.landscape.loss_functions
    python -m hw1.landscape.loss_functions --size=smoke    seconds

The net 784-30-20-10 with outputs f is trained with three losses, from the same initial weights, with the same batch
order and for the same number of updates:

- nll, the cross-entropy (negative log-likelihood): ℓ = log Σ_k exp f_k − f_y;
- squared, the squared error: ℓ = ½ Σ_k (f_k − [k = y])²;
- hinge, the multi-class hinge loss of Crammer and Singer: ℓ = max(0, 1 + max_{k≠y} f_k − f_y).

Before and during training, the spectral norms of the Hessian H, of its Gauss–Newton part G = mean Jᵀ (∂²ℓ/∂f²) J and of
the residual R = H − G are measured, for the net's own loss on a part of the training set. The hinge loss is piecewise
linear in f: ∂²ℓ/∂f² = 0 almost everywhere, so G = 0 and H = R, as the rows show.

After training, the trace and the largest eigenvalues of H are measured, both for the net's own loss and for the
cross-entropy. The size of the latter's eigenvalues depends on the scale of the outputs, which squared error keeps near
0 and 1.

Straight lines θ_α = (1 − α) θ₁ + α θ₂ connect each solution with two others: that of the next loss and the same seed,
and that of the same loss from other initial weights. The nets at both ends are trained on the same images. Accuracy and
cross-entropy are measured on the training and the test set. Lines cost little and are drawn for all repetitions,
Hessians are measured for some of them.

Source: Sagun et al., arXiv 1611.07476 and 1706.04454 (the two parts, and losses); LeCun et al., Efficient BackProp
(1998).

Deviations: nets are compared after equally many updates, not at equal losses, because the losses have different units;
the training accuracies reached are recorded. Generalised second derivatives of the hinge loss at its kinks are ignored.
"""

import dataclasses
import functools
import sys

import keras
import numpy as np

from hw1 import command, evaluation, models, question, training
from hw1.evaluation.losses import half_squared_error, hinge
from hw1.measures import gauss_newton, hessian
from hw1.measures.interpolation import rows

LOSSES = ("nll", "squared", "hinge")


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    hidden: tuple[int, ...] = question.option(models.COURSE_HIDDEN, "widths of the hidden layers", unique=False)
    losses: tuple[str, ...] = question.option(
        LOSSES, "losses to train with where nll is the cross-entropy", choices=LOSSES
    )
    epochs: tuple[int, ...] = question.option(
        (0, 1, 3, 10, 30), "passes over the training set after which to measure; training ends with the last", minimum=0
    )
    batch_size: int = question.option(100, "examples per step", at_most="train")
    learning_rate: float = question.option(1e-3, "step size of Adam (the usual default)")
    examples: int = question.option(1000, "training examples on which norms and spectra are computed", at_most="train")
    top: int = question.option(20, "number of largest eigenvalues at the end of training")
    probes: int = question.option(30, "Hessian-vector products to estimate the trace", minimum=6)
    points: int = question.option(21, "number of values of α from 0 to 1, including both ends", minimum=3)
    seeds: int = question.option(
        10, "independent repetitions (initial weights, batch order and split of the data)", minimum=2
    )
    measured: int = question.option(5, "repetitions whose Hessians are measured, the first ones")


SIZES = {
    "smoke": {
        "train": 200,
        "test": 200,
        "hidden": (12,),
        "epochs": (0, 8),
        "batch_size": 20,
        "examples": 200,
        "top": 3,
        "probes": 6,
        "points": 5,
        "seeds": 3,
        "measured": 2,
    },
    "report": {},
    "paper": {
        "data": "mnist",
        "train": 60000,
        "test": 10000,
        "epochs": (0, 1, 3, 10, 30, 100),
        "examples": 60000,
        "points": 101,
    },
}

COLUMNS = {
    "rows": ["loss", "seed", "epoch", *question.LOSSES_AND_ACCURACIES, "hessian", "gauss_newton", "residual", "status"],
    "spectrum": ["loss", "seed", "measured", "quantity", "rank", "value"],
    "lines": ["loss", "kind", "other", "seed", "alpha", *question.LOSSES_AND_ACCURACIES],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per loss."""
    if list(settings.epochs) != sorted(settings.epochs) or settings.epochs[-1] < 1:
        raise ValueError(f"--epochs={settings.epochs}: must ascend, and the last must be at least 1")
    return [{"loss": loss} for loss in settings.losses]


def run(settings: Settings, data, loss: str):
    """Yields a row per measured seed and epoch, and the rows of the other tables."""
    trained = _train(settings, data, loss)
    members, others = trained[: settings.seeds], trained[settings.seeds :]
    for number, member in enumerate(members):
        if member.status == "diverged":
            yield {"seed": member.seed, "status": member.status}
        elif number < settings.measured:
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
    """Yields, at each epoch, accuracy, the net's own loss and the spectral norms of H and its parts."""
    own, data = _function(loss), member.data
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
    """Yields trace and largest eigenvalues of the Hessian, for the net's own loss and for the nll."""
    for measured in dict.fromkeys((loss, "nll")):
        arguments = member.model, *_measured(settings, member.data)
        row = {"table": "spectrum", "seed": member.seed, "measured": measured}
        trace = hessian.trace(*arguments, _function(measured), settings.probes)
        yield row | {"rank": 0, "quantity": "trace", "value": trace}
        values = hessian.eigenvalues(*arguments, settings.top, "LA", _function(measured))
        for rank, value in enumerate(values, start=1):
            yield row | {"rank": rank, "quantity": "eigenvalue", "value": value}


def _measured(settings, data):
    """The examples on which norms and spectra are computed."""
    return data.x_train[: settings.examples], data.y_train[: settings.examples]


def _line(settings, kind, other, first, second):
    """Yields a row per α: nll and accuracy on the training and the test set."""
    alphas = np.linspace(0, 1, settings.points)
    for row in rows(first.model, second.model, alphas, first.data):
        yield {"table": "lines", "kind": kind, "other": other, "seed": first.seed, **row}


def _build(settings, data, seed):
    return models.mlp(settings.hidden, input_shape=data.shape, classes=data.classes, seed=seed)


def _train(settings, data, loss):
    """Trains two members per repetition on the same images: one to measure, one for the other end of its line."""
    data = data.sharing(lambda seed: settings.first_seed + (seed - settings.first_seed) % settings.seeds)
    train = functools.partial(
        training.train,
        lambda seed: _build(settings, data, seed),
        data,
        batch_size=settings.batch_size,
        epochs=settings.epochs[-1],
        optimizer=lambda: keras.optimizers.Adam(settings.learning_rate),
        seeds=range(settings.first_seed, settings.first_seed + 2 * settings.seeds),
        loss=_function(loss),
        record=["weights"],
        progress=loss,
    )
    return evaluation.remember((_train, settings, loss, data.sha256), train)


def _function(loss):
    """The function (y, outputs) → [n] of a loss; None for the nll, the default of training and measures."""
    return {"nll": None, "squared": half_squared_error, "hinge": hinge}[loss]


if __name__ == "__main__":
    command.main(sys.modules[__name__])
