"""Histories, evaluations, targets and budgets of a training."""

import dataclasses

import cases
import nets
import numpy as np
import pytest
import references
import tensorflow as tf
from trainings import CLOSE, OPTIMIZERS, dataset, fit, plain, reference

from hw1 import models


@pytest.fixture(scope="module")
def fine():
    """The training loss after each of 120 steps of one member."""
    (member,) = fit(plain, seeds=[4], epochs=24, evaluate_updates=1)
    return member.history["train_loss"]


def test_the_history_is_that_of_the_returned_nets():
    """Its last values are loss and accuracy of the model over the whole sets; one value per epoch."""
    data = dataset()
    for member in fit(plain, data):
        assert list(member.history["epoch"]) == [1, 2, 3]
        for part, x, y in (("train", data.x_train, data.y_train), ("test", data.x_test, data.y_test)):
            assert member.final[f"{part}_loss"] == pytest.approx(references.losses(member.model, x, y).mean())
            assert member.final[f"{part}_accuracy"] == references.accuracy(member.model, x, y)


def test_a_member_stops_at_the_target_and_the_others_go_on():
    """Weights, history and updates of the early one are those that the longer training had at that epoch."""
    members = fit(plain, seeds=[4, 0, 7], epochs=20, record=["weights"])
    curves = [member.history["train_loss"] for member in members]
    target = sorted(curve.min() for curve in curves)[1] * 1.0001  # reached by two members of three
    stopped = fit(plain, seeds=[4, 0, 7], epochs=20, target_loss=target)
    for member, longer, curve in zip(stopped, members, curves, strict=True):
        reached = np.flatnonzero(curve <= target)
        epochs = reached[0] + 1 if len(reached) else 20
        assert member.status == ("ok" if len(reached) else "target not reached")
        assert len(member.history["epoch"]) == epochs
        assert member.updates == 5 * epochs
        np.testing.assert_allclose(
            models.flat_parameters(member.model), longer.weights[epochs - 1], rtol=1e-5, atol=1e-7
        )
        np.testing.assert_allclose(member.history["test_loss"], longer.history["test_loss"][:epochs], rtol=1e-5)
    assert {member.status for member in stopped} == {"ok", "target not reached"}


def test_a_diverging_member_leaves_the_others_alone():
    """One starts at a point where the loss overflows: it says so, and the other two are as without it."""

    def make(seed):
        model = plain(seed)
        if seed == 0:
            model.set_weights([np.full_like(weight, 1e308) for weight in model.get_weights()])
        return model

    with_it, without = fit(make, seeds=[4, 0, 7]), fit(make, seeds=[4, 7])
    assert [member.status for member in with_it] == ["ok", "diverged", "ok"]
    assert len(with_it[1].history["epoch"]) == 1
    for a, b in zip((with_it[0], with_it[2]), without, strict=True):
        np.testing.assert_allclose(models.flat_parameters(a.model), models.flat_parameters(b.model), **CLOSE)


@pytest.mark.parametrize("updates", [4, 7])
def test_the_budget_of_updates_is_exact(updates):
    """Also in the middle of an epoch and just before its smaller last batch."""
    make, data, optimizer = plain, dataset(), OPTIMIZERS["sgd"]
    member = fit(make, data, optimizer, seeds=[3], epochs=None, updates=updates, evaluate_every=2, record=["steps"])[0]
    model, losses, _ = reference(make, data, 3, optimizer, updates)
    assert member.updates == updates == len(member.steps["loss"])
    np.testing.assert_allclose(member.steps["loss"], losses, **CLOSE)
    np.testing.assert_allclose(
        models.flat_parameters(member.model), references.flat(model.trainable_variables), **CLOSE
    )


def test_evaluations_between_epochs_change_nothing():
    """Every second epoch and the last are evaluated; the weights are those of any other interval."""
    often, seldom = fit(plain, epochs=5)[0], fit(plain, epochs=5, evaluate_every=2)[0]
    assert list(seldom.history["epoch"]) == [2, 4, 5]
    np.testing.assert_allclose(seldom.history["test_loss"], often.history["test_loss"][[1, 3, 4]], **CLOSE)


