"""The worker of the other libraries: python -m benchmarks.peers.theirs FILE THREADS, started by `speed`."""

import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.peers import libraries, rebuilt
from benchmarks.peers.worker import Case, cheapest, serve


def cases(path: Path) -> dict[str, Case]:
    """What is timed, on the net and the images of an exported file; names end with that of the library."""
    arrays, found = dict(np.load(path)), {}
    weights = {key.removeprefix("dense/"): array for key, array in arrays.items() if key.startswith("dense/weights/")}
    for n in (int(key.split("/")[1]) for key in arrays if key.endswith("/eigenvalue")):
        examples = {"x": arrays["timed/x"][:n], "y": arrays["timed/y"][:n]}
        data = rebuilt.load("dense", weights | examples, torch.float32)
        found[f"product, {n} images: PyTorch, a gradient"] = Case(_gradient(*data), 20)
        for library in libraries.ALL:
            for what, case in _cases(library, data, arrays[f"timed/{n}/eigenvalue"]).items():
                found[f"{what}, {n} images: {library.NAME}"] = case
    return found


def _gradient(net, x, y):
    def run():
        return torch.autograd.grad(nn.functional.cross_entropy(net(x), y), list(net.parameters()))

    return run


def _cases(library, data, truth):
    """As for hw1, all but the product start from net and examples."""
    prepared = library(*data)
    vector = torch.tensor(np.random.default_rng(0).standard_normal(sum(p.numel() for p in data[0].parameters())))
    vector = vector.to(torch.float32)

    def largest(setting):
        return library(*data).eigenvalues(1, setting)[0]

    found = {"product": Case(lambda: prepared.product(vector), 20)}
    for target in (1e-3, 1e-5):
        setting, note = cheapest(library.SETTINGS, largest, truth, target)
        found[f"λ₁ to {target:g}"] = Case(lambda setting=setting: largest(setting), 1, note)
    found["trace, 30 products"] = Case(lambda: library(*data).trace(30))
    return found


if __name__ == "__main__":
    file, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    warnings.filterwarnings("ignore", "Using backward\\(\\) with create_graph=True")  # PyHessian's
    serve(cases(Path(file)), libraries.describe())
