"""Data for the commands that measure saved nets: flags, and the form in which a net takes inputs and labels."""

import contextlib
import math
import re
from pathlib import Path

import numpy as np
from absl import flags

from hw1 import command

CHECKED = 500  # examples on which the range of pixels is tried
_NO_IMAGES = (  # in what is said of a file whose inputs may be meant as they are
    "images must have",
    "make no square",
    "must not be negative",
    "do not tell the value of white",
    "that are no numbers",
    "not of images",
)


class LackingError(ValueError):
    """An error of a net or of data that flags would mend.

    Attributes:
        flags: name → value.
    """

    def __init__(self, text: str, **flags):
        """The text of the error, and the flags."""
        super().__init__(text)
        self.flags = flags


def define_flags() -> flags.FlagValues:
    """The flags of the data, in an object of their own; with --traceback and --help."""
    values = command.base_flags(out=None)
    flags.DEFINE_string("data", "mnist10k", "data set: a name of hw1.datasets or a path [mnist10k]", flag_values=values)
    for part in ("train", "test"):
        text = f"{part.replace('train', 'training')} examples [5000, or as many as there are]"
        flags.DEFINE_integer(part, 5000, text, lower_bound=1, flag_values=values)
    flags.DEFINE_float("pixels", 1.0, "what the net expects of a white pixel, 1 or 255 [1]", flag_values=values)
    text = "value of a white pixel in the data, where the pixels do not tell it [told by the pixels]"
    flags.DEFINE_float("white", None, text, flag_values=values)
    text = "the net ends in a softmax or sigmoid, which is taken off [false]"
    flags.DEFINE_bool("probabilities", False, text, flag_values=values)
    text = "take inputs and targets of an .npz or a table as they are, of any range; for nets of no images [false]"
    flags.DEFINE_bool("raw", False, text, flag_values=values)
    return values


def check_flags(values: flags.FlagValues, *positive: str) -> None:
    """Raises ValueError, naming the flag, unless these numbers are positive and the flags of the data agree."""
    for name in (*positive, "pixels", "white"):
        if values[name].value is not None and not 0 < values[name].value < math.inf:
            raise ValueError(f"--{name}={values[name].value}: must be a finite number above 0")
    if values.raw and values.white is not None:
        raise ValueError("--raw takes the inputs as they are: leave out --white")


def load(values: flags.FlagValues):
    """The data set that the flags name, with as many examples as there are where no number was given.

    Returns:
        A `hw1.datasets.Dataset`; its notes are shown.

    Raises:
        TypeError, ValueError, OSError: as for `hw1.datasets.load`; `LackingError` for a file that --raw takes.
    """
    from hw1 import datasets
    from hw1.datasets.tables import is_table

    wanted = {name: values[name].value for name in ("train", "test")}
    given = {name: count if values[name].present else None for name, count in wanted.items()}
    read = datasets.load_arrays if values.raw else datasets.load
    options = {} if values.raw else {"pixels": values.white}
    try:
        try:
            data = read(values.data, **wanted, **options)
        except datasets.SizeError:
            data = read(values.data, **given, **options)
    except (ValueError, OSError) as error:
        text = str(error).replace("--pixels", "--white").replace(" (in Python pixels=…)", "")
        is_taken = is_table(Path(values.data)) or str(values.data).endswith(".npz")
        lacks_raw = not values.raw and any(part in text for part in _NO_IMAGES)
        if lacks_raw and is_taken:
            text += "; for inputs that are no images, or standardised, --raw takes the file as it is"
            if "the value of white" not in text:  # which --white may give
                raise LackingError(f"--data={values.data}: {text}", raw=True) from error
        if values.raw and not is_taken:
            text += "; --raw takes an .npz or a table: save inputs and targets by np.savez(file, x=inputs, y=targets)"
        elif lacks_raw and not is_taken:
            text += (
                "; inputs that are no images, or standardised, go into an .npz (np.savez(file, x=inputs, y=targets)), "
                "which --raw takes as it is"
            )
        flag = "--train={train} --test={test}".format(**wanted) if isinstance(error, datasets.SizeError) else ""
        raise ValueError(f"{flag or f'--data={values.data}'}: {text}") from error
    for note in data.notes:
        command.say(note)
    return data


def shaped(x, model):
    """Adds a channel axis to images or flattens them, if that is the shape that the model expects.

    Args:
        x: inputs, shape [n, ...]; other than one array they stay as they are.
        model: a built Keras model.

    Returns:
        The inputs in the shape that fits, or as they are if none does.
    """
    wanted = getattr(model, "input_shape", None)
    if not isinstance(x, np.ndarray) or not isinstance(wanted, tuple):
        return x
    if len(wanted) == x.ndim + 1 and wanted[-1] == 1:
        return x[..., np.newaxis]
    if len(wanted) == x.ndim - 1 and x.shape[-1] == 1 and wanted[1:] == x.shape[1:-1]:
        return x[..., 0]
    return x.reshape(len(x), -1) if wanted[1:] == (math.prod(x.shape[1:]),) else x


def scaled(x, pixels: float):
    """Floating-point inputs, an array or a structure of them, times what the net expects of a white pixel."""
    import keras

    if pixels == 1:
        return x
    return keras.tree.map_structure(
        lambda a: a * np.float32(pixels) if np.issubdtype(np.asarray(a).dtype, np.floating) else a, x
    )


