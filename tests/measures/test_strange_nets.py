"""Nets that hide what they compute: tf.functions, custom gradients, random numbers, operations with wrong kernels.

Each is measured rightly, which the central difference of gradients of the plain model shows, or refused by name.
"""

import cases
import keras
import nets
import numpy as np
import pytest
import references
import tensorflow as tf
from cases import close
from tensorflow.nn import moments as imported_moments

from hw1 import evaluation, models
from hw1.measures import gauss_newton, hessian, sensitivity, sharpness

L = keras.layers
SHAPE, IMAGE = (4,), (6, 6, 2)
SIZE = 43  # parameters of `Net`
VECTOR = np.random.default_rng(0).normal(size=SIZE)


@pytest.fixture(autouse=True)
def double():
    """Layers are made in float64."""
    precision("float64")
    yield
    precision("float32")


def precision(dtype):
    """Layers and inputs are made in this dtype."""
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)


def random(model, seed=1):
    """The model with random weights."""
    return nets.with_random_weights(model, np.random.default_rng(seed))


def around(function, shape=SHAPE):
    """A net with a function between two layers: dense layers, or on images convolutions."""
    first = [L.Dense(4)] if shape == SHAPE else [L.Conv2D(2, 3, activation="tanh")]
    return random(keras.Sequential([keras.Input(shape), *first, L.Lambda(function), L.Flatten(), L.Dense(3)]))


def assert_right(model, n=7):
    """The product is the central difference of gradients."""
    x, y = nets.examples(model.input_shape[1:] if hasattr(model, "inputs") else SHAPE, n)
    vector = np.random.default_rng(0).normal(size=len(references.flat(model.trainable_variables)))
    close(hessian.product(model, x, y)(vector), references.difference_product(model, x, y, vector), 1e-6)


class Net(keras.Model):
    """A dense net whose steps can be decorated, with an attribute."""

    def __init__(self, decorate=lambda step: step, branches=False):
        """Makes the layers; `decorate` wraps two steps inside of each other, which may have `branches`."""
        super().__init__()
        self.hidden, self.norm, self.logits = L.Dense(4), L.LayerNormalization(), L.Dense(3)
        self.temperature, self.branches = 2.0, branches
        self.step = decorate(self._step)
        self.body = decorate(self._body)
        self(np.zeros((1, *SHAPE)))
        random(self)

    def _step(self, x):
        return tf.tanh(self.norm(self.hidden(x)))

    def _body(self, x):
        if self.branches and tf.reduce_sum(x) < -1e9:  # AutoGraph must turn this into tf.cond
            return self.logits(x)
        return self.logits(self.step(x)) / self.temperature

    def call(self, x):
        """From [n, 4] to logits [n, 3]."""
        return self.body(x)


@pytest.mark.slow
@pytest.mark.parametrize("n", [50])  # more than the few examples of the checks
def test_functions_at_every_depth(n):
    """Several measures one after the other, of a net whose steps are tf.functions inside of each other."""
    model, plain = Net(tf.function), Net()
    x, y = nets.examples(SHAPE, n)
    truth = np.stack([references.difference_product(plain, x, y, unit) for unit in np.eye(SIZE)])
    close(hessian.dense(model, x, y), truth, 1e-6)
    assert hessian.spectral_norm(model, x, y) == pytest.approx(np.abs(np.linalg.eigvalsh(truth)).max(), rel=1e-4)
    assert evaluation.evaluate(model, x, y)[0] == pytest.approx(references.losses(plain, x, y).mean(), rel=1e-12)
    assert float(hessian.trace(model, x, y, probes=3 * SIZE)) == pytest.approx(np.trace(truth), rel=1e-6)
    norms = np.sqrt((references.input_gradients(plain, x, y) ** 2).sum(axis=1))
    assert sensitivity.loss_gradient_norm(model, x, y) == pytest.approx(norms.mean(), rel=1e-12)
    found, expected = (sharpness.keskar_sharpness(net, x, y, iterations=2, starts=1) for net in (model, plain))
    assert found.largest == pytest.approx(
        references.loss_at(plain, x, y, references.flat(plain.variables) + found.step)
    )
    assert found.value == pytest.approx(expected.value)


@pytest.mark.parametrize(
    "options", [{"branches": True}, {"decorate": tf.function(jit_compile=True)}], ids=["branches", "XLA"]
)
def test_branches_and_compilers(options):
    """An `if` over a tensor inside of a tf.function, as in TensorFlow's guides; and a function that XLA compiles."""
    x, y = nets.examples(SHAPE)
    truth = references.difference_product(Net(), x, y, VECTOR)
    close(hessian.product(Net(**{"decorate": tf.function} | options), x, y)(VECTOR), truth, 1e-6)


def test_an_attribute_that_a_traced_function_ignores():
    """Then the model itself gives old outputs, and no number of it would be right."""
    model, (x, y) = Net(tf.function), nets.examples(SHAPE)
    model(x, training=False)
    model.temperature = 5.0
    with cases.refused("other outputs when it is compiled", "attribute"):
        hessian.trace(model, x, y)


