"""Files → arrays: .npz, IDX and `keras.datasets`. What is read is not yet checked (see `hw1.datasets.checks`)."""

import gzip
import hashlib
import math
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hw1 import limits
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
# The same with the prefix of KMNIST or EMNIST, which say "test", and in torchvision's older spelling.
IDX_NAME = re.compile(r"(.*?)[-_.]?(train|t10k|test)-(images|labels)[-.]idx[13]-ubyte(?:\.gz)?")

# How arrays are called in an .npz, in lower case: a data set's own parts, or one array for all images.
NPZ_KEYS = (
    KEYS,
    ("train_images", "train_labels", "test_images", "test_labels"),  # MedMNIST
    ("x", "y"),
    ("images", "labels"),
    ("data", "target"),
    ("arr_0", "arr_1"),  # np.savez without names
)
WHOLE = ("x_all", "y_all")  # keys of a data set that has no training and test set of its own


class Raw(NamedTuple):
    """What a reader returns.

    Attributes:
        arrays: each of `KEYS`, or of `WHOLE`, → where the array came from, for messages; the array as stored.
        notes: what was left out, one sentence each.
    """

    arrays: dict[str, tuple[str, np.ndarray]]
    notes: tuple[str, ...] = ()


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
            f"keras.datasets could not provide {name} ({one_line(error)}); check the network, put a good copy "
            f"at {cache / DOWNLOADED[name]}, give a path to an .npz or to a folder of IDX files, or use "
            f"{' or '.join(SHIPPED)}, which need no download"
        ) from error
    arrays = (x_train, y_train, x_test, y_test)
    return Raw({key: (f"{name}: {key}", array) for key, array in zip(KEYS, arrays, strict=True)})


def read_npz(path: Path) -> Raw:
    """Reads an .npz whose keys are some of `NPZ_KEYS`; pickled objects in it are refused."""
    with naming(path, ".npz file"):
        if not zipfile.is_zipfile(path):
            raise ValueError("not a zip archive")
        with zipfile.ZipFile(path) as archive:
            limits.check_archive(path, archive)
        with np.load(path, allow_pickle=False) as archive:
            called = {key.lower(): key for key in archive.files}
            keys = max(NPZ_KEYS, key=lambda keys: [len(keys) > 2, all(key in called for key in keys)][::-1])
            arrays = {key: archive[called[key]] for key in keys if key in called}
    if missing := [key for key in keys if key not in arrays]:
        known = "; ".join(", ".join(names) for names in NPZ_KEYS)
        raise ValueError(f"{path} lacks {', '.join(missing)}; its keys must be those of one of: {known}")
    names = KEYS if len(keys) == 4 else WHOLE
    found = {name: (f"{path}: {called[key]}", arrays[key]) for name, key in zip(names, keys, strict=True)}
    unused = [key for key in called if key.startswith("val_")]
    return Raw(found, (f"{' and '.join(unused)} of the file are not used",) if unused else ())


def idx_sets(folder: Path) -> dict[tuple[Path, str], dict[str, Path]]:
    """The data sets of IDX files in a folder, in its sub-folder raw, and in such sub-folders of its sub-folders.

    Returns:
        Folder and prefix of the names → key → file, in that order of folders. A plain file comes before a compressed
        one. Sets that lack files come too.
    """
    found = {}
    for place in (folder, folder / "raw", *sorted(folder.glob("*/raw"))):
        for path in sorted(place.iterdir(), reverse=True) if place.is_dir() else ():
            if path.is_file() and (match := IDX_NAME.fullmatch(path.name)):
                prefix, part, kind = match.groups()
                key = f"{kind[0].replace('i', 'x').replace('l', 'y')}_{'train' if part == 'train' else 'test'}"
                found.setdefault((place, prefix), {})[key] = path
    return found


def read_idx(folder: Path, prefix: str | None = None) -> Raw:
    """Reads the four IDX files of a folder; see `idx_sets` for where they may be.

    Args:
        folder: the folder.
        prefix: that of the files' names, such as "emnist-letters". None: there is one data set only.

    Raises:
        ValueError: there are several data sets, or a file is damaged.
        FileNotFoundError: files are missing.
    """
    sets = {place: files for place, files in idx_sets(folder).items() if prefix in (None, place[1])}
    whole = {place: files for place, files in sets.items() if len(files) == len(KEYS)}
    nearest = {place: files for place, files in whole.items() if place[0] == next(iter(whole))[0]}
    if len(nearest) > 1 or (len(whole) > 1 and next(iter(whole))[0].parent.parent == folder):
        names = sorted(str(place / name if name else place) for place, name in whole)
        raise ValueError(f"{folder} has several data sets; give one of {', '.join(names)}")
    if not whole:
        _, files = max(sets.items(), key=lambda item: len(item[1]), default=(None, {}))
        missing = [f"{f'{prefix}-' if prefix else ''}{stem}" for key, stem in IDX_FILES.items() if key not in files]
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(missing)} (plain or .gz, there or in its sub-folder raw); "
            "a folder must hold the four IDX files of a data set, Parquet files, or a folder of images for each class"
        )
    (files,) = nearest.values()
    return Raw({key: (str(files[key]), _read_idx(files[key], 3 if key.startswith("x") else 1)) for key in KEYS})


def _read_idx(path: Path, ndim: int) -> np.ndarray:
    """Reads one IDX file of unsigned bytes: 0, 0, 8, ndim, then ndim big-endian uint32 sizes, then the bytes.

    Source: http://yann.lecun.com/exdb/mnist/, "The IDX file format".
    """
    magic, header = bytes([0, 0, 8, ndim]), 4 + 4 * ndim
    with naming(path, "IDX file"), (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        data = file.read(header)
        shape = np.frombuffer(data[4:], ">u4").tolist() if len(data) == header and data[:4] == magic else []
        expected = header + math.prod(shape)
        limits.check_inflated(path, expected, path.stat().st_size)
        data += file.read(expected - header + 1)  # one more tells of trailing bytes
    if data[:4] != magic or len(data) < header:
        kind = "images" if ndim == 3 else "labels"
        raise ValueError(
            f"{path} is not an IDX file of {kind}: its first bytes are {data[:header].hex() or 'none'}, "
            f"but must be {magic.hex()} and then {ndim} sizes of 4 bytes"
        )
    if len(data) != expected:
        found = f"is truncated: {len(data)}" if len(data) < expected else "has trailing bytes: more"
        raise ValueError(f"{path} {found} bytes, not {expected} as the shape {shape} in it requires")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


@contextmanager
def naming(path: Path, kind: str) -> Iterator[None]:
    """Turns whatever a library raises for a bad file into one line that names the file."""
    try:
        yield
    except Exception as error:
        # Errors of the system have a number (no permission, bad disk); the others mean a damaged file.
        wrapped = OSError if getattr(error, "errno", None) else ValueError
        raise wrapped(f"{path} cannot be read as an {kind} ({one_line(error)})") from error


def one_line(error: Exception) -> str:
    """An error's type and text without line breaks."""
    return " ".join(f"{type(error).__name__}: {error}".split())
