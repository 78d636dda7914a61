"""Contexts in which compiled programs call a Keras model, so that it is differentiated as it is.

TensorFlow has two habits that would make derivatives silently wrong:

- A `tf.function` keeps the graph of its first call, with the variables that it read then. A model whose `call` is one
  would ignore the parameters that a program passes in: its Hessian would be 0. Such functions are traced again, as part
  of the program, at every depth (`inlined`).
- `tf.nn.moments` treats the mean inside the variance as a constant. Its first derivative is still correct, because
  Σ (x − mean) = 0, but the second is not: Hessians of nets with layer or group normalisation would be wrong. In
  `differentiable` the mean is differentiated too.
"""

import contextlib
from unittest import mock

import tensorflow as tf
from tensorflow.python.autograph.core import ag_ctx, converter
from tensorflow.python.autograph.impl import api
from tensorflow.python.ops import array_ops, nn_impl

_Function = type(tf.function(lambda: None))
_AUTOGRAPH = converter.ConversionOptions(recursive=True, user_requested=True)


@contextlib.contextmanager
def inlined():
    """The context in which every `tf.function` becomes part of the graph that calls it."""
    with mock.patch.object(_Function, "__call__", _inlined):
        yield


@contextlib.contextmanager
def differentiable():
    """The context in which a model is traced that is to be differentiated twice; see the module."""
    with mock.patch.object(nn_impl, "array_ops", _Differentiable()), inlined():
        yield


def _inlined(function, *args, **kwargs):
    """Traces the body of a `tf.function` as part of the present graph."""
    if not function._autograph:
        return function.python_function(*args, **kwargs)
    with ag_ctx.ControlStatusCtx(ag_ctx.Status.ENABLED, _AUTOGRAPH):  # Keras turns it off in layers
        return api.converted_call(function.python_function, args, kwargs, options=_AUTOGRAPH)


class _Differentiable:
    """What the module of `tf.nn.moments` takes for ``array_ops``: the same, but it stops no gradient.

    All names of `tf.nn.moments` lead to that module, also those that were imported before, and `tf.compat.v1`'s.
    """

    def __getattr__(self, name):
        return getattr(array_ops, name)

    @staticmethod
    def stop_gradient(tensor, name=None):
        """The tensor itself."""
        return tensor
