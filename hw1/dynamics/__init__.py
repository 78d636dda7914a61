"""Questions about the noise of SGD and what it does to the solution: one file per question, each a command."""

from hw1 import quiet  # noqa: F401
