"""Members that see splits of their own, trained together: as each alone on its training and test set."""

import dataclasses

import cases
import nets
import numpy as np
import pytest
import references
from trainings import CLOSE, OPTIMIZERS, build, dataset, fit, forget_programs, plain

from hw1 import datasets, evaluation, models, training
from hw1.datasets import Splits
from hw1.training import program

SEEDS = (4, 0, 7)
# Stacked and by themselves; dropout draws masks, normalisation keeps statistics of what it saw.
KINDS = ("tanh", "dropout", "convolutional", "normalised")
WITHIN = {"evaluate_updates": 7, "target_loss": 1.0, "epochs": 30}  # a target that is met within epochs


def splits(shape=nets.SHAPE):
    """Splits of 40 random images: 23 for training, so that batches of 5 leave a last one of 3, and 9 for tests."""
    x, y = nets.examples(shape, 40)
    return Splits(x, y.astype(np.int32), "random", nets.CLASSES, 23, 9)


def fit_all(make, data, seeds=SEEDS, **options):
    """Trains members and records everything, so that most tests share a compiled program."""
    return fit(make, data, seeds=seeds, record=["weights", "steps"], **options)


def assert_alike(member, other, **tolerance):
    """Asserts that two members have the same weights and the same records."""
    assert (member.seed, member.status, member.updates) == (other.seed, other.status, other.updates)
    pairs = [(member.history[curve], other.history[curve]) for curve in member.history]
    pairs += [(member.steps[curve], other.steps[curve]) for curve in member.steps]
    pairs += [(member.weights, other.weights)]
    pairs += [
        (np.asarray(a), np.asarray(b)) for a, b in zip(member.model.variables, other.model.variables, strict=True)
    ]
    for found, expected in pairs:
        if tolerance:
            np.testing.assert_allclose(found, expected, **tolerance)
        else:
            np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_members_together_are_members_alone_on_their_data(kind, xla):
    """Weights, mini-batches and evaluations of each are those of a training on `of(seed)` and no other seed."""
    make = build(kind)
    data = splits(make(0).input_shape[1:])
    for member in fit_all(make, data):
        (alone,) = fit_all(make, data.of(member.seed), [member.seed])
        assert_alike(member, alone, **CLOSE)


@pytest.mark.parametrize("make", cases.some([plain, build("tanh"), build("convolutional")], 1))
def test_histories_are_over_each_member_s_own_data(make, monkeypatch):
    """At every evaluation, within epochs too, in parts of two or eight examples and a smaller last one."""
    monkeypatch.setattr(program, "_EVALUATED_AT_ONCE", 8)
    forget_programs(monkeypatch)
    options = {"optimizer": OPTIMIZERS["sgd"], "epochs": 2, "evaluate_updates": 3}
    for member in fit_all(make, splits(make(0).input_shape[1:]), **options):
        data = member.data
        for at_epoch, weights in zip(member.curve, member.weights, strict=True):
            model = models.with_parameters(member.model, weights)
            for part, x, y in (("train", data.x_train, data.y_train), ("test", data.x_test, data.y_test)):
                expected = evaluation.evaluate(model, x, y)
                assert expected == pytest.approx(references.evaluate(model, x, y), rel=1e-9)
                assert (at_epoch[f"{part}_loss"], at_epoch[f"{part}_accuracy"]) == pytest.approx(expected, rel=1e-9)


def test_a_member_has_the_data_that_it_saw():
    """The split of its seed, in whatever order members are asked; of a data set that itself."""
    data = splits()
    members = fit_all(plain, data)
    for member in (*members, *reversed(members)):
        for key in datasets.KEYS:
            np.testing.assert_array_equal(getattr(member.data, key), getattr(data.of(member.seed), key))
    one = dataset()
    assert all(member.data is one for member in fit_all(plain, one))


@pytest.mark.slow
@pytest.mark.parametrize("make", [build("tanh"), build("convolutional")])
def test_neither_order_nor_company_changes_a_member(make):
    """Other seeds beside it, before or behind it, and the split of another seed drawn before."""
    data = splits(make(0).input_shape[1:])
    members = {member.seed: member for member in fit_all(make, data)}
    data.of(7)
    for seeds in ([7, 2, 4], [0]):
        for member in fit_all(make, data, seeds):
            if member.seed in members:
                assert_alike(member, members[member.seed], **CLOSE)


def test_a_target_is_that_of_each_member_s_own_training_set():
    """Each stops where it stops alone, also between two evaluations."""
    data = splits()
    together = fit_all(plain, data, **WITHIN)
    assert len({member.updates for member in together}) > 1
    assert any(member.updates % WITHIN["evaluate_updates"] for member in together)
    for member in together:
        (alone,) = fit_all(plain, data.of(member.seed), [member.seed], **WITHIN)
        assert_alike(member, alone, **CLOSE)
        own = member.data
        assert references.losses(member.model, own.x_train, own.y_train).mean() <= WITHIN["target_loss"]


FIXED = [(plain, {}), (build("tanh"), WITHIN), (build("dropout"), {}), (build("convolutional"), {})]


@pytest.mark.parametrize(("make", "options"), cases.some(FIXED, 1))
def test_a_fixed_split_gives_what_the_data_set_gives(make, options):
    """Bit for bit, with evaluations of whole epochs and with a target within them."""
    data = dataset(make(0).input_shape[1:])
    found, expected = (fit_all(make, each, **options) for each in (Splits.fixed(data), data))
    for member, other in zip(found, expected, strict=True):
        assert_alike(member, other)


def test_the_split_is_the_only_difference():
    """From the same weights and in the same order of rows, other images give other nets."""
    data = splits()
    shared = data.sharing(lambda seed: 4)
    own, other = (fit_all(plain, each) for each in (data, shared))
    assert_alike(own[0], other[0], **CLOSE)
    for a, b in zip(own[1:], other[1:], strict=True):
        assert not np.allclose(a.history["train_loss"], b.history["train_loss"], rtol=1e-3)
        assert not np.allclose(models.flat_parameters(a.model), models.flat_parameters(b.model), rtol=1e-3)
    images = [member.data.x_train.tobytes() for member in other]
    assert len(set(images)) == 1


@pytest.mark.slow
def test_every_seed_may_have_a_data_set_of_its_own():
    """Of the same images with other labels, as in the question of random labels."""
    data = dataset()
    sets = {seed: dataclasses.replace(data, y_train=(data.y_train + seed) % nets.CLASSES) for seed in SEEDS}
    for member in fit_all(plain, Splits.stacked(sets)):
        (alone,) = fit_all(plain, sets[member.seed], [member.seed])
        assert_alike(member, alone, **CLOSE)


def test_splits_that_do_not_fit():
    """A batch larger than a training set; a label that the net has no output for, whichever part it is in."""
    given = {"epochs": 1, "optimizer": OPTIMIZERS["sgd"], "seeds": 2}
    with pytest.raises(ValueError, match="batch_size 24 is larger than the 23 training examples"):
        training.train(plain, splits(), batch_size=24, **given)
    with pytest.raises(ValueError, match="outside the model's 2 classes"):
        training.train(lambda seed: nets.mlp(classes=2), splits(), batch_size=5, **given)
