"""The covariance of the examples' gradients against one tape per example, and against all mini-batches there are."""

import functools
import itertools

import cases
import keras
import nets
import numpy as np
import pytest
import references
import tensorflow as tf
from cases import Case, close
from losses import LOSSES

from hw1.measures import lanczos, noise


@functools.cache
def rows(case):
    """The gradient of each example by a tape of its own on the float64 net, shape [n, parameters]."""
    model, x, y = case.double.data
    truth = LOSSES[case.loss].truth
    return np.stack([references.gradient(model, x[i : i + 1], y[i : i + 1], truth) for i in range(len(x))])


def truth(case):
    """C from those gradients by NumPy, shape [parameters, parameters]."""
    return np.cov(rows(case).T, bias=True)


def linear_losses(n=5):
    """A net of three weights whose loss is its output, so that an example's gradient is its input."""
    gradients = np.random.default_rng(3).normal(size=(n, 3)) * [1, 2, 0.5] + [1, 0, 0]
    return (nets.linear([0.3, -1.0, 2.0]), gradients, np.zeros(n), slope_alone), gradients


def slope_alone(y, outputs):
    """The output itself."""
    return outputs[:, 0]


@pytest.mark.parametrize("case", cases.ALL, ids=str)
def test_gradients_and_covariance_against_a_tape_per_example(case):
    """The rows, C, and its trace from all rows and from chunks of them."""
    matrix = truth(case)
    found = case.measure(noise.covariance)
    close(found.deviations + found.mean, rows(case), case.bound())
    close(found.matrix, matrix, case.bound())
    trace = pytest.approx(np.trace(matrix), rel=case.bound())
    assert (found.trace, case.measure(noise.trace, chunk_size=4)) == (trace, trace)


@pytest.mark.parametrize("case", cases.ALL, ids=str)
def test_products_against_the_covariance(case):
    """In chunks of examples, the last of which is ragged."""
    matrix, vector = truth(case), np.random.default_rng(0).normal(size=rows(case).shape[1])
    close(case.measure(noise.product, chunk_size=4)(vector), matrix @ vector, case.bound(), np.abs(matrix).max())


@pytest.mark.parametrize(
    "case", cases.some([Case("tanh"), cases.SOME[1], Case("skip"), Case("no bias", "squared error")]), ids=str
)
def test_eigenpairs_by_the_gram_matrix_and_by_lanczos(case):
    """11 examples, about 60 parameters: both against NumPy's eigenvalues of C; so is the participation ratio."""
    values = np.linalg.eigvalsh(truth(case))[::-1]
    gram = case.measure(noise.eigenpairs, k=4)
    operator = lanczos.linear_operator(case.measure(noise.product))
    for found in (gram, lanczos.eigenpairs(operator, 4, "LA", 1e-8)):
        close(found.values, values[:4], 1e-10)
        assert found.converged.all()
        close(found.vectors.T @ found.vectors, np.eye(4), 1e-10)
        close(truth(case) @ found.vectors, found.vectors * found.values, 1e-6)
    covariance = case.measure(noise.covariance)
    close(covariance.eigenvalues, values[: len(case.x)], 1e-12)
    assert covariance.participation_ratio == pytest.approx(values.sum() ** 2 / np.sum(values**2), rel=1e-10)
    assert covariance.share(gram.vectors) == pytest.approx(values[:4].sum() / values.sum(), rel=1e-10)


def test_more_examples_than_parameters():
    """Then C itself is solved, by Lanczos from products or as a matrix, with the same result."""
    (model, x, y, loss), gradients = linear_losses(50)
    values, vectors = np.linalg.eigh(np.cov(gradients.T, bias=True))
    for found in (noise.eigenpairs(model, x, y, 2, loss), noise.covariance(model, x, y, loss).eigenpairs(2)):
        np.testing.assert_allclose(found.values, values[:0:-1], rtol=1e-10)
        np.testing.assert_allclose(np.abs(np.sum(found.vectors * vectors[:, :0:-1], axis=0)), 1, rtol=1e-10)
    found = noise.covariance(model, x, y, loss)
    np.testing.assert_allclose(found.eigenvalues, values[::-1], rtol=1e-10)
    assert found.participation_ratio == pytest.approx(values.sum() ** 2 / np.sum(values**2), rel=1e-12)


