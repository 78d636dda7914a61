"""Records of runs: `<question>.csv` (rows), `<question>.json` (how they came about), and resuming.

A unit of work (one setting with all its seeds) is written whole or not at all, and the CSV alone says which
units are done. So a run killed at any instant and started again ends with the same bytes as one never interrupted.
A question may have more tables than its rows, `<question>.<table>.csv` each.

The JSON holds the SHA-256 of each CSV, so that a file that was cut off, edited or exchanged is noticed. While a unit is
being written it holds the unit and the SHA-256 before and after, announced before the first file changes.
The JSON is signed with a SHA-256 of its own.

Example:
    with files.lock(folder):
        columns = {"rows": ["batch_size", "seed", "test_loss"]}
        record = Record(folder, "sensitivity", columns, {"seeds": 5}, [{"batch_size": 64}, {"batch_size": 1024}])
        for unit in record.missing:
            record.add(unit, rows, seconds)
    read(folder, "sensitivity")  # a pandas.DataFrame
"""

import contextlib
import csv
import io
import json
import numbers
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hw1 import environment, files

COMMITTED = Path(__file__).with_name("results")  # the results behind the committed report
OF_DATA = ("classes", "shape", "chance")  # what findings read of the data; chance: the share of the largest class
OWN = "sha256_of_record"
ROWS = "rows"  # the table of every question; others are its further tables

MOVE = "move the .csv and the .json away to begin anew"


