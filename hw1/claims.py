"""Judges the claims of course and papers by the CSVs of a run; needs no TensorFlow and trains nothing.

    python -m hw1.claims                         # runs/claims.csv, seconds
    python -m hw1.claims --out=hw1/results

A question that is not completely answered in the folder is judged by the committed results in hw1/results. Each line
has source, claim, published figure, our statistic with its 95 % interval, seeds, a verdict that follows from that, and
how many nets ended above the target loss, if any did.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from hw1 import catalogue, command, files, records
from hw1.findings.verdict import Claim


def judge(
    folder: str | Path, fallback: str | Path | None = records.COMMITTED, names: Iterable[str] | None = None
) -> pd.DataFrame:
    """The ledger of a run.

    Args:
        folder: holds CSVs and JSONs of questions.
        fallback: a folder for the questions that are not in the first; None leaves them out.
        names: the questions whose claims are judged. None: all.

    Returns:
        A frame with the columns of `hw1.findings.verdict.Claim`.

    Raises:
        ValueError: a CSV or JSON is damaged.
    """
    lines = []
    for name in catalogue.names() if names is None else names:
        if place := source(name, folder, fallback):
            rows, tables = records.read(place, name), records.tables(place, name)
            lines += catalogue.finding(name).claims(rows, records.settings(place, name), **tables)
    return pd.DataFrame(lines, columns=Claim._fields)


def source(name: str, folder: str | Path, fallback: str | Path | None = records.COMMITTED) -> Path | None:
    """The folder by which a question is judged: the first of the two that has all of its units, if any has."""
    for place in (folder, fallback):
        if place and Path(place, f"{name}.csv").exists() and records.about(place, name)["complete"]:
            return Path(place)
    return None


def write(folder: str | Path) -> pd.DataFrame:
    """Writes `folder`/claims.csv and returns what is in it.

    Raises:
        ValueError: a CSV or JSON is damaged.
        OSError: `folder` is in use by another run or cannot be written.
    """
    with files.lock(folder):
        text = judge(folder).to_csv(index=False, float_format="%.4g", na_rep="nan", lineterminator="\n")
        files.replace(Path(folder, "claims.csv"), text)
    return read(folder)


def read(folder: str | Path) -> pd.DataFrame:
    """Reads `folder`/claims.csv.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged.
    """
    path = Path(folder, "claims.csv")
    try:
        ledger = pd.read_csv(path, keep_default_na=False, na_values=["nan"])
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; make it with: python -m hw1.claims --out={folder}") from None
    if tuple(ledger.columns) != Claim._fields:
        raise ValueError(f"{path} must have the columns {', '.join(Claim._fields)}")
    return ledger


def differences(ledger: pd.DataFrame, other: pd.DataFrame) -> list[str]:
    """One line for each claim whose figure or verdict is not the same in the `other` ledger, or that only one has."""
    here, there = (
        {f"{line.source}: {line.claim}": f"{line.ours:.4g}, {line.verdict}" for line in part.itertuples()}
        for part in (ledger, other)
    )
    return [
        f"{name}: {here.get(name, 'gone')}; was {there.get(name, 'absent')}"
        for name in here | there
        if here.get(name) != there.get(name)
    ]


def main(argv: list[str] | None = None) -> None:
    """The command; exit codes as in `hw1.command.main`."""
    values = command.base_flags()
    with command.exit_on_error(code=2):
        command.parse(values, argv, __doc__)
    with command.exit_on_error(traceback=values.traceback):
        if not any(Path(values.out, f"{name}.csv").exists() for name in catalogue.names()):
            raise FileNotFoundError(f"{values.out} holds no CSV of a question; make them with: python -m hw1.reproduce")
        ledger = write(values.out)
        counts = ", ".join(f"{number} {verdict}" for verdict, number in ledger.verdict.value_counts().items())
        command.say(f"{len(ledger)} claims, {counts}: {Path(values.out, 'claims.csv')}")
        if Path(values.out).resolve() != records.COMMITTED:
            if taken := [name for name in catalogue.names() if source(name, values.out) == records.COMMITTED]:
                command.say(f"judged by the committed results, as {values.out} has not all: {', '.join(taken)}")
            changed = differences(ledger, read(records.COMMITTED))
            command.say(f"{len(changed)} of them differ from the committed ledger{':' * bool(changed)}")
            for line in changed:
                command.say(f"  {line}")


if __name__ == "__main__":
    main()
