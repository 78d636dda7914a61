"""Question continuation: barriers, lines and flatness against nets rebuilt here, the decay, bad settings."""

import contextlib

import numpy as np
import pytest
import references

from hw1 import datasets, models, question, records, training
from hw1.measures import hessian
from hw1.paths import continuation

NETS = ("first phase", "small batch", "large batch")


def setting(**changes):
    """Settings at smoke size, of images averaged to 7 × 7 pixels, with changes."""
    return question.make_settings(continuation, "smoke", pool=4, **changes)


def rows_of(settings, rate=0.4):
    """The rows of a unit as they come."""
    return continuation.run(settings, datasets.load_splits("mnist10k", settings.train, settings.test), rate)


def run(rate=0.4, **changes):
    """The rows of all tables of one unit: table → list of rows."""
    tables = {}
    for row in rows_of(setting(**changes), rate):
        tables.setdefault(row.get("table", "rows"), []).append(row)
    return tables


@contextlib.contextmanager
def watched():
    """Gives the members of each training, in the order of the calls."""
    train, seen = training.train, []

    def watch(*arguments, **options):
        seen.append(train(*arguments, **options))
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "train", watch)
        yield seen


@pytest.fixture(scope="module")
def smoke():
    """The rows of the unit where only the batch size changes, and its trainings."""
    with watched() as seen:
        return run(target_loss=0.4), seen


@pytest.fixture
def trained(smoke, monkeypatch):
    """Instead of training again, gives the first trainings of the unit, as many as are asked for, in their order."""

    def give(count):
        train, kept = training.train, list(smoke[1][:count])
        monkeypatch.setattr(
            training, "train", lambda *arguments, **options: kept.pop(0) if kept else train(*arguments, **options)
        )

    return give


@pytest.fixture
def _without_lines(monkeypatch):
    """Nothing is measured between nets."""
    monkeypatch.setattr(continuation, "_between", lambda *_: ())


def at(member, place):
    """A net of a training at one of its evaluations."""
    return models.with_parameters(member.model, member.weights[place])


def mixed(first, last, alpha, x, y):
    """Loss and accuracy of the net at (1 − α) θ + α θ'."""
    ends = [references.flat(model.trainable_variables).astype(np.float64) for model in (first, last)]
    with references.moved(first, ((1 - alpha) * ends[0] + alpha * ends[1]).astype(np.float32)):
        return references.evaluate(first, x, y)


def test_the_rate_falls_to_zero_over_the_last_part():
    """1 before, then a straight line."""
    assert continuation.decayed([0, 5, 8, 9, 9.5, 10], 10, 0.2) == pytest.approx([1, 1, 1, 0.5, 0.25, 0])


def test_the_steps_have_these_rates(trained):
    """With the full batch every step is computable: those of the last part are as much shorter."""
    trained(2)
    with watched() as trainings:
        next(rows_of(setting(batch_sizes=(100, 200), updates=10, every=1)))
    first, _, _, large = [members[0] for members in trainings]
    images, theta = large.data, models.flat_parameters(first.model).astype(np.float64)
    for step, weights in enumerate(large.weights):
        model = models.with_dtype(models.with_parameters(first.model, theta.astype(np.float32)), "float64")
        slope = references.gradient(model, images.x_train, images.y_train)
        theta = theta - 0.4 * min(1, (10 - step) / 2) * slope
        np.testing.assert_allclose(weights, theta, atol=1e-4)


