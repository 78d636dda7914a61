"""The Readme under test: its table, commands, programs, numbers and links; the question that it adds, word for word."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from hw1 import catalogue, claims, command, measure, models, records, replicate

ROOT = Path(__file__).parents[1]
README = (ROOT / "Readme.md").read_text(encoding="utf-8")
TABLE = re.findall(r"^\| .+? \| `(hw1\.[\w.]+)` \| ([\d.]+) \| (.+?) \| \[png\]\((.+?)\) \|$", README, re.MULTILINE)
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with the results of all questions at smoke size."""
    return at_smoke_size(*catalogue.names())


# The table


def test_the_table_of_the_readme_has_every_question_once():
    """In order, each with the tables that it writes, and with the minutes of the committed run."""
    assert [module for module, *_ in TABLE] == [catalogue.path(name) for name in catalogue.names()]
    for module, minutes, files, figure in TABLE:
        name = module.rpartition(".")[2]
        tables = [table for table in catalogue.experiment(name).COLUMNS if table != records.ROWS]
        assert files == ", ".join([f"`{name}.csv`", *(f"`.{table}.csv`" for table in tables)])
        assert figure == f"hw1/results/figures/{name}.png"
        measured = records.about(records.COMMITTED, name)["wall_time_seconds"] / 60
        assert float(minutes) == pytest.approx(measured, rel=0.5, abs=0.2), name


@pytest.mark.parametrize("module", [module for module, *_ in TABLE])
def test_commands_of_the_table_run(runs, drawn, module, capsys):
    """Each at smoke size, on a folder where nothing is left to do."""
    command.main(importlib.import_module(module), [module, "--size=smoke", f"--out={runs}"])
    total, done = re.search(r"(\d+) units?, (\d+) of them done", capsys.readouterr().err).groups()
    assert total == done


# Other commands and programs


def test_other_commands_of_the_readme_run(runs, tmp_path, monkeypatch):
    """Whatever follows `python -m` outside the table, or `hw1`, at smoke size and in folders of the test's own."""
    monkeypatch.chdir(tmp_path)
    drawn = lambda name, folder: [Path(folder, "figures", f"{name}.{form}") for form in ("png", "pdf")]  # noqa: E731
    monkeypatch.setattr("hw1.findings.drawing.draw", drawn)  # they are there, and drawn in other tests
    models.mlp((4,)).save("my_net.keras")
    for seed, name in enumerate("ab"):
        models.mlp((4,), seed=seed).save(f"{name}.keras")
    commands = dict.fromkeys(re.findall(r"(?:python -m |`(?=hw1 ))(hw1[^`\n]*)`", README))  # each once
    assert len(commands) >= 5
    for module, *given in map(str.split, commands):
        given = [flag for flag in given if not flag.startswith(("--out=", "--results=", "--size="))]
        main = importlib.import_module(f"{module}.__main__" if module in ("hw1", "hw1.report") else module)
        if module.removeprefix("hw1.") in ("plot", "claims"):
            main.main([module, *given, f"--out={runs}"])
        elif module == "hw1.report":
            main.main([module, *given, f"--results={runs}", f"--out={tmp_path}/made.pdf"])
        elif module == "hw1.measure":
            main.main([module, *given, "--train=200", "--test=200", "--examples=50", "--manifold=2"])
        elif module == "hw1.reproduce":
            only = [] if any(flag.startswith("--only") for flag in given) else ["--only=gradient_norm"]
            main.main([module, *given, *only, "--jobs=1", "--size=smoke", f"--out={tmp_path}/made"])
        elif module == "hw1" and given[0] == "paths":
            sizes = ["--train=50", "--test=50", "--points=10", "--pivots=2", "--steps=2", "--cycles=1"]
            main.main([module, *given, *sizes, f"--out={tmp_path}/between"])
        elif module == "hw1":
            folder = [] if given[0] == "list" else ["--size=smoke", f"--out={tmp_path}/{given[0]}"]
            main.main([module, *given, *folder])
        else:
            command.main(main, [module, *given, "--size=smoke", f"--out={tmp_path}/changed"])


