"""The steps of a card, in their order: each yields rows, and says before how long it will take."""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from hw1 import evaluation, statistics
from hw1.measure.rows import Row, row
from hw1.measure.work import is_binary, size_of
from hw1.measures import (
    gauss_newton,
    lanczos,
    margins,
    perturbation,
    sampling,
    sensitivity,
    sharpness,
    stochastic,
    stochastic_diagonal,
)

TOLERANCE = 1e-3  # of Lanczos
EXTREME = 28  # products of an extreme eigenvalue and its sampling error, at most on the nets here
PROBES, FROBENIUS_PROBES = 30, 90
SMALL = 100  # parameters up to which traces are exact
DRAWS = 20
STEPS, RUNS = 60, 2  # of the density
OWN = ", with the net's own losses"


class Step(NamedTuple):
    """A part of the card.

    Attributes:
        name: of the measure, or of what it belongs to.
        run: function of the work that yields rows.
        products: its cost in products with the Hessian,
        gradients: in gradients on the training examples,
        forwards: and in forward passes over them.
    """

    name: str
    run: Callable
    products: float = 0
    gradients: float = 0
    forwards: float = 0
    is_partial: bool = False  # whether a part of it is worth having

    def seconds(self, work) -> float:
        """How long it will take, as far as that is known."""
        kinds = len(work.kinds) if self.products or self.gradients else 1
        costs = ((self.products, "product"), (self.gradients, "gradient"), (self.forwards, "forward"))
        return kinds * sum(count * work.seconds.get(name, 0.0) for count, name in costs)


def losses(work) -> Iterator[Row]:
    """Loss and accuracy on all examples."""
    for part, (x, y) in work.parts.items():
        for suffix, options in work.kinds.items():
            problem = evaluation.Problem(work.model, x, y, work.loss, **options)
            value, accuracy = evaluation.evaluate_at(problem)
            each = perturbation.losses_of(problem)
            unit = "nats" if work.loss is None or is_binary(work.loss) else "mean loss"
            yield row(f"{part}_loss{suffix}", value, unit + OWN * bool(suffix), len(each), sampling=sampling.mean(each))
        if part in work.labels and work.classes:
            right = _right(work, part)
            accuracy = right.mean() if np.isnan(accuracy) else accuracy
            yield row(f"{part}_accuracy", accuracy, "share of right answers", len(right), sampling=sampling.mean(right))


def _right(work, part) -> np.ndarray:
    """Whether each answer is right, shape [n]."""
    x, labels = work.parts[part][0], work.labels[part]
    outputs = np.concatenate(list(evaluation.Problem(work.model, x, loss=work.loss, targets=False).all_outputs()))
    if outputs.shape[1:] in ((), (1,)):
        border = 0.5 if work.is_probable else 0  # of one probability, or of one logit
        return ((outputs.reshape(-1) > border) == (labels == 1)).astype(float)
    return (outputs.argmax(axis=1) == labels).astype(float)


def margin(work) -> Iterator[Row]:
    """The distribution of the margins over the training examples."""
    part = "train"
    values = margins.margins(work.model, work.parts[part][0], work.labels[part], work.loss)
    for name, share in (("margin_median", 0.5), ("margin_tenth_percentile", 0.1)):
        value, error = margins.quantile(values, share)
        unit = "right logit − largest other, training examples"
        yield row(name, value, unit, len(values), sampling=sampling.Sampling(error, 0.0))


def _extreme(record, seed_vector=None):
    """An eigenvalue of largest magnitude: value, vector, residual, sampling, and the values without a chunk each."""
    found = lanczos.eigenpairs(record.operator, 1, "LM", TOLERANCE)
    if not found.converged.all():
        raise ValueError(f"Lanczos has not converged: its residual is {found.residuals[0]:.2g}")
    value, vector = float(found.values[0]), found.vectors[:, 0]
    if len(record.sizes) < 2:
        return value, vector, found.residuals[0], sampling.Sampling(np.inf, 0.0), (value, np.full(1, np.nan))
    whole, left_out = sampling.eigenvalues_left_out(record, vector, value)
    return value, vector, found.residuals[0], sampling.jackknife(whole, left_out, record.sizes), (whole, left_out)


