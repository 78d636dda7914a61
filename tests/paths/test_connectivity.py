"""Question connectivity: its pairs, barriers against nets built one by one, tables, and bad settings."""

import functools

import cases
import numpy as np
import pytest
import references

from hw1 import datasets, evaluation, models, question, records
from hw1.measures import alignment, directions, paths
from hw1.paths import connectivity
from hw1.paths.connectivity import ACTIVATIONS, BEZIER, DOUBLED, LINE, STRING, WEIGHTS

DATA = datasets.load_splits("mnist10k", 100, 100)
LOSS_UP = ["loss_barrier", "error_barrier", "test_loss_barrier", "test_error_barrier"]


def settings(**changes):
    """Settings at smoke size with changes."""
    return question.make_settings(connectivity, "smoke", **changes)


@functools.cache
def pairs(method, given, width=8):
    """The pairs of a way of training, with the data that the question gives them; equal calls train once."""
    data = datasets.average_pool(DATA, given.pool)
    shared = data.sharing(lambda seed: given.first_seed + (seed - given.first_seed) % given.seeds)
    return list(zip(*connectivity._pairs(given, shared, method, width), strict=True))


def test_the_first_way_of_training_is_measured_at_all_widths():
    """The others where they are compared."""
    given = settings(widths=(2, 4, 8), methods=("Adam", "SGD"), compared=(4, 8), doubled=(2,))
    found = [(unit["method"], unit["width"]) for unit in connectivity.units(given)]
    assert found == [("Adam", 2), ("Adam", 4), ("Adam", 8), ("SGD", 4), ("SGD", 8)]
    assert DOUBLED in connectivity._names(given, True, 2)
    assert DOUBLED not in connectivity._names(given, True, 4)
    assert connectivity._names(given, False, 2) == (LINE, STRING)


def test_both_nets_of_a_pair_have_one_split_and_other_weights():
    """The split is that of the pair's seed."""
    found = pairs("Adam", settings(first_seed=5, updates=20))
    assert [first.seed for first, _ in found] == [5, 6]
    for first, second in found:
        np.testing.assert_array_equal(first.data.x_train, second.data.x_train)
        np.testing.assert_array_equal(first.data.y_train, DATA.of(first.seed).y_train)
        start = [models.mlp((8,), input_shape=(7, 7), seed=member.seed) for member in (first, second)]
        assert not np.allclose(*map(models.flat_parameters, start))
    assert not np.array_equal(found[0][0].data.x_train, found[1][0].data.x_train)


def test_of_two_ways_each_trains_one_net():
    """The first nets are those of Adam, the second those of SGD."""
    given = settings(first_seed=5, updates=20)
    adam, sgd, both = (pairs(method, given) for method in ("Adam", "SGD", "Adam and SGD"))
    for one, other, mixed in zip(adam, sgd, both, strict=True):
        for wanted, found in ((one[0], mixed[0]), (other[1], mixed[1])):
            assert wanted.seed == found.seed
            np.testing.assert_allclose(
                models.flat_parameters(found.model), models.flat_parameters(wanted.model), rtol=1e-3, atol=1e-4
            )
        assert not np.allclose(*(models.flat_parameters(each[0].model) for each in (one, other)), atol=1e-2)


def test_descent_takes_the_whole_training_set():
    """Eight steps of it by hand: with momentum, half of them at the first rate, then by the cosine."""
    given = settings(full_updates=8, full_rate=0.5, momentum=0.9, constant=0.5)
    member = pairs("full batch", given)[0][0]
    own = datasets.average_pool(DATA, given.pool).of(0)
    model = models.with_dtype(models.mlp((8,), input_shape=(7, 7), seed=0), "float64")
    slope = evaluation.objective(model, own.x_train, own.y_train)
    theta, speed = models.flat_parameters(model), 0.0
    for rate in 0.5 * np.array([1, 1, 1, 1, *(1 + np.cos(np.pi * np.arange(4) / 4)) / 2]):
        speed = 0.9 * speed - rate * slope(theta)[1]
        theta = theta + speed
    np.testing.assert_allclose(models.flat_parameters(member.model), theta, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"target_loss": 100.0}, "ok"),  # met at the first look
        ({"target_loss": 1e-9, "fall": 1.0}, "ok"),  # any curve is a plateau
        ({"target_loss": 1e-9, "fall": 1e-9}, "target not reached"),
    ],
)
def test_a_net_is_at_its_target_or_its_plateau(changes, status):
    """Or says that it is not."""
    found = pairs("Adam", settings(**changes))
    assert {member.status for pair in found for member in pair} == {status}


