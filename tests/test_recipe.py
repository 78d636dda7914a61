"""The recipe: nets of a question are trained by Adam to one training loss, looked at often enough."""

from types import SimpleNamespace

import keras
import nets
import numpy as np
import pytest
import references

from hw1 import models, recipe, training
from hw1.datasets import Splits


def settings(**changes):
    """Settings as those of a question."""
    given = {"hidden": (8,), "target_loss": 0.7, "updates": 2000, "learning_rate": 0.01, "all_seeds": range(2, 5)}
    return SimpleNamespace(**given | changes)


def data():
    """Splits of 60 random images into 40 for training and 20 for tests."""
    x, y = nets.examples(n=60)
    return Splits(x.astype("float32"), y.astype("int32"), "random", nets.CLASSES, 40, 20)


@pytest.fixture
def options(monkeypatch):
    """What `hw1.training.train` is given instead of training."""
    seen = []
    monkeypatch.setattr(training, "train", lambda build, data, **given: seen.append({"build": build, **given}))
    return seen


def test_nets_are_trained_to_the_target_on_their_own_split():
    """Each stops at the first look at or below it, whose loss is that over its own training images."""
    members = recipe.train(settings(), data(), batch_size=10)
    assert [member.seed for member in members] == [2, 3, 4]
    for member in members:
        *before, last = member.history["train_loss"]
        assert member.status == "ok"
        assert last <= 0.7 < min(before)
        own = member.data
        assert last == pytest.approx(references.losses(member.model, own.x_train, own.y_train).mean(), rel=1e-5)


def test_a_budget_ends_what_does_not_reach_the_target():
    """And says so."""
    for member in recipe.train(settings(updates=30, target_loss=1e-6), data(), batch_size=10):
        assert (member.status, member.updates) == ("target not reached", 30)


@pytest.mark.parametrize(("batch_size", "steps"), [(10, 250), (99, 25), (100, 25), (5000, 25)])
def test_looks_are_every_25_steps_or_2500_examples(options, batch_size, steps):
    """Whichever is more."""
    recipe.train(settings(), data(), batch_size)
    assert options[0]["evaluate_updates"] == steps


def test_settings_are_those_of_the_question(options):
    """Adam with its step size, its seeds, and a fully connected net for the shape and the classes of the data."""
    recipe.train(settings(), data(), 10)
    (given,) = options
    assert type(given["optimizer"]()) is keras.optimizers.Adam
    assert float(np.asarray(given["optimizer"]().learning_rate)) == pytest.approx(0.01)
    assert (given["seeds"], given["target_loss"], given["updates"]) == (range(2, 5), 0.7, 2000)
    found, expected = given["build"](3), models.mlp((8,), input_shape=nets.SHAPE, classes=nets.CLASSES, seed=3)
    np.testing.assert_array_equal(models.flat_parameters(found), models.flat_parameters(expected))


def test_options_come_before_settings(options):
    """A net, seeds, a budget and no target of the caller's own."""
    recipe.train(settings(), data(), 10, nets.mlp, seeds=[7], updates=3, target_loss=None, inner_steps=2)
    (given,) = options
    assert given["build"] is nets.mlp
    assert (given["seeds"], given["updates"], given["target_loss"], given["inner_steps"]) == ([7], 3, None, 2)


def test_the_schedule_by_hand():
    """Constant for 60 %, then a cosine to 0."""
    found = recipe.schedule(np.array([0, 59.9, 60, 70, 80, 90, 100]), 100, 0.6)
    half = np.sqrt(0.5) / 2
    np.testing.assert_allclose(found, [1, 1, 1, 0.5 + half, 0.5, 0.5 - half, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        ([1.0] * 10, True),
        (list(np.linspace(2, 1, 10)), False),
        ([9, 1.0, 1.0, 1, 1, 1, 1, 1, 0.1, 0.1], True),  # what falls with the rate does not count
        ([9, 8, 1.0, 1, 0.95, 0.95, 0.95, 0.95, 0, 0], True),
        ([9, 8, 1.0, 1, 0.85, 0.85, 0.85, 0.85, 0, 0], False),
    ],
)
def test_the_plateau_by_hand(losses, found):
    """Of 10 steps, 8 at the constant rate: steps 4 to 7 against 2 and 3, with a fall of 10 % as none."""
    assert recipe.at_plateau(np.array(losses, float), 0.8, 0.1) == found
