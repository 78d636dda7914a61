"""Data sets by name or path. Every form goes through the same checks, so what is returned is complete and in range."""

import difflib
import math
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hw1.datasets import checks
from hw1.datasets.dataset import Dataset, SizeError, Splits, integer
from hw1.datasets.folders import PICKLES, read_folder, refuse_pickle
from hw1.datasets.readers import (
    DOWNLOADED,
    KEYS,
    SHIPPED,
    WHOLE,
    Raw,
    idx_sets,
    read_idx,
    read_keras,
    read_npz,
    read_shipped,
)
from hw1.datasets.tables import is_table, read_features, read_table

FORMS = (
    "an .npz with the keys x_train, y_train, x_test, y_test (or x, y), a table (.csv, .csv.gz, .parquet), a folder of "
    "IDX files, or a folder of images for each class"
)


def load(
    name: str | os.PathLike[str] = "mnist10k",
    train: int | None = None,
    test: int | None = None,
    seed: int = 0,
    pixels: float | None = None,
) -> Dataset:
    """Loads a data set, or a random subset of it.

    Args:
        name: one of
            - `mnist10k`, `fashion10k`: shipped in hw1/data, 5,000 training and 5,000 test images each;
            - `mnist`, `fashion_mnist`, `cifar10`, `cifar100`: `keras.datasets`, downloaded on first use;
            - a path to an .npz, a table, a folder of IDX files, of tables or of images; see the package's docstring.
            A name comes before a path: write `./mnist` for a folder called mnist.
        train: number of training examples to draw without replacement. None: all of them.
        test: number of test examples, likewise. Of a data set that has no test set of its own, training and test
            examples are drawn from all; None: what the other leaves, and half of all if neither is given.
        seed: of the draw. With one seed a smaller subset is part of every larger one, and the training
            subset does not depend on `test`. Examples stay in file order.
        pixels: the value of white, by which all pixels are divided. None: told by the pixels, which must be floats up
            to 1, or whole numbers whose largest is 1, 15, 16, 128 to 255 (bytes, white is 255), 4095 or 65535.

    Returns:
        A `Dataset`. Its `notes` say what was done to images and labels: labels number the classes that are there.

    Raises:
        ValueError: the name is unknown, the file is damaged or does not hold such a data set, the value of white
            cannot be told, or a subset is empty or larger than what there is.
        TypeError: an argument has the wrong type.
        OSError: a file is missing or unreadable, or a download failed.
    """
    whole = _whole(name, pixels)
    rows = _drawn(whole.train, len(whole.y), train, test, seed, name)
    parts = [array[part] for part in rows for array in (whole.x, whole.y)]
    return Dataset(*parts, os.fspath(name), len(whole.labels), whole.labels, whole.notes)


