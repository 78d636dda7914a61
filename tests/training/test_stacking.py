"""Which nets are stacked, and that a member does not notice the others."""

import cases
import keras
import nets
import numpy as np
import pytest
from trainings import CLOSE, OPTIMIZERS, build, dataset, fit, reference

from hw1 import models
from hw1.training import program, stacking

STACKED = ("relu", "tanh", "gelu", "no bias", "dropout", "skip")


def test_what_is_stacked():
    """The claim of the docstring: dense nets and elementwise optimizers, and nothing else."""
    stacked = {name for name in nets.NAMES if stacking.stackable(nets.case(name).model)}
    assert stacked == set(STACKED)
    elementwise = {name for name, make in OPTIMIZERS.items() if program.elementwise(make())}
    assert elementwise == set(OPTIMIZERS) - {"clipped by global norm", "lamb"}
    assert not program.elementwise(keras.optimizers.Adam(clipnorm=1.0))
    assert program.elementwise(keras.optimizers.Adam(clipvalue=1.0))


@pytest.mark.parametrize(
    ("name", "by_xla"), cases.some([("dropout", False), ("dropout", True), ("normalised", True)], 1)
)
def test_a_member_does_not_depend_on_who_is_trained_beside_it(name, by_xla, request):
    """Same weights and same history alone and in company, with dropout's masks too."""
    if by_xla:
        request.getfixturevalue("xla")
    data, optimizer = dataset(n=20), OPTIMIZERS["sgd"]
    alone, together = (fit(build(name), data, optimizer, seeds=seeds) for seeds in ([7], [3, 7, 5]))
    alone, together = alone[0], together[1]
    np.testing.assert_allclose(models.flat_parameters(alone.model), models.flat_parameters(together.model), **CLOSE)
    for curve in alone.history:
        np.testing.assert_allclose(alone.history[curve], together.history[curve], **CLOSE)


def test_dropout_drops_in_training_only():
    """Training with dropout differs from training without; evaluation is that of the whole net."""
    data, optimizer = dataset(n=20), OPTIMIZERS["sgd"]
    with_dropout, without = (
        fit(make, data, optimizer, seeds=[1])[0] for make in (build("dropout"), build("relu", hidden=(4,)))
    )
    assert not np.allclose(models.flat_parameters(with_dropout.model), models.flat_parameters(without.model))
    layer = stacking.StackedDropout(keras.layers.Dropout(0.4), members=2, stream=1)
    layer.build((None, 5))
    layer.seeds.assign([3, 4])
    ones = np.ones((2000, 5), "float32")
    np.testing.assert_array_equal(layer(ones), ones)
    kept = np.asarray(layer(ones, training=True))
    # 10,000 independent masks: the share kept is within 4 standard errors of 0.6, and the mean stays 1.
    assert set(np.unique(kept.round(4))) == {0, np.float32(1 / 0.6).round(4)}
    assert abs((kept > 0).mean() - 0.6) < 4 * np.sqrt(0.24 / 10000)
    assert not np.array_equal(kept[:1000], kept[1000:])


def test_a_net_with_arithmetic_is_trained_by_itself():
    """`h * 2` is no layer, though Keras calls it Multiply: it cannot be stacked, and trains as in the ordinary loop."""

    def make(seed):
        images = keras.Input(nets.SHAPE, dtype="float64")
        hidden = keras.layers.Dense(4, dtype="float64")(keras.layers.Flatten(dtype="float64")(images)) * 2.0
        model = keras.Model(images, keras.layers.Dense(nets.CLASSES, dtype="float64")(hidden))
        return nets.with_random_weights(model, np.random.default_rng([seed, 3]))

    data, optimizer = dataset(n=20), OPTIMIZERS["sgd"]
    for member in fit(make, data, optimizer, epochs=1):
        model, *_ = reference(make, data, member.seed, optimizer, 4)
        np.testing.assert_allclose(models.flat_parameters(member.model), models.flat_parameters(model), **CLOSE)