def test_standardised_images():
    """Mean image 0, standard deviation 1 over all pixels; labels stay."""
    found = connectivity.standardised(datasets.average_pool(DATA, 4))
    np.testing.assert_allclose(found.x.mean(axis=0), 0, atol=1e-5)
    assert found.x.std() == pytest.approx(1, rel=1e-4)
    np.testing.assert_array_equal(found.y, DATA.y)


def one_hot_error(y, outputs):
    """The squared error of each example, summed over the classes."""
    return np.sum((np.asarray(outputs) - np.eye(10)[np.asarray(y)]) ** 2, axis=1)


def by_hand(model, other, path, count, x, y, loss):
    """Barriers of loss and error on a path of nets with one hidden layer, from the outputs at each of its points."""
    ends = np.stack([models.flat_parameters(each) for each in (model, other)])
    path = path or paths.Path(ends)
    values, ends_of_weights = [], np.cumsum([np.prod(v.shape) for v in model.weights])[:-1]
    for position in path.positions(count):
        weights = np.split(path.at(position), ends_of_weights)
        kernel, bias, kernel_2, bias_2 = (w.reshape(v.shape) for w, v in zip(weights, model.weights, strict=True))
        outputs = np.maximum(x.reshape(len(x), -1) @ kernel + bias, 0) @ kernel_2 + bias_2
        values.append([np.mean(loss(y, outputs)), np.mean(outputs.argmax(axis=1) == y)])
    losses, errors = np.transpose(values) * [[1], [-1]]
    return [each.max() - max(each[0], each[-1]) for each in (losses, errors)]


