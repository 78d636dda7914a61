"""The statistics of batch normalisation on lines between nets, which are computed anew at every point."""

import cases
import keras
import nets
import numpy as np
import pytest
import references
from cases import SEEDS, Case

from hw1.measures import interpolation


def pair(kind):
    """Two nets of a kind with other weights and statistics, and examples."""
    return Case(kind).model, Case(kind, seed=SEEDS[1]).model, Case(kind).x, Case(kind).y


def forward(weights, x):
    """The normalised net of the table in NumPy, with means and variances of all of x; ReLU behind the normalisation."""
    kernel, bias, gamma, beta, kernel_2, bias_2 = weights
    hidden = x.reshape(len(x), -1) @ kernel + bias
    hidden = (hidden - hidden.mean(axis=0)) / np.sqrt(hidden.var(axis=0) + 1e-3) * gamma + beta
    return np.maximum(hidden, 0) @ kernel_2 + bias_2


def numpy_loss(logits, y):
    """Mean cross-entropy in NumPy."""
    return -np.log(references.softmax(logits)[np.arange(len(y)), y]).mean()


POINTS = [(0.5, 0.5), (-0.7, 0.0), (0.5, 0.0), (-0.7, 0.5), (1.6, 0.0), (1.6, 0.5)]


@pytest.mark.parametrize(("alpha", "dropout"), cases.some(POINTS))
def test_statistics_are_those_of_the_interpolated_net(alpha, dropout):
    """By hand in NumPy: the mean and the population variance of the hidden layer over all examples; dropout is off."""
    make = {"hidden": (4,), "batch_normalization": True, "dtype": "float64", "dropout": dropout}
    model_a, model_b = (nets.perturbed(nets.mlp(**make), seed) for seed in (2, 6))
    x, y = nets.examples()
    weights = [
        (1 - alpha) * np.asarray(a) + alpha * np.asarray(b)
        for a, b in zip(model_a.trainable_variables, model_b.trainable_variables, strict=True)
    ]
    with nets.unchanged(model_a, model_b):
        line = interpolation.line(model_a, model_b, [alpha], x, y)
    assert line.loss[0] == pytest.approx(numpy_loss(forward(weights, x), y), rel=1e-12)
    # the interpolated statistics would have given something else
    state = [
        (1 - alpha) * np.asarray(a) + alpha * np.asarray(b) for a, b in zip(*moving(model_a, model_b), strict=True)
    ]
    kernel, bias, gamma, beta, kernel_2, bias_2 = weights
    if state[1].min() > 0:
        hidden = x.reshape(len(x), -1) @ kernel + bias
        hidden = (hidden - state[0]) / np.sqrt(state[1] + 1e-3) * gamma + beta
        assert abs(line.loss[0] - numpy_loss(np.maximum(hidden, 0) @ kernel_2 + bias_2, y)) > 1e-3


def moving(*models):
    """The moving mean and variance of each model's one normalisation."""
    return [[v for v in model.non_trainable_variables if "moving" in v.path] for model in models]


def test_statistics_of_another_set():
    """`statistics_x`, usually the training set, gives the statistics; the loss is that on x."""
    model_a, model_b, x, y = pair("normalised")
    other = nets.examples(n=40, seed=5)[0]
    line = interpolation.line(model_a, model_b, [0.5], x, y, statistics_x=other)
    weights = [
        (np.asarray(a) + np.asarray(b)) / 2
        for a, b in zip(*(m.trainable_variables for m in (model_a, model_b)), strict=True)
    ]
    kernel, bias, gamma, beta, kernel_2, bias_2 = weights
    seen = other.reshape(40, -1) @ kernel + bias
    hidden = (x.reshape(len(x), -1) @ kernel + bias - seen.mean(axis=0)) / np.sqrt(seen.var(axis=0) + 1e-3)
    logits = np.maximum(hidden * gamma + beta, 0) @ kernel_2 + bias_2
    assert line.loss[0] == pytest.approx(numpy_loss(logits, y), rel=1e-12)


def two_normalisations(seed):
    """A Functional net in which the second normalisation sees what the first has normalised."""
    options = {"dtype": "float64"}
    images = keras.Input(nets.SHAPE, **options)
    first = keras.layers.BatchNormalization(**options)(keras.layers.Flatten(**options)(images))
    hidden = keras.layers.Dense(4, activation="tanh", **options)(first)
    second = keras.layers.BatchNormalization(**options)(hidden)
    return nets.perturbed(keras.Model(images, keras.layers.Dense(nets.CLASSES, **options)(second)), seed)


