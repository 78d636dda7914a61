"""The compiled training program: steps, epochs and evaluations of all members of a stack."""

import dataclasses
import json
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from hw1 import evaluation
from hw1.evaluation import losses, tracing
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


@dataclasses.dataclass
class Program:
    """A compiled training program: the net (or stack) whose variables it trains, and how to run and evaluate it."""

    net: keras.Model
    members: int
    stacked: bool
    optimizer: keras.optimizers.Optimizer
    fresh: list[np.ndarray]  # the optimizer's variables before the first step
    run: Callable
    totals: Callable

    def load(self, models: Sequence[keras.Model], seeds: Sequence[int]) -> None:
        """Sets the net's variables to those of `models` and the optimizer back to its start."""
        for variable, value in zip(self.optimizer.variables, self.fresh, strict=True):
            variable.assign(value)
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


def make_program(template, optimizer, members, batch_size, most, loss, step, record_steps, stacked) -> Program:
    """The program, compiled by XLA if that pays for `most` steps of this size."""
    work = members * batch_size * template.count_params()
    jit = evaluation.jit_compile(template) and most >= _XLA_STEPS and work <= _XLA_WORK
    known = evaluation.architecture(template), losses.key(loss)
    key = (*known, _rule(optimizer), members, batch_size, step, record_steps, jit)

    def make():
        net = stack(template, members) if stacked else template
        per_example = evaluation.per_example(loss)
        optimizer.build(net.trainable_variables)
        fresh = [keras.ops.convert_to_numpy(v) for v in optimizer.variables]
        take = _step(net, optimizer, per_example, members, record_steps, *step)
        run = tf.function(_epochs(take, net, members, batch_size, record_steps), jit_compile=jit)
        return Program(net, members, stacked, optimizer, fresh, run, tf.function(_totals(net, per_example, members)))

    return make() if None in known else evaluation.remember((make_program, *key), make)


def _plain(net, x, y, loss):
    """The objective that is the loss itself."""
    return loss(y, net(x, training=True))


def _step(net, optimizer, loss, members, record, objective, inner_steps, proximal):
    """The function that takes one mini-batch's steps for all members; its loss and gradient norm before them."""
    parameters, objective = net.trainable_variables, objective or _plain

    def gradients(x, y):
        with tf.GradientTape() as tape, tracing.inlined():
            losses = tf.reduce_mean(tf.reshape(objective(net, x, y, loss), [members, -1]), axis=1)
            total = tf.add_n([tf.reduce_sum(losses), *net.losses])
        return losses, tape.gradient(total, [v.value for v in parameters], unconnected_gradients="zero")

    def step(x, y, rows):
        rows = tf.reshape(rows, [-1])
        x, y = tf.gather(x, rows), tf.gather(y, rows)
        losses, slopes = gradients(x, y)
        start = [tf.identity(v.value) for v in parameters] if proximal else []
        optimizer.apply(slopes, parameters)
        for _ in range(inner_steps - 1):
            _, inner = gradients(x, y)
            if proximal:
                inner = [g + proximal * (v.value - c) for g, v, c in zip(inner, parameters, start, strict=True)]
            optimizer.apply(inner, parameters)
        if not record:
            return None
        squares = tf.add_n([tf.reduce_sum(tf.reshape(g, [members, -1]) ** 2, axis=1) for g in slopes])
        return tf.stack([tf.cast(losses, squares.dtype), tf.sqrt(squares)])

    return step


def _epochs(step, net, members, batch_size, record_steps):
    """The function that is compiled: all steps of some epochs for all members."""

    def run(x, y, order):
        epochs, _, count = order.shape
        full, tail = divmod(count, batch_size)
        per_epoch = full + bool(tail)
        size = epochs * per_epoch if record_steps else 0
        steps = tf.TensorArray(net.trainable_variables[0].dtype, size, element_shape=[2, members])
        for epoch in tf.range(epochs):
            if full:
                for number in tf.range(full):
                    found = step(x, y, tf.slice(order, [epoch, 0, number * batch_size], [1, members, batch_size]))
                    if record_steps:
                        steps = steps.write(epoch * per_epoch + number, found)
            if tail:
                found = step(x, y, tf.slice(order, [epoch, 0, full * batch_size], [1, members, tail]))
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
