"""Trains the nets and writes them with hw1's results to a file that needs no TensorFlow.

    python -m benchmarks.peers.export --nets=runs/peers.npz

The file is an .npz of plain arrays. For each net:

- ``<net>/weights/<i>``: its variables in Keras's order and layout. ``<net>/x``, ``<net>/y``: images and labels.
- ``<net>/vectors``: vectors of random signs, shape [3, parameters], in the order of ``model.trainable_variables``.
- ``<net>/<dtype>/products``, ``<net>/<dtype>/eigenvalues``: Hv of each vector, and λ₁ … λ₅, as hw1 computes them in
  float64 and in float32.
- ``<net>/<dtype>/trace``: the trace and its standard error, which is 0 where the trace is exact.

``timed/x``, ``timed/y`` are the images on which the dense net is timed; ``timed/<n>/eigenvalue`` is λ₁ on the first n
of them, in float64. ``environment`` holds versions and processor as JSON.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.peers import nets
from hw1 import environment, models
from hw1.measures import hessian

EXAMPLES = 500  # on which results are compared
TIMED = (500, 5000)  # images of the timings
PROBES = 300  # products of an estimated trace


def export(path: Path, epochs: int = 3, examples: int = EXAMPLES, timed: tuple[int, ...] = TIMED) -> None:
    """Writes the file.

    Args:
        path: of the .npz.
        epochs: passes of each net over its training images.
        examples: training images on which it is measured.
        timed: numbers of training images for the timings, ascending.
    """
    arrays = {"environment": np.array(json.dumps(environment.describe()))}
    for name in nets.NETS:
        model, data = nets.trained(name, epochs)
        found = {f"weights/{number}": weight for number, weight in enumerate(model.get_weights())}
        found |= _measured(model, data.x_train[:examples], data.y_train[:examples], nets.NETS[name].exact)
        arrays |= {f"{name}/{key}": array for key, array in found.items()}
        if name == "dense":
            arrays |= {f"timed/{key}": array for key, array in _timed(model, data, timed).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)


def _measured(model, x, y, exact):
    """The examples, the vectors and hw1's results on them in both precisions."""
    vectors = np.random.default_rng(0).choice([-1.0, 1.0], (3, model.count_params()))
    found = {"x": x, "y": y, "vectors": vectors}
    for dtype, tolerance in (("float32", 1e-4), ("float64", 1e-10)):
        net, images = models.with_dtype(model, dtype), x.astype(dtype)
        multiply = hessian.product(net, images, y)
        found[f"{dtype}/products"] = np.stack([multiply(vector) for vector in vectors])
        found[f"{dtype}/eigenvalues"] = hessian.eigenvalues(net, images, y, k=5, tolerance=tolerance)
        if exact:
            trace, error = np.trace(hessian.dense(net, images, y)), 0.0
        else:
            trace = hessian.trace(net, images, y, probes=PROBES)
            error = trace.standard_error
        found[f"{dtype}/trace"] = np.array([trace, error])
    return found


def _timed(model, data, sizes):
    """The examples of the timings, and λ₁ on each number of them."""
    net, found = models.with_dtype(model, "float64"), {"x": data.x_train[: sizes[-1]], "y": data.y_train[: sizes[-1]]}
    for n in sizes:
        x, y = found["x"][:n].astype("float64"), found["y"][:n]
        found[f"{n}/eigenvalue"] = hessian.eigenvalues(net, x, y, tolerance=1e-12)[0]
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=Path, default=Path("runs/peers.npz"), help="the file [runs/peers.npz]")
    export(parser.parse_args().nets)


if __name__ == "__main__":
    main()
