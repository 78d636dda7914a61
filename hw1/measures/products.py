"""Products v ↦ Hv with the Hessian H = ∇²L(θ) of the mean loss, without forming H.

With v held constant,

    Hv = ∇(∇L(θ) · v),

the gradient of a directional derivative (Pearlmutter, Fast exact multiplication by the Hessian, 1994). It is exact up
to rounding, has no step size, and costs less than two gradients.

Both gradients are taken in reverse mode. Forward over reverse, the usual choice, also multiplies the tangents of the
inputs, which are all zero, and takes a third longer here.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from hw1 import evaluation

SCOPES = ("full", "block")


def gradients(forward, loss, parameters, state, x, y):
    """The gradient of the total loss, and a persistent tape that can differentiate it.

    Returns:
        The gradients with respect to each of `parameters`, as a list, and the tape that has recorded them.
    """
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(parameters)
        with tf.GradientTape() as inner:
            inner.watch(parameters)
            total = tf.reduce_sum(loss(y, forward(parameters, state, x)))
        slopes = inner.gradient(total, parameters, unconnected_gradients="zero")
        return [tf.convert_to_tensor(slope) for slope in slopes], outer


def along(vector, slopes, parameters, tape):
    """Hv, shape [parameters]: the gradient of ∇L · v, from what `gradients` returned."""
    parts = evaluation.unflatten(vector, parameters)
    return evaluation.flatten(tape.gradient(slopes, parameters, parts, unconnected_gradients="zero"))


def full_product(forward, loss):
    """The program of Hv."""

    def run(parameters, state, x, y, vector):
        slopes, tape = gradients(forward, loss, parameters, state, x, y)
        return along(vector, slopes, parameters, tape)

    return run


def block_product(forward, loss):
    """The program of the block-diagonal product: the gradient of each variable is differentiated by it alone."""

    def run(parameters, state, x, y, vector):
        slopes, tape = gradients(forward, loss, parameters, state, x, y)
        parts = zip(slopes, parameters, evaluation.unflatten(vector, parameters), strict=True)
        return evaluation.flatten([tape.gradient(g, p, v, unconnected_gradients="zero") for g, p, v in parts])

    return run


def product(
    model, x, y, loss=None, chunk_size: int | None = None, scope: str = "full"
) -> Callable[[np.ndarray], np.ndarray]:
    """Hessian-vector products of the mean loss at the model's present parameters.

    H = (1/n) Σ_i ∇²ℓ_i is a mean over examples, so Hv is the sum of products over chunks of them, divided by n. The
    examples pass through a compiled program that is shared by all models of one architecture. A call of the returned
    function costs less than two gradients on the n examples.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: None for softmax cross-entropy of logits, else a function (y, outputs) -> [n].
        chunk_size: examples per compiled call. It bounds the memory and affects the result only by rounding. None
            chooses by the kind of net.
        scope: "full", or "block" for the product with the block-diagonal part of H, in which second derivatives with
            respect to two different variables are zero.

    Returns:
        A function from v, shape [parameters], to Hv of that shape, in the model's dtype. Vectors follow
        ``model.trainable_variables`` in order, each flattened row by row. The number of parameters is its attribute
        ``size``. Later changes of the model have no effect on it.

    Raises:
        TypeError, ValueError: for a model or examples that do not fit (see `hw1.evaluation.check`), a model that
            TensorFlow cannot differentiate twice correctly, and from the returned function for a vector of the wrong
            length.
    """
    if scope not in SCOPES:
        raise ValueError(f"scope must be one of {SCOPES}, not {scope!r}")
    example = evaluation.check(model, x, y, loss)
    parts = list(evaluation.chunks(example, chunk_size))
    parameters, state = evaluation.variables(model)
    program, dtype = full_product if scope == "full" else block_product, parameters[0].dtype
    run = evaluation.compiled(program, model, loss)
    size = sum(p.shape.num_elements() for p in parameters)
    _check_operations(run, parameters, state, *parts[0], tf.zeros(size, dtype))

    def multiply(vector):
        if np.shape(vector) != (size,):
            raise ValueError(f"the vector must have shape [{size}], not {list(np.shape(vector))}")
        vector = tf.constant(vector, dtype)
        return sum(run(parameters, state, *part, vector) for part in parts).numpy() / len(example.x)

    multiply.size = size
    return multiply


def check_second_derivative(model, x, y, loss=None) -> None:
    """Raises what `product` raises for a model that TensorFlow cannot differentiate twice correctly.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...]; the first is enough.
        y: targets, shape [n].
        loss: as for `product`.
    """
    product(model, x[:1], y[:1], loss)


def _check_operations(run, *arguments) -> None:
    """Raises ValueError if the compiled product has an operation whose derivative is wrong in TensorFlow, or has none.

    - Max pooling that keeps the shape of its input: the kernel of MaxPoolGradGrad writes its output over its input
      where the two have one shape (also in TensorFlow 2.21).
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
