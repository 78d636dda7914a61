"""How seeds divide the images in the questions: each net sees the split of its seed, and nets on one line share one."""

import dataclasses
import itertools

import cases
import numpy as np
import pytest
import references

from hw1 import catalogue, datasets, question, records, training
from hw1.datasets import Dataset
from hw1.generalization import interpolation, random_labels, reparametrization
from hw1.landscape import loss_functions, remedies
from hw1.paths import straight_line

CHOICES = {
    name: field.metadata["choices"]
    for name in catalogue.names()
    for field in dataclasses.fields(catalogue.experiment(name).Settings)
    if field.name == "splits"
}


class Reached(Exception):  # noqa: N818
    """Ends a question where it would begin to train on images."""


@pytest.fixture
def given(monkeypatch, tmp_path):
    """A function that runs a question until its first training on images, and returns the data given to it."""
    train = training.train

    def stop(build, data, **options):
        if isinstance(data, Dataset):  # a function
            return train(build, data, **options)
        raise Reached(data)

    def run(module, **changes):
        settings = question.make_settings(module, "smoke", **changes)
        with pytest.raises(Reached) as reached:
            question.run_units(module, settings, tmp_path / settings.splits)
        return settings, reached.value.args[0]

    monkeypatch.setattr(training, "train", stop)
    return run


@pytest.fixture
def trainings(monkeypatch):
    """The members of each training, in the order of the calls."""
    train, seen = training.train, []

    def watch(*arguments, **options):
        seen.append(train(*arguments, **options))
        return seen[-1]

    monkeypatch.setattr(training, "train", watch)
    return seen


def run(module, unit, **changes):
    """The rows of a unit at smoke size with these settings, and the data."""
    settings = question.make_settings(module, "smoke", **changes)
    data = datasets.load_splits(settings.data, settings.train, settings.test, settings.splits)
    return list(module.run(settings, data, **unit)), data


def images(data):
    """What tells the images of a data set apart and averaging over squares of pixels keeps: the mean of each."""
    return [x.reshape(len(x), -1).mean(axis=1) for x in (data.x_train, data.x_test)]


def alike(values):
    """The values up to their mean and scale: what a question that centres and scales its images keeps of them."""
    return (values - values.mean()) / values.std()


def share_images(*members):
    """Whether all members saw the same training and test images, in one order."""
    first, *others = ([getattr(member.data, key).tobytes() for key in ("x_train", "x_test")] for member in members)
    return all(other == first for other in others)


@pytest.mark.parametrize(("name", "splits"), [(name, each) for name, choices in CHOICES.items() for each in choices])
def test_a_question_trains_on_the_split_of_each_seed(given, name, splits):
    """Its first training is given the images that `load_splits` gives a seed: of each seed others, or fixed ones.

    Or the training images alone, if it keeps some of them for validation.
    """
    module = catalogue.experiment(name)
    settings, found = given(module, splits=splits, first_seed=1)
    first = settings.data if isinstance(settings.data, str) else settings.data[0]
    loaded = datasets.load_splits(first, settings.train, settings.test, splits)
    seen = []
    for seed in settings.all_seeds:
        seen.append(np.concatenate(images(found.of(seed))))
        there = np.concatenate(images(loaded.of(seed)))
        assert len(seen[-1]) in (len(there), settings.train)
        np.testing.assert_allclose(alike(seen[-1]), alike(there[: len(seen[-1])]), atol=1e-4)
    same = [np.array_equal(a, b) for a, b in itertools.combinations(seen, 2)]
    assert same == [splits == "fixed"] * len(same)


FEWER = {
    "adversarial": {"batch_sizes": (20,)},
    "sensitivity": {"batch_sizes": (20,)},
    "straight_line": {"nets": ("relu",)},
    "parameter_count": {"widths": (16,)},
}


@pytest.mark.parametrize("name", cases.some(FEWER, 1))
def test_rows_differ_between_splits(at_smoke_size, name, tmp_path):
    """From the same initial weights; the record tells the data apart by their hashes."""
    module, folder = catalogue.experiment(name), at_smoke_size(name)
    question.run_units(module, question.make_settings(module, "smoke", splits="fixed", **FEWER[name]), tmp_path)
    fixed, seeded = (records.read(each, name) for each in (tmp_path, folder))
    cells = ("part", "loss", "examples", "noise", "hidden", "batch_size", "net", "line", "attack", "epsilon", "alpha")
    keys = [key for key in (*cells, "seed") if key in fixed]
    pairs = fixed.merge(seeded, on=keys, suffixes=("_fixed", "_seeded"))
    assert len(pairs) == len(fixed)
    for column in ("train_loss", "test_loss"):
        assert (pairs[f"{column}_fixed"] != pairs[f"{column}_seeded"]).all()
    hashes = [records.about(each, name)["data"]["sha256"] for each in (tmp_path, folder)]
    assert hashes == [datasets.load("mnist10k", 200, 200).sha256, datasets.load_splits("mnist10k").sha256]


