"""Members of one call that differ in rate, momentum, batch size and data, and schedules, against slow loops."""

import cases
import keras
import numpy as np
import pytest
import references

from hw1 import datasets, models, training
from hw1.datasets import Dataset

X = np.random.default_rng(0).normal(size=(24, 3))
Y = X @ [[1.0], [-2.0], [0.5]] + np.random.default_rng(1).normal(size=(24, 1))
LINE = Dataset(X, Y, X[:5], Y[:5], "line", 1)


def linear(seed):
    """A linear net 3-1 without bias in float64."""
    return models.mlp((), use_bias=False, input_shape=(3,), classes=1, seed=seed, dtype="float64")


def half_square(y, outputs):
    """½ (output − y)² of each example."""
    return keras.ops.sum((outputs - y) ** 2, axis=-1) / 2


def train(seeds=2, build=linear, optimizer=keras.optimizers.SGD, data=LINE, loss=half_square, **options):
    """Trains on the line."""
    options = {"batch_size": 8, "epochs": 4} | options
    return training.train(build, data, optimizer=optimizer, seeds=seeds, loss=loss, **options)


def weights(members):
    """Final weights, shape [members, parameters]."""
    return np.stack([models.flat_parameters(member.model) for member in members])


def by_hand(seed, batches, rates, momentum=0.0, nesterov=False, n=24):
    """The weights after mini-batches of these rows, by the formulas of momentum SGD."""
    theta, velocity = models.flat_parameters(linear(seed)), np.zeros(3)
    for rows, rate in zip(batches, rates, strict=True):
        gradient = X[rows].T @ (X[rows] @ theta - Y[rows, 0]) / len(rows)
        velocity = momentum * velocity - rate * gradient
        theta = theta + (momentum * velocity - rate * gradient if nesterov else velocity)
    return theta


def shuffled(seed, sizes, n=24):
    """The batches of epochs of these batch sizes, each a permutation by the member's generator."""
    rng, found = np.random.default_rng([seed, 1]), []
    for size in sizes:
        order = rng.permutation(n)
        found += [order[start : start + size] for start in range(0, n, size)]
    return found


@pytest.mark.parametrize("nesterov", [False, True])
def test_rates_and_momenta_of_a_stack_are_those_of_each_member(nesterov):
    """Members of one stack against a loop for each."""
    seeds, rates, momenta = [0, 0, 3, 3], [0.01, 0.1, 0.05, 0.2], [0.0, 0.9, 0.5, 0.99]
    members = train(
        seeds, optimizer=lambda: keras.optimizers.SGD(nesterov=nesterov), learning_rate=rates, momentum=momenta
    )
    for seed, rate, factor, found in zip(seeds, rates, momenta, weights(members), strict=True):
        batches = shuffled(seed, [8] * 4)
        np.testing.assert_allclose(found, by_hand(seed, batches, [rate] * 12, factor, nesterov), rtol=1e-12)


OTHERS = [keras.optimizers.Lion, keras.optimizers.Adam, keras.optimizers.RMSprop]


@pytest.mark.parametrize("optimizer", cases.some(OTHERS, 1))
def test_rates_of_other_optimizers_are_those_of_each_member(optimizer):
    """Against ordinary loops with the optimizer's own rate."""
    together = weights(train([0, 1, 2], optimizer=optimizer, learning_rate=[0.1, 0.02, 0.3]))
    for seed, rate in enumerate([0.1, 0.02, 0.3]):
        alone, own = linear(seed), optimizer(rate)
        references.train(alone, LINE, batch_size=8, updates=12, optimizer=own, seed=seed, loss=half_square)
        # Keras keeps its own rates in float32
        np.testing.assert_allclose(together[seed], models.flat_parameters(alone), rtol=1e-6)


