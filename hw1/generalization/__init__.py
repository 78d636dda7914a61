"""Part 1-3: do nets generalise, and do flat minima generalise better? One file per question, each a command."""

from hw1 import quiet  # noqa: F401
