"""The real questions at smoke size: rows, figures, report, and that the same command gives the same bytes."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hw1 import claims, models, plot, question, records, reproduce
from hw1.deep_vs_shallow import actual_task, simulate_function
from hw1.figures import style

ROOT = Path(__file__).parents[1]
MODULES = {path.rpartition(".")[2]: path for path in reproduce.QUESTIONS}


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with the results of all questions at smoke size."""
    return at_smoke_size(*MODULES)


def test_the_main_job_goes_on_from_what_is_there(runs, capsys):
    """All questions are found done, none fails."""
    assert reproduce.reproduce("smoke", str(runs)) == []
    assert f"{len(MODULES)} of {len(MODULES)} done" in capsys.readouterr().err


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
    assert about["data"]["train"] == settings.train if hasattr(settings, "data") else about["data"] is None
    assert str(runs) not in json.dumps(about)


@pytest.mark.parametrize("name", MODULES)
def test_figures_are_drawn_twice_with_the_same_bytes(runs, name, tmp_path):
    """A figure depends on the CSV and the record alone."""
    first = [path.read_bytes() for path in plot.draw(name, runs)]
    assert [path.read_bytes() for path in plot.draw(name, runs)] == first
    assert first[0].startswith(b"\x89PNG")
    assert first[1].startswith(b"%PDF")


def test_every_net_of_a_function_has_its_curve_and_its_predictions(runs):
    """Each seed has a loss per evaluation and a prediction per point; the two tables tell one loss."""
    settings = records.settings(runs, "simulate_function")
    losses, predictions = records.read(runs, "simulate_function"), records.tables(runs, "simulate_function")
    last = losses[losses.epoch == settings["epochs"]].set_index(["function", "hidden", "seed"]).loss
    assert len(losses) == len(last) * settings["epochs"] // settings["evaluate_every"]
    for key, rows in predictions["predictions"].groupby(["function", "hidden", "seed"]):
        assert np.allclose(rows.x, np.arange(1, settings["points"] + 1) / settings["points"])
        truth = np.sinc(5 * rows.x) if key[0] == "sinc" else np.sign(np.round(np.sin(5 * np.pi * rows.x), 9))
        assert np.allclose(rows.target, truth, atol=1e-6)
        assert ((rows.prediction - rows.target) ** 2).mean() == pytest.approx(last.pop(key), rel=1e-2, abs=1e-6)
    assert last.empty


def test_functions_are_learned(runs):
    """Even toy nets come close to the smooth function, and nearer than the constant that is its mean."""
    losses = records.read(runs, "simulate_function")
    last = losses[(losses.epoch == losses.epoch.max()) & (losses.function == "sinc")]
    assert last.loss.min() < 0.1 * np.var(np.sinc(5 * np.arange(1, 41) / 40))


def test_nets_of_part_1_1_have_equally_many_parameters():
    """571 or 572 for the functions; 20,000 to 30,000 within 3 % for the images, of different depth."""
    functions = [models.mlp(models.widths(name), input_shape=(1,), classes=1) for name in models.FUNCTION_NETS]
    assert [model.count_params() for model in functions] == [571, 572, 571]
    settings = question.make_settings(actual_task, "report")
    nets = {(unit["kind"], unit["hidden"]) for unit in actual_task.units(settings)}
    built = {net: actual_task.build(*net) for net in nets}
    sizes = [model.count_params() for model in built.values()]
    assert 20_000 <= min(sizes) <= max(sizes) <= min(30_000, 1.03 * min(sizes))
    for kind, layer in (("dnn", "hidden_"), ("cnn", "convolution_")):
        depths = [_depth(model, layer) for net, model in built.items() if net[0] == kind]
        assert len(set(depths)) == len(depths) >= 3


def _depth(model, prefix):
    """How many layers of a kind a net has, without what follows each of them."""
    return sum(layer.name.removeprefix(prefix).isdecimal() for layer in model.layers)


