"""Verdicts, and the ledger as it is made from the CSVs of a run and from the committed ones."""

import shutil

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import toy_records

from hw1 import catalogue, claims, records
from hw1.findings import verdict
from hw1.findings.verdict import FAILED, HELD, INCOMPARABLE, NOISY, NOT, PASSED, SMALL
from hw1.statistics import Interval, geometric_mean, mean_interval

VERDICTS = {HELD, NOT, SMALL, NOISY, INCOMPARABLE, PASSED, FAILED}


@pytest.fixture(scope="module")
def committed():
    """The committed ledger."""
    return claims.read(records.COMMITTED)


@pytest.mark.parametrize(
    ("interval", "prediction", "expected"),
    [
        ((2, 1, 3), {"above": 0.5}, HELD),
        ((2, 1, 3), {"above": 3}, NOT),
        ((2, 1, 3), {"above": 2}, NOISY),
        ((2, 1, 3), {"above": 2.5}, NOISY),
        ((2, 1, 3), {"below": 3.5}, HELD),
        ((2, 1, 3), {"below": 1}, NOT),
        ((2, 1, 3), {"below": 1.5}, NOISY),
        ((2, 1, 3), {"within": (0, 4)}, HELD),
        ((2, 1, 3), {"within": (3, 4)}, NOT),
        ((2, 1, 3), {"within": (0, 1)}, NOT),
        ((2, 1, 3), {"within": (1.5, 2.5)}, NOISY),
        ((2, 1, 3), {"within": (2, 5)}, NOISY),
        ((0, 0, 0), {"above": 0}, NOT),
        ((2, 1, 3), {"above": 2, "effect": 1.1}, SMALL),
        ((2, 1, 3), {"above": 2, "effect": 0.9}, NOISY),
        ((2, 1, 3), {"below": 1.5, "effect": 2}, SMALL),
        ((2, 1, 3), {"below": 1.5, "effect": 1}, NOISY),
        ((1.1, 0.9, 1.2, 5, 0, "log"), {"above": 1}, SMALL),  # a factor of 1.25 by default
        ((1.1, 0.7, 1.2, 5, 0, "log"), {"above": 1}, NOISY),
        ((0.1, -0.2, 0.29, 5, 0, "correlation"), {"above": 0}, SMALL),  # 0.3 by default
        ((0.1, -0.2, 0.31, 5, 0, "correlation"), {"below": 0}, NOISY),
        ((2, 1, 3), {"within": (2, 5), "effect": 1.1}, SMALL),
        ((2, 1, 3), {"within": (0, 2), "effect": 1.1}, SMALL),
        ((2, 1, 3), {"within": (0, 2), "effect": 0.5}, NOISY),
        ((2, np.nan, np.nan), {"above": 0}, NOISY),
        ((np.nan, np.nan, np.nan), {"within": (0, 1)}, INCOMPARABLE),
        ((2, 1, 3, 2, 2), {"above": 0}, HELD),
        ((2, 1, 3, 2, 3), {"above": 0}, INCOMPARABLE),  # most seeds have no value
    ],
)
def test_the_verdict_follows_from_the_interval(interval, prediction, expected):
    """Held if all of the interval is where the source says, not held if none of it is, else by the effect's size."""
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
    assert (met.claim, met.seeds, met.caveat) == ("claim (mean)", 2, "1 of 3 seeds have no value")
    short = nets.assign(status=["target not reached"] * 2 + ["ok", "ok"])
    missed = verdict.claim("source", "claim (mean)", mean_interval([1.0, 2.0]), short, above=0)
    assert missed.caveat == "1 of 3 nets did not come to their target"
    lost = short.assign(status=["target not reached"] * 2 + ["ok", "diverged"])
    both = verdict.claim("source", "claim (mean)", mean_interval([1.0, 2.0]), lost, above=0)
    assert both.caveat == "1 of 3 nets did not come to their target; 1 of 3 nets diverged"
    assert both.verdict == INCOMPARABLE


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (Interval(1, 0.999, 1.001, 5), PASSED),
        (Interval(1, 1, 1, 5), PASSED),
        (Interval(1, 0.98, 1.02, 5), FAILED),
        (Interval(2.4, 2.2, 2.5, 5), FAILED),
        (Interval(1, np.nan, np.nan, 1), PASSED),
        (Interval(np.nan, np.nan, np.nan), INCOMPARABLE),
    ],
)
def test_a_check_passes_or_fails(interval, expected):
    """An identity has no p-value and takes no part in the count of discoveries."""
    made = verdict.check("source", "identity (ratio)", interval, within=(0.99, 1.01))
    assert (made.kind, made.verdict) == ("check", expected)
    assert np.isnan(made.p)


