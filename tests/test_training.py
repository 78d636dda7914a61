"""The stacked trainer against an ordinary loop of tapes, and members against the same members trained alone."""

import dataclasses

import keras
import nets
import numpy as np
import pytest
import references
import tensorflow as tf

from hw1 import evaluation, models, training
from hw1.datasets import Dataset

# Adam divides by the root of a running mean of squares: a rounding error of float64 in a gradient near zero grows.
CLOSE = {"rtol": 1e-6, "atol": 1e-8}

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01),
    "clipped by global norm": lambda: keras.optimizers.SGD(0.5, global_clipnorm=0.05),
    "lamb": lambda: keras.optimizers.Lamb(0.01),
}
STACKED = ("relu", "tanh", "gelu", "no bias", "dropout", "skip")
# One of each kind: every net of the table costs a compilation.
ONE_OF_EACH = ("no bias", "skip", "convolutional", "normalised", "subclassed", "frozen layer")


def dataset(shape=nets.SHAPE, n=23, seed=0):
    """Random training and test sets in float64; 23 examples in batches of 5 leave a last batch of 3."""
    (x, y), (x_test, y_test) = nets.examples(shape, n, seed), nets.examples(shape, 9, seed + 1)
    return Dataset(x, y.astype(np.int32), x_test, y_test.astype(np.int32), "random", nets.CLASSES)


def build(name, **options):
    """A function seed -> float64 net of the table, its weights those of the seed."""

    def make(seed):
        model = nets.BUILDERS[name](dtype="float64", **options)
        return nets.with_random_weights(model, np.random.default_rng([seed, 3]))

    return make


def fit(make, data=None, optimizer=OPTIMIZERS["adam"], seeds=(4, 7), epochs=3, **options):
    """Trains members on small batches with a smaller last one."""
    data = dataset() if data is None else data
    return training.train(make, data, batch_size=5, optimizer=optimizer, seeds=seeds, epochs=epochs, **options)


def reference(make, data, seed, optimizer, updates, **options):
    """The same member by the ordinary loop: model, mini-batch losses, gradient norms."""
    model = make(seed)
    return model, *references.train(
        model, data, batch_size=5, updates=updates, optimizer=optimizer(), seed=seed, **options
    )


