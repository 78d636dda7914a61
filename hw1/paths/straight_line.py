"""Are there obstacles on the straight line from the initial weights to the trained weights?

    python -m hw1.paths.straight_line
    python -m hw1.paths.straight_line --size=smoke    seconds

Three nets are trained by stochastic gradient descent with momentum. Loss and accuracy on the whole training and test
set are measured on two lines: at (1 − α) θ_start + α θ_end (line "start to end"), and between two solutions from
different initial weights that were trained on the same images (line "end to end"). Table "training" has the learning
curves for comparison; epoch 0 is the untrained net.

A rise on a straight line does not show that the two solutions lie in different basins: another path may be free of it.

Source: Goodfellow et al., arXiv 1412.6544, who find that on a straight path from initialization to solution a variety
of nets "never encounter any significant obstacles", and that the loss has a minimum at each of two solutions on the
line between them, with a barrier in the middle.

Deviations: smaller nets, trained on a part of MNIST, without dropout; maxout units have two pieces.
"""

import dataclasses
import sys

import keras
import numpy as np

from hw1 import command, evaluation, models, question, training
from hw1.measures.interpolation import rows

NETS = ("relu", "tanh", "maxout")


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    nets: tuple[str, ...] = question.option(NETS, "nets, given by the kind of their hidden units", choices=NETS)
    hidden: tuple[int, ...] = question.option(models.COURSE_HIDDEN, "widths of the hidden layers", unique=False)
    batch_size: int = question.option(100, "examples per step", at_most="train")
    learning_rate: float = question.option(
        0.05, "step size of gradient descent (our choice: stable for all three nets)"
    )
    momentum: float = question.option(0.9, "momentum of gradient descent (the usual value)", minimum=0, maximum=0.999)
    epochs: int = question.option(15, "passes over the training set")
    points: int = question.option(25, "number of values of α from −0.5 to 1.5, including both ends", minimum=5)
    seeds: int = question.option(
        5, "independent repetitions with two trained nets each (initial weights, batch order and split of the data)"
    )


SIZES = {
    "smoke": {
        "train": 200,
        "test": 200,
        "nets": ("relu", "maxout"),
        "hidden": (8,),
        "batch_size": 20,
        "epochs": 5,
        "points": 9,
        "seeds": 2,
    },
    "report": {},
    "paper": {"data": "mnist", "train": 60000, "test": 10000, "hidden": (240, 240), "epochs": 100, "points": 201},
}

COLUMNS = {
    "rows": ["net", "line", "seed", "alpha", *question.LOSSES_AND_ACCURACIES, "status"],
    "training": ["net", "seed", "epoch", *question.LOSSES_AND_ACCURACIES],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per net."""
    if settings.points % 4 != 1:
        raise ValueError(f"--points={settings.points}: must be 4k + 1, such as 61, so that α = 0 and 1 are among them")
    return [{"net": net} for net in settings.nets]


def run(settings: Settings, data, net: str):
    """Yields a row per line, seed and α, and the rows of the learning curves."""

    def build(seed):
        return _build(net, settings.hidden, data, seed)

    # The second half of the members are partners of the first: other initial weights, the same images.
    data = data.sharing(lambda seed: settings.first_seed + (seed - settings.first_seed) % settings.seeds)
    members = training.train(
        build,
        data,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        optimizer=lambda: keras.optimizers.SGD(settings.learning_rate, settings.momentum),
        seeds=range(settings.first_seed, settings.first_seed + 2 * settings.seeds),
        progress=net,
    )
    for member, other in zip(members[: settings.seeds], members[settings.seeds :], strict=True):
        start = build(member.seed)
        yield from _learning_curve(member, start)
        yield from _on_line(settings, "start to end", member, start, member)
        yield from _on_line(settings, "end to end", member, member.model, other)


def _build(net, hidden, data, seed):
    shape = {"input_shape": data.shape, "classes": data.classes}
    return _maxout(hidden, seed=seed, **shape) if net == "maxout" else models.mlp(hidden, net, seed=seed, **shape)


def _maxout(hidden, input_shape, classes, seed):
    """Builds a net whose units take the maximum of two linear functions (Goodfellow et al., arXiv 1302.4389)."""
    rng = np.random.default_rng(seed)

    def dense(units, name):
        initializer = keras.initializers.GlorotUniform(seed=int(rng.integers(2**31)))
        return keras.layers.Dense(units, kernel_initializer=initializer, name=name)

    images = keras.Input(input_shape, name="images")
    values = keras.layers.Flatten(name="flatten")(images)
    for number, units in enumerate(hidden, start=1):
        pieces = [dense(units, f"hidden_{number}_{piece}")(values) for piece in "ab"]
        values = keras.layers.Maximum(name=f"maximum_{number}")(pieces)
    return keras.Model(images, dense(classes, "logits")(values), name="maxout")


def _learning_curve(member, start):
    """Yields the rows of the table "training"."""
    for at_epoch in ({"epoch": 0, **evaluation.evaluate_sets(start, member.data)}, *member.curve):
        yield {"table": "training", "seed": member.seed, **at_epoch}


def _on_line(settings, name, member, first, last):
    """Yields the rows of the line from the model `first` to the member `last`."""
    status = member.status if member.status != "ok" else last.status
    about = {"line": name, "seed": member.seed, "status": status}
    if status == "diverged":
        yield about
        return
    alphas = np.round(np.linspace(-0.5, 1.5, settings.points), 10)
    for row in rows(first, last.model, alphas, member.data):
        yield about | row


if __name__ == "__main__":
    command.main(sys.modules[__name__])
