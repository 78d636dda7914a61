"""Models, data and options that cannot be measured are refused in one line that says what is wrong."""

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from hw1 import evaluation
from hw1.measures import hessian, sharpness, volume

L = keras.layers
RNG = np.random.default_rng(0)
X, Y = RNG.random((40, 3)).astype("float32"), RNG.integers(0, 3, 40)


def net(units=3):
    """A linear net."""
    return keras.Sequential([keras.Input((3,)), L.Dense(units)])


def batches(pairs):
    """A restartable iterable of batches."""
    return [*pairs, *pairs] if isinstance(pairs, list) else pairs


ENDLESS = tf.data.Dataset.from_tensor_slices((X, Y)).repeat().filter(lambda x, y: True).batch(40)
DATA = {
    "complex inputs": (X * 1j, Y, "real numbers"),
    "complex targets": (X, Y * 1j, "real"),
    "masked inputs": (np.ma.masked_array(X), Y, "MaskedArray cannot be measured"),
    "a sparse tensor": (tf.sparse.from_dense(X), Y, "SparseTensor cannot be measured"),
    "a scipy matrix": (scipy.sparse.csr_matrix(X), Y, "csr_matrix cannot be measured"),
    "a ragged tensor": (tf.RaggedTensor.from_row_lengths(X.ravel(), [3] * 40), Y, "RaggedTensor cannot be measured"),
    "strings": (X.astype(str), Y, "real numbers"),
    "an empty axis": (np.zeros((4, 0)), Y[:4], "no examples"),
    "numbers that overflow": (X.astype("float64") * 1e300, Y, "finite numbers, also in float32"),
}


@pytest.mark.parametrize("name", DATA)
def test_data_that_cannot_be_measured(name):
    """By what they are."""
    x, y, said = DATA[name]
    with pytest.raises((ValueError, TypeError), match=said):
        evaluation.evaluate(net(), x, y)


@pytest.mark.parametrize("weight", [1e-60, 1e60])
def test_weights_that_the_precision_cannot_hold(weight):
    """They would become 0 or infinite."""
    with pytest.raises(ValueError, match="that float32"):
        evaluation.evaluate(net(), X, Y, sample_weight=np.full(40, weight))


def test_batches_of_different_parts():
    """(x, y) beside (x, y, weight)."""

    class Mixed(keras.utils.PyDataset):
        num_batches = 2

        def __getitem__(self, number):
            return (X, Y) if number else (X, Y, np.ones(40))

    with pytest.raises(ValueError, match="give all of them the same parts"):
        evaluation.evaluate(net(), Mixed())


def test_data_sets_without_an_end_that_do_not_say_so(monkeypatch):
    """They are read up to a limit of memory, and refused by name."""
    monkeypatch.setattr("hw1.evaluation.examples._MOST_BYTES", 1 << 20)
    with pytest.raises(ValueError, match="or no end"):
        evaluation.evaluate(net(), ENDLESS)


