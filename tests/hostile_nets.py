"""Hostile nets: archives and layers that claim too much, code in disguise, links to other files.

Each maker writes into a folder and gives the value of --net, and what the message must say beside it; see `hostile`.
"""

import io
import json
import os
import zipfile
import zlib

import h5py
from hostile import GIGA, claiming, maker, zeros

NETS = {}


def config(*layers):
    """The configuration of a net of these layers after an input of three numbers."""
    entry = {"module": "keras.layers", "class_name": "InputLayer", "config": {"batch_shape": [None, 3]}}
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "net", "layers": [entry, *layers]}}


def dense(units=2, **options):
    """The configuration of a dense layer."""
    return {"module": "keras.layers", "class_name": "Dense", "config": {"name": "dense", "units": units, **options}}


def archive(path, content, weights=b"", **members):
    """A .keras file."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", content if isinstance(content, str | bytes) else json.dumps(content))
        file.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        if weights is not None:
            file.writestr("model.weights.h5", weights or hdf5(lambda file: None))
        for name, text in members.items():
            file.writestr(name, text)
    return path.name


def hdf5(fill):
    """The bytes of an HDF5 file."""
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        fill(file)
    return out.getvalue()


@maker(NETS)
def net_that_inflates(folder, rng):
    """Its configuration or its weights."""
    size = 3 * GIGA
    members = {"config.json": json.dumps(config(dense())).encode(), "model.weights.h5": b"\x89HDF\r\n\x1a\n"}
    bomb = rng.choice([*members])
    packed = {name: (zlib.compress(text)[2:-4], len(text)) for name, text in members.items()}
    claiming(folder / "bomb.keras", packed | {bomb: (zeros(size, members[bomb]), size)})
    return "bomb.keras", "times as many, and is not read"


@maker(NETS)
def weights_that_are_not_stored(folder, rng):
    """An HDF5 data set of zeros that nobody wrote, larger than any memory."""

    def fill(file, place="layers/dense/vars"):
        file.create_dataset(f"{place}/0", (2**20, 2**20), "f4", chunks=(1024, 1024), compression="gzip")

    if rng.random() < 0.5:
        return archive(folder / "net.keras", config(dense()), hdf5(fill)), "times as many, and is not read"
    with h5py.File(folder / "net.h5", "w") as file:
        fill(file, "model_weights/dense")
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(config(dense())), "3.15.1"
    return "net.h5", "times as many, and is not read"


@maker(NETS)
def weights_in_another_file(folder, rng):
    """Links out of an HDF5 file."""

    def fill(file):
        kind = rng.choice(["external", "soft", "stored elsewhere"])
        if kind == "stored elsewhere":
            file.create_dataset("layers/0", (4,), "u1", external=[("/etc/passwd", 0, 4)])
        else:
            file["layers"] = h5py.ExternalLink("/etc/other.h5", "/") if kind == "external" else h5py.SoftLink("/other")

    if rng.random() < 0.5:
        return archive(folder / "net.keras", config(dense()), hdf5(fill)), "which Keras does not"
    with h5py.File(folder / "net.h5", "w") as file:
        fill(file)
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(config(dense())), "3.15.1"
    return "net.h5", "which Keras does not"


@maker(NETS)
def layers_without_weights(folder, rng):
    """A small file that asks for more weights than any memory has."""
    units = rng.choice([30_000, 10**9, 2**40])
    many = config(dense(units), dense(units) | {"config": {"name": "more", "units": units}})
    return archive(folder / "net.keras", many), "could not be loaded"


@maker(NETS)
def names_to_import(folder, rng):
    """Modules and functions that are no layers: the system's, one beside the net, Keras's own that do other things."""
    (folder / "evil.py").write_text("open('ran', 'w').close()\nclass Net:\n    pass\n")
    named = {"registered_name": rng.choice([None, "system"])}
    layer = rng.choice(
        [
            {"module": "os", "class_name": "system", "config": "touch ran"} | named,
            {"module": "evil", "class_name": "Net", "config": {}} | named,
            {"module": "builtins", "class_name": "exec", "config": "open('ran', 'w')"} | named,
            {"module": "subprocess", "class_name": "Popen", "config": {"args": ["touch", "ran"]}} | named,
            dense(activation={"module": "os", "class_name": "function", "config": "system"} | named),
            dense(activation={"module": "evil", "class_name": "function", "config": "Net"} | named),
            dense(activation={"module": "keras.utils", "class_name": "function", "config": "get_file"}),
            dense(
                activation={
                    "module": "keras.config",
                    "class_name": "function",
                    "config": "enable_unsafe_deserialization",
                }
            ),
            {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "evil"}},
        ]
    )
    refusal = "could not be loaded|whose code is not in the file"  # it may be a layer of the user's own
    return archive(folder / "net.keras", layer if rng.random() < 0.3 else config(layer)), refusal


@maker(NETS)
def code_in_a_net(folder, rng):
    """A Lambda layer, marshalled, in the middle of the configuration of another layer."""
    function = {"class_name": "__lambda__", "config": {"code": "4wAAAA==", "defaults": None, "closure": None}}
    layer = {"module": "keras.layers", "class_name": "Lambda", "config": {"name": "code", "function": function}}
    wrapped = {"module": "keras.layers", "class_name": "TimeDistributed", "config": {"name": "outer", "layer": layer}}
    return archive(folder / "net.keras", config(rng.choice([layer, wrapped]))), "`Lambda`"


@maker(NETS)
def configuration_that_is_too_much(folder, rng):
    """Nested a hundred thousand times, or hundreds of megabytes of numbers."""
    depth = 10**5
    text = rng.choice(["[" * depth + "]" * depth, '{"config":' * depth + "1" + "}" * depth])
    if rng.random() < 0.5:
        text = '{"class_name": [' + "0," * 2 * 10**7 + "0]}"
    return archive(folder / "net.keras", text), "could not be loaded"


@maker(NETS)
def members_of_a_net_that_escape(folder, rng):
    """Names that lead out of the folder; without weights, it is no net."""
    names = {"../escaped": "x", "assets/../../escaped": "x", str(folder.parent / "escaped"): "x"}
    return archive(folder / "net.keras", config(dense()), None, **names), "could not be loaded"


@maker(NETS)
def net_that_never_ends(folder, rng):
    """A pipe, a device, or a SavedModel of pipes."""
    kind = rng.choice(["pipe", "/dev/zero", "folder"])
    if kind == "folder":
        (folder / "saved").mkdir()
        os.mkfifo(folder / "saved" / "saved_model.pb")
        return "saved", "it has no saved_model.pb"
    if kind == "pipe":
        os.mkfifo(folder / "pipe.keras")
    return "pipe.keras" if kind == "pipe" else kind, "there is no file"
