"""Records of runs that go on: after a kill, after a change, in damaged folders; and what is never mixed."""

import contextlib
import re
import subprocess

import numpy as np
import pytest
from toy_records import SETTINGS, UNITS, about, opened, rows_of, run, sign
from toys import ROOT, contents, python

from hw1 import environment, files, records

# Going on


def test_resumed_runs_end_with_the_same_bytes(tmp_path):
    """One unit per start, then a start with nothing to do, which changes no byte."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole)
    for _ in UNITS:
        with files.lock(parts):
            record = opened(parts)
            record.add(record.missing[0], rows_of(record.missing[0]), 1.5)
    assert (parts / "toy.csv").read_bytes() == (whole / "toy.csv").read_bytes()
    assert (about(parts)["wall_time_seconds"], about(parts)["complete"]) == (3, True)
    before = contents(parts)
    run(parts)
    assert contents(parts) == before


def test_the_order_is_that_of_the_units(tmp_path):
    """Not of the computation: as if the first unit had been done last."""
    run(tmp_path)
    before = (tmp_path / "toy.csv").read_text()
    lines = before.splitlines(keepends=True)
    (tmp_path / "toy.csv").write_text("".join(line for line in lines if not line.startswith("8,")))
    sign(tmp_path)
    run(tmp_path)
    assert (tmp_path / "toy.csv").read_text() == before


def test_unit_keys_compare_as_written(tmp_path):
    """1/3 has more digits than the CSV, and 2.0 is written as 2."""
    run(tmp_path, units=[{"size": 1 / 3}, {"size": np.float32(0.1)}, {"size": 2.0}])
    assert opened(tmp_path, units=[{"size": 1 / 3}, {"size": 0.1}, {"size": 2}]).missing == []


def test_a_unit_may_have_no_key_or_several(tmp_path):
    """No key: the question is one unit."""
    record = opened(tmp_path, units=[{}])
    record.add({}, [{"size": 1, "seed": 0, "value": 1.0, "note": "a"}], 1)
    assert opened(tmp_path, units=[{}]).missing == []
    units = [{"size": 1, "note": "a"}, {"size": 1, "note": "b"}]
    assert opened(tmp_path, units=units).missing == units[1:]


KILLED_AT_EVERY_LINE = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tests"]
import toy_records as t
from hw1 import environment
environment.describe = dict  # Starts git, which has nothing to do with the folder.
out = Path(sys.argv[2])

def run_until(folder, last):
    count = 0
    def trace(frame, event, arg):
        nonlocal count
        if not frame.f_code.co_filename.endswith(("/records.py", "/files.py")):
            return None
        if frame.f_code.co_name not in ("__init__", "add", "_write_json", "replace", "lock"):
            return None  # what writes nothing changes nothing
        count += event == "line"
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    t.run(folder, POINTS)
    sys.settrace(None)
    return count

POINTS = ("size", "x")
lines = run_until(out / "whole", None)
whole = [(out / "whole" / name).read_bytes() for name in ("toy.csv", "toy.points.csv")]
states = set()
for last in range(1, lines + 1):
    folder = out / str(last)
    if not (child := os.fork()):
        run_until(folder, last)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    path = folder / "toy.csv"
    states.add(path.read_bytes() if path.exists() else None)
    t.run(folder, POINTS)
    assert [path.read_bytes(), (folder / "toy.points.csv").read_bytes()] == whole, last
    assert t.about(folder)["complete"], last
    assert "writing" not in t.about(folder), last
    assert {p.name for p in folder.iterdir()} == {".lock", "toy.csv", "toy.json", "toy.points.csv"}, last
print(lines, len(states))
"""


