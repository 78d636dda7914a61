"""The benchmarks run; the times that they take are not judged here."""

import functools

import numpy as np
import pytest

from benchmarks import hessian, timing, training
from benchmarks.peers import export, measured, nets, ours, speed
from benchmarks.peers.worker import Case
from hw1 import datasets, evaluation, models
from hw1.measures import hessian as measures


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    """A hundred images instead of five thousand."""
    monkeypatch.setattr(datasets, "load", functools.partial(datasets.load, train=100, test=100))


@pytest.mark.slow
def test_the_trainer_beside_fit(monkeypatch):
    """Stacked training ends where `fit` does, well below an untrained net."""
    monkeypatch.setattr(training, "EPOCHS", 1)
    monkeypatch.setattr(training, "MEMBERS", 2)
    monkeypatch.setattr(training, "SMALL_MEMBERS", 2)
    monkeypatch.setattr(training, "GRID_STEPS", 5)
    rows = {row["what"]: row for row in training.run(repetitions=1, seeds=2, epochs=20)}
    fitted, stacked = (rows[f"training loss of {name} after 20 epochs"]["mean"] for name in ("fit", "train"))
    data = datasets.load("mnist10k")
    untrained = evaluation.evaluate(models.mlp(), data.x_train, data.y_train)[0]
    assert stacked == pytest.approx(fitted, rel=0.3)
    assert max(stacked, fitted) < untrained / 1.5


@pytest.mark.slow
def test_products_norms_and_spectra(monkeypatch):
    """The two ways to the course's sharpness agree, and λ₁ is what a float64 net gives."""
    monkeypatch.setattr(hessian, "SMALL", (2,))
    monkeypatch.setattr(hessian.models, "COURSE_HIDDEN", (3,))
    monkeypatch.setattr(hessian, "_memory", lambda: [timing.row("memory", [0.0], "GB")])  # a process of its own
    rows = {row["what"]: row for row in hessian.run(repetitions=1, nets=1)}
    assert rows["784-8-8-10: relative difference of the two"]["median"] < 1e-4
    assert max(next(row for what, row in rows.items() if "relative error" in what)["values"]) < 1e-5


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """What the comparison with other libraries reads, from few images and products."""
    path = tmp_path_factory.mktemp("peers") / "peers.npz"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load", functools.partial(datasets.load, train=100, test=100))
        patch.setattr(export, "PROBES", 6)
        export.export(path, epochs=1, examples=20, timed=(20, 40))
    return path


@pytest.mark.slow
def test_exported_results_follow_from_the_exported_arrays(exported):
    """For softmax regression, by its closed form: H = (1/n) Σ x̃x̃ᵀ ⊗ (diag p − ppᵀ), with x̃ = (x, 1)."""
    arrays = dict(np.load(exported, allow_pickle=False))
    found = {key.split("/", 1)[1]: array for key, array in arrays.items() if key.startswith("softmax regression/")}
    x = np.column_stack([found["x"].reshape(20, -1), np.ones(20)]).astype(np.float64)
    exponentials = np.exp(x @ np.vstack([found["weights/0"], found["weights/1"]]))
    p = exponentials / exponentials.sum(axis=1, keepdims=True)
    inner = p[:, :, None] * np.eye(10) - p[:, :, None] * p[:, None]
    dense = np.einsum("na,nb,nij->aibj", x, x, inner).reshape(500, 500) / 20
    for dtype, tolerance in (("float64", 1e-10), ("float32", 1e-5)):
        assert found[f"{dtype}/products"] == pytest.approx(found["vectors"] @ dense, abs=tolerance)
        assert found[f"{dtype}/eigenvalues"] == pytest.approx(np.linalg.eigvalsh(dense)[:-6:-1], rel=tolerance)
        assert found[f"{dtype}/trace"] == pytest.approx([np.trace(dense), 0], rel=tolerance)


@pytest.mark.slow
def test_every_net_is_exported(exported):
    """With results in both precisions that agree; only the estimate of the course's net has an error."""
    arrays = dict(np.load(exported, allow_pickle=False))
    for name, net in nets.NETS.items():
        for key in ("products", "eigenvalues", "trace"):
            single, double = arrays[f"{name}/float32/{key}"], arrays[f"{name}/float64/{key}"]
            assert np.linalg.norm(single - double) < 1e-4 * np.linalg.norm(double), (name, key)
        assert (arrays[f"{name}/float64/trace"][1] == 0) == net.exact


