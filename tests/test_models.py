"""Tests of hw1.models: parameter counts, seeds, dtypes, and the rescaling that leaves a ReLU net's function alone."""

import cases
import keras
import nets
import numpy as np
import pytest
import references
from cases import Case

from hw1 import models
from hw1.measures import hessian

# Sizes


@pytest.mark.parametrize(
    ("build", "count"),
    [
        (models.mlp, 24_380),
        (models.cnn, 20_986),
        (lambda: models.cnn(**models.SLIDES_CNN), 31_228),
        (lambda: models.mlp(models.RANDOM_LABEL_HIDDEN), 335_114),
        (lambda: models.mlp(()), 784 * 10 + 10),
        (lambda: models.mlp((5,), use_bias=False), 784 * 5 + 5 * 10),
        (lambda: models.mlp((5,), batch_normalization=True), 784 * 5 + 5 + 4 * 5 + 5 * 10 + 10),
        (lambda: models.cnn((2,), (3,), (), pools=(1,), input_shape=(4, 4)), 9 * 2 + 2 + 8 * 10 + 10),
    ],
    ids=["mlp", "cnn", "slides' cnn", "random labels", "softmax regression", "no bias", "normalised", "no pooling"],
)
def test_parameter_counts(build, count):
    """The counts that docstrings and report give."""
    model = build()
    assert model.count_params() == count == sum(int(np.prod(v.shape)) for v in model.weights)


def test_layers_in_order():
    """Normalisation, activation and dropout follow each hidden layer, in this order, and none the logits."""
    model = models.mlp((5, 4), batch_normalization=True, dropout=0.5)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["Flatten", *["Dense", "BatchNormalization", "Activation", "Dropout"] * 2, "Dense"]
    assert model.layers[-1].activation is keras.activations.linear
    kinds = [type(layer).__name__ for layer in models.cnn((2,), (3,), (4,), pools=(2,), dropout=0.5).layers]
    assert kinds == ["Conv2D", "Activation", "MaxPooling2D", "Flatten", "Dense", "Activation", "Dropout", "Dense"]


def test_an_mlp_computes_what_numpy_computes():
    """Two hidden ReLU layers, by hand."""
    model, x, _ = Case("relu").data
    kernel_1, bias_1, kernel_2, bias_2, kernel_3, bias_3 = model.get_weights()
    hidden = np.maximum(x.reshape(len(x), -1) @ kernel_1 + bias_1, 0)
    expected = np.maximum(hidden @ kernel_2 + bias_2, 0) @ kernel_3 + bias_3
    np.testing.assert_allclose(model(x), expected, atol=1e-14)


# Seeds and dtypes


@pytest.mark.parametrize("build", [nets.mlp, nets.cnn])
def test_a_seed_gives_the_same_weights_whatever_came_before(build):
    """The same bytes for one seed, other weights for another; layers of one net are not alike."""
    first = build(seed=3).get_weights()
    keras.utils.set_random_seed(99)
    build(seed=5)
    again, other = build(seed=3).get_weights(), build(seed=4).get_weights()
    assert [w.tobytes() for w in first] == [w.tobytes() for w in again]
    kernels = [(a, b) for a, b in zip(first, other, strict=True) if a.ndim > 1]
    assert all(np.abs(a - b).max() > 0.01 for a, b in kernels)
    square = models.mlp((6, 6), input_shape=(6,), classes=6).get_weights()[::2]
    assert np.abs(square[0] - square[1]).max() > 0.01


def test_kernels_are_glorot_uniform():
    """Within ± √(6 / (in + out)) and of the variance 2 / (in + out); 784 · 256 draws give it to 1 %."""
    kernel = models.mlp((256,)).get_weights()[0]
    assert np.abs(kernel).max() <= np.sqrt(6 / (784 + 256))
    assert kernel.var() == pytest.approx(2 / (784 + 256), rel=0.01)


