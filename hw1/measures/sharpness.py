"""How sharp a minimum is: the Hessian's norm, and the largest loss in a box, a subspace or a ball around it.

The three measures look for the rise of the loss, max L(θ + Δ) − L(θ) relative to 1 + L(θ), over small Δ. The first
takes it from the second-order expansion; the others search for it by an optimiser, and give a lower bound.
"""

from typing import NamedTuple, Unpack

import numpy as np
import scipy.optimize
import tensorflow as tf

from hw1 import evaluation, models
from hw1.evaluation import checks
from hw1.measures import exact, lanczos, products

METHODS = ("lanczos", "tf.hessians")
NORMS = ("spectral", "tf.norm")


def hessian_sharpness(
    model,
    x,
    y=None,
    epsilon: float = 1e-4,
    scope: str = "block",
    method: str = "lanczos",
    loss=None,
    tolerance: float = 1e-3,
    norm: str = "spectral",
    **options: Unpack[evaluation.Options],
) -> float:
    """The course's sharpness: ‖H‖₂ ε² / (2 (1 + L)).

    The recipe of the slides, word for word, is ``method="tf.hessians", norm="tf.norm"``: it takes ‖A‖₂ for
    ``tf.norm(A, 2)``, which is the Frobenius norm (see `norm_of_blocks`).

    To second order, L(θ + Δ) − L(θ) = ∇L · Δ + ½ Δᵀ H Δ. Without the first term its largest value for ‖Δ‖₂ ≤ ε is
    ½ ‖H‖₂ ε², if the eigenvalue of largest magnitude is positive. The first term, at most ‖∇L‖ ε, is neglected; away
    from a minimum it is the larger one at small ε. For the cost and the error of ‖H‖₂ see
    `hw1.measures.hessian.eigenvalues`.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        epsilon: radius of the ball, in units of the parameters.
        scope: "block" sets the Hessian between two variables to zero, as `tf.hessians` does; "full" keeps it.
        method: "lanczos" finds the norm from Hessian-vector products; "tf.hessians" forms the blocks and computes
            all their eigenvalues, which is exact up to rounding and far slower (scope "block" only).
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        tolerance: of Lanczos, see `hw1.measures.hessian.eigenvalues`.
        norm: "spectral" is ‖H‖₂; "tf.norm" is what the slides compute in its place (method "tf.hessians" only;
            `hw1.measures.hessian.frobenius_norm` estimates it from products).
        options: see `hw1.evaluation.Options`.

    Returns:
        The sharpness, a pure number.

    Raises:
        TypeError, ValueError: for a model, examples or options that do not fit.
    """
    checks.positive("epsilon", epsilon)
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, not {method!r}")
    if method == "tf.hessians" and scope != "block":
        raise ValueError("tf.hessians gives the diagonal blocks only: use scope='block' or method='lanczos'")
    _check_norm(norm)
    if method == "lanczos" and norm == "tf.norm":
        raise ValueError("norm='tf.norm' is that of the Hessian's entries, which only method='tf.hessians' forms")
    problem = evaluation.Problem(model, x, y, loss, **options)
    value, _ = evaluation.evaluate_at(problem)
    if method == "lanczos":
        operator = lanczos.linear_operator(products.of(problem, scope))
        size = abs(lanczos.eigenvalues(operator, 1, "LM", tolerance)[0])
    else:
        size = norm_of_blocks(exact.blocks_of(problem), norm)
    return float(size * epsilon**2 / (2 * _scale(value)))


def norm_of_blocks(blocks, norm: str = "spectral") -> float:
    """A norm of the block-diagonal matrix with the given symmetric blocks, as `tf.hessians` gives them.

    ``tf.norm(A, 2)`` has no `axis`, so it flattens A and returns √(Σ Aᵢⱼ²), the Frobenius norm. The spectral norm is
    ``tf.norm(A, 2, axis=(-2, -1))``, the largest singular value. Of a symmetric matrix this is the largest absolute
    eigenvalue, which is computed here because it takes a fraction of the time.

    Args:
        blocks: symmetric matrices, each of shape [n_i, n_i].
        norm: "spectral" is the largest of the blocks' spectral norms; "tf.norm" calls ``tf.norm(A, 2)`` on each block A
            and then on their norms, which is the same as on the whole matrix.

    Returns:
        The norm.

    Raises:
        ValueError: for another `norm`.
    """
    _check_norm(norm)
    if norm == "tf.norm":
        return float(tf.norm([tf.norm(A, 2) for A in blocks], 2))
    return float(max(np.abs(np.linalg.eigvalsh(block)).max() for block in blocks))


def _check_norm(norm) -> None:
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {NORMS}, not {norm!r}")


