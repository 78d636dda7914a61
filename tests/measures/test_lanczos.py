"""Extreme eigenvalues and norms by Lanczos, against all eigenvalues of the matrix that nested tapes give."""

import cases
import keras
import nets
import numpy as np
import pytest
import references
from cases import Case, close

from hw1 import datasets, models, training
from hw1.measures import hessian


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
    "case", [Case("tanh"), Case("convolutional"), Case("skip"), Case("no bias", "squared error")], ids=str
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


@pytest.mark.parametrize("which", ["LM", "LA", "SA"])
@pytest.mark.parametrize("name", cases.SPECTRA)
def test_eigenvalues_of_a_prescribed_spectrum(name, which):
    """Repeated ones as often as they are repeated, and those of a cluster of width 1e-4."""
    spectrum = np.sort(cases.SPECTRA[name].values)
    chosen = spectrum[:4] if which == "SA" else spectrum[np.argsort(-np.abs(spectrum))[:4]]
    expected = spectrum[-4:] if which == "LA" else chosen
    (*data, loss), _ = nets.with_spectrum(spectrum)
    # A cluster near 0 cannot be resolved to 1e-9 of ‖H‖: Lanczos does not converge.
    for tolerance, bound in ((1e-3, 1e-4), (1e-9, 1e-8))[: 1 if which == "SA" else 2]:
        found = hessian.eigenvalues(*data, k=4, which=which, loss=loss, tolerance=tolerance)
        close(found, np.sort(expected)[::-1], bound, scale=spectrum)


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


@pytest.mark.parametrize("case", cases.KINDS + cases.SINGLE, ids=str)
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


# Norms


@pytest.mark.parametrize("case", cases.ALL, ids=str)
def test_spectral_norm_is_that_of_the_matrix(case):
    """The largest absolute eigenvalue; Lanczos stops at a residual of 1e-3, which enters squared, over the gap."""
    expected = np.linalg.norm(case.hessian, 2)
    assert case.measure(hessian.spectral_norm) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("case", cases.KINDS + cases.OTHER_LOSSES[:1], ids=str)
def test_the_block_norm_is_that_of_the_block_diagonal_matrix(case):
    """The largest norm of a block."""
    expected = max(np.linalg.norm(block, 2) for block in case.blocks)
    assert case.measure(hessian.spectral_norm, scope="block") == pytest.approx(expected, rel=1e-5)


def test_a_dead_layer_has_norm_zero():
    """Lanczos meets an H that is 0 but for the last bias."""
    model, (x, y) = nets.dead(dtype="float64"), nets.examples()
    truth = references.hessian(model, x, y)
    expected = [np.linalg.norm(block, 2) for block in references.block_diagonal(model, truth)]
    assert expected[:-1] == [0] * (len(expected) - 1)
    assert hessian.spectral_norm(model, x, y, scope="block") == pytest.approx(expected[-1], rel=1e-6)
    assert hessian.frobenius_norm(model, x, y, scope="block") == pytest.approx(np.linalg.norm(truth), rel=1e-6)


# Cost


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


# What is refused


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (lambda *c: hessian.spectral_norm(*c, scope="layer"), ["scope", "full", "block", "layer"]),
        (lambda *c: hessian.eigenvalues(*c, which="largest"), ["which", "LM", "largest"]),
        (lambda *c: hessian.eigenvalues(*c, k=0), ["k must", "55", "0"]),
        (lambda *c: hessian.eigenvalues(*c, k=56), ["k must", "55", "56"]),
        (lambda *c: hessian.eigenvalues(*c, k=1.5), ["k must", "1.5"]),
        (lambda *c: hessian.eigenvalues(*c, k=True), ["k must", "True"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_unfit_numbers_and_ends(measure, words):
    """The message names the argument, the value and what would be right."""
    with cases.refused(*words):
        measure(*Case("tanh").data)
