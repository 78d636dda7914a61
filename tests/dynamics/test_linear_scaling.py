"""Question linear_scaling: its learning rates by hand, its nets against an ordinary loop, bad settings."""

import dataclasses

import keras
import numpy as np
import pytest
import references
import tensorflow as tf

from hw1 import datasets, models, question, records
from hw1.dynamics import linear_scaling
from hw1.dynamics.linear_scaling import CONSTANT, RULES, SCALED, WARM, rates

REPORT = question.make_settings(linear_scaling)


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with the question at smoke size."""
    return at_smoke_size("linear_scaling")


def test_rates_are_those_of_the_source():
    """The base's, k times it, and a straight line from the one to the other; all a tenth after each milestone."""
    settings = dataclasses.replace(REPORT, learning_rate=0.1, warmup=2, milestones=(12, 24, 32))
    passed = np.array([0.0, 1.0, 2.0, 11.99, 12.0, 24.0, 35.0])
    decay = np.array([1, 1, 1, 1, 0.1, 0.01, 0.001])
    assert rates(settings, 640, CONSTANT, passed) == pytest.approx(0.1 * decay)
    assert rates(settings, 640, SCALED, passed) == pytest.approx(3.2 * decay)
    assert rates(settings, 640, WARM, passed) == pytest.approx(np.array([0.1, 1.65, 3.2, 3.2, 3.2, 3.2, 3.2]) * decay)
    for rule in RULES:
        assert rates(settings, 20, rule, passed) == pytest.approx(0.1 * decay)


class Listed(keras.optimizers.schedules.LearningRateSchedule):
    """A rate for each step."""

    def __init__(self, each):
        """Takes the rates."""
        super().__init__()
        self.each = tf.constant(each)

    def __call__(self, step):
        """The rate of a step."""
        return keras.ops.take(self.each, step)

    def get_config(self):
        """The rates."""
        return {"each": self.each.numpy().tolist()}


def test_a_net_is_that_of_an_ordinary_loop():
    """Warm-up and milestone, of the second seed, by tapes, with a rate for each step."""
    settings = question.make_settings(linear_scaling, "smoke", pool=1)
    data = datasets.load_splits("mnist10k", 200, 200)
    found = [row for row in linear_scaling.run(settings, data, 40) if row.get("status") and row["rule"] == WARM]
    model, own = models.mlp(settings.hidden, seed=1), data.of(1)
    each = [float(rate) for rate in rates(settings, 40, WARM, np.arange(30) / 5)]
    optimizer = keras.optimizers.SGD(Listed(each), momentum=settings.momentum)
    references.train(model, own, batch_size=40, updates=30, optimizer=optimizer, seed=1)
    assert len(set(each)) > 5
    assert found[1]["seed"] == 1
    assert found[1]["train_loss"] == pytest.approx(references.losses(model, own.x_train, own.y_train).mean(), rel=1e-3)


def test_all_rules_are_one_at_the_base(runs):
    """And differ at larger batches; all end after the same epochs."""
    rows, training = (records.read(runs, "linear_scaling", table) for table in ("rows", "training"))
    tables = {
        rule: rows[rows.rule == rule].pivot(index="seed", columns="batch_size", values="test_loss") for rule in RULES
    }
    for rule in (SCALED, WARM):
        assert tables[rule][10].equals(tables[CONSTANT][10])
        assert (tables[rule][40] != tables[CONSTANT][40]).all()
    assert (rows.updates * rows.batch_size == 6 * 200).all()
    assert (training.groupby(["batch_size", "rule", "seed"]).epoch.max() == 6).all()


def test_a_net_that_diverges_is_a_row():
    """The others are as they were."""
    settings = question.make_settings(linear_scaling, "smoke", learning_rate=1e20)
    data = datasets.load_splits("mnist10k", 200, 200)
    assert {row["status"] for row in linear_scaling.run(settings, data, 20) if "status" in row} == {"diverged"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_sizes": (20, 10)}, "--batch_sizes=20,10: must be two or more, the smallest first"),
        ({"batch_sizes": (10,)}, "two or more"),
        ({"batch_sizes": (10, 400)}, "--batch_sizes=10,400: must be at most --train=200"),
        ({"factor": 3.0}, "--factor=3: 3 times the base 10 must be another one"),
        ({"milestones": (6,)}, "--milestones=6: must rise and be below --epochs=6"),
        ({"milestones": (4, 2)}, "must rise"),
        ({"warmup": 7}, "--warmup=7: must be at most --epochs=6"),
        ({"momentum": 1.0}, "--momentum=1.0"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    """Before anything is trained, by the name of the flag."""
    with pytest.raises(ValueError, match=message):
        question.make_settings(linear_scaling, "smoke", **changes)