def labelled(data, model):
    """Data with the labels by which the net was trained: those of the file, or numbered from 0.

    `hw1.datasets.load` numbers the classes that occur. A net may have been trained on the file's own numbers: one with
    27 outputs on letters from 1 to 26, or one with 10 outputs of which the file has three digits. So the file's
    numbers are taken where all of them are numbers of outputs of the net.

    Args:
        data: as `hw1.datasets.load` returns it; anything without `labels` is returned as it is.
        model: a built Keras model.

    Returns:
        The data set, or a copy with the labels of the file.

    Raises:
        ValueError: the net's outputs are fewer than the classes, or it cannot be told which is which.
    """
    import dataclasses

    labels, outputs = getattr(data, "labels", ()), getattr(model, "output_shape", None)
    own = np.array(labels)
    if not labels or not isinstance(outputs, tuple) or len(outputs) != 2 or not np.issubdtype(own.dtype, np.integer):
        return data
    if np.array_equal(own, np.arange(len(own))) or len(own) == outputs[1]:
        return data
    if own.min() < 0 or own.max() >= outputs[1]:
        raise ValueError(
            f"the net has {outputs[1]} outputs, but the {len(own)} labels of {data.name} go from {own.min()} to "
            f"{own.max()}: there must be an output for each label, or as many outputs as labels"
        )
    command.say(f"labels of {data.name} are taken as the numbers of the net's outputs, from {own.min()} to {own.max()}")
    return dataclasses.replace(data, y_train=own[data.y_train], y_test=own[data.y_test])


def parts(data, model, pixels: float = 1.0) -> tuple[tuple, tuple]:
    """Training and test examples (x, y) in the form that a classifier takes, checked.

    Args:
        data: as returned by `hw1.datasets.load`.
        model: a built Keras model.
        pixels: what the model expects of a white pixel; the images, in [0, 1], are multiplied by it.

    Raises:
        TypeError, ValueError: the model does not fit the data.
    """
    from hw1 import evaluation

    data = labelled(data, model)
    found = tuple(
        (scaled(shaped(x, model), pixels), y) for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test))
    )
    for part in found:
        evaluation.check(model, *part)
    check_pixels(model, *found[0], pixels)
    return found


def check_pixels(model, x, y, pixels: float) -> None:
    """Tries a classifier on inputs of other ranges: 0 to 1, 0 to 255, -1 to 1, and standardised.

    Where it is better there, it was probably trained there, and what is measured here is that of another function.
    Inputs of none of these ranges, such as standardised ones, are tried with their least value as 0 and their largest
    as 1, and so on.

    Args:
        model: a built Keras model that outputs logits.
        x: inputs, one array of floats or bytes, shape [n, ...]; others are not checked.
        y: labels, shape [n].
        pixels: see `parts`.

    Raises:
        ValueError: it is right far more often there, by more than a fifth of the examples and more than chance would
            have it (three standard errors), or its loss is far below that of guessing where it was above;
            `LackingError` where --pixels would do.
            Where it is right more often by a fifth or less, but by more than three standard errors, a line says so.
    """
    from hw1 import evaluation

    if not isinstance(x, np.ndarray) or not (np.issubdtype(x.dtype, np.floating) or x.dtype == np.uint8):
        return
    x, y = (each[:CHECKED] for each in (x, y))
    low, top = (-1, 1) if x.min() < 0 else (0, pixels if x.max() <= pixels else 255)  # raw arrays may be bytes
    if x.min() == x.max():
        return
    if is_other := bool(x.min() < low or x.max() > top):
        low, top = float(x.min()), float(x.max())
    unit = ((x if np.issubdtype(x.dtype, np.floating) else x.astype(np.float32)) - np.float32(low)) / np.float32(
        top - low
    )
    others = {
        f"from {a} to {b}": np.float32(a) + np.float32(b - a) * unit
        for a, b in ((0, 1), (0, 255), (-1, 1))
        if (a, b) != (low, top)
    }
    if not is_other:  # else it is what is given, but for a shift and a factor
        others["with mean 0 and variance 1"] = (unit - unit.mean()) / unit.std()
    here = evaluation.evaluate(model, x, y)
    guess = np.log(model.output_shape[-1]) if isinstance(getattr(model, "output_shape", None), tuple) else np.inf
    found = {}
    for name, images in others.items():
        with contextlib.suppress(ValueError):  # a range that does not fit the model
            found[name] = evaluation.evaluate(model, images, y)
    if not found:
        return
    best = max(accuracy for _, accuracy in found.values())
    name, there = next(
        (name, there) for name, there in found.items() if best - there[1] <= _noise(best, there[1], len(y))
    )
    flag = re.fullmatch("from 0 to (1|255)", name) if low == 0 and top == pixels else None
    remedy = f"use --pixels={flag[1]}" if flag else "save them so in an .npz, and give it with --raw"
    text = (
        f"on these inputs, from {low:.3g} to {top:.3g}, the net is right on {here[1]:.0%}, with a loss of "
        f"{here[0]:.3g}; on those {name} it is right on {there[1]:.0%}, with a loss of {there[0]:.3g}: {remedy}"
    )
    more, noise = there[1] - here[1], _noise(here[1], there[1], len(y))
    if more > max(0.2, noise) or there[0] < guess / 2 < guess < here[0]:
        raise LackingError(text, pixels=float(flag[1])) if flag else ValueError(text)
    if more > noise:
        command.say(f"{text}, if it was trained on these")


def _noise(accuracy, other, n) -> float:
    """Three standard errors, at most, of the difference of two accuracies on the same n examples."""
    return 3 * math.sqrt((2 - accuracy - other) / n)
