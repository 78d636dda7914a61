"""Nets that compute with more than their weights: statistics, vocabularies, attributes, functions, own classes."""

import functools

import keras
import numpy as np

L = keras.layers
x4 = np.random.default_rng(0).normal(size=(6, 4)) * [0.5, 1, 3, 0.3] + [0.5, -3, 4, 0]


class Scaled(L.Layer):
    """A layer with attributes that its configuration does not hold, and others that it does."""

    def __init__(self, power=1.0, **options):
        """Sets the power from the arguments and the rest to what it is not later."""
        super().__init__(**options)
        self.power, self.factor, self.offsets, self.hidden = power, 1.0, None, 1.0
        self._private = 1.0

    def call(self, x):
        """Factor · x^power + offsets."""
        x = self._private * keras.ops.sign(x) * keras.ops.abs(x) ** self.power * self.factor
        return x if self.offsets is None else x + self.offsets["all"][0]


class Wide(L.Layer):
    """A layer with an attribute that decides the shape of its weights."""

    def __init__(self, **options):
        """Sets it to what it is not later."""
        super().__init__(**options)
        self.width = 1

    def build(self, shape):
        """Makes the weights."""
        self.kernel = self.add_weight(shape=(shape[-1], self.width))

    def call(self, x):
        """From [n, k] to [n, width]."""
        return keras.ops.matmul(x, self.kernel)


class Residual(L.Layer):
    """x + sin(fc(x)): a layer within a layer, which names no precision for it."""

    def __init__(self, **options):
        """Makes the layer within."""
        super().__init__(**options)
        self.fc = L.Dense(4, activation=lambda z: keras.ops.sin(3 * z))

    def build(self, shape):
        """Makes its weights."""
        self.fc.build(shape)

    def call(self, x):
        """From [n, 4] to [n, 4]."""
        return x + self.fc(x)


class Written(keras.Model):
    """A net as a class, without a configuration of its own."""

    def __init__(self, activation="tanh"):
        """Makes the layers, in lists."""
        super().__init__()
        self.blocks = [keras.Sequential([L.Dense(4, activation=activation, name="fc")]) for _ in range(2)]
        self.norm = L.Normalization()
        self.head = L.Dense(3, name="head")

    def call(self, x):
        """From [n, 4] to [n, 3]."""
        x = self.norm(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Noisy(L.Layer):
    """A layer with noise in inference too."""

    def __init__(self, **options):
        """Seeds the noise."""
        super().__init__(**options)
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, x):
        """From [n, 4] to [n, 4]."""
        return x + keras.random.normal(keras.ops.shape(x), seed=self.seeds, dtype=x.dtype)


def chain(*layers, shape=(4,), **options):
    """A net of these layers with three outputs."""
    return keras.Sequential([keras.Input(shape, **options), *layers, L.Dense(3, name="head")])


def adapted(layer, data):
    """The layer after it has seen data."""
    layer.adapt(data)
    return layer


def scaled():
    """A layer whose attributes were set after it was made: a number, an array and a tensor in a dictionary of lists."""
    layer = Scaled(0.5, name="scaled")
    layer.factor, layer.offsets = 7.0, {"all": [np.arange(4.0, dtype="float32")]}
    return layer


def wide():
    """A layer that is wider than it was made, and one within a wrapper that has other attributes."""
    layer = Wide()
    layer.width = 4
    return chain(layer, L.Reshape((1, 4)), L.TimeDistributed(scaled()), L.Flatten())


def mixed():
    """A model in float64 within one in float32."""
    x, within = keras.Input((4,)), keras.Sequential([keras.Input((4,), dtype="float64"), L.Dense(4, dtype="float64")])
    within.dtype_policy = "float64"
    return keras.Model(x, L.Dense(3)(within(x)))


