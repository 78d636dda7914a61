"""Units on a Dask cluster: the bytes of one machine, whatever happens to workers and scheduler."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from toys import ROOT

from hw1 import files, question, reproduce

distributed = pytest.importorskip("distributed")

from hw1 import cluster, workers  # noqa: E402

WORKER = ("worker", "--nthreads=1", "--no-nanny")
QUESTIONS = ("gradient_norm", "redundancy")


def begin(folder, code, kind, *options):
    """Starts a scheduler or a worker with the code of a folder."""
    arguments = ["--no-dashboard", "--host=127.0.0.1", f"--scheduler-file={folder / 'scheduler.json'}", *options]
    environment = os.environ | {"PYTHONPATH": str(code), "TF_CPP_MIN_LOG_LEVEL": "3"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments]
    return subprocess.Popen(command, env=environment, cwd=folder, **quiet)


@contextlib.contextmanager
def dask(folder, workers=1, code=ROOT):
    """A scheduler and workers in processes of their own; gives the address, and the processes, the scheduler first."""
    file, begun = folder / "scheduler.json", []
    try:
        begun.append(begin(folder, code, "scheduler", "--port=0"))
        for _ in range(workers):
            begun.append(begin(folder, code, *WORKER))
        until = time.monotonic() + 120
        while not file.exists() and time.monotonic() < until:
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        with distributed.Client(address) as client:
            client.wait_for_workers(workers, timeout=120)
        yield address, begun
    finally:
        for process in begun:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def when_there(path, call):
    """Calls, in a thread, as soon as a file exists."""

    def wait():
        while not path.exists():
            time.sleep(0.02)
        call()

    threading.Thread(target=wait, daemon=True).start()


def rows(folder):
    """The bytes of all CSVs."""
    return {path.name: path.read_bytes() for path in folder.glob("*.csv")}


def test_the_bytes_are_those_of_one_machine(at_smoke_size, tmp_path, capsys):
    """Two questions on two workers, one of which is killed in the middle: nothing is lost, and nothing twice."""
    out = tmp_path / "out"
    with dask(tmp_path, workers=2) as (address, (_, worker, _)):
        when_there(out / "gradient_norm.csv", worker.kill)
        assert reproduce.reproduce("smoke", str(out), QUESTIONS, cluster=address) == []
    assert "2 of 2 done" in capsys.readouterr().err
    assert rows(out) == rows(at_smoke_size(*QUESTIONS))
    about = json.loads((out / "gradient_norm.json").read_text())
    assert about["complete"]
    assert about["device"]["workers"] == 2


def test_a_worker_that_joins_later_is_recorded(toy, tmp_path):
    """With the first unit that it computes."""
    with files.lock(tmp_path):
        settings = question.make_settings(toy, "smoke")
        one = cluster._Question("toy", toy, settings, tmp_path)
        one.open({"tcp://a:1": "A"})
        for unit, name, count in zip(one.record.missing, ("A", "B"), (1, 2), strict=True):
            rows = list(toy.run(settings, None, **unit))
            one.take(unit, (rows, 1.5, {f"tcp://{name.lower()}:1": name}), quiet=True)
            device = json.loads((tmp_path / "toy.json").read_text())["device"]
            assert device == {"cpu": "A, B"[: 3 * count - 2], "cores": count, "workers": count}


@pytest.mark.slow
def test_a_scheduler_that_vanishes_loses_nothing_that_was_written(at_smoke_size, tmp_path, monkeypatch):
    """One line says how to go on; the same command, here without a cluster, ends with the same bytes."""
    out = tmp_path / "out"
    monkeypatch.setattr(cluster, "WAIT", 5)
    with dask(tmp_path) as (address, (scheduler, _)):
        when_there(out / "gradient_norm.csv", scheduler.kill)
        with pytest.raises(OSError, match=f"the scheduler at {address} is gone or was restarted; what was written is"):
            reproduce.reproduce("smoke", str(out), ["gradient_norm"], cluster=address)
    begun = rows(out)
    assert reproduce.reproduce("smoke", str(out), ["gradient_norm"]) == []
    assert rows(out) == rows(at_smoke_size("gradient_norm"))
    assert rows(out)["gradient_norm.csv"].startswith(begun["gradient_norm.csv"])


@pytest.mark.slow
def test_ctrl_c_ends_processes_of_this_machine_in_one_line(tmp_path):
    """A terminal sends it to all of them."""
    arguments = ["--size=smoke", "--only=gradient_norm,redundancy", f"--out={tmp_path}", "--cluster=local:2"]
    command = subprocess.Popen(
        [sys.executable, "-m", "hw1.reproduce", *arguments],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 300
    while not list(tmp_path.glob("*.csv")) and command.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(command.pid, signal.SIGINT)
    _, said = command.communicate(timeout=120)
    assert command.returncode == 130
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("interrupted: finished units are kept")


def test_results_that_were_taken_are_forgotten(tmp_path):
    """Else those of a worker that dies would be computed anew."""
    with dask(tmp_path) as (address, _), distributed.Client(address) as client:
        futures = {client.submit(abs, -n, pure=False): ("toy", {"n": n}) for n in range(3)}
        found = {unit["n"]: result for _, unit, result in cluster._results(client, address, futures)}
        assert found == {0: 0, 1: 1, 2: 2}
        until = time.monotonic() + 30
        while any(client.has_what().values()) and time.monotonic() < until:
            time.sleep(0.05)
        assert not any(client.has_what().values())


def test_units_that_another_cancels_are_no_success(tmp_path):
    """As when somebody restarts the workers, or the scheduler is back before its going was noticed."""
    with (
        dask(tmp_path) as (address, _),
        distributed.Client(address, set_as_default=False) as other,
        distributed.Client(address) as client,
    ):
        futures = {client.submit(time.sleep, n, pure=False, priority=-n): ("toy", {"n": n}) for n in (0, 60)}
        results = cluster._results(client, address, futures)
        assert next(results) == ("toy", {"n": 0}, None)
        other.restart(wait_for_workers=False)
        with pytest.raises(OSError, match=f"the scheduler at {address} is gone or was restarted"):
            list(results)


def test_a_unit_that_kills_its_workers_is_named(tmp_path, monkeypatch):
    """Dask gives it up after some; other units go on."""
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "1")
    with dask(tmp_path, workers=3) as (address, _), distributed.Client(address) as client:
        calls = {client.submit(os._exit, 1, pure=False): ("toy", {"size": 8, "seed": 0})}
        calls |= {client.submit(abs, -1, pure=False, priority=-1): ("toy", {"size": 8, "seed": 1})}
        found = {unit["seed"]: result for _, unit, result in cluster._results(client, address, calls)}
    assert found[1] == 1
    assert str(found[0]) == "2 workers died one after the other at size=8, seed=0, perhaps for lack of memory"


def test_a_worker_of_another_version_computes_no_unit(tmp_path, monkeypatch):
    """Refused by name before the first unit; if it joins later, passed over, and units wait for another one."""
    shutil.copytree(ROOT / "hw1", tmp_path / "other" / "hw1", ignore=shutil.ignore_patterns("results", "__pycache__"))
    with (tmp_path / "other" / "hw1" / "models.py").open("a") as file:
        file.write("# another version\n")
    differs, said = r"worker tcp://127.* differs: code of hw1 \w+ instead of \w+; install the same there", []
    with dask(tmp_path, code=tmp_path / "other") as (address, processes):
        with pytest.raises(ValueError, match=differs):
            reproduce.reproduce("smoke", str(tmp_path / "out"), ["trajectories"], cluster=address)
        assert not list((tmp_path / "out").glob("*.csv"))

        def say(line):
            said.append(line)
            if line.startswith("no worker"):
                processes.append(begin(tmp_path, ROOT, *WORKER))

        monkeypatch.setattr("hw1.command.say", say)
        monkeypatch.setattr(workers, "SILENT", 0)
        with distributed.Client(address) as client:
            crew = workers.Crew(client, [])
            options = {"pure": False, "resources": {crew.resource: 1}}
            futures = {client.submit(os.getpid, **options): ("toy", {"n": n}) for n in range(3)}
            found = [result for *_, result in cluster._results(client, address, futures, crew.watch)]
        assert found == [processes[-1].pid] * 3
    assert re.fullmatch(f"{differs}; it is passed over", said[0])
    assert re.fullmatch(rf"no worker that fits for \d+ seconds: .* dask worker {address} .*", said[1])
    assert len(said) == 2


def test_that_no_worker_is_left_is_said_after_seconds_without_one(monkeypatch):
    """Not at the first look without one, however long ago the last look was; once, until one has joined."""
    seen, said = {}, []
    monkeypatch.setattr("hw1.command.say", said.append)
    monkeypatch.setattr(workers, "is_connected", lambda client: True)
    client = SimpleNamespace(
        id="1", scheduler=SimpleNamespace(address="tcp://x:1"), scheduler_info=lambda n_workers: {"workers": seen}
    )
    crew = workers.Crew(client, [])
    fits = {"tcp://y:1": {"resources": {crew.resource: 1}}}
    for now, there in ((100, fits), (700, {}), (704, {}), (706, {}), (720, {}), (730, fits), (800, {}), (806, {})):
        seen.clear()
        seen.update(there)
        monkeypatch.setattr(workers, "time", SimpleNamespace(monotonic=lambda now=now: now))
        crew.watch()
    assert [line.partition(":")[0] for line in said] == ["no worker that fits for 6 seconds"] * 2


def test_a_worker_that_is_about_to_begin_is_waited_for(monkeypatch):
    """Else the scheduler would not look again for units that wait, and they would wait for ever. Not without end."""
    seen = []

    class Beginning:
        status = distributed.Status.init

        async def set_resources(self, **resources):
            seen.append((self.status, resources))

    async def begin(worker):
        worker.status = distributed.Status.running

    async def both():
        worker = Beginning()
        await asyncio.gather(workers.enlist(workers.versions(), [], "units", worker), begin(worker))
        return worker.status

    assert asyncio.run(both()) == distributed.Status.running
    assert seen == [(distributed.Status.paused, {"units": 1})]
    monkeypatch.setattr(workers, "BEGINS", 0.1)
    with pytest.raises(ValueError, match=r"has not begun after 0.1 seconds"):
        asyncio.run(workers.enlist(workers.versions(), [], "units", Beginning()))


def test_a_worker_without_the_data_says_so(tmp_path, monkeypatch):
    """Data travel by name and SHA-256."""
    from hw1 import catalogue

    settings = question.make_settings(catalogue.experiment("gradient_norm"), "smoke")
    with pytest.raises(ValueError, match="has other data as mnist10k: their SHA-256 is"):
        asyncio.run(workers.enlist(workers.versions(), [(settings, "0" * 64)], "units", None))
    monkeypatch.setattr("hw1.datasets.readers.FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"lacks the data: --data=mnist10k: .* is missing"):
        asyncio.run(workers.enlist(workers.versions(), [(settings, "1" * 64)], "units", None))


@pytest.mark.parametrize(
    "address",
    ["local:0", "local:two", "local:٣", "local:99999", "nowhere", "tcp://:8786", "tcp://here:٣", "x://here:1"],
)
def test_what_is_no_address_is_a_wrong_flag(address, tmp_path, capsys):
    """Refused before anything begins."""
    _check_one_line(address, tmp_path / "out", capsys, code=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "tls://127.0.0.1:9", "another program"])
def test_no_cluster_is_one_line(address, tmp_path, monkeypatch, capsys):
    """A scheduler that is not there, or a program that never answers."""
    monkeypatch.setattr(cluster, "WAIT", 1)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        if address == "another program":
            address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        _check_one_line(address, tmp_path, capsys)


def _check_one_line(address, tmp_path, capsys, code=1):
    with pytest.raises(SystemExit) as stopped:
        reproduce.main(
            ["reproduce", "--size=smoke", "--only=trajectories", f"--out={tmp_path}", f"--cluster={address}"]
        )
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert stopped.value.code == code
    assert len(error) == 1
    assert f"--cluster={address}" in error[0]


def test_without_a_cluster_nothing_of_dask_is_imported(tmp_path):
    """Nor needed."""
    code = (
        f"import sys; from hw1 import reproduce; reproduce.reproduce('smoke', {str(tmp_path)!r}, ['trajectories']); "
        "assert not {'dask', 'distributed'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)


def test_the_simulation_takes_what_its_units_take_at_least(monkeypatch):
    """Divided by seed there are more units, of the same sum, and the longest is no longer than before."""
    from benchmarks import cluster as benchmark

    monkeypatch.setattr(benchmark, "WORKERS", (4,))
    monkeypatch.setattr(benchmark, "SIMULATED", 0.2)
    for size in ("report", "paper"):
        whole, apart = (benchmark._lengths(size, by_seed) for by_seed in (False, True))
        assert len(apart) > 2 * len(whole)
        assert sum(apart) == pytest.approx(sum(whole))
        assert max(apart) <= max(whole)
    rows = benchmark._simulated()
    assert len(rows) == 4
    assert all(row["ratio"] >= 1 for row in rows)
