"""Saved nets of all formats: the same outputs, no code from the file, softmax and sigmoid taken off."""

import json
import re
from pathlib import Path

import cases
import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow.python.keras as keras_2  # what is left of Keras 2 in TensorFlow writes its formats
from tensorflow.python.keras import layers as layers_2
from tensorflow.python.keras.engine import sequential as sequential_2
from tensorflow.python.keras.engine import training as training_2

from hw1 import compiled, limits, measure, saved

X = np.random.default_rng(0).random((5, 8, 8, 1)).astype("float32")
STEPS = np.random.default_rng(1).normal(size=(5, 6, 4)).astype("float32")


def filled(model):
    """The model with random weights."""
    rng = np.random.default_rng(2)
    for weight in model.weights:
        weight.assign(rng.normal(size=weight.shape) / 2)
    return model


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A folder with nets of Keras 2 as SavedModels and .h5 files, and what they give."""
    folder = tmp_path_factory.mktemp("old")
    keras_2.__version__ = "2.15.0"
    inputs = layers_2.Input((8, 8, 1))
    hidden = layers_2.Flatten()(layers_2.Conv2D(3, 3, activation="relu")(inputs))
    outputs = layers_2.Add()([layers_2.Dense(3)(hidden), layers_2.Dense(3, activation="tanh")(hidden)])
    nets = {
        "functional": (training_2.Model(inputs, layers_2.Activation("softmax")(outputs)), X),
        "recurrent": (
            sequential_2.Sequential(
                [layers_2.LSTMV1(3, recurrent_activation="sigmoid", input_shape=(6, 4)), layers_2.Dense(2)]
            ),
            STEPS,
        ),
        "hard": (sequential_2.Sequential([layers_2.LSTMV1(3, input_shape=(6, 4)), layers_2.Dense(2)]), STEPS),
    }
    for name, (net, _) in nets.items():
        if name != "hard" or cases.EVERY_CASE:  # it takes seconds
            filled(net).save(str(folder / name), save_format="tf")
        filled(net).save(str(folder / f"{name}.h5"))
    return folder, {name: (x, np.asarray(net(x))) for name, (net, x) in nets.items()}


@pytest.mark.parametrize("suffix", ["", ".h5"])
@pytest.mark.parametrize("name", ["functional", "recurrent"])
def test_nets_of_keras_2_compute_the_same(old, name, suffix):
    """From their SavedModel folder and from their .h5 file, with branches and recurrent layers."""
    folder, outputs = old
    x, expected = outputs[name]
    assert np.asarray(measure.load(folder / f"{name}{suffix}")(x)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("suffix", cases.some([".h5", ""], 1))
def test_a_function_that_changed_between_versions_is_refused(old, suffix):
    """The hard sigmoid of Keras 3 has another slope: the net would give other numbers."""
    with pytest.raises(ValueError, match="`hard_sigmoid` is another function in Keras 3"):
        measure.load(old[0] / f"hard{suffix}")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_nets_of_keras_3_compute_the_same(tmp_path, suffix):
    """With batch normalisation and a nested net."""
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, activation="gelu"), keras.layers.Dense(3)])
    layers = [
        keras.layers.Conv2D(3, 3),
        keras.layers.BatchNormalization(),
        keras.layers.GlobalAveragePooling2D(),
        inner,
    ]
    net = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    for weight in net.weights:
        weight.assign(np.random.default_rng(3).random(weight.shape) + 0.1)
    net.save(tmp_path / f"net{suffix}")
    found = np.asarray(measure.load(tmp_path / f"net{suffix}")(X))
    assert found == pytest.approx(np.asarray(net(X)), abs=1e-6)


def test_no_code_from_an_h5_file_runs(tmp_path):
    """A Lambda layer is refused, wherever it is, and does not run; in the configuration of either version."""
    path = str(tmp_path / "ran")
    call = keras.layers.Lambda(lambda x: (open(path, "w").close(), x)[1])
    net = keras.Sequential([keras.Input((3,)), keras.Sequential([keras.Input((3,)), call]), keras.layers.Dense(2)])
    net.save(tmp_path / "new.h5")
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "old.h5")
    with h5py.File(tmp_path / "old.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"].insert(1, {"class_name": "Lambda", "config": {"function": ["4wEAAAA=", None, None]}})
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(config), "2.15.0"
    Path(path).unlink(missing_ok=True)
    for name in ("new", "old"):
        with pytest.raises(ValueError, match=f"{name}.h5 could not be loaded .*`Lambda`"):
            measure.load(tmp_path / f"{name}.h5")
    assert not Path(path).exists()


@pytest.fixture
def sparse(tmp_path):
    """The .h5 file of a net whose weights, mostly zeros, were compressed afterwards; and the net."""
    net = keras.Sequential([keras.Input((300,)), keras.layers.Dense(300, use_bias=False, name="dense")])
    kernel = np.zeros((300, 300), np.float32)
    kernel[::50] = np.random.default_rng(0).normal(size=(6, 300))
    net.layers[0].kernel.assign(kernel)
    net.save(tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5") as file, h5py.File(tmp_path / "small.h5", "w") as small:
        small.attrs.update(file.attrs)
        file.visititems(lambda name, part: _compress(small, name, part))
    return tmp_path / "small.h5", net


def _compress(file, name, part):
    """Copies a part of an HDF5 file, with its numbers compressed."""
    if isinstance(part, h5py.Group):
        copied = file.create_group(name)
    else:
        copied = file.create_dataset(name, data=part[()], compression="gzip")
    copied.attrs.update(part.attrs)


def test_compressed_weights_are_read(sparse, monkeypatch):
    """What a net may have of weights is told by those in the file, not by the bytes of the file."""
    path, net = sparse
    monkeypatch.setattr(limits, "LARGE", 1000)
    assert path.stat().st_size < net.count_params()
    np.testing.assert_array_equal(saved.load(path).get_weights()[0], net.get_weights()[0])


def test_groups_that_hold_themselves_and_weights_of_many_names_are_counted_once(sparse):
    """A search that follows them would never end, and a file of a few weights could have room for many."""
    path, net = sparse
    with h5py.File(path, "r+") as file:
        file["model_weights/again"] = file["model_weights"]
        found = []
        file.visititems(lambda name, part: found.append(part) if isinstance(part, h5py.Dataset) else None)
        for number in range(9):
            file[f"again_{number}"] = found[0]
        assert limits.check_hdf5(path, file) == 4 * net.count_params()


def test_what_holds_no_layers_is_refused(tmp_path):
    """Weights alone, a graph alone, another folder, another file."""
    net = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    net.save_weights(tmp_path / "only.weights.h5")
    net.export(tmp_path / "graph", verbose=False)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.h5").write_text("text")
    for name, said in {
        "only.weights.h5": "weights only",
        "graph": "a graph but no layers, as model.export writes it",
        "empty": "it has no saved_model.pb",
        "text.h5": "is not a .keras file",
    }.items():
        with pytest.raises(ValueError, match=said):
            measure.load(tmp_path / name)


def test_a_checkpoint_without_a_layer_is_refused(old, tmp_path):
    """A net is never left with the weights that it was made with."""
    net = saved.load(old[0] / "functional")
    tf.train.Checkpoint(other=tf.Variable(1.0)).write(str(tmp_path / "variables"))
    reader = tf.train.load_checkpoint(str(tmp_path / "variables"))
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    graph = TrackableObjectGraph.FromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
    with pytest.raises(ValueError, match="its checkpoint has no 'layer_with_weights-0'"):
        saved._fill(net, graph.nodes, 0, reader)


# Probabilities


def ending(kind):
    """A net that ends in a softmax or a sigmoid, and the function that it ends in."""
    dense = keras.layers.Dense
    images = keras.Input((8, 8, 1))
    if kind == "sequential":
        return filled(
            keras.Sequential([images, keras.layers.Flatten(), dense(3), keras.layers.Softmax()])
        ), tf.nn.softmax
    flat = keras.layers.Flatten()(images)
    nested = keras.Sequential([keras.Input((64,)), dense(6, activation="relu"), dense(3, activation="softmax")])
    outputs = {
        "activation": lambda: dense(3, activation="softmax")(flat),
        "layer": lambda: keras.layers.Softmax()(dense(3)(flat)),
        "activation layer": lambda: keras.layers.Activation("softmax")(dense(3)(flat)),
        "sigmoid": lambda: dense(1, activation="sigmoid")(flat),
        "nested": lambda: nested(flat),
    }[kind]()
    return filled(keras.Model(images, outputs)), tf.nn.sigmoid if kind == "sigmoid" else tf.nn.softmax


@pytest.mark.parametrize("kind", ["activation", "layer", "activation layer", "sigmoid", "nested", "sequential"])
def test_logits_give_the_probabilities(kind):
    """Softmax or sigmoid of the copy is the model; the copy ends in neither, and the model is not changed."""
    model, link = ending(kind)
    before = np.asarray(model(X))
    found = saved.logits(model, X)
    assert saved.last_activation(found) is None
    assert np.asarray(link(found(X))) == pytest.approx(before, abs=1e-6)
    assert np.asarray(found(X)).min() < 0
    assert np.array_equal(before, model(X))
    assert saved.last_activation(model) == ("sigmoid" if kind == "sigmoid" else "softmax")


def test_a_net_of_logits_has_nothing_to_take_off():
    """It is refused."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="neither in a softmax nor in a sigmoid"):
        saved.logits(model)


