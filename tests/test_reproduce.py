"""All questions by one command, with toys: plan, failures, seeds and splits; one after the other in this process.

Two processes at a time are in test_reproduce_processes.py.
"""

import fcntl
import re

import pytest
from toys import TOY, exit_code, module_of

from hw1 import catalogue, command, records, reproduce


@pytest.fixture
def answered_by(toy, monkeypatch):
    """Makes a catalogue of the modules that it is given by name."""

    def make(**modules):
        monkeypatch.setattr(catalogue, "PARTS", {"toys": list(modules)})
        monkeypatch.setattr(catalogue, "GROUPS", {"course": ["toys"], "all": ["toys"], "toys": ["toys"]})
        monkeypatch.setattr(catalogue, "experiment", modules.__getitem__)
        return modules

    return make


@pytest.fixture
def two(answered_by):
    """Reproduce with two questions, alpha and beta; alpha fails as long as its `run` is not replaced."""
    modules = answered_by(alpha=module_of(TOY, "toys.alpha"), beta=module_of(TOY, "toys.beta"))
    modules["alpha"].run = lambda settings, data, size: {}["missing"]
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
    out = str(tmp_path)
    assert drawn == [("beta", out), ("alpha", out), ("beta", out)]


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

    monkeypatch.setattr(command, "say", is_held)
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


# Parts, seeds and splits


def test_a_part_is_answered_in_its_order(two, tmp_path, monkeypatch, capsys):
    """The course where no part is named; --only takes questions of every part; an unknown part is a wrong flag."""
    monkeypatch.setattr(catalogue, "PARTS", {"first": ["beta"], "second": ["alpha"]})
    groups = {"course": ["first"], "papers": ["second"], "all": ["first", "second"]}
    monkeypatch.setattr(catalogue, "GROUPS", groups)
    two["alpha"].run = two["beta"].run
    for number, (flag, names) in enumerate(
        {"": "beta", "--part=papers": "alpha", "--part=all": "beta, alpha", "--only=alpha": "alpha"}.items()
    ):
        out = tmp_path / str(number)
        reproduce.main(["reproduce", "--jobs=1", "--size=smoke", f"--out={out}", *[flag] * bool(flag)])
        assert capsys.readouterr().err.splitlines()[0].endswith(f"results to {out}: {names}")
        assert {path.stem for path in out.glob("*.csv")} == set(names.split(", "))
    assert exit_code(reproduce.main, "--part=third") == 2
    assert "course|papers|all" in capsys.readouterr().err


FIELDS = {
    "without": "",
    "seeded": 'first_seed: int = option(0, "first", minimum=0)\n    ',
    "divided": 'first_seed: int = option(0, "first", minimum=0)\n    '
    'splits: str = option("seed", "division", choices=("seed", "fixed"))\n    ',
    "shared": 'first_seed: int = option(0, "first", minimum=0)\n    '
    'splits: str = option("fixed", "one set", choices=("fixed",))\n    ',
}


@pytest.fixture
def four(answered_by):
    """Questions without the two settings, with the first, with both, and with one split for all seeds."""
    return answered_by(
        **{name: module_of(TOY.replace("seeds: int", f"{fields}seeds: int", 1)) for name, fields in FIELDS.items()}
    )


def recorded(folder):
    """What the records of the four say of first seed and splits."""
    settings = {name: records.about(folder, name)["settings"] for name in FIELDS}
    return {name: (values.get("first_seed"), values.get("splits")) for name, values in settings.items()}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), {"without": (None, None), "seeded": (0, None), "divided": (0, "seed"), "shared": (0, "fixed")}),
        (
            ("--first_seed=100", "--splits=fixed"),
            {"without": (None, None), "seeded": (100, None), "divided": (100, "fixed"), "shared": (100, "fixed")},
        ),
        (
            ("--first_seed=3", "--splits=seed"),
            {"without": (None, None), "seeded": (3, None), "divided": (3, "seed"), "shared": (3, "fixed")},
        ),
    ],
)
def test_first_seed_and_splits_reach_the_questions(four, tmp_path, flags, expected):
    """Each question takes those that it has; one whose trainings share their images keeps the fixed split."""
    reproduce.main(["reproduce", "--jobs=1", "--size=smoke", f"--out={tmp_path}", *flags])
    assert recorded(tmp_path) == expected


def test_other_seeds_or_splits_on_a_folder_are_refused(four, tmp_path, capsys):
    """Every question that has the setting names it, and no row is touched."""
    arguments = ("--jobs=1", "--size=smoke", f"--out={tmp_path}")
    reproduce.main(["reproduce", *arguments])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    capsys.readouterr()
    assert exit_code(reproduce.main, *arguments, "--first_seed=100", "--splits=fixed") == 1
    said = capsys.readouterr().err
    assert said.count("first_seed is 0 there but 100 here") == 3
    assert said.count("splits is 'seed' there but 'fixed' here") == 1
    assert "1 of 4 done" in said
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("argument", "said"), [("--first_seed=-1", "first_seed"), ("--splits=random", "seed|fixed"), ("--jobs=0", "jobs")]
)
def test_wrong_flags(two, capsys, monkeypatch, argument, said):
    """One line, exit code 2, and nothing is run."""
    monkeypatch.setattr(reproduce, "reproduce", None)
    assert exit_code(reproduce.main, argument) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"error: .+\n", err)
    assert said in err
