"""Question smoothing: minima on grids, descents and tracks with known ends, rows by hand, bad settings."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from hw1 import models, question, records
from hw1.measures.smoothing import Convolution, convolve
from hw1.paths import smoothing

SMOKE = question.make_settings(smoothing, "smoke")


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with the question at smoke size."""
    return at_smoke_size("smoothing")


def test_minima_of_surfaces():
    """Of egg boxes with known numbers; a valley that runs out of the grid and a plateau have none."""
    u, v = np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-1, 1, 41))
    assert smoothing.minima(u**2 + v**2) == 1
    assert smoothing.minima((u**2 - 0.25) ** 2 + v**2) == 2
    assert smoothing.minima(np.cos(4 * np.pi * u + 0.1) + np.cos(4 * np.pi * v + 0.1)) == 16
    assert smoothing.minima(u + v**2) == 0
    assert smoothing.minima(np.ones((5, 5))) == 0


def test_the_grid_holds_its_solutions():
    """In the plane, and as far beyond them as the setting says."""
    settings = dataclasses.replace(SMOKE, grid=5, reach=0.5)
    solutions = np.array([[1.0, 1, 1], [3, 1, 1], [1, 2, 1]])
    points = smoothing.grid(settings, solutions, np.eye(3)[:2])
    assert np.unique(points[:, 0]) == pytest.approx([0, 1, 2, 3, 4])
    assert np.unique(points[:, 1]) == pytest.approx([0.5, 1, 1.5, 2, 2.5])
    assert set(points[:, 2]) == {1.0}
    surface = points.reshape(5, 5, 3)
    assert np.ptp(surface[:, 2, 1]) == pytest.approx(0)  # rows and columns are the two axes
    assert np.ptp(surface[2, :, 0]) == pytest.approx(0)


def test_adam_is_that_of_keras():
    """Step by step on a quadratic, with the cosine of its learning rate."""
    settings = dataclasses.replace(SMOKE, steps=30, learning_rate=0.1)
    curvature, start = np.array([3.0, 0.1]), np.array([1.0, -2.0])
    found = smoothing.descend(settings, start, lambda theta, step: curvature * theta)
    theta = keras.Variable(start, dtype="float64")
    adam = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 30))
    adam.build([theta])
    for _ in range(30):
        adam.apply([tf.constant(curvature * np.asarray(theta))])
    assert found == pytest.approx(np.asarray(theta), rel=1e-4)


def wavy(y, outputs):
    """A bowl with ripples, (θ/4)² + (1 − cos 4θ)/2: minima about π/2 apart, the deepest at 0."""
    return tf.reduce_sum((outputs / 4) ** 2 + (1 - tf.cos(4 * outputs)) / 2, axis=1)


def bowl(temperature=None):
    """The convolution of the bowl, of one parameter."""
    model = models.mlp((), use_bias=False, input_shape=(1,), classes=1, dtype="float64")
    one = np.ones((1, 1))
    return Convolution(model, one, one, temperature, draws=400, loss=wavy, seed=1)


@pytest.mark.parametrize("temperature", [None, 2.0])
def test_tracking_finds_the_bottom_of_a_wavy_bowl(temperature):
    """From θ = 3, where plain descent stays in the nearest ripple; by exp(−8Λ²) Λ = 1 removes the ripples."""
    settings = dataclasses.replace(SMOKE, steps=300, learning_rate=0.1, tracked=1.0, effective=100.0)
    smooth, start = bowl(temperature), np.array([3.2])
    end, effective, begun = smoothing.track(settings, smooth, start)
    assert abs(end[0]) < 0.05
    assert effective > 100
    assert begun == 1.0
    plain = smoothing.descend(settings, start, lambda theta, step: smooth.value_and_gradient(theta, 0)[1])
    assert abs(plain[0]) > 2.5


def test_tracking_waits_until_enough_draws_count():
    """At a low temperature Λ is lowered first, and all steps that are taken have enough."""
    settings = dataclasses.replace(SMOKE, steps=100, tracked=3.0, effective=100.0)
    _, effective, begun = smoothing.track(settings, bowl(0.1), np.array([3.2]))
    assert effective > 100
    assert 0 < begun < 3


def test_rows_are_those_of_the_measure(runs):
    """Barrier, curvature at Λ = 0 and minima, made anew from the solutions of a seed."""
    rows = records.read(runs, "smoothing")
    case = smoothing.solved(SMOKE, 1)
    one, other = case.ends[:2]
    (row,) = rows[(rows.f == "x") & (rows.width == 0.3) & (rows.seed == 1)].itertuples()
    line = np.array([one + place * (other - one) for place in np.linspace(0, 1, 5)])
    options = {"points": line, "draws": 20, "loss": smoothing.LOSS, "seed": 1001}
    values = convolve(case.model, *case.data, 0.3, **options).value
    assert row.barrier == pytest.approx(values.max() - max(values[0], values[-1]))
    assert (rows[rows.f == "x"].effective == 20).all()
    sharp = rows[rows.width == 0].pivot(index="seed", columns="f", values=["minima", "curvature", "barrier"])
    for quantity in ("minima", "curvature", "barrier"):  # without smoothing both functions see the loss itself
        assert sharp[quantity]["x"].to_numpy() == pytest.approx(sharp[quantity]["exp(−x/kT)"].to_numpy(), rel=1e-6)


def test_descents_lower_the_loss(runs):
    """Of all starts; the ends of a single descent and of the best restart go down once more."""
    tracking = records.read(runs, "smoothing", "tracking")
    case = smoothing.solved(SMOKE, 0)
    best = case.ends[case.losses.argmin()]
    smooth = Convolution(case.model, *case.data, draws=20, loss=smoothing.LOSS)
    ends = smoothing.descend(SMOKE, np.stack([case.ends[0], best]), lambda thetas, step: smooth.gradients(thetas))
    row = tracking[tracking.seed == 0].iloc[0]
    assert row[["single", "restarts"]].to_list() == pytest.approx(smooth(ends, 0).value.tolist())
    at_start = smooth(case.starts, 0).value
    assert np.mean(case.losses) < np.mean(at_start)
    x, y = case.data
    assert (np.abs(x) <= 5).all()
    assert y == pytest.approx(np.sinc(5 * (x / 5 + 1) / 2))


def test_a_seed_does_not_depend_on_the_others():
    """Seed 1 alone has the rows that it has beside seed 0."""
    both = [row for row in smoothing.run(SMOKE, None, "x") if row["seed"] == 1]
    alone = list(smoothing.run(dataclasses.replace(SMOKE, seeds=1, first_seed=1), None, "x"))
    assert alone == both


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": (0.1, 0.2)}, "--widths=0.1,0.2: must be two values or more that ascend from 0"),
        ({"widths": (0.0, 0.2, 0.1)}, "that ascend from 0"),
        ({"draws": 21}, "--draws=21: must be even"),
        ({"effective": 20.0}, "--effective=20: must be below --draws=20"),
        ({"hidden": (20,)}, "--hidden=20: makes 61 parameters"),
        ({"tracks": 30}, "--tracks=30: must be at most --draws=20"),
        ({"falling": 1.5}, "--falling=1.5"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    """Before anything is computed, by the name of the flag."""
    with pytest.raises(ValueError, match=message):
        question.make_settings(smoothing, "smoke", **changes)
