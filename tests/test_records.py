"""Records: what is written and what is read. How a run goes on is in test_records_resume.py."""

import csv
import errno
import os
import socket

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_records import COLUMNS, UNITS, about, opened, rows_of, run
from toys import ROOT, contents

from hw1 import records

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
    record = opened(folder, {}, UNITS[:1])
    record.add(UNITS[0], [{"seed": 0, "value": number, "note": note}], 0)
    before = record.csv.read_bytes()
    opened(folder, {}, UNITS[:1]).add(UNITS[0], [{"seed": 0, "value": number, "note": note}], 0)
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
        records._line("toy", list(COLUMNS), UNITS[0], {"seed": 0, "value": 1.0, "note": text})


def test_json_describes_the_run(tmp_path):
    """Settings, data, columns, progress, versions, device, time; no path and no host name."""
    data = {"name": "mnist10k", "sha256": "ab", "train": 10, "test": 5, "classes": 10, "shape": [28, 28]}
    run(tmp_path, data=data)
    found = about(tmp_path)
    assert found["question"] == "toy"
    assert found["settings"] == {"seeds": 2, "sizes": [8, 64], "rate": 1e-3}
    assert records.settings(tmp_path, "toy") == found["settings"] | {"classes": 10, "shape": [28, 28], "chance": None}
    assert found["data"] == data
    assert found["columns"] == {"rows": list(COLUMNS)}
    assert (found["units_done"], found["units_total"], found["complete"]) == (2, 2, True)
    assert set(found["versions"]) - {"hw1"} == {"python", "tensorflow", "keras", "numpy", "scipy"}
    assert found["versions"]["numpy"] == np.__version__
    assert found["device"]["cores"] >= 1
    assert found["device"]["cpu"]
    assert found["wall_time_seconds"] == 3
    assert found["unit_seconds"] == [{"unit": [size], "seconds": 1.5} for size in ("8", "64")]
    text = (tmp_path / "toy.json").read_text()
    assert str(tmp_path) not in text
    assert str(ROOT) not in text
    assert socket.gethostname() not in text


def test_settings_are_recorded_before_the_first_unit(tmp_path):
    """So that a run killed early is still described."""
    opened(tmp_path)
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
    record = opened(tmp_path)
    with pytest.raises(ValueError, match=named):
        record.add(UNITS[0], [*rows_of(UNITS[0]), row], 1)
    assert not record.csv.exists()
    assert len(record.missing) == 2


@pytest.mark.parametrize("value", [None, [1], "two\nlines", np.zeros(1), 1j])
def test_values_that_are_no_cell(tmp_path, value):
    """Arrays, tensors and lists are mistakes, even of one element."""
    record = opened(tmp_path)
    with pytest.raises(TypeError, match="column value"):
        record.add(UNITS[0], [{"seed": 0, "value": value, "note": ""}], 1)


@pytest.mark.parametrize("units", [[], [{"size": 8}, {"size": 8}], [{"size": 0.1}, {"size": 0.1 + 1e-12}]])
def test_units_must_differ_as_written(tmp_path, units):
    """Units with one key in the CSV could not be told apart on resuming."""
    with pytest.raises(ValueError, match="at least one unit, all different"):
        opened(tmp_path, units=units)


def test_a_diverged_net_lacks_what_was_not_measured(tmp_path):
    """The rest of its row is NaN; without its seed, or of any other status, a row must be whole."""
    record = opened(tmp_path, columns=("size", "seed", "value", "status"))
    for row in ({"status": "diverged"}, {"seed": 1, "status": "ok"}):
        with pytest.raises(ValueError, match="missing"):
            record.add(UNITS[0], [row], 1)
    record.add(UNITS[0], [{"seed": 1, "status": "diverged"}], 1)
    assert record.csv.read_text().splitlines()[1] == "8,1,nan,diverged"


def test_a_unit_without_rows_is_an_error(tmp_path):
    """It would be done again on every resumption."""
    record = opened(tmp_path)
    with pytest.raises(ValueError, match="no rows"):
        record.add(UNITS[0], [], 1)


def test_a_full_disk_keeps_what_was_written(tmp_path, monkeypatch):
    """The unit is lost, the earlier ones and the way on are not."""
    record = opened(tmp_path)
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


# Reading


def test_read_gives_numbers_as_numbers(tmp_path):
    """NaN and infinities too, and the string None stays a string."""
    record = opened(tmp_path, units=[{"size": 8}])
    values = [0.1, float("nan"), float("inf"), -1e300]
    record.add({"size": 8}, [{"seed": i, "value": value, "note": "None"} for i, value in enumerate(values)], 1)
    table = records.read(tmp_path, "toy")
    assert list(table.columns) == list(COLUMNS)
    pd.testing.assert_series_equal(table.value, pd.Series(values, name="value"), check_exact=True)
    assert table["size"].dtype.kind == table["seed"].dtype.kind == "i"
    assert list(table.note) == ["None"] * 4


def test_what_is_missing_names_the_command(tmp_path):
    """A file that is not there is made by answering the question."""
    for call in (records.read, records.settings, records.about, records.tables):
        with pytest.raises(FileNotFoundError, match=rf"python -m hw1.reproduce --only=toy --out={tmp_path}"):
            call(tmp_path, "toy")


def test_reading_checks_the_columns(tmp_path):
    """A plot of half a line would be wrong in silence."""
    run(tmp_path)
    with (tmp_path / "toy.csv").open("a") as file:
        csv.writer(file).writerow([1, 2])
    with pytest.raises(ValueError, match="damaged or old"):
        records.read(tmp_path, "toy")


def test_a_table_that_the_record_does_not_name_is_not_read(tmp_path):
    """Its columns are not known; and rows are no further table."""
    run(tmp_path)
    (tmp_path / "toy.points.csv").write_text("size,x\n8,1\n")
    with pytest.raises(ValueError, match=r"toy\.points\.csv is damaged or old"):
        records.read(tmp_path, "toy", "points")
    assert records.tables(tmp_path, "toy") == {}
