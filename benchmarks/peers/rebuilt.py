"""The exported nets in PyTorch, and vectors of parameters in its layout.

Keras stores the kernel of a dense layer as [inputs, units] and that of a convolution as [height, width, inputs,
filters]; PyTorch as [units, inputs] and [filters, inputs, height, width]. Keras flattens images with the channels last.
The variables come in the same order; `Block` registers its layers in that of Keras.
"""

import math

import numpy as np
import torch
from torch import nn

TO_TORCH = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}  # axes of a variable, by their number
TO_KERAS = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}
EPSILON = 1e-3  # of normalisations in Keras; PyTorch's is 1e-5


class ChannelsLast(nn.Module):
    """From [n, channels, height, width] to [n, height, width, channels]."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Moves the channels."""
        return images.permute(0, 2, 3, 1)


class ChannelsFirst(nn.Module):
    """From [n, height, width, channels] to [n, channels, height, width]."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Moves the channels."""
        return images.permute(0, 3, 1, 2)


class Mean(nn.Module):
    """Over all pixels; PyTorch's pooling is slow under `vmap`, which curvlinops uses."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """From [n, channels, height, width] to [n, channels]."""
        return images.mean((2, 3))


class Block(nn.Module):
    """A residual block: two convolutions with batch normalisation, and a third on the shortcut if the sizes differ."""

    def __init__(self, inputs: int, filters: int, stride: int):
        """Makes the layers."""
        super().__init__()
        self.first, self.first_norm = _convolution(inputs, filters, 3, stride), _norm(filters)
        if stride > 1:
            self.shortcut, self.second = _convolution(inputs, filters, 1, stride), _convolution(filters, filters, 3, 1)
            self.shortcut_norm, self.second_norm = _norm(filters), _norm(filters)
        else:
            self.second, self.second_norm = _convolution(filters, filters, 3, 1), _norm(filters)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The activated sum."""
        inside = self.second_norm(self.second(torch.relu(self.first_norm(self.first(inputs)))))
        return torch.relu(inside + (self.shortcut_norm(self.shortcut(inputs)) if hasattr(self, "shortcut") else inputs))


def _convolution(inputs, filters, side, stride):
    """Without bias. Keras pads "same" with fewer zeros above and on the left, PyTorch equally."""
    after = max(side - stride, 0) - (side - stride) // 2 if side > 1 else 0
    before = max(side - stride, 0) // 2
    convolution = nn.Conv2d(inputs, filters, side, stride, bias=False)
    return nn.Sequential(nn.ZeroPad2d((before, after, before, after)), convolution)


def _norm(filters):
    return nn.BatchNorm2d(filters, eps=EPSILON)


class LayerNorm(nn.LayerNorm):
    """Layer normalisation by elementary operations.

    Through `nn.LayerNorm` itself, PyTorch 2.13 differentiates the gradient that `torch.func.jacrev` gives wrongly in
    forward mode. That is how curvlinops 3.0.1 computes its products: they are 1 % off on the net compared here, and
    more on others. Reverse over reverse mode is right.
    """

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalises the last axis."""
        centred = inputs - inputs.mean(-1, keepdim=True)
        variance = (centred**2).mean(-1, keepdim=True)
        return centred * (variance + self.eps).rsqrt() * self.weight + self.bias


def _dense(weights, _):
    layers = [nn.Flatten()]
    for kernel in weights[::2]:
        layers += [nn.Linear(*kernel.shape), nn.ReLU()]
    return layers[:-1]


def _convolutional(weights, shape):
    layers = [nn.Unflatten(1, (1, shape[0]))]
    for kernel in weights[:-2:2]:
        *sides, inputs, filters = kernel.shape
        layers += [nn.Conv2d(inputs, filters, sides), nn.ReLU(), nn.MaxPool2d(2)]
    return [*layers, ChannelsLast(), nn.Flatten(), nn.Linear(*weights[-2].shape)]


def _layer_norm(weights, _):
    hidden, _, gamma, _, logits, _ = weights
    normalised = LayerNorm(gamma.shape, eps=EPSILON)
    return [nn.Flatten(), nn.Linear(*hidden.shape), normalised, nn.Tanh(), nn.Linear(*logits.shape)]


def _resnet(weights, _):
    layers, inputs = [ChannelsFirst(), _convolution(3, 16, 3, 1), _norm(16), nn.ReLU()], 16
    for filters in (16, 32, 64):
        for _ in range(3):
            layers.append(Block(inputs, filters, filters // inputs))
            inputs = filters
    return [*layers, Mean(), nn.Linear(*weights[-2].shape)]


LAYERS = {
    "dense": _dense,
    "convolutional": _convolutional,
    "layer norm": _layer_norm,
    "softmax regression": _dense,
    "mlp": _dense,
    "resnet": _resnet,
}


def load(name: str, arrays: dict[str, np.ndarray], dtype: torch.dtype) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Builds a net with the exported weights.

    Args:
        name: of the net, a key of `LAYERS`.
        arrays: its arrays, as `export` names them: "weights/0", ..., "x", "y".
        dtype: of weights, images and computation.

    Returns:
        The net in inference mode, from images to logits [n, 10]; the images; the labels.
    """
    weights = [arrays[f"weights/{number}"] for number in range(sum(key.startswith("weights/") for key in arrays))]
    net = nn.Sequential(*LAYERS[name](weights, arrays["x"].shape[1:])).to(dtype).eval()
    variables = [variable for variable in net.state_dict().values() if variable.is_floating_point()]
    for variable, weight in zip(variables, weights, strict=True):
        variable.copy_(torch.tensor(weight.transpose(TO_TORCH[weight.ndim])))
    return net, torch.tensor(arrays["x"], dtype=dtype), torch.tensor(arrays["y"], dtype=torch.int64)


def to_torch(vector: np.ndarray, net: nn.Module) -> torch.Tensor:
    """A vector in the order of Keras's variables as one in the order of the net's parameters, in its dtype."""
    parts, start = [], 0
    for parameter in net.parameters():
        shape = [parameter.shape[axis] for axis in TO_KERAS[parameter.ndim]]
        part = vector[start : start + math.prod(shape)].reshape(shape)
        parts.append(part.transpose(TO_TORCH[part.ndim]).ravel())
        start += part.size
    return torch.tensor(np.concatenate(parts), dtype=parameter.dtype)


def to_keras(vector: torch.Tensor, net: nn.Module) -> np.ndarray:
    """The inverse of `to_torch`."""
    parts = vector.detach().split([parameter.numel() for parameter in net.parameters()])
    shaped = [part.numpy().reshape(parameter.shape) for part, parameter in zip(parts, net.parameters(), strict=True)]
    return np.concatenate([part.transpose(TO_KERAS[part.ndim]).ravel() for part in shaped])
