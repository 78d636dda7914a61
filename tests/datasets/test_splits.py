"""All images of a data set and how each seed divides them: what a split promises, and what is made from splits."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored import ARRAYS, write_npz

from hw1 import datasets
from hw1.datasets import Dataset, Splits


def numbered(n=40, train=12, test=9, classes=4, **options):
    """Splits of n images of 2 × 2 pixels, each of which is its row's number throughout."""
    x = np.broadcast_to(np.arange(n, dtype="float32")[:, None, None], (n, 2, 2))
    return Splits(x, np.arange(n, dtype="int32") % classes, "numbered", classes, train, test, **options)


def parts(data: Dataset):
    """Images and labels of both parts."""
    return [getattr(data, key) for key in datasets.KEYS]


def assert_same(found: Dataset, expected: Dataset):
    """Asserts that two data sets have the same arrays, to the bit."""
    for a, b in zip(parts(found), parts(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


# What a seed gets


@given(sizes=st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(0, 30)), seed=st.integers(0, 2**40))
def test_the_parts_of_a_seed_are_disjoint_and_within_the_set(sizes, seed):
    """For any sizes and seed: as many rows as asked for, none twice, all of them images that there are."""
    train, test, unused = sizes
    rows = numbered(sum(sizes), train, test).rows(seed)
    assert [len(part) for part in rows] == [train, test]
    together = np.concatenate(rows)
    assert len(set(together)) == train + test
    assert set(together) <= set(range(train + test + unused))


def test_a_split_depends_on_the_seed_alone():
    """Neither on what was asked before, nor on the images; another seed has another split."""
    first = numbered()
    expected = {seed: first.rows(seed) for seed in (5, 0, 3)}
    images = dataclasses.replace(first, x=np.random.default_rng(0).random(first.x.shape), name="other")
    for splits, seed in itertools.product((first, images, numbered()), (0, 3, 5)):
        for found, rows in zip(splits.rows(seed), expected[seed], strict=True):
            np.testing.assert_array_equal(found, rows)
    for a, b in itertools.combinations(expected.values(), 2):
        assert set(a[0]) != set(b[0])
        assert set(a[1]) != set(b[1])


def test_every_image_serves_in_both_roles():
    """Over 2,000 seeds each of 40 images trains in 12 / 40 of them and tests in 9 / 40, within five standard errors."""
    splits, seeds = numbered(), 2000
    for role, share in ((0, 12 / 40), (1, 9 / 40)):
        counts = np.bincount(np.concatenate([splits.rows(seed)[role] for seed in range(seeds)]), minlength=40)
        assert np.abs(counts / seeds - share).max() < 5 * np.sqrt(share * (1 - share) / seeds)
        assert counts[splits.rows(0)[1 - role]].min() > 0  # also those that have the other role for seed 0


def test_a_smaller_training_set_is_part_of_a_larger():
    """Of one seed, so that sizes can be compared on nested sets."""
    small, large = numbered(train=5).rows(3)[0], numbered(train=20).rows(3)[0]
    np.testing.assert_array_equal(small, large[:5])


def test_images_and_labels_stay_together():
    """What a seed gets are the images and labels of its rows, in that order."""
    splits = numbered()
    for seed in (0, 7):
        data, (train, test) = splits.of(seed), splits.rows(seed)
        for x, y, rows in ((data.x_train, data.y_train, train), (data.x_test, data.y_test, test)):
            np.testing.assert_array_equal(x, np.broadcast_to(rows[:, None, None], (len(rows), 2, 2)))
            np.testing.assert_array_equal(y, rows % 4)
        assert (
            (data.name, data.classes, data.shape)
            == (splits.name, splits.classes, splits.shape)
            == ("numbered", 4, (2, 2))
        )


def test_a_fixed_split_is_that_of_the_data_set():
    """For every seed, and what is drawn with the split has one seed too."""
    rng = np.random.default_rng(0)
    data = Dataset(rng.random((6, 2, 2)), np.arange(6), rng.random((3, 2, 2)), np.arange(3), "own", 6)
    splits = Splits.fixed(data)
    for seed in (0, 1, 99):
        assert_same(splits.of(seed), data)
        assert splits.key(seed) == 0
        assert numbered().key(seed) == seed


# Loading


@pytest.fixture
def stored(tmp_path):
    """The path of an .npz of 12 training and 7 test images."""
    return write_npz(tmp_path / "own.npz")


def test_loading_pools_both_parts(stored):
    """All images of the data set, training images first; by default a training set is as large as its own."""
    splits, whole = datasets.load_splits(stored), datasets.load(stored)
    np.testing.assert_array_equal(splits.x, np.concatenate([whole.x_train, whole.x_test]))
    np.testing.assert_array_equal(splits.y, np.concatenate([ARRAYS["y_train"], ARRAYS["y_test"]]))
    assert (splits.train, splits.test, splits.classes, splits.name) == (12, 7, 3, str(stored))
    assert {array.dtype.name for array in parts(splits.of(0))} == {"float32", "int32"}
    assert np.concatenate(splits.rows(0)).tolist() != list(range(19))
    assert sorted(np.concatenate(splits.rows(0))) == list(range(19))


def test_a_training_set_may_be_larger_than_that_of_the_data_set(stored):
    """All images count; the sizes may be those of NumPy."""
    splits = datasets.load_splits(stored, train=np.int64(16), test=3)
    assert [len(rows) for rows in splits.rows(0)] == [16, 3]


@pytest.mark.parametrize("sizes", [{}, {"train": 5}, {"train": 5, "test": 4}])
def test_fixed_splits_are_what_load_gives(stored, sizes):
    """The same arrays for every seed, and the same hash."""
    splits, data = datasets.load_splits(stored, splits="fixed", **sizes), datasets.load(stored, **sizes)
    for seed in (0, 8):
        assert_same(splits.of(seed), data)
    assert (splits.train, splits.test) == (len(data.y_train), len(data.y_test))
    assert splits.sha256 == data.sha256


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"train": 13}, ValueError, ["train is 13 and test 7", "19 images in all", "own.npz"]),
        ({"train": 10, "test": 10}, ValueError, ["train is 10 and test 10", "19 images"]),
        ({"train": 0}, ValueError, ["train is 0"]),
        ({"test": -1}, ValueError, ["test is -1"]),
        ({"train": 2.0}, TypeError, ["train", "float"]),
        ({"test": True}, TypeError, ["test", "bool"]),
        ({"train": 13, "splits": "fixed"}, ValueError, ["train is 13", "[1, 12]"]),
        ({"test": 8, "splits": "fixed"}, ValueError, ["test is 8", "[1, 7]"]),
        ({"splits": "random"}, ValueError, ["'seed' or 'fixed'", "'random'"]),
    ],
)
def test_sizes_that_do_not_fit(stored, options, kind, words):
    """The message names the sizes that were asked for and how many images there are."""
    with pytest.raises(kind) as caught:
        datasets.load_splits(stored, **options)
    assert all(word in str(caught.value) for word in words), caught.value


