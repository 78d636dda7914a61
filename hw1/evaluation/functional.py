"""A built Keras model as a pure function of its variables, and programs that are compiled once per architecture.

The function is ``forward(parameters, state, x)``: the trainable variables as a list of tensors, the other variables as
a second list, and the inputs. It runs in inference mode: dropout is off, batch normalisation uses its stored
statistics. A *program* is a module-level function ``program(forward, loss)`` that returns the function to compile.
Compiled programs are kept per architecture, so that fifty nets of one architecture are compiled once.
"""

import inspect
from collections import OrderedDict
from collections.abc import Callable
from unittest import mock

import tensorflow as tf

from hw1.evaluation.architectures import CONFIGURED, architecture, clone, consists_of
from hw1.evaluation.losses import per_example

_programs: OrderedDict = OrderedDict()
_MOST_PROGRAMS = 64


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


def compiled(program, model, loss=None) -> Callable:
    """The compiled ``program(forward, loss)`` for models of this architecture.

    It is a tf.function without XLA: a measure makes a few calls on many examples, and XLA would take longer to compile
    them than it saves.

    Args:
        program: a module-level function ``program(forward, loss)`` that returns the function to compile, where
            ``forward(parameters, state, x)`` gives the model's outputs in inference mode.
        model: a built Keras model. Its present weights do not matter, nor do its later changes if the architecture is
            known from its configuration (see `architecture`).
        loss: as for `per_example`.

    Returns:
        The compiled function; the same object for every model of the architecture.
    """

    def make():
        net = clone(model) if consists_of(model, CONFIGURED) else model
        mode = {"training": False} if "training" in inspect.signature(net.call).parameters else {}

        def forward(parameters, state, x):
            with mock.patch.object(tf.nn, "moments", _moments):
                outputs, _ = net.stateless_call(parameters, state, x, **mode)
            return tf.cast(outputs, parameters[0].dtype)

        # AutoGraph is off, so that errors keep their own type and message.
        return tf.function(program(forward, per_example(loss)), autograph=False)

    return remember((program, architecture(model), loss), make)


def remember(key, make: Callable):
    """The result of ``make()`` for `key`, computed once; the 64 most recently used results are kept.

    Args:
        key: hashable.
        make: function without arguments, called if there is no result for `key`.
    """
    if key not in _programs:
        _programs[key] = make()
    _programs.move_to_end(key)
    while len(_programs) > _MOST_PROGRAMS:
        _programs.popitem(last=False)
    return _programs[key]


def _moments(x, axes, shift=None, keepdims=False, name=None):
    """Mean and variance with the signature of `tf.nn.moments`, correct to all orders of differentiation.

    `tf.nn.moments` treats the mean inside the variance as a constant. Its first derivative is still correct, because
    Σ (x − mean) = 0, but the second is not: Hessians of nets with layer or group normalisation would be wrong.
    """
    mean = tf.reduce_mean(x, axes, keepdims=True)
    variance = tf.reduce_mean((x - mean) ** 2, axes, keepdims=keepdims)
    return (mean if keepdims else tf.squeeze(mean, axes)), variance
