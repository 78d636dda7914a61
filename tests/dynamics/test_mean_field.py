"""The mean-field net against its limit, closed forms and a slow loop; the steps that are taken at once."""

import itertools

import cases
import numpy as np
import pytest

from hw1 import models, question
from hw1.datasets import Splits
from hw1.dynamics import mean_field

N_IMAGES, CLASSES = 24, 2
RNG = np.random.default_rng(0)
IMAGES = Splits(
    RNG.uniform(0, 1, (N_IMAGES + 6, 1, 2)).astype("float32"),
    RNG.integers(0, CLASSES, N_IMAGES + 6).astype("int32"),
    "dots",
    CLASSES,
    N_IMAGES,
    6,
)


def settings_of(**changes):
    """Settings for the small images."""
    small = {"train": N_IMAGES, "test": 6, "pool": 1, "probes": N_IMAGES, "batch_size": 3, "widths": (3, 6)}
    return question.make_settings(mean_field, "smoke", **(small | {"learning_rate": 0.2} | changes))


def population(settings, seed=0):
    """Inputs with a constant 1 for the bias, shape [n, inputs + 1], and one-hot labels."""
    split = mean_field.prepared(settings, IMAGES, [seed]).of(seed)
    x = split.x_train.reshape(N_IMAGES, -1).astype(float)
    return np.hstack([x, np.ones((N_IMAGES, 1))]), np.eye(CLASSES)[split.y_train]


def start(width, activation, member):
    """Units (wᵢ, bias), shape [N, inputs + 1], and cᵢ, shape [N, classes], in float64."""
    kernel, bias, sums = mean_field.net(width, activation, (1, 2), CLASSES, member).get_weights()
    return np.vstack([kernel, bias]).T.astype(float), sums.astype(float)


def loop(units, sums, x, y, rate, batches):
    """Steps of size rate · N, unit by unit, by the formulas for tanh; yields units and sums after each step."""
    units, sums, width = units.copy(), sums.copy(), len(units)
    for rows in batches:
        active = np.tanh(x[rows] @ units.T)
        wrong = active @ sums / width - y[rows]
        for i in range(width):
            slopes = wrong @ sums[i] * (1 - active[:, i] ** 2)
            moved = sums[i] - rate * width * (wrong * active[:, [i]]).mean(axis=0) / width
            units[i] -= rate * width * (slopes[:, None] * x[rows]).mean(axis=0) / width
            sums[i] = moved
        yield units.copy(), sums.copy()


def function(units, sums, x):
    """The outputs, shape [n, classes]."""
    return np.tanh(x @ units.T) @ sums / len(units)


def flow(moments, x, y, time, steps=400):
    """The moments A = (1/N) Σ c wᵀ, (1/N) Σ c cᵀ and (1/N) Σ w wᵀ of a linear net after gradient flow, by RK4.

    With G the mean of (y − Ax) xᵀ, each unit has ċ = Gw and ẇ = Gᵀc, from which the equations of the moments follow.
    """

    def slope(a, of_sums, of_units):
        g = (y - x @ a.T).T @ x / len(x)
        return [g @ of_units + of_sums @ g, g @ a.T + a @ g.T, g.T @ a + a.T @ g]

    def moved(by, slopes):
        return [part + by * change for part, change in zip(moments, slopes, strict=True)]

    h = time / steps
    for _ in range(steps):
        first = slope(*moments)
        second = slope(*moved(h / 2, first))
        third = slope(*moved(h / 2, second))
        fourth = slope(*moved(h, third))
        both = [a + 2 * b + 2 * c + d for a, b, c, d in zip(first, second, third, fourth, strict=True)]
        moments = moved(h / 6, both)
    return moments


def moments_of(units, sums):
    """The three moments of `flow`."""
    return [sums.T @ units / len(units), sums.T @ sums / len(units), units.T @ units / len(units)]


