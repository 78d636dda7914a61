"""The papers that part 1-3 leans on: one file per question, each a command (see the Readme's table)."""

from hw1 import quiet  # noqa: F401
