"""Files written whole or not at all, and folders that one process at a time may use."""

import errno
import os
import signal
import socket
import subprocess

import pytest
from toys import ROOT, contents, python

from hw1 import files

# Folders that cannot be written


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_what_cannot_be_written_leaves_the_old_file(tmp_path, monkeypatch, broken):
    """The old text stays whole, and no temporary file takes room on a full disk; freed, it is written."""
    path = tmp_path / "file"
    files.replace(path, "old\n")

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, broken, full)
        with pytest.raises(OSError, match=rf"cannot write to {tmp_path} \(No space left on device\): .*--out"):
            files.replace(path, "new\n")
    assert contents(tmp_path) == {"file": b"old\n"}
    files.replace(path, "newer\r\nµ\n")
    assert contents(tmp_path) == {"file": "newer\r\nµ\n".encode()}


def test_no_link_is_followed(tmp_path):
    """Neither in the place of the file nor in that of the temporary one."""
    (tmp_path / "other").write_text("kept")
    for name in ("file", "file.tmp"):
        (tmp_path / name).symlink_to(tmp_path / "other")
    files.replace(tmp_path / "file", "new")
    assert contents(tmp_path) == {"file": b"new", "other": b"kept"}
    assert not (tmp_path / "file").is_symlink()


def test_a_folder_that_cannot_be_made(tmp_path):
    """A file is in the place of the folder or above it."""
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"cannot write to|is a file, not a folder") as caught, files.lock(folder):
            pass
        assert str(folder) in str(caught.value)
        assert "--out" in str(caught.value)


# One run at a time

HOLD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from hw1 import files
with files.lock(sys.argv[2]):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_second_run_on_a_folder_stops_until_the_first_is_gone(tmp_path):
    """The message has the process; SIGKILL releases the folder."""
    folder = tmp_path / "runs"
    with subprocess.Popen(python(HOLD, ROOT, folder), stdout=subprocess.PIPE, text=True) as first:
        try:
            assert first.stdout.readline() == "locked\n"
            with (
                pytest.raises(OSError, match=rf"process {first.pid} on .+\) is using .*runs.*--out"),
                files.lock(folder),
            ):
                pytest.fail("two processes hold one folder")
        finally:
            first.send_signal(signal.SIGKILL)
    with files.lock(folder):
        assert (folder / ".lock").read_text() == f"{os.getpid()} on {socket.gethostname()}\n"


def test_lock_may_be_nested_and_is_released_at_the_end(tmp_path, monkeypatch):
    """Also under another name of the folder, and after an error."""
    monkeypatch.chdir(tmp_path)
    other = python(HOLD.replace("60", "0"), ROOT, tmp_path / "runs")

    def fail():
        with files.lock("runs"), files.lock(tmp_path / "runs"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert subprocess.run(other, stdout=subprocess.DEVNULL, check=False).returncode == 0
    with files.lock("runs"):
        with files.lock(tmp_path / "runs"):
            pass
        refused = subprocess.run(other, capture_output=True, text=True, check=False)
        assert f"process {os.getpid()}" in refused.stderr