@pytest.fixture
def xla(monkeypatch):
    """Lets XLA compile dense nets, as it does for trainings of thousands of steps."""
    monkeypatch.setattr(training, "_XLA_STEPS", 0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_members_equal_an_ordinary_loop_with_every_optimizer(name, xla):
    """Stacked where the optimizer is elementwise, one by one where it is not: always the training of one net."""
    make, data, optimizer = build("tanh"), dataset(), OPTIMIZERS[name]
    members = fit(make, data, optimizer, record=("steps", "weights"))
    assert [member.seed for member in members] == [4, 7]
    for member in members:
        model, losses, norms = reference(make, data, member.seed, optimizer, updates=15)
        expected = references.flat(model.trainable_variables)
        np.testing.assert_allclose(models.flat_parameters(member.model), expected, **CLOSE)
        np.testing.assert_allclose(member.steps["loss"], losses, **CLOSE)
        np.testing.assert_allclose(member.steps["gradient_norm"], norms, **CLOSE)
        np.testing.assert_array_equal(member.weights[-1], models.flat_parameters(member.model))
        assert member.weights.shape == (3, len(expected))
        assert member.updates == 15


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_every_net_trains_as_in_an_ordinary_loop(name):
    """Dense nets stacked; convolutions, batch normalisation, classes and frozen layers member by member."""
    make = build(name)
    shape = getattr(make(0), "input_shape", (None, *nets.SHAPE))[1:]
    data, optimizer = dataset(shape), OPTIMIZERS["momentum"]
    for member in fit(make, data, optimizer, seeds=(2, 5)):
        model, *_ = reference(make, data, member.seed, optimizer, updates=15)
        for variable, expected in zip(member.model.variables, model.variables, strict=True):
            if "seed" not in variable.path:
                np.testing.assert_allclose(np.asarray(variable), np.asarray(expected), err_msg=variable.path, **CLOSE)


def test_what_is_stacked():
    """The claim of the docstring: dense nets and elementwise optimizers, and nothing else."""
    stacked = {name for name in nets.NAMES if training._stackable(nets.case(name).model)}
    assert stacked == set(STACKED)
    elementwise = {name for name, make in OPTIMIZERS.items() if training._elementwise(make())}
    assert elementwise == set(OPTIMIZERS) - {"clipped by global norm", "lamb"}
    assert not training._elementwise(keras.optimizers.Adam(clipnorm=1.0))
    assert training._elementwise(keras.optimizers.Adam(clipvalue=1.0))


@pytest.mark.parametrize("name", ["dropout", "normalised"])
def test_a_member_does_not_depend_on_who_is_trained_beside_it(name, xla):
    """Same weights and same history alone and in company, with dropout's masks too."""
    alone, together = fit(build(name), seeds=[7])[0], fit(build(name), seeds=[3, 7, 5])[1]
    np.testing.assert_allclose(models.flat_parameters(alone.model), models.flat_parameters(together.model), **CLOSE)
    for curve in alone.history:
        np.testing.assert_allclose(alone.history[curve], together.history[curve], **CLOSE)


def test_dropout_drops_in_training_only():
    """Training with dropout differs from training without; evaluation is that of the whole net."""
    with_dropout, without = fit(build("dropout"), seeds=[1])[0], fit(build("relu", hidden=(4,)), seeds=[1])[0]
    assert not np.allclose(models.flat_parameters(with_dropout.model), models.flat_parameters(without.model))
    layer = training._StackedDropout(keras.layers.Dropout(0.4), members=2, stream=1)
    layer.build((None, 5))
    layer.seeds.assign([3, 4])
    ones = np.ones((2000, 5), "float32")
    np.testing.assert_array_equal(layer(ones), ones)
    kept = np.asarray(layer(ones, training=True))
    # 10,000 independent masks: the share kept is within 4 standard errors of 0.6, and the mean stays 1.
    assert set(np.unique(kept.round(4))) == {0, np.float32(1 / 0.6).round(4)}
    assert abs((kept > 0).mean() - 0.6) < 4 * np.sqrt(0.24 / 10000)
    assert not np.array_equal(kept[:1000], kept[1000:])


def test_the_history_is_that_of_the_returned_nets():
    """Its last values are loss and accuracy of the model over the whole sets; one value per epoch."""
    data = dataset()
    for member in fit(build("tanh"), data):
        assert list(member.history["epoch"]) == [1, 2, 3]
        for part, x, y in (("train", data.x_train, data.y_train), ("test", data.x_test, data.y_test)):
            assert member.final[f"{part}_loss"] == pytest.approx(references.losses(member.model, x, y).mean())
            assert member.final[f"{part}_accuracy"] == references.accuracy(member.model, x, y)


def test_evaluation_in_parts_is_that_of_the_whole(monkeypatch):
    """However few rows are evaluated at once, ragged last part included."""
    whole = fit(build("tanh"))[0].history
    monkeypatch.setattr(training, "_EVALUATED_AT_ONCE", 8)  # 4 examples of 2 members
    evaluation._programs.clear()
    parts = fit(build("tanh"))[0].history
    for curve in whole:
        np.testing.assert_allclose(parts[curve], whole[curve], rtol=1e-12)


def test_a_member_stops_at_the_target_and_the_others_go_on():
    """Weights, history and updates of the early one are those of a shorter training."""
    members = fit(build("tanh"), seeds=[4, 0, 7], epochs=40)
    curves = [member.history["train_loss"] for member in members]
    target = sorted(curve.min() for curve in curves)[1] * 1.0001  # reached by two members of three
    stopped = fit(build("tanh"), seeds=[4, 0, 7], epochs=40, target_loss=target)
    for member, curve in zip(stopped, curves, strict=True):
        reached = np.flatnonzero(curve <= target)
        epochs = reached[0] + 1 if len(reached) else 40
        assert member.status == ("ok" if len(reached) else "target not reached")
        assert len(member.history["epoch"]) == epochs
        assert member.updates == 5 * epochs
        shorter = fit(build("tanh"), epochs=int(epochs), seeds=[member.seed])[0]
        np.testing.assert_allclose(
            models.flat_parameters(member.model), models.flat_parameters(shorter.model), rtol=1e-5, atol=1e-7
        )
    assert {member.status for member in stopped} == {"ok", "target not reached"}


def test_a_diverging_member_leaves_the_others_alone():
    """One starts at a point where the loss overflows: it says so, and the other two are as without it."""

    def make(seed):
        model = build("relu")(seed)
        if seed == 0:
            model.set_weights([1e200 * weight for weight in model.get_weights()])
        return model

    with_it, without = fit(make, seeds=[4, 0, 7]), fit(make, seeds=[4, 7])
    assert [member.status for member in with_it] == ["ok", "diverged", "ok"]
    assert len(with_it[1].history["epoch"]) == 1
    for a, b in zip((with_it[0], with_it[2]), without, strict=True):
        np.testing.assert_allclose(models.flat_parameters(a.model), models.flat_parameters(b.model), **CLOSE)


@pytest.mark.parametrize("updates", [4, 7])
def test_the_budget_of_updates_is_exact(updates):
    """Also in the middle of an epoch and just before its smaller last batch."""
    make, data, optimizer = build("tanh"), dataset(), OPTIMIZERS["sgd"]
    member = fit(make, data, optimizer, seeds=[3], epochs=None, updates=updates, evaluate_every=2, record=["steps"])[0]
    model, losses, _ = reference(make, data, 3, optimizer, updates)
    assert member.updates == updates == len(member.steps["loss"])
    np.testing.assert_allclose(member.steps["loss"], losses, **CLOSE)
    np.testing.assert_allclose(
        models.flat_parameters(member.model), references.flat(model.trainable_variables), **CLOSE
    )


def test_evaluations_between_epochs_change_nothing():
    """Every second epoch and the last are evaluated; the weights are those of any other interval."""
    often, seldom = fit(build("tanh"), epochs=5)[0], fit(build("tanh"), epochs=5, evaluate_every=2)[0]
    assert list(seldom.history["epoch"]) == [2, 4, 5]
    np.testing.assert_allclose(seldom.history["test_loss"], often.history["test_loss"][[1, 3, 4]], **CLOSE)


@pytest.mark.parametrize(("every", "epochs"), [(2, [0.4, 0.8, 1, 1.4, 1.8, 2, 2.4]), (5, [1, 2, 2.4]), (11, [2, 2.4])])
def test_evaluations_after_so_many_updates(every, epochs):
    """Within epochs of five steps, or after whole ones; the training is the same, and the end is always evaluated."""
    members = fit(build("tanh"), epochs=None, updates=12, evaluate_updates=every, record=["weights", "steps"])
    for member, plain in zip(members, fit(build("tanh"), epochs=None, updates=12, record=["steps"]), strict=True):
        np.testing.assert_allclose(member.history["epoch"], epochs)
        np.testing.assert_allclose(models.flat_parameters(member.model), models.flat_parameters(plain.model), **CLOSE)
        np.testing.assert_array_equal(member.weights[-1], models.flat_parameters(member.model))
        np.testing.assert_allclose(member.steps["loss"], plain.steps["loss"], rtol=1e-9)
        assert len(member.weights) == len(epochs)


def test_a_target_is_met_within_an_epoch():
    """The member stops at the first evaluation at or below the target, whose loss is that of the returned net."""
    (whole,) = fit(build("tanh"), seeds=[4], epochs=6, evaluate_updates=1)
    target = whole.history["train_loss"][7]
    (member,) = fit(build("tanh"), seeds=[4], epochs=6, evaluate_updates=1, target_loss=target)
    first = int(np.argmax(whole.history["train_loss"] <= target))
    assert (member.status, member.updates) == ("ok", first + 1)
    assert member.final["train_loss"] == pytest.approx(whole.history["train_loss"][first], rel=1e-9)


@pytest.mark.parametrize(("every", "updates"), [(3, 112), (25, 115)])
def test_the_target_is_looked_out_for_between_evaluations(every, updates):
    """Near it five times as often: after every step, or every fifth, of which none is due to be evaluated."""
    (fine,) = fit(build("tanh"), seeds=[4], epochs=40, evaluate_updates=1)
    target = fine.history["train_loss"][111]
    assert np.argmax(fine.history["train_loss"] <= target) == 111
    (member,) = fit(build("tanh"), seeds=[4], epochs=40, evaluate_updates=every, target_loss=target)
    assert (member.status, member.updates) == ("ok", updates)
    assert member.final["train_loss"] == pytest.approx(fine.history["train_loss"][updates - 1], rel=1e-9)
    due = (member.history["epoch"][:-1] * 5).round()
    assert set(np.diff(due)) == ({3, 2} if every == 3 else {25})


def test_a_target_between_evaluations_does_not_depend_on_company():
    """Updates, history and weights of a member alone are those in a group of which the others stop elsewhere."""
    options = {"epochs": 60, "evaluate_updates": 15, "target_loss": 0.9}
    seeds = [4, 0, 7, 1, 2]
    together = fit(build("tanh"), seeds=seeds, record=["weights"], **options)
    assert len({member.updates for member in together}) > 2
    assert any(member.updates % 15 for member in together)
    for member in together:
        (alone,) = fit(build("tanh"), seeds=[member.seed], record=["weights"], **options)
        assert (alone.updates, alone.status) == (member.updates, member.status)
        np.testing.assert_allclose(alone.history["epoch"], member.history["epoch"])
        np.testing.assert_allclose(alone.history["train_loss"], member.history["train_loss"], rtol=1e-6)
        np.testing.assert_allclose(alone.weights, member.weights, **CLOSE)
        np.testing.assert_array_equal(member.weights[-1], models.flat_parameters(member.model))


def test_other_losses_and_targets():
    """Regression by a Keras function or Loss; without integer labels there is no accuracy."""
    data = dataset()
    rng = np.random.default_rng(5)
    data = dataclasses.replace(data, y_train=rng.normal(size=(23, 3)), y_test=rng.normal(size=(9, 3)))
    function = keras.losses.mean_squared_error
    model, *_ = reference(build("tanh"), data, 2, OPTIMIZERS["adam"], 15, loss=function)
    for loss in (function, keras.losses.MeanSquaredError()):
        member = fit(build("tanh"), data, seeds=[2], loss=loss)[0]
        np.testing.assert_allclose(
            models.flat_parameters(member.model), references.flat(model.trainable_variables), **CLOSE
        )
        assert set(member.history) == {"epoch", "train_loss", "test_loss"}


@pytest.mark.parametrize(
    ("name", "optimizer"), [("tanh", "adam"), ("convolutional", "momentum"), ("normalised", "sgd")]
)
def test_several_steps_per_batch_with_a_pull_to_its_start(name, optimizer):
    """The proximal term of conservative training, stacked and member by member; not that of fewer steps or no pull."""
    make, optimizer = build(name), OPTIMIZERS[optimizer]
    data = dataset(make(0).input_shape[1:])
    ends = {}
    for inner_steps, proximal in ((3, 0.0), (3, 2.0), (2, 2.0)):
        options = {"inner_steps": inner_steps, "proximal": proximal}
        for member in fit(make, data, optimizer, epochs=2, record=["steps"], **options):
            model, losses, norms = reference(make, data, member.seed, optimizer, 10, **options)
            assert member.updates == 10
            for variable, expected in zip(member.model.variables, model.variables, strict=True):
                np.testing.assert_allclose(np.asarray(variable), np.asarray(expected), **CLOSE)
            np.testing.assert_allclose(member.steps["loss"], losses, **CLOSE)
            np.testing.assert_allclose(member.steps["gradient_norm"], norms, **CLOSE)
        ends[inner_steps, proximal] = models.flat_parameters(member.model)
    assert not np.allclose(ends[3, 0.0], ends[3, 2.0], rtol=1e-3)
    assert not np.allclose(ends[2, 2.0], ends[3, 2.0], rtol=1e-3)


def signed(net, x, y, loss):
    """Half the loss at the inputs, half at inputs moved by 0.1 along the gradient's sign."""
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        clean = loss(y, net(x, training=True))
    moved = tf.stop_gradient(x + 0.1 * tf.sign(tape.gradient(clean, x)))
    return (clean + loss(y, net(moved, training=True))) / 2


def moved_by_hand(model, x, y):
    """The inputs that `signed` moves, from the gradient of the mean loss of the batch."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        mean = tf.reduce_mean(references.cross_entropy(y, model(x, training=True)))
    return x + 0.1 * np.sign(tape.gradient(mean, x))


@pytest.mark.parametrize("name", ["tanh", "convolutional"])
def test_another_objective(name):
    """Adversarial training: the gradient in the inputs is taken in the compiled program, for all members at once."""
    make, optimizer = build(name), OPTIMIZERS["momentum"]
    data = dataset(make(0).input_shape[1:])
    plain = fit(make, data, optimizer, epochs=2)
    for member, other in zip(fit(make, data, optimizer, epochs=2, objective=signed), plain, strict=True):
        model, *_ = reference(make, data, member.seed, optimizer, 10, inputs=moved_by_hand)
        expected = references.flat(model.trainable_variables)
        np.testing.assert_allclose(models.flat_parameters(member.model), expected, **CLOSE)
        assert not np.allclose(models.flat_parameters(other.model), expected, rtol=1e-3)


def test_regularizers_count():
    """A penalty on the kernel pulls as in the ordinary loop; such a net is not stacked."""

    def make(seed):
        dense = keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.1), dtype="float64")
        model = keras.Sequential([keras.Input(nets.SHAPE), keras.layers.Flatten(dtype="float64"), dense])
        return nets.with_random_weights(model, np.random.default_rng(seed))

    data, optimizer = dataset(), OPTIMIZERS["sgd"]
    member = fit(make, data, optimizer, seeds=[1])[0]
    model, *_ = reference(make, data, 1, optimizer, 15)
    np.testing.assert_allclose(
        models.flat_parameters(member.model), references.flat(model.trainable_variables), **CLOSE
    )


def test_the_same_call_gives_the_same_bytes():
    """In float32, with a compiled program at hand or without."""

    def make(seed):
        return models.mlp((8,), input_shape=nets.SHAPE, classes=nets.CLASSES, seed=seed)

    first = fit(make, seeds=3)
    evaluation._programs.clear()
    for a, b in zip(first, fit(make, seeds=3), strict=True):
        assert models.flat_parameters(a.model).tobytes() == models.flat_parameters(b.model).tobytes()
        assert all(a.history[curve].tobytes() == b.history[curve].tobytes() for curve in a.history)


class Falling(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule whose configuration does not tell its start."""

    def __init__(self, start):
        """Starts there and falls with the step."""
        super().__init__()
        self.start = start

    def __call__(self, step):
        """The rate at a step."""
        return self.start / (1.0 + keras.ops.cast(step, "float64"))

    def get_config(self):
        """Says nothing."""
        return {}


def without_biases():
    """Weight decay for the kernels alone."""
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (OPTIMIZERS["adamw"], without_biases),
        (lambda: keras.optimizers.SGD(Falling(0.5)), lambda: keras.optimizers.SGD(Falling(0.01))),
    ],
    ids=["weight decay", "schedule"],
)
def test_optimizers_that_differ_out_of_sight_share_no_program(first, second):
    """Each trains as in the ordinary loop, though their configurations are equal."""
    for optimizer in (first, second):
        (member,) = fit(build("tanh"), optimizer=optimizer, seeds=[4])
        model, *_ = reference(build("tanh"), dataset(), 4, optimizer, 15)
        np.testing.assert_allclose(models.flat_parameters(member.model), models.flat_parameters(model), **CLOSE)


