"""Tests of the questions flatness, straight_line and redundancy: what their rows must satisfy, at smoke size."""

import numpy as np
import pytest

from hw1 import datasets, models, question, records
from hw1.landscape import flatness, redundancy, straight_line
from hw1.ledger.landscape import flatness as ledger


def answered(at_smoke_size, name):
    """Rows, settings and tables of a question at smoke size."""
    folder = at_smoke_size(name)
    return records.read(folder, name), records.settings(folder, name), records.tables(folder, name)


@pytest.fixture(scope="module")
def flat(at_smoke_size):
    """The answer of flatness."""
    return answered(at_smoke_size, "flatness")


@pytest.fixture(scope="module")
def lines(at_smoke_size):
    """The answer of straight_line."""
    return answered(at_smoke_size, "straight_line")


@pytest.fixture(scope="module")
def valley(at_smoke_size):
    """The answer of redundancy."""
    return answered(at_smoke_size, "redundancy")


# flatness


def test_nets_are_compared_at_one_training_loss(flat):
    """Every net of the population reached the target and was measured by every measure."""
    frame, settings, _ = flat
    course = frame[frame.net == "course"]
    assert len(course) == 3 * settings["seeds"]
    assert (course.train_loss <= settings["target_loss"] + 1e-6).all()
    assert (course[["ball_sharpness", "subspace_sharpness", "spectral_norm", "trace"]] > 0).all().all()
    assert (course[["log_volume", "spectral_norm"]].nunique() == len(course)).all()
    assert (course.log_volume_error.between(0, 1)).all()


def test_the_maximum_in_the_ball_lies_above_its_first_order(flat):
    """On the largest ball that is small: at least nearly ‖g‖ ε; and the approximations grow as ε and ε²."""
    _, settings, tables = flat
    radii = tables["radii"].pivot(index=["batch_size", "seed"], columns="epsilon")
    assert len(radii) == 2 * settings["seeds"]
    small, large = min(settings["radii"]), max(settings["radii"])
    assert (radii["maximum"][small] > 0.8 * radii["linear"][small]).all()
    assert (radii["maximum"][large] > radii["maximum"][small]).all()
    assert np.allclose(radii["linear"][large] / radii["linear"][small], large / small)
    assert np.allclose(radii["quadratic"][large] / radii["quadratic"][small], (large / small) ** 2)


def test_the_flat_volume_of_a_rescaled_net_changes_by_the_jacobian(flat):
    """On average over seeds by α^(n₁ − n₂) = α^4 for 4-2-2 without biases, by rays of their own; the section shrinks.

    One estimate with so few rays is some 1.5 nats from another, so this slope is right to 0.4 or so. That the change is
    exact for the same rays is tested in `test_volume`.
    """
    *_, tables = flat
    whole, section = (tables["rescaling"].query("region == @name") for name in ("whole", "section"))
    assert set(whole.exponent) == {4 * 2 - 2 * 2}
    assert np.polyfit(np.log(whole.alpha), whole.log_volume, 1)[0] == pytest.approx(4, abs=1.2)
    assert (section.pivot(index="seed", columns="alpha", values="log_volume").idxmax(axis=1) == 1).all()


def test_the_small_net_keeps_its_function():
    """The squared error at Tθ is that at θ."""
    data = flatness._two_classes(datasets.load("mnist10k", train=200, test=50), 14)
    assert data.x_train.shape[1:] == (2, 2)
    assert set(data.y_train) == set(data.y_test) == {0, 1}
    model = models.mlp((2,), "leaky_relu", use_bias=False, input_shape=(2, 2), classes=2, dtype="float64")
    twin = models.with_parameters(model, models.flat_parameters(model) * models.rescaling(model, (100, 0.01)))
    outputs = [np.asarray(net(data.x_train)) for net in (model, twin)]
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-12)
    expected = np.sum((outputs[0] - np.eye(2)[data.y_train]) ** 2, axis=1)
    np.testing.assert_allclose(flatness.squared_error(data.y_train, outputs[0]), expected, rtol=1e-12)


def test_flat_claims_follow_the_rows():
    """A made-up population in which sharper nets have the higher test loss, but the higher test accuracy too."""
    import pandas as pd

    rng = np.random.default_rng(0)
    sharp, seed = rng.random(60), np.repeat(np.arange(5), 12)
    columns = ("spectral_norm", "trace", "ball_sharpness", "subspace_sharpness")
    frame = pd.DataFrame({"net": "course", "status": "ok", "seed": seed, "train_loss": 0.05, "test_loss": sharp + 1})
    frame = frame.assign(**dict.fromkeys(columns, sharp**2), log_volume=-sharp, train_accuracy=1.0)
    frame = frame.assign(test_accuracy=sharp / 2)
    radii = pd.DataFrame({"seed": [0, 1] * 2, "epsilon": [0.1] * 2 + [1.0] * 2, "maximum": 2.0, "quadratic": 2.0})
    radii.loc[2:, "quadratic"] = 6.0, 8.0
    claims = list(ledger.flatness(frame, {"seeds": 5}, radii))
    assert [claim.ours for claim in claims] == pytest.approx([1] * 5 + [1] * 5 + [1] + [1, np.sqrt(12)])
    assert [claim.verdict for claim in claims[:11]] == ["held"] * 5 + ["did not hold"] * 5 + ["held"]
    opposite = list(ledger.flatness(frame.assign(test_loss=1 - sharp), {"seeds": 5}, radii))
    assert [claim.ours for claim in opposite[:5]] == pytest.approx([-1] * 5)
    assert {claim.verdict for claim in opposite[:5]} == {"did not hold"}


