"""Searches for paths: landscapes whose saddles are known, and nets against tapes and lines."""

import functools

import cases
import keras
import nets
import numpy as np
import pytest
import references
import scipy.optimize
import tensorflow as tf
from cases import SEEDS, Case

from hw1 import evaluation
from hw1.measures import curves, interpolation, paths

# The potential of Müller and Brown (Theoret. Chim. Acta 53, 1979), its two deepest minima and the saddle between them.
MUELLER_BROWN = {
    "A": [-200.0, -100, -170, 15],
    "a": [-1.0, -1, -6.5, 0.7],
    "b": [0.0, 0, 11, 0.6],
    "c": [-10.0, -10, -6.5, 0.7],
    "x": [1.0, 0, -0.5, -1],
    "y": [0.0, 0.5, 1.5, 1],
}
MINIMA = np.array([[-0.558223634633024, 1.441725841804669], [0.623499404930877, 0.028037758528686]])
VALUES, SADDLE = [-146.699517, -108.166724], -40.664844


def mueller_brown(points):
    """The potential at points [k, 2]."""
    A, a, b, c, x, y = (np.array(part) for part in MUELLER_BROWN.values())  # noqa: N806
    u, v = points[:, :1] - x, points[:, 1:] - y
    return tf.reduce_sum(A * tf.exp(a * u**2 + b * u * v + c * v**2), axis=1)


def valley(height, bend, stiffness):
    """Minima (±1, 0) of value 0, joined along y = bend (1 − x²) over a saddle (0, bend) of the given height."""

    def function(points):
        x, y = points[:, 0], points[:, 1]
        return height * (x**2 - 1) ** 2 + stiffness * (y - bend * (1 - x**2)) ** 2

    return function, np.array([[-1.0, 0.0], [1.0, 0.0]])


def highest(objective, path):
    """The largest value on a path, at 100 points of each segment."""
    return objective.values(path, path.positions(100)).max()


def test_the_truth_of_mueller_and_brown():
    """The published minima, and the saddle as the root of the gradient by Newton's method."""
    np.testing.assert_allclose(mueller_brown(MINIMA), VALUES, atol=1e-6)
    objective = curves.Objective.of(mueller_brown)

    def slope(point):
        return objective.slopes(tf.constant(point[None]), None, 0)[0].numpy()

    saddle = scipy.optimize.root(slope, [-0.822, 0.624], tol=1e-12).x
    assert float(mueller_brown(saddle[None])[0]) == pytest.approx(SADDLE, abs=1e-6)


@pytest.mark.parametrize(("pivots", "steps"), cases.some([(10, 200), (20, 400)], 1))
def test_string_over_the_saddle_of_mueller_and_brown(pivots, steps):
    """From above, as every path must; within half a per cent of the barrier, with twice the pivots and steps too."""
    objective = curves.Objective.of(mueller_brown)
    path = curves.string(objective, *MINIMA, pivots, steps, 4, 0.02, seed=0)
    found = highest(objective, path)
    assert SADDLE - 1e-3 < found < SADDLE + 0.005 * (SADDLE - VALUES[1])
    np.testing.assert_array_equal(path.points[[0, -1]], MINIMA)
    line = curves.Path(MINIMA)
    assert highest(objective, line) > SADDLE + 20


def test_bezier_over_the_saddle_of_mueller_and_brown():
    """The curve of lowest mean passes near the saddle, above it: it trades height for haste."""
    objective = curves.Objective.of(mueller_brown)
    path = curves.bezier(objective, *MINIMA, 2, 600, 16, 0.02, seed=0)
    found = highest(objective, path)
    assert SADDLE - 1e-3 < found < highest(objective, curves.Path(MINIMA)) - 5


