"""Nets of one architecture side by side: losses, gradients and Hessians of all members in one compiled program.

The members' parameters are stacked to θ of shape [members, p]. The members do not interact, so the gradient of the sum
of their losses with respect to θ holds each member's own gradient as a row, and one backward pass serves all. Programs
take ``(like, thetas, state, x, y)``: one net's parameters, for their shapes; the stacked parameters; the other
variables, each with the members as first axis; and examples, which the members share.
"""

from collections.abc import Sequence
from typing import NamedTuple, Unpack

import keras
import numpy as np
import tensorflow as tf

from hw1 import evaluation, models
from hw1.measures.products import check_second_derivative

TOLERANCE = 1e-12  # ‖∇L‖₂ that counts as zero: a few hundred roundings of a float64 gradient of size 1
# Members in one compiled call: enough to share its overhead, few enough to stay in the cache.
_GROUP, _GROUP_PARAMETERS = 25, 3500


class Point(NamedTuple):
    """Where a search for zero gradient ended.

    Attributes:
        parameters: θ, flat as in ``model.trainable_variables``; shape [p], float64.
        gradient_norm: ‖∇L(θ)‖₂ of the mean loss.
        loss: L(θ).
        iterations: steps that were taken.
        norms: ‖∇L‖₂ before the first step and after each; shape [steps + 1]. Of `descend`: the least one so far, after
            each 25 steps.
    """

    parameters: np.ndarray
    gradient_norm: float
    loss: float
    iterations: int
    norms: np.ndarray


def losses(net, like, thetas, state, x, targets):
    """The total loss of each member, shape [members]."""

    def total(member):
        theta, own = member
        return tf.reduce_sum(net.losses(evaluation.unflatten(theta, like), own, x, targets))

    return tf.vectorized_map(total, (thetas, state))


def losses_and_gradients(net, like, thetas, state, x, targets):
    """The total loss of each member, shape [members], and its gradient, shape [members, p]."""
    with tf.GradientTape() as tape:
        tape.watch(thetas)
        totals = losses(net, like, thetas, state, x, targets)
    return totals, tf.convert_to_tensor(tape.gradient(totals, thetas, unconnected_gradients="zero"))


def loss_program(net):
    """The program of the total losses, shape [members]."""

    def run(*arguments):
        return (losses(net, *arguments),)

    return run


def gradient_program(net):
    """The program of the total losses, shape [members], and their gradients, shape [members, p]."""

    def run(*arguments):
        return losses_and_gradients(net, *arguments)

    return run


def _hessian_program(net):
    """The program of the Hessians of the total losses, shape [members, p, p], one row of all members at a time."""

    def run(like, thetas, *arguments):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(thetas)
            gradients = losses_and_gradients(net, like, thetas, *arguments)[1]
        units, zero = tf.eye(thetas.shape[1], dtype=thetas.dtype), tf.zeros_like(thetas)

        def row(unit):
            return tf.convert_to_tensor(tape.gradient(gradients, thetas, zero + unit, unconnected_gradients="zero"))

        return (tf.transpose(tf.map_fn(row, units), [1, 0, 2]),)

    return run


