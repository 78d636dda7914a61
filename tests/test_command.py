"""Questions as commands, with a toy: flags, messages, exit codes, interruptions."""

import errno
import os
import re
import signal
import subprocess
import sys

import pytest
from absl import flags
from toys import COMMAND, ROOT, TOY, exit_code

from hw1 import __main__ as main
from hw1 import command, files, question, records


@pytest.fixture
def run_toy(tmp_path):
    """Runs the toy by python -m, with more source after its own."""

    def run(*arguments, extra=""):
        (tmp_path / "toy.py").write_text(TOY + extra + COMMAND)
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
        line = [sys.executable, "-m", "toy", "--size=smoke", f"--out={tmp_path / 'runs'}", *arguments]
        return subprocess.run(line, env=environment, capture_output=True, text=True, check=False)

    return run


# Flags


def test_help_has_the_docstring_and_every_flag_with_its_defaults(toy, capsys):
    """At every size where they differ, once where they do not; in the order of the settings."""
    assert exit_code(lambda argv: command.main(toy, argv), "--help") == 0
    text = capsys.readouterr().out
    assert text.startswith(toy.__doc__.strip())
    found = re.findall(r"^  --(\w+): ", text, re.MULTILINE)
    assert found == ["out", "traceback", "help", "size", *toy.Settings.__dataclass_fields__]
    assert "--seeds: independent repetitions [smoke: 2, report: 5, paper: 10]" in text
    assert "--sizes: sizes to compare [smoke: 8,64, report: 8,64,512, paper: 8,64,512]" in text
    assert "--rate: step size [0.001]" in text


