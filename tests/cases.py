"""The registry that drives the tests of the measures: a case is a kind of net, a loss with its targets, and a dtype.

A case is built on first use and kept, with its truths: those of `references` on the float64 net, without hw1. A new
measure costs a short file:

    @pytest.mark.parametrize("case", cases.ALL, ids=str)
    def test_my_measure(case):
        found = case.measure(my_module.my_measure, scope="block")
        assert found == pytest.approx(case.truth(references.my_measure), rel=case.bound(1e-12))

Losses are registered in `LOSSES`, kinds of nets in `nets.BUILDERS`, and the combinations that are tested below. Not
all: each kind meets the cross-entropy, and each loss a few kinds.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import keras
import nets
import numpy as np
import pytest
import references
import tensorflow as tf

# Bounds on rounding as a share of the largest entry. float64: some thousand roundings of 2⁻⁵³, for sums over examples,
# inputs and layers follow each other. float32: a hundred roundings of 2⁻²⁴.
BOUNDS = {"float64": 1e-12, "float32": 1e-5}


def close(found, expected, bound=None, scale=None):
    """Asserts that arrays agree up to a share of the largest entry of `expected`, or of `scale`.

    The share follows the dtype of `found` where no bound is given.
    """
    bound = BOUNDS[str(np.asarray(found).dtype)] if bound is None else bound
    largest = np.abs(expected if scale is None else scale).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound * largest)


@contextlib.contextmanager
def refused(*words, kind=ValueError):
    """Asserts that an error of this kind is raised and that its message holds all the words."""
    with pytest.raises(kind, match=r"\w") as caught:
        yield
    assert all(word in str(caught.value) for word in words), caught.value


# Losses


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


# Cases


@dataclasses.dataclass(frozen=True)
class Case:
    """A net with examples and a loss; equal cases share what was built.

    Attributes:
        kind: of net, a name in `nets.BUILDERS`.
        loss: a name in `LOSSES`.
        dtype: of weights, examples and computation.
        seed: of the weights; the examples are the same for all seeds.
    """

    kind: str
    loss: str = "cross-entropy"
    dtype: str = "float64"
    seed: int = 2

    def __str__(self):
        """The id in pytest's output: what is not the default."""
        values = [(field, getattr(self, field.name)) for field in dataclasses.fields(self)]
        return ", ".join(str(value) for field, value in values if value != field.default)

    @property
    def model(self) -> keras.Model:
        """The net."""
        return nets.case(self.kind, self.dtype, self.seed).model

    @property
    def x(self) -> np.ndarray:
        """The inputs, shape [11, ...]."""
        return nets.case(self.kind, self.dtype, self.seed).x

    @property
    def y(self) -> np.ndarray:
        """The targets, shape [11] or [11, classes]."""
        return LOSSES[self.loss].targets(nets.case(self.kind, self.dtype, self.seed).y)

    @property
    def data(self) -> tuple:
        """What every measure takes: model, x, y."""
        return self.model, self.x, self.y

    @property
    def theta(self) -> np.ndarray:
        """The parameters as a flat vector."""
        return references.flat(self.model.trainable_variables)

    @property
    def double(self) -> "Case":
        """The case in float64."""
        return dataclasses.replace(self, dtype="float64")

    def measure(self, measure, **options):
        """What a measure says of the case; asserts that it leaves the net as it is."""
        with nets.unchanged(self.model):
            return measure(*self.data, loss=LOSSES[self.loss].given, **options)

    def truth(self, reference, *arguments, **options):
        """What a function of `references` says of the float64 net."""
        return reference(*self.double.data, *arguments, loss=LOSSES[self.loss].truth, **options)

    @property
    def mean(self) -> float:
        """The mean loss."""
        return self.truth(references.losses).mean()

    @property
    def hessian(self) -> np.ndarray:
        """The Hessian by nested tapes, shape [parameters, parameters]."""
        return _hessian(self.double)

    @property
    def blocks(self) -> list[np.ndarray]:
        """The Hessian's diagonal blocks, one for each trainable variable."""
        return references.block_diagonal(self.model, self.hessian)

    def bound(self, double=BOUNDS["float64"]) -> float:
        """The bound on rounding: `double` for float64 nets, a hundred roundings for float32 nets."""
        return double if self.dtype == "float64" else BOUNDS["float32"]


@functools.cache
def _hessian(case) -> np.ndarray:
    return case.truth(references.hessian)


KINDS = tuple(Case(kind) for kind in nets.BUILDERS)  # each kind of net, with the cross-entropy
OTHER_LOSSES = (  # each other loss
    Case("no bias", "squared error"),
    Case("no bias", "Keras's squared error that sums"),
    Case("normalised", "Keras's sparse cross-entropy"),
    Case("relu", "distance"),
    Case("skip", "quartic"),
    Case("tanh", "hinge"),
)
FEWER = (Case("relu"), Case("convolutional, normalised"), Case("skip"), Case("unused variable"))  # to save time
SINGLE = tuple(dataclasses.replace(case, dtype="float32") for case in FEWER)
DOUBLE = KINDS + OTHER_LOSSES
ALL = DOUBLE + SINGLE
# More combinations, for measures that take a loss apart.
MIXED = (
    Case("convolutional", "hinge"),
    *(dataclasses.replace(case, loss=loss) for case in FEWER for loss in ("distance", "quartic")),
)


# Spectra


class Spectrum(NamedTuple):
    """Eigenvalues that are hard on estimators, for `nets.with_spectrum`, and how well 30 products do all the same.

    Attributes:
        values: the sixty eigenvalues.
        trace_error: bound on the error of the trace by Hutch++, as a share of that of Hutchinson's estimator. A third
            of the products is left for what the dominant directions do not hold: √3 where none dominates, plus chance.
        norm_error: bound on the relative error of the Frobenius norm.
    """

    values: np.ndarray
    trace_error: float
    norm_error: float


SPECTRA = {
    "an outlier": Spectrum(np.r_[100.0, np.ones(59)], 0.1, 1e-3),
    "fast decay": Spectrum(0.5 ** np.arange(60), 0.01, 1e-4),
    "slow decay": Spectrum(1 / np.sqrt(1 + np.arange(60)), 2.0, 0.05),
    "three steps": Spectrum(np.repeat([10.0, 1.0, 0.01], [5, 20, 35]), 0.6, 0.02),
    "both signs": Spectrum(np.r_[np.linspace(-5, -1, 30), np.linspace(1, 6, 30)], 2.5, 0.05),
    "two clusters": Spectrum(np.r_[10 + 1e-4 * np.arange(10), 1e-6 * np.arange(50)], 1e-4, 1e-6),
}
