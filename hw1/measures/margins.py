"""The margins of a classifier: how far the right answer is ahead of the next.

The margin of an example is f_y − max_{k≠y} f_k of the logits f, negative where the answer is wrong; of a single logit
of two classes it is ±f. Bounds for classifiers take its distribution over the training set (Bartlett et al., arXiv
1706.08498), and often its tenth percentile (Jiang et al., arXiv 1912.02178). It grows with the scale of the last layer,
so nets are best compared at one training loss.
"""

import numpy as np

from hw1 import evaluation


def margins(model, x, y, loss=None) -> np.ndarray:
    """The margin of each example.

    Args:
        model: a built Keras model that outputs logits, shape [n, classes], or one logit, shape [n] or [n, 1].
        x: inputs, shape [n, ...].
        y: integer labels, shape [n]; of one logit 0 and 1.
        loss: the loss that its outputs are for, as for `hw1.evaluation.per_example`.

    Returns:
        The margins, float64, shape [n].

    Raises:
        TypeError, ValueError: for a model or examples that do not fit.
    """
    y = np.asarray(y)
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"margins need integer labels of shape [n], not {y.dtype} of shape {list(y.shape)}")
    problem = evaluation.Problem(model, x, loss=loss, targets=False)
    outputs = np.concatenate(list(problem.all_outputs())).astype(np.float64)
    if outputs.ndim == 1 or outputs.shape[1:] == (1,):
        if not np.isin(y, (0, 1)).all():
            raise ValueError(f"one logit tells two classes apart, 0 and 1; the labels go from {y.min()} to {y.max()}")
        return np.where(y == 1, 1, -1) * outputs.reshape(-1)
    if outputs.ndim != 2:
        raise ValueError(f"margins need logits of shape [n, classes], not {list(outputs.shape)}")
    if y.min() < 0 or y.max() >= outputs.shape[1]:
        raise ValueError(f"the labels go from {y.min()} to {y.max()}, but the model has {outputs.shape[1]} classes")
    rows = np.arange(len(y))
    own = outputs[rows, y]
    outputs[rows, y] = -np.inf
    return own - outputs.max(axis=1)


def quantile(values, share: float) -> tuple[float, float]:
    """A quantile of a sample, with its standard error.

    The number of examples below the true quantile is binomial, n q ± √(n q (1 − q)): the error is half the distance
    between the sample's quantiles at both ends.

    Args:
        values: shape [n].
        share: q, in (0, 1).

    Returns:
        The quantile and its standard error.
    """
    spread = np.sqrt(share * (1 - share) / len(values))
    low, value, high = np.quantile(values, np.clip([share - spread, share, share + spread], 0, 1))
    return float(value), float((high - low) / 2)
