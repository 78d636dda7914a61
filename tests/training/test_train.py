"""The arguments of `hw1.training.train`, and that the same call gives the same bytes."""

import keras
import nets
import numpy as np
import pytest
from trainings import OPTIMIZERS, build, dataset, fit, forget_programs, plain

from hw1 import models, training


def test_the_same_call_gives_the_same_bytes(monkeypatch):
    """In float32, with a compiled program at hand or without."""

    def make(seed):
        return models.mlp((), input_shape=nets.SHAPE, classes=nets.CLASSES, seed=seed)

    first = fit(make, seeds=2)
    forget_programs(monkeypatch)
    for a, b in zip(first, fit(make, seeds=2), strict=True):
        assert models.flat_parameters(a.model).tobytes() == models.flat_parameters(b.model).tobytes()
        assert all(a.history[curve].tobytes() == b.history[curve].tobytes() for curve in a.history)


def test_the_nets_of_all_seeds_are_alike_and_not_the_same():
    """Another activation, of the same shapes, and one net for all seeds are refused; so is an optimizer itself."""
    with pytest.raises(ValueError, match="one architecture"):
        fit(lambda seed: nets.mlp((5,), activation=("relu", "tanh")[seed % 2], dtype="float64"))
    net = build("tanh")(0)
    with pytest.raises(ValueError, match="a net of its own for each seed"):
        fit(lambda seed: net)
    with pytest.raises(TypeError, match="optimizer must make a Keras optimizer"):
        fit(build("tanh"), optimizer=keras.optimizers.SGD())


def test_numpy_integers_are_integers():
    """A loop over an array of batch sizes."""
    counts = {"batch_size": np.int64(5), "updates": np.int32(7), "evaluate_every": np.int64(1)}
    given = {"data": dataset(), "optimizer": OPTIMIZERS["sgd"], "seeds": np.array([4])}
    (member,) = training.train(plain, **given, **counts)
    (same,) = training.train(plain, **given, batch_size=5, updates=7)
    assert models.flat_parameters(member.model).tobytes() == models.flat_parameters(same.model).tobytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 24}, "larger than the 23 training examples"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
        ({"epochs": 0}, "epochs must be a positive integer"),
        ({"inner_steps": 0}, "inner_steps must be a positive integer"),
        ({"proximal": 0.1}, "proximal must be 0, or above 0 with inner_steps of 2 or more"),
        ({"proximal": -0.1, "inner_steps": 2}, "proximal must be 0"),
        ({"evaluate_updates": 0}, "evaluate_updates must be a positive integer"),
        ({"epochs": None}, "give epochs, updates or both"),
        ({"updates": -1}, "updates must be a positive integer"),
        ({"seeds": []}, "seeds must be one or more"),
        ({"seeds": [1, 1]}, "all be different"),
        ({"seeds": [-1]}, "non-negative"),
        ({"record": "steps"}, "record takes a collection"),
        ({"record": ["gradients"]}, "record takes a collection"),
        ({"target_loss": np.nan}, "target_loss must be a finite number"),
        ({"optimizer": lambda: keras.optimizers.Adam(use_ema=True)}, "use_ema is not supported"),
        ({"optimizer": lambda: keras.optimizers.SGD(loss_scale_factor=8.0)}, "loss scaling is not supported"),
        ({"optimizer": lambda: "adam"}, "must make a keras optimizer"),
        ({"build": lambda seed: nets.mlp(hidden=(2 + seed,))}, "one architecture"),
        ({"build": lambda seed: nets.mlp(input_shape=(2, 2))}, "takes"),
        ({"build": lambda seed: nets.mlp(classes=2)}, "outside the model's 2 classes"),
    ],
)
def test_bad_arguments_are_named(options, message):
    """What is wrong and what would be right."""
    given = {"build": build("tanh"), "batch_size": 5, "epochs": 1, "optimizer": OPTIMIZERS["sgd"], "seeds": 2}
    with pytest.raises((TypeError, ValueError), match=message):
        training.train(data=dataset(), **given | options)
