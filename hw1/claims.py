"""Judges the claims of course and papers by the CSVs of a run; needs no TensorFlow and trains nothing.

    python -m hw1.claims                         # runs/claims.csv, seconds
    python -m hw1.claims --out=hw1/results

A question without a CSV in the folder is judged by the committed one in hw1/results. Each line has source, claim,
published figure, our statistic with its 95 % interval, seeds and a verdict that follows from the interval.
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from hw1 import question, records
from hw1.ledger import deep_vs_shallow, generalization, landscape, optimization
from hw1.ledger.verdict import Claim

COMMITTED = Path(__file__).with_name("results")

# Question → function of its rows, its settings and its other tables by name, that yields claims.
CLAIMS: dict[str, Callable] = {
    claims.__name__: claims
    for part in (deep_vs_shallow, optimization, generalization, landscape)
    for claims in part.QUESTIONS
}


def judge(folder: str | Path, fallback: str | Path | None = COMMITTED) -> pd.DataFrame:
    """The ledger of a run.

    Args:
        folder: holds CSVs and JSONs of questions.
        fallback: a folder for the questions that are not in the first; None leaves them out.

    Returns:
        A frame with the columns of `hw1.ledger.verdict.Claim`.

    Raises:
        ValueError: a CSV or JSON is damaged.
    """
    lines = []
    for name, claims in CLAIMS.items():
        places = [place for place in (folder, fallback) if place and Path(place, f"{name}.csv").exists()]
        if places:
            rows, tables = records.read(places[0], name), records.tables(places[0], name)
            lines += claims(rows, records.settings(places[0], name), **tables)
    return pd.DataFrame(lines, columns=Claim._fields)


def main(argv: list[str] | None = None) -> None:
    """The command; exit codes as in `hw1.question.main`."""
    values = question.base_flags()
    with question.exit_on_error(code=2):
        question.parse(values, argv, __doc__)
    with question.exit_on_error(traceback=values.traceback):
        ledger = judge(values.out)
        path = Path(values.out, "claims.csv")
        records.replace(path, ledger.to_csv(index=False, float_format="%.4g", na_rep="nan", lineterminator="\n"))
        question.say(f"{len(ledger)} claims to {path}: {ledger.verdict.value_counts().to_dict()}")


if __name__ == "__main__":
    main()
