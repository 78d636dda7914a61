"""One net's hidden units in the order of another's: what a permutation of units does to a barrier.

The hidden units of a layer can be put into any order, if the weights into and out of the layer follow: the function is
the same, the point in parameter space another. Two nets that were trained apart have their units in unrelated orders,
which alone can make a barrier on the line between them (Entezari et al., arXiv 2110.06296; Ainsworth et al., arXiv
2209.04836).

Which weights belong to which units is found by `hw1.measures.units`.
"""

import keras
import numpy as np
import scipy.optimize

from hw1 import evaluation, models
from hw1.evaluation import checks
from hw1.evaluation.examples import read
from hw1.measures.units import Graph, functional

METHODS = ("weights", "activations")
_EXAMPLES, _FREE = 16, 32  # random examples, and their size along axes that the model leaves open
_CHUNK, _HELD = 256, 2**26  # examples whose activations are held at once, and the most numbers that these may be


def match(model_a, model_b, x=None, by: str = "weights") -> keras.Model:
    """Puts the hidden units of one net into the order that brings it nearest to another; its function stays the same.

    By weights: among all orders of the hidden units, the one whose parameters θ_b are nearest to θ_a is sought. As an
    order does not change their norm, it is the one of largest θ_a · θ_b. With the other layers held, the best order of
    one layer is a linear assignment problem, which is solved exactly. Layers are taken in turn until none improves
    (coordinate descent: Ainsworth et al., arXiv 2209.04836, section 3.2). It ends in a local optimum. So it is started
    twice, from the given order and from one that goes from the inputs to the outputs and looks only at weights whose
    other ends are matched already, and the better end is kept. θ_b is never farther from θ_a than it was.

    By activations: units are paired such that the sum of their correlations over x is largest, in each layer by itself
    (section 3.1). In convolutional nets a unit is a channel, and the places of an image count as examples. Where the
    same units appear in several tensors, such as before and after an activation, the mean of the correlations counts.
    A unit that is constant on x has correlation 0.

    Weights and statistics of batch normalisation move with their units. Output units stay where they are, inputs too.
    Layers between which a sum lies, as with skip connections, get one order together.

    Args:
        model_a: a built Keras model, Sequential or Functional, which may hold others of these.
        model_b: another of the same architecture.
        x: inputs, shape [n, ...]; a list or dict of them for several. Needed for activations; by weights they serve
            the check only, and None takes random ones.
        by: "weights" or "activations".

    Returns:
        A new model, with the function of model_b. Neither model is changed.

    Raises:
        TypeError: if one is no Keras model.
        ValueError: if the models differ in architecture, if a layer cannot be permuted (it is named), or if the
            permuted net computes something else.
    """
    if by not in METHODS:
        raise ValueError(f"by must be one of {METHODS}, not {by!r}")
    if by == "activations" and x is None:
        raise ValueError("x is missing: activations are compared on it")
    for model in (model_a, model_b):
        evaluation.check_model(model)
        functional(model)
    inputs = _random_inputs(model_b) if x is None else _inputs(model_b, x)
    if by == "activations" and len(inputs[0]) < 2:
        raise ValueError("x holds one example, on which activations have no correlation: give more, or by='weights'")
    ours = _in_the_layers_of(model_b, model_a, inputs)
    graphs = [Graph(model, [array[:1] for array in inputs]) for model in (ours, model_b)]
    orders = _by_weights(graphs) if by == "weights" else _by_activations(graphs, inputs)
    values = [graphs[1].permuted(n, np.asarray(v), orders) for n, v in enumerate(model_b.variables)]
    twin = _with_variables(model_b, values, inputs)
    for chunk in _chunks(inputs):
        if not checks.same_outputs(_outputs(twin, chunk), _outputs(model_b, chunk)):
            raise ValueError(
                f"model {model_b.name!r} computes something else after a permutation of its hidden units: a layer "
                "treats them differently (such as an activation that is not element-wise)"
            )
    return twin


def _by_weights(graphs) -> dict:
    """The orders of the groups by coordinate descent from two starts, for largest θ_a · θ_b."""
    graph = graphs[1]
    ours, theirs = ({n: np.asarray(each.model.variables[n], np.float64) for n in each.weights()} for each in graphs)
    scale = np.sqrt(np.prod([sum((array**2).sum() for array in each.values()) for each in (ours, theirs)]))
    free, found = graph.free(), []
    for forward in (False, True):
        orders = {group: np.arange(graph.sizes[group]) for group in free}
        if forward:
            known = set()
            for group in free:
                orders[group] = _assigned(graph.similarity(group, ours, theirs, orders, known))
                known.add(group)
        best, improved = graph.product(ours, theirs, orders), True
        while improved:
            improved = False
            for group in free:
                trial = orders | {group: _assigned(graph.similarity(group, ours, theirs, orders))}
                value = graph.product(ours, theirs, trial)
                if value > best + 1e-12 * scale:
                    orders, best, improved = trial, value, True
        found.append((best, orders))
    return max(found, key=lambda pair: pair[0])[1]


