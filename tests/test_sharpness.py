"""Tests of hw1.measures.sharpness: norms against matrices, maxima against enumeration, grids and closed forms.

A quadratic is a linear net with a custom loss (`nets.quadratic`), so its maximum over a box is at a corner when it is
convex, and its maximum on a sphere solves an equation in one unknown.
"""

import keras
import nets
import numpy as np
import pytest
import references
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from hw1 import models
from hw1.measures import hessian, sharpness

CASES = pytest.mark.parametrize("name", nets.NAMES)

# The Hessian's norm


@CASES
def test_the_courses_formula(name):
    """‖H‖₂ ε² / (2 (1 + L)) over the diagonal blocks, by Lanczos and (for some) tf.hessians, against nested tapes."""
    model, x, y = nets.case(name)
    norm = max(np.linalg.norm(block, 2) for block in references.block_diagonal(model, nets.hessian(name)))
    expected = norm * 1e-4**2 / (2 * (1 + references.losses(model, x, y).mean()))
    with nets.unchanged(model):
        assert sharpness.hessian_sharpness(model, x, y) == pytest.approx(expected, rel=1e-4)
        if name in nets.FEWER:
            exact = sharpness.hessian_sharpness(model, x, y, method="tf.hessians")
            assert exact == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", ["tanh", "convolutional"])
def test_full_scope_keeps_what_lies_between_the_blocks(name):
    """The whole H, another radius; larger than the largest block's (Cauchy's interlacing)."""
    model, x, y = nets.case(name)
    expected = np.linalg.norm(nets.hessian(name), 2) * 0.5**2 / (2 * (1 + references.losses(model, x, y).mean()))
    found = sharpness.hessian_sharpness(model, x, y, epsilon=0.5, scope="full")
    assert found == pytest.approx(expected, rel=1e-4)
    assert found > sharpness.hessian_sharpness(model, x, y, epsilon=0.5) * 1.001


def test_the_norm_of_the_slides_is_the_frobenius_norm():
    """The slip: tf.norm(A, 2) flattens A; with axis=(-2, -1) it is the spectral norm, the one that is meant."""
    model, x, y = nets.case("no bias")
    block, other = hessian.blocks(model, x, y)
    spectral, frobenius = np.linalg.norm(block, 2), np.sqrt(np.sum(block**2))
    assert frobenius > 1.1 * spectral
    assert float(tf.norm(block, 2)) == pytest.approx(frobenius, rel=1e-12)
    assert float(tf.norm(block, 2, axis=(-2, -1))) == pytest.approx(spectral, rel=1e-12)
    norm = max(spectral, float(tf.norm(other, 2, axis=(-2, -1))))
    loss = references.losses(model, x, y).mean()
    assert sharpness.hessian_sharpness(model, x, y) == pytest.approx(norm * 1e-8 / (2 * (1 + loss)), rel=1e-5)


def test_sharpness_of_another_loss():
    """The loss enters the norm and the scale."""
    hesse, at = np.diag([3.0, -5.0, 1.0]), np.array([0.1, 0.2, 0.3])
    model, x, y, loss = nets.quadratic(hesse, np.zeros(3), at)
    level = at @ hesse @ at / 2 + 1
    for method in sharpness.METHODS:
        found = sharpness.hessian_sharpness(model, x, y, epsilon=0.1, method=method, loss=loss)
        assert found == pytest.approx(5 * 0.01 / (2 * (1 + level)), rel=1e-10)


# The largest loss in a box


def percent(largest, start):
    """Keskar's scale."""
    return 100 * (largest - start) / (1 + start)


def quadratics(*sizes):
    """Random quadratics: (H, g, centre) with eigenvalues of both signs unless made definite by the test."""

    def make(seed, size):
        rng = np.random.default_rng([seed, size])
        square = rng.normal(size=(size, size))
        return (square + square.T) / 2, rng.normal(size=size), rng.normal(size=size)

    return st.builds(make, st.integers(0, 10**6), st.sampled_from(sizes))


