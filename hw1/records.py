"""Records of runs: `<question>.csv` (rows), `<question>.json` (how they came about), resuming, one run at a time.

A unit of work (one setting with all its seeds) is written whole or not at all, and the CSV alone says which
units are done. So a run killed at any instant and started again ends with the same bytes as one never interrupted.

Example:
    with lock(folder):
        record = Record(folder, "sensitivity", {"seeds": 5}, [{"batch_size": 64}, {"batch_size": 1024}])
        for unit in record.missing:
            record.add(unit, rows, seconds)
    read(folder, "sensitivity")  # a pandas.DataFrame
"""

import contextlib
import csv
import fcntl
import importlib.metadata
import io
import json
import numbers
import os
import platform
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

FOUR = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")

# Question → columns of its CSV. The one place where they are written. "question.table" is a second CSV of a question,
# for rows of another kind.
COLUMNS = {
    "simulate_function": ("function", "hidden", "seed", "epoch", "loss", "test_loss", "status"),
    "simulate_function.predictions": ("function", "hidden", "seed", "x", "prediction", "target"),
    "actual_task": ("data", "kind", "hidden", "parameters", "seed", "epoch", *FOUR, "status"),
    "trajectories": (
        *("scope", "seed", "epoch", "first", "second", "first_explained", "second_explained"),
        *(*FOUR, "status"),
    ),
    "error_surface": ("view", "seed", "kind", "index", "u", "v", "loss"),
    "gradient_norm": ("task", "seed", "step", "loss", "gradient_norm", "status"),
    "zero_gradient": (
        *(
            "seed",
            "method",
            "gradient_norm",
            "loss",
            "minimal_ratio",
            "minimal_ratio_computed",
            "minimal_ratio_sampled",
        ),
        *("smallest_eigenvalue", "largest_eigenvalue", "negative", "zero", "positive", "iterations", "trained_loss"),
    ),
    "random_labels": ("fraction", "seed", "epoch", *FOUR, "status"),
    "parameter_count": ("hidden", "parameters", "seed", "epoch", *FOUR, "status"),
    "interpolation": ("pair", "seed", "alpha", *FOUR, "status"),
    "sensitivity": (
        *("batch_size", "seed", "updates", *FOUR),
        *("loss_gradient_norm", "whole_loss_gradient_norm", "jacobian_norm", "status"),
    ),
    "sharpness": (
        *("net", "batch_size", "seed", "updates", *FOUR),
        *("examples", "scope", "method", "norm", "value", "sharpness", "status"),
    ),
    "reparametrization": ("transformation", "seed", "alpha", "measure", "value"),
    "large_batch": (
        *("net", "batch_size", "seed", "updates", *FOUR, "space", "epsilon"),
        *("value", "loss", "largest", "iterations", "message", "status"),
    ),
    "large_batch.line": ("net", "seed", "alpha", *FOUR),
    "large_batch.convergence": ("net", "batch_size", "seed", "epoch", *FOUR),
    "remedies": (*("remedy", "seed", "updates", *FOUR, "space", "value", "loss", "largest", "status"),),
    "straight_line": ("net", "line", "seed", "alpha", *FOUR, "status"),
    "straight_line.training": ("net", "seed", "epoch", *FOUR),
    "spectrum": ("data", "batch_size", "seed", "updates", *FOUR, "train_largest", "test_largest", "status"),
    "spectrum.nets": (
        *("data", "batch_size", "seed", "smallest", "trace", "trace_error", "outliers", "largest_ratio"),
    ),
    "spectrum.eigenvalues": ("data", "batch_size", "classes", "seed", "rank", "eigenvalue"),
    "spectrum.density": ("data", "batch_size", "seed", "node", "weight"),
    "spectrum.layers": ("data", "batch_size", "seed", "layer", "rank", "eigenvalue"),
    "spectrum.dimensions": ("data", "batch_size", "seed", "rank", "eigenvalue", "curvature"),
    "adversarial": (
        *("batch_size", "seed", "updates", *FOUR, "largest_eigenvalue"),
        *("attack", "epsilon", "attacked_loss", "attacked_accuracy", "status"),
    ),
    "loss_functions": ("loss", "seed", "epoch", *FOUR, "hessian", "gauss_newton", "residual", "status"),
    "loss_functions.spectrum": ("loss", "seed", "measured", "quantity", "rank", "value"),
    "loss_functions.lines": ("loss", "kind", "other", "seed", "alpha", *FOUR),
    "evidence": (
        *("model", "labels", "batch_size", "seed", "regularization", "updates", *FOUR),
        *("log_evidence_ratio", "cost", "log_occam", "standard_error"),
        *("floored", "smallest_eigenvalue", "gradient_norm", "status"),
    ),
    "flatness": (
        *("net", "batch_size", "learning_rate", "seed", "updates", *FOUR, "log_volume", "log_volume_error", "capped"),
        *("effective", "ball_sharpness", "subspace_sharpness", "spectral_norm", "trace", "status"),
    ),
    "flatness.radii": ("net", "batch_size", "learning_rate", "seed", "epsilon", "maximum", "quadratic", "linear"),
    "flatness.rescaling": (
        *("net", "batch_size", "learning_rate", "seed", "alpha", "region", "exponent"),
        *("log_volume", "log_volume_error", "capped", "effective"),
    ),
    "redundancy": (*("part", "seed", "step", "first", "second", "loss", "largest_eigenvalue", "smallest_eigenvalue"),),
}

