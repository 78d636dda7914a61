"""What do Hessian-vector products and norms of the Hessian cost, compared with `tf.hessians` and with a gradient?

    python -m benchmarks.hessian                              about 6 minutes on two cores
    python -m benchmarks.hessian --repetitions=1 --nets=1     2 minutes

Nets are trained on mnist10k by Adam and measured on training images. Times exclude compilation.

- 784-8-8-10, 500 images: `hessian_sharpness(method="lanczos")`, the same by `tf.hessians` and eigenvalues, and
  `tf.hessians` with `tf.norm(A, 2, axis=(-2, -1))`, which takes most of the benchmark's time. The relative difference
  is that between the two methods of `hessian_sharpness`.
- 784-30-20-10 (24,380 parameters), 500 images: the time of `hessian_sharpness`, and the peak memory of a new process
  that loads the data, builds the net and measures it. (`tf.hessians` is not run on this net, as it would take 5.5 GB.)
- 784-30-20-10, 500 and 5,000 images: a Hessian-vector product and a gradient, as compiled functions of existing
  tensors, each as a plain tf.function and compiled by XLA; and the product that hw1 uses, which keeps what does not
  depend on the vector. Ratios are to the faster gradient.
- λ₁ of the full Hessian at the default tolerance, for --nets nets with different seeds: the number of products, and the
  error against a float64 copy of the net solved to 1e-12.
- 784-30-20-10, 5,000 images: the spectral density with 4 probes and 100 steps, and Keskar's sharpness in the full
  space. Then a density with 1 probe and 25 steps, compared with the same code on products by nested tapes without
  compilation.
"""

import itertools
import subprocess
import sys
from unittest import mock

from hw1 import quiet  # noqa: F401

# isort: split
import keras
import numpy as np
import tensorflow as tf

from benchmarks import timing
from hw1 import datasets, evaluation, models, training
from hw1.evaluation import means
from hw1.measures import hessian, products, sharpness

SMALL = (8, 8)
EXAMPLES = 500
OPTIONS = {
    "repetitions": (5, "repetitions of each timing"),
    "nets": (5, "trained nets on which products are counted"),
}
MEMORY = """
from benchmarks import timing
from hw1 import datasets, models
from hw1.measures import sharpness

data = datasets.load("mnist10k")
sharpness.hessian_sharpness(models.mlp(), data.x_train[:500], data.y_train[:500])
print(timing.peak_memory())
"""


def run(repetitions: int, nets: int) -> list[dict]:
    """Returns the rows of the table."""
    data = datasets.load("mnist10k")
    small, *large = _trained(SMALL, data, 1) + _trained(models.COURSE_HIDDEN, data, nets)
    x, y = data.x_train[:EXAMPLES], data.y_train[:EXAMPLES]
    rows = _memory() + _sharpness(large[0], x, y, repetitions)
    for examples in (EXAMPLES, len(data.x_train)):
        rows += _product(large[0], data.x_train[:examples], data.y_train[:examples], repetitions)
    rows += _largest_eigenvalue(large, x, y) + _whole_set(large[0], data.x_train, data.y_train, repetitions)
    return rows + _tf_hessians(small, x, y, repetitions)


def _trained(hidden, data, seeds):
    members = training.train(
        lambda seed: models.mlp(hidden, seed=seed),
        data,
        batch_size=64,
        epochs=10,
        evaluate_every=10,
        optimizer=keras.optimizers.Adam,
        seeds=seeds,
    )
    return [member.model for member in members]


def _memory():
    done = subprocess.run([sys.executable, "-c", MEMORY], check=True, capture_output=True, text=True)
    return [timing.row("784-30-20-10: peak memory of a process", [float(done.stdout)], "GB", target="< 1.5 GB")]


def _sharpness(model, x, y, repetitions):
    cases = {
        "784-30-20-10: hessian_sharpness, blocks": lambda: sharpness.hessian_sharpness(model, x, y),
        "784-30-20-10: hessian_sharpness, full": lambda: sharpness.hessian_sharpness(model, x, y, scope="full"),
    }
    seconds = timing.side_by_side(cases, repetitions)
    return [timing.row(name, values, "s", target="< 0.2 s") for name, values in seconds.items()]