def test_p_values_belong_to_the_intervals():
    """Of a t-interval that of the t-test; 0.05 at its ends, on every scale; of a prediction within two, the larger."""
    sample = np.array([0.1, 0.5, 0.2, 0.9, 0.3])
    assert mean_interval(sample).p_value(0) == pytest.approx(scipy.stats.ttest_1samp(sample, 0).pvalue)
    ratios = geometric_mean(np.exp(sample))
    assert ratios.p_value(1) == pytest.approx(scipy.stats.ttest_1samp(sample, 0).pvalue)
    assert ratios.p_value(ratios.low) == pytest.approx(0.05)
    assert Interval(0.5, 0.1, 0.6, 5).p_value(0.6) == pytest.approx(0.05)
    assert Interval(1, 1, 1, 5).p_value(0) == 2 * 0.5**5
    assert Interval(1, 1, 1, 5).p_value(1) == 1
    assert np.isnan(Interval(1, np.nan, np.nan, 1).p_value(0))
    inside = verdict.claim("s", "c", mean_interval(sample), within=(0, 10))
    assert inside.p == pytest.approx(scipy.stats.ttest_1samp(sample, 0).pvalue)
    outside = verdict.claim("s", "c", mean_interval(sample), within=(5, 10))
    assert outside.p == pytest.approx(scipy.stats.ttest_1samp(sample, 5).pvalue)


def test_the_committed_ledger_is_what_the_committed_rows_say(committed):
    """No verdict is typed in: the same command gives the same bytes."""
    text = claims.as_csv(claims.judge(records.COMMITTED))
    assert text == (records.COMMITTED / "claims.csv").read_text()
    assert tuple(committed) == claims.COLUMNS
    assert set(committed.verdict) <= VERDICTS
    assert not committed.duplicated(["source", "claim"]).any()
    claimed = committed[committed.kind == "claim"]
    assert not claimed.ours.isna().any()
    lacking = claimed[claimed[["low", "high", "p"]].isna().any(axis=1)]
    assert lacking.caveat.str.contains("as all seeds find the same points").all()  # nothing is repeated then
    judged = claimed.dropna(subset=["low", "high"])
    assert (judged.low <= judged.ours).all()
    assert (judged.ours <= judged.high).all()


def test_each_line_says_which_run_it_was_judged_by(committed):
    """Folder, commit and data set of the question's record, and which nets it rests on."""
    assert set(committed.folder) == {"hw1/results"}
    for line in committed.itertuples():
        about = records.about(records.COMMITTED, line.question)
        assert (line.commit, line.data) == (about["commit"], (about["data"] or {}).get("name", ""))
        assert line.nets
    tested = committed[committed.p.notna()]
    assert set(tested.significant) == {"yes", "no"}
    assert (tested[tested.significant == "yes"].p < 0.05).all()
    assert set(committed[committed.p.isna()].significant) <= {""}


def test_the_committed_results_answer_every_question():
    """Completely, and in the columns that the question has today: a run that lacks a question is judged by them."""
    for name in catalogue.names():
        assert claims.answered(name, records.COMMITTED), name
        assert records.about(records.COMMITTED, name)["columns"] == catalogue.experiment(name).COLUMNS, name


@pytest.fixture
def begun(tmp_path):
    """A function that puts a committed question into a folder, changed on the way."""

    def put(name, change=lambda frame: frame, **about):
        for path in records.COMMITTED.glob(f"{name}.*csv"):
            shutil.copy(path, tmp_path)
        change(pd.read_csv(records.COMMITTED / f"{name}.csv")).to_csv(tmp_path / f"{name}.csv", index=False)
        shutil.copy(records.COMMITTED / f"{name}.json", tmp_path)
        toy_records.sign(tmp_path, name, **about)
        return tmp_path

    return put


