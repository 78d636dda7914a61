"""The compared nets in Keras; `rebuilt` has them in PyTorch."""

from collections.abc import Callable
from typing import NamedTuple

from hw1 import quiet  # noqa: F401

# isort: split
import keras

from hw1 import datasets, models, training


class Net(NamedTuple):
    """A net to compare.

    Attributes:
        build: seed → a Keras model in float32.
        side: pixels are averaged over squares of this side, so that the net is small.
        exact: whether the trace is computed exactly, with one product per parameter; otherwise it is estimated.
    """

    build: Callable
    side: int
    exact: bool


def layer_norm(seed: int) -> keras.Model:
    """The net 49-8-10 with layer normalisation and tanh, 506 parameters."""
    first, second = (keras.initializers.GlorotUniform(seed=2 * seed + number) for number in range(2))
    layers = [
        keras.Input((7, 7)),
        keras.layers.Flatten(),
        keras.layers.Dense(8, kernel_initializer=first),
        keras.layers.LayerNormalization(),
        keras.layers.Activation("tanh"),
        keras.layers.Dense(10, kernel_initializer=second),
    ]
    return keras.Sequential(layers)


NETS = {
    "dense": Net(lambda seed: models.mlp(seed=seed), 1, exact=False),  # 784-30-20-10, the course's net
    "convolutional": Net(lambda seed: models.cnn((4, 4), (3, 3), (), input_shape=(14, 14), seed=seed), 2, exact=True),
    "layer norm": Net(layer_norm, 4, exact=True),
    "softmax regression": Net(lambda seed: models.mlp((), input_shape=(7, 7), seed=seed), 4, exact=True),
}


def trained(name: str, epochs: int) -> tuple[keras.Model, datasets.Dataset]:
    """Trains a net on mnist10k by Adam, with 64 images per step.

    Args:
        name: of the net in `NETS`.
        epochs: passes over the training images.

    Returns:
        The net, and the data with images of its size.
    """
    net = NETS[name]
    data = datasets.average_pool(datasets.load("mnist10k"), net.side)
    (member,) = training.train(
        net.build,
        data,
        batch_size=64,
        epochs=epochs,
        evaluate_every=epochs,
        optimizer=keras.optimizers.Adam,
        seeds=1,
    )
    return member.model, data
