"""Search for zero gradient by a first-order method: Adam on ½‖∇L‖²."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from hw1.measures.stationary.stack import Point, Stack, check_counts, losses_and_gradients

_PER_CALL = 25  # steps in one compiled call; a net that came no lower in them goes back
_LONGER, _SHORTER = 1.5, 0.25  # factors of the step size after a call in which a net came lower, or did not
_LOWER = 1 - 1e-6  # share of the norm below which it counts as lower


def _slopes(net, like, thetas, state, x, targets):
    """½‖∇L‖² of each member, shape [members], and its gradient H∇L, shape [members, p]."""
    n = tf.cast(x.shape[0], thetas.dtype)
    with tf.GradientTape() as tape:
        tape.watch(thetas)
        gradients = losses_and_gradients(net, like, thetas, state, x, targets)[1] / n
        halves = tf.reduce_sum(gradients**2, axis=1) / 2
    return halves, tf.convert_to_tensor(tape.gradient(halves, thetas))


def _adam(net):
    """The program of some steps of Adam (Kingma and Ba, arXiv 1412.6980) on ½‖∇L‖², each member at its own rate.

    It returns the moments and the least ½‖∇L‖² of the points before each step, with the parameters there.
    """

    def run(like, thetas, state, x, targets, first, second, taken, rates, steps):
        def update(values, _):
            thetas, first, second, taken, least, best = values
            halves, ascent = _slopes(net, like, thetas, state, x, targets)
            lower = halves < least
            taken += 1
            first = 0.9 * first + 0.1 * ascent
            second = 0.999 * second + 0.001 * ascent**2
            # A larger floor, as the usual 1e-7, would slow the search once the gradients are that small.
            scale = tf.sqrt(second / (1 - 0.999**taken)) + 1e-30
            step = rates * first / (1 - 0.9**taken) / scale
            least, best = tf.where(lower, halves, least), tf.where(lower[:, None], thetas, best)
            return thetas - step, first, second, taken, least, best

        most = tf.fill([thetas.shape[0]], tf.constant(np.inf, thetas.dtype))
        return tf.foldl(update, steps, (thetas, first, second, taken, most, thetas))

    return run


def _first_rate(net):
    """The program of the step size that minimises ‖∇L‖ along Adam's first step, where ∇L is taken as linear.

    That step is −rate · sign(a) with a = H∇L, and ∇L becomes ∇L − rate · H sign(a), least at Σ|a| / ‖H sign(a)‖².
    """

    def run(like, thetas, state, x, targets):
        n = tf.cast(x.shape[0], thetas.dtype)
        signs = tf.sign(_slopes(net, like, thetas, state, x, targets)[1])
        with tf.GradientTape() as tape:
            tape.watch(thetas)
            gradients = losses_and_gradients(net, like, thetas, state, x, targets)[1] / n
            along = tf.reduce_sum(gradients * signs)
        product = tf.convert_to_tensor(tape.gradient(along, thetas))
        linear = tf.reduce_sum(product * gradients, axis=1)
        return (linear / (tf.reduce_sum(product**2, axis=1) + np.finfo(np.float64).tiny),)

    return run


def descend(nets: Sequence[keras.Model], x, y, loss=None, iterations: int = 1000) -> list[Point]:
    """Minimises ‖∇L‖² from the nets' present parameters by Adam, with a step size that each net finds for itself.

    The gradient of ½‖∇L‖² is H∇L, so that a step costs one gradient and one Hessian-vector product. H∇L is also zero
    where ∇L lies in the null space of H: the search may end at a minimum of ‖∇L‖ that is not stationary. This is the
    method of the course's slides: train on the loss, then on the norm of its gradient.

    Adam's first step has the length rate · √p, whatever the size of the gradient. The trained nets of `zero_gradient`
    have gradients of 3e-4 and curvatures of 20: one step at the usual rate of 1e-3 multiplies ‖∇L‖ by 600, and most
    searches never come back below their start; the best rate is 3e-7. So the first rate is the best one along the first
    step, for a gradient that changes linearly. Then, after each 25 steps, a net that came lower goes on at 1.5 times
    the rate; another goes back to its best point, forgets its moments, and takes a quarter of the rate.

    Args:
        nets: built Keras models of one architecture, in float64; they are not changed.
        x: inputs, shape [n, ...]; all are taken in one call.
        y: targets, shape [n].
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        iterations: steps of Adam, rounded up to whole 25.

    Returns:
        One `Point` for each net: where the norm was smallest among the points before each step.

    Raises:
        TypeError, ValueError: for models, examples or options that do not fit.
    """
    check_counts(iterations=iterations)
    stack = Stack(nets, x, y, loss)
    run, start = (stack.problem.compile(program) for program in (_adam, _first_rate))
    arguments = [tf.constant(value) for value in stack.state], *stack.everything()
    thetas = best = stack.thetas
    least = stack.gradient_norms(best, np.arange(len(nets)))
    (rates,) = (value.numpy() for value in start(stack.like, tf.constant(thetas), *arguments))
    none, steps, norms = np.zeros_like(thetas), tf.zeros(_PER_CALL, tf.bool), [least]
    first, second, taken = none, none, np.zeros(len(nets))
    for _ in range(-(-iterations // _PER_CALL)):
        values = thetas, *arguments, first, second, taken[:, None], rates[:, None]
        found = run(stack.like, *values, steps)
        thetas, first, second, taken, halves, there = (value.numpy() for value in found)
        taken, lengths = taken[:, 0], np.sqrt(2 * halves)
        lower = lengths < least * _LOWER
        least, best = np.where(lower, lengths, least), np.where(lower[:, None], there, best)
        rates = rates * np.where(lower, _LONGER, _SHORTER)
        thetas, taken = np.where(lower[:, None], thetas, best), np.where(lower, taken, 0)
        first, second = (np.where(lower[:, None], moment, 0) for moment in (first, second))
        norms.append(least)
    return stack.points(best, np.full(len(nets), len(steps) * (len(norms) - 1)), np.transpose(norms))
