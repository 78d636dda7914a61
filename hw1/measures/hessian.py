"""The Hessian H = ∇²L(θ) of the mean loss: products, exact blocks, eigenvalues, norms, trace, spectral density.

Everything rests on `product`, v ↦ Hv = ∇(∇L · v) (Pearlmutter 1994), which costs less than two gradients and never
forms H. The gradient of the gradient is taken in reverse mode: forward over reverse, the usual choice, multiplies the
inputs' tangents, which are all zero, and takes a third longer here. `blocks` and `dense` form H, for small nets and as
the reference.
A *block* of H belongs to one trainable variable: ``scope="block"`` sets everything between two variables to zero,
as `tf.hessians` does, ``scope="full"`` keeps it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
import tensorflow as tf

from hw1 import evaluation

SCOPES = ("full", "block")
_DENSE_BELOW = 16  # up to this size a matrix is formed from its products and solved exactly
_FLOOR = 0.01  # eigenvalues below this share of ‖H‖₂ are found with the absolute precision of those at it


class Estimate(float):
    """A stochastic estimate: a float, with the standard error of its sampling as ``.standard_error``."""

    standard_error: float

    def __new__(cls, value: float, standard_error: float):
        """Makes the float and attaches its standard error."""
        estimate = super().__new__(cls, value)
        estimate.standard_error = float(standard_error)
        return estimate


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


def _gradients(forward, loss, parameters, state, x, y):
    """The gradients of the total loss, and a tape that differentiates them as often as needed."""
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(parameters)
        with tf.GradientTape() as inner:
            inner.watch(parameters)
            total = tf.reduce_sum(loss(y, forward(parameters, state, x)))
        gradients = inner.gradient(total, parameters, unconnected_gradients="zero")
        return [tf.convert_to_tensor(gradient) for gradient in gradients], outer


def _along(vector, gradients, parameters, tape):
    """Hv: the gradient of ∇L · v."""
    parts = evaluation.unflatten(vector, parameters)
    return evaluation.flatten(tape.gradient(gradients, parameters, parts, unconnected_gradients="zero"))


def _full(forward, loss):
    """The program of Hv."""

    def run(parameters, state, x, y, vector):
        gradients, tape = _gradients(forward, loss, parameters, state, x, y)
        return _along(vector, gradients, parameters, tape)

    return run


def _block(forward, loss):
    """The program of the block-diagonal product: each variable's gradient is differentiated by that variable alone."""

    def run(parameters, state, x, y, vector):
        gradients, tape = _gradients(forward, loss, parameters, state, x, y)
        parts = zip(gradients, parameters, evaluation.unflatten(vector, parameters), strict=True)
        return evaluation.flatten([tape.gradient(g, p, v, unconnected_gradients="zero") for g, p, v in parts])

    return run


def _rows(forward, loss):
    """The program of all rows of H: one gradient of the loss, differentiated once for each unit vector."""

    def run(parameters, state, x, y):
        gradients, tape = _gradients(forward, loss, parameters, state, x, y)
        units = tf.eye(evaluation.flatten(parameters).shape[0], dtype=parameters[0].dtype)
        return tf.map_fn(lambda unit: _along(unit, gradients, parameters, tape), units)

    return run


def _diagonal(forward, loss):
    """The program of H's diagonal: of the product with each unit vector, that vector's own entry."""

    def run(parameters, state, x, y):
        gradients, tape = _gradients(forward, loss, parameters, state, x, y)
        size, dtype = evaluation.flatten(parameters).shape[0], parameters[0].dtype

        def entry(number):
            return _along(tf.one_hot(number, size, dtype=dtype), gradients, parameters, tape)[number]

        return tf.map_fn(entry, tf.range(size), fn_output_signature=dtype)

    return run


