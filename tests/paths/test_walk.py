"""Question walk: segments and walks on quadratics in closed form, its losses by hand, bad settings."""

import cases
import keras
import numpy as np
import pytest
import references

from hw1 import datasets, evaluation, models, question, records, training
from hw1.paths import walk

PLACES = np.linspace(0, 1, 11)


def test_segments_of_parabolas_lines_and_hills():
    """A minimum inside, at an end and beyond, a straight line, a hill, and a wave that is not convex."""
    curves = [(PLACES - s) ** 2 for s in (0.3, 1.0, 1.4)]
    curves += [1 - PLACES, 1 - (PLACES - 0.5) ** 2, np.sin(12 * PLACES)]
    found = walk.describe(np.array(curves))
    assert found["inside"].tolist() == [True, False, False, False, False, True]
    assert found["convex"].tolist() == [True, True, True, True, False, False]
    assert found["floor"].tolist() == [True, False, False, False, False, False]
    assert found["barrier"].tolist() == [False, False, False, False, True, True]
    assert found["height"][:3] == pytest.approx([(0.09 + 0.49) / 2, 0.5, (1.96 + 0.16) / 2 - 0.16])


def test_a_level_segment_is_no_barrier():
    """Rounding makes neither a hill nor a floor."""
    level = 0.3 + 1e-16 * np.random.default_rng(0).standard_normal((5, 11))
    found = walk.describe(level)
    assert not found["inside"].any()
    assert not found["barrier"].any()
    assert found["convex"].all()


def quadratic(curvature):
    """The loss ½ Σ hᵢθᵢ² as a function of points."""
    return lambda points: points**2 @ np.asarray(curvature) / 2


@pytest.mark.parametrize("rate", [0.1, 0.9, 1.5, 1.9])
def test_exact_descent_on_a_quadratic(rate):
    """θᵢ(t) = (1 − εhᵢ)ᵗ θᵢ(0): cosines, heights and floors by the formula of a parabola."""
    h, start = np.array([1.0, 0.2]), np.array([1.0, -2.0])
    iterates = (1 - rate * h) ** np.arange(8)[:, None] * start
    steps = np.arange(6)
    found = walk.measure(quadratic(h), iterates, steps, 1001)
    gradients = h * iterates
    move = -rate * gradients[:6]
    lowest = -np.sum(gradients[:6] * move, axis=1) / np.sum(h * move**2, axis=1)  # where the parabola is least
    assert found["inside"].tolist() == ((lowest > 0.0005) & (lowest < 0.9995)).tolist()
    assert found["convex"].all()
    exact = np.sum(gradients[:6] * gradients[1:7], axis=1)
    exact /= np.linalg.norm(gradients[:6], axis=1) * np.linalg.norm(gradients[1:7], axis=1)
    assert found["cosine"] == pytest.approx(exact)
    losses = quadratic(h)(iterates)
    floor = quadratic(h)(iterates[:6] + np.clip(lowest, 0, 1)[:, None] * move)
    assert found["height"] == pytest.approx((losses[:6] + losses[1:7]) / 2 - floor, abs=1e-5)


def crossing(rho, count):
    """P(the lowest of so many points is inside) for two successive values of a stationary autoregression.

    The minimum lies at the share s = 1 / (1 − θ'/θ) of the segment, and θ'/θ is a Cauchy number around ρ with scale
    √(1 − ρ²). The lowest point is inside if s is half a spacing away from both ends.
    """
    half = 0.5 / (count - 1)
    low, high = 1 - 1 / half, 1 - 1 / (1 - half)
    scale = np.sqrt(1 - rho**2)
    return (np.arctan((high - rho) / scale) - np.arctan((low - rho) / scale)) / np.pi


@pytest.mark.parametrize("rate", cases.some([0.1, 0.9, 0.5]))
def test_sgd_on_a_quadratic(rate):
    """A net of one weight and the loss (w − y)², h = 2, by the trainer: stationary, with ρ = 1 − εh = 1 − 2ε.

    Crossings follow `crossing`. Successive gradients have the correlation −(1 − ρ)/2, in one dimension the cosine is
    their sign, and E sign = (2/π) arcsin of it. The height is E[(w² + w'²)/2] less the floors, which are 0 inside and
    the lower end beyond. The mean squared distance of two iterates t steps apart is 2σ²(1 − ρᵗ).
    """
    n, size, steps, nets = 400, 20, 300, 10
    rho, y = 1 - 2 * rate, np.random.default_rng(0).standard_normal((n, 1))
    y -= y.mean()
    data = datasets.Dataset(np.ones((n, 1)), y, np.ones((4, 1)), y[:4], "one weight", 1)
    members = training.train(
        lambda seed: models.mlp((), use_bias=False, input_shape=(1,), classes=1, seed=seed, dtype="float64"),
        data,
        batch_size=size,
        updates=steps,
        evaluate_updates=1,
        optimizer=lambda: keras.optimizers.SGD(rate),
        loss=keras.losses.mean_squared_error,
        seeds=nets,
        replacement=True,
        record=("weights",),
    )
    burnt = members[0].weights.shape[0] // 6
    losses = quadratic([2.0])
    found = [walk.measure(losses, m.weights[burnt:], np.arange(steps - burnt - 2), 11) for m in members]
    mean = {name: np.concatenate([part[name] for part in found]).mean() for name in walk.MEASURES}
    assert mean["floor"] == pytest.approx(crossing(rho, 11), abs=0.04)
    assert mean["floor"] == mean["inside"]
    assert mean["cosine"] == pytest.approx(2 / np.pi * np.arcsin(-(1 - rho) / 2), abs=0.04)
    assert mean["barrier"] == 0
    variance = rate * y.var() / size / (1 - rate)  # σ² = ε²h²·var/B / (1 − ρ²)
    draws = np.random.default_rng(1).multivariate_normal([0, 0], variance * np.array([[1, rho], [rho, 1]]), 200000)
    ends = draws**2
    floors = np.where(draws.prod(axis=1) < 0, 0, ends.min(axis=1))
    assert mean["height"] == pytest.approx(np.mean(ends.mean(axis=1) - floors), rel=0.15)
    apart = [np.mean((m.weights[burnt + 3 :] - m.weights[burnt:-3]) ** 2) for m in members]
    assert np.mean(apart) == pytest.approx(2 * variance * (1 - rho**3), rel=0.15)


