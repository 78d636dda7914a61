"""The model's own losses: counted if they are asked for, as the objective's differences are, and else left out."""

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
    "activity of a user's function": lambda: chain(activity=lambda z: 0.1 * tf.reduce_mean(z**4)),
    "frozen": lambda: chain(frozen=True),
    "add_loss": Adding,
}


def objective_gradient(model, theta, own):
    """The gradient at θ of the mean loss, plus the model's own losses if asked for, by one tape."""
    parameters = [v.value for v in model.trainable_variables]
    with references.moved(model, theta), tf.GradientTape() as tape:
        value = tf.reduce_mean(references.cross_entropy(Y, model(X, training=False)))
        total = value + tf.add_n(model.losses) if own else value
        slope = tape.gradient(total, parameters, unconnected_gradients="zero")
    return float(total), references.flat(slope)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("name", BUILDERS)
def test_own_losses(name, own):
    """Loss, Hessian and Gauss–Newton matrix; with chunks that do not divide the examples."""
    model = nets.with_random_weights(BUILDERS[name](), np.random.default_rng(3))
    theta, options = references.flat(model.trainable_variables), {"regularization": own, "chunk_size": 4}

    def differences(own):
        rows = []
        for unit in 1e-5 * np.eye(len(theta)):
            up, down = (objective_gradient(model, theta + sign * unit, own)[1] for sign in (1, -1))
            rows.append((up - down) / 2e-5)
        return np.array(rows)

    truth = differences(own)
    assert evaluation.evaluate(model, X, Y, **options)[0] == pytest.approx(objective_gradient(model, theta, own)[0])
    close(hessian.dense(model, X, Y, **options), truth, 1e-7)
    close(hessian.diagonal(model, X, Y, **options), np.diag(truth), 1e-7)
    curvature = references.gauss_newton(model, X, Y, references.softmax_curvature)
    close(gauss_newton.dense(model, X, Y, **options), curvature + truth - differences(False), 1e-6)