def _check_differentiable(run, *arguments) -> None:
    """Raises ValueError if TensorFlow's second derivative in a compiled product is wrong, or if there is none.

    - Max pooling that keeps the shape of its input: the kernel of MaxPoolGradGrad writes its output over its input
      where the two have one shape (in TensorFlow 2.21 too).
    - Bilinear resizing: the gradient of its gradient ignores how the corners are aligned.
    """
    try:
        operations = run.get_concrete_function(*arguments).graph.get_operations()
    except LookupError as error:
        raise ValueError(f"TensorFlow cannot differentiate this model twice: {str(error).splitlines()[-1]}") from None
    for operation in operations:
        pooling = operation.type.startswith("MaxPool") and "GradGrad" in operation.type
        if pooling and operation.inputs[0].shape == operation.outputs[0].shape:
            raise ValueError(
                "max pooling that keeps the shape of its input cannot be measured, because TensorFlow "
                "differentiates it wrongly the second time: give the layer strides, or leave it out if its pool is 1"
            )
        if operation.type == "ResizeBilinearGrad":
            raise ValueError(
                "bilinear resizing cannot be measured, because TensorFlow differentiates it wrongly the second time: "
                "use interpolation='nearest'"
            )


def product(
    model, x, y, loss=None, chunk_size: int | None = None, scope: str = "full"
) -> Callable[[np.ndarray], np.ndarray]:
    """Hessian-vector products of the mean loss at the model's present parameters.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: None for softmax cross-entropy of logits, else a function (y, outputs) -> [n].
        chunk_size: examples per compiled call; it bounds the memory, not the result. None chooses.
        scope: "full", or "block" for the product with the block-diagonal part of H.

    Returns:
        A function from v, shape [parameters], to Hv of that shape in the model's dtype. Vectors follow
        ``model.trainable_variables`` in order, flattened row by row. Later changes of the model are not seen.

    Raises:
        TypeError, ValueError: for a model or examples that do not fit (see `hw1.evaluation.check`), and from the
            returned function for a vector of the wrong length.
    """
    if scope not in SCOPES:
        raise ValueError(f"scope must be one of {SCOPES}, not {scope!r}")
    example = evaluation.check(model, x, y, loss)
    parts = list(evaluation.chunks(example, chunk_size))
    parameters, state = evaluation.variables(model)
    run, dtype = evaluation.compiled(_full if scope == "full" else _block, model, loss), parameters[0].dtype
    size = sum(p.shape.num_elements() for p in parameters)
    _check_differentiable(run, parameters, state, *parts[0], tf.zeros(size, dtype))

    def multiply(vector):
        if np.shape(vector) != (size,):
            raise ValueError(f"the vector must have shape [{size}], not {list(np.shape(vector))}")
        vector = tf.constant(vector, dtype)
        return sum(run(parameters, state, *part, vector) for part in parts).numpy() / len(example.x)

    multiply.size = size
    return multiply


def _tf_hessians(forward, loss):
    def run(parameters, state, x, y):
        total = tf.reduce_sum(loss(y, forward(parameters, state, x)))
        # tf.hessians fails where L does not depend on a variable, or only linearly: a zero makes it depend on all.
        return tf.hessians(total + tf.add_n([tf.reduce_sum(0 * p**2) for p in parameters]), parameters)

    return run


def blocks(model, x, y, loss=None, chunk_size: int | None = None) -> list[np.ndarray]:
    """The diagonal blocks of H, one per trainable variable, through `tf.hessians`: exact, slow, large.

    A variable with n_i entries costs n_i gradients and n_i² numbers: a 784 × 30 kernel takes 2.2 GB and 17 s.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: as for `product`.
        chunk_size: examples per compiled call.

    Returns:
        List of arrays [n_i, n_i], in the order of ``model.trainable_variables``.
    """
    example = evaluation.check(model, x, y, loss)
    product(model, x[:1], y[:1], loss)  # which checks that the second derivative is right
    parameters, state = evaluation.variables(model)
    run = evaluation.compiled(_tf_hessians, model, loss)
    totals = None
    for part in evaluation.chunks(example, chunk_size):
        found = [h.numpy() for h in run(parameters, state, *part)]
        totals = found if totals is None else [a + b for a, b in zip(totals, found, strict=True)]
    sizes = [p.shape.num_elements() for p in parameters]
    return [total.reshape(size, size) / len(example.x) for total, size in zip(totals, sizes, strict=True)]


