"""Records: whole units, resuming after a kill, refusing to mix, one run at a time."""

import csv
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw1 import records

ROOT = Path(records.__file__).parents[1]
COLUMNS = ("size", "seed", "value", "note")
SETTINGS = {"seeds": 2, "sizes": (8, 64), "rate": 1e-3}
UNITS = [{"size": 8}, {"size": 64}]


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """Gives the question toy its columns."""
    monkeypatch.setitem(records.COLUMNS, "toy", COLUMNS)


def rows_of(unit):
    """The rows of a unit, without its key."""
    return [{"seed": seed, "value": unit["size"] / (3 + seed), "note": "ok"} for seed in range(2)]


def run(folder, settings=SETTINGS, data=None, units=UNITS):
    """What a question does, without the question."""
    with records.lock(folder):
        record = records.Record(folder, "toy", settings, units, data)
        for unit in record.missing:
            record.add(unit, rows_of(unit), 1.5)


def about(folder):
    """The JSON of the run."""
    return json.loads((folder / "toy.json").read_text())


def contents(folder):
    """Every file of the folder, byte by byte."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def python(code, *arguments):
    """The command that runs `code` in an interpreter of its own."""
    return [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]


# What is written


def test_csv_has_the_columns_in_order_and_seven_digits(tmp_path):
    """The whole file, as a reader sees it."""
    run(tmp_path)
    lines = (tmp_path / "toy.csv").read_text().splitlines()
    assert lines == ["size,seed,value,note", "8,0,2.666667,ok", "8,1,2,ok", "64,0,21.33333,ok", "64,1,16,ok"]


@given(
    number=st.floats() | st.integers(-(2**63), 2**63 - 1) | st.floats(width=32).map(np.float32) | st.just(np.int64(7)),
    note=st.sampled_from(["None", "NA", "", 'a "b", c', " x ", "'", "ähnlich", "#1"]),
)
def test_values_read_back(tmp_path_factory, number, note):
    """Integers exactly, floats to 7 digits, strings as they are; reading and writing again changes no byte."""
    folder = tmp_path_factory.mktemp("values")
    record = records.Record(folder, "toy", {}, UNITS[:1])
    record.add(UNITS[0], [{"seed": 0, "value": number, "note": note}], 0)
    before = record.csv.read_bytes()
    records.Record(folder, "toy", {}, UNITS[:1]).add(UNITS[0], [{"seed": 0, "value": number, "note": note}], 0)
    assert record.csv.read_bytes() == before
    table = records.read(folder, "toy")
    assert table.note[0] == note
    if isinstance(number, int | np.integer):
        assert table.value[0] == number
    else:
        assert np.isclose(table.value[0], float(number), rtol=5.1e-7, atol=1e-320, equal_nan=True)


@given(st.text().filter(lambda text: not text.isprintable()))
def test_only_strings_of_one_printable_line(text):
    """Line breaks, control characters and halves of surrogate pairs are refused before anything is written."""
    with pytest.raises(TypeError, match="column note"):
        records._line("toy", UNITS[0], {"seed": 0, "value": 1.0, "note": text})


def test_json_describes_the_run(tmp_path):
    """Settings, data, progress, versions, device, time; no path and no host name."""
    data = {"name": "mnist10k", "sha256": "ab", "train": 10, "test": 5, "classes": 10}
    run(tmp_path, data=data)
    found = about(tmp_path)
    assert found["question"] == "toy"
    assert found["settings"] == {"seeds": 2, "sizes": [8, 64], "rate": 1e-3}
    assert records.settings(tmp_path, "toy") == found["settings"] | {"classes": 10}
    assert found["data"] == data
    assert (found["units_done"], found["units_total"], found["complete"]) == (2, 2, True)
    assert set(found["versions"]) == {"python", "tensorflow", "keras", "numpy", "scipy"}
    assert found["versions"]["numpy"] == np.__version__
    assert found["device"]["cores"] >= 1
    assert found["device"]["cpu"]
    assert found["wall_time_seconds"] == 3
    text = (tmp_path / "toy.json").read_text()
    assert str(tmp_path) not in text
    assert str(ROOT) not in text
    assert socket.gethostname() not in text


def test_settings_are_recorded_before_the_first_unit(tmp_path):
    """So that a run killed early is still described."""
    records.Record(tmp_path, "toy", SETTINGS, UNITS)
    assert not (tmp_path / "toy.csv").exists()
    assert about(tmp_path)["settings"]["seeds"] == 2
    assert (about(tmp_path)["units_done"], about(tmp_path)["complete"]) == (0, False)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"seed": 0, "value": 1.0}, "missing note"),
        ({"seed": 0, "value": 1.0, "note": "", "extra": 1}, "too many: extra"),
        ({"seed": 0, "value": 1.0, "note": "", "size": 8}, "too many: size"),
    ],
)
def test_wrong_columns_are_named_and_nothing_is_written(tmp_path, row, named):
    """One wrong row spoils its unit, and only that."""
    record = records.Record(tmp_path, "toy", SETTINGS, UNITS)
    with pytest.raises(ValueError, match=named):
        record.add(UNITS[0], [*rows_of(UNITS[0]), row], 1)
    assert not record.csv.exists()
    assert len(record.missing) == 2


@pytest.mark.parametrize("value", [None, [1], "two\nlines", np.zeros(1), 1j])
def test_values_that_are_no_cell(tmp_path, value):
    """Arrays, tensors and lists are mistakes, even of one element."""
    record = records.Record(tmp_path, "toy", SETTINGS, UNITS)
    with pytest.raises(TypeError, match="column value"):
        record.add(UNITS[0], [{"seed": 0, "value": value, "note": ""}], 1)


@pytest.mark.parametrize("units", [[], [{"size": 8}, {"size": 8}], [{"size": 0.1}, {"size": 0.1 + 1e-12}]])
def test_units_must_differ_as_written(tmp_path, units):
    """Units with one key in the CSV could not be told apart on resuming."""
    with pytest.raises(ValueError, match="at least one unit, all different"):
        records.Record(tmp_path, "toy", SETTINGS, units)


def test_a_diverged_net_lacks_what_was_not_measured(tmp_path, monkeypatch):
    """The rest of its row is NaN; without its seed, or of any other status, a row must be whole."""
    monkeypatch.setitem(records.COLUMNS, "toy", ("size", "seed", "value", "status"))
    record = records.Record(tmp_path, "toy", SETTINGS, UNITS)
    for row in ({"status": "diverged"}, {"seed": 1, "status": "ok"}):
        with pytest.raises(ValueError, match="missing"):
            record.add(UNITS[0], [row], 1)
    record.add(UNITS[0], [{"seed": 1, "status": "diverged"}], 1)
    assert record.csv.read_text().splitlines()[1] == "8,1,nan,diverged"


def test_a_unit_without_rows_is_an_error(tmp_path):
    """It would be done again on every resumption."""
    record = records.Record(tmp_path, "toy", SETTINGS, UNITS)
    with pytest.raises(ValueError, match="no rows"):
        record.add(UNITS[0], [], 1)


# Going on


def test_resumed_runs_end_with_the_same_bytes(tmp_path):
    """One unit per start, then a start with nothing to do, which changes no byte."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole)
    for _ in UNITS:
        with records.lock(parts):
            record = records.Record(parts, "toy", SETTINGS, UNITS)
            record.add(record.missing[0], rows_of(record.missing[0]), 1.5)
    assert (parts / "toy.csv").read_bytes() == (whole / "toy.csv").read_bytes()
    assert (about(parts)["wall_time_seconds"], about(parts)["complete"]) == (3, True)
    before = contents(parts)
    run(parts)
    assert contents(parts) == before


