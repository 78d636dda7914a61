"""Settings of a question: fields with a help text and bounds, and what is wrong with their values.

Example:
    @dataclasses.dataclass(frozen=True)
    class Settings(Images):
        epochs: int = option(20, "passes over the training images")
"""

import dataclasses
import math
import typing
from collections.abc import Iterable, Iterator

from hw1.spelling import LARGEST, wanted, write


def option(
    default,
    help: str,
    minimum: float | None = None,
    maximum: float = math.inf,
    at_most: str | None = None,
    choices: Iterable | None = None,
    unique: bool = True,
    ascending: bool = False,
    one_for: str | None = None,
):
    """Makes a field of `Settings`.

    Args:
        default: its value at size report.
        help: one line, with the unit. What comes before its first comma, semicolon or bracket names the setting in the
            report, such as "step size of Adam" or "training loss in nats".
        minimum: the least allowed value. None: integers must be at least 1 and floats above 0.
        maximum: the largest allowed value, if there is one.
        at_most: name of the setting that bounds it: a batch is at most "train". None: no bound.
        choices: the allowed values. None: any.
        unique: whether the entries of a tuple must all be different.
        ascending: whether the entries of a tuple are sorted.
        one_for: name of a setting for each of whose entries a tuple has one, or one for all. Where that setting is
            given and this is not, it is the largest default, for all.
    """
    metadata = {"help": help, "minimum": minimum, "maximum": maximum, "at_most": at_most, "choices": choices}
    return dataclasses.field(
        default=default, metadata=metadata | {"unique": unique, "ascending": ascending, "one_for": one_for}
    )


@dataclasses.dataclass(frozen=True)
class Repeated:
    """Settings of every question: its independent repetitions."""

    seeds: int = option(5, "independent repetitions (initial weights, batch order and, of images, the split)")
    first_seed: int = option(0, "seed of the first repetition; the others have the numbers that follow", minimum=0)
    by_seed: bool = option(False, "a unit of work for each seed: shorter ones, for many workers; rounding differs")

    @property
    def all_seeds(self) -> range:
        """The seeds of all repetitions."""
        return range(self.first_seed, self.first_seed + self.seeds)


@dataclasses.dataclass(frozen=True)
class Images(Repeated):
    """Settings of the questions on images."""

    data: str = option("mnist10k", "data set: a name of hw1.datasets or a path")
    train: int = option(5000, "training examples")
    test: int = option(5000, "test examples")
    splits: str = option(
        "seed",
        "division into training and test set, drawn anew by each seed or fixed as the data set has it",
        choices=("seed", "fixed"),
    )
    pixels: float | None = option(
        None, "value of white, by which pixels are divided; told by the pixels where that is possible"
    )


@dataclasses.dataclass(frozen=True)
class OneLoss(Images):
    """Settings of the questions that compare nets at one training loss."""

    hidden: tuple[int, ...] = option((30, 20), "widths of the hidden layers", unique=False)
    target_loss: float = option(0.05, "training loss in nats to which every net is trained")
    updates: int = option(20000, "largest number of optimizer steps")


def check(settings) -> None:
    """Raises ValueError with flag, value and what would be right, if a setting is wrong."""
    for field, kind, many in fields(type(settings)):
        value = getattr(settings, field.name)
        entries = value if many else (value,)
        right = isinstance(entries, tuple) and entries and all(_is_right(field, kind, entry) for entry in entries)
        if not right or (field.metadata.get("unique", True) and len(set(entries)) < len(entries)):
            raise ValueError(f"--{field.name}={write(value)}: must be {wanted(field, kind, many, value)}")
    for field, _, many in fields(type(settings)):
        value, bound = getattr(settings, field.name), field.metadata.get("at_most")
        if bound and max(value if many else (value,)) > getattr(settings, bound):
            raise ValueError(f"--{field.name}={write(value)}: must be at most --{bound}={getattr(settings, bound)}")


def fields(settings: type) -> Iterator[tuple[dataclasses.Field, type, bool]]:
    """Yields each field with the type of its entries and whether it is a tuple of them."""
    hints = typing.get_type_hints(settings)
    for field in dataclasses.fields(settings):
        kind = hints[field.name]
        yield field, (*typing.get_args(kind), kind)[0], typing.get_origin(kind) is tuple


def _is_right(field: dataclasses.Field, kind: type, value: object) -> bool:
    minimum, choices = field.metadata.get("minimum"), field.metadata.get("choices")
    if value is None:
        return field.default is None
    if choices:
        return value in choices
    if kind not in (int, float):
        return isinstance(value, kind) and value != ""
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        return False
    maximum = field.metadata.get("maximum", math.inf)
    maximum = min(maximum, LARGEST) if kind is int else maximum
    return (value > 0 if minimum is None else value >= minimum) and value <= maximum and value < math.inf
