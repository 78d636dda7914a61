"""Copies of nets of every kind compute what the nets compute, on other data than they were compared on."""

import random

import cases
import keras
import nets
import numpy as np
import pytest
import references
import states
from cases import Case
from states import STATES, x4

from hw1 import copies, evaluation, models
from hw1.evaluation import layers

L = keras.layers


def outputs(model, x):
    """What a model gives, with the state left as it is."""
    state = [np.asarray(v) for v in model.non_trainable_variables]
    found = [np.asarray(output) for output in keras.tree.flatten(model(x, training=False))]
    for variable, value in zip(model.non_trainable_variables, state, strict=True):
        variable.assign(value)
    return found


@pytest.mark.parametrize("kind", STATES)
def test_state_outside_the_weights(kind):
    """A copy, one in float64 and one back compute the same, by examples that are not those of the comparison."""
    build, x = STATES[kind]
    model = nets.with_random_weights(build(), np.random.default_rng(1))
    given = x if kind == "words" else None
    expected, generator, policy = outputs(model, x), random.getstate(), keras.config.dtype_policy()
    with nets.unchanged(model):
        same = copies.copy(model, x=given)
        double = copies.with_dtype(model, "float64", x=given)
        back = copies.with_dtype(double, "float32", x=given)
    assert random.getstate() == generator
    assert keras.config.dtype_policy() is policy
    for twin, dtype in ((same, "float32"), (double, "float64"), (back, "float32")):
        if twin is same:
            assert [v.dtype for v in twin.variables] == [v.dtype for v in model.variables]
        else:
            assert {v.dtype for v in twin.trainable_variables} == {dtype}
        assert [v.trainable for v in twin.variables] == [v.trainable for v in model.variables]
        assert layers.layers(twin).keys() == layers.layers(model).keys()
        for found, output in zip(outputs(twin, x), expected, strict=True):
            assert found.dtype == (output.dtype if "int" in output.dtype.name else dtype)
            # float32: through three layers, of large inputs
            cases.close(found, output, 0 if twin is same else 1e-5)


INSIDE = ["statistics", "two precisions", "lambda", "own layers in wrappers", "nested", "a class within", "attention"]
FLOATING = [*INSIDE, *(kind for kind in STATES if kind not in (*INSIDE, "words", "bins", "frequencies"))]


@pytest.mark.parametrize("kind", cases.some(FLOATING, len(INSIDE)))
def test_copies_in_float64_round_nothing_to_float32(kind):
    """A small step in the inputs is seen in the outputs, also by way of models within models."""
    build, x = STATES[kind]
    twin = copies.with_dtype(nets.with_random_weights(build(), np.random.default_rng(1)), "float64")
    double = keras.tree.map_structure(lambda array: array * (1 + 1e-12) if array.dtype == float else array, x)
    before, after = (outputs(twin, examples)[-1] for examples in (x, double))
    assert 0 < np.abs(after - before).max() < 1e-9 * np.abs(before).max()
    assert np.mean(after == before) < 0.3


def test_a_copy_is_another_net():
    """What happens to the copy does not happen to the model, nor the other way round."""
    norm = states.adapted(L.Normalization(name="norm"), x4)
    model = states.chain(norm, states.scaled())
    twin, expected = copies.copy(model), outputs(model, x4)
    with nets.unchanged(model):
        twin.set_weights([2 * w for w in twin.get_weights()])
        twin.get_layer("norm").adapt(3 * x4)
        twin.get_layer("scaled").offsets["all"][0] += 1
        twin.get_layer("scaled").factor = 9.0
    np.testing.assert_array_equal(outputs(model, x4), expected)


