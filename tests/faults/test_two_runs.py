"""Two runs on one folder of a network file system: locks that reach all machines, or only one, or do not exist."""

import errno
import os
import shutil
import socket

import filelock
import pytest
import toy_records
from faults import children

from hw1 import files, plot, records

ELSEWHERE = "4711 on elsewhere"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What an undisturbed run of the toy leaves."""
    return children.undisturbed(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(("content", "named"), [(ELSEWHERE.encode(), ELSEWHERE), (b"", "unknown"), (b"\xff", "\ufffd")])
def test_a_run_on_another_machine_is_named(tmp_path, monkeypatch, content, named):
    """Where locks reach all machines, the second run stops and names machine and process of the first."""
    (tmp_path / ".lock").write_bytes(content)
    monkeypatch.setattr(filelock, "lock_descriptor", lambda *arguments, **options: False)
    done = children.forked(children.answer, tmp_path)
    children.refusal(done, f"process {named}) is using {tmp_path}", "--out")
    assert (tmp_path / ".lock").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_figures_are_not_drawn_during_a_run(tmp_path, monkeypatch):
    """Tables that are read while a unit is written would not be of the same moment; nor is a mistyped folder made."""
    shutil.copy(records.COMMITTED / "redundancy.csv", tmp_path)
    monkeypatch.setattr(filelock, "lock_descriptor", lambda *arguments, **options: False)
    done = children.forked(plot.main, ["plot", f"--out={tmp_path}"])
    children.refusal(done, "another run", tmp_path, codes=[1])
    done = children.forked(plot.main, ["plot", f"--out={tmp_path / 'typo'}", "--only=redundancy"])
    children.refusal(done, "typo", "hw1 reproduce", codes=[2])
    assert {path.name for path in tmp_path.iterdir()} == {"redundancy.csv", ".lock"}


@pytest.mark.parametrize("name", [ELSEWHERE, f"4711 on {socket.gethostname()}", "4711", "", "\0\xff\n" * 9])
def test_the_name_of_a_process_that_is_gone_blocks_nobody(tmp_path, name):
    """The lock decides, not what the file says: a machine may have lost its power."""
    (tmp_path / ".lock").write_text(name, encoding="latin-1")
    with files.lock(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()} on {socket.gethostname()}\n"


def test_a_file_system_without_locks_is_refused(faults, tmp_path, monkeypatch):
    """In one line, before anything is computed or written."""
    codes = sorted(set(files.NO_LOCKS))
    fault = faults("two runs: a file system without locks", len(codes), len(codes))
    for _, code in zip(fault, codes, strict=True):

        def fails(*arguments, code=code, **options):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(filelock, "lock_descriptor", fails)
        done = children.forked(children.answer, tmp_path, children.toy(lambda number: os._exit(99)))
        children.refusal(done, f"{tmp_path} has no locks", "local disk", "--out")
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
        assert (tmp_path / ".lock").read_bytes() == b""


def test_another_error_of_locking_is_said(tmp_path, monkeypatch):
    """An interrupted or broken disk is no lack of locks."""

    def fails(*arguments, **options):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(filelock, "lock_descriptor", fails)
    children.refusal(children.forked(children.answer, tmp_path), tmp_path, "Input/output error", "--out")


def test_two_machines_whose_locks_do_not_meet(faults, tmp_path):
    """Mounted so that a lock stays on its machine, both begin: at most one goes on, and no unit is overwritten."""
    units = [{"size": size} for size in range(6)]
    fault = faults("two runs: locks that do not meet (nolock)", 15, 2000)
    refused = 0
    for number, chance in enumerate(fault):
        folder = tmp_path / str(number)
        folder.mkdir()
        running = dict.fromkeys("ab")
        before, said = b"", ""
        while running:
            machine = chance.choice(sorted(running))
            try:
                if running[machine] is None:
                    running[machine] = toy_records.opened(folder, units=units)
                elif running[machine].missing:
                    unit = running[machine].missing[0]
                    running[machine].add(unit, toy_records.rows_of(unit), chance.random())
                else:
                    del running[machine]
            except OSError as error:
                said = str(error)
                del running[machine]
                refused += 1
            after = (folder / "toy.csv").read_bytes() if (folder / "toy.csv").exists() else b""
            fault.lost += children.lost({"toy.csv": before}, {"toy.csv": after})
            before = after
        assert fault.lost == 0
        assert not said or (f"{folder / 'toy.json'} is gone or was changed by another run" in said and "--out" in said)
        toy_records.run(folder, units=units)
        whole = tmp_path / "whole"
        toy_records.run(whole, units=units)
        assert (folder / "toy.csv").read_bytes() == (whole / "toy.csv").read_bytes()
    assert refused > fault.tries / 2


def test_a_folder_that_was_made_anew_is_not_written(tmp_path, whole):
    """Removed during a run and taken by a second one: the first run stops, the rows of the second stay."""

    def second(number):
        if number == 2:
            folder.rename(tmp_path / "first")
            files._locked.clear()  # of this process, which the second run is not
            assert children.forked(children.answer, folder)[0] == 0
            files._locked.add(folder.resolve())

    folder = tmp_path / "runs"
    children.refusal(children.forked(children.answer, folder, children.toy(second)), folder, "another run", "--out")
    assert children.held(folder) == whole
