"""The barriers between two saved nets of one's own: the curves, the command, its errors."""

import csv
import functools
import itertools
import json
import re
from types import SimpleNamespace

import cases
import keras
import matplotlib.image
import nets
import numpy as np
import pytest
import references
import toys

from hw1 import barriers
from hw1.measures import paths

L = keras.layers
SMALL = {"points": 20, "pivots": 3, "steps": 20, "cycles": 2, "learning_rate": 0.05}


def data_of(shape=nets.SHAPE):
    """Random images in float32, as many for training as for testing."""
    found = {}
    for seed, part in enumerate(("train", "test")):
        x, y = nets.examples(shape, seed=seed)
        found |= {f"x_{part}": x.astype(np.float32), f"y_{part}": y}
    return SimpleNamespace(**found)


def chain(*layers, seed=0, shape=nets.SHAPE, classes=3):
    """A net of images with random weights."""
    model = keras.Sequential([keras.Input(shape), *layers, L.Dense(classes, name="head")])
    return nets.with_random_weights(model, np.random.default_rng(seed))


def dense(seed, width=5, activation="tanh"):
    """One hidden layer."""
    return chain(L.Flatten(), L.Dense(width, activation, name="hidden"), seed=seed)


def permuted(model):
    """A copy of the net of one hidden layer with its units in another order."""
    kernel, bias, kernel_2, bias_2 = model.get_weights()
    copy, order = dense(0), [3, 0, 4, 1, 2]
    copy.set_weights([kernel[:, order], bias[order], kernel_2[order], bias_2])
    return copy


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a data set and saved nets."""
    folder = tmp_path_factory.mktemp("barriers")
    np.savez(folder / "data.npz", **vars(data_of()))
    models = {
        "a": dense(1),
        "b": dense(2),
        "wider": dense(3, width=6),
        "relu": dense(3, activation="relu"),
        "recurrent": chain(L.SimpleRNN(4, name="memory"), seed=1),
        "recurrent_2": chain(L.SimpleRNN(4, name="memory"), seed=2),
        "grouped": chain(L.Flatten(), L.Dense(4), L.GroupNormalization(2, name="norm"), seed=1),
        "grouped_2": chain(L.Flatten(), L.Dense(4), L.GroupNormalization(2, name="norm"), seed=2),
        "none": chain(L.Flatten(), seed=1),
        "none_2": chain(L.Flatten(), seed=2),
        "large": chain(L.Flatten(), L.Dense(5), shape=(4, 4)),
        "softmax": keras.Sequential([keras.Input(nets.SHAPE), L.Flatten(), L.Dense(3), L.Softmax()]),
    }
    for name, model in models.items():
        model.save(folder / f"{name}.keras")
    (folder / "text.keras").write_text("no net")
    return folder


@pytest.fixture
def command(folder, monkeypatch, capsys):
    """Calls the command in the folder; gives the exit code and what was printed."""
    monkeypatch.chdir(folder)

    def call(*arguments):
        sizes = [f"--{name}={value}" for name, value in SMALL.items()]
        code = 0
        try:
            defaults = ["--data=data.npz", "--train=11", "--test=11", *sizes]
            barriers.main(["paths", *toys.beside(defaults, arguments), *arguments])
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return call


between_nets = functools.cache(lambda: dense(0))  # a net whose weights are set anew for each point


def on_line(model_a, model_b, share, x, y):
    """Loss and error of Keras's own evaluation between two nets."""
    model = between_nets()
    model.set_weights([(1 - share) * a + share * b for a, b in zip(model_a.get_weights(), model_b.get_weights())])  # noqa: B905
    loss, accuracy = references.evaluate(model, x, y)
    return loss, 1 - accuracy


@pytest.fixture(scope="module")
def found():
    """All curves between two nets, which stay as they were."""
    model_a, model_b = dense(1), dense(2)
    with nets.unchanged(model_a, model_b):
        return list(barriers.between(model_a, model_b, data_of(), bezier=True, **SMALL))


