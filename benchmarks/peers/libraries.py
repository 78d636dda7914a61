"""The Hessian of a PyTorch net by other libraries, as `measured.Library` describes it.

matfree is a library for JAX; it gets the net that `translated` makes of the PyTorch net.
"""

import functools
import importlib.metadata
import sys
from unittest import mock

import curvlinops
import hessian_eigenthings
import jax
import jax.numpy as jnp
import matfree.decomp
import matfree.stochtrace
import numpy as np
import pyhessian
import scipy.sparse.linalg
import torch
from torch import nn

from benchmarks.peers import translated
from benchmarks.peers.measured import Library
from hw1 import environment

PACKAGES = ("torch", "curvlinops-for-pytorch", "pyhessian", "hessian-eigenthings", "jax", "matfree")
TOLERANCES = tuple(10.0**-digits for digits in range(11))
STEPS = (5, 8, 10, 15, 20, 30, 50, 70, 100, 150, 200)  # Lanczos without restarts, all vectors orthogonalised


class _PyTorch(Library):
    """What the three libraries for PyTorch share."""

    def __init__(self, net: nn.Module, x: torch.Tensor, y: torch.Tensor):
        """Keeps what `gradient` needs."""
        self.net, self.x, self.y = net, x, y
        self.size = sum(parameter.numel() for parameter in net.parameters())

    @staticmethod
    def convert(vector: np.ndarray, dtype: str = "float32") -> torch.Tensor:
        """What `product` takes."""
        return torch.tensor(vector.astype(dtype))

    def gradient(self):
        """By PyTorch."""
        return torch.autograd.grad(self.loss(), list(self.net.parameters()))

    def loss(self):
        """The mean cross-entropy."""
        return nn.functional.cross_entropy(self.net(self.x), self.y)


class _CountedHessian(curvlinops.HessianLinearOperator):
    """Tells how many products it computes."""

    def _matmat(self, vectors):
        self.count(vectors[0].shape[-1])
        return super()._matmat(vectors)


class Curvlinops(_PyTorch):
    """Forward over reverse mode; eigenvalues by scipy's Lanczos method, as its documentation does; trace by XTrace.

    The check that model and data are deterministic, which costs two products, is switched off. Its density has no
    orthogonalisation, and gets the ends of the spectrum, for which it would otherwise take further products.
    """

    NAME, SETTINGS, ESTIMATOR = "curvlinops", TOLERANCES, "XTrace"

    def __init__(self, net: nn.Module, x: torch.Tensor, y: torch.Tensor):
        """Makes the linear operator."""
        super().__init__(net, x, y)
        self.operator = _CountedHessian(
            net, nn.CrossEntropyLoss(), list(net.parameters()), [(x, y)], check_deterministic=False
        )
        self.operator.count = self.count

    def product(self, vector: torch.Tensor) -> torch.Tensor:
        """Hv."""
        return self.operator @ vector

    def eigenvalues(self, k: int, tolerance: float) -> np.ndarray:
        """With as many Lanczos vectors as hw1 takes, which is faster here than scipy's default."""
        operator, basis = self.operator.to_scipy(), max(2 * k + 1, k + 7)
        start = np.random.default_rng(0).standard_normal(operator.shape[0])
        return scipy.sparse.linalg.eigsh(operator, k, ncv=basis, tol=tolerance, v0=start, return_eigenvectors=False)[
            ::-1
        ]

    def trace(self, products: int, seed: int = 0) -> tuple[float, float]:
        """XTrace."""
        torch.manual_seed(seed)
        return float(curvlinops.xtrace(self.operator, products)), 0.0

    def density(self, steps: int, runs: int, ends: tuple[float, float] = (-1.0, 1.0)):
        """On a grid between ends, on which its cost does not depend."""
        torch.manual_seed(0)
        return curvlinops.lanczos_approximate_spectrum(self.operator, steps, num_repeats=runs, boundaries=ends)


class PyHessian(_PyTorch):
    """Reverse over reverse mode on one kept graph of the gradient; eigenvalues by power iteration; trace by Hutchinson.

    A product is only the second backward pass, because the constructor has done the first. Its density calls
    `torch.eig`, which PyTorch no longer has.
    """

    NAME, SETTINGS, ESTIMATOR = "PyHessian", TOLERANCES, "Hutchinson"

    def __init__(self, net: nn.Module, x: torch.Tensor, y: torch.Tensor):
        """Computes the gradient."""
        super().__init__(net, x, y)
        net.zero_grad()
        self.hessian = pyhessian.hessian(net, nn.CrossEntropyLoss(), data=(x, y), cuda=False)
        net.zero_grad()  # breaks the cycle between gradients and graph, which would never be freed

    def product(self, vector: torch.Tensor) -> torch.Tensor:
        """Hv."""
        parameters = self.hessian.params
        parts = vector.split([parameter.numel() for parameter in parameters])
        parts = [part.reshape(parameter.shape) for part, parameter in zip(parts, parameters, strict=True)]
        found = pyhessian.hessian_vector_product(self.hessian.gradsH, parameters, parts)
        return torch.cat([part.ravel() for part in found])

    def eigenvalues(self, k: int, tolerance: float) -> np.ndarray:
        """The tolerance is that of the relative change of λ from one iteration to the next."""
        torch.manual_seed(0)

        def counted(*arguments):
            self.count()
            return pyhessian.hessian_vector_product(*arguments)

        with mock.patch.object(sys.modules["pyhessian.hessian"], "hessian_vector_product", counted):
            return np.array(self.hessian.eigenvalues(maxIter=10_000, tol=tolerance, top_n=k)[0])

    def trace(self, products: int, seed: int = 0) -> tuple[float, float]:
        """Hutchinson's estimator."""
        torch.manual_seed(seed)
        samples = self.hessian.trace(maxIter=products, tol=-np.inf)
        return np.mean(samples), np.std(samples, ddof=1) / np.sqrt(products)


