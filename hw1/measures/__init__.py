"""What is measured on a trained net, one idea a file; every measure takes any built Keras model.

- `hessian`: products, entries, eigenvalues, norms, trace and spectral density of the Hessian of the mean loss. It rests
  on `products`, `exact`, `lanczos` (on `krylov`), `stochastic`, `stochastic_diagonal` and `quadrature`.
- `gauss_newton`: the two parts of the Hessian, H = G + R.
- `noise`: the covariance of the gradients of single examples, and the noise of mini-batches that follows from it;
  it rests on `covariance`.
- `smoothing`: the loss convolved with a Gaussian in parameter space. `points`: the loss at many points.
- `sharpness`: the rise of the loss around a minimum. `volume`: the volume of the flat region around it. `evidence`: the
  Bayesian evidence, by Laplace's approximation.
- `perturbation`: the mean rise of the loss under random perturbations. `margins`: of a classifier.
- `sampling`: the error by the choice of examples. `stability`: the curvature at which an optimiser becomes unstable.
- `sensitivity`: derivatives with respect to the input. `adversarial`: changes of the input that raise the loss.
- `interpolation`: the loss on lines, paths and planes in parameter space, and the barrier between two nets;
  `directions` for planes.
- `paths`: paths of low loss between two nets, the string method and Bézier curves; it rests on `curves`. `alignment`: a
  net's hidden units in another's order; it rests on `units`.
- `stationary`: points of zero gradient, and the share of directions in which the loss rises from them.
"""
