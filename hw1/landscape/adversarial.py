"""Are nets that were trained with large batches easier to fool, and those in sharp minima?

    python -m hw1.landscape.adversarial                 about 1½ minutes of one core
    python -m hw1.landscape.adversarial --size=smoke    seconds

The net 784-30-20-10 is trained with five batch sizes to the same training loss. Every test image is changed so as to
raise its loss, within ε of where it was and within [0, 1]: by one signed step (FGSM, ε the largest change of a pixel),
and by several projected ones along the gradient (L2, ε the length of the change). Loss and accuracy on the changed test
set, and the largest Hessian eigenvalue λ₁ of the training loss, are measured on each net.

Source: Yao et al., arXiv 1802.08241; the attacks are those of Goodfellow et al., arXiv 1412.6572, and Madry et al.,
arXiv 1706.06083.

Deviations: nets are compared at one training loss, not after one number of epochs; net and data are the course's.
Several steps of L2 stand in for Yao et al.'s attack by second derivatives, which takes the Hessian in each image.
"""

import dataclasses
import sys

from hw1 import command, evaluation, question, recipe
from hw1.measures import adversarial, hessian


@dataclasses.dataclass(frozen=True)
class Settings(question.OneLoss):
    """What can be changed; every field is a flag."""

    batch_sizes: tuple[int, ...] = question.option((10, 50, 200, 1000, 5000), "batch sizes to compare", at_most="train")
    learning_rate: float = question.option(3e-3, "step size of Adam (our choice: three times its default in Keras)")
    sign_epsilons: tuple[float, ...] = question.option(
        (0.01, 0.02, 0.05, 0.1, 0.2), "radii of FGSM, of each pixel (pixels are in [0, 1])"
    )
    l2_epsilons: tuple[float, ...] = question.option((0.25, 0.5, 1.0), "radii of the L2 attacks, of a whole image")
    steps: int = question.option(10, "steps of the L2 attack", minimum=2)


SIZES = {
    "smoke": {"train": 200, "test": 200, "hidden": (16,), "batch_sizes": (20, 100), "target_loss": 0.3, "seeds": 2}
    | {"updates": 300, "sign_epsilons": (0.02, 0.05, 0.1), "l2_epsilons": (0.25, 0.5, 1.0), "steps": 4},
    "report": {},
    "paper": {"data": "mnist", "train": 60000, "test": 10000, "updates": 200000, "steps": 40}
    | {"l2_epsilons": (0.1, 0.25, 0.5, 1.0, 2.0)},
}


COLUMNS = {
    "rows": [
        "batch_size",
        "seed",
        "updates",
        *question.FOUR,
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
    """Yields attack, radius and changed images."""
    for epsilon in settings.sign_epsilons:
        yield "FGSM", epsilon, adversarial.fgsm(model, x, y, epsilon)
    for epsilon in settings.l2_epsilons:
        yield "L2", epsilon, adversarial.l2_attack(model, x, y, epsilon, steps=settings.steps)


if __name__ == "__main__":
    command.main(sys.modules[__name__])
