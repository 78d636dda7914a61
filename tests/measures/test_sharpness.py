"""The course's sharpness against norms of matrices, and what all kinds of sharpness share."""

import cases
import keras
import nets
import numpy as np
import pytest
import references
import tensorflow as tf
from cases import Case

from hw1 import models
from hw1.measures import hessian, sharpness

# The Hessian's norm


@pytest.mark.parametrize("case", cases.DOUBLE, ids=str)
def test_the_courses_formula(case):
    """‖H‖₂ ε² / (2 (1 + L)) over the diagonal blocks, by Lanczos and (for some) tf.hessians, against nested tapes."""
    norm = max(np.linalg.norm(block, 2) for block in case.blocks)
    expected = norm * 1e-4**2 / (2 * (1 + case.mean))
    assert case.measure(sharpness.hessian_sharpness) == pytest.approx(expected, rel=1e-4)
    if case in cases.FEWER:
        exact = case.measure(sharpness.hessian_sharpness, method="tf.hessians")
        assert exact == pytest.approx(expected, rel=1e-10)


FULL = (Case("tanh"), Case("convolutional, normalised"), Case("convolutional"), Case("no bias", "squared error"))


@pytest.mark.parametrize("case", cases.some(FULL), ids=str)
def test_full_scope_keeps_what_lies_between_the_blocks(case):
    """The whole H, another radius; larger than the largest block's (Cauchy's interlacing)."""
    expected = np.linalg.norm(case.hessian, 2) * 0.5**2 / (2 * (1 + case.mean))
    found = case.measure(sharpness.hessian_sharpness, epsilon=0.5, scope="full")
    assert found == pytest.approx(expected, rel=1e-4)
    assert found > case.measure(sharpness.hessian_sharpness, epsilon=0.5) * 1.001


def test_the_norm_of_the_slides_is_the_frobenius_norm():
    """The slip: tf.norm(A, 2) flattens A; with axis=(-2, -1) it is the spectral norm, the one that is meant."""
    case = Case("no bias")
    block, other = case.measure(hessian.blocks)
    spectral, frobenius = np.linalg.norm(block, 2), np.sqrt(np.sum(block**2))
    assert frobenius > 1.1 * spectral
    assert float(tf.norm(block, 2)) == pytest.approx(frobenius, rel=1e-12)
    assert float(tf.norm(block, 2, axis=(-2, -1))) == pytest.approx(spectral, rel=1e-12)
    norm = max(spectral, float(tf.norm(other, 2, axis=(-2, -1))))
    found = case.measure(sharpness.hessian_sharpness)
    assert found == pytest.approx(norm * 1e-8 / (2 * (1 + case.mean)), rel=1e-5)


@pytest.mark.parametrize("case", [Case("no bias"), Case("tanh")], ids=str)
def test_the_recipe_of_the_slides_word_for_word(case):
    """tf.hessians and tf.norm(A, 2) with no axis: the Frobenius norm of all blocks together, against nested tapes."""
    frobenius = np.sqrt(sum(np.sum(block**2) for block in case.blocks))
    found = case.measure(sharpness.hessian_sharpness, method="tf.hessians", norm="tf.norm")
    assert found == pytest.approx(frobenius * 1e-8 / (2 * (1 + case.mean)), rel=1e-10)
    assert found > 1.05 * case.measure(sharpness.hessian_sharpness, method="tf.hessians", norm="spectral")


def test_norms_of_blocks_are_those_of_the_whole_matrix():
    """Of a matrix whose eigenvalue of largest magnitude is negative; both norms as TensorFlow computes them."""
    blocks = [np.array([[1.0, 2.0], [2.0, -4.0]]), np.array([[3.0]])]
    whole = np.zeros((3, 3))
    whole[:2, :2], whole[2:, 2:] = blocks
    printed, meant = float(tf.norm(whole, 2)), float(tf.norm(whole, 2, axis=(-2, -1)))
    assert sharpness.norm_of_blocks(blocks, "tf.norm") == pytest.approx(printed, rel=1e-12)
    assert sharpness.norm_of_blocks(blocks) == pytest.approx(meant, rel=1e-12)
    assert printed > 1.1 * meant


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"norm": "frobenius", "method": "tf.hessians"}, "norm must be one of"),
        ({"norm": "tf.norm"}, "only method='tf.hessians' forms"),
    ],
)
def test_norms_that_do_not_fit(options, words):
    """The message says what would."""
    with pytest.raises(ValueError, match=words):
        Case("no bias").measure(sharpness.hessian_sharpness, **options)