def test_a_removed_unit_is_done_again_in_its_place(tmp_path):
    """The order in the CSV is that of the units, not of the computation."""
    run(tmp_path)
    before = (tmp_path / "toy.csv").read_text()
    lines = before.splitlines(keepends=True)
    (tmp_path / "toy.csv").write_text("".join(line for line in lines if not line.startswith("8,")))
    run(tmp_path)
    assert (tmp_path / "toy.csv").read_text() == before


def test_unit_keys_compare_as_written(tmp_path):
    """1/3 has more digits than the CSV, and 2.0 is written as 2."""
    units = [{"size": 1 / 3}, {"size": np.float32(0.1)}, {"size": 2.0}]
    run(tmp_path, units=units)
    assert records.Record(tmp_path, "toy", SETTINGS, [{"size": 1 / 3}, {"size": 0.1}, {"size": 2}]).missing == []


def test_a_unit_may_have_no_key_or_several(tmp_path):
    """No key: the question is one unit."""
    record = records.Record(tmp_path, "toy", SETTINGS, [{}])
    record.add({}, [{"size": 1, "seed": 0, "value": 1.0, "note": "a"}], 1)
    assert records.Record(tmp_path, "toy", SETTINGS, [{}]).missing == []
    units = [{"size": 1, "note": "a"}, {"size": 1, "note": "b"}]
    assert records.Record(tmp_path, "toy", SETTINGS, units).missing == units[1:]


KILLED_AT_EVERY_LINE = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests import test_records as t
t.records.COLUMNS["toy"] = t.COLUMNS
t.records._environment = dict  # Starts git, which has nothing to do with the folder.
out = Path(sys.argv[2])

