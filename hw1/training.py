"""Trains many small nets at once: one compiled program runs whole epochs of all members.

A *member* is one net with its own seed: initial weights and batch order. Fully connected members are stacked on a
leading axis (a kernel becomes [members, in, out]) and trained by one matrix product and one optimizer step for all.
An elementwise optimizer makes that exactly the training of each member alone. Nets that cannot be stacked
(convolutions, batch normalisation) and optimizers that are not elementwise (clipping by norm, LAMB, Muon ...) are
trained member by member through the same program, compiled once.
"""

import dataclasses
import json
from collections.abc import Callable, Collection, Iterable, Sequence

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hw1 import evaluation

_WEIGHTLESS = {
    *("InputLayer", "Flatten", "Reshape", "Activation", "ReLU", "LeakyReLU", "ELU", "Rescaling", "Add", "Subtract"),
    *("Multiply", "Average", "Concatenate", "Identity"),
}
_ELEMENTWISE = (
    *(keras.optimizers.SGD, keras.optimizers.Adam, keras.optimizers.AdamW, keras.optimizers.RMSprop),
    *(keras.optimizers.Adagrad, keras.optimizers.Adadelta, keras.optimizers.Adamax, keras.optimizers.Nadam),
    *(keras.optimizers.Ftrl, keras.optimizers.Lion),
)
_PIECES = 5  # looks at the training loss in each interval between evaluations, where it nears the target
# XLA halves the time of small steps, takes a second to compile, and is no faster at large ones.
_XLA_STEPS = 2000  # fewer steps than these at most are not compiled by XLA
_XLA_WORK = 3e7  # nor larger steps than these, in members × batch size × parameters
_EVALUATED_AT_ONCE = 2000  # rows (members × examples) of one forward pass
RECORDS = ("weights", "steps")


@dataclasses.dataclass
class Member:
    """One trained net.

    Attributes:
        seed: of its initial weights and batch order.
        model: an ordinary Keras model with the final weights.
        history: arrays with one value per evaluation: ``epoch`` (passes so far), ``train_loss``, ``test_loss``, and
            for integer labels ``train_accuracy``, ``test_accuracy``; over the whole sets, in inference mode. The last
            one may come sooner after the one before, where the target was met; those of a diverged net are NaN.
        status: "ok", "target not reached" or "diverged" (the loss was no longer finite).
        updates: mini-batches taken, so optimizer steps where each is given one.
        weights: with ``record=["weights"]`` the flat parameters at each evaluation, shape [evaluations, parameters].
        steps: with ``record=["steps"]`` the mini-batch ``loss`` and ``gradient_norm`` (√Σ‖∂L/∂p‖₂²) before each step.
    """

    seed: int
    model: keras.Model
    history: dict[str, np.ndarray]
    status: str
    updates: int
    weights: np.ndarray | None = None
    steps: dict[str, np.ndarray] | None = None

    @property
    def final(self) -> dict[str, float]:
        """The last value of each curve of the history but its epoch."""
        return {name: float(values[-1]) for name, values in self.history.items() if name != "epoch"}

    @property
    def curve(self) -> list[dict[str, float]]:
        """The history as one dict per evaluation."""
        return [dict(zip(self.history, values, strict=True)) for values in zip(*self.history.values(), strict=True)]

    @property
    def row(self) -> dict[str, float | str]:
        """Seed, updates, the final losses and accuracies, and status: what the row of a measured net begins with."""
        return {"seed": self.seed, "updates": self.updates, **self.final, "status": self.status}


