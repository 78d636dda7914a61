"""The covariance C of vectors, such as the gradients of examples, from all of them: eigenvalues, shares of its trace.

For n vectors gᵢ in p dimensions, C = (1/n) Σ (gᵢ − ḡ)(gᵢ − ḡ)ᵀ. Its eigenvalues that are not 0 are those of the Gram
matrix of the gᵢ − ḡ, divided by n, so that the smaller of an n × n and a p × p matrix gives all of them.
"""

import dataclasses
import functools

import numpy as np
import scipy.linalg

from hw1.evaluation import checks
from hw1.measures.lanczos import Eigenpairs

_ROUNDING = 1e-10  # eigenvalues of the Gram matrix below this share of the largest one are too near to rounding


@dataclasses.dataclass(frozen=True, eq=False)
class Covariance:
    """C from the gradients of all examples.

    Attributes:
        deviations: gᵢ − ḡ, float64, shape [n, parameters].
        mean: ḡ, float64, shape [parameters].
    """

    deviations: np.ndarray
    mean: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> "Covariance":
        """C of the gradients of some examples, shape [n, parameters], as `gradients` gives them."""
        mean = rows.mean(axis=0)
        return cls(rows - mean, mean)

    @property
    def trace(self) -> float:
        """The trace of C: the mean of ‖gᵢ − ḡ‖², in units of the squared gradient."""
        return float(np.sum(self.deviations**2) / len(self.deviations))

    @functools.cached_property
    def _gram(self) -> np.ndarray:
        """(gᵢ − ḡ) · (gⱼ − ḡ) / n, shape [n, n], which has the eigenvalues of C that are not 0."""
        return self.deviations @ self.deviations.T / len(self.deviations)

    @functools.cached_property
    def matrix(self) -> np.ndarray:
        """C itself, shape [parameters, parameters]."""
        return self.deviations.T @ self.deviations / len(self.deviations)

    @property
    def eigenvalues(self) -> np.ndarray:
        """The eigenvalues of C, descending, shape [min(n, parameters)]; with n < parameters all others are 0."""
        n, size = self.deviations.shape
        return np.maximum(scipy.linalg.eigvalsh(self._gram if n < size else self.matrix)[::-1], 0)

    @property
    def participation_ratio(self) -> float:
        """(tr C)² / tr C², the number of directions over which the noise is spread.

        It is p for isotropic noise, C = σ²I, k for noise that is isotropic in k directions, and at most n − 1. NaN if
        C is 0.
        """
        n, size = self.deviations.shape
        square = np.sum((self._gram if n < size else self.matrix) ** 2)
        return float(self.trace**2 / square) if square else float("nan")

    def share(self, basis: np.ndarray) -> float:
        """The share of tr C in a subspace; d/p on average for a random one of dimension d. NaN if C is 0.

        Args:
            basis: orthonormal columns, shape [parameters, d].
        """
        total = np.sum(self.deviations**2)
        return float(np.sum((self.deviations @ basis) ** 2) / total) if total else float("nan")

    def eigenpairs(self, k: int = 1) -> Eigenpairs:
        """The k largest eigenvalues with their eigenvectors.

        With n < parameters they come from the Gram matrix: to its eigenvector w of eigenvalue λ belongs the eigenvector
        Σ wᵢ (gᵢ − ḡ) / √(nλ) of C.

        Args:
            k: from 1 to the number of parameters. Eigenvalues beyond the rank of C are 0, and their eigenvectors
                arbitrary orthonormal ones of its null space.

        Raises:
            ValueError: for another k.
        """
        n, size = self.deviations.shape
        checks.whole("k", k, 1, size)
        if n >= size:
            values, vectors = scipy.linalg.eigh(self.matrix, subset_by_index=[size - k, size - 1])
            values, vectors = values[::-1], vectors[:, ::-1]
        else:
            values, weights = scipy.linalg.eigh(self._gram, subset_by_index=[max(n - k, 0), n - 1])
            kept = np.flatnonzero(values > _ROUNDING * values[-1])[::-1]
            vectors = self.deviations.T @ weights[:, kept] / np.sqrt(n * values[kept])
            missing = k - len(kept)
            others = np.random.default_rng(0).standard_normal((size, missing))
            values = np.concatenate([values[kept], np.zeros(missing)])
            vectors = np.hstack([vectors, np.linalg.qr(np.hstack([vectors, others]))[0][:, len(kept) :]])
        images = self.deviations.T @ (self.deviations @ vectors) / n
        residuals = np.linalg.norm(images - vectors * values, axis=0)
        return Eigenpairs(values, vectors, residuals, np.full(k, True), 0)
