"""Do the verdicts repeat? Answers the questions once more with fresh seeds, and holds the ledgers side by side.

    python -m hw1.replicate                                    # all questions to runs/replication, as long as make all
    python -m hw1.replicate --part=course
    TF_ENABLE_ONEDNN_OPTS=0 python -m hw1.replicate --first_seed=0 --out=runs/processor

A seed draws initial weights, batch order and the division of the images, so fresh seeds are a new experiment on the
same population. The default first seed is above all seeds of the committed results. With the seeds of those results the
command tests the machine instead: other instructions round differently, and no decided verdict should change.

The table is replication.csv: each claim that both ledgers have in the same words, with our figure, interval and verdict
in the committed ledger and now, and what became of it: "repeats" (the same verdict), "flips" (held and did not hold, or
a check), "no longer decided", "decided now" or "still undecided".
"""

import os
from pathlib import Path

import pandas as pd
from absl import flags

from hw1 import catalogue, claims, command, files, records, reproduce
from hw1.findings.verdict import FAILED, HELD, NOT, PASSED

DECIDED = (HELD, NOT, PASSED, FAILED)
SHOWN = ["ours", "low", "high", "seeds", "verdict"]
COLUMNS = ["question", "source", "claim", *SHOWN, *(f"{name}_again" for name in SHOWN), "outcome"]


def compare(ledger: pd.DataFrame, again: pd.DataFrame) -> pd.DataFrame:
    """The claims that two ledgers have in the same words, side by side.

    Args:
        ledger: as `hw1.claims.judge` gives it.
        again: that of the other run.

    Returns:
        A frame with `COLUMNS`.
    """
    keys = ["question", "source", "claim"]
    both = ledger[[*keys, *SHOWN]].merge(again[[*keys, *SHOWN]], on=keys, suffixes=("", "_again"))
    both["outcome"] = [_outcome(*pair) for pair in zip(both.verdict, both.verdict_again, strict=True)]
    return both[COLUMNS]


def unmatched(ledger: pd.DataFrame, again: pd.DataFrame) -> pd.DataFrame:
    """The claims of a ledger that `compare` leaves out, of the questions that the other run has answered.

    Such claims name what the seeds decide, such as the width at which something was seen.
    """
    return ledger[ledger.question.isin(again.question) & ~ledger.claim.isin(again.claim)]


def _outcome(before: str, after: str) -> str:
    """What became of a verdict."""
    if before in DECIDED:
        return "repeats" if after == before else "flips" if after in DECIDED else "no longer decided"
    return "decided now" if after in DECIDED else "still undecided"


def summary(table: pd.DataFrame) -> str:
    """How many of the decided verdicts repeat, in one line."""
    decided = table[table.verdict.isin(DECIDED)]
    counts = decided.outcome.value_counts()
    repeats, flips = (int(counts.get(outcome, 0)) for outcome in ("repeats", "flips"))
    share = f" ({repeats / len(decided):.0%})" if len(decided) else ""
    return f"{repeats} of {len(decided)} decided verdicts repeat{share}, {flips} flip; {len(table)} claims in all"


def first_fresh_seed(names) -> int:
    """The first multiple of a hundred above all seeds of the committed results."""
    settings = [records.settings(records.COMMITTED, name) for name in names]
    return (max(run["first_seed"] + run["seeds"] for run in settings) + 99) // 100 * 100


def read(folder: str | Path) -> pd.DataFrame | None:
    """The table of a folder; None if it has none."""
    path = Path(folder, "replication.csv")
    made_with = f"python -m hw1.replicate --out={folder}"
    return claims.read_table(path, COLUMNS, made_with) if os.path.lexists(path) else None


def main(argv: list[str] | None = None) -> None:
    """The command; exit codes as in `hw1.command.main`, and 1 if a question failed."""
    values = command.sized_flags(reproduce.SIZES, out="runs/replication")
    flags.DEFINE_enum("part", "all", list(catalogue.GROUPS), "questions to answer [all]", flag_values=values)
    flags.DEFINE_list("only", [], "instead, some of all questions, with commas between them", flag_values=values)
    flags.DEFINE_integer("jobs", 2, "questions that run at once [2]", lower_bound=1, flag_values=values)
    wanted = "seed of the first repetition [above all of the committed results]"
    flags.DEFINE_integer("first_seed", None, wanted, lower_bound=0, flag_values=values)
    with command.exit_on_error(code=2):
        command.parse(values, argv, __doc__)
        command.check_names(values.only)
    with command.exit_on_error(traceback=values.traceback):
        names = values.only or catalogue.names(values.part)
        fresh = first_fresh_seed(catalogue.names())
        first = fresh if values.first_seed is None else values.first_seed
        if first < fresh:
            command.say(f"--first_seed={first}: the committed results have some of these seeds")
        failed = reproduce.reproduce(
            values.size, values.out, names, values.traceback, values.jobs, {"first_seed": first}
        )
        with files.lock(values.out):
            again = claims.judge(values.out, [name for name in names if name not in failed])
            ledger = claims.read(records.COMMITTED)
            table = compare(ledger, again)
            path = Path(values.out, "replication.csv")
            claims.write_table(path, table)
        command.say(summary(table))
        for line in table[table.outcome.isin(["flips", "no longer decided"])].itertuples():
            command.say(f"  {line.outcome}: {line.question}: {line.claim}: {_shown(line)}")
        command.say(f"the table is {path}")
        for line in unmatched(ledger, again).itertuples():
            command.say(f"  not compared, as it was not found in these words: {line.question}: {line.claim}")
        if failed:
            raise SystemExit(1)


def _shown(line) -> str:
    """Both figures with their intervals and verdicts."""
    before = f"{line.ours:.3g} [{line.low:.3g}, {line.high:.3g}] {line.verdict}"
    return f"{before}; again {line.ours_again:.3g} [{line.low_again:.3g}, {line.high_again:.3g}] {line.verdict_again}"


if __name__ == "__main__":
    main()
