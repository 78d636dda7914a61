"""Tiny nets: one table of a dozen kinds, 30 to 90 parameters and three classes, and nets whose loss is a quadratic.

``case(kind, dtype, seed)`` builds a net of the table on first use and keeps it. The weights of a net are the same in
both dtypes, so that the float64 net is the truth for the float32 one. Nothing sits at a special point: units are alive,
biases are not zero, and normalisation has seen data. The tests of the measures take these nets through `cases`.
"""

import contextlib
import functools
from typing import NamedTuple

import keras
import numpy as np
import references

from hw1 import models

CLASSES = 3
SHAPE = (3, 3)  # of an image, except for the nets that say otherwise
EXAMPLES = 11  # a prime, so that no chunk or batch divides it


class Built(NamedTuple):
    """A built net with examples for it."""

    model: keras.Model
    x: np.ndarray
    y: np.ndarray


def mlp(hidden=(4, 3), **options):
    """The 9-4-3-3 net, 67 parameters."""
    return models.mlp(**{"hidden": hidden, "input_shape": SHAPE, "classes": CLASSES} | options)


def cnn(filters=(2, 2), kernel_sizes=(3, 2), pools=(2, 1), dense=(), **options):
    """A convolutional net of 47 parameters on 6 × 6 images: two convolutions with one pooling between them."""
    return models.cnn(
        filters, kernel_sizes, dense, pools=pools, **{"input_shape": (6, 6), "classes": CLASSES} | options
    )


def skip(dtype="float64"):
    """A Functional net with a connection that skips its hidden layer."""
    images = keras.Input(SHAPE, dtype=dtype)
    flat = keras.layers.Flatten(dtype=dtype)(images)
    hidden = keras.layers.Dense(4, activation="tanh", dtype=dtype)(flat)
    added = keras.layers.Add(dtype=dtype)([hidden, keras.layers.Dense(4, dtype=dtype)(flat)])
    return keras.Model(images, keras.layers.Dense(CLASSES, dtype=dtype)(added))


class Subclassed(keras.Model):
    """A net written as a class, of which nothing is known but its call."""

    def __init__(self, dtype="float64", unused=0, normalised=False):
        """Makes the layers; an `unused` variable of that size, batch normalisation."""
        super().__init__(dtype=dtype)
        self.flatten = keras.layers.Flatten(dtype=dtype)
        self.hidden = keras.layers.Dense(4, activation="tanh", dtype=dtype)
        self.norm = keras.layers.BatchNormalization(dtype=dtype) if normalised else None
        self.logits = keras.layers.Dense(CLASSES, dtype=dtype)
        if unused:
            self.unused = self.add_weight(shape=(unused,), name="unused")

    def call(self, images, training=False):
        """From [n, 3, 3] to logits [n, 3]."""
        hidden = self.hidden(self.flatten(images))
        return self.logits(hidden if self.norm is None else self.norm(hidden, training=training))


def subclassed(**options):
    """A subclassed net, built by a first call."""
    model = Subclassed(**options)
    model(np.zeros((1, *SHAPE), options.get("dtype", "float64")))
    return model


def frozen(**options):
    """A dense net of two hidden layers, the first of which is frozen."""
    model = mlp(activation="tanh", **options)
    model.get_layer("hidden_1").trainable = False
    return model


# Images without channels, rows of numbers (gelu) and images with two channels (convolutional, normalised).
BUILDERS = {
    "relu": mlp,
    "tanh": functools.partial(mlp, (4,), activation="tanh"),
    "gelu": functools.partial(mlp, (4,), activation="gelu", input_shape=(9,)),
    "no bias": functools.partial(mlp, (4,), activation="tanh", use_bias=False),
    "convolutional": cnn,
    "normalised": functools.partial(mlp, (4,), batch_normalization=True),
    "convolutional, normalised": functools.partial(
        cnn, (2,), (3,), (2,), batch_normalization=True, input_shape=(6, 6, 2)
    ),
    "dropout": functools.partial(mlp, (4,), dropout=0.4),
    "skip": skip,
    "subclassed": subclassed,
    "frozen layer": frozen,
    "unused variable": functools.partial(subclassed, unused=20),
}
NAMES = tuple(BUILDERS)
NORMALISED = ("normalised", "convolutional, normalised")
SEEDLESS = ("skip", "subclassed", "unused variable")  # their builders take no seed


