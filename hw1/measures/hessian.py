"""The Hessian H = ∇²L(θ) of the mean loss: products, exact entries, eigenvalues, norms, trace, spectral density.

Everything is built from three layers, each in a file of its own:

1. products v ↦ Hv (`products`), which never form H; matrices for small nets (`exact`);
2. algorithms that take any symmetric operator: `lanczos` for extreme eigenvalues, `stochastic` for trace and Frobenius
   norm, `stochastic_diagonal` for the diagonal and the traces of layers, `quadrature` for the spectral density;
3. this module, and `layerwise` for the blocks of layers, which apply them to the Hessian of a Keras model. This is the
   module to import.

A *block* of H belongs to one trainable variable. ``scope="block"`` sets all second derivatives with respect to two
different variables to zero, as `tf.hessians` does; ``scope="full"`` keeps them. H is that of the model in inference
mode, at its present parameters.
"""

from typing import Unpack

from hw1 import evaluation
from hw1.measures import lanczos, quadrature, stochastic, stochastic_diagonal
from hw1.measures.exact import blocks, dense, diagonal
from hw1.measures.lanczos import Eigenpairs
from hw1.measures.layerwise import layer_eigenvalues, layer_traces
from hw1.measures.products import SCOPES, product
from hw1.measures.quadrature import Density
from hw1.measures.stochastic import Estimate
from hw1.measures.stochastic_diagonal import Diagonal

__all__ = [
    "SCOPES",
    "Density",
    "Diagonal",
    "Eigenpairs",
    "Estimate",
    "blocks",
    "dense",
    "density",
    "diagonal",
    "eigenpairs",
    "eigenvalues",
    "estimated_diagonal",
    "frobenius_norm",
    "layer_eigenvalues",
    "layer_traces",
    "product",
    "spectral_norm",
    "trace",
]


def eigenvalues(
    model,
    x,
    y=None,
    k: int = 1,
    which: str = "LM",
    loss=None,
    tolerance: float = 1e-3,
    vectors: bool = False,
    **options: Unpack[evaluation.Options],
):
    """Extreme eigenvalues of the full Hessian by Lanczos with deflation (`hw1.measures.lanczos`).

    Repeated eigenvalues come as often as they are repeated. The largest eigenvalue of the course's net costs at most 16
    products. Several eigenvalues, or eigenvalues that lie close together, cost more. The error of λ is at most
    tolerance · |λ|, and usually of the order of its square: ‖r‖² / gap, with the residual r and the distance to the
    next eigenvalue as gap, is below 1e-5 |λ| at the default tolerance on the nets here.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        k: how many.
        which: "LM" largest magnitude, "LA" largest, "SA" smallest (most negative).
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`.
        tolerance: relative error, and relative residual ‖Hv − λv‖ / |λ|, at which Lanczos stops (for |λ| below
            ‖H‖₂ / 100 relative to that).
        vectors: return the eigenvectors too.
        options: see `hw1.evaluation.Options`.

    Returns:
        The eigenvalues, shape [k], descending; with `vectors` also the eigenvectors, shape [parameters, k].

    Raises:
        TypeError, ValueError: as `product`, and for another `k`, `which` or `tolerance`.
        RuntimeError: if an eigenvalue has not converged.
    """
    return lanczos.eigenvalues(_operator(model, x, y, loss, options), k, which, tolerance, vectors)


def eigenpairs(
    model,
    x,
    y=None,
    k: int = 1,
    which: str = "LM",
    loss=None,
    tolerance: float = 1e-3,
    **options: Unpack[evaluation.Options],
) -> Eigenpairs:
    """As `eigenvalues`, with eigenvectors and what says how far they can be trusted.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        k: as for `eigenvalues`.
        which: as for `eigenvalues`.
        loss: as for `eigenvalues`.
        tolerance: as for `eigenvalues`.
        options: see `hw1.evaluation.Options`.

    Returns:
        `Eigenpairs`: values, vectors, residuals, whether each has converged, and the number of products.

    Raises:
        TypeError, ValueError: as `eigenvalues`.
    """
    return lanczos.eigenpairs(_operator(model, x, y, loss, options), k, which, tolerance)


def _operator(model, x, y, loss, options, scope="full"):
    """The Hessian as a linear operator."""
    return lanczos.linear_operator(product(model, x, y, loss, scope=scope, **options))


def spectral_norm(
    model,
    x,
    y=None,
    scope: str = "full",
    loss=None,
    tolerance: float = 1e-3,
    **options: Unpack[evaluation.Options],
) -> float:
    """The spectral norm ‖H‖₂, the largest absolute eigenvalue, by Lanczos.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        scope: "full"; or "block" for the block-diagonal part of H, whose norm is the largest of its blocks' norms.
        loss: as for `eigenvalues`.
        tolerance: as for `eigenvalues`, which also says what it costs and how exact it is.
        options: see `hw1.evaluation.Options`.

    Returns:
        The norm, in units of loss per squared unit of the parameters.

    Raises:
        TypeError, ValueError: as `product`.
    """
    operator = _operator(model, x, y, loss, options, scope)
    return float(abs(lanczos.eigenvalues(operator, 1, "LM", tolerance)[0]))


