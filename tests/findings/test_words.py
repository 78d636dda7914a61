"""Numbers as the report writes them."""

import matplotlib.figure
import pandas as pd
import pytest

from hw1.findings import style, words
from hw1.statistics import Interval


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (7.58e-9, 3, "$7.58 dot 10^(-9)$"),
        (1e-7, 2, "$10^(-7)$"),
        (5312.0, 2, "5,300"),
        (-0.0841, 2, "−0.084"),
        (99999.0, 3, "$10^(5)$"),
        (0.0, 3, "0"),
        (float("nan"), 3, "nan"),
    ],
)
def test_numbers_as_the_report_writes_them(value, digits, text):
    """Plain where it reads well, else a power of ten in Typst's mathematics."""
    assert words.number(value, digits) == text


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((1.0132, 1.0051, 1.0218), "1.013 [1.005, 1.022]"),
        ((25.91, 25.62, 26.18), "25.9 [25.6, 26.2]"),
        ((0.5, 0.41, 0.62), "0.5 [0.41, 0.62]"),
        ((1.0, 1.0, 1.0), "1 (3 of 3)"),
        ((0.0, -0.1, 0.1), "0 [−0.1, 0.1]"),
    ],
)
def test_digits_follow_the_width_of_the_interval(ends, text):
    """Rounding hides neither the interval nor on which side of 1 it lies."""
    assert words.show(Interval(*ends, 3), 2) == text


def test_ranges_and_counts():
    """One number where two would be written alike; all, some, none."""
    assert words.span([0.998, 1.0]) == "1"
    assert words.span([0.1, 0.35]) == "0.1 to 0.35"
    assert [words.part_of(count, 5) for count in (5, 2, 0)] == ["all 5", "2 of the 5", "none of the 5"]
    assert [words.plural(count, "net") for count in (1, 1200)] == ["1 net", "1,200 nets"]


def test_nets_are_named_with_their_size():
    """From all widths; on images as large as the record says, and without a size if it does not."""
    assert words.net([1, 190, 1], "leaky_relu") == "1-190-1 (leaky ReLU, 571 parameters)"
    settings = {"hidden": [8, 8], "pool": 4, "shape": [28, 28], "classes": 10}
    assert words.net_on_images(settings) == "49-8-8-10 (ReLU, 562 parameters)"
    assert words.net_on_images(settings, [30], "tanh") == "49-30-10 (tanh, 1,810 parameters)"
    assert words.net_on_images(settings | {"shape": None}) == "with hidden layers 8-8 (ReLU)"


def test_nets_above_the_target_loss_are_counted_once():
    """Though a net may have several rows."""
    rows = pd.DataFrame({"seed": [0, 0, 1], "train_loss": [0.04, 0.04, 0.3], "status": "ok"})
    settings = {"target_loss": 0.05, "updates": 2000}
    assert words.training_loss(rows, settings).endswith(
        "at most 2,000 steps; the final losses lie between 0.04 and 0.3."
    )
    rows.loc[2, "status"] = "target not reached"
    assert words.training_loss(rows, settings).endswith("as 1 of 2 nets did not come down to it.")


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (4, 120, {"5", "10", "20", "50", "100"}),
        (0.5, 5, {"0.5", "1", "2", "5"}),
        (5e-7, 5e-6, {r"$5 \cdot 10^{-7}$", r"$1 \cdot 10^{-6}$", r"$2 \cdot 10^{-6}$", r"$5 \cdot 10^{-6}$"}),
        (1, 1e4, {"10^{0}", "10^{2}"}),
    ],
)
def test_a_logarithmic_axis_has_one_format(low, high, labels):
    """Plain numbers on a short axis, powers of ten on a long one, never both."""
    axes = matplotlib.figure.Figure().subplots()
    style.log_x(axes, "x")
    axes.set_xlim(low, high)
    axes.figure.draw_without_rendering()
    ticks = [*axes.xaxis.get_major_ticks(), *axes.xaxis.get_minor_ticks()]
    found = {tick.label1.get_text() for tick in ticks if low <= tick.get_loc() <= high} - {""}
    assert all(any(label in text for text in found) for label in labels)
    if high / low < 50:
        assert found == labels
    else:
        assert all("10^" in text for text in found)


def test_an_interval_around_zero_has_the_decimal_places_of_its_larger_end():
    """A mean that is nearly 0 is not shown to more places than the noise allows."""
    assert words.show(Interval(-0.0556, -18.9, 18.8, 20), 2) == "0 [−19, 19]"
    assert words.show(Interval(-0.35, -0.83, -0.041, 20), 2) == "−0.35 [−0.83, −0.041]"
