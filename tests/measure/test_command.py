"""The command: what it prints, writes and refuses."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import cases
import keras
import nets
import numpy as np
import pandas as pd
import pytest
import toys

from hw1 import datasets, measure
from hw1.measure import cards, rows

ROOT = Path(measure.__file__).parents[2]


SMOOTH = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)


def own_loss(y, outputs):
    """A loss whose code is in no file."""
    return keras.ops.mean((y - outputs) ** 2, axis=-1)


class Own(keras.layers.Flatten):
    """A layer whose code is in no file."""


def linear(activation=None):
    """The layers of a net without hidden ones."""
    return [keras.Input((3, 3)), keras.layers.Flatten(), keras.layers.Dense(3, activation=activation, name="logits")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a data set and saved nets: one that fits, others that do not."""
    folder = tmp_path_factory.mktemp("measure")
    (x_train, y_train), (x_test, y_test) = nets.examples(seed=0), nets.examples(seed=1)
    arrays = {"x_train": np.float32(x_train), "y_train": y_train, "x_test": np.float32(x_test), "y_test": y_test}
    np.savez(folder / "data.npz", **arrays)
    layers = {
        "net": linear(),
        "softmax": linear("softmax"),
        "other": linear(),
        "two_classes": [keras.Input((3, 3)), keras.layers.Flatten(), keras.layers.Dense(2)],
        "large_images": [keras.Input((4, 4)), keras.layers.Flatten(), keras.layers.Dense(3)],
        "sigmoid": linear("sigmoid"),
        "own": [keras.Input((3, 3)), Own(), keras.layers.Dense(3)],
        "code": [keras.Input((3, 3)), keras.layers.Flatten(), keras.layers.Lambda(lambda x: x), keras.layers.Dense(3)],
    }
    for number, (name, parts) in enumerate(layers.items()):
        net = keras.Sequential(parts)
        nets.with_random_weights(net, np.random.default_rng(number)).save(folder / f"{name}.keras")
    for number, (name, loss) in enumerate({"squared": "mse", "smooth": SMOOTH, "own_loss": own_loss}.items()):
        net = keras.Sequential(linear())
        nets.with_random_weights(net, np.random.default_rng(number)).compile(loss=loss)
        net.save(folder / f"{name}.keras")
    tutorial = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    keras.Sequential([keras.Input((3, 3)), *tutorial]).save(folder / "tutorial.keras")
    flowers = pd.DataFrame(np.float32(x_train).reshape(-1, 9)[:, :4] * 8, columns=["long", "wide", "high", "deep"])
    flowers.assign(species=np.array(["iris", "lily", "rose"])[y_train]).to_csv(folder / "flowers.csv", index=False)
    net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    net.save(folder / "flowers.keras")
    (folder / "text.keras").write_text("no net")
    (folder / "table.csv").write_text("a,b,target_0,target_1\n0.5,0.25,1,0\n0.25,0.5,0,1\n")
    return folder


@pytest.fixture
def command(folder, monkeypatch, capsys):
    """Calls the command in the folder; gives the exit code and what was printed."""
    monkeypatch.chdir(folder)

    def call(*arguments):
        defaults = ["--data=data.npz", "--train=11", "--test=11", "--examples=6", "--manifold=3", "--seed=1"]
        code = 0
        try:
            measure.main(["measure", *toys.beside(defaults, arguments), *arguments])
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return call


def values(folder):
    """The rows of a saved card: (net, measure) → row."""
    with (folder / "card.csv").open(encoding="utf-8") as file:
        return {(row["net"], row["measure"]): row for row in csv.DictReader(file)}