def dense(model, x, y, loss=None, chunk_size: int | None = None) -> np.ndarray:
    """The whole Hessian, shape [parameters, parameters], symmetric, from as many products as there are parameters."""
    matrix = _mean(_rows, model, x, y, loss, chunk_size)
    return (matrix + matrix.T) / 2


def diagonal(model, x, y, loss=None, chunk_size: int | None = None) -> np.ndarray:
    """The diagonal of H, shape [parameters]: the second derivative of L along the axis of each parameter.

    Exact, from as many products as there are parameters, but without the matrix.
    """
    return _mean(_diagonal, model, x, y, loss, chunk_size)


def _mean(program, model, x, y, loss, chunk_size):
    """The mean over all examples of what a program sums over a chunk of them."""
    example = evaluation.check(model, x, y, loss)
    product(model, x[:1], y[:1], loss)  # which checks that the second derivative is right
    variables, run = evaluation.variables(model), evaluation.compiled(program, model, loss)
    return sum(run(*variables, *part).numpy() for part in evaluation.chunks(example, chunk_size)) / len(example.x)


def _operator(multiply) -> scipy.sparse.linalg.LinearOperator:
    """The products as scipy's operator: vectors in float64, products in the model's dtype."""
    return scipy.sparse.linalg.LinearOperator((multiply.size,) * 2, lambda v: multiply(np.ravel(v)), dtype=np.float64)


def _matrix(operator) -> np.ndarray:
    matrix = np.stack([operator.matvec(row) for row in np.eye(operator.shape[0])])
    return (matrix + matrix.T) / 2


def _eigsh(operator, k, which, tolerance, vectors=False):
    """The k eigenvalues of `operator` that `which` names, descending, with or without their vectors."""
    size = operator.shape[0]
    if which not in ("LM", "LA", "SA"):
        raise ValueError(f"which must be 'LM' (largest magnitude), 'LA' (largest) or 'SA' (smallest), not {which!r}")
    if isinstance(k, bool) or not hasattr(k, "__index__") or not 1 <= k <= size:
        raise ValueError(f"k must be an integer from 1 to {size}, not {k!r}")
    # 8 Lanczos vectors for the largest eigenvalue: half the products of scipy's default of 20. The smallest ones lie
    # close together, where 21 need a third of the products of 8.
    basis = max(2 * k + 1, k + (20 if which == "SA" else 7))
    if size <= max(_DENSE_BELOW, basis):
        values, directions = np.linalg.eigh(_matrix(operator))
        rank = {"LM": -np.abs(values), "LA": -values, "SA": values}[which]
        chosen = np.argsort(rank, kind="stable")[:k]
        values, directions = values[chosen], directions[:, chosen]
    elif which == "LM" and k == 1:
        values, directions = _arpack(operator, k, which, tolerance, basis)
    else:
        norm = abs(_arpack(operator, 1, "LM", 0.1, 8)[0][0])
        values, directions = _arpack(operator, k, which, tolerance, basis, norm)
    order = np.argsort(values)[::-1]
    return (values[order], directions[:, order]) if vectors else values[order]


def _arpack(operator, k, which, tolerance, basis, norm=None):
    """Eigenvalues and eigenvectors by scipy's `eigsh`, in its order.

    ARPACK stops at residuals of tolerance · max(|λ|, u) with u = (machine precision)^⅔. An eigenvalue near 0 would
    have to be far more precise than the products are, and would never be found: so, given ‖H‖₂, H is scaled such
    that u stands for _FLOOR · ‖H‖₂. ARPACK also starts from H v, which has no part in the null space: so H is shifted
    by the same amount, away from the end of the spectrum that is sought.
    """
    size = operator.shape[0]
    start = np.random.default_rng(0).standard_normal(size)
    unit = np.finfo(np.float64).eps ** (2 / 3)
    scale = unit / (_FLOOR * norm) if norm else 1.0
    shift = {"LM": 0.0, "LA": unit, "SA": -unit}[which] if norm else 0.0
    scaled = scipy.sparse.linalg.LinearOperator(
        operator.shape, lambda v: operator.matvec(v) * scale + shift * v, dtype=np.float64
    )
    try:
        values, directions = scipy.sparse.linalg.eigsh(
            scaled, k, which=which, ncv=basis, tol=tolerance, v0=start, maxiter=1000
        )
    except scipy.sparse.linalg.ArpackError:  # it refuses H = 0, the block of a dead layer
        if np.any(operator.matvec(start)):
            raise
        return np.zeros(k), np.eye(size, k)
    return (values - shift) / scale, directions


