"""Lines between nets and planes through them, against nets whose weights are set by hand."""

import dataclasses

import cases
import nets
import numpy as np
import pytest
import references
from cases import Case

from hw1 import evaluation
from hw1.evaluation.statistics import statistics
from hw1.measures import interpolation


def other(case):
    """The case with other weights and statistics."""
    return dataclasses.replace(case, seed=cases.SEEDS[1])


def line(case, alphas):
    """The line from the case's net to the other's; neither is changed."""
    with nets.unchanged(other(case).model):
        return case.measure(lambda model, x, y, loss: interpolation.line(model, other(case).model, alphas, x, y, loss))


def evaluated(case):
    """Loss and accuracy by the net itself; no accuracy for targets that are no labels."""
    return case.mean, references.accuracy(*case.data) if case.y.ndim == 1 else np.nan


# Lines


@pytest.mark.parametrize("case", cases.DOUBLE, ids=str)
def test_both_ends_are_the_trained_nets(case):
    """At α = 0 and α = 1 the nets themselves, exactly, with their own statistics."""
    found = line(case, [1, 0, 1])
    expected = [evaluated(end) for end in (other(case), case, other(case))]
    # equal up to the order of a sum of eleven losses
    np.testing.assert_allclose(found.loss, [loss for loss, _ in expected], rtol=1e-14)
    np.testing.assert_array_equal(found.accuracy, [accuracy for _, accuracy in expected])
    assert abs(found.loss[0] - found.loss[1]) > 0.01


@pytest.mark.parametrize(
    "case", [case for case in cases.PLAIN if case.kind not in (*nets.NORMALISED, "frozen layer")], ids=str
)
def test_points_are_the_nets_with_these_weights(case):
    """θ_α = (1 − α) θ_a + α θ_b set by hand; outside of [0, 1] the line goes on."""
    alphas = [-1, 0.5, 0.25, 2]
    found = line(case, alphas)
    for alpha, loss, accuracy in zip(alphas, found.loss, found.accuracy, strict=True):
        with references.moved(case.model, (1 - alpha) * case.theta + alpha * other(case).theta):
            expected = evaluated(case)
        assert loss == pytest.approx(expected[0], rel=1e-12)
        assert accuracy == expected[1]


def test_a_frozen_layer_is_interpolated_too():
    """It is among the variables that are not trained, but floating point."""
    model_a, x, y = Case("frozen layer").data
    model_b = nets.frozen(dtype="float64", seed=1)
    found = interpolation.line(model_a, model_b, [0.3], x, y)
    middle = nets.frozen(dtype="float64")
    weights = zip(model_a.get_weights(), model_b.get_weights(), strict=True)
    middle.set_weights([0.7 * a + 0.3 * b for a, b in weights])
    assert found.loss[0] == pytest.approx(references.losses(middle, x, y).mean(), rel=1e-12)


def test_a_line_from_a_net_to_itself_is_flat():
    """For any α."""
    case = Case("gelu")
    found = interpolation.line(case.model, case.model, np.linspace(-1, 2, 7), case.x, case.y)
    np.testing.assert_allclose(found.loss, case.mean, rtol=1e-12)


# Planes


@pytest.mark.parametrize("kind", ["tanh", "convolutional", "normalised", "skip"])
def test_a_plane_through_three_nets_has_their_losses(kind):
    """At the three coordinates stand the three nets, and between them what a net with these weights has."""
    (model, x, y), theta = Case(kind).data, Case(kind).theta
    rng = np.random.default_rng(2)
    points = [theta, *(theta + rng.normal(size=(2, len(theta))))]
    first, second = interpolation.through(*points)
    np.testing.assert_allclose([first @ first, second @ second, first @ second], [1, 1, 0], atol=1e-14)
    u, v = (np.array([(point - theta) @ direction for point in points]) for direction in (first, second))
    np.testing.assert_allclose([u[1], v[0], v[1]], [np.linalg.norm(points[1] - theta), 0, 0], atol=1e-12)
    assert v[2] > 0
    with nets.unchanged(model):
        found = interpolation.plane(model, first, second, u, v, x, y)
        problem = evaluation.Problem(model, x, y)
        recompute = statistics(problem)
    assert found.loss.shape == found.accuracy.shape == (3, 3)
    for index, point in enumerate(points):
        with references.moved(model, point):
            loss, accuracy = references.evaluate(model, x, y)
            if recompute is not None and index:  # its statistics are those of the data, as `line` has them
                parameters, state = evaluation.variables(model)
                loss, accuracy = evaluation.evaluate_at(problem, parameters, recompute(parameters, state))
        assert found.loss[index, index] == pytest.approx(loss, rel=1e-10)
        assert found.accuracy[index, index] == accuracy


