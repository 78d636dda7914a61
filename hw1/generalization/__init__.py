"""Part 1-3, generalization and flat minima: one file per question, each a command."""

from hw1 import quiet  # noqa: F401
