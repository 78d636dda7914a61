"""Data sets by name or path: shipped ones, those of Keras, checks of what is stored, random subsets."""

import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from stored import ARRAYS, RNG, assert_loaded, fails, write_idx, write_npz

from hw1 import datasets
from hw1.datasets import readers

# Shipped data sets


@pytest.mark.parametrize("name", datasets.SHIPPED)
def test_shipped(name):
    """Both load as the contract says, and data/Readme.md gives their hashes."""
    data = datasets.load(name)
    assert (data.name, data.classes) == (name, 10)
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        assert (x.dtype, x.shape) == (np.float32, (5000, 28, 28))
        assert (y.dtype, y.shape) == (np.int32, (5000,))
        assert (x.min(), x.max()) == (0, 1)
        assert np.bincount(y).min() >= 400
    readme = (datasets.FOLDER / "Readme.md").read_text()
    assert datasets.SHIPPED[name] in readme
    assert data.sha256 in readme


def test_shipped_file_that_was_changed_or_lost(monkeypatch, tmp_path):
    """One flipped bit, or a missing file, is reported with the remedy."""
    path = tmp_path / "mnist10k.npz"
    shutil.copy(datasets.FOLDER / path.name, path)
    monkeypatch.setattr(readers, "FOLDER", tmp_path)
    assert datasets.load("mnist10k", train=1, test=1).name == "mnist10k"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    message = fails(ValueError, "mnist10k", str(path), datasets.SHIPPED["mnist10k"], "git -C", "checkout")
    assert len([word for word in message.replace(",", " ").split() if len(word.strip(";")) == 64]) == 2
    path.unlink()
    fails(FileNotFoundError, "mnist10k", str(path), "missing", "checkout")


def test_import_and_shipped_data_need_no_tensorflow():
    """A fresh interpreter stays free of TensorFlow and Keras."""
    code = (
        "import sys; from hw1 import datasets; datasets.load(train=5, test=5); "
        "print({'tensorflow', 'keras'} & set(sys.modules))"
    )
    root = datasets.FOLDER.parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "set()"


# keras.datasets


def fake_keras(monkeypatch, load_data):
    """Puts a stand-in for Keras in place, whose data sets come from `load_data`."""
    names = {name: SimpleNamespace(load_data=load_data) for name in datasets.DOWNLOADED}
    monkeypatch.setitem(sys.modules, "keras", SimpleNamespace(datasets=SimpleNamespace(**names)))


