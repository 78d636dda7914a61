"""The nets: Keras models that output logits, with 20,000 to 30,000 parameters unless a question needs another size.

A seed determines the initial weights, whatever was built before. Layers have fixed names, so nets of one architecture
have equal configurations and share compiled programs.
"""

from collections.abc import Sequence

import keras
import numpy as np

from hw1.copies import flat_parameters, with_dtype, with_parameters  # noqa: F401 - they belong to the names given here

COURSE_HIDDEN = (30, 20)  # 784-30-20-10: 24,380 parameters
RANDOM_LABEL_HIDDEN = (256, 256, 256)  # the slides' net for random labels: 335,114 parameters
SLIDES_CNN = {"filters": (22, 22), "kernel_sizes": (3, 2), "pools": (2, 3), "dense": (80,)}  # 31,228 parameters
# Layers that commute with a positive factor, apart from their kernels, biases and activations.
HOMOGENEOUS = {
    keras.layers.Activation,
    keras.layers.AveragePooling2D,
    keras.layers.Conv2D,
    keras.layers.Dense,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.LeakyReLU,
    keras.layers.MaxPooling2D,
    keras.layers.ReLU,
    keras.layers.Reshape,
}


def widths(name: str) -> tuple[int, ...]:
    """Reads the widths of hidden layers from a name such as "10-18-15-4".

    Raises:
        ValueError: the name is not a sequence of positive integers with hyphens between them.
    """
    parts = name.split("-")
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"{name!r} names no net; write the widths of its hidden layers as in 10-18-15-4")
    return tuple(map(int, parts))


def check_widths(flag: str, names: Sequence[str]) -> None:
    """Raises ValueError, naming the flag that gives them, unless `widths` can read all names."""
    for name in names:
        try:
            widths(name)
        except ValueError as error:
            raise ValueError(f"--{flag}={','.join(names)}: {error}") from error


def _check_dropout(dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), not {dropout!r}")


def _glorot(rng):
    return keras.initializers.GlorotUniform(seed=int(rng.integers(2**31)))


def _dense(name, units, use_bias, rng, dtype):
    return keras.layers.Dense(units, use_bias=use_bias, kernel_initializer=_glorot(rng), name=name, dtype=dtype)


def _activated(layer, activation, batch_normalization, dropout, rng) -> list:
    """A hidden layer followed by batch normalisation (optional), activation and dropout (optional)."""
    following = [layer]
    if batch_normalization:
        following.append(keras.layers.BatchNormalization(name=f"{layer.name}_norm", dtype=layer.dtype_policy))
    following.append(keras.layers.Activation(activation, name=f"{layer.name}_activation", dtype=layer.dtype_policy))
    if dropout:
        seed = int(rng.integers(2**31))
        following.append(
            keras.layers.Dropout(dropout, seed=seed, name=f"{layer.name}_dropout", dtype=layer.dtype_policy)
        )
    return following


def _sequential(layers, name, dtype) -> keras.Model:
    model = keras.Sequential(layers, name=name)
    model.dtype_policy = dtype  # otherwise the model rounds its inputs to float32
    return model


def _positive(name: str, values: Sequence[int]) -> tuple[int, ...]:
    values = tuple(values) if isinstance(values, Sequence) else (values,)
    for value in values:
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
            raise ValueError(f"{name} must be positive integers, not {value!r}")
    return tuple(int(value) for value in values)