class Record:
    """The CSV and JSON of one question in one folder. Hold `lock` around it.

    Attributes:
        csv: path of the CSV.
        units: unit's values as the CSV has them → unit.
    """

    def __init__(
        self,
        folder: Path,
        question: str,
        columns: dict[str, Sequence[str]],
        settings: dict,
        units: list[dict],
        data: dict | None = None,
        made_by: dict | None = None,
    ):
        """Opens the record to go on where it ends, or begins it.

        Args:
            folder: an existing folder.
            question: its name, that of the files.
            columns: table → its columns; "rows" is the CSV, others are further tables.
            settings: what the rows depend on, JSON values.
            units: all units in the order of the CSV, dicts of the same columns.
            data: name, sha256 and sizes of the data set, or None without one.
            made_by: what computes the units, as `hw1.environment.describe` gives it. None: this process.

        Raises:
            ValueError: the folder has a record with other settings or data, or its files are damaged. They
                stay as they are.
            OSError: the folder cannot be written, or a file cannot be read.
        """
        self.csv, self._json = _csv(folder, question), Path(folder, f"{question}.json")
        self._columns = {table: list(names) for table, names in columns.items()}
        self.units = {_key(unit): unit for unit in units}
        if not units or len(self.units) < len(units) or len({tuple(unit) for unit in units}) > 1:
            raise ValueError(f"{question} needs at least one unit, all different, of the same columns; not {units}")
        self._about = {
            "question": question,
            "settings": json.loads(json.dumps(settings)),
            "data": data,
            "columns": self._columns,
            "sha256": {},
            "wall_time_seconds": 0.0,
            "unit_seconds": [],
            "earlier": [],
        }
        # Table → unit's values → its lines in the CSV; "rows" last, because it decides which units are done.
        self._tables: dict[str, dict[tuple[str, ...], list[list[str]]]] = {
            table: {} for table in sorted(columns, key=lambda table: table == ROWS)
        }
        self._seen = _content(self._json)
        recorded = None
        if is_begun(folder, question) or os.path.lexists(self._json):
            recorded = _load_json(self._json)
            self._refuse_other(recorded)
        if recorded and (recorded["sha256"] or is_begun(folder, question)):
            self._about = recorded
            done = self._load_rows(ROWS)
            for table in self._tables:  # a unit that was killed between the tables is not done
                lines = done if table == ROWS else self._load_rows(table)
                self._tables[table] = {key: value for key, value in lines.items() if key in done}
            self._about["sha256"] = {table: files.sha256(self._path(table).read_bytes()) for table in self._tables}
            self._about = {key: value for key, value in self._about.items() if key not in ("writing", "unit")}
            self._about.setdefault("unit_seconds", [])  # older records have none
        if self.missing:
            now = made_by or environment.describe()
            before = {name: self._about.get(name) for name in now}
            if self._tables[ROWS] and before != now:
                self._about["earlier"].append(before)  # what computed the units that are done
            self._about |= now
        self._write_json()

    @property
    def missing(self) -> list[dict]:
        """The units still to be done, in order."""
        return [unit for key, unit in self.units.items() if key not in self._tables[ROWS]]

    def add(self, unit: dict, rows: list[dict], seconds: float, device: dict | None = None) -> None:
        """Writes one unit: first the JSON, which announces it, then other tables, the CSV, which decides, and the JSON.

        Args:
            unit: one of `units`.
            rows: dicts of column → value, without the columns of the unit; at least one for the CSV. Those of
                another table name it as "table". What the row of a net of status "diverged" lacks is written as NaN.
            seconds: the time that the unit took.
            device: what has computed the units until now, if that is more than what the record was opened with.

        Raises:
            ValueError: there is no row, or its columns are not those of its table.
            TypeError: a value is neither a number nor a string.
            OSError: the folder cannot be written, the disk is full, or another run has written the record since.
                What was written before stays.
        """
        key, lines = _key(unit), {table: [] for table in self._tables}
        for row in rows:
            row = dict(row)
            table = row.pop("table", ROWS)
            if table not in lines:
                raise ValueError(f"{self.csv.stem} has no table {table!r}; its COLUMNS has {', '.join(self._columns)}")
            lines[table].append(_line(self.csv.stem, self._columns[table], unit, row))
        if not lines[ROWS]:
            raise ValueError(f"{self.csv.stem} gave no rows for {unit}; a unit has at least one")
        done = {table: rows | {key: lines[table]} for table, rows in self._tables.items()}
        texts = {table: self._csv_text(table, rows) for table, rows in done.items()}
        coming = {table: files.sha256(text.encode()) for table, text in texts.items()}
        self._write_json({"writing": coming, "unit": dict(zip(unit, key, strict=True))})
        for table, text in texts.items():
            files.replace(self._path(table), text)
            self._tables[table] = done[table]
        self._about["sha256"] = coming
        self._about["wall_time_seconds"] = round(self._about["wall_time_seconds"] + seconds, 3)
        self._about["unit_seconds"].append({"unit": list(key), "seconds": round(seconds, 3)})
        if device:
            self._about["device"] = device
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

    def _load_rows(self, table: str) -> dict[tuple[str, ...], list[list[str]]]:
        columns, path, rows = self._columns[table], self._path(table), {}
        for line in _load_csv(path, columns, self._about, table):
            key = tuple(line[columns.index(column)] for column in next(iter(self.units.values())))
            if key not in self.units:
                raise ValueError(f"{path} has a line of {key}, which is no unit of this run; {MOVE}")
            rows.setdefault(key, []).append(line)
        return rows

    def _path(self, table: str) -> Path:
        return _csv(self.csv.parent, self.csv.stem, table)

    def _csv_text(self, table: str, rows: dict) -> str:
        return _as_text([self._columns[table], *(line for key in self.units for line in rows.get(key, ()))])

    def _write_json(self, more: dict | None = None) -> None:
        """Writes the JSON unless it changed since this run last saw it: locks do not reach every machine."""
        if _content(self._json) != self._seen:
            raise OSError(
                f"{self._json} is gone or was changed by another run; nothing more is written to {self.csv.parent}: "
                "stop that run and give the same command again, or name another folder with --out"
            )
        done, total = len(self._tables[ROWS]), len(self.units)
        about = self._about | {"units_done": done, "units_total": total, "complete": done == total} | (more or {})
        text = signed(about)
        files.replace(self._json, text)
        self._seen = text.encode()


def is_begun(folder: str | os.PathLike, question: str) -> bool:
    """Whether a folder has the CSV of a question, or what stands in its place, such as a link to nowhere."""
    return os.path.lexists(_csv(folder, question))


def read(folder: str | os.PathLike, question: str, table: str = ROWS) -> pd.DataFrame:
    """Reads a table of a question; only `nan` counts as missing, so a string such as "None" stays a string.

    A unit that was killed between the tables is not done: a further table is then read without its lines.

    Raises:
        FileNotFoundError: there is no such CSV. The message has the command that makes it.
        OSError: the CSV or its record cannot be read.
        ValueError: the CSV or its record is damaged.
    """
    run = about(folder, question)
    lines = _load_csv(_csv(folder, question, table), run["columns"].get(table, ()), run, table)
    if table != ROWS and run.get("unit"):
        done = _load_csv(_csv(folder, question), run["columns"][ROWS], run, ROWS)
        if not any(_is_begun_unit(run, ROWS, line) for line in done):
            lines = [line for line in lines if not _is_begun_unit(run, table, line)]
    text = io.StringIO(_as_text([run["columns"][table], *lines]))
    return pd.read_csv(text, keep_default_na=False, na_values=["nan"])


