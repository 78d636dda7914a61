"""Question evidence: the regression against a Keras net and SciPy, and what the rows must satisfy at smoke size."""

import keras
import numpy as np
import pytest
import scipy.optimize

from hw1 import datasets, models, question, records
from hw1.landscape import evidence
from hw1.measures import evidence as measure


@pytest.fixture(scope="module")
def answer(at_smoke_size):
    """Rows and settings at smoke size."""
    folder = at_smoke_size("evidence")
    return records.read(folder, "evidence"), records.settings(folder, "evidence")


def test_the_parts_add_up_to_the_evidence(answer):
    """E = C − log Occam − N ln n, with the N and n of the regression and of the nets; to the CSV's seven digits."""
    frame, settings = answer
    regression = frame.model == evidence.REGRESSION
    null = np.where(regression, settings["images"] * np.log(2), settings["train"] * np.log(10))
    np.testing.assert_allclose(frame.log_evidence_ratio, frame.cost - frame.log_occam - null, atol=1e-3)
    assert (frame.log_occam[regression] < 0).all()
    assert (frame.gradient_norm[regression] <= evidence.TOLERANCE).all()
    assert (frame.standard_error[~regression] > 0).all()


def test_each_regression_meets_every_regularisation(answer):
    """Both kinds of labels, each seed, each λ; as λ grows the training loss rises and ln Occam rises to 0."""
    frame, settings = answer
    regressions = frame[frame.model == evidence.REGRESSION]
    assert len(regressions[regressions.grid == "coarse"]) == 2 * settings["seeds"] * settings["points"]
    for _, each in regressions.sort_values("regularization").groupby(["labels", "seed"]):
        assert (np.diff(each.train_loss) > 0).all()
        assert (np.diff(each.log_occam) > 0).all()
        assert each.regularization.min() == pytest.approx(settings["weakest"])
        assert each.regularization.max() == pytest.approx(settings["strongest"])


def test_finer_steps_lie_around_the_best(answer):
    """With true labels only, one set for all seeds, evenly between neighbours of the least means of E and test loss."""
    frame, settings = answer
    coarse, fine = (frame[(frame.grid == grid) & (frame.labels == "true")] for grid in ("coarse", "fine"))
    assert set(frame[frame.grid == "fine"].labels) == {"true"}
    assert (fine.groupby("regularization").seed.nunique() == settings["seeds"]).all()
    assert not set(fine.regularization) & set(coarse.regularization)
    found = np.unique(np.concatenate([fine.regularization, coarse.regularization]))
    for column in evidence.OPTIMA:
        means = coarse.groupby("regularization")[column].mean()
        steps = np.diff(np.log10(found[abs(np.log10(found / means.idxmin())) < 3]))
        whole = np.log10(settings["strongest"] / settings["weakest"]) / (settings["points"] - 1)
        assert np.isclose(steps, whole / settings["refinement"]).sum() >= settings["refinement"]


def test_true_labels_are_learned_and_random_ones_learned_by_heart(answer):
    """At the weakest prior both are fitted; what was learned helps on the test set with true labels only."""
    frame, settings = answer
    weakest = frame[(frame.model == evidence.REGRESSION) & np.isclose(frame.regularization, settings["weakest"])]
    weakest = weakest.groupby("labels")[["train_accuracy", "test_accuracy"]].mean()
    assert (weakest.train_accuracy == 1).all()
    assert weakest.test_accuracy["true"] > 0.95
    assert weakest.test_accuracy["random"] < 0.75


def test_wide_images_in_the_space_that_they_span():
    """Rows are those of the regression on all pixels, also for test images outside that space."""
    rng = np.random.default_rng(4)
    x, x_test = (np.hstack([rng.random((n, 60)), np.ones((n, 1))]) for n in (12, 9))
    y, y_test = (np.arange(n) % 2.0 for n in (12, 9))
    grid = np.geomspace(10, 1e-3, 4)
    wide = evidence._path((x, y, x_test, y_test), grid)
    narrow, narrow_test = evidence.narrowed(x, x_test)
    assert narrow.shape == (12, 13)
    for found, expected in zip(evidence._path((narrow, y, narrow_test, y_test), grid), wide, strict=True):
        for column in {*expected} - {"status", "gradient_norm", "updates", "floored"}:
            assert found[column] == pytest.approx(expected[column], rel=1e-7, abs=1e-9), column
        assert found["status"] == expected["status"] == "ok"


def test_the_regression_agrees_with_a_keras_net_and_with_scipy():
    """The measure on a net of one output with all 785 parameters, dark pixels too; and L-BFGS finds no lower cost."""
    data, settings = datasets.load("mnist10k", train=400, test=400), question.make_settings(evidence, "smoke", seeds=1)
    regularization = 0.1
    x, y = evidence._digits(data.x_train, data.y_train, settings.images // 2, np.random.default_rng(0))
    lit = x.any(axis=0)
    weights, _ = evidence.fit(x[:, lit], y, regularization, np.zeros(lit.sum()))
    cost, gradient, hessian = evidence.cost_and_derivatives(weights, x[:, lit], y, regularization)
    own = measure.from_spectrum(
        cost, (np.linalg.eigvalsh(hessian) - regularization) / len(x), len(x), 2, regularization
    )
    assert np.linalg.norm(gradient) <= evidence.TOLERANCE
    net = models.mlp(hidden=(), input_shape=(784,), classes=1, dtype="float64")
    whole = np.zeros(785)
    whole[lit] = weights
    net.set_weights([whole[:784, None], whole[784:]])
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    found = measure.laplace(net, x[:, :784], y[:, None], regularization, 2, "dense", loss=loss)
    assert found.cost == pytest.approx(own.cost, rel=1e-9)
    assert found.log_occam == pytest.approx(own.log_occam, rel=1e-6)

    def objective(w):
        return evidence.cost_and_derivatives(w, x[:, lit], y, regularization)[:2]

    other = scipy.optimize.minimize(objective, np.zeros(lit.sum()), jac=True, method="L-BFGS-B")
    assert cost <= other.fun + 1e-9
    assert cost == pytest.approx(other.fun, rel=1e-2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [({"images": 41}, "--images=41: must be even"), ({"weakest": 2.0, "strongest": 1.0}, "must be below --strongest")],
)
def test_unfit_settings(flags, message):
    """Named, with what would be right."""
    with pytest.raises(ValueError, match=message):
        evidence.units(question.make_settings(evidence, "smoke", **flags))


def test_too_few_digits():
    """More zeros than there are."""
    data = datasets.load_splits("mnist10k", train=200, test=200)
    settings = question.make_settings(evidence, "smoke", train=200, test=200, images=800)
    with pytest.raises(ValueError, match="400 images of each of the digits 0 and 1"):
        list(evidence.run(settings, data, evidence.REGRESSION, "true", 800))
