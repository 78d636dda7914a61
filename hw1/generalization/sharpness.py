"""Do small batches find flatter minima, and what exactly does the course's formula measure?

    python -m hw1.generalization.sharpness
    python -m hw1.generalization.sharpness --size=smoke    seconds

The net 784-30-20-10 is trained with ten batch sizes to the same training loss. The sharpness ‖H‖₂ ε² / (2 (1 + L)) is
then computed from Hessian-vector products and the Lanczos method: on 500 training examples with the block-diagonal
Hessian, as `tf.hessians` gives it, and with the full Hessian; and on all training examples with the full Hessian.

The Frobenius norm is recorded beside the spectral norm: the slides compute ‖A‖₂ as `tf.norm(A, 2)`, which without
`axis` flattens A and returns the Frobenius norm. As a reference, a small net is also measured by the slides' recipe as
it is printed, `tf.hessians` and `tf.norm(A, 2)`, and by `tf.hessians` with the spectral norm.

The norm of the gradient is recorded on the same examples: within a distance ε, the loss rises by ‖∇L‖ ε to first order,
which the formula omits.

All batch sizes have one learning rate, the largest that suits the smallest batch. By the test losses of the seeds 1000
to 1002, 0.001 is better than 0.003 at the batch sizes 10 and 50; above, both are alike within 5 %, and 0.003 takes half
the steps. A rate that changes on the way would show in the sharpness of the nets.

Source: MLDS 2018, homework 1-3 (bonus); Keskar et al., arXiv 1609.04836.

Deviations: nets are compared at one training loss, not after the same number of epochs.
"""

import dataclasses
import sys

import numpy as np

from hw1 import command, evaluation, models, question, recipe
from hw1.measures import hessian
from hw1.measures.sharpness import norm_of_blocks


@dataclasses.dataclass(frozen=True)
class Settings(question.OneLoss):
    """Settings of the question; each field is a flag."""

    batch_sizes: tuple[int, ...] = question.option(
        (10, 20, 50, 100, 200, 500, 1000, 1250, 2500, 5000), "batch sizes to compare", at_most="train"
    )
    learning_rate: float = question.option(1e-3, "step size of Adam (chosen with the seeds 1000 to 1002)")
    examples: int = question.option(
        500, "training examples for the course's sharpness, which is also computed on all of them", at_most="train"
    )
    epsilon: float = question.option(1e-4, "radius ε in parameter space")
    probes: int = question.option(30, "Hessian-vector products per block to estimate the Frobenius norm", minimum=6)
    tolerance: float = question.option(
        0.01, "relative residual at which Lanczos stops on all examples (the error of ‖H‖₂ is about its square)"
    )
    seeds: int = question.option(10, "independent repetitions (initial weights, batch order and split of the images)")
    reference_hidden: tuple[int, ...] = question.option(
        (4, 4), "widths of the hidden layers of the small net that tf.hessians measures too", unique=False
    )
    reference_batch_size: int = question.option(50, "batch size of the small net", at_most="train")
    reference_updates: int = question.option(5000, "largest number of optimizer steps of the small net")
    reference_seeds: int = question.option(5, "independent repetitions of the small net")


SIZES = {
    "smoke": {
        "train": 200,
        "test": 200,
        "hidden": (16,),
        "target_loss": 0.3,
        "updates": 300,
        "batch_sizes": (20, 100),
        "examples": 100,
        "reference_hidden": (1,),
        "reference_updates": 300,
        "reference_seeds": 1,
        "seeds": 2,
    },
    "report": {},
    "paper": {
        "data": "mnist",
        "train": 60000,
        "test": 10000,
        "updates": 200000,
        "probes": 90,
        "reference_hidden": (8, 8),
        "reference_updates": 200000,
    },
}

COLUMNS = {
    "rows": [
        "net",
        "batch_size",
        "seed",
        "updates",
        *question.LOSSES_AND_ACCURACIES,
        "examples",
        "scope",
        "method",
        "norm",
        "value",
        "sharpness",
        "gradient_norm",
        "status",
    ],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per batch size, and one for the small net."""
    nets = [{"net": "course", "batch_size": size} for size in settings.batch_sizes]
    return [*nets, {"net": "reference", "batch_size": settings.reference_batch_size}]


def run(settings: Settings, data, net: str, batch_size: int):
    """Yields a row per seed and method of measurement."""
    trained_as = settings
    if net == "reference":
        small = {"hidden": settings.reference_hidden, "seeds": settings.reference_seeds}
        trained_as = dataclasses.replace(settings, updates=settings.reference_updates, **small)
    for member in recipe.train(trained_as, data, batch_size):
        if member.status == "diverged":
            yield member.row
            continue
        for measured in _norms(settings, member.data, member.model, net):
            factor = settings.epsilon**2 / (2 * (1 + measured.pop("loss")))
            yield {**member.row, **measured, "sharpness": measured["value"] * factor}


def _norms(settings, data, model, net):
    """Yields a dict per measured norm: examples, their loss and gradient norm, scope, method, norm and value."""

    def on(examples):
        x, y = data.x_train[:examples], data.y_train[:examples]
        loss, gradient = evaluation.objective(model, x, y)(models.flat_parameters(model))
        return x, y, {"examples": examples, "loss": loss, "gradient_norm": np.linalg.norm(gradient)}

    x, y, about = on(settings.examples)
    for scope in hessian.SCOPES:
        norm = hessian.spectral_norm(model, x, y, scope)
        yield {**about, "scope": scope, "method": "lanczos", "norm": "spectral", "value": norm}
    norm = hessian.frobenius_norm(model, x, y, "block", probes=settings.probes)
    yield {**about, "scope": "block", "method": "hutch++", "norm": "frobenius", "value": norm}
    if net == "reference":
        blocks = hessian.blocks(model, x, y)
        for norm in ("spectral", "tf.norm"):
            value = norm_of_blocks(blocks, norm)
            yield {**about, "scope": "block", "method": "tf.hessians", "norm": norm, "value": value}
    elif len(data.x_train) > settings.examples:
        x, y, about = on(len(data.x_train))
        norm = hessian.spectral_norm(model, x, y, "full", tolerance=settings.tolerance)
        yield {**about, "scope": "full", "method": "lanczos", "norm": "spectral", "value": norm}


if __name__ == "__main__":
    command.main(sys.modules[__name__])
