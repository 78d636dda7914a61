"""The list of questions beside the files: every question has an experiment and a finding with all their parts."""

import inspect
from pathlib import Path

import keras
import numpy as np
import pytest
from toys import exit_code

import hw1
from hw1 import catalogue, command, nets, question

PACKAGE = Path(hw1.__file__).parent
EXPERIMENT = ("Settings", "SIZES", "COLUMNS", "units", "run")
FINDING = ("figure", "claims", "comment")


def questions_in(folder):
    """The questions of which a folder of parts has a file, as part/question."""
    files = [path for part in catalogue.PARTS for path in (folder / part).glob("*.py")]
    return {f"{path.parent.name}/{path.stem}" for path in files if path.stem != "__init__"}


def faults(package):
    """One line for each experiment or finding that the catalogue does not list, or that is missing."""
    listed = {f"{part}/{name}" for part, names in catalogue.PARTS.items() for name in names}
    experiments, findings = questions_in(package), questions_in(package / "findings")
    findings -= {f"{name}_figure" for name in listed}  # the drawing of a long finding
    return sorted(
        [f"{name}: an experiment that is not in the catalogue" for name in experiments - listed]
        + [f"{name}: no experiment" for name in listed - experiments]
        + [f"{name}: a finding without a question" for name in findings - listed]
        + [f"{name}: a question without a finding" for name in listed - findings]
    )


def test_every_question_has_its_two_files():
    """And every file of a part is that of a question in the catalogue."""
    assert faults(PACKAGE) == []


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    """The check itself, on a tree of five files."""
    monkeypatch.setattr(catalogue, "PARTS", {"first": ["whole", "unseen"], "second": ["planned"]})
    for name in ("first/whole", "first/unseen", "first/unlisted", "findings/first/whole", "findings/second/orphan"):
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "first" / "__init__.py").touch()
    assert faults(tmp_path) == [
        "first/unlisted: an experiment that is not in the catalogue",
        "first/unseen: a question without a finding",
        "second/orphan: a finding without a question",
        "second/planned: a question without a finding",
        "second/planned: no experiment",
    ]


def test_names_and_parts_are_unique():
    """A question's name is that of its files, in whichever part it is; groups are made of parts."""
    assert len(set(catalogue.names())) == len(catalogue.names()) == sum(map(len, catalogue.PARTS.values()))
    assert catalogue.names("all") == catalogue.names("course") + catalogue.names("papers")
    assert {part for parts in catalogue.GROUPS.values() for part in parts} == set(catalogue.PARTS)
    for part, names in catalogue.PARTS.items():
        assert catalogue.names(part) == names
        assert {catalogue.part_of(name) for name in names} == {part}


def test_an_unknown_question_is_named_with_those_that_there_are():
    """Whatever is asked of it."""
    for call in (catalogue.part_of, catalogue.path, catalogue.experiment, catalogue.finding):
        with pytest.raises(ValueError, match=r"unknown question 'random_label'; .*random_labels"):
            call("random_label")


@pytest.mark.parametrize("name", catalogue.names())
def test_an_experiment_has_all_its_parts(name):
    """Settings of three sizes, columns with those of its units, and what computes the rows."""
    module = catalogue.experiment(name)
    assert module.__name__ == catalogue.path(name)
    assert [part for part in EXPERIMENT if not hasattr(module, part)] == []
    assert list(module.SIZES) == ["smoke", "report", "paper"]
    assert next(iter(module.COLUMNS)) == "rows"
    for size in module.SIZES:
        units = module.units(question.make_settings(module, size))
        for table, columns in module.COLUMNS.items():
            assert len(set(columns)) == len(columns), f"{table} has a column twice"
            assert set(units[0]) <= set(columns), f"{table} lacks a column of the units"
    assert inspect.getdoc(module).splitlines()[0].endswith("?")
    assert f"python -m {catalogue.path(name)}" in module.__doc__


@pytest.mark.parametrize("name", catalogue.names())
def test_a_finding_has_all_its_parts(name):
    """Figure, claims and comment, each a function of the rows and settings, and of the further tables by name."""
    module, tables = catalogue.finding(name), catalogue.experiment(name).COLUMNS
    assert [part for part in FINDING if not callable(getattr(module, part, None))] == []
    for part in FINDING:
        arguments = {table: None for table in tables if table != "rows"}
        inspect.signature(getattr(module, part)).bind(None, {}, **arguments)


@pytest.mark.parametrize("name", catalogue.names())
def test_settings_are_inherited(name):
    """What all questions share reaches each: seeds with a first one; of images their numbers and splits too."""
    settings = catalogue.experiment(name).Settings
    fields = [field.name for field, *_ in question.fields(settings)]
    assert issubclass(settings, question.Repeated)
    assert issubclass(settings, question.Images) == ("data" in fields)
    assert settings.__dataclass_params__.frozen


@pytest.mark.parametrize("name", catalogue.names())
def test_names_that_there_are_not_are_refused_before_the_first_unit(name):
    """Whatever a setting of text names: by its choices, or where units or data are prepared."""
    module = catalogue.experiment(name)
    for field, kind, many in question.fields(module.Settings):
        if kind is str:
            value = ("nonsense",) if many else "nonsense"
            with pytest.raises(ValueError, match=rf"--{field.name}\b.*nonsense"):
                question.prepare(module, question.make_settings(module, "smoke", **{field.name: value}))


def test_keras_has_the_activations_that_settings_may_name():
    """Those of one unit each, so that they are no softmax over all of a layer."""
    for name in nets.ACTIVATIONS:
        activation = keras.activations.get(name)
        x = np.linspace(-2, 2, 9)
        np.testing.assert_allclose(activation(x), [activation(np.array([one]))[0] for one in x], rtol=1e-6)


@pytest.mark.parametrize("name", catalogue.names())
def test_seeds_and_splits_are_flags_of_every_question(name, capsys):
    """With a line of explanation and the default; splits only where there are images."""
    module = catalogue.experiment(name)
    assert exit_code(lambda argv: command.main(module, argv), "--help") == 0
    text = capsys.readouterr().out
    flags = [line.split(":")[0].strip() for line in text.splitlines() if line.startswith("  --")]
    assert "--seeds" in flags
    assert "--first_seed" in flags
    assert ("--splits" in flags) == ("--data" in flags) == issubclass(module.Settings, question.Images)