class Maximum(NamedTuple):
    """The largest loss that was found around θ.

    Attributes:
        value: the sharpness, 100 · (max f − f(θ)) / (1 + f(θ)); never negative, because θ itself is a candidate.
        loss: f(θ).
        largest: the largest f that was found.
        step: where it was found, relative to θ; shape [parameters].
        iterations: of the optimiser from each start.
        messages: of the optimiser at the end of each start.
    """

    value: float
    loss: float
    largest: float
    step: np.ndarray
    iterations: tuple[int, ...]
    messages: tuple[str, ...]


def keskar_sharpness(
    model,
    x,
    y=None,
    epsilon: float = 1e-3,
    manifold: int | np.ndarray | None = None,
    iterations: int = 10,
    starts: int = 3,
    loss=None,
    seed: int = 0,
    **options: Unpack[evaluation.Options],
) -> Maximum:
    """Keskar et al.'s sharpness (arXiv 1609.04836, metric 2.1): the largest loss in a box around θ, in per cent.

    With the mean loss f on the given examples (in the paper: the training set) and a matrix A,

        φ(ε, A) = 100 · (max_{z ∈ C} f(θ + Az) − f(θ)) / (1 + f(θ)),    C = {z : |z_i| ≤ ε (|(A⁺θ)_i| + 1)}.

    In the full space A is the identity. On a manifold A is [parameters, manifold] with standard normal entries and A⁺
    its pseudo-inverse; it bounds z, and θ itself is not projected. The maximum is sought by L-BFGS-B from scipy in
    float64, at one gradient of f for each evaluation. What it finds is a lower bound, which grows with iterations and
    starts. At a minimiser the gradient vanishes and L-BFGS-B would stop at once with 0. Therefore one start follows the
    signs of the gradient, the others are random corners of a box half as wide, and the best point of all is kept, never
    below f(θ).

    The authors released no code for it, and public versions differ from the definition in ways that change the number.
    Some evaluate f on test data; here it is the mean over the given x and y, for which the questions take the whole
    training set. Some use A in place of A⁺; here the pseudo-inverse bounds the box and A moves θ. Some start at θ,
    where L-BFGS-B stops at iteration 0; here no start is at θ, and iterations and messages are returned.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        epsilon: size of the box.
        manifold: None for the full space; a dimension for a random subspace drawn with `seed`; or A itself, shape
            [parameters, dimensions].
        iterations: of L-BFGS-B from each start (10 in the paper).
        starts: number of starting points.
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        seed: of subspace and starts.
        options: see `hw1.evaluation.Options`.

    Returns:
        A `Maximum`, its value in per cent; the model is not changed.

    Raises:
        TypeError, ValueError: for a model, examples or options that do not fit.
    """
    checks.positive("epsilon", epsilon)
    checks.whole("iterations", iterations, 1)
    checks.whole("starts", starts, 1)
    objective = evaluation.objective(model, x, y, loss, **options)
    theta = models.flat_parameters(model).astype(np.float64)
    rng = checks.generator(seed)
    matrix, centre = _manifold(manifold, theta, rng)
    bound = epsilon * (np.abs(centre) + 1)
    start_loss, gradient = objective(theta)

    def negative(z):
        value, slope = objective(theta + (z if matrix is None else matrix @ z))
        return -value, -(slope if matrix is None else matrix.T @ slope)

    uphill = np.sign(gradient if matrix is None else matrix.T @ gradient)
    corners = [uphill, *rng.choice([-1.0, 1.0], (starts - 1, len(bound)))]
    best, results = (start_loss, np.zeros_like(bound)), []
    for corner in corners:
        result = scipy.optimize.minimize(
            negative,
            corner * bound / 2,
            jac=True,
            method="L-BFGS-B",
            bounds=scipy.optimize.Bounds(-bound, bound),
            options={"maxiter": iterations, "ftol": 0, "gtol": 0},
        )
        results.append(result)
        best = max(best, (-result.fun, result.x), key=lambda pair: pair[0])
    largest, z = best
    return Maximum(
        value=100 * (largest - start_loss) / _scale(start_loss),
        loss=start_loss,
        largest=largest,
        step=z if matrix is None else matrix @ z,
        iterations=tuple(int(result.nit) for result in results),
        messages=tuple(str(result.message) for result in results),
    )


def _manifold(manifold, theta, rng):
    """The matrix A and A⁺θ; in the full space None and θ."""
    if manifold is None:
        return None, theta
    size = len(theta)
    if np.ndim(manifold) == 0:
        if isinstance(manifold, bool) or not hasattr(manifold, "__index__") or not 1 <= manifold <= size:
            raise ValueError(f"manifold must be a dimension from 1 to {size} or a matrix, not {manifold!r}")
        matrix = rng.standard_normal((size, int(manifold)))
    else:
        matrix = np.asarray(manifold, np.float64)
        if matrix.ndim != 2 or len(matrix) != size or not np.isfinite(matrix).all():
            raise ValueError(f"the manifold's matrix must be finite, of shape [{size}, p], not {list(matrix.shape)}")
    gram = matrix.T @ matrix
    if np.linalg.cond(gram) < 1e4:  # as for random columns: the normal equations are as exact, and five times as fast
        return matrix, np.linalg.solve(gram, matrix.T @ theta)
    return matrix, np.linalg.lstsq(matrix, theta, rcond=None)[0]