def test_units_of_part_1_1_cover_every_net():
    """Every function and data set meets every net once."""
    functions = simulate_function.units(question.make_settings(simulate_function))
    assert len({tuple(unit.values()) for unit in functions}) == len(functions) == 2 * 3
    tasks = actual_task.units(question.make_settings(actual_task))
    assert len({tuple(unit.values()) for unit in tasks}) == len(tasks) == 2 * (3 + 3)


def test_both_tasks_are_trained_on_their_own_data(runs):
    """The rows of a net differ between the data sets, and its parameters are recorded as built."""
    frame = records.read(runs, "actual_task").set_index(["data", "kind", "hidden", "seed", "epoch"])
    assert (frame.loc["mnist10k"].test_loss != frame.loc["fashion10k"].test_loss).all()
    for (_, kind, hidden), rows in frame.groupby(["data", "kind", "hidden"]):
        assert set(rows.parameters) == {actual_task.build(kind, hidden).count_params()}


def test_trajectories_share_one_analysis(runs):
    """Centred together, with the larger component first; both scopes are events of the same trainings."""
    frame = records.read(runs, "trajectories")
    assert frame.groupby("scope")[["first", "second"]].mean().abs().to_numpy().max() < 1e-4
    spread = frame.groupby("scope")[["first", "second"]].std()
    assert (spread["first"] > spread.second).all()
    layer, whole = (frame[frame.scope == scope].reset_index(drop=True) for scope in ("layer 1", "whole model"))
    assert layer[["seed", "epoch", *records.FOUR]].equals(whole[["seed", "epoch", *records.FOUR]])


def test_gradient_norms_are_there_for_every_step(runs):
    """A row per task, seed and step, and none of them zero."""
    frame, settings = records.read(runs, "gradient_norm"), records.settings(runs, "gradient_norm")
    assert len(frame) == 2 * settings["seeds"] * settings["steps"]
    assert (frame.gradient_norm > 0).all()


def test_the_surface_holds_the_final_point(runs):
    """Shift 0 and the middle of the random plane are the final point, with its loss."""
    frame, settings = records.read(runs, "error_surface"), records.settings(runs, "error_surface")
    for seed, rows in frame.groupby("seed"):
        final = rows[(rows.view == "start to end") & (rows.kind != "surface")].iloc[-1]
        assert (final.u, final.v) == pytest.approx((0, 0), abs=1e-6)
        unmoved = rows[(rows.view == "perturbation") & (rows.u == 0)]
        assert len(unmoved) == 39, seed  # parameters of 1-5-4-1
        middle = rows[(rows.view == "random plane") & (rows.u == 0) & (rows.v == 0)]
        assert np.allclose([*unmoved.loss, *middle.loss], final.loss, rtol=1e-6)
    assert len(frame[(frame.view == "random plane")]) == settings["grid"] ** 2


def test_zero_gradient_comes_nearer_to_zero_with_newton(runs):
    """Second-order steps end nearer to a zero gradient than they began, at no higher loss; the counts are of all."""
    frame = records.read(runs, "zero_gradient")
    newton, norm = (
        frame[frame.method == name].sort_values("seed") for name in ("Levenberg–Marquardt", "gradient norm")
    )
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


def test_a_command_says_nothing_but_its_own(tmp_path):
    """TensorFlow's start-up lines do not drown what a question says."""
    command = [sys.executable, "-m", MODULES["gradient_norm"], "--size=smoke", f"--out={tmp_path}"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stderr.splitlines()
    assert lines
    assert all(line.startswith("gradient_norm: ") for line in lines)


@pytest.mark.parametrize("part", ["course", "landscape"])
def test_the_documents_are_set_from_the_results(runs, tmp_path, part):
    """Report and supplement are PDFs, twice with the same bytes, without TensorFlow."""
    code = (
        f"import sys; from hw1.report.__main__ import main; main(['report', '--results={runs}', '--part={part}', "
        f"'--out={tmp_path}/made.pdf']); assert 'tensorflow' not in sys.modules"
    )
    contents = []
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], check=True)
        contents.append((tmp_path / "made.pdf").read_bytes())
    assert contents[0].startswith(b"%PDF")
    assert contents[0] == contents[1]


