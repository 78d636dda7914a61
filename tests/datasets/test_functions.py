"""The two functions of part 1-1 against their definitions."""

import numpy as np
import pytest

from hw1 import datasets


def test_functions_against_their_definitions():
    """Values that a pocket calculator gives; the zeros of sgn(sin(5πx)) are zeros."""
    sinc, sign = datasets.function("sinc", 10), datasets.function("sign", 10)
    for data in (sinc, sign):
        np.testing.assert_allclose(data.x_train.ravel(), np.arange(1, 11) / 10)
        np.testing.assert_allclose(data.x_test.ravel(), np.arange(10) / 10 + 0.05)
        assert {getattr(data, key).dtype for key in datasets.KEYS} == {np.dtype("float64")}
    np.testing.assert_allclose(sinc.y_train[:3, 0], [2 / np.pi, 0, -2 / (3 * np.pi)], atol=1e-15)
    np.testing.assert_array_equal(sign.y_train[:, 0], [1, 0, -1, 0, 1, 0, -1, 0, 1, 0])
    np.testing.assert_array_equal(sign.y_test[:, 0], [1, 1, -1, -1, 1, 1, -1, -1, 1, 1])


@pytest.mark.parametrize(("name", "points", "words"), [("cos", 9, ["cos", "sinc, sign"]), ("sinc", 0, ["points", "0"])])
def test_unfit_functions(name, points, words):
    """The message names what was wrong and what would be right."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        datasets.function(name, points)
    assert all(word in str(caught.value) for word in words)
