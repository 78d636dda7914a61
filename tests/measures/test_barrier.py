"""The barrier on lines and paths, against NumPy and against nets whose weights are set by hand."""

import dataclasses
import itertools

import cases
import keras
import nets
import numpy as np
import pytest
import references
from cases import SEEDS, Case

from hw1.measures import interpolation
from hw1.measures.curves import Path


def pair(kind):
    """Two nets of a kind with other weights and statistics, and examples."""
    first, second = Case(kind), Case(kind, seed=SEEDS[1])
    return first.model, second.model, first.x, first.y


def bent(model_a, model_b, count=2):
    """A path of straight lines between two nets with so many random pivots."""
    ends = [references.flat(model.trainable_variables) for model in (model_a, model_b)]
    rng = np.random.default_rng(3)
    return Path(np.stack([ends[0], *rng.normal(size=(count, len(ends[0]))), ends[1]]))


def on_lines(points, per_segment):
    """All points of a barrier on straight lines through `points`, one segment after the other, in NumPy."""
    found = [points[0]]
    for start, end in itertools.pairwise(points):
        found += [start + (end - start) * i / per_segment for i in range(1, per_segment + 1)]
    return np.array(found)


def forward(theta, x):
    """Logits of the 9-4-3 ReLU net in NumPy."""
    parts = np.split(theta, np.cumsum([36, 4, 12]))
    hidden = np.maximum(x.reshape(len(x), -1) @ parts[0].reshape(9, 4) + parts[1], 0)
    return hidden @ parts[2].reshape(4, 3) + parts[3]


def test_barrier_against_numpy():
    """Loss, accuracy, arc length and both barriers of a path with two pivots, by a net written in NumPy."""
    model_a, model_b = (nets.perturbed(nets.mlp((4,), dtype="float64"), seed) for seed in SEEDS[:2])
    x, y = nets.examples()
    path = bent(model_a, model_b)
    with nets.unchanged(model_a, model_b):
        found = interpolation.barrier(model_a, model_b, x, y, path=path, per_segment=12)
    points = on_lines(path.points, 12)
    logits = np.array([forward(theta, x) for theta in points])
    losses = np.array([-np.log(references.softmax(each)[np.arange(len(y)), y]).mean() for each in logits])
    accuracy = (logits.argmax(axis=2) == y).mean(axis=1)
    np.testing.assert_allclose(found.loss, losses, rtol=1e-11)
    np.testing.assert_allclose(found.accuracy, accuracy, rtol=1e-12)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    np.testing.assert_allclose(found.arc_length, np.append(0, np.cumsum(steps)), rtol=1e-12)
    assert found.loss_barrier == pytest.approx(losses.max() - max(losses[0], losses[-1]), rel=1e-10)
    errors = 1 - accuracy
    assert found.error_barrier == pytest.approx(errors.max() - max(errors[0], errors[-1]), abs=1e-12)


@pytest.mark.parametrize("kind", cases.some(["convolutional", "frozen layer", "subclassed", "dropout", "relu"]))
def test_the_straight_line_is_the_line(kind):
    """The same numbers as those of `line`, for nets without batch normalisation."""
    if kind in nets.SEEDLESS or kind == "frozen layer":
        builder = {"subclassed": nets.subclassed, "frozen layer": nets.frozen}[kind]
        model_a, model_b = (nets.perturbed(builder(dtype="float64"), seed) for seed in SEEDS[:2])
        x, y = nets.examples()
    else:
        model_a, model_b, x, y = pair(kind)
    found = interpolation.barrier(model_a, model_b, x, y, per_segment=10)
    line = interpolation.line(model_a, model_b, np.linspace(0, 1, 11), x, y)
    np.testing.assert_allclose(found.loss, line.loss, rtol=1e-11)
    np.testing.assert_array_equal(found.accuracy, line.accuracy)
    assert found.loss_barrier == pytest.approx(line.loss.max() - max(line.loss[[0, -1]]), abs=1e-12)


@pytest.mark.parametrize("size", cases.some([4, None], 1))
def test_normalised_nets_against_a_slow_loop(size):
    """The truth: a net with these weights in training mode, whose momentum of 0 leaves the statistics of its input."""
    model_a, model_b, x, y = pair("normalised")
    path, other = bent(model_a, model_b, 1), nets.examples(n=40, seed=5)[0]
    with nets.unchanged(model_a, model_b):
        found = interpolation.barrier(
            model_a, model_b, x, y, path=path, per_segment=10, statistics_x=other, chunk_size=size
        )
    middle = keras.models.clone_model(model_a)
    middle.dtype_policy = "float64"
    for layer in middle.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    losses = []
    for theta in on_lines(path.points, 10):
        references.assign(middle, theta)
        middle(other, training=True)
        losses.append(references.losses(middle, x, y).mean())
    np.testing.assert_allclose(found.loss, losses, rtol=1e-11)
    assert found.loss_barrier == pytest.approx(max(losses) - max(losses[0], losses[-1]), rel=1e-9)


