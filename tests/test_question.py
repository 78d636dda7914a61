"""Questions as commands, with toy questions: settings, flags, exit codes, resuming, and all of them in order."""

import errno
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from absl import flags

import hw1
from hw1 import question, records, reproduce

ROOT = Path(question.__file__).parents[1]

TOY = '''"""Does the toy work?

    python -m toy
"""
import dataclasses, sys
from types import SimpleNamespace
from hw1 import question, records
from hw1.question import option

records.COLUMNS["toy"] = ("size", "seed", "value")

@dataclasses.dataclass(frozen=True)
class Settings:
    seeds: int = option(5, "independent repetitions")
    sizes: tuple[int, ...] = option((8, 64, 512), "sizes to compare")
    rates: tuple[float, ...] = option((0.1, 0.2), "step sizes")
    hidden: tuple[int, ...] = option((30, 30), "widths", unique=False)
    rate: float = option(1e-3, "step size")
    noise: float = option(0.0, "standard deviation", minimum=0)
    epochs: int = option(0, "passes", minimum=0)
    scope: str = option("full", "part of the Hessian", choices=("full", "block"))
    label: str = option("a", "any text")
    bias: bool = option(True, "with bias")
    train: int | None = option(None, "number of examples")

SIZES = {"smoke": {"seeds": 2, "sizes": (8, 64)}, "report": {}, "paper": {"seeds": 10}}

def units(settings):
    return [{"size": size} for size in settings.sizes]

def run(settings, data, size):
    for seed in range(settings.seeds):
        yield {"seed": seed, "value": size / (3 + seed)}
'''

COMMAND = """
# As a command: no figures, no TensorFlow.
sys.modules["hw1.plot"] = SimpleNamespace(draw=lambda name, folder: None)
question._make_deterministic = lambda: None
if __name__ == "__main__":
    question.main(sys.modules[__name__])
"""


def module_of(source, name="toy"):
    """A module made from source text."""
    module = ModuleType(name)
    exec(compile(source, f"{name}.py", "exec"), module.__dict__)
    return module


@pytest.fixture
def drawn(monkeypatch):
    """Stands in for hw1.plot; a list of what was drawn."""
    calls = []
    plot = SimpleNamespace(draw=lambda name, folder: calls.append((name, folder)))
    monkeypatch.setitem(sys.modules, "hw1.plot", plot)
    monkeypatch.setattr(hw1, "plot", plot, raising=False)
    return calls


@pytest.fixture
def toy(monkeypatch, drawn):
    """The toy question, without TensorFlow and figures."""
    monkeypatch.setattr(question, "_make_deterministic", lambda: None)
    monkeypatch.setattr(records, "COLUMNS", dict(records.COLUMNS))
    return module_of(TOY)


@pytest.fixture
def command(tmp_path):
    """Runs the toy by python -m, with more source after its own."""

    def run(*arguments, extra=""):
        (tmp_path / "toy.py").write_text(TOY + extra + COMMAND)
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
        line = [sys.executable, "-m", "toy", "--size=smoke", f"--out={tmp_path / 'runs'}", *arguments]
        return subprocess.run(line, env=environment, capture_output=True, text=True, check=False)

    return run


def exit_code(main, *arguments):
    """The exit code of a command called in this process."""
    with pytest.raises(SystemExit) as caught:
        main(["command", *arguments])
    return caught.value.code or 0


# Settings


def test_overrides_come_before_the_size_and_that_before_the_defaults(toy):
    """None is the same as not given."""
    settings = question.make_settings(toy, "smoke", sizes=(1, 2), seeds=None)
    assert (settings.sizes, settings.seeds, settings.rate) == ((1, 2), 2, 1e-3)
    assert question.make_settings(toy) == toy.Settings()
    assert question.make_settings(toy, "paper").seeds == 10


def test_unknown_sizes_and_settings(toy):
    """The message has what there is, or what is not."""
    with pytest.raises(ValueError, match="unknown size 'tiny'; the sizes are smoke, report, paper"):
        question.make_settings(toy, "tiny")
    with pytest.raises(TypeError, match="epoch"):
        question.make_settings(toy, epoch=3)


