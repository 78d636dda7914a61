"""What a model computes in, and in which scale it takes its inputs."""

import cases
import keras
import nets
import numpy as np
import pytest

from hw1 import evaluation, models

L = keras.layers
X, Y = nets.examples((6, 6, 1))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
def test_coarse_numbers(dtype):
    """Half precision is refused; the copy that the message advises is measured."""
    layers = [L.Flatten(), L.Dense(4, activation="relu", dtype=dtype), L.Dense(3, dtype=dtype)]
    model = keras.Sequential([keras.Input(X.shape[1:]), *layers])
    with cases.refused("float16", 'with_dtype(model, "float32")'):
        evaluation.evaluate(model, X, Y)
    assert np.isfinite(evaluation.evaluate(models.with_dtype(model, "float32"), X, Y)[0])


def test_two_precisions_in_one_net():
    """The flat vector of parameters would have none."""
    layers = [L.Flatten(), L.Dense(4, dtype="float64"), L.Dense(3, dtype="float32")]
    with cases.refused("float32 and float64"):
        evaluation.evaluate(keras.Sequential([keras.Input(X.shape[1:]), *layers]), X, Y)


def rescaling(depth, scale=1 / 255, offset=0.0):
    """A net with a Rescaling layer so many models deep."""
    inner = L.Rescaling(scale, offset=offset)
    for _ in range(depth):
        inner = keras.Sequential([keras.Input(X.shape[1:]), inner])
    return keras.Sequential([keras.Input(X.shape[1:]), inner, L.Flatten(), L.Dense(3)])


class Subclassed(keras.Model):
    """A subclassed net that rescales."""

    def __init__(self):
        """Makes the layers."""
        super().__init__()
        self.inner, self.logits = rescaling(1), L.Dense(3)
        self(X)

    def call(self, x):
        """Logits [n, 3]."""
        return self.logits(self.inner(x))


@pytest.mark.parametrize(
    "build",
    [lambda: rescaling(0), lambda: rescaling(2), lambda: rescaling(1, 1 / 127.5, -1.0), Subclassed],
    ids=["first", "nested", "from -1 to 1", "subclassed"],
)
def test_pixels_that_would_be_divided_twice(build):
    """Images in [0, 1] are refused, those from 0 to 255 are not."""
    model = build()
    with cases.refused("rescales pixels", "255 * x"):
        evaluation.evaluate(model, X, Y)
    for x in (255 * X, (255 * X).astype("uint8")):
        assert np.isfinite(evaluation.evaluate(model, x, Y)[0])


def test_other_scales():
    """A layer that halves its inputs takes any."""
    assert np.isfinite(evaluation.evaluate(rescaling(1, 0.5), X, Y)[0])
