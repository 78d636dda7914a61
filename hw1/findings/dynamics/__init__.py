"""The findings about SGD's noise, one file a question."""
