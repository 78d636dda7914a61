"""Which layer owns which variable, in any built Keras model, and names that tell the layers apart."""

import itertools
from collections.abc import Iterator

import keras
import numpy as np


def walk(model) -> Iterator[tuple[str, keras.Layer]]:
    """Yields every layer of a model once, with its path; inner layers before the layer that holds them.

    Keras lists the direct inner layers of a layer in ``_layers``: layers of a model, attributes, members of lists, the
    cell of a recurrent layer, the layer in a wrapper. A shared layer comes where it is met first.

    Args:
        model: a built Keras model or layer.

    Yields:
        (path, layer). The path has the names of the layers on the way, as in "block_1/fc1", without the name of the
        model. The model itself comes last, and its own name is its path.
    """
    seen = {id(model)}

    def below(layer, prefix):
        for inner in layer._layers:
            if id(inner) not in seen:
                seen.add(id(inner))
                yield from below(inner, f"{prefix}{inner.name}/")
                yield f"{prefix}{inner.name}", inner

    yield from below(model, "")
    yield model.name, model


def owners(model) -> list[tuple[str, keras.Layer | None]]:
    """The layer of each trainable variable.

    A variable that several layers hold belongs to the innermost of them, and of layers side by side to the first.

    Args:
        model: a built Keras model.

    Returns:
        For each of ``model.trainable_variables`` (name, layer). The name is the layer's path (see `walk`); of several
        layers with one path the second is called "res/fc_2", and so on. A variable that no layer holds has None for
        its layer, and its own path as name.
    """
    found = {}
    for path, layer in walk(model):
        for variable in layer._trainable_variables + layer._non_trainable_variables:
            found.setdefault(id(variable), (path, layer))
    owned = [(variable, *found.get(id(variable), (variable.path, None))) for variable in model.trainable_variables]
    keys = [id(variable if layer is None else layer) for variable, _, layer in owned]
    names = _distinct(keys, [path for _, path, _ in owned])
    return [(name, layer) for name, (_, _, layer) in zip(names, owned, strict=True)]


def paths(model) -> list[str]:
    """The paths of the trainable variables, each the name of its layer and its own, as in "block_1/fc1/kernel".

    Unlike ``variable.path`` in Keras they are all different.
    """
    variables = model.trainable_variables
    found = [
        variable.path if layer is None else f"{name}/{variable.name}"
        for variable, (name, layer) in zip(variables, owners(model), strict=True)
    ]
    return _distinct([id(variable) for variable in variables], found)


def layers(model) -> dict[str, np.ndarray]:
    """Layer → the indices of its trainable variables in the flat vector of parameters.

    Args:
        model: a built Keras model.

    Returns:
        The layers by their names (see `owners`), in the order of the variables. Each index is in one of them.
    """
    places, start = {}, 0
    for variable, (name, _) in zip(model.trainable_variables, owners(model), strict=True):
        end = start + int(np.prod(variable.shape))
        places.setdefault(name, []).extend(range(start, end))
        start = end
    return {name: np.array(indices) for name, indices in places.items()}


def _distinct(keys: list[int], names: list[str]) -> list[str]:
    """The names of the keys, with "_2", "_3", … at the end where another key has the same, so that no two share one."""
    given, taken = {}, set(names)
    for key, name in zip(keys, names, strict=True):
        if key not in given and name in given.values():
            name = next(other for i in itertools.count(2) if (other := f"{name}_{i}") not in taken)
            taken.add(name)
        given.setdefault(key, name)
    return [given[key] for key in keys]
