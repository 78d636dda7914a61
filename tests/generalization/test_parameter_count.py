"""Number of parameters: nets of several widths in one stack, the sizes around the threshold, labels and images."""

import dataclasses

import cases
import keras
import numpy as np
import pytest

from hw1 import datasets, models, question, records, training
from hw1.generalization import parameter_count

WIDTHS = (3, 5)


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with the rows at smoke size."""
    return at_smoke_size("parameter_count")


@pytest.fixture(scope="module")
def data():
    """A few images of 7 × 7 pixels."""
    return datasets.average_pool(datasets.load_splits("mnist10k", 60, 40), 4)


def narrow(padded, width):
    """The net of `width` units whose weights are those of a padded one."""
    model = models.mlp((width,), input_shape=padded.input_shape[1:], classes=padded.output_shape[1])
    first, bias, second, last = padded.get_weights()
    model.set_weights([first[:, :width], bias[:width], second[:width], last])
    return model


@pytest.mark.parametrize("loss", cases.some(parameter_count.LOSSES, 1))
def test_a_padded_net_is_trained_like_the_narrow_one_alone(data, loss):
    """By many steps of Adam: the same losses, and the missing units still have no weights."""

    def padded(seed):
        return parameter_count.padded(3, 8, data.shape, data.classes, seed)

    found = [
        training.train(
            build,
            data,
            batch_size=20,
            updates=60,
            loss=parameter_count.LOSSES[loss],
            optimizer=lambda: keras.optimizers.Adam(1e-2),
            seeds=2,
        )
        for build in (padded, lambda seed: narrow(padded(seed), 3))
    ]
    for wide, alone in zip(*found, strict=True):
        # Rounding: the first steps of Adam hardly depend on the size of a gradient, however small it is.
        np.testing.assert_allclose(wide.history["test_loss"], alone.history["test_loss"], rtol=1e-2)
        assert wide.history["train_loss"][-1] < 0.95 * wide.history["train_loss"][0]
        first, bias, second, _ = wide.model.get_weights()
        assert not first[:, 3:].any()
        assert not bias[3:].any()
        assert not second[3:].any()
        assert first[:, :3].all(axis=0).all()


def test_a_stack_has_each_width_with_each_share_of_noise(data, monkeypatch):
    """Initial weights by seed and width alone, training labels by seed and noise, test labels true."""
    settings = question.make_settings(parameter_count, "smoke", first_seed=4)
    calls = []
    monkeypatch.setattr(training, "train", lambda build, data, **options: calls.append((build, data, options)) or [])
    list(parameter_count._train(settings, data, "nll", 50, WIDTHS, (0.0, 0.5)))
    ((build, splits, options),) = calls
    members = options["seeds"]
    assert len(members) == len(set(members)) == 2 * 2 * 2
    nets, labels = {}, {}
    for member in members:
        seed = member % parameter_count.STRIDE
        hidden, split = build(member).get_weights()[0], splits.of(member)
        width, noisy = int(hidden.any(axis=0).sum()), (split.y_train != data.of(seed).y_train[:50]).any()
        nets.setdefault((seed, width), []).append(hidden)
        labels.setdefault((seed, bool(noisy)), []).append(split.y_train)
        np.testing.assert_array_equal(split.y_test, data.of(seed).y_test)
        np.testing.assert_array_equal(np.bincount(split.y_train), np.bincount(data.of(seed).y_train[:50]))
        np.testing.assert_allclose(split.x_train.mean(axis=0), 0, atol=1e-5)
    assert set(nets) == {(seed, width) for seed in (4, 5) for width in WIDTHS}
    assert set(labels) == {(seed, noisy) for seed in (4, 5) for noisy in (False, True)}
    for same in (*nets.values(), *labels.values()):
        np.testing.assert_array_equal(*same)


def test_squared_error_is_that_against_one_hot_labels():
    """Summed over classes, averaged over nothing."""
    outputs, y = np.random.default_rng(0).normal(size=(6, 4)), np.array([0, 3, 1, 1, 2, 0])
    expected = ((outputs - np.eye(4)[y]) ** 2).sum(axis=1)
    np.testing.assert_allclose(parameter_count.squared_error(y, outputs), expected)


def test_sizes_and_widths_are_inverse(data):
    """Also to the number that Keras counts."""
    for width in (1, 7, 300):
        count = models.mlp((width,), input_shape=data.shape).count_params()
        assert parameter_count.parameters(width, data) == count
        assert parameter_count.width_of(count, data) == width
    assert parameter_count.width_of(1, data) == 1


def test_widths_of_a_stack_are_neighbours():
    """Each once; no narrow net is padded to more than three times its width, and no wide net is padded."""
    assert parameter_count.groups((8, 1, 3, 4, 3, 12, 13)) == [[1, 3], [4, 8, 12], [13]]
    assert parameter_count.groups((100, 200, 201, 300)) == [[100, 200], [201], [300]]


def test_rows_hold_what_the_units_say(runs):
    """Sizes of the course's part with true labels; around the threshold each share of noise for each size."""
    frame, settings = records.read(runs, "parameter_count"), records.settings(runs, "parameter_count")
    sizes, dense = (frame[frame.part == part] for part in ("size", "threshold"))
    assert set(sizes.noise) == {0}
    assert sorted(sizes.hidden.unique()) == sorted(settings["widths"])
    assert len(sizes) == len(settings["widths"]) * settings["seeds"]
    cells = dense.groupby(["loss", "examples", "hidden", "noise"]).seed.nunique().unstack("noise")
    assert list(cells.columns) == settings["noises"]
    assert (cells == settings["seeds"]).all(axis=None)
    assert dense.hidden.max() <= settings["widest"]
    widest = dense[(dense.hidden == dense.hidden.max()) & (dense.noise == 0)]
    assert (widest.train_accuracy == 1).all()


def test_a_smaller_training_set_is_part_of_a_larger_one(data):
    """And noise changes training labels only."""
    split = data.of(1)
    few, many = (parameter_count._prepared(split, count, 0.0, 1) for count in (20, 40))
    np.testing.assert_array_equal(few.y_train, many.y_train[:20])
    back = [part.x_train[:20] * split.x_train[:count].std() for part, count in ((few, 20), (many, 40))]
    np.testing.assert_allclose(back[0] - back[0].mean(axis=0), back[1] - back[1].mean(axis=0), atol=1e-5)
    assert dataclasses.replace(few, y_train=many.y_train[:20]).sha256 == few.sha256
