"""The Bayesian evidence of a trained model by Laplace's approximation (Smith and Le, arXiv 1710.06451; MacKay 1992).

A model with P parameters ω assigns the labels of N examples the probability e^(−Σ ℓ); the prior of ω is Gaussian with
precision λ. The evidence is the probability of the labels, averaged over the prior:

    ∫ e^(−C(ω)) (λ/2π)^(P/2) dω,    C(ω) = Σ ℓ + ½ λ ‖ω‖²,

with the *summed* cost C. Laplace's approximation replaces C by its second-order expansion at the minimum ω₀, where the
Gaussian integral is e^(−C(ω₀)) Π (λᵢ/λ)^(−½). The product is the Occam factor: the share of the prior's width that the
data leave, over all directions. λᵢ are the eigenvalues of ∇²C = N·H + λI, with the Hessian H of the mean loss. A null
model that assigns each of n classes the probability 1/n has the evidence n^(−N). The logarithm of the ratio, null model
over model, is

    E = C(ω₀) + ½ Σ ln(λᵢ/λ) − N ln n,

negative if the evidence favours the model.

*If ∇²C is indefinite* Laplace's integral diverges, and a rule is needed: eigenvalues of ∇²C below λ/2 count as λ/2, so
that no direction is wider than √2 times the prior. Every result says how many eigenvalues it affects
(`Evidence.floored`, `.smallest`). A floor at λ, which means H = 0, would be simpler. But most eigenvalues of a net's H
are nearly 0, and with a kink there quadrature does not converge: on the net 784-30-20-10 at λ = 50 it still changed by
half its value between 40 and 80 Lanczos steps, and by a few per cent with the floor at λ/2.

The formula holds at a minimum of C. For a net that was trained otherwise (without λ, or not to the end) it can still be
computed, and is a measure of flatness in units of the prior.
"""

from typing import NamedTuple, Unpack

import numpy as np

from hw1 import evaluation, models
from hw1.evaluation import checks
from hw1.measures import lanczos, products, quadrature
from hw1.measures.stochastic import Estimate

METHODS = ("lanczos", "dense")
FLOOR = 0.5  # smallest λᵢ/λ that counts


class Evidence(NamedTuple):
    """The evidence and its parts, in nats.

    Attributes:
        log_ratio: E, the log evidence ratio in favour of the null model: C − log_occam − N ln n.
        cost: C(ω₀), the summed loss plus ½ λ ‖ω₀‖².
        log_occam: logarithm of the Occam factor, −½ Σ ln(λᵢ/λ); an `Estimate` whose `.standard_error` is that of E too,
            and 0 if all eigenvalues are known. At most 0 if H has no negative eigenvalues.
        floored: share of the eigenvalues of ∇²C that are below λ/2, in [0, 1].
        smallest: the smallest λᵢ/λ; negative if ∇²C is indefinite. With Lanczos that of the smallest node.
    """

    log_ratio: float
    cost: float
    log_occam: Estimate
    floored: float
    smallest: float


def from_spectrum(
    cost: float, eigenvalues, examples: int, classes: int, regularization: float, counts=None
) -> Evidence:
    """The evidence from the eigenvalues of the Hessian.

    Nodes of quadrature with counts approximate sums over the spectrum, Σ f(λᵢ) ≈ Σ counts · f(nodes). Each row of nodes
    is one estimate of ½ Σ ln(λᵢ/λ); their mean is taken.

    Args:
        cost: C(ω₀), in nats, summed over the examples.
        eigenvalues: of H, the Hessian of the *mean* loss: all of them, shape [parameters]; or nodes of quadrature,
            shape [probes, nodes], where each row represents the spectrum. Zeros may be omitted: they add ln 1 = 0.
        examples: N.
        classes: n of the null model.
        regularization: λ, the precision of the prior.
        counts: how many eigenvalues each node represents, in the shape of `eigenvalues`; None: one.

    Returns:
        An `Evidence`; its standard error is that of the mean over the rows.

    Raises:
        ValueError: for eigenvalues that are not finite, a λ that is not positive, or fewer than two classes.
    """
    _check(regularization, classes)
    nodes = np.atleast_2d(np.asarray(eigenvalues, np.float64))
    if nodes.size == 0 or not np.isfinite(nodes).all():
        raise ValueError("eigenvalues must be one or more finite numbers")
    counts = np.ones_like(nodes) if counts is None else np.atleast_2d(counts)
    excess = nodes * (examples / regularization)  # λᵢ/λ − 1
    samples = -0.5 * np.sum(counts * np.log1p(np.maximum(excess, FLOOR - 1)), axis=1)
    error = samples.std(ddof=1) / np.sqrt(len(samples)) if len(samples) > 1 else 0.0
    occam = Estimate(samples.mean(), error)
    floored = np.sum(counts * (excess < FLOOR - 1)) / np.sum(counts)
    ratio = cost - float(occam) - examples * np.log(classes)
    return Evidence(float(ratio), float(cost), occam, float(floored), float(1 + excess.min()))


