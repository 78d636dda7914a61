"""What was read → images and labels as the package has them; what cannot be told is asked for by name."""

import math

import numpy as np

# Largest values that tell by themselves which value is white: binary, 4 bits (scikit-learn's digits: 0 to 16), 8, 12
# and 16 bits.
WHITES = (1, 15, 16, 255, 4095, 65535)
CHANNELS = (1, 2, 3, 4)

Source = tuple[str, np.ndarray]  # where an array came from, for messages, and the array as stored


def images(sources: list[Source], pixels: float | None = None) -> tuple[list[np.ndarray], list[str]]:
    """Checks the images of all parts of a data set together.

    Args:
        sources: of each part, shape [n, height, width], [n, height, width, channels] or [n, channels, height, width],
            which is told by 1 to 4 channels there and none such at the end.
        pixels: the value of white, by which all pixels are divided. None: as the data show.

    Returns:
        float32 arrays [n, height, width(, channels)] in [0, 1], and notes on what was done beyond dividing bytes
        by 255.

    Raises:
        ValueError: they are no such images, or the value of white cannot be told.
    """
    found, notes = [], []
    for source, x in sources:
        if x.ndim not in (3, 4) or 0 in x.shape:
            wanted = "[n, height, width] or [n, height, width, channels]"
            raise ValueError(f"{source} has shape {x.shape}; images must have shape {wanted}, all above 0")
        if x.dtype != bool and (not np.issubdtype(x.dtype, np.number) or np.issubdtype(x.dtype, np.complexfloating)):
            raise ValueError(f"{source} is of type {x.dtype}; pixels must be whole numbers or floats")
        if x.ndim == 4 and x.shape[1] in CHANNELS and x.shape[3] not in CHANNELS:
            x = np.moveaxis(x, 1, 3)
            notes.append(f"the images have their {x.shape[3]} channel{'s' * (x.shape[3] > 1)} first; they are put last")
        found.append(x)
    for (source, _), x in zip(sources[1:], found[1:], strict=True):
        if x.shape[1:] != found[0].shape[1:]:
            shapes = f"{x.shape[1:]}, but those for training {found[0].shape[1:]}"
            raise ValueError(f"{source} has images of shape {shapes}; the two must be the same")
    names = [source for source, _ in sources]
    white = float(_white(names, found) if pixels is None else _given(names, found, pixels))
    if white != 255 or any(x.dtype != np.uint8 for x in found):
        whole = all(map(_is_whole, found))
        if whole or white != 1:
            notes.append(f"pixels are {'whole numbers' if whole else 'numbers'} and divided by {white:g}")
    scaled = [x.astype(np.float32, order="C") for x in found]
    return [x if white == 1 else x / np.float32(white) for x in scaled], list(dict.fromkeys(notes))


def _given(names, arrays, pixels) -> float:
    """The value of white that was given, if the pixels allow it."""
    if isinstance(pixels, bool) or not isinstance(pixels, int | float) or not 0 < pixels < math.inf:
        raise ValueError(f"pixels is {pixels!r}; it must be the value of white, such as 255, or None")
    for name, x in zip(names, arrays, strict=True):
        if not (x.min() >= 0 and x.max() <= pixels):  # written so that NaN fails too
            raise ValueError(f"{name} has pixels from {x.min():g} to {x.max():g}, not from 0 to --pixels={pixels:g}")
    return pixels


def _white(names, arrays) -> float:
    """The value of white, as the pixels of all parts show it."""
    for name, x in zip(names, arrays, strict=True):
        if not (x.min() >= 0 and np.isfinite(x.max())):
            raise ValueError(
                f"{name} has pixels from {x.min():g} to {x.max():g}; pixels must not be negative, infinite or NaN: "
                "undo what standardised them, so that black is 0"
            )
    highest = max(float(x.max()) for x in arrays)
    if not all(map(_is_whole, arrays)):
        white = 1 if highest <= 1 else None
    elif highest in WHITES:
        white = highest
    else:
        white = 255 if 128 <= highest < 255 else None
    for name, x in zip(names, arrays, strict=True):
        if white is None or 8 * float(x.max()) < white:  # one part in other units, or scaled twice
            raise ValueError(
                f"{name} has pixels from {x.min():g} to {x.max():g}, which do not tell the value of white, by which "
                f"all pixels are divided: give it, such as --pixels=255 or the largest, --pixels={highest:g} (in "
                "Python pixels=…)"
            )
    return white


def _is_whole(x) -> bool:
    return not np.issubdtype(x.dtype, np.floating) or bool((x == np.rint(x)).all())


def labels(sources: list[Source]) -> tuple[list[np.ndarray], tuple, list[str]]:
    """Checks the labels of all parts of a data set together and numbers the classes that are there from 0.

    Args:
        sources: of each part, integers, Booleans or text of shape [n] or [n, 1].

    Returns:
        int32 arrays [n]; the classes as they were called, in the order of their numbers; and notes.

    Raises:
        ValueError: they are no such labels, or all are the same.
    """
    found = [_column(source, y) for source, y in sources]
    names, numbers = np.unique(np.concatenate(found), return_inverse=True)
    where, count = sources[0][0], len(names)
    if count > max(1000, len(numbers) / 2):
        raise ValueError(f"{where} has {count} different labels for {len(numbers)} images; labels must name classes")
    if count < 2:
        raise ValueError(f"{where} has one label only, {names[0]}; there must be two classes or more")
    notes = []
    if names.tolist() != list(range(count)):
        called = ", ".join(map(str, names)) if count <= 6 else f"{names[0]}, {names[1]}, …, {names[-1]}"
        notes.append(f"the {count} classes that are there ({called}) are numbered from 0")
    ends = np.cumsum([len(y) for y in found])[:-1]
    return np.split(numbers.astype(np.int32), ends), tuple(names.tolist()), notes


def _column(source, y) -> np.ndarray:
    """The labels of one part, [n], as int64 or text."""
    if y.ndim == 2 and y.shape[1] == 1:  # CIFAR in keras.datasets
        y = y[:, 0]
    if y.ndim != 1 or len(y) == 0:
        raise ValueError(f"{source} has shape {y.shape}; labels must have shape [n] or [n, 1], n > 0")
    if y.dtype.kind == "U":
        is_number = all(label.isascii() and label.isdecimal() for label in np.unique(y))
        if not is_number:
            return y
        y = y.astype(np.int64)
    if y.dtype != bool and not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"{source} is of type {y.dtype}; labels must be integers 0, 1, 2, … or text")
    if y.min() < 0 or y.max() > np.iinfo(np.int32).max:
        raise ValueError(f"{source} has labels from {y.min()} to {y.max()}; they must be 0, 1, 2, …")
    return y.astype(np.int64)


def numbers(source: str, values: np.ndarray) -> np.ndarray:
    """Checks an array that is taken as it is: numbers, finite, with a first axis of examples.

    Args:
        source: where it came from, for messages.
        values: shape [n, ...].

    Returns:
        The array; float32 where it was float64.
    """
    if values.dtype.kind not in "uifb":
        raise ValueError(f"{source} is of type {values.dtype}; it must hold numbers")
    if values.ndim == 0 or values.size == 0:
        raise ValueError(f"{source} has shape {values.shape}; the first axis must count examples, at least one")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"{source} holds numbers that are not finite")
    return values.astype(np.float32) if values.dtype == np.float64 else values
