"""The workers of a Dask cluster that may compute units: those with the versions, code and data of the side that asks.

A unit needs a resource, in the sense of Dask, which only they are given. So a worker that joins later is passed over if
it differs.
"""

import asyncio
import functools
import hashlib
import time
from collections.abc import Iterable
from pathlib import Path

import distributed

from hw1 import command, environment, question

EVERY = 1  # seconds after which workers are counted again
BEGINS = 30  # seconds that a worker may take from the scheduler's first word of it until it runs
SILENT = 5  # seconds without a worker until that is said


class Crew:
    """The workers that fit, which are given units."""

    def __init__(self, client, needs: Iterable):
        """Takes settings and SHA-256 of the data of each question."""
        self.client, self.resource = client, f"hw1 {client.id}"
        self.needs = {(settings.data, sha256): (settings, sha256) for settings, sha256 in needs if sha256}
        self.passed, self.looked, self.alone, self.said = set(), 0.0, None, False  # alone: since when no worker fits

    def begin(self) -> dict[str, str]:
        """The addresses of all workers and their processors; ValueError if one does not fit."""
        found = self._enlist(self.client.scheduler_info(n_workers=-1)["workers"])
        if unfit := [text for fits, text in found.values() if not fits]:
            raise ValueError(unfit[0])
        return {address: cpu for address, (_, cpu) in found.items()}

    def watch(self) -> None:
        """Enlists workers that have joined, and says which are passed over, and when none is left."""
        now = time.monotonic()
        if now < self.looked + EVERY or not is_connected(self.client):
            return
        workers, self.looked = self.client.scheduler_info(n_workers=-1)["workers"], now
        fit = {address for address, worker in workers.items() if self.resource in worker["resources"]}
        self.passed &= set(workers)
        for address, (fits, text) in self._enlist(set(workers) - fit - self.passed).items():
            (fit if fits else self.passed).add(address)
            if not fits:
                command.say(f"{text}; it is passed over")
        if fit:
            self.alone, self.said = None, False
            return
        self.alone = self.alone or now
        if now >= self.alone + SILENT and not self.said:
            self.said = True
            command.say(
                f"no worker that fits for {now - self.alone:.0f} seconds: units wait until one joins, begun with "
                f"dask worker {self.client.scheduler.address} --nthreads=1; Ctrl-C stops, and the same command goes on"
            )

    def _enlist(self, addresses: Iterable[str]) -> dict[str, tuple[bool, str]]:
        """Address → whether the worker fits, with its processor or with why not; without those that are gone."""
        if not addresses:
            return {}
        arguments = versions(), list(self.needs.values()), self.resource
        found = self.client.run(enlist, *arguments, workers=list(addresses), on_error="return")
        return {
            address: (False, _misfit(address, said)) if isinstance(said, Exception) else (True, said)
            for address, said in found.items()
            if not isinstance(said, OSError)
        }


def _misfit(address: str, error: Exception) -> str:
    """Why a worker does not fit: what `enlist` raised there, or that it could not even be called."""
    if isinstance(error, ValueError):
        return f"worker {address} {error}"
    why = command.describe(error)
    return f"worker {address} cannot import what is needed ({why}); install the same package there"


async def enlist(code: dict, needs: list, resource: str, dask_worker) -> str:
    """On a worker: takes the resource that units need, and gives the processor.

    Args:
        code: the versions of the side that asks.
        needs: settings and SHA-256 of the data of questions.
        resource: its name.
        dask_worker: the worker, as Dask gives it.

    Raises:
        ValueError: this worker has other versions or other data, or does not begin.
    """
    if differences := _differences(code, versions()):
        raise ValueError(f"differs: {differences}; install the same there")
    for each in needs:
        await asyncio.to_thread(data, *each)
    until = time.monotonic() + BEGINS
    while dask_worker.status == distributed.Status.init:  # the scheduler may know a worker that is about to begin
        if time.monotonic() > until:
            raise ValueError(f"has not begun after {BEGINS} seconds; start it anew")
        await asyncio.sleep(0.05)
    pauses = dask_worker.status == distributed.Status.running
    if pauses:
        dask_worker.status = distributed.Status.paused
    await dask_worker.set_resources(**{resource: 1})
    if pauses:  # with this the scheduler looks again for units that wait for a worker
        dask_worker.status = distributed.Status.running
    return cpu()


@functools.lru_cache(maxsize=2)
def data(settings, sha256):
    """The data of the settings, as this worker has them."""
    try:
        found, about = question.load_data(settings)
    except (OSError, ValueError) as error:
        raise ValueError(f"lacks the data: {command.describe(error)}") from error
    if about and about["sha256"] != sha256:
        raise ValueError(f"has other data as {about['name']}: their SHA-256 is {about['sha256']}")
    return found


@functools.cache
def versions() -> dict[str, str]:
    """Versions, and a digest of this package's code."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return here()["versions"] | {"code of hw1": digest.hexdigest()[:12]}


def _differences(here: dict, there: dict) -> str:
    """What two sides have in other versions."""
    return ", ".join(
        f"{name} {there.get(name)} instead of {here.get(name)}"
        for name in here | there
        if here.get(name) != there.get(name)
    )


@functools.cache
def here() -> dict:
    """What describes this process, which starts git: once."""
    return environment.describe()


def cpu() -> str:
    """The processor of this process."""
    return here()["device"]["cpu"]


def is_connected(client) -> bool:
    """Whether the scheduler can be asked."""
    return client.status == "running" and client.scheduler_comm is not None and not client.scheduler_comm.closed()
