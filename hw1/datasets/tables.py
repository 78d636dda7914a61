"""Tables → arrays: a row is an image with its label, in CSV as Kaggle has it or in Parquet as Hugging Face has it."""

import functools
import gzip
import io
import math
import re
import warnings
from pathlib import Path

import numpy as np

from hw1 import limits
from hw1.datasets.readers import KEYS, WHOLE, Raw, naming

TABLES = (".csv", ".csv.gz", ".parquet")
SMALLEST = 8  # pixels of a side that a table without names of pixels has at least, if they are no bytes
MOST_CLASSES = 100  # of labels that are recognised without a name
LONGEST = 2**24  # bytes of a line of a CSV: a million pixels with their commas take less
LABELS = ("label", "labels", "class", "y", "target")  # names of a column of labels, in lower case
PIXEL = re.compile(r"(pixel|pix|px)[ _.-]?\d+|\d+x\d+", re.IGNORECASE)  # names of pixels: pixel0, 1x28
NUMBERED = re.compile(r"[a-z]*[ _.-]?\d+", re.IGNORECASE)  # names that say nothing: 12, x1, V2, column_3


def is_table(path: Path) -> bool:
    """Whether the name of a file is that of a table."""
    return path.name.lower().endswith(TABLES)


def read_table(path: Path) -> Raw:
    """Reads one table, whose images have no division into training and test images."""
    x, y = _read(path)
    return Raw({WHOLE[0]: (f"{path}: pixels", x), WHOLE[1]: (f"{path}: labels", y)})


def read_tables(folder: Path) -> Raw | None:
    """Reads the tables of a folder whose names have "train" and "test" in them; None without both."""
    files = [path for path in sorted(folder.iterdir()) + sorted(folder.glob("data/*")) if is_table(path)]
    parts = {part: [path for path in files if part in path.name.lower()] for part in ("train", "test")}
    if not all(parts.values()):
        return None
    arrays = {}
    for part, paths in parts.items():
        images, labels = zip(*map(_read, paths), strict=True)
        if len({x.shape[1:] for x in images}) > 1:
            raise ValueError(f"{folder} has tables of images of different sizes for the {part} set")
        where = ", ".join(map(str, paths))
        arrays |= {f"x_{part}": (f"{where}: pixels", np.concatenate(images))}
        arrays |= {f"y_{part}": (f"{where}: labels", np.concatenate(labels))}
    return Raw({key: arrays[key] for key in KEYS})


def read_features(path: Path) -> Raw:
    """Reads one table as it is: x is what its columns hold, y its column of labels or targets."""
    features, y, is_named = _columns(path)
    if not is_named:
        raise ValueError(
            f"{path} names no columns, and all hold numbers: which one is the label or target cannot be told; give it "
            "a first line of names that calls one column label"
        )
    if wrong := [str(name) for name, kind in features.dtypes.items() if kind.kind not in "uifb"]:
        raise ValueError(f"{path} has a column {wrong[0]} of no numbers; only the label may be text")
    targets, notes = _targets(path, y), ()
    if targets.dtype.kind == "U":
        names, targets = np.unique(targets, return_inverse=True)
        notes = (f"the classes {', '.join(names[:6])}{', …' * (len(names) > 6)} are numbered from 0",)
    return Raw({WHOLE[0]: (f"{path}: inputs", features.to_numpy()), WHOLE[1]: (f"{path}: labels", targets)}, notes)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images [n, height, width(, channels)] and labels [n] of one table."""
    pixels, y, is_named = _columns(path)
    if len(pixels.columns) == 1:
        x = _decoded(path, pixels.iloc[:, 0])
    else:
        side = math.isqrt(len(pixels.columns))
        if side**2 != len(pixels.columns):
            raise ValueError(
                f"{path} has {len(pixels.columns)} columns besides the label, which make no square of pixels; if they "
                "are pixels, the order of sides and channels cannot be told: save the images as an .npz with the keys "
                "x and y"
            )
        if wrong := [str(name) for name, kind in pixels.dtypes.items() if kind.kind not in "uifb"]:
            raise ValueError(f"{path} has pixels that are no numbers, in column {wrong[0]}")
        x = pixels.to_numpy()
        if not _is_of_images(pixels.columns, x):
            raise ValueError(
                f"{path} seems to be a table of {len(pixels.columns)} features, not of images of {side} × {side}; if "
                "they are pixels, call the columns pixel0, pixel1, …"
            )
        if not is_named:
            _check_labels_come_first(path, y.to_numpy(), x[:, -1])
        x = x.reshape(len(x), side, side)
    return x, _targets(path, y)


def _columns(path: Path):
    """The columns of a table but that of the labels, as a frame; the labels; and whether these have a name or are text.

    Else the labels are the first column, which only `_read` takes for granted.
    """
    limits.check_regular(path)
    frame = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    if len(frame.columns) < 2 or not len(frame):
        raise ValueError(f"{path} has {len(frame)} rows and {len(frame.columns)} columns, not a label and pixels")
    named = [column for column in frame.columns if str(column).lower() in LABELS]
    is_headed = isinstance(frame.columns[0], str)
    text = [name for name in frame if frame[name].dtype.kind not in "uifb" and frame[name].map(type).eq(str).all()]
    if not named and len(text) == 1 and len(frame.columns) > 2:  # the one column of text names the classes
        named = text
    if len(named) != 1 and is_headed:
        raise ValueError(
            f"{path} has {len(named) or 'no'} column{'s' * (len(named) > 1)} called {', '.join(LABELS[:-1])} or "
            f"{LABELS[-1]}; one must be, that of the labels or targets: rename it"
        )
    label = named[0] if named else frame.columns[0]
    if frame[label].isna().any():
        raise ValueError(f"{path} has rows without a label")
    return frame.drop(columns=label), frame[label], bool(named)


def _check_labels_come_first(path, first, last) -> None:
    """Raises ValueError if, of a table that names no columns, the first one is no label, or the last one seems to be.

    Labels are whole numbers from 0 or 1 on without a gap, of which none makes up more than half; a corner of an image
    is almost always black or white, or has more values than there are classes.
    """
    is_whole = bool((first == np.rint(first)).all()) and len(np.unique(first)) > (len(first) > 1)
    values, counts = np.unique(last, return_counts=True)
    is_dense = np.array_equal(values - values[0], np.arange(len(values))) and values[0] in (0, 1)
    if not is_whole or (is_dense and 2 < len(values) <= MOST_CLASSES and counts.max() <= len(last) / 2):
        raise ValueError(
            f"{path} names no columns, and its first one does not seem to be the label: give it a first line of names "
            "that calls one column label, and the others pixel0, pixel1, …"
        )


def _is_of_images(names, x) -> bool:
    """Whether rows are images and not features of another kind, by the names of the columns and by the values."""
    if all(isinstance(name, str) and PIXEL.fullmatch(name) for name in names):
        return True
    if not all(NUMBERED.fullmatch(str(name)) for name in names):
        return False
    is_bytes = bool((x == np.rint(x)).all()) and 128 <= x.max() <= 255
    return is_bytes or x.shape[1] >= SMALLEST**2


def _targets(path: Path, y) -> np.ndarray:
    """A column of labels or targets as integers, floats or text."""
    return y.to_numpy() if y.dtype.kind in "uib" else y.to_numpy().astype(float if y.dtype.kind == "f" else str)


def opened_image(file):
    """A PIL image of which the header is read; ValueError if that claims more pixels than any data set has."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(file)