@settings(max_examples=20, deadline=None)
@given(quadratics(2, 5))
def test_a_convex_quadratic_is_largest_at_a_corner(case):
    """Enumerated corners of the box |z_i| ≤ ε (|θ_i| + 1); with many starts the best corner is found."""
    square, g, at = case
    h = square @ square
    model, x, y, loss = nets.quadratic(h, g, at)
    bound = 0.3 * (np.abs(at) + 1)

    def value(z):
        return (at + z) @ h @ (at + z) / 2 + g @ (at + z) + 1

    largest, start = references.largest_in_box(value, bound), value(np.zeros_like(at))
    found = sharpness.keskar_sharpness(model, x, y, epsilon=0.3, starts=32, loss=loss)
    assert found.loss == pytest.approx(start, abs=1e-12)
    assert found.largest == pytest.approx(largest, rel=1e-10)
    assert found.value == pytest.approx(percent(largest, start), rel=1e-9)
    np.testing.assert_allclose(np.abs(found.step), bound, rtol=1e-12)


def two_parameters():
    """A net of two parameters, v tanh(wx), with a curved loss, and its loss in closed form."""
    layers = [keras.layers.Dense(1, activation="tanh", use_bias=False, dtype="float64")]
    model = keras.Sequential(
        [keras.Input((1,), dtype="float64"), *layers, keras.layers.Dense(1, use_bias=False, dtype="float64")]
    )
    model.dtype_policy = "float64"
    references.assign(model, np.array([0.7, -0.4]))
    x, y = np.array([[-1.0], [0.3], [2.0]]), np.array([[0.5], [-1.0], [0.8]])

    def value(theta):
        return np.mean((y - theta[1] * np.tanh(theta[0] * x)) ** 2)

    return model, x, y, value


def test_a_net_of_two_parameters_against_a_fine_grid():
    """Neither convex nor quadratic: 201 × 201 points, which miss the maximum by at most a grid step times the slope."""
    model, x, y, value = two_parameters()
    theta = np.array([0.7, -0.4])
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
    assert not references.gradient(model, x, y, keras.losses.mean_squared_error).any()
    found = sharpness.keskar_sharpness(model, x, y, epsilon=0.1, loss=keras.losses.mean_squared_error)
    # (1/4) Σ (2 z_i)², the first coordinate twice, at |z_i| = 0.1 (|w_i| + 1)
    expected = 0.01 * (2 * 4 + 9 + 2.25)
    assert found.loss == 0
    assert found.value == pytest.approx(100 * expected, rel=1e-10)


@pytest.mark.parametrize(("name", "epsilon"), [("tanh", 0.01), ("convolutional", 0.01), ("normalised", 0.2)])
def test_a_net_against_long_projected_gradient_ascent(name, epsilon):
    """60 small steps from each of four starts find hardly more in the box than 10 iterations of L-BFGS-B from three.

    Both are local searches; with more iterations and starts L-BFGS-B leaves nothing to find.
    """
    model, x, y = nets.case(name)
    bound = epsilon * (np.abs(references.flat(model.trainable_variables)) + 1)
    found = sharpness.keskar_sharpness(model, x, y, epsilon=epsilon)
    corners = np.random.default_rng(3).choice([-0.5, 0.5], (3, len(bound)))
    starts = [0 * bound, *(corner * bound for corner in corners)]
    longest = references.ascend_in_box(model, x, y, bound, starts, steps=60)
    assert found.largest - found.loss > 0.98 * (longest - found.loss) > 0
    patient = sharpness.keskar_sharpness(model, x, y, epsilon=epsilon, iterations=200, starts=6)
    assert patient.largest >= found.largest
    assert patient.largest - found.loss > 0.999 * (longest - found.loss)


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
    model, x, y = nets.case("tanh")
    found = [sharpness.keskar_sharpness(model, x, y, manifold=2, seed=seed) for seed in (0, 0, 1)]
    assert found[0].value == found[1].value != found[2].value
    matrix = np.random.default_rng(0).standard_normal((55, 2))
    z = np.linalg.lstsq(matrix, found[0].step, rcond=None)[0]
    np.testing.assert_allclose(matrix @ z, found[0].step, atol=1e-12)
    centre = np.linalg.lstsq(matrix, references.flat(model.trainable_variables), rcond=None)[0]
    assert np.all(np.abs(z) <= 1e-3 * (np.abs(centre) + 1) * (1 + 1e-9))


