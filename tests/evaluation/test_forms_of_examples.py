"""Examples in every form that Keras takes: data sets, lists, dicts, tokens, weights; all give one number."""

import cases
import keras
import nets
import numpy as np
import pytest
import references
import tensorflow as tf
from cases import Case, close

from hw1 import evaluation
from hw1.measures import hessian, sensitivity

L = keras.layers
X, Y = nets.examples()
WEIGHT = np.random.default_rng(0).uniform(0.5, 2, len(X))


def batches(*arrays):
    """A tf.data.Dataset of batches of four examples; the last one is smaller."""
    return tf.data.Dataset.from_tensor_slices(arrays).batch(4)


class Sequence(keras.utils.PyDataset):
    """Batches by their number, as Keras's own data sets have them."""

    def __len__(self):
        """Three batches."""
        return 3

    def __getitem__(self, number):
        """The batch."""
        part = slice(4 * number, 4 * number + 4)
        return X[part], Y[part], WEIGHT[part]


class Loader:
    """What can be read again, as a DataLoader of PyTorch."""

    def __iter__(self):
        """Batches as lists."""
        return iter([list(batch) for batch in batches(X, Y, WEIGHT)])


@pytest.mark.parametrize(
    "form", [batches(X, Y, WEIGHT), Sequence(), Loader()], ids=["tf.data", "PyDataset", "iterable"]
)
def test_batches_with_weights(form):
    """(1/n) Σ w ℓ over all batches, in loss and product; the gradient in x is weighted too."""
    model = Case("tanh").model
    values = references.losses(model, X, Y)
    assert evaluation.evaluate(model, form)[0] == pytest.approx((WEIGHT * values).mean(), rel=1e-13)

    def weighted(y, outputs):
        return WEIGHT * references.cross_entropy(y, outputs)

    vector = np.random.default_rng(2).normal(size=len(Case("tanh").theta))
    truth = references.difference_product(model, X, Y, vector, weighted)
    for size in (None, 3):
        close(hessian.product(model, form, chunk_size=size)(vector), truth, 1e-7)
    slopes = WEIGHT[:, None, None] * references.input_gradients(model, X, Y)
    norm = np.sqrt((slopes**2).sum(axis=(1, 2))).mean()
    assert sensitivity.loss_gradient_norm(model, form) == pytest.approx(norm, rel=1e-12)


def test_batches_without_weights():
    """As the arrays."""
    model = Case("tanh").model
    assert evaluation.evaluate(model, batches(X, Y)) == evaluation.evaluate(model, X, Y)


def endless():
    """Batches without end."""
    return batches(X, Y).repeat()


class Endless(Sequence):
    """A PyDataset without end."""

    num_batches = None


@pytest.mark.parametrize(
    ("form", "kind", "words"),
    [
        (lambda: iter([(X, Y)]), TypeError, ["read only once", "tf.data.Dataset"]),
        (lambda: (batch for batch in [(X, Y)]), TypeError, ["generator", "read only once"]),
        (endless, ValueError, ["repeats without end", "take"]),
        (Endless, ValueError, ["no end", "num_batches"]),
        (lambda: tf.data.Dataset.from_tensor_slices((X, Y)), ValueError, ["single examples", "batch(n)"]),
        (lambda: batches(X, Y).take(0), ValueError, ["no examples"]),
        (lambda: [(X, Y)], ValueError, []),
    ],
    ids=["iterator", "generator", "endless", "endless PyDataset", "unbatched", "empty", "list of batches"],
)
def test_unfit_forms(form, kind, words):
    """The message says what would be right."""
    with cases.refused(*words, kind=kind):
        evaluation.evaluate(Case("tanh").model, form())


def test_targets_beside_a_data_set():
    """It brings its own."""
    for options in ({"y": Y}, {"sample_weight": WEIGHT}):
        with cases.refused("brings its own"):
            evaluation.evaluate(Case("tanh").model, batches(X, Y), **options)


@pytest.mark.parametrize("weight", [WEIGHT[:3], -WEIGHT, 0 * WEIGHT, np.where(WEIGHT > 1, np.nan, 1), WEIGHT[:, None]])
def test_unfit_weights(weight):
    """Too few, negative, all zero, not finite, not flat."""
    with cases.refused("sample_weight must be"):
        evaluation.evaluate(Case("tanh").model, X, Y, sample_weight=weight)


# Several inputs and outputs

PAIR = {"left": X[:, 0], "right": X[:, 1]}


class TakesDict(keras.Model):
    """A subclassed net of a dict of inputs."""

    def __init__(self):
        """Makes the layer."""
        super().__init__(dtype="float64")
        self.logits = L.Dense(3, dtype="float64")
        self(PAIR)

    def call(self, inputs):
        """Logits [n, 3]."""
        return self.logits(tf.tanh(inputs["left"]) * inputs["right"])


class TakesList(TakesDict):
    """A subclassed net of a list of inputs."""

    def __init__(self):
        """Makes the layer."""
        keras.Model.__init__(self, dtype="float64")
        self.logits = L.Dense(3, dtype="float64")
        self(list(PAIR.values()))

    def call(self, inputs):
        """Logits [n, 3]."""
        return super().call(dict(zip(PAIR, inputs, strict=True)))


