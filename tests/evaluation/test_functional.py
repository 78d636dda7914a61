"""Compiled programs that nets of one architecture share, how variables are taken, and what measuring leaves alone."""

import collections
import random

import cases
import keras
import nets
import numpy as np
import pytest
import references
import tensorflow as tf
from cases import Case

from hw1 import evaluation
from hw1.evaluation import functional, means


@pytest.fixture
def no_programs(monkeypatch):
    """Nothing has been compiled yet."""
    empty = collections.OrderedDict()
    monkeypatch.setattr(functional, "_programs", empty)
    return empty


@pytest.mark.parametrize("kind", ["relu", "convolutional", "normalised", "dropout"])
def test_seeds_share_a_program(kind):
    """Fifty nets of one shape are compiled once, and each is measured with its own weights and statistics."""
    members = [Case(kind, seed=seed) for seed in cases.SEEDS]
    assert len({evaluation.architecture(case.model) for case in members}) == 1
    run = evaluation.Problem(*members[0].data).compile(means.totals)
    for case in members:
        assert evaluation.Problem(*case.data).compile(means.totals) is run
        assert case.measure(evaluation.evaluate)[0] == pytest.approx(case.mean, rel=1e-13)


def test_a_net_that_changes_leaves_its_sisters_alone(no_programs):
    """The first net of a shape gives the shape its program; what is done to it later must not reach the others."""
    x, y = nets.examples()
    first, second = nets.mlp(seed=1), nets.mlp(seed=2)
    evaluation.evaluate(first, x, y)
    first.get_layer("hidden_1").trainable = False
    first.get_layer("hidden_2_activation").activation = keras.activations.tanh
    for n in (11, 7):  # another number of examples is traced anew
        for model in (first, second):
            expected = references.losses(model, x[:n], y[:n]).mean()
            assert evaluation.evaluate(model, x[:n], y[:n])[0] == pytest.approx(expected, rel=1e-6)


def test_programs_are_kept_only_up_to_a_number(no_programs):
    """The most recently used stay; the others go several at a time."""
    most = functional._MOST_PROGRAMS + functional._AT_ONCE
    for key in range(most - 1):
        evaluation.remember(key, lambda key=key: f"program {key}")
    assert evaluation.remember(0, lambda: "made again") == "program 0"
    assert len(no_programs) == most - 1
    assert evaluation.remember("new", lambda: "new") == "new"
    assert len(no_programs) == functional._MOST_PROGRAMS
    assert evaluation.remember(0, lambda: "made again") == "program 0"
    assert evaluation.remember(functional._AT_ONCE + 1, lambda: "made again") == f"program {functional._AT_ONCE + 1}"
    assert evaluation.remember(1, lambda: "made again") == "made again"


def test_measuring_draws_no_random_numbers(no_programs):
    """The global generator is where it was, also after a net's first measurement, which copies the net."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])  # initial weights without a seed
    before = random.getstate()  # the generator from which Keras draws seeds
    evaluation.evaluate(model, np.ones((2, 2)), np.array([0, 1]))
    assert random.getstate() == before


def test_vectors_and_lists():
    """Flatten and unflatten are inverse, in the order of the trainable variables, row by row."""
    model = Case("normalised").model
    parameters, state = evaluation.variables(model)
    vector = evaluation.flatten(parameters)
    np.testing.assert_array_equal(vector, references.flat(model.trainable_variables))
    for part, parameter in zip(evaluation.unflatten(vector, parameters), parameters, strict=True):
        np.testing.assert_array_equal(part, parameter)
    assert [tuple(s.shape) for s in state] == [tuple(v.shape) for v in model.non_trainable_variables]


def test_variables_are_copies():
    """Training that comes later is not seen."""
    model = nets.mlp()
    parameters, _ = evaluation.variables(model)
    before = parameters[0].numpy()
    model.trainable_variables[0].assign_add(tf.ones(before.shape))
    np.testing.assert_array_equal(parameters[0], before)
