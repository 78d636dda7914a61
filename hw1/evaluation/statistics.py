"""The statistics of batch normalisation for given parameters, exact over all examples, for any model.

In training, batch normalisation uses the mean and the variance of the batch. In inference it uses stored averages of
them, which belong to the parameters that were trained. At other parameters, as on a line between two nets, they must be
computed anew: as the means and variances over a set of examples, each layer's with those of the layers before it.

`BatchNormalization.call` is replaced while the model is traced, so that the layers are found at every depth, in nested
and subclassed models too. If all examples fit into one compiled call, each layer normalises by their mean and variance
and stores them: one pass. If they do not, the layers are taken one after the other. For each the chunks are passed
through the model, with the statistics that are known so far, and the means and variances of the layer's inputs are
added up over the chunks (Chan, Golub and LeVeque 1983).
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from hw1.evaluation import tracing
from hw1.evaluation.functional import stateless

_CALL = tracing.Replacement(keras.layers.BatchNormalization, "call", tracing.method)


def statistics(problem) -> Callable | None:
    """A function that recomputes the statistics of batch normalisation for given parameters.

    A frozen BatchNormalization layer is a fixed affine map in training too, and keeps its stored statistics. Dropout is
    off.

    Args:
        problem: a `hw1.evaluation.Problem`, whose examples the statistics are taken over.

    Returns:
        None if the model has no BatchNormalization layers that are not frozen; else a function (parameters, state) ->
        state on lists of tensors as `hw1.evaluation.variables` gives them.

    Raises:
        ValueError: for layers that are used more than once, that take masks, or that use renormalisation; and for
            moving averages that other layers keep.
    """
    model = problem.model
    layers = _normalised(problem)
    if not layers:
        return None
    places = {id(variable): place for place, variable in enumerate(model.non_trainable_variables)}
    means, variances = (
        [places[id(getattr(layer, name))] for layer in layers] for name in ("moving_mean", "moving_variance")
    )
    if problem.chunk_size >= problem.n:
        x, _ = next(problem.chunks())
        at_once = tf.function(lambda parameters, state: _stored(model, parameters, state, x), autograph=False)
        return at_once
    run = tf.function(lambda parameters, state, x: _moments_of(model, parameters, state, x), autograph=False)

    def recompute(parameters, state):
        state = list(state)
        for number, (mean, variance) in enumerate(zip(means, variances, strict=True)):
            found = [run(parameters, state, x)[number] for x, _ in problem.chunks()]
            state[mean], state[variance] = _joined(found, state[mean].dtype)
        return state

    return recompute


def _normalised(problem) -> list:
    """The layers that normalise by batch statistics, in the order in which the model calls them."""
    model, parameters, state, found, unclear = problem.model, problem.parameters, problem.state, [], []
    x, _ = next(problem.examples.first(1).chunks(1))

    def record(layer, inputs, training=None, mask=None):
        if layer.trainable:
            found.append(layer)
            if mask is not None or layer.renorm:
                unclear.append(f"layer {layer.name!r} uses a mask or renormalisation, which is not supported here")
        return _CALL.original(layer, inputs, training=False, mask=mask)

    def trace():
        floating = [value for value in state if value.dtype.is_floating]
        with tf.GradientTape() as tape, _CALL.by(record):
            tape.watch(floating)
            outputs, _, _ = stateless(model, parameters, state, x)
        slopes = tape.gradient(outputs, floating)
        used = {id(value) for value, slope in zip(floating, slopes, strict=True) if slope is not None}
        _, scope, _ = stateless(model, parameters, state, x, training=True)
        known = {id(variable) for layer in found for variable in layer.non_trainable_variables}
        for variable, value in zip(model.non_trainable_variables, state, strict=True):
            if id(value) in used and id(variable) not in known and scope.get_current_value(variable) is not value:
                unclear.append(
                    f"{variable.path} is changed in training, as a moving average is, and used in inference, but by no "
                    "keras.layers.BatchNormalization: it cannot be computed anew for other parameters"
                )

    tf.function(trace, autograph=False).get_concrete_function()
    unclear += [
        f"layer {layer.name!r} is used more than once: its statistics are not defined"
        for layer in found
        if found.count(layer) > 1
    ]
    if unclear:
        raise ValueError(unclear[0])
    return found


def _stored(model, parameters, state, x) -> list:
    """The state after a pass in which each layer normalises by the batch and stores its statistics."""

    def store(layer, inputs, training=None, mask=None):
        if layer.trainable:
            mean, variance = tf.nn.moments(inputs, layer._reduction_axes)
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)
        return _CALL.original(layer, inputs, training=False, mask=mask)

    with _CALL.by(store):
        _, scope, _ = stateless(model, parameters, state, x)
    return [tf.convert_to_tensor(scope.get_current_value(v)) for v in model.non_trainable_variables]


def _moments_of(model, parameters, state, x) -> list:
    """Count, mean and variance of each layer's inputs, with the statistics that `state` holds."""
    found = []

    def note(layer, inputs, training=None, mask=None):
        if layer.trainable:
            count = tf.size(inputs) / inputs.shape[layer.axis]
            found.append((count, *tf.nn.moments(inputs, layer._reduction_axes)))
        return _CALL.original(layer, inputs, training=False, mask=mask)

    with _CALL.by(note):
        stateless(model, parameters, state, x)
    return found


def _joined(parts, dtype) -> tuple:
    """Mean and variance of all examples from those of chunks."""
    counts = np.array([float(count) for count, _, _ in parts])[:, None]
    means, variances = (np.array([part[place] for part in parts], np.float64) for place in (1, 2))
    mean = (counts * means).sum(axis=0) / counts.sum()
    variance = (counts * (variances + (means - mean) ** 2)).sum(axis=0) / counts.sum()
    return tf.constant(mean, dtype), tf.constant(variance, dtype)
