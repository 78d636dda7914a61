"""The worker that trains `grid`'s nets by hw1: python -m benchmarks.peers.stacked FILE THREADS, started by `speed`."""

import sys

from hw1 import quiet  # noqa: F401

# isort: split
import keras
import numpy as np
import tensorflow as tf

from benchmarks.peers import grid
from benchmarks.peers.worker import Case, serve
from hw1 import environment, models
from hw1.training.program import Step, make_program


def cases() -> dict[str, Case]:
    """The training, compiled, from the same start each time."""
    data = grid.problem()
    nets = [models.mlp((grid.HIDDEN,), input_shape=(grid.INPUTS,), classes=grid.CLASSES) for _ in range(grid.MEMBERS)]
    for member, net in enumerate(nets):
        net.set_weights([data[f"weights/{number}"][member] for number in range(4)])
    work = grid.MEMBERS * grid.BATCH * nets[0].count_params()
    step = Step(has_rates=True, has_momentum=True)
    program = make_program(nets[0], keras.optimizers.SGD(), grid.MEMBERS, grid.STEPS, work, None, step, False, True)
    order = tf.constant(data["order"].transpose(1, 0, 2).reshape(1, grid.MEMBERS, -1))
    rates = tf.constant(np.tile(data["rates"], (grid.STEPS, 1)))
    x, y = tf.constant(data["x"]), tf.constant(data["y"])
    rows = tf.tile(tf.range(grid.EXAMPLES)[None], [grid.MEMBERS, 1])

    def run():
        program.load(nets, range(grid.MEMBERS), data["momenta"])
        program.run(x, y, order, rates, grid.BATCH).numpy()

    run()
    loss = program.totals(x, y, rows).numpy()[0].mean() / grid.EXAMPLES
    return {grid.NAME: Case(run, 1, f"final loss {loss:.4f}")}


if __name__ == "__main__":
    file, threads = sys.argv[1:]
    tf.config.threading.set_intra_op_parallelism_threads(int(threads))
    tf.config.threading.set_inter_op_parallelism_threads(int(threads))
    serve(cases(), environment.describe())
