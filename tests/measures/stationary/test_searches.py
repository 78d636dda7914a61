"""Searches for zero gradient: closed forms of quadratics, Hessians by nested tapes, nets alone and side by side."""

import dataclasses

import cases
import keras
import nets
import numpy as np
import pytest
import references
from cases import SEEDS, Case
from losses import LOSSES

from hw1 import models
from hw1.measures import stationary

SADDLE, SLOPE = np.diag([3.0, 1.0, -2.0, 0.5]), np.array([1.0, -2.0, 0.5, 1.0])


def twins(case, count=3):
    """The case and others with other weights; one alone where two are not known to be of one architecture."""
    count = 1 if case.kind in nets.SEEDLESS else count
    return [dataclasses.replace(case, seed=seed) for seed in SEEDS[:count]]


def together(search, members, **options):
    """The results of a search of the members side by side; none of their nets is changed."""
    loss = LOSSES[members[0].loss].given
    with nets.unchanged(*(member.model for member in members)):
        return search([member.model for member in members], *members[0].data[1:], loss=loss, **options)


EXPANDED = (
    Case("tanh"),
    Case("unused variable"),
    Case("normalised"),
    Case("convolutional"),
    Case("skip"),
    Case("tanh", "hinge"),
    Case("no bias", "squared error"),
)


@pytest.mark.parametrize("case", cases.some(EXPANDED), ids=str)
def test_hessians_are_those_of_nested_tapes(case):
    """Each net's own, whoever is beside it."""
    members = twins(case)
    for member, *found in zip(members, *together(stationary.expansions, members), strict=True):
        loss, gradient, matrix = found
        assert loss == pytest.approx(member.mean, rel=1e-12)
        assert np.allclose(gradient, member.truth(references.gradient), rtol=0, atol=1e-13)
        assert np.allclose(matrix, member.hessian, rtol=0, atol=1e-13)


def test_points_of_one_net_are_like_nets_of_their_own():
    """Parameters that are given instead of nets: the same expansions, and other shapes are refused."""
    members = twins(Case("tanh"))
    thetas = np.stack([member.theta for member in members])
    given = stationary.expansions([members[0].model], *members[0].data[1:], thetas=thetas)
    for mine, theirs in zip(given, together(stationary.expansions, members), strict=True):
        assert np.array_equal(mine, theirs)
    for nets_, wrong in (([members[0].model], thetas[:, 1:]), ([member.model for member in members], thetas)):
        with pytest.raises(ValueError, match="of one model"):
            stationary.expansions(nets_, *members[0].data[1:], thetas=wrong)


def test_newton_solves_a_quadratic_with_a_saddle():
    """From anywhere to −H⁻¹g, which is a saddle with one negative eigenvalue."""
    at = [np.zeros(4), np.array([3.0, -1.0, 4.0, 1.0])]
    quadratics = [nets.quadratic(SADDLE, SLOPE, start) for start in at]
    members, (_, x, y, loss) = [quadratic[0] for quadratic in quadratics], quadratics[0]
    for point in stationary.newton(members, x, y, loss, iterations=40):
        assert point.gradient_norm < 1e-12
        assert np.allclose(point.parameters, -np.linalg.solve(SADDLE, SLOPE), atol=1e-10)
        assert point.loss == pytest.approx(1 - SLOPE @ np.linalg.solve(SADDLE, SLOPE) / 2, rel=1e-12)
        assert len(point.norms) == point.iterations + 1
        assert (np.diff(point.norms) < 0).all()
    values = np.linalg.eigvalsh(stationary.expansions(members, x, y, loss).hessians[0])
    assert stationary.signs(values) == (1, 0, 3)
    assert stationary.minimal_ratio(values) == 0.75


def test_linear_regression_is_solved_in_closed_form():
    """More residuals than parameters: the end is the least-squares solution of numpy."""
    rng = np.random.default_rng(5)
    model = nets.with_random_weights(models.mlp((), input_shape=(3,), classes=2, dtype="float64"), rng)
    x, y = rng.random((20, 3)), rng.random((20, 2))
    with nets.unchanged(model):
        (point,) = stationary.levenberg_marquardt([model], x, y)
    solution = np.linalg.lstsq(np.c_[x, np.ones(20)], y, rcond=None)[0]
    assert np.allclose(point.parameters, solution.ravel(), atol=1e-9)
    assert point.gradient_norm < 1e-12
    assert point.iterations < 60


