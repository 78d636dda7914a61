"""Checks of models and examples: the message says what there is and what should be; examples in chunks."""

import cases
import keras
import nets
import numpy as np
import pytest
import tensorflow as tf
from cases import Case

from hw1 import evaluation


def squared_error(y, outputs):
    """The squared error of the first output, per example."""
    return (outputs[:, 0] - y) ** 2


def lacking(layers):
    """A Sequential net of these layers behind the images."""
    return keras.Sequential([keras.Input(nets.SHAPE), keras.layers.Flatten(), *layers])


def with_nan():
    """A net with one NaN."""
    model = nets.mlp()
    kernel, *others = model.get_weights()
    kernel[1, 2] = np.nan
    model.set_weights([kernel, *others])
    return model


def two_inputs():
    """A net that adds two inputs."""
    inputs = [keras.Input((3,)), keras.Input((3,))]
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Add()(inputs)))


def two_outputs():
    """A net with two heads."""
    images = keras.Input(nets.SHAPE)
    flat = keras.layers.Flatten()(images)
    return keras.Model(images, [keras.layers.Dense(3)(flat), keras.layers.Dense(3)(flat)])


@pytest.mark.parametrize(
    ("build", "kind", "words"),
    [
        (lambda: np.tanh, TypeError, ["keras.Model", "ufunc"]),
        (lambda: keras.Sequential([keras.layers.Dense(3)]), ValueError, ["not built", "Input"]),
        (lambda: nets.Subclassed("float32"), ValueError, ["not built"]),
        (lambda: lacking([]), ValueError, ["no trainable variables"]),
        (lambda: lacking([keras.layers.Dense(3, activation="softmax")]), ValueError, ["probabilities", "softmax"]),
        (
            lambda: lacking([keras.layers.Dense(9), keras.layers.Reshape((3, 3))]),
            ValueError,
            ["y must be integer labels of shape [11, 3]", "[11]"],
        ),
        (with_nan, ValueError, ["non-finite", "hidden_1/kernel"]),
        (two_inputs, ValueError, ["2 inputs"]),
        (two_outputs, ValueError, ["2 outputs"]),
    ],
    ids=["no model", "unbuilt", "unbuilt class", "no variables", "softmax", "rank", "NaN", "inputs", "outputs"],
)
def test_unfit_models(build, kind, words):
    """Every measure checks its model here; the error says what is wrong with it."""
    x, y = nets.examples()
    with cases.refused(*words, kind=kind):
        evaluation.evaluate(build(), x.astype("float32"), y)


def spoilt(array, value):
    """A copy of the array in which one entry is `value`."""
    array = np.array(array, float)
    array[(1,) * array.ndim] = value
    return array


X, Y = nets.examples()


@pytest.mark.parametrize(
    ("x", "y", "loss", "kind", "words"),
    [
        (X[:0], Y[:0], None, ValueError, ["no examples"]),
        (X[0, 0, 0], Y, None, ValueError, ["no examples"]),
        (X[:, :2], Y, None, ValueError, ["[11, 2, 3]", "[n, 3, 3]"]),
        (X[..., None], Y, None, ValueError, ["[11, 3, 3, 1]", "[n, 3, 3]"]),
        (spoilt(X, np.nan), Y, None, ValueError, ["x must hold finite numbers"]),
        (spoilt(X, np.inf), Y, None, ValueError, ["x must hold finite numbers"]),
        (X.astype(str), Y, None, ValueError, ["x must hold real numbers"]),
        (X, Y[:-1], None, ValueError, ["y has shape [10]", "11 examples"]),
        (X, 1, None, ValueError, ["y has shape []", "11 examples"]),
        (X, np.stack([Y, Y], 1), None, ValueError, ["shape [11]", "[11, 3]", "[11, 2]"]),
        (X, Y.astype(float), None, TypeError, ["integer labels", "float64", "loss"]),
        (X, np.where(Y == 2, 3, Y), None, ValueError, ["label 3", "3 classes 0 ... 2"]),
        (X, np.where(Y == 2, -1, Y), None, ValueError, ["label -1", "3 classes 0 ... 2"]),
        (X, spoilt(Y, np.nan), squared_error, ValueError, ["y must hold finite numbers"]),
        (X, Y.astype(float), "mses", ValueError, ["keras.losses", "mses"]),
        (X, Y.astype(float), 3, TypeError, ["loss must be None", "3"]),
        (X, Y.astype(float), lambda y, o: (y - o[:, :1]) ** 2, ValueError, ["one value per example", "broadcast"]),
        (X, Y.astype(float), lambda y, o: tf.reduce_mean(o), ValueError, ["one value per example", "[]"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_unfit_examples(x, y, loss, kind, words):
    """Wrong shapes, numbers, labels, targets and losses; the message gives what there is and what there should be."""
    with cases.refused(*words, kind=kind):
        evaluation.evaluate(Case("relu").model, x, y, loss)


@pytest.mark.parametrize("size", [1, 4, 10, 11, 100])
def test_chunks_count_every_example_once(size):
    """Whether or not the size divides the eleven examples."""
    model, x, y = Case("relu").data
    parts = list(evaluation.Problem(model, x, y, chunk_size=size).chunks())
    assert max(len(part) for part, _ in parts) <= size
    np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), x)
    np.testing.assert_array_equal(np.concatenate([part for _, (part, _) in parts]), y)


@pytest.mark.parametrize("size", [0, -1, 1.5, True])
def test_a_chunk_holds_an_example(size):
    """No chunk size below one."""
    with pytest.raises(ValueError, match="chunk_size must be at least 1"):
        evaluation.Problem(*Case("relu").data, chunk_size=size)
