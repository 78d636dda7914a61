"""Data sets by name or path. Every form goes through the same checks, so what is returned is complete and in range."""

import difflib
import os
from pathlib import Path

import numpy as np

from hw1.datasets.dataset import KEYS, Dataset, SizeError, Splits, integer
from hw1.datasets.readers import DOWNLOADED, SHIPPED, Raw, read_idx_folder, read_keras, read_npz, read_shipped


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
    seed = integer("seed", seed, 0)
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


def load_splits(
    name: str | os.PathLike[str] = "mnist10k", train: int | None = None, test: int | None = None, splits: str = "seed"
) -> Splits:
    """Loads a data set of which each seed gets a training and a test set.

    Args:
        name: as for `load`.
        train: number of training examples. None: as many as the data set has.
        test: number of test examples, likewise.
        splits: "seed": seed s shuffles all images of the data set, training and test images together, and takes the
            first `train` of them for training and the next `test` for testing. "fixed": every seed gets what
            ``load(name, train, test)`` gives, so that no training image is one of the data set's own test images.

    Returns:
        A `Splits`.

    Raises:
        ValueError, TypeError, OSError: as for `load`; `train` and `test` together are more than there are.
    """
    if splits not in ("seed", "fixed"):
        raise ValueError(f"splits must be 'seed' or 'fixed', not {splits!r}")
    if splits == "fixed":
        return Splits.fixed(load(name, train, test))
    whole = load(name)
    train, test = (
        len(labels) if count is None else integer(what, count, 1)
        for what, count, labels in (("train", train, whole.y_train), ("test", test, whole.y_test))
    )
    x, y = np.concatenate([whole.x_train, whole.x_test]), np.concatenate([whole.y_train, whole.y_test])
    if train + test > len(y):
        raise SizeError(
            f"train is {train} and test {test}, but {name} holds {len(y)} images in all: lower one of the two"
        )
    return Splits(x, y, whole.name, whole.classes, train, test)


def _read(name: str | os.PathLike[str]) -> Raw:
    """Finds the reader for a name or path."""
    if not isinstance(name, str | os.PathLike):
        raise TypeError(f"name must be the name of a data set or a path, not {type(name).__name__}")
    text = os.fspath(name)
    if text in SHIPPED:
        return read_shipped(text)
    if text in DOWNLOADED:
        return read_keras(text)
    path = Path(os.path.expanduser(text))
    if text and path.is_dir():
        return read_idx_folder(path)
    if path.is_file():
        return read_npz(path)
    names = [*SHIPPED, *DOWNLOADED]
    close = difflib.get_close_matches(text.lower(), names, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    kind = FileNotFoundError if len(path.parts) > 1 or path.suffix else ValueError
    raise kind(
        f"there is no data set, file or folder {text!r}{hint}; give one of {', '.join(names)}, "
        f"a path to an .npz with the keys {', '.join(KEYS)}, or a path to a folder of IDX files"
    )


def _examples(raw: Raw, part: str) -> tuple[np.ndarray, np.ndarray]:
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
    try:
        integer(what, count, 1, len(y))
    except ValueError as error:
        raise SizeError(*error.args) from None
    order = np.random.default_rng(seed).permutation(len(y))
    kept = np.sort(order[:count])
    return x[kept], y[kept]