def test_curves_are_those_of_keras(found):
    """On the line, and after the best of all orders of the units; the paths begin and end in the nets."""
    model_a, model_b, data = dense(1), dense(2), data_of()
    curves = {curve.name: curve for curve in found}
    assert list(curves) == list(barriers.TITLES)
    orders = []
    for order in map(list, itertools.permutations(range(5))):
        kernel, bias, kernel_2, bias_2 = model_b.get_weights()
        orders.append([kernel[:, order], bias[order], kernel_2[order], bias_2])
    nearest = dense(0)
    ours = model_a.get_weights()
    nearest.set_weights(min(orders, key=lambda own: sum(np.sum((a - b) ** 2) for a, b in zip(ours, own, strict=True))))
    for name, end in {"line": model_b, "matched": nearest}.items():
        for part, barrier in (("train", curves[name].train), ("test", curves[name].test)):
            x, y = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
            truth = np.array([on_line(model_a, end, share, x, y) for share in np.linspace(0, 1, 21)])
            np.testing.assert_allclose(barrier.loss, truth[:, 0], rtol=1e-5)
            np.testing.assert_allclose(1 - barrier.accuracy, truth[:, 1], atol=1e-7)
            assert barrier.loss_barrier == pytest.approx(truth[:, 0].max() - max(truth[[0, -1], 0]), abs=1e-6)
    for curve in curves.values():
        for part in ("train", "test"):
            found, line = getattr(curve, part), getattr(curves["line"], part)
            np.testing.assert_allclose(found.loss[[0, -1]], line.loss[[0, -1]], rtol=1e-6)
            assert len(found.loss) >= 21
    assert curves["string"].train.loss.max() <= curves["line"].train.loss.max() + 1e-6
    assert curves["matched"].note == "units of hidden permuted; head in their order"


def test_statistics_are_those_of_the_training_images():
    """Of a normalised net, on the test images too, at the ends as between them."""

    def build(seed):
        return chain(L.Flatten(), L.Dense(5), L.BatchNormalization(name="norm"), L.ReLU(), seed=seed)

    data, model_a, model_b = data_of(), build(1), build(2)
    line = next(barriers.between(model_a, model_b, data, **SMALL))
    assert (line.name, line.note) == ("line", barriers.NORMALISED)
    model = build(3)
    model.get_layer("norm").momentum = 0.0
    for place, share in ((0, 0.0), (10, 0.5), (20, 1.0)):
        theta = [references.flat(each.trainable_variables) for each in (model_a, model_b)]
        references.assign(model, (1 - share) * theta[0] + share * theta[1])
        model(data.x_train, training=True)
        loss, _ = references.evaluate(model, data.x_test, data.y_test)
        assert line.test.loss[place] == pytest.approx(loss, rel=1e-4)


