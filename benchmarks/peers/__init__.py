"""The Hessian by hw1 and by other libraries: do they agree on the same net, and what do they cost?

    make peers

The others are curvlinops, PyHessian and hessian-eigenthings. They need PyTorch, which gets an environment of its own
(`requirements.txt`), so two processes exchange arrays through a file:

1. `export` (TensorFlow) trains the nets of `nets` and writes their weights, images, labels and hw1's results.
2. `agreement` (PyTorch) rebuilds the nets (`rebuilt`), measures them with the `libraries`, and compares.
3. `speed` times both in turns, `ours` and `theirs`, each in a `worker` that is kept alive.
"""