def test_sharpness_of_another_loss():
    """The loss enters the norm and the scale."""
    hesse, at = np.diag([3.0, -5.0, 1.0]), np.array([0.1, 0.2, 0.3])
    model, x, y, loss = nets.quadratic(hesse, np.zeros(3), at)
    level = at @ hesse @ at / 2 + 1
    for method in sharpness.METHODS:
        found = sharpness.hessian_sharpness(model, x, y, epsilon=0.1, method=method, loss=loss)
        assert found == pytest.approx(5 * 0.01 / (2 * (1 + level)), rel=1e-10)


# Maxima in a box and in a ball


@pytest.mark.parametrize("case", cases.ALL, ids=str)
def test_box_and_ball_of_every_net(case):
    """The step is inside, the loss there is what is reported, and more than at θ."""
    found = {
        "box": case.measure(sharpness.keskar_sharpness, epsilon=0.01),
        "ball": case.measure(sharpness.ball_sharpness, epsilon=0.01),
    }
    sides = 0.01 * (np.abs(case.theta) + 1)
    assert np.all(np.abs(found["box"].step) <= sides * (1 + 1e-12))
    assert np.linalg.norm(found["ball"].step) <= 0.01 * (1 + 1e-12)
    # to first order already the corner against the gradient, or the gradient's own direction, rises this much
    gradient = case.truth(references.gradient)
    first_order = {"box": np.abs(gradient) @ sides, "ball": 0.01 * np.linalg.norm(gradient)}
    for kind, result in found.items():
        assert result.loss == pytest.approx(case.mean, rel=case.bound())
        there = case.truth(references.loss_at, case.theta + result.step)
        assert result.largest == pytest.approx(there, rel=case.bound())
        assert result.value == pytest.approx(100 * (result.largest - result.loss) / (1 + result.loss), rel=1e-12)
        assert result.largest - result.loss > 0.8 * first_order[kind] > 0
        assert len(result.iterations) == len(result.messages) == 3
        assert all(0 <= number <= 20 for number in result.iterations)


MAXIMA = pytest.mark.parametrize("measure", [sharpness.keskar_sharpness, sharpness.ball_sharpness])


@MAXIMA
def test_a_seed_gives_the_same_bytes(measure):
    """Whatever the global generators do."""
    found = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        found.append(Case("tanh").measure(measure))
    assert found[0].step.tobytes() == found[1].step.tobytes()
    assert (found[0].value, found[0].messages) == (found[1].value, found[1].messages)


@MAXIMA
def test_at_a_maximum_the_sharpness_is_zero(measure):
    """Nothing around is larger: θ itself is the best candidate, and the value is 0, not negative."""
    model, x, y, loss = nets.quadratic(-np.diag([1.0, 2.0, 3.0]), np.zeros(3), np.zeros(3))
    found = measure(model, x, y, epsilon=0.1, loss=loss)
    assert found.value == 0
    assert found.largest == found.loss == 1
    np.testing.assert_array_equal(found.step, 0)


def test_rescaling_moves_every_sharpness_but_not_the_loss():
    """Dinh et al.: the same function with α = 20 in one layer and 1/20 in another is sharper by every measure."""
    model, x, y = Case("relu").data
    twin = models.with_parameters(
        model, references.flat(model.trainable_variables) * models.rescaling(model, [1 / 20, 20, 1])
    )
    for measure in (sharpness.hessian_sharpness, sharpness.ball_sharpness):
        before, after = (measure(m, x, y, epsilon=1e-3) for m in (model, twin))
        assert getattr(after, "value", after) > 5 * getattr(before, "value", before)


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (lambda *c: sharpness.hessian_sharpness(*c, method="svd"), ["method", "lanczos", "svd"]),
        (lambda *c: sharpness.hessian_sharpness(*c, scope="layer"), ["scope", "full", "layer"]),
        (lambda *c: sharpness.hessian_sharpness(*c, scope="full", method="tf.hessians"), ["diagonal blocks only"]),
        (lambda *c: sharpness.hessian_sharpness(*c, epsilon=0), ["epsilon", "above 0", "not 0"]),
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
    with cases.refused(*words):
        measure(*Case("tanh").data)
