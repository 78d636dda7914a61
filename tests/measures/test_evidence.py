"""Tests of hw1.measures.evidence: brute-force integrals, all eigenvalues of dense Hessians, quadrature against them."""

import cases
import keras
import nets
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import spectra
from cases import Case

from hw1.measures import evidence, hessian

CASES = cases.some(
    [
        Case("convolutional, normalised"),
        Case("frozen layer"),
        Case("relu", "quartic"),
        Case("relu"),
        Case("gelu"),
        Case("skip"),
        Case("no bias", "squared error"),
    ],
    3,
)


@pytest.fixture(autouse=True)
def _kept_programs(monkeypatch):
    """All spectra of a size share their programs."""
    cases.keep_programs(monkeypatch, nets.weighed)


def by_hand(case, regularization, classes=nets.CLASSES, floor=0.5):
    """C, −½ Σ ln(λᵢ/λ) with λᵢ at least floor · λ, and E, from the dense Hessian by nested tapes."""
    n, theta = len(case.x), case.theta
    cost = n * case.mean + regularization * theta @ theta / 2
    curvatures = np.linalg.eigvalsh(n * case.hessian + regularization * np.eye(len(theta)))
    occam = -0.5 * np.log(np.maximum(curvatures / regularization, floor)).sum()
    return cost, occam, cost - occam - n * np.log(classes), curvatures / regularization


@pytest.mark.parametrize("regularization", [0.3, 20.0])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_formula(case, regularization):
    """Every part against the dense Hessian, also where some of its eigenvalues are negative."""
    classes = None if case.loss == "cross-entropy" else nets.CLASSES
    found = case.measure(evidence.laplace, regularization=regularization, classes=classes, method="dense")
    cost, occam, ratio, curvatures = by_hand(case, regularization)
    assert found.cost == pytest.approx(cost, rel=1e-12)
    assert found.log_occam == pytest.approx(occam, rel=1e-9)
    assert found.log_ratio == pytest.approx(ratio, rel=1e-9)
    assert found.log_occam.standard_error == 0
    assert found.floored == pytest.approx(np.mean(curvatures < 0.5), abs=1e-12)
    assert found.smallest == pytest.approx(curvatures.min(), rel=1e-9)


def test_the_rule_for_negative_curvature_is_needed_and_tested():
    """Some of these nets have eigenvalues below the floor and some have none, so that the test above sees both."""
    shares = [np.mean(by_hand(case, regularization)[3] < 0.5) for case in CASES for regularization in (0.3, 20.0)]
    assert sum(share > 0 for share in shares) >= 3
    assert min(shares) == 0


@pytest.mark.slow
@pytest.mark.parametrize("case", [Case("relu"), Case("convolutional, normalised"), Case("skip")], ids=str)
def test_quadrature_is_right_within_its_error(case):
    """Many probes: within four standard errors, which a factor of P or N that is missing passes by far."""
    exact = case.measure(evidence.laplace, regularization=0.3, method="dense")
    found = case.measure(evidence.laplace, regularization=0.3, steps=30, probes=100)
    assert 0 < found.log_occam.standard_error < 0.1 * abs(exact.log_occam)
    assert abs(found.log_occam - exact.log_occam) < 4 * found.log_occam.standard_error
    assert found.cost == exact.cost
    assert found.log_ratio == pytest.approx(found.cost - found.log_occam - len(case.x) * np.log(3), rel=1e-12)
    assert found.smallest == pytest.approx(exact.smallest, rel=1e-4)  # Lanczos finds the ends of the spectrum


@pytest.mark.parametrize(
    "name", cases.some(["both signs", *(name for name in spectra.HARD if name != "both signs")], 3)
)
def test_quadrature_of_a_prescribed_spectrum(name):
    """The closed form of the Occam factor, within four standard errors of 20 probes."""
    spectrum, regularization = spectra.HARD[name].values, 3.0
    *data, loss = spectra.net(spectrum)
    found = evidence.laplace(*data, regularization, classes=2, steps=30, probes=20, loss=loss)
    expected = -0.5 * np.log(np.maximum(1 + len(spectrum) * spectrum / regularization, 0.5)).sum()
    assert abs(found.log_occam - expected) < 4 * found.log_occam.standard_error


def test_few_steps_suffice():
    """Fewer steps than eigenvalues: quadrature of the logarithm converges, within a per cent here."""
    model, x, y = Case("relu", dtype="float32").data
    whole = evidence.laplace(model, x, y, 5.0, steps=100, probes=4)
    few = evidence.laplace(model, x, y, 5.0, steps=12, probes=4)
    assert few.log_occam == pytest.approx(whole.log_occam, rel=0.01)
    assert few.log_occam != whole.log_occam


