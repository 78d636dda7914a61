"""What a filter is, layer by layer, against the weights that really feed each unit."""

import ast
import functools
import inspect
import textwrap

import filters
import keras
import nets
import numpy as np
import pytest

from hw1.measures import directions

L = keras.layers


def check(model, kernel, masks):
    """Asserts that the filters are disjoint and everything, and that those of a direction have the norms of the net."""
    np.testing.assert_array_equal(np.sum(masks, axis=0), np.ones(kernel.shape))
    filters.spread(kernel, masks)
    index = next(i for i, variable in enumerate(model.trainable_variables) if variable is kernel)
    part, value = filters.parts(model)[index], np.asarray(kernel)
    for mask in masks:
        assert np.linalg.norm(part[mask]) == pytest.approx(np.linalg.norm(value[mask]), rel=1e-12)
        assert mask.sum() == 1 or np.abs(np.abs(part[mask] / value[mask]) - 1).max() > 0.01, "the net's own direction"
    for variable, other in zip(model.trainable_variables, filters.parts(model), strict=True):
        assert other.any() == ("bias" not in variable.path)


# Kernels whose filters are found by derivatives: a layer, the shape of its input, and the axes that count its units.
KERNELS = {
    "Dense": (lambda: L.Dense(4), (3,), 1),
    "Dense on sequences": (lambda: L.Dense(4), (2, 3), 1),
    "Conv1D": (lambda: L.Conv1D(4, 2), (5, 3), 1),
    "Conv2D": (lambda: L.Conv2D(4, 2), (4, 4, 3), 1),
    "Conv2D in groups": (lambda: L.Conv2D(4, 2, groups=2), (4, 4, 6), 1),
    "Conv3D": (lambda: L.Conv3D(3, 2), (3, 3, 3, 2), 1),
    "DepthwiseConv1D": (lambda: L.DepthwiseConv1D(2, depth_multiplier=2), (5, 3), 1),
    "DepthwiseConv2D": (lambda: L.DepthwiseConv2D(2, depth_multiplier=2), (4, 4, 3), 1),
    "Conv1DTranspose": (lambda: L.Conv1DTranspose(4, 2), (5, 3), 1),
    "Conv2DTranspose": (lambda: L.Conv2DTranspose(4, 2), (4, 4, 3), 1),
    "Conv3DTranspose": (lambda: L.Conv3DTranspose(3, 2), (3, 3, 3, 2), 1),
    "EinsumDense": (lambda: L.EinsumDense("ab,bc->ac", 4, bias_axes="c"), (3,), 1),
    "heads": (lambda: L.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de"), (5, 4), 2),
    "heads to one": (lambda: L.EinsumDense("abcd,cde->abe", (None, 4), bias_axes="e"), (5, 2, 3), 1),
    "heads apart": (lambda: L.EinsumDense("abc,bcd->abd", (3, 2), bias_axes="bd"), (3, 4), 2),
    "dots": (lambda: L.EinsumDense("...x,yx->...y", 3), (2, 4), 1),
    "one unit": (lambda: L.EinsumDense("abc,bc->a", ()), (2, 3), 0),
    "in a wrapper": (lambda: L.SpectralNormalization(L.Dense(4)), (3,), 1),
    "in a wrapper over time": (lambda: L.TimeDistributed(L.Conv1D(4, 2)), (2, 5, 3), 1),
}


@pytest.mark.parametrize("kind", KERNELS)
def test_a_filter_is_what_feeds_a_unit(kind):
    """The weights that the derivatives of a unit's output reach; biases are not moved, whatever their shape."""
    build, shape, units = KERNELS[kind]
    model = filters.alone(build, shape)
    kernel = next(v for v in model.trainable_variables if v.name == "kernel")
    masks = filters.feeding(model, kernel, shape, units)
    assert len(masks) > 1 or kind == "one unit"
    check(model, kernel, masks)


@pytest.mark.parametrize(
    "build",
    [lambda: L.MultiHeadAttention(2, 3, value_dim=2), lambda: L.GroupQueryAttention(2, 4, 2)],
    ids=["MultiHeadAttention", "GroupQueryAttention"],
)
def test_filters_of_attention(build):
    """A unit of query, key and value is a component of a head, one of the output a feature; biases stay."""
    with filters.double():
        x, layer = keras.Input((3, 5)), build()
        model = keras.Model(x, layer(x, x))
    nets.with_random_weights(model, np.random.default_rng(0))
    kernels = [v for v in model.trainable_variables if v.name == "kernel"]
    assert len(kernels) == 4
    for kernel in kernels:
        name = kernel.path.split("/")[-2]
        part = next(part for part in layer._layers if part.name == name)
        shape = kernel.shape[:-1] if "output" in name else kernel.shape[:1]
        masks = filters.feeding(part, kernel, (3, *shape), 1 if "output" in name else 2)
        assert len(masks) == (5 if "output" in name else np.prod(kernel.shape[1:]))
        check(model, kernel, masks)


# Kernels whose filters are written down: a layer, the shape of its input, and the axes that count the filters.
WRITTEN = {
    "SimpleRNN": (lambda: L.SimpleRNN(2), (4, 3), {"kernel": [1], "recurrent_kernel": [1]}),
    "LSTM": (lambda: L.LSTM(2), (4, 3), {"kernel": [1], "recurrent_kernel": [1]}),
    "GRU": (lambda: L.GRU(2), (4, 3), {"kernel": [1], "recurrent_kernel": [1]}),
    "Bidirectional": (lambda: L.Bidirectional(L.LSTM(2)), (4, 3), {"kernel": [1], "recurrent_kernel": [1]}),
    "ConvLSTM2D": (lambda: L.ConvLSTM2D(2, 2), (2, 3, 3, 2), {"kernel": [3], "recurrent_kernel": [3]}),
    "SeparableConv2D": (
        lambda: L.SeparableConv2D(4, 2, depth_multiplier=2),
        (4, 4, 3),
        {"depthwise_kernel": [2, 3], "pointwise_kernel": [3]},
    ),
    "SeparableConv1D": (lambda: L.SeparableConv1D(4, 2), (5, 3), {"depthwise_kernel": [1, 2], "pointwise_kernel": [2]}),
    "Embedding": (lambda: L.Embedding(5, 3), (2,), {"embeddings": [0]}),
    "STFTSpectrogram": (lambda: L.STFTSpectrogram(frame_length=4), (9, 1), {"real_kernel": [2], "imag_kernel": [2]}),
    "ReversibleEmbedding": (
        lambda: L.ReversibleEmbedding(5, 3, tie_weights=False),
        (2,),
        {"embeddings": [0], "reverse_embeddings": [1]},
    ),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_filters_that_are_written_down(kind):
    """Each gate has units of its own; a token's vector is a filter; the bias of a GRU, with two axes, is not moved."""
    build, shape, axes = WRITTEN[kind]
    model = filters.alone(build, shape, "int32" if "Embedding" in kind else "float64")
    kernels = [variable for variable in model.trainable_variables if variable.name in axes]
    assert {kernel.name for kernel in kernels} == axes.keys()
    for kernel in kernels:
        check(model, kernel, filters.slices(kernel, *axes[kernel.name]))


@pytest.mark.parametrize(
    "layer",
    [
        L.PReLU(),
        L.LayerNormalization(axis=[1, 2]),
        L.LayerNormalization(),
        L.BatchNormalization(),
        L.GroupNormalization(2),
        L.RMSNormalization(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_what_is_not_moved(layer):
    """Parameters of normalisations and of PReLU, whatever their shape."""
    assert not np.any(filters.parts(filters.alone(lambda: layer, (3, 4)))[0])


@functools.cache
def calls_add_weight(kind):
    """Whether the code of a class makes weights."""
    code = inspect.getsource(kind)
    if "self.add_weight(" not in code:
        return False
    return any(getattr(node, "attr", "") == "add_weight" for node in ast.walk(ast.parse(textwrap.dedent(code))))


def test_every_layer_of_keras_with_weights_is_known():
    """Those with kernels are in the table; the rest have scales of one axis at most, or nothing that is trained."""
    kinds = [kind for kind in vars(L).values() if inspect.isclass(kind) and issubclass(kind, L.Layer)]
    classes = {kind: [base for base in kind.__mro__ if base not in L.Layer.__mro__] for kind in kinds}
    found = {kind.__name__ for kind, bases in classes.items() if any(map(calls_add_weight, bases))}
    scales, untrained = {"Attention", "AdditiveAttention"}, {"Normalization", "SpectralNormalization"}
    others = {"EinsumDense", "JaxLayer", "FlaxLayer"}
    assert found - {*directions.FILTERS} - scales - untrained - others == set()
    assert {*directions.FILTERS} - found == {"ConvLSTMCell"}  # of the layers ConvLSTM1D, 2D and 3D, not exported
