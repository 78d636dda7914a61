"""Mean loss, accuracy and gradient against the net called as it is, on all examples at once."""

import cases
import keras
import nets
import numpy as np
import pytest
import references
from cases import Case

from hw1 import evaluation


@pytest.mark.parametrize("case", cases.ALL, ids=str)
def test_evaluate_is_the_mean_over_all_examples(case):
    """Loss and accuracy against the model called as it is, in inference mode, on all examples at once."""
    loss, accuracy = case.measure(evaluation.evaluate)
    assert loss == pytest.approx(case.mean, rel=case.bound(1e-13))
    if case.y.ndim == 1:
        assert accuracy == references.accuracy(*case.data)
    else:
        assert np.isnan(accuracy)


@pytest.mark.parametrize("case", cases.EVERY, ids=str)
def test_objective_gives_loss_and_gradient_anywhere(case):
    """At the net's own parameters and at others: against a tape on the net itself."""
    objective = case.measure(evaluation.objective)
    for theta in (case.theta, 1.1 * case.theta + 0.01):
        value, gradient = objective(theta)
        assert value == pytest.approx(case.truth(references.loss_at, theta), rel=case.bound(1e-13))
        with references.moved(case.double.model, theta):
            expected = case.truth(references.gradient)
        np.testing.assert_allclose(gradient, expected, atol=case.bound(1e-14) * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("case", cases.ALL, ids=str)
def test_many_points_at_once(case, monkeypatch):
    """Tens and what is left, against one after the other; in chunks of any size."""
    monkeypatch.setattr("hw1.evaluation.means._SIDE_BY_SIDE", 4)
    problem = case.measure(evaluation.Problem)
    shifts = np.linspace(-0.2, 0.2, 9)
    points = [([value * (1 + shift) for value in problem.parameters], problem.state) for shift in shifts]
    found = evaluation.evaluate_all(problem, points)
    np.testing.assert_allclose(
        found[:, 0], [evaluation.evaluate_at(problem, *point)[0] for point in points], rtol=case.bound(1e-13)
    )
    np.testing.assert_array_equal(found[:, 1], [evaluation.evaluate_at(problem, *point)[1] for point in points])
    assert len({*found[:, 0]}) > 1


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_labels_of_any_integer_type_count_for_the_accuracy(dtype):
    """With a loss given, too."""
    model, x, y = Case("tanh").data
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for chosen in (None, loss):
        assert evaluation.evaluate(model, x, y.astype(dtype), chosen)[1] == references.accuracy(model, x, y)


def test_integer_targets_that_are_no_labels_have_no_accuracy():
    """One-hot rows, and whole numbers as the targets of a regression."""
    model, x, y = Case("tanh").data
    assert np.isnan(
        evaluation.evaluate(model, x, np.eye(3, dtype=int)[y], keras.losses.CategoricalCrossentropy(from_logits=True))[
            1
        ]
    )
    assert np.isnan(evaluation.evaluate(nets.linear([1.0, 2.0]), x[:, 0, :2], y, keras.losses.mean_squared_error)[1])


def test_targets_take_the_dtype_of_the_outputs():
    """So a plain Python loss works for float64 targets of a float32 net."""
    model, x, y = Case("tanh", dtype="float32").data
    value, _ = evaluation.evaluate(model, x, y.astype("float64"), lambda y, outputs: (outputs[:, 0] - y) ** 2)
    assert value == pytest.approx(np.mean((np.asarray(model(x))[:, 0] - y) ** 2), rel=1e-6)


def test_a_ragged_last_chunk_counts_by_its_size(monkeypatch):
    """Means over chunks of 4, 4 and 3 are not averaged as if they were equal."""
    model, x, y = Case("tanh").data
    theta = references.flat(model.trainable_variables)
    whole = evaluation.evaluate(model, x, y), evaluation.objective(model, x, y)(theta)[1]
    monkeypatch.setattr("hw1.evaluation.problem.CHUNK", 4)
    monkeypatch.setattr("hw1.evaluation.problem.DENSE_CHUNK", 4)
    assert evaluation.Problem(model, x, y).chunk_size == 4
    assert evaluation.evaluate(model, x, y) == pytest.approx(whole[0], rel=1e-14)
    np.testing.assert_allclose(evaluation.objective(model, x, y)(theta)[1], whole[1], atol=1e-15)


def test_a_model_whose_call_knows_no_training_mode():
    """A subclass with `call(self, x)` is evaluated as it is called."""

    class Plain(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(nets.CLASSES)

        def call(self, x):
            return self.dense(x)

    model, x, y = Plain(), np.random.default_rng(0).random((7, 4), np.float32), np.arange(7) % nets.CLASSES
    model(x)
    assert evaluation.evaluate(model, x, y)[0] == pytest.approx(references.losses(model, x, y).mean(), rel=1e-6)
