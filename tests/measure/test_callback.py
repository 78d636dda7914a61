"""The callback: its values against brute force, its logs in Keras's own loggers, its warm starts."""

import csv

import cases
import keras
import nets
import numpy as np
import pytest
import references

from hw1 import measure
from hw1.measures import stability

X, Y = nets.examples(nets.SHAPE, 20)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
KEYS = {"largest_eigenvalue", "edge_of_stability", "trace", "trace_error", "sensitivity", "flatness_seconds"}


def trained(optimizer, callbacks, epochs=4, model=None, **options):
    """A net in float64 after some epochs of one batch each, and its history."""
    model = model or nets.mlp((4,), activation="tanh", dtype="float64", seed=1)
    model.compile(optimizer, LOSS, run_eagerly=True)  # a few steps, which compiling would take longer than
    history = model.fit(X, Y, batch_size=20, epochs=epochs, verbose=0, shuffle=False, callbacks=callbacks, **options)
    return model, history.history


@pytest.mark.parametrize("optimizer", cases.some(["adam", "momentum", "sgd"]))
def test_values_after_the_last_epoch_are_those_of_brute_force(optimizer):
    """λ₁ from the whole Hessian; the edge from P and the optimiser's rate, written out here."""
    made = {
        "sgd": keras.optimizers.SGD(0.2),
        "momentum": keras.optimizers.SGD(0.1, momentum=0.8),
        "adam": keras.optimizers.Adam(0.01),
    }[optimizer]
    flatness = measure.Flatness(X, Y)
    model, logs = trained(made, [flatness])
    hessian = references.hessian(model, X, Y)
    largest = np.linalg.eigvalsh(hessian)[-1]
    edges = {"sgd": largest * 0.2 / 2, "momentum": largest * 0.1 / (2 * 1.8)}
    if optimizer == "adam":
        v = np.concatenate([np.ravel(slot) for slot in made._velocities])
        p = (1 - 0.9**4) * (np.sqrt(v / (1 - 0.999**4)) + 1e-12)
        edges["adam"] = np.linalg.eigvals(hessian / p[:, None]).real.max() * 0.01 / 38
    assert logs["largest_eigenvalue"][-1] == pytest.approx(largest, rel=1e-3)
    assert logs["edge_of_stability"][-1] == pytest.approx(edges[optimizer], rel=2e-3)
    assert logs["trace"][-1] == pytest.approx(np.trace(hessian), abs=5 * logs["trace_error"][-1] + 1e-9)
    norms = np.linalg.norm(references.input_gradients(model, X, Y).reshape(20, -1), axis=1)
    assert logs["sensitivity"][-1] == pytest.approx(norms.mean())


def test_training_is_the_same_with_it():
    """It changes neither weights nor the order of random numbers."""
    with_it, _ = trained(keras.optimizers.Adam(0.01), [measure.Flatness(X, Y)])
    without, _ = trained(keras.optimizers.Adam(0.01), [])
    assert all(np.array_equal(a, b) for a, b in zip(with_it.get_weights(), without.get_weights(), strict=True))


def test_csv_logger_has_it(tmp_path):
    """The first epoch has all columns, so that the CSV has them; epochs between have none."""
    logger = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    _, logs = trained(keras.optimizers.SGD(0.1), [measure.Flatness(X, Y, every=3), logger], epochs=5)
    assert set(logs) >= KEYS
    assert len(logs["trace"]) == 3  # epochs 1, 4 and the last
    with (tmp_path / "log.csv").open() as file:
        rows = [*csv.DictReader(file)]
    assert set(rows[0]) >= KEYS
    assert [row["trace"] != "NA" for row in rows] == [True, False, False, True, True]
    assert float(rows[0]["largest_eigenvalue"]) == pytest.approx(logs["largest_eigenvalue"][0])


def test_tensorboard_has_it(tmp_path):
    """Among its scalars of epochs, where TensorBoard is installed."""
    pytest.importorskip("tensorboard")
    board = keras.callbacks.TensorBoard(tmp_path)
    trained(keras.optimizers.SGD(0.1), [measure.Flatness(X, Y), board], epochs=2)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("events*"))
    assert b"epoch_edge_of_stability" in written


def test_descent_beyond_the_edge_diverges_and_below_it_does_not():
    """Of a quadratic loss, where nothing but the edge decides; the value is the share of the threshold."""
    model, x, y, loss = nets.quadratic(np.diag([4.0, 1.0, 0.5]), np.zeros(3), np.array([1e-3, 1.0, 1.0]))
    for share, momentum in cases.some([(0.95, 0.9), (1.05, 0.9), (0.95, 0.0), (1.05, 0.0)]):
        rate = share * 2 * (1 + momentum) / 4.0
        twin = keras.models.clone_model(model)
        twin.set_weights([np.full((3, 1), 1e-3)])
        twin.compile(keras.optimizers.SGD(rate, momentum=momentum), lambda y, outputs: loss(y, outputs))
        flatness = measure.Flatness(x, y, loss=loss, probes=0)
        steps = [np.tile(each, (200, *[1] * (each.ndim - 1))) for each in (x, y)]
        history = twin.fit(*steps, batch_size=3, shuffle=False, verbose=0, callbacks=[flatness]).history
        assert history["edge_of_stability"][0] == pytest.approx(share, rel=1e-6)
        assert (np.abs(twin.get_weights()[0][0, 0]) > 1e-2) == (share > 1)


