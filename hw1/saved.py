"""Saved nets: .keras, .h5 and SavedModel folders → Keras models, without running code from the file."""

import contextlib
import io
import json
import math
import re
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from hw1 import command, inputs, limits

_WEIGHTS = "model.weights.h5"  # in a .keras file
_LONGEST = 2**23  # bytes of a configuration; nets of a thousand layers have less than a tenth
_REMEDY = 'save the net by model.save("my_net.keras")'


def load(path: str | Path):
    """Loads a Keras model from a .keras file, an .h5 file or a SavedModel folder of Keras 2.

    No code from the file runs: Lambda layers and other pickled functions are refused. Of a SavedModel the graph is not
    executed; the net is made anew from its configuration, and its variables are read by the names of their layers.

    Args:
        path: of the file or folder.

    Returns:
        A built Keras model, not compiled; ``model.loss`` is the loss it was compiled with (`hw1.compiled`), or None.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it does not hold a Keras model, or one with code of its own, links to other files, or more weights
            than it has bytes for.
    """
    from hw1 import quiet  # noqa: F401, I001
    import h5py

    path = Path(path)
    if path.is_dir():
        return _loaded(path, _saved_model)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; give the .keras file that model.save wrote")
    if zipfile.is_zipfile(path):
        return _loaded(path, _archive)
    if h5py.is_hdf5(path):
        return _loaded(path, _hdf5)
    raise ValueError(f"{path} is not a .keras file, an .h5 file or a SavedModel folder; {_REMEDY}")


def _loaded(path, reader):
    """The model that a reader gives, with the loss of its compilation, or a ValueError in one line."""
    from hw1 import compiled

    try:
        return _plain(compiled.give(*reader(path)))
    except Exception as error:  # Keras has no specific exception for a bad file
        reason = " ".join(str(error).split())
        if own := re.search(r"(?:Could not locate \w+|Unknown \w+:?) '([\w>]+)'", reason):
            raise ValueError(
                f"{path} has {own[1]!r}, whose code is not in the file: in Python import that code and call "
                f"hw1.measure.card(keras.saving.load_model({path.name!r}), data)"
            ) from error
        reason = reason[:500]
        raise ValueError(f"{path} could not be loaded as a Keras model ({type(error).__name__}: {reason})") from error


def _plain(model):
    """The model, with its one input as such if an old format has it in a list, which Keras would warn of."""
    import keras

    is_listed = isinstance(getattr(model, "input", None), list | tuple) and len(model.inputs) == len(model.outputs) == 1
    return _with_loss(keras.Model(model.inputs[0], model.outputs[0], name=model.name), model) if is_listed else model


def _with_loss(twin, model):
    """A copy of a model, with the loss that the model was compiled with."""
    twin.loss = getattr(model, "loss", None)
    return twin


def _archive(path):
    """A model from a .keras file, and the configuration of its compilation."""
    import h5py
    import keras

    with zipfile.ZipFile(path) as archive:
        limits.check_archive(path, archive)
        members, config, claimed = {member.filename for member in archive.infolist()}, {}, 0
        if "config.json" in members:
            config = _parsed(archive.open("config.json").read(_LONGEST + 1))
            _check_no_code(config)
        if _WEIGHTS in members:
            with h5py.File(io.BytesIO(archive.read(_WEIGHTS)), "r") as file:
                claimed = limits.check_hdf5(path, file)
    with _few_weights(claimed):
        return keras.saving.load_model(path, compile=False), config.get("compile_config")  # in safe mode, the default


def _hdf5(path):
    """A model from an .h5 file, and the configuration of its compilation."""
    import h5py
    import keras

    with h5py.File(path, "r") as file:
        claimed = limits.check_hdf5(path, file)
        config, version = file.attrs.get("model_config"), str(file.attrs.get("keras_version", ""))
        training = _parsed(file.attrs.get("training_config", "{}"))
    if config is None:
        raise ValueError(f"it holds weights only, no layers; {_REMEDY}")
    config = config if version.startswith("3") else _current(config)
    _check_no_code(_parsed(config))
    with tempfile.TemporaryDirectory() as folder:
        twin = shutil.copy(path, folder)
        with h5py.File(twin, "r+") as file:
            file.attrs["model_config"] = config
        with _few_weights(claimed):
            return keras.saving.load_model(twin, compile=False), training