def trace(
    model,
    x,
    y=None,
    loss=None,
    probes: int = 30,
    seed: int = 0,
    method: str = "hutch++",
    **options: Unpack[evaluation.Options],
) -> Estimate:
    """The trace of H, the sum of its eigenvalues, by Hutch++ or XTrace.

    It is the same for both scopes. The estimate is unbiased (see `hw1.measures.stochastic`). Its error is that of
    sampling what remains of H outside its dominant directions; with as many probes as parameters it is exact.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: as for `eigenvalues`.
        probes: number of Hessian-vector products, at least 6.
        seed: of the random signs.
        method: "hutch++" (Meyer et al., arXiv 2010.09649), or "xtrace" (Epperly et al., arXiv 2301.07825), which errs
            less on trained nets.
        options: see `hw1.evaluation.Options`.

    Returns:
        The trace as a float with `.standard_error` (of the sampled remainder).

    Raises:
        TypeError, ValueError: as `product`, and for fewer than 6 probes or another method.
    """
    operator = _operator(model, x, y, loss, options)
    return stochastic.trace(operator, probes, seed, method)


def estimated_diagonal(
    model,
    x,
    y=None,
    loss=None,
    probes: int = 30,
    seed: int = 0,
    method: str = "xdiag",
    **options: Unpack[evaluation.Options],
) -> Diagonal:
    """Estimates of the diagonal of H, without bias, for nets too large for `diagonal`.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        loss: as for `eigenvalues`.
        probes: number of Hessian-vector products, at least 6.
        seed: of the random signs.
        method: "xdiag" (Epperly et al., arXiv 2301.07825) or "hutchinson"; `hw1.measures.stochastic_diagonal` says
            which when.
        options: see `hw1.evaluation.Options`.

    Returns:
        A `Diagonal`: values and standard errors, each of shape [parameters].

    Raises:
        TypeError, ValueError: as `product`, and for fewer than 6 probes or another method.
    """
    return stochastic_diagonal.diagonal(_operator(model, x, y, loss, options), probes, seed, method)


def frobenius_norm(
    model,
    x,
    y=None,
    scope: str = "full",
    loss=None,
    probes: int = 90,
    seed: int = 0,
    **options: Unpack[evaluation.Options],
) -> Estimate:
    """The Frobenius norm ‖H‖_F = √trace(H²) = √(Σ λ_i²) by Hutch++ on H².

    ``tf.norm(A, 2)`` of a matrix A returns this norm, not the spectral norm ‖A‖₂.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        scope: "full", or "block" for the norm of the block-diagonal part of H.
        loss: as for `eigenvalues`.
        probes: number of Hessian-vector products, at least 6.
        seed: of the random signs.
        options: see `hw1.evaluation.Options`.

    Returns:
        The norm as a float with `.standard_error`.

    Raises:
        TypeError, ValueError: as `product`, and for fewer than 6 probes.
    """
    return stochastic.frobenius_norm(_operator(model, x, y, loss, options, scope), probes, seed)


def density(
    model,
    x,
    y=None,
    steps: int = 100,
    probes: int = 4,
    points: int = 1000,
    width: float = 0.01,
    loss=None,
    seed: int = 0,
    **options: Unpack[evaluation.Options],
) -> Density:
    """The spectral density of H by stochastic Lanczos quadrature (Ghorbani et al., arXiv 1901.10159).

    It costs probes × steps products, and steps × parameters numbers in float64 for the Lanczos basis. Two errors
    remain: that of sampling falls as 1/√probes, and is smaller for larger nets; that of the quadrature falls with the
    steps, fastest at the ends of the spectrum, where each outlying eigenvalue becomes a node of its own. See
    `hw1.measures.quadrature` for the definition.

    Args:
        model: a built Keras model.
        x: inputs, shape [n, ...].
        y: targets, shape [n].
        steps: Lanczos steps, each one product; at most the number of parameters is taken.
        probes: random starting vectors (Gaussian, normalised).
        points: of the grid, which covers all nodes with a margin of four widths.
        width: standard deviation of the Gaussian that smooths the nodes, as a share of the spectrum's range.
        loss: as for `eigenvalues`.
        seed: of the starting vectors.
        options: see `hw1.evaluation.Options`.

    Returns:
        A `Density`.

    Raises:
        TypeError, ValueError: as `product`, and for numbers of steps, probes or points below 1 or a width that is not
            positive.
    """
    return quadrature.density(_operator(model, x, y, loss, options), steps, probes, points, width, seed)
