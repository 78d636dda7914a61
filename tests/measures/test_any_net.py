"""Random nets of fifty kinds of layers: products and Hessian are differences of gradients, or are refused by name.

A net is a chain of steps that fit each other's shapes. A step is a layer, a join of two branches, a layer used twice,
or a net inside the net. The truth is the central difference of gradients that one plain tape takes of the plain model.

More nets: ``HW1_FUZZ=300 pytest -n 0 -s tests/measures/test_any_net.py``, which also prints what was refused.
"""

import collections
import contextlib
import os
import re

import cases
import hypothesis
import keras
import numpy as np
import pytest
import references
import tensorflow as tf
from hypothesis import strategies as st

from hw1.measures import hessian

L = keras.layers
FEW = 6 if cases.EVERY_CASE else 2
NETS = int(os.environ.get("HW1_FUZZ", FEW))
MOST_PARAMETERS, CLASSES, EXAMPLES = 400, 3, 5
OUTCOMES = collections.Counter()
# An error counts as a refusal by name if it says one of these things. Anything else that is raised is a fault.
REFUSALS = (
    r"wrongly the second time|cannot differentiate this model twice|carry a mask|is not the derivative of|own losses"
)

# All of Keras but those that change the shape, need arguments, or have no second derivative in TensorFlow (softsign).
OTHERS = {"deserialize", "get", "serialize", "glu", "softsign", "threshold"}
ACTIVATIONS = [name for name in dir(keras.activations) if not name.startswith("_") and name not in OTHERS]


def activation(draw):
    """The name of an activation that keeps the shape."""
    return draw(st.sampled_from(ACTIVATIONS))


def few(draw, least=1, most=3):
    """A small number."""
    return draw(st.integers(least, most))


ANY = {
    "Dense": lambda d, s: L.Dense(few(d, 2, 4), activation=activation(d), use_bias=d(st.booleans())),
    "EinsumDense": lambda d, s: L.EinsumDense("...a,ab->...b", 3, bias_axes="b"),
    "Activation": lambda d, s: L.Activation(activation(d)),
    "BatchNormalization": lambda d, s: L.BatchNormalization(center=d(st.booleans())),
    "LayerNormalization": lambda d, s: L.LayerNormalization(),
    "RMSNormalization": lambda d, s: L.RMSNormalization(),
    "UnitNormalization": lambda d, s: L.UnitNormalization(),
    "GroupNormalization": lambda d, s: L.GroupNormalization(-1 if s[-1] % 2 else 2),
    "Dropout": lambda d, s: L.Dropout(0.4),
    "GaussianNoise": lambda d, s: L.GaussianNoise(0.3),
    "ActivityRegularization": lambda d, s: L.ActivityRegularization(l2=0.1),
    "PReLU": lambda d, s: L.PReLU("uniform"),
    "LeakyReLU": lambda d, s: L.LeakyReLU(0.2),
    "ELU": lambda d, s: L.ELU(0.7),
    "ReLU": lambda d, s: L.ReLU(max_value=2.0, negative_slope=0.1, threshold=0.1),
    "Softmax": lambda d, s: L.Softmax(),
    "Rescaling": lambda d, s: L.Rescaling(0.5, offset=0.1),
    "Lambda": lambda d, s: L.Lambda(d(st.sampled_from([tf.sin, tf.nn.swish, lambda z: z * tf.sigmoid(z)]))),
}
VECTOR = ANY | {
    "RepeatVector": lambda d, s: L.RepeatVector(3),
    "Reshape to a sequence": lambda d, s: L.Reshape((-1, 2) if s[0] % 2 == 0 else (-1, 1)),
    "SpectralNormalization": lambda d, s: L.SpectralNormalization(L.Dense(3)),
}
RECURRENT = (L.LSTM, L.GRU, L.SimpleRNN)


def recurrent(draw):
    """A recurrent layer."""
    kind, options = draw(st.sampled_from(RECURRENT)), {}
    if kind is L.GRU:
        options["reset_after"] = draw(st.booleans())
    return kind(2, return_sequences=draw(st.booleans()), go_backwards=draw(st.booleans()), **options)


