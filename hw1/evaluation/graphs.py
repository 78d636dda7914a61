"""What the graph of a compiled model tells: variables it reads past its arguments, its last operation, its memory.

It also tells which operations TensorFlow may differentiate wrongly (`doubtful`).
"""

import inspect
from typing import NamedTuple

import keras
import tensorflow as tf
from tensorflow.python.framework import ops

_PASSED = {"Identity", "Cast", "Reshape", "Squeeze", "ExpandDims", "Transpose", "StopGradient", "Pack", "Unpack"}
LINEAR = ("MatMul", "BatchMatMulV2", "Einsum", "Conv2D")  # of layers; the other operand is a kernel
_RANDOM = ("Random", "Multinomial", "TruncatedNormal", "Parameterized", "StatefulUniform", "StatefulStandard", "Rng")
# Operations whose second derivatives `tests/measures/test_any_net.py` has held against differences of gradients.
_VERIFIED = frozenset(
    """
    AddN AddV2 BatchMatMulV2 BiasAdd BiasAddGrad BroadcastGradientArgs BroadcastTo Cast ConcatOffset ConcatV2
    Const Conv2D Conv2DBackpropFilter Conv2DBackpropInput DepthwiseConv2dNative
    DepthwiseConv2dNativeBackpropFilter DepthwiseConv2dNativeBackpropInput DivNoNan DynamicStitch Einsum Elu
    EluGrad Equal Exp ExpandDims Expm1 Fill Floor FloorDiv FloorMod GatherV2 Greater GreaterEqual Identity
    IdentityN If InvertPermutation IsFinite LeakyRelu LeakyReluGrad Less LessEqual Log LogicalAnd LogicalNot
    LogicalOr MatMul Max Maximum Mean Minimum Mul Neg NoOp NotEqual OneHot OnesLike Pack Pad PartitionedCall
    Placeholder Pow Prod Range Rank RealDiv Reciprocal ReciprocalGrad Relu Relu6 Relu6Grad ReluGrad Reshape Rsqrt
    RsqrtGrad
    Select SelectV2 Shape ShapeN Sigmoid SigmoidGrad Sin Size Slice Softmax Softplus SplitV Square Squeeze
    StatelessIf StatelessWhile StopGradient StridedSlice Sub Sum Tanh Tile Transpose UnsortedSegmentSum While
    ZerosLike
    """.split()  # noqa: SIM905
)


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
        """Reads the graph; raises ValueError if it reads variables past its arguments, or draws random numbers.

        Args:
            model: the Keras model.
            run: its compiled form, which takes parameters, state and x.
            parameters: values of the trainable variables, a list of tensors.
            state: values of the other variables, likewise.
            x: inputs of some examples, as tensors.
        """
        function = run.get_concrete_function(parameters, state, x)
        _check_reads(model, function)
        _check_random(model, function.graph)
        _check_precision(model, function.graph)
        count = len(tf.nest.flatten(x)[0])
        if count == 1:
            count, twice = 2, tf.nest.map_structure(lambda array: tf.repeat(array, 2, 0), x)
            more = run.get_concrete_function(parameters, state, twice)
        else:
            more = function
        one = run.get_concrete_function(parameters, state, tf.nest.map_structure(lambda array: array[:1], x))
        return cls(_last_operation(function), max(0, _bytes(more.graph) - _bytes(one.graph)) // (count - 1))


def operations(run, *arguments) -> list:
    """The operations of a compiled function, with those of the functions and loops inside of it.

    Args:
        run: a tf.function.
        arguments: for the call, as tensors.

    Returns:
        A list of tf.Operation.
    """
    return _all_operations(run.get_concrete_function(*arguments).graph)


def _all_operations(graph, outer=None) -> list:
    found, outer = list(graph.get_operations()), outer or graph
    for name in {name: None for operation in found for name in _functions(operation)}:
        # TensorFlow keeps a function that another calls in the graph of that one, or in the outermost alone.
        found += _all_operations((graph._get_function(name) or outer._get_function(name)).graph, outer)
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


def _check_random(model, graph) -> None:
    """Raises ValueError if the graph draws random numbers, unless from a constant seed."""
    for operation in _all_operations(graph):
        seeded = operation.type == "StatelessRandomGetKeyCounter" and tf.get_static_value(operation.inputs[0]) is None
        if seeded or operation.type.startswith(_RANDOM):
            raise ValueError(
                f"model {model.name!r} draws random numbers in inference mode ({operation.name}), so that no two calls "
                "give the same loss: draw them if training is True only"
            )


def _check_precision(model, graph) -> None:
    """Raises ValueError if something is computed in half precision, within a layer whose policy is another."""
    for operation in _all_operations(graph):
        if any(tensor.dtype in (tf.float16, tf.bfloat16) for tensor in operation.outputs):
            raise ValueError(
                f"model {model.name!r} computes {operation.name} in half precision, which is too coarse for second "
                "derivatives: cast to float32 there"
            )


def doubtful(operations) -> str | None:
    """The type of the first operation whose derivatives must be verified before they are believed; None without one.

    These are operations that stop gradients or have gradients of their own (`tf.custom_gradient`), as for straight-
    through estimators, and types whose second derivative no test has verified.

    Args:
        operations: of the program that differentiates twice, from `operations`.
    """
    for operation in operations:
        own = "_gradient_op_type" in operation.node_def.attr and operation.get_attr("_gradient_op_type").decode()
        if (operation.type == "StopGradient" and not _shifts(operation)) or (own and not _is_swish(own)):
            return "tf.custom_gradient" if own else "tf.stop_gradient"
    return next((operation.type for operation in operations if operation.type not in _VERIFIED), None)


def _shifts(operation) -> bool:
    """Whether an operation stops the gradient of the shift in `tf.reduce_logsumexp`, which has no effect."""
    source = operation.inputs[0].op
    return source.type == "SelectV2" and source.inputs[0].op.type == "IsFinite" and source.inputs[1].op.type == "Max"


def _is_swish(name: str) -> bool:
    """Whether a custom gradient is that of `tf.nn.silu`, the only one in Keras's layers, which is correct."""
    gradient = ops.gradient_registry.lookup(name)
    for inner in ("tape_grad_fn", "grad_fn"):
        gradient = inspect.getclosurevars(gradient).nonlocals.get(inner)
        if gradient is None:
            return False
    return gradient.__module__ == "tensorflow.python.ops.nn_impl"


def _handle(variable: keras.Variable):
    return getattr(variable.value, "handle", None)


def _last_operation(function) -> str:
    """The type of the operation that gives the output, behind operations that only move numbers; "" for several.

    Of a linear layer it is the product, with or without a bias.
    """
    outputs = function.graph.outputs
    if len(outputs) != 1:
        return ""
    operation = _source(outputs[0])
    if operation.type in ("AddV2", "BiasAdd"):
        summands = [_source(summand).type for summand in operation.inputs]
        if "Placeholder" in summands and (linear := set(summands) & set(LINEAR)):
            return linear.pop()
    return operation.type


def _source(tensor):
    """The operation that computes a tensor, behind operations that only move numbers."""
    operation = tensor.op
    while operation.type in _PASSED and operation.inputs:
        operation = operation.inputs[0].op
    return operation


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
