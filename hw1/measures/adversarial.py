"""Adversarial examples: small changes of the images that raise the loss, by one signed step or within an L2 ball.

The attacks look for max ℓ(x') over a neighbourhood of x, for each example by itself: in inference mode the gradient of
the summed loss contains each example's own gradient. They find a lower bound of that maximum. Pixels stay in [0, 1].
Accuracy and loss under attack are those of `hw1.evaluation.evaluate` on the images that are returned.
"""

import functools

import numpy as np
import tensorflow as tf

from hw1 import evaluation
from hw1.evaluation import checks


def _losses_and_gradients(net):
    """The program of the loss of each example, shape [n], and its gradient with respect to the input."""

    def run(parameters, state, x, targets):
        with tf.GradientTape() as tape:
            tape.watch(x)
            losses = net.loss(targets, net.outputs(parameters, state, x))
        return losses, tape.gradient(losses, x, unconnected_gradients="zero")

    return run


def fgsm(model, x, y, epsilon: float, loss=None, chunk_size: int | None = None) -> np.ndarray:
    """The fast gradient sign method of Goodfellow et al. (arXiv 1412.6572): x + ε sign(∂ℓ/∂x), clipped to [0, 1].

    It maximises the linearised loss over the box |x'_i − x_i| ≤ ε, where gᵀ(x' − x) is at most ε ‖g‖₁. For a linear
    model of two classes the loss itself is largest there, for others to first order in ε. It costs one gradient.

    Args:
        model: a built Keras model; it is not changed.
        x: images, floating point in [0, 1], shape [n, ...].
        y: targets, shape [n].
        epsilon: largest change of a pixel, at least 0.
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        chunk_size: images in one compiled call; None chooses.

    Returns:
        The changed images, in the shape and dtype of x.

    Raises:
        TypeError, ValueError: for a model, examples or a radius that do not fit.
    """
    run, parts = _prepare(model, x, y, epsilon, loss, chunk_size)
    return np.concatenate([tf.clip_by_value(at + epsilon * tf.sign(run(at, labels)[1]), 0, 1) for at, labels in parts])


def l2_attack(
    model,
    x,
    y,
    epsilon: float,
    steps: int = 10,
    step_size: float | None = None,
    loss=None,
    chunk_size: int | None = None,
) -> np.ndarray:
    """Projected gradient ascent on each example's loss in the L2 ball of radius ε around it.

    The attack of Madry et al. (arXiv 1706.06083) without their random start. It costs one gradient for each step, and
    one at x. A step has three parts:

    1. a move of fixed length along g = ∂ℓ/∂x, without the pixels at 0 or 1 that would leave [0, 1] (most of MNIST);
    2. the projection onto the ball;
    3. clipping to [0, 1].

    In this order both constraints hold in the end, up to rounding: x lies in [0, 1], so clipping moves no pixel away
    from x and does not leave the ball. (This is not the projection onto the intersection of ball and box, to which the
    steps only come close.) The point of the largest loss on the way is kept, x among them, so that the loss never
    falls. With one step this is a stronger form of the L2 attack x + ε g/‖g‖ of Yao et al. (arXiv 1802.08241): no part
    of the step is lost to pixels that would leave [0, 1].

    Args:
        model: a built Keras model; it is not changed.
        x: images, floating point in [0, 1], shape [n, ...].
        y: targets, shape [n].
        epsilon: radius ‖x' − x‖₂, in units of a pixel's range; at least 0.
        steps: number of steps.
        step_size: length of a step. None: 2.5 ε / steps (Madry et al.), with which the ball's surface can be reached.
        loss: as for `fgsm`.
        chunk_size: as for `fgsm`.

    Returns:
        The changed images, in the shape and dtype of x.

    Raises:
        TypeError, ValueError: for a model, examples, a radius or steps that do not fit.
    """
    checks.whole("steps", steps, 1)
    run, parts = _prepare(model, x, y, epsilon, loss, chunk_size)
    size = 2.5 * epsilon / steps if step_size is None else step_size
    _check_length("step_size", size)
    return np.concatenate([_ascend(run, at, labels, epsilon, steps, size) for at, labels in parts])


def _ascend(run, x, y, epsilon, steps, size):
    """The point of the largest loss of each example of a chunk."""
    best, at, (largest, gradients) = x, x, run(x, y)
    for _ in range(steps):
        at = _step(x, at, gradients, tf.constant(epsilon, x.dtype), tf.constant(size, x.dtype))
        losses, gradients = run(at, y)
        better = losses > largest
        largest = tf.where(better, losses, largest)
        best = tf.where(tf.reshape(better, [-1] + [1] * len(_axes(x))), at, best)
    return best


@tf.function(jit_compile=True)  # three times as fast: one pass over the images instead of a dozen
def _step(x, at, gradients, epsilon, size):
    """A step of length `size`, projected onto the ball around x and clipped to [0, 1]."""
    outwards = ((at <= 0) & (gradients < 0)) | ((at >= 1) & (gradients > 0))
    offset = at + size * _unit(tf.where(outwards, tf.zeros_like(at), gradients)) - x
    offset *= tf.minimum(tf.math.divide_no_nan(epsilon, _norms(offset)), 1)
    return tf.clip_by_value(x + offset, 0, 1)


def _unit(vectors):
    """Each example's vector divided by its norm; zero stays zero.

    The vector is first divided by its largest entry, so that the squares of tiny gradients do not underflow.
    """
    vectors = tf.math.divide_no_nan(vectors, tf.reduce_max(tf.abs(vectors), _axes(vectors), keepdims=True))
    return tf.math.divide_no_nan(vectors, _norms(vectors))


def _norms(vectors):
    return tf.sqrt(tf.reduce_sum(vectors**2, _axes(vectors), keepdims=True))


def _axes(vectors):
    return list(range(1, len(vectors.shape)))


def _prepare(model, x, y, epsilon, loss, chunk_size):
    """Checks the arguments; returns a function (x, y) -> (losses, gradients), and the chunks to apply it to."""
    _check_length("epsilon", epsilon)
    problem = evaluation.Problem(model, x, y, loss, chunk_size)
    images = problem.examples.x
    if not isinstance(images, np.ndarray):
        raise ValueError("x must be one array of images")
    if not np.issubdtype(images.dtype, np.floating) or images.min() < 0 or images.max() > 1:
        raise ValueError(
            f"x must be floating point in [0, 1], not {images.dtype} in [{images.min()}, {images.max()}]; "
            "divide images by 255"
        )
    run = problem.compile(_losses_and_gradients)
    return functools.partial(run, problem.parameters, problem.state), problem.chunks()


def _check_length(name, value) -> None:
    if isinstance(value, bool) or not (np.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be a finite number of at least 0, not {value!r}")