COMMITTED = Path(__file__).with_name("results")  # the results behind the committed report

MOVE = "move the .csv and the .json away to begin anew"

_locked: set[Path] = set()  # Folders that this process has locked.


class Record:
    """The CSV and JSON of one question in one folder. Hold `lock` around it.

    Attributes:
        csv: path of the CSV.
        units: unit's values as the CSV has them → unit.
    """

    def __init__(self, folder: Path, question: str, settings: dict, units: list[dict], data: dict | None = None):
        """Opens the record to go on where it ends, or begins it.

        Args:
            folder: an existing folder.
            question: a key of `COLUMNS`.
            settings: what the rows depend on, JSON values.
            units: all units in the order of the CSV, dicts of the same columns.
            data: name, sha256 and sizes of the data set, or None without one.

        Raises:
            ValueError: the folder has a record with other settings or data, or its files are damaged. They
                stay as they are.
            OSError: the folder cannot be written.
        """
        self.csv, self._json = _paths(folder, question)
        self.units = {_key(unit): unit for unit in units}
        if not units or len(self.units) < len(units) or len({tuple(unit) for unit in units}) > 1:
            raise ValueError(f"{question} needs at least one unit, all different, of the same columns; not {units}")
        self._about = {"question": question, "settings": json.loads(json.dumps(settings)), "data": data}
        self._about |= {"wall_time_seconds": 0.0, "earlier": []}
        self._rows: dict[tuple[str, ...], list[list[str]]] = {}  # Unit's values → its lines in the CSV.
        self._tables: dict[str, dict] = {name: {} for name in _tables(question)}  # The same for the other CSVs.
        if self.csv.exists() or self._json.exists():
            recorded = _load_json(self._json)
            self._refuse_other(recorded)
        if self.csv.exists():
            self._about = recorded
            self._rows = self._load_rows(question)
            for name in self._tables:  # A unit that was killed between the tables is not done.
                self._tables[name] = {k: v for k, v in self._load_rows(name).items() if k in self._rows}
        if self.missing:
            now = _environment()
            before = {name: self._about.get(name) for name in now}
            if self._rows and before != now:
                self._about["earlier"].append(before)  # What computed the units that are done.
            self._about |= now
        self._write_json()

    @property
    def missing(self) -> list[dict]:
        """The units still to be done, in order."""
        return [unit for key, unit in self.units.items() if key not in self._rows]

    def add(self, unit: dict, rows: list[dict], seconds: float) -> None:
        """Writes one unit: other tables, then the CSV, because it decides what is done, then the JSON.

        Args:
            unit: one of `units`.
            rows: dicts of column → value, without the columns of the unit; at least one for the CSV. Those of
                another table name it as "table". What the row of a net of status "diverged" lacks is written as NaN.
            seconds: the time that the unit took.

        Raises:
            ValueError: there is no row, or the columns are not those in `COLUMNS`.
            TypeError: a value is neither a number nor a string.
            OSError: the folder cannot be written, or the disk is full. What was written before stays.
        """
        question, key = self.csv.stem, _key(unit)
        lines = {name: [] for name in (*self._tables, question)}
        for row in rows:
            row = dict(row)
            table = row.pop("table", None)
            name = f"{question}.{table}" if table else question
            if name not in lines:
                raise ValueError(f"{question} has no table {table!r}; hw1.records.COLUMNS has {', '.join(lines)}")
            lines[name].append(_line(name, unit, row))
        if not lines[question]:
            raise ValueError(f"{question} gave no rows for {unit}; a unit has at least one")
        for name in self._tables:
            done = self._tables[name] | {key: lines[name]}
            self._write_csv(name, done)
            self._tables[name] = done
        done = self._rows | {key: lines[question]}
        self._write_csv(question, done)
        self._rows = done
        self._about["wall_time_seconds"] = round(self._about["wall_time_seconds"] + seconds, 3)
        self._write_json()

    def _refuse_other(self, recorded: dict) -> None:
        """Raises ValueError if the record was made with other settings or data."""
        there, here = (
            about["settings"] | {"data.sha256": (about["data"] or {}).get("sha256")}
            for about in (recorded, self._about)
        )
        differences = [
            f"{name} is {there.get(name, 'absent')!r} there but {here.get(name, 'absent')!r} here"
            for name in here | there
            if there.get(name, "absent") != here.get(name, "absent")
        ]
        if differences:
            raise ValueError(
                f"{self._json} records another run: {', '.join(differences)}. Give the same settings to go on, "
                f"name another folder with --out, or remove {self.csv.name} and {self._json.name}"
            )

    def _load_rows(self, name: str) -> dict[tuple[str, ...], list[list[str]]]:
        columns, path, rows = COLUMNS[name], self.csv.with_name(f"{name}.csv"), {}
        where = [columns.index(column) for column in next(iter(self.units.values()))]
        for line in _load_csv(path):
            key = tuple(line[i] for i in where)
            if key not in self.units:
                raise ValueError(f"{path} has a line of {key}, which is no unit of this run; {MOVE}")
            rows.setdefault(key, []).append(line)
        return rows

    def _write_csv(self, name: str, rows: dict) -> None:
        text = io.StringIO(newline="")
        lines = [COLUMNS[name], *(line for key in self.units for line in rows.get(key, ()))]
        csv.writer(text, lineterminator="\n").writerows(lines)
        replace(self.csv.with_name(f"{name}.csv"), text.getvalue())

    def _write_json(self) -> None:
        done, total = len(self._rows), len(self.units)
        about = self._about | {"units_done": done, "units_total": total, "complete": done == total}
        replace(self._json, json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def read(folder: str | os.PathLike, question: str) -> pd.DataFrame:
    """Reads the rows of a question; only `nan` counts as missing, so a string such as "None" stays a string.

    Raises:
        FileNotFoundError: there is no such CSV. The message has the command that makes it.
        ValueError: the question is unknown, or the CSV is damaged.
    """
    path, _ = _paths(folder, question)
    _load_csv(path)
    return pd.read_csv(path, keep_default_na=False, na_values=["nan"])


def tables(folder: str | os.PathLike, question: str) -> dict[str, pd.DataFrame]:
    """Reads the other tables of a question, name → rows; errors as in `read`."""
    return {name.partition(".")[2]: read(folder, name) for name in _tables(question)}


def about(folder: str | os.PathLike, question: str) -> dict:
    """Reads how a question's CSV was made: settings, data, versions, device, time; errors as in `read`."""
    return _load_json(_paths(folder, question)[1])


def settings(folder: str | os.PathLike, question: str) -> dict:
    """Reads the settings with which a question's CSV was made, and "classes" of its data; errors as in `read`."""
    run = about(folder, question)
    return run["settings"] | {"classes": (run["data"] or {}).get("classes")}


@contextlib.contextmanager
def lock(folder: str | os.PathLike) -> Iterator[None]:
    """Makes the folder and keeps other processes from it; may be nested. The system releases it after a kill.

    Raises:
        OSError: another run is using the folder, or it cannot be made or written.
    """
    folder = Path(folder)
    place = folder.resolve()
    if place in _locked:
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((folder / ".lock").open("a+"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
        except BlockingIOError:
            process = (folder / ".lock").read_text().strip() or "unknown"
            remedy = "wait for it, or name another folder with --out"
            raise OSError(f"another run (process {process}) is using {folder}; {remedy}") from None
        except OSError as error:
            raise _unwritable(folder, error) from error
        _locked.add(place)
        stack.callback(_locked.remove, place)
        yield


def _paths(folder: str | os.PathLike, question: str) -> tuple[Path, Path]:
    if question not in COLUMNS:
        raise ValueError(f"unknown question {question!r}; hw1.records.COLUMNS has {', '.join(COLUMNS)}")
    return Path(folder, f"{question}.csv"), Path(folder, f"{question}.json")


def _tables(question: str) -> list[str]:
    """The other tables of a question, "question.table" each."""
    return [name for name in COLUMNS if name.startswith(f"{question}.")]


def _key(unit: dict) -> tuple[str, ...]:
    return tuple(_text(value, column) for column, value in unit.items())


def _text(value: object, column: str) -> str:
    """Writes a value as the CSV has it: 7 significant digits, `nan` and `inf` as pandas reads them."""
    if isinstance(value, numbers.Integral):
        return str(value)
    if isinstance(value, numbers.Real):
        return f"{float(value):.7g}"
    if isinstance(value, str) and value.isprintable():
        return value
    raise TypeError(f"column {column} must have numbers or strings of one line, not {type(value).__name__} {value!r}")


def _line(question: str, unit: dict, row: dict) -> list[str]:
    """Writes a row in the order of `COLUMNS`."""
    if row.get("status") == "diverged":
        row = {name: float("nan") for name in COLUMNS[question] if name not in (*unit, "seed")} | row
    columns, found = Counter(COLUMNS[question]), Counter([*unit, *row])
    if columns != found:
        lacks, extra = (", ".join(names.elements()) or "none" for names in (columns - found, found - columns))
        raise ValueError(f"wrong columns in a row of {question} with {unit}: missing {lacks}; too many: {extra}")
    row = unit | row
    return [_text(row[column], column) for column in columns]


def _load_csv(path: Path) -> list[list[str]]:
    """Reads the lines below the header, checking that all are complete."""
    columns = COLUMNS[path.stem]
    try:
        text = _load_text(path)
        header, *lines = csv.reader(text.splitlines(), strict=True)
        if header != list(columns) or not text.endswith("\n") or any(len(line) != len(columns) for line in lines):
            raise ValueError("a line is cut off or has other columns")
    except (csv.Error, ValueError) as error:
        names = ", ".join(columns)
        raise ValueError(f"{path} is damaged or old ({error}); every line must have {names}; {MOVE}") from error
    return lines


def _load_json(path: Path) -> dict:
    """Reads what describes a run, checking what is used of it."""
    try:
        about = json.loads(_load_text(path))
        kinds = {"settings": dict, "data": dict | None, "wall_time_seconds": float, "earlier": list}
        if wrong := [name for name, kind in kinds.items() if not isinstance(about[name], kind)]:
            raise TypeError(f"wrong {wrong[0]}")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}); {MOVE}") from error
    return about


def _load_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        begun = any(path.with_suffix(suffix).exists() for suffix in (".csv", ".json"))
        command = f"python -m hw1.reproduce --only={path.stem.partition('.')[0]} --out={path.parent}"
        raise FileNotFoundError(f"{path} is missing; {f'{MOVE}, ' if begun else ''}make it with: {command}") from None


def replace(path: Path, text: str) -> None:
    """Writes a file whole or not at all: a temporary file beside it, flushed to disk, takes its place."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)  # The new name, too, must survive a power cut.
        os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()  # Half a file only takes room on a full disk.
        raise _unwritable(path.parent, error) from error


def _unwritable(folder: Path, error: OSError) -> OSError:
    remedy = "make it writable, make room, or name another folder with --out; what was written before is kept"
    return OSError(f"cannot write to {folder} ({error.strerror or error}): {remedy}")


def _environment() -> dict:
    """Versions, commit and device of this process."""
    versions = {"python": platform.python_version()}
    for package in ("tensorflow", "keras", "numpy", "scipy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, TypeError):  # Not Linux, or a processor without a name.
        cpu = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[1]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"versions": versions, "commit": _commit(), "device": {"cpu": cpu, "cores": cores}}


def _commit() -> str | None:
    """The commit of this code, with "+changes" if a Python file differs from it."""
    git = ["git", "--no-optional-locks", "-C", str(Path(__file__).parent)]
    try:
        head, changes = (
            subprocess.run([*git, *command], capture_output=True, text=True, check=True, timeout=30).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=all", "--", "*.py"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}+changes" if changes else head
