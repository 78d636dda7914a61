"""Losses and targets as users give them, against closed forms; logits and probabilities are not mixed up."""

import cases
import keras
import nets
import numpy as np
import pytest
import tensorflow as tf
from cases import close

from hw1.evaluation import evaluate
from hw1.measures import hessian

L, K = keras.layers, keras.losses
X, Y = nets.examples((4,))
BINARY = Y % 2
SOFT = np.random.default_rng(1).dirichlet(np.ones(3), len(X))


def net(outputs, activation=None, shape=(4,), scale=1.0, bias=0.0):
    """A float64 net without hidden layers."""
    dense = L.Dense(outputs, activation=activation, dtype="float64")
    model = keras.Sequential([keras.Input(shape, dtype="float64"), dense])
    model.dtype_policy = "float64"
    nets.with_random_weights(model, np.random.default_rng(1))
    for variable in model.variables:
        variable.assign(variable * scale)
    dense.bias.assign(dense.bias + bias)
    return model


def logits(model):
    """The model's outputs as an array."""
    return np.asarray(model(X))


def cross(p, z):
    """−Σ p ln softmax(z) for each row."""
    return np.log(np.exp(z).sum(axis=-1)) - (p * z).sum(axis=-1)


def bernoulli(y, z):
    """−y ln σ(z) − (1 − y) ln σ(−z)."""
    return np.log1p(np.exp(z)) - y * z


ONE_HOT = np.eye(3)[Y]
CLOSED = {
    "labels": (3, None, Y, lambda z: cross(ONE_HOT, z)),
    "labels in a column": (3, None, Y[:, None], lambda z: cross(ONE_HOT, z)),
    "one-hot": (3, None, ONE_HOT, lambda z: cross(ONE_HOT, z)),
    "soft labels": (3, None, SOFT, lambda z: cross(SOFT, z)),
    "label smoothing": (
        3,
        K.CategoricalCrossentropy(from_logits=True, label_smoothing=0.3),
        ONE_HOT,
        lambda z: cross(0.7 * ONE_HOT + 0.1, z),
    ),
    "mse": (3, "mse", SOFT, lambda z: ((SOFT - z) ** 2).mean(axis=1)),
    "mse of a column": (1, "mse", SOFT[:, 0], lambda z: (SOFT[:, 0] - z[:, 0]) ** 2),
    "binary logits": (1, K.BinaryCrossentropy(from_logits=True), BINARY, lambda z: bernoulli(BINARY, z[:, 0])),
    "two classes": (2, None, BINARY, lambda z: cross(np.eye(2)[BINARY], z)),
    "a function with a setting": (
        3,
        lambda y, z: K.huber(y, z, delta=1e9),
        SOFT,
        lambda z: ((SOFT - z) ** 2).mean(1) / 2,
    ),
}


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms(name):
    """The mean loss, and its second difference along all ones, which a linear net makes one in the logits."""
    outputs, loss, y, closed = CLOSED[name]
    model = net(outputs)
    assert evaluate(model, X, y, loss)[0] == pytest.approx(closed(logits(model)).mean(), rel=1e-12)
    multiply = hessian.product(model, X, y, loss=loss, chunk_size=4)
    ones, step = np.ones(multiply.size), 1e-4
    move = step * (X.sum(axis=1, keepdims=True) + 1)  # of all logits
    z = logits(model)
    second = (closed(z + move) - 2 * closed(z) + closed(z - move)).mean() / step**2
    assert ones @ multiply(ones) == pytest.approx(second, rel=1e-5, abs=1e-6)


def test_losses_for_each_pixel():
    """Averaged over the pixels of an image."""
    images, labels = nets.examples((3, 2))[0], np.random.default_rng(2).integers(0, 3, (11, 3))
    model = net(3, shape=(3, 2))
    values = cross(np.eye(3)[labels], np.asarray(model(images)))
    for y, loss in ((labels, None), (np.eye(3)[labels], K.CategoricalCrossentropy(from_logits=True))):
        assert evaluate(model, images, y, loss)[0] == pytest.approx(values.mean(), rel=1e-12)
    weight = np.arange(1.0, 12)
    weighted = evaluate(model, images, labels, sample_weight=weight)[0]
    assert weighted == pytest.approx((weight * values.mean(axis=1)).mean(), rel=1e-12)


