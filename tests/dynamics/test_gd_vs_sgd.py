"""Methods, noise and distortions of the comparison of full-batch descent and SGD."""

import types

import keras
import numpy as np
import pytest
import references
import tensorflow as tf

from hw1 import datasets, question, recipe
from hw1.dynamics import gd_vs_sgd


def images_of(side=21, n=400):
    """Images with a bright horizontal bar through the centre."""
    images = np.zeros((n, side, side), "float32")
    images[:, side // 2, 4 : side - 4] = 1
    return images


def centres(images):
    """The centre of mass of each image in pixels from its middle, shape [n, 2] (x, y)."""
    side = images.shape[1]
    places, total = np.arange(side) - (side - 1) / 2, images.sum(axis=(1, 2))
    return (
        np.stack([np.einsum("nij,j->n", images, places), np.einsum("nij,i->n", images, places)], axis=1)
        / (total[:, None])
    )


def spread(images):
    """The mean squares x², xy and y² of each image, shape [n, 3]."""
    places = np.arange(images.shape[1]) - (images.shape[1] - 1) / 2
    total = images.sum(axis=(1, 2))
    rules = ("nij,j,j->n", "nij,i,j->n", "nij,i,i->n")
    return np.stack([np.einsum(rule, images, places, places) / total for rule in rules], axis=1)


def test_a_shift_has_its_length_and_any_direction():
    """0.1 of 20 pixels."""
    point = np.zeros((400, 20, 20), "float32")
    point[:, 9:11, 9:11] = 1
    found = centres(gd_vs_sgd.distorted(point, "shift", 0.1, 0))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 2, atol=1e-3)
    assert np.abs(found.mean(axis=0)).max() < 0.25  # 3.5 standard errors


def test_a_rotation_has_its_angle_to_both_sides():
    """15 degrees."""
    xx, xy, yy = spread(gd_vs_sgd.distorted(images_of(), "rotation", 15, 0)).T
    angles = np.degrees(np.arctan2(2 * xy, xx - yy) / 2)
    np.testing.assert_allclose(np.abs(angles), 15, atol=0.5)
    assert 0.4 < (angles > 0).mean() < 0.6
    assert np.abs(centres(gd_vs_sgd.distorted(images_of(), "rotation", 15, 0))).max() < 0.05


def test_a_scale_is_a_factor_or_its_inverse():
    """Lengths of the bar grow or shrink by a quarter."""
    wide = np.zeros((400, 41, 41), "float32")
    wide[:, 12:29, 12:29] = 1
    ratio = np.sqrt(spread(gd_vs_sgd.distorted(wide, "scale", 1.25, 0))[:, 0] / spread(wide)[:, 0])
    larger = ratio > 1
    np.testing.assert_allclose(ratio[larger], 1.25, rtol=0.02)
    np.testing.assert_allclose(ratio[~larger], 0.8, rtol=0.03)
    assert 0.4 < larger.mean() < 0.6


def test_noise_has_its_standard_deviation():
    """Without bias; images with channels are distorted too; nothing changes the seed's draws but the seed."""
    images = np.zeros((50, 20, 20, 3), "float32")
    found = gd_vs_sgd.distorted(images, "noise", 0.2, 0)
    assert (found.std(), found.mean()) == (pytest.approx(0.2, rel=0.02), pytest.approx(0, abs=0.005))
    for kind, amount in {"shift": 0.1, "scale": 1.2, "rotation": 15, "noise": 0.2}.items():
        bars = np.repeat(images_of(20, 50)[..., None], 3, axis=3)
        first, again, other = (gd_vs_sgd.distorted(bars, kind, amount, seed) for seed in (0, 0, 1))
        assert first.shape == bars.shape
        assert first.dtype == bars.dtype
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)


@pytest.mark.parametrize(("kind", "amount"), [("shift", 0.0), ("scale", 1.0), ("rotation", 0.0), ("noise", 0.0)])
def test_no_distortion_changes_nothing(kind, amount):
    """Every kind at its least size."""
    images = images_of(20, 4)
    np.testing.assert_allclose(gd_vs_sgd.distorted(images, kind, amount, 0), images, atol=1e-5)


def test_resized_pixels_are_means_over_their_area():
    """From 3 × 3 to 2 × 2 pixels: weights 1 and ½ on each axis; the image is grey."""
    x = np.random.default_rng(0).uniform(0, 1, (4, 3, 3, 2)).astype("float32")
    data = datasets.Splits(x, np.arange(4, dtype="int32"), "squares", 4, 2, 2)
    weights = np.array([[1, 0.5, 0], [0, 0.5, 1]]) / 1.5
    np.testing.assert_allclose(
        gd_vs_sgd.resized(data, 2).x, np.einsum("ai,bj,nijc->nab", weights, weights, x) / 2, rtol=1e-5
    )
    plain = gd_vs_sgd.resized(datasets.Splits(x[..., 0], data.y, "squares", 4, 2, 2), 2)
    assert plain.x.shape == (4, 2, 2)


