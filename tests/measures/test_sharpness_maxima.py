"""The largest loss in a box, a subspace or a ball, against enumeration, grids and closed forms.

A quadratic is a linear net with a loss of its own (`nets.quadratic`), so its maximum over a box is at a corner when it
is convex, and its maximum on a sphere solves an equation in one unknown.
"""

import cases
import keras
import nets
import numpy as np
import pytest
import references
import spectra
from cases import Case
from hypothesis import given, settings
from hypothesis import strategies as st

from hw1.measures import sharpness


def percent(largest, start):
    """Keskar's scale."""
    return 100 * (largest - start) / (1 + start)


def lifted(y, outputs):
    """The loss of `nets.quadratic` plus 50: relative to 1 + loss, sharpness needs a loss above -1."""
    return nets.weighed(y, outputs) + 50


@pytest.fixture(autouse=True, scope="module")
def _kept_programs():
    """All quadratics of a size share their programs."""
    with pytest.MonkeyPatch.context() as patch:
        cases.keep_programs(patch, nets.weighed, lifted)
        yield


def quadratics(*sizes):
    """Random quadratics: (H, g, centre) with eigenvalues of both signs unless made definite by the test."""

    def make(seed, size):
        rng = np.random.default_rng([seed, size])
        square = rng.normal(size=(size, size))
        return (square + square.T) / 2, rng.normal(size=size), rng.normal(size=size)

    return st.builds(make, st.integers(0, 10**6), st.sampled_from(sizes))


def two_weights():
    """A net of two weights with examples, its weights, and its squared error as a function of them."""
    theta = np.array([0.7, -0.4])
    x, y = np.array([[-1.0], [0.3], [2.0]]), np.array([[0.5], [-1.0], [0.8]])

    def value(theta):
        return np.mean((y - theta[1] * np.tanh(theta[0] * x)) ** 2)

    return nets.two_weights(*theta), x, y, theta, value


# In a box


@settings(max_examples=8, deadline=None)
@given(quadratics(2, 5))
def test_a_convex_quadratic_is_largest_at_a_corner(case):
    """Enumerated corners of the box |z_i| ≤ ε (|θ_i| + 1); with many starts the best corner is found."""
    square, g, at = case
    h = square @ square
    model, x, y, _ = nets.quadratic(h, g, at)
    bound = 0.3 * (np.abs(at) + 1)

    def value(z):
        return (at + z) @ h @ (at + z) / 2 + g @ (at + z) + 51

    largest, start = references.largest_in_box(value, bound), value(np.zeros_like(at))
    found = sharpness.keskar_sharpness(model, x, y, epsilon=0.3, starts=32, loss=lifted)
    assert found.loss == pytest.approx(start, abs=1e-12)
    assert found.largest == pytest.approx(largest, rel=1e-10)
    assert found.value == pytest.approx(percent(largest, start), rel=1e-9)
    np.testing.assert_allclose(np.abs(found.step), bound, rtol=1e-12)


def test_a_net_of_two_parameters_against_a_fine_grid():
    """Neither convex nor quadratic: 201 × 201 points, which miss the maximum by at most a grid step times the slope."""
    model, x, y, theta, value = two_weights()
    bound = 0.5 * (np.abs(theta) + 1)
    largest = references.largest_in_box(lambda z: value(theta + z), bound, points=201)
    found = sharpness.keskar_sharpness(
        model, x, y, epsilon=0.5, iterations=50, starts=6, loss=keras.losses.mean_squared_error
    )
    assert largest <= found.largest + 1e-12
    assert found.largest == pytest.approx(largest, rel=1e-3)
    assert value(theta + found.step) == pytest.approx(found.largest, rel=1e-12)


def test_at_an_exact_minimiser_it_does_not_stop_at_zero():
    """Targets that the net meets exactly: the gradient is exactly 0, from where L-BFGS-B would not move."""
    weights = np.array([1.0, -2.0, 0.5])
    x = np.eye(3)[[0, 1, 2, 0]] * 2
    model, y = nets.linear(weights), (x @ weights)[:, None]
    assert not references.gradient(model, x, y, references.mean_squared_error).any()
    found = sharpness.keskar_sharpness(model, x, y, epsilon=0.1, loss=keras.losses.mean_squared_error)
    # (1/4) Σ (2 z_i)², the first coordinate twice, at |z_i| = 0.1 (|w_i| + 1)
    expected = 0.01 * (2 * 4 + 9 + 2.25)
    assert found.loss == 0
    assert found.value == pytest.approx(100 * expected, rel=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "epsilon"), [("normalised", 0.2), ("tanh", 0.01), ("convolutional", 0.01)])
