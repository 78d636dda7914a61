"""Verdicts, and the ledger as it is made from the CSVs of a run and from the committed ones."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from hw1 import catalogue, claims, records
from hw1.findings import verdict
from hw1.findings.verdict import HELD, NOT, UNDECIDED
from hw1.statistics import Interval, mean_interval

COLUMNS = ["source", "claim", "published", "ours", "low", "high", "seeds", "verdict", "above_target"]


@pytest.mark.parametrize(
    ("interval", "prediction", "expected"),
    [
        ((2, 1, 3), {"above": 0.5}, HELD),
        ((2, 1, 3), {"above": 3}, NOT),
        ((2, 1, 3), {"above": 2}, UNDECIDED),
        ((2, 1, 3), {"above": 2.5}, UNDECIDED),
        ((2, 1, 3), {"below": 3.5}, HELD),
        ((2, 1, 3), {"below": 1}, NOT),
        ((2, 1, 3), {"below": 1.5}, UNDECIDED),
        ((2, 1, 3), {"within": (0, 4)}, HELD),
        ((2, 1, 3), {"within": (3, 4)}, NOT),
        ((2, 1, 3), {"within": (0, 1)}, NOT),
        ((2, 1, 3), {"within": (1.5, 2.5)}, UNDECIDED),
        ((2, 1, 3), {"within": (2, 5)}, UNDECIDED),
        ((0, 0, 0), {"above": 0}, NOT),
        ((2, np.nan, np.nan), {"above": 0}, UNDECIDED),
        ((np.nan, np.nan, np.nan), {"within": (0, 1)}, UNDECIDED),
    ],
)
def test_the_verdict_follows_from_the_interval(interval, prediction, expected):
    """Held if all of the interval is where the source says, not held if none of it is, else undecided."""
    assert verdict.claim("source", "claim", Interval(*interval), **prediction).verdict == expected


@pytest.mark.parametrize("prediction", [{}, {"above": 0, "below": 1}])
def test_a_claim_predicts_one_thing(prediction):
    """A claim without a prediction, or with two, has no verdict."""
    with pytest.raises(ValueError, match="one of above, below and within"):
        verdict.claim("source", "claim", Interval(1, 0, 2), **prediction)


def test_nets_above_their_target_are_counted_in_the_claim():
    """Once each, however many rows they have; and the seeds are those behind the interval, not those that were set."""
    nets = pd.DataFrame({"batch_size": [20, 20, 50, 50], "seed": [0, 0, 0, 1], "space": list("abab"), "status": "ok"})
    interval = mean_interval([1.0, 2.0, np.nan])
    met = verdict.claim("source", "claim (mean)", interval, nets, above=0)
    assert (met.claim, met.seeds, met.above_target) == ("claim (mean)", 2, "")
    short = nets.assign(status=["target not reached"] * 2 + ["ok"] * 2)
    missed = verdict.claim("source", "claim (mean)", interval, short, above=0)
    assert (missed.claim, missed.above_target) == ("claim (mean)", "1 of 3")


def test_the_committed_ledger_is_what_the_committed_rows_say():
    """No verdict is typed in: the same command gives the same bytes."""
    text = claims.judge(records.COMMITTED).to_csv(index=False, float_format="%.4g", na_rep="nan", lineterminator="\n")
    assert text == (records.COMMITTED / "claims.csv").read_text()
    ledger = claims.read(records.COMMITTED)
    assert list(ledger) == COLUMNS
    assert set(ledger.verdict) <= {HELD, NOT, UNDECIDED}
    assert not ledger.duplicated(["source", "claim"]).any()
    assert not ledger[["ours", "low", "high"]].isna().any().any()
    assert (ledger.low <= ledger.ours).all()
    assert (ledger.ours <= ledger.high).all()


def test_the_committed_results_answer_every_question():
    """Completely, and in the columns that the question has today: a run that lacks a question is judged by them."""
    for name in catalogue.names():
        assert claims.source(name, records.COMMITTED, None) == records.COMMITTED, name
        assert records.about(records.COMMITTED, name)["columns"] == catalogue.experiment(name).COLUMNS, name


def test_fresh_rows_come_before_the_committed_ones(tmp_path):
    """A run with one question judges that by its own rows and the others by the committed ones, and says so."""
    for suffix in (".csv", ".json"):
        shutil.copy(records.COMMITTED / f"random_labels{suffix}", tmp_path)
    frame = pd.read_csv(tmp_path / "random_labels.csv")
    frame.loc[frame.fraction == 1, "train_accuracy"] = 0.5
    frame.to_csv(tmp_path / "random_labels.csv", index=False)
    fresh, committed = claims.write(tmp_path), claims.read(records.COMMITTED)
    changed = fresh[fresh.ours != committed.ours]
    assert list(changed.claim) == ["A net fits random labels (training accuracy)"]
    assert changed.verdict.item() == NOT
    assert changed.ours.item() == 0.5
    said = claims.differences(fresh, committed)
    assert len(said) == 1
    assert "0.5, did not hold; was 0.99" in said[0]


def test_the_command_says_what_it_took_and_what_differs(tmp_path, capsys):
    """A run that has only begun is judged by the committed results, and differs in nothing."""
    for suffix in ("csv", "json"):
        shutil.copy(records.COMMITTED / f"random_labels.{suffix}", tmp_path)
    about = json.loads((tmp_path / "random_labels.json").read_text())
    (tmp_path / "random_labels.json").write_text(json.dumps(about | {"complete": False}))
    claims.main(["claims", f"--out={tmp_path}"])
    said = capsys.readouterr().err
    assert "judged by the committed results" in said
    assert all(name in said for name in catalogue.names())
    assert "0 of them differ from the committed ledger" in said
    assert (tmp_path / "claims.csv").read_bytes() == (records.COMMITTED / "claims.csv").read_bytes()


def test_the_committed_results_are_not_compared_with_themselves(tmp_path, monkeypatch, capsys):
    """Whichever way their folder is named."""
    shutil.copytree(records.COMMITTED, tmp_path / "results")
    monkeypatch.setattr(records, "COMMITTED", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    for out in ("results", tmp_path / "results"):
        claims.main(["claims", f"--out={out}"])
        assert capsys.readouterr().err.count("\n") == 1


def test_a_question_that_is_not_finished_is_judged_by_the_committed_rows(tmp_path):
    """Half a question has half its units: its claims would fail, or judge what is not there."""
    about = json.loads((records.COMMITTED / "random_labels.json").read_text())
    (tmp_path / "random_labels.json").write_text(json.dumps(about | {"complete": False}))
    lines = (records.COMMITTED / "random_labels.csv").read_text().splitlines(keepends=True)
    (tmp_path / "random_labels.csv").write_text("".join(lines[: len(lines) // 2]))
    assert claims.judge(tmp_path).equals(claims.judge(records.COMMITTED))
    assert claims.judge(tmp_path, fallback=None).empty


def test_a_claim_that_is_gone_or_new_is_a_difference():
    """Comparing ledgers names what only one of them has."""
    ledger = claims.read(records.COMMITTED)
    assert claims.differences(ledger, ledger) == []
    assert "was absent" in claims.differences(ledger, ledger.iloc[1:])[0]
    assert "gone; was" in claims.differences(ledger.iloc[1:], ledger)[0]


def test_a_folder_without_rows_is_not_judged(tmp_path, capsys):
    """A mistyped folder is an error, and is not made."""
    with pytest.raises(SystemExit):
        claims.main(["claims", f"--out={tmp_path / 'typo'}"])
    assert "holds no CSV of a question" in capsys.readouterr().err
    assert not (tmp_path / "typo").exists()


def test_most_nets_above_their_target_leave_a_claim_undecided():
    """What undertrained nets show is no verdict, however clear the figure."""
    nets = pd.DataFrame({"seed": range(4), "status": ["target not reached"] * 2 + ["ok"] * 2})
    assert verdict.claim("source", "claim (mean)", Interval(2, 1, 3, 4), nets, above=0).verdict == HELD
    nets.loc[2, "status"] = "target not reached"
    assert verdict.claim("source", "claim (mean)", Interval(2, 1, 3, 4), nets, above=0).verdict == UNDECIDED


def test_a_missing_ledger_is_named_with_its_command(tmp_path):
    """What reads the ledger says how to make it."""
    with pytest.raises(FileNotFoundError, match=r"python -m hw1\.claims"):
        claims.read(tmp_path)
