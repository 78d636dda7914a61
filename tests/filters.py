"""What the tests of directions share: nets of one layer, their filters as masks, directions taken apart."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from hw1.measures import directions


@contextlib.contextmanager
def double():
    """Layers that are made here are in float64, where they do not say another precision."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(policy)


def alone(build, shape, dtype="float64"):
    """A net of the layer that `build` makes, in float64, with random weights of size 1."""
    with double():
        model = keras.Sequential([keras.Input(shape, dtype=dtype), build()])
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return model


def feeding(call, kernel, shape, units):
    """Masks of the entries of a kernel that feed each unit, by derivatives: a unit is an index of the last axes."""
    x = tf.constant(np.random.default_rng(1).normal(size=(3, *shape)))
    with tf.GradientTape(persistent=True) as tape:
        outputs = call(x)
        weights = np.random.default_rng(2).normal(size=outputs.shape)
        each = tf.reduce_sum(outputs * weights, axis=tuple(range(outputs.shape.rank - units)))
        each = tf.unstack(tf.reshape(each, [-1]))
    found = [np.asarray(tape.gradient(unit, kernel.value)) != 0 for unit in each]
    return [mask for i, mask in enumerate(found) if not any((mask == before).all() for before in found[:i])]


def slices(kernel, *axes):
    """A mask for each index of these axes."""
    masks = []
    for index in np.ndindex(*(kernel.shape[axis] for axis in axes)):
        place = [slice(None)] * len(kernel.shape)
        for axis, i in zip(axes, index, strict=True):
            place[axis] = i
        masks.append(np.zeros(kernel.shape, bool))
        masks[-1][tuple(place)] = True
    return masks


def spread(kernel, masks):
    """Gives the filters very different norms, as trained nets have them."""
    value = np.asarray(kernel)
    for mask, norm in zip(masks, np.geomspace(0.01, 10, len(masks)), strict=True):
        value = np.where(mask, norm * value / np.linalg.norm(value[mask]), value)
    kernel.assign(value)


def parts(model, seed=3, **options):
    """A direction of the model, taken apart by variable."""
    direction = directions.filter_normalised(model, seed, **options)
    ends = np.cumsum([int(np.prod(v.shape)) for v in model.trainable_variables])
    pieces = np.split(direction, ends[:-1])
    return [piece.reshape(v.shape) for piece, v in zip(pieces, model.trainable_variables, strict=True)]
