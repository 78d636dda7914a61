"""Tests of hw1.measures.interpolation: lines between nets, and the statistics of batch normalisation on them."""

import keras
import nets
import numpy as np
import pytest
import references

from hw1 import evaluation
from hw1.measures import interpolation

PAIRED = tuple(name for name in nets.NAMES if name != "frozen layer")


def pair(name, dtype="float64"):
    """The net of the table and another of its kind with other weights and statistics, and examples."""
    model, x, y = nets.case(name, dtype)
    options = {} if name in ("skip", "subclassed", "unused variable") else {"seed": 1}
    return model, nets.perturbed(nets.BUILDERS[name](dtype=dtype, **options), seed=6), x, y


def measured(model, x, y):
    """Loss and accuracy by the model itself."""
    return references.losses(model, x, y).mean(), references.accuracy(model, x, y)


@pytest.mark.parametrize("name", PAIRED)
def test_both_ends_are_the_trained_nets(name):
    """At α = 0 and α = 1 the nets themselves, exactly, with their own statistics; neither is changed."""
    model_a, model_b, x, y = pair(name)
    with nets.unchanged(model_a, model_b):
        line = interpolation.line(model_a, model_b, [1, 0, 1], x, y)
    expected = [measured(model, x, y) for model in (model_b, model_a, model_b)]
    # equal up to the order of a sum of eleven losses
    np.testing.assert_allclose(line.loss, [loss for loss, _ in expected], rtol=1e-14)
    np.testing.assert_array_equal(line.accuracy, [accuracy for _, accuracy in expected])
    assert abs(line.loss[0] - line.loss[1]) > 0.01


@pytest.mark.parametrize("name", [name for name in PAIRED if name not in nets.NORMALISED])
def test_points_are_the_nets_with_these_weights(name):
    """θ_α = (1 − α) θ_a + α θ_b set by hand; outside of [0, 1] the line goes on."""
    model_a, model_b, x, y = pair(name)
    theta_a, theta_b = (references.flat(model.trainable_variables) for model in (model_a, model_b))
    alphas = [-1, 0.5, 0.25, 2]
    with nets.unchanged(model_a, model_b):
        line = interpolation.line(model_a, model_b, alphas, x, y)
    for alpha, loss, accuracy in zip(alphas, line.loss, line.accuracy, strict=True):
        with references.moved(model_a, (1 - alpha) * theta_a + alpha * theta_b):
            expected = measured(model_a, x, y)
        assert loss == pytest.approx(expected[0], rel=1e-12)
        assert accuracy == expected[1]


def test_a_frozen_layer_is_interpolated_too():
    """It is among the variables that are not trained, but floating point."""
    model_a, x, y = nets.case("frozen layer")
    model_b = nets.frozen(dtype="float64", seed=1)
    line = interpolation.line(model_a, model_b, [0.3], x, y)
    middle = nets.frozen(dtype="float64")
    weights = zip(model_a.get_weights(), model_b.get_weights(), strict=True)
    middle.set_weights([0.7 * a + 0.3 * b for a, b in weights])
    assert line.loss[0] == pytest.approx(measured(middle, x, y)[0], rel=1e-12)


def test_a_line_from_a_net_to_itself_is_flat():
    """For any α."""
    model, x, y = nets.case("gelu")
    line = interpolation.line(model, model, np.linspace(-1, 2, 7), x, y)
    np.testing.assert_allclose(line.loss, measured(model, x, y)[0], rtol=1e-12)


def test_another_loss():
    """Without labels there is no accuracy."""
    model_a, model_b, x, y = pair("tanh")
    targets = np.eye(nets.CLASSES)[y]
    line = interpolation.line(model_a, model_b, [0, 1], x, targets, loss=keras.losses.mean_squared_error)
    expected = [np.mean((targets - np.asarray(model(x))) ** 2) for model in (model_a, model_b)]
    np.testing.assert_allclose(line.loss, expected, rtol=1e-13)
    assert np.isnan(line.accuracy).all()


# Batch normalisation


