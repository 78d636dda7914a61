"""The minimal ratio: signs of eigenvalues, and neighbours counted by hand."""

import nets
import numpy as np
import pytest
import references
from cases import Case

from hw1.measures import stationary


def test_neighbours_of_a_minimum_and_of_a_saddle():
    """At a minimum all neighbours are higher; at a symmetric saddle half of them; brute force in one net."""
    for values, expected, margin in (([1.0, 2.0, 3.0], 1.0, 0), ([1.0, -1.0], 0.5, 0.06), ([-1.0, -2.0], 0.0, 0)):
        model, x, y, loss = nets.quadratic(np.diag(values), np.zeros(len(values)), np.zeros(len(values)))
        with nets.unchanged(model):
            (found,) = stationary.sampled_minimal_ratios([model], x, y, 0.1, 1000, loss=loss)
        assert found == pytest.approx(expected, abs=margin)
    case = Case("tanh")
    offsets = np.random.default_rng(3).standard_normal((40, len(case.theta)))
    offsets *= 0.5 / np.linalg.norm(offsets, axis=1, keepdims=True)
    higher = np.mean([case.truth(references.loss_at, case.theta + offset) > case.mean for offset in offsets])
    assert 0 < higher < 1
    other = case.theta + offsets[0]
    found = stationary.sampled_minimal_ratios(
        [case.model], *case.data[1:], 0.5, 40, seed=3, thetas=np.stack([other, case.theta])
    )
    assert found[1] == higher
    at_other = case.truth(references.loss_at, other)
    assert found[0] == np.mean([case.truth(references.loss_at, other + offset) > at_other for offset in offsets])


def test_zero_is_relative_to_the_largest():
    """Eigenvalues below the share of the largest, of either sign, count as zero."""
    assert stationary.signs([1e3, 1.0, 1e-12, -1e-12, -1.0]) == (1, 2, 2)
    assert stationary.signs([0.0, 0.0]) == (0, 2, 0)


def test_the_rank_counts_positive_eigenvalues_below_the_rounding_of_the_hessian():
    """JᵀJ has rank 3, of which H in float64 shows two; it may have more rows than columns."""
    rng = np.random.default_rng(7)
    left, right = (np.linalg.qr(rng.standard_normal((size, size)))[0] for size in (4, 6))
    jacobian = (left[:, :3] * [1.0, 1e-3, 1e-10]) @ right[:3]
    values = np.linalg.svd(jacobian, compute_uv=False)
    assert stationary.rank_ratio(values, 6) == 3 / 6
    assert stationary.signs(np.linalg.eigvalsh(jacobian.T @ jacobian))[2] == 2
    assert stationary.rank_ratio(np.linalg.svd(jacobian.T, compute_uv=False), 4) == 3 / 4
    assert stationary.rank_ratio([1.0, 1e-17], 2) == 1 / 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x, y: stationary.sampled_minimal_ratios([m], x, y, radius=0), "radius"),
        (lambda m, x, y: stationary.sampled_minimal_ratios([m], x, y, samples=0), "samples"),
        (lambda m, x, y: stationary.signs([np.nan]), "finite"),
        (lambda m, x, y: stationary.signs([1.0], zero=1), "zero"),
    ],
)
def test_bad_input(call, message):
    """The message names what is wrong."""
    with pytest.raises(ValueError, match=message):
        call(*Case("tanh").data)