SEQUENCE = ANY | {
    "Conv1D": lambda d, s: L.Conv1D(2, 2, padding=d(st.sampled_from(["same", "causal"])), dilation_rate=few(d, 1, 2)),
    "SeparableConv1D": lambda d, s: L.SeparableConv1D(2, 2, padding="same"),
    "DepthwiseConv1D": lambda d, s: L.DepthwiseConv1D(2, padding="same"),
    "Conv1DTranspose": lambda d, s: L.Conv1DTranspose(2, 2, strides=few(d, 1, 2)),
    "MaxPooling1D": lambda d, s: L.MaxPooling1D(2, few(d, 1, 2), padding="same"),
    "AveragePooling1D": lambda d, s: L.AveragePooling1D(2, padding="same"),
    "GlobalAveragePooling1D": lambda d, s: L.GlobalAveragePooling1D(),
    "GlobalMaxPooling1D": lambda d, s: L.GlobalMaxPooling1D(),
    "SpatialDropout1D": lambda d, s: L.SpatialDropout1D(0.3),
    "ZeroPadding1D": lambda d, s: L.ZeroPadding1D(1),
    "Cropping1D": lambda d, s: L.Cropping1D((0, 1) if s[0] > 1 else 0),
    "UpSampling1D": lambda d, s: L.UpSampling1D(2),
    "Permute": lambda d, s: L.Permute((2, 1)),
    "recurrent": lambda d, s: recurrent(d),
    "Bidirectional": lambda d, s: L.Bidirectional(d(st.sampled_from(RECURRENT))(2, return_sequences=d(st.booleans()))),
    "TimeDistributed": lambda d, s: L.TimeDistributed(L.Dense(2, activation=activation(d))),
    "Masking": lambda d, s: L.Masking(0.0),
    "MultiHeadAttention": lambda d, s: Self(L.MultiHeadAttention(2, 2)),
    "GroupQueryAttention": lambda d, s: Self(L.GroupQueryAttention(2, 2, 1)),
    "Attention": lambda d, s: Self(L.Attention(use_scale=True, score_mode=d(st.sampled_from(["dot", "concat"]))), True),
    "AdditiveAttention": lambda d, s: Self(L.AdditiveAttention(), True),
    "Reshape to an image": lambda d, s: L.Reshape((*s, 1)),
}
IMAGE = ANY | {
    "Conv2D": lambda d, s: L.Conv2D(2, 2, few(d, 1, 2), "same", activation=activation(d)),
    "Conv2D, dilated": lambda d, s: L.Conv2D(2, 2, padding="same", dilation_rate=2),
    "DepthwiseConv2D": lambda d, s: L.DepthwiseConv2D(2, padding="same", depth_multiplier=few(d, 1, 2)),
    "SeparableConv2D": lambda d, s: L.SeparableConv2D(2, 2, padding="same"),
    "Conv2DTranspose": lambda d, s: L.Conv2DTranspose(2, 2, strides=few(d, 1, 2), padding="same"),
    "MaxPooling2D": lambda d, s: L.MaxPooling2D(2, few(d, 1, 2), padding="same"),
    "AveragePooling2D": lambda d, s: L.AveragePooling2D(2, few(d, 1, 2), padding="same"),
    "GlobalAveragePooling2D": lambda d, s: L.GlobalAveragePooling2D(),
    "GlobalMaxPooling2D": lambda d, s: L.GlobalMaxPooling2D(),
    "SpatialDropout2D": lambda d, s: L.SpatialDropout2D(0.3),
    "ZeroPadding2D": lambda d, s: L.ZeroPadding2D(1),
    "Cropping2D": lambda d, s: L.Cropping2D(((0, 1), (1, 0)) if min(s[:2]) > 1 else 0),
    "UpSampling2D": lambda d, s: L.UpSampling2D(2, interpolation=d(st.sampled_from(["nearest", "bilinear"]))),
    "Permute": lambda d, s: L.Permute((3, 1, 2)),
    "RandomFlip": lambda d, s: L.RandomFlip(),
    "PReLU, shared": lambda d, s: L.PReLU("uniform", shared_axes=[1, 2]),
    "rows as a sequence": lambda d, s: L.Reshape((s[0], -1)),
    "ConvLSTM1D": lambda d, s: L.ConvLSTM1D(1, 2, padding="same"),
    "TimeDistributed": lambda d, s: L.TimeDistributed(L.Conv1D(2, 2, padding="same")),
}
LAYERS = {1: VECTOR, 2: SEQUENCE, 3: IMAGE}
JOINS = (L.Add, L.Subtract, L.Multiply, L.Average, L.Maximum, L.Minimum, L.Concatenate, L.Dot)
INPUTS = {"vector": (4,), "sequence": (4, 2), "image": (5, 5, 2), "tokens": (4,)}


