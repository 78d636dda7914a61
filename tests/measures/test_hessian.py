"""Measures of nets' Hessians against the matrix that nested tapes give, with all of its eigenvalues.

The algorithms are tested on matrices in test_lanczos.py, test_stochastic.py and test_quadrature.py.
"""

import cases
import keras
import nets
import numpy as np
import pytest
import references
import scipy.linalg
import spectra
from cases import Case, close

from hw1 import datasets, models, training
from hw1.measures import hessian, stochastic


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


# Eigenvalues


@pytest.mark.parametrize("which", ["LM", "LA", "SA"])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize(
    "case", cases.some([Case("tanh"), Case("convolutional"), Case("skip"), Case("no bias", "squared error")]), ids=str
)
def test_eigenvalues_are_those_of_the_matrix(products, case, k, which):
    """The k largest, most positive, most negative, by Lanczos: the nets are too large for the dense fallback."""
    truth = np.linalg.eigvalsh(case.hessian)[::-1]
    expected = {"LM": truth[np.sort(np.argsort(-np.abs(truth))[:k])], "LA": truth[:k], "SA": truth[-k:]}[which]
    found = case.measure(hessian.eigenvalues, k=k, which=which)
    # the default tolerance of 1e-3 is of the residual; it enters the eigenvalue squared, over the gap
    close(found, expected, 1e-5, scale=truth)
    close(case.measure(hessian.eigenvalues, k=k, which=which, tolerance=1e-7), expected, scale=truth)
    assert set(products) == {len(truth)}
    assert np.all(np.diff(found) <= 0)


@pytest.mark.parametrize(("kind", "k", "which"), [("tanh", 3, "LM"), ("tanh", 2, "SA"), ("frozen layer", 15, "LM")])
def test_eigenvectors(kind, k, which):
    """Orthonormal, and Hv = λv; the last case is solved densely, for k of 27 is not extreme."""
    case = Case(kind)
    values, vectors = case.measure(hessian.eigenvalues, k=k, which=which, vectors=True, tolerance=1e-7)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(k), atol=1e-10)
    close(case.hessian @ vectors, vectors * values, 1e-6)
    spectrum = np.linalg.eigvalsh(case.hessian)
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


@pytest.mark.parametrize("case", cases.PLAIN + (cases.SINGLE if cases.EVERY_CASE else cases.SINGLE[:1]), ids=str)
def test_layer_eigenvalues_are_those_of_the_sub_blocks(case):
    """The layers' blocks are cut out of the matrix here: a run of variables of one layer is one block."""
    start, blocks = 0, {}
    for variable in case.model.trainable_variables:  # "model/layer/kernel" or "layer/kernel"
        layer, end = variable.path.split("/")[-2], start + int(np.prod(variable.shape))
        blocks[layer] = (blocks.get(layer, (start,))[0], end)
        start = end
    found = case.measure(hessian.layer_eigenvalues, k=3, tolerance=1e-8)
    assert len(found) == len(blocks)
    for values, (start, end) in zip(found.values(), blocks.values(), strict=True):
        expected = np.linalg.eigvalsh(case.hessian[start:end, start:end])
        largest = np.sort(expected[np.argsort(-np.abs(expected))[:3]])[::-1]
        close(values, largest, case.bound(1e-6))


@pytest.mark.slow
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


# Norms, trace and density


@pytest.mark.parametrize("case", cases.ALL, ids=str)
def test_spectral_norm_is_that_of_the_matrix(case):
    """The largest absolute eigenvalue; Lanczos stops at a residual of 1e-3, which enters squared, over the gap."""
    expected = np.linalg.norm(case.hessian, 2)
    assert case.measure(hessian.spectral_norm) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("case", cases.DOUBLE, ids=str)
def test_the_block_norm_is_that_of_the_block_diagonal_matrix(case):
    """The largest norm of a block."""
    expected = max(np.linalg.norm(block, 2) for block in case.blocks)
    assert case.measure(hessian.spectral_norm, scope="block") == pytest.approx(expected, rel=1e-5)


def test_a_dead_layer_has_norm_zero():
    """Lanczos meets an H that is 0 but for the last bias."""
    model, (x, y) = nets.dead(hidden=(4, 3), dtype="float64"), nets.examples()
    truth = references.hessian(model, x, y)
    expected = [np.linalg.norm(block, 2) for block in references.block_diagonal(model, truth)]
    assert expected[:-1] == [0] * (len(expected) - 1)
    assert hessian.spectral_norm(model, x, y, scope="block") == pytest.approx(expected[-1], rel=1e-6)
    assert hessian.frobenius_norm(model, x, y, scope="block") == pytest.approx(np.linalg.norm(truth), rel=1e-6)


EXACT = (Case("tanh"), cases.SINGLE[0], cases.SOME[1], Case("normalised"), Case("frozen layer"), *cases.OTHER_LOSSES)


@pytest.mark.parametrize("case", cases.some(EXACT, 3), ids=str)
def test_full_probes_are_exact(case):
    """With probes for every direction nothing is left to estimate."""
    probes = 3 * len(case.hessian)
    trace = case.measure(hessian.trace, probes=probes)
    norm = case.measure(hessian.frobenius_norm, probes=probes)
    assert trace == pytest.approx(np.trace(case.hessian), rel=case.bound(1e-11))
    assert norm == pytest.approx(np.linalg.norm(case.hessian), rel=case.bound(1e-11))
    for estimate in (trace, norm):
        assert isinstance(estimate, float)
        assert estimate.standard_error < case.bound(1e-11)


