"""Programs whose arguments but the last are fixed give what they give as a whole, and compute what they can once."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from hw1.evaluation import partial

VECTOR = tf.TensorSpec([3], tf.float64)
RNG = np.random.default_rng(0)
WEIGHTS, X = RNG.normal(size=(4, 3)), RNG.normal(size=(5, 4))
ARGUMENTS = [tf.constant(WEIGHTS)], (tf.constant(X), None), {"b": tf.constant([1, 0, 2, 1, 0]), "a": tf.constant(0.5)}


def program(weights, examples, more, vector):
    """Something with activations, labels, shapes, a constant and a tensor from outside."""
    hidden = tf.tanh(examples[0] @ weights[0])
    rows = tf.cast(tf.reshape(tf.repeat(more["b"], tf.shape(hidden)[1]), tf.shape(hidden)), tf.float64)
    scaled = hidden * vector * tf.ones_like(hidden) + rows
    return tf.reduce_sum(scaled * OUTSIDE, axis=0) * tf.cast(more["a"], tf.float64) + tf.cast(
        tf.size(vector), tf.float64
    )


OUTSIDE = tf.constant(RNG.normal(size=3))


def expected(vector, weights=WEIGHTS):
    """The result of `program` by NumPy."""
    hidden = np.tanh(X @ weights)
    return ((hidden * vector + ARGUMENTS[2]["b"].numpy()[:, None]) * OUTSIDE.numpy()).sum(axis=0) * 0.5 + 3


def form_of(run, *arguments, last=VECTOR):
    """The concrete function of a program."""
    return tf.function(run, autograph=False).get_concrete_function(*arguments, last)


def types(form):
    """The types of the operations of a concrete function."""
    return {operation.type for operation in form.graph.get_operations()}


@pytest.mark.parametrize("memory", [1e9, 0])
def test_it_gives_what_the_program_gives(memory):
    """With intermediate values that are kept, and without."""
    (run,) = partial.fix([form_of(program, *ARGUMENTS)], [ARGUMENTS], memory)
    for vector in RNG.normal(size=(3, 3)):
        np.testing.assert_allclose(run(tf.constant(vector)), expected(vector), rtol=1e-14)


def test_what_does_not_depend_on_the_last_argument_is_computed_once():
    """Each operation is where it belongs, and what is kept is counted: tanh [5, 3] and labels [5, 3] in float64."""
    division = partial._divide(form_of(program, *ARGUMENTS))
    first, second = division.halves()
    assert "Tanh" in types(first)
    assert "Tanh" not in types(second)
    assert "Mul" in types(second)
    assert "Shape" not in types(second)
    assert division.bytes == 8 * (5 * 3 + 5 * 3 + 1)  # and the number a, cast to float64


def test_only_what_the_result_needs_is_kept():
    """Derivatives leave operations behind that nothing reads: sin, three numbers, is kept, exp is not."""

    def wasteful(x, vector):
        vector * tf.exp(x)
        return vector * tf.sin(x)

    x, vector = RNG.normal(size=(2, 3))
    form = form_of(wasteful, tf.constant(x))
    assert partial._divide(form).bytes == 8 * 3
    assert "Exp" not in types(partial._divide(form).halves()[0])
    (run,) = partial.fix([form], [(tf.constant(x),)], 1e9)
    np.testing.assert_allclose(run(tf.constant(vector)), vector * np.sin(x), rtol=1e-14)


def test_a_form_is_divided_once_and_serves_other_values():
    """Two sets of arguments share the compiled halves, and each keeps its own values."""
    form, others = form_of(program, *ARGUMENTS), ([tf.constant(2 * WEIGHTS)], *ARGUMENTS[1:])
    first, second = partial.fix([form, form], [ARGUMENTS, others], 1e9)
    assert partial._divide(form) is partial._divide(form)
    vector = RNG.normal(size=3)
    np.testing.assert_allclose(first(tf.constant(vector)), expected(vector), rtol=1e-14)
    np.testing.assert_allclose(second(tf.constant(vector)), expected(vector, 2 * WEIGHTS), rtol=1e-14)


def test_memory_is_bounded_for_all_forms_together():
    """One form fits, two do not: then neither keeps anything."""
    form = form_of(program, *ARGUMENTS)
    memory = partial._divide(form).bytes
    assert not hasattr(partial.fix([form], [ARGUMENTS], memory)[0], "func")
    for run in partial.fix([form, form], [ARGUMENTS, ARGUMENTS], 1.5 * memory):
        assert run.func is form


def printing(x, vector):
    """With a side effect."""
    tf.print(x, output_stream="file:///dev/null")
    return vector * tf.exp(x)


def looping(x, vector):
    """Keeps lists of the loop for its derivative."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        powers = tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y * x), (0, tf.ones_like(x)))[1]
    return tape.gradient(powers, x, vector)


