"""The real questions at smoke size: rows, figures, report, and that the same command gives the same bytes."""

import importlib
import json
import subprocess
import sys

import numpy as np
import pytest

from hw1 import plot, question, records, reproduce

MODULES = {path.rpartition(".")[2]: path for path in reproduce.QUESTIONS}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with the results of all questions at smoke size."""
    folder = tmp_path_factory.mktemp("runs")
    assert reproduce.reproduce("smoke", str(folder)) == []
    return folder


@pytest.mark.parametrize("name", MODULES)
def test_every_unit_has_its_rows_and_the_record_is_complete(runs, name):
    """Each question writes at least a row per unit, all values present, and says that it is complete."""
    module = importlib.import_module(MODULES[name])
    settings = question.make_settings(module, "smoke")
    frame, about = records.read(runs, name), records.about(runs, name)
    units = module.units(settings)
    keys = list(units[0])
    assert len(frame.groupby(keys)) == len(units)
    assert not frame.isna().any().any()
    assert about["complete"]
    assert about["data"] is None if name == "zero_gradient" else about["data"]["train"] == settings.train
    assert str(runs) not in json.dumps(about)


@pytest.mark.parametrize("name", MODULES)
def test_figures_are_drawn_twice_with_the_same_bytes(runs, name, tmp_path):
    """A figure depends on the CSV and the record alone."""
    first = [path.read_bytes() for path in plot.draw(name, runs)]
    assert [path.read_bytes() for path in plot.draw(name, runs)] == first
    assert first[0].startswith(b"\x89PNG")
    assert first[1].startswith(b"%PDF")


def test_zero_gradient_comes_nearer_to_zero_with_newton(runs):
    """Second-order steps end nearer to a zero gradient than they began, at no higher loss; the counts are of all."""
    frame = records.read(runs, "zero_gradient")
    newton, norm = (frame[frame.method == name].sort_values("seed") for name in ("newton", "gradient norm"))
    assert newton.gradient_norm.median() < norm.gradient_norm.median() / 10
    assert (newton.loss <= newton.trained_loss).all()
    assert np.array_equal(newton.trained_loss, norm.trained_loss)
    total = frame.negative + frame.zero + frame.positive
    assert total.nunique() == 1
    assert np.allclose(frame.minimal_ratio, frame.positive / total, atol=1e-6)


def test_random_labels_are_memorised(runs):
    """With all labels permuted the training set is learned by heart and the test set is not."""
    frame = records.read(runs, "random_labels")
    last = frame[(frame.fraction == 1) & (frame.epoch == frame.epoch.max())]
    assert (last.train_accuracy >= 0.99).all()
    assert (last.test_accuracy < 0.25).all()


def test_line_ends_are_trained_nets(runs):
    """At α = 0 and 1 the training loss is at or below the target to which the nets were trained."""
    frame, settings = records.read(runs, "interpolation"), records.settings(runs, "interpolation")
    ends = frame[frame.alpha.isin([0, 1])]
    assert len(ends) == 2 * 2 * settings["seeds"]
    assert (ends.train_loss <= settings["target_loss"] + 1e-6).all()


def test_lanczos_agrees_with_tf_hessians_and_the_slip_is_larger(runs):
    """On the reference net both ways give one spectral norm, and the Frobenius norm is larger."""
    frame = records.read(runs, "sharpness")
    rows = frame[frame.net == "reference"].set_index(["method", "norm", "scope"]).value
    exact = rows["tf.hessians", "spectral", "block"]
    assert rows["lanczos", "spectral", "block"] == pytest.approx(exact, rel=1e-4)
    assert rows["tf.hessians", "frobenius", "block"] > 1.05 * exact


def test_reparametrisation_keeps_what_it_must(runs):
    """The function and the scale-normalised sharpness stay; the identity of the Hessian and the determinant hold."""
    frame = records.read(runs, "reparametrization")
    frame = frame[frame.transformation != "line"]
    wide = frame.pivot(index=["transformation", "seed", "alpha"], columns="measure", values="value")
    assert (wide.function_change < 1e-12).all()
    assert (wide.hessian_error < 1e-12).all()
    # The CSV holds 7 digits of numbers of some hundreds.
    assert np.allclose(wide.log10_determinant, wide.log10_det_predicted, atol=1e-3)
    base = wide.xs(1.0, level="alpha").adaptive_sharpness
    assert np.allclose(wide.adaptive_sharpness / base, 1, rtol=1e-5)
    assert (wide.xs(0.1, level="alpha").spectral_norm > wide.xs(1.0, level="alpha").spectral_norm).all()


def test_an_interrupted_question_ends_with_the_same_bytes(runs, tmp_path, monkeypatch):
    """Stopped in its second unit and started again, a question writes what an uninterrupted run wrote."""
    module = importlib.import_module(MODULES["sensitivity"])
    settings, run = question.make_settings(module, "smoke"), module.run
    second = module.units(settings)[1]["batch_size"]

    def interrupted(settings, data, batch_size):
        if batch_size == second:
            raise KeyboardInterrupt
        yield from run(settings, data, batch_size)

    with monkeypatch.context() as patch:
        patch.setattr(module, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            question.answer(module, settings, tmp_path)
    begun = (tmp_path / "sensitivity.csv").read_bytes()
    question.answer(module, settings, tmp_path)
    whole = (tmp_path / "sensitivity.csv").read_bytes()
    assert whole.startswith(begun)
    assert whole == (runs / "sensitivity.csv").read_bytes()


def test_the_report_is_set_from_the_results(runs, tmp_path):
    """The report's command makes a PDF of a few pages, twice with the same bytes, without TensorFlow."""
    code = (
        "import sys; from hw1.report.__main__ import main; "
        f"main(['report', '--results={runs}', '--out={tmp_path}/Report.pdf']); assert 'tensorflow' not in sys.modules"
    )
    contents = []
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], check=True)
        contents.append((tmp_path / "Report.pdf").read_bytes())
    assert contents[0].startswith(b"%PDF")
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("reparametrization", ["--alphas=0,1"], "alphas"),
        ("reparametrization", ["--activation=tanh"], "use activation='relu'"),
        ("reparametrization", ["--alphas=0.5"], "must contain 1"),
        ("sharpness", ["--examples=1000"], "--examples=1000: must be at most --train=200"),
        ("sensitivity", ["--batch_sizes=20,300"], "--batch_sizes=20,300: must be at most --train=200"),
        ("interpolation", ["--batch_sizes=20,40,60"], "takes two values"),
        ("random_labels", ["--data=mnits10k"], "mnist10k"),
        ("random_labels", ["--epochs=0"], "--epochs=0"),
        ("parameter_count", ["--pool=3"], "do not tile"),
    ],
)
def test_bad_input_is_one_line_with_the_remedy(name, flags, message, tmp_path, capfd):
    """A wrong setting ends with a code other than 0 and one line that names it."""
    module = importlib.import_module(MODULES[name])
    with pytest.raises(SystemExit) as stopped:
        question.main(module, [name, "--size=smoke", f"--out={tmp_path / 'out'}", *flags])
    error = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert stopped.value.code in (1, 2)
    assert len(error) == 1
    assert message in error[0]
    assert not list(tmp_path.rglob("*.csv"))
