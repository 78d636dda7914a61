"""Question batch_size_scaling: the fit against closed forms, its bootstrap by simulation, rows against each other."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from hw1 import datasets, question, records
from hw1.dynamics import batch_size_scaling
from hw1.dynamics.batch_size_scaling import accuracies, batch_sizes, cells, vertex
from hw1.findings.dynamics.batch_size_scaling import exponent
from hw1.statistics import bootstrap

REPORT = question.make_settings(batch_size_scaling)


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with the question at smoke size."""
    return at_smoke_size("batch_size_scaling")


def cliff(distance):
    """A curve with its top near 0 that breaks down on one side, as test accuracies do."""
    return np.where(distance < -0.35, 0.9 + 1.5 * (distance + 0.35), 0.9 - 0.01 * np.tanh(distance))


def skewed(distance):
    """A curve with its top at 0 that falls off faster on one side, as test accuracies do."""
    return 0.9 - 0.01 * np.where(distance < 0, 1.5, 1.0) * distance**2 / (1 + 0.1 * abs(distance))


def test_batch_sizes_are_a_geometric_grid():
    """From 2 to a quarter of the examples in steps of √2, each once."""
    assert batch_sizes(REPORT, 500) == [2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91]
    assert max(batch_sizes(REPORT, 2000)) <= 500
    assert batch_sizes(dataclasses.replace(REPORT, ratio=2.0), 1000) == [2, 4, 8, 16, 32, 64, 128]


def test_the_base_is_trained_once():
    """One cell for each pair of rate and momentum, which says what it is a value of."""
    found = cells(REPORT, REPORT.base_examples)
    assert len(found) == len(REPORT.learning_rates) + len(REPORT.momenta) - 1
    base = found[REPORT.base_learning_rate, REPORT.base_momentum]
    assert {varied for varied, _ in base} == {"examples", "learning_rate", "momentum"}
    assert list(cells(REPORT, 500)) == [(REPORT.base_learning_rate, REPORT.base_momentum)]


@pytest.mark.parametrize("best", [5.0, 20.0, 60.0])
def test_a_parabola_has_its_vertex(best):
    """Wherever it is between the sizes, and whatever part of them is used."""
    sizes = np.array([2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91])
    values = 0.9 - 0.01 * np.log(sizes / best) ** 2
    for reach in (2.0, 8.0, 1000.0):
        assert vertex(sizes, values, reach) == (pytest.approx(best), False)


def test_a_shifted_curve_has_a_shifted_vertex():
    """Of a skewed curve too, if its fit is local; through all sizes its place on the grid would matter."""
    sizes = 2.0 ** np.arange(1, 9, 0.5)
    local, whole = (
        [np.log(vertex(sizes, skewed(np.log(sizes / best)), reach)[0]) for best in (8.0, 16.0, 32.0)]
        for reach in (2.0, 1000.0)
    )
    assert np.diff(local) == pytest.approx(np.log(2), rel=0.02)
    assert abs(np.diff(whole) - np.log(2)).max() > 0.1


def test_a_curve_that_breaks_down_has_a_shifted_vertex():
    """Near its top, whatever is below that; a parabola through all sizes would be far from it."""
    sizes = 2.0 ** np.arange(1, 9, 0.5)
    found = [vertex(sizes, cliff(np.log(sizes / best)), 2.0, 0.01) for best in (8.0, 16.0, 32.0, 64.0)]
    assert np.diff(np.log([value for value, _ in found])) == pytest.approx(np.log(2), rel=1e-6)
    assert 6 < found[0][0] < 9
    assert not any(censored for _, censored in found)
    assert vertex(sizes, cliff(np.log(sizes / 8)), 1000.0)[0] > 20


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([0.9, 0.89, 0.87, 0.84, 0.8], 2),  # falls: the vertex is below the sizes
        ([0.8, 0.84, 0.87, 0.89, 0.9], 32),
        ([0.9, 0.8, 0.7, 0.8, 0.95], 32),  # opens upwards, highest at an end
    ],
)
def test_a_peak_at_the_edge_is_censored(values, best):
    """And is set to that edge."""
    assert vertex([2, 4, 8, 16, 32], values, 100.0) == (pytest.approx(best), True)


def test_two_sizes_have_no_vertex():
    """Such as where nets of all others diverged."""
    value, censored = vertex([2, 4], [0.1, 0.2], 8.0)
    assert np.isnan(value)
    assert censored


def test_the_bootstrap_resamples_seeds():
    """If a seed classifies all images alike, the variance is that of a mean of resampled seeds, ⅕ · ⅖ · ⅗."""
    right = np.zeros((5, 300), bool)
    right[:2] = True
    plain, resampled = accuracies(right, np.tile(np.arange(300), (5, 1)), 300, 3000)
    assert plain == pytest.approx(0.4)
    assert resampled.mean() == pytest.approx(0.4, abs=0.02)
    assert resampled.var() == pytest.approx(0.4 * 0.6 / 5, rel=0.15)


def test_the_bootstrap_resamples_images():
    """If all seeds classify an image alike, the variance is the binomial one, as the seeds share their images."""
    right = np.tile(np.arange(200) < 60, (4, 1))
    plain, resampled = accuracies(right, np.tile(np.arange(200), (4, 1)), 200, 3000)
    assert plain == pytest.approx(0.3)
    assert resampled.var() == pytest.approx(0.3 * 0.7 / 200, rel=0.15)


def test_resamples_are_the_same_for_all_nets():
    """In one call and in two, so that resamples of one number can be compared."""
    rng = np.random.default_rng(0)
    right, tests = rng.random((2, 3, 50)) < 0.7, np.stack([rng.permutation(80)[:50] for _ in range(3)])
    plain, together = accuracies(right, tests, 80, 60)
    assert plain == pytest.approx(right.mean(axis=(1, 2)))
    assert np.array_equal(together, np.stack([accuracies(one, tests, 80, 60)[1] for one in right]))


