"""Products v ↦ Hv with the Hessian H = ∇²L(θ) of the mean loss, without forming H.

With v held constant,

    Hv = ∇(∇L(θ) · v),

the gradient of a directional derivative (Pearlmutter, Fast exact multiplication by the Hessian, 1994). It is exact up
to rounding, and has no step size.

Both gradients are taken in reverse mode. Forward over reverse, the usual choice, also multiplies the tangents of the
inputs, which are all zero. The first gradient does not depend on v. What it computes on the way is kept for the
following products (`hw1.evaluation.partial`), each of which then costs the second gradient only: what one gradient of
the loss costs for a net whose first layer is by far the largest, 1.6 times that for curvlinops' net of six dense layers
and 2.4 times that for ResNet-20. Nets with loops, such as recurrent layers that are not unrolled, compute both each
time, for two to three gradients.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Unpack

import numpy as np
import tensorflow as tf

from hw1 import evaluation
from hw1.evaluation import graphs

SCOPES = ("full", "block")
_TOGETHER = 10  # vectors in one call
_KEPT = 10**9  # bytes of intermediate values between products; a net of more computes them anew each time
_LITTLE = 2 * 10**8  # examples · parameters, above which vectors in one call gain nothing
_VERIFIED_ON = 16  # examples from everywhere: few, so that a step crosses few kinks
_AGREEMENT = 0.03  # of differences with derivatives; wrong ones are off by half their size


def gradients(net, parameters, state, x, targets):
    """The gradient of the total loss, and a persistent tape that can differentiate it.

    Returns:
        The gradients with respect to each of `parameters`, as a list, and the tape that has recorded them.
    """
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(parameters)
        with tf.GradientTape() as inner:
            inner.watch(parameters)
            total = tf.reduce_sum(net.losses(parameters, state, x, targets))
        slopes = inner.gradient(total, parameters, unconnected_gradients="zero")
        return [tf.convert_to_tensor(slope) for slope in slopes], outer


def along(vector, slopes, parameters, tape):
    """Hv, shape [parameters]: the gradient of ∇L · v, from what `gradients` returned."""
    parts = evaluation.unflatten(vector, parameters)
    return evaluation.flatten(tape.gradient(slopes, parameters, parts, unconnected_gradients="zero"))


def within_blocks(vector, slopes, parameters, tape):
    """The block-diagonal product: the gradient of each variable is differentiated by it alone."""
    parts = zip(slopes, parameters, evaluation.unflatten(vector, parameters), strict=True)
    return evaluation.flatten([tape.gradient(g, p, v, unconnected_gradients="zero") for g, p, v in parts])


def full_product(net):
    """The program of Hv."""
    return _single(net, along)


def block_product(net):
    """The program of the block-diagonal product."""
    return _single(net, within_blocks)


def _single(net, derivative):
    """The program of the product with one vector."""

    def run(parameters, state, x, targets, vector):
        slopes, tape = gradients(net, parameters, state, x, targets)
        return derivative(vector, slopes, parameters, tape)

    return run


def _full_products(net):
    """The program of HV, shape [k, parameters], for several vectors as rows."""
    return _several(net, along)


def _block_products(net):
    """The program of the block-diagonal products with several vectors."""
    return _several(net, within_blocks)


def _several(net, derivative):
    """The program of the products with several vectors: one gradient, and one matrix product for all of them."""

    def run(parameters, state, x, targets, vectors):
        slopes, tape = gradients(net, parameters, state, x, targets)
        return tf.vectorized_map(lambda vector: derivative(vector, slopes, parameters, tape), vectors)

    return run


def product(
    model,
    x,
    y=None,
    loss=None,
    chunk_size: int | None = None,
    scope: str = "full",
    **options: Unpack[evaluation.Options],
) -> Callable[[np.ndarray], np.ndarray]:
    """Hessian-vector products of the mean loss at the model's present parameters.

    H = (1/n) Σ_i ∇²ℓ_i is a mean over examples, so Hv is the sum of products over chunks of them, divided by n. A call
    of the returned function costs one to three gradients on the n examples. It is more where the intermediate values of
    all examples take more than 1 GB, so that they are not kept; see above.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...]; for other forms of examples see `hw1.evaluation.Problem`.
        y: targets, shape [n].
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        chunk_size: examples per compiled call. It bounds the memory and affects the result only by rounding. None
            chooses such that a call takes at most about 2 GB.
        scope: "full", or "block" for the product with the block-diagonal part of H, in which second derivatives with
            respect to two different variables are zero.
        options: see `hw1.evaluation.Options`.

    Returns:
        A function from v, shape [parameters], to Hv of that shape, in the model's dtype. Vectors follow
        ``model.trainable_variables`` in order, each flattened row by row. The number of parameters is its attribute
        ``size``. Small nets of dense layers on few examples have an attribute ``many`` too, a function from several
        vectors as columns, shape [parameters, k], to their products: ten vectors share their matrix products, which
        takes half the time of ten products at 500 images. Later changes of the model have no effect on it.

    Raises:
        TypeError, ValueError: for a model or examples that do not fit (see `hw1.evaluation.Problem`), a model that
            TensorFlow cannot differentiate twice correctly, and from the returned function for a vector of the wrong
            length.
    """
    return of(evaluation.Problem(model, x, y, loss, chunk_size, **options), scope)


def of(problem: evaluation.Problem, scope: str = "full") -> Callable[[np.ndarray], np.ndarray]:
    """As `product`, for a problem that is already checked."""
    if scope not in SCOPES:
        raise ValueError(f"scope must be one of {SCOPES}, not {scope!r}")
    one, several = (full_product, _full_products) if scope == "full" else (block_product, _block_products)
    run = problem.compile(one)
    parts = list(problem.chunks())
    if problem.key is None:
        check_second_derivative(problem, run, parts[0])
    else:
        key = check_second_derivative, scope, problem.key
        evaluation.remember(key, lambda: check_second_derivative(problem, run, parts[0]))
    multiply, fitting = summed(problem, run, parts), problem.fitting(_TOGETHER)
    is_whole = not problem.regularization or problem.n <= fitting  # the net's own losses may depend on the chunk
    is_small = problem.n * problem.size <= _LITTLE
    if problem.key is not None and problem.is_dense and is_whole and is_small:
        pieces = parts if problem.n <= fitting else list(problem.chunks(fitting))
        multiply.many = _together(problem, problem.compile(several), multiply.chunks, pieces)
    return multiply


def _together(problem, run, chunks, parts: list) -> Callable[[np.ndarray], np.ndarray]:
    """Products with several vectors: `_TOGETHER` in each call of the program `run`, and what is left by `chunks`."""
    shape = tf.TensorSpec([_TOGETHER, problem.size], problem.dtype)
    runs = functools.cache(lambda: fixed(problem, run, parts, shape))

    def many(vectors):
        vectors = np.asarray(vectors)
        if vectors.ndim != 2 or len(vectors) != problem.size:
            raise ValueError(f"the vectors must have shape [{problem.size}, k], not {list(vectors.shape)}")
        images, whole = [], vectors.shape[1] // _TOGETHER * _TOGETHER
        for start in range(0, whole, _TOGETHER):
            rows = tf.constant(vectors[:, start : start + _TOGETHER].T, problem.dtype)
            images += [*(sum(one(rows) for one in runs()).numpy() / problem.n)]
        images += [sum(chunks(vector)).numpy() / problem.n for vector in vectors[:, whole:].T]
        return np.array(images).T if images else np.empty(vectors.shape)

    return many


def fixed(problem: evaluation.Problem, run, parts: list, last: tf.TensorSpec) -> list[Callable]:
    """A program on each chunk of the examples, as functions of its last argument."""
    # The form for given shapes is looked up once: in each call that would take as long as a small product.
    known = [(problem.parameters, problem.state, *part) for part in parts]
    return evaluation.fix(
        [run.get_concrete_function(*given, last) for given in known], known, _KEPT, verify=problem.key is None
    )


def summed(problem: evaluation.Problem, run, parts: list) -> Callable[[np.ndarray], np.ndarray]:
    """Products with the mean over the examples of a matrix, from a program that gives the sums over chunks.

    Args:
        problem: the model and its examples.
        run: compiled program (parameters, state, x, targets, v) -> the sum over the examples of the products with v.
        parts: the chunks of examples.

    Returns:
        The function that `product` describes. Its attribute ``chunks`` is a function from v to an iterator over the
        sums of single chunks, as tensors; ``sizes`` are their numbers of examples.
    """
    size = problem.size
    runs = fixed(problem, run, parts, tf.TensorSpec([size], problem.dtype))

    def chunks(vector):
        if np.shape(vector) != (size,):
            raise ValueError(f"the vector must have shape [{size}], not {list(np.shape(vector))}")
        vector = tf.constant(vector, problem.dtype)
        return (run(vector) for run in runs)

    def multiply(vector):
        return sum(chunks(vector)).numpy() / problem.n

    multiply.size, multiply.chunks = size, chunks
    multiply.sizes = [len(tf.nest.flatten(x)[0]) for x, _ in parts]
    return multiply


def check_second_derivative(problem, run=None, part=None) -> None:
    """Raises ValueError if the product has an operation whose derivative is wrong in TensorFlow, or has none.

    - Max pooling that keeps the shape of its input: the kernel of MaxPoolGradGrad writes its output over its input
      where the two have one shape (also in TensorFlow 2.21).
    - Bilinear resizing: the gradient of its gradient ignores how the corners are aligned.
    - Operations that `hw1.evaluation.graphs.doubtful` names, if the product is not a difference of gradients.

    Args:
        problem: a `hw1.evaluation.Problem`.
        run: the compiled program `full_product` or `block_product` of the problem; None compiles it.
        part: examples as tensors; None takes the first.
    """
    run, part = run or problem.compile(full_product), part or next(problem.examples.first(1).chunks(1))
    with _named_errors():
        operations = graphs.operations(
            run, problem.parameters, problem.state, *part, tf.zeros(problem.size, problem.dtype)
        )
    for operation in operations:
        pooling = operation.type.startswith("MaxPool") and "GradGrad" in operation.type
        if pooling and operation.inputs[0].shape.is_compatible_with(operation.outputs[0].shape):
            raise ValueError(
                "max pooling that keeps the shape of its input cannot be measured, because TensorFlow "
                "differentiates it wrongly the second time: give the layer strides, or leave it out if its pool is 1"
            )
        if operation.type == "ResizeBilinearGrad":
            raise ValueError(
                "bilinear resizing cannot be measured, because TensorFlow differentiates it wrongly the second time: "
                "use interpolation='nearest'"
            )
    if problem.key is None and (doubt := graphs.doubtful(operations)) is not None:
        _verify(problem, doubt)


@contextlib.contextmanager
def _named_errors():
    """Turns what TensorFlow raises where it has no derivative into a ValueError."""
    try:
        yield
    except (LookupError, NotImplementedError, TypeError, AttributeError, tf.errors.OpError) as error:
        raise ValueError(f"TensorFlow cannot differentiate this model twice: {str(error).splitlines()[-1]}") from None


def _verify(problem, doubt) -> None:
    """Raises ValueError unless gradient and product are differences of losses and of gradients, in one direction.

    The direction is half that of the gradient, half random. Rounding spoils small steps, third derivatives and kinks
    spoil large ones: it is enough that the differences of one step agree.
    """
    part = next(problem.examples.spread(_VERIFIED_ON).chunks(_VERIFIED_ON))
    single = problem.dtype == np.float32
    theta = evaluation.flatten(problem.parameters).numpy().astype(np.float64)
    at = problem.compile(evaluation.means.value_and_gradient)

    def total(parameters):
        parameters = evaluation.unflatten(tf.constant(parameters, problem.dtype), problem.parameters)
        loss, slope = at(parameters, problem.state, *part)
        return float(loss), slope.numpy().astype(np.float64)

    with _named_errors():
        loss, slope = total(theta)
        direction = np.random.default_rng(0).normal(size=problem.size)
        direction = direction / np.linalg.norm(direction) + slope / max(np.linalg.norm(slope), 1e-300)
        vector = tf.constant(direction, problem.dtype)
        image = problem.compile(full_product)(problem.parameters, problem.state, *part, vector).numpy()
        large, sizes = (6, np.geomspace(1e-2, 1e-6, 14)) if single else (4, np.geomspace(1e-3, 1e-9, 7))
        for number, size in enumerate(sizes):
            step = size * (np.linalg.norm(theta) or 1.0)
            up, down = (total(theta + sign * step * direction) for sign in (1, -1))
            rounding = 4 * np.finfo(problem.dtype).eps * (abs(loss) + np.linalg.norm(slope)) / step
            pairs = [
                ((a - b) / (2 * step), exact) for a, b, exact in zip(up, down, (slope @ direction, image), strict=True)
            ]
            if number >= large and rounding > _AGREEMENT * min(np.linalg.norm(exact) for _, exact in pairs):
                break  # smaller steps, for strong curvature, would let anything pass
            if all(
                np.linalg.norm(found - exact) <= _AGREEMENT * np.linalg.norm(exact) + rounding for found, exact in pairs
            ):
                return
    raise ValueError(
        f"what TensorFlow gives for a model with {doubt} is not the derivative of what the model computes, so that its "
        "Hessian would mean nothing: measure the model without it"
        + ("; if it is correct, a float64 copy shows it: hw1.models.with_dtype" if single else "")
    )