def _by_activations(graphs, inputs) -> dict:
    """The orders of the groups by the largest sum of correlations."""
    totals, per_example = None, sum(np.size(value) for value in graphs[1].activations([a[:1] for a in inputs]))
    for chunk in _chunks(inputs, max(1, min(_CHUNK, _HELD // max(1, per_example)))):
        seen = [graph.activations(chunk) for graph in graphs]
        sums = [_moments(*pair) for pair in zip(*seen, strict=True)]
        totals = sums if totals is None else [[*map(np.add, *pair)] for pair in zip(totals, sums, strict=True)]
    graph = graphs[1]
    correlations = {group: np.zeros((graph.sizes[group],) * 2) for group in graph.free()}
    for group, sums in zip(graph.held, totals, strict=True):
        if graph.root(group) in correlations:
            correlations[graph.root(group)] += _correlation(*sums)
    return {group: _assigned(matrix) for group, matrix in correlations.items()}


def _moments(ours, theirs) -> list:
    """Number, sums, sums of squares and of products of two nets' units, whose last axes count the units."""
    a, b = (np.asarray(array, np.float64).reshape(-1, array.shape[-1]) for array in (ours, theirs))
    return [len(a), a.sum(axis=0), b.sum(axis=0), (a**2).sum(axis=0), (b**2).sum(axis=0), a.T @ b]


def _correlation(count, sum_a, sum_b, square_a, square_b, product) -> np.ndarray:
    """Correlations from `_moments`; 0 for a unit that is constant up to rounding."""
    deviations = []
    for total, square in ((sum_a, square_a), (sum_b, square_b)):
        variance = square / count - (total / count) ** 2
        deviations.append(np.where(variance > 1e-12 * square / count, np.sqrt(np.maximum(variance, 0)), np.inf))
    return (product / count - np.outer(sum_a, sum_b) / count**2) / np.outer(*deviations)


def _assigned(similarity) -> np.ndarray:
    """For each unit of model_a the unit of model_b that takes its place, for the largest sum of similarities."""
    return scipy.optimize.linear_sum_assignment(similarity, maximize=True)[1]


def _in_the_layers_of(model_b, model_a, inputs) -> keras.Model:
    """A copy of model_b with the variables of model_a; ValueError unless it computes what model_a does.

    Both nets have the same graph then, also where one of them was built with layers that do nothing.
    """
    shapes = [[(tuple(v.shape), v.trainable) for v in model.variables] for model in (model_a, model_b)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"the models differ in architecture: {model_a.name!r} has variables of shapes "
            f"{[shape for shape, _ in shapes[0]]}, {model_b.name!r} of {[shape for shape, _ in shapes[1]]} (or other "
            "ones are trainable); units can be matched in equal ones only"
        )
    twin = _with_variables(model_b, [np.asarray(variable) for variable in model_a.variables], inputs)
    if not all(checks.same_outputs(_outputs(twin, chunk), _outputs(model_a, chunk)) for chunk in _chunks(inputs)):
        raise ValueError(
            f"the models differ in architecture: {model_b.name!r} with the weights of {model_a.name!r} computes "
            "another function than that (other activations?); units can be matched in equal ones only"
        )
    return twin


def _with_variables(model, values, inputs) -> keras.Model:
    """A copy of the model with these values of all its variables."""
    x = keras.tree.pack_sequence_as(functional(model).input, next(_chunks(inputs, _EXAMPLES)))
    twin = models.with_parameters(model, models.flat_parameters(model), x)
    for variable, value in zip(twin.variables, values, strict=True):
        variable.assign(value)
    return twin


def _outputs(model, arrays) -> list[np.ndarray]:
    """All outputs in inference mode; no state of the model changes."""
    with keras.StatelessScope():
        outputs = model(keras.tree.pack_sequence_as(functional(model).input, arrays), training=False)
    return [keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(outputs)]


def _chunks(inputs, size=_CHUNK):
    """Yields the inputs, `size` examples at a time."""
    for start in range(0, len(inputs[0]), size):
        yield [array[start : start + size] for array in inputs]


def _inputs(model, x) -> list[np.ndarray]:
    """The checked inputs in the order in which the model has them."""
    x, _, _ = read(model, x)
    tensors = functional(model).inputs
    names = [tensor.name for tensor in tensors]
    arrays = [x[name] for name in names] if isinstance(x, dict) and set(x) == set(names) else keras.tree.flatten(x)
    return [array.astype(tensor.dtype) for array, tensor in zip(arrays, tensors, strict=True)]


def _random_inputs(model) -> list[np.ndarray]:
    """Random inputs: normal ones, of integer inputs zeros and ones."""
    rng, found = np.random.default_rng(0), []
    for tensor in functional(model).inputs:
        shape = (_EXAMPLES, *(size or _FREE for size in tensor.shape[1:]))
        array = rng.standard_normal(shape) if "float" in tensor.dtype else rng.integers(0, 2, shape)
        found.append(array.astype(tensor.dtype))
    return found
