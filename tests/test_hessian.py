"""Tests of hw1.measures.hessian: every matrix-free result against the matrix itself, which nested tapes give.

The truth (`nets.hessian`, `references`) is computed on the model as it is, without compiling and without hw1. float64
nets are compared to 1e-12 of the largest entry, a few thousand roundings; estimates by their own standard error.
"""

import keras
import nets
import numpy as np
import pytest
import references
import scipy.linalg
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from hw1 import datasets, evaluation, models, training
from hw1.measures import hessian

CASES = pytest.mark.parametrize("name", nets.NAMES)
FEWER = pytest.mark.parametrize("name", nets.FEWER)


def close(found, expected, relative=1e-12):
    """Asserts that arrays agree up to a share of the largest expected entry."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=relative * np.abs(expected).max())


@pytest.fixture
def products(monkeypatch):
    """Counts the Hessian-vector products that are taken: the length of this list."""
    taken, original = [], hessian.product

    def counting(*arguments, **options):
        multiply = original(*arguments, **options)

        def counted(vector):
            taken.append(len(vector))
            return multiply(vector)

        counted.size = multiply.size
        return counted

    monkeypatch.setattr(hessian, "product", counting)
    return taken


# The product and the matrix


@CASES
def test_dense_is_the_jacobian_of_the_gradient(name):
    """Against nested tapes; symmetric, and nothing in the model changes."""
    model, x, y = nets.case(name)
    with nets.unchanged(model):
        found = hessian.dense(model, x, y)
    close(found, nets.hessian(name))
    np.testing.assert_array_equal(found, found.T)


@CASES
def test_product_is_the_difference_of_gradients(name):
    """Against central differences of gradients, which know no second derivatives; they are good to 1e-8."""
    model, x, y = nets.case(name)
    multiply = hessian.product(model, x, y)
    for seed in range(2):
        vector = np.random.default_rng(seed).normal(size=multiply.size)
        close(multiply(vector), references.difference_product(model, x, y, vector), 1e-7)


@CASES
def test_the_diagonal(name):
    """Against nested tapes, in chunks of which the last is smaller."""
    model, x, y = nets.case(name)
    with nets.unchanged(model):
        close(hessian.diagonal(model, x, y, chunk_size=4), np.diag(nets.hessian(name)))


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


@FEWER
def test_float32_products_are_float64_products_rounded(name):
    """The precision that the experiments run in; 1e-5 is a hundred roundings of float32."""
    model, x, y = nets.case(name, "float32")
    vector = np.random.default_rng(3).normal(size=len(nets.hessian(name)))
    with nets.unchanged(model):
        found = hessian.product(model, x, y)(vector)
    assert found.dtype == np.float32
    close(found, nets.hessian(name) @ vector, 1e-5)


@CASES
def test_block_products_are_those_of_the_block_diagonal_matrix(name):
    """Each part of the vector meets only its own block."""
    model, x, y = nets.case(name)
    multiply = hessian.product(model, x, y, scope="block")
    vector = np.random.default_rng(4).normal(size=multiply.size)
    truth = scipy.linalg.block_diag(*references.block_diagonal(model, nets.hessian(name)))
    with nets.unchanged(model):
        close(multiply(vector), truth @ vector)


@CASES
def test_blocks_are_the_diagonal_blocks(name):
    """The blocks that tf.hessians gives, one per trainable variable: also for a variable that L does not depend on."""
    model, x, y = nets.case(name)
    with nets.unchanged(model):
        found = hessian.blocks(model, x, y)
    expected = references.block_diagonal(model, nets.hessian(name))
    for block, truth in zip(found, expected, strict=True):
        np.testing.assert_allclose(block, truth, rtol=0, atol=1e-12 * np.abs(nets.hessian(name)).max())


@pytest.mark.parametrize(("dtype", "relative"), [("float32", 1e-5), ("float64", 1e-13)])
def test_softmax_regression_has_a_closed_form(dtype, relative):
    """H = mean (diag(p) − ppᵀ) ⊗ x̃x̃ᵀ with x̃ = (x, 1)."""
    model, (x, y) = nets.softmax_regression(dtype), nets.examples()
    truth = references.softmax_regression(*(w.astype("float64") for w in model.get_weights()), x, y)
    close(hessian.dense(model, x, y), truth["hessian"], relative)
    close(references.hessian(model, x, y), truth["hessian"], relative)  # the references agree with each other


VECTORS = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).normal(size=55))
NUMBERS = st.floats(-1e3, 1e3)


@pytest.fixture(scope="module")
def multiply():
    """The products of one net, made once."""
    return hessian.product(*nets.case("gelu"))


@settings(max_examples=30, deadline=None)
@given(u=VECTORS, v=VECTORS, a=NUMBERS, b=NUMBERS)
def test_the_product_is_linear_and_symmetric(multiply, u, v, a, b):
    """H(au + bv) = aHu + bHv, and uᵀHv = vᵀHu."""
    image_u, image_v = multiply(u), multiply(v)
    np.testing.assert_allclose(multiply(a * u + b * v), a * image_u + b * image_v, atol=1e-12 * (1 + abs(a) + abs(b)))
    assert u @ image_v == pytest.approx(v @ image_u, abs=1e-12)


def test_a_product_stays_with_the_parameters_it_was_made_for():
    """Later training is not seen."""
    model, x, y = nets.case("tanh")
    multiply, ones = hessian.product(model, x, y), np.ones(55)
    before = multiply(ones)
    with references.moved(model, 0.3 * ones):
        np.testing.assert_array_equal(multiply(ones), before)
        assert np.abs(hessian.product(model, x, y)(ones) - before).max() > 0.01


@pytest.mark.parametrize("size", [1, 3, 4, 11, 100])
def test_chunks_do_not_change_the_mean(size):
    """Eleven examples in pieces of any size, the last one ragged."""
    model, x, y = nets.case("no bias")
    truth = nets.hessian("no bias")
    vector = np.random.default_rng(0).normal(size=len(truth))
    close(hessian.product(model, x, y, chunk_size=size)(vector), truth @ vector)
    if size == 4:
        blocks = hessian.blocks(model, x, y, chunk_size=size)
        for block, expected in zip(blocks, references.block_diagonal(model, truth), strict=True):
            np.testing.assert_allclose(block, expected, atol=1e-13)


def test_one_example():
    """Every measure takes a single example."""
    model, x, y = nets.case("tanh")
    truth = references.hessian(model, x[:1], y[:1])
    close(hessian.dense(model, x[:1], y[:1]), truth)
    assert hessian.spectral_norm(model, x[:1], y[:1]) == pytest.approx(np.linalg.norm(truth, 2), rel=1e-6)
    assert hessian.trace(model, x[:1], y[:1], probes=3 * 55) == pytest.approx(np.trace(truth), rel=1e-10)
    weights = hessian.density(model, x[:1], y[:1], steps=5).weights
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def squares(y, outputs):
    """The loss of the next test, as a plain function."""
    return tf.reduce_mean((outputs - y) ** 2, axis=1)


@pytest.mark.parametrize(
    "loss",
    [squares, keras.losses.mean_squared_error, keras.losses.MeanSquaredError(reduction="sum")],
    ids=["own function", "Keras's function", "Loss instance"],
)
def test_other_losses(loss):
    """Products and their measures, of another mean loss."""
    model, x, y = nets.case("no bias")
    targets = np.eye(nets.CLASSES)[y]
    truth = references.hessian(model, x, targets, squares)
    close(hessian.dense(model, x, targets, loss), truth)
    assert hessian.spectral_norm(model, x, targets, loss=loss) == pytest.approx(np.linalg.norm(truth, 2), rel=1e-6)
    assert hessian.eigenvalues(model, x, targets, loss=loss) == pytest.approx(np.linalg.eigvalsh(truth)[-1:], rel=1e-6)
    assert hessian.trace(model, x, targets, loss, probes=3 * 48) == pytest.approx(np.trace(truth), rel=1e-10)
    found = hessian.frobenius_norm(model, x, targets, loss=loss, probes=3 * 48)
    assert found == pytest.approx(np.linalg.norm(truth), rel=1e-10)
    assert hessian.density(model, x, targets, loss=loss).nodes.max() == pytest.approx(np.linalg.norm(truth, 2))


def test_blocks_of_another_loss():
    """Through tf.hessians and through products."""
    model, x, y = nets.case("no bias")
    targets = np.eye(nets.CLASSES)[y]
    truth = references.block_diagonal(model, references.hessian(model, x, targets, squares))
    norms = [np.linalg.norm(block, 2) for block in truth]
    assert hessian.spectral_norm(model, x, targets, "block", squares) == pytest.approx(max(norms), rel=1e-6)
    for block, expected in zip(hessian.blocks(model, x, targets, squares), truth, strict=True):
        np.testing.assert_allclose(block, expected, atol=1e-13)


def test_an_embedding():
    """A net whose gradient is sparse, of integers."""
    layers = [keras.layers.Embedding(5, 2), keras.layers.Flatten(), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((4,), dtype="int32"), *layers])
    nets.with_random_weights(model, np.random.default_rng(1))
    x, y = np.random.default_rng(0).integers(0, 5, (11, 4)), nets.examples()[1]
    truth = references.hessian(model, x, y)
    close(hessian.dense(model, x, y), truth, 1e-5)
    close(hessian.blocks(model, x, y)[0], truth[:10, :10], 1e-5)


# Eigenvalues and norms


@pytest.mark.parametrize("which", ["LM", "LA", "SA"])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("name", ["tanh", "convolutional", "skip"])
def test_eigenvalues_are_those_of_the_matrix(products, name, k, which):
    """The k largest, most positive, most negative, by Lanczos: the nets are too large for the dense fallback."""
    truth = np.linalg.eigvalsh(nets.hessian(name))[::-1]
    expected = {"LM": truth[np.sort(np.argsort(-np.abs(truth))[:k])], "LA": truth[:k], "SA": truth[-k:]}[which]
    with nets.unchanged(nets.case(name).model):
        found = hessian.eigenvalues(*nets.case(name), k=k, which=which)
    # the default tolerance of 1e-3 is of the residual; it enters the eigenvalue squared, over the gap
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(truth).max())
    tight = hessian.eigenvalues(*nets.case(name), k=k, which=which, tolerance=1e-7)
    np.testing.assert_allclose(tight, expected, rtol=0, atol=1e-12 * np.abs(truth).max())
    assert set(products) == {len(truth)}
    assert np.all(np.diff(found) <= 0)


@pytest.mark.parametrize(("name", "k", "which"), [("tanh", 3, "LM"), ("tanh", 2, "SA"), ("frozen layer", 15, "LM")])
def test_eigenvectors(name, k, which):
    """Orthonormal, and Hv = λv; the last case is solved densely, for k of 27 is not extreme."""
    values, vectors = hessian.eigenvalues(*nets.case(name), k=k, which=which, vectors=True, tolerance=1e-7)
    truth = nets.hessian(name)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(k), atol=1e-10)
    close(truth @ vectors, vectors * values, 1e-6)
    spectrum = np.linalg.eigvalsh(truth)
    chosen = spectrum[:k] if which == "SA" else spectrum[np.argsort(-np.abs(spectrum))[:k]]
    np.testing.assert_allclose(values, np.sort(chosen)[::-1], atol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [1, 5])
def test_the_smallest_eigenvalue_of_a_convex_loss_is_zero(dtype, k):
    """Softmax regression has a null space; nothing relative to 0 can converge, so precision is relative to ‖H‖."""
    model, (x, y) = nets.softmax_regression(dtype), nets.examples()
    truth = references.softmax_regression(*(w.astype("float64") for w in model.get_weights()), x, y)["hessian"]
    smallest = hessian.eigenvalues(model, x, y, k=k, which="SA")[-1]
    assert abs(smallest) < 1e-5 * np.linalg.norm(truth, 2)


def test_more_eigenvalues_than_the_rank():
    """One example of softmax regression: H has rank 2, so the third largest eigenvalue is 0."""
    model, (x, y) = nets.softmax_regression("float32"), nets.examples(n=1)
    truth = np.linalg.eigvalsh(references.hessian(model, x.astype("float32"), y))[::-1]
    np.testing.assert_allclose(hessian.eigenvalues(model, x, y, k=3), truth[:3], atol=1e-6 * truth[0])
    assert abs(truth[2]) < 1e-6 * truth[1]


@CASES
def test_spectral_norm_is_that_of_the_matrix(name):
    """The largest absolute eigenvalue; Lanczos stops at a residual of 1e-3, which enters squared, over the gap."""
    with nets.unchanged(nets.case(name).model):
        found = hessian.spectral_norm(*nets.case(name))
    assert found == pytest.approx(np.linalg.norm(nets.hessian(name), 2), rel=1e-5)


@CASES
def test_the_block_norm_is_that_of_the_block_diagonal_matrix(name):
    """The largest norm of a block."""
    blocks = references.block_diagonal(nets.case(name).model, nets.hessian(name))
    with nets.unchanged(nets.case(name).model):
        found = hessian.spectral_norm(*nets.case(name), scope="block")
    assert found == pytest.approx(max(np.linalg.norm(block, 2) for block in blocks), rel=1e-5)


@CASES
def test_layer_eigenvalues_are_those_of_the_sub_blocks(name):
    """The layers' blocks are cut out of the matrix here: a run of variables of one layer is one block."""
    model, x, y = nets.case(name)
    truth, start, blocks = nets.hessian(name), 0, {}
    for variable in model.trainable_variables:  # "model/layer/kernel" or "layer/kernel"
        layer, end = variable.path.split("/")[-2], start + int(np.prod(variable.shape))
        blocks[layer] = (blocks.get(layer, (start,))[0], end)
        start = end
    found = hessian.layer_eigenvalues(model, x, y, k=3, tolerance=1e-8)
    assert len(found) == len(blocks)
    for values, (start, end) in zip(found.values(), blocks.values(), strict=True):
        expected = np.linalg.eigvalsh(truth[start:end, start:end])
        largest = expected[np.argsort(-np.abs(expected))[:3]]
        close(values, np.sort(largest)[::-1], 1e-6) if largest.any() else close(values, 0 * values + 0.0)


