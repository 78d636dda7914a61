"""Trains many small nets at once: one compiled program runs whole epochs of all members.

A *member* is one net with its own seed: initial weights, batch order and, where the data are `hw1.datasets.Splits`, its
own training and test set. Fully connected members are stacked on a leading axis (a kernel becomes [members, in, out])
and trained by one matrix product and one optimizer step for all. An elementwise optimizer makes that exactly the
training of each member alone. Nets that cannot be stacked (convolutions, batch normalisation) and optimizers that are
not elementwise (clipping by norm, LAMB, Muon ...) are trained member by member through the same program, compiled once.

`member` has what comes back, `stacking` the stacked layers, `program` the compiled steps, `run` the loop around them.
"""

from collections.abc import Callable, Collection, Iterable

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hw1 import evaluation
from hw1.datasets import Splits
from hw1.training.member import Member, measurable
from hw1.training.program import elementwise, make_program
from hw1.training.run import Examples, Run
from hw1.training.stacking import stackable

__all__ = ["RECORDS", "Member", "measurable", "train"]

RECORDS = ("weights", "steps")
_PIECES = 5  # looks at the training loss in each interval between evaluations, where it nears the target


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
        data: one training and test set for all members, with x_train, y_train, x_test, y_test as `hw1.datasets.load`
            gives them; or `hw1.datasets.Splits`, of which each member gets the split of its seed.
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
    _check_options(optimizer, epochs, updates, target_loss, inner_steps, proximal, record)
    models = [_build(build, seed) for seed in seeds]
    _check_architecture(models)
    sets = _examples(models[0], data, seeds, loss)
    n = len(sets[0].rows[seeds[0]])
    if batch_size > n:
        raise ValueError(f"batch_size {batch_size} is larger than the {n} training examples: use at most {n}")
    per_epoch = -(-n // batch_size)
    every = evaluate_updates or evaluate_every * per_epoch
    piece = -(-every // _PIECES) if evaluate_updates and target_loss is not None else every
    most = min(np.inf if epochs is None else epochs * per_epoch, np.inf if updates is None else updates)
    template = _build(build, seeds[0])
    together = elementwise(optimizer()) and stackable(template)
    groups = [models] if together else [[model] for model in models]
    step = (objective, inner_steps, float(proximal))
    program = make_program(
        template, optimizer(), len(groups[0]), batch_size, most, loss, step, "steps" in record, together
    )
    members = []
    with tqdm(
        total=most * len(groups), desc=progress, unit="step", disable=None if progress else True, leave=False
    ) as bar:
        for number, group in enumerate(groups):
            group_seeds = seeds if together else [seeds[number]]
            run = Run(program, group, group_seeds, sets, data, target_loss, record)
            run.train(most, per_epoch, batch_size, every, piece, bar)
            members += run.members()
    return members


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


def _check_options(optimizer, epochs, updates, target_loss, inner_steps, proximal, record) -> None:
    if set(record) - set(RECORDS) or isinstance(record, str):
        raise ValueError(f"record takes a collection of {RECORDS}, not {record!r}")
    if target_loss is not None and not np.isfinite(target_loss):
        raise ValueError(f"target_loss must be a finite number, not {target_loss!r}")
    if not (np.isfinite(proximal) and proximal >= 0) or (proximal and inner_steps == 1):
        raise ValueError(f"proximal must be 0, or above 0 with inner_steps of 2 or more, not {proximal!r}")
    if not callable(optimizer):
        raise TypeError(f"optimizer must make a Keras optimizer, as keras.optimizers.Adam does, not be {optimizer!r}")
    if epochs is None and updates is None:
        raise ValueError("give epochs, updates or both")


def _build(build, seed) -> keras.Model:
    keras.utils.set_random_seed(seed)
    model = build(seed)
    evaluation.check_model(model)
    return model


def _check_architecture(models) -> None:
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


def _examples(model, data, seeds, loss) -> list[Examples]:
    """Training and test examples, checked; of `Splits` both come from the same images."""
    dtype = model.trainable_variables[0].dtype

    def tensors(x, y):
        checked = evaluation.check(model, x, y, loss)
        return tf.constant(checked.x, dtype), tf.constant(checked.y)

    if isinstance(data, Splits):
        images, rows = tensors(data.x, data.y), {seed: data.rows(seed) for seed in seeds}
        return [Examples(*images, {seed: rows[seed][part] for seed in seeds}) for part in (0, 1)]
    return [
        Examples(*tensors(x, y), dict.fromkeys(seeds, np.arange(len(x))))
        for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test))
    ]
