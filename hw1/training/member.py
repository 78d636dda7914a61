"""What training gives back: a net, how it came about, and the data that it saw."""

import dataclasses

import keras
import numpy as np

from hw1.datasets import Dataset, Splits

MOST_LOSS = 1e3


@dataclasses.dataclass
class Member:
    """One trained net.

    Attributes:
        seed: of its initial weights, its batch order and, where the data are `Splits`, of the split.
        model: an ordinary Keras model with the final weights.
        history: arrays with one value per evaluation: ``epoch`` (passes so far), ``train_loss``, ``test_loss``, and
            for integer labels ``train_accuracy``, ``test_accuracy``; over the whole sets, in inference mode. The last
            one may come sooner after the one before, where the target was met; those of a diverged net are NaN.
        status: "ok", "target not reached" or "diverged" (the loss was no longer finite).
        updates: mini-batches taken, so optimizer steps where each is given one.
        evaluated: how many of them were taken before each evaluation, int [evaluations].
        source: what `train` was given as data.
        examples: the number of training examples, if it is not all of them.
        weights: with ``record=["weights"]`` the flat parameters at each evaluation, shape [evaluations, parameters].
        steps: with ``record=["steps"]`` the mini-batch ``loss`` and ``gradient_norm`` (√Σ‖∂L/∂p‖₂²) before each step.
    """

    seed: int
    model: keras.Model
    history: dict[str, np.ndarray]
    status: str
    updates: int
    source: Dataset | Splits
    examples: int | None = None
    evaluated: np.ndarray | None = None
    weights: np.ndarray | None = None
    steps: dict[str, np.ndarray] | None = None

    @property
    def data(self) -> Dataset:
        """The training and test set that this member saw; of `Splits` made anew when another member's was used."""
        data = self.source.of(self.seed) if isinstance(self.source, Splits) else self.source
        if self.examples is None:
            return data
        return dataclasses.replace(data, x_train=data.x_train[: self.examples], y_train=data.y_train[: self.examples])

    @property
    def lost(self) -> bool:
        """Whether it diverged, or its loss is above `MOST_LOSS`, where rounding hides small changes."""
        return self.status == "diverged" or not self.final["train_loss"] <= MOST_LOSS

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


def measurable(members: list[Member]) -> list[Member]:
    """The members that did not diverge.

    Raises:
        ValueError: all of them did.
    """
    finite = [member for member in members if member.status != "diverged"]
    if not finite:
        raise ValueError(f"all {len(members)} nets diverged, so there is nothing to measure: lower the learning rate")
    return finite