# Made from data sets, and from other splits


def own(seed, train=6, test=3):
    """A random data set."""
    rng = np.random.default_rng(seed)
    return Dataset(
        rng.random((train, 2, 2)),
        rng.integers(0, 3, train),
        rng.random((test, 2, 2)),
        rng.integers(0, 3, test),
        "own",
        3,
    )


def test_each_seed_can_have_a_data_set_of_its_own():
    """Whatever the order and the numbers of the seeds; a seed without one is an error."""
    sets = {seed: own(seed) for seed in (7, 0, 3)}
    splits = Splits.stacked(sets)
    for seed in (0, 3, 7):
        assert_same(splits.of(seed), sets[seed])
        assert splits.key(seed) == seed
    assert (splits.train, splits.test, splits.classes) == (6, 3, 3)
    with pytest.raises(KeyError):
        splits.of(1)


@pytest.mark.parametrize("sizes", [{"train": 5}, {"test": 4}])
def test_stacked_sets_are_of_one_size(sizes):
    """Otherwise the rows of one seed would be those of another."""
    with pytest.raises(ValueError, match="same sizes") as caught:
        Splits.stacked({0: own(0), 1: own(1, **sizes)})
    assert all(word in str(caught.value) for word in ("6 and 3", f"{sizes.get('train', 6)} and {sizes.get('test', 3)}"))


def test_seeds_can_share_a_split():
    """A seed gets the split of another: the same images, also of splits that share already, are fixed or stacked."""
    splits = numbered()
    shared = splits.sharing(lambda seed: seed % 3)
    for seed in (0, 2, 4, 9):
        assert_same(shared.of(seed), splits.of(seed % 3))
        assert_same(shared.sharing(lambda seed: seed + 1).of(seed), splits.of((seed + 1) % 3))
    np.testing.assert_array_equal(shared.x, splits.x)
    fixed = Splits.fixed(own(0))
    assert_same(fixed.sharing(lambda seed: seed % 3).of(5), own(0))
    sets = {seed: own(seed) for seed in range(3)}
    assert_same(Splits.stacked(sets).sharing(lambda seed: seed % 3).of(5), sets[2])


