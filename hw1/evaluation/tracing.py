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
import threading

import tensorflow as tf
from tensorflow.python.autograph.core import ag_ctx, converter
from tensorflow.python.autograph.impl import api
from tensorflow.python.ops import array_ops, nn_impl

_Function = type(tf.function(lambda: None))
_AUTOGRAPH = converter.ConversionOptions(recursive=True, user_requested=True)


class Replacement:
    """A method or an attribute that is replaced for the thread that asks for it, and for no other.

    What others see is the original: a program may measure in several threads and train in another one.
    """

    _lock = threading.RLock()

    def __init__(self, owner, name: str, dispatch):
        """Remembers the original.

        Args:
            owner: class or module.
            name: of its attribute.
            dispatch: makes what takes its place while any thread asks for it, from this object.
        """
        self._owner, self._name, self.original = owner, name, getattr(owner, name)
        self._dispatch, self._local, self._users = dispatch(self), threading.local(), 0

    @property
    def active(self):
        """The innermost replacement of this thread; None if there is none."""
        stack = getattr(self._local, "stack", None)
        return stack[-1] if stack else None

    @contextlib.contextmanager
    def by(self, replacement):
        """The context in which this thread sees `replacement`."""
        self._local.stack = [*getattr(self._local, "stack", []), replacement]
        with self._lock:
            self._users += 1
            setattr(self._owner, self._name, self._dispatch)
        try:
            yield
        finally:
            self._local.stack = self._local.stack[:-1]
            with self._lock:
                self._users -= 1
                if not self._users:
                    setattr(self._owner, self._name, self.original)


def method(replacement: Replacement):
    """A method that calls the replacement of the thread, or the original."""
    return lambda self, *args, **kwargs: (replacement.active or replacement.original)(self, *args, **kwargs)


@contextlib.contextmanager
def inlined():
    """The context in which every `tf.function` becomes part of the graph that calls it."""
    with _CALL.by(_inlined):
        yield


@contextlib.contextmanager
def differentiable():
    """The context in which a model is traced that is to be differentiated twice; see the module."""
    with _ARRAY_OPS.by(True), inlined():
        yield


def _inlined(function, *args, **kwargs):
    """Traces the body of a `tf.function` as part of the present graph.

    Keras's backend makes functions anew at each call, for XLA, without which TensorFlow has no grouped convolutions.
    """
    if str(function.python_function.__module__).startswith("keras.src.backend."):
        return _CALL.original(function, *args, **kwargs)
    if not function._autograph:
        return function.python_function(*args, **kwargs)
    with ag_ctx.ControlStatusCtx(ag_ctx.Status.ENABLED, _AUTOGRAPH):  # Keras turns it off in layers
        return api.converted_call(function.python_function, args, kwargs, options=_AUTOGRAPH)


class _Differentiable:
    """What the module of `tf.nn.moments` takes for ``array_ops``: the same, but it stops no gradient.

    All names of `tf.nn.moments` lead to that module, also those that were imported before, and `tf.compat.v1`'s.
    """

    def __init__(self, replacement: Replacement):
        """Remembers for which thread it is."""
        self._replacement = replacement

    def __getattr__(self, name):
        return getattr(array_ops, name)

    def stop_gradient(self, tensor, name=None):
        """The tensor itself, for a thread that asked for that."""
        return tensor if self._replacement.active else array_ops.stop_gradient(tensor, name)


_CALL = Replacement(_Function, "__call__", method)
_ARRAY_OPS = Replacement(nn_impl, "array_ops", _Differentiable)
