"""Edges of stability against the optimisers themselves: which curvatures of a quadratic diverge?"""

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf

from hw1.measures import stability

RATE, NEVER = 0.05, 1 - 2.0**-22  # of a running mean that hardly moves; Keras rounds it to float32


def frozen(optimizer, variables, squares):
    """An adaptive optimiser whose preconditioner no longer changes, at a step where its corrections are over."""
    optimizer.build(variables)
    for slots in ("_velocities", "_velocity_hats", "_accumulators"):
        for slot in getattr(optimizer, slots, []):
            slot.assign(squares * np.ones(slot.shape))
    optimizer.iterations.assign(2 * 10**9)
    return optimizer


def steps_of(optimizer, variables):
    """The optimiser's own step from gradients, compiled."""
    return tf.function(lambda *gradients: optimizer.apply(list(gradients), variables))


OPTIMIZERS = {
    "SGD": lambda: keras.optimizers.SGD(RATE),
    "weight decay": lambda: keras.optimizers.SGD(RATE, weight_decay=2.0),
    "heavy ball": lambda: keras.optimizers.SGD(RATE, momentum=0.9),
    "heavy ball, decay": lambda: keras.optimizers.SGD(RATE, momentum=0.7, weight_decay=3.0),
    "Nesterov": lambda: keras.optimizers.SGD(RATE, momentum=0.9, nesterov=True),
    "Nesterov, decay": lambda: keras.optimizers.SGD(RATE, momentum=0.5, nesterov=True, weight_decay=2.0),
    "Adam": lambda: keras.optimizers.Adam(RATE, beta_2=NEVER, epsilon=1e-3),
    "Adam, 0.5": lambda: keras.optimizers.Adam(RATE, beta_1=0.5, beta_2=NEVER),
    "Adam, amsgrad": lambda: keras.optimizers.Adam(RATE, beta_2=NEVER, amsgrad=True),
    "AdamW": lambda: keras.optimizers.AdamW(RATE, beta_2=NEVER, weight_decay=1.0),
    "RMSprop": lambda: keras.optimizers.RMSprop(RATE, rho=NEVER, epsilon=0.01),
    "RMSprop, momentum": lambda: keras.optimizers.RMSprop(RATE, rho=NEVER, momentum=0.6, centered=True),
    "Adagrad": lambda: keras.optimizers.Adagrad(RATE),
}


@pytest.mark.parametrize("kind", OPTIMIZERS if cases.EVERY_CASE else list(OPTIMIZERS)[3::4])
def test_the_largest_stable_curvature(kind):
    """Of 80 quadratics around the edge exactly those beyond it diverge, under the optimiser's own steps.

    P differs between the two variables, and λ is that of P⁻¹H.
    """
    shares = 1 + np.concatenate([-np.geomspace(1.5e-3, 5e-4, 20), np.geomspace(5e-4, 1.5e-3, 20)])
    variables = [keras.Variable(np.full(40, 1e-30), dtype="float64") for _ in range(2)]
    optimizer = OPTIMIZERS[kind]()
    frozen(optimizer, variables, 0.3)
    for slots in ("_velocities", "_velocity_hats", "_accumulators"):
        for slot in getattr(optimizer, slots, [])[1:]:
            slot.assign(np.full(40, 1.7))
    threshold, preconditioner = stability.edge(optimizer, variables)
    scale = np.ones(80) if preconditioner is None else preconditioner
    if preconditioner is not None:
        assert scale[0] != scale[-1]
    curvature = np.split(threshold * np.concatenate([shares, shares]) * scale, 2)
    middle, apply = None, steps_of(optimizer, variables)
    for step in range(600):
        if step == 300:
            middle = [np.abs(variable.numpy()) for variable in variables]
        apply(*(tf.constant(h * v.numpy()) for h, v in zip(curvature, variables, strict=True)))
    for before, variable in zip(middle, variables, strict=True):
        assert (np.abs(variable.numpy()) > before).tolist() == (shares > 1).tolist()


def test_published_thresholds():
    """2 / ε, heavy ball 2 (1 + m) / ε, 38 / ε for Adam."""
    variables = [keras.Variable(np.ones(3))]
    assert stability.edge(keras.optimizers.SGD(0.1), variables) == (pytest.approx(20), None)
    assert stability.edge(keras.optimizers.SGD(0.1, momentum=0.9), variables).threshold == pytest.approx(38)
    adam = keras.optimizers.Adam(0.1)
    adam.apply([keras.ops.convert_to_tensor([1.0, -2.0, 0.5])], variables)
    found = stability.edge(adam, variables)
    assert found.threshold == pytest.approx(380)
    assert found.preconditioner == pytest.approx(0.1 * np.array([1.0, 2.0, 0.5]), rel=1e-3)  # 1 − β₁, at the first step


def test_adams_preconditioner_is_that_of_its_next_steps():
    """After 2000 random gradients a step without momentum moves by ε (1 − β₁) g / P, up to the changes of one step."""
    rng, variables = np.random.default_rng(0), [keras.Variable(np.zeros(5), dtype="float64")]
    adam = keras.optimizers.Adam(0.1, beta_2=0.99)
    adam.build(variables)
    apply = steps_of(adam, variables)
    for _ in range(2000):
        apply(tf.constant(rng.normal(size=5)))
    scale = stability.edge(adam, variables).preconditioner
    adam._momentums[0].assign(np.zeros(5))
    before = variables[0].numpy().copy()
    adam.apply([keras.ops.convert_to_tensor(np.full(5, 1e-3))], variables)
    assert before - variables[0].numpy() == pytest.approx(0.1 * (1 - 0.9) * 1e-3 / scale, rel=0.01)


def test_a_schedule_gives_its_present_rate():
    """The threshold follows it."""
    variables = [keras.Variable(np.ones(3))]
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    optimizer = keras.optimizers.SGD(schedule)
    optimizer.apply([keras.ops.convert_to_tensor(np.ones(3, "float32"))], variables)
    assert stability.edge(optimizer, variables).threshold == pytest.approx(2 / 0.05)


def test_what_is_not_known_is_refused():
    """By name."""
    variables = [keras.Variable(np.ones(3))]
    with pytest.raises(TypeError, match="not for Nadam"):
        stability.edge(keras.optimizers.Nadam(), variables)
    with pytest.raises(ValueError, match="Adam has no preconditioner before its first step"):
        stability.edge(keras.optimizers.Adam(), variables)