def test_the_temperature_halves():
    """The noise's standard deviation is √(2T/ε) at the start; its square halves in a half-life."""
    direction = gd_vs_sgd.cooling(1e-3, 50, 0.1)

    def size(step):
        batch = types.SimpleNamespace(slope=[tf.zeros([1])], isotropic=lambda: [tf.ones([1])])
        batch.members = types.SimpleNamespace(steps=tf.constant(step, tf.int64))
        return direction(batch)[0].numpy()[0]

    np.testing.assert_allclose([size(0) ** 2, size(50) ** 2, size(150) ** 2], [0.02, 0.01, 0.0025], rtol=1e-5)


def test_methods_differ_in_what_their_names_say(monkeypatch):
    """Batch size, step size, momentum and noise; target and net are those of the two nets."""
    seen = []

    def watch(settings, data, batch_size, build, **options):
        seen.append((batch_size, options["optimizer"](), options["direction"], options["target_loss"], build(0)))
        return []

    monkeypatch.setattr(recipe, "train", watch)
    settings = question.make_settings(
        gd_vs_sgd, "smoke", learning_rates=(0.1, 0.2, 0.3, 0.4), small_rates=(0.5, 0.6, 0.7, 0.8)
    )
    data = datasets.load_splits("mnist10k", 200, 200)
    for unit in gd_vs_sgd.units(settings):
        assert list(gd_vs_sgd.run(settings, data, **unit)) == []
    sizes, optimizers, noises, targets, nets = zip(*seen, strict=True)
    assert sizes == (10, 200, 200, 200) * 2
    rates = [float(optimizer.learning_rate) for optimizer in optimizers]
    np.testing.assert_allclose(rates, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], rtol=1e-6)
    assert all(type(optimizer) is keras.optimizers.SGD for optimizer in optimizers)
    np.testing.assert_allclose([optimizer.momentum for optimizer in optimizers], [0, 0, 0.9, 0] * 2)
    assert [noise is not None for noise in noises] == [False, False, False, True] * 2
    assert targets == (0.5,) * 4 + (1.0,) * 4
    assert nets[0].count_params() == 196 * 16 + 16 + 170
    assert nets[4].count_params() == 400 * 5 + 5 + 60
    paper = question.make_settings(gd_vs_sgd, "paper")
    assert gd_vs_sgd.models.mlp(paper.hidden).count_params() == 443_610


def test_rows_are_of_the_nets_as_trained(monkeypatch):
    """Accuracies on all test images of the split, as they are and distorted; curves end with the row's losses."""
    members, train = [], gd_vs_sgd.train
    monkeypatch.setattr(gd_vs_sgd, "train", lambda *arguments: members.extend(train(*arguments)) or members)
    settings = question.make_settings(gd_vs_sgd, "smoke", first_seed=3)
    data = datasets.load_splits("mnist10k", 200, 200)
    found = list(gd_vs_sgd.run(settings, data, "small", "SGD"))
    rows = [row for row in found if "table" not in row]
    assert [row["seed"] for row in rows] == [3, 4]
    for row, member in zip(rows, members, strict=True):
        own = gd_vs_sgd.resized(data, 20).of(row["seed"])
        assert row["test_accuracy"] == pytest.approx(references.evaluate(member.model, own.x_test, own.y_test)[1])
        moved = gd_vs_sgd.distorted(own.x_test, "rotation", 15, row["seed"])
        assert row["rotation"] == pytest.approx(references.evaluate(member.model, moved, own.y_test)[1])
        last = [each for each in found if each.get("table") == "curves" and each["seed"] == row["seed"]][-1]
        assert (last["step"], last["train_loss"]) == (row["updates"], row["train_loss"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rates": (0.1, 0.2)}, "--learning_rates=0.1,0.2: must be 4 numbers"),
        ({"small_rates": (0.1,) * 5}, "--small_rates="),
        ({"temperature": -1.0}, "--temperature=-1.0"),
        ({"batch_size": 500}, "--batch_size=500"),
        ({"scale": 0.5}, "--scale=0.5"),
        ({"momentum": 1.0}, "--momentum=1.0"),
    ],
)
def test_bad_settings_are_named(changes, message):
    """Before anything trains."""
    with pytest.raises(ValueError, match=message):
        question.make_settings(gd_vs_sgd, "smoke", **changes)
