"""How questions train the nets that they compare: by Adam, to one training loss.

A large batch that has merely taken fewer steps is undertrained, not sharp. So nets of different batch sizes are trained
until their loss on the whole training set is at or below one target. It is looked at every 25 steps (batches below 100:
every 2,500 examples) or whole epochs, and five times as often where it would pass the target before the next look.
The loss reached is recorded: large batches end 2 to 4 % below the target, the smallest, whose loss jumps from one step
to the next, some 10 %.
"""

from collections.abc import Callable

import keras

from hw1 import models, training

LOOK_EVERY = 25  # steps: at batch size 5,000 a step lowers the loss by a few per cent near the target
LOOK_EXAMPLES = 2500  # but no fewer examples than these: a look costs as much as a training step of thousands


def train(settings, data, batch_size: int, build: Callable | None = None, **options) -> list[training.Member]:
    """Trains one net per seed to `settings.target_loss`.

    Args:
        settings: of a question, with target_loss, updates, learning_rate and all_seeds unless the options have them,
            and with hidden if there is no `build`.
        data: as `hw1.datasets.load_splits` or `load` gives it.
        batch_size: examples per step.
        build: makes the net of a seed. None: a fully connected one with the layers `settings.hidden`.
        **options: of `hw1.training.train`, before those of the settings.

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
