"""Checks of a model, its outputs and its targets; each error says what is wrong and what would be right."""

import keras
import numpy as np
import tensorflow as tf

from hw1.evaluation.graphs import LINEAR
from hw1.evaluation.layers import walk
from hw1.evaluation.losses import from_logits, per_example, resolve

_SINGLE = ("float32", "float64")


def whole(name: str, value, least: int, most: float = np.inf) -> int:
    """The value as an int; ValueError, naming it, unless it is a whole number from `least` to `most`."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or not least <= value <= most:
        bound = f"of at least {least}" if most == np.inf else f"from {least} to {most}"
        raise ValueError(f"{name} must be a whole number {bound}, not {value!r}")
    return int(value)


def positive(name: str, value, most: float = np.inf) -> float:
    """The value as a float; ValueError, naming it, unless it is a finite number above 0, at most `most`."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not (number and 0 < value < np.inf and value <= most):
        bound = "" if most == np.inf else f" and at most {most:g}"
        raise ValueError(f"{name} must be a finite number above 0{bound}, not {value!r}")
    return float(value)


def generator(seed) -> np.random.Generator:
    """NumPy's random generator for a seed; ValueError unless that is a whole number of at least 0."""
    return np.random.default_rng(whole("seed", seed, 0))


def check_model(model) -> None:
    """Checks that `model` is a built Keras model with trainable variables and finite weights, in single precision.

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
    for variable in model.variables:
        value = keras.ops.convert_to_numpy(variable)
        if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
            raise ValueError(f"model {model.name!r} has non-finite values in {variable.path}; did training diverge?")
    _check_precision(model)
    for _, layer in walk(model):
        if isinstance(getattr(layer, "activation", None), keras.Layer) and not layer.activation.built:
            raise ValueError(
                f"the activation of layer {layer.name!r} is a layer that is not built: call the model on data once"
            )
        if getattr(layer, "stateful", False):
            raise ValueError(
                f"layer {layer.name!r} is stateful: its outputs depend on the batches before; build it without"
            )


def _check_precision(model) -> None:
    """Raises ValueError unless all parameters and computations are float32, or all are float64."""
    remedy = 'measure a copy: hw1.models.with_dtype(model, "float32")'
    dtypes = sorted({str(v.dtype) for v in model.trainable_variables})
    if len(dtypes) > 1:
        raise ValueError(f"model {model.name!r} has parameters of {' and '.join(dtypes)}; {remedy}")
    if not set(dtypes) <= {*_SINGLE}:
        raise ValueError(
            f"model {model.name!r} has parameters of {dtypes[0]}, where float32 or float64 is needed; {remedy}"
        )
    for _, layer in walk(model):
        for dtype in (layer.compute_dtype, layer.variable_dtype):
            if "float" in dtype and dtype not in _SINGLE:
                raise ValueError(
                    f"layer {layer.name!r} of model {model.name!r} computes in {dtype}, which is too coarse for second "
                    f"derivatives; {remedy}"
                )


def check_scale(model, x) -> None:
    """Raises ValueError if a Rescaling layer divides by 255 or 127.5 what is in [0, 1] already.

    Args:
        model: the Keras model.
        x: its inputs, an array or several; if there are images, shape [n, height, width, ...], only they count.
    """
    arrays = tf.nest.flatten(x)
    arrays = [array for array in arrays if array.ndim > 2] or arrays
    if any(array.min() < 0 or array.max() > 1 for array in arrays):
        return
    for _, layer in walk(model):
        scale = np.asarray(layer.scale) if isinstance(layer, keras.layers.Rescaling) else np.ones(1)
        if any(np.allclose(scale * size, 1, rtol=0.02) for size in (255, 127.5)):
            raise ValueError(
                f"layer {layer.name!r} rescales pixels from 0 to 255, but x lies in [0, 1]: give 255 * x to model "
                f"{model.name!r}, or leave out the layer"
            )


def check_alone(model, among, alone) -> None:
    """Raises ValueError if the last example has other outputs alone than it has among others.

    Args:
        model: the Keras model.
        among: its outputs on several examples, an array or several.
        alone: its outputs on the last of them.
    """
    for many, one in zip(tf.nest.flatten(among), tf.nest.flatten(alone), strict=True):
        if many.shape[1:] != one.shape[1:] or not _same(many[-1:], one):
            raise ValueError(
                f"model {model.name!r} mixes examples: the outputs of one depend on the others of its batch, so that "
                "no mean over examples is defined. Does it normalise by the batch in inference mode?"
            )


def _same(found, own) -> bool:
    """Whether outputs agree up to rounding."""
    bound = 1e3 * np.finfo(found.dtype).eps * np.abs(own).max(initial=0)
    return np.allclose(found, own, rtol=0, atol=bound, equal_nan=True)


def same_outputs(found, own) -> bool:
    """Whether two models' outputs, arrays or several of them, agree up to rounding."""
    return all(_same(*pair) for pair in zip(tf.nest.flatten(found), tf.nest.flatten(own), strict=True))


