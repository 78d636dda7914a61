"""Do hw1 and the other libraries find the same Hessian of the same net?

    .venv-peers/bin/python -m benchmarks.peers.agreement        about a minute on a quiet core

Reads what `export` wrote, rebuilds the nets in PyTorch and measures them there in float64. Compared with hw1 are

- the products with three vectors of random signs; the difference is the largest ‖a − b‖ / ‖b‖;
- λ₁, and λ₁ … λ₅ together; the difference is the largest relative one, the printed value λ₅;
- the trace: exactly, or by estimators with 300 products;
- loss and product of the net of the timings.

Relative differences may be 1e-4, those of estimates four of their standard errors. The last column compares hw1 in
float32. The command exits with 1 if a number differs by more.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

from benchmarks.peers import libraries, rebuilt
from benchmarks.peers.measured import part, sizes

ALLOWED = 1e-4
PRODUCTS = 300  # of an estimated trace, as many as hw1 takes
# Library and the dtype of hw1 that it is compared with → heading of the column.
SIDES = {(library.NAME, "float64"): library.NAME for library in libraries.ALL}
SIDES |= {("curvlinops", "float32"): "curvlinops, hw1 in float32"}


def compare(path: Path) -> list[dict]:
    """Returns a row for each number: net, quantity, library, dtype of hw1, both values, difference, what is allowed.

    Args:
        path: of the .npz that `export` wrote.
    """
    torch.set_num_threads(1)  # on busy cores PyTorch is many times slower with a second thread
    torch.set_default_dtype(torch.float64)  # PyHessian makes its vectors in the default dtype
    arrays, rows = dict(np.load(path)), []
    for name in (name for name in rebuilt.LAYERS if f"{name}/vectors" in arrays):
        found = part(arrays, name)
        net, x, y = rebuilt.load(name, found, torch.float64)
        theirs = {library.NAME: _measured(library(net, x, y), net, found) for library in libraries.ALL}
        for library, dtype in SIDES:
            about = {"net": name, "library": library, "dtype": dtype}
            rows += [about | row for row in _rows(part(found, dtype), theirs[library])]
    return rows + [row for n in sizes(arrays) for row in _timed(part(arrays, "timed"), n)]


def _timed(arrays, n):
    """Compares loss and product of the net of the timings on its first n images."""
    name, truth = str(arrays["net"]), part(arrays, str(n))
    net, x, y = rebuilt.load(name, arrays | {"x": arrays["x"][:n], "y": arrays["y"][:n]}, torch.float64)
    for each in libraries.ALL:
        about = {"net": f"{name}, {n} images", "library": each.NAME, "dtype": "float64"}
        library = each(net, x, y)
        loss = library.loss().item()
        yield about | _row("loss", truth["loss"], loss, abs(loss / truth["loss"] - 1))
        found = _product(library, net, arrays["vector"])
        norm, other = np.linalg.norm(truth["product"]), np.linalg.norm(found)
        yield about | _row("product", norm, other, np.linalg.norm(found - truth["product"]) / other)


def _product(library, net, vector):
    """Hv of a vector in the order of Keras, in that order."""
    ready = library.convert(rebuilt.to_torch(vector, net).numpy(), "float64")
    return rebuilt.to_keras(torch.tensor(np.asarray(library.product(ready))), net)


def _measured(library, net, arrays):
    """Products, eigenvalues and trace with its standard error by a library, as `export` writes them for hw1."""
    if arrays["float64/trace"][1]:
        trace = library.trace(PRODUCTS)
    else:
        units = [library.convert(unit, "float64") for unit in np.eye(library.size)]
        trace = float(sum(library.product(unit) @ unit for unit in units)), 0.0
    return {
        "products": np.stack([_product(library, net, vector) for vector in arrays["vectors"]]),
        "eigenvalues": library.eigenvalues(5, library.SETTINGS[-1]),
        "trace": trace,
    }


def _rows(ours, theirs):
    """Compares the results of hw1 in one dtype with those of a library."""
    norms = np.linalg.norm(ours["products"], axis=1), np.linalg.norm(theirs["products"], axis=1)
    apart = np.linalg.norm(ours["products"] - theirs["products"], axis=1) / norms[1]
    yield _row("product", norms[0][0], norms[1][0], max(apart))
    values, others = ours["eigenvalues"], theirs["eigenvalues"]
    apart = abs(values / others - 1)
    yield _row("λ₁", values[0], others[0], apart[0])
    yield _row("λ₁ … λ₅", values[-1], others[-1], max(apart))
    (value, error), (other, other_error) = ours["trace"], theirs["trace"]
    allowed = 4 * np.hypot(error, other_error or error) / abs(other) if error else ALLOWED
    yield _row("trace, estimated" if error else "trace", value, other, abs(value / other - 1), allowed)


def _row(quantity, ours, theirs, difference, allowed=ALLOWED):
    numbers = {"ours": ours, "theirs": theirs, "difference": difference, "allowed": allowed}
    return {"quantity": quantity} | {key: float(number) for key, number in numbers.items()}


def agrees(row: dict) -> bool:
    """Whether the difference is allowed; one that is not a number is not."""
    return row["difference"] <= row["allowed"]


def table(rows: list[dict]) -> str:
    """Formats the differences as aligned text: a line for each quantity of a net, a column for each library."""
    lines = {}
    for row in rows:
        line = lines.setdefault((row["net"], row["quantity"]), [f"{row['ours']:.8g}"])
        limit = "" if row["allowed"] == ALLOWED else f" (allowed {row['allowed']:.0e})"
        line.append(f"{row['difference']:.0e}{limit}{'' if agrees(row) else ' DISAGREES'}")
    cells = [("net", "quantity", "hw1", *SIDES.values()), *((*about, *line) for about, line in lines.items())]
    cells = [(*cell, *[""] * (len(cells[0]) - len(cell))) for cell in cells]  # some are not compared in float32
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--nets", type=Path, default=Path("runs/peers_dense.npz"), help="what export wrote [runs/peers_dense.npz]"
    )
    path = parser.parse_args().nets
    warnings.filterwarnings("ignore", "Using backward\\(\\) with create_graph=True")  # PyHessian's
    rows = compare(path)
    environments = {"ours": json.loads(str(np.load(path)["environment"])), "theirs": libraries.describe()}
    written = path.with_name(f"benchmark_{path.stem}_agreement.json")
    written.write_text(json.dumps({"environments": environments, "rows": rows}, indent=2) + "\n")
    wrong = sum(not agrees(row) for row in rows)
    print(f"{table(rows)}\n\n{len(rows) - wrong} of {len(rows)} numbers agree. All values: {written}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
