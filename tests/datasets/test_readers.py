"""Files in every form and with every kind of damage: the error names the file."""

import gzip

import numpy as np
import pytest
from stored import ARRAYS, assert_loaded, fails, idx_bytes, write_idx, write_npz

from hw1 import datasets
from hw1.datasets import readers

X, Y = ARRAYS["x_train"], ARRAYS["y_train"]


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("sub_folder", ["", "raw"])
def test_idx_folder(tmp_path, end, old, sub_folder):
    """All spellings of the file names give the data, and the hash, of the .npz."""
    write_idx(tmp_path / "MNIST" / sub_folder, end, old)
    data = datasets.load(tmp_path / "MNIST")
    assert_loaded(data)
    assert data.sha256 == datasets.load(write_npz(tmp_path / "same.npz")).sha256


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
    monkeypatch.setattr(readers.gzip, "open", refuse)
    fails(OSError, tmp_path, "train-images-idx3-ubyte.gz", "Permission denied")
