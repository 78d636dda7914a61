"""The compiled training program: steps, epochs and evaluations of all members of a stack."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from hw1 import evaluation
from hw1.evaluation import losses, tracing
from hw1.training.directions import Batch, Members
from hw1.training.stacking import StackedDropout, stack

_ELEMENTWISE = [
    keras.optimizers.SGD,
    keras.optimizers.Adam,
    keras.optimizers.AdamW,
    keras.optimizers.RMSprop,
    keras.optimizers.Adagrad,
    keras.optimizers.Adadelta,
    keras.optimizers.Adamax,
    keras.optimizers.Nadam,
    keras.optimizers.Ftrl,
    keras.optimizers.Lion,
]
# XLA halves the time of small steps, takes a second to compile, and is no faster at large ones.
_XLA_STEPS = 2000  # fewer steps than these at most are not compiled by XLA
_XLA_WORK = 3e7  # nor larger steps than these, in members × batch size × parameters
_EVALUATED_AT_ONCE = 2000  # rows (members × examples) of one forward pass


def elementwise(optimizer) -> bool:
    """Whether each weight's update depends on that weight's own gradients alone."""
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise TypeError(f"optimizer must make a keras optimizer, not {type(optimizer).__name__}")
    if optimizer.use_ema:
        raise ValueError("use_ema is not supported: average recorded weights instead")
    if optimizer.loss_scale_factor is not None or isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError("loss scaling is not supported: float32 and float64 do not need it")
    return type(optimizer) in _ELEMENTWISE and optimizer.clipnorm is None and optimizer.global_clipnorm is None


class Step(NamedTuple):
    """What is done with a mini-batch; see `hw1.training.train`.

    Attributes:
        objective: what it minimises instead of the loss, or None.
        inner_steps: optimizer steps on it.
        proximal: λ of the term that holds them near its start.
        direction: what the optimizer gets instead of the gradient, or None.
        has_rates: whether each step and member is given a learning rate, instead of the optimizer's own.
        has_momentum: whether each member is given a momentum.
    """

    objective: Callable | None = None
    inner_steps: int = 1
    proximal: float = 0.0
    direction: Callable | None = None
    has_rates: bool = False
    has_momentum: bool = False


@dataclasses.dataclass
class Program:
    """A compiled training program: the net (or stack) whose variables it trains, and how to run and evaluate it.

    Attributes:
        net: whose variables it trains.
        members: number of members.
        stacked: whether the net is a stack of them.
        optimizer: built for these variables.
        fresh: the optimizer's variables before the first step.
        random: what the draws of `hw1.training.directions` depend on: seed of each member, number of steps so far.
        momentum: factor of each member, shaped as `_of_members` has it; None without one of their own.
        run: (x, y, order, rates, batch_size) -> what was recorded of the steps; order has shape [epochs, members,
            rows], rates [steps, members], or [0] without rates.
        totals: (x, y, rows) -> summed loss and number correct, shape [2, members].
    """

    net: keras.Model
    members: int
    stacked: bool
    optimizer: keras.optimizers.Optimizer
    fresh: list[np.ndarray]
    random: tuple[tf.Variable, tf.Variable]
    momentum: tf.Variable | None
    run: Callable
    totals: Callable

    def load(self, models: Sequence[keras.Model], seeds: Sequence[int], momentum=None) -> None:
        """Sets the net's variables to those of `models` and the optimizer back to its start."""
        for variable, value in zip(self.optimizer.variables, self.fresh, strict=True):
            variable.assign(value)
        for variable, value in zip(self.random, (seeds, 0), strict=True):
            variable.assign(value)
        if self.momentum is not None:
            self.momentum.assign(np.reshape(momentum, self.momentum.shape))
        if not self.stacked:
            for variable, source in zip(self.net.variables, models[0].variables, strict=True):
                variable.assign(source)
            return
        for variable, *sources in zip(
            self.net.trainable_variables, *(model.trainable_variables for model in models), strict=True
        ):
            variable.assign(tf.reshape(tf.stack([tf.convert_to_tensor(s) for s in sources]), variable.shape))
        for layer in self.net.layers:
            if isinstance(layer, StackedDropout):
                layer.seeds.assign(seeds)
                layer.step.assign(0)

    def flat(self) -> np.ndarray:
        """The trainable variables of each member as one vector, shape [members, parameters]."""
        return np.concatenate(
            [keras.ops.convert_to_numpy(v).reshape(self.members, -1) for v in self.net.trainable_variables], axis=1
        )

    def unload(self, member: int, model: keras.Model) -> None:
        """Copies one member's variables into `model`."""
        if not self.stacked:
            for variable, value in zip(model.variables, self.net.variables, strict=True):
                variable.assign(value)
            return
        for variable, value in zip(model.trainable_variables, self.net.trainable_variables, strict=True):
            variable.assign(tf.reshape(value[member], variable.shape))