def eigenvalues(model, x, y, k: int = 1, which: str = "LM", loss=None, tolerance: float = 1e-3, vectors: bool = False):
    """Extreme eigenvalues of the full Hessian by the implicitly restarted Lanczos method (ARPACK's `eigsh`).

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        k: how many.
        which: "LM" largest magnitude, "LA" largest, "SA" smallest (most negative).
        loss: as for `product`.
        tolerance: residual ‖Hv − λv‖ / |λ| at which Lanczos stops (for |λ| below ‖H‖₂ / 100: 100 ‖Hv − λv‖ / ‖H‖₂).
            The error of λ is of the order of its square over the relative gap to the next eigenvalue: below 1e-5 at
            1e-3 on the nets here.
        vectors: return the eigenvectors too.

    Returns:
        The eigenvalues, shape [k], descending; with `vectors` also the eigenvectors, shape [parameters, k].
    """
    return _eigsh(_operator(product(model, x, y, loss)), k, which, tolerance, vectors)


def layer_eigenvalues(
    model, x, y, k: int = 1, which: str = "LM", loss=None, tolerance: float = 1e-3
) -> dict[str, np.ndarray]:
    """Extreme eigenvalues of each layer's diagonal block of H: the curvature when only that layer moves.

    Args:
        model: a built Keras model. A layer is what its variables' paths name: "hidden_1" holds kernel and bias.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        k: how many of each block; of a smaller block all.
        which: as for `eigenvalues`.
        loss: as for `product`.
        tolerance: as for `eigenvalues`.

    Returns:
        Layer → eigenvalues, shape [min(k, parameters of the layer)], descending; in the order of the net.
    """
    multiply, found = product(model, x, y, loss), {}
    for layer, places in layers(model).items():

        def within(vector, places=places):
            whole = np.zeros(multiply.size)
            whole[places] = vector
            return multiply(whole)[places]

        within.size = len(places)
        found[layer] = _eigsh(_operator(within), min(k, within.size), which, tolerance)
    return found


def layers(model) -> dict[str, np.ndarray]:
    """Layer → where its trainable variables stand in the flat vector of parameters, integers."""
    places, start = {}, 0
    for variable in model.trainable_variables:
        size = int(np.prod(variable.shape))
        places.setdefault(variable.path.rpartition("/")[0], []).extend(range(start, start + size))
        start += size
    return {layer: np.array(indices) for layer, indices in places.items()}


def spectral_norm(model, x, y, scope: str = "full", loss=None, tolerance: float = 1e-3) -> float:
    """‖H‖₂, the largest absolute eigenvalue; for ``scope="block"`` the largest over the diagonal blocks."""
    operator = _operator(product(model, x, y, loss, scope=scope))
    return float(abs(_eigsh(operator, 1, "LM", tolerance)[0]))


def trace(model, x, y, loss=None, probes: int = 30, seed: int = 0) -> Estimate:
    """The trace of H by Hutch++ (Meyer et al., arXiv 2010.09649), the same for both scopes.

    A third of the products find the dominant directions, whose share is exact; Hutchinson's estimator with signs
    as probes takes the rest. With as many probes as three times the parameters the result is exact.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: as for `product`.
        probes: number of Hessian-vector products, at least 6.
        seed: of the probes.

    Returns:
        The trace as a float with `.standard_error` (of the sampled remainder).
    """
    operator = _operator(product(model, x, y, loss))
    basis, image, rest = _sketch(operator, probes, seed)
    return _estimate(np.sum(basis * image), [v @ operator.matvec(v) for v in rest])


