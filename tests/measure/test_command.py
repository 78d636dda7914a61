"""The measures of a user's own saved net: the rows, the command, its errors."""

import csv
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import nets
import numpy as np
import pytest
import references

from hw1 import measure, saved
from hw1.measures import gauss_newton, sharpness

ROOT = Path(measure.__file__).parents[1]


def data_of(shape=nets.SHAPE, n=nets.EXAMPLES):
    """Random images in float32, as many for training as for testing."""
    (x_train, y_train), (x_test, y_test) = nets.examples(shape, n, seed=0), nets.examples(shape, n, seed=1)
    x_train, x_test = x_train.astype(np.float32), x_test.astype(np.float32)
    return SimpleNamespace(x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a data set and saved nets: one that fits, others that do not."""
    folder = tmp_path_factory.mktemp("measure")
    np.savez(folder / "data.npz", **vars(data_of()))
    layers = {
        "net": [keras.Input((3, 3)), keras.layers.Flatten(), keras.layers.Dense(3)],
        "softmax": [keras.Input((3, 3)), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")],
        "two_classes": [keras.Input((3, 3)), keras.layers.Flatten(), keras.layers.Dense(2)],
        "large_images": [keras.Input((4, 4)), keras.layers.Flatten(), keras.layers.Dense(3)],
        "code": [keras.Input((3, 3)), keras.layers.Flatten(), keras.layers.Lambda(lambda x: x), keras.layers.Dense(3)],
    }
    for name, parts in layers.items():
        nets.with_random_weights(keras.Sequential(parts), np.random.default_rng(0)).save(folder / f"{name}.keras")
    (folder / "text.keras").write_text("no net")
    return folder


@pytest.fixture
def command(folder, monkeypatch, capsys):
    """Calls the command in the folder; gives the exit code and what was printed."""
    monkeypatch.chdir(folder)

    def call(*arguments):
        defaults = ["--data=data.npz", "--train=11", "--test=11", "--examples=5", "--manifold=3"]
        code = 0
        try:
            measure.main(["measure", *defaults, *arguments])
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return call


def test_rows_are_what_the_measures_give():
    """Each is measured on its own images; the net stays as it was."""
    model, data = nets.case("tanh", "float32").model, data_of()
    with nets.unchanged(model):
        rows = {row.measure: row for row in measure.measure(model, data, examples=5, manifold=4, seed=3)}
    full = np.linalg.eigvalsh(references.hessian(nets.case("tanh").model, data.x_train[:5], data.y_train[:5]))
    assert rows["parameters"].value == len(full)
    assert rows["spectral_norm_full"].value == pytest.approx(np.abs(full).max(), rel=1e-4)
    curvature = gauss_newton.dense(nets.case("tanh").model, data.x_train[:5], data.y_train[:5])
    assert rows["gauss_newton_norm"].value == pytest.approx(np.linalg.eigvalsh(curvature).max(), rel=1e-4)
    assert rows["trace"].value == pytest.approx(full.sum(), abs=5 * rows["trace"].standard_error)
    assert rows["frobenius_norm"].value == pytest.approx(np.linalg.norm(full), rel=1e-4)
    loss = references.losses(model, data.x_train[:5], data.y_train[:5]).mean()
    course = rows["spectral_norm_block"].value * 1e-8 / (2 * (1 + loss))
    assert rows["hessian_sharpness"].value == pytest.approx(course, rel=1e-4)
    keskar = sharpness.keskar_sharpness(model, data.x_train, data.y_train, manifold=4, seed=3)
    assert rows["keskar_subspace"].value == pytest.approx(keskar.value)
    for name in ("train", "test"):
        x, y = getattr(data, f"x_{name}"), getattr(data, f"y_{name}")
        assert rows[f"{name}_loss"].value == pytest.approx(references.losses(model, x, y).mean(), rel=1e-5)
        assert rows[f"{name}_accuracy"].value == pytest.approx(references.accuracy(model, x, y))
    examples = {name: row.examples for name, row in rows.items()}
    assert (examples["trace"], examples["keskar_box"], examples["jacobian_norm"]) == (5, 11, 11)


def test_every_row_is_explained():
    """The page that --help prints has each name of a row."""
    for row in measure.measure(nets.case("no bias", "float32").model, data_of(), examples=5, manifold=2):
        assert row.measure in measure.__doc__


@pytest.mark.parametrize(("shape", "fitted"), [((3, 3, 1), (7, 3, 3, 1)), ((9,), (7, 9)), ((3, 3), (7, 3, 3))])
def test_images_take_the_shape_that_the_net_wants(shape, fitted):
    """A channel axis is added and images are flattened; what does not fit is left for the check to refuse."""
    net = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(3)])
    assert saved.shaped(np.zeros((7, 3, 3), np.float32), net).shape == fitted
    assert saved.shaped(np.zeros((7, 4, 5), np.float32), net).shape in ((7, 4, 5), (7, 4, 5, 1))


def test_command_prints_a_table_and_writes_it_once(command, folder):
    """The CSV has the table's rows; a second run does not overwrite it."""
    code, table, progress = command("--net=net.keras", "--out=rows.csv")
    assert code == 0
    assert "measure: keskar_box on 11 images" in progress
    with (folder / "rows.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == measure.Row._fields
    lines = table.splitlines()
    assert [line.split()[0] for line in lines] == ["measure", *(row["measure"] for row in rows)]
    for line, row in zip(lines[1:], rows, strict=True):
        assert float(line.split()[1]) == pytest.approx(float(row["value"]), rel=1e-4)
    code, _, error = command("--net=net.keras", "--out=rows.csv")
    assert (code, error) == (2, "error: --out=rows.csv: the file exists; name another or remove it\n")


WRONG_FLAGS = {
    "--seed=1": "--net is needed",
    "--net=net.keras --examples=12": "at most the 11 training images",
    "--net=net.keras --epsilon=0": "above 0",
    "--net=net.keras --keskar_epsilon=nan": "above 0",
    "--net=net.keras --train=0": "train",
    "--net=net.keras --example=5": "example",
    "--net=net.keras net.keras": "no flag",
    "--net=net.keras --out=nowhere/rows.csv": "no folder nowhere",
}
WRONG_INPUT = {
    "--net=missing.keras": "there is no file missing.keras",
    "--net=text.keras": "text.keras is not a .keras file",
    "--net=data.npz": "data.npz could not be loaded as a Keras model",
    "--net=code.keras": "could not be loaded as a Keras model .*`Lambda`",
    "--net=softmax.keras": r"probabilities \(softmax at its end\), not logits: leave out the activation",
    "--net=two_classes.keras": "label 2 is outside the model's 2 classes",
    "--net=large_images.keras": r"takes \[n, 4, 4\]",
    "--net=net.keras --manifold=31": "subspaces of 1 to 30",
    "--net=net.keras --data=nothing": "there is no data set",
}


@pytest.mark.parametrize("arguments", [*WRONG_FLAGS, *WRONG_INPUT])
def test_errors_are_one_line(command, arguments):
    """Exit code 2 for wrong flags and 1 for wrong input, no traceback, no table."""
    code, table, error = command(*arguments.split())
    assert code == (2 if arguments in WRONG_FLAGS else 1)
    assert re.search((WRONG_FLAGS | WRONG_INPUT)[arguments], error)
    assert error.startswith("error: ")
    assert (table, error.count("\n")) == ("", 1)


def test_help_needs_no_tensorflow():
    """It comes at once."""
    code = (
        "import sys, hw1.measure as m\ntry: m.main(['measure', '--help'])\nfinally: assert 'keras' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--keskar_epsilon" in done.stdout
    assert "python -m hw1.measure --net=my_net.keras" in done.stdout