def functional(several=False):
    """A Functional net of two inputs, whose names are not in the order of the alphabet."""
    inputs = [keras.Input((3,), name=name, dtype="float64") for name in ("right", "left")]
    bent = L.Activation("tanh", dtype="float64", name="bent")(inputs[1])
    hidden = L.Multiply(dtype="float64", name="product")([inputs[0], bent])
    heads = [L.Dense(3, name=name, dtype="float64")(hidden) for name in ("first", "second")]
    return keras.Model(inputs, {"first": heads[0], "second": heads[1]} if several else heads[0], name="pair")


def assert_product(model, x, y, given, truth):
    """The product of a model of several inputs is the difference of gradients by one tape."""
    model.dtype_policy = "float64"
    nets.with_random_weights(model, np.random.default_rng(1))
    multiply = hessian.product(model, x, y, loss=given, chunk_size=4)
    theta, slopes = references.flat(model.trainable_variables), []
    vector = np.random.default_rng(2).normal(size=len(theta))
    for sign in (1, -1):
        with references.moved(model, theta + sign * 1e-5 * vector), tf.GradientTape() as tape:
            value = tf.reduce_mean(truth(y, model(x)))
            slope = tape.gradient(value, [v.value for v in model.trainable_variables])
        slopes.append(references.flat(slope))
    close(multiply(vector), (slopes[0] - slopes[1]) / 2e-5, 1e-7)


@pytest.mark.parametrize("build", [functional, TakesDict, TakesList])
def test_several_inputs(build):
    """By name or in order."""
    x = list(PAIR.values()) if build is TakesList else PAIR
    assert_product(build(), x, Y, None, references.cross_entropy)
    if build is functional:
        assert_product(build(), [PAIR["right"], PAIR["left"]], Y, None, references.cross_entropy)


def both(y, outputs):
    """The sum of the losses of two heads."""
    return references.cross_entropy(y["first"], outputs["first"]) + references.mean_squared_error(
        y["second"], outputs["second"]
    )


@pytest.mark.parametrize("given", [both, {"first": None, "second": "mse"}], ids=["function", "dict"])
def test_several_outputs(given):
    """A loss of all of them, or one for each."""
    assert_product(functional(several=True), PAIR, {"first": Y, "second": np.eye(3)[Y]}, given, both)


def test_a_list_of_losses():
    """In the order of the outputs; that of probabilities is refused for logits, as it is for one output."""
    model = functional(several=True)
    model = keras.Model(model.inputs, [model.outputs[0], model.outputs[1]])
    targets = [Y, np.eye(3)[Y]]
    assert_product(
        model,
        PAIR,
        targets,
        [None, "mse"],
        lambda y, o: both(*(dict(zip(("first", "second"), part, strict=True)) for part in (y, o))),
    )
    with cases.refused("takes probabilities"):
        hessian.product(model, PAIR, targets, loss=["sparse_categorical_crossentropy", "mse"])


def test_one_output_in_a_dict():
    """It is the output itself."""
    model = functional(several=True)
    model = keras.Model(model.inputs, {"only": model.outputs[0]})
    assert_product(model, PAIR, Y, None, lambda y, outputs: references.cross_entropy(y, outputs["only"]))


# Tokens and masks

TOKENS = np.random.default_rng(0).integers(1, 5, (11, 6))
TOKENS[::2, 4:] = 0  # padding


def of_tokens(*layers, mask_zero=True):
    """A net of tokens."""
    embedding = L.Embedding(5, 2, mask_zero=mask_zero, dtype="float64")
    model = keras.Sequential([keras.Input((6,), dtype="int32"), embedding, *layers])
    model.dtype_policy = "float64"
    return model


@pytest.mark.slow
@pytest.mark.parametrize("mask", [True, False])
def test_tokens(mask):
    """A recurrent net that skips the padding, or does not."""
    model = of_tokens(L.LSTM(2, dtype="float64"), L.Dense(3, dtype="float64"), mask_zero=mask)
    assert_product(model, TOKENS, Y, None, references.cross_entropy)


def per_token(y, outputs):
    """The mean over the tokens of each sequence."""
    return tf.reduce_mean(references.cross_entropy(y, outputs), axis=1)


def unpadded(y, outputs):
    """The loss of the tokens that are not padding, 0."""
    return tf.reduce_mean(tf.where(y > 0, references.cross_entropy(y, outputs), 0), axis=1)


@pytest.mark.parametrize("layer", cases.some(["dense", "recurrent"], 1))
def test_a_loss_for_each_token(layer):
    """Averaged over them. A mask is refused, and what the message advises is right."""
    labels = TOKENS % 3 * (TOKENS > 0)

    def parts():
        dense, recurrent = L.Dense(2, "tanh", dtype="float64"), L.LSTM(2, return_sequences=True, dtype="float64")
        return recurrent if layer == "recurrent" else dense, L.Dense(3, dtype="float64")

    assert_product(of_tokens(*parts(), mask_zero=False), TOKENS, labels, None, per_token)
    masked = of_tokens(*parts())
    with cases.refused("carry a mask", "Lambda"):
        hessian.product(masked, TOKENS, labels)
    masked.add(L.Lambda(lambda z: 1 * z, dtype="float64"))
    assert_product(masked, TOKENS, labels, unpadded, unpadded)
