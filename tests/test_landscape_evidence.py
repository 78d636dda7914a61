"""Tests of the questions evidence and adversarial: what their rows must satisfy, at smoke size."""

import keras
import numpy as np
import pytest
import scipy.optimize

from hw1 import datasets, models, plot, question, records
from hw1.landscape import adversarial, evidence
from hw1.ledger.landscape import evidence as ledger
from hw1.measures import evidence as measure


@pytest.fixture(scope="module")
def rows(at_smoke_size):
    """The rows of both questions at smoke size, and their settings."""
    names = ("evidence", "adversarial")
    folder = at_smoke_size(*names)
    return {name: (records.read(folder, name), records.settings(folder, name)) for name in names}


def test_the_parts_add_up_to_the_evidence(rows):
    """E = C − log Occam − N ln n, with the N and n of the regression and of the nets; to the CSV's seven digits."""
    frame, settings = rows["evidence"]
    regression = frame.model == evidence.REGRESSION
    null = np.where(regression, settings["images"] * np.log(2), settings["train"] * np.log(10))
    np.testing.assert_allclose(frame.log_evidence_ratio, frame.cost - frame.log_occam - null, atol=1e-3)
    assert (frame.log_occam[regression] < 0).all()
    assert (frame.gradient_norm[regression] <= evidence.TOLERANCE).all()
    assert (frame.standard_error[~regression] > 0).all()


def test_each_regression_meets_every_regularisation(rows):
    """Both kinds of labels, each seed, each λ; as λ grows the training loss rises and ln Occam rises to 0."""
    frame, settings = rows["evidence"]
    regressions = frame[frame.model == evidence.REGRESSION]
    assert len(regressions) == 2 * settings["seeds"] * settings["points"]
    for _, each in regressions.sort_values("regularization").groupby(["labels", "seed"]):
        assert (np.diff(each.train_loss) > 0).all()
        assert (np.diff(each.log_occam) > 0).all()
        assert each.regularization.min() == pytest.approx(settings["weakest"])
        assert each.regularization.max() == pytest.approx(settings["strongest"])


def test_true_labels_are_learned_and_random_ones_learned_by_heart(rows):
    """At the weakest prior both are fitted; what was learned helps on the test set with true labels only."""
    frame, settings = rows["evidence"]
    weakest = frame[(frame.model == evidence.REGRESSION) & np.isclose(frame.regularization, settings["weakest"])]
    weakest = weakest.groupby("labels")[["train_accuracy", "test_accuracy"]].mean()
    assert (weakest.train_accuracy == 1).all()
    assert weakest.test_accuracy["true"] > 0.95
    assert weakest.test_accuracy["random"] < 0.75


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


def test_attacks_harm_the_more_the_larger_they_are(rows):
    """No net's loss falls with ε, and the four are those of the net at every ε."""
    frame, settings = rows["adversarial"]
    nets = len(settings["batch_sizes"]) * settings["seeds"]
    assert frame.groupby(["attack", "epsilon"]).size().eq(nets).all()
    assert frame.groupby(["batch_size", "seed"])[[*records.FOUR, "largest_eigenvalue"]].nunique().eq(1).all().all()
    for _, each in frame.sort_values("epsilon").groupby(["batch_size", "seed", "attack"]):
        assert (np.diff([each.test_loss.iloc[0], *each.attacked_loss]) > 0).all()
        assert each.attacked_accuracy.iloc[-1] < each.test_accuracy.iloc[-1]


@pytest.mark.parametrize("name", ["evidence", "adversarial"])
def test_diverged_nets_are_left_out(rows, name):
    """A net whose loss is not finite is a row of NaNs; figure and claims are made of the others."""
    frame, settings = rows[name]
    nets = frame[frame.batch_size == settings["batch_sizes"][0]]
    lost = frame.copy()
    columns = frame.columns.difference(["model", "labels", "attack", "batch_size", "seed", "status"])
    lost.loc[nets.index, columns] = np.nan
    lost.loc[nets.index, "status"] = "diverged"
    plot.FIGURES[name](lost, settings).draw_without_rendering()
    claims = list({claims.__name__: claims for claims in ledger.QUESTIONS}[name](lost, settings))
    assert len(claims) == len(list({c.__name__: c for c in ledger.QUESTIONS}[name](frame, settings)))


def test_a_learning_rate_that_diverges_gives_such_rows():
    """Through the questions' own code."""
    data = datasets.load("mnist10k", train=200, test=200)
    units = {evidence: {"model": evidence.NET, "labels": "true", "batch_size": 20}, adversarial: {"batch_size": 20}}
    for module, unit in units.items():
        module_name = question.name_of(module)
        settings = question.make_settings(module, "smoke", train=200, test=200, learning_rate=1e30, seeds=1)
        found = list(module.run(settings, data, **unit))
        assert [row["status"] for row in found] == ["diverged"]
        line = dict(zip(records.COLUMNS[module_name], records._line(module_name, unit, found[0]), strict=True))
        assert (line["seed"], line["status"], line["test_accuracy"]) == ("0", "diverged", "nan")


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
    data = datasets.load("mnist10k", train=200, test=200)
    settings = question.make_settings(evidence, "smoke", train=200, test=200, images=800)
    with pytest.raises(ValueError, match="400 images of each of the digits 0 and 1"):
        list(evidence.run(settings, data, evidence.REGRESSION, "true", 800))
