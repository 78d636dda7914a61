"""Random perturbations against closed forms of quadratic losses; margins against a loop."""

import cases
import keras
import nets
import numpy as np
import pytest
import references
import spectra

from hw1 import models
from hw1.measures import margins, perturbation, sharpness

HESSIAN = np.diag([4.0, 1.0, -0.5]) + 0.3


@pytest.fixture(autouse=True)
def _kept_programs(monkeypatch):
    """All seeds share the programs of a quadratic."""
    cases.keep_programs(monkeypatch, nets.weighed)


def quadratic(at=(1.0, -2.0, 0.5), gradient=(0.2, 0.1, -0.3)):
    """A net whose loss is a quadratic with a known Hessian."""
    model, x, y, loss = nets.quadratic(HESSIAN, np.array(gradient), np.array(at))
    return (model, x, y), loss


def wide():
    """A quadratic of a hundred parameters: curvatures of both signs that few draws average well; H and the point."""
    hesse, at = spectra.matrix(np.linspace(-1, 4, 100)), np.linspace(0.5, 1.5, 100) * np.resize([1, -1], 100)
    *net, loss = nets.quadratic(hesse, np.linspace(-1, 1, 100), at)
    return net, loss, hesse, at


@pytest.mark.parametrize("adaptive", [False, True])
def test_the_mean_rise_of_a_quadratic(adaptive):
    """½ σ² tr(DHD), whatever the gradient; the draws' error is that of the values."""
    net, loss, hesse, at = wide()
    scale = np.abs(at) if adaptive else np.ones_like(at)
    truth = 0.3**2 / 2 * np.trace(hesse * np.outer(scale, scale))
    found = [
        perturbation.average_rise(*net, sigma=0.3, adaptive=adaptive, draws=8, loss=loss, seed=seed)
        for seed in range(60)
    ]
    values, errors = (np.array([getattr(each, name) for each in found]) for name in ("value", "standard_error"))
    assert values.mean() == pytest.approx(truth, abs=4 * values.std() / np.sqrt(60))
    assert values.std() < 0.2 * truth
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(values.std(), rel=0.3)


def test_the_flat_radius_of_a_quadratic():
    """√(2 rise / tr H), which sixty draws give to a few per cent."""
    net, loss, hesse, _ = wide()
    found = perturbation.flat_radius(*net, rise=0.05, draws=60, loss=loss)
    truth = np.sqrt(2 * 0.05 / np.trace(hesse))
    assert found.value == pytest.approx(truth, abs=4 * found.standard_error)
    assert 0 < found.standard_error < 0.025 * truth


def test_the_flat_radius_is_where_the_rise_is_the_stated_one():
    """Of a net, held against perturbed copies one by one; its errors are those of the rise over its slope."""
    net = nets.case("tanh")
    found = perturbation.flat_radius(net.model, net.x, net.y, rise=0.2, draws=20, adaptive=True, seed=3)
    rng, theta = np.random.default_rng(3), references.flat(net.model.trainable_variables)
    noise = rng.standard_normal((10, len(theta)), dtype=np.float32)
    own = references.losses(net.model, net.x, net.y)

    def rises(sigma):
        return np.array(
            [
                np.mean([_moved(net, theta + sign * sigma * np.abs(theta) * each) for sign in (1, -1)], axis=0) - own
                for each in noise
            ]
        )

    assert rises(found.value).mean() == pytest.approx(0.2, rel=1e-3)
    slope = (rises(1.02 * found.value).mean() - rises(0.98 * found.value).mean()) / (0.04 * found.value)
    by_draw, by_example = rises(found.value).mean(axis=1), rises(found.value).mean(axis=0)
    assert found.standard_error == pytest.approx(np.std(by_draw, ddof=1) / np.sqrt(10) / slope, rel=0.05)
    error = np.std(by_example, ddof=1) / np.sqrt(len(own)) / slope
    assert found.sampling.standard_error == pytest.approx(error, rel=0.05)


