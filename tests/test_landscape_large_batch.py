"""Large batches and their remedies: what the rows must satisfy, and each remedy against an ordinary loop or by hand."""

import dataclasses

import keras
import nets
import numpy as np
import pytest
import references
import tensorflow as tf

from hw1 import claims, datasets, models, plot, question, records
from hw1.landscape import large_batch, remedies

QUESTIONS = {"large_batch": large_batch, "remedies": remedies}


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with both questions at smoke size."""
    return at_smoke_size(*QUESTIONS)


@pytest.fixture(scope="module")
def digits():
    """The data set of size smoke."""
    return datasets.load("mnist10k", train=200, test=200)


@pytest.mark.parametrize("name", QUESTIONS)
def test_sharpness_is_of_the_training_loss_and_in_per_cent(runs, name):
    """φ = 100 (largest − f) / (1 + f), not negative, with f the recorded loss over the whole training set."""
    frame = records.read(runs, name)
    np.testing.assert_allclose(frame.loss, frame.train_loss, rtol=1e-5)
    expected = 100 * (frame.largest - frame.loss) / (1 + frame.loss)
    np.testing.assert_allclose(frame.value, expected, atol=2e-4)  # the CSV has 7 digits of each
    assert (frame.largest > frame.loss).all()


def test_the_smaller_box_is_inside_the_larger(runs):
    """Its φ is smaller, in either space, and every net has been measured in both with both ε."""
    frame = records.read(runs, "large_batch")
    settings = records.settings(runs, "large_batch")
    pairs = frame[frame.batch_size.isin(settings["batch_sizes"])]
    wide = pairs.pivot(index=["net", "batch_size", "seed", "space"], columns="epsilon", values="value")
    assert len(wide) == len(settings["nets"]) * 2 * settings["seeds"] * 2
    assert (wide[5e-4] < wide[1e-3]).all()


def test_the_line_ends_at_the_two_nets(runs):
    """Loss and accuracy, training and test, of the small batch's net at α = 0 and of the large batch's at α = 1."""
    frame, line = records.read(runs, "large_batch"), records.tables(runs, "large_batch")["line"]
    finals = frame.drop_duplicates(["net", "batch_size", "seed"]).set_index(["net", "seed"])
    for alpha, size in enumerate(records.settings(runs, "large_batch")["batch_sizes"]):
        ends = line[line.alpha == alpha].set_index(["net", "seed"]).sort_index()
        expected = finals[finals.batch_size == size].sort_index()
        np.testing.assert_allclose(ends[list(records.FOUR)], expected[list(records.FOUR)], rtol=1e-5)
    assert line.alpha.min() == -1
    assert line.alpha.max() == 2


def test_convergence_ends_with_what_is_recorded(runs):
    """Whole epochs in order, and last the evaluation at which the net stopped."""
    frame, curves = records.read(runs, "large_batch"), records.tables(runs, "large_batch")["convergence"]
    keys = ["net", "batch_size", "seed"]
    finals = frame.drop_duplicates(keys).set_index(keys)
    for key, rows in curves.groupby(keys):
        assert (np.diff(rows.epoch) > 0).all()
        assert (rows.epoch[:-1] % 1 == 0).all()
        assert tuple(rows[list(records.FOUR)].iloc[-1]) == tuple(finals.loc[key, list(records.FOUR)])


def test_further_batch_sizes_are_those_of_the_plain_net(runs):
    """One box each; the other net has the two batch sizes only."""
    frame, settings = records.read(runs, "large_batch"), records.settings(runs, "large_batch")
    assert set(frame[frame.net == "normalised"].batch_size) == set(settings["batch_sizes"])
    further = frame[frame.batch_size.isin(settings["sweep"])]
    assert set(further.net) == {"plain"}
    assert len(further) == settings["seeds"]
    assert set(further.space) == {"full"}


@pytest.mark.parametrize(("name", "fewer"), [("large_batch", {"nets": ("plain",)}), ("remedies", {"attacks": (0.1,)})])
def test_diverged_nets_are_rows_and_crash_nothing(name, fewer, tmp_path):
    """With an absurd step size every row says so, and figure and claims are still made."""
    settings = question.make_settings(QUESTIONS[name], "smoke", learning_rate=1e30, updates=10, **fewer)
    question.answer(QUESTIONS[name], settings, tmp_path)
    frame = records.read(tmp_path, name)
    assert set(frame.status) == {"diverged"}
    assert frame.value.isna().all()
    assert set(claims.judge(tmp_path, fallback=None).verdict) == {"undecided"}
    assert all(path.exists() for path in plot.draw(name, tmp_path))


# The remedies


def test_growing_batches_are_two_trainings_in_a_row(runs, digits):
    """Two epochs with the small batch, then the large one with a fresh optimizer, by an ordinary loop of tapes."""
    settings = question.make_settings(remedies, "smoke")
    row = records.read(runs, "remedies").query("remedy == 'growing batches' and space == 'full' and seed == 1").iloc[0]
    model = models.mlp(settings.hidden, seed=1)
    warm = 2 * 200 // 10
    assert row.updates > warm
    for size, updates in zip(settings.batch_sizes, (warm, int(row.updates) - warm), strict=True):
        optimizer = keras.optimizers.Adam(settings.learning_rate)
        references.train(model, digits, batch_size=size, updates=updates, optimizer=optimizer, seed=1)
    # float32, and Adam divides rounding errors by their own size
    assert references.losses(model, digits.x_train, digits.y_train).mean() == pytest.approx(row.train_loss, rel=0.01)


def test_robust_training_by_hand():
    """Softmax regression: inputs move by ε sign(W(p − e)); the gradient is that of two sets of data, half each."""
    model = nets.softmax_regression()
    x, y = nets.examples()
    kernel, bias = (np.asarray(v) for v in model.trainable_variables)
    forms = references.softmax_regression(kernel, bias, x, y)
    moved = x + 0.3 * np.sign(forms["input_gradient"]).reshape(x.shape)
    with tf.GradientTape() as tape:
        values = remedies.robust(model, tf.constant(x), tf.constant(y), references.cross_entropy, 0.3)
        mean = tf.reduce_mean(values)
    expected = (references.losses(model, x, y) + references.losses(model, moved, y)) / 2
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    gradient = references.flat(tape.gradient(mean, [v.value for v in model.trainable_variables]))
    half = references.softmax_regression(kernel, bias, moved, y)["gradient"]
    np.testing.assert_allclose(gradient, (forms["gradient"] + half) / 2, rtol=1e-10, atol=1e-14)


def moved(images, **changes):
    """Random versions of images, shape [copies, n, 28, 28]."""
    data = dataclasses.replace(datasets.load("mnist10k", train=len(images), test=10), x_train=images)
    settings = question.make_settings(remedies, "smoke", **changes)
    found = remedies.augment(settings, data)
    np.testing.assert_array_equal(found.y_train, np.tile(data.y_train, settings.copies))
    return found.x_train.reshape(settings.copies, *images.shape)


def test_augmentation_shifts_images():
    """A bright square in the middle, which rotation leaves, lands within 0.2 of the side, evenly, each time anew."""
    images = np.zeros((300, 28, 28), "float32")
    images[:, 13:15, 13:15] = 1
    first, second = moved(images, copies=2)
    places = np.arange(28) - 13.5
    shifts = [(part.sum(axis=axis) @ places) / part.sum(axis=(1, 2)) for part in (first, second) for axis in (1, 2)]
    assert np.abs(shifts).max() <= 0.2 * 28 + 0.5
    assert np.std(shifts, axis=1) == pytest.approx(0.2 * 28 / np.sqrt(3), rel=0.2)  # of a uniform distribution
    assert np.abs(np.corrcoef(shifts) - np.eye(4)).max() < 0.25  # 4 standard errors
    assert moved(images, copies=2).tobytes() == np.stack([first, second]).tobytes()


def test_augmentation_rotates_images():
    """A bar turns by at most 10 degrees, evenly to both sides."""
    bars = np.zeros((300, 28, 28), "float32")
    bars[:, 13:15, 4:24] = 1
    (turned,) = moved(bars, copies=1, shift=1e-9)
    places = np.arange(28) - 13.5
    total = turned.sum(axis=(1, 2))
    xy, xx, yy = (
        np.einsum(rule, turned, places, places) / total for rule in ("nij,i,j->n", "nij,j,j->n", "nij,i,i->n")
    )
    angles = np.degrees(np.arctan2(2 * xy, xx - yy) / 2)
    assert np.abs(angles).max() < 10.5
    assert angles.std() == pytest.approx(10 / np.sqrt(3), rel=0.2)


def test_augmented_nets_are_measured_on_the_images_as_they_are(runs, digits):
    """What is recorded of training is over the shipped images, like φ's f."""
    rows = records.read(runs, "remedies").query("remedy == 'data augmentation'")
    np.testing.assert_allclose(rows.loss, rows.train_loss, rtol=1e-5)
    assert set(rows.status) == {"target not reached"}
