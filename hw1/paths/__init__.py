"""Questions about what lies between points of parameter space, from the papers: one file per question, a command."""

from hw1 import quiet  # noqa: F401
