"""The loss as one value per example: softmax cross-entropy, or what the caller gives."""

import inspect
import json
from collections.abc import Callable

import keras
import tensorflow as tf


def cross_entropy(y, logits):
    """Softmax cross-entropy of each example, accurate in value and derivative also where it is tiny.

    With the logits z and the label's logit z_y,

        ℓ = −ln softmax(z)_y = ln(1 + e^m),    m = ln Σ_{k≠y} e^{z_k} − z_y.

    The usual form, ln Σ_k e^{z_k} − z_y, has the derivative p_y − 1 with respect to z_y. In float32 that is 0 once ℓ is
    below 6e-8, as for a tenth of the test images after training with small batches, and gradients with respect to the
    input would ignore these examples. Here the derivative is −sigmoid(m), which keeps its relative precision.

    Args:
        y: integer labels, shape [n] (or [n, ...], one for each pixel or token); or probabilities of the classes, in the
            shape and dtype of the logits, for which ℓ = −Σ_k y_k ln softmax(z)_k.
        logits: shape [n, classes], or [n, ..., classes].

    Returns:
        Tensor of the shape of the labels, in nats, in the dtype of the logits. The relative error is of the order of
        rounding for losses above the smallest number of this dtype.
    """
    y = tf.convert_to_tensor(y)
    if y.dtype.is_floating:
        return tf.reduce_sum(y, axis=-1) * tf.reduce_logsumexp(logits, axis=-1) - tf.reduce_sum(y * logits, axis=-1)
    own = tf.one_hot(y, logits.shape[-1], on_value=True, off_value=False, dtype=tf.bool)
    others = tf.reduce_logsumexp(tf.where(own, logits.dtype.min, logits), axis=-1)
    return tf.nn.softplus(others - tf.reduce_sum(tf.where(own, logits, 0), axis=-1))


def squared_error(y, outputs):
    """The squared error Σ_k (f_k − [k = y])² of each example, against one-hot labels.

    Args:
        y: integer labels, shape [n].
        outputs: f, shape [n, classes].

    Returns:
        A value per example, shape [n], in the dtype of the outputs.
    """
    return tf.reduce_sum((outputs - tf.one_hot(y, outputs.shape[1], dtype=outputs.dtype)) ** 2, axis=1)


def half_squared_error(y, outputs):
    """½ Σ_k (f_k − [k = y])², half of `squared_error`, whose gradient is that of each output's error."""
    return squared_error(y, outputs) / 2


def hinge(y, outputs):
    """The multi-class hinge loss max(0, 1 + max_{k≠y} f_k − f_y) of Crammer and Singer.

    Args:
        y: integer labels, shape [n].
        outputs: f, shape [n, classes].

    Returns:
        A value per example, shape [n], in the dtype of the outputs.
    """
    own = tf.one_hot(y, outputs.shape[1], dtype=outputs.dtype)
    others = tf.reduce_max(tf.where(own > 0, outputs.dtype.min, outputs), axis=1)
    return tf.nn.relu(1 + others - tf.reduce_sum(own * outputs, axis=1))


def resolve(loss):
    """The loss itself for one that is given by its name in Keras, such as "mse".

    Raises:
        ValueError: Keras knows no such loss.
        TypeError: it is no loss at all.
    """
    if isinstance(loss, dict):
        return {name: resolve(part) for name, part in loss.items()}
    if isinstance(loss, list | tuple):
        return [resolve(part) for part in loss]
    if isinstance(loss, str):
        try:
            return keras.losses.get(loss)
        except ValueError:
            raise ValueError(f"keras.losses knows no loss {loss!r}") from None
    if inspect.isclass(loss):
        raise TypeError(f"loss must be an object, not the class {loss.__name__}: write {loss.__name__}()")
    if loss is None or callable(loss):
        return loss
    raise TypeError(
        "loss must be None, a name in keras.losses, a function (y, outputs) -> [n] or a keras.losses.Loss, "
        f"not {loss!r}"
    )


