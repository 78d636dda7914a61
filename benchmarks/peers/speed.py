"""What do products, λ₁, the trace and the training of many nets cost by hw1 and by other libraries?

    python -m benchmarks.peers.speed
    python -m benchmarks.peers.speed --repetitions=3 --threads 1 --clock=cpu

The second takes 2.5 minutes of processor time for the dense net; the larger nets take several times that.

The nets, in float32 and with all images as one batch, are what `export` wrote: the trained 784-30-20-10 (24,380
parameters) on 500 and 5,000 training images, curvlinops' MLP, or ResNet-20. One process of each environment is kept
alive, and the cases run in turns: hw1, then each other library, for each quantity, again and again. Ratios are to hw1.
On a machine with other work the times with two threads mean little, because the threads of PyTorch keep cores busy
while they wait for each other; with OMP_WAIT_POLICY=passive in the environment they sleep. Times with one thread are
then better taken with --clock=cpu, as processor time.

- gradient, product, λ₁, λ₁ … λ₅, trace and density: see `measured`, which fixes the accuracy.
- products: with the Hessian, as counted. memory: by how much the first run raised the resident memory of its process.
- training, with the dense net: see `grid`; beside JAX, with vmap over a scan. Equal final losses show
  that both do the same.

No time is asserted.
"""

import argparse
import functools
import json
import os
import sys
from pathlib import Path

import numpy as np

from benchmarks import timing
from benchmarks.peers.worker import Worker

PYTHON = ".venv-peers/bin/python"
PAIRS = (("ours", "theirs"), ("stacked", "vmapped"))  # workers of hw1 and of the other libraries


def run(path: Path, python: str, repetitions: int, threads: list[int], clock: str = "wall") -> dict:
    """Times everything.

    Args:
        path: of the .npz that `export` wrote.
        python: interpreter of the environment of the other libraries.
        repetitions: timed calls of each case.
        threads: numbers of threads, each timed on its own.
        clock: "wall", or "cpu" for the processor time of all threads of a process.

    Returns:
        "rows" for `timing.table`, with products, memory and error added; lines on what is "missing", because a library
        did not reach it; the "environments" of both sides; the "load" of the machine in the minute before.
    """
    rows, missing, environments, load = [], [], {}, os.getloadavg()[0]
    with np.load(path) as arrays:
        pairs = PAIRS if arrays["timed/net"] == "dense" else PAIRS[:1]
    for count in threads:
        for pair in pairs:
            with (
                Worker(sys.executable, f"benchmarks.peers.{pair[0]}", path, count) as ours,
                Worker(python, f"benchmarks.peers.{pair[1]}", path, count) as theirs,
            ):
                timed = _rows(ours, theirs, repetitions, "1 thread" if count == 1 else f"{count} threads", clock)
                rows, missing = rows + timed[0], missing + timed[1]
                environments |= {pair[0]: ours.environment, pair[1]: theirs.environment}
    return {"environments": environments, "load": load, "rows": rows, "missing": missing}


def _rows(ours, theirs, repetitions, threads, clock):
    """Times each quantity by all libraries in turns, hw1 first; and says what could not be timed."""
    rows, missing = [], []
    for quantity, reference in ours.cases.items():
        workers = {quantity: ours} | {name: theirs for name in theirs.cases if name.split(": ")[0] == quantity}
        absent = {name: workers[name].cases[name].note for name in workers if not workers[name].cases[name].calls}
        missing += [f"{name}, {threads}: {note}" for name, note in absent.items()]
        runs = {name: functools.partial(workers[name].run, name) for name in workers if name not in absent}
        seconds = timing.side_by_side(runs, repetitions)
        if clock == "cpu":
            seconds = {name: workers[name].seconds[name][1:] for name in runs}
        for name in runs:
            case, memory = workers[name].cases[name], workers[name].memory[name]
            more = (case.error / reference.error) ** 2 if case.error else 1.0
            values = [value / case.calls * 1e3 * more for value in seconds[name]]
            base = [value / reference.calls * 1e3 for value in seconds[quantity]]
            taken = f"{case.products * more:.0f} products" if case.products else ""
            notes = "; ".join(filter(None, (case.note, taken, f"{memory:.0f} MB")))
            what = f"{quantity}, {threads}: {name.partition(': ')[2] or 'hw1'} ({notes})"
            about = {"products": case.products * more, "memory": memory, "error": case.error}
            rows.append(timing.row(what, values, "ms", timing.ratio(values, base)) | about)
    return rows, missing


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--nets", type=Path, default=Path("runs/peers_dense.npz"), help="what export wrote [runs/peers_dense.npz]"
    )
    parser.add_argument("--python", default=PYTHON, help=f"Python with the other libraries [{PYTHON}]")
    parser.add_argument("--repetitions", type=int, default=5, help="repetitions of each timing [5]")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads [1 2]")
    parser.add_argument("--clock", default="wall", choices=["wall", "cpu"], help="what is timed [wall]")
    given = parser.parse_args()
    found = run(given.nets, given.python, given.repetitions, given.threads, given.clock)
    written = given.nets.with_name(f"benchmark_{given.nets.stem}.json")
    written.write_text(json.dumps(found, indent=2) + "\n")
    print(f"{timing.table(found['rows'])}\n\nRatios are to hw1, each the median of those of neighbouring times.")
    print("\n".join(f"Not reached: {line}" for line in found["missing"]))
    print(f"Load of the machine in the minute before: {found['load']:.1f} processes. All values: {written}")


if __name__ == "__main__":
    main()
