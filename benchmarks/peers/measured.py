"""What is timed of every library, behind one interface; NumPy only, so that both environments have it.

- gradient: of the mean loss.
- product: Hv of one vector.
- λ₁ to 1e-3 and 1e-5, λ₁ … λ₅ to 1e-3: by the cheapest setting of a library whose relative error is no larger, on this
  net and from its one starting vector. For several eigenvalues that is the largest error of the five. The truth is
  hw1's in float64, which ARPACK has confirmed. A library that needs more than `Budget.limit` products is left out.
- trace at equal error: the same number of products for each library, by its best estimator. The table's seconds and
  products are those of one estimate times (e / e₁)², with the root-mean-square errors e of the library and e₁ of hw1,
  from the exact trace, over `Budget.seeds` seeds: the error of independent samples falls as the root of their number.
  That of XTrace and Hutch++ falls faster, so a library that uses them and errs more than hw1 would need less than the
  table says. With 20 seeds e is known to 16 %, and its square to 32 %; with the six of ResNet-20 to 30 and 60 %. On
  more images the errors are not measured again: the spectrum hardly changes.
- density: stochastic Lanczos, the same numbers of steps and runs for each library.

All but the gradient and the product start from the net and the images.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from benchmarks.peers.worker import Case


class Budget(NamedTuple):
    """What a net can afford.

    Attributes:
        probes: products of an estimated trace; a multiple of 6.
        seeds: of the estimates from which the error of a trace is computed.
        steps: Lanczos steps of a run of the density.
        runs: of the density.
        limit: products in a search for eigenvalues.
    """

    probes: int = 30
    seeds: int = 20
    steps: int = 20
    runs: int = 2
    limit: int = 10_000


BUDGETS = {
    "dense": Budget(),
    "mlp": Budget(probes=12, runs=1, limit=300),
    "resnet": Budget(probes=12, seeds=6, runs=1, limit=120),
}


class LimitError(Exception):
    """A library has reached the limit."""


class Library:
    """The Hessian of a net by a library.

    Subclasses are made from a net, images and labels, which form one batch, and have the methods ``gradient()``;
    ``product(vector)``; ``eigenvalues(k, setting)``, the k largest in magnitude, descending; ``trace(products, seed)``,
    an estimate with its standard error, 0 if the library gives none; and ``density(steps, runs)``.

    Attributes:
        NAME: of the library.
        SETTINGS: of ``eigenvalues``, from cheap to precise.
        ESTIMATOR: of the trace.
        products: number of Hessian-vector products so far.
        limit: number at which ``count`` stops.
    """

    NAME: str
    SETTINGS: tuple
    ESTIMATOR: str
    products: int = 0
    limit: float = float("inf")

    def count(self, products: int = 1) -> None:
        """Counts products before they are computed.

        Raises:
            LimitError: with them there would be more than `limit`.
        """
        self.products += products
        if self.products > self.limit:
            raise LimitError


def part(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The arrays below a name, which is taken off their keys."""
    return {key.removeprefix(f"{name}/"): array for key, array in arrays.items() if key.startswith(f"{name}/")}


def sizes(arrays: dict[str, np.ndarray]) -> list[int]:
    """The numbers of images on which an exported net is timed, ascending."""
    return sorted(int(key.split("/")[1]) for key in arrays if key.startswith("timed/") and key.endswith("/trace"))


def cases(
    make: Callable[[], Library], convert: Callable, right: dict[str, np.ndarray], budget: Budget, error: float = 0.0
) -> dict[str, Case]:
    """The cases of a library, by quantity.

    Args:
        make: makes an instance of the library on the net and the images.
        convert: from a vector in float32 to what ``product`` takes.
        right: the true "eigenvalues" λ₁ … λ₅ and "trace".
        budget: of the net.
        error: of the trace; 0 to measure it.
    """
    prepared = make()
    vector = convert(np.random.default_rng(0).standard_normal(prepared.size).astype(np.float32))
    calls = 20 if prepared.size < 100_000 else 1
    found = {"gradient": Case(prepared.gradient, calls)}
    found["product"] = Case(lambda: prepared.product(vector), calls, products=1)
    settings = prepared.SETTINGS
    for k, target in ((1, 1e-3), (1, 1e-5), (5, 1e-3)):
        name = f"{'λ₁' if k == 1 else 'λ₁ … λ₅'} to {target:g}"
        found[name], left = _cheapest(make, settings, k, right["eigenvalues"], target, budget.limit)
        settings = left if target == 1e-3 else settings  # five eigenvalues need no coarser one than the first
    if not error:
        errors = [prepared.trace(budget.probes, seed)[0] / right["trace"] - 1 for seed in range(budget.seeds)]
        error = float(np.sqrt(np.mean(np.square(errors))))
    note = f"{prepared.ESTIMATOR}, error {error:.1%} with {budget.probes} products"
    found["trace"] = Case(lambda: make().trace(budget.probes, 0), 1, note, budget.probes, error)
    if hasattr(prepared, "density"):
        products = budget.steps * budget.runs
        found["density"] = Case(lambda: make().density(budget.steps, budget.runs), products=products)
    return found


def _cheapest(make, settings, k, truth, target, limit):
    """The case of the first setting that is precise enough, with the settings from it on; without `run` if none is."""
    wanted = np.sort(sorted(truth, key=abs)[-k:])
    for number, setting in enumerate(settings):
        library = make()
        library.limit = limit
        try:
            values = library.eigenvalues(k, setting)
        except LimitError:
            return Case(None, 0, f"more than {limit} products"), settings
        error = np.max(np.abs(np.sort(values) / wanted - 1))
        if error <= target:
            note = f"setting {setting:g}, error {error:.0e}"
            run = lambda setting=setting: make().eigenvalues(k, setting)  # noqa: E731
            return Case(run, 1, note, library.products), settings[number:]
    return Case(None, 0, f"error {error:.0e} with the last setting {setting:g}"), settings
