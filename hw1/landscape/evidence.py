"""Does the Bayesian evidence distinguish memorising from learning, and sharp minima from flat ones?

    python -m hw1.landscape.evidence
    python -m hw1.landscape.evidence --size=smoke    seconds

*Logistic regression.* A model with one weight per pixel, a bias and one output z, p = 1 / (1 + e^(−z)), learns 800
images of the digits 0 and 1, once with their true labels and once with the labels permuted, in the training set and in
the test set. For each precision λ of the prior, the summed cost C(ω) = Σ −ln p + ½ λ ‖ω‖² (ω includes the bias) is
minimised by Newton's method in float64. With the eigenvalues λᵢ of ∇²C at the minimum, E = C + ½ Σ ln(λᵢ/λ) − N ln 2 is
the log evidence ratio in favour of the null model, which gives both digits the probability ½. E < 0 is evidence for the
regression.

With true labels, λ is also varied in steps of a tenth of a decade around where, in the mean over seeds, the evidence is
largest and the test loss least (column `grid`: "fine").

*Nets.* The net 784-30-20-10 is trained with five batch sizes to the same training loss, as in question `sharpness`. Its
Occam factor Π (λᵢ/λ)^(−½), the fraction of the prior's width that the data leave, is estimated by stochastic Lanczos
quadrature at one λ, which is about the precision of the trained weights, 24,380 / ‖ω‖². The smaller the factor, the
sharper the minimum.

The learning rate is one of 0.0003, 0.001, 0.003 and 0.01, chosen by the test losses of the seeds 1000 to 1002: no other
is measurably better at batch sizes from 10 to 5,000.

Source: Smith & Le, arXiv 1710.06451, sections 2 and 3.

Deviations: the 800 images are 400 of each digit, drawn from about 500 zeros and 560 ones in the training set (505 and
555 where all repetitions share one division), so repetitions share many images. The test set is the zeros and ones of
the test images, equally many of each: about 1,000 images, where Smith and Le have 10,000. So few leave the λ of least
test loss to chance, and it is taken from the mean over seeds. Permuted labels stay balanced. The nets are trained
without the prior, so they are not at minima of C: ‖∇C‖ is as large as the slope λ ‖ω‖ of the prior itself. So only
their Occam factors are compared, not E. ‖∇C‖ is recorded, and so is the fraction of eigenvalues below λ/2, which count
as λ/2.
"""

import dataclasses
import sys

import numpy as np
import scipy.linalg
import scipy.special

from hw1 import command, evaluation, models, question, recipe
from hw1.measures import evidence

REGRESSION, NET = "logistic regression", "net"
OPTIMA = ("log_evidence_ratio", "test_loss")  # around whose least values λ is varied in finer steps
WIDE = 1000  # pixels: above, the regression is solved in the space that the images span
TOLERANCE = 1e-8  # for ‖∇C‖₂; rounding leaves about 1e-11


@dataclasses.dataclass(frozen=True)
class Settings(question.OneLoss):
    """Settings of the question; each field is a flag."""

    images: int = question.option(800, "images of the digits 0 and 1 for the regression, half of each", minimum=2)
    weakest: float = question.option(
        1e-8, "smallest λ of the regression (at 1e-6 some random labels are not yet memorised)"
    )
    strongest: float = question.option(1e5, "largest λ of the regression")
    points: int = question.option(27, "number of values of λ, evenly spaced on a logarithmic axis", minimum=3)
    refinement: int = question.option(
        5, "number of steps into which a step of λ is divided around the best ones (5 steps of a tenth of a decade)"
    )
    batch_sizes: tuple[int, ...] = question.option(
        (20, 100, 500, 1250, 5000), "batch sizes of the nets to compare", at_most="train"
    )
    learning_rate: float = question.option(1e-3, "step size of Adam (chosen with the seeds 1000 to 1002)")
    net_regularization: float = question.option(50.0, "λ for the Occam factors of the nets")
    steps: int = question.option(40, "Lanczos steps (more steps change the log Occam factor by a few per cent)")
    probes: int = question.option(2, "random starting vectors of Lanczos, the same for all nets", minimum=2)
    net_seeds: int = question.option(
        5, "independent repetitions of the nets (the first ones of all, and no more than there are)"
    )
    seeds: int = question.option(
        20, "independent repetitions of the regression (split of the data, images, permutation)"
    )


SIZES = {
    "smoke": {
        "train": 400,
        "test": 400,
        "images": 40,
        "points": 5,
        "hidden": (16,),
        "target_loss": 0.3,
        "updates": 300,
        "batch_sizes": (20, 100),
        "steps": 10,
        "net_seeds": 2,
        "seeds": 2,
    },
    "report": {},
    "paper": {"data": "mnist", "train": 60000, "test": 10000, "updates": 200000, "steps": 100, "probes": 8},
}