def test_rates_also_of_nets_that_are_not_stacked():
    """Nets with batch normalisation are trained one by one, each as in an ordinary loop."""

    def normalised(seed):
        keras.utils.set_random_seed(seed)
        net = [
            keras.layers.Input((3,), dtype="float64"),
            keras.layers.BatchNormalization(dtype="float64"),
            keras.layers.Dense(1, dtype="float64"),
        ]
        return keras.Sequential(net)

    together = train([0, 1], normalised, learning_rate=[0.1, 0.02], momentum=[0.9, 0.0])
    for member, rate, momentum in zip(together, [0.1, 0.02], [0.9, 0.0], strict=True):
        model, sgd = normalised(member.seed), keras.optimizers.SGD(rate, momentum)
        references.train(model, LINE, batch_size=8, updates=12, optimizer=sgd, seed=member.seed, loss=half_square)
        np.testing.assert_allclose(weights([member])[0], models.flat_parameters(model), rtol=1e-5)


def test_batch_sizes_and_examples_are_those_of_each_member():
    """Members of several stacks, in the order of the call."""
    seeds, sizes, examples = [5, 5, 5, 6, 5], [2, 8, 24, 8, 6], [24, 24, 24, 12, 12]
    rates = [0.01, 0.02, 0.03, 0.04, 0.05]
    members = train(seeds, batch_size=sizes, examples=examples, learning_rate=rates)
    for member, seed, size, n, rate in zip(members, seeds, sizes, examples, rates, strict=True):
        batches = shuffled(seed, [size] * 4, n)
        assert (member.seed, member.updates, len(member.data.x_train)) == (seed, len(batches), n)
        expected = by_hand(seed, batches, [rate] * len(batches))
        np.testing.assert_allclose(weights([member])[0], expected, rtol=1e-12)
        loss = np.mean((X[:n] @ expected - Y[:n, 0]) ** 2) / 2
        assert member.final["train_loss"] == pytest.approx(loss)


def test_what_a_member_becomes_does_not_depend_on_the_others():
    """Neither its draws nor its batches."""
    noise = training.directions.gaussian_noise(0.3)
    options = {"direction": noise, "replacement": True, "record": ["steps"]}
    many = train([4, 7, 4], batch_size=[8, 8, 3], learning_rate=[0.1, 0.2, 0.1], **options)
    (alone,) = train([7], batch_size=8, learning_rate=0.2, **options)
    np.testing.assert_allclose(weights(many)[1], weights([alone])[0], rtol=1e-12)
    np.testing.assert_allclose(many[1].steps["loss"], alone.steps["loss"], rtol=1e-12)


def test_schedules_of_batch_size_and_learning_rate():
    """Two epochs of batches of 4, one of 12, two of 24; the rate falls after three."""
    members = train(
        [2, 3], batch_size={0: 4, 2: 12, 3: 24}, learning_rate={0: 0.1, 3: [0.01, 0.02]}, epochs=5, evaluate_every=2
    )
    for member, last in zip(members, [0.01, 0.02], strict=True):
        batches = shuffled(member.seed, [4, 4, 12, 24, 24])
        rates = [0.1] * (6 + 6 + 2) + [last] * 2
        np.testing.assert_allclose(weights([member])[0], by_hand(member.seed, batches, rates), rtol=1e-12)
        assert member.updates == 16
        np.testing.assert_allclose(member.history["epoch"], [2, 3, 5])


def test_a_function_of_the_epoch_is_a_learning_rate():
    """Warm-up over two epochs; also where evaluations cut the epochs in pieces."""
    for options in ({}, {"evaluate_updates": 2, "target_loss": 0.0}):
        (member,) = train([2], learning_rate=lambda epochs: 0.1 * np.minimum(epochs / 2, 1), **options)
        rates = 0.1 * np.minimum(np.arange(12) / 3 / 2, 1)
        np.testing.assert_allclose(weights([member])[0], by_hand(2, shuffled(2, [8] * 4), rates), rtol=1e-12)


@pytest.mark.parametrize(("every", "updates"), cases.some([(7, 10), (2, 8), (7, 21), (5, 9)]))
def test_evaluations_with_replacement_come_exactly_when_wanted(every, updates):
    """Not at the ends of epochs, which are of 3 steps here; what is drawn does not depend on them."""
    options = {"replacement": True, "epochs": None, "updates": updates, "learning_rate": 0.05}
    (member,) = train([2], evaluate_updates=every, **options)
    wanted = [*range(every, updates, every), updates]
    np.testing.assert_allclose(member.history["epoch"] * 3, wanted)
    drawn = np.random.default_rng([2, 1]).integers(24, size=8 * updates)
    np.testing.assert_allclose(
        weights([member])[0], by_hand(2, drawn.reshape(updates, 8), [0.05] * updates), rtol=1e-12
    )


