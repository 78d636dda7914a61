"""The findings about the noise of SGD, one file a question."""
