"""Questions about SGD's noise: one file per question, each a command."""

from hw1 import quiet  # noqa: F401