def _simulated(rng, true, seeds=8, images=400):
    """The exponent that is fitted to synthetic curves whose best batch size is proportional to x to a known power.

    Nets have an error of their own; an image is right with a probability that is common to the seeds, or at random.
    """
    x, sizes = np.array([0.5, 1.0, 2.0, 4.0]), 2.0 ** np.arange(1, 8, 0.5)
    level = skewed(np.log(sizes[None] / (12 * x[:, None] ** true)))
    level = level[..., None] + rng.normal(0, 0.01, (4, len(sizes), seeds)) + rng.normal(0, 0.02, seeds)
    hardness = 0.3 * rng.random(images)
    right = rng.random((*level.shape, images)) < np.clip(level[..., None] + 0.15 - hardness, 0, 1)
    plain, resampled = accuracies(right, np.tile(np.arange(images), (seeds, 1)), images, 60)
    best = [vertex(sizes, one, 4.0, 0.05) for one in plain]
    optimum = pd.DataFrame({"varied": "learning_rate", "value": x, "best_batch_size": [value for value, _ in best]})
    resamples = [
        {"varied": "learning_rate", "value": value, "resample": r, "best_batch_size": vertex(sizes, one, 4.0, 0.05)[0]}
        for value, cell in zip(x, resampled, strict=True)
        for r, one in enumerate(cell.T)
    ]
    return exponent(optimum.assign(censored=0), pd.DataFrame(resamples), "learning_rate", seeds)


@pytest.mark.parametrize("true", [1.0, 0.5])
def test_exponents_are_recovered_from_synthetic_curves(true):
    """Without bias, and within the interval about as often as it says; of two-way resampling, rather more often."""
    rng = np.random.default_rng(0)
    found = [_simulated(rng, true) for _ in range(30)]
    values = np.array([interval.value for interval in found])
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean() - true) < 0.05 + 3 * error
    assert np.mean([interval.low < true < interval.high for interval in found]) >= 0.85  # 95 % less 2.5 errors


def test_a_bootstrap_of_a_mean_has_the_t_interval():
    """On average, also with few seeds."""
    rng, values = np.random.default_rng(0), np.array([1.0, 2.0, 4.0, 7.0, 11.0])
    resampled = rng.choice(values, (20000, 5)).mean(axis=1)
    found, exact = bootstrap(values.mean(), resampled, 5), 2.776445 * values.std(ddof=1) / np.sqrt(5)
    assert found.high - found.low == pytest.approx(2 * exact, rel=0.03)
    assert found.seeds == 5
    assert np.isnan(bootstrap(1.0, np.ones(20), 1).low)
    assert bootstrap(np.nan, np.ones(20), 5).seeds == 0


def test_rows_of_the_base_stand_for_each_quantity(runs):
    """With the same numbers, as they are the same nets; and the optimum with them."""
    settings = question.make_settings(batch_size_scaling, "smoke")
    rows, optimum = (records.read(runs, "batch_size_scaling", table) for table in ("rows", "optimum"))
    at = {"learning_rate": settings.base_learning_rate, "examples": 40, "momentum": 0.5}
    parts = [rows[(rows.varied == varied) & (rows.value == value)] for varied, value in at.items()]
    for part in parts[1:]:
        same = (
            part.drop(columns=["varied", "value"]).to_numpy() == parts[0].drop(columns=["varied", "value"]).to_numpy()
        )
        assert same.all()
    bests = [optimum[(optimum.varied == varied) & (optimum.value == value)] for varied, value in at.items()]
    assert len({tuple(best.iloc[0, 3:]) for best in bests}) == 1
    assert (rows.updates == settings.updates).all()


def test_the_gap_ends_after_all_updates(runs):
    """And the full batch takes as many as the small one."""
    gap = records.read(runs, "batch_size_scaling", "gap")
    assert sorted(gap.batch_size.unique()) == [10, 40]
    assert (gap.groupby(["batch_size", "seed"]).updates.max() == 30).all()
    assert not gap.isna().any().any()


@pytest.mark.slow
def test_a_net_that_diverges_is_a_row():
    """Its batch size is no part of the fit, and the others' is."""
    rates = (0.05, 1e30)
    settings = question.make_settings(
        batch_size_scaling, "smoke", learning_rates=rates, examples=(40,), base_learning_rate=0.05
    )
    data = datasets.load_splits("mnist10k", settings.train, settings.test)
    rows = pd.DataFrame(batch_size_scaling.run(settings, data, 40))
    nets, optimum = rows[rows.table.isna()], rows[rows.table == "optimum"]
    assert set(nets[nets.value == 1e30].status) == {"diverged"}
    assert set(nets[nets.varied == "momentum"].status) == {"ok"}
    best = optimum[optimum.varied == "learning_rate"].set_index("value").best_batch_size
    assert np.isnan(best[1e30])
    assert best[0.05] > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_momentum": 0.3}, "--base_momentum=0.3: must be one of --momenta=0.0,0.5"),
        ({"base_learning_rate": 1.0}, "--base_learning_rate=1.0: must be one of --learning_rates=0.05,0.1"),
        ({"examples": (40, 100)}, "--examples=40,100: must be at most --train=80"),
        ({"smallest": 30}, "fewer than three batch sizes"),
        ({"momenta": (0.5, 1.0)}, "--momenta=0.5,1.0"),
        ({"small_batch": 50}, "--small_batch=50: must be at most --base_examples=40"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    """Before anything is trained, by the name of the flag."""
    with pytest.raises(ValueError, match=message):
        question.make_settings(batch_size_scaling, "smoke", **changes)