def test_a_copy_that_gives_other_probabilities_is_refused(monkeypatch):
    """The comparison is made on the given examples."""
    model, _ = ending("activation")
    monkeypatch.setattr(keras.ops, "softmax", lambda x: keras.ops.sigmoid(x))
    with pytest.raises(ValueError, match="gives other probabilities"):
        saved.logits(model, X)


def test_half_precision_is_measured_as_a_single_precision_copy():
    """With the same outputs, up to the rounding of half precision."""
    layers = [keras.layers.Flatten(), keras.layers.Dense(3, dtype="mixed_bfloat16")]
    model = filled(keras.Sequential([keras.Input((8, 8, 1)), *layers]))
    found = saved.single_precision(model)
    assert {layer.compute_dtype for layer in found.layers} == {"float32"}
    assert np.asarray(found(X)) == pytest.approx(np.float32(model(X)), abs=0.1)
    assert saved.single_precision(found) is found


# The loss of the compilation


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_the_loss_of_the_compilation_is_read_without_code(tmp_path, suffix):
    """Keras's own with their settings; of another, a function or without a setting that the file lacks, a text."""

    class Secret(keras.losses.Loss):
        def call(self, y_true, y_pred):
            raise AssertionError

    smooth = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    named = "huber" if suffix == ".h5" else "the function huber whose code is not in the file"  # .h5 has names alone
    own = {Secret(): "Secret", keras.losses.huber: named}
    expected = {"mse": "mse", smooth: (0.1, True), keras.losses.Huber(delta=2.0): "whose delta"} | own
    for loss, wanted in expected.items():
        net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        net.compile("sgd", loss)
        net.save(tmp_path / f"net{suffix}")
        found = saved.load(tmp_path / f"net{suffix}").loss
        if loss is smooth:
            assert (found._fn_kwargs["label_smoothing"], found._fn_kwargs["from_logits"]) == wanted
        else:
            assert wanted in found