def test_eigenvalues_beyond_the_rank_are_zero():
    """4 examples give a rank of 3: the eigenvectors beyond are orthonormal, and C maps them to 0."""
    model, x, y = Case("tanh").data
    found = noise.eigenpairs(model, x[:4], y[:4], k=6)
    assert (found.values[:3] > 1e-6).all()
    np.testing.assert_array_equal(found.values[3:], 0)
    close(found.vectors.T @ found.vectors, np.eye(6), 1e-8)
    assert found.residuals.max() < 1e-8 * found.values[0]


@pytest.mark.parametrize("shape", [(500, 20), (20, 500)])
def test_isotropic_noise(shape):
    """Gaussian rows: nearly p participate if n ≫ p; a random subspace of dimension d has a share of d/p on average."""
    rng = np.random.default_rng(1)
    found = noise.Covariance(rng.standard_normal(shape), np.zeros(shape[1]))
    bases = [np.linalg.qr(rng.standard_normal((shape[1], 5)))[0] for _ in range(200)]
    assert np.mean([found.share(basis) for basis in bases]) == pytest.approx(5 / shape[1], rel=0.1)
    if shape[0] > shape[1]:  # (tr C)² / tr C² of a Wishart matrix is p / (1 + p/n) or so
        assert found.participation_ratio == pytest.approx(20 / (1 + 20 / 500), rel=0.02)
    else:
        assert found.participation_ratio < 20


