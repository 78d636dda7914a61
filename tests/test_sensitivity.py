"""Tests of hw1.measures.sensitivity: loops over single examples, finite differences, closed forms."""

import keras
import nets
import numpy as np
import pytest
import references
import tensorflow as tf

from hw1.measures import sensitivity

CASES = pytest.mark.parametrize("name", nets.NAMES)


def input_gradient_norms(model, x, y, loss=references.cross_entropy):
    """‖∂ℓ_i/∂x_i‖ of one example after the other, each in a batch of its own."""
    norms = []
    for i in range(len(x)):
        image = tf.constant(x[i : i + 1])
        with tf.GradientTape() as tape:
            tape.watch(image)
            value = tf.reduce_sum(loss(tf.constant(y[i : i + 1]), model(image, training=False)))
        norms.append(np.linalg.norm(np.ravel(tape.gradient(value, image))))
    return np.array(norms)


@CASES
def test_loss_gradient_norm_is_that_of_single_examples(name):
    """The mean of the examples' norms; as a whole, the norm of the gradient of the mean loss by all inputs."""
    model, x, y = nets.case(name)
    norms = input_gradient_norms(model, x, y)
    with nets.unchanged(model):
        mean = sensitivity.loss_gradient_norm(model, x, y)
        whole = sensitivity.loss_gradient_norm(model, x, y, aggregate="whole")
    assert mean == pytest.approx(norms.mean(), rel=1e-12)
    assert whole == pytest.approx(np.sqrt(np.sum(norms**2)) / len(x), rel=1e-12)
    # by Cauchy and Schwarz: whole lies between mean/√n and mean, whatever the net
    assert mean / np.sqrt(len(x)) <= whole <= mean


@CASES
def test_float32_nets_give_what_float64_nets_give(name):
    """To 1e-5, a hundred roundings."""
    single, double = nets.case(name, "float32"), nets.case(name)
    for aggregate in sensitivity.AGGREGATES:
        expected = sensitivity.loss_gradient_norm(*double, aggregate=aggregate)
        assert sensitivity.loss_gradient_norm(*single, aggregate=aggregate) == pytest.approx(expected, rel=1e-5)
    expected = sensitivity.jacobian_norm(*double[:2])
    assert sensitivity.jacobian_norm(*single[:2]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["gelu", "convolutional, normalised", "skip"])
def test_gradients_are_finite_differences(name):
    """Central differences in each pixel of the losses and of the probabilities; the step makes them good to 1e-9."""
    model, x, y = nets.case(name)
    slopes, rows = [], []
    for pixel in np.ndindex(x.shape[1:]):
        step = np.zeros_like(x)
        step[(slice(None), *pixel)] = 1e-5
        high, low = x + step, x - step
        slopes.append((references.losses(model, high, y) - references.losses(model, low, y)) / 2e-5)
        probabilities = [references.softmax(np.asarray(model(part, training=False))) for part in (high, low)]
        rows.append((probabilities[0] - probabilities[1]) / 2e-5)
    norms = np.linalg.norm(slopes, axis=0)
    assert sensitivity.loss_gradient_norm(model, x, y) == pytest.approx(norms.mean(), rel=1e-7)
    jacobians = np.sqrt(np.sum(np.square(rows), axis=(0, 2)))
    assert sensitivity.jacobian_norm(model, x) == pytest.approx(jacobians.mean(), rel=1e-7)


@CASES
def test_jacobian_norm_is_that_of_the_softmax(name):
    """Against TensorFlow's own Jacobian of the probabilities of each example."""
    model, x, _ = nets.case(name)
    image = tf.constant(x)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(image)
        probabilities = tf.nn.softmax(model(image, training=False))
    jacobian = tape.batch_jacobian(probabilities, image, experimental_use_pfor=False).numpy().reshape(len(x), -1)
    with nets.unchanged(model):
        found = sensitivity.jacobian_norm(model, x)
    assert found == pytest.approx(np.linalg.norm(jacobian, axis=1).mean(), rel=1e-12)


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
    model, x, y = nets.case("tanh")
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
    model, x, y = nets.case("gelu")
    (norm,) = input_gradient_norms(model, x[:1], y[:1])
    for aggregate in sensitivity.AGGREGATES:
        assert sensitivity.loss_gradient_norm(model, x[:1], y[:1], aggregate) == pytest.approx(norm, rel=1e-13)


def test_chunks_make_no_difference(monkeypatch):
    """Eleven examples, four at a time."""
    model, x, y = nets.case("tanh")
    measures = (
        lambda: sensitivity.loss_gradient_norm(model, x, y),
        lambda: sensitivity.loss_gradient_norm(model, x, y, aggregate="whole"),
        lambda: sensitivity.jacobian_norm(model, x),
    )
    whole = [measure() for measure in measures]
    monkeypatch.setattr("hw1.evaluation.DENSE_CHUNK", 4)
    assert [measure() for measure in measures] == pytest.approx(whole, rel=1e-13)


def test_other_losses():
    """The gradient of another loss, such as the squared error."""
    model, x, y = nets.case("tanh")
    targets, loss = np.eye(nets.CLASSES)[y], keras.losses.mean_squared_error
    norms = input_gradient_norms(model, x, targets, loss)
    found = sensitivity.loss_gradient_norm(model, x, targets, loss=loss)
    assert found == pytest.approx(norms.mean(), rel=1e-12)


def test_a_dead_net_reacts_to_nothing():
    """Units that never fire: the norms are 0."""
    model, (x, y) = nets.mlp(), nets.examples()
    kernel, bias, *others = model.get_weights()
    model.set_weights([kernel, bias - 100, *others])
    assert sensitivity.loss_gradient_norm(model, x, y) == sensitivity.jacobian_norm(model, x) == 0


def test_unfit_arguments():
    """The message names what is wrong and what would be right."""
    model, x, y = nets.case("tanh")
    with pytest.raises(ValueError, match=r"aggregate must be one of .*mean.*whole.*, not 'sum'"):
        sensitivity.loss_gradient_norm(model, x, y, aggregate="sum")
    images = (x * 255).astype("uint8")
    with pytest.raises(TypeError, match=r"floating point .*uint8.*255"):
        sensitivity.loss_gradient_norm(model, images, y)
    with pytest.raises(TypeError, match=r"floating point .*uint8.*255"):
        sensitivity.jacobian_norm(model, images)
    with pytest.raises(ValueError, match="probabilities"):
        sensitivity.jacobian_norm(keras.Sequential([model, keras.layers.Softmax(dtype="float64")]), x)
