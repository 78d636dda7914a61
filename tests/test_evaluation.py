"""Tests of hw1.evaluation: the loss, the checks of models and examples, and which nets share compiled programs."""

import functools
import random
import types

import keras
import nets
import numpy as np
import pytest
import references
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from hw1 import evaluation

CASES = pytest.mark.parametrize("name", nets.NAMES)


def squared_error(y, outputs):
    """The squared error of the first output, per example."""
    return (outputs[:, 0] - y) ** 2


# The loss


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.floats(-300, 300), min_size=3, max_size=3), min_size=1, max_size=5), st.integers(0, 2))
def test_cross_entropy_is_minus_the_log_probability_of_the_label(logits, label):
    """Also where a softmax in plain NumPy has long overflowed: the truth shifts the logits first."""
    logits = np.array(logits)
    found = evaluation.cross_entropy(np.full(len(logits), label), tf.constant(logits)).numpy()
    shifted = logits - logits.max(axis=1, keepdims=True)
    expected = np.log(np.exp(shifted).sum(axis=1)) - shifted[:, label]
    # logits of 300 have a rounding error of 300 · 2⁻⁵³ ≈ 3e-14, a few times over
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=3e-13)


@pytest.mark.parametrize("gap", [-30.0, -3.0, 0.0, 3.0, 30.0])
def test_cross_entropy_keeps_the_slopes_of_confident_examples(gap):
    """Loss and slopes in float32 to rounding, also where p of the label rounds to 1."""
    logits = np.array([[0.0, gap, gap - 2.0, gap - 1.0]])
    y = np.array([0])
    single = tf.constant(logits, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(single)
        value = evaluation.cross_entropy(y, single)
    others = np.exp(logits[0, 1:]).sum()
    assert float(value[0]) == pytest.approx(np.log1p(others), rel=1e-6)
    share = others / (1 + others)
    slopes = [-share, *(np.exp(logits[0, 1:]) / (1 + others))]
    np.testing.assert_allclose(tape.gradient(value, single)[0], slopes, rtol=2e-6)


@CASES
def test_evaluate_is_the_mean_over_all_examples(name):
    """Loss and accuracy against the model called as it is, in inference mode, on all examples at once."""
    model, x, y = nets.case(name)
    with nets.unchanged(model):
        loss, accuracy = evaluation.evaluate(model, x, y)
    assert loss == pytest.approx(references.losses(model, x, y).mean(), rel=1e-13)
    assert accuracy == references.accuracy(model, x, y)


@CASES
def test_objective_gives_loss_and_gradient_anywhere(name):
    """At the net's own parameters and at others: against a tape on the net itself."""
    model, x, y = nets.case(name)
    theta = references.flat(model.trainable_variables)
    with nets.unchanged(model):
        objective = evaluation.objective(model, x, y)
        found = [objective(at) for at in (theta, 1.1 * theta + 0.01)]
    for at, (value, gradient) in zip((theta, 1.1 * theta + 0.01), found, strict=True):
        assert value == pytest.approx(references.loss_at(model, at, x, y), rel=1e-13)
        with references.moved(model, at):
            np.testing.assert_allclose(gradient, references.gradient(model, x, y), atol=1e-14)


@pytest.mark.parametrize("size", [1, 4, 10, 11, 100])
def test_chunks_count_every_example_once(size):
    """Whether or not the size divides the eleven examples."""
    model, x, y = nets.case("relu")
    parts = list(evaluation.chunks(evaluation.check(model, x, y), size))
    assert max(len(part) for part, _ in parts) <= size
    np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), x)
    np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), y)


def test_a_ragged_last_chunk_counts_by_its_size(monkeypatch):
    """Means over chunks of 4, 4 and 3 are not averaged as if they were equal."""
    model, x, y = nets.case("tanh")
    theta = references.flat(model.trainable_variables)
    whole = evaluation.evaluate(model, x, y), evaluation.objective(model, x, y)(theta)[1]
    monkeypatch.setattr(evaluation, "CHUNK", 4)
    monkeypatch.setattr(evaluation, "DENSE_CHUNK", 4)
    assert evaluation.check(model, x, y).chunk == 4
    assert evaluation.evaluate(model, x, y) == pytest.approx(whole[0], rel=1e-14)
    np.testing.assert_allclose(evaluation.objective(model, x, y)(theta)[1], whole[1], atol=1e-15)


