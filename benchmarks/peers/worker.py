"""A process that runs named cases on request, so that two environments can be timed in turns.

It reads a name from each line of its input, runs the case and answers with a line. Its first line says which cases
there are.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Case(NamedTuple):
    """What is timed.

    Attributes:
        run: function without arguments.
        calls: how often it is called on one request: more than once if it takes a few milliseconds.
        note: what the table says of it.
    """

    run: Callable[[], object]
    calls: int = 1
    note: str = ""


def serve(cases: dict[str, Case], environment: dict) -> None:
    """The worker's side: runs cases until its input ends.

    Args:
        cases: name → case.
        environment: versions and processor.
    """
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints is no answer
    known = {name: [case.calls, case.note] for name, case in cases.items()}
    print(json.dumps({"cases": known, "environment": environment}), file=answers, flush=True)
    for line in sys.stdin:
        case = cases[line.strip()]
        for _ in range(case.calls):
            case.run()
        print("done", file=answers, flush=True)


def cheapest(settings: tuple, measure: Callable[[float], float], truth: float, target: float) -> tuple[float, str]:
    """The first setting whose result is precise enough, and a note for the table.

    Args:
        settings: from cheap to precise.
        measure: setting → result.
        truth: the right result.
        target: the relative error that it may have.

    Raises:
        ValueError: no setting is precise enough.
    """
    for setting in settings:
        error = abs(measure(setting) / truth - 1)
        if error <= target:
            return setting, f"setting {setting:g}, error {error:.0e}"
    raise ValueError(f"no setting of {settings} gives an error of {target:g}; the last has {error:.1g}")


class Worker:
    """The timing side: a worker as a process that is kept alive.

    Attributes:
        cases: name → calls and note of each case.
        environment: versions and processor of the process.
    """

    def __init__(self, python: str, module: str, path: Path, threads: int):
        """Starts the process and waits until it is ready.

        Args:
            python: interpreter of its environment.
            module: which calls `serve`; its arguments are the next two.
            path: of the exported file.
            threads: how many its libraries may use.
        """
        line = [python, "-m", module, str(path), str(threads)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
        )
        ready = json.loads(self._answer())
        self.cases, self.environment = ready["cases"], ready["environment"]

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended: {' '.join(self._process.args)}")
        return line

    def run(self, name: str) -> None:
        """Runs a case and waits for its end."""
        print(name, file=self._process.stdin, flush=True)
        self._answer()

    def __enter__(self):
        """The worker itself."""
        return self

    def __exit__(self, *_):
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()
