"""Directions: what they are for, their seeds, layers that are not Keras's, and what is refused."""

import cases
import filters
import keras
import nets
import numpy as np
import pytest
import references

from hw1.measures import directions, interpolation

L = keras.layers

# What a direction is for


def along(model, direction, measure):
    """What a function of the model gives at some points of the line along a direction."""
    theta = references.flat(model.trainable_variables)
    for step in (0, 0.5, 2):
        with references.moved(model, theta + step * direction):
            yield np.asarray(measure(model))


@pytest.mark.parametrize("factor", [0.01, 30.0])
def test_a_rescaled_net_has_the_same_surface(factor):
    """With ReLU (c W₁, c b₁, W₂ / c, b₂) is the same function, and has the same losses along its direction."""
    model, (x, y) = nets.perturbed(nets.mlp((4,), dtype="float64"), 1), nets.examples()
    first, bias, second, last = model.get_weights()
    curves = []
    for weights in ([first, bias, second, last], [factor * first, factor * bias, second / factor, last]):
        model.set_weights(weights)
        curves.append([*along(model, directions.filter_normalised(model, 1), lambda m: references.losses(m, x, y))])
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-10)
    assert np.ptp(np.mean(curves[0], axis=1)) > 0.01


def test_channels_before_batch_normalisation_have_no_scale():
    """Each channel of a depthwise convolution by a factor of its own: along the directions all is equal."""
    x = np.random.default_rng(0).normal(size=(7, 5, 5, 3))
    with filters.double():
        layers = [L.DepthwiseConv2D(2, depth_multiplier=2, use_bias=False), L.BatchNormalization(epsilon=1e-30)]
        model = keras.Sequential([keras.Input((5, 5, 3)), *layers])
    kernel, curves = np.asarray(model.trainable_variables[0]), []
    for factors in (np.ones((3, 2)), np.geomspace(0.01, 10, 6).reshape(3, 2)):
        model.trainable_variables[0].assign(factors * kernel)
        curves.append([*along(model, directions.filter_normalised(model, 1), lambda m: m(x, training=True))])
    np.testing.assert_allclose(curves[1], curves[0], rtol=0, atol=1e-10)
    assert np.abs(curves[0][0] - curves[0][2]).max() > 0.1


def test_a_zero_filter_stays():
    """A unit without weights gets none; nothing becomes NaN, also if all weights are 0."""
    model = filters.alone(lambda: L.Dense(3), (4,))
    kernel = np.asarray(model.trainable_variables[0]) * [1, 0, 1]
    model.trainable_variables[0].assign(kernel)
    part, _ = filters.parts(model)
    np.testing.assert_array_equal(part.any(axis=0), [True, False, True])
    model.trainable_variables[0].assign(0 * kernel)
    assert not np.any(directions.filter_normalised(model))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_direction_is_float64_and_of_its_seed(dtype):
    """Whatever the weights are."""
    model = keras.Sequential([keras.Input((4,)), L.Dense(3, dtype=dtype)])
    direction = directions.filter_normalised(model, seed=1)
    assert (direction.dtype, direction.shape) == (np.float64, (15,))
    np.testing.assert_array_equal(direction, directions.filter_normalised(model, seed=1))
    assert np.abs(direction - directions.filter_normalised(model, seed=2)).max() > 0.01
    kernel = np.asarray(model.get_weights()[0], np.float64)
    np.testing.assert_allclose(np.linalg.norm(direction[:12].reshape(4, 3), axis=0), np.linalg.norm(kernel, axis=0))


# Layers that are not Keras's


class Bilinear(L.Layer):
    """A layer with weights whose filters nobody knows, and some that are not moved."""

    def build(self, shape):
        """Makes them."""
        self.left = self.add_weight(shape=(3, 4), name="left")
        self.right = self.add_weight(shape=(4,), name="right")

    def call(self, x):
        """From [n, 4] to [n, 3]."""
        return keras.ops.matmul(x * self.right, keras.ops.transpose(self.left))


class Dense(L.Dense):
    """A layer with the name of one of Keras's, from which it inherits; it may use its kernel in another way."""


def own(layer=Bilinear, *arguments):
    """A net with such a layer."""
    return filters.alone(lambda: layer(*arguments, name="own"), (4,))


def lora():
    """A layer whose kernel is the sum of a frozen one and a product."""
    model = keras.Sequential([keras.Input((4,)), L.Dense(3, name="own")])
    model.layers[0].enable_lora(2)
    return model


def quantised():
    """A layer with a kernel of integers."""
    model = keras.Sequential([keras.Input((4,)), L.Dense(3, name="own"), L.Dense(3, name="last")])
    model.layers[0].quantize("int8")
    return model


@pytest.mark.parametrize(
    ("build", "axes", "words"),
    [
        (own, None, ["own/left", "Bilinear", "2 axes", "axes={'own/left': (-1,)}"]),
        (lambda: own(Dense, 3), None, ["own/kernel", "Dense", "no layer of Keras"]),
        (own, {"left": (0,)}, ["'left'", "own/left", "own/right"]),
        (own, {"own/left": (2,)}, ["own/left", "2 axes", "(2,)"]),
        (own, {"own/left": 1}, ["own/left", "a tuple", "1"]),
        (lora, None, ["'own'", "LoRA"]),
        (quantised, None, ["'own'", "quantisation"]),
    ],
    ids=["unknown", "inherited", "no such path", "no such axis", "no tuple", "LoRA", "quantised"],
)
def test_what_is_refused(build, axes, words):
    """Filters that are not known: they are not guessed from a shape."""
    with cases.refused(*words):
        directions.filter_normalised(build(), axes=axes)


@pytest.mark.parametrize(("axes", "units"), [((0,), [0]), ((-1,), [1]), ((0, 1), [0, 1]), ((), [])])
def test_axes_can_be_given(axes, units):
    """For a layer of one's own, and for one of Keras's in another way than its own."""
    model = own()
    kernel = model.trainable_variables[0]
    filters.spread(kernel, filters.slices(kernel, 1))
    left, right = filters.parts(model, axes={"own/left": axes})
    for mask in filters.slices(kernel, *units):
        assert np.linalg.norm(left[mask]) == pytest.approx(np.linalg.norm(np.asarray(kernel)[mask]))
    assert not right.any()
    model = filters.alone(lambda: L.Dense(3, name="own"), (4,))
    kernel, bias = model.trainable_variables
    left, right = filters.parts(model, axes={"own/kernel": None, "own/bias": axes[:1] and (0,)})
    assert not left.any()
    assert np.linalg.norm(right) == pytest.approx(np.linalg.norm(bias))


def test_the_names_of_interpolation():
    """A user of planes finds the directions there."""
    assert interpolation.filter_normalised is directions.filter_normalised
    assert interpolation.through is directions.through


def test_through_three_points():
    """Orthonormal, and the coordinates of the points are as documented."""
    points = np.random.default_rng(0).normal(size=(3, 7))
    first, second = directions.through(*points)
    np.testing.assert_allclose([first @ first, second @ second, first @ second], [1, 1, 0], atol=1e-14)
    u, v = ((points - points[0]) @ direction for direction in (first, second))
    np.testing.assert_allclose([*u[:2], *v[:2]], [0, np.linalg.norm(points[1] - points[0]), 0, 0], atol=1e-14)
    assert v[2] > 0
    np.testing.assert_allclose(points[0] + u[2] * first + v[2] * second, points[2], atol=1e-14)
    with pytest.raises(ValueError, match="on one line"):
        directions.through(points[0], points[1], 2 * points[1] - points[0])
