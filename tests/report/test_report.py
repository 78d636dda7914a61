"""Report and supplement, set from results at smoke size."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import toy_records

from hw1 import catalogue, claims, records, replicate
from hw1.findings.verdict import ALIKE_WORSE, FLATTENED_BETTER, HELD, NOISY, NOT, SHARP_WORSE, SMALL, claim
from hw1.report import __main__ as report
from hw1.report.answer import paragraphs
from hw1.statistics import Interval

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with the results of all questions at smoke size."""
    return at_smoke_size(*catalogue.names())


def test_a_document_is_set_from_the_results(runs, tmp_path, monkeypatch):
    """It is a PDF, twice with the same bytes, without TensorFlow; the Readme's commands set the whole ones."""
    line = ["report", f"--results={runs}", "--part=paths", f"--out={tmp_path}/made.pdf"]
    code = f"import sys; from hw1.report.__main__ import main; main({line}); assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    first = (tmp_path / "made.pdf").read_bytes()
    assert first.startswith(b"%PDF")
    drawn = lambda name, folder: [Path(folder, "figures", f"{name}.{form}") for form in ("png", "pdf")]  # noqa: E731
    monkeypatch.setattr(report.drawing, "draw", drawn)  # they are there
    report.main(line)
    assert (tmp_path / "made.pdf").read_bytes() == first


def pages(path):
    """The number of pages of a PDF."""
    return len(re.findall(rb"/Type\s*/Page\b", path.read_bytes()))


def test_the_report_keeps_to_its_pages_whatever_the_results(tmp_path, monkeypatch):
    """At its smallest type, even if every question's comment said its two longest sentences twice."""
    whole = report._section

    def section(name, results):
        made = whole(name, results)
        sentences = sorted(re.split(r"(?<=\.) ", " ".join(made["comment"])), key=len)
        return made | {"comment": [*made["comment"], *sentences[-2:]]}

    shutil.copytree(records.COMMITTED, tmp_path / "results")
    figures = tmp_path / "results" / "figures"
    monkeypatch.setattr(
        report.drawing, "draw", lambda name, folder: [figures / f"{name}.{form}" for form in ("png", "pdf")]
    )
    monkeypatch.setattr(report, "_section", section)
    monkeypatch.setattr(report, "SCALES", report.SCALES[-1:])
    report.build(tmp_path / "results", tmp_path / "made.pdf")
    assert pages(tmp_path / "made.pdf") <= report.MOST_PAGES


def test_no_flag_and_no_column_is_in_a_document(runs):
    """Readers of report and supplement know neither the commands nor the CSVs."""
    for name in catalogue.names():
        section = report._section(name, runs)
        parts = [section["title"], section["method"], section["caption"], *section["comment"]]
        text = " ".join([*parts, *report._source_and_deviations(name)["text"]])
        assert not re.search(r"--[a-z]", text), name
        columns = {column for table in catalogue.experiment(name).COLUMNS.values() for column in table if "_" in column}
        assert not columns & set(re.findall(r"\w+", text)), name


@pytest.mark.parametrize(
    ("over", "alike", "answer"),
    [
        ([HELD, HELD, NOT], [HELD], "Yes, on these nets"),
        ([HELD, HELD, NOISY], [NOISY, NOISY, HELD], "is not shown"),
        ([HELD], [NOT, SMALL, HELD], "because the batch size changes both"),
        ([NOISY], [NOISY], "do not tell"),
        ([NOT, SMALL], [NOT], "Not as such: on these"),
        ([HELD, NOT], [SMALL], "over batch sizes the claims are divided"),
    ],
)
def test_the_title_is_answered_by_the_verdicts(over, alike, answer):
    """The conclusion follows from how many of the claims on sharp minima held, over batch sizes and at a fixed one."""
    line = claim("source", "sentence", Interval(1, 0, 2), above=0)
    lines = [
        line._replace(verdict=verdict, topic=topic, nets=f"nets {number}")
        for topic, verdicts in ((SHARP_WORSE, over), (ALIKE_WORSE, alike))
        for number, verdict in enumerate(verdicts)
    ]
    ledger = pd.DataFrame(lines)
    counted, conclusion = paragraphs(ledger)
    assert answer in conclusion
    assert (f"{len(over)} sets of nets" if len(over) > 1 else "the one set of nets") in counted
    assert paragraphs(ledger.assign(topic="")) == []