@pytest.mark.parametrize("kind", cases.some(["tanh", "normalised", "convolutional"]))
def test_the_gradient_vanishes_where_residuals_are_fewer_than_parameters(kind):
    """Nets of every kind, as the ordinary gradient of the squared error says; the error falls with each step."""
    members = [case.model for case in twins(Case(kind), 2)]
    x, y = Case(kind).x[:4], np.random.default_rng(6).normal(size=(4, nets.CLASSES)) / 4
    with nets.unchanged(*members):
        points = stationary.levenberg_marquardt(members, x, y, iterations=200, tolerance=1e-10)
    for model, point in zip(members, points, strict=True):
        end = models.with_parameters(model, point.parameters)
        for net, norm in ((model, point.norms[0]), (end, point.norms[-1]), (end, point.gradient_norm)):
            gradient = references.gradient(net, x, y, references.mean_squared_error)
            assert norm == pytest.approx(np.linalg.norm(gradient), rel=1e-8, abs=1e-14)
        assert point.gradient_norm < 1e-8 < point.norms[0] / 1e3
        error = references.losses(end, x, y, references.mean_squared_error).mean()
        assert point.loss == pytest.approx(error, rel=1e-8, abs=1e-20)
        assert point.loss < references.losses(model, x, y, references.mean_squared_error).mean() / 2


def test_adam_on_the_norm_finds_the_saddle():
    """A first-order method on ‖∇L‖² ends at the saddle too, where one on the loss would fall for ever."""
    model, x, y, loss = nets.quadratic(SADDLE, SLOPE, np.zeros(4))
    with nets.unchanged(model):
        (point,) = stationary.descend([model], x, y, loss, iterations=3000)
    assert np.allclose(point.parameters, -np.linalg.solve(SADDLE, SLOPE), atol=1e-4)
    assert point.gradient_norm == pytest.approx(np.linalg.norm(SADDLE @ point.parameters + SLOPE), abs=1e-12)


def regression(seed, hidden=3, points=30):
    """A small net with random weights that cannot fit its points, and these."""
    rng = np.random.default_rng(seed)
    model = nets.with_random_weights(models.mlp((hidden,), "tanh", input_shape=(1,), classes=1, dtype="float64"), rng)
    x = np.linspace(-3, 3, points)[:, None]
    return model, x, np.sinc(x)


@pytest.mark.slow
def test_newton_finds_critical_points_of_a_net():
    """From noise around a net, saddles and minima that `nearness` tells from points where the search got stuck."""
    model, x, y = regression(8)
    starts = np.random.default_rng(9).standard_normal((40, 10))
    with nets.unchanged(model):
        points = stationary.newton([model], x, y, references.mean_squared_error, 300, 1e-15, starts)
    found = stationary.expansions(
        [model], x, y, references.mean_squared_error, np.stack([point.parameters for point in points])
    )
    near = [
        stationary.nearness(point.parameters, gradient, matrix, 1e-10)
        for point, gradient, matrix in zip(points, found.gradients, found.hessians, strict=True)
    ]
    critical = [part.gradient < 1e-11 and part.distance < 1e-6 for part in near]
    assert 10 <= sum(critical) < 40
    indices = {stationary.signs(np.linalg.eigvalsh(found.hessians[at]), 1e-10)[0] for at in np.flatnonzero(critical)}
    assert len(indices) > 1
    for start, point, part in zip(starts, points, near, strict=True):
        assert (np.diff(point.norms) < 0).all()
        with references.moved(model, start):
            gradient = references.gradient(model, x, y, references.mean_squared_error)
        assert point.norms[0] == pytest.approx(np.linalg.norm(gradient), rel=1e-9)
        assert part.gradient < 1e-3


