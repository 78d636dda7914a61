"""Hidden units in another net's order: nets that are permuted by hand, layer by layer, and searches by brute force."""

import functools
import itertools

import cases
import keras
import nets
import numpy as np
import pytest

from hw1.measures import alignment
from hw1.measures.units import Graph

L = keras.layers
BOTH = pytest.mark.parametrize("by", alignment.METHODS)


def rows(order):
    """What an order of units does to the weights that take them in, a kernel [..., units, outputs] and a bias."""
    return lambda kernel, *others: [np.take(kernel, order, axis=-2), *others]


def columns(order):
    """What it does to weights whose last axis counts the units, such as kernel and bias, or statistics."""
    return lambda *weights: [np.take(weight, order, axis=-1) for weight in weights]


def places(order, count):
    """The order of flattened images of `count` places."""
    return np.concatenate([place * len(order) + order for place in range(count)])


def image():
    """Convolution, normalisation, a slope for each unit at each place, flattening, normalisation, a dense layer."""
    layers = [L.Conv2D(4, 2, name="conv"), L.BatchNormalization(name="norm"), L.PReLU(name="slopes"), L.Flatten()]
    layers += [L.BatchNormalization(name="norm_2"), L.Dense(3, name="head")]
    model = keras.Sequential([keras.Input((3, 3, 2)), *layers])
    return keras.Model(model.inputs[0], model.outputs[0])


def of_image(order):
    """The layers of `image`, its channels in an order."""
    flat = places(order, 4)
    return {"conv": columns(order), "norm": columns(order), "slopes": columns(order)} | {
        "norm_2": columns(flat),
        "head": rows(flat),
    }


def skip():
    """Scaled inputs of four features; a sum of two layers, which share one order."""
    x = keras.Input((4,))
    scaled = L.Normalization(mean=[1.0, 2, 3, 4], variance=[1.0, 2, 1, 2])(x)
    first = L.Dense(4, "relu", name="first")(L.Rescaling([1.0, 2.0, 1.0, 0.5])(scaled))
    total = L.Add()([first, L.Dense(4, "tanh", name="second")(first)])
    return keras.Model(x, L.Dense(3, name="head")(L.LayerNormalization(name="norm")(total)))


def of_skip(order):
    """The second layer goes from these units to these units."""
    second = [columns(order), rows(order)]
    return {"first": columns(order), "norm": columns(order), "head": rows(order)} | {
        "second": lambda *weights: second[1](*second[0](*weights))
    }


def joined():
    """Two inputs and two outputs; the hidden units stand before raw inputs in one tensor."""
    x, z = keras.Input((3,), name="z"), keras.Input((2,), name="a")
    hidden = L.Concatenate()([L.Dense(4, "relu", name="hidden")(x), z])
    return keras.Model({"z": x, "a": z}, {"one": L.Dense(3, name="one")(hidden), "two": L.Dense(2, name="two")(hidden)})


def of_joined(order):
    """The raw inputs keep their places behind the units."""
    taken = np.append(order, [4, 5])
    return {"hidden": columns(order), "one": rows(taken), "two": rows(taken)}


def sequence():
    """A convolution in time that is used twice, on a sequence that is masked."""
    x = keras.Input((5, 2))
    hidden = L.Conv1D(4, 2, activation="relu", name="conv")(L.Masking()(x))
    twice = L.Conv1D(4, 2, padding="causal", activation="tanh", name="twice")
    return keras.Model(x, L.Dense(3, name="head")(L.GlobalAveragePooling1D()(twice(twice(hidden)))))


def of_sequence(order):
    """All layers have one order, because that which is used twice gives what it takes."""
    return {"conv": columns(order), "head": rows(order)} | {
        "twice": lambda *weights: rows(order)(*columns(order)(*weights))
    }


NETS = {"image": (image, of_image), "skip": (skip, of_skip), "joined": (joined, of_joined)}
NETS |= {"sequence": (sequence, of_sequence)}


@functools.cache
def pair(kind):
    """Two nets of a kind with random weights and statistics."""
    found = []
    for seed in (1, 3):
        model, rng = nets.with_random_weights(NETS[kind][0](), np.random.default_rng(seed)), np.random.default_rng(seed)
        for variable in model.non_trainable_variables:
            if "moving" in variable.path:
                variable.assign(0.5 + rng.random(variable.shape))
        found.append(model)
    return found


def examples(model, n=40):
    """Random inputs."""
    rng = np.random.default_rng(0)
    return keras.tree.map_structure(lambda tensor: rng.normal(size=(n, *tensor.shape[1:])), model.input)


def reordered(kind, model, order, copy=None):
    """A copy of a net, permuted by hand; or `copy`, overwritten."""
    copy = copy or NETS[kind][0]()
    copy.set_weights(model.get_weights())
    for name, change in NETS[kind][1](np.array(order)).items():
        copy.get_layer(name).set_weights(change(*model.get_layer(name).get_weights()))
    return copy


def outputs(model, x):
    """All outputs, side by side."""
    return np.concatenate(keras.tree.flatten(model.predict(x, verbose=0)), axis=-1)