def _rule(optimizer) -> str | int:
    """A key that two optimizers share only if they update alike: the configuration, if it says everything."""
    schedule = optimizer._learning_rate
    keras_own = all(type(part).__module__.startswith(("keras.", "tensorflow.")) for part in (optimizer, schedule))
    if not keras_own or getattr(optimizer, "_exclude_from_weight_decay_pattern", None):
        return id(optimizer)
    config = optimizer.get_config() | {"name": None}
    return json.dumps([type(optimizer).__name__, config], default=repr, sort_keys=True)


def make_program(template, optimizer, members, most, work, loss, step: Step, record_steps, stacked) -> Program:
    """The program, compiled by XLA if that pays.

    Args:
        template: a net of the architecture; trained itself if not `stacked`.
        optimizer: fresh.
        members: number of members.
        most: steps at most.
        work: of a step, in members × batch size × parameters.
        loss: as for `hw1.training.train`.
        step: what is done with a mini-batch.
        record_steps: whether loss and gradient norm of each step are returned.
        stacked: whether the members are stacked.
    """
    jit = evaluation.jit_compile(template) and most >= _XLA_STEPS and work <= _XLA_WORK
    known = evaluation.architecture(template), losses.key(loss)
    key = (*known, _rule(optimizer), members, step, record_steps, jit)

    def make():
        net = stack(template, members) if stacked else template
        per_example, dtype = evaluation.per_example(loss), net.trainable_variables[0].dtype
        shape = (members, 1, 1) if stacked else ()
        rate = tf.Variable(tf.zeros(shape, dtype)) if step.has_rates else None
        momentum = tf.Variable(tf.zeros(shape, dtype)) if step.has_momentum else None
        used = optimizer if momentum is None else _MemberMomentum(momentum, optimizer)
        if step.has_rates:
            used.learning_rate = lambda: tf.identity(rate)
        used.build(net.trainable_variables)
        fresh = [keras.ops.convert_to_numpy(v) for v in used.variables]
        random = tf.Variable(tf.zeros(members, tf.int64)), tf.Variable(0, dtype=tf.int64)
        take = _step(net, used, rate, per_example, Members(members, stacked, *random), record_steps, step)
        run = tf.function(_epochs(take, net, members, record_steps, step.has_rates), jit_compile=jit)
        totals = tf.function(_totals(net, per_example, members))
        return Program(net, members, stacked, used, fresh, random, momentum, run, totals)

    return make() if None in known else evaluation.remember((make_program, *key), make)


class _MemberMomentum(keras.optimizers.SGD):
    """SGD with a momentum for each member."""

    def __init__(self, momentum, optimizer):
        super().__init__(**(optimizer.get_config() | {"momentum": 0.5}))  # makes velocities; the number is not used
        self.factor = momentum

    def update_step(self, gradient, variable, learning_rate):
        """As Keras: v ← m v − ε g and θ ← θ + v, or θ ← θ + m v − ε g by Nesterov."""
        velocity = self.momentums[self._get_variable_index(variable)]
        step, factor = learning_rate * gradient, tf.identity(self.factor)
        moved = factor * velocity.value - step
        self.assign(velocity, moved)
        self.assign_add(variable, factor * moved - step if self.nesterov else moved)


def _plain(net, x, y, loss):
    """The objective that is the loss itself."""
    return loss(y, net(x, training=True))


