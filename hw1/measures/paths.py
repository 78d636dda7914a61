"""Paths of low loss between two nets: the string method and Bézier curves.

Two nets that were trained apart are often parted by a barrier on the straight line, and yet joined by a path on which
the loss hardly rises (Freeman and Bruna, arXiv 1611.01540; Draxler et al., arXiv 1803.00885; Garipov et al., arXiv
1802.10026). What a search finds is an upper bound of the lowest barrier: that it finds nothing proves nothing. The
barrier itself is measured by `hw1.measures.interpolation.barrier`:

    path = paths.string(model_a, model_b, x, y)
    interpolation.barrier(model_a, model_b, x, y, path=path).loss_barrier

The searches are in `hw1.measures.curves`; here a net's loss is handed to them.
"""

import functools
from typing import Unpack

import keras
import numpy as np
import tensorflow as tf

from hw1 import evaluation
from hw1.evaluation import checks, tracing
from hw1.measures import curves
from hw1.measures.curves import Path
from hw1.measures.interpolation import along, averaged_over, between_models

__all__ = ["Path", "bezier", "string"]

_NORMALISE = tracing.Replacement(keras.layers.BatchNormalization, "call", tracing.method)


def string(
    model_a,
    model_b,
    x,
    y=None,
    loss=None,
    pivots: int = 10,
    steps: int = 300,
    cycles: int = 4,
    learning_rate: float = 0.01,
    batch_size: int | None = None,
    seed: int = 0,
    progress: str | None = None,
    **options: Unpack[evaluation.Options],
) -> Path:
    """A path of low loss between two nets, by the string method (E, Ren and Vanden-Eijnden, Phys. Rev. B 66, 052301).

    On a path of least resistance the gradient points along the path: L cannot be lowered by moving aside. So each pivot
    θᵢ descends along the part of the gradient across the path, with the unit tangent τᵢ,

        θᵢ ← θᵢ − ε (∇L(θᵢ) − (∇L(θᵢ) · τᵢ) τᵢ),

    and then all slide along the path until they have their shares of its length back. Without the second part they
    would gather where the loss is low and leave the barrier. The tangent halves the angle between the two neighbouring
    segments. Steps are those of Adam, across the path too; all pivots take them at once.

    The loss between two pivots may be far above that of both. After each cycle of steps the loss is therefore measured
    at 10 points a segment. Where it stands above the straight line through the losses of the two pivots by more than a
    tenth of its range on the path (our choice), a pivot is inserted (AutoNEB, Draxler et al., arXiv 1803.00885). Shares
    of the length are equal at first; an inserted pivot divides the share of its segment.

    The path that is returned is the lowest that was met between cycles, the straight line among them, by its largest
    mean loss over all examples. What lowers it further: more pivots, steps and cycles.

    Batch normalisation uses the mean and variance of the examples of a compiled call in the search, and the gradient
    goes through them. Frozen layers, and all other variables that are not trained, are interpolated as by
    `hw1.measures.interpolation.line`. Dropout is off.

    Args:
        model_a: a built Keras model, where the path begins.
        model_b: another of the same architecture, where it ends. To meet no barrier that a mere order of hidden units
            makes, align it first: `hw1.measures.alignment.match`.
        x: inputs, shape [n, ...]; usually the training set.
        y: targets, shape [n].
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        pivots: number between the two nets at first.
        steps: of each cycle, at one gradient for each pivot.
        cycles: number of them.
        learning_rate: of Adam, in units of the parameters; it falls to 0 in each cycle as a cosine.
        batch_size: examples of which each step takes the gradient, the same for all pivots; None for all examples.
        seed: of the batches, and of the first pivots' distance from the straight line (a thousandth of its length).
        progress: label of a progress bar; None for no bar.
        options: see `hw1.evaluation.Options`.

    Returns:
        A `Path` of pivots in the precision of the models, which are not changed.

    Raises:
        TypeError, ValueError: if the models differ in architecture, the input does not fit, or the search diverges.
    """
    checks.whole("pivots", pivots, 1)
    checks.whole("cycles", cycles, 1)
    search = _search(model_a, model_b, x, y, loss, steps, learning_rate, batch_size, seed, options)
    return curves.string(*search, pivots, steps, cycles, learning_rate, seed, progress)


