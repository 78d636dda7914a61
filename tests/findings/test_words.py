"""Numbers as the report writes them."""

import pytest

from hw1.findings import words


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