def tables(folder: str | os.PathLike, question: str) -> dict[str, pd.DataFrame]:
    """Reads the further tables of a question, name → rows; errors as in `read`."""
    return {table: read(folder, question, table) for table in about(folder, question)["columns"] if table != ROWS}


def about(folder: str | os.PathLike, question: str) -> dict:
    """Reads how a question's CSV was made: settings, data, columns, versions, device, time; errors as in `read`."""
    return _load_json(Path(folder, f"{question}.json"))


def settings(folder: str | os.PathLike, question: str) -> dict:
    """Reads the settings with which a question's CSV was made, and what `OF_DATA` names; errors as in `read`.

    Without data, or in the record of an older run, those are None.
    """
    run = about(folder, question)
    return run["settings"] | {name: (run["data"] or {}).get(name) for name in OF_DATA}


def signed(about: dict) -> str:
    """The JSON of a record as it is written, with the SHA-256 of its content, whatever the order and the layout."""
    return json.dumps(about | {OWN: _signature(about)}, indent=2, ensure_ascii=False) + "\n"


def _signature(about: dict) -> str:
    content = {key: value for key, value in about.items() if key != OWN}
    return files.sha256(json.dumps(content, sort_keys=True).encode())


def _csv(folder: str | os.PathLike, question: str, table: str = ROWS) -> Path:
    return Path(folder, f"{question}.csv" if table == ROWS else f"{question}.{table}.csv")


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


def _line(question: str, columns: list[str], unit: dict, row: dict) -> list[str]:
    """Writes a row in the order of its columns."""
    if row.get("status") == "diverged":
        row = {name: float("nan") for name in columns if name not in (*unit, "seed")} | row
    wanted, found = Counter(columns), Counter([*unit, *row])
    if wanted != found:
        lacks, extra = (", ".join(names.elements()) or "none" for names in (wanted - found, found - wanted))
        raise ValueError(f"wrong columns in a row of {question} with {unit}: missing {lacks}; too many: {extra}")
    row = unit | row
    return [_text(row[column], column) for column in columns]


def _as_text(lines: list[list[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _is_begun_unit(run: dict, table: str, line: list[str]) -> bool:
    return run["unit"].items() <= dict(zip(run["columns"][table], line, strict=True)).items()


def _content(path: Path) -> bytes | None:
    """What is in a file; None if it cannot be read."""
    with contextlib.suppress(OSError):
        return path.read_bytes()


def _load_csv(path: Path, columns: Sequence[str], about: dict, table: str) -> list[list[str]]:
    """Reads the lines below the header, checking that all are complete and as they were written."""
    try:
        text = _load_text(path)
        header, *lines = csv.reader(text.splitlines(), strict=True)
        if header != list(columns) or not text.endswith("\n") or any(len(line) != len(columns) for line in lines):
            raise ValueError("a line is cut off or has other columns")
        if files.sha256(text.encode()) not in (about["sha256"].get(table), about.get("writing", {}).get(table)):
            raise ValueError("it is not as it was written: its SHA-256 is not that in the .json")
    except (csv.Error, ValueError) as error:
        names = ", ".join(columns)
        raise ValueError(f"{path} is damaged or old ({error}); every line must have {names}; {MOVE}") from error
    return lines


def _load_json(path: Path) -> dict:
    """Reads what describes a run, checking that it is as it was written."""
    try:
        about = json.loads(_load_text(path))
        if _signature(about) != about[OWN]:
            raise ValueError(f"it is not as it was written: {OWN} is not that of the rest")
        if about["question"] != path.stem:
            raise ValueError(f"it is the record of {about['question']}")
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or old ({type(error).__name__}: {error}); {MOVE}") from error
    return about


def _load_text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        question = path.stem.partition(".")[0]
        begun = any(os.path.lexists(path.with_name(f"{question}{suffix}")) for suffix in (".csv", ".json"))
        command = f"python -m hw1.reproduce --only={question} --out={path.parent}"
        raise FileNotFoundError(f"{path} is missing; {f'{MOVE}, ' if begun else ''}make it with: {command}") from None
    except OSError as error:
        raise OSError(f"{path} cannot be read ({error.strerror}); {MOVE}") from error
