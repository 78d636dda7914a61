"""Symmetric matrices with prescribed eigenvalues, among them spectra that hurt Lanczos or random probes."""

from typing import NamedTuple

import nets
import numpy as np
import scipy.sparse.linalg

operator = scipy.sparse.linalg.aslinearoperator  # a matrix as the algorithms of hw1.measures take it


def matrix(values, seed=0):
    """A symmetric matrix with these eigenvalues and random eigenvectors."""
    size = len(values)
    rotation = np.linalg.qr(np.random.default_rng([seed, size]).normal(size=(size, size)))[0]
    found = rotation * values @ rotation.T
    return (found + found.T) / 2


def net(values, seed=0):
    """The `nets.quadratic` with this Hessian, at its stationary point 0: model, x, y, loss."""
    return nets.quadratic(matrix(values, seed), np.zeros(len(values)), np.zeros(len(values)))


class Spectrum(NamedTuple):
    """Sixty eigenvalues, and how well 30 products do all the same.

    Attributes:
        values: the eigenvalues.
        trace_error: bound on the error of the trace by Hutch++, as a share of that of Hutchinson's estimator. A third
            of the products is left for what the dominant directions do not hold: √3 where none dominates, plus chance.
        norm_error: bound on the relative error of the Frobenius norm.
    """

    values: np.ndarray
    trace_error: float
    norm_error: float


HARD = {
    "an outlier": Spectrum(np.r_[100.0, np.ones(59)], 0.1, 1e-3),
    "fast decay": Spectrum(0.5 ** np.arange(60), 0.01, 1e-4),
    "slow decay": Spectrum(1 / np.sqrt(1 + np.arange(60)), 2.0, 0.05),
    "three steps": Spectrum(np.repeat([10.0, 1.0, 0.01], [5, 20, 35]), 0.6, 0.02),
    "both signs": Spectrum(np.r_[np.linspace(-5, -1, 30), np.linspace(1, 6, 30)], 2.5, 0.05),
    "two clusters": Spectrum(np.r_[10 + 1e-4 * np.arange(10), 1e-6 * np.arange(50)], 1e-4, 1e-5),
}


def net_like(size, outliers=10):
    """Eigenvalues as trained nets have them: outliers, a bulk that touches zero from both sides, a large null space."""
    rng = np.random.default_rng(size)
    tops = 10 * 0.8 ** np.arange(outliers)
    bulk = np.r_[0.5 * rng.beta(0.4, 4, size // 3), -0.2 * rng.beta(0.4, 4, size // 4)] * tops[-1]
    return np.r_[tops, bulk, np.zeros(size - len(tops) - len(bulk))]


EXTREME = {  # eigenvalues that a search for the outermost ones may miss, repeat or confuse
    "one": np.array([-3.0]),
    "two": np.array([1.0, -2.0]),
    "zero": np.zeros(40),
    "identity": np.full(40, -2.0),
    "rank 3": np.r_[2.0, 2.0, -1.0, np.zeros(117)],
    "repeated": np.r_[np.repeat([3.0, 2.0, 1.0], [4, 6, 3]), np.linspace(0, 0.9, 107)],
    "ninefold": np.r_[np.repeat(2 / np.arange(1.0, 10), 9), np.zeros(39)],  # softmax regression with zero weights
    "steps": np.repeat([10.0, 1.0, 0.01], [10, 40, 70]),
    "cluster": np.r_[10 + 1e-4 * np.linspace(0, 1, 20), 1e-6 * np.linspace(-1, 1, 100)],
    "wide cluster": np.r_[1 + 1e-3 * np.linspace(0, 1, 20) ** 2, 0.9 * np.linspace(0, 1, 100)],
    "pairs of both signs": np.r_[np.linspace(0.2, 1, 40), -np.linspace(0.2, 1, 40), np.zeros(40)],
    "nearly a pair": np.r_[1.0, -0.99, 0.9 ** np.arange(1, 239)],
    "nearly repeated": np.r_[1.0, 0.99, 0.9 ** np.arange(1, 239)],
    "one above a crowd": np.r_[1.0, 0.98 - 5e-3 * np.linspace(0, 1, 60), 0.1 * np.linspace(-1, 1, 59)],
    "semicircle": np.cos(np.pi * (np.arange(120) + 0.5) / 120),
    "null space at the end": np.r_[-0.03, np.linspace(0, 1, 40) ** 4, np.zeros(79)],
    "alternating decay": 0.9 ** np.arange(120) * (-1.0) ** np.arange(120),
    "a net": net_like(300),
}


def recorded(matrix):
    """The matrix as an operator that multiplies vector by vector, and the list of what it multiplied."""
    vectors = []

    def multiply(vector):
        vectors.append(np.ravel(vector))
        return matrix @ np.ravel(vector)

    return scipy.sparse.linalg.LinearOperator(matrix.shape, multiply, dtype=np.float64), vectors
