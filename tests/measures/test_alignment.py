"""Hidden units in another net's order: permuted copies are found back, and what cannot be permuted is named."""

import functools
import itertools

import cases
import keras
import nets
import numpy as np
import pytest
import references

from hw1 import models
from hw1.measures import alignment, interpolation
from hw1.measures.units import Graph

L = keras.layers


def permuted_dense(model, orders):
    """The weights of a chain of dense layers, with batch normalisation perhaps, in NumPy: each layer's units reordered.

    Takes the orders of the hidden layers; of a flattened convolution the channels are the last axis of its places.
    """
    weights, given, orders = [], None, [*orders, None]
    for layer in model.layers:
        own = layer.get_weights()
        if isinstance(layer, L.Flatten) and given is not None:
            places = int(np.prod(layer.input.shape[1:-1]))
            given = np.concatenate([place * len(given) + given for place in range(places)])
        if isinstance(layer, L.Dense | L.Conv2D):
            kernel, *bias = own
            axis = kernel.ndim - 2
            kernel = kernel if given is None else np.take(kernel, given, axis=axis)
            given = orders.pop(0)
            own = [kernel, *bias] if given is None else [kernel[..., given], *(b[given] for b in bias)]
        elif isinstance(layer, L.BatchNormalization):
            own = [vector[given] for vector in own]
        weights += own
    return weights


def with_weights(build, weights):
    """A net of these weights."""
    model = build()
    model.set_weights(weights)
    return model


CHAINS = {
    "dense": (functools.partial(nets.mlp, (6, 5), dtype="float64"), (6, 5)),
    "convolutional": (
        functools.partial(nets.cnn, (4, 5), dense=(6,), batch_normalization=True, dtype="float64"),
        (4, 5, 6),
    ),
    "single precision": (functools.partial(nets.mlp, (6, 5)), (6, 5)),
    "no bias, gelu": (functools.partial(nets.mlp, (7,), activation="gelu", use_bias=False, dtype="float64"), (7,)),
    "normalised": (
        functools.partial(nets.mlp, (6, 5), batch_normalization=True, dropout=0.3, dtype="float64"),
        (6, 5),
    ),
}


def images(model, n=60):
    """Random inputs of a net, in its precision."""
    return np.random.default_rng(4).normal(size=(n, *model.input_shape[1:])).astype(model.variables[0].dtype)


# Kinds of nets in both ways; the first meet both.
FOUND = [("convolutional", "weights"), ("dense", "activations")]
FOUND += [pair for pair in itertools.product(CHAINS, alignment.METHODS) if pair not in FOUND]