def dead(hidden=(8, 4)):
    """A net whose first layer never fires: H is zero in all but the last bias."""
    model = nets.mlp(hidden=hidden, dtype="float64")
    kernel, bias, *others = model.get_weights()
    model.set_weights([kernel, bias - 100, *others])
    return model


def test_a_dead_layer_has_norm_zero():
    """Lanczos meets an H that is 0 but for the last bias."""
    model, (x, y) = dead(), nets.examples()
    truth = references.hessian(model, x, y)
    expected = [np.linalg.norm(block, 2) for block in references.block_diagonal(model, truth)]
    assert expected[:-1] == [0] * (len(expected) - 1)
    assert hessian.spectral_norm(model, x, y, scope="block") == pytest.approx(expected[-1], rel=1e-6)
    assert hessian.frobenius_norm(model, x, y, scope="block") == pytest.approx(np.linalg.norm(truth), rel=1e-6)


def test_a_linear_loss_has_no_curvature():
    """Every measure of H = 0 is 0."""
    model, (x, y) = nets.softmax_regression(), nets.examples()

    def first_logit(y, outputs):
        return outputs[:, 0]

    for matrix in (hessian.dense(model, x, y, first_logit), *hessian.blocks(model, x, y, first_logit)):
        assert not matrix.any()
    for which in ("LM", "LA", "SA"):
        np.testing.assert_array_equal(hessian.eigenvalues(model, x, y, 2, which, first_logit), [0, 0])
    assert hessian.spectral_norm(model, x, y, loss=first_logit) == 0
    assert (hessian.trace(model, x, y, first_logit), hessian.frobenius_norm(model, x, y, loss=first_logit)) == (0, 0)
    np.testing.assert_array_equal(hessian.density(model, x, y, loss=first_logit).nodes, 0)


