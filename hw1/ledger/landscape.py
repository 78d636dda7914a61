"""What the papers claim about curvature, and whether it holds here. Functions as in `hw1.ledger.generalization`."""

# large_batch

# remedies

# straight_line

# spectrum

# adversarial

# loss_functions

# evidence

# flatness

# redundancy

QUESTIONS = (
    # large_batch
    # remedies
    # straight_line
    # spectrum
    # adversarial
    # loss_functions
    # evidence
    # flatness
    # redundancy
)
