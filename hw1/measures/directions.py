"""Directions in parameter space for the lines and planes of `hw1.measures.interpolation`."""

import re
from collections.abc import Mapping

import numpy as np

from hw1 import evaluation
from hw1.evaluation import checks
from hw1.evaluation.layers import owners, paths

# Layers of Keras with kernels → their kernels → the axes that count the filters. Their other variables (biases, also
# those with two axes, and the parameters of a normalisation) are not moved. EinsumDense says it in its equation.
FILTERS = {
    "Dense Conv1D Conv2D Conv3D": {"kernel": (-1,)},
    "SimpleRNNCell LSTMCell GRUCell ConvLSTMCell": {"kernel": (-1,), "recurrent_kernel": (-1,)},
    "DepthwiseConv1D DepthwiseConv2D": {"kernel": (-2, -1)},
    "SeparableConv1D SeparableConv2D": {"depthwise_kernel": (-2, -1), "pointwise_kernel": (-1,)},
    "Conv1DTranspose Conv2DTranspose Conv3DTranspose": {"kernel": (-2,)},
    "STFTSpectrogram": {"real_kernel": (-1,), "imag_kernel": (-1,)},
    "Embedding ReversibleEmbedding": {"embeddings": (0,), "reverse_embeddings": (-1,)},
    "PReLU BatchNormalization GroupNormalization LayerNormalization RMSNormalization": {},
}
FILTERS = {name: kernels for names, kernels in FILTERS.items() for name in names.split()}


def through(origin, second, third) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal directions of the plane through three points, by Gram and Schmidt.

    The first direction points from `origin` to `second`.

    Args:
        origin: flat parameters, shape [parameters]; coordinates (0, 0).
        second: another point; its coordinates are (‖second − origin‖, 0).
        third: a point not on the line through the two; its second coordinate is positive.

    Returns:
        The two directions, each of shape [parameters]. A point p has the coordinates (p − origin) · direction.

    Raises:
        ValueError: if the points lie on one line.
    """
    first, other = (np.asarray(point, np.float64) - origin for point in (second, third))
    length, reach = np.linalg.norm(first), np.linalg.norm(other)
    first = first / (length or 1.0)
    other = other - (other @ first) * first
    other = other - (other @ first) * first  # again, for what rounding has left
    rest = np.linalg.norm(other)
    if not length or rest <= 1e-10 * reach:
        raise ValueError("the three points lie on one line; a plane needs a third point beside it")
    return first, other / rest


def filter_normalised(model, seed: int = 0, axes: Mapping[str, tuple[int, ...] | None] | None = None) -> np.ndarray:
    """A random direction whose filters have the norms of the net's filters (Li et al., arXiv 1712.09913, section 4).

    Each filter of a Gaussian direction d is scaled to d_ij ‖θ_ij‖ / ‖d_ij‖, so that a step of a given length changes
    filters of every size by the same factor; plots of nets that differ in the scale of their weights can be compared. A
    filter that is zero is not moved.

    A filter is what feeds one unit or channel. Which axes of a kernel count the units depends on the layer:

    - Dense, Conv1D–3D (in groups too), the cells of recurrent layers with their recurrent kernels: the last axis. Each
      gate of an LSTM or GRU has units of its own.
    - depthwise kernels, also of separable convolutions: the last two (input channel, multiplier); their pointwise
      kernels: the last.
    - transposed convolutions, [..., out, in]: the last but one.
    - EinsumDense, and so the projections of attention: the axes that the equation passes on to the output. A unit of
      query, key and value is a (head, component), one of the output projection an output feature.
    - Embedding: the first, so that a filter is the vector of one token. This is what one lookup reads, the norms of
      these vectors differ with the tokens' frequencies, and the source's own program goes along the rows too. The
      separate output table of a ReversibleEmbedding is a Dense kernel to it: the last.

    Not moved, as in the source: variables with less than two axes, biases, normalisation, PReLU.

    Args:
        model: a built Keras model.
        seed: of the direction, standard normal before it is scaled.
        axes: for layers that are not Keras's own, or to count filters differently: path of a variable (as
            `hw1.evaluation.layers.paths` has it) → the axes that count its filters, () if all of it is one filter, None
            to leave it where it is.

    Returns:
        The direction, float64 of shape [parameters].

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: the filters of a variable with two axes or more are not known, `axes` does not fit, or the model
            cannot be measured.
    """
    evaluation.check_model(model)
    axes, known = axes or {}, paths(model)
    if unknown := set(axes) - set(known):
        raise ValueError(f"axes names no trainable variable with {sorted(unknown)}; there are {known}")
    rng, parts = checks.generator(seed), []
    for path, (_, layer), variable in zip(known, owners(model), model.trainable_variables, strict=True):
        weights = np.asarray(variable, np.float64)
        part = rng.standard_normal(weights.shape)
        counting = axes[path] if path in axes else _filters(layer, variable, path)
        parts.append(_scaled(part, weights, counting, path).ravel())
    return np.concatenate(parts)


def _filters(layer, variable, path) -> tuple[int, ...] | None:
    """The axes that count the filters of a layer's variable, None for a variable that is not moved."""
    kind = type(layer).__name__ if type(layer).__module__.startswith("keras.") else None
    if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None):
        raise ValueError(
            f"layer {layer.name!r} computes with a kernel that is put together from several variables (LoRA or "
            "quantisation): no variable holds its filters, and no direction can be given"
        )
    if len(variable.shape) < 2:
        return None
    if kind == "EinsumDense":
        _, kernel, output = re.split(",|->", layer.equation.replace(" ", ""))
        return tuple(i for i, axis in enumerate(kernel) if axis in output) if variable.name == "kernel" else None
    if kind not in FILTERS:
        raise ValueError(
            f"{path} has {len(variable.shape)} axes, and {type(layer).__name__} is no layer of Keras whose filters are "
            f"known: say which axes count them, as in axes={{{path!r}: (-1,)}}, or None to leave it where it is"
        )
    return FILTERS[kind].get(variable.name)


def _scaled(part, weights, counting, path) -> np.ndarray:
    """`part` with the norm of the weights in each filter."""
    if counting is None:
        return np.zeros_like(part)
    if not isinstance(counting, tuple | list) or any(axis not in range(-part.ndim, part.ndim) for axis in counting):
        raise ValueError(f"axes of {path} must be a tuple of some of its {part.ndim} axes, or None, not {counting!r}")
    kept = {axis % part.ndim for axis in counting}
    within = tuple(axis for axis in range(part.ndim) if axis not in kept)
    squares, ours = (np.sum(array**2, axis=within, keepdims=True) for array in (weights, part))
    return part * np.sqrt(squares / ours)
