"""The Hessian's entries, blocks and diagonal against nested tapes and a closed form."""

import cases
import keras
import nets
import numpy as np
import pytest
import references
from cases import Case, close

from hw1.measures import hessian


@pytest.mark.parametrize("case", cases.ALL, ids=str)
def test_dense_is_the_jacobian_of_the_gradient(case):
    """Against nested tapes; symmetric."""
    found = case.measure(hessian.dense)
    close(found, case.hessian)
    np.testing.assert_array_equal(found, found.T)


@pytest.mark.parametrize("case", cases.DOUBLE, ids=str)
def test_blocks_are_the_diagonal_blocks(case):
    """The blocks that tf.hessians gives, one per trainable variable: also for a variable that L does not depend on."""
    for block, expected in zip(case.measure(hessian.blocks), case.blocks, strict=True):
        close(block, expected, scale=case.hessian)


@pytest.mark.parametrize("case", cases.DOUBLE, ids=str)
def test_the_diagonal(case):
    """Against nested tapes, in chunks of which the last is smaller."""
    close(case.measure(hessian.diagonal, chunk_size=4), np.diag(case.hessian))


def test_chunks_do_not_change_the_mean_of_blocks():
    """Eleven examples in pieces of four, the last one ragged."""
    case = Case("no bias")
    for block, expected in zip(case.measure(hessian.blocks, chunk_size=4), case.blocks, strict=True):
        np.testing.assert_allclose(block, expected, atol=1e-13)


@pytest.mark.parametrize(("dtype", "relative"), [("float32", 1e-5), ("float64", 1e-13)])
def test_softmax_regression_has_a_closed_form(dtype, relative):
    """H = mean (diag(p) − ppᵀ) ⊗ x̃x̃ᵀ with x̃ = (x, 1)."""
    model, (x, y) = nets.softmax_regression(dtype), nets.examples()
    truth = references.softmax_regression(*(w.astype("float64") for w in model.get_weights()), x, y)
    close(hessian.dense(model, x, y), truth["hessian"], relative)
    close(references.hessian(model, x, y), truth["hessian"], relative)  # the references agree with each other


def test_an_embedding():
    """A net whose gradient is sparse, of integers."""
    layers = [keras.layers.Embedding(5, 2), keras.layers.Flatten(), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((4,), dtype="int32"), *layers])
    nets.with_random_weights(model, np.random.default_rng(1))
    x, y = np.random.default_rng(0).integers(0, 5, (11, 4)), nets.examples()[1]
    truth = references.hessian(model, x, y)
    close(hessian.dense(model, x, y), truth)
    close(hessian.blocks(model, x, y)[0], truth[:10, :10])
