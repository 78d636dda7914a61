"""Data sets by name or path, their splits, label noise, and the two functions of part 1-1.

Example:
    data = load("mnist10k", train=1000)  # 1,000 of the 5,000 training images, all test images
    data.x_train.shape, data.y_train.shape  # (1000, 28, 28), (1000,)
    noisy = dataclasses.replace(data, y_train=shuffle_labels(data.y_train))
    splits = load_splits("mnist10k", train=5000, test=5000)
    splits.of(3).x_train  # the training images of seed 3

A path may lead to

- an .npz with the keys x_train, y_train, x_test, y_test, or train_images, … as MedMNIST has them, or x and y;
- IDX files, plain or .gz, as torchvision and Debian name them, in the folder, in its sub-folder raw or in <set>/raw.
  Prefixes as in KMNIST and EMNIST may stand before the names; of several, folder/emnist-letters gives one. EMNIST's
  images are stored with rows and columns exchanged and stay so, as in torchvision;
- a table with an image in each row, .csv, .csv.gz or .parquet: a column called label, or the one column of text, or
  without header the first one; and pixels, or in Parquet a column of encoded images; or a folder of such tables with
  train and test in their names. A table of features that are no pixels is refused; `load_arrays` takes it as it is;
- a folder with a folder of images for each class, in train and test or without a division.

Without a division into training and test images, both are drawn from all. Pickled data are refused, and so is what
would inflate beyond what data do (`hw1.limits`). A damaged file is an error that names it. Nothing is downloaded unless
the name is one of `DOWNLOADED`.
"""

from hw1.datasets.dataset import KEYS, Dataset, SizeError, Splits
from hw1.datasets.functions import FUNCTIONS, function
from hw1.datasets.loading import load, load_arrays, load_splits
from hw1.datasets.readers import DOWNLOADED, FOLDER, IDX_FILES, SHIPPED
from hw1.datasets.transform import average_pool, first_classes, shuffle_labels, tiling

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
    "load_arrays",
    "load_splits",
    "shuffle_labels",
    "tiling",
]
