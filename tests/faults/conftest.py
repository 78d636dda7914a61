"""Faults: how often each kind is tried, with which random choices, and the table of what came out.

Continuous integration tries each kind a few times. `make faults` tries it in full (FAULTS=full) and prints the table;
FAULTS_SEED=7 makes other random choices, the same ones each time.
"""

import os
import random

import pytest
from faults import children

SEED = int(os.environ.get("FAULTS_SEED", "0"))
KEY = "fault"


class Fault:
    """One kind of fault: iterate for the random choices of each try, whose body raises unless it was survived.

    Attributes:
        lost: bytes that were on disk before and are not there after.
    """

    def __init__(self, kind: str, tries: int):
        """Names the kind, as the table has it."""
        self.kind, self.tries, self.begun, self.survived, self.lost = kind, tries, 0, 0, 0

    def __iter__(self):
        """Yields a source of random numbers for each try."""
        for number in range(self.tries):
            self.begun += 1
            yield random.Random(f"{SEED} {self.kind} {number}")
            self.survived += 1


@pytest.fixture
def faults(record_property):
    """A function that gives a kind of fault: its name, the tries in short and in full."""
    made = []

    def make(kind: str, short: int, full: int) -> Fault:
        made.append(Fault(kind, full if children.FULL else short))
        return made[-1]

    yield make
    for fault in made:
        record_property(KEY, (fault.kind, fault.begun, fault.survived, fault.lost))


def pytest_terminal_summary(terminalreporter):
    """The table: kind of fault, tries, survived, bytes lost."""
    reports = [report for group in terminalreporter.stats.values() for report in group]
    ended = [report for report in reports if getattr(report, "when", None) == "teardown"]
    lines = [value for report in ended for key, value in report.user_properties if key == KEY]
    if not lines:
        return
    table = [("kind of fault", "tries", "survived", "lost bytes"), *sorted(map(tuple, lines))]
    terminalreporter.section(f"faults, random choices of FAULTS_SEED={SEED}")
    for kind, *numbers in table:
        terminalreporter.line(f"{kind:56}" + "".join(f"{number!s:>12}" for number in numbers))
