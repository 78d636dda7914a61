"""Keras models made anew with all their state.

`keras.models.clone_model` makes each layer from its configuration. That loses what a layer has learnt outside its
weights (the statistics of a Normalization layer, a vocabulary), what its class does not put into the configuration,
and functions that Keras cannot write down. `hw1.copies` compares a clone with its model and is the one to import.
"""

import copy as copying
import functools
import inspect
import random
import tempfile
import types

import keras
import numpy as np

from hw1.evaluation import architectures
from hw1.evaluation.layers import walk

# Floating-point types → the distance from 1 to the next number.
SPACING = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


def clone(model, dtype: str | None = None, x=None) -> keras.Model:
    """Makes a model anew, with its weights and all its state.

    Keras's random generator, from which initial weights draw their seeds, is left in its present state.

    Args:
        model: a built Keras model.
        dtype: None to keep all precisions, else the floating-point type of all weights and computations.
        x: examples; a model that is written as a class is built by calling it on them.

    Returns:
        A new model, not compiled; the old one is not changed. Flags `trainable` and names of layers are kept.

    Raises:
        Exception: of any kind, if a layer cannot be made from its configuration.
    """
    change = functools.partial(in_precision, dtype=dtype)
    policy, generator = keras.config.dtype_policy(), random.getstate()
    # A class that makes its layers without naming a precision gets this one.
    keras.config.set_dtype_policy(dtype or model.dtype_policy)
    try:
        with keras.saving.custom_object_scope(_own_objects(model)):
            twin = _twin(model, change, {})
            if len(twin.variables) < len(model.variables):  # a model that is written as a class
                twin.build_from_config(model.get_build_config())
            if len(twin.variables) < len(model.variables) and x is not None:
                twin(x, training=False)
    finally:
        keras.config.set_dtype_policy(policy)
        random.setstate(generator)
    if x is None and len(twin.variables) != len(model.variables):
        raise ValueError(
            f"made anew from its configuration, model {model.name!r} has {len(twin.variables)} variables instead of "
            f"{len(model.variables)}: a layer was changed after it was built, as by use_bias = False; build the model "
            "as it is meant"
        )
    _take_over(model, twin, change)
    return twin


def in_precision(value, dtype):
    """A copy of a configuration or an attribute, with `dtype` for each floating-point type unless it is None."""
    if isinstance(value, dict):
        return {key: in_precision(part, dtype) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(in_precision(part, dtype) for part in value)
    if isinstance(value, str):
        return dtype if dtype and value.removeprefix("mixed_") in SPACING else value
    floating = dtype and getattr(getattr(value, "dtype", None), "name", None) in SPACING
    if isinstance(value, np.ndarray):
        return value.astype(dtype if floating else value.dtype)
    return keras.ops.cast(value, dtype) if floating and keras.ops.is_tensor(value) else value


def _twin(layer, change, done):
    """A layer, model or operation made anew, without its weights; `done` has what was made before, by id."""
    if id(layer) in done:
        return done[id(layer)]
    again = functools.partial(_twin, change=change, done=done)
    if isinstance(layer, keras.Sequential):
        twin = keras.Sequential([again(inner) for inner in layer._layers], name=layer.name)
    elif hasattr(layer, "_run_through_graph"):  # a Functional model
        inputs = keras.tree.map_structure(lambda tensor: again(tensor._keras_history.operation).output, layer.input)
        outputs = layer._run_through_graph(
            inputs,
            operation_fn=again,
            call_fn=lambda operation, *args, **kwargs: operation(*change(args), **change(kwargs)),
        )
        twin = keras.Model(inputs, outputs, name=layer.name)
    else:
        twin = _layer(layer, change)
    done[id(layer)] = twin
    return twin


def _layer(layer, change):
    """A layer that is no model, or an operation, made from its configuration."""
    if type(layer) is keras.layers.Lambda:
        base = change(super(keras.layers.Lambda, layer).get_config())
        return keras.layers.Lambda(layer.function, layer._output_shape, layer.mask, layer.arguments, **base)
    twin = type(layer).from_config(change(_config(layer)))
    _set_attributes(layer, twin, change)
    return twin


def _config(layer) -> dict:
    """The configuration from which a layer's class makes it, with the identity for activations that are not Keras's.

    Not all of these can be written into a configuration; `_set_attributes` sets them. The default configuration also
    has arguments that not every class takes; what they say is set by `_take_over`.
    """
    shadow, linear = object.__new__(type(layer)), keras.activations.linear
    vars(shadow).update({name: linear if _is_activation(name, value) else value for name, value in vars(layer).items()})
    parameters = inspect.signature(type(layer).__init__).parameters
    takes_all = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values())
    return {
        key: value
        for key, value in shadow.get_config().items()
        if takes_all or key in parameters or key not in ("name", "trainable", "dtype")
    }