def forward(weights, x):
    """The normalised net of the table in NumPy, with means and variances of all of x; ReLU behind the normalisation."""
    kernel, bias, gamma, beta, kernel_2, bias_2 = weights
    hidden = x.reshape(len(x), -1) @ kernel + bias
    hidden = (hidden - hidden.mean(axis=0)) / np.sqrt(hidden.var(axis=0) + 1e-3) * gamma + beta
    return np.maximum(hidden, 0) @ kernel_2 + bias_2


def numpy_loss(logits, y):
    """Mean cross-entropy in NumPy."""
    return -np.log(references.softmax(logits)[np.arange(len(y)), y]).mean()


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("alpha", [0.5, -0.7, 1.6])
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


@pytest.mark.parametrize("name", ["two normalisations", *nets.NORMALISED])
def test_statistics_of_several_layers(name):
    """The truth: a net with these weights in training mode, whose momentum of 0 leaves the statistics of its input."""
    if name == "two normalisations":
        model_a, model_b, (x, y) = two_normalisations(2), two_normalisations(6), nets.examples()
    else:
        model_a, model_b, x, y = pair(name)
    theta = [references.flat(model.trainable_variables) for model in (model_a, model_b)]
    line = interpolation.line(model_a, model_b, [0.4], x, y)
    middle = keras.models.clone_model(model_a)
    middle.dtype_policy = "float64"
    references.assign(middle, 0.6 * theta[0] + 0.4 * theta[1])
    for layer in middle.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    middle(x, training=True)
    assert line.loss[0] == pytest.approx(measured(middle, x, y)[0], rel=1e-12)


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
        assert line.loss[0] == pytest.approx(measured(middle, x, y)[0], rel=1e-12)
    finally:
        model_a.get_layer("hidden_1_norm").trainable = True


def test_a_line_is_the_same_again():
    """Bit by bit, with dropout and normalisation in the net."""
    make = {"hidden": (4,), "batch_normalization": True, "dropout": 0.5}
    model_a, model_b = (nets.perturbed(nets.mlp(**make), seed) for seed in (2, 6))
    x, y = nets.examples()
    lines = [interpolation.line(model_a, model_b, [0.2, 0.8], x, y) for _ in range(2)]
    assert lines[0].loss.tobytes() == lines[1].loss.tobytes()


# Unfit arguments


def relu_net():
    """The 9-4-3 ReLU net in float64, to which the others differ."""
    return nets.perturbed(nets.mlp((4,), dtype="float64"), 1)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: nets.mlp((5,), dtype="float64"), ["architecture", "(9, 4)", "(9, 5)"]),
        (lambda: nets.mlp((4, 3), dtype="float64"), ["architecture"]),
        (lambda: nets.mlp((4,), use_bias=False, dtype="float64"), ["architecture"]),
        (
            lambda: nets.perturbed(nets.mlp((4,), activation="tanh", dtype="float64"), 1),
            ["architecture", "activations"],
        ),
    ],
    ids=["width", "depth", "bias", "activation"],
)
def test_nets_that_differ(other, words):
    """Also where all shapes agree but the functions do not: the end at α = 1 would be no net at all."""
    x, y = nets.examples()
    with pytest.raises(ValueError, match="differ in architecture") as caught:
        interpolation.line(relu_net(), other(), [0, 1], x, y)
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_frozen_and_a_free_net_differ():
    """Their trainable variables do not correspond."""
    free, x, y = nets.case("frozen layer")
    with pytest.raises(ValueError, match="differ in architecture"):
        interpolation.line(nets.mlp(activation="tanh", dtype="float64"), free, [0.5], x, y)


@pytest.mark.parametrize("alphas", [[], [[0.1, 0.2]], [np.nan], [np.inf]], ids=str)
def test_alphas_are_finite_numbers(alphas):
    """One or more, in a row."""
    model, x, y = nets.case("tanh")
    with pytest.raises(ValueError, match="alphas must be one or more finite numbers"):
        interpolation.line(model, model, alphas, x, y)


def test_hidden_normalisation_is_refused():
    """A subclassed net shows its layers, not how they are called: its statistics cannot be computed anew."""
    model, (x, y) = nets.subclassed(normalised=True), nets.examples()
    with pytest.raises(ValueError, match=r"hides its BatchNormalization .*Sequential or Functional"):
        interpolation.line(model, model, [0.5], x, y)


