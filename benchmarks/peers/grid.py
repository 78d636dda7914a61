"""The problem on which trainers of many nets are compared; NumPy only, so that both environments have it.

Sixteen nets 196-64-10 with ReLU learn random labels of 1,000 random images by SGD with momentum, 32 images per step,
drawn with replacement. Each has its own initial weights, batches, learning rate and momentum.
"""

import numpy as np

MEMBERS, INPUTS, HIDDEN, CLASSES, EXAMPLES, BATCH, STEPS = 16, 196, 64, 10, 1000, 32, 3000
NAME = f"{STEPS} steps of {MEMBERS} nets 196-64-10 that differ in rate and momentum"


def problem() -> dict[str, np.ndarray]:
    """Images x [1000, 196], labels y, order [steps, members, batch], rates and momenta [members], weights by number."""
    rng = np.random.default_rng(0)
    found = {
        "x": rng.uniform(size=(EXAMPLES, INPUTS)).astype(np.float32),
        "y": rng.integers(CLASSES, size=EXAMPLES).astype(np.int32),
        "order": rng.integers(EXAMPLES, size=(STEPS, MEMBERS, BATCH)).astype(np.int32),
        "rates": np.geomspace(0.01, 0.08, MEMBERS).astype(np.float32),
        "momenta": np.linspace(0, 0.9, MEMBERS).astype(np.float32),
    }
    shapes = [(INPUTS, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,)]
    for number, shape in enumerate(shapes):
        scale = np.sqrt(2 / shape[0]) if len(shape) == 2 else 0
        found[f"weights/{number}"] = (scale * rng.normal(size=(MEMBERS, *shape))).astype(np.float32)
    return found