@pytest.mark.parametrize("kind", nets.BUILDERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nets_compute_in_their_dtype(kind, dtype):
    """Weights, logits, and (in float64) the input: a step of 1e-12 in x is seen."""
    model, x, _ = Case(kind, dtype=dtype).data
    assert {v.dtype for v in model.trainable_variables} == {dtype}
    assert model(x).dtype == dtype
    if dtype == "float64":
        change = np.abs(np.asarray(model(x * (1 + 1e-12))) - np.asarray(model(x))).max()
        assert 1e-15 < change < 1e-10


# Rescaling


def rescaled(model, factors):
    """A copy of the model with the parameters dθ, and d."""
    scale = models.rescaling(model, factors)
    twin = models.with_dtype(model, "float64")
    references.assign(twin, references.flat(model.trainable_variables) * scale)
    return twin, scale


@pytest.mark.parametrize("alpha", [1e-2, 0.1, 0.5, 3.0, 10.0, 1e2])
@pytest.mark.parametrize("kind", ["relu", "convolutional", "dropout"])
def test_rescaling_leaves_the_function_alone(kind, alpha):
    """Over four decades of α, the scale put into the first, or spread over several layers."""
    model, x, _ = Case(kind).data
    layers = sum(1 for layer in model.layers if layer.weights)
    logits = np.asarray(model(x))
    for factors in ([alpha, *[1] * (layers - 2), 1 / alpha], [alpha] * (layers - 1) + [alpha ** (1 - layers)]):
        twin, scale = rescaled(model, factors)
        # rounding only: a few 2⁻⁵³ of logits that are of size 1
        np.testing.assert_allclose(twin(x), logits, rtol=1e-12, atol=1e-13)
        assert np.abs(np.log(scale)).max() > 0.6


def test_leaky_relu_and_average_pooling_can_be_rescaled_too():
    """Every layer that lets a positive factor through."""
    pool, leaky = keras.layers.AveragePooling2D(2, dtype="float64"), keras.layers.LeakyReLU(0.2, dtype="float64")
    layers = [keras.layers.Conv2D(2, 3, dtype="float64"), leaky, pool, keras.layers.Flatten(dtype="float64")]
    model = keras.Sequential([keras.Input((6, 6, 1), dtype="float64"), *layers, keras.layers.Dense(3, dtype="float64")])
    nets.perturbed(model, seed=4)
    x, _ = nets.examples((6, 6, 1))
    np.testing.assert_allclose(rescaled(model, [5, 0.2])[0](x), model(x), rtol=1e-6)


def test_hessian_of_the_rescaled_net():
    """H(Tθ)_ij = H_ij / (d_i d_j): the chain rule for θ = Tθ / d, where the function is the same."""
    model, x, y = Case("relu").data
    twin, scale = rescaled(model, [0.3, 5, 1 / 1.5])
    cases.close(hessian.dense(twin, x, y), Case("relu").hessian / np.outer(scale, scale), 1e-13)


def softmax_at_the_end():
    """A ReLU net whose last layer has an activation: behind the last factor, where the product is 1 again."""
    model = nets.mlp()
    model.layers[-1].activation = keras.activations.tanh
    return model


def test_the_last_layer_may_have_any_activation():
    """There the factors have cancelled."""
    model, (x, _) = nets.perturbed(softmax_at_the_end(), 2), nets.examples()
    twin = keras.models.clone_model(model)
    references.assign(twin, references.flat(model.trainable_variables) * models.rescaling(model, [4, 0.5, 0.5]))
    np.testing.assert_allclose(twin(x), model(x), atol=1e-6)


def stack(*layers):
    """A dense net with these layers before the last."""
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), *layers, keras.layers.Dense(3)])


@pytest.mark.parametrize(
    ("build", "factors", "words"),
    [
        (nets.mlp, [0, 1, 1], ["positive", "0.0", "erase"]),
        (nets.mlp, [-1, -1, 1], ["positive", "-1.0"]),
        (nets.mlp, [np.nan, 1, 1], ["positive", "nan"]),
        (nets.mlp, [2, 1, 1], ["product 1", "2.0"]),
        (nets.mlp, [2, 0.5], ["3 factors"]),
        (lambda: nets.mlp(activation="tanh"), [2, 0.5, 1], ["hidden_1_activation", "tanh", "relu"]),
        (lambda: nets.mlp(activation="gelu"), [2, 0.5, 1], ["gelu"]),
        (lambda: nets.mlp(activation="relu6"), [2, 0.5, 1], ["relu6"]),
        (lambda: stack(keras.layers.ReLU(max_value=6)), [2, 0.5], ["bound or a threshold"]),
        (lambda: stack(keras.layers.ReLU(threshold=1)), [2, 0.5], ["bound or a threshold"]),
        (lambda: stack(keras.layers.Softmax()), [2, 0.5], ["Softmax", "positive factor"]),
        (lambda: nets.mlp(batch_normalization=True), [1, 1, 1, 1, 1], ["BatchNormalization", "positive factor"]),
        (nets.skip, [1, 1, 1], ["Sequential"]),
        (lambda: nets.subclassed(), [1, 1], ["Sequential"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and isinstance(value[0], str) else "",
)
def test_rescaling_refuses_what_it_would_change(build, factors, words):
    """α = 0, products other than 1, and nets whose function would not stay."""
    with cases.refused(*words):
        models.rescaling(build(), factors)


def test_rescaling_refuses_frozen_layers():
    """A frozen layer's weights are not among the parameters, so its factor would be lost."""
    model = nets.mlp()
    model.layers[1].trainable = False
    with pytest.raises(ValueError, match="'hidden_1' is frozen"):
        models.rescaling(model, [2, 0.5, 1])


# Bad arguments


@pytest.mark.parametrize(
    ("build", "options", "words"),
    [
        (models.mlp, {"hidden": (3, 0)}, ["hidden", "0"]),
        (models.mlp, {"hidden": (3, 2.5)}, ["hidden", "2.5"]),
        (models.mlp, {"hidden": (True,)}, ["hidden", "True"]),
        (models.mlp, {"classes": 0}, ["classes", "0"]),
        (models.mlp, {"input_shape": (28, -1)}, ["input_shape", "-1"]),
        (models.mlp, {"dropout": 1.0}, ["dropout", "1.0"]),
        (models.mlp, {"dropout": -0.1}, ["dropout", "-0.1"]),
        (models.cnn, {"filters": (8,)}, ["equally long"]),
        (models.cnn, {"pools": (2,)}, ["equally long"]),
        (models.cnn, {"kernel_sizes": (3, 0)}, ["kernel_sizes", "0"]),
        (models.cnn, {"input_shape": (28,)}, ["input_shape", "(28,)"]),
        (models.cnn, {"dropout": 1.5}, ["dropout", "1.5"]),
        (models.cnn, {"input_shape": (4, 4)}, ["output size", "kernel shape"]),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_unfit_sizes(build, options, words):
    """The message names the argument and the value."""
    with cases.refused(*words):
        build(**options)
