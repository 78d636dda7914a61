"""Data sets in the forms that others offer them in: IDX with prefixes, tables, folders of images, and pickles."""

import builtins
import gzip
import io
import pickle

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from stored import ARRAYS, assert_loaded, fails, idx_bytes, write_idx

from hw1 import datasets
from hw1.datasets import tables

RNG = np.random.default_rng(5)
X = np.concatenate([ARRAYS["x_train"], ARRAYS["x_test"]])[:, :4]  # 19 images of 4 × 4 pixels
Y = np.concatenate([ARRAYS["y_train"], ARRAYS["y_test"]]).astype(int) + 1


def prefixed(folder, prefix):
    """Writes IDX files as EMNIST's are called."""
    folder.mkdir(parents=True, exist_ok=True)
    for key, array in ARRAYS.items():
        part, kind = key[2:], "images-idx3" if key[0] == "x" else "labels-idx1"
        (folder / f"{prefix}-{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx_bytes(array)))


def test_prefixed_idx_files(tmp_path):
    """One set in a folder needs no name; of several, its prefix tells which is meant."""
    prefixed(tmp_path / "gzip", "emnist-letters")
    assert_loaded(datasets.load(tmp_path / "gzip"))
    prefixed(tmp_path / "gzip", "emnist-mnist")
    fails(ValueError, tmp_path / "gzip", "several data sets", "emnist-letters", "emnist-mnist")
    assert_loaded(datasets.load(tmp_path / "gzip" / "emnist-letters"))
    (tmp_path / "gzip" / "emnist-mnist-test-labels-idx1-ubyte.gz").unlink()
    assert_loaded(datasets.load(tmp_path / "gzip"))
    fails(FileNotFoundError, tmp_path / "gzip" / "emnist-mnist", "lacks", "labels-idx1-ubyte")


def test_root_of_torchvision(tmp_path):
    """The folder given as root= has <set>/raw; with plain and compressed files both, one of them is read."""
    write_idx(tmp_path / "MNIST" / "raw")
    write_idx(tmp_path / "MNIST" / "raw", ".gz")
    assert_loaded(datasets.load(tmp_path))
    write_idx(tmp_path / "FashionMNIST" / "raw")
    fails(ValueError, tmp_path, "several data sets", "FashionMNIST", "MNIST")
    assert_loaded(datasets.load(tmp_path / "MNIST"))


# Tables


def frame():
    """A row per image: its label, then its pixels."""
    pixels = pd.DataFrame(X.reshape(len(X), -1), columns=[f"pixel{number}" for number in range(16)])
    return pd.concat([pd.Series(Y, name="label"), pixels], axis=1)


def assert_table(data):
    """Asserts that splits are those of the table."""
    np.testing.assert_array_equal(data.x, X / np.float32(255))
    np.testing.assert_array_equal(data.y, Y - 1)
    assert data.labels == (1, 2, 3)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("end", [".csv", ".csv.gz"])
def test_csv(tmp_path, header, end):
    """As Kaggle has it, with and without header, plain and compressed."""
    frame().to_csv(tmp_path / f"train{end}", header=header, index=False)
    assert_table(datasets.load_splits(tmp_path / f"train{end}", 10, 9))


def test_csv_with_its_label_last_and_as_text(tmp_path):
    """A named column of labels may be anywhere."""
    table = frame().rename(columns={"label": "Class"})
    table["Class"] = table["Class"].map({1: "one", 2: "two", 3: "three"})
    table[[*table.columns[1:], "Class"]].to_csv(tmp_path / "own.csv", index=False)
    data = datasets.load_splits(tmp_path / "own.csv")
    np.testing.assert_array_equal(data.x, X / np.float32(255))
    assert data.labels == ("one", "three", "two")


def test_a_folder_of_tables(tmp_path):
    """A training and a test set of their own, as Fashion-MNIST on Kaggle."""
    frame()[:12].to_csv(tmp_path / "fashion-mnist_train.csv", index=False)
    frame()[12:].to_csv(tmp_path / "fashion-mnist_test.csv", index=False)
    data = datasets.load(tmp_path)
    np.testing.assert_array_equal(data.x_train, X[:12] / np.float32(255))
    np.testing.assert_array_equal(data.y_test, Y[12:] - 1)


BAD_TABLES = {
    "no label": (frame().drop(columns="label"), "no column called label"),
    "two labels": (frame().assign(target=1), "2 columns called label"),
    "no square": (frame().drop(columns="pixel0"), "15 columns besides the label, which make no square"),
    "missing label": (frame().assign(label=lambda table: table.label.where(table.index > 0)), "without a label"),
    "missing pixel": (frame().assign(pixel3=lambda table: table.pixel3.where(table.index > 0)), "nan"),
    "text": (frame().assign(pixel3="white"), "pixel3"),
    "no rows": (frame()[:0], "0 rows"),
    "labels alone": (frame()[["label"]], "1 columns"),
}


@pytest.mark.parametrize(("table", "word"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_bad_csv(tmp_path, table, word):
    """The error names the file and what is wrong."""
    table.to_csv(tmp_path / "bad.csv", index=False)
    fails(ValueError, tmp_path / "bad.csv", "bad.csv", word)


FLOWERS = "5.1,3.5,1.4,0.2,setosa\n4.9,3.0,1.4,0.2,setosa\n6.3,3.3,6.0,2.5,virginica\n5.8,2.7,5.1,1.9,virginica\n"
NUMBERS = pd.DataFrame(RNG.integers(0, 16, (20, 9)))
FEATURES = {
    "decimals": FLOWERS,
    "header": f"a,b,c,d,species\n{FLOWERS}",
    "whole": NUMBERS.assign(label=Y[0]).to_csv(index=False),
    "no header": pd.concat([NUMBERS[0] % 3, NUMBERS], axis=1).to_csv(index=False, header=False),
}


@pytest.mark.parametrize("text", FEATURES.values(), ids=FEATURES)
def test_a_table_of_features_is_not_read_as_images(tmp_path, text):
    """Though their number is a square; the class may stand last, and be text."""
    (tmp_path / "own.csv").write_text(text)
    fails(ValueError, tmp_path / "own.csv", "own.csv", "features, not of images of", "pixel0")


@pytest.mark.parametrize("last", [True, False])
def test_labels_in_an_unnamed_column_that_is_not_the_first(tmp_path, last):
    """Such as those of the UCI repository, whose 64 pixels come before the class; the first pixel is always black."""
    pixels = RNG.integers(0, 17, (40, 64)) * (np.arange(64) % 8 > 0)
    table = np.insert(pixels, 64 if last else 0, np.arange(40) % 5, axis=1)
    pd.DataFrame(table).to_csv(tmp_path / "own.csv", index=False, header=False)
    if last:
        fails(ValueError, tmp_path / "own.csv", "own.csv", "names no columns", "first line", "label")
    else:
        assert datasets.load_splits(tmp_path / "own.csv", 20, 20).classes == 5
    pd.DataFrame(table[:, :9]).to_csv(tmp_path / "numbers.csv", index=False, header=False)
    with pytest.raises(ValueError, match=r"numbers.csv names no columns.*label or target cannot be told"):
        datasets.load_arrays(tmp_path / "numbers.csv", 20, 20)


@pytest.mark.parametrize("header", ["", "a,b,c,d,species\n", "a,b,c,d,class\n"])
def test_a_table_of_features_as_it_is(tmp_path, header):
    """The inputs are its columns, classes by name are numbered in their order; no row is lost to a header."""
    (tmp_path / "own.csv").write_text(header + FLOWERS)
    data = datasets.load_arrays(tmp_path / "own.csv", 2, 2)
    rows = np.concatenate([data.x_train, data.x_test])
    expected = np.array([line.split(",")[:4] for line in FLOWERS.split()], np.float32)
    assert sorted(rows.tolist()) == sorted(expected.tolist())
    np.testing.assert_array_equal(np.concatenate([data.y_train, data.y_test]), rows[:, 2] > 2)
    assert any("setosa, virginica" in note for note in data.notes)


def test_a_file_that_is_no_table(tmp_path):
    """Empty, ragged or compressed in name alone."""
    for name, content in {"empty.csv": b"", "ragged.csv": b"1,2\n1,2,3,4,5\n", "plain.csv.gz": b"1,2\n"}.items():
        (tmp_path / name).write_bytes(content)
        fails(ValueError, tmp_path / name, name)


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    """What is missing, and how it is had."""
    ordinary = builtins.__import__

    def without(name, *arguments, **options):
        if name.partition(".")[0] == "pyarrow":
            raise ImportError(name)
        return ordinary(name, *arguments, **options)

    (tmp_path / "own.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(builtins, "__import__", without)
    fails(ValueError, tmp_path / "own.parquet", "own.parquet", "pip install pyarrow")


def png(image):
    """The bytes of a PNG."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


def parquet(path, table):
    """Writes a table as Parquet."""
    path.parent.mkdir(exist_ok=True)
    table.to_parquet(path)


def stand_in(path, table):
    """Stands in for Parquet where pyarrow is not installed."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(table))


@pytest.fixture(params=[parquet, stand_in])
def write_table(request, monkeypatch):
    """How tables are written: by pyarrow, or pickled, where the reader of Parquet is replaced."""
    if request.param is parquet:
        pytest.importorskip("pyarrow")
    else:
        monkeypatch.setattr(tables, "_parquet", lambda path: pickle.loads(path.read_bytes()))
    return request.param


def test_parquet(tmp_path, write_table):
    """Pixels in columns, and encoded images as Hugging Face has them in data/train-….parquet."""
    write_table(tmp_path / "own.parquet", frame())
    assert_table(datasets.load_splits(tmp_path / "own.parquet"))
    (tmp_path / "own.parquet").unlink()
    encoded = pd.DataFrame({"image": [{"bytes": png(image), "path": "a.png"} for image in X], "label": Y})
    write_table(tmp_path / "data" / "train-00000-of-00002.parquet", encoded[:5])
    write_table(tmp_path / "data" / "train-00001-of-00002.parquet", encoded[5:12])
    write_table(tmp_path / "data" / "test-00000-of-00001.parquet", encoded[12:])
    data = datasets.load(tmp_path)
    np.testing.assert_array_equal(data.x_train, X[:12] / np.float32(255))
    np.testing.assert_array_equal(data.y_test, Y[12:] - 1)
    cut = [png(image[: 3 + number % 2]) for number, image in enumerate(X)]
    write_table(tmp_path / "b.parquet", encoded.assign(image=cut))
    fails(ValueError, tmp_path / "b.parquet", "different sizes")
    write_table(tmp_path / "c.parquet", encoded.assign(image="a.png"))
    fails(ValueError, tmp_path / "c.parquet", "neither images nor pixels")
    (tmp_path / "d.parquet").write_bytes(b"PAR1")
    if write_table is parquet:
        fails(ValueError, tmp_path / "d.parquet", "d.parquet", "Parquet")


# Folders of images


def write_images(folder, x, y, end="png"):
    """Writes <class>/<number>.<end> for each image."""
    for number, (image, label) in enumerate(zip(x, y, strict=True)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number:03}.{end}")


@pytest.mark.parametrize("shape", [(5, 4), (6, 6, 3), (5, 5, 4)])
@pytest.mark.parametrize("test", ["test", "val"])
def test_folders_of_images(tmp_path, shape, test):
    """Grey, coloured and with an alpha channel; pixels are those of the files, classes those of the folders."""
    x = RNG.integers(0, 256, (15, *shape), dtype=np.uint8)
    y = np.array(["cat", "dog", "axolotl"])[np.arange(15) % 3]
    write_images(tmp_path / "train", x[:9], y[:9])
    write_images(tmp_path / test, x[9:], y[9:])
    (tmp_path / "train" / ".hidden").mkdir()
    (tmp_path / "train" / "empty").mkdir()
    data = datasets.load(tmp_path)
    assert data.labels == ("axolotl", "cat", "dog")
    for images, labels, part in ((data.x_train, data.y_train, slice(9)), (data.x_test, data.y_test, slice(9, 15))):
        order = np.argsort(y[part], kind="stable")
        np.testing.assert_array_equal(images, x[part][order] / np.float32(255))
        assert [data.labels[number] for number in labels] == y[part][order].tolist()


def test_folders_of_images_without_a_division(tmp_path):
    """Each seed divides them."""
    write_images(tmp_path, X, Y)
    data = datasets.load_splits(tmp_path, 10, 9)
    order = np.argsort(Y, kind="stable")
    np.testing.assert_array_equal(data.x, X[order] / np.float32(255))
    assert data.labels == (1, 2, 3)


def test_images_that_make_no_data_set(tmp_path):
    """Different sizes, more than 8 bits, a damaged file, no test images: nothing is resized or cut silently."""
    write_images(tmp_path / "sizes", X[:3], Y[:3])
    write_images(tmp_path / "sizes", X[:3, :2], Y[:3] + 5)
    fails(ValueError, tmp_path / "sizes", "4 × 4 and 4 × 2")
    write_images(tmp_path / "deep", X.astype(np.uint16) * 257, Y)
    fails(ValueError, tmp_path / "deep", "more than 8 bits")
    write_images(tmp_path / "mixed", np.stack([X] * 4, axis=-1), Y)
    write_images(tmp_path / "mixed", np.stack([X] * 3, axis=-1), Y + 5)
    fails(ValueError, tmp_path / "mixed", "alpha")
    write_images(tmp_path / "damaged", X, Y)
    (tmp_path / "damaged" / "1" / "000.png").write_bytes(b"no image")
    fails(ValueError, tmp_path / "damaged", "000.png")
    write_images(tmp_path / "lone" / "train", X, Y)
    fails(FileNotFoundError, tmp_path / "lone", "none of test")
    (tmp_path / "empty").mkdir()
    fails(FileNotFoundError, tmp_path / "empty", "for each class")


@pytest.mark.parametrize(
    "name", ["mnist.pkl", "batch.pickle", "net.pt", "cifar-10-batches-py/data_batch_1", "cifar-100-python/meta"]
)
def test_pickles_are_refused_by_name(tmp_path, name):
    """And not opened: this one would leave a file behind."""

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(Trap()))
    fails(ValueError, path if path.suffix else path.parent, str(path.parent), "pickled", ".npz")
    if not path.suffix:  # the folder around it, torchvision's root=
        fails(ValueError, tmp_path, str(path.parent), "pickled")
    assert not (tmp_path / "sprung").exists()
