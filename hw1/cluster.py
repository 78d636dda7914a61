"""Units of work on a Dask cluster: what `hw1 reproduce --cluster` adds to the processes of one machine.

Units are independent and deterministic, so a cluster computes them in any order and any number of times. Rows are
written on the side that holds the record, in the order of the CSV, so the bytes are those of one machine. A worker that
dies loses its unit only, which Dask gives to another. Data travel by name and SHA-256, not by value.

A unit takes a worker alone, whatever its number of threads: TensorFlow's random state belongs to the process.
"""

import asyncio
import contextlib
import functools
import hashlib
import logging
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import distributed
from distributed.comm import connect
from tqdm import tqdm

from hw1 import catalogue, command, environment, question
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
        ValueError: a worker has another version of Python, of a library or of this package.
    """
    with _client(address) as client:
        workers = _check_workers(client)
        asked, futures = {}, {}
        for name, (module, settings) in questions.items():
            try:
                asked[name] = _Question(name, module, settings, out, workers)
            except Exception as error:
                yield name, 0.0, error
                continue
            futures |= asked[name].submit(client, priority=len(questions) - len(asked))
        for one in [one for one in asked.values() if not one.record.missing]:
            yield asked.pop(one.name).finish()
        with tqdm(desc="units", total=len(futures), unit="unit", disable=None) as bar:
            for name, unit, result in _results(client, address, futures):
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

    def __init__(self, name, module, settings, out, workers):
        """Opens the record; raises what `hw1.question.prepare` and `hw1.records.Record` raise."""
        self.name, self.out, self.seconds, self.workers = name, out, 0.0, workers
        made_by = _here() | {"device": _device(workers)}
        self.settings, (_, self.about) = question.prepare(module, settings)
        self.record = question.open_record(module, self.settings, out, name, self.about, made_by)
        left, total = len(self.record.missing), len(self.record.units)
        command.say(f"{name}: {total} units, {total - left} of them done, to {Path(out, name)}.csv")

    def submit(self, client, priority):
        """Sends the missing units to the cluster: future → name and unit."""
        sha256 = (self.about or {}).get("sha256")
        return {
            client.submit(compute, self.name, self.settings, sha256, unit, _code(), pure=False, priority=priority): (
                self.name,
                unit,
            )
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


def compute(
    name: str, settings, sha256: str | None, unit: dict, code: dict
) -> tuple[list[dict], float, dict[str, str]]:
    """On a worker: the rows of a unit, the seconds that it took, and the worker's address with its processor.

    Args:
        name: of the question.
        settings: as `hw1.question.prepare` gives them.
        sha256: of the data; None without data.
        unit: of `hw1.question.units`.
        code: the versions of the side that asks.

    Raises:
        ValueError: this worker has other versions or other data.
    """
    if differences := _differences(code, _code()):
        raise ValueError(f"worker {_address()} differs: {differences}; install the same there")
    with _alone:
        module = catalogue.experiment(name)
        return *question.compute(module, settings, _data(settings, sha256), unit), {_address(): _cpu()}


@functools.lru_cache(maxsize=2)
def _data(settings, sha256):
    """The data of the settings, as this worker has them."""
    try:
        data, about = question.load_data(settings)
    except (OSError, ValueError) as error:
        raise ValueError(f"worker {_address()} lacks the data: {command.describe(error)}") from error
    if about and about["sha256"] != sha256:
        raise ValueError(f"worker {_address()} has other data as {about['name']}: their SHA-256 is {about['sha256']}")
    return data


def _address() -> str:
    return distributed.get_worker().address


@functools.cache
def _code() -> dict[str, str]:
    """Versions, and a digest of this package's code."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return _here()["versions"] | {"code of hw1": digest.hexdigest()[:12]}


def _differences(here: dict, there: dict) -> str:
    """What two sides have in other versions."""
    return ", ".join(
        f"{name} {there.get(name)} instead of {here.get(name)}"
        for name in here | there
        if here.get(name) != there.get(name)
    )


@functools.cache
def _here() -> dict:
    """What describes this process, which starts git: once."""
    return environment.describe()


def _cpu() -> str:
    return _here()["device"]["cpu"]


def _worker() -> tuple[dict, str]:
    """On a worker: its versions and its processor."""
    return _code(), _cpu()


def dask_setup(worker) -> None:
    """In a worker on this machine: leaves Ctrl-C to the process that began it; Dask calls this by its name."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _check_workers(client) -> dict[str, str]:
    """The addresses of the workers and their processors; ValueError if a worker has other versions."""
    try:
        found = client.run(_worker)
    except ImportError as error:
        raise ValueError(f"a worker cannot import what is needed ({error}); install the same package there") from error
    for address, (code, _) in found.items():
        if differences := _differences(_code(), code):
            raise ValueError(f"worker {address} differs: {differences}; install the same there")
    return {address: cpu for address, (_, cpu) in found.items()}


def _device(workers: dict[str, str]) -> dict:
    """Workers as a record describes them: each takes a core."""
    return {"cpu": ", ".join(sorted(set(workers.values()))), "cores": len(workers), "workers": len(workers)}


@contextlib.contextmanager
def _client(address: str):
    """A client of the cluster, which has a worker; OSError if that cannot be had."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is said by the errors raised here
    local = address.removeprefix("local:") if address.startswith("local:") else None
    if local is not None and not (local.isdecimal() and int(local) > 0):
        raise ValueError(f"--cluster={address}: give the number of processes, such as local:4")
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


def _results(client, address, futures) -> Iterator[tuple[str, dict, object]]:
    """Yields name, unit, and the result or what went wrong, as units are done; OSError if the scheduler vanished.

    A future leaves `futures` as its result is taken, and the cluster then forgets it: the results of a worker that dies
    would otherwise be computed anew. Futures that the caller takes out of `futures` are passed over.
    """
    for future in distributed.as_completed(futures, raise_errors=False):
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
            if not _is_connected(client):
                raise _vanished(address) from error
            result = error
        del future
        yield name, unit, result


def _is_connected(client) -> bool:
    return client.status == "running" and client.scheduler_comm is not None and not client.scheduler_comm.closed()


def _vanished(address) -> OSError:
    return OSError(
        f"the scheduler at {address} is gone or was restarted; what was written is kept, and the same command goes on"
    )