def mlp(
    hidden: Sequence[int] = COURSE_HIDDEN,
    activation="relu",
    use_bias: bool = True,
    input_shape: Sequence[int] = (28, 28),
    classes: int = 10,
    seed: int = 0,
    batch_normalization: bool = False,
    dropout: float = 0.0,
    dtype: str = "float32",
) -> keras.Model:
    """Builds a fully connected net; ``mlp()`` is the course's 784-30-20-10 with 24,380 parameters.

    Args:
        hidden: widths of the hidden layers; () gives softmax regression.
        activation: activation of the hidden layers, in any form that Keras accepts.
        use_bias: whether the dense layers have biases.
        input_shape: shape of one input, without the batch axis.
        classes: number of outputs (logits, no activation).
        seed: of the initial weights (Glorot uniform, the default of Keras) and of dropout.
        batch_normalization: whether to normalise before each hidden activation.
        dropout: fraction of hidden units dropped in training, 0 for none.
        dtype: of weights and computation, "float32" or "float64".

    Returns:
        A built Keras model from [n, *input_shape] to logits [n, classes].

    Raises:
        ValueError: a size is not a positive integer, or dropout is outside [0, 1).
    """
    hidden = _positive("hidden", hidden) if len(hidden) else ()
    (classes,), input_shape = _positive("classes", [classes]), _positive("input_shape", input_shape)
    _check_dropout(dropout)
    rng = np.random.default_rng(seed)
    layers = [keras.Input(input_shape, dtype=dtype, name="images"), keras.layers.Flatten(name="flatten", dtype=dtype)]
    for number, units in enumerate(hidden, start=1):
        dense = _dense(f"hidden_{number}", units, use_bias, rng, dtype)
        layers += _activated(dense, activation, batch_normalization, dropout, rng)
    layers.append(_dense("logits", classes, use_bias, rng, dtype))
    return _sequential(layers, "mlp", dtype)


def cnn(
    filters: Sequence[int] = (8, 16),
    kernel_sizes: Sequence[int] = (3, 3),
    dense: Sequence[int] = (48,),
    activation="relu",
    use_bias: bool = True,
    input_shape: Sequence[int] = (28, 28, 1),
    classes: int = 10,
    seed: int = 0,
    batch_normalization: bool = False,
    dropout: float = 0.0,
    dtype: str = "float32",
    pools: Sequence[int] = (2, 2),
) -> keras.Model:
    """Builds a convolutional net; ``cnn()`` has 20,986 parameters, ``cnn(**SLIDES_CNN)`` is the net of the slides.

    Each convolution (padding "valid") is followed by maximum pooling.

    Args:
        filters: number of filters of each convolution.
        kernel_sizes: side of the square kernel of each convolution, as many as `filters`.
        dense: widths of the dense layers after the convolutions.
        activation: activation of all hidden layers, in any form that Keras accepts.
        use_bias: whether convolutions and dense layers have biases.
        input_shape: (height, width, channels), or (height, width) for images without a channel axis.
        classes: number of outputs (logits, no activation).
        seed: of the initial weights and of dropout.
        batch_normalization: whether to normalise before each hidden activation.
        dropout: fraction of the units of the dense hidden layers dropped in training, 0 for none.
        dtype: of weights and computation, "float32" or "float64".
        pools: side of the maximum pooling after each convolution, as many as `filters`; 1 for none.

    Returns:
        A built Keras model from [n, *input_shape] to logits [n, classes].

    Raises:
        ValueError: a size is not a positive integer, lengths differ, dropout is outside [0, 1), or the images are too
            small for the kernels.
    """
    filters, kernel_sizes = _positive("filters", filters), _positive("kernel_sizes", kernel_sizes)
    pools = _positive("pools", pools)
    dense = _positive("dense", dense) if len(dense) else ()
    (classes,), input_shape = _positive("classes", [classes]), _positive("input_shape", input_shape)
    if not len(filters) == len(kernel_sizes) == len(pools):
        raise ValueError("filters, kernel_sizes and pools must be equally long")
    if len(input_shape) not in (2, 3):
        raise ValueError(f"input_shape must be (height, width) or (height, width, channels), not {input_shape}")
    _check_dropout(dropout)
    rng = np.random.default_rng(seed)
    layers = [keras.Input(input_shape, dtype=dtype, name="images")]
    if len(input_shape) == 2:
        layers.append(keras.layers.Reshape((*input_shape, 1), name="channel", dtype=dtype))
    for number, (count, side, pool) in enumerate(zip(filters, kernel_sizes, pools, strict=True), start=1):
        convolution = keras.layers.Conv2D(
            count,
            side,
            use_bias=use_bias,
            kernel_initializer=_glorot(rng),
            name=f"convolution_{number}",
            dtype=dtype,
        )
        layers += _activated(convolution, activation, batch_normalization, 0.0, rng)
        if pool > 1:
            layers.append(keras.layers.MaxPooling2D(pool, name=f"pool_{number}", dtype=dtype))
    layers.append(keras.layers.Flatten(name="flatten", dtype=dtype))
    for number, units in enumerate(dense, start=1):
        layer = _dense(f"dense_{number}", units, use_bias, rng, dtype)
        layers += _activated(layer, activation, batch_normalization, dropout, rng)
    layers.append(_dense("logits", classes, use_bias, rng, dtype))
    return _sequential(layers, "cnn", dtype)


