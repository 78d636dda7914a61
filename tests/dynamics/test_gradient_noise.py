"""Question gradient_noise: rows and tables at smoke size, the overlap of subspaces, settings that do not fit."""

import numpy as np
import pytest

from hw1 import datasets, evaluation, models, question, records
from hw1.dynamics import gradient_noise
from hw1.measures import hessian, noise


@pytest.fixture(scope="module")
def found(at_smoke_size):
    """Rows, settings and tables at smoke size."""
    folder, name = at_smoke_size("gradient_noise"), "gradient_noise"
    return records.read(folder, name), records.settings(folder, name), records.tables(folder, name)


def test_four_nets_of_a_seed_at_two_places(found):
    """Each came to the target loss; with equal updates at the end, and never nearer the start there than 0."""
    rows, settings, _ = found
    assert len(rows) == 4 * 2 * settings["seeds"]
    assert (rows.status == "ok").all()
    at_loss, at_end = (rows[rows["at"] == at] for at in ("equal loss", "equal updates"))
    assert (at_loss.train_loss <= settings["target_loss"]).all()
    assert (at_end.updates == settings["updates"]).all()
    assert (rows[["trace", "spectral_norm", "distance"]] > 0).all().all()
    assert (rows.trace > rows.spectral_norm * 0.9).all()


def test_the_shape_of_the_noise(found):
    """Shares of k of p directions: at most those of C's own; participation of at most n − 1 directions."""
    _, settings, tables = found
    shape = tables["noise"]
    assert sorted(shape.updates.unique()) == list(settings["checkpoints"])
    assert len(shape) == len(settings["checkpoints"]) * settings["seeds"]
    assert (shape["share"] <= shape.own_share + 1e-9).all()
    assert shape[["share", "own_share", "overlap"]].apply(lambda column: column.between(0, 1)).all().all()
    assert shape.participation_ratio.between(1, settings["train"] - 1).all()
    top = tables["eigenvalues"].groupby(["seed", "updates"]).noise.sum()
    expected = shape.set_index(["seed", "updates"])
    np.testing.assert_allclose(top, (expected.own_share * expected.trace).reindex(top.index), rtol=1e-6)


def test_drawn_batches_are_near_their_prediction(found):
    """On average over all; each size once with and once without replacement; the whole set has no noise without."""
    _, settings, tables = found
    batches = tables["batches"]
    ratios = batches.drawn / batches.predicted
    assert ratios.mean() == pytest.approx(1, abs=0.1)
    cases = {(settings["train"], size) for size in settings["batch_sizes"]}
    cases |= {(count, settings["fixed_batch"]) for count in settings["examples"]}
    keys = ["examples", "batch_size", "replacement", "seed"]
    assert len(batches) == len(batches.drop_duplicates(keys)) == 2 * len(cases) * settings["seeds"]


def test_the_start_is_that_of_the_net_before_training(found):
    """Its loss, C and share, from the measures on a net that is built here."""
    _, settings, tables = found
    images = datasets.average_pool(datasets.load_splits("mnist10k", settings["train"], settings["test"]), 4).of(1)
    net = models.mlp(settings["hidden"], input_shape=(7, 7), classes=10, seed=1)
    (row,) = tables["noise"].query("seed == 1 and updates == 0").to_dict("records")
    x, y = images.x_train, images.y_train
    assert row["train_loss"] == pytest.approx(evaluation.evaluate(net, x, y)[0], rel=1e-5)
    assert row["trace"] == pytest.approx(noise.trace(net, x, y), rel=1e-5)
    _, vectors = hessian.eigenvalues(net, x, y, settings["directions"], "LA", vectors=True)
    assert row["share"] == pytest.approx(noise.covariance(net, x, y).share(vectors), rel=1e-2)


def test_overlap_of_subspaces():
    """1 for one space in any basis, 0 for orthogonal ones, k/p on average for random ones."""
    rng = np.random.default_rng(0)
    bases = [np.linalg.qr(rng.standard_normal((60, 6)))[0] for _ in range(200)]
    turned = bases[0] @ np.linalg.qr(rng.standard_normal((6, 6)))[0]
    assert gradient_noise.overlap(bases[0], turned) == pytest.approx(1)
    assert gradient_noise.overlap(np.eye(60)[:, :6], np.eye(60)[:, 6:12]) == 0
    assert np.mean([gradient_noise.overlap(bases[0], other) for other in bases[1:]]) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"batch_size": 200}, ["--batch_size=200", "--train=100"]),
        ({"batch_sizes": (5, 100)}, ["--batch_sizes=5,100", "below --train=100"]),
        ({"batch_sizes": (5,)}, ["--batch_sizes=5", "two values"]),
        ({"examples": (50, 200)}, ["--examples=50,200", "--train=100"]),
        ({"fixed_batch": 25}, ["--fixed_batch=25", "--examples=25,50,100"]),
        ({"checkpoints": (0, 300)}, ["--checkpoints=0,300", "--updates=200"]),
        ({"drawn_at": 50}, ["--drawn_at=50", "--checkpoints=0,10,200"]),
        ({"learning_rate": 0.0}, ["--learning_rate=0.0", "above 0"]),
        ({"hidden": (0,)}, ["--hidden=0", "at least 1"]),
        ({"train": 10**6}, ["--train=1000000"]),
    ],
)
def test_settings_that_do_not_fit_are_named(wrong, words):
    """Before anything trains."""
    with pytest.raises(ValueError, match="--") as caught:
        question.load_data(question.make_settings(gradient_noise, "smoke", **wrong))
    assert all(word in str(caught.value) for word in words), caught.value


def test_more_directions_than_parameters():
    """The flag is named before anything trains."""
    settings = question.make_settings(gradient_noise, "smoke", directions=1000)
    data, _ = question.load_data(settings)
    with pytest.raises(ValueError, match="--directions=1000: must be at most the number of parameters, 490"):
        list(gradient_noise.run(settings, data, "SGD"))


def test_diverged_nets_are_rows():
    """A rate that is far too large: two rows for each seed, and no tables."""
    settings = question.make_settings(gradient_noise, "smoke", learning_rate=1e6, updates=20, checkpoints=(0, 10))
    data, _ = question.load_data(settings)
    rows = list(gradient_noise.run(settings, data, "SGD"))
    assert [row["status"] for row in rows] == ["diverged"] * 4
