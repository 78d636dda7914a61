"""What every question shares: settings and their sizes, flags, units of work, errors.

A question is a module with a frozen dataclass `Settings` (its fields made by `option`), `SIZES` (size → settings
that differ from the defaults), `units(settings)` (a list of dicts, one per unit of work) and
`run(settings, data, **unit)` (yields rows, dicts of column → value without the columns of the unit). It ends with

    if __name__ == "__main__":
        question.main(sys.modules[__name__])

Example:
    settings = make_settings(random_labels, "smoke", epochs=2)
    answer(random_labels, settings, "runs")  # runs/random_labels.csv, .json and figures
"""

import contextlib
import dataclasses
import math
import os
import sys
import textwrap
import time
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType

from absl import flags
from tqdm import tqdm

from hw1 import records

watch: Callable[[str, int, int], None] | None = None  # told name, units done and total, instead of a bar or lines

EXPECTED = (flags.Error, ValueError, TypeError, OSError)  # Errors that a message explains; others are bugs.


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
        help: one line, with the unit.
        minimum: the least allowed value. None: integers must be at least 1 and floats above 0.
        maximum: the largest allowed value, if there is one.
        at_most: name of the setting that bounds it: a batch is at most "train". None: no bound.
        choices: the allowed values. None: any.
        unique: whether the entries of a tuple must all be different.
    """
    metadata = {"help": help, "minimum": minimum, "maximum": maximum, "at_most": at_most}
    return dataclasses.field(default=default, metadata=metadata | {"choices": choices, "unique": unique})


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
    return settings


def check(settings) -> None:
    """Raises ValueError with flag, value and what would be right, if a setting is wrong."""
    for field, kind, many in _fields(type(settings)):
        value = getattr(settings, field.name)
        entries = value if many else (value,)
        right = isinstance(entries, tuple) and entries and all(_is_right(field, kind, entry) for entry in entries)
        if not right or (field.metadata.get("unique", True) and len(set(entries)) < len(entries)):
            raise ValueError(f"--{field.name}={_write(value)}: must be {_wanted(field, kind, many)}")
    for field, _, many in _fields(type(settings)):
        value, bound = getattr(settings, field.name), field.metadata.get("at_most")
        if bound and max(value if many else (value,)) > getattr(settings, bound):
            raise ValueError(f"--{field.name}={_write(value)}: must be at most --{bound}={getattr(settings, bound)}")


def answer(module: ModuleType, settings, out: str | Path = "runs", name: str | None = None) -> Path:
    """Runs the units of a question that are not done yet, writes each, and draws the figure.

    Args:
        module: the question.
        settings: as `make_settings` gives them.
        out: folder of the results; made if needed.
        name: name of the files. None: that of the module.

    Returns:
        The path of the CSV.

    Raises:
        ValueError: a setting is wrong, or `out` has a record with other settings.
        OSError: `out` is in use by another run or cannot be written.
    """
    check(settings)
    name, out = name or name_of(module), Path(out)
    with records.lock(out):
        data, about = _load_data(settings)
        recorded = dataclasses.asdict(settings) | ({"data": about["name"]} if about else {})
        record = records.Record(out, name, recorded, module.units(settings), about)
        total, missing = len(record.units), record.missing
        done = total - len(missing)
        if watch:
            watch(name, done, total)
        else:
            say(f"{name}: {total} units, {done} of them done, to {record.csv}")
        with tqdm(missing, name, total, initial=done, unit="unit", disable=True if watch else None) as bar:
            for unit in bar:
                _make_deterministic()
                start = time.perf_counter()
                rows = list(module.run(settings, data, **unit))
                seconds = time.perf_counter() - start
                record.add(unit, rows, seconds)
                done += 1
                if watch:
                    watch(name, done, total)
                elif bar.disable:  # Not a terminal.
                    said = ", ".join(f"{key}={value}" for key, value in unit.items())
                    say(f"{name}: {done}/{total} {said} ({seconds:.1f} s)")
        from hw1 import plot  # Here because Matplotlib takes a second.

        plot.draw(name, out)
    return record.csv


def main(module: ModuleType, argv: list[str] | None = None) -> None:
    """Runs a question as a command; its flags are the fields of `Settings`, and those of `common_flags`.

    Exits with 2 for wrong flags, 1 for an error during the work, 130 when interrupted.
    """
    values = common_flags(module.SIZES)
    sizes = {size: make_settings(module, size) for size in module.SIZES}
    for field, kind, _ in _fields(module.Settings):
        defaults = {size: _write(getattr(settings, field.name)) for size, settings in sizes.items()}
        if len(set(defaults.values())) > 1:
            default = ", ".join(f"{size}: {value}" for size, value in defaults.items())
        else:
            default = defaults["report"]
        define = flags.DEFINE_bool if kind is bool else flags.DEFINE_string
        define(field.name, None, f"{field.metadata['help']} [{default}]", flag_values=values)
    with exit_on_error(code=2):
        parse(values, argv, module.__doc__)
        given = {
            field.name: _read(getattr(values, field.name), kind, many) for field, kind, many in _fields(module.Settings)
        }
        settings = make_settings(module, values.size, **given)
    with exit_on_error(traceback=values.traceback):
        answer(module, settings, values.out)


def common_flags(sizes: Iterable[str]) -> flags.FlagValues:
    """The flags of every command that computes, in an object of its own: importing a module defines no flag."""
    values = base_flags()
    flags.DEFINE_enum("size", "report", list(sizes), "settings to start from [report]", flag_values=values)
    return values


def base_flags(out: str | None = "runs") -> flags.FlagValues:
    """The flags of commands that need no size; --out only where a folder is given."""
    values = flags.FlagValues()
    if out:
        flags.DEFINE_string("out", out, f"folder of the results [{out}]", flag_values=values)
    flags.DEFINE_bool("traceback", False, "show where an error arose [false]", flag_values=values)
    flags.DEFINE_bool("help", False, "show this text", flag_values=values)
    return values


def parse(values: flags.FlagValues, argv: list[str] | None, text: str | None) -> None:
    """Reads the command line into `values`. With --help prints `text` and the flags, and exits.

    Raises:
        flags.Error: a flag is unknown or malformed.
        ValueError: there is an argument that is no flag.
    """
    rest = values(sys.argv if argv is None else argv)[1:]
    if values.help:
        print(f"{(text or '').strip()}\n\nFlags [default]:")
        for name in values:
            print(textwrap.fill(f"--{name}: {values[name].help}", 110, initial_indent="  ", subsequent_indent="      "))
        sys.exit()
    if "out" in values and values.out == "":
        raise ValueError("--out= is empty: name a folder, or . for this one")
    if rest:
        raise ValueError(f"{rest[0]!r} is no flag; flags are written --name=value, --help lists them")


@contextlib.contextmanager
def exit_on_error(code: int = 1, traceback: bool = False) -> Iterator[None]:
    """Turns an error into one line and an exit code, an interruption into 130."""
    try:
        yield
    except KeyboardInterrupt:
        say("interrupted: finished units are kept, and the same command goes on from there")
        sys.exit(130)
    except EXPECTED as error:
        if traceback:
            raise
        say(f"error: {describe(error)}")
        sys.exit(code)


def describe(error: Exception) -> str:
    """One line about an error; the type too, where the message alone may not explain it."""
    text = " ".join(str(error).split())
    return text if text and isinstance(error, EXPECTED) else f"{type(error).__name__}: {text}"


def say(text: str) -> None:
    """Prints to stderr at once, above any bars."""
    tqdm.write(text, file=sys.stderr)


def name_of(module: ModuleType) -> str:
    """The module's file name, also under `python -m`, where `__name__` is "__main__"."""
    return (module.__spec__.name if module.__spec__ else module.__name__).rpartition(".")[2]