def _product(model, x, y, repetitions):
    """Times a product and a gradient; a value is the mean of 20 calls, because one takes a few milliseconds."""

    def outputs(parameters, state, x):
        return model.stateless_call(parameters, state, x, training=False)[0]

    def losses(parameters, state, x, targets):
        return evaluation.cross_entropy(targets[0], outputs(parameters, state, x))

    net = evaluation.Net(outputs, None, losses, None)
    programs = {"gradient": means.value_and_gradient, "product": products.full_product}
    arguments = *evaluation.variables(model), tf.constant(x), (tf.constant(y), None)
    vector = tf.constant(np.random.default_rng(0).standard_normal(model.count_params()), tf.float32)
    cases = {}
    for (name, program), jit in itertools.product(programs.items(), (False, True)):
        compiled = tf.function(program(net), jit_compile=jit)
        cases[f"{name}, {len(x)} images, {'XLA' if jit else 'plain'}"] = _twenty(
            compiled, *arguments, *([vector] if name == "product" else [])
        )
    whole = tf.function(products.full_product(net)).get_concrete_function(*arguments, vector)
    kept = f"product, {len(x)} images, the rest kept"
    cases[kept] = _twenty(*evaluation.fix([whole], [arguments], np.inf), vector)
    seconds = timing.side_by_side(cases, repetitions)
    gradient = min((values for name, values in seconds.items() if name.startswith("gradient")), key=np.median)
    rows = []
    for name, values in seconds.items():
        target = "≤ 1.1×" if name == kept else ""
        rows.append(timing.row(name, [v / 20 * 1e3 for v in values], "ms", timing.ratio(values, gradient), target))
    return rows


def _twenty(compiled, *arguments):
    def run():
        for _ in range(20):
            result = compiled(*arguments)
        return (result[1] if isinstance(result, tuple) else result).numpy()

    return run


def _largest_eigenvalue(nets, x, y):
    counts, errors = [], []
    for model in nets:
        found = hessian.eigenpairs(model, x, y)
        exact = hessian.eigenvalues(models.with_dtype(model, "float64"), x, y, tolerance=1e-12)[0]
        counts.append(found.products)
        errors.append(abs(found.values[0] / exact - 1))
    return [
        timing.row(f"λ₁, full: products (most: {max(counts)})", counts, "", target="≤ 16"),
        timing.row(f"λ₁, full: relative error (largest: {max(errors):.1g})", errors, "", target="≤ 1e-5"),
    ]


def _whole_set(model, x, y, repetitions):
    """Times density and Keskar's sharpness on all images, and the density with compiled and with eager products."""

    def eager_density():
        with mock.patch.object(hessian, "product", _eager_product):
            hessian.density(model, x, y, steps=25, probes=1)

    cases = {
        "density, 4 × 100 steps": lambda: hessian.density(model, x, y),
        "keskar_sharpness, full space": lambda: sharpness.keskar_sharpness(model, x, y, epsilon=1e-3),
        "density, 25 steps, compiled products": lambda: hessian.density(model, x, y, steps=25, probes=1),
        "density, 25 steps, eager products": eager_density,
    }
    seconds = timing.side_by_side(cases, repetitions)
    targets = dict(zip(cases, ("≤ 15 s", "≤ 5 s"), strict=False))
    *alone, compiled, eager = cases
    rows = [timing.row(f"{len(x)} images: {name}", seconds[name], "s", target=targets[name]) for name in alone]
    for name in (compiled, eager):
        ratio = timing.ratio(seconds[name], seconds[compiled])
        rows.append(timing.row(f"{len(x)} images: {name}", seconds[name], "s", ratio))
    return rows


def _eager_product(model, x, y, loss=None, **_):
    """Hessian-vector products in their simplest form: nested tapes on the model, not compiled."""
    x, y, parameters = tf.constant(x), tf.constant(y), [v.value for v in model.trainable_variables]

    def multiply(vector):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                mean = tf.reduce_mean(evaluation.cross_entropy(y, model(x, training=False)))
            gradients = inner.gradient(mean, parameters)
            along = evaluation.flatten(gradients) * tf.constant(vector, parameters[0].dtype)
            total = tf.reduce_sum(along)
        return evaluation.flatten(outer.gradient(total, parameters)).numpy()

    multiply.size = model.count_params()
    return multiply


def _tf_hessians(model, x, y, repetitions):
    found = {}

    def by(method):
        found[method] = sharpness.hessian_sharpness(model, x, y, method=method)

    def with_norm():
        max(float(tf.norm(block, 2, axis=(-2, -1))) for block in hessian.blocks(model, x, y))

    cases = {
        "hessian_sharpness, lanczos": lambda: by("lanczos"),
        "hessian_sharpness, tf.hessians": lambda: by("tf.hessians"),
        "tf.hessians + tf.norm (SVD)": with_norm,
    }
    seconds, rows = timing.side_by_side(cases, repetitions), []
    lanczos = seconds["hessian_sharpness, lanczos"]
    for name, values in seconds.items():
        target = "≥ 500×" if "norm" in name else ""
        rows.append(timing.row(f"784-8-8-10: {name}", values, "s", timing.ratio(values, lanczos), target))
    difference = abs(found["lanczos"] / found["tf.hessians"] - 1)
    return [*rows, timing.row("784-8-8-10: relative difference of the two", [difference], "", target="≤ 1e-4")]


if __name__ == "__main__":
    timing.main("hessian", __doc__, run, OPTIONS)