COLUMNS = {
    "rows": [
        "model",
        "labels",
        "batch_size",
        "seed",
        "grid",
        "regularization",
        "updates",
        *question.LOSSES_AND_ACCURACIES,
        "log_evidence_ratio",
        "cost",
        "log_occam",
        "standard_error",
        "floored",
        "smallest_eigenvalue",
        "gradient_norm",
        "status",
    ],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work for the regression with each kind of labels, and one per batch size of the nets."""
    if settings.images % 2:
        raise ValueError(f"--images={settings.images}: must be even: half of them are zeros and half are ones")
    if settings.weakest >= settings.strongest:
        raise ValueError(f"--weakest={settings.weakest}: must be below --strongest={settings.strongest}")
    regressions = [{"model": REGRESSION, "labels": labels} for labels in ("true", "random")]
    nets = [{"model": NET, "labels": "true", "batch_size": size} for size in settings.batch_sizes]
    return [unit | {"batch_size": settings.images} for unit in regressions] + nets


def suited(settings: Settings, data) -> dict:
    """The number of images, where a training set has fewer of one of the two classes than the default asks for."""
    fewest = min(int((data.of(seed).y_train == digit).sum()) for seed in settings.all_seeds for digit in (0, 1))
    if not fewest or settings.images <= 2 * fewest:
        return {}
    return {"images": (2 * fewest, f"a training set has only {fewest} images of one of the first two classes")}


def run(settings: Settings, data, model: str, labels: str, batch_size: int):
    """Yields a row per seed; for the regression, a row per seed and λ."""
    return _regressions(settings, data, labels) if model == REGRESSION else _nets(settings, data, batch_size)


def _regressions(settings, data, labels):
    """Yields a row per seed and λ: first the evenly spaced ones, then those in between."""
    problems = {seed: _problem(settings, data, labels, seed) for seed in settings.all_seeds}
    grid = np.geomspace(settings.strongest, settings.weakest, settings.points)
    found = [_path(problem, grid) for problem in problems.values()]
    yield from _rows(problems, found, "coarse")
    if labels == "true" and settings.refinement > 1:
        fine = _refined(grid, found, settings.refinement)
        yield from _rows(problems, [_path(problem, fine) for problem in problems.values()], "fine")


def _rows(problems, found, grid):
    """Yields the rows of all seeds."""
    for seed, rows in zip(problems, found, strict=True):
        yield from ({"seed": seed, "grid": grid, **row} for row in rows)


def _problem(settings, data, labels, seed):
    """Training and test set of a seed: (x, y, x_test, y_test), without the pixels that are 0 in all training images.

    Such a pixel keeps the weight 0 and has λᵢ = λ, so it adds nothing to E.
    """
    rng, images = np.random.default_rng(seed), data.of(seed)
    x, y = _digits(images.x_train, images.y_train, settings.images // 2, rng)
    x_test, y_test = _digits(images.x_test, images.y_test)
    if labels == "random":
        y, y_test = rng.permutation(y), rng.permutation(y_test)
    lit = x.any(axis=0)
    x, x_test = x[:, lit], x_test[:, lit]
    if x.shape[1] > max(WIDE, len(x)):
        x, x_test = narrowed(x, x_test)
    return x, y, x_test, y_test


def narrowed(x, x_test) -> tuple[np.ndarray, np.ndarray]:
    """The same regression with fewer inputs than pixels, exactly: in a basis of the space that the images span.

    Orthogonally to it, weights stay 0 and λᵢ = λ, as of an unlit pixel, so E is the same. One input that is always 0
    stands for all of these directions.

    Args:
        x: training images, shape [n, pixels], n < pixels.
        x_test: test images, shape [m, pixels].

    Returns:
        Arrays of shapes [n, n + 1] and [m, n + 1].
    """
    basis, _ = np.linalg.qr(x.T)
    return tuple(np.pad(each @ basis, ((0, 0), (0, 1))) for each in (x, x_test))


def _path(problem, grid) -> list[dict]:
    """A row per λ of a descending grid; each minimisation starts from the minimum for the previous, larger λ."""
    (x, y, *test), rows = problem, []
    weights = np.zeros(x.shape[1])
    for regularization in grid:
        weights, updates = fit(x, y, regularization, weights)
        cost, gradient, hessian = cost_and_derivatives(weights, x, y, regularization)
        eigenvalues = np.linalg.eigvalsh(hessian) - regularization  # of N times the mean loss's Hessian
        found = evidence.from_spectrum(cost, eigenvalues / len(x), len(x), 2, regularization)
        losses, accuracies = zip(scores(weights, x, y), scores(weights, *test), strict=True)
        four = dict(zip(question.LOSSES_AND_ACCURACIES, (*losses, *accuracies), strict=True))
        status = "ok" if np.linalg.norm(gradient) <= TOLERANCE else "target not reached"
        about = {"regularization": regularization, "updates": updates, "status": status}
        rows.append(about | four | _parts(found, gradient))
    return rows


def _refined(grid, found, refinement) -> np.ndarray:
    """Values of λ between those of the grid, descending, around the least E and the least test loss, seeds' means."""
    means = [np.mean([[row[column] for row in rows] for rows in found], axis=0) for column in OPTIMA]
    near = {int(np.argmin(mean)) + side for mean in means for side in (-1, 0)}  # the steps of the grid to be divided
    inside = sorted(step for step in near if 0 <= step < len(grid) - 1)
    places = [step + part / refinement for step in inside for part in range(1, refinement)]
    return np.exp(np.interp(places, np.arange(len(grid)), np.log(grid)))


def _digits(x, y, each=None, rng=None):
    """Selects equally many images of the digits 0 and 1.

    Args:
        x: images, shape [n, ...].
        y: their digits, shape [n].
        each: number of images per digit. None: as many as there are of the rarer digit.
        rng: generator that draws the images. None: take the first ones.

    Returns:
        Flattened images with a last column of ones, and their labels 0 and 1; both float64.

    Raises:
        ValueError: there are fewer than `each` images of a digit.
    """
    rows = [np.flatnonzero(y == digit) for digit in (0, 1)]
    fewest = min(map(len, rows))
    each = fewest if each is None else each
    if not 0 < each <= fewest:
        raise ValueError(f"{each} images of each of the digits 0 and 1 are needed, but there are only {fewest}")
    chosen = np.concatenate([(part if rng is None else rng.permutation(part))[:each] for part in rows])
    flat = x[chosen].reshape(len(chosen), -1).astype(np.float64)
    return np.hstack([flat, np.ones((len(flat), 1))]), y[chosen].astype(np.float64)


def _cost(weights, x, y, regularization):
    """C(ω) = Σ ln(1 + e^z) − y z + ½ λ ‖ω‖² with z = Xω."""
    z = x @ weights
    return float(np.sum(np.logaddexp(0, z) - y * z) + regularization * (weights @ weights) / 2)


def cost_and_derivatives(weights, x, y, regularization: float) -> tuple[float, np.ndarray, np.ndarray]:
    """C(ω) of the regression, its gradient and its Hessian, in closed form."""
    z = x @ weights
    p = scipy.special.expit(z)
    gradient = x.T @ (p - y) + regularization * weights
    scaled = x * np.sqrt(p * scipy.special.expit(-z))[:, None]
    hessian = scaled.T @ scaled + regularization * np.eye(
        len(weights)
    )  # AᵀA, which BLAS computes with half the products
    return _cost(weights, x, y, regularization), gradient, hessian


def fit(x, y, regularization: float, weights, iterations: int = 100) -> tuple[np.ndarray, int]:
    """Minimises C by Newton's method with step halving. C is strictly convex, so it has one minimum.

    Args:
        x: inputs, shape [n, parameters].
        y: 0 or 1, shape [n].
        regularization: λ.
        weights: starting point, shape [parameters].
        iterations: maximum number of steps.

    Returns:
        The weights at the end, with ‖∇C‖ ≤ `TOLERANCE` unless the iterations ran out, and the number of steps.
    """
    for taken in range(iterations):
        cost, gradient, hessian = cost_and_derivatives(weights, x, y, regularization)
        if np.linalg.norm(gradient) <= TOLERANCE:
            return weights, taken
        step = scipy.linalg.solve(hessian, gradient, assume_a="pos")
        while _cost(weights - step, x, y, regularization) > cost + 1e-9:
            step /= 2
        weights = weights - step
    return weights, iterations


def scores(weights, x, y) -> tuple[float, float]:
    """Mean cross-entropy in nats, and accuracy; z ≥ 0 predicts digit 1."""
    z = x @ weights
    return float(np.mean(np.logaddexp(0, z) - y * z)), float(np.mean((z >= 0) == y))


def _nets(settings, data, batch_size):
    """Yields a row per seed."""
    regularization = settings.net_regularization
    seeds = min(settings.net_seeds, settings.seeds)
    trained_as = dataclasses.replace(settings, seeds=seeds)
    for member in recipe.train(trained_as, data, batch_size):
        about = {**member.row, "grid": "one", "regularization": regularization}
        if member.status == "diverged":
            yield about
            continue
        images = member.data
        x, y, theta = images.x_train, images.y_train, models.flat_parameters(member.model)
        found = evidence.laplace(member.model, x, y, regularization, steps=settings.steps, probes=settings.probes)
        gradient = len(x) * evaluation.objective(member.model, x, y)(theta)[1] + regularization * theta
        yield about | _parts(found, gradient)


def _parts(found, gradient):
    """The columns that hold the evidence and its parts."""
    return {
        "cost": found.cost,
        "log_occam": float(found.log_occam),
        "standard_error": found.log_occam.standard_error,
        "log_evidence_ratio": found.log_ratio,
        "floored": found.floored,
        "smallest_eigenvalue": found.smallest,
        "gradient_norm": np.linalg.norm(gradient),
    }


if __name__ == "__main__":
    command.main(sys.modules[__name__])
