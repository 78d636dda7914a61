"""Question label_noise: noisy copies by counting, the stop by hand, and a training against an ordinary loop."""

import keras
import numpy as np
import pytest
import references

from hw1 import datasets, models, question, records
from hw1.datasets import Dataset
from hw1.dynamics import label_noise


@pytest.fixture(scope="module")
def data():
    """300 training images of 7 × 7 pixels for each seed, as at smoke size."""
    return datasets.average_pool(datasets.load_splits("mnist10k", train=300, test=200), 4)


def pairs(data, alpha, seed):
    """Images and labels of a seed's noisy training set and of its validation images."""
    noisy = label_noise.diluted(data, alpha, 100)
    return [(noisy.x[rows], noisy.y[rows]) for rows in noisy.rows(seed)]


@pytest.mark.parametrize("alpha", [0, 1, 20])
def test_noisy_copies_are_added(alpha, data):
    """Each image once with its true label and α times with drawn ones; validation images are others."""
    own = data.of(5)
    (x, y), (x_validation, y_validation) = pairs(data, alpha, 5)
    assert x.shape == (200 * (1 + alpha), 7, 7)
    np.testing.assert_array_equal(x, np.concatenate([own.x_train[:200]] * (1 + alpha)))
    np.testing.assert_array_equal(y[:200], own.y_train[:200])
    np.testing.assert_array_equal(x_validation, own.x_train[200:])
    np.testing.assert_array_equal(y_validation, own.y_train[200:])
    noisy = label_noise.diluted(data, alpha, 100)
    assert (noisy.train, noisy.test) == (len(y), 100)


def test_labels_of_copies_are_uniform_and_independent_of_the_true_ones(data):
    """So (1 + α/10) / (1 + α) of all labels are true; 4,000 draws, within four standard deviations."""
    (_, y), _ = pairs(data, 20, 2)
    drawn, true = y[200:], np.tile(y[:200], 20)
    counts = np.bincount(drawn, minlength=10)
    assert abs(counts - 400).max() < 4 * np.sqrt(4000 * 0.1 * 0.9)
    assert abs((drawn == true).sum() - 400) < 4 * np.sqrt(4000 * 0.1 * 0.9)
    assert (y == np.tile(y[:200], 21)).mean() == pytest.approx((1 + 20 / 10) / 21, abs=0.02)


def test_copies_of_a_smaller_alpha_are_among_those_of_a_larger_one(data):
    """And another seed draws other labels."""
    (_, few), _ = pairs(data, 2, 3)
    (_, many), _ = pairs(data, 5, 3)
    np.testing.assert_array_equal(many[: len(few)], few)
    (_, other), _ = pairs(data, 2, 4)
    assert (other[200:] != few[200:]).any()


def test_the_first_of_several_best_evaluations_counts():
    """Not the last one."""
    assert label_noise.best(np.array([0.1, 0.8, 0.5, 0.8])) == 1


def test_a_training_is_an_ordinary_loop(data):
    """On images and labels written out one by one; the row is that of the best evaluation on the validation images."""
    changes = {"seeds": 1, "first_seed": 7, "updates": (30, 12), "evaluations": 3}
    settings = question.make_settings(label_noise, "smoke", **changes)
    whole = datasets.load_splits("mnist10k", train=300, test=200)
    kept, tuned = label_noise.run(settings, whole, 2, settings.batch_sizes[0])
    assert [row["rate"] for row in (kept, tuned)] == ["kept", "tuned"]
    assert [row["learning_rate"] for row in (kept, tuned)] == [0.1, 0.03]
    (x, y), (x_validation, y_validation) = pairs(data, 2, 7)
    own, found = data.of(7), []
    written = Dataset(x, y, own.x_test, own.y_test, "written out", 10)
    for update in (10, 20, 30):  # from the beginning each time
        model, optimizer = models.mlp(settings.hidden, input_shape=(7, 7), seed=7), keras.optimizers.SGD(0.03)
        references.train(model, written, batch_size=8, updates=update, optimizer=optimizer, seed=7)
        accuracy = references.accuracy(model, x_validation, y_validation)
        sets = [references.evaluate(model, *part) for part in ((x, y), (own.x_test, own.y_test))]
        found.append((accuracy, update, *np.ravel(sets)))
    expected = max(found, key=lambda values: (values[0], -values[1]))
    columns = ("validation_accuracy", "stopped", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
    assert [tuned[column] for column in columns] == pytest.approx(expected, rel=1e-4)
    assert tuned["last_test_accuracy"] == pytest.approx(found[-1][-1])
    assert tuned["updates"] == 30


def test_rows_at_smoke_size(at_smoke_size):
    """Without noise both kinds of rate are one training; test images are other ones than those of validation."""
    rows = records.read(at_smoke_size("label_noise"), "label_noise")
    assert len(rows) == 2 * 2 * 2 * 2
    without = rows[rows.alpha == 0].drop(columns="rate")
    assert len(without.drop_duplicates()) == len(without) / 2
    assert (rows.stopped <= rows.updates).all()
    assert (rows.test_accuracy != rows.validation_accuracy).any()


def test_nets_that_diverge_are_rows():
    """The tuned rate is far too large, the kept one is not."""
    settings = question.make_settings(label_noise, "smoke", seeds=1, small_rates=(0.1, 1e30), updates=(60, 30))
    whole = datasets.load_splits("mnist10k", train=300, test=200)
    kept, tuned = label_noise.run(settings, whole, 2, settings.batch_sizes[0])
    assert (kept["status"], tuned["status"]) == ("ok", "diverged")
    assert set(tuned) == {"rate", "learning_rate", "seed", "status"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alphas": (1, 2)}, "--alphas=1,2: must begin with 0"),
        ({"alphas": (0,), "small_rates": (0.1,)}, "--alphas=0: must begin with 0 and rise"),
        ({"alphas": (0, -1)}, "--alphas=0,-1"),
        ({"batch_sizes": (128, 8)}, "--batch_sizes=128,8: must be two sizes, the smaller first"),
        ({"batch_sizes": (8, 250)}, "--batch_sizes=8,250: must be at most the 200 training images"),
        ({"validation": 300}, "leave"),
        ({"updates": (100,)}, "--updates=100: must be 2 numbers"),
        ({"small_rates": (0.1, 0.1, 0.1)}, "--small_rates=0.1,0.1,0.1: must be 2 numbers"),
        ({"large_rates": (0.1,)}, "--large_rates=0.1: must be 2 numbers"),
        ({"evaluations": 100}, "--evaluations=100: must be at most --updates=60"),
        ({"hidden": (0,)}, "--hidden=0"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(changes, message):
    """They name the flag before anything trains."""
    with pytest.raises(ValueError, match=message) as raised:
        question.make_settings(label_noise, "smoke", **changes)
    assert "\n" not in str(raised.value)