def train(
    build: Callable[[int], keras.Model],
    data,
    *,
    batch_size: int,
    optimizer: Callable[[], keras.optimizers.Optimizer],
    seeds: int | Iterable[int],
    epochs: int | None = None,
    updates: int | None = None,
    target_loss: float | None = None,
    evaluate_every: int = 1,
    evaluate_updates: int | None = None,
    loss=None,
    objective: Callable | None = None,
    inner_steps: int = 1,
    proximal: float = 0.0,
    record: Collection[str] = (),
    progress: str | None = None,
) -> list[Member]:
    """Trains one member per seed.

    Every epoch visits each training example once, in an order drawn from the member's seed; the last batch of an
    epoch may be smaller. A member that reaches the target or diverges stops there and leaves the others alone.

    Args:
        build: makes the net of a seed, all of one architecture; the global seeds are set to it before the call.
        data: has x_train, y_train, x_test, y_test, as `hw1.datasets.load` gives them.
        batch_size: examples per step.
        optimizer: makes a Keras optimizer, fresh.
        seeds: non-negative integers, all different; an integer n stands for range(n).
        epochs: passes over the training set, at most.
        updates: mini-batches (optimizer steps, while inner_steps is 1), at most; give epochs, updates or both.
        target_loss: stop a member once its loss over the whole training set is at or below this.
        evaluate_every: epochs between evaluations (the end is always evaluated).
        evaluate_updates: instead, about so many steps between evaluations: that many, or the whole epochs in them.
        loss: None for softmax cross-entropy of logits, else a function (y, outputs) -> [n] or a keras.losses.Loss.
        objective: what a mini-batch minimises instead of its loss: a function (net, x, y, loss) -> [n] of TensorFlow
            operations, a value per example, where ``net(x, training=True)`` gives outputs and ``loss(y, outputs)``
            losses. It may see the examples of several members at once, so no example may depend on another.
        inner_steps: optimizer steps on each mini-batch before the next one.
        proximal: λ of the term λ/2 ‖θ − θ_B‖² in each of them, θ_B the parameters when the mini-batch came.
        record: any of "weights" and "steps", see `Member`.
        progress: label of a progress bar; None for no bar.

    Returns:
        One `Member` per seed, in order.

    Raises:
        TypeError, ValueError: for arguments, nets or data that do not fit, naming what would be right.
    """
    seeds = _check_seeds(seeds)
    batch_size, inner_steps, epochs, updates, evaluate_every, evaluate_updates = _check_numbers(
        batch_size=batch_size,
        inner_steps=inner_steps,
        epochs=epochs,
        updates=updates,
        evaluate_every=evaluate_every,
        evaluate_updates=evaluate_updates,
    )
    if set(record) - set(RECORDS) or isinstance(record, str):
        raise ValueError(f"record takes a collection of {RECORDS}, not {record!r}")
    if target_loss is not None and not np.isfinite(target_loss):
        raise ValueError(f"target_loss must be a finite number, not {target_loss!r}")
    if not (np.isfinite(proximal) and proximal >= 0) or (proximal and inner_steps == 1):
        raise ValueError(f"proximal must be 0, or above 0 with inner_steps of 2 or more, not {proximal!r}")
    if not callable(optimizer):
        raise TypeError(f"optimizer must make a Keras optimizer, as keras.optimizers.Adam does, not be {optimizer!r}")
    models = [_build(build, seed) for seed in seeds]
    sets = _check_data(models, data, loss)
    n = len(sets[0].x)
    if batch_size > n:
        raise ValueError(f"batch_size {batch_size} is larger than the {n} training examples: use at most {n}")
    per_epoch = -(-n // batch_size)
    if epochs is None and updates is None:
        raise ValueError("give epochs, updates or both")
    every = evaluate_updates or evaluate_every * per_epoch
    piece = -(-every // _PIECES) if evaluate_updates and target_loss is not None else every
    most = min(np.inf if epochs is None else epochs * per_epoch, np.inf if updates is None else updates)
    template = _build(build, seeds[0])
    elementwise = _elementwise(optimizer())
    together = _stackable(template) and elementwise
    groups = [models] if together else [[model] for model in models]
    step = (objective, inner_steps, float(proximal))
    program = _program(template, optimizer(), len(groups[0]), batch_size, most, loss, step, "steps" in record, together)
    members = []
    with tqdm(
        total=most * len(groups), desc=progress, unit="step", disable=None if progress else True, leave=False
    ) as bar:
        for number, group in enumerate(groups):
            group_seeds = seeds if together else [seeds[number]]
            run = _Run(program, group, group_seeds, sets, target_loss, record)
            run.train(most, per_epoch, batch_size, every, piece, bar)
            members += run.members()
    return members


def measurable(members: list[Member]) -> list[Member]:
    """The members that did not diverge.

    Raises:
        ValueError: all of them did.
    """
    finite = [member for member in members if member.status != "diverged"]
    if not finite:
        raise ValueError(f"all {len(members)} nets diverged, so there is nothing to measure: lower the learning rate")
    return finite


def _check_seeds(seeds) -> list[int]:
    if isinstance(seeds, int | np.integer):
        seeds = range(seeds)
    seeds = list(seeds) if isinstance(seeds, Iterable) else [seeds]
    if not seeds or any(isinstance(s, bool) or not hasattr(s, "__index__") or s < 0 for s in seeds):
        raise ValueError(f"seeds must be one or more non-negative integers, not {seeds!r}")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must all be different, not {seeds!r}")
    return [int(seed) for seed in seeds]


def _check_numbers(**numbers) -> list[int | None]:
    for name, number in numbers.items():
        if number is not None and (isinstance(number, bool) or not hasattr(number, "__index__") or number < 1):
            raise ValueError(f"{name} must be a positive integer, not {number!r}")
    return [None if number is None else int(number) for number in numbers.values()]


def _build(build, seed) -> keras.Model:
    keras.utils.set_random_seed(seed)
    model = build(seed)
    evaluation.check_model(model)
    return model


def _check_data(models, data, loss):
    if len({id(model) for model in models}) < len(models):
        raise ValueError("build must make a net of its own for each seed, not return one twice")
    layers = [
        [
            (type(layer), getattr(getattr(layer, "activation", None), "__name__", None))
            for layer in evaluation.all_layers(model)
        ]
        for model in models
    ]
    shapes = [[tuple(v.shape) for v in model.variables] for model in models]
    if any(found != (shapes[0], layers[0]) for found in zip(shapes, layers, strict=True)):
        raise ValueError("build must make nets of one architecture for all seeds")
    train_set = evaluation.check(models[0], data.x_train, data.y_train, loss)
    return train_set, evaluation.check(models[0], data.x_test, data.y_test, loss)


def _elementwise(optimizer) -> bool:
    """Whether each weight's update depends on that weight's own gradients alone."""
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise TypeError(f"optimizer must make a keras optimizer, not {type(optimizer).__name__}")
    if optimizer.use_ema:
        raise ValueError("use_ema is not supported: average recorded weights instead")
    if optimizer.loss_scale_factor is not None or isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError("loss scaling is not supported: float32 and float64 do not need it")
    return type(optimizer) in _ELEMENTWISE and optimizer.clipnorm is None and optimizer.global_clipnorm is None


def _stackable(model) -> bool:
    """Whether `model` consists of plain dense layers, dropout and layers without weights, all trainable."""
    if not all(isinstance(part, keras.layers.Layer) for part in getattr(model, "operations", [])):
        return False  # arithmetic such as x * 2
    return evaluation.consists_of(model, _WEIGHTLESS | {"Dense", "Dropout"}) and all(
        layer.trainable
        and layer.dtype_policy.name in ("float32", "float64")
        and not any(value for name, value in vars(layer).items() if name.endswith(("_regularizer", "_constraint")))
        and getattr(layer, "noise_shape", None) is None
        for layer in model.layers
    )


class _StackedDense(keras.layers.Layer):
    """Dense layers of all members; takes and gives their examples one member after the other, [members · n, ...]."""

    def __init__(self, layer: keras.layers.Dense, members: int):
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.members, self.units = members, layer.units
        self.use_bias, self.activation = layer.use_bias, layer.activation

    def build(self, shape):
        self.kernel = self.add_weight(shape=(self.members, shape[-1], self.units), name="kernel")
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.members, 1, self.units), name="bias")

    def call(self, inputs):
        outputs = tf.matmul(tf.reshape(inputs, [self.members, -1, inputs.shape[-1]]), self.kernel)
        if self.use_bias:
            outputs += self.bias
        return self.activation(tf.reshape(outputs, [-1, *inputs.shape[1:-1], self.units]))


