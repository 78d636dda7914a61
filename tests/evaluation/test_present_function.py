"""Every number is of the function that the model and the loss are at the call, whatever was measured before."""

import cases
import keras
import nets
import numpy as np
import pytest
import references
import tensorflow as tf

from hw1 import evaluation
from hw1.measures import hessian, interpolation, sensitivity, sharpness

L = keras.layers
X = np.random.default_rng(0).normal(3, 5, (11, 4))
Y = np.arange(11) % nets.CLASSES


def built(*layers, seed=1):
    """A float64 net with random weights."""
    model = keras.Sequential([keras.Input((4,), dtype="float64"), *layers, L.Dense(3, dtype="float64")])
    model.dtype_policy = "float64"
    return nets.with_random_weights(model, np.random.default_rng(seed))


def hidden():
    """A hidden layer."""
    return L.Dense(4, activation="tanh", dtype="float64", name="hidden")


class Tempered(keras.Model):
    """A linear net whose logits are divided by an attribute."""

    def __init__(self):
        """Makes the layer."""
        super().__init__(dtype="float64")
        self.logits, self.temperature = L.Dense(3, dtype="float64"), 1.0
        self(X)
        nets.with_random_weights(self, np.random.default_rng(1))

    def call(self, x):
        """Logits [n, 3]."""
        return self.logits(x) / self.temperature


def adapt(model):
    """Takes the mean and variance of the examples."""
    model.layers[0].adapt(X)


def load(model):
    """Loads the weights of a net whose Normalization layer has seen the examples."""
    other = built(L.Normalization(dtype="float64"), seed=2)
    adapt(other)
    other.save_weights("w.weights.h5")
    model.load_weights("w.weights.h5")


def relu(model):
    """Sets another activation."""
    model.get_layer("hidden").activation = keras.activations.relu


CHANGES = {
    "adapt": (lambda: built(L.Normalization(dtype="float64")), adapt),
    "load_weights": (lambda: built(L.Normalization(dtype="float64")), load),
    "attribute": (Tempered, lambda model: setattr(model, "temperature", 5.0)),
    "activation": (lambda: built(hidden()), relu),
    "activation beside a Lambda": (lambda: built(L.Lambda(lambda z: z, dtype="float64"), hidden()), relu),
    "frozen": (lambda: built(hidden()), lambda model: setattr(model.get_layer("hidden"), "trainable", False)),
    "call": (lambda: built(hidden()), lambda model: setattr(model.layers[0], "call", lambda z, training=None: 2 * z)),
}


def numbers(model, loss=None):
    """What loss and product say."""
    multiply = hessian.product(model, X, Y, loss=loss)
    return {
        "loss": evaluation.evaluate(model, X, Y, loss)[0],
        "product": multiply(np.arange(multiply.size)),
    }


def more_numbers(model):
    """What other measures say."""
    size = len(references.flat(model.trainable_variables))
    return {
        "trace": float(hessian.trace(model, X, Y, probes=3 * size)),
        "input": sensitivity.loss_gradient_norm(model, X, Y),
        "line": interpolation.line(model, model, [0.5], X, Y).loss[0],
        "start": sharpness.keskar_sharpness(model, X, Y, iterations=1, starts=1).loss,
    }


def truths(model, loss=references.cross_entropy):
    """What `numbers` says, from the plain model."""
    vector = np.arange(len(references.flat(model.trainable_variables)))
    length = np.linalg.norm(vector)
    product = length * references.difference_product(model, X, Y, vector / length, loss)
    return {"loss": references.losses(model, X, Y, loss).mean(), "product": product}


def more_truths(model):
    """What `more_numbers` says, from the plain model."""
    mean, size = references.losses(model, X, Y).mean(), len(references.flat(model.trainable_variables))
    products = [references.difference_product(model, X, Y, unit) for unit in np.eye(size)]
    slopes = references.input_gradients(model, X, Y)
    return {
        "trace": np.trace(products),
        "input": np.sqrt((slopes**2).sum(axis=1)).mean(),
        "line": mean,
        "start": mean,
    }


def assert_true(found, expected):
    """Each number is its truth, up to the error of the differences."""
    for name, value in found.items():
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-6 * scale + 1e-8, err_msg=name)


@pytest.mark.parametrize("name", cases.some([*list(CHANGES)[::2], *list(CHANGES)[1::2]], 4))
def test_a_change_of_the_net_reaches_every_number(name, tmp_path, monkeypatch):
    """The truths before and after differ, and the measures give each."""
    monkeypatch.chdir(tmp_path)
    build, change = CHANGES[name]
    model = build()
    before = truths(model)
    assert_true(numbers(model), before)
    change(model)
    after = truths(model)
    assert name == "frozen" or abs(after["loss"] - before["loss"]) > 1e-3
    assert_true(numbers(model), after)
    if name in ("adapt", "attribute"):
        assert_true(more_numbers(model), more_truths(model))


class Scaled(keras.losses.Loss):
    """A loss with a factor."""

    def __init__(self):
        """The factor is 1."""
        super().__init__()
        self.factor = 1.0

    def call(self, y, logits):
        """The cross-entropy of each example, scaled."""
        return self.factor * references.cross_entropy(tf.cast(y, "int32"), logits)


def test_a_change_of_the_loss_reaches_every_number():
    """A loss object or a closure that was changed in place."""
    model, loss, held = built(hidden()), Scaled(), {"factor": 1.0}

    def closure(y, logits):
        return held["factor"] * references.cross_entropy(y, logits)

    expected = truths(model)
    for factor in (1.0, 10.0):
        loss.factor = held["factor"] = factor
        for given in (loss, closure):
            assert_true(numbers(model, given), {name: factor * value for name, value in expected.items()})