@pytest.mark.parametrize("method", cases.some(["squared error", "Adam"], 1))
def test_rows_are_barriers_of_paths_between_the_nets(method, monkeypatch):
    """Of both sets, in the loss of the training; matched nets compute the same; the string is doubled."""
    given = settings(widths=(8,), methods=(method,), seeds=1)
    loss = one_hot_error if method == "squared error" else references.cross_entropy
    between, calls = connectivity._between, []

    def watch(*arguments):
        calls.append((*arguments, between(*arguments)))
        return calls[-1][-1]

    monkeypatch.setattr(connectivity, "_between", watch)
    monkeypatch.setattr(connectivity, "_drawn", lambda *_: ())
    rows = {row["path"]: row for row in connectivity.run(given, DATA, method, 8) if "table" not in row}
    ((_, first, second, *_, found),) = calls
    assert list(rows) == [LINE, STRING, WEIGHTS, ACTIVATIONS, BEZIER, DOUBLED]
    distance = np.linalg.norm(models.flat_parameters(second) - models.flat_parameters(first.model))
    for name, (model, path) in found.items():
        segments = len(path.points) - 1 if path else 1
        count = max(10, 15 // segments)
        for part in ("train", "test"):
            arrays = getattr(first.data, f"x_{part}"), getattr(first.data, f"y_{part}")
            prefix = "test_" if part == "test" else ""
            wanted = by_hand(first.model, model, path, count, *arrays, loss)
            assert rows[name][f"{prefix}loss_barrier"] == pytest.approx(wanted[0], abs=2e-3)
            assert rows[name][f"{prefix}error_barrier"] == pytest.approx(wanted[1], abs=0.011)
        np.testing.assert_allclose(model(first.data.x_test), second(first.data.x_test), rtol=1e-3, atol=1e-3)
        assert rows[name]["segments"] == segments
        if model is second:
            length = path.length if path else distance
            assert rows[name]["length"] == pytest.approx(length / distance, rel=1e-3)
    matched = alignment.match(first.model, second)
    np.testing.assert_array_equal(models.flat_parameters(found[WEIGHTS][0]), models.flat_parameters(matched))
    assert len(found[DOUBLED][1].points) >= 2 * given.pivots + 2 > len(found[STRING][1].points) - 2


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with the question at smoke size."""
    return at_smoke_size("connectivity")


def test_tables_of_one_pair(runs):
    """The paths begin and end in the nets; the barrier is that of the rows; the loss in the plane is that of a net."""
    given, rows, tables = settings(), records.read(runs, "connectivity"), records.tables(runs, "connectivity")
    along, plane, nets = tables["along"], tables["plane"], tables["nets"]
    pair = (rows.method == "Adam") & (rows.width == 8) & (rows.seed == 0)
    ends = nets[(nets.method == "Adam") & (nets.width == 8) & (nets.seed == 0)].set_index("end").train_loss
    for name, part in along.groupby("path"):
        losses, errors = part.train_loss.to_numpy(), 1 - part.train_accuracy.to_numpy()
        np.testing.assert_allclose([losses[0], losses[-1]], ends[["first", "second"]], rtol=1e-3)
        row = rows[pair & (rows.path == name)].iloc[0]
        assert losses.max() - max(losses[0], losses[-1]) == pytest.approx(row.loss_barrier, abs=1e-6)
        assert errors.max() - max(errors[0], errors[-1]) == pytest.approx(row.error_barrier, abs=1e-6)
    line = along[along.path == LINE]
    np.testing.assert_allclose(line.u, line.position, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(line.v, 0, atol=1e-4)
    first, second = pairs("Adam", given)[0]
    string = connectivity._between(given, first, second.model, None, (STRING,))[STRING][1]
    origin, end = (models.flat_parameters(each.model).astype(np.float64) for each in (first, second))
    axes = directions.through(origin, end, string.at(0.5))
    assert len(plane) == 9
    for _, place in plane.iterrows():
        net = models.with_parameters(first.model, (origin + place.u * axes[0] + place.v * axes[1]).astype(np.float32))
        loss, accuracy = evaluation.evaluate(net, first.data.x_train, first.data.y_train)
        assert place.train_loss == pytest.approx(loss, rel=0.02)
        assert place.train_accuracy == pytest.approx(accuracy, abs=0.021)


def test_a_row_for_each_path_and_pair(runs):
    """With no barrier below 0, and no string above its line by the loss."""
    rows = records.read(runs, "connectivity")
    assert len(rows) == 2 * (5 + 6 + 2 + 2)
    assert (rows[LOSS_UP] >= 0).all(axis=None)
    heights = rows.pivot(index=["method", "width", "seed"], columns="path", values="loss_barrier")
    assert (heights[STRING] <= heights[LINE] + 1e-6).all()
    assert set(rows.parameters) == {(49 + 1) * 2 + (2 + 1) * 10, (49 + 1) * 8 + (8 + 1) * 10}


def test_a_pair_that_diverges_is_a_row():
    """For each path, without barriers."""
    given = settings(learning_rate=1e30, widths=(8,), seeds=1)
    found = list(connectivity.run(given, DATA, "Adam", 8))
    rows = [row for row in found if "table" not in row]
    assert [row["path"] for row in rows] == [LINE, STRING, WEIGHTS, ACTIVATIONS, BEZIER, DOUBLED]
    assert {row["status"] for row in rows} == {"diverged"}
    assert not any(column in row for row in rows for column in LOSS_UP)
    assert {row["table"] for row in found if "table" in row} == {"nets"}


def test_a_string_that_found_no_more_than_the_line_has_a_plane():
    """Through the middle of the curve then."""
    given = settings()
    first, second = pairs("Adam", given)[0]
    found = connectivity._between(given, first, second.model, None, (LINE, BEZIER))
    found[STRING] = (second.model, paths.Path(np.stack([models.flat_parameters(m.model) for m in (first, second)])))
    measured = {name: connectivity._measured(given, first, *ends, None)[1] for name, ends in found.items()}
    tables = [row["table"] for row in connectivity._drawn(given, first, second.model, found, measured)]
    assert tables.count("plane") == 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": (8, 2)}, "--widths=8,2: must ascend"),
        ({"compared": (4,)}, "--compared=4: must be among --widths=2,8"),
        ({"doubled": (8, 16)}, "--doubled=8,16: must be among --widths=2,8"),
        ({"drawn": 3}, "--drawn=3: must be among --widths=2,8"),
        ({"methods": ("Adam", "Newton")}, "--methods=Adam,Newton"),
        ({"points": 9}, "--points=9"),
        ({"search_batch": 101}, "--search_batch=101: must be at most --train=100"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    """Before anything is trained, by the name of the flag."""
    with pytest.raises(ValueError, match=message):
        settings(**changes)
