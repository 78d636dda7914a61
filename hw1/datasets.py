"""Data sets by name or path, random subsets, label noise, and the two functions of part 1-1.

Example:
    data = load("mnist10k", train=1000)  # 1,000 of the 5,000 training images, all test images
    data.x_train.shape, data.y_train.shape  # (1000, 28, 28), (1000,)
    noisy = dataclasses.replace(data, y_train=shuffle_labels(data.y_train))

Every form of data set goes through the same checks, so what `load` returns is complete and in range, and a
damaged file is an error that names it. Nothing is downloaded unless the name is one of `DOWNLOADED`.
"""

import difflib
import gzip
import hashlib
import math
import numbers
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "data"

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

# The course's functions on (0, 1]. sgn(0) = 0, though sin(kπ) is not quite 0 in floating point.
FUNCTIONS = {
    "sinc": lambda x: np.sinc(5 * x),  # sin(5πx) / (5πx)
    "sign": lambda x: np.sign(np.round(np.sin(5 * np.pi * x), 9)),  # sgn(sin(5πx))
}

KEYS = ("x_train", "y_train", "x_test", "y_test")

IDX_FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}

# What a reader returns: key → (where the array came from, for error messages; the array as stored).
_Raw = dict[str, tuple[str, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test images with their labels, or points of a function.

    Attributes:
        x_train: float32 [n, height, width] or [n, height, width, channels], in [0, 1]; of a function float64 [n, 1].
        y_train: int32 [n], in [0, classes); of a function float64 [n, 1].
        x_test: as `x_train`.
        y_test: as `y_train`.
        name: the name or path given to `load`, or that of the function.
        classes: number of classes, the largest label of the whole data set (before subsets) + 1; of a function 1.
    """

    x_train: np.ndarray = field(repr=False)
    y_train: np.ndarray = field(repr=False)
    x_test: np.ndarray = field(repr=False)
    y_test: np.ndarray = field(repr=False)
    name: str
    classes: int

    @property
    def sha256(self) -> str:
        """SHA-256 of the four arrays in use: for each its name, dtype and shape, then its bytes in C order.

        It covers exactly what a run sees (after scaling, subsets and label noise) and depends neither on the
        file format nor on the name, so equal hashes mean equal data. Computed at each access.
        """
        digest = hashlib.sha256()
        for key in KEYS:
            array = getattr(self, key)
            digest.update(f"{key} {array.dtype.str} {array.shape} ".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


def load(
    name: str | os.PathLike[str] = "mnist10k",
    train: int | None = None,
    test: int | None = None,
    seed: int = 0,
) -> Dataset:
    """Loads a data set, or a random subset of it.

    Args:
        name: one of
            - `mnist10k`, `fashion10k`: shipped in hw1/data, 5,000 training and 5,000 test images each;
            - `mnist`, `fashion_mnist`, `cifar10`, `cifar100`: `keras.datasets`, downloaded on first use;
            - a path to an .npz with the keys `x_train`, `y_train`, `x_test`, `y_test`;
            - a path to a folder of IDX files, plain or .gz, named as torchvision and Debian name them.
            A name comes before a path: write `./mnist` for a folder called mnist.
            uint8 pixels are divided by 255; floats must lie in [0, 1] already. Labels may be [n] or [n, 1].
        train: number of training examples to draw without replacement. None: all of them.
        test: number of test examples, likewise.
        seed: of the draw. With one seed a smaller subset is part of every larger one, and the training
            subset does not depend on `test`. Examples stay in file order.

    Returns:
        A `Dataset`.

    Raises:
        ValueError: the name is unknown, the file is damaged or does not hold such a data set, or a subset is
            empty or larger than what there is.
        TypeError: an argument has the wrong type.
        OSError: a file is missing or unreadable, or a download failed.
    """
    seed = _integer("seed", seed, 0)
    raw = _read(name)
    x_train, y_train = _examples(raw, "train")
    x_test, y_test = _examples(raw, "test")
    if x_train.shape[1:] != x_test.shape[1:]:
        shapes = f"{x_test.shape[1:]}, but those for training {x_train.shape[1:]}"
        raise ValueError(f"{raw['x_test'][0]} has images of shape {shapes}; the two must be the same")
    classes = 1 + int(max(y_train.max(), y_test.max()))
    if classes > max(1000, len(y_train) + len(y_test)):
        raise ValueError(f"{name}: labels must count the classes from 0, so {classes - 1} is too large for one")
    # The second word of each seed keeps the two draws, and that of shuffle_labels, independent.
    x_train, y_train = _subset(x_train, y_train, "train", train, [seed, 1])
    x_test, y_test = _subset(x_test, y_test, "test", test, [seed, 2])
    return Dataset(x_train, y_train, x_test, y_test, os.fspath(name), classes)


def function(name: str, points: int = 200) -> Dataset:
    """Samples one of the course's functions on (0, 1].

    Args:
        name: "sinc" for sin(5πx) / (5πx), "sign" for sgn(sin(5πx)).
        points: number n of training points, x = 1/n, 2/n, ..., 1; the n test points lie in the middle between.

    Returns:
        A `Dataset` of float64 arrays of shape [n, 1].

    Raises:
        ValueError, TypeError: the name is unknown, or `points` is not a positive integer.
    """
    if name not in FUNCTIONS:
        raise ValueError(f"unknown function {name!r}; the functions are {', '.join(FUNCTIONS)}")
    points = _integer("points", points, 1)
    x_train = np.arange(1, points + 1)[:, None] / points
    x_test = x_train - 0.5 / points
    return Dataset(x_train, FUNCTIONS[name](x_train), x_test, FUNCTIONS[name](x_test), name, 1)


def shuffle_labels(y: np.ndarray, fraction: float = 1.0, seed: int = 0) -> np.ndarray:
    """Permutes the labels of a random part of the examples among themselves.

    The histogram of the labels stays exactly as it was. About 1/classes of the permuted examples keep their
    label by chance. With one seed the examples chosen for a smaller fraction are among those chosen for a
    larger one. Source: Zhang et al., "Understanding deep learning requires rethinking generalization",
    arXiv 1611.03530.

    Args:
        y: integer labels [n].
        fraction: share of the examples to permute, in [0, 1]; the number is rounded. 0 changes nothing.
        seed: of the choice and of the permutation.

    Returns:
        A new array [n] of the dtype of `y`, which stays as it was.

    Raises:
        ValueError: `fraction` is not a number in [0, 1], `y` is not [n], or `seed` is negative.
        TypeError: `seed` is not an integer, or `y` not of an integer type.
    """
    y = np.asarray(y)
    if y.ndim != 1:
        raise ValueError(f"y has shape {y.shape}; labels must have shape [n]")
    if not np.issubdtype(y.dtype, np.integer):
        raise TypeError(f"y is of type {y.dtype}; labels must be integers, such as int32")
    if not isinstance(fraction, numbers.Real) or not 0 <= fraction <= 1:
        raise ValueError(f"fraction is {fraction!r}; it must be a number in [0, 1]")
    rng = np.random.default_rng(_integer("seed", seed, 0))
    chosen = rng.permutation(len(y))[: round(fraction * len(y))]
    shuffled = y.copy()
    shuffled[chosen] = y[rng.permutation(chosen)]
    return shuffled


def _read(name: str | os.PathLike[str]) -> _Raw:
    """Finds the reader for a name or path."""
    if not isinstance(name, str | os.PathLike):
        raise TypeError(f"name must be the name of a data set or a path, not {type(name).__name__}")
    text = os.fspath(name)
    if text in SHIPPED:
        return _read_shipped(text)
    if text in DOWNLOADED:
        return _read_keras(text)
    path = Path(os.path.expanduser(text))
    if text and path.is_dir():
        return _read_idx_folder(path)
    if path.is_file():
        return _read_npz(path)
    names = [*SHIPPED, *DOWNLOADED]
    close = difflib.get_close_matches(text.lower(), names, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    kind = FileNotFoundError if len(path.parts) > 1 or path.suffix else ValueError
    raise kind(
        f"there is no data set, file or folder {text!r}{hint}; give one of {', '.join(names)}, "
        f"a path to an .npz with the keys {', '.join(KEYS)}, or a path to a folder of IDX files"
    )


def _read_shipped(name: str) -> _Raw:
    path = FOLDER / f"{name}.npz"
    remedy = f'restore it with: git -C "{path.parent}" checkout -- {path.name}'
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {remedy}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHIPPED[name]:
        raise ValueError(f"{path} was changed: its SHA-256 is {found}, not {SHIPPED[name]}; {remedy}")
    return _read_npz(path)


def _read_keras(name: str) -> _Raw:
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


def _read_npz(path: Path) -> _Raw:
    with _naming(path, ".npz file"):
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
            missing = [key for key in KEYS if f"{key}.npy" not in archive.namelist()]
        if not missing:
            with np.load(path, allow_pickle=False) as arrays:
                return {key: (f"{path}: {key}", np.asarray(arrays[key])) for key in KEYS}
    raise ValueError(f"{path} lacks {', '.join(missing)}; its keys must be {', '.join(KEYS)}")


def _read_idx_folder(folder: Path) -> _Raw:
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


def _examples(raw: _Raw, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the checked images and labels of `part`, "train" or "test"."""
    (x_source, x), (y_source, y) = raw[f"x_{part}"], raw[f"y_{part}"]
    x, y = _pixels(x_source, x), _labels(y_source, y)
    if len(x) != len(y):
        raise ValueError(f"{x_source} has {len(x)} images, but {y_source} has {len(y)} labels; give one for each")
    return x, y


def _pixels(source: str, x: np.ndarray) -> np.ndarray:
    """Checks images and returns them as float32 in [0, 1]."""
    if x.ndim not in (3, 4) or 0 in x.shape:
        wanted = "[n, height, width] or [n, height, width, channels]"
        raise ValueError(f"{source} has shape {x.shape}; images must have shape {wanted}, all above 0")
    if x.dtype == np.uint8:
        return x.astype(np.float32, order="C") / np.float32(255)
    if not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"{source} is of type {x.dtype}; pixels must be uint8 or floats in [0, 1]")
    if not (x.min() >= 0 and x.max() <= 1):  # Written so that NaN fails too.
        span = f"{x.min():g} to {x.max():g}"
        raise ValueError(f"{source} has float pixels from {span}; floats must lie in [0, 1], 0 to 255 be uint8")
    return x.astype(np.float32, order="C")


def _labels(source: str, y: np.ndarray) -> np.ndarray:
    """Checks labels and returns them as int32 [n]."""
    if y.ndim == 2 and y.shape[1] == 1:  # CIFAR in keras.datasets.
        y = y[:, 0]
    if y.ndim != 1 or len(y) == 0:
        raise ValueError(f"{source} has shape {y.shape}; labels must have shape [n] or [n, 1], n > 0")
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"{source} is of type {y.dtype}; labels must be integers 0, 1, 2, …")
    if y.min() < 0 or y.max() > np.iinfo(np.int32).max:
        raise ValueError(f"{source} has labels from {y.min()} to {y.max()}; they must be 0, 1, 2, …")
    return y.astype(np.int32)