def spectral_norm(work) -> Iterator[Row]:
    """‖H‖₂."""
    for suffix in work.kinds:
        record = work.record(suffix)
        value, vector, residual, error, _ = _extreme(record)
        if not suffix:
            work.top = vector, value
        unit = "‖H‖₂" + OWN * bool(suffix)
        yield row(f"spectral_norm_full{suffix}", abs(value), unit, work.n, residual=residual, sampling=error)


def block_norm(work) -> Iterator[Row]:
    """‖H‖₂ of the blocks and the course's sharpness, which is made from it."""
    epsilon = work.settings.epsilon
    for suffix, options in work.kinds.items():
        record = work.record(suffix, "block")
        value, _, residual, error, (whole, left_out) = _extreme(record)
        unit = "‖H‖₂, blocks" + OWN * bool(suffix)
        yield row(f"spectral_norm_block{suffix}", abs(value), unit, work.n, residual=residual, sampling=error)
        problem = evaluation.Problem(work.model, *work.first, work.loss, **options)
        each, (mean, _) = perturbation.losses_of(problem), evaluation.evaluate_at(problem)
        if not 1 + mean > 0:
            raise ValueError(f"the loss is {mean:.3g}; sharpness relative to 1 + loss needs a loss above -1")
        factor = epsilon**2 / 2
        if len(record.sizes) > 1:
            groups = np.split(each, np.cumsum(record.sizes.astype(int))[:-1])
            loss_left_out = sampling.without([group.mean() for group in groups], record.sizes)
            ratios = factor * np.abs(left_out) / (1 + loss_left_out)
            error = sampling.jackknife(factor * abs(whole) / (1 + mean), ratios, record.sizes)
        unit = f"‖H‖₂ ε² / (2 (1 + L)), blocks, ε = {epsilon:g}" + OWN * bool(suffix)
        scale = factor / (1 + mean)
        yield row(
            f"hessian_sharpness{suffix}", abs(value) * scale, unit, work.n, residual=residual * scale, sampling=error
        )


def _probes(work) -> int:
    """Products for a trace: of a small net as many as it has parameters, for then the trace is exact."""
    return work.size if work.size <= SMALL else PROBES


def traces(work) -> Iterator[Row]:
    """The trace of H, and of each layer's block from the same products."""
    for suffix in work.kinds:
        record = work.record(suffix, blocks=list(work.layers.values()))
        groups = {"": np.arange(work.size), **work.layers}
        found = stochastic_diagonal.partial_traces(record.operator, groups, _probes(work), work.settings.seed)
        if not suffix:
            work.pictures["layer_traces"] = {name: float(found[name]) for name in work.layers}
        for (name, value), error in zip(found.items(), record.traces(_probes(work)), strict=True):
            where = f", layer {name}" if name else ""
            yield row(
                f"layer_trace{suffix}/{name}" if name else f"trace{suffix}",
                value,
                f"trace H{where}" + OWN * bool(suffix),
                work.n,
                estimate=value.standard_error,
                sampling=error,
            )


def frobenius_norm(work) -> Iterator[Row]:
    """‖H‖_F."""
    for suffix in work.kinds:
        record = work.record(suffix)
        value = stochastic.frobenius_norm(record.operator, FROBENIUS_PROBES, work.settings.seed)
        error = record.frobenius_norm(FROBENIUS_PROBES)
        unit = "‖H‖_F" + OWN * bool(suffix)
        yield row(f"frobenius_norm{suffix}", value, unit, work.n, estimate=value.standard_error, sampling=error)


def gauss_newton_norm(work) -> Iterator[Row]:
    """‖G‖₂."""
    for suffix, options in work.kinds.items():
        size = work.product(suffix).sizes[0]
        multiply = gauss_newton.product(work.model, *work.first, work.loss, chunk_size=size, **options)
        value, _, residual, error, _ = _extreme(sampling.Record(work.timed(multiply)))
        unit = "‖G‖₂, without the net's own curvature" + OWN * bool(suffix)
        yield row(f"gauss_newton_norm{suffix}", abs(value), unit, work.n, residual=residual, sampling=error)


