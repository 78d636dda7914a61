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
            found = stationary.sampled_minimal_ratio(model, x, y, 0.1, 1000, loss=loss)
        assert found == pytest.approx(expected, abs=margin)
    case = Case("tanh")
    offsets = np.random.default_rng(3).standard_normal((40, len(case.theta)))
    offsets *= 0.5 / np.linalg.norm(offsets, axis=1, keepdims=True)
    higher = np.mean([case.truth(references.loss_at, case.theta + offset) > case.mean for offset in offsets])
    assert 0 < higher < 1
    assert case.measure(stationary.sampled_minimal_ratio, radius=0.5, samples=40, seed=3) == higher


def test_zero_is_relative_to_the_largest():
    """Eigenvalues below the share of the largest, of either sign, count as zero."""
    assert stationary.signs([1e3, 1.0, 1e-12, -1e-12, -1.0]) == (1, 2, 2)
    assert stationary.signs([0.0, 0.0]) == (0, 2, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x, y: stationary.sampled_minimal_ratio(m, x, y, radius=0), "radius"),
        (lambda m, x, y: stationary.sampled_minimal_ratio(m, x, y, samples=0), "samples"),
        (lambda m, x, y: stationary.signs([np.nan]), "finite"),
        (lambda m, x, y: stationary.signs([1.0], zero=1), "zero"),
    ],
)
def test_bad_input(call, message):
    """The message names what is wrong."""
    with pytest.raises(ValueError, match=message):
        call(*Case("tanh").data)
