"""Kills: SIGKILL at a random instant of every command; given again, it ends with the bytes of an undisturbed run.

The undisturbed runs of questions are those that all tests share. Kills before each line that writes records are in
tests/test_records_resume.py.
"""

import os
import shutil
import signal
import time

import pytest
from faults import children

from hw1 import catalogue, records

CHEAP = ("redundancy", "gradient_norm")
START_UP = 5  # seconds, about, until a command that needs TensorFlow writes its first file
COMMANDS = {
    "claims": "--out={}",
    "plot": "--out={}",
    "report": "--results={} --part=paths --out={}/Supplement.pdf",
}


def killed(process, folder, chance, seconds, alone):
    """Kills a group of processes, or its first one alone, in its start or later; whether it had not ended before."""
    if chance.random() < 0.2:
        time.sleep(chance.uniform(0, START_UP))
    else:
        while process.poll() is None and not (folder.is_dir() and any(folder.iterdir())):
            time.sleep(0.01)
        time.sleep(chance.uniform(0, seconds))
    (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
    process.communicate(timeout=300)  # until all have ended that write to the same stderr
    return process.returncode == -signal.SIGKILL


def survives(fault, chance, arguments, folder, make, whole, seconds, alone=False):
    """Checks that a command that is killed, and given again, loses nothing and leaves what an undisturbed one leaves.

    `make` makes the folder as it is before; `seconds` is about how long the undisturbed command writes.
    """
    make()
    while not killed(children.start(*arguments), folder, chance, seconds, alone):
        shutil.rmtree(folder)
        make()
        seconds /= 2
    for path in folder.glob("*.csv"):
        name, _, table = path.stem.partition(".")
        if name in catalogue.names():
            records.read(folder, name, table or records.ROWS)  # never half a unit
    fault.lost += children.gone_on(folder, whole, lambda: children.finish(children.start(*arguments)))
    assert fault.lost == 0


@children.in_full("two questions at once are killed")
def test_a_question_is_killed(faults, at_smoke_size, tmp_path):
    """Drawn from the whole catalogue."""
    fault = faults("kill: a question", 22, 22)
    for number, chance in enumerate(fault):
        name = chance.choice(catalogue.names())
        answers, folder = at_smoke_size(name), tmp_path / str(number)
        seconds = 1 + records.about(answers, name)["wall_time_seconds"]
        arguments = (name, "--size=smoke", f"--out={folder}")
        survives(fault, chance, arguments, folder, lambda: None, children.held(answers), seconds)


@pytest.mark.slow
def test_two_questions_at_once_are_killed(faults, at_smoke_size, tmp_path):
    """The whole group, or the first process alone, which the others follow."""
    fault = faults("kill: reproduce, two jobs, all or the parent alone", 1, 16)
    for number, chance in enumerate(fault):
        names = chance.sample(catalogue.names(), 2) if fault.tries > 1 else CHEAP
        answers, folder = at_smoke_size(*names), tmp_path / str(number)
        seconds = 1 + sum(records.about(answers, name)["wall_time_seconds"] for name in names)
        arguments = ("reproduce", "--jobs=2", "--size=smoke", f"--only={','.join(names)}", f"--out={folder}")
        whole, alone = children.held(answers), chance.random() < 0.5
        survives(fault, chance, arguments, folder, lambda: None, whole, seconds, alone)


def test_what_reads_results_is_killed(faults, tmp_path):
    """Verdicts, figures and report of committed rows."""
    fault = faults("kill: claims, plot, report", 1, 12)
    is_full = fault.tries > 1
    folder = tmp_path / "runs"
    undisturbed = {}

    def copy():
        folder.mkdir()
        for name in catalogue.names("paths") if is_full else ("straight_line", "walk"):
            for path in records.COMMITTED.glob(f"{name}.*"):
                shutil.copy(path, folder)

    for number, chance in enumerate(fault):
        command = list(COMMANDS)[number % 3] if is_full else chance.choice(["claims", "plot"])
        arguments = (command, *COMMANDS[command].format(folder, folder).split())
        if command not in undisturbed:
            copy()
            start = time.perf_counter()
            assert children.finish(children.start(*arguments))[0] == 0
            undisturbed[command] = children.held(folder), time.perf_counter() - start
            shutil.rmtree(folder)
        survives(fault, chance, arguments, folder, copy, *undisturbed[command])
        shutil.rmtree(folder)
