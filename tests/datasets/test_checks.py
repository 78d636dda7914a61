"""Pixels and labels of every scale and form: what is told, what is said, and what is asked for."""

import numpy as np
import pytest
from stored import ARRAYS, assert_loaded, fails, write_npz

from hw1 import datasets

RNG = np.random.default_rng(3)


def own(path, highest, dtype, **changes):
    """An .npz of images whose pixels go up to `highest`; gives its path and the training images."""
    x = RNG.integers(0, highest + 1, (12, 5, 4)).astype(dtype)
    x[:, 0, 0] = highest
    return write_npz(path / "own.npz", **({"x_train": x, "x_test": x[:7]} | changes)), x


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint16, np.float32])
@pytest.mark.parametrize("highest", [1, 15, 16, 255])
def test_whole_numbers_are_scaled_by_what_they_show(tmp_path, highest, dtype):
    """Binary images, those of 4 bits, scikit-learn's digits and bytes, in whatever type; all but bytes with a word."""
    path, x = own(tmp_path, highest, dtype)
    data = datasets.load(path)
    np.testing.assert_allclose(data.x_train, x.astype(np.float64) / highest, rtol=1e-6)
    assert data.x_train.max() == 1
    said = () if (highest, dtype) == (255, np.uint8) else (f"pixels are whole numbers and divided by {highest}",)
    assert data.notes == datasets.load_splits(path).notes == said


def test_bytes_that_miss_white_by_little_are_bytes(tmp_path):
    """A subset of 8-bit images may have no white pixel."""
    path, x = own(tmp_path, 200, np.uint8)
    np.testing.assert_array_equal(datasets.load(path).x_train, x / np.float32(255))


@pytest.mark.parametrize("highest", [2, 37, 100, 127, 300])
def test_what_does_not_tell_its_scale_is_asked_for(tmp_path, highest):
    """And the answer is used."""
    path, x = own(tmp_path, highest, np.uint16)
    fails(ValueError, path, "own.npz: x_train", f"--pixels={highest}")
    data = datasets.load(path, pixels=400)
    np.testing.assert_allclose(data.x_train, x / 400, rtol=1e-6)
    assert data.notes == ("pixels are whole numbers and divided by 400",)
    fails(ValueError, path, f"not from 0 to --pixels={highest - 1}", pixels=highest - 1)
    assert datasets.load_splits(path, pixels=highest).x.max() == 1


@pytest.mark.parametrize("pixels", [0, -1, float("nan"), float("inf"), "255", True])
def test_the_value_of_white_is_a_number_above_zero(tmp_path, pixels):
    """Nothing else is taken for one."""
    fails(ValueError, write_npz(tmp_path / "own.npz"), "value of white", pixels=pixels)


def test_dark_floats_are_asked_for(tmp_path):
    """Pixels that were divided by 255 twice lie in [0, 1] too."""
    path, x = own(tmp_path, 255, np.float64)
    path = write_npz(path, x_train=x / 255**2, x_test=x[:7] / 255**2)
    fails(ValueError, path, "from 0 to 0.00392157", "--pixels")
    np.testing.assert_allclose(datasets.load(path, pixels=1).x_train, x / 255**2, rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_first_are_put_last_and_it_is_said(tmp_path, channels):
    """As PyTorch stores images; those that have them last stay."""
    last = RNG.integers(0, 256, (12, 8, 9, channels), dtype=np.uint8)
    last[0, 0, 0] = 255
    first = np.moveaxis(last, 3, 1)
    paths = [write_npz(tmp_path / name, x_train=x, x_test=x[:7]) for name, x in (("a.npz", first), ("b.npz", last))]
    moved, kept = map(datasets.load, paths)
    np.testing.assert_array_equal(moved.x_train, last / np.float32(255))
    assert moved.sha256 == kept.sha256
    assert kept.notes == ()
    (note,) = moved.notes
    assert f"{channels} channel" in note


NAMED = {
    "from 1": (np.arange(12) % 3 + 1, (1, 2, 3)),
    "gaps": (np.array([5, 9, 700])[np.arange(12) % 3], (5, 9, 700)),
    "text": (np.array(["b", "a", "c"])[np.arange(12) % 3], ("a", "b", "c")),
    "numbers as text": (np.array(["2", "10", "9"])[np.arange(12) % 3], (2, 9, 10)),
    "true and false": (np.arange(12) % 2 == 1, (False, True)),
}


@pytest.mark.parametrize(("y", "names"), NAMED.values(), ids=NAMED)
def test_classes_are_numbered_from_0_and_keep_their_names(tmp_path, y, names):
    """In the order of the names; the record of a run has these."""
    data = datasets.load(write_npz(tmp_path / "own.npz", y_train=y, y_test=y[:7]))
    assert (data.classes, data.labels) == (len(names), names)
    assert [str(names[number]) for number in data.y_train] == list(map(str, y))
    assert bool(data.notes) == (names != (False, True))


def test_labels_that_name_no_classes(tmp_path):
    """A measured quantity or a running number."""
    x = RNG.integers(0, 256, (3000, 2, 2), dtype=np.uint8)
    y = np.arange(3000)
    path = write_npz(tmp_path / "own.npz", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9])
    fails(ValueError, path, "3000 different labels for 3009 images")


def test_keys_of_medmnist(tmp_path):
    """Labels in a column; validation images are left out, and it is said."""
    names = dict(zip(datasets.KEYS, ("train_images", "train_labels", "test_images", "test_labels"), strict=True))
    arrays = {names[key]: array[:, None] if array.ndim == 1 else array for key, array in ARRAYS.items()}
    arrays |= {"val_images": ARRAYS["x_test"], "val_labels": ARRAYS["y_test"][:, None]}
    np.savez(tmp_path / "pathmnist.npz", **arrays)
    data = datasets.load(tmp_path / "pathmnist.npz")
    assert_loaded(data)
    assert data.notes == ("val_images and val_labels of the file are not used",)


@pytest.mark.parametrize("keys", [("x", "y"), ("X", "Y"), ("images", "labels"), ("data", "target"), None])
def test_one_array_for_all_images_is_divided(tmp_path, keys):
    """Each seed draws from all; a fixed division is drawn once, its training set the same whatever the test set."""
    x, y = (np.concatenate([ARRAYS[f"{name}_train"], ARRAYS[f"{name}_test"]]) for name in "xy")
    np.savez(tmp_path / "own.npz", *(() if keys else (x, y)), **(dict(zip(keys, (x, y), strict=True)) if keys else {}))
    splits = datasets.load_splits(tmp_path / "own.npz", 8, 6)
    np.testing.assert_array_equal(splits.x, x / np.float32(255))
    np.testing.assert_array_equal(splits.y, y)
    halves = datasets.load(tmp_path / "own.npz")
    assert (len(halves.y_train), len(halves.y_test)) == (10, 9)
    images = np.concatenate([halves.x_train, halves.x_test])
    np.testing.assert_array_equal(np.unique(images, axis=0), np.unique(splits.x, axis=0))
    some, fewer = (datasets.load(tmp_path / "own.npz", 8, count) for count in (6, 2))
    np.testing.assert_array_equal(some.x_train, fewer.x_train)
    assert len(datasets.load(tmp_path / "own.npz", test=4).y_train) == 15
    assert len(datasets.load(tmp_path / "own.npz", train=4).y_test) == 15
    for sizes in ((10, 10), (19, None), (None, 19), (0, 3)):
        fails(ValueError, tmp_path / "own.npz", "train", train=sizes[0], test=sizes[1])
