"""Search for zero gradient by a first-order method: Adam on ½‖∇L‖²."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from hw1.measures.stationary.stack import Point, Stack, check_counts, check_positive, losses_and_gradients

_PER_CALL = 100  # steps in one compiled call


def _adam(net):
    """The program of some steps of Adam (Kingma and Ba, arXiv 1412.6980) on ½‖∇L‖², one for each rate in `rates`."""

    def run(like, thetas, state, x, targets, first, second, step, rates):
        n = tf.cast(x.shape[0], thetas.dtype)

        def update(values, rate):
            thetas, first, second, step = values
            with tf.GradientTape() as tape:
                tape.watch(thetas)
                gradients = losses_and_gradients(net, like, thetas, state, x, targets)[1] / n
                objective = tf.reduce_sum(gradients**2) / 2
            ascent = tf.convert_to_tensor(tape.gradient(objective, thetas))
            step += 1
            first = 0.9 * first + 0.1 * ascent
            second = 0.999 * second + 0.001 * ascent**2
            # A larger floor, as the usual 1e-7, would slow the search once the gradients are that small.
            scale = tf.sqrt(second / (1 - 0.999**step)) + 1e-30
            return thetas - rate * first / (1 - 0.9**step) / scale, first, second, step

        return tf.foldl(update, rates, (thetas, first, second, step))

    return run


def descend(
    nets: Sequence[keras.Model], x, y, loss=None, iterations: int = 1000, learning_rate: float = 1e-3
) -> list[Point]:
    """Minimises ‖∇L‖² from the nets' present parameters by Adam, with a step size that falls to 0 along a cosine.

    The gradient of ½‖∇L‖² is H∇L, so that a step costs one gradient and one Hessian-vector product. H∇L is also zero
    where ∇L lies in the null space of H: the search may end at a minimum of ‖∇L‖ that is not stationary. This is the
    method of the course's slides: train on the loss, then on the norm of its gradient.

    Args:
        nets: built Keras models of one architecture, in float64; they are not changed.
        x: inputs, shape [n, ...]; all are taken in one call.
        y: targets, shape [n].
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        iterations: steps of Adam, rounded up to whole hundreds.
        learning_rate: its first step size (our choice: the default in Keras).

    Returns:
        One `Point` for each net: where the norm was smallest among the points after each hundred steps.

    Raises:
        TypeError, ValueError: for models, examples or options that do not fit.
    """
    check_counts(iterations=iterations)
    check_positive(learning_rate=learning_rate)
    stack = Stack(nets, x, y, loss)
    calls, members = -(-iterations // _PER_CALL), np.arange(len(nets))
    run, (x, targets) = stack.problem.compile(_adam), stack.everything()
    state, thetas = [tf.constant(value) for value in stack.state], tf.constant(stack.thetas)
    first, second, step = tf.zeros_like(thetas), tf.zeros_like(thetas), tf.constant(0.0, thetas.dtype)
    rates = learning_rate * (1 + np.cos(np.pi * np.arange(calls * _PER_CALL) / max(1, calls * _PER_CALL))) / 2
    norms = [stack.gradient_norms(stack.thetas, members)]
    best = stack.thetas.copy()
    for rate in np.split(rates, calls) if calls else []:
        thetas, first, second, step = run(
            stack.like, thetas, state, x, targets, first, second, step, tf.constant(rate, thetas.dtype)
        )
        norms.append(stack.gradient_norms(thetas.numpy(), members))
        better = norms[-1] < np.min(norms[:-1], axis=0)
        best[better] = thetas.numpy()[better]
    return stack.points(best, np.full(len(nets), calls * _PER_CALL), np.transpose(norms))
