"""Question remedies: each remedy against an ordinary loop or by hand."""

import dataclasses
import types

import cases
import keras
import nets
import numpy as np
import pytest
import references
import tensorflow as tf

from hw1 import datasets, models, question, records
from hw1.landscape import remedies


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with the question at smoke size."""
    return at_smoke_size("remedies")


@pytest.fixture(scope="module")
def digits():
    """The images of size smoke, as each seed divides them."""
    return datasets.load_splits("mnist10k", train=200, test=200)


@pytest.fixture
def unmeasured(monkeypatch):
    """Stands in for φ, of which tests of the training say nothing."""
    found = types.SimpleNamespace(value=0.0, loss=0.0, largest=0.0)
    monkeypatch.setattr(remedies, "keskar_sharpness", lambda *_, **__: found)


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize(
    ("remedy", "stages"),
    cases.some([("warm start, 2 epochs", [(10, 2)]), ("growing batches", [(10, 1), (20, 1), (40, 1), (80, 1)])], 1),
)
def test_stages_are_trainings_in_a_row(remedy, stages, digits):
    """Epochs with each batch size, then the large one, each with a fresh optimizer, by an ordinary loop of tapes."""
    settings = question.make_settings(remedies, "smoke", first_seed=1, seeds=1, learning_rate=1e-3, target_loss=1.0)
    (row,) = remedies.run(settings, digits, remedy)
    model, own = models.mlp(settings.hidden, seed=1), digits.of(1)
    updates = [(size, epochs * -(-200 // size)) for size, epochs in stages]
    rest = row["updates"] - sum(number for _, number in updates)
    assert rest > 0
    for size, number in [*updates, (100, rest)]:
        optimizer = keras.optimizers.Adam(settings.learning_rate)
        references.train(model, own, batch_size=size, updates=number, optimizer=optimizer, seed=1)
    # float32, and Adam divides rounding errors by their own size
    assert references.losses(model, own.x_train, own.y_train).mean() == pytest.approx(row["train_loss"], rel=0.01)


@pytest.mark.usefixtures("unmeasured")
def test_a_net_at_the_target_takes_no_further_stage(digits):
    """The small batch reached it within its epochs, and what comes is its net."""
    settings = question.make_settings(remedies, "smoke", warm_epochs=(1, 60))
    warm, alone = (list(remedies.run(settings, digits, name)) for name in ("warm start, 60 epochs", "small batch"))
    assert [row["updates"] for row in warm] == [row["updates"] for row in alone]
    assert [row["train_loss"] for row in warm] == pytest.approx([row["train_loss"] for row in alone], rel=1e-5)


@pytest.mark.parametrize(
    ("means", "place"),
    [
        ([4, 2, 1, 0.5, 0.25], None),  # falls to its end
        ([4, 2, 1.99, 1.985, 1.9], 3),  # two in a row less than 1 % below the lowest before them
        ([4, 2, 2.5, 1.9, 1.9, 1.9], 5),  # a single one is chance
        ([4, 3, 2, 3, 3, 3], 4),  # rises
        ([1, 1], None),  # too short to tell
        ([1, 1, 1], 2),
    ],
)
def test_a_plateau_by_hand(means, place):
    """With 1 % as the fall that counts as none."""
    assert remedies.plateau(means, 0.01) == place


PLATEAUS = ["robust training, ε = 0.1", "augmented small batch", "data augmentation"]


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("remedy", cases.some(PLATEAUS, 1))
def test_nets_are_those_of_the_plateau(remedy, digits):
    """Where any fall counts as none, that is after three windows, as an ordinary loop gives them; else at the end."""
    settings = question.make_settings(remedies, "smoke", first_seed=3, seeds=1, fall=1.0)
    (row,) = remedies.run(settings, digits, remedy)
    size = 10 if "small" in remedy else 100
    assert row["status"] == "ok"
    own, inputs = digits.of(3), None
    seen = remedies.augment(settings, digits).of(3) if "augment" in remedy else own
    epoch = -(-len(seen.x_train) // size)
    window = settings.window // size // epoch * epoch or settings.window // size  # whole epochs, if it has any
    assert row["updates"] == 3 * window
    if "robust" in remedy:
        inputs = moved_by_attack
    model = models.mlp(settings.hidden, seed=3)
    optimizer = keras.optimizers.Adam(settings.learning_rate)
    found, _ = references.train(
        model, seen, batch_size=size, updates=row["updates"], optimizer=optimizer, seed=3, inputs=inputs
    )
    assert references.losses(model, own.x_train, own.y_train).mean() == pytest.approx(row["train_loss"], rel=0.02)
    assert np.mean(found[-window:]) == pytest.approx(row["objective"], rel=0.02)
    (last,) = remedies.run(dataclasses.replace(settings, fall=0.0), digits, remedy)
    assert last["status"] == "target not reached"
    most = dict(zip((10, 100), settings.augmented_updates, strict=True))[size]
    assert last["updates"] == (most if "augment" in remedy else settings.robust_updates)


def moved_by_attack(model, x, y):
    """Inputs moved by 0.1 along the signs of their gradients."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = references.cross_entropy(y, model(x, training=True))
    return x + 0.1 * tf.sign(tape.gradient(value, x))


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
    found = remedies.augment(settings, datasets.Splits.fixed(data)).of(0)
    np.testing.assert_array_equal(found.x_test, data.x_test)
    np.testing.assert_array_equal(found.y_test, data.y_test)
    np.testing.assert_array_equal(found.y_train, np.tile(data.y_train, settings.copies))
    return found.x_train.reshape(settings.copies, *images.shape)


