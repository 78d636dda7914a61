"""What holds for the findings of every question at smoke size: figures, comments and claims."""

import os

import pytest

from hw1 import catalogue, claims, records
from hw1.findings import drawing
from hw1.findings.verdict import FAILED, HELD, INCOMPARABLE, NOISY, NOT, PASSED, SMALL

DRAWN = catalogue.names()[:: 1 if "EVERY_CASE" in os.environ else 12]  # a drawing takes seconds


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with the results of all questions at smoke size."""
    return at_smoke_size(*catalogue.names())


@pytest.mark.parametrize("name", DRAWN)
def test_figures_are_drawn_again_with_the_same_bytes(runs, name):
    """A figure depends on the CSV and the record alone: what the question drew is drawn again by whoever asks."""
    paths = [runs / "figures" / f"{name}.{form}" for form in ("png", "pdf")]
    first = [path.read_bytes() for path in paths]
    assert drawing.draw(name, runs) == paths
    assert [path.read_bytes() for path in paths] == first
    assert first[0].startswith(b"\x89PNG")
    assert first[1].startswith(b"%PDF")


@pytest.mark.parametrize("name", catalogue.names())
def test_a_comment_has_all_its_parts(runs, name):
    """Title, method, caption and paragraphs, all of them text, from the rows and settings alone."""
    found = catalogue.finding(name).comment(
        records.read(runs, name), records.settings(runs, name), **records.tables(runs, name)
    )
    assert list(found) == ["title", "method", "caption", "comment"]
    assert all(isinstance(found[part], str) and found[part].strip() for part in ("title", "method", "caption"))
    assert isinstance(found["comment"], list)
    assert all(isinstance(paragraph, str) for paragraph in found["comment"])
    assert "".join(found["comment"]).strip()


def test_tables_are_rectangular(runs):
    """Where a question has a table, each line has an entry below every head, and the caption says what it is."""
    findings = {name: catalogue.finding(name) for name in catalogue.names()}
    with_table = [name for name, finding in findings.items() if hasattr(finding, "table")]
    assert with_table
    for name in with_table:
        rows, settings = records.read(runs, name), records.settings(runs, name)
        found = findings[name].table(rows, settings, **records.tables(runs, name))
        assert found["caption"]
        assert len(found["lines"]) > 1
        assert {len(line) for line in found["lines"]} == {len(found["lines"][0])}
        assert all(isinstance(entry, str) for line in found["lines"] for entry in line)


def test_the_ledger_is_judged_from_the_results(runs):
    """Every source and every question of the committed ledger is judged in this run too."""
    ledger, committed = claims.judge(runs), claims.read(records.COMMITTED)
    assert set(ledger.source) == set(committed.source)
    assert set(ledger.question) == set(committed.question)
    assert set(ledger.verdict) <= {HELD, NOT, SMALL, NOISY, INCOMPARABLE, PASSED, FAILED}