def test_the_ledger_is_judged_from_the_results(runs):
    """Every source of the committed ledger is judged in this run too, and every question has claims."""
    ledger, committed = claims.judge(runs, fallback=None), claims.read(records.COMMITTED)
    assert set(ledger.source) == set(committed.source)
    assert len(ledger) >= len(claims.CLAIMS)


# What the Readme says

README = (ROOT / "Readme.md").read_text(encoding="utf-8")
TABLE = re.findall(r"^\| .+? \| `(hw1\.[\w.]+)` \| ([\d.]+) \| (.+?) \| \[png\]\((.+?)\) \|$", README, re.MULTILINE)
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_table_of_the_readme_has_every_question_once():
    """In order, each with the tables that it writes, and with the minutes of the committed run."""
    assert [module for module, *_ in TABLE] == list(reproduce.QUESTIONS)
    for module, minutes, files, figure in TABLE:
        name = module.rpartition(".")[2]
        tables = [table.partition(".")[2] for table in records.COLUMNS if table.startswith(f"{name}.")]
        assert files == ", ".join([f"`{name}.csv`", *(f"`.{table}.csv`" for table in tables)])
        assert figure == f"hw1/results/figures/{name}.png"
        measured = records.about(records.COMMITTED, name)["wall_time_seconds"] / 60
        assert float(minutes) == pytest.approx(measured, rel=0.5, abs=0.2), name


@pytest.mark.parametrize("module", [module for module, *_ in TABLE])
def test_commands_of_the_table_run(runs, module, capsys):
    """Each at smoke size, on a folder where nothing is left to do."""
    question.main(importlib.import_module(module), [module, "--size=smoke", f"--out={runs}"])
    total, done = re.search(r"(\d+) units, (\d+) of them done", capsys.readouterr().err).groups()
    assert total == done


def test_other_commands_of_the_readme_run(runs, tmp_path, monkeypatch):
    """Whatever follows `python -m` outside the table, at smoke size and in folders of the test's own."""
    monkeypatch.chdir(tmp_path)
    models.mlp().save("my_net.keras")
    commands = [command.split() for command in re.findall(r"python -m (hw1[^`\n]*)`", README)]
    assert len(commands) >= 5
    for module, *given in commands:
        given = [flag for flag in given if not flag.startswith(("--out=", "--results=", "--size="))]
        main = importlib.import_module(f"{module}.__main__" if module == "hw1.report" else module)
        if module.removeprefix("hw1.") in ("plot", "claims"):
            main.main([module, *given, f"--out={runs}"])
        elif module == "hw1.report":
            main.main([module, *given, f"--results={runs}", f"--out={tmp_path}/made.pdf"])
        elif module == "hw1.measure":
            main.main([module, *given, "--train=200", "--test=200", "--examples=50", "--manifold=2"])
        elif module == "hw1.reproduce":
            only = [] if any(flag.startswith("--only") for flag in given) else ["--only=gradient_norm"]
            main.main([module, *given, *only, "--jobs=1", "--size=smoke", f"--out={tmp_path}/made"])
        else:
            question.main(main, [module, *given, "--size=smoke", f"--out={tmp_path}/changed"])


