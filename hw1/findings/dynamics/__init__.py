"""The findings on the noise of stochastic gradient descent, one file a question."""
