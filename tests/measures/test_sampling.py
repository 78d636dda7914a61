"""The error by the sampling of examples: closed forms, the jackknife by brute force, and its coverage."""

import itertools

import cases
import nets
import numpy as np
import pytest
import references
import tensorflow as tf

from hw1.measures import gauss_newton, hessian, lanczos, products, sampling, stochastic


def matrices(rng, chunks, size, rank=4):
    """Chunks' matrices, symmetric, with a spectrum of a few large eigenvalues."""
    roots = rng.normal(size=(chunks, size, rank)) * np.geomspace(1, 0.1, size)[:, None]
    return roots @ np.swapaxes(roots, 1, 2)


def record_of(parts, sizes, **options):
    """A record of products with a mean of NumPy matrices."""

    def multiply(vector):
        return sum(multiply.chunks(vector)).numpy() / sum(sizes)

    multiply.size, multiply.sizes = parts.shape[1], list(sizes)
    multiply.chunks = lambda vector: tf.unstack(np.array(sizes)[:, None] * (parts @ vector))
    return sampling.Record(multiply, **options)


# The formula


def test_the_mean_of_chunks_of_one_example_has_its_textbook_error():
    """Standard deviation / √n, no bias."""
    values = np.random.default_rng(0).normal(size=17)
    found = sampling.jackknife(values.mean(), sampling.without(values, np.ones(17)), np.ones(17))
    assert found.standard_error == pytest.approx(np.std(values, ddof=1) / np.sqrt(17))
    assert found.bias == pytest.approx(0, abs=1e-15)
    assert sampling.mean(values).standard_error == pytest.approx(found.standard_error)


def test_the_bias_of_a_squared_mean_is_that_of_the_formula():
    """mean² exceeds the square of the expectation by variance / n, which the jackknife estimates without bias."""
    values = np.random.default_rng(1).normal(size=40)
    found = sampling.jackknife(values.mean() ** 2, sampling.without(values, np.ones(40)) ** 2, np.ones(40))
    assert found.bias == pytest.approx(np.var(values, ddof=1) / 40)


def test_unequal_chunks_estimate_the_variance_without_bias():
    """Over many samples, where the chunks have 10, 20, 5 and 30 examples."""
    rng, sizes = np.random.default_rng(2), np.array([10, 20, 5, 30, 12, 9])
    ends = np.cumsum([0, *sizes])
    found, truth = [], []
    for _ in range(4000):
        values = rng.exponential(size=sizes.sum())
        means = [values[a:b].mean() for a, b in itertools.pairwise(ends)]
        found.append(sampling.jackknife(values.mean(), sampling.without(means, sizes), sizes).standard_error ** 2)
        truth.append(values.mean())
    assert np.mean(found) == pytest.approx(np.var(truth), rel=0.06)


def test_one_chunk_says_nothing():
    """An error that nobody knows is infinite, not 0."""
    assert sampling.jackknife(1.0, [np.nan], [5]).error == np.inf
    assert sampling.mean([3.0]).error == np.inf


def test_examples_for_a_wanted_error():
    """The root of s se² + s² bias² = tolerance², s = n / examples; with one part only the textbook's."""
    assert sampling.Sampling(0.2, 0.0).examples(500, 0.1) == 2000
    assert sampling.Sampling(0.0, 0.2).examples(500, 0.1) == 1000
    found = sampling.Sampling(0.3, 0.4)
    share = 500 / found.examples(500, 0.05)
    assert 0.3**2 * share + 0.4**2 * share**2 == pytest.approx(0.05**2, rel=1e-2)
    assert sampling.Sampling(0.0, 0.0).examples(500, 0.1) == 1
    with pytest.raises(ValueError, match="above 0"):
        found.examples(500, 0.0)


# The record