def test_frozen_parts_stay_frozen():
    """A layer, a variable, a layer within a layer, a whole model, all of a model but one layer."""
    own, block = (
        states.Residual(name="own"),
        keras.Sequential([L.Dense(4, name="a"), L.Dense(4, name="b")], name="block"),
    )
    model = states.chain(L.Dense(4, trainable=False, name="first"), L.Dense(4, name="second"), own, block)
    model.layers[1].bias.trainable = own.fc.trainable = block.trainable = False
    block.layers[1].trainable = True
    twin = copies.copy(model)
    assert [v.trainable for v in twin.variables] == [False] * 2 + [True] + [False] * 5 + [True] * 4
    assert len(twin.trainable_variables) == len(model.trainable_variables) == 5
    flags = [[(path, layer.trainable) for path, layer in layers.walk(net)] for net in (twin, model)]
    assert flags[0] == flags[1]
    assert (
        dict(flags[0]).items()
        >= {"first": False, "own": True, "block": False, "block/a": False, "block/b": True}.items()
    )


def test_constants_of_operations():
    """An array in float64 makes the outputs float64; a copy in float32 has none."""
    x = keras.Input((4,))
    model = keras.Model(x, L.Dense(3)(x) * np.arange(3.0))
    for dtype in (None, "float32", "float64"):
        (found,), (expected,) = outputs(copies.copy(model, dtype), x4), outputs(model, x4)
        assert (found.dtype, expected.dtype) == (dtype or "float64", "float64")
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("policy", cases.some(["float16", "mixed_bfloat16", "bfloat16", "mixed_float16"]))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_mixed_precision_is_gone(policy, dtype):
    """Also where single layers have it; the outputs are those of a net that never had it."""

    def build(policy):
        layers = [L.Dense(4, dtype=policy, activation="tanh"), L.BatchNormalization(dtype=policy)]
        layers += [L.Dense(4, dtype="float32"), L.Dropout(0.5, dtype=policy)]
        wrapped = L.TimeDistributed(L.Dense(2, dtype=policy), dtype=policy)
        return states.chain(*layers, L.Reshape((2, 2), dtype=policy), wrapped, L.Flatten(dtype=policy))

    model, plain = build(policy), build(dtype)
    nets.with_random_weights(model, np.random.default_rng(0))
    plain.dtype_policy = dtype
    plain.set_weights([np.asarray(w, dtype) for w in model.get_weights()])
    twin = copies.with_dtype(model, dtype)
    assert {v.dtype for v in twin.weights} == {dtype}
    assert {layer.compute_dtype for _, layer in layers.walk(twin)} == {dtype}
    np.testing.assert_allclose(outputs(twin, x4), outputs(plain, x4), rtol=1e-6, atol=1e-6)


def test_noise_goes_on_as_in_the_model():
    """The state of a seed generator is copied too."""
    model = states.chain(states.Noisy())
    model(x4)
    np.testing.assert_array_equal(outputs(copies.copy(model), x4), outputs(model, x4))


# The nets of the tests

FIRST = ["convolutional, normalised", "dropout", "skip", "subclassed", "frozen layer"]
OTHERS = [kind for kind in nets.BUILDERS if kind not in (*FIRST, "unused variable")]  # whose size no configuration has
CLONEABLE = cases.some([*FIRST, *OTHERS], len(FIRST))


@pytest.mark.parametrize("kind", CLONEABLE)
def test_with_dtype_is_the_same_net_in_another_precision(kind):
    """A float32 net in float64 has the same weights and statistics and computes the same, without rounding."""
    model, x, _ = Case(kind, dtype="float32").data
    with nets.unchanged(model):
        twin = models.with_dtype(model, "float64")
    for variable, original in zip(twin.weights, model.weights, strict=True):
        assert (variable.dtype, variable.trainable) == ("float64", original.trainable)
        np.testing.assert_array_equal(variable, original)
    # float32 logits of size 1 through three layers
    np.testing.assert_allclose(twin(x), model(x), atol=2e-6)
    x = x.astype("float64")
    change = np.abs(np.asarray(twin(x * (1 + 1e-12))) - np.asarray(twin(x))).max()
    assert 1e-15 < change < 1e-10
    back = models.with_dtype(twin, "float32")
    np.testing.assert_array_equal(back(x), model(x.astype("float32")))


