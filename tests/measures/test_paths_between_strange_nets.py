"""Barriers and searches on nets of other people: by Keras's own call at many points, or refused by name."""

import functools
import itertools

import cases
import keras
import nets
import numpy as np
import pytest
import references
import tensorflow as tf

from hw1.measures import curves, interpolation, paths

L = keras.layers
POINTS = 200


def chain(*layers, seed=1, shape=(4,)):
    """A net of these layers with three outputs and random weights."""
    model = keras.Sequential([keras.Input(shape), *layers, L.Dense(3)])
    return nets.with_random_weights(model, np.random.default_rng(seed))


def plain(seed):
    """One hidden layer."""
    return chain(L.Dense(8, "tanh"), seed=seed)


def normalised(seed):
    """With batch normalisation."""
    return chain(L.Dense(8), L.BatchNormalization(), L.Activation("tanh"), seed=seed)


def half_frozen(seed):
    """A layer that is frozen after training; it goes from one net's to the other's in equal shares of the length."""
    return chain(L.Dense(8, "tanh", name="fixed"), seed=seed)


@functools.cache
def trained(build, seed):
    """A net after some steps on few examples, whose lines have barriers."""
    model, (x, y) = build(seed), examples()
    adam = keras.optimizers.Adam(0.05)
    adam.build(model.trainable_variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            mean = tf.reduce_mean(references.cross_entropy(y, model(x, training=True)))
        adam.apply(tape.gradient(mean, [v.value for v in model.trainable_variables]))

    for _ in range(80):
        step()
    if build is half_frozen:
        model.get_layer("fixed").trainable = False
    return model


def examples(n=40):
    """Random inputs and labels."""
    rng = np.random.default_rng(5)
    return rng.normal(size=(n, 4)).astype("float32"), rng.integers(0, 3, n)


def at_shares(path, shares):
    """The points at shares of the length, in NumPy: on a polygon, or on a curve of 2,001 points."""
    points = path.points.astype("float64")
    if path.bezier:
        t = np.linspace(0, 1, 2001)[:, None]
        while len(points) > 1:
            points = [(1 - t) * a + t * b for a, b in itertools.pairwise(points)]
        points = points[0]
    arc = np.append(0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1)))
    for length in np.multiply(shares, arc[-1]):
        place = np.searchsorted(arc, length, side="right").clip(1, len(points) - 1)
        inner = (length - arc[place - 1]) / (arc[place] - arc[place - 1])
        yield (1 - inner) * points[place - 1] + inner * points[place]


def keras_losses(model_a, model_b, path, shares):
    """The losses at shares of a path's length, by ``set_weights`` and a call of the net."""
    (x, y), model, found = examples(), keras.models.clone_model(model_a), []
    for layer in model.layers:
        layer.momentum = 0.0  # batch normalisation then has the statistics of the batch that it saw last

    @tf.function
    def mean_loss():
        model(x, training=True)
        return tf.reduce_mean(references.cross_entropy(y, model(x, training=False)))

    for share, theta in zip(shares, at_shares(path, shares), strict=True):
        pairs = zip(model_a.get_weights(), model_b.get_weights(), strict=True)
        model.set_weights([(1 - share) * a + share * b for a, b in pairs])
        references.assign(model, theta.astype("float32"))
        found.append(mean_loss().numpy())
    return np.array(found)


SEARCHED = ((normalised, paths.bezier), (half_frozen, paths.string))
OTHERS = ((normalised, paths.string), (half_frozen, paths.bezier), (plain, paths.string), (plain, paths.bezier))


@pytest.mark.parametrize(("build", "search"), cases.some(SEARCHED + OTHERS))
def test_keras_finds_no_higher_point_on_the_path(build, search):
    """At 200 points of the path that was returned, and the same loss at points of the barrier's own."""
    model_a, model_b = (trained(build, seed) for seed in (1, 2))
    x, y = examples()
    options = {"pivots": 4, "cycles": 2} if search is paths.string else {}
    path = search(model_a, model_b, x, y, steps=60, **options)
    with nets.unchanged(model_a, model_b):
        found = interpolation.barrier(model_a, model_b, x, y, path=path)
    dense = keras_losses(model_a, model_b, path, np.linspace(0, 1, POINTS))
    truth = dense.max() - max(dense[[0, -1]])
    assert np.ptp(dense) > 0.02
    assert 0.999 * truth - 1e-4 <= found.loss_barrier <= truth + 0.02
    shares = (found.arc_length / path.length)[::7]
    np.testing.assert_allclose(found.loss[::7], keras_losses(model_a, model_b, path, shares), rtol=2e-3, atol=1e-5)


def test_a_data_set_that_is_shuffled():
    """It is read once for both nets, and its weights count."""
    model_a, model_b = plain(1), plain(2)
    x, y = examples()
    weight = np.linspace(0, 2, len(x)).astype("float32")
    batches = tf.data.Dataset.from_tensor_slices((x, y, weight)).shuffle(len(x)).batch(7)
    found = interpolation.barrier(model_a, model_b, batches)
    expected = interpolation.barrier(model_a, model_b, x, y, sample_weight=weight)
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-5)
    assert paths.string(model_a, model_b, batches, pivots=1, steps=1, cycles=1).length > 0


