"""The smoothed loss against closed forms: a quadratic, a cosine, and their exponentials."""

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf

from hw1 import evaluation, models
from hw1.measures import smoothing
from hw1.measures.points import gradients_at, losses_at

POINTS = np.array([[0.3, -0.7], [1.2, 0.4], [0.0, 0.0]])
CURVATURE = np.array([2.0, 0.5])
ONE = np.ones((1, 1))


@pytest.fixture(autouse=True)
def _kept_programs(monkeypatch):
    """All widths and temperatures share the programs of a loss."""
    cases.keep_programs(monkeypatch, quadratic, cosine)


def net(outputs=2, at=(0.3, -0.7)):
    """A net whose outputs for input 1 are its parameters."""
    model = models.mlp((), use_bias=False, input_shape=(1,), classes=outputs, dtype="float64")
    model.set_weights([np.reshape(at, (1, outputs))])
    return model


def quadratic(y, outputs):
    """½ Σ hᵢθᵢ²."""
    return tf.reduce_sum(tf.constant(CURVATURE) * outputs**2, axis=1) / 2


def cosine(y, outputs):
    """Σ cos θᵢ."""
    return tf.reduce_sum(tf.cos(outputs), axis=1)


def smooth(loss, **options):
    """The convolution of one of these losses."""
    return smoothing.Convolution(net(), ONE, np.zeros((1, 2)), loss=loss, **options)


@pytest.mark.parametrize("width", [0.0, 0.1, 1.0])
def test_a_quadratic_rises_by_half_its_trace(width):
    """L + Λ² tr H / 2, at every point by the same amount: the numbers are common."""
    found = smooth(quadratic, draws=4000)(POINTS, width)
    exact = POINTS**2 @ CURVATURE / 2 + width**2 * CURVATURE.sum() / 2
    assert np.all(np.abs(found.value - exact) <= 4 * found.standard_error + 1e-12)
    rise = found.value - POINTS**2 @ CURVATURE / 2
    assert rise == pytest.approx(rise[0], abs=1e-12)  # as z and −z come in pairs, the rise has no linear part


@pytest.mark.parametrize("width", [0.3, 1.0, 2.0])
def test_a_cosine_shrinks(width):
    """By exp(−Λ²/2), with value, gradient and Hessian."""
    found = smooth(cosine, draws=20000)
    factor, values = np.exp(-(width**2) / 2), found(POINTS, width)
    assert np.all(np.abs(values.value - factor * np.cos(POINTS).sum(axis=1)) <= 4 * values.standard_error)
    value, gradient, effective = found.value_and_gradient(POINTS[0], width)
    assert value == pytest.approx(values.value[0])
    assert gradient == pytest.approx(-factor * np.sin(POINTS[0]), abs=0.03)
    assert effective == pytest.approx(20000)
    assert found.hessian(POINTS[0], width) == pytest.approx(-factor * np.diag(np.cos(POINTS[0])), abs=0.03)


@pytest.mark.parametrize("temperature", [0.3, 3.0])
def test_the_exponential_of_a_quadratic(temperature):
    """kT-smoothing of a quadratic is again one, with curvature h/s and a constant (kT/2) ln s; so is its gradient."""
    width, found = 0.5, smooth(quadratic, draws=20000, temperature=temperature)
    s = 1 + CURVATURE * width**2 / temperature
    exact = POINTS**2 @ (CURVATURE / s) / 2 + temperature / 2 * np.log(s).sum()
    values = found(POINTS, width)
    assert np.all(np.abs(values.value - exact) <= 4 * values.standard_error)
    assert found.value_and_gradient(POINTS[0], width)[1] == pytest.approx(CURVATURE / s * POINTS[0], abs=0.03)
    assert np.diag(found.hessian(POINTS[0], width)) == pytest.approx(CURVATURE / s, rel=0.1)


def test_the_effective_sample_size_of_a_quadratic():
    """It is n (E w)² / E w², in closed form, (1 + 2a)^½ / (1 + a) a dimension with a = hΛ²/kT, at the minimum."""
    width, temperature = 0.5, 0.3
    a = CURVATURE * width**2 / temperature
    found = smooth(quadratic, draws=20000, temperature=temperature)(np.zeros((1, 2)), width)
    assert found.effective[0] / 20000 == pytest.approx(np.prod(np.sqrt(1 + 2 * a) / (1 + a)), rel=0.03)


