"""What is claimed about part 1-1. Functions as in `hw1.ledger.generalization`."""

QUESTIONS = ()
