"""What a data set is: training and test examples, or all examples and how each seed divides them."""

import functools
import hashlib
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

KEYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test images with their labels, or points of a function.

    Attributes:
        x_train: float32 [n, height, width] or [n, height, width, channels], in [0, 1]; of a function float64 [n, 1].
        y_train: int32 [n], in [0, classes); of a function float64 [n, 1].
        x_test: as `x_train`.
        y_test: as `y_train`.
        name: the name or path given to `load`, or that of the function.
        classes: number of classes that occur in the whole data set (before subsets); of a function 1.
        labels: what the data set calls the classes, in the order of their numbers; () where it is not known.
        notes: what was done to the data beyond dividing bytes by 255, one sentence each.
    """

    x_train: np.ndarray = field(repr=False)
    y_train: np.ndarray = field(repr=False)
    x_test: np.ndarray = field(repr=False)
    y_test: np.ndarray = field(repr=False)
    name: str
    classes: int
    labels: tuple = field(default=(), repr=False)
    notes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """SHA-256 of the four arrays in use: for each its name, dtype and shape, then its bytes in C order.

        It covers exactly what a run sees (after scaling, subsets and label noise) and depends neither on the
        file format nor on the name, so equal hashes mean equal data. Computed at each access.
        """
        return _sha256({key: getattr(self, key) for key in KEYS})

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return self.x_train.shape[1:]


@dataclass(frozen=True, eq=False)
class Splits:
    """All images of a data set, and how each seed divides them into a training and a test set.

    A result over seeds that all share one training and one test set says nothing of other images: the few thousand
    test images alone move an accuracy by as much as initial weights and batch order do. So seed s shuffles all images
    and takes the first `train` of them for training and the next `test` for testing.

    Attributes:
        x: inputs of all images, shape [N, ...].
        y: their labels, shape [N].
        name: of the data set.
        classes: number of classes.
        train: images of a training set.
        test: images of a test set.
        is_fixed: every seed gets the first `train` images for training and the next `test` for testing.
        divide: seed → rows of training and of test set, instead of these two rules.
        labels: as in `Dataset`.
        notes: as in `Dataset`.
    """

    x: np.ndarray = field(repr=False)
    y: np.ndarray = field(repr=False)
    name: str
    classes: int
    train: int
    test: int
    is_fixed: bool = False
    divide: Callable[[int], tuple[np.ndarray, np.ndarray]] | None = field(default=None, repr=False)
    labels: tuple = field(default=(), repr=False)
    notes: tuple[str, ...] = ()

    @classmethod
    def fixed(cls, data: Dataset) -> "Splits":
        """One training and test set for every seed."""
        x, y = np.concatenate([data.x_train, data.x_test]), np.concatenate([data.y_train, data.y_test])
        sizes, called = (len(data.y_train), len(data.y_test)), {"labels": data.labels, "notes": data.notes}
        return cls(x, y, data.name, data.classes, *sizes, is_fixed=True, **called)

    @classmethod
    def stacked(cls, sets: dict[int, Dataset]) -> "Splits":
        """A data set of its own for each seed, all of the same sizes.

        Raises:
            ValueError: their sizes differ.
        """
        first, *_ = sets.values()
        sizes = {(len(data.y_train), len(data.y_test)) for data in sets.values()}
        if len(sizes) > 1:
            found = ", ".join(f"{train} and {test}" for train, test in sorted(sizes))
            raise ValueError(f"training and test sets must have the same sizes for all seeds, not {found}")
        ((train, test),) = sizes
        begins = {seed: number * (train + test) for number, seed in enumerate(sets)}

        def divide(seed):
            begin = begins[seed]
            return np.arange(begin, begin + train), np.arange(begin + train, begin + train + test)

        x, y = (
            np.concatenate([getattr(data, f"{name}_{part}") for data in sets.values() for part in ("train", "test")])
            for name in "xy"
        )
        called = {"labels": first.labels, "notes": first.notes}
        return cls(x, y, first.name, first.classes, train, test, divide=divide, **called)

    def rows(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows of `x` and `y` that are the training and the test set of a seed, shapes [train] and [test]."""
        if self.divide:
            return self.divide(seed)
        order = np.arange(len(self.y)) if self.is_fixed else np.random.default_rng([seed, 3]).permutation(len(self.y))
        return order[: self.train], order[self.train : self.train + self.test]

    def of(self, seed: int) -> Dataset:
        """The training and test set of a seed."""
        return _divided(self, seed)

    def key(self, seed: int) -> int:
        """The seed for what is drawn with the split, such as permuted labels: 0 where all seeds share one."""
        return 0 if self.is_fixed else seed

    def sharing(self, other: Callable[[int], int]) -> "Splits":
        """The same images, where each seed gets the split of the seed `other(seed)`: for nets that are compared."""
        return replace(self, divide=lambda seed: self.rows(other(seed)))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return self.x.shape[1:]

    @property
    def chance(self) -> float:
        """The share of the largest class: the accuracy of the best constant answer."""
        return float(np.unique(self.y, return_counts=True)[1].max() / len(self.y))

    @property
    def sha256(self) -> str:
        """SHA-256 of what the splits are made from: of a fixed one that of its `Dataset`, else of all images."""
        return self.of(0).sha256 if self.is_fixed else _sha256({"x": self.x, "y": self.y})


@functools.lru_cache(maxsize=1)  # measures ask for the same split several times in a row
def _divided(data: Splits, seed: int) -> Dataset:
    train, test = data.rows(seed)
    parts = data.x[train], data.y[train], data.x[test], data.y[test]
    return Dataset(*parts, data.name, data.classes, data.labels, data.notes)


def _sha256(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for key, array in arrays.items():
        digest.update(f"{key} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


class SizeError(ValueError):
    """More training or test examples are wanted than a data set holds.

    Attributes:
        left: how many are left for testing with as many training examples; 0 if that alone does not help.
    """

    def __init__(self, message: str, left: int = 0):
        """Makes the error."""
        super().__init__(message)
        self.left = left


def integer(what: str, value: int, low: int, high: float = math.inf) -> int:
    """The value as an int; TypeError or ValueError, naming `what`, if it is none in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{what} must be an integer, not {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{what} is {value}; it must be an integer in [{low}, {high}]")
    return int(value)