WRONG = {
    "seeds": [(0, "at least 1"), (-1, "at least 1"), (2.0, "whole number"), ("3", "whole"), (True, "whole")],
    "sizes": [((), "different"), ((8, 8), "different"), ((8, 0), "at least 1"), ([8, 64], "tuple"), (8, "tuple")],
    "hidden": [((), "values with commas"), ((30, 0), "at least 1"), (30, "tuple")],
    "rates": [((0.1, 0.0), "above 0"), ((0.1, float("nan")), "finite")],
    "rate": [(0.0, "above 0"), (-1e-3, "above 0"), (float("inf"), "finite"), (float("nan"), "finite"), ("a", "finite")],
    "noise": [(-0.1, "at least 0"), (float("nan"), "finite")],
    "epochs": [(-1, "at least 0"), (1.5, "whole")],
    "scope": [("layer", "one of full, block"), (1, "one of")],
    "label": [("", "some text"), (1, "some text")],
    "bias": [(1, "true or false"), ("yes", "true or false")],
    "train": [(0, "at least 1")],
}


@pytest.mark.parametrize(("name", "value", "right"), [(name, *pair) for name in WRONG for pair in WRONG[name]])
def test_wrong_settings_are_named_with_what_would_be_right(toy, tmp_path, name, value, right):
    """Both where settings are made and where they are used, before any file is."""
    with pytest.raises(ValueError, match=rf"^--{name}=.*: must be .*{right}"):
        question.make_settings(toy, **{name: value})
    with pytest.raises(ValueError, match=rf"^--{name}="):
        question.answer(toy, toy.Settings(**{name: value}), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_right_settings_pass(toy):
    """The edges of the ranges, and integers where floats are meant."""
    settings = question.make_settings(
        toy, noise=0, epochs=0, rate=1, rates=(1, 2.5), train=1, bias=False, seeds=10**400
    )
    assert (settings.rate, settings.rates, settings.train) == (1, (1, 2.5), 1)


# The answer


def test_answer_writes_rows_and_record_and_draws(toy, tmp_path, drawn, capsys):
    """One line on stderr at the start and one per unit when it is no terminal; stdout stays empty."""
    path = question.answer(toy, question.make_settings(toy, "smoke"), tmp_path)
    assert path == tmp_path / "toy.csv"
    assert path.read_text() == "size,seed,value\n8,0,2.666667\n8,1,2\n64,0,21.33333\n64,1,16\n"
    about = json.loads((tmp_path / "toy.json").read_text())
    assert about["settings"] == json.loads(json.dumps(question.make_settings(toy, "smoke").__dict__))
    assert about["data"] is None
    assert drawn == [("toy", tmp_path)]
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == f"toy: 2 units, 0 of them done, to {path}"
    assert [line.split(" (")[0] for line in lines[1:]] == ["toy: 1/2 size=8", "toy: 2/2 size=64"]
    before = path.read_bytes()
    question.answer(toy, question.make_settings(toy, "smoke"), tmp_path)
    assert path.read_bytes() == before
    assert "2 units, 2 of them done" in capsys.readouterr().err


@pytest.mark.parametrize(("train", "test"), [(None, None), (20, 10)])
def test_data_are_loaded_and_recorded_without_their_folder(toy, tmp_path, train, test):
    """As large as the fields train and test say; the same file in another folder makes the same run."""
    fields = 'data: str = option("mnist10k", "data set")\n    test: int | None = option(None, "number of tests")\n'
    module, seen = module_of(TOY.replace("seeds: int", f"{fields}    seeds: int", 1)), []
    module.run = lambda settings, data, size: seen.append(data) or [{"seed": 0, "value": len(data.x_train)}]
    images, labels = np.zeros((30, 2, 2), np.uint8), np.arange(30) % 3
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        path = tmp_path / place / "tiny.npz"
        np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
        settings = question.make_settings(module, data=str(path), sizes=(8,), train=train, test=test)
        question.answer(module, settings, tmp_path / "runs")
    assert len(seen) == 1
    text = (tmp_path / "runs" / "toy.json").read_text()
    expected = {"name": "tiny.npz", "sha256": seen[0].sha256, "train": train or 30, "test": test or 30}
    expected["classes"] = 3
    assert json.loads(text)["data"] == expected
    assert json.loads(text)["settings"]["data"] == "tiny.npz"
    assert len(seen[0].x_train) == expected["train"]
    assert str(tmp_path) not in text


def test_a_unit_that_fails_is_not_written(toy, tmp_path):
    """Not even the rows before the failure; the units before it stay."""

    def run(settings, data, size):
        yield {"seed": 0, "value": 1}
        if size == 64:
            raise RuntimeError("boom")

    toy.run = run
    with pytest.raises(RuntimeError, match="boom"):
        question.answer(toy, question.make_settings(toy, "smoke"), tmp_path)
    assert (tmp_path / "toy.csv").read_text() == "size,seed,value\n8,0,1\n"


RANDOM = """
import json, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tests"]
import keras, numpy, random
import tensorflow as tf
from tensorflow.python.framework import config
import test_question as t
from types import SimpleNamespace
sys.modules["hw1.plot"] = SimpleNamespace(draw=lambda name, folder: None)
toy, stop = t.module_of(t.TOY), 0

def run(settings, data, size):
    if size == stop:
        raise InterruptedError
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1), keras.layers.Dropout(0.5)])
    draws = [random.random(), numpy.random.rand(), tf.random.uniform(()), keras.random.uniform(()),
             model.weights[0][0, 0], tf.reduce_sum(model(tf.ones((9, 3)), training=True))]
    assert config.is_op_determinism_enabled()
    yield from ({"seed": i, "value": float(draw)} for i, draw in enumerate(draws))

toy.run = run
settings = t.question.make_settings(toy, "report")
whole = t.question.answer(toy, settings, sys.argv[2] + "/whole").read_bytes()
for stop in (64, 512, 0):
    try:
        path = t.question.answer(toy, settings, sys.argv[2] + "/parts")
    except InterruptedError:
        random.random(), numpy.random.rand(), tf.random.uniform(()), keras.random.uniform(())
print(json.dumps([whole.decode(), path.read_bytes().decode()]))
"""


def test_random_numbers_do_not_depend_on_where_a_run_was_resumed(tmp_path):
    """Seven sources without a seed of their own, from Python's to dropout's; determinism of TensorFlow is on."""
    line = [sys.executable, "-c", RANDOM, str(ROOT), str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    whole, parts = json.loads(done.stdout)
    assert whole == parts
    assert whole.count("\n") == 1 + 3 * 6


# The command


def test_help_has_the_docstring_and_every_flag_with_its_defaults(toy, capsys):
    """At every size where they differ, once where they do not; in the order of the settings."""
    assert exit_code(lambda argv: question.main(toy, argv), "--help") == 0
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
    monkeypatch.setattr(question, "answer", lambda module, settings, out: seen.append((settings, out)))
    arguments = [
        "--size=smoke",
        "--sizes=1, 2",
        "--rates=.5,1e-3",
        "--hidden=5,5",
        "--rate=2",
        "--scope=block",
        "--label=a,b",
    ]
    question.main(toy, ["toy", *arguments, "--nobias", "--train", "7", f"--out={tmp_path}"])
    expected = toy.Settings(2, (1, 2), (0.5, 1e-3), (5, 5), 2.0, 0.0, 0, "block", "a,b", False, 7)
    assert seen == [(expected, str(tmp_path))]
    question.main(toy, ["toy"])
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
        ("--sizes=8,8", "--sizes=8,8: must be different values"),
        ("--sizes=8,,9", "--sizes=8,,9: must be"),
        ("--sizes=", "--sizes=: must be"),
        ("--scope=layer", "one of full, block"),
        ("--bias=perhaps", "bias=perhaps"),
        ("--size=tiny", "smoke|report|paper"),
        ("seeds=3", "'seeds=3' is no flag"),
    ],
)
def test_wrong_flags_are_one_line_and_exit_code_2(toy, capsys, monkeypatch, argument, said):
    """Nothing is run."""
    monkeypatch.setattr(question, "answer", None)
    assert exit_code(lambda argv: question.main(toy, argv), argument) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"error: .+\n", err)
    assert said in err


