"""The compared nets in Keras; `rebuilt` has them in PyTorch.

`NETS` are small and trained; `LARGE` have random weights and random images.
"""

from collections.abc import Callable
from typing import NamedTuple

from hw1 import quiet  # noqa: F401

# isort: split
import keras
import numpy as np

from hw1 import datasets, models, training
from hw1.dynamics import ingredients


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


def mlp(images: int) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """784-1024-512-256-128-64-10 with ReLU, the net of curvlinops' own benchmark: 1,501,770 parameters."""
    return models.mlp((1024, 512, 256, 128, 64)), *_random((images, 28, 28))


def resnet(images: int) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """ResNet-20 on 32 × 32 images in colour, 274,042 parameters; its batch normalisation has these images' moments."""
    model, (x, y) = ingredients.resnet((32, 32, 3), 10, (16, 32, 64), 3, seed=0), _random((images, 32, 32, 3))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(x, training=True)
    return model, x, y


def _random(shape):
    """Uniform images and labels."""
    rng = np.random.default_rng(0)
    return rng.uniform(size=shape).astype(np.float32), rng.integers(10, size=shape[0])


LARGE = {"mlp": mlp, "resnet": resnet}


def untrained(name: str) -> keras.Model:
    """A net of the timings with any weights: "dense" or one of `LARGE`."""
    return LARGE[name](1)[0] if name in LARGE else NETS[name].build(0)
