"""The findings of part 1-3, generalization, one file a question."""
