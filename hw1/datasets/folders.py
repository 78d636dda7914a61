"""Folders → arrays: a folder of images for each class, and which form a folder has."""

from pathlib import Path

import numpy as np

from hw1 import limits
from hw1.datasets.readers import KEYS, WHOLE, Raw, idx_sets, naming, read_idx
from hw1.datasets.tables import opened_image, pixel_bytes, read_tables

IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")  # those that Keras reads
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")
PICKLED = ("data_batch_1", "meta")  # files of CIFAR-10 and CIFAR-100 as their authors offer them
TESTS = ("test", "val", "valid", "validation")


def read_folder(folder: Path) -> Raw:
    """Reads a folder in whichever form it is.

    Raises:
        ValueError: it holds pickled data, several data sets, or a damaged file.
        FileNotFoundError: it holds no data set.
    """
    for path in (path for name in PICKLED for path in (folder / name, *folder.glob(f"*/{name}"))):
        if path.is_file():
            refuse_pickle(path.parent)
    if idx_sets(folder):
        return read_idx(folder)
    return read_tables(folder) or _images(folder) or read_idx(folder)


def refuse_pickle(path: Path) -> None:
    """Raises ValueError for data of a kind that can run code when it is read."""
    raise ValueError(
        f"{path} holds pickled data, which can run code when it is read, and is not read: save the images as an .npz "
        "with the keys x_train, y_train, x_test, y_test (CIFAR is also had by --data=cifar10)"
    )


def _images(folder: Path) -> Raw | None:
    """Reads root/train/<class>/* and root/test/<class>/*, or root/<class>/*; None if there are no such images."""
    train, test = (
        next((folder / name for name in names if _files(folder / name)), None) for names in (("train",), TESTS)
    )
    if train is None:
        if not _files(folder):
            return None
        x, y = _by_class(folder)
        return Raw({WHOLE[0]: (f"{folder}: images", x), WHOLE[1]: (f"{folder}: names of folders", y)})
    if test is None:
        raise FileNotFoundError(f"{folder} has a folder train of images, but none of {', '.join(TESTS)} beside it")
    (x, y), (x_test, y_test) = _by_class(train), _by_class(test)
    arrays = (x, y, x_test, y_test)
    where = (f"{place}: {what}" for place in (train, test) for what in ("images", "names of folders"))
    return Raw(dict(zip(KEYS, zip(where, arrays, strict=True), strict=True)))


def _files(folder: Path) -> dict[str, list[Path]]:
    """Class → its images, of a folder that holds a folder of images for each class."""
    found = {}
    for place in sorted(folder.iterdir()) if folder.is_dir() else ():
        if place.is_dir() and not place.name.startswith("."):
            files = [path for path in sorted(place.rglob("*")) if path.suffix.lower() in IMAGES]
            found |= {place.name: files} if files else {}
    return found


def _by_class(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images [n, height, width(, channels)] as bytes, and the name of each one's class [n]."""
    import keras

    files = _files(folder)
    forms, inflated, stored = {}, 0, 0
    for path in (path for paths in files.values() for path in paths):
        limits.check_regular(path)
        with naming(path, "image"), opened_image(path) as image:
            inflated, stored = inflated + pixel_bytes(image), stored + path.stat().st_size
            limits.check_inflated(path, pixel_bytes(image), path.stat().st_size)
            forms.setdefault(image.size, {}).setdefault(image.mode, path)
    limits.check_inflated(folder, inflated, stored)
    if len(forms) > 1:
        sizes = " and ".join(f"{width} × {height}" for width, height in list(forms)[:2])
        raise ValueError(f"{folder} has images of different sizes, such as {sizes}; resize them to one")
    (((width, height), modes),) = forms.items()
    if odd := [path for mode, path in modes.items() if mode not in ("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr")]:
        raise ValueError(f"{odd[0]} has pixels of more than 8 bits; save the images as an .npz with the keys x and y")
    colour = "grayscale" if set(modes) <= {"1", "L"} else "rgba" if set(modes) == {"RGBA"} else "rgb"
    if "RGBA" in modes and colour == "rgb":
        raise ValueError(f"{modes['RGBA']} has an alpha channel, other images have none; save all in one form")
    options = {"label_mode": "int", "class_names": list(files), "batch_size": None, "shuffle": False, "verbose": False}
    read = keras.utils.image_dataset_from_directory(folder, color_mode=colour, image_size=(height, width), **options)
    images, numbers = zip(*read.as_numpy_iterator(), strict=True)
    x = np.stack(images).astype(np.uint8)  # Keras gives whole floats; the size is their own, so nothing was resized
    return x[..., 0] if colour == "grayscale" else x, np.array(list(files))[np.array(numbers)]