def ignoring(x, vector):
    """Does not depend on the last argument."""
    del vector
    return tf.exp(x)


def choosing(x, vector):
    """Control flow of TensorFlow 1, imported: whether a constant exists depends on the order of operations alone."""
    with tf.Graph().as_default() as graph:
        tf.compat.v1.disable_control_flow_v2()
        try:
            total = tf.compat.v1.placeholder(tf.float64, [], "total")
            chosen = [tf.compat.v1.cond(total > edge, lambda: 2.0, lambda: 7.0) for edge in (-1e9, 1e9)]
            tf.identity(tf.cast(chosen[0] + 10 * chosen[1], tf.float64), "chosen")
        finally:
            tf.compat.v1.enable_control_flow_v2()
    inputs = {"total": tf.reduce_sum(x)}
    return vector * tf.ensure_shape(tf.import_graph_def(graph.as_graph_def(), inputs, ["chosen:0"])[0], [])


def writing(x, vector):
    """Writes into what would be kept."""
    return tf.raw_ops.InplaceAdd(x=tf.exp(x), i=[0, 1, 2], v=vector) * 1.0


CASES = {
    printing: lambda x, v: v * np.exp(x),
    looping: lambda x, v: 3 * x**2 * v,
    ignoring: lambda x, v: np.exp(x),
    choosing: lambda x, v: 72 * v,
    writing: lambda x, v: np.exp(x) + v,
}


@pytest.mark.parametrize("run", CASES, ids=lambda run: run.__name__)
def test_what_cannot_be_divided_runs_as_a_whole(run):
    """The program itself is called each time."""
    x, vector = RNG.normal(size=(2, 3))
    form = form_of(run, tf.constant(x))
    (fixed,) = partial.fix([form], [(tf.constant(x),)], 1e9)
    assert partial._divide(form) is None
    assert fixed.func is form
    np.testing.assert_allclose(fixed(tf.constant(vector)), CASES[run](x, vector), rtol=1e-14)


def test_another_result_is_found_out(monkeypatch):
    """What makes the halves differ from the whole, as far as nobody foresaw it: the whole runs then."""
    monkeypatch.setattr(partial, "_UNFIT", ("nothing",))
    x = RNG.normal(size=3)
    form = form_of(choosing, tf.constant(x))
    (fixed,) = partial.fix([form], [(tf.constant(x),)], 1e9)
    for vector in RNG.normal(size=(3, 3)):
        np.testing.assert_allclose(fixed(tf.constant(vector)), CASES[choosing](x, vector), rtol=1e-14)
    (wrong,) = partial.fix([form], [(tf.constant(x),)], 1e9, verify=False)
    wrong(tf.constant(vector))
    assert np.abs(wrong(tf.constant(vector)) - CASES[choosing](x, vector)).max() > 0.1


def test_the_halves_go_with_their_program():
    """Nothing that is kept refers to the form, which would then never be freed."""
    form = form_of(program, *ARGUMENTS)
    known, half = weakref.ref(form), weakref.ref(partial._divide(form).halves()[1])
    del form
    gc.collect()
    assert known() is None
    assert half() is None
