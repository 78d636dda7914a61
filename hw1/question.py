"""What every experiment shares: settings and their sizes, units of work, data, and the record that they go to.

An experiment is a module with

    Settings   a frozen dataclass; its fields are made by `option` or inherited from `Repeated`, `Images`, `OneLoss`
    SIZES      size → settings that differ from the defaults
    COLUMNS    table → its columns; "rows" is the CSV of the question, others are further CSVs
    units      settings → a list of dicts, one a unit of work
    run        settings, data and a unit → rows, dicts of column → value without the columns of the unit

Example:
    settings = make_settings(random_labels, "smoke", epochs=2)
    run_units(random_labels, settings, "runs")  # runs/random_labels.csv and .json
"""

import dataclasses
import math
import os
import time
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType

from hw1 import files, records

# Columns that most questions have.
LOSSES_AND_ACCURACIES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")

# What a setting of a type is called, alone and where there are several.
ONE = {int: "a whole number", float: "a finite number", str: "some text", bool: "true or false"}
SEVERAL = {int: "whole numbers", float: "finite numbers", str: "names"}


def option(
    default,
    help: str,
    minimum: float | None = None,
    maximum: float = math.inf,
    at_most: str | None = None,
    choices: Iterable | None = None,
    unique: bool = True,
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
    """
    metadata = {"help": help, "minimum": minimum, "maximum": maximum, "at_most": at_most}
    return dataclasses.field(default=default, metadata=metadata | {"choices": choices, "unique": unique})


@dataclasses.dataclass(frozen=True)
class Repeated:
    """Settings of every question: its independent repetitions."""

    seeds: int = option(5, "independent repetitions (initial weights, batch order and, of images, the split)")
    first_seed: int = option(0, "seed of the first repetition; the others have the numbers that follow", minimum=0)

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


@dataclasses.dataclass(frozen=True)
class OneLoss(Images):
    """Settings of the questions that compare nets at one training loss."""

    hidden: tuple[int, ...] = option((30, 20), "widths of the hidden layers", unique=False)
    target_loss: float = option(0.05, "training loss in nats to which every net is trained")
    updates: int = option(20000, "largest number of optimizer steps")


def make_settings(module: ModuleType, size: str = "report", **overrides):
    """Makes the settings of a question: `overrides` come before the size's values, those before the defaults.

    Args:
        module: the question.
        size: a key of `module.SIZES`.
        **overrides: field → value; None counts as not given.

    Raises:
        ValueError: the size is unknown, or a value is out of its range.
        TypeError: there is no such field.
    """
    if size not in module.SIZES:
        raise ValueError(f"unknown size {size!r}; the sizes are {', '.join(module.SIZES)}")
    given = {name: value for name, value in overrides.items() if value is not None}
    settings = module.Settings(**(module.SIZES[size] | given))
    check(settings)
    module.units(settings)  # raises for settings that do not fit together
    return settings


def check(settings) -> None:
    """Raises ValueError with flag, value and what would be right, if a setting is wrong."""
    for field, kind, many in fields(type(settings)):
        value = getattr(settings, field.name)
        entries = value if many else (value,)
        right = isinstance(entries, tuple) and entries and all(_is_right(field, kind, entry) for entry in entries)
        if not right or (field.metadata.get("unique", True) and len(set(entries)) < len(entries)):
            raise ValueError(f"--{field.name}={write(value)}: must be {_wanted(field, kind, many, value)}")
    for field, _, many in fields(type(settings)):
        value, bound = getattr(settings, field.name), field.metadata.get("at_most")
        if bound and max(value if many else (value,)) > getattr(settings, bound):
            raise ValueError(f"--{field.name}={write(value)}: must be at most --{bound}={getattr(settings, bound)}")


def run_units(
    module: ModuleType,
    settings,
    out: str | Path = "runs",
    name: str | None = None,
    watch: Callable[[int, int, dict | None, float], None] | None = None,
    loaded: tuple[object, dict | None] | None = None,
) -> Path:
    """Runs the units of a question that are not done yet, and writes each as soon as it is done.

    Args:
        module: the experiment.
        settings: as `make_settings` gives them.
        out: folder of the results; made if needed.
        name: name of the files. None: that of the module.
        watch: called before the first unit and after each with the number of units done, that of all units, the unit
            (None before the first) and the seconds it took.
        loaded: what `load_data` gave for these settings. None: it is called.

    Returns:
        The path of the CSV.

    Raises:
        ValueError: a setting is wrong, or `out` has a record with other settings.
        OSError: `out` is in use by another run or cannot be written.
    """
    check(settings)
    name, out, watch = name or name_of(module), Path(out), watch or (lambda *state: None)
    data, about = loaded or load_data(settings)
    with files.lock(out):
        recorded = dataclasses.asdict(settings) | ({"data": about["name"]} if about else {})
        record = records.Record(out, name, module.COLUMNS, recorded, module.units(settings), about)
        total, missing = len(record.units), record.missing
        watch(total - len(missing), total, None, 0.0)
        for done, unit in enumerate(missing, total - len(missing) + 1):
            _make_deterministic()
            start = time.perf_counter()
            rows = list(module.run(settings, data, **unit))
            seconds = time.perf_counter() - start
            record.add(unit, rows, seconds)
            watch(done, total, unit, seconds)
    return record.csv


def name_of(module: ModuleType) -> str:
    """The module's file name, also under `python -m`, where `__name__` is "__main__"."""
    return (module.__spec__.name if module.__spec__ else module.__name__).rpartition(".")[2]


def label(data: str) -> str:
    """What rows and records call a data set: its name, or the last part of its path."""
    return Path(data).name or data


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
    return (value > 0 if minimum is None else value >= minimum) and value <= maximum and value < math.inf


def write(value: object) -> str:
    """A setting as its flag has it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def read(value: str | bool | None, kind: type, many: bool) -> object:
    """The value of a flag. What cannot be read stays text, which `check` then refuses."""
    if not isinstance(value, str):
        return value
    if many:
        return tuple(read(entry.strip(), kind, False) for entry in value.split(","))
    try:
        return kind(value)
    except ValueError:
        return value


def _wanted(field: dataclasses.Field, kind: type, many: bool, value: object) -> str:
    """What a setting must be, in words, with an example where it has several entries."""
    choices = ", ".join(map(str, field.metadata.get("choices") or ()))
    if not many:
        return f"one of {choices}" if choices else f"{ONE[kind]}{_range(field, kind)}"
    several = f"different {SEVERAL[kind]}" if field.metadata.get("unique", True) else SEVERAL[kind]
    if choices:
        return f"{several} with commas between them, each one of {choices}"
    example = field.default[:2]
    if isinstance(value, tuple):
        return f"{several}{_range(field, kind)}, such as {write(example)}"
    return f"a tuple of {several}{_range(field, kind)}, such as {example}"


def _range(field: dataclasses.Field, kind: type) -> str:
    """What the bounds of a number are, in words; empty for what is no number."""
    if kind not in (int, float):
        return ""
    minimum, maximum = (field.metadata.get(bound) for bound in ("minimum", "maximum"))
    smallest = " of at least 1" if kind is int else " above 0"
    least = smallest if minimum is None else f" of at least {minimum}"
    return least if maximum in (None, math.inf) else f"{least} and at most {maximum}"


def load_data(settings) -> tuple[object, dict | None]:
    """The images that the settings name, as `hw1.datasets.Splits`, and a description; else None and None.

    Where `data` names several sets, they come as a dict by `label`.

    Raises:
        ValueError: there is no such data set, or it is damaged or too small. The message names the flag.
        OSError: a download failed, or a file cannot be read.
    """
    if not hasattr(settings, "data"):
        return None, None
    from hw1 import datasets

    names = settings.data if isinstance(settings.data, tuple) else (settings.data,)
    try:
        sets = [datasets.load_splits(name, settings.train, settings.test, settings.splits) for name in names]
    except datasets.SizeError as error:
        raise ValueError(f"--train={settings.train} --test={settings.test}: {error}") from error
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"--data={write(settings.data)}: {error}") from error
    about = {
        "name": ", ".join(label(data.name) for data in sets),
        "sha256": ", ".join(data.sha256 for data in sets),
        "train": min(data.train for data in sets),
        "test": min(data.test for data in sets),
        "classes": max(data.classes for data in sets),
        "chance": max(data.chance for data in sets),
        "shape": list(sets[0].shape) if len({data.shape for data in sets}) == 1 else None,
    }
    if not isinstance(settings.data, tuple):
        return sets[0], about
    by_label = dict(zip(map(label, names), sets, strict=True))
    if len(by_label) < len(sets):
        raise ValueError(f"--data={write(settings.data)}: must be files of different names, as rows tell them by these")
    return by_label, about


def _make_deterministic() -> None:
    """Makes the bytes of a unit independent of the order in which units run, and of the number of cores.

    One thread is also the faster way to answer two questions on two cores: small nets gain little from a second one.
    """
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # read when TensorFlow runs its first operation
    import keras  # here because it takes seconds
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # it warns of retracing where a loop builds the same function anew
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