# Every kind in one of the two ways, and then in the other.
ALTERNATING = [(kind, alignment.METHODS[(at + other) % 2]) for other in (0, 1) for at, kind in enumerate(NETS)]


@pytest.mark.parametrize(("kind", "by"), cases.some(ALTERNATING, len(NETS)))
def test_a_net_that_was_permuted_by_hand_comes_back(kind, by):
    """All its variables, the statistics among them."""
    model = pair(kind)[0]
    copy, x = reordered(kind, model, [2, 0, 3, 1]), examples(model)
    np.testing.assert_allclose(outputs(copy, x), outputs(model, x), rtol=1e-4, atol=1e-5)
    assert any((a != b).any() for a, b in zip(copy.get_weights(), model.get_weights(), strict=True))
    with nets.unchanged(model, copy):
        found = alignment.match(model, copy, x, by=by)
    for ours, theirs in zip(found.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def distance(model_a, model_b):
    """‖θ_a − θ_b‖, without statistics."""
    pairs = zip(model_a.trainable_variables, model_b.trainable_variables, strict=True)
    return np.sqrt(sum(np.sum((np.asarray(a, "float64") - np.asarray(b, "float64")) ** 2) for a, b in pairs))


@pytest.mark.parametrize("kind", NETS)
def test_the_nearest_of_all_orders(kind):
    """By weights, over all 24 orders; where a kernel has the units on both axes the search may end before it."""
    model_a, model_b = pair(kind)
    found = alignment.match(model_a, model_b)
    orders, copy = itertools.permutations(range(4)), NETS[kind][0]()
    best = min(distance(model_a, reordered(kind, model_b, order, copy)) for order in orders)
    if kind in ("image", "joined"):
        assert distance(model_a, found) == pytest.approx(best, rel=1e-6)
    else:
        assert best * (1 - 1e-6) <= distance(model_a, found) <= distance(model_a, model_b)
    assert best < distance(model_a, model_b) - 0.1
    x = examples(model_b)
    np.testing.assert_allclose(outputs(found, x), outputs(model_b, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", NETS)
def test_which_layers_keep_their_order(kind):
    """The outputs."""
    model = pair(kind)[0]
    graph = Graph(model, [array[:1] for array in keras.tree.flatten(examples(model))])
    moving, kept = graph.split()
    heads = ["two", "one"] if kind == "joined" else ["head"]
    assert sorted(kept) == sorted(heads)
    assert set(moving) == {layer.name for layer in model.layers if hasattr(layer, "kernel")} - set(heads)


def test_averages_that_inference_does_not_use_move_too():
    """Those of batch renormalisation."""

    def build():
        norm = L.BatchNormalization(renorm=True, name="norm")
        return keras.Sequential([keras.Input((4,)), L.Dense(4, name="hidden"), norm, L.Dense(3, name="head")])

    model = nets.with_random_weights(build(), np.random.default_rng(1))
    for number, variable in enumerate(model.non_trainable_variables):
        variable.assign(0.5 + np.random.default_rng(number).random(4))
    copy, order = build(), [2, 0, 3, 1]
    copy.set_weights(model.get_weights())
    for name, change in {"hidden": columns(order), "norm": columns(order), "head": rows(order)}.items():
        copy.get_layer(name).set_weights(change(*model.get_layer(name).get_weights()))
    for ours, theirs in zip(alignment.match(model, copy).get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@BOTH
def test_nets_that_were_built_in_other_steps(by):
    """An activation as a layer of its own, and one that does nothing."""
    steps = [L.Dense(4), L.Activation("relu"), L.Activation("linear")], [L.Dense(4, "relu")]
    model, copy = (keras.Sequential([keras.Input((3,)), *layers, L.Dense(3)]) for layers in steps)
    nets.with_random_weights(model, np.random.default_rng(1))
    (kernel, bias, *head), order = model.get_weights(), [2, 0, 3, 1]
    copy.set_weights([*columns(order)(kernel, bias), *rows(order)(*head)])
    found = alignment.match(model, copy, np.random.default_rng(0).normal(size=(9, 3)), by=by)
    assert len(found.layers) == 2
    for ours, theirs in zip(found.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_is_refused():
    """Channels first, of which nothing would be permuted; one example; a layer that has no weights yet."""
    model = keras.Sequential([keras.Input((2, 3, 3)), L.Conv2D(4, 2, data_format="channels_first", name="odd")])
    model.add(L.Flatten())
    model.add(L.Dense(3))
    with cases.refused("odd", "channels first"):
        alignment.match(model, model)
    model = keras.Sequential([keras.Input((3,)), L.Dense(4), L.Dense(3)])
    with cases.refused("one example"):
        alignment.match(model, model, np.ones((1, 3)), by="activations")
    model = keras.Sequential([keras.Input((3,)), L.Dense(4, activation=L.PReLU(), name="odd"), L.Dense(3)])
    with cases.refused("odd", "not built"):
        alignment.match(model, model)