def _subset(
    x: np.ndarray, y: np.ndarray, what: str, count: int | None, seed: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Keeps `count` examples drawn at random, in file order."""
    if count is None:
        return x, y
    order = np.random.default_rng(seed).permutation(len(y))
    kept = np.sort(order[: _integer(what, count, 1, len(y))])
    return x[kept], y[kept]


def _integer(what: str, value: int, low: int, high: float = math.inf) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{what} must be an integer, not {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{what} is {value}; it must be an integer in [{low}, {high}]")
    return int(value)


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


def average_pool(data: Dataset, side: int) -> Dataset:
    """The same data with every `side` × `side` square of pixels replaced by its mean.

    Args:
        data: images of shape [n, h, w] or [n, h, w, c] whose h and w are multiples of `side`.
        side: of the squares, in pixels.

    Returns:
        A `Dataset` with images of shape [n, h / side, w / side] or [n, h / side, w / side, c].

    Raises:
        ValueError: if the squares do not tile the images.
    """
    height, width = data.x_train.shape[1:3]
    if side < 1 or height % side or width % side:
        raise ValueError(f"squares of {side!r} pixels do not tile images of {height} × {width}")

    def pooled(x):
        return x.reshape(len(x), height // side, side, width // side, side, *x.shape[3:]).mean(axis=(2, 4))

    return replace(data, x_train=pooled(data.x_train), x_test=pooled(data.x_test))
