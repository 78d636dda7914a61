"""The findings of part 1-1, deep against shallow nets, one file a question."""
