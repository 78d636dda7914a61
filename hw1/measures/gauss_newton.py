"""The two parts of the Hessian, H = G + R: the Gauss–Newton part and the residual.

With the outputs f(x, θ), their Jacobian J = ∂f/∂θ and the loss ℓ(y, f) of an example, the chain rule gives

    G = mean Jᵀ (∂²ℓ/∂f²) J,    R = H − G = mean Σ_k (∂ℓ/∂f_k) ∇²f_k.

G is the curvature of the loss, with the net replaced by its linearisation. It has no negative eigenvalues if ℓ is
convex in f. R is the curvature of the net. It is zero where ∂ℓ/∂f = 0 for every example, and for outputs that are
linear in the parameters. For a piecewise linear loss such as the hinge ∂²ℓ/∂f² = 0 except on the kinks, which
derivatives do not see: G = 0 and H = R.

Source: LeCun et al., Efficient BackProp (1998), section 7; Schraudolph, Fast curvature matrix-vector products (2002);
Sagun et al., arXiv 1706.04454, section 2.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from hw1 import evaluation
from hw1.measures import lanczos, products

PARTS = ("hessian", "gauss-newton", "residual")


def _curvature(loss, y, outputs, direction):
    """(∂²ℓ/∂f²) u of every example, shape [n, outputs]; zero for a piecewise linear loss."""
    with tf.GradientTape() as outer:
        outer.watch(outputs)
        with tf.GradientTape() as inner:
            inner.watch(outputs)
            total = tf.reduce_sum(loss(y, outputs))
        slope = inner.gradient(total, outputs, unconnected_gradients="zero")
    return outer.gradient(slope, outputs, direction, unconnected_gradients="zero")


def _gauss_newton(forward, loss):
    """The program of Gv = Jᵀ (∂²ℓ/∂f²) Jv.

    Reverse mode gives u ↦ Jᵀu. This is linear in u, and the gradient of v · Jᵀu with respect to u is Jv: a second pass
    in reverse mode gives the forward-mode product.
    """

    def run(parameters, state, x, y, vector):
        with tf.GradientTape(persistent=True) as inner:
            inner.watch(parameters)
            outputs = forward(parameters, state, x)

        def pull(u):
            return inner.gradient(outputs, parameters, u, unconnected_gradients="zero")

        with tf.GradientTape() as outer:
            zero = tf.zeros_like(outputs)
            outer.watch(zero)
            pulled = [tf.convert_to_tensor(part) for part in pull(zero)]
        pushed = outer.gradient(pulled, zero, evaluation.unflatten(vector, parameters), unconnected_gradients="zero")
        return evaluation.flatten(pull(_curvature(loss, y, outputs, pushed)))

    return run


def product(
    model, x, y, loss=None, part: str = "gauss-newton", chunk_size: int | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """Products v ↦ Gv with the Gauss–Newton part of the Hessian of the mean loss, or with another part.

    Gv = mean Jᵀ (∂²ℓ/∂f²) Jv is computed from right to left and forms no matrix. It is exact up to rounding, and costs
    a forward pass and three backward passes through the net.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: None for softmax cross-entropy of logits, else a function (y, outputs) -> [n].
        part: "gauss-newton" for G; "residual" for R = H − G, which takes a product with each, so that its rounding
            error is relative to H; "hessian" for H.
        chunk_size: examples per compiled call. It bounds the memory and affects the result only by rounding. None
            chooses.

    Returns:
        A function from v, shape [parameters], to the product of that shape in the model's dtype, as
        `hw1.measures.hessian.product` gives it.

    Raises:
        TypeError, ValueError: for a model, examples or a part that do not fit.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {PARTS}, not {part!r}")
    whole = products.product(model, x, y, loss, chunk_size)
    if part == "hessian":
        return whole
    example = evaluation.check(model, x, y, loss)
    parts, (parameters, state) = list(evaluation.chunks(example, chunk_size)), evaluation.variables(model)
    run, size = evaluation.compiled(_gauss_newton, model, loss), whole.size

    def multiply(vector):
        if np.shape(vector) != (size,):
            raise ValueError(f"the vector must have shape [{size}], not {list(np.shape(vector))}")
        vector = tf.constant(vector, parameters[0].dtype)
        found = sum(run(parameters, state, *chunk, vector) for chunk in parts).numpy() / len(example.x)
        return found if part == "gauss-newton" else whole(vector) - found

    multiply.size = size
    return multiply


def dense(model, x, y, loss=None, part: str = "gauss-newton", chunk_size: int | None = None) -> np.ndarray:
    """The matrix of a part, from one product per row; for small nets.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: as for `product`.
        part: as for `product`.
        chunk_size: as for `product`.

    Returns:
        The symmetric matrix, float64, shape [parameters, parameters].

    Raises:
        TypeError, ValueError: as `product`.
    """
    return lanczos.matrix(lanczos.linear_operator(product(model, x, y, loss, part, chunk_size)))


def spectral_norm(model, x, y, loss=None, part: str = "gauss-newton", tolerance: float = 1e-3) -> float:
    """The spectral norm of a part, its largest absolute eigenvalue, by Lanczos.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: as for `product`.
        part: as for `product`.
        tolerance: residual at which Lanczos stops; see `hw1.measures.hessian.eigenvalues`, also for cost and error.

    Returns:
        The norm, in units of loss per squared unit of the parameters.

    Raises:
        TypeError, ValueError: as `product`.
    """
    operator = lanczos.linear_operator(product(model, x, y, loss, part))
    return float(abs(lanczos.eigenvalues(operator, 1, "LM", tolerance)[0]))
