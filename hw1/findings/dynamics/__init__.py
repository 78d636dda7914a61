"""The findings on SGD's noise, one file a question."""
