"""Checks of a model and of the examples it is measured on, and these examples in chunks."""

from collections.abc import Iterator
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from hw1.evaluation.architectures import jit_compile
from hw1.evaluation.losses import per_example

# Examples in one compiled call. A thousand keep the second derivatives of a convolutional net under 1 GB; dense nets
# have small activations and are faster with more.
CHUNK, DENSE_CHUNK = 1000, 5000


class Example(NamedTuple):
    """Checked examples.

    Attributes:
        x: inputs, shape [n, ...].
        y: targets, shape [n] or [n, ...]; None if there are none.
        chunk: number of examples in one compiled call.
    """

    x: np.ndarray
    y: np.ndarray | None
    chunk: int


def check_model(model) -> None:
    """Checks that `model` is a built Keras model with one input, trainable variables and finite weights.

    Raises:
        TypeError: if it is no Keras model.
        ValueError: naming what else is wrong.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"model must be a keras.Model, not {type(model).__name__}")
    if not model.built:
        raise ValueError(f"model {model.name!r} is not built: give it an Input layer or call it on data once")
    if not model.trainable_variables:
        raise ValueError(f"model {model.name!r} has no trainable variables")
    if len(getattr(model, "inputs", None) or [None]) != 1:
        raise ValueError(f"model {model.name!r} has {len(model.inputs)} inputs; one is needed")
    for variable in model.variables:
        value = keras.ops.convert_to_numpy(variable)
        if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
            raise ValueError(f"model {model.name!r} has non-finite values in {variable.path}; did training diverge?")


def check(model, x, y=None, loss=None) -> Example:
    """Checks a model and the examples it is measured on.

    Args:
        model: a built Keras model with one input and one output.
        x: inputs, shape [n, ...] as the model takes them.
        y: targets: integers of shape [n] for the cross-entropy, or what `loss` takes; None if the measure needs none.
        loss: as for `hw1.evaluation.per_example`. For None the outputs must be logits.

    Returns:
        The examples as NumPy arrays, labels as int32.

    Raises:
        TypeError, ValueError: naming what is wrong and what is needed instead.
    """
    check_model(model)
    x = np.asarray(x)
    if x.ndim == 0 or len(x) == 0:
        raise ValueError("x holds no examples; at least one is needed")
    if not (np.issubdtype(x.dtype, np.number) or x.dtype == bool) or not np.isfinite(x).all():
        raise ValueError("x must hold finite numbers")
    shape = getattr(model, "input_shape", None)
    if shape is not None and (
        len(shape) != x.ndim or any(a not in (None, b) for a, b in zip(shape[1:], x.shape[1:], strict=True))
    ):
        expected = "[" + ", ".join(["n", *map(str, shape[1:])]) + "]"
        raise ValueError(f"x has shape {list(x.shape)}, but model {model.name!r} takes {expected}")
    outputs = model(x[:32], training=False)
    if isinstance(outputs, list | tuple | dict):
        raise ValueError(f"model {model.name!r} has {len(outputs)} outputs; one is needed")
    outputs = np.asarray(outputs).astype(model.trainable_variables[0].dtype)
    if outputs.ndim == 0 or len(outputs) != len(x[:32]):
        raise ValueError(f"model {model.name!r} must give one output per example; it gave shape {outputs.shape}")
    if loss is None:
        _check_logits(model, outputs)
    if y is not None:
        y = _check_targets(y, len(x), outputs, loss)
    return Example(x, y, DENSE_CHUNK if jit_compile(model) else CHUNK)


def _check_logits(model, outputs) -> None:
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        raise ValueError(
            f"model {model.name!r} must give logits [n, classes] of two classes or more; it gave "
            f"{list(outputs.shape)}. For other outputs give a loss"
        )
    if (outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=1e-3):
        raise ValueError(
            f"model {model.name!r} gives probabilities (its outputs sum to 1), not logits: "
            "leave out the softmax of its last layer"
        )


def _check_targets(y, n, outputs, loss) -> np.ndarray:
    y = np.asarray(y)
    if y.shape[:1] != (n,):
        raise ValueError(f"y has shape {list(y.shape)}; one target for each of the {n} examples is needed")
    if loss is not None:
        if not np.isfinite(y).all():
            raise ValueError("y must hold finite numbers")
        y = y.astype(outputs.dtype) if np.issubdtype(y.dtype, np.floating) else y
        values = per_example(loss)(tf.constant(y[: len(outputs)]), tf.constant(outputs))
        if tuple(values.shape) != (len(outputs),):
            raise ValueError(
                f"loss must give one value per example; for {len(outputs)} examples, y of shape {list(y.shape)} and "
                f"outputs of shape {list(outputs.shape)} it gave shape {list(values.shape)}"
            )
        return y
    if y.ndim != 1:
        raise ValueError(f"y must be integer labels of shape [{n}], not {list(y.shape)}")
    if not np.issubdtype(y.dtype, np.integer):
        raise TypeError(f"y must be integer labels, not {y.dtype}; for other targets give a loss")
    classes = outputs.shape[-1]
    if y.min() < 0 or y.max() >= classes:
        wrong = int(y.min() if y.min() < 0 else y.max())
        raise ValueError(f"label {wrong} is outside the model's {classes} classes 0 ... {classes - 1}")
    return y.astype(np.int32)


def chunks(example: Example, size: int | None = None) -> Iterator[tuple]:
    """Yields the examples as (x, y) tensors, chunk by chunk; the last chunk may be shorter.

    Args:
        example: from `check`.
        size: examples in a chunk; None takes ``example.chunk``.

    Raises:
        ValueError: for a size below 1.
    """
    size = example.chunk if size is None else size
    if size < 1:
        raise ValueError(f"chunk_size must be at least 1, not {size!r}")
    for start in range(0, len(example.x), size):
        part = slice(start, start + size)
        yield tf.constant(example.x[part]), None if example.y is None else tf.constant(example.y[part])