def test_probabilities_with_a_loss_of_probabilities():
    """Softmax and sigmoid at the end, and the losses that take them."""
    assert evaluate(net(3, "softmax"), X, Y, "sparse_categorical_crossentropy")[0] == pytest.approx(
        cross(ONE_HOT, logits(net(3))).mean(), rel=1e-6
    )
    assert evaluate(net(1, "sigmoid"), X, BINARY, "binary_crossentropy")[0] == pytest.approx(
        bernoulli(BINARY, logits(net(1))[:, 0]).mean(), rel=1e-6
    )


def by_hand(z):
    """A softmax that no operation names."""
    return tf.exp(z) / tf.reduce_sum(tf.exp(z), axis=-1, keepdims=True)


REFUSED = {
    "logits taken for probabilities": (net(3), "sparse_categorical_crossentropy", Y, ["takes probabilities"]),
    "small positive logits": (net(3, "relu", scale=0.05), "categorical_crossentropy", SOFT, ["takes probabilities"]),
    "logits that happen to lie in [0, 1]": (net(1, scale=0.01, bias=0.5), "binary_crossentropy", BINARY, ["takes"]),
    "binary logits taken for probabilities": (net(1), "binary_crossentropy", BINARY, ["takes probabilities"]),
    "softmax": (net(3, "softmax"), None, Y, ["probabilities", "softmax"]),
    "softmax by hand": (net(3, by_hand), None, Y, ["probabilities"]),
    "sigmoids": (net(3, "sigmoid"), None, Y, ["probabilities", "sigmoid"]),
    "one sigmoid": (net(1, "sigmoid"), K.BinaryCrossentropy(from_logits=True), BINARY, ["probabilities", "sigmoid"]),
    "softmax for logits": (net(3, "softmax"), K.CategoricalCrossentropy(from_logits=True), SOFT, ["probabilities"]),
    "one logit": (net(1), None, BINARY, ["two classes or more", "BinaryCrossentropy(from_logits=True)"]),
    "no probabilities": (net(3), None, 2 * SOFT, ["not of probabilities"]),
    "broadcast": (net(1), lambda y, z: tf.reduce_mean((y - z) ** 2, axis=-1), BINARY.astype(float), ["broadcast"]),
    "a mean over the batch": (net(1), lambda y, z: z[:, 0] - tf.reduce_mean(z), BINARY, ["broadcast"]),
    "one number": (net(3), lambda y, z: tf.reduce_sum(z), Y, ["one value per example"]),
    "wrong shapes": (net(3), lambda y, z: z - y[:, None, :], SOFT[:, :2], ["loss fails", "[11, 2]"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    """Logits for probabilities and the other way round, and losses that are not one value for each example."""
    model, loss, y, words = REFUSED[name]
    with cases.refused(*words):
        hessian.product(model, X, y, loss=loss)


def test_a_broadcast_loss_of_sorted_targets():
    """The first examples have one target, so that only later ones would tell; and the outputs are all equal."""
    model, x, y = net(1, scale=0.0), np.random.default_rng(0).normal(size=(80, 4)), np.repeat([0.0, 1.0], 40)
    for loss in (lambda y, z: (y - z) ** 2, lambda y, z: (y[:, None] - z[:, 0]) ** 2):
        with cases.refused("broadcast"):
            hessian.product(model, x, y, loss=loss)


def test_keras_squeezes_what_would_broadcast():
    """Its own squared error of targets [n] and outputs [n, 1]."""
    model = net(1)
    truth = hessian.dense(model, X, SOFT[:, :1], loss="mse")
    close(hessian.dense(model, X, SOFT[:, 0], loss=K.MeanSquaredError()), truth)