def check_outputs(model, compiled, plain, n) -> None:
    """Raises ValueError unless the compiled model gives the same as the model itself, an output for each example.

    Args:
        model: the Keras model.
        compiled: outputs of its compiled form on some examples, an array or several.
        plain: what the model itself gives for them, as tensors.
        n: their number.
    """
    for found, output in zip(tf.nest.flatten(compiled), tf.nest.flatten(plain), strict=True):
        if getattr(output, "_keras_mask", None) is not None:
            raise ValueError(
                f"the outputs of model {model.name!r} carry a mask, which a mean over the steps would not honour: drop "
                "it by keras.layers.Lambda(lambda z: 1 * z) at the end, and give a loss that leaves out the padding"
            )
        own = np.asarray(output)
        if own.ndim == 0 or len(own) != n:
            raise ValueError(f"model {model.name!r} must give one output per example; it gave shape {own.shape}")
        if not _same(found, own):
            raise ValueError(
                f"model {model.name!r} gives other outputs when it is compiled than when it is called (difference "
                f"{np.abs(found - own).max():.3g}), so that no measure of it would be right. Is its output random, or "
                "was an attribute changed after a tf.function in it had been traced?"
            )


def check_kind(model, loss, outputs, last: str) -> None:
    """Raises ValueError if probabilities are taken for logits, or logits for probabilities.

    Args:
        model: the Keras model.
        loss: as for `per_example`.
        outputs: of the model on some examples.
        last: type of the operation that gives them, such as "Sigmoid".
    """
    if isinstance(outputs, dict | list | tuple):
        if loss is None:
            raise ValueError(f"model {model.name!r} has {len(outputs)} outputs; give a loss of all of them")
        if isinstance(loss, dict) and isinstance(outputs, dict):
            pairs = [(part, outputs[name]) for name, part in loss.items() if name in outputs]
        else:
            pairs = zip(loss, outputs, strict=False) if isinstance(loss, list | tuple) else []
        for part, output in pairs:
            check_kind(model, part, output, "")
        return
    logits = loss is None or from_logits(loss)
    if loss is None and (outputs.ndim < 2 or outputs.shape[-1] < 2):
        raise ValueError(
            f"model {model.name!r} must give logits [n, classes] of two classes or more; it gave "
            f"{list(outputs.shape)}. For other outputs give a loss, for one logit of two classes "
            "keras.losses.BinaryCrossentropy(from_logits=True)"
        )
    probable = (outputs >= 0).all() and outputs.ndim > 1 and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3)
    if logits and (last in ("Softmax", "Sigmoid") or (probable and outputs.shape[-1] > 1)):
        raise ValueError(
            f"model {model.name!r} gives probabilities ({last.lower() if last in ('Softmax', 'Sigmoid') else 'they'} "
            "at its end), not logits: leave out the activation of its last layer, or give a loss of probabilities such "
            'as "sparse_categorical_crossentropy" or "binary_crossentropy"'
        )
    if logits is not False:
        return
    function = getattr(resolve(loss), "fn", resolve(loss)).__name__
    doubtful = last in LINEAR or "categorical" in function  # no activation at the end, or rows that must sum to 1
    if (outputs < 0).any() or (outputs > 1).any() or (doubtful and not probable):
        raise ValueError(
            f"the loss takes probabilities, but model {model.name!r} gives numbers from {outputs.min():.3g} to "
            f"{outputs.max():.3g}: use loss=None for softmax cross-entropy, or the loss with from_logits=True"
        )


def targets(y, n, outputs, loss):
    """The targets as arrays, labels as int32.

    Args:
        y: as they were given.
        n: number of examples.
        outputs: of the model on the first examples; an array, or a list or dict of arrays.
        loss: as for `per_example`.

    Raises:
        TypeError, ValueError: naming what is wrong.
    """
    several = isinstance(outputs, dict | list | tuple)
    y = tf.nest.map_structure(np.asarray, y) if several or isinstance(y, dict) else np.asarray(y)
    for array in tf.nest.flatten(y):
        if array.shape[:1] != (n,):
            raise ValueError(f"y has shape {list(array.shape)}; one target for each of the {n} examples is needed")
        if not np.issubdtype(array.dtype, np.number) and array.dtype != bool:
            raise TypeError(f"y must hold numbers, not {array.dtype}")
        if np.iscomplexobj(array):
            raise TypeError("y must hold real numbers, not complex ones")
        if not np.isfinite(array).all():
            raise ValueError("y must hold finite numbers")
    if loss is None:
        return _labels(y, outputs)
    dtype = tf.nest.flatten(outputs)[0].dtype
    y = tf.nest.map_structure(lambda a: a.astype(dtype) if np.issubdtype(a.dtype, np.floating) else a, y)
    if not several and "sparse_categorical" in getattr(getattr(resolve(loss), "fn", resolve(loss)), "__name__", ""):
        _check_range(y, outputs.shape[-1], getattr(resolve(loss), "_fn_kwargs", {}).get("ignore_class"))
    _check_loss(y, outputs, per_example(loss))
    return y


