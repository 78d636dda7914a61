"""Tests of hw1.datasets: every form of data set, every kind of damage, subsets and label noise."""

import dataclasses
import gzip
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw1 import datasets

RNG = np.random.default_rng(7)
ARRAYS = {
    "x_train": RNG.integers(0, 256, (12, 5, 4), dtype=np.uint8),
    "y_train": np.arange(12, dtype=np.uint8) % 3,
    "x_test": RNG.integers(0, 256, (7, 5, 4), dtype=np.uint8),
    "y_test": np.arange(7, dtype=np.uint8) % 3,
}
ARRAYS["x_train"][0, 0, :2] = 0, 255


def idx_bytes(array):
    """Returns the IDX form of a uint8 array, written independently of the reader."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(int(size).to_bytes(4, "big") for size in array.shape)
    return header + array.tobytes()


def write_npz(path, **changes):
    """Writes the arrays with changes; a key changed to None is left out."""
    np.savez_compressed(path, **{key: value for key, value in (ARRAYS | changes).items() if value is not None})
    return path


def write_idx(folder, end="", old=False, **changes):
    """Writes four IDX files; `end` is their suffix, `old` torchvision's older spelling."""
    folder.mkdir(parents=True, exist_ok=True)
    for key, array in (ARRAYS | changes).items():
        stem = datasets.IDX_FILES[key].replace("-idx", ".idx" if old else "-idx")
        opened = gzip.open if end else open
        with opened(folder / (stem + end), "wb") as file:
            file.write(idx_bytes(array))
    return folder