def test_lines_and_barriers_are_those_of_the_nets(smoke):
    """Each loss and error anew by a loop over interpolated nets, on the images of the seed."""
    tables, (starts, partners, small, large, *_) = smoke
    for number, seed in enumerate((0, 1)):
        a, b, c = (members[number] for members in (starts, small, large))
        before = np.flatnonzero(b.evaluated <= 80)[-1]
        assert b.evaluated[before] == 80
        cases = {
            ("A to small", "end"): (a.model, b.model),
            ("A to small", "before decay"): (a.model, at(b, before)),
            ("small to large", "end"): (b.model, c.model),
            ("independent", "end"): (a.model, partners[number].model),
        }
        images = a.data
        for (line, place), ends in cases.items():
            about = {"line": line, "at": place, "seed": seed, "part": "train"}
            (row,) = [row for row in tables["barriers"] if about.items() <= row.items()]
            curve = [mixed(*ends, alpha, images.x_train, images.y_train) for alpha in np.linspace(0, 1, 11)]
            losses, errors = np.array(curve)[:, 0], 1 - np.array(curve)[:, 1]
            assert row["loss_barrier"] == pytest.approx(losses.max() - max(losses[[0, -1]]), abs=1e-5)
            assert row["error_barrier"] == pytest.approx(errors.max() - max(errors[[0, -1]]), abs=1e-6)
            apart = [models.flat_parameters(model) for model in ends]
            assert row["length"] == pytest.approx(np.linalg.norm(apart[1] - apart[0]), rel=1e-5)
        drawn = [row for row in tables["lines"] if row["line"] == "A to small" and row["seed"] == seed]
        assert [row["alpha"] for row in drawn] == [-0.25, 0, 0.25, 0.5, 0.75, 1, 1.25]
        for row in drawn:
            loss, accuracy = mixed(a.model, b.model, row["alpha"], images.x_test, images.y_test)
            assert (row["test_loss"], row["test_accuracy"]) == pytest.approx((loss, accuracy), rel=1e-4)


def test_rows_are_measured_where_they_say(smoke):
    """Losses, curvature, distance and highest loss at the end and at the equal loss."""
    tables, (starts, _, small, large, *settled) = smoke
    measured = {("first phase", "end"): starts, ("small batch", "end"): small, ("large batch", "end"): large}
    measured |= {(net, "equal loss"): members for net, members in zip(NETS[1:], settled, strict=True)}
    assert {(row["net"], row["at"]) for row in tables["rows"]} == set(measured)
    assert len(tables["rows"]) == 10
    for row in tables["rows"]:
        (member,) = [m for m in measured[row["net"], row["at"]] if m.seed == row["seed"]]
        model, images = member.model, member.data
        loss, accuracy = references.evaluate(model, images.x_train, images.y_train)
        assert (row["train_loss"], row["train_accuracy"]) == pytest.approx((loss, accuracy), rel=1e-4)
        assert row["updates"] == member.updates
        assert row["status"] == "ok"
        assert row["highest"] == member.history["train_loss"].max()
        eigenvalues = np.linalg.eigvalsh(hessian.dense(model, images.x_train, images.y_train))
        assert row["spectral_norm"] == pytest.approx(abs(eigenvalues).max(), rel=1e-3)
        origin = starts[row["seed"]].model
        if row["net"] == "first phase":
            origin = models.mlp((8,), input_shape=(7, 7), seed=row["seed"])
        away = models.flat_parameters(model) - models.flat_parameters(origin)
        assert row["distance"] == pytest.approx(np.linalg.norm(away), rel=1e-5)
        slope = references.gradient(model, images.x_train, images.y_train)
        rise = (
            1e-3 * abs(slope) @ (abs(models.flat_parameters(model)) + 1)
        )  # of the first order, in the corner of the box
        assert row["sharpness"] > 0.9 * 100 * rise / (1 + loss)
        if row["at"] == "equal loss":
            assert 0.35 < row["train_loss"] <= 0.4


@pytest.mark.usefixtures("_without_lines")
def test_the_descent_to_the_equal_loss_begins_at_the_end_of_each(trained):
    """With no step to take the net stays where it is, and is short of the target."""
    trained(4)
    tables = run(target_rate=1e-12, target_updates=5)
    ends = {(row["net"], row["seed"], row["at"]): row for row in tables["rows"]}
    for net in NETS[1:]:
        for seed in (0, 1):
            end, equal = ends[net, seed, "end"], ends[net, seed, "equal loss"]
            assert equal["train_loss"] == pytest.approx(end["train_loss"], rel=1e-6)
            assert equal["distance"] == pytest.approx(end["distance"], rel=1e-6)
            assert (end["status"], equal["status"]) == ("ok", "target not reached")