def _check_range(labels, classes, ignored=None) -> None:
    """Raises ValueError if a label is none of the classes 0 … classes − 1, nor the one that the loss ignores."""
    wrong = labels[((labels < 0) | (labels >= classes)) & (labels != ignored)]
    if len(wrong):
        raise ValueError(f"label {wrong[0]} is outside the model's {classes} classes 0 ... {classes - 1}")


def _labels(y, logits) -> np.ndarray:
    """Labels for the cross-entropy, as int32; or probabilities of the classes, in the dtype of the logits."""
    classes, shape = logits.shape[-1], (len(y), *logits.shape[1:-1])
    if y.shape == (*shape, 1):
        y = y[..., 0]
    if y.shape == (*shape, classes):
        if (y < 0).any() or not np.allclose(y.sum(axis=-1), 1, atol=1e-3):
            raise ValueError("y has a row for each example, but not of probabilities: each must be at least 0, sum 1")
        one_hot = ((y == 0) | (y == 1)).all()
        return y.argmax(axis=-1).astype(np.int32) if one_hot else y.astype(logits.dtype)
    if y.shape != shape:
        raise ValueError(
            f"y must be integer labels of shape {list(shape)}, or one-hot of shape {[*shape, classes]}, not "
            f"{list(y.shape)}"
        )
    if not np.issubdtype(y.dtype, np.integer):
        raise TypeError(f"y must be integer labels, not {y.dtype}; for other targets give a loss")
    _check_range(y, classes)
    return y.astype(np.int32)


def _check_loss(y, outputs, loss) -> None:
    """Raises ValueError unless the loss gives one value per example, which depends on that example alone.

    It is tried on targets from everywhere in y, and on outputs that differ, because where all are alike nothing shows.
    """
    few, rng = len(tf.nest.flatten(outputs)[0]), np.random.default_rng(0)
    own = tf.nest.map_structure(lambda array: tf.constant(array[:few]), (y, outputs))
    rows = _different_rows(tf.nest.flatten(y)[0], few)
    y = tf.nest.map_structure(lambda array: array[rows], y)
    outputs = tf.nest.map_structure(lambda array: _varied(array, rng), outputs)

    def values(part):
        cut = tf.nest.map_structure(lambda array: tf.constant(array[part]), (y, outputs))
        try:
            return loss(*cut)
        except (tf.errors.OpError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise ValueError(f"the loss fails for {shapes}: {error}") from None

    shapes = f"y of shape {_shapes(y)} and outputs of shape {_shapes(outputs)}"
    found = values(slice(None))
    if tuple(found.shape) != (few,):
        raise ValueError(
            f"loss must give one value per example; for {few} examples, {shapes} it gave shape {list(found.shape)}"
        )
    if not np.isfinite(loss(*own)).all():
        raise ValueError(
            "the loss of some examples is not a finite number, so that no measure of it would mean anything"
        )
    for number in (0, few - 1):
        alone = values(slice(number, number + 1))
        if not np.allclose(found[number], alone[0], rtol=1e-3, atol=0, equal_nan=True):
            raise ValueError(
                "loss must give one value per example that does not depend on the others, but that of one is "
                f"{float(alone[0]):.6g} alone and {float(found[number]):.6g} among {few}: are y and outputs broadcast "
                "against each other?"
            )


def _different_rows(y, few) -> np.ndarray:
    """Rows from everywhere in y, half of them with other targets than the first, if there are such, however rare."""
    rows = np.linspace(0, len(y) - 1, few).astype(int)
    other = np.flatnonzero((y != y[0]).reshape(len(y), -1).any(axis=1))
    if len(other):
        place = np.linspace(0, len(other) - 1, few // 2).astype(int)
        rows[few - few // 2 :] = other[place]
    return rows


def _varied(outputs, rng) -> np.ndarray:
    """Outputs that differ from each other; numbers from 0 to 1 stay there."""
    noise = rng.random((2, *outputs.shape))
    return (outputs * (0.9 + 0.08 * noise[0]) + 0.01 * noise[1]).astype(outputs.dtype)


def _shapes(arrays) -> str:
    return ", ".join(str(list(array.shape)) for array in tf.nest.flatten(arrays))
