"""Part 1-2: what optimisation does, one file per question."""

from hw1 import quiet  # noqa: F401