def test_the_course_net_needs_few_products(products):
    """784-30-20-10 after a little training: at most 16 products for λ₁ to 1e-5, truth by a tight run in float64."""
    data = datasets.load("mnist10k", train=320, test=100)
    adam = keras.optimizers.Adam
    settings = {"batch_size": 32, "epochs": 3, "evaluate_every": 3, "seeds": 1, "optimizer": adam}
    model = training.train(lambda seed: models.mlp(seed=seed), data, **settings)[0].model
    (found,) = hessian.eigenvalues(model, data.x_train, data.y_train)
    used = len(products)
    double = models.with_dtype(model, "float64")
    (truth,) = hessian.eigenvalues(double, data.x_train, data.y_train, tolerance=1e-10)
    assert found == pytest.approx(truth, rel=1e-5)
    assert truth > 1
    assert used <= 16


# Estimates


@pytest.mark.parametrize("name", ["tanh", "normalised", "frozen layer"])
def test_full_probes_are_exact(name):
    """With probes for every direction nothing is left to estimate."""
    model, x, y = nets.case(name)
    truth = nets.hessian(name)
    blocks = references.block_diagonal(model, truth)
    probes = 3 * len(truth)
    with nets.unchanged(model):
        trace = hessian.trace(model, x, y, probes=probes)
        norm = hessian.frobenius_norm(model, x, y, probes=probes)
        block_norm = hessian.frobenius_norm(model, x, y, scope="block", probes=probes)
    assert trace == pytest.approx(np.trace(truth), rel=1e-11)
    assert norm == pytest.approx(np.linalg.norm(truth), rel=1e-11)
    assert block_norm == pytest.approx(np.sqrt(sum(np.sum(b**2) for b in blocks)), rel=1e-11)
    for estimate in (trace, norm, block_norm):
        assert isinstance(estimate, float)
        assert estimate.standard_error < 1e-11