@pytest.mark.parametrize("kind", ["column", "one-hot"])
def test_integer_targets_that_are_no_labels_have_no_accuracy(kind):
    """As `hw1.evaluation.evaluate` has it: only labels, shape [n], of several classes can be right."""
    data = dataset()
    targets = {"column": lambda y: y[:, None], "one-hot": lambda y: np.eye(nets.CLASSES, dtype="int32")[y]}[kind]
    data = dataclasses.replace(data, y_train=targets(data.y_train), y_test=targets(data.y_test))
    loss = lambda y, outputs: tf.reduce_mean((tf.cast(y, outputs.dtype) - outputs) ** 2, axis=-1)  # noqa: E731
    (member,) = fit(build("tanh"), data, seeds=[4], loss=loss)
    assert set(member.history) == {"epoch", "train_loss", "test_loss"}


def test_a_net_with_arithmetic_is_trained_by_itself():
    """`h * 2` is no layer, though Keras calls it Multiply: it cannot be stacked, and trains as in the ordinary loop."""

    def make(seed):
        images = keras.Input(nets.SHAPE, dtype="float64")
        hidden = keras.layers.Dense(4, dtype="float64")(keras.layers.Flatten(dtype="float64")(images)) * 2.0
        model = keras.Model(images, keras.layers.Dense(nets.CLASSES, dtype="float64")(hidden))
        return nets.with_random_weights(model, np.random.default_rng([seed, 3]))

    for member in fit(make, optimizer=OPTIMIZERS["sgd"]):
        model, *_ = reference(make, dataset(), member.seed, OPTIMIZERS["sgd"], 15)
        np.testing.assert_allclose(models.flat_parameters(member.model), models.flat_parameters(model), **CLOSE)