def test_flags_become_settings(toy, tmp_path, monkeypatch):
    """Each kind of flag; what is not given stays as the size has it, and no flag is global."""
    seen = []
    monkeypatch.setattr(command, "answer", lambda module, settings, out, **_: seen.append((settings, out)))
    arguments = [
        "--size=smoke",
        "--sizes=1, 2",
        "--rates=.5,1e-3",
        "--hidden=5,5",
        "--rate=2",
        "--scope=block",
        "--label=a,b",
    ]
    command.main(toy, ["toy", *arguments, "--nobias", "--train", "7", f"--out={tmp_path}"])
    expected = toy.Settings(2, (1, 2), (0.5, 1e-3), (5, 5), 2.0, 0.0, 0, "block", "a,b", False, 7)
    assert seen == [(expected, str(tmp_path))]
    command.main(toy, ["toy"])
    assert seen[1] == (toy.Settings(), "runs")
    assert "rates" not in flags.FLAGS


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--seed=3", "Did you mean: seeds"),
        ("--nonsense=3", "nonsense"),
        ("--seeds=many", "--seeds=many: must be a whole number of at least 1"),
        ("--seeds=0", "--seeds=0: must be a whole number of at least 1"),
        ("--seeds=1.5", "--seeds=1.5: must be"),
        ("--seeds=", "--seeds=: must be"),
        ("--seeds", "seeds"),
        ("--rate=inf", "--rate=inf: must be a finite number above 0"),
        ("--sizes=8,8", "--sizes=8,8: must be different whole numbers of at least 1, such as 8,64"),
        ("--sizes=8,,9", "--sizes=8,,9: must be"),
        ("--sizes=", "--sizes=: must be"),
        ("--scope=layer", "one of full, block"),
        ("--bias=perhaps", "bias=perhaps"),
        ("--size=tiny", "smoke|report|paper"),
        ("--out=", "--out= is empty"),
        ("seeds=3", "'seeds=3' is no flag"),
    ],
)
def test_wrong_flags_are_one_line_and_exit_code_2(toy, capsys, monkeypatch, argument, said):
    """Nothing is run."""
    monkeypatch.setattr(command, "answer", None)
    assert exit_code(lambda argv: command.main(toy, argv), argument) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"error: .+\n", err)
    assert said in err


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--data=nosuch", "error: --data=nosuch: there is no data set"),
        ("--train=10000", r"error: --train=10000 --test=5000: .* mnist10k holds 10000 images"),
    ],
)
def test_data_that_there_are_not_are_named_by_their_flag(capsys, tmp_path, argument, said):
    """Exit code 2, and no folder is left behind."""
    out = f"--out={tmp_path / 'out'}"
    assert exit_code(main.main, "sensitivity", argument, out) == 2
    assert re.fullmatch(rf"{said}.*\n", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder_of_results(toy, tmp_path, capsys):
    """The message says what it is, and the file stays."""
    path = tmp_path / "f"
    path.write_text("mine")
    assert exit_code(lambda argv: command.main(toy, argv), f"--out={path}") == 2
    assert capsys.readouterr().err == f"error: --out={path} is a file, not a folder; name another\n"
    assert path.read_text() == "mine"


def test_one_seed_is_answered_with_a_warning(toy, tmp_path, capsys):
    """There is no interval over one seed; more seeds need no line."""
    command.main(toy, ["toy", "--seeds=1", f"--out={tmp_path / 'one'}"])
    assert capsys.readouterr().err.startswith("--seeds=1: one seed gives no intervals")
    command.main(toy, ["toy", "--seeds=2", f"--out={tmp_path / 'two'}"])
    assert "--seeds" not in capsys.readouterr().err


# Messages


def test_answer_shows_progress_and_draws(toy, tmp_path, drawn, capsys):
    """One line on stderr at the start and one per unit when it is no terminal; stdout stays empty."""
    path, settings = tmp_path / "toy.csv", question.make_settings(toy, "smoke")
    command.answer(toy, settings, tmp_path)
    assert path.read_text() == "size,seed,value\n8,0,2.666667\n8,1,2\n64,0,21.33333\n64,1,16\n"
    assert drawn == [("toy", tmp_path)]
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == f"toy: 2 units, 0 of them done, to {path}"
    assert [line.split(" (")[0] for line in lines[1:]] == ["toy: 1/2 size=8", "toy: 2/2 size=64"]
    before = path.read_bytes()
    command.answer(toy, settings, tmp_path)
    assert path.read_bytes() == before
    assert "2 units, 2 of them done" in capsys.readouterr().err
    assert drawn == [("toy", tmp_path)] * 2


def test_who_watches_is_told_instead(toy, tmp_path, capsys):
    """Name and numbers of units, and nothing on stderr: another process draws the bars."""
    states = []
    settings = question.make_settings(toy, "smoke")
    command.answer(toy, settings, tmp_path, "other", lambda *state: states.append(state))
    assert states == [("other", done, 2) for done in range(3)]
    assert capsys.readouterr() == ("", "")


def test_importing_commands_is_cheap():
    """No TensorFlow, Keras or Matplotlib before there is work, so --help is quick."""
    code = "import sys, hw1.command, hw1.reproduce; print({'tensorflow', 'keras', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# Errors


@pytest.mark.parametrize("error", [ValueError("first\n  second"), TypeError("first second"), OSError("first second")])
def test_errors_are_one_line_and_exit_code_1(toy, tmp_path, capsys, error):
    """With --traceback the error itself comes through."""

    def run(settings, data, size):
        raise error

    toy.run = run
    assert exit_code(lambda argv: command.main(toy, argv), f"--out={tmp_path}") == 1
    assert capsys.readouterr().err.splitlines()[1:] == ["error: first second"]
    with pytest.raises(type(error)):
        command.main(toy, ["toy", f"--out={tmp_path}", "--traceback"])


def test_bugs_keep_their_traceback(toy, tmp_path):
    """An error that no message of ours explains is not hidden."""
    toy.run = lambda settings, data, size: {}["missing"]
    with pytest.raises(KeyError):
        command.main(toy, ["toy", f"--out={tmp_path}"])


def test_full_disk_ends_the_command_with_what_was_done(toy, tmp_path, capsys, monkeypatch):
    """The error has the folder; freed, the same command goes on."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    command.main(toy, ["toy", "--size=smoke", f"--out={whole}"])
    calls, fsync = [], os.fsync

    def full(file):
        calls.append(file)
        if len(calls) == 7:  # Settings, then CSV and JSON of the first unit, each with its folder.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    monkeypatch.setattr(os, "fsync", full)
    assert exit_code(lambda argv: command.main(toy, argv), "--size=smoke", f"--out={parts}") == 1
    assert re.search(rf"error: cannot write to {parts} \(No space left on device\): .*--out", capsys.readouterr().err)
    assert (parts / "toy.csv").read_text().splitlines() == (whole / "toy.csv").read_text().splitlines()[:3]
    command.main(toy, ["toy", "--size=smoke", f"--out={parts}"])
    assert (parts / "toy.csv").read_bytes() == (whole / "toy.csv").read_bytes()


def test_interruption_keeps_finished_units(toy, tmp_path, capsys):
    """Exit code 130, and the same command ends as if nothing had been."""
    whole, parts, run = tmp_path / "whole", tmp_path / "parts", toy.run
    command.main(toy, ["toy", f"--out={whole}"])

    def interrupted(settings, data, size):
        if size == 64:
            raise KeyboardInterrupt
        return run(settings, data, size)

    toy.run = interrupted
    assert exit_code(lambda argv: command.main(toy, argv), f"--out={parts}") == 130
    assert "interrupted: finished units are kept" in capsys.readouterr().err
    assert len(records.read(parts, "toy")) == 5
    toy.run = run
    command.main(toy, ["toy", f"--out={parts}"])
    assert (parts / "toy.csv").read_bytes() == (whole / "toy.csv").read_bytes()


KILL = """
import os, pathlib
once = pathlib.Path(__file__).with_name("killed")
whole_run = run
def run(settings, data, size):
    for row in whole_run(settings, data, size):
        yield row
        if size == 64 and not once.exists():
            once.touch()
            os.kill(os.getpid(), SIGNAL)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_command_killed_in_the_middle_and_given_again(run_toy, tmp_path, toy, number):
    """A real signal in the middle of the second unit, under python -m: named after its file all the same."""
    first = run_toy(extra=KILL.replace("SIGNAL", str(int(number))))
    assert first.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert len((tmp_path / "runs" / "toy.csv").read_text().splitlines()) == 3
    second = run_toy(extra=KILL)
    assert second.returncode == 0, second.stderr
    assert "toy: 2 units, 1 of them done" in second.stderr
    whole = question.run_units(toy, question.make_settings(toy, "smoke"), tmp_path / "whole")
    assert (tmp_path / "runs" / "toy.csv").read_bytes() == whole.read_bytes()


def test_second_command_on_a_folder_stops(run_toy, tmp_path):
    """The message has the process that holds the folder."""
    with files.lock(tmp_path / "runs"):
        second = run_toy()
    assert second.returncode == 1
    assert re.fullmatch(rf"error: another run \(process {os.getpid()} on .+\) is using .*\n", second.stderr)
    assert not (tmp_path / "runs" / "toy.json").exists()