def _moved(net, theta):
    with references.moved(net.model, theta):
        return references.losses(net.model, net.x, net.y)


def test_a_loss_that_never_rises_so_far_has_no_radius():
    """Infinite, not a number; of a concave loss."""
    model, x, y, loss = nets.quadratic(-np.eye(3), np.zeros(3), np.ones(3))
    assert perturbation.flat_radius(model, x, y, loss=loss).value == np.inf


def test_adaptive_measures_are_blind_to_rescaling():
    """Mean rise and worst case of a ReLU net stay, while those that are not adaptive change."""
    net = nets.case("relu")
    factors = models.rescaling(net.model, [10.0, 0.2, 0.5])
    twin = models.with_parameters(net.model, factors * models.flat_parameters(net.model))
    for adaptive in (True, False):
        pairs = [
            (
                perturbation.average_rise(model, net.x, net.y, sigma=0.05, adaptive=adaptive, draws=4).value,
                perturbation.flat_radius(model, net.x, net.y, adaptive=adaptive, draws=4).value,
                sharpness.ball_sharpness(model, net.x, net.y, epsilon=0.05, starts=1, adaptive=adaptive).largest,
            )
            for model in (net.model, twin)
        ]
        for own, other in zip(*pairs, strict=True):
            assert (own == pytest.approx(other, rel=1e-4)) == adaptive


def test_the_adaptive_maximum_of_a_quadratic():
    """The maximum of ½ uᵀDHDu + gᵀDu on the unit ball, by the secular equation."""
    at, gradient = np.array([1.0, -2.0, 0.5]), np.array([0.2, 0.1, -0.3])
    net, loss = quadratic(at, gradient)
    scale, here = np.abs(at), HESSIAN @ at + gradient
    truth = references.largest_on_sphere(HESSIAN * np.outer(scale, scale), scale * here, 0.4)
    found = sharpness.ball_sharpness(*net, epsilon=0.4, iterations=60, loss=loss, adaptive=True)
    assert found.largest - found.loss == pytest.approx(truth, rel=1e-3)
    assert np.linalg.norm(found.step / scale) == pytest.approx(0.4)
    assert references.loss_at(net[0], net[1], net[2], at + found.step, loss) == pytest.approx(found.largest)


def test_margins_one_by_one():
    """Own logit less the largest other."""
    net = nets.case("tanh")
    logits = np.asarray(net.model(net.x))
    truth = [row[label] - max(np.delete(row, label)) for row, label in zip(logits, net.y, strict=True)]
    assert margins.margins(net.model, net.x, net.y) == pytest.approx(truth)


def test_margins_of_one_logit():
    """Its sign says the class."""
    model, x = nets.linear([1.0, -2.0]), np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.5]])
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    assert margins.margins(model, x, np.array([1, 1, 0]), loss) == pytest.approx([1.0, -2.0, -1.0])
    with pytest.raises(ValueError, match="labels go from 0 to 2"):
        margins.margins(model, x, np.array([1, 2, 0]), loss)
    with pytest.raises(ValueError, match="integer labels"):
        margins.margins(model, x, np.array([1.0, 0.0, 0.0]), loss)


def test_errors_of_quantiles_are_those_of_samples():
    """The tenth percentile of 200 normal numbers, 500 times."""
    rng = np.random.default_rng(0)
    found = np.array([margins.quantile(rng.normal(size=200), 0.1) for _ in range(500)])
    assert found[:, 1].mean() == pytest.approx(found[:, 0].std(), rel=0.15)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda *c: perturbation.average_rise(*c, sigma=0.0), "sigma"),
        (lambda *c: perturbation.average_rise(*c, draws=3), "draws"),
        (lambda *c: perturbation.flat_radius(*c, rise=-1.0), "rise"),
        (lambda *c: perturbation.flat_radius(*c, seed=-1), "seed"),
    ],
)
def test_wrong_options_are_refused(call, said):
    """By name."""
    net = nets.case("tanh")
    with pytest.raises(ValueError, match=said):
        call(net.model, net.x, net.y)
