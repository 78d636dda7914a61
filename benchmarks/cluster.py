"""What does a unit of work cost on a cluster, and how long do all questions take on many workers?

    python -m benchmarks.cluster

- Units that do nothing, and units that sleep for 0.1 s, by one process without a cluster and by a Dask cluster of one
  and of two processes of this machine: milliseconds of a unit beyond its sleep, from the start of the run to its end,
  so with the checks of the workers and with the record that is written after each unit. Ratios are to no cluster.
- A simulation: tasks that sleep as long as the units of all questions take, divided by a constant, the long ones first,
  on a Dask cluster of 8, 64 and 512 threads. Once with the units as they are, and once divided by seed (`--by_seed`)
  where a question allows it. Beside each time, what bounds it from below: the longest unit, and all units divided by
  the workers.

The lengths of units at size report are those of the committed records; where a record does not have them, the time of
its question in equal parts. At size paper they are estimated from those, see `estimate`: coarsely, and rather too long,
because nets that come to their target loss stop before the largest number of steps.
"""

import contextlib
import dataclasses
import importlib
import itertools
import tempfile
import time
from collections.abc import Iterator
from unittest import mock

import distributed

from benchmarks import timing
from hw1 import catalogue, cluster, question, records

OPTIONS = {"repetitions": (3, "repetitions of each timing"), "units": (100, "units of each timing")}
WORKERS = (8, 64, 512)
SIMULATED = 60.0  # seconds that all units last on the fewest workers
STEP, FLOPS = 1e-4, 1e10  # seconds of a step of a tiny net; operations a second of one core

# The question whose units sleep.


@dataclasses.dataclass(frozen=True)
class Settings(question.Repeated):
    """How many units, and how long each sleeps."""

    count: int = question.option(100, "units")
    seconds: float = question.option(0.0, "sleep of each", minimum=0)


SIZES = {"report": {}}
COLUMNS = {"rows": ["unit", "seed"]}


def units(settings: Settings) -> list[dict]:
    """The units."""
    return [{"unit": number} for number in range(settings.count)]


def run(settings: Settings, data, unit: int) -> Iterator[dict]:
    """Sleeps."""
    time.sleep(settings.seconds)
    yield {"seed": 0}


def _asleep():
    """Makes every question, in this process or in a worker, the one that sleeps."""
    catalogue.experiment = lambda name: importlib.import_module("benchmarks.cluster")