def batches(n, size, replacement):
    """All batches of so many examples, each equally likely."""
    return np.array(
        list(itertools.product(range(n), repeat=size) if replacement else itertools.combinations(range(n), size))
    )


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_predicted_trace_is_that_of_all_batches(size, replacement):
    """Exactly: the mean squared deviation over every batch there is, of a linear model with 5 examples."""
    problem, gradients = linear_losses()
    means = gradients[batches(5, size, replacement)].mean(axis=1)
    expected = np.mean(np.sum((means - gradients.mean(axis=0)) ** 2, axis=1))
    trace = noise.trace(*problem)
    predicted = noise.batch_trace(trace, size, None if replacement else 5)
    assert predicted == pytest.approx(expected, rel=1e-12, abs=1e-15)
    if not replacement:
        assert predicted == pytest.approx(trace * (1 / size - 1 / 5) * 5 / 4, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(("replacement", "factor"), [(True, 1 / 5), (False, 15 / 19 / 5)])
def test_drawn_batches_have_the_predicted_covariance(replacement, factor):
    """All entries of the empirical covariance of 1000 drawn mini-batch gradients of a linear model."""
    problem, gradients = linear_losses(20)
    model, x, y, loss = problem
    found = noise.batch_gradients(model, x, y, 5, 1000, replacement, loss=loss)
    covariance = np.cov(gradients.T, bias=True) * factor
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    np.testing.assert_allclose(found.mean(axis=0), gradients.mean(axis=0), atol=5 * np.sqrt(scale.max() / 1000))
    np.testing.assert_allclose(np.cov(found.T) / scale, covariance / scale, atol=0.2)  # four standard errors are 0.18
    predicted = noise.batch_trace(noise.trace(*problem), 5, None if replacement else 20)
    assert np.trace(np.cov(found.T)) == pytest.approx(predicted, rel=0.15)


@pytest.mark.parametrize("case", cases.SOME, ids=str)
def test_a_drawn_batch_is_the_mean_of_its_rows(case):
    """For nets too: each gradient is the mean of the rows that the generator drew; the whole set gives the mean."""
    rng = np.random.default_rng(4)
    expected = [rows(case)[rng.choice(len(case.x), 3, replace=False)].mean(axis=0) for _ in range(5)]
    close(case.measure(noise.batch_gradients, batch_size=3, draws=5, replacement=False, seed=4), expected, case.bound())
    whole = case.measure(noise.batch_gradients, batch_size=len(case.x), draws=1, replacement=False)
    close(whole[0], rows(case).mean(axis=0), case.bound(), rows(case))


def test_weighted_examples_and_data_sets():
    """Gradients of wᵢ ℓᵢ; batches of a data set are read as arrays are."""
    case = Case("tanh")
    weights = np.linspace(0.2, 2, len(case.x))
    expected = np.cov((weights[:, None] * rows(case)).T, bias=True)
    close(case.measure(noise.covariance, sample_weight=weights).matrix, expected)
    vector = np.ones(len(expected))
    close(case.measure(noise.product, sample_weight=weights)(vector), expected @ vector, scale=np.abs(expected).max())
    model, x, y = case.data
    close(noise.gradients(model, tf.data.Dataset.from_tensor_slices((x, y)).batch(4)), rows(case))


def test_several_inputs():
    """A net that takes a dict of inputs."""
    a, b = (keras.Input((3,), name=name, dtype="float64") for name in "ab")
    joined = keras.layers.Concatenate(dtype="float64")([a, b])
    model = keras.Model({"a": a, "b": b}, keras.layers.Dense(3, dtype="float64")(joined))
    rng = np.random.default_rng(0)
    x, y = {name: rng.normal(size=(7, 3)) for name in "ab"}, rng.integers(0, 3, 7)
    one = [
        references.gradient(model, {name: part[i : i + 1] for name, part in x.items()}, y[i : i + 1]) for i in range(7)
    ]
    close(noise.gradients(model, x, y), np.array(one))
    vector = rng.normal(size=21)
    close(noise.product(model, x, y)(vector), np.cov(np.array(one).T, bias=True) @ vector)


def test_examples_that_are_all_alike_make_no_noise():
    """C = 0: the trace, all eigenvalues and products are 0, up to rounding; what has no value is NaN."""
    model, x, y = Case("tanh").data
    x, y = np.repeat(x[:1], 6, axis=0), np.repeat(y[:1], 6)
    size = np.sum(noise.gradients(model, x, y)[0] ** 2)
    found = noise.covariance(model, x, y)
    assert max(found.trace, noise.trace(model, x, y), found.eigenpairs(2).values.max()) < 1e-28 * size
    one = noise.covariance(model, x[:1], y[:1])
    assert (one.trace, noise.trace(model, x[:1], y[:1]), noise.batch_trace(one.trace, 1, 1)) == (0, 0, 0)
    assert np.isnan([one.participation_ratio, one.share(np.eye(model.count_params())[:, :1])]).all()
    np.testing.assert_array_equal(noise.product(model, x[:1], y[:1])(np.ones(model.count_params())), 0)


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (lambda *c: noise.product(*c)(np.ones(54)), ["[55]", "[54]"]),
        (lambda *c: noise.trace(*c, regularization=True), ["regularization", "same for all examples"]),
        (lambda *c: noise.eigenpairs(*c, k=0), ["k must", "55", "0"]),
        (lambda *c: noise.covariance(*c).eigenpairs(56), ["k must", "55", "56"]),
        (lambda *c: noise.batch_gradients(*c, batch_size=12, replacement=False), ["batch_size", "11", "12"]),
        (lambda *c: noise.batch_gradients(*c, draws=0), ["draws", "0"]),
        (lambda *c: noise.batch_trace(1.0, 12, 11), ["batch_size", "11", "12"]),
        (lambda *c: noise.batch_trace(1.0, 0), ["batch_size", "0"]),
    ],
)
def test_unfit_arguments(measure, words):
    """The message names the argument, the value and what would be right."""
    with cases.refused(*words):
        measure(*Case("tanh").data)


def test_too_many_gradients_are_refused_by_their_size(monkeypatch):
    """The array would not fit; trace and eigenvalues do without it."""
    model, x, y = Case("tanh").data
    expected = noise.covariance(model, x, y)
    monkeypatch.setattr(noise, "MEMORY", 1000)
    with cases.refused("11 examples in 55 parameters", "trace, product and eigenpairs"):
        noise.gradients(model, x, y)
    assert noise.trace(model, x, y) == pytest.approx(expected.trace, rel=1e-12)
    assert noise.eigenpairs(model, x, y, 2, tolerance=1e-8).values == pytest.approx(expected.eigenvalues[:2], rel=1e-8)