def test_the_truth_of_the_timings(exported):
    """Loss, product and eigenvalues are those of hw1 in float32; the exact trace is right."""
    timed = measured.part(dict(np.load(exported)), "timed")
    model, x, y = models.mlp(), timed["x"][:20], timed["y"][:20]
    model.set_weights([timed[f"weights/{number}"] for number in range(len(model.weights))])
    assert timed["20/loss"] == pytest.approx(evaluation.evaluate(model, x, y)[0], rel=1e-5)
    product = measures.product(model, x, y)(timed["vector"])
    assert np.linalg.norm(timed["20/product"] - product) < 1e-4 * np.linalg.norm(product)
    assert timed["20/eigenvalues"] == pytest.approx(measures.eigenvalues(model, x, y, k=5, tolerance=1e-4), rel=1e-4)
    found = measured.part(dict(np.load(exported)), "convolutional")
    model = nets.NETS["convolutional"].build(0)
    model.set_weights([found[f"weights/{number}"] for number in range(len(model.weights))])
    assert export.exact_trace(model, found["x"]) == pytest.approx(found["float64/trace"][0], rel=1e-4)


def test_eigenvalues_on_which_two_methods_differ_are_no_truth(monkeypatch):
    """The repeated eigenvalue is found twice, and one that is off is refused."""
    operator = measures.lanczos.scipy.sparse.linalg.aslinearoperator(np.diag([5.0, 4, 4, -3, 2, *np.ones(95)]))
    assert export.eigenvalues(operator) == pytest.approx([5, 4, 4, 2, -3])
    monkeypatch.setattr(export.lanczos, "eigenvalues", lambda *_: np.array([5.0, 4, 4, 2, -3.00001]))
    with pytest.raises(ValueError, match="ARPACK"):
        export.eigenvalues(operator)


class Worker:
    """A worker that has run its cases."""

    def __init__(self, cases):
        """Keeps them."""
        self.cases, self.memory = cases, dict.fromkeys(cases, 1.0)

    def run(self, name):
        """Nothing."""


class Diagonal(measured.Library):
    """A library for a diagonal matrix, whose eigenvalues are off by its setting."""

    NAME, SETTINGS, ESTIMATOR, size = "diagonal", (1e-1, 1e-2, 1e-3, 1e-4), "none", 5

    def gradient(self):
        """None."""

    def product(self, vector):
        """Hv."""
        return vector

    def eigenvalues(self, k, setting):
        """With 10 products for each digit."""
        self.count(round(-10 * np.log10(setting)))
        return np.array([-9, 5, 4, 2, 1])[:k] * (1 + setting)

    def trace(self, products, seed):
        """Off by one part in ten, up and down."""
        return 3 * (1 + 0.1 * (-1) ** seed), 0.0


def test_the_accuracy_of_a_case_is_fixed():
    """The coarsest setting that is within the target, none beyond the limit; the trace's root-mean-square error."""
    right = {"eigenvalues": np.array([5.0, 4, 2, 1, -9]), "trace": np.array(3.0)}
    cases = measured.cases(Diagonal, np.asarray, right, measured.Budget(limit=35))
    assert cases["λ₁ to 0.001"].products == cases["λ₁ … λ₅ to 0.001"].products == 30
    assert cases["λ₁ to 1e-05"].run is None
    assert "35 products" in cases["λ₁ to 1e-05"].note
    assert cases["trace"].error == pytest.approx(0.1)
    assert "density" not in cases


def test_times_at_equal_error(monkeypatch):
    """Twice the error of hw1 takes four times the products and the time; what has no time is named."""
    monkeypatch.setattr(speed.timing, "side_by_side", lambda runs, _: {name: [1.0] for name in runs})
    left, right = (
        Worker({"trace": Case(None, 1, "", 30, 0.01)}),
        Worker({"trace: one": Case(None, 1, "", 30, 0.02), "trace: two": Case(None, 0, "too many")}),
    )
    rows, missing = speed._rows(left, right, 1, "1 thread", "wall")
    assert [(row["ratio"], row["products"]) for row in rows] == [(1, 30), (4, 120)]
    assert missing == ["trace: two, 1 thread: too many"]


def test_cases_of_the_other_libraries_timings(exported, monkeypatch):
    """Those of hw1 run, on each number of images, and reach what they should."""
    monkeypatch.setitem(measured.BUDGETS, "dense", measured.Budget(probes=6, seeds=2, steps=3))
    cases = ours.cases(exported)
    assert {name.split(", ")[-1] for name in cases} == {"20 images", "40 images"}
    for case in cases.values():
        case.run()