def test_nets_of_one_call_are_alike_and_not_the_same():
    """Another activation, of the same shapes, and one net for all seeds are refused; so is an optimizer itself."""
    with pytest.raises(ValueError, match="one architecture"):
        fit(lambda seed: nets.mlp((5,), activation=("relu", "tanh")[seed % 2], dtype="float64"))
    net = build("tanh")(0)
    with pytest.raises(ValueError, match="a net of its own for each seed"):
        fit(lambda seed: net)
    with pytest.raises(TypeError, match="optimizer must make a Keras optimizer"):
        fit(build("tanh"), optimizer=keras.optimizers.SGD())


def test_a_diverged_net_has_no_results():
    """Loss and accuracy of the last evaluation are NaN, whatever the accuracy of its outputs was."""
    (member,) = fit(build("tanh"), optimizer=lambda: keras.optimizers.SGD(1e300), seeds=[4])
    assert (member.status, member.row["seed"]) == ("diverged", 4)
    assert np.isnan(list(member.final.values())).all()
    assert list(member.curve[-1]) == list(member.history)


def test_numpy_integers_are_integers():
    """A loop over an array of batch sizes."""
    counts = {"batch_size": np.int64(5), "updates": np.int32(7), "evaluate_every": np.int64(1)}
    given = {"data": dataset(), "optimizer": OPTIMIZERS["sgd"], "seeds": np.array([4])}
    (member,) = training.train(build("tanh"), **given, **counts)
    (same,) = training.train(build("tanh"), **given, batch_size=5, updates=7)
    assert models.flat_parameters(member.model).tobytes() == models.flat_parameters(same.model).tobytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 24}, "larger than the 23 training examples"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
        ({"epochs": 0}, "epochs must be a positive integer"),
        ({"inner_steps": 0}, "inner_steps must be a positive integer"),
        ({"proximal": 0.1}, "proximal must be 0, or above 0 with inner_steps of 2 or more"),
        ({"proximal": -0.1, "inner_steps": 2}, "proximal must be 0"),
        ({"evaluate_updates": 0}, "evaluate_updates must be a positive integer"),
        ({"epochs": None}, "give epochs, updates or both"),
        ({"updates": -1}, "updates must be a positive integer"),
        ({"seeds": []}, "seeds must be one or more"),
        ({"seeds": [1, 1]}, "all be different"),
        ({"seeds": [-1]}, "non-negative"),
        ({"record": "steps"}, "record takes a collection"),
        ({"record": ["gradients"]}, "record takes a collection"),
        ({"target_loss": np.nan}, "target_loss must be a finite number"),
        ({"optimizer": lambda: keras.optimizers.Adam(use_ema=True)}, "use_ema is not supported"),
        ({"optimizer": lambda: keras.optimizers.SGD(loss_scale_factor=8.0)}, "loss scaling is not supported"),
        ({"optimizer": lambda: "adam"}, "must make a keras optimizer"),
        ({"build": lambda seed: nets.mlp(hidden=(2 + seed,))}, "one architecture"),
        ({"build": lambda seed: nets.mlp(input_shape=(2, 2))}, "takes"),
        ({"build": lambda seed: nets.mlp(classes=2)}, "outside the model's 2 classes"),
    ],
)
def test_bad_arguments_are_named(options, message):
    """What is wrong and what would be right."""
    given = {"build": build("tanh"), "batch_size": 5, "epochs": 1, "optimizer": OPTIMIZERS["sgd"], "seeds": 2}
    with pytest.raises((TypeError, ValueError), match=message):
        training.train(data=dataset(), **given | options)