def test_targets_of_the_readme_are_in_the_makefile():
    """Every `make` that the Readme names, and the Makefile's own list at its top, exists."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split())
    named = set(re.findall(r"^make (\w+)|`make (\w+)`", README, re.MULTILINE))
    assert {first or second for first, second in named} <= phony
    for target in phony:
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


MEASURING = README.partition("## Measure a net of your own\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("code", re.findall(r"^```python\n(.*?)^```$", MEASURING, re.MULTILINE | re.DOTALL))
def test_programs_that_measure_a_net_run(code, tmp_path, monkeypatch):
    """Word for word."""
    monkeypatch.chdir(tmp_path)
    models.mlp((4,)).save("my_net.keras")
    exec(compile(code, "Readme.md", "exec"), {})


def test_commands_that_measure_a_net_run(tmp_path, monkeypatch):
    """On a few images, with the flags of the Readme."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("my_net.keras", "other.keras")):
        models.mlp((4,), seed=seed).save(name)
    commands = re.findall(r"^hw1 measure (.*?)(?: +#.*)?$", MEASURING, re.MULTILINE)
    assert len(commands) == 2
    for line in commands:
        measure.main(["measure", *line.split(), "--train=100", "--test=50", "--examples=20", "--manifold=2"])
    assert (tmp_path / "card" / "card.html").exists()


# The added question