def test_killed_at_any_line_and_started_again(tmp_path):
    """SIGKILL before each line that records.py and files.py execute in a run; afterwards the run is repeated."""
    done = subprocess.run(python(KILLED_AT_EVERY_LINE, ROOT, tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines, states = map(int, done.stdout.split())
    assert lines > 100
    assert states == 3  # No file, the first unit, both units: never a part of a unit.


def test_other_tables_of_a_question(tmp_path):
    """Rows that name a table go to its own CSV; a unit that was killed between the two is done again."""
    points = [{"table": "points", "x": number} for number in range(2)]
    with files.lock(tmp_path):
        record = opened(tmp_path, points=("size", "x"))
        for unit in UNITS:
            record.add(unit, [*rows_of(unit), *points], 1.0)
    table = records.tables(tmp_path, "toy")["points"]
    assert table.to_numpy().tolist() == [[unit["size"], x] for unit in UNITS for x in range(2)]
    assert table.equals(records.read(tmp_path, "toy", "points"))
    complete = contents(tmp_path)
    main = (tmp_path / "toy.csv").read_text()
    (tmp_path / "toy.csv").write_text(main[: main.index(f"\n{UNITS[-1]['size']},") + 1])
    sign(tmp_path)
    with files.lock(tmp_path):
        record = opened(tmp_path, points=("size", "x"))
        assert record.missing == [UNITS[-1]]
        with pytest.raises(ValueError, match=r"no table 'lines'.*rows, points"):
            record.add(UNITS[-1], [*rows_of(UNITS[-1]), {"table": "lines", "x": 1}], 1.0)
        record.add(UNITS[-1], [*rows_of(UNITS[-1]), *points], 1.0)
    assert contents(tmp_path)["toy.points.csv"] == complete["toy.points.csv"]
    assert contents(tmp_path)["toy.csv"] == complete["toy.csv"]


def test_a_unit_that_was_killed_between_the_tables_is_not_read(tmp_path, monkeypatch):
    """Figures of rows and tables that are not of the same units would be wrong in silence."""
    points = [{"table": "points", "x": number} for number in range(2)]
    replace = files.replace

    def killed(path, content):
        if path.name == "toy.csv" and record.missing == UNITS[1:]:
            raise KeyboardInterrupt
        replace(path, content)

    monkeypatch.setattr(files, "replace", killed)
    with files.lock(tmp_path):
        record = opened(tmp_path, points=("size", "x"))
        for unit in UNITS:
            with contextlib.suppress(KeyboardInterrupt):
                record.add(unit, [*rows_of(unit), *points], 1.0)
    assert (tmp_path / "toy.points.csv").read_text() == "size,x\n8,0\n8,1\n64,0\n64,1\n"
    assert set(records.read(tmp_path, "toy")["size"]) == set(records.read(tmp_path, "toy", "points")["size"]) == {8}
    monkeypatch.undo()
    run(tmp_path, points=("size", "x"))
    assert set(records.read(tmp_path, "toy", "points")["size"]) == {8, 64}
    assert not {"unit", "writing"} & set(about(tmp_path))


def test_half_a_temporary_file_is_replaced(tmp_path):
    """What a kill in the middle of writing leaves behind."""
    (tmp_path / "toy.csv.tmp").write_text("size,se")
    (tmp_path / "toy.json.tmp").write_text("{")
    run(tmp_path)
    assert len(records.read(tmp_path, "toy")) == 4
    assert set(contents(tmp_path)) == {".lock", "toy.csv", "toy.json"}


# Never mixed


def test_other_settings_are_named_with_the_remedy(tmp_path):
    """Changed, missing and new settings, and nothing about those that agree."""
    run(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="records another run") as caught:
        opened(tmp_path, {"seeds": 3, "rate": 1e-3, "new": 1})
    message = str(caught.value)
    assert "seeds is 2 there but 3 here" in message
    assert "sizes is [8, 64] there but 'absent' here" in message
    assert "new is 'absent' there but 1 here" in message
    assert "rate" not in message
    assert all(remedy in message for remedy in ("same settings", "--out", "remove toy.csv and toy.json"))
    assert contents(tmp_path) == before


@pytest.mark.parametrize(("name", "there", "here"), [("first_seed", 0, 100), ("splits", "seed", "fixed")])
def test_other_seeds_and_splits_are_named(tmp_path, name, there, here):
    """The sizes of two such runs are the same, and their rows could be taken for those of one."""
    run(tmp_path, settings=SETTINGS | {name: there})
    with pytest.raises(ValueError, match=f"{name} is {there!r} there but {here!r} here. Give the same settings"):
        run(tmp_path, settings=SETTINGS | {name: here})


def test_other_data_are_refused(tmp_path):
    """The same name does not make the same data."""
    run(tmp_path, data={"name": "a.npz", "sha256": "ab"})
    with pytest.raises(ValueError, match=r"data\.sha256 is 'ab' there but 'cd' here"):
        run(tmp_path, data={"name": "a.npz", "sha256": "cd"})


def test_other_columns_are_refused(tmp_path):
    """A record whose question has other columns by now, in its rows or in a further table, is old."""
    run(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"toy\.csv is damaged or old"):
        run(tmp_path, columns=("size", "seed", "value", "remark"))
    with pytest.raises(FileNotFoundError, match=r"toy\.points\.csv is missing"):
        run(tmp_path, points=("size", "x"))
    assert contents(tmp_path) == before


def test_environments_of_earlier_units_are_kept(tmp_path, monkeypatch):
    """Units of two commits in one CSV are recorded as such."""
    monkeypatch.setattr(environment, "describe", lambda: {"commit": "one"})
    opened(tmp_path).add(UNITS[0], rows_of(UNITS[0]), 1)
    monkeypatch.setattr(environment, "describe", lambda: {"commit": "two"})
    run(tmp_path)
    monkeypatch.setattr(environment, "describe", lambda: {"commit": "three"})
    run(tmp_path)  # Everything is done: this commit computed nothing.
    assert (about(tmp_path)["commit"], about(tmp_path)["earlier"]) == ("two", [{"commit": "one"}])


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("toy.csv", lambda text: text[:-4]),
        ("toy.csv", lambda text: text[:-1]),
        ("toy.csv", lambda text: text + "8,1\n"),
        ("toy.csv", lambda text: text + '8,1,2,"ok\n'),
        ("toy.csv", lambda text: text.replace("value", "worth")),
        ("toy.csv", lambda text: text.replace("size,seed", "seed,size")),
        ("toy.csv", lambda text: text + "9,0,1,ok\n"),
        ("toy.csv", lambda text: ""),
        ("toy.csv", lambda text: text[: text[:-1].rindex("\n") + 1]),  # cut at the end of a line
        ("toy.csv", lambda text: text + text.splitlines(keepends=True)[-1]),
        ("toy.csv", lambda text: text.replace("2.666667", "2.666668")),
        ("toy.csv", None),
        ("toy.csv", lambda text: "\udcff" + text),
        ("toy.json", lambda text: text[: len(text) // 2]),
        ("toy.json", lambda text: ""),
        ("toy.json", lambda text: "[]"),
        ("toy.json", lambda text: text.replace('"settings"', '"setting"')),
        ("toy.json", lambda text: text.replace('"columns"', '"column"')),
        ("toy.json", lambda text: text.replace('"wall_time_seconds": ', '"wall_time_seconds": "a long time", "x": ')),
        ("toy.json", lambda text: text.replace("2", "3", 1)),
        ("toy.json", lambda text: re.sub(r' *"device": [^}]*},\n', "", text)),
        ("toy.json", lambda text: "\udcff" + text),
        ("toy.json", None),
    ],
)
def test_damaged_files_are_named_and_left_alone(tmp_path, name, damage):
    """Cut off, edited, of other columns, empty, not text, missing."""
    run(tmp_path)
    path = tmp_path / name
    if damage:
        path.write_text(damage(path.read_text()), errors="surrogateescape")
    else:
        path.unlink()
    before = contents(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=name) as caught:
        run(tmp_path)
    assert "move the .csv and the .json away" in str(caught.value)
    assert contents(tmp_path) == before
