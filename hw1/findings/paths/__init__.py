"""The findings about what lies between points of parameter space, one file a question."""
