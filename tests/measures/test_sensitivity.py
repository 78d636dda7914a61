"""Tests of hw1.measures.sensitivity: loops over single examples, finite differences, closed forms."""

import cases
import keras
import nets
import numpy as np
import pytest
import references
import tensorflow as tf
from cases import Case
from losses import LOSSES

from hw1.measures import sensitivity


def input_gradient_norms(case):
    """‖∂ℓ_i/∂x_i‖ of one example after the other."""
    gradients = case.truth(references.input_gradients)
    return np.linalg.norm(gradients.reshape(len(gradients), -1), axis=1)


@pytest.mark.parametrize("case", cases.ALL, ids=str)
def test_loss_gradient_norm_is_that_of_single_examples(case):
    """The mean of the examples' norms; as a whole, the norm of the gradient of the mean loss by all inputs."""
    norms = input_gradient_norms(case)
    mean = case.measure(sensitivity.loss_gradient_norm)
    whole = case.measure(sensitivity.loss_gradient_norm, aggregate="whole")
    assert mean == pytest.approx(norms.mean(), rel=case.bound())
    assert whole == pytest.approx(np.sqrt(np.sum(norms**2)) / len(norms), rel=case.bound())
    # by Cauchy and Schwarz: whole lies between mean/√n and mean, whatever the net
    assert mean / np.sqrt(len(norms)) <= whole <= mean


@pytest.mark.parametrize("case", cases.some(cases.PLAIN), ids=str)
def test_float32_nets_give_what_float64_nets_give(case):
    """To 1e-5, a hundred roundings."""
    single = Case(case.kind, dtype="float32")
    for aggregate in sensitivity.AGGREGATES:
        expected = case.measure(sensitivity.loss_gradient_norm, aggregate=aggregate)
        found = single.measure(sensitivity.loss_gradient_norm, aggregate=aggregate)
        assert found == pytest.approx(expected, rel=single.bound())
    expected = sensitivity.jacobian_norm(case.model, case.x)
    assert sensitivity.jacobian_norm(single.model, single.x) == pytest.approx(expected, rel=single.bound())


FINE = (cases.SOME[1], Case("tanh"), cases.SOME[0], Case("gelu"), Case("skip"), Case("skip", "quartic"))


@pytest.mark.parametrize("case", cases.some(FINE), ids=str)
def test_gradients_are_finite_differences(case):
    """Central differences in each pixel of the losses and of the probabilities; the step makes them good to 1e-9."""
    model, x, y = case.data
    slopes, rows = [], []
    for pixel in np.ndindex(x.shape[1:]):
        step = np.zeros_like(x)
        step[(slice(None), *pixel)] = 1e-5
        ends = x + step, x - step
        high, low = (references.losses(model, end, y, LOSSES[case.loss].truth) for end in ends)
        slopes.append((high - low) / 2e-5)
        high, low = (references.softmax(np.asarray(model(end, training=False))) for end in ends)
        rows.append((high - low) / 2e-5)
    norms = np.linalg.norm(slopes, axis=0)
    assert case.measure(sensitivity.loss_gradient_norm) == pytest.approx(norms.mean(), rel=1e-7)
    jacobians = np.sqrt(np.sum(np.square(rows), axis=(0, 2)))
    assert sensitivity.jacobian_norm(model, x) == pytest.approx(jacobians.mean(), rel=1e-7)


@pytest.mark.parametrize("case", cases.PLAIN, ids=str)
def test_jacobian_norm_is_that_of_the_softmax(case):
    """Against TensorFlow's own Jacobian of the probabilities of each example."""
    image = tf.constant(case.x)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(image)
        probabilities = tf.nn.softmax(case.model(image, training=False))
    jacobian = tape.batch_jacobian(probabilities, image, experimental_use_pfor=False).numpy()
    with nets.unchanged(case.model):
        found = sensitivity.jacobian_norm(case.model, case.x)
    expected = np.linalg.norm(jacobian.reshape(len(case.x), -1), axis=1).mean()
    assert found == pytest.approx(expected, rel=1e-12)


