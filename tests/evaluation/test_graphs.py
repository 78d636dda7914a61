"""The memory that a model's graph tells, against a count by hand and against what a process takes."""

import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

from hw1 import evaluation

L = keras.layers


def bytes_per_example(model, x):
    """What the graph tells."""
    return evaluation.Problem(model, x, targets=False)._facts.bytes_per_example


def test_a_convolutional_net():
    """Each output is counted once, in float32: of convolution, bias, ReLU, pooling, product, bias; and the input."""
    layers = [L.Conv2D(8, 3, activation="relu"), L.MaxPooling2D(2), L.Flatten(), L.Dense(3)]
    model = keras.Sequential([keras.Input((12, 12, 2)), *layers])
    numbers = 12 * 12 * 2 + 3 * 10 * 10 * 8 + 5 * 5 * 8 + 2 * 3
    # the flattened image and the identity at the end are counted too, though they take no memory
    assert 4 * numbers <= bytes_per_example(model, np.zeros((2, 12, 12, 2), "float32")) <= 1.2 * 4 * numbers


def test_a_loop_counts_as_often_as_it_is_run():
    """Each of 50 steps: products with input and state, bias, sum and four gates, of 32 numbers each; cell and state."""
    model = keras.Sequential([keras.Input((50, 4)), L.LSTM(8), L.Dense(3)])
    found = bytes_per_example(model, np.zeros((2, 50, 4), "float32"))
    by_hand = 4 * 50 * (6 * 32 + 5 * 8)
    assert by_hand <= found <= 3 * by_hand


def test_attention_is_quadratic():
    """Scores and their softmax for each head and each pair of steps dominate a long sequence."""
    inputs = keras.Input((64, 4))
    model = keras.Model(inputs, L.Dense(3)(L.Flatten()(L.MultiHeadAttention(2, 2)(inputs, inputs))))
    found, scores = bytes_per_example(model, np.zeros((2, 64, 4), "float32")), 4 * 2 * 64 * 64
    assert 2 * scores <= found <= 5 * scores


def test_the_chunk_follows_the_memory(monkeypatch):
    """As many examples as fit below the limit: twice the memory takes twice as many, and none is too few."""
    model = keras.Sequential([keras.Input((12, 12, 2)), L.Conv2D(8, 3, activation="relu"), L.Flatten(), L.Dense(3)])
    x, chunks = np.zeros((600, 12, 12, 2), "float32"), []
    for memory in (1, 10**6, 2 * 10**6, 10**12):
        monkeypatch.setattr("hw1.evaluation.problem.MEMORY", memory)
        chunks.append(evaluation.Problem(model, x, targets=False).chunk_size)
    least, one, two, most = chunks
    assert least == 1
    assert 2 * one <= two <= 2 * one + 1
    assert one * bytes_per_example(model, x) <= 10**6
    assert most >= len(x)


@pytest.mark.slow
def test_chunks_bound_the_memory():
    """A product with the default chunk stays below the limit, here 150 MB, which a single call of all would exceed."""
    program = """
        import keras, numpy as np
        from hw1 import evaluation
        from hw1.evaluation import problem
        from hw1.measures import hessian
        problem.MEMORY = 150 * 10**6
        layers = [keras.layers.Conv2D(32, 3, activation="relu"), keras.layers.MaxPooling2D(2), keras.layers.Flatten()]
        model = keras.Sequential([keras.Input((32, 32, 3)), *layers, keras.layers.Dense(3)])
        x, y = np.random.default_rng(0).random((600, 32, 32, 3), dtype="float32"), np.zeros(600, int)
        def peak(n, chunk_size=None):
            multiply = hessian.product(model, x[:n], y[:n], chunk_size=chunk_size)
            multiply(np.ones(multiply.size))
            return next(int(line.split()[1]) for line in open("/proc/self/status") if "VmHWM" in line) * 1024
        start = peak(2)
        print(peak(600) - start, peak(600, 600) - start)
    """
    found = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    default, at_once = map(int, found.stdout.split())
    assert default < 150e6 < at_once


@pytest.mark.parametrize("chunk_size", [1, 7])
def test_a_given_chunk_is_kept(chunk_size):
    """Whatever the graph tells."""
    model = keras.Sequential([keras.Input((4,)), L.Dense(3)])
    assert evaluation.Problem(model, np.zeros((20, 4)), chunk_size=chunk_size, targets=False).chunk_size == chunk_size