def test_a_plane_of_a_quadratic():
    """L = ½ θᵀHθ + 1 along two axes."""
    hesse, at = np.diag([3.0, -5.0, 1.0]), np.array([0.1, 0.2, 0.3])
    model, x, y, loss = nets.quadratic(hesse, np.zeros(3), at)
    u, v = [-1.0, 0.0, 2.0], [0.5, 0.0]
    found = interpolation.plane(model, np.eye(3)[0], np.eye(3)[1], u, v, x, y, loss)
    moved = [[at + np.array([i, j, 0]) for i in u] for j in v]
    expected = [[theta @ hesse @ theta / 2 + 1 for theta in row] for row in moved]
    np.testing.assert_allclose(found.loss, expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["tanh", "convolutional", "normalised", "no bias"])
def test_filters_of_a_normalised_direction(kind):
    """Each filter, indexed by the kernel's last axis, has the norm of the net's; what has one axis stays."""
    model = Case(kind).model
    direction = interpolation.filter_normalised(model, seed=3)
    start = 0
    for weights in map(np.asarray, model.trainable_variables):
        part = direction[start : start + weights.size].reshape(weights.shape)
        start += weights.size
        if weights.ndim == 1:
            assert not part.any()
            continue
        for unit in range(weights.shape[-1]):
            assert np.sqrt((part[..., unit] ** 2).sum()) == pytest.approx(np.sqrt((weights[..., unit] ** 2).sum()))
    assert np.abs(direction - interpolation.filter_normalised(model, seed=4)).max() > 0.01


# What is refused


def relu_net():
    """The 9-4-3 ReLU net in float64, to which the others differ."""
    return nets.perturbed(nets.mlp((4,), dtype="float64"), 1)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: nets.mlp((5,), dtype="float64"), ["architecture", "(9, 4)", "(9, 5)"]),
        (lambda: nets.mlp((4, 3), dtype="float64"), ["architecture"]),
        (lambda: nets.mlp((4,), use_bias=False, dtype="float64"), ["architecture"]),
        (
            lambda: nets.perturbed(nets.mlp((4,), activation="tanh", dtype="float64"), 1),
            ["architecture", "activations"],
        ),
    ],
    ids=["width", "depth", "bias", "activation"],
)
def test_nets_that_differ(build, words):
    """Also where all shapes agree but the functions do not: the end at α = 1 would be no net at all."""
    x, y = nets.examples()
    with cases.refused("differ in architecture", *words):
        interpolation.line(relu_net(), build(), [0, 1], x, y)


def test_a_frozen_and_a_free_net_differ():
    """Their trainable variables do not correspond."""
    free, x, y = Case("frozen layer").data
    with pytest.raises(ValueError, match="differ in architecture"):
        interpolation.line(nets.mlp(activation="tanh", dtype="float64"), free, [0.5], x, y)


@pytest.mark.parametrize("alphas", [[], [[0.1, 0.2]], [np.nan], [np.inf]], ids=str)
def test_alphas_are_finite_numbers(alphas):
    """One or more, in a row."""
    model, x, y = Case("tanh").data
    with pytest.raises(ValueError, match="alphas must be one or more finite numbers"):
        interpolation.line(model, model, alphas, x, y)


def test_unfit_planes():
    """Three points on a line, and directions of another length."""
    model, x, y = Case("tanh").data
    with pytest.raises(ValueError, match="on one line"):
        interpolation.through(np.zeros(3), np.ones(3), 2 * np.ones(3))
    with pytest.raises(ValueError, match="on one line"):
        interpolation.through(np.zeros(3), np.zeros(3), np.ones(3))
    with pytest.raises(ValueError, match=r"shape \[55\], not \[54\]"):
        interpolation.plane(model, np.ones(55), np.ones(54), [0], [0], x, y)
    with pytest.raises(ValueError, match="v must be"):
        interpolation.plane(model, np.ones(55), np.ones(55), [0], [np.inf], x, y)
