"""What training and every measure share: the loss, checks of the input, and a Keras model as a pure function.

A built Keras model is used as ``forward(parameters, state, x)``: its trainable variables as a list of tensors,
its other variables as a second list, inference mode (dropout off, batch normalisation with its stored
statistics). A *program* is a function ``program(forward, loss)`` that returns what is to be compiled. Compiled
programs are kept per architecture, so that fifty nets of one shape are compiled once.
"""

import inspect
import json
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import NamedTuple
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

# Examples that a compiled call takes at once. A thousand keep a convolutional net's second derivatives under 1 GB;
# dense nets have small activations and are faster in large pieces.
CHUNK, DENSE_CHUNK = 1000, 5000


def cross_entropy(y, logits):
    """Softmax cross-entropy per example, as ln(1 + e^z), z the other logits' logarithmic sum less the label's logit.

    The usual form, all logits' logarithmic sum less the label's, has the slope p − 1 for the label. In float32 that is
    0 once the loss is below 6e-8, as it is of a tenth of the test images after training with small batches: measures
    and attacks would leave out their labels.

    Args:
        y: integer labels, shape [n].
        logits: shape [n, classes].

    Returns:
        Tensor of shape [n], in nats, of the logits' dtype; right to rounding for losses above its smallest number.
    """
    own = tf.one_hot(y, logits.shape[-1], on_value=True, off_value=False, dtype=tf.bool)
    others = tf.reduce_logsumexp(tf.where(own, logits.dtype.min, logits), axis=-1)
    return tf.nn.softplus(others - tf.reduce_sum(tf.where(own, logits, 0), axis=-1))


def per_example(loss) -> Callable:
    """The loss as a function ``(y, outputs) -> [n]``.

    Args:
        loss: None for the softmax cross-entropy of logits; a function such as
            ``keras.losses.mean_squared_error``; or a ``keras.losses.Loss``, whose reduction is left aside.

    Raises:
        TypeError: if it is none of these.
    """
    if loss is None:
        return cross_entropy
    if isinstance(loss, keras.losses.Loss):
        return loss.call
    if callable(loss):
        return loss
    raise TypeError(f"loss must be a function (y, outputs) -> [n] or a keras.losses.Loss, not {loss!r}")


class Example(NamedTuple):
    """Checked evaluation examples: x of shape [n, ...], y of shape [n] or [n, ...], and how many to take at once."""

    x: np.ndarray
    y: np.ndarray | None
    chunk: int


