"""Timed comparisons, side by side in one process: python -m benchmarks.training, python -m benchmarks.hessian."""