def run_until(folder, last):
    count = 0
    def trace(frame, event, arg):
        nonlocal count
        if not frame.f_code.co_filename.endswith("records.py"):
            return None
        count += event == "line"
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    t.run(folder)
    sys.settrace(None)
    return count

lines = run_until(out / "whole", None)
whole = (out / "whole" / "toy.csv").read_bytes()
states = set()
for last in range(1, lines + 1):
    folder = out / str(last)
    if not (child := os.fork()):
        run_until(folder, last)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    path = folder / "toy.csv"
    states.add(path.read_bytes() if path.exists() else None)
    t.run(folder)
    assert path.read_bytes() == whole, last
    assert t.about(folder)["complete"], last
    assert {p.name for p in folder.iterdir()} == {".lock", "toy.csv", "toy.json"}, last
print(lines, len(states))
"""


def test_killed_at_any_line_and_started_again(tmp_path):
    """SIGKILL before each line that records.py executes in a run; afterwards the run is repeated."""
    done = subprocess.run(python(KILLED_AT_EVERY_LINE, ROOT, tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines, states = map(int, done.stdout.split())
    assert lines > 100
    assert states == 3  # No file, the first unit, both units: never a part of a unit.


def test_other_tables_of_a_question(tmp_path, monkeypatch):
    """Rows that name a table go to its own CSV; a unit that was killed between the two is done again."""
    monkeypatch.setitem(records.COLUMNS, "toy.points", ("size", "x"))
    with records.lock(tmp_path):
        record = records.Record(tmp_path, "toy", SETTINGS, UNITS)
        for unit in UNITS:
            points = [{"table": "points", "x": number} for number in range(2)]
            record.add(unit, [*rows_of(unit), *points], 1.0)
    table = records.tables(tmp_path, "toy")["points"]
    assert table.to_numpy().tolist() == [[unit["size"], x] for unit in UNITS for x in range(2)]
    complete = contents(tmp_path)
    main = (tmp_path / "toy.csv").read_text()
    (tmp_path / "toy.csv").write_text(main[: main.index(f"\n{UNITS[-1]['size']},") + 1])
    with records.lock(tmp_path):
        record = records.Record(tmp_path, "toy", SETTINGS, UNITS)
        assert record.missing == [UNITS[-1]]
        with pytest.raises(ValueError, match=r"no table 'lines'.*toy\.points"):
            record.add(UNITS[-1], [*rows_of(UNITS[-1]), {"table": "lines", "x": 1}], 1.0)
        points = [{"table": "points", "x": number} for number in range(2)]
        record.add(UNITS[-1], [*rows_of(UNITS[-1]), *points], 1.0)
    assert contents(tmp_path)["toy.points.csv"] == complete["toy.points.csv"]
    assert contents(tmp_path)["toy.csv"] == complete["toy.csv"]


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
        records.Record(tmp_path, "toy", {"seeds": 3, "rate": 1e-3, "new": 1}, UNITS)
    message = str(caught.value)
    assert "seeds is 2 there but 3 here" in message
    assert "sizes is [8, 64] there but 'absent' here" in message
    assert "new is 'absent' there but 1 here" in message
    assert "rate" not in message
    assert all(remedy in message for remedy in ("same settings", "--out", "remove toy.csv and toy.json"))
    assert contents(tmp_path) == before


def test_other_data_are_refused(tmp_path):
    """The same name does not make the same data."""
    run(tmp_path, data={"name": "a.npz", "sha256": "ab"})
    with pytest.raises(ValueError, match=r"data\.sha256 is 'ab' there but 'cd' here"):
        run(tmp_path, data={"name": "a.npz", "sha256": "cd"})


def test_environments_of_earlier_units_are_kept(tmp_path, monkeypatch):
    """Units of two commits in one CSV are recorded as such."""
    monkeypatch.setattr(records, "_environment", lambda: {"commit": "one"})
    records.Record(tmp_path, "toy", SETTINGS, UNITS).add(UNITS[0], rows_of(UNITS[0]), 1)
    monkeypatch.setattr(records, "_environment", lambda: {"commit": "two"})
    run(tmp_path)
    monkeypatch.setattr(records, "_environment", lambda: {"commit": "three"})
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
        ("toy.csv", lambda text: "\udcff" + text),
        ("toy.json", lambda text: text[: len(text) // 2]),
        ("toy.json", lambda text: ""),
        ("toy.json", lambda text: "[]"),
        ("toy.json", lambda text: text.replace('"settings"', '"setting"')),
        ("toy.json", lambda text: text.replace('"wall_time_seconds": ', '"wall_time_seconds": "a long time", "x": ')),
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


# Folders that cannot be written


def test_a_full_disk_keeps_what_was_written(tmp_path, monkeypatch):
    """The unit is lost, the earlier ones and the way on are not."""
    record = records.Record(tmp_path, "toy", SETTINGS, UNITS)
    record.add(UNITS[0], rows_of(UNITS[0]), 1)
    before = contents(tmp_path)

    def full(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left") as caught:
            record.add(UNITS[1], rows_of(UNITS[1]), 1)
    assert str(tmp_path) in str(caught.value)
    assert "--out" in str(caught.value)
    assert contents(tmp_path) == before
    run(tmp_path)
    assert len(records.read(tmp_path, "toy")) == 4


def test_a_folder_that_cannot_be_made(tmp_path):
    """A file is in the place of the folder or above it."""
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="cannot write to") as caught:
            run(folder)
        assert str(folder) in str(caught.value)
        assert "--out" in str(caught.value)


# One run at a time

HOLD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from hw1 import records
with records.lock(sys.argv[2]):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_second_run_on_a_folder_stops_until_the_first_is_gone(tmp_path):
    """The message has the process; SIGKILL releases the folder."""
    folder = tmp_path / "runs"
    with subprocess.Popen(python(HOLD, ROOT, folder), stdout=subprocess.PIPE, text=True) as first:
        try:
            assert first.stdout.readline() == "locked\n"
            with pytest.raises(OSError, match=rf"process {first.pid}\) is using .*runs"):
                run(folder)
            assert not (folder / "toy.json").exists()
        finally:
            first.send_signal(signal.SIGKILL)
    run(folder)
    assert about(folder)["complete"]


def test_lock_may_be_nested_and_is_released_at_the_end(tmp_path, monkeypatch):
    """Also under another name of the folder, and after an error."""
    monkeypatch.chdir(tmp_path)
    other = python(HOLD.replace("60", "0"), ROOT, tmp_path / "runs")

    def fail():
        with records.lock("runs"), records.lock(tmp_path / "runs"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert subprocess.run(other, stdout=subprocess.DEVNULL, check=False).returncode == 0
    with records.lock("runs"):
        with records.lock(tmp_path / "runs"):
            pass
        refused = subprocess.run(other, capture_output=True, text=True, check=False)
        assert f"process {os.getpid()}" in refused.stderr


# Reading


def test_read_gives_numbers_as_numbers(tmp_path):
    """NaN and infinities too, and the string None stays a string."""
    record = records.Record(tmp_path, "toy", SETTINGS, [{"size": 8}])
    values = [0.1, float("nan"), float("inf"), -1e300]
    record.add({"size": 8}, [{"seed": i, "value": value, "note": "None"} for i, value in enumerate(values)], 1)
    table = records.read(tmp_path, "toy")
    assert list(table.columns) == list(COLUMNS)
    pd.testing.assert_series_equal(table.value, pd.Series(values, name="value"), check_exact=True)
    assert table["size"].dtype.kind == table["seed"].dtype.kind == "i"
    assert list(table.note) == ["None"] * 4


def test_what_is_missing_names_the_command(tmp_path):
    """An unknown question is another error than a missing file."""
    for call in (records.read, records.settings):
        with pytest.raises(FileNotFoundError, match=rf"python -m hw1.reproduce --only=toy --out={tmp_path}"):
            call(tmp_path, "toy")
        with pytest.raises(ValueError, match="random_labels"):
            call(tmp_path, "random_label")


def test_reading_checks_the_columns(tmp_path):
    """A plot of half a line would be wrong in silence."""
    run(tmp_path)
    with (tmp_path / "toy.csv").open("a") as file:
        csv.writer(file).writerow([1, 2])
    with pytest.raises(ValueError, match="damaged or old"):
        records.read(tmp_path, "toy")


# The commit


def git(folder, *arguments):
    """Runs git in the folder, as somebody."""
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_commit_and_changes(tmp_path, monkeypatch):
    """No repository, no commit, clean, results beside it, changed code, no git."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)  # Set while git runs a hook.
    monkeypatch.setattr(records, "__file__", str(tmp_path / "records.py"))
    assert records._commit() is None
    (tmp_path / "records.py").write_text("x = 1\n")
    git(tmp_path, "init")
    assert records._commit() is None
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "core.hooksPath=/dev/null", "commit", "-m", "one")
    clean = records._commit()
    assert len(clean) == 40
    (tmp_path / "toy.csv").write_text("results change no code\n")
    assert records._commit() == clean
    (tmp_path / "records.py").write_text("x = 2\n")
    assert records._commit() == f"{clean}+changes"
    monkeypatch.setenv("PATH", "")
    assert records._commit() is None
