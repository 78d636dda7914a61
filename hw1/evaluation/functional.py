"""A built Keras model as a pure function of its variables, and programs that are compiled from it.

A *program* is a module-level function ``program(net)`` that returns the function to compile; `Net` says what it may
call. The model runs in inference mode: dropout is off, batch normalisation uses its stored statistics.

Programs are kept and shared where that is safe: for models of Keras's own layers, whose configuration says what they
compute from their variables (see `architecture`), with a loss that cannot change (see `losses.key`). Fifty nets of one
architecture are then compiled once. Any other model is traced anew for each measurement, so that it is measured as it
is at the call.
"""

import gc
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf
from tensorflow.python.eager import context

from hw1.evaluation import losses, tracing
from hw1.evaluation.cloning import clone

_programs: OrderedDict = OrderedDict()
_lock = threading.RLock()
_MOST_PROGRAMS, _AT_ONCE = 64, 16  # programs that are kept, and those beyond that are dropped together


class Net(NamedTuple):
    """What a program may call; parameters and state are lists of tensors as `variables` gives them.

    Attributes:
        outputs: (parameters, state, x) -> the model's outputs, in the dtype of the parameters.
        loss: (targets, outputs) -> the loss of each example, shape [n], times its weight if there are weights.
        losses: (parameters, state, x, targets) -> the same from the inputs, plus the penalty if it is measured too.
        penalty: (parameters, state, x) -> the sum of the model's own losses, such as L2 regularisation; None if it is
            left out.
    """

    outputs: Callable
    loss: Callable
    losses: Callable
    penalty: Callable | None


def variables(model) -> tuple[list, list]:
    """The model's trainable variables and its other variables, as two lists of tensors.

    The tensors are copies: later changes of the model do not reach them.
    """
    return (
        [tf.identity(tf.convert_to_tensor(v)) for v in model.trainable_variables],
        [tf.identity(tf.convert_to_tensor(v)) for v in model.non_trainable_variables],
    )


def flatten(tensors) -> tf.Tensor:
    """Concatenates tensors to one vector, each flattened row by row, in order."""
    return tf.concat([tf.reshape(t, [-1]) for t in tensors], axis=0)


def unflatten(vector, like) -> list:
    """Splits a vector into tensors of the shapes of `like`, in order: the inverse of `flatten`."""
    parts = tf.split(vector, [t.shape.num_elements() for t in like])
    return [tf.reshape(part, t.shape) for part, t in zip(parts, like, strict=True)]


def stateless(model, parameters, state, x, collect_losses=False, training=False):
    """The model's outputs for given values of its variables, in inference mode, and the scope that held these values.

    It is the model's own call, so that its inputs are converted as they are when a user calls it.
    """
    values = [*zip(model.trainable_variables, parameters, strict=True)]
    values += zip(model.non_trainable_variables, state, strict=True)
    with tracing.differentiable(), keras.StatelessScope(values, collect_losses=collect_losses) as scope:
        outputs = model(x, training=training)
        penalty = sum(model.losses) if collect_losses else None
    return outputs, scope, penalty


def compiled(program, model, loss=None, regularization: bool = False, known: str | None = None) -> Callable:
    """The compiled program for a model and a loss.

    It is a tf.function without XLA: a measure makes a few calls on many examples, and XLA would take longer to compile
    them than it saves.

    Args:
        program: a module-level function ``program(net)``, with a `Net`, that returns the function to compile.
        model: a built Keras model. Its present weights do not matter.
        loss: as for `hw1.evaluation.per_example`.
        regularization: whether the net's losses include the model's own.
        known: the model's `architecture`; None if it is not known.

    Returns:
        The compiled function; the same object for every model of the architecture.
    """
    key = losses.key(loss)

    def make():
        net = clone(model) if known is not None else model
        # AutoGraph is off, so that errors keep their own type and message.
        run = tf.function(program(_net(net, losses.per_example(loss), regularization)), autograph=False)
        run._omit_frequent_tracing_warning = True  # a model that may change must be traced at each measurement
        return run

    if known is None or key is None:
        return make()
    return remember((program, known, key, regularization, keras.config.epsilon()), make)


def _net(model, loss, regularization) -> Net:
    """The functions of a model that programs call."""

    def call(parameters, state, x, collect_losses=False):
        outputs, _, penalty = stateless(model, parameters, state, x, collect_losses)
        dtype = parameters[0].dtype
        return tf.nest.map_structure(lambda output: tf.cast(output, dtype), single(outputs)), penalty

    def outputs(parameters, state, x):
        return call(parameters, state, x)[0]

    def weighted(targets, outputs):
        y, weight = targets
        values = loss(y, outputs)
        return values if weight is None else values * tf.cast(weight, values.dtype)

    def all_losses(parameters, state, x, targets):
        found, own = call(parameters, state, x, regularization)
        values = weighted(targets, found)
        return values + tf.cast(own, values.dtype) if regularization else values

    def penalty(parameters, state, x):
        return tf.cast(call(parameters, state, x, True)[1], parameters[0].dtype)

    return Net(outputs, weighted, all_losses, penalty if regularization else None)


def single(outputs):
    """The output itself of a model that gives one in a list or a dict."""
    if isinstance(outputs, dict | list | tuple) and len(outputs) == 1:
        (outputs,) = outputs.values() if isinstance(outputs, dict) else outputs
    return outputs


def remember(key, make: Callable):
    """The result of ``make()`` for `key`, computed once; at least the 64 most recently used results are kept.

    The others are dropped 16 at a time, with what TensorFlow keeps of their architectures: graphs, which are cycles,
    and a kernel for each name and shape of a variable. Random operations that keep their state in a kernel begin anew
    then: with a seed of their own, such as ``tf.random.normal([2], seed=1)``, or, after ``tf.random.set_seed``, in a
    tf.function. Those of Keras and ``tf.data`` keep it elsewhere and go on. What remains of an architecture are the
    matrix products that oneDNN compiles for each shape, some hundred kilobytes, of which TensorFlow keeps a limited
    number.

    Args:
        key: hashable.
        make: function without arguments, called if there is no result for `key`.
    """
    with _lock:
        if key not in _programs:
            _programs[key] = make()
        _programs.move_to_end(key)
        found = _programs[key]
        if len(_programs) >= _MOST_PROGRAMS + _AT_ONCE:
            for _ in range(_AT_ONCE):
                _programs.popitem(last=False)
            gc.collect()
            context.context().clear_kernel_cache()
        return found
