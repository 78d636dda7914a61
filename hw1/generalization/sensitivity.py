"""Do nets trained with small batches react less to their input?

    python -m hw1.generalization.sensitivity                 about 1½ minutes of one core
    python -m hw1.generalization.sensitivity --size=smoke    seconds

The same net is trained with ten batch sizes to the same training loss. Then, on one fixed set, the gradient of the
loss with respect to the image is measured in three ways: the mean over examples of its norm (the default), the norm of
the gradient of the mean loss over the whole set (the slides' literal reading, smaller the larger the set), and the
Jacobian of the class probabilities (Novak et al.).

Source: MLDS 2018, homework 1-3; Novak et al., arXiv 1802.08760.

Deviations: nets are compared at one training loss, not after one number of epochs: with equal epochs a large batch
has taken few steps, and an undertrained net is an insensitive one.
"""

import dataclasses
import sys

from hw1 import command, question, recipe
from hw1.measures.sensitivity import jacobian_norm, loss_gradient_norm


@dataclasses.dataclass(frozen=True)
class Settings(question.OneLoss):
    """What can be changed; every field is a flag."""

    test: int = question.option(5000, "test examples; the sensitivity is measured on all of them")
    batch_sizes: tuple[int, ...] = question.option(
        (10, 20, 50, 100, 200, 500, 1000, 1250, 2500, 5000), "batch sizes to compare", at_most="train"
    )
    learning_rate: float = question.option(3e-3, "step size of Adam (our choice: three times its default in Keras)")


SIZES = {
    "smoke": {"train": 200, "test": 200, "hidden": (16,), "batch_sizes": (20, 100), "target_loss": 0.3, "seeds": 2}
    | {"updates": 300},
    "report": {},
    "paper": {"data": "mnist", "train": 60000, "test": 10000, "updates": 200000},
}


COLUMNS = {
    "rows": [
        "batch_size",
        "seed",
        "updates",
        *question.FOUR,
        "loss_gradient_norm",
        "whole_loss_gradient_norm",
        "jacobian_norm",
        "status",
    ],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per batch size."""
    return [{"batch_size": size} for size in settings.batch_sizes]


def run(settings: Settings, data, batch_size: int):
    """Yields a row per seed."""
    for member in recipe.train(settings, data, batch_size):
        yield member.row if member.status == "diverged" else {**member.row, **_sensitivities(member.model, member.data)}


def _sensitivities(model, data) -> dict[str, float]:
    x, y = data.x_test, data.y_test
    return {
        "loss_gradient_norm": loss_gradient_norm(model, x, y),
        "whole_loss_gradient_norm": loss_gradient_norm(model, x, y, "whole"),
        "jacobian_norm": jacobian_norm(model, x),
    }


if __name__ == "__main__":
    command.main(sys.modules[__name__])
