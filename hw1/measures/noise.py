"""The noise of the mini-batch gradient: the covariance C of the gradients of single examples.

With the gradient gᵢ = ∇ℓᵢ(θ) of example i and their mean ḡ = ∇L(θ) over all n examples,

    C = (1/n) Σᵢ (gᵢ − ḡ) (gᵢ − ḡ)ᵀ.

The gradient of a mini-batch of B examples has mean ḡ. Its covariance is C/B if the batch is drawn with replacement, and

    C/B · (n − B) / (n − 1) = C (1/B − 1/n) · n / (n − 1)

if it is drawn without (a sample from a finite population). C has rank n − 1 at most.

There are two ways to C. `Covariance` (in `hw1.measures.covariance`) holds the n × p numbers gᵢ − ḡ; with n < p its
eigenvalues come from the n × n Gram matrix of the gᵢ − ḡ. `product` is matrix-free: with the rows gᵢ of J,
Cv = Jᵀ(Jv − mean Jv) / n, computed in chunks of examples. It goes with `hw1.measures.lanczos`.

Source: Smith and Le, arXiv 1710.06451, section 5; Zhu et al., arXiv 1803.00195; Cochran, Sampling Techniques (1977),
theorem 2.2, for batches without replacement.
"""

from collections.abc import Callable, Iterator
from typing import Unpack

import numpy as np
import tensorflow as tf

from hw1 import evaluation
from hw1.evaluation import checks
from hw1.evaluation.means import value_and_gradient
from hw1.evaluation.problem import MEMORY
from hw1.measures import lanczos, products
from hw1.measures.covariance import Covariance
from hw1.measures.lanczos import Eigenpairs


def _each(net):
    """The program of the gradient of each example alone, shape [n, parameters]."""

    def run(parameters, state, x, targets):
        def one(number):
            x_one, targets_one = tf.nest.map_structure(
                lambda part: None if part is None else tf.gather(part, number[None]), (x, targets)
            )
            with tf.GradientTape() as tape:
                tape.watch(parameters)
                loss = tf.reduce_sum(net.losses(parameters, state, x_one, targets_one))
            return evaluation.flatten(tape.gradient(loss, parameters, unconnected_gradients="zero"))

        count = tf.shape(tf.nest.flatten(x)[0])[0]
        return tf.map_fn(one, tf.range(count), fn_output_signature=parameters[0].dtype)

    return run


def _along(net):
    """The program of gᵢ · v for each example, shape [n].

    Reverse mode gives u ↦ Σ uᵢ gᵢ. This is linear in u, and the gradient of v · Σ uᵢ gᵢ with respect to u holds the
    gᵢ · v.
    """

    def run(parameters, state, x, targets, vector):
        with tf.GradientTape(persistent=True) as inner:
            inner.watch(parameters)
            losses = net.losses(parameters, state, x, targets)
        with tf.GradientTape() as outer:
            weights = tf.zeros_like(losses)
            outer.watch(weights)
            pulled = inner.gradient(losses, parameters, weights, unconnected_gradients="zero")
            pulled = [tf.convert_to_tensor(part) for part in pulled]
        parts = evaluation.unflatten(vector, parameters)
        return outer.gradient(pulled, weights, parts, unconnected_gradients="zero")

    return run


def _weighted(net):
    """The program of Σ wᵢ gᵢ, shape [parameters]."""

    def run(parameters, state, x, targets, weights):
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            losses = net.losses(parameters, state, x, targets)
        return evaluation.flatten(tape.gradient(losses, parameters, weights, unconnected_gradients="zero"))

    return run


def _problem(model, x, y, loss, options) -> evaluation.Problem:
    if options.get("regularization"):
        raise ValueError(
            "regularization=True: the model's own losses are not those of single examples; a penalty of the weights is "
            "the same for all examples and leaves their covariance as it is, so measure without it"
        )
    return evaluation.Problem(model, x, y, loss, **options)


