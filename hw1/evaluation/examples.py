"""The examples that a model is measured on: arrays, or batches of a data set, checked against the model."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

_MOST_BYTES = 2 * 2**30  # of examples that are held in memory


class Examples(NamedTuple):
    """Checked examples.

    Attributes:
        x: inputs, shape [n, ...]; a list or a dict of such arrays for a model of several inputs.
        y: targets, likewise; None if there are none.
        weight: of each example, shape [n]; None if all count alike.
        n: number of examples.
    """

    x: object
    y: object
    weight: np.ndarray | None
    n: int

    def chunks(self, size: int) -> Iterator[tuple]:
        """Yields the examples as tensors (x, (y, weight)), `size` at a time; the last chunk may be smaller."""
        for start in range(0, self.n, size):
            part = slice(start, start + size)
            cut = tf.nest.map_structure(
                lambda array, part=part: None if array is None else tf.constant(array[part]),
                (self.x, (self.y, self.weight)),
            )
            yield cut

    def first(self, count: int) -> "Examples":
        """The first `count` examples, or all if there are fewer."""
        return self._rows(slice(count), min(count, self.n))

    def spread(self, count: int) -> "Examples":
        """`count` examples from everywhere, or all if there are fewer; each counts alike."""
        count = min(count, self.n)
        return self._rows(np.linspace(0, self.n - 1, count).astype(int), count)._replace(weight=None)

    def _rows(self, rows, count) -> "Examples":
        x, y, weight = tf.nest.map_structure(
            lambda array: None if array is None else array[rows], (self.x, self.y, self.weight)
        )
        return Examples(x, y, weight, count)


def read(model, x, y=None, weight=None) -> tuple:
    """The inputs as arrays, checked, with targets and weights as they are.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...]; a list or a dict of arrays for a model of several inputs; or all batches (x, y) or
            (x, y, weight) of a ``tf.data.Dataset``, a ``keras.utils.PyDataset`` or another iterable, such as a
            DataLoader of PyTorch, which are read once and held in memory.
        y: targets; None for a data set, or if none are needed.
        weight: of each example; None for a data set, or if all count alike.

    Raises:
        TypeError, ValueError: naming what is wrong and what is needed instead.
    """
    given = type(x).__name__
    parts = [part for part in (x, y, weight) if part is not None]
    for part in tf.nest.flatten([list(part.values()) if isinstance(part, dict) else part for part in parts]):
        sparse = isinstance(part, tf.RaggedTensor | tf.SparseTensor | np.ma.MaskedArray) or hasattr(part, "tocsr")
        if sparse:
            raise TypeError(f"a {type(part).__name__} cannot be measured: give a dense array, and weights for a mask")
    if not _is_arrays(x):
        if y is not None or weight is not None:
            raise ValueError("a data set brings its own targets and weights: leave out y and sample_weight")
        x, y, weight = _read_batches(model, x)
    x = tf.nest.map_structure(np.asarray, x) if _is_several(model, x) else np.asarray(x)
    arrays = tf.nest.flatten(x)
    for array in arrays:
        if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool) or np.iscomplexobj(array):
            raise ValueError(f"x must hold real numbers; it is a {given} of {array.dtype}")
    if not arrays or any(array.ndim == 0 or array.size == 0 for array in arrays):
        raise ValueError("x holds no examples; at least one is needed")
    if any(len(array) != len(arrays[0]) for array in arrays):
        raise ValueError(f"the inputs hold {', '.join(str(len(a)) for a in arrays)} examples; each must hold as many")
    dtype = model.trainable_variables[0].dtype
    for array in arrays:
        floating = np.issubdtype(array.dtype, np.floating)
        with np.errstate(over="ignore"):
            if not np.isfinite(array.astype(dtype) if floating else array).all():
                raise ValueError(f"x must hold finite numbers, also in {dtype}, the precision of the model")
    x = _expanded(model, x)
    _check_shapes(model, x)
    return x, y, None if weight is None else _weights(weight, len(arrays[0]), dtype)


def _is_arrays(x) -> bool:
    """Whether x is an array, or a list, tuple or dict of arrays: anything else that can be iterated over is batches."""
    if isinstance(x, tf.data.Dataset | keras.utils.PyDataset):
        return False
    return isinstance(x, dict | list | tuple) or hasattr(x, "__array__") or not isinstance(x, Iterable)


def _is_several(model, x) -> bool:
    """Whether x holds the arrays of several inputs, rather than the rows of one."""
    if isinstance(x, dict):
        return True
    several = len(_input_shapes(model)) > 1 or (
        _input_shapes(model) == [None] and isinstance(x, list | tuple) and all(np.ndim(part) for part in x)
    )
    return several and isinstance(x, list | tuple) and all(hasattr(part, "__array__") for part in x)


def _read_batches(model, batches) -> tuple:
    """All examples of an iterable of batches: (x, y, weight)."""
    if iter(batches) is batches:
        raise TypeError(
            f"x is a {type(batches).__name__}, which can be read only once, but a measure must give the same value "
            "when it is called again: give arrays, a tf.data.Dataset or a keras.utils.PyDataset"
        )
    if isinstance(batches, tf.data.Dataset) and batches.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError("the data set repeats without end: leave out repeat(), or take(n) of its batches")
    if isinstance(batches, keras.utils.PyDataset):
        if batches.num_batches is None:
            raise ValueError("the data set has no end: give its num_batches")
        batches = map(batches.__getitem__, range(batches.num_batches))
    found, size = [], 0
    for batch in tqdm(batches, desc="reading the batches of x", unit="batch", delay=5, disable=None, leave=False):
        if not isinstance(batch, list | tuple) or not 1 <= len(batch) <= 3:
            raise ValueError("a batch must be (x, y) or (x, y, weight)")
        if found and len(batch) != len(found[0]):
            raise ValueError("some batches have weights or targets and others do not: give all of them the same parts")
        if any(isinstance(part, tf.RaggedTensor | tf.SparseTensor) for part in tf.nest.flatten(batch)):
            raise TypeError("ragged and sparse batches cannot be measured: make them dense, by padding")
        batch = tf.nest.map_structure(np.asarray, tuple(batch))
        size += sum(array.nbytes for array in tf.nest.flatten(batch))
        if size > _MOST_BYTES:
            raise ValueError(
                f"the data set has more than {_MOST_BYTES >> 30} GB, or no end: measure a part of it, such as take(n) "
                "of its batches"
            )
        found.append(batch)
    if not found:
        raise ValueError("x holds no examples; at least one is needed")
    first = tf.nest.flatten(found[0])
    shape = _input_shapes(model)
    if len(shape) == 1 and shape[0] is not None and first[0].ndim == len(shape[0]) - 1:
        raise ValueError("the data set gives single examples; batches are needed: use its batch(n)")
    for batch in found:
        if [a.shape[1:] for a in tf.nest.flatten(batch)] != [a.shape[1:] for a in first]:
            raise ValueError("the batches have examples of different shapes: pad them to one")
    joined = tf.nest.map_structure(lambda *parts: np.concatenate(parts), *found)
    return (*joined, None, None)[:3]


def _input_shapes(model) -> list:
    """The shapes of the inputs, each (None, ...); [None] if the model does not say."""
    shape = getattr(model, "input_shape", None)
    if shape is None:
        return [None]
    inputs = getattr(model, "inputs", None)
    return [tuple(tensor.shape) for tensor in inputs] if inputs else [shape]


def _check_shapes(model, x) -> None:
    """Raises ValueError unless there are as many inputs as the model takes, each of its shape."""
    shapes, arrays = _input_shapes(model), _ordered(model, x)
    if shapes == [None]:
        return
    if len(shapes) != len(arrays):
        raise ValueError(f"model {model.name!r} has {len(shapes)} inputs, but x holds {len(arrays)}")
    for shape, array in zip(shapes, arrays, strict=True):
        if len(shape) != array.ndim or any(a not in (None, b) for a, b in zip(shape[1:], array.shape[1:], strict=True)):
            expected = "[" + ", ".join(["n", *map(str, shape[1:])]) + "]"
            raise ValueError(f"x has shape {list(array.shape)}, but model {model.name!r} takes {expected}")


def _expanded(model, x):
    """The inputs, in a dict with a last axis of 1 where the model has one and the array has not, as Keras does."""
    named = getattr(model, "inputs", None) if isinstance(x, dict) else None
    shapes = {tensor.name: tuple(tensor.shape) for tensor in named or []}
    if not named or set(x) != set(shapes):
        return x
    short = {name: shapes[name][-1:] == (1,) and array.ndim == len(shapes[name]) - 1 for name, array in x.items()}
    return {name: array[..., None] if short[name] else array for name, array in x.items()}


def _ordered(model, x) -> list:
    """The arrays of x in the order of the model's inputs, which a dict names."""
    if not isinstance(x, dict):
        return tf.nest.flatten(x)
    names = [tensor.name for tensor in getattr(model, "inputs", None) or []]
    if names and set(names) <= set(x):
        return [x[name] for name in names]
    return tf.nest.flatten(x)


def _weights(weight, n, dtype) -> np.ndarray:
    weight = np.asarray(weight)
    if weight.shape != (n,) or not np.issubdtype(weight.dtype, np.number) or np.iscomplexobj(weight):
        raise ValueError(
            f"sample_weight must be {n} numbers, one for each example; they are {weight.dtype}, of shape "
            f"{list(weight.shape)}"
        )
    if not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
        raise ValueError("sample_weight must be finite, at least 0, and not 0 everywhere")
    with np.errstate(over="ignore", under="ignore"):
        cast = weight.astype(dtype)
    if not np.isfinite(cast).all() or ((cast == 0) & (weight > 0)).any():
        raise ValueError(f"sample_weight must be numbers that {dtype}, the precision of the model, can hold")
    return weight
