"""Which layer owns which variable: in nets of every kind, against the places that change when one layer changes."""

import keras
import nets
import numpy as np
import pytest
import references

from hw1.evaluation import layers

L = keras.layers


class Residual(L.Layer):
    """x + fc(x): a layer within a layer."""

    def __init__(self, **options):
        """Makes the layer within."""
        super().__init__(**options)
        self.fc = L.Dense(4, name="fc")

    def call(self, x):
        """From [n, 4] to [n, 4]."""
        return x + self.fc(x)


class Bilinear(L.Layer):
    """A layer with weights of its own, two of which have one name."""

    def build(self, shape):
        """Makes them."""
        self.left = self.add_weight(shape=(4, 2), name="kernel")
        self.right = self.add_weight(shape=(4, 2), name="kernel")

    def call(self, x):
        """From [n, 4] to [n, 2]."""
        return keras.ops.matmul(x, self.left) * keras.ops.matmul(x, self.right)


class Written(keras.Model):
    """A net that calls what it is given one after the other, and holds a weight itself."""

    def __init__(self, *parts, name):
        """Keeps the parts in a list in a dictionary."""
        super().__init__(name=name)
        self.parts = {"all": [list(parts)]}
        self.scale = self.add_weight(shape=(4,), name="scale")

    def call(self, x):
        """From [n, 4]."""
        x = x * self.scale
        for part in self.parts["all"][0]:
            x = part(x)
        return x


class Stray(keras.Model):
    """A net that trains a variable of no layer."""

    def __init__(self):
        """Makes a layer, and hides a variable from Keras."""
        super().__init__(name="stray")
        self.dense = L.Dense(2, name="dense")
        self.hidden = (lambda variable: lambda: variable)(keras.Variable(np.ones(3, "float32"), name="somewhere"))

    @property
    def trainable_variables(self):
        """The variable before those that Keras finds."""
        return [self.hidden(), *super().trainable_variables]

    def call(self, x):
        """From [n, 4] to [n, 2]."""
        return self.dense(x) * keras.ops.sum(self.hidden())


def built(model, shape=(4,)):
    """The model after a call on one example."""
    model(np.ones((1, *shape), "float32"))
    return model


def block(name, *parts):
    """A Sequential of dense layers of these names."""
    return keras.Sequential([keras.Input((4,)), *(L.Dense(4, name=part) for part in parts)], name=name)


def sequential():
    """A plain net."""
    model = nets.mlp(batch_normalization=True)
    return model, {layer.name: layer for layer in model.layers if layer.weights}


def nested():
    """Blocks with the same names within."""
    one, two, head = block("block_1", "fc1", "fc2"), block("block_2", "fc1", "fc2"), L.Dense(3, name="head")
    return keras.Sequential([keras.Input((4,)), one, two, head]), {
        "block_1/fc1": one.layers[0],
        "block_1/fc2": one.layers[1],
        "block_2/fc1": two.layers[0],
        "block_2/fc2": two.layers[1],
        "head": head,
    }


def same_paths():
    """Different layers with one path, at several depths."""
    one, two, three = (Residual(name="res") for _ in range(3))
    model = built(Written(one, Written(two, L.Dense(4, name="res"), name="res"), three, name="written"))
    inner = model.parts["all"][0][1]
    return model, {
        "written": [model.scale],
        "res/fc": one.fc,
        "res": [inner.scale],
        "res/res/fc": two.fc,
        "res/res": inner.parts["all"][0][1],
        "res/fc_2": three.fc,
    }


def taken_names():
    """Two layers a, and one that is called a_2."""
    first, second, third = L.Dense(4, name="a"), L.Dense(4, name="a"), L.Dense(4, name="a_2")
    model = built(Written(first, second, third, name="written"))
    return model, {"written": [model.scale], "a": first, "a_3": second, "a_2": third}


def shared():
    """One layer in three places, one of them in a model within."""
    inside, head, x = L.Dense(4, name="inside"), L.Dense(3, name="head"), keras.Input((4,))
    one = keras.Sequential([keras.Input((4,)), inside], name="one")
    return keras.Model(x, head(inside(one(inside(x))))), {"inside": inside, "head": head}