def test_updates_end_a_schedule_too():
    """In the middle of a stage."""
    (member,) = train([2], batch_size={0: 8, 3: 24}, updates=10, epochs=None, learning_rate=0.01)
    batches = shuffled(2, [8, 8, 8, 24])
    np.testing.assert_allclose(weights([member])[0], by_hand(2, batches, [0.01] * 10), rtol=1e-12)


def test_batches_with_replacement_are_full_and_drawn_from_all_examples():
    """24 examples in batches of 7: four full ones in an epoch."""
    (member,) = train([2], batch_size=7, replacement=True, epochs=3, learning_rate=0.01)
    rng = np.random.default_rng([2, 1])
    batches = np.concatenate([rng.integers(24, size=28).reshape(4, 7) for _ in range(3)])
    assert member.updates == 12
    np.testing.assert_allclose(weights([member])[0], by_hand(2, batches, [0.01] * 12), rtol=1e-12)


def test_a_member_that_diverges_leaves_the_others_alone():
    """Its status says so."""
    members = train([0, 1], learning_rate=[1e30, 0.1], epochs=30, evaluate_every=10)
    assert [member.status for member in members] == ["diverged", "ok"]
    assert members[1].final["train_loss"] < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": [0.1]}, "learning_rate has 1 values for 2 members"),
        ({"learning_rate": -0.1}, "learning_rate must be a finite number of at least 0"),
        ({"learning_rate": {0: 0.1, 4: 0.2}}, "milestone 4 lies beyond the end, after 4 epochs"),
        ({"learning_rate": {1: 0.1}}, "begin at 0 and rise"),
        ({"batch_size": {0: 8, 1.5: 9}}, "whole numbers that begin at 0"),
        ({"batch_size": [8, 0]}, "batch_size must be a positive integer"),
        ({"batch_size": [8, 25]}, "batch_size 25 is larger than the 24 training examples"),
        ({"batch_size": [8, 20], "examples": [24, 12]}, "batch_size 20 is larger than the 12 training examples"),
        ({"examples": 25}, "examples 25 is more than the 24 training examples"),
        ({"momentum": 1.0}, "momentum must be below 1"),
        (
            {"momentum": 0.5, "optimizer": keras.optimizers.Adam},
            "momentum goes with keras.optimizers.SGD, not with Adam",
        ),
        ({"learning_rate": lambda epochs: np.zeros(3)}, "it gave shape"),
        ({"seeds": [1, 1]}, "all be different"),
        ({"seeds": [1, 1], "batch_size": {0: 8, 2: 24}}, "all be different"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(options, message):
    """One line that names the argument."""
    with pytest.raises(ValueError, match=message):
        train(**options)


@pytest.mark.slow
def test_a_grid_on_images_is_one_call():
    """Batch sizes × rates × seeds on the split of each seed."""
    data = datasets.load_splits("mnist10k", train=100, test=50)
    grid = [(seed, size, rate) for seed in (1, 2) for size in (10, 100) for rate in (0.05, 0.2)]
    seeds, sizes, rates = zip(*grid, strict=True)
    members = training.train(
        lambda seed: models.mlp((5,), seed=seed),
        data,
        batch_size=sizes,
        learning_rate=rates,
        optimizer=keras.optimizers.SGD,
        seeds=seeds,
        updates=20,
        replacement=True,
        evaluate_updates=20,
    )
    assert [member.seed for member in members] == list(seeds)
    for member, (seed, size, rate) in zip(members, grid, strict=True):
        assert (len(member.data.x_train), member.updates) == (100, 20)
        (alone,) = training.train(
            lambda seed: models.mlp((5,), seed=seed),
            data,
            batch_size=size,
            learning_rate=rate,
            optimizer=keras.optimizers.SGD,
            seeds=[seed],
            updates=20,
            replacement=True,
            evaluate_updates=20,
        )
        assert member.final == pytest.approx(alone.final, rel=1e-4)