INTERVALS = [(2, [0.4, 0.8, 1, 1.4, 1.8, 2, 2.4]), (11, [2, 2.4]), (5, [1, 2, 2.4])]


@pytest.mark.parametrize(("every", "epochs"), cases.some(INTERVALS, 1))
def test_evaluations_after_so_many_updates(every, epochs):
    """Within epochs of five steps, or after whole ones; the training is the same, and the end is always evaluated."""
    members = fit(plain, epochs=None, updates=12, evaluate_updates=every, record=["weights", "steps"])
    for member, other in zip(members, fit(plain, epochs=None, updates=12, record=["steps"]), strict=True):
        np.testing.assert_allclose(member.history["epoch"], epochs)
        np.testing.assert_allclose(models.flat_parameters(member.model), models.flat_parameters(other.model), **CLOSE)
        np.testing.assert_array_equal(member.weights[-1], models.flat_parameters(member.model))
        np.testing.assert_allclose(member.steps["loss"], other.steps["loss"], rtol=1e-9)
        assert len(member.weights) == len(epochs)


def test_a_target_is_met_within_an_epoch(fine):
    """The member stops at the first evaluation at or below the target, whose loss is that of the returned net."""
    target = fine[7]
    (member,) = fit(plain, seeds=[4], epochs=6, evaluate_updates=1, target_loss=target)
    first = int(np.argmax(fine <= target))
    assert (member.status, member.updates) == ("ok", first + 1)
    assert member.final["train_loss"] == pytest.approx(fine[first], rel=1e-9)


@pytest.mark.parametrize(("every", "updates"), [(3, 112), (25, 115)])
def test_the_target_is_looked_out_for_between_evaluations(every, updates, fine):
    """Near it five times as often: after every step, or every fifth, of which none is due to be evaluated."""
    target = fine[111]
    assert np.argmax(fine <= target) == 111
    (member,) = fit(plain, seeds=[4], epochs=40, evaluate_updates=every, target_loss=target)
    assert (member.status, member.updates) == ("ok", updates)
    assert member.final["train_loss"] == pytest.approx(fine[updates - 1], rel=1e-9)
    due = (member.history["epoch"][:-1] * 5).round()
    assert set(np.diff(due)) == ({3, 2} if every == 3 else {25})


@pytest.mark.slow
def test_a_target_between_evaluations_does_not_depend_on_company():
    """Updates, history and weights of a member alone are those in a group of which the others stop elsewhere."""
    options = {"epochs": 60, "evaluate_updates": 15, "target_loss": 0.9}
    seeds = [4, 0, 7, 1, 2]
    together = fit(plain, seeds=seeds, record=["weights"], **options)
    assert len({member.updates for member in together}) > 2
    assert any(member.updates % 15 for member in together)
    for member in together:
        (alone,) = fit(plain, seeds=[member.seed], record=["weights"], **options)
        assert (alone.updates, alone.status) == (member.updates, member.status)
        np.testing.assert_allclose(alone.history["epoch"], member.history["epoch"])
        np.testing.assert_allclose(alone.history["train_loss"], member.history["train_loss"], rtol=1e-6)
        np.testing.assert_allclose(alone.weights, member.weights, **CLOSE)
        np.testing.assert_array_equal(member.weights[-1], models.flat_parameters(member.model))


@pytest.mark.parametrize("kind", cases.some(["one-hot", "column"], 1))
def test_integer_targets_that_are_no_labels_have_no_accuracy(kind):
    """As `hw1.evaluation.evaluate` has it: only labels, shape [n], of several classes can be right."""
    data = dataset()
    targets = {"column": lambda y: y[:, None], "one-hot": lambda y: np.eye(nets.CLASSES, dtype="int32")[y]}[kind]
    data = dataclasses.replace(data, y_train=targets(data.y_train), y_test=targets(data.y_test))
    loss = lambda y, outputs: tf.reduce_mean((tf.cast(y, outputs.dtype) - outputs) ** 2, axis=-1)  # noqa: E731
    (member,) = fit(plain, data, OPTIMIZERS["sgd"], seeds=[4], loss=loss)
    assert set(member.history) == {"epoch", "train_loss", "test_loss"}
