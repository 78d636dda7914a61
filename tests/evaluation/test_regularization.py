"""The model's own losses: counted if they are asked for, as the objective's differences are, and else left out."""

import cases
import keras
import nets
import numpy as np
import pytest
import references
import tensorflow as tf
from cases import close

from hw1 import evaluation
from hw1.measures import gauss_newton, hessian

L = keras.layers
X, Y = nets.examples((4,))


class Adding(keras.Model):
    """A net that adds a loss of its activations and one of its weights."""

    def __init__(self):
        """Makes the layers."""
        super().__init__(dtype="float64")
        self.hidden, self.logits = (L.Dense(size, dtype="float64") for size in (4, 3))
        self(X)

    def call(self, x):
        """Logits [n, 3]."""
        hidden = tf.tanh(self.hidden(x))
        self.add_loss(0.1 * tf.reduce_mean(hidden**4) + 0.1 * tf.reduce_sum(tf.sin(self.hidden.kernel)))
        return self.logits(hidden)


def chain(frozen=False, activity=None):
    """A net with regularised layers, the first of which may be frozen."""
    first = L.Dense(4, "tanh", kernel_regularizer="l2", activity_regularizer=activity, dtype="float64")
    first.trainable = not frozen
    model = keras.Sequential(
        [keras.Input((4,), dtype="float64"), first, L.Dense(3, bias_regularizer="l2", dtype="float64")]
    )
    model.dtype_policy = "float64"
    return model


BUILDERS = {
    "kernels": chain,
    "activity": lambda: chain(activity=keras.regularizers.L2(0.3)),
    "frozen": lambda: chain(frozen=True),
    "add_loss": Adding,
}


def objective(model, own):
    """The mean loss, plus the model's own losses if asked for, and its gradient by one tape."""
    parameters = [v.value for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(references.cross_entropy(Y, model(X, training=False)))
        total = value + tf.add_n(model.losses) if own else value
    return float(total), references.flat(tape.gradient(total, parameters, unconnected_gradients="zero"))


def difference(model, vector, own):
    """The product with the objective's Hessian by central differences."""
    theta, slopes = references.flat(model.trainable_variables), []
    for sign in (1, -1):
        with references.moved(model, theta + sign * 1e-5 * vector):
            slopes.append(objective(model, own)[1])
    return (slopes[0] - slopes[1]) / 2e-5


@pytest.mark.parametrize("name", cases.some(BUILDERS))
def test_own_losses(name):
    """Loss, Hessian and Gauss–Newton product, in chunks that do not divide the examples; left out if not asked for."""
    model = nets.with_random_weights(BUILDERS[name](), np.random.default_rng(3))
    vector = np.random.default_rng(4).normal(size=len(references.flat(model.trainable_variables)))
    truths = [difference(model, vector, own) for own in (False, True)]
    options = {"regularization": True, "chunk_size": 4}
    loss, accuracy = evaluation.evaluate(model, X, Y, **options)
    assert loss == pytest.approx(objective(model, True)[0], rel=1e-12)
    assert accuracy == references.accuracy(model, X, Y)
    close(hessian.product(model, X, Y, **options)(vector), truths[1], 1e-7)
    curvature = references.gauss_newton(model, X, Y, references.softmax_curvature)
    expected = curvature @ vector + truths[1] - truths[0]
    close(gauss_newton.product(model, X, Y, **options)(vector), expected, 1e-6)
    close(hessian.product(model, X, Y)(vector), truths[0], 1e-7)
    assert np.abs(truths[1] - truths[0]).max() > 1e-3


def test_own_losses_that_depend_on_the_batch():
    """Keras divides activity losses by the size of the batch: a mean over it is then divided twice."""
    model = chain(activity=lambda z: 0.1 * tf.reduce_mean(z**4))
    with cases.refused("own losses", "chunk_size=11"):
        evaluation.evaluate(model, X, Y, regularization=True, chunk_size=4)
    found = evaluation.evaluate(model, X, Y, regularization=True)[0]
    assert found == pytest.approx(objective(model, True)[0], rel=1e-12)
