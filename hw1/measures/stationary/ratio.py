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


def rank_ratio(singular_values, parameters: int) -> float:
    """The share of a Hessian's eigenvalues that are positive where all residuals of a squared error vanish.

    There H is (2/N)JᵀJ, with as many positive eigenvalues as J has singular values that are not zero.

    Args:
        singular_values: of J, by `singular_values`.
        parameters: their number p, or that of the residuals if it is larger, decides what is zero: σ ≤ p ε max σ with
            the rounding ε of float64, as J itself is not known better.

    Returns:
        The rank of J as computed, divided by p. Smaller values of σ may be there: it is a lower bound.
    """
    values = np.asarray(singular_values)
    bound = max(parameters, len(values)) * np.finfo(np.float64).eps * values.max()
    return float((values > bound).sum()) / parameters


def minimal_ratio(eigenvalues, zero: float = ZERO) -> float:
    """The share of a Hessian's eigenvalues that are positive (MLDS 2018, homework 1-2); arguments as for `signs`."""
    return signs(eigenvalues, zero)[2] / len(eigenvalues)


def sampled_minimal_ratios(
    nets,
    x,
    y,
    radius: float = 1e-3,
    samples: int = 1000,
    seed: int = 0,
    loss=None,
    thetas=None,
    **options: Unpack[evaluation.Options],
) -> np.ndarray:
    """The share of neighbours θ + radius · u with a higher loss, u uniform on the unit sphere, for several nets.

    At a stationary point and for a small radius it estimates the probability that uᵀHu > 0. With the share r, its
    standard error is √(r (1 − r) / samples). It costs a forward pass for each sample, all of a net in one compiled
    call. The directions are the same for all nets.

    Args:
        nets: built Keras models of one architecture, in float64; they are not changed.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        radius: distance of the neighbours from θ, in units of the parameters.
        samples: number of neighbours.
        seed: of the directions.
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        thetas: the points, shape [m, p], as parameters of one net; None for the nets' present parameters.
        options: see `hw1.evaluation.Options`.

    Returns:
        The shares, in [0, 1], shape [m].

    Raises:
        TypeError, ValueError: for a model, examples or options that do not fit.
    """
    check_positive(radius=radius, samples=samples)
    stack = Stack(nets, x, y, loss, thetas, **options)
    offsets = np.random.default_rng(seed).standard_normal((samples, stack.thetas.shape[1]))
    offsets *= radius / np.linalg.norm(offsets, axis=1, keepdims=True)
    offsets, shares = np.concatenate([np.zeros_like(offsets[:1]), offsets]), []
    for member, theta in enumerate(stack.thetas):
        (losses,) = stack.means(loss_program, theta + offsets, np.full(samples + 1, member), samples + 1)
        shares.append(np.mean(losses[1:] > losses[0]))
    return np.array(shares)