def nested():
    """A shared model and a layer within it that is used alone too, numbers and operations between."""
    x, inside = keras.Input((4,)), L.Dense(4, activation="tanh")
    block = keras.Sequential([keras.Input((4,)), adapted(L.Normalization(), x4), inside], name="block")
    y = keras.ops.sin(block(inside(block(x)))) + 2 * x * np.arange(4, dtype="float32")
    return keras.Model(x, keras.ops.cast(L.Dense(3)(y), "float32"))


def named():
    """Inputs and outputs in dictionaries."""
    a, b = keras.Input((4,), name="a"), keras.Input((4,), dtype="int32", name="b")
    product = L.Dense(3)(a) * L.Dense(3)(keras.ops.cast(b, "float32"))
    return keras.Model({"a": a, "b": b}, {"product": product, "b": b})


def written(*arguments):
    """The net as a class, with statistics."""
    model = Written(*arguments)
    model.norm.adapt(x4)
    model(x4[:1])
    return model


def attention():
    """A net with attention."""
    x = keras.Input((3, 4))
    return keras.Model(x, L.Dense(3)(L.Flatten()(L.MultiHeadAttention(2, 3)(x, x))))


def deferred():
    """A net that was built by a call."""
    model = keras.Sequential([L.Dense(4, activation="tanh"), L.Dense(3)])
    model(x4)
    return model


def closure(frequency):
    """A function that has the name of others."""

    def activation(z):
        return keras.ops.sin(frequency * z)

    return activation


words = np.array([["a", "d"], ["b", "z"]])
# Kinds of state outside the weights: a net, and other examples than the random ones.
STATES = {
    "statistics": (lambda: chain(adapted(L.Normalization(), x4)), x4),
    "bins": (lambda: chain(adapted(L.Discretization(num_bins=4), x4), L.Embedding(5, 3), L.Flatten()), x4),
    "words": (
        lambda: chain(
            adapted(L.StringLookup(), np.array(["a", "b", "d"])),
            L.Embedding(5, 3),
            L.Flatten(),
            shape=(2,),
            dtype="string",
        ),
        keras.ops.convert_to_tensor(words),
    ),
    "frequencies": (
        lambda: chain(
            adapted(L.IntegerLookup(output_mode="tf_idf"), np.array([[1, 2, 2], [2, 3, 4]])), shape=(3,), dtype="int64"
        ),
        np.array([[1, 2, 9], [3, 3, 4]]),
    ),
    "attributes": (lambda: chain(scaled()), x4),
    "attributes of the shape": (wide, x4),
    "two precisions": (mixed, x4),
    "activation": (lambda: chain(L.Dense(4, activation=closure(1)), L.Activation(closure(5))), x4),
    "lambda": (lambda: chain(L.Dense(4, activation=lambda z: keras.ops.sin(z) * np.pi)), x4),
    "partial": (lambda: chain(L.Dense(4, activation=functools.partial(keras.activations.elu, alpha=0.3))), x4),
    "Lambda": (lambda: chain(L.Lambda(lambda z, factor: z * factor / np.pi, arguments={"factor": 3.0})), x4),
    "own layers": (lambda: chain(Residual(), Residual()), x4),
    "own layers in wrappers": (
        lambda: chain(L.TimeDistributed(keras.Sequential([keras.Input((4,)), Residual()])), L.Flatten(), shape=(2, 4)),
        x4.reshape(3, 2, 4),
    ),
    "nested": (nested, x4),
    "dictionaries": (named, {"a": x4, "b": np.arange(24).reshape(6, 4)}),
    "written as a class": (written, x4),
    "a class within": (lambda: chain(written(), L.Dense(4)), x4),
    "attention": (attention, x4.reshape(2, 3, 4)),
    "recurrent": (lambda: chain(L.Bidirectional(L.LSTM(2)), shape=(3, 4)), x4.reshape(2, 3, 4)),
    "images of any size": (
        lambda: chain(L.SeparableConv2D(3, 3), L.GlobalAveragePooling2D(), shape=(None, None, 1)),
        np.arange(32.0).reshape(2, 4, 4, 1) / 10,
    ),
    "deferred": (deferred, x4),
}
