"""A record of a toy run: four columns, two units of two rows."""

import hashlib
import json

from hw1 import files, records

COLUMNS = ("size", "seed", "value", "note")
SETTINGS = {"seeds": 2, "sizes": (8, 64), "rate": 1e-3}
UNITS = [{"size": 8}, {"size": 64}]


def opened(folder, settings=SETTINGS, units=UNITS, data=None, columns=COLUMNS, **tables):
    """The record in the folder; `tables` are further tables with their columns."""
    return records.Record(folder, "toy", {"rows": columns} | tables, settings, units, data)


def rows_of(unit):
    """The rows of a unit, without its key."""
    return [{"seed": seed, "value": unit["size"] / (3 + seed), "note": "ok"} for seed in range(2)]


def run(folder, points=None, **options):
    """What a question does, without the question; `points`: columns of a further table; options as in `opened`."""
    more, tables = ([{"table": "points", "x": 1}], {"points": points}) if points else ([], {})
    with files.lock(folder):
        record = opened(folder, **options, **tables)
        for unit in record.missing:
            record.add(unit, rows_of(unit) + more, 1.5)


def about(folder):
    """The JSON of the run."""
    return json.loads((folder / "toy.json").read_text())


def sign(folder, question="toy", **changes):
    """Makes what was edited by hand pass for what was written; `changes` are entries of the JSON."""
    path = folder / f"{question}.json"
    described = json.loads(path.read_text()) | changes
    for table in described["sha256"]:
        name = f"{question}.csv" if table == records.ROWS else f"{question}.{table}.csv"
        described["sha256"][table] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    path.write_text(records.signed(described))