def test_traces_of_blocks_without_a_chunk():
    """With the products of unit vectors they are those of the matrices left out."""
    parts, sizes = matrices(np.random.default_rng(3), 5, 12), np.array([7, 7, 7, 7, 3])
    record = record_of(parts, sizes, blocks=[np.arange(4), np.arange(4, 12)])
    stochastic.trace(record.operator, 12, 0)
    for rows, found in zip((range(12), range(4), range(4, 12)), record.traces(12), strict=True):
        traces = [np.trace(part[np.ix_(rows, rows)]) for part in parts]
        left_out = [np.average(np.delete(traces, j), weights=np.delete(sizes, j)) for j in range(5)]
        assert found == pytest.approx(sampling.jackknife(np.average(traces, weights=sizes), left_out, sizes))


def test_frobenius_norms_without_a_chunk():
    """Likewise."""
    parts, sizes = matrices(np.random.default_rng(4), 5, 12), np.array([7, 7, 7, 7, 3])
    record = record_of(parts, sizes)
    stochastic.frobenius_norm(record.operator, 12, 0)
    left_out = [np.average(np.delete(parts, j, 0), axis=0, weights=np.delete(sizes, j)) for j in range(5)]
    norms = [np.linalg.norm(part) for part in left_out]
    whole = np.linalg.norm(np.average(parts, axis=0, weights=sizes))
    assert record.frobenius_norm(12) == pytest.approx(sampling.jackknife(whole, norms, sizes))


def test_random_probes_come_near_the_errors_of_exact_traces_and_norms():
    """The vectors' own noise enlarges them: by a quarter for the whole with 60 products of 200 rows."""
    parts, sizes = matrices(np.random.default_rng([5, 1]), 10, 200), np.full(10, 50)
    exact = record_of(parts, sizes, blocks=[np.arange(50)])
    stochastic.trace(exact.operator, 200, 0)
    found = []
    for seed in range(20):
        record = record_of(parts, sizes, blocks=[np.arange(50)])
        stochastic.trace(record.operator, 60, seed)
        found.append([each.standard_error for each in (*record.traces(60), record.frobenius_norm(60))])
    truth = [each.standard_error for each in (*exact.traces(200), exact.frobenius_norm(200))]
    ratios = np.sqrt(np.mean(np.square(found), axis=0)) / truth
    assert (ratios > 0.9).all()
    assert (ratios < [1.3, 3, 1.3]).all(), ratios


def test_a_scaled_record_is_that_of_the_scaled_matrices():
    """D H_j D."""
    parts, sizes, scale = matrices(np.random.default_rng(6), 3, 20), [5, 5, 4], np.geomspace(0.1, 3, 20)
    scaled, other = record_of(parts, sizes, scale=scale), record_of(parts * np.outer(scale, scale), sizes)
    vector = np.random.default_rng(7).normal(size=20)
    assert scaled.operator.matvec(vector) == pytest.approx(other.operator.matvec(vector))
    assert np.allclose(scaled.quadratic, other.quadratic)
    assert np.allclose(scaled.squares, other.squares)


@pytest.mark.parametrize("sign", [1, -1])
def test_eigenvalues_without_a_chunk(sign):
    """Close to those of the matrices themselves: the errors are far below what a chunk changes."""
    parts, sizes = sign * matrices(np.random.default_rng(8), 10, 60, rank=20), np.full(10, 50)
    record = record_of(parts, sizes)
    found = lanczos.eigenpairs(record.operator, 1, "LM", 1e-6)
    whole, left_out = sampling.eigenvalues_left_out(record, found.vectors[:, 0], found.values[0])
    assert whole == pytest.approx(found.values[0], rel=1e-6)
    truth = [np.linalg.eigvalsh((parts.sum(axis=0) - part) / 9)[-1 if sign > 0 else 0] for part in parts]
    assert np.abs(left_out - truth).max() < 0.05 * np.ptp(truth)
    ours, theirs = (sampling.jackknife(whole, values, sizes) for values in (left_out, truth))
    assert ours.standard_error == pytest.approx(theirs.standard_error, rel=0.02)
    assert ours.bias == pytest.approx(theirs.bias, rel=0.2)