class _StackedDropout(keras.layers.Layer):
    """Dropout whose masks come from each member's seed and the step, whoever else is trained beside it."""

    def __init__(self, layer: keras.layers.Dropout, members: int, stream: int):
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.members, self.rate, self.stream = members, layer.rate, stream

    def build(self, shape):
        self.seeds = self.add_weight(shape=(self.members,), dtype="int32", trainable=False, name="seeds")
        self.step = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False, name="step")

    def call(self, inputs, training=False):
        if not training:
            return inputs
        self.step.assign_add(1)
        seeds, step = tf.identity(self.seeds.value) + self.stream * 2**20, tf.identity(self.step.value)
        shape = [inputs.shape[0] // self.members, *inputs.shape[1:]]
        kept = [tf.random.stateless_uniform(shape, [seeds[m], step]) >= self.rate for m in range(self.members)]
        return inputs * tf.cast(tf.concat(kept, axis=0), inputs.dtype) / (1 - self.rate)


def _stack(model, members: int) -> keras.Model:
    """A model of all members' examples one after the other, [members · n, ...] -> [members · n, classes]."""
    streams = iter(range(1, 1 + len(model.layers)))

    def convert(layer):
        if isinstance(layer, keras.layers.Dense):
            return _StackedDense(layer, members)
        if isinstance(layer, keras.layers.Dropout):
            return _StackedDropout(layer, members, next(streams))
        return layer.__class__.from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=convert)