LOSSES = {
    "a class": (keras.losses.MeanSquaredError, Y, r"write MeanSquaredError\(\)"),
    "a label out of range, rarely": (
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        np.where(np.arange(40) == 37, 7, Y),
        "label 7 is outside",
    ),
    "values left out": (
        keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0),
        Y,
        "leaves out some values",
    ),
    "not a number": (lambda y, outputs: tf.math.log(-tf.reduce_sum(outputs**2, -1)), Y, "not a finite number"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_that_cannot_be_measured(name):
    """By what they do."""
    loss, y, said = LOSSES[name]
    with pytest.raises((ValueError, TypeError), match=said):
        evaluation.evaluate(net(), X, y, loss)


@pytest.mark.parametrize("seed", range(8))
def test_broadcasting_is_seen_where_positives_are_rare(seed):
    """Y [n] against outputs [n, 1]: with all tried targets alike nothing would show."""
    y = (np.random.default_rng(seed).random(1000) < 0.02).astype("float32")
    x = np.random.default_rng(seed).random((1000, 3))

    def own(y, outputs):
        return tf.reduce_mean((y - outputs) ** 2, axis=-1)

    with pytest.raises(ValueError, match="one value per example"):
        evaluation.evaluate(net(1), x, y, own)


class Half(L.Layer):
    """Computes in half precision, or has such weights, in a layer of another policy."""

    def __init__(self, dtype=None):
        """Weights of this dtype."""
        super().__init__()
        self.of = dtype

    def build(self, shape):
        """Makes a kernel."""
        self.kernel = self.add_weight(shape=(shape[-1], 3), dtype=self.of or "float32", name="kernel")

    def call(self, x):
        """Logits."""
        if self.of:
            return tf.cast(tf.matmul(tf.cast(x, self.of), self.kernel), "float32")
        return tf.cast(tf.matmul(tf.cast(x, "float16"), tf.cast(self.kernel, "float16")), "float32")


@pytest.mark.parametrize(("dtype", "said"), [("float16", "of float16"), ("bfloat16", "of bfloat16"), (None, "half")])
def test_half_precision_inside_of_a_layer(dtype, said):
    """Its policy does not tell."""
    with pytest.raises(ValueError, match=said):
        evaluation.evaluate(keras.Sequential([keras.Input((3,)), Half(dtype)]), X, Y)


def test_tokens_out_of_the_vocabulary():
    """The line of TensorFlow that says which."""
    model = keras.Sequential([keras.Input((2,), dtype="int32"), L.Embedding(3, 2), L.Flatten(), L.Dense(3)])
    with pytest.raises(ValueError, match=r"cannot be computed on x: indices\[1,1\] = 7 is not in \[0, 3\)$"):
        evaluation.evaluate(model, np.array([[0, 1], [1, 7]]), np.array([0, 1]))


def two_outputs(listed):
    """A model of two heads, as a list or as a dict."""
    inputs = keras.Input((3,))
    heads = {"a": L.Dense(3, name="a")(inputs), "b": L.Dense(1, name="b")(inputs)}
    return keras.Model(inputs, list(heads.values()) if listed else heads)


@pytest.mark.parametrize("listed", [True, False])
def test_losses_by_the_names_of_outputs(listed):
    """As in compile, also where the model gives a list; a name that is none of them is refused."""
    model, y = two_outputs(listed), {"a": Y, "b": X[:, :1]}
    first, second = tf.nest.flatten(model(X))
    expected = keras.losses.sparse_categorical_crossentropy(Y, first, True) + tf.reduce_mean(
        (second - X[:, :1]) ** 2, 1
    )
    found, _ = evaluation.evaluate(model, X, y, {"a": None, "b": "mse"})
    assert found == pytest.approx(float(np.mean(expected)), rel=1e-5)
    with pytest.raises(ValueError, match="the outputs are a, b"):
        evaluation.evaluate(model, X, y, {"aa": "mse", "b": "mse"})


def test_one_loss_by_its_name_is_that_of_each_output():
    """As in compile."""
    model, y = two_outputs(False), {"a": X, "b": X[:, :1]}
    first, second = tf.nest.flatten(model(X))
    expected = np.mean((first - X) ** 2) + np.mean((second - X[:, :1]) ** 2)
    for loss in ("mse", keras.losses.MeanSquaredError()):
        assert evaluation.evaluate(model, X, y, loss)[0] == pytest.approx(expected, rel=1e-5)


def test_columns_of_a_table_are_inputs():
    """A dict of vectors for inputs of shape [n, 1], as Keras takes it."""
    inputs = {name: keras.Input((1,), name=name) for name in "ab"}
    model = keras.Model(inputs, L.Dense(3)(L.Concatenate()(list(inputs.values()))))
    columns = {"a": X[:, 0], "b": X[:, 1]}
    whole = {name: column[:, None] for name, column in columns.items()}
    assert evaluation.evaluate(model, columns, Y) == evaluation.evaluate(model, whole, Y)


OPTIONS = {
    "steps": lambda: hessian.density(net(), X, Y, steps=2.5),
    "probes": lambda: hessian.trace(net(), X, Y, probes=7.5),
    "width": lambda: hessian.density(net(), X, Y, width=np.inf),
    "tolerance": lambda: hessian.eigenvalues(net(), X, Y, tolerance=np.inf),
    "k": lambda: hessian.layer_eigenvalues(net(), X, Y, k=None),
    "seed": lambda: hessian.density(net(), X, Y, seed="a"),
    "iterations": lambda: sharpness.keskar_sharpness(net(), X, Y, iterations=1.5),
    "starts": lambda: sharpness.ball_sharpness(net(), X, Y, starts=1.5),
    "epsilon": lambda: sharpness.keskar_sharpness(net(), X, Y, epsilon="1e-3"),
    "rays": lambda: volume.log_volume(net(), X, Y, epsilon=0.1, rays=2.5),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_are_no_numbers_of_their_kind(name):
    """The error names the option."""
    with pytest.raises(ValueError, match=f"^{name} must be"):
        OPTIONS[name]()


def test_products_that_overflow_are_refused():
    """Instead of a trace that is not a number."""
    with pytest.raises(ValueError, match="not finite"):
        hessian.trace(net(), X * 1e25, Y)