def test_averaged_pixels_by_brute_force():
    """Of images with and without channels, for splits as for a data set; the split stays what it was."""
    rng = np.random.default_rng(0)
    for shape in ((4, 6), (4, 6, 3)):
        x = rng.random((20, *shape)).astype("float32")
        splits = Splits(x, np.arange(20) % 3, "own", 3, 8, 5)
        pooled = datasets.average_pool(splits, 2)
        expected = [[image[i : i + 2, j : j + 2].mean(axis=(0, 1)) for j in (0, 2, 4)] for image in x for i in (0, 2)]
        np.testing.assert_allclose(pooled.x, np.reshape(expected, pooled.x.shape), rtol=1e-6)
        assert pooled.shape == (2, 3, *shape[2:])
        assert pooled.x.dtype == np.float32
        for seed in (0, 4):
            assert_same(pooled.of(seed), datasets.average_pool(splits.of(seed), 2))
    for side in (3, 0, -1):
        with pytest.raises(ValueError, match=f"squares of {side} pixels do not tile images of 4 × 6"):
            datasets.average_pool(splits, side)


def test_the_first_classes_are_divided_in_the_same_proportions():
    """Their images alone, divided by the seed: half of the images here, so half of the sizes."""
    few = datasets.first_classes(numbered(), 2)
    assert (few.classes, few.train, few.test, len(few.y)) == (2, 6, 4, 20)
    for seed in (0, 3):
        data = few.of(seed)
        assert {*data.y_train, *data.y_test} == {0, 1}
        numbers = [*data.x_train[:, 0, 0], *data.x_test[:, 0, 0]]
        assert len(set(numbers)) == 10
        np.testing.assert_array_equal(np.array(numbers) % 4, [*data.y_train, *data.y_test])
    assert set(few.of(0).x_train[:, 0, 0]) != set(few.of(3).x_train[:, 0, 0])


def test_the_first_classes_of_a_fixed_split_stay_in_their_part():
    """Training images stay training images, in their order."""
    splits = numbered(is_fixed=True)
    data, few = splits.of(0), datasets.first_classes(splits, 3).of(5)
    for part in ("train", "test"):
        kept = getattr(data, f"y_{part}") < 3
        np.testing.assert_array_equal(getattr(few, f"x_{part}"), getattr(data, f"x_{part}")[kept])
        np.testing.assert_array_equal(getattr(few, f"y_{part}"), getattr(data, f"y_{part}")[kept])
        assert set(getattr(few, f"y_{part}")) == {0, 1, 2}
    assert few.classes == 3


@pytest.mark.parametrize("options", [{"test": 1, "train": 39}, {"is_fixed": True, "train": 5, "test": 2}])
def test_first_classes_that_are_not_there(options):
    """An empty training or test set is refused, with the name of the data."""
    splits = dataclasses.replace(numbered(), **options)
    with pytest.raises(ValueError, match="numbered has no images of the first 1 classes for training and testing"):
        datasets.first_classes(splits, 1)


def test_the_first_classes_of_splits_with_a_rule_of_their_own():
    """Their rule names rows of all images, so it is refused instead of being applied to fewer."""
    with pytest.raises(ValueError, match="rule of its own"):
        datasets.first_classes(numbered().sharing(lambda seed: 0), 2)


# Hashes


def test_the_hash_of_splits_covers_every_image_and_label():
    """Whatever the sizes and the name; one value changed changes it, and so does a fixed split."""
    splits = numbered()
    same = [dataclasses.replace(splits, **change) for change in ({"name": "other"}, {"train": 5}, {"test": 1})]
    assert {each.sha256 for each in same} == {splits.sha256}
    x, y = splits.x.copy(), splits.y.copy()
    x[-1, -1, -1] += 1
    y[-1] = 0
    others = [{"x": x}, {"y": y}, {"x": splits.x.reshape(-1, 4)}, {"is_fixed": True}]
    hashes = {dataclasses.replace(splits, **change).sha256 for change in others}
    assert len(hashes | {splits.sha256}) == 5
