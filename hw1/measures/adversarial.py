"""Small changes of the images that raise the loss most: one signed step (FGSM), and steps within an L2 ball.

Images are pixels in [0, 1] and stay there. Every example is attacked by itself: in inference mode the gradient of the
summed loss holds each example's own gradient. Accuracy and loss under attack are those of `hw1.evaluation.evaluate` on
the images that come back.
"""

import functools

import numpy as np
import tensorflow as tf

from hw1 import evaluation


def _losses_and_gradients(forward, loss):
    def run(parameters, state, x, y):
        with tf.GradientTape() as tape:
            tape.watch(x)
            losses = loss(y, forward(parameters, state, x))
        return losses, tape.gradient(losses, x, unconnected_gradients="zero")

    return run


def fgsm(model, x, y, epsilon: float, loss=None) -> np.ndarray:
    """The fast gradient sign method of Goodfellow et al. (arXiv 1412.6572): x + ε sign(∂ℓ/∂x), clipped to [0, 1].

    For a linear model of two classes that is the largest loss in the box |x'ᵢ − xᵢ| ≤ ε, for others to first order.

    Args:
        model: a built Keras model; it is not changed.
        x: images, floating point in [0, 1], shape [n, ...].
        y: targets, shape [n].
        epsilon: largest change of a pixel, at least 0.
        loss: None for softmax cross-entropy of logits, else a function (y, outputs) -> [n].

    Returns:
        The changed images, of the shape and dtype of x.

    Raises:
        TypeError, ValueError: for a model, examples or a radius that do not fit.
    """
    run, parts = _prepare(model, x, y, epsilon, loss)
    return np.concatenate([tf.clip_by_value(at + epsilon * tf.sign(run(at, labels)[1]), 0, 1) for at, labels in parts])


def l2_attack(model, x, y, epsilon: float, steps: int = 10, step_size: float | None = None, loss=None) -> np.ndarray:
    """Projected gradient ascent on each example's loss in the L2 ball of radius ε about it.

    The attack of Madry et al. (arXiv 1706.06083), without their random start. A step of fixed length along ∂ℓ/∂x, in
    which pixels at 0 or 1 that it would push outwards are left out (MNIST is mostly such pixels), is followed by a
    projection onto the ball and then by clipping to [0, 1]. In this order both hold at the end, to rounding: x lies in
    [0, 1], so clipping moves no pixel away from x and cannot leave the ball. (It is not the projection onto the
    intersection, which the steps only approach.) Of all points on the way, x among them, that of the largest loss is
    kept: the loss never falls. With one step it is a stronger form of Yao et al.'s
    L2 attack x + ε g/‖g‖ (arXiv 1802.08241): what would leave [0, 1] is spent on the other pixels.

    Args:
        model: a built Keras model; it is not changed.
        x: images, floating point in [0, 1], shape [n, ...].
        y: targets, shape [n].
        epsilon: radius ‖x' − x‖₂, in units of a pixel's range; at least 0.
        steps: of the ascent.
        step_size: length of a step. None: 2.5 ε / steps (Madry et al.), so that the ball's surface is reached.
        loss: as for `fgsm`.

    Returns:
        The changed images, of the shape and dtype of x.

    Raises:
        TypeError, ValueError: for a model, examples, a radius or steps that do not fit.
    """
    if isinstance(steps, bool) or not hasattr(steps, "__index__") or steps < 1:
        raise ValueError(f"steps must be a whole number of at least 1, not {steps!r}")
    run, parts = _prepare(model, x, y, epsilon, loss)
    size = 2.5 * epsilon / steps if step_size is None else step_size
    _check_length("step_size", size)
    return np.concatenate([_ascend(run, at, labels, epsilon, steps, size) for at, labels in parts])


def _ascend(run, x, y, epsilon, steps, size):
    best, at, (largest, gradients) = x, x, run(x, y)
    for _ in range(steps):
        at = _step(x, at, gradients, tf.constant(epsilon, x.dtype), tf.constant(size, x.dtype))
        losses, gradients = run(at, y)
        better = losses > largest
        largest = tf.where(better, losses, largest)
        best = tf.where(tf.reshape(better, [-1] + [1] * len(_axes(x))), at, best)
    return best


@tf.function(jit_compile=True)  # a third of the time: one pass over the images instead of a dozen
def _step(x, at, gradients, epsilon, size):
    """A step of length `size`, back into the ball about x, back into [0, 1]."""
    outwards = ((at <= 0) & (gradients < 0)) | ((at >= 1) & (gradients > 0))
    offset = at + size * _unit(tf.where(outwards, tf.zeros_like(at), gradients)) - x
    offset *= tf.minimum(tf.math.divide_no_nan(epsilon, _norms(offset)), 1)
    return tf.clip_by_value(x + offset, 0, 1)


def _unit(vectors):
    """Each example's vector over its length, taken of numbers of order 1 so that no square is 0; 0 stays 0."""
    vectors = tf.math.divide_no_nan(vectors, tf.reduce_max(tf.abs(vectors), _axes(vectors), keepdims=True))
    return tf.math.divide_no_nan(vectors, _norms(vectors))


def _norms(vectors):
    return tf.sqrt(tf.reduce_sum(vectors**2, _axes(vectors), keepdims=True))


def _axes(vectors):
    return list(range(1, len(vectors.shape)))


def _prepare(model, x, y, epsilon, loss):
    """Checks the arguments; losses and gradients as a function of images and labels, and these chunk by chunk."""
    _check_length("epsilon", epsilon)
    example = evaluation.check(model, x, y, loss)
    if not np.issubdtype(example.x.dtype, np.floating) or example.x.min() < 0 or example.x.max() > 1:
        raise ValueError(
            f"x must be floating point in [0, 1], not {example.x.dtype} in [{example.x.min()}, {example.x.max()}]; "
            "divide images by 255"
        )
    program = evaluation.compiled(_losses_and_gradients, model, loss)
    return functools.partial(program, *evaluation.variables(model)), evaluation.chunks(example)


def _check_length(name, value) -> None:
    if isinstance(value, bool) or not (np.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be a finite number of at least 0, not {value!r}")