def test_the_command_prints_a_table_and_writes_a_card_once(command, folder):
    """The CSV has the table's rows, with all digits; a second run does not overwrite it."""
    code, table, progress = command("--net=net.keras", "--out=one")
    assert code == 0
    assert re.search(r"measure: keskar \(\d+ of \d+, about [\d.]+ s left\)", progress)
    written = values(folder / "one")
    lines = table.splitlines()
    assert lines[0].split() == ["measure", "value", "examples", "for", "±", "5", "%", "unit"]
    assert [("net", line.split()[0]) for line in lines[1:]] == [*written]
    for line, row in zip(lines[1:], written.values(), strict=True):
        assert float(line.split()[1]) == pytest.approx(float(row["value"]), rel=1e-4)
    assert {path.name for path in (folder / "one").iterdir()} == {"card.csv", "card.json", "card.html", "card.pdf"}
    code, _, error = command("--net=net.keras", "--out=one")
    assert (code, error) == (2, "error: --out=one: the folder has a card; name another or remove it\n")


def test_several_nets_are_ranked_side_by_side(command, folder, only):
    """Each in a column with its rank, and the barrier between nets of one architecture."""
    only("trace")
    code, table, _ = command("--net=net.keras", "--net=other.keras", "--out=two", "--minutes=5")
    assert code == 0
    written = values(folder / "two")
    assert table.splitlines()[0].split() == ["measure", "net", "other", "unit"]
    line = next(line for line in table.splitlines() if line.startswith("trace "))
    first, second = re.findall(r"([-\d.e]+) ± [-\d.e]+ \((\d)", line)
    both = [float(written[name, "trace"]["value"]) for name in ("net", "other")]
    assert [float(first[0]), float(second[0])] == pytest.approx(both, rel=1e-4)
    assert [first[1], second[1]] == (["1", "2"] if abs(both[0]) < abs(both[1]) else ["2", "1"])
    assert re.search(r"between net and other: barrier of the loss \d", table)


def test_probabilities_are_taken_off(command, folder, only):
    """The net with a softmax at its end gives what the same net without it gives."""
    if not cases.EVERY_CASE:
        only("spectral_norm_full", "trace", "sensitivity", "keskar")
    code, *_ = command("--net=softmax.keras", "--probabilities", "--out=softmax", "--minutes=5")
    assert code == 0
    twin = keras.Sequential(linear())
    twin.set_weights(keras.saving.load_model(folder / "softmax.keras").get_weights())
    twin.save(folder / "without.keras")
    assert command("--net=without.keras", "--out=without")[0] == 0
    assert len(values(folder / "softmax")) == len(values(folder / "without")) > 10
    for (_, name), row in values(folder / "without").items():
        found = values(folder / "softmax")["softmax", name]
        assert float(found["value"]) == pytest.approx(float(row["value"]), rel=1e-4, abs=1e-9), name


def test_a_sigmoid_of_several_outputs_is_measured_by_the_loss_it_is_for(command, folder):
    """The mean over the outputs of their binary cross-entropies, of labels as one-hot rows: Keras's."""
    code, table, _ = command("--net=sigmoid.keras", "--probabilities", "--loss=binary", "--minutes=1e-9")
    data = np.load(folder / "data.npz")
    model = keras.saving.load_model(folder / "sigmoid.keras")
    expected = keras.losses.BinaryCrossentropy()(np.eye(3)[data["y_test"]], model(data["x_test"]))
    found = dict(line.split()[:2] for line in table.splitlines() if line.startswith("test_"))
    assert code == 0
    assert float(found["test_loss"]) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize(
    ("name", "reference", "said"),
    [
        (
            "squared",
            keras.losses.MeanSquaredError(),
            "measured is the loss that the net was compiled with, mse; --loss",
        ),
        ("smooth", SMOOTH, r"compiled with, categorical_crossentropy\(label_smoothing=0.1\); --loss"),
        (
            "own_loss",
            keras.losses.CategoricalCrossentropy(from_logits=True),
            "the function own_loss whose code .*: taken instead is crossentropy",
        ),
    ],
)
def test_the_loss_of_the_compilation_is_measured_unless_another_is_given(command, folder, name, reference, said):
    """A loss of Keras is taken from the file, of another the line says so; --loss overrides, in silence."""
    data, model = np.load(folder / "data.npz"), keras.saving.load_model(folder / f"{name}.keras", compile=False)
    truths = {(): reference, ("--loss=crossentropy",): keras.losses.CategoricalCrossentropy(from_logits=True)}
    for flags, loss in truths.items():
        code, table, progress = command(f"--net={name}.keras", "--minutes=1e-9", *flags)
        found = dict(line.split()[:2] for line in table.splitlines() if line.startswith("test_"))
        expected = float(loss(np.eye(3)[data["y_test"]], model(data["x_test"])))
        assert (code, float(found["test_loss"])) == (0, pytest.approx(expected, rel=1e-4))
        assert bool(re.search(said, progress)) == (not flags)


