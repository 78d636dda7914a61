"""Units of work on a Dask cluster: what `hw1 reproduce --cluster` adds to the processes of one machine.

Units are independent and deterministic, so a cluster computes them in any order and any number of times. Rows are
written on the side that holds the record, in the order of the CSV, so the bytes are those of one machine. A worker that
dies loses its unit only, which Dask gives to another. Data travel by name and SHA-256, not by value.

A unit takes a worker alone, whatever its number of threads: TensorFlow's random state belongs to the process.
"""

import asyncio
import contextlib
import logging
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import distributed
from distributed.comm import connect, get_address_host_port
from tqdm import tqdm

from hw1 import catalogue, command, question, workers
from hw1.findings import drawing

WAIT = 30  # seconds for the scheduler and the first worker
_alone = threading.Lock()


def answer(
    address: str, questions: dict[str, tuple[ModuleType, object]], out: str | Path
) -> Iterator[tuple[str, float, Exception | None]]:
    """Answers questions, their units on the workers of a cluster, and draws their figures here.

    Args:
        address: for `distributed.Client`, such as tcp://scheduler:8786; or local:4 for so many processes here.
        questions: name → experiment and settings.
        out: folder of the results, locked.

    Yields:
        Of each question, as soon as it is done or has failed: its name, the seconds of computation of its units, and
        what went wrong.

    Raises:
        OSError: there is no such scheduler, it has no worker, or it vanished; what was written is kept.
        ValueError: a worker has another version of Python, of a library or of this package, or lacks the data. One that
            joins later is passed over instead.
    """
    with _client(address) as client:
        asked, futures = {}, {}
        for name, (module, settings) in questions.items():
            try:
                asked[name] = _Question(name, module, settings, out)
            except Exception as error:
                yield name, 0.0, error
        crew = workers.Crew(client, (one.needs for one in asked.values()))
        begun = crew.begin()
        for number, one in enumerate(list(asked.values())):
            try:
                one.open(begun)
            except Exception as error:
                del asked[one.name]
                yield one.name, 0.0, error
                continue
            futures |= one.submit(client, {crew.resource: 1}, priority=-number)
        for one in [one for one in asked.values() if not one.record.missing]:
            yield asked.pop(one.name).finish()
        with tqdm(desc="units", total=len(futures), unit="unit", disable=None) as bar:
            for name, unit, result in _results(client, address, futures, crew.watch):
                bar.update()
                if done := asked[name].take(unit, result, quiet=not bar.disable):
                    del asked[name]
                    others = [future for future, (other, _) in futures.items() if other == name]
                    for future in others:
                        del futures[future]
                    client.cancel(others)
                    yield done


class _Question:
    """A question whose units are being computed: its record and how far it is."""

    def __init__(self, name, module, settings, out):
        """Raises what `hw1.question.prepare` raises."""
        self.name, self.module, self.out, self.seconds = name, module, out, 0.0
        self.settings, (_, self.about) = question.prepare(module, settings)
        self.needs = self.settings, (self.about or {}).get("sha256")  # what a worker must be able to load

    def open(self, begun):
        """Opens the record; raises what `hw1.records.Record` raises."""
        self.workers, made_by = begun, workers.here() | {"device": _device(begun)}
        self.record = question.open_record(self.module, self.settings, self.out, self.name, self.about, made_by)
        left, total = len(self.record.missing), len(self.record.units)
        command.say_units(self.name, total, total - left, self.out)

    def submit(self, client, resources, priority):
        """Sends the missing units to the cluster: future → name and unit."""
        options = {"pure": False, "priority": priority, "resources": resources}
        return {
            client.submit(compute, self.name, *self.needs, unit, **options): (self.name, unit)
            for unit in self.record.missing
        }

    def take(self, unit, result, quiet):
        """Writes the rows of a unit; gives what `answer` yields when the question is done or has failed."""
        if isinstance(result, Exception):
            return self.name, self.seconds, result
        rows, seconds, worker = result
        self.workers |= worker  # which may have joined after the others
        try:
            self.record.add(unit, rows, seconds, _device(self.workers))
        except Exception as error:
            return self.name, self.seconds, error
        self.seconds += seconds
        left, total = len(self.record.missing), len(self.record.units)
        if not quiet:
            command.say(f"{self.name}: {total - left}/{total} {command.spelled(unit)} ({seconds:.1f} s)")
        return None if left else self.finish()

    def finish(self):
        """Draws the figure."""
        try:
            drawing.draw(self.name, self.out)
        except Exception as error:
            return self.name, self.seconds, error
        return self.name, self.seconds, None