@pytest.mark.parametrize(
    ("measure", "options", "truth"),
    [
        (hessian.trace, {"probes": 30}, lambda blocks, h: np.trace(h)),
        (hessian.frobenius_norm, {"probes": 30}, lambda blocks, h: np.linalg.norm(h)),
        (hessian.frobenius_norm, {"probes": 30, "scope": "block"}, lambda blocks, h: np.linalg.norm(np.hstack(blocks))),
    ],
    ids=["trace", "Frobenius", "Frobenius of the blocks"],
)
def test_the_standard_error_is_honest(measure, options, truth):
    """Over 40 seeds: no bias, and errors as large as the standard errors say.

    The mean error lies within 3 of its own standard errors. The mean squared error is the mean squared standard error
    up to a factor of 2.5: over thousands of seeds the two are equal to 10 %, over 40 at a time they differ by up to 2.
    Two standard errors, from ten samples each, hold the truth for 9 of 10 seeds; 40 seeds give at least 30.
    """
    model, x, y = nets.case("tanh")
    blocks = references.block_diagonal(model, nets.hessian("tanh"))
    expected = truth([block.reshape(1, -1) for block in blocks], nets.hessian("tanh"))
    estimates = [measure(model, x, y, seed=seed, **options) for seed in range(40)]
    errors = np.array(estimates) - expected
    assert len(set(estimates)) == 40
    assert abs(errors.mean()) < 3 * errors.std() / np.sqrt(40)
    standard = np.array([e.standard_error for e in estimates])
    assert 0.4 < np.mean(errors**2) / np.mean(standard**2) < 2.5
    assert np.sum(np.abs(errors) < 2 * standard) >= 30
    assert standard.mean() < 0.1 * expected


