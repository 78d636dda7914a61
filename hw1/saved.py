"""Saved nets of one's own, and the images that they take: what the commands that measure such nets share."""

import contextlib
import math
import zipfile
from pathlib import Path

import numpy as np
from absl import flags

from hw1 import command


def define_flags() -> flags.FlagValues:
    """The flags of the data, in an object of their own; with --traceback and --help."""
    values = command.base_flags(out=None)
    flags.DEFINE_string("data", "mnist10k", "data set: a name of hw1.datasets or a path [mnist10k]", flag_values=values)
    for part, images in (("train", "training"), ("test", "test")):
        flags.DEFINE_integer(part, 5000, f"{images} images [5000]", lower_bound=1, flag_values=values)
    flags.DEFINE_float("pixels", 1.0, "what the net expects of a white pixel, 1 or 255 [1]", flag_values=values)
    return values


def check_positive(values: flags.FlagValues, *names: str) -> None:
    """Raises ValueError, naming the flag, unless these and --pixels are finite numbers above 0."""
    for name in (*names, "pixels"):
        if not 0 < values[name].value < math.inf:
            raise ValueError(f"--{name}={values[name].value}: must be a finite number above 0")


def load(path: str | Path):
    """Loads a Keras model from a .keras file, without running code from the file.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: the file does not hold a Keras model, or holds one with custom code.
    """
    from hw1 import quiet  # noqa: F401, I001
    import keras

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}; give the .keras file that model.save wrote")
    if not zipfile.is_zipfile(path):
        raise ValueError(f'{path} is not a .keras file; save the net by model.save("my_net.keras")')
    try:
        return keras.saving.load_model(path, compile=False)  # safe mode is the default: no code from the file runs
    except Exception as error:  # Keras has no specific exception for a bad file
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} could not be loaded as a Keras model ({type(error).__name__}: {reason})") from error


def single_precision(model):
    """The model, or a float32 copy of a model that computes in half precision."""
    from hw1 import models
    from hw1.evaluation.layers import walk

    half = [layer.name for _, layer in walk(model) if layer.compute_dtype in ("float16", "bfloat16")]
    if not half:
        return model
    command.say(f"layer {half[0]} of {model.name} computes in half precision; a float32 copy of the net is measured")
    return models.with_dtype(model, "float32")


def shaped(x: np.ndarray, model) -> np.ndarray:
    """Adds a channel axis to the images or flattens them, if that is the shape that the model expects.

    Args:
        x: images, shape [n, ...].
        model: a built Keras model.

    Returns:
        The images in the shape that fits, or as they are if none does.
    """
    wanted = getattr(model, "input_shape", None)
    if isinstance(wanted, tuple) and len(wanted) == x.ndim + 1 and wanted[-1] == 1:
        return x[..., np.newaxis]
    if isinstance(wanted, tuple) and wanted[1:] == (math.prod(x.shape[1:]),):
        return x.reshape(len(x), -1)
    return x


def parts(data, model, pixels: float = 1.0) -> tuple[tuple, tuple]:
    """Training and test examples (x, y) in the form that a model takes, checked.

    Args:
        data: as returned by `hw1.datasets.load`.
        model: a built Keras model.
        pixels: what the model expects of a white pixel; the images, in [0, 1], are multiplied by it.

    Raises:
        TypeError, ValueError: the model does not fit the data.
    """
    from hw1 import evaluation

    found = tuple(
        (shaped(x * np.float32(pixels), model), y)
        for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test))
    )
    for part in found:
        evaluation.check(model, *part)
    _check_pixels(model, found[1], pixels)
    return found


def _check_pixels(model, test, pixels) -> None:
    """Raises ValueError if the model is right far more often on pixels of the other range."""
    from hw1 import evaluation

    x, y = test
    other = 1 if pixels > 1 else 255
    better = False
    with contextlib.suppress(ValueError):  # the other range does not fit the model
        here, there = (evaluation.evaluate(model, part, y)[1] for part in (x, x * np.float32(other / pixels)))
        better = there > here + 0.2
    if better:
        raise ValueError(
            f"the net is right on {here:.0%} of the test images with pixels from 0 to {pixels:g}, but on {there:.0%} "
            f"from 0 to {other}: use --pixels={other}"
        )


def aligned(lines: list[tuple[str, ...]]) -> str:
    """Lines of cells as text, with the columns below each other."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