class Self(keras.layers.Layer):
    """An attention layer of a sequence to itself."""

    def __init__(self, attention, listed=False):
        """Remembers the layer, and whether it takes its inputs as a list."""
        super().__init__()
        self.attention, self.listed = attention, listed

    def build(self, shape):
        """Builds the attention."""
        if self.listed:
            self.attention.build([shape, shape])
        else:
            self.attention.build(shape, shape)

    def call(self, sequence):
        """[n, steps, channels] to the same."""
        return self.attention([sequence, sequence]) if self.listed else self.attention(sequence, sequence)


class Wrapped(keras.Model):
    """A model as a class, whose call may be a tf.function."""

    def __init__(self, inner, function):
        """Remembers the model."""
        super().__init__()
        self.inner = inner
        self.body = tf.function(self._body) if function else self._body

    def _body(self, x, training):
        return 0.9 * self.inner(x, training=training)

    def call(self, x, training=False):
        """The inner model's outputs, scaled."""
        return self.body(x, training)


def step(draw, tensor):
    """The next tensor behind one or more random layers."""
    shape = tuple(tensor.shape[1:])
    layers = LAYERS[len(shape)]
    kind = draw(st.sampled_from(["layer"] * 6 + ["join", "twice", "nested", "frozen"]))
    layer = layers[draw(st.sampled_from(sorted(layers)))](draw, shape)
    out = layer(tensor)
    if kind == "frozen":
        layer.trainable = False
    elif kind == "twice" and out.shape == tensor.shape:
        out = layer(out)
    elif kind == "nested":
        inside = keras.Input(shape)
        out = keras.Model(inside, layer(inside))(tensor)
    elif kind == "join":
        join = draw(st.sampled_from(JOINS))
        last = out.shape[-1]
        other = L.Dense(last)(tensor) if len(out.shape) == len(tensor.shape) else L.Dense(last)(L.Flatten()(tensor))
        if tuple(other.shape) == tuple(out.shape):
            out = join(-1 if len(out.shape) == 3 else 1)([out, other]) if join is L.Dot else join()([out, other])
            out = L.Reshape((-1,))(out) if len(out.shape) not in (2, 3, 4) else out
    return out


def random_net(draw):
    """A random net, its inputs, its labels, and options of the measures."""
    source = draw(st.sampled_from(sorted(INPUTS)))
    shape = INPUTS[source]
    inputs = keras.Input(shape, dtype="int32" if source == "tokens" else None)
    tensor = L.Embedding(5, 2, mask_zero=draw(st.booleans()))(inputs) if source == "tokens" else inputs
    for _ in range(draw(st.integers(1, 4))):
        tensor = step(draw, tensor)
    if len(tensor.shape) == 2 or draw(st.booleans()):
        outputs = L.Dense(CLASSES, kernel_regularizer="l2")(tensor if len(tensor.shape) == 2 else L.Flatten()(tensor))
    else:  # logits for each token or pixel
        outputs = L.Dense(CLASSES)(tensor)
    model = keras.Model(inputs, outputs)
    hypothesis.assume(0 < sum(int(np.prod(v.shape)) for v in model.trainable_variables) <= MOST_PARAMETERS)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if source == "tokens":
        x = rng.integers(0, 5, (EXAMPLES, *shape))
        x[:, 0] = 1  # no sequence is all padding
    else:
        x = rng.normal(size=(EXAMPLES, *shape))
    wrapping = draw(st.sampled_from(["none", "none", "class", "tf.function"]))
    if wrapping != "none":
        model = Wrapped(model, wrapping == "tf.function")
    for variable in model.trainable_variables:
        width = np.sqrt(variable.shape[-2]) if len(variable.shape) > 1 else 3.0
        one = "gamma" in variable.path or variable.path.endswith("scale")
        variable.assign(rng.normal(size=tuple(variable.shape)) / width + one)
    for _ in range(3):
        model(x, training=True)  # statistics of batch normalisation
    y = rng.integers(0, CLASSES, (EXAMPLES, *outputs.shape[1:-1]))
    options = {"chunk_size": draw(st.sampled_from([None, 2])), "regularization": draw(st.booleans())}
    options["sample_weight"] = draw(st.sampled_from([None, rng.uniform(0.5, 2, EXAMPLES)]))
    return model, x, y, options


