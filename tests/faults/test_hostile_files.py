"""Hostile files as data and nets: refused by name in one line, with bounded memory, and nothing of them runs."""

import re
import resource
import signal
from pathlib import Path

import hostile
import hostile_nets
import keras
import numpy as np
import pytest
from toys import exit_code

from hw1 import __main__ as main
from hw1 import barriers, command, question
from hw1.findings import drawing
from hw1.measure import cards, pages

MOST = 500 * 10**6  # bytes by which a refusal may raise the resident memory, at its peak
ROOM = 8 * 10**9  # bytes of further address space, so that a bomb ends in an error, not in the end of the machine
PATIENCE = 300  # seconds, after which a file is held to be read for ever


def status(key):
    """A number of bytes of /proc/self/status."""
    return int(Path("/proc/self/status").read_text().partition(f"{key}:")[2].split()[0]) * 1024


class Bounded:
    """A context that measures by how much the peak of the resident memory rises, and bounds address space and time."""

    def __enter__(self):
        """Begins anew with the peak."""
        Path("/proc/self/clear_refs").write_text("5")
        self.before = status("VmRSS")
        self.limits = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + ROOM, self.limits[1]))
        signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it is read for ever"))
        signal.alarm(PATIENCE)
        return self

    def __exit__(self, *_):
        """Takes the bounds off."""
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, self.limits)
        self.rise = status("VmHWM") - self.before


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder in which commands are called, with a net; whatever would measure or train fails the test."""

    def never(*_, **__):
        pytest.fail("a hostile file was let through")

    for owner, name in ((question, "run_units"), (cards, "card"), (barriers, "between")):
        monkeypatch.setattr(owner, name, never)
    folder = tmp_path / "here"
    folder.mkdir()
    keras.Sequential([keras.Input((4, 4)), keras.layers.Flatten(), keras.layers.Dense(2)]).save(folder / "net.keras")
    monkeypatch.chdir(folder)
    return folder


def refused(arguments, shown, words, place, capsys):
    """Calls a command, which must refuse its file in one line."""
    before = set(place.parent.rglob("*"))
    capsys.readouterr()
    with Bounded() as bounded:
        code = exit_code(lambda argv: main.main(["hw1", *arguments]))
    out, err = capsys.readouterr()
    assert (code, out) == (2, ""), err
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    assert err[:-1].isprintable(), err
    assert command.printable(" ".join(shown.split())) in err
    assert re.search(words, err), err
    assert bounded.rise < MOST, f"{bounded.rise:,} bytes for {arguments}: {err}"
    assert set(place.parent.rglob("*")) == before, "a file was made"


def made(fault, place, maker):
    """Yields, for each try, its random choices, its folder, and the file there with the words of its refusal."""
    for number, rng in enumerate(fault):
        folder = place / str(number)
        folder.mkdir()
        yield rng, folder, *maker(folder, rng)


@pytest.mark.parametrize("name", hostile.DATA)
def test_data(faults, place, capsys, tmp_path, name):
    """By a question and by the commands that measure."""
    for rng, folder, value, words in made(faults(f"data: {name}", short=1, full=5), place, hostile.DATA[name]):
        path = value if value.startswith("/") else f"{folder.name}/{value}"
        calls = [["sensitivity"], ["measure", "--net=net.keras"], ["paths", "--net=net.keras", "--net=net.keras"]]
        refused([*rng.choice(calls), f"--data={path}"], path, words, place, capsys)


@pytest.mark.parametrize("name", hostile_nets.NETS)
def test_nets(faults, place, capsys, monkeypatch, name):
    """By the commands that measure, in the folder of the net, where a module lies that it may ask for."""
    for rng, folder, value, words in made(faults(f"net: {name}", short=1, full=5), place, hostile_nets.NETS[name]):
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(folder)
        calls = [["measure"], ["paths", "--net=../net.keras"]]
        refused([*rng.choice(calls), f"--net={value}"], f"--net={value}", words, place, capsys)


def test_links_in_the_folder_of_results(faults, tmp_path, monkeypatch):
    """What they lead to is not overwritten: they are replaced by the files."""
    from matplotlib.figure import Figure

    monkeypatch.setattr(pages, "lines_of", lambda cards: {})
    monkeypatch.setattr(drawing.records, "read", lambda *_: None)
    monkeypatch.setattr(drawing.records, "tables", lambda *_: {})
    monkeypatch.setattr(drawing.records, "settings", lambda *_: None)
    finding = type("Finding", (), {"figure": staticmethod(lambda *_: Figure())})
    monkeypatch.setattr(drawing.catalogue, "finding", lambda name: finding)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    x, y = np.eye(2, dtype=np.float32), np.arange(2)
    for number, rng in enumerate(faults("links in the folder of results", short=1, full=5)):
        out = tmp_path / str(number)
        (out / "figures").mkdir(parents=True)
        victims = {}
        names = ["card.csv", "card.html", "card.pdf", "figures/toy.png", "figures/toy.pdf", "figures/paths.png"]
        for name in rng.sample([*names, "paths.csv", "paths.json", "figures/paths.pdf"], 9):
            victims[name] = tmp_path / f"{number} {name.replace('/', ' ')}"
            victims[name].write_text("mine")
            (out / name).symlink_to(victims[name])
        cards.card(model, (x, y, x, y), tell=None, minutes=1e-9).save(out)
        drawing.draw("toy", out)
        curves = list(barriers.between(model, twin(model), data(x, y), points=10, pivots=1, steps=1, cycles=1))
        barriers.write(str(out), curves, ["a", "b"], {})
        assert {name: victim.read_text() for name, victim in victims.items()} == dict.fromkeys(victims, "mine")
        assert not [name for name in victims if (out / name).is_symlink()]


def twin(model):
    """A net of the same architecture with other weights."""
    other = keras.models.clone_model(model)
    other.set_weights([2 * weight + 1 for weight in model.get_weights()])
    return other


def data(x, y):
    """A data set of these examples for training and test."""
    return type("Data", (), {"x_train": x, "y_train": y, "x_test": x, "y_test": y})
