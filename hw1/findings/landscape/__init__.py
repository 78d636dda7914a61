"""The findings of the papers on curvature and large batches, one file a question."""
