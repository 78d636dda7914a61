"""Symmetric matrices with prescribed eigenvalues, among them some that are hard on Lanczos and on random probes."""

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
