"""How much faster is the stacked trainer than `model.fit`, and does it train as well?

    python -m benchmarks.training                                      about 3 minutes on two cores
    python -m benchmarks.training --repetitions=1 --seeds=2 --epochs=2

The net 784-30-20-10 (24,380 parameters) is trained on the 5,000 training images of mnist10k by Adam, with 64 images per
step. Whole epochs are timed after compilation, and their times divided by the number of steps and members:

- fit: `model.fit` without validation data, compiled with its defaults. (`jit_compile` and `steps_per_execution` do not
  make it faster here.)
- program: the compiled program of `hw1.training.train` alone, without evaluation like `fit`; with 1 member, and with 16
  members that have different batch orders.
- small net: 100 nets 1-10-10-1 on 200 points of sin(5πx)/(5πx), 20 per step, by the trainer's program. `fit` trains one
  of them for ten epochs; 100 would take 100 times as long. (With one step per epoch, `fit` takes 25 ms per step, most
  of which is the overhead of an epoch.)
- train: a complete call of `hw1.training.train` that builds 16 nets and evaluates them on all training and test images
  after the last epoch.

- grid: 32 nets 196-64-10 in one call of `hw1.training.train` by SGD with momentum, 3,000 steps as in
  `batch_size_scaling` (with a few hundred, which are not compiled by XLA, own batch sizes cost 1.7 times as much
  instead of 1.1), without evaluation on the way: alike, with their own learning rates and momenta, and with batch sizes
  of 8 to 72 whose mean is that of the others.

The next rows are the losses of nets trained by `fit` and by the stacked trainer from the same initial weights, with
different batch orders; here the repetitions are seeds. The trainer is as good as `fit` if the mean losses differ by no
more than the losses of different seeds. The last row is the peak memory of the process, including `fit`.
"""

from hw1 import quiet  # noqa: F401

# isort: split
import keras
import numpy as np
import tensorflow as tf

from benchmarks import timing
from hw1 import datasets, evaluation, models, training
from hw1.training.program import Step, make_program

BATCH_SIZE = 64
EPOCHS = 5  # in one timed call
MEMBERS = 16
SMALL_MEMBERS, SMALL_EPOCHS, SMALL_BATCH = 100, 10, 20  # for the small net
GRID_STEPS, GRID_SIZES = 3000, (8, 16, 32, 72)  # for the grid
OPTIONS = {
    "repetitions": (5, "repetitions of each timing"),
    "seeds": (5, "nets whose losses are compared"),
    "epochs": (10, "passes over the training images before the losses are compared"),
}


def run(repetitions: int, seeds: int, epochs: int) -> list[dict]:
    """Returns the rows of the table."""
    data = datasets.load("mnist10k")
    rows = _times(data, repetitions) + _small_net_times(repetitions) + _grid_times(data, repetitions)
    rows += _losses(data, seeds, epochs)
    return [*rows, timing.row("peak memory of this process", [timing.peak_memory()], "GB")]


def _net(seed):
    return models.mlp(seed=seed)


def _fit(model, data, epochs):
    model.fit(data.x_train, data.y_train, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)