def ends(settings, width, count, seeds=(0,), batch_size=None):
    """The final functions of the members on the population of the first seed, shape [members, n, classes]."""
    data = mean_field.prepared(settings, IMAGES, list(seeds))
    members = mean_field.descend(settings, data, list(seeds), width, count, batch_size)
    x = data.of(seeds[0]).x_train
    last = np.stack([member.weights[-1] for member in members])
    return mean_field.functions(settings, width, last, x), members


def test_a_linear_net_follows_the_flow_of_its_moments():
    """Many small steps, taken at once, from the moments of this start; the rate must be εN for that."""
    settings = settings_of(activation="linear", steps=20, times=2, learning_rate=0.05)
    x, y = population(settings)
    for width in cases.some((3, 30), 1):
        found, members = ends(settings, width, 10**6)
        for f, member in zip(found, members, strict=True):
            a, *_ = flow(moments_of(*start(width, "linear", member.seed)), x, y, time=1.0)
            np.testing.assert_allclose(f, x @ a.T, atol=2e-3)


@pytest.mark.slow
def test_the_mean_field_limit_of_a_linear_net_is_reached_as_one_over_n():
    """The limit starts at A = 0 and unit second moments: the mean square distance to it is ∝ 1/N."""
    settings = settings_of(activation="linear", steps=20, times=2, learning_rate=0.05, splits="fixed")
    x, y = population(settings)
    a, *_ = flow([np.zeros((CLASSES, 3)), np.eye(CLASSES), np.eye(3)], x, y, time=1.0)
    fixed = Splits(IMAGES.x, IMAGES.y, "dots", CLASSES, N_IMAGES, 6, divide=lambda seed: IMAGES.rows(0))
    distances = []
    for width in (50, 5000):
        seeds = list(range(10))
        data = mean_field.prepared(settings, fixed, seeds)
        members = mean_field.descend(settings, data, seeds, width, 10**6, None)
        last = np.stack([member.weights[-1] for member in members])
        found = mean_field.functions(settings, width, last, data.of(0).x_train)
        distances.append(np.mean((found - x @ a.T) ** 2))
    assert 1 / 200 < distances[1] / distances[0] < 1 / 50  # predicted 1/100