def _set_attributes(layer, twin, change) -> None:
    """Sets what a configuration may lack: activations that are not Keras's, and plain public attributes.

    The latter of layers whose class is not Keras's, or whose configuration does not follow later changes.
    """
    if getattr(layer, "lora_enabled", False):
        twin.lora_alpha = layer.lora_alpha  # which Keras does not write down
    for name, value in vars(layer).items():
        if name.startswith("_") or name in _keras_attributes() or callable(getattr(type(layer), name, None)):
            continue
        if _is_activation(name, value) or (
            (_is_own(type(layer)) or architectures.writes_arguments(layer)) and _is_plain(value)
        ):
            setattr(twin, name, change(value))


@functools.cache
def _keras_attributes() -> set[str]:
    """Attributes that Keras itself gives to every layer and model."""
    return {*vars(keras.Model(name="plain"))}


def _is_own(thing) -> bool:
    """Whether a class, function or other object is not one of Keras's."""
    return not str(getattr(thing, "__module__", "")).startswith("keras.")


def _is_activation(name, value) -> bool:
    """Whether an attribute is an activation that is not one of Keras's."""
    if "activation" not in name or not callable(value) or isinstance(value, keras.Layer):
        return False
    if inspect.isfunction(value):
        return getattr(keras.activations, value.__name__, None) is not value
    return _is_own(value)


def _is_plain(value) -> bool:
    """Whether a value is made of numbers, text, arrays, tensors and functions."""
    if isinstance(value, dict | list | tuple):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    simple = (bool, int, float, complex, str, bytes, type(None), np.ndarray, np.generic, types.FunctionType)
    return isinstance(value, simple) or (keras.ops.is_tensor(value) and not hasattr(value, "assign"))


def _own_objects(model) -> dict[str, object]:
    """Classes and functions that are not Keras's but in the configurations of the layers, by their names there."""
    values = [value for _, layer in walk(model) for value in (layer, *vars(layer).values())]
    functions = [value for value in values if isinstance(value, types.FunctionType)]
    classes = {type(value) for value in values if hasattr(value, "get_config")}
    return {keras.saving.get_registered_name(thing): thing for thing in (*functions, *classes) if _is_own(thing)}


def _take_over(model, twin, change) -> None:
    """Gives `twin` the state of the model; ValueError if their layers or variables do not correspond."""
    layers = _pairs("layers", *([layer for _, layer in walk(whole)] for whole in (model, twin)))
    for layer, copy in reversed(layers):  # the outer first, because they set those within
        copy.trainable = layer.trainable
    for layer, copy in layers:
        copy.name = layer.name
        if isinstance(layer, keras.Model | keras.layers.InputLayer):  # it is not in their configurations
            copy.dtype_policy = keras.dtype_policies.get(change(keras.dtype_policies.serialize(layer.dtype_policy)))
        if copy.compute_dtype != change(layer.compute_dtype):
            raise ValueError(f"layer {layer.name!r} of the copy computes in {copy.compute_dtype}")
        _set_attributes(layer, copy, change)
        # As Keras saves and loads a model: here a layer restores what it derives from its variables, and its files.
        store = {}
        layer.save_own_variables(store)
        copy.load_own_variables(store)
        if hasattr(layer, "save_assets"):
            with tempfile.TemporaryDirectory() as folder:
                layer.save_assets(folder)
                copy.load_assets(folder)
    for variable, copy in _pairs("variables", model.variables, twin.variables):
        if copy.dtype != change(variable.dtype):
            raise ValueError(f"{variable.path} of the copy is {copy.dtype}")
        copy.assign(variable)
        copy.trainable = variable.trainable
        copy.regularizer = copying.deepcopy(getattr(variable, "regularizer", None))


def _pairs(what, ours, copied) -> list[tuple]:
    """The things of a model, each with that of the copy; ValueError if there are more or fewer."""
    if len(ours) != len(copied):
        raise ValueError(f"the copy has {len(copied)} {what}, the model {len(ours)}")
    return list(zip(ours, copied, strict=True))
