"""The command that answers the questions with fresh seeds and holds the ledgers side by side."""

import numpy as np
import pandas as pd
import pytest
from toys import exit_code

from hw1 import catalogue, claims, records, replicate

VERDICTS = {
    ("held", "held"): "repeats",
    ("held", "did not hold"): "flips",
    ("did not hold", "held"): "flips",
    ("passed", "failed"): "flips",
    ("held", "too noisy"): "no longer decided",
    ("did not hold", "not comparable"): "no longer decided",
    ("too noisy", "held"): "decided now",
    ("too noisy", "smaller than the effect"): "still undecided",
}


def ledger(verdicts):
    """A ledger with a claim for each verdict."""
    lines = [("toy", "source", f"claim {i}", 1.0, 0.5, 1.5, 5, verdict) for i, verdict in enumerate(verdicts)]
    return pd.DataFrame(lines, columns=["question", "source", "claim", *replicate.SHOWN])


def test_every_pair_of_verdicts_has_an_outcome():
    """Claims are matched by question, source and sentence; a claim of one ledger only is left out, and named."""
    before, after = zip(*VERDICTS, strict=True)
    table = replicate.compare(ledger([*before, "held"]), ledger(after)[::-1])
    assert list(replicate.unmatched(ledger([*before, "held"]), ledger(after)).claim) == [f"claim {len(before)}"]
    assert replicate.unmatched(ledger([*before, "held"]).assign(question="other"), ledger(after)).empty
    assert list(table.columns) == replicate.COLUMNS
    assert list(table.outcome) == list(VERDICTS.values())
    assert replicate.summary(table) == "1 of 6 decided verdicts repeat (17%), 3 flip; 8 claims in all"
    assert replicate.summary(table[:0]) == "0 of 0 decided verdicts repeat, 0 flip; 0 claims in all"


def test_fresh_seeds_are_above_all_committed_ones():
    """The largest committed seed, that of the question with the most repetitions, is below."""
    fresh = replicate.first_fresh_seed(catalogue.names())
    runs = [records.settings(records.COMMITTED, name) for name in catalogue.names()]
    assert max(run["first_seed"] + run["seeds"] - 1 for run in runs) < fresh
    assert fresh % 100 == 0


@pytest.mark.parametrize(("given", "first"), [([], None), (["--first_seed=7"], 7)])
def test_the_command_answers_judges_and_compares(tmp_path, capsys, given, first):
    """One cheap question at size smoke: its record has the fresh seeds, its table the claims of both ledgers."""
    out = tmp_path / "again"
    replicate.main(["replicate", "--size=smoke", "--only=redundancy", "--jobs=1", f"--out={out}", *given])
    said = capsys.readouterr().err
    assert records.settings(out, "redundancy")["first_seed"] == (
        replicate.first_fresh_seed(catalogue.names()) if first is None else first
    )
    table, committed = replicate.read(out), claims.read(records.COMMITTED)
    expected = committed[committed.question == "redundancy"]
    assert list(table.claim) == list(expected.claim)
    np.testing.assert_array_equal(table.ours, expected.ours)
    assert "decided verdicts repeat" in said
    assert ("the committed results have" in said) == (first is not None)


def test_wrong_flags_are_refused_before_anything_runs(tmp_path, capsys):
    """By name, with exit code 2, and no folder is made."""
    out = tmp_path / "again"
    assert exit_code(replicate.main, "--only=nothing", f"--out={out}") == 2
    assert "--only=nothing" in capsys.readouterr().err
    assert exit_code(replicate.main, "--first_seed=-1", f"--out={out}") == 2
    assert not out.exists()
    assert replicate.read(tmp_path) is None
