"""Questions from the papers behind part 1-3: one file per question, each a command."""

from hw1 import quiet  # noqa: F401
