"""The figures of the papers' questions, one file per family."""

from hw1.figures.landscape import batches, flatness

QUESTIONS = (*batches.QUESTIONS, *flatness.QUESTIONS)
