"""What training gives back."""

import keras
import numpy as np
import pytest
from trainings import OPTIMIZERS, fit, plain

from hw1 import training


@pytest.fixture(scope="module")
def diverged():
    """A net whose loss is no longer finite."""
    (member,) = fit(plain, optimizer=lambda: keras.optimizers.SGD(1e300), seeds=[4])
    return member


@pytest.fixture(scope="module")
def finite():
    """A net that was trained for three epochs."""
    (member,) = fit(plain, optimizer=OPTIMIZERS["sgd"], seeds=[4])
    return member


def test_a_diverged_net_has_no_results(diverged):
    """Loss and accuracy of the last evaluation are NaN, whatever the accuracy of its outputs was."""
    member = diverged
    assert (member.status, member.row["seed"]) == ("diverged", 4)
    assert np.isnan(list(member.final.values())).all()
    assert list(member.curve[-1]) == list(member.history)


def test_views_of_the_history(finite):
    """The curve is the history row by row, the row of results its end with seed, updates and status."""
    member = finite
    assert [at_epoch["epoch"] for at_epoch in member.curve] == [1, 2, 3]
    end = {name: values[-1] for name, values in member.history.items() if name != "epoch"}
    assert list(end) == ["train_loss", "train_accuracy", "test_loss", "test_accuracy"]
    assert member.final == end
    assert {"epoch": 3} | end == member.curve[-1]
    assert member.row == {"seed": 4, "updates": 15, **end, "status": "ok"}


def test_what_can_be_measured(diverged, finite):
    """The members that did not diverge; none is an error with its remedy."""
    assert training.measurable([diverged, finite]) == [finite]
    with pytest.raises(ValueError, match=r"all 1 nets diverged, .* lower the learning rate"):
        training.measurable([diverged])
