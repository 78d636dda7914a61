"""Trains many small nets at once: one compiled program runs whole epochs of all members.

A *member* is one net with its own seed: initial weights, batch order and, where the data are `hw1.datasets.Splits`, its
own training and test set. Fully connected members are stacked on a leading axis (a kernel becomes [members, in, out])
and trained by one matrix product and one optimizer step for all. An elementwise optimizer makes that exactly the
training of each member alone. Nets that cannot be stacked (convolutions, batch normalisation) and optimizers that are
not elementwise (clipping by norm, LAMB, Muon ...) are trained member by member through the same program, compiled once.

`member` has what comes back, `stacking` the stacked layers, `program` the compiled steps, `directions` what they take
instead of the gradient, `plan` what each member is trained with, `run` the loop around all of it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hw1 import evaluation
from hw1.datasets import Splits
from hw1.training import directions, plan
from hw1.training.member import Member, measurable
from hw1.training.program import Step, elementwise, make_program
from hw1.training.run import Examples, Run
from hw1.training.stacking import stackable

__all__ = ["RECORDS", "Member", "directions", "measurable", "train"]

RECORDS = ("weights", "steps")
_PIECES = 5  # looks at the training loss in each interval between evaluations, where it nears the target


def train(
    build: Callable[[int], keras.Model],
    data,
    *,
    batch_size: int | Sequence[int] | Mapping[int, int],
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
    learning_rate: float | Sequence[float] | Mapping[int, float] | Callable | None = None,
    momentum: float | Sequence[float] | None = None,
    examples: int | Sequence[int] | None = None,
    replacement: bool = False,
    direction: Callable | None = None,
    record: Collection[str] = (),
    progress: str | None = None,
) -> list[Member]:
    """Trains one member per seed.

    Every epoch visits each training example once, in an order drawn from the member's seed; the last batch of an
    epoch may be smaller. A member that reaches the target or diverges stops there and leaves the others alone.

    Members of a grid differ in more than the seed: batch_size, learning_rate, momentum and examples take one value for
    each entry of `seeds`, and seeds may then repeat. What a member becomes does not depend on the others. Members of
    one batch size and number of examples are stacked, whatever their rates and momenta.

    Args:
        build: makes the net of a seed, all of one architecture; the global seeds are set to it before the call.
        data: one training and test set for all members, with x_train, y_train, x_test, y_test as `hw1.datasets.load`
            gives them; or `hw1.datasets.Splits`, of which each member gets the split of its seed.
        batch_size: examples per step; one number, one for each member, or a schedule: a dict from the epoch at which
            it begins to the number (or one for each member), such as {0: 20, 10: 60}.
        optimizer: makes a Keras optimizer, fresh.
        seeds: non-negative integers, all different unless other arguments tell members apart; an integer n stands for
            range(n).
        epochs: passes over the training set, at most.
        updates: mini-batches (optimizer steps, while inner_steps is 1), at most; give epochs, updates or both.
        target_loss: stop a member once its loss over the whole training set is at or below this.
        evaluate_every: epochs between evaluations (the end is always evaluated).
        evaluate_updates: instead, about so many steps between evaluations: that many, or the whole epochs in them.
            With replacement, exactly that many.
        loss: None for softmax cross-entropy of logits, else a function (y, outputs) -> [n] or a keras.losses.Loss.
        objective: what a mini-batch minimises instead of its loss: a function (net, x, y, loss) -> [n] of TensorFlow
            operations, a value per example, where ``net(x, training=True)`` gives outputs and ``loss(y, outputs)``
            losses. It may see the examples of several members at once, so no example may depend on another.
        inner_steps: optimizer steps on each mini-batch before the next one.
        proximal: λ of the term λ/2 ‖θ − θ_B‖² in each of them, θ_B the parameters when the mini-batch came.
        learning_rate: instead of the optimizer's: one number, one for each member, a schedule like that of batch_size,
            or a function of the epochs passed before each step, [steps] -> [steps] or [steps, members].
        momentum: one number or one for each member, for keras.optimizers.SGD instead of its own.
        examples: training examples, the first ones of a member's training set; one number or one for each member.
            None: all.
        replacement: draw each batch with replacement, as theories of SGD have it. An epoch is then as many batches as
            it would be without, all of them full. (Batches of a shuffled epoch are correlated: their noise cancels
            within it.)
        direction: what the optimizer is given instead of the gradient, see `hw1.training.directions`.
        record: any of "weights" and "steps", see `Member`.
        progress: label of a progress bar; None for no bar.

    Returns:
        One `Member` per seed, in order.

    Raises:
        TypeError, ValueError: for arguments, nets or data that do not fit, naming what would be right.
    """
    differ = callable(learning_rate) or any(map(plan.differs, (batch_size, learning_rate, momentum, examples)))
    seeds = _check_seeds(seeds, may_repeat=differ)
    inner_steps, epochs, updates, evaluate_every, evaluate_updates = _check_numbers(
        inner_steps=inner_steps,
        epochs=epochs,
        updates=updates,
        evaluate_every=evaluate_every,
        evaluate_updates=evaluate_updates,
    )
    _check_options(optimizer, epochs, updates, target_loss, inner_steps, proximal, record)
    end = np.inf if epochs is None else epochs
    sizes, rates = plan.batch_sizes(batch_size, len(seeds), end), plan.rates(learning_rate, len(seeds), end)
    momenta = None if momentum is None else plan.per_member("momentum", momentum, len(seeds))
    template = _build(build, seeds[0])
    together = elementwise(optimizer()) and stackable(template)
    _check_rule(optimizer(), momenta, rates)
    models = [_build(build, seed) for seed in seeds]
    _check_architecture(models)
    sets = _examples(models[0], data, seeds, loss)
    if examples is not None:
        sets[0] = _first(sets[0], plan.per_member("examples", examples, len(seeds), whole=True))
    counts = [len(rows) for rows in sets[0].rows]
    _check_sizes(sizes, counts)
    members = [
        Member(seed, model, {}, "", 0, data, None if examples is None else count)
        for seed, model, count in zip(seeds, models, counts, strict=True)
    ]
    groups = plan.groups(list(zip(sizes, counts, strict=True))) if together else [[m] for m in range(len(seeds))]
    pieces = 1 if target_loss is None or not evaluate_updates else _PIECES
    plans = [
        plan.stages(
            sizes[group[0]],
            counts[group[0]],
            epochs,
            updates,
            lambda per_epoch: evaluate_updates or evaluate_every * per_epoch,
            pieces,
        )
        for group in groups
    ]
    step = Step(objective, inner_steps, float(proximal), direction, rates is not None, momenta is not None)
    with tqdm(
        total=plan.total(plans), desc=progress, unit="step", disable=None if progress else True, leave=False
    ) as bar:
        for group, stages in zip(groups, plans, strict=True):
            work = len(group) * max(stage.batch_size for stage in stages) * template.count_params()
            most = sum(stage.most for stage in stages)
            program = make_program(
                template, optimizer(), len(group), most, work, loss, step, "steps" in record, together
            )
            run = Run(
                program,
                [members[m] for m in group],
                [Examples(x, y, [rows[m] for m in group]) for x, y, rows in sets],
                target_loss,
                record,
                replacement=replacement,
                rates=rates and (lambda passed, group=group: rates(passed)[:, group]),
                momentum=momenta if momenta is None else momenta[group],
            )
            run.train(stages, bar)
            run.members()
    return members


def _check_seeds(seeds, may_repeat: bool) -> list[int]:
    if isinstance(seeds, int | np.integer):
        seeds = range(seeds)
    seeds = list(seeds) if isinstance(seeds, Iterable) else [seeds]
    if not seeds or any(isinstance(s, bool) or not hasattr(s, "__index__") or s < 0 for s in seeds):
        raise ValueError(f"seeds must be one or more non-negative integers, not {seeds!r}")
    if len(set(seeds)) < len(seeds) and not may_repeat:
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


def _check_rule(optimizer, momenta, rates) -> None:
    """Raises unless the optimizer can take rates and momenta from outside."""
    if momenta is not None and type(optimizer) is not keras.optimizers.SGD:
        raise ValueError(f"momentum goes with keras.optimizers.SGD, not with {type(optimizer).__name__}")
    if momenta is not None and (momenta >= 1).any():
        raise ValueError(f"momentum must be below 1, not {momenta.max():g}")
    scheduled = isinstance(optimizer._learning_rate, keras.optimizers.schedules.LearningRateSchedule)
    if rates is not None and scheduled:
        raise ValueError("give learning_rate or an optimizer with a schedule of its own, not both")


def _check_sizes(sizes, counts) -> None:
    for milestones, n in zip(sizes, counts, strict=True):
        largest = max(size for _, size in milestones)
        if largest > n:
            raise ValueError(f"batch_size {largest} is larger than the {n} training examples: use at most {n}")


def _first(part: Examples, counts) -> Examples:
    """Training examples of which each member has its first ones only."""
    for count, rows in zip(counts, part.rows, strict=True):
        if count > len(rows):
            raise ValueError(
                f"examples {count} is more than the {len(rows)} training examples: use at most {len(rows)}"
            )
    return part._replace(rows=[rows[:count] for count, rows in zip(counts, part.rows, strict=True)])


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
        return [Examples(*images, [rows[seed][part] for seed in seeds]) for part in (0, 1)]
    return [
        Examples(*tensors(x, y), [np.arange(len(x))] * len(seeds))
        for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test))
    ]