def per_example(loss) -> Callable:
    """The loss as a function ``(y, outputs) -> [n]``.

    Values for each pixel or token of an example, shape [n, ...], are averaged over their axes.

    Args:
        loss: None for softmax cross-entropy of logits; a name in Keras such as "mse"; a function such as
            ``keras.losses.mean_squared_error``; or a ``keras.losses.Loss``, whose reduction is not applied. For a model
            of several outputs a function of all targets and all outputs, or a list or dict of losses, which are added;
            one loss by its name or as a ``keras.losses.Loss`` is that of each output.

    Raises:
        TypeError, ValueError: if `loss` is none of these.
    """
    of_each = isinstance(loss, str | keras.losses.Loss)
    loss = resolve(loss)
    if isinstance(loss, dict | list):
        parts = {
            name: per_example(part) for name, part in (loss.items() if isinstance(loss, dict) else enumerate(loss))
        }
        return lambda y, outputs: sum(part(y[name], outputs[name]) for name, part in parts.items())
    function = cross_entropy if loss is None else loss.call if isinstance(loss, keras.losses.Loss) else loss
    own = inspect.isfunction(loss) and _of(loss, "keras.")

    def values(y, outputs):
        if of_each and isinstance(outputs, dict | list | tuple):
            names = outputs if isinstance(outputs, dict) else range(len(outputs))
            return sum(values(y[name], outputs[name]) for name in names)
        if own and outputs.shape[-1] == 1 and len(y.shape) == len(outputs.shape) - 1:
            y = y[..., None]  # as Keras does where a loss is given by its name
        found = function(y, outputs)
        if getattr(found, "_keras_mask", None) is not None:
            raise ValueError(
                "the loss leaves out some values (ignore_class), so that the mean over examples is not defined: leave "
                "these out of the data, or give a function that returns 0 for them"
            )
        found = tf.convert_to_tensor(found)
        axes = list(range(1, found.shape.rank))
        return tf.reduce_mean(found, axes) if axes else found

    return values


def by_place(model, loss):
    """A dict of losses, or of targets, by the names of outputs as a list, if the model gives its outputs as one.

    Raises:
        ValueError: a name is none of the outputs.
    """
    outputs, names = getattr(model, "_outputs_struct", None), getattr(model, "output_names", None)
    if not isinstance(loss, dict) or not names:
        return loss
    keys = list(outputs) if isinstance(outputs, dict) else list(names)
    if set(loss) != set(keys):
        raise ValueError(f"losses and targets are for {', '.join(map(str, loss))}; the outputs are {', '.join(keys)}")
    return loss if isinstance(outputs, dict) else [loss[name] for name in names]


def key(loss):
    """A hashable key that two losses share only if they compute the same, now and later; None if nobody can know.

    Known are the cross-entropy, functions of Keras and of this package, and losses of Keras's own classes, by their
    function and its arguments.
    """
    loss = resolve(loss)
    if loss is None:
        return "cross-entropy"
    if isinstance(loss, dict | list):
        return None
    if isinstance(loss, keras.losses.Loss):
        known = _of(type(loss), "keras.") and "call" not in vars(loss) and hasattr(loss, "fn") and key(loss.fn)
        try:
            return (key(loss.fn), json.dumps(loss._fn_kwargs, sort_keys=True)) if known else None
        except TypeError:  # an array, which may change, and of which its text would not tell all entries
            return None
    return loss if inspect.isfunction(loss) and loss.__closure__ is None and _of(loss, "keras.", "hw1.") else None


def _of(thing, *packages) -> bool:
    """Whether a function or a class is defined in one of some packages."""
    return str(thing.__module__).startswith(packages)


def from_logits(loss) -> bool | None:
    """Whether a cross-entropy of Keras takes logits; None for any other loss."""
    loss = resolve(loss)
    function = getattr(loss, "fn", loss)
    if not inspect.isfunction(function) or not _of(function, "keras."):
        return None
    default = inspect.signature(function).parameters.get("from_logits")
    return None if default is None else bool(getattr(loss, "_fn_kwargs", {}).get("from_logits", default.default))
