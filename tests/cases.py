"""The registry that drives the tests of the measures: a case is a kind of net, a loss with its targets, and a dtype.

A case is built on first use and kept, with its truths: those of `references` on the float64 net, without hw1. A new
measure costs a short file:

    @pytest.mark.parametrize("case", cases.ALL, ids=str)
    def test_my_measure(case):
        found = case.measure(my_module.my_measure, scope="block")
        assert found == pytest.approx(case.truth(references.my_measure), rel=case.bound(1e-12))

Kinds of nets are registered in `nets.BUILDERS`, losses in `losses.LOSSES`, and the combinations that are tested below.
Not all: each kind meets the cross-entropy, and each other loss some kind. Of these, `ALL` are a selection, and tests
that take long meet `some` of their values, unless EVERY_CASE=1 is in the environment.
"""

import contextlib
import dataclasses
import functools
import os

import keras
import nets
import numpy as np
import pytest
import references
from losses import LOSSES

# Bounds on rounding as a share of the largest entry. float64: some thousand roundings of 2⁻⁵³, for sums over examples,
# inputs and layers follow each other. float32: a hundred roundings of 2⁻²⁴.
BOUNDS = {"float64": 1e-12, "float32": 1e-5}
EVERY_CASE = "EVERY_CASE" in os.environ
SEEDS = (2, 6, 13)  # of weights; with them few units of any kind of net are dead


def some(values, number=2) -> list:
    """The first values of a list for a test that takes long; all of them with EVERY_CASE=1 in the environment."""
    return list(values)[: None if EVERY_CASE else number]


def close(found, expected, bound=None, scale=None):
    """Asserts that arrays agree up to a share of the largest entry of `expected`, or of `scale`.

    The share follows the dtype of `found` where no bound is given.
    """
    bound = BOUNDS[str(np.asarray(found).dtype)] if bound is None else bound
    largest = np.abs(expected if scale is None else scale).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound * largest)


def standard_errors(samples, expected):
    """By how many standard errors the mean of independent samples differs from what is expected."""
    samples = np.asarray(samples)
    return abs(samples.mean() - expected) / (samples.std(ddof=1) / np.sqrt(len(samples)))


def keep_programs(monkeypatch, *losses):
    """Programs with these losses, which are functions that never change, are kept as those with losses of hw1 are."""
    for loss in losses:
        monkeypatch.setattr(loss, "__module__", "hw1.tests")


@contextlib.contextmanager
def refused(*words, kind=ValueError):
    """Asserts that an error of this kind is raised and that its message holds all the words."""
    with pytest.raises(kind, match=r"\w") as caught:
        yield
    assert all(word in str(caught.value) for word in words), caught.value


@dataclasses.dataclass(frozen=True)
class Case:
    """A net with examples and a loss; equal cases share what was built.

    Attributes:
        kind: of net, a name in `nets.BUILDERS`.
        loss: a name in `losses.LOSSES`.
        dtype: of weights, examples and computation.
        seed: of the weights; the examples are the same for all seeds.
    """

    kind: str
    loss: str = "cross-entropy"
    dtype: str = "float64"
    seed: int = SEEDS[0]

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
        """The parameters as a flat vector, in float64."""
        return references.flat(self.model.trainable_variables).astype("float64")

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
EVERY = KINDS + OTHER_LOSSES + SINGLE
# What measures meet that are built on products and gradients, which are tested with every kind of net and every loss:
# a net of Keras's own layers, and one written as a class, with a loss of the user's own.
SOME = (Case("convolutional, normalised"), Case("unused variable", "distance"))
DOUBLE = KINDS + OTHER_LOSSES if EVERY_CASE else SOME
ALL = EVERY if EVERY_CASE else SOME + SINGLE[:1]
# Kinds of nets for what has no loss, or no other than the cross-entropy.
PLAIN = KINDS if EVERY_CASE else (Case("convolutional, normalised"), Case("unused variable"), Case("tanh"))
# More combinations, for measures that take a loss apart.
MIXED = (
    *(dataclasses.replace(case, loss=loss) for loss in ("quartic", "distance") for case in FEWER),
    Case("convolutional", "hinge"),
)