class _CountedOperator(hessian_eigenthings.HessianOperator):
    """Tells how many products it computes."""

    def matvec(self, vector):
        self.count()
        return super().matvec(vector)


class Eigenthings(_PyTorch):
    """Reverse over reverse mode; eigenvalues by Lanczos without restarts; trace by Hutch++."""

    NAME, SETTINGS, ESTIMATOR = "hessian-eigenthings", STEPS, "Hutch++"

    def __init__(self, net: nn.Module, x: torch.Tensor, y: torch.Tensor):
        """Makes the linear operator."""
        super().__init__(net, x, y)
        loss = hessian_eigenthings.supervised_loss(nn.CrossEntropyLoss())
        self.operator = _CountedOperator(net, [(x, y)], loss)
        self.operator.count = self.count

    def product(self, vector: torch.Tensor) -> torch.Tensor:
        """Hv."""
        return self.operator.matvec(vector)

    def eigenvalues(self, k: int, steps: int) -> np.ndarray:
        """The setting is the number of Lanczos steps."""
        found = hessian_eigenthings.lanczos(self.operator, k=k, max_iter=steps, reorthogonalize=True, seed=0)
        return found.eigenvalues.numpy()

    def trace(self, products: int, seed: int = 0) -> tuple[float, float]:
        """Hutch++."""
        found = hessian_eigenthings.trace(self.operator, num_matvecs=products, seed=seed)
        return found.estimate, found.stderr

    def density(self, steps: int, runs: int):
        """All vectors orthogonalised."""
        return hessian_eigenthings.spectral_density(self.operator, lanczos_steps=steps, num_runs=runs, seed=0)


class Matfree(Library):
    """Forward over reverse mode in JAX; eigenvalues by Lanczos without restarts; trace by XTrace; all compiled.

    The density is composed of its tridiagonalisation, as its estimator for functions of matrices does. It has no
    function for the density itself.
    """

    NAME, SETTINGS, ESTIMATOR = "matfree", STEPS, "XTrace"

    def __init__(self, net: nn.Module, x: torch.Tensor, y: torch.Tensor):
        """Takes parameters and examples over."""
        parameters = torch.cat([parameter.detach().ravel() for parameter in net.parameters()])
        self.net, self.data = net, tuple(jnp.asarray(part.numpy()) for part in (parameters, x, y))
        self.size = len(self.data[0])

    @staticmethod
    def convert(vector: np.ndarray, dtype: str = "float32") -> jax.Array:
        """What `product` takes."""
        return jnp.asarray(vector, dtype)

    def _run(self, program, *arguments):
        return jax.block_until_ready(program(self.net, self.data, *arguments))

    def loss(self):
        """The mean cross-entropy."""
        return translated.loss(self.net)(*self.data)

    def gradient(self):
        """By JAX."""
        return self._run(_gradient)

    def product(self, vector):
        """Hv."""
        return self._run(_product, vector)

    def eigenvalues(self, k: int, steps: int) -> np.ndarray:
        """The setting is the number of Lanczos steps."""
        self.count(steps)
        values = np.asarray(self._run(_ritz, steps, jax.random.key(0))[0])
        return np.sort(values[np.argsort(-abs(values))[:k]])[::-1]

    def trace(self, products: int, seed: int = 0) -> tuple[float, float]:
        """XTrace."""
        value, error = self._run(_trace, products // 2, jax.random.key(seed))
        return float(value), float(error)

    def density(self, steps: int, runs: int):
        """Nodes and weights of each run."""
        return [self._run(_ritz, steps, jax.random.key(run)) for run in range(runs)]


def _multiply(net, data):
    """The function v → Hv."""
    parameters, x, y = data
    slope = jax.grad(translated.loss(net))
    return lambda vector: jax.jvp(lambda at: slope(at, x, y), (parameters,), (vector,))[1]


@functools.partial(jax.jit, static_argnums=0)
def _gradient(net, data):
    return jax.grad(translated.loss(net))(*data)


@functools.partial(jax.jit, static_argnums=0)
def _product(net, data, vector):
    return _multiply(net, data)(vector)


@functools.partial(jax.jit, static_argnums=(0, 2))
def _ritz(net, data, steps, key):
    """Ritz values from a random start, and the squared first components of their eigenvectors."""
    start = jax.random.normal(key, data[0].shape, data[0].dtype)
    values, vectors = jnp.linalg.eigh(matfree.decomp.tridiag_sym(steps)(_multiply(net, data), start).J_small)
    return values, vectors[0] ** 2


@functools.partial(jax.jit, static_argnums=(0, 2))
def _trace(net, data, samples, key):
    sampler = matfree.stochtrace.sampler_normal(data[0], num=samples)
    estimator = matfree.stochtrace.estimator_leave_one_out_mean_and_sem(
        matfree.stochtrace.leave_one_out_xtrace(), sampler
    )
    return estimator(_multiply(net, data), key)


ALL = (Curvlinops, PyHessian, Eigenthings, Matfree)


def describe() -> dict:
    """Versions and processor of this process."""
    described = environment.describe()
    described["versions"] |= {package: importlib.metadata.version(package) for package in PACKAGES}
    return described
