"""Data sets made from others: permuted labels, shuffled pixels, noise, averaged pixels, fewer classes."""

import numbers
from dataclasses import replace

import numpy as np

from hw1.datasets.dataset import Dataset, Splits, integer


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
    rng = np.random.default_rng(integer("seed", seed, 0))
    chosen = rng.permutation(len(y))[: round(fraction * len(y))]
    shuffled = y.copy()
    shuffled[chosen] = y[rng.permutation(chosen)]
    return shuffled


def shuffle_pixels(data: Dataset, seed: int = 0, each: bool = False) -> Dataset:
    """Permutes the pixels of all images, training and test images, with all channels of a pixel together.

    Args:
        data: images of shape [n, h, w] or [n, h, w, c].
        seed: of the permutations.
        each: whether every image gets a permutation of its own ("random pixels" in Zhang et al., arXiv 1611.03530)
            instead of one for all ("shuffled pixels"). Then only the values of the pixels tell of the class.

    Returns:
        New images; labels stay.
    """
    rng = np.random.default_rng([integer("seed", seed, 0), 4])
    pixels = int(np.prod(data.shape[:2]))
    one = rng.permutation(pixels)

    def shuffled(x):
        flat = x.reshape(len(x), pixels, -1)
        if each:
            orders = rng.permuted(np.tile(np.arange(pixels), (len(x), 1)), axis=1)
            return np.take_along_axis(flat, orders[..., None], axis=1).reshape(x.shape)
        return flat[:, one].reshape(x.shape)

    return replace(data, x_train=shuffled(data.x_train), x_test=shuffled(data.x_test))


def gaussian_images(data: Dataset, seed: int = 0) -> Dataset:
    """Puts Gaussian noise in place of all images, training and test images; labels stay.

    Mean and variance are those of all pixels of the training images together (Zhang et al., arXiv 1611.03530). The
    noise is not clipped, so that the two hold: pixels may be negative.

    Args:
        data: images of any shape.
        seed: of the noise.

    Returns:
        Images of the same shapes and dtype, with the labels of `data`.
    """
    rng = np.random.default_rng([integer("seed", seed, 0), 5])
    mean, deviation = data.x_train.mean(dtype=np.float64), data.x_train.std(dtype=np.float64)
    noise = [rng.normal(mean, deviation, x.shape).astype(x.dtype) for x in (data.x_train, data.x_test)]
    return replace(data, x_train=noise[0], x_test=noise[1])


def average_pool(data: Dataset | Splits, side: int) -> Dataset | Splits:
    """The same data with every `side` × `side` square of pixels replaced by its mean.

    Args:
        data: images of shape [n, h, w] or [n, h, w, c] whose h and w are multiples of `side`.
        side: of the squares, in pixels.

    Returns:
        Data of the same kind, with images of shape [n, h / side, w / side] or [n, h / side, w / side, c].

    Raises:
        ValueError: the squares do not tile the images.
    """
    height, width = data.shape[:2]
    if side < 1 or height % side or width % side:
        raise ValueError(f"squares of {side!r} pixels do not tile images of {height} × {width}")

    def pooled(x):
        return x.reshape(len(x), height // side, side, width // side, side, *x.shape[3:]).mean(axis=(2, 4))

    if isinstance(data, Splits):
        return replace(data, x=pooled(data.x))
    return replace(data, x_train=pooled(data.x_train), x_test=pooled(data.x_test))


def tiling(pool: int, shapes) -> int:
    """The side of squares that tile images where the default, made for images of 28 × 28 pixels, does not.

    Args:
        pool: the default.
        shapes: of the images, (height, width) or (height, width, channels).

    Returns:
        `pool`, if it divides all heights and widths. Else the largest side that does, of those that leave at least as
        many pixels on a side as `pool` leaves of 28; 1 if there is no other.
    """
    sides = [side for shape in shapes for side in shape[:2]]
    most = max(1, pool * min(sides) // 28)
    return next(side for side in (pool, *range(most, 0, -1)) if not any(length % side for length in sides))


def first_classes(data: Splits, classes: int) -> Splits:
    """The images of the first classes alone, divided in the same proportions.

    Args:
        data: splits as `hw1.datasets.load_splits` gives them.
        classes: how many; the labels 0 … classes − 1 stay.

    Raises:
        ValueError: a training or test set would be empty, or `data` has a rule of its own for dividing its images.
    """
    if data.divide:
        raise ValueError(
            f"{data.name} has a rule of its own for dividing its images; take its first classes before that"
        )
    kept = data.y < classes
    if data.is_fixed:
        train, test = int(kept[: data.train].sum()), int(kept[data.train : data.train + data.test].sum())
    else:
        train, test = (int(kept.sum() * part / len(kept)) for part in (data.train, data.test))
    if not train or not test:
        raise ValueError(f"{data.name} has no images of the first {classes} classes for training and testing")
    images = {"x": data.x[kept], "y": data.y[kept], "train": train, "test": test}
    return replace(data, **images, classes=classes, labels=data.labels[:classes])
