"""Which nets share compiled programs, how a net's variables are taken, and what measuring leaves alone."""

import functools
import random
import types

import cases
import keras
import nets
import numpy as np
import pytest
import references
import tensorflow as tf
from cases import Case

from hw1 import evaluation

# Which nets share compiled programs


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
    "float64": lambda: dense(dtype="float64"),
    "subclassed": lambda: nets.subclassed(dtype="float32"),
}


def test_nets_that_differ_share_no_program():
    """In activation, function, Lambda, bias, frozen part or dtype: each is measured as itself, whoever came before."""
    x, y = (part.astype(kind) for part, kind in zip(nets.examples(), ("float32", "int32"), strict=True))
    models = {name: nets.perturbed(build(), seed=1) for name, build in DIFFERENT.items()}
    keys = [evaluation.architecture(model) for model in models.values()]
    assert len(set(keys)) == len(keys)
    for model in models.values():
        # float32: a mean of eleven losses near 1
        assert evaluation.evaluate(model, x, y)[0] == pytest.approx(references.losses(model, x, y).mean(), rel=1e-6)


@pytest.mark.parametrize("kind", ["relu", "convolutional", "normalised", "dropout"])
def test_seeds_share_a_program(kind):
    """Fifty nets of one shape are compiled once, and each is measured with its own weights and statistics."""
    members = [Case(kind, seed=seed) for seed in range(3)]
    assert len({evaluation.architecture(case.model) for case in members}) == 1
    run = evaluation.compiled(evaluation._totals, members[0].model)
    for case in members:
        assert evaluation.compiled(evaluation._totals, case.model) is run
        assert case.measure(evaluation.evaluate)[0] == pytest.approx(case.mean, rel=1e-13)


def test_a_net_that_changes_leaves_its_sisters_alone():
    """The first net of a shape gives the shape its program; what is done to it later must not reach the others."""
    evaluation._programs.clear()
    x, y = nets.examples()
    first, second = nets.mlp(seed=1), nets.mlp(seed=2)
    evaluation.evaluate(first, x, y)
    first.get_layer("hidden_1").trainable = False
    first.get_layer("hidden_2_activation").activation = keras.activations.tanh
    for n in (11, 7):  # another number of examples is traced anew
        for model in (first, second):
            expected = references.losses(model, x[:n], y[:n]).mean()
            assert evaluation.evaluate(model, x[:n], y[:n])[0] == pytest.approx(expected, rel=1e-6)


def test_programs_are_kept_only_up_to_a_number(monkeypatch):
    """The most recently used stay."""
    monkeypatch.setattr(evaluation, "_programs", type(evaluation._programs)())
    for key in range(evaluation._MOST_PROGRAMS):
        evaluation.remember(key, lambda key=key: f"program {key}")
    assert evaluation.remember(0, lambda: "made again") == "program 0"
    evaluation.remember("new", lambda: "new")
    assert evaluation.remember(0, lambda: "made again") == "program 0"
    assert evaluation.remember(1, lambda: "made again") == "made again"
    assert len(evaluation._programs) == evaluation._MOST_PROGRAMS


def test_measuring_draws_no_random_numbers():
    """The global generator is where it was, also after a net's first measurement, which copies the net."""
    evaluation._programs.clear()
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])  # initial weights without a seed
    before = random.getstate()  # the generator from which Keras draws seeds
    evaluation.evaluate(model, np.ones((2, 2)), np.array([0, 1]))
    assert random.getstate() == before


@pytest.mark.parametrize("case", cases.KINDS, ids=str)
def test_layers_choose_the_compiler(case):
    """XLA for plain products, not for convolutions and not for what nobody knows."""
    convolutional_or_unknown = {"convolutional", "convolutional, normalised", "subclassed", "unused variable"}
    assert evaluation.jit_compile(case.model) == (case.kind not in convolutional_or_unknown)


def test_vectors_and_lists():
    """Flatten and unflatten are inverse, in the order of the trainable variables, row by row."""
    model = Case("normalised").model
    parameters, state = evaluation.variables(model)
    vector = evaluation.flatten(parameters)
    np.testing.assert_array_equal(vector, references.flat(model.trainable_variables))
    for part, parameter in zip(evaluation.unflatten(vector, parameters), parameters, strict=True):
        np.testing.assert_array_equal(part, parameter)
    assert [tuple(s.shape) for s in state] == [tuple(v.shape) for v in model.non_trainable_variables]


def test_variables_are_copies():
    """Training that comes later is not seen."""
    model = nets.mlp()
    parameters, _ = evaluation.variables(model)
    before = parameters[0].numpy()
    model.trainable_variables[0].assign_add(tf.ones(before.shape))
    np.testing.assert_array_equal(parameters[0], before)


def test_all_layers_reaches_into_models():
    """Layers of nets inside of nets, too."""
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="deep")], name="inner")
    outer = keras.Sequential([keras.Input((3,)), inner, keras.layers.Dense(3, name="top")])
    assert [layer.name for layer in evaluation.all_layers(outer)] == ["inner", "deep", "top"]
    assert isinstance(evaluation.all_layers(outer), types.GeneratorType)
