"""Question memorization: duplicates against brute force, losses and margins by hand, and the rows at smoke size."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from hw1 import datasets, models, question, records
from hw1.dynamics import memorization


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with the question at smoke size."""
    return at_smoke_size("memorization")


def planted(n=60, seed=0):
    """Random images of bytes with planted duplicates: 0, 1, 2 equal with labels 0, 0, 1; 3, 4 equal with one label."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (n, 4, 3)).astype(np.float32) / np.float32(255)
    y = rng.integers(0, 3, n).astype(np.int32)
    x[1] = x[2] = x[0]
    x[4] = x[3]
    y[:5] = [0, 0, 1, 2, 2]
    return x, y


def linked(x, near):
    """Groups of images that chains of small steps connect, by brute force; the number of each image's group."""
    groups = list(range(len(x)))
    for a, b in itertools.combinations(range(len(x)), 2):
        if np.sqrt(np.mean((x[a].astype(float) - x[b]) ** 2)) <= near:
            old, new = groups[b], groups[a]
            groups = [new if group == old else group for group in groups]
    return groups


def ceiling(groups, y):
    """The largest accuracy of a function that is constant on groups, group by group."""
    right = 0
    for group in set(groups):
        labels = [int(label) for label, own in zip(y, groups, strict=True) if own == group]
        right += max(labels.count(label) for label in labels)
    return right / len(y)


def test_planted_duplicates_are_found():
    """Three identical images with two labels cost one image, two with one label none."""
    x, y = planted()
    found = memorization.count(memorization.identical_groups(x), y)
    assert found == {"duplicates": 3, "conflicts": 1, "ceiling": 59 / 60}
    assert memorization.count(memorization.identical_groups(x[5:]), y[5:]) == {
        "duplicates": 0,
        "conflicts": 0,
        "ceiling": 1.0,
    }


def test_the_sign_of_zero_makes_no_difference():
    """−0 = 0, though their bytes differ."""
    x = np.zeros((2, 3, 3), np.float32)
    x[1] = -x[1]
    assert x[0].tobytes() != x[1].tobytes()
    assert memorization.count(memorization.identical_groups(x), np.array([0, 1]))["conflicts"] == 1


@pytest.mark.parametrize("at_once", [7, 1000])
@pytest.mark.parametrize("near", [1e-6, 0.1, 0.25, 0.3, 0.35])
def test_near_duplicates_against_brute_force(near, at_once, monkeypatch):
    """Groups, ceiling, nearest neighbours and the least distance between classes, all by loops over pairs."""
    monkeypatch.setattr(memorization, "AT_ONCE", at_once)
    x, y = planted()
    found, groups = memorization.neighbours(x, y, near), linked(x, near)
    pairs = set(zip(found["groups"].tolist(), groups, strict=True))
    assert len(pairs) == len(set(groups)) == found["groups"].max() + 1
    assert memorization.count(found["groups"], y)["ceiling"] == ceiling(groups, y)
    flat = x.reshape(len(x), -1).astype(float)
    table = np.sqrt(((flat[:, None] - flat) ** 2).mean(axis=2)) + np.diag([np.inf] * len(x))
    assert found["nearest"] == pytest.approx(np.median(table.min(axis=1)), abs=1e-12)
    others = np.where(y[:, None] != y, table, np.inf)
    assert found["least_distance"] == pytest.approx(others.min(), abs=1e-12)
    single = np.arange(5, len(x))  # beyond the planted ones, where the nearest image is no matter of rounding
    wrong = y[table.argmin(axis=1)] != y
    ours = memorization.neighbours(x[single], y[single], near)["neighbour_error"]
    inner = table[np.ix_(single, single)]
    assert ours == pytest.approx(np.mean(y[single][inner.argmin(axis=1)] != y[single]))
    assert abs(found["neighbour_error"] - wrong.mean()) <= 3 / len(x)


def test_the_smallest_distance_gives_identical_images():
    """As the distance of near duplicates tends to 0, they are the identical ones."""
    x, y = planted()
    near = memorization.count(memorization.neighbours(x, y, 1e-9)["groups"], y)
    assert near == memorization.count(memorization.identical_groups(x), y)


def test_one_class_has_no_distance_to_another():
    """And nothing that could contradict it."""
    x, _ = planted()
    found = memorization.neighbours(x, np.zeros(len(x), int), 0.1)
    assert np.isnan(found["least_distance"])
    assert found["neighbour_error"] == 0