def rescaling(model, factors: Sequence[float]) -> np.ndarray:
    """Multipliers of the parameters that leave a ReLU net's function unchanged (Dinh et al., arXiv 1703.04933).

    The kernel of the i-th dense or convolutional layer is multiplied by the factor f_i, its bias by f_1 ⋯ f_i. ReLU is
    positively homogeneous, relu(cz) = c relu(z) for c > 0, so the function is unchanged if the factors' product is 1.
    The factors (α, 1/α) give the map (θ₁, θ₂) → (αθ₁, α⁻¹θ₂) of the source.

    Args:
        model: a built Sequential model of dense, convolutional and weightless layers with ReLU activations.
        factors: one positive number per layer with a kernel; their product must be 1.

    Returns:
        The vector d of shape [parameters] with (Tθ)_i = d_i θ_i. The Hessian at Tθ is H(Tθ)_ij = H(θ)_ij / (d_i d_j).

    Raises:
        ValueError: a factor is not positive, their product is not 1, or the function of the net would change.
    """
    factors = np.asarray(factors, np.float64)
    if not (np.isfinite(factors).all() and (factors > 0).all()):
        raise ValueError(f"rescaling factors must be positive, not {factors.tolist()}: α = 0 would erase a layer")
    if not isinstance(model, keras.Sequential):
        raise ValueError("the reparametrisation needs a keras.Sequential model")
    kernels = [layer for layer in model.layers if layer.weights]
    if len(factors) != len(kernels) or not np.isclose(np.prod(factors), 1):
        raise ValueError(f"{len(kernels)} factors with product 1 are needed, not {factors.tolist()}")
    for layer in model.layers:
        _check_homogeneous(layer, last=layer is kernels[-1])
        if len(layer.trainable_variables) != len(layer.weights):
            raise ValueError(f"layer {layer.name!r} is frozen; the reparametrisation changes all weights")
    product, parts = 1.0, []
    for layer, factor in zip(kernels, factors, strict=True):
        product *= factor
        for variable in layer.trainable_variables:
            scale = factor if variable is layer.kernel else product
            parts.append(np.full(int(np.prod(variable.shape)), scale))
    return np.concatenate(parts)


def _check_homogeneous(layer, last: bool) -> None:
    """Raises ValueError unless f(cz) = c f(z) for c > 0 in this layer, up to its kernel and bias."""
    if type(layer) not in HOMOGENEOUS:
        raise ValueError(
            f"layer {layer.name!r} ({type(layer).__name__}) does not commute with a positive factor; "
            "the reparametrisation needs a net of dense or convolutional layers with ReLU"
        )
    if isinstance(layer, keras.layers.ReLU) and (layer.max_value is not None or layer.threshold != 0):
        raise ValueError(
            f"layer {layer.name!r} is a ReLU with a bound or a threshold; only a plain ReLU can be rescaled"
        )
    activation = getattr(layer, "activation", None)
    homogeneous = (None, keras.activations.linear, keras.activations.relu, keras.activations.leaky_relu)
    if activation not in homogeneous and not last:
        raise ValueError(
            f"the activation of layer {layer.name!r} is {activation.__name__}, not ReLU; the reparametrisation "
            "would change the function of the net: use activation='relu'"
        )
