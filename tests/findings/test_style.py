"""What all figures share."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from hw1.findings import style


@pytest.mark.parametrize("by", ["color", "marker"])
def test_many_names_have_looks_of_their_own(by):
    """Forty names differ from each other; the first ones differ in colour, or in marker, alone."""
    looks = style.looks(range(40), by=by)
    assert len({str(sorted(look.items(), key=str)) for look in looks.values()}) == 40
    assert len({look[by] for look in list(looks.values())[:6]}) == 6
    axes = Figure().subplots()
    for look in looks.values():
        axes.plot([0, 1], **look)


def test_a_zero_does_not_vanish_from_a_logarithmic_axis():
    """The geometric mean would leave it out or be 0: the point is the arithmetic mean of all seeds."""
    axes = Figure().subplots()
    axes.set_yscale("log")
    style.curve(axes, pd.DataFrame({"x": [1, 1, 2, 2], "y": [0.0, 2.0, 1.0, 100.0]}), "x", "y")
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [1, 10])


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_one_value_has_a_scale_around_it(scale):
    """As of one batch size where a list is usual: Matplotlib's own limits would differ in the last digit only."""
    axes = Figure().subplots()
    axes.set_yscale(scale)
    style.curve(axes, pd.DataFrame({"x": [20, 20], "y": [1.0, 2.0]}), "x", "y")
    style.log_x(axes, "batch size")
    np.testing.assert_allclose(axes.get_xlim(), [20 / 3, 60])
    assert [label.get_text() for label in axes.get_xticklabels(which="both")] == ["20"]