@pytest.mark.slow
def test_adam_on_the_norm_lowers_any_gradient():
    """However small the gradient of a trained net is: it never ends above its start, and here comes far below it."""
    model, x, y = regression(10)
    (trained,) = stationary.levenberg_marquardt([model], x, y, iterations=12)
    near = models.with_parameters(model, trained.parameters)
    (point,) = stationary.descend([near], x, y, references.mean_squared_error, iterations=500)
    assert point.iterations == 500
    assert (np.diff(point.norms) <= 0).all()
    assert point.gradient_norm == pytest.approx(point.norms[-1], rel=1e-9)
    assert point.gradient_norm < 0.99 * point.norms[0]


def test_singular_values_are_those_of_the_residuals():
    """Their squares are the eigenvalues of the Hessian where the residuals vanish, and else of its first term."""
    model, x, _ = regression(11)
    y = np.asarray(model(x))
    values = stationary.singular_values([model], x, y)[0]
    matrix = stationary.expansions([model], x, y, keras.losses.mean_squared_error).hessians[0]
    assert np.allclose(2 / len(x) * values**2, np.linalg.eigvalsh(matrix)[::-1], rtol=0, atol=1e-14)
    assert np.allclose(stationary.singular_values([model], x, y + 1)[0], values, rtol=1e-10, atol=1e-15)


def test_nearness_is_in_units_of_rounding():
    """A quadratic near its critical point, one whose gradient is along no curvature, and a gradient of exactly zero."""
    matrix, theta = np.diag([4.0, -2.0, 0.0]), np.array([3.0, 0.0, 4.0])
    near = stationary.nearness(theta, matrix @ [1e-3, 2e-3, 0], matrix)
    assert near.distance == pytest.approx(np.sqrt(5) * 1e-3 / 5)
    assert near.gradient == pytest.approx(np.sqrt(2) * 4e-3 / (4 * 5))
    assert near.slope == pytest.approx(np.linalg.norm([16e-3, 8e-3]) / (4 * np.sqrt(2) * 4e-3))
    flat = stationary.nearness(theta, np.array([0, 0, 1e-3]), matrix)
    assert (flat.distance, flat.slope) == (0, 0)
    assert flat.gradient == pytest.approx(1e-3 / 20)
    assert stationary.nearness(theta, np.zeros(3), matrix) == (0, 0, 0)
    assert stationary.nearness(theta, np.ones(3), 0 * matrix).gradient == np.inf


@pytest.mark.parametrize(
    "case", cases.some([Case("tanh"), Case("normalised"), Case("tanh", "squared error")], 1), ids=str
)
@pytest.mark.parametrize(
    ("search", "options"), [(stationary.newton, {"iterations": 3}), (stationary.descend, {"iterations": 100})]
)
def test_members_do_not_depend_on_each_other(case, search, options):
    """Alone or beside others a net ends at the same point; norms and losses are those of the point."""
    members = twins(case)
    point = together(search, members, **options)[1]
    (alone,) = together(search, members[1:2], **options)
    # Along directions in which the loss is flat, rounding moves the parameters; norms and loss do not see it.
    assert np.allclose(point.norms, alone.norms, rtol=1e-6)
    assert point.loss == pytest.approx(alone.loss, rel=1e-9)
    assert point.loss == pytest.approx(members[1].truth(references.loss_at, point.parameters), rel=1e-12)
    with references.moved(members[1].model, point.parameters):
        gradient = members[1].truth(references.gradient)
    assert point.gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-8)
    assert point.gradient_norm <= point.norms[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x, y: stationary.newton([], x, y), "at least one"),
        (lambda m, x, y: stationary.newton([m, nets.mlp((5,), dtype="float64")], x, y), "one architecture"),
        (lambda m, x, y: stationary.newton([nets.mlp()], x, y), "float64"),
        (lambda m, x, y: stationary.newton([m], x, y, iterations=-1), "iterations"),
        (lambda m, x, y: stationary.levenberg_marquardt([m], x, y), "shape \\[n, outputs\\]"),
        (lambda m, x, y: stationary.newton([m], x, y, tolerance=0), "tolerance"),
        (lambda m, x, y: stationary.descend([m], x, y, iterations=1.5), "iterations"),
    ],
)
def test_bad_input(call, message):
    """The message names what is wrong."""
    with pytest.raises(ValueError, match=message):
        call(*Case("tanh").data)