def frobenius_norm(model, x, y, scope: str = "full", loss=None, probes: int = 90, seed: int = 0) -> Estimate:
    """‖H‖_F = √trace(H²) by Hutch++ on H²; for ``scope="block"`` that of the block-diagonal matrix.

    This is what ``tf.norm(A, 2)`` returns for a matrix A, not its 2-norm.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        scope: "full" or "block".
        loss: as for `product`.
        probes: number of Hessian-vector products, at least 6.
        seed: of the probes.

    Returns:
        The norm as a float with `.standard_error`.
    """
    operator = _operator(product(model, x, y, loss, scope=scope))
    _, image, rest = _sketch(operator, probes, seed)
    square = _estimate(np.sum(image**2), [np.sum(operator.matvec(v) ** 2) for v in rest])
    value = np.sqrt(max(square, 0.0))
    return Estimate(value, square.standard_error / (2 * value) if value else 0.0)


def _sketch(operator, probes, seed):
    """Hutch++'s parts: an orthonormal basis Q of the dominant range, HQ, and sign probes projected off Q."""
    if probes < 6:
        raise ValueError(f"probes must be at least 6, not {probes!r}")
    rng, size, third = np.random.default_rng(seed), operator.shape[0], probes // 3
    signs = rng.choice([-1.0, 1.0], (size, min(third, size)))
    basis = np.linalg.qr(operator.matmat(signs))[0]
    rest = rng.choice([-1.0, 1.0], (third, size))
    rest -= (rest @ basis) @ basis.T
    return basis, operator.matmat(basis), rest


def _estimate(exact: float, samples: list[float]) -> Estimate:
    return Estimate(exact + np.mean(samples), np.std(samples, ddof=1) / np.sqrt(len(samples)))


def density(
    model, x, y, steps: int = 100, probes: int = 4, points: int = 1000, width: float = 0.01, loss=None, seed: int = 0
) -> Density:
    """The spectral density of H by stochastic Lanczos quadrature (Ghorbani et al., arXiv 1901.10159).

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        steps: Lanczos steps, each one product; float64 with full reorthogonalisation.
        probes: random starting vectors (Gaussian, normalised).
        points: of the grid, which covers all nodes with a margin of four widths.
        width: standard deviation of the Gaussian that smooths the nodes, as a share of the spectrum's range.
        loss: as for `product`.
        seed: of the starting vectors.

    Returns:
        A `Density`.
    """
    for name, value in (("steps", steps), ("probes", probes), ("points", points)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value!r}")
    if not width > 0:
        raise ValueError(f"width must be positive, not {width!r}")
    operator, rng = _operator(product(model, x, y, loss)), np.random.default_rng(seed)
    steps = min(steps, operator.shape[0])
    pairs = [_lanczos(operator, steps, rng.standard_normal(operator.shape[0])) for _ in range(probes)]
    nodes, weights = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    sigma = width * max(np.ptp(nodes), np.abs(nodes).max() * 1e-3, 1e-12)
    grid = np.linspace(nodes.min() - 4 * sigma, nodes.max() + 4 * sigma, points)
    bumps = np.exp(-((grid[:, None] - nodes.ravel()) ** 2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))
    return Density(grid, bumps @ weights.ravel() / probes, nodes, weights)


def _lanczos(operator, steps, start):
    """Nodes and weights of Gauss quadrature for the spectral measure of `start`, each of shape [steps].

    Where the Krylov space is exhausted early the remaining weights are zero.
    """
    basis = np.zeros((steps, len(start)))
    diagonal, off_diagonal = np.zeros(steps), np.zeros(steps)
    vector, taken = start / np.linalg.norm(start), steps
    for step in range(steps):
        basis[step] = vector
        image = operator.matvec(vector)
        diagonal[step] = vector @ image
        image = image - diagonal[step] * vector
        if step:
            image -= off_diagonal[step - 1] * basis[step - 1]
        for _ in range(2):  # twice is enough, and once where little is lost (Parlett 1980)
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