def test_softmax_regression_has_closed_forms():
    """∂ℓ/∂x = W(p − e), and ∂p/∂x = (diag(p) − ppᵀ)Wᵀ."""
    model, (x, y) = nets.softmax_regression(), nets.examples()
    truth = references.softmax_regression(*model.get_weights(), x, y)
    norms = np.linalg.norm(truth["input_gradient"], axis=1)
    assert sensitivity.loss_gradient_norm(model, x, y) == pytest.approx(norms.mean(), rel=1e-13)
    whole = np.linalg.norm(truth["input_gradient"]) / len(x)
    assert sensitivity.loss_gradient_norm(model, x, y, aggregate="whole") == pytest.approx(whole, rel=1e-13)
    jacobians = np.linalg.norm(truth["jacobian"].reshape(len(x), -1), axis=1)
    assert sensitivity.jacobian_norm(model, x) == pytest.approx(jacobians.mean(), rel=1e-13)


@pytest.mark.parametrize("copies", [2, 5])
def test_the_mean_does_not_depend_on_how_many_are_measured(copies):
    """Copies of the data leave the mean alone; the norm as a whole falls as 1/√n, the slides' literal reading."""
    model, x, y = Case("tanh").data
    many, labels = np.concatenate([x] * copies), np.concatenate([y] * copies)
    mean, whole, jacobian = (
        sensitivity.loss_gradient_norm(model, many, labels),
        sensitivity.loss_gradient_norm(model, many, labels, aggregate="whole"),
        sensitivity.jacobian_norm(model, many),
    )
    assert mean == pytest.approx(sensitivity.loss_gradient_norm(model, x, y), rel=1e-13)
    assert jacobian == pytest.approx(sensitivity.jacobian_norm(model, x), rel=1e-13)
    one = sensitivity.loss_gradient_norm(model, x, y, aggregate="whole")
    assert whole == pytest.approx(one / np.sqrt(copies), rel=1e-13)


def test_one_example():
    """There mean and whole are the same."""
    model, x, y = Case("gelu").data
    norm = input_gradient_norms(Case("gelu"))[0]
    for aggregate in sensitivity.AGGREGATES:
        assert sensitivity.loss_gradient_norm(model, x[:1], y[:1], aggregate) == pytest.approx(norm, rel=1e-13)


def test_chunks_make_no_difference(monkeypatch):
    """Eleven examples, four at a time."""
    model, x, y = Case("tanh").data
    measures = (
        lambda: sensitivity.loss_gradient_norm(model, x, y),
        lambda: sensitivity.loss_gradient_norm(model, x, y, aggregate="whole"),
        lambda: sensitivity.jacobian_norm(model, x),
    )
    whole = [measure() for measure in measures]
    monkeypatch.setattr("hw1.evaluation.problem.DENSE_CHUNK", 4)
    assert [measure() for measure in measures] == pytest.approx(whole, rel=1e-13)


def test_a_dead_net_reacts_to_nothing():
    """Units that never fire: the norms are 0."""
    model, (x, y) = nets.dead(), nets.examples()
    assert sensitivity.loss_gradient_norm(model, x, y) == sensitivity.jacobian_norm(model, x) == 0


def test_unfit_arguments():
    """The message names what is wrong and what would be right."""
    model, x, y = Case("tanh").data
    with pytest.raises(ValueError, match=r"aggregate must be one of .*mean.*whole.*, not 'sum'"):
        sensitivity.loss_gradient_norm(model, x, y, aggregate="sum")
    images = (x * 255).astype("uint8")
    with pytest.raises(TypeError, match=r"floating point .*uint8.*255"):
        sensitivity.loss_gradient_norm(model, images, y)
    with pytest.raises(TypeError, match=r"floating point .*uint8.*255"):
        sensitivity.jacobian_norm(model, images)
    with pytest.raises(ValueError, match="probabilities"):
        sensitivity.jacobian_norm(keras.Sequential([model, keras.layers.Softmax(dtype="float64")]), x)