@pytest.mark.parametrize("error", [ValueError("first\n  second"), TypeError("first second"), OSError("first second")])
def test_errors_are_one_line_and_exit_code_1(toy, tmp_path, capsys, error):
    """With --traceback the error itself comes through."""

    def run(settings, data, size):
        raise error

    toy.run = run
    assert exit_code(lambda argv: question.main(toy, argv), f"--out={tmp_path}") == 1
    assert capsys.readouterr().err.splitlines()[1:] == ["error: first second"]
    with pytest.raises(type(error)):
        question.main(toy, ["toy", f"--out={tmp_path}", "--traceback"])


def test_bugs_keep_their_traceback(toy, tmp_path):
    """An error that no message of ours explains is not hidden."""
    toy.run = lambda settings, data, size: {}["missing"]
    with pytest.raises(KeyError):
        question.main(toy, ["toy", f"--out={tmp_path}"])


def test_full_disk_ends_the_command_with_what_was_done(toy, tmp_path, capsys, monkeypatch):
    """The error has the folder; freed, the same command goes on."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    question.main(toy, ["toy", "--size=smoke", f"--out={whole}"])
    calls, fsync = [], os.fsync

    def full(file):
        calls.append(file)
        if len(calls) == 7:  # Settings, then CSV and JSON of the first unit, each with its folder.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    monkeypatch.setattr(os, "fsync", full)
    assert exit_code(lambda argv: question.main(toy, argv), "--size=smoke", f"--out={parts}") == 1
    assert re.search(rf"error: cannot write to {parts} \(No space left on device\): .*--out", capsys.readouterr().err)
    assert (parts / "toy.csv").read_text().splitlines() == (whole / "toy.csv").read_text().splitlines()[:3]
    question.main(toy, ["toy", "--size=smoke", f"--out={parts}"])
    assert (parts / "toy.csv").read_bytes() == (whole / "toy.csv").read_bytes()


def test_interruption_keeps_finished_units(toy, tmp_path, capsys):
    """Exit code 130, and the same command ends as if nothing had been."""
    whole, parts, run = tmp_path / "whole", tmp_path / "parts", toy.run
    question.main(toy, ["toy", f"--out={whole}"])

    def interrupted(settings, data, size):
        if size == 64:
            raise KeyboardInterrupt
        return run(settings, data, size)

    toy.run = interrupted
    assert exit_code(lambda argv: question.main(toy, argv), f"--out={parts}") == 130
    assert "interrupted: finished units are kept" in capsys.readouterr().err
    assert len(records.read(parts, "toy")) == 5
    toy.run = run
    question.main(toy, ["toy", f"--out={parts}"])
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
def test_a_command_killed_in_the_middle_and_given_again(command, tmp_path, toy, number):
    """A real signal in the middle of the second unit, under python -m: named after its file all the same."""
    first = command(extra=KILL.replace("SIGNAL", str(int(number))))
    assert first.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert len((tmp_path / "runs" / "toy.csv").read_text().splitlines()) == 3
    second = command(extra=KILL)
    assert second.returncode == 0, second.stderr
    assert "toy: 2 units, 1 of them done" in second.stderr
    whole = question.answer(toy, question.make_settings(toy, "smoke"), tmp_path / "whole")
    assert (tmp_path / "runs" / "toy.csv").read_bytes() == whole.read_bytes()


def test_second_command_on_a_folder_stops(command, tmp_path):
    """The message has the process that holds the folder."""
    with records.lock(tmp_path / "runs"):
        second = command()
    assert second.returncode == 1
    assert re.fullmatch(rf"error: another run \(process {os.getpid()}\) is using .*\n", second.stderr)
    assert not (tmp_path / "runs" / "toy.json").exists()


def test_importing_question_is_cheap():
    """No TensorFlow, Keras or Matplotlib before there is work, so --help is quick."""
    code = "import sys, hw1.question, hw1.reproduce; print({'tensorflow', 'keras', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# All questions in order


@pytest.fixture
def two(toy, monkeypatch):
    """Reproduce with two questions, alpha and beta; alpha fails as long as its `run` is not replaced."""
    modules = {}
    for name in ("alpha", "beta"):
        modules[name] = module_of(TOY, f"toys.{name}")
        monkeypatch.setitem(sys.modules, f"toys.{name}", modules[name])
        monkeypatch.setitem(records.COLUMNS, name, records.COLUMNS["toy"])
    modules["alpha"].run = lambda settings, data, size: {}["missing"]
    monkeypatch.setitem(sys.modules, "toys", ModuleType("toys"))
    monkeypatch.setattr(reproduce, "QUESTIONS", ("toys.alpha", "toys.beta"))
    return modules


def test_reproduce_goes_on_after_a_failure(two, tmp_path, capsys, drawn):
    """Plan, one line per question, end; exit code 1; the same command after the repair does the rest."""
    arguments = ("--jobs=1", "--size=smoke", f"--out={tmp_path}")
    assert exit_code(reproduce.main, *arguments) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"2 questions at size smoke, results to {tmp_path}: alpha, beta"
    assert any(re.fullmatch(r"\[1/2\] alpha: \d+\.\d s, error: KeyError: 'missing'", line) for line in lines)
    assert any(re.fullmatch(r"\[2/2\] beta: \d+\.\d s, done", line) for line in lines)
    assert lines[-1] == f"1 of 2 done: rows in {tmp_path}, figures in {tmp_path}/figures"
    assert not (tmp_path / "alpha.csv").exists()
    assert len(records.read(tmp_path, "beta")) == 4
    two["alpha"].run = two["beta"].run
    reproduce.main(["reproduce", *arguments])
    assert len(records.read(tmp_path, "alpha")) == 4
    assert drawn == [("beta", tmp_path), ("alpha", tmp_path), ("beta", tmp_path)]


def test_reproduce_shows_tracebacks_and_still_goes_on(two, tmp_path, capsys):
    """--traceback adds, it does not stop."""
    assert exit_code(reproduce.main, "--jobs=1", "--size=smoke", f"--out={tmp_path}", "--traceback") == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err
    assert len(records.read(tmp_path, "beta")) == 4


def test_reproduce_only(two, tmp_path, capsys):
    """A part of the questions; unknown names are wrong flags."""
    reproduce.main(["reproduce", "--jobs=1", "--size=smoke", "--only=beta", f"--out={tmp_path}"])
    assert not (tmp_path / "alpha.json").exists()
    capsys.readouterr()
    assert exit_code(reproduce.main, "--jobs=1", "--only=beta,gamma") == 2
    assert capsys.readouterr().err == "error: --only=gamma: must be some of alpha, beta\n"


def test_reproduce_holds_the_folder_from_plan_to_last_question(two, tmp_path, monkeypatch):
    """Between two questions, too, nobody else can start."""
    held = {}

    def is_held(text):
        with (tmp_path / ".lock").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held[text.split()[0]] = False
            except BlockingIOError:
                held[text.split()[0]] = True

    monkeypatch.setattr(question, "say", is_held)
    reproduce.reproduce("smoke", str(tmp_path))
    assert held["2"]
    assert held["[1/2]"]
    assert held["[2/2]"]
    assert not held["1"]  # The last line, after the work.


def test_reproduce_is_interrupted_as_a_whole(two, tmp_path):
    """Ctrl-C is no failure of one question."""

    def run(settings, data, size):
        raise KeyboardInterrupt

    two["alpha"].run = run
    assert exit_code(reproduce.main, "--jobs=1", "--size=smoke", f"--out={tmp_path}") == 130
    assert not (tmp_path / "beta.json").exists()


def test_every_question_has_columns():
    """A question without columns would fail only after its first unit."""
    assert {path.rpartition(".")[2] for path in reproduce.QUESTIONS} <= set(records.COLUMNS)
