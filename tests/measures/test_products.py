"""Hessian-vector products against differences of gradients and the Hessian that nested tapes give."""

import gc
import weakref

import cases
import keras
import nets
import numpy as np
import pytest
import references
import scipy.linalg
import tensorflow as tf
from cases import Case, close
from hypothesis import given, settings
from hypothesis import strategies as st

from hw1 import evaluation
from hw1.measures import hessian, lanczos


@pytest.mark.parametrize("case", cases.KINDS + cases.OTHER_LOSSES, ids=str)
def test_product_is_the_difference_of_gradients(case):
    """Against central differences of gradients, which know no second derivatives; they are good to 1e-8."""
    multiply = case.measure(hessian.product)
    for seed in range(2):
        vector = np.random.default_rng(seed).normal(size=multiply.size)
        close(multiply(vector), case.truth(references.difference_product, vector), 1e-7)


@pytest.mark.parametrize("case", cases.some(cases.SINGLE), ids=str)
def test_float32_products_are_float64_products_rounded(case):
    """The precision that the experiments run in."""
    vector = np.random.default_rng(3).normal(size=len(case.hessian))
    found = case.measure(hessian.product)(vector)
    assert found.dtype == np.float32
    close(found, case.hessian @ vector)


@pytest.mark.parametrize("case", cases.DOUBLE, ids=str)
def test_block_products_are_those_of_the_block_diagonal_matrix(case):
    """Each part of the vector meets only its own block."""
    multiply = case.measure(hessian.product, scope="block")
    vector = np.random.default_rng(4).normal(size=multiply.size)
    close(multiply(vector), scipy.linalg.block_diag(*case.blocks) @ vector)


@pytest.mark.parametrize("scope", ["full", "block"])
@pytest.mark.parametrize("case", cases.DOUBLE, ids=str)
def test_products_with_several_vectors_are_those_with_each(case, scope):
    """Against the dense Hessian, for numbers of vectors that fill the calls and that do not."""
    operator = lanczos.linear_operator(case.measure(hessian.product, scope=scope))
    truth = case.hessian if scope == "full" else scipy.linalg.block_diag(*case.blocks)
    for count in (1, 20, 23):
        vectors = np.random.default_rng(count).normal(size=(len(truth), count))
        close(operator.matmat(vectors), truth @ vectors)


@pytest.mark.parametrize("size", [3, 100])
def test_dense_nets_take_several_vectors_in_one_call(size):
    """In chunks of examples too; a wrong shape is refused."""
    case = Case("tanh")
    multiply = case.measure(hessian.product, chunk_size=size)
    vectors = np.random.default_rng(0).normal(size=(multiply.size, 10))
    close(multiply.many(vectors), case.hessian @ vectors)
    assert multiply.many(vectors[:, :0]).shape == (multiply.size, 0)
    with pytest.raises(ValueError, match=r"the vectors must have shape \[\d+, k\]"):
        multiply.many(vectors.T)


@pytest.mark.parametrize("size", [3, 100])
def test_later_changes_of_the_examples_reach_no_product(size):
    """Of one vector and of ten alike."""
    case = Case("tanh")
    x = case.x.copy()
    multiply = hessian.product(case.model, x, case.y, chunk_size=size)
    vectors = np.random.default_rng(0).normal(size=(multiply.size, 10))
    x[:] = 0
    close(multiply.many(vectors), case.hessian @ vectors)
    close(multiply(vectors[:, 0]), case.hessian @ vectors[:, 0])


def test_several_vectors_with_the_net_s_own_losses(monkeypatch):
    """They may depend on the examples in a call, so all examples must fit into one."""
    case, penalty = Case("tanh"), keras.regularizers.L2(0.3)
    layers = [keras.layers.Flatten(), keras.layers.Dense(3, activity_regularizer=penalty, kernel_regularizer=penalty)]
    model = keras.Sequential([keras.Input(nets.SHAPE, dtype="float64"), *layers])
    multiply = hessian.product(model, case.x, case.y, regularization=True)
    vectors = np.random.default_rng(0).normal(size=(multiply.size, 10))
    close(multiply.many(vectors), np.stack([multiply(vector) for vector in vectors.T], axis=1), 1e-6)
    monkeypatch.setattr(evaluation.problem, "MEMORY", 60_000)
    assert not hasattr(hessian.product(model, case.x, case.y, regularization=True), "many")


@pytest.mark.parametrize("kind", ["convolutional", "subclassed", "skip"])
def test_other_nets_take_them_one_by_one(kind):
    """Convolutions gain nothing from it; of nets that nobody knows nothing is derived anew."""
    assert hasattr(Case(kind).measure(hessian.product), "many") == (kind == "skip")


@pytest.mark.parametrize("size", [1, 3, 4, 11, 100])
def test_chunks_do_not_change_the_mean(size):
    """Eleven examples in pieces of any size, the last one ragged."""
    case = Case("no bias")
    vector = np.random.default_rng(0).normal(size=len(case.hessian))
    close(case.measure(hessian.product, chunk_size=size)(vector), case.hessian @ vector)


NORMS = {
    "layer": keras.layers.LayerNormalization(dtype="float64"),
    "group": keras.layers.GroupNormalization(2, dtype="float64"),
    "unit": keras.layers.UnitNormalization(dtype="float64"),
}