def test_a_net_against_long_projected_gradient_ascent(kind, epsilon):
    """60 small steps from each of four starts find hardly more in the box than 10 iterations of L-BFGS-B from three.

    Both are local searches; with more iterations and starts L-BFGS-B leaves nothing to find.
    """
    case = Case(kind)
    bound = epsilon * (np.abs(case.theta) + 1)
    found = case.measure(sharpness.keskar_sharpness, epsilon=epsilon)
    corners = np.random.default_rng(3).choice([-0.5, 0.5], (3, len(bound)))
    starts = [0 * bound, *(corner * bound for corner in corners)]
    longest = references.ascend_in_box(*case.data, bound, starts, steps=60)
    assert found.largest - found.loss > 0.98 * (longest - found.loss) > 0
    patient = case.measure(sharpness.keskar_sharpness, epsilon=epsilon, iterations=200, starts=6)
    assert patient.largest >= found.largest
    assert patient.largest - found.loss > 0.999 * (longest - found.loss)


# In a subspace


def test_a_manifold_of_dependent_columns():
    """A⁺θ exists where AᵀA has no inverse: of two equal columns each takes half."""
    rng = np.random.default_rng(0)
    column, at, square = rng.normal(size=(5, 1)), rng.normal(size=5), rng.normal(size=(5, 5))
    model, x, y, loss = nets.quadratic(square @ square.T, np.zeros(5), at)
    found = sharpness.keskar_sharpness(model, x, y, epsilon=0.2, manifold=np.hstack([column, column]), loss=loss)
    half = (np.linalg.pinv(column) @ at / 2).item()
    moves = [sign * 2 * 0.2 * (abs(half) + 1) * column[:, 0] for sign in (-1, 1)]
    largest = max((at + z) @ square @ square.T @ (at + z) / 2 + 1 for z in moves)
    assert found.largest == pytest.approx(largest, rel=1e-10)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_a_manifold_against_brute_force(dimensions):
    """f(θ + Az) over |z_i| ≤ ε (|(A⁺θ)_i| + 1): the box bounds z, its centre A⁺θ is the pseudo-inverse's."""
    rng = np.random.default_rng(dimensions)
    a, square, at = rng.normal(size=(6, dimensions)), rng.normal(size=(6, 6)), rng.normal(size=6)
    h, g = square @ square.T, rng.normal(size=6)
    model, x, y, loss = nets.quadratic(h, g, at)
    bound = 0.2 * (np.abs(np.linalg.pinv(a) @ at) + 1)

    def value(z):
        return (at + a @ z) @ h @ (at + a @ z) / 2 + g @ (at + a @ z) + 1

    found = sharpness.keskar_sharpness(model, x, y, epsilon=0.2, manifold=a, starts=20, loss=loss)
    largest = references.largest_in_box(value, bound)
    assert found.largest == pytest.approx(largest, rel=1e-10)
    assert found.value == pytest.approx(percent(largest, value(np.zeros(dimensions))), rel=1e-9)
    z = np.linalg.pinv(a) @ found.step
    np.testing.assert_allclose(a @ z, found.step, atol=1e-12)
    np.testing.assert_allclose(np.abs(z), bound, rtol=1e-10)


def test_a_random_manifold_is_drawn_with_the_seed():
    """A dimension instead of a matrix: standard normal entries, others for another seed; never the full space."""
    case = Case("tanh")
    found = [case.measure(sharpness.keskar_sharpness, manifold=2, seed=seed) for seed in (0, 0, 1)]
    assert found[0].value == found[1].value != found[2].value
    matrix = np.random.default_rng(0).standard_normal((55, 2))
    z = np.linalg.lstsq(matrix, found[0].step, rcond=None)[0]
    np.testing.assert_allclose(matrix @ z, found[0].step, atol=1e-12)
    centre = np.linalg.lstsq(matrix, case.theta, rcond=None)[0]
    assert np.all(np.abs(z) <= 1e-3 * (np.abs(centre) + 1) * (1 + 1e-9))


# In a ball