@CASES
def test_box_and_ball_of_every_net(name):
    """The step is inside, the loss there is what is reported, and more than at θ; the net is unchanged."""
    model, x, y = nets.case(name)
    theta, start = references.flat(model.trainable_variables), references.losses(model, x, y).mean()
    with nets.unchanged(model):
        found = {
            "box": sharpness.keskar_sharpness(model, x, y, epsilon=0.01),
            "ball": sharpness.ball_sharpness(model, x, y, epsilon=0.01),
        }
    assert np.all(np.abs(found["box"].step) <= 0.01 * (np.abs(theta) + 1) * (1 + 1e-12))
    assert np.linalg.norm(found["ball"].step) <= 0.01 * (1 + 1e-12)
    # to first order already the corner against the gradient, or the gradient's own direction, rises this much
    gradient = references.gradient(model, x, y)
    first_order = {
        "box": np.abs(gradient) @ (0.01 * (np.abs(theta) + 1)),
        "ball": 0.01 * np.linalg.norm(gradient),
    }
    for kind, result in found.items():
        assert result.loss == pytest.approx(start, rel=1e-12)
        assert result.largest == pytest.approx(references.loss_at(model, theta + result.step, x, y), rel=1e-12)
        assert result.value == pytest.approx(percent(result.largest, start), rel=1e-12)
        assert result.largest - start > 0.8 * first_order[kind] > 0
        assert len(result.iterations) == len(result.messages) == 3
        assert all(0 <= number <= 20 for number in result.iterations)


@pytest.mark.parametrize("measure", [sharpness.keskar_sharpness, sharpness.ball_sharpness])
def test_a_seed_gives_the_same_bytes(measure):
    """Whatever the global generators do."""
    found = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        found.append(measure(*nets.case("tanh")))
    assert found[0].step.tobytes() == found[1].step.tobytes()
    assert (found[0].value, found[0].messages) == (found[1].value, found[1].messages)


@pytest.mark.parametrize("measure", [sharpness.keskar_sharpness, sharpness.ball_sharpness])
def test_at_a_maximum_the_sharpness_is_zero(measure):
    """Nothing around is larger: θ itself is the best candidate, and the value is 0, not negative."""
    model, x, y, loss = nets.quadratic(-np.diag([1.0, 2.0, 3.0]), np.zeros(3), np.zeros(3))
    found = measure(model, x, y, epsilon=0.1, loss=loss)
    assert found.value == 0
    assert found.largest == found.loss == 1
    np.testing.assert_array_equal(found.step, 0)


# The largest loss in a ball


@settings(max_examples=15, deadline=None)
@given(quadratics(2, 5), st.floats(0.01, 3))
def test_a_convex_quadratic_in_a_ball(case, radius):
    """The maximum on the sphere, by the secular equation."""
    square, g, at = case
    h = square @ square
    model, x, y, loss = nets.quadratic(h, g, at)
    found = sharpness.ball_sharpness(model, x, y, epsilon=radius, iterations=60, starts=3, loss=loss)
    rise = references.largest_on_sphere(h, h @ at + g, radius)
    assert found.largest - found.loss == pytest.approx(rise, rel=1e-3, abs=1e-12)
    assert found.value == pytest.approx(percent(found.largest, found.loss), rel=1e-9)


@settings(max_examples=15, deadline=None)
@given(quadratics(2, 5), st.floats(0.01, 3))
def test_an_indefinite_quadratic_in_a_ball(case, radius):
    """Also where the most negative eigenvalue outweighs the most positive, to which a power iteration would run."""
    square, g, at = case
    h = square - 2 * np.eye(len(square))
    model, x, y, loss = nets.quadratic(h, g, at)
    found = sharpness.ball_sharpness(model, x, y, epsilon=radius, iterations=60, starts=3, loss=loss)
    rise = max(references.largest_on_sphere(h, h @ at + g, radius), 0)
    if np.linalg.eigvalsh(h)[-1] > 0:
        assert found.largest - found.loss == pytest.approx(rise, rel=1e-3, abs=1e-12)
    else:  # a cap: the maximum may be inside of the ball
        assert found.largest - found.loss >= rise * (1 - 1e-3)


@pytest.mark.parametrize("spectrum", [[3.0, 1.0], [3.0, -1.0], [1.0, -3.0], [2.0, 1.9, 0.5], [2.0, 0.1, -1.9]])
def test_at_a_stationary_point_it_follows_the_largest_eigenvalue(spectrum):
    """Minimum or saddle, where the gradient is 0: the rise is λ₁ ε² / 2, with the default settings."""
    size = len(spectrum)
    rotation = np.linalg.qr(np.random.default_rng(size).normal(size=(size, size)))[0]
    model, x, y, loss = nets.quadratic(rotation @ np.diag(spectrum) @ rotation.T, np.zeros(size), np.zeros(size))
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
    model, x, y, value = two_parameters()
    theta = np.array([0.7, -0.4])
    angles = np.linspace(0, 2 * np.pi, 2001)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    largest = max(value(theta + radius * z) for radius in (0.1, 0.2, 0.3) for z in circle)
    found = sharpness.ball_sharpness(model, x, y, epsilon=0.3, loss=keras.losses.mean_squared_error)
    assert found.largest == pytest.approx(largest, rel=1e-4)
    assert value(theta + found.step) == pytest.approx(found.largest, rel=1e-12)