@pytest.mark.parametrize("case", cases.some([Case("frozen layer"), Case("tanh"), Case("normalised")], 1), ids=str)
def test_full_probes_are_exact_for_blocks(case):
    """The norm of the block-diagonal matrix."""
    found = case.measure(hessian.frobenius_norm, scope="block", probes=3 * len(case.hessian))
    assert found == pytest.approx(np.sqrt(sum(np.sum(block**2) for block in case.blocks)), rel=1e-11)
    assert found.standard_error < 1e-11


def test_few_probes_estimate_as_from_the_matrix():
    """Probes, seed and scope are handed on; the defaults are those of the docstrings."""
    case = Case("tanh")
    full, block = (spectra.operator(matrix) for matrix in (case.hessian, scipy.linalg.block_diag(*case.blocks)))
    pairs = [
        (case.measure(hessian.trace), stochastic.trace(full, 30, 0)),
        (case.measure(hessian.trace, probes=12, seed=5), stochastic.trace(full, 12, 5)),
        (case.measure(hessian.frobenius_norm), stochastic.frobenius_norm(full, 90, 0)),
        (
            case.measure(hessian.frobenius_norm, scope="block", probes=12, seed=5),
            stochastic.frobenius_norm(block, 12, 5),
        ),
    ]
    for found, expected in pairs:
        assert found == pytest.approx(expected, rel=1e-10)
        assert found.standard_error == pytest.approx(expected.standard_error, rel=1e-8)


@pytest.mark.parametrize("case", cases.some([Case("tanh"), *cases.OTHER_LOSSES[::-1]]), ids=str)
def test_the_density_reaches_the_ends_of_the_spectrum(case):
    """With the default settings: in a hundred steps at most, as many as there are parameters here."""
    spectrum = np.linalg.eigvalsh(case.hessian)
    nodes = case.measure(hessian.density).nodes
    assert nodes.max() == pytest.approx(spectrum[-1], rel=1e-6)
    assert nodes.min() == pytest.approx(spectrum[0], rel=1e-6, abs=1e-6 * spectrum[-1])


# All of them


def test_one_example():
    """Every measure takes a single example."""
    model, x, y = Case("tanh").data
    truth = references.hessian(model, x[:1], y[:1])
    close(hessian.dense(model, x[:1], y[:1]), truth)
    assert hessian.spectral_norm(model, x[:1], y[:1]) == pytest.approx(np.linalg.norm(truth, 2), rel=1e-6)
    assert hessian.trace(model, x[:1], y[:1], probes=3 * 55) == pytest.approx(np.trace(truth), rel=1e-10)
    weights = hessian.density(model, x[:1], y[:1], steps=5).weights
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def first_logit(y, outputs):
    """A loss that is linear in the outputs."""
    return outputs[:, 0]


def test_a_linear_loss_has_no_curvature(monkeypatch):
    """Every measure of H = 0 is 0."""
    cases.keep_programs(monkeypatch, first_logit)
    model, (x, y) = nets.softmax_regression(), nets.examples()
    for matrix in (hessian.dense(model, x, y, first_logit), *hessian.blocks(model, x, y, first_logit)):
        assert not matrix.any()
    for which in ("LM", "LA", "SA"):
        np.testing.assert_array_equal(hessian.eigenvalues(model, x, y, 2, which, first_logit), [0, 0])
    assert hessian.spectral_norm(model, x, y, loss=first_logit) == 0
    assert (hessian.trace(model, x, y, first_logit), hessian.frobenius_norm(model, x, y, loss=first_logit)) == (0, 0)
    np.testing.assert_array_equal(hessian.density(model, x, y, loss=first_logit).nodes, 0)


@pytest.mark.parametrize("measure", [hessian.trace, hessian.frobenius_norm, hessian.density, hessian.eigenvalues])
def test_a_seed_gives_the_same_bytes(measure):
    """Whatever the global generators do; and the start of Lanczos is fixed."""
    found = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        value = Case("tanh").measure(measure)
        found.append([np.asarray(part).tobytes() for part in (value if isinstance(value, tuple) else [value])])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (lambda *c: hessian.spectral_norm(*c, scope="layer"), ["scope", "full", "block", "layer"]),
        (lambda *c: hessian.frobenius_norm(*c, scope="layer"), ["scope", "layer"]),
        (lambda *c: hessian.eigenvalues(*c, which="largest"), ["which", "LM", "largest"]),
        (lambda *c: hessian.eigenvalues(*c, k=56), ["k must", "55", "56"]),
        (lambda *c: hessian.trace(*c, probes=5), ["probes", "6", "5"]),
        (lambda *c: hessian.frobenius_norm(*c, probes=5), ["probes", "6", "5"]),
        (lambda *c: hessian.density(*c, width=0), ["width", "0"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_unfit_arguments(measure, words):
    """The message names the argument, the value and what would be right."""
    with cases.refused(*words):
        measure(*Case("tanh").data)
