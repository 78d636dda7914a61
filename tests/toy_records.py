"""A record of a toy run: four columns, two units of two rows."""

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


def run(folder, **options):
    """What a question does, without the question; options as in `opened`."""
    with files.lock(folder):
        record = opened(folder, **options)
        for unit in record.missing:
            record.add(unit, rows_of(unit), 1.5)


def about(folder):
    """The JSON of the run."""
    return json.loads((folder / "toy.json").read_text())
