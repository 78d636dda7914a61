"""What holds for all tests: TensorFlow is quiet, Ctrl-C reaches processes that tests start, answers are shared."""

import contextlib
import gc
import os
import shutil
import signal

import filelock
import hypothesis
import pytest
import toys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Two processes test on two cores: with threads of their own they would wait for each other.
for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(_threads, "1")
# A shell may start its background jobs with SIGINT ignored, which their children would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
# How long an example takes is not tested: on a busy machine a file may take longer than the 0.2 s of the default.
hypothesis.settings.register_profile("hw1", deadline=None)
hypothesis.settings.load_profile("hw1")


def pytest_collection_modifyitems(items):
    """Leaves out what takes long and is tested less fully elsewhere, unless EVERY_CASE=1 or FAULTS=full asks for it."""
    if not {"EVERY_CASE", "FAULTS"} & set(os.environ):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="takes long; EVERY_CASE=1 runs it"))


@pytest.fixture(scope="session", autouse=True)
def _kept_programs():
    """More compiled programs are kept than a user needs: tests come back to the same nets, file after file.

    Garbage is looked for less often, and not among what was imported.
    """
    from hw1.evaluation import functional

    functional._MOST_PROGRAMS, functional._AT_ONCE = 200, 100
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session")
def at_smoke_size(tmp_path_factory):
    """A function from names of questions to a folder with their rows and figures at smoke size.

    Whichever process of the tests asks first for a question answers it; the others go on with those that are free, and
    wait for the rest.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "answers"
    shared.mkdir(exist_ok=True)

    def gather(*names):
        from hw1 import catalogue, command, question

        folder, left = tmp_path_factory.mktemp("runs"), list(names)
        for blocking in (False, True):
            for name in tuple(left):
                module, drawn = catalogue.experiment(name), shared / name / "figures" / f"{name}.pdf"
                with (
                    contextlib.suppress(filelock.Timeout),
                    filelock.FileLock(shared / f"{name}.lock", blocking=blocking),
                ):
                    if not drawn.exists():
                        command.answer(module, question.make_settings(module, "smoke"), shared / name)
                    shutil.copytree(shared / name, folder, dirs_exist_ok=True)
                    left.remove(name)
        return folder

    return gather


@pytest.fixture
def drawn(monkeypatch):
    """Stands in for the drawing of figures; a list of what was drawn."""
    calls = []
    monkeypatch.setattr("hw1.findings.drawing.draw", lambda name, folder: calls.append((name, folder)) or [])
    return calls


@pytest.fixture
def toy(monkeypatch, drawn):
    """The toy question, without TensorFlow and figures."""
    monkeypatch.setattr("hw1.question._make_deterministic", lambda: None)
    return toys.module_of()
