"""Question large_batch, and what φ must satisfy in remedies too: rows at smoke size, nets that diverge."""

import numpy as np
import pytest

from hw1 import catalogue, claims, question, records
from hw1.findings import drawing

QUESTIONS = ("large_batch", "remedies")


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with both questions at smoke size."""
    return at_smoke_size(*QUESTIONS)


@pytest.mark.parametrize("name", QUESTIONS)
def test_sharpness_is_of_the_training_loss_and_in_per_cent(runs, name):
    """φ = 100 (largest − f) / (1 + f), not negative, with f the recorded loss over the whole training set."""
    frame = records.read(runs, name)
    np.testing.assert_allclose(frame.loss, frame.train_loss, rtol=1e-5)
    expected = 100 * (frame.largest - frame.loss) / (1 + frame.loss)
    np.testing.assert_allclose(frame.value, expected, atol=2e-4)  # the CSV has 7 digits of each
    assert (frame.largest > frame.loss).all()


def test_the_smaller_box_is_inside_the_larger(runs):
    """Its φ is smaller, in either space, and every net has been measured in both with both ε."""
    frame = records.read(runs, "large_batch")
    settings = records.settings(runs, "large_batch")
    pairs = frame[frame.batch_size.isin(settings["batch_sizes"])]
    wide = pairs.pivot(index=["net", "batch_size", "seed", "space"], columns="epsilon", values="value")
    assert len(wide) == len(settings["nets"]) * 2 * settings["seeds"] * 2
    assert (wide[5e-4] < wide[1e-3]).all()


def test_the_line_ends_at_the_two_nets(runs):
    """Loss and accuracy, training and test, of the small batch's net at α = 0 and of the large batch's at α = 1."""
    frame, line = records.read(runs, "large_batch"), records.tables(runs, "large_batch")["line"]
    finals = frame.drop_duplicates(["net", "batch_size", "seed"]).set_index(["net", "seed"])
    for alpha, size in enumerate(records.settings(runs, "large_batch")["batch_sizes"]):
        ends = line[line.alpha == alpha].set_index(["net", "seed"]).sort_index()
        expected = finals[finals.batch_size == size].sort_index()
        np.testing.assert_allclose(
            ends[list(question.LOSSES_AND_ACCURACIES)], expected[list(question.LOSSES_AND_ACCURACIES)], rtol=1e-5
        )
    assert line.alpha.min() == -1
    assert line.alpha.max() == 2


def test_convergence_ends_with_what_is_recorded(runs):
    """Whole epochs in order, and last the evaluation at which the net stopped."""
    frame, curves = records.read(runs, "large_batch"), records.tables(runs, "large_batch")["convergence"]
    keys = ["net", "batch_size", "seed"]
    finals = frame.drop_duplicates(keys).set_index(keys)
    for key, rows in curves.groupby(keys):
        assert (np.diff(rows.epoch) > 0).all()
        assert (rows.epoch[:-1] % 1 == 0).all()
        assert tuple(rows[list(question.LOSSES_AND_ACCURACIES)].iloc[-1]) == tuple(
            finals.loc[key, list(question.LOSSES_AND_ACCURACIES)]
        )


def test_further_batch_sizes_are_those_of_the_plain_net(runs):
    """One box each; the other net has the two batch sizes only."""
    frame, settings = records.read(runs, "large_batch"), records.settings(runs, "large_batch")
    assert set(frame[frame.net == "normalised"].batch_size) == set(settings["batch_sizes"])
    further = frame[frame.batch_size.isin(settings["sweep"])]
    assert set(further.net) == {"plain"}
    assert len(further) == settings["seeds"]
    assert set(further.space) == {"full"}


@pytest.mark.parametrize(("name", "fewer"), [("large_batch", {"nets": ("plain",)}), ("remedies", {"attacks": (0.1,)})])
def test_diverged_nets_are_rows_and_crash_nothing(name, fewer, tmp_path):
    """With an absurd step size every row says so, and figure and claims are still made."""
    module = catalogue.experiment(name)
    question.run_units(
        module, question.make_settings(module, "smoke", learning_rate=1e30, updates=10, **fewer), tmp_path
    )
    frame = records.read(tmp_path, name)
    assert set(frame.status) == {"diverged"}
    assert frame.value.isna().all()
    assert set(claims.judge(tmp_path, fallback=None).verdict) == {"undecided"}
    assert all(path.exists() for path in drawing.draw(name, tmp_path))
