"""Questions about the noise of SGD, from the papers: one file per question, each a command."""

from hw1 import quiet  # noqa: F401
