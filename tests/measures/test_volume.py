"""Tests of hw1.measures.volume: ellipsoids in closed form, grids in two dimensions, and what a change of scale does."""

import cases
import keras
import nets
import numpy as np
import pytest
import references
import scipy.ndimage
from cases import Case
from scipy.special import gamma

from hw1 import models
from hw1.measures import volume

EPSILON = 0.3


@pytest.fixture(autouse=True)
def _kept_programs(monkeypatch):
    """All seeds share the programs of a quadratic."""
    cases.keep_programs(monkeypatch, nets.weighed)


def ellipsoid(dimension):
    """A quadratic with a rotated Hessian off its minimum, the map from a ball to its region, and ln of the volume."""
    rng = np.random.default_rng(dimension)
    rotation, values = np.linalg.qr(rng.normal(size=(dimension,) * 2))[0], np.geomspace(1, 10, dimension)
    case = nets.quadratic(rotation * values @ rotation.T, np.zeros(dimension), np.zeros(dimension))
    ball = np.pi ** (dimension / 2) / gamma(dimension / 2 + 1)
    return case, rotation / np.sqrt(values), np.log(ball * np.prod(np.sqrt(2 * EPSILON / values)))


@pytest.mark.parametrize("dimension", cases.some([2, 6, 3, 4, 5], 3))
def test_ellipsoids(dimension):
    """V_d Π √(2ε/λᵢ), within four standard errors (one in 16,000 is further away) and those are small."""
    (*case, loss), _, expected = ellipsoid(dimension)
    found = volume.log_volume(*case, EPSILON, rays=1000, loss=loss)
    powers = found.radii**dimension
    assert found.log.standard_error == pytest.approx(np.std(powers, ddof=1) / powers.mean() / np.sqrt(1000))
    assert found.log.standard_error < 0.15
    assert abs(found.log - expected) < 4 * found.log.standard_error
    assert found.capped == 0
    assert 100 < found.effective < 1000


@pytest.mark.slow
def test_the_standard_error_is_the_spread_of_repetitions():
    """Over 60 seeds; four times the rays have half the error."""
    (*case, loss), _, expected = ellipsoid(3)
    spreads = []
    for rays in (40, 160):
        found = [volume.log_volume(*case, EPSILON, rays=rays, cap=10, loss=loss, seed=seed).log for seed in range(60)]
        spreads.append(np.std(found))
        # a spread over 60 is known to 9 %
        assert np.mean([one.standard_error for one in found]) == pytest.approx(spreads[-1], rel=0.4)
        assert np.mean(found) == pytest.approx(expected, abs=4 * spreads[-1] / np.sqrt(60) + spreads[-1] ** 2)
    assert spreads[0] / spreads[1] == pytest.approx(2, rel=0.4)


@pytest.mark.parametrize("dimension", [1, 4, 30])
def test_directions_that_make_the_region_a_ball_leave_no_error(dimension):
    """The map from the ball to the ellipsoid as directions: every ray is √(2ε) long, in thirty dimensions too."""
    (*case, loss), matrix, expected = ellipsoid(dimension)
    found = volume.log_volume(*case, EPSILON, matrix, rays=5, loss=loss)
    np.testing.assert_allclose(found.radii, np.sqrt(2 * EPSILON), rtol=2e-5)
    assert found.log == pytest.approx(expected, abs=2e-5 * dimension)
    assert found.radius == pytest.approx(np.sqrt(2 * EPSILON), rel=2e-5)
    assert found.effective == pytest.approx(5, rel=1e-3)


def test_a_section_by_a_subspace():
    """Two of four coordinates: the ellipse in their plane, whatever basis with orthonormal columns they have."""
    values = np.array([1.0, 4.0, 9.0, 16.0])
    *case, loss = nets.quadratic(np.diag(values), np.zeros(4), np.zeros(4))
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(2, 2)))[0]
    for basis in (np.eye(4)[:, 1:3], np.eye(4)[:, 1:3] @ turned):
        found = volume.log_volume(*case, EPSILON, basis, rays=2000, loss=loss)
        assert abs(found.log - np.log(np.pi * 2 * EPSILON / (2 * 3))) < 4 * found.log.standard_error < 0.1


def test_a_random_subspace_is_orthonormal_and_drawn_with_the_seed():
    """Under an isotropic loss its section is a ball of radius √(2ε); else two seeds have two sections."""
    *case, loss = nets.quadratic(np.eye(5), np.zeros(5), np.zeros(5))
    found = volume.log_volume(*case, EPSILON, 3, rays=5, loss=loss)
    assert found.log == pytest.approx(np.log(4 / 3 * np.pi * (2 * EPSILON) ** 1.5), abs=1e-4)
    sections = [volume.log_volume(*Case("tanh").data, EPSILON, 3, rays=5, seed=seed) for seed in (0, 0, 1)]
    assert sections[0].radii.tobytes() == sections[1].radii.tobytes() != sections[2].radii.tobytes()