SPARSE = keras.losses.SparseCategoricalCrossentropy
COMPILED = [
    ("sparse_categorical_crossentropy", "softmax", None, "crossentropy", "$"),
    (SPARSE(from_logits=True), "softmax", None, None, "of what its softmax gives, .*: taken instead is crossentropy"),
    ("mse", "softmax", None, None, "mse of what its softmax gives"),
    ("binary_crossentropy", "sigmoid", None, "binary", "measured is the loss"),
    ("categorical_crossentropy", "linear", None, "crossentropy", "of probabilities, but gives logits"),
    (SPARSE(from_logits=True, reduction="sum"), "linear", None, None, "over a batch, not averaged: taken instead is"),
    (keras.losses.mean_squared_error, "linear", None, "mean_squared_error", "measured is the loss"),  # of one-hot rows
    (["mse"], "linear", [0.5], None, "with loss_weights: taken instead is"),
    (keras.losses.Dice(), "linear", None, None, "no mean over examples"),
]


@pytest.mark.parametrize(("loss", "ending", "weights", "chosen", "said"), COMPILED)
def test_what_is_measured_of_a_compiled_loss(loss, ending, weights, chosen, said):
    """A cross-entropy on logits; what cannot be measured is said with what is measured instead."""
    net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, activation=ending)])
    net.compile("sgd", loss, loss_weights=weights)
    found, text = compiled.chosen(net if ending == "linear" else saved.logits(net))
    assert found == chosen
    assert re.search(said, text) if said != "$" else text == ""
