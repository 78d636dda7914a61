"""The Hessian by hw1 and by other libraries: do they agree on the same net, and what do they cost?

    make peers
    make peers NET=mlp
    make peers NET=resnet

The others are curvlinops, PyHessian, hessian-eigenthings and matfree. They need PyTorch and JAX, which get an
environment of their own (`requirements.txt`), so two processes exchange arrays through a file:

1. `export` (TensorFlow) trains the nets of `nets` and writes their weights, images, labels and hw1's results.
2. `agreement` (PyTorch) rebuilds the nets (`rebuilt`; `translated` for JAX), measures them with the `libraries`, and
   compares.
3. `speed` times both in turns, `ours` and `theirs`, each in a `worker` that is kept alive; `measured` says what.
"""