def test_cosines_of_no_step_are_zero():
    """A net that stands still has no angle."""
    assert walk.cosines(np.array([[1.0, 0], [0, 0]]), np.array([[-2.0, 0], [1, 1]])).tolist() == [-1, 0]


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with the question at smoke size."""
    return at_smoke_size("walk")


def test_rows_are_means_over_stages(runs):
    """Two stages of equally many segments; the last one ends where the training does."""
    rows, stages = (records.read(runs, "walk", table) for table in ("rows", "stages"))
    keys = ["batch_size", "learning_rate", "seed"]
    assert set(rows.batch_size) == {10, 50, 100}
    together = stages.groupby(keys).mean().reset_index().merge(rows, on=keys, suffixes=("_stages", ""))
    assert len(together) == len(rows) == 12
    assert together.height_stages.to_numpy() == pytest.approx(together.height.to_numpy())
    last = stages[stages.updates == 20].merge(rows, on=keys, suffixes=("_stages", ""))
    assert last.distance_stages.to_numpy() == pytest.approx(last.distance.to_numpy())
    assert last.train_loss_stages.to_numpy() == pytest.approx(last.train_loss.to_numpy())


def test_a_segment_is_that_of_an_ordinary_net():
    """The height of the first full-batch step, from the gradient of the whole set and losses of nets on the way."""
    settings = question.make_settings(walk, "smoke", updates=3, every=1, stages=1, seeds=1, learning_rates=(0.4,))
    data = datasets.load_splits("mnist10k", 100, 100)
    found = [row for row in walk.run(settings, data, 100) if "table" not in row]
    pooled = datasets.average_pool(data, 4)
    model = models.with_dtype(models.mlp(settings.hidden, input_shape=pooled.shape, seed=0), "float64")
    own = pooled.of(0)
    objective = evaluation.objective(model, own.x_train, own.y_train)
    heights, theta = [], models.flat_parameters(model)
    for _ in range(2):
        slope = objective(theta)[1]
        losses = [references.loss_at(model, own.x_train, own.y_train, theta - 0.4 * s * slope) for s in PLACES]
        heights.append((losses[0] + losses[-1]) / 2 - min(losses))
        theta = theta - 0.4 * slope
    assert found[0]["height"] == pytest.approx(np.mean(heights), rel=1e-3)


def test_nets_do_not_depend_on_how_many_are_held(monkeypatch):
    """One net at a time gives the same rows."""
    settings = question.make_settings(walk, "smoke", seeds=1)
    data = datasets.load_splits("mnist10k", 100, 100)
    together = list(walk.run(settings, data, 50))
    monkeypatch.setattr(walk, "HELD", 1)
    alone = list(walk.run(settings, data, 50))
    assert [row["height"] for row in alone] == pytest.approx([row["height"] for row in together], rel=1e-3)


def test_a_net_that_diverges_is_a_row():
    """Without stages; the others are as they were."""
    settings = question.make_settings(walk, "smoke", learning_rates=(0.1, 1e30), learning_rate=0.1)
    data = datasets.load_splits("mnist10k", 100, 100)
    rows = list(walk.run(settings, data, 10))
    assert {row["status"] for row in rows if row["learning_rate"] == 1e30} == {"diverged"}
    assert {row["status"] for row in rows if row["learning_rate"] == 0.1 and "status" in row} == {"ok"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_sizes": (10, 100)}, "--batch_sizes=10,100: must be below --train=100"),
        ({"batch_sizes": (10, 200)}, "--batch_sizes=10,200: must be at most --train=100"),
        ({"batch_size": 20}, "--batch_size=20: must be one of --batch_sizes=10,50"),
        ({"learning_rate": 0.2}, "--learning_rate=0.2: must be one of --learning_rates=0.1,0.4"),
        ({"every": 11}, "--every=11: must be at most --updates / --stages = 10"),
        ({"points": 4}, "--points=4"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    """Before anything is trained, by the name of the flag."""
    with pytest.raises(ValueError, match=message):
        question.make_settings(walk, "smoke", **changes)
