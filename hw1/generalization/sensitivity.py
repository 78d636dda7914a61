"""Are nets trained with small batches less sensitive to changes of their input?

    python -m hw1.generalization.sensitivity
    python -m hw1.generalization.sensitivity --size=smoke    seconds

The same net is trained with ten batch sizes to the same training loss. Then the sensitivity to the image is measured on
the test set of the seed, in three ways:

- the norm of the gradient of an image's loss with respect to the image, averaged over images (the default);
- the norm of the gradient of the mean loss with respect to all images (the literal reading of the slides; the larger
  the set, the smaller the norm);
- the norm of the Jacobian of the class probabilities (Novak et al.), averaged over images.

All batch sizes have one learning rate, the largest that suits the smallest batch. By the test losses of the seeds 1000
to 1002, 0.001 is better than 0.003 at the batch sizes 10 and 50; above, both are alike within 5 %, and 0.003 takes half
the steps. A rate that changes on the way would show in the sharpness of the nets.

Source: MLDS 2018, homework 1-3; Novak et al., arXiv 1802.08760.

Deviations: nets are compared at one training loss, not after the same number of epochs. After equally many epochs a
large batch has taken few steps, and an undertrained net is less sensitive.
"""

import dataclasses
import sys

from hw1 import command, question, recipe
from hw1.measures.sensitivity import jacobian_norm, loss_gradient_norm


@dataclasses.dataclass(frozen=True)
class Settings(question.OneLoss):
    """Settings of the question; each field is a flag."""

    test: int = question.option(5000, "test examples, all of which are used to measure the sensitivity")
    batch_sizes: tuple[int, ...] = question.option(
        (10, 20, 50, 100, 200, 500, 1000, 1250, 2500, 5000), "batch sizes to compare", at_most="train"
    )
    learning_rate: float = question.option(1e-3, "step size of Adam (chosen with the seeds 1000 to 1002)")
    seeds: int = question.option(10, "independent repetitions (initial weights, batch order and split of the images)")


SIZES = {
    "smoke": {
        "train": 200,
        "test": 200,
        "hidden": (16,),
        "target_loss": 0.3,
        "updates": 300,
        "batch_sizes": (20, 100),
        "seeds": 2,
    },
    "report": {},
    "paper": {"data": "mnist", "train": 60000, "test": 10000, "updates": 200000},
}

BY_SEED = True
COLUMNS = {
    "rows": [
        "batch_size",
        "seed",
        "updates",
        *question.LOSSES_AND_ACCURACIES,
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