def test_a_folder_is_judged_by_its_own_rows(begun, committed):
    """The ledger of a run has the claims of that run and no others; what differs from the committed ones is said."""
    folder = begun(
        "straight_line", lambda frame: frame.assign(train_loss=frame.train_loss.where(frame.alpha != 0, 9.0))
    )
    fresh = claims.write(folder)
    assert set(fresh.question) == {"straight_line"}
    assert set(fresh.folder) == {folder.as_posix()}
    said = claims.differences(fresh, committed[committed.question == "straight_line"])
    assert 0 < len(said) < len(fresh)
    assert all("solution" in line for line in said)


def test_the_committed_claims_are_added_if_asked_for(begun, committed):
    """Below those of the folder, and marked by theirs."""
    folder = begun("straight_line")
    both = claims.write(folder, with_committed=True)
    assert list(both.folder.unique()) == [folder.as_posix(), "hw1/results"]
    assert both[both.folder == "hw1/results"].reset_index(drop=True).equals(committed)


def test_the_command_says_what_was_judged_and_what_differs(begun, capsys):
    """Counts of verdicts, the questions that are not answered, and no difference where nothing was changed."""
    folder = begun("straight_line")
    begun("random_labels", complete=False)
    claims.main(["claims", f"--out={folder}"])
    said = capsys.readouterr().err
    assert "9 claims: 6 held" in said
    missing = said.partition("no complete answer: ")[2].splitlines()[0].split(", ")
    assert missing == [name for name in catalogue.names() if name != "straight_line"]
    assert "0 claims differ from the committed ledger" in said


def test_the_committed_results_are_not_compared_with_themselves(committed, tmp_path, monkeypatch, capsys):
    """Whichever way their folder is named."""
    shutil.copytree(records.COMMITTED, tmp_path / "results")
    monkeypatch.setattr(claims, "judge", lambda folder: committed)
    monkeypatch.setattr(records, "COMMITTED", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    for out in ("results", tmp_path / "results"):
        claims.main(["claims", f"--out={out}"])
        said = capsys.readouterr().err
        assert "differ" not in said
        assert "not judged" not in said


def test_a_question_that_is_not_finished_is_not_judged(begun):
    """Half a question has half its units: its claims would fail, or judge what is not there."""
    folder = begun("random_labels", lambda frame: frame[: len(frame) // 2], complete=False)
    assert claims.judge(folder).empty


def test_a_claim_that_is_gone_or_new_is_a_difference(committed):
    """Comparing ledgers names what only one of them has."""
    assert claims.differences(committed, committed) == []
    assert "was absent" in claims.differences(committed, committed.iloc[1:])[0]
    assert "gone; was" in claims.differences(committed.iloc[1:], committed)[0]


def test_a_folder_without_rows_is_not_judged(tmp_path, capsys):
    """A mistyped folder is an error, and is not made."""
    with pytest.raises(SystemExit):
        claims.main(["claims", f"--out={tmp_path / 'typo'}"])
    assert "holds no CSV of a question" in capsys.readouterr().err
    assert not (tmp_path / "typo").exists()


def test_nets_most_of_which_missed_their_target_are_not_comparable():
    """What undertrained nets show is no verdict, however clear the figure."""
    nets = pd.DataFrame({"seed": range(4), "status": ["target not reached"] * 2 + ["ok"] * 2})
    assert verdict.claim("source", "claim (mean)", Interval(2, 1, 3, 4), nets, above=0).verdict == HELD
    nets.loc[2, "status"] = "target not reached"
    assert verdict.claim("source", "claim (mean)", Interval(2, 1, 3, 4), nets, above=0).verdict == INCOMPARABLE


def test_a_missing_ledger_is_named_with_its_command(tmp_path):
    """What reads the ledger says how to make it."""
    with pytest.raises(FileNotFoundError, match=r"python -m hw1\.claims"):
        claims.read(tmp_path)


def test_the_same_nets_are_told_by_their_losses_but_for_rounding(monkeypatch):
    """As where the units of one of two questions were divided by seed."""
    nets = pd.DataFrame({"batch_size": [10, 20], "seed": 0, "updates": 9, "train_loss": 0.05, "test_loss": [0.2, 0.3]})
    tables = {"a": nets, "rounded": nets.assign(test_loss=nets.test_loss * (1 + 1e-5))}
    tables |= {"other": nets.assign(test_loss=nets.test_loss * 1.01), "updates": nets.assign(updates=8)}
    monkeypatch.setattr(records, "read", lambda folder, name: tables[name])
    assert list(claims.same_nets("", tables)) == [("rounded", "a")]
