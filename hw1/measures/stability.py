"""The edge of stability of an optimiser: the largest curvature at which its steps do not oscillate ever wider.

Near a minimum L is a quadratic, and along an eigenvector of its Hessian with the eigenvalue λ an optimiser without
noise is a linear recurrence. It diverges once a root of its characteristic polynomial leaves the unit circle; for all
optimisers here this is the root at −1. With learning rate ε, momentum m and decoupled weight decay w, a = 1 − εw, the
thresholds of λ are

    SGD without momentum                (1 + a) / ε, so 2 / ε without weight decay
    SGD with momentum (heavy ball)      (1 + a) (1 + m) / ε
    SGD with Nesterov's momentum        (1 + a) (1 + m) / (ε (1 + 2m))
    Adam, AdamW                         (1 + a) (1 + β₁) / (ε (1 − β₁)), so 38 / ε for β₁ = 0.9
    RMSprop with momentum m             (1 + a) (1 + m) / ε
    Adagrad                             (1 + a) / ε

Adam, RMSprop and Adagrad divide the step by a diagonal P that changes slowly: λ is then the largest eigenvalue of P⁻¹H,
which is that of the symmetric P^−½ H P^−½. For Adam, after t steps, P = (1 − β₁ᵗ) (√v / √(1 − β₂ᵗ) + …), as Keras
computes it.

Training with the full batch tends to raise λ to this edge and then to stay there. Mini-batches stay below it, the
farther the smaller they are.

Source: Cohen et al., arXiv 2103.00065, appendix B (momentum); Cohen et al., arXiv 2207.14484 (adaptive optimisers).
Weight decay follows from the same recurrences.
"""

from typing import NamedTuple

import keras
import numpy as np


class Edge(NamedTuple):
    """Where an optimiser becomes unstable.

    Attributes:
        threshold: the largest stable eigenvalue of P⁻¹H, in units of 1 / learning rate.
        preconditioner: the diagonal P, shape [parameters], in the order of the variables; None for the identity.
    """

    threshold: float
    preconditioner: np.ndarray | None


def edge(optimizer, variables) -> Edge:
    """The edge of stability of a Keras optimiser in its present state.

    It is that of small oscillations, in which gradients are not clipped. Of variables that weight decay leaves out the
    threshold is larger by the factor 2 / (1 + a).

    Args:
        optimizer: SGD, Adam, AdamW, RMSprop or Adagrad of Keras.
        variables: the trainable variables of the model, in order.

    Returns:
        An `Edge`.

    Raises:
        TypeError: the edge of another optimiser is not known here.
        ValueError: an adaptive optimiser has not taken a step yet, so that it has no P.
    """
    check(optimizer)
    if type(optimizer) is not keras.optimizers.SGD and not int(optimizer.iterations):
        raise ValueError(f"{type(optimizer).__name__} has no preconditioner before its first step")
    rate = float(optimizer.learning_rate)
    factor, diagonal = _KINDS[type(optimizer)](optimizer, variables)
    kept = 1 - rate * float(optimizer.weight_decay or 0)
    return Edge((1 + kept) * factor / rate, diagonal)


def check(optimizer) -> None:
    """Raises TypeError unless the edge of stability of an optimiser is known here."""
    if type(optimizer) not in _KINDS:
        raise TypeError(
            f"the edge of stability is known for {', '.join(kind.__name__ for kind in _KINDS)} of Keras, not for "
            f"{type(optimizer).__name__}"
        )


def _flat(optimizer, slots, variables) -> np.ndarray:
    """The optimiser's state that belongs to each variable, as one vector."""
    parts = [slots[optimizer._get_variable_index(variable)] for variable in variables]
    return np.concatenate([keras.ops.convert_to_numpy(part).astype(np.float64).ravel() for part in parts])


def _sgd(optimizer, variables):
    momentum = float(optimizer.momentum)
    return (1 + momentum) / (1 + 2 * momentum if optimizer.nesterov else 1), None


def _adam(optimizer, variables):
    first, second, steps = float(optimizer.beta_1), float(optimizer.beta_2), int(optimizer.iterations)
    velocities = _flat(optimizer, optimizer._velocity_hats if optimizer.amsgrad else optimizer._velocities, variables)
    corrected = (1 - first**steps) / np.sqrt(1 - second**steps)
    return (1 + first) / (1 - first), corrected * (np.sqrt(velocities) + optimizer.epsilon)


def _rmsprop(optimizer, variables):
    squares = _flat(optimizer, optimizer._velocities, variables)
    if optimizer.centered:
        squares = squares - _flat(optimizer, optimizer._average_gradients, variables) ** 2
    return 1 + float(optimizer.momentum), np.sqrt(np.maximum(squares, 0) + optimizer.epsilon)


def _adagrad(optimizer, variables):
    return 1.0, np.sqrt(_flat(optimizer, optimizer._accumulators, variables) + optimizer.epsilon)


_KINDS = {
    keras.optimizers.SGD: _sgd,
    keras.optimizers.Adam: _adam,
    keras.optimizers.AdamW: _adam,
    keras.optimizers.RMSprop: _rmsprop,
    keras.optimizers.Adagrad: _adagrad,
}
