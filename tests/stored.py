"""A tiny data set as files: an .npz and IDX files, written independently of the readers, and how errors are tested."""

import gzip

import numpy as np
import pytest

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
