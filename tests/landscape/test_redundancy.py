"""Question redundancy: closed forms, and rows at smoke size."""

import numpy as np
import pytest

from hw1 import question, records
from hw1.landscape import redundancy


@pytest.fixture(scope="module")
def valley(at_smoke_size):
    """Rows and settings at smoke size."""
    folder, name = at_smoke_size("redundancy"), "redundancy"
    return records.read(folder, name), records.settings(folder, name)


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
    frame, settings = valley
    paths = frame[frame.part != "valley"]
    starts = paths[paths.step == 0].pivot(index="seed", columns="part", values=["first", "second"])
    assert (starts.T.groupby(level=0).nunique() == 1).all().all()
    assert len(starts) == settings["seeds"]
    ends = paths[paths.step == settings["steps"]]
    assert (ends.loss < 1e-2).all()
    assert ends[ends.part != "descent"].largest_eigenvalue.median() > 0
