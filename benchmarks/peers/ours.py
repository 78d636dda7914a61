"""The worker of hw1: python -m benchmarks.peers.ours FILE THREADS, started by `speed`."""

import functools
import sys
from pathlib import Path

from hw1 import quiet  # noqa: F401

# isort: split
import numpy as np
import tensorflow as tf

from benchmarks.peers import measured, nets
from benchmarks.peers.worker import Case, serve
from hw1 import environment, evaluation
from hw1.measures import hessian


class Ours(measured.Library):
    """The Hessian by hw1."""

    NAME, ESTIMATOR = "hw1", "XTrace"
    SETTINGS = tuple(10.0**-digits for digits in range(11))

    def __init__(self, model, x, y):
        """Keeps them; each measure starts from them anew."""
        self.data = model, x, y

    @functools.cached_property
    def product(self):
        """Products with a vector."""
        return hessian.product(*self.data)

    @functools.cached_property
    def size(self):
        """The number of parameters."""
        return self.product.size

    @functools.cached_property
    def gradient(self):
        """The gradient of the mean loss, as a function without arguments."""
        problem = evaluation.Problem(*self.data)
        run, parts = problem.compile(evaluation.means.value_and_gradient), list(problem.chunks())
        return lambda: sum(run(problem.parameters, problem.state, *part)[1] for part in parts).numpy()

    def eigenvalues(self, k, tolerance):
        """By Lanczos with deflation."""
        found = hessian.eigenpairs(*self.data, k=k, tolerance=tolerance)
        self.count(found.products)
        return found.values

    def trace(self, products, seed):
        """XTrace."""
        found = hessian.trace(*self.data, probes=products, seed=seed, method="xtrace")
        return float(found), found.standard_error

    def density(self, steps, runs):
        """All vectors orthogonalised."""
        return hessian.density(*self.data, steps=steps, probes=runs)


def cases(path: Path) -> dict[str, Case]:
    """What is timed, on the net and the images of an exported file."""
    arrays, found, error = dict(np.load(path)), {}, 0.0
    name = str(arrays["timed/net"])
    model = nets.untrained(name)
    model.set_weights([arrays[f"timed/weights/{number}"] for number in range(len(model.weights))])
    for n in measured.sizes(arrays):
        make = functools.partial(Ours, model, arrays["timed/x"][:n], arrays["timed/y"][:n])
        timed = measured.cases(make, np.asarray, measured.part(arrays, f"timed/{n}"), measured.BUDGETS[name], error)
        error = timed["trace"].error
        found |= {f"{what}, {n} images": case for what, case in timed.items()}
    return found


if __name__ == "__main__":
    file, threads = sys.argv[1:]
    tf.config.threading.set_intra_op_parallelism_threads(int(threads))
    tf.config.threading.set_inter_op_parallelism_threads(int(threads))
    serve(cases(Path(file)), environment.describe())
