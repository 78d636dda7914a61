"""Tests of hw1.measures.gauss_newton: against brute-force Jacobians, closed forms, and what a piecewise loss must give.

The truth is computed on the model as it is, by tapes, without compiling and without hw1.
"""

import functools

import cases
import losses
import nets
import numpy as np
import pytest
import references
from cases import Case, close
from losses import LOSSES

from hw1.measures import gauss_newton, hessian


@functools.cache
def truth(case):
    """G by brute force, shape [parameters, parameters]."""
    return references.gauss_newton(*case.double.data, LOSSES[case.loss].curvature)


@pytest.mark.parametrize("case", dict.fromkeys([*cases.ALL, *cases.some(cases.MIXED, 1)]), ids=str)
def test_gauss_newton_and_residual_against_brute_force(case):
    """G from the Jacobian, R from the whole Hessian by nested tapes."""
    close(case.measure(gauss_newton.dense), truth(case), case.bound(), case.hessian)
    close(case.measure(gauss_newton.dense, part="residual"), case.hessian - truth(case), case.bound(), case.hessian)
    residual = np.abs(case.hessian - truth(case)).max()
    assert residual > 1e-3 * np.abs(case.hessian).max(), "a net without residual would test less"


@pytest.mark.parametrize("loss", [None, losses.distance])
def test_an_output_linear_in_its_parameters_has_no_residual(loss):
    """Softmax regression: G is the closed form of H; with the squared error too, R = 0."""
    model, (x, y) = nets.softmax_regression(), nets.examples()
    kernel, bias = model.get_weights()
    found = gauss_newton.dense(model, x, y, loss)
    if loss is None:
        close(found, references.softmax_regression(kernel, bias, x, y)["hessian"])
    close(found, hessian.dense(model, x, y, loss))
    assert np.abs(gauss_newton.dense(model, x, y, loss, "residual")).max() < 1e-12 * np.abs(found).max()


@pytest.mark.parametrize("case", cases.some([Case("tanh", "hinge"), Case("convolutional", "hinge")], 1), ids=str)
def test_the_hinge_is_all_residual(case):
    """Piecewise linear: G is exactly 0, and R is the Hessian, which the net's own curvature keeps from 0."""
    assert not case.measure(gauss_newton.dense).any()
    assert case.measure(gauss_newton.spectral_norm) == 0
    assert np.abs(case.hessian).max() > 1e-3


@pytest.mark.parametrize("part", gauss_newton.PARTS)
@pytest.mark.parametrize(
    "case", cases.some([Case("tanh"), Case("relu", "quartic"), Case("normalised"), Case("skip", "quartic")]), ids=str
)
def test_norms_are_those_of_the_matrices(case, part):
    """By Lanczos on products, against the matrices by brute force."""
    matrices = {"hessian": case.hessian, "gauss-newton": truth(case), "residual": case.hessian - truth(case)}
    expected = np.linalg.norm(matrices[part], 2)
    assert case.measure(gauss_newton.spectral_norm, part=part) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("size", [1, 4, 100])
def test_chunks_do_not_change_the_mean(size):
    """A ragged last chunk counts right."""
    case = Case("tanh")
    vector = np.random.default_rng(0).normal(size=case.model.count_params())
    close(case.measure(gauss_newton.product, chunk_size=size)(vector), truth(case) @ vector)


@pytest.mark.parametrize("part", gauss_newton.PARTS)
def test_float32_products_are_float64_products_rounded(part):
    """Up to a hundred roundings of the Hessian's product, from which R is the rest."""
    single, double = Case("tanh", dtype="float32"), Case("tanh")
    vector = np.random.default_rng(0).normal(size=single.model.count_params())
    found, expected = (case.measure(gauss_newton.product, part=part)(vector) for case in (single, double))
    close(found, expected, scale=double.hessian @ vector)


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (lambda *c: gauss_newton.product(*c)(np.ones(54)), ["[55]", "[54]"]),
        (lambda *c: gauss_newton.product(*c, chunk_size=0), ["chunk_size", "0"]),
        (lambda *c: gauss_newton.dense(*c, part="G"), ["part", "gauss-newton", "residual", "'G'"]),
        (lambda *c: gauss_newton.spectral_norm(*c, part="block"), ["part", "gauss-newton", "'block'"]),
    ],
)
def test_unfit_arguments(measure, words):
    """The message names the argument, the value and what would be right."""
    with cases.refused(*words):
        measure(*Case("tanh").data)
