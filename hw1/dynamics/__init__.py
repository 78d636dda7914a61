"""Questions about the noise of stochastic gradient descent: one file per question, each a command."""

from hw1 import quiet  # noqa: F401
