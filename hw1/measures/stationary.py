"""Points of zero gradient: how to find them, and in how many directions the loss rises from them.

All nets of one architecture are worked on at once: their parameters are stacked to [members, p] and one gradient
program serves them all (`tf.vectorized_map`). It is meant for small nets in float64: H takes p² numbers a member and
p products an iteration, its eigenvectors p³ operations.

`descend` minimises ‖∇L‖² by a first-order method. `newton` solves ∇L = 0 by damped steps with the exact Hessian, which
go to saddles as to minima. `levenberg_marquardt` goes down a squared error along its narrow valleys to the minimum.
"""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from hw1 import evaluation, models
from hw1.measures import hessian

TOLERANCE = 1e-12  # ‖∇L‖₂ that counts as zero: a few hundred roundings of a float64 gradient of size 1
ZERO = 1e-13  # share of the largest |eigenvalue| up to which an eigenvalue counts as zero, see `minimal_ratio`
DAMPINGS = 10.0 ** -np.arange(1, 14)  # of `newton`, as shares of the largest |eigenvalue|
_LEAST_DAMPING, _MOST_DAMPING = 1e-20, 1e12  # of `levenberg_marquardt`, relative
_AHEAD = 0.1  # share of the step at which the second derivative along it is taken (as in its source)
_GROUP = 25  # members in one compiled call: enough to share its overhead, few enough to stay in the cache
_PER_CALL = 100  # first-order steps in one compiled call


class Point(NamedTuple):
    """Where a search for zero gradient ended.

    Attributes:
        parameters: θ, flat as in ``model.trainable_variables``; shape [p], float64.
        gradient_norm: ‖∇L(θ)‖₂ of the mean loss.
        loss: L(θ).
        iterations: steps that were taken.
        norms: ‖∇L‖₂ before the first step and after each (`descend`: each hundred); shape [steps + 1].
    """

    parameters: np.ndarray
    gradient_norm: float
    loss: float
    iterations: int
    norms: np.ndarray


def _losses(forward, loss, like, thetas, state, x, y):
    """The total loss of each member, shape [members]."""

    def total(member):
        theta, own = member
        return tf.reduce_sum(loss(y, forward(evaluation.unflatten(theta, like), own, x)))

    return tf.vectorized_map(total, (thetas, state))


def _slopes(forward, loss, like, thetas, state, x, y):
    """The total losses [members] and their gradients [members, p]."""
    with tf.GradientTape() as tape:
        tape.watch(thetas)
        totals = _losses(forward, loss, like, thetas, state, x, y)
    return totals, tf.convert_to_tensor(tape.gradient(totals, thetas, unconnected_gradients="zero"))


def _gradients(forward, loss):
    def run(*arguments):
        return _slopes(forward, loss, *arguments)

    return run


def _rows(forward, loss):
    """The program of all Hessians of the total losses, shape [members, p, p]."""

    def run(like, thetas, *arguments):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(thetas)
            gradients = _slopes(forward, loss, like, thetas, *arguments)[1]
        units, zero = tf.eye(thetas.shape[1], dtype=thetas.dtype), tf.zeros_like(thetas)

        def row(unit):
            return tf.convert_to_tensor(tape.gradient(gradients, thetas, zero + unit, unconnected_gradients="zero"))

        return (tf.transpose(tf.map_fn(row, units), [1, 0, 2]),)

    return run


def _values(forward, loss):
    def run(*arguments):
        return (_losses(forward, loss, *arguments),)

    return run


def _adam(forward, loss):
    """The program of some steps of Adam (Kingma and Ba, arXiv 1412.6980) on ½‖∇L‖², one for each rate in `rates`."""

    def run(like, thetas, state, x, y, first, second, step, rates):
        n = tf.cast(x.shape[0], thetas.dtype)

        def update(values, rate):
            thetas, first, second, step = values
            with tf.GradientTape() as tape:
                tape.watch(thetas)
                gradients = _slopes(forward, loss, like, thetas, state, x, y)[1] / n
                objective = tf.reduce_sum(gradients**2) / 2
            slopes = tf.convert_to_tensor(tape.gradient(objective, thetas))
            step += 1
            first = 0.9 * first + 0.1 * slopes
            second = 0.999 * second + 0.001 * slopes**2
            scale = tf.sqrt(second / (1 - 0.999**step)) + 1e-30  # no floor: gradients of all sizes are wanted
            return thetas - rate * first / (1 - 0.9**step) / scale, first, second, step

        return tf.foldl(update, rates, (thetas, first, second, step))

    return run


