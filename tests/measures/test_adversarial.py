"""Tests of hw1.measures.adversarial: closed forms of linear models, brute force over boxes and circles, guarantees."""

import cases
import nets
import numpy as np
import pytest
import references
from cases import Case
from losses import LOSSES

from hw1 import evaluation
from hw1.measures import adversarial

ATTACKS = (adversarial.fgsm, adversarial.l2_attack)


def change(images, x):
    """The length of each example's change."""
    return np.linalg.norm((images - x).reshape(len(x), -1), axis=1)


def two_classes(inputs=2, scale=1.0, seed=0):
    """A linear model of two classes on a row of `inputs` pixels, in float64, and the direction that separates them."""
    model = nets.mlp(hidden=(), input_shape=(inputs,), classes=2, dtype="float64")
    rng = np.random.default_rng(seed)
    model.set_weights([scale * rng.normal(size=(inputs, 2)), rng.normal(size=2)])
    kernel = model.get_weights()[0]
    return model, kernel[:, 1] - kernel[:, 0]


@pytest.mark.parametrize("case", cases.ALL, ids=str)
def test_fgsm_is_a_step_along_the_signs(case):
    """The signs of the gradients of one example after the other."""
    found = case.measure(adversarial.fgsm, epsilon=0.07)
    signs = np.sign(case.truth(references.input_gradients))
    np.testing.assert_allclose(found, np.clip(case.x + 0.07 * signs, 0, 1), atol=case.bound(1e-15))
    assert found.dtype == case.x.dtype


@pytest.mark.parametrize("case", cases.ALL, ids=str)
@pytest.mark.parametrize("steps", cases.some([5, 1], 1))
def test_an_l2_attack_stays_in_ball_and_box_and_never_helps(case, steps):
    """‖x' − x‖ ≤ ε, x' in [0, 1], no example's loss below the clean one, and some above."""
    model, _, y = case.double.data
    clean = case.truth(references.losses)
    for epsilon in (0.1, 1.5):
        found = case.measure(adversarial.l2_attack, epsilon=epsilon, steps=steps)
        assert found.shape == case.x.shape
        assert found.dtype == case.x.dtype
        assert change(found, case.x).max() <= epsilon * (1 + case.bound())
        assert 0 <= found.min() <= found.max() <= 1
        attacked = references.losses(model, found.astype("float64"), y, LOSSES[case.loss].truth)
        assert (attacked >= clean - case.bound() * np.maximum(clean, 1)).all()
        assert attacked.mean() > clean.mean() + 0.01 * epsilon


def test_float32_images_find_what_float64_images_find():
    """The attack is the same but for rounding."""
    single, double = Case("relu", dtype="float32"), Case("relu")
    found, expected = (case.measure(adversarial.l2_attack, epsilon=0.4) for case in (single, double))
    assert change(found, single.x).max() <= 0.4 * (1 + 1e-5)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_radius_of_zero_changes_nothing_and_a_small_one_little(attack):
    """ε = 0 gives the images back, bit for bit; for small ε the loss rises by ε times the dual norm of its gradient."""
    model, x, y = Case("gelu").data
    x = 0.1 + 0.8 * x  # away from the edges, so that nothing is clipped
    np.testing.assert_array_equal(attack(model, x, y, 0.0), x)
    order = 1 if attack is adversarial.fgsm else 2
    norms = np.linalg.norm(references.input_gradients(model, x, y), ord=order, axis=1)
    rise = references.losses(model, attack(model, x, y, 1e-5), y) - references.losses(model, x, y)
    np.testing.assert_allclose(rise / 1e-5, norms, rtol=1e-3)


def test_fgsm_is_the_largest_loss_in_the_box_for_two_linear_classes():
    """All corners of the box within [0, 1], enumerated, where the loss of a linear model of two classes is largest."""
    model, _ = two_classes(inputs=4)
    rng = np.random.default_rng(5)
    x, y = rng.random((6, 4)), rng.integers(0, 2, 6)
    found = references.losses(model, adversarial.fgsm(model, x, y, 0.3), y)
    for i in range(len(x)):
        ends = np.clip(x[i] + 0.3 * np.array(np.meshgrid(*[[-1, 1]] * 4)).reshape(4, -1).T, 0, 1)
        largest = references.losses(model, ends, np.full(len(ends), y[i])).max()
        assert found[i] == pytest.approx(largest, rel=1e-12)


