"""How questions train the nets that they compare: by Adam, to one training loss.

With a large batch, a net takes fewer steps in the same number of epochs, so it may merely be undertrained. Nets that
are compared are therefore trained until their loss on the whole training set is at or below one target. The loss is
evaluated every 25 steps (for batches below 100: every 2,500 examples), or every few whole epochs where an epoch has
fewer steps, and five times as often if the loss is expected to reach the target before the next evaluation.

The loss reached is recorded. Nets with large batches end 2 to 4 % below the target; nets with the smallest batch, whose
loss fluctuates from step to step, about 10 % below.

Nets that minimise something else, or cannot come to such a loss, are trained to a plateau of their own: at a constant
rate, at which the plateau is judged, and then at a rate that falls to 0.
"""

import math
from collections.abc import Callable

import keras
import numpy as np

from hw1 import models, training

LOOK_EVERY = 25  # steps; at batch size 5,000 a step near the target lowers the loss by a few per cent
LOOK_EXAMPLES = 2500  # at least; an evaluation costs as much as a training step on thousands of examples


def train(settings, data, batch_size: int, build: Callable | None = None, **options) -> list[training.Member]:
    """Trains one net per seed to `settings.target_loss`.

    Args:
        settings: settings of a question. They have target_loss, updates, learning_rate and all_seeds, unless the
            options do, and hidden, unless `build` is given.
        data: as returned by `hw1.datasets.load_splits` or `hw1.datasets.load`.
        batch_size: examples per step.
        build: a function that builds the net of a seed. None: a fully connected net with `settings.hidden`.
        **options: of `hw1.training.train`; they take precedence over the settings.

    Returns:
        One `hw1.training.Member` per seed; its status says whether the target was reached.
    """

    def mlp(seed):
        return models.mlp(settings.hidden, input_shape=data.shape, classes=data.classes, seed=seed)

    common = {
        "evaluate_updates": max(LOOK_EVERY, LOOK_EXAMPLES // batch_size),
        "optimizer": lambda: keras.optimizers.Adam(settings.learning_rate),
        "seeds": settings.all_seeds,
        "progress": f"batch size {batch_size}",
    }
    common |= {name: getattr(settings, name) for name in ("updates", "target_loss") if name not in options}
    return training.train(build or mlp, data, batch_size=batch_size, **(common | options))


def schedule(passed, epochs: int, constant: float):
    """The rate as a share of the first one: 1 for a share `constant` of training, then a cosine down to 0.

    Args:
        passed: epochs passed before each step, shape [steps].
        epochs: of the whole training.
        constant: share of the epochs with the first rate.
    """
    place = np.clip((passed / epochs - constant) / (1 - constant), 0, 1)
    return (1 + np.cos(math.pi * place)) / 2


def at_plateau(losses: np.ndarray, constant: float, fall: float) -> bool:
    """Whether an objective has stopped falling at the constant rate.

    Args:
        losses: the objective of each mini-batch, shape [steps].
        constant: share of the steps with the constant rate.
        fall: relative fall that counts as none.

    Returns:
        Whether the mean over the second half of the constant part is above 1 − fall times that over the quarter before.
    """
    end = int(constant * len(losses))
    before, last = losses[end // 4 : end // 2], losses[end // 2 : end]
    return bool(last.mean() > (1 - fall) * before.mean())
