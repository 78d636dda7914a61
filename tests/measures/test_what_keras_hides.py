"""What a Keras model computes with but does not write into its configuration, and where Keras looks past arguments.

Each case gave a silently wrong number once. Truths are tapes and differences on the plain model.
"""

import threading

import cases
import keras
import numpy as np
import pytest
import references
import tensorflow as tf

from hw1 import evaluation, models
from hw1.measures import evidence, gauss_newton, hessian, interpolation, sensitivity, sharpness

L = keras.layers
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 3)), RNG.integers(0, 3, 24)


@pytest.fixture(autouse=True)
def double():
    """Layers are made in float64."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


def net(activation="tanh", last=None, seed=0):
    """A small net with random weights."""
    model = keras.Sequential([keras.Input((3,)), L.Dense(4, activation=activation), L.Dense(3, activation=last)])
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        variable.assign(rng.normal(size=variable.shape))
    return model


def assert_hessian(model, loss=None, truth=references.cross_entropy, y=Y, x=X, **options):
    """The dense Hessian is that of a plain tape, or a difference of gradients where that needs Keras's own losses."""
    np.testing.assert_allclose(
        hessian.dense(model, x, y, loss, **options), references.hessian(model, x, y, truth), rtol=1e-7, atol=1e-9
    )


@pytest.mark.parametrize("name", cases.some(["gelu", "sin", "square", "erf"], 1))
def test_functions_of_keras_that_are_no_activations_of_keras(name):
    """keras.ops.gelu is not the function that its name in a configuration gives; sin has no such name at all."""
    assert_hessian(net(getattr(keras.ops, name)))
    copy = models.with_dtype(net(getattr(keras.ops, name)), "float32")
    np.testing.assert_allclose(copy(X.astype("float32")), net(getattr(keras.ops, name))(X), rtol=1e-4, atol=1e-4)


def test_the_factor_of_lora_is_that_of_the_layer():
    """Keras does not write lora_alpha down; with B = 0, just enabled, no output shows it."""
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    model = net()
    model.layers[0].enable_lora(2, lora_alpha=16)
    x = X.astype("float32")
    np.testing.assert_allclose(hessian.dense(model, x, Y), references.hessian(model, x, Y), rtol=1e-3, atol=1e-5)
    moved = models.with_parameters(model, models.flat_parameters(model) + 1)
    with references.moved(model, models.flat_parameters(model) + 1):
        np.testing.assert_allclose(moved(x), model(x), rtol=1e-5)


def test_quantised_nets_are_refused():
    """Their gradients pass through the rounding, and are not derivatives of the loss."""
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    model = net()
    model.quantize("int8")
    with pytest.raises(ValueError, match="is not the derivative of what the model computes"):
        hessian.trace(model, X.astype("float32"), Y)


@pytest.mark.parametrize("where", ["layer", "variable"])
def test_the_models_own_losses_are_those_that_keras_adds(where):
    """A regulariser set after building counts for Keras on the variable, and not on the layer."""
    model = net()
    if where == "layer":
        model.layers[0].kernel_regularizer = keras.regularizers.L2(0.3)
    else:
        model.layers[0].kernel.regularizer = keras.regularizers.L2(0.3)
    kernel = model.layers[0].kernel

    def penalised(y, outputs):
        own = 0.3 * tf.reduce_sum(kernel.value**2) if where == "variable" else 0.0
        return references.cross_entropy(y, outputs) + own

    assert_hessian(model, truth=penalised, regularization=True)
    found, _ = evaluation.evaluate(model, X, Y, regularization=True)
    assert found == pytest.approx(references.losses(model, X, Y).mean() + float(sum(model.losses)))


def test_keras_epsilon_is_the_present_one():
    """Losses of Keras clip by it; a program that was compiled with another one is not used."""
    model, y = net(last="softmax"), RNG.random((24, 3))
    for epsilon in (1e-7, 0.5, 1e-7):
        keras.config.set_epsilon(epsilon)
        try:
            expected = float(np.mean(keras.losses.poisson(y, model(X))))
            assert evaluation.evaluate(model, X, y, "poisson")[0] == pytest.approx(expected)
        finally:
            keras.config.set_epsilon(1e-7)