def attention():
    """The projections of attention."""
    x, layer, head = keras.Input((3, 4)), L.MultiHeadAttention(2, 2, name="attention"), L.Dense(3, name="head")
    model = keras.Model(x, head(L.Flatten()(layer(x, x))))
    parts = ("query", "key", "value", "attention_output")
    found = {part: [v for v in layer.weights if part in v.path.split("/")] for part in parts}
    return model, {"head": head} | {f"attention/{part}": variables for part, variables in found.items()}


def recurrent():
    """Cells in layers in wrappers."""
    both = L.Bidirectional(L.LSTM(2, return_sequences=True, name="lstm"), name="both")
    each = L.TimeDistributed(L.Dense(3, name="dense"), name="each")
    cells = L.GRUCell(2, name="gru"), L.SimpleRNNCell(2, name="simple")
    stack = L.RNN(L.StackedRNNCells(cells, name="cells"), name="stack")
    model = keras.Sequential([keras.Input((3, 4)), both, each, stack])
    return model, {
        "both/forward_lstm/lstm_cell": both.forward_layer,
        "both/backward_lstm/lstm_cell": both.backward_layer,
        "each/dense": each.layer,
        "stack/cells/gru": cells[0],
        "stack/cells/simple": cells[1],
    }


def held_twice():
    """A wrapper that holds the kernel of the layer within it."""
    inner = L.Dense(3, name="inner")
    return keras.Sequential([keras.Input((4,)), L.SpectralNormalization(inner, name="norm")]), {"norm/inner": inner}


def frozen():
    """A layer that is frozen, and one with a frozen bias."""
    model = block("block", "a", "b", "c")
    model.layers[0].trainable = model.layers[1].bias.trainable = False
    return model, {"b": [model.layers[1].kernel], "c": model.layers[2]}


def stray():
    """A variable of no layer."""
    model = built(Stray())
    return model, {"somewhere": [model.hidden()], "dense": model.dense}


BUILDERS = (sequential, nested, same_paths, taken_names, shared, attention, recurrent, held_twice, frozen, stray)


@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_the_places_of_a_layer_are_those_that_it_changes(build):
    """All parameters are 0; those of one layer become 1, and are found in the flat vector."""
    model, expected = build()
    found, size = layers.layers(model), len(references.flat(model.trainable_variables))
    assert found.keys() == expected.keys()
    for name, owner in expected.items():
        references.assign(model, np.zeros(size))
        for variable in owner if isinstance(owner, list) else owner.trainable_variables:
            variable.assign(np.ones(variable.shape))
        np.testing.assert_array_equal(found[name], np.flatnonzero(references.flat(model.trainable_variables)))
    assert sorted(np.concatenate([*found.values()])) == [*range(size)]


@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_owners_hold_their_variables(build):
    """One for each trainable variable, under the names of `layers`; the paths of the variables are all different."""
    model, _ = build()
    found = layers.owners(model)
    for variable, (_, layer) in zip(model.trainable_variables, found, strict=True):
        assert layer is None or any(variable is own for own in layer.weights)
    assert {name for name, _ in found} == layers.layers(model).keys()
    paths = layers.paths(model)
    assert len({*paths}) == len(paths) == len(found)


def test_paths_are_those_of_the_layers():
    """As Keras has them in a plain net; two variables of one name in one layer are told apart."""
    model = nets.mlp()
    assert layers.paths(model) == [f"{layer.name}/{v.name}" for layer in model.layers for v in layer.weights]
    model = keras.Sequential([keras.Input((4,)), Bilinear(name="bilinear")])
    assert layers.paths(model) == ["bilinear/kernel", "bilinear/kernel_2"]
    assert layers.paths(built(Stray())) == ["somewhere", "dense/kernel", "dense/bias"]


def test_a_net_without_trainable_variables_has_no_owners():
    """All is frozen."""
    model = block("block", "a")
    model.trainable = False
    assert (layers.owners(model), layers.paths(model), layers.layers(model)) == ([], [], {})


def test_walk_meets_each_layer_once():
    """Inner layers first, the model last."""
    model, _ = shared()
    found = [layer for _, layer in layers.walk(model)]
    assert len({id(layer) for layer in found}) == len(found) == 6  # two inputs, inside, one, head, the model
    assert found[-1] is model
    paths = [path for path, layer in layers.walk(nested()[0]) if layer.weights]
    assert paths[:3] == ["block_1/fc1", "block_1/fc2", "block_1"]