def test_a_table_is_taken_as_it_is(command, folder):
    """Its one column of text, the last, has the classes, which are numbered in their order."""
    code, table, _ = command(
        "--net=flowers.keras",
        "--data=flowers.csv",
        "--train=8",
        "--test=3",
        "--raw",
        "--probabilities",
        "--minutes=1e-9",
    )
    data = datasets.load_arrays(folder / "flowers.csv", 8, 3)
    model = keras.saving.load_model(folder / "flowers.keras")
    expected = float(keras.losses.SparseCategoricalCrossentropy()(data.y_test, model(data.x_test)))
    found = dict(line.split()[:2] for line in table.splitlines() if line.startswith("test_"))
    assert (code, float(found["test_loss"])) == (0, pytest.approx(expected, rel=1e-4))


def test_an_interruption_keeps_what_was_measured(command, folder, monkeypatch, only):
    """Exit code 130, a table and a card of the rows until then; the rest is named."""
    only("trace", "keskar", "density", "plane")
    keskar = cards.steps.keskar

    def stopped(work):
        yield next(keskar(work))
        raise KeyboardInterrupt

    monkeypatch.setattr(cards.steps, "keskar", stopped)
    code, table, said = command("--net=net.keras", "--out=stopped")
    assert code == 130
    assert "interrupted: what was measured until then is above and in stopped" in said
    assert {("net", "trace"), ("net", "keskar_box")} < {*values(folder / "stopped")}
    assert ("net", "keskar_subspace") not in values(folder / "stopped")
    for name in ("keskar", "density", "plane"):
        assert f"left out: {name}: interrupted" in table


def test_what_takes_too_long_is_left_out_by_name(command):
    """With next to no time only the losses remain, and each of the others is named."""
    code, table, _ = command("--net=net.keras", "--minutes=1e-9")
    assert code == 0
    assert "train_loss" in table
    assert re.search(
        r"left out: spectral_norm_full: would take about 0\.\d+ s, and no time is left of --minutes=1e-09", table
    )


WRONG_FLAGS = {
    "--seed=1": "--net is needed",
    "--net=net.keras --net=net.keras": "given twice",
    "--net=net.keras --examples=12": "at most the 11 training examples",
    "--net=net.keras --examples=1": "at least 2",
    "--net=net.keras --epsilon=0": "above 0",
    "--net=net.keras --keskar_epsilon=nan": "above 0",
    "--net=net.keras --train=0": "train",
    "--net=net.keras --example=5": "example",
    "--net=net.keras net.keras": "no flag",
    "--net=net.keras --out=text.keras": "is a file",
    "--net=missing.keras": "--net=missing.keras: there is no file missing.keras",
    "--net=text.keras": "text.keras is not a .keras file",
    "--net=data.npz": "data.npz could not be loaded as a Keras model",
    "--net=code.keras": "could not be loaded as a Keras model .*`Lambda`",
    "--net=softmax.keras": r"probabilities \(softmax at its end\), not logits: add --probabilities",
    "--net=sigmoid.keras": r"\(sigmoid at its end\).*add --probabilities.*; in all: --probabilities --loss=binary",
    "--net=sigmoid.keras --probabilities": "3 outputs a probability of its own.*--loss=binary",
    "--net=tutorial.keras": "rescales pixels from 0 to 255.*in all: --probabilities --pixels=255$",
    "--net=flowers.keras --data=flowers.csv": "table of 4 features, not of images.*in all: --probabilities --raw$",
    "--net=net.keras --net=squared.keras": r"different losses \(net.keras: cross.*, squared.keras: mse\): give --loss",
    "--net=own.keras": r"own.keras has 'Own', whose code is not in the file: in Python .*card\(keras.saving.load_model",
    "--net=net.keras --probabilities": "ends neither in a softmax nor in a sigmoid",
    "--net=net.keras --data=table.csv": "no column called label.*: rename it$",
    "--net=net.keras --data=table.csv --raw": "no column called label.*: rename it$",
    "--net=net.keras --data=nothing": "--data=nothing: there is no data set",
    "--net=net.keras --train=12": "--train=12",
}
WRONG_INPUT = {
    "--net=net.keras --loss=entropy": "keras.losses knows no loss 'entropy'",
    "--net=sigmoid.keras --probabilities --loss=binary_crossentropy": "for --loss: binary .*leave out --probabilities",
    "--net=two_classes.keras": "label 2 is outside the model's 2 classes",
    "--net=large_images.keras": r"takes \[n, 4, 4\]",
}


