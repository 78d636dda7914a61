"""Compiled programs of which all arguments but the last are fixed: what does not depend on the last is computed once.

A product v ↦ Hv differentiates the gradient along v. The forward pass and the gradient itself are the same for every
v: their intermediate values, such as activations, are kept, and each further product is one more backward pass. For a
net whose first layer is by far the largest that is the work of one gradient; a whole product is that of two.

The graph of the program is divided into two compiled functions. Every operation that depends on the last argument goes
into the second, every other into the first, whose results are kept. What depends on nothing but shapes is in both, so
that TensorFlow computes it when it compiles.
"""

import functools
import weakref
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

_divisions: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # of concrete functions, which programs keep

# Control flow of TensorFlow 1, whose constants run or not by the order of operations; writes into what is kept.
_UNFIT = ("Switch", "Merge", "Enter", "Exit", "NextIteration", "LoopCond", "Ref", "Inplace")
_ROUNDING = 1e-3  # relative; other results are off by far more


class _Division(NamedTuple):
    """A program in two.

    Attributes:
        bytes: of the tensors that the first half makes for the second.
        halves: compiles both, once. The first takes the fixed arguments and returns a list of the tensors that the
            second needs; the second takes the last argument and these, and returns a list of the result.
    """

    bytes: int
    halves: Callable[[], tuple[Callable, Callable]]


def fix(forms: list, fixed: list[tuple], memory: float, verify: bool = True) -> list[Callable]:
    """Functions of the last argument alone, each the same as its program up to rounding.

    The first half of each runs in its first call.

    Args:
        forms: concrete functions with one tensor as a result.
        fixed: for each of them all arguments but the last.
        memory: bytes that may be kept for all of them together. If they take more, each call runs the whole program. So
            it does if an operation has side effects, if the result does not depend on the last argument, or if
            something that has no fixed size or is no array, such as the lists of a loop, would have to be kept.
        verify: run the whole program too in the first call of each, and in all calls where the results differ.
    """
    divisions = [_divide(form) for form in forms]
    if None in divisions or sum(division.bytes for division in divisions) > memory:
        return [functools.partial(form, *given) for form, given in zip(forms, fixed, strict=True)]
    return [_after_first(*of_one, verify) for of_one in zip(forms, divisions, fixed, strict=True)]


def _after_first(form, division, given, verify):
    """The second half of a program as a function of its last argument; the first half runs in the first call."""
    run = None

    def call(last):
        nonlocal run
        if run is None:
            first, second = division.halves()
            kept = first(*(leaf for leaf in tf.nest.flatten(given) if leaf is not None), *form.captured_inputs)
            run = functools.partial(_only, second, kept)
            if verify and not _agree(run(last), form(*given, last)):
                run = functools.partial(form, *given)
        return run(last)

    return call


def _only(second, kept, last):
    """The result of the second half."""
    return second(last, *kept)[0]


def _agree(found, whole) -> bool:
    """Whether two results are the same up to rounding; not if they are not finite."""
    return bool(tf.norm(found - whole) <= _ROUNDING * tf.norm(whole))


def _last(form):
    """The last argument among the inputs of a concrete function, which end with what it captures."""
    return form.inputs[len(form.inputs) - len(form.captured_inputs) - 1]


def _divide(form) -> _Division | None:
    """Divides a concrete function, once; None if that cannot be done."""
    if form not in _divisions:
        _divisions[form] = _divided(form.graph, _last(form))
    return _divisions[form]


def _divided(graph, last) -> _Division | None:
    """Divides the operations of a graph; None if something has side effects or cannot be kept."""
    arguments = {tensor.op for tensor in graph.inputs}
    operations = [operation for operation in graph.get_operations() if operation not in arguments]
    shapes, known, depends = {}, set(), {last.op}
    for operation in operations:
        if operation.type in ("Shape", "ShapeN") and all(t.shape.is_fully_defined() for t in operation.inputs):
            known.add(operation)
            pairs = zip(operation.outputs, operation.inputs, strict=True)
            shapes |= {output.name: (tensor.shape.as_list(), output.dtype) for output, tensor in pairs}
        elif any(tensor.op in depends for tensor in operation.inputs):
            depends.add(operation)
        elif operation.type == "Const" or (operation.inputs and all(t.op in known for t in operation.inputs)):
            known.add(operation)
    read = [tensor for operation in _needed(operations, depends, graph.outputs) for tensor in operation.inputs]
    kept = {tensor.name: tensor for tensor in read if tensor.op not in depends | known}
    made = [tensor for tensor in kept.values() if tensor.op not in arguments]
    if (
        any(operation.op_def.is_stateful or operation.type.startswith(_UNFIT) for operation in operations)
        or not all(tensor.dtype.is_numpy_compatible and tensor.shape.is_fully_defined() for tensor in made)
        or graph.outputs[0].op not in depends - arguments
    ):
        return None
    given = [tensor for tensor in graph.inputs if tensor is not last]
    before, after = set(operations) - depends, (depends | known) - arguments

    @functools.cache
    def halves():
        whole, between = graph.as_graph_def(), [*kept.values()]
        first = _function(whole, _needed(operations, before, between), shapes, given, between)
        needed = _needed(operations, after, graph.outputs)
        return first, _function(whole, needed, shapes, [last, *between], graph.outputs)

    return _Division(sum(tensor.shape.num_elements() * tensor.dtype.size for tensor in made), halves)


def _needed(operations, chosen, tensors) -> list:
    """Those of the chosen operations that some tensors are computed from."""
    sources, found = {tensor.op for tensor in tensors}, []
    for operation in reversed(operations):
        if operation in sources and operation in chosen:
            found.append(operation)
            sources |= {tensor.op for tensor in operation.inputs}
    return found


def _function(whole, operations, shapes, takes, gives) -> Callable:
    """A compiled function of some operations of a graph.

    Args:
        whole: the graph, as a GraphDef. The order that it prescribes for operations is left out: without side effects
            it only delays some, to save memory.
        operations: that are to be in the function.
        shapes: name of a tensor that holds the shape of another -> this shape and the dtype of the tensor.
        takes: tensors of the graph that are its arguments.
        gives: tensors in the list that it returns.
    """
    names = {
        operation.name for operation in operations if not {tensor.name for tensor in operation.outputs} & {*shapes}
    }
    part = tf.compat.v1.GraphDef(versions=whole.versions, library=whole.library)
    for node in whole.node:
        if node.name in names:
            inputs = [name for name in node.input if not name.startswith("^")]
            node.ClearField("input")
            node.input.extend(inputs)
            node.attr.pop("_class", None)  # it names operations that are to be on one device, perhaps of the other half
            part.node.append(node)
    read = {name if ":" in name else f"{name}:0" for node in part.node for name in node.input}
    taken, given = [tensor.name for tensor in takes], [tensor.name for tensor in gives]
    made = [name for name in given if name not in taken]

    def run(*values):
        found = dict(zip(taken, values, strict=True))
        known = {name: tf.constant(*shape) for name, shape in shapes.items()} | found
        inputs = {name: tensor for name, tensor in known.items() if name in read}
        found |= zip(made, tf.graph_util.import_graph_def(part, inputs, made, name=""), strict=True)
        return [found[name] for name in given]

    arguments = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in takes]
    return tf.function(run, autograph=False).get_concrete_function(*arguments)