def adaptive(work) -> Iterator[Row]:
    """Sharpness relative to the size of each parameter, which rescalings of a ReLU net do not change."""
    scale, seed = np.abs(work.theta), work.settings.seed
    value, _, residual, error, _ = _extreme(work.record(scale=scale))
    yield row("adaptive_norm", abs(value), "‖ |θ| H |θ| ‖₂", work.n, residual=residual, sampling=error)
    record = work.record(scale=scale)
    value = stochastic.trace(record.operator, _probes(work), seed)
    error = record.traces(_probes(work))[0]
    yield row("adaptive_trace", value, "Σ H_ii θ_i²", work.n, estimate=value.standard_error, sampling=error)
    sigma, rho = work.settings.adaptive_sigma, work.settings.rho
    found = perturbation.average_rise(work.model, *work.first, sigma, True, DRAWS, work.loss, seed)
    unit = f"mean rise of L, Δθ_i ~ N(0, ({sigma:g} θ_i)²)"
    yield row("adaptive_average", found.value, unit, work.n, estimate=found.standard_error, sampling=found.sampling)
    found = sharpness.ball_sharpness(work.model, *work.first, epsilon=rho, loss=work.loss, seed=seed, adaptive=True)
    problem = evaluation.Problem(work.model, *work.first, work.loss)
    rises = perturbation.losses_of(problem, work.theta + found.step) - perturbation.losses_of(problem)
    unit = f"largest rise of L found, ‖Δθ / θ‖₂ ≤ {rho:g}: a lower bound"
    yield row("adaptive_worst", found.largest - found.loss, unit, work.n, sampling=sampling.mean(rises))


def radius(work) -> Iterator[Row]:
    """The PAC-Bayes radius."""
    rise, seed = work.settings.rise, work.settings.seed
    found = perturbation.flat_radius(work.model, *work.first, rise, False, DRAWS, work.loss, seed)
    unit = f"largest σ with a mean rise of L below {rise:g}, Δθ ~ N(0, σ²)"
    yield row("pac_bayes_sigma", found.value, unit, work.n, estimate=found.standard_error, sampling=found.sampling)


def keskar(work) -> Iterator[Row]:
    """Keskar's sharpness in the box and in a random subspace; the error holds the maximum that was found."""
    settings, (x, y) = work.settings, work.parts["train"]
    manifold = min(settings.manifold, work.size)
    for name, dimensions in (("keskar_box", None), ("keskar_subspace", manifold)):
        unit = f"per cent, ε = {settings.keskar_epsilon:g}, a lower bound" + (
            f", {dimensions} dimensions" if dimensions else ""
        )
        for suffix, options in work.kinds.items():
            found = sharpness.keskar_sharpness(
                work.model, x, y, settings.keskar_epsilon, dimensions, loss=work.loss, seed=settings.seed, **options
            )
            problem = evaluation.Problem(work.model, x, y, work.loss, **options)
            own, there = perturbation.losses_of(problem), perturbation.losses_of(problem, work.theta + found.step)
            # φ = 100 (b − a) / (1 + a) of the means a and b: to first order the mean of these changes of one example.
            ratio = found.value / 100
            changes = 100 * ((there - own) - ratio * own) / (1 + found.loss)
            text = unit + OWN * bool(suffix)
            yield row(f"{name}{suffix}", found.value, text, len(own), sampling=sampling.mean(changes))


