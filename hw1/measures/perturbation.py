"""The mean rise of the loss under random perturbations of the parameters, and the largest that keeps it small.

With δ normal of standard deviation σ in each parameter, or σ |θ_i| relative to its size,

    rise(σ) = E L(θ + δ) − L(θ) = ½ σ² tr(H) + O(σ⁴),    relative: ½ σ² Σ_i H_ii θ_i² + O(σ⁴).

The relative form is the average-case adaptive sharpness of Andriushchenko et al. (arXiv 2302.07011): rescalings of a
ReLU net's weights do not change it. The largest σ at which the rise stays below a stated value is the flatness of
PAC-Bayes bounds, in which the complexity is ‖θ − θ₀‖² / (2σ²) (Neyshabur et al., arXiv 1706.08947; Jiang et al., arXiv
1912.02178, who bound the fall of the accuracy instead).

Draws come in pairs ±δ, in which the gradient cancels. All σ share the draws, so the rise is a smooth function of σ.
"""

from typing import NamedTuple, Unpack

import numpy as np

from hw1 import evaluation
from hw1.evaluation import checks
from hw1.measures import sampling

_HALVINGS = 12  # of a factor of two: σ is found to 2e-4 of itself
_STEP = 2.0**0.125  # over which the slope in ln σ is taken


class Rise(NamedTuple):
    """The mean rise of the loss.

    Attributes:
        value: in units of the loss; negative where the loss falls on average.
        standard_error: of the draws.
        sampling: the error by the choice of examples, with the draws held.
    """

    value: float
    standard_error: float
    sampling: sampling.Sampling


class Radius(NamedTuple):
    """The largest standard deviation that keeps the mean rise small.

    Attributes:
        value: σ; infinite if no σ up to a million times that of the search's start raises the loss so far.
        standard_error: of the draws, to first order.
        sampling: the error by the choice of examples, with the draws held, to first order.
    """

    value: float
    standard_error: float
    sampling: sampling.Sampling


def _losses(net):
    """The program of the loss of each example, shape [n]."""
    return net.losses


def losses_of(problem: evaluation.Problem, theta=None) -> np.ndarray:
    """The loss of each example, float64, shape [n].

    Args:
        problem: model, examples and loss.
        theta: parameters as one vector, shape [parameters]; None for those of the model.
    """
    run, parameters = problem.compile(_losses), problem.parameters
    if theta is not None:
        parameters = evaluation.unflatten(np.asarray(theta, problem.dtype), parameters)
    found = [run(parameters, problem.state, *chunk).numpy().astype(np.float64) for chunk in problem.chunks()]
    return np.concatenate(found)


class _Draws:
    """Rises of each example's loss at θ + σ D z for pairs ±z that all σ share."""

    def __init__(self, problem, draws, adaptive, seed):
        checks.whole("draws", draws, 4)
        rng = checks.generator(seed)
        self._problem = problem
        self._theta = evaluation.flatten(problem.parameters).numpy().astype(np.float64)
        self._scale = np.abs(self._theta) if adaptive else np.ones_like(self._theta)
        if not self._scale.any():
            raise ValueError("all parameters are 0: no perturbation relative to their size moves them")
        self._pairs = rng.standard_normal((draws // 2, problem.size), dtype=np.float32)
        self._own = self._at(self._theta)

    def _at(self, theta):
        """The loss of each example, float64, shape [n]; of a loss that overflows infinity."""
        values = losses_of(self._problem, theta)
        return np.where(np.isfinite(values), values, np.inf)

    def rises(self, sigma) -> np.ndarray:
        """The mean of each pair's rises, of each example: shape [pairs, n]."""
        found = []
        for pair in self._pairs:
            step = sigma * self._scale * pair
            found.append((self._at(self._theta + step) + self._at(self._theta - step)) / 2 - self._own)
        return np.array(found)

    def rise(self, sigma) -> Rise:
        """The mean rise with its errors."""
        found = self.rises(sigma)
        pairs = found.mean(axis=1)
        error = np.std(pairs, ddof=1) / np.sqrt(len(pairs))
        return Rise(float(pairs.mean()), float(error), sampling.mean(found.mean(axis=0)))


def average_rise(
    model,
    x,
    y=None,
    sigma: float = 0.1,
    adaptive: bool = True,
    draws: int = 20,
    loss=None,
    seed: int = 0,
    **options: Unpack[evaluation.Options],
) -> Rise:
    """The mean rise of the loss under normal perturbations.

    It costs a forward pass a draw.

    Args:
        model: a built Keras model; batch normalisation keeps its stored statistics.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        sigma: standard deviation, relative to each parameter's size if `adaptive`, else in units of the parameters.
        adaptive: whether it is relative.
        draws: number of perturbed nets, in pairs, at least 4.
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        seed: of the draws.
        options: see `hw1.evaluation.Options`.

    Returns:
        A `Rise`.

    Raises:
        TypeError, ValueError: for a model, examples or options that do not fit.
    """
    checks.positive("sigma", sigma)
    return _Draws(evaluation.Problem(model, x, y, loss, **options), draws, adaptive, seed).rise(sigma)


def flat_radius(
    model,
    x,
    y=None,
    rise: float = 0.1,
    adaptive: bool = False,
    draws: int = 20,
    loss=None,
    seed: int = 0,
    **options: Unpack[evaluation.Options],
) -> Radius:
    """The largest σ up to which the mean rise stays below a stated value.

    σ is doubled from where the rise is small until it is too large, and the last interval is then halved. A rise that
    exceeds the value between two doublings only is not seen. It costs some 25 forward passes a draw.

    Args:
        model: as for `average_rise`.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        rise: of the mean loss, in its units.
        adaptive: as for `average_rise`.
        draws: as for `average_rise`.
        loss: as for `average_rise`.
        seed: as for `average_rise`.
        options: see `hw1.evaluation.Options`.

    Returns:
        A `Radius`.

    Raises:
        TypeError, ValueError: for a model, examples or options that do not fit.
    """
    checks.positive("rise", rise)
    drawn = _Draws(evaluation.Problem(model, x, y, loss, **options), draws, adaptive, seed)

    def is_inside(sigma):
        return drawn.rises(sigma).mean() <= rise

    low = 1e-2 if adaptive else 1e-2 * max(float(np.sqrt(np.mean(drawn._theta**2))), 1e-3)
    most = 1e6 * low
    while not is_inside(low):
        low /= 2
        if low < 1e-12 * most:
            raise ValueError(f"the loss rises by more than {rise:g} however small the perturbation is")
    while is_inside(2 * low):
        low *= 2
        if low > most:
            return Radius(np.inf, np.inf, sampling.Sampling(np.inf, 0.0))
    high = 2 * low
    for _ in range(_HALVINGS):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if is_inside(middle) else (low, middle)
    up, down = (drawn.rises(low * factor).mean() for factor in (_STEP, 1 / _STEP))
    slope = (up - down) / (2 * np.log(_STEP)) / low  # of the rise in σ
    there = drawn.rise(low)
    by = 1 / slope if slope > 0 else np.inf
    error = there.sampling.standard_error * by
    return Radius(float(low), float(there.standard_error * by), sampling.Sampling(float(error), 0.0))
