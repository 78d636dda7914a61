"""The findings on the noise of SGD, one file a question."""
