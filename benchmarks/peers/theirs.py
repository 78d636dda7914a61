"""The worker of the other libraries: python -m benchmarks.peers.theirs FILE THREADS, started by `speed`."""

import functools
import sys
import warnings
from pathlib import Path

import jax
import numpy as np
import torch

from benchmarks.peers import libraries, measured, rebuilt
from benchmarks.peers.worker import Case, serve, start_on


def cases(path: Path) -> dict[str, Case]:
    """What is timed, on the net and the images of an exported file; names end with that of the library."""
    arrays, found, errors = dict(np.load(path)), {}, {}
    name, timed = str(arrays["timed/net"]), measured.part(arrays, "timed")
    for n in measured.sizes(arrays):
        data = rebuilt.load(name, timed | {"x": timed["x"][:n], "y": timed["y"][:n]}, torch.float32)
        right = measured.part(timed, str(n))
        for library in libraries.ALL:
            make = functools.partial(library, *data)
            error = errors.get(library, 0.0)
            of_library = measured.cases(make, library.convert, right, measured.BUDGETS[name], error)
            errors[library] = of_library["trace"].error
            found |= {f"{what}, {n} images: {library.NAME}": case for what, case in of_library.items()}
    return found


if __name__ == "__main__":
    file, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    start_on(int(threads), jax.devices)
    warnings.filterwarnings("ignore", "Using backward\\(\\) with create_graph=True")  # PyHessian's
    serve(cases(Path(file)), libraries.describe())