def test_keras_data_set_with_colour_and_column_labels(monkeypatch):
    """CIFAR's form: images [n, h, w, 3], labels [n, 1]."""
    x = RNG.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    y = np.arange(6, dtype=np.uint8)[:, None]
    fake_keras(monkeypatch, lambda: ((x, y), (x[:2], y[:2])))
    data = datasets.load("cifar10")
    np.testing.assert_array_equal(data.x_train, x.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(data.y_train, np.arange(6))
    assert data.y_test.shape == (2,)
    assert data.classes == 6


@pytest.mark.parametrize("name", datasets.DOWNLOADED)
def test_keras_data_set_without_a_network(monkeypatch, tmp_path, name):
    """The error says where Keras looks and what works offline."""

    def load_data():
        raise Exception("URL fetch failure on https://example.org/x:\nNone -- unknown host")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    fake_keras(monkeypatch, load_data)
    place = str(tmp_path / "datasets" / datasets.DOWNLOADED[name])
    fails(OSError, name, name, "unknown host", place, "mnist10k", "fashion10k", "path")


# Names


def test_unknown_name_lists_the_names_and_the_nearest(tmp_path, monkeypatch):
    """A typing error is met with the names to choose from."""
    monkeypatch.chdir(tmp_path)
    fails(
        ValueError,
        "minst10k",
        "'minst10k'",
        "mean mnist10k?",
        *datasets.SHIPPED,
        *datasets.DOWNLOADED,
        ".npz",
    )
    fails(ValueError, "Fashion-MNIST", "mean fashion_mnist?")
    for other in ("imagenet-2012", "kmnist", "EMNIST", "q-mnist", "pathmnist", "mnist-c", "cifar10-c", "mnist1d"):
        assert "mean" not in fails(ValueError, other)
    for typed, meant in (
        ("mnsit", "mnist"),
        ("fasion-mnist", "fashion_mnist"),
        ("mnist10", "mnist10k"),
        ("CIFAR-10", "cifar10"),
        ("cifar", "cifar10"),
    ):
        fails(ValueError, typed, f"mean {meant}")
    fails(ValueError, "")
    fails(FileNotFoundError, "no/such/folder", "no/such/folder", "IDX")
    fails(FileNotFoundError, "missing.npz", "missing.npz", ".npz")
    for name in (None, 5, b"mnist10k"):
        fails(TypeError, name, type(name).__name__)


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_npz(tmp_path, kind):
    """A path may be a string or a Path."""
    path = write_npz(tmp_path / "own.npz")
    data = datasets.load(kind(path))
    assert_loaded(data)
    assert data.name == str(path)


def test_a_home_directory_is_expanded(tmp_path, monkeypatch):
    """A path may start with ~."""
    monkeypatch.setenv("HOME", str(tmp_path))
    write_npz(tmp_path / "own.npz")
    assert_loaded(datasets.load("~/own.npz"))


def test_a_name_comes_before_a_folder(tmp_path, monkeypatch):
    """A folder called like a data set is reached with ./ only."""
    monkeypatch.chdir(tmp_path)
    write_idx(tmp_path / "mnist10k")
    assert len(datasets.load("mnist10k").x_train) == 5000
    assert_loaded(datasets.load("./mnist10k"))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f8"])
def test_floats_in_the_unit_interval_are_kept(tmp_path, dtype):
    """Floats of any size and byte order are not scaled again."""
    x = np.linspace(0, 1, 240).reshape(12, 5, 4).astype(dtype)
    data = datasets.load(write_npz(tmp_path / "own.npz", x_train=x, x_test=x[:7]))
    assert data.notes == ()
    assert data.x_train.dtype == np.float32
    np.testing.assert_array_equal(data.x_train, x.astype(np.float32))


def test_classes_are_those_present_in_either_part_and_survive_a_subset(tmp_path):
    """A class may be missing from training, or from the subset; gaps are closed and the labels of the file kept."""
    y_test = np.array([0, 0, 0, 0, 0, 0, 41], np.int64)
    path = write_npz(tmp_path / "own.npz", y_test=y_test)
    for seed in range(5):
        data = datasets.load(path, test=1, seed=seed)
        assert (data.classes, data.labels) == (4, (0, 1, 2, 41))
        assert data.notes == ("the 4 classes that are there (0, 1, 2, 41) are numbered from 0",)
    np.testing.assert_array_equal(datasets.load(path).y_test, [0] * 6 + [3])
    assert datasets.load_splits(path).labels == (0, 1, 2, 41)


X, Y = ARRAYS["x_train"], ARRAYS["y_train"]
BAD_ARRAYS = {
    "missing key": ("y_test", None, "lacks y_test"),
    "pickled objects": ("x_train", np.array([{}] * 12), "allow_pickle=False"),
    "flat images": ("x_train", X.reshape(12, -1), "(12, 20)"),
    "no images": ("x_train", X[:0], "(0, 5, 4)"),
    "images without height": ("x_train", X[:, :0], "(12, 0, 4)"),
    "scalar": ("x_train", np.uint8(3), "()"),
    "other units than the test images": ("x_train", X > 9, "from 0 to 1"),
    "dark images": ("x_train", X // 16, "--pixels=255"),
    "complex pixels": ("x_train", X + 0j, "complex128"),
    "text": ("x_train", X.astype(str), "<U3"),
    "fractions above 1": ("x_train", X.astype(np.float32) / 2, "from 0 to 127.5"),
    "negative pixels": ("x_train", X / -255, "from -1 to"),
    "NaN pixels": ("x_train", np.where(X > 100, np.nan, 0.5), "nan"),
    "one infinite pixel": ("x_train", np.where(X > 250, np.inf, 0.5), "inf"),
    "labels of another number": ("y_train", Y[:-1], "11 labels"),
    "no labels": ("y_train", Y[:0], "(0,)"),
    "one-hot labels": ("y_train", np.eye(3, dtype=int)[Y], "(12, 3)"),
    "float labels": ("y_train", Y.astype(np.float64), "float64"),
    "one class": ("y_train", Y * 0, "one label only, 0"),
    "negative labels": ("y_train", Y.astype(int) - 1, "-1"),
    "huge labels": ("y_train", Y.astype(np.uint64) + 2**63, str(2**63 + 2)),
    "test images of another shape": ("x_test", ARRAYS["x_test"][:, :4], "(4, 4)"),
}


@pytest.mark.parametrize(("key", "array", "word"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_npz_with_a_bad_array(tmp_path, key, array, word):
    """The error names the file, the key and what is wrong with it."""
    path = write_npz(
        tmp_path / "bad.npz", **{key: array}, **({"y_test": Y[:7] * 0} if word == "one label only, 0" else {})
    )
    message = fails(ValueError, path, str(path), word)
    assert key in message or word == "allow_pickle=False"


# Subsets and hashes


def test_subset_is_random_repeatable_nested_and_in_file_order(tmp_path):
    """The promises of `load` about `train`, `test` and `seed`."""
    x = 2 * np.broadcast_to(np.arange(100, dtype=np.uint8)[:, None, None], (100, 2, 2))
    y = np.arange(100)
    path = write_npz(tmp_path / "own.npz", x_train=x, y_train=y, x_test=x, y_test=y)

    def drawn(part="train", **arguments):
        data = datasets.load(path, **arguments)
        labels = getattr(data, f"y_{part}")
        pixels = getattr(data, f"x_{part}")[:, 0, 0]
        np.testing.assert_array_equal(np.rint(pixels * 255), 2 * labels)  # images and labels stay together
        assert (np.diff(labels) > 0).all()  # in file order, without repetition
        return labels.tolist()

    small, large = drawn(train=10), drawn(train=30)
    assert (len(small), len(large)) == (10, 30)
    assert small == drawn(train=10) == drawn(train=np.int64(10), test=3)
    assert set(small) < set(large)
    assert small != drawn(train=10, seed=1)
    assert small != drawn("test", test=10)
    assert drawn(train=100) == drawn() == list(range(100))


@pytest.mark.parametrize("count", [0, -1, 13])
def test_subset_of_a_wrong_size(tmp_path, count):
    """There are 12 training examples to draw from."""
    path = write_npz(tmp_path / "own.npz")
    fails(ValueError, path, f"train is {count}", "[1, 12]", train=count)


@pytest.mark.parametrize("value", [2.0, "3", True, [4]])
def test_arguments_that_are_no_integers(tmp_path, value):
    """Nothing is rounded or converted silently."""
    path = write_npz(tmp_path / "own.npz")
    for argument in ("train", "test", "seed"):
        fails(TypeError, path, argument, type(value).__name__, **{argument: value})
    fails(ValueError, path, "seed is -1", seed=-1)
