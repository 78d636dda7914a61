"""The two functions of part 1-1 as data sets."""

import numpy as np

from hw1.datasets.dataset import Dataset, integer

# The course's functions on (0, 1]. sgn(0) = 0, though sin(kπ) is not quite 0 in floating point.
FUNCTIONS = {
    "sinc": lambda x: np.sinc(5 * x),  # sin(5πx) / (5πx)
    "sign": lambda x: np.sign(np.round(np.sin(5 * np.pi * x), 9)),  # sgn(sin(5πx))
}


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
    points = integer("points", points, 1)
    x_train = np.arange(1, points + 1)[:, None] / points
    x_test = x_train - 0.5 / points
    return Dataset(x_train, FUNCTIONS[name](x_train), x_test, FUNCTIONS[name](x_test), name, 1)