class Stack:
    """Nets of one architecture in float64, and the examples they are measured on.

    Attributes:
        problem: the first net, which stands for the architecture, with the checked examples.
        like: the first net's parameters, a list of tensors.
        state: the other variables, a list of arrays with the members as first axis.
        thetas: the parameters, shape [members, p].
        group: members in one compiled call.
    """

    def __init__(self, nets: Sequence[keras.Model], x, y, loss, thetas=None, **options: Unpack[evaluation.Options]):
        """Checks the nets and the examples, and stacks the nets' variables.

        Args:
            nets: of one architecture, in float64.
            x: inputs, shape [n, ...].
            y: targets, shape [n].
            loss: as for `hw1.evaluation.per_example`.
            thetas: parameters of the members, shape [m, p], which then all have the state of the one net that is given.
                None: each net is a member.
            options: see `hw1.evaluation.Options`.
        """
        if not nets:
            raise ValueError("at least one model is needed")
        problems = [evaluation.Problem(net, x, y, loss, **options) for net in nets]
        keys = {evaluation.architecture(net) for net in nets}
        if len(keys) > 1 or (None in keys and len(nets) > 1):
            raise ValueError("the models must be of one architecture, of Keras's own layers")
        for net in nets:
            if wrong := [v for v in net.trainable_variables if v.dtype != "float64"]:
                raise ValueError(
                    f"{wrong[0].path} of model {net.name!r} is {wrong[0].dtype}; gradients near zero need float64: "
                    "use hw1.models.with_dtype"
                )
        self.problem = problems[0]
        check_second_derivative(self.problem)
        self.like = self.problem.parameters
        self.state = [np.stack(values) for values in zip(*(problem.state for problem in problems), strict=True)]
        self.thetas = np.stack([models.flat_parameters(net) for net in nets])
        if thetas is not None:
            self._take(thetas)
        self.group = min(len(self.thetas), max(_GROUP, _GROUP_PARAMETERS // self.thetas.shape[1]))

    def _take(self, thetas) -> None:
        """Replaces the one net by members with these parameters."""
        thetas, size = np.array(thetas, np.float64), self.thetas.shape[1]
        if len(self.thetas) > 1 or thetas.ndim != 2 or not len(thetas) or thetas.shape[1] != size:
            raise ValueError(
                f"parameters of other points must be of shape [points, {size}] and of one model, not of shape "
                f"{list(thetas.shape)} and of {len(self.thetas)} models"
            )
        self.thetas, self.state = thetas, [np.repeat(value, len(thetas), axis=0) for value in self.state]

    def means(self, program, thetas, members, size=None) -> list[np.ndarray]:
        """The results of a program that sums over examples, divided by their number; arguments as for `calls`."""
        chunks = self.problem.chunks(self.problem.fitting(size or self.group))
        parts = [self.calls(program, thetas, members, size, chunk) for chunk in chunks]
        return [sum(values) / self.problem.n for values in zip(*parts, strict=True)]

    def calls(self, program, thetas, members, size=None, chunk=None) -> list[np.ndarray]:
        """The results of a program, with the members as first axis.

        Args:
            program: its compiled function returns a tuple of tensors with the members as first axis.
            thetas: parameters, shape [m, p].
            members: which member of the stack each row belongs to, integers of shape [m]; it decides the state.
            size: rows in one compiled call; None takes ``group``. The last call is padded, so that the program is
                compiled for one shape only.
            chunk: examples as tensors (x, targets); None for all.
        """
        run, size, found = self.problem.compile(program), size or self.group, []
        chunk = self.everything() if chunk is None else chunk
        for start in range(0, len(thetas), size):
            rows = np.resize(np.arange(start, min(start + size, len(thetas))), size)
            at, state = tf.constant(thetas[rows]), [tf.constant(value[members[rows]]) for value in self.state]
            found.append([value.numpy()[: len(thetas) - start] for value in run(self.like, at, state, *chunk)])
        return [np.concatenate(values) for values in zip(*found, strict=True)]

    def everything(self) -> tuple:
        """All examples as tensors (x, targets)."""
        return next(self.problem.chunks(self.problem.n))

    def hessians(self, thetas, members) -> np.ndarray:
        """The Hessians of the mean loss at `thetas`, shape [m, p, p], symmetric."""
        (matrices,) = self.means(_hessian_program, thetas, members)
        return (matrices + matrices.transpose(0, 2, 1)) / 2

    def gradients(self, thetas, members) -> np.ndarray:
        """∇L of the mean loss at `thetas`, shape [m, p]."""
        return self.means(gradient_program, thetas, members)[1]

    def gradient_norms(self, thetas, members) -> np.ndarray:
        """‖∇L‖₂ of the mean loss at `thetas`, shape [m]."""
        return np.linalg.norm(self.gradients(thetas, members), axis=1)

    def points(self, thetas, iterations, norms) -> list[Point]:
        """The ends of a search, one for each member of the stack."""
        values, slopes = self.means(gradient_program, thetas, np.arange(len(thetas)))
        lengths = np.linalg.norm(slopes, axis=1)
        return [
            Point(theta, float(length), float(value), int(taken), np.array(norm))
            for theta, length, value, taken, norm in zip(thetas, lengths, values, iterations, norms, strict=True)
        ]


class Expansion(NamedTuple):
    """Loss, gradient and Hessian of each of m members.

    Attributes:
        losses: L, shape [m].
        gradients: ∇L, shape [m, p].
        hessians: H, shape [m, p, p], symmetric.
    """

    losses: np.ndarray
    gradients: np.ndarray
    hessians: np.ndarray


def expansions(
    nets: Sequence[keras.Model], x, y, loss=None, thetas=None, **options: Unpack[evaluation.Options]
) -> Expansion:
    """The mean loss of several nets to second order; H by p products each, taken for all nets at once.

    Args:
        nets: built Keras models of one architecture, in float64; they are not changed.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        thetas: the points, shape [m, p], as parameters of one net; None for the nets' present parameters.
        options: see `hw1.evaluation.Options`.

    Returns:
        Arrays with the members as first axis, float64.

    Raises:
        TypeError, ValueError: for models or examples that do not fit.
    """
    stack = Stack(nets, x, y, loss, thetas, **options)
    everyone = np.arange(len(stack.thetas))
    values, slopes = stack.means(gradient_program, stack.thetas, everyone)
    return Expansion(values, slopes, stack.hessians(stack.thetas, everyone))


def check_counts(**counts) -> None:
    """Raises ValueError, with its name, for a number that is not an integer of at least 0."""
    for name, count in counts.items():
        if isinstance(count, bool) or not hasattr(count, "__index__") or count < 0:
            raise ValueError(f"{name} must be a whole number of at least 0, not {count!r}")


def check_positive(**numbers) -> None:
    """Raises ValueError, with its name, for a number that is not positive and finite."""
    for name, number in numbers.items():
        if not (np.isfinite(number) and number > 0):
            raise ValueError(f"{name} must be a positive number, not {number!r}")
