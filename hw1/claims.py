"""Judges the claims of course and papers by the CSVs of a run; needs no TensorFlow and trains nothing.

    python -m hw1.claims                         # runs/claims.csv, seconds
    python -m hw1.claims --with_committed        # with the lines of the committed results below, for comparison
    python -m hw1.claims --out=hw1/results

Each line has the question, its source, the claim, the published figure, our statistic with its 95 % interval, seeds,
the effect that was fixed beforehand, a verdict that follows from that, and the p-value of its test. Column
"significant" says whether it is among the discoveries of Benjamini and Hochberg's procedure at a rate of 5 % over all
claims of the folder. Lines with the same "nets" rest on the same nets; the last columns say which run judged the claim.

claims.json holds the SHA-256 of claims.csv, so that what reads the ledger notices a change by hand.
"""

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from absl import flags

from hw1 import catalogue, command, files, records
from hw1.findings.verdict import Claim
from hw1.statistics import benjamini_hochberg

COLUMNS = ("question", *Claim._fields, "significant", "folder", "commit", "data")


def judge(folder: str | Path, names: Iterable[str] | None = None) -> pd.DataFrame:
    """The ledger of a run.

    Args:
        folder: holds CSVs and JSONs of questions; a question that is not completely answered there is left out.
        names: the questions whose claims are judged. None: all.

    Returns:
        A frame with `COLUMNS`: the question, what `hw1.findings.verdict.Claim` has, whether the test is significant by
        Benjamini and Hochberg over the whole frame ("yes", "no", or "" without a test), and the run: its folder, commit
        and data set.

    Raises:
        ValueError: a CSV or JSON is damaged.
    """
    done = [name for name in (catalogue.names() if names is None else names) if answered(name, folder)]
    owner = dict(zip(done, done, strict=True)) | dict(same_nets(folder, done))
    lines = []
    for name in done:
        about, tables = records.about(folder, name), records.tables(folder, name)
        claims = catalogue.finding(name).claims(records.read(folder, name), records.settings(folder, name), **tables)
        run = _written(folder), about.get("commit") or "", (about["data"] or {}).get("name", "")
        for line in claims:
            nets = f"{owner[name]}: {line.nets}" if line.nets else owner[name]
            lines.append((name, *line._replace(nets=nets), "", *run))
    ledger = pd.DataFrame(lines, columns=COLUMNS)
    tested = ledger.p.notna()
    ledger.loc[tested, "significant"] = ["yes" if named else "no" for named in benjamini_hochberg(ledger.p[tested])]
    return ledger


def answered(name: str, folder: str | Path) -> bool:
    """Whether a folder has all units of a question."""
    return records.is_begun(folder, name) and records.about(folder, name)["complete"]


def same_nets(folder: str | Path, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yields the later and the earlier of two questions whose nets of every batch size and seed are the same.

    Losses may differ by rounding: of two such questions, `--by_seed` may divide the units of one only.
    """
    keys, tables = ["batch_size", "seed", "updates", "train_loss", "test_loss"], {}
    for name in names:
        rows = records.read(folder, name)
        if set(keys) <= set(rows):
            nets = rows[rows.net == "course"] if "net" in rows else rows
            tables[name] = nets[keys].drop_duplicates().sort_values(keys).reset_index(drop=True)
    for earlier, later in itertools.combinations(tables, 2):
        first, second = tables[earlier], tables[later]
        are_same = len(first) and first[keys[:3]].equals(second[keys[:3]])
        if are_same and np.allclose(first[keys[3:]], second[keys[3:]], rtol=1e-3, atol=0, equal_nan=True):
            yield later, earlier


def _written(folder) -> str:
    """A folder as the ledger names it: the committed results by their place in the project."""
    return "hw1/results" if Path(folder).resolve() == records.COMMITTED else Path(folder).as_posix()


def write(folder: str | Path, with_committed: bool = False) -> pd.DataFrame:
    """Writes `folder`/claims.csv and returns what is in it.

    Args:
        folder: that of the run.
        with_committed: whether to add the lines of the committed results below those of the folder.

    Raises:
        ValueError: a CSV or JSON is damaged.
        OSError: `folder` is in use by another run or cannot be written.
    """
    with files.lock(folder):
        ledger = judge(folder)
        if with_committed and _written(folder) != _written(records.COMMITTED):
            ledger = pd.concat([ledger, read(records.COMMITTED)], ignore_index=True)
        write_table(Path(folder, "claims.csv"), ledger)
    return read(folder)


def as_csv(ledger: pd.DataFrame) -> str:
    """The ledger as the text of claims.csv."""
    return ledger.to_csv(index=False, float_format="%.4g", na_rep="nan", lineterminator="\n")


def read(folder: str | Path) -> pd.DataFrame:
    """Reads `folder`/claims.csv.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged.
    """
    return read_table(Path(folder, "claims.csv"), COLUMNS, f"python -m hw1.claims --out={folder}")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Writes a CSV that a command made of records, and beside it a JSON as of `hw1.records`; OSError if it cannot."""
    text = as_csv(table)
    sha256 = {records.ROWS: files.sha256(text.encode())}
    about = {"question": path.stem, "columns": {records.ROWS: list(table)}, "sha256": sha256}
    files.replace(path, text)
    files.replace(path.with_suffix(".json"), records.signed(about))


def read_table(path: Path, columns: Iterable[str], made_with: str) -> pd.DataFrame:
    """Reads what `write_table` wrote; errors as in `read`, which name the command."""
    if not os.path.lexists(path):
        raise FileNotFoundError(f"{path} is missing; make it with: {made_with}")
    try:
        if records.about(path.parent, path.stem)["columns"] != {records.ROWS: list(columns)}:
            raise ValueError(f"its columns must be {', '.join(columns)}")
        return records.read(path.parent, path.stem)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged or old ({error}); make it anew with: {made_with}") from error


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
    flags.DEFINE_bool(
        "with_committed",
        False,
        "add the lines of the committed results, marked by their folder [false]",
        flag_values=values,
    )
    with command.exit_on_error(code=2):
        command.parse(values, argv, __doc__)
        command.begun(values.out)
    with command.exit_on_error(traceback=values.traceback):
        ledger = write(values.out, values.with_committed)
        own = ledger[ledger.folder == _written(values.out)]
        for kind, lines in own.groupby("kind", sort=False):
            counts = ", ".join(f"{number} {verdict}" for verdict, number in lines.verdict.value_counts().items())
            command.say(f"{len(lines)} {kind}{'' if len(lines) == 1 else 's'}: {counts}")
        command.say(f"{len(ledger)} lines: {Path(values.out, 'claims.csv')}")
        if unfinished := [name for name in catalogue.names() if not answered(name, values.out)]:
            command.say(f"not judged, as {values.out} has no complete answer: {', '.join(unfinished)}")
        if _written(values.out) != _written(records.COMMITTED):
            committed = read(records.COMMITTED)
            changed = differences(own, committed[committed.question.isin(own.question)])
            end = ":" if changed else ""
            command.say(f"{len(changed)} claims differ from the committed ledger, or stand in one of the two{end}")
            for line in changed:
                command.say(f"  {line}")


if __name__ == "__main__":
    main()