def check_model(model) -> None:
    """Raises TypeError or ValueError unless `model` is a built Keras model with finite weights and one input."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"model must be a keras.Model, not {type(model).__name__}")
    if not model.built:
        raise ValueError(f"model {model.name!r} is not built: give it an Input layer or call it on data once")
    if not model.trainable_variables:
        raise ValueError(f"model {model.name!r} has no trainable variables")
    if len(getattr(model, "inputs", None) or [None]) != 1:
        raise ValueError(f"model {model.name!r} has {len(model.inputs)} inputs; one is needed")
    for variable in model.variables:
        value = keras.ops.convert_to_numpy(variable)
        if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
            raise ValueError(f"model {model.name!r} has non-finite values in {variable.path}; did training diverge?")


def check(model, x, y=None, loss=None) -> Example:
    """Checks a model and the examples that it is to be measured on.

    Args:
        model: a built Keras model with one input and one output.
        x: inputs, shape [n, ...] as the model takes them.
        y: targets, shape [n] of integers for the cross-entropy; None if the measure needs none.
        loss: as for `per_example`. Without one the outputs must be logits.

    Returns:
        The examples as NumPy arrays, labels as int32.

    Raises:
        TypeError, ValueError: naming what is wrong and what would be right.
    """
    check_model(model)
    x = np.asarray(x)
    if x.ndim == 0 or len(x) == 0:
        raise ValueError("x holds no examples; at least one is needed")
    if not (np.issubdtype(x.dtype, np.number) or x.dtype == bool) or not np.isfinite(x).all():
        raise ValueError("x must hold finite numbers")
    shape = getattr(model, "input_shape", None)
    if shape is not None and (
        len(shape) != x.ndim or any(a not in (None, b) for a, b in zip(shape[1:], x.shape[1:], strict=True))
    ):
        expected = "[" + ", ".join(["n", *map(str, shape[1:])]) + "]"
        raise ValueError(f"x has shape {list(x.shape)}, but model {model.name!r} takes {expected}")
    outputs = model(x[:32], training=False)
    if isinstance(outputs, list | tuple | dict):
        raise ValueError(f"model {model.name!r} has {len(outputs)} outputs; one is needed")
    outputs = np.asarray(outputs).astype(model.trainable_variables[0].dtype)
    if outputs.ndim == 0 or len(outputs) != len(x[:32]):
        raise ValueError(f"model {model.name!r} must give one output per example; it gave shape {outputs.shape}")
    if loss is None:
        _check_logits(model, outputs)
    if y is not None:
        y = _check_targets(y, len(x), outputs, loss)
    return Example(x, y, DENSE_CHUNK if jit_compile(model) else CHUNK)


def _check_logits(model, outputs) -> None:
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        raise ValueError(
            f"model {model.name!r} must give logits [n, classes] of two classes or more; it gave "
            f"{list(outputs.shape)}. For other outputs give a loss"
        )
    if (outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=1e-3):
        raise ValueError(
            f"model {model.name!r} gives probabilities (its outputs sum to 1), not logits: "
            "leave out the softmax of its last layer"
        )


def _check_targets(y, n, outputs, loss) -> np.ndarray:
    y = np.asarray(y)
    if y.shape[:1] != (n,):
        raise ValueError(f"y has shape {list(y.shape)}; one target for each of the {n} examples is needed")
    if loss is not None:
        if not np.isfinite(y).all():
            raise ValueError("y must hold finite numbers")
        y = y.astype(outputs.dtype) if np.issubdtype(y.dtype, np.floating) else y
        values = per_example(loss)(tf.constant(y[: len(outputs)]), tf.constant(outputs))
        if tuple(values.shape) != (len(outputs),):
            raise ValueError(
                f"loss must give one value per example; for {len(outputs)} examples, y of shape {list(y.shape)} and "
                f"outputs of shape {list(outputs.shape)} it gave shape {list(values.shape)}"
            )
        return y
    if y.ndim != 1:
        raise ValueError(f"y must be integer labels of shape [{n}], not {list(y.shape)}")
    if not np.issubdtype(y.dtype, np.integer):
        raise TypeError(f"y must be integer labels, not {y.dtype}; for other targets give a loss")
    classes = outputs.shape[-1]
    if y.min() < 0 or y.max() >= classes:
        wrong = int(y.min() if y.min() < 0 else y.max())
        raise ValueError(f"label {wrong} is outside the model's {classes} classes 0 ... {classes - 1}")
    return y.astype(np.int32)


def chunks(example: Example, size: int | None = None) -> Iterator[tuple]:
    """Yields (x, y) tensors of at most `size` examples (None: as many as suit the model); the last may be shorter."""
    size = example.chunk if size is None else size
    if size < 1:
        raise ValueError(f"chunk_size must be at least 1, not {size!r}")
    for start in range(0, len(example.x), size):
        part = slice(start, start + size)
        yield tf.constant(example.x[part]), None if example.y is None else tf.constant(example.y[part])


def variables(model) -> tuple[list, list]:
    """The model's trainable and its other variables as two lists of tensors: copies, so later training is not seen."""
    return (
        [tf.identity(tf.convert_to_tensor(v)) for v in model.trainable_variables],
        [tf.identity(tf.convert_to_tensor(v)) for v in model.non_trainable_variables],
    )


def flatten(tensors) -> tf.Tensor:
    """One flat vector of a list of tensors, in order."""
    return tf.concat([tf.reshape(t, [-1]) for t in tensors], axis=0)


def unflatten(vector, like) -> list:
    """Splits a flat vector into tensors of the shapes of `like`, in order."""
    parts = tf.split(vector, [t.shape.num_elements() for t in like])
    return [tf.reshape(part, t.shape) for part, t in zip(parts, like, strict=True)]