@pytest.mark.parametrize(
    ("loss", "truth"),
    [
        (keras.losses.mean_squared_error, lambda t, o: np.mean((t - o) ** 2, axis=1)),
        (keras.losses.MeanSquaredError(reduction="sum"), lambda t, o: np.mean((t - o) ** 2, axis=1)),
        (keras.losses.CategoricalHinge(), lambda t, o: np.maximum(1 + ((1 - t) * o).max(1) - (t * o).sum(1), 0)),
    ],
    ids=["function", "instance that would sum", "instance"],
)
def test_other_losses(loss, truth):
    """A function, or a Loss instance whose reduction is left aside; accuracy needs labels and is NaN."""
    model, x, y = nets.case("tanh")
    targets = np.eye(nets.CLASSES)[y]
    value, accuracy = evaluation.evaluate(model, x, targets, loss)
    assert value == pytest.approx(truth(targets, np.asarray(model(x))).mean(), rel=1e-13)
    assert np.isnan(accuracy)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_labels_of_any_integer_type_count_for_the_accuracy(dtype):
    """With a loss given, too."""
    model, x, y = nets.case("tanh")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for chosen in (None, loss):
        assert evaluation.evaluate(model, x, y.astype(dtype), chosen)[1] == references.accuracy(model, x, y)


def test_integer_targets_that_are_no_labels_have_no_accuracy():
    """One-hot rows, and whole numbers as the targets of a regression."""
    model, x, y = nets.case("tanh")
    assert np.isnan(evaluation.evaluate(model, x, np.eye(3, dtype=int)[y], keras.losses.categorical_crossentropy)[1])
    assert np.isnan(evaluation.evaluate(nets.linear([1.0, 2.0]), x[:, 0, :2], y, keras.losses.mean_squared_error)[1])


def test_targets_take_the_dtype_of_the_outputs():
    """So a plain Python loss works for float64 targets of a float32 net."""
    model, x, y = nets.case("tanh", "float32")
    value, _ = evaluation.evaluate(model, x, y.astype("float64"), squared_error)
    assert value == pytest.approx(np.mean((np.asarray(model(x))[:, 0] - y) ** 2), rel=1e-6)


# The checks: what is wrong, and what the message must name


def lacking(layers):
    """A Sequential net of these layers behind the images."""
    return keras.Sequential([keras.Input(nets.SHAPE), keras.layers.Flatten(), *layers])


def with_nan():
    """A net with one NaN."""
    model = nets.mlp()
    kernel, *others = model.get_weights()
    kernel[1, 2] = np.nan
    model.set_weights([kernel, *others])
    return model


def two_inputs():
    """A net that adds two inputs."""
    inputs = [keras.Input((3,)), keras.Input((3,))]
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Add()(inputs)))


def two_outputs():
    """A net with two heads."""
    images = keras.Input(nets.SHAPE)
    flat = keras.layers.Flatten()(images)
    return keras.Model(images, [keras.layers.Dense(3)(flat), keras.layers.Dense(3)(flat)])


@pytest.mark.parametrize(
    ("build", "kind", "words"),
    [
        (lambda: np.tanh, TypeError, ["keras.Model", "ufunc"]),
        (lambda: keras.Sequential([keras.layers.Dense(3)]), ValueError, ["not built", "Input"]),
        (lambda: nets.Subclassed("float32"), ValueError, ["not built"]),
        (lambda: lacking([]), ValueError, ["no trainable variables"]),
        (lambda: lacking([keras.layers.Dense(3, activation="softmax")]), ValueError, ["probabilities", "softmax"]),
        (lambda: lacking([keras.layers.Dense(9), keras.layers.Reshape((3, 3))]), ValueError, ["logits", "[11, 3, 3]"]),
        (with_nan, ValueError, ["non-finite", "hidden_1/kernel"]),
        (two_inputs, ValueError, ["2 inputs"]),
        (two_outputs, ValueError, ["2 outputs"]),
    ],
    ids=["no model", "unbuilt", "unbuilt class", "no variables", "softmax", "rank", "NaN", "inputs", "outputs"],
)
def test_unfit_models(build, kind, words):
    """Every measure checks its model here; the error says what is wrong with it."""
    x, y = nets.examples()
    with pytest.raises(kind) as caught:
        evaluation.evaluate(build(), x.astype("float32"), y)
    assert all(word in str(caught.value) for word in words), caught.value