@pytest.mark.parametrize(("bend", "stiffness"), cases.some([(0.8, 2.0), (-1.2, 1.0), (0.0, 1.0)]))
def test_a_saddle_in_closed_form(bend, stiffness):
    """Height 0.3: the string finds it; the Bézier curve is above it by a little of what the line is."""
    function, ends = valley(0.3, bend, stiffness)
    objective = curves.Objective.of(function)
    assert highest(objective, curves.Path(ends)) == pytest.approx(0.3 + stiffness * bend**2)
    string = curves.string(objective, *ends, 8, 100, 2, 0.04, seed=1)
    bezier = curves.bezier(objective, *ends, 2, 200, 8, 0.04, seed=1)
    assert highest(objective, string) == pytest.approx(0.3, abs=3e-3)
    assert 0.3 - 1e-4 < highest(objective, bezier) < 0.301 + 0.05 * stiffness * bend**2


def test_pivots_are_inserted_where_the_path_stands_up():
    """A narrow hill that a coarse string does not see at its pivots."""

    def ridge(points):
        return tf.exp(-((points[:, 0] / 0.05) ** 2)) + points[:, 1] ** 2

    objective = curves.Objective.of(ridge)
    ends = np.array([[-1.0, 0.0], [1.0, 0.0]])
    places, line = np.linspace(0, 1, 4), curves.Path(np.linspace(*ends, 4))
    values = objective.values(line, line.positions())
    found, points = curves._inserted(places, line, line.positions(), values)
    np.testing.assert_allclose(found, [0, 1 / 3, 0.5, 2 / 3, 1])
    np.testing.assert_allclose(points, [[-1, 0], [-1 / 3, 0], [0, 0], [1 / 3, 0], [1, 0]], atol=1e-12)


def test_a_string_that_starts_on_a_ridge_leaves_it():
    """By symmetry no gradient points aside; the first pivots stand a little beside the line."""

    def hill(points):
        return tf.exp(-8 * tf.reduce_sum(points**2, axis=1))

    ends = np.array([[-1.0, 0.0], [1.0, 0.0]])
    objective = curves.Objective.of(hill)
    assert highest(objective, curves.string(objective, *ends, 8, 150, 2, 0.1, seed=0)) < 0.2


def test_the_line_is_looked_at_as_finely_as_the_strings():
    """A hill across it that ten parts of the whole line do not see; without it the line would be the lowest path."""

    def hill(points):
        return tf.exp(-(((points[:, 0] - 0.1) / 0.03) ** 2) - (points[:, 1] / 0.3) ** 2) + points[:, 1] ** 2 / 10

    ends = np.array([[-1.0, 0.0], [1.0, 0.0]])
    objective, line = curves.Objective.of(hill), curves.Path(ends)
    assert objective.values(line, line.positions()).max() < 1e-4 < 0.9 < highest(objective, line)
    assert highest(objective, curves.string(objective, *ends, 8, 150, 2, 0.1, seed=0)) < 0.4


def test_a_search_that_diverges_says_so():
    """A slope that is not a number."""
    objective = curves.Objective.of(lambda points: tf.sqrt(tf.reduce_sum(points, axis=1) - 10))
    with pytest.raises(ValueError, match="diverged"):
        curves.bezier(objective, *MINIMA, 2, 2, 4, 0.1, seed=0)


# Nets


def two(kind):
    """Two nets of a kind in float64 with other weights, and examples."""
    build = {"subclassed": nets.subclassed, "skip": nets.skip}
    if kind in build:
        models = [nets.perturbed(build[kind](), seed) for seed in SEEDS[:2]]
        return *models, *nets.examples()
    return Case(kind).model, Case(kind, seed=SEEDS[1]).model, Case(kind).x, Case(kind).y