def _rows(problem) -> Iterator[np.ndarray]:
    """Yields the gradients of the examples of one chunk after the other, float64, shape [chunk, parameters]."""
    run = problem.compile(_each)
    size = max(1, min(problem.chunk_size, MEMORY // (16 * problem.size)))
    parts = list(problem.chunks(size))
    problem.trace(run, parts)
    for part in parts:
        rows = run(problem.parameters, problem.state, *part).numpy().astype(np.float64)
        if not np.isfinite(rows).all():
            raise ValueError("a gradient of an example is not finite: weights, inputs or the loss are too large")
        yield rows


def gradients(model, x, y=None, loss=None, **options: Unpack[evaluation.Options]) -> np.ndarray:
    """The gradient of the loss of each example alone.

    It costs a forward and a backward pass for every example and is exact up to rounding.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...]; for other forms of examples see `hw1.evaluation.Problem`.
        y: targets, shape [n].
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        options: see `hw1.evaluation.Options`; with sample_weight the gradients are those of wᵢ ℓᵢ.

    Returns:
        Array of shape [n, parameters], float64, computed in the model's dtype. Rows follow
        ``model.trainable_variables`` in order, each flattened row by row.

    Raises:
        TypeError, ValueError: for a model or examples that do not fit, with regularization, and if the array would be
            larger than 2 GB.
    """
    return _gradients(_problem(model, x, y, loss, options))


def _gradients(problem) -> np.ndarray:
    if not _fits(problem):
        raise ValueError(
            f"the gradients of {problem.n} examples in {problem.size} parameters are more than 2 GB: use the functions "
            "trace, product and eigenpairs, which do not hold them, or fewer examples"
        )
    return np.concatenate(list(_rows(problem)))


def _fits(problem) -> bool:
    """Whether the gradients of all examples fit into memory, as float64."""
    return 8 * problem.n * problem.size <= MEMORY


def covariance(model, x, y=None, loss=None, **options: Unpack[evaluation.Options]) -> Covariance:
    """The covariance C of the gradients of the examples, from all of them.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: as for `gradients`.
        options: as for `gradients`.

    Returns:
        A `Covariance`, with trace, eigenvalues and eigenvectors.

    Raises:
        TypeError, ValueError: as `gradients`.
    """
    return Covariance.of(gradients(model, x, y, loss, **options))


def product(model, x, y=None, loss=None, **options: Unpack[evaluation.Options]) -> Callable[[np.ndarray], np.ndarray]:
    """Products v ↦ Cv with the covariance of the gradients of the examples, without forming them.

    A call costs two forward and three backward passes over the examples.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: as for `gradients`.
        options: as for `gradients`.

    Returns:
        A function from v, shape [parameters], to Cv of that shape in the model's dtype, with the attribute ``size``, as
        `hw1.measures.hessian.product` gives it.

    Raises:
        TypeError, ValueError: as `gradients`, and for a model that TensorFlow cannot differentiate twice correctly.
    """
    return _product(_problem(model, x, y, loss, options))


def _product(problem):
    products.of(problem)  # refuses what TensorFlow differentiates wrongly
    along, weighted, chunks = problem.compile(_along), problem.compile(_weighted), list(problem.chunks())
    ends = np.cumsum([0, *(len(tf.nest.flatten(x)[0]) for x, _ in chunks)])
    problem.trace(along, chunks, tf.zeros(problem.size, problem.dtype))
    for part in (chunks[0], chunks[-1]) if problem.key is None else ():
        count = len(tf.nest.flatten(part[0])[0])
        weighted.get_concrete_function(problem.parameters, problem.state, *part, tf.zeros(count, problem.dtype))

    def multiply(vector):
        if np.shape(vector) != (problem.size,):
            raise ValueError(f"the vector must have shape [{problem.size}], not {list(np.shape(vector))}")
        vector = tf.constant(vector, problem.dtype)
        here = problem.parameters, problem.state
        slopes = np.concatenate([along(*here, *part, vector).numpy().astype(np.float64) for part in chunks])
        slopes = tf.constant((slopes - slopes.mean()) / problem.n, problem.dtype)
        parts = zip(chunks, ends[:-1], ends[1:], strict=True)
        return sum(weighted(*here, *part, slopes[begin:end]) for part, begin, end in parts).numpy()

    multiply.size = problem.size
    return multiply


def trace(model, x, y=None, loss=None, **options: Unpack[evaluation.Options]) -> float:
    """The trace of C, exact up to rounding, from the gradients of one chunk of examples after the other.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: as for `gradients`.
        options: as for `gradients`.

    Returns:
        The mean of ‖gᵢ − ḡ‖², in units of the squared gradient.

    Raises:
        TypeError, ValueError: as `gradients`, at any size.
    """
    problem, shift, squares, total = _problem(model, x, y, loss, options), None, 0.0, 0.0
    for rows in _rows(problem):  # about the mean of the first chunk, so that no large squares cancel
        shift = rows.mean(axis=0) if shift is None else shift
        squares, total = squares + np.sum((rows - shift) ** 2), total + np.sum(rows - shift, axis=0)
    return float(max(0.0, squares / problem.n - np.sum((total / problem.n) ** 2)))


def eigenpairs(
    model, x, y=None, k: int = 1, loss=None, tolerance: float = 1e-3, **options: Unpack[evaluation.Options]
) -> Eigenpairs:
    """The k largest eigenvalues of C with their eigenvectors.

    Where n < parameters and the gradients of all examples fit into 2 GB, they come from the n × n Gram matrix, exact up
    to rounding; otherwise from `product` by Lanczos.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        k: how many, at most the number of parameters.
        loss: as for `gradients`.
        tolerance: relative error at which Lanczos stops, see `hw1.measures.hessian.eigenvalues`.
        options: as for `gradients`.

    Returns:
        `Eigenpairs`: values, descending, vectors, residuals, whether each has converged, and the number of products
        with C (0 by the Gram matrix).

    Raises:
        TypeError, ValueError: as `product`, and for another k.
    """
    problem = _problem(model, x, y, loss, options)
    checks.whole("k", k, 1, problem.size)
    if problem.n < problem.size and _fits(problem):
        return Covariance.of(_gradients(problem)).eigenpairs(k)
    return lanczos.eigenpairs(lanczos.linear_operator(_product(problem)), k, "LA", tolerance)


def batch_trace(trace: float, batch_size: int, examples: int | None = None) -> float:
    """The trace of the covariance of the gradient of a mini-batch, predicted from tr C.

    Args:
        trace: tr C over the whole training set.
        batch_size: B, examples of a batch.
        examples: n, for batches drawn without replacement from so many; None for batches drawn with replacement.

    Returns:
        tr C / B, without replacement times (n − B) / (n − 1): 0 for the whole set.

    Raises:
        ValueError: a size is no whole number of at least 1, or the batch is larger than the set.
    """
    if examples is None:
        checks.whole("batch_size", batch_size, 1)
        return trace / batch_size
    checks.whole("examples", examples, 1)
    checks.whole("batch_size", batch_size, 1, examples)
    return trace / batch_size * (examples - batch_size) / max(examples - 1, 1)


def batch_gradients(
    model,
    x,
    y=None,
    batch_size: int = 1,
    draws: int = 100,
    replacement: bool = True,
    seed: int = 0,
    loss=None,
    **options: Unpack[evaluation.Options],
) -> np.ndarray:
    """Gradients of mini-batches drawn at random, all at the model's present parameters.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        batch_size: B, examples of a batch; without replacement at most n.
        draws: number of batches, independent of each other.
        replacement: whether the examples of a batch are drawn with replacement.
        seed: of the draws.
        loss: as for `gradients`.
        options: as for `gradients`; each batch is one compiled call.

    Returns:
        The gradient of the mean loss of each batch, shape [draws, parameters], float64.

    Raises:
        TypeError, ValueError: as `gradients`, and for numbers that do not fit.
    """
    problem, rng = _problem(model, x, y, loss, options), checks.generator(seed)
    checks.whole("draws", draws, 1)
    checks.whole("batch_size", batch_size, 1, np.inf if replacement else problem.n)
    run, (whole,) = problem.compile(value_and_gradient), problem.chunks(problem.n)
    found = np.empty((draws, problem.size))
    for number in range(draws):
        rows = tf.constant(rng.choice(problem.n, batch_size, replace=replacement))
        part = tf.nest.map_structure(lambda a, rows=rows: None if a is None else tf.gather(a, rows), whole)
        found[number] = run(problem.parameters, problem.state, *part)[1].numpy()
    return found / batch_size