@pytest.mark.parametrize("arguments", [*WRONG_FLAGS, *WRONG_INPUT])
def test_errors_are_one_line(command, arguments):
    """Exit code 2 for wrong flags and what they name, 1 for what does not fit, no traceback, no table."""
    code, table, error = command(*arguments.split())
    assert code == (2 if arguments in WRONG_FLAGS else 1)
    assert re.search((WRONG_FLAGS | WRONG_INPUT)[arguments], error)
    assert error.startswith("error: ")
    assert (table, error.count("\n")) == ("", 1)


def test_fewer_examples_than_the_default_asks_for_will_do(folder, monkeypatch, capsys):
    """Without --train and --test all examples are taken."""
    monkeypatch.chdir(folder)
    measure.main(["measure", "--net=net.keras", "--data=data.npz", "--minutes=1e-9"])
    assert re.search(r"^train_loss .* 11 ", capsys.readouterr().out, re.MULTILINE)


def test_the_start_up_lines_of_tensorflow_are_not_shown():
    """What the command imports first of all that needs TensorFlow imports `hw1.quiet` before it."""
    code = """
import sys
class Finder:
    def find_spec(name, *_):
        if name in ("keras", "tensorflow"):
            sys.exit("hw1.quiet" not in sys.modules)
sys.meta_path.insert(0, Finder)
import hw1.compiled
sys.exit("nothing needs it")
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_help_needs_no_tensorflow():
    """It comes at once."""
    code = (
        "import sys, hw1.measure as m\ntry: m.main(['measure', '--help'])\nfinally: assert 'keras' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--keskar_epsilon" in done.stdout
    assert "python -m hw1.measure --net=my_net.keras" in done.stdout


def test_the_columns_are_those_of_a_row(command, folder):
    """In their order, after the net."""
    assert command("--net=net.keras", "--out=columns", "--minutes=1e-9")[0] == 0
    assert (folder / "columns" / "card.csv").read_text().splitlines()[0] == ",".join(["net", *rows.Row._fields])


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0342, "0.034 s"), (3.44, "3.4 s"), (42.3, "42 s"), (1e-9, "0.001 s"), (150, "2 min")]
)
def test_short_times_are_not_rounded_to_nothing(seconds, text):
    """To two digits below ten seconds."""
    assert cards.duration(seconds) == text


def test_a_table_of_a_deep_net_shows_its_largest_layers():
    """The others are in card.csv, and the table says so."""
    found = [rows.row("trace", 1.0, "", 5)]
    found += [rows.row(f"layer_trace/{number}", (-1) ** number * number, "", 5) for number in range(50)]
    lines = rows.table(found).splitlines()
    assert [line.split()[0] for line in lines[2:-1]] == [f"layer_trace/{number}" for number in range(30, 50)]
    assert lines[-1] == "30 layers with smaller values are in card.csv only"
