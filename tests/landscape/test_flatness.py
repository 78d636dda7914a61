"""Question flatness: rows at smoke size, and the small net."""

import numpy as np
import pytest

from hw1 import datasets, models, records
from hw1.landscape import flatness


@pytest.fixture(scope="module")
def flat(at_smoke_size):
    """Rows, settings and tables at smoke size."""
    folder, name = at_smoke_size("flatness"), "flatness"
    return records.read(folder, name), records.settings(folder, name), records.tables(folder, name)


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
    splits = datasets.load_splits("mnist10k", train=200, test=50)
    data = datasets.first_classes(datasets.average_pool(splits, 14), 2).of(0)
    assert data.x_train.shape[1:] == (2, 2)
    assert set(data.y_train) == set(data.y_test) == {0, 1}
    model = models.mlp((2,), "leaky_relu", use_bias=False, input_shape=(2, 2), classes=2, dtype="float64")
    twin = models.with_parameters(model, models.flat_parameters(model) * models.rescaling(model, (100, 0.01)))
    outputs = [np.asarray(net(data.x_train)) for net in (model, twin)]
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-12)
    expected = np.sum((outputs[0] - np.eye(2)[data.y_train]) ** 2, axis=1)
    np.testing.assert_allclose(flatness.squared_error(data.y_train, outputs[0]), expected, rtol=1e-12)
