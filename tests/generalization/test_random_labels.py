"""Random labels and random images: what a net is given, and what it must come to at smoke size."""

import numpy as np
import pytest

from hw1 import datasets, question, records, training
from hw1.findings.generalization.random_labels import MEMORISED, judged
from hw1.generalization import random_labels


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with the rows at smoke size."""
    return at_smoke_size("random_labels")


def test_labels_and_images_are_memorised_and_nothing_is_learned_of_random_ones(runs):
    """Each net ends at the target loss; with random labels and with noise it is near chance on the test set."""
    frame, settings = records.read(runs, "random_labels"), records.settings(runs, "random_labels")
    nets = judged(frame, 10)
    assert set(zip(nets.pixels, nets.fraction, strict=True)) == {
        ("true", 0.0),
        ("true", 1.0),
        ("shuffled", 0.0),
        ("random", 0.0),
        ("gaussian", 0.0),
    }
    assert (nets.status == "ok").all()
    assert (nets.train_loss <= settings["target_loss"]).all()
    assert (nets.train_accuracy >= MEMORISED).all()
    blind = (nets.fraction == 1) | (nets.pixels == "gaussian")
    assert (nets.test_accuracy[blind] < 0.25).all()
    assert (nets.test_accuracy[(nets.pixels == "shuffled") | ((nets.pixels == "true") & ~blind)] > 0.5).all()


def test_the_target_loss_takes_memorised_labels():
    """A wrong answer costs at least ln 2, so the loss at which training stops leaves no more errors than allowed."""
    for size in random_labels.SIZES:
        settings = question.make_settings(random_labels, size)
        assert 1 - settings.target_loss / np.log(2) >= MEMORISED


def test_images_are_changed_in_training_and_test_set_and_labels_are_not(monkeypatch):
    """In each of the three ways; the seeds draw differently."""
    seen = {}

    def watch(build, data, **options):
        seen[len(seen)] = data
        return []

    monkeypatch.setattr(training, "train", watch)
    settings = question.make_settings(random_labels, "smoke")
    data = datasets.load_splits(settings.data, settings.train, settings.test, "fixed")
    for pixels in ("true", *settings.images):
        list(random_labels.run(settings, data, pixels=pixels, fraction=0.0))
    true, shuffled, each, noise = (seen[number] for number in range(4))
    for seed in settings.all_seeds:
        own = data.of(seed)
        np.testing.assert_array_equal(true.of(seed).x_test, own.x_test)
        for changed in (shuffled, each, noise):
            for part in ("train", "test"):
                images, before = getattr(changed.of(seed), f"x_{part}"), getattr(own, f"x_{part}")
                assert (images != before).any(axis=(1, 2)).all()
                np.testing.assert_array_equal(getattr(changed.of(seed), f"y_{part}"), getattr(own, f"y_{part}"))
    for changed in (shuffled, each, noise):
        assert (changed.of(0).x_train != changed.of(1).x_train).any()