@pytest.mark.parametrize(("kind", "by"), cases.some(FOUND))
def test_a_permuted_copy_is_found_back(kind, by):
    """Exactly, both ways; on the line between them the loss is then constant, and before it is not."""
    build, widths = CHAINS[kind]
    model, rng = nets.perturbed(build(), 3), np.random.default_rng(1)
    orders = [rng.permutation(width) for width in widths]
    copy = with_weights(build, permuted_dense(model, orders))
    x = images(model)
    y = np.arange(len(x)) % 3
    np.testing.assert_allclose(copy(x), model(x), rtol=1e-4, atol=1e-5)
    for first, second in ((model, copy), (copy, model)):
        with nets.unchanged(first, second):
            found = alignment.match(first, second, x, by=by)
        for ours, theirs in zip(found.get_weights(), first.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert interpolation.barrier(first, found, x, y).loss_barrier == pytest.approx(0, abs=1e-6)
    assert np.ptp(interpolation.barrier(model, copy, x, y).loss) > 1e-3


def square(own):
    """θ_a · θ_b of the trainable variables of two nets."""
    return sum(float(np.sum(np.asarray(a) * np.asarray(b))) for a, b in zip(*own, strict=True))


def best_by_force(model_a, model_b):
    """The largest θ_a · θ_b of nets with one hidden layer of four units, over all 24 orders."""
    values = []
    for order in map(list, itertools.permutations(range(4))):
        kernel, bias, kernel_2, bias_2 = model_b.get_weights()
        values.append(square((model_a.get_weights(), (kernel[:, order], bias[order], kernel_2[order], bias_2))))
    return max(values)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_layer_against_all_orders(seed):
    """With one hidden layer the assignment is the best of all."""
    model_a, model_b = (nets.perturbed(nets.mlp((4,), dtype="float64"), number) for number in (seed, seed + 10))
    found = alignment.match(model_a, model_b)
    own = square((model_a.get_weights(), found.get_weights()))
    assert own == pytest.approx(best_by_force(model_a, model_b), rel=1e-12)


def test_activations_against_numpy():
    """The pairs of units of one layer by NumPy's correlations, before and after the activation."""
    model_a, model_b = (nets.perturbed(nets.mlp((5,), activation="tanh", dtype="float64"), seed) for seed in (1, 2))
    x = images(model_a, 300)  # more than one chunk
    hidden = [
        x.reshape(len(x), -1) @ np.asarray(m.layers[1].kernel) + np.asarray(m.layers[1].bias)
        for m in (model_a, model_b)
    ]
    matrix = sum(np.corrcoef(*(function(part).T for part in hidden))[:5, 5:] for function in (np.asarray, np.tanh))
    best = max(itertools.permutations(range(5)), key=lambda order: matrix[np.arange(5), order].sum())
    found = alignment.match(model_a, model_b, x, by="activations")
    np.testing.assert_array_equal(found.layers[1].kernel, np.asarray(model_b.layers[1].kernel)[:, best])


# Graphs


def residual():
    """A convolutional net with skip connections, one of them an operation, and a layer that is used twice."""
    x = keras.Input((6, 6, 2))
    stem = L.BatchNormalization()(L.Conv2D(5, 3, padding="same")(x))
    block = L.Conv2D(7, 1)(L.Activation("relu")(stem))
    joined = L.Add()([stem, L.Conv2D(5, 3, padding="same", activation="tanh")(block)])
    twice = L.Conv2D(5, 1, activation="softsign")
    joined = twice(L.MaxPooling2D(2)(joined)) + L.AveragePooling2D(2)(joined)
    hidden = L.LayerNormalization()(L.Dense(6)(L.Flatten()(twice(joined))))
    return keras.Model(x, L.Dense(3, activation="softmax")(L.PReLU()(hidden)))


def nested():
    """Models within a model, with a concatenation between them, and inputs that skip all of it."""
    x = keras.Input((4,))
    backbone = keras.Sequential([keras.Input((4,)), L.Dense(5, "elu"), L.Dropout(0.5), L.Dense(4)], name="backbone")
    y = L.Concatenate()([L.Dense(6, "relu")(x), backbone(x), x])
    return keras.Model(x, L.Dense(3)(keras.Sequential([keras.Input((14,)), L.Dense(5, "tanh")])(y)))


def summed_inputs():
    """A hidden layer that is added to the inputs: its units must stay, those of the next may move."""
    x = keras.Input((5,))
    y = L.Add()([L.Dense(5, "relu")(x), x])
    return keras.Model(x, L.Dense(3)(L.Dense(4, "relu")(y)))


def reshaped():
    """Reshaped inputs, which are not permuted, and no channels given."""
    return models.cnn((3,), (3,), (), input_shape=(6, 6), classes=3, pools=(2,))


GRAPHS = {
    "residual": (residual, 3),
    "nested": (nested, 4),
    "summed inputs": (summed_inputs, 1),
    "reshaped": (reshaped, 1),
}
# Every kind in one of the two ways, and then in the other.
ALTERNATING = [(kind, alignment.METHODS[(at + other) % 2]) for other in (0, 1) for at, kind in enumerate(GRAPHS)]


@pytest.mark.parametrize(("kind", "by"), cases.some(ALTERNATING, len(GRAPHS)))
def test_graphs(kind, by):
    """The same function, no farther away; a copy in a random order comes back."""
    build, groups = GRAPHS[kind]
    model_a, model_b = (nets.perturbed(build(), seed) for seed in (1, 2))
    x = images(model_a)
    graph, rng = Graph(model_a, [x[:1]]), np.random.default_rng(0)
    assert len(graph.free()) == groups
    with nets.unchanged(model_a, model_b):
        found = alignment.match(model_a, model_b, x, by=by)
    np.testing.assert_allclose(found(x), model_b(x), rtol=1e-3, atol=1e-4)
    if by == "weights":
        theta = [references.flat(model.trainable_variables) for model in (model_a, model_b, found)]
        assert np.linalg.norm(theta[0] - theta[2]) <= np.linalg.norm(theta[0] - theta[1]) * (1 + 1e-6)
    orders = {group: rng.permutation(graph.sizes[group]) for group in graph.free()}
    weights = [graph.permuted(number, np.asarray(v), orders) for number, v in enumerate(model_a.variables)]
    copy = build()
    for variable, value in zip(copy.variables, weights, strict=True):
        variable.assign(value)
    np.testing.assert_allclose(copy(x), model_a(x), rtol=1e-3, atol=1e-4)
    back = alignment.match(model_a, copy, x, by=by)
    for ours, theirs in zip(back.trainable_variables, model_a.trainable_variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_several_inputs_by_name():
    """A dict of arrays; without them random ones serve."""

    def build():
        a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
        return keras.Model({"b": b, "a": a}, L.Dense(3)(L.Dense(5, "relu")(L.Concatenate()([a, b]))))

    model_a, model_b = (nets.with_random_weights(build(), np.random.default_rng(seed)) for seed in (1, 2))
    rng = np.random.default_rng(0)
    x = {"a": rng.random((9, 3)), "b": rng.random((9, 2))}
    for given in (x, None):
        found = alignment.match(model_a, model_b, given)
        np.testing.assert_allclose(found(x), model_b(x), rtol=1e-4, atol=1e-5)


# What is refused


def chain(*layers, shape=(4,), dtype="float32"):
    """A net of these layers with three outputs."""
    return keras.Sequential([keras.Input(shape, dtype=dtype), *layers, L.Dense(3, name="head")])


REFUSED = {
    "softmax": (lambda: chain(L.Dense(4, activation="softmax", name="odd")), "odd"),
    "softmax layer": (lambda: chain(L.Dense(4), L.Softmax(name="odd")), "odd"),
    "activation layer": (lambda: chain(L.Dense(4), L.Activation("softmax", name="odd")), "odd"),
    "own function": (
        lambda: chain(L.Dense(4, activation=lambda z: keras.ops.cumsum(z, axis=-1), name="odd")),
        "odd",
    ),
    "LSTM": (lambda: chain(L.LSTM(4, name="odd"), shape=(3, 4)), "odd"),
    "group normalisation": (lambda: chain(L.Dense(4), L.GroupNormalization(2, name="odd")), "odd"),
    "reshape": (lambda: chain(L.Dense(4), L.Reshape((2, 2), name="odd"), L.Flatten()), "odd"),
    "permute": (lambda: chain(L.Dense(4), L.Permute((2, 1), name="odd"), L.Flatten(), shape=(3, 4)), "odd"),
    "channels of groups": (
        lambda: chain(L.Conv2D(4, 1), L.Conv2D(4, 1, groups=2, name="odd"), L.Flatten(), shape=(3, 3, 2)),
        "odd",
    ),
    "depthwise": (lambda: chain(L.DepthwiseConv2D(1, name="odd"), L.Flatten(), shape=(3, 3, 2)), "odd"),
    "embedding": (lambda: chain(L.Embedding(4, 3, name="odd"), L.Flatten(), dtype="int32"), "odd"),
    "other axis": (
        lambda: chain(L.Dense(4), L.BatchNormalization(axis=1, name="odd"), L.Flatten(), shape=(3, 4)),
        "odd",
    ),
    "lambda": (lambda: chain(L.Dense(4), L.Lambda(lambda z: z[:, ::-1], name="odd")), "odd"),
    "wrapper": (lambda: chain(L.TimeDistributed(L.Dense(4), name="odd"), L.Flatten(), shape=(3, 4)), "odd"),
    "class": (lambda: nets.subclassed(dtype="float32"), "written as a class"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_permuted_is_named(kind):
    """In one line."""
    build, name = REFUSED[kind]
    model = build()
    with cases.refused(name):
        alignment.match(model, model)


def test_attention_is_named():
    """It mixes the units of its heads."""
    x = keras.Input((3, 4))
    model = keras.Model(x, L.Dense(3)(L.Flatten()(L.MultiHeadAttention(2, 3, name="odd")(x, x))))
    with cases.refused("odd", "MultiHeadAttention"):
        alignment.match(model, model)


def test_what_does_not_fit():
    """Other architectures, an unknown way, no activations to compare."""
    model = nets.mlp((4,))
    for other in (nets.mlp((5,)), nets.mlp((4, 3)), nets.mlp((4,), activation="tanh")):
        with cases.refused("differ in architecture"):
            alignment.match(nets.perturbed(model, 1), nets.perturbed(other, 2))
    with pytest.raises(ValueError, match="by must be one of"):
        alignment.match(model, model, by="luck")
    with pytest.raises(ValueError, match="x is missing"):
        alignment.match(model, model, by="activations")
    with pytest.raises(TypeError, match=r"keras\.Model"):
        alignment.match(model, None)
    with pytest.raises(ValueError, match="takes"):
        alignment.match(model, model, np.zeros((3, 5)))