def test_more_probes_err_less_than_hutchinson():
    """Hutch++ with 60 products errs less than Hutchinson's plain estimator, whose variance is 2 Σ_{i≠j} H_ij²."""
    model, x, y = nets.case("tanh")
    truth = nets.hessian("tanh")
    errors = [hessian.trace(model, x, y, probes=60, seed=seed) - np.trace(truth) for seed in range(20)]
    plain = np.sqrt(2 * np.sum((truth - np.diag(np.diag(truth))) ** 2) / 60)
    assert np.sqrt(np.mean(np.square(errors))) < plain / 2


def test_density_is_a_density():
    """It integrates to 1, is nowhere negative, and covers the spectrum; every probe's weights sum to 1."""
    model, x, y = nets.case("tanh")
    with nets.unchanged(model):
        found = hessian.density(model, x, y, steps=30, probes=5, points=2000)
    assert found.grid.shape == found.density.shape == (2000,)
    assert found.nodes.shape == found.weights.shape == (5, 30)
    # the margins of four standard deviations leave out 6e-5
    assert np.trapezoid(found.density, found.grid) == pytest.approx(1, abs=1e-4)
    assert found.density.min() >= 0
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, rtol=1e-12)
    spectrum = np.linalg.eigvalsh(nets.hessian("tanh"))
    assert found.grid[0] < spectrum[0] < spectrum[-1] < found.grid[-1]
    # the outermost Ritz values have converged long before thirty steps
    np.testing.assert_allclose(found.nodes.max(axis=1), spectrum[-1], atol=1e-6)
    np.testing.assert_allclose(found.nodes.min(axis=1), spectrum[0], atol=1e-6)


def test_moments_of_the_density():
    """Its mean is trace(H)/n, its second moment ‖H‖_F²/n, within four standard errors of 60 probes."""
    truth = nets.hessian("tanh")
    found = hessian.density(*nets.case("tanh"), steps=5, probes=60)
    for power in (1, 2, 3):
        expected = np.trace(np.linalg.matrix_power(truth, power)) / len(truth)
        samples = (found.weights * found.nodes**power).sum(axis=1)
        error = samples.std(ddof=1) / np.sqrt(len(samples))
        assert abs(samples.mean() - expected) < 4 * error
        assert error < 0.3 * np.linalg.norm(truth, 2) ** power  # small enough for the comparison to mean something
    smooth = np.trapezoid(found.density * found.grid, found.grid)
    assert smooth == pytest.approx((found.weights * found.nodes).sum(axis=1).mean(), abs=1e-4)


