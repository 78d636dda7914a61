"""The nets of part 1-1, deepest first: a table that experiments and findings read, without TensorFlow.

Fully connected nets are named by the widths of their hidden layers.
"""

FUNCTION_NETS = ("5-10-10-10-10-10-5", "10-18-15-4", "190")  # one input and output: 571, 572 and 571 parameters
TASK_DNNS = ("28-23-23-23-23", "30-20", "31")  # 28 × 28 pixels, 10 classes: 24,543, 24,380 and 24,655 parameters
TASK_CNNS = {  # 28 × 28 pixels, 10 classes: 24,436, 24,402 and 24,244 parameters; name → arguments of hw1.models.cnn
    "3 convolutions": {"filters": (8, 16, 32), "kernel_sizes": (3, 3, 3), "pools": (2, 2, 1), "dense": (62,)},
    "2 convolutions": {"filters": (8, 16), "kernel_sizes": (5, 3), "pools": (2, 2), "dense": (56,)},
    "1 convolution": {"filters": (12,), "kernel_sizes": (5,), "pools": (4,), "dense": (54,)},
}
