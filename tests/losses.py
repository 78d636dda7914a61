"""The losses that measures are tested with: as users give them, and the truth about them."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import nets
import numpy as np
import references
import tensorflow as tf


class Loss(NamedTuple):
    """A loss as users give it, and the truth about it.

    Attributes:
        given: what a measure takes: None, a function, or a keras.losses.Loss.
        truth: the same per example in plain TensorFlow, (y, outputs) -> [n].
        curvature: its second derivative in the outputs in closed form, (y, outputs) -> [n, outputs, outputs].
        targets: from labels [n] to what the loss takes.
    """

    given: Callable | keras.losses.Loss | None
    truth: Callable
    curvature: Callable
    targets: Callable


def labels(y):
    """The labels themselves."""
    return y


def one_hot(y):
    """A row for each label, shape [n, classes]."""
    return np.eye(nets.CLASSES)[y]


def real(y):
    """Real numbers that have nothing to do with the labels, shape [n, classes]."""
    return np.random.default_rng(7).normal(size=(len(y), nets.CLASSES))


def distance(y, outputs):
    """A user's own loss: the squared distance to the one-hot row of an integer label."""
    return tf.reduce_sum((outputs - tf.one_hot(y, nets.CLASSES, dtype=outputs.dtype)) ** 2, axis=1)


def quartic(y, outputs):
    """A user's own loss, whose second derivative has all entries and depends on the outputs."""
    return tf.reduce_sum(outputs, axis=1) ** 4 + tf.reduce_sum(outputs**2, axis=1)


def hinge(y, outputs):
    """The multi-class hinge max(0, 1 + max_{j≠y} f_j − f_y): linear but for its kinks."""
    own = tf.one_hot(y, nets.CLASSES, dtype=outputs.dtype)
    others = tf.reduce_max(outputs - 1e9 * own, axis=1)
    return tf.nn.relu(1 + others - tf.reduce_sum(outputs * own, axis=1))


def of_distance(y, outputs):
    """The curvature of `distance`."""
    return np.tile(2 * np.eye(nets.CLASSES), (len(y), 1, 1))


def of_quartic(y, outputs):
    """The curvature of `quartic`."""
    sums = outputs.sum(axis=1)[:, None, None]
    return 12 * sums**2 * np.ones((nets.CLASSES, nets.CLASSES)) + 2 * np.eye(nets.CLASSES)


def of_hinge(y, outputs):
    """The curvature of `hinge` off its kinks."""
    return np.zeros((len(y), nets.CLASSES, nets.CLASSES))


def of_mean_squared_error(y, outputs):
    """The curvature of a mean over the outputs."""
    return of_distance(y, outputs) / nets.CLASSES


_SPARSE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
_SUMMING = keras.losses.MeanSquaredError(reduction="sum")
_MSE, _OF_MSE = references.mean_squared_error, of_mean_squared_error
LOSSES = {
    "cross-entropy": Loss(None, references.cross_entropy, references.softmax_curvature, labels),
    "Keras's sparse cross-entropy": Loss(_SPARSE, references.cross_entropy, references.softmax_curvature, labels),
    "squared error": Loss(keras.losses.mean_squared_error, _MSE, _OF_MSE, real),
    "Keras's squared error that sums": Loss(_SUMMING, _MSE, _OF_MSE, one_hot),
    "distance": Loss(distance, distance, of_distance, labels),
    "quartic": Loss(quartic, quartic, of_quartic, labels),
    "hinge": Loss(hinge, hinge, of_hinge, labels),
}
