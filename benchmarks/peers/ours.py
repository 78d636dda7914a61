"""The worker of hw1: python -m benchmarks.peers.ours FILE THREADS, started by `speed`."""

import sys
from pathlib import Path

from hw1 import quiet  # noqa: F401

# isort: split
import numpy as np
import tensorflow as tf

from benchmarks.peers.worker import Case, cheapest, serve
from hw1 import environment, models
from hw1.measures import hessian

TOLERANCES = tuple(10.0**-digits for digits in range(11))


def cases(path: Path) -> dict[str, Case]:
    """What is timed, on the net and the images of an exported file."""
    arrays, found = dict(np.load(path)), {}
    model = models.mlp()
    model.set_weights([arrays[f"dense/weights/{number}"] for number in range(len(model.weights))])
    for n in (int(key.split("/")[1]) for key in arrays if key.endswith("/eigenvalue")):
        data = model, arrays["timed/x"][:n], arrays["timed/y"][:n]
        found |= {f"{what}, {n} images": case for what, case in _cases(data, arrays[f"timed/{n}/eigenvalue"]).items()}
    return found


def _cases(data, truth):
    multiply = hessian.product(*data)
    vector = np.random.default_rng(0).standard_normal(multiply.size).astype(np.float32)

    def largest(tolerance):
        return hessian.eigenvalues(*data, tolerance=tolerance)[0]

    found = {"product": Case(lambda: multiply(vector), 20)}
    for target in (1e-3, 1e-5):
        tolerance, note = cheapest(TOLERANCES, largest, truth, target)
        found[f"λ₁ to {target:g}"] = Case(lambda tolerance=tolerance: largest(tolerance), 1, note)
    found["trace, 30 products"] = Case(lambda: hessian.trace(*data, probes=30))
    return found


if __name__ == "__main__":
    file, threads = sys.argv[1:]
    tf.config.threading.set_intra_op_parallelism_threads(int(threads))
    tf.config.threading.set_inter_op_parallelism_threads(int(threads))
    serve(cases(Path(file)), environment.describe())
