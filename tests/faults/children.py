"""Commands in processes of their own: a toy that is forked, hw1 as a user starts it; what a folder holds."""

import io
import os
import re
import subprocess
import sys
import traceback
from types import SimpleNamespace

import pytest
import toys
from matplotlib.figure import Figure

from hw1 import catalogue, command, question

FULL = os.environ.get("FAULTS") == "full"  # whether each kind of fault is tried in full
SIZES = (8, 64, 512)


def in_full(instead):
    """Marks a test that is tried in full only; `instead` says what is tried in short."""
    return pytest.mark.skipif(not FULL, reason=f"in full only: in short {instead}")


def toy(before_unit=lambda number: None):
    """The toy question with a further table; `before_unit` is called with the number of each unit that is computed."""
    module, points = toys.module_of(), [{"table": "points", "x": x} for x in range(40)]
    module.SIZES = {"smoke": {"seeds": 20}, "report": {}, "paper": {}}
    module.COLUMNS = {"rows": ["size", "seed", "value"], "points": ["size", "x"]}
    values = module.run

    def run(settings, data, size):
        before_unit(SIZES.index(size))
        yield from [*values(settings, data, size), *points]

    module.run = run
    return module


def _figure(rows, settings, points):
    figure = Figure((2, 1))
    figure.subplots().plot(rows.seed, rows.value)
    return figure


def answer(out, module=None):
    """The command of the toy, in this process, with a figure and without TensorFlow."""
    question._make_deterministic = lambda: None
    catalogue.finding = {"toy": SimpleNamespace(figure=_figure)}.__getitem__
    command.main(module or toy(), ["toy", "--size=smoke", f"--out={out}"])


def forked(call, *arguments):
    """Calls a function in a child of this process: its exit code and what it wrote to stderr."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        code = 70
        try:
            os.dup2(theirs, 2)
            sys.stderr = io.TextIOWrapper(os.fdopen(theirs, "wb", buffering=0), write_through=True)
            call(*arguments)
            code = 0
        except SystemExit as stopped:
            code = stopped.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(theirs)
    with open(ours) as file:
        said = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def start(*arguments, **options):
    """Starts `hw1` as a user does, in a group of processes of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "hw1", *map(str, arguments)],
        cwd=toys.ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def finish(process):
    """Waits for it: its exit code and what it wrote to stderr."""
    said = process.communicate()[1]
    return process.returncode, said


def refusal(done, *named, codes=(1, 2)):
    """Checks that a command ended with one line of error that has what is `named`, and gives the line."""
    code, said = done
    errors = [line for line in said.splitlines() if re.search(r"^error: |\d s, error: ", line)]
    assert code in codes, said
    assert "Traceback" not in said, said
    assert len(errors) == 1, said
    assert all(str(name) in errors[0] for name in named), errors[0]
    return errors[0]


def undisturbed(folder):
    """The files of a run of the toy that nothing disturbs."""
    code, said = forked(answer, folder)
    assert code == 0, said
    return held(folder)


def held(folder):
    """Every file by its path in the folder, byte by byte; links by where they lead; without the lock and the JSONs."""
    found = {}
    for path in folder.rglob("*"):
        if path.name != ".lock" and path.suffix != ".json" and (path.is_symlink() or not path.is_dir()):
            found[str(path.relative_to(folder))] = os.readlink(path) if path.is_symlink() else path.read_bytes()
    return found


def lost(before, after):
    """How many bytes of `held` are gone: lines of CSVs, and other files that are not what they were."""
    gone = 0
    for name, content in before.items():
        now = after.get(name, b"")
        if name.endswith(".csv"):
            gone += sum(map(len, set(content.splitlines(keepends=True)) - set(now.splitlines(keepends=True))))
        elif not name.endswith(".tmp") and content != now:
            gone += len(content)
    return gone


def gone_on(folder, whole, run):
    """Checks that the same command, given again, leaves the files of an undisturbed run alone; gives the bytes lost."""
    before = held(folder)
    code, said = run()
    assert code == 0, said
    after = held(folder)
    assert set(after) == set(whole)
    assert after == whole
    return lost(before, after)