def test_a_net_of_two_parameters_against_a_grid():
    """With outputs v tanh(wx) the region is curved and has a mirror image; the star is what a grid finds inside."""
    theta, x = np.array([1.0, 1.5]), np.array([[-1.0], [0.3], [2.0]])
    model = nets.two_weights(*theta)
    y, epsilon, side = theta[1] * np.tanh(theta[0] * x), 0.1, np.linspace(-5, 5, 501)
    w, v = np.meshgrid(side, side, indexing="ij")

    def inside(w, v):
        return np.mean([(t - v * np.tanh(w * i)) ** 2 for (i,), (t,) in zip(x, y, strict=True)], axis=0) < epsilon

    regions, count = scipy.ndimage.label(inside(w, v))
    region = regions == regions[np.searchsorted(side, theta[0]), np.searchsorted(side, theta[1])]
    steps = np.linspace(0, 1, 51)
    star = np.all([inside(*(t + s * (p - t) for t, p in zip(theta, (w, v), strict=True))) for s in steps], axis=0)
    star_area, area = (part.sum() * (side[1] - side[0]) ** 2 for part in (star, region))
    assert count == 2
    assert star_area < 0.97 * area, "a region that is all star would not test where rays stop"
    found = volume.log_volume(model, x, y, epsilon, rays=4000, cap=100, loss=keras.losses.mean_squared_error)
    longest = found.radii.max()
    assert found.capped == 0
    assert longest < 5, "the grid must hold the star"
    assert abs(found.log - np.log(star_area)) < 4 * found.log.standard_error + 0.02


@pytest.mark.parametrize("alpha", [0.01, 3.0, 100.0])
def test_rescaling_changes_the_volume_by_its_jacobian(alpha):
    """Dinh et al.: (αθ₁, θ₂/α) is the same function, with α^(n₁ − n₂) times the volume; its rays are the same."""
    model, x, y = Case("relu").data
    scale = models.rescaling(model, [alpha, 1 / alpha, 1])
    twin = models.with_parameters(model, models.flat_parameters(model) * scale)
    with nets.unchanged(model, twin):
        one, other = (volume.log_volume(net, x, y, EPSILON, a, rays=20) for net, a in ((model, None), (twin, scale)))
    sizes = [int(np.sum(np.isclose(scale, s))) for s in (alpha, 1 / alpha)]
    assert sizes == [9 * 4 + 4, 4 * 3]
    np.testing.assert_allclose(other.radii, one.radii, rtol=1e-9)
    assert other.log - one.log == pytest.approx((sizes[0] - sizes[1]) * np.log(alpha), abs=1e-6)


@pytest.mark.parametrize("case", cases.DOUBLE, ids=str)
def test_rays_end_where_the_loss_first_reaches_the_level(case):
    """On every net: the loss at each r(u) is L(θ) + ε, and below it on the ray before."""
    theta = case.theta
    matrix = np.linalg.qr(np.random.default_rng(3).normal(size=(len(theta), 3)))[0]
    found = case.measure(volume.log_volume, epsilon=EPSILON, directions=matrix, rays=3)
    units = np.random.default_rng(0).standard_normal((3, 3))
    level = case.mean + EPSILON
    for radius, unit in zip(found.radii, units / np.linalg.norm(units, axis=1, keepdims=True), strict=True):
        points = [theta + share * radius * matrix @ unit for share in (0.2, 0.5, 0.8, 0.99, 1)]
        losses = [case.truth(references.loss_at, point) for point in points]
        if radius < 1e3:
            steep = 1 if case.loss == "cross-entropy" else 3  # the same error of r is more in these losses
            assert losses[-1] == pytest.approx(level, abs=steep * 1e-3 * EPSILON)
            assert max(losses[:-1]) < level
        else:
            assert max(losses) < level
    assert found.capped == np.sum(found.radii == 1e3)


def test_float32_finds_what_float64_finds():
    """Where ε is far above rounding."""
    single, double = Case("convolutional", dtype="float32"), Case("convolutional")
    one, other = (case.measure(volume.log_volume, epsilon=0.1, rays=10) for case in (single, double))
    np.testing.assert_allclose(one.radii, other.radii, rtol=1e-3)


def test_rays_without_end_are_counted():
    """Along a variable that the loss does not depend on, all rays reach the cap: an interval of length 2 · cap."""
    model, x, y = Case("unused variable").data
    unused = next(i for i, slope in enumerate(references.gradient(model, x, y)) if slope == 0)
    direction = np.eye(len(references.flat(model.trainable_variables)))[:, [unused]]
    found = volume.log_volume(model, x, y, EPSILON, direction, rays=4, cap=50.0)
    assert found.capped == 4
    assert found.log == pytest.approx(np.log(100), abs=1e-12)


def test_a_loss_that_hides_the_rise_is_refused():
    """A loss of 1e20 in float64 is the same with 0.3 more: no ray could begin."""
    *case, loss = nets.quadratic(np.eye(2), np.zeros(2), np.array([1e10, 0.0]))
    with pytest.raises(ValueError, match=r"too large .* 0\.3 from rounding"):
        volume.log_volume(*case, EPSILON, loss=loss)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epsilon": 0}, ["epsilon", "above 0", "0"]),
        ({"epsilon": np.nan}, ["epsilon", "nan"]),
        ({"rays": 1}, ["rays", "at least 2"]),
        ({"cap": np.inf}, ["cap", "finite"]),
        ({"directions": 56}, ["directions", "from 1 to 55", "56"]),
        ({"directions": True}, ["directions", "True"]),
        ({"directions": np.ones(54)}, ["[55]", "[54]"]),
        ({"directions": np.zeros(55)}, ["full rank"]),
        ({"directions": np.ones((55, 2))}, ["full rank"]),
        ({"directions": np.full((55, 1), np.nan)}, ["finite"]),
    ],
    ids=str,
)
def test_unfit_arguments(options, words):
    """The message names the argument, the value and what would be right."""
    with cases.refused(*words):
        volume.log_volume(*Case("tanh").data, **{"epsilon": EPSILON} | options)