# straight_line


def test_lines_begin_and_end_where_training_did(lines):
    """α = 0 and 1 of the first line are the first and last row of the learning curve; α = 0 of the second the last."""
    frame, settings, tables = lines
    curves = tables["training"].set_index(["net", "seed", "epoch"])
    rows = frame.set_index(["line", "net", "seed", "alpha"])
    for net in settings["nets"]:
        for seed in range(settings["seeds"]):
            for line, alpha, epoch in (
                ("start to end", 0, 0),
                ("start to end", 1, settings["epochs"]),
                ("end to end", 0, settings["epochs"]),
            ):
                for column in records.FOUR:
                    expected = curves.loc[(net, seed, epoch), column]
                    assert rows.loc[(line, net, seed, alpha), column] == pytest.approx(expected, rel=1e-4)


def test_a_maxout_unit_gives_the_larger_of_its_pieces():
    """By hand in NumPy, of two layers; another seed has other weights."""
    data = datasets.load("mnist10k", train=20, test=20)
    model, other = (straight_line._build("maxout", (4, 3), data, seed) for seed in (0, 1))
    values = data.x_train.reshape(20, -1)
    weights = model.get_weights()
    for kernel_a, bias_a, kernel_b, bias_b in (weights[:4], weights[4:8]):
        values = np.maximum(values @ kernel_a + bias_a, values @ kernel_b + bias_b)
    np.testing.assert_allclose(model(data.x_train), values @ weights[8] + weights[9], rtol=1e-4, atol=1e-5)
    assert not np.allclose(weights[0], weights[2])
    assert not np.allclose(weights[0], other.get_weights()[0])


def test_the_largest_rise_of_a_curve():
    """Above the lowest point before it, wherever on the curve; 0 where it only falls."""
    assert ledger._largest_rise(np.array([5.0, 3, 2, 2, 1])) == 0
    assert ledger._largest_rise(np.array([5.0, 1, 4, 0, 2])) == 3


# redundancy


def test_the_net_has_the_closed_forms():
    """Output w₁w₂, and the eigenvalues of [[2w₂², 4w₁w₂], [4w₁w₂, 2w₁²]], off the valley too."""
    model = redundancy.net()
    for a, b in ((0.7, -1.3), (2.0, 0.0), (0.0, 0.0)):
        matrix = [[2 * b * b, 4 * a * b], [4 * a * b, 2 * a * a]]
        found = redundancy.eigenvalues(model, np.array([a, b]))
        np.testing.assert_allclose(found, np.linalg.eigvalsh(matrix)[::-1], rtol=1e-12, atol=1e-12)
        assert float(np.asarray(model(np.ones((1, 1))))[0, 0]) == pytest.approx(a * b)


def test_the_valley_has_every_curvature(valley):
    """2t² and 0 at (t, 0)."""
    rows = valley[0].query("part == 'valley'")
    np.testing.assert_allclose(rows.largest_eigenvalue, 2 * rows["first"] ** 2, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(rows.smallest_eigenvalue, 0, atol=1e-12)
    assert (rows.loss == 0).all()


def test_descent_changes_the_difference_by_the_known_factor():
    """w₁² − w₂² is multiplied by 1 − (2η w₁w₂)² in each step, and by 1 − (2η (w₁w₂ − ξ))² under label noise."""
    settings = question.make_settings(redundancy, "smoke")
    for method, sigma in (("descent", 0.0), ("label noise", settings.label_noise)):
        points = redundancy.path(settings, method, seed=3)
        labels = sigma * np.random.default_rng([3, 1]).standard_normal((settings.steps, 2))[:, 0]
        labels[settings.steps * 9 // 10 :] = 0
        product, difference = points.prod(axis=1), points[:, 0] ** 2 - points[:, 1] ** 2
        factor = 1 - (2 * settings.learning_rate * (product[:-1] - labels)) ** 2
        np.testing.assert_allclose(difference[1:], difference[:-1] * factor, rtol=1e-9)


def test_all_end_in_the_valley_from_the_same_starts(valley):
    """After the last steps without noise the loss is small for all methods; their starts are one."""
    frame, settings, _ = valley
    paths = frame[frame.part != "valley"]
    starts = paths[paths.step == 0].pivot(index="seed", columns="part", values=["first", "second"])
    assert (starts.T.groupby(level=0).nunique() == 1).all().all()
    assert len(starts) == settings["seeds"]
    ends = paths[paths.step == settings["steps"]]
    assert (ends.loss < 1e-2).all()
    assert ends[ends.part != "descent"].largest_eigenvalue.median() > 0