def test_claims_about_the_same_nets_count_once():
    """Twelve lines of one population and one of another are two sets of nets; a tie cannot be decided."""
    line = claim("source", "sentence", Interval(1, 0, 2), above=0)._replace(topic=SHARP_WORSE)
    lines = [line._replace(verdict=HELD, nets="first")] * 12 + [line._replace(verdict=NOT, nets="second")]
    counted, _ = paragraphs(pd.DataFrame(lines))
    assert "held in 1 of 2 sets of nets; did not hold in 1" in counted
    counted, _ = paragraphs(pd.DataFrame([*lines[:1], line._replace(verdict=NOT, nets="first")]))
    assert "in the one set of nets it cannot be decided" in counted


def test_verdicts_that_changed_are_shown():
    """With both figures and both verdicts; those that repeat are only counted."""
    columns = ["question", "source", "claim", *replicate.SHOWN]
    table = pd.DataFrame([["q", "s", name, 1, 0, 2, 5, HELD] for name in "ab"], columns=columns)
    again = table.assign(verdict=[HELD, NOISY], low=-1.0)
    (line,) = report._replication(replicate.compare(table, again))["lines"]
    assert line == {"claim": "b", "before": "1 [0, 2]", "after": "1 [−1, 2]", "verdicts": "held; again too noisy"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(20000, "20,000"), (0.05, "0.05"), (1e-10, "10⁻¹⁰"), (3e-5, "3 · 10⁻⁵"), (-1, "-1"), ("tanh", "tanh"), (1.0, "1")],
)
def test_settings_are_written_for_readers(value, text):
    """Large numbers with commas, small ones with powers of ten."""
    assert report._write(value) == text


def test_settings_have_their_labels():
    """Instead of the names of flags, except for what has none; and the data come first."""
    about = {"data": {"name": "a", "train": 5000, "test": 10}, "settings": {"data": "a", "every": 3, "old": [1, 2]}}
    pairs = [["data", "a: 5,000 training and 10 test examples"], ["epochs between points", "3"], ["old", "1, 2"]]
    assert report._settings(about, {"every": "epochs between points"}) == pairs


def test_the_same_nets_in_two_questions_are_found(runs, tmp_path):
    """By batch size, seed, steps and losses; one net that differs, and they are others."""
    names = ["sensitivity", "sharpness"]
    assert list(claims.same_nets(runs, names)) == [("sharpness", "sensitivity")]
    shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
    rows = records.read(tmp_path, "sensitivity")
    rows.loc[0, "train_loss"] += 0.01
    rows.to_csv(tmp_path / "sensitivity.csv", index=False, na_rep="nan")
    toy_records.sign(tmp_path, "sensitivity")
    assert list(claims.same_nets(tmp_path, names)) == []


def test_a_question_that_is_not_finished_is_not_reported(runs, tmp_path, capsys):
    """The message says how to go on, and the PDF that was there stays."""
    shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
    toy_records.sign(tmp_path, "sensitivity", complete=False)
    (tmp_path / "made.pdf").write_text("an earlier one")
    with pytest.raises(SystemExit) as stopped:
        report.main(["report", f"--results={tmp_path}", f"--out={tmp_path / 'made.pdf'}"])
    error = capsys.readouterr().err
    assert stopped.value.code == 1
    assert "sensitivity is not finished" in error
    assert "--only=sensitivity" in error
    assert (tmp_path / "made.pdf").read_text() == "an earlier one"


def test_the_answer_counts_methods_that_flatten():
    """Each has its own nets; without any there is nothing to say of them."""
    line = claim("source", "sentence", Interval(1, 0, 2), above=0, topic=FLATTENED_BETTER)
    lines = [line._replace(verdict=verdict, nets=verdict) for verdict in (NOT, SMALL)]
    _, conclusion = paragraphs(pd.DataFrame(lines))
    assert "of 2 methods that made minima flatter, none made the nets measurably better" in conclusion
    assert "flattening alone is not enough" in conclusion
    _, conclusion = paragraphs(pd.DataFrame([*lines, line._replace(verdict=HELD, nets="third")]))
    assert "of 3 methods that made minima flatter, 1 made the nets measurably better" in conclusion