@dataclasses.dataclass
class _Program:
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
            if isinstance(layer, _StackedDropout):
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


def _program(template, optimizer, members, batch_size, most, loss, step, record_steps, stacked) -> _Program:
    """The program, compiled by XLA if that pays for `most` steps of this size."""
    work = members * batch_size * template.count_params()
    jit = evaluation.jit_compile(template) and most >= _XLA_STEPS and work <= _XLA_WORK
    key = (evaluation.architecture(template), _rule(optimizer), members, batch_size, loss, step, record_steps, jit)

    def make():
        net = _stack(template, members) if stacked else template
        per_example = evaluation.per_example(loss)
        optimizer.build(net.trainable_variables)
        fresh = [keras.ops.convert_to_numpy(v) for v in optimizer.variables]
        take = _step(net, optimizer, per_example, members, record_steps, *step)
        run = tf.function(_epochs(take, net, members, batch_size, record_steps), jit_compile=jit)
        return _Program(net, members, stacked, optimizer, fresh, run, tf.function(_totals(net, per_example, members)))

    return evaluation.remember((_program, *key), make)


def _plain(net, x, y, loss):
    """The objective that is the loss itself."""
    return loss(y, net(x, training=True))


def _step(net, optimizer, loss, members, record, objective, inner_steps, proximal):
    """The function that takes one mini-batch's steps for all members; its loss and gradient norm before them."""
    parameters, objective = net.trainable_variables, objective or _plain

    def gradients(x, y):
        with tf.GradientTape() as tape:
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
    """Summed loss and number correct of every member over all examples of x, each of shape [members]."""

    def part(x, y):
        outputs = net(tf.tile(x, [members] + [1] * (x.shape.rank - 1)), training=False)
        y = tf.tile(y, [members] + [1] * (y.shape.rank - 1))
        correct = tf.zeros(members)
        if y.dtype.is_integer and y.shape.rank == 1 and outputs.shape.rank == 2 and outputs.shape[1] > 1:
            hits = tf.argmax(outputs, axis=-1, output_type=y.dtype) == y
            correct = tf.reduce_sum(tf.reshape(tf.cast(hits, tf.float32), [members, -1]), axis=1)
        losses = tf.reshape(tf.cast(loss(y, outputs), tf.float64), [members, -1])
        return tf.stack([tf.reduce_sum(losses, axis=1), tf.cast(correct, tf.float64)])

    def totals(x, y):
        size = max(1, min(x.shape[0], _EVALUATED_AT_ONCE // members))
        full, tail = divmod(x.shape[0], size)
        total = tf.zeros([2, members], tf.float64)
        for number in tf.range(full):
            total += part(
                tf.ensure_shape(x[number * size : (number + 1) * size], [size, *x.shape[1:]]),
                tf.ensure_shape(y[number * size : (number + 1) * size], [size, *y.shape[1:]]),
            )
        if tail:
            total += part(x[full * size :], y[full * size :])
        return total

    return totals


class _Run:
    """The training of one group of members by a program."""

    def __init__(self, program: _Program, models, seeds, sets, target_loss, record):
        self.program, self.models, self.seeds = program, models, seeds
        self.target, self.record = target_loss, record
        dtype = program.net.trainable_variables[0].dtype
        self.sets = [(tf.constant(s.x, dtype), tf.constant(s.y)) for s in sets]
        x, y = self.sets[0]
        outputs = models[0](x[:1], training=False).shape
        self.with_accuracy = y.dtype.is_integer and y.shape.rank == 1 and len(outputs) == 2 and outputs[1] > 1
        self.orders = [np.random.default_rng([seed, 1]) for seed in seeds]
        self.evaluations: list[dict] = []
        self.weights: list[np.ndarray | None] = []
        self.steps: list[np.ndarray] = []
        self.status: list[str | None] = [None] * len(models)
        self.ends: list[tuple] = [()] * len(models)  # evaluations with weights, and updates, of each member
        program.load(models, seeds)

    def train(self, most: int, per_epoch: int, batch_size: int, every: int, piece: int, bar) -> None:
        """Runs at most `most` updates, `piece` at once, evaluating after `every`; ends when every member has."""
        done = 0
        for order, taken, due in self._pieces(most, per_epoch, batch_size, every, piece):
            found = self.program.run(*self.sets[0], tf.constant(order, tf.int32))
            if "steps" in self.record:
                self.steps.append(found.numpy())
            done += taken
            bar.update(taken)
            if due:
                self._evaluate(done / per_epoch, done)
                bar.set_postfix(loss=f"{np.median(self.evaluations[-1]['train_loss']):.3g}", refresh=False)
            else:
                self._look(done / per_epoch, done, every / per_epoch)
            if None not in self.status:
                break
        for member, status in enumerate(self.status):
            if status is None:
                self._finish(member, "ok" if self.target is None else "target not reached", done)
        bar.update(most - done)

    def _pieces(self, most, per_epoch, batch_size, every, piece):
        """Yields the rows of some steps, shape [epochs, members, rows], how many steps, and whether a look is due."""
        n, done = len(self.sets[0][0]), 0
        while done < most:
            whole = min(every, most - done) // per_epoch
            order = np.stack([[rng.permutation(n) for rng in self.orders] for _ in range(whole or 1)])
            steps, start = whole * per_epoch or min(per_epoch, most - done), 0
            for end in [*range(every, steps, every), steps]:
                while start < end:
                    epoch, first = divmod(start, per_epoch)
                    epochs = min(piece, end - start) // per_epoch
                    last = first + min(piece, end - start, per_epoch - first)
                    rows = slice(None) if epochs else slice(first * batch_size, last * batch_size)
                    taken = epochs * per_epoch or last - first
                    start += taken
                    yield order[epoch : epoch + (epochs or 1), :, rows], taken, start == end
            done += steps

    def _look(self, epoch, done, until_due) -> None:
        """Stops members that came to the target before the next evaluation is due, in so many epochs.

        Only those are looked at whose loss, falling as between their last two evaluations, would come there by then:
        that is known of each member without the others.
        """
        if self.target is None or len(self.evaluations) < 2:
            return
        before, last = self.evaluations[-2:]
        slope = (last["train_loss"] - before["train_loss"]) / (last["epoch"] - before["epoch"])
        near = last["train_loss"] + until_due * slope <= self.target
        near &= [status is None for status in self.status]
        if not near.any():
            return
        x, y = self.sets[0]
        reached = near & (self.program.totals(x, y).numpy()[0] / len(x) <= self.target)
        if reached.any():
            values, weights = self._values(epoch), self._flat()
            for member in np.flatnonzero(reached):
                self._finish(member, "ok", done, (values, weights))

    def _evaluate(self, epoch, done) -> None:
        """Records an evaluation that is due, and stops the members that are at the target or diverged."""
        values, weights = self._values(epoch), self._flat()
        self.evaluations.append(values)
        self.weights.append(weights)
        for member, loss in enumerate(values["train_loss"]):
            if self.status[member] is None and not np.isfinite(loss):
                self._finish(member, "diverged", done)
            elif self.status[member] is None and self.target is not None and loss <= self.target:
                self._finish(member, "ok", done)

    def _values(self, epoch) -> dict[str, np.ndarray]:
        """Losses and accuracies of all members now, each of shape [members]."""
        values = {"epoch": np.full(len(self.models), epoch)}
        for name, (x, y) in zip(("train", "test"), self.sets, strict=True):
            losses, correct = self.program.totals(x, y).numpy() / len(x)
            values[f"{name}_loss"] = losses
            if self.with_accuracy:
                values[f"{name}_accuracy"] = correct
        return values

    def _flat(self):
        return self.program.flat() if "weights" in self.record else None

    def _finish(self, member, status, done, last=None) -> None:
        """Ends a member; `last` are values and weights where no evaluation was due."""
        past = list(zip(self.evaluations, self.weights, strict=True)) + ([last] if last else [])
        self.status[member], self.ends[member] = status, (past, done)
        self.program.unload(member, self.models[member])

    def members(self) -> list[Member]:
        """The trained members, each with its part of what was recorded."""
        results = []
        for m, (seed, model) in enumerate(zip(self.seeds, self.models, strict=True)):
            past, updates = self.ends[m]
            history = {name: np.array([values[name][m] for values, _ in past]) for name in self.evaluations[0]}
            if self.status[m] == "diverged":  # an accuracy of such a net means nothing
                for name in set(history) - {"epoch"}:
                    history[name][-1] = np.nan
            member = Member(seed, model, history, self.status[m], updates)
            if "weights" in self.record:
                member.weights = np.stack([weights[m] for _, weights in past])
            if "steps" in self.record:
                losses, norms = np.concatenate(self.steps)[:updates, :, m].T
                member.steps = {"loss": losses, "gradient_norm": norms}
            results.append(member)
        return results