def gaussian(regularization):
    """A linear model of two weights with Gaussian errors, its data, and the minimum of C in closed form."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(7, 2)), rng.normal(size=7)
    best = np.linalg.solve(x.T @ x + regularization * np.eye(2), x.T @ y)
    return nets.linear(best), x, y, half_square


def half_square(y, outputs):
    """Minus the logarithm of e^(−(y − f)²/2): the normalising constant is left out, as the integral below does."""
    return (y - outputs[:, 0]) ** 2 / 2


@pytest.mark.parametrize("regularization", [0.2, 3.0])
def test_the_evidence_of_a_gaussian_is_its_integral(regularization):
    """∫ e^(−Σ ℓ) N(ω; 0, 1/λ) dω over the plane by brute force; Laplace's approximation is exact for a quadratic."""
    model, x, y, loss = gaussian(regularization)

    def density(b, a):
        prior = np.exp(-regularization * (a * a + b * b) / 2) * regularization / (2 * np.pi)
        return prior * np.exp(-np.sum((y - x @ [a, b]) ** 2) / 2)

    integral, _ = scipy.integrate.dblquad(density, -9, 9, -9, 9, epsabs=1e-9, epsrel=1e-8)
    found = evidence.laplace(model, x, y, regularization, classes=2, method="dense", loss=loss)
    assert found.log_ratio == pytest.approx(-np.log(integral) - 7 * np.log(2), abs=1e-5)
    assert found.log_occam < 0
    assert found.floored == 0


def test_the_evidence_of_a_logistic_regression_is_near_its_integral():
    """One weight, twenty examples: not quadratic, so Laplace's approximation is off, but by a per cent only."""
    rng = np.random.default_rng(3)
    x, regularization = rng.normal(size=(20, 1)), 2.0
    y = (x[:, 0] + rng.normal(size=20) > 0).astype(np.int32)

    def cost(w):
        return np.sum(np.logaddexp(0, x[:, 0] * w) - y * x[:, 0] * w) + regularization * w * w / 2

    grid = np.linspace(-10, 10, 200_001)
    costs = np.array([cost(w) for w in grid[::100]])
    best = scipy.optimize.minimize_scalar(cost).x
    integral = np.trapezoid(np.exp(-costs), grid[::100]) * np.sqrt(regularization / (2 * np.pi))
    model = nets.linear([best])
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    found = evidence.laplace(model, x, y[:, None].astype(float), regularization, 2, "dense", loss=loss)
    assert found.cost == pytest.approx(cost(best), rel=1e-9)
    assert found.log_ratio == pytest.approx(-np.log(integral) - 20 * np.log(2), abs=0.02)


def test_a_spectrum_with_zeros_left_out_and_counted():
    """Eigenvalues of 0 add nothing to the Occam factor; a node that counts for three is three eigenvalues."""
    few = evidence.from_spectrum(5.0, [0.1, 2.0], 10, 4, 0.5)
    padded = evidence.from_spectrum(5.0, [0.1, 2.0, 0.0, 0.0], 10, 4, 0.5)
    assert few[:3] == padded[:3]
    assert (few.smallest, padded.smallest) == (3, 1)
    assert few.log_occam == pytest.approx(-0.5 * (np.log(3) + np.log(41)), rel=1e-13)
    assert few.log_ratio == pytest.approx(5 - few.log_occam - 10 * np.log(4), rel=1e-13)
    counted = evidence.from_spectrum(5.0, [[0.1, 2.0], [0.3, 1.0]], 10, 4, 0.5, counts=[[3, 1], [2, 2]])
    rows = [evidence.from_spectrum(5.0, row, 10, 4, 0.5).log_occam for row in ([0.1] * 3 + [2], [0.3] * 2 + [1] * 2)]
    assert counted.log_occam == pytest.approx(np.mean(rows), rel=1e-13)
    assert counted.log_occam.standard_error == pytest.approx(abs(rows[0] - rows[1]) / 2, rel=1e-13)


def test_negative_eigenvalues_count_as_the_floor():
    """Below λ/2 all are one; the result says how many and how far."""
    found = evidence.from_spectrum(0.0, [-1.0, -1e6, 0.0, 0.1, -0.001], 10, 2, 0.1)
    expected = -0.5 * (2 * np.log(0.5) + np.log(11) + np.log(0.9))
    assert found.log_occam == pytest.approx(expected, rel=1e-12)
    assert found.floored == pytest.approx(0.4)
    assert found.smallest == pytest.approx(1 - 1e8, rel=1e-12)


def test_a_seed_gives_the_same_bytes_and_another_seed_others():
    """The probes are all that is random."""
    model, x, y = Case("tanh").data
    first, again, other = (evidence.laplace(model, x, y, 1.0, steps=5, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.log_occam != other.log_occam


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"regularization": 0}, ["regularization", "above 0", "not 0"]),
        ({"regularization": np.nan}, ["regularization", "nan"]),
        ({"classes": 1}, ["classes", "at least 2", "1"]),
        ({"method": "exact"}, ["method", "lanczos", "dense", "exact"]),
        ({"probes": 1}, ["probes", "at least 2", "1"]),
        ({"loss": keras.losses.mean_squared_error}, ["classes", "loss"]),
    ],
)
def test_unfit_arguments(options, words):
    """The message names what is wrong and what would be right."""
    with cases.refused(*words):
        evidence.laplace(*Case("tanh").data, **{"regularization": 1.0, **options})


def test_unfit_spectra():
    """Eigenvalues are finite, and the logarithm of the Occam factor has a standard error."""
    with pytest.raises(ValueError, match="finite"):
        evidence.from_spectrum(1.0, [np.nan], 5, 2, 1.0)
    assert isinstance(evidence.from_spectrum(1.0, [1.0], 5, 2, 1.0).log_occam, hessian.Estimate)
