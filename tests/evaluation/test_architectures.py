"""Which nets are known to compute the same function of their variables, and which XLA compiles."""

import functools
import types

import cases
import keras
import nets
import numpy as np
import pytest
import references
import tensorflow as tf

from hw1 import copies, evaluation
from hw1.measures import hessian


def dense(activation="tanh", **options):
    """A net of one hidden layer with fixed names, so that only its functions can tell it from another."""
    layers = [keras.layers.Flatten(name="a"), keras.layers.Dense(4, activation=activation, name="b", **options)]
    return keras.Sequential([keras.Input(nets.SHAPE, name="i"), *layers, keras.layers.Dense(3, name="c")], name="net")


class Sine:
    """Activations that no configuration describes: a method and a callable object."""

    def __init__(self, frequency):
        """Remembers the frequency."""
        self.frequency = frequency

    def method(self, z):
        """sin(frequency · z)."""
        return tf.sin(self.frequency * z)

    __call__ = method


def part_frozen():
    """The dense net with one frozen variable in a layer that is not frozen."""
    model = dense()
    model.layers[1].bias.trainable = False
    return model


def layer_frozen():
    """The dense net with a frozen layer."""
    model = dense()
    model.layers[1].trainable = False
    return model


def lambda_layer(power):
    """A net with a Lambda layer."""
    layers = [keras.layers.Flatten(name="a"), keras.layers.Lambda(lambda z: z**power, name="l")]
    return keras.Sequential([keras.Input(nets.SHAPE, name="i"), *layers, keras.layers.Dense(3, name="c")], name="net")


DIFFERENT = {
    "tanh": dense,
    "relu": lambda: dense("relu"),
    "gelu": lambda: dense("gelu"),
    "leaky 0.2": lambda: dense(keras.layers.LeakyReLU(0.2, name="x")),
    "leaky 0.3": lambda: dense(keras.layers.LeakyReLU(0.3, name="x")),
    "sin": lambda: dense(tf.sin),
    "function": lambda: dense(lambda z: tf.sin(2 * z)),
    "other function": lambda: dense(lambda z: tf.sin(3 * z)),
    "partial": lambda: dense(functools.partial(keras.activations.leaky_relu, negative_slope=0.2)),
    "other partial": lambda: dense(functools.partial(keras.activations.leaky_relu, negative_slope=0.3)),
    "method": lambda: dense(Sine(2).method),
    "other method": lambda: dense(Sine(3).method),
    "object": lambda: dense(Sine(2)),
    "other object": lambda: dense(Sine(3)),
    "Lambda": lambda: lambda_layer(2),
    "other Lambda": lambda: lambda_layer(3),
    "no bias": lambda: dense(use_bias=False),
    "frozen layer": layer_frozen,
    "frozen variable": part_frozen,
    "subclassed": lambda: nets.subclassed(dtype="float32"),
}


def test_nets_that_differ_share_no_program():
    """In activation, function, Lambda, bias, frozen part or dtype: each is measured as itself, whoever came before."""
    x, y = (part.astype(kind) for part, kind in zip(nets.examples(), ("float32", "int32"), strict=True))
    models = {name: nets.perturbed(build(), seed=1) for name, build in DIFFERENT.items()}
    keys = [key for key in map(evaluation.architecture, models.values()) if key is not None]  # None shares with none
    assert len(set(keys)) == len(keys)
    for model in models.values():
        # float32: a mean of eleven losses near 1
        assert evaluation.evaluate(model, x, y)[0] == pytest.approx(references.losses(model, x, y).mean(), rel=1e-6)


def test_nets_without_names_share_their_programs():
    """Keras counts names up, from net to net: that alone makes no other function."""

    def build():
        layers = [keras.layers.Flatten(), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(3)]
        return nets.perturbed(keras.Sequential([keras.Input(nets.SHAPE), *layers]), seed=1)

    first, second = build(), build()
    assert first.layers[1].name != second.layers[1].name
    assert evaluation.architecture(first) == evaluation.architecture(second)
    x, y = (part.astype(kind) for part, kind in zip(nets.examples(), ("float32", "int32"), strict=True))
    second.layers[1].kernel.assign(2 * second.layers[1].kernel)
    for model in (first, second):
        assert evaluation.evaluate(model, x, y)[0] == pytest.approx(references.losses(model, x, y).mean(), rel=1e-6)


def test_a_layer_changed_after_it_was_made_is_measured_as_it_is():
    """Also where its configuration keeps the first argument, and the first examples do not tell."""
    x = np.concatenate([np.ones((32, 2)), -np.ones((32, 2))]).astype("float32")
    y = np.zeros(64, np.int32)
    for alpha in (1.0, 0.1, 3.0):
        model = keras.Sequential([keras.Input((2,)), keras.layers.ELU(), keras.layers.Dense(2)])
        model.layers[0].alpha = alpha
        model.layers[1].kernel.assign([[1.0, -1.0], [0.5, 2.0]])
        truth = references.losses(model, x, y).mean()
        assert evaluation.evaluate(model, x, y)[0] == pytest.approx(truth, rel=1e-6)
        assert evaluation.evaluate(copies.with_dtype(model, "float64"), x, y)[0] == pytest.approx(truth, rel=1e-6)


def test_regularisers_are_those_of_the_variables():
    """As Keras takes them, whatever a layer says after it was built; biases of 0 have no loss, but curvature."""
    x, y = np.random.default_rng(0).normal(size=(20, 4)).astype("float32"), np.arange(20) % 3
    penalty = keras.regularizers.L2(0.1)

    def build(**options):
        layers = [keras.layers.Dense(2, activation="tanh", **options), keras.layers.Dense(3)]
        return keras.Sequential([keras.Input((4,)), *layers])

    ignored, kept, added = build(), build(bias_regularizer=penalty), build()
    ignored.layers[0].bias_regularizer, kept.layers[0].bias_regularizer = penalty, None
    added.layers[0].bias.regularizer = penalty
    for model, truth in ((ignored, 0.0), (kept, 0.2), (added, 0.2)):
        for net in (model, copies.with_dtype(model, "float64")):
            with_own = hessian.diagonal(net, x, y, regularization=True)
            found = (with_own - hessian.diagonal(net, x, y))[8:10]
            np.testing.assert_allclose(found, truth, atol=1e-6)


def test_a_layer_whose_variables_no_longer_fit_is_named():
    """Not the inputs, which are right."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5), keras.layers.Dense(3)])
    model.layers[0].use_bias = False
    with pytest.raises(ValueError, match="has 3 variables instead of 4: a layer was changed after it was built"):
        hessian.product(model, np.ones((6, 4), "float32"), np.zeros(6, int))


@pytest.mark.parametrize("case", cases.KINDS, ids=str)
def test_layers_choose_the_compiler(case):
    """XLA for plain products, not for convolutions and not for what nobody knows."""
    convolutional_or_unknown = {"convolutional", "convolutional, normalised", "subclassed", "unused variable"}
    assert evaluation.jit_compile(case.model) == (case.kind not in convolutional_or_unknown)


def test_all_layers_reaches_into_models():
    """Layers of nets inside of nets, too."""
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="deep")], name="inner")
    outer = keras.Sequential([keras.Input((3,)), inner, keras.layers.Dense(3, name="top")])
    assert [layer.name for layer in evaluation.all_layers(outer)] == ["inner", "deep", "top"]
    assert isinstance(evaluation.all_layers(outer), types.GeneratorType)