@pytest.mark.parametrize(("temperature", "draws"), [(None, 40), (0.5, 200)])
def test_the_standard_error_is_that_of_repetitions(temperature, draws):
    """Over 100 other draws; for the exponential to first order. A spread over 100 is known to 7 %."""
    found, values = smooth(quadratic, draws=draws, temperature=temperature), []
    for seed in range(100):
        half = np.random.default_rng(seed).standard_normal((draws // 2, 2))
        found.offsets = np.concatenate([half, -half])
        values.append(found(POINTS[:1], 0.5))
    spread = np.std([one.value[0] for one in values], ddof=1)
    assert spread == pytest.approx(np.mean([one.standard_error[0] for one in values]), rel=0.25)


def test_a_section_is_smoothed_within_itself():
    """Along one direction of a quadratic, only its curvature counts."""
    found = smooth(quadratic, draws=4000, directions=[[0.0], [1.0]])(POINTS, 1.0)
    exact = POINTS**2 @ CURVATURE / 2 + CURVATURE[1] / 2
    assert np.all(np.abs(found.value - exact) <= 4 * found.standard_error)


def test_gradients_are_those_of_the_values():
    """By differences, of a net with hidden units and cross-entropy, for both functions."""
    rng = np.random.default_rng(0)
    model = models.mlp((3,), "tanh", input_shape=(2,), classes=3, dtype="float64")
    x, y = rng.standard_normal((20, 2)), rng.integers(3, size=20)
    for temperature in (None, 0.2):
        found = smoothing.Convolution(model, x, y, temperature, draws=20)
        theta, direction = found.parameters, rng.standard_normal(len(found.parameters))
        ahead, behind = (found((theta + sign * 1e-5 * direction)[None], 0.3).value[0] for sign in (1, -1))
        value, gradient, _ = found.value_and_gradient(theta, 0.3)
        assert value == pytest.approx(found(theta[None], 0.3).value[0])
        assert gradient @ direction == pytest.approx((ahead - behind) / 2e-5, rel=1e-6)
        assert found.value_and_gradient(theta, 0)[0] == pytest.approx(found(theta[None], 0).value[0])


def test_small_and_large_nets_have_their_own_losses(monkeypatch):
    """Side by side or in turn, in calls of any size, with a ragged last one: those of the nets themselves."""
    rng = np.random.default_rng(0)
    model = models.mlp((3,), "tanh", input_shape=(2,), classes=3, dtype="float64")
    x, y = rng.standard_normal((20, 2)), rng.integers(3, size=20)
    thetas = rng.standard_normal((7, model.count_params()))
    exact = [evaluation.evaluate(models.with_parameters(model, theta), x, y)[0] for theta in thetas]
    for side_by_side in (0, 2**20):
        monkeypatch.setattr("hw1.measures.points._SIDE_BY_SIDE", side_by_side)
        for most, chunk in ((3, None), (100, 9)):
            problem = evaluation.Problem(model, x, y, chunk_size=chunk)
            assert losses_at(problem, most)(thetas) == pytest.approx(np.array(exact))
            losses, slopes = gradients_at(problem, most)(thetas)
            assert losses == pytest.approx(np.array(exact))
            ahead = losses_at(problem, most)(thetas + 1e-6 * np.eye(len(thetas[0]))[4])
            assert slopes[:, 4] == pytest.approx((ahead - losses) / 1e-6, abs=1e-5)


def test_the_model_stays_as_it_is():
    """And one point gives floats."""
    model = net()
    found = smoothing.convolve(model, ONE, np.zeros((1, 2)), 0.5, draws=10, loss=quadratic)
    assert all(isinstance(part, float) for part in found)
    assert models.flat_parameters(model) == pytest.approx([0.3, -0.7])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": -1.0}, "width must be a finite number above 0"),
        ({"temperature": 0.0}, "temperature"),
        ({"draws": 5}, "draws must be even"),
        ({"draws": 2}, "at least 4"),
        ({"draws": 2**28}, "at most 134217728 draws"),
        ({"directions": np.ones((3, 1))}, r"directions must be finite, of shape \[2, d\]"),
        ({"points": np.ones(2)}, r"points must be finite, of shape \[points, 2\]"),
        ({"points": [[1e300, 0.0]]}, "not finite"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    """By name."""
    with pytest.raises(ValueError, match=message):
        smoothing.convolve(net(), ONE, np.zeros((1, 2)), loss=keras.losses.mean_squared_error, **options)