# Nets that are compared on one line


def test_both_nets_of_a_straight_line_saw_the_same_images(trainings):
    """Each with its partner; the losses at both ends are over the images of both."""
    rows, data = run(straight_line, {"net": "relu"}, first_seed=3)
    (members,) = trainings
    assert [member.seed for member in members] == [3, 4, 5, 6]
    assert share_images(members[0], members[2])
    assert share_images(members[1], members[3])
    assert not share_images(members[0], members[1])
    for first, second in zip(members[:2], members[2:], strict=True):
        np.testing.assert_array_equal(first.data.x_train, data.of(first.seed).x_train)
        line = {row["alpha"]: row for row in rows if row.get("line") == "end to end" and row["seed"] == first.seed}
        for alpha, member in ((0, first), (1, second)):
            assert line[alpha]["train_loss"] == pytest.approx(member.final["train_loss"], rel=1e-4)
            assert line[alpha]["test_loss"] == pytest.approx(member.final["test_loss"], rel=1e-4)


def test_solutions_that_a_line_of_loss_functions_joins_saw_the_same_images(trainings):
    """Those of the same loss and a further seed, and those of the other loss."""
    _, data = run(loss_functions, {"loss": "nll"}, first_seed=3, seeds=2, losses=("nll", "squared"))
    own, other = trainings
    for number, seed in enumerate((3, 4)):
        assert own[number].seed == other[number].seed == seed
        assert share_images(own[number], own[number + 2], other[number])
        np.testing.assert_array_equal(own[number].data.x_train, data.of(seed).x_train)
    assert not share_images(own[0], own[1])


def test_the_line_of_reparametrization_joins_nets_that_saw_the_same_images(trainings):
    """Those of the first seed; the nets of the other units see their own."""
    rows, data = run(reparametrization, {"transformation": "line"}, first_seed=3)
    (members,) = trainings
    assert share_images(*members)
    np.testing.assert_allclose(images(members[-1].data)[0], images(data.of(3))[0], rtol=1e-5)
    ends = {row["alpha"]: row["value"] for row in rows}
    assert [ends[0], ends[1]] == pytest.approx([member.final["train_loss"] for member in members], rel=1e-9)
    trainings.clear()
    run(reparametrization, {"transformation": "two-layer"}, first_seed=3, alphas=(1.0,))
    assert not share_images(*trainings[0])


def test_both_ends_of_an_interpolation_saw_the_same_images(trainings):
    """Two batch sizes of one seed."""
    run(interpolation, {"pair": "batch size"})
    for first, second in zip(*trainings, strict=True):
        assert share_images(first, second)
    assert not share_images(*trainings[0])


# What is made from the images of a split


def test_remedies_are_measured_on_the_images_as_they_are(monkeypatch):
    """Augmentation trains on other images; φ and the losses are over those of the seed's split."""
    measured, sharpness = [], remedies.keskar_sharpness

    def watch(model, x, y, *arguments, **options):
        measured.append((model, x, y))
        return sharpness(model, x, y, *arguments, **options)

    monkeypatch.setattr(remedies, "keskar_sharpness", watch)
    rows, data = run(remedies, {"remedy": "data augmentation"}, first_seed=3)
    assert len(rows) == len(measured) == 2
    for row, (model, x, y) in zip(rows, measured, strict=True):
        own = data.of(row["seed"])
        np.testing.assert_array_equal(x, own.x_train)
        np.testing.assert_array_equal(y, own.y_train)
        for part, inputs, labels in (("train", own.x_train, own.y_train), ("test", own.x_test, own.y_test)):
            loss, accuracy = references.evaluate(model, inputs, labels)
            assert row[f"{part}_loss"] == pytest.approx(loss, rel=1e-4)
            assert row[f"{part}_accuracy"] == pytest.approx(accuracy, abs=1e-6)


@pytest.mark.parametrize("splits", ["seed", "fixed"])
def test_random_labels_are_permuted_anew_by_each_seed(given, splits):
    """Also where the images are fixed; images and test labels stay as they are."""
    settings, found = given(random_labels, splits=splits, fractions=(1.0,), first_seed=1)
    loaded = datasets.load_splits(settings.data, settings.train, settings.test, splits)
    permutations = []
    for seed in settings.all_seeds:
        noisy, true = found.of(seed), loaded.of(seed)
        np.testing.assert_array_equal(noisy.x_train, true.x_train)
        np.testing.assert_array_equal(noisy.y_test, true.y_test)
        np.testing.assert_array_equal(np.bincount(noisy.y_train), np.bincount(true.y_train))
        assert (noisy.y_train != true.y_train).mean() > 0.8
        permutations.append(noisy.y_train)
    assert not np.array_equal(*permutations)
