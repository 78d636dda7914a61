"""Many dense nets as one: their layers with a leading axis for the members."""

import keras
import tensorflow as tf

from hw1 import evaluation

_WEIGHTLESS = {
    "InputLayer",
    "Flatten",
    "Reshape",
    "Activation",
    "ReLU",
    "LeakyReLU",
    "ELU",
    "Rescaling",
    "Add",
    "Subtract",
    "Multiply",
    "Average",
    "Concatenate",
    "Identity",
}


def stackable(model) -> bool:
    """Whether `model` consists of plain dense layers, dropout and layers without weights, all trainable."""
    if not all(isinstance(part, keras.layers.Layer) for part in getattr(model, "operations", [])):
        return False  # arithmetic such as x * 2
    return evaluation.consists_of(model, _WEIGHTLESS | {"Dense", "Dropout"}) and all(
        layer.trainable
        and layer.dtype_policy.name in ("float32", "float64")
        and not any(value for name, value in vars(layer).items() if name.endswith(("_regularizer", "_constraint")))
        and getattr(layer, "noise_shape", None) is None
        for layer in model.layers
    )


class StackedDense(keras.layers.Layer):
    """Dense layers of all members; takes and gives their examples one member after the other, [members · n, ...]."""

    def __init__(self, layer: keras.layers.Dense, members: int):
        """Takes units, bias and activation from `layer`."""
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.members, self.units = members, layer.units
        self.use_bias, self.activation = layer.use_bias, layer.activation

    def build(self, shape):
        """Makes kernels of shape [members, in, units] and biases of shape [members, 1, units]."""
        self.kernel = self.add_weight(shape=(self.members, shape[-1], self.units), name="kernel")
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.members, 1, self.units), name="bias")

    def call(self, inputs):
        """From [members · n, ..., in] to [members · n, ..., units]."""
        outputs = tf.matmul(tf.reshape(inputs, [self.members, -1, inputs.shape[-1]]), self.kernel)
        if self.use_bias:
            outputs += self.bias
        return self.activation(tf.reshape(outputs, [-1, *inputs.shape[1:-1], self.units]))


class StackedDropout(keras.layers.Layer):
    """Dropout whose masks depend on each member's seed and the step, not on which members are trained beside it."""

    def __init__(self, layer: keras.layers.Dropout, members: int, stream: int):
        """Takes the rate from `layer`; `stream` tells several dropout layers of one net apart."""
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.members, self.rate, self.stream = members, layer.rate, stream

    def build(self, shape):
        """Makes the seeds of the members and the counter of steps."""
        self.seeds = self.add_weight(shape=(self.members,), dtype="int32", trainable=False, name="seeds")
        self.step = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False, name="step")

    def call(self, inputs, training=False):
        """Drops each member's inputs by its own mask; in inference mode nothing."""
        if not training:
            return inputs
        self.step.assign_add(1)
        seeds, step = tf.identity(self.seeds.value) + self.stream * 2**20, tf.identity(self.step.value)
        shape = [inputs.shape[0] // self.members, *inputs.shape[1:]]
        kept = [tf.random.stateless_uniform(shape, [seeds[m], step]) >= self.rate for m in range(self.members)]
        return inputs * tf.cast(tf.concat(kept, axis=0), inputs.dtype) / (1 - self.rate)


def stack(model, members: int) -> keras.Model:
    """A model of all members' examples one after the other, [members · n, ...] -> [members · n, classes]."""
    streams = iter(range(1, 1 + len(model.layers)))

    def convert(layer):
        if isinstance(layer, keras.layers.Dense):
            return StackedDense(layer, members)
        if isinstance(layer, keras.layers.Dropout):
            return StackedDropout(layer, members, next(streams))
        return layer.__class__.from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=convert)