def _step(net, optimizer, rate, loss, members, record, how: Step):
    """The function that takes one mini-batch's steps for all members; its loss and gradient norm before them."""
    parameters, objective = net.trainable_variables, how.objective or _plain

    def gradients(x, y, weights=None):
        with tf.GradientTape() as tape, tracing.inlined():
            losses = tf.reshape(objective(net, x, y, loss), [members.number, -1])
            losses = tf.reduce_mean(losses if weights is None else losses * weights, axis=1)
            total = tf.add_n([tf.reduce_sum(losses), *(net.losses if weights is None else ())])
        return losses, tape.gradient(total, [v.value for v in parameters], unconnected_gradients="zero")

    def step(x, y, rows, rates):
        def examples(rows):
            rows = tf.reshape(rows, [-1])
            return tf.gather(x, rows), tf.gather(y, rows)

        def anew(weights, part):
            return gradients(*((inputs, targets) if part is None else examples(rows[:, part])), weights)[1]

        rows = tf.reshape(rows, [members.number, -1])
        inputs, targets = examples(rows)
        if rate is not None:
            rate.assign(tf.reshape(rates, rate.shape))
        losses, slopes = gradients(inputs, targets)
        start = [tf.identity(v.value) for v in parameters] if how.proximal else []
        batch = Batch(parameters, slopes, rows.shape[1], members, anew)
        optimizer.apply(slopes if how.direction is None else how.direction(batch), parameters)
        for _ in range(how.inner_steps - 1):
            _, inner = gradients(inputs, targets)
            if how.proximal:
                inner = [g + how.proximal * (v.value - c) for g, v, c in zip(inner, parameters, start, strict=True)]
            optimizer.apply(inner, parameters)
        members.steps.assign_add(1)
        if not record:
            return None
        norms = tf.reshape(members.norm(slopes), [members.number])
        return tf.stack([tf.cast(losses, norms.dtype), norms])

    return step


def _epochs(step, net, members, record_steps, has_rates):
    """The function that is compiled: all steps of some epochs for all members."""

    def run(x, y, order, rates, batch_size):
        epochs, _, count = order.shape
        full, tail = divmod(count, batch_size)
        per_epoch = full + bool(tail)
        size = epochs * per_epoch if record_steps else 0
        steps = tf.TensorArray(net.trainable_variables[0].dtype, size, element_shape=[2, members])

        def take(epoch, number, rows):
            part = tf.slice(order, [epoch, 0, number * batch_size], [1, members, rows])
            return step(x, y, part, rates[epoch * per_epoch + number] if has_rates else None)

        for epoch in tf.range(epochs):
            if full:
                for number in tf.range(full):
                    found = take(epoch, number, batch_size)
                    if record_steps:
                        steps = steps.write(epoch * per_epoch + number, found)
            if tail:
                found = take(epoch, full, tail)
                if record_steps:
                    steps = steps.write(epoch * per_epoch + full, found)
        return steps.stack() if record_steps else tf.zeros([])

    return run


def _totals(net, loss, members):
    """Summed loss and number correct of every member over its own examples, each of shape [members]."""

    def part(x, y, rows):
        rows = tf.reshape(rows, [-1])
        x, y = tf.gather(x, rows), tf.gather(y, rows)
        with tracing.inlined():
            outputs = net(x, training=False)
        correct = tf.zeros(members)
        if y.dtype.is_integer and y.shape.rank == 1 and outputs.shape.rank == 2 and outputs.shape[1] > 1:
            hits = tf.argmax(outputs, axis=-1, output_type=y.dtype) == y
            correct = tf.reduce_sum(tf.reshape(tf.cast(hits, tf.float32), [members, -1]), axis=1)
        losses = tf.reshape(tf.cast(loss(y, outputs), tf.float64), [members, -1])
        return tf.stack([tf.reduce_sum(losses, axis=1), tf.cast(correct, tf.float64)])

    def totals(x, y, rows):
        size = max(1, min(rows.shape[1], _EVALUATED_AT_ONCE // members))
        full, tail = divmod(rows.shape[1], size)
        total = tf.zeros([2, members], tf.float64)
        for number in tf.range(full):
            total += part(x, y, tf.slice(rows, [0, number * size], [members, size]))
        if tail:
            total += part(x, y, rows[:, full * size :])
        return total

    return totals
