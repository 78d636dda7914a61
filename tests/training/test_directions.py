"""Noise, SAM and Entropy-SGD against closed forms on quadratics and linear models."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from hw1 import models, training
from hw1.datasets import Dataset
from hw1.training import directions

CURVATURES = np.array([0.2, 1.0, 3.0])


def build(seed):
    """A net of three weights in float64, that start at one place for all seeds."""
    net = models.mlp((), use_bias=False, input_shape=(3,), classes=1, seed=seed, dtype="float64")
    net.set_weights([np.array([[1.0], [-2.0], [0.5]])])
    return net


def half_square(y, outputs):
    """½ (output − y)² of each example."""
    return tf.reduce_sum((outputs - y) ** 2, axis=-1) / 2


def quadratic():
    """Data whose mean loss is ½ Σ hᵢ θᵢ²."""
    x = np.diag(np.sqrt(3 * CURVATURES))
    return Dataset(x, np.zeros((3, 1)), x, np.zeros((3, 1)), "quadratic", 1)


def train(data, seeds, **options):
    """Plain SGD; returns the weights at the end, shape [members, 3]."""
    rate = options.pop("rate", 0.1)
    options = {"batch_size": len(data.x_train), "epochs": 5, "evaluate_every": 10**6, "learning_rate": rate} | options
    members = training.train(build, data, optimizer=keras.optimizers.SGD, seeds=seeds, loss=half_square, **options)
    return np.stack([models.flat_parameters(member.model) for member in members])


def test_sam_on_a_quadratic():
    """The gradient H (θ + ρ Hθ / ‖Hθ‖), by hand."""
    theta = np.array([1.0, -2.0, 0.5])
    for _ in range(5):
        slope = CURVATURES * theta
        theta = theta - 0.1 * CURVATURES * (theta + 0.3 * slope / np.linalg.norm(slope))
    found = train(quadratic(), 2, direction=directions.sam(0.3))
    np.testing.assert_allclose(found, [theta, theta], rtol=1e-12)


def test_sam_at_a_minimum_does_not_move():
    """A gradient of 0 has no direction; no division by zero."""
    data = quadratic()
    net = build(0)
    net.set_weights([np.zeros((3, 1))])
    (member,) = training.train(
        lambda seed: net, data, optimizer=keras.optimizers.SGD, seeds=1, loss=half_square, batch_size=3, epochs=2,
        direction=directions.sam(0.3),
    )  # fmt: skip
    np.testing.assert_array_equal(models.flat_parameters(member.model), 0)


def test_entropy_sgd_on_a_quadratic():
    """Each Langevin step sees one third of the data, one direction of the quadratic, in the member's order."""
    steps, inner, scope, average = 3, 0.05, 2.0, 0.6
    theta, rng = np.array([1.0, -2.0, 0.5]), np.random.default_rng([0, 1])
    for _ in range(5):
        at, mean = theta, theta
        for row in rng.permutation(3):
            slope = np.zeros(3)
            slope[row] = 3 * CURVATURES[row] * at[row]
            at = at - inner * (slope + scope * (at - theta))
            mean = average * mean + (1 - average) * at
        theta = theta - 0.1 * scope * (theta - mean)
    found = train(quadratic(), 1, direction=directions.entropy(steps, inner, scope, average, noise=0.0))
    np.testing.assert_allclose(found, [theta], rtol=1e-12)


@pytest.mark.slow
def test_langevin_noise_has_its_stationary_variance():
    """On ½ h θ²: variance T / (h (1 − εh/2)) for noise of scale √(2T/ε)."""
    rate, temperature = 0.2, 0.7
    noise = directions.gaussian_noise(np.sqrt(2 * temperature / rate))
    found = path(quadratic(), half_square, 60, 2000, every=40, rate=rate, direction=noise)[:, 5:].reshape(-1, 3)
    expected = temperature / (CURVATURES * (1 - rate * CURVATURES / 2))
    np.testing.assert_allclose(found.var(axis=0), expected, rtol=0.12)  # four standard errors are 0.10
    np.testing.assert_allclose(np.corrcoef(found.T)[np.triu_indices(3, 1)], 0, atol=0.08)


def test_a_temperature_may_fall():
    """A function of the step that is 0 from some step on; without noise all seeds agree."""
    noise = directions.gaussian_noise(lambda step: tf.where(step < 5, 1.0, 0.0))
    assert not np.allclose(*train(quadratic(), 2, epochs=5, direction=noise))
    noise = directions.gaussian_noise(lambda step: tf.where(step < 0, 1.0, 0.0))
    np.testing.assert_array_equal(*train(quadratic(), 2, epochs=5, direction=noise))