@pytest.mark.parametrize("kind", ["hessian", "block", "gauss-newton"])
def test_products_by_chunks_add_up(kind):
    """Chunk by chunk they are the products of nets on those examples alone."""
    net = nets.case("tanh")
    make = {
        "hessian": hessian.product,
        "block": lambda *a, **o: products.product(*a, scope="block", **o),
        "gauss-newton": gauss_newton.product,
    }[kind]
    multiply = make(net.model, net.x, net.y, chunk_size=4)
    assert multiply.sizes == [4, 4, 3]
    vector = np.random.default_rng(9).normal(size=multiply.size)
    for start, found in zip((0, 4, 8), multiply.chunks(vector), strict=True):
        own = make(net.model, net.x[start : start + 4], net.y[start : start + 4])
        assert np.allclose(found.numpy() / len(net.y[start : start + 4]), own(vector))


# Coverage


def population(rng, size=30):
    """A law of examples: the Hessian of softmax regression's loss of two classes at a point, one matrix an example."""
    scales = np.geomspace(2, 0.1, size)

    def draw(n):
        x = rng.normal(size=(n, size)) * scales
        p = 1 / (1 + np.exp(-x[:, 0]))
        return x * np.sqrt(p * (1 - p))[:, None]  # H_i = rᵢrᵢᵀ

    return draw


MEASURES = {
    "λ₁": lambda matrix: np.linalg.eigvalsh(matrix)[-1],
    "trace": np.trace,
    "frobenius": np.linalg.norm,
}


@pytest.mark.parametrize("name", cases.some(MEASURES, 1))
def test_two_errors_hold_the_truth_of_the_population(name):
    """In 88 to 98 % of 300 samples of 200 examples, for ten chunks; one error in 55 to 80 %."""
    rng, size = np.random.default_rng(10), 30
    draw, sizes = population(rng), np.full(10, 20)
    many = draw(200_000)
    truth, ratios = MEASURES[name](many.T @ many / len(many)), []
    for _ in range(300):
        roots = draw(200).reshape(10, 20, size)
        record = record_of(np.swapaxes(roots, 1, 2) @ roots / 20, sizes)
        if name == "λ₁":
            found = lanczos.eigenpairs(record.operator, 1, "LA", 1e-5)
            value = found.values[0]
            error = sampling.jackknife(*sampling.eigenvalues_left_out(record, found.vectors[:, 0], value), sizes)
        elif name == "trace":
            value = stochastic.trace(record.operator, size, 0)
            error = record.traces(size)[0]
        else:
            value = stochastic.frobenius_norm(record.operator, size, 0)
            error = record.frobenius_norm(size)
        ratios.append(abs(value - truth) / error.error)
    assert 0.88 < np.mean(np.array(ratios) < 2) < 0.985
    assert 0.55 < np.mean(np.array(ratios) < 1) < 0.8


@pytest.mark.slow
def test_errors_of_a_net_are_those_of_samples_from_its_data():
    """λ₁ of a net on 30 samples of 100 examples: the mean error and the spread of the values agree."""
    rng, net = np.random.default_rng(11), nets.case("tanh").model
    values, errors = [], []
    for _ in range(30):
        x, y = rng.random((100, *nets.SHAPE)), rng.integers(0, nets.CLASSES, 100)
        record = sampling.Record(hessian.product(net, x, y, chunk_size=10))
        found = lanczos.eigenpairs(record.operator, 1, "LA", 1e-4)
        whole, left_out = sampling.eigenvalues_left_out(record, found.vectors[:, 0], found.values[0])
        values.append(found.values[0])
        errors.append(sampling.jackknife(whole, left_out, record.sizes).error)
    assert values[0] == pytest.approx(np.linalg.eigvalsh(references.hessian(net, *_first(11)))[-1], rel=1e-5)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(values), rel=0.4)


def _first(seed):
    """The examples of the first sample of the test above."""
    rng = np.random.default_rng(seed)
    return rng.random((100, *nets.SHAPE)), rng.integers(0, nets.CLASSES, 100)