def test_all_steps_give_the_spectrum_itself():
    """As many Lanczos steps as parameters: the nodes are the eigenvalues, all of them, for every probe.

    A regression, whose Hessian has no null space: logits could all be shifted.
    """
    model = nets.perturbed(models.mlp((3,), "tanh", input_shape=(2,), classes=1, dtype="float64"), 1)
    x, y = nets.examples((2,))
    targets = np.eye(3)[y][:, :1]
    truth = np.linalg.eigvalsh(references.hessian(model, x, targets, keras.losses.mean_squared_error))
    found = hessian.density(model, x, targets, steps=1000, loss=keras.losses.mean_squared_error)
    assert len(truth) == found.nodes.shape[1] == 13
    np.testing.assert_allclose(np.sort(found.nodes), np.tile(truth, (4, 1)), atol=1e-10)
    # an eigenvector's weight is the share of the starting vector in it: 1/n on average, and never 0
    assert 0.2 / 13 < found.weights.mean(axis=0).min() < found.weights.mean(axis=0).max() < 5 / 13


def test_lanczos_stops_where_the_space_is_exhausted():
    """A null space is one node: softmax regression on one example has the eigenvalues 0, a, b, and no others."""
    model, (x, y) = nets.softmax_regression(), nets.examples(n=1)
    truth = np.linalg.eigvalsh(references.hessian(model, x, y))
    found = hessian.density(model, x, y, steps=10, probes=3)
    heavy = found.nodes[found.weights > 1e-12].reshape(3, 3)
    np.testing.assert_allclose(np.sort(heavy), np.tile([0, *truth[-2:]], (3, 1)), atol=1e-12)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1)


@pytest.mark.parametrize("measure", [hessian.trace, hessian.frobenius_norm, hessian.density, hessian.eigenvalues])
def test_a_seed_gives_the_same_bytes(measure):
    """Whatever the global generators do; and the start of Lanczos is fixed."""
    found = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        value = measure(*nets.case("skip"))
        found.append([np.asarray(part).tobytes() for part in (value if isinstance(value, tuple) else [value])])
    assert found[0] == found[1]


# Bad arguments


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (lambda *c: hessian.product(*c)(np.ones(54)), ["[55]", "[54]"]),
        (lambda *c: hessian.product(*c)(np.ones((55, 1))), ["[55]", "[55, 1]"]),
        (lambda *c: hessian.product(*c, chunk_size=0), ["chunk_size", "0"]),
        (lambda *c: hessian.product(*c, scope="layer"), ["scope", "full", "block", "layer"]),
        (lambda *c: hessian.spectral_norm(*c, scope="layer"), ["scope", "full", "block", "layer"]),
        (lambda *c: hessian.frobenius_norm(*c, scope="layer"), ["scope", "layer"]),
        (lambda *c: hessian.eigenvalues(*c, which="largest"), ["which", "LM", "largest"]),
        (lambda *c: hessian.eigenvalues(*c, k=0), ["k must", "55", "0"]),
        (lambda *c: hessian.eigenvalues(*c, k=56), ["k must", "55", "56"]),
        (lambda *c: hessian.eigenvalues(*c, k=1.5), ["k must", "1.5"]),
        (lambda *c: hessian.eigenvalues(*c, k=True), ["k must", "True"]),
        (lambda *c: hessian.trace(*c, probes=5), ["probes", "6", "5"]),
        (lambda *c: hessian.frobenius_norm(*c, probes=5), ["probes", "6", "5"]),
        (lambda *c: hessian.density(*c, steps=0), ["steps", "0"]),
        (lambda *c: hessian.density(*c, probes=0), ["probes", "0"]),
        (lambda *c: hessian.density(*c, points=0), ["points", "0"]),
        (lambda *c: hessian.density(*c, width=0), ["width", "0"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_unfit_arguments(measure, words):
    """The message names the argument, the value and what would be right."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        measure(*nets.case("tanh"))
    assert all(word in str(caught.value) for word in words), caught.value


LAYERS = keras.layers
WRONG_TWICE = {
    "max pooling of one pixel": LAYERS.MaxPooling2D(1),
    "max pooling, same": LAYERS.MaxPooling2D(2, strides=1, padding="same"),
    "max pooling in a Lambda": LAYERS.Lambda(lambda x: keras.ops.max_pool(x, 2, 1, "same")),
    "bilinear resizing": LAYERS.UpSampling2D(2, interpolation="bilinear"),
}


@pytest.mark.parametrize("name", WRONG_TWICE)
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