def spoilt(array, value):
    """A copy of the array in which one entry is `value`."""
    array = np.array(array, float)
    array[(1,) * array.ndim] = value
    return array


X, Y = nets.examples()


@pytest.mark.parametrize(
    ("x", "y", "loss", "kind", "words"),
    [
        (X[:0], Y[:0], None, ValueError, ["no examples"]),
        (X[0, 0, 0], Y, None, ValueError, ["no examples"]),
        (X[:, :2], Y, None, ValueError, ["[11, 2, 3]", "[n, 3, 3]"]),
        (X[..., None], Y, None, ValueError, ["[11, 3, 3, 1]", "[n, 3, 3]"]),
        (spoilt(X, np.nan), Y, None, ValueError, ["x must hold finite numbers"]),
        (spoilt(X, np.inf), Y, None, ValueError, ["x must hold finite numbers"]),
        (X.astype(str), Y, None, ValueError, ["x must hold finite numbers"]),
        (X, Y[:-1], None, ValueError, ["y has shape [10]", "11 examples"]),
        (X, 1, None, ValueError, ["y has shape []", "11 examples"]),
        (X, Y[:, None], None, ValueError, ["shape [11]", "[11, 1]"]),
        (X, Y.astype(float), None, TypeError, ["integer labels", "float64", "loss"]),
        (X, np.where(Y == 2, 3, Y), None, ValueError, ["label 3", "3 classes 0 ... 2"]),
        (X, np.where(Y == 2, -1, Y), None, ValueError, ["label -1", "3 classes 0 ... 2"]),
        (X, spoilt(Y, np.nan), squared_error, ValueError, ["y must hold finite numbers"]),
        (X, Y.astype(float), "mse", TypeError, ["loss must be a function", "mse"]),
        (X, Y.astype(float), lambda y, o: (y - o[:, :1]) ** 2, ValueError, ["one value per example", "[11, 11]"]),
        (X, Y.astype(float), lambda y, o: tf.reduce_mean(o), ValueError, ["one value per example", "[]"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_unfit_examples(x, y, loss, kind, words):
    """Wrong shapes, numbers, labels, targets and losses; the message gives what there is and what there should be."""
    with pytest.raises(kind) as caught:
        evaluation.evaluate(nets.case("relu").model, x, y, loss)
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize("size", [0, -1])
def test_a_chunk_holds_an_example(size):
    """No chunk size below one."""
    with pytest.raises(ValueError, match="chunk_size must be at least 1"):
        list(evaluation.chunks(evaluation.check(*nets.case("relu")), size))


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


@pytest.mark.parametrize("name", ["relu", "convolutional", "normalised", "dropout"])
def test_seeds_share_a_program(name):
    """Fifty nets of one shape are compiled once, and each is measured with its own weights and statistics."""
    build, x, y = nets.BUILDERS[name], nets.case(name).x, nets.case(name).y
    members = [nets.perturbed(build(dtype="float64", seed=seed), seed) for seed in range(3)]
    assert len({evaluation.architecture(model) for model in members}) == 1
    run = evaluation.compiled(evaluation._totals, members[0])
    for model in members:
        assert evaluation.compiled(evaluation._totals, model) is run
        assert evaluation.evaluate(model, x, y)[0] == pytest.approx(references.losses(model, x, y).mean(), rel=1e-13)


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


@CASES
def test_layers_choose_the_compiler(name):
    """XLA for plain products, not for convolutions and not for what nobody knows."""
    convolutional_or_unknown = {"convolutional", "convolutional, normalised", "subclassed", "unused variable"}
    assert evaluation.jit_compile(nets.case(name).model) == (name not in convolutional_or_unknown)


def test_a_model_whose_call_knows_no_training_mode():
    """A subclass with `call(self, x)` is evaluated as it is called."""

    class Plain(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(nets.CLASSES)

        def call(self, x):
            return self.dense(x)

    model, x, y = Plain(), np.random.default_rng(0).random((7, 4), np.float32), np.arange(7) % nets.CLASSES
    model(x)
    assert evaluation.evaluate(model, x, y)[0] == pytest.approx(references.losses(model, x, y).mean(), rel=1e-6)


def test_vectors_and_lists():
    """Flatten and unflatten are inverse, in the order of the trainable variables, row by row."""
    model = nets.case("normalised").model
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
