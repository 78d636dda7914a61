"""The nets of part 1-1, deepest first, and activations: tables that are read without TensorFlow.

Fully connected nets are named by the widths of their hidden layers.
"""

FUNCTION_NETS = ("5-10-10-10-10-10-5", "10-18-15-4", "190")  # one input and output: 571, 572 and 571 parameters
TASK_DNNS = ("28-23-23-23-23", "30-20", "31")  # 28 × 28 pixels, 10 classes: 24,543, 24,380 and 24,655 parameters
TASK_CNNS = {  # 28 × 28 pixels, 10 classes: 24,436, 24,402 and 24,244 parameters; name → arguments of hw1.models.cnn
    "3 convolutions": {"filters": (8, 16, 32), "kernel_sizes": (3, 3, 3), "pools": (2, 2, 1), "dense": (62,)},
    "2 convolutions": {"filters": (8, 16), "kernel_sizes": (5, 3), "pools": (2, 2), "dense": (56,)},
    "1 convolution": {"filters": (12,), "kernel_sizes": (5,), "pools": (4,), "dense": (54,)},
}

# Names in Keras of activations that a setting may name: those of one unit each, and of them the ones that have as many
# derivatives as the Hessian and its products need, and those that a positive factor passes through.
SMOOTH = ("tanh", "sigmoid", "softplus", "silu", "gelu", "mish")
HOMOGENEOUS = ("relu", "leaky_relu")
ACTIVATIONS = (*SMOOTH, *HOMOGENEOUS, "elu", "selu", "relu6", "softsign", "exponential", "hard_sigmoid", "linear")


def fitting(kernel_sizes, pools, shape) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sides of kernels and pools on images of a shape: where one is larger than what is left of them, as large as that.

    Args:
        kernel_sizes: side of the kernel of each convolution, without padding.
        pools: side of the pooling after each, 1 for none.
        shape: of the images, (height, width) or (height, width, channels).
    """
    side, found = min(shape[:2]), []
    for kernel, pool in zip(kernel_sizes, pools, strict=True):
        kernel = min(kernel, side)
        pool = min(pool, side - kernel + 1)
        side = (side - kernel + 1) // pool
        found.append((kernel, pool))
    return tuple(zip(*found, strict=True))


def task_cnn(name: str, shape=(28, 28)) -> dict:
    """The arguments of `hw1.models.cnn` for a net of `TASK_CNNS` on images of a shape."""
    net = TASK_CNNS[name]
    kernels, pools = fitting(net["kernel_sizes"], net["pools"], shape)
    return net | {"kernel_sizes": kernels, "pools": pools}