def _residuals(forward, loss):
    """The program of outputs − targets, shape [members, n · outputs]."""

    def run(like, thetas, state, x, y):
        def one(member):
            theta, own = member
            return tf.reshape(forward(evaluation.unflatten(theta, like), own, x) - y, [-1])

        return (tf.vectorized_map(one, (thetas, state)),)

    return run


def _jacobians(forward, loss):
    """The program of the residuals and of their Jacobians, shape [members, n · outputs, p].

    Each example has a copy of θ of its own, so that one backward pass an output gives the rows of all examples.
    """

    def run(like, thetas, state, x, y):
        members, n = thetas.shape[0], x.shape[0]
        copies, states = tf.repeat(thetas, n, axis=0), [tf.repeat(value, n, axis=0) for value in state]

        def one(example):
            theta, own, row = example
            return forward(evaluation.unflatten(theta, like), own, row[None])[0]

        with tf.GradientTape(persistent=True) as tape:
            tape.watch(copies)
            outputs = tf.vectorized_map(one, (copies, states, tf.concat([x] * members, axis=0)))
            columns = tf.unstack(outputs, axis=-1)
        rows = tf.stack([tape.gradient(column, copies) for column in columns], axis=1)
        residuals = outputs - tf.concat([y] * members, axis=0)
        return tf.reshape(residuals, [members, -1]), tf.reshape(rows, [members, -1, thetas.shape[1]])

    return run


class _Stack:
    """Nets of one architecture side by side, and the examples that they are measured on."""

    def __init__(self, nets: Sequence[keras.Model], x, y, loss):
        if not nets:
            raise ValueError("at least one model is needed")
        examples = [evaluation.check(net, x, y, loss) for net in nets]
        if len({evaluation.architecture(net) for net in nets}) > 1:
            raise ValueError("the models must be of one architecture")
        for net in nets:
            if wrong := [v for v in net.trainable_variables if v.dtype != "float64"]:
                raise ValueError(
                    f"{wrong[0].path} of model {net.name!r} is {wrong[0].dtype}; gradients near zero need float64: "
                    "use hw1.models.with_dtype"
                )
        hessian.product(nets[0], x[:1], y[:1], loss)  # which checks that the second derivative is right
        self.net, self.loss, self.example = nets[0], loss, examples[0]
        self.like, _ = evaluation.variables(nets[0])
        states = [evaluation.variables(net)[1] for net in nets]
        self.state = [np.stack(values) for values in zip(*states, strict=True)]
        self.thetas = np.stack([models.flat_parameters(net) for net in nets])
        self.group = min(len(nets), _GROUP)

    def means(self, program, thetas, members, size=None) -> list[np.ndarray]:
        """The results of a program at `thetas`, each a sum over the examples, divided by their number.

        Calls take `size` members each (None: the stack's), the last padded, so that one shape is compiled once.
        """
        parts = [self.calls(program, thetas, members, size, *part) for part in evaluation.chunks(self.example)]
        return [sum(values) / len(self.example.x) for values in zip(*parts, strict=True)]

    def calls(self, program, thetas, members, size=None, x=None, y=None) -> list[np.ndarray]:
        """The results of a program at `thetas` on some examples (None: all), with the members as first axis."""
        run, size, found = evaluation.compiled(program, self.net, self.loss), size or self.group, []
        x, y = (tf.constant(self.example.x), tf.constant(self.example.y)) if x is None else (x, y)
        for start in range(0, len(thetas), size):
            rows = np.resize(np.arange(start, min(start + size, len(thetas))), size)
            at, state = tf.constant(thetas[rows]), [tf.constant(value[members[rows]]) for value in self.state]
            found.append([value.numpy()[: len(thetas) - start] for value in run(self.like, at, state, x, y)])
        return [np.concatenate(values) for values in zip(*found, strict=True)]

    def hessians(self, thetas, members) -> np.ndarray:
        """Shape [len(thetas), p, p], symmetric."""
        (matrices,) = self.means(_rows, thetas, members)
        return (matrices + matrices.transpose(0, 2, 1)) / 2

    def points(self, thetas, iterations, norms) -> list[Point]:
        """The ends of a search."""
        losses, gradients = self.means(_gradients, thetas, np.arange(len(thetas)))
        lengths = np.linalg.norm(gradients, axis=1)
        return [
            Point(theta, float(length), float(loss), int(taken), np.array(norm))
            for theta, length, loss, taken, norm in zip(thetas, lengths, losses, iterations, norms, strict=True)
        ]