@contextlib.contextmanager
def eager():
    """tf.functions run as plain Python: a traced one hides its losses from Keras."""
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def gradient(model, x, y, theta, sample_weight, regularization):
    """The gradient of the objective at θ by one tape, of the model as it is called."""
    with references.moved(model, theta), eager():
        parameters = [v.value for v in model.trainable_variables]
        with tf.GradientTape() as tape:
            losses = references.cross_entropy(y, model(x, training=False))
            losses = tf.reduce_mean(losses, list(range(1, len(losses.shape)))) if len(losses.shape) > 1 else losses
            total = tf.reduce_mean(losses * (1.0 if sample_weight is None else sample_weight))
            if regularization and model.losses:
                total += tf.add_n(model.losses)
        found = tape.gradient(total, parameters, unconnected_gradients="zero")
    return references.flat(found)


def differences(model, x, y, vector, sample_weight, regularization):
    """Hv by central differences of gradients with two steps, and how far the two disagree."""
    theta = references.flat(model.trainable_variables)
    found = []
    for size in (1e-5, 1e-6):
        up, down = (
            gradient(model, x, y, theta + sign * size * vector, sample_weight, regularization) for sign in (1, -1)
        )
        found.append((up - down) / (2 * size))
    return found[1], np.abs(found[0] - found[1]).max()


def outcome(model, x, y, options):
    """How a net was measured: "right", or why it was refused. Asserts that no number is wrong."""
    size = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    vectors = np.random.default_rng(0).normal(size=(1, size))
    terms = {name: options[name] for name in ("sample_weight", "regularization")}
    truths = [differences(model, x, y, vector, **terms) for vector in vectors]
    scale = max(1e-3, max(np.abs(truth).max() for truth, _ in truths))
    if not np.isfinite(scale):
        return "not finite"
    if max(kink for _, kink in truths) > 1e-4 * scale:
        return "kink"  # the two steps disagree: there is no derivative to compare with
    try:
        multiply, matrix = hessian.product(model, x, y, **options), hessian.dense(model, x, y, **options)
    except ValueError as error:
        named = re.search(REFUSALS, str(error))
        if not named:
            raise
        return named.group()
    for vector, (truth, kink) in zip(vectors, truths, strict=True):
        bound = 10 * kink + 1e-6 * scale
        np.testing.assert_allclose(multiply(vector), truth, rtol=0, atol=bound)
        np.testing.assert_allclose(matrix @ vector, truth, rtol=0, atol=bound)
    return "right"


@pytest.fixture
def double():
    """Layers are made in float64."""
    for dtype in ("float64", "float32"):
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)
        if dtype == "float64":
            yield


CHECKS = list(hypothesis.HealthCheck)
# A long run reports the first fault as it is: to make it smaller would take longer than the run.
PHASES = [phase for phase in hypothesis.Phase if NETS == FEW or phase is not hypothesis.Phase.shrink]


@hypothesis.settings(
    max_examples=NETS,
    deadline=None,
    derandomize=NETS == FEW,
    suppress_health_check=CHECKS,
    database=None,
    phases=PHASES,
)
@hypothesis.given(data=st.data())
def test_any_net_is_measured_rightly_or_refused(double, data):
    """No random net gets a wrong number, and no error comes without a name."""
    model, x, y, options = random_net(data.draw)
    OUTCOMES[outcome(model, x, y, options)] += 1
    keras.backend.clear_session()


def test_most_nets_are_measured():
    """A fuzz whose nets are all refused would test nothing."""
    if not OUTCOMES:
        pytest.skip("no net was drawn in this process")
    print("\n", dict(OUTCOMES))
    assert OUTCOMES["right"] > sum(OUTCOMES.values()) / 2
