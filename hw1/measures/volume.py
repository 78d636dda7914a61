"""The volume of the flat region around a minimum, by rays in random directions.

The region is the largest connected set around θ on which L < L(θ) + ε (Hochreiter and Schmidhuber 1997; Dinh et al.,
arXiv 1703.04933, definition 1). What is measured is the star-shaped part of it around θ: the points whose straight
connection to θ lies in the region. In polar coordinates its volume, a lower bound of the region's, is

    V = ∫ du ∫₀^{r(u)} r^{d−1} dr = V_d · E[r(u)^d],

with u uniform on the unit sphere of d dimensions, r(u) the radius at which the ray θ + ru first reaches L(θ) + ε, and
V_d the volume of the unit ball. The mean over random u is an unbiased estimate of V.
"""

from typing import NamedTuple, Unpack

import numpy as np
import scipy.special

from hw1 import evaluation, models
from hw1.evaluation import checks
from hw1.measures import points
from hw1.measures.stochastic import Estimate

GROWTH = 1.25  # from one scanned radius to the next: a bump of the loss that is narrower than this may be missed
_HALVINGS = 5  # of a scanned interval before the crossing is interpolated: an error of about 1e-5 r


class Volume(NamedTuple):
    """The volume of a star-shaped flat region.

    Attributes:
        log: ln of the volume, in (unit of the parameters)^d, with `.standard_error`: the relative standard error of the
            mean of r^d.
        radius: of the ball that has this volume, in units of z (see `log_volume`).
        radii: r(u) of each ray, in units of z, shape [rays].
        capped: how many rays reached the cap without leaving the region.
        effective: (Σ r^d)² / Σ r^{2d}, the effective number of rays. Below about 10 the few longest rays determine the
            estimate, and value and standard error are both too small.
    """

    log: Estimate
    radius: float
    radii: np.ndarray
    capped: int
    effective: float


def log_volume(
    model,
    x,
    y,
    epsilon: float,
    directions=None,
    rays: int = 100,
    cap: float = 1e3,
    loss=None,
    seed: int = 0,
    **options: Unpack[evaluation.Options],
) -> Volume:
    """The volume of the star-shaped ε-flat region around θ by Monte Carlo; see the module for the definition.

    The rays run through the points θ + Az with ‖z‖ = r. With A the identity this is the volume itself; with fewer
    columns than parameters it is that of the region's section by the subspace they span. Every A with the same span
    gives the same volume, √det(AᵀA) times that in z, but another error. The relative standard error is that of the mean
    of r^d: it falls as 1/√rays, and grows fast with d unless the region is close to a ball in z. With A the identity it
    can be trusted up to about ten dimensions, see `Volume.effective`.

    Each ray is scanned outwards in steps of a factor of 1.25, and the crossing is refined where the ray leaves the
    region. The scan starts at a radius at which the loss is low enough, as it is at four times this radius. A ray costs
    a forward pass for each of some tens of radii.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        epsilon: rise of the mean loss that still counts as flat.
        directions: A. None for the full space; a dimension d for a random subspace drawn with `seed`; a vector of
            shape [parameters] for a diagonal A; or A itself, shape [parameters, d].
        rays: number of rays, at least 2.
        cap: largest radius, in units of z. A ray in a direction that does not change the loss ends there.
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        seed: of subspace and rays.
        options: see `hw1.evaluation.Options`.

    Returns:
        A `Volume`; the model is not changed.

    Raises:
        TypeError, ValueError: for a model, examples or options that do not fit.
    """
    checks.positive("epsilon", epsilon)
    checks.positive("cap", cap)
    checks.whole("rays", rays, 2)
    theta, rng = models.flat_parameters(model).astype(np.float64), checks.generator(seed)
    matrix = _matrix(directions, len(theta), rng)
    dimension = len(theta) if matrix is None else matrix.shape[-1]
    units = rng.standard_normal((rays, dimension))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    if matrix is not None:
        units = units * matrix if matrix.ndim == 1 else units @ matrix.T
    losses = points.losses_at(evaluation.Problem(model, x, y, loss, **options), rays)
    start = losses(theta[None])[0]
    level = start + epsilon
    if not start < level < np.inf:  # no point would lie inside
        raise ValueError(f"a loss of {start:g} is too large to tell a rise of epsilon = {epsilon:g} from rounding")
    radii, capped = _first_crossings(lambda points: losses(points) - level, theta, units, cap)
    return _volume(radii, capped, dimension, _log_stretch(matrix))