def path(data, loss, seeds, updates, every=1, **options):
    """The weights of each member every few steps, shape [members, evaluations, 3]."""
    members = training.train(
        build,
        data,
        optimizer=keras.optimizers.SGD,
        seeds=seeds,
        loss=loss,
        updates=updates,
        evaluate_updates=every,
        learning_rate=options.pop("rate", 1.0),
        record=["weights"],
        **{"batch_size": len(data.x_train)} | options,
    )
    return np.stack([member.weights for member in members])


def slope_alone(y, outputs):
    """A loss that is linear in the weights: an example's gradient is its input, wherever the weights are."""
    return outputs[:, 0]


def linear_losses():
    """20 examples of such losses, and their gradients."""
    gradients = np.random.default_rng(3).normal(size=(20, 3)) * [1, 2, 0.5] + [1, 0, 0]
    return Dataset(gradients, np.zeros((20, 1)), gradients, np.zeros((20, 1)), "linear", 1), gradients


def draws(data, **options):
    """What 20 members take for the gradient in 200 steps, shape [4000 − 20, 3]."""
    return -np.diff(path(data, slope_alone, 20, 200, **options), axis=1).reshape(-1, 3)


@pytest.mark.slow
@pytest.mark.parametrize("replacement", [True, False])
def test_the_covariance_of_mini_batch_gradients(replacement):
    """C/B with replacement; without, the factor (N − B) / (N − 1)."""
    data, gradients = linear_losses()
    covariance = np.cov(gradients.T, bias=True) / 5 * (1 if replacement else 15 / 19)
    found = draws(data, batch_size=5, replacement=replacement)
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    np.testing.assert_allclose(found.mean(axis=0), gradients.mean(axis=0), atol=5 * np.sqrt(scale.max() / 4000))
    np.testing.assert_allclose(np.cov(found.T) / scale, covariance / scale, atol=0.12)


def test_sampling_noise_has_the_covariance_of_mini_batches():
    """Gaussian draws of mean 0 and covariance C/B."""
    data, gradients = linear_losses()
    covariance = np.cov(gradients.T, bias=True) / 5
    found = draws(data, direction=directions.sampling_noise(5))
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    np.testing.assert_allclose(found.mean(axis=0), gradients.mean(axis=0), atol=5 * np.sqrt(scale.max() / 4000))
    np.testing.assert_allclose(np.cov(found.T) / scale, covariance / scale, atol=0.12)


def test_isotropic_sampling_noise_has_equal_trace_and_no_direction():
    """The covariance is a multiple of the unit matrix."""
    data, gradients = linear_losses()
    variance = np.trace(np.cov(gradients.T, bias=True)) / 5 / 3
    found = draws(data, direction=directions.sampling_noise(5, isotropic=True))
    np.testing.assert_allclose(np.cov(found.T) / variance, np.eye(3), atol=0.15)


@pytest.mark.slow
def test_the_stationary_variance_of_sgd_on_a_quadratic():
    """Of ½ (θ − yᵢ)² with batches drawn with replacement: ε σ² / (B (2 − ε)); a shuffled epoch has less."""
    y = np.random.default_rng(5).normal(size=(40, 1))
    ones = np.ones((40, 3)) / np.sqrt(3)  # the loss depends on the mean of the weights alone
    data = Dataset(ones, y, ones, y, "mean", 1)
    expected = 0.3 * y.var() / (4 * (2 - 0.3))
    spread = [
        (path(data, half_square, 40, 3000, 30, rate=0.3, batch_size=4, replacement=replacement)[:, 1:] @ ones[0]).var()
        for replacement in (True, False)
    ]
    assert spread[0] == pytest.approx(expected, rel=0.13)
    assert spread[1] < 0.8 * expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: directions.sam(0.0), "radius must be a finite number above 0"),
        (lambda: directions.gaussian_noise(-1.0), "scale must be a finite number of at least 0"),
        (lambda: directions.sampling_noise(0), "batch_size must be a finite number above 0"),
        (lambda: directions.entropy(5, 0.1, 1.0, average=1.0), "average must be at least 0 and below 1"),
        (lambda: directions.entropy(0, 0.1, 1.0), "steps must be a finite number above 0"),
        (lambda: train(quadratic(), 1, direction=directions.entropy(2, 0.1, 1.0)), "multiple of the 2 Langevin steps"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    """One line that names the argument."""
    with pytest.raises(ValueError, match=message):
        make()
