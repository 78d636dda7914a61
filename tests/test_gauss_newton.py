"""Tests of hw1.measures.gauss_newton: against brute-force Jacobians, closed forms, and what a piecewise loss must give.

The truth is computed on the model as it is, by tapes, without compiling and without hw1.
"""

import keras
import nets
import numpy as np
import pytest
import references
import tensorflow as tf

from hw1.measures import gauss_newton, hessian


def close(found, expected, scale=None, relative=1e-12):
    """Asserts that arrays agree up to a share of the largest entry, of `expected` unless told."""
    largest = np.abs(expected if scale is None else scale).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=relative * largest)


def squared(y, outputs):
    """Squared error to one-hot targets, summed over the outputs, of int labels."""
    return tf.reduce_sum((outputs - tf.one_hot(y, nets.CLASSES, dtype=outputs.dtype)) ** 2, axis=1)


def hinge(y, outputs):
    """The multi-class hinge max(0, 1 + max_{j≠y} f_j − f_y)."""
    own = tf.one_hot(y, nets.CLASSES, dtype=outputs.dtype)
    others = tf.reduce_max(outputs - 1e9 * own, axis=1)
    return tf.nn.relu(1 + others - tf.reduce_sum(outputs * own, axis=1))


def quartic(y, outputs):
    """A loss whose second derivative has all entries and depends on the outputs."""
    return tf.reduce_sum(outputs, axis=1) ** 4 + tf.reduce_sum(outputs**2, axis=1)


def jacobian(model, x):
    """∂f/∂θ of all examples by one tape, shape [n, outputs, parameters]."""
    parameters = [v.value for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        outputs = model(x, training=False)
    found = tape.jacobian(outputs, parameters, unconnected_gradients="zero")
    return np.concatenate([np.reshape(j, (*outputs.shape, -1)) for j in found], axis=2)


def curvature(loss, y, outputs):
    """∂²ℓ/∂f² in NumPy, shape [n, outputs, outputs]."""
    if loss is None:
        p = references.softmax(outputs)
        return p[:, :, None] * np.eye(outputs.shape[1]) - p[:, :, None] * p[:, None, :]
    unit = np.eye(outputs.shape[1])[None]
    if loss is squared:
        return np.repeat(2 * unit, len(y), axis=0)
    return 12 * outputs.sum(axis=1)[:, None, None] ** 2 * np.ones_like(unit) + 2 * unit


def truth(model, x, y, loss=None):
    """G by brute force, shape [parameters, parameters]."""
    slopes = jacobian(model, x)
    return np.einsum("nap,nab,nbq->pq", slopes, curvature(loss, y, np.asarray(model(x))), slopes) / len(x)


@pytest.mark.parametrize("name", nets.NAMES)
def test_gauss_newton_and_residual_against_brute_force(name):
    """G from the Jacobian, R from the whole Hessian by nested tapes; nothing in the model changes."""
    model, x, y = nets.case(name)
    expected, whole = truth(model, x, y), nets.hessian(name)
    with nets.unchanged(model):
        close(gauss_newton.dense(model, x, y), expected)
        close(gauss_newton.dense(model, x, y, part="residual"), whole - expected, whole)
    assert np.abs(whole - expected).max() > 1e-3 * np.abs(whole).max(), "a net without residual would test less"


@pytest.mark.parametrize("loss", [squared, quartic])
@pytest.mark.parametrize("name", nets.FEWER)
def test_other_losses(name, loss):
    """Losses given as functions, one with a full second derivative that depends on the outputs."""
    model, x, y = nets.case(name)
    expected, whole = truth(model, x, y, loss), references.hessian(model, x, y, loss)
    close(gauss_newton.dense(model, x, y, loss), expected)
    close(gauss_newton.dense(model, x, y, loss, "residual"), whole - expected, whole)


@pytest.mark.parametrize("loss", [None, squared])
def test_an_output_linear_in_its_parameters_has_no_residual(loss):
    """Softmax regression: G is the closed form of H; with the squared error too, R = 0."""
    model, (x, y) = nets.softmax_regression(), nets.examples()
    kernel, bias = model.get_weights()
    found = gauss_newton.dense(model, x, y, loss)
    if loss is None:
        close(found, references.softmax_regression(kernel, bias, x, y)["hessian"])
    close(found, hessian.dense(model, x, y, loss))
    assert np.abs(gauss_newton.dense(model, x, y, loss, "residual")).max() < 1e-12 * np.abs(found).max()


@pytest.mark.parametrize("name", ["tanh", "convolutional"])
def test_the_hinge_is_all_residual(name):
    """Piecewise linear: G is exactly 0, and R is the Hessian, which the net's own curvature keeps from 0."""
    model, x, y = nets.case(name)
    assert not gauss_newton.dense(model, x, y, hinge).any()
    assert gauss_newton.spectral_norm(model, x, y, hinge) == 0
    whole = references.hessian(model, x, y, hinge)
    close(gauss_newton.dense(model, x, y, hinge, "residual"), whole)
    assert np.abs(whole).max() > 1e-3


@pytest.mark.parametrize("part", gauss_newton.PARTS)
@pytest.mark.parametrize("name", ["tanh", "normalised", "skip"])
def test_norms_are_those_of_the_matrices(name, part):
    """By Lanczos on products, against the matrices by brute force."""
    model, x, y = nets.case(name)
    matrices = {"hessian": nets.hessian(name), "gauss-newton": truth(model, x, y)}
    matrices["residual"] = matrices["hessian"] - matrices["gauss-newton"]
    expected = np.linalg.norm(matrices[part], 2)
    assert gauss_newton.spectral_norm(model, x, y, part=part) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("size", [1, 4, 100])
def test_chunks_do_not_change_the_mean(size):
    """A ragged last chunk counts right."""
    model, x, y = nets.case("gelu")
    vector = np.random.default_rng(0).normal(size=model.count_params())
    close(gauss_newton.product(model, x, y, chunk_size=size)(vector), truth(model, x, y) @ vector)


@pytest.mark.parametrize("part", gauss_newton.PARTS)
def test_float32_products_are_float64_products_rounded(part):
    """Up to a hundred roundings of the Hessian's product, from which R is the rest."""
    vector = np.random.default_rng(0).normal(size=nets.case("tanh").model.count_params())
    found, expected = (gauss_newton.product(*nets.case("tanh", t), part=part)(vector) for t in ("float32", "float64"))
    close(found, expected, nets.hessian("tanh") @ vector, 1e-5)


def test_keras_losses_can_be_given():
    """A keras loss object, over outputs and real targets: the mean over 3 outputs is a third of the sum."""
    model, x, y = nets.case("tanh")
    found = gauss_newton.dense(model, x, np.eye(nets.CLASSES)[y], keras.losses.MeanSquaredError())
    close(found, truth(model, x, y, squared) / nets.CLASSES)


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (lambda *c: gauss_newton.product(*c)(np.ones(54)), ["[55]", "[54]"]),
        (lambda *c: gauss_newton.product(*c, chunk_size=0), ["chunk_size", "0"]),
        (lambda *c: gauss_newton.dense(*c, part="G"), ["part", "gauss-newton", "residual", "'G'"]),
        (lambda *c: gauss_newton.spectral_norm(*c, part="block"), ["part", "gauss-newton", "'block'"]),
    ],
)
def test_unfit_arguments(measure, words):
    """The message names the argument, the value and what would be right."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        measure(*nets.case("tanh"))
    assert all(word in str(caught.value) for word in words), caught.value