def _check_counts(**counts) -> None:
    for name, count in counts.items():
        if isinstance(count, bool) or not hasattr(count, "__index__") or count < 0:
            raise ValueError(f"{name} must be a whole number of at least 0, not {count!r}")


def _check_positive(**numbers) -> None:
    for name, number in numbers.items():
        if not (np.isfinite(number) and number > 0):
            raise ValueError(f"{name} must be a positive number, not {number!r}")


def descend(
    nets: Sequence[keras.Model], x, y, loss=None, iterations: int = 1000, learning_rate: float = 1e-3
) -> list[Point]:
    """Minimises ‖∇L‖² from the nets' present parameters by Adam, whose step size falls to 0 along a cosine.

    The gradient of ½‖∇L‖² is H∇L, one Hessian-vector product. The slides' way: train on the loss, then on the norm of
    its gradient. All examples are taken in one call.

    Args:
        nets: built Keras models of one architecture, in float64; they are not changed.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: None for softmax cross-entropy of logits, else a function (y, outputs) -> [n].
        iterations: steps of Adam, rounded up to whole hundreds.
        learning_rate: its first step size (our choice: the default in Keras).

    Returns:
        One `Point` a net: where the norm was least among the points after each hundred steps.

    Raises:
        TypeError, ValueError: for models, examples or options that do not fit.
    """
    _check_counts(iterations=iterations)
    _check_positive(learning_rate=learning_rate)
    stack = _Stack(nets, x, y, loss)
    calls, members = -(-iterations // _PER_CALL), np.arange(len(nets))
    run, arguments = (
        evaluation.compiled(_adam, stack.net, loss),
        (tf.constant(stack.example.x), tf.constant(stack.example.y)),
    )
    state, thetas = [tf.constant(value) for value in stack.state], tf.constant(stack.thetas)
    first, second, step = tf.zeros_like(thetas), tf.zeros_like(thetas), tf.constant(0.0, thetas.dtype)
    rates = learning_rate * (1 + np.cos(np.pi * np.arange(calls * _PER_CALL) / max(1, calls * _PER_CALL))) / 2
    norms = [np.linalg.norm(stack.means(_gradients, stack.thetas, members)[1], axis=1)]
    best = stack.thetas.copy()
    for rate in np.split(rates, calls) if calls else []:
        thetas, first, second, step = run(
            stack.like, thetas, state, *arguments, first, second, step, tf.constant(rate, thetas.dtype)
        )
        norms.append(np.linalg.norm(stack.means(_gradients, thetas.numpy(), members)[1], axis=1))
        better = norms[-1] < np.min(norms[:-1], axis=0)
        best[better] = thetas.numpy()[better]
    return stack.points(best, np.full(len(nets), calls * _PER_CALL), np.transpose(norms))


def newton(
    nets: Sequence[keras.Model], x, y, loss=None, iterations: int = 50, tolerance: float = TOLERANCE
) -> list[Point]:
    """Solves ∇L = 0 from the nets' present parameters by damped steps with the exact Hessian H = QΛQᵀ.

    The steps −(H² + μ²)⁻¹H∇L are those of Levenberg and Marquardt for the equations ∇L = 0. Every damping μ of
    `DAMPINGS` times the largest |λ| is tried, which costs a gradient each, and that after which ‖∇L‖ is least is taken.
    They go to saddles as to minima, whichever is near. A net drops out when its gradient is below `tolerance`, or when
    no step lowers ‖∇L‖: at a minimum of ‖∇L‖ that is not stationary, or at the limit of rounding.

    Args:
        nets: built Keras models of one architecture, in float64; they are not changed.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: None for softmax cross-entropy of logits, else a function (y, outputs) -> [n].
        iterations: steps at most.
        tolerance: ‖∇L‖₂ at which a net is done.

    Returns:
        One `Point` a net.

    Raises:
        TypeError, ValueError: for models, examples or options that do not fit.
    """
    _check_counts(iterations=iterations)
    _check_positive(tolerance=tolerance)
    stack = _Stack(nets, x, y, loss)
    thetas, left = stack.thetas.copy(), np.full(len(nets), iterations)
    _, gradients = stack.means(_gradients, thetas, np.arange(len(nets)))
    norms = [[norm] for norm in np.linalg.norm(gradients, axis=1)]
    while len(members := np.flatnonzero((left > 0) & np.array([each[-1] > tolerance for each in norms]))):
        thetas[members], lengths = _damped_steps(stack, thetas[members], members)
        for member, length in zip(members, lengths, strict=True):
            if length < norms[member][-1]:
                norms[member].append(length)
                left[member] -= 1
            else:
                left[member] = 0
    return stack.points(thetas, [len(norm) - 1 for norm in norms], norms)


def _damped_steps(stack, thetas, members):
    """The best step of each net, if any lowers ‖∇L‖: the new parameters and the norms there."""
    values, vectors = np.linalg.eigh(stack.hessians(thetas, members))
    _, gradients = stack.means(_gradients, thetas, members)
    along = np.einsum("mij,mi->mj", vectors, gradients)
    least, found = np.linalg.norm(gradients, axis=1), thetas.copy()
    for damping in DAMPINGS:
        mu = damping * np.abs(values).max(axis=1, keepdims=True) + np.finfo(np.float64).tiny
        trial = thetas - np.einsum("mij,mj->mi", vectors, values / (values**2 + mu**2) * along)
        norms = np.linalg.norm(stack.means(_gradients, trial, members)[1], axis=1)
        better = norms < least  # False where the step led to infinity
        least[better], found[better] = norms[better], trial[better]
    return found, least


def levenberg_marquardt(
    nets: Sequence[keras.Model], x, y, iterations: int = 2000, tolerance: float = TOLERANCE
) -> list[Point]:
    """Minimises the mean squared error by Levenberg and Marquardt's method with geodesic acceleration.

    A step is s + a: s = −(JᵀJ + μI)⁻¹Jᵀr with the Jacobian J of the residuals r, and, so that it follows a curved
    valley, a = −½(JᵀJ + μI)⁻¹Jᵀr″ with their second derivative r″ along s, by a difference (Transtrum and Sethna, arXiv
    1201.5885). Without a the same valleys take hundreds of times as many steps. A step is taken if it lowers the error
    and 2‖a‖ < ¾‖s‖; then μ falls to a third, else it triples. μ is relative to the mean of the diagonal of JJᵀ.

    Args:
        nets: built Keras models of one architecture, in float64; they are not changed.
        x: inputs, shape [n, ...].
        y: targets, of the shape of the outputs, [n, outputs].
        iterations: steps that are tried, at most.
        tolerance: ‖∇L‖₂ at which a net is done.

    Returns:
        One `Point` a net; its `norms` are those after each step that was taken.

    Raises:
        TypeError, ValueError: for models, examples or options that do not fit.
    """
    _check_counts(iterations=iterations)
    _check_positive(tolerance=tolerance)
    if np.ndim(y) != 2:
        raise ValueError(f"y must be targets of shape [n, outputs], not {list(np.shape(y))}")
    stack = _Stack(nets, x, y, keras.losses.mean_squared_error)
    thetas, everyone = stack.thetas.copy(), np.arange(len(nets))
    residuals, jacobians = stack.calls(_jacobians, thetas, everyone)
    gradients = _pull(jacobians, residuals) * (2 / residuals.shape[1])
    norms = [[norm] for norm in np.linalg.norm(gradients, axis=1)]
    damping = np.full(len(nets), 1e-2)
    for _ in range(iterations):
        going = np.array([each[-1] > tolerance for each in norms]) & (damping < _MOST_DAMPING)
        if not going.any():
            break
        members = np.flatnonzero(going)
        trial, curved = _accelerated(stack, thetas, members, residuals, jacobians, damping)
        errors = np.sum(stack.calls(_residuals, trial, members)[0] ** 2, axis=1)
        taken = ~curved & (errors < np.sum(residuals[members] ** 2, axis=1))
        damping[members] = np.where(taken, np.maximum(damping[members] / 3, _LEAST_DAMPING), damping[members] * 3)
        if len(moved := members[taken]):
            thetas[moved] = trial[taken]
            residuals[moved], jacobians[moved] = stack.calls(_jacobians, thetas[moved], moved)
            gradients = _pull(jacobians[moved], residuals[moved]) * (2 / residuals.shape[1])
            for member, norm in zip(moved, np.linalg.norm(gradients, axis=1), strict=True):
                norms[member].append(norm)
    return stack.points(thetas, [len(norm) - 1 for norm in norms], norms)


def _pull(jacobians, vectors):
    """Jᵀv of each member."""
    return np.einsum("mrp,mr->mp", jacobians, vectors)


def _accelerated(stack, thetas, members, residuals, jacobians, damping):
    """Where each member's step s + a leads, and whether a is too large against s for the step to be trusted."""
    theta, residual, jacobian = thetas[members], residuals[members], jacobians[members]
    rows, size = jacobian.shape[1:]
    # (JᵀJ + μI)⁻¹Jᵀ = Jᵀ(JJᵀ + μI)⁻¹: the smaller matrix is inverted.
    wide = rows <= size
    gram = jacobian @ jacobian.transpose(0, 2, 1) if wide else jacobian.transpose(0, 2, 1) @ jacobian
    mu = damping[members] * np.einsum("mrp,mrp->m", jacobian, jacobian) / rows
    inverse = np.linalg.inv(gram + (mu + np.finfo(np.float64).tiny)[:, None, None] * np.eye(gram.shape[1]))

    def solve(vectors):
        if wide:
            return _pull(jacobian, np.einsum("mij,mj->mi", inverse, vectors))
        return np.einsum("mij,mj->mi", inverse, _pull(jacobian, vectors))

    step = -solve(residual)
    ahead = stack.calls(_residuals, theta + _AHEAD * step, members)[0]
    slope = np.einsum("mrp,mp->mr", jacobian, step)
    acceleration = -0.5 * solve((2 / _AHEAD) * ((ahead - residual) / _AHEAD - slope))
    curved = 2 * np.linalg.norm(acceleration, axis=1) >= 0.75 * np.linalg.norm(step, axis=1)
    return theta + step + acceleration, curved


def hessians(nets: Sequence[keras.Model], x, y, loss=None) -> np.ndarray:
    """The Hessians of the mean loss of nets of one architecture in float64, shape [members, p, p], symmetric."""
    stack = _Stack(nets, x, y, loss)
    return stack.hessians(stack.thetas, np.arange(len(nets)))


def signs(eigenvalues, zero: float = ZERO) -> tuple[int, int, int]:
    """How many eigenvalues are negative, zero and positive, where zero means |λ| ≤ zero · max |λ|.

    Args:
        eigenvalues: all of a Hessian's, shape [p].
        zero: the share. The default is for eigenvalues by `numpy.linalg.eigvalsh` in float64: it and the sums behind H
            leave an error of the order of p ε max |λ|, 3e-14 max |λ| for 141 parameters, and eigenvalues that are 0
            by symmetry come out as that, with either sign.

    Raises:
        ValueError: for eigenvalues that are not a vector of finite numbers, or a negative share.
    """
    values = np.asarray(eigenvalues, np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"eigenvalues must be a vector of finite numbers, not of shape {list(values.shape)}")
    if not 0 <= zero < 1:
        raise ValueError(f"zero must be in [0, 1), not {zero!r}")
    bound = zero * np.abs(values).max()
    negative, positive = int((values < -bound).sum()), int((values > bound).sum())
    return negative, len(values) - negative - positive, positive


def minimal_ratio(eigenvalues, zero: float = ZERO) -> float:
    """The share of a Hessian's eigenvalues that are positive; see `signs`. MLDS 2018, homework 1-2."""
    return signs(eigenvalues, zero)[2] / len(eigenvalues)


def sampled_minimal_ratio(model, x, y, radius: float = 1e-3, samples: int = 1000, seed: int = 0, loss=None) -> float:
    """The share of neighbours θ + radius · u with a higher loss, u uniform on the unit sphere.

    The second definition of the minimal ratio in MLDS 2018, homework 1-2. All neighbours are evaluated in one compiled
    call, each from the same θ.

    Args:
        model: a built Keras model in float64; it is not changed.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        radius: distance of the neighbours from θ, in units of the parameters.
        samples: number of neighbours.
        seed: of the directions.
        loss: None for softmax cross-entropy of logits, else a function (y, outputs) -> [n].

    Returns:
        The share, in [0, 1]; at a saddle of H its value is the chance that uᵀHu > 0, for a small radius.

    Raises:
        TypeError, ValueError: for a model, examples or options that do not fit.
    """
    _check_positive(radius=radius, samples=samples)
    stack = _Stack([model], x, y, loss)
    offsets = np.random.default_rng(seed).standard_normal((samples, stack.thetas.shape[1]))
    offsets *= radius / np.linalg.norm(offsets, axis=1, keepdims=True)
    thetas = stack.thetas + np.concatenate([np.zeros_like(stack.thetas), offsets])
    (losses,) = stack.means(_values, thetas, np.zeros(samples + 1, int), samples + 1)
    return float(np.mean(losses[1:] > losses[0]))