@contextlib.contextmanager
def _few_weights(stored: int):
    """The context in which a model is made anew that has no more weights than the bytes of those stored."""
    import keras

    from hw1.evaluation.tracing import Replacement, method

    made = 0

    def init(variable, initializer, shape=None, *arguments, **options):
        nonlocal made
        made += math.prod(shape or ())
        if made > max(limits.LARGE // 4, stored):
            raise ValueError(f"its layers have more than {made:,} weights, for which its {stored:,} bytes have no room")
        return original(variable, initializer, shape, *arguments, **options)

    replacement = Replacement(keras.Variable, "__init__", method)
    original = replacement.original
    with replacement.by(init):
        yield


def _current(config: str) -> str:
    """A configuration of Keras 2 for Keras 3: without a key of recurrent layers that it does not know."""
    if '"hard_sigmoid"' in config:
        raise ValueError("its `hard_sigmoid` is another function in Keras 3 (slope 1/6, in Keras 2 1/5)")
    return re.sub(r', "time_major": false|"time_major": false, ', "", config)


def _parsed(config: str | bytes):
    """A configuration as JSON values."""
    if len(config) > _LONGEST:
        raise ValueError(f"its configuration is longer than {_LONGEST:,} bytes, which Keras does not write")
    return json.loads(config)


def _check_no_code(config) -> None:
    """Raises ValueError if a configuration has a Lambda layer anywhere."""
    if isinstance(config, dict):
        if config.get("class_name") in ("Lambda", "__lambda__", "TFOpLambda"):
            raise ValueError("it has a `Lambda` layer, whose function is code in the file, which is not run")
        config = list(config.values())
    for part in config if isinstance(config, list) else ():
        _check_no_code(part)


def _saved_model(path):
    """As `_archive`, from a SavedModel folder of Keras 2, by its configuration and its checkpoint."""
    import tensorflow as tf
    from keras.src.legacy.saving import json_utils, saving_options, saving_utils
    from keras.src.saving.serialization_lib import SafeModeScope
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph
    from tensorflow.python.keras.protobuf.saved_metadata_pb2 import SavedMetadata

    if not (path / "saved_model.pb").is_file():
        raise ValueError("it is no SavedModel: it has no saved_model.pb")
    if not (path / "keras_metadata.pb").is_file():
        raise ValueError(f"it holds a graph but no layers, as model.export writes it; {_REMEDY}")
    metadata = SavedMetadata.FromString((path / "keras_metadata.pb").read_bytes())
    (root,) = [json_utils.decode(_current(node.metadata)) for node in metadata.nodes if node.node_path == "root"]
    config = {key: root[key] for key in ("class_name", "config")}
    _check_no_code(config)
    if config["class_name"] not in ("Sequential", "Functional", "Model"):
        raise ValueError(
            f"it is a net written as the class {config['class_name']}, which is not in the file; {_REMEDY}"
        )
    parts = [part for part in (path / "variables").rglob("*") if limits.check_regular(part) is None]
    stored = sum(part.stat().st_size for part in parts)
    with saving_options.keras_option_scope(use_legacy_config=True), SafeModeScope(True), _few_weights(stored):
        model = saving_utils.model_from_config(config)
    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    graph = TrackableObjectGraph.FromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
    _fill(model, graph.nodes, 0, reader)
    return model, root.get("training_config")


def _fill(layer, nodes, place, reader) -> None:
    """Gives a layer, and those in it, the variables that the checkpoint has at a place of its graph of objects."""
    import keras

    children = {child.local_name: child.node_id for child in nodes[place].children}

    def child(name):
        if name not in children:
            raise ValueError(f"its checkpoint has no {name!r} of layer {layer.name!r}")
        return children[name]

    for variable in layer._trainable_variables + layer._non_trainable_variables:
        (attribute,) = nodes[child(variable.name)].attributes
        value = reader.get_tensor(attribute.checkpoint_key)
        if value.shape != tuple(variable.shape):
            raise ValueError(f"{variable.path} has shape {list(variable.shape)}, in the checkpoint {list(value.shape)}")
        variable.assign(value)
    if isinstance(layer, keras.Model):
        weighted = [inner for inner in layer.layers if inner.weights]
        inners = {f"layer_with_weights-{number}": inner for number, inner in enumerate(weighted)}
    else:
        inners = {_attribute(layer, inner): inner for inner in layer._layers if inner.weights}
    for name, inner in inners.items():
        _fill(inner, nodes, child(name), reader)


def _attribute(layer, inner) -> str:
    """The name under which a layer holds another."""
    return next(name for name, value in vars(layer).items() if value is inner)


# What is measured of it


def taken(path: str, probabilities: bool = False, loss: str | None = None, by_compiled: bool = False):
    """The net that --net names as it is measured: in single precision, and if told so without its softmax or sigmoid.

    Args:
        path: of the file.
        probabilities: whether its softmax or sigmoid is taken off.
        loss: what is measured; None for the cross-entropy.
        by_compiled: whether None is what the net was compiled with.

    Raises:
        ValueError: naming the flag, if the file holds no net; `LackingError` if the loss takes logits that it lacks.
    """
    from hw1 import compiled

    try:
        model = single_precision(load(path))
        ending = last_activation(model)
        if ending and by_compiled and loss is None:
            loss = compiled.of_end(model)
        said, lacking = [], {}
        if ending and not probabilities and loss in (None, "crossentropy", "binary"):
            said.append(
                f"it gives probabilities ({ending} at its end), not logits: add --probabilities, which takes it off"
            )
            lacking["probabilities"] = True
        if ending == "sigmoid" and model.output_shape[-1] != 1 and loss is None:
            said.append(
                f"its sigmoid gives each of {model.output_shape[-1]} outputs a probability of its own, which the "
                "cross-entropy of a softmax is not for: in hw1 measure add --loss=binary"
            )
            lacking["loss"] = "binary"
        if lacking:
            raise inputs.LackingError("; ".join(said), **lacking)
        model = logits(model) if probabilities else model
    except inputs.LackingError as error:
        raise inputs.LackingError(f"--net={path}: {error}", **error.flags) from error
    except (OSError, ValueError) as error:
        raise ValueError(f"--net={path}: {error}") from error
    return model


def single_precision(model):
    """The model, or a float32 copy of a model that computes in half precision."""
    from hw1 import models
    from hw1.evaluation.layers import walk

    half = [layer.name for _, layer in walk(model) if layer.compute_dtype in ("float16", "bfloat16")]
    if not half:
        return model
    command.say(f"layer {half[0]} of {model.name} computes in half precision; a float32 copy of the net is measured")
    return _with_loss(models.with_dtype(model, "float32"), model)


def last_activation(model) -> str | None:
    """Which of "softmax" and "sigmoid" the last layer of a model ends in; None if in neither."""
    layer = _last(model)
    if type(layer).__name__ == "Softmax":
        return "softmax"
    name = getattr(getattr(layer, "activation", None), "__name__", None)
    return name if name in ("softmax", "sigmoid") else None


def _last(model):
    """The layer that gives the output of a model, inside of nested models too; None if nobody can know."""
    import keras

    outputs = getattr(model, "outputs", None)
    if not isinstance(model, keras.Model) or not outputs or len(outputs) > 1:
        return None
    layer = outputs[0]._keras_history.operation
    return _last(layer) if isinstance(layer, keras.Model) else layer


def logits(model, x=None):
    """A copy of a net of probabilities without its last softmax or sigmoid, so that it gives logits.

    Args:
        model: a built Keras model whose last layer is a softmax or a sigmoid, or has it as its activation.
        x: examples on which the copy is compared with the model, as the model takes them; None for random ones.

    Returns:
        The copy; the model is not changed. Its ``loss`` is the model's for logits (`hw1.compiled.of_logits`).

    Raises:
        ValueError: there is no such end, or the softmax or sigmoid of the copy's outputs is not what the model gives.
    """
    import keras

    from hw1 import compiled, copies

    name = last_activation(model)
    if name is None:
        raise ValueError(
            f"model {model.name!r} ends neither in a softmax nor in a sigmoid: leave out --probabilities, which "
            "is for all nets that are named"
        )
    twin = copies.copy(model, x=x)
    layer = _last(twin)
    if type(layer).__name__ != "Softmax":
        layer.activation = keras.activations.linear
        twin = copies.copy(twin, x=x)  # its graph still holds the activation
    elif layer is twin.outputs[0]._keras_history.operation:
        given = twin.inputs[0] if isinstance(twin, keras.Sequential) else twin.input  # a Sequential may have no input
        twin = keras.Model(given, layer.input, name=twin.name)
    else:
        raise ValueError(f"the Softmax layer {layer.name!r} is inside of a nested model: take it out of that model")
    given = copies.random_examples(model) if x is None else x
    link = {"softmax": keras.ops.softmax, "sigmoid": keras.ops.sigmoid}[name]
    found, expected = (
        keras.ops.convert_to_numpy(each) for each in (link(twin(given, training=False)), model(given, training=False))
    )
    if not np.allclose(found, expected, rtol=0, atol=1e-5):
        worst = np.abs(found - expected).max()
        raise ValueError(f"without its {name}, model {model.name!r} gives other probabilities, by up to {worst:.2g}")
    twin.loss = compiled.of_logits(model, name)
    return twin