def test_rows_are_those_of_a_slow_loop():
    """Both descents from both starts, the same draws; gap, variances and losses of every row with ε fixed."""
    settings = settings_of(seeds=1, first_seed=4, steps=4, times=2)
    rows = list(itertools.islice(mean_field.run(settings, IMAGES, 6), 2))  # the other descents are not computed
    assert {row["schedule"] for row in rows} == {"fixed"}
    x, y = population(settings, 4)
    paths = []
    for member in (4, 4 + mean_field.STRIDE):
        drawn = np.random.default_rng([member, 1]).integers(N_IMAGES, size=(4, 3))
        for batches in (drawn, [np.arange(N_IMAGES)] * 4):
            path = list(loop(*start(6, "tanh", member), x, y, 0.2, batches))
            paths.append([function(*path[step], x) for step in (1, 3)])
    first, exact_first, second, exact_second = np.array(paths)

    def square(a, b):
        return ((a - b) ** 2).sum(axis=2).mean(axis=1)

    gaps = (np.sqrt(square(first, exact_first)) + np.sqrt(square(second, exact_second))) / 2
    losses = [square(f, y) / 2 for f in (first, exact_first, second, exact_second)]
    wanted = {
        "time": [0.4, 0.8],
        "gap": gaps,
        "loss_gap": (abs(losses[0] - losses[1]) + abs(losses[2] - losses[3])) / 2,
        "fluctuation": square(first, second) / 2,
        "descent_fluctuation": square(exact_first, exact_second) / 2,
        "train_loss": (losses[0] + losses[2]) / 2,
        "descent_loss": (losses[1] + losses[3]) / 2,
        "train_accuracy": np.mean([(f.argmax(2) == y.argmax(1)).mean(1) for f in (first, second)], axis=0),
    }
    for name, values in wanted.items():
        np.testing.assert_allclose([row[name] for row in rows], values, rtol=2e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("count", cases.some([5, 1, 2], 1))
def test_steps_taken_at_once_are_many_steps(count):
    """Against a loop of small steps; the error of one large step is of third order, and none for a single one."""
    errors = []
    for rate in (0.8, 0.4):
        settings = settings_of(steps=1, times=1, learning_rate=rate)
        x, y = population(settings)
        (found, *_), _ = ends(settings, 6, count)
        *_, last = loop(*start(6, "tanh", 0), x, y, rate / count, [np.arange(N_IMAGES)] * count)
        errors.append(abs(found - function(*last, x)).max())
    if count == 1:
        assert max(errors) < 1e-6
    else:
        assert max(errors) < 0.02
        assert 5 < errors[0] / errors[1] < 12  # predicted 8


def test_with_one_over_n_exact_descent_takes_as_many_steps_as_stochastic_descent():
    """The times are those of ε fixed, and the step size is that of the smallest width divided by N / N₀."""
    settings = settings_of(seeds=1, steps=4, times=2, divisor=1.0)  # too few images for batches that grow
    rows = list(mean_field.run(settings, IMAGES, 6))
    for schedule, rate in (("fixed", 0.2), ("1/N", 0.1)):
        some = [row for row in rows if row.get("schedule") == schedule]
        assert [row["time"] for row in some] == pytest.approx([0.4, 0.8])
        assert {row["learning_rate"] for row in some} == {rate}
    (_, members) = ends(settings, 6, 2, batch_size=3)
    assert {member.updates for member in members} == {8}
    assert all(len(member.weights) == 2 for member in members)


def test_a_wide_start_contains_a_narrow_one():
    """So their law cannot depend on the width; different starts share nothing."""
    narrow, wide, other = (start(width, "tanh", member) for width, member in ((3, 0), (6, 0), (3, 1)))
    for part, whole, apart in zip(narrow, wide, other, strict=True):
        np.testing.assert_array_equal(part, whole[:3])
        assert not np.isclose(part, apart).any()


def test_the_function_of_flat_weights_is_that_of_the_net():
    """And inputs have mean 0 and the mean square length that was asked for."""
    settings = settings_of(scale=2.5)
    data = mean_field.prepared(settings, IMAGES, [3])
    x = data.of(3).x_train
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-6)
    assert (x**2).sum() / len(x) == pytest.approx(2.5, rel=1e-5)
    net = mean_field.net(5, "tanh", (1, 2), CLASSES, 3)
    found = mean_field.functions(settings, 5, models.flat_parameters(net)[None], x)[0]
    np.testing.assert_allclose(found, net(x), rtol=1e-5, atol=1e-6)


def test_batches_that_grow():
    """N/a and its square, at least 1; none where the square exceeds the population."""
    settings = question.make_settings(mean_field, "report")
    sizes = {width: mean_field.batches(settings, width) for width in (3, 10, 100, 300, 1000)}
    assert sizes[3] == {"N": 1, "N²": 1}
    assert sizes[10] == {"N": 2, "N²": 4}
    assert sizes[100] == {"N": 20, "N²": 400}
    assert sizes[300] == {"N": 60, "N²": 3600}
    assert sizes[1000] == {}


def test_a_net_that_diverges_is_a_row():
    """With its status and without numbers, as many rows as times."""
    settings = settings_of(activation="linear", learning_rate=1e9, seeds=1, steps=8, times=2, divisor=0.5)
    rows = [row for row in mean_field.run(settings, IMAGES, 3) if row.get("schedule") == "1/N"]
    assert [row["status"] for row in rows] == ["diverged"] * 2
    assert all("gap" not in row for row in rows)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": (10, 25)}, "--widths=10,25"),
        ({"widths": (20, 10)}, "--widths=20,10"),
        ({"steps": 5}, "--steps=5"),
        ({"batch_size": 1000}, "--batch_size=1000"),
        ({"probes": 1000}, "--probes=1000"),
        ({"widths": (0,)}, "--widths=0"),
        ({"learning_rate": 0.0}, "--learning_rate=0.0"),
    ],
)
def test_bad_settings_are_named(changes, message):
    """Before anything trains."""
    with pytest.raises(ValueError, match=message):
        question.make_settings(mean_field, "smoke", **changes)