@pytest.mark.parametrize("steps", [1, 10])
def test_an_l2_attack_is_the_whole_radius_across_two_linear_classes(steps):
    """Without clipping the largest loss is at x ± ε d/‖d‖, d what separates the classes, which one step reaches."""
    model, direction = two_classes(inputs=5)
    x, y = 0.4 + 0.2 * np.random.default_rng(6).random((7, 5)), np.array([0, 1, 0, 1, 1, 0, 0])
    found = adversarial.l2_attack(model, x, y, 0.3, steps=steps)
    unit = direction / np.linalg.norm(direction)
    np.testing.assert_allclose(found, x + 0.3 * np.where(y == 0, 1, -1)[:, None] * unit, atol=1e-12)


def test_an_l2_attack_finds_what_a_grid_finds():
    """Two pixels near an edge, a curved net: no point of a fine grid has a loss larger by half a per cent."""
    model = nets.perturbed(nets.mlp((6,), activation="tanh", input_shape=(2,), dtype="float64"), seed=4)
    rng = np.random.default_rng(8)
    x, y = rng.choice([0.02, 0.5, 0.97], (8, 2)), rng.integers(0, 3, 8)
    found = references.losses(model, adversarial.l2_attack(model, x, y, 0.4, steps=100), y)
    side = np.linspace(0, 1, 201)
    grid = np.array(np.meshgrid(side, side)).reshape(2, -1).T
    for i in range(len(x)):
        near = grid[np.linalg.norm(grid - x[i], axis=1) <= 0.4]
        largest = references.losses(model, near, np.full(len(near), y[i])).max()
        assert largest * 0.995 <= found[i] <= largest * 1.02


def test_confident_examples_are_attacked_too():
    """In float32 logits 60 apart leave a loss of 0 and no gradient in the usual form; here the attack is the same."""
    model, direction = two_classes(scale=1.0)
    x = np.array([[0.5, 0.5]])
    y = np.array([int(np.argmax(model(x)))])
    expected = x + 0.2 * direction / np.linalg.norm(direction) * (1 if y[0] == 0 else -1)
    confident = nets.mlp(hidden=(), input_shape=(2,), classes=2, dtype="float32")
    kernel, bias = model.get_weights()
    gap = float(abs(np.diff(np.asarray(model(x)))[0, 0]))
    confident.set_weights([60 / gap * kernel, 60 / gap * bias])
    assert evaluation.evaluate(confident, x.astype("float32"), y)[0] < 1e-20
    found = adversarial.l2_attack(confident, x.astype("float32"), y, 0.2, steps=5)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_chunks_make_no_difference(monkeypatch):
    """Eleven examples, four at a time."""
    model, x, y = Case("relu").data
    whole = [attack(model, x, y, 0.2) for attack in ATTACKS]
    monkeypatch.setattr("hw1.evaluation.problem.DENSE_CHUNK", 4)
    for attack, expected in zip(ATTACKS, whole, strict=True):
        np.testing.assert_allclose(attack(model, x, y, 0.2), expected, atol=1e-13)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("loss", ["squared error", "Keras's squared error that sums", "distance"])
def test_another_loss(loss, attack):
    """The squared error of every example is raised, not its cross-entropy."""
    case = Case("gelu", loss)
    attacked = references.losses(case.model, case.measure(attack, epsilon=0.05), case.y, LOSSES[loss].truth)
    assert (attacked > case.truth(references.losses)).all()


def test_a_dead_net_cannot_be_attacked():
    """Where the loss does not depend on the image it comes back as it was."""
    model, (x, y) = nets.dead(dtype="float64"), nets.examples()
    for attack in ATTACKS:
        np.testing.assert_array_equal(attack(model, x, y, 0.5), x)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m, x, y: adversarial.fgsm(m, x, y, -0.1), ["epsilon", "-0.1"]),
        (lambda m, x, y: adversarial.fgsm(m, x, y, np.nan), ["epsilon", "nan"]),
        (lambda m, x, y: adversarial.fgsm(m, 255 * x, y, 0.1), ["[0, 1]", "255"]),
        (lambda m, x, y: adversarial.fgsm(m, (255 * x).astype("uint8"), y, 0.1), ["[0, 1]", "uint8", "255"]),
        (lambda m, x, y: adversarial.l2_attack(m, x, y, np.inf), ["epsilon", "inf"]),
        (lambda m, x, y: adversarial.l2_attack(m, x, y, 0.1, steps=0), ["steps", "at least 1", "0"]),
        (lambda m, x, y: adversarial.l2_attack(m, x, y, 0.1, step_size=-1), ["step_size", "-1"]),
    ],
)
def test_unfit_arguments(call, words):
    """The message names what is wrong and what would be right."""
    with cases.refused(*words):
        call(*Case("tanh").data)