@pytest.mark.parametrize("kind", ["relu", "normalised"])
def test_no_barrier_between_a_net_and_itself(kind):
    """Also where the stored statistics are not those of the examples."""
    case = Case(kind)
    found = interpolation.barrier(case.model, case.model, case.x, case.y)
    assert found.loss_barrier == pytest.approx(0, abs=1e-14)
    assert found.error_barrier == 0
    np.testing.assert_array_equal(found.arc_length, 0)


def test_a_convex_loss_has_no_barrier():
    """Softmax regression: on no line does the loss rise above its worse end."""
    x, y = nets.examples()
    found = interpolation.barrier(*(nets.softmax_regression(seed=seed) for seed in (0, 1)), x, y)
    assert found.loss_barrier == 0
    assert found.loss.max() == max(found.loss[[0, -1]])


def test_a_barrier_in_closed_form():
    """Between v tanh(wx) and the same net with both signs turned: the output must vanish on the way."""
    x = np.linspace(-1, 1, 7)[:, None]
    y = 1.5 * np.tanh(0.8 * x)
    found = interpolation.barrier(nets.two_weights(0.8, 1.5), nets.two_weights(-0.8, -1.5), x, y, "mse")
    assert found.loss_barrier == pytest.approx(np.mean(y**2), rel=1e-12)
    assert np.isnan(found.error_barrier)


def test_pivots_alone_would_hide_it():
    """Two pivots where the loss is low, and a hill between them."""
    hill = np.array([1.0, 0.0])

    def loss(y, outputs):
        return 0 * y[:, 0] + 1 / (1 + 100 * (outputs[:, 0] - hill[0]) ** 2)

    model_a, model_b = nets.linear([0.0]), nets.linear([2.0])
    path = Path(np.array([[0.0], [0.5], [1.5], [2.0]]))
    found = interpolation.barrier(model_a, model_b, np.ones((3, 1)), np.ones((3, 1)), loss, path=path)
    assert found.loss_barrier == pytest.approx(1 - 1 / 101, rel=1e-9)
    assert max(found.loss[::20]) < 0.1


# Paths


def test_positions_on_straight_lines():
    """Each segment in equal parts; the arc length is that of NumPy."""
    points = np.array([[0.0, 0], [3, 4], [3, 4], [3, 16]])
    path = Path(points)
    assert path.length == 17
    np.testing.assert_allclose(path.positions(2) * 17, [0, 2.5, 5, 5, 5, 11, 17])
    np.testing.assert_allclose(path.at(11 / 17), [3, 10])
    np.testing.assert_allclose(path.at(2.5 / 17), [1.5, 2])
    assert path.at(0).tolist() == [0, 0]
    assert path.at(1).tolist() == [3, 16]
    with pytest.raises(ValueError, match="from 0 to 1"):
        path.at(1.1)


def test_positions_on_a_bezier_curve():
    """Equal steps of arc length, points on the cubic curve in de Casteljau's construction."""
    points = np.array([[0.0, 0, 1], [1, 3, 0], [4, -2, 0], [5, 0, 2]])
    path = Path(points, bezier=True)

    def casteljau(t):
        level = points
        while len(level) > 1:
            level = (1 - t) * level[:-1] + t * level[1:]
        return level[0]

    curve = np.array([casteljau(t) for t in np.linspace(0, 1, 20001)])
    arc = np.append(0, np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1)))
    assert path.length == pytest.approx(arc[-1], rel=1e-6)
    positions = path.positions(10)
    np.testing.assert_allclose(positions, np.linspace(0, 1, 31), atol=1e-15)
    for position in positions:
        np.testing.assert_allclose(path.at(position), curve[np.searchsorted(arc, position * arc[-1])], atol=2e-3)
    np.testing.assert_array_equal([path.at(0), path.at(1)], points[[0, -1]])


# What is refused


def test_what_does_not_fit():
    """Other nets, other ends, too few points, what is no path."""
    model_a, model_b, x, y = pair("relu")
    path = bent(model_a, model_b)
    with pytest.raises(ValueError, match="leads between other nets"):
        interpolation.barrier(model_b, model_a, x, y, path=path)
    with pytest.raises(ValueError, match="leads between other nets"):
        interpolation.barrier(model_a, model_b, x, y, path=Path(np.zeros((3, 2))))
    with pytest.raises(ValueError, match="per_segment must be a whole number of at least 10"):
        interpolation.barrier(model_a, model_b, x, y, per_segment=9)
    with pytest.raises(TypeError, match="path must be a Path"):
        interpolation.barrier(model_a, model_b, x, y, path=path.points)
    with cases.refused("differ in architecture"):
        interpolation.barrier(model_a, Case("tanh").model, x, y)


@pytest.mark.parametrize("kind", ["relu", "normalised"])
def test_single_precision(kind):
    """To rounding that of the float64 nets."""
    found = {}
    for dtype in ("float32", "float64"):
        first, second = (dataclasses.replace(Case(kind), dtype=dtype, seed=seed) for seed in SEEDS[:2])
        found[dtype] = interpolation.barrier(first.model, second.model, first.x, first.y)
    np.testing.assert_allclose(found["float32"].loss, found["float64"].loss, rtol=1e-4)