@pytest.mark.parametrize(
    ("last", "loss", "units"),
    cases.some(
        [
            ("softmax", "sparse_categorical_crossentropy", 3),
            ("sigmoid", keras.losses.BinaryFocalCrossentropy(), 1),
            ("sigmoid", "binary_crossentropy", 1),
        ]
    ),
)
def test_gauss_newton_of_probabilities(last, loss, units):
    """Keras's losses look through probabilities to the logits, and would not depend on the outputs: G = 0."""
    model = keras.Sequential([keras.Input((3,)), L.Dense(4, activation="tanh"), L.Dense(units, activation=last)])
    y = Y if units == 3 else (Y[:, None] > 0).astype("float64")
    plain = evaluation.per_example(loss)

    def curvature(y, outputs):
        step, eye = 1e-4, np.eye(units)

        def value(shift):
            return np.asarray(plain(tf.constant(y), tf.constant(outputs + shift)))

        second = [
            [
                (value(step * (a + b)) - value(step * (a - b)) - value(step * (b - a)) + value(-step * (a + b)))
                for b in eye
            ]
            for a in eye
        ]
        return np.moveaxis(np.array(second), 2, 0) / (4 * step**2)

    truth = references.gauss_newton(model, X, y, curvature)
    assert np.abs(truth).max() > 0.01
    np.testing.assert_allclose(gauss_newton.dense(model, X, y, loss), truth, rtol=1e-4, atol=1e-6)


class Straight(keras.Model):
    """A net with a straight-through sign."""

    def __init__(self):
        """Two layers."""
        super().__init__()
        self.first, self.second = L.Dense(4), L.Dense(3)

    def call(self, x):
        """Logits."""
        return self.second(tf.custom_gradient(lambda z: (tf.sign(z), lambda u: u))(self.first(x)))


def test_a_straight_through_net_is_refused_whatever_the_weights_of_its_examples():
    """Examples without weight, where 0 = 0, prove nothing."""
    model = Straight()
    model(X)
    for options in ({}, {"sample_weight": np.r_[np.zeros(20), np.ones(4)]}):
        with pytest.raises(ValueError, match="is not the derivative of what the model computes"):
            hessian.dense(model, X, Y, **options)


def test_lines_between_nets_that_differ_on_some_examples_only():
    """A ReLU and a linear net agree where all inputs are positive: all examples are compared."""
    first, second = net("relu", seed=1), net("linear", seed=1)
    for model in (first, second):
        model.layers[0].bias.assign(np.zeros(4))
        model.layers[0].kernel.assign(np.abs(model.layers[0].kernel))
    x = np.concatenate([np.abs(RNG.normal(size=(40, 3))), RNG.normal(size=(8, 3))])
    y = RNG.integers(0, 3, 48)
    interpolation.line(first, second, [0, 1], x[:40], y[:40])
    with pytest.raises(ValueError, match="computes another function"):
        interpolation.line(first, second, [0, 1], x, y)


@pytest.mark.parametrize("groups", cases.some([2, 4], 1))
def test_grouped_convolutions(groups):
    """Keras computes them by XLA, without which TensorFlow has no such gradients in float64."""
    model = keras.Sequential(
        [keras.Input((4, 4, 4)), L.Conv2D(4, 2, groups=groups, activation="tanh"), L.Flatten(), L.Dense(3)]
    )
    x, vector = RNG.normal(size=(6, 4, 4, 4)), RNG.normal(size=models.flat_parameters(model).shape)
    found = hessian.product(model, x, Y[:6])(vector)
    np.testing.assert_allclose(found, references.difference_product(model, x, Y[:6], vector), rtol=1e-5, atol=1e-7)