# What is refused, and what is not


class Centred(L.Layer):
    """Subtracts a mean that it keeps."""

    def build(self, shape):
        """Makes the mean."""
        self.average = self.add_weight(shape=shape[-1:], initializer="zeros", trainable=False, name="average")

    def call(self, x, training=False):
        """In training by the batch."""
        if training:
            self.average.assign(0.9 * self.average + 0.1 * keras.ops.mean(x, axis=0))
        return x - self.average


class Own(L.BatchNormalization):
    """Batch normalisation that is written anew."""

    def call(self, x, training=None, mask=None):
        """Without that of Keras."""
        if training:
            self.moving_mean.assign(0.9 * self.moving_mean + 0.1 * keras.ops.mean(x, axis=0))
        return (x - self.moving_mean) * self.gamma + self.beta


class Unused(L.Layer):
    """Counts examples in training; its output does not depend on their number."""

    def build(self, shape):
        """Makes the number."""
        self.number = self.add_weight(shape=(), initializer="zeros", trainable=False, name="number")

    def call(self, x, training=False):
        """The input as it is."""
        if training:
            self.number.assign_add(1.0)
        return x


@pytest.mark.parametrize("layer", [Centred, Own])
def test_averages_of_ones_own_are_refused(layer):
    """Between two nets they would be those of neither."""
    model_a, model_b = (chain(L.Dense(5), layer(name="odd"), seed=seed) for seed in (1, 2))
    x, y = examples()
    measures = (
        lambda: interpolation.barrier(model_a, model_b, x, y),
        lambda: interpolation.line(model_a, model_b, [0.5], x, y),
        lambda: paths.string(model_a, model_b, x, y, steps=1),
    )
    for measure in measures:
        with nets.unchanged(model_a, model_b), cases.refused("odd", "changed in training"):
            measure()


SOUND = {
    "unused": lambda seed: chain(L.Dense(5), Unused(), seed=seed),
    "dropout and noise": lambda seed: chain(L.Dense(5), L.Dropout(0.5), L.GaussianNoise(0.1), seed=seed),
    "spectral normalisation": lambda seed: chain(L.SpectralNormalization(L.Dense(5)), seed=seed),
    "scaled inputs": lambda seed: chain(L.Normalization(mean=[1.0] * 4, variance=[2.0] * 4), seed=seed),
}


@pytest.mark.parametrize("kind", cases.some(SOUND))
def test_other_state_is_no_average(kind):
    """The line is that of Keras's own evaluation, of the weights as they are in inference."""
    model_a, model_b = SOUND[kind](1), SOUND[kind](2)
    x, y = examples()
    found = interpolation.barrier(model_a, model_b, x, y, per_segment=10)
    model = SOUND[kind](3)
    for share, loss in zip(np.linspace(0, 1, 11), found.loss, strict=True):
        theta = [references.flat(each.trainable_variables) for each in (model_a, model_b)]
        references.assign(model, (1 - share) * theta[0] + share * theta[1])
        assert loss == pytest.approx(references.losses(model, x, y).mean(), rel=1e-4)


@pytest.mark.parametrize("layer", ["mask", "twice", "renormalisation"])
def test_reasons_stand_alone(layer):
    """In one line, without the call in which they were found."""
    x = keras.Input((3, 4))
    norm = L.BatchNormalization(name="odd", renorm=layer == "renormalisation")
    hidden = norm(L.Masking()(x) if layer == "mask" else L.Dense(4)(x))
    hidden = norm(hidden) if layer == "twice" else hidden
    model = keras.Model(x, L.Dense(3)(L.GlobalAveragePooling1D()(hidden)))
    with pytest.raises(ValueError, match=r"^layer 'odd' .*(mask|used more than once).*$"):
        interpolation.barrier(model, model, np.ones((5, 3, 4)), np.arange(5) % 3)


def test_a_line_without_a_loss_is_no_lowest_path():
    """Where the loss is not a number on the line, any path of numbers is lower."""
    bowl = curves.Objective.of(lambda points: tf.reduce_sum(points**2, axis=1))

    def values(path, positions):
        return bowl.values(path, positions) * (np.nan if len(path.points) == 2 else 1)

    ends = np.array([[-1.0, 0.0], [1.0, 0.0]])
    path = curves.string(bowl._replace(values=values), *ends, 3, 5, 1, 0.01, seed=0)
    assert len(path.points) == 5


@pytest.mark.parametrize("points", [np.zeros((1, 3)), np.zeros(3), [[0.0, 1.0], [1.0, 1.0]]])
def test_what_is_no_path(points):
    """One point, a vector, a list."""
    with pytest.raises(ValueError, match="two points or more"):
        curves.Path(points)