def test_parts_are_the_files_own():
    """Training set, test set, both; a pair across the two counts in both together only."""
    x, y = planted()
    data = datasets.Dataset(x[:2], y[:2], x[2:], y[2:], "planted", 3)
    found = {row["part"]: row for row in memorization.duplicates(data, 0.01)}
    assert {part: (row["images"], row["duplicates"], row["conflicts"]) for part, row in found.items()} == {
        "train": (2, 1, 0),
        "test": (58, 1, 0),
        "all": (60, 3, 1),
    }


def test_losses_and_margins_against_plain_loops():
    """Squared error, hinge and margin, example by example in NumPy."""
    outputs, y = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) % 4
    outputs[0] = [3, 1, 0, 1.5]
    margins = [f[k] - max(np.delete(f, k)) for f, k in zip(outputs, y, strict=True)]
    squares = [np.sum((f - np.eye(4)[k]) ** 2) / 2 for f, k in zip(outputs, y, strict=True)]
    arguments = tf.constant(y), tf.constant(outputs)
    np.testing.assert_allclose(memorization.half_squared_error(*arguments), squares, rtol=1e-12)
    np.testing.assert_allclose(memorization.hinge(*arguments), [max(0, 1 - m) for m in margins], rtol=1e-12)
    np.testing.assert_allclose(memorization.margins(outputs, y), margins, rtol=1e-12)


def test_rows_begin_at_training_accuracy_1(runs):
    """The first evaluation at which it is 1; margin, norm and loss belong together."""
    frame, settings = records.read(runs, "memorization"), records.settings(runs, "memorization")
    assert set(frame.data) == {"fashion10k"}
    assert set(frame.loss) == set(settings["losses"])
    assert (frame.status == "ok").all()
    assert (frame[frame.multiple == 1].train_accuracy == 1).all()
    ratio = frame.epoch / frame.groupby(["data", "loss", "seed"]).epoch.transform("first")
    assert (abs(ratio - frame.multiple) * frame.epoch / frame.multiple <= settings["every"]).all()
    layers = 1 + len(settings["hidden"])
    np.testing.assert_allclose(frame.margin / frame.norm**layers, frame.normalised_margin, rtol=1e-5)
    hinge = frame[(frame.loss == "hinge") & (frame.margin >= 1)]
    assert (hinge.train_loss < 1e-6).all()
    nll = frame[(frame.loss == "nll") & (frame.multiple == 1)]
    assert (nll.margin > 0).all()


def test_the_normalised_margin_does_not_depend_on_the_scale():
    """All weights times c: the margin grows by c^L, the normalised margin stays."""
    model, x = models.mlp((6, 5), use_bias=False, input_shape=(4, 3), classes=3, seed=1), planted()[0]
    y, before = planted()[1], models.flat_parameters(model)
    scaled = models.with_parameters(model, 2 * before)
    margins = [memorization.margins(net(x).numpy(), y).min() for net in (model, scaled)]
    assert margins[1] == pytest.approx(8 * margins[0], rel=1e-5)


def test_a_net_that_does_not_fit_is_a_row(tmp_path, monkeypatch):
    """Its status is "target not reached" and its multiple 0; one with an absurd rate has diverged."""
    monkeypatch.setattr(memorization, "duplicates", lambda *_: [])
    settings = question.make_settings(
        memorization, "smoke", data=("mnist10k",), losses=("nll", "squared"), learning_rates=(1e-9, 1e9), epochs=5
    )
    question.run_units(memorization, settings, tmp_path)
    frame = records.read(tmp_path, "memorization")
    assert set(frame[frame.loss == "nll"].status) == {"target not reached"}
    assert set(frame[frame.loss == "nll"].multiple) == {0}
    assert set(frame[frame.loss == "squared"].status) == {"diverged"}
    assert len(frame) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rates": (0.1,)}, "--learning_rates=0.1: must be one for each of --losses"),
        ({"multiples": (2, 4)}, "--multiples=2,4: must begin at 1 and ascend"),
        ({"multiples": (1, 4, 2)}, "--multiples=1,4,2"),
        ({"batch_size": 100}, "--batch_size=100: must be at most --train=60"),
        ({"every": 1000}, "--every=1000: must be at most --epochs=400"),
        ({"near": 0.0}, "--near=0.0"),
        ({"hidden": (0,)}, "--hidden=0"),
    ],
)
def test_bad_settings_are_named(changes, message):
    """Before anything is trained."""
    with pytest.raises(ValueError, match=message):
        question.make_settings(memorization, "smoke", **changes)
