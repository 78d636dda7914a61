"""Members on tiny data: nets of the table trained by `hw1.training`, and the same by an ordinary loop of tapes."""

import collections

import keras
import nets
import numpy as np
import references

from hw1 import training
from hw1.datasets import Dataset
from hw1.evaluation import functional

# Adam divides by the root of a running mean of squares: a rounding error of float64 in a gradient near zero grows.
CLOSE = {"rtol": 1e-6, "atol": 1e-8}

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01),
    "clipped by global norm": lambda: keras.optimizers.SGD(0.5, global_clipnorm=0.05),
    "lamb": lambda: keras.optimizers.Lamb(0.01),
}


def dataset(shape=nets.SHAPE, n=23, seed=0):
    """Random training and test sets in float64; 23 examples in batches of 5 leave a last batch of 3."""
    (x, y), (x_test, y_test) = nets.examples(shape, n, seed), nets.examples(shape, 9, seed + 1)
    return Dataset(x, y.astype(np.int32), x_test, y_test.astype(np.int32), "random", nets.CLASSES)


def build(name, **options):
    """A function seed -> float64 net of the table, its weights those of the seed."""

    def make(seed):
        model = nets.BUILDERS[name](dtype="float64", **options)
        return nets.with_random_weights(model, np.random.default_rng([seed, 3]))

    return make


def plain(seed):
    """A float64 net without hidden layers: the least to compile, for tests to which the net does not matter."""
    return nets.with_random_weights(nets.mlp((), dtype="float64"), np.random.default_rng([seed, 3]))


def fit(make, data=None, optimizer=OPTIMIZERS["adam"], seeds=(4, 7), epochs=3, **options):
    """Trains members on small batches with a smaller last one."""
    data = dataset() if data is None else data
    return training.train(make, data, batch_size=5, optimizer=optimizer, seeds=seeds, epochs=epochs, **options)


def reference(make, data, seed, optimizer, updates, **options):
    """The same member by the ordinary loop: model, mini-batch losses, gradient norms."""
    model = make(seed)
    return model, *references.train(
        model, data, batch_size=5, updates=updates, optimizer=optimizer(), seed=seed, **options
    )


def forget_programs(monkeypatch):
    """Lets the next calls of a test compile their programs anew; later tests find those of earlier ones."""
    monkeypatch.setattr(functional, "_programs", collections.OrderedDict())