@pytest.mark.slow
def test_a_product_keeps_the_function_that_it_was_made_for():
    """A later change of an attribute reaches no chunk, whether or not it has been computed already."""
    model, (x, y) = Net(), nets.examples(SHAPE)
    multiply, pull = (module.product(model, x, y, chunk_size=4) for module in (hessian, gauss_newton))
    truth = references.difference_product(model, x, y, VECTOR)
    curvature = references.gauss_newton(model, x, y, references.softmax_curvature)
    model.temperature = 5.0
    close(multiply(VECTOR), truth, 1e-6)
    close(pull(VECTOR), curvature @ VECTOR, 1e-10)


class Captured(keras.Model):
    """A net that calls what was compiled before."""

    def __init__(self, compiled):
        """Remembers what was compiled and the layers that it holds."""
        super().__init__()
        self.compiled, self.logits = compiled, L.Dense(3)
        self(np.zeros((1, *SHAPE)))

    def call(self, x):
        """Logits of what the compiled function gives."""
        return self.logits(self.compiled(x))


KEPT = []  # what holds the variables of functions
LAYER = L.Dense(4, dtype="float64")


def concrete():
    """A concrete function of a layer."""
    LAYER.build((None, *SHAPE))
    return Captured(tf.function(lambda x: LAYER(x)).get_concrete_function(tf.TensorSpec((None, *SHAPE), tf.float64)))


def saved(folder):
    """A layer that was saved and loaded again."""
    inner = keras.Sequential([keras.Input(SHAPE), L.Dense(4, activation="tanh")])
    inner.export(str(folder), verbose=False)
    loaded = tf.saved_model.load(str(folder))
    KEPT.append(loaded)
    return Captured(loaded.serve)


def raw():
    """A variable that Keras does not know."""
    variable = tf.Variable(np.ones(4))
    return Captured(lambda x: x * variable)


@pytest.mark.parametrize("build", [concrete, saved, raw])
def test_variables_out_of_reach(build, tmp_path):
    """What a measure could not change is refused: with it, H would miss entries."""
    model = build(tmp_path) if build is saved else build()
    with cases.refused("reads", "past Keras"):
        hessian.trace(model, *nets.examples(SHAPE))


def normalised(moments, **keep):
    """Normalisation by a function that gives mean and variance."""

    def normalise(z):
        mean, variance = moments(z, [-1], **keep)
        return (z - mean) / tf.sqrt(variance + 0.1)

    return normalise


@tf.custom_gradient
def cube(z):
    """A custom gradient that is correct to all orders."""
    return z**3, lambda slope: slope * 3 * z**2


traced = tf.function(normalised(tf.nn.moments, keepdims=True))
traced(np.ones((2, 4)))
RIGHT = {
    "custom gradient": cube,
    "traced moments": traced,
    "imported moments": normalised(imported_moments, keepdims=True),
    "fixed random numbers": lambda z: z * tf.random.stateless_normal((4,), (1, 2), dtype=z.dtype),
    "a constant variable": lambda z: z * CONSTANT,
    "moments of version 1": normalised(tf.compat.v1.nn.moments, keep_dims=True),
    "moments in a loop": lambda z: tf.map_fn(traced, z),
    "silu": tf.nn.silu,
    "logsumexp": lambda z: z * tf.reduce_logsumexp(z, axis=1, keepdims=True),
    "singular values": lambda z: z * tf.linalg.svd(tf.reshape(z, (-1, 2, 2)), compute_uv=False)[:, :1],
}
CONSTANT = tf.Variable(np.arange(4.0), trainable=False)


@pytest.mark.parametrize("name", cases.some(RIGHT, 4))
def test_right(name):
    """Differences of gradients agree."""
    assert_right(around(RIGHT[name]))


@tf.custom_gradient
def straight_through(z):
    """Rounded numbers with the gradient of the identity."""
    return tf.round(4 * z) / 4, lambda slope: slope


@tf.custom_gradient
def reversal(z):
    """The identity with the opposite gradient."""
    return tf.identity(z), lambda slope: -slope


@tf.custom_gradient
def right_once(z):
    """A gradient that is right, whose own gradient is not."""
    held = tf.stop_gradient(z)
    return z**3, lambda slope: slope * 3 * held**2


@tf.custom_gradient
def blocks_second(z):
    """An exponential whose gradient holds it constant."""
    held = tf.exp(z)
    return held, lambda slope: slope * tf.stop_gradient(held)


NOT_DERIVATIVES = {
    "signs": lambda z: z + tf.stop_gradient(tf.sign(z) - z),
    "fine rounding": lambda z: z + tf.stop_gradient(tf.round(127 * z) / 127 - z),
    "half a branch": lambda z: z * tf.stop_gradient(tf.tanh(z)),
    "custom rounding": straight_through,
    "reversal": reversal,
    "right once": right_once,
    "right once, exponential": blocks_second,
    "passed through": tf.grad_pass_through(lambda z: tf.round(4 * z) / 4),
    "quantised": lambda z: tf.cast(tf.quantization.fake_quant_with_min_max_args(tf.cast(z, "float32")), z.dtype),
    "NumPy": lambda z: tf.ensure_shape(tf.numpy_function(lambda a: a**3, [z], z.dtype), z.shape),
}


