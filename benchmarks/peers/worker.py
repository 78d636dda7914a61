"""A process that runs named cases on request, so that two environments can be timed in turns.

It reads a name from each line of its input, runs the case and answers with a line. Its first line says which cases
there are.
"""

import ctypes
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Case(NamedTuple):
    """What is timed.

    Attributes:
        run: function without arguments; None if there is nothing to time, for the reason in `note`.
        calls: how often it is called on one request: more than once if it takes a few milliseconds.
        note: what the table says of it.
        products: with the Hessian that one call takes; 0 if none are taken.
        error: of the result, where results with different errors are compared; 0 elsewhere.
    """

    run: Callable[[], object] | None
    calls: int = 1
    note: str = ""
    products: int = 0
    error: float = 0.0


def start_on(threads: int, start: Callable[[], object]) -> None:
    """Lets a library without a number of threads take as many as this process has cores when it starts; Linux only."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:threads])
    start()
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), cores)


def serve(cases: dict[str, Case], environment: dict) -> None:
    """The worker's side: runs cases until its input ends, and answers with seconds of processor time and memory.

    Args:
        cases: name → case.
        environment: versions and processor.
    """
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints is no answer
    known = {name: (None, *case[1:]) for name, case in cases.items()}
    memory = {}
    print(json.dumps({"cases": known, "environment": environment}), file=answers, flush=True)
    for line in sys.stdin:
        name = line.strip()
        before = None if name in memory else _free_memory()
        start = time.process_time()
        for _ in range(cases[name].calls):
            cases[name].run()
        taken = time.process_time() - start
        if before is not None:
            memory[name] = _resident() - before
        print(json.dumps([taken, memory[name]]), file=answers, flush=True)


def _free_memory() -> float:
    """Gives unused memory back, lets the peak begin anew, and returns it; Linux only."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _resident()


def _resident() -> float:
    """The peak of the resident memory, in megabytes."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1e3


class Worker:
    """The timing side: a worker as a process that is kept alive.

    Attributes:
        cases: name → case, whose `run` is None.
        seconds: name → seconds of processor time of each run, of all threads.
        memory: name → megabytes by which the resident memory rose in the first run of a case.
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
            line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=environment,
        )
        ready = json.loads(self._answer())
        self.cases = {name: Case(*case) for name, case in ready["cases"].items()}
        self.seconds, self.memory, self.environment = {}, {}, ready["environment"]

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended: {' '.join(self._process.args)}")
        return line

    def run(self, name: str) -> None:
        """Runs a case and waits for its end."""
        print(name, file=self._process.stdin, flush=True)
        seconds, self.memory[name] = json.loads(self._answer())
        self.seconds.setdefault(name, []).append(seconds)

    def __enter__(self):
        """The worker itself."""
        return self

    def __exit__(self, *_):
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()