def load_arrays(
    path: str | os.PathLike[str], train: int | None = None, test: int | None = None, seed: int = 0
) -> Dataset:
    """Loads inputs and targets of an .npz or a table as they are: what a net takes that is not of images.

    Args:
        path: of an .npz with the keys x_train, y_train, x_test, y_test, or x, y for all examples together; or of a
            table, whose columns but the label are the inputs [n, columns]. Names of classes are numbered.
        train: as for `load`.
        test: as for `load`.
        seed: as for `load`.

    Returns:
        A `Dataset` with inputs and targets of any shape [n, ...]; float64 becomes float32. Labels that are numbers are
        not numbered anew.

    Raises:
        ValueError: the file is damaged, holds numbers that are not finite, or has not one target for each input.
        TypeError, OSError: as for `load`.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}; give an .npz with the keys {', '.join(KEYS)} or x, y")
    raw = read_features(path) if is_table(path) else read_npz(path)
    keys = KEYS if KEYS[0] in raw.arrays else WHOLE
    x, y = ([checks.numbers(*raw.arrays[key]) for key in keys[start::2]] for start in (0, 1))
    for key, inputs, targets in zip(keys[::2], x, y, strict=True):
        if len(inputs) != len(targets):
            raise ValueError(f"{raw.arrays[key][0]} has {len(inputs)} inputs for {len(targets)} targets; give one each")
    rows = _drawn(len(y[0]) if keys is KEYS else None, sum(map(len, y)), train, test, seed, path)
    x, y = np.concatenate(x), np.concatenate(y)
    outputs = len(np.unique(y)) if y.ndim == 1 and np.issubdtype(y.dtype, np.integer) else math.prod(y.shape[1:])
    return Dataset(*(array[part] for part in rows for array in (x, y)), os.fspath(path), outputs, notes=raw.notes)


def load_splits(
    name: str | os.PathLike[str] = "mnist10k",
    train: int | None = None,
    test: int | None = None,
    splits: str = "seed",
    pixels: float | None = None,
) -> Splits:
    """Loads a data set of which each seed gets a training and a test set.

    Args:
        name: as for `load`.
        train: number of training examples. None: as many as the data set has.
        test: number of test examples, likewise.
        splits: "seed": seed s shuffles all images of the data set, training and test images together, and takes the
            first `train` of them for training and the next `test` for testing. "fixed": every seed gets what
            ``load(name, train, test)`` gives, so that no training image is one of the data set's own test images.
        pixels: as for `load`.

    Returns:
        A `Splits`.

    Raises:
        ValueError, TypeError, OSError: as for `load`; `train` and `test` together are more than there are.
    """
    if splits not in ("seed", "fixed"):
        raise ValueError(f"splits must be 'seed' or 'fixed', not {splits!r}")
    if splits == "fixed":
        return Splits.fixed(load(name, train, test, pixels=pixels))
    whole = _whole(name, pixels)
    own = len(whole.y) - len(whole.y) // 2 if whole.train is None else whole.train
    train, test = (
        there if count is None else integer(what, count, 1)
        for what, count, there in (("train", train, own), ("test", test, len(whole.y) - own))
    )
    _check_sizes(train, test, len(whole.y), name)
    called = {"labels": whole.labels, "notes": whole.notes}
    return Splits(whole.x, whole.y, os.fspath(name), len(whole.labels), train, test, **called)


class _Whole(NamedTuple):
    """All images of a data set, its training images first.

    Attributes:
        x: images, checked and scaled.
        y: labels.
        train: number of its own training images; None if it has no test set of its own.
        labels: what the data set calls the classes.
        notes: what was done.
    """

    x: np.ndarray
    y: np.ndarray
    train: int | None
    labels: tuple
    notes: tuple[str, ...]


def _whole(name, pixels) -> _Whole:
    raw = _read(name)
    keys = KEYS if KEYS[0] in raw.arrays else WHOLE
    sources = [raw.arrays[key] for key in keys]
    x, scaling = checks.images(sources[::2], pixels)
    y, called, numbering = checks.labels(sources[1::2])
    for (x_source, _), (y_source, _), images, labels in zip(sources[::2], sources[1::2], x, y, strict=True):
        if len(images) != len(labels):
            counts = f"{len(images)} images, but {y_source} has {len(labels)} labels"
            raise ValueError(f"{x_source} has {counts}; give one for each")
    train = len(y[0]) if keys is KEYS else None
    return _Whole(np.concatenate(x), np.concatenate(y), train, called, (*raw.notes, *scaling, *numbering))


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
        return read_folder(path)
    if path.is_file():
        if path.suffix.lower() in PICKLES:
            refuse_pickle(path)
        return read_table(path) if is_table(path) else read_npz(path)
    if text and path.parent.is_dir() and any(prefix == path.name for _, prefix in idx_sets(path.parent)):
        return read_idx(path.parent, path.name)
    kind = FileNotFoundError if len(path.parts) > 1 or path.suffix else ValueError
    raise kind(
        f"there is no data set, file or folder {text!r}{_hint(text)}; give one of "
        f"{', '.join([*SHIPPED, *DOWNLOADED])}, or a path to {FORMS}"
    )


def _hint(text: str) -> str:
    """The name that may be meant; none where the text is that of another data set, such as kmnist or cifar10-c."""
    names = {_plain(name): name for name in (*SHIPPED, *DOWNLOADED)}
    plain = _plain(text)
    before, found, _ = plain.partition("mnist")
    is_other = bool(found and before and not difflib.get_close_matches(before, ["fashion"]))
    is_more = any(plain.startswith(name) for name in names) and not any(name.startswith(plain) for name in names)
    close = [] if is_other or is_more else difflib.get_close_matches(plain, names, n=1)
    return f" (did you mean {names[close[0]]}?)" if close else ""


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _check_sizes(train: int, test: int, images: int, name) -> None:
    """Raises SizeError if a data set has too few images for a training and a test set of these sizes."""
    if train + test > images:
        remedy = f"{images - train} are left for testing" if train < images else f"train must be below {images}"
        raise SizeError(
            f"train is {train} and test {test}, but {name} holds {images} images in all: {remedy}",
            max(0, images - train),
        )


def _drawn(own: int | None, images: int, train: int | None, test: int | None, seed, name) -> tuple:
    """The rows for training and for testing of a data set with `own` training images, or without a division."""
    seed = integer("seed", seed, 0)
    # The second word of each seed keeps the two draws, and that of shuffle_labels, independent.
    if own is None:
        return _divided(images, train, test, [seed, 1], name)
    return _subset(own, "train", train, [seed, 1]), own + _subset(images - own, "test", test, [seed, 2])


def _divided(images: int, train: int | None, test: int | None, seed, name) -> tuple[np.ndarray, np.ndarray]:
    """Rows for training and for testing, drawn from all; the training rows do not depend on `test`."""
    for what, count in (("train", train), ("test", test)):
        if count is not None:
            integer(what, count, 1)
    if train is None:
        train = images - (images // 2 if test is None else test)
    test = images - train if test is None else test
    if min(train, test) < 1:
        raise SizeError(f"train is {train} and test {test}, but {name} holds {images} images in all")
    _check_sizes(train, test, images, name)
    order = np.random.default_rng(seed).permutation(images)
    return np.sort(order[:train]), np.sort(order[-test:])


def _subset(images: int, what: str, count: int | None, seed: list[int]) -> np.ndarray:
    """The rows of `count` examples drawn at random, in file order."""
    if count is None:
        return np.arange(images)
    try:
        integer(what, count, 1, images)
    except ValueError as error:
        raise SizeError(str(error), images if what == "test" else 0) from None
    return np.sort(np.random.default_rng(seed).permutation(images)[:count])