def test_augmentation_shifts_images():
    """A bright square in the middle, which rotation leaves, lands within 0.2 of the side, evenly, each time anew."""
    images = np.zeros((300, 28, 28), "float32")
    images[:, 13:15, 13:15] = 1
    first, second = moved(images, copies=2, shift=0.2)
    places = np.arange(28) - 13.5
    shifts = [(part.sum(axis=axis) @ places) / part.sum(axis=(1, 2)) for part in (first, second) for axis in (1, 2)]
    assert np.abs(shifts).max() <= 0.2 * 28 + 0.5
    assert np.std(shifts, axis=1) == pytest.approx(0.2 * 28 / np.sqrt(3), rel=0.2)  # of a uniform distribution
    assert np.abs(np.corrcoef(shifts) - np.eye(4)).max() < 0.25  # 4 standard errors
    assert moved(images, copies=2, shift=0.2).tobytes() == np.stack([first, second]).tobytes()


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


def test_augmentation_of_splits(digits):
    """The versions of a seed are those of its training images, with their labels; its test images stay as they are."""
    settings = question.make_settings(remedies, "smoke", first_seed=3, copies=3, rotation=1e-9, shift=1e-9)
    augmented = remedies.augment(settings, digits)
    assert (augmented.train, augmented.test) == (600, 200)
    for seed in settings.all_seeds:
        found, own = augmented.of(seed), digits.of(seed)
        np.testing.assert_allclose(found.x_train, np.tile(own.x_train, (3, 1, 1)), atol=1e-5)  # moved by almost nothing
        np.testing.assert_array_equal(found.y_train, np.tile(own.y_train, 3))
        np.testing.assert_array_equal(found.x_test, own.x_test)
        np.testing.assert_array_equal(found.y_test, own.y_test)
    moved_ones = remedies.augment(dataclasses.replace(settings, rotation=10.0, shift=0.2), digits)
    for seed in settings.all_seeds:
        found, own = moved_ones.of(seed), digits.of(seed)
        assert not np.isclose(found.x_train, np.tile(own.x_train, (3, 1, 1))).all(axis=(1, 2)).any()


def test_augmented_nets_are_measured_on_the_images_as_they_are(runs):
    """What is recorded of training is over the shipped images, like φ's f; what they minimised is another number."""
    rows = records.read(runs, "remedies").query("remedy in ('data augmentation', 'augmented small batch')")
    np.testing.assert_allclose(rows.loss, rows.train_loss, rtol=1e-5)
    assert (abs(rows.objective / rows.train_loss - 1) > 1e-3).all()
