"""Which measures of flatness change under a reparametrisation that leaves all outputs unchanged?

    python -m hw1.generalization.reparametrization
    python -m hw1.generalization.reparametrization --size=smoke    seconds

Two transformations T rescale the layers of a ReLU net: "two-layer" multiplies the first layer by α and the second by
1/α; "all but last" multiplies all layers but the last by α, and the last by the factor that compensates for it. Up to
rounding, the net computes the same function. At each α these are measured:

    function_change        max |f(Tθ) − f(θ)| / max |f(θ)| over the examples
    hessian_error          max |H(Tθ) − D H(θ) D| / max |H(Tθ)|, D = diag(dTθ/dθ)⁻¹: checks this identity numerically
    spectral_norm, trace   of the full Hessian
    box_sharpness          Keskar's measure in the full space, per cent
    subspace_sharpness     Keskar's measure on a random manifold, per cent
    eigenvalues_above      number of eigenvalues above λ₁ of the untransformed net
    least_growth           the least factor by which one of the r − n_K largest eigenvalues grows, for r positive
                           eigenvalues and n_K parameters of the last layer: theorem 5 promises that so many become
                           arbitrarily large; left out where r ≤ n_K
    log10_determinant      log₁₀ |det H|, left out for a net whose H is singular
    log10_det_predicted    its value at α = 1 plus log₁₀ Π d⁻²; for two layers Π d⁻² = α^(2 (n₂ − n₁))
    adaptive_sharpness     ‖diag|θ| H diag|θ|‖₂, normalised by the scale of each weight (Kwon et al., arXiv 2102.11600)

The determinant leaves out two kinds of parameters, because with them it would be 0. Parameters that cannot change the
loss of some net have zero rows in its H; they are left out for all nets. The output weights of the first class are left
out because adding a constant to all logits changes nothing. If H is singular even so, its computed determinant is a
product of rounding errors. Whether it is singular cannot be told from its eigenvalues, as a rescaling spreads them over
many orders of magnitude; it is told after rows and columns are scaled to one size.

A last unit of work records the loss along the line between two solutions, which the figure draws in the coordinate
η = (t² + b)^a t / (1 + b)^a. The two nets are trained on the same images.

Source: Dinh et al., arXiv 1703.04933, definition 5, theorems 4 and 5, section 5; MLDS 2018, homework 1-3 (more bonus).
The measures on a random manifold are our addition.

Deviations: images are averaged over squares of 4 × 4 pixels and the net is 49-8-8-10 in float64, so that the whole
Hessian can be formed at every α.
"""

import dataclasses
import sys

import keras
import numpy as np

from hw1 import command, datasets, models, nets, question, training
from hw1.measures import hessian
from hw1.measures.interpolation import line
from hw1.measures.sharpness import keskar_sharpness


@dataclasses.dataclass(frozen=True)
class Settings(question.Images):
    """Settings of the question; each field is a flag."""

    pool: int = question.option(4, "side of the squares of pixels that are averaged; 1 keeps the images as they are")
    hidden: tuple[int, ...] = question.option((8, 8), "widths of the hidden layers", unique=False)
    activation: str = question.option(
        "relu",
        "activation of the hidden layers; relu or leaky_relu, which can be rescaled",
        choices=nets.HOMOGENEOUS,
    )
    alphas: tuple[float, ...] = question.option((0.01, 0.1, 1.0, 10.0, 100.0), "factors α; they must contain 1")
    examples: int = question.option(
        500, "training examples on which the Hessian and the measures are computed", at_most="train"
    )
    epsilon: float = question.option(1e-3, "size ε of the box of Keskar's measure")
    manifold: int = question.option(50, "dimension of the random manifold of Keskar's measure")
    points: int = question.option(161, "number of points on the line between two solutions", minimum=3)
    epochs: int = question.option(60, "epochs of training")
    batch_size: int = question.option(100, "examples per step", at_most="train")
    learning_rate: float = question.option(3e-3, "learning rate of Adam (our choice: three times the default of Keras)")
    seeds: int = question.option(
        5, "independent repetitions (initial weights, batch order and split of the data)", minimum=2
    )