@pytest.mark.parametrize("kind", ["two normalisations", *nets.NORMALISED])
def test_statistics_of_several_layers(kind):
    """The truth: a net with these weights in training mode, whose momentum of 0 leaves the statistics of its input."""
    if kind == "two normalisations":
        model_a, model_b, (x, y) = two_normalisations(2), two_normalisations(6), nets.examples()
    else:
        model_a, model_b, x, y = pair(kind)
    theta = [references.flat(model.trainable_variables) for model in (model_a, model_b)]
    line = interpolation.line(model_a, model_b, [0.4], x, y)
    middle = keras.models.clone_model(model_a)
    middle.dtype_policy = "float64"
    references.assign(middle, 0.6 * theta[0] + 0.4 * theta[1])
    for layer in middle.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    middle(x, training=True)
    assert line.loss[0] == pytest.approx(references.losses(middle, x, y).mean(), rel=1e-12)


def test_a_frozen_normalisation_keeps_its_statistics():
    """In training too it is a fixed affine map; a net with one behaves as Keras says at every α."""
    model_a, model_b, x, y = pair("normalised")
    for model in (model_a, model_b):
        model.get_layer("hidden_1_norm").trainable = False
    try:
        line = interpolation.line(model_a, model_b, [0.5], x, y)
        middle = keras.models.clone_model(model_a)
        middle.dtype_policy = "float64"
        weights = zip(model_a.get_weights(), model_b.get_weights(), strict=True)
        middle.set_weights([(a + b) / 2 for a, b in weights])
        assert line.loss[0] == pytest.approx(references.losses(middle, x, y).mean(), rel=1e-12)
    finally:
        for model in (model_a, model_b):
            model.get_layer("hidden_1_norm").trainable = True


def test_a_line_is_the_same_again():
    """Bit by bit, with dropout and normalisation in the net."""
    make = {"hidden": (4,), "batch_normalization": True, "dropout": 0.5}
    model_a, model_b = (nets.perturbed(nets.mlp(**make), seed) for seed in (2, 6))
    x, y = nets.examples()
    lines = [interpolation.line(model_a, model_b, [0.2, 0.8], x, y) for _ in range(2)]
    assert lines[0].loss.tobytes() == lines[1].loss.tobytes()


def nested(seed):
    """A net with a backbone, a model of its own, that normalises twice, the second time what was normalised before."""
    backbone = two_normalisations(seed)
    images = keras.Input(nets.SHAPE, dtype="float64")
    head = keras.layers.Dense(nets.CLASSES, dtype="float64")
    return nets.perturbed(keras.Model(images, head(backbone(images))), seed)


DEEP = {
    "nested": nested,
    "subclassed": lambda seed: nets.perturbed(nets.subclassed(normalised=True), seed),
    "two normalisations": two_normalisations,
}


@pytest.mark.parametrize("size", cases.some([4, None], 1))
@pytest.mark.parametrize("kind", cases.some(DEEP))
def test_statistics_at_every_depth_and_over_chunks(kind, size):
    """In nested and subclassed nets too; over chunks that do not divide the examples, to rounding."""
    (model_a, model_b), (x, y) = (DEEP[kind](seed) for seed in (2, 6)), nets.examples()
    theta = [references.flat(model.trainable_variables) for model in (model_a, model_b)]
    with nets.unchanged(model_a, model_b):
        line = interpolation.line(model_a, model_b, [0.4], x, y, chunk_size=size)
    middle = DEEP[kind](3)
    references.assign(middle, 0.6 * theta[0] + 0.4 * theta[1])
    for layer in middle._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    middle(x, training=True)  # leaves the statistics of x
    assert line.loss[0] == pytest.approx(references.losses(middle, x, y).mean(), rel=1e-12)


# What is refused


def test_normalisation_that_is_used_twice_is_refused():
    """It would have two means."""
    images = keras.Input((4,), dtype="float64")
    norm = keras.layers.BatchNormalization(dtype="float64")
    hidden = keras.layers.Dense(4, dtype="float64")(norm(images))
    model = keras.Model(images, keras.layers.Dense(3, dtype="float64")(norm(hidden)))
    with pytest.raises(ValueError, match="used more than once"):
        interpolation.line(model, model, [0.5], np.random.default_rng(0).random((5, 4)), np.arange(5) % 3)


def test_statistics_need_fitting_images():
    """Images of another shape are named."""
    model, x, y = Case("normalised").data
    with pytest.raises(ValueError, match=r"\[11, 2, 3\].*\[n, 3, 3\]"):
        interpolation.line(model, model, [0.5], x, y, statistics_x=x[:, :2])
