"""Part 1-1: what the rows must satisfy at smoke size, and the sizes of the nets."""

import numpy as np
import pytest

from hw1 import models, nets, question, records
from hw1.deep_vs_shallow import actual_task, simulate_function


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with both questions at smoke size."""
    return at_smoke_size("simulate_function", "actual_task")


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
    functions = [models.mlp(models.widths(name), input_shape=(1,), classes=1) for name in nets.FUNCTION_NETS]
    assert [model.count_params() for model in functions] == [571, 572, 571]
    settings = question.make_settings(actual_task, "report")
    units = {(unit["kind"], unit["hidden"]) for unit in actual_task.units(settings)}
    built = {net: actual_task.build(*net) for net in units}
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
    """The first epoch of a net differs between the data sets, and its parameters are recorded as built."""
    frame = records.read(runs, "actual_task")
    first = frame[frame.epoch == 1].set_index(["data", "kind", "hidden", "seed"])
    assert (first.loc["mnist10k"].test_loss != first.loc["fashion10k"].test_loss).all()
    for (_, kind, hidden), rows in frame.groupby(["data", "kind", "hidden"]):
        assert set(rows.parameters) == {actual_task.build(kind, hidden).count_params()}


def test_each_net_stops_at_the_target_loss(runs):
    """Its last row, and no row before, is at or below it; a net that never comes there is said to have missed it."""
    frame, settings = records.read(runs, "actual_task"), records.settings(runs, "actual_task")
    (target,) = settings["target_losses"]
    for (_, kind, *_), net in frame.groupby(["data", "kind", "hidden", "seed"]):
        reached = net.status.iloc[0] == "ok"
        assert (net.train_loss.iloc[:-1] > target).all()
        assert (net.train_loss.iloc[-1] <= target) == reached
        assert reached or net.epoch.iloc[-1] == settings[f"{kind}_epochs"]
    assert (frame.status == "ok").mean() > 0.5


def test_each_kind_of_net_has_its_repetitions(runs):
    """DNNs cost less and have more of them."""
    frame, settings = records.read(runs, "actual_task"), records.settings(runs, "actual_task")
    assert settings["dnn_seeds"] > settings["seeds"]
    for (_, kind, _), rows in frame.groupby(["data", "kind", "hidden"]):
        assert rows.seed.nunique() == settings["dnn_seeds" if kind == "dnn" else "seeds"]


def test_target_losses_are_one_for_all_or_one_for_each_data_set():
    """Those of the report are in the order of the data sets; another number of them is refused by name."""
    settings = question.make_settings(actual_task)
    assert [actual_task.target_loss(settings, name) for name in settings.data] == list(settings.target_losses)
    one = question.make_settings(actual_task, target_losses=(0.2,))
    assert [actual_task.target_loss(one, name) for name in one.data] == [0.2, 0.2]
    assert question.make_settings(actual_task, data=("own.npz",)).target_losses == (0.35,)  # the largest default
    assert question.make_settings(actual_task, data=("mnist", "fashion_mnist")).target_losses == (0.05, 0.35)
    with pytest.raises(ValueError, match=r"--target_losses=0\.1,0\.2: .* one for each of --data=own"):
        question.make_settings(actual_task, data=("own.npz",), target_losses=(0.1, 0.2))


def test_a_cnn_on_images_that_are_too_small_for_it():
    """Kernels and pools are as large as what is left; on the course's images they are those of the table."""
    for name, net in nets.TASK_CNNS.items():
        assert nets.task_cnn(name, (28, 28)) == nets.task_cnn(name, (32, 32, 3)) == net
    assert nets.task_cnn("2 convolutions", (8, 8, 1)) == {
        "filters": (8, 16),
        "kernel_sizes": (5, 2),
        "pools": (2, 1),
        "dense": (56,),
    }
    for side in range(1, 12):
        for name in nets.TASK_CNNS:
            assert actual_task.build("cnn", name, (side, side + 1, 3)).output_shape == (None, 10)
