"""The benchmarks run; the times that they take are not judged here."""

import functools

import numpy as np
import pytest

from benchmarks import hessian, timing, training
from benchmarks.peers import export, nets, ours
from hw1 import datasets, evaluation, models


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    """A hundred images instead of five thousand."""
    monkeypatch.setattr(datasets, "load", functools.partial(datasets.load, train=100, test=100))


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


def test_every_net_is_exported(exported):
    """With results in both precisions that agree; only the estimate of the course's net has an error."""
    arrays = dict(np.load(exported, allow_pickle=False))
    for name, net in nets.NETS.items():
        for key in ("products", "eigenvalues", "trace"):
            single, double = arrays[f"{name}/float32/{key}"], arrays[f"{name}/float64/{key}"]
            assert np.linalg.norm(single - double) < 1e-4 * np.linalg.norm(double), (name, key)
        assert (arrays[f"{name}/float64/trace"][1] == 0) == net.exact


def test_cases_of_the_other_libraries_timings(exported):
    """Those of hw1 run, on each number of images."""
    cases = ours.cases(exported)
    assert {name.split(", ")[-1] for name in cases} == {"20 images", "40 images"}
    for case in cases.values():
        case.run()