def test_two_threads_measure_two_nets():
    """Layer normalisation is differentiated rightly in one thread while another begins and ends its measures.

    A function of the user's that runs beside them is the original one.
    """

    def normalised():
        model = keras.Sequential([keras.Input((3,)), L.Dense(4), L.LayerNormalization(), L.Dense(3)])
        for variable in model.variables:
            variable.assign(RNG.normal(size=variable.shape))
        return model

    nets = [normalised() for _ in range(2)]
    vectors = [RNG.normal(size=models.flat_parameters(model).shape) for model in nets]
    truths = [references.difference_product(model, X, Y, vector) for model, vector in zip(nets, vectors, strict=True)]
    found, bodies, stop = {}, [], threading.Event()

    @tf.function
    def own(x):
        bodies.append(1)
        return x + 1

    def call():
        while not stop.is_set():
            own(tf.constant(1.0))

    def measure(number):
        found[number] = hessian.product(nets[number], X, Y)(vectors[number])

    others = [threading.Thread(target=call)] + [threading.Thread(target=measure, args=(i,)) for i in range(2)]
    for thread in others:
        thread.start()
    for thread in others[1:]:
        thread.join()
    stop.set()
    others[0].join()
    for number, truth in enumerate(truths):
        np.testing.assert_allclose(found[number], truth, rtol=1e-5, atol=1e-7)
    assert len(bodies) == 1
    assert "inlined" not in str(type(own).__call__)


def test_hessians_whose_squares_vanish_are_refused():
    """Eigenvalues of 1e-168 came out 30 times too small, marked as converged."""
    model = net()
    model.layers[1].kernel.assign(np.zeros((4, 3)))
    model.layers[1].bias.assign([390.0, 0.0, 0.0])
    y = np.zeros(24, int)
    assert 0 < evaluation.evaluate(model, X, y)[0] < 1e-150
    for measure in (hessian.trace, hessian.eigenvalues, hessian.frobenius_norm, hessian.density):
        with pytest.raises(ValueError, match="squares of its entries are 0"):
            measure(model, X, y)
    by_all_products = hessian.trace(model, X, y, probes=31)
    assert by_all_products == pytest.approx(np.trace(hessian.dense(model, X, y)), abs=0)


def test_sharpness_relative_to_a_loss_below_minus_one_is_refused():
    """1 + L would be negative, or 0."""

    def shifted(y, outputs):
        return references.cross_entropy(y, outputs) - 9

    for measure in (sharpness.hessian_sharpness, sharpness.keskar_sharpness, sharpness.ball_sharpness):
        with pytest.raises(ValueError, match="needs a loss above -1"):
            measure(net(), X, Y, loss=shifted)


def test_the_evidence_counts_weights_as_examples():
    """Every example twice, or with a weight of 2: in C, in the Occam factor and in the null model."""
    twice = evidence.laplace(net(), np.repeat(X, 2, 0), np.repeat(Y, 2), 0.1, method="dense")
    weighed = evidence.laplace(net(), X, Y, 0.1, method="dense", sample_weight=np.full(24, 2.0))
    np.testing.assert_allclose(weighed, twice, rtol=1e-9)
    tokens = keras.Sequential([keras.Input((4, 3)), L.Dense(3)])
    with pytest.raises(ValueError, match="one label per example"):
        evidence.laplace(tokens, RNG.normal(size=(5, 4, 3)), RNG.integers(0, 3, (5, 4)), 0.1)


def test_inputs_that_are_not_used_have_no_part_in_the_sensitivity():
    """Their gradient is 0; outputs that have no derivative in any input are refused."""
    used, idle = keras.Input((3,)), keras.Input((2,))
    hidden = L.Dense(3)(used)
    both, alone = keras.Model([used, idle], hidden), keras.Model(used, hidden)
    x = [X, RNG.normal(size=(24, 2))]
    assert sensitivity.loss_gradient_norm(both, x, Y) == pytest.approx(sensitivity.loss_gradient_norm(alone, X, Y))
    assert sensitivity.jacobian_norm(both, x) == pytest.approx(sensitivity.jacobian_norm(alone, X))
    looked_up = keras.Sequential([keras.Input((2,)), L.Embedding(5, 2), L.Flatten(), L.Dense(3)])
    with pytest.raises(ValueError, match="no derivative with respect to x"):
        sensitivity.loss_gradient_norm(looked_up, RNG.integers(0, 5, (6, 2)).astype(float), Y[:6])