def test_statistics_need_fitting_images():
    """Images of another shape are named."""
    model, x, y = nets.case("normalised")
    with pytest.raises(ValueError, match=r"\[11, 2, 3\].*\[n, 3, 3\]"):
        interpolation.line(model, model, [0.5], x, y, statistics_x=x[:, :2])


# Planes


@pytest.mark.parametrize("name", ["tanh", "convolutional", "normalised", "skip"])
def test_a_plane_through_three_nets_has_their_losses(name):
    """At the three coordinates stand the three nets, and between them what a net with these weights has."""
    model, x, y = nets.case(name)
    theta = references.flat(model.trainable_variables)
    rng = np.random.default_rng(2)
    points = [theta, *(theta + rng.normal(size=(2, len(theta))))]
    first, second = interpolation.through(*points)
    np.testing.assert_allclose([first @ first, second @ second, first @ second], [1, 1, 0], atol=1e-14)
    u, v = (np.array([(point - theta) @ direction for point in points]) for direction in (first, second))
    np.testing.assert_allclose([u[1], v[0], v[1]], [np.linalg.norm(points[1] - theta), 0, 0], atol=1e-12)
    assert v[2] > 0
    with nets.unchanged(model):
        found = interpolation.plane(model, first, second, u, v, x, y)
        recompute = interpolation.statistics(model, x)
    assert found.loss.shape == found.accuracy.shape == (3, 3)
    for index, point in enumerate(points):
        with references.moved(model, point):
            loss, accuracy = measured(model, x, y)
            if recompute is not None and index:  # its statistics are those of the data, as `line` has them
                parameters, state = evaluation.variables(model)
                example = evaluation.check(model, x, y)
                state = recompute(parameters, state)
                loss, accuracy = evaluation.evaluate_at(parameters, state, model, example)
        assert found.loss[index, index] == pytest.approx(loss, rel=1e-10)
        assert found.accuracy[index, index] == accuracy


def test_a_plane_of_a_quadratic():
    """L = ½ θᵀHθ + 1 along two axes."""
    hesse, at = np.diag([3.0, -5.0, 1.0]), np.array([0.1, 0.2, 0.3])
    model, x, y, loss = nets.quadratic(hesse, np.zeros(3), at)
    u, v = [-1.0, 0.0, 2.0], [0.5, 0.0]
    found = interpolation.plane(model, np.eye(3)[0], np.eye(3)[1], u, v, x, y, loss)
    moved = [[at + np.array([i, j, 0]) for i in u] for j in v]
    expected = [[theta @ hesse @ theta / 2 + 1 for theta in row] for row in moved]
    np.testing.assert_allclose(found.loss, expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["tanh", "convolutional", "normalised", "no bias"])
def test_filters_of_a_normalised_direction(name):
    """Each filter, indexed by the kernel's last axis, has the norm of the net's; what has one axis stays."""
    model, *_ = nets.case(name)
    direction = interpolation.filter_normalised(model, seed=3)
    start = 0
    for weights in map(np.asarray, model.trainable_variables):
        part = direction[start : start + weights.size].reshape(weights.shape)
        start += weights.size
        if weights.ndim == 1:
            assert not part.any()
            continue
        for unit in range(weights.shape[-1]):
            assert np.sqrt((part[..., unit] ** 2).sum()) == pytest.approx(np.sqrt((weights[..., unit] ** 2).sum()))
    assert np.abs(direction - interpolation.filter_normalised(model, seed=4)).max() > 0.01


def test_unfit_planes():
    """Three points on a line, and directions of another length."""
    model, x, y = nets.case("tanh")
    with pytest.raises(ValueError, match="on one line"):
        interpolation.through(np.zeros(3), np.ones(3), 2 * np.ones(3))
    with pytest.raises(ValueError, match="on one line"):
        interpolation.through(np.zeros(3), np.zeros(3), np.ones(3))
    with pytest.raises(ValueError, match=r"shape \[55\], not \[54\]"):
        interpolation.plane(model, np.ones(55), np.ones(54), [0], [0], x, y)
    with pytest.raises(ValueError, match="v must be"):
        interpolation.plane(model, np.ones(55), np.ones(55), [0], [np.inf], x, y)
