"""The command `hw1`: every question and every job by its name."""

import re
import subprocess
import sys

import pytest
from toys import ROOT, exit_code

from hw1 import __main__ as main
from hw1 import catalogue, measure, plot


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("help",)])
def test_help_names_every_job(capsys, arguments):
    """Without a name, too; exit code 0."""
    assert main.main(["hw1", *arguments]) is None
    out, err = capsys.readouterr()
    assert out.strip() == main.__doc__.strip()
    assert err == ""
    assert all(f"hw1 {job}" in out for job in ("list", *main.JOBS))


def test_list_has_every_question_below_its_part(capsys):
    """In the order of the catalogue, each with what it asks."""
    main.main(["hw1", "list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        line for part, names in catalogue.PARTS.items() for line in (part, *names)
    ]
    assert ["random_labels", "Can a net fit random labels, and random images?"] in [
        line.split(maxsplit=1) for line in lines
    ]
    assert all(line.endswith("?") for line in lines if line.startswith(" "))
    assert [line for line in lines if not line.startswith(" ")] == list(catalogue.PARTS)


def test_the_list_may_be_read_in_part():
    """A reader that closes the pipe early, such as head, causes no error."""
    line = f"{sys.executable} -m hw1 list | head -n 1"
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("deep_vs_shallow\n", "")


def test_a_question_by_its_name(toy, tmp_path, monkeypatch, capsys, drawn):
    """With its own flags and exit codes."""
    monkeypatch.setattr(catalogue, "PARTS", {"toys": ["toy"]})
    monkeypatch.setattr(catalogue, "GROUPS", {"all": ["toys"]})
    monkeypatch.setattr(catalogue, "experiment", {"toy": toy}.__getitem__)
    main.main(["hw1", "toy", "--size=smoke", f"--out={tmp_path}"])
    assert (tmp_path / "toy.csv").read_text().count("\n") == 5
    assert drawn == [("toy", str(tmp_path))]
    assert "toy: 2/2 size=64" in capsys.readouterr().err
    assert exit_code(main.main, "toy", "--seeds=0") == 2
    assert exit_code(main.main, "toy", "--size=smoke", "--seeds=3", f"--out={tmp_path}") == 1
    assert "seeds is 2 there but 3 here" in capsys.readouterr().err
    assert exit_code(main.main, "toy", "--help") == 0
    assert capsys.readouterr().out.startswith(toy.__doc__.strip())


@pytest.mark.parametrize("name", main.JOBS)
def test_a_job_by_its_name(capsys, name):
    """Each explains itself and refuses a flag that it does not have."""
    assert exit_code(main.main, name, "--help") == 0
    text = capsys.readouterr().out
    assert re.search(rf"python -m {main.JOBS[name].removesuffix('.__main__')}\b", text)
    assert "Flags [default]:" in text
    assert exit_code(main.main, name, "--nonsense=1") == 2
    assert re.fullmatch(r"error: .*nonsense.*\n", capsys.readouterr().err)


def test_a_job_ends_with_its_own_exit_code(tmp_path, capsys):
    """2 for a flag that names nothing."""
    assert exit_code(main.main, "plot", f"--out={tmp_path / 'typo'}") == 2
    assert "holds no CSV of a question" in capsys.readouterr().err
    assert exit_code(main.main, "measure", f"--net={tmp_path / 'missing.keras'}", "--train=5", "--examples=5") == 2
    assert "there is no file" in capsys.readouterr().err
    assert {plot.__name__, measure.__name__} <= set(main.JOBS.values())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sharpnes", "'sharpnes' is no command, did you mean sharpness? the commands are list, reproduce"),
        ("reprodce", "'reprodce' is no command, did you mean reproduce? the commands are"),
        ("xyzzy", "'xyzzy' is no command; the commands are list, reproduce"),
        ("--size=smoke", "'--size=smoke' is no command; the commands are"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(capsys, name, said):
    """One line and exit code 2."""
    assert exit_code(main.main, name) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"error: .+\n", err)
    assert said in err
    assert all(question in err for question in catalogue.names())


def test_the_command_as_a_process():
    """`python -m hw1` takes the same arguments, and exit codes are those of the process; --help needs no TensorFlow."""
    listed = subprocess.run([sys.executable, "-m", "hw1", "list"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert listed.stdout.count("\n") == len(catalogue.PARTS) + len(catalogue.names())
    wrong = subprocess.run([sys.executable, "-m", "hw1", "sharpnes"], cwd=ROOT, capture_output=True, text=True)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "did you mean sharpness?" in wrong.stderr
    code = (
        "import sys\nfrom hw1.__main__ import main\nmain(['hw1', 'list'])\nmain(['hw1'])\n"
        "for job in ('measure', 'paths'):\n    try: main(['hw1', job, '--help'])\n    except SystemExit: pass\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
