"""What the papers claim about curvature, and whether it holds here, one file per family."""

from hw1.ledger.landscape import batches, curvature, evidence, flatness

QUESTIONS = (*batches.QUESTIONS, *curvature.QUESTIONS, *evidence.QUESTIONS, *flatness.QUESTIONS)
