"""Are nets that were trained with large batches, or that lie in sharp minima, less robust to adversarial examples?

    python -m hw1.landscape.adversarial
    python -m hw1.landscape.adversarial --size=smoke    seconds

The net 784-30-20-10 is trained with five batch sizes to the same training loss. Every test image is then perturbed to
raise its loss, within a distance ε and within [0, 1], by two attacks: the fast gradient sign method (FGSM), one step
where ε bounds the change of each pixel; and projected gradient ascent (L2), several steps where ε bounds the Euclidean
norm of the change. Loss and accuracy on the perturbed test set, and the largest Hessian eigenvalue λ₁ of the training
loss, are recorded for each net.

All batch sizes have one learning rate, the largest that suits the smallest batch. By the test losses of the seeds 1000
to 1002, 0.001 is better than 0.003 at the batch sizes 10 and 50; above, both are alike within 5 %, and 0.003 takes half
the steps. A rate that changes on the way would show in the sharpness of the nets.

Source: Yao et al., arXiv 1802.08241; the attacks are those of Goodfellow et al., arXiv 1412.6572, and Madry et al.,
arXiv 1706.06083.

Deviations: nets are compared at one training loss, not after the same number of epochs; net and data are the course's.
The L2 attack with several steps replaces Yao et al.'s second-order attack, which needs the Hessian with respect to each
image.
"""

import dataclasses
import sys

from hw1 import command, evaluation, question, recipe
from hw1.measures import adversarial, hessian


@dataclasses.dataclass(frozen=True)
class Settings(question.OneLoss):
    """Settings of the question; each field is a flag."""

    batch_sizes: tuple[int, ...] = question.option((10, 50, 200, 1000, 5000), "batch sizes to compare", at_most="train")
    learning_rate: float = question.option(1e-3, "step size of Adam (chosen with the seeds 1000 to 1002)")
    seeds: int = question.option(20, "independent repetitions (initial weights, batch order and split of the images)")
    sign_epsilons: tuple[float, ...] = question.option(
        (0.01, 0.02, 0.05, 0.1, 0.2), "radii ε of FGSM per pixel (pixels are in [0, 1])"
    )
    l2_epsilons: tuple[float, ...] = question.option((0.25, 0.5, 1.0), "radii ε of the L2 attack per image")
    steps: int = question.option(10, "number of steps of the L2 attack", minimum=2)


SIZES = {
    "smoke": {
        "train": 200,
        "test": 200,
        "hidden": (16,),
        "target_loss": 0.3,
        "updates": 300,
        "batch_sizes": (20, 100),
        "sign_epsilons": (0.02, 0.05, 0.1),
        "l2_epsilons": (0.25, 0.5, 1.0),
        "steps": 4,
        "seeds": 2,
    },
    "report": {},
    "paper": {
        "data": "mnist",
        "train": 60000,
        "test": 10000,
        "updates": 200000,
        "l2_epsilons": (0.1, 0.25, 0.5, 1.0, 2.0),
        "steps": 40,
    },
}

BY_SEED = True
COLUMNS = {
    "rows": [
        "batch_size",
        "seed",
        "updates",
        *question.LOSSES_AND_ACCURACIES,
        "largest_eigenvalue",
        "attack",
        "epsilon",
        "attacked_loss",
        "attacked_accuracy",
        "status",
    ],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per batch size."""
    return [{"batch_size": size} for size in settings.batch_sizes]


def run(settings: Settings, data, batch_size: int):
    """Yields a row per seed, attack and radius."""
    for member in recipe.train(settings, data, batch_size):
        if member.status == "diverged":
            yield member.row
            continue
        images = member.data
        (largest,) = hessian.eigenvalues(member.model, images.x_train, images.y_train)
        for attack, epsilon, attacked in _attacks(settings, member.model, images.x_test, images.y_test):
            loss, accuracy = evaluation.evaluate(member.model, attacked, images.y_test)
            about = {"attack": attack, "epsilon": epsilon, "attacked_loss": loss, "attacked_accuracy": accuracy}
            yield {**member.row, "largest_eigenvalue": largest, **about}


def _attacks(settings, model, x, y):
    """Yields attack, radius and perturbed images."""
    for epsilon in settings.sign_epsilons:
        yield "FGSM", epsilon, adversarial.fgsm(model, x, y, epsilon)
    for epsilon in settings.l2_epsilons:
        yield "L2", epsilon, adversarial.l2_attack(model, x, y, epsilon, steps=settings.steps)


if __name__ == "__main__":
    command.main(sys.modules[__name__])
