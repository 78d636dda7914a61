"""What the graph of a compiled model tells: variables it reads past its arguments, its last operation, its memory."""

from typing import NamedTuple

import keras
import tensorflow as tf

_PASSED = {"Identity", "Cast", "Reshape", "Squeeze", "ExpandDims", "Transpose", "StopGradient", "Pack", "Unpack"}


class Facts(NamedTuple):
    """What the graph of a compiled model tells.

    Attributes:
        last: the type of the operation that gives the outputs, such as "Softmax".
        bytes_per_example: of all tensors that a forward pass makes for one more example.
    """

    last: str
    bytes_per_example: int

    @classmethod
    def of(cls, model, run, parameters, state, x) -> "Facts":
        """Reads the graph, and raises ValueError if the compiled model reads variables past its arguments.

        Args:
            model: the Keras model.
            run: its compiled form, which takes parameters, state and x.
            parameters: values of the trainable variables, a list of tensors.
            state: values of the other variables, likewise.
            x: inputs of some examples, as tensors.
        """
        function = run.get_concrete_function(parameters, state, x)
        _check_reads(model, function)
        one, two = (
            run.get_concrete_function(
                parameters, state, tf.nest.map_structure(lambda a, n=n: tf.repeat(a[:1], n, 0), x)
            )
            for n in (1, 2)
        )
        return cls(_last_operation(function), max(0, _bytes(two.graph) - _bytes(one.graph)))


def operations(run, *arguments) -> list:
    """The operations of a compiled function, with those of the functions and loops inside of it.

    Args:
        run: a tf.function.
        arguments: for the call, as tensors.

    Returns:
        A list of tf.Operation.
    """
    return _all_operations(run.get_concrete_function(*arguments).graph)


def _all_operations(graph) -> list:
    found, names = list(graph.get_operations()), set()
    for operation in list(found):
        for name in _functions(operation):
            if name not in names:
                names.add(name)
                found += _all_operations(graph._get_function(name).graph)
    return found


def _functions(operation):
    """The names of the functions that an operation calls: the body of a loop, a branch, a function."""
    for value in operation.node_def.attr.values():
        if value.HasField("func"):
            yield value.func.name
        for function in value.list.func:
            yield function.name


def _check_reads(model, function) -> None:
    """Raises ValueError if a concrete function reads variables past its arguments: then it would ignore these."""
    own = {id(_handle(variable)): variable.path for variable in model.variables}
    constant = {id(v.handle) for v in function.graph.variables if not v.trainable}
    for tensor in function.captured_inputs:
        if tensor.dtype != tf.resource or id(tensor) in constant - set(own):
            continue
        data = getattr(tensor, "_handle_data", None)
        if data is None or not data.shape_and_type or not tf.as_dtype(data.shape_and_type[0].dtype).is_floating:
            continue
        name = own.get(id(tensor), "a variable that Keras does not know")
        raise ValueError(
            f"model {model.name!r} reads {name} inside a function that was compiled before, or past Keras: a measure "
            "could not change it. Make weights by add_weight, and leave out saved or concrete functions"
        )


def _handle(variable: keras.Variable):
    return getattr(variable.value, "handle", None)


def _last_operation(function) -> str:
    """The type of the operation that gives the output, behind operations that only move numbers; "" for several."""
    outputs = function.graph.outputs
    if len(outputs) != 1:
        return ""
    operation = outputs[0].op
    while operation.type in _PASSED and operation.inputs:
        operation = operation.inputs[0].op
    return operation.type


def _bytes(graph) -> int:
    """The bytes of all tensors of a graph, those of loops as often as they are run."""
    total = 0
    for operation in graph.get_operations():
        for tensor in operation.outputs:
            if tensor.shape.is_fully_defined() and tensor.dtype not in (tf.resource, tf.variant, tf.string):
                total += tensor.shape.num_elements() * tensor.dtype.size
        if "While" in operation.type:
            (body,) = [name for name in _functions(operation) if "body" in name][:1] or [None]
            if body:
                total += _bytes(graph._get_function(body).graph) * _turns(operation)
    return total


def _turns(loop) -> int:
    """How often a loop is run, by its first constant argument that may be the most: 100 if nothing tells."""
    for tensor in loop.inputs:
        value = tf.get_static_value(tensor) if tensor.dtype == tf.int32 and tensor.shape.rank == 0 else None
        if value is not None and value > 1:
            return int(value)
    return 100