@pytest.mark.slow
def test_both_continuations_begin_at_the_end_of_the_first_phase(trained, monkeypatch):
    """With a rate of nothing they stay there, on lines without length and barrier."""
    trained(1)
    monkeypatch.setattr(continuation, "_to_the_target", lambda *_: {})
    tables = run(1e-12, learning_rates=(0.4, 1e-12))
    ends = {(row["net"], row["seed"]): row for row in tables["rows"] if row["at"] == "end"}
    for net in NETS[1:]:
        for seed in (0, 1):
            assert ends[net, seed]["train_loss"] == pytest.approx(ends["first phase", seed]["train_loss"], rel=1e-6)
            assert ends[net, seed]["distance"] < 1e-4
    assert all(row["loss_barrier"] < 1e-6 and row["length"] < 1e-4 for row in tables["barriers"])


def test_partners_share_the_images_and_not_the_start(smoke, at_smoke_size):
    """In the unit where only the batch size changes; the others have no independent line."""
    tables, (starts, partners, *_) = smoke
    for start, partner in zip(starts, partners, strict=True):
        np.testing.assert_array_equal(start.data.x_train, partner.data.x_train)
        kernels = [member.model.get_weights()[0] for member in (start, partner)]
        assert np.linalg.norm(kernels[0] - kernels[1]) > 0.5 * np.linalg.norm(kernels[0])
    assert not np.array_equal(starts[0].data.x_train, starts[1].data.x_train)
    assert "independent" in {row["line"] for row in tables["barriers"]}
    barriers = records.read(at_smoke_size("continuation"), "continuation", "barriers")
    lines = barriers.groupby("learning_rate").line.agg(set)
    alone = {"independent", "A to small, path"}
    assert len(lines) > 1
    assert all(alone <= found if rate == 0.4 else not alone & found for rate, found in lines.items())


def test_the_path_is_no_higher_than_the_line_and_longer(smoke):
    """It begins as the line, and its highest point is kept only where it is lower."""
    found = {
        (row["line"], row["seed"]): row for row in smoke[0]["barriers"] if (row["at"], row["part"]) == ("end", "train")
    }
    for seed in (0, 1):
        line, path = found["A to small", seed], found["A to small, path", seed]
        assert path["loss_barrier"] <= line["loss_barrier"] + 1e-6
        assert path["length"] >= line["length"] * (1 - 1e-6)


def test_the_first_phase_is_the_same_in_all_units(at_smoke_size):
    """To the last digit of the record."""
    rows = records.read(at_smoke_size("continuation"), "continuation")
    first = [part.drop(columns="learning_rate") for _, part in rows[rows.net == "first phase"].groupby("learning_rate")]
    assert len(first) == 2
    np.testing.assert_array_equal(*[part.to_numpy() for part in first])


def test_nets_that_diverge_are_rows(trained):
    """One continuation, or the first phase and with it all; lines to what is left are kept."""
    trained(1)
    tables = run(1e30, learning_rates=(0.4, 1e30))
    status = {(row["net"], row["status"]) for row in tables["rows"]}
    assert status == {("first phase", "ok"), ("small batch", "diverged"), ("large batch", "diverged")}
    assert "barriers" not in tables
    tables = run(1e30, learning_rates=(0.4, 1e30), first_rate=1e30)
    assert [row["status"] for row in tables["rows"]] == ["diverged"] * 10
    assert set(tables) == {"rows"}


@pytest.mark.usefixtures("_without_lines")
def test_a_net_that_ended_below_the_target_says_so(trained):
    """It cannot be compared at that loss."""
    trained(4)
    rows = run(target_loss=2.0)["rows"]
    assert {row["status"] for row in rows if row["at"] == "equal loss"} == {"below the target"}
    assert {row["status"] for row in rows if row["at"] == "end"} == {"ok"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_sizes": (50, 10)}, "--batch_sizes=50,10: must be two values, the smaller first"),
        ({"batch_sizes": (10,)}, "--batch_sizes=10: must be two values"),
        ({"batch_sizes": (10, 300)}, "--batch_sizes=10,300: must be at most --train=200"),
        ({"first_rate": 0.1}, "--first_rate=0.1: must be one of --learning_rates=0.2,0.4"),
        ({"every": 90}, "--every=90: must be at most .* = 80"),
        ({"decay": 0.0}, "--decay=0.0"),
        ({"points": 5}, "--points=5"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    """Before anything is trained, by the name of the flag."""
    with pytest.raises(ValueError, match=message):
        question.make_settings(continuation, "smoke", **changes)
