"""The figures of the papers' questions, one file per family."""

from hw1.figures.landscape import batches, curvature, evidence, flatness

QUESTIONS = (*batches.QUESTIONS, *curvature.QUESTIONS, *evidence.QUESTIONS, *flatness.QUESTIONS)