def test_targets_of_the_readme_are_in_the_makefile():
    """Every `make` that the Readme names, and the Makefile's own list at its top, exists."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split())
    named = set(re.findall(r"^make (\w+)|`make (\w+)`", README, re.MULTILINE))
    assert {first or second for first, second in named} <= phony
    for target in phony:
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_the_first_program_of_the_readme_runs(tmp_path, monkeypatch):
    """The example of measuring a net, word for word."""
    monkeypatch.chdir(tmp_path)
    models.mlp().save("my_net.keras")
    code = next(text for kind, text in BLOCKS if kind == "python" and "my_net.keras" in text)
    exec(compile(code, "Readme.md", "exec"), {})


def test_the_added_question_of_the_readme_runs(tmp_path, monkeypatch):
    """The worked example, word for word: rows, resuming and figure; all of it in under 40 lines of code."""
    start = next(i for i, (_, text) in enumerate(BLOCKS) if "weight_decay" in text)
    module_text, columns, figure_text = (text for _, text in BLOCKS[start : start + 3])
    lines = [line for text in (module_text, columns, figure_text) for line in text.splitlines() if line.strip()]
    assert len(lines) < 40
    (tmp_path / "weight_decay.py").write_text(module_text)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("weight_decay")
    for name, value in eval(f"{{{columns}}}", {"FOUR": records.FOUR}).items():
        monkeypatch.setitem(records.COLUMNS, name, value)
    names = {"style": style}
    exec(figure_text, names)
    monkeypatch.setitem(plot.FIGURES, "weight_decay", names["weight_decay"])
    question.main(module, ["weight_decay", "--size=smoke", f"--out={tmp_path / 'out'}", "--decays=0,0.1"])
    frame = records.read(tmp_path / "out", "weight_decay")
    assert len(frame) == 2 * 2
    assert (tmp_path / "out" / "figures" / "weight_decay.png").exists()


def test_numbers_of_the_readme_are_those_of_the_committed_results():
    """What each trap of the assignment changes, computed from the rows as the sentence says."""
    text = " ".join(README.split())
    norms = records.read(records.COMMITTED, "sharpness").query("net == 'course' and scope == 'block'")
    norms = norms.pivot(index=["batch_size", "seed"], columns="method", values="value")
    slip = (norms["hutch++"] / norms.lanczos).mean()
    assert f"here {slip:.1f} times the spectral norm" in text
    curves = records.tables(records.COMMITTED, "large_batch")["convergence"].query("net == 'plain' and epoch == 6")
    small, large = curves.groupby("batch_size").train_loss.mean().items()
    assert (
        f"training loss of {small[1]:.2f} with batches of {small[0]} and of {large[1]:.2f} with batches of {large[0]}"
    ) in text
    rows = records.read(records.COMMITTED, "sensitivity")
    assert f"{(rows.loss_gradient_norm / rows.whole_loss_gradient_norm).mean():.0f} times smaller" in text
    norms = records.read(records.COMMITTED, "zero_gradient").groupby("method").gradient_norm.median()
    assert f"at a norm of {norms['gradient norm']:.0e} in the median" in text
    assert f"second-order steps reach {norms['Levenberg–Marquardt']:.0e}" in text
    assert not re.search(r"TODO|TBD|XX|\?\?", README)


def test_links_and_files_of_the_readme_exist():
    """Every relative link, and every path of the file tree; the committed report is the one beside hw1."""
    for link in re.findall(r"\]\(((?!http)[^)]+)\)", README):
        assert (ROOT / link).exists(), link
    tree = next(text for _, text in BLOCKS if text.startswith("Makefile"))
    for line in tree.splitlines():
        assert (ROOT / line.split()[0]).exists(), line
    assert (ROOT / "hw1" / "Report.pdf").read_bytes() == (ROOT / "Report.pdf").read_bytes()


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("simulate_function", ["--nets=5-x-5"], "5-x-5"),
        ("simulate_function", ["--functions=sin"], "one of sinc, sign"),
        ("actual_task", ["--dnns=20-0"], "20-0"),
        ("actual_task", ["--cnns=9 convolutions"], "one of 3 convolutions"),
        ("reparametrization", ["--alphas=0,1"], "alphas"),
        ("reparametrization", ["--activation=tanh"], "use activation='relu'"),
        ("reparametrization", ["--alphas=0.5"], "must contain 1"),
        ("sharpness", ["--examples=1000"], "--examples=1000: must be at most --train=200"),
        ("sensitivity", ["--batch_sizes=20,300"], "--batch_sizes=20,300: must be at most --train=200"),
        ("interpolation", ["--batch_sizes=20,40,60"], "takes two values"),
        ("interpolation", ["--batch_sizes=40,20"], "the smaller first"),
        ("interpolation", ["--points=8"], "--points=8: must be 3k + 1"),
        ("random_labels", ["--fractions=0,1.5"], "at most 1"),
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
