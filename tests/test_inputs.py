"""The form in which a net takes inputs and labels, and arrays that are taken as they are."""

import keras
import nets
import numpy as np
import pytest
import references

from hw1 import datasets, inputs, measure

L = keras.layers


def dense(outputs, shape=(3, 3), seed=0):
    """A linear net with random weights."""
    model = keras.Sequential([keras.Input(shape), L.Flatten(), L.Dense(outputs)])
    return nets.with_random_weights(model, np.random.default_rng(seed))


@pytest.mark.parametrize(("shape", "fitted"), [((3, 3, 1), (7, 3, 3, 1)), ((9,), (7, 9)), ((3, 3), (7, 3, 3))])
def test_images_take_the_shape_that_the_net_wants(shape, fitted):
    """A channel axis is added and images are flattened; what does not fit is left for the check to refuse."""
    net = dense(3, shape)
    assert inputs.shaped(np.zeros((7, 3, 3), np.float32), net).shape == fitted
    assert inputs.shaped(np.zeros((7, 4, 5), np.float32), net).shape in ((7, 4, 5), (7, 4, 5, 1))


def stored(folder, labels, n=20, name="data"):
    """A data set of random images with these labels."""
    rng, arrays = np.random.default_rng(1), {}
    for part in ("train", "test"):
        arrays |= {f"x_{part}": rng.random((n, 3, 3), np.float32), f"y_{part}": rng.permutation(np.resize(labels, n))}
    np.savez(folder / f"{name}.npz", **arrays)
    return datasets.load(folder / f"{name}.npz"), arrays


@pytest.mark.parametrize(
    ("labels", "outputs", "own"),
    [
        ((0, 1, 2), 3, True),
        ((0, 1, 2), 10, True),  # classes that do not occur
        ((1, 2, 3), 4, True),
        ((3, 5, 7), 10, True),
        ((1, 2, 3), 3, False),
        ((3, 5, 7), 3, False),
        ((0, 2), 3, True),
    ],
)
def test_labels_are_the_numbers_of_the_outputs(tmp_path, labels, outputs, own):
    """Those of the file where each of them is an output, else numbered from 0; loss and accuracy are Keras's then."""
    data, arrays = stored(tmp_path, labels)
    model = dense(outputs)
    y = arrays["y_test"] if own else np.searchsorted(labels, arrays["y_test"])
    np.testing.assert_array_equal(inputs.parts(data, model)[1][1], y)
    card = measure.card(model, data, tell=None, minutes=1e-9)
    loss, accuracy = references.evaluate(model, arrays["x_test"], y)
    assert card["test_loss"].value == pytest.approx(loss, rel=1e-5)
    assert card["test_accuracy"].value == pytest.approx(accuracy)


def test_labels_without_an_output_are_refused(tmp_path):
    """Neither as many outputs as labels, nor an output for each label."""
    data, _ = stored(tmp_path, (1, 2, 12))
    with pytest.raises(ValueError, match=r"the net has 5 outputs, but the 3 labels of .* go from 1 to 12"):
        inputs.parts(data, dense(5))


def test_named_labels_are_numbered_in_the_order_of_their_names(tmp_path):
    """As `keras.utils.image_dataset_from_directory` numbers them."""
    data, arrays = stored(tmp_path, np.array(["cat", "dog", "ape"]))
    expected = np.searchsorted(["ape", "cat", "dog"], arrays["y_train"])
    np.testing.assert_array_equal(inputs.parts(data, dense(3))[0][1], expected)


# Arrays as they are


