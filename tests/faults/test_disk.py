"""Disks: full ones, folders that cannot be written, and folders that go away while a run writes to them.

Each time the command ends with one line that has the folder and the remedy, what was written stays, and the same
command ends with the bytes of an undisturbed run as soon as the fault is gone.
"""

import errno
import itertools
import os
import resource
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path

import pytest
from faults import children

import hw1.report.__main__ as report

NOBODY = 65534
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What an undisturbed run of the toy leaves."""
    return children.undisturbed(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def begun(tmp_path):
    """A function that stops a run before its unit of a number and gives its folder, one for each try."""

    def stop_at(units, attempt):
        def stop(number):
            if number == units:
                raise KeyboardInterrupt

        folder = tmp_path / f"runs{attempt}"
        assert children.forked(children.answer, folder, children.toy(stop))[0] == 130
        return folder

    return stop_at


def survives(fault, folder, whole, broken, mend=lambda: None):
    """Checks that a run ends by the fault, loses nothing, and after `mend` goes on to the end; gives what it said."""
    before = children.held(folder)
    refusal = children.refusal(children.forked(broken), folder, "--out", codes=[1])
    mend()
    fault.lost += children.lost(before, children.held(folder))
    fault.lost += children.gone_on(folder, whole, lambda: children.forked(children.answer, folder))
    assert fault.lost == 0
    return refusal


def limited(limit, folder):
    """The toy, where no file may have more bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    children.answer(folder)


def test_a_file_may_not_grow(faults, whole, begun):
    """The limit of the system on the size of a file: writing fails in the middle, with EFBIG."""
    largest = max(map(len, whole.values()))
    fault = faults("disk: no file may be larger (RLIMIT_FSIZE)", 6, 200)
    for number, chance in enumerate(fault):
        folder = begun(chance.randrange(3), number)
        said = survives(fault, folder, whole, partial(limited, chance.randrange(largest), folder))
        assert "File too large" in said


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_small_disk_is_full(faults, whole, small_disk):
    """A real one: some files still have room, others do not."""
    fault = faults("disk: a file system without room (tmpfs)", 6, 100)
    filler = small_disk / "filler"
    for number, chance in enumerate(fault):
        folder = small_disk / f"runs{number}"
        filler.write_bytes(bytes(os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize))
        with filler.open("r+") as file:  # room for the folder, or for some of the files, but not for all
            file.truncate(filler.stat().st_size - 4096 * chance.randrange(5 if number else 1))
        survives(fault, folder, whole, partial(children.answer, folder), filler.unlink)
        shutil.rmtree(folder)


