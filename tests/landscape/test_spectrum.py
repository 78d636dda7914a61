"""Question spectrum: what its rows must satisfy at smoke size, whatever the nets."""

import numpy as np
import pytest

from hw1 import claims, question, records
from hw1.findings import drawing
from hw1.findings.verdict import INCOMPARABLE
from hw1.landscape import spectrum


@pytest.fixture(scope="module")
def runs(at_smoke_size):
    """A folder with the question at smoke size."""
    return at_smoke_size("spectrum")


ONE_SET = {"data": ("mnist10k",), "target_losses": (0.1,), "small_target_loss": 1.0, "batch_sizes": (20,)}
NET = ["data", "batch_size", "seed"]


def test_every_net_has_its_eigenvalues(runs):
    """They descend from λ₁, the count of outliers follows from them, and the trace is near what they sum to."""
    frame, tables = records.read(runs, "spectrum").set_index(NET), records.tables(runs, "spectrum")
    values, whole = tables["eigenvalues"], tables["nets"].set_index(NET)
    values = values[values.classes == 10].set_index(NET)
    assert len(values) == 12 * len(whole) == 12 * 2 * 2
    assert len(frame) == 2 * 2 * 2
    for key, net in whole.iterrows():
        found = values.loc[key].sort_values("rank").eigenvalue.to_numpy()
        assert (np.diff(found) <= 0).all()
        assert max(found[0], net.smallest, key=abs) == pytest.approx(frame.train_largest[key], rel=1e-3)
        assert (found[:-1] - found[1:] > 0.01 * found[0])[int(net.outliers) - 1]
        assert not (found[:-1] - found[1:] > 0.01 * found[0])[int(net.outliers) :].any()
        assert net.smallest <= found[-1]
        assert abs(net.trace - found.sum()) < 0.5 * found.sum() + 4 * net.trace_error


def test_the_density_holds_the_extremes(runs):
    """Weights sum to 1; the outermost nodes are ARPACK's largest eigenvalue and the smallest that is recorded."""
    tables = records.tables(runs, "spectrum")
    frame = tables["nets"].set_index(NET)
    top = tables["eigenvalues"].query("classes == 10 and rank == 1").set_index(NET).eigenvalue
    nets = tables["density"].groupby(NET)
    np.testing.assert_allclose(nets.weight.sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(nets.node.min(), frame.smallest.loc[list(nets.groups)], rtol=1e-6)
    np.testing.assert_allclose(nets.node.max(), top.loc[list(nets.groups)], rtol=1e-2)  # ten steps


def test_no_block_is_sharper_than_the_whole(runs):
    """Cauchy's interlacing: a diagonal block's largest eigenvalue is at most H's; so is an axis's curvature."""
    tables = records.tables(runs, "spectrum")
    top = tables["eigenvalues"].query("classes == 10 and rank == 1").set_index(NET).eigenvalue
    layers = tables["layers"]
    assert set(layers.layer) == {"hidden_1", "logits"}
    largest = layers[layers["rank"] == 1].groupby(NET).eigenvalue.max()
    assert (largest <= 1.0001 * top.loc[largest.index]).all()
    axes = tables["dimensions"]
    assert (axes.groupby(NET).size() == 16 * 2 + 2 + 2 * 10 + 10).all()
    sums = axes.groupby(NET)[["eigenvalue", "curvature"]].agg(["sum", "max", "min"])
    np.testing.assert_allclose(sums.eigenvalue["sum"], sums.curvature["sum"], rtol=1e-4)  # the trace, both ways
    assert (sums.curvature["max"] < sums.eigenvalue["max"]).all()
    assert (sums.curvature["min"] > sums.eigenvalue["min"]).all()


@pytest.mark.slow
def test_nets_that_diverge_are_rows(tmp_path):
    """Every net diverges: a row per net with its status, a figure and claims without a verdict."""
    settings = question.make_settings(spectrum, "smoke", learning_rate=1e38, **ONE_SET)
    question.run_units(spectrum, settings, tmp_path)
    frame = records.read(tmp_path, "spectrum")
    assert (frame.status == "diverged").all()
    assert len(frame) == len(spectrum.units(settings)) * settings.seeds
    assert set(claims.judge(tmp_path, None).verdict) == {INCOMPARABLE}
    assert all(path.exists() for path in drawing.draw("spectrum", tmp_path))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            {"target_losses": (0.1, 0.2, 0.3)},
            ["--target_losses=0.1,0.2,0.3", "one for each of --data=mnist10k,fashion10k"],
        ),
        ({"class_batch_size": 50}, ["class_batch_size=50", "one of (20, 100)"]),
    ],
)
def test_unfit_settings(overrides, words):
    """The message names the flag and what would be right, before anything is trained."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        spectrum.units(question.make_settings(spectrum, "smoke", **overrides))
    assert all(word in str(caught.value) for word in words), caught.value
