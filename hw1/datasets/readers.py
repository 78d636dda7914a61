"""Files → arrays: one reader a format. What is read is not yet checked (see `hw1.datasets.loading`)."""

import gzip
import hashlib
import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hw1.datasets.dataset import KEYS

FOLDER = Path(__file__).parents[1] / "data"

# Name → SHA-256 of FOLDER/<name>.npz. Their origin and licence: data/Readme.md.
SHIPPED = {
    "mnist10k": "0e06a966cb958b241503ca0ca79125085d95eed57dbc520c110d57654548cbea",
    "fashion10k": "d819066d7bfc1b2429355fa1e770b9f199558858c7eeb74c619527b78d528bdd",
}

# Name in keras.datasets → where Keras 3 keeps the downloaded file, below ~/.keras/datasets.
DOWNLOADED = {
    "mnist": "mnist.npz",
    "fashion_mnist": "fashion-mnist/ (the four .gz files)",
    "cifar10": "cifar-10-batches-py-target_archive (cifar-10-python.tar.gz under this name)",
    "cifar100": "cifar-100-python-target_archive (cifar-100-python.tar.gz under this name)",
}

IDX_FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}

# What a reader returns: key → (where the array came from, for error messages; the array as stored).
Raw = dict[str, tuple[str, np.ndarray]]


def read_shipped(name: str) -> Raw:
    """Reads a shipped file, if it is as it was shipped."""
    path = FOLDER / f"{name}.npz"
    remedy = f'restore it with: git -C "{path.parent}" checkout -- {path.name}'
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {remedy}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHIPPED[name]:
        raise ValueError(f"{path} was changed: its SHA-256 is {found}, not {SHIPPED[name]}; {remedy}")
    return read_npz(path)


def read_keras(name: str) -> Raw:
    """Reads a data set of `keras.datasets`, which downloads it on first use."""
    import keras  # Here because it takes seconds and brings TensorFlow with it.

    try:
        (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras reports a failed download as a plain Exception.
        cache = Path(os.path.expanduser(os.environ.get("KERAS_HOME", "~/.keras")), "datasets")
        raise OSError(
            f"keras.datasets could not provide {name} ({_one_line(error)}); check the network, put a good copy "
            f"at {cache / DOWNLOADED[name]}, give a path to an .npz or to a folder of IDX files, or use "
            f"{' or '.join(SHIPPED)}, which need no download"
        ) from error
    arrays = (x_train, y_train, x_test, y_test)
    return {key: (f"{name}: {key}", array) for key, array in zip(KEYS, arrays, strict=True)}


def read_npz(path: Path) -> Raw:
    """Reads an .npz that has the four keys; pickled objects in it are refused."""
    with _naming(path, ".npz file"):
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
            missing = [key for key in KEYS if f"{key}.npy" not in archive.namelist()]
        if not missing:
            with np.load(path, allow_pickle=False) as arrays:
                return {key: (f"{path}: {key}", np.asarray(arrays[key])) for key in KEYS}
    raise ValueError(f"{path} lacks {', '.join(missing)}; its keys must be {', '.join(KEYS)}")


def read_idx_folder(folder: Path) -> Raw:
    """Reads four IDX files from the folder or from its sub-folder raw, where torchvision puts them."""
    places = [{key: _find(place, stem) for key, stem in IDX_FILES.items()} for place in (folder, folder / "raw")]
    files = min(places, key=lambda place: list(place.values()).count(None))
    if missing := [stem for key, stem in IDX_FILES.items() if files[key] is None]:
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(missing)} (plain or .gz, there or in its sub-folder raw); "
            "a folder must hold the four IDX files of a data set"
        )
    return {key: (str(files[key]), _read_idx(files[key], 3 if key.startswith("x") else 1)) for key in KEYS}


def _find(folder: Path, stem: str) -> Path | None:
    names = (stem, stem.replace("-idx", ".idx"))  # The second is torchvision's older spelling.
    files = [folder / f"{name}{end}" for name in names for end in ("", ".gz")]
    return next(filter(Path.is_file, files), None)


def _read_idx(path: Path, ndim: int) -> np.ndarray:
    """Reads one IDX file of unsigned bytes: 0, 0, 8, ndim, then ndim big-endian uint32 sizes, then the bytes.

    Source: http://yann.lecun.com/exdb/mnist/, "The IDX file format".
    """
    with _naming(path, "IDX file"), (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        data = file.read()
    magic, header = bytes([0, 0, 8, ndim]), 4 + 4 * ndim
    if data[:4] != magic or len(data) < header:
        kind = "images" if ndim == 3 else "labels"
        raise ValueError(
            f"{path} is not an IDX file of {kind}: its first bytes are {data[:header].hex() or 'none'}, "
            f"but must be {magic.hex()} and then {ndim} sizes of 4 bytes"
        )
    shape = np.frombuffer(data[4:header], ">u4").tolist()
    expected = header + math.prod(shape)
    if len(data) != expected:
        fault = "is truncated" if len(data) < expected else "has trailing bytes"
        raise ValueError(f"{path} {fault}: {len(data)} bytes, not {expected} as the shape {shape} in it requires")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


@contextmanager
def _naming(path: Path, kind: str) -> Iterator[None]:
    """Turns whatever gzip, zipfile and NumPy raise for a bad file into one line that names the file."""
    try:
        yield
    except Exception as error:
        # Errors of the system have a number (no permission, bad disk); the others mean a damaged file.
        wrapped = OSError if getattr(error, "errno", None) else ValueError
        raise wrapped(f"{path} cannot be read as an {kind} ({_one_line(error)})") from error


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