@pytest.mark.parametrize("divided", [True, False])
def test_arrays_are_taken_as_they_are(tmp_path, divided):
    """Sequences of any range, tokens, and targets that are no labels."""
    rng = np.random.default_rng(0)
    for x in (rng.normal(size=(12, 4, 2)), rng.integers(0, 100, (12, 5))):
        for y in (rng.integers(3, 9, 12), rng.normal(size=(12, 2))):
            keys = (
                {"x_train": x[:8], "y_train": y[:8], "x_test": x[8:], "y_test": y[8:]} if divided else {"x": x, "y": y}
            )
            np.savez(tmp_path / "raw.npz", **keys)
            data = datasets.load_arrays(tmp_path / "raw.npz", *(() if divided else (8, 4)))
            assert data.x_train.dtype == (np.float32 if x.dtype == np.float64 else x.dtype)
            rows = np.concatenate([data.x_train, data.x_test])
            places = np.array([np.flatnonzero((x.astype(rows.dtype) == row).reshape(12, -1).all(1))[0] for row in rows])
            assert sorted(places) == list(range(12))
            np.testing.assert_array_equal(
                np.concatenate([data.y_train, data.y_test]), y[places].astype(data.y_train.dtype)
            )
            if divided:
                assert list(places) == list(range(12))
            assert len(data.x_train) == 8


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.array([[1.0, np.nan]]), "y": np.array([0])}, "x holds numbers that are not finite"),
        ({"x": np.ones((3, 2)), "y": np.zeros(2, int)}, "x has 3 inputs for 2 targets"),
        ({"x": np.ones((3, 2)), "y": np.array(["a", "b", "c"])}, "y is of type <U1; it must hold numbers"),
        ({"x": np.array([{}, {}], object), "y": np.zeros(2, int)}, "pickle"),
        ({"x": np.ones((0, 2)), "y": np.zeros(0, int)}, "at least one"),
        ({"inputs": np.ones((3, 2))}, "lacks"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path, arrays, message):
    """Each by what is wrong with it."""
    np.savez(tmp_path / "raw.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        datasets.load_arrays(tmp_path / "raw.npz")


@pytest.mark.slow
def test_a_net_of_sequences_by_the_command(tmp_path, monkeypatch, capsys):
    """An LSTM on standardised sequences, which are refused as images with the flag: its loss is Keras's."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    model = nets.with_random_weights(keras.Sequential([keras.Input((5, 2)), L.LSTM(3), L.Dense(4)]), rng)
    model.save("net.keras")
    x, y = rng.normal(size=(30, 5, 2)), rng.integers(0, 4, 30)
    np.savez("raw.npz", x_train=x[:20], y_train=y[:20], x_test=x[20:], y_test=y[20:])
    with pytest.raises(SystemExit):
        measure.main(["measure", "--net=net.keras", "--data=raw.npz"])
    assert capsys.readouterr().err.endswith("--raw takes the file as it is\n")
    measure.main(["measure", "--net=net.keras", "--data=raw.npz", "--raw", "--minutes=1e-9"])
    found = dict(line.split()[:2] for line in capsys.readouterr().out.splitlines() if line.startswith("test_"))
    assert float(found["test_loss"]) == pytest.approx(references.evaluate(model, x[20:], y[20:])[0], rel=1e-4)


def test_white_of_the_data_and_white_of_the_net_are_two_flags(tmp_path, monkeypatch, capsys):
    """Pixels up to 100 do not tell white: the command asks for --white, not for what the net expects."""
    monkeypatch.chdir(tmp_path)
    dense(3).save("net.keras")
    x, y = np.random.default_rng(0).integers(0, 101, (20, 3, 3)), np.resize([0, 1, 2], 20)
    x[0] = 100
    np.savez("data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(SystemExit):
        measure.main(["measure", "--net=net.keras", "--data=data.npz"])
    assert "give it, such as --white=255 or the largest, --white=100; " in capsys.readouterr().err
    measure.main(["measure", "--net=net.keras", "--data=data.npz", "--white=100", "--pixels=255", "--minutes=1e-9"])
    found = dict(line.split()[:2] for line in capsys.readouterr().out.splitlines() if line.startswith("test_"))
    expected = references.evaluate(dense(3), np.float32(x / 100 * 255), y)[0]
    assert float(found["test_loss"]) == pytest.approx(expected, rel=1e-4)


RANGES = {
    "from 0 to 1": lambda x: x,
    "from 0 to 255": lambda x: 255 * x,
    "from -1 to 1": lambda x: 2 * x - 1,
    "with mean 0 and variance 1": lambda x: (x - x.mean()) / x.std(),
}


def linear(outputs):
    """A net of nine pixels without hidden layers."""
    return keras.Sequential([keras.Input((9,)), L.Dense(outputs)])


@pytest.mark.parametrize("n", [20, 500])
def test_a_higher_accuracy_that_may_be_chance_is_not_refused(n, capsys):
    """A quarter of the examples is wrong as it is and right from 0 to 255: 45 % against 20 % of few prove nothing."""
    share = np.arange(n) / n
    x = np.where(share < 0.25, 0.4, 0)[:, None] * np.eye(9)[0]  # only the first pixel decides
    y = np.where((share >= 0.25) & (share < 0.45), 0, 1)
    model = linear(2)
    model.set_weights([0.01 * np.eye(9)[:, [1, 0]], np.array([0, -0.005])])  # class 1 from 0.5 on
    assert references.accuracy(model, x, y) == 0.2
    assert references.accuracy(model, 255 * x, y) == 0.45
    if n == 500:
        with pytest.raises(inputs.LackingError, match=r"right on 20%.* from 0 to 255 it is right on 45%") as caught:
            inputs.check_pixels(model, x, y, 1.0)
        assert caught.value.flags == {"pixels": 255.0}
    else:
        inputs.check_pixels(model, x, y, 1.0)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("noise", [0.1, 0.4])  # the net is right on all, and on most
@pytest.mark.parametrize("trained", RANGES)
@pytest.mark.parametrize("given", RANGES)
def test_inputs_of_another_range_than_the_net_was_trained_on(trained, given, noise, capsys):
    """They are refused where it matters much, and said where it matters; those of its own range pass in silence."""
    rng = np.random.default_rng(0)
    patterns, y = (rng.random((6, 9)) < 0.3).astype(np.float32), np.resize(np.arange(6), 600)
    x = np.clip(patterns[y] + rng.normal(0, noise, (600, 9)), 0, 1).astype(np.float32)
    to = RANGES[trained]
    means = np.stack([to(x)[y == c].mean(axis=0) for c in range(6)])
    scale = 1 / to(x).var()  # the classifier of nearest means, in the units of its own inputs
    model = linear(6)
    model.set_weights([scale * means.T, -scale * (means**2).sum(axis=1) / 2])
    x = RANGES[given](x)
    here, best = ((np.argmax(model(each), axis=1) == y).mean() for each in (x, to((x - x.min()) / np.ptp(x))))
    try:
        inputs.check_pixels(model, x, y, 255.0 if given == "from 0 to 255" else 1.0)
        said = capsys.readouterr().err
    except ValueError as error:
        said = str(error)
    if given == trained or best < here + 0.05:
        assert said == ""
    elif best > here + 0.2:
        named = next(name for name in RANGES if f"on those {name}" in said)  # where another range does as well, that
        assert ("use --pixels=" in said) == (given[:6] == named[:6] == "from 0")
        assert ("--raw" in said) != ("use --pixels=" in said)
        if noise == 0.1:
            assert named == trained
