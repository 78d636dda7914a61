"""The compiled steps against an ordinary loop of tapes: every optimizer, every kind of net, losses and objectives."""

import dataclasses

import cases
import keras
import nets
import numpy as np
import pytest
import references
import tensorflow as tf
from trainings import CLOSE, OPTIMIZERS, build, dataset, fit, forget_programs, plain, reference

from hw1 import models
from hw1.training import program

# One of each kind: every net of the table costs a compilation.
ONE_OF_EACH = ("normalised", "convolutional", "subclassed", "frozen layer", "skip", "no bias")
# One of each family, the first by XLA, which takes three times as long to compile. Then every optimizer by XLA.
TANH, OF_EACH_FAMILY = build("tanh"), ("lamb", "rmsprop", "clipped by global norm")
COMPILED = [("adam", plain, True), ("momentum", TANH, False), *((name, plain, False) for name in OF_EACH_FAMILY)]
COMPILED += [(name, TANH, True) for name in OPTIMIZERS]
WHOLE = 20  # examples, whose batches of 5 are all full: half as much to compile as with a smaller last one


@pytest.mark.parametrize(("name", "make", "by_xla"), cases.some(COMPILED, 5))
def test_members_equal_an_ordinary_loop_with_every_optimizer(name, make, by_xla, request):
    """Stacked where the optimizer is elementwise, one by one where it is not: always the training of one net."""
    if by_xla:
        request.getfixturevalue("xla")
    data, optimizer = dataset(), OPTIMIZERS[name]
    members = fit(make, data, optimizer, record=("steps", "weights"))
    assert [member.seed for member in members] == [4, 7]
    for member in members:
        model, losses, norms = reference(make, data, member.seed, optimizer, updates=15)
        expected = references.flat(model.trainable_variables)
        np.testing.assert_allclose(models.flat_parameters(member.model), expected, **CLOSE)
        np.testing.assert_allclose(member.steps["loss"], losses, **CLOSE)
        np.testing.assert_allclose(member.steps["gradient_norm"], norms, **CLOSE)
        np.testing.assert_array_equal(member.weights[-1], models.flat_parameters(member.model))
        assert member.weights.shape == (3, len(expected))
        assert member.updates == 15


@pytest.mark.parametrize("name", cases.some(ONE_OF_EACH, 3))
def test_every_net_trains_as_in_an_ordinary_loop(name):
    """Dense nets stacked; convolutions, batch normalisation, classes and frozen layers member by member."""
    make = build(name)
    shape = getattr(make(0), "input_shape", (None, *nets.SHAPE))[1:]
    data, optimizer = dataset(shape), OPTIMIZERS["momentum"]
    for member in fit(make, data, optimizer, seeds=(2, 5)):
        model, *_ = reference(make, data, member.seed, optimizer, updates=15)
        for variable, expected in zip(member.model.variables, model.variables, strict=True):
            if "seed" not in variable.path:
                np.testing.assert_allclose(np.asarray(variable), np.asarray(expected), err_msg=variable.path, **CLOSE)


@pytest.mark.slow
def test_evaluation_in_parts_is_that_of_the_whole(monkeypatch):
    """However few rows are evaluated at once, ragged last part included."""
    whole = fit(build("tanh"))[0].history
    monkeypatch.setattr(program, "_EVALUATED_AT_ONCE", 8)  # 4 examples of 2 members
    forget_programs(monkeypatch)
    parts = fit(build("tanh"))[0].history
    for curve in whole:
        np.testing.assert_allclose(parts[curve], whole[curve], rtol=1e-12)


def test_other_losses_and_targets():
    """Regression by a Keras function or Loss; without integer labels there is no accuracy."""
    data, optimizer = dataset(n=WHOLE), OPTIMIZERS["sgd"]
    rng = np.random.default_rng(5)
    data = dataclasses.replace(data, y_train=rng.normal(size=(WHOLE, 3)), y_test=rng.normal(size=(9, 3)))
    function = keras.losses.mean_squared_error
    model, *_ = reference(plain, data, 2, optimizer, 12, loss=function)
    for loss in (function, keras.losses.MeanSquaredError()):
        member = fit(plain, data, optimizer, seeds=[2], loss=loss)[0]
        np.testing.assert_allclose(
            models.flat_parameters(member.model), references.flat(model.trainable_variables), **CLOSE
        )
        assert set(member.history) == {"epoch", "train_loss", "test_loss"}


PULLED = [(plain, "momentum"), (build("tanh"), "adam"), (build("convolutional"), "momentum")]


