"""Copies of Keras models: with other parameters, or in another precision.

A copy is compared with its model on examples before it is handed out: a measure of a copy that computes something else
would be wrong without a sign of it.
"""

import contextlib

import keras
import numpy as np

from hw1.evaluation.cloning import SPACING, clone, in_precision
from hw1.evaluation.layers import walk

_BATCH, _FREE = 5, 32  # random examples, and their size along axes that the model leaves open


def flat_parameters(model) -> np.ndarray:
    """All trainable variables as one vector of shape [parameters], in the order of ``model.trainable_variables``."""
    return np.concatenate([keras.ops.convert_to_numpy(v).ravel() for v in model.trainable_variables])


def with_parameters(model, vector, x=None) -> keras.Model:
    """Copies a model and sets the trainable variables of the copy.

    Args:
        model: a built Keras model.
        vector: values of all trainable variables, shape [parameters], ordered as in `flat_parameters`.
        x: as for `copy`.

    Returns:
        A new model; the old one is not changed.

    Raises:
        ValueError: `vector` has another shape, or as `copy`.
    """
    sizes = [int(np.prod(v.shape)) for v in model.trainable_variables]
    if np.shape(vector) != (sum(sizes),):
        raise ValueError(f"the vector must have shape [{sum(sizes)}], not {list(np.shape(vector))}")
    twin = copy(model, x=x)
    parts = np.split(np.asarray(vector), np.cumsum(sizes)[:-1])
    for variable, part in zip(twin.trainable_variables, parts, strict=True):
        variable.assign(np.reshape(part, variable.shape))
    return twin


def with_dtype(model, dtype: str, x=None) -> keras.Model:
    """Copies a model, with its weights, to another precision.

    All layers of the copy have weights of this dtype and compute in it, also those of a model of mixed precision.

    Args:
        model: a built Keras model.
        dtype: "float32" or "float64".
        x: as for `copy`.

    Returns:
        A new model that computes in `dtype`; the old one is not changed.

    Raises:
        ValueError: another `dtype`, or as `copy`.
    """
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64', not {dtype!r}")
    return copy(model, dtype, x)


def copy(model, dtype: str | None = None, x=None) -> keras.Model:
    """Copies a model with its weights and all its state.

    The copy is compared with the model, in inference mode, on `x`. It passes if no output differs by more than the
    square root of the coarsest precision that takes part, as a share of the largest output: 1.5e-8 for float64, 3.5e-4
    if there is float32, 3 % for float16, 9 % for bfloat16.

    Args:
        model: a built Keras model. A model that is written as a class, and layers of one's own, need a ``get_config``
            from which Keras can make them anew. The one that Keras supplies does for layers, and for models whose
            arguments have their default values.
        dtype: None to keep all precisions, else the floating-point type of all weights and computations.
        x: examples for the comparison, as the model takes them; a few will do. None for random ones: numbers between 0
            and 1, of integer inputs zeros and ones.

    Returns:
        A new model, not compiled; the old one is not changed. Flags `trainable` and names of layers are kept.

    Raises:
        ValueError: the model cannot be made anew, or the copy computes something else.
    """
    if not model.built:
        raise ValueError(f"model {model.name!r} is not built: give it an Input layer or call it on data once")
    given = x is not None
    x = x if given else random_examples(model)
    with _refusing(f"model {model.name!r} cannot be called on {'x' if given else 'random examples (give some as x)'}"):
        expected = _outputs(model, x)
    with _refusing(f"model {model.name!r} cannot be copied"):
        twin = clone(model, dtype=dtype, x=x)
        _check(expected, _outputs(twin, x), [*_precisions(model), *_precisions(twin)], dtype)
    return twin


@contextlib.contextmanager
def _refusing(what):
    """Turns any error into a ValueError that says what cannot be done."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{what}: {' '.join(str(error).split())[:500]}") from error


def random_examples(model):
    """Random inputs for a model; ValueError if it does not say what it takes."""
    rng = np.random.default_rng(0)

    def draw(shape, dtype="float32"):
        shape = [size or (_FREE if axis else _BATCH) for axis, size in enumerate(shape)]
        if dtype in SPACING:
            return (rng.integers(1, 129, shape) / 128).astype("float32")  # exact in every precision
        if "int" in dtype or dtype == "bool":
            return rng.integers(0, 2, shape).astype(dtype)
        raise ValueError(f"model {model.name!r} takes inputs of dtype {dtype}: give examples as x")

    if hasattr(model, "operations"):
        return keras.tree.map_structure(lambda tensor: draw(tensor.shape, tensor.dtype), model.input)
    if hasattr(model, "inputs"):
        return draw(model.inputs[0].shape, model.inputs[0].dtype)
    shape = (model.get_build_config() or {}).get("input_shape")
    if isinstance(shape, list | tuple) and all(isinstance(size, int | None) for size in shape):
        return draw(shape)
    raise ValueError(f"model {model.name!r} does not say which inputs it takes: give examples as x")


def _outputs(model, x) -> list[np.ndarray]:
    """All outputs in inference mode; no state of the model changes."""
    with keras.StatelessScope():
        outputs = model(x, training=False)
    return [keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(outputs)]


def _precisions(model) -> set[str]:
    """The types in which a model computes and has its weights."""
    return {layer.compute_dtype for _, layer in walk(model)} | {variable.dtype for variable in model.variables}


def _check(expected, found, precisions, dtype) -> None:
    """Raises ValueError if the outputs of a copy are not those of the model, up to rounding."""
    bound = max(SPACING.get(precision, 0.0) for precision in precisions) ** 0.5
    for output, other in zip(expected, found, strict=True):
        if other.dtype.name != in_precision(output.dtype.name, dtype):
            raise ValueError(f"outputs of the copy are {other.dtype.name}")
        output, other = (np.asarray(array, np.float64) for array in (output, other))
        largest = np.abs(output).max(initial=0, where=np.isfinite(output))
        if not np.allclose(other, output, rtol=0, atol=bound * largest, equal_nan=True):
            raise ValueError(
                f"outputs of the copy differ by {np.abs(other - output).max():.3g}, where those of the model have size "
                f"{largest:.3g}. Something that the model computes with is neither a weight nor in the configuration "
                "of its layers (get_config), or it is random. What is measured on the copy would be wrong for the model"
            )
