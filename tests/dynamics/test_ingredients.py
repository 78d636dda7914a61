"""Question ingredients: the net, the schedule and each ingredient against slow truths, and the rows at smoke size."""

import cases
import keras
import numpy as np
import pytest
import references
import tensorflow as tf

from hw1 import datasets, models, question, records, training
from hw1.dynamics import ingredients


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with the question at smoke size."""
    return at_smoke_size("ingredients")


@pytest.fixture(scope="module")
def clothes():
    """A few images of 7 × 7 pixels, as each seed divides them."""
    return datasets.average_pool(datasets.load_splits("fashion10k", train=40, test=20), 4)


def weighted(model):
    """The names of the layers with kernels, without the shortcuts."""
    kinds = keras.layers.Conv2D, keras.layers.Dense
    return [layer.name for layer in model.layers if isinstance(layer, kinds) and "shortcut" not in layer.name]


@pytest.mark.parametrize(("filters", "blocks", "depth"), [((8, 16), 1, 6), ((16, 32, 64), 9, 56), ((4,), 2, 6)])
def test_depth_is_that_of_he_et_al(filters, blocks, depth):
    """2 + 2 · stages · blocks layers with weights; ResNet-56 has 9 blocks in each of 3 stages."""
    model = ingredients.resnet((8, 8, 3), 10, filters, blocks, seed=0)
    assert len(weighted(model)) == depth
    assert model.output_shape == (None, 10)


def test_resnet_56_has_its_number_of_parameters():
    """0.85 million (He et al., table 6), with shortcuts of 1 × 1 convolutions a little more."""
    assert 0.85e6 < ingredients.resnet((32, 32, 3), 10, (16, 32, 64), 9, seed=0).count_params() < 0.87e6


def test_a_block_adds_its_input(clothes):
    """With the last normalisation of each block at 0, the net is its first convolution followed by the mean."""
    model = ingredients.resnet(clothes.shape, 10, (4,), 2, seed=1)
    for block in (1, 2):
        layer = model.get_layer(f"stage_1_block_{block}_second_norm")
        layer.gamma.assign(np.zeros(4))
        layer.beta.assign(np.zeros(4))
    x = clothes.x[:5]
    first = keras.Model(model.input, model.get_layer("first_activation").output)(x)
    expected = np.mean(first, axis=(1, 2)) @ model.get_layer("logits").kernel.numpy()
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)


def test_weight_decay_is_half_the_squared_norm_of_the_kernels(clothes):
    """Biases and normalisation have none."""
    model = ingredients.resnet(clothes.shape, 10, (3, 4), 1, seed=1, weight_decay=0.2)
    kernels = [layer.kernel.numpy() for layer in model.layers if hasattr(layer, "kernel")]
    assert len(kernels) == 7  # a shortcut too
    assert float(sum(model.losses)) == pytest.approx(0.1 * sum((k**2).sum() for k in kernels), rel=1e-5)
    assert ingredients.resnet(clothes.shape, 10, (3, 4), 1, seed=1).losses == []


def test_images_are_shifted_and_flipped_in_training_only(clothes):
    """Each training image is a shifted image with zeros in the gap, or its mirror image; all shifts occur."""
    net = ingredients.resnet(clothes.shape, 10, (3,), 1, seed=1, shift=1, flip=True)
    layers = ["channel", "shift", "flip"]
    augment = keras.Sequential([net.get_layer(name) for name in layers])
    image = np.random.default_rng(0).uniform(0.1, 1, (1, 7, 7)).astype(np.float32)
    padded = np.pad(image[0], 1)
    wanted = {}
    for down in range(3):
        for right in range(3):
            moved = padded[down : down + 7, right : right + 7]
            wanted[moved.tobytes()] = wanted[np.ascontiguousarray(moved[:, ::-1]).tobytes()] = (down, right)
    seen = np.asarray(augment(np.repeat(image, 300, axis=0), training=True))[..., 0]
    assert {each.tobytes() for each in seen} == set(wanted)
    np.testing.assert_array_equal(np.asarray(augment(image, training=False))[..., 0], image)


def test_the_schedule_by_hand():
    """Ten steps in epochs of four: divided by 10 from the 6th step (5 passed) and the 9th (8 passed) on."""
    found = ingredients.stepped(np.arange(10) / 4, 4, 10)
    np.testing.assert_allclose(found, [1] * 5 + [0.1] * 3 + [0.01] * 2)


def test_normalised_images_have_mean_0_and_deviation_1(clothes):
    """The mean of each pixel, and one standard deviation for all."""
    found = ingredients.normalised(clothes)
    np.testing.assert_allclose(found.x.mean(axis=0), 0, atol=1e-5)
    assert found.x.std() == pytest.approx(1, abs=1e-4)
    assert found.y is clothes.y


def test_training_on_raw_images_by_tapes(clothes):
    """With batch statistics, momentum, decay and schedule; also plain SGD at a constant rate."""
    for removed, momentum, decay in cases.some((("preprocessing", 0.9, 0.2), ("everything", 0.0, 0.0)), 1):
        settings = question.make_settings(
            ingredients,
            "smoke",
            train=40,
            batch_size=20,
            updates=8,
            seeds=1,
            first_seed=3,
            weight_decay=0.2,
            filters=(3,),
        )
        (member,) = ingredients._train(settings, clothes, removed, 0.05)
        model, own = ingredients.resnet(clothes.shape, 10, (3,), 1, seed=3, weight_decay=decay), clothes.of(3)
        optimizer, rng = keras.optimizers.SGD(0.05, momentum=momentum), np.random.default_rng([3, 1])
        step = 0
        for _ in range(4):
            order = rng.permutation(40)
            for begin in (0, 20):
                rows = order[begin : begin + 20]
                if removed != "everything":
                    optimizer.learning_rate = 0.05 * (1 if step < 4 else 0.1 if step < 6 else 0.01)
                with tf.GradientTape() as tape:
                    logits = model(own.x_train[rows], training=True)
                    loss = tf.reduce_mean(references.cross_entropy(own.y_train[rows], logits)) + sum(model.losses)
                optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
                step += 1
        theta = references.flat(model.trainable_variables)
        np.testing.assert_allclose(models.flat_parameters(member.model), theta, rtol=2e-3, atol=2e-4)


def test_rows_are_complete(runs):
    """The full set-up once, each ablation at two rates, all with equally many steps."""
    frame = records.read(runs, "ingredients")
    settings = records.settings(runs, "ingredients")
    assert list(frame.removed.unique()) == ["nothing", *ingredients.REMOVED]
    assert set(frame[frame.removed == "nothing"].rate) == {"fixed"}
    assert (frame[frame.removed != "nothing"].groupby("removed").rate.nunique() == 2).all()
    assert set(frame.updates) == {settings["updates"]}
    own = frame[frame.rate == "retuned"].drop_duplicates("removed")
    np.testing.assert_allclose(own.learning_rate, settings["tuned_rates"])


def test_equal_rates_are_trained_once(clothes, monkeypatch):
    """And give two rows of the same numbers."""
    calls, train = [], training.train
    monkeypatch.setattr(training, "train", lambda *args, **options: calls.append(1) or train(*args, **options))
    settings = question.make_settings(
        ingredients, "smoke", pool=1, train=40, filters=(2,), learning_rate=0.1, tuned_rates=(0.1,) * 5, seeds=1
    )
    first, second = ingredients.run(settings, clothes, "schedule")
    assert len(calls) == 1
    assert first | {"rate": ""} == second | {"rate": ""}
    assert [first["rate"], second["rate"]] == ["fixed", "retuned"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tuned_rates": (0.1, 0.1)}, "--tuned_rates=0.1,0.1: must be 5 numbers"),
        ({"batch_size": 200}, "--batch_size=200: must be at most --train=100"),
        ({"filters": (0,)}, "--filters=0"),
        ({"momentum": 0.0}, "--momentum=0.0"),
        ({"weight_decay": -1.0}, "--weight_decay=-1.0"),
        ({"updates": 2}, "--updates=2"),
    ],
)
def test_bad_settings_are_named(changes, message):
    """Before anything is trained."""
    with pytest.raises(ValueError, match=message):
        question.make_settings(ingredients, "smoke", **changes)


def test_a_shift_beyond_the_image_is_named(clothes):
    """Also before anything is trained."""
    settings = question.make_settings(ingredients, "smoke", pool=1, train=40, shift=7)
    with pytest.raises(ValueError, match="--shift=7: must be below the side of the images of 7 × 7 pixels"):
        list(ingredients.run(settings, clothes, "nothing"))
