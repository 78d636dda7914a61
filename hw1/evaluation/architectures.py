"""Which models compute the same function of their variables, and which are faster under XLA."""

import inspect
import json
from collections.abc import Iterator

import keras

# Layers that XLA compiles well on a CPU. Convolutions are 40 times slower under XLA there than in a tf.function
# without it. A layer that is not listed is not compiled by XLA, which is always correct.
_FAST_UNDER_XLA = {
    "InputLayer",
    "Flatten",
    "Reshape",
    "Dense",
    "Activation",
    "ReLU",
    "LeakyReLU",
    "ELU",
    "PReLU",
    "Softmax",
    "Dropout",
    "BatchNormalization",
    "LayerNormalization",
    "Rescaling",
    "Add",
    "Subtract",
    "Multiply",
    "Average",
    "Concatenate",
    "Identity",
}
# Layers whose configuration determines what they compute from their variables.
CONFIGURED = _FAST_UNDER_XLA | {
    "Conv1D",
    "Conv2D",
    "DepthwiseConv2D",
    "MaxPooling2D",
    "AveragePooling2D",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "ZeroPadding2D",
    "GroupNormalization",
}


def all_layers(model) -> Iterator:
    """Yields the layers of a model, each nested model followed by its own layers."""
    for layer in getattr(model, "layers", []):
        yield layer
        yield from all_layers(layer)


def consists_of(model, names: set[str]) -> bool:
    """Whether `model` is a Sequential or Functional model whose operations are all Keras's own, with these names.

    Args:
        model: any Keras model.
        names: class names of layers and operations, such as "Dense".

    Returns:
        False also if a layer holds a function or a layer whose code its configuration does not determine, such as a
        user-defined activation.
    """
    nodes = model.layers if isinstance(model, keras.Sequential) else getattr(model, "operations", [None])
    return type(model).__module__.startswith("keras.") and all(
        type(node).__module__.startswith("keras.")
        and type(node).__name__ in names
        and not getattr(node, "lora_enabled", False)  # its factor α is not in the configuration
        and not getattr(node, "quantization_mode", None)
        and not _is_stale(node)
        and not any(_foreign(value) for value in vars(node).values())
        for node in nodes
    )


def writes_arguments(layer) -> bool:
    """Whether a layer's configuration holds the arguments that it was made with, whatever was changed since."""
    return type(layer).get_config is keras.Layer.get_config


def _is_stale(layer) -> bool:
    """Whether such a layer was changed after it was made: ``ELU().alpha = 2`` is not in its configuration."""
    if not writes_arguments(layer):
        return False
    arguments, now = layer.get_config(), vars(layer)
    return any(now.get(name, value) != value for name, value in arguments.items() if name != "name")


def _foreign(value) -> bool:
    """Whether a layer's attribute may hold code that the layer's configuration does not determine."""
    module = str(getattr(value, "__module__", None))
    if inspect.isfunction(value) and not module.startswith("keras.src.layers."):
        # keras.ops.gelu has the name of another function in its layer's configuration.
        return getattr(keras.activations, value.__name__, None) is not value
    return isinstance(value, keras.layers.Layer) or (callable(value) and not module.startswith("keras."))


def jit_compile(model) -> bool:
    """Whether `model` runs faster under XLA: nets of matrix products do, convolutional nets do not."""
    return consists_of(model, _FAST_UNDER_XLA)


def architecture(model) -> str | None:
    """A key that two models share only if they compute the same function of their variables, now and later.

    Returns:
        The model's configuration, which variables are trainable and how each is regularised, as JSON, for a Sequential
        or Functional model of Keras's own layers and functions; None for any other model, which may change without
        notice. Names, which Keras counts up where none are given, are left out of that of a Sequential model: nothing
        there refers to them.
    """
    if not consists_of(model, CONFIGURED):
        return None
    whole = json.loads(model.to_json())
    if isinstance(model, keras.Sequential):
        for part in (whole, *whole["config"]["layers"]):
            part["config"].pop("name", None)
    # Keras takes a variable's regulariser from the variable, whatever its layer says.
    regularizers = [getattr(variable, "regularizer", None) for variable in model.variables]
    if any(map(_foreign, regularizers)):
        return None
    penalties = [each and keras.regularizers.serialize(each) for each in regularizers]
    return json.dumps([_without_seeds(whole), [v.trainable for v in model.variables], penalties])


def _without_seeds(node):
    """A configuration without the entries that only affect initial weights and dropout masks."""
    if isinstance(node, dict):
        return {k: _without_seeds(v) for k, v in node.items() if k != "seed" and not k.endswith("_initializer")}
    return [_without_seeds(v) for v in node] if isinstance(node, list) else node
