"""Question large_batch, and what φ must satisfy in remedies too: rows at smoke size, nets that diverge."""

import numpy as np
import pytest

from hw1 import catalogue, claims, datasets, models, question, records, training
from hw1.findings import drawing
from hw1.landscape import large_batch

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
    assert sorted(line.alpha.unique()) == [-1, -0.5, 0, 0.5, 1, 1.5, 2]


def test_the_distance_is_that_from_the_initial_weights():
    """A net whose weights were all moved by 0.1 from where its seed puts them, with and without batch normalisation."""
    settings = question.make_settings(large_batch, "smoke")
    data = datasets.load_splits("mnist10k", settings.train, settings.test)
    for net in ("plain", "normalised"):
        start = large_batch.build(settings, net, data, 3)
        moved = models.with_parameters(start, models.flat_parameters(start) + 0.1)
        member = training.Member(3, moved, {"train_loss": np.array([1.0])}, "ok", 7, data)
        (row,) = large_batch._measured(settings, net, 10, member, [("full", 1e-3)])
        assert row["distance"] == pytest.approx(0.1 * np.sqrt(start.count_params() - state(start)), rel=1e-5)


def state(model):
    """The number of variables' entries that are not trained."""
    return sum(int(np.prod(variable.shape)) for variable in model.non_trainable_variables)


def test_the_normalised_net_has_a_step_size_of_its_own_with_the_large_batch(monkeypatch):
    """The other nets and the small batch have the common one."""
    rates = []
    monkeypatch.setattr(
        large_batch.recipe, "train", lambda *_, optimizer, **__: rates.append(float(optimizer().learning_rate)) or []
    )
    settings = question.make_settings(large_batch, "smoke", learning_rate=0.25, normalised_rate=0.5)
    for net in large_batch.NETS:
        for size in settings.batch_sizes:
            large_batch._train(settings, None, net, size)
    assert rates == [0.25, 0.5, 0.25, 0.25, 0.25, 0.25]


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


@pytest.mark.slow
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
    ledger = claims.judge(tmp_path)
    assert len(ledger)
    assert set(ledger.verdict) == {"not comparable"}
    found = catalogue.finding(name).comment(frame, records.settings(tmp_path, name), **records.tables(tmp_path, name))
    assert "nan" not in " ".join([found["method"], found["caption"], *found["comment"]])
    assert all(path.exists() for path in drawing.draw(name, tmp_path))
