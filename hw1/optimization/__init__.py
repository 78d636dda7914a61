"""Part 1-2: what optimisation does, one file per question."""