def _matrix(directions, size, rng):
    """None, a diagonal of shape [parameters], or a matrix [parameters, d] of full rank."""
    if directions is None:
        return None
    if np.ndim(directions) == 0:
        if isinstance(directions, bool) or not hasattr(directions, "__index__") or not 1 <= directions <= size:
            raise ValueError(
                f"directions must be a dimension from 1 to {size}, a vector or a matrix, not {directions!r}"
            )
        return np.linalg.qr(rng.standard_normal((size, int(directions))))[0]
    matrix = np.asarray(directions, np.float64)
    fits = matrix.ndim in (1, 2) and len(matrix) == size and 1 <= matrix.shape[-1] <= size
    if not fits or not np.isfinite(matrix).all() or not np.isfinite(_log_stretch(matrix)):
        raise ValueError(
            f"directions must be finite and of full rank, of shape [{size}] or [{size}, d], not {list(matrix.shape)}"
        )
    return matrix


def _log_stretch(matrix) -> float:
    """The logarithm of √det(AᵀA), the ratio of volumes of parameters to volumes in z."""
    if matrix is None:
        return 0.0
    with np.errstate(divide="ignore"):
        values = np.abs(matrix) if matrix.ndim == 1 else np.abs(np.diag(np.linalg.qr(matrix)[1]))
        return float(np.log(values * (values > 1e-12 * values.max())).sum())


def _first_crossings(excess, theta, directions, cap):
    """The first radius on each ray where `excess` is not negative, and which rays have none up to the cap."""

    def at(radii, rays):
        values = excess(theta + radii[:, None] * directions[rays])
        return np.where(np.isfinite(values), values, np.inf)  # a loss that overflows is outside

    low, below, inside = (np.full(len(directions), value) for value in (float(cap), np.inf, 0))
    while len(rays := np.flatnonzero(inside < 2)):  # inwards, until two radii in a row lie inside
        low[rays] /= 4
        below[rays] = at(low[rays], rays)
        inside[rays] = np.where(below[rays] < 0, inside[rays] + 1, 0)
    high, above = low.copy(), below.copy()
    while len(rays := np.flatnonzero((above < 0) & (high < cap))):  # outwards, until they lie outside
        low[rays], below[rays] = high[rays], above[rays]
        high[rays] = np.minimum(GROWTH * high[rays], cap)
        above[rays] = at(high[rays], rays)
    capped = above < 0
    rays = np.flatnonzero(~capped)
    for _ in range(_HALVINGS if len(rays) else 0):
        middle = (low[rays] + high[rays]) / 2
        value = at(middle, rays)
        out, into = rays[value >= 0], rays[value < 0]
        high[out], above[out] = middle[value >= 0], value[value >= 0]
        low[into], below[into] = middle[value < 0], value[value < 0]
    with np.errstate(invalid="ignore", divide="ignore"):  # between two points linearly; capped rays take the cap
        share = np.where(np.isfinite(above), below / (below - above), 0.5)
    return np.where(capped, cap, low + share * (high - low)), capped


def _volume(radii, capped, dimension, stretch) -> Volume:
    """The volume from the radii. The mean of r^d is taken through logarithms, because r^d may overflow."""
    logs = dimension * np.log(radii)
    weights = np.exp(logs - logs.max())
    log_mean = logs.max() + np.log(weights.mean())
    error = weights.std(ddof=1) / weights.mean() / np.sqrt(len(weights))
    ball = dimension / 2 * np.log(np.pi) - scipy.special.gammaln(dimension / 2 + 1)
    return Volume(
        log=Estimate(ball + log_mean + stretch, error),
        radius=float(np.exp(log_mean / dimension)),
        radii=radii,
        capped=int(capped.sum()),
        effective=float(weights.sum() ** 2 / (weights**2).sum()),
    )
