"""What every experiment shares: settings and their sizes, units of work, data, and the record that they go to.

An experiment is a module with

    Settings   a frozen dataclass; its fields are made by `option` or inherited from `Repeated`, `Images`, `OneLoss`
               (`hw1.settings`)
    SIZES      size → settings that differ from the defaults
    COLUMNS    table → its columns; "rows" is the CSV of the question, others are further CSVs
    units      settings → a list of dicts, one a unit of work
    run        settings, data and a unit → rows, dicts of column → value without the columns of the unit
    suited     optional: settings, data → setting → value that suits the data and why (see `prepare`)
    BY_SEED    optional: True if the rows of a seed depend on no other seed, so that `--by_seed` may divide units

Example:
    settings = make_settings(random_labels, "smoke", epochs=2)
    run_units(random_labels, settings, "runs")  # runs/random_labels.csv and .json
"""

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from hw1 import files, records
from hw1.settings import Images, OneLoss, Repeated, check, fields, option  # noqa: F401 - experiments take them from here
from hw1.spelling import read, write  # noqa: F401 - commands take `read` from here

LATER = ("pixels", "by_seed")  # settings that older records lack: recorded only where they are given
# Columns that most questions have.
LOSSES_AND_ACCURACIES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")


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
    for field, *_ in fields(type(settings)):
        value, counted = getattr(settings, field.name), field.metadata.get("one_for")
        if field.metadata.get("ascending"):
            value = tuple(sorted(value))
        if counted in given and field.name not in given and len(value) != len(given[counted]):
            value = (max(value),)
        settings = dataclasses.replace(settings, **{field.name: value})
    units(module, settings)  # raises for settings that do not fit together
    return settings


def units(module: ModuleType, settings) -> list[dict]:
    """The units of work in the order of the CSV: those of the module, and by `by_seed` one for each seed of each.

    Raises:
        ValueError: the settings do not fit together, or the seeds are computed together.
    """
    whole = module.units(settings)
    if not getattr(settings, "by_seed", False):
        return whole
    if not getattr(module, "BY_SEED", False):
        raise ValueError(f"--by_seed: the seeds of {name_of(module)} are computed together; leave it out")
    return [unit | {"seed": seed} for unit in whole for seed in settings.all_seeds]


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
        loaded: what `prepare` gave with these settings. None: it is called.

    Returns:
        The path of the CSV.

    Raises:
        ValueError: a setting is wrong, or `out` has a record with other settings.
        OSError: `out` is in use by another run or cannot be written.
    """
    check(settings)
    name, watch = name or name_of(module), watch or (lambda *state: None)
    settings, (data, about) = (settings, loaded) if loaded else prepare(module, settings)
    with files.lock(out):
        record = open_record(module, settings, out, name, about)
        total, missing = len(record.units), record.missing
        watch(total - len(missing), total, None, 0.0)
        for done, unit in enumerate(missing, total - len(missing) + 1):
            rows, seconds = compute(module, settings, data, unit)
            record.add(unit, rows, seconds)
            watch(done, total, unit, seconds)
    return record.csv


def open_record(module: ModuleType, settings, out: str | Path, name: str, about: dict | None, made_by=None):
    """The record of a question in a folder that is locked.

    Args:
        module: the experiment.
        settings: as `prepare` gives them.
        out: the folder.
        name: name of the files.
        about: the description of the data that `prepare` gives.
        made_by: what computes the units, see `hw1.records.Record`.

    Raises:
        ValueError, OSError: as of `hw1.records.Record`.
    """
    recorded = dataclasses.asdict(settings) | ({"data": about["name"]} if about else {})
    for setting in LATER:
        if not recorded.get(setting):
            recorded.pop(setting, None)
    return records.Record(Path(out), name, module.COLUMNS, recorded, units(module, settings), about, made_by)


def compute(module: ModuleType, settings, data, unit: dict) -> tuple[list[dict], float]:
    """The rows of a unit, which depend on nothing that was computed before, and the seconds that it took."""
    _make_deterministic()
    start, by_seed = time.perf_counter(), getattr(settings, "by_seed", False)
    if by_seed:
        unit = dict(unit)
        settings = dataclasses.replace(settings, seeds=1, first_seed=unit.pop("seed"), by_seed=False)
    rows = list(module.run(settings, data, **unit))
    if by_seed:  # the seed is a column of the unit
        rows = [{column: value for column, value in row.items() if column != "seed"} for row in rows]
    return rows, time.perf_counter() - start


def name_of(module: ModuleType) -> str:
    """The module's file name, also under `python -m`, where `__name__` is "__main__"."""
    return (module.__spec__.name if module.__spec__ else module.__name__).rpartition(".")[2]


def label(data: str) -> str:
    """What rows and records call a data set: its name, or the last part of its path."""
    return Path(data).name or data


def prepare(module: ModuleType, settings) -> tuple[object, tuple[object, dict | None]]:
    """Settings that suit the data, and what `load_data` gives with them.

    A default that does not suit them is replaced, and the "notes" of the description say so: `test` by the number of
    images that are left, `pool` by `hw1.datasets.tiling`, and what the question's `suited` names.

    Raises:
        ValueError, OSError: as of `load_data`; a setting that is no default of any size does not suit the data.
    """
    values = {}
    try:
        loaded = load_data(settings)
    except ValueError as error:
        left = getattr(error.__cause__, "left", 0)
        if not left or settings.test not in _defaults(module, "test"):
            raise
        values["test"] = left, f"only {left} images are left for testing"
        loaded = load_data(dataclasses.replace(settings, test=left))
    data, about = loaded
    if hasattr(settings, "pool"):
        from hw1 import datasets

        shapes = [each.shape for each in (data.values() if isinstance(data, dict) else [data])]
        sizes = " and ".join(dict.fromkeys(f"{shape[0]} × {shape[1]}" for shape in shapes))
        values["pool"] = datasets.tiling(settings.pool, shapes), f"squares of this side do not tile images of {sizes}"
    values |= module.suited(settings, data) if about and hasattr(module, "suited") else {}
    for name, (value, reason) in values.items():
        before = getattr(settings, name)
        if value == before:
            continue
        flag, instead = f"--{name}={write(before)}", f"--{name}={write(value)}"
        if before not in _defaults(module, name):
            raise ValueError(f"{flag}: {reason}; give {instead}")
        about.setdefault("notes", []).append(f"{flag} is a default; {reason}: {instead} is taken")
        settings = dataclasses.replace(settings, **{name: value})
    check(settings)
    units(module, settings)
    return settings, loaded


def _defaults(module, name) -> list:
    """The defaults of a setting, of all sizes."""
    return [getattr(module.Settings(**values), name) for values in module.SIZES.values()]


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
    options = {
        name: getattr(settings, name) for name in ("train", "test", "splits", "pixels") if hasattr(settings, name)
    }
    try:
        sets = [datasets.load_splits(name, **options) for name in names]
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
    if renamed := {label(data.name): list(data.labels) for data in sets if data.labels != (*range(data.classes),)}:
        about["labels"] = renamed
    if notes := [f"{label(data.name)}: {note}" for data in sets for note in data.notes]:
        about["notes"] = notes
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
