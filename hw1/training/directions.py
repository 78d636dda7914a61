"""What an optimizer may be given instead of the gradient of the mini-batch: noise, SAM, Entropy-SGD.

A direction is a function of a `Batch` that returns a list of tensors, one for each trainable variable. It is part of
the compiled program, so it consists of TensorFlow operations. The functions here make directions for
`hw1.training.train(direction=…)`. Members are independent: norms are those of one member, and what is drawn depends on
the member's seed and step alone.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class Members(NamedTuple):
    """The members of a program.

    Attributes:
        number: of members.
        stacked: whether variables have a leading axis for them.
        seeds: int64 variable, shape [members].
        steps: int64 variable, the number of mini-batches before this one.
    """

    number: int
    stacked: bool
    seeds: tf.Variable
    steps: tf.Variable

    def norm(self, tensors) -> tf.Tensor:
        """The Euclidean norm of each member's part of a list of tensors, in a shape to multiply them with."""
        squares = tf.add_n([tf.reduce_sum(tf.reshape(part, [self.number, -1]) ** 2, axis=1) for part in tensors])
        return tf.reshape(tf.sqrt(squares), [self.number, 1, 1] if self.stacked else [])


class Batch:
    """A mini-batch at the parameters that the members have now.

    Attributes:
        parameters: the trainable variables; stacked ones have shape [members, …].
        slope: gradient of the mini-batch's objective, one tensor for each variable.
        size: examples of each member.
        members: see `Members`.
    """

    def __init__(self, parameters, slope, size: int, members: Members, gradients: Callable):
        """Takes the parts; `gradients(weights, part)` computes what `Batch.gradients` returns."""
        self.parameters, self.slope, self.size, self.members = parameters, slope, size, members
        self._gradients, self._draws = gradients, 0

    def gradients(self, weights: tf.Tensor | None = None, part: slice | None = None) -> list[tf.Tensor]:
        """The gradient at the parameters as they are now.

        Args:
            weights: factor of each example's loss before the mean, shape [members, size]; without the terms of
                regularisers. None: 1, with them.
            part: the examples of each member that are used. None: all.
        """
        return self._gradients(weights, part)

    def norm(self, tensors) -> tf.Tensor:
        """The norm of each member's vector; see `Members.norm`."""
        return self.members.norm(tensors)

    def normal(self, shape) -> tf.Tensor:
        """Independent standard normal numbers, of shape [members, *shape]; other ones at each call and step."""
        self._draws += 1
        dtype, draw = self.slope[0].dtype, self.members.steps * 1024 + self._draws
        drawn = [
            tf.random.stateless_normal(shape, tf.stack([self.members.seeds[member], draw]), dtype=dtype)
            for member in range(self.members.number)
        ]
        return tf.stack(drawn)

    def isotropic(self) -> list[tf.Tensor]:
        """A standard normal number for each parameter, shaped as the variables."""
        sizes = [variable.shape.num_elements() // self.members.number for variable in self.slope]
        parts = tf.split(self.normal([sum(sizes)]), sizes, axis=1)
        return [tf.reshape(part, like.shape) for part, like in zip(parts, self.slope, strict=True)]

    def values(self) -> list[tf.Tensor]:
        """The parameters' present values, which stay when the variables move."""
        return [tf.identity(variable.value) for variable in self.parameters]

    def assign(self, values) -> None:
        """Sets the parameters."""
        for variable, value in zip(self.parameters, values, strict=True):
            variable.assign(value)


def sam(radius: float) -> Callable:
    """Sharpness-aware minimisation (Foret et al., arXiv 2010.01412): the gradient at θ + ρ g / ‖g‖.

    To first order, the loss is largest in the ball of radius ρ around θ there. A step costs two gradients.

    Args:
        radius: ρ, above 0.
    """
    _check_positive("radius", radius)

    def direction(batch):
        start, scale = (
            batch.values(),
            tf.math.divide_no_nan(tf.constant(radius, batch.slope[0].dtype), batch.norm(batch.slope)),
        )
        batch.assign([value + scale * slope for value, slope in zip(start, batch.slope, strict=True)])
        found = batch.gradients()
        batch.assign(start)
        return found

    return direction


def gaussian_noise(scale: float | Callable[[tf.Tensor], tf.Tensor]) -> Callable:
    """The gradient plus `scale` times a standard normal number for each parameter.

    Descent with rate ε and scale √(2T/ε) is Langevin dynamics at temperature T: on ½ λ θ² its variance tends to
    T / (λ (1 − ελ/2)).

    Args:
        scale: a number of at least 0, or a function of the number of steps so far.
    """
    if not callable(scale):
        _check_positive("scale", scale, zero=True)

    def direction(batch):
        dtype = batch.slope[0].dtype
        size = tf.cast(scale(batch.members.steps), dtype) if callable(scale) else tf.constant(scale, dtype)
        return [slope + size * noise for slope, noise in zip(batch.slope, batch.isotropic(), strict=True)]

    return direction


def sampling_noise(batch_size: int, isotropic: bool = False) -> Callable:
    """The gradient plus Gaussian noise of the covariance C/B that batches of B examples, with replacement, would have.

    C is the covariance of the examples' gradients gᵢ in the batch that is given, usually the whole training set of N
    examples. With independent standard normal zᵢ of mean z̄, Σ (zᵢ − z̄) gᵢ / √(NB) has covariance C/B, so the noise is a
    gradient with weighted examples, and C is never formed.

    Args:
        batch_size: B.
        isotropic: each draw is replaced by one of the same norm in a random direction: noise of equal trace that knows
            nothing of C's eigenvectors.
    """
    _check_positive("batch_size", batch_size)

    def direction(batch):
        drawn = batch.normal([batch.size])
        weights = math.sqrt(batch.size / batch_size) * (drawn - tf.reduce_mean(drawn, axis=1, keepdims=True))
        noise = batch.gradients(weights)
        if isotropic:
            other = batch.isotropic()
            scale = tf.math.divide_no_nan(batch.norm(noise), batch.norm(other))
            noise = [scale * part for part in other]
        return [slope + part for slope, part in zip(batch.slope, noise, strict=True)]

    return direction


def entropy(steps: int, rate: float, scope: float, average: float = 0.75, noise: float = 1e-4) -> Callable:
    """Entropy-SGD (Chaudhari et al., arXiv 1611.01838): γ (θ − μ), the gradient of the local entropy.

    The local entropy is −ln ∫ exp(−L(θ') − γ/2 ‖θ − θ'‖²) dθ', and μ the mean of θ' under that density. Langevin steps
    θ' ← θ' − η' (∇L(θ') + γ (θ' − θ)) + √η' s N(0, I), each with its own part of the mini-batch, estimate it as
    μ ← a μ + (1 − a) θ'. A step costs one gradient of the whole mini-batch beside that for the record.

    Args:
        steps: Langevin steps; the batch size must be a multiple.
        rate: their step size η'.
        scope: γ, above 0. The optimizer's learning rate multiplies γ (θ − μ).
        average: a, from 0 to below 1.
        noise: s, at least 0.
    """
    for name, value in (("steps", steps), ("rate", rate), ("scope", scope)):
        _check_positive(name, value)
    _check_positive("noise", noise, zero=True)
    if not 0 <= average < 1:
        raise ValueError(f"average must be at least 0 and below 1, not {average!r}")

    def direction(batch):
        if batch.size % steps:
            raise ValueError(f"the batch size must be a multiple of the {steps} Langevin steps, not {batch.size}")
        start, part = batch.values(), batch.size // steps
        mean = start
        for number in range(steps):
            slopes = batch.gradients(part=slice(number * part, (number + 1) * part))
            drawn = batch.isotropic()
            moved = [
                value - rate * (slope + scope * (value - centre)) + math.sqrt(rate) * noise * normal
                for value, slope, centre, normal in zip(batch.values(), slopes, start, drawn, strict=True)
            ]
            batch.assign(moved)
            mean = [average * old + (1 - average) * new for old, new in zip(mean, moved, strict=True)]
        batch.assign(start)
        return [scope * (centre - middle) for centre, middle in zip(start, mean, strict=True)]

    return direction


def _check_positive(name: str, value: float, zero: bool = False) -> None:
    """Raises ValueError unless the value is a finite number above 0 (or at least 0)."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < 0 or (value == 0 and not zero):
        raise ValueError(f"{name} must be a finite number {'of at least' if zero else 'above'} 0, not {value!r}")