# Layers that XLA compiles well on a CPU. Convolutions are 40 times slower under XLA there than in a plain
# tf.function; a layer that is not listed takes the plain way too, which every layer can.
_COMPILES_WELL = {
    *("InputLayer", "Flatten", "Reshape", "Dense", "Activation", "ReLU", "LeakyReLU", "ELU", "PReLU", "Softmax"),
    *("Dropout", "BatchNormalization", "LayerNormalization", "Rescaling", "Add", "Subtract", "Multiply"),
    *("Average", "Concatenate", "Identity"),
}
_CONFIGURED = _COMPILES_WELL | {
    *("Conv1D", "Conv2D", "DepthwiseConv2D", "MaxPooling2D", "AveragePooling2D", "GlobalAveragePooling2D"),
    *("GlobalMaxPooling2D", "ZeroPadding2D", "GroupNormalization"),
}


def all_layers(model) -> Iterator:
    """The layers of a model, and those of the models in it."""
    for layer in getattr(model, "layers", []):
        yield layer
        yield from all_layers(layer)


def consists_of(model, names: set[str]) -> bool:
    """Whether `model` is a Sequential or Functional model of Keras layers of these names and of Keras's functions."""
    nodes = model.layers if isinstance(model, keras.Sequential) else getattr(model, "operations", [None])
    return type(model).__module__.startswith("keras.") and all(
        type(node).__module__.startswith("keras.")
        and type(node).__name__ in names
        and not any(_foreign(value) for value in vars(node).values())
        for node in nodes
    )


def _foreign(value) -> bool:
    """Whether a layer's attribute may hold code that the layer's configuration does not tell apart."""
    module = str(getattr(value, "__module__", None))
    return isinstance(value, keras.layers.Layer) or (callable(value) and not module.startswith("keras."))


def jit_compile(model) -> bool:
    """Whether `model` is better compiled by XLA (nets of matrix products) or by a plain tf.function (the rest)."""
    return consists_of(model, _COMPILES_WELL)


def architecture(model) -> str | int:
    """A key that two models share only if they compute the same function of their variables.

    It is the model's configuration where that says everything: a Sequential or Functional model of Keras's own
    layers and functions. Otherwise it is the model's identity.
    """
    if not consists_of(model, _CONFIGURED):
        return id(model)
    return json.dumps([_without_seeds(json.loads(model.to_json())), [v.trainable for v in model.variables]])


def clone(model, convert: Callable | None = None) -> keras.Model:
    """A copy of a Sequential or Functional model, each layer made by `convert`, with initial weights of no meaning."""
    generator = random.getstate()  # from which Keras draws seeds for those
    twin = keras.models.clone_model(model, clone_function=convert)
    random.setstate(generator)
    twin.dtype_policy = model.dtype_policy
    for variable, original in zip(twin.variables, model.variables, strict=True):
        variable.trainable = original.trainable
    return twin


def _without_seeds(node):
    """A configuration without what decides only the initial weights and the masks of dropout."""
    if isinstance(node, dict):
        return {k: _without_seeds(v) for k, v in node.items() if k != "seed" and not k.endswith("_initializer")}
    return [_without_seeds(v) for v in node] if isinstance(node, list) else node


_programs: OrderedDict = OrderedDict()
_MOST_PROGRAMS = 64


def remember(key, make):
    """What `make()` returned for `key`; the 64 most recently used are kept."""
    if key not in _programs:
        _programs[key] = make()
    _programs.move_to_end(key)
    while len(_programs) > _MOST_PROGRAMS:
        _programs.popitem(last=False)
    return _programs[key]


def _moments(x, axes, shift=None, keepdims=False, name=None):
    """Mean and variance as `tf.nn.moments` gives them, but right to all orders of differentiation.

    TensorFlow's own holds the mean constant inside the variance, which is right for the first derivative only:
    Hessians of nets with layer or group normalisation would be wrong.
    """
    mean = tf.reduce_mean(x, axes, keepdims=True)
    variance = tf.reduce_mean((x - mean) ** 2, axes, keepdims=keepdims)
    return (mean if keepdims else tf.squeeze(mean, axes)), variance