def failing(number, code, lasts, folder):
    """The toy, where the write, flush or replacement of that number fails, and if it lasts those after it."""
    count = itertools.count()

    def fails():
        now = next(count)
        return now == number or (lasts and now > number)

    def wrapped(function):
        def call(*arguments):
            if fails():
                raise OSError(code, os.strerror(code))
            return function(*arguments)

        return call

    class Half:
        """An open file; a write that fails has written half."""

        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, content):
            if fails():
                self.file.write(content[: len(content) // 2])
                self.file.flush()
                raise OSError(code, os.strerror(code))
            return self.file.write(content)

    opened = Path.open
    Path.open = lambda path, mode="r", **more: Half(opened(path, mode)) if mode == "wb" else opened(path, mode, **more)
    os.fsync, os.replace = wrapped(os.fsync), wrapped(os.replace)
    children.answer(folder)


def test_a_write_fails_at_any_place(faults, whole, begun):
    """No room, no quota, a broken disk or one that was made read-only, once or from then on."""
    fault = faults("disk: a write, flush or replacement fails", 8, 500)
    for number, chance in enumerate(fault):
        units = chance.randrange(3)
        folder = begun(units, number)
        writes = 4 * (1 + 4 * (3 - units) + 2)  # four calls for each file: record, tables with their records, figures

        place, code, lasts = chance.randrange(writes), chance.choice(FULL), chance.random() < 0.5
        survives(fault, folder, whole, partial(failing, place, code, lasts, folder))


# Folders that cannot be written


def as_nobody(folder, module):
    """The toy, by a user whom permissions bind."""
    if not os.geteuid():
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    children.answer(folder, module)


def test_a_folder_is_not_writable(faults, whole):
    """Before the run, or from some unit on; whoever runs the tests."""
    fault = faults("disk: the folder becomes read-only", 4, 40)
    with tempfile.TemporaryDirectory() as base:  # that of pytest is closed to others
        Path(base).chmod(0o755)
        for number, chance in enumerate(fault):
            units, folder = chance.randrange(-1, 3), Path(base, str(number))
            folder.mkdir()
            if not os.geteuid():
                os.chown(folder, NOBODY, NOBODY)

            def close(number, units=units, folder=folder):
                if number == units:
                    folder.chmod(0o555)

            if units < 0:
                folder.chmod(0o555)
            broken, mend = partial(as_nobody, folder, children.toy(close)), partial(folder.chmod, 0o755)
            said = survives(fault, folder, whole, broken, mend)
            assert "Permission denied" in said


def test_something_else_is_in_the_place_of_the_folder(faults, tmp_path):
    """It is named for what it is, and stays."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    before = children.held(tmp_path)
    places = {"file": "is a file, not a folder", "link": "is a link to nowhere", "file/runs": "is a file, not a folder"}
    fault = faults("disk: something else in the place of the folder", len(places), len(places))
    for _, (name, said) in zip(fault, places.items(), strict=True):
        folder = tmp_path / name
        assert said in children.refusal(children.forked(children.answer, folder), folder, "--out")
        assert children.held(tmp_path) == before


def test_something_else_is_in_the_place_of_a_file(faults, whole, tmp_path):
    """A folder where a file belongs, or a file where the figures belong: the line has its name."""
    names = [".lock", "toy.json.tmp", "toy.csv.tmp", "toy.points.csv.tmp", "figures", "figures/toy.png"]
    fault = faults("disk: something else in the place of a file", len(names), len(names))
    for number, (_, name) in enumerate(zip(fault, names, strict=True)):
        folder = tmp_path / f"runs{number}"
        way = folder / name
        way.parent.mkdir(parents=True)
        way.touch() if name == "figures" else way.mkdir()
        mend = way.unlink if name == "figures" else way.rmdir
        assert way.name in survives(fault, folder, whole, partial(children.answer, folder), mend)


# Folders that go away


@pytest.mark.parametrize("instead", ["nothing", "a file", "a link to nowhere", "a folder"])
def test_a_folder_goes_away_during_the_run(faults, whole, tmp_path, instead):
    """Moved, with something else in its place: the run stops, and goes on when the folder is back."""
    fault = faults(f"disk: the folder goes away, then {instead}", 1, 12)
    for number, chance in enumerate(fault):
        folder, away = tmp_path / f"runs{number}", tmp_path / f"away{number}"
        units = chance.randrange(3)

        def move(number, folder=folder, away=away, units=units):
            if number == units:
                folder.rename(away)
                if instead == "a file":
                    folder.write_text("mine")
                elif instead == "a link to nowhere":
                    folder.symlink_to(tmp_path / "nowhere")
                elif instead == "a folder":
                    folder.mkdir()

        def back(folder=folder, away=away):
            if instead == "a folder":
                assert list(folder.iterdir()) == []
                folder.rmdir()
            elif instead != "nothing":
                folder.unlink()
            away.rename(folder)

        survives(fault, folder, whole, partial(children.answer, folder, children.toy(move)), back)


# Reports


@pytest.mark.parametrize(("broken", "remedy"), [("its file", "--out"), ("its parts", "TMPDIR")])
def test_a_report_has_no_room(faults, tmp_path, monkeypatch, broken, remedy):
    """Neither where it is written nor where it is set: the earlier one stays, and no part of the new one."""
    out = tmp_path / "Report.pdf"
    out.write_bytes(b"earlier")

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(report.typst, "compile", lambda *arguments, **options: b"new")
    for _ in faults(f"disk: no room for a report ({broken})", 1, 1):
        with monkeypatch.context() as patch:
            patch.setattr(*((os, "fsync") if broken == "its file" else (report.shutil, "copy")), full)
            place = tmp_path if broken == "its file" else tempfile.gettempdir()
            with pytest.raises(OSError, match=rf"{place} \(No space left on device\): .*{remedy}"):
                report._typeset("supplement.typ", {}, tmp_path, [], out)
        assert children.held(tmp_path) == {"Report.pdf": b"earlier"}
        report._typeset("supplement.typ", {}, tmp_path, [], out)
        assert children.held(tmp_path) == {"Report.pdf": b"new"}


# A real question


@children.in_full("the toy meets full disks")
def test_a_real_question_on_a_full_disk(faults, at_smoke_size, tmp_path):
    """Limited in the size of its files, it loses nothing and ends with the same bytes afterwards."""
    name = "redundancy"
    whole = children.held(at_smoke_size(name))
    fault = faults("disk: a real question, no file may be larger", 6, 6)
    for number, chance in enumerate(fault):
        folder = tmp_path / f"runs{number}"
        limit = chance.randrange(1000, len(whole[f"{name}.csv"]))
        run = partial(children.start, name, "--size=smoke", f"--out={folder}")
        limits = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))
        children.refusal(children.finish(run(preexec_fn=limits)), folder, "--out", "File too large")
        fault.lost += children.gone_on(folder, whole, lambda run=run: children.finish(run()))
        assert fault.lost == 0
