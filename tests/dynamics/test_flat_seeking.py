"""Question flat_seeking: objective, schedule, nets and measures against slow truths, and the rows at smoke size."""

import functools

import keras
import numpy as np
import pytest
import references

from hw1 import datasets, models, question, records, training
from hw1.dynamics import flat_seeking
from hw1.measures import hessian


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with the question at smoke size."""
    return at_smoke_size("flat_seeking")


@pytest.fixture(scope="module")
def digits():
    """A few images, as each seed divides them."""
    return datasets.average_pool(datasets.load_splits("mnist10k", train=40, test=20), 7)


@pytest.fixture(scope="module")
def settings():
    """Those of size smoke."""
    return question.make_settings(flat_seeking, "smoke")


def test_the_objective_is_the_loss_with_a_penalty_per_member(settings, digits):
    """Three members in one stack, against tapes on each net alone: θ ← θ − ε (∇L + λθ)."""
    rate, penalty, seeds = 0.1, 0.3, [4, 5, 6]
    build = functools.partial(flat_seeking.build, settings, digits, True)
    members = training.train(
        build,
        digits,
        batch_size=40,
        updates=3,
        optimizer=lambda: keras.optimizers.SGD(rate),
        seeds=seeds,
        objective=functools.partial(flat_seeking.penalised, penalty=penalty, members=3),
        record=["steps"],
    )
    for seed, member in zip(seeds, members, strict=True):
        model, own, recorded = build(seed), digits.of(seed), []
        for _ in range(3):
            theta = references.flat(model.trainable_variables)
            loss = references.losses(model, own.x_train, own.y_train).mean()
            recorded.append(loss + penalty / 2 * theta @ theta)
            slope = references.gradient(model, own.x_train, own.y_train) + penalty * theta
            references.assign(model, theta - rate * slope)
        np.testing.assert_allclose(member.steps["loss"], recorded, rtol=1e-5)
        trained = models.flat_parameters(member.model)
        np.testing.assert_allclose(trained, references.flat(model.trainable_variables), rtol=1e-3, atol=1e-6)


def test_a_penalty_of_another_number_of_members_is_refused(settings, digits):
    """It would mix the weights of members."""
    with pytest.raises(ValueError, match="all 2 members must be trained in one stack"):
        training.train(
            functools.partial(flat_seeking.build, settings, digits, False),
            digits,
            batch_size=20,
            updates=1,
            optimizer=keras.optimizers.SGD,
            seeds=4,
            objective=functools.partial(flat_seeking.penalised, penalty=0.1, members=2),
        )


@pytest.mark.parametrize("skip", [False, True])
def test_nets_by_hand(skip, digits, settings):
    """Layer by layer in NumPy."""
    settings = question.make_settings(flat_seeking, "smoke", blocks=2)
    model = flat_seeking.build(settings, digits, skip, seed=3)
    x = digits.x[:6]
    weights = iter(model.get_weights())

    def dense(h):
        return h @ next(weights) + next(weights)

    hidden = np.maximum(dense(x.reshape(6, -1)), 0)
    for _ in range(2):
        inside = dense(np.maximum(dense(hidden), 0))
        hidden = np.maximum(hidden + inside if skip else inside, 0)
    np.testing.assert_allclose(model(x), dense(hidden), rtol=1e-4, atol=1e-5)


def test_skip_connections_change_nothing_else(settings, digits):
    """Equal parameters, depth and initial weights; other seeds have other weights."""
    with_skip, without = (flat_seeking.build(settings, digits, skip, seed=2) for skip in (True, False))
    for a, b in zip(with_skip.get_weights(), without.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    other = flat_seeking.build(settings, digits, True, seed=3)
    assert not np.array_equal(other.get_weights()[0], without.get_weights()[0])
    assert sum(isinstance(layer, keras.layers.Dense) for layer in with_skip.layers) == 2 + 2 * settings.blocks


def test_weights_are_averaged_over_the_last_part(settings, digits):
    """The net is the mean of the weights after each of the last epochs of the same training at a constant rate."""
    settings = question.make_settings(flat_seeking, "smoke", train=40, inner_steps=4, examples=40)
    averaged = flat_seeking._train(settings, digits, flat_seeking.AVERAGING)
    plain = training.train(
        functools.partial(flat_seeking.build, settings, digits, False),
        digits,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        optimizer=lambda: keras.optimizers.SGD(settings.learning_rate, momentum=settings.momentum),
        seeds=settings.all_seeds,
        objective=functools.partial(flat_seeking.penalised, penalty=settings.penalty, members=settings.seeds),
        record=["weights"],
    )
    for member, other in zip(averaged, plain, strict=True):
        assert other.history["epoch"][6:] == pytest.approx([7, 8, 9, 10])
        mean = other.weights[6:].mean(axis=0)
        np.testing.assert_allclose(models.flat_parameters(member.model), mean, rtol=1e-4, atol=1e-6)


def test_measures_against_the_dense_hessian(settings, digits):
    """Trace, norm and adaptive sharpness from all entries of H; rescaling layers leaves the adaptive one as it is."""
    settings = question.make_settings(flat_seeking, "smoke", train=40, inner_steps=2, examples=40, width=3, probes=60)
    data = datasets.average_pool(digits, 2)
    model = models.mlp((3, 3), input_shape=data.shape, classes=10, seed=1)
    theta = models.flat_parameters(model) + 0.1
    scale = models.rescaling(model, (4.0, 0.5, 0.5))
    found = []
    for factor in (1, scale):
        net = models.with_parameters(model, theta * factor)
        found.append(flat_seeking._measures(settings, net, data.of(0)))
    net, own = models.with_parameters(model, theta), data.of(0)
    matrix = hessian.dense(models.with_dtype(net, "float64"), own.x_train, own.y_train)
    assert found[0]["trace"] == pytest.approx(np.trace(matrix), rel=0.05)
    assert found[0]["largest"] == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-3)
    adaptive = np.linalg.norm(matrix * np.outer(theta, theta), 2)
    assert found[0]["adaptive"] == pytest.approx(adaptive, rel=1e-3)
    assert found[1]["adaptive"] == pytest.approx(adaptive, rel=1e-2)
    assert found[1]["trace"] != pytest.approx(found[0]["trace"], rel=0.2)


def test_rows_are_complete(runs, settings):
    """One per method and seed; twice as long is twice as many steps; Entropy-SGD takes fewer, larger ones."""
    frame = records.read(runs, "flat_seeking")
    assert list(frame.method.unique()) == list(flat_seeking.METHODS)
    assert (frame.groupby("method").seed.nunique() == settings.seeds).all()
    steps = frame.groupby("method").updates.first()
    assert steps["plain, twice as long"] == 2 * steps["plain"] == 2 * steps["SAM"] == 400
    assert steps["Entropy-SGD"] * settings.inner_steps == steps["plain"]
    np.testing.assert_allclose(frame.objective, frame.train_loss + settings.penalty / 2 * frame.norm**2, rtol=1e-5)
    assert frame[["value", "largest", "adaptive"]].gt(0).all().all()
    assert frame.groupby("seed").test_accuracy.nunique().gt(1).all()


def test_all_methods_learn_from_the_same_start(runs):
    """None of them ends above the loss of a constant answer."""
    frame = records.read(runs, "flat_seeking")
    assert (frame.train_loss < np.log(10)).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inner_steps": 30}, "has batch_size · inner_steps = 300 examples, which must be at most --train=200"),
        ({"inner_steps": 6, "batch_size": 11}, "--inner_steps=6: the last mini-batch of an epoch, of 2 examples"),
        ({"batch_size": 300}, "--batch_size=300: must be at most --train=200"),
        ({"width": 0}, "--width=0"),
        ({"radius": 0.0}, "--radius=0.0"),
        ({"constant": 1.0}, "--constant=1.0"),
        ({"epochs": 5}, "--epochs=5"),
        ({"momentum": -0.1}, "--momentum=-0.1"),
    ],
)
def test_bad_settings_are_named(changes, message):
    """Before anything is trained."""
    with pytest.raises(ValueError, match=message):
        question.make_settings(flat_seeking, "smoke", **changes)


@pytest.mark.slow
def test_divergence_is_a_row(digits):
    """Of each method."""
    settings = question.make_settings(
        flat_seeking, "smoke", train=40, inner_steps=4, examples=40, learning_rate=1e9, inner_rate=1e9
    )
    for method in flat_seeking.METHODS:
        rows = list(flat_seeking.run(settings, digits, method))
        assert {row["status"] for row in rows} == {"diverged"}