@pytest.mark.parametrize("kind", CLONEABLE)
def test_parameters_as_a_vector(kind):
    """A copy with other parameters computes with them, and the net that was copied stays what it was."""
    model, x, _ = Case(kind).data
    theta = models.flat_parameters(model)
    np.testing.assert_array_equal(theta, references.flat(model.trainable_variables))
    with nets.unchanged(model):
        moved = models.with_parameters(model, 2 * theta)
    np.testing.assert_array_equal(models.flat_parameters(moved), 2 * theta)
    with references.moved(model, 2 * theta):
        np.testing.assert_array_equal(moved(x), model(x))
    if kind != "subclassed":
        assert evaluation.architecture(moved) == evaluation.architecture(model)  # they share compiled programs
    with pytest.raises(ValueError, match=rf"must have shape \[{len(theta)}\], not \[{len(theta) - 1}\]"):
        models.with_parameters(model, theta[1:])


# What is refused


def private():
    """A layer with a private attribute, of which nothing is known."""
    layer = states.Scaled()
    layer._private = 4.0
    return states.chain(layer)


def unfit_config():
    """A layer that cannot be made from its configuration."""

    class Positional(L.Layer):
        def __init__(self, *sizes):
            super().__init__()

        def call(self, x):
            return x

    return states.chain(Positional(3))


def tied():
    """A layer that uses the kernel of another, which its copy would have for itself."""

    @keras.saving.register_keras_serializable("tests")
    class Tied(L.Layer):
        def __init__(self, source, **options):
            super().__init__(**options)
            self.source = source

        def get_config(self):
            return super().get_config() | {"source": keras.saving.serialize_keras_object(self.source)}

        @classmethod
        def from_config(cls, config):
            return cls(keras.saving.deserialize_keras_object(config.pop("source")), **config)

        def call(self, x):
            return keras.ops.matmul(x, keras.ops.transpose(self.source.kernel))

    source = L.Dense(4)
    return states.chain(source, Tied(source))


def random_outputs():
    """Noise without a state that could be copied."""
    return states.chain(L.Lambda(lambda z: z + np.random.default_rng().normal()))


def lora():
    """A layer with an addition of low rank."""
    model = states.chain(L.Dense(4))
    model.layers[0].enable_lora(2)
    return model


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (private, {}, ["'sequential", "cannot be copied", "differ by", "get_config"]),
        (lambda: states.written("softplus"), {}, ["written", "cannot be copied", "differ by"]),
        (lambda: nets.subclassed(unused=20), {}, ["cannot be copied", "0 variables"]),
        (unfit_config, {}, ["cannot be copied", "positional"]),
        (tied, {}, ["cannot be copied", "layers, the model"]),
        (lambda: keras.Sequential([L.Dense(3)]), {}, ["not built"]),
        (random_outputs, {}, ["cannot be copied", "random"]),
        (lora, {"dtype": "float64"}, ["cannot be copied", "lora_kernel_a"]),
        (STATES["words"][0], {}, ["string", "x"]),
        (nets.mlp, {"x": np.ones((2, 5))}, ["cannot be called on x"]),
    ],
    ids=["private", "arguments", "sizes", "configuration", "tied", "not built", "random", "LoRA", "words", "examples"],
)
def test_what_is_refused(build, options, message):
    """What cannot be made anew, or comes out as something else."""
    with cases.refused(*message):
        copies.copy(build(), **options)


def test_examples_can_be_given():
    """They decide where random ones see no difference."""
    model = private()
    model.layers[0].power = 3.0
    with cases.refused("differ by"):
        copies.copy(model, x=x4)
    np.testing.assert_array_equal(outputs(copies.copy(model, x=0 * x4), x4)[0] != outputs(model, x4)[0], True)


@pytest.mark.parametrize("dtype", ["float16", "mixed_float16", "int32", None])
def test_precisions(dtype):
    """Those in which measures compute."""
    with cases.refused("float32", "float64", repr(dtype)):
        copies.with_dtype(nets.mlp(), dtype)


@pytest.mark.parametrize("kind", ["statistics", "frequencies"])
def test_a_copy_that_loses_state_is_refused(kind, monkeypatch):
    """The comparison is what sees it: here in copies as Keras makes them."""
    monkeypatch.setattr(copies, "clone", lambda model, **options: keras.models.clone_model(model))
    with cases.refused("cannot be copied"):
        copies.copy(STATES[kind][0](), x=STATES[kind][1])
