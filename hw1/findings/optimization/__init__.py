"""The findings of part 1-2, optimization, one file a question."""