def measure(repetitions: int, units: int) -> list[dict]:
    """Returns the rows of the table."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(catalogue, "experiment"))
        stack.enter_context(mock.patch("hw1.findings.drawing.draw"))
        _asleep()
        clusters = {}
        for count in (1, 2):
            options = {"n_workers": count, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
            clusters[count] = stack.enter_context(distributed.LocalCluster(**options))
            with distributed.Client(clusters[count]) as client:
                client.wait_for_workers(count)
                client.run(_asleep)
        rows = []
        for sleep in (0.0, 0.1):
            rows += _overhead(clusters, sleep, units, repetitions)
    return rows + _simulated()


def _overhead(clusters, sleep, count, repetitions):
    """Milliseconds of a unit beyond its sleep, and units a second."""
    module = importlib.import_module("benchmarks.cluster")
    settings = module.Settings(count=count, seconds=sleep)

    def alone():
        with tempfile.TemporaryDirectory() as out:
            question.run_units(module, settings, out)

    def on(address):
        with tempfile.TemporaryDirectory() as out:
            for _, _, error in cluster.answer(address, {"cluster": (module, settings)}, out):
                if error:
                    raise error

    cases = {"no cluster": alone} | {
        f"{workers} worker{'s' * (workers > 1)}": lambda address=each.scheduler_address: on(address)
        for workers, each in clusters.items()
    }
    seconds = timing.side_by_side(cases, repetitions)
    rows = []
    for (name, values), workers in zip(seconds.items(), (None, *clusters), strict=True):
        beyond = [1e3 * (value / count - sleep / (workers or 1)) for value in values]
        rate = count / sorted(values)[len(values) // 2]
        what = f"{name}, {count} units that sleep {sleep:g} s ({rate:.1f} units a second)"
        ratio = timing.ratio(values, seconds["no cluster"])
        rows.append(timing.row(what, beyond, "ms a unit", ratio, "< 50 ms" if workers else ""))
    return rows


def _simulated():
    """The time of all questions on many workers."""
    rows = []
    for size in ("report", "paper"):
        for by_seed in (False, True):
            lengths = sorted(_lengths(size, by_seed), reverse=True)
            factor = sum(lengths) / WORKERS[0] / SIMULATED
            for workers in WORKERS:
                hours = _sleep([length / factor for length in lengths], workers) * factor / 3600
                least, longest = sum(lengths) / workers / 3600, lengths[0] / 3600
                what = (
                    f"all questions at size {size}{', by seed' * by_seed}, {workers} workers: {len(lengths)} units "
                    f"(all / workers {least:.3g} h, longest unit {longest:.3g} h)"
                )
                rows.append(timing.row(what, [hours], "h", hours / max(least, longest)))
    return rows


def _sleep(lengths, workers) -> float:
    """Seconds that a scheduler with so many threads takes for tasks that sleep, the first ones first."""
    options = {"n_workers": 1, "processes": False, "dashboard_address": None, "silence_logs": 50}
    with (
        distributed.LocalCluster(threads_per_worker=workers, **options) as threads,
        distributed.Client(threads) as client,
    ):
        client.submit(time.sleep, 0, pure=False).result()
        start = time.perf_counter()
        tasks = [
            client.submit(time.sleep, length, pure=False, priority=-number) for number, length in enumerate(lengths)
        ]
        distributed.wait(tasks)
        return time.perf_counter() - start


def _lengths(size, by_seed) -> list[float]:
    """Seconds of each unit of all questions."""
    lengths = []
    for name in catalogue.names():
        module, about = catalogue.experiment(name), records.about(records.COMMITTED, name)
        report, settings = (question.make_settings(module, each) for each in ("report", size))
        measured = [each["seconds"] for each in about.get("unit_seconds", ())]
        if len(measured) < len(module.units(report)) or size != "report":
            mean = about["wall_time_seconds"] / len(module.units(report))
            measured = [mean * estimate(settings) / estimate(report)] * len(module.units(settings))
        parts = settings.seeds if by_seed and getattr(module, "BY_SEED", False) else 1
        lengths += [seconds / parts for seconds in measured for _ in range(parts)]
    return lengths


def estimate(settings) -> float:
    """Seconds of training by the largest numbers among the settings, if no net came to its target loss before.

    A step takes a constant time, and 6 operations for each parameter and example of all seeds; it is multiplied by the
    number of steps. Convolutions and what is measured after training are left out, so that only ratios mean something.
    """

    def largest(*names):
        values = next((getattr(settings, name) for name in names if hasattr(settings, name)), None)
        return max(values) if isinstance(values, tuple) else values

    train = largest("train") or 1000
    batch = min(largest("batch_size", "batch_sizes") or train, train)
    epochs = largest("epochs", "dnn_epochs")
    steps = largest("updates") or (epochs and epochs * train / batch) or largest("steps") or 1000
    inputs = (28 // getattr(settings, "pool", 1)) ** 2 if hasattr(settings, "data") else 1
    hidden = getattr(settings, "hidden", None) or ((inputs > 1 and largest("widths", "width", "widest")) or 30,)
    widths = inputs, *hidden, 10
    parameters = sum(a * b for a, b in itertools.pairwise(widths))
    return steps * (STEP + 6 * parameters * batch * settings.seeds / FLOPS)


if __name__ == "__main__":
    timing.main("cluster", __doc__, measure, OPTIONS)
