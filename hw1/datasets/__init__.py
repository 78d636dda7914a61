"""Data sets by name or path, their splits, label noise, and the two functions of part 1-1.

Example:
    data = load("mnist10k", train=1000)  # 1,000 of the 5,000 training images, all test images
    data.x_train.shape, data.y_train.shape  # (1000, 28, 28), (1000,)
    noisy = dataclasses.replace(data, y_train=shuffle_labels(data.y_train))
    splits = load_splits("mnist10k", train=5000, test=5000)
    splits.of(3).x_train  # the training images of seed 3

A damaged file is an error that names it. Nothing is downloaded unless the name is one of `DOWNLOADED`.
"""

from hw1.datasets.dataset import KEYS, Dataset, SizeError, Splits
from hw1.datasets.functions import FUNCTIONS, function
from hw1.datasets.loading import load, load_splits
from hw1.datasets.readers import DOWNLOADED, FOLDER, IDX_FILES, SHIPPED
from hw1.datasets.transform import average_pool, first_classes, shuffle_labels

__all__ = [
    "DOWNLOADED",
    "FOLDER",
    "FUNCTIONS",
    "IDX_FILES",
    "KEYS",
    "SHIPPED",
    "Dataset",
    "SizeError",
    "Splits",
    "average_pool",
    "first_classes",
    "function",
    "load",
    "load_splits",
    "shuffle_labels",
]
