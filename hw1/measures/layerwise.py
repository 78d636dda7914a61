"""The Hessian layer by layer: the diagonal block of H that belongs to all variables of a layer.

It is the curvature when only that layer moves. A layer is the innermost that holds a variable, by its path in the model
(see `hw1.evaluation.layers`).
"""

from typing import Unpack

import numpy as np

from hw1 import evaluation
from hw1.evaluation import checks
from hw1.evaluation.layers import layers
from hw1.measures import lanczos, stochastic_diagonal
from hw1.measures.products import product
from hw1.measures.stochastic import Estimate


def layer_eigenvalues(
    model,
    x,
    y=None,
    k: int = 1,
    which: str = "LM",
    loss=None,
    tolerance: float = 1e-3,
    **options: Unpack[evaluation.Options],
) -> dict[str, np.ndarray]:
    """Extreme eigenvalues of each layer's diagonal block of H: the curvature when only that layer moves.

    A product with a layer's block is the layer's part of Hv, for a v that is zero outside the layer. It costs as much
    as a product with H, and the layers are measured one after the other.

    Args:
        model: a built Keras model. A layer is the innermost that holds a variable: "hidden_1" holds kernel and bias.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        k: how many of each block; of a smaller block all.
        which: as for `hw1.measures.hessian.eigenvalues`.
        loss: as for `hw1.measures.hessian.eigenvalues`.
        tolerance: as for `hw1.measures.hessian.eigenvalues`.
        options: see `hw1.evaluation.Options`.

    Returns:
        Layer → eigenvalues, shape [min(k, parameters of the layer)], descending; layers in the order of the net, by
        their paths, such as "block_1/fc1" (see `hw1.evaluation.layers.owners`).

    Raises:
        TypeError, ValueError: as `eigenvalues`.
    """
    checks.whole("k", k, 1)
    multiply, found = product(model, x, y, loss, **options), {}
    for layer, places in layers(model).items():

        def within(vector, places=places):
            whole = np.zeros(multiply.size)
            whole[places] = vector
            return multiply(whole)[places]

        within.size = len(places)
        found[layer] = lanczos.eigenvalues(lanczos.linear_operator(within), min(k, within.size), which, tolerance)
    return found


def layer_traces(
    model,
    x,
    y=None,
    loss=None,
    probes: int = 30,
    seed: int = 0,
    method: str = "hutch++",
    **options: Unpack[evaluation.Options],
) -> dict[str, Estimate]:
    """The trace of each layer's diagonal block of H, without bias, from the same products for all layers.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: as for `hw1.measures.hessian.eigenvalues`.
        probes: number of Hessian-vector products for all layers together, at least 6.
        seed: of the random signs.
        method: as for `hw1.measures.hessian.trace`.
        options: see `hw1.evaluation.Options`.

    Returns:
        Layer → trace with `.standard_error`; layers by their paths, as in `layer_eigenvalues`. Their sum estimates the
        trace of H.

    Raises:
        TypeError, ValueError: as `hw1.measures.hessian.trace`.
    """
    operator = lanczos.linear_operator(product(model, x, y, loss, **options))
    return stochastic_diagonal.partial_traces(operator, layers(model), probes, seed, method)