def sensitivities(work) -> Iterator[Row]:
    """Derivatives with respect to the inputs."""
    x, y = work.parts.get("test", work.parts["train"])
    norms = sensitivity.loss_gradient_norms(work.model, x, y, work.loss)
    pixels = work.settings.pixels
    of_inputs = "" if pixels == 1 else f", white = {pixels:g}"
    yield row(
        "loss_gradient_norm", norms.mean(), f"mean of ‖∂ℓ/∂x‖{of_inputs}", len(norms), sampling=sampling.mean(norms)
    )
    squares = sampling.mean(norms**2)
    value = np.sqrt(np.mean(norms**2) / len(norms))
    relative = squares.standard_error / (2 * np.mean(norms**2)) if value else 0.0
    error = sampling.Sampling(value * relative, 0.0)
    yield row("whole_loss_gradient_norm", value, f"‖∂L/∂X‖{of_inputs}", len(norms), sampling=error)
    if work.loss is None:
        norms = sensitivity.jacobian_norms(work.model, x)
        yield row(
            "jacobian_norm", norms.mean(), f"mean of ‖∂p/∂x‖_F{of_inputs}", len(norms), sampling=sampling.mean(norms)
        )


def outliers(work) -> Iterator[Row]:
    """The largest eigenvalues, and how many stand apart from the rest."""
    k = min(work.size, _top(work))
    found = lanczos.eigenpairs(work.record().operator, k, "LA", TOLERANCE)
    work.pictures["eigenvalues"] = found.values
    if k < work.size:
        number = statistics.outliers(found.values)
        yield row("outliers", int(number), "eigenvalues above the last gap wider than λ₁ / 100", work.n)


def _top(work) -> int:
    """How many eigenvalues: more than there are classes, which many nets have as outliers."""
    return min((work.classes or 10) + 5, 25)


def density(work) -> Iterator[Row]:
    """The spectral density, for the picture."""
    from hw1.measures import quadrature

    found = quadrature.density(work.record().operator, STEPS, RUNS, 400, 0.01, work.settings.seed)
    work.pictures["density"] = found.nodes, found.weights
    smallest = float(found.nodes.min())
    yield row("smallest_eigenvalue", smallest, f"λ_min, from above: {STEPS} steps of Lanczos", work.n)


def layer_norms(work) -> Iterator[Row]:
    """λ of each layer's block, in order of their traces; TimeoutError where the time ends before the layers do."""
    traces_of = work.pictures.get("layer_traces", {})
    order = sorted(work.layers, key=lambda layer: -abs(traces_of.get(layer, 0.0)))
    for done, layer in enumerate(order):
        if time.monotonic() + EXTREME * work.seconds["product"] > work.deadline:
            raise TimeoutError(f"{done} of {len(order)} layers fitted into")
        mask = np.zeros(work.size)
        mask[work.layers[layer]] = 1
        value, _, residual, error, _ = _extreme(work.record(scale=mask))
        yield row(f"layer_norm/{layer}", abs(value), f"‖H‖₂, layer {layer}", work.n, residual=residual, sampling=error)


def before(work) -> list[Step]:
    """The steps that need no time measured."""
    return [Step("losses", losses), *([Step("margins", margin)] if work.labels and not work.is_probable else [])]


def after(work) -> list[Step]:
    """All others, in order of what a reader misses first."""
    share = work.n / size_of(work.parts["train"][0])  # of the training examples, for which gradients are timed
    return [
        Step("spectral_norm_full", spectral_norm, products=EXTREME),
        Step("trace", traces, products=PROBES),
        Step("sensitivity", sensitivities, gradients=1 + (work.classes or 0 if work.loss is None else 0)),
        Step("spectral_norm_block", block_norm, products=EXTREME),
        Step("adaptive", adaptive, products=EXTREME + PROBES, gradients=60 * share, forwards=DRAWS * share),
        Step("pac_bayes_sigma", radius, forwards=25 * DRAWS * share),
        Step("keskar", keskar, gradients=80),
        Step("frobenius_norm", frobenius_norm, products=FROBENIUS_PROBES),
        Step("gauss_newton_norm", gauss_newton_norm, products=1.5 * EXTREME),
        Step("outliers", outliers, products=6 * _top(work)),
        Step("density", density, products=STEPS * RUNS),
    ]


def last(work) -> Step:
    """The step that may take long for a deep net, and of which a part is worth having."""
    return Step("layer_norm", layer_norms, EXTREME * len(work.layers), is_partial=True)
