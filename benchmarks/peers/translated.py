"""The nets of `rebuilt` as functions for JAX, layer by layer, with the same parameters in the same order."""

import jax
import jax.numpy as jnp
from torch import nn

from benchmarks.peers import rebuilt

jax.config.update("jax_enable_x64", True)  # allows float64; arrays in float32 stay so
IMAGES = ("NCHW", "OIHW", "NCHW")


def loss(net: nn.Sequential):
    """The mean cross-entropy as a function (parameters, x, y), with the parameters as one vector."""
    sizes = {name: (p.numel(), p.shape) for name, p in net.named_parameters()}
    fixed = {name: jnp.asarray(buffer.numpy()) for name, buffer in net.named_buffers() if buffer.is_floating_point()}

    def mean(parameters, x, y):
        weights, start = dict(fixed), 0
        for name, (size, shape) in sizes.items():
            weights[name] = parameters[start : start + size].reshape(shape)
            start += size
        logits = jax.nn.log_softmax(_apply(net, "", weights, x))
        return -jnp.take_along_axis(logits, y[:, None], axis=1).mean()

    return mean


def _apply(module, name, weights, x):
    """What a module makes of x. `name` is its own, with a dot behind it."""

    def part(which, x):
        return _apply(getattr(module, which), f"{name}{which}.", weights, x)

    if isinstance(module, nn.Sequential):
        for number, child in module.named_children():
            x = _apply(child, f"{name}{number}.", weights, x)
        return x
    if isinstance(module, rebuilt.Block):
        inside = part("second_norm", part("second", jax.nn.relu(part("first_norm", part("first", x)))))
        around = part("shortcut_norm", part("shortcut", x)) if hasattr(module, "shortcut") else x
        return jax.nn.relu(inside + around)
    own = {key.removeprefix(name): value for key, value in weights.items() if key.startswith(name)}
    return _LAYERS[type(module)](module, own, x)


def _convolution(module, own, x):
    found = jax.lax.conv_general_dilated(x, own["weight"], module.stride, "VALID", dimension_numbers=IMAGES)
    return found + own["bias"][:, None, None] if "bias" in own else found


def _batch_norm(module, own, x):
    scale = own["weight"] / jnp.sqrt(own["running_var"] + module.eps)
    return (x - own["running_mean"][:, None, None]) * scale[:, None, None] + own["bias"][:, None, None]


def _layer_norm(module, own, x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + module.eps) * own["weight"] + own["bias"]


def _max_pool(module, _, x):
    window = (1, 1, module.kernel_size, module.kernel_size)
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")


def _pad(module, _, x):
    left, right, above, below = module.padding
    return jnp.pad(x, ((0, 0), (0, 0), (above, below), (left, right)))


_LAYERS = {
    nn.Linear: lambda _, own, x: x @ own["weight"].T + own["bias"],
    nn.Conv2d: _convolution,
    nn.BatchNorm2d: _batch_norm,
    rebuilt.LayerNorm: _layer_norm,
    nn.MaxPool2d: _max_pool,
    nn.ZeroPad2d: _pad,
    nn.ReLU: lambda _, own, x: jax.nn.relu(x),
    nn.Tanh: lambda _, own, x: jnp.tanh(x),
    nn.Flatten: lambda _, own, x: x.reshape(len(x), -1),
    nn.Unflatten: lambda module, own, x: x.reshape(len(x), *module.unflattened_size, *x.shape[2:]),
    rebuilt.Mean: lambda _, own, x: x.mean((2, 3)),
    rebuilt.ChannelsFirst: lambda _, own, x: x.transpose(0, 3, 1, 2),
    rebuilt.ChannelsLast: lambda _, own, x: x.transpose(0, 2, 3, 1),
}
