"""The minimal ratio: in what share of directions the loss rises from a point of zero gradient.

Two definitions are in use (MLDS 2018, homework 1-2): the share of positive eigenvalues of H, and the share of nearby
points with a higher loss. The second depends on the sizes of the eigenvalues too, and the two differ at most saddles.
"""

from typing import Unpack

import numpy as np

from hw1 import evaluation
from hw1.measures.stationary.stack import Stack, check_positive, loss_program

ZERO = 1e-13  # share of the largest |eigenvalue| up to which an eigenvalue counts as zero, see `signs`


def signs(eigenvalues, zero: float = ZERO) -> tuple[int, int, int]:
    """How many eigenvalues are negative, zero and positive, where zero means |λ| ≤ zero · max |λ|.

    Args:
        eigenvalues: all eigenvalues of a Hessian, shape [p].
        zero: the share. The default is for eigenvalues by `numpy.linalg.eigvalsh` in float64: it and the sums that form
            H have an error of the order of p ε max |λ|, 3e-14 max |λ| for 141 parameters, and eigenvalues that are 0
            by symmetry come out of that size, with either sign.

    Returns:
        The numbers of negative, zero and positive eigenvalues; their sum is p.

    Raises:
        ValueError: for eigenvalues that are not a vector of finite numbers, or a share outside [0, 1).
    """
    spectrum = np.asarray(eigenvalues, np.float64)
    if spectrum.ndim != 1 or len(spectrum) == 0 or not np.isfinite(spectrum).all():
        raise ValueError(f"eigenvalues must be a vector of finite numbers, not of shape {list(spectrum.shape)}")
    if not 0 <= zero < 1:
        raise ValueError(f"zero must be in [0, 1), not {zero!r}")
    bound = zero * np.abs(spectrum).max()
    negative, positive = int((spectrum < -bound).sum()), int((spectrum > bound).sum())
    return negative, len(spectrum) - negative - positive, positive


def minimal_ratio(eigenvalues, zero: float = ZERO) -> float:
    """The share of a Hessian's eigenvalues that are positive (MLDS 2018, homework 1-2); arguments as for `signs`."""
    return signs(eigenvalues, zero)[2] / len(eigenvalues)


def sampled_minimal_ratio(
    model,
    x,
    y,
    radius: float = 1e-3,
    samples: int = 1000,
    seed: int = 0,
    loss=None,
    **options: Unpack[evaluation.Options],
) -> float:
    """The share of neighbours θ + radius · u with a higher loss, u uniform on the unit sphere.

    At a stationary point and for a small radius it estimates the probability that uᵀHu > 0. With the share r, its
    standard error is √(r (1 − r) / samples). It costs a forward pass for each sample, all in one compiled call.

    Args:
        model: a built Keras model in float64; it is not changed.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        radius: distance of the neighbours from θ, in units of the parameters.
        samples: number of neighbours.
        seed: of the directions.
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        options: see `hw1.evaluation.Options`.

    Returns:
        The share, in [0, 1].

    Raises:
        TypeError, ValueError: for a model, examples or options that do not fit.
    """
    check_positive(radius=radius, samples=samples)
    stack = Stack([model], x, y, loss, **options)
    offsets = np.random.default_rng(seed).standard_normal((samples, stack.thetas.shape[1]))
    offsets *= radius / np.linalg.norm(offsets, axis=1, keepdims=True)
    thetas = stack.thetas + np.concatenate([np.zeros_like(stack.thetas), offsets])
    (losses,) = stack.means(loss_program, thetas, np.zeros(samples + 1, int), samples + 1)
    return float(np.mean(losses[1:] > losses[0]))
