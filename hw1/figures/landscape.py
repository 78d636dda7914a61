"""The figures of the papers' questions. Each function takes the rows and the settings of a question and gives a figure.

Points and lines are means over seeds; bars and bands are 95 % t-intervals of the mean. Solid is training, dashed test.
"""

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