def compute(name: str, settings, sha256: str | None, unit: dict) -> tuple[list[dict], float, dict[str, str]]:
    """On a worker: the rows of a unit, the seconds that it took, and the worker's address with its processor.

    Args:
        name: of the question.
        settings: as `hw1.question.prepare` gives them.
        sha256: of the data; None without data.
        unit: of `hw1.question.units`.

    Raises:
        ValueError: this worker has other data.
    """
    module, address = catalogue.experiment(name), distributed.get_worker().address
    with _alone:
        try:
            data = workers.data(settings, sha256)
        except ValueError as error:
            raise ValueError(f"worker {address} {error}") from error
        return *question.compute(module, settings, data, unit), {address: workers.cpu()}


def dask_setup(worker) -> None:
    """In a worker on this machine: leaves Ctrl-C to the process that began it; Dask calls this by its name."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _device(workers: dict[str, str]) -> dict:
    """Workers as a record describes them: each takes a core."""
    return {"cpu": ", ".join(sorted(set(workers.values()))), "cores": len(workers), "workers": len(workers)}


def check_address(address: str) -> None:
    """Raises ValueError unless an address is of the form of those that `answer` takes."""
    if address.startswith("local:"):
        if not re.fullmatch("local:[1-9][0-9]{0,3}", address):
            raise ValueError(f"--cluster={address}: give the number of processes, such as local:4")
        return
    try:
        host, port = get_address_host_port(address)
        if not (host and 0 < port < 2**16 and address.isascii()):
            raise ValueError("no host, or no port")
    except ValueError as error:
        reason = f"must be that of a scheduler, such as tcp://host:8786, or local:4 ({error})"
        raise ValueError(f"--cluster={address}: {reason}") from error


@contextlib.contextmanager
def _client(address: str):
    """A client of the cluster, which has a worker; OSError if that cannot be had."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is said by the errors raised here
    check_address(address)
    local = address.removeprefix("local:") if address.startswith("local:") else None
    with contextlib.ExitStack() as stack:
        try:
            if local is None:
                stack.enter_context(ThreadPoolExecutor(1)).submit(asyncio.run, _greet(address)).result()
                client = distributed.Client(address, timeout=WAIT)
            else:
                cluster = distributed.LocalCluster(
                    n_workers=int(local),
                    threads_per_worker=1,
                    dashboard_address=None,
                    silence_logs=50,
                    preload=[__name__],  # whose dask_setup is called
                )
                client = distributed.Client(stack.enter_context(cluster), timeout=WAIT)
            stack.enter_context(client)
            if not client.scheduler_info(n_workers=-1)["workers"]:
                command.say(
                    f"no worker yet: one may join within {WAIT} seconds, with dask worker {address} --nthreads=1"
                )
            client.wait_for_workers(1, timeout=WAIT)
        except Exception as error:  # Dask's own and those of its transports
            reason = " ".join(str(error).split()) or "what listens there is no scheduler"
            raise OSError(
                f"--cluster={address}: no scheduler with a worker answered within {WAIT} s ({reason}); start them with "
                "dask scheduler and dask worker, or give local:4"
            ) from error
        yield client


async def _greet(address: str) -> None:
    """Exchanges a first message with a scheduler; raises where `Client` waits for ever, if another program listens."""
    arguments = distributed.Security().get_connection_args("client")
    comm = await asyncio.wait_for(connect(address, timeout=WAIT, **arguments), WAIT)
    await comm.close()


def _results(client, address, futures, watch: Callable[[], None] = lambda: None) -> Iterator[tuple[str, dict, object]]:
    """Yields name, unit, and the result or what went wrong, as units are done; OSError if the scheduler vanished.

    A future leaves `futures` as its result is taken, and the cluster then forgets it: the results of a worker that dies
    would otherwise be computed anew. Futures that the caller takes out of `futures` are passed over. `watch` is called
    several times a second.
    """
    done = distributed.as_completed(futures, raise_errors=False)
    while not done.is_empty():
        watch()
        if not done.has_ready():
            time.sleep(0.05)
            continue
        future = next(done)
        if future not in futures:
            continue
        name, unit = futures.pop(future)
        if future.cancelled():
            raise _vanished(address)
        try:
            result = future.result()
        except distributed.CancelledError as error:
            raise _vanished(address) from error
        except distributed.KilledWorker as error:
            count = error.allowed_failures + 1
            result = OSError(
                f"{count} workers died one after the other at {command.spelled(unit)}, perhaps for lack of memory"
            )
        except Exception as error:
            if not workers.is_connected(client):
                raise _vanished(address) from error
            result = error
        del future
        yield name, unit, result


def _vanished(address) -> OSError:
    return OSError(
        f"the scheduler at {address} is gone or was restarted; what was written is kept, and the same command goes on"
    )
