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
from typing import Unpack

import numpy as np
import tensorflow as tf

from hw1 import evaluation
from hw1.measures import lanczos, products

PARTS = ("hessian", "gauss-newton", "residual")


def _curvature(loss, y, outputs, direction):
    """(∂²ℓ/∂f²) u of every example, shape [n, outputs]; zero for a piecewise linear loss."""
    # Behind an identity: Keras's losses of probabilities look through them to the logits where they can.
    outputs = tf.nest.map_structure(tf.identity, outputs)
    with tf.GradientTape() as outer:
        outer.watch(outputs)
        with tf.GradientTape() as inner:
            inner.watch(outputs)
            total = tf.reduce_sum(loss(y, outputs))
        slope = inner.gradient(total, outputs, unconnected_gradients="zero")
    return outer.gradient(slope, outputs, direction, unconnected_gradients="zero")


def _gauss_newton(net):
    """The program of Gv = Jᵀ (∂²ℓ/∂f²) Jv.

    Reverse mode gives u ↦ Jᵀu. This is linear in u, and the gradient of v · Jᵀu with respect to u is Jv: a second pass
    in reverse mode gives the forward-mode product. A penalty adds its own Hessian, once for each example.
    """

    def run(parameters, state, x, targets, vector):
        parts = evaluation.unflatten(vector, parameters)
        with tf.GradientTape(persistent=True) as inner:
            inner.watch(parameters)
            outputs = net.outputs(parameters, state, x)

        def pull(u):
            return inner.gradient(outputs, parameters, u, unconnected_gradients="zero")

        with tf.GradientTape() as outer:
            zero = tf.nest.map_structure(tf.zeros_like, outputs)
            outer.watch(zero)
            pulled = [tf.convert_to_tensor(part) for part in pull(zero)]
        pushed = outer.gradient(pulled, zero, parts, unconnected_gradients="zero")
        found = evaluation.flatten(pull(_curvature(net.loss, targets, outputs, pushed)))
        return found if net.penalty is None else found + _penalty_product(net, parameters, state, x, parts)

    return run


def _penalty_product(net, parameters, state, x, parts):
    """The product with the Hessian of the penalty, times the number of examples of the chunk."""
    with tf.GradientTape() as outer:
        outer.watch(parameters)
        with tf.GradientTape() as inner:
            inner.watch(parameters)
            penalty = net.penalty(parameters, state, x) * tf.cast(
                tf.shape(tf.nest.flatten(x)[0])[0], parameters[0].dtype
            )
        slopes = inner.gradient(penalty, parameters, unconnected_gradients="zero")
        slopes = [tf.convert_to_tensor(slope) for slope in slopes]
    return evaluation.flatten(outer.gradient(slopes, parameters, parts, unconnected_gradients="zero"))


def product(
    model, x, y=None, loss=None, part: str = "gauss-newton", **options: Unpack[evaluation.Options]
) -> Callable[[np.ndarray], np.ndarray]:
    """Products v ↦ Gv with the Gauss–Newton part of the Hessian of the mean loss, or with another part.

    Gv = mean Jᵀ (∂²ℓ/∂f²) Jv is computed from right to left and forms no matrix. It is exact up to rounding, and costs
    about as much as a product with H (`hw1.measures.products`); as there, the forward pass is kept where it can be.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: None for softmax cross-entropy of logits, else a function (y, outputs) -> [n].
        part: "gauss-newton" for G; "residual" for R = H − G, which takes a product with each, so that its rounding
            error is relative to H; "hessian" for H.
        options: see `hw1.evaluation.Options`. With regularization G includes the Hessian of the model's own losses.

    Returns:
        A function from v, shape [parameters], to the product of that shape in the model's dtype, as
        `hw1.measures.hessian.product` gives it.

    Raises:
        TypeError, ValueError: for a model, examples or a part that do not fit.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {PARTS}, not {part!r}")
    problem = evaluation.Problem(model, x, y, loss, **options)
    whole = products.of(problem)
    if part == "hessian":
        return whole
    run, chunks = problem.compile(_gauss_newton), list(problem.chunks())
    found = products.summed(problem, run, chunks)
    if part == "gauss-newton":
        return found

    def multiply(vector):
        return whole(vector) - found(vector)

    multiply.size = problem.size
    return multiply


def dense(model, x, y=None, loss=None, part: str = "gauss-newton", **options: Unpack[evaluation.Options]) -> np.ndarray:
    """The matrix of a part, from one product per row; for small nets.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: as for `product`.
        part: as for `product`.
        options: as for `product`.

    Returns:
        The symmetric matrix, float64, shape [parameters, parameters].

    Raises:
        TypeError, ValueError: as `product`.
    """
    return lanczos.matrix(lanczos.linear_operator(product(model, x, y, loss, part, **options)))


def spectral_norm(
    model,
    x,
    y=None,
    loss=None,
    part: str = "gauss-newton",
    tolerance: float = 1e-3,
    **options: Unpack[evaluation.Options],
) -> float:
    """The spectral norm of a part, its largest absolute eigenvalue, by Lanczos.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: as for `product`.
        part: as for `product`.
        tolerance: residual at which Lanczos stops; see `hw1.measures.hessian.eigenvalues`, also for cost and error.
        options: as for `product`.

    Returns:
        The norm, in units of loss per squared unit of the parameters.

    Raises:
        TypeError, ValueError: as `product`.
    """
    operator = lanczos.linear_operator(product(model, x, y, loss, part, **options))
    return float(abs(lanczos.eigenvalues(operator, 1, "LM", tolerance)[0]))