def added() -> tuple[dict[str, str], list[str]]:
    """Path → code of the worked example, a block after the sentences that name its file; and the commands below."""
    section = README.partition("## Add a question\n")[2].partition("\n## ")[0]
    *pieces, _ = re.split(r"^```(?:python)?\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    named = [re.findall(r"`(hw1/[\w/]+\.py)`", text) for text in pieces[::2]]
    assert [len(paths) for paths in named] == [1, 1, 1, 0, 0], named
    blocks = pieces[1::2]
    return {path: code for (path,), code in zip(named[:3], blocks[:3], strict=True)}, "".join(blocks[3:]).splitlines()


def sources(folder: Path) -> dict[str, str]:
    """Path → text of the Python files of a copy."""
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.py"))}


def test_the_added_question_of_the_readme_runs(tmp_path):
    """The worked example, word for word, in a copy: two new files and one line give rows, figure and claim.

    Of the committed results the copy has those of one question, so that its claims are judged soon.
    """

    def left_out(folder, names):
        others = [name for name in names if not name.startswith(("claims.", "gradient_norm."))]
        away = shutil.ignore_patterns("figures", "__pycache__", "*.pdf")(folder, names)
        return others if Path(folder).name == "results" else away

    shutil.copytree(ROOT / "hw1", tmp_path / "hw1", ignore=left_out)
    before, (files, commands) = sources(tmp_path), added()
    experiment, finding, listed = files.items()
    for path, code in (experiment, finding):
        (tmp_path / path).write_text(code)
    catalogue_lines = before[listed[0]].splitlines(keepends=True)
    place = catalogue_lines.index(f'    "{Path(experiment[0]).parent.name}": [\n')  # the list of its part
    catalogue_lines.insert(place + 1, listed[1])
    (tmp_path / listed[0]).write_text("".join(catalogue_lines))

    after = sources(tmp_path)
    assert set(after) - set(before) == {experiment[0], finding[0]}
    assert {path for path in before if after[path] != before[path]} == {"hw1/catalogue.py"}
    assert len(listed[1].splitlines()) == 1

    lines = [["list"]]
    for _, *given in map(str.split, commands):  # all four, at smoke size and in folders of the test's own
        smoke = [] if given[0] == "claims" else ["--size=smoke", "--decays=0,0.1"]
        lines.append([*(flag.replace("/tmp/", f"{tmp_path}/") for flag in given if flag not in smoke), *smoke])
    code = f"from hw1.__main__ import main\nfor line in {lines}:\n    main(['hw1', *line])"  # one start of TensorFlow
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^    weight_decay +Does weight decay help\?", done.stdout, re.MULTILINE)
    for folder in (tmp_path / "wd", tmp_path / "hw1" / "results"):
        rows = records.read(folder, "weight_decay")
        assert len(rows) == 2 * 2
        assert set(rows.decay) == {0, 0.1}
        assert set(rows.status) == {"ok"}
        assert rows.test_accuracy.between(0.1, 1).all()
        assert (folder / "figures" / "weight_decay.pdf").exists()
        assert_drawn(folder / "figures" / "weight_decay.png")
        ledger = (folder / "claims.csv").read_text().replace('"', "")
        assert len(re.findall("^weight_decay,our hypothesis,Weight decay helps ", ledger, re.MULTILINE)) == 1


def assert_drawn(path: Path) -> None:
    """Asserts that a picture shows more than an empty page: a frame, text and a coloured curve on a white ground."""
    pixels = matplotlib.image.imread(path)[:, :, :3]
    ink = (pixels < 0.9).any(axis=2)
    coloured = np.ptp(pixels, axis=2) > 0.3
    assert 0.001 < ink.mean() < 0.5
    assert coloured.sum() > 200
    assert len(np.unique((pixels * 255).astype(int).reshape(-1, 3), axis=0)) > 20
    assert ink.any(axis=0).mean() > 0.8
    assert ink.any(axis=1).mean() > 0.8


# Numbers and links


def test_numbers_of_the_readme_are_those_of_the_committed_results():
    """What each trap of the assignment changes, computed from the rows as the sentence says."""
    text = " ".join(README.split())
    norms = records.read(records.COMMITTED, "sharpness").query("net == 'course' and scope == 'block'")
    norms = norms.pivot(index=["batch_size", "seed"], columns="method", values="value")
    slip = (norms["hutch++"] / norms.lanczos).mean()
    assert f"here {slip:.1f} times the spectral norm" in text
    curves = records.tables(records.COMMITTED, "large_batch")["convergence"].query("net == 'plain' and epoch == 6")
    small, large = curves.groupby("batch_size").train_loss.mean().items()
    assert (
        f"training loss of {small[1]:.2f} with batches of {small[0]} and of {large[1]:.2f} with batches of {large[0]}"
    ) in text
    table = replicate.read(records.COMMITTED)
    decided = table[table.verdict.isin(replicate.DECIDED)].outcome
    assert f"{(decided == 'repeats').sum()} of the {len(decided)} decided verdicts came out the same" in text
    assert ("none turned into its opposite" in text) == (not (decided == "flips").any())
    claims_of = claims.read(records.COMMITTED)
    assert f"{len(claims_of) - len(table)} of the {len(claims_of)} claims name what the seeds decide" in text
    table = pd.read_csv(records.COMMITTED / "replication.instructions.csv")
    decided = table[table.verdict.isin(replicate.DECIDED)].outcome
    assert set(decided) == {"repeats"}
    assert f"all {len(decided)} did" in text
    others = set(table.question) - set(catalogue.names("course")) - set(catalogue.names("landscape"))
    assert others == {"straight_line"}
    assert "the course's questions, part landscape and `straight_line`" in text
    rows = records.read(records.COMMITTED, "sensitivity")
    assert f"{(rows.loss_gradient_norm / rows.whole_loss_gradient_norm).mean():.0f} times smaller" in text
    norms = records.read(records.COMMITTED, "zero_gradient").groupby("method").gradient_norm.median()
    assert f"the norm is {norms['gradient norm']:.0e} in the median" in text
    assert f"second-order steps reach {norms['Levenberg–Marquardt']:.0e}" in text
    named = re.sub("LOSSES_AND_ACCURACIES|ACCURACY_EFFECT|EVERY_CASE", "", README)
    assert not re.search(r"TODO|TBD|XX|\?\?|[A-Z]+_[A-Z]+", named)


def test_links_and_files_of_the_readme_exist():
    """Every relative link, and every path of the file tree; the committed report is the one beside hw1."""
    for link in re.findall(r"\]\(((?!http)[^)]+)\)", README):
        assert (ROOT / link).exists(), link
    tree = next(text for _, text in BLOCKS if text.startswith("Makefile"))
    for line in tree.splitlines():
        assert (ROOT / line.split()[0]).exists(), line
    assert (ROOT / "hw1" / "Report.pdf").read_bytes() == (ROOT / "Report.pdf").read_bytes()