SIZES = {
    "smoke": {
        "train": 200,
        "test": 200,
        "pool": 7,
        "hidden": (12, 12),
        "alphas": (0.1, 1.0, 10.0),
        "examples": 200,
        "manifold": 5,
        "points": 9,
        "epochs": 20,
        "batch_size": 20,
        "seeds": 2,
    },
    "report": {},
    "paper": {"hidden": (20, 20), "seeds": 10, "manifold": 100},
}

COLUMNS = {
    "rows": ["transformation", "seed", "alpha", "measure", "value"],
}


def units(settings: Settings) -> list[dict]:
    """One unit of work per transformation, and one for the line between two solutions."""
    if 1.0 not in settings.alphas:
        raise ValueError(f"--alphas must contain 1, the untransformed net; they are {settings.alphas}")
    return [{"transformation": name} for name in ("two-layer", "all but last", "line")]


def run(settings: Settings, data, transformation: str):
    """Yields a row per seed, α and measure."""
    data = datasets.average_pool(data, settings.pool)
    if transformation == "line":  # both ends of the line must be trained on the same images
        data = data.sharing(lambda seed: settings.first_seed)
    members = training.train(
        lambda seed: models.mlp(
            settings.hidden,
            settings.activation,
            input_shape=data.shape,
            classes=data.classes,
            seed=seed,
            dtype="float64",
        ),
        data,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        evaluate_every=settings.epochs,
        optimizer=lambda: keras.optimizers.Adam(settings.learning_rate),
        seeds=settings.all_seeds,
        progress=transformation,
    )
    members = training.measurable(members)
    if transformation == "line":
        alphas = np.round(np.linspace(-0.5, 1.5, settings.points), 10)
        images = members[0].data
        losses = line(members[0].model, members[-1].model, alphas, images.x_train, images.y_train).loss
        for alpha, loss in zip(alphas, losses, strict=True):
            yield {"seed": members[0].seed, "alpha": alpha, "measure": "line_loss", "value": loss}
        return
    bases = [_Base(member, settings.examples) for member in members]
    counted = np.all([base.counts for base in bases], axis=0)
    for member, base in zip(members, bases, strict=True):
        singular = is_singular(base.hessian[np.ix_(counted, counted)])
        for alpha in settings.alphas:
            for measure, value in _measures(settings, base, counted, alpha, transformation).items():
                if np.isfinite(value) and not (singular and measure.startswith("log10_det")):
                    yield {"seed": member.seed, "alpha": alpha, "measure": measure, "value": value}


class _Base:
    """The untransformed net with its examples, outputs and Hessian."""

    def __init__(self, member, examples):
        data, model = member.data, member.model
        self.model, self.x, self.y = model, x, y = model, data.x_train[:examples], data.y_train[:examples]
        self.outputs = np.asarray(model(x, training=False))
        self.hessian = hessian.dense(model, x, y)
        self.values = np.linalg.eigvalsh(self.hessian)[::-1]
        self.counts = _counts(model, self.hessian)


def factors(alpha: float, layers: int, transformation: str) -> list[float]:
    """The factor of each layer's kernel.

    Args:
        alpha: α, above 0.
        layers: number of layers with a kernel.
        transformation: "two-layer" gives (α, 1/α, 1, ...), "all but last" gives (α, ..., α, α^-(layers - 1)).

    Raises:
        ValueError: α is not a positive number.
    """
    if not (np.isfinite(alpha) and alpha > 0):
        raise ValueError(f"α must be a positive number, not {alpha!r}: it would not leave the function unchanged")
    if transformation == "two-layer":
        return [alpha, 1 / alpha] + [1.0] * (layers - 2)
    return [alpha] * (layers - 1) + [alpha ** -(layers - 1.0)]