@pytest.mark.parametrize("kind", cases.some(["convolutional", "dropout", "subclassed", "relu", "skip"], 3))
@pytest.mark.parametrize("size", [None, 4])
def test_slopes_are_those_of_the_nets(kind, size):
    """The gradient at each of several points by a tape on the model, over chunks too."""
    model_a, model_b, x, y = two(kind)
    problem = interpolation.between_models(model_a, model_b, x, y, chunk_size=size)
    slopes = paths._Slopes(problem, problem.state, None, 0)
    points = np.random.default_rng(0).normal(size=(3, problem.size))
    found = slopes(tf.constant(points), tf.constant([0.1, 0.2, 0.3], tf.float64), 0)
    for point, slope in zip(points, found, strict=True):
        with references.moved(model_a, point):
            np.testing.assert_allclose(slope, references.gradient(model_a, x, y), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", nets.NORMALISED)
def test_slopes_through_batch_statistics(kind):
    """The gradient of the loss that `line` has between the nets, by differences of its values."""
    model_a, model_b, x, y = two(kind)
    problem = interpolation.between_models(model_a, model_b, x, y)
    slopes = paths._Slopes(problem, problem.state, None, 0)
    rng = np.random.default_rng(0)
    point, direction = rng.normal(size=(2, problem.size))
    found = slopes(tf.constant(point[None]), tf.constant([0.5], tf.float64), 0)[0].numpy() @ direction
    path = curves.Path(np.stack([point - 1e-5 * direction, point + 1e-5 * direction]))
    values = interpolation.along(problem, problem.state, path, [0, 1], problem)[:, 0]
    assert found == pytest.approx((values[1] - values[0]) / 2e-5, rel=1e-5)


def test_batches_are_epochs():
    """Without replacement, no incomplete batch, the same for the same seed."""
    model_a, model_b, x, y = two("relu")
    x = x + np.arange(len(x))[:, None, None]
    problem = interpolation.between_models(model_a, model_b, x, y)
    drawn = [[paths._Slopes(problem, problem.state, 3, seed)._batch(n) for n in (0,)] for seed in (0, 0, 1)]
    assert (drawn[0][0].x == drawn[1][0].x).all()
    assert (drawn[0][0].x != drawn[2][0].x).any()
    slopes = paths._Slopes(problem, problem.state, 3, 0)
    batches = [slopes._batch(number) for number in range(6)]
    for epoch in (batches[:3], batches[3:]):
        rows = np.concatenate([batch.x for batch in epoch])
        assert len(np.unique(rows.reshape(9, -1), axis=0)) == 9
        pairs = [pair for batch in epoch for pair in zip(batch.x, batch.y, strict=True)]
        assert all((x[y == label] == row).all(axis=(1, 2)).any() for row, label in pairs)


def trained(seed, x, y):
    """A small net at a minimum of its regularised loss, found by L-BFGS in float64."""
    model = nets.perturbed(nets.mlp((6,), activation="tanh", dtype="float64"), seed)
    objective = evaluation.objective(model, x, y)

    def regularised(theta):
        value, slope = objective(theta)
        return value + 0.005 * theta @ theta, slope + 0.01 * theta

    start = references.flat(model.trainable_variables)
    references.assign(model, scipy.optimize.minimize(regularised, start, jac=True, options={"maxiter": 150}).x)
    return model


@functools.cache
def trained_pair():
    """Two such nets and their examples."""
    x, y = nets.examples(n=40, seed=8)
    return *(trained(seed, x, y) for seed in SEEDS[:2]), x, y


@functools.cache
def height_of_string(pivots, steps):
    """The barrier between the two on what the string method finds."""
    data = trained_pair()
    with nets.unchanged(*data[:2]):
        path = paths.string(*data, pivots=pivots, steps=steps, cycles=2, learning_rate=0.02)
    return interpolation.barrier(*data, path=path).loss_barrier


def test_trained_nets():
    """The barrier on both paths is below that of the line."""
    data = trained_pair()
    with nets.unchanged(*data[:2]):
        curve = paths.bezier(*data, steps=100, learning_rate=0.04)
    line = interpolation.barrier(*data).loss_barrier
    assert line > 0.4
    assert interpolation.barrier(*data, path=curve).loss_barrier <= line / 2
    assert height_of_string(10, 120) == pytest.approx(0, abs=0.01)


@pytest.mark.slow
def test_twice_the_pivots_and_steps():
    """They leave the barrier as it is."""
    assert height_of_string(20, 240) == pytest.approx(height_of_string(10, 120), abs=0.01)


def test_a_convex_loss():
    """Softmax regression: the line has no barrier, and the searches find none."""
    x, y = nets.examples()
    models = [nets.softmax_regression(seed=seed) for seed in (0, 1)]
    for path in (
        paths.string(*models, x, y, pivots=4, steps=20, cycles=1),
        paths.bezier(*models, x, y, steps=50),
    ):
        assert interpolation.barrier(*models, x, y, path=path).loss_barrier == pytest.approx(0, abs=1e-3)


def test_a_saddle_of_a_net_in_closed_form():
    """From v tanh(wx) to the same net with both signs turned the output must vanish: L = mean y² there, on any path."""
    x = np.linspace(-1, 1, 7)[:, None]
    y = 1.5 * np.tanh(0.8 * x)
    ends = nets.two_weights(0.8, 1.5), nets.two_weights(-0.2, -4.0)
    path = paths.string(*ends, x, y, "mse", pivots=10, steps=75, cycles=2, learning_rate=0.04)
    found = interpolation.barrier(*ends, x, y, "mse", path=path, per_segment=50)
    assert found.loss.max() == pytest.approx(np.mean(y**2), rel=1e-3)
    assert interpolation.barrier(*ends, x, y, "mse", per_segment=50).loss.max() > 1.2 * np.mean(y**2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["convolutional, normalised", "dropout", "normalised", "subclassed"])
def test_any_net(kind):
    """Mini-batches, chunks, single seeds: the same path again, no higher than the line, ends that are the nets."""
    model_a, model_b, x, y = two(kind)
    options = {"pivots": 3, "steps": 6, "cycles": 2, "batch_size": 5, "seed": 1, "chunk_size": 4}
    with nets.unchanged(model_a, model_b):
        first, second = (paths.string(model_a, model_b, x, y, **options) for _ in range(2))
        curve = paths.bezier(model_a, model_b, x, y, steps=3, samples=2, batch_size=5)
    assert first.points.tobytes() == second.points.tobytes()
    ends = [references.flat(model.trainable_variables) for model in (model_a, model_b)]
    for path in (first, curve):
        np.testing.assert_array_equal(path.points[[0, -1]], ends)
    heights = [
        interpolation.barrier(model_a, model_b, x, y, path=path, per_segment=10).loss_barrier for path in (first, None)
    ]
    assert heights[0] <= heights[1]


def test_what_does_not_fit():
    """Options out of range, other architectures."""
    model_a, model_b, x, y = two("relu")
    for option, words in {
        "pivots": "pivots must be",
        "steps": "steps must be",
        "cycles": "cycles must be",
        "learning_rate": "learning_rate must be",
        "batch_size": "batch_size must be a whole number from 1 to 11",
    }.items():
        with pytest.raises(ValueError, match=words):
            paths.string(model_a, model_b, x, y, **{option: 0})
    for option in ("controls", "samples"):
        with pytest.raises(ValueError, match=f"{option} must be"):
            paths.bezier(model_a, model_b, x, y, **{option: 0})
    with pytest.raises(ValueError, match="seed must be"):
        paths.bezier(model_a, model_b, x, y, seed=-1)
    with pytest.raises(ValueError, match="differ in architecture"):
        paths.string(model_a, nets.mlp((5,), dtype="float64"), x, y)
    images = keras.Input((4,), dtype="float64")
    norm = keras.layers.BatchNormalization(dtype="float64")
    model = keras.Model(images, norm(keras.layers.Dense(4, dtype="float64")(norm(images))))
    with pytest.raises(ValueError, match="used more than once"):
        paths.string(model, model, np.ones((5, 4)), np.arange(5) % 3)
