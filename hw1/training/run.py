"""The training of one group of members by a compiled program: batch orders, evaluations, stops."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hw1.training.member import Member
from hw1.training.program import Program


class Examples(NamedTuple):
    """Training or test examples of all members.

    Attributes:
        x: inputs, shape [N, ...].
        y: targets, shape [N, ...].
        rows: of each member the rows of `x` and `y` that are its own, shape [n]; the same n for all of a group.
    """

    x: tf.Tensor
    y: tf.Tensor
    rows: list[np.ndarray]


class Stage(NamedTuple):
    """Some epochs of constant batch size.

    Attributes:
        batch_size: examples per step of a member.
        per_epoch: steps in an epoch.
        most: steps of the stage, at most.
        every: steps between evaluations.
        piece: steps between looks at the loss.
    """

    batch_size: int
    per_epoch: int
    most: int
    every: int
    piece: int


class Run:
    """The training of one group of members by a program."""

    def __init__(self, program: Program, members: list[Member], sets: list[Examples], target_loss, record, **options):
        """Loads the members into the program.

        Args:
            program: compiled for so many members.
            members: not trained yet.
            sets: training and test examples.
            target_loss: training loss at which a member stops, or None.
            record: what is kept of each member beside its history.
            **options: replacement, rates, a function (epochs) -> [steps, members] or None, and momentum, shape
                [members], or None; see `hw1.training.train`.
        """
        self.program, self.sets, self.target, self.record = program, sets, target_loss, record
        self.models, seeds = [member.model for member in members], [member.seed for member in members]
        self.waiting = members
        self.replacement, self.rates = options["replacement"], options["rates"]
        self.rows = [tf.constant(np.stack(part.rows), tf.int32) for part in sets]
        x, y, _ = sets[0]
        outputs = self.models[0](x[:1], training=False).shape
        self.with_accuracy = y.dtype.is_integer and y.shape.rank == 1 and len(outputs) == 2 and outputs[1] > 1
        self.orders = [np.random.default_rng([seed, 1]) for seed in seeds]
        self.evaluations: list[dict] = []
        self.weights: list[np.ndarray | None] = []
        self.steps: list[np.ndarray] = []
        self.status: list[str | None] = [None] * len(members)
        self.ends: list[tuple] = [()] * len(members)  # evaluations with weights, and updates, of each member
        program.load(self.models, seeds, options["momentum"])

    def train(self, stages: list[Stage], bar) -> None:
        """Runs the stages, evaluating on the way; ends when every member has."""
        done, epoch = 0, 0.0
        for stage in stages:
            before, start = done, epoch
            for order, taken, due in self._pieces(stage):
                self._run(order, stage, taken, epoch)
                done += taken
                epoch = start + (done - before) / stage.per_epoch
                bar.update(taken)
                if due:
                    self._evaluate(epoch, done)
                    bar.set_postfix(loss=f"{np.median(self.evaluations[-1]['train_loss']):.3g}", refresh=False)
                else:
                    self._look(epoch, done, stage.every / stage.per_epoch)
                if None not in self.status:
                    break
            if None not in self.status:
                break
        for member, status in enumerate(self.status):
            if status is None:
                self._finish(member, "ok" if self.target is None else "target not reached", done)
        bar.update(sum(stage.most for stage in stages) - done)

    def _run(self, order, stage, taken, epoch) -> None:
        """Takes some steps, and keeps what is recorded of them."""
        rates = np.zeros(0)
        if self.rates:
            rates = self.rates(epoch + np.arange(taken) / stage.per_epoch)
        rates = tf.constant(rates, self.program.net.trainable_variables[0].dtype)
        x, y, _ = self.sets[0]
        found = self.program.run(x, y, tf.constant(order, tf.int32), rates, stage.batch_size)
        if "steps" in self.record:
            self.steps.append(found.numpy())

    def _pieces(self, stage: Stage):
        """Yields the rows of some steps, shape [epochs, members, rows], how many steps, and whether a look is due."""
        batch_size, per_epoch, most, every, piece = stage
        own, done = self.rows[0].numpy(), 0
        if self.replacement:  # an epoch is no more than a number of batches: pieces of one length are compiled once
            for start in range(0, most, every):
                end = min(start + every, most)
                for begin in range(start, end, piece):
                    taken = min(piece, end - begin)
                    drawn = [rng.integers(own.shape[1], size=taken * batch_size) for rng in self.orders]
                    yield np.take_along_axis(own, np.stack(drawn), axis=1)[None], taken, begin + taken == end
            return
        while done < most:
            whole = min(every, most - done) // per_epoch
            order = np.stack(
                [
                    [rows[rng.permutation(len(rows))] for rng, rows in zip(self.orders, own, strict=True)]
                    for _ in range(whole or 1)
                ]
            )
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
        x, y, _ = self.sets[0]
        losses = self.program.totals(x, y, self.rows[0]).numpy()[0] / self.rows[0].shape[1]
        reached = near & (losses <= self.target)
        if reached.any():
            values, weights = self._values(epoch, done), self._flat()
            for member in np.flatnonzero(reached):
                self._finish(member, "ok", done, (values, weights))

    def _evaluate(self, epoch, done) -> None:
        """Records an evaluation that is due, and stops the members that are at the target or diverged."""
        values, weights = self._values(epoch, done), self._flat()
        self.evaluations.append(values)
        self.weights.append(weights)
        for member, loss in enumerate(values["train_loss"]):
            if self.status[member] is None and not np.isfinite(loss):
                self._finish(member, "diverged", done)
            elif self.status[member] is None and self.target is not None and loss <= self.target:
                self._finish(member, "ok", done)

    def _values(self, epoch, done) -> dict[str, np.ndarray]:
        """Epochs and steps so far, and losses and accuracies of all members now, each of shape [members]."""
        values = {"epoch": np.full(len(self.models), epoch), "evaluated": np.full(len(self.models), done)}
        for name, (x, y, _), rows in zip(("train", "test"), self.sets, self.rows, strict=True):
            losses, correct = self.program.totals(x, y, rows).numpy() / rows.shape[1]
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
        for m, member in enumerate(self.waiting):
            past, updates = self.ends[m]
            history = {name: np.array([values[name][m] for values, _ in past]) for name in self.evaluations[0]}
            member.evaluated = history.pop("evaluated")
            if self.status[m] == "diverged":  # an accuracy of such a net means nothing
                for name in set(history) - {"epoch"}:
                    history[name][-1] = np.nan
            member.history, member.status, member.updates = history, self.status[m], updates
            if "weights" in self.record:
                member.weights = np.stack([weights[m] for _, weights in past])
            if "steps" in self.record:
                losses, norms = np.concatenate(self.steps)[:updates, :, m].T
                member.steps = {"loss": losses, "gradient_norm": norms}
        return self.waiting