def compiled(program, model, loss=None) -> Callable:
    """The compiled ``program(forward, loss)`` for models of this architecture, as a plain tf.function.

    XLA gains nothing here: a measure is a few large products, whose compilation would take longer.

    Args:
        program: a module-level function ``program(forward, loss)`` that returns the function to compile, where
            ``forward(parameters, state, x)`` gives the model's outputs in inference mode.
        model: a built Keras model; its present weights play no part.
        loss: as for `per_example`.
    """

    def make():
        net = clone(model) if consists_of(model, _CONFIGURED) else model  # later changes of `model` play no part either

        mode = {"training": False} if "training" in inspect.signature(net.call).parameters else {}

        def forward(parameters, state, x):
            with mock.patch.object(tf.nn, "moments", _moments):
                outputs, _ = net.stateless_call(parameters, state, x, **mode)
            return tf.cast(outputs, parameters[0].dtype)

        return tf.function(program(forward, per_example(loss)), autograph=False)  # for errors as they are

    return remember((program, architecture(model), loss), make)


def _totals(forward, loss):
    def run(parameters, state, x, y):
        outputs = forward(parameters, state, x)
        if y.dtype.is_integer and y.shape.rank == 1 and outputs.shape.rank == 2 and outputs.shape[1] > 1:
            correct = tf.reduce_sum(tf.cast(tf.argmax(outputs, axis=-1) == tf.cast(y, tf.int64), tf.int32))
        else:
            correct = tf.constant(-1)
        return tf.reduce_sum(loss(y, outputs)), correct

    return run


def evaluate(model, x, y, loss=None) -> tuple[float, float]:
    """Mean loss and accuracy over all examples, in inference mode.

    Returns:
        (loss, accuracy); accuracy is NaN unless y holds integer labels, shape [n], of two or more classes.
    """
    example = check(model, x, y, loss)
    return evaluate_at(*variables(model), model, example, loss)


def evaluate_sets(model, data, loss=None) -> dict[str, float]:
    """Loss and accuracy on both sets of `data`: train_loss, train_accuracy, test_loss, test_accuracy."""
    found = {}
    for part in ("train", "test"):
        values = evaluate(model, getattr(data, f"x_{part}"), getattr(data, f"y_{part}"), loss)
        found |= dict(zip((f"{part}_loss", f"{part}_accuracy"), values, strict=True))
    return found


def evaluate_at(parameters, state, model, example: Example, loss=None) -> tuple[float, float]:
    """As `evaluate`, for other values of the model's variables and checked examples."""
    run, n = compiled(_totals, model, loss), len(example.x)
    totals = np.array([[float(v) for v in run(parameters, state, *part)] for part in chunks(example)])
    total_loss, correct = totals.sum(axis=0)
    return total_loss / n, correct / n if correct >= 0 else float("nan")


def _value_and_gradient(forward, loss):
    def run(parameters, state, x, y):
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            total = tf.reduce_sum(loss(y, forward(parameters, state, x)))
        return total, flatten(tape.gradient(total, parameters, unconnected_gradients="zero"))

    return run


def objective(model, x, y, loss=None) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """The mean loss and its gradient as a function of the flat parameter vector, as optimisers want it.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: as for `per_example`.

    Returns:
        A function from θ (shape [parameters]) to (L(θ), ∇L(θ)), both float64, computed in the model's dtype.
    """
    example = check(model, x, y, loss)
    parameters, state = variables(model)
    run, parts = compiled(_value_and_gradient, model, loss), list(chunks(example))

    def value_and_gradient(theta):
        at = unflatten(tf.constant(theta, parameters[0].dtype), parameters)
        value, gradient = 0.0, 0.0
        for x_part, y_part in parts:
            total, slope = run(at, state, x_part, y_part)
            value, gradient = value + float(total), gradient + slope.numpy().astype(np.float64)
        return value / len(example.x), gradient / len(example.x)

    return value_and_gradient
