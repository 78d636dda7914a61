"""The spectral density of a symmetric operator by stochastic Lanczos quadrature.

The density of the n eigenvalues λ_i is φ(t) = (1/n) Σ_i δ(t − λ_i). A random unit vector v weights eigenvalue λ_i by
the square of its component along the eigenvector q_i, and E[(v · q_i)²] = 1/n, so that Σ_i (v · q_i)² δ(t − λ_i) is an
unbiased estimate of φ. Lanczos from v approximates this measure by its Gauss quadrature: m steps give a tridiagonal
matrix, whose eigenvalues (the Ritz values) are the m nodes and whose eigenvectors' squared first components are the
weights (Golub and Welsch 1969). It integrates polynomials of degree up to 2m − 1 exactly. The estimate is the mean over
several vectors, the probes; for drawing, each node is smoothed to a Gaussian.

Source: Lin, Saad and Yang, arXiv 1308.5467; for neural nets Ghorbani, Krishnan and Xiao, arXiv 1901.10159.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg

from hw1.evaluation import checks
from hw1.measures import krylov


class Density(NamedTuple):
    """A spectral density by stochastic Lanczos quadrature.

    Attributes:
        grid: eigenvalues at which the density is given, shape [points].
        density: smoothed density at each of them, shape [points]; it integrates to 1.
        nodes: Ritz values, shape [probes, steps].
        weights: of the nodes, shape [probes, steps]; each row sums to 1. ``(weights * nodes**k).sum(1)`` is each
            probe's estimate of trace(H^k) / n.
    """

    grid: np.ndarray
    density: np.ndarray
    nodes: np.ndarray
    weights: np.ndarray


def density(operator, steps: int, probes: int, points: int, width: float, seed: int) -> Density:
    """The spectral density of a symmetric operator; see `hw1.measures.hessian.density` for arguments and errors."""
    for name, value in (("steps", steps), ("probes", probes), ("points", points)):
        checks.whole(name, value, 1)
    checks.positive("width", width)
    rng = checks.generator(seed)
    steps = min(steps, operator.shape[0])
    pairs = [_quadrature(operator, steps, rng.standard_normal(operator.shape[0])) for _ in range(probes)]
    nodes, weights = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    sigma = width * max(np.ptp(nodes), np.abs(nodes).max() * 1e-3, 1e-12)
    grid = np.linspace(nodes.min() - 4 * sigma, nodes.max() + 4 * sigma, points)
    bumps = np.exp(-((grid[:, None] - nodes.ravel()) ** 2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))
    return Density(grid, bumps @ weights.ravel() / probes, nodes, weights)


def _quadrature(operator, steps, start):
    """Nodes and weights of Gauss quadrature for the spectral measure of `start`, each of shape [steps].

    Lanczos loses orthogonality by rounding once a Ritz value has converged, and would then find the same eigenvalue
    again. Each new vector is therefore orthogonalised against all earlier ones, in float64. The cost is small beside
    that of the products. Where the Krylov space is exhausted early, the remaining weights are zero.
    """
    basis = np.zeros((steps, len(start)))
    diagonal, off_diagonal = np.zeros(steps), np.zeros(steps)
    vector, taken = start / np.linalg.norm(start), steps
    for step in range(steps):
        basis[step] = vector
        image = operator.matvec(vector)
        if not step:
            krylov.check_size(image)
        diagonal[step] = vector @ image
        image = image - diagonal[step] * vector
        if step:
            image -= off_diagonal[step - 1] * basis[step - 1]
        for _ in range(2):  # twice is enough, and once if little was subtracted (Parlett 1980)
            before = np.linalg.norm(image)
            image -= basis[: step + 1].T @ (basis[: step + 1] @ image)
            if np.linalg.norm(image) > before / 2:
                break
        off_diagonal[step] = np.linalg.norm(image)
        if off_diagonal[step] <= 1e-10 * max(np.abs(diagonal).max(), 1e-300):
            taken = step + 1
            break
        vector = image / off_diagonal[step]
    values, vectors = scipy.linalg.eigh_tridiagonal(diagonal[:taken], off_diagonal[: taken - 1])
    padding = (0, steps - taken)
    return np.pad(values, padding, mode="edge"), np.pad(vectors[0] ** 2, padding)
