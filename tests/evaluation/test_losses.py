"""The cross-entropy to rounding, and other losses as users give them."""

import keras
import nets
import numpy as np
import pytest
import tensorflow as tf
from cases import Case
from hypothesis import given, settings
from hypothesis import strategies as st

from hw1 import evaluation
from hw1.evaluation import losses


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.floats(-300, 300), min_size=3, max_size=3), min_size=1, max_size=5), st.integers(0, 2))
def test_cross_entropy_is_minus_the_log_probability_of_the_label(logits, label):
    """Also where a softmax in plain NumPy has long overflowed: the truth shifts the logits first."""
    logits = np.array(logits)
    found = evaluation.cross_entropy(np.full(len(logits), label), tf.constant(logits)).numpy()
    shifted = logits - logits.max(axis=1, keepdims=True)
    expected = np.log(np.exp(shifted).sum(axis=1)) - shifted[:, label]
    # logits of 300 have a rounding error of 300 · 2⁻⁵³ ≈ 3e-14, a few times over
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=3e-13)


@pytest.mark.parametrize("gap", [-30.0, -3.0, 0.0, 3.0, 30.0])
def test_cross_entropy_keeps_the_slopes_of_confident_examples(gap):
    """Loss and slopes in float32 to rounding, also where p of the label rounds to 1."""
    logits = np.array([[0.0, gap, gap - 2.0, gap - 1.0]])
    y = np.array([0])
    single = tf.constant(logits, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(single)
        value = evaluation.cross_entropy(y, single)
    others = np.exp(logits[0, 1:]).sum()
    assert float(value[0]) == pytest.approx(np.log1p(others), rel=1e-6)
    share = others / (1 + others)
    slopes = [-share, *(np.exp(logits[0, 1:]) / (1 + others))]
    np.testing.assert_allclose(tape.gradient(value, single)[0], slopes, rtol=2e-6)


@pytest.mark.parametrize(
    ("loss", "truth"),
    [
        (keras.losses.mean_squared_error, lambda t, o: np.mean((t - o) ** 2, axis=1)),
        (keras.losses.MeanSquaredError(reduction="sum"), lambda t, o: np.mean((t - o) ** 2, axis=1)),
        (keras.losses.CategoricalHinge(), lambda t, o: np.maximum(1 + ((1 - t) * o).max(1) - (t * o).sum(1), 0)),
    ],
    ids=["function", "instance that would sum", "instance"],
)
def test_other_losses(loss, truth):
    """A function, or a Loss instance whose reduction is left aside; accuracy needs labels and is NaN."""
    model, x, y = Case("tanh").data
    targets = np.eye(nets.CLASSES)[y]
    value, accuracy = evaluation.evaluate(model, x, targets, loss)
    assert value == pytest.approx(truth(targets, np.asarray(model(x))).mean(), rel=1e-13)
    assert np.isnan(accuracy)


def test_losses_that_differ_share_no_program():
    """Nor do those of which nobody can know: with an array of which a text would leave out the middle, or a closure."""
    smooth = [keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=share) for share in (0.1, 0.2)]
    assert losses.key(smooth[0]) != losses.key(smooth[1])
    assert losses.key(smooth[0]) == losses.key(
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    )
    assert losses.key(keras.losses.CategoricalFocalCrossentropy(alpha=np.ones(2000))) is None
    assert losses.key(lambda y, outputs: outputs[:, 0]) is None