@settings(max_examples=15, deadline=None)
@given(quadratics(2, 5), st.floats(0.01, 3))
def test_a_convex_quadratic_in_a_ball(case, radius):
    """The maximum on the sphere, by the secular equation."""
    square, g, at = case
    h = square @ square
    model, x, y, _ = nets.quadratic(h, g, at)
    found = sharpness.ball_sharpness(model, x, y, epsilon=radius, iterations=60, starts=3, loss=lifted)
    rise = references.largest_on_sphere(h, h @ at + g, radius)
    assert found.largest - found.loss == pytest.approx(rise, rel=1e-3, abs=1e-12)
    assert found.value == pytest.approx(percent(found.largest, found.loss), rel=1e-9)


@settings(max_examples=15, deadline=None)
@given(quadratics(2, 5), st.floats(0.01, 3))
def test_an_indefinite_quadratic_in_a_ball(case, radius):
    """Also where the most negative eigenvalue outweighs the most positive, to which a power iteration would run."""
    square, g, at = case
    h = square - 2 * np.eye(len(square))
    model, x, y, _ = nets.quadratic(h, g, at)
    found = sharpness.ball_sharpness(model, x, y, epsilon=radius, iterations=60, starts=3, loss=lifted)
    rise = max(references.largest_on_sphere(h, h @ at + g, radius), 0)
    if np.linalg.eigvalsh(h)[-1] > 0:
        assert found.largest - found.loss == pytest.approx(rise, rel=1e-2, abs=1e-12)
    else:  # a cap: the maximum may be inside of the ball
        assert found.largest - found.loss >= rise * (1 - 1e-2)


@pytest.mark.parametrize("spectrum", [[3.0, 1.0], [3.0, -1.0], [1.0, -3.0], [2.0, 1.9, 0.5], [2.0, 0.1, -1.9]])
def test_at_a_stationary_point_it_follows_the_largest_eigenvalue(spectrum):
    """Minimum or saddle, where the gradient is 0: the rise is λ₁ ε² / 2, with the default settings."""
    model, x, y, loss = spectra.net(spectrum, seed=6)
    found = sharpness.ball_sharpness(model, x, y, epsilon=0.1, loss=loss)
    assert found.largest - found.loss == pytest.approx(spectrum[0] * 0.01 / 2, rel=0.01)
    assert np.linalg.norm(found.step) == pytest.approx(0.1)


def test_the_references_agree_on_spheres():
    """The secular equation against a fine circle, in two dimensions, and its hard case against the closed form."""
    h, g = np.array([[1.0, 2.0], [2.0, -1.5]]), np.array([0.3, -0.8])
    angles = np.linspace(0, 2 * np.pi, 200_001)
    z = 0.7 * np.stack([np.cos(angles), np.sin(angles)])
    grid = (np.einsum("in,ij,jn->n", z, h, z) / 2 + g @ z).max()
    assert references.largest_on_sphere(h, g, 0.7) == pytest.approx(grid, rel=1e-9)
    assert references.largest_on_sphere(np.diag([-1.0, 3.0]), np.zeros(2), 0.5) == pytest.approx(3 * 0.25 / 2)


def test_a_net_of_two_parameters_on_a_disc():
    """Neither convex nor quadratic, against a fine polar grid."""
    model, x, y, theta, value = two_weights()
    angles = np.linspace(0, 2 * np.pi, 2001)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    largest = max(value(theta + radius * z) for radius in (0.1, 0.2, 0.3) for z in circle)
    found = sharpness.ball_sharpness(model, x, y, epsilon=0.3, loss=keras.losses.mean_squared_error)
    assert found.largest == pytest.approx(largest, rel=1e-4)
    assert value(theta + found.step) == pytest.approx(found.largest, rel=1e-12)


def test_in_a_small_ball_it_is_the_hessian_sharpness():
    """At an exact minimiser the loss rises by ‖H‖₂ ε² / 2: 100 times the course's number, as ε goes to 0."""
    model, x, _ = Case("tanh").data
    y = np.asarray(model(x))  # targets that the net meets: the gradient is 0, H = 2 JᵀJ / 3
    loss = keras.losses.mean_squared_error

    def value(epsilon):
        ball = sharpness.ball_sharpness(model, x, y, epsilon=epsilon, iterations=100, loss=loss).value
        return ball / sharpness.hessian_sharpness(model, x, y, epsilon=epsilon, scope="full", loss=loss)

    # the next term is of third order in ε, so the ratio nears 100 with ε; at 1e-4 float64 resolves the rise to 1e-8
    assert abs(value(1e-1) - 100) > abs(value(1e-2) - 100) > abs(value(1e-4) - 100)
    assert value(1e-4) == pytest.approx(100, rel=1e-3)