@pytest.mark.parametrize("name", cases.some([*list(NOT_DERIVATIVES)[::2], *list(NOT_DERIVATIVES)[1::2]], 4))
def test_gradients_that_are_no_derivatives(name):
    """What autodiff gives twice is the derivative of nothing."""
    with cases.refused("is not the derivative"):
        hessian.product(around(NOT_DERIVATIVES[name]), *nets.examples(SHAPE))


@pytest.mark.parametrize("measure", [hessian.dense, hessian.diagonal, hessian.blocks, gauss_newton.product])
def test_every_second_derivative_is_guarded(measure):
    """Not the products alone; in float32 too."""
    precision("float32")
    with cases.refused("is not the derivative", "float64 copy"):
        measure(around(straight_through), *nets.examples(SHAPE))


@pytest.mark.slow
def test_strong_curvature_is_not_taken_for_a_wrong_derivative():
    """A recurrent net whose differences need steps of 1e-5 of its weights."""
    precision("float32")
    net = keras.Sequential([keras.Input((12,)), L.Embedding(20, 4), L.LSTM(4), L.Dense(3)])
    nets.with_random_weights(net, np.random.default_rng(2))
    net.set_weights([16 * weight for weight in net.get_weights()])
    x, y = np.random.default_rng(0).integers(0, 20, (16, 12)), np.random.default_rng(1).integers(0, 3, 16)
    vector = np.random.default_rng(3).normal(size=net.count_params())
    found = hessian.product(net, x, y)(vector)
    truth = references.difference_product(models.with_dtype(net, "float64"), x, y, vector, step=1e-7)
    np.testing.assert_allclose(found, truth, atol=1e-3 * np.abs(truth).max())


@pytest.mark.parametrize("name", cases.some(["traced moments", "custom gradient", "logsumexp", "silu"], 1))
def test_right_ones_are_accepted_in_float32(name):
    """Rounding is not taken for an error, also behind a layer with kinks."""
    precision("float32")
    layers = [L.Dense(16, activation="relu"), L.Dense(4), L.Lambda(RIGHT[name]), L.Dense(3)]
    model = random(keras.Sequential([keras.Input(SHAPE), *layers]))
    x, y = nets.examples(SHAPE, 40)
    assert np.isfinite(hessian.trace(model, x.astype("float32"), y))


def pool(z):
    """Max pooling that keeps the shape."""
    return tf.nn.max_pool2d(z, 2, 1, "SAME")


def resize(z):
    """Bilinear resizing to the same shape."""
    return tf.cast(tf.image.resize(tf.image.resize(z, (7, 7)), (4, 4)), z.dtype)


HIDDEN = {
    "tf.function": tf.function,
    "map_fn": lambda f: lambda z: tf.map_fn(lambda one: f(one[None])[0], z),
    "cond": lambda f: lambda z: tf.cond(tf.reduce_sum(z) > -1e9, lambda: f(z), lambda: z),
    "while": lambda f: lambda z: tf.while_loop(lambda i, a: i < 2, lambda i, a: (i + 1, f(a)), (0, z))[1],
    "tf.function in map_fn": lambda f: HIDDEN["map_fn"](tf.function(f)),
}


PLACES = [*zip((pool, resize) * 3, HIDDEN, strict=False), *zip((resize, pool) * 3, HIDDEN, strict=False)]


@pytest.mark.parametrize(("step", "name"), cases.some(PLACES, 4))
def test_wrong_kernels_are_found_where_they_hide(step, name):
    """In functions, loops and branches."""
    with cases.refused("wrongly the second time"):
        hessian.product(around(HIDDEN[name](step), IMAGE), *nets.examples(IMAGE))


GENERATOR = keras.random.SeedGenerator(0)
BY_NAME = {
    "random": (lambda z: z + tf.random.normal(tf.shape(z), dtype=z.dtype), "random numbers"),
    "random, of Keras": (lambda z: z + keras.random.normal(tf.shape(z), seed=GENERATOR), "random numbers"),
    "batch mean": (lambda z: z - tf.reduce_mean(z, axis=0), "mixes examples"),
    "sums over the batch": (tf.cumsum, "mixes examples"),
    "the first example": (lambda z: z * z[:1], "mixes examples"),
    "their number": (lambda z: z * tf.cast(tf.shape(z)[0], z.dtype), "mixes examples"),
    "no derivative": (tf.recompute_grad(lambda z: z * tf.sin(z)), "cannot differentiate this model twice"),
    "Python": (
        lambda z: tf.ensure_shape(tf.py_function(lambda a: a**3, [z], z.dtype), z.shape),
        "cannot differentiate",
    ),
}


@pytest.mark.parametrize("name", BY_NAME)
def test_refused_by_name(name):
    """Random outputs, outputs that depend on other examples, and what has no second derivative."""
    function, words = BY_NAME[name]
    with cases.refused(words):
        hessian.product(around(function), *nets.examples(SHAPE))