def label(data: str) -> str:
    """What rows and records call a data set: its name, or the last part of its path."""
    return Path(data).name or data


def _fields(settings: type) -> Iterator[tuple[dataclasses.Field, type, bool]]:
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


def _write(value: object) -> str:
    """Writes a setting as its flag has it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _read(value: str | bool | None, kind: type, many: bool) -> object:
    """Reads a flag. What cannot be read stays text, which `check` then refuses."""
    if not isinstance(value, str):
        return value
    if many:
        return tuple(_read(entry.strip(), kind, False) for entry in value.split(","))
    try:
        return kind(value)
    except ValueError:
        return value


def _wanted(field: dataclasses.Field, kind: type, many: bool) -> str:
    minimum, choices = field.metadata.get("minimum"), field.metadata.get("choices")
    if choices:
        one = f"one of {', '.join(map(str, choices))}"
    elif kind is int:
        one = f"a whole number of at least {1 if minimum is None else minimum}"
    elif kind is float:
        one = "a finite number above 0" if minimum is None else f"a finite number of at least {minimum}"
    else:
        one = "some text" if kind is str else "true or false"
    if kind in (int, float) and field.metadata.get("maximum", math.inf) < math.inf:
        one += f" and at most {field.metadata['maximum']}"
    different = "different values" if field.metadata.get("unique", True) else "values"
    return f"{different} with commas between them (in Python a tuple), each {one}" if many else one


def _load_data(settings) -> tuple[object, dict | None]:
    """Loads the data set that the settings name, and describes it; without a field `data`, None and None.

    Where `data` names several, they come as a dict by `label`.
    """
    if not hasattr(settings, "data"):
        return None, None
    from hw1 import datasets

    sizes = {part: getattr(settings, part) for part in ("train", "test") if hasattr(settings, part)}
    names = settings.data if isinstance(settings.data, tuple) else (settings.data,)
    sets = [datasets.load(name, **sizes) for name in names]
    about = {
        "name": ", ".join(label(data.name) for data in sets),
        "sha256": ", ".join(data.sha256 for data in sets),
        "train": min(len(data.x_train) for data in sets),
        "test": min(len(data.x_test) for data in sets),
        "classes": max(data.classes for data in sets),
    }
    if not isinstance(settings.data, tuple):
        return sets[0], about
    by_label = dict(zip(map(label, names), sets, strict=True))
    if len(by_label) < len(sets):
        raise ValueError(
            f"--data={_write(settings.data)}: must be files of different names, as rows tell them by these"
        )
    return by_label, about


def _make_deterministic() -> None:
    """Lets a unit give the same bytes whether it runs first or last, on any number of cores.

    One thread is also the faster way to run two questions on two cores: small nets gain little from a second one.
    """
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # read when TensorFlow runs its first operation
    import keras  # here because it takes seconds
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # its warnings of retracing are for loops that build the same function anew
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
