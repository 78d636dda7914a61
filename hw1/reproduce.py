"""Reproduces the results: every question, two at a time.

    python -m hw1.reproduce                      # the course's questions at size report, to runs/
    python -m hw1.reproduce --part=papers        # the papers' questions
    python -m hw1.reproduce --first_seed=100     # the same experiments with fresh seeds
    python -m hw1.reproduce --size=smoke --out=/tmp/smoke --only=random_labels,spectrum
    python -m hw1.reproduce --size=paper --cluster=tcp://host:8786        # units on the workers of a Dask cluster

Small nets keep one core busy, so two questions share two cores, the long ones first (--jobs=1 runs one after the
other, in the order of the course).
Each question runs with its own default settings for the size; its own command, named in its module, changes
them. Finished units are kept, so the same command goes on after an interruption. A question that fails is
reported and the others still run.
"""

import contextlib
import functools
import io
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from traceback import print_exc, print_exception

from absl import flags
from tqdm import tqdm

from hw1 import catalogue, command, files, question, records

SIZES = ("smoke", "report", "paper")

_watchers: list[Callable[[str, int, int], None]] = []  # one in a process whose parent draws the bars


def reproduce(
    size: str,
    out: str,
    only: Iterable[str] = (),
    traceback: bool = False,
    jobs: int = 1,
    overrides: dict[str, object] | None = None,
    cluster: str | None = None,
) -> list[str]:
    """Answers the questions and returns the names of those that failed.

    Args:
        size: one of `SIZES`.
        out: folder of the results; made if needed.
        only: names of the questions to answer. Empty: all of them.
        traceback: show where each failure arose.
        jobs: questions that run at once, each in a process of its own; 1 for this process. Not used on a cluster.
        overrides: setting → value, for the questions that have it and allow the value.
        cluster: address of a Dask scheduler whose workers compute the units; "local:4" for so many processes here.
            None: this machine, without Dask.

    Raises:
        OSError: `out` is in use by another run or cannot be written; there is no such cluster, or it vanished.
        ValueError: the cluster has other versions.
    """
    names = [name for name in catalogue.names() if not only or name in only]
    expected, of_unit = _expected(names)
    if jobs > 1 or cluster:  # the long ones first; on a cluster those of long units, which set the end
        names = sorted(names, key=lambda name: (of_unit if cluster else expected).get(name, 0), reverse=True)
    answer = functools.partial(_answer, size, out, traceback, overrides or {})
    on_cluster = functools.partial(_on_cluster, cluster, size, out, traceback, overrides or {})
    failed = []
    with files.lock(out):
        command.say(f"{len(names)} questions at size {size}, results to {out}: {', '.join(names)}")
        if expected and size == "report" and not cluster:
            minutes = max(sum(expected.values()) / jobs, *expected.values()) / 60
            command.say(f"about {minutes:.0f} minutes on two cores like those of the committed results; Ctrl-C stops")
        can_fork = "fork" in multiprocessing.get_all_start_methods()  # not on Windows
        answers = functools.partial(_at_once, jobs) if jobs > 1 and len(names) > 1 and can_fork else map
        done = on_cluster(names) if cluster else answers(answer, names)
        for number, (name, seconds, error) in enumerate(done, 1):
            failed += [name] * (error is not None)
            command.say(f"[{number}/{len(names)}] {name}: {seconds:.1f} s, {error or 'done'}")
    command.say(f"{len(names) - len(failed)} of {len(names)} done: rows in {out}, figures in {out}/figures")
    return failed


