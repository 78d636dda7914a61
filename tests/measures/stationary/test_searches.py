"""Searches for zero gradient: closed forms of quadratics, Hessians by nested tapes, nets alone and side by side."""

import dataclasses

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


@pytest.mark.parametrize(
    "case",
    [
        Case("tanh"),
        Case("convolutional"),
        Case("normalised"),
        Case("skip"),
        Case("unused variable"),
        Case("tanh", "hinge"),
        Case("no bias", "squared error"),
    ],
    ids=str,
)
def test_hessians_are_those_of_nested_tapes(case):
    """Each net's own, whoever is beside it."""
    members = twins(case)
    for member, matrix in zip(members, together(stationary.hessians, members), strict=True):
        assert np.allclose(matrix, member.hessian, rtol=0, atol=1e-13)


def test_newton_solves_a_quadratic_with_a_saddle():
    """From anywhere to −H⁻¹g, which is a saddle with one negative eigenvalue."""
    at = [np.zeros(4), np.array([3.0, -1.0, 4.0, 1.0])]
    quadratics = [nets.quadratic(SADDLE, SLOPE, start) for start in at]
    members, (_, x, y, loss) = [quadratic[0] for quadratic in quadratics], quadratics[0]
    for point in stationary.newton(members, x, y, loss, iterations=20):
        assert point.gradient_norm < 1e-12
        assert np.allclose(point.parameters, -np.linalg.solve(SADDLE, SLOPE), atol=1e-10)
        assert point.loss == pytest.approx(1 - SLOPE @ np.linalg.solve(SADDLE, SLOPE) / 2, rel=1e-12)
        assert len(point.norms) == point.iterations + 1
        assert (np.diff(point.norms) < 0).all()
    values = np.linalg.eigvalsh(stationary.hessians(members, x, y, loss)[0])
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


@pytest.mark.parametrize("kind", ["tanh", "convolutional", "normalised"])
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
        (point,) = stationary.descend([model], x, y, loss, iterations=3000, learning_rate=0.05)
    assert np.allclose(point.parameters, -np.linalg.solve(SADDLE, SLOPE), atol=1e-4)
    assert point.gradient_norm == pytest.approx(np.linalg.norm(SADDLE @ point.parameters + SLOPE), abs=1e-12)


@pytest.mark.parametrize("case", [Case("tanh"), Case("normalised"), Case("tanh", "squared error")], ids=str)
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
        (lambda m, x, y: stationary.descend([m], x, y, learning_rate=np.nan), "learning_rate"),
    ],
)
def test_bad_input(call, message):
    """The message names what is wrong."""
    with pytest.raises(ValueError, match=message):
        call(*Case("tanh").data)
