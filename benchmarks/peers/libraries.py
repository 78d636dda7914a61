"""The Hessian of a PyTorch net by three libraries, behind one interface.

Each class takes a net, images and labels, and does all work on them as one batch. ``product`` is Hv of a flat vector.
``eigenvalues(k, setting)`` are the k largest in magnitude, descending; ``SETTINGS`` go from cheap to precise.
``trace(products)`` is an estimate with its standard error, 0 if the library gives none.
"""

import importlib.metadata

import curvlinops
import hessian_eigenthings
import numpy as np
import pyhessian
import scipy.sparse.linalg
import torch
from torch import nn

from hw1 import environment

PACKAGES = ("torch", "curvlinops-for-pytorch", "pyhessian", "hessian-eigenthings")
TOLERANCES = tuple(10.0**-digits for digits in range(11))


class Curvlinops:
    """Forward over reverse mode; eigenvalues by scipy's Lanczos method, as its documentation does; trace by Hutch++.

    The check that model and data are deterministic, which costs two products, is switched off.
    """

    NAME, SETTINGS = "curvlinops", TOLERANCES

    def __init__(self, net: nn.Module, x: torch.Tensor, y: torch.Tensor):
        """Makes the linear operator."""
        parameters = list(net.parameters())
        self.operator = curvlinops.HessianLinearOperator(
            net, nn.CrossEntropyLoss(), parameters, [(x, y)], check_deterministic=False
        )

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

    def trace(self, products: int) -> tuple[float, float]:
        """Hutch++."""
        torch.manual_seed(0)
        return float(curvlinops.hutchpp_trace(self.operator, products)), 0.0


class PyHessian:
    """Reverse over reverse mode on one kept graph of the gradient; eigenvalues by power iteration; trace by Hutchinson.

    A product is only the second backward pass, because the constructor has done the first.
    """

    NAME, SETTINGS = "PyHessian", TOLERANCES

    def __init__(self, net: nn.Module, x: torch.Tensor, y: torch.Tensor):
        """Computes the gradient."""
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
        return np.array(self.hessian.eigenvalues(maxIter=10_000, tol=tolerance, top_n=k)[0])

    def trace(self, products: int) -> tuple[float, float]:
        """Hutchinson's estimator."""
        torch.manual_seed(0)
        samples = self.hessian.trace(maxIter=products, tol=0)
        return np.mean(samples), np.std(samples, ddof=1) / np.sqrt(products)


class Eigenthings:
    """Reverse over reverse mode; eigenvalues by Lanczos without restarts; trace by Hutch++."""

    NAME, SETTINGS = "hessian-eigenthings", (5, 8, 10, 15, 20, 30, 50, 100, 200)

    def __init__(self, net: nn.Module, x: torch.Tensor, y: torch.Tensor):
        """Makes the linear operator."""
        loss = hessian_eigenthings.supervised_loss(nn.CrossEntropyLoss())
        self.operator = hessian_eigenthings.HessianOperator(net, [(x, y)], loss)

    def product(self, vector: torch.Tensor) -> torch.Tensor:
        """Hv."""
        return self.operator.matvec(vector)

    def eigenvalues(self, k: int, steps: int) -> np.ndarray:
        """The setting is the number of Lanczos steps, all orthogonalised."""
        found = hessian_eigenthings.lanczos(self.operator, k=k, max_iter=steps, reorthogonalize=True, seed=0)
        return found.eigenvalues.numpy()

    def trace(self, products: int) -> tuple[float, float]:
        """Hutch++."""
        found = hessian_eigenthings.trace(self.operator, num_matvecs=products, seed=0)
        return found.estimate, found.stderr


ALL = (Curvlinops, PyHessian, Eigenthings)


def describe() -> dict:
    """Versions and processor of this process."""
    described = environment.describe()
    described["versions"] |= {package: importlib.metadata.version(package) for package in PACKAGES}
    return described
