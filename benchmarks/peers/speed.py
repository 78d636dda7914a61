"""What do products, λ₁, the trace and the training of many nets cost by hw1 and by other libraries?

    python -m benchmarks.peers.speed                        about 8 minutes on two cores
    python -m benchmarks.peers.speed --repetitions=2 --threads 1

The net is the trained 784-30-20-10 (24,380 parameters) that `export` wrote, in float32, on 500 and 5,000 training
images as one batch, with one and with two threads. One process of each environment is kept alive, and the cases run in
turns: hw1, then each other library, for each quantity, again and again. Ratios are to hw1. On a machine with other work
the times with two threads mean little, because the threads of PyTorch keep cores busy while they wait for each other;
with OMP_WAIT_POLICY=passive in the environment they sleep.

- product: Hv of one vector; the mean of 20 calls. PyHessian keeps the graph of the gradient, so its product is only the
  second of two backward passes. A gradient by PyTorch stands beside it.
- λ₁ to 1e-3 and 1e-5: the cheapest setting of each library whose relative error, on this net and from its one starting
  vector, is no larger. Settings are tolerances 1, 0.1, ..., which mean different things, or numbers of Lanczos steps.
- trace: 30 products; by Hutch++, or by Hutchinson's estimator (PyHessian), which is less exact.

- training: see `grid`; beside JAX, with vmap over a scan. Equal final losses show that both do the same.

All but the product start from the net and the images. No time is asserted.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks import timing
from benchmarks.peers.worker import Worker

PYTHON = ".venv-peers/bin/python"
PAIRS = (("ours", "theirs"), ("stacked", "vmapped"))  # workers of hw1 and of the other libraries


def run(path: Path, python: str, repetitions: int, threads: list[int]) -> dict:
    """Times everything.

    Args:
        path: of the .npz that `export` wrote.
        python: interpreter of the environment of the other libraries.
        repetitions: timed calls of each case.
        threads: numbers of threads, each timed on its own.

    Returns:
        "rows" for `timing.table`, the "environments" of both sides, and the "load" of the machine in the minute before.
    """
    rows, environments, load = [], {}, os.getloadavg()[0]
    for count in threads:
        for pair in PAIRS:
            with (
                Worker(sys.executable, f"benchmarks.peers.{pair[0]}", path, count) as ours,
                Worker(python, f"benchmarks.peers.{pair[1]}", path, count) as theirs,
            ):
                rows += _rows(ours, theirs, repetitions, "1 thread" if count == 1 else f"{count} threads")
                environments |= {pair[0]: ours.environment, pair[1]: theirs.environment}
    return {"environments": environments, "load": load, "rows": rows}


def _rows(ours, theirs, repetitions, threads):
    """Times each quantity by all libraries in turns, hw1 first."""
    rows = []
    for quantity in ours.cases:
        workers = {quantity: ours} | {name: theirs for name in theirs.cases if name.split(": ")[0] == quantity}
        cases = {name: (lambda name=name, worker=worker: worker.run(name)) for name, worker in workers.items()}
        seconds = timing.side_by_side(cases, repetitions)
        for name, worker in workers.items():
            calls, note = worker.cases[name]
            library = name.partition(": ")[2] or "hw1"
            values = [value / calls * 1e3 for value in seconds[name]]
            reference = [value / ours.cases[quantity][0] * 1e3 for value in seconds[quantity]]
            what = f"{quantity}, {threads}: {library}" + (f" ({note})" if note else "")
            rows.append(timing.row(what, values, "ms", timing.ratio(values, reference)))
    return rows


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=Path, default=Path("runs/peers.npz"), help="what export wrote [runs/peers.npz]")
    parser.add_argument("--python", default=PYTHON, help=f"Python with the other libraries [{PYTHON}]")
    parser.add_argument("--repetitions", type=int, default=15, help="repetitions of each timing [15]")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads [1 2]")
    given = parser.parse_args()
    found = run(given.nets, given.python, given.repetitions, given.threads)
    written = given.nets.with_name("benchmark_peers.json")
    written.write_text(json.dumps(found, indent=2) + "\n")
    print(f"{timing.table(found['rows'])}\n\nRatios are to hw1, each the median of those of neighbouring times.")
    print(f"Load of the machine in the minute before: {found['load']:.1f} processes. All values: {written}")


if __name__ == "__main__":
    main()