def test_command_prints_and_writes(command, folder):
    """Table, rows, record and figure say the same; a second run does not overwrite them."""
    code, table, _ = command("--net=a.keras", "--net=b.keras", "--out=between")
    assert code == 0
    with (folder / "between" / "paths.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == barriers.COLUMNS
    record = json.loads((folder / "between" / "paths.json").read_text())
    assert record["settings"]["steps"] == 20
    assert record["nets"] == ["a.keras", "b.keras"]
    lines = {line[:15].strip(): line[15:].split() for line in table.splitlines()}
    for name in ("line", "matched", "string"):
        own = [row for row in rows if row["curve"] == name]
        assert [float(own[end]["position"]) for end in (0, -1)] == [0, 1]
        about, cells = record["barriers"][name], lines[barriers.TITLES[name]]
        assert about["points"] == len(own)
        assert float(cells[0]) == pytest.approx(float(own[-1]["length"]), rel=1e-3)
        for place, column in enumerate(("train_loss", "train_error", "test_loss", "test_error"), start=1):
            values = [float(row[column]) for row in own]
            barrier = max(values) - max(values[0], values[-1])
            assert about[f"{column}_barrier"] == pytest.approx(barrier, abs=1e-12)
            shown = float(cells[place].rstrip("%")) / (100 if "%" in cells[place] else 1)
            assert shown == pytest.approx(barrier, rel=1e-3, abs=1e-4)
    assert lines["a.keras"][0] == f"{float(rows[0]['train_loss']):.4g}"
    assert "units matched: units of hidden permuted; head in their order" in table
    image = matplotlib.image.imread(folder / "between" / "figures" / "paths.png")
    assert image.shape[1] > image.shape[0] > 100
    assert (folder / "between" / "figures" / "paths.pdf").read_bytes().startswith(b"%PDF")
    code, _, error = command("--net=a.keras", "--net=b.keras", "--out=between")
    assert (code, error.count("\n")) == (2, 1)
    assert "it holds a paths.csv already" in error


def test_figure_has_each_curve_and_the_ends(found):
    """Two panels, a line for each curve and set, labels with units, two marks for each set."""
    points = barriers.rows(found)
    figure = barriers.figure(points, ["first.keras", "second.keras"])
    for axes, label in zip(figure.axes, ("nats", "%"), strict=True):
        assert label in axes.get_ylabel()
        assert "position" in axes.get_xlabel()
        marks = [line for line in axes.lines if line.get_marker() == "o"]
        curves = [line for line in axes.lines if line.get_marker() != "o"]
        assert (len(marks), len(curves)) == (2, 8)
        assert [tick.get_text() for tick in axes.get_xticklabels()][0::4] == ["0\nfirst.keras", "1\nsecond.keras"]
    line = figure.axes[1].lines[0].get_ydata()
    np.testing.assert_allclose(line, [100 * point["train_error"] for point in points if point["curve"] == "line"])


def test_orders_of_one_net():
    """After matching nothing is between them: a curve of no length and no barrier."""
    model = dense(1)
    curves = list(barriers.between(model, permuted(model), data_of(), **SMALL))
    assert curves[1].train.arc_length[-1] == pytest.approx(0, abs=1e-6)
    assert curves[1].train.loss_barrier == pytest.approx(0, abs=1e-6)
    positions = [row["position"] for row in barriers.rows(curves) if row["curve"] == "matched"]
    np.testing.assert_allclose(positions, np.linspace(0, 1, 21))


@pytest.mark.parametrize(
    ("kind", "words"),
    cases.some(
        [
            ("grouped", "layer 'norm' (GroupNormalization) cannot be permuted"),
            ("none", "no hidden units"),
            ("recurrent", "layer 'memory' (SimpleRNN) cannot be permuted"),
        ]
    ),
)
def test_where_nothing_can_be_permuted(command, monkeypatch, kind, words):
    """The row says so, and the other rows are there, here without a search."""

    def line(*ends, **_):
        return paths.Path(np.stack([references.flat(model.trainable_variables) for model in ends[:2]]))

    if not cases.EVERY_CASE:
        monkeypatch.setattr(paths, "string", line)
    code, table, _ = command(f"--net={kind}.keras", f"--net={kind}_2.keras")
    assert code == 0
    lines = {line[:15].strip(): line[15:].split() for line in table.splitlines()}
    assert lines["units matched"] == ["–"] * 5
    assert len(lines["straight line"]) == len(lines["string method"]) == 5
    assert f"units matched: {words}" in table.replace("there are ", "")


WRONG_FLAGS = {
    "--seed=1": "--net names 0 nets",
    "--net=a.keras": "--net names 1 net: name the files of two",
    "--net=a.keras --net=b.keras --net=wider.keras": "--net names 3 nets",
    "--net=a.keras --net=b.keras --batch_size=12": "at most the 11 training images",
    "--net=a.keras --net=b.keras --learning_rate=0": "above 0",
    "--net=a.keras --net=b.keras --pixels=nan": "above 0",
    "--net=a.keras --net=b.keras --points=9": "points",
    "--net=a.keras --net=b.keras --steps=0": "steps",
    "--net=a.keras --net=b.keras --net_c=b.keras": "net_c",
    "--net=a.keras --net=b.keras b.keras": "no flag",
    "--net=a.keras --net=b.keras --out=data.npz": "is a file, not a folder",
    "--net=a.keras --net=missing.keras": "--net=missing.keras: there is no file missing.keras",
    "--net=a.keras --net=text.keras": "text.keras is not a .keras file",
    "--net=softmax.keras --net=softmax.keras": "not logits",
    "--net=softmax.keras --net=a.keras --probabilities": "a.keras: model .* all nets that are named",
    "--net=a.keras --net=b.keras --data=nothing": "--data=nothing: there is no data set",
    "--net=a.keras --net=b.keras --train=12": "--train=12",
}
WRONG_INPUT = {
    "--net=a.keras --net=wider.keras": "a.keras and wider.keras: the models differ in architecture",
    "--net=a.keras --net=relu.keras": "computes another function",
    "--net=a.keras --net=a.keras": "the two nets are equal",
    "--net=large.keras --net=large.keras": r"takes \[n, 4, 4\]",
}


@pytest.mark.parametrize("arguments", [*WRONG_FLAGS, *WRONG_INPUT])
def test_errors_are_one_line(command, monkeypatch, arguments):
    """Exit code 2 for wrong flags and what they name, 1 for what does not fit; no table, before any search."""
    monkeypatch.setattr(paths, "string", None)
    code, table, error = command(*arguments.split())
    assert code == (2 if arguments in WRONG_FLAGS else 1)
    assert re.search((WRONG_FLAGS | WRONG_INPUT)[arguments], error)
    assert error.startswith("error: ")
    assert (table, error.count("\n")) == ("", 1)


def test_it_can_be_interrupted(command, monkeypatch, folder):
    """In the search: exit code 130, one line, nothing is left behind."""

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(paths, "string", stop)
    code, table, error = command("--net=a.keras", "--net=b.keras", "--out=stopped")
    assert (code, table, error) == (130, "", "interrupted: nothing was written\n")
    assert not (folder / "stopped").exists()
