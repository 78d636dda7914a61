"""Question batch_growth: schedules by hand, updates by counting, and trainings against an ordinary loop."""

import cases
import keras
import numpy as np
import pytest
import references
import tensorflow as tf

from hw1 import datasets, models, question, records, training
from hw1.dynamics import batch_growth


@pytest.fixture(scope="module")
def frame(at_smoke_size):
    """Rows at smoke size."""
    return records.read(at_smoke_size("batch_growth"), "batch_growth")


def step(model, x, y, optimizer):
    """One step of an ordinary Keras model."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(references.cross_entropy(tf.constant(y), model(x, training=True)))
    parameters = model.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in parameters])
    optimizer.apply_gradients(zip(gradients, parameters, strict=True))


def test_schedules_by_hand():
    """The three that lower the noise divide ε/B by the same factor at each milestone; the control does not."""
    settings = question.make_settings(
        batch_growth, "report", batch_size=20, learning_rate=0.09, milestones=(5, 9), epochs=12
    )
    assert batch_growth.schedules(settings) == {
        "decaying rate": {"batch_size": {0: 20, 5: 20, 9: 20}, "learning_rate": {0: 0.09, 5: 0.03, 9: 0.01}},
        "growing batch": {"batch_size": {0: 20, 5: 60, 9: 180}, "learning_rate": {0: 0.09, 5: 0.09, 9: 0.09}},
        "hybrid": {"batch_size": {0: 20, 5: 60, 9: 60}, "learning_rate": {0: 0.09, 5: 0.09, 9: 0.03}},
        "constant": {"batch_size": {0: 20}, "learning_rate": {0: 0.09}},
    }


def test_the_default_stays_below_a_tenth_of_the_images_in_whole_batches():
    """So the noise of SGD is proportional to 1/B to some per cent, and no step has a smaller batch."""
    settings = question.make_settings(batch_growth)
    sizes = batch_growth.schedules(settings)["growing batch"]["batch_size"].values()
    assert list(sizes) == [20, 60, 180]
    assert max(sizes) <= settings.train / 10
    assert all(settings.train % size == 0 for size in sizes)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [{0: 7}, {0: 3, 2: 9, 5: 50}])
def test_updates_by_counting_batches(sizes):
    """Epoch by epoch, also where the last batch of an epoch is smaller."""
    data = datasets.load("mnist10k", train=50, test=20)
    (member,) = training.train(
        lambda seed: models.mlp((), seed=seed),
        data,
        batch_size=sizes,
        epochs=7,
        optimizer=keras.optimizers.SGD,
        seeds=1,
    )
    for epochs in range(1, 8):
        begins = [max(begin for begin in sizes if begin <= epoch) for epoch in range(epochs)]
        counted = sum(len(range(0, 50, sizes[begin])) for begin in begins)
        assert member.evaluated[epochs - 1] == counted


def test_schedules_are_one_training_until_the_first_milestone(frame):
    """And three different ones after it; the updates are those of each one's batches."""
    measured = ["train_loss", "test_loss", "train_accuracy", "test_accuracy", "updates"]
    tables = {name: rows.set_index(["seed", "epoch"])[measured] for name, rows in frame.groupby("schedule")}
    first = tables.pop("constant")
    for table in tables.values():
        until, after = ((table.index.get_level_values("epoch") <= 2) == side for side in (True, False))
        assert table[until].equals(first[until])
        assert (table.train_loss[after] != first.train_loss[after]).all()
    ends = {name: table.updates.xs(6, level="epoch").unique().tolist() for name, table in tables.items()}
    assert ends == {
        "decaying rate": [6 * 90],
        "growing batch": [2 * 90 + 2 * 30 + 2 * 10],
        "hybrid": [2 * 90 + 4 * 30],
    }


@pytest.mark.parametrize("schedule", cases.some(["hybrid", "decaying rate", "growing batch"], 1))
def test_a_schedule_is_an_ordinary_loop(schedule):
    """With one momentum buffer throughout: batches of 10, 30 or 90 images, and rates, by a loop of tapes."""
    data = datasets.load_splits("mnist10k", train=90, test=50)
    changes = {"train": 90, "test": 50, "batch_size": 10, "epochs": 3, "milestones": (1, 2), "seeds": 1}
    settings = question.make_settings(batch_growth, "smoke", first_seed=4, **changes)
    *_, row = batch_growth.run(settings, data, schedule)
    plan, own = batch_growth.schedules(settings)[schedule], data.of(4)
    model = models.mlp(settings.hidden, seed=4)
    optimizer = keras.optimizers.SGD(1.0, momentum=settings.momentum)
    rng = np.random.default_rng([4, 1])
    for epoch in range(3):
        order, size = rng.permutation(90), plan["batch_size"][epoch]
        optimizer.learning_rate = plan["learning_rate"][epoch]
        for start in range(0, 90, size):
            rows = order[start : start + size]
            step(model, own.x_train[rows], own.y_train[rows], optimizer)
    expected = references.evaluate(model, own.x_train, own.y_train)
    assert (row["train_loss"], row["train_accuracy"]) == pytest.approx(expected, rel=1e-4)
    assert row["test_loss"] == pytest.approx(references.evaluate(model, own.x_test, own.y_test)[0], rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"milestones": (4, 2)}, "--milestones=4,2: must be rising"),
        ({"milestones": (2, 6)}, "--milestones=2,6: must lie before the end, --epochs=6"),
        ({"milestones": (2, 9)}, "--milestones=2,9: must lie before the end"),
        ({"batch_size": 21}, "--batch_size=21: grows to 189, but must stay at most --train=180"),
        ({"batch_size": 200}, "--batch_size=200: must be at most --train=180"),
        ({"factor": 1}, "--factor=1"),
        ({"momentum": 1.0}, "--momentum=1.0"),
        ({"hidden": (0,)}, "--hidden=0"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(changes, message):
    """They name the flag before anything trains."""
    with pytest.raises(ValueError, match=message) as raised:
        question.make_settings(batch_growth, "smoke", **changes)
    assert "\n" not in str(raised.value)


def test_nets_that_diverge_are_rows():
    """With NaN from where the loss was no longer finite, and status diverged."""
    data = datasets.load_splits("mnist10k", train=180, test=50)
    settings = question.make_settings(batch_growth, "smoke", seeds=1, learning_rate=1e30)
    rows = list(batch_growth.run(settings, data, "constant"))
    assert {row["status"] for row in rows} == {"diverged"}
    assert np.isnan(rows[-1]["train_loss"])
