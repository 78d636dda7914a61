"""What is claimed about part 1-2. Functions as in `hw1.ledger.generalization`."""

QUESTIONS = ()
