"""Clocks that jump: back and forth by days during a run, as where a machine wakes up or its time is set."""

import functools
import random
import subprocess
import time

from faults import children
from toys import ROOT, python

from hw1 import records

FORWARD = ("monotonic", "perf_counter")  # which never go back


def jump(seed):
    """Makes every reading of a clock in this process one of days before or after; of some, only after."""
    chance, ahead, now = random.Random(seed), dict.fromkeys(FORWARD, 0.0), time.time
    time.time = lambda: now() + 86400 * chance.uniform(-9, 9)

    def later(name, read):
        ahead[name] += 86400 * chance.random()
        return read() + ahead[name]

    for name in FORWARD:
        setattr(time, name, functools.partial(later, name, getattr(time, name)))


def jumping(seed, folder):
    """The toy, while clocks jump."""
    jump(seed)
    children.answer(folder)


JUMPING = """
import sys
sys.path[:0] = sys.argv[1:3]
from faults import test_clock
from hw1 import __main__ as main
test_clock.jump(sys.argv[3])
main.main(["hw1", *sys.argv[4:]])
"""


def test_a_clock_that_jumps_changes_no_row(faults, tmp_path):
    """The same bytes, and recorded seconds of 0 or more."""
    whole = children.undisturbed(tmp_path / "whole")
    for number, chance in enumerate(faults("clock: jumps by days", 5, 100)):
        folder = tmp_path / str(number)
        code, said = children.forked(jumping, chance.random(), folder)
        assert code == 0, said
        assert "(-" not in said
        assert children.held(folder) == whole
        assert records.about(folder, "toy")["wall_time_seconds"] >= 0


@children.in_full("the toy meets these clocks")
def test_a_clock_that_jumps_while_nets_are_trained(faults, at_smoke_size, tmp_path):
    """A real question, by the command for all of them."""
    names = ["redundancy"]
    whole = children.held(at_smoke_size(*names))
    for number, chance in enumerate(faults("clock: jumps by days, a real question", 3, 3)):
        folder = tmp_path / str(number)
        arguments = (chance.random(), "reproduce", f"--only={','.join(names)}", "--size=smoke", f"--out={folder}")
        done = subprocess.run(python(JUMPING, ROOT, ROOT / "tests", *arguments), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert children.held(folder) == whole
        assert all(records.about(folder, name)["wall_time_seconds"] >= 0 for name in names)
        assert ": -" not in done.stderr