@functools.cache
def case(kind, dtype="float64", seed=2) -> Built:
    """The net of a kind with the weights of a seed, and examples, which are the same for all seeds."""
    model = perturbed(BUILDERS[kind](dtype=dtype, **({} if kind in SEEDLESS else {"seed": seed})), seed)
    x, y = examples(model.input_shape[1:] if hasattr(model, "input_shape") else SHAPE)
    if dtype != "float64":
        model.set_weights(case(kind, seed=seed).model.get_weights())
    assert np.mean(references.gradient(model, x, y) != 0) > 0.7, "a net of dead units would test nothing"
    return Built(model, x.astype(dtype), y)


def perturbed(model, seed):
    """The model with random weights from `seed`, after a few passes in training mode."""
    rng = np.random.default_rng([seed, 17])
    with_random_weights(model, rng)
    shape = model.input_shape[1:] if hasattr(model, "input_shape") else SHAPE
    for _ in range(3):
        model(rng.random((20, *shape)), training=True)
    return model


def with_random_weights(model, rng):
    """The model with all trainable variables drawn anew, kernels scaled by their width; a gamma is near 1."""
    for variable in model.trainable_variables:
        shape = tuple(variable.shape)
        width = np.sqrt(shape[-2]) if len(shape) > 1 else 3.0
        variable.assign(rng.normal(size=shape) / width + (1.0 if "gamma" in variable.path else 0.0))
    return model


def dead(hidden=(8, 4), **options):
    """A net whose first layer never fires: only the last bias has an effect."""
    model = mlp(hidden=hidden, **options)
    kernel, bias, *others = model.get_weights()
    model.set_weights([kernel, bias - 100, *others])
    return model


def examples(shape=SHAPE, n=EXAMPLES, seed=0):
    """Random images [n, *shape] in float64 and labels [n]."""
    rng = np.random.default_rng([seed, n])
    return rng.random((n, *shape)), rng.integers(0, CLASSES, n)


@contextlib.contextmanager
def unchanged(*measured):
    """Asserts that no variable of the models changes by a bit, whether trained, statistics or random state."""

    def contents():
        return [[(v.path, v.trainable, np.asarray(v).tobytes()) for v in model.variables] for model in measured]

    before = contents()
    yield
    assert contents() == before


def softmax_regression(dtype="float64", seed=0):
    """The net without hidden layers, 30 parameters, for which closed forms exist."""
    return perturbed(mlp(hidden=(), dtype=dtype), seed)


def linear(weights):
    """One linear output of a few inputs, in float64: with the squared error its loss is a quadratic."""
    dense = keras.layers.Dense(1, use_bias=False, dtype="float64", name="dense")
    model = keras.Sequential([keras.Input((len(weights),), dtype="float64", name="inputs"), dense], name="linear")
    model.dtype_policy = "float64"
    dense.set_weights([np.reshape(weights, (-1, 1))])
    return model


def quadratic(hessian, gradient, at):
    """A net, data and a loss whose mean is ½ zᵀHz + gᵀz + 1 in its weights z, for any symmetric H; the net is at `at`.

    With H = Σ λᵢ vᵢvᵢᵀ the examples are the n eigenvectors √n vᵢ, and their targets (λᵢ, √n gᵀvᵢ) weigh the square and
    the value of the net's output.
    """
    values, vectors = np.linalg.eigh(hessian)
    scale = np.sqrt(len(values))
    return linear(at), scale * vectors.T, np.stack([values, scale * vectors.T @ gradient], axis=1), weighed


def weighed(y, outputs):
    """The loss of `quadratic`."""
    return y[:, 0] * outputs[:, 0] ** 2 / 2 + y[:, 1] * outputs[:, 0] + 1


def two_weights(w, v):
    """The net v tanh(wx) of the two weights w and v, in float64: small enough for a grid over its parameters."""
    layers = [
        keras.layers.Dense(1, activation="tanh", use_bias=False, dtype="float64"),
        keras.layers.Dense(1, use_bias=False, dtype="float64"),
    ]
    model = keras.Sequential([keras.Input((1,), dtype="float64"), *layers])
    model.dtype_policy = "float64"
    references.assign(model, np.array([w, v]))
    return model
