"""What holds for every question at smoke size: rows, records, resuming, and errors of one line."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hw1 import catalogue, command, question, records, reproduce

ROOT = Path(__file__).parents[1]
BY_SEED = [name for name in catalogue.names() if getattr(catalogue.experiment(name), "BY_SEED", False)]
if "EVERY_CASE" not in os.environ:  # the others take minutes
    BY_SEED = ["sensitivity"]


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with the results of all questions at smoke size."""
    return at_smoke_size(*catalogue.names())


def test_the_main_job_goes_on_from_what_is_there(runs, drawn, capsys):
    """All questions are found done, none fails."""
    assert reproduce.reproduce("smoke", str(runs)) == []
    assert f"{len(catalogue.names())} of {len(catalogue.names())} done" in capsys.readouterr().err


@pytest.mark.parametrize("name", catalogue.names())
def test_every_unit_has_its_rows_and_the_record_is_complete(runs, name):
    """Each question writes at least a row per unit, all values present, and says that it is complete."""
    module = catalogue.experiment(name)
    settings = question.make_settings(module, "smoke")
    frame, about = records.read(runs, name), records.about(runs, name)
    units = module.units(settings)
    keys = list(units[0])
    assert len(frame.groupby(keys)) == len(units)
    assert not frame.isna().any().any()
    assert about["complete"]
    assert about["data"]["train"] == settings.train if hasattr(settings, "data") else about["data"] is None
    assert str(runs) not in json.dumps(about)


def test_an_interrupted_question_ends_with_the_same_bytes(runs, tmp_path, monkeypatch):
    """Stopped in its second unit and started again, a question writes what an uninterrupted run wrote."""
    module = catalogue.experiment("sensitivity")
    settings, run = question.make_settings(module, "smoke"), module.run
    second = module.units(settings)[1]["batch_size"]

    def interrupted(settings, data, batch_size):
        if batch_size == second:
            raise KeyboardInterrupt
        yield from run(settings, data, batch_size)

    with monkeypatch.context() as patch:
        patch.setattr(module, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            question.run_units(module, settings, tmp_path)
    begun = (tmp_path / "sensitivity.csv").read_bytes()
    question.run_units(module, settings, tmp_path)
    whole = (tmp_path / "sensitivity.csv").read_bytes()
    assert whole.startswith(begun)
    assert whole == (runs / "sensitivity.csv").read_bytes()


@pytest.mark.parametrize("name", BY_SEED)
def test_units_divided_by_seed_give_the_same_rows_but_for_rounding(runs, tmp_path, name):
    """So no row depends on another seed."""
    module = catalogue.experiment(name)
    settings = question.make_settings(module, "smoke")
    question.run_units(module, dataclasses.replace(settings, by_seed=True), tmp_path)
    for table, columns in module.COLUMNS.items():
        whole, apart = (records.read(folder, name, table) for folder in (runs, tmp_path))
        floats = [column for column in columns if whole[column].dtype.kind == "f"]
        exact = [column for column in columns if column not in floats]
        whole, apart = (frame.sort_values(exact, kind="stable", ignore_index=True) for frame in (whole, apart))
        assert whole[exact].equals(apart[exact])
        for column in floats:
            tolerance = 1e-5 * np.abs(whole[column]).max()
            np.testing.assert_allclose(apart[column], whole[column], rtol=1e-3, atol=tolerance, err_msg=column)


def test_a_command_says_nothing_but_its_own(tmp_path):
    """TensorFlow's start-up lines do not drown what a question says."""
    arguments = [sys.executable, "-m", catalogue.path("gradient_norm"), "--size=smoke", f"--out={tmp_path}"]
    lines = subprocess.run(arguments, check=True, capture_output=True, text=True, cwd=ROOT).stderr.splitlines()
    assert lines
    assert all(line.startswith("gradient_norm: ") for line in lines)


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("simulate_function", ["--nets=5-x-5"], "5-x-5"),
        ("simulate_function", ["--functions=sin"], "one of sinc, sign"),
        ("actual_task", ["--dnns=20-0"], "20-0"),
        ("actual_task", ["--cnns=9 convolutions"], "one of 3 convolutions"),
        ("reparametrization", ["--alphas=0,1"], "alphas"),
        ("reparametrization", ["--activation=tanh"], "--activation=tanh: must be one of relu, leaky_relu"),
        ("reparametrization", ["--alphas=0.5"], "must contain 1"),
        ("sharpness", ["--examples=1000"], "--examples=1000: must be at most --train=200"),
        ("sensitivity", ["--batch_sizes=20,300"], "--batch_sizes=20,300: must be at most --train=200"),
        ("interpolation", ["--batch_sizes=20,40,60"], "--batch_sizes=20,40,60: must be two values"),
        ("interpolation", ["--points=8"], "--points=8: must be 3k + 1"),
        ("random_labels", ["--fractions=0,1.5"], "at most 1"),
        ("random_labels", ["--data=mnits10k"], "mnist10k"),
        ("random_labels", ["--epochs=0"], "--epochs=0"),
        (
            "parameter_count",
            ["--pool=3"],
            "--pool=3: squares of this side do not tile images of 28 × 28; give --pool=2",
        ),
        ("random_labels", ["--train=9900", "--test=101"], "100 are left for testing"),
        ("random_labels", ["--pixels=0"], "--pixels=0.0: must be a finite number above 0"),
    ],
)
def test_bad_input_is_one_line_with_the_remedy(name, flags, message, tmp_path, capfd):
    """A wrong setting ends with a code other than 0 and one line that names it."""
    module = catalogue.experiment(name)
    with pytest.raises(SystemExit) as stopped:
        command.main(module, [name, "--size=smoke", f"--out={tmp_path / 'out'}", *flags])
    error = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert stopped.value.code in (1, 2)
    assert len(error) == 1
    assert message in error[0]
    assert not list(tmp_path.rglob("*.csv"))