def fails(kind, name, *words, **arguments):
    """Asserts that load raises `kind` with one line that holds every word."""
    with pytest.raises(kind) as caught:
        datasets.load(name, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


def assert_loaded(data):
    """Asserts that `data` holds exactly ARRAYS, scaled."""
    for part, size in (("train", 12), ("test", 7)):
        x, y = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
        assert (x.dtype, x.shape) == (np.float32, (size, 5, 4))
        assert (y.dtype, y.shape) == (np.int32, (size,))
        np.testing.assert_array_equal(x, (ARRAYS[f"x_{part}"] / 255).astype(np.float32))
        np.testing.assert_array_equal(y, ARRAYS[f"y_{part}"])
    assert (data.x_train.min(), data.x_train.max()) == (0, 1)
    assert data.classes == 3


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
    monkeypatch.setattr(datasets, "FOLDER", tmp_path)
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
    assert "mean" not in fails(ValueError, "imagenet-2012")
    fails(ValueError, "")
    fails(FileNotFoundError, "no/such/folder", "no/such/folder", "IDX")
    fails(FileNotFoundError, "missing.npz", "missing.npz", ".npz")
    for name in (None, 5, b"mnist10k"):
        fails(TypeError, name, type(name).__name__)


# Files


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_npz(tmp_path, kind):
    """A path may be a string or a Path."""
    path = write_npz(tmp_path / "own.npz")
    data = datasets.load(kind(path))
    assert_loaded(data)
    assert data.name == str(path)


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("sub_folder", ["", "raw"])
def test_idx_folder(tmp_path, end, old, sub_folder):
    """All spellings of the file names give the data, and the hash, of the .npz."""
    write_idx(tmp_path / "MNIST" / sub_folder, end, old)
    data = datasets.load(tmp_path / "MNIST")
    assert_loaded(data)
    assert data.sha256 == datasets.load(write_npz(tmp_path / "same.npz")).sha256


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
    data = datasets.load(write_npz(tmp_path / "own.npz", x_train=x))
    assert data.x_train.dtype == np.float32
    np.testing.assert_array_equal(data.x_train, x.astype(np.float32))


def test_classes_come_from_both_parts_and_survive_a_subset(tmp_path):
    """A class may be missing from training, or from the subset."""
    y_test = np.array([0, 0, 0, 0, 0, 0, 41], np.int64)
    path = write_npz(tmp_path / "own.npz", y_test=y_test)
    assert all(datasets.load(path, test=1, seed=seed).classes == 42 for seed in range(5))


X, Y = ARRAYS["x_train"], ARRAYS["y_train"]
BAD_ARRAYS = {
    "missing key": ("y_test", None, "lacks y_test"),
    "pickled objects": ("x_train", np.array([{}] * 12), "allow_pickle=False"),
    "flat images": ("x_train", X.reshape(12, -1), "(12, 20)"),
    "no images": ("x_train", X[:0], "(0, 5, 4)"),
    "images without height": ("x_train", X[:, :0], "(12, 0, 4)"),
    "scalar": ("x_train", np.uint8(3), "()"),
    "whole-number pixels": ("x_train", X.astype(np.int64), "int64"),
    "boolean pixels": ("x_train", X > 9, "bool"),
    "complex pixels": ("x_train", X + 0j, "complex128"),
    "text": ("x_train", X.astype(str), "<U3"),
    "float pixels to 255": ("x_train", X.astype(np.float32), "from 0 to 255"),
    "negative pixels": ("x_train", X / -255, "from -1 to"),
    "NaN pixels": ("x_train", np.where(X > 100, np.nan, 0.5), "nan"),
    "one infinite pixel": ("x_train", np.where(X > 250, np.inf, 0.5), "inf"),
    "labels of another number": ("y_train", Y[:-1], "11 labels"),
    "no labels": ("y_train", Y[:0], "(0,)"),
    "one-hot labels": ("y_train", np.eye(3, dtype=int)[Y], "(12, 3)"),
    "float labels": ("y_train", Y.astype(np.float64), "float64"),
    "boolean labels": ("y_train", Y > 1, "bool"),
    "negative labels": ("y_train", Y.astype(int) - 1, "-1"),
    "huge labels": ("y_train", Y.astype(np.uint64) + 2**63, str(2**63 + 2)),
    "test images of another shape": ("x_test", ARRAYS["x_test"][:, :4], "(4, 4)"),
}


@pytest.mark.parametrize(("key", "array", "word"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_npz_with_a_bad_array(tmp_path, key, array, word):
    """The error names the file, the key and what is wrong with it."""
    path = write_npz(tmp_path / "bad.npz", **{key: array})
    message = fails(ValueError, path, str(path), word)
    assert key in message or word == "allow_pickle=False"


def test_damaged_npz(tmp_path):
    """Whatever zipfile or NumPy raise, the error names the file."""
    whole = write_npz(tmp_path / "whole.npz").read_bytes()
    np.savez(tmp_path / "stored.npz", **ARRAYS)
    stored = bytearray((tmp_path / "stored.npz").read_bytes())
    stored[stored.index(ARRAYS["x_train"].tobytes()) + 9] ^= 1
    np.save(tmp_path / "one.npy", X)
    damaged = {
        "empty": b"",
        "text": b"x_train, y_train\n",
        "array": (tmp_path / "one.npy").read_bytes(),
        "truncated": whole[:-30],
        "half": whole[: len(whole) // 2],
        "flipped bit": bytes(stored),
        "overwritten": whole[:60] + bytes(40) + whole[100:],
    }
    for kind, content in damaged.items():
        path = tmp_path / f"{kind}.npz"
        path.write_bytes(content)
        fails(ValueError, path, str(path))


IMAGES, LABELS = idx_bytes(X), idx_bytes(Y)
DAMAGED_IDX = {
    "empty": ("x_train", b"", "none"),
    "cut in the magic number": ("x_train", IMAGES[:3], "000008"),
    "cut in the header": ("x_train", IMAGES[:9], "00000803"),
    "truncated": ("x_train", IMAGES[:-1], "truncated"),
    "trailing bytes": ("y_train", LABELS + b"\0", "trailing"),
    "labels in place of images": ("x_train", LABELS, "00000803"),
    "images in place of labels": ("y_train", IMAGES, "00000801"),
    "floats": ("x_train", b"\0\0\x0d\3" + IMAGES[4:], "00000d03"),
    "compressed, without .gz": ("x_train", gzip.compress(IMAGES), "1f8b"),
    "no images": ("x_train", idx_bytes(X[:0]), "(0, 5, 4)"),
    "one label less": ("y_train", idx_bytes(Y[1:]), "11 labels"),
}


@pytest.mark.parametrize(("key", "content", "word"), DAMAGED_IDX.values(), ids=DAMAGED_IDX)
@pytest.mark.parametrize("end", ["", ".gz"])
def test_damaged_idx(tmp_path, key, content, word, end):
    """The error names the one file of the four that is damaged."""
    path = write_idx(tmp_path / "set", end) / (datasets.IDX_FILES[key] + end)
    path.write_bytes(gzip.compress(content) if end else content)
    fails(ValueError, tmp_path / "set", str(path), word)


def test_damaged_gzip(tmp_path):
    """Truncated, trailing or altered gzip streams are never half-read."""
    path = write_idx(tmp_path, ".gz") / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    wrong_checksum = whole[:-8] + bytes(4) + whole[-4:]
    for content in (
        IMAGES,
        b"",
        whole[:5],
        whole[:-1],
        whole[:100],
        whole + b"more",
        wrong_checksum,
        whole * 2,
    ):
        path.write_bytes(content)
        fails(ValueError, tmp_path, str(path))


def test_idx_folder_without_all_files(tmp_path):
    """Missing files are listed, and files of two folders are not mixed."""
    fails(FileNotFoundError, tmp_path, str(tmp_path), *datasets.IDX_FILES.values(), "raw")
    write_idx(tmp_path / "raw")
    (tmp_path / "raw" / "t10k-labels-idx1-ubyte").rename(tmp_path / "t10k-labels-idx1-ubyte")
    message = fails(FileNotFoundError, tmp_path, "lacks t10k-labels-idx1-ubyte (")
    assert "train-images" not in message  # and the label file elsewhere was not mixed in


def test_a_file_that_cannot_be_opened(tmp_path, monkeypatch):
    """A refusal of the system stays an OSError (root may read everything, so it is simulated)."""

    def refuse(path, mode):
        raise PermissionError(13, "Permission denied", str(path))

    write_idx(tmp_path, ".gz")
    monkeypatch.setattr(datasets.gzip, "open", refuse)
    fails(OSError, tmp_path, "train-images-idx3-ubyte.gz", "Permission denied")


# Subsets and hashes


def test_subset_is_random_repeatable_nested_and_in_file_order(tmp_path):
    """The promises of `load` about `train`, `test` and `seed`."""
    x = np.broadcast_to(np.arange(100, dtype=np.uint8)[:, None, None], (100, 2, 2))
    y = np.arange(100)
    path = write_npz(tmp_path / "own.npz", x_train=x, y_train=y, x_test=x, y_test=y)

    def drawn(part="train", **arguments):
        data = datasets.load(path, **arguments)
        labels = getattr(data, f"y_{part}")
        pixels = getattr(data, f"x_{part}")[:, 0, 0]
        np.testing.assert_array_equal(np.rint(pixels * 255), labels)  # images and labels stay together
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


def test_hash_covers_every_array_and_nothing_else(tmp_path):
    """One changed value, or another shape, changes the hash; the name does not."""
    data = datasets.load(write_npz(tmp_path / "own.npz"))
    assert dataclasses.replace(data, name="other").sha256 == data.sha256
    assert datasets.load(tmp_path / "own.npz", train=11).sha256 != data.sha256
    for key in datasets.KEYS:
        changed = getattr(data, key).copy()
        changed.flat[-1] = 1 - changed.flat[-1]
        assert dataclasses.replace(data, **{key: changed}).sha256 != data.sha256
    reshaped = data.x_train.reshape(12, 4, 5)
    assert dataclasses.replace(data, x_train=reshaped).sha256 != data.sha256


# Label noise


@given(
    labels=st.lists(st.integers(0, 9), max_size=60),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 2**64),
)
def test_shuffled_labels_keep_their_histogram(labels, fraction, seed):
    """For any labels, fraction and seed: a repeatable permutation of a copy."""
    y = np.array(labels, np.int32)
    before = y.copy()
    shuffled = datasets.shuffle_labels(y, fraction, seed)
    assert shuffled.dtype == np.int32
    assert not np.shares_memory(shuffled, y)
    np.testing.assert_array_equal(y, before)
    np.testing.assert_array_equal(np.sort(shuffled), np.sort(y))
    assert (shuffled != y).sum() <= round(fraction * len(y))
    np.testing.assert_array_equal(shuffled, datasets.shuffle_labels(y, fraction, seed))


@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.5, 1.0])
def test_share_of_labels_that_change(fraction):
    """Of n·fraction permuted labels, 1/classes keep theirs by chance: here 10 classes of 2,000 each."""
    y = np.repeat(np.arange(10, dtype=np.int32), 2000)
    changed = (datasets.shuffle_labels(y, fraction, seed=3) != y).mean()
    # Standard deviation at most sqrt(0.9 · 0.1 / 20000) = 0.002; five of them.
    assert changed == pytest.approx(0.9 * fraction, abs=0.0106)


def test_shuffled_labels_are_independent_of_the_true_ones():
    """A chi-squared test of true against shuffled label."""
    y = np.repeat(np.arange(10, dtype=np.int32), 2000)
    table = np.zeros((10, 10))
    np.add.at(table, (y, datasets.shuffle_labels(y)), 1)
    # Each cell expects 200, chi-squared with 81 degrees of freedom: mean 81, standard deviation 13.
    assert ((table - 200) ** 2 / 200).sum() < 81 + 5 * 13


def test_examples_of_a_smaller_fraction_are_among_those_of_a_larger():
    """Raising the fraction adds noise and moves none."""
    y = np.arange(1000, dtype=np.int32)  # all labels distinct, so nearly every permuted one changes
    few, many = (datasets.shuffle_labels(y, fraction) != y for fraction in (0.2, 0.6))
    assert (few & ~many).sum() <= 5  # fixed points of the larger permutation: one is expected


def test_shuffle_labels_depends_on_the_seed():
    """Two seeds give two permutations."""
    y = np.arange(50, dtype=np.int32)
    assert (datasets.shuffle_labels(y, seed=0) != datasets.shuffle_labels(y, seed=1)).any()


@pytest.mark.parametrize("fraction", [-0.1, 1.01, float("nan"), "half", None])
def test_shuffle_labels_refuses_a_fraction(fraction):
    """NaN and things that are no number included."""
    with pytest.raises(ValueError, match=r"fraction is .*\[0, 1\]"):
        datasets.shuffle_labels(np.arange(4), fraction)


def test_shuffle_labels_refuses_other_arrays():
    """Column vectors, float labels and a missing seed."""
    with pytest.raises(ValueError, match=r"shape \(4, 1\)"):
        datasets.shuffle_labels(np.zeros((4, 1), np.int32))
    with pytest.raises(TypeError, match="float64"):
        datasets.shuffle_labels(np.zeros(4))
    with pytest.raises(TypeError, match="seed"):
        datasets.shuffle_labels(np.zeros(4, np.int32), seed=None)


# Functions


def test_functions_against_their_definitions():
    """Values that a pocket calculator gives; the zeros of sgn(sin(5πx)) are zeros."""
    sinc, sign = datasets.function("sinc", 10), datasets.function("sign", 10)
    for data in (sinc, sign):
        np.testing.assert_allclose(data.x_train.ravel(), np.arange(1, 11) / 10)
        np.testing.assert_allclose(data.x_test.ravel(), np.arange(10) / 10 + 0.05)
        assert {getattr(data, key).dtype for key in datasets.KEYS} == {np.dtype("float64")}
    np.testing.assert_allclose(sinc.y_train[:3, 0], [2 / np.pi, 0, -2 / (3 * np.pi)], atol=1e-15)
    np.testing.assert_array_equal(sign.y_train[:, 0], [1, 0, -1, 0, 1, 0, -1, 0, 1, 0])
    np.testing.assert_array_equal(sign.y_test[:, 0], [1, 1, -1, -1, 1, 1, -1, -1, 1, 1])


@pytest.mark.parametrize(("name", "points", "words"), [("cos", 9, ["cos", "sinc, sign"]), ("sinc", 0, ["points", "0"])])
def test_unfit_functions(name, points, words):
    """The message names what was wrong and what would be right."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        datasets.function(name, points)
    assert all(word in str(caught.value) for word in words)