@pytest.mark.parametrize("norm", NORMS)
def test_products_through_normalisation_of_each_example(norm):
    """Against differences of gradients: TensorFlow's own moments are right to first order only."""
    layers = [keras.layers.Flatten(dtype="float64"), keras.layers.Dense(6, dtype="float64"), NORMS[norm]]
    model = keras.Sequential([keras.Input((3, 3), dtype="float64"), *layers, keras.layers.Dense(3, dtype="float64")])
    model.dtype_policy = "float64"
    nets.with_random_weights(model, np.random.default_rng(1))
    x, y = nets.examples()
    multiply = hessian.product(model, x, y)
    vector = np.random.default_rng(0).normal(size=multiply.size)
    # third derivatives are large here; TensorFlow's own moments would be wrong by 7 % and more
    close(multiply(vector), references.difference_product(model, x, y, vector), 1e-5)


VECTORS = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).normal(size=55))
NUMBERS = st.floats(-1e3, 1e3)


@pytest.fixture(scope="module")
def multiply():
    """The products of one net, made once."""
    return Case("gelu").measure(hessian.product)


@settings(max_examples=30, deadline=None)
@given(u=VECTORS, v=VECTORS, a=NUMBERS, b=NUMBERS)
def test_the_product_is_linear_and_symmetric(multiply, u, v, a, b):
    """H(au + bv) = aHu + bHv, and uᵀHv = vᵀHu."""
    image_u, image_v = multiply(u), multiply(v)
    np.testing.assert_allclose(multiply(a * u + b * v), a * image_u + b * image_v, atol=1e-12 * (1 + abs(a) + abs(b)))
    assert u @ image_v == pytest.approx(v @ image_u, abs=1e-12)


def test_a_product_stays_with_the_parameters_it_was_made_for():
    """Later training is not seen."""
    model, x, y = Case("tanh").data
    multiply, ones = hessian.product(model, x, y), np.ones(55)
    before = multiply(ones)
    with references.moved(model, 0.3 * ones):
        np.testing.assert_array_equal(multiply(ones), before)
        assert np.abs(hessian.product(model, x, y)(ones) - before).max() > 0.01


CHOICES = {"cond": tf.cond, "switch_case": lambda p, yes, no: tf.switch_case(tf.cast(p, tf.int32), [no, yes])}


@pytest.mark.parametrize("choose", CHOICES)
def test_a_choice_within_a_net(choose):
    """TensorFlow keeps some functions of its second derivative in the outermost graph alone."""
    x, y = nets.examples()

    def chosen(h):
        return CHOICES[choose](tf.reduce_sum(h) > -1e9, lambda: 2 * h, lambda: 3 * h) * h

    inputs = keras.Input(x.shape[1:], dtype="float64")
    hidden = keras.layers.Dense(3, dtype="float64")(keras.layers.Flatten(dtype="float64")(inputs))
    hidden = keras.layers.Lambda(chosen, dtype="float64")(hidden)
    model = keras.Model(inputs, keras.layers.Dense(nets.CLASSES, dtype="float64")(hidden))
    product = hessian.product(model, x, y)
    vector = np.random.default_rng(0).normal(size=product.size)
    close(product(vector), references.difference_product(model, x, y, vector), 1e-7)


def test_nothing_refers_to_a_product_but_its_user():
    """What it keeps goes with it at once, not when Python next looks for cycles."""
    product = hessian.product(nets.mlp(), *nets.examples())
    product.many(np.ones((product.size, 11)))
    known = weakref.ref(product)
    gc.disable()
    try:
        del product
        assert known() is None
    finally:
        gc.enable()


# What is refused


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (lambda *c: hessian.product(*c)(np.ones(54)), ["[55]", "[54]"]),
        (lambda *c: hessian.product(*c)(np.ones((55, 1))), ["[55]", "[55, 1]"]),
        (lambda *c: hessian.product(*c, chunk_size=0), ["chunk_size", "0"]),
        (lambda *c: hessian.product(*c, scope="layer"), ["scope", "full", "block", "layer"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_unfit_vectors_chunks_and_scopes(measure, words):
    """The message names the argument, the value and what would be right."""
    with cases.refused(*words):
        measure(*Case("tanh").data)


LAYERS = keras.layers
WRONG_TWICE = {
    "max pooling, same": LAYERS.MaxPooling2D(2, strides=1, padding="same"),
    "bilinear resizing": LAYERS.UpSampling2D(2, interpolation="bilinear"),
    "max pooling of one pixel": LAYERS.MaxPooling2D(1),
    "max pooling in a Lambda": LAYERS.Lambda(lambda x: keras.ops.max_pool(x, 2, 1, "same")),
}


@pytest.mark.parametrize("name", cases.some(WRONG_TWICE))
def test_what_tensorflow_differentiates_wrongly_is_refused(name):
    """First derivatives of these layers are right, second ones silently wrong."""
    layers = [LAYERS.Conv2D(2, 3), LAYERS.Activation("tanh"), WRONG_TWICE[name], LAYERS.Flatten(), LAYERS.Dense(3)]
    model = keras.Sequential([keras.Input((6, 6, 1)), *layers])
    x, y = nets.examples((6, 6, 1))
    for measure in (hessian.product, hessian.dense, hessian.blocks):
        with pytest.raises(ValueError, match=r"wrongly the second time: (give the layer strides|use interpolation)"):
            measure(model, x, y)
    theta = references.flat(model.trainable_variables)
    close(evaluation.objective(model, x, y)(theta)[1], references.gradient(model, x.astype("float32"), y), 1e-5)


def test_no_second_derivative():
    """TensorFlow has none of softsign; the message names it."""
    model = nets.mlp(activation="softsign")
    with pytest.raises(ValueError, match=r"cannot differentiate this model twice.*Softsign"):
        hessian.product(model, *nets.examples())
