"""What the tests of the card and of the command share."""

import pytest


@pytest.fixture
def only(monkeypatch):
    """Restricts cards to losses, margins and some of the steps that follow, and draws nothing.

    Most of the time of a card goes to the measures of the Hessian, which are tested by themselves.
    """
    from hw1.measure import cards, pictures

    def restrict(*names):
        rest = cards._rest
        monkeypatch.setattr(cards, "_rest", lambda work: [step for step in rest(work) if step.name in names])
        monkeypatch.setattr(pictures, "draw", lambda *_: [])

    return restrict