def bezier(
    model_a,
    model_b,
    x,
    y=None,
    loss=None,
    controls: int = 2,
    steps: int = 1000,
    samples: int = 8,
    learning_rate: float = 0.01,
    batch_size: int | None = None,
    seed: int = 0,
    progress: str | None = None,
    **options: Unpack[evaluation.Options],
) -> Path:
    """A path of low loss between two nets, as a Bézier curve (Garipov et al., arXiv 1802.10026).

    The curve starts in θ_a, ends in θ_b and is trained by its control points P (see `hw1.measures.curves.Path`):

        minimise over P    E L(B(t; P)),    t uniform in [0, 1].

    A step of Adam takes the gradient at one random t in each of `samples` equal parts of [0, 1], which has the same
    mean as independent t and less noise. It is a mean that is minimised, so the largest loss on the curve may be above
    that on the string of `string`. A mean does not notice a narrow barrier, which the curve may cross at high speed.

    The source uses one control point and SGD on mini-batches; two make a cubic curve, which can bend both ways.
    Batch normalisation and other variables are treated as by `string`; in the search, t stands for the share of the
    length at which other variables are interpolated.

    Args:
        model_a: a built Keras model, where the path begins.
        model_b: another of the same architecture, where it ends.
        x: inputs, shape [n, ...]; usually the training set.
        y: targets, shape [n].
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        controls: number of control points.
        steps: of Adam, each at `samples` gradients.
        samples: points of the curve in each step.
        learning_rate: of Adam, in units of the parameters; it falls to 0 as a cosine.
        batch_size: examples of which each step takes the gradient, the same for all points; None for all examples.
        seed: of the points, the batches, and the first control points' distance from the straight line (a thousandth of
            its length).
        progress: label of a progress bar; None for no bar.
        options: see `hw1.evaluation.Options`.

    Returns:
        A `Path` with the ends and the control points, in the precision of the models, which are not changed.

    Raises:
        TypeError, ValueError: if the models differ in architecture, the input does not fit, or the search diverges.
    """
    checks.whole("controls", controls, 1)
    checks.whole("samples", samples, 1)
    search = _search(model_a, model_b, x, y, loss, steps, learning_rate, batch_size, seed, options)
    return curves.bezier(*search, controls, steps, samples, learning_rate, seed, progress)


def _search(model_a, model_b, x, y, loss, steps, learning_rate, batch_size, seed, options) -> tuple:
    """What both searches start from, checked: the objective and the parameters of both nets."""
    checks.whole("steps", steps, 1)
    checks.positive("learning_rate", learning_rate)
    checks.generator(seed)
    problem = between_models(model_a, model_b, x, y, loss, **options)
    if batch_size is not None:
        checks.whole("batch_size", batch_size, 1, problem.n)
    parameters_b, state_b = evaluation.variables(model_b)
    slopes = _Slopes(problem, state_b, batch_size, seed)
    values = functools.partial(_values, problem, state_b)
    ends = [evaluation.flatten(each).numpy() for each in (problem.parameters, parameters_b)]
    return curves.Objective(slopes, values), *ends


def _values(problem, state_b, path, positions) -> np.ndarray:
    """The mean loss over all examples at positions on a path."""
    return along(problem, state_b, path, positions, averaged_over(problem, None))[:, 0]


class _Slopes:
    """The gradients of the mean loss at several points; see `hw1.measures.curves.Objective`."""

    def __init__(self, problem, state_b, batch_size, seed):
        """Remembers the problem; `batch_size` is None for all examples."""
        self._problem, self._states = problem, (problem.state, state_b)
        self._size, self._seed = batch_size, seed
        # Nets of matrix products are computed side by side, which saves operations; others one after the other.
        self._stacked = problem.is_dense
        self._run, self._traced = problem.compile(_side_by_side if self._stacked else _in_turn), {}

    def __call__(self, points, places, number):
        examples = self._problem.examples if self._size is None else self._batch(number)
        total = tf.zeros_like(points)
        for part in examples.chunks(self._problem.fitting(copies=len(points) if self._stacked else 1)):
            arguments = (self._problem.parameters, *self._states, *part)
            size = len(tf.nest.flatten(part)[0])
            if size not in self._traced:  # one program for any number of points
                shapes = tf.TensorSpec([None, points.shape[1]], points.dtype), tf.TensorSpec([None], places.dtype)
                self._traced[size] = self._run.get_concrete_function(*shapes, *arguments)
            total += self._traced[size](points, places, *arguments)
        return total / examples.n

    def _batch(self, number):
        """The examples of a step: of each epoch's random order the next ones, but no incomplete batch."""
        examples = self._problem.examples
        epoch, place = divmod(number, examples.n // self._size)
        if place == 0:
            self._order = np.random.default_rng([self._seed, epoch]).permutation(examples.n)
        rows = self._order[place * self._size :][: self._size]
        x, y, weight = tf.nest.map_structure(
            lambda array: None if array is None else array[rows], (examples.x, examples.y, examples.weight)
        )
        return examples._replace(x=x, y=y, weight=weight, n=len(rows))


def _side_by_side(net):
    """The program of the gradients of the total loss at several points, vectorised over them."""
    gradient = _gradient(net)

    def run(points, places, *arguments):
        return tf.vectorized_map(lambda each: gradient(*each, *arguments), (points, places))

    return run


def _in_turn(net):
    """The same, one point after the other."""
    gradient = _gradient(net)

    def run(points, places, *arguments):
        shape = tf.TensorSpec(points.shape[1:], points.dtype)
        return tf.map_fn(lambda each: gradient(*each, *arguments), (points, places), fn_output_signature=shape)

    return run


def _gradient(net):
    """The gradient of the total loss at one point, with batch normalisation by the given examples."""

    def normalise(layer, inputs, training=None, mask=None):
        return _NORMALISE.original(layer, inputs, training=layer.trainable, mask=mask)

    def gradient(vector, place, parameters, state_a, state_b, x, targets):
        states = zip(state_a, state_b, strict=True)
        state = [a + tf.cast(place, a.dtype) * (b - a) if a.dtype.is_floating else a for a, b in states]
        with tf.GradientTape() as tape, _NORMALISE.by(normalise):
            tape.watch(vector)
            total = tf.reduce_sum(net.losses(evaluation.unflatten(vector, parameters), state, x, targets))
        return tape.gradient(total, vector, unconnected_gradients="zero")

    return gradient