def _compiled_net(seed):
    model = _net(seed)
    model.compile(keras.optimizers.Adam(), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def _train(data, seeds, epochs):
    return training.train(
        _net,
        data,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        evaluate_every=epochs,
        optimizer=keras.optimizers.Adam,
        seeds=seeds,
    )


def _program(net, members, batch_size, loss=None):
    """The trainer's program for up to ten thousand plain steps of stacked members."""
    work = members * batch_size * net.count_params()
    return make_program(net, keras.optimizers.Adam(), members, 10_000, work, loss, Step(), False, True)


def _epochs_alone(data, members):
    """Returns a function that runs EPOCHS epochs of all members by the trainer's program."""
    nets = [_net(seed) for seed in range(members)]
    program = _program(nets[0], members, BATCH_SIZE)
    program.load(nets, range(members))
    x, y, rng = tf.constant(data.x_train), tf.constant(data.y_train), np.random.default_rng(0)
    order = [[rng.permutation(len(data.x_train)) for _ in range(members)] for _ in range(EPOCHS)]
    order = tf.constant(np.array(order), tf.int32)
    return lambda: program.run(x, y, order, tf.zeros(0), BATCH_SIZE).numpy()


def _times(data, repetitions):
    model = _compiled_net(0)
    cases = {
        "fit": lambda: _fit(model, data, EPOCHS),
        "program, 1 member": _epochs_alone(data, 1),
        "program, 16 members": _epochs_alone(data, MEMBERS),
        "train, 16 members": lambda: _train(data, MEMBERS, EPOCHS),
    }
    targets = {"program, 1 member": "≥ 4×", "program, 16 members": "≥ 10×"}
    steps = EPOCHS * -(-len(data.x_train) // BATCH_SIZE)
    seconds, rows = timing.side_by_side(cases, repetitions), []
    for name, values in seconds.items():
        count = steps * (MEMBERS if "16" in name else 1)
        per_step = [value / count * 1e3 for value in values]
        faster = timing.ratio(seconds["fit"], values) * count / steps
        unit = "ms a member-step" if "16" in name else "ms a step"
        rows.append(timing.row(name, per_step, unit, faster, targets.get(name, "")))
    return rows


def _small_net(seed):
    return models.mlp((10, 10), "tanh", input_shape=(1,), classes=1, seed=seed, dtype="float64")


def _small_net_times(repetitions):
    """Times one small net by `fit` and a hundred by the stacked program, SMALL_EPOCHS epochs each."""
    data, loss = datasets.function("sinc"), keras.losses.mean_squared_error
    n, nets, model = len(data.x_train), [_small_net(seed) for seed in range(SMALL_MEMBERS)], _small_net(0)
    model.compile(keras.optimizers.Adam(), loss)
    program = _program(nets[0], SMALL_MEMBERS, SMALL_BATCH, loss)
    program.load(nets, range(SMALL_MEMBERS))
    x, y = tf.constant(data.x_train), tf.constant(data.y_train)
    order = tf.constant(np.tile(np.arange(n), (SMALL_EPOCHS, SMALL_MEMBERS, 1)), tf.int32)
    cases = {
        "small net, fit": lambda: model.fit(
            data.x_train, data.y_train, batch_size=SMALL_BATCH, epochs=SMALL_EPOCHS, verbose=0
        ),
        "small net, program, 100 members": lambda: program.run(x, y, order, tf.zeros(0), SMALL_BATCH).numpy(),
    }
    fit, stacked = (
        [value / (SMALL_EPOCHS * n // SMALL_BATCH) / count * 1e3 for value in values]
        for values, count in zip(timing.side_by_side(cases, repetitions).values(), (1, SMALL_MEMBERS), strict=True)
    )
    names = list(cases)
    return [
        timing.row(names[0], fit, "ms a step"),
        timing.row(names[1], stacked, "ms a member-step", timing.ratio(fit, stacked), "≥ 50×"),
    ]


def _grid_times(data, repetitions):
    """Times members that differ beside members that do not; one call each, with as many examples in all."""
    pooled, count = datasets.average_pool(data, 2), 8 * len(GRID_SIZES)
    mean = sum(GRID_SIZES) // len(GRID_SIZES)

    def call(**options):
        training.train(
            lambda seed: models.mlp((64,), input_shape=(14, 14), seed=seed),
            pooled,
            optimizer=lambda: keras.optimizers.SGD(0.02, 0.5),
            seeds=range(count),
            updates=GRID_STEPS,
            evaluate_updates=GRID_STEPS,
            replacement=True,
            **{"batch_size": mean} | options,
        )

    differing = {"learning_rate": np.geomspace(0.01, 0.08, count), "momentum": np.linspace(0, 0.9, count)}
    cases = {
        "grid, equal members": call,
        "grid, own rates and momenta": lambda: call(**differing),
        "grid, own batch sizes too": lambda: call(batch_size=np.repeat(GRID_SIZES, 8), **differing),
    }
    rows, seconds = [], timing.side_by_side(cases, repetitions)
    for name, values in seconds.items():
        per_step = [value / GRID_STEPS / count * 1e3 for value in values]
        slower = timing.ratio(values, seconds["grid, equal members"])
        rows.append(timing.row(name, per_step, "ms a member-step", slower, "≤ 1.3×"))
    return rows


def _losses(data, seeds, epochs):
    fitted = [_compiled_net(seed) for seed in range(seeds)]
    for model in fitted:
        _fit(model, data, epochs)
    stacked = [member.model for member in _train(data, seeds, epochs)]
    rows = []
    for part, x, y in (("training", data.x_train, data.y_train), ("test", data.x_test, data.y_test)):
        for name, nets in (("fit", fitted), ("train", stacked)):
            losses = [evaluation.evaluate(net, x, y)[0] for net in nets]
            rows.append(timing.row(f"{part} loss of {name} after {epochs} epochs", losses, "nats"))
    return rows


if __name__ == "__main__":
    timing.main("training", __doc__, run, OPTIONS)
