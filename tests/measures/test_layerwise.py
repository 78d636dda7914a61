"""The blocks of layers against blocks that are cut out of the Hessian of nested tapes."""

import itertools

import cases
import keras
import nets
import numpy as np
import pytest
import references
from cases import Case

from hw1.measures import hessian


def of_one_name(seed):
    """A net of two blocks whose layers have the same names, and a head."""

    def block(name):
        layers = [keras.layers.Dense(3, activation="tanh", dtype="float64", name=f"fc{i}") for i in (1, 2)]
        return keras.Sequential([keras.Input((3,), dtype="float64"), *layers], name=name)

    flat = [keras.Input(nets.SHAPE, dtype="float64"), keras.layers.Flatten(dtype="float64")]
    first = keras.layers.Dense(3, dtype="float64", name="first")
    head = keras.layers.Dense(nets.CLASSES, dtype="float64", name="head")
    model = keras.Sequential([*flat, first, block("block_1"), block("block_2"), head])
    model.dtype_policy = "float64"
    return nets.perturbed(model, seed)


NAMES = ["first", "block_1/fc1", "block_1/fc2", "block_2/fc1", "block_2/fc2", "head"]


def blocks(model, matrix):
    """The diagonal blocks of kernel and bias together, layer by layer."""
    sizes = [int(np.prod(v.shape)) for v in model.trainable_variables]
    ends = np.cumsum([0, *sizes])[::2]
    return [matrix[a:b, a:b] for a, b in itertools.pairwise(ends)]


def test_layers_of_one_name_are_measured_apart():
    """Eigenvalues, and traces with as many products as parameters, which are exact."""
    model, (x, y) = of_one_name(2), nets.examples()
    expected = blocks(model, references.hessian(model, x, y))
    with nets.unchanged(model):
        eigenvalues = hessian.layer_eigenvalues(model, x, y, k=2, tolerance=1e-9)
        traces = hessian.layer_traces(model, x, y, probes=len(references.flat(model.trainable_variables)))
    assert list(eigenvalues) == list(traces) == NAMES
    for block, found, trace in zip(expected, eigenvalues.values(), traces.values(), strict=True):
        values = np.linalg.eigvalsh(block)
        outermost = np.sort(values[np.argsort(-np.abs(values))[:2]])[::-1]
        np.testing.assert_allclose(found, outermost, rtol=1e-8)
        assert trace == pytest.approx(np.trace(block), abs=1e-12)
        assert trace.standard_error == 0


@pytest.mark.parametrize("method", cases.some(["xtrace", "hutch++"], 1))
def test_traces_of_layers_are_unbiased(method):
    """Within four standard errors of the mean over 60 seeds, once in 15,000 not; a seed has the same traces again."""
    case = Case("tanh")
    runs = [case.measure(hessian.layer_traces, probes=12, seed=seed, method=method) for seed in range(60)]
    expected = [np.trace(block) for block in blocks(case.model, case.hessian)]
    for name, trace in zip(runs[0], expected, strict=True):
        assert cases.standard_errors([run[name] for run in runs], trace) < 4
    assert runs[0] == case.measure(hessian.layer_traces, probes=12, seed=0, method=method)


def test_the_estimated_diagonal_is_unbiased():
    """The mean over 60 seeds against the diagonal of the matrix: four standard errors in all but few of its entries."""
    case = Case("tanh")
    runs = [case.measure(hessian.estimated_diagonal, probes=12, seed=seed).values for seed in range(60)]
    errors = [
        cases.standard_errors(entry, truth)
        for entry, truth in zip(np.transpose(runs), np.diag(case.hessian), strict=True)
    ]
    assert np.mean(np.array(errors) < 2) > 0.85
    assert np.max(errors) < 6