def pixel_bytes(image) -> int:
    """The bytes that a PIL image takes once it is read."""
    return image.width * image.height * len(image.getbands())


def _csv(path: Path):
    """A CSV as a frame; its columns are named where its first line does so."""
    import pandas as pd

    opened = functools.partial(gzip.open if path.suffix.lower() == ".gz" else open, path, "rb")
    with naming(path, "CSV"):
        with opened() as file:
            if len(file.readline(LONGEST)) == LONGEST:
                raise ValueError(f"its first line is longer than {LONGEST:,} bytes, which is no image")
        limits.check_stream(path, opened)
        lines = pd.read_csv(path, header=None, nrows=2, dtype=str)
        return pd.read_csv(path, header=0 if _is_header(lines) else None)


def _is_header(lines) -> bool:
    """Whether the first of two lines of a CSV names its columns.

    It does if it calls one a label, has text where the next line has a number, or more text than one label, which
    comes first or last.
    """
    import pandas as pd

    is_text = lines.apply(pd.to_numeric, errors="coerce").isna()
    first, is_label = is_text.iloc[0], is_text.iloc[0, 0] or is_text.iloc[0, -1]
    is_named = lines.iloc[0].astype(str).str.lower().isin(LABELS).any()
    return bool(is_named or (first & ~is_text.iloc[-1]).any() or first.sum() > is_label)


def _parquet(path: Path):
    """A Parquet file as a frame."""
    import pandas as pd

    try:
        import pyarrow.parquet  # tells what is missing before pandas tells it at length
    except ImportError as error:
        raise ValueError(
            f"{path}: reading Parquet needs pyarrow, which is not installed: pip install pyarrow"
        ) from error
    with naming(path, "Parquet file"):
        about = pyarrow.parquet.ParquetFile(path).metadata
        inflated = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
        limits.check_inflated(path, max(inflated, about.num_rows * about.num_columns), path.stat().st_size)
        return pd.read_parquet(path, engine="pyarrow")


def _decoded(path: Path, column) -> np.ndarray:
    """Images of a column of encoded files, bytes or dicts of bytes, as Hugging Face stores them."""
    files = [cell["bytes"] if isinstance(cell, dict) else cell for cell in column]
    if not all(isinstance(file, bytes) for file in files):
        raise ValueError(f"{path} has a column {column.name} of neither images nor pixels")
    with naming(path, "table of images"):
        pictures = [opened_image(io.BytesIO(file)) for file in files]
        limits.check_inflated(path, sum(map(pixel_bytes, pictures)), sum(map(len, files)))
        images = [np.asarray(picture) for picture in pictures]
    if len({image.shape for image in images}) > 1:
        raise ValueError(f"{path} has images of different sizes or channels, such as {images[0].shape}; resize them")
    return np.stack(images)