def _measures(settings, base, counted, alpha, transformation) -> dict[str, float]:
    layers = 1 + len(settings.hidden)
    scale = models.rescaling(base.model, factors(alpha, layers, transformation))
    model = models.with_parameters(base.model, models.flat_parameters(base.model) * scale)
    matrix = hessian.dense(model, base.x, base.y)
    values = np.linalg.eigvalsh(matrix)[::-1]
    theta = np.abs(models.flat_parameters(model))
    expected = base.hessian / np.outer(scale, scale)
    outputs = np.asarray(model(base.x, training=False))
    box = keskar_sharpness(model, base.x, base.y, settings.epsilon)
    subspace = keskar_sharpness(model, base.x, base.y, settings.epsilon, manifold=settings.manifold)
    shift = -2 * np.log10(scale[counted]).sum()
    return {
        "function_change": np.abs(outputs - base.outputs).max() / np.abs(base.outputs).max(),
        "hessian_error": np.abs(matrix - expected).max() / np.abs(matrix).max(),
        "spectral_norm": np.abs(values).max(),
        "trace": values.sum(),
        "box_sharpness": box.value,
        "subspace_sharpness": subspace.value,
        "eigenvalues_above": int((values > base.values[0] * (1 + 1e-9)).sum()),
        "least_growth": least_growth(
            base.values, values, sum(int(np.prod(v.shape)) for v in model.layers[-1].variables)
        ),
        "log10_determinant": _log10_determinant(matrix, counted),
        "log10_det_predicted": _log10_determinant(base.hessian, counted) + shift,
        "adaptive_sharpness": np.abs(np.linalg.eigvalsh(matrix * np.outer(theta, theta))).max(),
    }


def least_growth(before, after, last: int) -> float:
    """The least factor after / before among the leading eigenvalues, as many as are positive less `last`.

    Args:
        before: eigenvalues of H, descending.
        after: eigenvalues of the transformed net's H, descending.
        last: number of parameters of the last layer.

    Returns:
        The factor; NaN where no eigenvalue is left.
    """
    rounding = len(before) * np.finfo(np.float64).eps * np.abs(before).max()
    leading = int((before > rounding).sum()) - last
    return float((after[:leading] / before[:leading]).min()) if leading > 0 else np.nan


def is_singular(matrix) -> bool:
    """Whether a symmetric matrix is singular to rounding once its rows and columns have one size (Ruiz 2001).

    The scaled matrix is the same for H and D H D, so that a rescaling of the net cannot change the answer.

    Args:
        matrix: shape [n, n].
    """
    if not len(matrix):
        return True
    scaled = np.array(matrix)
    for _ in range(30):
        size = np.abs(scaled).max(axis=1)
        if not size.all():
            return True
        scaled /= np.sqrt(np.outer(size, size))
    sizes = np.abs(np.linalg.eigvalsh(scaled))
    return bool(sizes.min() < len(matrix) * np.finfo(np.float64).eps * sizes.max())


def _counts(model, matrix) -> np.ndarray:
    """Which parameters the determinant includes: those with a non-zero row in H, without the first class's weights."""
    kernel, bias = model.layers[-1].kernel, model.layers[-1].bias
    first_class = np.zeros(kernel.shape, bool)
    first_class[:, 0] = True
    last = np.concatenate([first_class.ravel(), np.arange(bias.shape[0]) == 0])
    left_out = np.concatenate([np.zeros(len(matrix) - len(last), bool), last])
    return ~left_out & (np.abs(matrix).max(axis=1) > 0)


def _log10_determinant(matrix, counted) -> float:
    return float(np.linalg.slogdet(matrix[np.ix_(counted, counted)])[1] / np.log(10))


if __name__ == "__main__":
    command.main(sys.modules[__name__])