@pytest.mark.parametrize(("make", "optimizer"), cases.some(PULLED, 1))
def test_several_steps_per_batch_with_a_pull_to_its_start(make, optimizer):
    """The proximal term of conservative training, stacked and member by member; not that of fewer steps or no pull."""
    optimizer = OPTIMIZERS[optimizer]
    data = dataset(make(0).input_shape[1:], WHOLE)
    every = [{"inner_steps": steps, "proximal": pull} for steps, pull in ((3, 2.0), (3, 0.0), (2, 2.0))]
    for options in cases.some(every, 1):
        for member in fit(make, data, optimizer, epochs=2, record=["steps"], **options):
            model, losses, norms = reference(make, data, member.seed, optimizer, 8, **options)
            assert member.updates == 8
            for variable, expected in zip(member.model.variables, model.variables, strict=True):
                np.testing.assert_allclose(np.asarray(variable), np.asarray(expected), **CLOSE)
            np.testing.assert_allclose(member.steps["loss"], losses, **CLOSE)
            np.testing.assert_allclose(member.steps["gradient_norm"], norms, **CLOSE)
    pulled, free, fewer = (
        models.flat_parameters(reference(make, data, 7, optimizer, 8, **options)[0]) for options in every
    )
    assert not np.allclose(free, pulled, rtol=1e-3)
    assert not np.allclose(fewer, pulled, rtol=1e-3)


def signed(net, x, y, loss):
    """Half the loss at the inputs, half at inputs moved by 0.1 along the gradient's sign."""
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        clean = loss(y, net(x, training=True))
    moved = tf.stop_gradient(x + 0.1 * tf.sign(tape.gradient(clean, x)))
    return (clean + loss(y, net(moved, training=True))) / 2


def moved_by_hand(model, x, y):
    """The inputs that `signed` moves, from the gradient of the mean loss of the batch."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        mean = tf.reduce_mean(references.cross_entropy(y, model(x, training=True)))
    return x + 0.1 * np.sign(tape.gradient(mean, x))


@pytest.mark.parametrize("make", cases.some([plain, build("tanh"), build("convolutional")], 1))
def test_another_objective(make):
    """Adversarial training: the gradient in the inputs is taken in the compiled program, for all members at once."""
    data, optimizer = dataset(make(0).input_shape[1:], WHOLE), OPTIMIZERS["momentum"]
    for member in fit(make, data, optimizer, epochs=2, objective=signed):
        model, *_ = reference(make, data, member.seed, optimizer, 8, inputs=moved_by_hand)
        unmoved, *_ = reference(make, data, member.seed, optimizer, 8)
        expected = references.flat(model.trainable_variables)
        np.testing.assert_allclose(models.flat_parameters(member.model), expected, **CLOSE)
        assert not np.allclose(models.flat_parameters(unmoved), expected, rtol=1e-3)


def test_regularizers_count():
    """A penalty on the kernel pulls as in the ordinary loop; such a net is not stacked."""

    def make(seed):
        dense = keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.1), dtype="float64")
        model = keras.Sequential([keras.Input(nets.SHAPE), keras.layers.Flatten(dtype="float64"), dense])
        return nets.with_random_weights(model, np.random.default_rng(seed))

    data, optimizer = dataset(n=WHOLE), OPTIMIZERS["sgd"]
    member = fit(make, data, optimizer, seeds=[1])[0]
    model, *_ = reference(make, data, 1, optimizer, 12)
    np.testing.assert_allclose(
        models.flat_parameters(member.model), references.flat(model.trainable_variables), **CLOSE
    )


class Falling(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule whose configuration does not tell its start."""

    def __init__(self, start):
        """Starts there and falls with the step."""
        super().__init__()
        self.start = start

    def __call__(self, step):
        """The rate at a step."""
        return self.start / (1.0 + keras.ops.cast(step, "float64"))

    def get_config(self):
        """Says nothing."""
        return {}


def without_biases():
    """Weight decay for the kernels alone."""
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (OPTIMIZERS["adamw"], without_biases),
        (lambda: keras.optimizers.SGD(Falling(0.5)), lambda: keras.optimizers.SGD(Falling(0.01))),
    ],
    ids=["weight decay", "schedule"],
)
def test_optimizers_that_differ_out_of_sight_share_no_program(first, second):
    """Each trains as in the ordinary loop, though their configurations are equal."""
    data = dataset(n=WHOLE)
    for optimizer in (first, second):
        (member,) = fit(plain, data, optimizer, seeds=[4])
        model, *_ = reference(plain, data, 4, optimizer, 12)
        np.testing.assert_allclose(models.flat_parameters(member.model), models.flat_parameters(model), **CLOSE)
