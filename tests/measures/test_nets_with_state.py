"""Nets whose calls change their state: measuring leaves it as it was, or they are refused by name."""

import cases
import keras
import nets
import numpy as np

from hw1.measures import hessian

L = keras.layers
SHAPE = (4,)


def random(model, seed=1):
    """The model with random weights."""
    return nets.with_random_weights(model, np.random.default_rng(seed))


class Counting(keras.Model):
    """A net that counts its calls, also in inference mode."""

    def __init__(self):
        """Makes the layer and the counter."""
        super().__init__()
        self.logits, self.count = L.Dense(3), self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        """Logits."""
        self.count.assign_add(1)
        return self.logits(x)


def test_measuring_leaves_a_state_that_calls_change():
    """Also one that the model changes in inference mode."""
    model = Counting()
    model(np.zeros((1, *SHAPE)))
    with nets.unchanged(model):
        hessian.trace(model, *nets.examples(SHAPE))


def test_stateful_layers():
    """Their outputs depend on what was computed before."""
    layers = [keras.Input(batch_shape=(11, 3, 2)), L.LSTM(2, stateful=True), L.Dense(3)]
    with cases.refused("lstm", "stateful"):
        hessian.trace(keras.Sequential(layers), *nets.examples((3, 2)))
