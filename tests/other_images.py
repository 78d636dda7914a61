"""Images of other sizes, channels and labels than the shipped ones, as files, and every question that takes images."""

import numpy as np

from hw1 import catalogue, question

COUNT = 900
# Name → shape as stored, largest pixel, labels.
SETS = {
    "small": ((8, 8, 1), 16, (0, 1, 2)),
    "colour": ((3, 32, 32), 255, tuple(range(10))),
    "letters": ((28, 28), 255, tuple(range(1, 27))),
}
SHAPES = {"small": [8, 8, 1], "colour": [32, 32, 3], "letters": [28, 28]}


def write(folder, name):
    """Writes a set as an .npz: a pattern for each class, under noise. `letters` has no division of its own."""
    shape, white, labels = SETS[name]
    rng = np.random.default_rng(len(labels))
    y = rng.permutation(np.resize(labels, COUNT))
    patterns = rng.random((max(labels) + 1, *shape))
    x = np.rint(white * (0.7 * patterns[y] + 0.3 * rng.random((COUNT, *shape)))).astype(np.uint8)
    x[0].flat[0] = x[-1].flat[0] = white
    path, half = folder / f"{name}.npz", COUNT // 2
    if name == "letters":
        np.savez(path, x=x, y=y)
    else:
        np.savez(path, x_train=x[:half], y_train=y[:half], x_test=x[half:], y_test=y[half:])
    return path


def questions():
    """The questions that take images."""
    return [name for name in catalogue.names() if issubclass(catalogue.experiment(name).Settings, question.Images)]


def given(name, path):
    """The setting that gives a question a data set alone."""
    kinds = {field.name: many for field, _, many in question.fields(catalogue.experiment(name).Settings)}
    return {"data": (str(path),) if kinds["data"] else str(path)}
