"""The main job with two processes: kills, Ctrl-C and a second run, on toy questions in a process of their own."""

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pandas as pd
import pytest

TOYS = """
import dataclasses, sys, time, types
from hw1 import catalogue, question, reproduce
from hw1.findings import drawing

@dataclasses.dataclass(frozen=True)
class Settings:
    seeds: int = question.option(2, "repetitions")

def toy(name, seconds):
    module = types.ModuleType(name)
    module.Settings, module.SIZES = Settings, {"smoke": {}, "report": {}, "paper": {}}
    module.COLUMNS = {"rows": ["size", "seed", "value"]}
    module.units = lambda settings: [{"size": size} for size in range(6)]
    def run(settings, data, size):
        time.sleep(seconds)
        yield from ({"seed": seed, "value": size + seed / 10} for seed in range(settings.seeds))
    module.run = run
    return module

toys = {name: toy(name, float(sys.argv.pop(1))) for name in ("alpha", "beta", "gamma")}
question._make_deterministic = drawing.draw = lambda *arguments: []
catalogue.PARTS, catalogue.GROUPS = {"toys": list(toys)}, {"course": ["toys"], "all": ["toys"]}
catalogue.experiment = toys.__getitem__
reproduce.main(["reproduce", "--size=smoke", *sys.argv[1:]])
"""


def command(out, *flags, seconds=0.0):
    """The toy main job: each unit of the three questions takes so many seconds."""
    times = [str(seconds)] * 3
    return [sys.executable, "-c", TOYS, *times, f"--out={out}", *flags]


def start(out, *flags, seconds=0.3):
    """Starts it and waits until units are written."""
    process = subprocess.Popen(command(out, *flags, seconds=seconds), stderr=subprocess.PIPE, text=True)
    while not (Path(out, "alpha.csv").exists() and Path(out, "beta.csv").exists()):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    return process


def children(process):
    """The process numbers of a process's children."""
    return [int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def rows(out):
    """The bytes of the three CSVs."""
    return [Path(out, f"{name}.csv").read_bytes() for name in ("alpha", "beta", "gamma")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What the main job writes that nothing interrupts, one question after the other."""
    out = tmp_path_factory.mktemp("whole")
    subprocess.run(command(out, "--jobs=1"), check=True, capture_output=True)
    return rows(out)


def test_two_at_a_time_write_the_same_bytes(whole, tmp_path):
    """The number of processes changes nothing in the results."""
    done = subprocess.run(command(tmp_path, "--jobs=2"), check=True, capture_output=True, text=True)
    assert rows(tmp_path) == whole
    assert "[3/3]" in done.stderr
    assert "3 of 3 done" in done.stderr


def test_on_a_terminal_every_question_has_a_bar(whole, tmp_path):
    """Two processes share one screen: a bar for each question while it runs, a line when it is done."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = subprocess.Popen(command(tmp_path, seconds=0.05), stderr=theirs)
    os.close(theirs)
    screen = b""
    with contextlib.suppress(OSError):  # a terminal without a process
        while part := os.read(ours, 10000):
            screen += part
    os.close(ours)
    assert process.wait(timeout=30) == 0
    assert rows(tmp_path) == whole
    for name in (b"alpha", b"beta", b"gamma"):
        assert re.search(name + rb": +\d+%.* \d/6 ", screen)
        assert re.search(rb"\[\d/3\] " + name + rb": \d+\.\d s, done", screen)


@pytest.mark.parametrize("signal_sent", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_stopped_job_leaves_no_process_and_goes_on(whole, tmp_path, signal_sent):
    """However the job is stopped, its processes end, the lock is free, and the same command completes the rows."""
    process = start(tmp_path)
    workers = children(process)
    assert len(workers) == 2
    process.send_signal(signal_sent)
    _, error = process.communicate(timeout=30)
    if signal_sent == signal.SIGINT:
        assert process.returncode == 130
        assert "the same command goes on" in error
        assert "Traceback" not in error
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{worker}/cwd").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    subprocess.run(command(tmp_path), check=True, capture_output=True)
    assert rows(tmp_path) == whole


def test_a_killed_worker_is_an_error_with_a_remedy(whole, tmp_path):
    """A process that the system kills, for lack of memory say, ends the job with one line, not with a wait."""
    process = start(tmp_path)
    os.kill(children(process)[0], signal.SIGKILL)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "--jobs=1" in error.splitlines()[-1]
    subprocess.run(command(tmp_path), check=True, capture_output=True)
    assert rows(tmp_path) == whole


def test_a_second_job_on_the_folder_stops(tmp_path):
    """The first goes on undisturbed."""
    process = start(tmp_path)
    process.send_signal(signal.SIGSTOP)  # It must not end before the second has begun.
    second = subprocess.run(command(tmp_path), capture_output=True, text=True)
    process.send_signal(signal.SIGCONT)
    assert second.returncode == 1
    assert "is using" in second.stderr
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(pd.read_csv(tmp_path / "alpha.csv")) == 12
