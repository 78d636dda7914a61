"""Question reparametrization: singular matrices, the growth of leading eigenvalues, and what the rows hold."""

import numpy as np
import pytest

from hw1 import records
from hw1.generalization import reparametrization


def symmetric(values, seed=0):
    """A dense symmetric matrix with these eigenvalues."""
    basis, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    return basis * values @ basis.T


@pytest.mark.parametrize("spread", [0, 3, 6])
def test_a_rescaling_does_not_change_whether_a_matrix_is_singular(spread):
    """Neither makes factors of up to 10^±6 a regular matrix singular, nor hide that one is."""
    scale = 10.0 ** np.random.default_rng(1).uniform(-spread, spread, 8)
    regular, singular = symmetric(np.arange(1.0, 9) * (-1.0) ** np.arange(8)), symmetric(np.arange(8.0))
    assert not reparametrization.is_singular(regular * np.outer(scale, scale))
    assert reparametrization.is_singular(singular * np.outer(scale, scale))
    assert reparametrization.is_singular(np.zeros((2, 2)))


def test_an_eigenvalue_alone_does_not_tell():
    """The smallest eigenvalue of a regular matrix, rescaled, is below that of a singular one."""
    scale = np.logspace(0, -9, 8)
    regular = symmetric(np.arange(1.0, 9)) * np.outer(scale, scale)
    assert abs(np.linalg.eigvalsh(regular)).min() < 1e-16
    assert not reparametrization.is_singular(regular)


def test_the_least_growth_is_of_as_many_as_the_theorem_names():
    """Of four positive eigenvalues and one parameter of the last layer, three; none where the layer has as many."""
    before = np.array([8.0, 4, 2, 1, 0, -1])
    after = np.array([80.0, 20, 40, 0.5, 0, -1])
    assert reparametrization.least_growth(before, after, 1) == 5
    assert reparametrization.least_growth(before, after, 2) == 5
    assert reparametrization.least_growth(before, after, 3) == 10
    assert np.isnan(reparametrization.least_growth(before, after, 4))


def test_leading_eigenvalues_grow(at_smoke_size):
    """With all layers but the last divided by ten, the least of the growths is well above 1, and 1 at α = 1."""
    frame = records.read(at_smoke_size("reparametrization"), "reparametrization")
    growth = frame[(frame.measure == "least_growth") & (frame.transformation == "all but last")]
    growth = growth.set_index(["alpha", "seed"]).value
    assert len(growth)
    assert (growth.loc[0.1] > 2).all()
    np.testing.assert_allclose(growth.loc[1.0], 1)