def test_regularisation_is_part_of_what_is_descended():
    """The Hessian of weight decay by the loss adds to λ₁."""
    values = []
    for penalty in (None, keras.regularizers.L2(0.5)):
        layers = [keras.layers.Flatten(), keras.layers.Dense(3, kernel_regularizer=penalty)]
        model = keras.Sequential([keras.Input(nets.SHAPE), *layers])
        model.set_weights([np.full((9, 3), 0.1), np.zeros(3)])
        model.compile(keras.optimizers.SGD(1e-9), LOSS)
        flatness = measure.Flatness(np.float32(X), Y, probes=0)
        flatness.set_model(model)
        values.append(flatness.measure()["largest_eigenvalue"])
    assert 0.3 < values[1] - values[0] < 1.0


@pytest.mark.slow
def test_warm_starts_take_fewer_products_and_find_the_same():
    """On a net of 2,410 parameters over 11 epochs; each fifth search is cold."""
    rng = np.random.default_rng(0)
    x, y = rng.random((60, 20, 10)), rng.integers(0, 10, 60)
    model = nets.models.mlp((11,), activation="tanh", input_shape=(20, 10), dtype="float64")
    model.compile(keras.optimizers.SGD(0.05), LOSS)
    flatness = measure.Flatness(x, y, probes=0)
    truths = []

    class Truth(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            truths.append(np.linalg.eigvalsh(measure.callback.hessian.dense(self.model, x, y))[-1])

    logs = model.fit(x, y, batch_size=60, epochs=6, verbose=0, callbacks=[flatness, Truth()]).history
    assert logs["largest_eigenvalue"] == pytest.approx(truths, rel=1e-3)
    cold, warm = flatness.products[::5], [p for i, p in enumerate(flatness.products) if i % 5]
    assert np.mean(warm) < np.mean(cold)


def test_its_cost_is_told(capsys):
    """From the second measurement on, which compiles nothing."""
    trained(keras.optimizers.SGD(0.1), [measure.Flatness(X, Y)])
    assert "Flatness: a measurement takes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [({"every": 0}, "every"), ({"probes": 3}, "probes"), ({"seed": -1}, "seed"), ({"probes": -1}, "probes")],
)
def test_wrong_numbers_are_refused(options, said):
    """By name."""
    with pytest.raises(ValueError, match=said):
        measure.Flatness(X, Y, **options)


@pytest.mark.slow
def test_a_net_of_tokens_is_followed_without_a_sensitivity(capsys):
    """There is no derivative in integers; the rest is measured, and a line says so."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, (12, 3)), rng.integers(0, 2, 12)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Embedding(5, 2), keras.layers.GRU(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    found = model.fit(x, y, epochs=2, verbose=0, callbacks=[measure.Flatness(x, y)]).history
    assert "no sensitivity" in capsys.readouterr().err
    assert "sensitivity" not in found
    assert len(found["trace"]) == 2
    largest = np.linalg.eigvalsh(references.hessian(model, x, y))[-1]
    assert found["largest_eigenvalue"][-1] == pytest.approx(largest, rel=1e-3)


def test_an_optimiser_of_unknown_edge_is_refused_before_training():
    """Unless its edge is not asked for."""
    with pytest.raises(TypeError, match="not for Nadam"):
        trained(keras.optimizers.Nadam(), [measure.Flatness(X, Y)])
    _, logs = trained(keras.optimizers.Nadam(), [measure.Flatness(X, Y, edge=False, probes=0)], epochs=1)
    assert set(logs) == {"loss", "largest_eigenvalue", "sensitivity", "flatness_seconds"}
    assert "Nadam" not in {kind.__name__ for kind in stability._KINDS}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"loss": LOSS, "loss_weights": [0.5]}, "sparse_categorical_crossentropy is compiled with loss_weights"),
        ({"loss": type(LOSS)(from_logits=True, reduction="sum")}, "added over a batch, not averaged"),
    ],
)
def test_an_objective_that_is_no_mean_of_the_loss_is_refused(options, said):
    """Its Hessian, and so its edge of stability, is another; with loss= the mean is measured."""
    model = nets.mlp((4,))
    model.compile("sgd", **options)
    with pytest.raises(ValueError, match=said):
        model.fit(X, Y, verbose=0, callbacks=[measure.Flatness(X, Y)])
    flatness = measure.Flatness(X, Y, loss=LOSS, probes=0)
    flatness.set_model(model)
    flatness.on_train_begin()
