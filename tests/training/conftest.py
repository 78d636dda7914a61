"""What the tests of training share."""

import pytest

from hw1.training import program


@pytest.fixture
def xla(monkeypatch):
    """Lets XLA compile dense nets, as it does for trainings of thousands of steps."""
    monkeypatch.setattr(program, "_XLA_STEPS", 0)