def laplace(
    model,
    x,
    y,
    regularization: float,
    classes: int | None = None,
    method: str = "lanczos",
    steps: int = 60,
    probes: int = 4,
    loss=None,
    seed: int = 0,
    **options: Unpack[evaluation.Options],
) -> Evidence:
    """The evidence of a net at its present parameters, with a prior on all of them, biases included.

    Besides one evaluation of the loss it costs probes × steps Hessian-vector products with Lanczos, and as many
    products as there are parameters with the dense method. Lanczos has two errors. That of the random probes falls as
    1/√probes and is the standard error. That of the quadrature falls with the steps, and is not part of it.

    Args:
        model: a built Keras model; it is not changed.
        x: inputs, shape [n, ...]: the training examples.
        y: targets, shape [n].
        regularization: λ, the precision of the prior on the trainable variables.
        classes: of the null model. None: as many as the model has logits; must be given with a `loss`.
        method: "lanczos" for stochastic Lanczos quadrature (see `hw1.measures.hessian.density`), which forms no matrix;
            "dense" for all eigenvalues of H, exact, for a few thousand parameters at most.
        steps: Lanczos steps, each one Hessian-vector product.
        probes: random starting vectors, at least 2.
        loss: None for softmax cross-entropy of logits, or another, as for `hw1.evaluation.per_example`: a negative
            log-likelihood.
        seed: of the probes.
        options: chunk_size and sample_weight, see `hw1.evaluation.Options`; a weight of 2 counts an example twice.

    Returns:
        An `Evidence`.

    Raises:
        TypeError, ValueError: for a model, examples or options that do not fit.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, not {method!r}")
    if method == "lanczos":
        checks.whole("probes", probes, 2)  # the standard error needs two
    if classes is None and loss is not None:
        raise ValueError("with a loss the number of classes of the null model is unknown: give classes")
    problem = evaluation.Problem(model, x, y, loss, **options)
    classes = problem.outputs.shape[-1] if classes is None else classes
    _check(regularization, classes)
    if isinstance(problem.outputs, dict | list | tuple) or problem.outputs.ndim != 2:
        raise ValueError(
            "the evidence is of one label per example: the model must give one output of shape [n, classes]"
        )
    theta, weight = models.flat_parameters(model).astype(np.float64), problem.examples.weight
    mean, _ = evaluation.evaluate_at(problem)
    cost = problem.n * mean + regularization * (theta @ theta) / 2
    operator = lanczos.linear_operator(products.of(problem))
    if method == "dense":
        nodes, counts = np.linalg.eigvalsh(lanczos.matrix(operator)), None
    else:
        found = quadrature.density(operator, steps, probes, 1, 0.01, seed)
        nodes, counts = found.nodes, found.weights * len(theta)
    found = from_spectrum(cost, nodes, problem.n, classes, regularization, counts)
    if weight is None:
        return found
    # Counted with its weight, each example has that share in the null model, too.
    return found._replace(log_ratio=found.log_ratio + (problem.n - float(weight.sum())) * np.log(classes))


def _check(regularization, classes) -> None:
    checks.positive("regularization", regularization)
    checks.whole("classes", classes, 2)
