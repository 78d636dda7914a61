"""Data sets made from others: permuted labels, shuffled pixels, noise, averaged pixels, fewer classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw1 import datasets
from hw1.datasets import transform


@given(
    labels=st.lists(st.integers(0, 9), max_size=60),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 2**64),
)
def test_shuffled_labels_keep_their_histogram(labels, fraction, seed):
    """For any labels, fraction and seed: a repeatable permutation of a copy."""
    y = np.array(labels, np.int32)
    before = y.copy()
    shuffled = datasets.shuffle_labels(y, fraction, seed)
    assert shuffled.dtype == np.int32
    assert not np.shares_memory(shuffled, y)
    np.testing.assert_array_equal(y, before)
    np.testing.assert_array_equal(np.sort(shuffled), np.sort(y))
    assert (shuffled != y).sum() <= round(fraction * len(y))
    np.testing.assert_array_equal(shuffled, datasets.shuffle_labels(y, fraction, seed))


@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.5, 1.0])
def test_share_of_labels_that_change(fraction):
    """Of n·fraction permuted labels, 1/classes keep theirs by chance: here 10 classes of 2,000 each."""
    y = np.repeat(np.arange(10, dtype=np.int32), 2000)
    changed = (datasets.shuffle_labels(y, fraction, seed=3) != y).mean()
    # Standard deviation at most sqrt(0.9 · 0.1 / 20000) = 0.002; five of them.
    assert changed == pytest.approx(0.9 * fraction, abs=0.0106)


def test_shuffled_labels_are_independent_of_the_true_ones():
    """A chi-squared test of true against shuffled label."""
    y = np.repeat(np.arange(10, dtype=np.int32), 2000)
    table = np.zeros((10, 10))
    np.add.at(table, (y, datasets.shuffle_labels(y)), 1)
    # Each cell expects 200, chi-squared with 81 degrees of freedom: mean 81, standard deviation 13.
    assert ((table - 200) ** 2 / 200).sum() < 81 + 5 * 13


def test_examples_of_a_smaller_fraction_are_among_those_of_a_larger():
    """Raising the fraction adds noise and moves none."""
    y = np.arange(1000, dtype=np.int32)  # all labels distinct, so nearly every permuted one changes
    few, many = (datasets.shuffle_labels(y, fraction) != y for fraction in (0.2, 0.6))
    assert (few & ~many).sum() <= 5  # fixed points of the larger permutation: one is expected


def test_shuffle_labels_depends_on_the_seed():
    """Two seeds give two permutations."""
    y = np.arange(50, dtype=np.int32)
    assert (datasets.shuffle_labels(y, seed=0) != datasets.shuffle_labels(y, seed=1)).any()


@pytest.mark.parametrize("fraction", [-0.1, 1.01, float("nan"), "half", None])
def test_shuffle_labels_refuses_a_fraction(fraction):
    """NaN and things that are no number included."""
    with pytest.raises(ValueError, match=r"fraction is .*\[0, 1\]"):
        datasets.shuffle_labels(np.arange(4), fraction)


def test_shuffle_labels_refuses_other_arrays():
    """Column vectors, float labels and a missing seed."""
    with pytest.raises(ValueError, match=r"shape \(4, 1\)"):
        datasets.shuffle_labels(np.zeros((4, 1), np.int32))
    with pytest.raises(TypeError, match="float64"):
        datasets.shuffle_labels(np.zeros(4))
    with pytest.raises(TypeError, match="seed"):
        datasets.shuffle_labels(np.zeros(4, np.int32), seed=None)


@pytest.fixture(params=[(), (3,)], ids=["grey", "colour"])
def pictures(request):
    """Images in which each pixel has a value of its own, with all its channels the same up to a factor."""
    sizes = {"train": 30, "test": 20}
    rng, arrays = np.random.default_rng(0), {}
    for part, count in sizes.items():
        pixels = np.stack([rng.permutation(4 * 5) for _ in range(count)]).reshape(count, 4, 5).astype(np.float32)
        factors = np.arange(1, 4, dtype=np.float32)
        arrays[f"x_{part}"] = pixels[..., None] * factors if request.param else pixels
        arrays[f"y_{part}"] = np.arange(count, dtype=np.int32)
    return datasets.Dataset(**arrays, name="pictures", classes=30)


@pytest.mark.parametrize("each", [False, True])
def test_shuffled_pixels_are_permuted(pictures, each):
    """All images by one permutation or each by its own; the channels of a pixel stay together, labels stay."""
    found = transform.shuffle_pixels(pictures, seed=3, each=each)
    orders = set()
    for part in ("train", "test"):
        before, after = (
            getattr(data, f"x_{part}").reshape(-1, 20, 1 if pictures.x_train.ndim == 3 else 3)
            for data in (pictures, found)
        )
        np.testing.assert_array_equal(getattr(found, f"y_{part}"), getattr(pictures, f"y_{part}"))
        np.testing.assert_array_equal(np.sort(after[..., 0], axis=1), np.sort(before[..., 0], axis=1))
        if after.shape[2] == 3:
            np.testing.assert_array_equal(after, after[..., :1] * np.arange(1, 4))
        for old, new in zip(before[..., 0], after[..., 0], strict=True):
            orders.add(tuple(np.argsort(old)[np.argsort(np.argsort(new))]))
    assert len(orders) == (50 if each else 1)
    assert found.x_train.dtype == np.float32
    again, other = (transform.shuffle_pixels(pictures, seed, each) for seed in (3, 4))
    np.testing.assert_array_equal(again.x_train, found.x_train)
    assert (other.x_train != found.x_train).any()


def test_gaussian_images_have_mean_and_variance_of_the_pixels():
    """Of all pixels of the training images; they tell nothing of the images in whose place they are."""
    data = datasets.load("mnist10k", train=200, test=100)
    found = transform.gaussian_images(data, seed=1)
    for part in ("train", "test"):
        noise, images = getattr(found, f"x_{part}"), getattr(data, f"x_{part}")
        assert noise.shape == images.shape
        assert noise.dtype == images.dtype
        np.testing.assert_array_equal(getattr(found, f"y_{part}"), getattr(data, f"y_{part}"))
        # 78,400 pixels or more, of standard deviation 0.31: five standard errors are 0.006.
        assert noise.mean() == pytest.approx(data.x_train.mean(), abs=0.006)
        assert noise.std() == pytest.approx(data.x_train.std(), abs=0.005)
        assert abs(np.corrcoef(noise.ravel(), images.ravel())[0, 1]) < 5 / np.sqrt(noise.size)
    assert (transform.gaussian_images(data, seed=2).x_train != found.x_train).all()