def ball_sharpness(
    model,
    x,
    y=None,
    epsilon: float = 1e-4,
    iterations: int = 20,
    starts: int = 3,
    loss=None,
    seed: int = 0,
    adaptive: bool = False,
    **options: Unpack[evaluation.Options],
) -> Maximum:
    """The largest loss in the L2 ball of radius ε around θ, by projected gradient ascent.

    The course's slides define sharpness by

        max_{‖Δ‖₂ ≤ ε} (L(θ + Δ) − L(θ)) / (1 + L(θ))

    and then approximate it by ‖H‖₂ ε² / (2 (1 + L)); this is the maximum itself, as far as the search finds it: a lower
    bound. A step moves Δ along the gradient at θ + Δ and projects it back onto the ball. Its length is a thousand radii
    at first, which for a quadratic loss is the power iteration, and an eighth of that whenever the loss has not risen.
    A step costs one gradient.

    With `adaptive` the ball is an ellipsoid with a half-axis of ε |θ_i| for each parameter, Δ = |θ| ⊙ u with ‖u‖₂ ≤ ε:
    the worst-case adaptive sharpness (Kwon et al., arXiv 2102.11600; Andriushchenko et al., arXiv 2302.07011), which
    rescalings of a ReLU net's weights do not change.

    Below ε ≈ 1e-3 the rise is lost to rounding in float32: measure a float64 net (`hw1.models.with_dtype`) there.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        epsilon: radius, in units of the parameters.
        iterations: gradient steps from each start.
        starts: number of starting points: one along the gradient at θ, the others in random directions.
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        seed: of the random directions.
        adaptive: measure distances relative to each parameter's size; ε is then a pure number.
        options: see `hw1.evaluation.Options`.

    Returns:
        A `Maximum`, its value in per cent as in `keskar_sharpness`, 100 times the scale of `hessian_sharpness`.

    Raises:
        TypeError, ValueError: for a model, examples or options that do not fit.
    """
    checks.positive("epsilon", epsilon)
    checks.whole("iterations", iterations, 1)
    checks.whole("starts", starts, 1)
    whole = evaluation.objective(model, x, y, loss, **options)
    theta = models.flat_parameters(model).astype(np.float64)
    scale, centre = np.abs(theta) if adaptive else 1.0, np.zeros_like(theta)

    def objective(step):
        value, slope = whole(theta + scale * step)
        return value, scale * slope

    start_loss, gradient = objective(centre)
    rng = checks.generator(seed)
    best, taken, messages = (start_loss, centre), [], []
    for direction in [gradient, *rng.standard_normal((starts - 1, len(theta)))]:
        value, step, used, message = _ascend(objective, centre, direction, epsilon, iterations)
        best = max(best, (value, step), key=lambda pair: pair[0])
        taken.append(used)
        messages.append(message)
    largest, step = best[0], scale * best[1]
    value = 100 * (largest - start_loss) / _scale(start_loss)
    return Maximum(value, start_loss, largest, step, tuple(taken), tuple(messages))


def _ascend(objective, theta, direction, epsilon, iterations):
    """Projected gradient ascent from the sphere's point in `direction`: (loss, step, iterations, message)."""
    if not np.any(direction):
        return -np.inf, np.zeros_like(theta), 0, "no direction to start in: the gradient is zero"
    step = direction * (epsilon / np.linalg.norm(direction))
    value, gradient = objective(theta + step)
    length = 1e3  # of a step, in radii
    for iteration in range(1, iterations + 1):
        slope = np.linalg.norm(gradient)
        if slope == 0 or length < 1e-3:
            return value, step, iteration, "converged"
        candidate = step + gradient * (length * epsilon / slope)
        candidate *= min(1.0, epsilon / np.linalg.norm(candidate))
        new_value, new_gradient = objective(theta + candidate)
        if new_value > value:
            value, gradient, step = new_value, new_gradient, candidate
        else:
            length /= 8
    return value, step, iterations, f"{iterations} iterations"


def _scale(loss: float) -> float:
    """1 + f, the denominator of all three measures, which suits losses that are not negative."""
    if not 1 + loss > 0:
        raise ValueError(f"the loss is {loss:.3g}; sharpness relative to 1 + loss needs a loss above -1")
    return 1 + loss