def test_in_a_small_ball_it_is_the_hessian_sharpness():
    """At an exact minimiser the loss rises by ‖H‖₂ ε² / 2: 100 times the course's number, as ε goes to 0."""
    model, x, _ = nets.case("tanh")
    y = np.asarray(model(x))  # targets that the net meets: the gradient is 0, H = 2 JᵀJ / 3

    def value(epsilon):
        ball = sharpness.ball_sharpness(
            model, x, y, epsilon=epsilon, iterations=100, loss=keras.losses.mean_squared_error
        ).value
        return ball / sharpness.hessian_sharpness(
            model, x, y, epsilon=epsilon, scope="full", loss=keras.losses.mean_squared_error
        )

    # the next term is of third order in ε, so the ratio nears 100 with ε; at 1e-4 float64 resolves the rise to 1e-8
    assert abs(value(1e-1) - 100) > abs(value(1e-2) - 100) > abs(value(1e-4) - 100)
    assert value(1e-4) == pytest.approx(100, rel=1e-3)


# Bad arguments


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (lambda *c: sharpness.hessian_sharpness(*c, method="svd"), ["method", "lanczos", "svd"]),
        (lambda *c: sharpness.hessian_sharpness(*c, scope="layer"), ["scope", "full", "layer"]),
        (lambda *c: sharpness.hessian_sharpness(*c, scope="full", method="tf.hessians"), ["diagonal blocks only"]),
        (lambda *c: sharpness.hessian_sharpness(*c, epsilon=0), ["epsilon", "positive", "0"]),
        (lambda *c: sharpness.keskar_sharpness(*c, epsilon=-1e-3), ["epsilon", "-0.001"]),
        (lambda *c: sharpness.ball_sharpness(*c, epsilon=np.nan), ["epsilon", "nan"]),
        (lambda *c: sharpness.ball_sharpness(*c, epsilon=[1e-3, 1e-4]), ["epsilon", "[0.001, 0.0001]"]),
        (lambda *c: sharpness.keskar_sharpness(*c, iterations=0), ["iterations", "0"]),
        (lambda *c: sharpness.keskar_sharpness(*c, starts=0), ["starts", "0"]),
        (lambda *c: sharpness.ball_sharpness(*c, iterations=0), ["iterations", "0"]),
        (lambda *c: sharpness.ball_sharpness(*c, starts=0), ["starts", "0"]),
        (lambda *c: sharpness.keskar_sharpness(*c, manifold=0), ["manifold", "55", "0"]),
        (lambda *c: sharpness.keskar_sharpness(*c, manifold=56), ["manifold", "55", "56"]),
        (lambda *c: sharpness.keskar_sharpness(*c, manifold=2.5), ["manifold", "2.5"]),
        (lambda *c: sharpness.keskar_sharpness(*c, manifold=np.ones((54, 2))), ["[55, p]", "[54, 2]"]),
        (lambda *c: sharpness.keskar_sharpness(*c, manifold=np.ones(55)), ["[55, p]", "[55]"]),
        (lambda *c: sharpness.keskar_sharpness(*c, manifold=np.full((55, 2), np.inf)), ["finite"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_unfit_arguments(measure, words):
    """The message names the argument, the value and what would be right."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        measure(*nets.case("tanh"))
    assert all(word in str(caught.value) for word in words), caught.value


def test_rescaling_moves_every_sharpness_but_not_the_loss():
    """Dinh et al.: the same function with α = 20 in one layer and 1/20 in another is sharper by every measure."""
    model, x, y = nets.case("relu")
    twin = models.with_parameters(
        model, references.flat(model.trainable_variables) * models.rescaling(model, [1 / 20, 20, 1])
    )
    measures = (sharpness.hessian_sharpness, sharpness.ball_sharpness)
    for measure in measures:
        before, after = (measure(m, x, y, epsilon=1e-3) for m in (model, twin))
        assert getattr(after, "value", after) > 5 * getattr(before, "value", before)
