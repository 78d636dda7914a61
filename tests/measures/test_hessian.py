"""What holds for all measures of the Hessian: single examples, losses without curvature, seeds."""

import keras
import nets
import numpy as np
import pytest
import references
from cases import Case, close

from hw1.measures import hessian


def test_one_example():
    """Every measure takes a single example."""
    model, x, y = Case("tanh").data
    truth = references.hessian(model, x[:1], y[:1])
    close(hessian.dense(model, x[:1], y[:1]), truth)
    assert hessian.spectral_norm(model, x[:1], y[:1]) == pytest.approx(np.linalg.norm(truth, 2), rel=1e-6)
    assert hessian.trace(model, x[:1], y[:1], probes=3 * 55) == pytest.approx(np.trace(truth), rel=1e-10)
    weights = hessian.density(model, x[:1], y[:1], steps=5).weights
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_a_linear_loss_has_no_curvature():
    """Every measure of H = 0 is 0."""
    model, (x, y) = nets.softmax_regression(), nets.examples()

    def first_logit(y, outputs):
        return outputs[:, 0]

    for matrix in (hessian.dense(model, x, y, first_logit), *hessian.blocks(model, x, y, first_logit)):
        assert not matrix.any()
    for which in ("LM", "LA", "SA"):
        np.testing.assert_array_equal(hessian.eigenvalues(model, x, y, 2, which, first_logit), [0, 0])
    assert hessian.spectral_norm(model, x, y, loss=first_logit) == 0
    assert (hessian.trace(model, x, y, first_logit), hessian.frobenius_norm(model, x, y, loss=first_logit)) == (0, 0)
    np.testing.assert_array_equal(hessian.density(model, x, y, loss=first_logit).nodes, 0)


@pytest.mark.parametrize("measure", [hessian.trace, hessian.frobenius_norm, hessian.density, hessian.eigenvalues])
def test_a_seed_gives_the_same_bytes(measure):
    """Whatever the global generators do; and the start of Lanczos is fixed."""
    found = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        value = Case("skip").measure(measure)
        found.append([np.asarray(part).tobytes() for part in (value if isinstance(value, tuple) else [value])])
    assert found[0] == found[1]
