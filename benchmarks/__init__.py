"""Timed comparisons in one process: python -m benchmarks.training, python -m benchmarks.hessian."""
