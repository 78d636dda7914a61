"""The figures of the papers' questions, one file per family."""

from hw1.figures.landscape import batches, curvature, flatness

QUESTIONS = (*batches.QUESTIONS, *curvature.QUESTIONS, *flatness.QUESTIONS)
