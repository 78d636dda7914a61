"""What the papers claim about curvature, and whether it holds here, one file per family."""

from hw1.ledger.landscape import batches, flatness

QUESTIONS = (*batches.QUESTIONS, *flatness.QUESTIONS)
