"""Part 1-2, optimization: one file per question, each a command."""

from hw1 import quiet  # noqa: F401
