"""Part 1-1, deep against shallow nets: one file per question, each a command."""

from hw1 import quiet  # noqa: F401