def _expected(names: list[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Name → seconds that the committed run of the question took, and those of a unit; nothing if one is not known."""
    try:
        runs = {name: records.about(records.COMMITTED, name) for name in names}
    except (OSError, ValueError):
        return {}, {}
    whole = {name: run["wall_time_seconds"] for name, run in runs.items()}
    return whole, {name: seconds / runs[name]["units_total"] for name, seconds in whole.items()}


def _answer(size: str, out: str, traceback: bool, overrides: dict, name: str) -> tuple[str, float, str | None]:
    """Answers one question: its name, the seconds it took, and what went wrong, if anything."""
    start, wrong = time.perf_counter(), None
    try:
        module = catalogue.experiment(name)
        command.answer(
            module, question.make_settings(module, size, **_allowed(module, overrides)), out, name, *_watchers
        )
    except Exception as error:
        if traceback:
            print_exc()
        wrong = f"error: {command.describe(error)}"
    return name, time.perf_counter() - start, wrong


def _dask(address: str):
    """The module `hw1.cluster`; ValueError without Dask."""
    try:
        from hw1 import cluster
    except ModuleNotFoundError as error:
        raise ValueError(f"--cluster={address} needs Dask ({error}): pip install '.[cluster]'") from error
    return cluster


def _on_cluster(
    address: str, size: str, out: str, traceback: bool, overrides: dict, names: list[str]
) -> Iterator[tuple[str, float, str | None]]:
    """Answers questions on a cluster: what `_answer` gives of each, as it is done."""
    questions = {}
    for name in names:
        module = catalogue.experiment(name)
        questions[name] = module, question.make_settings(module, size, **_allowed(module, overrides))
    for name, seconds, error in _dask(address).answer(address, questions, out):
        if error is not None and traceback:
            print_exception(error)
        yield name, seconds, None if error is None else f"error: {command.describe(error)}"


def _allowed(module, overrides: dict[str, object]) -> dict[str, object]:
    """The overrides that a question has as settings and whose values it allows; trajectories, say, has one split."""
    choices = {field.name: field.metadata.get("choices") for field, *_ in question.fields(module.Settings)}
    if not getattr(module, "BY_SEED", False):
        choices.pop("by_seed", None)
    return {
        name: value
        for name, value in overrides.items()
        if name in choices and (choices[name] is None or value in choices[name])
    }


def _at_once(jobs: int, function: Callable, arguments: list) -> Iterator:
    """As `map`, in so many processes, yielding what is done first. They are forked and so inherit the lock."""
    context = multiprocessing.get_context("fork")  # before TensorFlow, which would not survive it, is imported
    news = context.SimpleQueue() if sys.stderr.isatty() else None
    with ProcessPoolExecutor(min(jobs, len(arguments)), context, _work_beside_others, (os.getpid(), news)) as pool:
        futures = [pool.submit(function, argument) for argument in arguments]
        try:
            with _bars(news):
                for future in as_completed(futures):
                    yield future.result()
        except BaseException as error:
            for child in multiprocessing.active_children():
                child.kill()
            if isinstance(error, BrokenProcessPool):
                raise OSError("a process was killed, perhaps for lack of memory; go on with --jobs=1") from error
            raise


@contextlib.contextmanager
def _bars(news) -> Iterator[None]:
    """Draws a bar for each question that is being answered, from what the processes put into `news`, if anything."""
    if news is None:
        yield
        return

    def draw():
        bars = {}
        for name, done, total in iter(news.get, None):
            bar = bars.get(name) or tqdm(desc=name, total=total, initial=done, unit="unit", leave=False)
            bar.n = done
            bar.refresh()
            bars[name] = bar
            if done == total:
                bars.pop(name).close()
        for bar in bars.values():
            bar.close()

    artist = threading.Thread(target=draw, daemon=True)
    artist.start()
    try:
        yield
    finally:
        news.put(None)
        artist.join(timeout=5)


def _work_beside_others(parent: int, news) -> None:
    """Makes this process leave Ctrl-C to its parent, end with it, and leave the terminal to it."""

    def end_with_parent():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    sys.stderr = _Lines(sys.stderr.buffer, write_through=True)
    if news is not None:
        _watchers.append(lambda *state: news.put(state))


class _Lines(io.TextIOWrapper):
    """A stream that does not pass for a terminal."""

    def isatty(self):
        return False


def main(argv: list[str] | None = None) -> None:
    """The command; exit codes as in `hw1.command.main`, and 1 if a question failed."""
    values = command.sized_flags(SIZES)
    flags.DEFINE_enum("part", "course", list(catalogue.GROUPS), "questions to answer [course]", flag_values=values)
    flags.DEFINE_list("only", [], "instead, some of all questions, with commas between them", flag_values=values)
    flags.DEFINE_integer("jobs", 2, "questions that run at once [2]", lower_bound=1, flag_values=values)
    flags.DEFINE_string(
        "cluster",
        None,
        "a Dask scheduler whose workers compute, such as tcp://host:8786; or local:4 [none]",
        flag_values=values,
    )
    flags.DEFINE_integer("first_seed", 0, "seed of the first repetition [0]", lower_bound=0, flag_values=values)
    flags.DEFINE_enum(
        "splits",
        "seed",
        ["seed", "fixed"],
        "division into training and test set, see a question's --help [seed]",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "by_seed",
        False,
        "a unit for each seed where seeds do not depend on each other: shorter ones, for many workers [false]",
        flag_values=values,
    )
    with command.exit_on_error(code=2):
        command.parse(values, argv, __doc__)
        command.check_names(values.only)
        if values.cluster:
            _dask(values.cluster).check_address(values.cluster)
    overrides = {"first_seed": values.first_seed, "splits": values.splits, "by_seed": values.by_seed}
    with command.exit_on_error(traceback=values.traceback):
        names = tuple(values.only or catalogue.names(values.part))
        if reproduce(values.size, values.out, names, values.traceback, values.jobs, overrides, values.cluster):
            raise SystemExit(1)


if __name__ == "__main__":
    main()
