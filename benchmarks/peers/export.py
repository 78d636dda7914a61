"""Trains the nets and writes them with hw1's results to a file that needs no TensorFlow.

    python -m benchmarks.peers.export --nets=runs/peers_dense.npz
    python -m benchmarks.peers.export --nets=runs/peers_mlp.npz --net=mlp

The file is an .npz of plain arrays. For each net:

- ``<net>/weights/<i>``: its variables in Keras's order and layout. ``<net>/x``, ``<net>/y``: images and labels.
- ``<net>/vectors``: vectors of random signs, shape [3, parameters], in the order of ``model.trainable_variables``.
- ``<net>/<dtype>/products``, ``<net>/<dtype>/eigenvalues``: Hv of each vector, and λ₁ … λ₅, as hw1 computes them in
  float64 and in float32.
- ``<net>/<dtype>/trace``: the trace and its standard error, which is 0 where the trace is exact.

``timed/…`` is what is timed: ``net``, its name; its ``weights/<i>``, ``x`` and ``y``; a ``vector`` of random signs; and
for each number n of first images the float64 truth: ``<n>/loss``, ``<n>/product`` with the vector, ``<n>/eigenvalues``
λ₁ … λ₅, the largest in magnitude, on which hw1 and ARPACK agree, and ``<n>/trace``. With --net=mlp or resnet there is
nothing else. ``environment`` holds versions and processor as JSON.
"""

import argparse
import json
from pathlib import Path

from hw1 import quiet  # noqa: F401

# isort: split
import numpy as np
import scipy.sparse.linalg
import tensorflow as tf

from benchmarks.peers import nets
from hw1 import environment, evaluation, models
from hw1.measures import hessian, lanczos

EXAMPLES = 500  # on which results are compared
TIMED = {"dense": (500, 5000), "mlp": (512,), "resnet": (64,)}  # images of the timings
PROBES = 300  # products of an estimated trace
RESIDUAL = 1e-5  # of the true eigenvalues, whose errors are of the order of its square


def export(
    path: Path, net: str = "dense", epochs: int = 3, examples: int = EXAMPLES, timed: tuple[int, ...] | None = None
) -> None:
    """Writes the file.

    Args:
        path: of the .npz.
        net: the net of the timings, "dense", "mlp" or "resnet"; with "dense" all nets of `nets.NETS` are trained too.
        epochs: passes of each of these over its training images.
        examples: training images on which it is measured.
        timed: numbers of images for the timings, ascending; None for `TIMED`.
    """
    arrays = {"environment": np.array(json.dumps(environment.describe())), "timed/net": np.array(net)}
    timed = timed or TIMED[net]
    if net in nets.LARGE:
        found = _timed(*nets.LARGE[net](timed[-1]), timed)
    for name in nets.NETS if net == "dense" else ():
        model, data = nets.trained(name, epochs)
        measured = _weights(model) | _measured(
            model, data.x_train[:examples], data.y_train[:examples], nets.NETS[name].exact
        )
        arrays |= {f"{name}/{key}": array for key, array in measured.items()}
        if name == net:
            found = _timed(model, data.x_train[: timed[-1]], data.y_train[: timed[-1]], timed)
    arrays |= {f"timed/{key}": array for key, array in found.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)


def _weights(model):
    return {f"weights/{number}": weight for number, weight in enumerate(model.get_weights())}


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


def _timed(model, images, labels, sizes):
    """The net and the examples of the timings, and the truth on each number of them."""
    net, found = models.with_dtype(model, "float64"), _weights(model) | {"x": images, "y": labels}
    for n in sizes:
        x, y = images[:n].astype("float64"), labels[:n]
        multiply = hessian.product(net, x, y)
        found["vector"] = np.random.default_rng(0).choice([-1.0, 1.0], multiply.size)
        found[f"{n}/loss"] = np.array(evaluation.evaluate(net, x, y)[0])
        found[f"{n}/product"] = multiply(found["vector"])
        found[f"{n}/eigenvalues"] = eigenvalues(lanczos.linear_operator(multiply))
        found[f"{n}/trace"] = np.array(exact_trace(net, x))
    return found


def eigenvalues(operator) -> np.ndarray:
    """The five eigenvalues of largest magnitude, descending, with errors below 1e-8, by hw1 and by ARPACK.

    Raises:
        ValueError: the two differ by more than a relative 1e-7.
    """
    found = lanczos.eigenvalues(operator, 5, "LM", RESIDUAL)
    start = np.random.default_rng(1).standard_normal(operator.shape[0])
    others = scipy.sparse.linalg.eigsh(operator, 5, tol=RESIDUAL, v0=start, return_eigenvectors=False)
    if not np.allclose(found, np.sort(others)[::-1], rtol=1e-7, atol=0):
        raise ValueError(f"ARPACK finds the eigenvalues {others} where hw1 finds {found}")
    return found


def exact_trace(model, x) -> float:
    """The trace of the Hessian of the mean cross-entropy, for a net of layers that are piecewise linear.

    A weight enters the outputs of such a net linearly wherever they are differentiable, so that ∂²f/∂θ_i² = 0: the
    diagonal of the Hessian is that of its Gauss–Newton part, and its trace with the gradients J_c of the outputs

        (1/n) Σ_examples Σ_c p_c ‖J_c − Σ_k p_k J_k‖².

    Args:
        model: a built Keras model with logits as outputs.
        x: images, shape [n, ...].
    """

    def of_one(image):
        with tf.GradientTape() as tape:
            logits = model(image[None], training=False)[0]
        p, found = tf.nn.softmax(logits), 0
        for part in tape.jacobian(logits, model.trainable_variables):
            centred = part - tf.tensordot(p, part, 1)
            found += tf.tensordot(p, tf.reduce_sum(centred**2, range(1, len(part.shape))), 1)
        return found

    @tf.function(jit_compile=evaluation.jit_compile(model))
    def of_all(images):
        return tf.map_fn(of_one, images, fn_output_signature=images.dtype)

    return float(np.mean(of_all(tf.constant(x))))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--nets", type=Path, default=Path("runs/peers_dense.npz"), help="the file [runs/peers_dense.npz]"
    )
    parser.add_argument("--net", default="dense", choices=list(TIMED), help="the net of the timings [dense]")
    parser.add_argument("--images", type=int, nargs="+", help="of the timings, ascending numbers [as the net has]")
    given = parser.parse_args()
    export(given.nets, given.net, timed=given.images)


if __name__ == "__main__":
    main()
